//! What the tests share: running cases, hostile vectors, a mock host for the module, the naive matcher,
//! and logs of a fleet. Compiled once.
//!
//! What needs a real Envoy lies in `tests/envoy/kit`.

#[cfg(not(target_family = "wasm"))]
pub mod access_log;
pub mod case;
#[cfg(not(target_family = "wasm"))]
pub mod custom_resources;
#[cfg(not(target_family = "wasm"))]
pub mod differences;
#[cfg(not(target_family = "wasm"))]
pub mod envoys;
#[cfg(not(target_family = "wasm"))]
pub mod fleet;
#[cfg(not(target_family = "wasm"))]
pub mod hostile_vectors;
#[cfg(all(feature = "mock", not(target_family = "wasm")))]
pub mod mock;
#[cfg(not(target_family = "wasm"))]
pub mod naive;
#[cfg(not(target_family = "wasm"))]
pub mod rooms;

/// The folder of the repository, absolute. Paths in tests begin there.
pub const REPOSITORY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

/// The command-line tool, built as these tests are: it belongs to another package, whose tests alone
/// Cargo tells where it is.
#[cfg(not(target_family = "wasm"))]
pub fn tool() -> &'static std::path::Path {
    static TOOL: std::sync::LazyLock<std::path::PathBuf> = std::sync::LazyLock::new(|| {
        let build = std::process::Command::new(env!("CARGO"))
            .args(["build", "--quiet", "--package", "egress-warden-tool"])
            .args(["--message-format", "json-render-diagnostics"])
            .current_dir(REPOSITORY)
            .stderr(std::process::Stdio::inherit())
            .output()
            .expect("cargo starts");
        assert!(build.status.success(), "the tool does not build");
        let messages = serde_json::Deserializer::from_slice(&build.stdout);
        messages
            .into_iter::<serde_json::Value>()
            .filter_map(Result::ok)
            .find_map(|message| Some(message["executable"].as_str()?.into()))
            .expect("cargo says where the tool is")
    });
    &TOOL
}
