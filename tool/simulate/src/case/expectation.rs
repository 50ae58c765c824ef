//! What is to become of a request or a connection, and how an outcome differs from it.

use crate::bytes::{Bytes, shown};
use crate::outcome::Outcome;
use serde::Deserialize;
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// What is to become of a request or a connection. Of the record, a key that is not named must be
/// absent. All else is compared where it is named.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Expectation {
    decision: Verdict,
    rule: Option<String>,
    reason: Option<String>,
    would: Option<Verdict>,
    would_rule: Option<String>,
    would_reason: Option<String>,
    /// `egress_policy`, its hash included.
    policy: Option<String>,
    status: Option<u16>,
    /// The JSON answer, exactly; `none`: no body.
    body: Option<Present>,
    grpc_message: Option<String>,
    /// Every value of a header as it leaves.
    #[serde(default)]
    upstream: BTreeMap<String, Vec<Bytes>>,
    /// Some keys of the JSON line, `null` for one that is absent; `none`: no line.
    line: Option<Present>,
    level: Option<String>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Verdict {
    Allow,
    Deny,
}

#[derive(Debug, Deserialize)]
#[serde(untagged, expecting = "expected an object, or the word `none`")]
enum Present {
    Some(Map<String, Value>),
    None(NoneWord),
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum NoneWord {
    None,
}

impl Verdict {
    fn as_str(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Deny => "deny",
        }
    }
}

impl Expectation {
    /// Each way in which an outcome is not what is expected, on a line of its own.
    pub fn differences(&self, outcome: &Outcome) -> Vec<String> {
        let mut differences = Vec::new();
        let mut compare = |what: &str, expected: Option<&str>, got: Option<&str>| {
            if expected != got {
                let word = |value: Option<&str>| value.unwrap_or("nothing").to_owned();
                differences.push(format!("{what}: expected {}, got {}", word(expected), word(got)));
            }
        };
        let reason = |reason: &Option<String>, has_rule: bool| {
            reason.clone().or_else(|| has_rule.then(|| "rule".to_owned()))
        };
        let decided_by = reason(&self.reason, self.rule.is_some());
        let would_be_by = reason(&self.would_reason, self.would_rule.is_some());
        let keys = [
            ("decision", Some(self.decision.as_str())),
            ("rule", self.rule.as_deref()),
            ("reason", decided_by.as_deref()),
            ("would", self.would.map(Verdict::as_str)),
            ("would_rule", self.would_rule.as_deref()),
            ("would_reason", would_be_by.as_deref()),
        ];
        for (key, expected) in keys {
            compare(key, expected, outcome.recorded(key));
        }
        if let Some(policy) = &self.policy {
            compare("policy", Some(policy), outcome.recorded("policy"));
        }
        let answer = outcome.answer();
        if let Some(status) = self.status {
            let got = answer.map(|answer| answer.status.to_string());
            compare("status", Some(&status.to_string()), got.as_deref());
        }
        if let Some(message) = &self.grpc_message {
            let answer = answer.filter(|answer| answer.grpc_status.is_some());
            let got = answer.map(|answer| shown(&answer.body));
            compare("grpc_message", Some(message), got.as_deref());
        }
        for (name, values) in &self.upstream {
            let expected: Vec<&[u8]> = values.iter().map(|Bytes(value)| &value[..]).collect();
            let got: Vec<&[u8]> = outcome.values_of(name).collect();
            if expected != got {
                compare(&format!("upstream {name}"), Some(&list(&expected)), Some(&list(&got)));
            }
        }
        differences.extend(self.body_differs(outcome));
        differences.extend(self.line_differs(outcome));
        differences
    }

    fn body_differs(&self, outcome: &Outcome) -> Option<String> {
        let body = outcome.answer().map(|answer| &answer.body[..]).unwrap_or_default();
        match self.body.as_ref()? {
            Present::None(NoneWord::None) if body.is_empty() => None,
            Present::None(NoneWord::None) => {
                Some(format!("body: expected none, got {}", shown(body)))
            }
            Present::Some(expected) => {
                let expected = Value::Object(expected.clone());
                let got: Option<Value> = serde_json::from_slice(body).ok();
                (got.as_ref() != Some(&expected))
                    .then(|| format!("body: expected {expected}, got {}", shown(body)))
            }
        }
    }

    fn line_differs(&self, outcome: &Outcome) -> Option<String> {
        let got = outcome.line();
        if let Some(expected) = &self.level {
            let level = got.map(|(level, _)| level.as_str().to_ascii_lowercase());
            if level.as_ref() != Some(expected) {
                let level = level.as_deref().unwrap_or("no line");
                return Some(format!("level: expected {expected}, got {level}"));
            }
        }
        let text = got.map(|(_, text)| text.as_str());
        match (self.line.as_ref()?, text) {
            (Present::None(NoneWord::None), None) => None,
            (Present::None(NoneWord::None), Some(text)) => {
                Some(format!("line: expected none, got {text}"))
            }
            (Present::Some(_), None) => Some("line: expected one, got none".to_owned()),
            (Present::Some(expected), Some(text)) => {
                let got: Map<String, Value> = serde_json::from_str(text).unwrap_or_default();
                let wanted = |value: &Value| Some(value.clone()).filter(|value| !value.is_null());
                let differs =
                    expected.iter().find(|(key, value)| got.get(*key) != wanted(value).as_ref());
                differs.map(|(key, value)| {
                    let got = got.get(key).cloned().unwrap_or_default();
                    format!("line {key}: expected {value}, got {got}")
                })
            }
        }
    }
}

fn list(values: &[&[u8]]) -> String {
    let values: Vec<String> = values.iter().map(|value| format!("`{}`", shown(value))).collect();
    if values.is_empty() { "nothing".to_owned() } else { values.join(", ") }
}
