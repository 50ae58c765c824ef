//! Nobody reads what Envoy writes, while everything is denied.
//!
//! Envoy writes access logs by a thread of their own, which may wait, and its own log, which the
//! filter's lines go to, by the worker that has something to say.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use super::caller::Caller;
use super::gateway::{Discovered, Gateway, Plan, soon};
use super::plugin::{Plugin, policy};
use super::upstream::Upstream;
use envoy_kit::testbed::Testbed;

/// More than any pipe holds, of records of several hundred bytes.
const REQUESTS: u64 = 3_000;
/// How long a worker is silent before it counts as stalled.
const SILENCE: Duration = Duration::from_secs(2);

pub(crate) async fn a_stalled_reader_of_the_access_log_stalls_nothing(
    testbed: &Testbed,
) -> Result<()> {
    let (gateway, upstream) = start(testbed).await?;
    let memory = gateway.resident_memory()?;
    let stalled = gateway.envoy.stall_access_log();
    let answered = refusals(&gateway).await?;
    println!(
        "access log stalled: {answered} of {REQUESTS} answered, {} KiB more memory",
        gateway.resident_memory()?.saturating_sub(memory)
    );
    drop(stalled);
    ensure!(answered == REQUESTS);
    gateway.records(REQUESTS).await?;
    ensure!(upstream.bytes() == 0);
    Ok(())
}

/// The worker waits until somebody reads again. Meanwhile nothing passes, allowed or not.
pub(crate) async fn a_stalled_reader_of_envoys_log_stalls_and_opens_nothing(
    testbed: &Testbed,
) -> Result<()> {
    let (gateway, upstream) = start(testbed).await?;
    let address = gateway.envoy.listener("egress")?;
    let stalled = gateway.envoy.stall_error_log();
    let answered = refusals(&gateway).await?;
    println!("Envoy's log stalled: {answered} of {REQUESTS} answered");
    ensure!(answered < REQUESTS, "the pipe holds more than thought");

    let mut caller = Caller::http1(address).await?;
    let waiting = tokio::time::timeout(SILENCE, caller.get("allowed.example", "/")).await;
    ensure!(waiting.is_err(), "{waiting:?}");
    ensure!(upstream.bytes() == 0);

    drop(stalled);
    soon(async || {
        let (status, _) = Caller::http1(address).await?.get("denied.example", "/").await?;
        ensure!(status == 403, "{status}");
        Ok(())
    })
    .await?;
    ensure!(upstream.strays().is_empty(), "{:#?}", upstream.strays());
    let decided = gateway.decided().await?;
    soon(async || {
        let records = gateway.all_records()?;
        let count = records.iter().filter(|record| !record["egress_decision"].is_null()).count();
        ensure!(count as u64 == decided, "{count} records of {decided} decisions");
        Ok(())
    })
    .await
}

pub(crate) async fn a_log_file_never_stalls(testbed: &Testbed) -> Result<()> {
    let plan = Plan::new(&Plugin::new(&logged_policy())?, Discovered::Nothing)?;
    nothing_stalls(testbed, plan.log_path("/dev/null")).await
}

/// The access log alone has every verdict.
pub(crate) async fn without_lines_of_the_filter_nothing_stalls(testbed: &Testbed) -> Result<()> {
    let mut policy = logged_policy();
    policy["log"] = json!({"requests": "none"});
    nothing_stalls(testbed, Plan::new(&Plugin::new(&policy)?, Discovered::Nothing)?).await
}

async fn nothing_stalls(testbed: &Testbed, plan: Plan) -> Result<()> {
    let upstream = Upstream::start(|_, host| host == "allowed.example").await?;
    let gateway = plan.start(testbed, &upstream).await?;
    let stalled = (gateway.envoy.stall_error_log(), gateway.envoy.stall_access_log());
    ensure!(refusals(&gateway).await? == REQUESTS);
    drop(stalled);
    let records = gateway.records(REQUESTS).await?;
    ensure!(records.iter().all(|record| record["egress_decision"] == "deny"));
    ensure!(upstream.bytes() == 0);
    Ok(())
}

fn logged_policy() -> Value {
    policy("logs", &["allowed.example"])
}

async fn start(testbed: &Testbed) -> Result<(Gateway, Upstream)> {
    let upstream = Upstream::start(|_, host| host == "allowed.example").await?;
    let plan = Plan::new(&Plugin::new(&logged_policy())?, Discovered::Nothing)?;
    Ok((plan.start(testbed, &upstream).await?, upstream))
}

/// Asks for a denied host until there are enough answers, or none for a while; how many came.
async fn refusals(gateway: &Gateway) -> Result<u64> {
    let mut caller = Caller::http1(gateway.envoy.listener("egress")?).await?;
    for answered in 0..REQUESTS {
        let answer = caller.get("denied.example", "/");
        match tokio::time::timeout(SILENCE, answer).await {
            Err(_) => return Ok(answered),
            Ok(answer) => {
                let (status, _) = answer.context("an answer")?;
                ensure!(status == 403, "{status}");
            }
        }
    }
    Ok(REQUESTS)
}
