//! Example paths of two policies: one for each way in which all their patterns can match.
//!
//! A path has two readings, as sent and lenient, and a list of patterns holds each of them. Where both
//! are the same text, they match what any text matches (see [`Pieces::ends`]). Where they differ, the
//! text that is sent is no pattern's exact one (patterns have neither `%` nor `;` nor `//`), and:
//!
//! - What it begins with, up to the first escape or `;`, the lenient reading begins with too. So the
//!   longest prefix as sent is one of the prefixes of the lenient reading, or none.
//! - Let it end with a suffix. Behind the suffix's first `/` nothing is escaped or cut, so the lenient
//!   reading ends with that part (with nothing in particular, where there is no `/`). The prefix ends
//!   before that part begins, or with its `/`, which may be sent twice. Where both of this holds, such
//!   a path is sent: the prefix, the next character escaped, the rest of the lenient reading up to that
//!   part, `;`, the suffix.
//!
//! So the list is complete.

use crate::classes::texts::{Pieces, fresh};
use egress_warden::policy::path_readings;
use std::fmt;

/// An example path of an equivalence class.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Path {
    pub(super) sent: String,
    /// As sent and lenient, without a query; `None`: it is unclear, and has none.
    pub(super) readings: Option<[String; 2]>,
}

impl Path {
    fn new(sent: String) -> Self {
        let readings = path_readings(sent.as_bytes());
        Self { sent, readings }
    }

    /// Whether both readings are the same text.
    #[cfg(test)]
    fn is_of_one_reading(&self) -> bool {
        matches!(&self.readings, Some([sent, lenient]) if sent == lenient)
    }

    /// The name of the class of this path: no two classes have a path in common.
    pub(super) fn label(&self, pieces: &Pieces<'_>) -> Label {
        let label = |text: &str| pieces.label(text).unwrap_or_else(|| "other paths".to_owned());
        match self.readings.as_ref().map(|readings| readings.each_ref().map(|it| label(it))) {
            None => Label::Unclear,
            Some([sent, lenient]) if sent == lenient => Label::One(sent),
            Some([sent, lenient]) => Label::Two { sent, lenient },
        }
    }
}

/// The name of a class.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Label {
    /// Those without readings.
    Unclear,
    /// Those whose readings match the same patterns.
    One(String),
    /// Those whose readings match different ones.
    Two { sent: String, lenient: String },
}

impl Label {
    /// The name of paths whose readings match the same patterns.
    pub(super) fn of_one_reading(&self) -> Option<&String> {
        match self {
            Self::One(label) => Some(label),
            Self::Unclear | Self::Two { .. } => None,
        }
    }
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unclear => f.write_str("unclear paths"),
            Self::One(label) => f.write_str(label),
            Self::Two { sent, lenient } => write!(f, "paths sent as {sent} and read as {lenient}"),
        }
    }
}

/// How many paths [`paths`] finds at most.
pub(super) fn count(pieces: &Pieces<'_>) -> usize {
    let suffixes = pieces.suffixes.len().saturating_add(1);
    let starts = |text: &str| pieces.prefixes_of(text).count().saturating_add(2);
    let exact = pieces.exact.iter().map(|it| starts(it)).sum::<usize>();
    let prefixes = pieces.prefixes.iter().map(|it| starts(it)).sum::<usize>().saturating_add(2);
    exact.saturating_add(prefixes.saturating_mul(suffixes)).saturating_mul(suffixes)
}

/// A path for each way in which the patterns can match one, some ways more than once, those of one
/// reading first; `None` where the patterns have every character.
pub(super) fn paths(pieces: &Pieces<'_>) -> Option<Vec<Path>> {
    let fresh = fresh(&[pieces])?;
    let between = |prefix: &str, suffix: &str| {
        let root = if prefix.starts_with('/') { "" } else { "/" };
        format!("{root}{prefix}{fresh}{suffix}")
    };
    let exact = || pieces.exact.iter().map(|it| (*it).to_owned());
    let of_one_reading = exact().chain(pieces.ends().map(|(start, end)| between(start, end)));
    let mut paths: Vec<Path> = of_one_reading.map(Path::new).collect();
    for suffix in pieces.suffixes.iter().copied().chain([""]) {
        let kept = kept(suffix);
        let others = pieces.ends();
        let others = others.filter_map(|(start, end)| Some(between(start, longer(end, kept)?)));
        for lenient in exact().chain(others) {
            let sent = sent_otherwise(pieces, &lenient, suffix);
            paths.extend(sent.into_iter().map(Path::new));
        }
    }
    paths.push(Path::new("/%".to_owned()));
    Some(paths)
}

/// What of a suffix stands in the lenient reading, whatever is cut before it.
fn kept(suffix: &str) -> &str {
    suffix.find('/').and_then(|at| suffix.get(at..)).unwrap_or_default()
}

/// The end that says both; `None` where no text has both.
fn longer<'a>(one: &'a str, other: &'a str) -> Option<&'a str> {
    let (short, long) = if one.len() <= other.len() { (one, other) } else { (other, one) };
    long.ends_with(short).then_some(long)
}

/// Paths with this lenient reading whose text as sent is another and ends with this suffix, and with
/// no longer one of the patterns: one for each of the prefixes that it can begin with at most.
fn sent_otherwise(pieces: &Pieces<'_>, lenient: &str, suffix: &str) -> Vec<String> {
    let Some(before) = lenient.strip_suffix(kept(suffix)) else { return Vec::new() };
    let doubled = format!("{before}/");
    let before = if before.is_empty() { "/" } else { before };
    let starts = pieces.prefixes_of(lenient).chain(["/"]);
    let sent = |start: &str| {
        let rest = match before.strip_prefix(start) {
            Some(rest) => rest,
            None if start == doubled => "",
            None => return None,
        };
        let mut characters = rest.chars();
        let next = characters.next().map(String::from).unwrap_or_default();
        let escaped: String = next.bytes().map(|byte| format!("%{byte:02X}")).collect();
        Some(format!("{start}{escaped}{};{suffix}", characters.as_str()))
    };
    starts.filter_map(sent).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use egress_warden::policy::TextPattern;
    use std::collections::BTreeSet;

    fn pieces<'a>(patterns: &[&'a str]) -> Pieces<'a> {
        Pieces::of(&[patterns.iter().filter_map(|it| TextPattern::parse(it)).collect()])
    }

    #[test]
    fn every_way_to_match_has_a_path() {
        let pieces = pieces(&["/v1/*", "/v1/admin*", "*.png", "/exact"]);
        let found = paths(&pieces).unwrap();
        let of_one_reading: Vec<_> = found
            .iter()
            .filter(|it| it.is_of_one_reading())
            .map(|it| it.label(&pieces).to_string())
            .collect();
        assert_eq!(
            of_one_reading,
            [
                "/exact",
                "/v1/*.png",
                "/v1/admin*.png",
                "*.png",
                "/v1/*",
                "/v1/admin*",
                "other paths"
            ]
        );
    }

    /// Every text of a few parts is sent, and none fares as no path of the list does.
    #[test]
    fn no_path_fares_otherwise_than_all_of_the_list() {
        const PARTS: [&str; 9] = ["/", "a", "b", "%61", "%2F", "%6E", "n", ";", "E"];
        const LENGTH: usize = 4;
        const LISTS: [&[&str]; 9] = [
            &["/a*", "/ab*", "*b", "*/b"],
            &["/a", "/a/b", "/a/*", "*a/b"],
            &["/*", "*/", "*/a", "/"],
            &["*E/b", "*n/b", "*n", "*E", "*6E"],
            &["/a/b*", "*a/b/a", "*b/a"],
            &["/a/", "/a/*", "*b/", "*/"],
            &["/aa*", "*aa", "/aa/aa", "*a"],
            &["*/n/a", "*n/a", "/n*", "/n/n*"],
            &["/", "*a", "/a"],
        ];
        for list in LISTS {
            let pieces = pieces(list);
            let known: BTreeSet<Label> =
                paths(&pieces).unwrap().iter().map(|it| it.label(&pieces)).collect();
            let mut seen = BTreeSet::new();
            let mut texts = vec!["/".to_owned()];
            for _ in 0..=LENGTH {
                for sent in &texts {
                    let label = Path::new(sent.clone()).label(&pieces);
                    assert!(known.contains(&label), "{list:?}: {sent} is of {label}");
                    seen.insert(label);
                }
                let longer = texts.iter().flat_map(|it| PARTS.map(|part| format!("{it}{part}")));
                texts = longer.collect();
            }
            let of_two_readings = seen.iter().filter(|it| matches!(it, Label::Two { .. }));
            assert!(of_two_readings.count() > 1, "{list:?}: {seen:?}");
        }
    }

    #[test]
    fn a_path_that_is_sent_otherwise_is_called_so() {
        let pieces = pieces(&["/v1/*", "*/admin"]);
        let found: BTreeSet<Label> =
            paths(&pieces).unwrap().iter().map(|it| it.label(&pieces)).collect();
        let label = Path::new("/v%31/admin".to_owned()).label(&pieces);
        assert_eq!(label.to_string(), "paths sent as */admin and read as /v1/*/admin");
        assert!(found.contains(&label), "{found:?}");
    }
}
