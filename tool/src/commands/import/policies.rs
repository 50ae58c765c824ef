//! The objects of the inputs that are policies of the kind that is imported.

use super::draft::Draft;
use super::text::{Text, title};
use crate::document::Node;
use crate::failure::Failure;

/// What the policies of a kind are.
pub(super) struct Kind {
    pub(super) is_policy: fn(&Node) -> bool,
    /// What is wrong where there is none, and what to name instead.
    pub(super) none: (&'static str, &'static str),
}

/// Each of them with its text; one there is. Other objects are passed over.
pub(super) fn policies<'t>(
    texts: &'t [Text],
    kind: &Kind,
    draft: &mut Draft,
) -> Result<Vec<(&'t Text, &'t Node)>, Failure> {
    let mut policies = Vec::new();
    for text in texts {
        for object in text.objects()? {
            if (kind.is_policy)(object) {
                policies.push((text, object));
            } else {
                draft.passed_over.push(format!("{}: {}", text.at(object), title(object)));
            }
        }
    }
    match texts.first() {
        Some(text) if policies.is_empty() => {
            let (problem, remedy) = kind.none;
            Err(Failure::new(text.name(), problem, remedy))
        }
        _ => Ok(policies),
    }
}
