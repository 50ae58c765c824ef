//! What keeps the rules of a team with callers of its own to these ([`Own`]).
//!
//! A rule that would change anything for another caller, or for one who is not verified, is an error:
//!
//! - every entry of `from` must name own callers only;
//! - a deny rule matches what is unknown, so it also refuses callers who are not verified, and with
//!   `namespaces` or `serviceAccounts` those whose id has no namespace. It needs `identity: required`,
//!   which refuses callers who are not verified anyway, and `principals`;
//! - a header named `x-…` that any rule sets is removed from every request, and one that the policy's
//!   own stamp sets would have another value than on all other requests;
//! - for a field that is not listed here, it is not known whether it affects other callers.

use super::error::Trespass;
use super::own::{Own, Reach};
use crate::classes::callers::service_account_of;
use crate::cover::Pattern;
use crate::policy_file::{Callers, List, Node, RuleSource, Source, place_of};
use egress_warden::policy::{Action, TextPattern, namespace_of};
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
    own: &Own,
    common: &Common,
    path: &str,
    rule: &RuleSource<'r>,
) -> Vec<(Place<'r>, Trespass)> {
    let mut found = Vec::new();
    of_callers(own, path, rule, &mut found);
    if rule.action == Action::Deny {
        of_denial(own, common, path, rule, &mut found);
    }
    of_stamp(common, path, rule, &mut found);
    let members = rule.node.members().iter().filter(|member| !HELD.contains(&&*member.key));
    found.extend(
        members.map(|member| ((format!("{path}.{}", member.key), &member.value), Trespass::Field)),
    );
    found
}

fn of_callers<'r>(
    own: &Own,
    path: &str,
    rule: &RuleSource<'r>,
    found: &mut Vec<(Place<'r>, Trespass)>,
) {
    if rule.from.is_empty() {
        let place = (path.to_owned(), place_of(rule));
        found.push((place, Trespass::AnyCaller { fields: own.fields() }));
    }
    for (index, entry) in rule.from.iter().enumerate() {
        let path = format!("{path}.from[{index}]");
        found.extend(match own.reach(entry, Action::Allow) {
            Reach::Own => None,
            Reach::Beyond(caller) => {
                let place = place_of_caller(path, entry, &caller);
                Some((place, Trespass::OtherCallers { fields: own.fields() }))
            }
            Reach::Unknown => Some(((path, entry.node), Trespass::TooManyCallers)),
        });
    }
}

/// The pattern by which an entry names a caller; the entry where that has none.
fn place_of_caller<'r>(path: String, entry: &Callers<'r>, caller: &str) -> Place<'r> {
    let account = service_account_of(caller);
    let account = account.as_deref().and_then(|it| item(&entry.service_accounts, &it));
    let namespace = namespace_of(caller).map(TextPattern::Exact);
    let namespace = namespace.and_then(|it| item(&entry.namespaces, &it));
    let principal = item(&entry.principals, &TextPattern::Exact(caller));
    let items =
        [("serviceAccounts", account), ("namespaces", namespace), ("principals", principal)];
    let found = items.into_iter().find_map(|(key, item)| item.map(|item| (key, item)));
    match found {
        Some((key, (index, node))) => (format!("{path}.{key}[{index}]"), node),
        None => (path, entry.node),
    }
}

/// The first item of a list that matches a value, with its position.
fn item<'r, T: Pattern + Copy>(list: &List<'r, T>, value: &T) -> Option<(usize, &'r Node)> {
    let mut items = list.as_ref()?.iter().enumerate();
    let (index, item) = items.find(|(_, item)| item.pattern.covers(value))?;
    Some((index, item.node))
}

fn of_denial<'r>(
    own: &Own,
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
        if own.reach(entry, Action::Allow) != Reach::Own {
            // That is an error already.
            continue;
        }
        let trespass = match own.reach(entry, Action::Deny) {
            Reach::Own => continue,
            Reach::Beyond(_) => Trespass::DenialByNamespace { key: key_by_namespace(entry) },
            Reach::Unknown => Trespass::TooManyCallers,
        };
        found.push(((format!("{path}.from[{index}]"), entry.node), trespass));
    }
}

/// The first field that an id without a namespace leaves unknown.
fn key_by_namespace(entry: &Callers<'_>) -> &'static str {
    let fields = [
        ("namespaces", entry.namespaces.is_some()),
        ("serviceAccounts", entry.service_accounts.is_some()),
        ("notNamespaces", entry.not_namespaces.is_some()),
    ];
    fields.iter().find(|(_, is_asked)| *is_asked).map_or("notServiceAccounts", |(key, _)| key)
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
