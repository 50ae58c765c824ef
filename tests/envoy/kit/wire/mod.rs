//! Hostile requests as bytes: callers that send what no client library would, and an upstream that
//! counts what reaches it.
//!
//! | file | holds |
//! |---|---|
//! | `connection.rs` | bytes in and out, counted |
//! | `http1.rs`, `http2.rs` | the two protocols, as written and as read |
//! | `caller.rs` | sends messages, returns the answers |
//! | `upstream.rs` | takes whatever comes, and keeps it |
//! | `lane.rs` | one policy behind one gateway: sends every vector, notes what came of it |
//! | `verdict.rs` | compares what came with what must come |

mod caller;
mod connection;
mod http1;
mod http2;
pub mod lane;
mod upstream;
pub mod verdict;
