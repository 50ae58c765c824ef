//! The reference path, walked on real Envoys: the program behind `./build.sh demo`, and a test.
//!
//! The files of `envoy/` run as they are shipped; only where one of their ports is taken, all of
//! them move to free ones. With `--keep` everything stays up until Ctrl-C.

#[cfg(not(target_family = "wasm"))]
#[path = "demo/walk.rs"]
mod walk;

#[cfg(not(target_family = "wasm"))]
fn main() -> std::process::ExitCode {
    walk::main()
}

#[cfg(target_family = "wasm")]
fn main() {}
