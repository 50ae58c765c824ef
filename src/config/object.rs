//! Reading typed values out of a tree, collecting every fault on the way.

use super::fault::{Fault, Path, quote};
use super::json::Node;
use crate::host::HostPattern;
use crate::key_table::KeyTable;
use std::borrow::Cow;

/// Collects the faults of one text. Every method reports what it cannot read and returns `None`, or
/// the part that it could read, so that reading goes on.
#[derive(Debug, Default)]
pub(super) struct Reader {
    pub(super) faults: Vec<Fault>,
    /// Hosts met so far, for the limit over all rules.
    pub(super) hosts: usize,
}

/// An object whose keys are all known.
#[derive(Clone, Copy)]
pub(super) struct Object<'n, 'a, 'p> {
    members: &'n [(Cow<'a, str>, Node<'a>)],
    pub(super) path: Path<'p>,
}

/// A value with its place.
pub(super) type Entry<'n, 'a, 'p> = (&'n Node<'a>, Path<'p>);

impl<'n, 'a> Object<'n, 'a, '_> {
    /// The value under a key.
    pub(super) fn get(&self, key: &'static str) -> Option<Entry<'n, 'a, '_>> {
        let mut members = self.members.iter().zip(0..);
        let ((_, node), position) = members.find(|((other, _), _)| other == key)?;
        Some((node, self.path.key(key, position)))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.members.is_empty()
    }
}

impl Reader {
    pub(super) fn fault(
        &mut self,
        path: &Path<'_>,
        problem: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        self.faults.push(Fault::new(path, problem, remedy));
    }

    /// Reports keys that stand twice in one object, at any depth.
    pub(super) fn duplicates(&mut self, node: &Node<'_>, path: &Path<'_>) {
        match node {
            Node::Array(items) => {
                for (index, item) in items.iter().enumerate() {
                    if matches!(item, Node::Array(_) | Node::Object(_)) {
                        self.duplicates(item, &path.index(index));
                    }
                }
            }
            Node::Object(members) => {
                let mut seen = KeyTable::default();
                for ((key, value), position) in members.iter().zip(0..) {
                    let path = path.key(key, position);
                    if seen.entry(key.as_bytes(), 0).is_some_and(|(_, is_new)| !is_new) {
                        self.fault(&path, "a key that stands twice", "keep one of them");
                    }
                    self.duplicates(value, &path);
                }
            }
            _ => {}
        }
    }

    /// An object with these keys only.
    pub(super) fn object<'n, 'a, 'p>(
        &mut self,
        (node, path): Entry<'n, 'a, 'p>,
        known: &[&'static str],
    ) -> Option<Object<'n, 'a, 'p>> {
        let members = self.members(node, &path)?;
        for ((key, _), position) in members.iter().zip(0..) {
            if !known.contains(&&**key) {
                let remedy = match nearest(key, known) {
                    Some(near) => format!("did you mean `{near}`?"),
                    None => format!("known are {}", list(known)),
                };
                let problem = format!("the unknown key {}", quote(key));
                self.fault(&path.key(key, position), problem, remedy);
            }
        }
        Some(Object { members, path })
    }

    /// The members of an object, whatever their keys.
    pub(super) fn members<'n, 'a>(
        &mut self,
        node: &'n Node<'a>,
        path: &Path<'_>,
    ) -> Option<&'n [(Cow<'a, str>, Node<'a>)]> {
        match node {
            Node::Object(members) => Some(members),
            _ => self.wrong_type(node, path, "an object"),
        }
    }

    /// The items of a list that is not empty.
    pub(super) fn list<'n, 'a>(
        &mut self,
        node: &'n Node<'a>,
        path: &Path<'_>,
    ) -> Option<&'n [Node<'a>]> {
        match node {
            Node::Array(items) if items.is_empty() => {
                self.fault(path, "an empty list", "list at least one, or leave the key out");
                None
            }
            Node::Array(items) => Some(items),
            _ => self.wrong_type(node, path, "a list"),
        }
    }

    /// Every item of a list, read by `read`; items that it refuses are left out.
    pub(super) fn each<'n, 'a, T>(
        &mut self,
        entry: Option<Entry<'n, 'a, '_>>,
        mut read: impl FnMut(&mut Self, &'n Node<'a>, &Path<'_>) -> Option<T>,
    ) -> Option<Vec<T>> {
        let (node, path) = entry?;
        let items = self.list(node, &path)?;
        let mut values = Vec::with_capacity(items.len());
        for (index, item) in items.iter().enumerate() {
            values.extend(read(self, item, &path.index(index)));
        }
        Some(values)
    }

    pub(super) fn text<'n>(&mut self, node: &'n Node<'_>, path: &Path<'_>) -> Option<&'n str> {
        match node {
            Node::Text(text) => Some(text),
            _ => self.wrong_type(node, path, "a string"),
        }
    }

    /// A text of at most `max` bytes.
    pub(super) fn short_text<'n>(
        &mut self,
        entry: Option<Entry<'n, '_, '_>>,
        max: usize,
    ) -> Option<&'n str> {
        let (node, path) = entry?;
        let text = self.text(node, &path)?;
        if text.len() > max {
            let problem = format!("a text of {} bytes", text.len());
            self.fault(&path, problem, format!("shorten it to {max} bytes"));
        }
        Some(text)
    }

    pub(super) fn boolean(&mut self, entry: Option<Entry<'_, '_, '_>>) -> Option<bool> {
        let (node, path) = entry?;
        match node {
            Node::Bool(value) => Some(*value),
            _ => self.wrong_type(node, &path, "`true` or `false`"),
        }
    }

    /// A whole number in a range.
    pub(super) fn integer(
        &mut self,
        node: &Node<'_>,
        path: &Path<'_>,
        range: std::ops::RangeInclusive<u16>,
    ) -> Option<u16> {
        let Node::Number(number) = node else {
            return self.wrong_type(node, path, "a number without quotes");
        };
        let value = number.get();
        let fits = (f64::from(*range.start())..=f64::from(*range.end())).contains(&value);
        if !fits || value.fract() != 0.0 {
            let remedy = format!("write a whole number from {} to {}", range.start(), range.end());
            self.fault(path, node.describe(), remedy);
            return None;
        }
        // INVARIANT: the number is whole and within `u16`, so nothing is cut.
        Some(value as u16)
    }

    /// One word of a closed list.
    pub(super) fn word<T: Copy>(
        &mut self,
        entry: Option<Entry<'_, '_, '_>>,
        words: &[(&'static str, T)],
    ) -> Option<T> {
        let (node, path) = entry?;
        let value = match node {
            Node::Text(text) => {
                words.iter().find_map(|(word, value)| (word == text).then_some(*value))
            }
            _ => None,
        };
        if value.is_none() {
            let known: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
            self.fault(&path, node.describe(), format!("write one of {}", list(&known)));
        }
        value
    }

    /// A name of a policy or a rule.
    pub(super) fn name<'n>(&mut self, node: &'n Node<'_>, path: &Path<'_>) -> Option<&'n str> {
        let name = self.text(node, path)?;
        let is_name_byte =
            |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        if name.is_empty() || name.len() > super::MAX_NAME || !name.bytes().all(is_name_byte) {
            let remedy = format!("write 1 to {} of a-z, 0-9 and `-`", super::MAX_NAME);
            self.fault(path, format!("the name {}", quote(name)), remedy);
            return None;
        }
        Some(name)
    }

    pub(super) fn host<'n>(
        &mut self,
        node: &'n Node<'_>,
        path: &Path<'_>,
    ) -> Option<HostPattern<'n>> {
        let text = self.text(node, path)?;
        self.hosts = self.hosts.saturating_add(1);
        match HostPattern::parse(text) {
            Ok(pattern) => Some(pattern),
            Err(error) => {
                self.fault(path, format!("{} ({})", quote(text), error.problem()), error.remedy());
                None
            }
        }
    }

    /// Reports a required key that is not there.
    pub(super) fn missing(&mut self, path: &Path<'_>, key: &str, remedy: &str) {
        self.fault(path, format!("no `{key}`"), remedy);
    }

    fn wrong_type<T>(&mut self, node: &Node<'_>, path: &Path<'_>, wanted: &str) -> Option<T> {
        self.fault(path, node.describe(), format!("write {wanted}"));
        None
    }
}

/// Words in backticks, for messages.
pub(super) fn list(words: &[&str]) -> String {
    words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ")
}

/// The known word that a misspelt one is closest to, if it is close at all.
fn nearest<'a>(word: &str, known: &[&'a str]) -> Option<&'a str> {
    let word: String = word.chars().take(64).collect();
    let distance =
        |known: &str| strsim::osa_distance(&word.to_ascii_lowercase(), &known.to_ascii_lowercase());
    known
        .iter()
        .map(|known| (distance(known), *known))
        .filter(|(distance, known)| *distance <= known.len().div_ceil(3))
        .min()
        .map(|(_, known)| known)
}
