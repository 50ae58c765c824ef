//! What the tool says a policy does is what the filter does: the same verdict, rule and reason, for
//! every case file and for many generated requests. `tests/envoy/tool.rs` asks a real Envoy, too.

use arbitrary::Unstructured;
use egress_warden_simulate::Subject;
use egress_warden_simulate::case::CaseFile;
use kit::case::files;
use kit::case::plane::Plane as _;
use kit::mock::{InHost, Native};
use kit::naive::sample;
use proptest::collection::vec;
use proptest::prelude::any;
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::TestRunner;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, UNIX_EPOCH};

const POLICIES: usize = 500;
const REQUESTS: usize = 200;
const CONNECTIONS: usize = 50;

#[test]
fn the_tool_tests_every_case_file_as_the_filter_does() {
    let folder = tempfile::tempdir().expect("a folder");
    let policy = folder.path().join("policy.json");
    let mut failures = Vec::new();
    for file in files::read("tests/cases") {
        let cases: CaseFile = serde_saphyr::from_str(&file.text).expect(&file.name);
        let is_request = |subject: &Subject| matches!(subject, Subject::Request(_));
        let (requests, connections): (Vec<_>, Vec<_>) = cases.subjects().partition(is_request);
        for (text, name) in cases.policies() {
            std::fs::write(&policy, text).expect("a file");
            let output = Command::new(env!("CARGO_BIN_EXE_egress-warden"))
                .current_dir(kit::REPOSITORY)
                .args(["test", "--format", "json", "--at", "2026-11-23T10:00:00Z"])
                .arg(&policy)
                .arg(format!("{}/{}", kit::REPOSITORY, file.name))
                .output()
                .expect("the tool runs");
            let told: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
            let counts = (&told["requests"], &told["connections"]);
            if !output.status.success()
                || counts != (&json!(requests.len()), &json!(connections.len()))
            {
                let complaint = String::from_utf8_lossy(&output.stderr);
                failures.push(format!("{} {name}: {told} {complaint}", file.name));
            }
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn the_tool_explains_what_the_filter_does() {
    let mut runner = TestRunner::deterministic();
    let bytes = vec(any::<u8>(), 24 << 10);
    let batches: Vec<Batch> = (0..POLICIES)
        .map(|_| Batch::of(&bytes.new_tree(&mut runner).expect("bytes").current()))
        .collect();
    let reasons = thread::scope(|scope| {
        let halves = batches.chunks(POLICIES.div_ceil(2)).map(|half| {
            scope.spawn(|| half.iter().flat_map(Batch::compare).collect::<BTreeSet<_>>())
        });
        let halves: Vec<_> = halves.collect();
        halves.into_iter().flat_map(|half| half.join().expect("they agree")).collect()
    });
    // Else too little came up.
    let expected: BTreeSet<_> = [
        "allow default",
        "allow monitor",
        "allow rule",
        "deny connect",
        "deny default",
        "deny expired",
        "deny forbidden_address",
        "deny identity",
        "deny ip_literal",
        "deny malformed",
        "deny rule",
        "deny sni",
        "deny unknown",
    ]
    .map(str::to_owned)
    .into();
    assert_eq!(expected, reasons);
}

/// A policy with requests and connections, as case files write them.
struct Batch {
    policy: String,
    /// That of the plugin that judges the connections.
    root_id: &'static str,
    subjects: Vec<Value>,
}

type Record = BTreeMap<String, String>;

impl Batch {
    fn of(bytes: &[u8]) -> Self {
        let mut bytes = Unstructured::new(bytes);
        let policy = sample::policy(&mut bytes).expect("a policy").to_string();
        let mut subjects = Vec::new();
        for _ in 0..REQUESTS {
            subjects.push(written(&sample::request(&mut bytes).expect("a request")));
        }
        for _ in 0..CONNECTIONS {
            let connection = sample::connection(&mut bytes).expect("a connection");
            subjects.push(json!({ "connection": written_connection(&connection) }));
        }
        let root_id = *bytes.choose(&["connections", "connections:mesh-names"]).expect("a root id");
        Self { policy, root_id, subjects }
    }

    /// Sends each of them through the filter in the mock host and through the tool; panics where
    /// they differ, else tells what came up.
    fn compare(&self) -> Vec<String> {
        let (filter, tool) = (self.by_the_filter(), self.by_the_tool());
        assert_eq!(filter.len(), tool.len());
        for ((subject, filter), tool) in self.subjects.iter().zip(&filter).zip(&tool) {
            assert_eq!(
                filter, tool,
                "left: the filter, right: the tool\n{}\n{subject}",
                self.policy
            );
        }
        filter
            .iter()
            .map(|record| {
                [word(record, "decision"), word(record, "reason")]
                    .map(Option::unwrap_or_default)
                    .join(" ")
            })
            .collect()
    }

    fn by_the_filter(&self) -> Vec<Record> {
        kit::mock::in_a_worker::<Native, _>(|worker| {
            let mut host = InHost(worker);
            let [requests, connections] =
                ["", self.root_id].map(|id| host.load(id, &self.policy).expect("a policy"));
            let sent = self.subjects.iter().map(|subject| {
                let subject = Subject::from_json(subject.to_string().as_bytes()).expect("one");
                let root = match subject {
                    Subject::Request(_) => &requests,
                    Subject::Connection(_) => &connections,
                };
                host.send(root, &subject).filter_state.into_iter().collect()
            });
            sent.collect()
        })
    }

    fn by_the_tool(&self) -> Vec<Record> {
        let policy = tempfile::NamedTempFile::with_suffix(".json").expect("a file");
        std::fs::write(&policy, &self.policy).expect("a file");
        let mut tool = Command::new(env!("CARGO_BIN_EXE_egress-warden"))
            .current_dir(kit::REPOSITORY)
            .args(["explain", "--format", "json", "--root-id", self.root_id, "--requests", "-"])
            .arg(policy.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the tool runs");
        let mut input = tool.stdin.take().expect("a pipe");
        let lines: String = self.subjects.iter().map(|subject| format!("{subject}\n")).collect();
        // The tool answers while it reads.
        let writing = thread::spawn(move || input.write_all(lines.as_bytes()));
        let output = tool.wait_with_output().expect("the tool ends");
        writing.join().expect("no panic").expect("the tool reads on");
        let text = String::from_utf8(output.stdout).expect("UTF-8");
        text.lines().map(told).collect()
    }
}

/// What the tool told of one subject: its record, which its own words must agree with.
fn told(line: &str) -> Record {
    let told: Value = serde_json::from_str(line).expect("JSON");
    let record: Record = serde_json::from_value(told["record"].clone()).expect("a record");
    for key in ["decision", "rule", "reason"] {
        assert_eq!(told[key].as_str(), word(&record, key), "{line}");
    }
    record
}

/// What a record of either kind says under a key, the reason `rule` written out.
fn word<'a>(record: &'a Record, key: &str) -> Option<&'a str> {
    let prefix = match record.contains_key("egress_decision") {
        true => "egress_",
        false => "egress_connection_",
    };
    let recorded = record.get(&format!("{prefix}{key}")).map(String::as_str);
    recorded.or_else(|| (key == "reason").then_some("rule"))
}

/// Bytes as case files write them where they need not be text.
fn hex(bytes: &[u8]) -> Value {
    let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    json!({ "hex": digits })
}

fn time(now: Option<u64>) -> String {
    let Some(now) = now else { return "none".to_owned() };
    humantime::format_rfc3339_nanos(UNIX_EPOCH + Duration::from_nanos(now)).to_string()
}

fn written_connection(connection: &kit::naive::Request) -> Value {
    let mut written = json!({ "sni": hex(&connection.authority), "at": time(connection.now) });
    if let Some(principal) = &connection.principal {
        written["principal"] = principal.as_str().into();
    }
    written
}

/// A request as case files write it.
fn written(request: &kit::naive::Request) -> Value {
    let mut written = json!({
        "authority": hex(&request.authority),
        "method": hex(&request.method),
        "tls": request.server_name.is_some(),
        "at": time(request.now),
    });
    match &request.path {
        Some(path) => written["path"] = hex(path),
        None => written["without"] = json!([":path"]),
    }
    if let Some(port) = request.cluster_port {
        written["cluster"] = format!("outbound|{port}||a.test").into();
    }
    if let Some(principal) = &request.principal {
        written["principal"] = principal.as_str().into();
    }
    if let Some(name) = request.server_name.as_ref().filter(|name| !name.is_empty()) {
        written["sni"] = hex(name);
    }
    written
}
