//! Callers that leave early, and callers that stay and say nothing.

use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use tokio::sync::Mutex;

use super::policy;
use envoy_kit::bootstrap::Bootstrap;
use envoy_kit::passthrough::Lane;
use envoy_kit::process::Envoy;
use envoy_kit::testbed::Testbed;
use envoy_kit::tls::caller::Caller;
use envoy_kit::tls::hello::Hello;
use envoy_kit::tls::upstream::Upstream;

const ALLOWED: &str = "api.allow.test";
const DENIED: &str = "deny.test";

pub(crate) async fn callers_that_reset_at_any_phase_leave_no_byte_and_no_gap(
    testbed: &Testbed,
) -> Result<()> {
    const TIMES: usize = 30;
    let upstream = Upstream::start().await?;
    let gateway = start(testbed, &upstream).await?;
    let (allowed, denied) = (Hello::to(ALLOWED).to_bytes(), Hello::to(DENIED).to_bytes());
    for _ in 0..TIMES {
        for sent in [&allowed[..0], &allowed[..7], &allowed[..allowed.len() - 1], &allowed, &denied]
        {
            let mut caller = connect(&gateway).await?;
            caller.send(sent, usize::MAX).await;
            caller.reset()?;
        }
        let mut caller = connect(&gateway).await?;
        ensure!(caller.exchange(&allowed).await?);
        caller.reset()?;
    }

    // One record for each that Envoy kept until its hello was there, none but by the filter.
    let mut last = connect(&gateway).await?;
    ensure!(last.exchange(&allowed).await?, "it serves on");
    drop(last);
    let arrivals = upstream.all_arrivals().await?;
    ensure!(arrivals.iter().all(|bytes| allowed.starts_with(bytes)), "other bytes arrived");
    let records = gateway.records(TIMES * 6 + 1).await?;
    ensure!(records.len() == TIMES * 6 + 1, "{} records", records.len());
    let decided = |decision: &str| {
        records.iter().filter(|record| record["egress_connection_decision"] == decision).count()
            as u64
    };
    for (counter, decision) in [("allow.rule", "allow"), ("deny.default", "deny")] {
        let name = format!("wasmcustom.egress_warden.connections.{counter}");
        ensure!(gateway.counter(&name).await? == decided(decision), "{counter}");
    }
    println!(
        "{} of {} resets after a denied hello met the filter, {} connections upstream",
        decided("deny"),
        TIMES,
        arrivals.len()
    );
    Ok(())
}

pub(crate) async fn ten_thousand_half_open_connections_hold_nobody_up(
    testbed: &Testbed,
) -> Result<()> {
    // One process has the callers of every version.
    static ALONE: Mutex<()> = Mutex::const_new(());
    let _alone = ALONE.lock().await;
    let count = 10_000.min(open_files()?.saturating_sub(500));
    let upstream = Upstream::start().await?;
    let gateway = start(testbed, &upstream).await?;
    let (allowed, denied) = (Hello::to(ALLOWED).to_bytes(), Hello::to(DENIED).to_bytes());
    let started = Instant::now();
    let mut half_open = Vec::new();
    for number in 0..count {
        let mut caller = connect(&gateway).await?;
        // Every other one with half a hello.
        caller.send(&allowed[..(number % 2) * allowed.len() / 2], usize::MAX).await;
        half_open.push(caller);
    }
    println!("{count} half-open connections after {:?}", started.elapsed());

    ensure!(connect(&gateway).await?.exchange(&allowed).await?);
    ensure!(!connect(&gateway).await?.exchange(&denied).await?);

    // Envoy cuts them off in the end.
    for caller in &mut half_open {
        caller.wait_for_end().await?;
    }
    println!("all were cut off after {:?}", started.elapsed());
    ensure!(connect(&gateway).await?.exchange(&allowed).await?);
    ensure!(!connect(&gateway).await?.exchange(&denied).await?);
    ensure!(upstream.all_arrivals().await? == [allowed.clone(), allowed]);
    let records = gateway.records(count + 4).await?;
    let decided =
        records.iter().filter(|record| !record["egress_connection_decision"].is_null()).count();
    ensure!(decided == 4 && records.len() == count + 4, "{decided} of {}", records.len());
    Ok(())
}

async fn connect(gateway: &Envoy) -> Result<Caller> {
    Caller::connect(gateway.listener("lane")?).await
}

async fn start(testbed: &Testbed, upstream: &Upstream) -> Result<Envoy> {
    let policy = policy("pressed", &[ALLOWED]);
    let mut bootstrap = Bootstrap::gateway_tls()?;
    let lane = Lane { name: "lane", policy: &policy, upstream: upstream.address };
    bootstrap.take_every_name(&[lane])?;
    bootstrap.bind_free_ports();
    testbed.start(&bootstrap).await
}

/// How many files this process may have open; Envoy may as many.
fn open_files() -> Result<usize> {
    let limits = std::fs::read_to_string("/proc/self/limits")?;
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"));
    let soft = line.and_then(|line| line.split_whitespace().next()).context("a limit")?;
    Ok(soft.parse().unwrap_or(usize::MAX))
}
