//! What the files under `tests/cases` and `tests/faults` may say, and what it is compared with.

#![allow(dead_code, reason = "each test binary uses its own part of it")]

pub(crate) mod bytes;
pub(crate) mod connection;
pub(crate) mod decision;
pub(crate) mod fault;
pub(crate) mod files;
pub(crate) mod lines;
pub(crate) mod plane;
pub(crate) mod proxy;
pub(crate) mod request;
