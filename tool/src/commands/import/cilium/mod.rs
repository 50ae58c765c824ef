//! `cilium`: CiliumNetworkPolicies and CiliumClusterwideNetworkPolicies.
//!
//! By Cilium's documentation (Layer 3 policies, DNS based; Layer 4; Layer 7) and `pkg/fqdn/matchpattern`: the
//! rules of all policies that select a pod add up, `egressDeny` wins over all of them, and what none opens is
//! refused. A pod that no policy selects is taken to be refused everything, as in the enforcement mode `always`.
//! Requests are taken to be TCP.
//!
//! In `matchPattern` a `*` is any run of bytes within one label, `**.` at the start is one label or more since
//! Cilium 1.19 and one label before, and `*` alone is any name. Which Cilium runs is not in a policy: unless
//! `--cilium-version` says so, `**.` is one label. A rule without `toPorts` is for
//! any port, an empty rule opens nothing. What is opened by address, by entity or by port alone names no
//! host: it is left out. Rules for pods of the cluster are no business of a gateway.

mod http;
mod selector;
mod traffic;
mod version;

pub(crate) use version::Version;

use super::draft::{Action, Callers, Draft, Entry, Rule, told};
use super::policies::{Kind, policies};
use super::text::{Shape, Text, other_key, title};
use crate::document::{Node, Value};
use crate::failure::Failure;
use traffic::Denied;

const SHAPE: Shape = Shape {
    lists: &[
        "specs",
        "egress",
        "egressDeny",
        "toFQDNs",
        "toPorts",
        "toEntities",
        "toEndpoints",
        "toCIDR",
        "toCIDRSet",
        "ports",
        "http",
        "matchExpressions",
        "values",
    ],
    objects: &["spec", "endpointSelector", "enableDefaultDeny", "rules", "matchLabels"],
    texts: &[],
    free: &["metadata", "matchLabels", "status"],
};

/// The keys of a `spec`.
const KEYS: [&str; 10] = [
    "endpointSelector",
    "nodeSelector",
    "egress",
    "egressDeny",
    "ingress",
    "ingressDeny",
    "enableDefaultDeny",
    "description",
    "labels",
    "log",
];

/// Whether a text has such a policy.
pub(super) fn looks(text: &Text) -> bool {
    text.has_object(is_policy)
}

/// A rule for each egress rule that names hosts, and for each that denies.
pub(super) fn import(texts: &[Text], draft: &mut Draft) -> Result<(), Failure> {
    let mut sides = Sides::default();
    for (text, object) in policies(texts, &KIND, draft)? {
        SHAPE.check(text, object)?;
        let policy = Policy { text, object, title: title(object) };
        let listed = object.get("specs").map_or(&[][..], Node::items);
        for spec in object.get("spec").into_iter().chain(listed) {
            policy.import(spec, &mut sides, draft);
        }
    }
    sides.write(draft);
    Ok(())
}

const KIND: Kind = Kind {
    is_policy,
    none: ("no CiliumNetworkPolicy", "name what `kubectl get cnp,ccnp -A -o yaml` writes"),
};

fn is_policy(object: &Node) -> bool {
    let kind = object.get("kind").and_then(Node::text);
    matches!(kind, Some("CiliumNetworkPolicy" | "CiliumClusterwideNetworkPolicy"))
}

/// One policy.
struct Policy<'t> {
    text: &'t Text,
    object: &'t Node,
    title: String,
}

/// What the policies open and deny.
#[derive(Default)]
struct Sides {
    /// Each with its place where accounts stand for some of the pods that are selected.
    allowed: Vec<(Rule, Option<String>)>,
    denied: Vec<Rule>,
}

impl Policy<'_> {
    fn is_clusterwide(&self) -> bool {
        self.object.get("kind").and_then(Node::text) == Some("CiliumClusterwideNetworkPolicy")
    }

    fn import(&self, spec: &Node, sides: &mut Sides, draft: &mut Draft) {
        let rules = |key: &str| spec.get(key).map_or(&[][..], Node::items);
        let (egress, denials) = (rules("egress"), rules("egressDeny"));
        if spec.get("nodeSelector").is_some() || egress.is_empty() && denials.is_empty() {
            let what = if spec.get("nodeSelector").is_some() {
                "of nodes"
            } else {
                "without egress rules"
            };
            draft.passed_over.push(format!("{}: {}, {what}", self.text.at(spec), self.title));
            return;
        }
        let default = spec.get("enableDefaultDeny").and_then(|default| default.get("egress"));
        if let Some(default) = default
            && default.value == Value::Bool(false)
        {
            draft.point(
                self.text.at(default),
                format!(
                    "`enableDefaultDeny` of {}: what it leaves open stays refused",
                    told(&self.title)
                ),
                "add rules that allow what callers need",
            );
        }
        let subject = self.subject(spec, draft);
        let other = other_key(spec, &KEYS);
        if let Some(other) = other {
            draft.limit(self.text.at(spec), other, &self.title);
        }
        for rule in egress.iter().filter(|_| other.is_none()) {
            let to = self.opened(rule, draft);
            if let Some(from) = &subject.exact
                && !to.is_empty()
            {
                let notes = traffic::notes(rule, draft.cilium);
                let place = subject.note.as_ref().map(|_| self.text.at(rule));
                let mut rule = self.rule(rule, "egress", Action::Allow, from.clone(), to);
                rule.origin.extend(notes.into_iter().chain(subject.note.clone()));
                sides.allowed.push((rule, place));
            }
        }
        let Some(widest) = &subject.widest else { return };
        for rule in denials {
            let to = match self.denied(rule, draft) {
                Denied::Nothing => continue,
                Denied::Everything => Vec::new(),
                Denied::Ports(entry) => vec![entry],
            };
            if subject.is_wider {
                draft.point(
                    self.text.at(rule),
                    format!(
                        "a deny of {}: here it is for more callers than its pods",
                        told(&self.title)
                    ),
                    "write by hand which callers are denied it",
                );
            }
            sides.denied.push(self.rule(rule, "egress-deny", Action::Deny, widest.clone(), to));
        }
    }

    fn rule(
        &self,
        node: &Node,
        key: &str,
        action: Action,
        from: Vec<Callers>,
        to: Vec<Entry>,
    ) -> Rule {
        let name = self.object.get("metadata").and_then(|metadata| metadata.get("name"));
        let name = name.and_then(Node::text).unwrap_or(key);
        let name = if action == Action::Deny { format!("{name}-deny") } else { name.to_owned() };
        let origin = vec![format!("{}: {} of {}", self.text.at(node), key, self.title)];
        // An entry without conditions is any destination.
        let is_any = to.contains(&Entry::default());
        let to = if is_any { Vec::new() } else { to };
        Rule { from, ..Rule::new(&name, origin, action, to) }
    }
}

impl Sides {
    /// Writes the rules, without what a deny always covers.
    fn write(self, draft: &mut Draft) {
        let left = |rule: Rule| {
            let mut denials =
                self.denied.iter().filter(|denial| covers_all(&denial.from, &rule.from));
            if rule.to.is_empty() {
                return (!denials.any(|denial| denial.to.is_empty())).then_some(rule);
            }
            let denials: Vec<_> = denials.collect();
            let is_left = |entry: &Entry| !denials.iter().any(|denial| denies(denial, entry));
            let to: Vec<Entry> = rule.to.iter().filter(|entry| is_left(entry)).cloned().collect();
            (!to.is_empty()).then_some(Rule { to, ..rule })
        };
        for (rule, place) in self.allowed {
            match (left(rule), place) {
                (Some(rule), _) => draft.rules.push(rule),
                (None, Some(place)) => draft.point(
                    place,
                    "the accounts that stand for the `endpointSelector` are denied all of it: other pods that it \
                     selects stay refused",
                    "name their accounts with `--service-accounts`, too",
                ),
                (None, None) => {}
            }
        }
        draft.rules.extend(self.denied);
    }
}

/// Whether a deny is for every port of an entry.
fn denies(denial: &Rule, entry: &Entry) -> bool {
    denial.to.is_empty()
        || denial.to.iter().any(|denied| {
            let is_denied = |port: &u16| match denied.not_ports.is_empty() {
                true => denied.ports.contains(port),
                false => !denied.not_ports.contains(port),
            };
            !entry.ports.is_empty() && entry.ports.iter().all(is_denied)
        })
}

/// Whether some callers are all among others, as far as their names say.
fn covers_all(wide: &[Callers], callers: &[Callers]) -> bool {
    wide.is_empty()
        || !callers.is_empty()
            && callers.iter().all(|callers| {
                wide.iter().any(|wide| {
                    let has = |name: &str| wide.namespaces.iter().any(|it| it == "*" || it == name);
                    let namespace = |account: &String| account.split('/').next().is_some_and(has);
                    callers.namespaces.iter().all(|name| has(name))
                        && callers.service_accounts.iter().all(|account| {
                            namespace(account) || wide.service_accounts.contains(account)
                        })
                })
            })
}
