//! Patterns of paths, and lists of them.

use super::path::Readings;
use super::text::{Text, TextPattern, TextSet};
use std::borrow::Cow;

/// One pattern of a list of paths. It may have encoded slashes, `%2f`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PathPattern<'a> {
    /// One of the forms of texts.
    Text(TextPattern<'a>),
    /// Segments, of which `{*}` stands for any one that is not empty, and `{**}` at the end for any
    /// number, also none.
    Template(&'a str),
}

impl<'a> PathPattern<'a> {
    /// The pattern as policies write it, without the `*` of a text's form.
    pub fn text(self) -> &'a str {
        match self {
            Self::Text(
                TextPattern::Exact(text) | TextPattern::Prefix(text) | TextPattern::Suffix(text),
            )
            | Self::Template(text) => text,
            Self::Text(TextPattern::Present) => "",
        }
    }

    /// Whether it has an encoded slash, so that it says one thing of the path as sent and another of its
    /// lenient reading.
    pub fn has_encoded_slash(self) -> bool {
        self.text().contains('%')
    }
}

/// A text with this in the place of each encoded slash, `%2f` or `%2F`.
pub fn with_slash<'t>(text: &'t str, slash: &str) -> Cow<'t, str> {
    match text.contains('%') {
        true => text.replace("%2f", slash).replace("%2F", slash).into(),
        false => text.into(),
    }
}

/// A list of patterns of paths.
#[derive(Clone, Debug)]
pub struct PathSet {
    /// What is held against the path as sent.
    sent: Patterns,
    /// What is held against the lenient reading; `None` where it is the same.
    lenient: Option<Patterns>,
}

#[derive(Clone, Debug, Default)]
struct Patterns {
    texts: TextSet,
    templates: Vec<Box<str>>,
}

impl PathSet {
    /// Whether any pattern matches the path in both readings, or in neither; `None` where they differ.
    pub(super) fn matches(&self, readings: &Readings<'_>) -> Option<bool> {
        let (sent, lenient) = readings.texts();
        let is_sent = self.sent.matches(sent);
        if self.lenient.is_none() && lenient.is_none() {
            return Some(is_sent);
        }
        let patterns = self.lenient.as_ref().unwrap_or(&self.sent);
        (patterns.matches(lenient.unwrap_or(sent)) == is_sent).then_some(is_sent)
    }
}

impl<'a> FromIterator<PathPattern<'a>> for PathSet {
    fn from_iter<I: IntoIterator<Item = PathPattern<'a>>>(patterns: I) -> Self {
        let patterns: Vec<_> = patterns.into_iter().collect();
        let differ = patterns.iter().any(|pattern| pattern.has_encoded_slash());
        Self {
            sent: Patterns::with_slash(&patterns, "%2f"),
            lenient: differ.then(|| Patterns::with_slash(&patterns, "/")),
        }
    }
}

impl Patterns {
    /// The patterns with this in the place of each encoded slash.
    fn with_slash(patterns: &[PathPattern<'_>], slash: &str) -> Self {
        let mut all = Self::default();
        for pattern in patterns {
            let text = with_slash(pattern.text(), slash);
            match pattern {
                PathPattern::Text(form) => all.texts.insert(form.with(&text)),
                PathPattern::Template(_) => all.templates.push(text.into()),
            }
        }
        all
    }

    fn matches(&self, path: &Text<'_>) -> bool {
        let mut templates = self.templates.iter();
        self.texts.matches(path)
            || templates.any(|template| is_of_template(template, path.as_str()))
    }
}

/// Whether a path has the segments of a template.
fn is_of_template(template: &str, path: &str) -> bool {
    let mut segments = path.split('/');
    for wanted in template.split('/') {
        let Some(segment) = segments.next() else { return false };
        let is_of = match wanted {
            "{**}" => return true,
            "{*}" => !segment.is_empty(),
            literal => literal == segment,
        };
        if !is_of {
            return false;
        }
    }
    segments.next().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;
    use wasm_bindgen_test::wasm_bindgen_test;

    fn matches(pattern: PathPattern<'_>, path: &str) -> Option<bool> {
        PathSet::from_iter([pattern]).matches(&Readings::of(path.as_bytes()).expect(path))
    }

    #[wasm_bindgen_test(unsupported = test)]
    fn templates_stand_for_whole_segments() {
        for (template, path, expected) in [
            ("/orders/{*}/items", "/orders/a/items", Some(true)),
            ("/orders/{*}/items", "/orders/a/b/items", Some(false)),
            ("/orders/{*}/items", "/orders/a/items/", Some(false)),
            ("/orders/{*}/items", "/orders//items", Some(false)),
            ("/orders/{*}/items", "/orders/a%2fb/items", None),
            ("/{*}/items", "//items", Some(false)),
            ("/repos/{**}", "/repos/", Some(true)),
            ("/repos/{**}", "/repos/a/b", Some(true)),
            ("/repos/{**}", "/repos", Some(false)),
            ("/{*}/x/{**}", "/a/x/", Some(true)),
        ] {
            assert_eq!(
                matches(PathPattern::Template(template), path),
                expected,
                "{template} {path}"
            );
        }
    }

    #[wasm_bindgen_test(unsupported = test)]
    fn an_encoded_slash_is_one_as_sent_and_a_slash_in_the_lenient_reading() {
        let prefix = PathPattern::Text(TextPattern::Prefix("/@acme%2f"));
        for (path, expected) in [
            ("/@acme%2fui", Some(true)),
            ("/@acme%2Fui", Some(true)),
            ("/@acme/ui", None),
            ("/@other%2fui", Some(false)),
        ] {
            assert_eq!(matches(prefix, path), expected, "{path}");
        }
        let upper = PathPattern::Text(TextPattern::Exact("/a%2Fb"));
        assert_eq!(matches(upper, "/a%2fb"), Some(true));
    }

    #[wasm_bindgen_test(unsupported = test)]
    fn both_readings_match_or_nothing_is_known() {
        let suffix = PathPattern::Text(TextPattern::Suffix("/admin"));
        assert_eq!(matches(suffix, "//admin"), Some(true));
        let exact = |text| PathPattern::Text(TextPattern::Exact(text));
        assert_eq!(matches(exact("/public"), "//admin"), Some(false));
        assert_eq!(matches(exact("/admin"), "//admin"), None);
    }
}
