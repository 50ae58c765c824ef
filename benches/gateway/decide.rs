//! What a decision costs natively, as the last run of `cargo bench --bench policy` left it.

use std::path::Path;

use serde_json::Value;

use crate::figure::Figure;
use crate::goals::{Goal, Unit};

/// The goals whose benchmarks have run; criterion tells an interval of confidence, no spread.
pub(crate) fn goals() -> Vec<Goal> {
    let goal = |name: &str, unit, bound, figure: Option<Figure>| {
        figure.map(|figure| Goal { name: name.to_owned(), unit, bound, figure })
    };
    let growth = time("exact", 1_000_000).zip(time("exact", 10_000)).map(|(many, few)| Figure {
        median: many.median / few.median,
        lower: many.lower / few.upper,
        upper: many.upper / few.lower,
        min: many.min / few.max,
        max: many.max / few.min,
    });
    [
        goal(
            "native decision, exact, 10,000 hosts",
            Unit::Nanoseconds,
            100.0,
            time("exact", 10_000),
        ),
        goal(
            "native decision, wildcard of 5 labels",
            Unit::Nanoseconds,
            250.0,
            time("wildcard", 10_000),
        ),
        goal("native decision, 1,000,000 / 10,000 hosts", Unit::Times, 1.5, growth),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// Nanoseconds of `decide/{case}/{hosts}`.
fn time(case: &str, hosts: usize) -> Option<Figure> {
    let path = format!("target/criterion/decide_{case}/{hosts}/new/estimates.json");
    let path = Path::new(kit::REPOSITORY).join(path);
    let estimates: Value = serde_json::from_slice(&std::fs::read(path).ok()?).ok()?;
    let median = &estimates["median"];
    let interval = &median["confidence_interval"];
    let [lower, upper] = [&interval["lower_bound"], &interval["upper_bound"]].map(Value::as_f64);
    let (lower, upper) = lower.zip(upper)?;
    let median = median["point_estimate"].as_f64()?;
    Some(Figure { median, lower, upper, min: lower, max: upper })
}
