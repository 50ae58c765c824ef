//! What a change of policy does to a request.

use egress_warden::policy::{Action, Decision, Policy, Verdict};
use serde::Serialize;

/// What it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Kind {
    /// Refused before, passes now.
    Opens,
    /// Passed before, is refused now.
    Closes,
    /// Same decision, but another would-be decision.
    Announces,
    /// Same decision, by another rule or for another reason.
    Renames,
}

impl Kind {
    /// As JSON has it.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Opens => "opens",
            Self::Closes => "closes",
            Self::Announces => "announces",
            Self::Renames => "renames",
        }
    }

    /// The kind of a difference between the decisions of two policies, with the verdicts that differ;
    /// `None` where nothing does. A rule is the same by its id.
    pub(crate) fn of(
        (old, before): (&Policy, Decision),
        (new, after): (&Policy, Decision),
    ) -> Option<(Self, Verdict, Verdict)> {
        let (was, is) = (before.verdict, after.verdict);
        if was.action != is.action {
            let kind = if is.action == Action::Allow { Self::Opens } else { Self::Closes };
            return Some((kind, was, is));
        }
        let (would, will) = (before.would.unwrap_or(was), after.would.unwrap_or(is));
        if would.action != will.action {
            return Some((Self::Announces, would, will));
        }
        let is_same_rule = id(old, was) == id(new, is);
        (was.reason != is.reason || !is_same_rule).then_some((Self::Renames, was, is))
    }
}

fn id(policy: &Policy, verdict: Verdict) -> Option<&str> {
    policy.rules().get(verdict.rule?).map(|rule| &*rule.id)
}
