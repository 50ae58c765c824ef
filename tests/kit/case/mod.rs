//! What the files under `tests/cases` and `tests/faults` may say, and what it is compared with.

pub mod bytes;
pub mod connection;
pub mod decision;
pub mod fault;
pub mod files;
pub mod lines;
pub mod plane;
pub mod proxy;
pub mod request;
