//! JSON as Envoy writes it: fields by name, and texts for messages.

use serde_json::Value;
use std::borrow::Cow;

/// What every type's name in a dump begins with.
const TYPE_PREFIX: &str = "type.googleapis.com/";

/// Fields of a message. An absent one has its default, which dumps leave out.
pub(super) trait Fields {
    /// A field by its name in the API. `istioctl proxy-config` writes `routeConfig` for `route_config`.
    fn field(&self, name: &str) -> Option<&Value>;
    /// The first of several fields that is there.
    fn first(&self, names: &[&str]) -> Option<&Value>;
    /// A field that is a list.
    fn list(&self, name: &str) -> &[Value];
    /// A field that is a text.
    fn text(&self, name: &str) -> Option<&str>;
    /// Whether a field is `true`.
    fn is_set(&self, name: &str) -> bool;
    /// The members of a field that is a map.
    fn map(&self, name: &str) -> impl Iterator<Item = (&str, &Value)>;
    /// A field within fields.
    fn below(&self, names: &[&str]) -> Option<&Value>;
}

impl Fields for Value {
    fn field(&self, name: &str) -> Option<&Value> {
        let object = self.as_object()?;
        let field = object.get(name).or_else(|| match name.contains('_') {
            true => object.get(&camel_case(name)),
            false => None,
        });
        field.filter(|value| !value.is_null())
    }

    fn first(&self, names: &[&str]) -> Option<&Value> {
        names.iter().find_map(|name| self.field(name))
    }

    fn list(&self, name: &str) -> &[Value] {
        self.field(name).and_then(Value::as_array).map_or(&[], Vec::as_slice)
    }

    fn text(&self, name: &str) -> Option<&str> {
        self.field(name).and_then(Value::as_str)
    }

    fn is_set(&self, name: &str) -> bool {
        self.field(name).and_then(Value::as_bool) == Some(true)
    }

    fn map(&self, name: &str) -> impl Iterator<Item = (&str, &Value)> {
        let map = self.field(name).and_then(Value::as_object);
        map.into_iter().flatten().map(|(key, value)| (key.as_str(), value))
    }

    fn below(&self, names: &[&str]) -> Option<&Value> {
        names.iter().try_fold(self, |value, name| value.field(name))
    }
}

/// A message of any type, with its type's name: `envoy.extensions.….Router`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Typed<'d> {
    pub(super) kind: &'d str,
    pub(super) value: &'d Value,
}

impl<'d> Typed<'d> {
    /// Reads an `Any`. A `TypedStruct` stands for what is in it.
    pub(super) fn of(any: &'d Value) -> Option<Self> {
        let kind = short(any.text("@type")?);
        if !kind.ends_with(".TypedStruct") {
            return Some(Self { kind, value: any });
        }
        Some(Self { kind: short(any.text("type_url")?), value: any.field("value")? })
    }

    /// The `typed_config` of something that has a name.
    pub(super) fn config_of(named: &'d Value) -> Option<Self> {
        Self::of(named.field("typed_config")?)
    }
}

fn short(kind: &str) -> &str {
    kind.strip_prefix(TYPE_PREFIX).unwrap_or(kind)
}

/// `route_config` as `routeConfig`.
pub(super) fn camel_case(name: &str) -> String {
    let mut words = name.split('_');
    let first = words.next().unwrap_or_default().to_owned();
    words.fold(first, |mut name, word| {
        let mut letters = word.chars();
        name.extend(letters.next().map(|letter| letter.to_ascii_uppercase()));
        name.push_str(letters.as_str());
        name
    })
}

/// Every text in a value, names of fields left out.
pub(super) fn texts(value: &Value) -> Vec<&str> {
    let mut left = vec![value];
    let mut texts = Vec::new();
    while let Some(value) = left.pop() {
        match value {
            Value::String(text) => texts.push(text.as_str()),
            Value::Array(items) => left.extend(items),
            Value::Object(members) => left.extend(members.values()),
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }
    texts
}

/// The texts of every field of this name in a value.
pub(super) fn texts_of<'v>(value: &'v Value, name: &str) -> Vec<&'v str> {
    let mut left = vec![value];
    let mut texts = Vec::new();
    while let Some(value) = left.pop() {
        texts.extend(value.text(name));
        match value {
            Value::Array(items) => left.extend(items),
            Value::Object(members) => left.extend(members.values()),
            _ => {}
        }
    }
    texts
}

/// Whether a message says what the left one says, which has the names of the API: `id` counts expressions of a syntax
/// tree and says nothing, and the two spellings of a field are one.
pub(super) fn is_same_expression(left: &Value, right: &Value) -> bool {
    let said = |value: &Value| {
        let members = value.as_object().into_iter().flatten();
        members.filter(|(key, value)| *key != "id" && !value.is_null()).count()
    };
    match (left, right) {
        (Value::Object(members), Value::Object(_)) => {
            let is_there = |(key, value): (&String, &Value)| {
                key == "id"
                    || right.field(key).is_some_and(|other| is_same_expression(value, other))
            };
            said(left) == said(right) && members.iter().all(is_there)
        }
        (Value::Array(left), Value::Array(right)) => {
            left.len() == right.len()
                && left.iter().zip(right).all(|(left, right)| is_same_expression(left, right))
        }
        _ => left == right,
    }
}

/// A text of the dump for messages: on one line, without anything that a terminal takes for a command, and no
/// longer than names are.
pub(super) fn shown(text: &str) -> String {
    const LONGEST: usize = 253;
    let cut = text.chars().nth(LONGEST).is_some();
    let text: Cow<'_, str> =
        if cut { text.chars().take(LONGEST).chain(['…']).collect() } else { text.into() };
    text.chars()
        .flat_map(|c| if c == '\'' { vec![c] } else { c.escape_debug().collect() })
        .collect()
}
