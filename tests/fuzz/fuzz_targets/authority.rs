//! An authority is read as the naive parser reads it.
#![no_main]

#[path = "../../naive/mod.rs"]
#[allow(dead_code)]
mod naive;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    naive::comparison::compare_authority(bytes);
});
