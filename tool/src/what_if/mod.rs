//! What another policy would have decided of logged requests: `replay` and `diff` over records that are
//! kept, for a page that asks again after each edit of a policy.
//!
//! The requests are rows, each of which stands for equal ones: how many there are, when the first and when
//! the last came, and their [record](crate::logs::Record). A row is decided only where the decision is the
//! same at every moment between these two: what depends on the time is `undecided`, and never guessed. So is
//! what depends on a query that was left out of the record.

mod answer;
mod query;
mod rows;

use crate::diagnostics::Diagnostic;
use crate::document::TextError;
use crate::failure::Failure;
use crate::finding::Finding;
use crate::logs::Decider;
use crate::policy_file::{Policies, PolicyError, PolicyFile};
use answer::{Answer, Decided, Told};
use egress_warden::config::{Config, MAX_TEXT};
use egress_warden::policy::Decision;
use egress_warden::root_id::{Connections, REMEDY};
use query::Queries;
use rows::Row;

/// Logged requests, and the policy that edited ones are compared with.
#[derive(Debug)]
pub struct WhatIf {
    /// The most frequent first.
    rows: Vec<Row>,
    base: Option<Base>,
    root_id: Option<Connections>,
}

/// The policy before the edit.
#[derive(Debug)]
struct Base {
    config: Config,
    queries: Queries,
    /// What it decides of each row, as these connections.
    decided: Option<(Connections, Vec<Option<Decision>>)>,
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

impl WhatIf {
    /// Takes the text of a policy, without which edited ones are compared with the log alone, and the
    /// rows as a list in JSON, each `[REQUESTS, FIRST, LAST, …, RECORD]`: the times in milliseconds since
    /// the Unix epoch or `null`, the record as an object or as its text. What stands between is passed
    /// over. The root id says what connections are judged as, where the policy is not in a manifest that
    /// does (`--root-id`).
    ///
    /// # Errors
    ///
    /// A policy that is not valid, rows that are none, or a root id that judges no connections.
    pub fn new(base: Option<&str>, rows: &str, root_id: Option<&str>) -> Result<Self, Error> {
        let base = base.map(|text| {
            let file = PolicyFile::of_text("the policy".to_owned(), text.to_owned(), false);
            let (file, config) = file.into_valid()?;
            let queries = Queries::of(&file, &config.policy);
            Ok(Base { config, queries, decided: None })
        });
        let root_id = root_id.map(|text| {
            let connections = Connections::of_root_id(text.as_bytes()).ok().flatten();
            connections.ok_or_else(|| Failure::new("the root id", "no connections", REMEDY))
        });
        let parts = || Ok((base.transpose()?, rows::read(rows)?, root_id.transpose()?));
        let (base, rows, root_id) = parts().map_err(Error)?;
        Ok(Self { rows, base, root_id })
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
        let base = self.base.as_mut().map(|base| base.decided(&self.rows, connections));
        let mut decided = Decided::new(config, base.map(|(config, _)| config));
        let decider = Decider::new(&config.policy);
        let before = base.map(|(_, decisions)| decisions.iter()).into_iter().flatten();
        let mut before = before.copied();
        for row in &self.rows {
            let request = row.logged.request(config.policy.reads(), connections);
            let decision = match queries.may_decide(&config.policy, &request) {
                true => None,
                false => decider.decide(request, row.times.clone()),
            };
            decided.count(row, decision, before.next());
        }
        decided.into_answer()
    }
}

impl Base {
    /// The policy, and what it decides of the rows.
    fn decided(
        &mut self,
        rows: &[Row],
        connections: Connections,
    ) -> (&Config, &[Option<Decision>]) {
        let Self { config, queries, decided } = self;
        let known = decided.take().filter(|(of, _)| *of == connections);
        let (_, decisions) = decided.insert(known.unwrap_or_else(|| {
            let decider = Decider::new(&config.policy);
            let decide = |row: &Row| {
                let request = row.logged.request(config.policy.reads(), connections);
                let is_decided = !queries.may_decide(&config.policy, &request);
                is_decided.then(|| decider.decide(request, row.times.clone())).flatten()
            };
            (connections, rows.iter().map(decide).collect())
        }));
        (config, decisions)
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
