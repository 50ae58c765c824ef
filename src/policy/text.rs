//! Lists of text patterns, for callers and paths.

use crate::hash::HashSet;

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
}

/// A list of patterns; a text is in it if any of them matches.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TextSet {
    present: bool,
    exact: HashSet<Box<str>>,
    prefixes: Vec<Box<str>>,
    suffixes: Vec<Box<str>>,
}

impl TextSet {
    /// Whether any pattern matches the text.
    pub fn contains(&self, text: &str) -> bool {
        self.present
            || self.exact.contains(text)
            || self.prefixes.iter().any(|prefix| text.starts_with(&**prefix))
            || self.suffixes.iter().any(|suffix| text.ends_with(&**suffix))
    }
}

impl<'a> FromIterator<TextPattern<'a>> for TextSet {
    fn from_iter<I: IntoIterator<Item = TextPattern<'a>>>(patterns: I) -> Self {
        let mut set = Self::default();
        for pattern in patterns {
            match pattern {
                TextPattern::Exact(text) => {
                    set.exact.insert(text.into());
                }
                TextPattern::Prefix(text) => set.prefixes.push(text.into()),
                TextPattern::Suffix(text) => set.suffixes.push(text.into()),
                TextPattern::Present => set.present = true,
            }
        }
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
