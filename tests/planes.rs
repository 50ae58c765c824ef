//! The cases of `tests/cases` once more, in the filter as a proxy runs it: through the SDK's
//! dispatcher, and in the module that is shipped.
//!
//! Here the border is tested along with the meaning: the header map as bytes, attributes by their
//! path, filter state, the local reply, counters and the log as the host has them afterwards.
#![cfg(not(target_family = "wasm"))]

use kit::case::files::{self, File};
use kit::case::plane::failing_cases;
use kit::mock::{Guest, InHost, Module, Native};

#[test]
fn the_library_in_the_mock_host_decides_as_the_cases_say() {
    assert_no_failures::<Native>();
}

#[test]
fn the_module_in_the_mock_host_decides_as_the_cases_say() {
    assert_no_failures::<Module>();
}

fn assert_no_failures<G: Guest>() {
    let files = files::read("tests/cases");
    assert!(!files.is_empty(), "no case file was found");
    let failures: Vec<_> = files.iter().flat_map(failures_of::<G>).collect();
    assert!(failures.is_empty(), "{} failed\n\n{}\n", failures.len(), failures.join("\n\n"));
}

/// A fresh VM for each file.
fn failures_of<G: Guest>(file: &File) -> Vec<String> {
    kit::mock::in_a_worker::<G, _>(|worker| failing_cases(file, &mut InHost(worker)))
}
