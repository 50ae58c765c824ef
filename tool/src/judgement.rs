//! A verdict in the words of records.

use crate::console::{BAD, GOOD, NAME, styled};
use egress_warden::policy::{Action, Policy, Reason, Verdict};
use serde::Serialize;
use std::fmt;

/// A decision with its reason, from this policy or from a log.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub(crate) struct Judgement {
    /// `allow` or `deny`.
    pub(crate) decision: Box<str>,
    /// A word of the closed list.
    pub(crate) reason: Box<str>,
    /// The rule that is named.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) rule: Option<Box<str>>,
}

impl Judgement {
    /// A verdict of this policy.
    pub(crate) fn new(verdict: Verdict, policy: &Policy) -> Self {
        let rule = verdict.rule.and_then(|rule| policy.rules().get(rule));
        Self {
            decision: verdict.action.as_str().into(),
            reason: verdict.reason.as_str().into(),
            rule: rule.map(|rule| rule.id.clone()),
        }
    }
}

/// `allow by rule stripe`, `deny default`, as `explain` has it.
impl fmt::Display for Judgement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let style = if &*self.decision == Action::Deny.as_str() { BAD } else { GOOD };
        let decision = styled(style, &self.decision);
        match &self.rule {
            Some(rule) if &*self.reason == Reason::Rule.as_str() => {
                write!(f, "{decision} by rule {}", styled(NAME, rule))
            }
            Some(rule) => write!(f, "{decision} {} ({})", self.reason, styled(NAME, rule)),
            None => write!(f, "{decision} {}", self.reason),
        }
    }
}
