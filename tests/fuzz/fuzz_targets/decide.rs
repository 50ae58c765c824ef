//! A policy and requests made of the bytes are decided as the naive matcher decides them.
#![no_main]

#[path = "../../naive/mod.rs"]
#[allow(dead_code)]
mod naive;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    naive::comparison::compare(bytes);
});
