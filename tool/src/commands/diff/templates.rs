//! Example paths where patterns are templates or have encoded slashes: one for each way in which all
//! patterns can match a path in both of its readings.
//!
//! Such patterns may be anywhere in both readings at once, so paths are read character by character, plain
//! or escaped, by two automata: one has the patterns for the path as sent, the other those for its lenient
//! reading. Every pair of states that a path leads to is found.

use super::automaton::{Automaton, Element, State};
use super::paths::Label;
use crate::classes::texts::{Pieces, fresh, literal};
use egress_warden::policy::{PathPattern, TextPattern, with_slash};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};

/// Most places of patterns that are looked at by one automaton.
const MAX_WORK: usize = 20_000_000;
/// Most steps from one pair of states to the next.
const MAX_STEPS: usize = 5_000_000;

/// An example of a class.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Path {
    pub(super) sent: String,
    pub(super) label: Label,
    /// For each list of patterns how many of the two readings it has: which one says nothing more;
    /// `None`: the path is unclear.
    pub(super) in_lists: Option<Vec<usize>>,
}

/// A path for each way in which these lists can match one, those of one reading first; `None` where they are
/// too many, or the patterns have every character.
pub(super) fn paths(lists: &[Vec<PathPattern<'_>>]) -> Option<Vec<Path>> {
    let patterns: BTreeSet<(&str, Form)> =
        lists.iter().flatten().map(|it| (it.text(), Form::of(*it))).collect();
    let patterns: Vec<(&str, Form)> = patterns.into_iter().collect();
    let places: HashMap<(&str, Form), usize> = patterns.iter().copied().zip(0..).collect();
    let lists: Vec<HashSet<usize>> = lists
        .iter()
        .map(|list| {
            let place = |it: &PathPattern<'_>| places.get(&(it.text(), Form::of(*it))).copied();
            list.iter().filter_map(place).collect()
        })
        .collect();
    let [as_sent, as_read] = ["%2f", "/"].map(|slash| Reading::of(&patterns, slash));
    let mut classes: Vec<Path> = Search::new(&as_sent, &as_read)?
        .classes()?
        .into_iter()
        .map(|((is_changed, of_sent, of_lenient), sent)| {
            let count = |list: &HashSet<usize>| {
                let in_list = |set: &&Vec<usize>| set.iter().any(|it| list.contains(it));
                [&of_sent, &of_lenient].iter().filter(|set| in_list(set)).count()
            };
            let in_lists = Some(lists.iter().map(count).collect());
            let [sent_label, lenient] = [as_sent.label(&of_sent), as_read.label(&of_lenient)];
            let label = match is_changed || sent_label != lenient {
                true => Label::Two { sent: sent_label, lenient },
                false => Label::One(lenient),
            };
            Path { sent, label, in_lists }
        })
        .collect();
    classes.sort_by_key(|path| {
        let is_of_two = matches!(path.label, Label::Two { .. });
        (is_of_two, path.sent.len(), path.sent.clone())
    });
    classes.push(Path { sent: "/%".to_owned(), label: Label::Unclear, in_lists: None });
    Some(classes)
}

/// The form of a pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Form {
    Exact,
    Prefix,
    Suffix,
    Present,
    Template,
}

impl Form {
    fn of(pattern: PathPattern<'_>) -> Self {
        match pattern {
            PathPattern::Text(TextPattern::Exact(_)) => Self::Exact,
            PathPattern::Text(TextPattern::Prefix(_)) => Self::Prefix,
            PathPattern::Text(TextPattern::Suffix(_)) => Self::Suffix,
            PathPattern::Text(TextPattern::Present) => Self::Present,
            PathPattern::Template(_) => Self::Template,
        }
    }
}

/// The patterns as one reading of a path is held against them.
struct Reading {
    patterns: Vec<(String, Form)>,
}

impl Reading {
    /// The patterns with this in the place of each encoded slash.
    fn of(patterns: &[(&str, Form)], slash: &str) -> Self {
        let text = |text| with_slash(text, slash).into_owned();
        Self { patterns: patterns.iter().map(|(it, form)| (text(it), *form)).collect() }
    }

    fn automaton(&self) -> Automaton {
        Automaton::new(self.patterns.iter().map(elements).collect(), MAX_WORK)
    }

    /// The name of the paths that these patterns match and no others: an exact one's own, or the longest
    /// prefix and suffix, and the templates.
    fn label(&self, matching: &[usize]) -> String {
        let matching = || matching.iter().filter_map(|it| self.patterns.get(*it));
        let of = |wanted: Form| {
            let texts = matching().filter(move |(_, form)| *form == wanted);
            texts.map(|(text, _)| text.as_str())
        };
        if let Some(exact) = of(Form::Exact).next() {
            return literal(exact).into_owned();
        }
        let longest = |form| of(form).max_by_key(|it| it.len()).unwrap_or_default();
        let (prefix, suffix) = (longest(Form::Prefix), longest(Form::Suffix));
        let ends = format!("{prefix}*{suffix}");
        let templates: BTreeSet<&str> = of(Form::Template).collect();
        let named = [&*ends].into_iter().filter(|it| *it != "*").chain(templates);
        let named: Vec<String> = named.map(|it| literal(it).into_owned()).collect();
        if named.is_empty() { "other paths".to_owned() } else { named.join(" and ") }
    }
}

fn elements((text, form): &(String, Form)) -> Vec<Element> {
    if *form == Form::Template {
        let segments = text.split('/').enumerate().flat_map(|(number, segment)| {
            let slash = (number > 0).then_some(Element::Char('/'));
            let elements = match segment {
                "{**}" => vec![Element::Run],
                "{*}" => vec![Element::NoSlash, Element::RunWithoutSlash],
                literal => literal.chars().map(Element::Char).collect(),
            };
            slash.into_iter().chain(elements)
        });
        return segments.collect();
    }
    let run = |is_open: bool| is_open.then_some(Element::Run);
    let before = run(matches!(form, Form::Suffix | Form::Present));
    let behind = run(*form == Form::Prefix);
    let characters = text.chars().map(Element::Char);
    before.into_iter().chain(characters).chain(behind).collect()
}

/// A character of a path, as it is sent.
#[derive(Clone, Debug)]
struct Token {
    text: String,
    /// As the patterns for paths as sent see it: what none of them asks for is the fresh character.
    sent: Vec<char>,
    decoded: char,
    is_plain: bool,
}

/// Where the reading of a path is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Place {
    sent: State,
    lenient: State,
    /// What the segment of the lenient reading is so far.
    segment: Segment,
    /// Behind a `;`, where the lenient reading has nothing.
    is_cut: bool,
    /// Whether the lenient reading is not the path as sent.
    is_changed: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Segment {
    Empty,
    Dot,
    Dots,
    Other,
}

/// A class: whether the readings differ, and the patterns that match each.
type Class = (bool, Vec<usize>, Vec<usize>);

struct Search {
    sent: Automaton,
    lenient: Automaton,
    tokens: Vec<Token>,
}

impl Search {
    /// `None` where the patterns have every character.
    fn new(sent: &Reading, lenient: &Reading) -> Option<Self> {
        Some(Self {
            sent: sent.automaton(),
            lenient: lenient.automaton(),
            tokens: tokens(sent, lenient)?,
        })
    }

    /// Every class with its shortest path; `None` where they are too many.
    fn classes(mut self) -> Option<BTreeMap<Class, String>> {
        let start = Place {
            sent: self.sent.step(Automaton::START, '/')?,
            lenient: self.lenient.step(Automaton::START, '/')?,
            segment: Segment::Empty,
            is_cut: false,
            is_changed: false,
        };
        let mut classes = BTreeMap::new();
        let mut seen = HashSet::from([start]);
        let mut queue = VecDeque::from([(start, "/".to_owned())]);
        let tokens = std::mem::take(&mut self.tokens);
        let mut steps: usize = 0;
        while let Some((place, text)) = queue.pop_front() {
            if !matches!(place.segment, Segment::Dot | Segment::Dots) {
                let sent = self.sent.matching(place.sent);
                let class = (place.is_changed, sent, self.lenient.matching(place.lenient));
                classes.entry(class).or_insert_with(|| text.clone());
            }
            steps = steps.saturating_add(tokens.len());
            if steps > MAX_STEPS {
                return None;
            }
            for token in &tokens {
                let Some(next) = self.step(place, token)? else { continue };
                if seen.insert(next) {
                    queue.push_back((next, format!("{text}{}", token.text)));
                }
            }
        }
        Some(classes)
    }

    /// The place behind one more character; `None` where too much was looked at, and within where the path
    /// is unclear.
    fn step(&mut self, mut place: Place, token: &Token) -> Option<Option<Place>> {
        for character in &token.sent {
            place.sent = self.sent.step(place.sent, *character)?;
        }
        place.is_changed |= !token.is_plain;
        match token.decoded {
            '/' => {
                if matches!(place.segment, Segment::Dot | Segment::Dots) {
                    return Some(None);
                }
                if place.segment == Segment::Empty {
                    place.is_changed = true;
                } else {
                    place.lenient = self.lenient.step(place.lenient, '/')?;
                }
                place.segment = Segment::Empty;
                place.is_cut = false;
            }
            ';' => {
                place.is_cut = true;
                place.is_changed = true;
            }
            _ if place.is_cut => {}
            character => {
                place.lenient = self.lenient.step(place.lenient, character)?;
                place.segment = match (place.segment, character) {
                    (Segment::Empty, '.') => Segment::Dot,
                    (Segment::Dot, '.') => Segment::Dots,
                    _ => Segment::Other,
                };
            }
        }
        Some(Some(place))
    }
}

/// Characters that make a path unclear, or end it.
const UNCLEAR: &str = "%?#\\\0";

/// Every character that may be sent, plain and escaped, but for those that no pattern tells from another
/// one.
fn tokens(sent: &Reading, lenient: &Reading) -> Option<Vec<Token>> {
    let all = || sent.patterns.iter().chain(&lenient.patterns).map(|(text, _)| text.as_str());
    let pieces = Pieces::of(&[all().map(TextPattern::Exact).collect()]);
    let fresh = fresh(&[&pieces])?;
    let asked = |reading: &Reading| -> BTreeSet<char> {
        reading.patterns.iter().flat_map(|(text, _)| text.chars()).collect()
    };
    let of_sent = asked(sent);
    let mut of_lenient = asked(lenient);
    of_lenient.extend(['/', ';', '.']);
    let is_clear = |it: &char| !UNCLEAR.contains(*it);
    let known: Vec<char> = [fresh].into_iter().chain(of_lenient.iter().copied()).collect();
    let known: Vec<char> = known.into_iter().filter(is_clear).collect();
    let plain = known.iter().map(|character| (*character, character.to_string(), true));
    let ascii = ('\u{1}'..='\u{7f}').filter(is_clear);
    let escaped = known.iter().copied().chain(ascii);
    let escaped = escaped.flat_map(|it| escapes(it).map(move |text| (it, text, false)));
    let mut found: BTreeSet<(Vec<char>, char, bool)> = BTreeSet::new();
    let token = |(character, text, is_plain): (char, String, bool)| {
        // Every encoded slash is held against the patterns as `%2f`.
        let shown = if text == "%2F" { "%2f".to_owned() } else { text };
        let seen = |it: char| if it == '/' || of_sent.contains(&it) { it } else { fresh };
        let sent: Vec<char> = shown.chars().map(seen).collect();
        let decoded = if of_lenient.contains(&character) { character } else { fresh };
        let is_new = found.insert((sent.clone(), decoded, is_plain));
        is_new.then_some(Token { text: shown, sent, decoded, is_plain })
    };
    Some(plain.chain(escaped).filter_map(token).collect())
}

/// The spellings of an escaped character, as far as a pattern may tell them apart: by the last two digits.
fn escapes(character: char) -> impl Iterator<Item = String> {
    const DIGITS: [[&[u8; 16]; 2]; 4] = {
        const UPPER: &[u8; 16] = b"0123456789ABCDEF";
        const LOWER: &[u8; 16] = b"0123456789abcdef";
        [[UPPER, UPPER], [LOWER, LOWER], [UPPER, LOWER], [LOWER, UPPER]]
    };
    DIGITS.into_iter().map(move |[high, low]| {
        let digit = |digits: &[u8; 16], number: u8| {
            digits.get(usize::from(number)).copied().map(char::from).unwrap_or_default()
        };
        let bytes = character.to_string().into_bytes().into_iter();
        bytes
            .flat_map(|byte| ['%', digit(high, byte >> 4), digit(low, byte & 0xf)])
            .collect::<String>()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use egress_warden::policy::path_readings;

    fn read<'a>(texts: &[&'a str]) -> Vec<PathPattern<'a>> {
        let pattern = |text: &&'a str| match text.contains('{') {
            true => PathPattern::Template(text),
            false => PathPattern::Text(TextPattern::parse(text).expect(text)),
        };
        texts.iter().map(pattern).collect()
    }

    /// The patterns of one reading that match a text, read by its automaton.
    fn matching(reading: &Reading, text: &str) -> Vec<usize> {
        let mut automaton = reading.automaton();
        let states = text.chars().try_fold(Automaton::START, |at, it| automaton.step(at, it));
        automaton.matching(states.unwrap())
    }

    fn label_of(lists: &[&[&str]], sent: &str) -> Label {
        let lists: Vec<_> = lists.iter().map(|list| read(list)).collect();
        let patterns: BTreeSet<(&str, Form)> =
            lists.iter().flatten().map(|it| (it.text(), Form::of(*it))).collect();
        let patterns: Vec<_> = patterns.into_iter().collect();
        let [as_sent, as_read] = ["%2f", "/"].map(|slash| Reading::of(&patterns, slash));
        let Some([text, lenient]) = path_readings(sent.as_bytes()) else { return Label::Unclear };
        let one = as_sent.label(&matching(&as_sent, &text.replace("%2F", "%2f")));
        let other = as_read.label(&matching(&as_read, &lenient));
        match text == lenient && one == other {
            true => Label::One(other),
            false => Label::Two { sent: one, lenient: other },
        }
    }

    /// Every text of a few parts is sent, and none fares as no path of the list does.
    #[test]
    fn no_path_fares_otherwise_than_all_that_were_found() {
        const PARTS: [&str; 11] = ["/", "a", "b", "%61", "%2F", "%2f", "%6e", "n", ";", ".", "q"];
        const LENGTH: usize = 4;
        const LISTS: [&[&[&str]]; 8] = [
            &[&["/{*}/b", "/a/{**}"], &["/a/*"]],
            &[&["/a/{*}"], &["*b", "/n*"]],
            &[&["/a%2fb"], &["/a/b"]],
            &[&["/a%2F*", "*%2fb"], &["/{*}"]],
            &[&["/{*}/a%2f{*}"], &["/q/*"]],
            &[&["/{**}", "*e"], &["*f/b", "/a%2fb/{*}"]],
            &[&["/a.{*}", "/a.b", "/{*}/"], &["*"]],
            &[&["/{*}/{*}", "/a/{*}", "/{*}/a"], &["/"]],
        ];
        for lists in LISTS {
            let read: Vec<_> = lists.iter().map(|list| read(list)).collect();
            let found = paths(&read).unwrap();
            for path in &found {
                assert_eq!(label_of(lists, &path.sent), path.label, "{lists:?}: {}", path.sent);
            }
            let known: HashSet<Label> = found.into_iter().map(|path| path.label).collect();
            let mut texts = vec!["/".to_owned()];
            for _ in 0..=LENGTH {
                for sent in &texts {
                    let label = label_of(lists, sent);
                    assert!(known.contains(&label), "{lists:?}: {sent} is of {label}");
                }
                let longer = texts.iter().flat_map(|it| PARTS.map(|part| format!("{it}{part}")));
                texts = longer.collect();
            }
        }
    }

    #[test]
    fn the_classes_of_templates_are_named_by_all_that_match() {
        let found = paths(&[read(&["/orders/{*}/items", "/orders/*"]), read(&["/@acme%2f*"])]);
        let found = found.unwrap();
        let found: BTreeMap<String, String> =
            found.into_iter().rev().map(|path| (path.label.to_string(), path.sent)).collect();
        for (label, sent) in [
            ("/orders/* and /orders/{*}/items", "/orders/~/items"),
            ("/orders/*", "/orders/"),
            ("paths sent as /@acme%2f* and read as /@acme/*", "/@acme%2f"),
            ("paths sent as other paths and read as /@acme/*", "/@acme/"),
            ("unclear paths", "/%"),
        ] {
            assert_eq!(found.get(label).map(String::as_str), Some(sent), "{label}: {found:#?}");
        }
    }
}
