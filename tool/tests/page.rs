//! The page of `report`: what it holds is what `replay` says of the same logs, and what it replaces is a page.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use flate2::read::GzDecoder;
use serde_json::{Value, json};
use std::io::Read;
use std::path::Path;
use std::process::{Command, Output};
use tempfile::TempDir;

fn tool(folder: &Path, args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_egress-warden"));
    command.current_dir(folder).args(args).output().expect("the tool runs")
}

fn folder(files: &[(&str, &str)]) -> TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    for (name, text) in files {
        std::fs::write(folder.path().join(name), text).expect(name);
    }
    folder
}

/// A block of data of a page.
fn block(page: &str, id: &str) -> Value {
    let tag = page.split_once(&format!(r#"id="{id}""#)).expect(id).1;
    let packed = tag.split_once('>').expect(id).1.split_once('<').expect(id).0;
    let packed = STANDARD.decode(packed).expect("base64");
    let mut text = String::new();
    GzDecoder::new(&packed[..]).read_to_string(&mut text).expect("gzip");
    serde_json::from_str(&text).expect(id)
}

fn page(folder: &Path) -> String {
    std::fs::read_to_string(folder.join("report.html")).expect("a page")
}

/// Requests of a few callers to a few hosts, some without a time, some in another form.
fn log() -> String {
    let mut log = String::new();
    for number in 0..500 {
        let host =
            ["a.test", "b.test", "x.w.test", "169.254.169.254", "bad,host", "c.test"][number % 6];
        let mut line = json!({
            "authority": host, "method": (["GET", "POST"][number % 2]), "path": format!("/{}?q={number}", number % 5),
            "response_code": 200, "upstream_host": (number % 4 != 0).then_some("192.0.2.1:443"),
            "upstream_cluster": format!("outbound|{}||{host}", [443, 80][number % 7 / 6]),
            "source_principal": (number % 9 != 0).then(|| format!("spiffe://td/ns/n{}/sa/a", number % 4)),
        });
        if number % 11 != 0 {
            line["start_time"] = format!("2026-11-25T{:02}:00:00Z", number % 24).into();
        }
        if number % 3 == 0 {
            line["egress_decision"] = ["allow", "deny"][number % 2].into();
        }
        log += &format!("{line}\n");
    }
    log
}

const POLICY: &str = "policy: p
default: deny
rules:
- {id: a, action: allow, to: [{hosts: [a.test]}]}
- {id: b, action: allow, until: '2026-11-25T12:00:00Z', to: [{hosts: [b.test]}]}
- {id: next, action: allow, state: dry-run, from: [{namespaces: [n1]}], to: [{hosts: ['*.w.test'], ports: [443]}]}
- {id: last, action: allow, state: retiring, to: [{hosts: [c.test]}]}
- {id: no-post, action: deny, to: [{hosts: [a.test], methods: [POST]}]}
";

#[test]
fn the_numbers_of_the_page_are_those_of_replay() {
    let folder = folder(&[("log", &log()), ("policy.yaml", POLICY)]);
    let folder = folder.path();
    let replayed = tool(folder, &["replay", "policy.yaml", "log", "--format", "json"]);
    let replayed: Value = serde_json::from_slice(&replayed.stdout).expect("JSON");
    let args =
        ["report", "log", "--policy", "policy.yaml", "-o", "report.html", "--format", "json"];
    let output = tool(folder, &args);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let told: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    for key in ["complete", "policy", "requests", "allowed", "denied", "lines"] {
        assert_eq!(told[key], replayed[key], "{key}");
    }
    assert_eq!(told["undecided"], replayed["undated"]["requests"]);
    let page = page(folder);
    assert_eq!(told["bytes"], page.len());
    let data = block(&page, "data");
    // Every verdict and every would-be verdict, with its requests.
    let sums = |judgement: usize| {
        let mut sums = std::collections::BTreeMap::<String, u64>::new();
        for row in data["outcomes"].as_array().expect("outcomes") {
            if !row[judgement].is_null() {
                *sums.entry(row[judgement].to_string()).or_default() +=
                    row[2].as_u64().expect("a count");
            }
        }
        sums
    };
    let of_replay = |key: &str| {
        let rows = replayed[key].as_array().expect(key).iter();
        let row = |row: &Value| {
            let words = json!([row["decision"], row["reason"], row["rule"]]);
            (words.to_string(), row["requests"].as_u64().expect("a count"))
        };
        rows.map(row).collect::<std::collections::BTreeMap<_, _>>()
    };
    assert_eq!(sums(0), of_replay("verdicts"));
    assert_eq!(sums(1), of_replay("would"));
    let flows = data["flows"].as_array().expect("flows");
    let requests: u64 = flows.iter().filter_map(|flow| flow[5].as_u64()).sum();
    assert_eq!(json!(requests), replayed["requests"]);
    // The same logs give the same bytes.
    assert_eq!(tool(folder, &args).status.code(), Some(0));
    assert!(self::page(folder) == page);
}

#[test]
fn without_a_policy_the_page_has_the_verdicts_of_the_log() {
    let nothing = "policy: p\ndefault: deny\nrules: []\n";
    let folder = folder(&[("log", &log()), ("policy.yaml", nothing)]);
    let output = tool(folder.path(), &["report", "log", "-o", "report.html"]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let data = block(&page(folder.path()), "data");
    let replayed = tool(folder.path(), &["replay", "policy.yaml", "log", "--format", "json"]);
    let replayed: Value = serde_json::from_slice(&replayed.stdout).expect("JSON");
    assert_eq!(data["head"]["classes"][4], replayed["logged"]["none"]);
    assert_eq!(data["head"]["policy"], Value::Null);
}

#[test]
fn queries_stand_in_the_page_only_if_they_are_asked_for() {
    let folder = folder(&[("log", &log().replace("q=", "token=s3cret"))]);
    for (more, is_there) in [(&[][..], false), (&["--queries"][..], true)] {
        let output = tool(folder.path(), &[&["report", "log", "-o", "report.html"], more].concat());
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        let page = page(folder.path());
        let blocks = [block(&page, "data"), block(&page, "rows")].map(|it| it.to_string()).concat();
        assert_eq!(blocks.contains("s3cret"), is_there);
        assert_eq!(block(&page, "data")["head"]["queries"], is_there);
    }
}

#[test]
fn logs_without_a_request_give_a_page_that_says_so() {
    for text in ["", "no request\nat all\n"] {
        let folder = folder(&[("log", text)]);
        let output = tool(folder.path(), &["report", "log", "-o", "report.html"]);
        assert_eq!(output.status.code(), Some(2), "{output:?}");
        let head = &block(&page(folder.path()), "data")["head"];
        assert_eq!(head["requests"], 0);
        assert!(head["empty"].as_str().is_some_and(|it| it.contains("log")), "{head}");
    }
}

#[test]
fn too_much_that_cannot_be_read_is_said_in_the_page() {
    let folder = folder(&[("log", &(log() + &"<b>no request</b>\n".repeat(20)))]);
    let output = tool(folder.path(), &["report", "log", "-o", "report.html"]);
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    let page = page(folder.path());
    let head = &block(&page, "data")["head"];
    assert!(
        head["caveat"].as_str().is_some_and(|it| it.starts_with("INCOMPLETE: 20 of 520")),
        "{head}"
    );
    assert!(!page.contains("<b>no request"));
}

#[test]
fn only_a_page_is_replaced() {
    let folder = folder(&[("log", &log()), ("report.html", "<!doctype html>\n<p>mine</p>\n")]);
    let output = tool(folder.path(), &["report", "log", "-o", "report.html"]);
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    assert!(
        String::from_utf8_lossy(&output.stderr)
            .contains("was not written by `egress-warden report`")
    );
    assert!(page(folder.path()).contains("mine"));
    let to_stdout = tool(folder.path(), &["report", "log", "-o", "-"]);
    std::fs::write(folder.path().join("report.html"), &to_stdout.stdout).expect("a page");
    let output = tool(folder.path(), &["report", "log", "-o", "report.html"]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert_eq!(page(folder.path()).as_bytes(), to_stdout.stdout);
}
