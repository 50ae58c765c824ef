//! What came out: all of it as JSON, and what `docs/costs.md` shows as Markdown.

use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::caller::MORE_HEADERS;
use crate::counting::{Cost, Counted, Schedule};
use crate::figure::Figure;
use crate::machine::Machine;

/// One run.
pub(crate) struct Report {
    pub(crate) machine: Machine,
    pub(crate) schedule: Schedule,
    pub(crate) costs: Vec<Cost>,
}

/// What must not cost more than what else, and the goal of their ratio. The guard is left out on both
/// sides.
const GOALS: [(&str, Counted, Counted, f64); 8] = [
    (
        "whole job in a dynamic module / native trio, 10,000 hosts",
        ("module-10000", 0),
        ("native-10000", 0),
        1.0,
    ),
    (
        "the same, ten more headers",
        ("module-10000", MORE_HEADERS),
        ("native-10000", MORE_HEADERS),
        1.0,
    ),
    ("whole job / native trio, 10,000 hosts", ("warden-10000", 0), ("native-10000", 0), 1.12),
    (
        "the same, ten more headers",
        ("warden-10000", MORE_HEADERS),
        ("native-10000", MORE_HEADERS),
        1.12,
    ),
    ("whole job / AuthorizationPolicy list, 100 hosts", ("warden-100", 0), ("lists-100", 0), 0.85),
    (
        "whole job / AuthorizationPolicy list, the last of 100 hosts",
        ("warden-100", 0),
        ("lists-100-last", 0),
        0.85,
    ),
    ("100,000 hosts / 1 host", ("warden-100000", 0), ("warden-1", 0), 1.01),
    ("100,000 hosts / 1 host in a dynamic module", ("module-100000", 0), ("module-1", 0), 1.01),
];

/// A goal, and how it stands.
struct Goal {
    name: &'static str,
    bound: f64,
    ratio: f64,
}

impl Goal {
    fn is_met(&self) -> bool {
        self.ratio <= self.bound
    }
}

impl Report {
    /// The goals whose set-ups were counted.
    fn goals(&self) -> impl Iterator<Item = Goal> {
        GOALS.into_iter().filter_map(|(name, one, other, bound)| {
            Some(Goal { name, bound, ratio: self.cost(one)? / self.cost(other)? })
        })
    }

    /// Whether no goal is missed.
    pub(crate) fn meets_goals(&self) -> bool {
        self.goals().all(|goal| goal.is_met())
    }

    fn cost(&self, counted: Counted) -> Option<f64> {
        let cost = self.costs.iter().find(|cost| cost.counted == counted);
        cost.map(|cost| cost.instructions.median)
    }

    pub(crate) fn json(&self) -> String {
        let cost = |cost: &Cost| {
            json!({
                "key": cost.setup.key,
                "title": cost.setup.title,
                "more_headers": cost.counted.1,
                "instructions_a_request": cost.instructions.json(),
            })
        };
        let goal = |goal: Goal| json!({"name": goal.name, "bound": goal.bound, "ratio": goal.ratio, "met": goal.is_met()});
        let report = json!({
            "machine": self.machine.json(),
            "rounds": self.schedule.rounds,
            "requests_a_round": self.schedule.requests,
            "setups": self.costs.iter().map(cost).collect::<Value>(),
            "goals": self.goals().map(goal).collect::<Value>(),
        });
        format!("{report:#}\n")
    }

    /// Tables to paste.
    pub(crate) fn markdown(&self) -> String {
        let Machine { cpu, kernel, envoy, rust, programs, date, .. } = &self.machine;
        let Schedule { rounds, requests, .. } = &self.schedule;
        let programs: String =
            programs.iter().map(|(name, version)| format!(", {name} {version}")).collect();
        let mut text = format!(
            "Envoy {envoy} with one worker, {rounds} rounds of {requests} requests on one connection; thousands \
             of instructions, medians, and in brackets the least and the greatest round; {cpu}, Linux {kernel}; \
             Rust {rust}{programs}; {date}.\n\n| ratio | goal | counted | |\n| --- | --- | --- | --- |\n"
        );
        for goal in self.goals() {
            let Goal { name, bound, ratio } = goal;
            let outcome = if goal.is_met() { "met" } else { "not met" };
            let _ = writeln!(text, "| {name} | ≤ {bound:.2} | {ratio:.3} | {outcome} |");
        }
        let _ = writeln!(
            text,
            "\n| set-up | thousands of instructions a request | (least to greatest) |\n| --- | --- | --- |"
        );
        for cost in &self.costs {
            let Figure { median, min, max, .. } = cost.instructions;
            let [median, min, max] = [median, min, max].map(|value| value / 1e3);
            let title = cost.setup.title;
            let more = if cost.counted.1 > 0 { ", ten more headers" } else { "" };
            let _ = writeln!(text, "| {title}{more} | {median:.1} | ({min:.1} to {max:.1}) |");
        }
        text
    }
}
