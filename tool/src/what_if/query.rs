//! Queries that are not in a record, and rules that ask for them.

use crate::policy_file::PolicyFile;
use egress_warden::policy::{Attempt, Miss, Policy, Request};
use egress_warden::time::Time;
use std::collections::{HashMap, HashSet};

/// The entries of `to` that ask for the query, by rule and entry.
#[derive(Debug)]
pub(super) struct Queries(HashSet<(usize, usize)>);

impl Queries {
    /// Those of a policy, which stands in this file.
    pub(super) fn of(file: &PolicyFile, policy: &Policy) -> Self {
        let rules = policy.rules().iter().enumerate();
        let numbers: HashMap<&str, usize> =
            rules.map(|(number, rule)| (&*rule.id, number)).collect();
        let source = file.source();
        let rules = source.iter().flat_map(|source| &source.rules);
        let entries = rules.flat_map(|rule| {
            let number = numbers.get(rule.id).copied();
            let entries = rule.to.iter().enumerate();
            entries.filter_map(move |(entry, it)| {
                let asks = it.query.is_some() || it.not_query.is_some();
                number.filter(|_| asks).map(|rule| (rule, entry))
            })
        });
        Self(entries.collect())
    }

    /// Whether a decision may depend on a query that was left out: a path that ends in `?` had one.
    pub(super) fn may_decide(&self, policy: &Policy, request: &Request<'_>) -> bool {
        if self.0.is_empty() || !request.path.is_some_and(|path| path.ends_with(b"?")) {
            return false;
        }
        // At first no rule has ended.
        let trace = policy.trace(&Request { now: Some(Time::EPOCH), ..request.clone() });
        trace.attempts.iter().any(|attempt| self.decides(attempt))
    }

    /// Whether nothing but the query tells whether a rule matches.
    fn decides(&self, attempt: &Attempt) -> bool {
        let asks = attempt.destination.is_some_and(|entry| self.0.contains(&(attempt.rule, entry)));
        asks && match &attempt.miss {
            None | Some(Miss::DialledHost) => true,
            Some(Miss::Fields(misses)) => {
                misses.iter().all(|miss| matches!(miss.field, "query" | "notQuery"))
            }
            Some(Miss::Ended | Miss::HostNotNamed | Miss::ConnectNotNamed) => false,
        }
    }
}
