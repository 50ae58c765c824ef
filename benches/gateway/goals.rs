//! The figures that the project promises, each with its goal.

use serde_json::{Value, json};

use crate::decide;
use crate::figure::Figure;
use crate::report::Report;

/// One figure, and the greatest value that it may have.
pub(crate) struct Goal {
    pub(crate) name: String,
    pub(crate) unit: Unit,
    pub(crate) bound: f64,
    pub(crate) figure: Figure,
}

/// What a figure counts.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Unit {
    Times,
    Percent,
    Milliseconds,
    Mebibytes,
    Kilobytes,
    Nanoseconds,
}

impl Goal {
    pub(crate) fn is_met(&self) -> bool {
        self.figure.median <= self.bound
    }

    pub(crate) fn json(&self) -> Value {
        json!({
            "name": self.name,
            "unit": format!("{:?}", self.unit).to_lowercase(),
            "bound": self.bound,
            "figure": self.figure.json(),
            "met": self.is_met(),
        })
    }
}

impl Unit {
    pub(crate) fn write(self, value: f64) -> String {
        match self {
            Self::Times => format!("{value:.2}"),
            Self::Percent => format!("{value:.1} %"),
            Self::Milliseconds => format!("{value:.0} ms"),
            Self::Mebibytes => format!("{value:.1} MiB"),
            Self::Kilobytes => format!("{value:.0} kB"),
            Self::Nanoseconds => format!("{value:.0} ns"),
        }
    }
}

/// Every goal. Ratios of costs are taken in each round, so that what the machine does meanwhile
/// cancels.
pub(crate) fn all(report: &Report) -> Vec<Goal> {
    let goal =
        |name: &str, unit, bound, figure| Goal { name: name.to_owned(), unit, bound, figure };
    let ratio = |name, bound, one, other| {
        goal(name, Unit::Times, bound, report.by_round(|cost| cost(one) / cost(other)))
    };
    let size = |bytes: u64| Figure::of([bytes as f64 / 1e3]);
    let memory = |reloads: u32| {
        let memory = report.loads.memory().iter().find(|(after, _)| *after == reloads);
        memory.map_or(f64::NAN, |(_, size)| *size)
    };
    let mut goals = vec![
        ratio("whole job / native trio, 10,000 hosts", 1.10, "warden-10000", "native-10000"),
        goal(
            "CPU added by the whole job / CPU added by an empty Wasm filter",
            Unit::Times,
            2.5,
            report.added_by_start("warden-10000", "empty"),
        ),
        ratio("dynamic module / native trio, 10,000 hosts", 1.0, "module-10000", "native-10000"),
        goal(
            "CPU added by the dynamic module / CPU added by an empty Wasm filter",
            Unit::Times,
            1.0,
            report.added_by_start("module-10000", "empty"),
        ),
        ratio(
            "dynamic module / AuthorizationPolicy lists, 100 hosts",
            1.0,
            "module-10000",
            "lists-100",
        ),
        ratio(
            "dynamic module / AuthorizationPolicy lists, 10,000 hosts",
            0.13,
            "module-10000",
            "lists-10000",
        ),
        ratio("whole job / AuthorizationPolicy lists, 100 hosts", 1.0, "warden-100", "lists-100"),
        ratio(
            "whole job / AuthorizationPolicy lists, 10,000 hosts",
            0.13,
            "warden-10000",
            "lists-10000",
        ),
        ratio(
            "whole job / AuthorizationPolicy lists, the last of 10,000 hosts",
            0.13,
            "warden-10000",
            "lists-10000-last",
        ),
        ratio("100,000 hosts / 1 host", 1.05, "warden-100000", "warden-1"),
        ratio("dynamic module, 100,000 hosts / 1 host", 1.05, "module-100000", "module-1"),
        ratio(
            "10,000 rules on one host that differ by caller / one such rule",
            1.05,
            "rules-by-caller",
            "one-rule",
        ),
        ratio("a denied request / an allowed one", 1.0, "denied", "warden-10000"),
        goal(
            "the guard adds",
            Unit::Percent,
            3.0,
            report.by_round(|cost| (cost("guarded") / cost("warden-10000") - 1.0) * 100.0),
        ),
        goal(
            "loading 100,000 hosts into a fresh VM of V8",
            Unit::Milliseconds,
            100.0,
            report.loads.first(),
        ),
        goal("its linear memory after 50 reloads", Unit::Mebibytes, 16.0, Figure::of([memory(50)])),
        goal(
            "what it grew by in the last 40 of them",
            Unit::Mebibytes,
            0.0,
            Figure::of([memory(50) - memory(10)]),
        ),
        goal("the module", Unit::Kilobytes, 150.0, size(report.module.raw)),
        goal("the module, gzipped", Unit::Kilobytes, 60.0, size(report.module.compressed)),
    ];
    goals.extend(decide::goals());
    goals
}

/// The first and the last set-up of each round, which are the same: how far what is equal lies
/// apart.
pub(crate) fn noise(report: &Report) -> Figure {
    report.by_round(|cost| cost("none-again") / cost("none"))
}
