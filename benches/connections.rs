//! What deciding about TLS connections costs inside a real Envoy, beside what a user would run
//! instead: CPU time a connection of set-ups that take turns under the same load.
//!
//! `./build.sh bench connections` runs it, with `--quick` for a first look. It writes
//! `connections.json` and `connections.md` to `target/bench`, or to a folder there. Times compare
//! within one run.

#[path = "connections/callers.rs"]
mod callers;
#[path = "gateway/cpu.rs"]
mod cpu;
#[path = "gateway/figure.rs"]
mod figure;
#[path = "gateway/machine.rs"]
mod machine;
#[path = "gateway/program.rs"]
mod program;
#[path = "connections/report.rs"]
mod report;
#[path = "connections/running.rs"]
mod running;
#[path = "gateway/service.rs"]
mod service;
#[path = "connections/setup.rs"]
mod setup;
#[path = "connections/upstream.rs"]
mod upstream;

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result};

use envoy_kit::testbed::Testbed;
use kit::envoys;
use report::{Cost, Report};
use running::Running;
use setup::Setup;

/// How long Envoy may need for what is under way when the load pauses.
const DRAIN: Duration = Duration::from_millis(20);
/// The load on each set-up, in each round.
const TURN: Duration = Duration::from_millis(200);

/// How often it is measured.
#[derive(Clone, Copy)]
struct Schedule {
    /// How often all Envoys are started anew.
    starts: usize,
    /// After each start.
    rounds: usize,
    /// Where under `target` the report goes.
    folder: &'static str,
}

const FULL: Schedule = Schedule { starts: 3, rounds: 17, folder: "bench" };
const QUICK: Schedule = Schedule { starts: 1, rounds: 7, folder: "bench/quick" };
const SMOKE: Schedule = Schedule { starts: 1, rounds: 1, folder: "bench/smoke" };

fn main() -> ExitCode {
    let schedule = program::schedule(FULL, QUICK, SMOKE);
    program::main(Testbed::new(envoys::newest()), async |testbed| run(testbed, schedule).await)
}

async fn run(testbed: &Testbed, schedule: Schedule) -> Result<()> {
    let mut costs: Vec<(Setup, Vec<Cost>)> =
        setup::all().into_iter().map(|setup| (setup, Vec::new())).collect();
    for start in 0..schedule.starts {
        println!("Starting {} set-ups, {} of {} times", costs.len(), start + 1, schedule.starts);
        let all = running::start_all(testbed).await?;
        println!("Measuring {} rounds", schedule.rounds);
        for round in 0..schedule.rounds {
            // There and back, so that a steady drift of the machine favours nobody.
            let mut places: Vec<usize> = (0..all.len()).collect();
            if round % 2 == 1 {
                places.reverse();
            }
            for place in places {
                costs[place].1.push(take_turn(&all[place]).await?);
            }
        }
    }
    let report = Report { machine: machine::Machine::describe(&[])?, costs };
    let path = Path::new(kit::REPOSITORY).join("target").join(schedule.folder);
    std::fs::create_dir_all(&path).with_context(|| format!("make {}", path.display()))?;
    std::fs::write(path.join("connections.json"), report.json())?;
    std::fs::write(path.join("connections.md"), program::complete(report.markdown())?)?;
    println!("\n{}", report.markdown());
    println!("Written: connections.json and connections.md in target/{}", schedule.folder);
    Ok(())
}

async fn take_turn(running: &Running) -> Result<Cost> {
    let process = running.envoy.process_id();
    let before = cpu::time_of(process)?;
    let connections = running.load(TURN).await?;
    tokio::time::sleep(DRAIN).await;
    Ok(Cost { cpu: cpu::time_of(process)?.saturating_sub(before), connections })
}
