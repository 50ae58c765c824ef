//! A waypoint of Istio's ambient mode on real Envoys: what a caller says by its certificate, by the address
//! that it dials and by the host that it names. Every request is sent over HTTP/1.1 and over HTTP/2 in a
//! tunnel, and the external service counts what arrives.

use std::cell::Cell;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};

use envoy_kit::bootstrap::Bootstrap;
use envoy_kit::call::Call;
use envoy_kit::certificates::Authority;
use envoy_kit::hbone::{WAYPOINT, Workload};
use envoy_kit::process::Envoy;
use envoy_kit::testbed::Testbed;
use envoy_kit::waypoint::{Destination, HBONE};
use envoy_kit::{on_each_envoy, on_each_shell};

// Writes of the native library change no route.
on_each_envoy![a_route_that_changes_after_the_verdict_leads_nowhere];
on_each_shell![
    the_address_chooses_the_route_and_the_certificate_is_filter_state,
    the_certificate_of_the_tunnel_is_the_caller,
    two_names_or_none_are_no_caller,
    no_header_says_who_calls,
    callers_at_the_same_time_are_not_taken_for_each_other,
    an_allowed_host_in_the_authority_opens_no_other_address,
    a_deny_needs_one_of_the_two_hosts,
    one_entry_that_matches_both_hosts_allows,
    the_port_is_the_one_that_is_dialled,
    spellings_of_the_dialled_host_are_that_host,
    each_request_of_a_tunnel_is_judged_by_the_authority_that_goes_on,
    a_wildcard_stands_for_the_names_under_it,
    a_cluster_that_names_no_host_is_refused,
    the_record_and_the_stamps_name_the_caller,
    nothing_leaves_without_the_filter,
    what_is_not_http_does_not_leave,
    a_bad_update_leaves_the_old_policy_deciding,
    connections_are_judged_by_what_was_dialled,
];

const CHECKOUT: &str = "spiffe://cluster.local/ns/shop/sa/checkout";
const SEARCH: &str = "spiffe://cluster.local/ns/shop/sa/search";
const STRANGER: &str = "spiffe://cluster.local/ns/other/sa/checkout";

/// The hosts are named by what the policies of most tests say of them.
const ALLOWED: Destination<'_> = Destination {
    address: "240.240.0.1",
    port: 80,
    cluster: "inbound-vip|80|http|allowed.example",
};
const ALLOWED_443: Destination<'_> = Destination {
    address: "240.240.0.1",
    port: 443,
    cluster: "inbound-vip|443|http|allowed.example",
};
const DENIED: Destination<'_> =
    Destination { address: "240.240.0.2", port: 80, cluster: "inbound-vip|80|http|denied.example" };
const WILD: Destination<'_> =
    Destination { address: "240.240.0.3", port: 80, cluster: "inbound-vip|80|http|*.wild.example" };
const TCP: Destination<'_> = Destination {
    address: "240.240.0.4",
    port: 443,
    cluster: "inbound-vip|443|tcp|allowed.example",
};
/// What the guard answers.
const GUARD: (u16, &str) = (403, "RBAC: access denied");

/// What the filter relies on.
async fn the_address_chooses_the_route_and_the_certificate_is_filter_state(
    testbed: &Testbed,
) -> Result<()> {
    let mut gateway = Bootstrap::gateway()?;
    gateway.remove_filter("egress-warden");
    gateway.remove_filter("egress-warden-guard");
    gateway.log_field("node", "%CEL(xds.node.id)%");
    gateway.log_field("certificate", "%DOWNSTREAM_PEER_URI_SAN%");
    let waypoint = Waypoint::of(testbed, gateway, &[ALLOWED, DENIED]).await?;
    let two = format!("{CHECKOUT},{STRANGER}");
    for (uris, principal) in
        [(&[CHECKOUT][..], CHECKOUT), (&[CHECKOUT, STRANGER], &two), (&[], "-")]
    {
        let caller = waypoint.caller(uris).await?;
        for destination in [ALLOWED, DENIED] {
            for record in waypoint.ask(&caller, destination, "other.example").await?.records {
                assert_eq!(record["response_code"], 301);
                assert_eq!(record["upstream_cluster"], destination.cluster);
                assert_eq!(record["downstream_local_address"], destination.dialled());
                assert_eq!(record["source_principal"], principal);
                assert_eq!(record["certificate"], Value::Null);
                assert!(record["node"].as_str().is_some_and(|id| id.starts_with("waypoint~")));
            }
        }
        let nowhere = Call::get("allowed.example").http1_by(&caller, "240.240.0.9:80").await;
        assert!(nowhere.is_err());
    }
    Ok(())
}

async fn the_certificate_of_the_tunnel_is_the_caller(testbed: &Testbed) -> Result<()> {
    let waypoint = Waypoint::start(testbed, callers_policy(), &[ALLOWED, DENIED]).await?;
    let [checkout, search, stranger] = [CHECKOUT, SEARCH, STRANGER].map(|uri| [uri]);
    for (uris, destination, verdict) in [
        (&checkout, ALLOWED, "allow principal"),
        (&search, ALLOWED, "deny default"),
        (&stranger, ALLOWED, "deny default"),
        (&checkout, DENIED, "allow namespace"),
        (&search, DENIED, "allow namespace"),
        (&stranger, DENIED, "deny default"),
    ] {
        let caller = waypoint.caller(uris).await?;
        waypoint.expect(&caller, destination, destination.host(), verdict).await?;
    }
    waypoint.assert_upstream().await
}

/// Envoy joins two names by a comma: the text must match neither as a whole nor by its end.
async fn two_names_or_none_are_no_caller(testbed: &Testbed) -> Result<()> {
    let rules = json!([
        {"id": "a-checkout", "action": "allow", "from": [{"principals": ["*/sa/checkout"]}],
            "to": [{"hosts": ["allowed.example"]}]},
        {"id": "any-caller", "action": "allow", "from": [{"principals": ["*"]}],
            "to": [{"hosts": ["allowed.example"]}]},
        {"id": "not-search", "action": "deny", "from": [{"principals": ["cluster.local/ns/shop/sa/search"]}],
            "to": [{"hosts": ["denied.example"]}]},
        {"id": "open", "action": "allow", "to": [{"hosts": ["denied.example"]}]},
    ]);
    let policy = json!({"policy": "test", "rules": rules});
    let waypoint = Waypoint::start(testbed, policy.clone(), &[ALLOWED, DENIED]).await?;
    let mut required = policy;
    required["identity"] = json!("required");
    let strict = Waypoint::start(testbed, required, &[ALLOWED, DENIED]).await?;
    for uris in [
        &[CHECKOUT, SEARCH][..],
        &[SEARCH, CHECKOUT],
        &[CHECKOUT, CHECKOUT],
        &["https://cluster.local/ns/shop/sa/checkout"],
        &["spiffe://cluster.local/ns/shop/sa/a,b/sa/checkout"],
        &[],
    ] {
        let caller = waypoint.caller(uris).await?;
        waypoint.expect(&caller, ALLOWED, "allowed.example", "deny default").await?;
        waypoint.expect(&caller, DENIED, "denied.example", "deny not-search unknown").await?;
        let caller = strict.caller(uris).await?;
        strict.expect(&caller, ALLOWED, "allowed.example", "deny identity").await?;
    }
    let caller = strict.caller(&[CHECKOUT]).await?;
    strict.expect(&caller, ALLOWED, "allowed.example", "allow a-checkout").await?;
    waypoint.assert_upstream().await?;
    strict.assert_upstream().await
}

async fn no_header_says_who_calls(testbed: &Testbed) -> Result<()> {
    let waypoint = Waypoint::start(testbed, callers_policy(), &[ALLOWED, DENIED]).await?;
    let forged = |call: Call| {
        call.header("x-forwarded-client-cert", &format!("By=spiffe://a;URI={CHECKOUT}"))
            .header("io.istio.peer_principal", CHECKOUT)
            .header("x-envoy-peer-metadata-id", "sidecar~10.0.0.1~checkout.shop~shop.svc")
            .header("baggage", "k8s.namespace.name=shop")
    };
    for uris in [&[STRANGER][..], &[]] {
        let caller = waypoint.caller(uris).await?;
        for destination in [ALLOWED, DENIED] {
            let call = forged(Call::get(destination.host()));
            let asked = waypoint.send(&caller, destination, call).await?;
            assert_eq!(asked.verdict()?, "deny default");
        }
    }
    // Nor does one take a caller its name.
    let caller = waypoint.caller(&[CHECKOUT]).await?;
    let call = Call::get("allowed.example")
        .header("x-forwarded-client-cert", "URI=spiffe://a/b;URI=spiffe://c/d");
    assert_eq!(waypoint.send(&caller, ALLOWED, call).await?.verdict()?, "allow principal");
    waypoint.assert_upstream().await
}

/// The connections from the tunnels' end to the listener within are pooled.
async fn callers_at_the_same_time_are_not_taken_for_each_other(testbed: &Testbed) -> Result<()> {
    let waypoint = Waypoint::start(testbed, callers_policy(), &[ALLOWED, DENIED]).await?;
    let [checkout, search] =
        [waypoint.caller(&[CHECKOUT]).await?, waypoint.caller(&[SEARCH]).await?];
    for _ in 0..10 {
        let (allowed, denied) = tokio::try_join!(
            waypoint.ask(&checkout, ALLOWED, "allowed.example"),
            waypoint.ask(&search, ALLOWED, "allowed.example"),
        )?;
        for (asked, verdict, principal) in
            [(allowed, "allow principal", CHECKOUT), (denied, "deny default", SEARCH)]
        {
            assert_eq!(asked.verdict()?, verdict);
            assert!(asked.records.iter().all(|record| record["source_principal"] == principal));
        }
    }
    waypoint.assert_upstream().await
}

async fn an_allowed_host_in_the_authority_opens_no_other_address(testbed: &Testbed) -> Result<()> {
    let waypoint = Waypoint::start(testbed, hosts_policy(), &[ALLOWED, DENIED]).await?;
    let caller = waypoint.caller(&[CHECKOUT]).await?;
    for (destination, host, verdict) in [
        (ALLOWED, "allowed.example", "allow open"),
        (DENIED, "denied.example", "deny default"),
        (DENIED, "allowed.example", "deny destination"),
        (DENIED, "allowed.example:80", "deny destination"),
        (DENIED, "ALLOWED.example.", "deny destination"),
        (ALLOWED, "denied.example", "deny default"),
        (ALLOWED, "unknown.example", "deny default"),
        (DENIED, "240.240.0.1", "deny forbidden_address"),
        (DENIED, "240.240.0.2", "deny forbidden_address"),
    ] {
        waypoint.expect(&caller, destination, host, verdict).await?;
    }
    let refused = waypoint.ask(&caller, DENIED, "allowed.example").await?;
    assert!(refused.records.iter().all(|record| record["upstream_cluster"] == DENIED.cluster));
    for (status, body) in &refused.answers {
        let body: Value = serde_json::from_str(body)?;
        assert_eq!((*status, &body["reason"]), (403, &json!("destination")));
    }
    let line = waypoint.envoy.filter_lines().pop().context("a line of the filter")?;
    assert_eq!(
        (&line["host"], &line["dialled_host"]),
        (&json!("allowed.example"), &json!("denied.example"))
    );
    waypoint.assert_upstream().await
}

async fn a_deny_needs_one_of_the_two_hosts(testbed: &Testbed) -> Result<()> {
    let policy = json!({
        "policy": "test",
        "default": "allow",
        "rules": [{"id": "closed", "action": "deny", "to": [{"hosts": ["denied.example"]}]}],
    });
    let waypoint = Waypoint::start(testbed, policy, &[ALLOWED, DENIED, WILD]).await?;
    let caller = waypoint.caller(&[CHECKOUT]).await?;
    for (destination, host, verdict) in [
        (ALLOWED, "allowed.example", "allow default"),
        (ALLOWED, "unknown.example", "allow default"),
        (DENIED, "denied.example", "deny closed"),
        (DENIED, "allowed.example", "deny closed"),
        (ALLOWED, "denied.example", "deny closed"),
        (WILD, "denied.example", "deny closed"),
        (WILD, "a.wild.example", "allow default"),
        (WILD, "allowed.example", "deny destination"),
    ] {
        waypoint.expect(&caller, destination, host, verdict).await?;
    }
    waypoint.assert_upstream().await
}

async fn one_entry_that_matches_both_hosts_allows(testbed: &Testbed) -> Result<()> {
    let together = json!([{"hosts": ["allowed.example", "denied.example"]}]);
    let apart = json!([{"hosts": ["allowed.example"]}, {"hosts": ["denied.example"]}]);
    for (to, verdict) in [(together, "allow open"), (apart, "deny destination")] {
        let mut policy = hosts_policy();
        policy["rules"][0]["to"] = to;
        let waypoint = Waypoint::start(testbed, policy, &[ALLOWED, DENIED]).await?;
        let caller = waypoint.caller(&[CHECKOUT]).await?;
        for destination in [ALLOWED, DENIED] {
            waypoint.expect(&caller, destination, destination.host(), "allow open").await?;
        }
        waypoint.expect(&caller, ALLOWED, "denied.example", verdict).await?;
        waypoint.expect(&caller, DENIED, "allowed.example", verdict).await?;
        waypoint.assert_upstream().await?;
    }
    Ok(())
}

async fn the_port_is_the_one_that_is_dialled(testbed: &Testbed) -> Result<()> {
    let mut policy = hosts_policy();
    policy["rules"][0]["to"][0]["ports"] = json!([443]);
    let waypoint = Waypoint::start(testbed, policy, &[ALLOWED, ALLOWED_443]).await?;
    let caller = waypoint.caller(&[CHECKOUT]).await?;
    for (destination, host, verdict) in [
        (ALLOWED_443, "allowed.example", "allow open"),
        (ALLOWED_443, "allowed.example:443", "allow open"),
        (ALLOWED_443, "allowed.example:80", "deny default"),
        (ALLOWED, "allowed.example", "deny default"),
        (ALLOWED, "allowed.example:443", "deny default"),
    ] {
        waypoint.expect(&caller, destination, host, verdict).await?;
    }
    waypoint.assert_upstream().await
}

async fn spellings_of_the_dialled_host_are_that_host(testbed: &Testbed) -> Result<()> {
    let waypoint = Waypoint::start(testbed, hosts_policy(), &[ALLOWED, DENIED]).await?;
    let caller = waypoint.caller(&[CHECKOUT]).await?;
    for (host, verdict) in [
        ("ALLOWED.Example", "allow open"),
        ("allowed.example.", "allow open"),
        ("Allowed.example.:80", "allow open"),
        ("allowed.example..", "deny malformed"),
        ("allowed.example,denied.example", "deny malformed"),
        ("allowed.example:080", "deny malformed"),
        ("xallowed.example", "deny default"),
        ("allowed.example.denied.example", "deny default"),
    ] {
        waypoint.expect(&caller, ALLOWED, host, verdict).await?;
    }
    waypoint.assert_upstream().await
}

/// One after the other in one tunnel, over HTTP/1.1 as no client library writes it.
async fn each_request_of_a_tunnel_is_judged_by_the_authority_that_goes_on(
    testbed: &Testbed,
) -> Result<()> {
    let waypoint = Waypoint::start(testbed, hosts_policy(), &[ALLOWED, DENIED]).await?;
    let caller = waypoint.caller(&[CHECKOUT]).await?;
    let upgrade = "Host: allowed.example\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n";
    for (destination, requests) in [
        (
            ALLOWED,
            &[
                ("/1", "Host: allowed.example\r\n", 301),
                ("/2", "Host: denied.example\r\n", 403),
                ("http://allowed.example/3", "Host: denied.example\r\n", 301),
                ("http://denied.example/4", "Host: allowed.example\r\n", 403),
                ("/5", "Host: allowed.example\r\nHost: denied.example\r\n", 403),
                ("/6", "Host: allowed.example\r\n", 301),
            ][..],
        ),
        (
            DENIED,
            &[
                ("/7", "Host: allowed.example\r\n", 403),
                ("http://allowed.example/8", "Host: denied.example\r\n", 403),
                ("/9", upgrade, 403),
            ],
        ),
    ] {
        let mut tunnel = caller.dial(&destination.dialled()).await?;
        for (target, headers, status) in requests {
            let request = format!("GET {target} HTTP/1.1\r\n{headers}\r\n");
            let came = tokio::time::timeout(Duration::from_secs(30), async {
                tunnel.write_all(request.as_bytes()).await?;
                read_status(&mut tunnel).await
            });
            let came = came.await.with_context(|| request.clone())??;
            assert_eq!(came, *status, "{request}");
            waypoint.passed.set(waypoint.passed.get() + u64::from(came == 301));
        }
    }
    waypoint.assert_upstream().await
}

/// The status of an answer, which is read to its end.
async fn read_status(stream: &mut (impl AsyncRead + Unpin)) -> Result<u16> {
    let mut answer = String::new();
    loop {
        let mut part = [0; 4096];
        let length = stream.read(&mut part).await.with_context(|| answer.clone())?;
        ensure!(length > 0, "closed after {answer:?}");
        answer.push_str(&String::from_utf8_lossy(&part[..length]));
        let Some((head, body)) = answer.split_once("\r\n\r\n") else { continue };
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        if body.len() >= length.context("a length")?.parse()? {
            let status = head.strip_prefix("HTTP/1.1 ").and_then(|it| it.get(..3));
            return status.context("a status")?.parse().context("a status");
        }
    }
}

async fn a_wildcard_stands_for_the_names_under_it(testbed: &Testbed) -> Result<()> {
    let policy = json!({
        "policy": "test",
        "rules": [
            {"id": "one", "action": "allow", "to": [{"hosts": ["a.wild.example", "allowed.example"]}]},
            {"id": "deep", "action": "allow", "to": [{"hosts": ["*.deep.wild.example"]}]},
            {"id": "apex", "action": "allow", "to": [{"hosts": ["wild.example"]}]},
            {"id": "evil", "action": "allow", "to": [{"hosts": ["evilwild.example"]}]},
            {"id": "closed", "action": "deny", "to": [{"hosts": ["no.deep.wild.example"]}]},
        ],
    });
    let waypoint = Waypoint::start(testbed, policy, &[ALLOWED, WILD]).await?;
    let caller = waypoint.caller(&[CHECKOUT]).await?;
    for (host, verdict) in [
        ("a.wild.example", "allow one"),
        ("A.Wild.example.:80", "allow one"),
        ("b.deep.wild.example", "allow deep"),
        ("no.deep.wild.example", "deny closed"),
        ("b.wild.example", "deny default"),
        ("wild.example", "deny destination"),
        ("evilwild.example", "deny destination"),
        ("allowed.example", "deny destination"),
    ] {
        waypoint.expect(&caller, WILD, host, verdict).await?;
    }
    waypoint.expect(&caller, ALLOWED, "b.deep.wild.example", "deny destination").await?;
    waypoint.assert_upstream().await
}

/// Who dials a workload's address comes to a cluster without a host.
async fn a_cluster_that_names_no_host_is_refused(testbed: &Testbed) -> Result<()> {
    let clusters = ["encap", "UnknownService", "inbound|80||", "outbound_.80_._.allowed.example"];
    let named = ["inbound-vip|80|http/v2|allowed.example", "outbound|80|v2|allowed.example"];
    let addresses: Vec<_> = (1..=6).map(|number| format!("10.0.0.{number}")).collect();
    let destinations: Vec<_> = clusters
        .iter()
        .chain(&named)
        .zip(&addresses)
        .map(|(cluster, address)| Destination { address, port: 80, cluster })
        .collect();
    let mut open = hosts_policy();
    open["default"] = json!("allow");
    for policy in [hosts_policy(), open] {
        let waypoint = Waypoint::start(testbed, policy, &destinations).await?;
        let caller = waypoint.caller(&[CHECKOUT]).await?;
        for (number, destination) in destinations.iter().enumerate() {
            let verdict = if number < clusters.len() { "deny destination" } else { "allow open" };
            waypoint.expect(&caller, *destination, "allowed.example", verdict).await?;
        }
        waypoint.assert_upstream().await?;
    }
    Ok(())
}

async fn the_record_and_the_stamps_name_the_caller(testbed: &Testbed) -> Result<()> {
    let mut policy = callers_policy();
    policy["stamp"] = json!({"set": {
        "x-egress-caller": "{principal}",
        "x-egress-namespace": "{namespace}",
        "x-egress-rule": "{rule}",
    }});
    let waypoint = Waypoint::start(testbed, policy, &[ALLOWED, DENIED]).await?;
    let caller = waypoint.caller(&[CHECKOUT]).await?;
    let call = Call::get("allowed.example").header("x-egress-caller", "forged");
    let asked = waypoint.send(&caller, ALLOWED, call).await?;
    for (_, body) in &asked.answers {
        let seen = envoy_kit::call::seen(body)?;
        let stamps = seen.iter().filter(|(name, _)| name.starts_with("x-egress-"));
        let mut stamps: Vec<_> = stamps.copied().collect();
        stamps.sort_unstable();
        let expected = [
            ("x-egress-caller", "cluster.local/ns/shop/sa/checkout"),
            ("x-egress-namespace", "shop"),
            ("x-egress-rule", "principal"),
        ];
        assert_eq!(stamps, expected);
    }
    for record in &asked.records {
        assert_eq!(record["source_principal"], CHECKOUT);
        assert!(record["egress_policy"].as_str().is_some_and(|it| it.starts_with("test@")));
        assert_eq!(record["guard"], "allowed");
    }
    let refused = waypoint.caller(&[STRANGER]).await?;
    for record in waypoint.ask(&refused, ALLOWED, "allowed.example").await?.records {
        assert_eq!(record["source_principal"], STRANGER);
        assert_eq!(record["response_code_details"], "egress_denied[default]");
    }
    let line = waypoint.envoy.filter_lines().pop().context("a line of the filter")?;
    assert_eq!(line["source_principal"], STRANGER);
    waypoint.assert_upstream().await
}

async fn nothing_leaves_without_the_filter(testbed: &Testbed) -> Result<()> {
    let mut gateway = Bootstrap::gateway()?;
    gateway.remove_filter("egress-warden");
    let waypoint = Waypoint::of(testbed, gateway, &[ALLOWED, WILD]).await?;
    let caller = waypoint.caller(&[CHECKOUT]).await?;
    for (destination, host) in [(ALLOWED, "allowed.example"), (WILD, "a.wild.example")] {
        let asked = waypoint.ask(&caller, destination, host).await?;
        assert!(asked.answers.iter().all(|(status, body)| (*status, &**body) == GUARD));
        assert!(asked.records.iter().all(|record| record["guard"] == "denied"));
    }
    waypoint.assert_upstream().await
}

/// A port that is not HTTP has a chain without filters of requests.
async fn what_is_not_http_does_not_leave(testbed: &Testbed) -> Result<()> {
    let waypoint = Waypoint::start(testbed, hosts_policy(), &[ALLOWED, TCP]).await?;
    let caller = waypoint.caller(&[CHECKOUT]).await?;
    for _ in 0..2 {
        let answer = Call::get("allowed.example").http1_by(&caller, &TCP.dialled()).await;
        assert!(answer.is_err(), "{answer:?}");
    }
    assert_eq!(waypoint.external.counter("http.external.downstream_cx_rx_bytes_total").await?, 0);
    waypoint.expect(&caller, ALLOWED, "allowed.example", "allow open").await?;
    waypoint.assert_upstream().await
}

/// A VirtualService at a waypoint may choose by a header that the policy removes. The guard binds the request
/// to the cluster that was judged, whatever the policy asks for.
async fn a_route_that_changes_after_the_verdict_leads_nowhere(testbed: &Testbed) -> Result<()> {
    let mut policy = hosts_policy();
    policy["stamp"] = json!({"remove": ["x-debug"]});
    let mut gateway = Bootstrap::gateway()?;
    gateway.set_policy(policy)?;
    let to = |destination: Destination<'_>| json!({"cluster": destination.cluster});
    let by_header = json!([
        {
            "match": {"prefix": "/", "headers": [{"name": "x-debug", "present_match": true}]},
            "route": to(ALLOWED),
        },
        {"match": {"prefix": "/"}, "route": to(DENIED)},
    ]);
    let edit = |listener: &mut Value| {
        let manager = &mut listener["filter_chains"][0]["filters"][0]["typed_config"];
        manager["route_config"]["virtual_hosts"][0]["routes"] = by_header;
    };
    let waypoint = Waypoint::edited(testbed, gateway, &[ALLOWED, DENIED], edit).await?;
    let caller = waypoint.caller(&[CHECKOUT]).await?;
    let call = Call::get("allowed.example").header("x-debug", "1");
    let asked = waypoint.send(&caller, ALLOWED, call).await?;
    assert!(asked.answers.iter().all(|(status, body)| (*status, &**body) == GUARD));
    for record in asked.records {
        assert_eq!(
            (&record["egress_decision"], &record["guard"]),
            (&json!("allow"), &json!("denied"))
        );
        assert_eq!(record["upstream_cluster"], DENIED.cluster);
    }
    // Judged by where it would go.
    waypoint.expect(&caller, ALLOWED, "allowed.example", "deny destination").await?;
    waypoint.assert_upstream().await
}

/// Istio delivers the plugin by discovery, once for all chains.
async fn a_bad_update_leaves_the_old_policy_deciding(testbed: &Testbed) -> Result<()> {
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("plugin.json");
    let mut gateway = Bootstrap::gateway()?;
    let manager = &mut gateway.tree_mut()["static_resources"]["listeners"][0]["filter_chains"][0];
    let filter = &mut manager["filters"][0]["typed_config"]["http_filters"][0];
    let plugin = filter["typed_config"].take();
    *filter = json!({
        "name": "egress-warden",
        "config_discovery": {
            "config_source": {"path_config_source": {"path": path}, "resource_api_version": "V3"},
            "type_urls": [plugin["@type"]],
        },
    });
    let deliver = |policy: &Value| {
        let mut config = plugin.clone();
        config["config"]["configuration"]["value"] = json!(policy.to_string());
        let resource = json!({
            "@type": "type.googleapis.com/envoy.config.core.v3.TypedExtensionConfig",
            "name": "egress-warden",
            "typed_config": config,
        });
        // In one step, which is what Envoy waits for.
        let new = path.with_extension("new");
        std::fs::write(&new, json!({"resources": [resource]}).to_string())?;
        anyhow::Ok(std::fs::rename(new, &path)?)
    };
    deliver(&hosts_policy())?;
    let waypoint = Waypoint::of(testbed, gateway, &[ALLOWED, DENIED]).await?;
    let caller = waypoint.caller(&[CHECKOUT]).await?;
    let both = [(ALLOWED, "allow open"), (DENIED, "deny destination")];
    for (destination, verdict) in both {
        waypoint.expect(&caller, destination, "allowed.example", verdict).await?;
    }
    let mut bad = hosts_policy();
    bad["rules"][0]["to"][0]["host"] = json!(["denied.example"]);
    deliver(&bad)?;
    waypoint.envoy.error_log("$.rules[0].to[0].host").await?;
    for (destination, verdict) in both {
        waypoint.expect(&caller, destination, "allowed.example", verdict).await?;
    }
    let mut good = hosts_policy();
    good["rules"][0]["to"][0]["hosts"] = json!(["denied.example"]);
    deliver(&good)?;
    for attempt in 0.. {
        let asked = waypoint.ask(&caller, DENIED, "denied.example").await?;
        if asked.records[1]["egress_decision"] == "allow" {
            break;
        }
        ensure!(attempt < 1000, "the new policy is not in force");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    waypoint.expect(&caller, ALLOWED, "denied.example", "deny destination").await?;
    waypoint.assert_upstream().await
}

/// What is not HTTP is judged by the host that was dialled, which the name of its filter chain says.
async fn connections_are_judged_by_what_was_dialled(testbed: &Testbed) -> Result<()> {
    let policy = json!({"policy": "test", "rules": [
        {"id": "checkout", "action": "allow", "from": [{"principals": ["cluster.local/ns/shop/sa/checkout"]}],
            "to": [{"hosts": ["allowed.example"], "ports": [443]}]},
    ]});
    let mut tls = Bootstrap::gateway_tls()?;
    let mut filter =
        tls.tree_mut()["static_resources"]["listeners"][0]["filter_chains"][0]["filters"][0].take();
    filter["typed_config"]["config"]["configuration"]["value"] = policy.to_string().into();
    let other =
        Destination { address: "240.240.0.5", cluster: "inbound-vip|443|tcp|b.example", ..TCP };
    let other_port =
        Destination { port: 8443, cluster: "inbound-vip|8443|tcp|allowed.example", ..TCP };
    let nameless = Destination { address: "240.240.0.6", cluster: "direct|tcp|", ..TCP };
    let all = [TCP, other, other_port, nameless];
    let waypoint = Waypoint::edited(testbed, Bootstrap::gateway()?, &all, |listener| {
        for chain in listener["filter_chains"].as_array_mut().into_iter().flatten() {
            chain["filters"].as_array_mut().into_iter().for_each(|it| it.insert(0, filter.clone()));
        }
    })
    .await?;
    let mut passed = 0;
    for uris in [&[CHECKOUT][..], &[SEARCH], &[CHECKOUT, SEARCH], &[]] {
        let caller = waypoint.caller(uris).await?;
        for destination in all {
            let answer = Call::get("b.example").http1_by(&caller, &destination.dialled()).await;
            let may_pass = uris == [CHECKOUT] && destination.dialled() == TCP.dialled();
            assert_eq!(answer.is_ok(), may_pass, "{uris:?} {destination:?}: {answer:?}");
            passed += u64::from(may_pass);
        }
    }
    let arrived = waypoint.external.counter("http.external.downstream_rq_total").await?;
    assert_eq!((arrived, passed), (1, 1));
    Ok(())
}

/// A policy for two hosts: the first is for one caller, the second for a namespace.
fn callers_policy() -> Value {
    json!({
        "policy": "test",
        "rules": [
            {"id": "principal", "action": "allow",
                "from": [{"principals": ["cluster.local/ns/shop/sa/checkout"]}],
                "to": [{"hosts": ["allowed.example"]}]},
            {"id": "namespace", "action": "allow", "from": [{"namespaces": ["shop"]}],
                "to": [{"hosts": ["denied.example"]}]},
        ],
    })
}

/// A policy for every caller and one host.
fn hosts_policy() -> Value {
    json!({
        "policy": "test",
        "rules": [{"id": "open", "action": "allow", "to": [{"hosts": ["allowed.example"]}]}],
    })
}

/// A running waypoint, and the external service behind it.
struct Waypoint {
    envoy: Envoy,
    external: Envoy,
    authority: Authority,
    /// How many requests were sent to it, and how many of them it let pass.
    sent: Cell<u64>,
    passed: Cell<u64>,
}

/// What came of a request, by each protocol.
struct Asked {
    /// Status and body.
    answers: Vec<(u16, String)>,
    records: Vec<Value>,
}

impl Waypoint {
    async fn start(
        testbed: &Testbed,
        policy: Value,
        destinations: &[Destination<'_>],
    ) -> Result<Self> {
        let mut gateway = Bootstrap::gateway()?;
        gateway.set_policy(policy)?;
        Self::of(testbed, gateway, destinations).await
    }

    async fn of(
        testbed: &Testbed,
        gateway: Bootstrap,
        destinations: &[Destination<'_>],
    ) -> Result<Self> {
        Self::edited(testbed, gateway, destinations, |_| ()).await
    }

    /// With another listener within the tunnels.
    async fn edited(
        testbed: &Testbed,
        gateway: Bootstrap,
        destinations: &[Destination<'_>],
        edit: impl FnOnce(&mut Value),
    ) -> Result<Self> {
        let authority = Authority::new(&[WAYPOINT])?;
        let mut waypoint = gateway.into_waypoint(&authority, destinations)?;
        edit(&mut waypoint.tree_mut()["static_resources"]["listeners"][1]);
        let (envoy, external) = testbed.gateway(waypoint).await?;
        Ok(Self { envoy, external, authority, sent: Cell::new(0), passed: Cell::new(0) })
    }

    /// A workload whose certificate has these names.
    async fn caller(&self, uris: &[&str]) -> Result<Workload> {
        let certificate = self.authority.caller_of_uris(uris)?;
        Workload::connect(self.envoy.listener(HBONE)?, &self.authority, &certificate).await
    }

    async fn ask(
        &self,
        caller: &Workload,
        destination: Destination<'_>,
        host: &str,
    ) -> Result<Asked> {
        self.send(caller, destination, Call::get(host)).await
    }

    async fn send(
        &self,
        caller: &Workload,
        destination: Destination<'_>,
        call: Call,
    ) -> Result<Asked> {
        let dialled = destination.dialled();
        let mut asked = Asked { answers: Vec::new(), records: Vec::new() };
        for is_http2 in [false, true] {
            self.sent.set(self.sent.get() + 1);
            let path = format!("/{}", self.sent.get());
            let call = call.clone().path(&path);
            let answer = match is_http2 {
                false => call.http1_by(caller, &dialled).await?,
                true => call.http2_by(caller, &dialled).await?,
            };
            self.passed.set(self.passed.get() + u64::from(answer.status == 301));
            asked.answers.push((answer.status, answer.body));
            asked.records.push(self.envoy.access_log(&path).await?);
        }
        Ok(asked)
    }

    async fn expect(
        &self,
        caller: &Workload,
        destination: Destination<'_>,
        host: &str,
        verdict: &str,
    ) -> Result<()> {
        let what = format!("{host} by {}", destination.cluster);
        let asked = self.ask(caller, destination, host).await.with_context(|| what.clone())?;
        assert_eq!(asked.verdict()?, verdict, "{what}");
        Ok(())
    }

    /// The external service got what passed and nothing else.
    async fn assert_upstream(&self) -> Result<()> {
        let arrived = self.external.counter("http.external.downstream_rq_total").await?;
        assert_eq!(arrived, self.passed.get());
        Ok(())
    }
}

impl Asked {
    /// The decision, then the rule and the reason where there are any: the same by each protocol, and what the
    /// caller was told.
    fn verdict(&self) -> Result<String> {
        let mut verdicts = self.answers.iter().zip(&self.records).map(|((status, _), record)| {
            let fields = ["egress_decision", "egress_rule", "egress_reason"];
            let fields: Vec<_> = fields.iter().filter_map(|name| record[name].as_str()).collect();
            let is_allowed = fields.first() == Some(&"allow");
            ensure!(*status == if is_allowed { 301 } else { 403 }, "{status} for {fields:?}");
            Ok(fields.join(" "))
        });
        let (first, second) = verdicts.next().zip(verdicts.next()).context("two requests")?;
        let (first, second) = (first?, second?);
        ensure!(first == second, "{first} by HTTP/1.1, {second} by HTTP/2");
        Ok(first)
    }
}
