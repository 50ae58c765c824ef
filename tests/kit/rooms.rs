//! Which modules of a package use which, read from their source: the compiler has no wall between them.

use std::fs;
use std::path::Path;

/// A source file: its path from the package on, and its code without comments and tests.
pub struct Source {
    pub path: String,
    code: String,
}

/// Every source file below a folder of a package.
pub fn sources(package: &str, folder: &str) -> Vec<Source> {
    let entries = fs::read_dir(Path::new(package).join(folder)).expect("a folder");
    let sources = entries.flat_map(|entry| {
        let entry = entry.expect("an entry");
        let path = format!("{folder}/{}", entry.file_name().to_str().expect("text"));
        match entry.path().is_dir() {
            true => sources(package, &path),
            false => {
                let text = fs::read_to_string(entry.path()).expect("text");
                vec![Source { path, code: code(&text) }]
            }
        }
    });
    sources.filter(|source| source.path.ends_with(".rs")).collect()
}

/// `modules` are those of a folder, the lowest first: each may use those before it. `paths` stand before
/// their names. The folder's own file is above them all.
pub fn assert_look_down(package: &str, folder: &str, modules: &[&str], paths: &[&str]) {
    let place = |name: &str| modules.iter().position(|module| *module == name);
    let mut looks_up = Vec::new();
    for source in sources(package, folder) {
        let module = source.module_in(folder).expect("a file of the folder");
        if ["lib", "main", "mod"].contains(&module) {
            continue;
        }
        let own = place(module).unwrap_or_else(|| panic!("give {} its place here", source.path));
        let used = paths.iter().flat_map(|path| source.names_after(path));
        let above = used.filter(|used| place(used).is_some_and(|it| it > own));
        looks_up.extend(above.map(|above| format!("{} uses {above}", source.path)));
    }
    assert!(looks_up.is_empty(), "move what is used below both:\n{}", looks_up.join("\n"));
}

fn code(text: &str) -> String {
    let before_tests = text.split("#[cfg(test)]\nmod tests").next().unwrap_or_default();
    let lines = before_tests.lines().filter(|line| !line.trim_start().starts_with("//"));
    lines.map(|line| format!("{line}\n")).collect()
}

impl Source {
    /// Without comments and tests.
    pub fn code(&self) -> &str {
        &self.code
    }

    /// The module of a folder that the file is or belongs to; `mod` for the folder's own.
    pub fn module_in(&self, folder: &str) -> Option<&str> {
        let rest = self.path.strip_prefix(folder)?.strip_prefix('/')?;
        rest.split(['/', '.']).next()
    }

    /// The names that follow a path such as `crate::`: one each time, or those in braces.
    pub fn names_after(&self, path: &str) -> impl Iterator<Item = &str> {
        let is_no_name = |c: char| !c.is_alphanumeric() && c != '_';
        self.code.split(path).skip(1).flat_map(move |rest| {
            let group = rest.strip_prefix('{').and_then(|group| group.split('}').next());
            let names = group.unwrap_or_else(|| rest.split(is_no_name).next().unwrap_or_default());
            names.split(is_no_name).filter(|name| !name.is_empty())
        })
    }
}
