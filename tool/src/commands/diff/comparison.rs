//! Compares two policies over all requests, or over all connections.
//!
//! Well-formed requests are sorted into cells on which neither verdict changes. A cell is one equivalence
//! class of hosts, and one equivalence class on each axis of the rules that know these hosts. Classes of
//! one axis are disjoint, and each has an example value. One request of each cell is decided by both
//! policies, with the matcher that the proxy runs. Cells with equal changes are merged again. Malformed
//! requests are one class, because all have the same verdict. If no example of a class is found, or there
//! are too many cells, this is reported and never taken for "no change".

use super::axes::{AXES, Axes, Demands, Gap, Port};
use super::hosts::{self, HostClass};
use super::subject::Subject;
use super::ways::{Way, ways};
use crate::change::Kind;
use crate::globs::GlobIndex;
use crate::judgement::Judgement;
use crate::policy_file::{List, Source};
use egress_warden::host::{Authority, Block, Host, HostPattern, Malformed, is_forbidden};
use egress_warden::policy::{Action, ClusterPort, Dialled, Policy, Request, Verdict};
use egress_warden::time::Time;
use serde::Serialize;
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// Most combinations for one set of hosts.
const MAX_COMBINATIONS: usize = 1_000_000;
/// Most combinations in all.
const MAX_ALL_COMBINATIONS: usize = 20_000_000;

/// A policy with what its text names.
#[derive(Clone, Copy, Debug)]
pub(super) struct Side<'a> {
    pub(super) source: &'a Source<'a>,
    pub(super) policy: &'a Policy,
}

/// What two policies differ in.
#[derive(Debug, Default)]
pub(crate) struct Comparison {
    pub(super) changes: Vec<Change>,
    pub(super) undecided: Vec<Undecided>,
    /// How many combinations were decided.
    pub(super) combinations: usize,
}

impl Comparison {
    /// How many changes open something, or may, since they are undecided.
    pub(super) fn opens(&self) -> usize {
        let opens = self.changes.iter().filter(|it| it.kind == Kind::Opens);
        opens.count().saturating_add(self.undecided.len())
    }
}

/// Requests that change alike. What is absent is any.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Change {
    pub(super) kind: Kind,
    pub(super) hosts: Vec<String>,
    #[serde(flatten)]
    pub(super) scope: Scope,
    pub(super) old: Judgement,
    pub(super) new: Judgement,
    pub(super) example: Example,
}

/// What else the requests have in common; what is absent is any.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(super) struct Scope {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) callers: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) server_names: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) ports: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) methods: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) paths: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) queries: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) times: Option<Vec<String>>,
}

/// One request or connection that changes so, with all that the change depends on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Example {
    /// `None`: a connection.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) method: Option<String>,
    pub(super) authority: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) path: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) principal: Option<String>,
    /// The server name of its TLS connection; empty where that has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) server_name: Option<String>,
    /// The port that the route's cluster says, where that is another than the authority's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) cluster_port: Option<u16>,
    /// When, where that matters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) time: Option<String>,
}

/// Hosts with requests that were not decided.
#[derive(Debug)]
pub(super) struct Undecided {
    pub(super) hosts: Vec<String>,
    pub(super) gap: Gap,
}

/// Compares two policies from a time on, in nanoseconds since the Unix epoch.
pub(super) fn compare(old: Side<'_>, new: Side<'_>, subject: Subject, at: Time) -> Comparison {
    let ways: Vec<Way<'_>> = ways(old.source).chain(ways(new.source)).collect();
    let index = Index::new(&ways);
    let classes = hosts::hosts(&index.patterns(), subject);
    let mut gaps: BTreeMap<Gap, Vec<String>> = BTreeMap::new();
    let mut leave = |gap, labels: Vec<String>| gaps.entry(gap).or_default().extend(labels);
    let mut groups: BTreeMap<Signature, Group<'_>> = BTreeMap::new();
    for HostClass { label, host } in &classes {
        match host.as_ref().and_then(|host| Host::parse(host.as_bytes()).ok()) {
            Some(host) => {
                let signature = index.signature(&host);
                let group = groups.entry(signature).or_insert_with(|| Group::new(host));
                group.labels.push(label.clone());
            }
            None => leave(Gap::NoExample("a host"), vec![label.clone()]),
        }
    }
    let reads = [old.policy.reads(), new.policy.reads()];
    let demands = Demands {
        identity: reads.iter().any(|it| it.principal),
        server_name: reads.iter().any(|it| it.server_name),
    };
    let mut found = Found { old, new, changes: BTreeMap::new() };
    let mut decided: usize = 0;
    for (signature, group) in groups {
        let ways: Vec<Way<'_>> =
            signature.ways().filter_map(|way| ways.get(way)).copied().collect();
        let axes = Axes::of(&ways, subject, demands, at).and_then(|axes| {
            let sizes = axes.sizes().into_iter();
            let combinations = sizes.fold(1, |all: usize, it| all.saturating_mul(it));
            let in_all = decided.saturating_add(combinations);
            match combinations > MAX_COMBINATIONS || in_all > MAX_ALL_COMBINATIONS {
                true => Err(Gap::Combinations(combinations)),
                false => Ok((axes, in_all)),
            }
        });
        match axes {
            Ok((axes, in_all)) => {
                decided = in_all;
                found.compare(&group, &axes);
            }
            Err(gap) => leave(gap, group.labels),
        }
    }
    let mut changes: Vec<Change> = found.compare_malformed(subject).into_iter().collect();
    changes.extend(found.into_changes(classes.len()));
    changes.sort_by_key(|change| change.kind);
    let undecided = gaps.into_iter().map(|(gap, hosts)| Undecided { hosts, gap }).collect();
    Comparison { changes, undecided, combinations: decided }
}

/// An equivalence class of hosts.
struct Group<'a> {
    /// One of them.
    host: Host<'a>,
    labels: Vec<String>,
}

impl<'a> Group<'a> {
    fn new(host: Host<'a>) -> Self {
        Self { host, labels: Vec::new() }
    }
}

/// Which ways know a host, by the patterns that match it, most specific first.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Signature {
    /// Whether an allow must name the host, and whether it is a forbidden address or special name.
    is_special: bool,
    is_forbidden: bool,
    levels: Vec<Level>,
}

/// Ways that know a host by patterns of one rank.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Level {
    /// Of how many ranks the patterns are more specific.
    place: usize,
    scope: u8,
    ways: Vec<usize>,
}

impl Signature {
    fn ways(&self) -> impl Iterator<Item = usize> {
        self.levels.iter().flat_map(|level| level.ways.iter().copied())
    }
}

/// The ways by the patterns of their hosts.
struct Index<'a> {
    hosts: Patterns<'a>,
    not_hosts: Patterns<'a>,
    anywhere: Vec<usize>,
}

/// Ways by pattern.
#[derive(Default)]
struct Patterns<'a> {
    ways: HashMap<HostPattern<'a>, Vec<usize>>,
    block_lengths: BTreeSet<u8>,
    globs: GlobIndex<'a>,
}

/// A pattern that matches a host.
struct Matching<'s> {
    /// The most specific patterns have the least.
    rank: u32,
    /// In what way an allow names the host by it.
    scope: u8,
    ways: &'s Vec<usize>,
}

impl<'a> Index<'a> {
    fn new(ways: &[Way<'a>]) -> Self {
        let mut index = Self {
            hosts: Patterns::default(),
            not_hosts: Patterns::default(),
            anywhere: Vec::new(),
        };
        for (number, way) in ways.iter().enumerate() {
            let destination = way.destination;
            match destination.filter(|it| it.hosts.is_some()) {
                Some(destination) => index.hosts.add(&destination.hosts, number),
                None => index.anywhere.push(number),
            }
            if let Some(destination) = destination {
                index.not_hosts.add(&destination.not_hosts, number);
            }
        }
        index.hosts.index_globs();
        index.not_hosts.index_globs();
        index
    }

    fn patterns(&self) -> Vec<HostPattern<'a>> {
        self.hosts.ways.keys().chain(self.not_hosts.ways.keys()).copied().collect()
    }

    fn signature(&self, host: &Host<'_>) -> Signature {
        let excluded: BTreeSet<usize> =
            self.not_hosts.matches(host).into_iter().flat_map(|it| it.ways).copied().collect();
        let is_special = host.is_special();
        let mut levels: BTreeMap<(u32, u8), BTreeSet<usize>> = BTreeMap::new();
        let anywhere = Matching { rank: u32::MAX, scope: 0, ways: &self.anywhere };
        let mut known = BTreeSet::new();
        for Matching { rank, scope, ways } in self.hosts.matches(host).into_iter().chain([anywhere])
        {
            // How a pattern matches counts only where an allow must name the host.
            let scope = if is_special { scope } else { 0 };
            let ways = ways.iter().filter(|way| !excluded.contains(way));
            // Elsewhere a way matches by its most specific pattern.
            let ways = ways.filter(|way| is_special || known.insert(**way));
            levels.entry((rank, scope)).or_default().extend(ways);
        }
        levels.retain(|_, ways| !ways.is_empty());
        let ranks: BTreeSet<u32> = levels.keys().map(|(rank, _)| *rank).collect();
        let levels = levels.into_iter().map(|((rank, scope), ways)| Level {
            place: ranks.range(..rank).count(),
            scope,
            ways: ways.into_iter().collect(),
        });
        Signature {
            is_special,
            is_forbidden: match host {
                Host::Address(address) => is_forbidden(*address),
                Host::Name(_) => is_special,
            },
            levels: levels.collect(),
        }
    }
}

impl<'a> Patterns<'a> {
    fn add(&mut self, patterns: &List<'a, HostPattern<'a>>, way: usize) {
        for &pattern in patterns.iter().flat_map(|list| list.patterns()) {
            if let HostPattern::Block(block) = pattern {
                self.block_lengths.insert(block.length());
            }
            let ways = self.ways.entry(pattern).or_default();
            if ways.last() != Some(&way) {
                ways.push(way);
            }
        }
    }

    /// Lets the globs be found by a name.
    fn index_globs(&mut self) {
        let glob = |pattern: &HostPattern<'a>| match pattern {
            HostPattern::Glob(glob) => Some(*glob),
            _ => None,
        };
        self.globs = GlobIndex::new(self.ways.keys().filter_map(glob).collect());
    }

    /// Each pattern that matches.
    fn matches<'s>(&'s self, host: &'s Host<'_>) -> Vec<Matching<'s>> {
        let patterns: Vec<(u32, u8, HostPattern<'_>)> = match host {
            Host::Name(name) => {
                let name = name.as_str();
                let parents =
                    std::iter::successors(Some(name), |it| it.split_once('.').map(|(_, up)| up));
                let under = parents.skip(1).flat_map(|parent| {
                    let rank = rank_of(parent.len().saturating_add(1));
                    [HostPattern::Under(parent), HostPattern::Tree(parent)]
                        .map(|pattern| (rank, 2, pattern))
                });
                let globs = self.globs.matching(name).into_iter();
                let globs =
                    globs.map(|glob| (rank_of(glob.literal_bytes()), 2, HostPattern::Glob(glob)));
                let exact = [(0, 1, HostPattern::Name(name)), (0, 2, HostPattern::Tree(name))];
                exact.into_iter().chain(under).chain(globs).collect()
            }
            Host::Address(address) => {
                let blocks = self.block_lengths.iter().filter_map(|&length| {
                    let block = Block::new(*address, length)?;
                    let scope = if block.is_within_forbidden_range() { 4 } else { 3 };
                    Some((rank_of(length.into()), scope, HostPattern::Block(block)))
                });
                [(0, 1, HostPattern::Address(*address))].into_iter().chain(blocks).collect()
            }
        };
        let ways =
            |(rank, scope, pattern)| Some(Matching { rank, scope, ways: self.ways.get(&pattern)? });
        let mut matching: Vec<_> = patterns.into_iter().filter_map(ways).collect();
        matching.sort_by_key(|it| it.rank);
        matching
    }
}

/// The rank of a pattern that is not for exactly one host, by how much it says: so many bytes of a name, or
/// bits of an address.
fn rank_of(size: usize) -> u32 {
    u32::try_from(size).map_or(1, |size| (u32::MAX - 1).saturating_sub(size))
}

/// What changes have in common that are told together.
type Alike = (Kind, Judgement, Judgement, Scope);

/// Changes by all but their hosts, with the hosts and the first example.
struct Found<'a> {
    old: Side<'a>,
    new: Side<'a>,
    changes: BTreeMap<Alike, (Vec<String>, Example)>,
}

/// Cells of one change: the positions on each axis.
type Cells = Vec<[Vec<usize>; AXES]>;
/// A change by its verdicts.
type Pair = (Kind, (Action, &'static str, Option<usize>), (Action, &'static str, Option<usize>));

impl Found<'_> {
    fn compare(&mut self, group: &Group<'_>, axes: &Axes) {
        let host = &group.host;
        let mut cells: HashMap<Pair, (Cells, Verdict, Verdict)> = HashMap::new();
        for position in positions(axes.sizes()) {
            let target = target(axes, position);
            let Some(request) = request(host, axes, position, target.as_deref()) else { continue };
            if let Some((kind, before, after)) = self.judge(&request) {
                let key = |it: Verdict| (it.action, it.reason.as_str(), it.rule);
                let entry = cells.entry((kind, key(before), key(after)));
                let (cells, ..) = entry.or_insert_with(|| (Vec::new(), before, after));
                cells.push(position.map(|it| vec![it]));
            }
        }
        for ((kind, ..), (cells, before, after)) in cells {
            for cell in put_together(cells) {
                let first = cell.each_ref().map(|it| it.first().copied().unwrap_or_default());
                let target = target(axes, first);
                let Some(request) = request(host, axes, first, target.as_deref()) else { continue };
                let example = Example::of(&request, axes.times.len() > 1);
                self.add((kind, before, after), scope(axes, &cell), &group.labels, example);
            }
        }
    }

    /// Every malformed request has the same verdict.
    fn compare_malformed(&self, subject: Subject) -> Option<Change> {
        let is_request = subject == Subject::Requests;
        let request = Request {
            authority: Err(Malformed::Empty),
            method: is_request.then_some(&b"GET"[..]),
            path: is_request.then_some(b"/"),
            ..Request::new(b"", b"")
        };
        let (kind, before, after) = self.judge(&request)?;
        Some(Change {
            kind,
            hosts: vec!["malformed ones".to_owned()],
            scope: Scope::default(),
            old: Judgement::new(before, self.old.policy),
            new: Judgement::new(after, self.new.policy),
            example: Example::of(&request, false),
        })
    }

    fn judge(&self, request: &Request<'_>) -> Option<(Kind, Verdict, Verdict)> {
        let (old, new) = (self.old.policy, self.new.policy);
        Kind::of((old, old.decide(request)), (new, new.decide(request)))
    }

    fn add(
        &mut self,
        (kind, before, after): (Kind, Verdict, Verdict),
        scope: Scope,
        hosts: &[String],
        example: Example,
    ) {
        let before = Judgement::new(before, self.old.policy);
        let after = Judgement::new(after, self.new.policy);
        let entry = self.changes.entry((kind, before, after, scope));
        entry.or_insert_with(|| (Vec::new(), example)).0.extend_from_slice(hosts);
    }

    /// `all` classes of hosts are any host.
    fn into_changes(self, all: usize) -> Vec<Change> {
        let changes = self.changes.into_iter();
        changes
            .map(|((kind, old, new, scope), (mut hosts, example))| {
                if hosts.len() >= all {
                    hosts = vec!["any host".to_owned()];
                }
                hosts.sort_by_cached_key(|host| (host.contains(' '), host.clone()));
                Change { kind, hosts, scope, old, new, example }
            })
            .collect()
    }
}

/// Every combination of positions on axes of these sizes.
fn positions(sizes: [usize; AXES]) -> impl Iterator<Item = [usize; AXES]> {
    let count = sizes.iter().product::<usize>();
    (0..count).map(move |mut number| {
        sizes.map(|size| {
            let position = number.checked_rem(size).unwrap_or_default();
            number = number.checked_div(size).unwrap_or_default();
            position
        })
    })
}

/// The path of this cell, with its query.
fn target(axes: &Axes, [_, _, _, _, path, query, _]: [usize; AXES]) -> Option<Cow<'_, str>> {
    axes.target(path, query)
}

/// A request of this cell with its path; `None` where there is none: a CONNECT whose authority has no port is
/// malformed, and of another class.
fn request<'a>(
    host: &Host<'a>,
    axes: &'a Axes,
    at: [usize; AXES],
    target: Option<&'a str>,
) -> Option<Request<'a>> {
    let [caller, server_name, port, method, _, _, time] = at;
    let (_, port) = axes.ports.get(port)?;
    let (_, method) = axes.methods.get(method)?;
    let is_connect = method.as_ref().is_some_and(|it| it.eq_ignore_ascii_case("CONNECT"));
    if is_connect && *port == Port::Unsaid {
        return None;
    }
    let (port, cluster_port) = port.of_request();
    Some(Request {
        authority: Ok(Authority { host: host.clone(), port }),
        method: method.as_ref().map(String::as_bytes),
        path: target.map(str::as_bytes),
        cluster_port,
        dialled: Dialled::Named,
        principal: axes.callers.get(caller)?.1.as_deref(),
        server_name: axes.server_names.get(server_name)?.1.of_request(),
        now: Some(axes.times.get(time)?.1),
    })
}

/// Puts cells together that differ on one axis only, axis by axis.
fn put_together(mut cells: Cells) -> Cells {
    for axis in [6, 1, 3, 2, 5, 4, 0] {
        let mut by_rest: BTreeMap<[Vec<usize>; AXES], Vec<usize>> = BTreeMap::new();
        for mut cell in cells {
            let taken = cell.get_mut(axis).map(std::mem::take).unwrap_or_default();
            by_rest.entry(cell).or_default().extend(taken);
        }
        cells = by_rest
            .into_iter()
            .map(|(mut cell, mut positions)| {
                positions.sort_unstable();
                if let Some(place) = cell.get_mut(axis) {
                    *place = positions;
                }
                cell
            })
            .collect();
    }
    cells
}

fn scope(axes: &Axes, cell: &[Vec<usize>; AXES]) -> Scope {
    let names = |axis: usize| axes.names(axis, cell.get(axis)?);
    Scope {
        callers: names(0),
        server_names: names(1),
        ports: names(2),
        methods: names(3),
        paths: names(4),
        queries: names(5),
        times: names(6),
    }
}

impl Example {
    fn of(request: &Request<'_>, is_of_its_time: bool) -> Self {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let authority = request.authority.as_ref().map_or_else(
            |_| String::new(),
            |Authority { host, port }| match port {
                Some(port) => format!("{}:{port}", host.canonical()),
                None => host.canonical().into_owned(),
            },
        );
        let now = request.now.filter(|_| is_of_its_time);
        Self {
            method: request.method.map(text),
            authority,
            path: request.path.map(text),
            principal: request.principal.map(str::to_owned),
            server_name: request.server_name.map(text),
            cluster_port: match request.cluster_port {
                ClusterPort::Said(port) => Some(port),
                ClusterPort::Unsaid | ClusterPort::Unknown => None,
            },
            time: now.map(|now| now.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy_file::PolicyFile;
    use egress_warden::config::{self, Config};
    use serde_json::{Value, json};

    /// Nanoseconds since the Unix epoch.
    const AT: u64 = 1_800_000_000_000_000_000;
    const HOSTS: [&str; 18] = [
        ".b.example.com",
        "a*.example.com",
        "*.b*.example.com",
        "x.*.example.com",
        "a.example.com",
        "b.example.com",
        "*.example.com",
        "*.b.example.com",
        "other.test",
        "localhost",
        "metadata.google.internal",
        "10.1.2.3",
        "10.0.0.0/8",
        "8.8.8.0/24",
        "8.8.8.8",
        "0.0.0.0/0",
        "[2001:db8::1]",
        "2001:db8::/32",
    ];
    const PRINCIPALS: [&str; 5] = ["a/ns/pay/sa/api", "a/ns/pay/*", "*/sa/api", "a/*", "odd"];
    const NAMESPACES: [&str; 4] = ["pay", "pay*", "*-dev", "shop"];
    const PATHS: [&str; 6] = ["/exact", "/v1/*", "/v1/admin*", "*.png", "*/admin", "*"];

    /// xorshift64*: enough for a choice, and the same on every machine.
    struct Dice(u64);

    impl Dice {
        fn roll(&mut self, sides: usize) -> usize {
            self.0 ^= self.0 >> 12;
            self.0 ^= self.0 << 25;
            self.0 ^= self.0 >> 27;
            let high = self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33;
            usize::try_from(high).unwrap() % sides
        }

        fn one<'a>(&mut self, of: &[&'a str]) -> &'a str {
            of[self.roll(of.len())]
        }

        fn some(&mut self, of: &[&str]) -> Vec<String> {
            (0..=self.roll(2)).map(|_| self.one(of).to_owned()).collect()
        }
    }

    fn policy(dice: &mut Dice) -> Value {
        let rules: Vec<Value> = (0..=dice.roll(3))
            .map(|number| {
                let mut rule = json!({
                    "id": format!("r{number}"),
                    "action": dice.one(&["allow", "allow", "deny"]),
                });
                if dice.roll(6) == 0 {
                    rule["state"] = dice.one(&["retiring", "dry-run"]).into();
                }
                if dice.roll(6) == 0 {
                    rule["until"] =
                        dice.one(&["2027-03-01T00:00:00Z", "2020-01-01T00:00:00Z"]).into();
                }
                if dice.roll(2) == 0 {
                    let mut source = json!({});
                    for (key, words) in [
                        ("principals", &PRINCIPALS[..]),
                        ("notPrincipals", &PRINCIPALS[..]),
                        ("namespaces", &NAMESPACES[..]),
                        ("notNamespaces", &NAMESPACES[..]),
                    ] {
                        if dice.roll(3) == 0 {
                            source[key] = dice.some(words).into();
                        }
                    }
                    if source != json!({}) {
                        rule["from"] = json!([source]);
                    }
                }
                let mut to = json!({});
                for (key, words, odds) in [
                    ("hosts", &HOSTS[..], 1),
                    ("notHosts", &HOSTS[..], 6),
                    ("methods", &["GET", "POST", "CONNECT"][..], 3),
                    ("notMethods", &["GET", "POST"][..], 6),
                    ("paths", &PATHS[..], 3),
                    ("notPaths", &PATHS[..], 6),
                ] {
                    if dice.roll(odds) == 0 {
                        to[key] = dice.some(words).into();
                    }
                }
                for (key, odds) in [("ports", 3), ("notPorts", 6)] {
                    if dice.roll(odds) == 0 {
                        let port = [80, 443, 8443][dice.roll(3)];
                        to[key] = json!([port]);
                    }
                }
                rule["to"] = json!([to]);
                rule
            })
            .collect();
        json!({
            "policy": "p",
            "mode": dice.one(&["enforce", "enforce", "enforce", "monitor"]),
            "default": dice.one(&["deny", "deny", "allow"]),
            "identity": dice.one(&["optional", "optional", "optional", "required"]),
            "sni": dice.one(&["ignore", "ignore", "ignore", "match"]),
            "rules": rules,
        })
    }

    fn read(policy: &Value) -> (PolicyFile, Config) {
        let text = policy.to_string();
        let config = config::read(text.as_bytes()).unwrap();
        (PolicyFile::of_text("p".to_owned(), text, true), config)
    }

    fn compared(old: &Value, new: &Value) -> Comparison {
        let ((old_file, old), (new_file, new)) = (read(old), read(new));
        let (old_source, new_source) = (old_file.source().unwrap(), new_file.source().unwrap());
        compare(
            Side { source: &old_source, policy: &old.policy },
            Side { source: &new_source, policy: &new.policy },
            Subject::Requests,
            Time::of_nanoseconds(AT),
        )
    }

    #[test]
    fn no_request_changes_in_a_way_that_was_not_found() {
        let authorities = [
            "a.example.com",
            "b.example.com:443",
            "c.example.com:80",
            "x.b.example.com:8443",
            "y.x.b.example.com:9",
            "ab.example.com",
            "x.a.example.com:443",
            "x.bb.example.com",
            "b.example.com:80",
            "example.com",
            "other.test",
            "more.test:443",
            "localhost",
            "x.localhost:80",
            "metadata",
            "metadata.google.internal:80",
            "10.1.2.3",
            "10.9.9.9:443",
            "8.8.8.8:443",
            "8.8.8.9",
            "9.9.9.9:80",
            "169.254.169.254",
            "[2001:db8::1]",
            "[2001:db8::2]:443",
            "[2606:4700::1]",
            "bad..host",
        ];
        let methods = ["GET", "POST", "get", "PUT", "CONNECT", "connect"];
        let paths = [
            "/",
            "/exact",
            "/exact?x",
            "/v1/x",
            "/v1/admin/x",
            "/v1/admin.png",
            "/x.png",
            "/v1/x.png",
            "/x/admin",
            "/v1/admin",
            "/admin",
            "*",
            "/a/../b",
            "/%zz",
            "/%65xact",
            "/v1/%61dmin",
            "//v1/x",
            "/v1;x/y",
            "/v1/x;y.png",
            "/v1/x%2epng",
            "/v1//admin",
            "/%76%31/x.png",
        ];
        let principals = [
            "",
            "a/ns/pay/sa/api",
            "a/ns/pay/sa/web",
            "a/ns/pay-dev/sa/x",
            "a/ns/shop/sa/api",
            "b/ns/x-dev/sa/api",
            "b/ns/other/sa/x",
            "odd",
            "a/odd",
            "x/sa/api",
            "b",
        ];
        let mut dice = Dice(7);
        let mut differences = 0;
        for _ in 0..250 {
            let old = policy(&mut dice);
            let new = if dice.roll(2) == 0 {
                policy(&mut dice)
            } else {
                let mut new = old.clone();
                new["rules"] = policy(&mut dice)["rules"].clone();
                new
            };
            let ((_, before), (_, after)) = (read(&old), read(&new));
            let comparison = compared(&old, &new);
            assert!(comparison.undecided.is_empty(), "{old}\n{new}");
            let found: BTreeSet<_> = comparison
                .changes
                .iter()
                .map(|it| (it.kind, it.old.clone(), it.new.clone()))
                .collect();
            for _ in 0..400 {
                let principal = dice.one(&principals);
                let request = Request {
                    path: Some(dice.one(&paths).as_bytes()),
                    cluster_port: [
                        egress_warden::policy::ClusterPort::Unsaid,
                        egress_warden::policy::ClusterPort::Said(443),
                    ][dice.roll(2)],
                    principal: (!principal.is_empty()).then_some(principal),
                    server_name: [None, Some(&b"a.example.com"[..])][dice.roll(2)],
                    now: Some(Time::of_nanoseconds(
                        AT + u64::try_from(dice.roll(2)).unwrap() * 100_000_000_000_000_000,
                    )),
                    ..Request::new(dice.one(&authorities).as_bytes(), dice.one(&methods).as_bytes())
                };
                let (a, b) = (&before.policy, &after.policy);
                let decisions = ((a, a.decide(&request)), (b, b.decide(&request)));
                if let Some((kind, x, y)) = Kind::of(decisions.0, decisions.1) {
                    differences += 1;
                    let key = (kind, Judgement::new(x, a), Judgement::new(y, b));
                    assert!(found.contains(&key), "{request:?}\n{key:?}\n{old}\n{new}");
                }
            }
        }
        assert!(differences > 10_000, "{differences}");
    }

    #[test]
    fn the_same_policy_changes_nothing() {
        let mut dice = Dice(11);
        for _ in 0..50 {
            let policy = policy(&mut dice);
            assert_eq!(compared(&policy, &policy).changes, []);
        }
    }

    #[test]
    fn what_is_too_much_to_decide_is_said() {
        let sources: Vec<Value> = (0..40)
            .map(|number| json!({"principals": [format!("p{number}*"), format!("*s{number}")], "namespaces": [format!("n{number}")]}))
            .collect();
        let rule = |id: &str, hosts: Value| json!({"id": id, "action": "allow", "from": sources, "to": [{"hosts": hosts, "ports": [1, 2, 3], "methods": ["A", "B"], "paths": ["/a*", "/b*", "*c", "*d"]}]});
        let old = json!({"policy": "p", "rules": [rule("wide", json!(["a.example"])), {"id": "small", "action": "allow", "to": [{"hosts": ["b.example"]}]}]});
        let new = json!({"policy": "p", "rules": [rule("wide", json!(["a.example"]))]});
        let comparison = compared(&old, &new);
        let [undecided] = &comparison.undecided[..] else { panic!("{:?}", comparison.undecided) };
        assert_eq!(undecided.hosts, ["a.example"]);
        assert!(comparison.changes.iter().any(|it| it.hosts == ["b.example"]));
    }

    /// Two rules that know the same hosts are named by the more specific of their globs.
    #[test]
    fn hosts_whose_globs_are_of_another_order_are_told_apart() {
        let rule = |id: &str, hosts: &[&str]| json!({"id": id, "action": "allow", "to": [{"hosts": hosts}]});
        let of_two = rule("r0", &["a*.x.test", "qqq*.x.test"]);
        let new = json!({"policy": "p", "rules": [of_two]});
        let old = json!({"policy": "p", "rules": [of_two, rule("r1", &["*bc.x.test"])]});
        let comparison = compared(&old, &new);
        let told: Vec<_> = comparison.changes.iter().map(|it| (it.kind, &*it.hosts)).collect();
        assert_eq!(
            told,
            [
                (Kind::Closes, &["*bc.x.test".to_owned()][..]),
                (Kind::Renames, &["*bc.x.test and a*.x.test".to_owned()][..])
            ]
        );
    }

    #[test]
    fn hosts_that_fare_alike_are_compared_as_one() {
        let policy = |count: usize| {
            let hosts: Vec<String> = (0..count).map(|it| format!("h{it}.example.com")).collect();
            json!({"policy": "p", "rules": [{"id": "all", "action": "allow", "to": [{"hosts": hosts}]}]})
        };
        let comparison = compared(&policy(20_000), &policy(20_001));
        let [change] = &comparison.changes[..] else { panic!("{:?}", comparison.changes.len()) };
        assert_eq!(
            (change.kind, &*change.hosts),
            (Kind::Opens, &["h20000.example.com".to_owned()][..])
        );
    }
}
