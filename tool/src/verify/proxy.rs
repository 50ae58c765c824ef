//! A configuration dump as what it describes: listeners with their chains of filters, the routes behind them, and
//! the clusters that these lead to. Everything is borrowed from the dump.

use super::tree::{Fields, Typed, shown};
use crate::failure::Failure;
use egress_warden::place::Place;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

/// A running proxy.
#[derive(Debug, Default)]
pub(super) struct Proxy<'d> {
    pub(super) bootstrap: Option<&'d Value>,
    pub(super) listeners: Vec<Listener<'d>>,
    /// Route tables that come by discovery, by name.
    routes: BTreeMap<&'d str, &'d Value>,
    clusters: BTreeMap<&'d str, Cluster<'d>>,
    /// What filters were given by discovery, by name.
    extensions: BTreeMap<&'d str, Delivered<'d>>,
    /// Secrets by name, for the authorities that certificates are verified by.
    secrets: BTreeMap<&'d str, &'d Value>,
    /// Kinds of configuration that the dump has.
    parts: BTreeSet<&'d str>,
    /// Updates that were refused: what, and why.
    pub(super) refused: Vec<(String, &'d str)>,
    /// What has arrived and does not serve yet.
    pub(super) warming: Vec<String>,
    /// Parts of the dump that are not known here.
    pub(super) unknown: Vec<&'d str>,
}

/// What one address, or one internal name, is served by.
#[derive(Debug)]
pub(super) struct Listener<'d> {
    pub(super) name: String,
    pub(super) config: &'d Value,
    pub(super) chains: Vec<Chain<'d>>,
    pub(super) is_dynamic: bool,
}

/// One filter chain.
#[derive(Debug)]
pub(super) struct Chain<'d> {
    pub(super) place: String,
    pub(super) config: &'d Value,
    pub(super) end: End<'d>,
}

/// What a chain ends in.
#[derive(Debug)]
pub(super) enum End<'d> {
    /// HTTP.
    Requests(Manager<'d>),
    /// Bytes.
    Connections(Tcp<'d>),
    /// Nothing goes on.
    Closed,
    /// Something else, by its type or its name.
    Unknown(String),
}

/// An HTTP connection manager.
#[derive(Debug)]
pub(super) struct Manager<'d> {
    pub(super) config: &'d Value,
    /// Its filters, and those that upgrades go through in their place.
    pub(super) stacks: Vec<Stack<'d>>,
}

/// A `tcp_proxy` with what stands before it.
#[derive(Debug)]
pub(super) struct Tcp<'d> {
    pub(super) config: &'d Value,
    pub(super) stack: Stack<'d>,
}

/// Filters in their order, the last of which sends on.
#[derive(Debug)]
pub(super) struct Stack<'d> {
    pub(super) place: String,
    pub(super) filters: Vec<Filter<'d>>,
}

/// One filter.
#[derive(Debug)]
pub(super) struct Filter<'d> {
    pub(super) name: &'d str,
    pub(super) entry: &'d Value,
    /// What it is; `None` where that is to come by discovery and is not in the dump, or where there is none.
    pub(super) typed: Option<Typed<'d>>,
    /// Where it comes from, if that is discovery.
    pub(super) discovery: Option<&'d Value>,
    /// The version that came so.
    pub(super) version: Option<&'d str>,
}

/// What a filter was given by discovery last. It is not in force if Envoy refused it, and nothing in the dump tells.
#[derive(Clone, Copy, Debug)]
struct Delivered<'d> {
    typed: Typed<'d>,
    version: &'d str,
}

/// Where requests and connections go.
#[derive(Debug)]
pub(super) struct Cluster<'d> {
    pub(super) config: &'d Value,
    endpoints: Vec<&'d Value>,
}

/// How an address is chosen for what goes to a cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Leads<'d> {
    /// To this host, as the cluster's name or all its endpoints say, and this port.
    Host { host: &'d str, port: Option<u16> },
    /// To the host that the request or the connection names.
    Named,
    /// To whatever address the caller dialled.
    Dialled,
    /// To a listener within the proxy.
    Internal(&'d str),
    /// To the proxy's own services.
    Own,
    /// Nowhere.
    Nowhere,
    /// To addresses whose host nothing says.
    Unsaid,
    /// The dump has no such cluster.
    Missing,
}

impl<'d> Proxy<'d> {
    /// Reads a dump. `place` is its name for messages.
    pub(super) fn of(dump: &'d Value, place: &str) -> Result<Self, Failure> {
        let mut proxy = Self::default();
        let mut listeners = Vec::new();
        let mut endpoints = BTreeMap::new();
        for part in dump.list("configs") {
            let kind = Typed::of(part).map_or("", |typed| typed.kind);
            let kind = kind.strip_prefix("envoy.admin.v3.").unwrap_or(kind);
            proxy.parts.insert(kind);
            match kind {
                "BootstrapConfigDump" => proxy.bootstrap = part.field("bootstrap"),
                "ListenersConfigDump" => {
                    for entry in part.list("static_listeners") {
                        listeners.extend(entry.field("listener").map(|config| (config, false)));
                    }
                    for entry in part.list("dynamic_listeners") {
                        listeners.extend(proxy.dynamic_listener(entry).map(|it| (it, true)));
                    }
                }
                // What `?resource=dynamic_listeners` answers with.
                "ListenersConfigDump.DynamicListener" => {
                    listeners.extend(proxy.dynamic_listener(part).map(|it| (it, true)));
                }
                "RoutesConfigDump" => proxy.route_tables(part),
                "ClustersConfigDump" => proxy.read_clusters(part),
                "EcdsConfigDump" => proxy.read_extensions(part),
                "EndpointsConfigDump" => {
                    for list in ["static_endpoint_configs", "dynamic_endpoint_configs"] {
                        for entry in part.list(list) {
                            let Some(config) = entry.field("endpoint_config") else { continue };
                            let name = config.text("cluster_name").unwrap_or_default();
                            endpoints.insert(name, config);
                        }
                    }
                }
                "SecretsConfigDump" => {
                    for list in ["static_secrets", "dynamic_active_secrets"] {
                        for entry in part.list(list) {
                            let name = entry.text("name").unwrap_or_default();
                            proxy.secrets.extend(entry.field("secret").map(|it| (name, it)));
                        }
                    }
                }
                "ScopedRoutesConfigDump" => {}
                _ => proxy.unknown.push(kind),
            }
        }
        if !proxy.parts.iter().any(|part| part.starts_with("ListenersConfigDump")) {
            return Err(Failure::new(
                place,
                "a dump without listeners (ListenersConfigDump)",
                "take the whole dump, `/config_dump?include_eds`, without `resource` or `mask`",
            ));
        }
        if let Some(id) = proxy.node_id().filter(|id| id.starts_with("sidecar~")) {
            return Err(Failure::new(
                place,
                format!("the dump of a sidecar, `{}`", shown(id)),
                "take that of the egress gateway, or of the waypoint: the filter is there",
            ));
        }
        for (name, cluster) in &mut proxy.clusters {
            let name = cluster
                .config
                .below(&["eds_cluster_config", "service_name"])
                .and_then(Value::as_str)
                .unwrap_or(name);
            cluster.endpoints.extend(endpoints.get(name).copied());
        }
        let listeners = listeners.into_iter();
        proxy.listeners =
            listeners.map(|(config, is_dynamic)| proxy.listener(config, is_dynamic)).collect();
        Ok(proxy)
    }

    /// The name of the node, which Istio begins with the kind of proxy.
    pub(super) fn node_id(&self) -> Option<&'d str> {
        self.bootstrap?.field("node")?.text("id")
    }

    /// Where the proxy stands in the mesh.
    pub(super) fn place(&self) -> Place {
        Place::of_node_id(self.node_id().unwrap_or_default().as_bytes())
    }

    /// `1.40.0`.
    pub(super) fn envoy_version(&self) -> Option<String> {
        let version = self.bootstrap?.below(&["node", "user_agent_build_version", "version"])?;
        let number = |name| version.field(name).and_then(Value::as_u64).unwrap_or_default();
        Some(format!("{}.{}.{}", number("major_number"), number("minor_number"), number("patch")))
    }

    /// `1.30.3`.
    pub(super) fn istio_version(&self) -> Option<&'d str> {
        self.bootstrap?.below(&["node", "metadata"])?.text("ISTIO_VERSION")
    }

    /// Whether the dump has configurations of this kind.
    pub(super) fn has_part(&self, part: &str) -> bool {
        self.parts.contains(part)
    }

    /// Whether something comes by discovery.
    pub(super) fn is_dynamic(&self) -> bool {
        self.listeners.iter().any(|listener| listener.is_dynamic) || !self.extensions.is_empty()
    }

    /// The route table of a connection manager; `Err` says which is not in the dump.
    pub(super) fn routes_of(&self, manager: &'d Value) -> Result<&'d Value, String> {
        if let Some(routes) = manager.field("route_config") {
            return Ok(routes);
        }
        let Some(rds) = manager.field("rds") else {
            return Err("its routes are scoped, which is not read".to_owned());
        };
        let name = rds.text("route_config_name").unwrap_or_default();
        let routes = self.routes.get(name).copied();
        routes.ok_or_else(|| format!("its route table `{}` is not in the dump", shown(name)))
    }

    pub(super) fn cluster(&self, name: &str) -> Option<&Cluster<'d>> {
        self.clusters.get(name)
    }

    pub(super) fn cluster_names(&self) -> impl Iterator<Item = &'d str> {
        self.clusters.keys().copied()
    }

    pub(super) fn secret(&self, name: &str) -> Option<&'d Value> {
        self.secrets.get(name).copied()
    }

    /// Where a cluster leads.
    pub(super) fn leads(&self, name: &'d str) -> Leads<'d> {
        let Some(cluster) = self.clusters.get(name) else {
            return host_in_name(name).unwrap_or(Leads::Missing);
        };
        let addresses = || cluster.addresses();
        let is_own =
            matches!(name, "prometheus_stats" | "agent") && addresses().all(is_of_the_proxy_itself);
        if is_own {
            return Leads::Own;
        }
        if cluster.is_named_by_request() {
            return Leads::Named;
        }
        if cluster.config.text("type") == Some("ORIGINAL_DST") {
            return Leads::Dialled;
        }
        if let Some(internal) = addresses().find_map(internal_listener) {
            return Leads::Internal(internal);
        }
        if let Some(host) = host_in_name(name) {
            return host;
        }
        if addresses().next().is_none() && !cluster.comes_by_discovery() {
            return Leads::Nowhere;
        }
        cluster.host_of_endpoints().unwrap_or(Leads::Unsaid)
    }

    fn dynamic_listener(&mut self, entry: &'d Value) -> Option<&'d Value> {
        let name = || format!("listener {}", shown(entry.text("name").unwrap_or("without a name")));
        self.note_refusal(entry, name);
        let active = entry.below(&["active_state", "listener"]);
        let warming = entry.below(&["warming_state", "listener"]);
        if warming.is_some() {
            self.warming.push(name());
        }
        active.or(warming)
    }

    fn route_tables(&mut self, part: &'d Value) {
        for list in ["static_route_configs", "dynamic_route_configs"] {
            for entry in part.list(list) {
                let Some(routes) = entry.field("route_config") else { continue };
                let name = routes.text("name").unwrap_or_default();
                self.note_refusal(entry, || format!("route table {}", shown(name)));
                self.routes.insert(name, routes);
            }
        }
    }

    fn read_clusters(&mut self, part: &'d Value) {
        for list in ["static_clusters", "dynamic_active_clusters", "dynamic_warming_clusters"] {
            for entry in part.list(list) {
                let Some(config) = entry.field("cluster") else { continue };
                let name = config.text("name").unwrap_or_default();
                self.note_refusal(entry, || format!("cluster {}", shown(name)));
                let endpoints = config.field("load_assignment").into_iter().collect();
                // One that serves stands before its update.
                self.clusters.entry(name).or_insert(Cluster { config, endpoints });
            }
        }
    }

    fn read_extensions(&mut self, part: &'d Value) {
        for entry in part.list("ecds_filters") {
            let config = entry.field("ecds_filter");
            let name = config.and_then(|it| it.text("name")).unwrap_or_default();
            self.note_refusal(entry, || format!("filter {} (ECDS)", shown(name)));
            let typed = config.and_then(Typed::config_of);
            let version = entry.text("version_info").unwrap_or_default();
            self.extensions.extend(typed.map(|typed| (name, Delivered { typed, version })));
        }
    }

    fn note_refusal(&mut self, entry: &'d Value, what: impl Fn() -> String) {
        if let Some(error) = entry.field("error_state") {
            let why = error.text("details").unwrap_or("no reason is given");
            self.refused.push((what(), why));
        }
    }

    fn listener(&self, config: &'d Value, is_dynamic: bool) -> Listener<'d> {
        let name = match config.text("name").filter(|name| !name.is_empty()) {
            Some(name) => shown(name),
            None => address_of(config),
        };
        let chains = config.list("filter_chains").iter().zip(1_usize..);
        let chains = chains.map(|(chain, number)| match chain.text("name") {
            Some(name) if !name.is_empty() => (chain, format!("filter chain {}", shown(name))),
            _ => (chain, format!("filter chain {number}")),
        });
        let default = config.field("default_filter_chain");
        let default = default.map(|chain| (chain, "default filter chain".to_owned()));
        let chains = chains.chain(default).map(|(chain, at)| {
            let place = format!("listener {name}, {at}");
            Chain { end: self.end(chain.list("filters"), &place), config: chain, place }
        });
        Listener { chains: chains.collect(), name, config, is_dynamic }
    }

    fn end(&self, filters: &'d [Value], place: &str) -> End<'d> {
        let filters: Vec<_> = filters.iter().map(|filter| self.filter(filter)).collect();
        let Some(last) = filters.last() else { return End::Closed };
        let Some(typed) = last.typed else { return End::Unknown(shown(last.name)) };
        match typed.kind {
            HTTP_CONNECTION_MANAGER => End::Requests(self.manager(typed.value, place)),
            TCP_PROXY => End::Connections(Tcp {
                config: typed.value,
                stack: Stack { place: place.to_owned(), filters },
            }),
            "envoy.extensions.filters.network.direct_response.v3.Config"
            | "envoy.extensions.filters.network.echo.v3.Echo" => End::Closed,
            kind => End::Unknown(shown(kind)),
        }
    }

    fn manager(&self, config: &'d Value, place: &str) -> Manager<'d> {
        let stack = |place: String, filters: &'d [Value]| Stack {
            place,
            filters: filters.iter().map(|filter| self.filter(filter)).collect(),
        };
        let own = stack(place.to_owned(), config.list("http_filters"));
        let upgrades = config.list("upgrade_configs").iter();
        let upgrades = upgrades.filter(|upgrade| !upgrade.list("filters").is_empty());
        let upgrades = upgrades.map(|upgrade| {
            let name = shown(upgrade.text("upgrade_type").unwrap_or_default());
            stack(format!("{place}, upgrade {name}"), upgrade.list("filters"))
        });
        Manager { config, stacks: std::iter::once(own).chain(upgrades).collect() }
    }

    fn filter(&self, entry: &'d Value) -> Filter<'d> {
        let name = entry.text("name").unwrap_or_default();
        let discovery = entry.field("config_discovery");
        let delivered = discovery.and_then(|_| self.extensions.get(name));
        let typed = match discovery {
            Some(_) => delivered.map(|it| it.typed),
            None => Typed::config_of(entry),
        };
        Filter { name, entry, typed, discovery, version: delivered.map(|it| it.version) }
    }
}

const HTTP_CONNECTION_MANAGER: &str =
    "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager";
const TCP_PROXY: &str = "envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy";

impl Listener<'_> {
    /// Whether it is no address, but a name within the proxy.
    pub(super) fn is_internal(&self) -> bool {
        self.config.field("internal_listener").is_some()
    }
}

impl<'d> Filter<'d> {
    /// Whether its type is this one.
    pub(super) fn is(&self, kind: &str) -> bool {
        self.typed.is_some_and(|typed| typed.kind == kind)
    }

    /// How messages name it.
    pub(super) fn shown(&self) -> String {
        shown(self.name)
    }
}

impl<'d> Cluster<'d> {
    fn addresses(&self) -> impl Iterator<Item = &'d Value> {
        let localities = self.endpoints.iter().flat_map(|it| it.list("endpoints"));
        let endpoints = localities.flat_map(|it| it.list("lb_endpoints"));
        endpoints.filter_map(|it| it.below(&["endpoint", "address"]))
    }

    /// Whether its endpoints are not in its own configuration.
    fn comes_by_discovery(&self) -> bool {
        self.config.field("cluster_type").is_some()
            || self.config.text("type").is_some_and(|kind| kind == "EDS")
    }

    /// Whether the host that is dialled is the one that a request or a connection names.
    fn is_named_by_request(&self) -> bool {
        let kind = self.config.field("cluster_type").and_then(Typed::config_of);
        kind.is_some_and(|kind| {
            kind.kind.starts_with("envoy.extensions.clusters.dynamic_forward_proxy.")
        })
    }

    /// The one name that all endpoints have.
    fn host_of_endpoints(&self) -> Option<Leads<'d>> {
        let mut hosts = self.addresses().map(|address| {
            let socket = address.field("socket_address")?;
            let host = socket.text("address").filter(|host| host.parse::<IpAddr>().is_err())?;
            let port = socket.field("port_value").and_then(Value::as_u64);
            Some((host, port.and_then(|port| port.try_into().ok())))
        });
        let (host, port) = hosts.next()??;
        let is_one = hosts.all(|it| it.is_some_and(|(other, _)| other == host));
        is_one.then_some(Leads::Host { host, port })
    }
}

/// Istio's `outbound|PORT|SUBSET|HOST` and `inbound-vip|PORT|PROTOCOL|HOST`.
fn host_in_name(name: &str) -> Option<Leads<'_>> {
    let mut parts = name.split('|');
    let (direction, port, _, host) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let is_istios = matches!(direction, "outbound" | "inbound-vip");
    (is_istios && !host.is_empty() && parts.next().is_none())
        .then(|| Leads::Host { host, port: port.parse().ok() })
}

fn internal_listener(address: &Value) -> Option<&str> {
    address.below(&["envoy_internal_address", "server_listener_name"])?.as_str()
}

fn is_of_the_proxy_itself(address: &Value) -> bool {
    let socket = address.field("socket_address").and_then(|it| it.text("address"));
    let is_loopback =
        socket.and_then(|it| it.parse::<IpAddr>().ok()).is_some_and(|it| it.is_loopback());
    is_loopback || address.field("pipe").is_some()
}

/// A listener without a name is called by its address.
fn address_of(listener: &Value) -> String {
    let socket = listener.below(&["address", "socket_address"]);
    let address = socket.and_then(|it| it.text("address")).unwrap_or("unknown address");
    let port = socket.and_then(|it| it.field("port_value")).and_then(Value::as_u64);
    shown(&format!("{address}:{}", port.unwrap_or_default()))
}
