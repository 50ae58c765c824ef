//! What keeps the rules of a team with `namespaces` to that team's own callers.
//!
//! Own callers have a verified id that begins `DOMAIN/ns/NAMESPACE/` with a namespace of the team. A rule
//! that would change anything for another caller, or for one who is not verified, is an error:
//!
//! - `from` must name own callers in every entry;
//! - a deny rule matches what is unknown, so it also refuses callers who are not verified, and with
//!   `namespaces` those whose id has no namespace. It needs `identity: required`, which refuses callers
//!   who are not verified anyway, and `principals`;
//! - a header named `x-…` that any rule sets is removed from every request, and one that the policy's
//!   own stamp sets would have another value than on all other requests;
//! - for a field that is not listed here, it is not known whether it affects other callers.

use super::error::Trespass;
use super::team::Team;
use crate::policy_file::{Callers, Node, RuleSource, Source, place_of};
use egress_warden::policy::{Action, TextPattern};
use egress_warden::stamp::Stamp;
use std::collections::HashSet;

/// Fields of a rule that act on the requests that `from` names, and on no others.
const HELD: [&str; 9] =
    ["action", "from", "id", "message", "note", "stamp", "state", "to", "until"];

/// What the policies for every caller say.
#[derive(Debug, Default)]
pub(super) struct Common {
    /// Whether callers who are not verified are refused before any rule.
    pub(super) requires_identity: bool,
    /// Folded names that the policy's own stamp sets.
    stamped: HashSet<String>,
    /// Folded names that rules for everybody set.
    set_by_rules: HashSet<String>,
}

/// JSONPath and node of what trespasses.
type Place<'r> = (String, &'r Node);

impl Common {
    /// Takes a policy that speaks for everybody.
    pub(super) fn add(&mut self, policy: &Source<'_>) {
        self.requires_identity |= policy.settings.identity_required;
        self.stamped.extend(names_set(&policy.stamp));
        let stamps = policy.rules.iter().filter_map(|rule| rule.stamp.as_ref());
        self.set_by_rules.extend(stamps.flat_map(names_set));
    }
}

/// Every such error of the rule at `path`.
pub(super) fn trespasses<'r>(
    team: &Team,
    common: &Common,
    path: &str,
    rule: &RuleSource<'r>,
) -> Vec<(Place<'r>, Trespass)> {
    let mut found = Vec::new();
    of_callers(team, path, rule, &mut found);
    if rule.action == Action::Deny {
        of_denial(team, common, path, rule, &mut found);
    }
    of_stamp(common, path, rule, &mut found);
    let members = rule.node.members().iter().filter(|member| !HELD.contains(&&*member.key));
    found.extend(
        members.map(|member| ((format!("{path}.{}", member.key), &member.value), Trespass::Field)),
    );
    found
}

fn of_callers<'r>(
    team: &Team,
    path: &str,
    rule: &RuleSource<'r>,
    found: &mut Vec<(Place<'r>, Trespass)>,
) {
    if rule.from.is_empty() {
        let place = (path.to_owned(), place_of(rule));
        found.push((place, Trespass::AnyCaller { namespaces: team.list() }));
    }
    for (index, entry) in rule.from.iter().enumerate() {
        if !names_own_namespaces(team, entry) && !names_own_principals(team, entry) {
            let place = (format!("{path}.from[{index}]"), entry.node);
            found.push((place, Trespass::OtherCallers { namespaces: team.list() }));
        }
    }
}

fn of_denial<'r>(
    team: &Team,
    common: &Common,
    path: &str,
    rule: &RuleSource<'r>,
    found: &mut Vec<(Place<'r>, Trespass)>,
) {
    if !common.requires_identity {
        let node = rule.node.get("action").unwrap_or(rule.node);
        found.push(((format!("{path}.action"), node), Trespass::Denial));
        return;
    }
    for (index, entry) in rule.from.iter().enumerate() {
        if names_own_namespaces(team, entry) && !names_own_principals(team, entry) {
            let place = (format!("{path}.from[{index}]"), entry.node);
            found.push((place, Trespass::DenialByNamespace));
        }
    }
}

fn of_stamp<'r>(
    common: &Common,
    path: &str,
    rule: &RuleSource<'r>,
    found: &mut Vec<(Place<'r>, Trespass)>,
) {
    let set = rule.node.get("stamp").and_then(|stamp| stamp.get("set"));
    let members = set.map(Node::members).unwrap_or_default();
    let names = rule.stamp.iter().flat_map(|stamp| &stamp.set);
    // INVARIANT: of a policy without errors every name is kept, in the order of the text.
    for (member, (name, _)) in members.iter().zip(names) {
        let name = name.folded();
        let trespass = if common.stamped.contains(name) {
            Trespass::StampedHeader
        } else if name.starts_with("x-") && !common.set_by_rules.contains(name) {
            Trespass::ReservedHeader
        } else {
            continue;
        };
        let place = (format!("{path}.stamp.set['{}']", member.key), &member.value);
        found.push((place, trespass));
    }
}

/// The folded names that a stamp sets.
fn names_set(stamp: &Stamp) -> impl Iterator<Item = String> {
    stamp.set.iter().map(|(name, _)| name.folded().to_owned())
}

fn names_own_namespaces(team: &Team, entry: &Callers<'_>) -> bool {
    let namespaces = entry.namespaces.as_ref().map(|list| list.patterns());
    namespaces.is_some_and(|patterns| patterns.iter().all(|it| team.has(*it)))
}

fn names_own_principals(team: &Team, entry: &Callers<'_>) -> bool {
    let principals = entry.principals.as_ref().map(|list| list.patterns());
    principals.is_some_and(|patterns| patterns.iter().all(|it| is_own_principal(team, *it)))
}

fn is_own_principal(team: &Team, pattern: TextPattern<'_>) -> bool {
    let (TextPattern::Exact(start) | TextPattern::Prefix(start)) = pattern else { return false };
    let mut segments = start.split('/');
    // With a fourth segment the namespace is whole.
    match (segments.next(), segments.next(), segments.next(), segments.next()) {
        (Some(_), Some("ns"), Some(namespace), Some(_)) => {
            TextPattern::parse(namespace).is_some_and(|namespace| team.has(namespace))
        }
        _ => false,
    }
}
