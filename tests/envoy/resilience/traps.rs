//! The VM fails in the middle of traffic.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::json;

use super::gateway::{Discovered, Gateway, PATIENCE, Plan, soon};
use super::plugin::{Plugin, policy};
use super::upstream::Upstream;
use envoy_kit::call::{Answer, Call};
use envoy_kit::testbed::Testbed;

const ALLOWED: &str = "allowed.example";
const DENIED: &str = "denied.example";
/// Between two requests while the filter is down.
const PAUSE: Duration = Duration::from_millis(10);

pub(crate) async fn a_trap_when_a_stream_begins_is_closed(testbed: &Testbed) -> Result<()> {
    fails_closed(testbed, ["trap/context_create/every/1", "trap/context_create/every/100"]).await
}

pub(crate) async fn a_trap_at_request_headers_is_closed(testbed: &Testbed) -> Result<()> {
    fails_closed(testbed, ["trap/request_headers/every/1", "trap/request_headers/every/100"]).await
}

/// The allocator is entered by the host, within a host call: the filter goes on, without what it
/// asked for, in a VM that has failed. The first two calls of a VM return the node id and its
/// configuration; then the headers of a request are returned at the third and at the 201st.
pub(crate) async fn a_trap_in_the_allocator_is_closed(testbed: &Testbed) -> Result<()> {
    fails_closed(testbed, ["trap/memory_allocate/every/3", "trap/memory_allocate/every/201"]).await
}

/// The allocator traps when the verdict no longer needs what was asked for: the filter says
/// "allow", and Envoy no longer listens.
pub(crate) async fn what_a_failed_vm_allows_does_not_pass(testbed: &Testbed) -> Result<()> {
    let upstream = Upstream::start(|_, host| host == ALLOWED).await?;
    let mut policy = policy("faulty", &[ALLOWED]);
    // So the filter asks for the port of every request: the fourth thing that it gets from Envoy,
    // after the node id, the policy and the headers.
    policy["rules"] = json!([
        policy["rules"][0],
        {"id": "no-ssh", "action": "deny", "to": [{"hosts": [DENIED], "ports": [22]}]},
    ]);
    let plugin = Plugin::new(&policy)?.fault("fault/trap/memory_allocate/every/4");
    for failure_policy in ["FAIL_CLOSED", "FAIL_RELOAD"] {
        let plugin = plugin.clone().failure_policy(failure_policy);
        let plan = Plan::new(&plugin, Discovered::Nothing)?.without_guard()?;
        let gateway = plan.start(testbed, &upstream).await?;
        let call = Call::new("POST", ALLOWED).body("everything we know");
        let answer = call.http1(gateway.envoy.listener("egress")?).await?;
        ensure!(outcome(&answer, ALLOWED)? == Outcome::Failed);
        let records = gateway.records(1).await?;
        ensure!(records[0]["egress_decision"] == "allow", "{records:#?}");
        ensure!(records[0]["response_code"] == 503, "{records:#?}");
    }
    ensure!(upstream.bytes() == 0);
    Ok(())
}

/// What the module with names is for: Envoy writes a backtrace of no other.
pub(crate) async fn a_module_with_names_leaves_a_backtrace(testbed: &Testbed) -> Result<()> {
    let mut traffic =
        Traffic::start(testbed, "trap/request_headers/every/1", "FAIL_CLOSED").await?;
    traffic.until(Outcome::Failed).await?;
    // Envoy writes it after the answer, in its own time.
    soon(async || {
        let logs = testbed.logs();
        let (_, backtrace) = logs.split_once("in-VM backtrace").context("a backtrace")?;
        for function in ["::fault::strike", "proxy_on_request_headers"] {
            ensure!(backtrace.contains(function), "{logs}");
        }
        Ok(())
    })
    .await
}

pub(crate) async fn a_trap_when_a_stream_ends_is_closed(testbed: &Testbed) -> Result<()> {
    fails_closed(testbed, ["trap/delete/every/1", "trap/delete/every/100"]).await
}

pub(crate) async fn running_out_of_memory_is_closed(testbed: &Testbed) -> Result<()> {
    let faults = ["exhaust/request_headers/every/1", "exhaust/request_headers/every/100"];
    fails_closed(testbed, faults).await
}

/// Each fault, which strikes at all requests or at one in a hundred, under each failure policy.
async fn fails_closed(testbed: &Testbed, [all, some]: [&str; 2]) -> Result<()> {
    tokio::try_join!(
        closed_until_configured(testbed, all),
        closed_until_configured(testbed, some),
        closed_until_reloaded(testbed, all, Share::All),
        closed_until_reloaded(testbed, some, Share::Some),
    )?;
    Ok(())
}

/// Under `FAIL_CLOSED` a failed VM refuses until there is another configuration.
async fn closed_until_configured(testbed: &Testbed, fault: &str) -> Result<()> {
    let mut traffic = Traffic::start(testbed, fault, "FAIL_CLOSED").await?;
    traffic.until(Outcome::Failed).await?;
    for _ in 0..20 {
        for host in [ALLOWED, DENIED] {
            ensure!(traffic.send(host).await? == Outcome::Failed);
        }
    }
    traffic.repair("FAIL_CLOSED").await?;
    traffic.finish(fault, "FAIL_CLOSED").await
}

enum Share {
    All,
    Some,
}

/// Under `FAIL_RELOAD` a failed VM is replaced after about a second.
async fn closed_until_reloaded(testbed: &Testbed, fault: &str, share: Share) -> Result<()> {
    let mut traffic = Traffic::start(testbed, fault, "FAIL_RELOAD").await?;
    while traffic.gateway.reloads().await? < 2 {
        traffic.until(Outcome::Failed).await?;
        if matches!(share, Share::Some) {
            let failed = Instant::now();
            traffic.until(Outcome::Passed).await?;
            println!("{fault}, FAIL_RELOAD: recovered after {:?}", failed.elapsed());
        }
    }
    traffic.repair("FAIL_RELOAD").await?;
    traffic.finish(fault, "FAIL_RELOAD").await
}

/// A gateway under a fault, and what became of the requests so far.
struct Traffic {
    gateway: Gateway,
    upstream: Upstream,
    sent: u64,
    passed: u64,
    denied: u64,
    failed: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Passed,
    Denied,
    Failed,
}

impl Traffic {
    async fn start(testbed: &Testbed, fault: &str, failure_policy: &str) -> Result<Self> {
        let upstream = Upstream::start(|_, host| host == ALLOWED).await?;
        let plugin = Plugin::new(&policy("faulty", &[ALLOWED]))?;
        let plugin = plugin.fault(&format!("fault/{fault}")).failure_policy(failure_policy);
        let plan = Plan::new(&plugin, Discovered::Plugin)?;
        let gateway = plan.start(testbed, &upstream).await?;
        Ok(Self { gateway, upstream, sent: 0, passed: 0, denied: 0, failed: 0 })
    }

    /// Sends one request; hosts and protocols take turns where this is called in a loop.
    async fn send(&mut self, host: &str) -> Result<Outcome> {
        let address = self.gateway.envoy.listener("egress")?;
        let call = Call::new("POST", host).body("everything we know");
        self.sent += 1;
        let answer = match self.sent % 4 {
            0 => call.http2(address).await?,
            _ => call.http1(address).await?,
        };
        let outcome = outcome(&answer, host)?;
        match outcome {
            Outcome::Passed => self.passed += 1,
            Outcome::Denied => self.denied += 1,
            Outcome::Failed => self.failed += 1,
        }
        Ok(outcome)
    }

    /// Sends requests for both hosts until one for the allowed host comes out so.
    async fn until(&mut self, wanted: Outcome) -> Result<()> {
        let started = Instant::now();
        loop {
            self.send(DENIED).await?;
            match self.send(ALLOWED).await? {
                outcome if outcome == wanted => return Ok(()),
                Outcome::Failed => tokio::time::sleep(PAUSE).await,
                Outcome::Passed | Outcome::Denied => {}
            }
            ensure!(started.elapsed() < PATIENCE, "no request was {wanted:?}");
        }
    }

    /// Delivers the same plugin without a fault: it must work at once.
    async fn repair(&mut self, failure_policy: &str) -> Result<()> {
        let plugin = Plugin::new(&policy("repaired", &[ALLOWED]))?;
        let plugin = plugin.fault("egress-warden").failure_policy(failure_policy);
        let delivered = Instant::now();
        ensure!(self.gateway.update_plugin(&plugin).await?);
        self.until(Outcome::Passed).await?;
        println!("{failure_policy}: a new configuration works after {:?}", delivered.elapsed());
        for _ in 0..5 {
            ensure!(self.send(ALLOWED).await? == Outcome::Passed);
            ensure!(self.send(DENIED).await? == Outcome::Denied);
        }
        Ok(())
    }

    /// Compares what was answered with what arrived and what was recorded.
    async fn finish(&self, fault: &str, failure_policy: &str) -> Result<()> {
        let Self { upstream, sent, passed, denied, failed, .. } = self;
        println!(
            "{fault}, {failure_policy}: {sent} sent, {passed} passed, {denied} denied, {failed} \
             answered 503"
        );
        ensure!(*failed > 0, "the fault never struck");
        let strays = upstream.strays();
        ensure!(strays.is_empty(), "{fault}, {failure_policy}: {strays:#?}");
        ensure!(upstream.requests() == *passed, "{} of {passed} arrived", upstream.requests());

        let records = self.gateway.records(*sent).await?;
        let failures = records.iter().filter(|it| it["response_code"] == 503).collect::<Vec<_>>();
        ensure!(failures.len() as u64 == *failed, "{} of {failed} recorded", failures.len());
        for record in failures {
            ensure!(record["response_code_details"] == "wasm_fail_stream", "{record:#}");
            ensure!(record["upstream_host"].is_null(), "{record:#}");
        }
        Ok(())
    }
}

/// What the answer says: the upstream's, the filter's refusal, or Envoy's for a failed VM.
fn outcome(answer: &Answer, host: &str) -> Result<Outcome> {
    match (answer.status, host) {
        (200, ALLOWED) => Ok(Outcome::Passed),
        (403, DENIED) if answer.json()?["reason"] == "default" => Ok(Outcome::Denied),
        (503, _) if answer.body.is_empty() => Ok(Outcome::Failed),
        _ => bail!("{host}: {answer:?}"),
    }
}
