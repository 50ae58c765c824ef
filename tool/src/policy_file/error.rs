//! What keeps a file from being used as a policy.

use super::Node;
use super::advice::Advice;
use crate::document::TextError;
use crate::finding::{Finding, Message};
use egress_warden::config::{self, ErrorKind, MAX_DEPTH, Suggestion};
use egress_warden::root_id;
use std::borrow::Cow;

/// What was found.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum PolicyError {
    /// The text itself.
    Text(TextError),
    /// What the policy's reader says, and what the tool knows to advise beyond it.
    Policy(ErrorKind, Option<Advice>),
    Nesting,
    EnvoyConfiguration,
    ManifestWithoutPolicy,
    /// A key that no manifest has.
    ManifestKey(Box<str>),
    /// `type: NETWORK` with a name that judges no connections.
    NetworkName,
    /// A name that judges connections, without `type: NETWORK`.
    NameWithoutNetwork,
}

impl PolicyError {
    /// An error of the policy's reader, at its place in the tree that was read.
    pub(super) fn at_its_place(error: &config::Error, tree: &Node) -> Finding<Self> {
        let place = error.place();
        let mut span = &tree.span;
        let mut node = tree;
        for (step, is_last) in place.steps().iter().zip((0..place.steps().len()).rev()) {
            let position = step.position();
            match (node.members().get(position), node.items().get(position)) {
                (Some(member), _) => {
                    node = &member.value;
                    let is_key = place.is_key() && is_last == 0;
                    span = if is_key { &member.key_span } else { &node.span };
                }
                (None, Some(item)) => (node, span) = (item, &item.span),
                // INVARIANT: a place is one of the tree that was read.
                (None, None) => break,
            }
        }
        Finding {
            path: place.to_string(),
            span: span.clone(),
            kind: Self::Policy(error.kind().clone(), Advice::on(error.kind())),
        }
    }

    /// What to put there, where it is certain what was meant.
    pub(crate) fn suggestion(&self) -> Option<Suggestion> {
        match self {
            Self::Policy(kind, advice) => {
                kind.suggestion().or_else(|| advice.as_ref()?.suggestion())
            }
            _ => None,
        }
    }
}

impl Message for PolicyError {
    fn problem(&self) -> Cow<'_, str> {
        match self {
            Self::Text(error) => error.problem(),
            Self::Policy(kind, _) => kind.problem(),
            Self::Nesting => format!("nesting over {MAX_DEPTH} levels").into(),
            Self::EnvoyConfiguration => "an Envoy configuration".into(),
            Self::ManifestWithoutPolicy => "a manifest that carries no policy".into(),
            Self::ManifestKey(key) => {
                format!("the key `{}`, which no manifest has", key.escape_debug()).into()
            }
            Self::NetworkName => {
                "`type: NETWORK` with a `pluginName` that judges no connections".into()
            }
            Self::NameWithoutNetwork => {
                "a `pluginName` that judges connections, without `type: NETWORK`".into()
            }
        }
    }

    fn remedy(&self) -> Cow<'_, str> {
        match self {
            Self::Text(error) => error.remedy(),
            Self::Policy(_, Some(advice)) => advice.remedy(),
            Self::Policy(kind, None) => kind.remedy(),
            Self::Nesting => "write a policy".into(),
            Self::EnvoyConfiguration => {
                "give the policy that stands in it under `configuration`, in a file of its own"
                    .into()
            }
            Self::ManifestWithoutPolicy => {
                "give a WasmPlugin or a TrafficExtension with `pluginConfig`, or the policy itself"
                    .into()
            }
            Self::ManifestKey(_) => {
                "leave it out: kubectl may read another policy than the one under `spec`".into()
            }
            Self::NetworkName => root_id::REMEDY.into(),
            Self::NameWithoutNetwork => "write `type: NETWORK`, or leave `pluginName` out".into(),
        }
    }
}
