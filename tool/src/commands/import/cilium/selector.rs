//! Whose pods a policy selects.

use super::Policy;
use crate::commands::import::accounts::{Labels, is_name};
use crate::commands::import::draft::{Callers, Draft, told};
use crate::document::{Node, Value};

/// The callers of a policy.
pub(super) struct Subject {
    /// Exactly they, or some of them; nothing where no policy can say them.
    pub(super) exact: Option<Vec<Callers>>,
    /// They and perhaps others: whom a deny is for. Empty: anybody; nothing where it is nobody.
    pub(super) widest: Option<Vec<Callers>>,
    /// Whether these may be more.
    pub(super) is_wider: bool,
    /// Where the exact ones are by the accounts of pods: what they stand for.
    pub(super) note: Option<String>,
}

impl Subject {
    /// Pods that nobody knows here.
    fn unknown() -> Self {
        Self { exact: None, widest: Some(Vec::new()), is_wider: true, note: None }
    }
}

const NAMESPACE: &str = "io.kubernetes.pod.namespace";
const ACCOUNT: &str = "io.cilium.k8s.policy.serviceaccount";

/// One demand on the labels of a pod.
struct Term {
    key: String,
    demand: Demand,
}

enum Demand {
    In(Vec<String>),
    NotIn(Vec<String>),
    Exists,
    /// What no labels that are known to be there can fulfil.
    Other,
}

impl Policy<'_> {
    /// Whom a policy is for. Who cannot be said is named.
    pub(super) fn subject(&self, spec: &Node, draft: &mut Draft) -> Subject {
        let node = spec.get("endpointSelector");
        let Some(node) = node.filter(|node| matches!(node.value, Value::Object(_))) else {
            let problem = format!("{} without an `endpointSelector`", told(&self.title));
            draft.point(self.text.at(spec), problem, "write whose pods it is for");
            return Subject::unknown();
        };
        let selector = Selector::read(node);
        let is_clusterwide =
            self.object.get("kind").and_then(Node::text) == Some("CiliumClusterwideNetworkPolicy");
        let own = self.object.get("metadata").and_then(|metadata| metadata.get("namespace"));
        let own = own.and_then(Node::text).filter(|it| is_name(it));
        if own.is_none() && !is_clusterwide {
            let problem =
                format!("{} without a namespace: its pods are not known here", told(&self.title));
            draft.point(self.text.at(self.object), problem, "write `namespace` in its `metadata`");
            return Subject::unknown();
        }
        let own = own.filter(|_| !is_clusterwide).map(|own| vec![own.to_owned()]);
        let subject = selector.subject(own, draft);
        if subject.widest.is_none() {
            let problem = format!(
                "`endpointSelector` {} of {}, which selects no pod",
                told(&selector.shown()),
                told(&self.title)
            );
            draft.point(self.text.at(node), problem, "select pods of the policy's namespace");
        } else if subject.exact.is_none() {
            draft.point(
                self.text.at(node),
                format!(
                    "`endpointSelector` {} of {}: a policy knows callers by their identity and not by labels, \
                     and {} would be wider",
                    told(&selector.shown()),
                    told(&self.title),
                    if is_clusterwide { "any caller" } else { "the namespace" },
                ),
                "say with `--service-accounts` which accounts these pods run as",
            );
        }
        subject
    }
}

/// What a selector demands.
struct Selector(Vec<Term>);

impl Selector {
    fn read(node: &Node) -> Self {
        let mut terms = Vec::new();
        for member in node.members() {
            match &*member.key {
                "matchLabels" => terms.extend(member.value.members().iter().map(|label| {
                    let value = label.value.text().map(str::to_owned);
                    Term::new(
                        &label.key,
                        value.map_or(Demand::Other, |value| Demand::In(vec![value])),
                    )
                })),
                "matchExpressions" => terms.extend(member.value.items().iter().map(expression)),
                other => terms.push(Term::new(other, Demand::Other)),
            }
        }
        Self(terms)
    }

    /// The callers; `own` is the namespace of the policy, where it has one.
    fn subject(&self, own: Option<Vec<String>>, draft: &Draft) -> Subject {
        let rest: Vec<&Term> =
            self.0.iter().filter(|term| ![NAMESPACE, ACCOUNT].contains(&&*term.key)).collect();
        let (namespaces, are_namespaces_known) = self.names(NAMESPACE, own.clone());
        let (accounts, are_accounts_known) = self.names(ACCOUNT, None);
        let is_known = are_namespaces_known && are_accounts_known;
        let callers = |namespaces: Vec<String>, service_accounts: Vec<String>| {
            vec![Callers { namespaces, service_accounts, ..Callers::default() }]
        };
        let named = match (&namespaces, &accounts) {
            (Some(namespaces), Some(accounts)) => {
                let of = |namespace: &String| {
                    accounts.iter().map(|it| format!("{namespace}/{it}")).collect::<Vec<_>>()
                };
                Some(callers(Vec::new(), namespaces.iter().flat_map(of).collect()))
            }
            (Some(namespaces), None) => Some(callers(namespaces.clone(), Vec::new())),
            // A pod has a namespace.
            (None, None) => Some(callers(vec!["*".to_owned()], Vec::new())),
            (None, Some(_)) => None,
        };
        let are_some = |callers: &Vec<Callers>| {
            callers.iter().any(|it| !it.namespaces.is_empty() || !it.service_accounts.is_empty())
        };
        let is_nobody = |names: &Option<Vec<String>>| names.as_ref().is_some_and(Vec::is_empty);
        let widest = match (&namespaces, &named) {
            _ if is_nobody(&namespaces) || is_nobody(&accounts) => None,
            (Some(_), Some(named)) => Some(named.clone()),
            _ => Some(Vec::new()),
        };
        let is_wider = !rest.is_empty() || !is_known || named.is_none();
        let exact = if rest.is_empty() {
            named
        } else {
            let mapped = draft.accounts.whose_pods(namespaces.as_deref(), |labels| {
                rest.iter().all(|term| term.is_fulfilled_by(labels))
            });
            let is_named = |account: &String| {
                let name = account.split_once('/').map(|(_, name)| name.to_owned());
                accounts.as_ref().is_none_or(|names| name.is_some_and(|name| names.contains(&name)))
            };
            Some(callers(Vec::new(), mapped.into_iter().filter(is_named).collect()))
        };
        let exact = exact.filter(|callers| is_known && are_some(callers));
        let note = (!rest.is_empty()).then(|| {
            format!(
                "The accounts stand for `endpointSelector` {} by --service-accounts.",
                self.shown()
            )
        });
        Subject { exact, widest, is_wider, note }
    }

    /// The values that a label may have, `None` where it may have any, and whether that is all that is
    /// demanded of it.
    fn names(&self, key: &str, own: Option<Vec<String>>) -> (Option<Vec<String>>, bool) {
        let (mut names, mut is_known) = (own, true);
        for term in self.0.iter().filter(|term| term.key == key) {
            match &term.demand {
                Demand::In(values) if values.iter().all(|value| is_name(value)) => {
                    names = Some(match names {
                        Some(names) => names.into_iter().filter(|it| values.contains(it)).collect(),
                        None => values.clone(),
                    });
                }
                Demand::Exists => {}
                _ => is_known = false,
            }
        }
        (names, is_known)
    }

    /// As messages quote it.
    fn shown(&self) -> String {
        let terms: Vec<String> = self.0.iter().map(Term::shown).collect();
        terms.join(",")
    }
}

fn expression(node: &Node) -> Term {
    let text = |key: &str| node.get(key).and_then(Node::text).unwrap_or_default();
    let values = node.get("values").map_or(&[][..], Node::items);
    let values: Option<Vec<String>> =
        values.iter().map(|value| value.text().map(str::to_owned)).collect();
    let demand = match (text("operator"), values) {
        ("In", Some(values)) if !values.is_empty() => Demand::In(values),
        ("NotIn", Some(values)) if !values.is_empty() => Demand::NotIn(values),
        ("Exists", _) => Demand::Exists,
        _ => Demand::Other,
    };
    Term::new(text("key"), demand)
}

impl Term {
    /// The source of a label that Kubernetes has, or any, is left out of its key.
    fn new(key: &str, demand: Demand) -> Self {
        let key = key.strip_prefix("k8s:").or_else(|| key.strip_prefix("any:")).unwrap_or(key);
        Self { key: key.to_owned(), demand }
    }

    /// Whether every pod that has these labels, and perhaps more, is meant.
    fn is_fulfilled_by(&self, labels: &Labels) -> bool {
        let Some(value) = labels.get(&self.key) else { return false };
        match &self.demand {
            Demand::In(values) => values.contains(value),
            Demand::NotIn(values) => !values.contains(value),
            Demand::Exists => true,
            Demand::Other => false,
        }
    }

    fn shown(&self) -> String {
        let key = &self.key;
        match &self.demand {
            Demand::In(values) if values.len() == 1 => format!("{key}={}", values.join("")),
            Demand::In(values) => format!("{key} in ({})", values.join(",")),
            Demand::NotIn(values) => format!("{key} not in ({})", values.join(",")),
            Demand::Exists | Demand::Other => key.clone(),
        }
    }
}
