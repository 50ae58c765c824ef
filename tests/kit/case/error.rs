//! A policy text and every error it must be refused for.

use serde::Deserialize;
use serde_json::Value;

use egress_warden_simulate::Bytes;

/// The paths and messages of a reading's errors, in order; empty for a policy that loads.
pub type Reading = Vec<(String, String)>;

/// Exactly one of `text` and `policy` is given.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ErrorCase {
    pub name: String,
    /// The raw bytes that the filter is given.
    text: Option<Bytes>,
    /// A policy as YAML, given to the filter as JSON with sorted keys, as control planes do.
    policy: Option<Value>,
    errors: Vec<ExpectedError>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ExpectedError {
    /// JSONPath (RFC 9535).
    path: String,
    /// A part of the message: what was found.
    #[serde(default)]
    found: String,
    /// A part of the message: what to write instead.
    #[serde(default)]
    remedy: String,
}

impl ErrorCase {
    pub fn text(&self) -> Vec<u8> {
        match (&self.text, &self.policy) {
            (Some(Bytes(text)), None) => text.clone(),
            (None, Some(policy)) => policy.to_string().into_bytes(),
            _ => panic!("{}: give `text` or `policy`", self.name),
        }
    }

    /// Where the reading is not exactly these errors, in order of their paths. Several at one path
    /// may come in any order.
    pub fn differences(&self, reading: &Reading) -> Vec<String> {
        let mut expected_paths: Vec<_> =
            self.errors.iter().map(|error| error.path.as_str()).collect();
        let mut paths: Vec<_> = reading.iter().map(|(path, _)| path.as_str()).collect();
        expected_paths.dedup();
        paths.dedup();
        let mut differences = Vec::new();
        if paths != expected_paths {
            differences.push(format!("expected errors at {expected_paths:?}, got {paths:?}"));
        }
        for ExpectedError { path, found, remedy } in &self.errors {
            let is_named = |(at, message): &(String, String)| {
                at == path && message.contains(found.as_str()) && message.contains(remedy.as_str())
            };
            if !reading.iter().any(is_named) {
                differences.push(format!("expected `{path}`: found {found:?}, remedy {remedy:?}"));
            }
        }
        if !differences.is_empty() {
            differences.extend(reading.iter().map(|(_, message)| format!("got {message}")));
        }
        differences
    }
}
