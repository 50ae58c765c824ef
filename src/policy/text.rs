//! Lists of text patterns, for callers, paths and query parameters.

use crate::key_table::{Hash, KeyTable};
use std::borrow::Cow;
use std::cell::OnceCell;

/// One pattern of a list of principals, namespaces or paths.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TextPattern<'a> {
    /// `text`: exactly this.
    Exact(&'a str),
    /// `text*`: everything that starts so.
    Prefix(&'a str),
    /// `*text`: everything that ends so.
    Suffix(&'a str),
    /// `*`: everything.
    Present,
}

impl<'a> TextPattern<'a> {
    /// Reads a pattern; `None` where it is empty or `*` stands elsewhere than in these forms.
    pub fn parse(text: &'a str) -> Option<Self> {
        let pattern = match (text.strip_prefix('*'), text.strip_suffix('*')) {
            (None, None) => Self::Exact(text),
            (Some(""), _) => return Some(Self::Present),
            (Some(suffix), None) => Self::Suffix(suffix),
            (None, Some(prefix)) => Self::Prefix(prefix),
            (Some(_), Some(_)) => return None,
        };
        let (Self::Exact(rest) | Self::Prefix(rest) | Self::Suffix(rest)) = pattern else {
            return None;
        };
        (!rest.is_empty() && !rest.contains('*')).then_some(pattern)
    }

    /// A pattern of the same form with another text.
    pub(super) fn with(self, text: &str) -> TextPattern<'_> {
        match self {
            Self::Exact(_) => TextPattern::Exact(text),
            Self::Prefix(_) => TextPattern::Prefix(text),
            Self::Suffix(_) => TextPattern::Suffix(text),
            Self::Present => TextPattern::Present,
        }
    }
}

/// A text that lists are asked for. It is hashed once, for all of them, and not at all where none
/// holds exact texts: so what a list costs does not grow with the text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Text<'a> {
    text: Cow<'a, str>,
    hash: OnceCell<Hash>,
}

impl<'a> Text<'a> {
    pub(super) fn new(text: impl Into<Cow<'a, str>>) -> Self {
        Self { text: text.into(), hash: OnceCell::new() }
    }

    pub(super) fn as_str(&self) -> &str {
        &self.text
    }

    /// The hash by which tables of whole texts find it.
    pub(super) fn hash(&self) -> Hash {
        *self.hash.get_or_init(|| Hash::of(self.text.as_bytes()))
    }
}

/// A list of patterns; a text is in it if any of them matches.
#[derive(Clone, Debug, Default)]
pub struct TextSet {
    present: bool,
    exact: KeyTable,
    prefixes: Vec<Box<str>>,
    suffixes: Vec<Box<str>>,
}

impl TextSet {
    /// Whether any pattern matches the text.
    pub fn contains(&self, text: &str) -> bool {
        self.matches(&Text::new(text))
    }

    /// The same for a text that many lists are asked for. Costs what the list's patterns cost,
    /// however long the text is.
    pub(super) fn matches(&self, text: &Text<'_>) -> bool {
        let is_exact = || self.exact.get_hashed(text.hash(), text.as_str().as_bytes()).is_some();
        self.present
            || (!self.exact.is_empty() && is_exact())
            || self.prefixes.iter().any(|prefix| text.as_str().starts_with(&**prefix))
            || self.suffixes.iter().any(|suffix| text.as_str().ends_with(&**suffix))
    }

    pub(crate) fn insert(&mut self, pattern: TextPattern<'_>) {
        match pattern {
            TextPattern::Exact(text) => {
                let _ = self.exact.entry(text.as_bytes(), 0);
            }
            TextPattern::Prefix(text) => self.prefixes.push(text.into()),
            TextPattern::Suffix(text) => self.suffixes.push(text.into()),
            TextPattern::Present => self.present = true,
        }
    }

    /// The exact texts and the prefixes, where there is nothing else: whatever is in the set is one
    /// of those or begins with one of these.
    pub(super) fn exact_and_prefixes(
        &self,
    ) -> Option<(impl Iterator<Item = &[u8]>, impl Iterator<Item = &str>)> {
        let is_all = !self.present && self.suffixes.is_empty();
        is_all.then(|| (self.exact.keys(), self.prefixes.iter().map(|prefix| &**prefix)))
    }
}

impl<'a> FromIterator<TextPattern<'a>> for TextSet {
    fn from_iter<I: IntoIterator<Item = TextPattern<'a>>>(patterns: I) -> Self {
        let mut set = Self::default();
        patterns.into_iter().for_each(|pattern| set.insert(pattern));
        set
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wasm_bindgen_test::wasm_bindgen_test;

    #[wasm_bindgen_test(unsupported = test)]
    fn patterns_have_four_forms() {
        assert_eq!(TextPattern::parse("/v1"), Some(TextPattern::Exact("/v1")));
        assert_eq!(TextPattern::parse("/v1/*"), Some(TextPattern::Prefix("/v1/")));
        assert_eq!(TextPattern::parse("*/sa/api"), Some(TextPattern::Suffix("/sa/api")));
        assert_eq!(TextPattern::parse("*"), Some(TextPattern::Present));
        for text in ["", "**", "*a*", "a*b", "a**", "**a"] {
            assert_eq!(TextPattern::parse(text), None, "{text}");
        }
    }

    #[wasm_bindgen_test(unsupported = test)]
    fn a_text_is_in_a_set_if_any_pattern_matches() {
        let set: TextSet =
            ["/exact", "/pre*", "*.png"].into_iter().filter_map(TextPattern::parse).collect();
        for text in ["/exact", "/pre", "/prefix", "/a/b.png"] {
            assert!(set.contains(text), "{text}");
        }
        for text in ["/Exact", "/exact/", "/pr", "/a.png/"] {
            assert!(!set.contains(text), "{text}");
        }
        assert!(TextSet::from_iter([TextPattern::Present]).contains(""));
    }
}
