//! `asm`: ASMEgressTrafficPolicies of Alibaba Cloud Service Mesh.
//!
//! By its CRD description: an egress rule opens the hosts of its `to` on the service's `port` to the pods of
//! its `from`: those of a `namespace`, or where there is a `workloadSelector` those with these labels. What no
//! rule opens is refused. `byEgressGateway.port` is a port of the gateway's own.
//!
//! A policy knows no labels. A selector becomes the accounts that `--service-accounts` names for it; without
//! them its callers are left out, because the namespace would be wider.

use super::accounts::{Labels, is_name, labels, shown};
use super::draft::{Action, Callers, Draft, Rule, by_ports, told};
use super::policies::{Kind, policies};
use super::ports;
use super::text::{Shape, Text, other_key, title};
use super::wildcards;
use crate::document::Node;
use crate::failure::Failure;

const SHAPE: Shape = Shape {
    lists: &["egressRules", "from", "to", "hosts"],
    objects: &["spec", "port"],
    texts: &[],
    free: &["metadata", "workloadSelector", "byEgressGateway", "status"],
};

/// Whether a text has such a policy.
pub(super) fn looks(text: &Text) -> bool {
    text.has_object(is_policy)
}

/// A rule for each destination of an egress rule.
pub(super) fn import(texts: &[Text], draft: &mut Draft) -> Result<(), Failure> {
    for (text, object) in policies(texts, &KIND, draft)? {
        SHAPE.check(text, object)?;
        let policy = Policy { text, title: title(object) };
        let Some(spec) = object.get("spec") else { continue };
        if policy.is_limited(spec, &["egressRules", "byEgressGateway"], draft) {
            continue;
        }
        for rule in spec.get("egressRules").map_or(&[][..], Node::items) {
            policy.import(rule, draft);
        }
    }
    Ok(())
}

const KIND: Kind = Kind {
    is_policy,
    none: (
        "no ASMEgressTrafficPolicy",
        "name what `kubectl get asmegresstrafficpolicy -A -o yaml` writes",
    ),
};

fn is_policy(object: &Node) -> bool {
    object.get("kind").and_then(Node::text) == Some("ASMEgressTrafficPolicy")
}

struct Policy<'t> {
    text: &'t Text,
    title: String,
}

impl Policy<'_> {
    /// Whether an object has another key than those that are known. It is named.
    fn is_limited(&self, node: &Node, known: &[&str], draft: &mut Draft) -> bool {
        let other = other_key(node, known);
        if let Some(other) = other {
            draft.limit(self.text.at(node), other, &self.title);
        }
        other.is_some()
    }

    fn import(&self, rule: &Node, draft: &mut Draft) {
        if self.is_limited(rule, &["name", "from", "to"], draft) {
            return;
        }
        let sources = rule.get("from").map_or(&[][..], Node::items);
        if sources.is_empty() {
            let problem = format!("a rule of {} without `from`", told(&self.title));
            draft.point(self.text.at(rule), problem, "write the namespaces that call");
        }
        let mut notes = Vec::new();
        let from: Vec<Callers> =
            sources.iter().filter_map(|source| self.callers(source, &mut notes, draft)).collect();
        for destination in rule.get("to").map_or(&[][..], Node::items) {
            let name = destination.get("name").and_then(Node::text).unwrap_or("hosts");
            let to = by_ports(self.hosts(name, destination, draft));
            if !from.is_empty() && !to.is_empty() {
                let place = self.text.at(destination);
                let mut origin = vec![format!("{place}: {name} of {}", self.title)];
                origin.extend(notes.iter().cloned());
                let rule = Rule::new(name, origin, Action::Allow, to);
                draft.rules.push(Rule { from: from.clone(), ..rule });
            }
        }
    }

    /// Who a source is, with a note where they are accounts of pods. What no policy can say is named.
    fn callers(
        &self,
        source: &Node,
        notes: &mut Vec<String>,
        draft: &mut Draft,
    ) -> Option<Callers> {
        if self.is_limited(source, &["namespace", "workloadSelector"], draft) {
            return None;
        }
        let namespace = source.get("namespace").and_then(Node::text).filter(|it| is_name(it));
        let Some(namespace) = namespace else {
            let problem = format!("a source of {} without a namespace", told(&self.title));
            draft.point(self.text.at(source), problem, "write the `namespace` that calls");
            return None;
        };
        let namespaces = vec![namespace.to_owned()];
        let Some(selector) = source.get("workloadSelector") else {
            return Some(Callers { namespaces, ..Callers::default() });
        };
        let selected = labels(selector).filter(|labels| !labels.is_empty());
        let service_accounts = selected.as_ref().map_or(Vec::new(), |selected| {
            let are_selected =
                |pods: &Labels| selected.iter().all(|(key, value)| pods.get(key) == Some(value));
            draft.accounts.whose_pods(Some(&namespaces), are_selected)
        });
        let selected = selected.as_ref().map(shown).unwrap_or_default();
        if service_accounts.is_empty() {
            draft.point(
                self.text.at(selector),
                format!(
                    "`workloadSelector` {} in namespace {namespace}: a policy knows callers by their identity \
                     and not by labels, and the namespace would be wider",
                    told(&selected)
                ),
                "say with `--service-accounts` which accounts these pods run as",
            );
            return None;
        }
        notes.push(format!(
            "The accounts stand for `workloadSelector` {selected} by --service-accounts."
        ));
        Some(Callers { service_accounts, ..Callers::default() })
    }

    /// The hosts of a destination, each with its port. What is none is named.
    fn hosts(
        &self,
        name: &str,
        destination: &Node,
        draft: &mut Draft,
    ) -> Vec<(String, Option<u16>)> {
        const KEYS: [&str; 5] = ["name", "hosts", "port", "byEgressGateway", "httpsUpgrade"];
        if self.is_limited(destination, &KEYS, draft) {
            return Vec::new();
        }
        let port = destination.get("port").unwrap_or(destination);
        let Some(number) = port.get("number").and_then(ports::port) else {
            let problem = format!("{} without a `port.number` from 1 to 65535", told(name));
            draft.point(self.text.at(port), problem, "write the port of the service");
            return Vec::new();
        };
        if let Some(upgrade) = destination.get("httpsUpgrade") {
            draft.point(
                self.text.at(upgrade),
                format!(
                    "`httpsUpgrade` of {}: the rule is for the port that callers ask for",
                    told(name)
                ),
                "set up TLS to the service in the gateway, and add the port there to the rule",
            );
        }
        let mut hosts = Vec::new();
        for host in destination.get("hosts").map_or(&[][..], Node::items) {
            let value = host.text().unwrap_or_default();
            match wildcards::name(value) {
                Ok(host) => hosts.push((host, Some(number))),
                Err((problem, remedy)) => {
                    draft.point(self.text.at(host), format!("{problem}: {}", told(value)), remedy);
                }
            }
        }
        hosts
    }
}
