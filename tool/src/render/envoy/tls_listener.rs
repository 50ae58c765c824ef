//! Listeners for TLS that is passed on, one for each port that callers dial.

use super::plugins::{Plugin, Plugins};
use super::{CHAIN, CONNECTIONS, TLS, clusters};
use crate::render::gateway::Gateway;
use crate::render::plan::{HostForm, Route};
use crate::render::template::{fill, quoted, socket};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::SocketAddr;

/// A listener and the routes behind it.
pub(super) struct TlsListener<'r> {
    pub(super) port: u16,
    /// Absent where there is none left.
    pub(super) address: Option<SocketAddr>,
    pub(super) routes: Vec<&'r Route<'r>>,
}

/// The listeners in the order of their ports; the first is where the description says, the others follow.
pub(super) fn listeners<'r>(
    routes: &[&'r Route<'r>],
    gateway: &Gateway<'_>,
) -> Vec<TlsListener<'r>> {
    let mut by_port: BTreeMap<u16, Vec<&Route<'_>>> = BTreeMap::new();
    for route in routes {
        by_port.entry(route.port).or_default().push(route);
    }
    let first = gateway.envoy.tls;
    let addresses = (first.port()..=u16::MAX).map(|port| SocketAddr::new(first.ip(), port));
    let mut addresses = addresses.map(Some).chain(std::iter::repeat(None));
    let taken = [gateway.envoy.admin, gateway.envoy.http];
    by_port
        .into_iter()
        .map(|(port, routes)| {
            let address = addresses.next().flatten().filter(|address| !taken.contains(address));
            TlsListener { port, address, routes }
        })
        .collect()
}

impl TlsListener<'_> {
    /// `values` are those of the whole configuration.
    pub(super) fn text(&self, values: &[(&str, &str)], plugins: &mut Plugins<'_>) -> String {
        let port = self.port.to_string();
        let address = self.address.map(socket).unwrap_or_default();
        let name = format!("egress_tls_{port}");
        let root_id = match self.port {
            443 => quoted("connections"),
            port => quoted(&format!("connections:{port}")),
        };
        let file = format!("connections-{port}");
        let plugin = Plugin {
            kind: "envoy.extensions.filters.network.wasm.v3.Wasm",
            template: CONNECTIONS,
            key: "configuration",
            filter: &format!("egress-warden-{file}"),
            file: &file,
        };
        let own = [("address", &*address), ("name", &name), ("port", &port), ("root_id", &root_id)];
        let values = [values, &own].concat();
        let (filter, plugin) = plugins.place(&plugin, &values);
        let values = [&values[..], &[("filter", filter), ("plugin", &plugin)]].concat();
        let mut text = fill(TLS, &values);
        for (index, chain) in self.chains().iter().enumerate() {
            text.push_str(&chain.head);
            if index == 0 {
                text.push_str(&fill(CHAIN, &values));
            } else {
                let _ = writeln!(text, "      - *connections_{port}\n      - *guard_{port}");
            }
            text.push_str(&chain.way_out);
        }
        text
    }

    fn chains(&self) -> Vec<Chain> {
        let is_name = |route: &&&Route<'_>| route.host.form == HostForm::Name;
        let names: Vec<_> = self.routes.iter().filter(is_name).collect();
        let wildcards = self.routes.iter().filter(|route| !is_name(route));
        let (dynamic, fixed): (Vec<&Route<'_>>, Vec<&Route<'_>>) =
            wildcards.partition(|route| route.is_looked_up());
        let mut by_target: BTreeMap<u16, Vec<String>> = BTreeMap::new();
        for route in dynamic {
            by_target.entry(route.target_port).or_default().push(route.host.text());
        }
        let mut chains = Vec::new();
        if !names.is_empty() {
            let names: Vec<_> = names.iter().map(|route| route.host.text()).collect();
            let cluster = quoted(&format!("outbound|{}||%REQUESTED_SERVER_NAME%", self.port));
            let way_out = fill(BY_NAME, &[("cluster", &*cluster)]) + &tcp_proxy(clusters::NOWHERE);
            let comment = "Named hosts, each with its own way out: the cluster of its name.";
            chains.push(Chain { head: head("names", comment, &names), way_out });
        }
        for route in fixed {
            let name = route.host.text();
            let comment = "Every name below, by endpoints that are known.";
            let head = head(&name, comment, std::slice::from_ref(&name));
            chains.push(Chain { head, way_out: tcp_proxy(&clusters::name(route)) });
        }
        for (target_port, names) in by_target {
            let way_out = fill(LOOK_UP, &[("port", &*target_port.to_string())]);
            let name = format!("wildcards to {target_port}");
            let comment = "Every name below. Its address is looked up once the guard has let it pass; \
                           whoever has its DNS\n    # says what is dialled, a private address too: \
                           the network must keep the gateway from those.";
            let head = head(&name, comment, &names);
            chains.push(Chain { head, way_out: way_out + &tcp_proxy(clusters::WILDCARDS) });
        }
        let comment = "Everything else, so that each refusal has its record, connections without a \
                       server name among them.";
        let head = head("others", comment, &[]);
        chains.push(Chain { head, way_out: tcp_proxy(clusters::NOWHERE) });
        chains
    }
}

/// A chain of filters, but for those that all chains have.
struct Chain {
    head: String,
    way_out: String,
}

/// Which server names a chain is for; none: all that no other is for.
fn head(name: &str, comment: &str, server_names: &[String]) -> String {
    let mut text = format!("    # {comment}\n    - name: {}\n", quoted(name));
    if !server_names.is_empty() {
        text.push_str("      filter_chain_match:\n        server_names:\n");
    }
    for server_name in server_names {
        let _ = writeln!(text, "        - {}", quoted(server_name));
    }
    text + "      filters:\n"
}

fn tcp_proxy(cluster: &str) -> String {
    let cluster = quoted(cluster);
    fill(TCP_PROXY, &[("cluster", &*cluster)])
}

const BY_NAME: &str = r#"      - name: envoy.filters.network.set_filter_state
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.set_filter_state.v3.Config
          on_new_connection:
          - object_key: envoy.tcp_proxy.cluster
            format_string: {text_format_source: {inline_string: @cluster@}}
"#;

const LOOK_UP: &str = r#"      - name: envoy.filters.network.sni_dynamic_forward_proxy
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.sni_dynamic_forward_proxy.v3.FilterConfig
          port_value: @port@
          dns_cache_config: {name: egress, dns_lookup_family: V4_PREFERRED}
"#;

const TCP_PROXY: &str = r#"      - name: envoy.filters.network.tcp_proxy
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy
          stat_prefix: @cluster@
          cluster: @cluster@
"#;
