//! ServiceEntries: which hosts are known on which ports, and to whom.

use super::callers::Scope;
use super::sidecars::Sidecars;
use super::{Object, items};
use crate::commands::import::draft::{Action, Draft, Entry, Rule, told};
use crate::commands::import::hosts::{HostSet, canonical};
use crate::document::{Node, Value};
use std::collections::{BTreeMap, BTreeSet};

/// The hosts of some ports and callers.
type Groups = BTreeMap<(Scope, BTreeSet<u16>), HostSet>;

/// ServiceEntries as they are written.
#[derive(Debug, Default)]
pub(super) struct Registry<'n> {
    /// Whether there is any, also of the mesh itself.
    is_known: bool,
    services: Vec<Service<'n>>,
}

/// One ServiceEntry of something outside the mesh.
#[derive(Debug)]
struct Service<'n> {
    object: Object<'n>,
    hosts: Vec<String>,
    ports: BTreeSet<u16>,
    /// The namespaces that see it; absent: all.
    exported: Option<BTreeSet<String>>,
}

/// What callers see of the registry.
#[derive(Debug)]
pub(super) struct Seen<'n> {
    services: Vec<(Object<'n>, Groups)>,
    all: Groups,
}

impl<'n> Registry<'n> {
    /// Adds a ServiceEntry.
    pub(super) fn read(&mut self, object: Object<'n>, draft: &mut Draft) {
        self.is_known = true;
        match object.spec("location").map(|node| node.text().unwrap_or_default()) {
            None | Some("MESH_EXTERNAL") => {}
            Some("MESH_INTERNAL") => {
                let what = format!(
                    "{}: {}: MESH_INTERNAL, so it is no egress",
                    object.place(),
                    object.title()
                );
                return draft.passed_over.push(what);
            }
            Some(other) => {
                let problem = format!("{}: location {}", object.title(), told(other));
                let remedy = "write MESH_EXTERNAL or MESH_INTERNAL";
                return draft.point(object.place(), problem, remedy);
            }
        }
        if let Some(node) = object.spec("addresses").filter(|node| items(Some(node)) != Some(&[])) {
            draft.point(
                object.text.at(node),
                format!(
                    "`addresses` of {}: callers who name these as host stay refused",
                    object.title()
                ),
                "name the addresses under `hosts`, if callers need them",
            );
        }
        let exported = exported(object, draft);
        let (hosts, ports) = (hosts(object, draft), ports(object, draft));
        self.services.push(Service { object, hosts, ports, exported });
    }

    /// What callers see of it; `None` where there is no ServiceEntry.
    pub(super) fn seen(self, sidecars: &Sidecars) -> Option<Seen<'n>> {
        let mut all = Groups::new();
        let mut services = Vec::new();
        for service in self.services {
            let groups = service.groups(sidecars);
            for (key, hosts) in &groups {
                all.entry(key.clone()).or_default().extend(hosts);
            }
            services.push((service.object, groups));
        }
        self.is_known.then_some(Seen { services, all })
    }
}

impl Service<'_> {
    fn groups(&self, sidecars: &Sidecars) -> Groups {
        let mut groups = Groups::new();
        for host in &self.hosts {
            let mut ports: BTreeMap<Scope, BTreeSet<u16>> = BTreeMap::new();
            for port in &self.ports {
                let scope =
                    sidecars.scope(self.exported.as_ref(), self.object.namespace(), host, *port);
                ports.entry(scope).or_default().insert(*port);
            }
            for (scope, ports) in ports.into_iter().filter(|(scope, _)| !scope.is_empty()) {
                groups.entry((scope, ports)).or_default().insert(host);
            }
        }
        groups
    }
}

impl Seen<'_> {
    /// The hosts with their ports and callers.
    pub(super) fn groups(&self) -> impl Iterator<Item = (&Scope, &BTreeSet<u16>, &HostSet)> {
        self.all.iter().map(|((scope, ports), hosts)| (scope, ports, hosts))
    }

    /// All hosts.
    pub(super) fn hosts(&self) -> HostSet {
        let mut all = HostSet::default();
        self.all.values().for_each(|hosts| all.extend(hosts));
        all
    }

    /// A rule for each ServiceEntry and each group of callers.
    pub(super) fn write(&self, action: Action, draft: &mut Draft) {
        for (object, groups) in &self.services {
            let mut entries: BTreeMap<&Scope, Vec<Entry>> = BTreeMap::new();
            for ((scope, ports), hosts) in groups {
                let ports = ports.iter().copied().collect();
                entries.entry(scope).or_default().push(Entry { ports, ..Entry::of_hosts(hosts) });
            }
            for (scope, entries) in entries {
                let origin = vec![format!("{}: {}", object.place(), object.title())];
                let rule = Rule::new(object.name(), origin, action, entries);
                let from = scope.within(&[]).unwrap_or_default();
                draft.rules.push(Rule { from, ..rule });
            }
        }
    }
}

/// Who sees a ServiceEntry; what is no namespace is told.
fn exported(object: Object<'_>, draft: &mut Draft) -> Option<BTreeSet<String>> {
    let node = object.spec("exportTo")?;
    let place = object.text.at(node);
    let Some(values) = items(Some(node)) else {
        let problem = format!("`exportTo` of {}, which is no list", object.title());
        draft.point(place, problem, "write a list of namespaces");
        return Some(BTreeSet::new());
    };
    if values.is_empty() {
        return None;
    }
    let mut namespaces = BTreeSet::new();
    for value in values {
        match value.text() {
            Some("*") => return None,
            Some("~") => {}
            Some(".") => match object.namespace() {
                Some(namespace) => drop(namespaces.insert(namespace.to_owned())),
                None => draft.point(
                    &place,
                    format!("`exportTo: [.]` of {}, which names no namespace", object.title()),
                    "write `metadata.namespace`",
                ),
            },
            Some(namespace) if is_namespace(namespace) => {
                namespaces.insert(namespace.to_owned());
            }
            other => {
                let what = told(other.unwrap_or("no text"));
                let problem = format!("`exportTo` of {}: {what}", object.title());
                draft.point(&place, problem, "write the name of a namespace, `.` or `*`");
            }
        }
    }
    Some(namespaces)
}

/// Whether a text is the name of a namespace.
pub(super) fn is_namespace(text: &str) -> bool {
    let is_part = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    !text.is_empty() && text.bytes().all(is_part)
}

fn hosts(object: Object<'_>, draft: &mut Draft) -> Vec<String> {
    let mut hosts = Vec::new();
    let listed = items(object.spec("hosts")).unwrap_or_default();
    if listed.is_empty() {
        let problem = format!("{}: no list of `hosts`", object.title());
        draft.point(object.place(), problem, "list the hosts");
    }
    for node in listed {
        match host(node.text().unwrap_or_default()) {
            Ok(host) => hosts.push(host),
            Err((problem, remedy)) => {
                let problem = format!("{}: {problem}", object.title());
                draft.point(object.text.at(node), problem, remedy);
            }
        }
    }
    hosts
}

/// A name, or `*.` and a name for what is below it.
fn host(text: &str) -> Result<String, (String, String)> {
    let name = text.strip_prefix("*.").unwrap_or(text);
    if name.contains(['*', '/']) || name.starts_with('.') {
        let problem = format!("{} is no host of a ServiceEntry", told(text));
        return Err((problem, "write a name, or `*.` and a name".to_owned()));
    }
    canonical(text).map_err(|error| {
        (format!("{}: {}", told(text), error.problem()), error.remedy().into_owned())
    })
}

fn ports(object: Object<'_>, draft: &mut Draft) -> BTreeSet<u16> {
    let listed = items(object.spec("ports")).unwrap_or_default();
    if listed.is_empty() {
        let problem = format!("{}: no list of `ports`, so nothing of it is open", object.title());
        draft.point(object.place(), problem, "list the ports");
    }
    let mut ports = BTreeSet::new();
    for node in listed {
        let protocol = node.get("protocol").and_then(Node::text).unwrap_or_default();
        let number = node.get("number").and_then(port);
        match number.filter(|_| !protocol.eq_ignore_ascii_case("UDP")) {
            Some(number) => drop(ports.insert(number)),
            None => draft.point(
                object.text.at(node),
                format!("{}: a port of UDP, or without a number", object.title()),
                "write `number` and a protocol over TCP",
            ),
        }
    }
    ports
}

/// A number that is a port.
pub(super) fn port(node: &Node) -> Option<u16> {
    let Value::Number(number) = node.value else { return None };
    (1..=u16::MAX).find(|port| f64::from(*port) == number)
}
