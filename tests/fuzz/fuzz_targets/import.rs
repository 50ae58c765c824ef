//! Any text, read as any kind that `import` knows, is told what is wrong with it or becomes a valid policy.
#![no_main]

#[path = "../../../tool/tests/imports/mod.rs"]
mod imports;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| imports::check(bytes));
