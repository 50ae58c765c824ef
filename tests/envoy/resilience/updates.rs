//! Configurations that Envoy cannot use, first ones and updates, and the way back.

use std::net::SocketAddr;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use super::bad_plugin::{BadPlugin, Modules};
use super::gateway::{Discovered, Plan, soon};
use super::plugin::{Plane, Plugin, connection_manager, policy};
use super::upstream::{REDIRECTS, Upstream};
use envoy_kit::call::{Answer, Call};
use envoy_kit::shell::Shell;
use envoy_kit::testbed::Testbed;

const OLD: &str = "old.example";
const NEW: &str = "new.example";
const DENIED: &str = "denied.example";

pub(crate) async fn a_bad_update_leaves_the_old_policy_deciding(testbed: &Testbed) -> Result<()> {
    let upstream = upstream().await?;
    let plan = Plan::new(&old()?, Discovered::Plugin)?;
    let gateway = plan.start(testbed, &upstream).await?;
    let address = gateway.envoy.listener("egress")?;
    let modules = Modules::write()?;
    for bad in BadPlugin::all(Plane::Requests, &modules)? {
        bad.is_refused_by(&gateway).await?;
        assert_passes_only(OLD, address).await.context(bad.name)?;
    }
    ensure!(gateway.update_plugin(&new()?).await?);
    assert_passes_only_soon(NEW, address).await?;
    assert_no_stray(&upstream)
}

pub(crate) async fn a_bad_update_in_a_listener_leaves_the_old_policy_deciding(
    testbed: &Testbed,
) -> Result<()> {
    let upstream = upstream().await?;
    let plan = Plan::new(&old()?, Discovered::Listener)?;
    let mut gateway = plan.start(testbed, &upstream).await?;
    let address = gateway.envoy.listener("egress")?;
    let modules = Modules::write()?;
    for bad in BadPlugin::all(Plane::Requests, &modules)? {
        bad.is_refused_in_the_listener_of(&mut gateway).await?;
        assert_passes_only(OLD, address).await.context(bad.name)?;
    }
    ensure!(gateway.update_plugin_in_listener(&new()?).await?);
    ensure!(gateway.address().await? == Some(address), "the listener keeps its address");
    assert_passes_only_soon(NEW, address).await?;
    assert_no_stray(&upstream)
}

/// By discovery of its own, a plugin that was never good answers 500.
pub(crate) async fn a_bad_first_plugin_is_closed(testbed: &Testbed) -> Result<()> {
    let upstream = upstream().await?;
    let modules = Modules::write()?;
    let first = BadPlugin::policy(Plane::Requests)?;
    let plan = Plan::new(&first.plugin, Discovered::Plugin)?;
    let gateway = plan.start(testbed, &upstream).await?;
    let address = gateway.envoy.listener("egress")?;
    first.is_explained_by(&gateway).await?;
    assert_all_answered(500, address).await?;
    for bad in BadPlugin::all(Plane::Requests, &modules)?.into_iter().skip(1) {
        bad.is_refused_by(&gateway).await?;
        assert_all_answered(500, address).await.context(bad.name)?;
    }
    ensure!(upstream.bytes() == 0);
    ensure!(gateway.update_plugin(&new()?).await?);
    assert_passes_only_soon(NEW, address).await?;
    assert_no_stray(&upstream)
}

/// A configuration that is sent again as it was is taken for one that is known: where the fault was
/// a file that was not there yet, something in the configuration has to change.
pub(crate) async fn a_plugin_that_comes_again_unchanged_is_not_tried_again(
    testbed: &Testbed,
) -> Result<()> {
    let upstream = upstream().await?;
    let modules = Modules::write()?;
    let late = modules.file("late.wasm");
    // Something good comes first: Envoy 1.37.0 crashes where its first VM of all starts after its workers.
    let plan = Plan::new(&new()?, Discovered::Plugin)?;
    let gateway = plan.start(testbed, &upstream).await?;
    let address = gateway.envoy.listener("egress")?;
    ensure!(!gateway.update_plugin(&old()?.module(&late)).await?);
    assert_passes_only(NEW, address).await?;

    std::fs::copy(format!("{}/target/egress_warden.wasm", kit::REPOSITORY), &late)?;
    gateway.update_plugin(&old()?.module(&late)).await?;
    assert_passes_only(NEW, address).await?;

    ensure!(gateway.update_plugin(&new()?.module(&late)).await?);
    ensure!(gateway.update_plugin(&old()?.module(&late)).await?);
    assert_passes_only_soon(OLD, address).await?;
    assert_no_stray(&upstream)
}

/// Inside a listener's own configuration, it takes the listener with it: nobody can connect.
pub(crate) async fn a_bad_first_plugin_in_a_listener_is_closed(testbed: &Testbed) -> Result<()> {
    let upstream = upstream().await?;
    let modules = Modules::write()?;
    let first = BadPlugin::policy(Plane::Requests)?;
    let plan = Plan::new(&first.plugin, Discovered::Listener)?;
    let mut gateway = plan.start(testbed, &upstream).await?;
    first.is_explained_by(&gateway).await?;
    ensure!(gateway.address().await?.is_none(), "there is a listener");
    for bad in BadPlugin::all(Plane::Requests, &modules)?.into_iter().skip(1) {
        bad.is_refused_in_the_listener_of(&mut gateway).await?;
        ensure!(gateway.address().await?.is_none(), "{} has a listener", bad.name);
    }
    ensure!(gateway.update_plugin_in_listener(&new()?).await?);
    let address = gateway.address().await?.context("a listener")?;
    assert_passes_only_soon(NEW, address).await?;
    assert_no_stray(&upstream)
}

pub(crate) async fn a_bad_plugin_in_a_bootstrap_does_not_start(testbed: &Testbed) -> Result<()> {
    let upstream = upstream().await?;
    let modules = Modules::write()?;
    for bad in BadPlugin::all(Plane::Requests, &modules)? {
        bad.starts_no_envoy(testbed, &upstream).await?;
    }
    ensure!(upstream.bytes() == 0);
    Ok(())
}

/// Nothing under the plugin's name: Envoy waits for it no longer than its first answer.
pub(crate) async fn an_undelivered_plugin_is_closed(testbed: &Testbed) -> Result<()> {
    let upstream = upstream().await?;
    let plan = Plan::new(&new()?, Discovered::Plugin)?.with_empty_discovery();
    let gateway = plan.start(testbed, &upstream).await?;
    let address = gateway.envoy.listener("egress")?;
    assert_all_answered(500, address).await?;
    ensure!(upstream.bytes() == 0);
    ensure!(gateway.update_plugin(&new()?).await?);
    assert_passes_only_soon(NEW, address).await?;
    assert_no_stray(&upstream)
}

/// A control plane that no longer knows the plugin delivers the listener without it.
pub(crate) async fn a_deleted_plugin_is_closed(testbed: &Testbed) -> Result<()> {
    let upstream = upstream().await?;
    let plan = Plan::new(&old()?, Discovered::Both)?;
    let mut gateway = plan.start(testbed, &upstream).await?;
    let address = gateway.envoy.listener("egress")?;
    assert_passes_only(OLD, address).await?;
    let arrived = upstream.bytes();

    let mut plugin = Value::Null;
    ensure!(gateway.update_filters(|filters| plugin = filters.remove(0)).await?);
    soon(async || assert_all_answered(403, address).await).await?;
    let deleted = upstream.bytes();
    for host in [OLD, NEW, DENIED] {
        let answer = Call::get(host).http1(address).await?;
        ensure!(answer.body == "RBAC: access denied", "{answer:?}");
    }
    ensure!(upstream.bytes() == deleted, "{arrived}, then {deleted} bytes");

    ensure!(gateway.update_filters(|filters| filters.insert(0, plugin)).await?);
    assert_passes_only_soon(OLD, address).await?;
    assert_no_stray(&upstream)
}

/// While the last word on the plugin is a bad one, Envoy refuses every update of a listener that
/// uses it, and does not come back to it: it must be sent again.
pub(crate) async fn while_a_plugin_is_bad_listeners_are_not_updated(
    testbed: &Testbed,
) -> Result<()> {
    let upstream = upstream().await?;
    let plan = Plan::new(&old()?, Discovered::Both)?;
    let mut gateway = plan.start(testbed, &upstream).await?;
    let address = gateway.envoy.listener("egress")?;
    let server = async |address| -> Result<String> {
        Ok(Call::get(DENIED).http1(address).await?.header("server").to_owned())
    };

    ensure!(!gateway.update_plugin(&BadPlugin::policy(Plane::Requests)?.plugin).await?);
    let rename = |listener: &mut Value| {
        connection_manager(listener)["server_name"] = json!("renamed");
    };
    ensure!(!gateway.update_listener(rename).await?, "the listener was updated");
    assert_passes_only(OLD, address).await?;

    ensure!(gateway.update_plugin(&new()?).await?);
    assert_passes_only_soon(NEW, address).await?;
    ensure!(server(address).await? == "envoy", "the listener was updated late");

    ensure!(gateway.update_listener(|_| ()).await?);
    soon(async || {
        let server = server(address).await?;
        ensure!(server == "renamed", "{server}");
        Ok(())
    })
    .await?;
    assert_passes_only_soon(NEW, address).await?;
    assert_no_stray(&upstream)
}

/// The one fault of a configuration that Envoy does not look for before it takes it: it costs the
/// old policy, and everything is refused until there is another one.
pub(crate) async fn a_plugin_whose_root_traps_is_accepted_and_closed(
    testbed: &Testbed,
) -> Result<()> {
    for failure_policy in ["FAIL_CLOSED", "FAIL_RELOAD"] {
        let upstream = upstream().await?;
        let plan = Plan::new(&old()?, Discovered::Plugin)?.without_guard()?;
        let gateway = plan.start(testbed, &upstream).await?;
        let address = gateway.envoy.listener("egress")?;
        assert_passes_only(OLD, address).await?;
        let arrived = upstream.requests();
        let bad = new()?.fault("fault/trap/root_context_create/every/1");
        ensure!(gateway.update_plugin(&bad.failure_policy(failure_policy)).await?);
        soon(async || assert_all_answered(503, address).await).await?;
        let closed = upstream.requests();
        assert_all_answered(503, address).await?;
        ensure!(upstream.requests() == closed, "{arrived}, then {closed} requests");
        // Of the same module, and so for the same VM.
        ensure!(gateway.update_plugin(&new()?.fault("egress-warden")).await?);
        assert_passes_only_soon(NEW, address).await?;
        assert_no_stray(&upstream)?;
    }
    Ok(())
}

/// The old policy decides the first pass of a request, the new one the second, and does not know what
/// the old one stamped.
pub(crate) async fn a_request_that_is_redirected_across_an_update_is_refused(
    testbed: &Testbed,
) -> Result<()> {
    let upstream = upstream().await?;
    let plan = Plan::new(&old()?, Discovered::Plugin)?.follow_redirects()?;
    let gateway = plan.start(testbed, &upstream).await?;
    let address = gateway.envoy.listener("egress")?;
    let call = Call::get(OLD).path(REDIRECTS);
    let redirected = tokio::spawn(async move { call.http1(address).await });
    soon(async || {
        ensure!(upstream.requests() == 1);
        Ok(())
    })
    .await?;

    ensure!(gateway.update_plugin(&new()?).await?);
    assert_passes_only_soon(NEW, address).await?;
    let arrived = upstream.requests();
    upstream.release();
    let answer = redirected.await??;
    ensure!(answer.status == 503, "{answer:?}");
    ensure!(answer.json()?["reason"] == "proxy_error", "{answer:?}");
    ensure!(upstream.requests() == arrived, "the redirected request arrived");
    let reason = match testbed.shell() {
        Shell::Wasm => "`old@",
        Shell::Native => "requests of several policies were open",
    };
    gateway.envoy.error_log(reason).await?;

    // Under one policy the second pass is decided like any other.
    let call = Call::get(NEW).path(REDIRECTS);
    upstream.release();
    let answer = call.http1(address).await?;
    ensure!(answer.status == 200, "{answer:?}");
    assert_passes_only(NEW, address).await?;
    assert_no_stray(&upstream)
}

async fn upstream() -> Result<Upstream> {
    Upstream::start(|policy, host| (policy, host) == ("old", OLD) || (policy, host) == ("new", NEW))
        .await
}

fn old() -> Result<Plugin> {
    Plugin::new(&policy("old", &[OLD]))
}

fn new() -> Result<Plugin> {
    Plugin::new(&policy("new", &[NEW]))
}

async fn assert_passes_only(allowed: &str, address: SocketAddr) -> Result<()> {
    for host in [OLD, NEW, DENIED] {
        for answer in both_protocols(host, address).await? {
            let status = if host == allowed { 200 } else { 403 };
            ensure!(answer.status == status, "{host}: {answer:?}");
        }
    }
    Ok(())
}

async fn assert_all_answered(status: u16, address: SocketAddr) -> Result<()> {
    for host in [OLD, NEW, DENIED] {
        for answer in both_protocols(host, address).await? {
            ensure!(answer.status == status, "{host}: {answer:?}");
        }
    }
    Ok(())
}

async fn both_protocols(host: &str, address: SocketAddr) -> Result<[Answer; 2]> {
    let call = Call::get(host);
    Ok([call.http1(address).await?, call.http2(address).await?])
}

/// Workers take an update a moment after Envoy accepted it.
async fn assert_passes_only_soon(allowed: &str, address: SocketAddr) -> Result<()> {
    soon(async || assert_passes_only(allowed, address).await).await
}

fn assert_no_stray(upstream: &Upstream) -> Result<()> {
    let strays = upstream.strays();
    ensure!(strays.is_empty(), "{strays:#?}");
    Ok(())
}
