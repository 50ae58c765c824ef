//! Whatever the bytes of a request's facts, its record and its answer are one line of strict JSON.
#![no_main]

#[path = "../../properties/record.rs"]
mod record;

use egress_warden::config::{self, Config};

thread_local! {
    static CONFIG: Config = config::read(
        br#"{"policy":"p","default":"allow","rules":[{"id":"r","action":"deny","to":[{"ports":[443]}]}]}"#,
    )
    .expect("a policy");
}

/// ASCII's unit separator: so the seeds stay legible, and the last fact may hold any byte.
const SEPARATOR: u8 = 0x1f;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let mut facts = bytes.splitn(8, |&byte| byte == SEPARATOR);
    let facts = std::array::from_fn(|_| facts.next().unwrap_or_default());
    CONFIG.with(|config| record::check(config, facts));
});
