//! The trust domains that a policy names.

use crate::policy_file::{Callers, List, Source};
use egress_warden::policy::TextPattern;
use std::collections::BTreeSet;

/// What Istio's own policies take for the mesh's trust domain, whatever that is called. Here it is a
/// name like any other.
pub(crate) const LOCAL: &str = "cluster.local";

/// The trust domains of all principals that a policy names.
pub(crate) fn named_by<'p>(policy: &'p Source<'p>) -> BTreeSet<&'p str> {
    let entries = policy.rules.iter().flat_map(|rule| &rule.from);
    let lists = |entry: &'p Callers<'p>| -> [&'p List<'p, TextPattern<'p>>; 2] {
        [&entry.principals, &entry.not_principals]
    };
    let lists = entries.flat_map(lists).flatten();
    lists.flat_map(|list| list.patterns()).copied().filter_map(of).collect()
}

/// The trust domain that a pattern of principals names.
pub(crate) fn of(pattern: TextPattern<'_>) -> Option<&str> {
    match pattern {
        TextPattern::Exact(id) | TextPattern::Prefix(id) => {
            id.split_once('/').map(|(it, _)| it).filter(|it| !it.is_empty())
        }
        TextPattern::Suffix(_) | TextPattern::Present => None,
    }
}

/// The same SPIFFE id in the trust domain [`LOCAL`]; `None` where it is there already, or has no
/// trust domain.
pub(crate) fn as_local(principal: &str) -> Option<String> {
    let id = principal.strip_prefix("spiffe://").unwrap_or(principal);
    let (domain, path) = id.split_once('/')?;
    (domain != LOCAL).then(|| format!("{LOCAL}/{path}"))
}
