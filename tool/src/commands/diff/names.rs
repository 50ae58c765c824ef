//! The equivalence classes of names under two policies.
//!
//! The classes are: each exact pattern; and for every other name, the longest wildcard that it is below with
//! the set of globs that match it. Where no glob is near, one name below each wildcard is all it takes. The
//! globs are read from the last label on, all of them together: at each label every set of their labels that
//! one label can match is found by an automaton ([`label_classes`]), and the rest is read behind each.

use super::automaton::{Automaton, Element, State};
use super::hosts::HostClass;
use crate::globs::{GlobIndex, least};
use egress_warden::host::{Glob, Host, HostPattern, MAX_LABEL, MAX_NAME, SPECIAL_NAMES};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};

/// Most places of patterns that are looked at for one label.
const MAX_WORK_OF_LABEL: usize = 10_000_000;
/// Most labels that are looked at in all.
const MAX_LABELS: usize = 1_000_000;

/// The classes of names under these patterns.
pub(super) fn names(patterns: &[HostPattern<'_>]) -> Vec<HostClass> {
    let mut names = Names::new(patterns);
    let mut found = Found::default();
    for &parent in &names.under {
        if let Some(host) = names.below(parent) {
            let globs = host.as_ref().map(|host| names.matching(host)).unwrap_or_default();
            found.add(Some(parent), globs, host);
        }
    }
    let other = simple_labels(names.exact.len()).find(|name| !names.exact.contains(&**name));
    found.add(None, Vec::new(), other);
    if !names.globs.is_empty() {
        names.read_children();
        let all = (0..names.globs.len()).collect();
        let root = Node { path: String::new(), depth: 0, below: None, live: all, matched: vec![] };
        names.explore(&root, &mut found);
    }
    let exact = names.exact.iter().map(|name| HostClass::exact(name));
    let gaps = found.gaps.iter().map(|path| {
        let below = if path.is_empty() { String::new() } else { format!(" below {path}") };
        HostClass { label: format!("names{below} that globs tell apart"), host: None }
    });
    let others = found.classes.iter().map(|((_, base, globs), host)| HostClass {
        label: names.label(*base, globs),
        host: host.clone(),
    });
    exact.chain(others).chain(gaps).collect()
}

/// What two policies name.
struct Names<'a> {
    exact: BTreeSet<&'a str>,
    under: BTreeSet<&'a str>,
    /// In the order of their texts.
    globs: Vec<Glob<'a>>,
    /// The labels of each, the last one first.
    labels: Vec<Vec<&'a str>>,
    index: GlobIndex<'a>,
    /// The labels that stand before a name in a longer one that is exact or has a wildcard.
    children: HashMap<&'a str, BTreeSet<&'a str>>,
}

/// A class: whether it is below no wildcard, the longest one, and the globs.
type Key<'a> = (bool, Option<&'a str>, Vec<usize>);

/// The classes that were found, each with a name in it; `None`: there may be one.
#[derive(Default)]
struct Found<'a> {
    classes: BTreeMap<Key<'a>, Option<String>>,
    /// Below which names not everything was looked at.
    gaps: BTreeSet<String>,
    /// How many labels were looked at.
    labels: usize,
}

impl<'a> Found<'a> {
    fn add(&mut self, base: Option<&'a str>, globs: Vec<usize>, name: Option<String>) {
        let class = self.classes.entry((base.is_none(), base, globs)).or_default();
        *class = class.take().or(name);
    }

    fn has(&self, base: Option<&'a str>, globs: &[usize]) -> bool {
        let class = self.classes.get(&(base.is_none(), base, globs.to_vec()));
        class.is_some_and(Option::is_some)
    }
}

/// Names that end so.
struct Node<'a> {
    path: String,
    /// How many labels that has.
    depth: usize,
    /// The longest wildcard that the names below are below.
    below: Option<&'a str>,
    /// The globs with more labels, the last of which match.
    live: Vec<usize>,
    /// The globs that match every name below.
    matched: Vec<usize>,
}

impl<'a> Names<'a> {
    fn new(patterns: &[HostPattern<'a>]) -> Self {
        let mut exact: BTreeSet<&str> = SPECIAL_NAMES.into_iter().collect();
        let mut under: BTreeSet<&str> = BTreeSet::from(["localhost"]);
        let mut globs: BTreeMap<&str, Glob<'_>> = BTreeMap::new();
        for pattern in patterns {
            match *pattern {
                HostPattern::Name(name) => drop(exact.insert(name)),
                HostPattern::Under(name) => drop(under.insert(name)),
                HostPattern::Tree(name) => {
                    exact.insert(name);
                    under.insert(name);
                }
                HostPattern::Glob(glob) => drop(globs.insert(glob.as_str(), glob)),
                HostPattern::Address(_) | HostPattern::Block(_) => {}
            }
        }
        let globs: Vec<Glob<'_>> = globs.into_values().collect();
        let index = GlobIndex::new(globs.clone());
        let labels = globs.iter().map(|glob| glob.as_str().rsplit('.').collect()).collect();
        Self { exact, under, globs, labels, index, children: HashMap::new() }
    }

    /// Reads what is named below each name.
    fn read_children(&mut self) {
        for name in self.exact.iter().chain(&self.under) {
            let mut rest = *name;
            while let Some((label, parent)) = rest.split_once('.') {
                let is_new = self.children.entry(parent).or_default().insert(label);
                if !is_new {
                    break;
                }
                rest = parent;
            }
            if !rest.contains('.') {
                self.children.entry("").or_default().insert(rest);
            }
        }
    }

    /// The globs that match a name, in ascending order.
    fn matching(&self, name: &str) -> Vec<usize> {
        self.index.places(name).into_iter().collect()
    }

    /// A name below a wildcard that is none of the exact ones and below no longer wildcard; `None` where
    /// there are none, as the longest names are exhausted, and within where none was found.
    fn below(&self, parent: &str) -> Option<Option<String>> {
        // With one label more than the wildcard it is below no longer one.
        free_name(parent, self.exact.len(), |name| self.exact.contains(name))
    }

    /// Finds the classes of the names that end as the node does.
    fn explore(&self, node: &Node<'a>, found: &mut Found<'a>) {
        let Some(classes) = self.labels_before(node, found) else {
            found.gaps.insert(node.path.clone());
            return;
        };
        let mut known = HashSet::new();
        for LabelClass { label, globs, .. } in classes {
            let path = match &*node.path {
                "" => label,
                behind => format!("{label}.{behind}"),
            };
            if path.len() > MAX_NAME {
                continue;
            }
            found.labels = found.labels.saturating_add(1);
            if found.labels > MAX_LABELS {
                found.gaps = BTreeSet::from([String::new()]);
                return;
            }
            let child = self.child(node, path, &globs);
            let Child { node: below, ending, is_exact, is_named } = &child;
            let is_leaf = !is_named;
            let state = (*is_exact, below.live.clone(), below.matched.clone(), ending.clone());
            // All names below fare alike where they are named nowhere: the shortest stands for them.
            if is_leaf && !known.insert(state) {
                continue;
            }
            let with_ending = merged(&below.matched, ending);
            if !is_exact && !found.has(node.below, &with_ending) {
                found.add(node.below, with_ending.clone(), Some(below.path.clone()));
            }
            if !below.live.is_empty() {
                self.explore(below, found);
            } else if (*is_exact || *is_named || with_ending != below.matched)
                && !found.has(below.below, &below.matched)
            {
                let none = BTreeSet::new();
                let taken = self.children.get(&*below.path).unwrap_or(&none);
                let is_taken = |name: &str| {
                    name.split_once('.').is_none_or(|(label, _)| taken.contains(label))
                };
                if let Some(name) = free_name(&below.path, taken.len(), is_taken) {
                    found.add(below.below, below.matched.clone(), name);
                }
            }
        }
    }

    /// The names that end with one label more.
    fn child(&self, node: &Node<'a>, path: String, globs: &[usize]) -> Child<'a> {
        let depth = node.depth.saturating_add(1);
        let mut live = Vec::new();
        let mut matched = node.matched.clone();
        let mut ending = Vec::new();
        for &glob in globs {
            let Some(labels) = self.labels.get(glob) else { continue };
            match labels.get(node.depth) {
                _ if labels.len() > depth => live.push(glob),
                Some(&"*") => matched.push(glob),
                _ => ending.push(glob),
            }
        }
        [&mut live, &mut matched, &mut ending].into_iter().for_each(|it| it.sort_unstable());
        let under = self.under.get(&*path).copied();
        Child {
            is_exact: self.exact.contains(&*path),
            is_named: under.is_some() || self.children.contains_key(&*path),
            ending,
            node: Node { depth, below: under.or(node.below), live, matched, path },
        }
    }

    /// The classes of the labels that may stand before a node, the shortest first.
    fn labels_before(&self, node: &Node<'a>, found: &mut Found<'a>) -> Option<Vec<LabelClass>> {
        let mut literals: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
        let mut partials: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
        let mut any = Vec::new();
        let named = self.children.get(&*node.path).into_iter().flatten();
        literals.extend(named.map(|label| (*label, Vec::new())));
        for &glob in &node.live {
            match self.labels.get(glob).and_then(|labels| labels.get(node.depth)) {
                Some(&"*") => any.push(glob),
                Some(label) if label.contains('*') => partials.entry(label).or_default().push(glob),
                Some(label) => literals.entry(label).or_default().push(glob),
                None => {}
            }
        }
        let taken: Vec<&str> = literals.keys().copied().collect();
        let room = MAX_NAME.saturating_sub(node.path.len());
        let room = if node.path.is_empty() { room } else { room.saturating_sub(1) };
        let patterns: Vec<&str> = partials.keys().copied().collect();
        let mut classes = label_classes(&taken, &patterns, room.min(MAX_LABEL))?;
        for class in &mut classes {
            let of_literal = class.literal.and_then(|it| literals.get(*taken.get(it)?));
            let of_partials =
                class.globs.iter().filter_map(|it| partials.get(*patterns.get(*it)?)).flatten();
            let globs = of_partials.chain(of_literal.into_iter().flatten()).chain(&any);
            class.globs = globs.copied().collect();
        }
        found.labels = found.labels.saturating_add(node.live.len());
        Some(classes)
    }

    /// The name of a class: its globs, the most specific first, then the wildcard, where not every name
    /// that one of the globs matches is below it.
    fn label(&self, base: Option<&str>, globs: &[usize]) -> String {
        let globs: Vec<Glob<'_>> =
            globs.iter().filter_map(|it| self.globs.get(*it)).copied().collect();
        let mut named = least(&globs);
        named.sort_by_key(|glob| (Reverse(glob.literal_bytes()), glob.as_str()));
        let is_of = |base: &str, glob: &Glob<'_>| {
            let before = glob.suffix().strip_suffix(base);
            before.is_some_and(|before| before.is_empty() || before.ends_with('.'))
        };
        let base = base.filter(|base| !named.iter().any(|glob| is_of(base, glob)));
        let texts = named.iter().map(|glob| glob.as_str().to_owned());
        let texts: Vec<String> = texts.chain(base.map(|base| format!("*.{base}"))).collect();
        match texts.is_empty() {
            true => "other names".to_owned(),
            false => texts.join(" and "),
        }
    }
}

/// The names that end with one label more.
struct Child<'a> {
    node: Node<'a>,
    /// The globs that match this name and none below.
    ending: Vec<usize>,
    is_exact: bool,
    /// Whether any name below is.
    is_named: bool,
}

fn merged(one: &[usize], other: &[usize]) -> Vec<usize> {
    let mut all = [one, other].concat();
    all.sort_unstable();
    all
}

/// Labels of which at least one is not taken where so many are.
fn simple_labels(taken: usize) -> impl Iterator<Item = String> {
    let numbered = (1..=taken).map(|number| format!("any{number}"));
    ["any".to_owned()].into_iter().chain(numbered)
}

/// The bytes of labels, but for the hyphen.
const BYTES: &str = "abcdefghijklmnopqrstuvwxyz0123456789_";

/// Every label of one or two bytes.
fn short_labels() -> impl Iterator<Item = String> {
    let one = BYTES.chars().map(String::from);
    let two = BYTES
        .chars()
        .flat_map(|first| BYTES.chars().map(move |second| String::from_iter([first, second])));
    one.chain(two)
}

/// A name with one label before its parent that is not taken, where so many are; `None` where there is none
/// left, and within where none was found.
fn free_name(
    parent: &str,
    taken: usize,
    is_taken: impl Fn(&str) -> bool,
) -> Option<Option<String>> {
    let below = |label: String| format!("{label}.{parent}");
    let is_name = |name: &str| Host::parse(name.as_bytes()).is_ok();
    // Where three bytes do not fit, every name there can be is tried.
    let may_be_more = is_name(&below("any".to_owned()));
    let taken = if may_be_more { taken } else { 0 };
    let mut names = simple_labels(taken).chain(short_labels()).map(below);
    let name = names.find(|name| is_name(name) && !is_taken(name));
    (name.is_some() || may_be_more).then_some(name)
}

/// A class of labels, with its shortest label.
#[derive(Clone, Debug, PartialEq, Eq)]
struct LabelClass {
    label: String,
    /// Which of the literal labels it is.
    literal: Option<usize>,
    /// Which of the patterns match it.
    globs: Vec<usize>,
}

/// A pattern of its own: no `*` beside other bytes matches within such a label.
const ENCODED: &str = "xn--*";
/// Some of those labels.
const ENCODED_LABELS: [&str; 3] = ["xn--p1ai", "xn--bcher-kva", "xn--90a0af9c"];

/// The classes of labels of so many bytes at most under these literal ones and these patterns with a `*`
/// beside other bytes, the shortest first; `None` where they are too many.
fn label_classes(literals: &[&str], patterns: &[&str], room: usize) -> Option<Vec<LabelClass>> {
    let literal = |(number, label): (usize, &&str)| LabelClass {
        label: (*label).to_owned(),
        literal: Some(number),
        globs: Vec::new(),
    };
    if patterns.is_empty() {
        let is_free =
            |label: &String| label.len() <= room && literals.binary_search(&&**label).is_err();
        let other = simple_labels(literals.len()).chain(short_labels()).find(is_free);
        let other = other.map(|label| LabelClass { label, literal: None, globs: Vec::new() });
        return Some(other.into_iter().chain(literals.iter().enumerate().map(literal)).collect());
    }
    let mut search = Search::new(literals, patterns);
    let mut queue = VecDeque::from([(Automaton::START, String::new())]);
    let mut seen: HashSet<(State, bool)> = HashSet::new();
    let mut classes: BTreeMap<(Option<usize>, Vec<usize>), String> = BTreeMap::new();
    while let Some((state, read)) = queue.pop_front() {
        let label = search.in_order(&read);
        if !label.is_empty()
            && !label.starts_with('-')
            && !label.ends_with('-')
            && let Some(class) = search.class(state)
        {
            classes.entry(class).or_insert(label);
        }
        if read.len() >= room {
            continue;
        }
        for character in search.characters(state) {
            // A hyphen is at no end of a label.
            if read.is_empty() && character == '-' {
                continue;
            }
            let next = search.automaton.step(state, character)?;
            if seen.insert((next, character == '-')) {
                queue.push_back((next, format!("{read}{character}")));
            }
        }
    }
    let encoded = ENCODED_LABELS.iter().find(|label| !literals.contains(label));
    if let Some(label) = encoded.filter(|label| label.len() <= room) {
        classes.entry((None, Vec::new())).or_insert_with(|| (*label).to_owned());
    }
    let mut classes: Vec<LabelClass> = classes
        .into_iter()
        .map(|((literal, globs), label)| LabelClass { label, literal, globs })
        .collect();
    classes.sort_by_key(|class| (class.literal.is_some(), class.label.len()));
    Some(classes)
}

/// Literal labels, then patterns, then [`ENCODED`], as one automaton.
struct Search {
    automaton: Automaton,
    literals: usize,
    patterns: usize,
    /// Whether labels are read from their end: patterns that begin with a `*` are many places at once.
    is_reversed: bool,
}

impl Search {
    fn new(literals: &[&str], patterns: &[&str]) -> Self {
        let open = patterns.iter().filter(|it| it.starts_with('*')).count();
        let is_reversed = open > patterns.len() / 2;
        let all = literals.iter().chain(patterns).chain([&ENCODED]);
        let elements = all.map(|text| {
            let mut elements: Vec<Element> = text.chars().map(element).collect();
            if is_reversed {
                elements.reverse();
            }
            elements
        });
        Self {
            automaton: Automaton::new(elements.collect(), MAX_WORK_OF_LABEL),
            literals: literals.len(),
            patterns: patterns.len(),
            is_reversed,
        }
    }

    fn in_order(&self, read: &str) -> String {
        if self.is_reversed { read.chars().rev().collect() } else { read.to_owned() }
    }

    /// The class of the label that leads to a state; `None` for one that starts `xn--` and is not literal.
    fn class(&self, state: State) -> Option<(Option<usize>, Vec<usize>)> {
        let matching = self.automaton.matching(state);
        let literal = matching.first().copied().filter(|it| *it < self.literals);
        let behind = self.literals.saturating_add(self.patterns);
        let is_encoded = matching.last() == Some(&behind);
        let patterns = matching.iter().filter(|it| **it >= self.literals && **it < behind);
        match (is_encoded, literal) {
            (true, None) => None,
            (true, Some(_)) => Some((literal, Vec::new())),
            (false, _) => Some((literal, patterns.map(|it| it - self.literals).collect())),
        }
    }

    /// What may come next: all that is asked for, and one character that is not.
    fn characters(&self, state: State) -> Vec<char> {
        let asked = self.automaton.next_characters(state);
        let other = BYTES.chars().chain(['-']).find(|it| !asked.contains(it));
        asked.into_iter().chain(other).collect()
    }
}

fn element(character: char) -> Element {
    if character == '*' { Element::Run } else { Element::Char(character) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read<'a>(texts: &[&'a str]) -> Vec<HostPattern<'a>> {
        texts.iter().map(|text| HostPattern::parse(text).expect(text)).collect()
    }

    fn found(texts: &[&str]) -> BTreeMap<String, Option<String>> {
        let classes = names(&read(texts)).into_iter();
        classes.map(|class| (class.label, class.host)).collect()
    }

    /// The class of a name, by asking every pattern.
    fn label_of(names: &Names<'_>, name: &str) -> String {
        if names.exact.contains(name) {
            return name.to_owned();
        }
        let above = names.under.iter().filter(|it| name.ends_with(&format!(".{it}")));
        let globs = names.globs.iter().enumerate().filter(|(_, glob)| glob.matches(name));
        let globs: Vec<usize> = globs.map(|(number, _)| number).collect();
        names.label(above.max_by_key(|it| it.len()).copied(), &globs)
    }

    #[test]
    fn every_name_is_in_a_class_that_was_found_and_no_class_is_empty() {
        const LABELS: [&str; 9] = ["a", "b", "ab", "ba", "aa", "aba", "xn--p1ai", "c", "abcab"];
        const LISTS: [&[&str]; 9] = [
            &["a*.t.test", "*a.t.test"],
            &["a*a.t.test", "aba.t.test", "*.t.test"],
            &["*.a.*.t.test", "a.*.t.test", "*.b.t.test", "*.a.b.t.test"],
            &["*a*b*.t.test", "b*.t.test", ".ab.t.test"],
            &["a*.b*.t.test", "*b.*.t.test", "*.c.t.test", "c.t.test"],
            &["x*.t.test", "*i.t.test", "a.*.t.test", "*.xn--p1ai.t.test"],
            &["*.a*.t.test", "*.t.test", "ab.a.t.test", ".t.test"],
            &["a*.t.test", "*.*a.t.test", "b.aa.t.test", ".aa.t.test"],
            &["a.*.t.test", "a.*.b.t.test", "*.b.*.t.test", "*.test.test"],
        ];
        for list in LISTS {
            let patterns = read(list);
            let named = Names::new(&patterns);
            let classes = found(list);
            for (label, host) in &classes {
                let host = host.as_ref().unwrap_or_else(|| panic!("{list:?}: {label}"));
                assert!(Host::parse(host.as_bytes()).is_ok(), "{host}");
                assert_eq!(label_of(&named, host), *label, "{list:?}: {host}");
            }
            let mut all = vec!["t.test".to_owned(), "test.test".to_owned()];
            for _ in 0..=3 {
                for name in &all {
                    let label = label_of(&named, name);
                    assert!(classes.contains_key(&label), "{list:?}: {name} is of {label}");
                }
                let longer = all.iter().flat_map(|it| LABELS.map(|label| format!("{label}.{it}")));
                all = longer.collect();
            }
        }
    }

    #[test]
    fn what_several_globs_match_is_a_class_of_its_own() {
        let found = found(&["api-*.a.test", "*-eu.a.test", "*.a.test", "*.s3.*.a.test"]);
        let labels: Vec<&str> =
            found.keys().map(String::as_str).filter(|it| it.contains("a.test")).collect();
        assert_eq!(
            labels,
            [
                "*-eu.a.test",
                "*.a.test",
                "*.s3.*.a.test",
                "api-*.a.test",
                "api-*.a.test and *-eu.a.test"
            ]
        );
        assert_eq!(found["api-*.a.test and *-eu.a.test"].as_deref(), Some("api-eu.a.test"));
    }

    #[test]
    fn globs_that_leave_no_name_out_leave_no_other_class() {
        let all: Vec<String> = BYTES.chars().map(|first| format!("{first}*.a.test")).collect();
        let mut texts: Vec<&str> = all.iter().map(String::as_str).collect();
        texts.push("*.a.test");
        assert_eq!(found(&texts)["*.a.test"].as_deref(), Some("any.0.a.test"));
        assert_eq!(found(&texts)["b*.a.test"].as_deref(), Some("b.a.test"));
        // Of one label only the encoded ones are left.
        let all: Vec<String> = BYTES.chars().map(|first| format!("{first}*")).collect();
        let patterns: Vec<&str> = all.iter().map(String::as_str).collect();
        let classes = label_classes(&["xn--p1ai"], &patterns, MAX_LABEL).unwrap();
        let other = classes.iter().find(|it| it.literal.is_none() && it.globs.is_empty());
        assert_eq!(other.unwrap().label, "xn--bcher-kva");
    }

    #[test]
    fn globs_without_end_have_classes_in_time() {
        let prefixes: Vec<String> = (0..10_000).map(|it| format!("t{it}-*.a.test")).collect();
        let suffixes: Vec<String> = (0..300).map(|it| format!("*-t{it}.a.test")).collect();
        for (texts, least) in [(prefixes, 10_000), (suffixes, 300)] {
            let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
            let found = found(&texts);
            assert!(found.len() > least && found.values().all(Option::is_some));
        }
    }

    #[test]
    fn what_is_too_much_to_look_at_is_said() {
        let prefixes = (0..1_500).map(|it| format!("t{it}-*.a.test"));
        let all: Vec<String> =
            prefixes.chain((0..1_500).map(|it| format!("*-t{it}.a.test"))).collect();
        let texts: Vec<&str> = all.iter().map(String::as_str).collect();
        assert_eq!(found(&texts)["names below a.test that globs tell apart"], None);
    }

    /// What [`free_name`] finds beside exact names.
    fn below(parent: &str, exact: &BTreeSet<&str>) -> Option<Option<String>> {
        free_name(parent, exact.len(), |name| exact.contains(name))
    }

    #[test]
    fn a_wildcard_over_the_longest_names_has_an_example_or_no_name() {
        let label = "a".repeat(63);
        let parent = |length: usize| {
            let rest = "b".repeat(length - 3 * 64);
            format!("{label}.{label}.{label}.{rest}")
        };
        for (length, example) in
            [(249, Some("any")), (250, Some("aa")), (251, Some("a")), (252, None), (253, None)]
        {
            let parent = parent(length);
            let found = below(&parent, &BTreeSet::new());
            let expected = example.map(|it| Some(format!("{it}.{parent}")));
            // Of two bytes each will do.
            let host = match length {
                250 => found.map(|host| host.map(|_| format!("aa.{parent}"))),
                _ => found,
            };
            assert_eq!(host, expected, "{length}");
        }
    }

    #[test]
    fn no_example_is_a_name_that_is_taken() {
        let parent = format!("{0}.{0}.{0}.{1}", "a".repeat(63), "b".repeat(59));
        assert_eq!(parent.len(), 251);
        let names: Vec<String> = short_labels().map(|it| format!("{it}.{parent}")).collect();
        let taken =
            |count: usize| below(&parent, &names.iter().take(count).map(String::as_str).collect());
        assert_eq!(taken(36).map(Option::unwrap), Some(format!("_.{parent}")));
        assert_eq!(taken(37), None);
        // Longer labels fit, and this many names are not looked through.
        let parent = &parent[2..];
        let names: Vec<String> =
            short_labels().chain(simple_labels(2000)).map(|it| format!("{it}.{parent}")).collect();
        let exact: BTreeSet<&str> = names.iter().map(String::as_str).collect();
        assert_eq!(below(parent, &exact), Some(None));
    }
}
