//! Which hosts the allow rules of a policy name.

use crate::cover::{Pattern as _, Patterns};
use crate::policy_file::Source;
use egress_warden::host::HostPattern;
use egress_warden::policy::Action;
use std::collections::BTreeMap;

/// The hosts that some allow names, by the ports that it names with them. Denies, callers and all other conditions are
/// left out: a route is for what may be allowed.
#[derive(Debug)]
pub(super) struct Hosts<'p> {
    /// `None`: any port.
    by_ports: BTreeMap<Option<Vec<u16>>, Vec<HostPattern<'p>>>,
    /// Whether any host may be allowed.
    are_all: bool,
}

/// Hosts that a route, or a filter chain, is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Domain<'d> {
    /// All that nothing else is for.
    Any,
    /// Those of this pattern.
    Of(HostPattern<'d>),
    /// Those of a pattern that no policy has, such as `api.*`.
    Odd,
}

impl<'d> Domain<'d> {
    /// Reads a domain of a virtual host, or a server name of a filter chain, without its port.
    pub(super) fn parse(text: &'d str) -> Self {
        if matches!(text, "*" | "") {
            return Self::Any;
        }
        // The mesh's own form of a server name: `outbound_.PORT_.SUBSET_.HOST`.
        let text = text
            .strip_prefix("outbound_.")
            .map_or(text, |rest| rest.splitn(3, "_.").nth(2).unwrap_or(text));
        let is_port = |port: &str| port == "*" || port.bytes().all(|byte| byte.is_ascii_digit());
        let host = match text.rsplit_once(':') {
            Some((host, port)) if is_port(port) => host,
            _ => text,
        };
        HostPattern::parse(host).map_or(Self::Odd, Self::Of)
    }
}

impl<'p> Hosts<'p> {
    /// Those of a policy as it is written.
    pub(super) fn of(policy: &'p Source<'p>) -> Self {
        let mut hosts = Self { by_ports: BTreeMap::new(), are_all: false };
        hosts.are_all = policy.settings.default == Action::Allow;
        for rule in policy.rules.iter().filter(|rule| rule.action == Action::Allow) {
            hosts.are_all |= rule.to.is_empty();
            for entry in &rule.to {
                let Some(named) = &entry.hosts else {
                    hosts.are_all = true;
                    continue;
                };
                let ports = entry.ports.as_ref().map(|ports| ports.patterns().to_vec());
                hosts.by_ports.entry(ports).or_default().extend(named.patterns());
            }
        }
        hosts
    }

    /// The same to be asked again and again.
    pub(super) fn index(&self) -> Index<'_> {
        let lists = self.by_ports.iter();
        let lists =
            lists.map(|(ports, hosts)| (ports.as_deref(), Patterns::listed(hosts.as_slice())));
        Index { hosts: self, lists: lists.collect() }
    }

    fn patterns(&self) -> impl Iterator<Item = HostPattern<'p>> + '_ {
        self.by_ports.values().flatten().copied()
    }
}

/// [`Hosts`] that are asked again and again.
#[derive(Debug)]
pub(super) struct Index<'p> {
    hosts: &'p Hosts<'p>,
    lists: Vec<(Option<&'p [u16]>, Patterns<'p, HostPattern<'p>>)>,
}

impl<'p> Index<'p> {
    /// Whether any host may be allowed.
    pub(super) fn are_all(&self) -> bool {
        self.hosts.are_all
    }

    /// Whether some allow names all of these hosts, on this port if it is known.
    pub(super) fn name(&self, host: HostPattern<'_>, port: Option<u16>) -> bool {
        let is_port = |ports: Option<&[u16]>| match (ports, port) {
            (Some(ports), Some(port)) => ports.contains(&port),
            _ => true,
        };
        self.hosts.are_all
            || self.lists.iter().any(|(ports, list)| is_port(*ports) && list.covers(&host))
    }

    /// Whether some allow names one of these hosts.
    pub(super) fn name_some(&self, domain: Domain<'_>) -> bool {
        match domain {
            Domain::Any | Domain::Odd => {
                self.hosts.are_all || self.hosts.patterns().next().is_some()
            }
            Domain::Of(host) => {
                self.name(host, None)
                    || !host.is_exact() && self.hosts.patterns().any(|it| host.covers(&it))
            }
        }
    }

    /// Whether some allow names one of these hosts that is not this one, or not under it.
    pub(super) fn name_another(&self, domain: Domain<'_>, than: HostPattern<'_>) -> bool {
        let is_of_domain = |it: &HostPattern<'_>| match domain {
            Domain::Any | Domain::Odd => true,
            Domain::Of(host) => host.covers(it) || it.covers(&host),
        };
        match domain {
            Domain::Of(host) if than.covers(&host) => false,
            Domain::Of(host) if host.is_exact() => self.name(host, None),
            _ => {
                self.hosts.are_all
                    || self.hosts.patterns().any(|it| is_of_domain(&it) && !than.covers(&it))
            }
        }
    }

    /// The names that allows spell out, each once, in their order.
    pub(super) fn exact_names(&self) -> impl Iterator<Item = &'p str> {
        let names = self.hosts.by_ports.values().flatten().filter_map(|host| match *host {
            HostPattern::Name(name) => Some(name),
            _ => None,
        });
        names.collect::<std::collections::BTreeSet<_>>().into_iter()
    }
}
