//! A policy and requests made of the bytes are decided as the naive matcher decides them.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    kit::naive::comparison::compare(bytes);
});
