//! Texts that patterns tell apart.

use egress_warden::policy::TextPattern;
use std::collections::BTreeSet;

/// What the patterns of some lists are made of.
#[derive(Debug, Default)]
pub(super) struct Pieces<'a> {
    pub(super) exact: BTreeSet<&'a str>,
    pub(super) prefixes: BTreeSet<&'a str>,
    pub(super) suffixes: BTreeSet<&'a str>,
}

/// Characters for a text that no pattern has, those first that read well in an example.
const FRESH: &str = "~_!+@=,^zqjxkwvyZQJXKWVY0987654321";

impl<'a> Pieces<'a> {
    pub(super) fn add(&mut self, patterns: impl IntoIterator<Item = TextPattern<'a>>) {
        for pattern in patterns {
            match pattern {
                TextPattern::Exact(text) => drop(self.exact.insert(text)),
                TextPattern::Prefix(text) => drop(self.prefixes.insert(text)),
                TextPattern::Suffix(text) => drop(self.suffixes.insert(text)),
                TextPattern::Present => {}
            }
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.exact.is_empty() && self.prefixes.is_empty() && self.suffixes.is_empty()
    }

    /// A character that stands in no pattern, so that no pattern reaches over it.
    pub(super) fn fresh(&self) -> char {
        let all = || self.exact.iter().chain(&self.prefixes).chain(&self.suffixes);
        let private_use = '\u{e000}'..='\u{f8ff}';
        let is_fresh = |character: &char| !all().any(|text| text.contains(*character));
        // A policy that has every one of these characters has none left for a name.
        FRESH.chars().chain(private_use).find(is_fresh).unwrap_or('~')
    }

    /// Every pair of a prefix and a suffix, each of which may be none.
    pub(super) fn ends(&self) -> impl Iterator<Item = (&'a str, &'a str)> {
        let prefixes = || self.prefixes.iter().copied().chain([""]);
        let suffixes = self.suffixes.iter().copied().chain([""]);
        suffixes.flat_map(move |suffix| prefixes().map(move |prefix| (prefix, suffix)))
    }

    /// Says which texts fare as this one: itself where a pattern is exactly it, else those with the
    /// same longest prefix and longest suffix. `None`: those that no pattern matches.
    pub(super) fn label(&self, text: &str) -> Option<String> {
        if self.exact.contains(text) {
            return Some(text.to_owned());
        }
        let longest = |pieces: &BTreeSet<&'a str>, is_end: &dyn Fn(&str) -> bool| {
            pieces.iter().copied().filter(|it| is_end(it)).max_by_key(|it| it.len())
        };
        let prefix = longest(&self.prefixes, &|it| text.starts_with(it));
        let suffix = longest(&self.suffixes, &|it| text.ends_with(it));
        let (prefix, suffix) = match (prefix, suffix) {
            (None, None) => return None,
            (prefix, suffix) => (prefix.unwrap_or_default(), suffix.unwrap_or_default()),
        };
        Some(format!("{prefix}*{suffix}"))
    }
}
