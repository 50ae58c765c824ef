//! The filter in real Envoys, on the files that users copy.
//!
//! Every scenario runs on each version that [`on_each_shell!`] names, with the module and with the native library; `./build.sh test` installs
//! them and builds the module first. What a scenario changes in the shipped files, it changes in
//! their trees.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use envoy_kit::ACCESS_LOG_FIELDS;
use envoy_kit::bootstrap::Bootstrap;
use envoy_kit::call::{Call, seen};
use envoy_kit::certificates::Authority;
use envoy_kit::on_each_shell;
use envoy_kit::shell::Shell;
use envoy_kit::testbed::Testbed;

on_each_shell![
    the_reference_path_has_five_steps,
    http1_and_http2_callers_get_the_same_verdict,
    a_denied_request_sends_no_byte_upstream,
    a_refusal_tells_the_caller_why,
    a_refused_grpc_call_gets_permission_denied,
    a_refused_head_request_gets_no_body,
    a_refused_websocket_is_not_upgraded,
    a_stamp_replaces_every_spelling_a_caller_sends,
    an_upgrade_cannot_shake_off_a_stamp,
    the_upstream_sees_the_request_the_stamps_and_nothing_else,
    both_records_of_a_request_agree,
    a_dry_run_is_recorded_and_refuses_nothing,
    each_verdict_is_counted,
    the_callers_certificate_is_the_identity,
    a_certificate_with_several_uris_is_no_identity,
    a_caller_without_a_certificate_has_no_identity,
    the_port_is_the_one_that_will_be_dialled,
    a_trailing_dot_is_allowed_and_finds_no_route,
    a_secret_is_added_for_its_rule_and_shows_nowhere,
    a_secret_that_cannot_be_added_is_refused_and_not_told,
    nothing_passes_the_guard_without_a_verdict,
    a_bad_policy_is_refused_with_every_error,
];

async fn the_reference_path_has_five_steps(testbed: &Testbed) -> Result<()> {
    let mut open_gateway = Bootstrap::gateway()?;
    open_gateway.remove_filter("egress-warden");
    open_gateway.remove_filter("egress-warden-guard");
    let mesh = testbed.mesh(open_gateway).await?;
    let allow_any = mesh.sidecar.listener("allow_any")?;
    let registry_only = mesh.sidecar.listener("registry_only")?;

    // 1 to 3: past the gateway, by the sidecar's mode and registry alone.
    assert_eq!(Call::get("foreign.example").http1(allow_any).await?.status, 301);
    assert_eq!(Call::get("foreign.example").http1(registry_only).await?.status, 502);
    assert_eq!(Call::get("registered.example").http1(registry_only).await?.status, 301);
    assert_eq!(mesh.gateway.counter("http.outbound_0.0.0.0_80.downstream_cx_total").await?, 0);

    // 4: through the gateway, which lets everything pass so far.
    let routed = Call::get("denied.example")
        .path("/4")
        .header("user-agent", "curl")
        .http1(registry_only)
        .await?;
    assert_eq!(routed.status, 301);
    let record = mesh.gateway.access_log("/4").await?;
    assert_fields(&record);
    assert_eq!(record["authority"], "denied.example");
    assert_eq!(record["method"], "GET");
    assert_eq!(record["protocol"], "HTTP/1.1");
    assert_eq!(record["response_code"], 301);
    assert_eq!(record["user_agent"], "curl");
    assert_eq!(record["upstream_cluster"], "outbound|80||denied.example");
    assert_eq!(record["upstream_host"], json!(mesh.external.listener("external")?.to_string()));
    assert_eq!(record["egress_decision"], Value::Null);
    drop(mesh);

    // 5: with the filter.
    let mesh = testbed.mesh(Bootstrap::gateway()?).await?;
    let registry_only = mesh.sidecar.listener("registry_only")?;
    let allowed = Call::get("allowed.example").path("/5").http1(registry_only).await?;
    let stamps: Vec<_> =
        allowed.seen()?.into_iter().filter(|(name, _)| name.starts_with("x-egress-")).collect();
    assert_eq!(stamps.len(), 3, "{stamps:?}");
    assert!(stamps.contains(&("x-egress-team", "shop")), "{stamps:?}");
    assert!(stamps.contains(&("x-egress-policy", "local-egress")), "{stamps:?}");
    assert!(stamps.contains(&("x-egress-rule", "shop-to-allowed")), "{stamps:?}");
    let record = mesh.gateway.access_log("/5").await?;
    assert_fields(&record);
    assert_eq!(record["response_code"], 301);
    assert_eq!(record["egress_decision"], "allow");
    assert_eq!(record["egress_rule"], "shop-to-allowed");
    assert_eq!(record["egress_reason"], Value::Null);
    assert_eq!(record["guard"], "allowed");
    assert_eq!(record["response_code_details"], "via_upstream");
    assert_policy(&record["egress_policy"]);

    let denied = Call::get("denied.example").path("/6").http1(registry_only).await?;
    assert_eq!(denied.status, 403);
    assert_eq!(denied.header("content-type"), "application/json");
    let record = mesh.gateway.access_log("/6").await?;
    assert_fields(&record);
    assert_eq!(record["response_code"], 403);
    assert_eq!(record["egress_decision"], "deny");
    assert_eq!(record["egress_rule"], Value::Null);
    assert_eq!(record["egress_reason"], "default");
    assert_eq!(record["guard"], Value::Null);
    assert_eq!(record["response_code_details"], "egress_denied[default]");
    assert_eq!(record["upstream_host"], Value::Null);
    Ok(())
}

async fn http1_and_http2_callers_get_the_same_verdict(testbed: &Testbed) -> Result<()> {
    let (gateway, _external) = testbed.gateway(Bootstrap::gateway()?).await?;
    let egress = gateway.listener("egress")?;
    for (host, status, decision) in
        [("allowed.example", 301, "allow"), ("denied.example", 403, "deny")]
    {
        let path = format!("/{decision}/1");
        assert_eq!(Call::get(host).path(&path).http1(egress).await?.status, status);
        let record = gateway.access_log(&path).await?;
        assert_eq!(
            (&record["protocol"], &record["egress_decision"]),
            (&json!("HTTP/1.1"), &json!(decision))
        );

        let path = format!("/{decision}/2");
        assert_eq!(Call::get(host).path(&path).http2(egress).await?.status, status);
        let record = gateway.access_log(&path).await?;
        assert_eq!(
            (&record["protocol"], &record["egress_decision"]),
            (&json!("HTTP/2"), &json!(decision))
        );
    }
    Ok(())
}

async fn a_denied_request_sends_no_byte_upstream(testbed: &Testbed) -> Result<()> {
    let (gateway, external) = testbed.gateway(Bootstrap::gateway()?).await?;
    let egress = gateway.listener("egress")?;
    let received = async || external.counter("http.external.downstream_cx_rx_bytes_total").await;

    let denied = Call::new("POST", "denied.example").body("everything we know");
    assert_eq!(denied.http1(egress).await?.status, 403);
    assert_eq!(denied.http2(egress).await?.status, 403);
    assert_eq!(received().await?, 0);
    assert_eq!(external.counter("http.external.downstream_cx_total").await?, 0);

    let allowed = Call::new("POST", "allowed.example").body("everything we know");
    assert_eq!(allowed.http1(egress).await?.status, 301);
    assert_ne!(received().await?, 0, "the counter counts");
    Ok(())
}

async fn a_refusal_tells_the_caller_why(testbed: &Testbed) -> Result<()> {
    let (gateway, _external) = testbed.gateway(Bootstrap::gateway()?).await?;
    let egress = gateway.listener("egress")?;

    let answer = Call::get("denied.example:80").path("/default").http1(egress).await?;
    let record = gateway.access_log("/default").await?;
    assert_eq!(answer.status, 403);
    assert_eq!(
        answer.json()?,
        json!({
            "error": "egress_denied",
            "host": "denied.example",
            "reason": "default",
            "policy": "local-egress",
            "request_id": record["request_id"],
            "message": "This destination is not open. Ask the platform team.",
        })
    );
    assert_eq!(record["response_code_details"], "egress_denied[default]");

    let answer = Call::get("allowed.example").path("/legacy/orders").http1(egress).await?;
    let record = gateway.access_log("/legacy/orders").await?;
    assert_eq!(answer.status, 403);
    assert_eq!(
        answer.json()?,
        json!({
            "error": "egress_denied",
            "host": "allowed.example",
            "reason": "rule",
            "rule": "no-legacy-api",
            "policy": "local-egress",
            "request_id": record["request_id"],
            "message": "The legacy interface is closed: use /v1",
        })
    );
    assert_eq!(record["egress_rule"], "no-legacy-api");
    assert_eq!(record["response_code_details"], "egress_denied[rule]");

    let answer = Call::get("allowed.example:http").path("/malformed").http1(egress).await?;
    let record = gateway.access_log("/malformed").await?;
    assert_eq!(answer.status, 403);
    assert_eq!(answer.json()?["reason"], "malformed");
    assert_eq!(answer.json()?.get("host"), None);
    assert_eq!(record["response_code_details"], "egress_denied[malformed]");
    Ok(())
}

async fn a_refused_grpc_call_gets_permission_denied(testbed: &Testbed) -> Result<()> {
    let (gateway, _external) = testbed.gateway(Bootstrap::gateway()?).await?;
    let call = Call::new("POST", "denied.example")
        .path("/shop.Orders/List")
        .header("content-type", "application/grpc");
    let answer = call.header("te", "trailers").http2(gateway.listener("egress")?).await?;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("grpc-status"), "7");
    // A grpc-message is percent-encoded only where it has to be.
    assert_eq!(
        answer.header("grpc-message"),
        "This destination is not open. Ask the platform team."
    );
    assert_eq!(answer.body, "");
    Ok(())
}

async fn a_refused_head_request_gets_no_body(testbed: &Testbed) -> Result<()> {
    let (gateway, _external) = testbed.gateway(Bootstrap::gateway()?).await?;
    let egress = gateway.listener("egress")?;
    for answer in [
        Call::new("HEAD", "denied.example").http1(egress).await?,
        Call::new("HEAD", "denied.example").http2(egress).await?,
    ] {
        assert_eq!((answer.status, answer.body.as_str()), (403, ""));
    }
    Ok(())
}

async fn a_refused_websocket_is_not_upgraded(testbed: &Testbed) -> Result<()> {
    let (gateway, _external) = testbed.gateway(Bootstrap::gateway()?).await?;
    let egress = gateway.listener("egress")?;
    let websocket = |host| {
        Call::get(host)
            .header("connection", "upgrade")
            .header("upgrade", "websocket")
            .header("sec-websocket-version", "13")
            .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")
    };
    assert_eq!(websocket("denied.example").http1(egress).await?.status, 403);
    // The external service takes no websockets either, but it is asked.
    assert_eq!(websocket("allowed.example").http1(egress).await?.status, 301);
    Ok(())
}

async fn a_stamp_replaces_every_spelling_a_caller_sends(testbed: &Testbed) -> Result<()> {
    let (gateway, _external) = testbed.gateway(Bootstrap::gateway()?).await?;
    let egress = gateway.listener("egress")?;
    let spellings = [
        "x-egress-team",
        "x-egress-team",
        "X-EGRESS-TEAM",
        "x_egress_team",
        "X.Egress.Team",
        "X_DEBUG",
    ];
    let forged = spellings
        .iter()
        .fold(Call::get("allowed.example"), |call, name| call.header(name, "forged"));

    let answer = forged.verbatim(egress).await?;
    let (_, body) = answer.split_once("\r\n\r\n").with_context(|| answer.clone())?;
    assert_only_our_stamp(&seen(body)?);
    assert_only_our_stamp(&forged.http2(egress).await?.seen()?);
    Ok(())
}

async fn an_upgrade_cannot_shake_off_a_stamp(testbed: &Testbed) -> Result<()> {
    // Envoy drops the body of a refused upgrade, so the external service's own log says what it
    // got.
    let mut external = Bootstrap::external()?;
    external.log_field("connection", "%REQ(CONNECTION)%");
    let (gateway, external) = testbed.gateway_before(external, Bootstrap::gateway()?).await?;
    let upgrade = Call::get("allowed.example").path("/upgrade").header("upgrade", "websocket");
    // A hop that obeyed this would drop the stamp.
    let upgrade = upgrade.header("connection", "upgrade, x-egress-team");
    assert_eq!(upgrade.http1(gateway.listener("egress")?).await?.status, 301);
    let record = external.access_log("/upgrade").await?;
    assert_eq!(record["x_egress_team"], "shop");
    assert_eq!(record["connection"], "upgrade");
    Ok(())
}

fn assert_only_our_stamp(headers: &[(&str, &str)]) {
    let team = headers.iter().filter(|(name, _)| name.replace(['_', '.'], "-") == "x-egress-team");
    assert_eq!(team.collect::<Vec<_>>(), [&("x-egress-team", "shop")], "{headers:?}");
    assert!(!headers.iter().any(|(_, value)| *value == "forged"), "{headers:?}");
}

async fn the_upstream_sees_the_request_the_stamps_and_nothing_else(
    testbed: &Testbed,
) -> Result<()> {
    let mesh = testbed.mesh(Bootstrap::gateway()?).await?;
    let of_the_mesh = [
        "x-forwarded-client-cert",
        "x-envoy-peer-metadata",
        "x-envoy-peer-metadata-id",
        "x-envoy-decorator-operation",
        "x-envoy-original-dst-host",
        "x-envoy-original-path",
        "x-envoy-internal",
        "x-envoy-attempt-count",
        "x-debug",
    ];
    let call = Call::get("allowed.example")
        .path("/v1")
        .header("user-agent", "curl")
        .header("accept", "*/*");
    let call = of_the_mesh.iter().fold(call, |call, name| call.header(name, "1"));
    let expected = BTreeSet::from([
        ":authority",
        ":method",
        ":path",
        ":scheme",
        "accept",
        "user-agent",
        "x-egress-policy",
        "x-egress-rule",
        "x-egress-team",
        // What `strip.forwarded` would take as well.
        "x-envoy-external-address",
        "x-forwarded-for",
        "x-forwarded-proto",
        "x-request-id",
    ]);
    let registry_only = mesh.sidecar.listener("registry_only")?;
    for answer in [call.http1(registry_only).await?, call.http2(registry_only).await?] {
        assert_eq!(
            answer.seen()?.into_iter().map(|(name, _)| name).collect::<BTreeSet<_>>(),
            expected
        );
    }
    Ok(())
}

async fn both_records_of_a_request_agree(testbed: &Testbed) -> Result<()> {
    let mut bootstrap = Bootstrap::gateway()?;
    let mut policy = policy_for("allowed.example");
    policy["log"] = json!({"requests": "all"});
    bootstrap.set_policy(policy)?;
    let (gateway, _external) = testbed.gateway(bootstrap).await?;
    let egress = gateway.listener("egress")?;

    Call::get("Allowed.Example:80").path("/allowed?secret=1").http1(egress).await?;
    let access_log = gateway.access_log("/allowed?secret=1").await?;
    let (level, line) = gateway.filter_log("/allowed").await?;
    assert_eq!(level, "info");
    assert_eq!(
        keys(&line)?,
        [
            "egress_decision",
            "egress_rule",
            "egress_reason",
            "egress_policy",
            "start_time",
            "host",
            "authority",
            "port",
            "method",
            "path",
            "downstream_remote_address",
            "request_id",
        ]
    );
    let record: Value = serde_json::from_str(&line)?;
    for key in
        ["egress_decision", "egress_rule", "egress_policy", "authority", "method", "request_id"]
    {
        assert_eq!(record[key], access_log[key], "{key}");
    }
    assert_eq!(record["host"], "allowed.example");
    assert_eq!(record["egress_reason"], "rule");
    assert!(!line.contains("secret"), "{line}");

    Call::get("denied.example").path("/denied").http2(egress).await?;
    let access_log = gateway.access_log("/denied").await?;
    let (level, line) = gateway.filter_log("/denied").await?;
    assert_eq!(level, "warning");
    let record: Value = serde_json::from_str(&line)?;
    for key in [
        "egress_decision",
        "egress_reason",
        "egress_policy",
        "authority",
        "method",
        "path",
        "request_id",
    ] {
        assert_eq!(record[key], access_log[key], "{key}");
    }
    assert_eq!(record["egress_reason"], "default");
    assert_eq!(record.get("egress_rule"), None);
    Ok(())
}

async fn a_dry_run_is_recorded_and_refuses_nothing(testbed: &Testbed) -> Result<()> {
    let (gateway, _external) = testbed.gateway(Bootstrap::gateway()?).await?;
    let answer = Call::new("DELETE", "allowed.example")
        .path("/dry-run")
        .http1(gateway.listener("egress")?)
        .await?;
    assert_eq!(answer.status, 301);
    let access_log = gateway.access_log("/dry-run").await?;
    let (level, line) = gateway.filter_log("/dry-run").await?;
    assert_eq!(level, "warning");
    for record in [access_log, serde_json::from_str(&line)?] {
        assert_eq!(record["egress_decision"], "allow");
        assert_eq!(record["egress_would"], "deny");
        assert_eq!(record["egress_would_rule"], "no-deletes");
    }
    assert_eq!(gateway.counter("wasmcustom.egress_warden.would.deny").await?, 1);
    Ok(())
}

async fn each_verdict_is_counted(testbed: &Testbed) -> Result<()> {
    let (gateway, _external) = testbed.gateway(Bootstrap::gateway()?).await?;
    let egress = gateway.listener("egress")?;
    for _ in 0..2 {
        Call::get("denied.example").http1(egress).await?;
    }
    Call::get("allowed.example").http1(egress).await?;
    Call::get("allowed.example").path("/legacy").http1(egress).await?;
    for (counter, count) in [
        ("requests.deny.default", 2),
        ("requests.allow.rule", 1),
        ("requests.deny.rule", 1),
        ("rule.shop-to-allowed.allow", 1),
        ("rule.no-legacy-api.deny", 1),
        ("would.deny", 0),
    ] {
        assert_eq!(
            gateway.counter(&format!("wasmcustom.egress_warden.{counter}")).await?,
            count,
            "{counter}"
        );
    }
    Ok(())
}

async fn the_callers_certificate_is_the_identity(testbed: &Testbed) -> Result<()> {
    let authority = Authority::new(&["allowed.example"])?;
    let mut bootstrap = Bootstrap::gateway()?;
    bootstrap.require_mutual_tls(&authority)?;
    let mut policy = policy_for("allowed.example");
    policy["identity"] = json!("required");
    policy["rules"][0]["from"] = json!([{"principals": ["cluster.local/ns/shop/sa/*"]}]);
    policy["log"] = json!({"requests": "all"});
    bootstrap.set_policy(policy)?;
    let (gateway, _external) = testbed.gateway(bootstrap).await?;
    let egress = gateway.listener("egress")?;

    for (path, principal, status) in [
        ("/front", "spiffe://cluster.local/ns/shop/sa/front", 301),
        ("/other", "spiffe://cluster.local/ns/other/sa/front", 403),
    ] {
        let caller = authority.caller(principal)?;
        let forged = format!("URI={principal}").replace("/other/", "/shop/");
        let call =
            Call::get("allowed.example").path(path).header("x-forwarded-client-cert", &forged);
        let answer = call.tls(egress, &authority, "allowed.example", Some(&caller)).await?;
        assert_eq!(answer.status, status, "{principal}");
        assert_eq!(gateway.access_log(path).await?["source_principal"], principal);
        let (_, line) = gateway.filter_log(path).await?;
        let record: Value = serde_json::from_str(&line)?;
        assert_eq!(record["source_principal"], principal);
        let is_told = testbed.tells_server_name();
        let server_name = if is_told { json!("allowed.example") } else { Value::Null };
        assert_eq!(record["requested_server_name"], server_name);
    }

    // Neither without a certificate nor with one of a foreign authority is there a connection at
    // all.
    let foreign = Authority::new(&[])?.caller("spiffe://cluster.local/ns/shop/sa/front")?;
    for caller in [None, Some(&foreign)] {
        let call = Call::get("allowed.example").path("/stranger");
        assert!(call.tls(egress, &authority, "allowed.example", caller).await.is_err());
    }
    Ok(())
}

async fn a_certificate_with_several_uris_is_no_identity(testbed: &Testbed) -> Result<()> {
    let authority = Authority::new(&["allowed.example"])?;
    let mut bootstrap = Bootstrap::gateway()?;
    bootstrap.require_mutual_tls(&authority)?;
    let mut policy = policy_for("allowed.example");
    policy["default"] = json!("allow");
    policy["rules"] = json!([
        {"id": "not-evil", "action": "deny", "from": [{"principals": ["cluster.local/ns/evil/*"]}],
            "to": [{"hosts": ["allowed.example"]}]},
    ]);
    bootstrap.set_policy(policy)?;
    let (gateway, _external) = testbed.gateway(bootstrap).await?;
    let egress = gateway.listener("egress")?;
    let (shop, evil) =
        ("spiffe://cluster.local/ns/shop/sa/front", "spiffe://cluster.local/ns/evil/sa/x");
    for (path, uris, status) in [
        ("/one", &[shop][..], 301),
        ("/two", &[shop, evil], 403),
        ("/comma", &[shop, "https://a/b,c"], 403),
        ("/many", &[shop, "https://a/", evil], 403),
    ] {
        let caller = authority.caller_of_uris(uris)?;
        // What a caller claims to be, the gateway replaces.
        let forged = format!("URI={shop}");
        let call =
            Call::get("allowed.example").path(path).header("x-forwarded-client-cert", &forged);
        let answer = call.tls(egress, &authority, "allowed.example", Some(&caller)).await?;
        assert_eq!(answer.status, status, "{uris:?}");
        assert_eq!(gateway.access_log(path).await?["source_principal"], uris.join(","));
    }
    Ok(())
}

async fn a_caller_without_a_certificate_has_no_identity(testbed: &Testbed) -> Result<()> {
    let mut policy = policy_for("allowed.example");
    policy["identity"] = json!("required");
    let authority = Authority::new(&["allowed.example"])?;
    let forged = "By=spiffe://a;URI=spiffe://cluster.local/ns/shop/sa/front";
    let call =
        Call::get("allowed.example").path("/anyone").header("x-forwarded-client-cert", forged);

    let mut plain = Bootstrap::gateway()?;
    plain.set_policy(policy.clone())?;
    let (gateway, _external) = testbed.gateway(plain).await?;
    let answer = call.http1(gateway.listener("egress")?).await?;
    assert_eq!((answer.status, &answer.json()?["reason"]), (403, &json!("identity")));
    assert_eq!(gateway.access_log("/anyone").await?["source_principal"], Value::Null);

    let mut optional = Bootstrap::gateway()?;
    optional.terminate_tls(&authority)?;
    optional.set_policy(policy)?;
    let (gateway, _external) = testbed.gateway(optional).await?;
    let answer = call.tls(gateway.listener("egress")?, &authority, "allowed.example", None).await?;
    assert_eq!((answer.status, &answer.json()?["reason"]), (403, &json!("identity")));
    Ok(())
}

async fn the_port_is_the_one_that_will_be_dialled(testbed: &Testbed) -> Result<()> {
    let mut policy = policy_for("allowed.example");
    policy["rules"][0]["to"][0]["ports"] = json!([443]);
    for (cluster_port, authority, status) in [
        (443, "allowed.example", 301),
        (443, "allowed.example:443", 301),
        // A conflict: what the caller writes is not what will be dialled.
        (443, "allowed.example:80", 403),
        (80, "allowed.example", 403),
        (80, "allowed.example:443", 403),
    ] {
        let mut bootstrap = Bootstrap::gateway()?;
        bootstrap.set_policy(policy.clone())?;
        bootstrap.set_cluster_port(cluster_port);
        let (gateway, _external) = testbed.gateway(bootstrap).await?;
        let answer = Call::get(authority).http1(gateway.listener("egress")?).await?;
        assert_eq!(answer.status, status, "{authority} by outbound|{cluster_port}|…");
    }
    Ok(())
}

/// The policy reads one host in `x` and `x.`; the route table does not.
async fn a_trailing_dot_is_allowed_and_finds_no_route(testbed: &Testbed) -> Result<()> {
    let mut bootstrap = Bootstrap::gateway()?;
    bootstrap.set_policy(policy_for("allowed.example"))?;
    let (gateway, _external) = testbed.gateway(bootstrap).await?;
    let call = Call::get("allowed.example.").path("/dot");
    assert_eq!(call.http1(gateway.listener("egress")?).await?.status, 404);
    let record = gateway.access_log("/dot").await?;
    assert_eq!(record["egress_decision"], "allow");
    assert_eq!(record["response_code_details"], "route_not_found");
    assert_eq!(record["upstream_host"], Value::Null);
    Ok(())
}

const SECRET: &str = "t0p-s3cret";

/// The shipped gateway, whose policy adds `{secret:NAME}` to what goes to `allowed.example`, in a VM with
/// such an environment.
fn gateway_with_secret(name: &str, environment: Value) -> Result<Bootstrap> {
    let mut bootstrap = Bootstrap::gateway()?;
    bootstrap.set_policy(json!({
        "policy": "test",
        "rules": [
            {"id": "partner", "action": "allow", "to": [{"hosts": ["allowed.example"]}],
                "stamp": {"set": {"authorization": format!("Bearer {{secret:{name}}}")}}},
            {"id": "other", "action": "allow", "to": [{"hosts": ["denied.example"]}]},
        ],
        "log": {"requests": "all"},
    }))?;
    let resources = &mut bootstrap.tree_mut()["static_resources"];
    let filters = &mut resources["listeners"][0]["filter_chains"][0]["filters"][0]["typed_config"]
        ["http_filters"];
    let filters = filters.as_array_mut().context("a list of filters")?;
    let filter = filters.iter_mut().find(|filter| filter["name"] == "egress-warden");
    let config = &mut filter.context("the filter")?["typed_config"]["config"];
    config["vm_config"]["environment_variables"] = environment;
    Ok(bootstrap)
}

async fn a_secret_is_added_for_its_rule_and_shows_nowhere(testbed: &Testbed) -> Result<()> {
    // Of a variable in Envoy's own environment its configuration says the name, of one that is written
    // there the value.
    let of_host = env!("CARGO_PKG_NAME");
    for (name, environment, secret, is_dumped) in [
        ("CARGO_PKG_NAME", json!({"host_env_keys": ["CARGO_PKG_NAME"]}), of_host, false),
        ("TOKEN", json!({"key_values": {"TOKEN": SECRET}}), SECRET, true),
    ] {
        let (gateway, _external) = testbed.gateway(gateway_with_secret(name, environment)?).await?;
        let egress = gateway.listener("egress")?;
        let call = |host: &'static str, path: &'static str| {
            let call = Call::get(host).path(path).header("authorization", "Bearer mine");
            call.header("authorization", "Bearer again").header("Authorization", "Basic bWluZQ==")
        };
        for (path, answer) in [
            ("/1", call("allowed.example", "/1").http1(egress).await?),
            ("/2", call("allowed.example", "/2").http2(egress).await?),
        ] {
            let credentials: Vec<_> =
                answer.seen()?.into_iter().filter(|(name, _)| *name == "authorization").collect();
            let ours = format!("Bearer {secret}");
            assert_eq!(credentials, [("authorization", &*ours)], "{path}");
        }
        // A caller's own goes on to hosts for which no rule sets one, and ours does not.
        let other = call("denied.example", "/3").http1(egress).await?;
        let seen = format!("{:?}", other.seen()?);
        assert!(seen.contains("Bearer mine") && !seen.contains(secret), "{seen}");
        for path in ["/1", "/2", "/3"] {
            gateway.access_log(path).await?;
            gateway.filter_log(path).await?;
        }
        let shown = [
            gateway.access_log_after(0).join("\n"),
            testbed.logs(),
            format!("{:?}", gateway.filter_lines()),
            format!("{:?}", gateway.counters(|_| true).await?),
        ];
        for text in shown {
            assert!(
                !text.contains(&format!("Bearer {secret}")) && !text.contains(SECRET),
                "{text}"
            );
        }
        let dump = Call::get("admin").path("/config_dump").http1(gateway.admin()).await?.body;
        assert!(dump.contains(&format!("{{secret:{name}}}")), "the policy as it is written");
        // The native library knows only the environment of the process.
        let is_dumped = is_dumped && testbed.shell() == Shell::Wasm;
        assert_eq!(dump.contains(secret), is_dumped, "{name}");
    }
    Ok(())
}

async fn a_secret_that_cannot_be_added_is_refused_and_not_told(testbed: &Testbed) -> Result<()> {
    let absent = "which the filter's environment does not have";
    for (name, environment, said) in [
        ("TOKEN", json!({}), absent),
        ("TOKEN", json!({"host_env_keys": ["NO_SUCH_VARIABLE"]}), absent),
        // Envoy has it, and nobody gave it to the filter.
        ("CARGO_PKG_NAME", json!({}), absent),
        ("TOKEN", json!({"key_values": {"TOKEN": ""}}), "whose value cannot stand in a header"),
        (
            "TOKEN",
            json!({"key_values": {"TOKEN": format!("{SECRET}\r\nx-forged: 1")}}),
            "whose value cannot stand in a header",
        ),
        (
            "TOKEN",
            json!({"key_values": {"TOKEN": format!("{SECRET}\n")}}),
            "whose value cannot stand in a header",
        ),
    ] {
        let lines = testbed.refusal(gateway_with_secret(name, environment)?).await?.join("\n");
        assert!(lines.contains(&format!("the secret `{name}`, {said}")), "{lines}");
        assert!(!lines.contains(SECRET), "{lines}");
    }
    Ok(())
}

async fn nothing_passes_the_guard_without_a_verdict(testbed: &Testbed) -> Result<()> {
    let mut unguarded_by_the_filter = Bootstrap::gateway()?;
    unguarded_by_the_filter.remove_filter("egress-warden");
    let (gateway, external) = testbed.gateway(unguarded_by_the_filter).await?;
    for host in ["allowed.example", "denied.example"] {
        let path = format!("/{host}");
        let call = Call::get(host)
            .path(&path)
            .header("egress_decision", "allow")
            .header("wasm.egress_decision", "allow");
        assert_eq!(call.http1(gateway.listener("egress")?).await?.status, 403);
        let record = gateway.access_log(&path).await?;
        assert_eq!(record["response_code_details"], "rbac_access_denied_matched_policy[none]");
        assert_eq!(record["guard"], "denied");
        assert_eq!(record["egress_decision"], Value::Null);
    }
    assert_eq!(external.counter("http.external.downstream_cx_total").await?, 0);
    Ok(())
}

async fn a_bad_policy_is_refused_with_every_error(testbed: &Testbed) -> Result<()> {
    let mut bootstrap = Bootstrap::gateway()?;
    let mut policy = policy_for("Allowed.example");
    policy["rules"][0]["action"] = json!("permit");
    policy["rulez"] = json!([]);
    bootstrap.set_policy(policy)?;
    let log = testbed.refusal(bootstrap).await?.join("\n");
    for place in ["rules[0].to[0].hosts[0]", "rules[0].action", "rulez"] {
        assert!(log.contains(place), "`{place}` is not in\n{log}");
    }
    Ok(())
}

/// A policy that lets requests for `host` pass, and none else.
fn policy_for(host: &str) -> Value {
    json!({
        "policy": "test",
        "rules": [{"id": "open", "action": "allow", "to": [{"hosts": [host]}]}],
    })
}

fn assert_fields(record: &Value) {
    for field in ACCESS_LOG_FIELDS {
        assert!(record.get(field).is_some(), "`{field}` is not in {record:#}");
    }
}

/// A policy in a record: its name and twelve digits of its hash.
fn assert_policy(policy: &Value) {
    let (name, hash) =
        policy.as_str().and_then(|policy| policy.split_once('@')).expect("name@hash");
    assert_eq!(name, "local-egress");
    assert!(
        hash.len() == 12 && hash.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f')),
        "{hash}"
    );
}

/// The keys of a JSON object in the order they are written.
fn keys(object: &str) -> Result<Vec<String>> {
    struct Keys(Vec<String>);
    impl<'de> serde::Deserialize<'de> for Keys {
        fn deserialize<D: serde::Deserializer<'de>>(object: D) -> Result<Self, D::Error> {
            object.deserialize_map(Keys(Vec::new()))
        }
    }
    impl<'de> serde::de::Visitor<'de> for Keys {
        type Value = Self;

        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("an object")
        }

        fn visit_map<A: serde::de::MapAccess<'de>>(
            mut self,
            mut fields: A,
        ) -> Result<Self, A::Error> {
            while let Some((key, _)) = fields.next_entry::<_, serde::de::IgnoredAny>()? {
                self.0.push(key);
            }
            Ok(self)
        }
    }
    Ok(serde_json::from_str::<Keys>(object)?.0)
}
