//! Sets of ports.

use crate::document::{Node, Value};
use std::ops::RangeInclusive;

/// Most ports that a list has.
const MAX_PORTS: usize = 1_024;

/// Ports, a bit for each.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Ports(Box<[u64]>);

/// The port that a value is, as a number or as its digits.
pub(super) fn port(node: &Node) -> Option<u16> {
    let digits = match &node.value {
        Value::Number(number) => number.to_string(),
        Value::Text(text) => text.to_string(),
        _ => return None,
    };
    digits.parse().ok().filter(|port| *port != 0)
}

impl Ports {
    /// Words of 64 bits.
    const WORDS: usize = 1_024;

    pub(super) fn all() -> Self {
        // Port 0 is none.
        let all = std::iter::once(!1).chain(std::iter::repeat_n(!0, Self::WORDS - 1));
        Self(all.collect())
    }

    pub(super) fn of(ranges: &[RangeInclusive<u16>]) -> Self {
        let mut ports = Self(vec![0; Self::WORDS].into());
        for port in ranges.iter().cloned().flatten().filter(|port| *port != 0) {
            if let Some(word) = ports.0.get_mut(usize::from(port / 64)) {
                *word |= 1 << (port % 64);
            }
        }
        ports
    }

    /// What is in both, or where not `is_in`, what is in this one alone.
    pub(super) fn and(&self, other: &Self, is_in: bool) -> Self {
        let both = self.0.iter().zip(&other.0);
        Self(both.map(|(a, b)| a & if is_in { *b } else { !b }).collect())
    }

    pub(super) fn count(&self) -> usize {
        self.0.iter().map(|word| word.count_ones() as usize).sum()
    }

    fn list(&self) -> Vec<u16> {
        let has = |port: &u16| {
            self.0.get(usize::from(port / 64)).is_some_and(|word| word >> (port % 64) & 1 == 1)
        };
        (1..=u16::MAX).filter(has).collect()
    }

    /// As `ports` and `notPorts`; nothing where both lists are long.
    pub(super) fn written(&self) -> Option<(Vec<u16>, Vec<u16>)> {
        let others = Self::all().and(self, false);
        match (self.count(), others.count()) {
            (_, 0) => Some((Vec::new(), Vec::new())),
            (count, _) if count <= MAX_PORTS => Some((self.list(), Vec::new())),
            (_, count) if count <= MAX_PORTS => Some((Vec::new(), others.list())),
            _ => None,
        }
    }
}
