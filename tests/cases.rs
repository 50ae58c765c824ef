//! The policy's meaning as data: `cases/*.yaml` says what is decided, recorded, stamped and answered,
//! `faults/*.yaml` what is refused at load. A case or a file more needs no Rust.
//!
//! The same files run natively and in V8, through the pure filter over an in-memory proxy. Every
//! case that differs is listed, not the first alone.

mod case;

use case::fault::{FaultCase, Reading};
use case::files::{self, File};
use case::lines;
use case::plane::{Plane, failing_cases};
use case::proxy::{MemoryProxy, Outcome};
use case::request::Request;
use egress_warden::config;
use egress_warden::filter::Filter;
use wasm_bindgen_test::wasm_bindgen_test;

#[wasm_bindgen_test(unsupported = test)]
fn requests_are_decided_as_the_cases_say() {
    lines::capture();
    let files = files::read("tests/cases");
    assert!(!files.is_empty(), "no case file was found");
    assert_no_failures(files.iter().flat_map(|file| failing_cases(file, &mut InMemory)));
}

#[wasm_bindgen_test(unsupported = test)]
fn policies_are_refused_as_the_faults_say() {
    let files = files::read("tests/faults");
    assert!(!files.is_empty(), "no fault file was found");
    assert_no_failures(files.iter().flat_map(failing_texts));
}

/// The pure filter, over a proxy in memory.
struct InMemory;

impl Plane for InMemory {
    type Policy = Filter;

    fn load(&mut self, text: &str) -> Result<Filter, Vec<String>> {
        match config::read(text.as_bytes()) {
            Ok(config) => Ok(Filter::new(config)),
            Err(faults) => Err(faults.iter().map(ToString::to_string).collect()),
        }
    }

    fn send(&mut self, filter: &Filter, request: &Request) -> Outcome {
        let proxy = MemoryProxy::new(request);
        let flow = filter.on_request_headers(&proxy);
        proxy.into_outcome(flow, lines::take())
    }
}

fn assert_no_failures(failures: impl Iterator<Item = String>) {
    let failures: Vec<_> = failures.collect();
    assert!(failures.is_empty(), "{} failed\n\n{}\n", failures.len(), failures.join("\n\n"));
}

fn failing_texts(file: &File) -> Vec<String> {
    let cases: Vec<FaultCase> = match serde_saphyr::from_str(&file.text) {
        Ok(cases) => cases,
        Err(error) => return vec![format!("{}: {error}", file.name)],
    };
    let mut failures = Vec::new();
    for case in &cases {
        let reading = match config::read(&case.text()) {
            Ok(_) => Reading::default(),
            Err(faults) => {
                faults.iter().map(|fault| (fault.path().to_owned(), fault.to_string())).collect()
            }
        };
        let differences = case.differences(&reading);
        if !differences.is_empty() {
            failures.push(format!("{}: {}\n  {}", file.name, case.name, differences.join("\n  ")));
        }
    }
    failures
}
