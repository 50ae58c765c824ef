//! What is asked of a running proxy, one function for each thing.

mod filters;
mod guard;
mod logs;
mod routes;
mod settings;
mod statistics;
mod tls;
mod updates;

pub(super) use filters::configured;
pub(super) use statistics::{counters, plugins};

use super::hosts::Index;
use super::kind::{NO_EGRESS, NOT_READ, ROUTES_UNSEEN};
use super::plugin::is_held;
use super::proxy::Proxy;
use super::report::Report;
use super::tree::{Fields as _, shown};
use super::ways::Carried;
use super::{Expected, Policy};
use egress_warden::place::Place;

/// One of them.
pub(super) type Check = fn(&Subject<'_, '_>, &mut Report);

/// All of them.
pub(super) const ALL: [Check; 15] = [
    listeners,
    filters::present,
    filters::order,
    filters::plugins,
    guard::present,
    guard::place,
    guard::rules,
    guard::verdict,
    routes::overrides,
    routes::ways,
    routes::hosts_without_a_way,
    tls::of,
    logs::of,
    settings::of,
    updates::of,
];

/// What is checked, and against what.
#[derive(Debug)]
pub(super) struct Subject<'p, 'd> {
    proxy: &'p Proxy<'d>,
    carried: Carried<'p, 'd>,
    expected: Expected<'p>,
    /// Which hosts the policies of requests and of connections name.
    hosts: [&'p Index<'p>; 2],
}

impl<'p, 'd> Subject<'p, 'd> {
    pub(super) fn new(
        proxy: &'p Proxy<'d>,
        expected: Expected<'p>,
        hosts: [&'p Index<'p>; 2],
    ) -> Self {
        Self { proxy, carried: Carried::of(proxy, is_held), expected, hosts }
    }

    /// A report without findings.
    pub(super) fn report(&self) -> Report {
        Report {
            node: self.proxy.node_id().map(shown),
            envoy: self.proxy.envoy_version(),
            istio: self.proxy.istio_version().map(shown),
            chains: self.carried.egress.len(),
            listeners: self.carried.egress.iter().map(|it| it.listener.name.clone()).collect(),
            others: self.carried.others.clone(),
            ..Report::default()
        }
    }

    /// The policy for requests or for connections.
    fn policy(&self, is_of_connections: bool) -> Policy<'p> {
        match is_of_connections {
            true => self.expected.connections,
            false => self.expected.requests,
        }
    }

    /// The hosts that it names.
    fn hosts(&self, is_of_connections: bool) -> &'p Index<'p> {
        let [requests, connections] = self.hosts;
        if is_of_connections { connections } else { requests }
    }

    /// Whether requests and connections have the same policy.
    fn has_one_policy(&self) -> bool {
        std::ptr::eq(self.expected.requests.config, self.expected.connections.config)
    }

    fn is_waypoint(&self) -> bool {
        self.proxy.place() == Place::Waypoint
    }
}

/// Whether there is anything to check, and what is not known here.
fn listeners(subject: &Subject<'_, '_>, report: &mut Report) {
    if subject.carried.egress.is_empty() {
        report.say(&NO_EGRESS, "listeners", "no listener carries what leaves the mesh");
    }
    for listener in &subject.proxy.listeners {
        if listener.config.field("fcds_config").is_some() {
            let place = format!("listener {}", listener.name);
            let problem = "filter chains come by discovery of their own, which is not read";
            report.say(&ROUTES_UNSEEN, place, problem);
        }
    }
    for kind in &subject.proxy.unknown {
        report.say(&NOT_READ, "dump", format!("the part `{}` is not known", shown(kind)));
    }
}
