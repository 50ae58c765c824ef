//! What logs come to: totals, a timeline, who called which host with what verdict, and the distinct
//! requests.

use super::bounded::{Bounded, Counted, Key, Seen};
use super::timeline::Timeline;
use crate::judgement::Judgement;
use crate::logs::{self, Logged, LoggedVerdict};
use crate::opening::{Obstacle, Opening};
use egress_warden::config::Config;
use egress_warden::policy::{Action, Reads, Request};
use egress_warden::root_id::Connections;
use serde::Serialize;

/// Longest name that is told apart, in bytes. The filter's own line cuts there.
const MAX_NAME: usize = 1_024;

/// By what requests are judged.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Judge<'c> {
    /// The policy; without one the log's own verdicts count.
    pub(crate) config: Option<&'c Config>,
    pub(crate) connections: Connections,
    /// Whether the page holds the queries of requests.
    pub(crate) with_queries: bool,
}

/// The verdict on a request, and the would-be verdict where that lets pass what is refused now or the
/// reverse.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Outcome {
    /// `None`: the log has none, or the policy's depends on a time that the log does not have.
    pub(super) verdict: Option<Judgement>,
    pub(super) would: Option<Judgement>,
}

/// Requests by what becomes of them: allowed; allowed and would be refused; refused; refused and would be
/// allowed; without a verdict.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct Classes([u64; 5]);

impl Classes {
    pub(super) fn push(&mut self, class: usize) {
        self.count(class, 1);
    }

    fn count(&mut self, class: usize, requests: u64) {
        if let Some(count) = self.0.get_mut(class) {
            *count += requests;
        }
    }

    /// Adds what stands behind.
    pub(super) fn add(&mut self, behind: Self) {
        for (class, requests) in behind.0.into_iter().enumerate() {
            self.count(class, requests);
        }
    }

    pub(super) fn of(&self, class: usize) -> u64 {
        self.0.get(class).copied().unwrap_or_default()
    }

    pub(super) fn total(&self) -> u64 {
        self.0.iter().sum()
    }
}

impl Outcome {
    fn of(logged: &Logged<'_>, request: &Request<'_>, judge: Judge<'_>) -> Self {
        let Some(config) = judge.config else {
            return Self {
                verdict: logged.verdict_or_refusal().map(said),
                would: logged.would().map(said),
            };
        };
        match logs::decide(&config.policy, request) {
            Some(decision) => Self {
                verdict: Some(Judgement::new(decision.verdict, &config.policy)),
                would: decision.would.map(|would| Judgement::new(would, &config.policy)),
            },
            None => Self::default(),
        }
    }

    /// Its place in [`Classes`].
    pub(super) fn class(&self) -> usize {
        let of = |judgement: &Option<Judgement>| judgement.as_ref().map(is_denied);
        match (of(&self.verdict), of(&self.would)) {
            (Some(false), Some(true)) => 1,
            (Some(false), _) => 0,
            (Some(true), Some(false)) => 3,
            (Some(true), _) => 2,
            (None, _) => 4,
        }
    }

    /// What is refused, or would be.
    fn refusal(&self) -> Option<&Judgement> {
        self.verdict.iter().chain(&self.would).find(|it| is_denied(it))
    }
}

/// A verdict as a log says it, which may be at any length.
fn said(verdict: LoggedVerdict<'_>) -> Judgement {
    Judgement {
        decision: verdict.action.as_str().into(),
        reason: cut(verdict.reason).into(),
        rule: verdict.rule.map(|rule| cut(rule).into()),
    }
}

fn is_denied(judgement: &Judgement) -> bool {
    &*judgement.decision == Action::Deny.as_str()
}

impl Key for Outcome {
    fn bytes(&self) -> usize {
        let of = |it: &Judgement| it.reason.len() + it.rule.as_ref().map_or(0, |rule| rule.len());
        size_of::<Self>() + self.verdict.iter().chain(&self.would).map(of).sum::<usize>()
    }
}

/// Requests of one caller to one host and port with one outcome.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Flow {
    /// `None`: not verified.
    pub(super) caller: Option<Box<str>>,
    /// The canonical host, or what was sent where that is none; empty for a connection without a server
    /// name.
    pub(super) host: Box<str>,
    /// `None`: unknown.
    pub(super) port: Option<u16>,
    pub(super) is_connection: bool,
    pub(super) outcome: Outcome,
}

impl Key for Flow {
    fn bytes(&self) -> usize {
        let caller = self.caller.as_ref().map_or(0, |it| it.len());
        size_of::<Self>() + caller + self.host.len() + self.outcome.bytes()
    }
}

/// How often a flow was seen, and what would open the way to it where it is refused or would be.
#[derive(Debug, Default)]
pub(super) struct FlowSeen {
    pub(super) seen: Seen,
    pub(super) opening: Option<Box<Result<Opening, Obstacle>>>,
}

impl FlowSeen {
    /// Whether the way to this request is open by the rule already.
    fn is_open_to(&self, request: &Request<'_>) -> bool {
        matches!(self.opening.as_deref(), Some(Ok(opening)) if opening.covers(request))
    }

    fn open(&mut self, opening: Result<Opening, Obstacle>) {
        match (self.opening.as_deref_mut(), opening) {
            (Some(Ok(own)), Ok(other)) => own.join(&other),
            // That some can be opened counts more than that others cannot.
            (None, opening) | (Some(Err(_)), opening @ Ok(_)) => {
                self.opening = Some(Box::new(opening));
            }
            (Some(_), Err(_)) => {}
        }
    }
}

impl Counted for FlowSeen {
    fn add(&mut self, behind: Self) {
        self.seen.add(behind.seen);
        if let Some(opening) = behind.opening {
            self.open(*opening);
        }
    }

    fn requests(&self) -> u64 {
        self.seen.requests
    }

    fn bytes(&self) -> usize {
        // A rule holds a few short lists.
        size_of::<Self>() + if self.opening.is_some() { 1_500 } else { 0 }
    }
}

/// What logs come to. A chunk of a log counts no outcomes: they are those of its flows.
#[derive(Debug, Default)]
pub(crate) struct Traffic {
    pub(super) all: Seen,
    pub(super) classes: Classes,
    pub(super) timeline: Timeline,
    pub(super) outcomes: Bounded<Outcome, Seen>,
    pub(super) flows: Bounded<Flow, FlowSeen>,
    /// By the record of a request without its time, see [`Logged::record`].
    pub(super) records: Bounded<Box<str>, Seen>,
}

impl Traffic {
    /// Takes one request.
    pub(crate) fn push(&mut self, logged: &Logged<'_>, judge: Judge<'_>) {
        let reads = judge.config.map_or_else(Reads::default, |config| config.policy.reads());
        let request = logged.request(reads, judge.connections);
        let outcome = Outcome::of(logged, &request, judge);
        let (time, class) = (logged.time(), outcome.class());
        self.all.push(time);
        self.classes.push(class);
        if let Some(time) = time {
            self.timeline.push(time, class);
        }
        let record = match judge.with_queries {
            true => logged.record(),
            false => logged.record_without_query(),
        };
        self.records.entry(record.into()).push(time);
        let host = match &request.authority {
            Ok(authority) => authority.host.canonical(),
            Err(_) if judge.with_queries => cut(logged.authority()).into(),
            Err(_) => cut(logs::without_secrets(logged.authority())).into(),
        };
        let refusal = outcome.refusal().cloned();
        let flow = self.flows.entry(Flow {
            caller: request.principal.map(|it| cut(it).into()),
            host: host.into(),
            port: request.port(),
            is_connection: logged.is_connection(),
            outcome,
        });
        flow.seen.push(time);
        if let Some(refusal) = refusal.filter(|_| !flow.is_open_to(&request)) {
            flow.open(Opening::of(&request, &refusal));
        }
    }

    /// Adds what stands behind.
    pub(crate) fn add(&mut self, behind: Self) {
        self.all.add(behind.all);
        self.classes.add(behind.classes);
        self.timeline.add(behind.timeline);
        let mut outcomes = Bounded::<Outcome, Seen>::default();
        for (flow, FlowSeen { seen, .. }) in behind.flows.iter() {
            outcomes.entry(flow.outcome.clone()).add(*seen);
        }
        self.outcomes.add(outcomes);
        self.flows.add(behind.flows);
        self.records.add(behind.records);
    }

    /// How many requests are allowed, refused, and without a verdict.
    pub(crate) fn decided(&self) -> [u64; 3] {
        let of = |class| self.classes.of(class);
        [of(0) + of(1), of(2) + of(3), of(4)]
    }

    /// How many requests are allowed that would be refused.
    pub(crate) fn would_be_refused(&self) -> u64 {
        self.classes.of(1)
    }
}

/// The start of a name.
fn cut(name: &str) -> String {
    match name.get(..name.floor_char_boundary(MAX_NAME)) {
        Some(start) if start.len() < name.len() => format!("{start}…"),
        _ => name.to_owned(),
    }
}
