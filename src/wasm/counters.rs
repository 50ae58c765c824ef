//! Counters by name.

use std::cell::RefCell;

use super::hostcalls;
use crate::counters::Counter;
use crate::key_table::KeyTable;

thread_local! {
    /// The ids of the counters that this VM has defined so far. The proxy gives every definition a
    /// new id, also of a known name, and keeps it as long as the VM lives; so the ids outlive the
    /// roots, and reloads define nothing twice.
    static IDS: RefCell<KeyTable> = RefCell::default();
}

/// Adds one to a counter, defining it at first use; one that cannot be defined is skipped.
pub(super) fn increment(counter: &Counter) {
    if let Some(id) = counter.id(|name| IDS.with_borrow_mut(|ids| id(ids, name))) {
        let _ = hostcalls::increment_counter(id);
    }
}

fn id(ids: &mut KeyTable, name: &str) -> Option<u32> {
    if let Some(id) = ids.get(name.as_bytes()) {
        return Some(id);
    }
    let id = hostcalls::define_counter(name).ok()?;
    ids.entry(name.as_bytes(), id);
    Some(id)
}
