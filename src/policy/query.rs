//! The query of a path, read once for all rules that ask for parameters.
//!
//! It is what follows the first `?`, cut at `&`. Names and values are percent-decoded once, and `+` is a
//! space. Upstreams read queries in more ways than one: some take the first of two equal parameters, some
//! the last, some cut at `;` as well. So a parameter is unclear, and its value unknown, where readers may
//! differ.

use super::path::decode_escapes;
use super::text::{Text, TextSet};
use crate::key_table::KeyTable;

/// What a policy asks of one parameter: any of these values.
#[derive(Clone, Debug)]
pub struct Parameter {
    /// Its name, decoded.
    pub name: Box<str>,
    /// Its values.
    pub values: TextSet,
}

/// The parameters of one request.
#[derive(Debug, Default)]
pub(super) struct Query<'a> {
    /// The place of each name in `values`.
    names: KeyTable,
    /// `None`: unclear.
    values: Vec<Option<Text<'a>>>,
    /// Whether the path has a `#`, at which a reader may cut it: then every parameter is unclear.
    is_cut: bool,
}

impl Query<'_> {
    /// Reads the query of `:path`.
    pub(super) fn of(path: &[u8]) -> Self {
        let mut found = Self::default();
        let Some(start) = path.iter().position(|byte| *byte == b'?') else { return found };
        let query = path.get(start.saturating_add(1)..).unwrap_or_default();
        found.is_cut = path.contains(&b'#');
        for part in query.split(|byte| *byte == b'&') {
            found.add(part);
            if part.contains(&b';') {
                part.split(|byte| *byte == b';').for_each(|piece| found.add_unclear(piece));
            }
        }
        found
    }

    /// Whether every parameter has one of the values that are asked for; `None` where that is unknown.
    pub(super) fn matches(&self, asked: &[Parameter]) -> Option<bool> {
        let mut is_unknown = false;
        for parameter in asked {
            match self.has(parameter) {
                Some(true) => {}
                // One that is known not to hold is enough.
                Some(false) => return Some(false),
                None => is_unknown = true,
            }
        }
        (!is_unknown).then_some(true)
    }

    fn has(&self, parameter: &Parameter) -> Option<bool> {
        if self.is_cut {
            return None;
        }
        let Some(place) = self.names.get(parameter.name.as_bytes()) else { return Some(false) };
        let value = self.values.get(place as usize)?.as_ref()?;
        Some(parameter.values.matches(value))
    }

    fn add(&mut self, part: &[u8]) {
        let (name, value) = halves(part);
        let value = decoded(value);
        let is_unclear = |byte: &u8| matches!(byte, b';' | b'%') || byte.is_ascii_control();
        let value = match value.iter().any(is_unclear) {
            true => None,
            false => String::from_utf8(value).ok().map(Text::new),
        };
        self.insert(name, value);
    }

    /// What a reader takes for a parameter who cuts at `;` as well.
    fn add_unclear(&mut self, piece: &[u8]) {
        let (name, _) = halves(piece);
        self.insert(name, None);
    }
}

impl<'a> Query<'a> {
    fn insert(&mut self, name: &[u8], value: Option<Text<'a>>) {
        let Ok(next) = u32::try_from(self.values.len()) else { return };
        match self.names.entry(&decoded(name), next) {
            Some((_, true)) => self.values.push(value),
            // The second of this name.
            Some((place, false)) => {
                if let Some(value) = self.values.get_mut(*place as usize) {
                    *value = None;
                }
            }
            None => {}
        }
    }
}

/// A name and its value, which may be absent.
fn halves(part: &[u8]) -> (&[u8], &[u8]) {
    let equals = part.iter().position(|byte| *byte == b'=').unwrap_or(part.len());
    let value = part.get(equals.saturating_add(1)..).unwrap_or_default();
    (part.get(..equals).unwrap_or_default(), value)
}

fn decoded(text: &[u8]) -> Vec<u8> {
    decode_escapes(text, |byte| if byte == b'+' { b' ' } else { byte })
}

#[cfg(test)]
mod tests {
    use super::super::text::TextPattern;
    use super::*;
    use wasm_bindgen_test::wasm_bindgen_test;

    fn has(path: &str, name: &str, value: &str) -> Option<bool> {
        let values = TextPattern::parse(value).into_iter().collect();
        Query::of(path.as_bytes()).matches(&[Parameter { name: name.into(), values }])
    }

    #[wasm_bindgen_test(unsupported = test)]
    fn a_parameter_has_its_value_or_is_unclear() {
        for (path, expected) in [
            ("/x?service=git", Some(true)),
            ("/x?a&service=git&b=", Some(true)),
            ("/x?%73ervice=g%69t", Some(true)),
            ("/x?service=got", Some(false)),
            ("/x?SERVICE=git", Some(false)),
            ("/x?a?service=git", Some(false)),
            ("/x", Some(false)),
            ("/x?", Some(false)),
            ("/x?service", Some(false)),
            ("/x?service=git&service=git", None),
            ("/x?service=git&%73ervice=got", None),
            ("/x?service=git;x", None),
            ("/x?service=git%3bx", None),
            ("/x?service=git%00", None),
            ("/x?service=%2567it", None),
            ("/x?service=%ff", None),
            ("/x?a=b;service=git", None),
            ("/x?service=git&a=b;service=got", None),
            ("/x?service=git#", None),
            ("/x#?service=git", None),
            ("/x?service=git&a=b;c=d", Some(true)),
        ] {
            assert_eq!(has(path, "service", "git"), expected, "{path}");
        }
        assert_eq!(has("/x?q=a+b", "q", "a b"), Some(true));
        assert_eq!(has("/x?q=a%2bb", "q", "a+b"), Some(true));
        assert_eq!(has("/x?q", "q", "*"), Some(true));
        assert_eq!(has("/x?b=1", "q", "*"), Some(false));
    }

    #[wasm_bindgen_test(unsupported = test)]
    fn one_parameter_that_is_known_not_to_match_is_enough() {
        let asked = ["a", "b"].map(|name| Parameter {
            name: name.into(),
            values: TextPattern::parse("1").into_iter().collect(),
        });
        let matches = |path: &str| Query::of(path.as_bytes()).matches(&asked);
        assert_eq!(matches("/?a=1&b=1"), Some(true));
        assert_eq!(matches("/?a=1&a=1&b=2"), Some(false));
        assert_eq!(matches("/?a=1&a=1&b=1"), None);
    }
}
