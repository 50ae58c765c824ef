//! The VM fails in the middle of traffic. No guard stands behind the filter: what is closed here is
//! closed without it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use serde_json::json;
use tokio_rustls::rustls::ClientConfig;

use super::{ALLOWED, DENIED, FAILURE_POLICIES, MORE, Traffic, open, plugin};
use crate::gateway::{Discovered, Gateway, PATIENCE, Plan, soon};
use crate::plugin::{Plugin, connection_policy};
use envoy_kit::certificates::Authority;
use envoy_kit::testbed::Testbed;
use envoy_kit::tls::caller::Caller;
use envoy_kit::tls::hello::Hello;
use envoy_kit::tls::upstream::Upstream;

/// Between two connections while the filter is down.
const PAUSE: Duration = Duration::from_millis(10);

pub(crate) async fn a_trap_when_a_connection_begins_is_closed(testbed: &Testbed) -> Result<()> {
    let faults = ["trap/context_create/every/1", "trap/context_create/every/100"];
    fails_closed(testbed, faults, Way::Clear).await
}

pub(crate) async fn a_trap_at_a_new_connection_is_closed(testbed: &Testbed) -> Result<()> {
    let faults = ["trap/new_connection/every/1", "trap/new_connection/every/100"];
    fails_closed(testbed, faults, Way::Clear).await
}

/// In the clear the verdict is there by then.
pub(crate) async fn a_trap_at_the_first_bytes_is_closed(testbed: &Testbed) -> Result<()> {
    let faults = ["trap/downstream_data/every/1", "trap/downstream_data/every/100"];
    fails_closed(testbed, faults, Way::Clear).await
}

/// Within the mesh's TLS this is where the verdict is to come.
pub(crate) async fn a_trap_at_the_first_bytes_within_tls_is_closed(
    testbed: &Testbed,
) -> Result<()> {
    let faults = ["trap/downstream_data/every/1", "trap/downstream_data/every/100"];
    fails_closed(testbed, faults, Way::within_tls()?).await
}

/// The answer to what the verdict let pass is lost.
pub(crate) async fn a_trap_at_an_answer_is_closed(testbed: &Testbed) -> Result<()> {
    let faults = ["trap/upstream_data/every/1", "trap/upstream_data/every/99"];
    fails_closed(testbed, faults, Way::Clear).await
}

pub(crate) async fn a_trap_at_an_answer_within_tls_is_closed(testbed: &Testbed) -> Result<()> {
    let faults = ["trap/upstream_data/every/1", "trap/upstream_data/every/99"];
    fails_closed(testbed, faults, Way::within_tls()?).await
}

/// The upstream was dialled before the verdict, and speaks to callers that say nothing.
pub(crate) async fn a_trap_at_an_upstream_that_speaks_first_is_closed(
    testbed: &Testbed,
) -> Result<()> {
    const FAULT: &str = "trap/upstream_data/every/1";
    for failure_policy in FAILURE_POLICIES {
        let mut failing =
            Failing::start(testbed, FAULT, failure_policy, &Way::within_tls()?).await?;
        failing.upstream.speak_first(true);
        let started = Instant::now();
        let mut silent = 0;
        while silent < 20
            || (failure_policy == "FAIL_RELOAD" && failing.gateway.reloads().await? < 2)
        {
            for host in [ALLOWED, DENIED] {
                ensure!(!failing.say(host, b"").await?, "a byte of the upstream passed");
                silent += 1;
            }
            ensure!(started.elapsed() < PATIENCE, "no VM is replaced");
            tokio::time::sleep(PAUSE).await;
        }
        let outcomes = failing.traffic.outcomes(&failing.gateway).await?;
        ensure!(outcomes.count(|it| it.decision == "allow") == 0, "{outcomes}");
        ensure!(failing.upstream.all_arrivals().await?.iter().all(Vec::is_empty));

        failing.upstream.speak_first(false);
        if failure_policy == "FAIL_CLOSED" {
            ensure!(!failing.send(ALLOWED).await?, "the fault never struck");
        }
        failing.repair(failure_policy).await?;
        failing.finish("trap/upstream_data before the verdict", failure_policy).await?;
    }
    Ok(())
}

/// The VM fails between two callbacks of a connection: while some that it knows wait for their
/// verdict.
pub(crate) async fn a_trap_while_connections_wait_is_closed(testbed: &Testbed) -> Result<()> {
    tokio::try_join!(
        closed_while_some_wait(testbed, "FAIL_CLOSED"),
        closed_while_some_wait(testbed, "FAIL_RELOAD"),
    )?;
    Ok(())
}

pub(crate) async fn a_trap_in_the_allocator_at_a_connection_is_closed(
    testbed: &Testbed,
) -> Result<()> {
    // The first calls of a VM return the node id and its configuration.
    let faults = ["trap/memory_allocate/every/3", "trap/memory_allocate/every/200"];
    fails_closed(testbed, faults, Way::Clear).await
}

pub(crate) async fn a_trap_when_a_connection_ends_is_closed(testbed: &Testbed) -> Result<()> {
    fails_closed(testbed, ["trap/delete/every/1", "trap/delete/every/100"], Way::Clear).await
}

/// The allocator traps when the verdict no longer needs what was asked for: the filter says
/// "allow", and Envoy no longer listens.
pub(crate) async fn no_connection_passes_that_a_failed_vm_allows(testbed: &Testbed) -> Result<()> {
    let mut policy = connection_policy("faulty", &[ALLOWED]);
    // So the filter asks for the caller's address when it has decided: the sixth thing after the
    // node id, the policy, the version of TLS, the server name and the certificate.
    policy["log"] = json!({"requests": "all"});
    let plugin = Plugin::of_connections(&policy)?.fault("fault/trap/memory_allocate/every/6");
    for failure_policy in FAILURE_POLICIES {
        let upstream = Upstream::start().await?;
        let plugin = plugin.clone().failure_policy(failure_policy);
        let plan = Plan::new(&plugin, Discovered::Nothing)?.without_guard()?;
        let gateway = plan.start(testbed, &upstream).await?;
        let mut traffic = Traffic::default();
        ensure!(!traffic.send(gateway.envoy.listener("egress")?, ALLOWED).await?);
        let outcomes = traffic.outcomes(&gateway).await?;
        ensure!(outcomes.count(|it| it.decision == "allow") == 1, "{outcomes}");
        traffic.assert_arrivals(&upstream).await?;
    }
    Ok(())
}

/// Connections that the failed VM had let pass stay open until their next byte, which no longer
/// passes; another configuration does not bring them back.
pub(crate) async fn what_stood_when_the_vm_failed_ends_at_its_next_byte(
    testbed: &Testbed,
) -> Result<()> {
    for failure_policy in FAILURE_POLICIES {
        let upstream = Upstream::start().await?;
        let faulty = plugin("faulty", &[ALLOWED])?.fault("fault/trap/new_connection/every/3");
        let faulty = faulty.failure_policy(failure_policy);
        let plan = Plan::new(&faulty, Discovered::Plugin)?.without_guard()?;
        let gateway = plan.start(testbed, &upstream).await?;
        let address = gateway.envoy.listener("egress")?;
        let [(mut first, is_first), (mut second, is_second), (_, is_third)] = [
            open(address, ALLOWED).await?,
            open(address, ALLOWED).await?,
            open(address, ALLOWED).await?,
        ];
        ensure!([is_first, is_second, is_third] == [true, true, false]);
        ensure!(!first.exchange(MORE).await?, "it goes on without a filter");

        ensure!(gateway.update_plugin(&plugin("repaired", &[ALLOWED])?).await?);
        soon(async || {
            ensure!(open(address, ALLOWED).await?.1);
            Ok(())
        })
        .await?;
        ensure!(!second.exchange(MORE).await?, "it goes on without a filter");
        drop((first, second));
        let hello = Hello::to(ALLOWED).to_bytes();
        let arrivals = upstream.all_arrivals().await?;
        ensure!(arrivals.iter().all(|bytes| bytes.is_empty() || *bytes == hello));
    }
    Ok(())
}

/// How callers come to the gateway.
#[derive(Clone)]
enum Way {
    Clear,
    /// The gateway ends the mesh's mutual TLS around what they send.
    WithinTls(Arc<Authority>, Arc<ClientConfig>),
}

impl Way {
    fn within_tls() -> Result<Self> {
        let (mesh, config) = mesh()?;
        Ok(Self::WithinTls(Arc::new(mesh), config))
    }
}

/// The mesh, and how one of its workloads begins TLS.
fn mesh() -> Result<(Authority, Arc<ClientConfig>)> {
    let mesh = Authority::new(&[ALLOWED, DENIED])?;
    let caller = mesh.caller("spiffe://cluster.local/ns/shop/sa/front")?;
    let config = mesh.client(Some(&caller), "istio")?;
    Ok((mesh, config))
}

/// Each fault, which strikes at all calls or at one in a hundred, under each failure policy.
async fn fails_closed(testbed: &Testbed, [all, some]: [&str; 2], way: Way) -> Result<()> {
    tokio::try_join!(
        closed_until_configured(testbed, all, &way),
        closed_until_configured(testbed, some, &way),
        closed_until_reloaded(testbed, all, &way, Share::All),
        closed_until_reloaded(testbed, some, &way, Share::Some),
    )?;
    Ok(())
}

/// Under `FAIL_CLOSED` a failed VM refuses until there is another configuration.
async fn closed_until_configured(testbed: &Testbed, fault: &str, way: &Way) -> Result<()> {
    let mut failing = Failing::start(testbed, fault, "FAIL_CLOSED", way).await?;
    failing.until(false).await?;
    for _ in 0..20 {
        for host in [ALLOWED, DENIED] {
            ensure!(!failing.send(host).await?);
        }
    }
    failing.repair("FAIL_CLOSED").await?;
    failing.finish(fault, "FAIL_CLOSED").await
}

enum Share {
    All,
    Some,
}

/// Under `FAIL_RELOAD` a failed VM is replaced after about a second.
async fn closed_until_reloaded(
    testbed: &Testbed,
    fault: &str,
    way: &Way,
    share: Share,
) -> Result<()> {
    let mut failing = Failing::start(testbed, fault, "FAIL_RELOAD", way).await?;
    while failing.gateway.reloads().await? < 2 {
        failing.until(false).await?;
        if matches!(share, Share::Some) {
            let failed = Instant::now();
            failing.until(true).await?;
            println!("{fault}, FAIL_RELOAD: recovered after {:?}", failed.elapsed());
        }
    }
    failing.repair("FAIL_RELOAD").await?;
    failing.finish(fault, "FAIL_RELOAD").await
}

/// Each VM fails at its third tick: three seconds after somebody began to wait.
async fn closed_while_some_wait(testbed: &Testbed, failure_policy: &str) -> Result<()> {
    const FAULT: &str = "trap/tick/every/3";
    let (mesh, config) = mesh()?;
    let way = Way::WithinTls(Arc::new(mesh), Arc::clone(&config));
    let mut failing = Failing::start(testbed, FAULT, failure_policy, &way).await?;
    loop {
        let mut silent = Vec::new();
        for host in [ALLOWED, DENIED, ALLOWED, DENIED] {
            let caller = Caller::connect(failing.gateway.envoy.listener("egress")?).await?;
            silent.push((host, caller.wrap(Arc::clone(&config), host).await?));
        }
        ensure!(failing.send(ALLOWED).await?, "who waits holds up who does not");
        failing.until_struck().await?;

        let unasked = silent.split_off(2);
        for (host, mut caller) in silent {
            let is_answered = caller.exchange(&Hello::to(host).to_bytes()).await?;
            failing.traffic.note(caller.address, host, is_answered);
            ensure!(!is_answered, "it goes on without a filter");
        }
        failing.upstream.speak_first(true);
        for (host, mut caller) in unasked {
            let is_answered = caller.exchange(b"").await?;
            failing.traffic.note(caller.address, host, is_answered);
            ensure!(!is_answered, "a byte of the upstream passed");
        }
        failing.upstream.speak_first(false);
        if failure_policy == "FAIL_CLOSED" {
            ensure!(!failing.send(ALLOWED).await?);
            break;
        }
        failing.until(true).await?;
        if failing.gateway.reloads().await? >= 2 {
            break;
        }
    }
    failing.repair(failure_policy).await?;
    failing.finish(FAULT, failure_policy).await
}

/// A gateway under a fault, and what became of the connections so far.
struct Failing {
    gateway: Gateway,
    upstream: Upstream,
    way: Way,
    traffic: Traffic,
}

impl Failing {
    async fn start(
        testbed: &Testbed,
        fault: &str,
        failure_policy: &str,
        way: &Way,
    ) -> Result<Self> {
        let upstream = Upstream::start().await?;
        let plugin = plugin("faulty", &[ALLOWED])?.fault(&format!("fault/{fault}"));
        let plan = Plan::new(&plugin.failure_policy(failure_policy), Discovered::Plugin)?;
        let mut plan = plan.without_guard()?;
        if let Way::WithinTls(mesh, _) = way {
            plan = plan.require_mutual_tls(mesh)?;
        }
        let gateway = plan.start(testbed, &upstream).await?;
        Ok(Self { gateway, upstream, way: way.clone(), traffic: Traffic::default() })
    }

    /// Sends one hello; whether the upstream answered.
    async fn send(&mut self, host: &'static str) -> Result<bool> {
        self.say(host, &Hello::to(host).to_bytes()).await
    }

    /// Sends these bytes, or none, over a new connection; whether the upstream said its answer.
    async fn say(&mut self, host: &'static str, bytes: &[u8]) -> Result<bool> {
        let mut caller = Caller::connect(self.gateway.envoy.listener("egress")?).await?;
        let address = caller.address;
        let is_answered = match &self.way {
            Way::Clear => caller.exchange(bytes).await?,
            Way::WithinTls(_, config) => match caller.wrap(Arc::clone(config), host).await {
                Ok(mut caller) => caller.exchange(bytes).await?,
                Err(_) => false,
            },
        };
        self.traffic.note(address, host, is_answered);
        Ok(is_answered)
    }

    /// Sends hellos to both hosts until one to the allowed host comes out so.
    async fn until(&mut self, passes: bool) -> Result<()> {
        let started = Instant::now();
        loop {
            ensure!(!self.send(DENIED).await?);
            match self.send(ALLOWED).await? {
                passed if passed == passes => return Ok(()),
                true => {}
                false => tokio::time::sleep(PAUSE).await,
            }
            ensure!(started.elapsed() < PATIENCE, "nothing passed or everything: {passes}");
        }
    }

    /// Sends hellos to both hosts until the VM has failed: it refuses, or another takes its place at
    /// once, for which it need only be a second old.
    async fn until_struck(&mut self) -> Result<()> {
        let (started, reloads) = (Instant::now(), self.gateway.reloads().await?);
        while self.send(ALLOWED).await? && self.gateway.reloads().await? == reloads {
            ensure!(!self.send(DENIED).await?);
            ensure!(started.elapsed() < PATIENCE, "the fault never struck");
            tokio::time::sleep(PAUSE).await;
        }
        Ok(())
    }

    /// Delivers the same plugin without a fault: it must work at once.
    async fn repair(&mut self, failure_policy: &str) -> Result<()> {
        let plugin = plugin("repaired", &[ALLOWED])?.fault("egress-warden");
        let delivered = Instant::now();
        ensure!(self.gateway.update_plugin(&plugin.failure_policy(failure_policy)).await?);
        self.until(true).await?;
        println!("{failure_policy}: a new configuration works after {:?}", delivered.elapsed());
        for _ in 0..5 {
            ensure!(self.send(ALLOWED).await?);
            ensure!(!self.send(DENIED).await?);
        }
        Ok(())
    }

    /// Compares what was answered with what arrived and what was recorded.
    async fn finish(&self, fault: &str, failure_policy: &str) -> Result<()> {
        let outcomes = self.traffic.outcomes(&self.gateway).await?;
        println!("{fault}, {failure_policy}:\n{outcomes}");
        match fault.split('/').nth(1) {
            Some("upstream_data") => {
                let lost = self.traffic.lost_answers(&self.upstream, &outcomes).await?;
                ensure!(lost > 0, "{outcomes}");
            }
            // It may strike between a hello and its answer, or this at the answer to a hello that the
            // update was too late for.
            Some("tick" | "upstream_data before the verdict") => {
                self.traffic.lost_answers(&self.upstream, &outcomes).await?;
            }
            _ => self.traffic.assert_arrivals(&self.upstream).await?,
        }
        ensure!(outcomes.count(|it| it.passed && it.decision != "allow") == 0, "{outcomes}");
        ensure!(outcomes.count(|it| it.host == DENIED && it.decision == "allow") == 0);
        Ok(())
    }
}
