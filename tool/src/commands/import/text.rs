//! An input as it was read: lines, and values where it is YAML or JSON.

use crate::document::{Document, Node, TextError, Value};
use crate::failure::Failure;
use crate::input;
use egress_warden::config::MAX_TEXT;
use std::cell::OnceCell;
use std::path::Path;

/// One input.
#[derive(Debug)]
pub(crate) struct Text {
    name: String,
    text: String,
    is_json_by_name: bool,
    document: OnceCell<Document>,
}

impl Text {
    /// Reads a file; `-` is standard input.
    pub(super) fn read(path: &Path) -> Result<Self, Failure> {
        let name = input::name(path);
        let remedy = "name a list or a configuration, in UTF-8";
        let text = String::from_utf8(input::read(path, MAX_TEXT)?).map_err(|error| {
            let offset = error.utf8_error().valid_up_to();
            Failure::new(&name, format!("a byte at offset {offset} that is not UTF-8"), remedy)
        })?;
        if let Some(offset) = text.find('\0') {
            return Err(Failure::new(&name, format!("a NUL byte at offset {offset}"), remedy));
        }
        let is_json_by_name = path.extension().is_some_and(|extension| extension == "json");
        Self::of(name, text, is_json_by_name)
    }

    /// Takes a text. One without anything in it says nothing, and is an error.
    pub(crate) fn of(name: String, text: String, is_json: bool) -> Result<Self, Failure> {
        let text = text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text);
        if text.trim().is_empty() {
            return Err(Failure::new(name, "an empty text", "name a list or a configuration"));
        }
        Ok(Self { name, text, is_json_by_name: is_json, document: OnceCell::new() })
    }

    /// How messages name the input.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// The lines with their numbers.
    pub(super) fn lines(&self) -> impl Iterator<Item = (usize, &str)> {
        (1..).zip(self.text.lines())
    }

    /// `FILE:LINE`.
    pub(super) fn at_line(&self, line: usize) -> String {
        format!("{}:{line}", self.name)
    }

    /// The text as YAML or JSON.
    pub(super) fn document(&self) -> &Document {
        self.document.get_or_init(|| {
            Document::of_text(self.name.clone(), self.text.clone(), self.is_json_by_name)
        })
    }

    /// `FILE:LINE` of a value.
    pub(super) fn at(&self, node: &Node) -> String {
        self.at_line(self.document().position(node.span.start).line)
    }

    /// The objects of the text, those of lists one by one; a failure where it cannot be taken apart, or
    /// where readers may take it for different things. Only words that some readers take for other values are
    /// let through: they are read as the texts that they are.
    pub(super) fn objects(&self) -> Result<Vec<&Node>, Failure> {
        let document = self.document();
        let errors: Vec<_> =
            document.errors().iter().filter(|error| !is_harmless(&error.kind)).cloned().collect();
        if !errors.is_empty() {
            return Err(document.failure(&errors, ""));
        }
        let mut objects = Vec::new();
        for root in document.roots() {
            match &root.value {
                Value::List(items) => objects.extend(items),
                // `List`, or the list of a kind as the API server answers.
                Value::Object(_)
                    if root
                        .get("kind")
                        .and_then(Node::text)
                        .is_some_and(|kind| kind.ends_with("List"))
                        && root.get("items").is_some() =>
                {
                    objects.extend(root.get("items").map_or(&[][..], Node::items));
                }
                _ => objects.push(root),
            }
        }
        Ok(objects)
    }

    /// Whether the text has an object of which something is true.
    pub(super) fn has_object(&self, is: impl Fn(&Node) -> bool) -> bool {
        self.objects().is_ok_and(|objects| objects.into_iter().any(is))
    }
}

fn is_harmless(error: &TextError) -> bool {
    matches!(
        error,
        TextError::Doubtful(..)
            | TextError::KeyIsDoubtful(_)
            | TextError::BlockAtEnd
            | TextError::BlockBeforeSeparator
    )
}

/// What stands under the keys of a source, at any depth. An empty list and none at all often mean "any" there,
/// so another value must not be taken for one.
pub(super) struct Shape {
    pub(super) lists: &'static [&'static str],
    pub(super) objects: &'static [&'static str],
    pub(super) texts: &'static [&'static str],
    /// Under which people choose the keys.
    pub(super) free: &'static [&'static str],
}

impl Shape {
    /// A failure where something else stands under a key. `null` is what is not there, but for a text.
    pub(super) fn check(&self, text: &Text, node: &Node) -> Result<(), Failure> {
        for member in node.members() {
            let key = &*member.key;
            let wanted = match &member.value.value {
                Value::List(_) | Value::Null if self.lists.contains(&key) => None,
                Value::Object(_) | Value::Null if self.objects.contains(&key) => None,
                Value::Text(_) if self.texts.contains(&key) => None,
                _ if self.lists.contains(&key) => Some("a list"),
                _ if self.objects.contains(&key) => Some("an object"),
                _ if self.texts.contains(&key) => Some("a text"),
                _ => None,
            };
            if let Some(wanted) = wanted {
                let problem = format!("`{key}`, which is not {wanted}");
                let remedy = format!("write {wanted} under it, or take it out");
                return Err(Failure::new(text.at(&member.value), problem, remedy));
            }
            if !self.free.contains(&key) {
                self.check(text, &member.value)?;
            }
        }
        node.items().iter().try_for_each(|item| self.check(text, item))
    }
}

/// What a source calls an object that is passed over.
pub(super) fn title(object: &Node) -> String {
    let kind = object.get("kind").and_then(Node::text);
    let metadata = object.get("metadata").unwrap_or(object);
    let name = metadata.get("name").and_then(Node::text);
    match (kind, name) {
        (Some(kind), Some(name)) => format!("{kind} {name}"),
        (Some(one), None) | (None, Some(one)) => one.to_owned(),
        (None, None) => "a document".to_owned(),
    }
}

/// The first key of an object that is not among some.
pub(super) fn other_key<'n>(object: &'n Node, known: &[&str]) -> Option<&'n str> {
    object.members().iter().map(|member| &*member.key).find(|key| !known.contains(key))
}
