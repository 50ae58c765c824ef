//! Faults of a policy text: where, what was found, and what to write instead.

use super::order::sorted;
use std::fmt;

/// One fault. Its text reads "`PATH`: found PROBLEM: REMEDY", on one line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    path: String,
    problem: String,
    remedy: String,
    /// Where the place stands in the text: a position in each array or object on the way.
    order: Vec<usize>,
}

impl Fault {
    pub(super) fn new(
        path: &Path<'_>,
        problem: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self {
            path: path.to_string(),
            problem: problem.into(),
            remedy: remedy.into(),
            order: path.order(),
        }
    }

    /// Where: JSONPath (RFC 9535) from `$`, the whole text.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// What was found there.
    pub fn problem(&self) -> &str {
        &self.problem
    }

    /// What to write instead.
    pub fn remedy(&self) -> &str {
        &self.remedy
    }

    /// Where, once more: a position among the members or items of each object or array on the way
    /// from the whole text. It tells keys that stand twice apart.
    pub fn positions(&self) -> &[usize] {
        &self.order
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}`: found {}: {}", self.path, self.problem, self.remedy)
    }
}

/// Every fault of one text, in the order of the text; at least one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Faults(Vec<Fault>);

impl Faults {
    pub(super) fn one(fault: Fault) -> Self {
        Self(vec![fault])
    }

    /// The faults, or `None` where there is none.
    pub(super) fn some(faults: Vec<Fault>) -> Option<Self> {
        let faults = sorted(faults, |a, b| a.order.cmp(&b.order));
        (!faults.is_empty()).then_some(Self(faults))
    }

    /// The faults.
    pub fn iter(&self) -> std::slice::Iter<'_, Fault> {
        self.0.iter()
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, fault) in self.0.iter().enumerate() {
            write!(f, "{}{fault}", if index == 0 { "" } else { "\n" })?;
        }
        Ok(())
    }
}

impl std::error::Error for Faults {}

/// A place in the text, as a chain to its root.
#[derive(Clone, Copy, Debug)]
pub(super) enum Path<'a> {
    Root,
    /// A key, and its position among the members of the object.
    Key(&'a Path<'a>, &'a str, usize),
    Index(&'a Path<'a>, usize),
}

impl Path<'_> {
    pub(super) fn key<'a>(&'a self, key: &'a str, position: usize) -> Path<'a> {
        Path::Key(self, key, position)
    }

    pub(super) fn index(&self, index: usize) -> Path<'_> {
        Path::Index(self, index)
    }

    fn order(&self) -> Vec<usize> {
        let (Self::Key(parent, _, position) | Self::Index(parent, position)) = self else {
            return Vec::new();
        };
        let mut order = parent.order();
        order.push(*position);
        order
    }
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Root => f.write_str("$"),
            Self::Index(parent, index) => write!(f, "{parent}[{index}]"),
            Self::Key(parent, key, _) => write!(f, "{parent}{}", path_step(key)),
        }
    }
}

/// The step of a JSONPath (RFC 9535) that leads to a key: `.key`, or `['key']` where it must be quoted.
pub fn path_step(key: &str) -> String {
    if is_identifier(key) {
        return format!(".{key}");
    }
    let key: String = key.chars().take(MAX_QUOTE).collect();
    format!("['{}']", key.escape_debug())
}

fn is_identifier(key: &str) -> bool {
    key.len() <= MAX_QUOTE
        && key.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && key.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// Most characters of the author's text that a message repeats.
const MAX_QUOTE: usize = 80;

/// The author's own text in a message: in backticks, on one line, cut.
pub(super) fn quote(text: &str) -> String {
    enclose('`', text)
}

/// The author's own text, mended, as what to write instead: in quotation marks, on one line, cut.
pub(super) fn replacement(text: &str) -> String {
    enclose('"', text)
}

fn enclose(mark: char, text: &str) -> String {
    let mut enclosed = String::from(mark);
    for character in text.chars().take(MAX_QUOTE) {
        if character.is_control() || matches!(character, '\u{2028}' | '\u{2029}') {
            enclosed.extend(character.escape_default());
        } else {
            enclosed.push(character);
        }
    }
    if text.chars().nth(MAX_QUOTE).is_some() {
        enclosed.push('…');
    }
    enclosed.push(mark);
    enclosed
}
