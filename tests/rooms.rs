//! Modules look down only, those of the filter and those of the simulator: each uses those below it, so
//! that none is in a circle.
#![cfg(not(target_family = "wasm"))]

use kit::REPOSITORY;
use kit::rooms::{assert_look_down, sources};

/// The modules of the filter, the lowest first.
const FILTER: [&str; 20] = [
    "key_table",
    "token",
    "place",
    "time",
    "json_line",
    "header_map",
    "stamp",
    "host",
    "root_id",
    "policy",
    "counters",
    "answer",
    "record",
    "config",
    "gauges",
    "load",
    "in_force",
    "proxy",
    "connection",
    "filter",
];
/// The border to the proxy, above all of them.
const BORDER: &str = "wasm";

/// Those of the border, the lowest first.
const WASM: [&str; 8] = ["fault", "hostcalls", "metrics", "proxy", "logger", "http", "tcp", "root"];

/// Those of the native library, the lowest first.
const NATIVE: [&str; 8] =
    ["abi", "fault", "logger", "secrets", "writes", "redirect", "proxy", "requests"];

/// The modules of a host, the lowest first.
const HOST: [&str; 7] =
    ["punycode", "name", "address", "authority", "server_name", "glob", "pattern"];

/// The modules of the simulator, the lowest first.
const SIMULATE: [&str; 11] = [
    "time",
    "bytes",
    "lines",
    "outcome",
    "attributes",
    "request",
    "connection",
    "subject",
    "proxy",
    "filters",
    "case",
];

/// The modules of a policy, the lowest first.
const POLICY: [&str; 14] = [
    "decision",
    "text",
    "path",
    "paths",
    "query",
    "suffixes",
    "globs",
    "host_map",
    "dialled",
    "request",
    "rule",
    "index",
    "both_hosts",
    "trace",
];

#[test]
fn the_modules_of_the_filter_look_down_only() {
    let modules: Vec<_> = FILTER.into_iter().chain([BORDER]).collect();
    assert_look_down(REPOSITORY, "src", &modules, &["crate::"]);
}

#[test]
fn the_modules_of_the_simulator_look_down_only() {
    assert_look_down(REPOSITORY, "tool/simulate/src", &SIMULATE, &["crate::"]);
}

#[test]
fn the_modules_of_the_border_look_down_only() {
    assert_look_down(REPOSITORY, "src/wasm", &WASM, &["super::", "crate::wasm::"]);
}

#[test]
fn the_modules_of_the_native_library_look_down_only() {
    assert_look_down(REPOSITORY, "native/src", &NATIVE, &["crate::", "super::"]);
}

/// The compiler checks the rest.
#[test]
fn the_native_library_has_its_unsafe_code_in_one_file() {
    for source in sources(REPOSITORY, "native/src") {
        let is_unsafe =
            source.code().contains("unsafe") && !source.code().contains("deny(unsafe_code)");
        assert_eq!(is_unsafe, source.path == "native/src/abi.rs", "{}", source.path);
    }
}

#[test]
fn the_modules_of_a_host_look_down_only() {
    assert_look_down(REPOSITORY, "src/host", &HOST, &["super::", "crate::host::"]);
}

#[test]
fn the_modules_of_a_policy_look_down_only() {
    assert_look_down(REPOSITORY, "src/policy", &POLICY, &["super::", "crate::policy::"]);
}
