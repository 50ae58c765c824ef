//! Configurations that Envoy cannot use, first ones and updates, and the way back. Connections that
//! stand meanwhile keep the policy that let them pass.

use std::net::SocketAddr;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use super::{DENIED, FAILURE_POLICIES, MORE, open, passes, plugin};
use crate::bad_plugin::{BadPlugin, Modules};
use crate::gateway::{Discovered, Plan, soon};
use crate::plugin::{Plane, Plugin};
use envoy_kit::testbed::Testbed;
use envoy_kit::tls::caller::Caller;
use envoy_kit::tls::hello::Hello;
use envoy_kit::tls::upstream::Upstream;

const OLD: &str = "old.example";
const NEW: &str = "new.example";

pub(crate) async fn a_bad_update_leaves_the_old_policy_deciding_connections(
    testbed: &Testbed,
) -> Result<()> {
    let upstream = Upstream::start().await?;
    let gateway = Plan::new(&old()?, Discovered::Plugin)?.start(testbed, &upstream).await?;
    let address = gateway.envoy.listener("egress")?;
    let mut standing = stand(address).await?;
    let modules = Modules::write()?;
    for bad in BadPlugin::all(Plane::Connections, &modules)? {
        bad.is_refused_by(&gateway).await?;
        assert_passes_only(OLD, address).await.context(bad.name)?;
        ensure!(standing.exchange(MORE).await?, "{}", bad.name);
    }
    ensure!(gateway.update_plugin(&new()?).await?);
    assert_passes_only_soon(NEW, address).await?;
    ensure!(standing.exchange(MORE).await?, "the new policy closed it");
    drop(standing);
    assert_none_denied(&upstream).await
}

pub(crate) async fn a_bad_update_in_a_listener_leaves_the_old_policy_deciding_connections(
    testbed: &Testbed,
) -> Result<()> {
    let upstream = Upstream::start().await?;
    let plan = Plan::new(&old()?, Discovered::Listener)?;
    let mut gateway = plan.start(testbed, &upstream).await?;
    let address = gateway.envoy.listener("egress")?;
    let mut standing = stand(address).await?;
    let modules = Modules::write()?;
    for bad in BadPlugin::all(Plane::Connections, &modules)? {
        bad.is_refused_in_the_listener_of(&mut gateway).await?;
        assert_passes_only(OLD, address).await.context(bad.name)?;
        ensure!(standing.exchange(MORE).await?, "{}", bad.name);
    }
    ensure!(gateway.update_plugin_in_listener(&new()?).await?);
    ensure!(gateway.address().await? == Some(address), "the listener keeps its address");
    assert_passes_only_soon(NEW, address).await?;
    // For Envoy's 600 seconds.
    ensure!(standing.exchange(MORE).await?, "the new listener closed it");
    drop(standing);
    assert_none_denied(&upstream).await
}

/// By discovery of its own, a plugin that was never good leaves a listener that closes everything.
pub(crate) async fn a_bad_first_plugin_is_closed_for_connections(testbed: &Testbed) -> Result<()> {
    let upstream = Upstream::start().await?;
    let modules = Modules::write()?;
    let first = BadPlugin::policy(Plane::Connections)?;
    let plan = Plan::new(&first.plugin, Discovered::Plugin)?.without_guard()?;
    let gateway = plan.start(testbed, &upstream).await?;
    let address = gateway.envoy.listener("egress")?;
    first.is_explained_by(&gateway).await?;
    assert_all_closed(address).await?;
    for bad in BadPlugin::all(Plane::Connections, &modules)?.into_iter().skip(1) {
        bad.is_refused_by(&gateway).await?;
        assert_all_closed(address).await.context(bad.name)?;
    }
    ensure!(upstream.all_arrivals().await?.is_empty(), "there was a connection");
    ensure!(gateway.update_plugin(&new()?).await?);
    assert_passes_only_soon(NEW, address).await?;
    assert_none_denied(&upstream).await
}

/// Inside a listener's own configuration, it takes the listener with it: nobody can connect.
pub(crate) async fn a_bad_first_plugin_in_a_listener_is_closed_for_connections(
    testbed: &Testbed,
) -> Result<()> {
    let upstream = Upstream::start().await?;
    let modules = Modules::write()?;
    let first = BadPlugin::policy(Plane::Connections)?;
    let plan = Plan::new(&first.plugin, Discovered::Listener)?.without_guard()?;
    let mut gateway = plan.start(testbed, &upstream).await?;
    first.is_explained_by(&gateway).await?;
    ensure!(gateway.address().await?.is_none(), "there is a listener");
    for bad in BadPlugin::all(Plane::Connections, &modules)?.into_iter().skip(1) {
        bad.is_refused_in_the_listener_of(&mut gateway).await?;
        ensure!(gateway.address().await?.is_none(), "{} has a listener", bad.name);
    }
    ensure!(gateway.update_plugin_in_listener(&new()?).await?);
    let address = gateway.address().await?.context("a listener")?;
    assert_passes_only_soon(NEW, address).await?;
    assert_none_denied(&upstream).await
}

pub(crate) async fn a_bad_connection_plugin_in_a_bootstrap_does_not_start(
    testbed: &Testbed,
) -> Result<()> {
    let upstream = Upstream::start().await?;
    let modules = Modules::write()?;
    for bad in BadPlugin::all(Plane::Connections, &modules)? {
        bad.starts_no_envoy(testbed, &upstream).await?;
    }
    Ok(())
}

/// Nothing under the plugin's name: Envoy waits for it no longer than its first answer.
pub(crate) async fn an_undelivered_plugin_is_closed_for_connections(
    testbed: &Testbed,
) -> Result<()> {
    let upstream = Upstream::start().await?;
    let plan = Plan::new(&new()?, Discovered::Plugin)?.with_empty_discovery().without_guard()?;
    let gateway = plan.start(testbed, &upstream).await?;
    let address = gateway.envoy.listener("egress")?;
    assert_all_closed(address).await?;
    ensure!(upstream.all_arrivals().await?.is_empty(), "there was a connection");
    ensure!(gateway.update_plugin(&new()?).await?);
    assert_passes_only_soon(NEW, address).await?;
    assert_none_denied(&upstream).await
}

/// A control plane that no longer knows the plugin delivers the listener without it: the guard
/// closes what is new.
pub(crate) async fn a_deleted_plugin_is_closed_for_connections(testbed: &Testbed) -> Result<()> {
    let upstream = Upstream::start().await?;
    let plan = Plan::new(&old()?, Discovered::Both)?;
    let mut gateway = plan.start(testbed, &upstream).await?;
    let address = gateway.envoy.listener("egress")?;
    assert_passes_only(OLD, address).await?;
    let mut standing = stand(address).await?;

    let mut plugin = Value::Null;
    ensure!(gateway.update_filters(|filters| plugin = filters.remove(0)).await?);
    soon(async || assert_all_closed(address).await).await?;
    ensure!(standing.exchange(MORE).await?, "it was closed");
    drop(standing);
    let arrived = bytes(&upstream).await?;
    assert_all_closed(address).await?;
    ensure!(bytes(&upstream).await? == arrived);
    let guarded = |record: &Value| {
        record["connection_termination_details"] == "rbac_access_denied_matched_policy[none]"
    };
    gateway.envoy.first_record(guarded).await?;

    ensure!(gateway.update_filters(|filters| filters.insert(0, plugin)).await?);
    assert_passes_only_soon(OLD, address).await?;
    assert_none_denied(&upstream).await
}

/// The one fault of a configuration that Envoy does not look for before it takes it: it costs the
/// old policy, and everything new is closed until there is another one.
pub(crate) async fn a_connection_plugin_whose_root_traps_is_accepted_and_closed(
    testbed: &Testbed,
) -> Result<()> {
    for failure_policy in FAILURE_POLICIES {
        let upstream = Upstream::start().await?;
        let plan = Plan::new(&old()?, Discovered::Plugin)?.without_guard()?;
        let gateway = plan.start(testbed, &upstream).await?;
        let address = gateway.envoy.listener("egress")?;
        assert_passes_only(OLD, address).await?;
        let mut standing = stand(address).await?;
        let bad = new()?.fault("fault/trap/root_context_create/every/1");
        ensure!(gateway.update_plugin(&bad.failure_policy(failure_policy)).await?);
        soon(async || assert_all_closed(address).await).await?;
        ensure!(standing.exchange(MORE).await?, "it was closed");
        // Of the same module, and so for the same VM.
        ensure!(gateway.update_plugin(&new()?.fault("egress-warden")).await?);
        assert_passes_only_soon(NEW, address).await?;
        ensure!(standing.exchange(MORE).await?, "it was closed");
        drop(standing);
        assert_none_denied(&upstream).await?;
    }
    Ok(())
}

/// As a network filter without the root id that says so, the module is asked of connections what it
/// has no policy for.
pub(crate) async fn a_network_filter_that_judges_requests_is_closed(
    testbed: &Testbed,
) -> Result<()> {
    for root_id in ["", "egress-warden", "connection"] {
        let upstream = Upstream::start().await?;
        let plan = Plan::new(&old()?.root_id(root_id), Discovered::Plugin)?.without_guard()?;
        let gateway = plan.start(testbed, &upstream).await?;
        let address = gateway.envoy.listener("egress")?;
        assert_all_closed(address).await?;
        ensure!(upstream.all_arrivals().await?.iter().all(Vec::is_empty), "bytes arrived");
        ensure!(gateway.update_plugin(&new()?).await?);
        assert_passes_only_soon(NEW, address).await?;
    }
    Ok(())
}

fn old() -> Result<Plugin> {
    plugin("old", &[OLD])
}

fn new() -> Result<Plugin> {
    plugin("new", &[NEW])
}

/// A connection that the old policy lets pass, and that stays.
async fn stand(gateway: SocketAddr) -> Result<Caller> {
    let (caller, is_answered) = open(gateway, OLD).await?;
    ensure!(is_answered);
    Ok(caller)
}

async fn assert_passes_only(allowed: &str, address: SocketAddr) -> Result<()> {
    for host in [OLD, NEW, DENIED] {
        ensure!(passes(address, host).await? == (host == allowed), "{host}");
    }
    Ok(())
}

/// Workers take an update a moment after Envoy accepted it.
async fn assert_passes_only_soon(allowed: &str, address: SocketAddr) -> Result<()> {
    soon(async || assert_passes_only(allowed, address).await).await
}

async fn assert_all_closed(address: SocketAddr) -> Result<()> {
    for host in [OLD, NEW, DENIED] {
        ensure!(!passes(address, host).await?, "{host} passes");
    }
    Ok(())
}

async fn bytes(upstream: &Upstream) -> Result<usize> {
    Ok(upstream.all_arrivals().await?.iter().map(Vec::len).sum())
}

/// No policy here lets it pass.
async fn assert_none_denied(upstream: &Upstream) -> Result<()> {
    let hello = Hello::to(DENIED).to_bytes();
    let arrivals = upstream.all_arrivals().await?;
    ensure!(arrivals.iter().all(|bytes| bytes.is_empty() || !hello.starts_with(bytes)));
    Ok(())
}
