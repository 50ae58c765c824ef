//! Reading typed values out of a tree, collecting every error on the way.

use super::error::GatewayError;
use crate::document::{Member, Node, Span, Value};
use crate::finding::Finding;
use crate::policy_file::PolicyError;
use egress_warden::config::{ErrorKind, Found, Type, path_step};
use egress_warden::host::HostPattern;

/// Collects the errors of one tree. Every method reports what it cannot read and returns `None`, or the
/// part that it could read, so that reading goes on.
#[derive(Debug, Default)]
pub(super) struct Reader {
    pub(super) errors: Vec<Finding<GatewayError>>,
}

/// A value with its JSONPath.
#[derive(Clone, Debug)]
pub(super) struct Entry<'d> {
    pub(super) node: &'d Node,
    pub(super) path: String,
}

/// An object whose keys are all known.
pub(super) struct Object<'d> {
    entry: Entry<'d>,
}

impl<'d> Object<'d> {
    /// The value under a key.
    pub(super) fn get(&self, key: &str) -> Option<Entry<'d>> {
        let node = self.entry.node.get(key)?;
        Some(Entry { node, path: format!("{}{}", self.entry.path, path_step(key)) })
    }

    /// The key's own place.
    pub(super) fn key_span(&self, key: &str) -> Span {
        let member = self.entry.node.members().iter().find(|member| &*member.key == key);
        member.map_or_else(|| self.entry.node.span.clone(), |member| member.key_span.clone())
    }

    pub(super) fn entry(&self) -> &Entry<'d> {
        &self.entry
    }
}

impl Reader {
    pub(super) fn error(&mut self, entry: &Entry<'_>, kind: GatewayError) {
        self.errors.push(Finding { path: entry.path.clone(), span: entry.node.span.clone(), kind });
    }

    /// An error that policies have too.
    fn form(&mut self, entry: &Entry<'_>, kind: ErrorKind) {
        self.error(entry, GatewayError::Form(PolicyError::of_kind(kind)));
    }

    /// An object with these keys only.
    pub(super) fn object<'d>(
        &mut self,
        entry: Entry<'d>,
        known: &'static [&'static str],
    ) -> Option<Object<'d>> {
        let members = self.members(&entry)?;
        for Member { key, key_span, .. } in members {
            if !known.contains(&&**key) {
                let kind = ErrorKind::UnknownKey { key: key.clone(), known };
                self.errors.push(Finding {
                    path: format!("{}{}", entry.path, path_step(key)),
                    span: key_span.clone(),
                    kind: GatewayError::Form(PolicyError::of_kind(kind)),
                });
            }
        }
        Some(Object { entry })
    }

    /// The members of an object, whatever their keys.
    pub(super) fn members<'d>(&mut self, entry: &Entry<'d>) -> Option<&'d [Member]> {
        match &entry.node.value {
            Value::Object(members) => Some(members),
            _ => self.wrong_type(entry, Type::Object),
        }
    }

    /// What must be under a key.
    pub(super) fn required<'d>(
        &mut self,
        object: &Object<'d>,
        key: &'static str,
        example: &'static str,
    ) -> Option<Entry<'d>> {
        let entry = object.get(key);
        if entry.is_none() {
            self.error(object.entry(), GatewayError::Missing { key, example });
        }
        entry
    }

    /// Every item of a list that is not empty, read by `read`; those that it refuses are left out.
    pub(super) fn each<'d, T>(
        &mut self,
        entry: Option<Entry<'d>>,
        mut read: impl FnMut(&mut Self, Entry<'d>) -> Option<T>,
    ) -> Option<Vec<T>> {
        let entry = entry?;
        let Value::List(items) = &entry.node.value else {
            return self.wrong_type(&entry, Type::List);
        };
        if items.is_empty() {
            self.form(&entry, ErrorKind::EmptyList);
            return None;
        }
        let mut values = Vec::with_capacity(items.len());
        for (index, node) in items.iter().enumerate() {
            values.extend(read(self, Entry { node, path: format!("{}[{index}]", entry.path) }));
        }
        Some(values)
    }

    pub(super) fn text<'d>(&mut self, entry: &Entry<'d>) -> Option<&'d str> {
        match &entry.node.value {
            Value::Text(text) => Some(text),
            _ => self.wrong_type(entry, Type::Text),
        }
    }

    /// A text that is read by `read`, or else is this error.
    pub(super) fn parsed<'d, T>(
        &mut self,
        entry: &Entry<'d>,
        read: impl FnOnce(&'d str) -> Option<T>,
        error: fn(Box<str>) -> GatewayError,
    ) -> Option<T> {
        let text = self.text(entry)?;
        let value = read(text);
        if value.is_none() {
            self.error(entry, error(text.into()));
        }
        value
    }

    /// One word of a closed list.
    pub(super) fn word<T: Copy>(
        &mut self,
        entry: Option<Entry<'_>>,
        words: &[(&'static str, T)],
    ) -> Option<T> {
        let entry = entry?;
        let is_meant = |word: &&(&str, T)| entry.node.text() == Some(word.0);
        let value = words.iter().find(is_meant).map(|(_, value)| *value);
        if value.is_none() {
            let known = words.iter().map(|(word, _)| *word).collect();
            self.form(&entry, ErrorKind::UnknownWord { found: Found::of(entry.node), known });
        }
        value
    }

    pub(super) fn port(&mut self, entry: &Entry<'_>) -> Option<u16> {
        let Value::Number(number) = entry.node.value else {
            return self.wrong_type(entry, Type::Number);
        };
        let (min, max) = (1, u16::MAX);
        let fits = (f64::from(min)..=f64::from(max)).contains(&number);
        if !fits || number.fract() != 0.0 {
            self.form(entry, ErrorKind::NotInRange { found: number, min, max });
            return None;
        }
        // INVARIANT: the number is whole and within `u16`, so nothing is cut.
        Some(number as u16)
    }

    pub(super) fn host<'d>(&mut self, entry: &Entry<'d>) -> Option<HostPattern<'d>> {
        let text = self.text(entry)?;
        match HostPattern::parse(text) {
            Ok(pattern) => Some(pattern),
            Err(error) => {
                self.form(entry, ErrorKind::Host { text: text.into(), error });
                None
            }
        }
    }

    fn wrong_type<T>(&mut self, entry: &Entry<'_>, expected: Type) -> Option<T> {
        self.form(entry, ErrorKind::WrongType { found: Found::of(entry.node), expected });
        None
    }
}
