//! Which AuthorizationPolicies are those of the egress gateway.
//!
//! The gateway is what policies select that names egress: a label such as `istio: egressgateway`, or a Gateway
//! with `egress` in its name; of several the one that most policies select. To it belong the policies with that
//! selector, in its namespace or the root namespace, and those of the two namespaces that select nothing. If no
//! policy names egress, those that select nothing are taken for the gateway's, if they are of one namespace.
//! Others are for other workloads if the gateway is known and they are of another namespace, ask a label for
//! another value, or are for another Gateway or for ingress. What remains may be the gateway's or not.

use super::{Object, ROOT_NAMESPACE, items};
use crate::document::Node;
use std::collections::{BTreeMap, BTreeSet};

/// What a policy is for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Target {
    /// All workloads of its namespace.
    Namespace,
    /// Those with these labels.
    Labels(BTreeMap<String, String>),
    /// Kinds and names of objects.
    Objects(Vec<(String, String)>),
}

/// Whether a policy is the gateway's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Belongs {
    Yes,
    No,
    /// The input does not say.
    Unknown,
}

/// The gateway, as far as policies tell.
#[derive(Debug)]
pub(super) struct Gateway {
    /// What selects it; absent where no policy names egress.
    target: Option<Target>,
    /// Where it is; absent where no policy of a namespace of its own tells.
    namespace: Option<String>,
    /// Where other policies that name egress are.
    others: BTreeSet<String>,
}

impl Target {
    pub(super) fn of(object: Object<'_>) -> Self {
        let text = |node: &Node, key: &str| {
            node.get(key).and_then(Node::text).unwrap_or_default().to_owned()
        };
        let listed = items(object.spec("targetRefs")).unwrap_or_default();
        let objects: Vec<_> = listed.iter().chain(object.spec("targetRef")).collect();
        if !objects.is_empty() || object.spec("targetRefs").is_some_and(|it| it.items().is_empty())
        {
            let pair = |node: &Node| (text(node, "kind"), text(node, "name"));
            return Self::Objects(objects.into_iter().map(pair).collect());
        }
        let labels = object.spec("selector").and_then(|it| it.get("matchLabels"));
        let labels = labels.map_or(&[][..], Node::members).iter().map(|member| {
            (member.key.to_string(), member.value.text().unwrap_or_default().to_owned())
        });
        let labels: BTreeMap<_, _> = labels.collect();
        if labels.is_empty() { Self::Namespace } else { Self::Labels(labels) }
    }

    /// Whether a label or an object has a word in its name.
    pub(super) fn names(&self, word: &str) -> bool {
        let is = |text: &String| text.to_ascii_lowercase().contains(word);
        match self {
            Self::Namespace => false,
            Self::Labels(labels) => labels.values().any(is),
            Self::Objects(objects) => objects.iter().any(|(_, name)| is(name)),
        }
    }

    /// Whether it selects all that another one does.
    fn covers(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Labels(some), Self::Labels(more)) => {
                some.iter().all(|(key, value)| more.get(key) == Some(value))
            }
            _ => self == other,
        }
    }

    /// Whether it cannot select what another one does.
    fn is_apart(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Labels(labels), Self::Labels(others)) => {
                let differs = |(key, value)| others.get(key).is_some_and(|other| other != value);
                !self.names("egress") && (labels.iter().any(differs) || self.names("ingress"))
            }
            (Self::Objects(_), _) => !self.names("egress"),
            _ => false,
        }
    }

    /// As messages name it.
    pub(super) fn told(&self) -> String {
        match self {
            Self::Namespace => "its whole namespace".to_owned(),
            Self::Labels(labels) => {
                let labels = labels.iter().map(|(key, value)| format!("`{key}: {value}`"));
                labels.collect::<Vec<_>>().join(", ")
            }
            Self::Objects(objects) => {
                let objects = objects.iter().map(|(kind, name)| format!("{kind} {name}"));
                objects.collect::<Vec<_>>().join(", ")
            }
        }
    }
}

impl Gateway {
    /// The gateway that policies with these targets and namespaces are about.
    pub(super) fn of(policies: &[(Target, &str)]) -> Self {
        let of_egress = policies.iter().filter(|(target, _)| target.names("egress"));
        let target = most(of_egress.map(|(target, _)| target)).cloned();
        let wanted = target.clone().unwrap_or(Target::Namespace);
        let homes = policies.iter().filter(|(it, home)| *it == wanted && *home != ROOT_NAMESPACE);
        let homes: Vec<_> = homes.map(|(_, home)| home).collect();
        let is_one = homes.windows(2).all(|pair| matches!(pair, [one, two] if one == two));
        let namespace = match target {
            None if !is_one => None,
            _ => most(homes.into_iter()).map(|home| (*home).to_owned()),
        };
        let of_egress = policies.iter().filter(|(target, _)| target.names("egress"));
        let others = of_egress.map(|(_, home)| (*home).to_owned()).collect();
        Self { target, namespace, others }
    }

    /// Whether a policy is the gateway's.
    pub(super) fn owns(&self, target: &Target, namespace: &str) -> Belongs {
        let home = self.namespace.as_deref();
        let is_near = namespace == ROOT_NAMESPACE || home == Some(namespace);
        // What names no namespace may be meant for any.
        let is_clear = ![Some(""), None].contains(&home) && !namespace.is_empty();
        let is_far = !is_near && is_clear && !self.others.contains(namespace);
        match (&self.target, target) {
            (_, Target::Namespace) if is_near => Belongs::Yes,
            (Some(own), _) if is_near && target.covers(own) => Belongs::Yes,
            (Some(own), _) if target.is_apart(own) || is_far && !target.names("egress") => {
                Belongs::No
            }
            _ => Belongs::Unknown,
        }
    }
}

/// The value that comes most often, of several the first.
fn most<'a, T: Ord>(values: impl Iterator<Item = &'a T>) -> Option<&'a T> {
    let mut counts: BTreeMap<&T, (usize, usize)> = BTreeMap::new();
    for (place, value) in values.enumerate() {
        let (count, _) = counts.entry(value).or_insert((0, place));
        *count = count.saturating_add(1);
    }
    let best = counts.into_iter().min_by_key(|(_, (count, place))| (usize::MAX - count, *place));
    best.map(|(value, _)| value)
}
