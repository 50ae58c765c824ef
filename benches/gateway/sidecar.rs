//! What stands before a mutual-TLS listener: wrk shows no certificate, so the load goes through an
//! Envoy that does, as a workload's goes through its sidecar. All set-ups with mutual TLS have one,
//! and its CPU time is not counted.

use std::net::SocketAddr;

use anyhow::Result;
use serde_json::json;

use envoy_kit::bootstrap::Bootstrap;
use envoy_kit::certificates::{Authority, Identity};

/// The gateway's name in its certificate.
pub(crate) const SERVER_NAME: &str = "gateway.example";
/// The listener without TLS.
pub(crate) const LISTENER: &str = "plain";

/// A sidecar that sends everything to `gateway`, with the certificate of `caller`. It logs nothing.
pub(crate) fn bootstrap(
    authority: &Authority,
    caller: &Identity,
    gateway: SocketAddr,
) -> Result<Bootstrap> {
    let mut bootstrap = Bootstrap::sidecar()?;
    let address =
        |port: u16| json!({"socket_address": {"address": "127.0.0.1", "port_value": port}});
    *bootstrap.tree_mut() = json!({
        "admin": {"address": address(0)},
        "static_resources": {
            "listeners": [{
                "name": LISTENER,
                "address": address(0),
                "filter_chains": [{"filters": [{
                    "name": "envoy.filters.network.http_connection_manager",
                    "typed_config": {
                        "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
                        "stat_prefix": LISTENER,
                        "http_filters": [{
                            "name": "envoy.filters.http.router",
                            "typed_config": {
                                "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router",
                                "suppress_envoy_headers": true,
                            },
                        }],
                        "route_config": {"virtual_hosts": [{
                            "name": "any",
                            "domains": ["*"],
                            "routes": [{"match": {"prefix": "/"}, "route": {"cluster": "gateway", "timeout": "0s"}}],
                        }]},
                    },
                }]}],
            }],
            "clusters": [{
                "name": "gateway",
                "load_assignment": {
                    "cluster_name": "gateway",
                    "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address(gateway.port())}}]}],
                },
                "transport_socket": {
                    "name": "envoy.transport_sockets.tls",
                    "typed_config": {
                        "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext",
                        "sni": SERVER_NAME,
                        "common_tls_context": {
                            "tls_certificates": [{
                                "certificate_chain": {"inline_string": caller.certificate_pem()},
                                "private_key": {"inline_string": caller.key_pem()},
                            }],
                            "validation_context": {"trusted_ca": {"inline_string": authority.certificate_pem()}},
                        },
                    },
                },
            }],
        },
    });
    Ok(bootstrap)
}
