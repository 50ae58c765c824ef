//! A verdict in the words of records.

use super::console::{BAD, GOOD, styled};
use egress_warden::policy::{Action, Policy, Reason, Verdict};
use serde::Serialize;
use std::fmt;

/// What is or was decided, and why: of this policy or of a log.
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

    /// The decision alone, in colour.
    pub(crate) fn styled_decision(&self) -> String {
        let style = if &*self.decision == Action::Deny.as_str() { BAD } else { GOOD };
        styled(style, &self.decision).to_string()
    }

    /// Why, in a few words.
    pub(crate) fn why(&self) -> String {
        match &self.rule {
            Some(rule) if &*self.reason == Reason::Rule.as_str() => format!("rule `{rule}`"),
            Some(rule) => format!("{}, rule `{rule}`", self.reason),
            None => self.reason.to_string(),
        }
    }
}

/// `allow (rule `stripe`)`, `deny (default)`.
impl fmt::Display for Judgement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.styled_decision(), self.why())
    }
}
