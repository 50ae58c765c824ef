//! The policy's meaning as data: `cases/*.yaml` says what is decided, recorded, stamped and answered,
//! `faults/*.yaml` what is refused at load. A case or a file more needs no Rust.
//!
//! The same files run natively and in V8, through the pure filter over an in-memory proxy. Every
//! case that differs is listed, not the first alone.

use egress_warden::config;
use egress_warden::connection::ConnectionFilter;
use egress_warden::filter::Filter;
use egress_warden::root_id::Connections;
use kit::case::connection::Connection;
use kit::case::fault::{FaultCase, Reading};
use kit::case::files::{self, File};
use kit::case::lines;
use kit::case::plane::{Plane, failing_cases};
use kit::case::proxy::{MemoryProxy, Outcome};
use kit::case::request::Request;
use wasm_bindgen_test::wasm_bindgen_test;

#[wasm_bindgen_test(unsupported = test)]
fn requests_and_connections_are_decided_as_the_cases_say() {
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

/// The pure filters, over a proxy in memory.
struct InMemory;

enum AnyFilter {
    Requests(Filter),
    Connections(ConnectionFilter),
}

impl Plane for InMemory {
    type Policy = AnyFilter;

    fn load(&mut self, root_id: &str, text: &str) -> Result<AnyFilter, Vec<String>> {
        match config::read(text.as_bytes()) {
            Ok(config) => Ok(match Connections::of_root_id(root_id.as_bytes()).unwrap() {
                None => AnyFilter::Requests(Filter::new(config)),
                Some(connections) => {
                    AnyFilter::Connections(ConnectionFilter::new(config, connections))
                }
            }),
            Err(faults) => Err(faults.iter().map(ToString::to_string).collect()),
        }
    }

    fn send(&mut self, filter: &AnyFilter, request: &Request) -> Outcome {
        let AnyFilter::Requests(filter) = filter else { panic!("a filter of connections") };
        let proxy = MemoryProxy::new(request);
        let flow = filter.on_request_headers(&proxy).flow;
        proxy.into_outcome(flow, lines::take())
    }

    fn connect(&mut self, filter: &AnyFilter, connection: &Connection) -> Outcome {
        let AnyFilter::Connections(filter) = filter else { panic!("a filter of requests") };
        let proxy = MemoryProxy::of_connection(connection);
        let flow = filter.on_new_connection(&proxy).unwrap_or_else(|| filter.decide_late(&proxy));
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
