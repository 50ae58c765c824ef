//! What a tree says, read as a type by serde; what does not fit is told with its place.

use super::tree::{Member, Node, Span, Value};
use serde::de::value::{MapDeserializer, SeqDeserializer};
use serde::de::{self, Deserializer, EnumAccess, IntoDeserializer, VariantAccess, Visitor};
use serde::forward_to_deserialize_any;
use std::fmt;

/// Why a tree is not what it is read as.
#[derive(Debug)]
pub(crate) struct Mismatch {
    pub(crate) span: Option<Span>,
    pub(crate) problem: String,
}

impl Mismatch {
    /// The innermost place wins.
    fn at(self, span: &Span) -> Self {
        Self { span: self.span.or_else(|| Some(span.clone())), ..self }
    }
}

impl de::Error for Mismatch {
    fn custom<T: fmt::Display>(problem: T) -> Self {
        Self { span: None, problem: problem.to_string() }
    }
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.problem)
    }
}

impl std::error::Error for Mismatch {}

impl<'de> IntoDeserializer<'de, Mismatch> for &'de Node {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

impl<'de> Deserializer<'de> for &'de Node {
    type Error = Mismatch;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mismatch> {
        let read = match &self.value {
            Value::Null => visitor.visit_unit(),
            Value::Bool(value) => visitor.visit_bool(*value),
            Value::Number(number) => visit_number(*number, visitor),
            Value::Text(text) => visitor.visit_borrowed_str(text),
            Value::List(items) => visitor.visit_seq(SeqDeserializer::new(items.iter())),
            Value::Object(members) => {
                let members = members.iter().map(|member| (Key(member), &member.value));
                visitor.visit_map(MapDeserializer::new(members))
            }
        };
        read.map_err(|mismatch| mismatch.at(&self.span))
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mismatch> {
        match self.value {
            Value::Null => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Mismatch> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Mismatch> {
        let read = match (&self.value, self.members()) {
            (Value::Text(text), _) => {
                visitor.visit_enum(IntoDeserializer::<Mismatch>::into_deserializer(&**text))
            }
            (_, [member]) => visitor.visit_enum(Variant(member)),
            _ => Err(de::Error::custom("expected a word, or an object with one key")),
        };
        read.map_err(|mismatch| mismatch.at(&self.span))
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit
        unit_struct seq tuple tuple_struct map struct identifier ignored_any
    }
}

/// Whole numbers as such: what is read as one takes no double.
fn visit_number<'de, V: Visitor<'de>>(number: f64, visitor: V) -> Result<V::Value, Mismatch> {
    const EXACT: f64 = 9_007_199_254_740_992.0; // 2^53
    match number.fract() == 0.0 && number.abs() <= EXACT {
        // INVARIANT: the number is whole and within the type, so nothing is cut.
        true if number >= 0.0 => visitor.visit_u64(number as u64),
        true => visitor.visit_i64(number as i64),
        false => visitor.visit_f64(number),
    }
}

/// A key of an object.
struct Key<'n>(&'n Member);

impl<'de> IntoDeserializer<'de, Mismatch> for Key<'de> {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

impl<'de> Deserializer<'de> for Key<'de> {
    type Error = Mismatch;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mismatch> {
        visitor
            .visit_borrowed_str(&self.0.key)
            .map_err(|mismatch: Mismatch| mismatch.at(&self.0.key_span))
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option
        unit unit_struct newtype_struct seq tuple tuple_struct map struct enum identifier ignored_any
    }
}

/// The one member of an object that stands for a variant with a value.
struct Variant<'n>(&'n Member);

impl<'de> EnumAccess<'de> for Variant<'de> {
    type Error = Mismatch;
    type Variant = &'de Node;

    fn variant_seed<S: de::DeserializeSeed<'de>>(
        self,
        seed: S,
    ) -> Result<(S::Value, Self::Variant), Mismatch> {
        Ok((seed.deserialize(Key(self.0))?, &self.0.value))
    }
}

impl<'de> VariantAccess<'de> for &'de Node {
    type Error = Mismatch;

    fn unit_variant(self) -> Result<(), Mismatch> {
        Err(Mismatch { span: Some(self.span.clone()), problem: "expected no value".to_owned() })
    }

    fn newtype_variant_seed<S: de::DeserializeSeed<'de>>(
        self,
        seed: S,
    ) -> Result<S::Value, Mismatch> {
        seed.deserialize(self)
    }

    fn tuple_variant<V: Visitor<'de>>(
        self,
        _length: usize,
        visitor: V,
    ) -> Result<V::Value, Mismatch> {
        self.deserialize_any(visitor)
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        _fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Mismatch> {
        self.deserialize_any(visitor)
    }
}
