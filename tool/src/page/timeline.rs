//! Requests by time: in spans of one length, which grows with the time that the logs cover.

use super::traffic::Classes;
use egress_warden::time::Time;
use std::collections::BTreeMap;

/// Lengths of a span, in seconds. Each is a multiple of the one before, so that spans can be put together.
const LENGTHS: [u64; 14] = [
    1,
    5,
    15,
    60,
    300,
    900,
    3_600,
    10_800,
    21_600,
    86_400,
    604_800,
    4 * 604_800,
    52 * 604_800,
    520 * 604_800,
];
/// Most spans that are held while the logs are read.
const MAX_HELD: usize = 2_000;
/// Most spans that are shown, of less than the greatest length.
const MAX_SHOWN: u64 = 300;

/// Requests by time.
#[derive(Clone, Debug, Default)]
pub(super) struct Timeline {
    /// Which of [`LENGTHS`].
    length: usize,
    /// By the number of the span since 1970.
    spans: BTreeMap<u64, Classes>,
}

impl Timeline {
    pub(super) fn push(&mut self, time: Time, class: usize) {
        let span = time.since_epoch().as_secs() / self.seconds();
        self.spans.entry(span).or_default().push(class);
        self.bound();
    }

    /// Adds what stands behind.
    pub(super) fn add(&mut self, mut behind: Self) {
        let length = self.length.max(behind.length);
        self.coarsen(length);
        behind.coarsen(length);
        for (span, classes) in behind.spans {
            self.spans.entry(span).or_default().add(classes);
        }
        self.bound();
    }

    /// The length of a span in seconds.
    pub(super) fn seconds(&self) -> u64 {
        LENGTHS.get(self.length).copied().unwrap_or(u64::MAX)
    }

    /// The spans in which there is a request, each with its number since 1970.
    pub(super) fn spans(&self) -> impl Iterator<Item = (u64, &Classes)> {
        self.spans.iter().map(|(span, classes)| (*span, classes))
    }

    /// The same in as few spans as are shown, from the first to the last.
    pub(super) fn shown(&self) -> Self {
        let mut shown = self.clone();
        while shown.covered() > MAX_SHOWN && shown.length + 1 < LENGTHS.len() {
            shown.coarsen(shown.length + 1);
        }
        shown
    }

    /// How many spans there are from the first to the last, the empty ones included.
    fn covered(&self) -> u64 {
        let ends = self.spans.first_key_value().zip(self.spans.last_key_value());
        ends.map_or(0, |((first, _), (last, _))| last - first + 1)
    }

    fn bound(&mut self) {
        while self.spans.len() > MAX_HELD && self.length + 1 < LENGTHS.len() {
            self.coarsen(self.length + 1);
        }
    }

    fn coarsen(&mut self, length: usize) {
        let before = self.seconds();
        self.length = length.max(self.length);
        let factor = self.seconds() / before;
        if factor > 1 {
            for (span, classes) in std::mem::take(&mut self.spans) {
                self.spans.entry(span / factor).or_default().add(classes);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::time::Duration;

    fn at(second: u64) -> Time {
        Time::after_epoch(Duration::from_secs(second)).expect("a time")
    }

    #[test]
    fn each_length_is_a_multiple_of_the_one_before() {
        for pair in LENGTHS.windows(2) {
            assert!(pair[1] > pair[0] && pair[1] % pair[0] == 0, "{pair:?}");
        }
    }

    #[test]
    fn all_the_years_that_are_read_fit() {
        let mut timeline = Timeline::default();
        timeline.push(at(0), 0);
        timeline.push(at(253_402_300_799), 0);
        let shown = timeline.shown();
        assert_eq!(shown.spans().count(), 2);
        assert!(shown.covered() < 1_000, "{}", shown.covered());
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, cases: 24, ..ProptestConfig::default() })]

        #[test]
        fn no_request_is_lost_and_the_cuts_into_chunks_change_nothing(
            seconds in prop::collection::vec(1_700_000_000_u64..1_900_000_000, 1..3_000),
            cut in 0..3_000_usize,
        ) {
            let of = |seconds: &[u64]| {
                let mut timeline = Timeline::default();
                for second in seconds {
                    timeline.push(at(*second), usize::from(second % 2 == 0));
                }
                timeline
            };
            let (front, behind) = seconds.split_at(cut.min(seconds.len()));
            let mut joined = of(front);
            joined.add(of(behind));
            let (joined, whole) = (joined.shown(), of(&seconds).shown());
            prop_assert_eq!(joined.seconds(), whole.seconds());
            prop_assert!(joined.spans().eq(whole.spans()));
            let count: u64 = whole.spans().map(|(_, classes)| classes.total()).sum();
            prop_assert_eq!(count, seconds.len() as u64);
            prop_assert!(whole.covered() <= MAX_SHOWN);
        }
    }
}
