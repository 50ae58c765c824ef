//! What came out: all of it as JSON, and what `docs/costs.md` shows as Markdown.

use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::figure::Figure;
use crate::goals::{self, Unit};
use crate::load::Loads;
use crate::machine::Machine;
use crate::module::Sizes;
use crate::rounds::{Cost, Schedule};
use crate::setup::Setup;

/// One run.
pub(crate) struct Report {
    pub(crate) machine: Machine,
    pub(crate) schedule: Schedule,
    /// Each set-up with its costs, a round each.
    pub(crate) costs: Vec<(Setup, Vec<Cost>)>,
    pub(crate) loads: Loads,
    pub(crate) module: Sizes,
}

impl Report {
    /// The figure that `of_round` makes, in each round, of the costs of set-ups by their keys.
    pub(crate) fn by_round(&self, of_round: impl Fn(&dyn Fn(&str) -> f64) -> f64) -> Figure {
        Figure::of(
            (0..self.schedule.starts * self.schedule.rounds)
                .map(|round| of_round(&|key| self.microseconds(key, round))),
        )
    }

    /// How many times as much as `other` the set-up `one` adds to no filter.
    ///
    /// Of the rounds after each start, as what is added is little: in a single round its noise may
    /// be as large, and the ratio anything.
    pub(crate) fn added_by_start(&self, one: &str, other: &str) -> Figure {
        let Schedule { starts, rounds, .. } = self.schedule;
        Figure::of((0..starts).map(|start| {
            let [one, other] = [one, other].map(|key| {
                let rounds = start * rounds..(start + 1) * rounds;
                let added = rounds
                    .map(|round| self.microseconds(key, round) - self.microseconds("none", round));
                Figure::of(added).median
            });
            one / other
        }))
    }

    fn microseconds(&self, key: &str, round: usize) -> f64 {
        let costs = self.costs.iter().find(|(setup, _)| setup.key == key);
        costs.map_or(f64::NAN, |(_, costs)| costs[round].microseconds())
    }

    /// CPU microseconds a request of the set-up `key`.
    pub(crate) fn cost(&self, key: &str) -> Figure {
        self.by_round(|cost| cost(key))
    }

    pub(crate) fn json(&self) -> String {
        let setup = |(setup, costs): &(Setup, Vec<Cost>)| {
            json!({
                "key": setup.key,
                "title": setup.title,
                "microseconds_a_request": self.cost(setup.key).json(),
                "rounds": costs.iter().map(Cost::json).collect::<Value>(),
            })
        };
        let report = json!({
            "machine": self.machine.json(),
            "starts": self.schedule.starts,
            "rounds_a_start": self.schedule.rounds,
            "milliseconds_a_turn": self.schedule.turn.as_millis() as u64,
            "setups": self.costs.iter().map(setup).collect::<Value>(),
            "goals": goals::all(self).iter().map(goals::Goal::json).collect::<Value>(),
            "noise": goals::noise(self).json(),
            "loads": self.loads.json(),
            "module": self.module.json(),
        });
        format!("{report:#}\n")
    }

    /// Tables to paste.
    pub(crate) fn markdown(&self) -> String {
        let mut text = self.heading();
        text.push_str(&self.goal_table());
        text.push_str(&self.cost_table());
        text.push_str(&self.load_table());
        text
    }

    fn heading(&self) -> String {
        let Machine { cpu, cores, kernel, envoy, rust, programs, date } = &self.machine;
        let Schedule { starts, rounds, turn, .. } = &self.schedule;
        let rounds = starts * rounds;
        let programs: String =
            programs.iter().map(|(name, version)| format!(", {name} {version}")).collect();
        format!(
            "Envoy {envoy} with one worker, {rounds} rounds in which each set-up has {turn:?} of load in turn, \
             started anew {starts} times; medians, and in brackets the middle half of the rounds; {cpu}, \
             {cores} cores, Linux {kernel}; Rust {rust}{programs}; {date}.\n\n"
        )
    }

    fn goal_table(&self) -> String {
        let mut text = String::from(
            "| figure | goal | measured | (middle half) | |\n| --- | --- | --- | --- | --- |\n",
        );
        for goal in goals::all(self) {
            let unit = goal.unit;
            let Figure { median, lower, upper, .. } = goal.figure;
            let [median, lower, upper, bound] =
                [median, lower, upper, goal.bound].map(|value| unit.write(value));
            let range =
                if lower == upper { String::new() } else { format!("({lower} to {upper})") };
            let outcome = if goal.is_met() { "met" } else { "not met" };
            let _ =
                writeln!(text, "| {} | ≤ {bound} | {median} | {range} | {outcome} |", goal.name);
        }
        let Figure { median, lower, upper, .. } = goals::noise(self);
        let _ = writeln!(
            text,
            "| no filter / another one: noise | | {median:.2} | ({lower:.2} to {upper:.2}) | |"
        );
        text + "\n"
    }

    fn cost_table(&self) -> String {
        let mut text = String::from(
            "| set-up | CPU µs a request | (middle half) | least to greatest | added to no filter |\n| --- | --- | --- | --- | --- |\n",
        );
        for (setup, _) in &self.costs {
            let cost = self.cost(setup.key);
            // Mutual TLS has no counterpart without a filter.
            let added = if setup.key == "none" || setup.is_mutual_tls {
                String::new()
            } else {
                let added = self.by_round(|cost| cost(setup.key) - cost("none"));
                format!("{:.1}", added.median)
            };
            let Figure { median, lower, upper, min, max } = cost;
            let _ = writeln!(
                text,
                "| {} | {median:.1} | ({lower:.1} to {upper:.1}) | {min:.1} to {max:.1} | {added} |",
                setup.title
            );
        }
        text + "\n"
    }

    fn load_table(&self) -> String {
        let mut text = String::from(
            "| 100,000 hosts in V8, one VM | measured | (middle half) |\n| --- | --- | --- |\n",
        );
        for (name, figure) in [
            ("compiling and instantiating the module", self.loads.vm()),
            ("the first policy", self.loads.first()),
            ("a reload", self.loads.reload()),
        ] {
            let [median, min, max] = [figure.median, figure.min, figure.max]
                .map(|value| Unit::Milliseconds.write(value));
            let _ = writeln!(text, "| {name} | {median} | {min} to {max} |");
        }
        for (reloads, size) in self.loads.memory() {
            let size = Unit::Mebibytes.write(*size);
            let _ = match reloads {
                0 => writeln!(text, "| linear memory with the first policy | {size} | |"),
                _ => writeln!(text, "| linear memory after {reloads} reloads | {size} | |"),
            };
        }
        text
    }
}
