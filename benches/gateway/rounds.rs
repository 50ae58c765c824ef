//! Rounds in which all set-ups take turns, so that whatever else the machine does meets all of
//! them.
//!
//! Turns are short, so that what is compared is measured within the same second; and now and then
//! all Envoys are started anew, as one process may lie better in the memory than another.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use crate::cpu;
use crate::running::{self, Running};
use crate::setup::{self, Setup};
use crate::wrk::Wrk;
use envoy_kit::testbed::Testbed;

/// How long Envoy may need for what is under way when the load pauses.
const DRAIN: Duration = Duration::from_millis(20);

/// How long it is measured.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Schedule {
    /// How often all Envoys are started anew.
    pub(crate) starts: usize,
    /// After each start.
    pub(crate) rounds: usize,
    /// The load on each set-up, in each round.
    pub(crate) turn: Duration,
    /// The load on each set-up before the first round.
    pub(crate) warm_up: Duration,
    /// How often a policy is loaded into a fresh VM of V8.
    pub(crate) loads: usize,
    /// Where under `target/bench` the report goes.
    pub(crate) folder: &'static str,
}

impl Schedule {
    pub(crate) const FULL: Self = Self {
        starts: 3,
        rounds: 17,
        turn: Duration::from_millis(200),
        warm_up: Duration::from_millis(500),
        loads: 7,
        folder: "",
    };
    pub(crate) const QUICK: Self =
        Self { starts: 1, rounds: 7, loads: 3, folder: "/quick", ..Self::FULL };
    pub(crate) const SMOKE: Self = Self {
        starts: 1,
        rounds: 1,
        turn: Duration::from_millis(50),
        warm_up: Duration::from_millis(50),
        loads: 1,
        folder: "/smoke",
    };
}

/// What one turn cost one set-up.
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

/// The set-ups, each with its costs, a turn each.
pub(crate) async fn measure(
    testbed: &Testbed,
    schedule: &Schedule,
) -> Result<Vec<(Setup, Vec<Cost>)>> {
    let mut all: Vec<(Setup, Vec<Cost>)> =
        setup::all().into_iter().map(|setup| (setup, Vec::new())).collect();
    for start in 0..schedule.starts {
        println!("Starting {} set-ups, {} of {} times", all.len(), start + 1, schedule.starts);
        let mut turns = Vec::new();
        for running in running::start_all(testbed, setup::all()).await? {
            turns.push(Turn::prepare(running, schedule).await?);
        }
        println!("Measuring {} rounds", schedule.rounds);
        for round in 0..schedule.rounds {
            // There and back, so that a steady drift of the machine favours nobody.
            let mut places: Vec<usize> = (0..turns.len()).collect();
            if round % 2 == 1 {
                places.reverse();
            }
            for place in places {
                all[place].1.push(turns[place].take(schedule.turn).await?);
            }
        }
        for turn in turns {
            turn.end().await?;
        }
    }
    Ok(all)
}

/// A set-up, and the load that waits for its turn.
struct Turn {
    running: Running,
    wrk: Wrk,
    /// Requests served so far.
    requests: u64,
}

impl Turn {
    async fn prepare(running: Running, schedule: &Schedule) -> Result<Self> {
        let wrk = Wrk::start(running.address, running.setup.asked)?;
        tokio::time::sleep(schedule.warm_up).await;
        wrk.pause()?;
        tokio::time::sleep(DRAIN).await;
        let requests = running.requests().await?;
        Ok(Self { running, wrk, requests })
    }

    async fn take(&mut self, duration: Duration) -> Result<Cost> {
        let process = self.running.envoy.process_id();
        let before = cpu::time_of(process)?;
        self.wrk.go_on()?;
        tokio::time::sleep(duration).await;
        self.wrk.pause()?;
        tokio::time::sleep(DRAIN).await;
        let cpu = cpu::time_of(process)?.saturating_sub(before);
        // Envoy counts at its own cost, which is outside of the turn.
        let all_requests = self.running.requests().await?;
        let requests = all_requests - self.requests;
        self.requests = all_requests;
        ensure!(requests > 0, "{}: no answer in {duration:?}", self.running.setup.title);
        let cpu_nanoseconds = cpu.as_nanos().try_into().context("a time of hours")?;
        Ok(Cost { cpu_nanoseconds, requests })
    }

    /// Makes sure that every answer of all turns was the expected one.
    async fn end(self) -> Result<()> {
        let load = self.wrk.end().await?;
        let setup = &self.running.setup;
        let refused = if setup.is_refused { load.requests } else { 0 };
        let is_right = load.broken == 0 && load.refused == refused && load.requests > 0;
        ensure!(is_right, "{}: {load:?}", setup.title);
        Ok(())
    }
}
