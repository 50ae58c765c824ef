//! TLS that the gateway itself ends, and callers who ask for one name in their hello and for another
//! in their request: `sni: match` with real TLS clients on real Envoys.
//!
//! rustls lowers a server name and cuts its dot before it sends it; OpenSSL, through Python, sends
//! what it is told.

use std::net::SocketAddr;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use tokio::process::Command;

use envoy_kit::bootstrap::Bootstrap;
use envoy_kit::call::Call;
use envoy_kit::certificates::Authority;
use envoy_kit::on_each_envoy;
use envoy_kit::process::Envoy;
use envoy_kit::testbed::Testbed;

const MESH_FORM: &str = "outbound_.80_._.allowed.example";

on_each_envoy![
    the_server_name_must_be_the_host,
    each_stream_of_a_connection_is_held_against_its_server_name,
    spellings_of_one_name_are_one_name,
    a_hello_without_a_server_name_matches_no_host,
    without_tls_there_is_nothing_to_compare,
    a_connections_verdict_is_none_on_its_requests,
];

async fn the_server_name_must_be_the_host(testbed: &Testbed) -> Result<()> {
    let authority = Authority::new(&["allowed.example", "also.example", MESH_FORM])?;
    let (gateway, _external) = start(testbed, &authority).await?;
    let egress = gateway.listener("egress")?;
    for (server_name, status) in [("allowed.example", 301), (MESH_FORM, 301), ("also.example", 421)]
    {
        let answer =
            Call::get("allowed.example").tls(egress, &authority, server_name, None).await?;
        assert_eq!(answer.status, status, "{server_name}");
    }
    Ok(())
}

/// As a browser or a pool of connections may put them: both hosts are in the certificate, and both
/// are allowed. 421 tells the caller to try again on a connection of its own (RFC 9110, section
/// 15.5.20).
async fn each_stream_of_a_connection_is_held_against_its_server_name(
    testbed: &Testbed,
) -> Result<()> {
    let authority = Authority::new(&["allowed.example", "also.example", MESH_FORM])?;
    let (gateway, external) = start(testbed, &authority).await?;
    let egress = gateway.listener("egress")?;
    let streams = [
        Call::get("allowed.example").path("/same"),
        Call::get("also.example").path("/other"),
        Call::get("denied.example").path("/third"),
        Call::get("allowed.example:80").path("/port"),
    ];
    let answers = Call::on_one_connection(&streams, egress, &authority, "allowed.example").await?;
    let statuses: Vec<_> = answers.iter().map(|answer| answer.status).collect();
    assert_eq!(statuses, [301, 421, 421, 301]);
    assert_eq!(answers[1].json()?["reason"], "sni");
    for (path, decision, reason) in
        [("/same", "allow", Value::Null), ("/other", "deny", json!("sni"))]
    {
        let record = gateway.access_log(path).await?;
        assert_eq!(record["requested_server_name"], "allowed.example", "{path}");
        assert_eq!(
            (&record["egress_decision"], &record["egress_reason"]),
            (&json!(decision), &reason)
        );
    }

    // The mesh's own form is no name of a host: all that its proxies send may share a connection.
    let answers = Call::on_one_connection(&streams, egress, &authority, MESH_FORM).await?;
    let statuses: Vec<_> = answers.iter().map(|answer| answer.status).collect();
    assert_eq!(statuses, [301, 301, 403, 301]);
    assert_eq!(external.counter("http.external.downstream_rq_total").await?, 5);
    Ok(())
}

async fn spellings_of_one_name_are_one_name(testbed: &Testbed) -> Result<()> {
    let authority = Authority::new(&["allowed.example", "also.example"])?;
    let (gateway, _external) = start(testbed, &authority).await?;
    let egress = gateway.listener("egress")?;
    for version in ["TLSv1_2", "TLSv1_3"] {
        for (server_name, host, status) in [
            ("allowed.example", "allowed.example", 301),
            ("Allowed.EXAMPLE", "allowed.example", 301),
            ("allowed.example", "ALLOWED.example", 301),
            ("allowed.example.", "allowed.example", 301),
            ("allowed.example", "allowed.example.", 301),
            ("ALLOWED.example.", "allowed.Example.:80", 301),
            ("OUTBOUND_.80_._.allowed.example", "allowed.example", 301),
            ("Also.example.", "allowed.example", 421),
            ("allowed.example.also.example", "allowed.example", 421),
            ("xallowed.example", "allowed.example", 421),
        ] {
            let what = format!("{host} behind {server_name}, {version}");
            let answer =
                by_openssl(egress, version, server_name, host).await.context(what.clone())?;
            assert_eq!(answer, status, "{what}");
        }
    }
    Ok(())
}

async fn a_hello_without_a_server_name_matches_no_host(testbed: &Testbed) -> Result<()> {
    let authority = Authority::new(&["allowed.example"])?;
    let (gateway, external) = start(testbed, &authority).await?;
    let egress = gateway.listener("egress")?;
    for host in ["allowed.example", "192.0.2.1", "denied.example"] {
        assert_eq!(by_openssl(egress, "TLSv1_3", "", host).await?, 421, "{host}");
    }
    assert_eq!(external.counter("http.external.downstream_rq_total").await?, 0);
    let record = gateway.access_log("/").await?;
    assert_eq!(record["requested_server_name"], Value::Null);
    assert_eq!(record["egress_reason"], "sni");
    Ok(())
}

/// Envoy says that there is no TLS; it does not fail.
async fn without_tls_there_is_nothing_to_compare(testbed: &Testbed) -> Result<()> {
    let mut bootstrap = Bootstrap::gateway()?;
    bootstrap.set_policy(policy())?;
    let (gateway, _external) = testbed.gateway(bootstrap).await?;
    let answer = Call::get("allowed.example").http1(gateway.listener("egress")?).await?;
    assert_eq!(answer.status, 301);
    Ok(())
}

/// Both filters in one chain. Every request sees the filter state of its connection: what was decided of
/// that has keys of its own, which are neither the guard's nor those of the requests' records.
async fn a_connections_verdict_is_none_on_its_requests(testbed: &Testbed) -> Result<()> {
    let authority = Authority::new(&["allowed.example"])?;
    let mut bootstrap = Bootstrap::gateway()?;
    bootstrap.terminate_tls(&authority)?;
    bootstrap.route_every_host()?;
    bootstrap.set_policy(json!({
        "policy": "requests",
        "default": "allow",
        "rules": [{"id": "closed", "action": "deny", "to": [{"hosts": ["denied.example"]}]}],
    }))?;
    for key in ["decision", "rule"] {
        let name = format!("egress_connection_{key}");
        bootstrap.log_field(&name, &format!("%FILTER_STATE(wasm.{name}:PLAIN)%"));
    }
    let mut without_requests = bootstrap.clone();
    without_requests.remove_filter("egress-warden");
    judge_connections(&mut bootstrap)?;
    judge_connections(&mut without_requests)?;

    let (gateway, _external) = testbed.gateway(bootstrap).await?;
    for (host, status, decision, rule, reason) in [
        ("evil.example", 301, "allow", Value::Null, json!("default")),
        ("denied.example", 403, "deny", json!("closed"), Value::Null),
    ] {
        let path = format!("/{host}");
        let call = Call::get(host).path(&path);
        let egress = gateway.listener("egress")?;
        let answer = call.tls(egress, &authority, "allowed.example", None).await?;
        assert_eq!(answer.status, status, "{host}");
        let record = gateway.access_log(&path).await?;
        assert_eq!(record["egress_decision"], decision, "{host}");
        assert_eq!((&record["egress_rule"], &record["egress_reason"]), (&rule, &reason), "{host}");
        assert!(record["egress_policy"].as_str().is_some_and(|it| it.starts_with("requests@")));
        assert_eq!(record["egress_connection_decision"], "allow", "{host}");
        assert_eq!(record["egress_connection_rule"], "open", "{host}");
    }

    let (gateway, external) = testbed.gateway(without_requests).await?;
    for host in ["allowed.example", "evil.example"] {
        let path = format!("/{host}");
        let call = Call::get(host).path(&path);
        let egress = gateway.listener("egress")?;
        let answer = call.tls(egress, &authority, "allowed.example", None).await?;
        assert_eq!(answer.status, 403, "{host}: the guard refuses what no filter judged");
        let record = gateway.access_log(&path).await?;
        assert_eq!(record["egress_decision"], Value::Null, "{host}");
        assert_eq!(record["egress_connection_decision"], "allow", "{host}");
    }
    assert_eq!(external.counter("http.external.downstream_rq_total").await?, 0);
    Ok(())
}

/// Puts the filter of connections before the requests', with a policy for the first server name.
fn judge_connections(bootstrap: &mut Bootstrap) -> Result<()> {
    let mut tls = Bootstrap::gateway_tls()?;
    let mut filter =
        tls.tree_mut()["static_resources"]["listeners"][0]["filter_chains"][0]["filters"][0].take();
    filter["typed_config"]["config"]["configuration"]["value"] = json!(policy().to_string());
    let listener = &mut bootstrap.tree_mut()["static_resources"]["listeners"][0];
    let filters = listener["filter_chains"][0]["filters"].as_array_mut();
    filters.context("a list of filters")?.insert(0, filter);
    Ok(())
}

/// The gateway, with a way out for every host, and the service behind it.
async fn start(testbed: &Testbed, authority: &Authority) -> Result<(Envoy, Envoy)> {
    let mut bootstrap = Bootstrap::gateway()?;
    bootstrap.terminate_tls(authority)?;
    bootstrap.route_every_host()?;
    bootstrap.set_policy(policy())?;
    testbed.gateway(bootstrap).await
}

fn policy() -> Value {
    json!({
        "policy": "test",
        "sni": "match",
        "rules": [{
            "id": "open",
            "action": "allow",
            "to": [{"hosts": ["allowed.example", "also.example", "192.0.2.1"]}],
        }],
    })
}

/// The status of a GET over HTTP/1.1, from a client that sends the server name as it is written;
/// an empty one it leaves out.
async fn by_openssl(
    address: SocketAddr,
    version: &str,
    server_name: &str,
    host: &str,
) -> Result<u16> {
    const CLIENT: &str = "
import socket, ssl, sys
port, version, server_name, host = sys.argv[1:]
context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
context.check_hostname = False
context.verify_mode = ssl.CERT_NONE
context.minimum_version = context.maximum_version = ssl.TLSVersion[version]
with socket.create_connection(('127.0.0.1', int(port)), timeout=30) as plain:
    with context.wrap_socket(plain, server_hostname=server_name or None) as stream:
        assert stream.version() == version.replace('_', '.')
        stream.sendall(f'GET / HTTP/1.1\\r\\nHost: {host}\\r\\nConnection: close\\r\\n\\r\\n'.encode())
        print(stream.makefile('rb').readline().split()[1].decode())
";
    let port = address.port().to_string();
    let output = Command::new("python3")
        .args(["-c", CLIENT, &port, version, server_name, host])
        .output()
        .await?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim().parse().context("a status")
}
