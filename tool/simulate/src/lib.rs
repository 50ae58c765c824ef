//! A request or a connection sent through the filter with no proxy around it: what becomes of it, and
//! what it leaves behind. Beside it the format of cases: what is to become of it.
//!
//! The filter is the one that the proxy runs, from the header map to the record. What stands for the
//! proxy only holds what it is told. Tests and the command-line tool use the same.
#![forbid(unsafe_code)]
#![deny(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::todo,
    clippy::unimplemented,
    clippy::unreachable,
    clippy::unwrap_used
)]

mod attributes;
mod bytes;
pub mod case;
mod connection;
mod filters;
mod lines;
mod outcome;
mod proxy;
mod request;
mod subject;
pub mod time;

pub use attributes::Attribute;
pub use bytes::{Bytes, shown};
pub use connection::Connection;
pub use filters::Filters;
pub use outcome::{Answer, Headers, Outcome};
pub use request::Request;
pub use subject::Subject;
