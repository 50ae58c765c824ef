//! How often something happens: in all, and a second.

use std::collections::HashMap;
use std::hash::Hash;
use std::time::Duration;

/// Over how many looks a rate is taken.
const LOOKS: usize = 5;

/// The last looks, each with the time since the one before, the newest first.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Window {
    seconds: [f64; LOOKS],
}

impl Window {
    /// A look so long after the one before.
    pub(crate) fn pass(&mut self, time: Duration) {
        push(&mut self.seconds, time.as_secs_f64());
    }

    /// The time that rates are over; 0 where there was one look only.
    pub(crate) fn seconds(&self) -> f64 {
        self.seconds.iter().sum()
    }
}

/// How often something happened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Meter {
    total: u64,
    /// Since the last look.
    new: u64,
    /// Before each look, the newest first.
    recent: [u64; LOOKS],
}

impl Meter {
    /// Counts what happened since the last look.
    pub(crate) fn count(&mut self, times: u64) {
        self.new = self.new.saturating_add(times);
        self.count_old(times);
    }

    /// Counts what happened before the first look.
    pub(crate) fn count_old(&mut self, times: u64) {
        self.total = self.total.saturating_add(times);
    }

    /// Takes the count of somebody who has begun again.
    pub(crate) fn restart(&mut self, total: u64) {
        self.total = 0;
        self.count(total);
    }

    /// A look.
    pub(crate) fn pass(&mut self) {
        push(&mut self.recent, std::mem::take(&mut self.new));
    }

    pub(crate) fn total(&self) -> u64 {
        self.total
    }

    /// How often it happened within the window.
    pub(crate) fn recent(&self) -> u64 {
        self.recent.iter().copied().fold(0, u64::saturating_add)
    }

    /// The rate within the window, where there is one.
    pub(crate) fn per_second(&self, window: &Window) -> Option<f64> {
        let seconds = window.seconds();
        (seconds > 0.0).then(|| self.recent() as f64 / seconds)
    }

    fn add(&mut self, other: &Self) {
        self.total = self.total.saturating_add(other.total);
        self.new = self.new.saturating_add(other.new);
        for (one, more) in self.recent.iter_mut().zip(other.recent) {
            *one = one.saturating_add(more);
        }
    }
}

/// The newest comes first, and the oldest goes.
fn push<T>(all: &mut [T; LOOKS], newest: T) {
    all.rotate_right(1);
    if let Some(first) = all.first_mut() {
        *first = newest;
    }
}

/// Most things that are told apart. Callers choose the names of hosts.
pub(crate) const MOST: usize = 1000;

/// Things by how often they happened, with something about each. If there are too many, the rarer half is counted
/// without its names: what is frequent stays, and the sum is that of all.
#[derive(Clone, Debug)]
pub(crate) struct Tops<K, V> {
    held: HashMap<K, (Meter, V)>,
    /// Those without their names.
    others: Meter,
}

impl<K, V> Default for Tops<K, V> {
    fn default() -> Self {
        Self { held: HashMap::new(), others: Meter::default() }
    }
}

impl<K: Clone + Eq + Hash + Ord, V> Tops<K, V> {
    /// Where something is counted, and what is about it; `make` says that of a new one.
    pub(crate) fn entry(&mut self, key: K, make: impl FnOnce() -> V) -> &mut (Meter, V) {
        if self.held.len() >= MOST && !self.held.contains_key(&key) {
            self.drop_rare();
        }
        self.held.entry(key).or_insert_with(|| (Meter::default(), make()))
    }

    /// A look.
    pub(crate) fn pass(&mut self) {
        self.held.values_mut().for_each(|(meter, _)| meter.pass());
        self.others.pass();
    }

    /// All that have names: the most frequent within the window first, then those in all.
    pub(crate) fn by_frequency(&self) -> Vec<(&K, &Meter, &V)> {
        let mut all: Vec<_> =
            self.held.iter().map(|(key, (meter, value))| (key, meter, value)).collect();
        all.sort_by(|(a, one, _), (b, other, _)| {
            let frequency = |it: &Meter| (it.recent(), it.total());
            frequency(other).cmp(&frequency(one)).then_with(|| a.cmp(b))
        });
        all
    }

    /// How often those happened whose names are not kept.
    pub(crate) fn others(&self) -> u64 {
        self.others.total()
    }

    fn drop_rare(&mut self) {
        let mut all: Vec<_> =
            self.held.iter().map(|(key, (meter, _))| (meter.total, key.clone())).collect();
        all.sort();
        for (_, key) in all.into_iter().take(MOST / 2) {
            if let Some((meter, _)) = self.held.remove(&key) {
                self.others.add(&meter);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_rate_is_over_the_last_looks() {
        let (mut meter, mut window) = (Meter::default(), Window::default());
        meter.count_old(7);
        assert_eq!((meter.total(), meter.per_second(&window)), (7, None));
        for _ in 0..9 {
            meter.count(4);
            meter.pass();
            window.pass(Duration::from_secs(2));
        }
        assert_eq!((meter.total(), meter.per_second(&window)), (43, Some(2.0)));
        for _ in 0..LOOKS {
            meter.pass();
            window.pass(Duration::from_secs(2));
        }
        assert_eq!((meter.total(), meter.per_second(&window)), (43, Some(0.0)));
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn what_is_counted_is_the_sum_of_what_is_shown_and_the_frequent_stays(
            rare in prop::collection::vec(0..5_000_u32, 0..5_000),
            every in 1..50_usize,
        ) {
            let mut tops = Tops::default();
            let mut count = |key: u32| tops.entry(key, || ()).0.count(1);
            let mut frequent = 0;
            for (at, key) in rare.iter().enumerate() {
                count(*key);
                if at % every == 0 {
                    count(u32::MAX);
                    frequent += 1;
                }
            }
            tops.pass();
            let shown = tops.by_frequency();
            prop_assert!(shown.len() <= MOST);
            let sum: u64 = shown.iter().map(|(_, meter, _)| meter.total()).sum();
            prop_assert_eq!(sum + tops.others(), rare.len() as u64 + frequent);
            let recent: u64 = shown.iter().map(|(_, meter, _)| meter.recent()).sum();
            prop_assert_eq!(recent + tops.others.recent(), rare.len() as u64 + frequent);
            if let (Some((key, meter, _)), true) = (shown.first(), every < 10 && frequent > 50) {
                prop_assert_eq!((**key, meter.total()), (u32::MAX, frequent));
            }
        }
    }
}
