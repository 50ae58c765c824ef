//! The VM of one worker fails to start, and the others do not: Envoy says nothing.

use anyhow::{Result, bail, ensure};

use super::gateway::{Discovered, Gateway, Plan, soon};
use super::plugin::{Plugin, policy};
use super::upstream::Upstream;
use envoy_kit::call::Call;
use envoy_kit::testbed::Testbed;

const ALLOWED: &str = "allowed.example";
const DENIED: &str = "denied.example";

/// Each connection goes to either worker by chance: that all go to one is out of the question.
const CONNECTIONS: u64 = 40;

/// In a bootstrap the first VM is the one that Envoy tries the configuration on, the second the
/// main thread's; the workers have the third and the fourth.
const CONFIGURE_FAULTS: [&str; 2] = ["refuse/configure/only/3", "trap/configure/only/3"];
const ROOT_FAULT: &str = "trap/root_context_create/only/3";
const FAILURE_POLICIES: [&str; 2] = ["FAIL_CLOSED", "FAIL_RELOAD"];

/// This is why the guard is there. Should a later Envoy close the hole, this fails, and the
/// documentation may say so.
pub(crate) async fn a_worker_that_cannot_configure_filters_nothing_without_the_guard(
    testbed: &Testbed,
) -> Result<()> {
    for failure_policy in FAILURE_POLICIES {
        for fault in CONFIGURE_FAULTS {
            let upstream = upstream().await?;
            let plan = plan(fault, failure_policy)?.without_guard()?;
            let answers = Answers::of(&plan.start(testbed, &upstream).await?).await?;
            println!("{fault}, {failure_policy}, no guard: {answers:?}");
            ensure!(answers.allowed == [CONNECTIONS, 0, 0], "{answers:?}");
            let [passed, refused, failed] = answers.denied;
            ensure!(passed > 0 && refused > 0 && failed == 0, "{answers:?}");
            ensure!(!upstream.strays().is_empty());
        }
    }
    Ok(())
}

pub(crate) async fn a_worker_that_cannot_configure_refuses_everything_with_the_guard(
    testbed: &Testbed,
) -> Result<()> {
    for failure_policy in FAILURE_POLICIES {
        for fault in CONFIGURE_FAULTS {
            let upstream = upstream().await?;
            let gateway = plan(fault, failure_policy)?.start(testbed, &upstream).await?;
            let answers = Answers::of(&gateway).await?;
            println!("{fault}, {failure_policy}: {answers:?}");
            let [passed, refused, failed] = answers.allowed;
            ensure!(passed > 0 && refused > 0 && failed == 0, "{answers:?}");
            ensure!(answers.denied == [0, CONNECTIONS, 0], "{answers:?}");
            assert_only(&upstream, passed)?;
        }
    }
    Ok(())
}

/// Envoy notices this one: the failed VM answers 503, with or without the guard.
pub(crate) async fn a_worker_whose_root_traps_answers_503(testbed: &Testbed) -> Result<()> {
    for failure_policy in FAILURE_POLICIES {
        let upstream = upstream().await?;
        let plan = plan(ROOT_FAULT, failure_policy)?.without_guard()?;
        let answers = Answers::of(&plan.start(testbed, &upstream).await?).await?;
        println!("{ROOT_FAULT}, {failure_policy}, no guard: {answers:?}");
        let [passed, refused, failed] = answers.allowed;
        ensure!(passed > 0 && refused == 0 && failed > 0, "{answers:?}");
        let [denied_passed, _, denied_failed] = answers.denied;
        ensure!(denied_passed == 0 && denied_failed > 0, "{answers:?}");
        assert_only(&upstream, passed)?;
    }
    Ok(())
}

/// An update that one worker cannot configure loses that worker's old policy with it; a
/// configuration for another VM mends it.
pub(crate) async fn a_configuration_for_another_vm_mends_a_failed_worker(
    testbed: &Testbed,
) -> Result<()> {
    until_a_worker_fails(async |number| is_mended_after_failure_of(number, testbed).await).await
}

/// Lets one VM after the other fail, by its number, until `is_a_workers` says that one was a worker's.
/// The first VM tries the configuration. Main thread and workers follow in any order, so whether the
/// one that fails is a worker's is chance.
pub(crate) async fn until_a_worker_fails(
    is_a_workers: impl AsyncFn(u32) -> Result<bool>,
) -> Result<()> {
    for number in (2..=4).cycle().take(12) {
        if is_a_workers(number).await? {
            return Ok(());
        }
    }
    bail!("no worker failed")
}

/// Lets one VM fail at an update; whether that was a worker's, which was mended then.
async fn is_mended_after_failure_of(number: u32, testbed: &Testbed) -> Result<bool> {
    let upstream = upstream().await?;
    let good = Plugin::new(&policy("good", &[ALLOWED]))?.fault("egress-warden");
    let plan = Plan::new(&good, Discovered::Plugin)?.workers(2);
    let gateway = plan.start(testbed, &upstream).await?;
    let answers = Answers::of(&gateway).await?;
    ensure!(answers.allowed == [CONNECTIONS, 0, 0], "{answers:?}");

    let fault = format!("fault/refuse/configure/only/{number}");
    let is_accepted = gateway.update_plugin(&good.clone().fault(&fault)).await?;
    let answers = Answers::of(&gateway).await?;
    ensure!(answers.denied == [0, CONNECTIONS, 0], "{answers:?}");
    if answers.allowed[1] == 0 {
        return Ok(false);
    }
    println!("{fault}, update: {answers:?}");
    ensure!(is_accepted);

    ensure!(gateway.update_plugin(&good.vm_id("another")).await?);
    soon(async || {
        let answers = Answers::of(&gateway).await?;
        ensure!(answers.allowed == [CONNECTIONS, 0, 0], "{answers:?}");
        ensure!(answers.denied == [0, CONNECTIONS, 0], "{answers:?}");
        Ok(())
    })
    .await?;
    ensure!(upstream.strays().is_empty(), "{:#?}", upstream.strays());
    Ok(true)
}

/// Whichever thread it was that could not configure what the trial could: Envoy counts the VM as
/// failed from then on, and refuses every configuration that would share it, good ones too. It
/// shares one among configurations with the same module and `vm_id`, so either must change.
pub(crate) async fn after_one_thread_failed_its_vm_takes_no_configuration(
    testbed: &Testbed,
) -> Result<()> {
    for failure_policy in FAILURE_POLICIES {
        let [mut main_failed, mut worker_failed] = [false; 2];
        for number in (2..=3).cycle().take(24) {
            match refused_after_failure_of(number, failure_policy, testbed).await? {
                Thread::Main => main_failed = true,
                Thread::Worker => worker_failed = true,
            }
            if main_failed && worker_failed {
                break;
            }
        }
        ensure!(main_failed, "the main thread never failed");
        ensure!(worker_failed, "no worker failed");
    }
    Ok(())
}

enum Thread {
    Main,
    Worker,
}

/// Lets one VM fail at an update; which one that was.
async fn refused_after_failure_of(
    number: u32,
    failure_policy: &str,
    testbed: &Testbed,
) -> Result<Thread> {
    const NEW: &str = "new.example";
    let upstream = Upstream::start(|policy, host| {
        [("old", ALLOWED), ("faulty", NEW), ("new", NEW)].contains(&(policy, host))
    })
    .await?;
    let plugin = |name, host| -> Result<Plugin> {
        let plugin = Plugin::new(&policy(name, &[host]))?.fault("egress-warden");
        Ok(plugin.failure_policy(failure_policy))
    };
    let plan = Plan::new(&plugin("old", ALLOWED)?, Discovered::Plugin)?;
    let gateway = plan.start(testbed, &upstream).await?;
    let address = gateway.envoy.listener("egress")?;
    let statuses = async || -> Result<[u16; 3]> {
        let status = async |host| anyhow::Ok(Call::get(host).http1(address).await?.status);
        Ok([status(ALLOWED).await?, status(NEW).await?, status(DENIED).await?])
    };
    let answers = async |expected: [u16; 3]| -> Result<()> {
        let statuses = statuses().await?;
        ensure!(statuses == expected, "{statuses:?}");
        Ok(())
    };
    answers([200, 403, 403]).await?;

    let fault = format!("fault/refuse/configure/only/{number}");
    ensure!(gateway.update_plugin(&plugin("faulty", NEW)?.fault(&fault)).await?);
    // The worker has the policy that the main thread has not, or it has no filter.
    soon(async || {
        ensure!(statuses().await?[0] == 403, "the old policy decides");
        Ok(())
    })
    .await?;
    let after = statuses().await?;
    let thread = match after {
        [403, 200, 403] => Thread::Main,
        [403, 403, 403] => Thread::Worker,
        _ => bail!("{after:?}"),
    };

    for host in [ALLOWED, NEW] {
        ensure!(!gateway.update_plugin(&plugin("new", host)?).await?, "it was accepted");
        answers(after).await?;
    }
    ensure!(gateway.update_plugin(&plugin("new", NEW)?.vm_id("another")).await?);
    soon(async || answers([403, 200, 403]).await).await?;
    // With the last configuration that used it the failed VM is gone.
    ensure!(gateway.update_plugin(&plugin("old", ALLOWED)?).await?);
    soon(async || answers([200, 403, 403]).await).await?;
    ensure!(upstream.strays().is_empty(), "{:#?}", upstream.strays());
    Ok(thread)
}

async fn upstream() -> Result<Upstream> {
    Upstream::start(|_, host| host == ALLOWED).await
}

fn plan(fault: &str, failure_policy: &str) -> Result<Plan> {
    let plugin = Plugin::new(&policy("faulty", &[ALLOWED]))?;
    let plugin = plugin.fault(&format!("fault/{fault}")).failure_policy(failure_policy);
    Ok(Plan::new(&plugin, Discovered::Nothing)?.workers(2))
}

fn assert_only(upstream: &Upstream, passed: u64) -> Result<()> {
    let strays = upstream.strays();
    ensure!(strays.is_empty(), "{strays:#?}");
    ensure!(upstream.requests() == passed, "{} of {passed} arrived", upstream.requests());
    Ok(())
}

/// For each of the two hosts: how many requests were answered 200, 403 and 503.
#[derive(Debug, Default)]
struct Answers {
    allowed: [u64; 3],
    denied: [u64; 3],
}

impl Answers {
    async fn of(gateway: &Gateway) -> Result<Self> {
        let mut answers = Self::default();
        let address = gateway.envoy.listener("egress")?;
        for _ in 0..CONNECTIONS {
            for (host, counts) in [(ALLOWED, &mut answers.allowed), (DENIED, &mut answers.denied)] {
                let answer = Call::get(host).http1(address).await?;
                let status = [200, 403, 503].iter().position(|status| *status == answer.status);
                let count = status.and_then(|index| counts.get_mut(index));
                *count.ok_or_else(|| anyhow::anyhow!("{host}: {answer:?}"))? += 1;
            }
        }
        Ok(answers)
    }
}
