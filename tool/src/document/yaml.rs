//! YAML text -> [`Node`], with every value's place.
//!
//! Read is what every reader of YAML takes for the same. What some take otherwise is an error that
//! lets the rest be read; the tree then holds texts as they are written.

use super::error::TextError;
use super::plain::{self, Plain};
use super::tree::{Member, Node, Span, Value};
use crate::finding::Finding;
use egress_warden::config::{MAX_DEPTH, MAX_TEXT, path_step};
use granit_parser::{
    ErrorKind, Event, Options, Parser, ScalarStyle, ScanError, StrInput, StructureStyle,
};
use std::collections::{HashMap, HashSet};

/// What a YAML text holds.
#[derive(Debug)]
pub(super) struct Yaml {
    /// Its documents, without empty ones; never none.
    pub(super) roots: Vec<Node>,
    pub(super) errors: Vec<Finding<TextError>>,
    /// Nodes that are laid out on purpose, or stand elsewhere too: blocks of text, and what aliases
    /// may stand for. In the order of the text; none is within another.
    pub(super) laid_out: Vec<Span>,
    pub(super) has_aliases: bool,
}

/// Reads the documents of a text, or says why they cannot be read.
pub(super) fn parse(text: &str) -> Result<Yaml, Finding<TextError>> {
    if let Some(finding) = odd_character(text).or_else(|| odd_separator(text)) {
        return Err(finding);
    }
    let mut options = Options::default();
    options.emit_comments = false;
    options.emit_anchor_events = true;
    options.disallow_directives = true;
    // Depth is the policy reader's limit; here it only keeps the tree from growing without bound.
    options.flow_nesting_limit = MAX_DEPTH * 2;
    options.block_nesting_limit = MAX_DEPTH * 2;
    let mut builder = Builder {
        text,
        events: Parser::new_from_str_with_options(text, options),
        path: "$".to_owned(),
        anchors: HashMap::new(),
        names: HashSet::new(),
        read: Size::default(),
        copied: Size::default(),
        errors: Vec::new(),
        laid_out: Vec::new(),
        has_aliases: false,
    };
    let roots = builder.documents().map_err(|finding| meant(text, finding))?;
    let Builder { errors, laid_out, has_aliases, .. } = builder;
    Ok(Yaml { roots, errors, laid_out: outermost(laid_out), has_aliases })
}

/// Leaves out spans within others.
fn outermost(mut spans: Vec<Span>) -> Vec<Span> {
    spans.sort_by_key(|span| (span.start, std::cmp::Reverse(span.end)));
    let mut end = 0;
    spans.retain(|span| {
        let is_outermost = span.end > end;
        end = end.max(span.end);
        is_outermost
    });
    spans
}

/// Most nodes that are copied for anchors and aliases: more than a policy of a million hosts needs.
const MAX_NODES: usize = 2_500_000;

/// Most bytes of the text that are copied for them: as many as a text may have.
const MAX_BYTES: usize = MAX_TEXT;

/// How large what stands behind an anchor is.
#[derive(Clone, Copy, Debug, Default)]
struct Size {
    nodes: usize,
    bytes: usize,
}

impl Size {
    fn plus(self, other: Self) -> Self {
        Self {
            nodes: self.nodes.saturating_add(other.nodes),
            bytes: self.bytes.saturating_add(other.bytes),
        }
    }
}

/// A character that some readers take for the end of a line, and others for a part of it, or that
/// no YAML may hold.
fn odd_character(text: &str) -> Option<Finding<TextError>> {
    let is_odd = |(at, c): &(usize, char)| match c {
        '\n' | '\t' => false,
        '\r' => !text.get(at.saturating_add(1)..).is_some_and(|rest| rest.starts_with('\n')),
        '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}' => true,
        c => c.is_control(),
    };
    let (at, c) = text.char_indices().find(is_odd)?;
    let span = at..at.saturating_add(c.len_utf8());
    Some(Finding::whole(span, TextError::Character(c)))
}

/// A line that begins with `---` and says more than a comment. kubectl and kustomize part a file at each
/// such line before they read any YAML, and drop the rest of it; YAML reads a key, or a text, or the
/// beginning of a document there (YAML 1.2, section 9.1.2).
fn odd_separator(text: &str) -> Option<Finding<TextError>> {
    let mut start = 0_usize;
    for line in text.split_inclusive('\n') {
        let rest = line.strip_prefix("---").map(str::trim_end);
        let is_separator = |rest: &str| {
            rest.is_empty() || rest.starts_with([' ', '\t']) && rest.trim_start().starts_with('#')
        };
        if rest.is_some_and(|rest| !is_separator(rest)) {
            let span = start..start.saturating_add(line.trim_end().len());
            return Some(Finding::whole(span, TextError::Separator));
        }
        start = start.saturating_add(line.len());
    }
    None
}

/// Says more of what keeps a text from being read where its line shows it: a template that was not
/// rendered, or a tab as indentation.
fn meant(text: &str, finding: Finding<TextError>) -> Finding<TextError> {
    if !matches!(finding.kind, TextError::NotYaml(_) | TextError::KeyIsNoText) {
        return finding;
    }
    let at = finding.span.start;
    let mut start =
        text.get(..at).and_then(|it| it.rfind('\n')).map_or(0, |end| end.saturating_add(1));
    let lines = text.get(start..).unwrap_or_default().split_inclusive('\n');
    // What goes on with a tab is told where it begins, on the line before.
    for (line, is_own) in lines.zip([true, false]) {
        let is_tab = |&(_, c): &(usize, char)| c == '\t';
        let blank = |&(_, c): &(usize, char)| matches!(c, ' ' | '\t');
        let tab = line.char_indices().take_while(blank).find(is_tab).map(|(offset, _)| offset);
        let found = match line.find("{{").filter(|_| is_own) {
            Some(offset) => Some((offset, 2, TextError::Template)),
            None => tab.map(|offset| (offset, 1, TextError::Tab)),
        };
        if let Some((offset, length, kind)) = found {
            let from = start.saturating_add(offset);
            return Finding::whole(from..from.saturating_add(length), kind);
        }
        start = start.saturating_add(line.len());
    }
    finding
}

struct Builder<'t> {
    text: &'t str,
    events: Parser<'t, StrInput<'t>>,
    /// JSONPath of what is being read.
    path: String,
    anchors: HashMap<usize, (Node, Size)>,
    /// Of anchors.
    names: HashSet<Box<str>>,
    /// How much was read so far; of the bytes only those that aliases stand for.
    read: Size,
    copied: Size,
    errors: Vec<Finding<TextError>>,
    laid_out: Vec<Span>,
    has_aliases: bool,
}

impl<'t> Builder<'t> {
    fn documents(&mut self) -> Result<Vec<Node>, Finding<TextError>> {
        let mut roots = Vec::new();
        let mut is_first = true;
        while let Some((event, span)) = self.next()? {
            match event {
                Event::StreamStart | Event::DocumentEnd => {}
                // Behind `...`. Readers that split a file at `---` take it for the same document.
                Event::DocumentStart(false, _) if !is_first => {
                    return Err(Finding::whole(span, TextError::DocumentWithoutSeparator));
                }
                Event::DocumentStart(..) => {
                    is_first = false;
                    self.anchors.clear();
                    self.names.clear();
                }
                Event::StreamEnd => break,
                event => {
                    let root = self.node(event, span)?;
                    let is_empty = root.value == Value::Null && root.span.is_empty();
                    roots.extend((!is_empty).then_some(root));
                }
            }
        }
        match roots.is_empty() {
            true => Err(Finding::whole(0..0, TextError::Empty)),
            false => Ok(roots),
        }
    }

    /// The next event of the document's own; names of anchors are looked at on the way.
    fn next(&mut self) -> Result<Option<(Event<'t>, Span)>, Finding<TextError>> {
        loop {
            let Some(event) = self.events.next_event() else { return Ok(None) };
            let (event, span) = event.map_err(|error| self.not_yaml(&error))?;
            let end = self.text.len();
            let span = span.byte_range().unwrap_or(end..end);
            match event {
                Event::Anchor(_, name) => {
                    self.refuse_anchor_name(&name, &span);
                    if !self.names.insert(name.as_ref().into()) {
                        self.error(span, TextError::DuplicateAnchor(name.to_string()));
                    }
                }
                event => return Ok(Some((event, span))),
            }
        }
    }

    fn not_yaml(&self, error: &ScanError) -> Finding<TextError> {
        let at = error.marker().byte_offset().unwrap_or(self.text.len()).min(self.text.len());
        let at = self.text.floor_char_boundary(at);
        let kind = match error.kind() {
            ErrorKind::DirectiveDisallowed => TextError::Directive,
            _ => TextError::NotYaml(error.info().to_string()),
        };
        Finding::whole(at..at, kind)
    }

    fn error(&mut self, span: Span, kind: TextError) {
        self.errors.push(Finding { path: self.path.clone(), span, kind });
    }

    /// What one reader decodes, another casts and a third ignores.
    fn refuse_tag(&mut self, is_tagged: bool, span: &Span) {
        if is_tagged {
            self.error(span.clone(), TextError::Tag);
        }
    }

    /// Where such a name ends depends on the reader: `&x: y` is an anchor `x:`, or a key.
    fn refuse_anchor_name(&mut self, name: &str, span: &Span) {
        let is_name_byte = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        if !name.bytes().all(is_name_byte) {
            self.error(span.clone(), TextError::AnchorName);
        }
    }

    fn node(&mut self, event: Event<'t>, span: Span) -> Result<Node, Finding<TextError>> {
        let before = self.read;
        self.read.nodes = self.read.nodes.saturating_add(1);
        let (value, span, anchor) = match event {
            Event::Alias(anchor) => return self.alias(anchor, span),
            Event::Scalar(text, style, anchor, tag) => {
                self.refuse_tag(tag.is_some(), &span);
                let span = self.own(style, span);
                (self.scalar(&text, style, &span), span, anchor)
            }
            Event::SequenceStart(_, anchor, tag) => {
                self.refuse_tag(tag.is_some(), &span);
                let (items, end) = self.items(span.end)?;
                (Value::List(items), span.start..end, anchor)
            }
            Event::MappingStart(style, anchor, tag) => {
                self.refuse_tag(tag.is_some(), &span);
                let (members, end) = self.members(style, span.end)?;
                (Value::Object(members), span.start..end, anchor)
            }
            _ => (Value::Null, span, 0),
        };
        let node = Node { value, span };
        if anchor != 0 {
            let size = Size {
                nodes: self.read.nodes.saturating_sub(before.nodes),
                bytes: self.read.bytes.saturating_sub(before.bytes).saturating_add(node.span.len()),
            };
            self.count_copy(size, &node.span)?;
            self.laid_out.push(node.span.clone());
            self.anchors.insert(anchor, (node.clone(), size));
        }
        Ok(node)
    }

    fn alias(&mut self, anchor: usize, span: Span) -> Result<Node, Finding<TextError>> {
        let name = self.text.get(span.start.saturating_add(1)..span.end).unwrap_or_default();
        self.refuse_anchor_name(name, &span);
        self.has_aliases = true;
        let Some((node, size)) = self.anchors.get(&anchor).cloned() else {
            return Err(Finding::whole(span, TextError::AliasLoop));
        };
        self.read = self.read.plus(size);
        self.count_copy(size, &span)?;
        Ok(node)
    }

    /// Counts what is about to be copied.
    fn count_copy(&mut self, size: Size, span: &Span) -> Result<(), Finding<TextError>> {
        self.copied = self.copied.plus(size);
        let error = if self.copied.nodes > MAX_NODES {
            TextError::TooManyValues(MAX_NODES)
        } else if self.copied.bytes > MAX_BYTES {
            TextError::TooMuchText(MAX_BYTES)
        } else {
            return Ok(());
        };
        Err(Finding::whole(span.clone(), error))
    }

    fn scalar(&mut self, text: &str, style: ScalarStyle, span: &Span) -> Value {
        self.refuse_mark(text, style, span);
        match style {
            ScalarStyle::Plain => match plain::read(text) {
                Plain::Value(value) => value,
                Plain::Doubtful(doubt) => {
                    self.error(span.clone(), TextError::Doubtful(doubt, text.to_owned()));
                    Value::Text(text.into())
                }
            },
            ScalarStyle::Literal | ScalarStyle::Folded => {
                self.laid_out.push(span.clone());
                let error = text.ends_with('\n').then(|| self.ending(span.end)).flatten();
                if let Some(error) = error {
                    self.error(span.clone(), error);
                }
                Value::Text(text.into())
            }
            _ => Value::Text(text.into()),
        }
    }

    /// The error of a block of text with a last line break that some readers do not see: it is missing at
    /// the end of the file, and those that split a file at `---` take it for a part of the separator.
    fn ending(&self, end: usize) -> Option<TextError> {
        let behind = self.text.get(end..).unwrap_or_default();
        let next = behind.trim_start();
        let blank = behind.strip_suffix(next).unwrap_or_default();
        if next.is_empty() {
            return (!self.text.ends_with('\n')).then_some(TextError::BlockAtEnd);
        }
        (blank.ends_with('\n') && next.starts_with("---"))
            .then_some(TextError::BlockBeforeSeparator)
    }

    /// In a flow collection some readers take the `?` of `?x` for the mark of a key.
    fn refuse_mark(&mut self, text: &str, style: ScalarStyle, span: &Span) {
        if style == ScalarStyle::Plain && text.starts_with('?') {
            self.error(span.clone(), TextError::QuestionMark);
        }
    }

    /// The span of a scalar without the line breaks and the indentation behind a block of text.
    fn own(&self, style: ScalarStyle, span: Span) -> Span {
        if !matches!(style, ScalarStyle::Literal | ScalarStyle::Folded) {
            return span;
        }
        let source = self.text.get(span.clone()).unwrap_or_default();
        span.start..span.start.saturating_add(source.trim_ascii_end().len())
    }

    fn items(&mut self, start: usize) -> Result<(Vec<Node>, usize), Finding<TextError>> {
        let mut items = Vec::new();
        let length = self.path.len();
        while let Some((event, at)) = self.next()? {
            if matches!(event, Event::SequenceEnd) {
                return Ok((items, at.end.max(start)));
            }
            self.path.push_str(&format!("[{}]", items.len()));
            items.push(self.node(event, at)?);
            self.path.truncate(length);
        }
        Ok((items, start))
    }

    fn members(
        &mut self,
        style: StructureStyle,
        start: usize,
    ) -> Result<(Vec<Member>, usize), Finding<TextError>> {
        let mut members = Vec::new();
        let length = self.path.len();
        while let Some((event, at)) = self.next()? {
            if matches!(event, Event::MappingEnd) {
                return Ok((members, at.end.max(start)));
            }
            let member = self.member(event, at)?;
            // `{a:, b: c}`: to some readers the key is `a:`.
            if style == StructureStyle::Flow && member.value.span.is_empty() {
                self.error(member.key_span.clone(), TextError::KeyWithoutValue);
            }
            members.push(member);
            self.path.truncate(length);
        }
        Ok((members, start))
    }

    fn member(&mut self, event: Event<'t>, key_span: Span) -> Result<Member, Finding<TextError>> {
        let key: Box<str> = match event {
            Event::Scalar(text, style, anchor, tag) => {
                self.path.push_str(&path_step(&text));
                self.refuse_tag(tag.is_some(), &key_span);
                if anchor != 0 {
                    self.error(key_span.clone(), TextError::KeyWithAnchor);
                }
                self.refuse_key(&text, style, &key_span);
                text.into()
            }
            Event::Alias(anchor) => {
                let text = self.anchors.get(&anchor).and_then(|(node, _)| node.text());
                let text: Box<str> = text.unwrap_or_default().into();
                self.path.push_str(&path_step(&text));
                self.error(key_span.clone(), TextError::KeyIsAlias);
                text
            }
            _ => return Err(Finding::whole(key_span, TextError::KeyIsNoText)),
        };
        let end = self.text.len();
        let (event, span) = self.next()?.unwrap_or((Event::StreamEnd, end..end));
        Ok(Member { key, key_span, value: self.node(event, span)? })
    }

    fn refuse_key(&mut self, text: &str, style: ScalarStyle, span: &Span) {
        self.refuse_mark(text, style, span);
        if matches!(style, ScalarStyle::Literal | ScalarStyle::Folded) {
            self.error(span.clone(), TextError::KeyIsBlock(text.to_owned()));
        } else if text == "<<" {
            self.error(span.clone(), TextError::MergeKey);
        } else if style == ScalarStyle::Plain && !plain::is_text(text) {
            self.error(span.clone(), TextError::KeyIsDoubtful(text.to_owned()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::finding::Message as _;

    fn read(text: &str) -> Node {
        let yaml = parse(text).unwrap_or_else(|error| panic!("{text}: {error:?}"));
        assert!(yaml.errors.is_empty(), "{text}: {:?}", yaml.errors);
        let [root] = yaml.roots.try_into().expect(text);
        root
    }

    /// Places and problems, of errors that let the rest be read too.
    fn errors(text: &str) -> Vec<(usize, String)> {
        match parse(text) {
            Ok(yaml) => yaml
                .errors
                .into_iter()
                .map(|it| (it.span.start, it.kind.problem().into()))
                .collect(),
            Err(error) => vec![(error.span.start, error.kind.problem().into())],
        }
    }

    #[test]
    fn no_line_is_a_separator_for_some_readers_only() {
        for text in [
            "---\na: 1\n",
            "--- # a policy\na: 1\n",
            "# a\n---\t# b\na: 1\n",
            "a: 1\nb: |\n  ---x\n",
            "a: '\n ---#'\n",
            "a: --- b\n",
            "--: 1\n",
        ] {
            read(text);
        }
        for (text, start) in [
            ("a: 1\n---#x:\n  b: 2\n", 5),
            ("---x: 1\n", 0),
            ("a: 1\n---x: 2\n", 5),
            ("a: \"1\n---#\"\n", 6),
            ("# a\n--- {a: 1}\n", 4),
            ("--- a\n", 0),
            ("----\n", 0),
        ] {
            let [(found, problem)] = errors(text).try_into().expect(text);
            assert_eq!(found, start, "{text}: {problem}");
            assert!(problem.contains("`---`"), "{text}: {problem}");
        }
    }

    #[test]
    fn yaml_becomes_the_json_that_it_means() {
        for (yaml, json) in [
            (
                "a: 1\nb: [x, 'y', \"z\", ~, true, -443]\n",
                r#"{"a":1,"b":["x","y","z",null,true,-443]}"#,
            ),
            (
                "- a: |\n    one\n    two\n- '443'\n- \"\"\n-\n",
                r#"[{"a":"one\ntwo\n"},"443","",null]"#,
            ),
            ("a: &x [1]\nb: *x\n", r#"{"a":[1],"b":[1]}"#),
            ("a: 1\na: 2\n", r#"{"a":1,"a":2}"#),
            ("a: 1.2.3.4\nb: 1-2\n", r#"{"a":"1.2.3.4","b":"1-2"}"#),
            ("{\"a\": \"\\u00e9\\n\", \"b\": {}}", r#"{"a":"é\n","b":{}}"#),
            ("a: >-\n  x\n  y\n\nb: c\r\n", r#"{"a":"x y","b":"c"}"#),
        ] {
            assert_eq!(read(yaml).to_json(), json, "{yaml}");
        }
    }

    #[test]
    fn every_value_knows_its_place() {
        let text = "# é\nrules:\n- id: \"a\"\n  to: [{hosts: [b.test]}]\n- >-\n  c\n\n- d\n";
        let root = read(text);
        let rule = &root.get("rules").unwrap().items()[0];
        assert_eq!(&text[rule.get("id").unwrap().span.clone()], "\"a\"");
        let host = &rule.get("to").unwrap().items()[0].get("hosts").unwrap().items()[0];
        assert_eq!(&text[host.span.clone()], "b.test");
        assert_eq!(&text[rule.members()[1].key_span.clone()], "to");
        let block = &root.get("rules").unwrap().items()[1];
        assert_eq!(&text[block.span.clone()], "c");
    }

    #[test]
    fn what_readers_take_differently_is_an_error_that_lets_the_rest_be_read() {
        for (text, at, problem) in [
            ("a: no\nb: c\n", 3, "take for a boolean"),
            ("a: !!binary Yg==\n", 12, "a tag"),
            ("a: !b [c]\n", 6, "a tag"),
            ("!!map {a: b}\n", 6, "a tag"),
            ("!!str a: b\n", 6, "a tag"),
            ("<<: {a: b}\n", 0, "a merge key"),
            ("a: &x b\nc: &x d\n", 11, "`&x`, which stands here twice"),
            ("&x a: b\n", 3, "a key with an anchor"),
            ("a: &x b\n*x : c\n", 8, "an alias as a key"),
            ("443: a\n", 0, "a key that some readers"),
            ("yes: a\n", 0, "a key that some readers"),
            ("~: a\n", 0, "a key that some readers"),
            ("a: |\n  b", 7, "to which some readers add a line break"),
            ("a: |\n  b\n---\n", 7, "of which some readers leave out the last line break"),
            ("a: |\n  b\n\n--- # c\nd: e\n", 7, "leave out the last line break"),
        ] {
            let errors = errors(text);
            assert_eq!(errors.len(), 1, "{text}: {errors:?}");
            assert!(errors[0].0 == at && errors[0].1.contains(problem), "{text}: {errors:?}");
            assert!(parse(text).is_ok(), "{text}");
        }
        for text in
            ["a: |-\n  b", "a: |-\n  b\n---\n", "a: |\n  b\n# c\n---\n", "a: |\n  b\n--x: c\n"]
        {
            assert_eq!(errors(text), [], "{text}");
        }
    }

    #[test]
    fn each_document_is_read_by_itself_and_empty_ones_are_none() {
        for (text, roots) in [
            ("a: 1\n---\nb: 2\n", &[r#"{"a":1}"#, r#"{"b":2}"#][..]),
            ("---\n---\n# c\n---\na: 1\n---\n", &[r#"{"a":1}"#]),
            ("a: 1\r\n---\r\n...\r\n---\r\nb: 2\r\n", &[r#"{"a":1}"#, r#"{"b":2}"#]),
            ("a: &x 1\nb: *x\n---\na: &x 2\nb: *x\n", &[r#"{"a":1,"b":1}"#, r#"{"a":2,"b":2}"#]),
            ("--- # a\n{\"a\": [1]}\n---\n- b\n", &[r#"{"a":[1]}"#, r#"["b"]"#]),
        ] {
            let yaml = parse(text).unwrap_or_else(|error| panic!("{text}: {error:?}"));
            assert_eq!(yaml.errors, [], "{text}");
            assert_eq!(yaml.roots.iter().map(Node::to_json).collect::<Vec<_>>(), roots, "{text}");
        }
        let error = parse("a: &x 1\n---\nb: *x\n").unwrap_err();
        assert!(matches!(error.kind, TextError::NotYaml(_)), "{error:?}");
    }

    #[test]
    fn what_is_no_document_is_refused_where_it_stands() {
        for (text, at, problem) in [
            ("", 0, "an empty text"),
            ("# nothing\n", 0, "an empty text"),
            ("a: 1\n...\nb: 2\n", 9, "a document that no `---` begins"),
            ("---\n# nothing\n---\n", 0, "an empty text"),
            ("[a]: 1\n", 0, "a key that is not a string"),
            ("a: &x [*x]\n", 7, "an alias inside what it stands for"),
            ("%YAML 1.1\n---\na: b\n", 0, "a directive, by which YAML is read otherwise"),
            ("%TAG ! x\n---\na: b\n", 0, "a directive, by which YAML is read otherwise"),
            ("# a\u{85}b: c\n", 3, "the character U+0085, which readers of YAML take differently"),
            ("a: 'b\u{2028}'\n", 5, "the character U+2028, which readers of YAML take differently"),
            ("a: b\rc: d\n", 4, "the character U+000D, which readers of YAML take differently"),
            ("a: b\u{feff}\n", 4, "the character U+FEFF, which readers of YAML take differently"),
            ("a: b\0\n", 4, "the character U+0000, which readers of YAML take differently"),
        ] {
            assert_eq!(errors(text), [(at, problem.to_owned())], "{text}");
            assert!(parse(text).is_err(), "{text}");
        }
        for text in ["a: [1", "a: b: c", "a: 'b", "{", &"[".repeat(100_000)] {
            let error = parse(text).unwrap_err();
            assert!(matches!(error.kind, TextError::NotYaml(_)), "{text:.20}");
        }
    }

    #[test]
    fn a_tab_and_a_template_are_named_where_they_stand() {
        for (text, at, kind) in [
            ("a: b\nc:\n- d: e\n\tf: g\n", 15, TextError::Tab),
            ("a:\n  b: c\n  \td: e\n", 12, TextError::Tab),
            ("a:\n\t- b", 3, TextError::Tab),
            ("a: {{ .Values.b }}\n", 3, TextError::Template),
            ("a: {{ .Values.b }}-c\n", 3, TextError::Template),
            ("a:\n{{- if .Values.b }}\n- c\n{{- end }}\n", 3, TextError::Template),
            ("{{- range .Values.b }}\na: b\n{{- end }}\n", 0, TextError::Template),
            ("a:\n- {{ include \"b\" . }}\n", 5, TextError::Template),
        ] {
            let error = parse(text).expect_err(text);
            assert_eq!((error.span.start, &error.kind), (at, &kind), "{text}");
        }
        assert_eq!(read("a:\tb\t# c\nd: [e,\tf]\n").to_json(), r#"{"a":"b","d":["e","f"]}"#);
        assert_eq!(read("a: '{{ b }}'\n").to_json(), r#"{"a":"{{ b }}"}"#);
    }

    #[test]
    fn aliases_cannot_grow_without_bound() {
        let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
        for level in 1..12 {
            let alias = format!("*a{}", level - 1);
            text += &format!("a{level}: &a{level} [{}]\n", [&*alias; 10].join(", "));
        }
        assert_eq!(parse(&text).unwrap_err().kind, TextError::TooManyValues(MAX_NODES));
        let anchors: String = (0..100).map(|level| format!("&a{level} [")).collect();
        let text = format!("{anchors}{}{}", "x, ".repeat(30_000), "]".repeat(100));
        assert_eq!(parse(&text).unwrap_err().kind, TextError::TooManyValues(MAX_NODES));
        let text = format!("- &a \"{}\"\n- [{}]\n", "x".repeat(1 << 20), "*a, ".repeat(100));
        assert_eq!(parse(&text).unwrap_err().kind, TextError::TooMuchText(MAX_BYTES));
        let text = format!("{anchors}x{}\n", "]".repeat(100));
        assert!(parse(&text).is_ok(), "each anchor copies what is in it");
    }
}
