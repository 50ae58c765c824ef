//! Which patterns of an entry of `to` matched, as the policy writes them.

use crate::cover::Pattern;
use crate::policy_file::{Destinations, List, RuleSource};
use egress_warden::host::{Host, HostPattern};
use egress_warden::policy::{
    Action, Attempt, Destination, PathPattern, Policy, Reason, Request, Rule, Scope, Settings,
    Trace,
};
use std::collections::{BTreeMap, HashMap};

/// The patterns of one attempt that match.
#[derive(Clone, Debug, Default)]
pub(super) struct Patterns<'p> {
    /// Those by which the host was found: several where they are as specific.
    pub(super) hosts: Vec<&'p str>,
    /// Those of the path, where the rule matches and the path has a part in that.
    pub(super) paths: Vec<&'p str>,
}

/// The patterns of every attempt at the host that is named, or the one that is dialled, in order.
pub(super) fn of_attempts<'p>(
    trace: &Trace,
    named: &Host<'_>,
    path: Option<&[u8]>,
    rule_of: impl Fn(usize) -> Option<&'p RuleSource<'p>>,
) -> Vec<Patterns<'p>> {
    // Attempts of one entry stand in the order of their ranks, one for each rank.
    let mut earlier: HashMap<_, usize> = HashMap::new();
    let of_attempt = |attempt: &Attempt| {
        let rule = rule_of(attempt.rule)?;
        let entry = rule.to.get(attempt.destination?)?;
        let scope = attempt.scope.map(|scope| std::mem::discriminant(&scope));
        let key = (attempt.rule, attempt.destination, scope, attempt.is_dialled);
        let nth = earlier.entry(key).or_default();
        let dialled = trace.dialled.host().filter(|_| attempt.is_dialled);
        let host = dialled.unwrap_or(named);
        let hosts = attempt.scope.map(|scope| hosts(entry, host, scope, *nth)).unwrap_or_default();
        *nth = nth.saturating_add(1);
        let path = path.filter(|_| attempt.miss.is_none());
        let paths = path.map(|path| paths(entry, rule.action, path)).unwrap_or_default();
        Some(Patterns { hosts, paths })
    };
    trace.attempts.iter().map(of_attempt).map(Option::unwrap_or_default).collect()
}

/// The patterns of a scope that match the host and are as specific as only `nth` others.
fn hosts<'p>(entry: &Destinations<'p>, host: &Host<'_>, scope: Scope, nth: usize) -> Vec<&'p str> {
    let host = match host {
        Host::Name(name) => HostPattern::Name(name.as_str()),
        Host::Address(address) => HostPattern::Address(*address),
    };
    let mut by_rank: BTreeMap<_, Vec<&str>> = BTreeMap::new();
    for item in entry.hosts.iter().flat_map(|hosts| hosts.iter()) {
        if item.pattern.covers(&host)
            && let Some(specific) = specificity(item.pattern, host, scope)
            && let Some(text) = item.node.text()
        {
            let texts = by_rank.entry(specific).or_default();
            if !texts.contains(&text) {
                texts.push(text);
            }
        }
    }
    // A block is found by itself.
    let nth = if matches!(scope, Scope::Block(_)) { 0 } else { nth };
    by_rank.into_values().rev().nth(nth).unwrap_or_default()
}

/// How specific a pattern is that matches the host; `None` where it is of another scope.
fn specificity(pattern: HostPattern<'_>, host: HostPattern<'_>, scope: Scope) -> Option<usize> {
    match (scope, pattern) {
        (Scope::Exact, HostPattern::Name(_) | HostPattern::Address(_)) => Some(0),
        (Scope::Apex, HostPattern::Tree(apex)) => (host == HostPattern::Name(apex)).then_some(0),
        (Scope::Under, HostPattern::Under(apex)) => Some(apex.len()),
        (Scope::Under, HostPattern::Tree(apex)) => {
            (host != HostPattern::Name(apex)).then_some(apex.len())
        }
        (Scope::Glob, HostPattern::Glob(glob)) => Some(glob.literal_bytes()),
        (Scope::Block(found), HostPattern::Block(block)) => (found == block).then_some(0),
        _ => None,
    }
}

/// The patterns of an entry's `paths` that match a path for certain.
fn paths<'p>(entry: &Destinations<'p>, action: Action, path: &[u8]) -> Vec<&'p str> {
    let items = |list: &List<'p, PathPattern<'p>>| {
        let items = list.iter().flat_map(|list| list.iter());
        let matching = items.filter(|item| matches_path(item.pattern, action, path));
        matching.filter_map(|item| item.node.text()).collect()
    };
    items(&entry.paths)
}

/// Whether a path matches: what a rule says that asks for nothing else.
fn matches_path(pattern: PathPattern<'_>, action: Action, path: &[u8]) -> bool {
    let rule = Rule { id: "path".into(), action, state: None, until: None, from: Vec::new() };
    let paths = Some([pattern].into_iter().collect());
    let policy = Policy::new(
        Settings::default(),
        vec![(rule, vec![Destination { paths, ..Destination::default() }])],
    );
    let request = Request { path: Some(path), ..Request::new(b"a.test", b"GET") };
    policy.decide(&request).verdict.reason == Reason::Rule
}
