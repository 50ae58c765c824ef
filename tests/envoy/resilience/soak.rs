//! Millions of mixed requests, over both protocols, with both logs written.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use serde_json::json;
use tokio::task::JoinSet;

use super::caller::Caller;
use super::gateway::{Discovered, Gateway, Plan};
use super::plugin::{Plugin, policy};
use super::upstream::Upstream;
use envoy_kit::testbed::Testbed;

/// The variable that says how many requests.
const REQUESTS: &str = "EGRESS_WARDEN_REQUESTS";
/// How often the memory is looked at; the first look counts as settled.
const SAMPLES: u64 = 20;
/// Of each protocol.
const CALLERS: usize = 3;

const PATHS: [&str; 4] = ["/", "/v1/items?page=2", "/a%2Fb", "/v1/../legacy"];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Allowed,
    Denied,
    Malformed,
}

/// What becomes of a request, and its host. Hosts hold the request's number, so that the filter
/// meets as many hosts as requests.
fn request(number: u64) -> (Kind, String) {
    match number % 10 {
        0 => (Kind::Allowed, "allowed.example".to_owned()),
        1 => (Kind::Allowed, format!("h{number}.wild.example")),
        2 => (Kind::Allowed, format!("H{number}.Wild.Example.:80")),
        3 => (Kind::Denied, format!("h{number}.example")),
        4 => (Kind::Denied, format!("h{number}.bad.wild.example")),
        5 => (Kind::Denied, "wild.example".to_owned()),
        6 => (Kind::Denied, "169.254.169.254".to_owned()),
        7 => (Kind::Malformed, format!("h{number}..wild.example")),
        8 => (Kind::Malformed, format!("h{number}.example:0")),
        _ => (Kind::Malformed, format!("xn--{number}-.wild.example")),
    }
}

pub(crate) async fn millions_of_requests_leave_the_memory_flat(testbed: &Testbed) -> Result<()> {
    let is_allowed = |_: &str, host: &str| {
        let host = host.to_ascii_lowercase();
        let host = host.strip_suffix('.').unwrap_or(&host);
        host == "allowed.example"
            || host.ends_with(".wild.example") && !host.ends_with(".bad.wild.example")
    };
    let upstream = Upstream::start(is_allowed).await?;
    let mut policy = policy("soak", &[]);
    policy["rules"] = json!([
        {"id": "open", "action": "allow", "to": [{"hosts": ["allowed.example", "*.wild.example"]}]},
        {"id": "bad", "action": "deny", "to": [{"hosts": ["*.bad.wild.example"]}]},
    ]);
    let plan = Plan::new(&Plugin::new(&policy)?, Discovered::Nothing)?.discards_logs()?;
    let gateway = plan.start(testbed, &upstream).await?;
    let address = gateway.envoy.listener("egress")?;

    let requests = std::env::var(REQUESTS).context(REQUESTS)?.parse().context(REQUESTS)?;
    let soak = Arc::new(Soak { requests, ..Soak::default() });
    let mut callers = JoinSet::new();
    for _ in 0..CALLERS {
        callers.spawn(soak.clone().run(Caller::http1(address).await?));
        callers.spawn(soak.clone().run(Caller::http2(address).await?));
    }
    let all = async {
        while let Some(outcome) = callers.join_next().await {
            outcome??;
        }
        Ok(())
    };
    let (samples, ()) = tokio::try_join!(soak.sample(&gateway), all)?;

    let [sent, passed] = [&soak.sent, &soak.passed].map(|count| count.load(Relaxed));
    println!("{sent} sent, {passed} passed, {} refused", sent - passed);
    ensure!(gateway.decided().await? == sent);
    ensure!(upstream.requests() == passed, "{} of {passed} arrived", upstream.requests());
    ensure!(upstream.strays().is_empty(), "{:#?}", upstream.strays());
    let [settled, .., last] = samples[..] else { anyhow::bail!("too few samples: {samples:?}") };
    ensure!(last.0 * 10 <= settled.0 * 11, "{samples:?}");
    ensure!(last.1 == settled.1, "{samples:?}");
    Ok(())
}

#[derive(Default)]
struct Soak {
    /// How many are to be sent.
    requests: u64,
    sent: AtomicU64,
    passed: AtomicU64,
}

impl Soak {
    /// Sends requests of all kinds in turn, until all callers together have sent enough.
    async fn run(self: Arc<Self>, mut caller: Caller) -> Result<()> {
        for path in PATHS.into_iter().cycle() {
            let number = self.sent.fetch_add(1, Relaxed);
            if number >= self.requests {
                self.sent.fetch_sub(1, Relaxed);
                break;
            }
            let (kind, host) = request(number);
            let (status, body) = caller.get(&host, path).await.with_context(|| host.clone())?;
            let is_malformed = body.windows(9).any(|window| window == b"malformed");
            let is_right = match kind {
                Kind::Allowed => status == 200,
                Kind::Denied => status == 403 && !is_malformed,
                Kind::Malformed => status == 403 && is_malformed,
            };
            ensure!(is_right, "{host}: {status} {body:?}");
            self.passed.fetch_add(u64::from(kind == Kind::Allowed), Relaxed);
        }
        Ok(())
    }

    /// The memory in KiB and the number of counters, at regular numbers of requests.
    async fn sample(&self, gateway: &Gateway) -> Result<Vec<(u64, usize)>> {
        let started = Instant::now();
        let mut samples = Vec::new();
        for sample in 1..=SAMPLES {
            while self.sent.load(Relaxed) < sample * self.requests / SAMPLES {
                tokio::time::sleep(std::time::Duration::from_millis(10)).await;
            }
            let memory = gateway.resident_memory()?;
            let counters = gateway.counters().await?;
            let sent = self.sent.load(Relaxed);
            println!("{:?}: {sent} requests, {memory} KiB, {counters} counters", started.elapsed());
            samples.push((memory, counters));
        }
        Ok(samples)
    }
}
