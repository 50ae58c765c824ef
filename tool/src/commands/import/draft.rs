//! What an import makes: rules, and what of the source is not in them.

use super::accounts::Accounts;
use super::cilium::Version;
use super::hosts::HostSet;
use crate::console::counted;
use crate::policy_text::{self, Ids, Mode, id_of, list, ports, quoted};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fmt::{self, Write};

/// A policy under construction. What no rule allows is refused.
#[derive(Debug, Default)]
pub(super) struct Draft {
    pub(super) rules: Vec<Rule>,
    pub(super) points: Vec<Point>,
    /// The points again: none is told twice.
    told: HashSet<Point>,
    /// What of the input is of another kind.
    pub(super) passed_over: Vec<String>,
    /// Which accounts pods run as.
    pub(super) accounts: Accounts,
    /// The oldest Cilium whose policies are imported, if somebody said.
    pub(super) cilium: Option<Version>,
}

/// One rule.
#[derive(Clone, Debug)]
pub(super) struct Rule {
    /// What its id is made of.
    pub(super) name: String,
    /// Where it comes from: the lines of a comment.
    pub(super) origin: Vec<String>,
    pub(super) action: Action,
    /// Empty: any caller.
    pub(super) from: Vec<Callers>,
    /// Empty: any destination.
    pub(super) to: Vec<Entry>,
}

/// One entry of `from`; an empty list is no condition.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Callers {
    pub(super) principals: Vec<String>,
    pub(super) not_principals: Vec<String>,
    pub(super) namespaces: Vec<String>,
    pub(super) not_namespaces: Vec<String>,
    /// `NAMESPACE/ACCOUNT`.
    pub(super) service_accounts: Vec<String>,
    pub(super) not_service_accounts: Vec<String>,
}

/// What a rule does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Action {
    Allow,
    /// Allowed, and reported as what will be refused.
    Retiring,
    Deny,
    /// Refused, and reported as what will be allowed.
    AllowLater,
    /// Let through, and reported as what will be refused.
    DenyLater,
}

impl Action {
    /// What stands under `action` and `state`.
    fn words(self) -> (&'static str, Option<&'static str>) {
        match self {
            Self::Allow => ("allow", None),
            Self::Retiring => ("allow", Some("retiring")),
            Self::Deny => ("deny", None),
            Self::AllowLater => ("allow", Some("dry-run")),
            Self::DenyLater => ("deny", Some("dry-run")),
        }
    }
}

/// One entry of `to`; an empty list is no condition.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Entry {
    pub(super) hosts: Vec<String>,
    pub(super) not_hosts: Vec<String>,
    pub(super) ports: Vec<u16>,
    pub(super) not_ports: Vec<u16>,
    pub(super) methods: Vec<String>,
    pub(super) not_methods: Vec<String>,
    pub(super) paths: Vec<String>,
    pub(super) not_paths: Vec<String>,
}

/// Something that is not carried over.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
pub(super) struct Point {
    /// `FILE:LINE`.
    place: String,
    problem: String,
    remedy: String,
}

impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}: {}", self.place, self.problem, self.remedy)
    }
}

impl Draft {
    /// Names what is not carried over: where, what, and what to do about it.
    pub(super) fn point(
        &mut self,
        place: impl Into<String>,
        problem: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        let point = Point {
            place: shown(&place.into()),
            problem: shown(&problem.into()),
            remedy: escaped(&remedy.into()),
        };
        if self.told.insert(point.clone()) {
            self.points.push(point);
        }
    }

    /// Names a key that may let less through than what stands beside it, which so is left out.
    pub(super) fn limit(&mut self, place: impl Into<String>, key: &str, title: &str) {
        self.point(
            place,
            format!(
                "{} in {}, which may let less through: what stands beside it is left out",
                told(key),
                told(title)
            ),
            "take it out if it limits nothing, or write the rule by hand",
        );
    }

    /// Puts rules together that say the same.
    pub(super) fn unite(&mut self) {
        let mut places: HashMap<(Action, Vec<Callers>, Vec<Entry>), usize> = HashMap::new();
        let mut united: Vec<Rule> = Vec::new();
        for rule in self.rules.drain(..) {
            let place = *places
                .entry((rule.action, rule.from.clone(), rule.to.clone()))
                .or_insert(united.len());
            match united.get_mut(place) {
                Some(first) => first.origin.extend(rule.origin),
                None => united.push(rule),
            }
        }
        self.rules = united;
    }

    /// The policy in YAML; before it where it comes from, and what is left open.
    pub(super) fn text(&self, name: &str, mode: Mode, introduction: &str) -> String {
        let mut text = String::new();
        // Writing to a string cannot fail.
        let _ = writeln!(text, "# {introduction}");
        if !self.points.is_empty() {
            text.push_str("#\n# Not carried over:\n");
        }
        for point in &self.points {
            let _ = writeln!(text, "# - {point}");
        }
        text.push_str(&policy_text::head(name, mode, !self.rules.is_empty()));
        let mut ids = Ids::default();
        for rule in &self.rules {
            rule.write(&mut text, &ids.free(&id_of(&rule.name)));
        }
        text
    }
}

impl Rule {
    /// A rule for any caller.
    pub(super) fn new(name: &str, origin: Vec<String>, action: Action, to: Vec<Entry>) -> Self {
        Self { name: name.to_owned(), origin, action, from: Vec::new(), to }
    }

    fn write(&self, text: &mut String, id: &str) {
        for line in &self.origin {
            let _ = writeln!(text, "# {}", shown(line));
        }
        let (action, state) = self.action.words();
        let _ = writeln!(text, "- id: {}\n  action: {action}", policy_text::word(id));
        if let Some(state) = state {
            let _ = writeln!(text, "  state: {state}");
        }
        if !self.from.is_empty() {
            text.push_str("  from:\n");
        }
        for callers in &self.from {
            callers.write(text);
        }
        if !self.to.is_empty() {
            text.push_str("  to:\n");
        }
        for entry in &self.to {
            entry.write(text);
        }
    }
}

impl Callers {
    fn write(&self, text: &mut String) {
        let lists = [
            ("principals", &self.principals),
            ("notPrincipals", &self.not_principals),
            ("namespaces", &self.namespaces),
            ("notNamespaces", &self.not_namespaces),
            ("serviceAccounts", &self.service_accounts),
            ("notServiceAccounts", &self.not_service_accounts),
        ];
        let mut lead = "- ";
        for (key, values) in lists.into_iter().filter(|(_, values)| !values.is_empty()) {
            let _ = writeln!(text, "  {lead}{key}: {}", list(values));
            lead = "  ";
        }
    }
}

impl Entry {
    /// These hosts.
    pub(super) fn of_hosts(hosts: &HostSet) -> Self {
        Self { hosts: hosts.patterns(), ..Self::default() }
    }

    fn write(&self, text: &mut String) {
        let mut lead = "- ";
        for (key, hosts) in [("hosts", &self.hosts), ("notHosts", &self.not_hosts)] {
            if hosts.is_empty() {
                continue;
            }
            let _ = writeln!(text, "  {lead}{key}:");
            lead = "  ";
            for host in hosts {
                let _ = writeln!(text, "    - {}", policy_text::word(host));
            }
        }
        let texts = |texts: &[String]| (!texts.is_empty()).then(|| list(texts));
        let numbers = |numbers: &[u16]| (!numbers.is_empty()).then(|| ports(numbers));
        let lists = [
            ("ports", numbers(&self.ports)),
            ("notPorts", numbers(&self.not_ports)),
            ("methods", texts(&self.methods)),
            ("notMethods", texts(&self.not_methods)),
            ("paths", texts(&self.paths)),
            ("notPaths", texts(&self.not_paths)),
        ];
        for (key, values) in lists {
            if let Some(values) = values {
                let _ = writeln!(text, "  {lead}{key}: {values}");
                lead = "  ";
            }
        }
    }
}

/// Entries for hosts of which each has one port, or any.
pub(super) fn by_ports(hosts: impl IntoIterator<Item = (String, Option<u16>)>) -> Vec<Entry> {
    let mut ports: BTreeMap<String, Option<BTreeSet<u16>>> = BTreeMap::new();
    for (host, port) in hosts {
        let all = ports.entry(host).or_insert_with(|| Some(BTreeSet::new()));
        match port {
            Some(port) => drop(all.as_mut().map(|all| all.insert(port))),
            None => *all = None,
        }
    }
    let mut hosts: BTreeMap<Option<BTreeSet<u16>>, HostSet> = BTreeMap::new();
    for (host, ports) in ports {
        hosts.entry(ports).or_default().insert(&host);
    }
    let entry = |(ports, hosts): (Option<BTreeSet<u16>>, HostSet)| Entry {
        ports: ports.into_iter().flatten().collect(),
        ..Entry::of_hosts(&hosts)
    };
    hosts.into_iter().map(entry).collect()
}

/// A text of the source on one line of a comment or a message: control characters are escaped, a long
/// text is cut.
pub(super) fn shown(text: &str) -> String {
    const MAX: usize = 200;
    let cut = text.get(..text.floor_char_boundary(MAX)).unwrap_or(text);
    let escaped = escaped(cut);
    if cut.len() < text.len() { format!("{escaped}…") } else { escaped }
}

/// The same, whole: for texts that may quote a part of the source. A line break in a comment would begin a
/// line of the policy.
fn escaped(text: &str) -> String {
    let is_special = |c: char| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}' | '\u{feff}');
    text.chars()
        .flat_map(|c| match is_special(c) {
            true => c.escape_default().collect::<Vec<_>>(),
            false => vec![c],
        })
        .collect()
}

/// A text of the source as messages quote it.
pub(super) fn told(text: &str) -> String {
    let shown = shown(text);
    if shown.contains('`') { quoted(&shown) } else { format!("`{shown}`") }
}

/// `3 rules`.
pub(super) fn count(count: usize, noun: &str) -> String {
    counted(count as u64, noun)
}
