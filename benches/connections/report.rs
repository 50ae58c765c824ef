//! What came out: all of it as JSON, and what `docs/costs.md` shows as Markdown.

use std::fmt::Write as _;
use std::time::Duration;

use serde_json::{Value, json};

use crate::figure::Figure;
use crate::machine::Machine;
use crate::setup::Setup;

/// What one turn cost one set-up.
#[derive(Clone, Copy)]
pub(crate) struct Cost {
    pub(crate) cpu: Duration,
    pub(crate) connections: usize,
}

impl Cost {
    /// CPU microseconds a connection.
    fn microseconds(&self) -> f64 {
        self.cpu.as_secs_f64() * 1e6 / self.connections as f64
    }
}

/// One run.
pub(crate) struct Report {
    pub(crate) machine: Machine,
    /// Each set-up with its costs, a round each.
    pub(crate) costs: Vec<(Setup, Vec<Cost>)>,
}

/// What must not cost more than what else: the set-ups' keys, and the goal of their ratio.
const GOALS: [(&str, &str, &str, f64); 6] = [
    ("10,000 names / RBAC list of 10,000", "warden-10000", "lists-10000", 1.0),
    (
        "the last of 10,000 names / RBAC list, its last",
        "warden-10000-last",
        "lists-10000-last",
        1.0,
    ),
    ("10,000 names, refused / RBAC list of 10,000, refused", "denied", "lists-denied", 1.0),
    ("mutual TLS, 10,000 names / RBAC list of 10,000", "mutual", "mutual-lists", 1.0),
    ("100,000 names / 1 name", "warden-100000", "warden-1", 1.05),
    ("a refused connection / an allowed one", "denied", "warden-10000", 1.0),
];

impl Report {
    /// The figure that `of_round` makes, in each round, of the costs of set-ups by their keys.
    /// Ratios are taken in each round, so that what the machine does meanwhile cancels.
    fn by_round(&self, of_round: impl Fn(&dyn Fn(&str) -> f64) -> f64) -> Figure {
        let rounds = self.costs.first().map_or(0, |(_, costs)| costs.len());
        let cost = |key: &str, round: usize| {
            let costs = self.costs.iter().find(|(setup, _)| setup.key == key);
            costs.map_or(f64::NAN, |(_, costs)| costs[round].microseconds())
        };
        Figure::of((0..rounds).map(|round| of_round(&|key| cost(key, round))))
    }

    fn ratio(&self, one: &str, other: &str) -> Figure {
        self.by_round(|cost| cost(one) / cost(other))
    }

    pub(crate) fn json(&self) -> String {
        let setup = |(setup, costs): &(Setup, Vec<Cost>)| {
            json!({
                "key": setup.key,
                "title": setup.title,
                "microseconds_a_connection": self.by_round(|cost| cost(setup.key)).json(),
                "rounds": costs.iter().map(|cost| json!({
                    "cpu_nanoseconds": cost.cpu.as_nanos() as u64,
                    "connections": cost.connections,
                })).collect::<Value>(),
            })
        };
        let goal = |(name, one, other, bound): &(&str, &str, &str, f64)| {
            let figure = self.ratio(one, other);
            json!({"name": name, "bound": bound, "figure": figure.json(), "met": figure.median <= *bound})
        };
        let report = json!({
            "machine": self.machine.json(),
            "setups": self.costs.iter().map(setup).collect::<Value>(),
            "goals": GOALS.iter().map(goal).collect::<Value>(),
            "noise": self.ratio("none-again", "none").json(),
        });
        format!("{report:#}\n")
    }

    /// Tables to paste.
    pub(crate) fn markdown(&self) -> String {
        let Machine { cpu, cores, kernel, envoy, date, .. } = &self.machine;
        let rounds = self.costs.first().map_or(0, |(_, costs)| costs.len());
        let mut text = format!(
            "Envoy {envoy} with one worker, {rounds} rounds in which each set-up has {:?} of load in turn; \
             medians, and in brackets the middle half of the rounds; {cpu}, {cores} cores, Linux \
             {kernel}; {date}.\n\n",
            crate::TURN
        );
        text.push_str(
            "| ratio | goal | measured | (middle half) | |\n| --- | --- | --- | --- | --- |\n",
        );
        for (name, one, other, bound) in GOALS {
            let Figure { median, lower, upper, .. } = self.ratio(one, other);
            let outcome = if median <= bound { "met" } else { "not met" };
            let _ = writeln!(
                text,
                "| {name} | ≤ {bound:.2} | {median:.2} | ({lower:.2} to {upper:.2}) | {outcome} |"
            );
        }
        let Figure { median, lower, upper, .. } = self.ratio("none-again", "none");
        let _ = writeln!(
            text,
            "| no filter / another one: noise | | {median:.2} | ({lower:.2} to {upper:.2}) | |\n"
        );
        text.push_str("| set-up | CPU µs a connection | (middle half) | added to no filter |\n| --- | --- | --- | --- |\n");
        for (setup, _) in &self.costs {
            let Figure { median, lower, upper, .. } = self.by_round(|cost| cost(setup.key));
            let none = setup.without_filter();
            let added = self.by_round(|cost| cost(setup.key) - cost(none)).median;
            let added = if setup.key == none { String::new() } else { format!("{added:.0}") };
            let _ = writeln!(
                text,
                "| {} | {median:.0} | ({lower:.0} to {upper:.0}) | {added} |",
                setup.title
            );
        }
        text
    }
}
