//! What two hundred new policies leave behind.

use anyhow::{Result, ensure};

use super::{passes, plugin};
use crate::envoy::testbed::Testbed;
use crate::gateway::{Discovered, Plan, soon};
use crate::tls::upstream::Upstream;

const HOSTS: usize = 10_000;

pub(crate) async fn two_hundred_reloads_for_connections_leave_the_memory_flat(
    testbed: &Testbed,
) -> Result<()> {
    let upstream = Upstream::start().await?;
    // As many names, other ones, as for requests.
    let policy = |name: &str, prefix: &str| {
        let hosts: Vec<_> = (0..HOSTS).map(|index| format!("{prefix}{index}.example")).collect();
        plugin(name, &hosts.iter().map(String::as_str).collect::<Vec<_>>())
    };
    let plugins = [policy("one", "h")?, policy("two", "g")?];
    let plan = Plan::new(&plugins[0], Discovered::Plugin)?.discards_logs()?;
    let gateway = plan.start(testbed, &upstream).await?;
    let address = gateway.envoy.listener("egress")?;

    let mut settled = 0;
    for reload in 1..=200 {
        ensure!(gateway.update_plugin(&plugins[reload % 2]).await?);
        // With a connection in between, so that each policy is one that has worked.
        soon(async || {
            ensure!(passes(address, "h1.example").await? == (reload % 2 == 0), "{reload}");
            Ok(())
        })
        .await?;
        if reload == 10 || reload % 50 == 0 {
            println!("{reload} reloads: {} KiB", gateway.resident_memory()?);
        }
        if reload == 10 {
            settled = gateway.resident_memory()?;
        }
    }
    let after = gateway.resident_memory()?;
    ensure!(after * 10 <= settled * 11, "{settled} KiB after 10 reloads, {after} after 200");
    Ok(())
}
