//! The versions of Envoy that everything is tested on.

use anyhow::Result;

use super::testbed::Testbed;

/// Makes a test of each scenario and each version, `SCENARIO::envoy_1_40_0` and so on. A scenario
/// is a function `async fn name(testbed: &Testbed) -> Result<()>`.
///
/// The ignored ones run with `./build.sh test --all-envoys`, which installs their Envoys too.
#[macro_export]
macro_rules! on_each_envoy {
    ($($scenario:ident),+ $(,)?) => {$(
        mod $scenario {
            #[test]
            #[ignore = "runs with --all-envoys"]
            fn envoy_1_36_4() {
                $crate::versions::run("1.36.4", super::$scenario);
            }

            #[test]
            fn envoy_1_37_0() {
                $crate::versions::run("1.37.0", super::$scenario);
            }

            #[test]
            #[ignore = "runs with --all-envoys"]
            fn envoy_1_38_2() {
                $crate::versions::run("1.38.2", super::$scenario);
            }

            #[test]
            #[ignore = "runs with --all-envoys"]
            fn envoy_1_39_3() {
                $crate::versions::run("1.39.3", super::$scenario);
            }

            #[test]
            fn envoy_1_40_0() {
                $crate::versions::run("1.40.0", super::$scenario);
            }
        }
    )+};
}
/// Runs a scenario on one version of Envoy.
pub fn run(version: &str, scenario: impl AsyncFnOnce(&Testbed) -> Result<()>) {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let testbed = Testbed::new(version).expect("a testbed");
    let outcome = runtime.block_on(scenario(&testbed));
    outcome.unwrap_or_else(|fault| panic!("{fault:?}"));
}
