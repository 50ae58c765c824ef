//! The filter as an Envoy dynamic module: the library runs in the proxy's own process, without a sandbox.
//!
//! It is the same filter, [`egress_warden::filter`], over another proxy. Headers are read where they lie
//! in Envoy, workers share one policy, and counters have labels. `abi.rs` is the border to Envoy.
#![warn(missing_docs, unreachable_pub)]
#![deny(unsafe_code)]
#![deny(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::todo,
    clippy::unimplemented,
    clippy::unreachable,
    clippy::unwrap_used
)]

mod abi;
#[cfg(egress_fault)]
mod fault;
mod logger;
mod proxy;
mod redirect;
mod requests;
mod secrets;
mod writes;

abi::export!(crate::requests::Requests);
