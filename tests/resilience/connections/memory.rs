//! What two hundred new policies leave behind.

use anyhow::{Result, ensure};

use super::{passes, plugin};
use crate::envoy::testbed::Testbed;
use crate::gateway::{Discovered, Plan};
use crate::memory::reload_in_turn;
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

    reload_in_turn(&gateway, &plugins, async |reload| {
        ensure!(passes(address, "h1.example").await? == (reload % 2 == 0), "{reload}");
        Ok(())
    })
    .await
}
