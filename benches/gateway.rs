//! What the whole job costs inside a real Envoy, beside what a user would run instead of it: CPU
//! time a request of set-ups that take turns under the same load, and what loading a policy takes.
//!
//! `./build.sh bench envoy` runs it, with `--quick` for a first look. It writes `gateway.json`,
//! `gateway.md` and `hosts.svg` to `target/bench`, or to a folder there. Times compare within one
//! run.

#[path = "gateway/cpu.rs"]
mod cpu;
#[path = "gateway/decide.rs"]
mod decide;
#[path = "gateway/figure.rs"]
mod figure;
#[path = "gateway/goals.rs"]
mod goals;
#[path = "gateway/load.rs"]
mod load;
#[path = "gateway/machine.rs"]
mod machine;
#[path = "gateway/module.rs"]
mod module;
#[path = "gateway/native.rs"]
mod native;
#[path = "gateway/plot.rs"]
mod plot;
#[path = "gateway/policy.rs"]
mod policy;
#[path = "gateway/program.rs"]
mod program;
#[path = "gateway/report.rs"]
mod report;
#[path = "gateway/rounds.rs"]
mod rounds;
#[path = "gateway/running.rs"]
mod running;
#[path = "gateway/service.rs"]
mod service;
#[path = "gateway/setup.rs"]
mod setup;
#[path = "gateway/sidecar.rs"]
mod sidecar;
#[path = "gateway/upstream.rs"]
mod upstream;
#[path = "gateway/wrk.rs"]
mod wrk;

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context as _, Result};

use envoy_kit::testbed::Testbed;
use kit::envoys;
use report::Report;
use rounds::Schedule;

fn main() -> ExitCode {
    let schedule = program::schedule(Schedule::FULL, Schedule::QUICK, Schedule::SMOKE);
    program::main(Testbed::new(envoys::newest()), async |testbed| run(testbed, schedule).await)
}

async fn run(testbed: &Testbed, schedule: Schedule) -> Result<()> {
    let module = module::Sizes::measure()?;
    println!("Loading policies of {} hosts into V8", load::HOSTS);
    let loads = load::measure(&schedule).await?;
    let costs = rounds::measure(testbed, &schedule).await?;
    let report = Report {
        machine: machine::Machine::describe(&["node", "wrk"])?,
        schedule,
        costs,
        loads,
        module,
    };
    let directory = format!("target/bench{}", schedule.folder);
    let path = Path::new(kit::REPOSITORY).join(&directory);
    std::fs::create_dir_all(&path).with_context(|| format!("make {directory}"))?;
    std::fs::write(path.join("gateway.json"), report.json())?;
    std::fs::write(path.join("gateway.md"), program::complete(report.markdown())?)?;
    plot::draw(&report, &path.join("hosts.svg"))?;
    println!("\n{}", report.markdown());
    println!("Written: gateway.json, gateway.md and hosts.svg in {directory}");
    Ok(())
}
