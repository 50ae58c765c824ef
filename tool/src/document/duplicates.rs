//! Keys that stand twice in one object. Of such a pair one reader takes the first, another the last.

use super::error::TextError;
use super::tree::{Node, Value};
use crate::finding::Finding;
use egress_warden::config::path_step;
use std::collections::HashSet;

/// An error for each key that stands in its object already, at any depth.
pub(super) fn of(root: &Node) -> Vec<Finding<TextError>> {
    let mut errors = Vec::new();
    walk(root, &mut "$".to_owned(), &mut errors);
    errors
}

fn walk(node: &Node, path: &mut String, errors: &mut Vec<Finding<TextError>>) {
    let length = path.len();
    match &node.value {
        Value::List(items) => {
            let nested = |node: &Node| matches!(node.value, Value::List(_) | Value::Object(_));
            for (index, item) in items.iter().enumerate().filter(|(_, item)| nested(item)) {
                path.push_str(&format!("[{index}]"));
                walk(item, path, errors);
                path.truncate(length);
            }
        }
        Value::Object(members) => {
            let mut seen = HashSet::new();
            for member in members {
                path.push_str(&path_step(&member.key));
                if !seen.insert(&member.key) {
                    errors.push(Finding {
                        path: path.clone(),
                        span: member.key_span.clone(),
                        kind: TextError::DuplicateKey,
                    });
                }
                walk(&member.value, path, errors);
                path.truncate(length);
            }
        }
        _ => {}
    }
}
