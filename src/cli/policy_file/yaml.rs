//! YAML text -> [`Node`], with every value's place.
//!
//! What a plain scalar means is YAML 1.2's core schema. Words that YAML 1.1 reads otherwise, as
//! Kubernetes does (`no`, `on`, `0644`), are kept as they are written here and reported, since the
//! proxy would get something else.

use super::tree::{Member, Node, Span, Value};
use egress_warden::config::MAX_DEPTH;
use granit_parser::{Event, Options, Parser, ScalarStyle, ScanError, StrInput};
use std::collections::HashMap;

/// A text that is not YAML, or that no policy can be: where, what, and what to do.
#[derive(Debug)]
pub(crate) struct Unreadable {
    pub(crate) span: Span,
    pub(crate) problem: String,
    pub(crate) remedy: &'static str,
}

/// What a YAML text holds.
#[derive(Debug)]
pub(crate) struct Document {
    pub(crate) root: Node,
    /// Plain scalars that YAML 1.1 reads otherwise.
    pub(crate) ambiguous: Vec<Span>,
}

/// Reads the one document of a text.
pub(crate) fn parse(text: &str) -> Result<Document, Unreadable> {
    let mut options = Options::default();
    options.emit_comments = false;
    // Depth is the policy reader's limit; here it only keeps the tree from growing without bound.
    options.flow_nesting_limit = MAX_DEPTH * 2;
    options.block_nesting_limit = MAX_DEPTH * 2;
    let mut builder = Builder {
        text,
        events: Parser::new_from_str_with_options(text, options),
        anchors: HashMap::new(),
        nodes: 0,
        ambiguous: Vec::new(),
    };
    let root = builder.document()?;
    Ok(Document { root, ambiguous: builder.ambiguous })
}

/// Most nodes that aliases may add up to: more than a policy of a million hosts needs.
const MAX_NODES: usize = 2_500_000;

struct Builder<'t> {
    text: &'t str,
    events: Parser<'t, StrInput<'t>>,
    anchors: HashMap<usize, (Node, usize)>,
    nodes: usize,
    ambiguous: Vec<Span>,
}

impl<'t> Builder<'t> {
    fn document(&mut self) -> Result<Node, Unreadable> {
        let mut root = None;
        while let Some((event, span)) = self.next()? {
            match event {
                Event::StreamStart | Event::DocumentStart(..) | Event::DocumentEnd => {}
                Event::StreamEnd => break,
                _ if root.is_some() => {
                    return Err(Unreadable {
                        span,
                        problem: "a second document".to_owned(),
                        remedy: "keep one policy in a file",
                    });
                }
                event => root = Some(self.node(event, span)?),
            }
        }
        root.ok_or_else(|| Unreadable {
            span: 0..0,
            problem: "an empty text".to_owned(),
            remedy: "write a policy; an empty one never means allow",
        })
    }

    fn next(&mut self) -> Result<Option<(Event<'t>, Span)>, Unreadable> {
        let Some(event) = self.events.next_event() else { return Ok(None) };
        let (event, span) = event.map_err(|error| self.not_yaml(&error))?;
        let end = self.text.len();
        Ok(Some((event, span.byte_range().unwrap_or(end..end))))
    }

    fn not_yaml(&self, error: &ScanError) -> Unreadable {
        let at = error.marker().byte_offset().unwrap_or(self.text.len()).min(self.text.len());
        let at = self.text.floor_char_boundary(at);
        Unreadable {
            span: at..at,
            problem: format!("what is not YAML: {}", error.info()),
            remedy: "write one YAML or JSON object",
        }
    }

    fn node(&mut self, event: Event<'t>, span: Span) -> Result<Node, Unreadable> {
        self.nodes = self.nodes.saturating_add(1);
        let before = self.nodes;
        let (value, span, anchor) = match event {
            Event::Alias(anchor) => {
                let Some((node, size)) = self.anchors.get(&anchor) else {
                    return Err(Unreadable {
                        span,
                        problem: "an alias inside what it stands for".to_owned(),
                        remedy: "write the value out",
                    });
                };
                self.nodes = self.nodes.saturating_add(*size);
                if self.nodes > MAX_NODES {
                    return Err(Unreadable {
                        span,
                        problem: format!("aliases that stand for more than {MAX_NODES} values"),
                        remedy: "write the values out",
                    });
                }
                return Ok(node.clone());
            }
            Event::Scalar(text, style, anchor, tag) => {
                let is_plain = style == ScalarStyle::Plain;
                let is_string = tag.as_deref().is_some_and(|tag| tag.core_suffix() == Some("str"));
                let value = if is_plain && !is_string {
                    if is_ambiguous(&text) {
                        self.ambiguous.push(span.clone());
                    }
                    plain(&text)
                } else {
                    Value::Text(text.into())
                };
                (value, span, anchor)
            }
            Event::SequenceStart(_, anchor, _) => {
                let mut items = Vec::new();
                let mut end = span.end;
                while let Some((event, at)) = self.next()? {
                    if matches!(event, Event::SequenceEnd) {
                        end = at.end.max(end);
                        break;
                    }
                    items.push(self.node(event, at)?);
                }
                (Value::List(items), span.start..end, anchor)
            }
            Event::MappingStart(_, anchor, _) => {
                let mut members = Vec::new();
                let mut end = span.end;
                while let Some((event, at)) = self.next()? {
                    if matches!(event, Event::MappingEnd) {
                        end = at.end.max(end);
                        break;
                    }
                    members.push(self.member(event, at)?);
                }
                (Value::Object(members), span.start..end, anchor)
            }
            _ => (Value::Null, span, 0),
        };
        let node = Node { value, span };
        if anchor != 0 {
            let size = self.nodes.saturating_sub(before).saturating_add(1);
            self.anchors.insert(anchor, (node.clone(), size));
        }
        Ok(node)
    }

    fn member(&mut self, event: Event<'t>, key_span: Span) -> Result<Member, Unreadable> {
        let key = match event {
            Event::Scalar(text, ..) => Some(text.into()),
            Event::Alias(anchor) => {
                self.anchors.get(&anchor).and_then(|(node, _)| node.text()).map(Box::from)
            }
            _ => None,
        };
        let Some(key) = key else {
            return Err(Unreadable {
                span: key_span,
                problem: "a key that is not a string".to_owned(),
                remedy: "write a string as the key",
            });
        };
        let end = self.text.len();
        let (event, span) = self.next()?.unwrap_or((Event::StreamEnd, end..end));
        Ok(Member { key, key_span, value: self.node(event, span)? })
    }
}

/// What a plain scalar means (YAML 1.2.2, section 10.3.2).
fn plain(text: &str) -> Value {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => Value::Null,
        "true" | "True" | "TRUE" => Value::Bool(true),
        "false" | "False" | "FALSE" => Value::Bool(false),
        _ => number(text).map_or_else(|| Value::Text(text.into()), Value::Number),
    }
}

fn number(text: &str) -> Option<f64> {
    let radix = |digits: &str, radix| u32::from_str_radix(digits, radix).ok().map(f64::from);
    if let Some(digits) = text.strip_prefix("0o") {
        return radix(digits, 8);
    }
    if let Some(digits) = text.strip_prefix("0x") {
        return radix(digits, 16);
    }
    let starts_as_number = |c: char| c.is_ascii_digit() || matches!(c, '-' | '+' | '.');
    let is_number_byte = |byte: u8| byte.is_ascii_digit() || b"+-.eE".contains(&byte);
    if !text.starts_with(starts_as_number) || !text.bytes().all(is_number_byte) {
        return None;
    }
    text.parse().ok().filter(|number: &f64| number.is_finite())
}

/// Whether YAML 1.1 reads a plain scalar as something else than YAML 1.2: as a boolean, as a number
/// in base 8, 2 or 60, or as a number with `_` in it.
fn is_ambiguous(text: &str) -> bool {
    const WORDS: [&str; 6] = ["y", "n", "yes", "no", "on", "off"];
    let is_in_one_case = |text: &str, word: &str| {
        text == word
            || text == word.to_ascii_uppercase()
            || (text.eq_ignore_ascii_case(word) && text.get(1..) == word.get(1..))
    };
    if WORDS.iter().any(|word| is_in_one_case(text, word)) {
        return true;
    }
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    let all = |text: &str, allowed: &[u8]| {
        !text.is_empty() && text.bytes().all(|byte| allowed.contains(&byte))
    };
    match digits.strip_prefix('0') {
        Some(octal) if all(octal, b"01234567_") => return true,
        _ => {}
    }
    if digits.strip_prefix("0b").is_some_and(|binary| all(binary, b"01_")) {
        return true;
    }
    let starts_with_digit = digits.starts_with(|c: char| c.is_ascii_digit());
    starts_with_digit
        && (all(digits, b"0123456789_") && digits.contains('_')
            || all(digits, b"0123456789:") && digits.contains(':') && !digits.ends_with(':'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Node {
        parse(text).unwrap_or_else(|error| panic!("{text}: {error:?}")).root
    }

    #[test]
    fn yaml_becomes_the_json_that_it_means() {
        for (yaml, json) in [
            (
                "a: 1\nb: [x, 'y', \"z\", ~, true, 4.43e2]\n",
                r#"{"a":1,"b":["x","y","z",null,true,443]}"#,
            ),
            (
                "- a: |\n    one\n    two\n- !!str 443\n- '443'\n- \"\"\n-\n",
                r#"[{"a":"one\ntwo\n"},"443","443","",null]"#,
            ),
            ("a: &x [1]\nb: *x\n", r#"{"a":[1],"b":[1]}"#),
            ("a: 1\na: 2\n", r#"{"a":1,"a":2}"#),
            ("443: 0x1f\n", r#"{"443":31}"#),
            (
                "a: 2027-01-31T00:00:00Z\nb: 1.2.3.4\nc: +1\nd: 1-2\n",
                r#"{"a":"2027-01-31T00:00:00Z","b":"1.2.3.4","c":1,"d":"1-2"}"#,
            ),
            ("{\"a\": \"\\u00e9\\n\", \"b\": {}}", r#"{"a":"é\n","b":{}}"#),
        ] {
            assert_eq!(read(yaml).to_json(), json, "{yaml}");
        }
    }

    #[test]
    fn every_value_knows_its_place() {
        let text = "# é\nrules:\n- id: \"a\"\n  to: [{hosts: [b.test]}]\n";
        let root = read(text);
        let rule = &root.get("rules").unwrap().items()[0];
        assert_eq!(&text[rule.get("id").unwrap().span.clone()], "\"a\"");
        let host = &rule.get("to").unwrap().items()[0].get("hosts").unwrap().items()[0];
        assert_eq!(&text[host.span.clone()], "b.test");
        assert_eq!(&text[rule.members()[1].key_span.clone()], "to");
    }

    #[test]
    fn what_yaml_1_1_reads_otherwise_is_reported() {
        let found = |text: &str| !parse(text).unwrap().ambiguous.is_empty();
        for word in ["no", "On", "YES", "y", "0644", "1_000", "12:30", "0b1"] {
            assert!(found(&format!("[{word}]")), "{word}");
            assert!(!found(&format!("['{word}']")), "{word}");
        }
        for word in ["nO", "true", "0", "443", "a:b", "10.0.0.1", "0x1f", "none", "08"] {
            assert!(!found(&format!("[{word}]")), "{word}");
        }
    }

    #[test]
    fn what_is_no_document_is_refused_where_it_stands() {
        for (text, at, problem) in [
            ("", 0, "an empty text"),
            ("# nothing\n", 0, "an empty text"),
            ("a: 1\n---\nb: 2\n", 9, "a second document"),
            ("[a]: 1\n", 0, "a key that is not a string"),
            ("a: &x [*x]\n", 7, "an alias inside what it stands for"),
        ] {
            let error = parse(text).unwrap_err();
            assert_eq!((error.span.start, error.problem.as_str()), (at, problem), "{text}");
        }
        for text in ["a: [1", "a: b: c", "a:\n\t- b", "a: 'b", "{", &"[".repeat(100_000), "%YAML 9"]
        {
            assert!(parse(text).unwrap_err().problem.contains("not YAML"), "{text:.20}");
        }
    }

    #[test]
    fn aliases_cannot_grow_without_bound() {
        let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
        for level in 1..12 {
            let alias = format!("*a{}", level - 1);
            text += &format!("a{level}: &a{level} [{}]\n", [&*alias; 10].join(", "));
        }
        assert!(parse(&text).unwrap_err().problem.contains("aliases"));
    }
}
