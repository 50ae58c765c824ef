//! Generated policies, descriptions of gateways for them, and what their rules name: the policy that is
//! left of one when all but hosts and ports is taken away, decided by the library.

use std::net::IpAddr;
use std::path::Path;
use std::process::{Command, Output};

use anyhow::{Result, ensure};
use arbitrary::Unstructured;
use egress_warden::config;
use egress_warden::policy::{Action, Request};
use envoy_kit::explained::{Sent, explained};
use kit::naive::sample;
use proptest::collection::vec;
use proptest::prelude::any;
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::TestRunner;
use serde_json::{Value, json};

/// Hosts of the alphabet that generated policies name, and some below those.
pub const NAMES: [&str; 12] = [
    "a.test",
    "b.a.test",
    "c.b.a.test",
    "cd.b.a.test",
    "c-d.bb.a.test",
    "d.c.b.a.test",
    "zz.a.test",
    "y.zz.b.a.test",
    "other.test",
    "test",
    "google.internal",
    "metadata.google.internal",
];
const ADDRESSES: [&str; 4] =
    ["8.8.8.8", "169.254.169.254", "[2001:4860:4860::8888]", "[2001:db8::1]"];

/// A policy and requests that can be written on the wire.
pub struct Sample {
    pub policy: Value,
    pub requests: Vec<Sent>,
}

/// So many policies, each with so many requests. Every other one is all about hosts.
pub fn samples(policies: usize, requests: usize) -> Vec<Sample> {
    let mut runner = TestRunner::deterministic();
    let bytes = vec(any::<u8>(), 16 << 10);
    let sample = |number: usize| {
        let bytes = bytes.new_tree(&mut runner).expect("bytes").current();
        let mut bytes = Unstructured::new(&bytes);
        let policy = match number % 2 {
            0 => sample::policy(&mut bytes),
            _ => sample::policy_of_hosts(&mut bytes),
        };
        let sent = std::iter::repeat_with(|| sample::request(&mut bytes).expect("a request"));
        let requests = sent.filter_map(Sent::of).take(requests).collect();
        Sample { policy: policy.expect("a policy"), requests }
    };
    (0..policies).map(sample).collect()
}

/// One of several descriptions. Ways lead to an address: to the first port HTTP, to the second TLS.
pub fn description(number: usize, address: IpAddr, [http, tls]: [u16; 2]) -> Value {
    let http = |ports: Value| json!({"way": "http", "ports": ports, "targetPort": http, "endpoints": [address]});
    let tls = json!({"way": "passthrough", "targetPort": tls, "endpoints": [address]});
    let of = |mut way: Value, hosts: Value| {
        way["hosts"] = hosts;
        way
    };
    gateway(match number % 4 {
        0 => json!([http(json!([80, 8443])), tls]),
        // As DNS says.
        1 => json!([{"way": "originate"}, {"way": "passthrough"}]),
        // Hosts within patterns, each with its own way.
        2 => json!([
            of(http(json!([80, 443])), json!(["b.a.test", "c.b.a.test", "*.zz.a.test", "8.8.8.8"])),
            http(json!([80])),
            tls,
        ]),
        // Some hosts alone.
        _ => json!([of(
            http(json!([80, 443, 8443])),
            json!([".a.test", "c-*.bb.a.test", "8.8.8.0/24"])
        )]),
    })
}

pub fn gateway(ways: Value) -> Value {
    json!({
        "apiVersion": "egress-warden.dev/v1alpha1",
        "kind": "EgressGateway",
        "metadata": {"name": "egress", "namespace": "istio-system"},
        "spec": {"ways": ways},
    })
}

/// Every host that is looked at, with every port, by each way that the description has for it.
pub fn universe(description: &Value) -> Vec<(String, u16, bool)> {
    let mut all = Vec::new();
    for host in NAMES.iter().chain(&ADDRESSES) {
        for port in [80, 443, 8443] {
            if let Some(is_tls) = way_of(description, host, port) {
                all.push(((*host).to_owned(), port, is_tls));
            }
        }
    }
    all
}

/// Whether the way of a host's port passes TLS on; none where there is no way.
fn way_of(description: &Value, host: &str, port: u16) -> Option<bool> {
    let ways = description["spec"]["ways"].as_array()?;
    let way = ways.iter().find(|way| {
        let is_tls = way["way"] == "passthrough";
        let ports = way["ports"].as_array();
        let has_port = match ports {
            Some(ports) => ports.contains(&json!(port)),
            None => port == if is_tls { 443 } else { 80 },
        };
        has_port
            && (way["hosts"].is_null()
                || is_allowed(&rule(json!([{"hosts": way["hosts"]}])), host, port))
    });
    way.map(|way| way["way"] == "passthrough")
}

impl Sample {
    /// Whether an allow rule that is in force names the host and the port, whatever else it asks. Of a
    /// connection a rule may ask nothing else.
    pub fn names(&self, host: &str, port: u16, is_tls: bool) -> bool {
        let lets_all_pass = self.policy["mode"] == "monitor" || self.policy["default"] == "allow";
        lets_all_pass
            || is_allowed(
                &self.bare(is_tls, |entry| {
                    entry.remove("notHosts");
                    true
                }),
                host,
                port,
            )
    }

    /// Whether one does by what routes can say: names, wildcards and addresses.
    pub fn must_route(&self, host: &str, port: u16, is_tls: bool) -> bool {
        let is_address = host.starts_with('[') || host.ends_with(|it: char| it.is_ascii_digit());
        if is_tls && is_address {
            return false;
        }
        is_allowed(
            &self.bare(is_tls, |entry| {
                let Some(hosts) = entry.get_mut("hosts").and_then(Value::as_array_mut) else {
                    return false;
                };
                hosts.retain(|host| {
                    let host = host.as_str().unwrap_or_default();
                    let is_glob = host.trim_start_matches("*.").contains('*');
                    !is_glob && !host.contains('/')
                });
                !hosts.is_empty()
            }),
            host,
            port,
        )
    }

    /// The allow rules in force with hosts and ports alone, of those entries that `keep` keeps.
    fn bare(
        &self,
        is_tls: bool,
        keep: impl Fn(&mut serde_json::Map<String, Value>) -> bool,
    ) -> Value {
        let is_monitor = self.policy["mode"] == "monitor";
        let rules = self.policy["rules"].as_array().into_iter().flatten();
        let rules = rules
            .filter(|rule| rule["action"] == "allow" && (is_monitor || rule["state"] != "dry-run"));
        const OF_REQUESTS: [&str; 6] =
            ["methods", "notMethods", "paths", "notPaths", "query", "notQuery"];
        let mut entries = Vec::new();
        for rule in rules {
            let to = rule["to"].as_array().cloned().unwrap_or_else(|| vec![json!({})]);
            for entry in to {
                let mut entry = entry.as_object().expect("an entry").clone();
                let asks = OF_REQUESTS.iter().any(|key| entry.contains_key(*key));
                let is_tunnel = entry.get("methods").is_some_and(|it| *it == json!(["CONNECT"]));
                if (is_tls && asks) || is_tunnel {
                    continue;
                }
                OF_REQUESTS.iter().for_each(|key| drop(entry.remove(*key)));
                if keep(&mut entry) {
                    // An entry must ask something.
                    let ports = json!([80, 443, 8443]);
                    entry.entry("ports").or_insert(ports);
                    entries.push(Value::Object(entry));
                }
            }
        }
        rule(Value::Array(entries))
    }

    /// What the tool says of each request, which takes the route to such a cluster.
    pub fn explained(&self, clusters: &[Option<String>]) -> Result<Vec<Value>> {
        let lines = self.requests.iter().zip(clusters);
        explained(&self.policy, lines.map(|(request, cluster)| request.line(cluster.as_deref())))
    }

    /// What it says of a connection to each name.
    pub fn connections_explained(&self) -> Result<Vec<Value>> {
        explained(&self.policy, NAMES.iter().map(|name| json!({"connection": {"sni": name}})))
    }
}

/// A policy of one allow rule; without entries it allows nothing.
fn rule(entries: Value) -> Value {
    match entries.as_array().is_some_and(Vec::is_empty) {
        true => json!({"policy": "bare", "default": "deny"}),
        false => json!({
            "policy": "bare",
            "rules": [{"id": "a", "action": "allow", "to": entries}],
        }),
    }
}

fn is_allowed(policy: &Value, host: &str, port: u16) -> bool {
    let config = config::read(policy.to_string().as_bytes()).expect("a policy");
    let authority = format!("{host}:{port}");
    let request = Request::new(authority.as_bytes(), b"GET");
    config.policy.decide(&request).verdict.action == Action::Allow
}

/// What `render envoy` makes of a policy and a description, in one file.
pub fn rendered(policy: &Value, description: &Value) -> Result<Value> {
    let output = render(policy, description, Path::new("-"))?;
    // 1: something has no route, which is told.
    ensure!(
        output.status.code().is_some_and(|code| code < 2),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(serde_saphyr::from_str(std::str::from_utf8(&output.stdout)?)?)
}

/// Runs `render envoy` with this output.
pub fn render(policy: &Value, description: &Value, to: &Path) -> Result<Output> {
    let directory = tempfile::tempdir()?;
    let file = |name: &str, value: &Value| -> Result<_> {
        let path = directory.path().join(name);
        std::fs::write(&path, value.to_string())?;
        Ok(path)
    };
    let policy = file("policy.json", policy)?;
    let gateway = file("gateway.json", description)?;
    let mut tool = Command::new(kit::tool());
    tool.args(["render", "envoy"]).arg(policy).arg("--gateway").arg(gateway).arg("-o").arg(to);
    Ok(tool.output()?)
}
