//! What holds of every policy and every request, tried on many of them.
//!
//! Beside the filter's own matcher stands a naive one (`tests/kit/naive`). Policies and requests are
//! made of random bytes over a small alphabet, the same way here and in the fuzz targets of
//! `tests/fuzz`, so that what either finds is told by one seed or one file.

#![cfg(not(target_family = "wasm"))]

mod properties {
    mod addresses;
    mod headers;
    mod record;
    mod rewritings;
    mod sizes;
    mod spellings;
    mod text;
    mod traces;
    mod verdicts;
}

use proptest::collection::vec;
use proptest::prelude::any;
use proptest::test_runner::{Config, TestRunner};

/// Runs a property on so many byte strings, made to be read by [`arbitrary::Unstructured`]. Strings
/// shrink, and what they no longer say reads as zeros: the plainest policy and request.
fn for_all_bytes(cases: u32, property: impl Fn(&[u8])) {
    // What fails becomes a case or a seed of the fuzz targets, so that no further list is kept.
    let config =
        Config { cases, failure_persistence: None, max_shrink_iters: 1_000, ..Config::default() };
    let run = TestRunner::new(config).run(&vec(any::<u8>(), 0..2048), |bytes| {
        property(&bytes);
        Ok(())
    });
    run.unwrap_or_else(|error| panic!("{error}"));
}
