//! What another policy would have decided of logged requests: `replay` and `diff` over records that are
//! kept, for a page that asks again after each edit of a policy.
//!
//! The requests are rows, each of which stands for equal ones: how many there are, when the first and when
//! the last came, and their record. A row is decided only where the decision is the
//! same at every moment between these two: what depends on the time is `undecided`, and never guessed. So is
//! what depends on a query that was left out of the record.

mod answer;
mod query;
mod rows;

use crate::diagnostics::Diagnostic;
use crate::document::TextError;
use crate::failure::Failure;
use crate::finding::Finding;
use crate::logs::{Decider, Recorded};
use crate::policy_file::{Policies, PolicyError, PolicyFile};
use answer::{Answer, Decided, Told};
use egress_warden::config::{Config, MAX_TEXT};
use egress_warden::policy::{Decision, Reads, Request};
use egress_warden::root_id::{Connections, REMEDY};
use query::Queries;
use rows::Row;
pub use rows::Rows;

/// Logged requests, and the policy that edited ones are compared with.
#[derive(Debug)]
pub struct WhatIf<'r> {
    rows: &'r Rows,
    base: Option<Base>,
    root_id: Option<Connections>,
    asked: Option<Asked<'r>>,
}

/// The policy before the edit.
#[derive(Debug)]
struct Base {
    config: Config,
    queries: Queries,
}

/// The rows as policies are asked about them, which stays the same from edit to edit.
#[derive(Debug)]
struct Asked<'r> {
    /// What connections are judged as.
    connections: Connections,
    rows: Vec<AskedRow<'r>>,
}

#[derive(Debug)]
struct AskedRow<'r> {
    row: &'r Row,
    /// The first one.
    request: Request<'r>,
    recorded: Recorded<'r>,
    /// What the base policy decides, where there is one.
    before: Option<Option<Decision>>,
}

/// Why there is nothing to ask.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error(Failure);

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for Error {}

impl<'r> WhatIf<'r> {
    /// Takes the text of a policy, without which edited ones are compared with the log alone, and the
    /// rows. The root id says what connections are judged as, where the policy is not in a manifest that
    /// does (`--root-id`).
    ///
    /// # Errors
    ///
    /// A policy that is not valid, or a root id that judges no connections.
    pub fn new(base: Option<&str>, rows: &'r Rows, root_id: Option<&str>) -> Result<Self, Error> {
        let base = base.map(|text| {
            let file = PolicyFile::of_text("the policy".to_owned(), text.to_owned(), false);
            let (file, config) = file.into_valid()?;
            let queries = Queries::of(&file, &config.policy);
            Ok((Base { config, queries }, file.connections()))
        });
        let root_id = root_id.map(|text| {
            let connections = Connections::of_root_id(text.as_bytes()).ok().flatten();
            connections.ok_or_else(|| Failure::new("the root id", "no connections", REMEDY))
        });
        let parts = || Ok((base.transpose()?.unzip(), root_id.transpose()?));
        let ((base, of_base), root_id) = parts().map_err(Error)?;
        let connections = root_id.or(of_base.flatten()).unwrap_or_default();
        let asked = Some(Asked::new(rows, base.as_ref(), connections));
        Ok(Self { rows, base, root_id, asked })
    }

    /// Decides every row by the policy of a text, and says in JSON what is wrong with the text, or how the
    /// decisions compare with the log and with the base policy.
    ///
    /// `{errors: [{path, line, column, end_line, end_column, message, remedy}]}`, or `{policy, requests,
    /// allowed, denied, undecided, would {allow, deny}, log {same, other_reason, other_decision, none,
    /// refused_otherwise, failed}, base {same, other_reason, other_decision, opens, closes, announces,
    /// renames, undecided}, changes [{row, requests, kind, against, before, now}], more {log, base}}`.
    ///
    /// `log` has the numbers of `replay`, and `base` those of `diff` with logs. `changes` has the most
    /// frequent rows that change, changed decisions first; `more` says how many rows there are beyond
    /// these.
    pub fn judge(&mut self, text: &str) -> String {
        let answer = match text.len() > MAX_TEXT {
            true => Answer::Refused { errors: vec![Told::of_long_text()] },
            false => self.answer(text),
        };
        // INVARIANT: texts, numbers and lists are JSON.
        serde_json::to_string(&answer).unwrap_or_default()
    }

    fn answer(&mut self, text: &str) -> Answer {
        let policies = Policies::of_text("the policy".to_owned(), text.to_owned(), false);
        let errors = errors(&policies);
        let only = match policies.files() {
            [file] => file.config().ok().map(|config| (file, config)),
            _ => None,
        };
        match only {
            Some((file, config)) if errors.is_empty() => {
                let connections = self.root_id.or_else(|| file.connections());
                let queries = Queries::of(file, &config.policy);
                self.compare(config, &queries, connections.unwrap_or_default())
            }
            _ => Answer::Refused { errors },
        }
    }

    fn compare(&mut self, config: &Config, queries: &Queries, connections: Connections) -> Answer {
        let base = self.base.as_ref();
        let known = self.asked.take().filter(|asked| asked.connections == connections);
        let asked = known.unwrap_or_else(|| Asked::new(self.rows, base, connections));
        let mut decided = Decided::new(config, base.map(|base| &base.config));
        let judge = judge(config, queries);
        for AskedRow { row, request, recorded, before } in &asked.rows {
            decided.count(row, *recorded, judge(row, request), *before);
        }
        self.asked = Some(asked);
        decided.into_answer()
    }
}

impl<'r> Asked<'r> {
    fn new(rows: &'r Rows, base: Option<&Base>, connections: Connections) -> Self {
        // Which facts a policy asks for changes from edit to edit.
        let every = Reads { principal: true, cluster: true, clock: true, server_name: true };
        let judge = base.map(|base| judge(&base.config, &base.queries));
        let asked = |row: &'r Row| {
            let now = row.times.map(|(first, _)| first);
            let request = Request { now, ..row.logged.request(every, connections) };
            let before = judge.as_ref().map(|judge| judge(row, &request));
            AskedRow { row, request, recorded: Recorded::of(&row.logged), before }
        };
        Self { connections, rows: rows.0.iter().map(asked).collect() }
    }
}

/// Decides rows by a policy; `None` where that depends on the time, or on a query that is left out.
fn judge<'c>(
    config: &'c Config,
    queries: &'c Queries,
) -> impl Fn(&Row, &Request<'_>) -> Option<Decision> + 'c {
    let decider = Decider::new(&config.policy);
    move |row, request| {
        let is_decided = !queries.may_decide(&config.policy, request);
        is_decided.then(|| decider.decide(request, row.times.map(|(_, last)| last))).flatten()
    }
}

/// Everything that is wrong with a text, as `check` has it; here there may be one policy only.
fn errors(policies: &Policies) -> Vec<Told> {
    let document = policies.document();
    let mut errors: Vec<Diagnostic> =
        document.mark().map(Diagnostic::of_mark).into_iter().collect();
    for file in policies.files() {
        if let Err(of_file) = file.config() {
            errors.extend(of_file.iter().map(|error| Diagnostic::of_policy(file, error)));
        }
    }
    if let (true, Some(second)) = (errors.is_empty(), policies.files().get(1)) {
        let span = second.carrier().map_or(0..0, |carrier| carrier.span.clone());
        let error = PolicyError::Text(TextError::SecondDocument);
        errors.push(Diagnostic::of_policy(second, &Finding::whole(span, error)));
    }
    errors.sort_by_key(|error| error.finding.span.start);
    errors.iter().map(|error| Told::of(document, error)).collect()
}
