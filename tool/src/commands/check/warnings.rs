//! What a policy says and nobody is likely to mean.

use super::warning::{Contradiction, Warning};
use super::{Surroundings, names};
use crate::cover::{Pattern, covers_callers, covers_destinations, excludes_itself};
use crate::diagnostics::{Diagnostic, fix};
use crate::policy_file::{
    Callers, Destinations, List, Member, Node, PolicyFile, RuleSource, Source, path_of, place_of,
};
use egress_warden::config::{Item, Listed};
use egress_warden::host::{Host, HostPattern};
use egress_warden::policy::{Action, Mode, Only, TextPattern, namespace_of};
use std::borrow::Cow;
use std::collections::hash_map::{DefaultHasher, Entry};
use std::collections::{BTreeSet, HashMap};
use std::hash::{Hash, Hasher};
use std::time::{Duration, SystemTime};

/// How long before its end a rule is worth a word.
const SOON: Duration = Duration::from_secs(14 * 24 * 60 * 60);

/// Every warning about a policy without errors.
pub(super) fn of(file: &PolicyFile, surroundings: Surroundings) -> Vec<Diagnostic> {
    let Some(policy) = file.source() else { return Vec::new() };
    let denials = Denials::of(&policy);
    let mut survey = Survey { file, reports: Vec::new() };
    let domains = trust_domains(&policy);
    let mut said: HashMap<u64, &RuleSource<'_>> = HashMap::new();
    for rule in &policy.rules {
        survey.never_counts(&policy, rule);
        survey.never_matches(rule);
        survey.end(rule, surroundings);
        survey.repeated(rule, &mut said);
        survey.equal_items(rule);
        survey.callers(rule, &domains, surroundings);
        survey.unseen(rule, surroundings);
        match rule.action {
            Action::Allow => {
                survey.always_denied(rule, &denials);
                survey.ports(rule, surroundings);
            }
            Action::Deny => survey.open_apex(&policy, rule, &denials),
        }
    }
    survey.reports.extend(names::of(&policy));
    survey.reports
}

struct Survey<'f> {
    file: &'f PolicyFile,
    reports: Vec<Diagnostic>,
}

impl Survey<'_> {
    fn warn(&mut self, place: (String, &Node), warning: Warning) {
        self.reports.push(Diagnostic::warning(warning.word(), place, warning));
    }

    fn never_counts(&mut self, policy: &Source<'_>, rule: &RuleSource<'_>) {
        if policy.settings.mode == Mode::Monitor && rule.only == Some(Only::Now) {
            self.warn((path_of(rule), place_of(rule)), Warning::NowInMonitor);
        }
    }

    fn never_matches(&mut self, rule: &RuleSource<'_>) {
        let to: Vec<_> =
            rule.to.iter().map(|it| (it.node, no_destination(it, rule.action))).collect();
        let from: Vec<_> =
            rule.from.iter().map(|it| (it.node, no_caller(it, rule.action))).collect();
        for (key, entries) in [("to", to), ("from", from)] {
            let is_whole_rule = !entries.is_empty() && entries.iter().all(|(_, why)| why.is_some());
            for (index, (node, why)) in entries.into_iter().enumerate() {
                let Some(why) = why else { continue };
                let place = (format!("{}.{key}[{index}]", path_of(rule)), node);
                self.warn(place, Warning::NeverMatches { is_whole_rule, why });
            }
        }
    }

    fn end(&mut self, rule: &RuleSource<'_>, surroundings: Surroundings) {
        let (Some(until), Some(node)) = (rule.until, rule.node.get("until")) else { return };
        let place = || (format!("{}.until", path_of(rule)), node);
        match surroundings.at.until(SystemTime::UNIX_EPOCH + Duration::from_nanos(until)) {
            None => self.warn(place(), Warning::Ended),
            Some(left) if left <= SOON => {
                let days = left.as_secs().div_ceil(24 * 60 * 60);
                self.warn(place(), Warning::EndsWithin { days });
            }
            Some(_) => {}
        }
        if rule.action == Action::Deny {
            self.warn(place(), Warning::DenyEnds);
        }
    }

    fn repeated<'p>(
        &mut self,
        rule: &'p RuleSource<'p>,
        said: &mut HashMap<u64, &'p RuleSource<'p>>,
    ) {
        match said.entry(fingerprint(rule)) {
            Entry::Vacant(entry) => {
                entry.insert(rule);
            }
            Entry::Occupied(entry) if meaning(entry.get()) == meaning(rule) => {
                let id = entry.get().id.to_owned();
                self.warn((path_of(rule), place_of(rule)), Warning::SameRule { id });
            }
            Entry::Occupied(_) => {}
        }
    }

    /// Items that stand twice in one list.
    fn equal_items(&mut self, rule: &RuleSource<'_>) {
        let to = rule.to.iter().map(|entry| entry.node).enumerate();
        let from = rule.from.iter().map(|entry| entry.node).enumerate();
        let entries = to.map(|entry| ("to", entry)).chain(from.map(|entry| ("from", entry)));
        for (key, (index, entry)) in entries {
            for member in entry.members() {
                let path = format!("{}.{key}[{index}].{}", path_of(rule), member.key);
                self.equal_items_of_list(&path, member);
            }
        }
    }

    fn equal_items_of_list(&mut self, path: &str, list: &Member) {
        let is_host = matches!(&*list.key, "hosts" | "notHosts");
        let mut seen = HashMap::new();
        let mut before: Option<&Node> = None;
        for (index, item) in list.value.items().iter().enumerate() {
            let shown = item.text().map_or_else(|| Cow::Owned(item.to_json()), Cow::Borrowed);
            if let Some(first) = seen.insert(shown, index) {
                let warning = Warning::EqualItem { is_host, item: item.to_json(), first };
                let place = (format!("{path}[{index}]"), item);
                let edit = before.and_then(|before| fix::removal(self.file, before, item));
                let report = Diagnostic::warning(warning.word(), place, warning);
                self.reports.push(Diagnostic { edit, ..report });
            }
            before = Some(item);
        }
    }

    fn callers(
        &mut self,
        rule: &RuleSource<'_>,
        domains: &BTreeSet<&str>,
        surroundings: Surroundings,
    ) {
        for (index, entry) in rule.from.iter().enumerate() {
            let place = || (format!("{}.from[{index}]", path_of(rule)), entry.node);
            if !surroundings.has_mutual_tls {
                self.warn(place(), Warning::NoMutualTls(rule.action));
            }
            let names_namespaces = entry.namespaces.is_some() || entry.not_namespaces.is_some();
            if domains.len() > 1 && names_namespaces && entry.principals.is_none() {
                let domains = domains.iter().map(|&domain| domain.to_owned()).collect();
                self.warn(place(), Warning::Namespaces { domains });
            }
        }
    }

    fn always_denied(&mut self, rule: &RuleSource<'_>, denials: &Denials<'_>) {
        let mut denied = Vec::new();
        let mut count = 0_usize;
        let mut ask = |entry: Option<&Destinations<'_>>, host, place| {
            count = count.saturating_add(1);
            denied.extend(denials.covering(rule, entry, host).map(|by| (place, by)));
        };
        if rule.to.is_empty() {
            ask(None, None, (path_of(rule), place_of(rule)));
        }
        for (index, entry) in rule.to.iter().enumerate() {
            let path = format!("{}.to[{index}]", path_of(rule));
            let Some(hosts) = &entry.hosts else {
                ask(Some(entry), None, (path, entry.node));
                continue;
            };
            for (position, Item { pattern, node }) in hosts.iter().enumerate() {
                ask(Some(entry), Some(pattern), (format!("{path}.hosts[{position}]"), node));
            }
        }
        if let [(_, (_, by)), ..] = denied.as_slice()
            && denied.len() == count
        {
            let and_others = denied.iter().any(|(_, (_, other))| other != by);
            let by = (*by).to_owned();
            let warning = Warning::RuleDenied { by, and_others };
            self.warn((path_of(rule), place_of(rule)), warning);
            return;
        }
        for (place, (_, by)) in denied {
            self.warn(place, Warning::EntryDenied { by: by.to_owned() });
        }
    }

    fn ports(&mut self, rule: &RuleSource<'_>, surroundings: Surroundings) {
        if !surroundings.is_dynamic_forward_proxy {
            return;
        }
        if rule.to.is_empty() {
            self.warn((path_of(rule), place_of(rule)), Warning::AnyPort);
        }
        for (index, entry) in rule.to.iter().enumerate() {
            if entry.ports.is_none() {
                let place = (format!("{}.to[{index}]", path_of(rule)), entry.node);
                self.warn(place, Warning::AnyPort);
            }
        }
    }

    fn unseen(&mut self, rule: &RuleSource<'_>, surroundings: Surroundings) {
        if !surroundings.judges_connections {
            return;
        }
        for (index, entry) in rule.to.iter().enumerate() {
            let Destinations { methods, not_methods, paths, not_paths, .. } = entry;
            if methods.is_some() || not_methods.is_some() || paths.is_some() || not_paths.is_some()
            {
                let place = (format!("{}.to[{index}]", path_of(rule)), entry.node);
                self.warn(place, Warning::Unseen(rule.action));
            }
        }
    }

    fn open_apex(&mut self, policy: &Source<'_>, rule: &RuleSource<'_>, denials: &Denials<'_>) {
        for (index, entry) in rule.to.iter().enumerate() {
            let hosts = entry.hosts.iter().flat_map(Listed::iter);
            for (position, Item { pattern, node }) in hosts.enumerate() {
                let HostPattern::Under(apex) = pattern else { continue };
                let name = HostPattern::Name(apex);
                if denials.speak_of(&name) || !is_open(policy, &name) {
                    continue;
                }
                let path = format!("{}.to[{index}].hosts[{position}]", path_of(rule));
                self.warn((path, node), Warning::OpenApex { apex: apex.to_owned() });
            }
        }
    }
}

/// Why no request matches an entry of `to`. What is unknown matches a deny, whatever contradicts itself
/// beside the host.
fn no_destination(entry: &Destinations<'_>, action: Action) -> Option<Contradiction> {
    if excludes_itself(&entry.hosts, &entry.not_hosts) {
        return Some(Contradiction::Not("notHosts"));
    }
    if action == Action::Deny {
        return None;
    }
    if excludes_itself(&entry.ports, &entry.not_ports) {
        return Some(Contradiction::Not("notPorts"));
    }
    if excludes_itself(&entry.methods, &entry.not_methods) {
        return Some(Contradiction::Not("notMethods"));
    }
    if excludes_itself(&entry.paths, &entry.not_paths) {
        return Some(Contradiction::Not("notPaths"));
    }
    let is_special =
        |host: &HostPattern<'_>| matches!(host, HostPattern::Under(apex) if is_special_under(apex));
    let hosts = entry.hosts.as_ref()?.patterns();
    hosts.iter().all(is_special).then_some(Contradiction::SpecialNames)
}

/// Why no request matches an entry of `from`.
fn no_caller(entry: &Callers<'_>, action: Action) -> Option<Contradiction> {
    if action == Action::Deny {
        return None;
    }
    if excludes_itself(&entry.principals, &entry.not_principals) {
        return Some(Contradiction::Not("notPrincipals"));
    }
    if excludes_itself(&entry.namespaces, &entry.not_namespaces) {
        return Some(Contradiction::Not("notNamespaces"));
    }
    let namespaces = entry.namespaces.as_ref()?.patterns();
    let is_elsewhere = |principal: &TextPattern<'_>| {
        let TextPattern::Exact(id) = principal else { return false };
        let namespace = namespace_of(id).map(TextPattern::Exact);
        namespace.is_none_or(|namespace| !namespaces.iter().any(|listed| listed.covers(&namespace)))
    };
    let mut principals = entry.principals.as_ref()?.patterns().iter();
    principals.all(is_elsewhere).then_some(Contradiction::OtherNamespaces)
}

/// The entries of deny rules, found by the hosts that they list.
struct Denials<'p> {
    by_name: HashMap<&'p str, Vec<Denial<'p>>>,
    by_apex: HashMap<&'p str, Vec<Denial<'p>>>,
    /// Those with addresses, and those without hosts.
    others: Vec<Denial<'p>>,
}

#[derive(Clone, Copy)]
struct Denial<'p> {
    rule: &'p RuleSource<'p>,
    /// Absent where the rule has no `to`.
    entry: Option<&'p Destinations<'p>>,
}

impl<'p> Denials<'p> {
    fn of(policy: &'p Source<'p>) -> Self {
        let mut denials =
            Self { by_name: HashMap::new(), by_apex: HashMap::new(), others: Vec::new() };
        for rule in policy.rules.iter().filter(|rule| rule.action == Action::Deny) {
            if rule.to.is_empty() {
                denials.others.push(Denial { rule, entry: None });
            }
            for entry in &rule.to {
                let denial = Denial { rule, entry: Some(entry) };
                let Some(hosts) = &entry.hosts else {
                    denials.others.push(denial);
                    continue;
                };
                let mut has_addresses = false;
                for pattern in hosts.patterns() {
                    match *pattern {
                        HostPattern::Name(name) => {
                            denials.by_name.entry(name).or_default().push(denial);
                        }
                        HostPattern::Under(apex) => {
                            denials.by_apex.entry(apex).or_default().push(denial);
                        }
                        HostPattern::Address(_) | HostPattern::Block(_) => has_addresses = true,
                    }
                }
                if has_addresses {
                    denials.others.push(denial);
                }
            }
        }
        denials
    }

    /// The id of a deny rule that matches whatever this host of an allow rule's entry matches.
    fn covering(
        &self,
        rule: &RuleSource<'_>,
        entry: Option<&Destinations<'_>>,
        host: Option<HostPattern<'_>>,
    ) -> Option<(usize, &'p str)> {
        self.candidates(host.as_ref())
            .find(|denial| {
                let by = denial.rule;
                let counts_wherever = by.only.is_none() || by.only == rule.only;
                let lasts = by.until.is_none()
                    || matches!((by.until, rule.until), (Some(deny), Some(allow)) if allow <= deny);
                let has_callers = by.from.is_empty()
                    || !rule.from.is_empty()
                        && rule
                            .from
                            .iter()
                            .all(|from| by.from.iter().any(|by| covers_callers(by, from)));
                let has_destination = denial.entry.is_none_or(|by| {
                    entry.is_some_and(|entry| covers_destinations(by, entry, host))
                });
                counts_wherever && lasts && has_callers && has_destination
            })
            .map(|denial| (denial.rule.index, denial.rule.id))
    }

    /// Whether a deny rule lists a host, whatever else it asks.
    fn speak_of(&self, host: &HostPattern<'_>) -> bool {
        let lists = |denial: &Denial<'_>| {
            denial
                .entry
                .and_then(|entry| entry.hosts.as_ref())
                .is_none_or(|hosts| hosts.patterns().iter().any(|listed| listed.covers(host)))
        };
        self.candidates(Some(host)).any(|denial| lists(&denial))
    }

    fn candidates<'s>(
        &'s self,
        host: Option<&HostPattern<'s>>,
    ) -> impl Iterator<Item = Denial<'p>> + use<'s, 'p> {
        let (name, apex) = match host {
            Some(HostPattern::Name(name)) => (Some(*name), None),
            Some(HostPattern::Under(apex)) => (None, Some(*apex)),
            _ => (None, None),
        };
        let of_name = name.and_then(|name| self.by_name.get(name));
        let longest = apex.or_else(|| name.and_then(parent));
        let apexes = std::iter::successors(longest, |apex| parent(apex));
        let of_apexes = apexes.filter_map(|apex| self.by_apex.get(apex));
        of_name.into_iter().chain(of_apexes).flatten().chain(&self.others).copied()
    }
}

/// The name without its first label.
fn parent(name: &str) -> Option<&str> {
    name.split_once('.').map(|(_, parent)| parent)
}

/// Whether some request to a host passes, as far as no deny rule speaks of it.
fn is_open(policy: &Source<'_>, host: &HostPattern<'_>) -> bool {
    let lists = |entry: &Destinations<'_>| {
        entry
            .hosts
            .as_ref()
            .is_none_or(|hosts| hosts.patterns().iter().any(|listed| listed.covers(host)))
    };
    policy.settings.default == Action::Allow
        || policy.rules.iter().any(|rule| {
            rule.action == Action::Allow && (rule.to.is_empty() || rule.to.iter().any(lists))
        })
}

/// The trust domains of all principals that the policy names.
fn trust_domains<'p>(policy: &'p Source<'p>) -> BTreeSet<&'p str> {
    let entries = policy.rules.iter().flat_map(|rule| &rule.from);
    let domain = |pattern: &TextPattern<'p>| match *pattern {
        TextPattern::Exact(id) | TextPattern::Prefix(id) => id.split_once('/').map(|(it, _)| it),
        TextPattern::Suffix(_) | TextPattern::Present => None,
    };
    let lists = |entry: &'p Callers<'p>| -> [&'p List<'p, TextPattern<'p>>; 2] {
        [&entry.principals, &entry.not_principals]
    };
    let lists = entries.flat_map(lists).flatten();
    lists.flat_map(|list| list.patterns()).filter_map(domain).collect()
}

/// A number that is equal for rules that say the same, and hardly ever for others.
fn fingerprint(rule: &RuleSource<'_>) -> u64 {
    fn of(node: &Node) -> u64 {
        let all = |parts: &mut dyn Iterator<Item = u64>| {
            let mut parts: Vec<u64> = parts.collect();
            parts.sort_unstable();
            parts.dedup();
            parts
        };
        let mut hasher = DefaultHasher::new();
        match (node.members(), node.items(), node.text()) {
            ([], [], Some(text)) => text.hash(&mut hasher),
            ([], [], None) => node.to_json().hash(&mut hasher),
            ([], items, _) => all(&mut items.iter().map(of)).hash(&mut hasher),
            (members, ..) => all(&mut members.iter().map(of_member)).hash(&mut hasher),
        }
        hasher.finish()
    }
    fn of_member(member: &Member) -> u64 {
        let mut hasher = DefaultHasher::new();
        (&*member.key, of(&member.value)).hash(&mut hasher);
        hasher.finish()
    }
    let says = rule.node.members().iter().filter(|member| is_said(member));
    says.map(of_member).fold(0, u64::wrapping_add)
}

/// Whether a key of a rule is part of what it says.
fn is_said(member: &Member) -> bool {
    !matches!(&*member.key, "id" | "note")
}

/// What a rule says, in a form that is equal where the meaning is: without its id and its note,
/// and with all lists in order.
fn meaning(rule: &RuleSource<'_>) -> String {
    fn sorted(node: &Node) -> String {
        let mut parts: Vec<String> = match node.members() {
            [] => node.items().iter().map(sorted).collect(),
            members => members
                .iter()
                .map(|member| format!("{}={}", member.key, sorted(&member.value)))
                .collect(),
        };
        if parts.is_empty() {
            return node.to_json();
        }
        parts.sort_unstable();
        parts.dedup();
        format!("({})", parts.join(","))
    }
    let mut parts: Vec<String> = rule
        .node
        .members()
        .iter()
        .filter(|member| is_said(member))
        .map(|member| format!("{}={}", member.key, sorted(&member.value)))
        .collect();
    parts.sort_unstable();
    parts.join(",")
}

/// Whether every name under this one must be named to be allowed.
fn is_special_under(apex: &str) -> bool {
    let below = format!("x.{apex}");
    Host::parse(below.as_bytes()).is_ok_and(|host| host.is_special())
}
