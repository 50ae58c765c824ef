//! The passthrough gateway as it is shipped, but for its ports.

use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context as _, Result};
use serde_json::{Value, json};
use tokio::net::{TcpStream, UdpSocket};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;

use super::{policy, record_of};
use envoy_kit::bootstrap::Bootstrap;
use envoy_kit::call::Call;
use envoy_kit::certificates::Authority;
use envoy_kit::passthrough::Lane;
use envoy_kit::process::Envoy;
use envoy_kit::testbed::Testbed;
use envoy_kit::tls::caller::{Caller, PATIENCE};
use envoy_kit::tls::hello::Hello;
use envoy_kit::tls::upstream::Upstream;
use envoy_kit::tls_service::TlsService;

/// Where the shipped file expects the external service.
const SERVICE_PORT: u16 = 15022;
const RBAC_DETAILS: &str = "rbac_access_denied_matched_policy[none]";

pub(crate) async fn a_real_tls_client_passes_untouched_or_is_cut_off(
    testbed: &Testbed,
) -> Result<()> {
    // The client verifies the service's own certificate, which the gateway does not have.
    let authority = Authority::new(&["allowed.example", "denied.example"])?;
    let service = TlsService::start(0, &authority).await?;
    let gateway = start(testbed, Bootstrap::gateway_tls()?, service.address.port()).await?;
    let egress = gateway.listener("egress_tls")?;

    let call = Call::get("allowed.example").path("/inside");
    let answer = call.tls(egress, &authority, "allowed.example", None).await?;
    assert_eq!(answer.status, 301);
    assert_eq!(answer.body, "server name: allowed.example\npath: /inside\n");
    let record = gateway.first_record(|it| it["egress_connection_decision"] == "allow").await?;
    assert_eq!(record["requested_server_name"], "allowed.example");
    assert_eq!(record["egress_connection_rule"], "shop-to-allowed");
    assert_eq!(record["upstream_cluster"], "outbound|443||allowed.example");

    let call = Call::get("denied.example");
    assert!(call.tls(egress, &authority, "denied.example", None).await.is_err());
    let record = gateway.first_record(|it| it["egress_connection_decision"] == "deny").await?;
    assert_eq!(record["requested_server_name"], "denied.example");
    assert_eq!(record["egress_connection_reason"], "default");
    assert_eq!(record["upstream_host"], Value::Null);
    assert_eq!(service.callers(), 1);
    Ok(())
}

pub(crate) async fn an_allowed_name_without_a_way_out_goes_nowhere(
    testbed: &Testbed,
) -> Result<()> {
    let upstream = Upstream::start().await?;
    let gateway = start(testbed, Bootstrap::gateway_tls()?, upstream.address.port()).await?;
    let mut caller = Caller::connect(gateway.listener("egress_tls")?).await?;
    assert!(!caller.exchange(&Hello::to("archive.example").to_bytes()).await?);
    let record = record_of(&gateway, &caller.address.to_string()).await?;
    assert_eq!(record["egress_connection_decision"], "allow");
    assert_eq!(record["egress_connection_would"], "deny");
    assert_eq!(record["egress_connection_would_reason"], "default");
    assert_eq!(record["response_flags"], "UH");
    assert_eq!(upstream.arrivals(), [b""; 0]);
    Ok(())
}

pub(crate) async fn both_records_of_a_connection_agree(testbed: &Testbed) -> Result<()> {
    let upstream = Upstream::start().await?;
    let mut policy = policy("test", &["api.allow.test"]);
    policy["log"] = json!({"requests": "all"});
    let gateway = start_lane(testbed, &policy, &upstream).await?;
    for (name, decision) in [("api.allow.test", "allow"), ("deny.test", "deny")] {
        let mut caller = Caller::connect(gateway.listener("lane")?).await?;
        caller.exchange(&Hello::to(name).to_bytes()).await?;
        let address = caller.address.to_string();
        drop(caller);
        let record = record_of(&gateway, &address).await?;
        let lines = gateway.filter_lines();
        let line = lines.iter().find(|line| line["downstream_remote_address"] == address.as_str());
        let line = line.context("a line of the filter")?;
        assert_eq!(line["egress_connection_decision"], decision);
        assert_eq!((&line["host"], &line["port"]), (&json!(name), &json!(443)));
        for key in [
            "egress_connection_decision",
            "egress_connection_rule",
            "egress_connection_policy",
            "downstream_remote_address",
            "downstream_local_address",
            "requested_server_name",
        ] {
            assert_eq!(line.get(key).unwrap_or(&Value::Null), &record[key], "{key}");
        }
    }
    Ok(())
}

/// Where Istio's gateways log connections: there too each that met the filter has its line, also one
/// that never came as far as tcp_proxy.
pub(crate) async fn the_log_of_tcp_proxy_has_a_line_for_each(testbed: &Testbed) -> Result<()> {
    let upstream = Upstream::start().await?;
    let mut bootstrap = Bootstrap::gateway_tls()?;
    let policy = policy("test", &["api.allow.test"]);
    let lane = Lane { name: "lane", policy: &policy, upstream: upstream.address };
    bootstrap.take_every_name(&[lane])?;
    let listener = &mut bootstrap.tree_mut()["static_resources"]["listeners"][0];
    let log = listener["access_log"].take();
    listener["filter_chains"][0]["filters"][2]["typed_config"]["access_log"] = log;
    bootstrap.bind_free_ports();
    let gateway = testbed.start(&bootstrap).await?;

    let names = ["api.allow.test", "deny.test", "other.test"];
    for name in names {
        let mut caller = Caller::connect(gateway.listener("lane")?).await?;
        caller.exchange(&Hello::to(name).to_bytes()).await?;
    }
    // This one meets no filter, hence none of their logs.
    let mut silent = Caller::connect(gateway.listener("lane")?).await?;
    silent.wait_for_end().await?;
    let mut records = gateway.records(names.len()).await?;
    records.sort_by_key(|record| record["requested_server_name"].to_string());
    let of = |key: &str| records.iter().map(|it| it[key].clone()).collect::<Vec<_>>();
    assert_eq!(of("requested_server_name"), names);
    assert_eq!(of("egress_connection_decision"), ["allow", "deny", "deny"]);
    assert_eq!(of("egress_connection_rule"), [json!("open"), Value::Null, Value::Null]);
    assert_eq!(of("egress_connection_reason"), [Value::Null, json!("default"), json!("default")]);
    Ok(())
}

pub(crate) async fn each_connection_is_counted(testbed: &Testbed) -> Result<()> {
    let upstream = Upstream::start().await?;
    let gateway = start(testbed, Bootstrap::gateway_tls()?, upstream.address.port()).await?;
    for name in ["allowed.example", "denied.example", "denied.example", "legacy.wild.example"] {
        let mut caller = Caller::connect(gateway.listener("egress_tls")?).await?;
        caller.exchange(&Hello::to(name).to_bytes()).await?;
    }
    let mut caller = Caller::connect(gateway.listener("egress_tls")?).await?;
    caller.exchange(&Hello::default().to_bytes()).await?;
    for (counter, count) in [
        ("connections.allow.rule", 1),
        ("connections.deny.default", 2),
        ("connections.deny.rule", 1),
        ("connections.deny.malformed", 1),
        ("connections.rule.shop-to-allowed.allow", 1),
        ("connections.rule.no-legacy-api.deny", 1),
        ("requests.allow.rule", 0),
    ] {
        let name = format!("wasmcustom.egress_warden.{counter}");
        assert_eq!(gateway.counter(&name).await?, count, "{counter}");
    }
    Ok(())
}

/// What is refused is not even asked of the name service, the mesh's own form of an allowed name among
/// it: that form would be looked up as it stands.
pub(crate) async fn names_under_a_wildcard_are_looked_up_once_they_may_pass(
    testbed: &Testbed,
) -> Result<()> {
    let upstream = Upstream::start().await?;
    let names = NameService::start().await?;
    let mut bootstrap = Bootstrap::gateway_tls()?;
    let resources = &mut bootstrap.tree_mut()["static_resources"];
    let lookup = &mut resources["listeners"][0]["filter_chains"][1]["filters"][2]["typed_config"];
    lookup["port_value"] = json!(upstream.address.port());
    names.answer_for(&mut lookup["dns_cache_config"]);
    names.answer_for(
        &mut resources["clusters"][1]["cluster_type"]["typed_config"]["dns_cache_config"],
    );
    let gateway = start(testbed, bootstrap, SERVICE_PORT).await?;

    let hello = Hello::to("x.wild.example").to_bytes();
    let mut caller = Caller::connect(gateway.listener("egress_tls")?).await?;
    assert!(caller.exchange(&hello).await?, "{:?}", names.asked());
    drop(caller);
    for name in ["legacy.wild.example", "outbound_.443_._.x.wild.example", "x.wild.example."] {
        let mut caller = Caller::connect(gateway.listener("egress_tls")?).await?;
        assert!(!caller.exchange(&Hello::to(name).to_bytes()).await?, "{name}");
    }
    assert_eq!(upstream.all_arrivals().await?, [hello]);
    let asked = names.asked();
    assert!(!asked.is_empty() && asked.iter().all(|name| name == "x.wild.example"), "{asked:?}");
    Ok(())
}

pub(crate) async fn no_connection_passes_the_guard_without_a_verdict(
    testbed: &Testbed,
) -> Result<()> {
    let upstream = Upstream::start().await?;
    let mut bootstrap = Bootstrap::gateway_tls()?;
    remove_filter(&mut bootstrap);
    let gateway = start(testbed, bootstrap, upstream.address.port()).await?;
    for name in ["allowed.example", "denied.example", "x.wild.example"] {
        let mut caller = Caller::connect(gateway.listener("egress_tls")?).await?;
        assert!(!caller.exchange(&Hello::to(name).to_bytes()).await?, "{name}");
        let record = record_of(&gateway, &caller.address.to_string()).await?;
        assert_eq!(record["egress_connection_decision"], Value::Null, "{name}");
        if name == "allowed.example" {
            assert_eq!(record["connection_termination_details"], RBAC_DETAILS);
        }
    }
    // The guard speaks at the first byte: by then tcp_proxy has begun an empty connection.
    assert!(upstream.all_arrivals().await?.iter().all(Vec::is_empty));
    Ok(())
}

/// The mesh's mutual TLS around the application's own: the certificate and the server name are
/// those of the outer one, and what is inside stays unseen. The caller is known at the first byte, by
/// when tcp_proxy has begun an empty connection.
pub(crate) async fn the_certificate_around_the_tls_is_the_caller(testbed: &Testbed) -> Result<()> {
    // What the sidecar writes, as `sni` of mutual.yaml says.
    const OUTER: &str = "api.allow.test";
    let mesh = Authority::new(&[OUTER])?;
    let public = Authority::new(&["api.allow.test"])?;
    let service = TlsService::start(0, &public).await?;
    let mut policy = policy("test", &["api.allow.test"]);
    policy["identity"] = json!("required");
    policy["rules"][0]["from"] = json!([{"namespaces": ["shop"]}]);
    let mut bootstrap = Bootstrap::gateway_tls()?;
    bootstrap.take_every_name(&[Lane {
        name: "lane",
        policy: &policy,
        upstream: service.address,
    }])?;
    bootstrap.bind_free_ports();
    bootstrap.require_mutual_tls(&mesh)?;
    let gateway = testbed.start(&bootstrap).await?;

    for (principal, passes) in [
        ("spiffe://cluster.local/ns/shop/sa/front", true),
        ("spiffe://cluster.local/ns/other/sa/front", false),
    ] {
        let outer = TlsConnector::from(mesh.client(Some(&mesh.caller(principal)?), "istio")?);
        let stream = TcpStream::connect(gateway.listener("lane")?).await?;
        let caller = stream.local_addr()?.to_string();
        let reached = async {
            let stream = outer.connect(ServerName::try_from(OUTER)?, stream).await?;
            let inner = TlsConnector::from(public.client(None, "http/1.1")?);
            inner.connect(ServerName::try_from("api.allow.test")?, stream).await?;
            anyhow::Ok(())
        };
        let reached =
            tokio::time::timeout(PATIENCE, reached).await.context("neither in nor out")?;
        assert_eq!(reached.is_ok(), passes, "{principal}");
        let record = record_of(&gateway, &caller).await?;
        assert_eq!(record["source_principal"], principal);
        assert_eq!(record["egress_connection_decision"], if passes { "allow" } else { "deny" });
    }
    assert_eq!(service.callers(), 1);
    Ok(())
}

/// Starts the gateway on free ports before a service on `port`.
async fn start(testbed: &Testbed, mut bootstrap: Bootstrap, port: u16) -> Result<Envoy> {
    bootstrap.bind_free_ports();
    bootstrap.redirect(SERVICE_PORT, port);
    testbed.start(&bootstrap).await
}

async fn start_lane(testbed: &Testbed, policy: &Value, upstream: &Upstream) -> Result<Envoy> {
    let mut bootstrap = Bootstrap::gateway_tls()?;
    bootstrap.take_every_name(&[Lane { name: "lane", policy, upstream: upstream.address }])?;
    bootstrap.bind_free_ports();
    testbed.start(&bootstrap).await
}

fn remove_filter(bootstrap: &mut Bootstrap) {
    let chains = &mut bootstrap.tree_mut()["static_resources"]["listeners"][0]["filter_chains"];
    for chain in chains.as_array_mut().into_iter().flatten() {
        if let Some(filters) = chain["filters"].as_array_mut() {
            filters.retain(|filter| filter["name"] != "egress-warden");
        }
    }
}

/// A name service that has 127.0.0.1 for every name, and keeps what it was asked.
struct NameService {
    port: u16,
    asked: Arc<Mutex<Vec<String>>>,
}

impl NameService {
    async fn start() -> Result<Self> {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let service = Self { port: socket.local_addr()?.port(), asked: Arc::default() };
        let asked = Arc::clone(&service.asked);
        tokio::spawn(async move {
            let mut query = [0; 512];
            while let Ok((length, caller)) = socket.recv_from(&mut query).await {
                if let Some((name, answer)) = answer(&query[..length]) {
                    asked.lock().unwrap_or_else(PoisonError::into_inner).push(name);
                    let _ = socket.send_to(&answer, caller).await;
                }
            }
        });
        Ok(service)
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Makes a cache ask here.
    fn answer_for(&self, cache: &mut Value) {
        cache["dns_lookup_family"] = json!("V4_ONLY");
        cache["typed_dns_resolver_config"] = json!({
            "name": "envoy.network.dns_resolver.cares",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.network.dns_resolver.cares.v3.CaresDnsResolverConfig",
                "resolvers": [{"socket_address": {"address": "127.0.0.1", "port_value": self.port}}],
                "dns_resolver_options": {"no_default_search_domain": true},
            },
        });
    }
}

/// The name that is asked for, and the answer: one address (RFC 1035, section 4).
fn answer(query: &[u8]) -> Option<(String, Vec<u8>)> {
    let (header, question) = query.split_at_checked(12)?;
    let mut labels = Vec::new();
    let mut rest = question;
    while let Some((length, tail)) = rest.split_first()
        && *length > 0
    {
        let (label, tail) = tail.split_at_checked(usize::from(*length))?;
        labels.push(String::from_utf8_lossy(label).to_ascii_lowercase());
        rest = tail;
    }
    let question = question.get(..question.len() - rest.len() + 5)?;
    let counts = [0, 1, 0, 1, 0, 0, 0, 0];
    let record = b"\xc0\x0c\0\x01\0\x01\0\0\0\x3c\0\x04\x7f\0\0\x01";
    let answer = [&header[..2], b"\x81\x80", &counts, question, record].concat();
    Some((labels.join("."), answer))
}
