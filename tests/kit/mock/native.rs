//! The library as a guest: the SDK's own dispatcher, linked into the test.
//!
//! Its host calls are the symbols that this file defines, its callbacks the symbols that the SDK
//! exports. A panic in either aborts the test's process, as it would trap the VM.

use std::cell::RefCell;
use std::ptr;

// Nothing here names the library: without this line the linker would not see its symbols.
use egress_warden as _;

use super::guest::Guest;
use super::host::{SharedHost, Status};
use super::imports::{self, Memory};

thread_local! {
    static HOST: RefCell<Option<SharedHost>> = const { RefCell::new(None) };
}

pub struct Native {
    _loaded: (),
}

impl Guest for Native {
    fn load(host: SharedHost) -> Self {
        HOST.set(Some(host));
        Self { _loaded: () }
    }

    fn initialize(&mut self) {
        _initialize()
    }

    fn on_context_create(&mut self, context: u32, parent: u32) {
        proxy_on_context_create(context, parent)
    }

    fn on_vm_start(&mut self, root: u32, configuration_size: u32) -> bool {
        proxy_on_vm_start(root, configuration_size as usize)
    }

    fn on_configure(&mut self, root: u32, configuration_size: u32) -> bool {
        proxy_on_configure(root, configuration_size as usize)
    }

    fn on_request_headers(&mut self, stream: u32, count: u32, end_of_stream: bool) -> u32 {
        proxy_on_request_headers(stream, count as usize, end_of_stream)
    }

    fn on_new_connection(&mut self, connection: u32) -> u32 {
        proxy_on_new_connection(connection)
    }

    fn on_downstream_data(&mut self, connection: u32, size: u32, end_of_stream: bool) -> u32 {
        proxy_on_downstream_data(connection, size as usize, end_of_stream)
    }

    fn on_upstream_data(&mut self, connection: u32, size: u32, end_of_stream: bool) -> u32 {
        proxy_on_upstream_data(connection, size as usize, end_of_stream)
    }

    fn on_tick(&mut self, root: u32) {
        proxy_on_tick(root)
    }

    fn on_done(&mut self, context: u32) -> bool {
        proxy_on_done(context)
    }

    fn on_log(&mut self, context: u32) {
        proxy_on_log(context)
    }

    fn on_delete(&mut self, context: u32) {
        proxy_on_delete(context)
    }

    fn memory_size(&self) -> Option<u64> {
        None
    }

    fn fuel_spent(&self) -> Option<u64> {
        None
    }
}

// SAFETY: the SDK defines them, safe Rust behind a C signature.
unsafe extern "C" {
    safe fn _initialize();
    safe fn proxy_on_memory_allocate(size: usize) -> *mut u8;
    safe fn proxy_on_context_create(context: u32, parent: u32);
    safe fn proxy_on_vm_start(root: u32, configuration_size: usize) -> bool;
    safe fn proxy_on_configure(root: u32, configuration_size: usize) -> bool;
    safe fn proxy_on_request_headers(stream: u32, count: usize, end_of_stream: bool) -> u32;
    safe fn proxy_on_new_connection(connection: u32) -> u32;
    safe fn proxy_on_downstream_data(connection: u32, size: usize, end_of_stream: bool) -> u32;
    safe fn proxy_on_upstream_data(connection: u32, size: usize, end_of_stream: bool) -> u32;
    safe fn proxy_on_tick(root: u32);
    safe fn proxy_on_done(context: u32) -> bool;
    safe fn proxy_on_log(context: u32);
    safe fn proxy_on_delete(context: u32);
}

/// The memory of this process, by exposed addresses.
struct Process;

impl Memory for Process {
    fn read(&self, address: u64, size: u64) -> Option<Vec<u8>> {
        if size == 0 {
            return Some(Vec::new());
        }
        let data = ptr::with_exposed_provenance::<u8>(usize::try_from(address).ok()?);
        // SAFETY: a guest passes addresses and sizes of its own slices.
        Some(unsafe { std::slice::from_raw_parts(data, size as usize) }.to_vec())
    }

    fn write(&mut self, address: u64, bytes: &[u8]) -> Option<()> {
        let place = ptr::with_exposed_provenance_mut::<u8>(usize::try_from(address).ok()?);
        // SAFETY: a guest passes places that are as large as what the ABI returns there.
        unsafe { ptr::copy_nonoverlapping(bytes.as_ptr(), place, bytes.len()) };
        Some(())
    }

    fn allocate(&mut self, size: usize) -> Option<u64> {
        Some(proxy_on_memory_allocate(size).expose_provenance() as u64)
    }

    fn pointer_bytes(&self, pointer: u64) -> Vec<u8> {
        (pointer as usize).to_ne_bytes().to_vec()
    }
}

/// Defines the imports as symbols, and lists their names.
macro_rules! imports {
    ($($name:ident($($argument:ident: $type:ty),*);)+) => {
        /// Every import that a module for ABI 0.2.1 may have from `env`, as the SDK declares them.
        pub const IMPORTS: &[&str] = &[$(stringify!($name)),+];

        $(
            // SAFETY: the name is the ABI's, and nothing else in the test defines it.
            #[unsafe(no_mangle)]
            extern "C" fn $name($($argument: $type),*) -> u32 {
                HOST.with_borrow(|host| match host {
                    Some(host) => {
                        let arguments: &[u64] = &[$($argument as u64),*];
                        imports::call(host, &mut Process, stringify!($name), arguments)
                    }
                    None => Status::Unimplemented as u32,
                })
            }
        )+
    };
}

imports! {
    proxy_log(level: u32, data: usize, size: usize);
    proxy_get_log_level(level: usize);
    proxy_get_current_time_nanoseconds(time: usize);
    proxy_set_tick_period_milliseconds(period: u32);
    proxy_get_buffer_bytes(kind: u32, start: usize, max_size: usize, data: usize, size: usize);
    proxy_set_buffer_bytes(kind: u32, start: usize, max_size: usize, data: usize, size: usize);
    proxy_get_header_map_pairs(map: u32, data: usize, size: usize);
    proxy_set_header_map_pairs(map: u32, data: usize, size: usize);
    proxy_get_header_map_value(map: u32, name: usize, name_size: usize, data: usize, size: usize);
    proxy_remove_header_map_value(map: u32, name: usize, name_size: usize);
    proxy_replace_header_map_value(map: u32, name: usize, name_size: usize, value: usize, value_size: usize);
    proxy_add_header_map_value(map: u32, name: usize, name_size: usize, value: usize, value_size: usize);
    proxy_get_property(path: usize, path_size: usize, data: usize, size: usize);
    proxy_set_property(path: usize, path_size: usize, value: usize, value_size: usize);
    proxy_get_shared_data(key: usize, key_size: usize, data: usize, size: usize, cas: usize);
    proxy_set_shared_data(key: usize, key_size: usize, value: usize, value_size: usize, cas: u32);
    proxy_register_shared_queue(name: usize, name_size: usize, id: usize);
    proxy_resolve_shared_queue(vm: usize, vm_size: usize, name: usize, name_size: usize, id: usize);
    proxy_dequeue_shared_queue(id: u32, data: usize, size: usize);
    proxy_enqueue_shared_queue(id: u32, value: usize, value_size: usize);
    proxy_continue_stream(kind: u32);
    proxy_close_stream(kind: u32);
    proxy_send_local_response(status: u32, details: usize, details_size: usize, body: usize, body_size: usize, headers: usize, headers_size: usize, grpc_status: i32);
    proxy_http_call(upstream: usize, upstream_size: usize, headers: usize, headers_size: usize, body: usize, body_size: usize, trailers: usize, trailers_size: usize, timeout: u32, token: usize);
    proxy_grpc_call(upstream: usize, upstream_size: usize, service: usize, service_size: usize, method: usize, method_size: usize, metadata: usize, metadata_size: usize, message: usize, message_size: usize, timeout: u32, token: usize);
    proxy_grpc_stream(upstream: usize, upstream_size: usize, service: usize, service_size: usize, method: usize, method_size: usize, metadata: usize, metadata_size: usize, token: usize);
    proxy_grpc_send(token: u32, message: usize, message_size: usize, end_of_stream: bool);
    proxy_grpc_cancel(token: u32);
    proxy_grpc_close(token: u32);
    proxy_get_status(code: usize, data: usize, size: usize);
    proxy_set_effective_context(context: u32);
    proxy_call_foreign_function(name: usize, name_size: usize, arguments: usize, arguments_size: usize, data: usize, size: usize);
    proxy_done();
    proxy_define_metric(kind: u32, name: usize, name_size: usize, id: usize);
    proxy_get_metric(id: u32, value: usize);
    proxy_record_metric(id: u32, value: u64);
    proxy_increment_metric(id: u32, offset: i64);
}
