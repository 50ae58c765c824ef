//! What keeps a file from being used as a policy.

use super::Node;
use super::advice::Advice;
use super::foreign::Foreign;
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
    /// No policy, but something that may be taken for one.
    Foreign(Foreign),
    /// A key that no manifest has.
    ManifestKey(Box<str>),
    /// `type: NETWORK` with a name that judges no connections.
    NetworkName,
    /// A name that judges connections, without `type: NETWORK`.
    NameWithoutNetwork,
}

impl PolicyError {
    /// An error of a kind that policies have, with what the tool knows to advise.
    pub(crate) fn of_kind(kind: ErrorKind) -> Self {
        let advice = Advice::on(&kind);
        Self::Policy(kind, advice)
    }

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
            kind: Self::of_kind(error.kind().clone()),
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
            Self::Foreign(what) => what.problem(),
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
            Self::Foreign(what) => what.remedy(),
            Self::ManifestKey(_) => {
                "leave it out: kubectl may read another policy than the one under `spec`".into()
            }
            Self::NetworkName => root_id::REMEDY.into(),
            Self::NameWithoutNetwork => "write `type: NETWORK`, or leave `pluginName` out".into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy_file::PolicyFile;

    /// The path of each error, and what stands at its place.
    fn errors(text: &str) -> Vec<(String, String)> {
        let file = PolicyFile::of_text("p".to_owned(), text.to_owned(), false);
        let errors = file.config().expect_err(text);
        let told = |it: &Finding<PolicyError>| (it.path.clone(), text[it.span.clone()].to_owned());
        errors.iter().map(told).collect()
    }

    #[test]
    fn an_error_is_at_its_own_place_though_keys_stand_twice() {
        for (text, path, at) in [
            ("policy: t\ndefault: deny\nprots: 1\n", "$.prots", "prots"),
            ("policy: t\ndefault: A\n", "$.default", "A"),
            ("default: deny\nmode: enforce\n", "$", "default: deny\nmode: enforce\n"),
            ("policy: t\nrules:\n- {action: deny, id: B}\n", "$.rules[0].id", "B"),
            (
                "policy: t\nrules:\n- {id: a, action: deny}\n- {note: x, action: deny, id: a}\n",
                "$.rules[1].id",
                "a",
            ),
            (
                "policy: t\ndefault: deny\nstamp: {set: {x-a: b, X-B: c}}\n",
                "$.stamp.set['X-B']",
                "X-B",
            ),
            (
                "policy: t\ndefault: deny\nstamp: {set: {x-a: b, x-b: \"{no}\"}}\n",
                "$.stamp.set['x-b']",
                "\"{no}\"",
            ),
            (
                "policy: t\ndefault: deny\nstamp: {set: {x-a: b}, remove: [x-c, x_a]}\n",
                "$.stamp.remove[1]",
                "x_a",
            ),
        ] {
            assert_eq!(errors(text), [(path.to_owned(), at.to_owned())], "{text}");
        }
        // The first of two keys is read, and both are told of.
        let twice = "policy: t\ndefault: A\ndefault: deny\n";
        let told = |at: &str| ("$.default".to_owned(), at.to_owned());
        assert_eq!(errors(twice), [told("A"), told("default")]);
    }

    #[test]
    fn what_is_suggested_is_whole_however_long_it_is() {
        let id = format!("cluster.local/ns/{}/sa/a", "n".repeat(100));
        let text = format!(
            "policy: t\nrules:\n- id: a\n  action: deny\n  from: [{{principals: [\"spiffe://{id}\"]}}]\n"
        );
        let file = PolicyFile::of_text("p".to_owned(), text, false);
        let errors = file.config().unwrap_err();
        let suggestions: Vec<_> = errors.iter().map(|it| it.kind.suggestion()).collect();
        assert_eq!(suggestions, [Some(Suggestion::Text(id))]);
    }

    #[test]
    fn nothing_is_suggested_that_is_no_pattern() {
        let text =
            "policy: t\nrules: [{id: a, action: deny, from: [{principals: [\"spiffe://\"]}]}]\n";
        let file = PolicyFile::of_text("p".to_owned(), text.to_owned(), false);
        let errors = file.config().unwrap_err();
        assert!(errors.iter().all(|it| it.kind.suggestion().is_none()), "{errors:?}");
    }
}
