//! What keeps the rules of a team with `namespaces` to that team's own callers.
//!
//! Own is who shows a verified id that begins `DOMAIN/ns/NAMESPACE/` with a namespace of the team. A
//! rule that would change anything for another caller, or for one who is not verified, trespasses:
//!
//! - `from` must name own callers in every entry;
//! - a deny rule counts what is unknown as a match, so it also refuses callers who are not verified,
//!   and by `namespaces` those whose id has no namespace: it needs `identity: required`, which refuses
//!   the former anyway, and `principals`;
//! - a header named `x-…` that any rule sets is removed from every request, and one that the policy's
//!   own stamp sets would no longer say what it says of all others;
//! - a field that is not listed here is not known to be held.

use super::team::Team;
use crate::policy_file::Node;
use egress_warden::stamp::HeaderName;
use std::collections::HashSet;

/// Fields of a rule that act on the requests that `from` names, and on no others.
const HELD: [&str; 9] = ["action", "from", "id", "message", "note", "only", "stamp", "to", "until"];

/// What those say who speak for every caller.
#[derive(Debug, Default)]
pub(super) struct Common {
    /// Whether callers who are not verified are refused before any rule.
    pub(super) requires_identity: bool,
    /// Folded names that the policy's own stamp sets.
    stamped: HashSet<String>,
    /// Folded names that rules for everybody set.
    set_by_rules: HashSet<String>,
}

/// Where a rule is not held: its JSONPath, the place, the problem and the remedy.
pub(super) struct Trespass<'r> {
    pub(super) path: String,
    pub(super) node: &'r Node,
    pub(super) problem: String,
    pub(super) remedy: String,
}

impl Common {
    /// Takes a `stamp` of the policy itself.
    pub(super) fn add_stamp(&mut self, stamp: &Node) {
        self.stamped.extend(names_set(stamp));
    }

    /// Takes a rule that speaks for everybody.
    pub(super) fn add_rule(&mut self, rule: &Node) {
        self.set_by_rules.extend(rule.get("stamp").into_iter().flat_map(names_set));
    }
}

/// Every trespass of a rule that stands at `path`.
pub(super) fn trespasses<'r>(
    team: &Team,
    common: &Common,
    path: &str,
    rule: &'r Node,
) -> Vec<Trespass<'r>> {
    let mut found = Vec::new();
    of_callers(team, path, rule, &mut found);
    if rule.get("action").and_then(Node::text) == Some("deny") {
        of_denial(team, common, path, rule, &mut found);
    }
    of_stamp(team, common, path, rule, &mut found);
    for member in rule.members() {
        if !HELD.contains(&&*member.key) {
            found.push(Trespass {
                path: format!("{path}.{}", member.key),
                node: &member.value,
                problem: format!(
                    "a field that cannot be limited to the callers of team `{}`",
                    team.name
                ),
                remedy: FOR_EVERYBODY.to_owned(),
            });
        }
    }
    found
}

/// Who may say what no team can.
pub(super) const FOR_EVERYBODY: &str = "leave it to a policy whose team has no `namespaces`";

fn of_callers<'r>(team: &Team, path: &str, rule: &'r Node, found: &mut Vec<Trespass<'r>>) {
    let entries = entries(rule);
    if entries.is_empty() {
        found.push(Trespass {
            path: path.to_owned(),
            node: rule.get("id").unwrap_or(rule),
            problem: format!("a rule of team `{}` for any caller", team.name),
            remedy: format!("write `from: [{{namespaces: [{}]}}]`", team.list()),
        });
    }
    for (index, entry) in entries.iter().enumerate() {
        if !names_own_namespaces(team, entry) && !names_own_principals(team, entry) {
            found.push(Trespass {
                path: format!("{path}.from[{index}]"),
                node: entry,
                problem: format!("callers outside team `{}`", team.name),
                remedy: format!("write `namespaces: [{}]`, or fewer", team.list()),
            });
        }
    }
}

fn of_denial<'r>(
    team: &Team,
    common: &Common,
    path: &str,
    rule: &'r Node,
    found: &mut Vec<Trespass<'r>>,
) {
    if !common.requires_identity {
        found.push(Trespass {
            path: format!("{path}.action"),
            node: rule.get("action").unwrap_or(rule),
            problem: format!(
                "a deny rule of team `{}`, which refuses every caller who is not verified too",
                team.name
            ),
            remedy: "leave the destination out of the team's allow rules, or set `identity: \
                     required` in a policy whose team has no `namespaces`"
                .to_owned(),
        });
        return;
    }
    for (index, entry) in entries(rule).iter().enumerate() {
        if names_own_namespaces(team, entry) && !names_own_principals(team, entry) {
            found.push(Trespass {
                path: format!("{path}.from[{index}]"),
                node: entry,
                problem:
                    "callers of a deny rule by `namespaces`, which matches every id without a \
                          namespace too"
                        .to_owned(),
                remedy: "write `principals`, such as \"cluster.local/ns/NAMESPACE/*\"".to_owned(),
            });
        }
    }
}

fn of_stamp<'r>(
    team: &Team,
    common: &Common,
    path: &str,
    rule: &'r Node,
    found: &mut Vec<Trespass<'r>>,
) {
    let Some(set) = rule.get("stamp").and_then(|stamp| stamp.get("set")) else { return };
    for member in set.members() {
        let Ok(name) = HeaderName::parse(&member.key) else { continue };
        let name = name.folded();
        let problem = if common.stamped.contains(name) {
            format!("a header of team `{}` that the policy's own stamp sets", team.name)
        } else if name.starts_with("x-") && !common.set_by_rules.contains(name) {
            format!("a header that a stamp of team `{}` would remove from all requests", team.name)
        } else {
            continue;
        };
        found.push(Trespass {
            path: format!("{path}.stamp.set['{}']", member.key),
            node: &member.value,
            problem,
            remedy: format!("use another name, without `x-`, or {FOR_EVERYBODY}"),
        });
    }
}

fn entries(rule: &Node) -> &[Node] {
    rule.get("from").map(Node::items).unwrap_or_default()
}

/// The folded names that a stamp sets.
fn names_set(stamp: &Node) -> Vec<String> {
    let set = stamp.get("set").map(Node::members).unwrap_or_default();
    let names = set.iter().filter_map(|member| HeaderName::parse(&member.key).ok());
    names.map(|name| name.folded().to_owned()).collect()
}

fn names_own_namespaces(team: &Team, entry: &Node) -> bool {
    lists_only(entry, "namespaces", |namespace| team.has(namespace))
}

fn names_own_principals(team: &Team, entry: &Node) -> bool {
    lists_only(entry, "principals", |principal| {
        let mut segments = principal.split('/');
        // A `*` stands first or last in a pattern: before a fourth segment the namespace is whole.
        match (segments.next(), segments.next(), segments.next(), segments.next()) {
            (Some(domain), Some("ns"), Some(namespace), Some(_)) => {
                !domain.contains('*') && team.has(namespace)
            }
            _ => false,
        }
    })
}

/// Whether an entry has a list under the key, and only such items.
fn lists_only(entry: &Node, key: &str, is_own: impl Fn(&str) -> bool) -> bool {
    let items = entry.get(key).map(Node::items).unwrap_or_default();
    !items.is_empty() && items.iter().all(|item| item.text().is_some_and(&is_own))
}
