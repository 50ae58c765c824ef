//! JSON text as a tree that borrows from it, and the tree's canonical form.
//!
//! serde_json's own tree would drop duplicate keys, which are faults here.

use super::fault::{Fault, Path, quote};
use super::order::sorted;
use super::{MAX_DEPTH, MAX_TEXT};
use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use sha2::{Digest, Sha256};
use std::borrow::Cow;
use std::fmt;

/// One value.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Node<'a> {
    Null,
    Bool(bool),
    /// Control planes pass numbers through doubles, so every number is one.
    Number(Double),
    Text(Cow<'a, str>),
    Array(Vec<Node<'a>>),
    /// Members in the order of the text; a key may stand there twice.
    Object(Vec<(Cow<'a, str>, Node<'a>)>),
}

/// A number, not aligned as such: in the module a node has 12 bytes instead of 16, and a policy may
/// have a million.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Double([u8; 8]);

impl Double {
    fn new(value: f64) -> Self {
        Self(value.to_ne_bytes())
    }

    pub(super) fn get(self) -> f64 {
        f64::from_ne_bytes(self.0)
    }

    /// The shortest text that is this number; a whole one has no point.
    pub(super) fn to_text(self) -> String {
        const EXACT: f64 = 9_007_199_254_740_992.0; // 2^53
        let value = self.get();
        match value.fract() == 0.0 && (-EXACT..=EXACT).contains(&value) {
            true => (value as i64).to_string(),
            false => serde_json::to_string(&value).unwrap_or_default(),
        }
    }
}

/// Reads a whole text. What is not JSON is one fault, since nothing behind it can be trusted.
pub(super) fn parse(text: &[u8]) -> Result<Node<'_>, Fault> {
    let fault = |problem: String, remedy: &str| Fault::new(&Path::Root, problem, remedy);
    if text.is_empty() {
        return Err(fault(
            "an empty text".to_owned(),
            "write a policy; an empty one never means allow",
        ));
    }
    if text.len() > MAX_TEXT {
        let problem = format!("a text of {} bytes", text.len());
        return Err(fault(problem, "a policy has at most 67108864 bytes (64 MiB)"));
    }
    if text.starts_with(b"\xef\xbb\xbf") {
        return Err(fault("a byte-order mark".to_owned(), "start the text with `{`"));
    }
    let text = std::str::from_utf8(text).map_err(|error| {
        let problem = format!("a byte at offset {} that is not UTF-8", error.valid_up_to());
        fault(problem, "write the policy in UTF-8")
    })?;
    let mut deserializer = serde_json::Deserializer::from_str(text);
    Tree { depth: 0 }
        .deserialize(&mut deserializer)
        .and_then(|node| deserializer.end().map(|()| node))
        .map_err(|error| fault(format!("what is not JSON: {error}"), "write one JSON object"))
}

impl Node<'_> {
    /// The value in a message.
    pub(super) fn describe(&self) -> String {
        match self {
            Self::Null => "null".to_owned(),
            Self::Bool(value) => format!("the boolean `{value}`"),
            Self::Number(value) => format!("the number {}", value.to_text()),
            Self::Text(text) => format!("the string {}", quote(text)),
            Self::Array(_) => "a list".to_owned(),
            Self::Object(_) => "an object".to_owned(),
        }
    }

    /// The first 12 hex digits of the SHA-256 of the canonical form.
    pub(super) fn hash(&self) -> String {
        let mut hash = CanonicalHash::default();
        self.write_canonical(&mut |text| hash.write(text));
        let digest = hash.finish();
        let digest = digest.as_ref();
        let digits =
            |byte: &u8| [byte >> 4, byte & 15].map(|digit| char::from_digit(digit.into(), 16));
        digest.iter().take(6).flat_map(digits).flatten().collect()
    }

    /// RFC 8785, for texts that are policies: their keys are ASCII, so that the order of bytes is
    /// that of UTF-16, and their numbers are integers below 2^53.
    fn write_canonical(&self, write: &mut dyn FnMut(&str)) {
        match self {
            Self::Null => write("null"),
            Self::Bool(value) => write(if *value { "true" } else { "false" }),
            Self::Number(value) => write(&value.to_text()),
            Self::Text(text) => write_text(text, write),
            Self::Array(items) => {
                write("[");
                for (index, item) in items.iter().enumerate() {
                    if index > 0 {
                        write(",");
                    }
                    item.write_canonical(write);
                }
                write("]");
            }
            Self::Object(members) => {
                let sorted = sorted(members.iter().collect(), |(a, _), (b, _)| a.cmp(b));
                write("{");
                for (index, (key, value)) in sorted.into_iter().enumerate() {
                    if index > 0 {
                        write(",");
                    }
                    write_text(key, write);
                    write(":");
                    value.write_canonical(write);
                }
                write("}");
            }
        }
    }
}

/// A string as RFC 8785 (section 3.2.2.2) wants it, which is how serde_json escapes.
fn write_text(text: &str, write: &mut dyn FnMut(&str)) {
    if text.bytes().any(|byte| byte < 0x20 || matches!(byte, b'"' | b'\\')) {
        return write(&serde_json::to_string(text).unwrap_or_default());
    }
    write("\"");
    write(text);
    write("\"");
}

/// The SHA-256 of a text that comes in small pieces.
#[derive(Default)]
struct CanonicalHash {
    digest: Sha256,
    pieces: Vec<u8>,
}

impl CanonicalHash {
    /// Pieces are hashed together from this length on.
    const ENOUGH: usize = 4096;

    fn write(&mut self, piece: &str) {
        self.pieces.extend_from_slice(piece.as_bytes());
        if self.pieces.len() >= Self::ENOUGH {
            self.digest.update(&self.pieces);
            self.pieces.clear();
        }
    }

    fn finish(mut self) -> impl AsRef<[u8]> {
        self.digest.update(&self.pieces);
        self.digest.finalize()
    }
}

/// Builds a tree; knows how deep it is.
#[derive(Clone, Copy)]
struct Tree {
    depth: usize,
}

impl Tree {
    fn deeper<E: Error>(self) -> Result<Self, E> {
        if self.depth >= MAX_DEPTH {
            return Err(E::custom(format_args!("nesting over {MAX_DEPTH} levels")));
        }
        Ok(Self { depth: self.depth + 1 })
    }
}

impl<'de> DeserializeSeed<'de> for Tree {
    type Value = Node<'de>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Node<'de>, D::Error> {
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
    type Value = Node<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(Node::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Self::Value, E> {
        Ok(Node::Bool(value))
    }

    #[expect(clippy::cast_precision_loss, reason = "every number of a policy is a double")]
    fn visit_i64<E>(self, value: i64) -> Result<Self::Value, E> {
        Ok(Node::Number(Double::new(value as f64)))
    }

    #[expect(clippy::cast_precision_loss, reason = "every number of a policy is a double")]
    fn visit_u64<E>(self, value: u64) -> Result<Self::Value, E> {
        Ok(Node::Number(Double::new(value as f64)))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Self::Value, E> {
        Ok(Node::Number(Double::new(value)))
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Node::Text(Cow::Borrowed(text)))
    }

    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Node::Text(Cow::Owned(text.to_owned())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
        let seed = self.deeper()?;
        let mut array = Vec::new();
        while let Some(item) = items.next_element_seed(seed)? {
            array.push(item);
        }
        Ok(Node::Array(array))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Self::Value, A::Error> {
        let seed = self.deeper()?;
        let mut object = Vec::new();
        while let Some(key) = members.next_key_seed(Key)? {
            object.push((key, members.next_value_seed(seed)?));
        }
        Ok(Node::Object(object))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wasm_bindgen_test::wasm_bindgen_test;

    fn canonical(text: &str) -> String {
        let mut out = String::new();
        parse(text.as_bytes()).unwrap().write_canonical(&mut |text| out.push_str(text));
        out
    }

    #[wasm_bindgen_test(unsupported = test)]
    fn canonical_json_forgets_what_control_planes_rewrite() {
        let canonical_form = r#"{"a":[1,443,true,null],"b":"\n\u000f€\"\\","c":{}}"#;
        for text in [
            canonical_form,
            "{ \"c\" : {}, \"b\":\"\\u000a\\u000F\\u20ac\\\"\\\\\",\n\"a\":[1.0,4.43e2,true,null] }",
        ] {
            assert_eq!(canonical(text), canonical_form);
        }
    }

    #[wasm_bindgen_test(unsupported = test)]
    fn nesting_is_bounded_whatever_the_depth() {
        let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert!(parse(nested(MAX_DEPTH).as_bytes()).is_ok());
        for depth in [MAX_DEPTH + 1, 1_000, 100_000] {
            let fault = parse(nested(depth).as_bytes()).unwrap_err();
            assert!(fault.to_string().contains("nesting over 64"), "{fault}");
        }
    }

    #[wasm_bindgen_test(unsupported = test)]
    fn duplicate_keys_are_kept_for_the_reader_to_find() {
        let Node::Object(members) = parse(br#"{"a":1,"a":2}"#).unwrap() else {
            panic!("an object")
        };
        assert_eq!(members.len(), 2);
    }
}
