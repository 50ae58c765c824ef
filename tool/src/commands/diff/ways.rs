//! The ways in which the rules of a policy can match.

use crate::policy_file::{Destinations, RuleSource, Source};

/// One way for one rule to match: by an entry of its `to`, or by any destination.
#[derive(Clone, Copy, Debug)]
pub(super) struct Way<'a> {
    pub(super) rule: &'a RuleSource<'a>,
    pub(super) destination: Option<&'a Destinations<'a>>,
}

/// Every way of every rule.
pub(super) fn ways<'a>(policy: &'a Source<'a>) -> impl Iterator<Item = Way<'a>> {
    policy.rules.iter().flat_map(|rule| {
        let anywhere = rule.to.is_empty().then_some(Way { rule, destination: None });
        let entries = rule.to.iter().map(move |it| Way { rule, destination: Some(it) });
        anywhere.into_iter().chain(entries)
    })
}
