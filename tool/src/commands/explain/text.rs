//! An account of one request or connection, for people.

use super::account::{Account, STEPS, by};
use crate::console::{BAD, FRAME, GOOD, NAME, ODD, styled};
use crate::document::quoted;
use egress_warden::place::Place;
use egress_warden::policy::{
    Action, Attempt, Dialled, FieldMiss, Miss, Port, Reason, Scope, Verdict,
};
use egress_warden_simulate::{Headers, Subject, shown};
use std::fmt::Display;

/// Most rules that are shown.
const SHOWN: usize = 50;

/// Everything, as lines.
pub(super) fn of(account: &Account<'_>) -> String {
    let mut page = Page(Vec::new());
    verdict(account, &mut page);
    subject(account, &mut page);
    steps(account, &mut page);
    candidates(account, &mut page);
    consequences(account, &mut page);
    page.0.join("\n")
}

struct Page(Vec<String>);

impl Page {
    fn head(&mut self, head: impl Display) {
        self.0.push(styled(NAME, head).to_string());
    }

    fn row(&mut self, key: impl Display, value: impl Display) {
        self.0.push(format!("  {:<10} {value}", key.to_string()));
    }
}

fn verdict(account: &Account<'_>, page: &mut Page) {
    let said = |kind: &str| {
        let (decision, prefix) = match kind {
            "" => ("decision", String::new()),
            _ => (kind, format!("{kind}_")),
        };
        let decision = account.simulated.recorded(decision)?;
        let style = if decision == "allow" { GOOD } else { BAD };
        let rule = account.simulated.recorded(&format!("{prefix}rule"));
        let reason = account.simulated.recorded(&format!("{prefix}reason")).unwrap_or_default();
        let by = match rule {
            Some(rule) if reason == "rule" => format!("by rule {}", styled(NAME, rule)),
            Some(rule) => format!("{reason}: rule {}", styled(NAME, rule)),
            None => reason.to_owned(),
        };
        Some(format!("{} {by}", styled(style, decision)))
    };
    let unknown = |verdict: Option<Verdict>| {
        let facts = account.unknown(&verdict?);
        (!facts.is_empty()).then(|| {
            let facts = facts.join(", ");
            format!("  unknown: {facts} (if a condition cannot be evaluated, a deny rule matches)")
        })
    };
    let judged = account.trace().map(|trace| trace.decision);
    let policy = account.simulated.recorded("policy").unwrap_or_default();
    let decision = said("").unwrap_or_default();
    page.0.push(format!("{decision}  ({policy})"));
    page.0.extend(unknown(judged.map(|judged| judged.verdict)));
    if let Some(would) = said("would") {
        page.0.push(format!("{} {would}", styled(ODD, "would be:")));
        page.0.extend(unknown(judged.and_then(|judged| judged.would)));
    }
}

fn subject(account: &Account<'_>, page: &mut Page) {
    let (kind, nothing) = match account.subject {
        Subject::Request(_) => ("request", "no authority"),
        Subject::Connection(_) => ("connection", "no server name"),
    };
    page.head(kind);
    match (account.subject.authority(account.connections), account.subject.sent_host().map(shown)) {
        (Some(Ok(authority)), Some(sent)) => {
            let host = authority.host.canonical();
            let from = match sent.as_str() {
                "" => " (no server name)".to_owned(),
                sent if *host == *sent => String::new(),
                sent => format!(" (sent: `{sent}`)"),
            };
            let special = if authority.host.is_special() { ", which a rule must name" } else { "" };
            page.row("host", format_args!("{host}{special}{from}"));
        }
        (Some(Err(malformed)), Some(sent)) if !sent.is_empty() => {
            page.row("host", format_args!("malformed: `{sent}`: {malformed}"));
        }
        _ => page.row("host", format_args!("malformed: {nothing}")),
    }
    if account.subject.place() == Place::Waypoint {
        page.row("dialled", dialled(account));
    }
    method_and_path(account, page);
    let port = match account.trace().and_then(|trace| trace.port) {
        Some(Port::Known(port)) => port.to_string(),
        Some(Port::Unsaid) => {
            "unknown: neither the route nor the authority names one (`--port` names the route's)"
                .to_owned()
        }
        Some(Port::Conflict) => "unknown: authority and route disagree".to_owned(),
        None => "not asked".to_owned(),
    };
    page.row("port", port);
    let caller = account.subject.principal();
    page.row(
        "caller",
        caller.unwrap_or("unknown: no verified certificate (`--principal` names one)"),
    );
    if account.config.policy.reads().clock {
        page.row("time", account.at);
    }
}

/// Where a waypoint sends it.
fn dialled(account: &Account<'_>) -> String {
    match account.trace().map(|trace| &trace.dialled) {
        Some(Dialled::Named) => "the same host".to_owned(),
        Some(Dialled::Host(host)) => format!("another: {}", host.canonical()),
        Some(Dialled::Other) => {
            "another: one under a wildcard that does not cover this host".to_owned()
        }
        Some(Dialled::Unsaid) | None => "unknown: the cluster names no host".to_owned(),
    }
}

fn method_and_path(account: &Account<'_>, page: &mut Page) {
    let Some((method, path)) = account.subject.method_and_path() else {
        return page.row("method", "unknown, and so is the path: they are inside the TLS");
    };
    page.row("method", method);
    match account.trace().filter(|trace| trace.port.is_some()).map(|trace| &trace.path) {
        None => page.row("path", path),
        Some(Some([sent, lenient])) if sent == lenient => page.row("path", path),
        Some(Some([_, lenient])) => {
            page.row(
                "path",
                format_args!("{path} (read leniently: `{}`)", shown(lenient.as_bytes())),
            );
        }
        Some(None) => {
            page.row("path", format_args!("{path} (unclear: conditions on it are unknown)"));
        }
    }
}

fn steps(account: &Account<'_>, page: &mut Page) {
    let Some(verdict) = account.judged() else { return };
    let monitors =
        account.trace().is_some_and(|trace| trace.decision.verdict.reason == Reason::Monitor);
    page.head(if monitors { "steps (reported, not enforced)" } else { "steps" });
    let decided = account.step(&verdict);
    for (number, asks) in (1..).zip(STEPS).take(decided) {
        let outcome = match verdict.rule {
            _ if number < decided => "does not apply".to_owned(),
            Some(rule) => {
                format!("{}: {}", account.id(rule), in_words(verdict.action, verdict.reason))
            }
            None => in_words(verdict.action, verdict.reason),
        };
        page.0.push(format!("  {number} {asks:<34} {outcome}"));
    }
}

fn in_words(action: Action, reason: Reason) -> String {
    match reason {
        Reason::Rule => action.as_str().to_owned(),
        reason => format!("{} {}", action.as_str(), reason.as_str()),
    }
}

fn candidates(account: &Account<'_>, page: &mut Page) {
    let Some(trace) = account.trace().filter(|trace| !trace.attempts.is_empty()) else { return };
    page.head("rules for this host");
    for (candidate, patterns) in trace.attempts.iter().zip(account.patterns()).take(SHOWN) {
        let id = account.id(candidate.rule);
        let entry = match (candidate.destination, candidate.scope) {
            (Some(entry), None | Some(Scope::Exact)) => {
                format!("to[{entry}], {}", by(candidate.scope))
            }
            (Some(entry), scope) => {
                format!(
                    "to[{entry}], {} {}",
                    by(scope),
                    cut(&patterns.hosts, |host| format!("`{host}`"))
                )
            }
            (None, scope) => by(scope).to_owned(),
        };
        let host = if candidate.is_dialled { ", the host that is dialled" } else { "" };
        let state = match candidate.counts {
            [true, false] => ", retiring",
            [false, true] => ", dry run",
            _ => "",
        };
        page.0.push(format!(
            "  {id} ({}, {entry}{host}{state})  {}",
            account.action(candidate.rule).as_str(),
            styled(FRAME, account.place(candidate.rule)),
        ));
        let lines = outcome(account, candidate, &patterns.paths);
        page.0.extend(lines.into_iter().map(|line| format!("    {line}")));
    }
    let more = trace.attempts.len().saturating_sub(SHOWN);
    if more > 0 {
        page.0.push(format!("  … and {more} more"));
    }
}

/// Whether a rule matches and why, a line for each of its conditions that has a part in that.
fn outcome(account: &Account<'_>, candidate: &Attempt, paths: &[&str]) -> Vec<String> {
    let field = |miss: &FieldMiss| {
        let why = match (miss.is_unknown, account.action(candidate.rule)) {
            (false, _) => "no",
            (true, Action::Allow) => "unknown, so an allow rule does not match",
            (true, Action::Deny) => "unknown, so a deny rule matches",
        };
        let asked = account.asked(candidate.rule, miss);
        format!("{}[{}].{}: {asked}: {why}", miss.list, miss.entry, miss.field)
    };
    match &candidate.miss {
        None if candidate.has_ended => vec!["would match, but has ended".to_owned()],
        None => {
            let matches = std::iter::once(styled(GOOD, "matches").to_string());
            let entry = candidate.destination.filter(|_| !paths.is_empty());
            let paths =
                entry.map(|entry| format!("to[{entry}].paths: {}: yes", cut(paths, quoted)));
            matches.chain(paths).chain(candidate.unspared.iter().map(field)).collect()
        }
        Some(Miss::Ended) => vec!["has ended".to_owned()],
        Some(Miss::HostNotNamed) => vec!["does not name this address or special name".to_owned()],
        Some(Miss::ConnectNotNamed) => vec!["does not name CONNECT under `methods`".to_owned()],
        Some(Miss::DialledHost) => vec!["does not allow the host that is dialled".to_owned()],
        Some(Miss::Fields(misses)) => misses.iter().map(field).collect(),
    }
}

/// Texts, of many only the first.
fn cut(texts: &[&str], quote: impl Fn(&str) -> String) -> String {
    const SHOWN: usize = 3;
    let shown: Vec<_> = texts.iter().take(SHOWN).map(|it| quote(it)).collect();
    let more = if texts.len() > SHOWN { ", …" } else { "" };
    format!("{}{more}", shown.join(", "))
}

fn consequences(account: &Account<'_>, page: &mut Page) {
    let simulated = &account.simulated;
    if simulated.passed {
        let (gone, come) = changes(&simulated.arrived, &simulated.headers);
        if !gone.is_empty() || !come.is_empty() {
            page.head("headers");
        }
        for header in gone {
            page.0.push(format!("  - {header}"));
        }
        for header in come {
            page.0.push(format!("  + {header}"));
        }
    }
    if let Some(answer) = simulated.answer() {
        page.head("answer");
        match answer.grpc_status {
            Some(status) => page.row("grpc", format_args!("{status} {}", shown(&answer.body))),
            None => page.row(answer.status, String::from_utf8_lossy(&answer.body)),
        }
    }
    if let (Subject::Connection(_), false) = (account.subject, simulated.passed) {
        page.head("answer");
        page.row("none", "the connection is closed");
    }
    page.head("record");
    let width = simulated.prefix.len().saturating_add("would_reason".len());
    for (key, value) in simulated.record() {
        page.0.push(format!("  {key:<width$} {value}"));
    }
    if let Some((level, line)) = simulated.line() {
        page.row(format!("log, {}", level.as_str().to_ascii_lowercase()), line);
    }
}

/// The headers that do not leave, and those that leave and did not come.
fn changes(arrived: &Headers, headers: &Headers) -> (Vec<String>, Vec<String>) {
    let line = |(name, value): &(Vec<u8>, Vec<u8>)| format!("{}: {}", shown(name), shown(value));
    let missing = |from: &Headers, within: &Headers| -> Vec<String> {
        from.iter().filter(|header| !within.contains(header)).map(line).collect()
    };
    (missing(arrived, headers), missing(headers, arrived))
}
