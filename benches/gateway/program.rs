//! What the benchmarks inside an Envoy are as programs: started, interrupted, failed.

use std::process::ExitCode;

use anyhow::{Result, ensure};
use tokio::signal::unix::{SignalKind, signal};

use envoy_kit::testbed::Testbed;

/// How thoroughly the program is to measure: what `full` says under `cargo bench`, what `quick` says with `--quick`,
/// and what `smoke` says under `cargo test`, which only asks whether the benchmark works.
pub(crate) fn schedule<T>(full: T, quick: T, smoke: T) -> T {
    let is_given = |flag| std::env::args().any(|argument| argument == flag);
    match (is_given("--bench"), is_given("--quick")) {
        (false, _) => smoke,
        (true, true) => quick,
        (true, false) => full,
    }
}

/// The tables, where each cell has its figure.
pub(crate) fn complete(tables: String) -> Result<String> {
    ensure!(!tables.contains("NaN"), "a figure is missing:\n{tables}");
    Ok(tables)
}

/// Measures on a testbed; where that fails, with what the Envoys wrote.
pub(crate) fn main(
    testbed: Result<Testbed>,
    measure: impl AsyncFnOnce(&Testbed) -> Result<()>,
) -> ExitCode {
    let outcome = testbed.and_then(|testbed| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let outcome = runtime.block_on(async {
            let [mut interrupt, mut terminate] =
                [signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?];
            tokio::select! {
                outcome = measure(&testbed) => outcome,
                // What was started ends with the values that hold it.
                _ = interrupt.recv() => anyhow::bail!("interrupted"),
                _ = terminate.recv() => anyhow::bail!("terminated"),
            }
        });
        if outcome.is_err() {
            eprintln!("{}", testbed.logs());
        }
        outcome
    });
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(fault) => {
            eprintln!("{fault:?}");
            ExitCode::FAILURE
        }
    }
}
