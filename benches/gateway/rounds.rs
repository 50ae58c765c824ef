//! Rounds in which all set-ups take turns, so that whatever else the machine does meets all of
//! them.

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use crate::running::Running;
use crate::{cpu, wrk};

/// The counter of the gateway's finished requests.
const REQUESTS: &str = "http.outbound_0.0.0.0_80.downstream_rq_completed";

/// How long it is measured.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Schedule {
    pub(crate) rounds: usize,
    /// Of load on each set-up, in each round.
    pub(crate) seconds: u32,
    /// Of load on each set-up before the first round.
    pub(crate) warm_up_seconds: u32,
    /// Where under `target/bench` the report goes.
    pub(crate) folder: &'static str,
}

impl Schedule {
    /// Many short rounds rather than few long ones: what is compared is measured close together.
    pub(crate) const FULL: Self = Self { rounds: 13, seconds: 1, warm_up_seconds: 1, folder: "" };
    pub(crate) const QUICK: Self =
        Self { rounds: 3, seconds: 1, warm_up_seconds: 1, folder: "/quick" };
}

/// What one round of load cost one set-up.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cost {
    pub(crate) cpu_nanoseconds: u64,
    pub(crate) requests: u64,
}

impl Cost {
    /// CPU microseconds a request.
    pub(crate) fn microseconds(&self) -> f64 {
        self.cpu_nanoseconds as f64 / self.requests as f64 / 1e3
    }

    pub(crate) fn json(&self) -> Value {
        json!({
            "cpu_nanoseconds": self.cpu_nanoseconds,
            "requests": self.requests,
            "microseconds_a_request": self.microseconds(),
        })
    }
}

/// The costs of each set-up, a round each.
pub(crate) async fn measure(all: &[Running], schedule: &Schedule) -> Result<Vec<Vec<Cost>>> {
    println!("Warming up");
    for running in all {
        cost(running, schedule.warm_up_seconds).await?;
    }
    let mut costs = vec![Vec::new(); all.len()];
    for round in 0..schedule.rounds {
        println!("Round {} of {}", round + 1, schedule.rounds);
        // There and back, so that a steady drift of the machine favours nobody.
        let mut places: Vec<usize> = (0..all.len()).collect();
        if round % 2 == 1 {
            places.reverse();
        }
        for place in places {
            costs[place].push(cost(&all[place], schedule.seconds).await?);
        }
    }
    Ok(costs)
}

async fn cost(running: &Running, seconds: u32) -> Result<Cost> {
    let setup = &running.setup;
    let process = running.envoy.process_id();
    let requests_before = running.envoy.counter(REQUESTS).await?;
    let cpu_before = cpu::time_of(process)?;
    let load = wrk::load(running.address, setup.asked, seconds).await?;
    let cpu = cpu::time_of(process)?.saturating_sub(cpu_before);
    let requests = running.envoy.counter(REQUESTS).await? - requests_before;
    let refused = if setup.is_refused { load.requests } else { 0 };
    ensure!(load.broken == 0 && load.refused == refused, "{}: {load:?}", setup.title);
    ensure!(requests >= load.requests && load.requests > 0, "{}: {load:?}", setup.title);
    let cpu_nanoseconds = cpu.as_nanos().try_into().context("a time of hours")?;
    Ok(Cost { cpu_nanoseconds, requests })
}
