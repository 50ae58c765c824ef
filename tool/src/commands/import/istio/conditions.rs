//! What a field of a rule says, and what becomes of what a policy cannot say.

use super::{Object, items};
use crate::commands::import::draft::{Draft, shown, told};
use crate::document::Node;
use egress_warden::config;
use serde_json::{Value, json};

/// What a rule is for: where a policy cannot say all, an allow allows less and a deny denies more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Aim {
    Allow,
    Deny,
}

/// What one value of a field means.
pub(super) enum Meaning {
    Text(String),
    /// Every value that there may be.
    All,
    /// No request has such a value.
    Nothing(&'static str),
    /// A policy cannot say it.
    Unsaid(&'static str),
}

/// What a field asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Field {
    /// Nothing.
    Any,
    /// What no request has.
    Never,
    /// One of these; in a `not` field none of these.
    Values(Vec<String>),
}

/// Reads the rules of one AuthorizationPolicy.
pub(super) struct Reader<'r, 'n> {
    pub(super) object: Object<'n>,
    pub(super) aim: Aim,
    pub(super) draft: &'r mut Draft,
    /// What is said of the rule beside where it comes from.
    pub(super) notes: Vec<String>,
}

impl Reader<'_, '_> {
    /// The values of a field.
    pub(super) fn field(
        &mut self,
        key: &str,
        node: &Node,
        read: impl Fn(&str) -> Meaning,
    ) -> Field {
        let Some(values) = items(Some(node)) else {
            return self.unsaid(key, node, "which is no list");
        };
        if values.is_empty() {
            return Field::Any;
        }
        let (mut said, mut is_whole) = (Vec::new(), true);
        for value in values {
            let text = value.text().unwrap_or_default();
            match read(text) {
                Meaning::Text(text) => said.push(text),
                Meaning::All if is_not(key) => return Field::Never,
                Meaning::All => return Field::Any,
                Meaning::Nothing(why) => self.nothing(key, value, why),
                Meaning::Unsaid(why) => {
                    is_whole = false;
                    self.point(value, format!("`{key}` {}: {why}", told(text)));
                }
            }
        }
        self.weighed(key, said, is_whole)
    }

    /// What comes of the values that can be said, and whether these are all.
    fn weighed(&self, key: &str, said: Vec<String>, is_whole: bool) -> Field {
        match (self.aim, is_not(key)) {
            (Aim::Allow, true) if !is_whole => Field::Never,
            (Aim::Deny, false) if !is_whole => Field::Any,
            (_, true) if said.is_empty() => Field::Any,
            (_, false) if said.is_empty() => Field::Never,
            _ => Field::Values(said),
        }
    }

    /// A field of which nothing can be said.
    pub(super) fn unsaid(&mut self, key: &str, node: &Node, why: &str) -> Field {
        let values: Vec<_> = node.items().iter().filter_map(Node::text).collect();
        let values =
            if values.is_empty() { String::new() } else { format!(" {}", values.join(", ")) };
        self.point(node, shown(&format!("`{key}`{values}: {why}")));
        self.never_said()
    }

    /// What a condition comes to that cannot be said.
    pub(super) fn never_said(&self) -> Field {
        if self.aim == Aim::Allow { Field::Never } else { Field::Any }
    }

    /// Tells of a value that no request has.
    pub(super) fn nothing(&mut self, key: &str, value: &Node, why: &str) {
        let what = told(value.text().unwrap_or_default());
        self.draft.point(
            self.object.text.at(value),
            format!("{}: `{key}` {what}: {why}, so it matches nothing there", self.object.title()),
            "remove it, or correct it in the source",
        );
    }

    /// Tells of a condition that is not said, and what comes of it.
    pub(super) fn point(&mut self, node: &Node, problem: String) {
        let (result, remedy) = match self.aim {
            Aim::Allow => ("what needs it stays refused", "write a rule by hand for what is meant"),
            Aim::Deny => ("more is denied without it", "narrow the rule by hand, or the source"),
        };
        let problem = format!("{}: {problem}; {result}", self.object.title());
        self.draft.point(self.object.text.at(node), problem, remedy);
    }
}

/// Whether a field says what must not be.
pub(super) fn is_not(key: &str) -> bool {
    key.starts_with("not")
}

/// Whether a policy takes a value of a field in `from` or `to`.
pub(super) fn is_valid(part: &str, key: &str, value: &str) -> bool {
    let mut entry = serde_json::Map::new();
    entry.insert(key.to_owned(), json!([value]));
    let mut rule = json!({ "id": "a", "action": "deny" });
    if let Value::Object(rule) = &mut rule {
        rule.insert(part.to_owned(), json!([entry]));
    }
    let policy = json!({ "policy": "a", "default": "deny", "rules": [rule] });
    config::read(policy.to_string().as_bytes()).is_ok()
}
