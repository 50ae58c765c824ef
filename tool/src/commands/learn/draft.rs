//! From what was seen to rules: ordinary requests are grouped, the others are kept apart.

use super::appraisal::{self, Likeness, Oddity, Thresholds};
use super::patterns::{self, Target};
use super::sightings::{Port, Sighting, Sightings};
use crate::console::counted;
use crate::policy_text::{Ids, Mode, id_of};
use egress_warden::config;
use egress_warden::host::{Authority, Host};
use egress_warden::policy::{Action, ClusterPort, Policy, Request};
use serde::Serialize;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// How to group.
#[derive(Clone, Copy, Debug)]
pub(super) struct Settings {
    pub(super) thresholds: Thresholds,
    /// So many hosts become one pattern.
    pub(super) wildcard_from: usize,
}

/// A proposal.
#[derive(Debug)]
pub(super) struct Draft {
    pub(super) rules: Vec<Rule>,
    /// What no rule allows, by what is odd about it.
    pub(super) apart: Vec<Apart>,
    pub(super) summary: Summary,
}

/// One proposed rule.
#[derive(Debug)]
pub(super) struct Rule {
    pub(super) id: String,
    /// Empty: anyone.
    pub(super) from: Vec<Grant>,
    pub(super) hosts: Vec<String>,
    pub(super) ports: Vec<u16>,
    pub(super) seen: Sighting,
    pub(super) callers: Callers,
}

/// Callers that a rule lets through.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Grant {
    /// Every verified caller of a trust domain.
    Domain(String),
    /// Every caller of a namespace; with its trust domain where there are several.
    Namespace(Option<String>, String),
    Principal(String),
}

impl Grant {
    fn admits(&self, caller: Option<&str>) -> bool {
        let Some(caller) = caller else { return false };
        match (self, place_of(caller)) {
            (Self::Principal(principal), _) => principal == caller,
            (Self::Namespace(domain, namespace), Some(place)) => {
                place.1 == namespace && domain.as_deref().is_none_or(|domain| place.0 == domain)
            }
            (Self::Domain(domain), Some(place)) => place.0 == domain,
            _ => false,
        }
    }
}

/// A destination that no rule allows to these callers.
#[derive(Debug)]
pub(super) struct Apart {
    pub(super) oddity: Oddity,
    pub(super) host: String,
    /// Absent where authority and route name different ones.
    pub(super) port: Option<u16>,
    pub(super) is_connect: bool,
    /// `None`: not verified.
    pub(super) callers: Vec<Option<String>>,
    pub(super) seen: Sighting,
}

/// How many callers, counted in one place for every sentence that says it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct Callers {
    /// Those whose name is known, by distinct names.
    #[serde(rename = "callers")]
    verified: usize,
    /// Whether there are others, of whom nobody knows how many they are.
    #[serde(rename = "unverified_callers")]
    has_unverified: bool,
    /// The name, where it is a single one.
    #[serde(skip)]
    single: Option<String>,
}

impl Callers {
    /// Counts callers, of whom `None` are those who are not verified.
    pub(super) fn count<'a>(callers: impl Iterator<Item = Option<&'a str>>) -> Self {
        let distinct: BTreeSet<_> = callers.collect();
        let mut verified = distinct.iter().flatten();
        let single = verified.next().filter(|_| verified.next().is_none());
        Self {
            verified: distinct.iter().flatten().count(),
            has_unverified: distinct.contains(&None),
            single: single.map(|it| (*it).to_owned()),
        }
    }

    /// The name where there is no other caller, otherwise how many.
    pub(super) fn by_name(&self) -> String {
        match &self.single {
            Some(name) if !self.has_unverified => name.clone(),
            _ => self.to_string(),
        }
    }
}

impl fmt::Display for Callers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verified = counted(self.verified as u64, "caller");
        f.write_str(match (self.verified, self.has_unverified) {
            (0, _) => "callers who are not verified",
            (_, false) => return f.write_str(&verified),
            (_, true) => return write!(f, "{verified} and others who are not verified"),
        })
    }
}

/// How much was seen and how much of it is allowed.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct Summary {
    /// Requests out of the mesh, for a host. Those that the base lets through are among them, and
    /// their callers and hosts.
    pub(super) requests: u64,
    #[serde(flatten)]
    pub(super) callers: Callers,
    pub(super) hosts: usize,
    /// Distinct pairs of a caller and a host that the base does not let through.
    pub(super) pairs: usize,
    /// Of them, those that the rules allow.
    pub(super) allowed_pairs: usize,
    pub(super) rules: usize,
    /// Callers, hosts and ports that the rules list.
    pub(super) entries: usize,
}

/// What a log has seen of one caller at one destination.
#[derive(Debug)]
struct Seen<'a> {
    caller: Option<&'a str>,
    host: &'a str,
    port: Port,
    is_connect: bool,
    sighting: Sighting,
}

/// Who calls, and what is seen of each.
#[derive(Debug, Default)]
struct Use<'a>(BTreeMap<Option<&'a str>, Sighting>);

impl<'a> Use<'a> {
    fn add(&mut self, caller: Option<&'a str>, sighting: Sighting) {
        self.0.entry(caller).or_default().add(sighting);
    }

    fn add_all(&mut self, other: Self) {
        for (caller, sighting) in other.0 {
            self.add(caller, sighting);
        }
    }

    /// Its part that a grant lets through.
    fn of(&self, grant: &Grant) -> Self {
        let admitted = self.0.iter().filter(|(caller, _)| grant.admits(**caller));
        Self(admitted.map(|(caller, sighting)| (*caller, sighting.clone())).collect())
    }

    fn total(&self) -> Sighting {
        let mut total = Sighting::default();
        for sighting in self.0.values() {
            total.add(sighting.clone());
        }
        total
    }
}

impl Draft {
    /// `taken` are ids that no rule may have.
    pub(super) fn new(sightings: &Sightings, settings: Settings, mut taken: Ids) -> Self {
        let mut seen = seen(sightings);
        let fleet = Fleet::new(&seen);
        let likeness = Likeness::new(
            seen.iter().map(|it| (it.host, it.sighting.requests() + it.sighting.known)),
        );
        let mut summary = Summary::new(&seen);
        seen.retain(|it| it.sighting.requests() > 0);
        summary.pairs = seen.iter().map(|it| (it.caller, it.host)).collect::<BTreeSet<_>>().len();
        let (ordinary, odd) = appraise(&seen, &fleet, &likeness, settings.thresholds);
        let refused: Vec<&Seen<'_>> =
            odd.iter().filter(|(it, _)| *it == Oddity::Refused).map(|(_, it)| *it).collect();
        let rules = rules(ordinary, &fleet, &refused, settings, &mut taken);
        let policy = policy_of(&rules);
        let is_allowed = |it: &Seen<'_>| policy.as_ref().is_some_and(|policy| allows(policy, it));
        let allowed: BTreeSet<_> =
            seen.iter().filter(|it| is_allowed(it)).map(|it| (it.caller, it.host)).collect();
        summary.allowed_pairs = allowed.len();
        summary.rules = rules.len();
        summary.entries =
            rules.iter().map(|it| it.from.len() + it.hosts.len() + it.ports.len()).sum();
        let apart = apart(odd.into_iter().filter(|(_, it)| !is_allowed(it)));
        Self { rules, apart, summary }
    }

    /// The policy as the filter reads it.
    pub(super) fn policy(&self, name: &str, mode: Mode, notes: impl Fn(&Rule) -> String) -> Value {
        let rules: Vec<Value> = self.rules.iter().map(|rule| rule.json(&notes(rule))).collect();
        match mode {
            Mode::Enforce => json!({ "policy": name, "default": "deny", "rules": rules }),
            Mode::Monitor => {
                json!({ "policy": name, "mode": "monitor", "default": "deny", "rules": rules })
            }
        }
    }
}

impl Rule {
    fn json(&self, note: &str) -> Value {
        let mut rule = json!({
            "id": self.id,
            "action": "allow",
            "to": [{ "hosts": self.hosts, "ports": self.ports }],
            "note": note,
        });
        let from: Vec<Value> = self
            .entries_of_from()
            .into_iter()
            .map(|(key, values)| json!({ key: values }))
            .collect();
        if let (Some(object), false) = (rule.as_object_mut(), from.is_empty()) {
            object.insert("from".to_owned(), from.into());
        }
        rule
    }

    /// The entries of `from`: principals together, namespaces together.
    pub(super) fn entries_of_from(&self) -> Vec<(&'static str, Vec<String>)> {
        let (mut principals, mut namespaces) = (Vec::new(), Vec::new());
        for grant in &self.from {
            match grant {
                Grant::Domain(domain) => principals.push(format!("{domain}/*")),
                Grant::Namespace(None, namespace) => namespaces.push(namespace.clone()),
                Grant::Namespace(Some(domain), namespace) => {
                    principals.push(format!("{domain}/ns/{namespace}/*"));
                }
                Grant::Principal(principal) => principals.push(principal.clone()),
            }
        }
        let entries = [("namespaces", namespaces), ("principals", principals)];
        entries.into_iter().filter(|(_, values)| !values.is_empty()).collect()
    }
}

/// What was seen, in the order of destinations.
fn seen(sightings: &Sightings) -> Vec<Seen<'_>> {
    let seen = sightings.iter().map(|(caller, host, destination, sighting)| Seen {
        caller,
        host,
        port: destination.port,
        is_connect: destination.is_connect,
        sighting: sighting.clone(),
    });
    seen.collect()
}

impl Summary {
    fn new(seen: &[Seen<'_>]) -> Self {
        Self {
            requests: seen.iter().map(|it| it.sighting.requests() + it.sighting.known).sum(),
            callers: Callers::count(seen.iter().map(|it| it.caller)),
            hosts: seen.iter().map(|it| it.host).collect::<BTreeSet<_>>().len(),
            ..Self::default()
        }
    }
}

/// Everybody who was seen.
#[derive(Debug)]
struct Fleet<'a> {
    callers: BTreeSet<&'a str>,
    /// Callers by trust domain and namespace.
    namespaces: BTreeMap<(&'a str, &'a str), BTreeSet<&'a str>>,
    domains: BTreeSet<&'a str>,
}

/// Fewest callers of a namespace for a grant to all of it.
const MIN_OF_NAMESPACE: usize = 3;
/// Fewest namespaces for a grant to every verified caller.
const MIN_NAMESPACES: usize = 4;

impl<'a> Fleet<'a> {
    fn new(seen: &[Seen<'a>]) -> Self {
        let mut fleet = Self {
            callers: seen.iter().filter_map(|it| it.caller).collect(),
            namespaces: BTreeMap::new(),
            domains: BTreeSet::new(),
        };
        for caller in &fleet.callers {
            if let Some(place) = place_of(caller) {
                fleet.domains.insert(place.0);
                fleet.namespaces.entry(place).or_default().insert(caller);
            }
        }
        fleet
    }

    /// The fewest grants that let these callers through: all of a namespace where at least half of
    /// its callers are among them, every verified caller where four fifths of the namespaces are. No
    /// grant to many lets one through who was `refused`.
    fn grants(&self, used: &Use<'a>, refused: &BTreeSet<&str>) -> Vec<Grant> {
        let refused: BTreeSet<_> = refused.iter().filter_map(|caller| place_of(caller)).collect();
        if used.0.contains_key(&None) {
            return Vec::new();
        }
        let mut by_place: BTreeMap<_, BTreeSet<&str>> = BTreeMap::new();
        let mut grants = BTreeSet::new();
        for caller in used.0.keys().flatten() {
            match place_of(caller) {
                Some(place) => drop(by_place.entry(place).or_default().insert(caller)),
                None => drop(grants.insert(Grant::Principal((*caller).to_owned()))),
            }
        }
        let is_whole = |place: &(&str, &str), callers: &BTreeSet<&str>| {
            let all = self.namespaces.get(place).map_or(0, BTreeSet::len);
            callers.len() >= MIN_OF_NAMESPACE
                && callers.len() * 2 >= all
                && !refused.contains(place)
        };
        let whole: BTreeSet<_> = by_place
            .iter()
            .filter(|(place, callers)| is_whole(place, callers))
            .map(|(place, _)| *place)
            .collect();
        for domain in &self.domains {
            let of_domain = |places: usize| places >= MIN_NAMESPACES;
            let all = self.namespaces.keys().filter(|(it, _)| it == domain).count();
            let granted = whole.iter().filter(|(it, _)| it == domain).count();
            let is_refused = refused.iter().any(|(it, _)| it == domain);
            if of_domain(granted) && granted * 5 >= all * 4 && !is_refused {
                grants.insert(Grant::Domain((*domain).to_owned()));
                by_place.retain(|(it, _), _| it != domain);
            }
        }
        for (place, callers) in by_place {
            if whole.contains(&place) {
                let (domain, namespace) = place;
                let domain = (self.domains.len() > 1).then(|| domain.to_owned());
                grants.insert(Grant::Namespace(domain, namespace.to_owned()));
            } else {
                grants.extend(callers.into_iter().map(|it| Grant::Principal(it.to_owned())));
            }
        }
        grants.into_iter().collect()
    }
}

/// Trust domain and namespace of a principal in Istio's form.
fn place_of(principal: &str) -> Option<(&str, &str)> {
    match principal.split('/').collect::<Vec<_>>()[..] {
        [domain, "ns", namespace, "sa", account]
            if !domain.is_empty() && !namespace.is_empty() && !account.is_empty() =>
        {
            Some((domain, namespace))
        }
        _ => None,
    }
}

/// Parts what is ordinary from what is odd.
fn appraise<'a, 's>(
    seen: &'s [Seen<'a>],
    fleet: &Fleet<'_>,
    likeness: &Likeness<'_>,
    thresholds: Thresholds,
) -> (BTreeMap<Target<'a>, Use<'a>>, Vec<(Oddity, &'s Seen<'a>)>) {
    let odd_names = likeness.odd_names();
    let mut ordinary: BTreeMap<Target<'_>, Use<'_>> = BTreeMap::new();
    let mut odd = Vec::new();
    let same_destination = |a: &Seen<'_>, b: &Seen<'_>| {
        (a.host, a.port, a.is_connect) == (b.host, b.port, b.is_connect)
    };
    for group in seen.chunk_by(same_destination) {
        let Some(Seen { host, port, is_connect, .. }) = group.first() else { continue };
        let requests = group.iter().map(|it| it.sighting.requests()).sum();
        let of_group = appraisal::oddity(host, *port, *is_connect).or_else(|| {
            let like = odd_names.get(appraisal::registered(host)).copied();
            let like = like.or_else(|| likeness.inside(host, requests))?;
            Some(Oddity::Like(like.to_owned()))
        });
        let rarity = Rarity::of(group, fleet, thresholds);
        for it in group {
            let oddity =
                of_single(it, fleet).or_else(|| of_group.clone()).or_else(|| rarity.oddity(it));
            match (oddity, it.port) {
                (None, Port::Known(port)) => {
                    let entry = ordinary.entry((it.host, port)).or_default();
                    entry.add(it.caller, it.sighting.clone());
                }
                (oddity, _) => odd.push((oddity.unwrap_or(Oddity::PortInConflict), it)),
            }
        }
    }
    (ordinary, odd)
}

/// What is odd about one caller's requests.
fn of_single(seen: &Seen<'_>, fleet: &Fleet<'_>) -> Option<Oddity> {
    let Sighting { passed, refused, unsaid, undated, denied, .. } = seen.sighting;
    if denied > 0 {
        return Some(Oddity::DeniedByBase);
    }
    if passed + undated == 0 && refused > 0 {
        return Some(Oddity::Refused);
    }
    if passed + undated == 0 && unsaid > 0 {
        return Some(Oddity::EndingUnsaid);
    }
    let of_caller = match seen.caller {
        None => (!fleet.callers.is_empty()).then_some(Oddity::NobodyVerified),
        Some(caller) => caller.contains('*').then_some(Oddity::UnlistableCaller),
    };
    of_caller.or((passed == 0 && undated > 0).then_some(Oddity::Undated))
}

/// How seldom a destination is seen, in all and by the namespaces that use it.
struct Rarity<'a> {
    is_rare: bool,
    /// Namespaces that use it seldom while others use it often.
    rare_places: BTreeSet<&'a str>,
}

impl<'a> Rarity<'a> {
    fn of(group: &[Seen<'a>], fleet: &Fleet<'_>, thresholds: Thresholds) -> Self {
        let mut all = Sighting::default();
        let mut by_place: BTreeMap<&str, u64> = BTreeMap::new();
        for it in group.iter().filter(|it| of_single(it, fleet).is_none()) {
            all.add(it.sighting.clone());
            *by_place.entry(place_name(it.caller)).or_default() += it.sighting.passed;
        }
        let dated = group.iter().filter(|it| it.sighting.has_dated()).count();
        let is_alone = dated <= 1 && !fleet.callers.is_empty();
        let least = thresholds.requests.saturating_mul(if is_alone { thresholds.alone } else { 1 });
        let is_frequent = |passed: &u64| *passed >= thresholds.requests;
        let has_frequent = by_place.values().any(is_frequent);
        let rare = by_place.iter().filter(|(_, passed)| has_frequent && !is_frequent(passed));
        Self {
            is_rare: all.passed < least || all.hours.len() < thresholds.hours,
            rare_places: rare.map(|(place, _)| *place).collect(),
        }
    }

    fn oddity(&self, seen: &Seen<'_>) -> Option<Oddity> {
        let is_rare = self.is_rare || self.rare_places.contains(place_name(seen.caller));
        let oddity = if seen.sighting.undated > 0 { Oddity::Undated } else { Oddity::Rare };
        is_rare.then_some(oddity)
    }
}

/// The part of a principal up to its namespace; the whole where it has none.
fn place_name(caller: Option<&str>) -> &str {
    let caller = caller.unwrap_or_default();
    match place_of(caller) {
        Some((domain, namespace)) => {
            caller.get(..domain.len() + "/ns/".len() + namespace.len()).unwrap_or(caller)
        }
        None => caller,
    }
}

/// Puts hosts under patterns, callers into grants, and what has the same of both into a rule.
fn rules<'a>(
    ordinary: BTreeMap<Target<'a>, Use<'a>>,
    fleet: &Fleet<'a>,
    refused: &[&Seen<'a>],
    settings: Settings,
    ids: &mut Ids,
) -> Vec<Rule> {
    let mut by_pattern: BTreeMap<(String, u16), Use<'_>> = BTreeMap::new();
    let targets: Vec<Target<'_>> = ordinary.keys().copied().collect();
    let refused_hosts = refused.iter().map(|it| it.host).collect();
    let patterns = patterns::of(&targets, &refused_hosts, settings.wildcard_from);
    let refused = Refusals::new(refused);
    for ((host, port), used) in ordinary {
        let pattern = patterns.get(&(host, port)).cloned().unwrap_or_else(|| host.to_owned());
        by_pattern.entry((pattern, port)).or_default().add_all(used);
    }
    // The ports of one pattern that the same callers use belong together.
    let mut by_grants: BTreeMap<(String, Vec<Grant>), (BTreeSet<u16>, Use<'_>)> = BTreeMap::new();
    for ((pattern, port), used) in by_pattern {
        let grants = fleet.grants(&used, &refused.callers(&pattern, port));
        let (ports, all) = by_grants.entry((pattern, grants)).or_default();
        ports.insert(port);
        all.add_all(used);
    }
    let mut drafts = Drafts::new();
    for ((pattern, grants), (ports, used)) in by_grants {
        let (patterns, all) = drafts.entry((grants, ports)).or_default();
        patterns.push(pattern);
        all.add_all(used);
    }
    let drafts = spread(drafts);
    drafts
        .into_iter()
        .map(|((from, ports), (hosts, used))| {
            let id = ids.free(&name_of(&from));
            Rule {
                id,
                from,
                hosts: patterns::with_trees(hosts),
                ports: ports.into_iter().collect(),
                seen: used.total(),
                callers: Callers::count(used.0.keys().copied()),
            }
        })
        .collect()
}

/// Callers that were refused, by host and port.
#[derive(Debug)]
struct Refusals<'a>(BTreeMap<(&'a str, Port), BTreeSet<&'a str>>);

impl<'a> Refusals<'a> {
    fn new(refused: &[&Seen<'a>]) -> Self {
        let mut by_target: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
        for it in refused {
            by_target.entry((it.host, it.port)).or_default().extend(it.caller);
        }
        Self(by_target)
    }

    /// Callers that were refused at a host. A refusal whose port is unknown counts for every port. No
    /// pattern stands over a host that was refused.
    fn callers(&self, host: &str, port: u16) -> BTreeSet<&'a str> {
        let ports = [Port::Known(port), Port::Unsaid, Port::Conflict];
        ports.iter().filter_map(|port| self.0.get(&(host, *port))).flatten().copied().collect()
    }
}

/// Rules under construction: by callers and ports, hosts and what was seen of them.
type Drafts<'a> = BTreeMap<(Vec<Grant>, BTreeSet<u16>), (Vec<String>, Use<'a>)>;

/// Most callers' rules that a rule of few hosts is spread over.
const SPREAD_OVER: usize = 3;
/// Most hosts of a rule that is spread.
const SPREAD_HOSTS: usize = 2;

/// A rule of few hosts and few callers needs no rule of its own where each of the callers has one.
fn spread(mut drafts: Drafts<'_>) -> Drafts<'_> {
    let small: Vec<_> = drafts
        .iter()
        .filter(|((grants, ports), (hosts, _))| {
            (2..=SPREAD_OVER).contains(&grants.len())
                && hosts.len() <= SPREAD_HOSTS
                && grants
                    .iter()
                    .all(|grant| drafts.contains_key(&(vec![grant.clone()], ports.clone())))
        })
        .map(|(key, _)| key.clone())
        .collect();
    for key in small {
        let Some((hosts, used)) = drafts.remove(&key) else { continue };
        let (grants, ports) = key;
        for grant in grants {
            let of_grant = used.of(&grant);
            let (all_hosts, all) = drafts.entry((vec![grant], ports.clone())).or_default();
            all_hosts.extend(hosts.iter().cloned());
            all_hosts.sort();
            all.add_all(of_grant);
        }
    }
    drafts
}

/// A name for a rule, after its callers.
fn name_of(from: &[Grant]) -> String {
    let word = |grant: &Grant| match grant {
        Grant::Domain(_) => "everyone".to_owned(),
        Grant::Namespace(_, namespace) => namespace.clone(),
        Grant::Principal(principal) => match principal.split('/').collect::<Vec<_>>()[..] {
            [_, "ns", namespace, "sa", account] => format!("{namespace}-{account}"),
            _ => principal.clone(),
        },
    };
    let name = match from {
        [] => "anyone".to_owned(),
        [one] => word(one),
        [one, other] => format!("{}-and-{}", word(one), word(other)),
        [one, others @ ..] => format!("{}-and-{}-more", word(one), others.len()),
    };
    id_of(&name)
}

/// The rules at work.
fn policy_of(rules: &[Rule]) -> Option<Policy> {
    let rules: Vec<Value> = rules.iter().map(|rule| rule.json("")).collect();
    let text = json!({ "policy": "learnt", "default": "deny", "rules": rules }).to_string();
    config::read(text.as_bytes()).ok().map(|config| config.policy)
}

/// Whether a policy allows what was seen.
fn allows(policy: &Policy, seen: &Seen<'_>) -> bool {
    let Ok(host) = Host::parse(seen.host.as_bytes()) else { return false };
    let port = match seen.port {
        Port::Known(port) => Some(port),
        Port::Unsaid | Port::Conflict => None,
    };
    let request = Request {
        authority: Ok(Authority { host, port }),
        cluster_port: match seen.port {
            Port::Conflict => ClusterPort::Unknown,
            Port::Known(_) | Port::Unsaid => ClusterPort::Unsaid,
        },
        principal: seen.caller,
        path: Some(b"/"),
        ..Request::new(b"", if seen.is_connect { b"CONNECT" } else { b"GET" })
    };
    policy.decide(&request).verdict.action == Action::Allow
}

/// What is odd, with the callers of one destination together.
fn apart<'s, 'a: 's>(odd: impl Iterator<Item = (Oddity, &'s Seen<'a>)>) -> Vec<Apart> {
    let mut apart: BTreeMap<_, (Vec<Option<String>>, Sighting)> = BTreeMap::new();
    for (oddity, it) in odd {
        let (callers, seen) = apart.entry((oddity, it.host, it.port, it.is_connect)).or_default();
        callers.push(it.caller.map(str::to_owned));
        seen.add(it.sighting.clone());
    }
    apart
        .into_iter()
        .map(|((oddity, host, port, is_connect), (callers, seen))| Apart {
            oddity,
            host: host.to_owned(),
            port: match port {
                Port::Known(port) => Some(port),
                Port::Unsaid | Port::Conflict => None,
            },
            is_connect,
            callers,
            seen,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::learn::sightings;
    use crate::logs::Choice;
    use egress_warden::root_id::Connections;
    use serde_json::json;
    use std::fmt::Write;

    /// Requests of one caller: namespace and account, host, port, how many.
    type Calls<'a> = (&'a str, &'a str, u16, usize);

    fn log_of(calls: &[Calls<'_>]) -> String {
        let mut log = String::new();
        for (caller, host, port, count) in calls {
            for _ in 0..*count {
                let (status, host) = match host.strip_prefix("REFUSED ") {
                    Some(host) => (403, host),
                    None => (200, *host),
                };
                let details = if status == 403 { "ext_authz_denied" } else { "via_upstream" };
                let (method, authority) = match host.strip_prefix("CONNECT ") {
                    Some(host) => ("CONNECT", format!("{host}:{port}")),
                    None => ("GET", host.to_owned()),
                };
                let principal = caller
                    .split_once('/')
                    .map(|(namespace, account)| format!("spiffe://td/ns/{namespace}/sa/{account}"));
                let line = json!({
                    "authority": authority, "method": method, "path": "/", "response_code": status,
                    "response_code_details": details,
                    "start_time": "2026-11-25T00:00:00Z", "source_principal": principal,
                    "upstream_cluster": match port {
                        0 => "external".to_owned(),
                        port => format!("outbound|{port}||{host}"),
                    },
                });
                writeln!(log, "{line}").unwrap();
            }
        }
        log
    }

    fn draft_of(calls: &[Calls<'_>]) -> Draft {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        std::fs::write(&path, log_of(calls)).unwrap();
        let (sightings, _) =
            sightings::read(&[path], &Choice::default(), Connections::default(), None, false)
                .unwrap();
        let thresholds = Thresholds { requests: 10, alone: 5, hours: 0 };
        let settings = Settings { thresholds, wildcard_from: 5 };
        Draft::new(&sightings, settings, Ids::default())
    }

    /// Callers, hosts and ports of each rule.
    fn rules_of(draft: &Draft) -> Vec<(Vec<String>, Vec<String>, Vec<u16>)> {
        let rule = |rule: &Rule| {
            let from = rule.entries_of_from().into_iter().flat_map(|(_, values)| values);
            (from.collect(), rule.hosts.clone(), rule.ports.clone())
        };
        draft.rules.iter().map(rule).collect()
    }

    fn apart_of(draft: &Draft) -> Vec<(&str, &str)> {
        draft.apart.iter().map(|it| (it.oddity.as_str(), &*it.host)).collect()
    }

    fn texts(of: &[&str]) -> Vec<String> {
        of.iter().map(|it| (*it).to_owned()).collect()
    }

    #[test]
    fn a_namespace_is_named_where_half_of_it_and_three_callers_use_a_host() {
        let draft = draft_of(&[
            ("shop/a", "api.one.com", 443, 10),
            ("shop/b", "api.one.com", 443, 10),
            ("shop/c", "api.one.com", 443, 10),
            ("shop/a", "api.two.com", 443, 10),
            ("shop/b", "api.two.com", 443, 10),
            ("shop/d", "api.three.com", 443, 50),
        ]);
        let principals = texts(&["td/ns/shop/sa/a", "td/ns/shop/sa/b"]);
        assert_eq!(
            rules_of(&draft),
            [
                (texts(&["shop"]), texts(&["api.one.com"]), vec![443]),
                (principals, texts(&["api.two.com"]), vec![443]),
                (texts(&["td/ns/shop/sa/d"]), texts(&["api.three.com"]), vec![443]),
            ]
        );
        assert_eq!(draft.summary.allowed_pairs, 6);
    }

    #[test]
    fn a_wildcard_stands_over_enough_hosts_and_never_over_a_public_suffix() {
        let hosts = |parent: &str, count: usize| -> Vec<String> {
            (0..count).map(|it| format!("tenant{it}.{parent}")).collect()
        };
        let all = [
            hosts("vendor.com", 5),
            hosts("few.com", 4),
            hosts("github.io", 6),
            hosts("amazonaws.com", 6),
            hosts("eu-west-1.amazonaws.com", 6),
            hosts("westeurope.cloudapp.azure.com", 6),
            hosts("eu.deep.co.uk", 5),
            hosts("unknown.corp", 6),
        ]
        .concat();
        let calls: Vec<Calls<'_>> = all.iter().map(|host| ("shop/a", &**host, 443, 50)).collect();
        let draft = draft_of(&calls);
        let [(_, patterns, _)] = &rules_of(&draft)[..] else { panic!("{draft:?}") };
        let wildcards: Vec<_> = patterns.iter().filter(|it| it.starts_with('*')).collect();
        assert_eq!(wildcards, ["*.eu.deep.co.uk", "*.vendor.com"]);
        assert_eq!(patterns.len(), 2 + 4 + 6 + 6 + 3 * 6);
    }

    #[test]
    fn what_is_rare_in_one_namespace_is_apart_where_others_use_it_often() {
        let draft = draft_of(&[
            ("pay/a", "api.one.com", 443, 30),
            ("pay/b", "api.one.com", 443, 30),
            ("web/x", "api.one.com", 443, 2),
            ("web/x", "api.one.com", 22, 2),
        ]);
        assert_eq!(apart_of(&draft), [("rare", "api.one.com"), ("rare", "api.one.com")]);
        let [(from, ..)] = &rules_of(&draft)[..] else { panic!("{draft:?}") };
        assert_eq!(*from, texts(&["td/ns/pay/sa/a", "td/ns/pay/sa/b"]));
    }

    #[test]
    fn a_lone_caller_must_call_more_often() {
        let draft =
            draft_of(&[("pay/a", "api.one.com", 443, 49), ("pay/a", "api.two.com", 443, 50)]);
        assert_eq!(apart_of(&draft), [("rare", "api.one.com")]);
    }

    #[test]
    fn odd_destinations_are_apart_however_often_they_are_seen() {
        let draft = draft_of(&[
            ("web/x", "169.254.169.254", 80, 500),
            ("web/x", "localhost", 80, 500),
            ("web/x", "CONNECT proxy.one.com", 443, 500),
            ("web/x", "xn--bcher-kva.com", 443, 500),
            ("web/x", "redis", 443, 500),
            ("nobody", "api.one.com", 443, 500),
        ]);
        assert_eq!(rules_of(&draft), []);
        assert_eq!(
            apart_of(&draft),
            [
                ("special_name", "localhost"),
                ("address", "169.254.169.254"),
                ("punycode", "xn--bcher-kva.com"),
                ("one_label", "redis"),
                ("connect", "proxy.one.com"),
                ("not_verified", "api.one.com"),
            ]
        );
    }

    #[test]
    fn a_log_without_callers_leads_to_rules_for_anyone() {
        let draft =
            draft_of(&[("nobody", "api.one.com", 443, 10), ("nobody", "api.two.com", 443, 10)]);
        let hosts = texts(&["api.one.com", "api.two.com"]);
        assert_eq!(rules_of(&draft), [(Vec::new(), hosts, vec![443])]);
        assert_eq!(draft.summary.allowed_pairs, 2);
        assert_eq!(draft.summary.callers.to_string(), "callers who are not verified");
    }

    #[test]
    fn no_wildcard_and_no_namespace_lets_through_what_was_refused() {
        let hosts: Vec<String> = (0..6).map(|it| format!("tenant{it}.vendor.com")).collect();
        let mut calls: Vec<Calls<'_>> =
            hosts.iter().map(|host| ("web/x", &**host, 443, 50)).collect();
        calls.extend(["shop/a", "shop/b", "shop/c"].map(|it| (it, "api.one.com", 443, 10)));
        let is_many = |draft: &Draft| {
            let rules = rules_of(draft);
            let has = |it: &str| {
                rules.iter().any(|(from, hosts, _)| from.iter().chain(hosts).any(|text| text == it))
            };
            (has("*.vendor.com"), has("shop"))
        };
        assert_eq!(is_many(&draft_of(&calls)), (true, true));
        calls.push(("web/x", "REFUSED evil.vendor.com", 443, 1));
        calls.push(("shop/d", "REFUSED api.one.com", 443, 1));
        let draft = draft_of(&calls);
        assert_eq!(is_many(&draft), (false, false));
        assert_eq!(apart_of(&draft), [("refused", "api.one.com"), ("refused", "evil.vendor.com")]);
    }

    #[test]
    fn a_port_that_the_log_does_not_say_is_left_open() {
        let draft = draft_of(&[("pay/a", "api.one.com", 443, 50), ("pay/b", "api.two.com", 0, 50)]);
        assert_eq!(apart_of(&draft), [("port_unsaid", "api.two.com")]);
        let [(_, hosts, _)] = &rules_of(&draft)[..] else { panic!("{draft:?}") };
        assert_eq!(*hosts, texts(&["api.one.com"]));
    }

    #[test]
    fn every_verified_caller_is_named_where_most_namespaces_use_a_host() {
        let calls: Vec<(String, &str, u16, usize)> = (0..5)
            .flat_map(|namespace| (0..3).map(move |account| format!("n{namespace}/s{account}")))
            .map(|caller| (caller, "api.one.com", 443, 10))
            .collect();
        let calls: Vec<Calls<'_>> = calls.iter().map(|(a, b, c, d)| (&**a, *b, *c, *d)).collect();
        let rules = rules_of(&draft_of(&calls));
        assert_eq!(rules, [(texts(&["td/*"]), texts(&["api.one.com"]), vec![443])]);
    }
}
