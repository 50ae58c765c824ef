//! Conditions on a path hold as the naive matcher says.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    kit::naive::comparison::compare_path(bytes);
});
