//! The policy's meaning as data: `cases/*.yaml` says what is decided, recorded, stamped and answered,
//! `errors/*.yaml` what is refused at load. A case or a file more needs no Rust.
//!
//! The same files run natively and in V8, in the simulator. Every case that differs is listed, not the
//! first alone.

use egress_warden::config;
use kit::case::error::{ErrorCase, Reading};
use kit::case::files::{self, File};
use kit::case::plane::{InMemory, failing_cases};
use wasm_bindgen_test::wasm_bindgen_test;

#[wasm_bindgen_test(unsupported = test)]
fn requests_and_connections_are_decided_as_the_cases_say() {
    let files = files::read("tests/cases");
    assert!(!files.is_empty(), "no case file was found");
    assert_no_failures(files.iter().flat_map(|file| failing_cases(file, &mut InMemory)));
}

#[wasm_bindgen_test(unsupported = test)]
fn policies_are_refused_as_the_error_files_say() {
    let files = files::read("tests/errors");
    assert!(!files.is_empty(), "no error file was found");
    assert_no_failures(files.iter().flat_map(failing_texts));
}

fn assert_no_failures(failures: impl Iterator<Item = String>) {
    let failures: Vec<_> = failures.collect();
    assert!(failures.is_empty(), "{} failed\n\n{}\n", failures.len(), failures.join("\n\n"));
}

fn failing_texts(file: &File) -> Vec<String> {
    let cases: Vec<ErrorCase> = match serde_saphyr::from_str(&file.text) {
        Ok(cases) => cases,
        Err(error) => return vec![format!("{}: {error}", file.name)],
    };
    let mut failures = Vec::new();
    for case in &cases {
        let reading = match config::read(&case.text()) {
            Ok(_) => Reading::default(),
            Err(errors) => {
                errors.iter().map(|error| (error.place().to_string(), error.to_string())).collect()
            }
        };
        let differences = case.differences(&reading);
        if !differences.is_empty() {
            failures.push(format!("{}: {}\n  {}", file.name, case.name, differences.join("\n  ")));
        }
    }
    failures
}
