//! The verdict on a request that a waypoint sends to another host than its authority names: both hosts are
//! judged.
//!
//! An allow needs one entry of its `to` that matches both, a deny one that matches either. If no rule
//! denies the request, and it would be allowed if the host that it names were dialled, the reason is
//! [`Reason::Destination`].

use super::decision::PerView;
use super::dialled::Dialled;
use super::index::Candidate;
use super::request::Facts;
use super::{Action, Found, Policy, Reason, VERDICT, Verdict, WOULD_BE};
use crate::key_table::KeyTable;

/// Entries of rules' `to`.
#[derive(Default)]
pub(super) struct Entries(KeyTable);

impl Entries {
    /// Whether the entry by which a candidate matches is one.
    #[cold]
    #[inline(never)]
    pub(super) fn contains(&self, candidate: &Candidate) -> bool {
        self.0.get(&Self::key(candidate)).is_some()
    }

    fn insert(&mut self, candidate: &Candidate) {
        let _ = self.0.entry(&Self::key(candidate), 0);
    }

    fn key(candidate: &Candidate) -> [u8; 8] {
        // No rule has so many entries.
        let destination = candidate.destination.unwrap_or(u32::MAX);
        (u64::from(candidate.rule) << 32 | u64::from(destination)).to_be_bytes()
    }
}

impl Policy {
    /// The verdicts on a request that is not known to go to the host that it names.
    #[cold]
    #[inline(never)]
    pub(super) fn judge_dialled(&self, named: &Facts<'_>) -> PerView<Verdict> {
        match named.dialled() {
            Dialled::Unsaid => [Verdict::deny(Reason::Destination); 2],
            Dialled::Host(host) => self.judge_both(named, Some(&named.sent_to(host))),
            Dialled::Named | Dialled::Other => self.judge_both(named, None),
        }
    }

    /// `dialled` are the facts of the same request to the other host, `None` where that is unknown.
    fn judge_both(&self, named: &Facts<'_>, dialled: Option<&Facts<'_>>) -> PerView<Verdict> {
        let by_name = self.find(named, None);
        let by_both = self.find_both(named, dialled, &by_name);
        // None where any host may be dialled.
        let special = dialled.map(Facts::special_reason);
        [VERDICT, WOULD_BE].map(|view| {
            let verdict = self.conclude(named, &by_both, view);
            let needs_no_rule = verdict.action == Action::Allow && special == Some(None);
            if needs_no_rule || matches!(verdict.reason, Reason::Rule | Reason::Unknown) {
                return verdict;
            }
            if self.conclude(named, &by_name, view).action == Action::Allow {
                return Verdict::deny(Reason::Destination);
            }
            match special.flatten().filter(|_| !named.is_special) {
                Some(reason) => Verdict::deny(reason),
                None => verdict,
            }
        })
    }

    /// The denies that match one of the two hosts, and the allows that match both.
    fn find_both(&self, named: &Facts<'_>, dialled: Option<&Facts<'_>>, by_name: &Found) -> Found {
        let entries = self.entries_for(dialled);
        let mut both = self.find(named, Some(&entries));
        let by_dialled = dialled.map(|dialled| self.find(dialled, None)).unwrap_or_default();
        let denies = both.deny.iter_mut().zip(by_name.deny).zip(by_dialled.deny);
        for ((deny, named), dialled) in denies {
            *deny = named.into_iter().chain(dialled).min();
        }
        both
    }

    /// The entries of allow rules that match the host that is dialled, whoever calls.
    pub(super) fn entries_for(&self, dialled: Option<&Facts<'_>>) -> Entries {
        let mut entries = Entries::default();
        let Some(facts) = dialled else { return entries };
        self.index.visit(facts, &mut |candidate| {
            let at = candidate.rule as usize;
            let rule = self.rules.get(at).zip(self.conditions.get(at));
            let matches = rule.is_some_and(|(rule, conditions)| {
                let (destination, scope) = (candidate.destination, candidate.scope);
                rule.action == Action::Allow
                    && rule.matches_destination(conditions, destination, scope, facts).is_some()
            });
            if matches {
                entries.insert(&candidate);
            }
        });
        entries
    }
}
