//! What the whole job costs inside a real Envoy, beside what a user would run instead of it: the
//! instructions that Envoy executes for a request, counted by callgrind.
//!
//! `./build.sh bench instructions` runs it, with `--quick` for a first look. It writes
//! `instructions.json` and `instructions.md` to `target/bench`, or to a folder there. Instructions are
//! the same on a machine that does much else, and nearly the same on another machine.

#[path = "instructions/caller.rs"]
mod caller;
#[path = "instructions/callgrind.rs"]
mod callgrind;
#[path = "instructions/counting.rs"]
mod counting;
#[path = "gateway/figure.rs"]
mod figure;
#[path = "gateway/machine.rs"]
mod machine;
#[path = "gateway/native.rs"]
mod native;
#[path = "gateway/policy.rs"]
mod policy;
#[path = "gateway/program.rs"]
mod program;
#[path = "instructions/report.rs"]
mod report;
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

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context as _, Result, ensure};

use callgrind::Callgrind;
use counting::Schedule;
use envoy_kit::testbed::Testbed;
use kit::envoys;
use report::Report;

fn main() -> ExitCode {
    let schedule = program::schedule(Schedule::FULL, Schedule::QUICK, Schedule::SMOKE);
    let callgrind = Callgrind::new();
    let testbed = callgrind.as_ref().map_err(|error| anyhow::anyhow!("{error:?}"));
    let testbed = testbed.and_then(|it| Testbed::under(it.wrapper(), envoys::newest()));
    program::main(testbed, async |testbed| run(testbed, &callgrind?, schedule).await)
}

async fn run(testbed: &Testbed, callgrind: &Callgrind, schedule: Schedule) -> Result<()> {
    let costs = counting::measure(testbed, callgrind, &schedule).await?;
    let machine = machine::Machine::describe(&["valgrind"])?;
    let report = Report { machine, schedule, costs };
    let directory = format!("target/bench{}", schedule.folder);
    let path = Path::new(kit::REPOSITORY).join(&directory);
    std::fs::create_dir_all(&path).with_context(|| format!("make {directory}"))?;
    std::fs::write(path.join("instructions.json"), report.json())?;
    std::fs::write(path.join("instructions.md"), program::complete(report.markdown())?)?;
    println!("\n{}", report.markdown());
    println!("Written: instructions.json and instructions.md in {directory}");
    ensure!(report.meets_goals() || !schedule.holds_goals, "a goal is missed");
    Ok(())
}
