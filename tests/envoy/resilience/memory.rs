//! What two hundred new policies leave behind.

use anyhow::{Result, ensure};

use super::gateway::{Discovered, Gateway, Plan, soon};
use super::plugin::{Plugin, policy};
use super::upstream::Upstream;
use envoy_kit::call::Call;
use envoy_kit::testbed::Testbed;

const HOSTS: usize = 10_000;

pub(crate) async fn two_hundred_reloads_leave_the_memory_flat(testbed: &Testbed) -> Result<()> {
    let upstream = Upstream::start(|_, host| host == "h1.example").await?;
    // As many names, other ones: what a reload leaves behind would be seen.
    let hosts = |prefix: &str| -> Vec<String> {
        (0..HOSTS).map(|index| format!("{prefix}{index}.example")).collect()
    };
    let plugin = |name: &str, hosts: &[String]| {
        let hosts: Vec<&str> = hosts.iter().map(String::as_str).collect();
        Plugin::new(&policy(name, &hosts))
    };
    let plugins = [plugin("one", &hosts("h"))?, plugin("two", &hosts("g"))?];
    let plan = Plan::new(&plugins[0], Discovered::Plugin)?.discards_logs()?;
    let gateway = plan.start(testbed, &upstream).await?;
    let address = gateway.envoy.listener("egress")?;

    reload_in_turn(&gateway, &plugins, async |reload| {
        let status = Call::get("h1.example").http1(address).await?.status;
        ensure!(status == if reload % 2 == 0 { 200 } else { 403 }, "{reload}: {status}");
        Ok(())
    })
    .await?;
    ensure!(upstream.strays().is_empty(), "{:#?}", upstream.strays());
    Ok(())
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
