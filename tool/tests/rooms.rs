//! Commands are thin rooms: what two of them need lies in a room below all of them, so that each can be
//! read and changed alone.

use kit::rooms::sources;
use std::collections::BTreeSet;

/// What lies above the commands: the command line, and the commands as functions for tests.
const ABOVE: [&str; 2] = ["src/lib.rs", "src/in_process.rs"];
const COMMANDS: &str = "src/commands";

#[test]
fn no_command_uses_another_and_nothing_below_uses_a_command() {
    let sources = sources(env!("CARGO_MANIFEST_DIR"), "src");
    let commands = sources.iter().filter_map(|source| source.module_in(COMMANDS));
    let commands: BTreeSet<_> = commands.filter(|name| *name != "mod").collect();
    assert!(commands.len() > 5, "{commands:?}");
    let mut uses = Vec::new();
    for source in sources.iter().filter(|source| !ABOVE.contains(&&*source.path)) {
        let own = source.module_in(COMMANDS);
        let used = ["commands::", "super::"].iter().flat_map(|path| source.names_after(path));
        let others = used.filter(|used| commands.contains(used) && Some(*used) != own);
        uses.extend(others.map(|other| format!("{} uses {other}", source.path)));
    }
    assert!(uses.is_empty(), "move what both need below the commands:\n{}", uses.join("\n"));
}
