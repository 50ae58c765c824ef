//! Commands are thin rooms: what two of them need lies in a room below all of them, so that each can be
//! read and changed alone. The compiler has no wall between the modules of one package; this is it.

use std::fs;
use std::path::Path;

/// What lies above the commands: the command line, and the commands as functions for tests.
const ABOVE: [&str; 2] = ["src/lib.rs", "src/in_process.rs"];

#[test]
fn no_command_uses_another_and_nothing_below_uses_a_command() {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    let commands = commands(package);
    assert!(commands.len() > 5, "{commands:?}");
    let mut uses = Vec::new();
    for source in sources(package, "src") {
        if ABOVE.contains(&&*source) {
            continue;
        }
        let text = fs::read_to_string(package.join(&source)).expect("a source file");
        let own = commands.iter().find(|command| is_of(&source, command));
        let others = commands.iter().filter(|command| Some(*command) != own);
        let named = names_after("commands::", &text).chain(names_after("super::", &text));
        let named: Vec<_> = named.collect();
        let used = others.filter(|command| named.contains(&&***command));
        uses.extend(used.map(|command| format!("{source} uses {command}")));
    }
    assert!(uses.is_empty(), "move what both need below the commands:\n{}", uses.join("\n"));
}

/// The names of the commands.
fn commands(package: &Path) -> Vec<String> {
    let entries = fs::read_dir(package.join("src/commands")).expect("the commands");
    let names =
        entries.map(|entry| entry.expect("an entry").file_name().into_string().expect("text"));
    let names = names.map(|name| name.trim_end_matches(".rs").to_owned());
    names.filter(|name| name != "mod").collect()
}

fn is_of(source: &str, command: &str) -> bool {
    let rest = source.strip_prefix("src/commands/").and_then(|rest| rest.strip_prefix(command));
    rest.is_some_and(|rest| rest.starts_with(['/', '.']))
}

/// Every source file below a folder, from the package on.
fn sources(package: &Path, folder: &str) -> Vec<String> {
    let entries = fs::read_dir(package.join(folder)).expect("a folder");
    let entries = entries.map(|entry| entry.expect("an entry"));
    let sources = entries.flat_map(|entry| {
        let name = format!("{folder}/{}", entry.file_name().to_str().expect("text"));
        match entry.path().is_dir() {
            true => sources(package, &name),
            false => vec![name],
        }
    });
    sources.filter(|name| name.ends_with(".rs")).collect()
}

/// The names that follow a path: one, or those in braces.
fn names_after<'t>(path: &'t str, text: &'t str) -> impl Iterator<Item = &'t str> {
    let is_no_name = |c: char| !c.is_alphanumeric() && c != '_';
    text.split(path).skip(1).flat_map(move |rest| {
        let group = rest.strip_prefix('{').and_then(|group| group.split('}').next());
        let names = group.unwrap_or_else(|| rest.split(is_no_name).next().unwrap_or_default());
        names.split(is_no_name).filter(|name| !name.is_empty())
    })
}
