//! Where in a file a fault stands that the policy's reader tells by its place in the JSON.

use super::{Fault, Member, Node, Span, Value};

/// The span of what a fault is about: a key, or a value.
pub(super) fn of(fault: &Fault, tree: &Node) -> Span {
    let mut node = tree;
    let mut member: Option<&Member> = None;
    let last = fault.positions().len().saturating_sub(1);
    for (depth, &position) in fault.positions().iter().enumerate() {
        let next = match &node.value {
            Value::List(items) => items.get(position).map(|item| (item, None)),
            Value::Object(members) => {
                let is_named = |member: &&Member| depth != last || names(fault.path(), &member.key);
                // The reader names some keys without looking for their position.
                let member = members
                    .get(position)
                    .filter(is_named)
                    .or_else(|| members.iter().find(is_named))
                    .or_else(|| members.get(position));
                member.map(|member| (&member.value, Some(member)))
            }
            _ => None,
        };
        let Some((child, of)) = next else { break };
        (node, member) = (child, of);
    }
    match member {
        Some(member) if is_about_key(fault, &member.key) => member.key_span.clone(),
        _ => node.span.clone(),
    }
}

/// Whether a fault is one of the key and not of its value: its text then names the key first.
fn is_about_key(fault: &Fault, key: &str) -> bool {
    let problem = fault.problem();
    problem == "a key that stands twice"
        || problem.starts_with("the unknown key ")
        || problem
            .strip_prefix('`')
            .is_some_and(|rest| rest.strip_prefix(key).is_some_and(|rest| rest.starts_with('`')))
}

/// Whether a JSONPath ends in this key; true also where that cannot be told.
fn names(path: &str, key: &str) -> bool {
    path.ends_with("']") || path.strip_suffix(key).is_some_and(|start| start.ends_with('.'))
}
