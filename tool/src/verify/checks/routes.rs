//! The ways out: whether they lead to hosts that an allow names and to no other, and none switches the filter off.

use super::{Subject, guard};
use crate::cover::Patterns;
use crate::verify::hosts::{Domain, Index};
use crate::verify::kind::{
    CONNECTION_PORT, HOST_WITHOUT_ROUTE, NOT_IN_DUMP, ROUTE_BY_CALLER, ROUTE_DISABLES,
    ROUTE_ELSEWHERE, ROUTE_NOT_ALLOWED, ROUTE_OTHER_HOST, ROUTE_REWRITES, ROUTE_WIDE,
    ROUTES_UNSEEN, TLS_INSPECTOR, WAY_OUT_UNSEEN,
};
use crate::verify::plugin::{Plugin, guard_of};
use crate::verify::proxy::{End, Filter, Leads};
use crate::verify::report::Report;
use crate::verify::tree::{Fields, Typed, shown};
use crate::verify::ways::{Egress, Target, Way, dials_server_name};
use egress_warden::host::HostPattern;
use egress_warden::root_id::Connections;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// No virtual host and no route switches the filter or the guard off, or rewrites what was judged.
pub(super) fn overrides(subject: &Subject<'_, '_>, report: &mut Report) {
    for (egress, manager) in subject.carried.requests() {
        let Ok(routes) = subject.proxy.routes_of(manager.config) else { continue };
        let mut names = BTreeMap::new();
        for stack in &manager.stacks {
            let own = stack.filters.iter().find(|it| Plugin::of(it).is_some());
            let guard = guard_of(stack, false).and_then(|at| stack.filters.get(at));
            names.extend(own.map(|it| (it.name, "egress-warden")));
            names.extend(guard.map(|it| (it.name, "the guard")));
        }
        let needs_condition = subject.policy(false).config.policy.rests_on_route();
        let mut look = |value: &Value, place: &str| {
            for (name, config) in value.map("typed_per_filter_config") {
                let Some(what) = names.get(name) else { continue };
                overridden(config, what, needs_condition, place, report);
            }
        };
        let table = shown(routes.text("name").unwrap_or_default());
        look(routes, &format!("{}, route table {table}", egress.chain.place));
        for host in routes.list("virtual_hosts") {
            let name = shown(host.text("name").unwrap_or_default());
            let host_place = format!("{}, virtual host {name}", egress.chain.place);
            look(host, &host_place);
            for (route, number) in host.list("routes").iter().zip(1_usize..) {
                let named = route.text("name").filter(|name| !name.is_empty());
                let name = named.map_or_else(|| number.to_string(), shown);
                let place = format!("{host_place}, route {name}");
                look(route, &place);
                let Some(action) = route.field("route") else { continue };
                for cluster in
                    action.field("weighted_clusters").map_or(&[][..], |it| it.list("clusters"))
                {
                    look(cluster, &place);
                }
            }
        }
        rewritings(routes, egress, report);
    }
}

/// What stands in `typed_per_filter_config` of the filter, or of the guard.
fn overridden(config: &Value, what: &str, needs_condition: bool, place: &str, report: &mut Report) {
    let Some(typed) = Typed::of(config) else { return };
    let (typed, is_disabled) = match typed.kind {
        "envoy.config.route.v3.FilterConfig" => {
            let inner = typed.value.field("config").and_then(Typed::of);
            (inner, typed.value.is_set("disabled"))
        }
        _ => (Some(typed), false),
    };
    if is_disabled {
        report.say(&ROUTE_DISABLES, place, format!("{what} is switched off here"));
        return;
    }
    match typed {
        Some(typed) if typed.kind.ends_with(".RBACPerRoute") => match typed.value.field("rbac") {
            Some(rbac) => guard::rbac(rbac, false, needs_condition, place, report),
            None => report.say(
                &ROUTE_DISABLES,
                place,
                format!("{what} has no rules here (RBACPerRoute)"),
            ),
        },
        Some(typed) => {
            let problem = format!("{what} is changed here by `{}`", shown(typed.kind));
            report.say(&ROUTE_DISABLES, place, problem);
        }
        // An empty `FilterConfig` switches nothing off.
        None => {}
    }
}

/// Rewriting of host or path, which the router does after the verdict.
fn rewritings(routes: &Value, egress: &Egress<'_, '_>, report: &mut Report) {
    const REWRITINGS: [&str; 8] = [
        "host_rewrite_literal",
        "host_rewrite_header",
        "host_rewrite_path_regex",
        "auto_host_rewrite",
        "prefix_rewrite",
        "regex_rewrite",
        "path_rewrite_policy",
        "path_rewrite",
    ];
    for host in routes.list("virtual_hosts") {
        for route in host.list("routes") {
            let action = route.field("route");
            let is_there = |name: &&&str| {
                action.and_then(|it| it.field(name)).is_some_and(|it| it != false && it != "")
            };
            let rewriting = REWRITINGS.iter().find(is_there).copied();
            let by_forward_proxy = || {
                let mut configs =
                    route.map("typed_per_filter_config").chain(host.map("typed_per_filter_config"));
                configs.any(|(_, config)| {
                    Typed::of(config).is_some_and(|it| {
                        it.kind.ends_with(".dynamic_forward_proxy.v3.PerRouteConfig")
                    })
                })
            };
            let Some(what) = rewriting.or_else(|| by_forward_proxy().then_some("PerRouteConfig"))
            else {
                continue;
            };
            let host = shown(host.text("name").unwrap_or_default());
            let place = format!("{}, virtual host {host}", egress.chain.place);
            report.say(
                &ROUTE_REWRITES,
                place,
                format!("a route rewrites what was judged (`{what}`)"),
            );
        }
    }
}

/// Where the ways lead.
pub(super) fn ways(subject: &Subject<'_, '_>, report: &mut Report) {
    for egress in &subject.carried.egress {
        if let Err(why) = &egress.ways {
            report.say(&ROUTES_UNSEEN, &egress.chain.place, why.clone());
        }
    }
    if !subject.proxy.has_part("ClustersConfigDump") {
        report.say(
            &NOT_IN_DUMP,
            "clusters",
            "the dump has no clusters (ClustersConfigDump), so where routes lead was not seen",
        );
    }
    for (egress, way) in subject.carried.ways() {
        let cluster = match way.target {
            Target::Cluster(cluster) => cluster,
            Target::Header(header) => {
                let problem = format!("`{}` names the cluster", shown(header));
                report.say(&ROUTE_BY_CALLER, &way.place, problem);
                continue;
            }
            Target::Plugin => {
                report.say(&WAY_OUT_UNSEEN, &way.place, "a plugin of Envoy names the cluster");
                continue;
            }
        };
        let way = OneWay {
            subject,
            egress,
            way,
            cluster,
            hosts: subject.hosts(matches!(egress.chain.end, End::Connections(_))),
        };
        way.check(report);
    }
    for (egress, tcp) in subject.carried.connections() {
        connection(subject, egress, &tcp.stack.filters, report);
    }
}

/// One way to one cluster.
struct OneWay<'s, 'p, 'd> {
    subject: &'s Subject<'p, 'd>,
    egress: &'s Egress<'p, 'd>,
    way: &'s Way<'d>,
    cluster: &'d str,
    hosts: &'s Index<'p>,
}

impl OneWay<'_, '_, '_> {
    fn check(&self, report: &mut Report) {
        let leads = self.subject.proxy.leads(self.cluster);
        let cluster = shown(self.cluster);
        let place = &self.way.place;
        if self.dials_server_name() && !self.subject.is_waypoint() {
            return self.named(report);
        }
        match leads {
            Leads::Host { host, port } => self.host(host, port, report),
            Leads::Named => self.named(report),
            // A waypoint's filter judges the dialled host, and refuses what its cluster does not name.
            Leads::Dialled | Leads::Internal(_) if self.subject.is_waypoint() => {}
            Leads::Dialled => {
                let problem = format!(
                    "cluster `{cluster}` dials whatever address the caller dialled, whatever host was judged"
                );
                report.say(&ROUTE_BY_CALLER, place, problem);
            }
            Leads::Unsaid if !self.subject.is_waypoint() => {
                let problem = format!(
                    "neither the name nor the endpoints of cluster `{cluster}` say its host, so it was not compared with the policy"
                );
                report.say(&WAY_OUT_UNSEEN, place, problem);
            }
            Leads::Missing if self.subject.proxy.has_part("ClustersConfigDump") => {
                let problem = format!("cluster `{cluster}` is not in the dump");
                report.say(&NOT_IN_DUMP, place, problem);
            }
            Leads::Unsaid | Leads::Missing | Leads::Internal(_) | Leads::Own | Leads::Nowhere => {}
        }
    }

    fn dials_server_name(&self) -> bool {
        match &self.egress.chain.end {
            End::Connections(tcp) => tcp.stack.filters.iter().any(dials_server_name),
            _ => false,
        }
    }

    /// The host that is named is dialled: what matters is which hosts come here.
    fn named(&self, report: &mut Report) {
        for domain in self.way.domains() {
            if self.is_wide(domain, report) || self.is_not_allowed(domain, None, report) {
                return;
            }
        }
    }

    /// One host is dialled, whatever is named.
    fn host(&self, host: &str, port: Option<u16>, report: &mut Report) {
        let Ok(dialled) = HostPattern::parse(host) else {
            // A name that no rule can have.
            return self.say_not_allowed(host, port, report);
        };
        let is_allowed = self.hosts.name(dialled, port);
        if self.subject.is_waypoint() || self.way.is_mirror {
            if !is_allowed {
                self.say_not_allowed(host, port, report);
            }
            return;
        }
        for domain in self.way.domains() {
            if !self.hosts.name_some(domain) {
                self.is_not_allowed(domain, port, report);
                continue;
            }
            if self.hosts.name_another(domain, dialled) && !self.hosts.are_all() {
                let kind = if is_allowed { &ROUTE_OTHER_HOST } else { &ROUTE_ELSEWHERE };
                let problem =
                    format!("what is judged as `{}` goes to `{}`", told(domain), shown(host));
                report.say(kind, &self.way.place, problem);
            } else if !self.is_not_allowed(domain, port, report) && !is_allowed {
                self.say_not_allowed(host, port, report);
            }
        }
    }

    fn is_wide(&self, domain: Domain<'_>, report: &mut Report) -> bool {
        let is_wide = matches!(domain, Domain::Any | Domain::Odd) && !self.hosts.are_all();
        if is_wide {
            let problem = "whatever host is named is dialled: the route holds nothing back";
            report.say(&ROUTE_WIDE, &self.way.place, problem);
        }
        is_wide
    }

    fn is_not_allowed(&self, domain: Domain<'_>, port: Option<u16>, report: &mut Report) -> bool {
        let Domain::Of(host) = domain else { return false };
        let is_allowed = self.hosts.name(host, port);
        if !is_allowed {
            self.say_not_allowed(&told(domain), port, report);
        }
        !is_allowed
    }

    fn say_not_allowed(&self, host: &str, port: Option<u16>, report: &mut Report) {
        let port = port.map(|port| format!(", port {port}")).unwrap_or_default();
        let copy = if self.way.is_mirror { "a copy goes" } else { "a way leads" };
        let problem = format!("{copy} to `{}`{port}, which no allow names", shown(host));
        let kind = if self.way.is_mirror { &ROUTE_ELSEWHERE } else { &ROUTE_NOT_ALLOWED };
        report.say(kind, &self.way.place, problem);
    }
}

/// A domain as a policy writes it.
fn told(domain: Domain<'_>) -> String {
    match domain {
        Domain::Any => "*".to_owned(),
        Domain::Odd => "a pattern".to_owned(),
        Domain::Of(HostPattern::Name(name)) => name.to_owned(),
        Domain::Of(HostPattern::Under(apex)) => format!("*.{apex}"),
        Domain::Of(HostPattern::Tree(apex)) => format!(".{apex}"),
        Domain::Of(HostPattern::Address(address)) => address.to_string(),
        Domain::Of(HostPattern::Glob(_) | HostPattern::Block(_)) => "a pattern".to_owned(),
    }
}

/// What a chain for connections needs beside its filters.
fn connection(
    subject: &Subject<'_, '_>,
    egress: &Egress<'_, '_>,
    filters: &[Filter<'_>],
    report: &mut Report,
) {
    let Some(plugin) = filters.iter().find_map(Plugin::of) else { return };
    let Ok(Some(judged)) = Connections::of_root_id(plugin.root_id().as_bytes()) else { return };
    let terminates_tls = egress.chain.config.field("transport_socket").is_some();
    let mut inspectors = egress.listener.config.list("listener_filters").iter();
    let has_inspector = inspectors
        .any(|it| Typed::config_of(it).is_some_and(|it| it.kind.contains(".tls_inspector.")));
    if !subject.is_waypoint() && !terminates_tls && !has_inspector {
        let place = format!("listener {}", egress.listener.name);
        report.say(&TLS_INSPECTOR, place, "nothing reads the server names of connections");
    }
    for way in egress.ways.iter().flatten() {
        let Target::Cluster(cluster) = way.target else { continue };
        if let Leads::Host { port: Some(port), .. } = subject.proxy.leads(cluster)
            && port != judged.port
            && !subject.is_waypoint()
        {
            let problem =
                format!("connections are judged for port {}, and go to port {port}", judged.port);
            report.say(&CONNECTION_PORT, &way.place, problem);
        }
    }
}

/// Names that allows spell out and no way is for.
pub(super) fn hosts_without_a_way(subject: &Subject<'_, '_>, report: &mut Report) {
    if subject.has_one_policy() {
        return without_a_way(subject, None, report);
    }
    without_a_way(subject, Some(false), report);
    without_a_way(subject, Some(true), report);
}

/// The same for connections, or for requests, where each has a policy of its own.
fn without_a_way(subject: &Subject<'_, '_>, kind: Option<bool>, report: &mut Report) {
    const SHOWN: usize = 5;
    let is_of_kind = |egress: &&Egress<'_, '_>| {
        let is_of_connections = matches!(egress.chain.end, End::Connections(_));
        kind.is_none_or(|kind| kind == is_of_connections)
    };
    let egress: Vec<_> = subject.carried.egress.iter().filter(is_of_kind).collect();
    if egress.is_empty() || egress.iter().any(|it| it.ways.is_err()) {
        return;
    }
    let mut names = BTreeSet::new();
    let mut wide = Vec::new();
    for way in egress.iter().flat_map(|it| it.ways.iter().flatten()) {
        let Target::Cluster(cluster) = way.target else { return };
        let domains = match subject.proxy.leads(cluster) {
            Leads::Nowhere => continue,
            // There the dialled address chooses, and the cluster says for which host.
            Leads::Host { host, .. } if subject.is_waypoint() => vec![Domain::parse(host)],
            _ if subject.is_waypoint() => continue,
            _ => way.domains(),
        };
        for domain in domains {
            match domain {
                Domain::Any | Domain::Odd => return,
                Domain::Of(HostPattern::Name(name)) => {
                    names.insert(name.to_owned());
                }
                Domain::Of(_) => wide.push(told(domain)),
            }
        }
    }
    let wide: Vec<_> = wide.iter().filter_map(|it| HostPattern::parse(it).ok()).collect();
    let wide = Patterns::listed(&wide);
    let has_way = |name: &str| names.contains(name) || wide.covers(&HostPattern::Name(name));
    let hosts = subject.hosts(kind == Some(true));
    let without: Vec<_> = hosts.exact_names().filter(|name| !has_way(name)).collect();
    if without.is_empty() {
        return;
    }
    let told: Vec<_> = without.iter().take(SHOWN).map(|name| format!("`{name}`")).collect();
    let more = match without.len().saturating_sub(SHOWN) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let problem = format!("no way leads to {}{more}, which an allow names", told.join(", "));
    report.say(&HOST_WITHOUT_ROUTE, "routes", problem);
}
