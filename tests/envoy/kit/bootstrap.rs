//! The configuration of one Envoy as a tree: a file of `envoy/`, and the edits that tests make to
//! it.

use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use super::certificates::Authority;

/// The configuration an Envoy starts with.
#[derive(Clone, Debug)]
pub struct Bootstrap {
    /// `sidecar`, `gateway`, `gateway-tls` or `external`, the file's name, or `waypoint`: the Envoy's in what tests print.
    pub name: &'static str,
    /// How many workers it has.
    pub concurrency: usize,
    /// The file that Envoy's own log goes to; its standard error where this is `None`.
    pub log_path: Option<&'static str>,
    /// How many seconds it gives what a replaced listener still serves; Envoy's 600 where this is
    /// `None`.
    pub drain_seconds: Option<u32>,
    /// Variables of its environment, beside those of the tests.
    pub environment: Vec<(String, String)>,
    pub tree: Value,
}

impl Bootstrap {
    /// `envoy/sidecar.yaml` as it is shipped.
    pub fn sidecar() -> Result<Self> {
        Self::shipped("sidecar")
    }

    /// `envoy/gateway.yaml` as it is shipped.
    pub fn gateway() -> Result<Self> {
        Self::shipped("gateway")
    }

    /// `envoy/native/gateway.yaml` as it is shipped.
    pub fn native_gateway() -> Result<Self> {
        Ok(Self { name: "gateway", ..Self::shipped("native/gateway")? })
    }

    /// `envoy/gateway-tls.yaml` as it is shipped.
    pub fn gateway_tls() -> Result<Self> {
        Self::shipped("gateway-tls")
    }

    /// `envoy/external.yaml` as it is shipped.
    pub fn external() -> Result<Self> {
        Self::shipped("external")
    }

    fn shipped(name: &'static str) -> Result<Self> {
        let path = Path::new(kit::REPOSITORY).join(format!("envoy/{name}.yaml"));
        let text =
            std::fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
        let tree =
            serde_saphyr::from_str(&text).with_context(|| format!("parse {}", path.display()))?;
        Ok(Self {
            name,
            concurrency: 1,
            log_path: None,
            drain_seconds: None,
            environment: Vec::new(),
            tree,
        })
    }

    /// The whole configuration, for edits that no other method makes.
    pub fn tree_mut(&mut self) -> &mut Value {
        &mut self.tree
    }

    /// The tree as JSON, which Envoy reads as it reads YAML.
    pub fn to_json(&self) -> String {
        self.tree.to_string()
    }

    /// Whether nobody else is bound to the ports that the Envoy will bind.
    pub fn ports_are_free(&self) -> bool {
        let mut tree = self.tree.clone();
        own_ports(&mut tree)
            .filter_map(|port| port.as_u64()?.try_into().ok())
            .all(|port: u16| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok())
    }

    /// The port of the listener `name`.
    pub fn listener_port(&self, name: &str) -> Result<u16> {
        let listeners = self.tree["static_resources"]["listeners"].as_array();
        listeners
            .and_then(|listeners| listeners.iter().find(|listener| listener["name"] == name))
            .and_then(|listener| {
                listener["address"]["socket_address"]["port_value"].as_u64()?.try_into().ok()
            })
            .with_context(|| format!("{}.yaml has no listener `{name}`", self.name))
    }

    /// Lets the kernel choose the ports that the Envoy binds.
    pub fn bind_free_ports(&mut self) {
        for port in own_ports(&mut self.tree) {
            *port = json!(0);
        }
    }

    /// Sends what went to `port` to `other` instead.
    pub fn redirect(&mut self, port: u16, other: u16) {
        for cluster in elements(&mut self.tree["static_resources"]["clusters"]) {
            // Some clusters find their endpoints themselves.
            let Some(endpoints) = cluster.pointer_mut("/load_assignment/endpoints") else {
                continue;
            };
            for locality in elements(endpoints) {
                for endpoint in elements(&mut locality["lb_endpoints"]) {
                    // That of an internal listener has none.
                    let port_value =
                        endpoint.pointer_mut("/endpoint/address/socket_address/port_value");
                    if let Some(port_value) = port_value.filter(|it| **it == port) {
                        *port_value = json!(other);
                    }
                }
            }
        }
    }

    /// Gives the filter another policy.
    pub fn set_policy(&mut self, policy: Value) -> Result<()> {
        let name = self.name;
        let filter = elements(&mut self.connection_manager()["http_filters"])
            .find(|filter| filter["name"] == "egress-warden")
            .with_context(|| format!("{name}.yaml has no filter `egress-warden`"))?;
        filter["typed_config"]["config"]["configuration"]["value"] = policy.to_string().into();
        Ok(())
    }

    /// Sends every host the way of the first virtual host.
    pub fn route_every_host(&mut self) -> Result<()> {
        let hosts = &mut self.connection_manager()["route_config"]["virtual_hosts"];
        let hosts = hosts.as_array_mut().context("a list of virtual hosts")?;
        hosts.truncate(1);
        hosts[0]["domains"] = json!(["*"]);
        Ok(())
    }

    /// Takes an HTTP filter out.
    pub fn remove_filter(&mut self, name: &str) {
        if let Some(filters) = self.connection_manager()["http_filters"].as_array_mut() {
            filters.retain(|filter| filter["name"] != name);
        }
    }

    /// Adds a field to the JSON access log.
    pub fn log_field(&mut self, name: &str, format: &str) {
        self.connection_manager()["access_log"][0]["typed_config"]["log_format"]["json_format"]
            [name] = json!(format);
    }

    /// Names another port in every cluster's name: `outbound|80||…` becomes `outbound|{port}||…`.
    pub fn set_cluster_port(&mut self, port: u16) {
        rename_clusters(&mut self.tree, &format!("outbound|{port}||"));
    }

    /// Makes every listener speak mutual TLS: it shows `authority`'s server certificate and accepts
    /// only callers with a certificate of the same authority.
    pub fn require_mutual_tls(&mut self, authority: &Authority) -> Result<()> {
        self.set_tls(authority, true)
    }

    /// Makes every listener speak TLS, with a certificate from callers that have one.
    pub fn terminate_tls(&mut self, authority: &Authority) -> Result<()> {
        self.set_tls(authority, false)
    }

    fn set_tls(&mut self, authority: &Authority, require_client_certificate: bool) -> Result<()> {
        let transport_socket = downstream_tls(authority, require_client_certificate)?;
        for listener in elements(&mut self.tree["static_resources"]["listeners"]) {
            // As in Istio's gateways: without it Envoy does not know the server name that the
            // caller asked for.
            listener["listener_filters"] = json!([{
                "name": "envoy.filters.listener.tls_inspector",
                "typed_config": {
                    "@type": "type.googleapis.com/envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector",
                },
            }]);
            for chain in elements(&mut listener["filter_chains"]) {
                chain["transport_socket"] = transport_socket.clone();
            }
        }
        Ok(())
    }

    /// Makes the Envoy begin TLS to every external service, as Istio renders a DestinationRule with
    /// `mode: SIMPLE`, `sni` and `subjectAltNames`: the service must show a certificate of `authority`
    /// for one of `names`; where there are none, for any name.
    pub fn originate_tls(&mut self, authority: &Authority, sni: &str, names: &[&str]) {
        let names: Vec<_> = names.iter().map(|name| json!({"exact": name})).collect();
        let transport_socket = json!({
            "name": "envoy.transport_sockets.tls",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext",
                "sni": sni,
                "common_tls_context": {
                    "tls_params": {
                        "tls_minimum_protocol_version": "TLSv1_2",
                        "tls_maximum_protocol_version": "TLSv1_3",
                    },
                    "validation_context": {
                        "trusted_ca": {"inline_string": authority.certificate_pem()},
                        "match_subject_alt_names": names,
                    },
                },
            },
        });
        for cluster in elements(&mut self.tree["static_resources"]["clusters"]) {
            cluster["transport_socket"] = transport_socket.clone();
        }
    }

    /// The configuration of the first listener's HTTP connection manager.
    pub(crate) fn connection_manager(&mut self) -> &mut Value {
        &mut self.tree["static_resources"]["listeners"][0]["filter_chains"][0]["filters"][0]["typed_config"]
    }
}

/// A transport socket with `authority`'s server certificate, for callers with a certificate of the same authority.
pub(crate) fn downstream_tls(
    authority: &Authority,
    require_client_certificate: bool,
) -> Result<Value> {
    let server = authority.server()?;
    Ok(json!({
        "name": "envoy.transport_sockets.tls",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext",
            "require_client_certificate": require_client_certificate,
            "common_tls_context": {
                "alpn_protocols": ["h2", "http/1.1"],
                "tls_certificates": [{
                    "certificate_chain": {"inline_string": server.certificate_pem()},
                    "private_key": {"inline_string": server.key_pem()},
                }],
                "validation_context": {"trusted_ca": {"inline_string": authority.certificate_pem()}},
            },
        },
    }))
}

/// An internal listener has none.
fn own_ports(tree: &mut Value) -> impl Iterator<Item = &mut Value> {
    let fields = tree.as_object_mut().into_iter().flatten();
    fields.flat_map(|(name, value)| {
        let owners = match name.as_str() {
            "admin" => vec![value],
            "static_resources" => elements(&mut value["listeners"]).collect(),
            _ => Vec::new(),
        };
        owners
            .into_iter()
            .filter_map(|owner| owner.pointer_mut("/address/socket_address/port_value"))
    })
}

fn elements(list: &mut Value) -> impl Iterator<Item = &mut Value> {
    list.as_array_mut().into_iter().flatten()
}

fn rename_clusters(value: &mut Value, prefix: &str) {
    match value {
        Value::String(text) => {
            if let Some(rest) = text.strip_prefix("outbound|80||") {
                *text = format!("{prefix}{rest}");
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| rename_clusters(item, prefix)),
        Value::Object(fields) => {
            fields.values_mut().for_each(|field| rename_clusters(field, prefix))
        }
        _ => {}
    }
}
