//! SARIF 2.1.0, as OASIS defines it.

use super::{Entry, Region, Report};
use crate::diagnostics::Level;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::path::{Component, Path};

const SCHEMA: &str =
    "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json";

/// What relative paths are relative to. Code hosts take it for the folder of the repository.
const ROOT: &str = "%SRCROOT%";

pub(super) fn of(report: &Report) -> Value {
    let entries = || report.subjects.iter().flat_map(|subject| &subject.entries);
    let kinds: BTreeSet<&str> = entries().map(|entry| entry.kind).collect();
    let rules: Vec<Value> = kinds.iter().map(|kind| json!({ "id": kind })).collect();
    json!({
        "$schema": SCHEMA,
        "version": "2.1.0",
        "runs": [{
            "tool": {"driver": {
                "name": "egress-warden",
                "version": env!("CARGO_PKG_VERSION"),
                "rules": rules,
            }},
            "automationDetails": {"id": format!("egress-warden/{}/", report.command)},
            "columnKind": "unicodeCodePoints",
            "invocations": [{"executionSuccessful": report.is_complete}],
            "results": entries().map(result).collect::<Vec<_>>(),
        }],
    })
}

fn result(entry: &Entry) -> Value {
    json!({
        "ruleId": entry.kind,
        "level": level(entry.level),
        "message": {"text": entry.message},
        "locations": entry.region.iter().map(|region| location(region, entry)).collect::<Vec<_>>(),
    })
}

fn level(level: Level) -> &'static str {
    match level {
        Level::Error => "error",
        Level::Warning => "warning",
        Level::Note => "note",
    }
}

fn location(place: &Region, entry: &Entry) -> Value {
    let mut region = json!({"startLine": place.start.line, "startColumn": place.start.column});
    // The end is behind the last character. A region may not end before it starts.
    let end = (place.end.line, place.end.column);
    if let Some(region) = region.as_object_mut()
        && end > (place.start.line, place.start.column)
    {
        region.insert("endLine".to_owned(), json!(place.end.line));
        region.insert("endColumn".to_owned(), json!(place.end.column));
    }
    let mut location = json!({
        "physicalLocation": {"artifactLocation": artifact(&place.file), "region": region},
    });
    if let (Some(location), Some(path)) = (location.as_object_mut(), &entry.path) {
        location.insert("logicalLocations".to_owned(), json!([{"fullyQualifiedName": path}]));
    }
    location
}

fn artifact(file: &str) -> Value {
    let uri = uri(file);
    match Path::new(file).is_absolute() {
        true => json!({"uri": format!("file://{uri}")}),
        false => json!({"uri": uri, "uriBaseId": ROOT}),
    }
}

/// A path as a reference of RFC 3986, without `.` in it.
fn uri(file: &str) -> String {
    let components = Path::new(file).components().filter(|it| *it != Component::CurDir);
    let path: std::path::PathBuf = components.collect();
    let mut uri = String::new();
    for byte in path.as_os_str().as_encoded_bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' => {
                uri.push(char::from(*byte));
            }
            // A colon too: in the first part of a relative path it would end a scheme.
            other => uri.push_str(&format!("%{other:02X}")),
        }
    }
    uri
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_a_reference() {
        for (file, expected) in [
            ("envoy/policy.yaml", "envoy/policy.yaml"),
            ("./a/./b.yaml", "a/b.yaml"),
            ("../b.yaml", "../b.yaml"),
            ("a b#c?.yaml", "a%20b%23c%3F.yaml"),
            ("c:d.yaml", "c%3Ad.yaml"),
            ("ä%.yaml", "%C3%A4%25.yaml"),
        ] {
            assert_eq!(artifact(file), json!({"uri": expected, "uriBaseId": ROOT}));
        }
        assert_eq!(artifact("/tmp/a b.yaml"), json!({"uri": "file:///tmp/a%20b.yaml"}));
    }
}
