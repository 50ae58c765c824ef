//! `egress-warden`, the command-line tool: what would a policy do, before a proxy does it.
#![warn(missing_docs, unreachable_pub)]
#![forbid(unsafe_code)]
#![deny(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::todo,
    clippy::unimplemented,
    clippy::unreachable,
    clippy::unwrap_used
)]

#[cfg(not(target_family = "wasm"))]
mod cli;

#[cfg(not(target_family = "wasm"))]
fn main() -> std::process::ExitCode {
    cli::run()
}

/// Cargo builds the binary beside every integration test, in V8 too.
#[cfg(target_family = "wasm")]
fn main() {}
