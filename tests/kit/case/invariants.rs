//! What holds for every request and every connection, whatever the policy: the filter leaves one record
//! of it, a line and counters that say the same, and an answer or none.

use egress_warden_simulate::{Headers, Outcome, Subject};
use log::Level;
use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::{Map, Value};
use std::fmt::Debug;

/// The record's keys, without what all begin with, in the order that they have in the JSON line.
const RECORD_KEYS: [&str; 7] =
    ["decision", "rule", "reason", "policy", "would", "would_rule", "would_reason"];

/// The keys that follow them.
const DETAIL_KEYS: [&str; 12] = [
    "start_time",
    "host",
    "authority",
    "dialled_host",
    "port",
    "method",
    "path",
    "source_principal",
    "downstream_remote_address",
    "downstream_local_address",
    "requested_server_name",
    "request_id",
];

/// Where an outcome breaks what holds for every one.
pub fn violations(subject: &Subject, outcome: &Outcome) -> Vec<String> {
    let mut found = Differences(Vec::new());
    compare_record(subject, outcome, &mut found);
    compare_lines(outcome, &mut found);
    match subject {
        Subject::Request(request) => {
            compare_cluster(request.cluster(), outcome, &mut found);
            match outcome.passed {
                true => compare_passed(outcome, &mut found),
                false => compare_refused(outcome, &mut found),
            }
            compare_counters("requests", outcome, &mut found);
        }
        Subject::Connection(_) => {
            found.compare("closings", &usize::from(!outcome.passed), &outcome.closings);
            found.require(outcome.answers.is_empty(), "a connection is answered");
            compare_counters("connections", outcome, &mut found);
        }
    }
    found.0
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

/// A request that passes may be held to the cluster that was judged; nothing else ever is.
fn compare_cluster(cluster: Option<String>, outcome: &Outcome, differences: &mut Differences) {
    if !outcome.clusters.is_empty() {
        differences.require(outcome.passed, "what does not pass is held to a cluster");
        differences.compare("cluster", &vec![cluster.unwrap_or_default()], &outcome.clusters);
    }
}

/// The filter state is a record of its own kind and nothing else. The reason `rule` is left out, but
/// written where a connection had to wait for its verdict.
fn compare_record(subject: &Subject, outcome: &Outcome, differences: &mut Differences) {
    let waits = matches!(subject, Subject::Connection(_));
    let mut seen = Vec::new();
    for (key, value) in &outcome.filter_state {
        let name = key.strip_prefix(outcome.prefix);
        let is_known = name.is_some_and(|name| RECORD_KEYS.contains(&name));
        differences.require(is_known, &format!("`{key}` is no key of such a record"));
        // A connection that waits has a record of its own until its verdict falls.
        differences.require(waits || !seen.contains(&key), &format!("`{key}` is set twice"));
        let says_rule = key.ends_with("reason") && value == "rule";
        differences.require(waits || !says_rule, &format!("`{key}` says what the rule's id says"));
        seen.push(key);
    }
    let decision = if outcome.passed { "allow" } else { "deny" };
    differences.compare("decision", &Some(decision), &outcome.recorded("decision"));
    let policy = outcome.recorded("policy");
    let hash = policy.and_then(|policy| policy.split_once('@')).map_or("", |(_, hash)| hash);
    let is_hash =
        hash.len() == 12 && hash.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'));
    differences
        .require(is_hash, &format!("policy: expected a name, `@` and 12 digits, got {policy:?}"));
}

fn compare_passed(outcome: &Outcome, differences: &mut Differences) {
    differences.require(outcome.answers.is_empty(), "the request passes and is answered");
    let pseudo = |headers: &Headers| -> Headers {
        headers.iter().filter(|(name, _)| name.starts_with(b":")).cloned().collect()
    };
    differences.compare("pseudo-headers", &pseudo(&outcome.arrived), &pseudo(&outcome.headers));
}

fn compare_refused(outcome: &Outcome, differences: &mut Differences) {
    differences.compare("headers of a refused request", &outcome.arrived, &outcome.headers);
    let [answer] = outcome.answers.as_slice() else {
        differences.require(false, &format!("expected one answer, got {:?}", outcome.answers));
        return;
    };
    let reason = outcome.recorded("reason").unwrap_or_default();
    differences.compare("details", &format!("egress_denied[{reason}]"), &answer.details);
    let is_grpc = outcome
        .arrived
        .iter()
        .any(|(name, value)| name == b"content-type" && value.starts_with(b"application/grpc"));
    differences.compare("grpc status", &is_grpc.then_some(7), &answer.grpc_status);
    let types = answer.headers.iter().filter(|(name, _)| name == "content-type");
    let types: Vec<_> = types.map(|(_, value)| value.as_str()).collect();
    let expected = if is_grpc { vec![] } else { vec!["application/json"] };
    differences.compare("content-type", &expected, &types);
}

fn compare_lines(outcome: &Outcome, differences: &mut Differences) {
    let (level, text) = match outcome.lines.as_slice() {
        [] => return,
        [line] => line,
        lines => {
            return differences.require(false, &format!("expected one line, got {lines:?}"));
        }
    };
    let is_refusal = |key| outcome.recorded(key) == Some("deny");
    let severity = match is_refusal("decision") || is_refusal("would") {
        true => Level::Warn,
        false => Level::Info,
    };
    differences.compare("level", &severity, level);
    let is_break = |c: char| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}');
    differences.require(!text.contains(is_break), "the line holds a control or a line break");
    differences.require(!text.contains("</"), "the line may end a script");
    let Line(line) = match serde_json::from_str(text) {
        Ok(line) => line,
        Err(error) => return differences.require(false, &format!("{error} in the line {text}")),
    };
    let record_keys = RECORD_KEYS.iter().map(|key| format!("{}{key}", outcome.prefix));
    let known_keys: Vec<_> = record_keys.chain(DETAIL_KEYS.map(str::to_owned)).collect();
    let places: Vec<_> =
        line.iter().map(|(key, _)| known_keys.iter().position(|known| known == key)).collect();
    differences.require(
        places.iter().all(Option::is_some) && places.is_sorted_by(|left, right| left < right),
        &format!("the line's keys are not the known ones in their order: {text}"),
    );
    let line: Map<String, Value> = line.into_iter().collect();
    for key in RECORD_KEYS {
        differences.compare(
            &format!("line {key}"),
            &outcome.recorded(key).map(Value::from).as_ref(),
            &line.get(&format!("{}{key}", outcome.prefix)),
        );
    }
}

fn compare_counters(subject: &str, outcome: &Outcome, differences: &mut Differences) {
    let prefix = format!("egress_warden.{subject}.");
    let others = [".would.", ".rule."].map(|kind| format!("egress_warden.{subject}{kind}"));
    let [decision, reason] =
        ["decision", "reason"].map(|key| outcome.recorded(key).unwrap_or_default());
    let is_verdict = |name: &str| {
        name.starts_with(&prefix) && !others.iter().any(|other| name.starts_with(other))
    };
    let counted: Vec<_> = outcome.counters.iter().filter(|(name, _)| is_verdict(name)).collect();
    differences.compare("counted", &vec![(&format!("{prefix}{decision}.{reason}"), &1)], &counted);
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
