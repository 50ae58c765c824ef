//! Real Envoys on the files of `envoy/`: read as trees, edited, started on free ports, asked and
//! observed.
//!
//! A [`Testbed`](testbed::Testbed) starts Envoys of one version and stops them. What a test changes in a file it
//! changes in the tree of a [`Bootstrap`](bootstrap::Bootstrap); everything else stays what users copy.

pub mod bootstrap;
pub mod call;
pub mod certificates;
pub mod explained;
pub mod hbone;
pub mod passthrough;
pub mod permissive;
pub mod process;
pub mod shell;
pub mod testbed;
pub mod tls;
pub mod tls_service;
pub mod versions;
pub mod waypoint;
pub mod wire;

/// The fields of the gateway's access log that the reference path asks for; the filter's own come
/// on top.
pub const ACCESS_LOG_FIELDS: [&str; 24] = [
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
