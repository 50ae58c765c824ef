//! Reading typed values out of a tree, collecting every error on the way.

use super::error::{Error, ErrorKind, Found, Path, Type};
use super::tree::{Node, Value};
use crate::host::HostPattern;
use crate::key_table::KeyTable;
use crate::stamp::Environment;

/// Collects the errors of one tree. Every method reports what it cannot read and returns `None`, or
/// the part that it could read, so that reading goes on.
#[derive(Debug, Default)]
pub(super) struct Reader {
    pub(super) errors: Vec<Error>,
    /// Hosts met so far, for the limit over all rules.
    pub(super) hosts: usize,
    /// Where secrets are; without it they stay as they are written.
    pub(super) environment: Option<Environment>,
}

/// An object whose keys are all known.
pub(super) struct Object<'n, 'p, N: Node> {
    members: &'n [N::Member],
    pub(super) path: Path<'p>,
}

/// A value with its place.
pub(super) type Entry<'n, 'p, N> = (&'n N, Path<'p>);

/// The patterns of a list in the order of its items; none is left out where there is no error.
#[derive(Debug)]
pub struct Listed<'n, N, T> {
    pub(super) patterns: Vec<T>,
    pub(super) items: &'n [N],
}

/// A pattern and the node that it was read from.
#[derive(Debug)]
pub struct Item<'n, N, T> {
    /// The pattern.
    pub pattern: T,
    /// Its node.
    pub node: &'n N,
}

impl<'n, N: Node> Object<'n, '_, N> {
    /// The value under a key.
    pub(super) fn get(&self, key: &'static str) -> Option<Entry<'n, '_, N>> {
        let mut members = self.members.iter().zip(0..);
        let (member, position) = members.find(|(member, _)| N::key(member) == key)?;
        Some((N::member_value(member), self.path.key(key, position)))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.members.is_empty()
    }
}

impl Reader {
    pub(super) fn error(&mut self, path: &Path<'_>, kind: ErrorKind) {
        self.errors.push(Error::at(path, kind));
    }

    pub(super) fn key_error(&mut self, path: &Path<'_>, kind: ErrorKind) {
        self.errors.push(Error::at_key(path, kind));
    }

    /// Reports keys that stand twice in one object, at any depth.
    pub(super) fn duplicates<N: Node>(&mut self, node: &N, path: &Path<'_>) {
        match node.value() {
            Value::List(items) => {
                for (index, item) in items.iter().enumerate() {
                    if matches!(item.value(), Value::List(_) | Value::Object(_)) {
                        self.duplicates(item, &path.index(index));
                    }
                }
            }
            Value::Object(members) => {
                let mut seen = KeyTable::default();
                for (member, position) in members.iter().zip(0..) {
                    let key = N::key(member);
                    let path = path.key(key, position);
                    if seen.entry(key.as_bytes(), 0).is_some_and(|(_, is_new)| !is_new) {
                        self.key_error(&path, ErrorKind::DuplicateKey);
                    }
                    self.duplicates(N::member_value(member), &path);
                }
            }
            _ => {}
        }
    }

    /// An object with these keys only.
    pub(super) fn object<'n, 'p, N: Node>(
        &mut self,
        (node, path): Entry<'n, 'p, N>,
        known: &'static [&'static str],
    ) -> Option<Object<'n, 'p, N>> {
        let members = self.members(node, &path)?;
        for (member, position) in members.iter().zip(0..) {
            let key = N::key(member);
            if !known.contains(&key) {
                let path = path.key(key, position);
                self.key_error(&path, ErrorKind::UnknownKey { key: key.into(), known });
            }
        }
        Some(Object { members, path })
    }

    /// The members of an object, whatever their keys.
    pub(super) fn members<'n, N: Node>(
        &mut self,
        node: &'n N,
        path: &Path<'_>,
    ) -> Option<&'n [N::Member]> {
        match node.value() {
            Value::Object(members) => Some(members),
            _ => self.wrong_type(node, path, Type::Object),
        }
    }

    /// The items of a list that is not empty.
    pub(super) fn list<'n, N: Node>(&mut self, node: &'n N, path: &Path<'_>) -> Option<&'n [N]> {
        match node.value() {
            Value::List([]) => {
                self.error(path, ErrorKind::EmptyList);
                None
            }
            Value::List(items) => Some(items),
            _ => self.wrong_type(node, path, Type::List),
        }
    }

    /// Every item of a list, read by `read`; items that it refuses are left out.
    pub(super) fn each<'n, N: Node, T>(
        &mut self,
        entry: Option<Entry<'n, '_, N>>,
        mut read: impl FnMut(&mut Self, &'n N, &Path<'_>) -> Option<T>,
    ) -> Option<Listed<'n, N, T>> {
        let (node, path) = entry?;
        let items = self.list(node, &path)?;
        let mut patterns = Vec::with_capacity(items.len());
        for (index, item) in items.iter().enumerate() {
            patterns.extend(read(self, item, &path.index(index)));
        }
        Some(Listed { patterns, items })
    }

    pub(super) fn text<'n, N: Node>(&mut self, node: &'n N, path: &Path<'_>) -> Option<&'n str> {
        match node.value() {
            Value::Text(text) => Some(text),
            _ => self.wrong_type(node, path, Type::Text),
        }
    }

    /// A text of at most `max` bytes.
    pub(super) fn short_text<'n, N: Node>(
        &mut self,
        entry: Option<Entry<'n, '_, N>>,
        max: usize,
    ) -> Option<&'n str> {
        let (node, path) = entry?;
        let text = self.text(node, &path)?;
        if text.len() > max {
            self.error(&path, ErrorKind::LongValue { bytes: text.len(), max });
        }
        Some(text)
    }

    pub(super) fn boolean<N: Node>(&mut self, entry: Option<Entry<'_, '_, N>>) -> Option<bool> {
        let (node, path) = entry?;
        match node.value() {
            Value::Bool(value) => Some(value),
            _ => self.wrong_type(node, &path, Type::Bool),
        }
    }

    /// A whole number in a range.
    pub(super) fn integer<N: Node>(
        &mut self,
        node: &N,
        path: &Path<'_>,
        range: std::ops::RangeInclusive<u16>,
    ) -> Option<u16> {
        let Value::Number(number) = node.value() else {
            return self.wrong_type(node, path, Type::Number);
        };
        let (min, max) = range.into_inner();
        let fits = (f64::from(min)..=f64::from(max)).contains(&number);
        if !fits || number.fract() != 0.0 {
            self.error(path, ErrorKind::NotInRange { found: number, min, max });
            return None;
        }
        // INVARIANT: the number is whole and within `u16`, so nothing is cut.
        Some(number as u16)
    }

    /// One word of a closed list.
    pub(super) fn word<N: Node, T: Copy>(
        &mut self,
        entry: Option<Entry<'_, '_, N>>,
        words: &[(&'static str, T)],
    ) -> Option<T> {
        let (node, path) = entry?;
        let value = match node.value() {
            Value::Text(text) => {
                words.iter().find_map(|(word, value)| (*word == text).then_some(*value))
            }
            _ => None,
        };
        if value.is_none() {
            let known = words.iter().map(|(word, _)| *word).collect();
            self.error(&path, ErrorKind::UnknownWord { found: Found::of(node), known });
        }
        value
    }

    /// A name of a policy or a rule.
    pub(super) fn name<'n, N: Node>(&mut self, node: &'n N, path: &Path<'_>) -> Option<&'n str> {
        let name = self.text(node, path)?;
        if !super::is_name(name) {
            self.error(path, ErrorKind::Name { name: name.into() });
            return None;
        }
        Some(name)
    }

    pub(super) fn host<'n, N: Node>(
        &mut self,
        node: &'n N,
        path: &Path<'_>,
    ) -> Option<HostPattern<'n>> {
        let text = self.text(node, path)?;
        self.hosts = self.hosts.saturating_add(1);
        match HostPattern::parse(text) {
            Ok(pattern) => Some(pattern),
            Err(error) => {
                self.error(path, ErrorKind::Host { text: text.into(), error });
                None
            }
        }
    }

    fn wrong_type<N: Node, T>(&mut self, node: &N, path: &Path<'_>, expected: Type) -> Option<T> {
        self.error(path, ErrorKind::WrongType { found: Found::of(node), expected });
        None
    }
}

impl<'n, N, T: Copy> Listed<'n, N, T> {
    /// The patterns.
    pub fn patterns(&self) -> &[T] {
        &self.patterns
    }

    /// Each pattern with its node.
    pub fn iter(&self) -> impl Iterator<Item = Item<'n, N, T>> + '_ {
        self.patterns.iter().zip(self.items).map(|(pattern, node)| Item { pattern: *pattern, node })
    }
}
