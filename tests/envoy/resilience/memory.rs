//! What two hundred new policies leave behind.

use std::time::Instant;

use anyhow::{Result, ensure};

use super::gateway::{Discovered, Gateway, Plan, soon};
use super::plugin::{Plugin, policy};
use super::upstream::Upstream;
use envoy_kit::call::Call;
use envoy_kit::testbed::Testbed;

const HOSTS: usize = 10_000;

pub(crate) async fn two_hundred_reloads_leave_the_memory_flat(testbed: &Testbed) -> Result<()> {
    let upstream = Upstream::start(|_, host| host == "h1.example").await?;
    let plugins = [plugin("one", "h", HOSTS)?, plugin("two", "g", HOSTS)?];
    let plan = Plan::new(&plugins[0], Discovered::Plugin)?.discards_logs()?;
    let gateway = plan.start(testbed, &upstream).await?;
    reload_in_turn(&gateway, &plugins, async |reload| {
        is_in_force(&gateway, "h1.example", if reload % 2 == 0 { 200 } else { 403 }).await
    })
    .await?;
    ensure!(upstream.strays().is_empty(), "{:#?}", upstream.strays());
    Ok(())
}

const MANY_HOSTS: usize = 100_000;

/// How much memory, and how long until it serves: with one worker and with eight.
pub(crate) async fn what_a_large_policy_takes(testbed: &Testbed) -> Result<()> {
    let upstream = Upstream::start(|_, host| host == "h1.example").await?;
    let (small, large) = (plugin("one", "h", 2)?, plugin("one", "h", MANY_HOSTS)?);
    for workers in [1, 8] {
        let mut memory = Vec::new();
        for first in [&small, &large] {
            let plan = Plan::new(first, Discovered::Plugin)?.workers(workers).discards_logs()?;
            let started = Instant::now();
            let gateway = plan.start(testbed, &upstream).await?;
            is_in_force(&gateway, "h1.example", 200).await?;
            println!("{workers} workers: started after {:?}", started.elapsed());
            memory.push(gateway.resident_memory()?);
        }
        println!("{workers} workers: {memory:?} KiB with 2 hosts and with {MANY_HOSTS}");
    }
    Ok(())
}

pub(crate) async fn two_hundred_reloads_of_many_hosts_leave_the_memory_flat(
    testbed: &Testbed,
) -> Result<()> {
    let upstream = Upstream::start(|_, host| host == "h1.example").await?;
    let plugins = [plugin("one", "h", MANY_HOSTS)?, plugin("two", "g", MANY_HOSTS)?];
    let plan = Plan::new(&plugins[0], Discovered::Plugin)?.workers(2).discards_logs()?;
    let gateway = plan.start(testbed, &upstream).await?;
    reload_in_turn(&gateway, &plugins, async |reload| {
        is_in_force(&gateway, "h1.example", if reload % 2 == 0 { 200 } else { 403 }).await
    })
    .await
}

async fn is_in_force(gateway: &Gateway, host: &str, expected: u16) -> Result<()> {
    let status = Call::get(host).http1(gateway.envoy.listener("egress")?).await?.status;
    ensure!(status == expected, "{status}");
    Ok(())
}

/// As many names for each prefix, other ones: what a reload leaves behind would be seen.
fn plugin(name: &str, prefix: &str, hosts: usize) -> Result<Plugin> {
    let hosts = (0..hosts).map(|index| format!("{prefix}{index}.example")).collect::<Vec<_>>();
    let hosts = hosts.iter().map(String::as_str).collect::<Vec<_>>();
    Plugin::new(&policy(name, &hosts))
}

/// Loads two plugins in turn, two hundred times. `is_in_force` asks something in between, so that each
/// policy is one that has worked; from the tenth on the memory may not grow.
pub(crate) async fn reload_in_turn(
    gateway: &Gateway,
    plugins: &[Plugin; 2],
    is_in_force: impl AsyncFn(usize) -> Result<()>,
) -> Result<()> {
    let mut settled = 0;
    for reload in 1..=200 {
        ensure!(gateway.update_plugin(&plugins[reload % 2]).await?);
        soon(async || is_in_force(reload).await).await?;
        if reload == 10 || reload % 50 == 0 {
            println!(
                "{reload} reloads: {} KiB, {} VMs",
                gateway.resident_memory()?,
                vms(gateway).await?
            );
        }
        if reload == 10 {
            settled = gateway.resident_memory()?;
        }
    }
    let after = gateway.resident_memory()?;
    ensure!(after * 10 <= settled * 11, "{settled} KiB after 10 reloads, {after} after 200");
    Ok(())
}

async fn vms(gateway: &Gateway) -> Result<u64> {
    gateway.envoy.counter("wasm.envoy.wasm.runtime.v8.active").await
}
