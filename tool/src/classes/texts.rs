//! Equivalence classes of texts under patterns, and their names in the output.

use egress_warden::policy::TextPattern;
use std::borrow::Cow;
use std::collections::{BTreeSet, HashSet};

/// What the patterns of some lists are made of.
#[derive(Debug, Default)]
pub(crate) struct Pieces<'a> {
    pub(crate) exact: BTreeSet<&'a str>,
    pub(crate) prefixes: BTreeSet<&'a str>,
    pub(crate) suffixes: BTreeSet<&'a str>,
}

/// Characters for a text that no pattern has, those first that read well in an example.
const FRESH: &str = "~_!+@=,^zqjxkwvyZQJXKWVY0987654321";
/// Characters that a path or a principal may not hold everywhere.
const STRUCTURAL: &str = "/.*?#%;\\{}";

impl<'a> Pieces<'a> {
    pub(crate) fn of(lists: &[Vec<TextPattern<'a>>]) -> Self {
        let mut pieces = Self::default();
        for pattern in lists.iter().flatten() {
            match *pattern {
                TextPattern::Exact(text) => drop(pieces.exact.insert(text)),
                TextPattern::Prefix(text) => drop(pieces.prefixes.insert(text)),
                TextPattern::Suffix(text) => drop(pieces.suffixes.insert(text)),
                TextPattern::Present => {}
            }
        }
        pieces
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        let sets = [&self.exact, &self.prefixes, &self.suffixes];
        sets.iter().map(|set| set.len()).sum()
    }

    /// Every pair of a prefix and a suffix, each of which may be none.
    ///
    /// A text that no pattern is exactly matches the prefixes that its longest one begins with, and
    /// the suffixes that its longest one ends with. So each such text is in the class of one of these
    /// pairs, joined by a character that is in no pattern.
    pub(crate) fn ends(&self) -> impl Iterator<Item = (&'a str, &'a str)> {
        let prefixes = || self.prefixes.iter().copied().chain([""]);
        let suffixes = self.suffixes.iter().copied().chain([""]);
        suffixes.flat_map(move |suffix| prefixes().map(move |prefix| (prefix, suffix)))
    }

    /// How many pairs that is.
    pub(crate) fn count_of_ends(&self) -> usize {
        self.prefixes.len().saturating_add(1).saturating_mul(self.suffixes.len().saturating_add(1))
    }

    /// The prefixes that this text begins with, the shortest first.
    pub(crate) fn prefixes_of(&self, text: &str) -> impl Iterator<Item = &'a str> {
        let starts = (1..=text.len()).filter_map(|end| text.get(..end));
        starts.filter_map(|start| self.prefixes.get(start).copied())
    }

    /// The name of the class of this text: the text itself if it is an exact pattern; otherwise the texts
    /// with the same longest prefix and longest suffix that are not exact patterns. `None`: the texts that
    /// no pattern matches.
    pub(crate) fn label(&self, text: &str) -> Option<String> {
        if self.exact.contains(text) {
            return Some(literal(text).into_owned());
        }
        let ends = (0..text.len()).filter_map(|start| text.get(start..));
        let suffix = ends.into_iter().find(|end| self.suffixes.contains(end));
        match (self.prefixes_of(text).last(), suffix) {
            (None, None) => None,
            (prefix, suffix) => {
                let text = format!("{}*{}", prefix.unwrap_or_default(), suffix.unwrap_or_default());
                Some(literal(&text).into_owned())
            }
        }
    }
}

/// A character that stands in no pattern of these, so that no pattern reaches over it; `None` where
/// they have every one.
pub(crate) fn fresh(pieces: &[&Pieces<'_>]) -> Option<char> {
    let all = pieces.iter().flat_map(|it| [&it.exact, &it.prefixes, &it.suffixes]).flatten();
    let used: HashSet<char> = all.flat_map(|text| text.chars()).collect();
    let is_plain = |it: &char| !it.is_control() && !STRUCTURAL.contains(*it);
    let candidates = FRESH.chars().chain('\u{a1}'..=char::MAX).filter(is_plain);
    candidates.into_iter().find(|character| !used.contains(character))
}

/// A text of a policy as answers have it: in quotes where it could be taken for words of the answer,
/// which have spaces, or would not show as it is.
pub(crate) fn literal(text: &str) -> Cow<'_, str> {
    let is_plain = |it: char| !it.is_whitespace() && !it.is_control() && it != '"';
    match text.chars().all(is_plain) {
        true => Cow::Borrowed(text),
        false => Cow::Owned(format!("{text:?}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_text_of_a_policy_is_taken_for_words_of_the_answer() {
        assert_eq!(literal("a/ns/x/*"), "a/ns/x/*");
        assert_eq!(literal("other callers"), "\"other callers\"");
        assert_eq!(literal("\"other callers\""), r#""\"other callers\"""#);
        assert_eq!(literal("a\u{1b}[2J"), r#""a\u{1b}[2J""#);
    }

    #[test]
    fn a_fresh_character_stands_in_no_pattern() {
        let all: String = ('\0'..=char::MAX).filter(|it| *it != '*' && *it != '\u{e123}').collect();
        let pieces = Pieces::of(&[vec![TextPattern::Prefix(&all)]]);
        assert_eq!(fresh(&[&pieces]), Some('\u{e123}'));
        let with_the_last = Pieces::of(&[vec![TextPattern::Suffix("x\u{e123}")]]);
        assert_eq!(fresh(&[&pieces, &with_the_last]), None);
    }
}
