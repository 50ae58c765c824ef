//! JSON text as a tree that borrows from it.
//!
//! serde_json's own tree would drop duplicate keys, which are errors here.

use super::error::{Error, ErrorKind, Path};
use super::tree::{Node, Value};
use super::{MAX_DEPTH, MAX_TEXT};
use serde::de::{self, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use std::borrow::Cow;
use std::fmt;

/// One value.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum JsonNode<'a> {
    Null,
    Bool(bool),
    Number(Double),
    Text(Cow<'a, str>),
    Array(Vec<JsonNode<'a>>),
    Object(Vec<Member<'a>>),
}

/// A key with its value.
type Member<'a> = (Cow<'a, str>, JsonNode<'a>);

/// A number, not aligned as such: in the module a node has 16 bytes instead of 24, and a policy may
/// have a million.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Double([u8; 8]);

impl Double {
    fn new(value: f64) -> Self {
        Self(value.to_ne_bytes())
    }

    fn get(self) -> f64 {
        f64::from_ne_bytes(self.0)
    }
}

#[cfg(target_pointer_width = "32")]
const _: () = assert!(size_of::<JsonNode<'_>>() == 16);

impl<'a> Node for JsonNode<'a> {
    type Member = Member<'a>;

    fn value(&self) -> Value<'_, Self> {
        match self {
            Self::Null => Value::Null,
            Self::Bool(value) => Value::Bool(*value),
            Self::Number(value) => Value::Number(value.get()),
            Self::Text(text) => Value::Text(text),
            Self::Array(items) => Value::List(items),
            Self::Object(members) => Value::Object(members),
        }
    }

    fn key((key, _): &Self::Member) -> &str {
        key
    }

    fn member_value((_, value): &Self::Member) -> &Self {
        value
    }
}

/// Reads a whole text. What is not JSON is one error, since nothing behind it can be trusted.
pub(super) fn parse(text: &[u8]) -> Result<JsonNode<'_>, Error> {
    let error = |kind| Error::at(&Path::Root, kind);
    if text.is_empty() {
        return Err(error(ErrorKind::EmptyText));
    }
    if text.len() > MAX_TEXT {
        return Err(error(ErrorKind::LongText { bytes: text.len() }));
    }
    if text.starts_with(b"\xef\xbb\xbf") {
        return Err(error(ErrorKind::ByteOrderMark));
    }
    let text = std::str::from_utf8(text)
        .map_err(|invalid| error(ErrorKind::NotUtf8 { offset: invalid.valid_up_to() }))?;
    let mut deserializer = serde_json::Deserializer::from_str(text);
    Tree { depth: 0 }
        .deserialize(&mut deserializer)
        .and_then(|node| deserializer.end().map(|()| node))
        .map_err(|invalid| error(ErrorKind::NotJson { reason: invalid.to_string().into() }))
}

/// Builds a tree; knows how deep it is.
#[derive(Clone, Copy)]
struct Tree {
    depth: usize,
}

impl Tree {
    fn deeper<E: de::Error>(self) -> Result<Self, E> {
        if self.depth >= MAX_DEPTH {
            return Err(E::custom(format_args!("nesting over {MAX_DEPTH} levels")));
        }
        Ok(Self { depth: self.depth + 1 })
    }
}

impl<'de> DeserializeSeed<'de> for Tree {
    type Value = JsonNode<'de>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<JsonNode<'de>, D::Error> {
        deserializer.deserialize_any(self)
    }
}

/// An object's key: borrowed where it has no escape.
struct Key;

impl<'de> DeserializeSeed<'de> for Key {
    type Value = Cow<'de, str>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for Key {
    type Value = Cow<'de, str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Cow::Borrowed(text))
    }

    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Cow::Owned(text.to_owned()))
    }
}

impl<'de> Visitor<'de> for Tree {
    type Value = JsonNode<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(JsonNode::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Self::Value, E> {
        Ok(JsonNode::Bool(value))
    }

    #[expect(clippy::cast_precision_loss, reason = "every number of a policy is a double")]
    fn visit_i64<E>(self, value: i64) -> Result<Self::Value, E> {
        Ok(JsonNode::Number(Double::new(value as f64)))
    }

    #[expect(clippy::cast_precision_loss, reason = "every number of a policy is a double")]
    fn visit_u64<E>(self, value: u64) -> Result<Self::Value, E> {
        Ok(JsonNode::Number(Double::new(value as f64)))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Self::Value, E> {
        Ok(JsonNode::Number(Double::new(value)))
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(JsonNode::Text(Cow::Borrowed(text)))
    }

    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(JsonNode::Text(Cow::Owned(text.to_owned())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
        let seed = self.deeper()?;
        let mut array = Vec::new();
        while let Some(item) = items.next_element_seed(seed)? {
            array.push(item);
        }
        Ok(JsonNode::Array(array))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Self::Value, A::Error> {
        let seed = self.deeper()?;
        let mut object = Vec::new();
        while let Some(key) = members.next_key_seed(Key)? {
            object.push((key, members.next_value_seed(seed)?));
        }
        Ok(JsonNode::Object(object))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wasm_bindgen_test::wasm_bindgen_test;

    #[wasm_bindgen_test(unsupported = test)]
    fn nesting_is_bounded_whatever_the_depth() {
        let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert!(parse(nested(MAX_DEPTH).as_bytes()).is_ok());
        for depth in [MAX_DEPTH + 1, 1_000, 100_000] {
            let error = parse(nested(depth).as_bytes()).unwrap_err();
            assert!(error.to_string().contains("nesting over 64"), "{error}");
        }
    }

    #[wasm_bindgen_test(unsupported = test)]
    fn duplicate_keys_are_kept_for_the_reader_to_find() {
        let JsonNode::Object(members) = parse(br#"{"a":1,"a":2}"#).unwrap() else {
            panic!("an object")
        };
        assert_eq!(members.len(), 2);
    }
}
