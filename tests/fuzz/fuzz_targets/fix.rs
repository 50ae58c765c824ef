//! A fix changes what its messages say and nothing else, and no verdict of what was valid.
#![no_main]

#[path = "../../../src/cli/mod.rs"]
#[allow(dead_code)]
mod cli;
#[path = "../../differences/mod.rs"]
#[allow(dead_code)]
mod differences;
#[path = "../../fixes/mod.rs"]
mod fixes;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fixes::check(bytes));
