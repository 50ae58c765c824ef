//! The JSON Schema that the tool prints and the reader that the filter runs, on every policy of the
//! case and error files: what the reader accepts is valid, and what it refuses is not, but for what
//! no schema can say.

use egress_warden::config::{self, ErrorKind};
use egress_warden::host::{Malformed, PatternError};
use egress_warden_simulate::case::CaseFile;
use kit::case::error::ErrorCase;
use kit::case::files;
use serde_json::Value;
use std::collections::BTreeSet;

/// Why JSON Schema cannot refuse what the reader does, where that is so. (It cannot count the hosts over
/// all rules either; no file is that long.)
fn beyond_a_schema(kind: &ErrorKind) -> Option<&'static str> {
    Some(match kind {
        ErrorKind::DuplicateKey => "a schema sees an object after its parser has dropped a key",
        ErrorKind::DuplicateId { .. } => "ids are unique across items, by one of their members",
        ErrorKind::DuplicateHeader { .. } => {
            "names are one once their case, `_` and `.` are folded"
        }
        ErrorKind::LongText { .. } => "a schema sees a value, not its text",
        ErrorKind::LongValue { .. } => "a schema counts characters where the limit is of bytes",
        ErrorKind::Time { .. } => "how many days a month has depends on the year",
        ErrorKind::Host { error, .. } => match error {
            PatternError::NoHost(Malformed::Punycode) => "punycode is an algorithm",
            PatternError::NoHost(Malformed::Ipv6) => "an IPv6 address has many spellings",
            PatternError::Spelling { .. } => "the canonical form of an address is an algorithm",
            PatternError::HostBits { .. } => "a block's base depends on its length",
            _ => return None,
        },
        _ => return None,
    })
}

/// How many reasons these are: each must be needed.
const REASONS: usize = 10;

#[test]
fn the_schema_is_valid_and_admits_the_policies_of_every_case() {
    let schema = schema();
    for file in files::read("tests/cases") {
        let cases: CaseFile = serde_saphyr::from_str(&file.text).expect(&file.name);
        for (text, name) in cases.policies() {
            let policy = serde_json::from_str(&text).expect("JSON");
            let errors: Vec<_> = schema.iter_errors(&policy).map(|it| it.to_string()).collect();
            assert!(errors.is_empty(), "{} {name}: {errors:?}", file.name);
        }
    }
}

#[test]
fn the_schema_refuses_what_the_reader_refuses() {
    let schema = schema();
    let mut differences = Vec::new();
    let (mut accepted, mut refused) = (0, 0);
    let mut needed = BTreeSet::new();
    for file in files::read("tests/errors") {
        let cases: Vec<ErrorCase> = serde_saphyr::from_str(&file.text).expect(&file.name);
        for case in cases {
            let text = case.text();
            // A text that is no JSON is nothing for a schema.
            let Ok(policy) = serde_json::from_slice::<Value>(&text) else { continue };
            let is_valid = schema.is_valid(&policy);
            match config::read(&text) {
                Ok(_) if is_valid => accepted += 1,
                Ok(_) => {
                    let errors: Vec<_> =
                        schema.iter_errors(&policy).map(|it| it.to_string()).collect();
                    differences.push(format!("{}: accepted, not valid: {errors:?}", case.name));
                }
                Err(_) if !is_valid => refused += 1,
                Err(errors) => {
                    for error in errors.iter() {
                        match beyond_a_schema(error.kind()) {
                            Some(reason) => drop(needed.insert(reason)),
                            None => differences.push(format!("{}: valid, {error}", case.name)),
                        }
                    }
                }
            }
        }
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
    // Else nothing was compared.
    assert!(accepted > 40 && refused > 300, "{accepted} {refused}");
    assert_eq!(needed.len(), REASONS, "{needed:?}");
}

#[test]
fn the_tool_prints_the_schema_that_is_tested() {
    let mut tool = std::process::Command::new(env!("CARGO_BIN_EXE_egress-warden"));
    let output = tool.arg("schema").output().expect("the tool runs");
    assert!(output.status.success());
    assert_eq!(String::from_utf8(output.stdout).expect("UTF-8"), SCHEMA);
}

const SCHEMA: &str = include_str!("../src/commands/schema/policy.json");

fn schema() -> jsonschema::Validator {
    let schema: Value = serde_json::from_str(SCHEMA).expect("JSON");
    jsonschema::draft202012::meta::validate(&schema).expect("a schema");
    jsonschema::draft202012::new(&schema).expect("a schema")
}
