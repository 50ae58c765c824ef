//! What is asked for: the operations of a rule as entries of `to`.

use super::conditions::{Aim, Field, Meaning, Reader, is_not, is_valid};
use super::items;
use crate::commands::import::draft::{Entry, told};
use crate::commands::import::hosts::{HostSet, canonical, split_port};
use crate::document::{Member, Node};
use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU16;

/// One operation.
#[derive(Debug, Default)]
pub(super) struct Operation {
    /// Absent: any host.
    hosts: Option<Hosts>,
    not_hosts: Hosts,
    /// Methods and paths.
    rest: Entry,
}

/// What lists of hosts name.
#[derive(Debug, Default)]
struct Hosts {
    /// What patterns say, by the port that they name.
    by_port: BTreeMap<Option<u16>, HostSet>,
    /// Every host, if it has this port.
    any_with: BTreeSet<u16>,
    /// What only lists of names can say.
    loose: Vec<Loose>,
}

/// A beginning or an end of hosts, with the place of the value that says it.
#[derive(Clone, Debug)]
struct Loose {
    affix: Affix,
    place: String,
    value: String,
}

#[derive(Clone, Debug)]
enum Affix {
    Start(String),
    End(String),
}

/// What of the hosts surely matches, and what may match; all hosts where that is absent.
struct Range {
    sure: HostSet,
    possible: Option<HostSet>,
}

/// What one host of a list means.
enum Host {
    Any(Option<u16>),
    Pattern(String, Option<u16>),
    Loose(Affix),
    Nothing(&'static str),
}

impl Reader<'_, '_> {
    /// What a rule is about; nothing where it is about nothing, an empty list where it is about everything.
    pub(super) fn operations(&mut self, rule: &Node) -> Option<Vec<Operation>> {
        let entries = self.entries(rule, "to")?;
        if entries.is_empty() {
            return Some(vec![Operation::default()]);
        }
        let mut all = Vec::new();
        for entry in entries {
            let mut operation = Operation::default();
            let Some(members) = self.fields(entry, "operation") else { continue };
            if members.iter().all(|member| self.operation(member, &mut operation).is_some()) {
                all.push(operation);
            }
        }
        (!all.is_empty()).then_some(all)
    }

    fn operation(&mut self, member: &Member, operation: &mut Operation) -> Option<()> {
        let Member { key, value, .. } = member;
        let (list, field) = match &**key {
            "hosts" => {
                operation.hosts = self.hosts(key, value)?;
                return Some(());
            }
            "notHosts" => {
                operation.not_hosts = self.hosts(key, value)?.unwrap_or_default();
                return Some(());
            }
            "methods" => (&mut operation.rest.methods, self.field(key, value, method)),
            "notMethods" => (&mut operation.rest.not_methods, self.field(key, value, method)),
            "paths" => (&mut operation.rest.paths, self.field(key, value, path)),
            "notPaths" => (&mut operation.rest.not_paths, self.field(key, value, path)),
            "ports" | "notPorts" => {
                let why = "there the port of the gateway's own listener, here it would be that of the service";
                return (self.unsaid(key, value, why) == Field::Any).then_some(());
            }
            _ => {
                let field = self.unsaid(key, value, "a condition that a policy cannot say");
                return (field == Field::Any).then_some(());
            }
        };
        match field {
            Field::Any => {}
            Field::Never => return None,
            Field::Values(values) => *list = values,
        }
        Some(())
    }

    /// A list of hosts: nothing where no host meets it, absent where it asks for nothing.
    fn hosts(&mut self, key: &str, node: &Node) -> Option<Option<Hosts>> {
        let Some(values) = items(Some(node)) else {
            let field = self.unsaid(key, node, "which is no list");
            return (field == Field::Any).then_some(None);
        };
        if values.is_empty() {
            return Some(None);
        }
        let (mut hosts, mut is_any) = (Hosts::default(), false);
        for value in values {
            let text = value.text().unwrap_or_default();
            match host(text) {
                Host::Any(None) => is_any = true,
                Host::Any(Some(port)) => drop(hosts.any_with.insert(port)),
                Host::Pattern(host, port) => hosts.by_port.entry(port).or_default().insert(&host),
                Host::Nothing(why) => self.nothing(key, value, why),
                Host::Loose(affix) => {
                    let place = self.object.text.at(value);
                    hosts.loose.push(Loose {
                        affix,
                        place,
                        value: format!("`{key}` {}", told(text)),
                    });
                }
            }
        }
        match (is_any, is_not(key)) {
            (true, true) => None,
            (true, false) => Some(None),
            (false, true) => Some(Some(hosts)),
            (false, false) => (!hosts.is_empty()).then_some(Some(hosts)),
        }
    }

    /// What of an operation is allowed among these hosts and ports; any where none are given.
    pub(super) fn allowed(
        &mut self,
        operation: &Operation,
        known: Option<(&HostSet, &BTreeSet<u16>)>,
    ) -> Vec<Entry> {
        let universe = known.map(|(hosts, _)| hosts);
        let within = |port: Option<u16>| match (known, port) {
            (Some((_, ports)), None) => Some(ports.iter().copied().collect()),
            (Some((_, ports)), Some(port)) if !ports.contains(&port) => None,
            (_, port) => Some(port.into_iter().collect::<Vec<u16>>()),
        };
        let Some(excluded) = self.excluded(&operation.not_hosts, universe) else {
            return Vec::new();
        };
        let mut entries = Vec::new();
        for (port, hosts) in self.wanted(operation, universe) {
            let Some(ports) = within(port) else { continue };
            let rest = Entry { ports, ..operation.rest.clone() };
            match hosts {
                None => entries.push(Entry { not_hosts: excluded.patterns(), ..rest }),
                Some(hosts) => {
                    let (hosts, excluded) = hosts.minus(&excluded);
                    if !hosts.is_empty() {
                        let (hosts, not_hosts) = (hosts.patterns(), excluded.patterns());
                        entries.push(Entry { hosts, not_hosts, ..rest });
                    }
                }
            }
        }
        entries
    }

    /// The hosts that an allowed operation surely means, by port; any host where the set is absent.
    fn wanted(
        &mut self,
        operation: &Operation,
        universe: Option<&HostSet>,
    ) -> Vec<(Option<u16>, Option<HostSet>)> {
        let Some(hosts) = &operation.hosts else { return vec![(None, universe.cloned())] };
        let mut by_port = hosts.by_port.clone();
        for hosts in by_port.values_mut() {
            if let Some(universe) = universe {
                *hosts = hosts.and(universe);
            }
        }
        for loose in &hosts.loose {
            let sure = self.range(loose, universe).sure;
            by_port.entry(None).or_default().extend(&sure);
        }
        let any = hosts.any_with.iter().map(|port| (Some(*port), universe.cloned()));
        let some = by_port.into_iter().filter(|(_, hosts)| !hosts.is_empty());
        some.map(|(port, hosts)| (port, Some(hosts))).chain(any).collect()
    }

    /// All that an allow must leave out; nothing where that is everything.
    fn excluded(&mut self, hosts: &Hosts, universe: Option<&HostSet>) -> Option<HostSet> {
        let mut excluded = HostSet::default();
        hosts.by_port.values().for_each(|hosts| excluded.extend(hosts));
        for loose in &hosts.loose {
            excluded.extend(&self.range(loose, universe).possible?);
        }
        hosts.any_with.is_empty().then_some(excluded)
    }

    /// What an operation denies, at least, among these hosts; any where none are given.
    pub(super) fn denied(
        &mut self,
        operation: &Operation,
        universe: Option<&HostSet>,
    ) -> Vec<Entry> {
        let mut spared = HostSet::default();
        spared.extend(operation.not_hosts.by_port.get(&None).unwrap_or(&HostSet::default()));
        for loose in &operation.not_hosts.loose {
            spared.extend(&self.range(loose, universe).sure);
        }
        let any = Entry { not_hosts: spared.patterns(), ..operation.rest.clone() };
        let Some(hosts) = &operation.hosts else { return vec![any] };
        let mut by_port = hosts.by_port.clone();
        for loose in &hosts.loose {
            match self.range(loose, universe).possible {
                Some(possible) => by_port.entry(None).or_default().extend(&possible),
                None => return vec![any],
            }
        }
        let with = |port: u16| Entry { ports: vec![port], ..any.clone() };
        let mut entries: Vec<_> = hosts.any_with.iter().copied().map(with).collect();
        for (port, hosts) in by_port {
            let (hosts, spared) = hosts.minus(&spared);
            if !hosts.is_empty() {
                entries.push(Entry {
                    hosts: hosts.patterns(),
                    not_hosts: spared.patterns(),
                    ports: port.into_iter().collect(),
                    ..operation.rest.clone()
                });
            }
        }
        entries
    }

    /// What a beginning or an end of hosts means among these; what it leaves open is told.
    fn range(&mut self, loose: &Loose, universe: Option<&HostSet>) -> Range {
        let range = match universe {
            Some(universe) => loose.affix.among(universe),
            None => loose.affix.anywhere(),
        };
        if range.possible.as_ref() != Some(&range.sure) {
            let (result, remedy) = match self.aim {
                Aim::Allow => ("what needs it stays refused", "list the names that are meant"),
                Aim::Deny => ("more is denied than there", "list the names that are meant"),
            };
            let title = self.object.title();
            let problem =
                format!("{title}: {}: no pattern over hosts can say it; {result}", loose.value);
            self.draft.point(loose.place.clone(), problem, remedy);
        }
        range
    }
}

impl Hosts {
    fn is_empty(&self) -> bool {
        self.by_port.is_empty() && self.any_with.is_empty() && self.loose.is_empty()
    }
}

impl Affix {
    fn has(&self, name: &str) -> bool {
        match self {
            Self::Start(start) => name.starts_with(start),
            Self::End(end) => name.ends_with(end),
        }
    }

    /// Of all hosts: what is below the name that an end may be.
    fn anywhere(&self) -> Range {
        let mut sure = HostSet::default();
        if let Self::End(end) = self
            && let Ok(tree) = canonical(&format!(".{end}"))
        {
            sure.insert(&tree);
        }
        Range { sure, possible: None }
    }

    /// Of these hosts.
    fn among(&self, universe: &HostSet) -> Range {
        let (mut sure, mut possible) = (HostSet::default(), HostSet::default());
        for pattern in universe.patterns() {
            let (name, is_itself, is_below) =
                match (pattern.strip_prefix("*."), pattern.strip_prefix('.')) {
                    (Some(name), _) => (name, false, true),
                    (_, Some(name)) => (name, true, true),
                    _ => (&*pattern, true, false),
                };
            if is_itself && self.has(name) {
                sure.insert(name);
                possible.insert(name);
            }
            if is_below {
                let below = format!(".{name}");
                match self {
                    Self::End(end) if below.ends_with(end) => {
                        sure.insert(&format!("*{below}"));
                        possible.insert(&format!("*{below}"));
                    }
                    Self::End(end) => {
                        if let Some(label) = end.strip_suffix(&below) {
                            if !label.starts_with('.')
                                && let Ok(tree) = canonical(&format!(".{end}"))
                            {
                                sure.insert(&tree);
                            }
                            possible.insert(&format!("*{below}"));
                        }
                    }
                    Self::Start(_) => possible.insert(&format!("*{below}")),
                }
            }
        }
        Range { sure, possible: Some(possible) }
    }
}

/// A host as it is compared with the Host header: the same, its beginning or its end.
fn host(text: &str) -> Host {
    let (name, port) = split_port(text);
    let port = match port {
        None | Some("*") => None,
        Some(port) => match port.parse::<NonZeroU16>() {
            Ok(number) if number.to_string() == port => Some(number.get()),
            _ => return Host::Nothing("no port behind the host"),
        },
    };
    // What follows a first `*` is compared as it is.
    if name.starts_with('*') && text.ends_with('*') && text.len() > 1 {
        return Host::Nothing("a `*` counts at one end only");
    }
    let plain = |text: &str| !text.contains(['*', '/']) && !text.starts_with('.');
    match (name.strip_prefix('*'), name.strip_suffix('*')) {
        (Some(""), _) => Host::Any(port),
        (Some(end), _) if end.contains('*') => Host::Nothing("a `*` counts at one end only"),
        (Some(end), _) => match canonical(name) {
            Ok(pattern) if end.starts_with('.') && pattern.starts_with("*.") => {
                Host::Pattern(pattern, port)
            }
            _ => Host::Loose(Affix::End(end.to_ascii_lowercase())),
        },
        (_, Some(start)) if !start.contains('*') => {
            Host::Loose(Affix::Start(start.to_ascii_lowercase()))
        }
        _ if !plain(name) => Host::Nothing("no host"),
        _ => match canonical(name) {
            Ok(pattern) if !pattern.contains('*') => Host::Pattern(pattern, port),
            _ => Host::Nothing("no host"),
        },
    }
}

fn method(text: &str) -> Meaning {
    match text {
        "*" => Meaning::All,
        _ if !text.contains('*') && is_valid("to", "methods", text) => {
            Meaning::Text(text.to_owned())
        }
        _ => Meaning::Unsaid("no method that a policy takes"),
    }
}

fn path(text: &str) -> Meaning {
    match text {
        "*" => Meaning::All,
        _ if !text.starts_with(['/', '*']) => Meaning::Nothing("no path begins so"),
        _ if is_valid("to", "paths", text) => Meaning::Text(text.to_owned()),
        _ => Meaning::Unsaid("no path that a policy takes"),
    }
}
