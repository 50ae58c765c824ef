//! TLS connections that nobody terminates: callers that send any bytes, hellos as bytes, and an
//! upstream that counts what arrives.

pub mod caller;
pub mod hello;
pub mod upstream;
