//! The reference path, walked on real Envoys: the program behind `./build.sh demo`.
//!
//! The files of `envoy/` run as they are shipped; only where one of their ports is taken, all of
//! them move to free ones. With `--keep` everything stays up until Ctrl-C.

#[path = "demo/ambient.rs"]
mod ambient;
#[path = "demo/walk.rs"]
mod walk;

fn main() -> std::process::ExitCode {
    walk::main()
}
