//! The tool as it is run: what it prints, how it exits, and that no input makes it panic.
//!
//! `tool/tests/examples/*.md` are sessions with their output, and so are the examples of README.md and of `docs`; after a
//! change, `TRYCMD=overwrite cargo test -p egress-warden-tool --test cli` writes what comes now, for a look at the
//! difference.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};

#[test]
fn sessions_go_as_they_are_written() {
    // Their paths begin at the repository.
    std::env::set_current_dir(kit::REPOSITORY).expect("a repository");
    trycmd::TestCases::new().case("tool/tests/examples/*.md").case("README.md").case("docs/*.md");
}

#[test]
fn no_file_makes_it_panic() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).expect("a file");
        path
    };
    let files = [
        file("empty", b""),
        file("half.yaml", b"policy: t\nrules:\n- id: a\n  action: allow\n  to: [{hosts: [a.te"),
        file("half.json", br#"{"policy":"t","default":"de"#),
        file("nul", b"policy: t\ndefault: deny\n\0"),
        file("binary", &(0..=255).cycle().take(10_000).collect::<Vec<u8>>()),
        file("latin1.yaml", b"policy: t\ndefault: deny\nrules: [{note: \"\xe9\"}]\n"),
        file("utf16.yaml", b"\xff\xfep\0o\0l\0"),
        file("mark.yaml", b"\xef\xbb\xbfpolicy: t\ndefault: den\n"),
        file("deep.yaml", "[".repeat(100_000).as_bytes()),
        file("deep.json", r#"{"a":"#.repeat(100_000).as_bytes()),
        file("keys.yaml", b"? [a, b]\n: c\n"),
        file("bomb.yaml", bomb().as_bytes()),
        file("long.json", format!(r#"{{"policy":"{}"}}"#, "a".repeat(1 << 20)).as_bytes()),
        file("log.jsonl", br#"{"egress_decision":"deny"}"#),
        folder.path().join("missing"),
        folder.path().to_owned(),
    ];
    for path in &files {
        for arguments in [
            &["check"][..],
            &["check", "--fix", "--format", "json"],
            &["explain", "--host", "a.test"],
            &["test", "envoy/policy.yaml"],
            &["explain", "envoy/policy.yaml", "--requests"],
            &["bundle"],
            &["import"],
            &["render", "plan"],
            &["render", "plan", "envoy/policy.yaml", "--gateway"],
        ] {
            let output = tool(&[arguments, &[&path.to_string_lossy()]].concat(), b"");
            assert_complains(&output, path, arguments);
        }
    }
}

/// A team's file, cases and policies go through one reader: what it refuses, it refuses everywhere.
#[test]
fn what_readers_of_yaml_take_differently_is_refused_by_every_command() {
    let folder = tempfile::tempdir().expect("a folder");
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        std::fs::write(&path, text).expect("a file");
        path.to_string_lossy().into_owned()
    };
    // Of each kind of file the first line is `KEY: p`.
    let kinds = [
        ("policy", "default: deny\n"),
        (
            "about",
            "cases:\n- {name: a, request: {host: a.test}, expect: {decision: deny, reason: default}}\n",
        ),
        ("team", "namespaces: [a]\n"),
    ];
    let [policy, cases, _] = kinds.map(|(key, rest)| format!("{key}: p\n{rest}"));
    let (good, log) = (write("good.yaml", &policy), write("log.jsonl", ""));
    let good_cases = write("good.cases.yaml", &cases);
    assert!(tool(&["test", &good, &good_cases], b"").status.success());
    write("team/policy.yaml", &policy);
    for (odd, line) in [
        ("KEY: p\nKEY: p\n", 2),
        ("KEY: !!binary cA==\n", 1),
        ("KEY: !x p\n", 1),
        ("KEY: 0443\n", 1),
        ("KEY: no\n", 1),
        ("KEY: 2027-01-31\n", 1),
        ("KEY: p\n<<: {KEY: p}\n", 2),
        ("# \u{2028}\nKEY: p\n", 1),
        ("%YAML 1.1\n---\nKEY: p\n", 1),
        ("KEY: p\n---#x:\n  KEY: q\n", 2),
        ("KEY: p\n...\nKEY: q\n", 3),
    ] {
        let [bad, bad_cases, bad_team] =
            kinds.map(|(key, rest)| format!("{}{rest}", odd.replace("KEY", key)));
        let bad = write("bad.yaml", &bad);
        let bad_cases = write("bad.cases.yaml", &bad_cases);
        let bad_team = write("team/team.yaml", &bad_team);
        let team = folder.path().join("team").to_string_lossy().into_owned();
        for (arguments, file) in [
            (&["check", &bad][..], &bad),
            (&["explain", &bad, "--host", "a.test"], &bad),
            (&["test", &bad, &good_cases], &bad),
            (&["test", &good, &bad_cases], &bad_cases),
            (&["replay", &bad, &log], &bad),
            (&["diff", &good, &bad], &bad),
            (&["diff", &bad, &good], &bad),
            (&["learn", "--base", &bad, &log], &bad),
            (&["bundle", &bad], &bad),
            (&["bundle", &team], &bad_team),
        ] {
            let output = tool(arguments, b"");
            let said = format!("{}{}", text(&output.stdout), text(&output.stderr));
            assert!(matches!(output.status.code(), Some(1 | 2)), "{arguments:?} {odd}: {said}");
            let place = format!("{file}:{line}:");
            assert!(said.contains(&place), "{arguments:?} {odd}: no {place} in {said}");
        }
    }
}

#[test]
fn a_gigantic_file_is_refused_for_its_size() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("gigantic.yaml");
    // A hole: it takes no room.
    std::fs::File::create(&path).and_then(|file| file.set_len(8 << 30)).expect("a file");
    let output = tool(&["check", &path.to_string_lossy()], b"");
    assert_complains(&output, &path, &["check"]);
    assert!(text(&output.stderr).contains("more than 67108864 bytes"), "{output:?}");
}

/// `kubectl apply` keeps an object as JSON in an annotation, and those may have 262,144 bytes.
#[test]
fn a_policy_that_kubectl_apply_refuses_for_its_size_is_warned_of() {
    let policy = |length: usize| {
        let rules = |hosts: &str| {
            format!(r#"[{{"id":"a","action":"allow","to":[{{"hosts":[{hosts}]}}]}}]"#)
        };
        let text = |hosts: &str| format!(r#"{{"policy":"large","rules":{}}}"#, rules(hosts));
        let room = length - text("").len();
        let mut hosts: String =
            (0..room / 17 - 2).map(|it| format!("\"h{it:05}.example\",")).collect();
        let last = room - hosts.len() - "\".example\"".len();
        hosts.push_str(&format!("\"{}.example\"", "a".repeat(last)));
        text(&hosts)
    };
    let large = policy(262_144);
    // YAML without quotes is shorter than what it says.
    let yaml = large.replace('"', "").replace(':', ": ");
    assert!(yaml.len() < 262_000);
    for (policy, is_large) in [(policy(262_143), false), (large, true), (yaml, true)] {
        let output = tool(&["check", "-", "--format", "json"], policy.as_bytes());
        assert!(output.status.success(), "{output:?}");
        let told = text(&output.stdout);
        assert_eq!(told.contains(r#""kind":"large""#), is_large, "{}: {told:.2000}", policy.len());
        assert_eq!(told.contains("--server-side"), is_large, "{}", policy.len());
    }
}

#[test]
fn standard_input_is_a_file_like_any_other() {
    let policy = std::fs::read(format!("{}/envoy/policy.yaml", kit::REPOSITORY)).expect("a policy");
    let output = tool(&["check", "-", "--at", "2026-11-25T00:00:00Z"], &policy);
    assert!(output.status.success(), "{output:?}");
    assert!(text(&output.stdout).starts_with("standard input: local-egress@"), "{output:?}");
    let output = tool(
        &["check", "--fix", "-"],
        b"policy: t\nrules: [{id: a, action: deny, to: [{hosts: [A.test]}]}] # b\n",
    );
    assert!(output.status.success(), "{output:?}");
    assert_eq!(
        text(&output.stdout),
        "policy: t\nrules: [{id: a, action: deny, to: [{hosts: [a.test]}]}] # b\n"
    );
}

#[test]
fn nobody_reading_on_is_no_failure() {
    let request = br#"{"host":"a.test"}"#;
    let mut tool = Command::new(env!("CARGO_BIN_EXE_egress-warden"))
        .current_dir(kit::REPOSITORY)
        .args(["explain", "envoy/policy.yaml", "--requests", "-", "--format", "json"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the tool runs");
    drop(tool.stdout.take());
    let mut input = tool.stdin.take().expect("a pipe");
    for _ in 0..10_000 {
        if input.write_all(&[request, &b"\n"[..]].concat()).is_err() {
            break;
        }
    }
    drop(input);
    let output = tool.wait_with_output().expect("the tool ends");
    assert_eq!((output.status.code(), text(&output.stderr).as_str()), (Some(0), ""));
}

/// In a terminal of that width, and in a wider one, where long lines are hard to read.
#[test]
fn help_fits_80_columns() {
    let help = |command: &[&str], columns: &str| {
        let mut help = Command::new(env!("CARGO_BIN_EXE_egress-warden"));
        let output = help.args(command).env("COLUMNS", columns).output().expect("the tool runs");
        assert!(output.status.success(), "{command:?}: {output:?}");
        text(&output.stdout)
    };
    let all = help(&["--help"], "80");
    let listed = all.lines().skip_while(|line| *line != "Commands:").skip(1);
    let listed = listed.take_while(|line| !line.is_empty());
    // What begins further in goes on with the line above.
    let commands = listed.filter_map(|line| line.strip_prefix("  ")?.split(' ').next());
    let commands: Vec<&str> = commands.filter(|command| !command.is_empty()).collect();
    assert!(commands.contains(&"check") && commands.contains(&"man"), "{commands:?}");
    for command in std::iter::once(vec![]).chain(commands.iter().map(|command| vec![*command])) {
        for form in ["--help", "-h"].into_iter().filter(|_| command != ["help"]) {
            let command = [&command[..], &[form]].concat();
            for columns in ["80", "200"] {
                for line in help(&command, columns).lines() {
                    assert!(line.chars().count() <= 80, "{command:?} at {columns}: {line}");
                }
            }
        }
    }
}

#[test]
fn the_cases_that_help_shows_are_cases() {
    let help = text(&tool(&["test", "--help"], b"").stdout);
    let cases = help.split_once("A file of cases:\n").and_then(|(_, rest)| rest.split_once("\n\n"));
    let (cases, _) = cases.expect("a file of cases");
    let folder = tempfile::tempdir().expect("a folder");
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).expect("a file");
        path.to_string_lossy().into_owned()
    };
    let cases = write("cases.yaml", cases);
    let policy = write(
        "policy.yaml",
        "policy: p\nrules:\n- id: stripe\n  action: allow\n  from: [{namespaces: [shop]}]\n  \
         to: [{hosts: [api.stripe.com]}]\n  stamp: {set: {x-egress-team: \"{namespace}\"}}\n",
    );
    let output = tool(&["test", &policy, &cases], b"");
    assert!(output.status.success(), "{}", text(&output.stdout));
    assert!(text(&output.stdout).starts_with("3 cases"), "{}", text(&output.stdout));
}

#[test]
fn colour_comes_only_where_it_is_wanted() {
    let is_coloured = |arguments: &[&str]| {
        let arguments = [&["check", "envoy/policy.yaml"], arguments].concat();
        text(&tool(&arguments, b"").stdout).contains('\x1b')
    };
    assert!(!is_coloured(&[]), "no terminal reads");
    assert!(!is_coloured(&["--color", "never"]));
    assert!(is_coloured(&["--color", "always"]));
}

#[test]
fn a_bundle_is_the_policy_that_the_filter_reports() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("bundle.json");
    let output = tool(
        &[
            "bundle",
            "tool/tests/examples/bundle.in/policies",
            "-o",
            &path.to_string_lossy(),
            "--format",
            "json",
        ],
        b"",
    );
    assert!(output.status.success(), "{output:?}");
    let told: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let bundle = std::fs::read(&path).expect("a bundle");
    let config = egress_warden::config::read(&bundle).expect("a policy");
    assert_eq!(told["policy"], *config.revision);
    // RFC 8785: what sorts its keys writes the same.
    let value: serde_json::Value = serde_json::from_slice(&bundle).expect("JSON");
    assert_eq!(text(&bundle), value.to_string());
}

/// Whatever was asked of such a file: a message that names it, and 1 or 2.
fn assert_complains(output: &Output, path: &Path, arguments: &[&str]) {
    let said = format!("{}{}", text(&output.stdout), text(&output.stderr));
    let context = format!("{arguments:?} {}: {:?}\n{said}", path.display(), output.status);
    assert!(matches!(output.status.code(), Some(1 | 2)), "{context}");
    let name = path.file_name().expect("a name").to_string_lossy();
    assert!(said.contains(&*name), "{context}");
    assert!(!said.contains("panicked"), "{context}");
    assert!(said.len() < 100_000, "{} bytes of {context:.2000}", said.len());
}

fn tool(arguments: &[&str], input: &[u8]) -> Output {
    let mut tool = Command::new(env!("CARGO_BIN_EXE_egress-warden"))
        .current_dir(kit::REPOSITORY)
        .args(arguments)
        .env_remove("NO_COLOR")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the tool runs");
    // What does not read its input closes it.
    let _ = tool.stdin.take().expect("a pipe").write_all(input);
    tool.wait_with_output().expect("the tool ends")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("UTF-8")
}

/// Aliases of aliases: a few lines that stand for a billion values.
fn bomb() -> String {
    let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..10 {
        let alias = format!("*a{}", level - 1);
        text += &format!("a{level}: &a{level} [{}]\n", [&*alias; 10].join(", "));
    }
    text
}
