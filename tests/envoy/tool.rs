//! What the tool explains is what a real Envoy records: generated policies and requests, sent
//! through gateways whose routing lets everything pass. `EGRESS_WARDEN_ROUNDS=110` compares more than 50,000 of them
//! on each proxy, in place of more than 500.

use anyhow::{Result, ensure};
use arbitrary::Unstructured;
use envoy_kit::bootstrap::Bootstrap;
use envoy_kit::call::Call;
use envoy_kit::explained::{KEYS, Sent, explained};
use envoy_kit::on_each_shell;
use envoy_kit::permissive::Opening;
use envoy_kit::testbed::Testbed;
use kit::naive::sample;
use proptest::collection::vec;
use proptest::prelude::any;
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use serde_json::Value;
use std::collections::BTreeMap;
use std::net::SocketAddr;

const POLICIES: usize = 30;
const REQUESTS: usize = 30;
/// How many of them Envoy must show to the filter in a round: some it refuses by itself.
const COMPARED: usize = 500;

on_each_shell![the_tool_explains_what_an_envoy_records];

async fn the_tool_explains_what_an_envoy_records(testbed: &Testbed) -> Result<()> {
    let rounds = std::env::var("EGRESS_WARDEN_ROUNDS").map_or(Ok(1), |rounds| rounds.parse())?;
    let mut all = 0;
    for round in 0..rounds {
        let compared = compare(testbed, samples(round)).await?;
        ensure!(compared >= COMPARED, "{compared} requests were compared in round {round}");
        all += compared;
    }
    println!("{all} requests were compared");
    Ok(())
}

/// How many requests were compared, on an Envoy of their own.
async fn compare(testbed: &Testbed, mut samples: Vec<Sample>) -> Result<usize> {
    if !testbed.tells_server_name() {
        for policy in samples.iter_mut().filter_map(|sample| sample.policy.as_object_mut()) {
            policy.remove("sni");
        }
    }
    let nowhere = SocketAddr::from(([127, 0, 0, 1], 9));
    let openings: Vec<_> = samples
        .iter()
        .enumerate()
        .map(|(number, sample)| Opening {
            listener: format!("listener-{number}"),
            policy: &sample.policy,
            cluster: sample.cluster(number),
            upstream: nowhere,
            normalize_path: Some(false),
            tunnels: false,
            trailers: false,
        })
        .collect();
    let mut gateway = Bootstrap::gateway()?;
    gateway.open_wide(&openings)?;
    gateway.bind_free_ports();
    let gateway = testbed.start(&gateway).await?;

    for (sample, opening) in samples.iter().zip(&openings) {
        let address = gateway.listener(&opening.listener)?;
        // At once, as Envoy keeps each connection open for a while.
        let calls = sample.requests.iter().enumerate().map(|(number, request)| {
            let agent = format!("{}/{number}", opening.listener);
            let call = request.call().header("user-agent", &agent);
            tokio::spawn(async move { call.verbatim(address).await })
        });
        for call in calls.collect::<Vec<_>>() {
            call.await??;
        }
        let last = format!("/last/{}", opening.listener);
        Call::get("a.test").path(&last).http1(address).await?;
        gateway.access_log(&last).await?;
    }

    let records: BTreeMap<String, Value> = gateway
        .access_log_after(0)
        .iter()
        .filter_map(|line| serde_json::from_str(line).ok())
        .filter(|record: &Value| !record["egress_decision"].is_null())
        .filter_map(|record| Some((record["user_agent"].as_str()?.to_owned(), record)))
        .collect();
    let mut compared = 0;
    for (number, (sample, opening)) in samples.iter().zip(&openings).enumerate() {
        for (at, told) in sample.explained(number)?.into_iter().enumerate() {
            let Some(record) = records.get(&format!("{}/{at}", opening.listener)) else { continue };
            let recorded = |key: &str| (key.to_owned(), record[key].clone());
            let told_of = |key: &str| (key.to_owned(), told["record"][key].clone());
            let (envoy, tool) = (KEYS.map(recorded), KEYS.map(told_of));
            ensure!(
                envoy == tool,
                "left: Envoy, right: the tool\n{envoy:?}\n{tool:?}\n{}\n{told}",
                sample.policy
            );
            compared += 1;
        }
    }
    Ok(compared)
}

/// A policy and requests that can be written on the wire.
struct Sample {
    policy: Value,
    requests: Vec<Sent>,
}

fn samples(round: u8) -> Vec<Sample> {
    let seed = TestRng::from_seed(RngAlgorithm::ChaCha, &[round; 32]);
    let mut runner = TestRunner::new_with_rng(Config::default(), seed);
    let bytes = vec(any::<u8>(), 16 << 10);
    let sample = |_| {
        let bytes = bytes.new_tree(&mut runner).expect("bytes").current();
        let mut bytes = Unstructured::new(&bytes);
        let policy = sample::policy(&mut bytes).expect("a policy");
        let sent = std::iter::repeat_with(|| sample::request(&mut bytes).expect("a request"));
        Sample { policy, requests: sent.filter_map(Sent::of).take(REQUESTS).collect() }
    };
    (0..POLICIES).map(sample).collect()
}

impl Sample {
    /// Every other route names a port.
    fn cluster(&self, number: usize) -> String {
        match number % 2 {
            0 => format!("outbound|443||policy-{number}"),
            _ => format!("policy-{number}"),
        }
    }

    /// What the tool says of each request.
    fn explained(&self, number: usize) -> Result<Vec<Value>> {
        let cluster = self.cluster(number);
        explained(&self.policy, self.requests.iter().map(|it| it.line(Some(&cluster))))
    }
}
