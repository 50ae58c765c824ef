//! What an egress rule opens or denies: hosts, ports, methods and paths.

use super::http::{self, Requests};
use super::{Policy, Version};
use crate::commands::import::draft::{Draft, Entry, told};
use crate::commands::import::hosts::HostSet;
use crate::commands::import::ports::{self, Ports};
use crate::commands::import::wildcards::{self, Unsaid};
use crate::document::Node;
use std::collections::BTreeMap;
use std::ops::RangeInclusive;

/// What an `egressDeny` rule denies.
pub(super) enum Denied {
    Nothing,
    Everything,
    /// An entry with ports.
    Ports(Entry),
}

/// Who is reached within the cluster.
const PODS: [&str; 4] = ["toEndpoints", "toNodes", "toRequires", "icmps"];
/// Who is reached by addresses.
const ADDRESSES: [&str; 4] = ["toCIDR", "toCIDRSet", "toGroups", "toServices"];
/// The entities that are no hosts outside.
const WITHIN: [&str; 9] = [
    "host",
    "remote-node",
    "kube-apiserver",
    "ingress",
    "cluster",
    "init",
    "health",
    "unmanaged",
    "none",
];

const ANY: RangeInclusive<u16> = 1..=u16::MAX;

/// What a list of ports is for.
#[derive(Clone, Copy)]
enum Effect {
    Opens,
    Denies,
}

impl Policy<'_> {
    /// The entries of what a rule opens. What no policy can say is named.
    pub(super) fn opened(&self, rule: &Node, draft: &mut Draft) -> Vec<Entry> {
        let has = |keys: &[&str]| rule.members().iter().any(|it| keys.contains(&&*it.key));
        let known = [&PODS[..], &ADDRESSES, &["toEntities", "toFQDNs", "toPorts"]].concat();
        let place = self.text.at(rule);
        if rule.members().is_empty() {
            // Selects the pods and opens nothing.
            return Vec::new();
        }
        if let Some(other) = rule.members().iter().find(|it| !known.contains(&&*it.key)) {
            draft.limit(self.text.at(&other.value), &other.key, &self.title);
            return Vec::new();
        }
        let other = rule.members().iter().find(|it| !["toFQDNs", "toPorts"].contains(&&*it.key));
        match (rule.get("toFQDNs"), other) {
            (Some(_), Some(other)) => {
                let problem = format!("`{}` beside `toFQDNs`, which Cilium refuses", other.key);
                draft.point(self.text.at(&other.value), problem, "write a rule for each");
                Vec::new()
            }
            (Some(names), None) => self.entries(rule, names, draft),
            _ if has(&ADDRESSES) => {
                draft.point(
                    place,
                    format!("a rule of {} for addresses, which says no host", told(&self.title)),
                    "name the hosts that callers need under `toFQDNs`",
                );
                Vec::new()
            }
            _ if self.is_within(rule) || is_of_dns(rule) => {
                let what =
                    format!("{place}: a rule of {} for pods and the cluster itself", self.title);
                draft.passed_over.push(what);
                Vec::new()
            }
            _ => {
                draft.point(
                    place,
                    format!("a rule of {} for any host", told(&self.title)),
                    "name the hosts that callers need under `toFQDNs`",
                );
                Vec::new()
            }
        }
    }

    fn entries(&self, rule: &Node, names: &Node, draft: &mut Draft) -> Vec<Entry> {
        let mut hosts = HostSet::default();
        let mut is_any = false;
        for name in names.items() {
            match selected(name, draft.cilium) {
                Ok(Some(host)) => hosts.insert(&host),
                Ok(None) => is_any = true,
                Err((problem, remedy)) => {
                    let value = name.get("matchPattern").or_else(|| name.get("matchName"));
                    let value = value.and_then(Node::text).unwrap_or_default();
                    let problem = format!("{problem}: {}", told(value));
                    draft.point(self.text.at(name), problem, remedy);
                }
            }
        }
        let demands = self.demands(rule, draft);
        if hosts.is_empty() && !is_any {
            return Vec::new();
        }
        if is_any {
            draft.point(
                self.text.at(names),
                "any host: those that are written as addresses and special names stay refused",
                "name the addresses that callers need under `hosts`",
            );
        }
        let hosts = if is_any { Vec::new() } else { hosts.patterns() };
        let entry = |demand: Entry| Entry { hosts: hosts.clone(), ..demand };
        demands.into_iter().map(entry).collect()
    }

    /// Entries without hosts for what `toPorts` asks.
    fn demands(&self, rule: &Node, draft: &mut Draft) -> Vec<Entry> {
        let listed = rule.get("toPorts").map_or(&[][..], Node::items);
        if listed.is_empty() {
            return vec![Entry::default()];
        }
        let mut by_requests: BTreeMap<Requests, Vec<RangeInclusive<u16>>> = BTreeMap::new();
        for item in listed {
            let ranges = self.ranges(item, draft);
            if ranges.is_empty() {
                continue;
            }
            for requests in self.requests(item, draft) {
                by_requests.entry(requests).or_default().extend(ranges.iter().cloned());
            }
        }
        let any = by_requests.get(&Requests::default()).map(|ranges| Ports::of(ranges));
        let mut entries = Vec::new();
        for (requests, ranges) in by_requests {
            let ports = Ports::of(&ranges);
            // What is open for any request needs no entry of its own.
            let ports = match &any {
                Some(any) if requests != Requests::default() => ports.and(any, false),
                _ => ports,
            };
            match ports.written() {
                _ if ports.count() == 0 => {}
                Some((ports, not_ports)) => {
                    entries.push(Entry { ports, not_ports, ..requests.entry() });
                }
                None => draft.point(
                    self.text.at(rule),
                    format!("{} ports: a policy lists them one by one", ports.count()),
                    "name the ports that callers need",
                ),
            }
        }
        entries
    }

    /// The ports of a `toPorts` that are opened. What is none of TCP is named.
    fn ranges(&self, item: &Node, draft: &mut Draft) -> Vec<RangeInclusive<u16>> {
        const KNOWN: [&str; 4] = ["ports", "rules", "originatingTLS", "terminatingTLS"];
        if let Some(other) = item.members().iter().find(|it| !KNOWN.contains(&&*it.key)) {
            draft.limit(self.text.at(&other.value), &other.key, &self.title);
            return Vec::new();
        }
        let listed = item.get("ports").map_or(&[][..], Node::items);
        if listed.is_empty() {
            let problem = format!("`toPorts` of {} without `ports`", told(&self.title));
            draft.point(self.text.at(item), problem, "list the ports that callers need");
        }
        self.read_ports(listed, Effect::Opens, draft)
    }

    /// The ports of a list. What is none of TCP is named; where a port cannot be read, less is opened and more is
    /// denied.
    fn read_ports<'n>(
        &self,
        listed: impl IntoIterator<Item = &'n Node>,
        effect: Effect,
        draft: &mut Draft,
    ) -> Vec<RangeInclusive<u16>> {
        let title = told(&self.title);
        let mut ranges = Vec::new();
        for port in listed {
            let place = self.text.at(port);
            match (range(port), effect) {
                (Ok(Some(range)), _) => ranges.push(range),
                (Ok(None), Effect::Opens) => draft.point(
                    place,
                    format!("a port of {title} for another protocol than TCP"),
                    "add the port by hand if callers may use it with TCP",
                ),
                (Ok(None), Effect::Denies) => draft.point(
                    place,
                    format!("a deny of {title} for another protocol than TCP"),
                    "let the network refuse it: requests are taken to be TCP",
                ),
                (Err((problem, remedy)), Effect::Opens) => draft.point(place, problem, remedy),
                (Err((problem, _)), Effect::Denies) => {
                    ranges.push(ANY);
                    let problem = format!("{problem}: in a deny it is every port");
                    draft.point(place, problem, "write the number of the port");
                }
            }
        }
        ranges
    }

    /// What requests a `toPorts` opens. What no policy can say is named.
    fn requests(&self, item: &Node, draft: &mut Draft) -> Vec<Requests> {
        let rules = item.get("rules").map_or(&[][..], Node::members);
        if let Some(other) = rules.iter().find(|it| &*it.key != "http") {
            draft.limit(self.text.at(&other.value), &other.key, &self.title);
            return Vec::new();
        }
        let listed: Vec<&Node> = rules.iter().flat_map(|rule| rule.value.items()).collect();
        if listed.is_empty() {
            return vec![Requests::default()];
        }
        let mut all = Vec::new();
        for rule in listed {
            match http::read(rule) {
                Ok(requests) => all.push(requests),
                Err((problem, remedy)) => draft.point(self.text.at(rule), problem, remedy),
            }
        }
        all
    }

    /// Whether a rule is for pods, nodes and entities of the cluster alone.
    fn is_within(&self, rule: &Node) -> bool {
        let items = |key: &str| rule.get(key).map_or(&[][..], Node::items);
        let is_entity = |entity: &Node| entity.text().is_some_and(|it| WITHIN.contains(&it));
        let is_pods = |selector: &Node| {
            let is_any = selector.members().is_empty() && self.is_clusterwide();
            !is_any && !selector.to_json().contains("reserved")
        };
        let has_some = rule.members().iter().any(|it| PODS.contains(&&*it.key))
            || !items("toEntities").is_empty();
        has_some
            && items("toEntities").iter().all(is_entity)
            && items("toEndpoints").iter().all(is_pods)
    }

    /// What a rule of `egressDeny` denies. Where that cannot be said, more is denied.
    pub(super) fn denied(&self, rule: &Node, draft: &mut Draft) -> Denied {
        let has = |keys: &[&str]| rule.members().iter().any(|it| keys.contains(&&*it.key));
        let known = [&PODS[..], &ADDRESSES, &["toEntities", "toPorts"]].concat();
        let place = self.text.at(rule);
        let other = rule.members().iter().find(|it| !known.contains(&&*it.key));
        if let Some(key) = other.map(|it| &*it.key).or(rule.members().is_empty().then_some("{}")) {
            draft.point(
                place,
                format!("{} in `egressDeny` of {}: all is denied", told(key), told(&self.title)),
                "write by hand what of it is denied",
            );
            return Denied::Everything;
        }
        if has(&ADDRESSES) && !is_every_address(rule) {
            draft.point(
                place,
                format!(
                    "a deny of {} for addresses: a policy does not resolve names",
                    told(&self.title)
                ),
                "let the network refuse names that lead to them",
            );
            return Denied::Nothing;
        }
        if !has(&ADDRESSES) && self.is_within(rule) {
            draft.passed_over.push(format!("{place}: a deny of {} within the cluster", self.title));
            return Denied::Nothing;
        }
        self.denied_ports(rule, draft)
    }

    fn denied_ports(&self, rule: &Node, draft: &mut Draft) -> Denied {
        let items = rule.get("toPorts").map_or(&[][..], Node::items);
        let listed = items.iter().flat_map(|item| item.get("ports").map_or(&[][..], Node::items));
        let listed: Vec<&Node> = listed.collect();
        if listed.is_empty() {
            return Denied::Everything;
        }
        let ranges = self.read_ports(listed, Effect::Denies, draft);
        let ports = Ports::of(&ranges);
        match ports.written() {
            _ if ports.count() == 0 => Denied::Nothing,
            Some((ports, not_ports)) if ports.is_empty() && not_ports.is_empty() => {
                Denied::Everything
            }
            Some((ports, not_ports)) => {
                Denied::Ports(Entry { ports, not_ports, ..Entry::default() })
            }
            None => {
                draft.point(
                    self.text.at(rule),
                    format!("a deny of {} ports: here it is of every port", ports.count()),
                    "name the ports that are denied, at most 1024",
                );
                Denied::Everything
            }
        }
    }
}

/// Whether all that a rule opens are look-ups in DNS.
fn is_of_dns(rule: &Node) -> bool {
    let items = rule.get("toPorts").map_or(&[][..], Node::items);
    let is_one = |item: &Node| item.get("rules").is_some_and(|rules| rules.get("dns").is_some());
    !items.is_empty() && items.iter().all(is_one)
}

/// Whether a rule is for some block that holds every address.
fn is_every_address(rule: &Node) -> bool {
    let blocks = ["toCIDR", "toCIDRSet"].iter().filter_map(|key| rule.get(key));
    let mut blocks = blocks.flat_map(|blocks| blocks.items());
    blocks.any(|block| {
        let text = block.text().or_else(|| block.get("cidr").and_then(Node::text));
        text.is_some_and(|text| text.ends_with("/0"))
    })
}

/// What a rule's `matchPattern`s need a word on.
pub(super) fn notes(rule: &Node, version: Option<Version>) -> Vec<String> {
    let names = rule.get("toFQDNs").map_or(&[][..], Node::items);
    let patterns = names.iter().filter_map(|name| name.get("matchPattern").and_then(Node::text));
    let is_narrower = |pattern: &&str| {
        let host = by_pattern(pattern.trim(), version).ok().flatten();
        host.is_some_and(|host| wildcards::spares_encoded(&host))
    };
    let narrower = patterns.filter(is_narrower);
    narrower.map(|pattern| format!("{pattern} is for no label that begins xn--.")).collect()
}

/// The host that an item of `toFQDNs` selects; `None` where it is any.
fn selected(item: &Node, version: Option<Version>) -> Result<Option<String>, Unsaid> {
    let text = |key: &str| item.get(key).and_then(Node::text).map(str::trim);
    match (text("matchName"), text("matchPattern"), item.members()) {
        (Some(name), None, [_]) => wildcards::name(name).map(Some),
        (None, Some(pattern), [_]) => by_pattern(pattern, version),
        _ => Err(("no selector of a name".into(), "write `matchName` or `matchPattern`".into())),
    }
}

fn by_pattern(pattern: &str, version: Option<Version>) -> Result<Option<String>, Unsaid> {
    let simple = collapsed(pattern);
    match (simple.strip_prefix("**."), version) {
        _ if simple == "*" => Ok(None),
        (Some(_), None) => Err((
            "`**` as the first label, which is any number of labels since Cilium 1.19 and one before".into(),
            "say `--cilium-version 1.19` if no older Cilium is there".into(),
        )),
        (Some(name), Some(version)) if version < Version::DEEP_PATTERNS => {
            wildcards::pattern(&format!("*.{name}")).map(Some)
        }
        _ => wildcards::pattern(&simple).map(Some),
    }
}

/// A pattern whose runs of `*` are those that Cilium tells apart: `**` as the whole first label, else `*`.
fn collapsed(pattern: &str) -> String {
    let rest = pattern.trim_start_matches('*');
    let lead = match pattern.len() - rest.len() {
        0 => "",
        2.. if rest.is_empty() || rest.starts_with('.') => "**",
        _ => "*",
    };
    let mut simple = lead.to_owned();
    for (index, part) in rest.split('*').enumerate() {
        match (index, part) {
            (0, part) => simple.push_str(part),
            (_, "") if simple.ends_with('*') => {}
            (_, part) => {
                if !simple.ends_with('*') {
                    simple.push('*');
                }
                simple.push_str(part);
            }
        }
    }
    simple
}

/// The ports that an item is for; `None` where they are of another protocol than TCP.
fn range(item: &Node) -> Result<Option<RangeInclusive<u16>>, Unsaid> {
    let text = |key: &str| item.get(key).and_then(Node::text);
    let protocol = item.get("protocol").map_or(Some(""), Node::text).map(str::to_ascii_uppercase);
    if !matches!(protocol.as_deref(), Some("TCP" | "ANY" | "")) {
        return Ok(None);
    }
    let Some(first) = item.get("port").and_then(ports::port) else {
        let problem = format!("port {}", told(text("port").unwrap_or_default()));
        return Err((problem, "write its number, from 1 to 65535".into()));
    };
    let last = match item.get("endPort") {
        None => Some(first),
        Some(last) => ports::port(last).filter(|last| *last >= first),
    };
    match last {
        Some(last) => Ok(Some(first..=last)),
        None => {
            Err(("an `endPort` that is no port behind `port`".into(), "write its number".into()))
        }
    }
}
