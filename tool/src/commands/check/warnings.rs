//! What a policy says and nobody is likely to mean.

use super::{Surroundings, names};
use crate::cover::{Pattern, excludes_itself};
use crate::diagnostics::{Diagnostic, fix};
use crate::policy_file::{Member, Node, PolicyFile};
use crate::written::{Callers, Destinations, List, Written, WrittenPolicy, WrittenRule};
use egress_warden::host::{Host, HostPattern};
use egress_warden::policy::{Action, Mode, Only, TextPattern, namespace_of};
use std::borrow::Cow;
use std::collections::hash_map::{DefaultHasher, Entry};
use std::collections::{BTreeSet, HashMap};
use std::hash::{Hash, Hasher};
use std::time::Duration;

/// How long before its end a rule is worth a word.
const SOON: Duration = Duration::from_secs(14 * 24 * 60 * 60);

/// Every warning about a policy that has no fault.
pub(super) fn of(file: &PolicyFile, root: &Node, surroundings: Surroundings) -> Vec<Diagnostic> {
    let policy = WrittenPolicy::of(root);
    let denials = Denials::of(&policy);
    let mut survey = Survey { file, reports: Vec::new() };
    let domains = trust_domains(&policy);
    let mut said: HashMap<u64, &WrittenRule<'_>> = HashMap::new();
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
    fn warn(
        &mut self,
        kind: &'static str,
        (path, node): (String, &Node),
        problem: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Option<&mut Diagnostic> {
        self.reports.push(Diagnostic::warning(kind, (path, node), problem, remedy));
        self.reports.last_mut()
    }

    fn never_counts(&mut self, policy: &WrittenPolicy<'_>, rule: &WrittenRule<'_>) {
        if policy.mode == Mode::Monitor && rule.only == Some(Only::Now) {
            self.warn(
                "never-matches",
                (rule.path(), rule.place()),
                "this rule counts now only, and under `mode: monitor` nothing does",
                "take the rule away, or its `only`",
            );
        }
    }

    fn never_matches(&mut self, rule: &WrittenRule<'_>) {
        // What is unknown matches a deny, whatever contradicts itself beside the host.
        let is_allow = rule.action == Action::Allow;
        let destination = |entry: &Destinations<'_>| {
            let contradicts = |key| Some(format!("`{key}` takes out all that is listed"));
            if excludes_itself(&entry.hosts, &entry.not_hosts) {
                return contradicts("notHosts");
            }
            if !is_allow {
                return None;
            }
            if excludes_itself(&entry.ports, &entry.not_ports) {
                return contradicts("notPorts");
            }
            if excludes_itself(&entry.methods, &entry.not_methods) {
                return contradicts("notMethods");
            }
            if excludes_itself(&entry.paths, &entry.not_paths) {
                return contradicts("notPaths");
            }
            let covers_special_names_only = |host: &Written<'_, HostPattern<'_>>| matches!(host.pattern, HostPattern::Under(apex) if is_special_under(apex));
            let hosts = entry.hosts.as_ref()?;
            (!hosts.is_empty() && hosts.iter().all(covers_special_names_only))
                .then(|| "names under `localhost` are allowed only one by one".to_owned())
        };
        let source = |entry: &Callers<'_>| {
            if !is_allow {
                return None;
            }
            if excludes_itself(&entry.principals, &entry.not_principals) {
                return Some("`notPrincipals` takes out all that is listed".to_owned());
            }
            if excludes_itself(&entry.namespaces, &entry.not_namespaces) {
                return Some("`notNamespaces` takes out all that is listed".to_owned());
            }
            let (principals, namespaces) = (entry.principals.as_ref()?, entry.namespaces.as_ref()?);
            let is_elsewhere = |principal: &Written<'_, TextPattern<'_>>| {
                let TextPattern::Exact(id) = principal.pattern else { return false };
                let namespace = namespace_of(id).map(TextPattern::Exact);
                namespace.is_none_or(|namespace| {
                    !namespaces.iter().any(|listed| listed.pattern.covers(&namespace))
                })
            };
            principals
                .iter()
                .all(is_elsewhere)
                .then(|| "none of its principals is in one of its namespaces".to_owned())
        };
        let to: Vec<_> = rule.to.iter().map(destination).collect();
        let from: Vec<_> = rule.from.iter().map(source).collect();
        for (key, reasons) in [("to", to), ("from", from)] {
            let all = !reasons.is_empty() && reasons.iter().all(Option::is_some);
            for (index, reason) in reasons.into_iter().enumerate() {
                let Some(reason) = reason else { continue };
                let entries = rule.node.get(key).map(Node::items).unwrap_or_default();
                let Some(node) = entries.get(index) else { continue };
                let what = if all { "this rule" } else { "this entry" };
                self.warn(
                    "never-matches",
                    (format!("{}.{key}[{index}]", rule.path()), node),
                    format!("{what} can never match: {reason}"),
                    "take it away, or what contradicts it",
                );
            }
        }
    }

    fn end(&mut self, rule: &WrittenRule<'_>, surroundings: Surroundings) {
        let (Some(until), Some(node)) = (rule.until, rule.node.get("until")) else { return };
        let place = || (format!("{}.until", rule.path()), node);
        match surroundings.at.until(until) {
            None => {
                self.warn(
                    "ended",
                    place(),
                    "this rule has ended",
                    "take the rule away, or move `until`",
                );
            }
            Some(left) if left <= SOON => {
                let days = left.as_secs().div_ceil(24 * 60 * 60);
                let days = if days == 1 { "a day".to_owned() } else { format!("{days} days") };
                self.warn(
                    "ends-soon",
                    place(),
                    format!("this rule ends within {days}"),
                    "move `until` if it is still needed",
                );
            }
            Some(_) => {}
        }
        if rule.action == Action::Deny {
            self.warn(
                "deny-ends",
                place(),
                "this deny opens by itself, without anybody looking",
                "take `until` away and withdraw the rule by hand",
            );
        }
    }

    fn repeated<'p>(
        &mut self,
        rule: &'p WrittenRule<'p>,
        said: &mut HashMap<u64, &'p WrittenRule<'p>>,
    ) {
        match said.entry(fingerprint(rule)) {
            Entry::Vacant(entry) => {
                entry.insert(rule);
            }
            Entry::Occupied(entry) if meaning(entry.get()) == meaning(rule) => {
                let problem = format!("this rule says the same as `{}`", entry.get().id);
                self.warn("same-rules", (rule.path(), rule.place()), problem, "keep one of them");
            }
            Entry::Occupied(_) => {}
        }
    }

    /// Items that stand twice in one list.
    fn equal_items(&mut self, rule: &WrittenRule<'_>) {
        for key in ["to", "from"] {
            let entries = rule.node.get(key).map(Node::items).unwrap_or_default();
            for (index, entry) in entries.iter().enumerate() {
                for member in entry.members() {
                    let path = format!("{}.{key}[{index}].{}", rule.path(), member.key);
                    self.equal_items_of_list(&path, member.value.items());
                }
            }
        }
    }

    fn equal_items_of_list(&mut self, path: &str, items: &[Node]) {
        let mut seen = HashMap::new();
        let mut before: Option<&Node> = None;
        for (index, item) in items.iter().enumerate() {
            let shown = item.text().map_or_else(|| Cow::Owned(item.to_json()), Cow::Borrowed);
            if let Some(first) = seen.insert(shown, index) {
                let kind = if path.ends_with("osts") { "equal-hosts" } else { "equal-items" };
                let edit = before.and_then(|before| fix::removal(self.file, before, item));
                let report = self.warn(
                    kind,
                    (format!("{path}[{index}]"), item),
                    format!("{} stands in this list already, as item {first}", item.to_json()),
                    "keep one of them",
                );
                if let Some(report) = report {
                    report.edit = edit;
                }
            }
            before = Some(item);
        }
    }

    fn callers(
        &mut self,
        rule: &WrittenRule<'_>,
        domains: &BTreeSet<&str>,
        surroundings: Surroundings,
    ) {
        let entries = rule.node.get("from").map(Node::items).unwrap_or_default();
        for ((index, entry), node) in rule.from.iter().enumerate().zip(entries) {
            let place = || (format!("{}.from[{index}]", rule.path()), node);
            if !surroundings.has_mutual_tls {
                let problem = match rule.action {
                    Action::Allow => "without mutual TLS no caller is known: this never matches",
                    Action::Deny => "without mutual TLS no caller is known: this refuses everyone",
                };
                self.warn(
                    "from-without-mutual-tls",
                    place(),
                    problem,
                    "verify client certificates, or take `from` away",
                );
            }
            let names_namespaces = entry.namespaces.is_some() || entry.not_namespaces.is_some();
            if domains.len() > 1 && names_namespaces && entry.principals.is_none() {
                let domains: Vec<_> = domains.iter().map(|domain| format!("`{domain}`")).collect();
                let problem = format!(
                    "these namespaces are those of every trust domain ({})",
                    domains.join(", ")
                );
                self.warn(
                    "namespaces-without-domain",
                    place(),
                    problem,
                    "add `principals: [\"DOMAIN/*\"]`",
                );
            }
        }
    }

    fn always_denied(&mut self, rule: &WrittenRule<'_>, denials: &Denials<'_>) {
        let anything = Destinations::default();
        let entries = if rule.to.is_empty() { std::slice::from_ref(&anything) } else { &rule.to };
        let nodes = rule.node.get("to").map(Node::items).unwrap_or_default();
        let mut denied = Vec::new();
        let mut count = 0_usize;
        for (index, entry) in entries.iter().enumerate() {
            let hosts = match &entry.hosts {
                Some(hosts) => hosts.iter().map(Some).collect(),
                None => vec![None],
            };
            count = count.saturating_add(hosts.len());
            for (position, host) in hosts.into_iter().enumerate() {
                if let Some(by) = denials.covering(rule, entry, host) {
                    let place = match (host, nodes.get(index)) {
                        (Some(host), _) => {
                            (format!("{}.to[{index}].hosts[{position}]", rule.path()), host.node)
                        }
                        (None, Some(node)) => (format!("{}.to[{index}]", rule.path()), node),
                        (None, None) => (rule.path(), rule.place()),
                    };
                    denied.push((place, by));
                }
            }
        }
        let remedy = "take the allow away, or narrow the deny";
        if let [(_, (_, by)), ..] = denied.as_slice()
            && denied.len() == count
        {
            let others = denied.iter().any(|(_, (_, other))| other != by);
            let others = if others { " and other rules" } else { "" };
            let problem = format!("all that this rule allows, `{by}`{others} denies");
            self.warn("always-denied", (rule.path(), rule.place()), problem, remedy);
            return;
        }
        for (place, (_, by)) in denied {
            let problem = format!("what this allows, `{by}` always denies");
            self.warn("always-denied", place, problem, remedy);
        }
    }

    fn ports(&mut self, rule: &WrittenRule<'_>, surroundings: Surroundings) {
        if !surroundings.is_dynamic_forward_proxy {
            return;
        }
        let problem = "behind a dynamic forward proxy this allows every port that a caller writes";
        let remedy = "name the `ports`, such as `[443]`";
        let nodes = rule.node.get("to").map(Node::items).unwrap_or_default();
        if rule.to.is_empty() {
            self.warn("allow-without-ports", (rule.path(), rule.place()), problem, remedy);
        }
        for ((index, entry), node) in rule.to.iter().enumerate().zip(nodes) {
            if entry.ports.is_none() {
                let place = (format!("{}.to[{index}]", rule.path()), node);
                self.warn("allow-without-ports", place, problem, remedy);
            }
        }
    }

    fn unseen(&mut self, rule: &WrittenRule<'_>, surroundings: Surroundings) {
        if !surroundings.judges_connections {
            return;
        }
        let problem = match rule.action {
            Action::Allow => "methods and paths stay inside the TLS: unknown, they let none pass",
            Action::Deny => "methods and paths stay inside the TLS: unknown, they spare none",
        };
        let nodes = rule.node.get("to").map(Node::items).unwrap_or_default();
        for ((index, entry), node) in rule.to.iter().enumerate().zip(nodes) {
            let Destinations { methods, not_methods, paths, not_paths, .. } = entry;
            if methods.is_some() || not_methods.is_some() || paths.is_some() || not_paths.is_some()
            {
                let place = (format!("{}.to[{index}]", rule.path()), node);
                let remedy = "let the gateway begin the TLS, or take them away";
                self.warn("unseen-in-tls", place, problem, remedy);
            }
        }
    }

    fn open_apex(
        &mut self,
        policy: &WrittenPolicy<'_>,
        rule: &WrittenRule<'_>,
        denials: &Denials<'_>,
    ) {
        for (index, entry) in rule.to.iter().enumerate() {
            for (position, host) in entry.hosts.iter().flatten().enumerate() {
                let HostPattern::Under(apex) = host.pattern else { continue };
                let name = HostPattern::Name(apex);
                if denials.speak_of(&name) || !is_open(policy, &name) {
                    continue;
                }
                self.warn(
                    "open-apex",
                    (format!("{}.to[{index}].hosts[{position}]", rule.path()), host.node),
                    format!("this denies the names under `{apex}` and leaves `{apex}` itself open"),
                    format!("list \"{apex}\" beside it, or say in a `note` why not"),
                );
            }
        }
    }
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
    rule: &'p WrittenRule<'p>,
    /// Absent where the rule has no `to`.
    entry: Option<&'p Destinations<'p>>,
}

impl<'p> Denials<'p> {
    fn of(policy: &'p WrittenPolicy<'p>) -> Self {
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
                for host in hosts {
                    match host.pattern {
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
        rule: &WrittenRule<'_>,
        entry: &Destinations<'_>,
        host: Option<&Written<'_, HostPattern<'_>>>,
    ) -> Option<(usize, &'p str)> {
        self.candidates(host.map(|host| &host.pattern))
            .find(|denial| {
                let by = denial.rule;
                let counts_wherever = by.only.is_none() || by.only == rule.only;
                let lasts = by.until.is_none()
                    || matches!((by.until, rule.until), (Some(deny), Some(allow)) if allow <= deny);
                let has_callers = by.from.is_empty()
                    || !rule.from.is_empty()
                        && rule.from.iter().all(|from| by.from.iter().any(|by| by.cover(from)));
                let has_destination = denial.entry.is_none_or(|by| by.cover(entry, host));
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
                .is_none_or(|hosts| hosts.iter().any(|listed| listed.pattern.covers(host)))
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
fn is_open(policy: &WrittenPolicy<'_>, host: &HostPattern<'_>) -> bool {
    let lists = |entry: &Destinations<'_>| {
        entry
            .hosts
            .as_ref()
            .is_none_or(|hosts| hosts.iter().any(|listed| listed.pattern.covers(host)))
    };
    policy.default == Action::Allow
        || policy.rules.iter().any(|rule| {
            rule.action == Action::Allow && (rule.to.is_empty() || rule.to.iter().any(lists))
        })
}

/// The trust domains of all principals that the policy names.
fn trust_domains<'p>(policy: &'p WrittenPolicy<'p>) -> BTreeSet<&'p str> {
    let entries = policy.rules.iter().flat_map(|rule| &rule.from);
    let domain = |written: &Written<'p, TextPattern<'p>>| match written.pattern {
        TextPattern::Exact(id) | TextPattern::Prefix(id) => id.split_once('/').map(|(it, _)| it),
        TextPattern::Suffix(_) | TextPattern::Present => None,
    };
    let lists = |entry: &'p Callers<'p>| -> [&'p List<'p, TextPattern<'p>>; 2] {
        [&entry.principals, &entry.not_principals]
    };
    entries.flat_map(lists).flatten().flatten().filter_map(domain).collect()
}

/// A number that is equal for rules that say the same, and hardly ever for others.
fn fingerprint(rule: &WrittenRule<'_>) -> u64 {
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
fn meaning(rule: &WrittenRule<'_>) -> String {
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
