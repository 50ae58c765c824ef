//! TLS connections that nobody terminates: callers that send any bytes, hellos as bytes, and an
//! upstream that counts what arrives.

#![allow(dead_code, reason = "each test binary uses its own part of it")]

pub(crate) mod caller;
pub(crate) mod hello;
pub(crate) mod upstream;
