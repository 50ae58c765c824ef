//! `check --fix` on many texts, as in the fuzz target `fix`.
#![cfg(not(target_family = "wasm"))]

#[path = "../src/cli/mod.rs"]
#[allow(dead_code)]
mod cli;
#[allow(dead_code)]
mod differences;
mod fixes;

use proptest::collection::vec;
use proptest::prelude::any;
use proptest::test_runner::{Config, TestRunner};

/// A program of its own: the tool's unit tests, which are compiled in, are not run once more.
fn main() {
    let cases = std::env::var("FIXES").ok().and_then(|it| it.parse().ok()).unwrap_or(2_000);
    let config = Config { cases, failure_persistence: None, ..Config::default() };
    let run = TestRunner::new(config).run(&vec(any::<u8>(), 0..512), |bytes| {
        fixes::check(&bytes);
        Ok(())
    });
    run.unwrap_or_else(|error| panic!("{error}"));
}
