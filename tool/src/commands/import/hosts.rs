//! Sets of host patterns: exact names, trees below names, and whatever else a policy may name.

use egress_warden::host::{HostPattern, PatternError};
use std::collections::{BTreeMap, BTreeSet};

/// Hosts. Names and what is below them are either within one another or apart, so intersections and
/// differences are exact.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct HostSet {
    names: BTreeMap<String, Part>,
    /// Addresses, blocks and globs, in canonical form.
    others: BTreeSet<String>,
}

/// What of a name is in a set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Part {
    itself: bool,
    below: bool,
}

/// A pattern in the form that a policy takes: in lower case, without a dot at its end.
pub(super) fn canonical(text: &str) -> Result<String, PatternError> {
    let lower = text.to_ascii_lowercase();
    let lower = lower.strip_suffix('.').unwrap_or(&lower);
    match HostPattern::parse(lower) {
        Ok(_) => Ok(lower.to_owned()),
        Err(error) => error.canonical().ok_or(error),
    }
}

/// A host and what stands behind its last `:`, if there is something; of an IPv6 address behind its bracket.
pub(super) fn split_port(text: &str) -> (&str, Option<&str>) {
    match text.rsplit_once(':') {
        Some((host, _)) if host.contains(':') && !host.ends_with(']') => (text, None),
        Some((host, port)) => (host, Some(port)),
        None => (text, None),
    }
}

impl HostSet {
    /// Adds a pattern in canonical form.
    pub(super) fn insert(&mut self, pattern: &str) {
        match HostPattern::parse(pattern) {
            Ok(HostPattern::Name(name)) => self.add(name, Part { itself: true, below: false }),
            Ok(HostPattern::Under(name)) => self.add(name, Part { itself: false, below: true }),
            Ok(HostPattern::Tree(name)) => self.add_tree(name),
            _ => drop(self.others.insert(pattern.to_owned())),
        }
    }

    /// Adds a name and everything below it, also a top-level domain.
    pub(super) fn add_tree(&mut self, name: &str) {
        self.add(name, Part { itself: true, below: true });
    }

    fn add(&mut self, name: &str, part: Part) {
        let all = self.names.entry(name.to_owned()).or_default();
        all.itself |= part.itself;
        all.below |= part.below;
    }

    /// How many names and patterns it holds.
    pub(super) fn len(&self) -> usize {
        self.names.len().saturating_add(self.others.len())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.names.is_empty() && self.others.is_empty()
    }

    /// What is in both.
    pub(super) fn and(&self, other: &Self) -> Self {
        let mut both = Self {
            names: BTreeMap::new(),
            others: self.others.intersection(&other.others).cloned().collect(),
        };
        let (few, many) =
            if self.names.len() < other.names.len() { (self, other) } else { (other, self) };
        // Of the many, only what is below a name of the few is not found from these.
        let has_trees = few.names.values().any(|part| part.below);
        let ways = [(few, many), (many, few)];
        for (one, another) in ways.into_iter().take(if has_trees { 2 } else { 1 }) {
            for (name, part) in &one.names {
                both.put(
                    name,
                    Part {
                        itself: part.itself && another.has(name),
                        below: part.below && another.has_below(name),
                    },
                );
            }
        }
        both
    }

    /// What is left where all of `other` is taken out that is whole in it; what remains of `other` within the
    /// rest is to be excluded.
    pub(super) fn minus(&self, other: &Self) -> (Self, Self) {
        let mut rest = Self {
            names: BTreeMap::new(),
            others: self.others.difference(&other.others).cloned().collect(),
        };
        for (name, part) in &self.names {
            rest.put(
                name,
                Part {
                    itself: part.itself && !other.has(name),
                    below: part.below && !other.has_below(name),
                },
            );
        }
        let excluded = rest.and(other);
        (rest, excluded)
    }

    /// Adds all of another set.
    pub(super) fn extend(&mut self, other: &Self) {
        for (name, part) in &other.names {
            self.add(name, *part);
        }
        self.others.extend(other.others.iter().cloned());
    }

    fn put(&mut self, name: &str, part: Part) {
        if part.itself || part.below {
            self.add(name, part);
        }
    }

    fn has(&self, name: &str) -> bool {
        self.names.get(name).is_some_and(|part| part.itself) || self.covers(name)
    }

    fn has_below(&self, name: &str) -> bool {
        self.names.get(name).is_some_and(|part| part.below) || self.covers(name)
    }

    /// Whether a name is below one whose tree is in the set.
    fn covers(&self, name: &str) -> bool {
        above(name).any(|above| self.names.get(above).is_some_and(|part| part.below))
    }

    /// Whether some of it cannot be written: a tree over a top-level domain.
    pub(super) fn top_levels(&self) -> impl Iterator<Item = &str> {
        let trees = self.names.iter().filter(|(name, part)| part.below && !name.contains('.'));
        trees.map(|(name, _)| &**name)
    }

    /// The same without what cannot be written.
    pub(super) fn without_top_levels(&self) -> Self {
        let mut rest = self.clone();
        rest.names.retain(|name, part| name.contains('.') || !part.below);
        rest
    }

    /// The fewest patterns that say it.
    pub(super) fn patterns(&self) -> Vec<String> {
        let names = self.names.iter().filter(|(name, _)| !self.covers(name));
        let names = names.map(|(name, part)| match (part.itself, part.below) {
            (true, true) => format!(".{name}"),
            (false, _) => format!("*.{name}"),
            (true, false) => name.clone(),
        });
        names.chain(self.others.iter().cloned()).collect()
    }
}

/// The names above a name.
fn above(name: &str) -> impl Iterator<Item = &str> {
    std::iter::successors(name.split_once('.').map(|(_, rest)| rest), |name| {
        name.split_once('.').map(|(_, rest)| rest)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(patterns: &[&str]) -> HostSet {
        let mut set = HostSet::default();
        patterns.iter().for_each(|pattern| set.insert(pattern));
        set
    }

    #[test]
    fn the_fewest_patterns_say_a_set() {
        let all = set(&["*.a.test", "a.test", "b.a.test", ".c.b.a.test", "xa.test", "192.0.2.1"]);
        assert_eq!(all.patterns(), [".a.test", "xa.test", "192.0.2.1"]);
        assert_eq!(set(&["a.test", "b.a.test"]).patterns(), ["a.test", "b.a.test"]);
    }

    #[test]
    fn sets_are_cut_and_taken_out() {
        let both = set(&[".a.test", "b.test"]).and(&set(&["x.a.test", "*.b.test", "*.a.test"]));
        assert_eq!(both.patterns(), ["*.a.test"]);
        let (rest, excluded) =
            set(&[".a.test", "b.test"]).minus(&set(&["x.a.test", ".b.test", "a.test"]));
        assert_eq!(
            (rest.patterns(), excluded.patterns()),
            (vec!["*.a.test".into()], vec!["x.a.test".into()])
        );
    }

    #[test]
    fn a_port_is_behind_the_host() {
        for (text, expected) in [
            ("a.test:443", ("a.test", Some("443"))),
            ("[2001:db8::1]:443", ("[2001:db8::1]", Some("443"))),
            ("2001:db8::1", ("2001:db8::1", None)),
            ("a.test", ("a.test", None)),
            ("a.test:", ("a.test", Some(""))),
        ] {
            assert_eq!(split_port(text), expected);
        }
    }
}
