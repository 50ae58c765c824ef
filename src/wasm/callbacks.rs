//! The callbacks of Proxy-Wasm 0.2.1 that the module exports, each handed to the context that it is about.
//!
//! They are written out here and not taken from an SDK. Envoy enters the VM for each callback that a module
//! exports, so the module has those that the filter uses and no other. An SDK's library exports all of them, with
//! everything that they reach.

#![expect(
    unsafe_code,
    reason = "exported symbols carry an unsafe attribute; memory is handed over as a pointer"
)]

use std::cell::RefCell;
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::rc::Rc;

use super::http::HttpStream;
use super::root::{Begun, Root};
use super::tcp::TcpConnection;
use super::{hostcalls, logger};
use crate::proxy::Flow;

#[cfg(target_os = "wasi")]
unsafe extern "C" {
    fn __wasm_call_ctors();
}

/// Called once, before anything else.
#[unsafe(no_mangle)]
extern "C" fn _initialize() {
    // SAFETY: the linker defines it, and nothing else calls it.
    #[cfg(target_os = "wasi")]
    unsafe {
        __wasm_call_ctors();
    }
    logger::install();
}

/// Never called: by its name the proxy knows which version of Proxy-Wasm the module speaks.
#[unsafe(no_mangle)]
extern "C" fn proxy_abi_version_0_2_1() {}

/// Gives the proxy memory, to return something into it. [`hostcalls`] takes it back.
#[unsafe(no_mangle)]
extern "C" fn proxy_on_memory_allocate(size: usize) -> *mut u8 {
    hostcalls::give_memory(size)
}

/// A root has the parent 0; a stream or a connection has its root.
#[unsafe(no_mangle)]
extern "C" fn proxy_on_context_create(id: u32, parent: u32) {
    let context = match parent {
        0 => Context::Root(Rc::new(RefCell::new(Root::new()))),
        parent => Context::Begun(root(parent).borrow().begin(id)),
    };
    CONTEXTS.with_borrow_mut(|contexts| contexts.insert(id, context));
}

/// Whether the configuration is taken.
#[unsafe(no_mangle)]
extern "C" fn proxy_on_configure(id: u32, size: usize) -> bool {
    root(id).borrow_mut().on_configure(size)
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_tick(id: u32) {
    root(id).borrow().on_tick();
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_request_headers(id: u32, _count: u32, _end_of_stream: bool) -> u32 {
    action(stream(id).on_request_headers())
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_request_trailers(id: u32, _count: u32) -> u32 {
    action(stream(id).on_request_trailers())
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_new_connection(id: u32) -> u32 {
    action(connection(id).on_new_connection())
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_downstream_data(id: u32, _size: u32, _end_of_stream: bool) -> u32 {
    action(connection(id).on_downstream_data())
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_upstream_data(id: u32, _size: u32, _end_of_stream: bool) -> u32 {
    action(connection(id).on_upstream_data())
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_delete(id: u32) {
    // Dropped after the table is free again: a connection that ends undecided calls the proxy.
    let context = CONTEXTS.with_borrow_mut(|contexts| contexts.remove(&id));
    if context.is_none() {
        refuse_to_go_on(id, "context");
    }
}

/// What a callback can be about.
#[derive(Clone)]
enum Context {
    Root(Rc<RefCell<Root>>),
    Begun(Begun),
}

thread_local! {
    /// The contexts that the proxy has created and not deleted yet, by its numbers. No callback runs while the table
    /// is borrowed.
    static CONTEXTS: RefCell<HashMap<u32, Context, BuildHasherDefault<Spread>>> = RefCell::default();
}

fn root(id: u32) -> Rc<RefCell<Root>> {
    match context(id) {
        Some(Context::Root(root)) => root,
        _ => refuse_to_go_on(id, "root"),
    }
}

fn stream(id: u32) -> Rc<HttpStream> {
    match context(id) {
        Some(Context::Begun(Begun::Stream(stream))) => stream,
        _ => refuse_to_go_on(id, "HTTP stream"),
    }
}

fn connection(id: u32) -> Rc<TcpConnection> {
    match context(id) {
        Some(Context::Begun(Begun::Connection(connection))) => connection,
        _ => refuse_to_go_on(id, "connection"),
    }
}

fn context(id: u32) -> Option<Context> {
    CONTEXTS.with_borrow(|contexts| contexts.get(&id).cloned())
}

/// The proxy asks one kind of context for what another kind does, as where a network filter has the root id of an
/// HTTP filter. There is no verdict to give, and the next filter must not see what comes: the VM ends here, and what
/// the proxy does with a failed VM is to close.
fn refuse_to_go_on(id: u32, kind: &str) -> ! {
    log::error!(
        "the proxy calls context {id} as a {kind}, and it is none: a network filter needs the root id \
         `connections`, an HTTP filter another one"
    );
    std::process::abort();
}

/// An action's number: 0 is to go on, 1 to stop.
fn action(flow: Flow) -> u32 {
    match flow {
        Flow::Continue => 0,
        Flow::Stop => 1,
    }
}

/// Spreads the proxy's numbers, which count up, over a table. No caller chooses them.
#[derive(Default)]
struct Spread(u64);

impl Hasher for Spread {
    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.write_u32(u32::from(byte));
        }
    }

    fn write_u32(&mut self, number: u32) {
        const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;
        self.0 = (self.0 ^ u64::from(number)).wrapping_mul(FACTOR);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}
