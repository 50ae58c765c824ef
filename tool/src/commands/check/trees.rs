//! Warnings about a name and the wildcard below it in one list, which one pattern says.
//!
//! The pattern has the rank of both, so that no verdict changes. It names no special host: there both
//! stay.

use super::warning::Warning;
use crate::diagnostics::{Diagnostic, fix};
use crate::policy_file::{List, Node, PolicyFile, Source, path_of};
use egress_warden::config::{Item, Listed};
use egress_warden::host::{HostPattern, is_special};
use std::collections::{HashMap, HashSet};

/// Every warning about a name and what is below it in the lists of hosts. The fix takes two rounds:
/// the first of the two items becomes the pattern for both, then the other one leaves the list.
pub(super) fn of(file: &PolicyFile, policy: &Source<'_>) -> Vec<Diagnostic> {
    let mut reports = Vec::new();
    for rule in &policy.rules {
        for (index, entry) in rule.to.iter().enumerate() {
            for (key, hosts) in [("hosts", &entry.hosts), ("notHosts", &entry.not_hosts)] {
                let start = format!("{}.to[{index}].{key}", path_of(rule));
                of_list(file, &start, hosts, &mut reports);
            }
        }
    }
    reports
}

fn of_list(
    file: &PolicyFile,
    start: &str,
    list: &List<'_, HostPattern<'_>>,
    reports: &mut Vec<Diagnostic>,
) {
    let items: Vec<_> = list.iter().flat_map(Listed::iter).collect();
    let trees: HashSet<&str> = items
        .iter()
        .filter_map(|item| match item.pattern {
            HostPattern::Tree(apex) => Some(apex),
            _ => None,
        })
        .collect();
    let mut seen: HashMap<HostPattern<'_>, &Node> = HashMap::new();
    let mut before: Option<&Node> = None;
    for (position, &Item { pattern, node }) in items.iter().enumerate() {
        let removal =
            || before.filter(|it| it.span != node.span).and_then(|it| fix::removal(file, it, node));
        let found = half_of(pattern).and_then(|(apex, other)| {
            if trees.contains(apex) {
                let item = Node::text(node).unwrap_or_default().to_owned();
                return Some((Warning::InTree { item, apex: apex.to_owned() }, removal()));
            }
            let first = seen.get(&other)?;
            // Where the second must stay, the first does, too.
            let edit = removal().and_then(|_| fix::text(file, first, &format!(".{apex}")));
            Some((Warning::NameAndWildcard { apex: apex.to_owned() }, edit))
        });
        // An item that is repeated leaves the list by another fix: the first one stays.
        let is_repeated = seen.contains_key(&pattern);
        seen.entry(pattern).or_insert(node);
        if let (Some((warning, edit)), false) = (found, is_repeated) {
            let place = (format!("{start}[{position}]"), node);
            let report = Diagnostic::warning(warning.word(), place, warning);
            reports.push(Diagnostic { edit, ..report });
        }
        before = Some(node);
    }
}

/// The name of a pattern that is one half of such a pair, and the other half.
fn half_of(pattern: HostPattern<'_>) -> Option<(&str, HostPattern<'_>)> {
    let (apex, other) = match pattern {
        HostPattern::Name(name) => (name, HostPattern::Under(name)),
        HostPattern::Under(name) => (name, HostPattern::Name(name)),
        _ => return None,
    };
    (!is_special(apex)).then_some((apex, other))
}
