//! What is answered about an edited policy. Its keys are stable: a page reads them.

use super::rows::Row;
use crate::change::Kind;
use crate::diagnostics::Diagnostic;
use crate::document::{Document, Position};
use crate::judgement::Judgement;
use crate::logs::{Comparison, Recorded};
use egress_warden::config::{Config, MAX_TEXT};
use egress_warden::policy::{Action, Decision};
use serde::Serialize;

/// Most rows of each comparison that are listed.
const MAX_LISTED: usize = 500;

/// The answer.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(super) enum Answer {
    /// The text is no policy.
    Refused {
        errors: Vec<Told>,
    },
    Decided(Totals),
}

/// Something that is wrong with a text.
#[derive(Debug, Serialize)]
pub(super) struct Told {
    /// JSONPath.
    path: String,
    /// From 1; columns count characters.
    line: usize,
    column: usize,
    end_line: usize,
    end_column: usize,
    message: String,
    remedy: String,
}

impl Told {
    pub(super) fn of(document: &Document, diagnostic: &Diagnostic) -> Self {
        let finding = &diagnostic.finding;
        let position = |offset| document.position(offset);
        let Position { line, column } = position(finding.span.start);
        let Position { line: end_line, column: end_column } = position(finding.span.end);
        Self {
            path: finding.path.clone(),
            line,
            column,
            end_line,
            end_column,
            message: diagnostic.found(),
            remedy: finding.kind.remedy().into_owned(),
        }
    }

    pub(super) fn of_long_text() -> Self {
        Self {
            path: "$".to_owned(),
            line: 1,
            column: 1,
            end_line: 1,
            end_column: 1,
            message: format!("found more than {MAX_TEXT} bytes"),
            remedy: "split the policy".to_owned(),
        }
    }
}

/// What is decided of the rows.
#[derive(Debug, Serialize)]
pub(super) struct Totals {
    /// Name and hash of the policy, as records have it.
    policy: Box<str>,
    requests: u64,
    allowed: u64,
    denied: u64,
    /// What is decided of these depends on the time.
    undecided: u64,
    /// Would-be decisions, where they differ.
    would: Would,
    log: Comparison,
    #[serde(skip_serializing_if = "Option::is_none")]
    base: Option<OfBase>,
    changes: Vec<Change>,
    /// Rows that change and are not listed.
    more: More,
}

#[derive(Debug, Default, Serialize)]
struct Would {
    allow: u64,
    deny: u64,
}

/// How many requests compare how with the base policy.
#[derive(Debug, Default, Serialize)]
struct OfBase {
    /// Same decision, would-be decision, reason and rule.
    same: u64,
    /// Same decision, by another rule, for another reason, or with another would-be decision.
    other_reason: u64,
    /// Allow for deny, or deny for allow.
    other_decision: u64,
    opens: u64,
    closes: u64,
    announces: u64,
    renames: u64,
    /// What either policy decides of these depends on the time.
    undecided: u64,
}

#[derive(Debug, Default, Serialize)]
struct More {
    log: usize,
    base: usize,
}

/// A row that changes.
#[derive(Debug, Serialize)]
struct Change {
    row: usize,
    requests: u64,
    kind: Kind,
    against: Against,
    before: Judgement,
    now: Judgement,
}

/// What it is compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
enum Against {
    Base,
    Log,
}

/// Rows that change, the most frequent of which are kept. They come in this order.
#[derive(Debug, Default)]
struct Changes {
    /// Of their decisions.
    decisions: Vec<Change>,
    others: Vec<Change>,
    rows: usize,
}

impl Changes {
    fn push(&mut self, kind: Kind, change: impl FnOnce() -> Change) {
        self.rows = self.rows.saturating_add(1);
        let kept = match kind {
            Kind::Opens | Kind::Closes => &mut self.decisions,
            Kind::Announces | Kind::Renames => &mut self.others,
        };
        if kept.len() < MAX_LISTED {
            kept.push(change());
        }
    }

    /// Those that are listed, and how many are not.
    fn into_listed(self) -> (Vec<Change>, usize) {
        let mut listed = self.decisions;
        let room = MAX_LISTED.saturating_sub(listed.len());
        listed.extend(self.others.into_iter().take(room));
        let more = self.rows.saturating_sub(listed.len());
        (listed, more)
    }
}

/// Rows as they are decided.
pub(super) struct Decided<'c> {
    config: &'c Config,
    base: Option<&'c Config>,
    totals: Totals,
    of_log: Changes,
    of_base: Changes,
}

impl<'c> Decided<'c> {
    pub(super) fn new(config: &'c Config, base: Option<&'c Config>) -> Self {
        let totals = Totals {
            policy: config.revision.clone(),
            requests: 0,
            allowed: 0,
            denied: 0,
            undecided: 0,
            would: Would::default(),
            log: Comparison::default(),
            base: base.map(|_| OfBase::default()),
            changes: Vec::new(),
            more: More::default(),
        };
        let (of_log, of_base) = (Changes::default(), Changes::default());
        Self { config, base, totals, of_log, of_base }
    }

    /// Counts a row; the most frequent come first. `before` is what the base policy decides.
    pub(super) fn count(
        &mut self,
        row: &Row,
        recorded: Recorded<'_>,
        decision: Option<Decision>,
        before: Option<Option<Decision>>,
    ) {
        let totals = &mut self.totals;
        totals.requests += row.requests;
        let both = before.map(|before| before.zip(decision));
        if let (Some(both), Some(base)) = (both, self.base) {
            self.compare_with_base(row, base, both);
        }
        let totals = &mut self.totals;
        let Some(Decision { verdict, would }) = decision else {
            totals.undecided += row.requests;
            return;
        };
        match verdict.action {
            Action::Allow => totals.allowed += row.requests,
            Action::Deny => totals.denied += row.requests,
        }
        match would.map(|would| would.action) {
            Some(Action::Allow) => totals.would.allow += row.requests,
            Some(Action::Deny) => totals.would.deny += row.requests,
            None => {}
        }
        let policy = &self.config.policy;
        let Some(before) = totals.log.count(recorded, (policy, verdict), row.requests) else {
            return;
        };
        let kind = match (before.action, verdict.action) {
            (Action::Deny, Action::Allow) => Kind::Opens,
            (Action::Allow, Action::Deny) => Kind::Closes,
            _ => Kind::Renames,
        };
        self.of_log.push(kind, || Change {
            row: row.number,
            requests: row.requests,
            kind,
            against: Against::Log,
            before: before.into(),
            now: Judgement::new(verdict, policy),
        });
    }

    /// Counts what both policies decide; `None` where one of them does not.
    fn compare_with_base(
        &mut self,
        row: &Row,
        base: &Config,
        decisions: Option<(Decision, Decision)>,
    ) {
        let Some(totals) = &mut self.totals.base else { return };
        let Some((before, now)) = decisions else {
            totals.undecided += row.requests;
            return;
        };
        let (old, new) = (&base.policy, &self.config.policy);
        let Some((kind, was, is)) = Kind::of((old, before), (new, now)) else {
            totals.same += row.requests;
            return;
        };
        let (count, sum) = match kind {
            Kind::Opens => (&mut totals.opens, &mut totals.other_decision),
            Kind::Closes => (&mut totals.closes, &mut totals.other_decision),
            Kind::Announces => (&mut totals.announces, &mut totals.other_reason),
            Kind::Renames => (&mut totals.renames, &mut totals.other_reason),
        };
        *count += row.requests;
        *sum += row.requests;
        self.of_base.push(kind, || Change {
            row: row.number,
            requests: row.requests,
            kind,
            against: Against::Base,
            before: Judgement::new(was, old),
            now: Judgement::new(is, new),
        });
    }

    pub(super) fn into_answer(self) -> Answer {
        let Self { mut totals, of_log, of_base, .. } = self;
        let (base, more_of_base) = of_base.into_listed();
        let (log, more_of_log) = of_log.into_listed();
        totals.more = More { log: more_of_log, base: more_of_base };
        totals.changes = base.into_iter().chain(log).collect();
        totals.changes.sort_by_key(|change| {
            let is_of_decision = matches!(change.kind, Kind::Opens | Kind::Closes);
            (!is_of_decision, std::cmp::Reverse(change.requests), change.row, change.against)
        });
        Answer::Decided(totals)
    }
}
