//! How a verdict comes about: the rules that were looked at, and where each of them failed.
//!
//! The verdict of a trace is that of [`Policy::decide`]; what it says of a rule comes from the
//! conditions that the rule is judged by. Nothing is matched here.

use super::index::Candidate;
use super::request::{Facts, Port};
use super::rule::{FieldMiss, Match, Miss};
use super::{Action, Decision, Dialled, Policy, Reason, Request, Scope};

/// A decision with what led to it.
#[derive(Clone, Debug)]
pub struct Trace {
    /// What [`Policy::decide`] says.
    pub decision: Decision,
    /// Which host the request goes to.
    pub dialled: Dialled<'static>,
    /// Absent where the request is malformed.
    pub port: Option<Port>,
    /// The path as sent and as read leniently; absent where it is unknown or the request malformed.
    pub path: Option<[String; 2]>,
    /// The rules whose hosts match, whatever the caller: the most specific host first, the smallest
    /// id first among equals, so that the first that matches is named; one that rests on something
    /// unknown only where no other matches. None where an earlier step decides.
    pub attempts: Vec<Attempt>,
}

/// One way for one rule to match.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// The rule, as an index into the policy's rules.
    pub rule: usize,
    /// The entry of its `to`; `None` where it has none.
    pub destination: Option<usize>,
    /// By what the host was found; `None` where the entry has no hosts.
    pub scope: Option<Scope>,
    /// Whether it is the host that is dialled at a waypoint, and not the one that the request names: only
    /// deny rules are looked at for it alone.
    pub is_dialled: bool,
    /// Whether the rule counts for the verdict, and for the would-be verdict.
    pub counts: [bool; 2],
    /// Whether the rule is past its `until`: an allow is left out then, but named where it alone
    /// would have matched.
    pub has_ended: bool,
    /// Why the rule does not match; `None`: it does.
    pub miss: Option<Miss>,
    /// Whether the rule, a deny, matches only because something is unknown: then those that match
    /// without are named before it.
    pub rests_on_unknown: bool,
    /// The fields of a deny that match because what they ask about is unknown.
    pub unspared: Vec<FieldMiss>,
}

impl Policy {
    /// Decides one request and says how.
    pub fn trace(&self, request: &Request<'_>) -> Trace {
        let decision = self.decide(request);
        let facts = Facts::of(request);
        // Steps 1 and 2 end the same way in both views.
        let reason = decision.would.unwrap_or(decision.verdict).reason;
        let asks_rules = request.dialled != Dialled::Unsaid
            && !matches!(reason, Reason::Malformed | Reason::Identity | Reason::Sni);
        let readings = facts.as_ref().and_then(|facts| facts.readings());
        Trace {
            decision,
            dialled: request.dialled.clone().into_owned(),
            port: facts.as_ref().map(|facts| facts.port),
            path: readings.map(|readings| readings.both().map(str::to_owned)),
            attempts: facts
                .as_ref()
                .filter(|_| asks_rules)
                .map(|facts| self.attempts(facts))
                .unwrap_or_default(),
        }
    }

    fn attempts(&self, facts: &Facts<'_>) -> Vec<Attempt> {
        let dialled = match facts.dialled() {
            Dialled::Named => {
                let candidates = self.index.all(&facts.host_keys).into_iter();
                return candidates.filter_map(|it| self.attempt(it, facts)).collect();
            }
            Dialled::Host(host) => Some(facts.sent_to(host)),
            Dialled::Other | Dialled::Unsaid => None,
        };
        let dialled = dialled.as_ref();
        let entries = self.entries_for(dialled);
        let by_name = self.index.all(&facts.host_keys).into_iter().filter_map(|candidate| {
            let attempt = self.attempt(candidate, facts)?;
            let is_open = attempt.miss.is_none() && self.is_allow(&attempt);
            let is_of_both = entries.contains(&candidate);
            let miss = match is_open && !is_of_both {
                true => Some(Miss::DialledHost),
                false => attempt.miss,
            };
            Some((candidate, Attempt { miss, ..attempt }))
        });
        let by_dialled = dialled.into_iter().flat_map(|dialled| {
            let candidates = self.index.all(&dialled.host_keys).into_iter();
            candidates.filter_map(|candidate| {
                let attempt = self.attempt(candidate, dialled)?;
                let attempt = Attempt { is_dialled: true, ..attempt };
                (!self.is_allow(&attempt)).then_some((candidate, attempt))
            })
        });
        let mut attempts: Vec<(Candidate, Attempt)> = by_name.chain(by_dialled).collect();
        attempts.sort_by_key(|(it, _)| (it.rank, it.rule, it.destination));
        attempts.into_iter().map(|(_, attempt)| attempt).collect()
    }

    fn is_allow(&self, attempt: &Attempt) -> bool {
        self.rules.get(attempt.rule).is_some_and(|rule| rule.action == Action::Allow)
    }

    fn attempt(&self, candidate: Candidate, facts: &Facts<'_>) -> Option<Attempt> {
        let Candidate { rule, destination, scope, .. } = candidate;
        let index = rule as usize;
        let (head, conditions) = self.rules.get(index).zip(self.conditions.get(index))?;
        let has_ended = head.has_ended(facts);
        let outcome = match (head.action, has_ended) {
            (Action::Deny, true) => Err(Miss::Ended),
            _ => head.outcome(conditions, destination, scope, facts),
        };
        Some(Attempt {
            rule: index,
            destination: destination.map(|index| index as usize),
            scope,
            is_dialled: false,
            counts: head.counts_per_view(),
            has_ended,
            rests_on_unknown: outcome == Ok(Match::Unknown),
            unspared: match outcome {
                Ok(_) => head.unspared(conditions, destination, facts),
                Err(_) => Vec::new(),
            },
            miss: outcome.err(),
        })
    }
}
