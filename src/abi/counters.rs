//! Counters by name.

use std::cell::RefCell;

use super::hostcalls;
use crate::hash::HashMap;

thread_local! {
    /// The ids of the counters that this VM has defined so far. The proxy gives every definition a
    /// new id, also of a known name, and keeps it as long as the VM lives; so the ids outlive the
    /// roots, and reloads define nothing twice.
    static IDS: RefCell<HashMap<Box<str>, u32>> = RefCell::default();
}

/// Adds one to a counter, defining it at first use; one that cannot be defined is skipped.
pub(super) fn increment(name: &str) {
    if let Some(id) = IDS.with_borrow_mut(|ids| id(ids, name)) {
        let _ = hostcalls::increment_counter(id);
    }
}

fn id(ids: &mut HashMap<Box<str>, u32>, name: &str) -> Option<u32> {
    if let Some(&id) = ids.get(name) {
        return Some(id);
    }
    let id = hostcalls::define_counter(name).ok()?;
    ids.insert(name.into(), id);
    Some(id)
}
