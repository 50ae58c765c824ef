//! The state as it is shown: sorted, cut to what a person reads, and with nothing in it that a terminal obeys.

use super::counters::{Counted, Subject};
use super::meter::{Meter, Tops, Window};
use super::state::{self, Counters, Example, Log, Refused, State};
use crate::failure::Failure;
use crate::judgement::Judgement;
use crate::logs::{Tally, plain, shown_text};
use crate::opening;
use crate::policy_text::id_of;
use egress_warden::policy::{Action, Reason};
use serde::Serialize;
use std::time::SystemTime;

/// How many refusals of each list are told.
const ROWS: usize = 50;
/// How many policies are told.
const POLICIES: usize = 10;
/// How much of a problem is told, in characters.
const LONGEST: usize = 400;

/// What one look shows. The keys are stable.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Picture {
    /// When it was taken.
    pub(crate) time: String,
    /// Of the counters.
    pub(crate) admin: Option<OfCounters>,
    /// Of the log.
    pub(crate) log: Option<OfLog>,
}

/// What the counters say, since the proxy began.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct OfCounters {
    #[serde(flatten)]
    pub(crate) part: Part,
    /// The hashes of the policies in force, where the proxy has gauges for them.
    pub(crate) in_force: Vec<String>,
    /// Why the policies are not known.
    pub(crate) policies_problem: Option<String>,
    /// How often the proxy began again.
    pub(crate) restarts: u64,
    /// What the guards refused.
    pub(crate) guard_refused: u64,
    /// Policies that the proxy refused.
    pub(crate) updates_rejected: u64,
}

/// What the log says, since its beginning.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct OfLog {
    #[serde(flatten)]
    pub(crate) part: Part,
    /// Whether nothing more will come.
    pub(crate) ended: bool,
    /// Those whose names are not kept, since there are too many.
    pub(crate) others: u64,
    /// Lines that are no logged request.
    pub(crate) unread: u64,
    /// How the lines were read.
    pub(crate) lines: serde_json::Value,
}

/// What both say.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Part {
    pub(crate) source: String,
    /// Why the last look saw nothing; the rest is what was seen before.
    pub(crate) problem: Option<String>,
    /// The time that rates are over; without one there are none yet.
    pub(crate) seconds: Option<f64>,
    pub(crate) policies: Vec<String>,
    pub(crate) requests: Flow,
    pub(crate) connections: Flow,
    pub(crate) refused: Vec<Row>,
    pub(crate) would_be_refused: Vec<Row>,
}

/// Requests or connections by what was decided.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(crate) struct Flow {
    pub(crate) per_second: Option<f64>,
    pub(crate) allowed: u64,
    pub(crate) denied: u64,
    pub(crate) without_verdict: u64,
    pub(crate) would_be_allowed: u64,
    pub(crate) would_be_denied: u64,
}

impl Flow {
    /// Whether there is anything to tell.
    pub(crate) fn is_empty(&self) -> bool {
        self.allowed == 0 && self.denied == 0 && self.without_verdict == 0
    }
}

/// Refusals that are one.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Row {
    pub(crate) connection: bool,
    pub(crate) count: u64,
    pub(crate) per_second: Option<f64>,
    #[serde(flatten)]
    pub(crate) judgement: Judgement,
    /// What only a log knows.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub(crate) asked: Option<Asked>,
    #[serde(flatten)]
    pub(crate) opening: Opening,
}

/// What was asked for, and by whom.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Asked {
    pub(crate) host: String,
    pub(crate) port: Option<u16>,
    /// `None`: not verified.
    pub(crate) caller: Option<String>,
    /// Of the last one.
    pub(crate) method: Option<String>,
    pub(crate) path: Option<String>,
}

/// How to open it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Opening {
    /// By this rule.
    RuleToAdd(String),
    /// By no rule, for this reason.
    NoRule(String),
}

impl Picture {
    /// What there is to see now; `tally` is that of the log.
    pub(crate) fn of(state: &State, tally: Option<&Tally>) -> Self {
        Self {
            time: humantime::format_rfc3339_seconds(SystemTime::now()).to_string(),
            admin: state.counters.as_ref().map(OfCounters::of),
            log: state.log.as_ref().zip(tally).map(|(log, tally)| OfLog::of(log, tally)),
        }
    }

    /// The sources that there are.
    pub(crate) fn parts(&self) -> impl Iterator<Item = &Part> {
        let of_counters = self.admin.as_ref().map(|it| &it.part);
        of_counters.into_iter().chain(self.log.as_ref().map(|it| &it.part))
    }

    /// The source that knows most of what is refused.
    pub(crate) fn refusals(&self) -> Option<&Part> {
        self.parts().last()
    }
}

impl OfCounters {
    fn of(counters: &Counters) -> Self {
        let sum = |is: &dyn Fn(&Counted) -> bool| {
            let own = counters.meters.iter().filter(|(counted, _)| is(counted));
            own.map(|(_, meter)| meter.total()).fold(0, u64::saturating_add)
        };
        let rows = counters.meters.iter().filter_map(|(counted, meter)| {
            let (of, reason, rule) = refused_by(counted)?;
            Some((row_of_counter(of, reason, rule, meter, &counters.window), meter.recent()))
        });
        let mut rows: Vec<_> = rows.filter(|(row, _)| row.count > 0).collect();
        rows.sort_by(|(one, recent), (other, other_recent)| {
            (other_recent, other.count, &one.judgement).cmp(&(recent, one.count, &other.judgement))
        });
        Self {
            part: Part {
                source: counters.name.clone(),
                problem: counters.problem.as_ref().map(told),
                seconds: seconds(&counters.window),
                policies: counters.policies.iter().map(|it| shown_text(it)).collect(),
                requests: flow_of_counters(counters, Subject::Requests),
                connections: flow_of_counters(counters, Subject::Connections),
                refused: rows.into_iter().map(|(row, _)| row).take(ROWS).collect(),
                would_be_refused: Vec::new(),
            },
            in_force: counters.in_force.iter().cloned().collect(),
            policies_problem: counters.policies_problem.as_ref().map(told),
            restarts: counters.restarts,
            guard_refused: sum(&|it| matches!(it, Counted::Guard { .. })),
            updates_rejected: sum(&|it| *it == Counted::Rejected),
        }
    }
}

impl OfLog {
    fn of(log: &Log, tally: &Tally) -> Self {
        let policies = log.policies.by_frequency().into_iter();
        Self {
            part: Part {
                source: log.name.clone(),
                problem: log.problem.as_ref().map(told),
                seconds: seconds(&log.window),
                policies: policies.map(|(policy, ..)| policy.clone()).take(POLICIES).collect(),
                requests: flow_of_log(&log.requests, &log.window),
                connections: flow_of_log(&log.connections, &log.window),
                refused: rows_of_log(&log.refused, &log.window),
                would_be_refused: rows_of_log(&log.would_be_refused, &log.window),
            },
            ended: log.has_ended,
            others: log.refused.others().saturating_add(log.would_be_refused.others()),
            unread: tally.unread.lines,
            lines: serde_json::to_value(tally).unwrap_or_default(),
        }
    }
}

/// The reason, or the rule, of refusals that a counter counts. The reason `rule` says less than the rules do.
fn refused_by(counted: &Counted) -> Option<(Subject, Option<&str>, Option<&str>)> {
    let is_refusal = |action: &str| action == Action::Deny.as_str();
    match counted {
        Counted::Verdict { of, action, reason }
            if is_refusal(action) && reason != Reason::Rule.as_str() =>
        {
            Some((*of, Some(reason), None))
        }
        Counted::Rule { of, action, rule } if is_refusal(action) => Some((*of, None, Some(rule))),
        _ => None,
    }
}

fn row_of_counter(
    of: Subject,
    reason: Option<&str>,
    rule: Option<&str>,
    meter: &Meter,
    window: &Window,
) -> Row {
    let judgement = Judgement {
        decision: Action::Deny.as_str().into(),
        reason: reason.map_or_else(|| Reason::Rule.as_str().to_owned(), shown_text).into(),
        rule: rule.map(|rule| shown_text(rule).into()),
    };
    let unknown = "a rule can, and counters name no host: name the access log, too";
    let why = opening::obstacle(&judgement).map_or_else(|| unknown.to_owned(), |it| it.to_string());
    Row {
        connection: of == Subject::Connections,
        count: meter.total(),
        per_second: rate(meter, window),
        judgement,
        asked: None,
        opening: Opening::NoRule(why),
    }
}

fn rows_of_log(tops: &Tops<Refused, Example>, window: &Window) -> Vec<Row> {
    let row = |(refused, meter, example): (&Refused, &Meter, &Example)| Row {
        connection: refused.is_connection,
        count: meter.total(),
        per_second: rate(meter, window),
        judgement: refused.judgement.clone(),
        asked: Some(Asked {
            host: refused.host.clone(),
            port: refused.port,
            caller: refused.caller.clone(),
            method: example.method.clone(),
            path: example.path.clone(),
        }),
        opening: match &example.opening {
            Ok(opening) => Opening::RuleToAdd(opening.yaml(&id_of(opening.name()))),
            Err(why) => Opening::NoRule(why.clone()),
        },
    };
    tops.by_frequency().into_iter().take(ROWS).map(row).collect()
}

fn flow_of_counters(counters: &Counters, subject: Subject) -> Flow {
    let mut flow = Flow::default();
    let mut recent = 0_u64;
    for (counted, meter) in &counters.meters {
        let is_deny = |action: &str| action == Action::Deny.as_str();
        let sum = match counted {
            Counted::Verdict { of, action, .. } if *of == subject => {
                recent = recent.saturating_add(meter.recent());
                if is_deny(action) { &mut flow.denied } else { &mut flow.allowed }
            }
            Counted::Would { of, action } if *of == subject => {
                if is_deny(action) {
                    &mut flow.would_be_denied
                } else {
                    &mut flow.would_be_allowed
                }
            }
            _ => continue,
        };
        *sum = sum.saturating_add(meter.total());
    }
    flow.per_second = seconds(&counters.window).map(|seconds| rounded(recent as f64 / seconds));
    flow
}

fn flow_of_log(flow: &state::Flow, window: &Window) -> Flow {
    let all = [&flow.allowed, &flow.denied, &flow.without_verdict];
    let recent = all.iter().map(|it| it.recent()).fold(0, u64::saturating_add);
    Flow {
        per_second: seconds(window).map(|seconds| rounded(recent as f64 / seconds)),
        allowed: flow.allowed.total(),
        denied: flow.denied.total(),
        without_verdict: flow.without_verdict.total(),
        would_be_allowed: flow.would_be_allowed.total(),
        would_be_denied: flow.would_be_denied.total(),
    }
}

fn seconds(window: &Window) -> Option<f64> {
    let seconds = window.seconds();
    (seconds > 0.0).then_some(rounded(seconds)).filter(|it| *it > 0.0)
}

fn rate(meter: &Meter, window: &Window) -> Option<f64> {
    meter.per_second(window).map(rounded)
}

fn rounded(number: f64) -> f64 {
    (number * 1000.0).round() / 1000.0
}

/// A failure on one line. What a proxy answered may stand in it.
fn told(failure: &Failure) -> String {
    plain(&failure.to_string(), LONGEST)
}
