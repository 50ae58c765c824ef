//! Running the files under `tests/cases` and `tests/errors`: on which planes, and what holds beside what
//! they say. Their format is the simulator's.

pub mod error;
pub mod files;
pub mod invariants;
pub mod plane;

use egress_warden::time::Time;

/// The proxy's clock where a case says none.
pub fn at() -> Time {
    "2026-11-23T10:00:00Z".parse().expect("a time")
}
