//! `import` on texts that nobody wrote to be imported: random ones, as in the fuzz target `import`, those that are cut,
//! huge or of no kind, and on very long lists.

mod imports;

use arbitrary::Unstructured;
use proptest::collection::vec;
use proptest::prelude::any;
use proptest::test_runner::{Config, TestRunner};
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::{Command, Output};

/// The texts that the fuzz target begins with.
fn seeds() -> Vec<String> {
    let folder = format!("{}/tests/fuzz/corpus/import", kit::REPOSITORY);
    let files = fs::read_dir(folder).expect("a folder").map(|file| file.expect("a file").path());
    let mut files: Vec<_> = files.collect();
    files.sort();
    files.iter().map(|file| fs::read_to_string(file).expect("a text")).collect()
}

#[test]
fn each_kind_has_a_seed_that_becomes_a_policy() {
    let seeds = seeds();
    for kind in egress_warden_tool::in_process::kinds() {
        let of_kind = seeds.iter().filter_map(|seed| seed.strip_prefix(&format!("{kind}\n")));
        let imports = |text: &&str| {
            let file = if text.starts_with('{') { "input.json" } else { "input" };
            let imported = egress_warden_tool::in_process::import(&kind, &[(file, text)], None);
            imported.is_ok_and(|imported| imported.text.contains("\n- id: "))
        };
        assert!(of_kind.clone().any(|text| imports(&text)), "{kind}");
    }
    seeds.iter().for_each(|seed| imports::check(seed.as_bytes()));
}

#[test]
fn whatever_becomes_of_a_text_its_import_is_told_or_valid() {
    let cases = std::env::var("IMPORTS").ok().and_then(|it| it.parse().ok()).unwrap_or(2_000);
    let seeds = seeds();
    let config = Config { cases, failure_persistence: None, ..Config::default() };
    let run =
        TestRunner::new(config).run(&(0..seeds.len(), vec(any::<u8>(), 0..64)), |(seed, bytes)| {
            let _ = imports::check_changed(&seeds[seed], &mut Unstructured::new(&bytes));
            Ok(())
        });
    run.unwrap_or_else(|error| panic!("{error}"));
}

/// The text of a seed of a kind.
fn seed(kind: &str) -> String {
    let path = format!("{}/tests/fuzz/corpus/import/{kind}", kit::REPOSITORY);
    let seed = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    seed.strip_prefix(&format!("{kind}\n")).expect("its kind").to_owned()
}

/// The tool with so little memory that what grows without bound ends it.
fn import(kind: &str, path: &Path) -> Output {
    let limited = r#"ulimit -v 1048576; exec "$0" import --allow-partial --from "$1" "$2""#;
    let mut shell = Command::new("sh");
    shell.args(["-c", limited, env!("CARGO_BIN_EXE_egress-warden"), kind]).arg(path);
    shell.output().expect("a shell")
}

#[test]
fn input_that_cannot_be_read_is_told_briefly_by_every_kind() {
    let folder = tempfile::tempdir().expect("a folder");
    let aliases = (1..30).fold("a0: &a0 [x, x]\n".to_owned(), |text, it| {
        let before = it - 1;
        format!("{text}a{it}: &a{it} [*a{before}, *a{before}]\n")
    });
    let long = format!("a: &a {}\nb: [{}]\n", "x".repeat(1 << 20), "*a, ".repeat(2_000));
    let nested = format!(
        "a: {}{}{}\n",
        (0..100).map(|it| format!("&a{it} [")).collect::<String>(),
        "x, ".repeat(300_000),
        "]".repeat(100)
    );
    let deep = format!("a: {}", "[".repeat(100_000));
    let binary: Vec<u8> = (0..=255).cycle().take(10_000).collect();
    for (name, bytes, is_yaml) in [
        ("empty", &b""[..], false),
        ("blank", b" \n\n", false),
        ("binary", &binary, false),
        ("utf16", b"\xff\xfea\0.\0b\0", false),
        ("nul", b"a.example\0", false),
        ("values.yaml", aliases.as_bytes(), true),
        ("text.yaml", long.as_bytes(), true),
        ("anchors.yaml", nested.as_bytes(), true),
        ("cycle.yaml", b"jobs: &a {b: *a}\n", true),
        ("deep.yaml", deep.as_bytes(), true),
        ("half.json", br#"{"name": "a/urlLists/b", "values": ["a.exa"#, true),
    ] {
        let path = folder.path().join(name);
        fs::write(&path, bytes).expect("a file");
        for kind in egress_warden_tool::in_process::kinds() {
            let is_list = ["domains", "squid"].contains(&&*kind);
            // All other kinds read YAML by the same function.
            if !is_yaml || !is_list && (bytes.len() < 1_000 || kind == "smokescreen") {
                assert_told(&import(&kind, &path), name, &kind);
            }
        }
    }
    fs::create_dir(folder.path().join("hollow")).expect("a folder");
    for kind in egress_warden_tool::in_process::kinds() {
        assert_told(&import(&kind, &folder.path().join("missing")), "missing", &kind);
        assert_told(&import(&kind, &folder.path().join("hollow")), "hollow", &kind);
    }
}

/// Unreadable, and told in a line that names the input.
fn assert_told(output: &Output, name: &str, kind: &str) {
    let told = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{name} as {kind}: {told:.2000}");
    assert!(told.starts_with("error: ") && told.contains(name), "{name} as {kind}: {told:.2000}");
    assert!(told.len() < 2_000 && output.stdout.is_empty(), "{name} as {kind}: {told:.2000}");
}

/// Whether or not the half still says something, nothing in it makes the tool fail.
#[test]
fn half_a_file_and_lines_of_ten_megabytes_end_with_a_brief_answer() {
    let folder = tempfile::tempdir().expect("a folder");
    for kind in egress_warden_tool::in_process::kinds() {
        let seed = seed(&kind);
        let name = if seed.starts_with('{') { "input.json" } else { "input" };
        let path = folder.path().join(name);
        let host = seed.find(".example").expect("a host");
        let long = format!("{}{}{}", &seed[..host], "x".repeat(10 << 20), &seed[host..]);
        for text in [&seed[..seed.len() / 2], &seed[..seed.len() * 3 / 4], &*long] {
            fs::write(&path, text).expect("a file");
            let output = import(&kind, &path);
            let told = String::from_utf8_lossy(&output.stderr);
            assert!(matches!(output.status.code(), Some(0 | 2)), "{kind}: {told:.2000}");
            assert!(told.len() + output.stdout.len() < 10_000, "{kind}: {told:.2000}");
        }
    }
}

#[test]
fn what_is_passed_over_is_told_briefly_and_without_control_characters() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("lists.yaml");
    let name = "\\a\\e]0;x".repeat(100_000);
    let text = format!(
        "kind: \"{name}\"\nmetadata: {{name: a}}\n---\nname: a/urlLists/b\nvalues: [a.example]\n"
    );
    fs::write(&path, text).expect("a file");
    // As to a terminal.
    let mut tool = Command::new(env!("CARGO_BIN_EXE_egress-warden"));
    let output = tool.args(["--color", "always", "import"]).arg(&path).output().expect("it runs");
    let told = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{told:.2000}");
    assert!(told.contains("passed over:") && told.len() < 2_000, "{told:.2000}");
    assert!(!told.contains(['\x1b', '\x07']), "{told:.2000}");
}

#[test]
fn two_kinds_are_not_imported_together() {
    let folder = tempfile::tempdir().expect("a folder");
    let write = |name: &str, kind: &str| {
        let path = folder.path().join(name);
        fs::write(&path, seed(kind)).expect("a file");
        path
    };
    let files = [write("squid.conf", "squid"), write("acl.yaml", "smokescreen")];
    let tool =
        Command::new(env!("CARGO_BIN_EXE_egress-warden")).arg("import").args(&files).output();
    let output = tool.expect("the tool runs");
    let told = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{told}");
    assert!(
        told.contains("acl.yaml: smokescreen beside squid: import one kind at a time"),
        "{told}"
    );
}

/// How many hosts each list below names.
const MANY: usize = 10_000;

/// In time that grows as the list does: what grows with its square takes minutes here.
#[test]
fn ten_thousand_hosts_of_every_kind_are_imported() {
    let hosts: Vec<String> = (0..MANY).map(|it| format!("h{it}.n{}.example", it % 100)).collect();
    let each = |form: &dyn Fn(&str) -> String| hosts.iter().map(|it| form(it)).collect::<String>();
    let indented = |host: &str| format!("  - {host}\n");
    let list = format!("{:?}", hosts);
    let endpoints = hosts.join(":443 ");
    for (kind, rules, text) in [
        ("domains", 1, each(&|host| format!("{host}:443\n"))),
        ("squid", 1, format!("acl a dstdomain {}\nhttp_access allow a\n", hosts.join(" "))),
        (
            "squid",
            1,
            format!(
                "{}acl a dstdomain .n0.example\nhttp_access allow a\nhttp_access deny all\n",
                each(&|host| format!("acl {host} dstdomain {host}\nhttp_access deny {host}\n"))
            ),
        ),
        (
            "harden-runner",
            1,
            format!(
                "jobs: {{a: {{steps: [{{uses: step-security/harden-runner, with: {{allowed-endpoints: \"{endpoints}:443\"}}}}]}}}}\n"
            ),
        ),
        ("google-swp", 1, format!("name: a/urlLists/b\nvalues:\n{}", each(&indented))),
        (
            "aws-network-firewall",
            1,
            format!(
                r#"{{"RulesSource": {{"RulesSourceList": {{"Targets": {list}, "TargetTypes": ["TLS_SNI", "HTTP_HOST"], "GeneratedRulesType": "ALLOWLIST"}}}}}}"#
            ),
        ),
        (
            "smokescreen",
            MANY,
            format!(
                "version: v1\nservices:\n{}",
                each(&|host| format!(
                    "- {{name: a, action: enforce, allowed_domains: [{host}]}}\n"
                ))
            ),
        ),
    ] {
        let imported = egress_warden_tool::in_process::import(kind, &[("input", &text)], None);
        let imported = imported.unwrap_or_else(|error| panic!("{kind}: {error}"));
        assert_eq!(imported.text.matches("\n- id: ").count(), rules, "{kind}");
        let words = imported.text.split(|it: char| !matches!(it, 'a'..='z' | '0'..='9' | '.'));
        let named: BTreeSet<&str> =
            words.filter(|it| it.starts_with('h') && it.contains(".n")).collect();
        // Those below `.n0.example` are taken out, the others not named.
        let expected = if text.contains("deny all") { MANY / 100 } else { MANY };
        assert_eq!(named.len(), expected, "{kind}");
    }
}
