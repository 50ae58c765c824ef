//! For each kind of import a source and, beside it, a policy written by hand from the source's documentation: `diff`
//! finds nothing between that policy and what `import` makes of the source, and `check` finds nothing in either.

use egress_warden_tool::in_process;
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A source with the policy that says the same.
struct Pair {
    kind: String,
    source: PathBuf,
    policy: PathBuf,
}

fn pairs() -> Vec<Pair> {
    let folder = format!("{}/tool/tests/data/meanings", kit::REPOSITORY);
    let pair = |folder: PathBuf| {
        let files = fs::read_dir(&folder).expect("a folder").map(|it| it.expect("a file").path());
        let source = files.into_iter().find(|it| it.file_stem().is_some_and(|it| it == "source"));
        let kind = folder.file_name().expect("a name").to_str().expect("text").to_owned();
        Pair { kind, source: source.expect("a source"), policy: folder.join("policy.yaml") }
    };
    fs::read_dir(folder).expect("a folder").map(|it| pair(it.expect("a folder").path())).collect()
}

#[test]
fn an_import_says_what_a_policy_written_by_hand_says() {
    let pairs = pairs();
    for Pair { kind, source, policy } in &pairs {
        let imported = import(kind, source);
        // Which programs call is never known to a gateway.
        let open = imported.open.iter().filter(|point| !point.contains("`binaries`"));
        assert_eq!(open.collect::<Vec<_>>(), Vec::<&String>::new(), "{kind}");
        let policy = fs::read_to_string(policy).expect("a policy");
        for is_of_connections in [false, true] {
            let changes = changes(&policy, &imported.text, is_of_connections);
            assert!(changes.is_empty(), "{kind}: {changes:#?}\n{}", imported.text);
        }
    }
}

#[test]
fn an_import_leaves_nothing_for_check_to_say() {
    let folder = tempfile::tempdir().expect("a folder");
    for Pair { kind, source, policy } in &pairs() {
        let path = folder.path().join("policy.yaml");
        fs::write(&path, import(kind, source).text).expect("a file");
        for path in [&path, policy] {
            let mut tool = Command::new(env!("CARGO_BIN_EXE_egress-warden"));
            let output = tool.args(["check", "--deny-warnings"]).arg(path).output();
            let output = output.expect("the tool runs");
            let told = String::from_utf8_lossy(&output.stdout);
            assert!(output.status.success(), "{kind}: {told}");
        }
    }
}

fn import(kind: &str, source: &Path) -> in_process::Imported {
    let text = fs::read_to_string(source).expect("a source");
    let name = source.file_name().expect("a name").to_str().expect("text");
    let imported = in_process::import(kind, &[(name, &text)], None);
    imported.unwrap_or_else(|error| panic!("{kind}: {error}"))
}

/// What one policy decides otherwise than another: not by which rule, but what.
fn changes(one: &str, other: &str, is_of_connections: bool) -> Vec<Value> {
    let at = kit::differences::AT.parse().expect("a time");
    let json = |text: &str| {
        let policy: Value = serde_saphyr::from_str(text).expect("YAML");
        policy.to_string()
    };
    let answer = in_process::diff([&json(one), &json(other)], is_of_connections, at);
    let answer: Value = serde_json::from_str(&answer.expect("an answer")).expect("JSON");
    assert_eq!(answer["exact"], true, "{answer:#}");
    let changes = answer["changes"].as_array().expect("changes").iter();
    changes.filter(|it| it["kind"] != "renames").cloned().collect()
}
