//! JSON text -> [`Node`], with every value's place.

use super::error::TextError;
use super::tree::{Member, Node, Span, Value};
use crate::finding::Finding;
use jsonc_parser::ast::{self, ObjectPropName};
use jsonc_parser::common::Ranged;
use jsonc_parser::{CollectOptions, CommentCollectionStrategy, ParseOptions, parse_to_ast};

/// JSON (RFC 8259) and nothing beyond it.
const STRICT: ParseOptions = ParseOptions {
    allow_comments: false,
    allow_loose_object_property_names: false,
    allow_trailing_commas: false,
    allow_missing_commas: false,
    allow_single_quoted_strings: false,
    allow_hexadecimal_numbers: false,
    allow_unary_plus_numbers: false,
    allow_bare_decimal_point_numbers: false,
    allow_non_finite_numbers: false,
    allow_extended_string_escapes: false,
};

/// Takes a text apart, or says where it is no JSON.
pub(super) fn parse(text: &str) -> Result<Node, Finding<TextError>> {
    let collect = CollectOptions { comments: CommentCollectionStrategy::Off, tokens: false };
    let parsed = parse_to_ast(text, &collect, &STRICT).map_err(|error| {
        let range = error.range();
        not_json(range.start()..range.end(), &error.kind().to_string())
    })?;
    match parsed.value {
        Some(value) => odd_character(text).map_or_else(|| node(value), Err),
        None => Err(not_json(0..0, "no value")),
    }
}

fn not_json(span: Span, why: &str) -> Finding<TextError> {
    Finding::whole(span, TextError::NotJson(why.to_owned()))
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
            let items = array.elements.into_iter().map(node);
            Value::List(items.collect::<Result<_, _>>()?)
        }
        ast::Value::Object(object) => {
            let members = object.properties.into_iter().map(member);
            Value::Object(members.collect::<Result<_, _>>()?)
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

/// A character that JSON has not where it stands, though the parser takes it: a control character in a
/// string, which is written as an escape, or white space of another kind between values.
fn odd_character(text: &str) -> Option<Finding<TextError>> {
    let (mut is_in_string, mut is_escaped) = (false, false);
    let (at, c) = text.char_indices().find(|&(_, c)| match c {
        _ if is_escaped => {
            is_escaped = false;
            c.is_control()
        }
        '\\' if is_in_string => {
            is_escaped = true;
            false
        }
        '"' => {
            is_in_string = !is_in_string;
            false
        }
        _ if is_in_string => c < ' ',
        '\t' | '\n' | '\r' | ' '..='~' => false,
        _ => true,
    })?;
    let reason = format!("the character U+{:04X}, which JSON has not here", u32::from(c));
    Some(not_json(at..at.saturating_add(c.len_utf8()), &reason))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;

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

    /// What the module's parser takes.
    fn is_json(text: &str) -> bool {
        serde_json::from_str::<serde_json::Value>(text).is_ok()
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 4_000, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn what_is_json_is_what_the_module_takes_for_it(
            parts in vec(proptest::sample::select(&PARTS[..]), 0..8),
            shell in proptest::sample::select(&SHELLS[..]),
        ) {
            let text = shell.replace('@', &parts.concat());
            prop_assert_eq!(parse(&text).is_ok(), is_json(&text), "{:?}", text);
        }
    }

    const SHELLS: [&str; 6] = ["@", "[@]", "{\"a\":@}", "{@:1}", "\"@\"", "[1,\"@\",2]"];
    const PARTS: [&str; 62] = [
        "{",
        "}",
        "[",
        "]",
        ":",
        ",",
        "\"",
        "'",
        "\\",
        "/",
        "//",
        "/*",
        "*/",
        "#",
        " ",
        "\t",
        "\n",
        "\r",
        "\u{b}",
        "\u{c}",
        "\0",
        "\u{1}",
        "\u{1f}",
        "\u{7f}",
        "\u{85}",
        "\u{a0}",
        "\u{2028}",
        "\u{feff}",
        "\u{e9}",
        "\u{1f600}",
        "0",
        "1",
        "9",
        "-",
        "+",
        ".",
        "e",
        "E",
        "x",
        "00",
        "1.5",
        "1e5",
        "1E+5",
        "-0",
        "null",
        "true",
        "false",
        "True",
        "NaN",
        "Infinity",
        "a",
        "\"a\"",
        "\\n",
        "\\u0041",
        "\\ud83d",
        "\\ude00",
        "\\ud83d\\ude00",
        "\\x41",
        "\\v",
        "\\/",
        "\\u00",
        "u",
    ];
}
