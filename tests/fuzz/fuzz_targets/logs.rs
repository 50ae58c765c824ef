//! Any bytes are a log: no reader panics, and what is read as a request names a host in its one
//! spelling, or is malformed for the filter as well.
#![no_main]

use egress_warden::host::Host;
use egress_warden_tool::in_process;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let read = in_process::read_log(bytes);
    for host in &read.hosts {
        let again = Host::parse(host.as_bytes()).expect("a host");
        assert_eq!(again.canonical(), host.as_str());
    }
    assert!(read.passed <= read.requests);
});
