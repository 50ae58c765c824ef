//! An authority, and a TLS server name, are read as the naive parsers read them.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    kit::naive::comparison::compare_authority(bytes);
    kit::naive::comparison::compare_server_name(bytes);
});
