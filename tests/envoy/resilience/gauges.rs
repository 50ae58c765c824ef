//! What the gauges show of the policy in force, over updates.

use std::collections::BTreeMap;

use anyhow::{Result, ensure};
use egress_warden::config;
use serde_json::{Value, json};

use super::caller::Caller;
use super::gateway::{Discovered, Gateway, Plan, soon};
use super::plugin::{Plugin, policy};
use super::upstream::{HANGS, Upstream};
use envoy_kit::testbed::Testbed;

const HOST: &str = "one.example";

pub(crate) async fn gauges_show_the_policy_in_force(testbed: &Testbed) -> Result<()> {
    let one = policy("one", &[HOST]);
    let two = policy("two", &[HOST, "two.example"]);
    for discovered in [Discovered::Plugin, Discovered::Listener] {
        let upstream = Upstream::start(|_, _| true).await?;
        let plan = Plan::new(&Plugin::new(&one)?, discovered)?.workers(2);
        let mut gateway = plan.start(testbed, &upstream).await?;
        if !testbed.sets_gauges() {
            ensure!(gateway.gauges().await?.is_empty());
            continue;
        }
        shows(&gateway, &one).await?;

        // While a request is under way, Envoy keeps what decided on it.
        let address = gateway.envoy.listener("egress")?;
        let mut caller = Caller::http1(address).await?;
        let held = tokio::spawn(async move { caller.start(HOST, HANGS).await.map(drop) });
        soon(async || {
            ensure!(upstream.requests() == 1);
            Ok(())
        })
        .await?;
        ensure!(update(&mut gateway, discovered, &two).await?);
        shows(&gateway, &two).await?;
        ensure!(!update(&mut gateway, discovered, &json!({"policy": "bad"})).await?);
        shows(&gateway, &two).await?;
        ensure!(update(&mut gateway, discovered, &one).await?);
        // Where Envoy takes up what it kept, it configures nothing: then the next request shows it.
        soon(async || {
            Caller::http1(address).await?.get(HOST, "/").await?;
            is_shown(&gateway, &one).await
        })
        .await?;
        ensure!(!held.is_finished());
    }
    Ok(())
}

async fn update(gateway: &mut Gateway, discovered: Discovered, policy: &Value) -> Result<bool> {
    let plugin = Plugin::new(policy)?;
    match discovered {
        Discovered::Plugin => gateway.update_plugin(&plugin).await,
        _ => gateway.update_plugin_in_listener(&plugin).await,
    }
}

async fn shows(gateway: &Gateway, policy: &Value) -> Result<()> {
    soon(async || is_shown(gateway, policy).await).await
}

/// Whether the gauges have the hash and the sizes of a policy.
async fn is_shown(gateway: &Gateway, policy: &Value) -> Result<()> {
    let config = config::read(policy.to_string().as_bytes()).expect("a good policy");
    let expected = BTreeMap::from([
        ("policy_hash".to_owned(), config.hash),
        ("policy_hosts".to_owned(), config.hosts as u64),
        ("policy_rules".to_owned(), 1),
    ]);
    let gauges = gateway.gauges().await?;
    ensure!(gauges == expected, "{gauges:?}, not {expected:?}");
    Ok(())
}
