//! What came, against what must come.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Debug;
use std::net::SocketAddr;

use serde_json::Value;

use super::caller::Answer;
use super::lane::Exchange;
use super::upstream::Received;
use egress_warden_simulate::Bytes;
use kit::hostile_vectors::{Field, Message, Outcome, Word};

/// The header that every policy stamps.
const STAMP: &str = "x-egress-id";

/// The access log by the caller's connection: its two ends.
pub type Records = HashMap<(SocketAddr, SocketAddr), Vec<Value>>;

/// Sorts the lines of the access log by connection.
pub fn records(lines: &[String]) -> Records {
    let mut records = Records::new();
    for line in lines {
        let Ok(record) = serde_json::from_str::<Value>(line) else { continue };
        let end = |key: &str| record[key].as_str().and_then(|address| address.parse().ok());
        if let Some(caller) = end("downstream_remote_address")
            && let Some(gateway) = end("downstream_local_address")
        {
            records.entry((caller, gateway)).or_default().push(record);
        }
    }
    records
}

/// Everything that differs, with its place.
pub fn differences(exchanges: &[Exchange<'_>], records: &Records) -> Vec<String> {
    let canonical = canonical_verdicts(exchanges, records);
    let mut all = Vec::new();
    for exchange in exchanges {
        let words: Vec<_> = exchange
            .outcomes
            .iter()
            .map(|outcome| match outcome {
                Outcome::Is(Word::Either) if exchange.traffic.connections > 0 => Some(Word::Allow),
                Outcome::Is(Word::Either) => Some(Word::Refused),
                Outcome::Is(word) => Some(*word),
                Outcome::SameAs(authority) => {
                    canonical.get(&(exchange.connection.1, authority.0.clone())).copied()
                }
            })
            .collect();
        let mut differences = Differences::default();
        match words.into_iter().collect::<Option<Vec<_>>>() {
            Some(words) => judge(exchange, &words, records, &mut differences),
            None => differences.0.push("the canonical spelling has no verdict".to_owned()),
        }
        if !differences.0.is_empty() {
            all.push(format!("{}\n  {}", headline(exchange), differences.0.join("\n  ")));
        }
    }
    all
}

fn headline(exchange: &Exchange<'_>) -> String {
    let Exchange { place, protocol, policy_name, messages, .. } = exchange;
    let messages: Vec<_> = messages.iter().map(ToString::to_string).collect();
    format!("{place}\n  over {protocol:?} under {policy_name}: {}", messages.join(", then "))
}

/// By the gateway asked and the canonical authority, what was decided.
fn canonical_verdicts(
    exchanges: &[Exchange<'_>],
    records: &Records,
) -> BTreeMap<(SocketAddr, Vec<u8>), Word> {
    let own = exchanges.iter().filter(|exchange| exchange.vector.is_none());
    own.filter_map(|exchange| {
        let [Outcome::SameAs(authority)] = &exchange.outcomes[..] else { return None };
        let [record] = &records.get(&exchange.connection)?[..] else { return None };
        let word = match record["egress_decision"].as_str()? {
            "allow" => Word::Allow,
            _ => Word::Deny,
        };
        Some(((exchange.connection.1, authority.0.clone()), word))
    })
    .collect()
}

fn judge(
    exchange: &Exchange<'_>,
    words: &[Word],
    records: &Records,
    differences: &mut Differences,
) {
    let Exchange { traffic, messages, answers, .. } = exchange;
    let allowed = words.iter().filter(|&&word| word == Word::Allow).count();
    differences.compare("connections at the upstream", &allowed, &traffic.connections);
    differences.compare("requests at the upstream", &allowed, &traffic.requests.len());
    if allowed == 0 {
        differences.compare("bytes at the upstream", &0, &traffic.bytes);
    }
    let records = records.get(&exchange.connection).map(Vec::as_slice).unwrap_or_default();
    let is_conversation = messages.len() > 1;
    if is_conversation {
        differences.compare("records", &messages.len(), &records.len());
    }
    for ((message, word), answer) in messages.iter().zip(words).zip(answers) {
        // Each turn of a conversation has a path of its own.
        let is_of_message = |path: &[u8]| match message {
            Message::Request(request) if is_conversation => path == request.path.0,
            _ => true,
        };
        let records: Vec<_> = records
            .iter()
            .filter(|record| is_of_message(record["path"].as_str().unwrap_or_default().as_bytes()))
            .collect();
        let received = traffic.requests.iter().find(|received| {
            received.values(":path").first().is_none_or(|path| is_of_message(&path.0))
        });
        let record = match &records[..] {
            [] => None,
            [record] => Some(*record),
            more => {
                let paths: Vec<_> = more.iter().map(|record| &record["path"]).collect();
                differences.0.push(format!("{} records, of {paths:?}", more.len()));
                continue;
            }
        };
        let decision = record.and_then(|record| record["egress_decision"].as_str());
        match word {
            Word::Allow => {
                differences.compare("decision in the record", &Some("allow"), &decision);
                let status = answer.as_ref().map(|answer| answer.status);
                let passed = matches!(status, Some(101 | 200));
                differences.require(passed, &format!("the caller got {status:?}"));
                if let Some(received) = received {
                    judge_received(exchange, message, received, record, differences);
                }
            }
            Word::Deny => match answer {
                Some(answer) => judge_denied(exchange, message, answer, record, differences),
                None => differences.0.push("the caller got no answer".to_owned()),
            },
            Word::Refused if decision == Some("deny") => {
                // Envoy may end a stream for a fault in it before the answer is out.
                if let Some(answer) = answer {
                    judge_denied(exchange, message, answer, record, differences);
                }
            }
            Word::Refused | Word::Rejected | Word::Either => {
                differences.compare("decision in the record", &None, &decision);
                let status = answer.as_ref().map(|answer| answer.status);
                let rejected = status.is_none_or(|status| status >= 400);
                differences.require(rejected, &format!("the caller got {status:?}"));
            }
        }
    }
}

fn judge_received(
    exchange: &Exchange<'_>,
    message: &Message,
    received: &Received,
    record: Option<&Value>,
    differences: &mut Differences,
) {
    let is_stamp = |(Bytes(name), _): &&Field| fold(name) == STAMP.as_bytes();
    let stamps: Vec<_> = received.fields.iter().filter(is_stamp).collect();
    let ours = (Bytes(STAMP.into()), Bytes(exchange.stamp.into()));
    differences.compare("stamps", &vec![&ours], &stamps);
    let forged: Vec<_> = received.trailers.iter().filter(is_stamp).collect();
    differences.compare("stamps in trailers", &Vec::new(), &forged);
    for connection in received.values("connection") {
        let names_stamp = connection
            .0
            .split(|&byte| byte == b',')
            .any(|token| fold(token.trim_ascii()) == STAMP.as_bytes());
        differences
            .require(!names_stamp, &format!("the upstream reads `connection: {connection}`"));
    }

    let expected = exchange.vector.map(|vector| &vector.upstream);
    if let Message::Request(request) = message {
        let sent = [
            (":authority", Some(&request.authority)),
            (":method", Some(&request.method)),
            (":path", (!request.has_no_path()).then_some(&request.path)),
        ];
        for (name, value) in sent {
            if let Some(value) = value
                && !expected.is_some_and(|expected| expected.contains_key(name))
            {
                differences.compare(name, &vec![value], &received.values(name));
            }
        }
        let body = request.body.clone().unwrap_or_default();
        differences.compare("body", &body, &Bytes(received.body.clone()));
    }
    for (name, values) in expected.into_iter().flatten() {
        let values: Vec<_> = values.iter().collect();
        differences.compare(&format!("upstream {name}"), &values, &received.values(name));
    }
    let judged = record.and_then(|record| record["authority"].as_str()).unwrap_or_default();
    let judged = Bytes(judged.into());
    differences.compare("authority", &vec![&judged], &received.values(":authority"));
}

fn judge_denied(
    exchange: &Exchange<'_>,
    message: &Message,
    answer: &Answer,
    record: Option<&Value>,
    differences: &mut Differences,
) {
    let empty = Value::Null;
    let record = record.unwrap_or(&empty);
    differences.compare(
        "decision in the record",
        &Some("deny"),
        &record["egress_decision"].as_str(),
    );
    let reason = record["egress_reason"].as_str().unwrap_or("rule");
    let details = record["response_code_details"].as_str();
    differences.compare("details", &Some(&*format!("egress_denied[{reason}]")), &details);
    differences.compare("upstream in the record", &None, &record["upstream_host"].as_str());
    let expected = exchange.vector.and_then(|vector| vector.reason(exchange.policy_name));
    if let Some(expected) = expected {
        differences.compare("reason", &expected, &reason);
    }
    if is_grpc(message) {
        differences.compare("status", &200, &answer.status);
        differences.compare("grpc-status", &vec!["7"], &answer.values("grpc-status"));
        return;
    }
    differences.compare("status", &403, &answer.status);
    if matches!(message, Message::Request(request) if request.method.0 == b"HEAD") {
        differences.compare("body", &"".into(), &String::from_utf8_lossy(&answer.body));
        return;
    }
    let body: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    differences.compare("error in the answer", &Some("egress_denied"), &body["error"].as_str());
    differences.compare("reason in the answer", &Some(reason), &body["reason"].as_str());
    differences.compare("request_id in the answer", &record["request_id"], &body["request_id"]);
}

fn is_grpc(message: &Message) -> bool {
    let Message::Request(request) = message else { return false };
    let is_grpc = |(name, value): &Field| {
        name.0.eq_ignore_ascii_case(b"content-type") && value.0.starts_with(b"application/grpc")
    };
    request.headers.iter().any(is_grpc)
}

fn fold(name: &[u8]) -> Vec<u8> {
    let fold = |byte: &u8| match byte {
        b'_' | b'.' => b'-',
        _ => byte.to_ascii_lowercase(),
    };
    name.iter().map(fold).collect()
}

#[derive(Default)]
struct Differences(Vec<String>);

impl Differences {
    fn compare<T: Debug + PartialEq>(&mut self, what: &str, expected: &T, got: &T) {
        if expected != got {
            self.0.push(format!("{what}: expected {expected:?}, got {got:?}"));
        }
    }

    fn require(&mut self, holds: bool, otherwise: &str) {
        if !holds {
            self.0.push(otherwise.to_owned());
        }
    }
}
