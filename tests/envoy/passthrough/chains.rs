//! Filter chains that are chosen by the server name: whatever the filter lets pass arrives where the
//! chain of the very name leads that was judged.

use std::time::Duration;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use super::{policy, record_of};
use envoy_kit::bootstrap::Bootstrap;
use envoy_kit::passthrough::Lane;
use envoy_kit::process::Envoy;
use envoy_kit::testbed::Testbed;
use envoy_kit::tls::caller::{Caller, PATIENCE};
use envoy_kit::tls::hello::Hello;
use envoy_kit::tls::upstream::Upstream;

/// Ways out by server name, the listener's chains; none of the names: every other.
const CHAINS: [(&str, &[&str]); 3] =
    [("exact", &["api.corp.example"]), ("wildcard", &["*.corp.example"]), ("others", &[])];

pub(crate) async fn each_server_name_arrives_where_its_own_chain_leads_or_nowhere(
    testbed: &Testbed,
) -> Result<()> {
    let only_api = policy("only-api", &["api.corp.example"]);
    let every_name = json!({"policy": "every-name", "default": "allow"});
    let [only_api, every_name] = [
        Ways::start(testbed, "connections", &CHAINS, &only_api).await?,
        Ways::start(testbed, "connections", &CHAINS, &every_name).await?,
    ];
    // Each with its chain, were it asked for by those bytes.
    for (name, chain) in [
        ("api.corp.example", "exact"),
        ("API.Corp.Example", "exact"),
        ("x.corp.example", "wildcard"),
        ("a.b.corp.example", "wildcard"),
        ("x.api.corp.example", "wildcard"),
        ("_api.corp.example", "wildcard"),
        ("corp.example", "others"),
        ("other.test", "others"),
        ("inbound_.443_._.api.corp.example", "wildcard"),
    ] {
        let is_api = name.eq_ignore_ascii_case("api.corp.example");
        let arrived = only_api.ask(name).await?;
        assert_eq!(arrived.as_deref(), is_api.then_some("exact"), "{name}");
        assert_eq!(every_name.ask(name).await?.as_deref(), Some(chain), "{name}");
    }
    // Other spellings of the allowed name lead to other chains, each of them.
    for name in [
        "api.corp.example.",
        "API.corp.example.",
        "api.corp.example..",
        ".api.corp.example",
        "outbound_.443_._.api.corp.example",
        "OUTBOUND_.443_._.API.corp.example",
        "outbound_.443_.v1_.api.corp.example",
        "outbound_.443_._.outbound_.443_._.api.corp.example",
        "outbound_.443_._.api.corp.example.",
        "outbound_.443_.corp.example",
        "outbound_.corp.example",
    ] {
        for ways in [&only_api, &every_name] {
            assert_eq!(ways.ask(name).await?, None, "{name}");
        }
    }
    Ok(())
}

/// As Istio makes them under `AUTO_PASSTHROUGH`: one chain for each service, port and subset.
pub(crate) async fn each_name_in_the_meshs_form_arrives_where_its_own_chain_leads_or_nowhere(
    testbed: &Testbed,
) -> Result<()> {
    const CHAINS: [(&str, &[&str]); 4] = [
        ("api", &["outbound_.443_._.api.corp.example"]),
        ("api-v1", &["outbound_.443_.v1_.api.corp.example"]),
        ("other-port", &["outbound_.8443_._.api.corp.example"]),
        ("other", &["outbound_.443_._.other.corp.example"]),
    ];
    let policy = policy("only-api", &["api.corp.example"]);
    let ways = Ways::start(testbed, "connections:mesh-names", &CHAINS, &policy).await?;
    for (name, chain) in [
        ("outbound_.443_._.api.corp.example", Some("api")),
        ("OUTBOUND_.443_._.API.corp.example", Some("api")),
        ("outbound_.443_.v1_.api.corp.example", Some("api-v1")),
        ("outbound_.8443_._.api.corp.example", None),
        ("outbound_.443_._.other.corp.example", None),
    ] {
        assert_eq!(ways.ask(name).await?.as_deref(), chain, "{name}");
    }
    // A plain name has no chain there; where it has one, it is no name of the plugin's form.
    const PLAIN: [(&str, &[&str]); 2] = [("exact", &["api.corp.example"]), ("others", &[])];
    let ways = Ways::start(testbed, "connections:mesh-names", &PLAIN, &policy).await?;
    for name in ["api.corp.example", "api.corp.example."] {
        assert_eq!(ways.ask(name).await?, None, "{name}");
    }
    Ok(())
}

/// A gateway whose chains each lead to an upstream of their own.
struct Ways {
    gateway: Envoy,
    upstreams: Vec<(String, Upstream)>,
}

impl Ways {
    async fn start(
        testbed: &Testbed,
        root_id: &str,
        chains: &[(&str, &[&str])],
        policy: &Value,
    ) -> Result<Self> {
        let mut policy = policy.clone();
        policy["log"] = json!({"requests": "all"});
        let mut upstreams = Vec::new();
        for (name, _) in chains {
            upstreams.push(((*name).to_owned(), Upstream::start().await?));
        }
        let lanes: Vec<_> = upstreams
            .iter()
            .map(|(name, upstream)| Lane { name, policy: &policy, upstream: upstream.address })
            .collect();
        let mut bootstrap = Bootstrap::gateway_tls()?;
        bootstrap.take_every_name(&lanes)?;
        let listeners = &mut bootstrap.tree_mut()["static_resources"]["listeners"];
        let each = listeners.as_array().context("listeners")?.iter().zip(chains);
        let chains = each.map(|(listener, (_, server_names))| {
            let mut chain = listener["filter_chains"][0].clone();
            chain["filters"][0]["typed_config"]["config"]["root_id"] = json!(root_id);
            if !server_names.is_empty() {
                chain["filter_chain_match"] = json!({"server_names": server_names});
            }
            chain
        });
        let chains: Value = chains.collect();
        let mut listener = listeners[0].clone();
        listener["name"] = json!("chains");
        listener["filter_chains"] = chains;
        *listeners = json!([listener]);
        bootstrap.bind_free_ports();
        Ok(Self { gateway: testbed.start(&bootstrap).await?, upstreams })
    }

    /// Asks for a server name, and says at which chain's upstream the hello arrived. What was judged
    /// is then the name that Envoy chose the chain by; what did not arrive was refused as malformed,
    /// or by the policy.
    async fn ask(&self, name: &str) -> Result<Option<String>> {
        let before = self.arrivals().await?;
        let mut caller = Caller::connect(self.gateway.listener("chains")?).await?;
        let hello = Hello::to(name).to_bytes();
        let is_served = caller.exchange(&hello).await?;
        let address = caller.address.to_string();
        drop(caller);
        let after = self.arrivals().await?;
        let mut arrived = Vec::new();
        for ((chain, _), (before, after)) in self.upstreams.iter().zip(before.iter().zip(&after)) {
            arrived.extend(after[before.len()..].iter().map(|bytes| (chain.clone(), bytes)));
        }
        let record = record_of(&self.gateway, &address).await?;
        if !is_served {
            assert_eq!(arrived, [], "{name}: {record}");
            return Ok(None);
        }
        let [(chain, bytes)] = &arrived[..] else { panic!("{name}: {arrived:?}") };
        assert_eq!(**bytes, hello, "{name}");
        let judged = self.judged(&address).await?;
        let chosen_by = record["requested_server_name"].as_str().unwrap_or_default();
        assert!(
            judged.as_str().is_some_and(|host| match chosen_by.strip_prefix("outbound_.") {
                Some(rest) => rest.ends_with(&format!("_.{host}")),
                None => chosen_by == host,
            }),
            "{name}: {judged}, {record}"
        );
        Ok(Some(chain.clone()))
    }

    /// The host in the filter's line about a caller, which is written apart from the access log.
    async fn judged(&self, address: &str) -> Result<Value> {
        let line = async {
            loop {
                let mut lines = self.gateway.filter_lines().into_iter();
                if let Some(line) = lines.find(|it| it["downstream_remote_address"] == address) {
                    return line["host"].clone();
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(PATIENCE, line).await.context("a line of the filter")
    }

    async fn arrivals(&self) -> Result<Vec<Vec<Vec<u8>>>> {
        let mut arrivals = Vec::new();
        for (_, upstream) in &self.upstreams {
            arrivals.push(upstream.all_arrivals().await?);
        }
        Ok(arrivals)
    }
}
