//! A fix changes what its messages say and nothing else, and no verdict of what was valid.
#![no_main]

#[path = "../../../tool/tests/fixes/mod.rs"]
mod fixes;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fixes::check(bytes));
