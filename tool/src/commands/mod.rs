//! The commands: each reads what it is asked, calls what lies below it, and says what came.
//! No command uses another; `tool/tests/rooms.rs` sees to it.

pub(crate) mod bundle;
pub(crate) mod check;
pub(crate) mod completions;
pub(crate) mod diff;
pub(crate) mod explain;
pub(crate) mod import;
pub(crate) mod learn;
pub(crate) mod man;
pub(crate) mod render;
pub(crate) mod replay;
pub(crate) mod report;
pub(crate) mod schema;
pub(crate) mod test;
pub(crate) mod verify;
pub(crate) mod watch;
