//! What `check --fix` writes: edits of the text by their place, so that comments and layout stay.
//!
//! An edit says what it changes in the tree. What is written is read again first, and must be the old
//! tree with these changes and no other.

use crate::document::{self, Document, Node, Notation, Span, TextError, Value, quoted};
use crate::failure::Failure;
use crate::finding::Finding;
use crate::policy_file::{Policies, PolicyError, PolicyFile};
use egress_warden::config::Suggestion;
use std::collections::HashMap;

/// A part of a text and what takes its place.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Edit {
    /// Of edits of one text, no two overlap unless they are the same.
    span: Span,
    replacement: String,
    change: Change,
}

/// What an edit changes in the tree.
#[derive(Clone, Debug, PartialEq)]
enum Change {
    /// The scalar or key at the edit's own place becomes this text.
    Text(String),
    /// The scalar at the edit's own place becomes this number.
    Number(u16),
    /// The item at this place leaves its list.
    Removal(Span),
    /// No part of the tree: the byte-order mark before the text goes.
    Mark,
}

/// The edit that mends an error, where it is certain what was meant.
pub(super) fn of_error(file: &PolicyFile, error: &Finding<PolicyError>) -> Option<Edit> {
    let span = error.span.clone();
    let source = one_line_scalar(file.document(), &span)?;
    if let PolicyError::Text(TextError::Doubtful(_, text)) = &error.kind {
        // Only a text can stand there: a policy in which one does is sound. Of what stands around the
        // policy nothing is known.
        let is_in_policy = file
            .tree()
            .is_some_and(|policy| policy.span.start <= span.start && span.end <= policy.span.end);
        return (is_in_policy && file.is_sound_as_texts()).then(|| Edit {
            span,
            replacement: quoted(text),
            change: Change::Text(text.clone()),
        });
    }
    Some(match error.kind.suggestion()? {
        Suggestion::Text(text) => Edit {
            span,
            replacement: scalar(file.document().notation(), source, &text),
            change: Change::Text(text),
        },
        Suggestion::Number(number) => {
            Edit { span, replacement: number.to_string(), change: Change::Number(number) }
        }
    })
}

/// The edit that takes a byte-order mark away.
pub(super) fn of_mark() -> Edit {
    Edit { span: 0..0, replacement: String::new(), change: Change::Mark }
}

/// The edit that makes a scalar another text.
pub(crate) fn text(file: &PolicyFile, node: &Node, text: &str) -> Option<Edit> {
    let source = one_line_scalar(file.document(), &node.span)?;
    Some(Edit {
        span: node.span.clone(),
        replacement: scalar(file.document().notation(), source, text),
        change: Change::Text(text.to_owned()),
    })
}

/// The edit that takes an item out of its list, where no comment would go with it. The first item
/// of a list is none to take out.
pub(crate) fn removal(file: &PolicyFile, before: &Node, item: &Node) -> Option<Edit> {
    one_line_scalar(file.document(), &before.span)?;
    one_line_scalar(file.document(), &item.span)?;
    let between = file.text().get(before.span.end..item.span.start)?;
    let behind = file.text().get(item.span.end..)?;
    let behind = behind.trim_start_matches(|c: char| c.is_whitespace() && c != '\n');
    let has_comment = between.contains('#') || behind.starts_with('#');
    let is_scalar = matches!(item.value, Value::Text(_) | Value::Number(_));
    (is_scalar && !has_comment).then(|| Edit {
        span: before.span.end..item.span.end,
        replacement: String::new(),
        change: Change::Removal(item.span.clone()),
    })
}

/// A scalar as it is written, where it stands on one line, plain or in quotes, and nowhere else: a
/// block of text is laid out on purpose, and what an alias stands for has more than one meaning.
fn one_line_scalar<'d>(document: &'d Document, span: &Span) -> Option<&'d str> {
    let source = document.text().get(span.clone())?;
    let is_one_line = !source.is_empty() && !source.contains(['\n', '\r']);
    (is_one_line && !document.is_laid_out(span)).then_some(source)
}

/// Edits in the order of the text, each once.
pub(crate) fn distinct(mut edits: Vec<Edit>) -> Vec<Edit> {
    edits.sort_by_key(|edit| (edit.span.start, edit.span.end));
    edits.dedup();
    edits
}

/// Applies edits of all policies of a file. Where the new text does not read as what the edits say, there
/// is no new file.
pub(crate) fn apply(file: &Policies, edits: Vec<Edit>) -> Result<Policies, Failure> {
    let edits = distinct(edits);
    let document = file.document();
    let fixed = file.rewritten(text_with(document.text(), &edits));
    let json = |roots: &[Node]| roots.iter().map(Node::to_json).collect::<Vec<_>>();
    let is_as_promised = trees_with(document.roots(), &edits)
        .is_some_and(|promised| json(&promised) == json(fixed.document().roots()));
    let mut pairs = file.files().iter().zip(fixed.files());
    let stays_valid = file.files().len() == fixed.files().len()
        && pairs.all(|(old, new)| old.config().is_err() || new.config().is_ok());
    if is_as_promised && stays_valid {
        return Ok(fixed);
    }
    let place = document.at(edits.first().map_or(0, |edit| edit.span.start));
    let problem = "what `--fix` would write does not read as it should, so nothing is written";
    Err(Failure::new(place, problem, "change it by hand, and please report it with the file"))
}

fn text_with(text: &str, edits: &[Edit]) -> String {
    let mut out = String::with_capacity(text.len());
    let mut end = 0;
    for edit in edits {
        out.push_str(text.get(end..edit.span.start).unwrap_or_default());
        out.push_str(&edit.replacement);
        end = edit.span.end;
    }
    out.push_str(text.get(end..).unwrap_or_default());
    out
}

/// The trees as the edits change them; `None` where the place of one is in none of them, or more than
/// once.
fn trees_with(roots: &[Node], edits: &[Edit]) -> Option<Vec<Node>> {
    let mut changes: HashMap<Span, &Change> = HashMap::new();
    for edit in edits {
        let place = match &edit.change {
            Change::Removal(item) => item,
            Change::Text(_) | Change::Number(_) => &edit.span,
            Change::Mark => continue,
        };
        if changes.insert(place.clone(), &edit.change).is_some() {
            return None;
        }
    }
    let mut roots = roots.to_vec();
    roots.iter_mut().for_each(|root| change(root, &mut changes));
    changes.is_empty().then_some(roots)
}

fn change(node: &mut Node, changes: &mut HashMap<Span, &Change>) {
    match &mut node.value {
        Value::List(items) => {
            items.retain_mut(|item| {
                change(item, changes);
                let is_removed = matches!(changes.get(&item.span), Some(Change::Removal(_)));
                !(is_removed && changes.remove(&item.span).is_some())
            });
        }
        Value::Object(members) => {
            for member in members {
                if let Some(Change::Text(text)) = changes.get(&member.key_span) {
                    member.key = text.as_str().into();
                    changes.remove(&member.key_span);
                }
                change(&mut member.value, changes);
            }
        }
        scalar => match changes.get(&node.span) {
            Some(Change::Text(text)) => {
                *scalar = Value::Text(text.as_str().into());
                changes.remove(&node.span);
            }
            Some(Change::Number(number)) => {
                *scalar = Value::Number(f64::from(*number));
                changes.remove(&node.span);
            }
            Some(Change::Removal(_) | Change::Mark) | None => {}
        },
    }
}

/// A text as a scalar, in quotes where the one that was there had them or where it needs them.
fn scalar(notation: Notation, source: &str, text: &str) -> String {
    let was_plain = notation == Notation::Yaml && !source.starts_with(['"', '\'']);
    if was_plain && is_safe_plain(text) { text.to_owned() } else { quoted(text) }
}

/// Whether a text may stand in YAML without quotes, wherever it stands.
fn is_safe_plain(text: &str) -> bool {
    let is_plain_byte = |byte: u8| byte.is_ascii_alphanumeric() || b"-._/".contains(&byte);
    text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.bytes().all(is_plain_byte)
        && document::is_text_when_plain(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_stay_where_they_were_or_are_needed() {
        let yaml = |source, text| scalar(Notation::Yaml, source, text);
        assert_eq!(yaml("A.test", "a.test"), "a.test");
        assert_eq!(yaml("'A.test'", "a.test"), "\"a.test\"");
        assert_eq!(yaml("*.A.test", "*.a.test"), "\"*.a.test\"");
        assert_eq!(yaml("1.2.3.4.", "1.2.3.4"), "\"1.2.3.4\"");
        assert_eq!(scalar(Notation::Json, "\"A\"", "a"), "\"a\"");
    }
}
