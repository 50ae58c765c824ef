//! Real Envoys on the files of `envoy/`: read as trees, edited, started on free ports, asked and
//! observed.
//!
//! A [`Testbed`] starts Envoys of one version and stops them. What a test changes in a file it
//! changes in the tree of a [`Bootstrap`]; everything else stays what users copy.

#![allow(
    dead_code,
    unused_imports,
    unused_macros,
    reason = "each test binary uses its own part of it"
)]

pub(crate) mod bootstrap;
pub(crate) mod call;
pub(crate) mod certificates;
pub(crate) mod passthrough;
pub(crate) mod permissive;
pub(crate) mod process;
pub(crate) mod testbed;
pub(crate) mod tls_service;
pub(crate) mod versions;

/// The fields of the gateway's access log that the reference path asks for; the filter's own come
/// on top.
pub(crate) const ACCESS_LOG_FIELDS: [&str; 24] = [
    "authority",
    "bytes_received",
    "bytes_sent",
    "downstream_local_address",
    "downstream_remote_address",
    "duration",
    "istio_policy_status",
    "method",
    "path",
    "protocol",
    "request_id",
    "requested_server_name",
    "response_code",
    "response_flags",
    "route_name",
    "start_time",
    "trace_id",
    "upstream_cluster",
    "upstream_host",
    "upstream_local_address",
    "upstream_service_time",
    "upstream_transport_failure_reason",
    "user_agent",
    "x_forwarded_for",
];
