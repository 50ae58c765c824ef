//! Counters by name.

use std::cell::{Cell, RefCell};

use super::hostcalls;
use crate::counters::Counter;
use crate::key_table::KeyTable;
use crate::policy::Policy;

thread_local! {
    /// The ids of the counters that this VM has defined so far. The proxy gives every definition a
    /// new id, also of a known name, and keeps it as long as the VM lives; so the ids outlive the
    /// roots, and reloads define nothing twice.
    static IDS: RefCell<KeyTable> = RefCell::default();
}

/// The ids of one policy's counters, each asked for at its first use.
pub(super) struct Counters {
    /// By a counter's number.
    ids: Vec<Cell<Option<u32>>>,
}

impl Counters {
    pub(super) fn new(policy: &Policy) -> Self {
        Self { ids: vec![Cell::new(None); Counter::most(policy)] }
    }

    /// Adds one to a counter, defining it at first use; one that cannot be defined is skipped.
    pub(super) fn increment(&self, counter: &Counter<'_>) {
        let Some(known) = self.ids.get(counter.number) else { return };
        if known.get().is_none() {
            known.set(IDS.with_borrow_mut(|ids| id(ids, &counter.name())));
        }
        if let Some(id) = known.get() {
            let _ = hostcalls::increment_counter(id);
        }
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
