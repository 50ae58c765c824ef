//! The same faults where the filter stands before TLS that is not ended: whatever fails, no byte of
//! a connection arrives that the policy does not let pass.

pub(crate) mod flips;
pub(crate) mod memory;
pub(crate) mod traps;
pub(crate) mod updates;
pub(crate) mod workers;

use std::collections::BTreeMap;
use std::fmt::{self, Display, Formatter};
use std::net::SocketAddr;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use super::gateway::{Gateway, Service};
use super::plugin::{Plugin, connection_policy};
use envoy_kit::tls::caller::Caller;
use envoy_kit::tls::hello::Hello;
use envoy_kit::tls::upstream::Upstream;

const ALLOWED: &str = "allowed.example";
const DENIED: &str = "denied.example";
/// What a connection that stands sends now and then.
const MORE: &[u8] = b"more";
const FAILURE_POLICIES: [&str; 2] = ["FAIL_CLOSED", "FAIL_RELOAD"];

impl Service for Upstream {
    fn port(&self) -> u16 {
        self.address.port()
    }
}

fn plugin(policy: &str, hosts: &[&str]) -> Result<Plugin> {
    Plugin::of_connections(&connection_policy(policy, hosts))
}

/// A connection that has sent its hello, and whether the upstream answered.
async fn open(gateway: SocketAddr, host: &str) -> Result<(Caller, bool)> {
    let mut caller = Caller::connect(gateway).await?;
    let is_answered = caller.exchange(&Hello::to(host).to_bytes()).await?;
    Ok((caller, is_answered))
}

/// Whether a connection to `host` passes; it is over then.
async fn passes(gateway: SocketAddr, host: &str) -> Result<bool> {
    Ok(open(gateway, host).await?.1)
}

/// Connections, and whether the upstream answered.
#[derive(Default)]
struct Traffic {
    connections: Vec<(SocketAddr, &'static str, bool)>,
}

/// What one connection came to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Outcome {
    host: &'static str,
    passed: bool,
    /// What the record says: `allow`, `deny`, or nothing.
    decision: String,
    /// Whose word the record says it was.
    policy: String,
    /// Why Envoy ended it, in its own words.
    details: String,
}

impl Traffic {
    /// Sends one hello; whether the upstream answered.
    async fn send(&mut self, gateway: SocketAddr, host: &'static str) -> Result<bool> {
        let (caller, is_answered) = open(gateway, host).await?;
        self.note(caller.address, host, is_answered);
        Ok(is_answered)
    }

    fn note(&mut self, caller: SocketAddr, host: &'static str, is_answered: bool) {
        self.connections.push((caller, host, is_answered));
    }

    /// How many were answered.
    fn passed(&self, host: &str) -> usize {
        self.connections.iter().filter(|it| it.1 == host && it.2).count()
    }

    /// What the records say of them, which are to be one for each and no other; all must be over.
    async fn outcomes(&self, gateway: &Gateway) -> Result<Outcomes> {
        let records = gateway.records(self.connections.len() as u64).await?;
        let text = |record: &Value, key: &str| record[key].as_str().unwrap_or_default().to_owned();
        let of_caller =
            |record: &Value| (text(record, "downstream_remote_address"), record.clone());
        let records: BTreeMap<String, Value> = records.iter().map(of_caller).collect();
        let mut outcomes = Outcomes::default();
        for (caller, host, passed) in &self.connections {
            let record = records.get(&caller.to_string()).context("a record of each")?;
            let outcome = Outcome {
                host,
                passed: *passed,
                decision: text(record, "egress_connection_decision"),
                policy: text(record, "egress_connection_policy").split('@').take(1).collect(),
                details: text(record, "connection_termination_details"),
            };
            *outcomes.0.entry(outcome).or_default() += 1;
        }
        Ok(outcomes)
    }

    /// That nothing arrived but the hellos of those that were answered, and [`MORE`] after them.
    async fn assert_arrivals(&self, upstream: &Upstream) -> Result<()> {
        let mut answered: BTreeMap<Vec<u8>, usize> = BTreeMap::new();
        for (_, host, _) in self.connections.iter().filter(|it| it.2) {
            *answered.entry(Hello::to(host).to_bytes()).or_default() += 1;
        }
        ensure!(arrivals(upstream).await? == answered, "other bytes arrived than were answered");
        Ok(())
    }

    /// The same where answers may be lost: that nothing arrived but the hellos of those that were
    /// allowed, and those of all that were answered. How many were lost.
    async fn lost_answers(&self, upstream: &Upstream, outcomes: &Outcomes) -> Result<usize> {
        let mut arrivals = arrivals(upstream).await?;
        let arrived = arrivals.remove(&Hello::to(ALLOWED).to_bytes()).unwrap_or(0);
        ensure!(arrivals.is_empty(), "bytes arrived that no verdict let pass");
        let allowed = outcomes.count(|it| it.host == ALLOWED && it.decision == "allow");
        let answered = self.passed(ALLOWED);
        ensure!((answered..=allowed).contains(&arrived), "{arrived} arrived: {outcomes}");
        Ok(arrived - answered)
    }
}

/// What arrived, and how often, without each [`MORE`] at its end.
async fn arrivals(upstream: &Upstream) -> Result<BTreeMap<Vec<u8>, usize>> {
    let mut arrivals: BTreeMap<Vec<u8>, usize> = BTreeMap::new();
    for mut arrival in upstream.all_arrivals().await? {
        while arrival.ends_with(MORE) {
            arrival.truncate(arrival.len() - MORE.len());
        }
        // A connection without a byte.
        if !arrival.is_empty() {
            *arrivals.entry(arrival).or_default() += 1;
        }
    }
    Ok(arrivals)
}

/// How many connections came to what.
#[derive(Default)]
struct Outcomes(BTreeMap<Outcome, usize>);

impl Outcomes {
    fn count(&self, is: impl Fn(&Outcome) -> bool) -> usize {
        self.0.iter().filter(|(outcome, _)| is(outcome)).map(|(_, count)| count).sum()
    }
}

impl Display for Outcomes {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for (Outcome { host, passed, decision, policy, details }, count) in &self.0 {
            let passed = if *passed { "passed" } else { "closed" };
            writeln!(f, "  {count:5} {host} {passed} `{decision}` `{policy}` `{details}`")?;
        }
        Ok(())
    }
}
