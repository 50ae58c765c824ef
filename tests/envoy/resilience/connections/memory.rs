//! What new policies leave behind.

use anyhow::{Result, ensure};

use super::{open, passes, plugin};
use crate::gateway::{Discovered, Plan, soon};
use crate::memory::reload_in_turn;
use envoy_kit::testbed::Testbed;
use envoy_kit::tls::upstream::Upstream;

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

/// Connections that stand under each of many policies. Envoy keeps the text of each of these about twice
/// over (seen on 1.40.0); what a policy is in the VM would be about twice as much again.
pub(crate) async fn connections_that_stand_keep_the_text_of_old_policies_alone(
    testbed: &Testbed,
) -> Result<()> {
    const NAMES: usize = 20_000;
    const UPDATES: u64 = 40;
    const HELD: usize = 4;
    let upstream = Upstream::start().await?;
    let policy = |update: u64| {
        let hosts: Vec<_> = (0..NAMES).map(|name| format!("h{name}.u{update}.example")).collect();
        Ok::<_, anyhow::Error>((
            plugin("many", &hosts.iter().map(String::as_str).collect::<Vec<_>>())?,
            hosts.iter().map(|host| host.len() + r#""","#.len()).sum::<usize>() as u64 / 1024,
        ))
    };
    let plan = Plan::new(&policy(0)?.0, Discovered::Plugin)?.discards_logs()?;
    let gateway = plan.start(testbed, &upstream).await?;
    let address = gateway.envoy.listener("egress")?;
    let mut held = Vec::new();
    let (mut settled, mut texts) = (0, 0);
    for update in 1..=UPDATES {
        let (plugin, text) = policy(update)?;
        ensure!(gateway.update_plugin(&plugin).await?);
        let host = format!("h0.u{update}.example");
        soon(async || {
            ensure!(passes(address, &host).await?);
            Ok(())
        })
        .await?;
        for _ in 0..HELD {
            let (caller, is_answered) = open(address, &host).await?;
            ensure!(is_answered);
            held.push(caller);
        }
        match update {
            // The last few policies that were replaced are kept.
            ..=12 => settled = gateway.resident_memory()?,
            _ => texts += text,
        }
    }
    let grown = gateway.resident_memory()?.saturating_sub(settled);
    println!("{grown} KiB for {texts} KiB of text, {} connections held", held.len());
    ensure!(grown < texts * 5 / 2, "{grown} KiB for {texts} KiB of text");
    Ok(())
}
