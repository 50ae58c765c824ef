//! What a gateway decides while one looks: the counters of its admin address, and an access log that grows.
//!
//! Each source has its own part of the [`State`], which is plain data: counts since the source began, and rates over
//! the last few looks. Counters know rules and reasons; a log knows hosts, callers and paths. A [`Picture`]
//! of the state is what is shown: on a terminal ([`screen`]), as lines, or as JSON.
//!
//! What a log or a proxy says is hostile text: in a picture it has nothing that a terminal obeys, and no list grows
//! with it.

pub(crate) mod admin;
mod counters;
mod lines;
mod meter;
mod picture;
pub(crate) mod screen;
mod state;

pub(crate) use lines::Lines;
pub(crate) use picture::Picture;
pub(crate) use state::{Counters, Log, State};
