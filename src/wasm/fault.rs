//! Faults on command: in the test build only (`--cfg egress_fault`), the shipped module lacks them.
//!
//! The plugin's name says what goes wrong, where and when: `fault/ACT/CALLBACK/WHEN/NUMBER`. ACT is
//! `trap`, `exhaust` (takes all memory that the VM may have, and goes on) or `refuse` (a
//! configuration); CALLBACK is one of [`Callback`]; WHEN is `every`, which counts the calls in this
//! VM, or `only`, which counts those under this very name in all VMs of the process, so that one
//! worker alone can fail. What follows the number makes one name differ from another. Under any
//! other name nothing goes wrong.

#![expect(unsafe_code, reason = "an allocator that traps is an unsafe trait's implementation")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

// Not this crate's own calls: one of them is a place where something can go wrong.
use proxy_wasm::hostcalls::{get_property, get_shared_data, set_shared_data};

/// A place where something can go wrong.
#[derive(Clone, Copy)]
pub(super) enum Callback {
    RootContextCreate,
    Configure,
    ContextCreate,
    RequestHeaders,
    NewConnection,
    DownstreamData,
    UpstreamData,
    Tick,
    /// The host is about to ask for memory, to return something into it.
    MemoryAllocate,
    Delete,
    RootDelete,
}

impl Callback {
    fn name(self) -> &'static str {
        match self {
            Self::RootContextCreate => "root_context_create",
            Self::Configure => "configure",
            Self::ContextCreate => "context_create",
            Self::RequestHeaders => "request_headers",
            Self::NewConnection => "new_connection",
            Self::DownstreamData => "downstream_data",
            Self::UpstreamData => "upstream_data",
            Self::Tick => "tick",
            Self::MemoryAllocate => "memory_allocate",
            Self::Delete => "delete",
            Self::RootDelete => "root_delete",
        }
    }
}

/// Does what the plugin's name asks for; whether the callback is to fail by its result.
pub(super) fn strike(callback: Callback) -> bool {
    let name = get_property(vec!["plugin_name"]).ok().flatten().unwrap_or_default();
    let name = String::from_utf8_lossy(&name);
    let parts = name.split('/').collect::<Vec<_>>();
    let ["fault", act, place, when, number, ..] = parts[..] else {
        return false;
    };
    let number = number.parse::<u64>();
    let is_now = match when {
        _ if place != callback.name() => false,
        "every" => number.is_ok_and(|number| calls_of_vm().is_multiple_of(number)),
        "only" => number == Ok(calls_of_process(&name)),
        _ => false,
    };
    match act {
        _ if !is_now => false,
        "trap" => {
            match callback {
                Callback::MemoryAllocate => TRAPS_AT_ALLOCATION.store(true, Relaxed),
                _ => std::process::abort(),
            }
            false
        }
        "exhaust" => {
            exhaust_memory();
            false
        }
        _ => act == "refuse",
    }
}

/// How often this VM has asked, this time included.
fn calls_of_vm() -> u64 {
    thread_local!(static CALLS: Cell<u64> = const { Cell::new(0) });
    CALLS.set(CALLS.get() + 1);
    CALLS.get()
}

/// How often all VMs of the process have asked under this name, this time included.
fn calls_of_process(key: &str) -> u64 {
    loop {
        let (calls, version) = get_shared_data(key).unwrap_or_default();
        let calls = calls.and_then(|calls| Some(u64::from_le_bytes(calls.try_into().ok()?)));
        let calls = calls.unwrap_or(0) + 1;
        // Another worker may have counted in between.
        if set_shared_data(key, Some(&calls.to_le_bytes()), version).is_ok() {
            return calls;
        }
    }
}

/// Leaves the VM no byte: the next allocation of any size fails.
fn exhaust_memory() {
    const LARGEST: usize = 1 << 26;
    for size in (0..=LARGEST.ilog2()).rev().map(|exponent| 1 << exponent) {
        let mut block = Vec::<u8>::new();
        while block.try_reserve_exact(size).is_ok() {
            // Unseen, the compiler would leave the allocation out, and the loop would not end.
            std::mem::forget(std::hint::black_box(std::mem::take(&mut block)));
        }
    }
}

/// Whether the next allocation traps. Only the next: the filter, which waits for the host call, goes
/// on in the failed VM, and what it does there shows.
static TRAPS_AT_ALLOCATION: AtomicBool = AtomicBool::new(false);

#[global_allocator]
static ALLOCATOR: Allocator = Allocator;

/// The system's allocator, which traps when it is told to.
struct Allocator;

// SAFETY: both calls go on to the system's allocator as they came.
unsafe impl GlobalAlloc for Allocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if TRAPS_AT_ALLOCATION.swap(false, Relaxed) {
            std::process::abort();
        }
        // SAFETY: the caller keeps the contract, which is the same.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: as above; every block is the system's.
        unsafe { System.dealloc(block, layout) }
    }
}
