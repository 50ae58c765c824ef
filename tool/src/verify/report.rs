//! What was found.

use super::kind::Kind;
use crate::diagnostics::Level;
use std::collections::BTreeSet;

/// One finding.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) kind: &'static Kind,
    /// Where: a listener, a filter chain, a filter, a route, a cluster.
    pub(crate) place: String,
    pub(crate) problem: String,
}

/// What a proxy is, and everything that was found.
#[derive(Debug, Default)]
pub(crate) struct Report {
    pub(crate) node: Option<String>,
    pub(crate) envoy: Option<String>,
    pub(crate) istio: Option<String>,
    /// How many chains of which listeners were looked at.
    pub(crate) chains: usize,
    pub(crate) listeners: BTreeSet<String>,
    /// Which were not, and why.
    pub(crate) others: Vec<(String, &'static str)>,
    /// Revisions of policies.
    pub(crate) configured: BTreeSet<String>,
    pub(crate) modules: BTreeSet<String>,
    pub(crate) found: Vec<Found>,
}

impl Report {
    /// Adds a finding.
    pub(super) fn say(
        &mut self,
        kind: &'static Kind,
        place: impl Into<String>,
        problem: impl Into<String>,
    ) {
        self.found.push(Found { kind, place: place.into(), problem: problem.into() });
    }

    /// How many findings are of a level.
    pub(crate) fn count(&self, level: Level) -> usize {
        self.found.iter().filter(|found| found.kind.level == level).count()
    }

    /// The worst first, and each once.
    pub(super) fn sort(&mut self) {
        let rank = |level| match level {
            Level::Error => 0,
            Level::Warning => 1,
            Level::Note => 2,
        };
        let mut told = BTreeSet::new();
        self.found.retain(|it| told.insert((it.kind.id, it.place.clone(), it.problem.clone())));
        self.found.sort_by_key(|found| rank(found.kind.level));
    }
}
