//! The ways that lead from a filter chain to clusters, and which listeners carry what leaves the mesh.

use super::hosts::Domain;
use super::proxy::{Chain, Cluster, End, Filter, Leads, Listener, Manager, Proxy, Stack, Tcp};
use super::tree::{Fields, Typed, shown};
use crate::cover::Pattern as _;
use egress_warden::host::HostPattern;
use serde_json::Value;
use std::collections::BTreeSet;

/// One way out of a chain.
#[derive(Debug)]
pub(super) struct Way<'d> {
    pub(super) place: String,
    /// The hosts that it is for.
    pub(super) domains: Vec<&'d str>,
    pub(super) target: Target<'d>,
    /// Whether a copy goes here.
    pub(super) is_mirror: bool,
}

/// Where a way leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Target<'d> {
    Cluster(&'d str),
    /// To the cluster that this header, or filter state, names.
    Header(&'d str),
    /// To what a plugin of Envoy says.
    Plugin,
}

/// A chain and its ways; `Err` says why they are not known.
#[derive(Debug)]
pub(super) struct Egress<'p, 'd> {
    pub(super) listener: &'p Listener<'d>,
    pub(super) chain: &'p Chain<'d>,
    pub(super) ways: Result<Vec<Way<'d>>, String>,
}

/// The chains that carry what leaves the mesh, and the listeners that do not, with the reason.
#[derive(Debug, Default)]
pub(super) struct Carried<'p, 'd> {
    pub(super) egress: Vec<Egress<'p, 'd>>,
    pub(super) others: Vec<(String, &'static str)>,
}

impl<'p, 'd> Carried<'p, 'd> {
    /// Finds them. A listener carries what leaves if a way of it leads out of the proxy, whatever its name or its
    /// address. One with an internal name does so only if a chain that nothing holds hands over to it.
    pub(super) fn of(proxy: &'p Proxy<'d>, is_held: impl Fn(&Chain<'d>) -> bool) -> Self {
        let mut carried = Self::default();
        let (internal, mut open): (Vec<_>, Vec<_>) =
            proxy.listeners.iter().partition(|listener| listener.is_internal());
        // In the order of the dump.
        open.reverse();
        let mut reached = BTreeSet::new();
        while let Some(listener) = open.pop() {
            let mut why = "no way leads out of it";
            let before = carried.egress.len();
            for chain in &listener.chains {
                let ways = of_chain(proxy, chain);
                let leads = ways.iter().flatten().map(|way| match way.target {
                    Target::Cluster(cluster) => proxy.leads(cluster),
                    Target::Header(_) | Target::Plugin => Leads::Unsaid,
                });
                let leads: Vec<_> = leads.collect();
                let is_unknown = ways.is_err() || matches!(chain.end, End::Unknown(_));
                let stays = |it: &Leads<'_>| matches!(it, Leads::Own | Leads::Internal(_));
                if is_unknown || is_held(chain) || !leads.iter().all(stays) {
                    carried.egress.push(Egress { listener, chain, ways });
                    continue;
                }
                if leads.contains(&Leads::Own) {
                    why = "leads to Istio's own services alone";
                }
                let handed_over = leads.iter().filter_map(|it| match it {
                    Leads::Internal(name) => Some(*name),
                    _ => None,
                });
                for name in handed_over {
                    why = "hands over to a listener within the proxy";
                    let next = internal.iter().find(|it| it.config.text("name") == Some(name));
                    open.extend(next.filter(|_| reached.insert(name)));
                }
            }
            if has_udp_proxy(listener) {
                continue;
            }
            if carried.egress.len() == before {
                carried.others.push((listener.name.clone(), why));
            }
        }
        let is_behind =
            |it: &&&Listener<'d>| !reached.contains(it.config.text("name").unwrap_or_default());
        let behind = internal.iter().filter(is_behind);
        let why = "within the proxy, and only reached behind the filter";
        carried.others.extend(behind.map(|it| (it.name.clone(), why)));
        carried.others.sort();
        carried
    }

    /// Every stack of filters that requests go through, with its connection manager.
    pub(super) fn requests(&self) -> impl Iterator<Item = (&Egress<'p, 'd>, &'p Manager<'d>)> {
        self.egress.iter().filter_map(|egress| match &egress.chain.end {
            End::Requests(manager) => Some((egress, manager)),
            _ => None,
        })
    }

    /// Every stack of filters that connections go through.
    pub(super) fn connections(&self) -> impl Iterator<Item = (&Egress<'p, 'd>, &'p Tcp<'d>)> {
        self.egress.iter().filter_map(|egress| match &egress.chain.end {
            End::Connections(tcp) => Some((egress, tcp)),
            _ => None,
        })
    }

    /// All of these, with whether it is for connections.
    pub(super) fn stacks(&self) -> impl Iterator<Item = (&'p Stack<'d>, bool)> {
        let requests = self.requests().flat_map(|(_, manager)| &manager.stacks);
        let requests = requests.map(|stack| (stack, false));
        requests.chain(self.connections().map(|(_, tcp)| (&tcp.stack, true)))
    }

    /// Each way with its chain.
    pub(super) fn ways(&self) -> impl Iterator<Item = (&Egress<'p, 'd>, &Way<'d>)> {
        self.egress.iter().flat_map(move |egress| {
            let ways = egress.ways.as_ref().into_iter().flatten();
            ways.map(move |way| (egress, way))
        })
    }

    /// The clusters that ways lead to, each once.
    pub(super) fn clusters<'a>(
        &'a self,
        proxy: &'a Proxy<'d>,
    ) -> impl Iterator<Item = (&'d str, &'a Cluster<'d>)> {
        let names = self.ways().filter_map(|(_, way)| match way.target {
            Target::Cluster(name) => Some(name),
            Target::Header(_) | Target::Plugin => None,
        });
        let names: BTreeSet<_> = names.collect();
        names.into_iter().filter_map(|name| Some((name, proxy.cluster(name)?)))
    }
}

impl Way<'_> {
    /// The hosts that it is for; all of them where nothing is said.
    pub(super) fn domains(&self) -> Vec<Domain<'_>> {
        match self.domains.as_slice() {
            [] => vec![Domain::Any],
            domains => domains.iter().map(|domain| Domain::parse(domain)).collect(),
        }
    }
}

/// Whether a listener passes datagrams on, which no filter chain sees.
pub(super) fn has_udp_proxy(listener: &Listener<'_>) -> bool {
    let mut filters = listener.config.list("listener_filters").iter();
    filters.any(|it| {
        Typed::config_of(it).is_some_and(|it| it.kind.starts_with("envoy.extensions.filters.udp."))
    })
}

fn of_chain<'d>(proxy: &Proxy<'d>, chain: &Chain<'d>) -> Result<Vec<Way<'d>>, String> {
    match &chain.end {
        End::Requests(manager) => {
            let routes = proxy.routes_of(manager.config)?;
            if routes.field("vhds").is_some() {
                return Err(
                    "virtual hosts come by discovery of their own, which is not read".to_owned()
                );
            }
            let hosts = routes.list("virtual_hosts").iter();
            let ways = hosts.map(|host| of_virtual_host(host, &chain.place));
            Ok(ways.collect::<Result<Vec<_>, _>>()?.into_iter().flatten().collect())
        }
        End::Connections(tcp) => Ok(of_tcp_proxy(proxy, chain, tcp)),
        End::Closed | End::Unknown(_) => Ok(Vec::new()),
    }
}

fn of_virtual_host<'d>(host: &'d Value, place: &str) -> Result<Vec<Way<'d>>, String> {
    let name = shown(host.text("name").unwrap_or_default());
    if host.field("matcher").is_some() {
        return Err(format!(
            "virtual host {name} chooses its routes by a matcher, which is not read"
        ));
    }
    let domains: Vec<_> = host.list("domains").iter().filter_map(Value::as_str).collect();
    let mut ways = Vec::new();
    for (route, number) in host.list("routes").iter().zip(1_usize..) {
        let Some(action) = route.field("route") else { continue };
        let named = route.text("name").filter(|name| !name.is_empty());
        let route = named.map_or_else(|| number.to_string(), shown);
        let place = format!("{place}, virtual host {name}, route {route}");
        ways.extend(targets(action).into_iter().map(|(target, is_mirror)| Way {
            place: place.clone(),
            domains: domains.clone(),
            target,
            is_mirror,
        }));
    }
    Ok(ways)
}

fn targets(action: &Value) -> Vec<(Target<'_>, bool)> {
    let named = |it| target_of(it, "cluster");
    let own = named(action).or_else(|| {
        let plugins = ["cluster_specifier_plugin", "inline_cluster_specifier_plugin"];
        action.first(&plugins).map(|_| Target::Plugin)
    });
    let weighted = action.field("weighted_clusters").map_or(&[][..], |it| it.list("clusters"));
    let weighted = weighted.iter().filter_map(|it| target_of(it, "name"));
    let mirrors = action.list("request_mirror_policies").iter().filter_map(named);
    let own = own.into_iter().chain(weighted).map(|it| (it, false));
    own.chain(mirrors.map(|it| (it, true))).collect()
}

fn target_of<'d>(value: &'d Value, name: &str) -> Option<Target<'d>> {
    let cluster = value.text(name).filter(|name| !name.is_empty()).map(Target::Cluster);
    let header = || value.text("cluster_header").filter(|name| !name.is_empty());
    cluster.or_else(|| header().map(Target::Header))
}

fn of_tcp_proxy<'d>(proxy: &Proxy<'d>, chain: &Chain<'d>, tcp: &Tcp<'d>) -> Vec<Way<'d>> {
    let matched = chain.config.field("filter_chain_match");
    let names = matched.map_or(&[][..], |it| it.list("server_names"));
    let domains: Vec<_> = names.iter().filter_map(Value::as_str).collect();
    let weighted = tcp.config.field("weighted_clusters").map_or(&[][..], |it| it.list("clusters"));
    let weighted = weighted.iter().filter_map(|it| target_of(it, "name"));
    let targets = target_of(tcp.config, "cluster").into_iter().chain(weighted);
    let way = |domains: &[&'d str], target| Way {
        place: chain.place.clone(),
        domains: domains.to_vec(),
        target,
        is_mirror: false,
    };
    let by_state = tcp.stack.filters.iter().filter(|it| sets_cluster(it));
    let by_state = by_state.flat_map(|filter| match cluster_of_server_name(filter) {
        Some(start) => by_server_name(proxy, start, &domains)
            .map(|(host, cluster)| way(&[host], Target::Cluster(cluster)))
            .collect(),
        None => vec![way(&domains, Target::Header("filter state"))],
    });
    let by_state: Vec<_> = by_state.collect();
    targets.map(|target| way(&domains, target)).chain(by_state).collect()
}

/// The clusters that a server name of these domains leads to, where their names are what it is with a text before it.
fn by_server_name<'d>(
    proxy: &Proxy<'d>,
    start: &'d str,
    domains: &[&'d str],
) -> impl Iterator<Item = (&'d str, &'d str)> {
    let domains: Vec<_> = domains.iter().map(|it| Domain::parse(it)).collect();
    let is_for = move |host: &str| {
        let Ok(host) = HostPattern::parse(host) else { return false };
        domains.is_empty()
            || domains.iter().any(|it| match it {
                Domain::Of(domain) => domain.covers(&host),
                Domain::Any | Domain::Odd => true,
            })
    };
    let clusters = proxy
        .cluster_names()
        .filter_map(move |cluster| Some((cluster.strip_prefix(start)?, cluster)));
    clusters.filter(move |(host, _)| is_for(host))
}

const SET_FILTER_STATE: &str = "envoy.extensions.filters.network.set_filter_state.v3.Config";
/// The filter state that `tcp_proxy` reads its cluster from.
const CLUSTER_KEY: &str = "envoy.tcp_proxy.cluster";

/// Whether a filter chooses the cluster of `tcp_proxy`.
fn sets_cluster(filter: &Filter<'_>) -> bool {
    filter.typed.is_some_and(|typed| typed.value.to_string().contains(CLUSTER_KEY))
        && filter.is(SET_FILTER_STATE)
}

/// What stands before the server name in the name of the cluster, where a filter chooses it so and does nothing else.
fn cluster_of_server_name<'d>(filter: &Filter<'d>) -> Option<&'d str> {
    let config = filter.typed.filter(|it| it.kind == SET_FILTER_STATE)?.value;
    let [state] = config.list("on_new_connection") else { return None };
    let is_all = config
        .as_object()?
        .keys()
        .all(|key| matches!(key.as_str(), "@type" | "on_new_connection" | "onNewConnection"));
    let format =
        state.below(&["format_string", "text_format_source", "inline_string"])?.as_str()?;
    let start =
        format.strip_suffix("%REQUESTED_SERVER_NAME%").filter(|start| !start.contains('%'))?;
    (is_all && state.text("object_key") == Some(CLUSTER_KEY)).then_some(start)
}

/// Whether a filter sends each request, or each connection, to the host that it names, and does nothing else. It may
/// stand behind the guard: so it looks up no name that the guard refuses.
pub(super) fn leads_by_name(filter: &Filter<'_>) -> bool {
    filter.is("envoy.extensions.filters.http.dynamic_forward_proxy.v3.FilterConfig")
        || dials_server_name(filter)
        || cluster_of_server_name(filter).is_some()
}

/// Whether a filter before `tcp_proxy` dials the host that the server name says.
pub(super) fn dials_server_name(filter: &Filter<'_>) -> bool {
    filter.is("envoy.extensions.filters.network.sni_dynamic_forward_proxy.v3.FilterConfig")
}
