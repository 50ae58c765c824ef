//! The module that users get, beside the one that these tests break.

use std::collections::BTreeSet;
use std::path::Path;

use wasmi::{Engine, Module};

/// Everything that a proxy can call.
const EXPORTS: [&str; 13] = [
    "_initialize",
    "memory",
    "proxy_abi_version_0_2_1",
    "proxy_on_configure",
    "proxy_on_context_create",
    "proxy_on_delete",
    "proxy_on_downstream_data",
    "proxy_on_memory_allocate",
    "proxy_on_new_connection",
    "proxy_on_request_headers",
    "proxy_on_request_trailers",
    "proxy_on_tick",
    "proxy_on_upstream_data",
];

/// Everything that the module can call. The SDK's traits have methods that nobody calls, and every
/// implementation of a trait keeps them.
const IMPORTS: [&str; 39] = [
    "env.proxy_add_header_map_value",
    "env.proxy_call_foreign_function",
    "env.proxy_close_stream",
    "env.proxy_continue_stream",
    "env.proxy_define_metric",
    "env.proxy_dequeue_shared_queue",
    "env.proxy_done",
    "env.proxy_enqueue_shared_queue",
    "env.proxy_get_buffer_bytes",
    "env.proxy_get_current_time_nanoseconds",
    "env.proxy_get_header_map_pairs",
    "env.proxy_get_header_map_value",
    "env.proxy_get_property",
    "env.proxy_get_shared_data",
    "env.proxy_get_status",
    "env.proxy_grpc_call",
    "env.proxy_grpc_cancel",
    "env.proxy_grpc_close",
    "env.proxy_grpc_send",
    "env.proxy_grpc_stream",
    "env.proxy_http_call",
    "env.proxy_increment_metric",
    "env.proxy_log",
    "env.proxy_record_metric",
    "env.proxy_register_shared_queue",
    "env.proxy_remove_header_map_value",
    "env.proxy_replace_header_map_value",
    "env.proxy_resolve_shared_queue",
    "env.proxy_send_local_response",
    "env.proxy_set_buffer_bytes",
    "env.proxy_set_effective_context",
    "env.proxy_set_header_map_pairs",
    "env.proxy_set_property",
    "env.proxy_set_shared_data",
    "env.proxy_set_tick_period_milliseconds",
    "wasi_snapshot_preview1.environ_get",
    "wasi_snapshot_preview1.environ_sizes_get",
    "wasi_snapshot_preview1.fd_write",
    "wasi_snapshot_preview1.proc_exit",
];

/// Words that only `src/wasm/fault.rs` has.
const FAULT_WORDS: [&str; 2] = ["root_context_create", "root_delete"];

#[test]
fn the_shipped_module_has_no_faults_in_it() {
    let shipped = bytes("target/egress_warden.wasm");
    let faulty = bytes("target/fault/egress_warden.wasm");
    assert_eq!(exports(&shipped), BTreeSet::from(EXPORTS.map(ToOwned::to_owned)));
    assert_eq!(imports(&shipped), BTreeSet::from(IMPORTS.map(ToOwned::to_owned)));
    for word in FAULT_WORDS {
        assert!(!contains(&shipped, word), "`{word}` is in the shipped module");
        assert!(contains(&faulty, word), "`{word}` is not in the fault build");
    }
    assert_eq!(exports(&faulty), exports(&shipped));
}

/// For the backtrace of a trap the named module takes the place of the shipped one.
#[test]
fn the_named_module_is_the_shipped_one_with_names() {
    let shipped = bytes("target/egress_warden.wasm");
    let named = bytes("target/egress_warden.names.wasm");
    let names = named.strip_prefix(shipped.as_slice()).expect("the same code");
    // A custom section, its size, and how it is called.
    assert_eq!(names.first(), Some(&0));
    assert!(names.windows(5).take(8).any(|window| window == b"\x04name"));
    assert!(contains(names, "egress_warden::host::Host::parse"));
    assert!(!contains(&shipped, "egress_warden::host::Host"));
}

fn bytes(path: &str) -> Vec<u8> {
    std::fs::read(Path::new(kit::REPOSITORY).join(path))
        .unwrap_or_else(|error| panic!("{path}: {error}; `./build.sh test` builds it"))
}

fn contains(module: &[u8], word: &str) -> bool {
    module.windows(word.len()).any(|window| window == word.as_bytes())
}

fn module(bytes: &[u8]) -> Module {
    Module::new(&Engine::default(), bytes).expect("a module")
}

fn exports(bytes: &[u8]) -> BTreeSet<String> {
    module(bytes).exports().map(|export| export.name().to_owned()).collect()
}

fn imports(bytes: &[u8]) -> BTreeSet<String> {
    let module = module(bytes);
    module.imports().map(|import| format!("{}.{}", import.module(), import.name())).collect()
}
