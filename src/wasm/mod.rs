//! The filter's side of Proxy-Wasm, ABI 0.2.1: the callbacks that a proxy calls, and the host calls that the filter makes.
//!
//! Both are this module's own. An SDK's library exports callbacks that the filter has no use for, and its host calls
//! panic on statuses that a proxy may well return. Callbacks hand over to [`crate::filter`] or [`crate::connection`]
//! at once.

mod callbacks;
mod counters;
#[cfg(egress_fault)]
mod fault;
mod hostcalls;
mod http;
mod logger;
mod proxy;
mod root;
mod tcp;
