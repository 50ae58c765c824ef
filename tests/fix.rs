//! `check --fix` on many texts, as in the fuzz target `fix`.

#[cfg(not(target_family = "wasm"))]
#[path = "../src/cli/mod.rs"]
#[allow(unused)]
mod cli;
#[cfg(not(target_family = "wasm"))]
#[allow(dead_code)]
mod differences;
#[cfg(not(target_family = "wasm"))]
mod fixes;

/// A program of its own: the tool's unit tests, which are compiled in, are not run once more.
#[cfg(not(target_family = "wasm"))]
fn main() {
    use proptest::collection::vec;
    use proptest::prelude::any;
    use proptest::test_runner::{Config, TestRunner};

    let cases = std::env::var("FIXES").ok().and_then(|it| it.parse().ok()).unwrap_or(2_000);
    let config = Config { cases, failure_persistence: None, ..Config::default() };
    let run = TestRunner::new(config).run(&vec(any::<u8>(), 0..512), |bytes| {
        fixes::check(&bytes);
        Ok(())
    });
    run.unwrap_or_else(|error| panic!("{error}"));
}

#[cfg(target_family = "wasm")]
fn main() {}
