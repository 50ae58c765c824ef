//! Conditions on a path hold as the naive matcher says.
#![no_main]

#[path = "../../naive/mod.rs"]
#[allow(dead_code)]
mod naive;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    naive::comparison::compare_path(bytes);
});
