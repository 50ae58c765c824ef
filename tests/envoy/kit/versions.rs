//! Scenarios on the versions of Envoy that everything is tested on.

use anyhow::Result;

use super::shell::Shell;
use super::testbed::Testbed;

/// Makes a test of each scenario, `SCENARIO::on_each_envoy`: it runs on the usual versions, or on those that
/// `EGRESS_WARDEN_ENVOYS` names. A scenario is a function `async fn name(testbed: &Testbed) -> Result<()>`.
#[macro_export]
macro_rules! on_each_envoy {
    ($($scenario:ident),+ $(,)?) => {$(
        mod $scenario {
            #[test]
            fn on_each_envoy() {
                $crate::versions::run(kit::envoys::asked_for(), super::$scenario);
            }
        }
    )+};
}

/// The same, and `SCENARIO::on_each_native`: with the native library, on those of the versions that it runs on.
#[macro_export]
macro_rules! on_each_shell {
    ($($scenario:ident),+ $(,)?) => {$(
        mod $scenario {
            #[test]
            fn on_each_envoy() {
                $crate::versions::run(kit::envoys::asked_for(), super::$scenario);
            }

            #[test]
            fn on_each_native() {
                $crate::versions::run_native(kit::envoys::asked_for(), super::$scenario);
            }
        }
    )+};
}

/// Runs a scenario on each of the versions, until it fails on one.
pub fn run(versions: Vec<String>, scenario: impl AsyncFn(&Testbed) -> Result<()>) {
    run_in(Shell::Wasm, versions, scenario);
}

/// The same with the native library, on those of the versions that it runs on.
pub fn run_native(versions: Vec<String>, scenario: impl AsyncFn(&Testbed) -> Result<()>) {
    run_in(Shell::Native, Shell::Native.versions(versions), scenario);
}

/// The same on all of them, though it runs on some only.
pub fn run_native_on(versions: Vec<String>, scenario: impl AsyncFn(&Testbed) -> Result<()>) {
    run_in(Shell::Native, versions, scenario);
}

fn run_in(shell: Shell, versions: Vec<String>, scenario: impl AsyncFn(&Testbed) -> Result<()>) {
    for version in versions {
        println!("Envoy {version}, {shell:?}");
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let testbed = Testbed::new(&version).expect("a testbed").with(shell);
        let outcome = runtime.block_on(scenario(&testbed));
        outcome.unwrap_or_else(|error| panic!("Envoy {version}, {shell:?}: {error:?}"));
    }
}
