//! The gateway with routing as permissive as Istio's can be: whatever the filter lets through has
//! a way out.

use std::net::SocketAddr;

use anyhow::Result;
use serde_json::{Value, json};

use super::bootstrap::Bootstrap;

/// One listener of such a gateway, with a policy and an upstream of its own.
pub struct Opening<'a> {
    pub listener: String,
    pub policy: &'a Value,
    pub cluster: String,
    pub upstream: SocketAddr,
    /// Absent, as shipped.
    pub normalize_path: Option<bool>,
    /// Whether CONNECT is routed and opens tunnels, extended CONNECT included.
    pub tunnels: bool,
    /// Whether HTTP/1 trailers are passed on.
    pub trailers: bool,
}

impl Bootstrap {
    /// Puts listeners with permissive routing in the place of the shipped one. What has nothing to
    /// do with routing, or with how large a request may be, stays as it is shipped.
    pub fn open_wide(&mut self, openings: &[Opening<'_>]) -> Result<()> {
        let resources = &self.tree["static_resources"];
        let (shipped, cluster) =
            (resources["listeners"][0].clone(), resources["clusters"][0].clone());
        let mut listeners = Vec::new();
        for opening in openings {
            self.tree["static_resources"]["listeners"] = json!([shipped.clone()]);
            self.set_policy(opening.policy.clone())?;
            let mut listener = self.tree["static_resources"]["listeners"][0].take();
            opening.apply(&mut listener);
            listeners.push(listener);
        }
        let clusters = openings.iter().map(|opening| opening.cluster(&cluster)).collect();
        self.tree["static_resources"]["listeners"] = Value::Array(listeners);
        self.tree["static_resources"]["clusters"] = Value::Array(clusters);
        Ok(())
    }
}

impl Opening<'_> {
    fn apply(&self, listener: &mut Value) {
        listener["name"] = json!(self.listener);
        let manager = &mut listener["filter_chains"][0]["filters"][0]["typed_config"];
        // What is larger Envoy refuses before any filter sees it.
        manager["max_request_headers_kb"] = json!(512);
        manager["common_http_protocol_options"] = json!({"max_headers_count": 10_000});
        // How long Envoy leaves a connection open after a fault of the caller's, who waits here for
        // its end.
        manager["delayed_close_timeout"] = json!("0.05s");
        if let Some(normalize_path) = self.normalize_path {
            manager["normalize_path"] = json!(normalize_path);
        }
        if self.trailers {
            manager["http_protocol_options"] = json!({"enable_trailers": true});
        }

        let host = &mut manager["route_config"]["virtual_hosts"][0];
        host["name"] = json!("any");
        host["domains"] = json!(["*"]);
        host["routes"][0]["route"]["cluster"] = json!(self.cluster);
        let mut routes = vec![host["routes"][0].clone()];
        if self.tunnels {
            manager["http2_protocol_options"] = json!({"allow_connect": true});
            manager["upgrade_configs"] = json!([{"upgrade_type": "websocket"}, {"upgrade_type": "connect-udp"}, {"upgrade_type": "connect-ip"}, {"upgrade_type": "CONNECT"}]);
            let mut tunnel = routes[0].clone();
            tunnel["name"] = json!("tunnels");
            tunnel["match"] = json!({"connect_matcher": {}});
            routes.insert(0, tunnel);
        }
        let mut host = manager["route_config"]["virtual_hosts"][0].take();
        host["routes"] = Value::Array(routes);
        manager["route_config"]["virtual_hosts"] = json!([host]);
    }

    fn cluster(&self, shipped: &Value) -> Value {
        let mut cluster = shipped.clone();
        cluster["name"] = json!(self.cluster);
        cluster["load_assignment"]["cluster_name"] = json!(self.cluster);
        let endpoint =
            &mut cluster["load_assignment"]["endpoints"][0]["lb_endpoints"][0]["endpoint"];
        endpoint["address"]["socket_address"]["port_value"] = json!(self.upstream.port());
        let options = &mut cluster["typed_extension_protocol_options"]["envoy.extensions.upstreams.http.v3.HttpProtocolOptions"];
        // What reaches the upstream belongs to one request, and is over when its connection is. A
        // connection whose request was gone before it stood is idle.
        options["common_http_protocol_options"] =
            json!({"max_requests_per_connection": 1, "idle_timeout": "0.05s"});
        let protocols = &mut options["use_downstream_protocol_config"];
        protocols["http2_protocol_options"] = json!({"allow_connect": self.tunnels});
        if self.trailers {
            protocols["http_protocol_options"] = json!({"enable_trailers": true});
        }
        cluster
    }
}
