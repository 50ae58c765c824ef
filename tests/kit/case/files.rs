//! The case files, read from disk at each run, so that none is ever stale.

/// One file: its name under the package and what it holds.
pub struct File {
    pub name: String,
    pub text: String,
}

/// Every YAML file of a directory of the package, by name.
pub fn read(directory: &str) -> Vec<File> {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../");
    let mut names = disk::names(&format!("{root}{directory}"));
    names.retain(|name| name.ends_with(".yaml"));
    names.sort();
    let file = |name| {
        let name = format!("{directory}/{name}");
        let text = disk::text(&format!("{root}{name}"));
        File { name, text }
    };
    names.into_iter().map(file).collect()
}

#[cfg(not(target_family = "wasm"))]
mod disk {
    use std::fs;

    pub fn names(directory: &str) -> Vec<String> {
        let entries = fs::read_dir(directory).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    pub fn text(path: &str) -> String {
        fs::read_to_string(path).unwrap()
    }
}

/// V8 has no file system, but Node, which runs it, does.
#[cfg(target_family = "wasm")]
mod disk {
    use wasm_bindgen::prelude::wasm_bindgen;

    #[wasm_bindgen(module = "node:fs")]
    extern "C" {
        #[wasm_bindgen(js_name = readdirSync)]
        pub fn names(directory: &str) -> Vec<String>;
        #[wasm_bindgen(js_name = readFileSync)]
        fn read(path: &str, encoding: &str) -> String;
    }

    pub fn text(path: &str) -> String {
        read(path, "utf8")
    }
}
