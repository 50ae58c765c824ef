//! A policy, requests or connections, and what is to become of them; beside it what holds for every
//! one.

use std::collections::BTreeMap;
use std::fmt::Debug;

use log::Level;
use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::{Map, Value};

use super::bytes::Bytes;
use super::connection::Connection;
use super::proxy::{Answer, Headers, Outcome};
use super::request::Request;

/// What the keys of a request's record begin with.
const OF_REQUESTS: &str = "egress_";
/// The same for a connection.
const OF_CONNECTIONS: &str = "egress_connection_";

/// The record's keys, without what all begin with, in the order that they have in the JSON line.
const RECORD_KEYS: [&str; 7] =
    ["decision", "rule", "reason", "policy", "would", "would_rule", "would_reason"];

/// The keys that follow them.
const DETAIL_KEYS: [&str; 11] = [
    "start_time",
    "host",
    "authority",
    "port",
    "method",
    "path",
    "source_principal",
    "downstream_remote_address",
    "downstream_local_address",
    "requested_server_name",
    "request_id",
];

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CaseFile {
    /// Which part of the language the file covers: for its reader.
    #[serde(rename = "about")]
    _about: String,
    /// The plugin's root id: under one that begins `connections` the cases are connections.
    #[serde(default)]
    pub root_id: String,
    policy: Option<Value>,
    /// Policies under which the same is expected of every case.
    #[serde(default)]
    policies: Vec<Value>,
    pub cases: Vec<Case>,
}

/// A sentence of the policy's meaning, shown by one request or connection or several alike.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Case {
    pub name: String,
    request: Option<Request>,
    #[serde(default)]
    requests: Vec<Request>,
    connection: Option<Connection>,
    #[serde(default)]
    connections: Vec<Connection>,
    pub expect: Expectation,
}

/// Of the record, a key that is not named must be absent. All else is compared where it is named.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Expectation {
    decision: String,
    rule: Option<String>,
    reason: Option<String>,
    would: Option<String>,
    would_rule: Option<String>,
    would_reason: Option<String>,
    /// The record's policy, its hash included.
    policy: Option<String>,
    status: Option<u16>,
    /// The JSON answer, exactly. `none`: no body.
    body: Option<Present<Map<String, Value>>>,
    /// The message of a gRPC answer of status 7.
    grpc_message: Option<String>,
    /// Headers after the filter: every value of a name.
    #[serde(default)]
    upstream: BTreeMap<String, Vec<Bytes>>,
    /// Some keys of the JSON line; `null` says that one is absent. `none`: no line.
    line: Option<Present<Map<String, Value>>>,
    level: Option<String>,
}

/// Something, or the word `none`.
#[derive(Deserialize)]
#[serde(untagged)]
enum Present<T> {
    Some(T),
    None(NoneWord),
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum NoneWord {
    None,
}

impl CaseFile {
    /// Each policy as the JSON text that a control plane hands on, and its name.
    pub fn policies(&self) -> impl Iterator<Item = (String, &Value)> {
        self.policy
            .iter()
            .chain(&self.policies)
            .map(|policy| (policy.to_string(), &policy["policy"]))
    }
}

impl Case {
    pub fn requests(&self) -> impl Iterator<Item = &Request> {
        self.request.iter().chain(&self.requests)
    }

    pub fn connections(&self) -> impl Iterator<Item = &Connection> {
        self.connection.iter().chain(&self.connections)
    }
}

/// Where an outcome is not what a case says, or breaks what holds for every request.
pub fn differences(expected: &Expectation, request: &Request, outcome: &Outcome) -> Vec<String> {
    let mut differences = Differences(Vec::new());
    compare_cluster(request.cluster.as_deref(), outcome, &mut differences);
    let state = filter_state(OF_REQUESTS, outcome, &mut differences);
    compare_record(expected, &state, &mut differences);
    match outcome.passed {
        true => compare_passed(outcome, &state, &mut differences),
        false => compare_refused(expected, outcome, &state, &mut differences),
    }
    for (name, values) in &expected.upstream {
        let values: Vec<_> = values.iter().map(|Bytes(value)| lossy(value)).collect();
        differences.compare(
            &format!("upstream {name}"),
            &values,
            &values_of(&outcome.headers, name),
        );
    }
    compare_lines(OF_REQUESTS, expected, outcome, &state, &mut differences);
    compare_counters("requests", outcome, &state, &mut differences);
    differences.0
}

/// Where the outcome of a connection is not what a case says, or breaks what holds for every one.
pub fn connection_differences(expected: &Expectation, outcome: &Outcome) -> Vec<String> {
    let mut differences = Differences(Vec::new());
    let state = filter_state(OF_CONNECTIONS, outcome, &mut differences);
    compare_record(expected, &state, &mut differences);
    let decision = if outcome.passed { "allow" } else { "deny" };
    differences.compare("decision", &Some(decision), &state.get("decision").map(|it| &**it));
    differences.compare("closings", &usize::from(!outcome.passed), &outcome.closings);
    differences.require(outcome.answers.is_empty(), "a connection is answered");
    compare_lines(OF_CONNECTIONS, expected, outcome, &state, &mut differences);
    compare_counters("connections", outcome, &state, &mut differences);
    differences.0
}

struct Differences(Vec<String>);

impl Differences {
    fn compare<T: Debug + PartialEq>(&mut self, what: &str, expected: &T, got: &T) {
        if expected != got {
            self.0.push(format!("{what}: expected {expected:?}, got {got:?}"));
        }
    }

    fn require(&mut self, holds: bool, rule: &str) {
        if !holds {
            self.0.push(rule.to_owned());
        }
    }
}

/// What stands beside the record, for the guard.
const JUDGED_CLUSTER: &str = "egress_cluster";

/// A request that passes may be held to the cluster that was judged; nothing else ever is.
fn compare_cluster(cluster: Option<&str>, outcome: &Outcome, differences: &mut Differences) {
    let keys = outcome.filter_state.iter().filter(|(key, _)| key == JUDGED_CLUSTER);
    let judged: Vec<_> = keys.map(|(_, value)| lossy(value)).collect();
    if !judged.is_empty() {
        differences.require(outcome.passed, "what does not pass is held to a cluster");
        differences.compare("cluster", &vec![cluster.unwrap_or_default().to_owned()], &judged);
    }
}

/// By the record's keys, without what all begin with.
type FilterState = BTreeMap<&'static str, String>;

/// What a request or a connection leaves, which must be its own record and nothing else. The reason
/// `rule` is left out, or written where a connection had to wait for its verdict.
fn filter_state(prefix: &str, outcome: &Outcome, differences: &mut Differences) -> FilterState {
    let mut state = FilterState::new();
    let is_record = |key: &str| prefix != OF_REQUESTS || key != JUDGED_CLUSTER;
    let record = outcome.filter_state.iter().filter(|(key, _)| is_record(key));
    for (key, value) in record {
        let known = RECORD_KEYS.iter().find(|known| key.strip_prefix(prefix) == Some(**known));
        let Some(known) = known else {
            differences.require(false, &format!("`{key}` is no key of such a record"));
            continue;
        };
        let earlier = state.insert(known, lossy(value));
        // A connection that waits has a record of its own until its verdict falls.
        let may_replace = prefix == OF_CONNECTIONS;
        differences.require(may_replace || earlier.is_none(), &format!("`{key}` is set twice"));
    }
    for reason in ["reason", "would_reason"] {
        if prefix == OF_CONNECTIONS && state.get(reason).is_some_and(|it| it == "rule") {
            state.remove(reason);
        }
    }
    state
}

fn compare_record(expected: &Expectation, state: &FilterState, differences: &mut Differences) {
    let keys = [
        ("decision", &Some(expected.decision.clone())),
        ("rule", &expected.rule),
        ("reason", &expected.reason),
        ("would", &expected.would),
        ("would_rule", &expected.would_rule),
        ("would_reason", &expected.would_reason),
    ];
    for (key, value) in keys {
        differences.compare(key, value, &state.get(key).cloned());
    }
    let policy = state.get("policy");
    let hash = policy.and_then(|policy| policy.split_once('@')).map_or("", |(_, hash)| hash);
    let is_hash =
        hash.len() == 12 && hash.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'));
    differences
        .require(is_hash, &format!("policy: expected a name, `@` and 12 digits, got {policy:?}"));
    if expected.policy.is_some() {
        differences.compare("policy", &expected.policy.as_ref(), &policy);
    }
}

fn compare_passed(outcome: &Outcome, state: &FilterState, differences: &mut Differences) {
    differences.require(
        state.get("decision").is_some_and(|decision| decision == "allow"),
        "the request passes without the decision `allow`",
    );
    differences.require(outcome.answers.is_empty(), "the request passes and is answered");
    let pseudo = |headers: &Headers| -> Headers {
        headers.iter().filter(|(name, _)| name.starts_with(b":")).cloned().collect()
    };
    differences.compare("pseudo-headers", &pseudo(&outcome.arrived), &pseudo(&outcome.headers));
}

fn compare_refused(
    expected: &Expectation,
    outcome: &Outcome,
    state: &FilterState,
    differences: &mut Differences,
) {
    differences.require(
        state.get("decision").is_some_and(|decision| decision == "deny"),
        "the request is stopped without the decision `deny`",
    );
    differences.compare("headers of a refused request", &outcome.arrived, &outcome.headers);
    let [answer] = outcome.answers.as_slice() else {
        differences.require(false, &format!("expected one answer, got {:?}", outcome.answers));
        return;
    };
    let reason = state.get("reason").map_or("rule", String::as_str);
    differences.compare("details", &format!("egress_denied[{reason}]"), &answer.details);
    if let Some(status) = expected.status {
        differences.compare("status", &status, &answer.status);
    }
    if let Some(message) = &expected.grpc_message {
        differences.compare("grpc message", message, &lossy(&answer.body));
    }
    let is_grpc = outcome
        .arrived
        .iter()
        .any(|(name, value)| name == b"content-type" && value.starts_with(b"application/grpc"));
    differences.compare("grpc status", &is_grpc.then_some(7), &answer.grpc_status);
    match &expected.body {
        Some(Present::Some(body)) => compare_body(body, answer, differences),
        Some(Present::None(NoneWord::None)) => {
            differences.compare("body", &String::new(), &lossy(&answer.body))
        }
        None => {}
    }
}

fn compare_body(expected: &Map<String, Value>, answer: &Answer, differences: &mut Differences) {
    let got =
        serde_json::from_slice(&answer.body).unwrap_or_else(|_| Value::from(lossy(&answer.body)));
    differences.compare("body", &Value::Object(expected.clone()), &got);
    let types: Vec<_> = answer
        .headers
        .iter()
        .filter(|(name, _)| name == "content-type")
        .map(|(_, value)| value.as_str())
        .collect();
    differences.compare("content-type", &vec!["application/json"], &types);
}

fn compare_lines(
    prefix: &str,
    expected: &Expectation,
    outcome: &Outcome,
    state: &FilterState,
    differences: &mut Differences,
) {
    let (level, text) = match (outcome.lines.as_slice(), &expected.line) {
        ([], None) if expected.level.is_none() => return,
        ([], Some(Present::None(_))) => return,
        ([line], None | Some(Present::Some(_))) => line,
        (lines, Some(Present::None(_))) => {
            return differences.require(false, &format!("expected no line, got {lines:?}"));
        }
        (lines, _) => {
            return differences.require(false, &format!("expected one line, got {lines:?}"));
        }
    };
    let is_refusal = |key| state.get(key).is_some_and(|verdict| verdict == "deny");
    let severity = match is_refusal("decision") || is_refusal("would") {
        true => Level::Warn,
        false => Level::Info,
    };
    differences.compare("level", &severity, level);
    if let Some(level_word) = &expected.level {
        differences.compare("level", level_word, &level.as_str().to_lowercase());
    }
    let is_break = |c: char| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}');
    differences.require(!text.contains(is_break), "the line holds a control or a line break");
    differences.require(!text.contains("</"), "the line may end a script");
    let Line(line) = match serde_json::from_str(text) {
        Ok(line) => line,
        Err(error) => return differences.require(false, &format!("{error} in the line {text}")),
    };
    let record_keys = RECORD_KEYS.iter().map(|key| format!("{prefix}{key}"));
    let known_keys: Vec<_> = record_keys.chain(DETAIL_KEYS.map(str::to_owned)).collect();
    let places: Vec<_> =
        line.iter().map(|(key, _)| known_keys.iter().position(|known| known == key)).collect();
    differences.require(
        places.iter().all(Option::is_some) && places.is_sorted_by(|left, right| left < right),
        &format!("the line's keys are not the known ones in their order: {text}"),
    );
    let line: Map<String, Value> = line.into_iter().collect();
    for (key, value) in recorded_keys(state) {
        differences.compare(
            &format!("line {key}"),
            &value.map(Value::from).as_ref(),
            &line.get(&format!("{prefix}{key}")),
        );
    }
    if let Some(Present::Some(keys)) = &expected.line {
        for (key, value) in keys {
            let value = Some(value).filter(|value| !value.is_null());
            differences.compare(&format!("line {key}"), &value, &line.get(key));
        }
    }
}

fn compare_counters(
    subject: &str,
    outcome: &Outcome,
    state: &FilterState,
    differences: &mut Differences,
) {
    let prefix = format!("egress_warden.{subject}.");
    let others = [".would.", ".rule."].map(|kind| format!("egress_warden.{subject}{kind}"));
    let decision = state.get("decision").map_or("", String::as_str);
    let reason = state.get("reason").map_or("rule", String::as_str);
    let is_verdict = |name: &str| {
        name.starts_with(&prefix) && !others.iter().any(|other| name.starts_with(other))
    };
    let counted: Vec<_> = outcome.counters.iter().filter(|(name, _)| is_verdict(name)).collect();
    differences.compare("counted", &vec![(&format!("{prefix}{decision}.{reason}"), &1)], &counted);
}

/// The record's keys as the line has them: with the reason `rule` written out.
fn recorded_keys(state: &FilterState) -> Vec<(&'static str, Option<String>)> {
    let recorded = |key: &'static str| (key, state.get(key).cloned());
    let reason = |key: &'static str, verdict: &str| {
        let rule = state.contains_key(verdict).then(|| "rule".to_owned());
        (key, state.get(key).cloned().or(rule))
    };
    vec![
        recorded("decision"),
        recorded("rule"),
        reason("reason", "decision"),
        recorded("policy"),
        recorded("would"),
        recorded("would_rule"),
        reason("would_reason", "would"),
    ]
}

/// A JSON object with its keys in the order of the text, duplicates kept.
struct Line(Vec<(String, Value)>);

impl<'de> Deserialize<'de> for Line {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries;

        impl<'de> Visitor<'de> for Entries {
            type Value = Line;

            fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.write_str("a JSON object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Line, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                Ok(Line(entries))
            }
        }

        deserializer.deserialize_map(Entries)
    }
}

fn values_of(headers: &Headers, name: &str) -> Vec<String> {
    headers
        .iter()
        .filter(|(present, _)| present == name.as_bytes())
        .map(|(_, value)| lossy(value))
        .collect()
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
