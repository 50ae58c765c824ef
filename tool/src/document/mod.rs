//! A YAML or JSON text as a tree with places, and whatever in it readers may take differently.
//!
//! Every file that a command reads whole goes through here. The tool is one reader of several: a
//! policy also passes kubectl, Helm or Envoy's own YAML reader on its way to the filter. What these
//! would not all take for the same value is an error at its place: keys that stand twice, tags, plain
//! scalars such as `0443` or `no`, merge keys, directives, odd line breaks.

mod duplicates;
mod error;
mod json;
mod plain;
mod tree;
mod values;
mod yaml;

pub(crate) use error::TextError;
pub(crate) use plain::is_text as is_text_when_plain;
pub(crate) use tree::{Member, Node, Span, Value, quoted};

use crate::failure::Failure;
use crate::finding::{Finding, Message};
use crate::input;
use serde::de::DeserializeOwned;
use std::cell::OnceCell;
use std::path::Path;

/// A text, taken apart.
#[derive(Debug)]
pub(crate) struct Document {
    name: String,
    /// Without a byte-order mark.
    text: String,
    has_mark: bool,
    notation: Notation,
    /// One value of JSON; of YAML the documents that are not empty. None where the text is neither.
    roots: Vec<Node>,
    /// Plain scalars that readers take differently are texts in the tree, as they are written.
    errors: Vec<Finding<TextError>>,
    /// Blocks of text, and nodes that aliases may stand for; none is within another.
    laid_out: Vec<Span>,
    has_aliases: bool,
    /// Where lines and columns are, once somebody asked.
    places: OnceCell<Places>,
}

/// What it takes to find the line and the column of an offset without going through the text.
#[derive(Debug)]
struct Places {
    /// Where each line starts.
    line_starts: Vec<usize>,
    /// How many characters there are before each block of [`Places::BLOCK`] bytes.
    chars_before: Vec<usize>,
}

impl Places {
    const BLOCK: usize = 1_024;

    fn of(text: &str) -> Self {
        let ends = memchr::memchr_iter(b'\n', text.as_bytes());
        let line_starts = std::iter::once(0).chain(ends.map(|end| end.saturating_add(1))).collect();
        let chars_before = std::iter::once(0)
            .chain(text.as_bytes().chunks(Self::BLOCK).scan(0, |before: &mut usize, block| {
                *before = before.saturating_add(chars(block));
                Some(*before)
            }))
            .collect();
        Self { line_starts, chars_before }
    }

    /// How many characters begin before an offset.
    fn chars_before(&self, text: &str, offset: usize) -> usize {
        let block = offset / Self::BLOCK;
        let rest = text.as_bytes().get(block.saturating_mul(Self::BLOCK)..offset);
        let before = self.chars_before.get(block).copied().unwrap_or_default();
        before.saturating_add(chars(rest.unwrap_or_default()))
    }
}

/// How many characters begin in these bytes of UTF-8.
fn chars(bytes: &[u8]) -> usize {
    bytes.iter().filter(|byte| **byte & 0xc0 != 0x80).count()
}

/// How a text is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Notation {
    Yaml,
    Json,
}

/// A line and a column, both from 1; columns count characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Position {
    pub(crate) line: usize,
    pub(crate) column: usize,
}

/// A byte-order mark.
const MARK: &str = "\u{feff}";

impl Document {
    /// Reads a file of at most `max` bytes; `-` is standard input. `what` it should be is for the
    /// message where it is not even text.
    pub(crate) fn read(path: &Path, max: usize, what: &str) -> Result<Self, Failure> {
        let name = input::name(path);
        let bytes = input::read(path, max)?;
        let text = String::from_utf8(bytes).map_err(|error| {
            let offset = error.utf8_error().valid_up_to();
            let problem = format!("a byte at offset {offset} that is not UTF-8");
            Failure::new(&name, problem, format!("name {what}, in UTF-8"))
        })?;
        let is_json_by_name = path.extension().is_some_and(|extension| extension == "json");
        Ok(Self::of_text(name, text, is_json_by_name))
    }

    /// Takes a text apart; one that is valid JSON is read as JSON whatever its name.
    pub(crate) fn of_text(name: String, mut text: String, is_json_by_name: bool) -> Self {
        let has_mark = text.starts_with(MARK);
        if has_mark {
            text.drain(..MARK.len());
        }
        let mut document = Self {
            name,
            text,
            has_mark,
            notation: Notation::Json,
            roots: Vec::new(),
            errors: Vec::new(),
            laid_out: Vec::new(),
            has_aliases: false,
            places: OnceCell::new(),
        };
        document.take_apart(is_json_by_name);
        document
    }

    fn take_apart(&mut self, is_json_by_name: bool) {
        if self.text.trim_start().is_empty() {
            self.errors.push(Finding::whole(0..0, TextError::Empty));
            return;
        }
        if is_json_by_name || self.text.trim_start().starts_with('{') {
            match json::parse(&self.text) {
                Ok(root) => {
                    self.errors = duplicates::of(&root);
                    self.roots.push(root);
                    return;
                }
                Err(finding) if is_json_by_name => return self.errors.push(finding),
                Err(_) => {}
            }
        }
        self.notation = Notation::Yaml;
        match yaml::parse(&self.text) {
            Ok(read) => {
                self.errors = read.errors;
                self.errors.extend(read.roots.iter().flat_map(duplicates::of));
                self.errors.sort_by_key(|error| error.span.start);
                self.roots = read.roots;
                self.laid_out = read.laid_out;
                self.has_aliases = read.has_aliases;
            }
            Err(finding) => self.errors.push(finding),
        }
    }

    /// The same document with another text.
    pub(crate) fn rewritten(&self, text: String) -> Self {
        Self::of_text(self.name.clone(), text, self.notation == Notation::Json)
    }

    /// What the only document of the text says, read as `T`. `remedy` is for what is no `T`.
    pub(crate) fn read_as<T: DeserializeOwned>(&self, remedy: &str) -> Result<T, Failure> {
        let second = self.roots.get(1).map(|root| root.span.clone());
        let second = second.map(|span| Finding::whole(span, TextError::SecondDocument));
        let errors = self.mark().into_iter().chain(self.errors.iter().cloned()).chain(second);
        let errors: Vec<_> = errors.collect();
        let Some(root) = self.roots.first().filter(|_| errors.is_empty()) else {
            return Err(self.failure(&errors, ""));
        };
        T::deserialize(root).map_err(|mismatch| {
            let span = mismatch.span.unwrap_or_default();
            Failure::new(self.at(span.start), mismatch.problem, remedy)
        })
    }

    /// Why a text with errors cannot be used: the first of them, how many there are, and `where_all`
    /// are shown.
    pub(crate) fn failure<K: Message>(&self, errors: &[Finding<K>], where_all: &str) -> Failure {
        let Some(Finding { path, span, kind }) = errors.first() else {
            return Failure::new(&self.name, "no text", "write one");
        };
        let problem = format!("`{path}`: found {}", kind.problem());
        let remedy = match errors.len() {
            1 => kind.remedy().into_owned(),
            count => format!("{} (the first of {count} errors{where_all})", kind.remedy()),
        };
        Failure::new(self.at(span.start), problem, remedy)
    }

    /// How messages name the file.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    pub(crate) fn notation(&self) -> Notation {
        self.notation
    }

    /// The documents of the text that are not empty; none where it cannot be taken apart.
    pub(crate) fn roots(&self) -> &[Node] {
        &self.roots
    }

    /// Whether some value stands for what lies elsewhere in its document.
    pub(crate) fn has_aliases(&self) -> bool {
        self.has_aliases
    }

    /// What keeps the documents from being used, in the order of the text.
    pub(crate) fn errors(&self) -> &[Finding<TextError>] {
        &self.errors
    }

    /// Takes out what keeps the documents from being used, in the order of the text.
    pub(crate) fn take_errors(&mut self) -> Vec<Finding<TextError>> {
        std::mem::take(&mut self.errors)
    }

    /// The error of a byte-order mark, if there is one. What is behind it was read.
    pub(crate) fn mark(&self) -> Option<Finding<TextError>> {
        self.has_mark.then(|| Finding::whole(0..0, TextError::ByteOrderMark))
    }

    /// The bytes of the file: the text with its byte-order mark.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mark = if self.has_mark { MARK } else { "" };
        [mark.as_bytes(), self.text.as_bytes()].concat()
    }

    /// Whether a place lies in a block of text, or in what aliases may stand for: then it is not to be
    /// rewritten alone.
    pub(crate) fn is_laid_out(&self, span: &Span) -> bool {
        let next = self.laid_out.partition_point(|it| it.start <= span.start);
        let before = next.checked_sub(1).and_then(|last| self.laid_out.get(last));
        before.is_some_and(|it| span.start < it.end || it == span)
    }

    /// Line and column of an offset.
    pub(crate) fn position(&self, offset: usize) -> Position {
        let (line, span) = self.line(offset);
        let chars = |offset| self.places().chars_before(&self.text, offset);
        let before = chars(offset).saturating_sub(chars(span.start));
        Position { line, column: before.saturating_add(1) }
    }

    /// The line of an offset without its end, and where it is.
    pub(crate) fn line_at(&self, offset: usize) -> (&str, Span) {
        let (_, span) = self.line(offset);
        let line = self.text.get(span.clone()).unwrap_or_default();
        let line = line.strip_suffix('\n').unwrap_or(line);
        (line.strip_suffix('\r').unwrap_or(line), span)
    }

    /// The number of a line, and where it is with its end.
    fn line(&self, offset: usize) -> (usize, Span) {
        let starts = &self.places().line_starts;
        let line = starts.partition_point(|&start| start <= offset);
        let start = starts.get(line.saturating_sub(1)).copied().unwrap_or_default();
        (line, start..starts.get(line).copied().unwrap_or(self.text.len()))
    }

    fn places(&self) -> &Places {
        self.places.get_or_init(|| Places::of(&self.text))
    }

    /// `FILE:LINE:COLUMN` of an offset.
    pub(crate) fn at(&self, offset: usize) -> String {
        let Position { line, column } = self.position(offset);
        format!("{}:{line}:{column}", self.name)
    }
}
