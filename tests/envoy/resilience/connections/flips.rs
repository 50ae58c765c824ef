//! Policies change under load, while connections stand.

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};

use super::{MORE, Outcome, Traffic, open, passes, plugin};
use crate::flips::{HOSTS, is_allowed};
use crate::gateway::{Discovered, PATIENCE, Plan, soon};
use crate::plugin::Plugin;
use envoy_kit::certificates::Authority;
use envoy_kit::testbed::Testbed;
use envoy_kit::tls::caller::Caller;
use envoy_kit::tls::hello::Hello;
use envoy_kit::tls::upstream::Upstream;

const FLIPS: usize = 200;
/// Connections that stand from the first flip to the last; either worker has some.
const STANDING: usize = 8;

/// Each update waits for Envoy's word on the one before, as fast as Envoy goes.
pub(crate) async fn every_connection_is_explained_by_one_of_two_flipping_policies(
    testbed: &Testbed,
) -> Result<()> {
    let upstream = Upstream::start().await?;
    let plugins = [flipping("one")?, flipping("two")?];
    let plan = Plan::new(&plugins[0], Discovered::Plugin)?.workers(2);
    let gateway = plan.start(testbed, &upstream).await?;
    let address = gateway.envoy.listener("egress")?;
    let mut standing = Vec::new();
    for host in ["both.example", "one.example"].into_iter().cycle().take(STANDING) {
        let (caller, is_answered) = open(address, host).await?;
        ensure!(is_answered);
        standing.push((caller, host));
    }

    let load = Load::default();
    let started = Instant::now();
    let flips = async {
        for flip in 1..=FLIPS {
            ensure!(gateway.update_plugin(&plugins[flip % 2]).await?, "flip {flip} was refused");
            for (caller, host) in &mut standing {
                ensure!(caller.exchange(MORE).await?, "flip {flip} closed one to {host}");
            }
        }
        println!("{FLIPS} flips in {:?}", started.elapsed());
        load.is_over.set(true);
        Ok(())
    };
    tokio::try_join!(flips, load.run(address), load.run(address), load.run(address))?;

    // What stood has its record when it is over, with the policy that let it pass.
    let mut traffic = load.traffic.take();
    for (caller, host) in standing {
        traffic.note(caller.address, host, true);
    }
    let outcomes = traffic.outcomes(&gateway).await?;
    println!("{outcomes}");
    let is_explained = |it: &Outcome| {
        ["one", "two"].contains(&&*it.policy)
            && it.passed == is_allowed(&it.policy, it.host)
            && it.decision == if it.passed { "allow" } else { "deny" }
    };
    ensure!(outcomes.count(|it| !is_explained(it)) == 0, "{outcomes}");
    for policy in ["one", "two"] {
        for host in HOSTS {
            let decided = outcomes.count(|it| it.policy == policy && it.host == host);
            ensure!(decided > 0, "`{policy}` never decided on {host}");
        }
    }
    ensure!(traffic.passed("neither.example") == 0);
    traffic.assert_arrivals(&upstream).await?;
    // Flips end with the first policy, on both workers.
    soon(async || decides("one", address).await).await
}

/// An update of the listener replaces it: what stands goes on under the old one until its time is
/// over, and is closed then. An update of the plugin alone closes nothing.
pub(crate) async fn what_stands_outlives_a_plugin_and_is_drained_with_its_listener(
    testbed: &Testbed,
) -> Result<()> {
    const DRAIN_SECONDS: u32 = 1;
    let upstream = Upstream::start().await?;
    let [one, two] = [flipping("one")?, flipping("two")?];
    for discovered in [Discovered::Plugin, Discovered::Listener] {
        let plan = Plan::new(&one, discovered)?.drain_seconds(DRAIN_SECONDS);
        let mut gateway = plan.start(testbed, &upstream).await?;
        let address = gateway.envoy.listener("egress")?;
        let (mut standing, is_answered) = open(address, "one.example").await?;
        ensure!(is_answered);
        let is_accepted = match discovered {
            Discovered::Listener => gateway.update_plugin_in_listener(&two).await?,
            _ => gateway.update_plugin(&two).await?,
        };
        ensure!(is_accepted);
        soon(async || decides("two", address).await).await?;
        match discovered {
            Discovered::Listener => {
                let goes_on = async { while standing.exchange(MORE).await.unwrap_or(false) {} };
                tokio::time::timeout(PATIENCE, goes_on).await.context("it goes on")?;
            }
            _ => {
                tokio::time::sleep(3 * Duration::from_secs(DRAIN_SECONDS.into())).await;
                ensure!(standing.exchange(MORE).await?, "the new plugin closed it");
            }
        }
        decides("two", address).await?;
    }
    Ok(())
}

/// Within the mesh's mutual TLS the verdict falls at the first byte. An update while a caller is silent
/// takes the old policy's word away: once the new one has decided on others, and before it has.
pub(crate) async fn a_silent_connection_is_judged_by_the_policy_in_force(
    testbed: &Testbed,
) -> Result<()> {
    const ONES: &str = "one.example";
    const TWOS: &str = "two.example";
    let upstream = Upstream::start().await?;
    let mesh = Authority::new(&[ONES, TWOS])?;
    let caller = mesh.caller("spiffe://cluster.local/ns/shop/sa/front")?;
    let config = mesh.client(Some(&caller), "istio")?;
    let plugins = [flipping("two")?, flipping("one")?];
    let plan = Plan::new(&plugins[1], Discovered::Plugin)?.require_mutual_tls(&mesh)?;
    let gateway = plan.start(testbed, &upstream).await?;
    let address = gateway.envoy.listener("egress")?;
    let connect =
        async |host| Caller::connect(address).await?.wrap(Arc::clone(&config), host).await;
    for (plugin, policy, [closed, opened], is_seen) in
        [(&plugins[0], "two", [ONES, TWOS], true), (&plugins[1], "one", [TWOS, ONES], false)]
    {
        let silent = [(closed, connect(closed).await?), (opened, connect(opened).await?)];
        ensure!(gateway.update_plugin(plugin).await?);
        if is_seen {
            soon(async || {
                let mut caller = connect(opened).await?;
                let is_answered = caller.exchange(&Hello::to(opened).to_bytes()).await?;
                ensure!(is_answered);
                Ok(())
            })
            .await?;
        } else {
            // The worker takes it up, and nobody else connects.
            tokio::time::sleep(Duration::from_secs(2)).await;
        }
        for (host, mut caller) in silent {
            let is_answered = caller.exchange(&Hello::to(host).to_bytes()).await?;
            ensure!(is_answered == (host == opened), "{host}, {policy}");
            let address = caller.address.to_string();
            drop(caller);
            soon(async || {
                let records = gateway.all_records()?;
                let record = records.iter().find(|it| it["downstream_remote_address"] == *address);
                let record = record.context("a record")?;
                let decided_by = record["egress_connection_policy"].as_str().unwrap_or_default();
                ensure!(decided_by.starts_with(policy), "{record}");
                let decision = if is_answered { "allow" } else { "deny" };
                ensure!(record["egress_connection_decision"] == decision, "{record}");
                Ok(())
            })
            .await?;
        }
    }
    Ok(())
}

/// That new connections, to each worker, pass as this policy says.
async fn decides(policy: &str, gateway: SocketAddr) -> Result<()> {
    for host in HOSTS.into_iter().cycle().take(80) {
        ensure!(passes(gateway, host).await? == is_allowed(policy, host), "{host}");
    }
    Ok(())
}

fn flipping(name: &str) -> Result<Plugin> {
    let hosts: Vec<&str> = HOSTS.into_iter().filter(|host| is_allowed(name, host)).collect();
    plugin(name, &hosts)
}

/// Connections to each of the hosts in turn, until it is over.
#[derive(Default)]
struct Load {
    is_over: Cell<bool>,
    traffic: RefCell<Traffic>,
}

impl Load {
    async fn run(&self, gateway: SocketAddr) -> Result<()> {
        for host in HOSTS.into_iter().cycle() {
            if self.is_over.get() {
                break;
            }
            let (caller, is_answered) = open(gateway, host).await?;
            self.traffic.borrow_mut().note(caller.address, host, is_answered);
        }
        Ok(())
    }
}
