//! Commands are thin rooms: what two of them need lies in a room below all of them, so that each can be
//! read and changed alone. The rooms below look down only.

use kit::rooms::{assert_look_down, sources};
use std::collections::BTreeSet;

const PACKAGE: &str = env!("CARGO_MANIFEST_DIR");
const COMMANDS: &str = "src/commands";

/// The rooms of the tool, the lowest first; above the commands the same as functions for tests.
const ROOMS: [&str; 28] = [
    "failure",
    "finding",
    "input",
    "console",
    "output",
    "document",
    "policy_file",
    "policy_text",
    "public_suffix",
    "trust_domain",
    "root_id",
    "judgement",
    "change",
    "opening",
    "classes",
    "globs",
    "cover",
    "teams",
    "logs",
    "page",
    "render",
    "diagnostics",
    "report",
    "what_if",
    "verify",
    "live",
    "commands",
    "in_process",
];

#[test]
fn the_rooms_look_down_only() {
    assert_look_down(PACKAGE, "src", &ROOMS, &["crate::"]);
}

#[test]
fn no_command_uses_another() {
    let sources = sources(PACKAGE, COMMANDS);
    let commands = sources.iter().filter_map(|source| source.module_in(COMMANDS));
    let commands: BTreeSet<_> = commands.filter(|name| *name != "mod").collect();
    assert!(commands.len() > 5, "{commands:?}");
    let mut uses = Vec::new();
    for source in &sources {
        let own = source.module_in(COMMANDS);
        let used = ["commands::", "super::"].iter().flat_map(|path| source.names_after(path));
        let others = used.filter(|used| commands.contains(used) && Some(*used) != own);
        uses.extend(others.map(|other| format!("{} uses {other}", source.path)));
    }
    assert!(uses.is_empty(), "move what both need below the commands:\n{}", uses.join("\n"));
}
