//! An authority, and a TLS server name, are read as the naive parsers read them.
#![no_main]

#[path = "../../naive/mod.rs"]
#[allow(dead_code)]
mod naive;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    naive::comparison::compare_authority(bytes);
    naive::comparison::compare_server_name(bytes);
});
