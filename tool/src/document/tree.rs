//! A policy text as a tree whose every value knows where it stands.

pub(crate) use crate::finding::Span;

use egress_warden::config;

/// One value. An alias is the node that it stands for, with that node's place.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Node {
    pub(crate) value: Value,
    pub(crate) span: Span,
}

/// What a node holds.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    Null,
    Bool(bool),
    /// Policies pass control planes as JSON whose every number is a double.
    Number(f64),
    Text(Box<str>),
    List(Vec<Node>),
    /// In the order of the text; a key may stand there twice.
    Object(Vec<Member>),
}

/// One key of an object with its value.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Member {
    pub(crate) key: Box<str>,
    pub(crate) key_span: Span,
    pub(crate) value: Node,
}

impl Node {
    /// The value under a key of an object.
    pub(crate) fn get(&self, key: &str) -> Option<&Self> {
        self.members().iter().find(|member| &*member.key == key).map(|member| &member.value)
    }

    /// The members of an object; none of anything else.
    pub(crate) fn members(&self) -> &[Member] {
        match &self.value {
            Value::Object(members) => members,
            _ => &[],
        }
    }

    /// The items of a list; none of anything else.
    pub(crate) fn items(&self) -> &[Self] {
        match &self.value {
            Value::List(items) => items,
            _ => &[],
        }
    }

    /// The text of a string.
    pub(crate) fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    /// A list or an object within more than `depth` others, if there is one.
    pub(crate) fn deeper_than(&self, depth: usize) -> Option<&Self> {
        let below = depth.checked_sub(1);
        match &self.value {
            Value::List(items) => match below {
                Some(below) => items.iter().find_map(|item| item.deeper_than(below)),
                None => Some(self),
            },
            Value::Object(members) => match below {
                Some(below) => members.iter().find_map(|member| member.value.deeper_than(below)),
                None => Some(self),
            },
            _ => None,
        }
    }

    /// The value as JSON, with its members in their order.
    pub(crate) fn to_json(&self) -> String {
        let mut json = String::new();
        self.write_json(&mut json);
        json
    }

    fn write_json(&self, out: &mut String) {
        match &self.value {
            Value::Null => out.push_str("null"),
            Value::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
            Value::Number(value) => out.push_str(&value.to_string()),
            Value::Text(text) => out.push_str(&quoted(text)),
            Value::List(items) => {
                out.push('[');
                for (index, item) in items.iter().enumerate() {
                    out.push_str(if index == 0 { "" } else { "," });
                    item.write_json(out);
                }
                out.push(']');
            }
            Value::Object(members) => {
                out.push('{');
                for (index, member) in members.iter().enumerate() {
                    out.push_str(if index == 0 { "" } else { "," });
                    out.push_str(&quoted(&member.key));
                    out.push(':');
                    member.value.write_json(out);
                }
                out.push('}');
            }
        }
    }
}

/// The policy's reader takes this tree as it is.
impl config::Node for Node {
    type Member = Member;

    fn value(&self) -> config::Value<'_, Self> {
        match &self.value {
            Value::Null => config::Value::Null,
            Value::Bool(value) => config::Value::Bool(*value),
            Value::Number(value) => config::Value::Number(*value),
            Value::Text(text) => config::Value::Text(text),
            Value::List(items) => config::Value::List(items),
            Value::Object(members) => config::Value::Object(members),
        }
    }

    fn key(member: &Member) -> &str {
        &member.key
    }

    fn member_value(member: &Member) -> &Self {
        &member.value
    }
}

/// A text as a JSON string.
pub(crate) fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}
