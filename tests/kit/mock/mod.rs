//! A proxy to run the filter in: Envoy's side of Proxy-Wasm as plain state.
//!
//! A scenario starts a [`Worker`], configures a plugin in it, sends requests and looks at what came
//! of them: headers, local reply, filter state, log lines, counters. What calls the filter made on
//! the way, and in what order, is its own affair.
//!
//! The same scenario runs on two guests: the library as it is linked into the test ([`Native`]),
//! and the module that is shipped ([`Module`]), which `./build.sh` leaves under `target/`.
//! [`scenarios!`](crate::scenarios) makes a test of each.
//!
//! | file | holds |
//! |---|---|
//! | `worker.rs` | what a scenario talks to |
//! | `host.rs` | the proxy's state, and what Envoy does with it |
//! | `imports.rs` | the host calls by name, over a guest's memory |
//! | `misbehaviour.rs` | host calls that go wrong |
//! | `guest.rs` | the callbacks of a guest |
//! | `native.rs`, `module.rs` | the two guests |
//! | `plane.rs` | cases in such a worker |

mod guest;
mod host;
mod imports;
mod misbehaviour;
mod module;
mod native;
mod plane;
mod worker;

use std::panic;
use std::thread;

pub use guest::Guest;
pub use host::{Headers, Level, Line, LocalReply};
pub use misbehaviour::{Calls, Misbehaviour};
pub use module::Module;
pub use native::{IMPORTS, Native};
pub use plane::InHost;
pub use worker::{Connection, Outcome, Request, Root, Stream, Worker};

/// Runs something in a worker whose VM has just started, on a thread of its own: the SDK keeps its
/// contexts per thread, and two workers use the same ids.
pub fn in_a_worker<G: Guest, T: Send>(run: impl FnOnce(&mut Worker<G>) -> T + Send) -> T {
    let name = thread::current().name().unwrap_or_default().to_owned();
    thread::scope(|scope| {
        let run = || run(&mut Worker::start());
        let running =
            thread::Builder::new().name(name).spawn_scoped(scope, run).expect("a thread starts");
        running.join().unwrap_or_else(|panic| panic::resume_unwind(panic))
    })
}

/// Makes two tests of each scenario, `native::…` and `module::…`. A scenario is a function
/// `fn name<G: Guest>(worker: &mut Worker<G>)`; one that is not listed here is reported as unused.
#[macro_export]
macro_rules! scenarios {
    ($($name:ident),+ $(,)?) => {
        mod native {
            $(#[test] fn $name() { $crate::mock::in_a_worker::<$crate::mock::Native, _>(super::$name); })+
        }
        mod module {
            $(#[test] fn $name() { $crate::mock::in_a_worker::<$crate::mock::Module, _>(super::$name); })+
        }
    };
}
