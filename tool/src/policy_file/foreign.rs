//! What an object is that carries no policy, where somebody may take it for one.

use super::carrier;
use crate::document::{Node, Value};
use crate::finding::Message;
use egress_warden::config::RENDER;
use std::borrow::Cow;

/// What it is instead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Foreign {
    EnvoyConfiguration,
    EnvoyFilter,
    /// With the command that takes the text out; and whether that looks like a policy.
    ConfigMap(String, bool),
    Kustomization,
    EmptyList,
    /// A kind that says in another language what may leave.
    OtherLanguage(Box<str>),
    /// Any other kind.
    Manifest(Box<str>),
    /// Several objects, as messages name them.
    Several(Vec<String>),
}

/// Kinds that say in another language what may leave a cluster.
const OTHER_LANGUAGES: [&str; 14] = [
    "ASMEgressTrafficPolicy",
    "AdminNetworkPolicy",
    "AuthorizationPolicy",
    "BaselineAdminNetworkPolicy",
    "CiliumClusterwideNetworkPolicy",
    "CiliumNetworkPolicy",
    "ClusterNetworkPolicy",
    "EgressFirewall",
    "EgressNetworkPolicy",
    "FQDNNetworkPolicy",
    "GlobalNetworkPolicy",
    "NetworkPolicy",
    "ServiceEntry",
    "Sidecar",
];

/// What an object is that carries no policy; nothing where it may be one.
pub(super) fn of(object: &Node) -> Option<Foreign> {
    let has = |key| object.get(key).is_some();
    if has("policy") || carrier::ways(object).is_some() {
        return None;
    }
    if has("static_resources") || has("dynamic_resources") {
        return Some(Foreign::EnvoyConfiguration);
    }
    let kind = object.get("kind").and_then(Node::text).filter(|_| has("apiVersion"))?;
    Some(match kind {
        "ConfigMap" => {
            let (command, looks_like_policy) = command_of(object);
            Foreign::ConfigMap(command, looks_like_policy)
        }
        "EnvoyFilter" => Foreign::EnvoyFilter,
        "Kustomization" => Foreign::Kustomization,
        _ if OTHER_LANGUAGES.contains(&kind) => Foreign::OtherLanguage(kind.into()),
        _ if has("items") => Foreign::EmptyList,
        _ => Foreign::Manifest(shown(kind).into()),
    })
}

/// How messages name an object.
pub(super) fn told(object: &Node) -> String {
    let name = |key| Some(shown(object.get("metadata")?.get(key)?.text()?));
    let kind = object.get("kind").and_then(Node::text).map(shown);
    let told = match (kind, name("namespace"), name("name")) {
        (Some(kind), Some(namespace), Some(name)) => format!("{kind} {namespace}/{name}"),
        (Some(kind), None, Some(name)) => format!("{kind} {name}"),
        (Some(kind), _, None) => kind,
        (None, ..) => match &object.value {
            Value::Object(_) => "an object without `kind`".to_owned(),
            Value::List(_) => "a list".to_owned(),
            _ => "a single value".to_owned(),
        },
    };
    match of(object) {
        Some(Foreign::ConfigMap(command, true)) => format!("{told} (read it with `{command}`)"),
        _ => told,
    }
}

/// The author's name of something, on one line and no longer than names in Kubernetes are.
pub(super) fn shown(name: &str) -> String {
    const LONGEST: usize = 253;
    let name: String = name.chars().take(LONGEST).collect();
    name.escape_debug().to_string()
}

impl Foreign {
    /// Whether it says more than that there is no policy.
    pub(super) fn is_telling(&self) -> bool {
        match self {
            Self::EnvoyConfiguration | Self::EnvoyFilter | Self::OtherLanguage(_) => true,
            Self::ConfigMap(_, looks_like_policy) => *looks_like_policy,
            Self::Kustomization | Self::EmptyList | Self::Manifest(_) | Self::Several(_) => false,
        }
    }
}

impl Message for Foreign {
    fn problem(&self) -> Cow<'_, str> {
        match self {
            Self::EnvoyConfiguration => "an Envoy configuration".into(),
            Self::EnvoyFilter => "an EnvoyFilter".into(),
            Self::ConfigMap(..) => "a ConfigMap".into(),
            Self::Kustomization => "a Kustomization, which only names manifests".into(),
            Self::EmptyList => "a list without items".into(),
            Self::OtherLanguage(kind) => {
                let article = if kind.starts_with(['A', 'E']) { "an" } else { "a" };
                format!("{article} {kind}, which is no policy of this filter").into()
            }
            Self::Manifest(kind) => format!("a manifest ({kind}) that carries no policy").into(),
            Self::Several(names) => {
                format!("several objects, none with a policy: {}", some(names)).into()
            }
        }
    }

    fn remedy(&self) -> Cow<'_, str> {
        match self {
            Self::EnvoyConfiguration | Self::EnvoyFilter => {
                "give the policy that stands in it under `configuration`, in a file of its own"
                    .into()
            }
            Self::ConfigMap(command, _) => format!("give the policy in it: `{command}`").into(),
            Self::Kustomization => RENDER.into(),
            Self::EmptyList => "give one with a WasmPlugin or a TrafficExtension".into(),
            Self::OtherLanguage(_) => {
                "write what it allows as a policy: `policy`, `default` and `rules`".into()
            }
            Self::Manifest(_) | Self::Several(_) => {
                "give a WasmPlugin or a TrafficExtension with `pluginConfig`, or the policy itself"
                    .into()
            }
        }
    }
}

/// Some of many names, and how many more there are.
pub(super) fn some(names: &[String]) -> String {
    const SHOWN: usize = 8;
    let shown = names.get(..SHOWN.min(names.len())).unwrap_or_default().join(", ");
    match names.len().saturating_sub(SHOWN) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

/// The command that takes a policy out of a ConfigMap, and whether there is one by its looks. What is not
/// a name as Kubernetes has them is not put into a command.
fn command_of(object: &Node) -> (String, bool) {
    let is_name_byte = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    let is_name = |text: &&str| {
        text.bytes().all(is_name_byte) && text.starts_with(|c: char| c.is_ascii_alphanumeric())
    };
    let metadata = |key| object.get("metadata")?.get(key)?.text().filter(is_name);
    let name = metadata("name").unwrap_or("NAME");
    let namespace = metadata("namespace").map(|it| format!(" -n {it}")).unwrap_or_default();
    let data = object.get("data").map(Node::members).unwrap_or_default();
    let policy = data.iter().find(|it| it.value.text().is_some_and(looks_like_policy));
    let key = policy.or_else(|| data.first()).map(|member| &*member.key).filter(is_name);
    let key = key.unwrap_or("KEY").replace('.', "\\.");
    let command = format!(
        "kubectl get configmap {name}{namespace} -o jsonpath='{{.data.{key}}}' | egress-warden check -"
    );
    (command, policy.is_some())
}

/// Whether a text looks like a policy in YAML or JSON.
fn looks_like_policy(text: &str) -> bool {
    let is_json = text.trim_start().starts_with('{');
    text.lines().any(|line| line.starts_with("policy:")) || is_json && text.contains("\"policy\"")
}
