//! What both benchmarks inside an Envoy are as programs: started, interrupted, failed.

use std::process::ExitCode;

use anyhow::Result;
use tokio::signal::unix::{SignalKind, signal};

use envoy_kit::testbed::Testbed;

/// The version that `build.sh` installs for the benchmarks.
pub(crate) const ENVOY: &str = "1.40.0";

/// Whether a first look is enough.
pub(crate) fn is_quick() -> bool {
    // Cargo adds `--bench`.
    std::env::args().any(|argument| argument == "--quick")
}

/// Measures; where that fails, with what the Envoys wrote.
pub(crate) fn main(measure: impl AsyncFnOnce(&Testbed) -> Result<()>) -> ExitCode {
    let outcome = Testbed::new(ENVOY).and_then(|testbed| {
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
