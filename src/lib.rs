//! An egress policy filter for Envoy and Istio, and the policy it decides by.
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

pub mod answer;
pub mod config;
pub mod connection;
pub mod counters;
pub mod filter;
pub mod gauges;
pub mod header_map;
pub mod host;
pub mod in_force;
mod json_line;
mod key_table;
pub mod load;
pub mod place;
pub mod policy;
pub mod proxy;
pub mod record;
pub mod root_id;
pub mod stamp;
pub mod time;
pub mod token;
#[cfg(any(target_os = "wasi", not(target_family = "wasm")))]
mod wasm;
