//! JSON text -> [`Node`], with every value's place.

use super::tree::{Member, Node, Value};
use jsonc_parser::ast::{self, ObjectPropName};
use jsonc_parser::common::Ranged;
use jsonc_parser::{CollectOptions, CommentCollectionStrategy, ParseOptions, parse_to_ast};

/// Takes apart a text that the policy's reader knows to be JSON no deeper than it allows; `None`
/// where it is something else.
pub(crate) fn parse(text: &str) -> Option<Node> {
    let collect = CollectOptions { comments: CommentCollectionStrategy::Off, tokens: false };
    let parsed = parse_to_ast(text, &collect, &ParseOptions::default()).ok()?;
    node(parsed.value?)
}

fn node(value: ast::Value<'_>) -> Option<Node> {
    let span = value.start()..value.end();
    let value = match value {
        ast::Value::NullKeyword(_) => Value::Null,
        ast::Value::BooleanLit(literal) => Value::Bool(literal.value),
        ast::Value::NumberLit(literal) => Value::Number(literal.value.parse().ok()?),
        ast::Value::StringLit(literal) => Value::Text(literal.value.into()),
        ast::Value::Array(array) => {
            Value::List(array.elements.into_iter().map(node).collect::<Option<_>>()?)
        }
        ast::Value::Object(object) => {
            Value::Object(object.properties.into_iter().map(member).collect::<Option<_>>()?)
        }
    };
    Some(Node { value, span })
}

fn member(property: ast::ObjectProp<'_>) -> Option<Member> {
    let key_span = property.name.start()..property.name.end();
    let key = match property.name {
        ObjectPropName::String(name) => name.value.into(),
        ObjectPropName::Word(name) => name.value.into(),
    };
    Some(Member { key, key_span, value: node(property.value)? })
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
}
