//! Policies change under load.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Instant;

use anyhow::{Result, ensure};
use serde_json::Value;

use super::caller::Caller;
use super::gateway::{Discovered, Plan, soon};
use super::plugin::{Plugin, policy};
use super::upstream::Upstream;
use envoy_kit::testbed::Testbed;

const FLIPS: usize = 500;
pub(super) const HOSTS: [&str; 4] =
    ["both.example", "one.example", "two.example", "neither.example"];

/// What the two policies allow.
pub(super) fn is_allowed(policy: &str, host: &str) -> bool {
    match policy {
        "one" => ["both.example", "one.example"].contains(&host),
        "two" => ["both.example", "two.example"].contains(&host),
        _ => false,
    }
}

fn plugin(name: &str) -> Result<Plugin> {
    let hosts: Vec<&str> = HOSTS.into_iter().filter(|host| is_allowed(name, host)).collect();
    Plugin::new(&policy(name, &hosts))
}

/// Each update waits for Envoy's word on the one before, as fast as Envoy goes.
pub(crate) async fn every_answer_is_explained_by_one_of_two_flipping_policies(
    testbed: &Testbed,
) -> Result<()> {
    // The upstream judges what passed by the policy that stamped it.
    let upstream = Upstream::start(is_allowed).await?;
    let plugins = [plugin("one")?, plugin("two")?];
    let plan = Plan::new(&plugins[0], Discovered::Plugin)?.workers(2).discards_logs()?;
    let gateway = plan.start(testbed, &upstream).await?;
    let address = gateway.envoy.listener("egress")?;

    let load = Load::default();
    let started = Instant::now();
    let flips = async {
        for flip in 1..=FLIPS {
            ensure!(gateway.update_plugin(&plugins[flip % 2]).await?, "flip {flip} was refused");
        }
        println!("{FLIPS} flips in {:?}", started.elapsed());
        load.is_over.set(true);
        Ok(())
    };
    tokio::try_join!(
        flips,
        load.run(Caller::http1(address).await?),
        load.run(Caller::http1(address).await?),
        load.run(Caller::http2(address).await?),
        load.run(Caller::http2(address).await?),
    )?;

    let answers = load.answers.take();
    println!("answers by host and verdict: {answers:#?}");
    let passed = |host: &'static str| answers.get(&(host, "passed".to_owned()));
    ensure!(passed("neither.example").is_none());
    ensure!(passed("both.example").is_some_and(|count| *count > 0));
    for host in ["one.example", "two.example"] {
        ensure!(passed(host).is_some_and(|count| *count > 0), "{host} never passed");
    }
    for policy in ["one", "two"] {
        let refusals = answers.get(&("neither.example", format!("denied by {policy}")));
        ensure!(refusals.is_some_and(|count| *count > 0), "`{policy}` never decided");
    }
    let all_passed: u64 = answers
        .iter()
        .filter(|((_, verdict), _)| verdict == "passed")
        .map(|(_, count)| count)
        .sum();
    ensure!(upstream.strays().is_empty(), "{:#?}", upstream.strays());
    ensure!(upstream.requests() == all_passed);
    soon(async || assert_last_policy_decides(address).await).await
}

/// Flips end with the first policy, on both workers.
async fn assert_last_policy_decides(address: SocketAddr) -> Result<()> {
    for _ in 0..20 {
        for host in HOSTS {
            let (status, _) = Caller::http1(address).await?.get(host, "/").await?;
            let expected = if is_allowed("one", host) { 200 } else { 403 };
            ensure!(status == expected, "{host}: {status}");
        }
    }
    Ok(())
}

/// Requests for each of the hosts in turn, until it is over.
#[derive(Default)]
struct Load {
    is_over: Cell<bool>,
    answers: RefCell<BTreeMap<(&'static str, String), u64>>,
}

impl Load {
    async fn run(&self, mut caller: Caller) -> Result<()> {
        for host in HOSTS.into_iter().cycle() {
            if self.is_over.get() {
                break;
            }
            let (status, body) = caller.get(host, "/").await?;
            let verdict = match status {
                200 => "passed".to_owned(),
                403 => {
                    let refusal: Value = serde_json::from_slice(&body)?;
                    let policy = refusal["policy"].as_str().unwrap_or_default();
                    let is_explained = ["one", "two"].contains(&policy);
                    ensure!(is_explained && !is_allowed(policy, host), "{host}: {refusal}");
                    format!("denied by {policy}")
                }
                _ => anyhow::bail!("{host}: {status} {body:?}"),
            };
            *self.answers.borrow_mut().entry((host, verdict)).or_default() += 1;
        }
        Ok(())
    }
}
