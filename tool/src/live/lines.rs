//! A picture as lines, where there is no terminal.

use super::picture::{Flow, OfCounters, OfLog, Opening, Part, Picture, Row};
use crate::console::{BAD, Console, FRAME, Format, NAME, ODD, styled};
use crate::failure::Failure;
use std::collections::BTreeSet;

/// How many refusals are told each time.
const ROWS: usize = 5;
/// How many openings are kept in mind as told.
const MOST_TOLD: usize = 10_000;

/// Writes pictures one after another. How to open a refusal is told once.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    told: BTreeSet<String>,
}

impl Lines {
    /// Writes one: in JSON as one object on a line.
    pub(crate) fn write(
        &mut self,
        picture: &Picture,
        console: &mut Console,
    ) -> Result<(), Failure> {
        match console.format() {
            Format::Json => console.json(picture)?,
            Format::Text => self.text(picture, console)?,
        }
        console.flush()
    }

    fn text(&mut self, picture: &Picture, console: &mut Console) -> Result<(), Failure> {
        console.line(styled(FRAME, &picture.time))?;
        if let Some(admin) = &picture.admin {
            heading("counters", &admin.part, console)?;
            for note in notes_of_counters(admin) {
                console.line(format_args!("  {}", styled(ODD, note)))?;
            }
        }
        if let Some(log) = &picture.log {
            heading("log", &log.part, console)?;
            for note in notes_of_log(log) {
                console.line(format_args!("  {}", styled(ODD, note)))?;
            }
        }
        let Some(part) = picture.refusals() else { return Ok(()) };
        for (rows, what) in
            [(&part.refused, "refused"), (&part.would_be_refused, "would be refused")]
        {
            for row in rows.iter().take(ROWS) {
                self.row(row, what, console)?;
            }
        }
        Ok(())
    }

    fn row(&mut self, row: &Row, what: &str, console: &mut Console) -> Result<(), Failure> {
        let rate = per_second(row.per_second);
        let asked = asked(row).map(|it| format!(": {it}")).unwrap_or_default();
        console.line(format_args!(
            "{:>10}  {rate:>10}  {} {}{asked}",
            row.count,
            styled(if what == "refused" { BAD } else { ODD }, what),
            by(row),
        ))?;
        let opening = match &row.opening {
            Opening::RuleToAdd(rule) => format!("to open it, add:\n{rule}"),
            Opening::NoRule(why) => why.clone(),
        };
        if self.told.len() >= MOST_TOLD {
            self.told.clear();
        }
        if self.told.insert(opening.clone()) {
            for line in opening.lines() {
                console.line(styled(FRAME, format_args!("              {line}")))?;
            }
        }
        Ok(())
    }
}

/// What a source says in all.
fn heading(kind: &str, part: &Part, console: &mut Console) -> Result<(), Failure> {
    let policies = match part.policies.as_slice() {
        [] => String::new(),
        policies => format!(", policy {}", styled(NAME, policies.join(", "))),
    };
    console.line(format_args!("{kind} {}{policies}", part.source))?;
    if let Some(problem) = &part.problem {
        console.line(format_args!("  {}", styled(BAD, problem)))?;
    }
    for (what, flow) in flows(part) {
        console.line(format_args!("  {what}: {}", flow_text(flow)))?;
    }
    Ok(())
}

/// The flows that there is something to tell of; that of requests always.
pub(super) fn flows(part: &Part) -> impl Iterator<Item = (&'static str, &Flow)> {
    let all = [("requests", &part.requests), ("connections", &part.connections)];
    all.into_iter().filter(|(what, flow)| *what == "requests" || !flow.is_empty())
}

pub(super) fn flow_text(flow: &Flow) -> String {
    let Flow { allowed, denied, .. } = flow;
    let mut text = format!("{}, {allowed} allowed, {denied} denied", per_second(flow.per_second));
    for (count, what) in [
        (flow.without_verdict, "without a verdict"),
        (flow.would_be_denied, "would be denied"),
        (flow.would_be_allowed, "would be allowed"),
    ] {
        if count > 0 {
            text.push_str(&format!(", {count} {what}"));
        }
    }
    text
}

/// `12.5/s`; `-/s` where there is no rate yet.
pub(super) fn per_second(rate: Option<f64>) -> String {
    rate.map_or_else(|| "-/s".to_owned(), |rate| format!("{rate:.1}/s"))
}

/// Why it is refused: the reason, and the rule where there is one.
pub(super) fn by(row: &Row) -> String {
    let kind = if row.connection { "connection, " } else { "" };
    match (&row.judgement.rule, &*row.judgement.reason) {
        (Some(rule), "rule") => format!("{kind}by rule {rule}"),
        (Some(rule), reason) => format!("{kind}{reason} ({rule})"),
        (None, reason) => format!("{kind}{reason}"),
    }
}

/// What was asked for, and by whom, where a log says so.
pub(super) fn asked(row: &Row) -> Option<String> {
    let asked = row.asked.as_ref()?;
    let method = asked.method.as_deref().unwrap_or("TLS");
    let host = if asked.host.is_empty() { "(no server name)" } else { &asked.host };
    let port = asked.port.map(|port| format!(":{port}")).unwrap_or_default();
    let path = asked.path.as_deref().unwrap_or_default();
    let caller = asked.caller.as_ref().map(|it| format!(" by {it}")).unwrap_or_default();
    Some(format!("{method} {host}{port}{path}{caller}"))
}

pub(super) fn notes_of_counters(admin: &OfCounters) -> Vec<String> {
    let mut notes = Vec::new();
    if let Some(problem) = &admin.policies_problem {
        notes.push(format!("the policy is not known: {problem}"));
    }
    let is_known = |hash: &String| admin.part.policies.iter().any(|it| it.ends_with(hash.as_str()));
    for hash in admin.in_force.iter().filter(|hash| !is_known(hash)) {
        notes.push(match admin.part.policies.as_slice() {
            [] => format!("the hash of the policy in force is {hash}"),
            _ => format!("the policy in force has another hash, {hash}: see `verify`"),
        });
    }
    if admin.part.problem.is_none() && flows(&admin.part).all(|(_, flow)| flow.is_empty()) {
        notes.push("nothing is counted yet: a counter appears when it first counts".to_owned());
    }
    let times = [
        (admin.guard_refused, "times the guard refused something: see `verify`"),
        (admin.updates_rejected, "policies were refused by the proxy: see `verify`"),
        (admin.restarts, "times the counters began again: the proxy was restarted"),
    ];
    notes.extend(times.iter().filter(|it| it.0 > 0).map(|(count, what)| format!("{count} {what}")));
    notes
}

pub(super) fn notes_of_log(log: &OfLog) -> Vec<String> {
    let mut notes = Vec::new();
    if log.unread > 0 {
        notes.push(format!("lines that are not a logged request: {}", log.unread));
    }
    if log.others > 0 {
        notes.push(format!("refusals of too many hosts and callers to tell apart: {}", log.others));
    }
    if log.ended {
        notes.push("the log has ended".to_owned());
    }
    notes
}
