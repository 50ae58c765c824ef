//! `istio`: ServiceEntries, AuthorizationPolicies of the egress gateway, and Sidecars, together.
//!
//! By Istio's reference of the three. A request passes if a ServiceEntry names its host and port and its
//! caller sees that one (`exportTo`, Sidecars), and if the AuthorizationPolicies let it: no CUSTOM and no
//! DENY against it, and one ALLOW for it where there is any. So a rule says both: each ALLOW within what is
//! registered. Without ServiceEntries the policies stand alone; without ALLOW policies all is allowed that is
//! registered.
//!
//! There hosts are compared with the Host header as it is. Here `h` and `h:443` are one host. What
//! `meshConfig` says is not in the input: the root namespace is taken to be `istio-system`, and unknown hosts
//! to be refused (`REGISTRY_ONLY`).

mod authorization;
mod callers;
mod conditions;
mod gateway;
mod registry;
mod sidecars;
mod targets;

use super::draft::{Action, Draft, Rule};
use super::text::{Text, title};
use crate::document::{Node, Value};
use crate::failure::Failure;
use authorization::{Authorization, Policy};
use registry::Registry;
use sidecars::Sidecars;

/// Where what holds for the whole mesh is, unless `meshConfig` says otherwise.
const ROOT_NAMESPACE: &str = "istio-system";

/// One of the objects that are read.
#[derive(Clone, Copy, Debug)]
struct Object<'n> {
    text: &'n Text,
    node: &'n Node,
}

/// Whether a text has an object that is read.
pub(super) fn looks(text: &Text) -> bool {
    text.has_object(|object| kind(object).is_some())
}

/// Rules for what both the registry and the authorization allow, and for what is denied.
pub(super) fn import(texts: &[Text], draft: &mut Draft) -> Result<(), Failure> {
    let (mut registry, mut sidecars) = (Registry::default(), Sidecars::default());
    let mut policies = Vec::new();
    let mut has_objects = false;
    for text in texts {
        for node in text.objects()? {
            let object = Object { text, node };
            match kind(node) {
                Some("ServiceEntry") => registry.read(object, draft),
                Some("Sidecar") => sidecars.read(object, draft)?,
                Some(_) => policies.push(Policy::read(object)?),
                None => {
                    draft.passed_over.push(format!("{}: {}", object.place(), title(node)));
                    continue;
                }
            }
            has_objects = true;
        }
    }
    if let (false, Some(text)) = (has_objects, texts.first()) {
        let problem = "no ServiceEntry, AuthorizationPolicy or Sidecar";
        let remedy = "name what `kubectl get serviceentries,authorizationpolicies,sidecars -A -o yaml` writes";
        return Err(Failure::new(text.name(), problem, remedy));
    }
    let registry = registry.seen(&sidecars);
    let authorization = Authorization::of(&policies, draft);
    let sparing = authorization.write(registry.as_ref(), draft);
    if !authorization.has_allow() {
        let action = if authorization.has_dry_allow() { Action::Retiring } else { Action::Allow };
        match registry {
            Some(registry) => registry.write(action, draft),
            None => draft.point(
                texts.first().map_or("", Text::name),
                "neither a ServiceEntry nor an ALLOW policy: what is allowed is not said",
                "import the ServiceEntries, too",
            ),
        }
    }
    tell_of_unverified(&sparing, draft);
    Ok(())
}

/// Tells which deny rules refuse those, too, whom the source lets through because it does not know them.
fn tell_of_unverified(sparing: &[(String, String)], draft: &mut Draft) {
    let is_deny = |rule: &Rule| matches!(rule.action, Action::Deny | Action::DenyLater);
    let is_open = |rule: &Rule| !is_deny(rule) && rule.from.is_empty();
    if draft.rules.iter().any(is_open) {
        for (place, title) in sparing {
            let problem = format!("{title}: callers who are not verified are denied, too");
            draft.point(
                place,
                problem,
                "nothing, if the gateway asks all callers for certificates",
            );
        }
    }
}

/// Which of the three kinds an object is.
fn kind(object: &Node) -> Option<&str> {
    let group = object.get("apiVersion")?.text()?.split_once('/')?.0;
    let kind = object.get("kind")?.text()?;
    let is = match kind {
        "ServiceEntry" | "Sidecar" => group == "networking.istio.io",
        "AuthorizationPolicy" => group == "security.istio.io",
        _ => false,
    };
    is.then_some(kind)
}

impl<'n> Object<'n> {
    fn place(self) -> String {
        self.text.at(self.node)
    }

    /// The value under a key of `spec`, if there is one.
    fn spec(self, key: &str) -> Option<&'n Node> {
        self.node.get("spec")?.get(key).filter(|node| node.value != Value::Null)
    }

    fn metadata(self, key: &str) -> Option<&'n str> {
        self.node.get("metadata")?.get(key)?.text()
    }

    fn name(self) -> &'n str {
        self.metadata("name").unwrap_or("unnamed")
    }

    fn namespace(self) -> Option<&'n str> {
        self.metadata("namespace")
    }

    /// `KIND NAMESPACE/NAME`.
    fn title(self) -> String {
        let kind = kind(self.node).unwrap_or_default();
        match self.namespace() {
            Some(namespace) => format!("{kind} {namespace}/{}", self.name()),
            None => format!("{kind} {}", self.name()),
        }
    }
}

/// The items of a list that may be absent; `None` where it is something else.
fn items(node: Option<&Node>) -> Option<&[Node]> {
    match node.map(|node| &node.value) {
        None | Some(Value::Null) => Some(&[]),
        Some(Value::List(items)) => Some(items),
        Some(_) => None,
    }
}
