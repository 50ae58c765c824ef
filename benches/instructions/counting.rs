//! Set-ups, each in an Envoy of its own, two at a time: that changes no count.

use anyhow::{Context as _, Result, ensure};
use envoy_kit::testbed::Testbed;

use crate::caller::{Caller, MORE_HEADERS};
use crate::callgrind::Callgrind;
use crate::figure::Figure;
use crate::running;
use crate::setup::{self, Setup, Way};

/// How much is counted.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Schedule {
    pub(crate) counted: &'static [Counted],
    /// Requests before the first count: counters are defined, buffers have grown.
    pub(crate) warm_up: usize,
    /// How often requests are counted.
    pub(crate) rounds: usize,
    /// Requests of one round.
    pub(crate) requests: usize,
    /// Whether a goal that is missed is an error.
    pub(crate) holds_goals: bool,
    /// Where under `target/bench` the report goes.
    pub(crate) folder: &'static str,
}

/// The key of a set-up, and how many headers its requests have beside those of the load that wrk sends in time.
pub(crate) type Counted = (&'static str, usize);

impl Schedule {
    pub(crate) const FULL: Self = Self {
        counted: &[
            ("none", 0),
            ("record", 0),
            ("empty", 0),
            ("native-10000", 0),
            ("module-10000", 0),
            ("warden-10000", 0),
            ("one-stamp", 0),
            ("no-stamp", 0),
            ("guarded", 0),
            ("denied", 0),
            ("denied-unlogged", 0),
            ("native-10000", MORE_HEADERS),
            ("module-10000", MORE_HEADERS),
            ("warden-10000", MORE_HEADERS),
            ("warden-1", 0),
            ("warden-100", 0),
            ("warden-100000", 0),
            ("module-1", 0),
            ("module-100000", 0),
            ("lists-100", 0),
            ("lists-100-last", 0),
            ("lists-10000", 0),
            ("lists-10000-last", 0),
        ],
        warm_up: 500,
        rounds: 3,
        requests: 500,
        holds_goals: false,
        folder: "",
    };
    pub(crate) const QUICK: Self = Self {
        counted: &[
            ("native-10000", 0),
            ("module-10000", 0),
            ("warden-10000", 0),
            ("warden-100", 0),
            ("lists-100", 0),
            ("lists-100-last", 0),
        ],
        folder: "/quick",
        ..Self::FULL
    };
    pub(crate) const SMOKE: Self = Self {
        counted: &[("native-10000", 0), ("warden-10000", 0), ("module-10000", 0)],
        warm_up: 200,
        rounds: 1,
        requests: 200,
        holds_goals: true,
        folder: "/smoke",
    };
}

/// A set-up, with the instructions that its worker executes for a request.
pub(crate) struct Cost {
    pub(crate) counted: Counted,
    pub(crate) setup: Setup,
    pub(crate) instructions: Figure,
}

/// What a schedule names.
pub(crate) async fn measure(
    testbed: &Testbed,
    callgrind: &Callgrind,
    schedule: &Schedule,
) -> Result<Vec<Cost>> {
    let count = async |counted: Option<&Counted>| match counted {
        Some(counted) => count(testbed, callgrind, schedule, *counted).await.map(Some),
        None => Ok(None),
    };
    let mut all = Vec::new();
    for pair in schedule.counted.chunks(2) {
        let (one, other) = tokio::try_join!(count(pair.first()), count(pair.get(1)))?;
        all.extend(one.into_iter().chain(other));
    }
    Ok(all)
}

async fn count(
    testbed: &Testbed,
    callgrind: &Callgrind,
    schedule: &Schedule,
    counted: Counted,
) -> Result<Cost> {
    let (key, more_headers) = counted;
    let setup = setup::all().into_iter().find(|setup| setup.key == key);
    let setup = setup.with_context(|| format!("a set-up `{key}`"))?;
    println!("Counting {}", setup.title);
    let mut started = running::start_all(testbed, vec![setup]).await?;
    let running = started.pop().context("the one that was started")?;
    let process_id = running.envoy.process_id();
    let mut caller = Caller::connect(running.address, more_headers).await?;
    // A request takes as many instructions as fifty others where a long list is walked for it.
    let part =
        if matches!(running.setup.way, Way::Lists { hosts } if hosts > 1_000) { 10 } else { 1 };
    let requests = schedule.requests / part;
    callgrind.switch_on(process_id).await?;
    caller.send(&running.setup, schedule.warm_up / part).await?;
    let mut counts = Vec::new();
    for _ in 0..schedule.rounds {
        let before = running.requests().await?;
        callgrind.zero(process_id).await?;
        caller.send(&running.setup, requests).await?;
        let instructions = callgrind.count(process_id).await?;
        let answered = running.requests().await? - before;
        ensure!(
            answered == requests as u64,
            "Envoy counts {answered} answers to {requests} requests"
        );
        counts.push(instructions as f64 / requests as f64);
    }
    Ok(Cost { counted, setup: running.setup, instructions: Figure::of(counts) })
}
