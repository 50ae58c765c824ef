//! JSON text -> [`Node`], with every value's place.

use super::error::TextError;
use super::tree::{Member, Node, Span, Value};
use crate::finding::Finding;
use jsonc_parser::ast::{self, ObjectPropName};
use jsonc_parser::common::Ranged;
use jsonc_parser::{CollectOptions, CommentCollectionStrategy, ParseOptions, parse_to_ast};
use serde::de::IgnoredAny;

/// Takes a text apart, or says where it is no JSON.
pub(super) fn parse(text: &str) -> Result<Node, Finding<TextError>> {
    // It knows what JSON is, and its limit of depth keeps the next parser from overflowing the stack.
    serde_json::from_str::<IgnoredAny>(text).map_err(|error| {
        let at = offset(text, error.line(), error.column());
        not_json(at..at, &error.to_string())
    })?;
    let collect = CollectOptions { comments: CommentCollectionStrategy::Off, tokens: false };
    let parsed = parse_to_ast(text, &collect, &ParseOptions::default()).map_err(|error| {
        let range = error.range();
        not_json(range.start()..range.end(), &error.kind().to_string())
    })?;
    match parsed.value {
        Some(value) => node(value),
        None => Err(not_json(0..0, "no value")),
    }
}

fn not_json(span: Span, why: &str) -> Finding<TextError> {
    Finding::whole(span, TextError::NotJson(why.to_owned()))
}

/// The place that a line and a column, both from 1, name; columns count bytes.
fn offset(text: &str, line: usize, column: usize) -> usize {
    let before = text.split_inclusive('\n').take(line.saturating_sub(1));
    let line_start: usize = before.map(str::len).sum();
    let offset = line_start.saturating_add(column.saturating_sub(1)).min(text.len());
    text.floor_char_boundary(offset)
}

fn node(value: ast::Value<'_>) -> Result<Node, Finding<TextError>> {
    let span = value.start()..value.end();
    let value = match value {
        ast::Value::NullKeyword(_) => Value::Null,
        ast::Value::BooleanLit(literal) => Value::Bool(literal.value),
        ast::Value::NumberLit(literal) => {
            let number = literal.value.parse().ok().filter(|number: &f64| number.is_finite());
            let number = number.ok_or_else(|| not_json(span.clone(), "number out of range"))?;
            Value::Number(number)
        }
        ast::Value::StringLit(literal) => Value::Text(literal.value.into()),
        ast::Value::Array(array) => {
            Value::List(array.elements.into_iter().map(node).collect::<Result<_, _>>()?)
        }
        ast::Value::Object(object) => {
            Value::Object(object.properties.into_iter().map(member).collect::<Result<_, _>>()?)
        }
    };
    Ok(Node { value, span })
}

fn member(property: ast::ObjectProp<'_>) -> Result<Member, Finding<TextError>> {
    let key_span = property.name.start()..property.name.end();
    let key = match property.name {
        ObjectPropName::String(name) => name.value.into(),
        ObjectPropName::Word(name) => name.value.into(),
    };
    Ok(Member { key, key_span, value: node(property.value)? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_taken_apart_with_its_places() {
        let text = "{\n\t\"a\": [1.0, \"\\ud83d\\ude00\\/\", null, true],\n\t\"a\": {}}";
        let root = parse(text).unwrap();
        assert_eq!(root.to_json(), r#"{"a":[1,"😀/",null,true],"a":{}}"#);
        let list = root.get("a").unwrap();
        assert_eq!(&text[list.items()[0].span.clone()], "1.0");
        assert_eq!(&text[root.members()[1].key_span.clone()], "\"a\"");
    }

    #[test]
    fn what_is_no_json_is_refused_where_it_stands() {
        for (text, at) in [
            ("{\"a\":\n [1, 2,]}", 13),
            ("{\"a\": 1e999}", 6),
            ("{\"a\": \"\\ud800\"}", 6),
            ("{\"a\": 1} {}", 9),
            ("{\"ü\": x}", 7),
            ("{'a': 1}", 1),
            ("{a: 1}", 1),
            ("{\"a\": 1 /* b */}", 8),
            ("{\"a\": 0443}", 7),
        ] {
            let error = parse(text).unwrap_err();
            assert!(matches!(error.kind, TextError::NotJson(_)), "{text}: {error:?}");
            assert!(error.span.start.abs_diff(at) <= 1, "{text}: {error:?}");
        }
    }
}
