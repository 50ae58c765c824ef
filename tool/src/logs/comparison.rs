//! How a policy's verdicts compare with those of the log.

use super::ending::Ending;
use super::line::{Logged, LoggedVerdict};
use egress_warden::policy::{Action, Policy, Verdict};
use serde::Serialize;

/// How many requests compare how.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Comparison {
    /// Same decision, reason and rule.
    pub(crate) same: u64,
    /// Same decision, by another rule or for another reason.
    pub(crate) other_reason: u64,
    /// Allow for deny, or deny for allow.
    pub(crate) other_decision: u64,
    /// The log has no verdict.
    pub(crate) none: u64,
    /// The mesh refused it, and not by the filter's verdict. These count above, too.
    pub(crate) refused_otherwise: u64,
    /// It failed on its way to an upstream. These count above, too.
    pub(crate) failed: u64,
}

/// What a log records of how a request was decided, and how it ended.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Recorded<'l> {
    /// Of a filter; without one that the mesh refused.
    verdict: Option<LoggedVerdict<'l>>,
    is_refused_otherwise: bool,
    is_failed: bool,
}

impl<'l> Recorded<'l> {
    pub(crate) fn of(logged: &'l Logged<'_>) -> Self {
        let is_denied = logged.verdict().is_some_and(|it| it.action == Action::Deny);
        let ending = logged.ending();
        Self {
            verdict: logged.verdict_or_refusal(),
            is_refused_otherwise: ending == Ending::Refused && !is_denied,
            is_failed: ending == Ending::Failed,
        }
    }
}

impl Comparison {
    /// Counts so many requests that the policy decides so. Gives the log's verdict, where that is
    /// another one.
    pub(crate) fn count<'l>(
        &mut self,
        recorded: Recorded<'l>,
        (policy, verdict): (&Policy, Verdict),
        requests: u64,
    ) -> Option<LoggedVerdict<'l>> {
        self.refused_otherwise += if recorded.is_refused_otherwise { requests } else { 0 };
        self.failed += if recorded.is_failed { requests } else { 0 };
        let Some(before) = recorded.verdict else {
            self.none += requests;
            return None;
        };
        if is_same(&before, verdict, policy) {
            self.same += requests;
            return None;
        }
        match before.action == verdict.action {
            true => self.other_reason += requests,
            false => self.other_decision += requests,
        }
        Some(before)
    }

    pub(crate) fn add(&mut self, other: &Self) {
        self.same += other.same;
        self.other_reason += other.other_reason;
        self.other_decision += other.other_decision;
        self.none += other.none;
        self.refused_otherwise += other.refused_otherwise;
        self.failed += other.failed;
    }
}

fn is_same(before: &LoggedVerdict<'_>, verdict: Verdict, policy: &Policy) -> bool {
    let rule = verdict.rule.and_then(|rule| policy.rules().get(rule)).map(|rule| &*rule.id);
    before.action == verdict.action
        && before.reason == verdict.reason.as_str()
        && before.rule == rule
}
