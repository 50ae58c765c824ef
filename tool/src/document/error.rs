//! What keeps a text from being used: it is no YAML and no JSON, or readers take it differently.

use super::plain::Doubt;
use super::tree::quoted;
use crate::finding::Message;
use egress_warden::config::RENDER;
use std::borrow::Cow;

/// What was found. Texts are whole, as the author wrote them.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum TextError {
    ByteOrderMark,
    Empty,
    /// As the parser says.
    NotJson(String),
    NotYaml(String),
    DuplicateKey,
    /// A character that readers take differently, or that no YAML may hold.
    Character(char),
    /// A line that begins with `---` and goes on.
    Separator,
    Directive,
    SecondDocument,
    /// Behind `...`.
    DocumentWithoutSeparator,
    /// The mark of a template that is not rendered.
    Template,
    /// In the indentation.
    Tab,
    Tag,
    DuplicateAnchor(String),
    AnchorName,
    /// An alias inside what it stands for.
    AliasLoop,
    /// Anchors and aliases that stand for more values than this.
    TooManyValues(usize),
    /// Anchors and aliases that stand for more bytes of text than this.
    TooMuchText(usize),
    /// A plain scalar.
    Doubtful(Doubt, String),
    /// A block of text that ends with the file.
    BlockAtEnd,
    /// A block of text that ends with its document.
    BlockBeforeSeparator,
    /// A plain scalar that begins with `?`.
    QuestionMark,
    KeyWithoutValue,
    KeyWithAnchor,
    KeyIsAlias,
    KeyIsNoText,
    KeyIsBlock(String),
    KeyIsDoubtful(String),
    MergeKey,
}

impl Message for TextError {
    fn problem(&self) -> Cow<'_, str> {
        match self {
            Self::ByteOrderMark => "a byte-order mark".into(),
            Self::Empty => "an empty text".into(),
            Self::NotJson(reason) => format!("what is not JSON: {reason}").into(),
            Self::NotYaml(reason) => format!("what is not YAML: {reason}").into(),
            Self::DuplicateKey => "a key that stands twice".into(),
            Self::Character(c) => {
                let code = u32::from(*c);
                format!("the character U+{code:04X}, which readers of YAML take differently").into()
            }
            Self::Separator => {
                "a line that begins with `---`, where some readers begin another document".into()
            }
            Self::Directive => "a directive, by which YAML is read otherwise".into(),
            Self::SecondDocument => "a second document".into(),
            Self::DocumentWithoutSeparator => "a document that no `---` begins".into(),
            Self::Template => "a template that is not rendered".into(),
            Self::Tab => "a tab in the indentation, where YAML has none".into(),
            Self::Tag => "a tag, which readers of YAML take differently".into(),
            Self::DuplicateAnchor(name) => {
                format!("the anchor `&{name}`, which stands here twice").into()
            }
            Self::AnchorName => {
                "the name of an anchor, which readers of YAML end at different places".into()
            }
            Self::AliasLoop => "an alias inside what it stands for".into(),
            Self::TooManyValues(max) => {
                format!("aliases that stand for more than {max} values").into()
            }
            Self::TooMuchText(max) => {
                format!("aliases that stand for more than {max} bytes").into()
            }
            Self::Doubtful(doubt, text) => format!("`{}`, {}", cut(text), doubt.taken_for()).into(),
            Self::BlockAtEnd => {
                "a text that ends with the file, to which some readers add a line break".into()
            }
            Self::BlockBeforeSeparator => {
                "a text that ends with its document, of which some readers \
                                           leave out the last line break"
                    .into()
            }
            Self::QuestionMark => {
                "a text that begins with `?`, which some readers of YAML leave out".into()
            }
            Self::KeyWithoutValue => "a key without a value".into(),
            Self::KeyWithAnchor => "a key with an anchor".into(),
            Self::KeyIsAlias => "an alias as a key".into(),
            Self::KeyIsNoText => "a key that is not a string".into(),
            Self::KeyIsBlock(_) => "a block of text as a key".into(),
            Self::KeyIsDoubtful(_) => {
                "a key that some readers of YAML take for something else than a text".into()
            }
            Self::MergeKey => {
                "a merge key, which some readers of YAML follow and others do not".into()
            }
        }
    }

    fn remedy(&self) -> Cow<'_, str> {
        match self {
            Self::ByteOrderMark => "take it away".into(),
            Self::Empty => "write a policy; an empty one never means allow".into(),
            Self::NotJson(_) => "write one JSON object".into(),
            Self::NotYaml(_) => "write one YAML or JSON object".into(),
            Self::DuplicateKey => "keep one of them".into(),
            Self::Character(_) => "take it away, or write it as an escape in double quotes".into(),
            Self::Separator => "put spaces before it, or `---` on a line of its own".into(),
            Self::Directive => "take it away".into(),
            Self::SecondDocument => "keep one document in the file".into(),
            Self::DocumentWithoutSeparator => "write `---` before it, on a line of its own".into(),
            Self::Template => RENDER.into(),
            Self::Tab => "write spaces".into(),
            Self::Tag => "take the tag away; write a text in quotes".into(),
            Self::DuplicateAnchor(_) => "give each anchor a name of its own".into(),
            Self::AnchorName => "name it with letters and digits".into(),
            Self::AliasLoop => "write the value out".into(),
            Self::TooManyValues(_) | Self::TooMuchText(_) => "write the values out".into(),
            Self::Doubtful(doubt, text) => doubt.remedy(&quoted(&cut(text))).into(),
            Self::BlockAtEnd => "end the file with a line break".into(),
            Self::BlockBeforeSeparator => "write `|-` or `>-`, or another key behind it".into(),
            Self::QuestionMark => "write it in quotes".into(),
            Self::KeyWithoutValue => "write its value, or `null`".into(),
            Self::KeyWithAnchor => "take the anchor away".into(),
            Self::KeyIsAlias => "write the key out".into(),
            Self::KeyIsNoText => "write a string as the key".into(),
            Self::KeyIsBlock(text) | Self::KeyIsDoubtful(text) => {
                format!("write {}", quoted(text)).into()
            }
            Self::MergeKey => "write out the members that `<<` stands for".into(),
        }
    }
}

impl Doubt {
    fn taken_for(self) -> &'static str {
        match self {
            Self::Boolean(_) => "which some readers of YAML take for a boolean",
            Self::Number => "which readers of YAML take for different values",
            Self::Base60 => "which some readers of YAML take for a number in base 60",
            Self::Time => "which some readers of YAML take for a time",
            Self::NotFinite => "which some readers of YAML take for a number that JSON lacks",
            Self::Special => "which some readers of YAML take for more than a text",
        }
    }

    fn remedy(self, in_quotes: &str) -> String {
        match self {
            Self::Boolean(value) => format!("write {in_quotes} for the text, or `{value}`"),
            Self::Number => format!("write plain decimal digits, or {in_quotes} for the text"),
            _ => format!("write {in_quotes}"),
        }
    }
}

/// The author's own text, as much of it as a message repeats.
fn cut(text: &str) -> Cow<'_, str> {
    const SHOWN: usize = 80;
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()).into(),
        None => text.into(),
    }
}
