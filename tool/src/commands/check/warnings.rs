//! What a policy says and nobody is likely to mean.

use super::allowances::Allowances;
use super::denials::Denials;
use super::warning::Warning;
use super::{Surroundings, contradictions, literals, names, trees};
use crate::cover::Patterns;
use crate::diagnostics::{Diagnostic, Level, fix};
use crate::policy_file::{
    Callers, Member, Node, PolicyFile, RuleSource, Source, path_of, place_of,
};
use crate::render::istio::MAX_APPLIED;
use crate::trust_domain;
use egress_warden::config::{Item, Listed, account_in_principal};
use egress_warden::host::HostPattern;
use egress_warden::place::Place;
use egress_warden::policy::{Action, TextPattern};
use std::borrow::Cow;
use std::cell::OnceCell;
use std::collections::hash_map::{DefaultHasher, Entry};
use std::collections::{BTreeSet, HashMap};
use std::hash::{Hash, Hasher};
use std::time::Duration;

/// How long before its end a rule is worth a word.
const SOON: Duration = Duration::from_secs(14 * 24 * 60 * 60);

/// The longest name that another can lie under.
const MAX_APEX: usize = 251;

/// Every warning about a policy without errors.
pub(super) fn of(file: &PolicyFile, surroundings: Surroundings) -> Vec<Diagnostic> {
    let Some(policy) = file.source() else { return Vec::new() };
    let denials = Denials::of(&policy);
    let allowances = Allowances::of(&policy, surroundings);
    let mut survey = Survey { file, reports: Vec::new() };
    let domains = trust_domain::named_by(&policy);
    let mut said = HashMap::new();
    for rule in &policy.rules {
        survey.never_counts(&policy, rule);
        survey.never_matches(&policy, rule, surroundings);
        survey.end(rule, surroundings);
        survey.repeated(rule, &mut said);
        survey.equal_items(rule);
        survey.callers(rule, &domains, surroundings);
        survey.unseen(rule, surroundings);
        match rule.action {
            Action::Allow => {
                survey.always_denied(rule, &denials);
                survey.ports(rule, &denials, surroundings);
            }
            Action::Deny => {
                if !contradictions::is_left_out(rule, &policy.settings, surroundings) {
                    survey.open_apex(rule, &allowances, &denials);
                }
            }
        }
    }
    survey.waypoint(&policy, surroundings);
    survey.local_domain(&policy, &domains);
    survey.size();
    survey.reports.extend(names::of(&policy));
    survey.reports.extend(literals::of(&policy));
    survey.reports.extend(trees::of(file, &policy));
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
        if contradictions::is_idle_in_monitor(rule, &policy.settings) {
            self.warn((path_of(rule), place_of(rule)), Warning::RetiringInMonitor);
        }
    }

    fn never_matches(
        &mut self,
        policy: &Source<'_>,
        rule: &RuleSource<'_>,
        surroundings: Surroundings,
    ) {
        let destination = |it| {
            let at_waypoint = || match surroundings.place {
                Place::Waypoint => contradictions::of_waypoint(it, rule.action),
                Place::Gateway => None,
            };
            contradictions::of_destination(it, rule.action).or_else(at_waypoint)
        };
        let to = rule.to.iter().map(|it| (it.node, destination(it))).collect();
        let caller = |it| contradictions::of_caller(it, rule.action, &policy.settings);
        let from: Vec<_> = rule.from.iter().map(|it| (it.node, caller(it))).collect();
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
        match surroundings.at.until(until) {
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
        said: &mut HashMap<u64, (&'p RuleSource<'p>, OnceCell<String>)>,
    ) {
        match said.entry(fingerprint(rule)) {
            Entry::Vacant(entry) => {
                entry.insert((rule, OnceCell::new()));
            }
            Entry::Occupied(entry) => {
                let (first, said) = entry.get();
                if *said.get_or_init(|| meaning(first)) == meaning(rule) {
                    let id = first.id.to_owned();
                    self.warn((path_of(rule), place_of(rule)), Warning::SameRule { id });
                }
            }
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
            let names_namespaces = entry.namespaces.is_some()
                || entry.not_namespaces.is_some()
                || entry.service_accounts.is_some()
                || entry.not_service_accounts.is_some();
            if domains.len() > 1 && names_namespaces && entry.principals.is_none() {
                let (domains, and_others) = domains_of(entry, domains);
                if domains.len() > 1 {
                    self.warn(place(), Warning::Namespaces { domains, and_others });
                }
            }
        }
    }

    /// The alias of Istio's policies, where the policy names no other trust domain.
    fn local_domain(&mut self, policy: &Source<'_>, domains: &BTreeSet<&str>) {
        if !domains.iter().eq([&trust_domain::LOCAL]) {
            return;
        }
        let first = policy.rules.iter().find_map(|rule| {
            let mut entries = rule.from.iter().enumerate();
            entries.find_map(|(index, entry)| {
                let lists =
                    [("principals", &entry.principals), ("notPrincipals", &entry.not_principals)];
                lists.into_iter().find_map(|(key, list)| {
                    let mut items = list.iter().flat_map(Listed::iter).enumerate();
                    let (position, item) =
                        items.find(|(_, item)| trust_domain::of(item.pattern).is_some())?;
                    let path = format!("{}.from[{index}].{key}[{position}]", path_of(rule));
                    Some((path, item.node))
                })
            })
        });
        let Some(place) = first else { return };
        let note = Diagnostic::warning(Warning::LocalDomain.word(), place, Warning::LocalDomain);
        self.reports.push(Diagnostic { level: Level::Note, ..note });
    }

    /// What has no effect at a waypoint, or is refused there.
    fn waypoint(&mut self, policy: &Source<'_>, surroundings: Surroundings) {
        let Some(root) = self.file.tree().filter(|_| surroundings.place == Place::Waypoint) else {
            return;
        };
        if let (true, Some(sni)) = (policy.settings.sni_must_match, root.get("sni")) {
            self.warn(("$.sni".to_owned(), sni), Warning::ServerNameAtWaypoint);
        }
    }

    /// What `kubectl apply` refuses for its size.
    fn size(&mut self) {
        let Some(root) = self.file.carrier() else { return };
        // It is the JSON that counts, which layout and comments are no part of.
        let bytes = match root.span.len() {
            bytes if bytes >= MAX_APPLIED => bytes,
            _ => root.to_json().len(),
        };
        if bytes >= MAX_APPLIED {
            self.warn(("$".to_owned(), root), Warning::Large { bytes, max: MAX_APPLIED });
        }
    }

    fn always_denied<'p>(&mut self, rule: &'p RuleSource<'p>, denials: &Denials<'p>) {
        let mut denied = Vec::new();
        let mut count = 0_usize;
        let mut covering = denials.against(rule);
        if rule.to.is_empty() {
            let by = covering.of_entry(None);
            count = count.saturating_add(by.len());
            let place = || (path_of(rule), place_of(rule));
            denied.extend(by.into_iter().flatten().map(|by| (place(), by)));
        }
        for (index, entry) in rule.to.iter().enumerate() {
            let path = format!("{}.to[{index}]", path_of(rule));
            let by = covering.of_entry(Some(entry));
            count = count.saturating_add(by.len());
            match &entry.hosts {
                None => {
                    denied.extend(
                        by.into_iter().flatten().map(|by| ((path.clone(), entry.node), by)),
                    );
                }
                Some(hosts) => {
                    let place = |position, node| (format!("{path}.hosts[{position}]"), node);
                    let hosts = hosts.iter().zip(by).enumerate();
                    denied.extend(hosts.filter_map(|(position, (host, by))| {
                        by.map(|by| (place(position, host.node), by))
                    }));
                }
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

    fn ports<'p>(
        &mut self,
        rule: &'p RuleSource<'p>,
        denials: &Denials<'p>,
        surroundings: Surroundings,
    ) {
        if !surroundings.is_dynamic_forward_proxy {
            return;
        }
        let mut covering = denials.against(rule);
        if rule.to.is_empty() && !covering.leaves_few_ports_of(None) {
            self.warn((path_of(rule), place_of(rule)), Warning::AnyPort { but_some: false });
        }
        for (index, entry) in rule.to.iter().enumerate() {
            if entry.ports.is_none() && !covering.leaves_few_ports_of(Some(entry)) {
                let place = (format!("{}.to[{index}]", path_of(rule)), entry.node);
                self.warn(place, Warning::AnyPort { but_some: entry.not_ports.is_some() });
            }
        }
    }

    fn unseen(&mut self, rule: &RuleSource<'_>, surroundings: Surroundings) {
        if !surroundings.judges_connections {
            return;
        }
        for (index, entry) in rule.to.iter().enumerate() {
            for key in contradictions::hidden_by_tls(entry) {
                let path = format!("{}.to[{index}].{key}", path_of(rule));
                let place = (path, entry.node.get(key).unwrap_or(entry.node));
                self.warn(place, Warning::Unseen { key, action: rule.action });
            }
        }
    }

    fn open_apex(
        &mut self,
        rule: &RuleSource<'_>,
        allowances: &Allowances<'_>,
        denials: &Denials<'_>,
    ) {
        for (index, entry) in rule.to.iter().enumerate() {
            let hosts = entry.hosts.iter().flat_map(Listed::iter);
            let spared = Patterns::of(&entry.not_hosts);
            for (position, Item { pattern, node }) in hosts.enumerate() {
                let HostPattern::Under(apex) = pattern else { continue };
                let denies = apex.len() <= MAX_APEX && !spared.covers(&pattern);
                if !denies
                    || denials.speak_of(HostPattern::Name(apex))
                    || !allowances.let_pass_to(apex)
                {
                    continue;
                }
                let path = format!("{}.to[{index}].hosts[{position}]", path_of(rule));
                self.warn((path, node), Warning::OpenApex { apex: apex.to_owned() });
            }
        }
    }
}

/// The first trust domains that an entry with namespaces alone matches callers of, and whether there are
/// others. Only some are asked: what an answer costs does not grow with their number.
fn domains_of(entry: &Callers<'_>, domains: &BTreeSet<&str>) -> (Vec<String>, bool) {
    const SHOWN: usize = 3;
    const ASKED: usize = 64;
    let spared = Patterns::of(&entry.not_principals);
    // What of such ids is certain behind the domain. Only ids of this form have a namespace.
    let of_namespace = |namespace: &TextPattern<'_>| match namespace {
        TextPattern::Exact(namespace) => format!("{namespace}/sa/"),
        TextPattern::Prefix(start) => (*start).to_owned(),
        _ => String::new(),
    };
    let starts: Vec<_> = match (&entry.namespaces, &entry.service_accounts) {
        (_, Some(accounts)) => {
            accounts.patterns().iter().map(|account| account_in_principal(account)).collect()
        }
        (Some(namespaces), None) => namespaces.patterns().iter().map(of_namespace).collect(),
        (None, None) => vec![String::new()],
    };
    let is_whole = entry.service_accounts.is_some();
    let is_matched = |domain: &&str| {
        let is_spared = |start: &String| {
            let id = format!("{domain}/ns/{start}");
            spared.covers(&if is_whole {
                TextPattern::Exact(&id)
            } else {
                TextPattern::Prefix(&id)
            })
        };
        !starts.iter().all(is_spared)
    };
    let mut matched = domains.iter().copied().take(ASKED).filter(is_matched);
    let shown = matched.by_ref().take(SHOWN).map(str::to_owned).collect();
    (shown, matched.next().is_some())
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
