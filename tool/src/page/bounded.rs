//! Counts by key, bounded in memory: what comes beyond the bound is counted together.

use egress_warden::time::Time;
use std::collections::HashMap;
use std::hash::Hash;

/// Most bytes that one [`Bounded`] takes, as far as keys and values tell.
const MAX_HELD: usize = 256 << 20;

/// How often, and when first and last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) requests: u64,
    /// `None`: no request has a time.
    pub(super) time: Option<(Time, Time)>,
}

impl Seen {
    pub(super) fn push(&mut self, time: Option<Time>) {
        self.add(Self { requests: 1, time: time.map(|time| (time, time)) });
    }
}

/// What is counted.
pub(super) trait Counted: Default {
    /// Adds what stands behind.
    fn add(&mut self, behind: Self);
    fn requests(&self) -> u64;
    /// About how many bytes it takes, on the heap too.
    fn bytes(&self) -> usize;
}

impl Counted for Seen {
    fn add(&mut self, behind: Self) {
        self.requests += behind.requests;
        self.time = match (self.time, behind.time) {
            (Some((a, b)), Some((c, d))) => Some((a.min(c), b.max(d))),
            (one, other) => one.or(other),
        };
    }

    fn requests(&self) -> u64 {
        self.requests
    }

    fn bytes(&self) -> usize {
        size_of::<Self>()
    }
}

/// What is counted by.
pub(super) trait Key: Eq + Hash + Ord {
    /// About how many bytes it takes, on the heap too.
    fn bytes(&self) -> usize;
}

impl Key for Box<str> {
    fn bytes(&self) -> usize {
        size_of::<Self>() + self.len()
    }
}

/// Counts by key. A key that is held has its exact count.
#[derive(Debug)]
pub(super) struct Bounded<K, V> {
    held: HashMap<K, V>,
    bytes: usize,
    /// Requests of keys that are not held.
    pub(super) left_out: u64,
}

impl<K, V> Default for Bounded<K, V> {
    fn default() -> Self {
        Self { held: HashMap::new(), bytes: 0, left_out: 0 }
    }
}

impl<K: Key, V: Counted> Bounded<K, V> {
    /// The count of a key in one chunk of a log, which is bounded itself.
    pub(super) fn entry(&mut self, key: K) -> &mut V {
        self.held.entry(key).or_default()
    }

    /// Adds what stands behind.
    pub(super) fn add(&mut self, behind: Self) {
        self.left_out += behind.left_out;
        let mut fresh = Vec::new();
        for (key, value) in behind.held {
            match self.held.get_mut(&key) {
                Some(held) => held.add(value),
                None => fresh.push((key, value)),
            }
        }
        let weight = |key: &K, value: &V| key.bytes().saturating_add(value.bytes());
        let bytes: usize = fresh.iter().map(|(key, value)| weight(key, value)).sum();
        if self.bytes.saturating_add(bytes) > MAX_HELD {
            // Which of them still fit must not depend on the order of a table.
            fresh.sort_unstable_by(|(a, one), (b, other)| {
                other.requests().cmp(&one.requests()).then_with(|| a.cmp(b))
            });
        }
        for (key, value) in fresh {
            let bytes = self.bytes.saturating_add(weight(&key, &value));
            if bytes > MAX_HELD {
                self.left_out += value.requests();
            } else {
                self.bytes = bytes;
                self.held.insert(key, value);
            }
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.held.iter()
    }

    /// The entries, most frequent first.
    pub(super) fn sorted(&self) -> Vec<(&K, &V)> {
        self.first(usize::MAX)
    }

    /// So many of the most frequent entries, in order. To sort all others takes longer than to read a log.
    pub(super) fn first(&self, most: usize) -> Vec<(&K, &V)> {
        let mut entries: Vec<_> = self.held.iter().collect();
        let order = |(a, one): &(&K, &V), (b, other): &(&K, &V)| {
            other.requests().cmp(&one.requests()).then_with(|| a.cmp(b))
        };
        if most < entries.len() {
            entries.select_nth_unstable_by(most, order);
            entries.truncate(most);
        }
        entries.sort_unstable_by(order);
        entries
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Counts = Bounded<Box<str>, Seen>;

    fn of(keys: impl IntoIterator<Item = String>) -> Counts {
        let mut counts = Counts::default();
        for key in keys {
            counts.entry(key.into()).push(None);
        }
        counts
    }

    #[test]
    fn what_is_held_counts_exactly_and_the_rest_is_counted_together() {
        let key = |number: u32| format!("{number}-{}", "x".repeat(2 << 20));
        // Two chunks of 200 MiB, with one key in common, and one twice in the second.
        let all = || {
            let mut all = Counts::default();
            all.add(of((0..100).map(key)));
            all.add(of((99..200).map(key).chain([key(150)])));
            all
        };
        let counts = all();
        let held = counts.sorted();
        assert_eq!(held.iter().map(|(_, seen)| seen.requests).sum::<u64>() + counts.left_out, 202);
        assert!(held.len() > 120 && held.len() < 128, "{}", held.len());
        // Of the second chunk the most frequent key came first.
        assert!(held[..2].iter().all(|(_, seen)| seen.requests == 2));
        let names = |counts: &Counts| -> Vec<String> {
            counts.sorted().iter().map(|(key, _)| key[..4].to_owned()).collect()
        };
        assert_eq!(names(&all()), names(&counts));
        let first: Vec<&str> = counts.first(7).iter().map(|(key, _)| &***key).collect();
        assert!(
            first.iter().eq(held[..7].iter().map(|(key, _)| &***key).collect::<Vec<_>>().iter())
        );
    }
}
