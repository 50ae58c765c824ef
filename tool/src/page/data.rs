//! The data of a page: what it tells of itself, and what the logs came to, as JSON that
//! `tool/page/src/data.js` reads.

use super::bounded::Seen;
use super::packed::Packed;
use super::traffic::{Classes, Flow, FlowSeen, Outcome, Traffic};
use crate::judgement::Judgement;
use crate::logs::Tally;
use crate::policy_file::{self, PolicyFile};
use crate::policy_text::{Ids, id_of};
use egress_warden::config::Config;
use egress_warden::policy::State;
use egress_warden::time::Time;
use serde::Serialize;
use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::io::{self, Write};

/// Most distinct outcomes in a page.
const MAX_OUTCOMES: usize = 20_000;
/// Most refused flows whose rule stands in a page.
const MAX_OPENINGS: usize = 5_000;
/// Most rules that a page lists as not used.
const MAX_UNUSED: usize = 5_000;
/// Most distinct requests in a page.
const MAX_ROWS: usize = 100_000;
/// Longest record of a request in a page, in bytes.
const MAX_RECORD: usize = 8 << 10;
/// Longest text of a policy that can be edited in a page, in bytes.
const MAX_POLICY: usize = 2 << 20;

/// What a page tells of itself.
#[derive(Debug)]
pub(crate) struct About<'a> {
    pub(crate) tally: &'a Tally,
    /// Why there is nothing to show, where that is so.
    pub(crate) empty: Option<String>,
    pub(crate) policy: Option<Policy<'a>>,
    /// As which connections are judged.
    pub(crate) root_id: String,
    /// Whether queries of requests stand in the page.
    pub(crate) with_queries: bool,
}

/// The policy by which the requests were judged.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Policy<'a> {
    pub(crate) file: &'a PolicyFile,
    pub(crate) config: &'a Config,
}

#[derive(Debug, Serialize)]
struct Head<'a> {
    version: &'static str,
    logs: Vec<&'a str>,
    caveat: Option<String>,
    empty: Option<&'a str>,
    origin: String,
    notes: Vec<String>,
    requests: u64,
    connections: u64,
    /// In milliseconds since 1970.
    time: Option<(u64, u64)>,
    classes: Classes,
    timeline: TimelineAnswer,
    policy: Option<PolicyAnswer<'a>>,
    root_id: &'a str,
    queries: bool,
}

#[derive(Debug, Serialize)]
struct TimelineAnswer {
    /// Length of a span.
    seconds: u64,
    /// The number of a span since 1970, and what is in it.
    spans: Vec<(u64, Classes)>,
    without_time: u64,
}

#[derive(Debug, Serialize)]
struct PolicyAnswer<'a> {
    /// Name and hash, as records have it.
    revision: &'a str,
    file: String,
    enforces: bool,
    rules: usize,
    unused: Vec<Unused<'a>>,
    unused_rules: usize,
    /// Absent where it is too long to be edited in a page.
    text: Option<Cow<'a, str>>,
}

/// A rule that no verdict names.
#[derive(Debug, Serialize)]
struct Unused<'a> {
    id: &'a str,
    action: &'static str,
    state: Option<&'static str>,
    until: Option<String>,
    /// `FILE:LINE:COLUMN`
    place: String,
}

/// What stands in a page.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) text: String,
    /// Requests that are not in it.
    pub(super) left_out: u64,
}

/// The data but for the distinct requests, in about so many characters.
pub(super) fn of_traffic(traffic: &Traffic, about: &About<'_>, max: usize) -> io::Result<Held> {
    let mut packed = Packed::new(max);
    packed.write_all(b"{\"head\":")?;
    serde_json::to_writer(&mut packed, &head(traffic, about))?;
    packed.write_all(b",\"outcomes\":[")?;
    let outcomes = write_outcomes(&mut packed, traffic)?;
    packed.write_all(b"],\"flows\":[")?;
    let left_out = write_flows(&mut packed, traffic, about, &outcomes)?;
    write!(packed, "],\"left_out\":{left_out}}}")?;
    Ok(Held { text: packed.finish()?, left_out })
}

/// The distinct requests, most frequent first: `[requests, first, last, record]`.
pub(super) fn of_records(traffic: &Traffic, max: usize) -> io::Result<Held> {
    let mut packed = Packed::new(max);
    let mut held = 0;
    packed.write_all(b"[")?;
    for (record, seen) in traffic.records.first(MAX_ROWS) {
        if !packed.has_room() {
            break;
        }
        if record.len() > MAX_RECORD {
            continue;
        }
        if held > 0 {
            packed.write_all(b",\n")?;
        }
        write!(packed, "[{},", seen.requests)?;
        for time in ends(seen) {
            serde_json::to_writer(&mut packed, &time)?;
            packed.write_all(b",")?;
        }
        write!(packed, "{record}]")?;
        held += seen.requests;
    }
    packed.write_all(b"]")?;
    Ok(Held { text: packed.finish()?, left_out: traffic.all.requests.saturating_sub(held) })
}

fn head<'a>(traffic: &Traffic, about: &'a About<'_>) -> Head<'a> {
    let tally = about.tally;
    let timeline = traffic.timeline.shown();
    let spans: Vec<_> = timeline.spans().map(|(span, classes)| (span, *classes)).collect();
    let dated: u64 = spans.iter().map(|(_, classes)| classes.total()).sum();
    let requests = traffic.all.requests;
    Head {
        version: env!("CARGO_PKG_VERSION"),
        logs: tally.names().collect(),
        caveat: tally.caveat(),
        empty: about.empty.as_deref(),
        origin: tally.origin(),
        notes: tally.notes(),
        requests,
        connections: tally.connections,
        time: traffic.all.time.map(|(first, last)| (milliseconds(first), milliseconds(last))),
        classes: traffic.classes,
        timeline: TimelineAnswer {
            seconds: timeline.seconds(),
            spans,
            without_time: requests.saturating_sub(dated),
        },
        policy: about.policy.map(|policy| policy_answer(policy, traffic)),
        root_id: &about.root_id,
        queries: about.with_queries,
    }
}

fn policy_answer<'a>(policy: Policy<'a>, traffic: &Traffic) -> PolicyAnswer<'a> {
    let Policy { file, config } = policy;
    let judgements = traffic.outcomes.iter().flat_map(|(it, _)| it.verdict.iter().chain(&it.would));
    let used: HashSet<&str> = judgements.filter_map(|it| it.rule.as_deref()).collect();
    let source = file.source();
    let sources = source.iter().flat_map(|source| &source.rules);
    let starts: HashMap<&str, usize> =
        sources.map(|rule| (rule.id, policy_file::place_of(rule).span.start)).collect();
    let rules = config.policy.rules();
    let unused: Vec<_> = rules.iter().filter(|rule| !used.contains(&*rule.id)).collect();
    PolicyAnswer {
        revision: &config.revision,
        file: file.title(),
        enforces: config.policy.enforces(),
        rules: rules.len(),
        unused_rules: unused.len(),
        unused: unused
            .into_iter()
            .take(MAX_UNUSED)
            .map(|rule| Unused {
                id: &rule.id,
                action: rule.action.as_str(),
                state: rule.state.map(|state| match state {
                    State::DryRun => "dry-run",
                    State::Retiring => "retiring",
                }),
                until: rule.until.map(|until| until.to_string()),
                place: starts.get(&*rule.id).map(|start| file.at(*start)).unwrap_or_default(),
            })
            .collect(),
        text: Some(file.own_text()).filter(|text| text.len() <= MAX_POLICY),
    }
}

/// Writes the outcomes, most frequent first, and gives those that are written. What a log says of rules and
/// reasons may be long.
fn write_outcomes<'t>(
    packed: &mut Packed,
    traffic: &'t Traffic,
) -> io::Result<Vec<(&'t Outcome, &'t Seen)>> {
    let mut held = Vec::new();
    for (outcome, seen) in traffic.outcomes.first(MAX_OUTCOMES) {
        if !packed.has_room_in_half() {
            break;
        }
        if !held.is_empty() {
            packed.write_all(b",\n")?;
        }
        serde_json::to_writer(&mut *packed, &outcome_row(outcome, seen))?;
        held.push((outcome, seen));
    }
    Ok(held)
}

/// `[decision, reason, rule]` of the verdict, of the would-be verdict, requests, first, last.
fn outcome_row<'a>(outcome: &'a Outcome, seen: &Seen) -> impl Serialize + use<'a> {
    let of = |judgement: &'a Option<Judgement>| {
        judgement.as_ref().map(|it| (&*it.decision, &*it.reason, it.rule.as_deref()))
    };
    let [first, last] = ends(seen);
    (of(&outcome.verdict), of(&outcome.would), seen.requests, first, last)
}

/// Writes the flows, most frequent first: `[caller, host, port, connection, outcome, requests, first, last,
/// opening]`. A caller and a host stand as text where they come first, and then by the number of that.
/// An opening is the text of a rule, or in a list why there is none. Says how many requests are left out.
fn write_flows(
    packed: &mut Packed,
    traffic: &Traffic,
    about: &About<'_>,
    outcomes: &[(&Outcome, &Seen)],
) -> io::Result<u64> {
    let numbers: HashMap<&Outcome, usize> =
        outcomes.iter().enumerate().map(|(number, (outcome, _))| (*outcome, number)).collect();
    let rules = about.policy.iter().flat_map(|policy| policy.config.policy.rules());
    let mut ids: Ids = rules.map(|rule| rule.id.to_string()).collect();
    let (mut callers, mut hosts) = (Names::default(), Names::default());
    let (mut held, mut openings) = (0, 0);
    for (flow, FlowSeen { seen, opening }) in traffic.flows.sorted() {
        let Flow { caller, host, port, is_connection, outcome } = flow;
        let Some(outcome) = numbers.get(outcome) else { continue };
        if !packed.has_room() {
            break;
        }
        let opening = opening.as_ref().filter(|_| openings < MAX_OPENINGS).map(|opening| {
            openings += 1;
            match &**opening {
                Ok(opening) => OpeningAnswer::Rule(opening.yaml(&ids.free(&id_of(opening.name())))),
                Err(obstacle) => OpeningAnswer::Obstacle([obstacle.to_string()]),
            }
        });
        if held > 0 {
            packed.write_all(b",\n")?;
        }
        let caller = caller.as_deref().map(|caller| callers.name(caller));
        let (host, connection) = (hosts.name(host), u8::from(*is_connection));
        let [first, last] = ends(seen);
        let row = (caller, host, port, connection, outcome, seen.requests, first, last, opening);
        serde_json::to_writer(&mut *packed, &row)?;
        held += seen.requests;
    }
    Ok(traffic.all.requests.saturating_sub(held))
}

#[derive(Debug, Serialize)]
#[serde(untagged)]
enum OpeningAnswer {
    Rule(String),
    Obstacle([String; 1]),
}

/// Texts by the number in which they came.
#[derive(Debug, Default)]
struct Names<'a>(HashMap<&'a str, usize>);

/// A text where it comes first, and then its number.
#[derive(Debug, Serialize)]
#[serde(untagged)]
enum NameAnswer<'a> {
    Text(&'a str),
    Number(usize),
}

impl<'a> Names<'a> {
    fn name(&mut self, text: &'a str) -> NameAnswer<'a> {
        let next = self.0.len();
        let number = *self.0.entry(text).or_insert(next);
        if number == next { NameAnswer::Text(text) } else { NameAnswer::Number(number) }
    }
}

/// The first and the last time, in milliseconds since 1970.
fn ends(seen: &Seen) -> [Option<u64>; 2] {
    let (first, last) = seen.time.unzip();
    [first, last].map(|time| time.map(milliseconds))
}

fn milliseconds(time: Time) -> u64 {
    u64::try_from(time.since_epoch().as_millis()).unwrap_or(u64::MAX)
}
