//! The VM of one worker fails to start, and the others do not: Envoy says nothing.

use std::net::SocketAddr;

use anyhow::{Result, ensure};

use super::{ALLOWED, DENIED, FAILURE_POLICIES, MORE, Outcomes, Traffic, open, plugin};
use crate::gateway::{Discovered, Gateway, Plan, soon};
use crate::workers::until_a_worker_fails;
use envoy_kit::testbed::Testbed;
use envoy_kit::tls::hello::Hello;
use envoy_kit::tls::upstream::Upstream;

/// Each connection goes to either worker by chance: that all go to one is out of the question.
const CONNECTIONS: usize = 40;

/// As for requests: the third VM is a worker's.
const CONFIGURE_FAULTS: [&str; 2] = ["refuse/configure/only/3", "trap/configure/only/3"];
const ROOT_FAULT: &str = "trap/root_context_create/only/3";

/// This is why the guard is there.
pub(crate) async fn a_worker_that_cannot_configure_filters_no_connection_without_the_guard(
    testbed: &Testbed,
) -> Result<()> {
    for failure_policy in FAILURE_POLICIES {
        for fault in CONFIGURE_FAULTS {
            let upstream = Upstream::start().await?;
            let gateway = plan(fault, failure_policy)?.without_guard()?;
            let gateway = gateway.start(testbed, &upstream).await?;
            let (traffic, outcomes) = ask(&gateway).await?;
            println!("{fault}, {failure_policy}, no guard: \n{outcomes}");
            ensure!(traffic.passed(ALLOWED) == CONNECTIONS);
            let passed = traffic.passed(DENIED);
            ensure!(0 < passed && passed < CONNECTIONS, "{passed} of {CONNECTIONS} passed");
            // No record tells of it but by what it does not say.
            ensure!(outcomes.count(|it| it.passed && it.decision.is_empty()) >= passed);
            traffic.assert_arrivals(&upstream).await?;
        }
    }
    Ok(())
}

pub(crate) async fn a_worker_that_cannot_configure_lets_no_connection_pass_the_guard(
    testbed: &Testbed,
) -> Result<()> {
    for failure_policy in FAILURE_POLICIES {
        for fault in CONFIGURE_FAULTS {
            let upstream = Upstream::start().await?;
            let gateway = plan(fault, failure_policy)?.start(testbed, &upstream).await?;
            let (traffic, outcomes) = ask(&gateway).await?;
            println!("{fault}, {failure_policy}: \n{outcomes}");
            let passed = traffic.passed(ALLOWED);
            ensure!(0 < passed && passed < CONNECTIONS, "{passed} of {CONNECTIONS} passed");
            ensure!(traffic.passed(DENIED) == 0);
            let guarded = outcomes.count(|it| it.details.starts_with("rbac_access_denied"));
            let refused = outcomes.count(|it| it.decision == "deny" && it.host == DENIED);
            ensure!(passed + guarded + refused == 2 * CONNECTIONS, "{outcomes}");
            traffic.assert_arrivals(&upstream).await?;
        }
    }
    Ok(())
}

/// Envoy notices this one, with or without the guard.
pub(crate) async fn a_worker_whose_root_traps_closes_its_connections(
    testbed: &Testbed,
) -> Result<()> {
    for failure_policy in FAILURE_POLICIES {
        let upstream = Upstream::start().await?;
        let gateway = plan(ROOT_FAULT, failure_policy)?.without_guard()?;
        let gateway = gateway.start(testbed, &upstream).await?;
        let (traffic, outcomes) = ask(&gateway).await?;
        println!("{ROOT_FAULT}, {failure_policy}, no guard: \n{outcomes}");
        let passed = traffic.passed(ALLOWED);
        ensure!(0 < passed && passed < CONNECTIONS, "{passed} of {CONNECTIONS} passed");
        ensure!(traffic.passed(DENIED) == 0);
        traffic.assert_arrivals(&upstream).await?;
    }
    Ok(())
}

/// An update that one worker cannot configure loses that worker's old policy with it, but none of
/// the connections that stand; a configuration for another VM mends it.
pub(crate) async fn a_configuration_for_another_vm_mends_a_worker_for_connections(
    testbed: &Testbed,
) -> Result<()> {
    until_a_worker_fails(async |number| is_mended_after_failure_of(number, testbed).await).await
}

/// Lets one VM fail at an update; whether that was a worker's, which was mended then.
async fn is_mended_after_failure_of(number: u32, testbed: &Testbed) -> Result<bool> {
    let upstream = Upstream::start().await?;
    let good = plugin("good", &[ALLOWED])?.fault("egress-warden");
    let gateway = Plan::new(&good, Discovered::Plugin)?.workers(2);
    let gateway = gateway.start(testbed, &upstream).await?;
    let address = gateway.envoy.listener("egress")?;
    let mut traffic = Traffic::default();
    traffic.ask(address).await?;
    ensure!(traffic.passed(ALLOWED) == CONNECTIONS && traffic.passed(DENIED) == 0);
    let mut standing = Vec::new();
    for _ in 0..CONNECTIONS {
        let (caller, is_answered) = open(address, ALLOWED).await?;
        ensure!(is_answered);
        standing.push(caller);
    }

    let fault = format!("fault/refuse/configure/only/{number}");
    let is_accepted = gateway.update_plugin(&good.clone().fault(&fault)).await?;
    let mut faulty = Traffic::default();
    faulty.ask(address).await?;
    ensure!(faulty.passed(DENIED) == 0);
    for caller in &mut standing {
        ensure!(caller.exchange(MORE).await?, "a standing connection was closed");
    }
    if faulty.passed(ALLOWED) == CONNECTIONS {
        return Ok(false);
    }
    println!("{fault}, update: {} of {CONNECTIONS} passed", faulty.passed(ALLOWED));
    ensure!(is_accepted);

    // As for requests: the VM that failed takes no configuration any more.
    ensure!(!gateway.update_plugin(&good).await?);
    ensure!(gateway.update_plugin(&good.vm_id("another")).await?);
    soon(async || {
        let mut mended = Traffic::default();
        mended.ask(address).await?;
        let (allowed, denied) = (mended.passed(ALLOWED), mended.passed(DENIED));
        ensure!((allowed, denied) == (CONNECTIONS, 0), "{allowed} and {denied} passed");
        Ok(())
    })
    .await?;
    for caller in &mut standing {
        ensure!(caller.exchange(MORE).await?, "a standing connection was closed");
    }
    drop(standing);
    let denied = Hello::to(DENIED).to_bytes();
    ensure!(!upstream.all_arrivals().await?.contains(&denied));
    Ok(true)
}

fn plan(fault: &str, failure_policy: &str) -> Result<Plan> {
    let plugin = plugin("faulty", &[ALLOWED])?.fault(&format!("fault/{fault}"));
    Ok(Plan::new(&plugin.failure_policy(failure_policy), Discovered::Nothing)?.workers(2))
}

impl Traffic {
    /// As many connections to each of the two hosts, in turn.
    async fn ask(&mut self, gateway: SocketAddr) -> Result<()> {
        for _ in 0..CONNECTIONS {
            for host in [ALLOWED, DENIED] {
                self.send(gateway, host).await?;
            }
        }
        Ok(())
    }
}

async fn ask(gateway: &Gateway) -> Result<(Traffic, Outcomes)> {
    let mut traffic = Traffic::default();
    traffic.ask(gateway.envoy.listener("egress")?).await?;
    let outcomes = traffic.outcomes(gateway).await?;
    Ok((traffic, outcomes))
}
