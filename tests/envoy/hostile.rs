//! Hostile requests on the wire: every vector of `tests/hostile`, against real Envoys.
//!
//! The gateway is the shipped one with routing as permissive as Istio's can be, so that nothing but
//! the filter stands between a caller and the upstream. That counts bytes: of a request that is not
//! to pass, none may come.

use anyhow::{Context as _, Result};

use envoy_kit::bootstrap::Bootstrap;
use envoy_kit::on_each_shell;
use envoy_kit::testbed::Testbed;
use envoy_kit::wire::lane::Lane;
use envoy_kit::wire::verdict;
use futures_util::future::try_join_all;

on_each_shell![every_vector_comes_out_as_it_must];

async fn every_vector_comes_out_as_it_must(testbed: &Testbed) -> Result<()> {
    let files = kit::hostile_vectors::read();
    let lanes = Lane::all(&files).await?;
    let openings: Vec<_> = lanes
        .iter()
        .enumerate()
        .map(|(number, lane)| lane.opening(format!("{}-{number}", lane.policy_name)))
        .collect();
    let mut gateway = Bootstrap::gateway()?;
    gateway.open_wide(&openings)?;
    gateway.bind_free_ports();
    let gateway = testbed.start(&gateway).await?;

    // Each has a listener and an upstream of its own.
    let sending = lanes
        .iter()
        .zip(&openings)
        .map(async |(lane, opening)| lane.send_all(gateway.listener(&opening.listener)?).await);
    let exchanges: Vec<_> = try_join_all(sending).await?.into_iter().flatten().collect();
    // Records are written in the order of their requests: once the last is there, all are.
    let mut failures = Vec::new();
    for (lane, opening) in lanes.iter().zip(&openings) {
        let path = format!("/{}", opening.listener);
        let late = lane.send_last(gateway.listener(&opening.listener)?, &path).await?;
        if late.connections > 0 {
            failures.push(format!("{}: {late:?} came late", opening.listener));
        }
        gateway.access_log(&path).await.context("the last record")?;
    }

    let lines = gateway.access_log_after(0);
    let decided = lines.iter().filter(|line| line.contains(r#""egress_decision":""#)).count();
    let counted =
        gateway.counters(|name| name.starts_with("wasmcustom.egress_warden.requests.")).await?;
    let counted: u64 = counted.values().sum();
    if counted != decided as u64 {
        failures.push(format!("{counted} requests were counted, {decided} recorded"));
    }
    failures.extend(gateway.errors());
    failures.extend(verdict::differences(&exchanges, &verdict::records(&lines)));
    eprintln!("{} connections, {} records", exchanges.len(), lines.len());
    assert!(failures.is_empty(), "{} failed\n\n{}\n", failures.len(), failures.join("\n\n"));
    Ok(())
}
