//! A waypoint of Istio's ambient mode, configured as istiod renders it: the HBONE of callers ends at one
//! listener, and the filters run behind it in an internal listener, whose chains go by the address dialled.
//!
//! The filters, the access log and the protocols are those of `envoy/gateway.yaml`.

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use super::bootstrap::Bootstrap;
use super::certificates::Authority;

/// The listener that callers connect to.
pub const HBONE: &str = "connect_terminate";
const INTERNAL: &str = "main_internal";
const EXTENSIONS: &str = "type.googleapis.com/envoy.extensions";

/// What the waypoint knows behind one address and port.
#[derive(Clone, Copy, Debug)]
pub struct Destination<'a> {
    /// IPv4.
    pub address: &'a str,
    pub port: u16,
    /// The name of its cluster, `inbound-vip|PORT|http|HOST` for a host; of its filter chain, too. With `tcp` for
    /// `http` the chain is one of connections: the guard and the proxy of `envoy/gateway-tls.yaml`.
    pub cluster: &'a str,
}

impl Destination<'_> {
    /// What a caller dials to come here.
    pub fn dialled(&self) -> String {
        format!("{}:{}", self.address, self.port)
    }

    /// What stands last in the cluster's name: the host, where it names one.
    pub fn host(&self) -> &str {
        self.cluster.rsplit('|').next().unwrap_or_default()
    }
}

impl Bootstrap {
    /// Makes this gateway a waypoint before `destinations`. It trusts callers with a certificate of
    /// `authority`. What else is to differ from the shipped gateway is changed first.
    pub fn into_waypoint(
        mut self,
        authority: &Authority,
        destinations: &[Destination<'_>],
    ) -> Result<Self> {
        let terminate = self.connect_terminate(authority)?;
        let template = self.tree["static_resources"]["clusters"][0].clone();
        let clusters = destinations.iter().map(|destination| cluster(&template, destination));
        let clusters: Vec<_> = clusters.chain([cluster_of_internal_listener()]).collect();
        let internal = self.main_internal(destinations)?;
        self.name = "waypoint";
        self.tree["node"] = json!({
            "id": "waypoint~10.0.0.1~waypoint.istio-egress~istio-egress.svc.cluster.local",
            "cluster": "waypoint.istio-egress",
        });
        self.tree["bootstrap_extensions"] = json!([{
            "name": "envoy.bootstrap.internal_listener",
            "typed_config": {
                "@type": format!("{EXTENSIONS}.bootstrap.internal_listener.v3.InternalListener"),
            },
        }]);
        self.tree["static_resources"] =
            json!({"listeners": [terminate, internal], "clusters": clusters});
        Ok(self)
    }

    /// Ends the tunnels: whom the certificate names, and what was dialled, become filter state of the
    /// connection within.
    fn connect_terminate(&self, authority: &Authority) -> Result<Value> {
        let mut transport_socket = super::bootstrap::downstream_tls(authority, true)?;
        let tls = &mut transport_socket["typed_config"]["common_tls_context"];
        tls["alpn_protocols"] = json!(["h2"]);
        tls["tls_params"] = json!({"tls_minimum_protocol_version": "TLSv1_3"});
        let gateway = self.tree["static_resources"]["listeners"][0]["address"].clone();
        let state = |key: &str, factory: Option<&str>, format: &str| {
            json!({
                "object_key": key,
                "factory_key": factory,
                "format_string": {"text_format_source": {"inline_string": format}},
                "shared_with_upstream": "ONCE",
            })
        };
        Ok(json!({
            "name": HBONE,
            "address": gateway,
            "filter_chains": [{
                "name": "default",
                "transport_socket": transport_socket,
                "filters": [{
                    "name": "envoy.filters.network.http_connection_manager",
                    "typed_config": {
                        "@type": format!("{EXTENSIONS}.filters.network.http_connection_manager.v3.HttpConnectionManager"),
                        "stat_prefix": HBONE,
                        "http2_protocol_options": {"allow_connect": true},
                        "upgrade_configs": [{"upgrade_type": "CONNECT"}],
                        "stream_idle_timeout": "0s",
                        "route_config": {"virtual_hosts": [{
                            "name": "default",
                            "domains": ["*"],
                            "routes": [{
                                "match": {"connect_matcher": {}},
                                "route": {
                                    "cluster": INTERNAL,
                                    "upgrade_configs": [{"upgrade_type": "CONNECT", "connect_config": {}}],
                                },
                            }],
                        }]},
                        "http_filters": [
                            {
                                "name": "connect_authority",
                                "typed_config": {
                                    "@type": format!("{EXTENSIONS}.filters.http.set_filter_state.v3.Config"),
                                    "on_request_headers": [
                                        state("envoy.filters.listener.original_dst.local_ip", None, "%REQ(:AUTHORITY)%"),
                                        state("envoy.filters.listener.original_dst.remote_ip", None, "%DOWNSTREAM_REMOTE_ADDRESS%"),
                                        state("io.istio.peer_principal", Some("envoy.string"), "%DOWNSTREAM_PEER_URI_SAN%"),
                                        state("io.istio.local_principal", Some("envoy.string"), "%DOWNSTREAM_LOCAL_URI_SAN%"),
                                    ],
                                },
                            },
                            {
                                "name": "envoy.filters.http.router",
                                "typed_config": {"@type": format!("{EXTENSIONS}.filters.http.router.v3.Router")},
                            },
                        ],
                    },
                }],
            }],
        }))
    }

    /// The gateway's filters once for each destination.
    fn main_internal(&mut self, destinations: &[Destination<'_>]) -> Result<Value> {
        self.log_field("source_principal", "%FILTER_STATE(io.istio.peer_principal:PLAIN)%");
        let manager = self.connection_manager();
        manager["stat_prefix"] = json!("inbound_0.0.0.0");
        manager["use_remote_address"] = json!(false);
        manager["forward_client_cert_details"] = json!("APPEND_FORWARD");
        let manager = manager.clone();
        let of_connections = filters_of_connections()?;
        let chains = destinations.iter().map(|destination| {
            let cluster = destination.cluster;
            let filters = match cluster.contains("|tcp|") {
                true => {
                    let mut filters = of_connections.clone();
                    filters[1]["typed_config"]["cluster"] = json!(cluster);
                    filters
                }
                false => json!([filter_of_requests(&manager, destination)]),
            };
            json!({"name": cluster, "filters": filters})
        });
        Ok(json!({
            "name": INTERNAL,
            "internal_listener": {},
            "listener_filters": [{
                "name": "envoy.filters.listener.original_dst",
                "typed_config": {"@type": format!("{EXTENSIONS}.filters.listener.original_dst.v3.OriginalDst")},
            }],
            "filter_chains": chains.collect::<Vec<_>>(),
            "filter_chain_matcher": matcher(destinations),
        }))
    }
}

/// The connection manager with one route, for every host.
fn filter_of_requests(manager: &Value, destination: &Destination<'_>) -> Value {
    let mut manager = manager.clone();
    let mut host = manager["route_config"]["virtual_hosts"][0].take();
    host["name"] = json!(format!("inbound|http|{}", destination.port));
    host["domains"] = json!(["*"]);
    host["routes"][0]["name"] = json!("default");
    host["routes"][0]["route"]["cluster"] = json!(destination.cluster);
    manager["route_config"] = json!({"name": destination.cluster, "virtual_hosts": [host]});
    json!({"name": "envoy.filters.network.http_connection_manager", "typed_config": manager})
}

/// The guard and the proxy.
fn filters_of_connections() -> Result<Value> {
    let mut gateway = Bootstrap::gateway_tls()?;
    let chain = &mut gateway.tree["static_resources"]["listeners"][0]["filter_chains"][0];
    let filters = chain["filters"].as_array_mut().context("a list of filters")?;
    Ok(Value::Array(filters.split_off(1)))
}

/// From an address to its ports, and from a port to the chain.
fn matcher(destinations: &[Destination<'_>]) -> Value {
    let input = |name: &str| {
        json!({
            "name": name,
            "typed_config": {"@type": format!("{EXTENSIONS}.matching.common_inputs.network.v3.{name}")},
        })
    };
    let mut addresses: Vec<_> = destinations.iter().map(|it| it.address).collect();
    addresses.sort_unstable();
    addresses.dedup();
    let ranges = addresses.into_iter().map(|address| {
        let here = destinations.iter().filter(|it| it.address == address);
        let ports = here.map(|Destination { port, cluster, .. }| {
            let chain = json!({"@type": "type.googleapis.com/google.protobuf.StringValue", "value": cluster});
            (port.to_string(), json!({"action": {"name": cluster, "typed_config": chain}}))
        });
        let ports = json!({
            "input": input("DestinationPortInput"),
            "exact_match_map": {"map": ports.collect::<serde_json::Map<_, _>>()},
        });
        json!({
            "ranges": [{"address_prefix": address, "prefix_len": 32}],
            "on_match": {"matcher": {"matcher_tree": ports}},
        })
    });
    json!({"matcher_tree": {
        "input": input("DestinationIPInput"),
        "custom_match": {
            "name": "ip",
            "typed_config": {
                "@type": "type.googleapis.com/xds.type.matcher.v3.IPMatcher",
                "range_matchers": ranges.collect::<Vec<_>>(),
            },
        },
    }})
}

fn cluster(template: &Value, destination: &Destination<'_>) -> Value {
    let mut cluster = template.clone();
    cluster["name"] = json!(destination.cluster);
    cluster["load_assignment"]["cluster_name"] = json!(destination.cluster);
    cluster
}

/// Passes the filter state on.
fn cluster_of_internal_listener() -> Value {
    let address = json!({"envoy_internal_address": {"server_listener_name": INTERNAL}});
    json!({
        "name": INTERNAL,
        "type": "STATIC",
        "load_assignment": {
            "cluster_name": INTERNAL,
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address}}]}],
        },
        "transport_socket": {
            "name": "envoy.transport_sockets.internal_upstream",
            "typed_config": {
                "@type": format!("{EXTENSIONS}.transport_sockets.internal_upstream.v3.InternalUpstreamTransport"),
                "transport_socket": {
                    "name": "envoy.transport_sockets.raw_buffer",
                    "typed_config": {"@type": format!("{EXTENSIONS}.transport_sockets.raw_buffer.v3.RawBuffer")},
                },
            },
        },
    })
}
