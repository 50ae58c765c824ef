//! Which requests a line of Squid is about: a set in each of hosts, ports and methods.

use crate::commands::import::draft::{Draft, Entry};
use crate::commands::import::hosts::HostSet;
use crate::commands::import::ports::Ports;
use std::collections::BTreeSet;

/// The requests whose host, port and method are each in a set.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Area {
    /// `None`: any.
    hosts: Option<HostSet>,
    /// Hosts within them that are out.
    not_hosts: HostSet,
    ports: Ports,
    methods: Methods,
}

/// A set in one of the three.
#[derive(Clone, Debug)]
pub(super) enum Part {
    Hosts(HostSet),
    Ports(Ports),
    Methods(BTreeSet<String>),
}

/// Methods.
#[derive(Clone, Debug, PartialEq)]
enum Methods {
    Only(BTreeSet<String>),
    Except(BTreeSet<String>),
}

/// The method that opens a tunnel: only entries that name it allow it.
const CONNECT: &str = "CONNECT";

impl Area {
    /// Every request.
    pub(super) fn all() -> Self {
        Self {
            hosts: None,
            not_hosts: HostSet::default(),
            ports: Ports::all(),
            methods: Methods::Except(BTreeSet::new()),
        }
    }

    /// Those of its requests that are in a part, or that are not; nothing where there are none.
    pub(super) fn within(&self, part: &Part, is_in: bool) -> Option<Self> {
        let mut area = self.clone();
        match part {
            Part::Hosts(hosts) if is_in => {
                let hosts = self.hosts.as_ref().map_or_else(|| hosts.clone(), |it| it.and(hosts));
                let (hosts, excluded) = hosts.minus(&self.not_hosts);
                (area.hosts, area.not_hosts) = (Some(hosts), excluded);
            }
            Part::Hosts(out) => {
                let mut not_hosts = self.not_hosts.clone();
                not_hosts.extend(out);
                (area.hosts, area.not_hosts) = match &self.hosts {
                    None => (None, not_hosts),
                    Some(hosts) => {
                        let (hosts, excluded) = hosts.minus(&not_hosts);
                        (Some(hosts), excluded)
                    }
                };
            }
            Part::Ports(ports) => area.ports = self.ports.and(ports, is_in),
            Part::Methods(methods) => area.methods = self.methods.and(methods, is_in),
        }
        let is_empty = area.hosts.as_ref().is_some_and(HostSet::is_empty)
            || area.ports.count() == 0
            || area.methods == Methods::Only(BTreeSet::new());
        (!is_empty).then_some(area)
    }

    /// What is left where the requests that are in all of some parts are taken out.
    pub(super) fn without<'a>(
        &'a self,
        parts: &'a [(Part, bool)],
    ) -> impl Iterator<Item = Self> + 'a {
        let mut all = Some(self.clone());
        for (part, is_in) in parts {
            all = all.and_then(|area| area.within(part, *is_in));
        }
        let (whole, cut) = if all.is_none() { (Some(self), &[][..]) } else { (None, parts) };
        let cut = cut.iter().filter_map(|(part, is_in)| self.within(part, !is_in));
        whole.cloned().into_iter().chain(cut)
    }

    /// How many names and patterns it holds.
    pub(super) fn size(&self) -> usize {
        let hosts = self.hosts.as_ref().map_or(0, HostSet::len);
        hosts.saturating_add(self.not_hosts.len())
    }

    /// The entries that say it. What they cannot say is named, and left out.
    pub(super) fn entries(&self, place: &str, draft: &mut Draft) -> Vec<Entry> {
        let unwritable = |set: &HostSet| set.top_levels().next().map(str::to_owned);
        if let Some(domain) = unwritable(&self.not_hosts) {
            draft.point(
                place,
                format!("a deny of everything below `.{domain}`, which no pattern can say"),
                "allow hosts by name, so that the deny is not needed",
            );
            return Vec::new();
        }
        let mut entry = Entry { not_hosts: self.not_hosts.patterns(), ..Entry::default() };
        match &self.hosts {
            None => draft.point(
                place,
                "any host: those that are written as addresses and special names stay refused",
                "name the addresses that callers need under `hosts`",
            ),
            Some(hosts) => {
                if let Some(domain) = unwritable(hosts) {
                    draft.point(
                        place,
                        format!("everything below `.{domain}`, which no pattern can say"),
                        "name at least two labels, such as `.example.com`",
                    );
                }
                entry.hosts = hosts.without_top_levels().patterns();
                if entry.hosts.is_empty() {
                    return Vec::new();
                }
            }
        }
        match self.ports.written() {
            Some((ports, not_ports)) => (entry.ports, entry.not_ports) = (ports, not_ports),
            None => {
                draft.point(
                    place,
                    format!("{} ports: a policy lists them one by one", self.ports.count()),
                    "name the ports that callers need",
                );
                return Vec::new();
            }
        }
        self.methods.entries(&entry)
    }
}

impl Methods {
    fn and(&self, other: &BTreeSet<String>, is_in: bool) -> Self {
        let union = |a: &BTreeSet<String>| a.union(other).cloned().collect();
        match (self, is_in) {
            (Self::Only(some), true) => Self::Only(some.intersection(other).cloned().collect()),
            (Self::Only(some), false) => Self::Only(some.difference(other).cloned().collect()),
            (Self::Except(some), true) => Self::Only(other.difference(some).cloned().collect()),
            (Self::Except(some), false) => Self::Except(union(some)),
        }
    }

    /// An entry with the methods; where they are not listed, tunnels need one of their own.
    fn entries(&self, entry: &Entry) -> Vec<Entry> {
        let list = |methods: &BTreeSet<String>| methods.iter().cloned().collect::<Vec<_>>();
        match self {
            Self::Only(methods) => vec![Entry { methods: list(methods), ..entry.clone() }],
            Self::Except(methods) => {
                let mut not_methods = list(methods);
                not_methods.retain(|method| method != CONNECT);
                let mut entries = vec![Entry { not_methods, ..entry.clone() }];
                if !methods.contains(CONNECT) {
                    let methods = vec![CONNECT.to_owned()];
                    entries.push(Entry { methods, ..entry.clone() });
                }
                entries
            }
        }
    }
}

/// Whether one entry matches all that another does, where they differ in their ports alone.
pub(super) fn covers(one: &Entry, other: &Entry) -> bool {
    let is_wider = one.not_ports == other.not_ports
        && (one.ports.is_empty() && one.not_ports.is_empty()
            || !other.ports.is_empty() && other.ports.iter().all(|port| one.ports.contains(port)));
    if !is_wider || one.hosts.len() != other.hosts.len() {
        return false;
    }
    let like = Entry { ports: other.ports.clone(), ..one.clone() };
    like == *other && one != other
}
