//! The cases of `tests/cases` once more, in the filter as a proxy runs it: through the SDK's
//! dispatcher, and in the module that is shipped. The module refuses the texts of `tests/errors`, too.
//!
//! Here the border is tested along with the meaning: the header map as bytes, attributes by their
//! path, filter state, the local reply, counters and the log as the host has them afterwards.
#![cfg(not(target_family = "wasm"))]

use egress_warden::config;
use kit::case::error::ErrorCase;
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

/// `tests/cases.rs` holds the words against the files.
#[test]
fn the_module_logs_every_error_in_the_words_of_the_library() {
    // Longer ones are about limits, and take the engine long to read.
    const SHORT: usize = 64 << 10;
    let mut refused = 0;
    for file in files::read("tests/errors") {
        let cases: Vec<ErrorCase> = serde_saphyr::from_str(&file.text).expect(&file.name);
        let texts = cases.iter().map(|case| (&case.name, case.text()));
        kit::mock::in_a_worker::<Module, _>(|worker| {
            for (name, text) in texts.filter(|(_, text)| text.len() <= SHORT) {
                let Err(errors) = config::read(&text) else { continue };
                let before = worker.lines().len();
                assert!(!worker.configure(&text).accepted, "{}: {name}", file.name);
                let expected = errors.iter().map(|error| format!("policy refused: {error}"));
                let logged = worker.lines().into_iter().skip(before).map(|line| line.text);
                assert!(logged.eq(expected), "{}: {name}", file.name);
                refused += 1;
            }
        });
    }
    assert!(refused > 0, "no text was refused");
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
