//! Requests whose route changes after the verdict, on real Envoys. What the filter writes makes Envoy
//! choose the route again: the new route must be the judged one. And a request that Envoy redirects itself
//! must not carry stamps for one host to another.

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use envoy_kit::bootstrap::Bootstrap;
use envoy_kit::call::Call;
use envoy_kit::process::Envoy;
use envoy_kit::testbed::Testbed;
use envoy_kit::{on_each_envoy, on_each_shell};

// The module's writes make Envoy choose the route again, those of the native library do not.
on_each_envoy![
    a_request_whose_route_changes_never_reaches_the_other_port,
    a_request_that_leaves_its_direct_answer_is_refused_too,
    without_a_judged_port_the_route_may_change,
];
on_each_shell![
    a_filter_behind_the_policy_cannot_change_the_route_either,
    a_request_whose_route_stays_passes,
    a_redirected_request_carries_no_stamp_to_another_host,
    a_redirected_request_is_judged_for_the_other_host,
    a_request_that_is_sent_elsewhere_for_its_answer_carries_no_stamp,
    a_caller_who_claims_to_be_redirected_loses_what_it_sent,
    behind_a_dynamic_forward_proxy_the_port_is_what_the_cluster_says,
];

const HOST: &str = "allowed.example";
/// Where the policies of these tests let requests go.
const OPEN: &str = "outbound|443||allowed.example";
/// Where they do not.
const CLOSED: &str = "outbound|22||allowed.example";

/// A policy, the header by which the routes are chosen, and what a caller sends under it.
struct Attack {
    name: &'static str,
    policy: Value,
    /// Requests that match go to the first cluster, others to the second.
    matched: Value,
    clusters: [&'static str; 2],
    sent: Option<(&'static str, &'static str)>,
}

/// Every way in which the filter writes headers, and every action that may rest on the port.
fn attacks() -> Vec<Attack> {
    let present = |name: &str| json!({"name": name, "present_match": true});
    let exact = |name: &str, value: &str| json!({"name": name, "string_match": {"exact": value}});
    let removal = |name, policy, header| Attack {
        name,
        policy,
        matched: present(header),
        clusters: [OPEN, CLOSED],
        sent: Some((header, "1")),
    };
    vec![
        removal(
            "the rule removes",
            policy(json!({"rule": {"stamp": {"remove": ["x-debug"]}}})),
            "x-debug",
        ),
        removal(
            "an alias is removed",
            policy(json!({"rule": {"stamp": {"remove": ["x-debug"]}}})),
            "x_debug",
        ),
        removal("the policy removes", policy(json!({"stamp": {"remove": ["x-debug"]}})), "x-debug"),
        removal("the mesh's headers are stripped", policy(json!({})), "x-envoy-peer-metadata-id"),
        removal(
            "headers of forwarding are stripped",
            policy(json!({"strip": {"forwarded": true}})),
            "x-real-ip",
        ),
        removal(
            "a reserved name is cleared",
            policy(json!({"rule": {"stamp": {"set": {"x-egress-team": "{principal}"}}}})),
            "x-egress-team",
        ),
        removal(
            "a deny names the port",
            json!({
                "policy": "test",
                "default": "allow",
                "rules": [{"id": "no-shell", "action": "deny", "to": [{"ports": [22]}]}],
                "stamp": {"remove": ["x-debug"]},
            }),
            "x-debug",
        ),
        Attack {
            name: "the rule sets",
            policy: policy(json!({"rule": {"stamp": {"set": {"x-egress-team": "shop"}}}})),
            matched: exact("x-egress-team", "shop"),
            clusters: [CLOSED, OPEN],
            sent: None,
        },
        Attack {
            name: "the policy sets",
            policy: policy(json!({"stamp": {"set": {"x-egress-team": "shop"}}})),
            matched: present("x-egress-team"),
            clusters: [CLOSED, OPEN],
            sent: None,
        },
        Attack {
            name: "a stamp replaces",
            policy: policy(json!({"rule": {"stamp": {"set": {"authorization": "Bearer t"}}}})),
            matched: exact("authorization", "mine"),
            clusters: [OPEN, CLOSED],
            sent: Some(("authorization", "mine")),
        },
    ]
}

async fn a_request_whose_route_changes_never_reaches_the_other_port(
    testbed: &Testbed,
) -> Result<()> {
    for attack in attacks() {
        let mut bootstrap = Bootstrap::gateway()?;
        bootstrap.set_policy(attack.policy)?;
        let [first, second] = attack.clusters.map(|cluster| json!({"cluster": cluster}));
        set_routes(
            &mut bootstrap,
            json!([
                {"match": {"prefix": "/", "headers": [attack.matched]}, "route": first},
                {"match": {"prefix": "/"}, "route": second},
            ]),
        )?;
        let (gateway, external) = testbed.gateway(bootstrap).await?;
        for path in ["/http1", "/http2"] {
            let call = Call::get(HOST).path(path);
            let call =
                attack.sent.iter().fold(call, |call, (name, value)| call.header(name, value));
            assert_guard_refuses(&call, path, &gateway, &external)
                .await
                .with_context(|| attack.name)?;
        }
    }
    Ok(())
}

/// Judged without a cluster, by the port of its authority, it must not find one later.
async fn a_request_that_leaves_its_direct_answer_is_refused_too(testbed: &Testbed) -> Result<()> {
    let mut bootstrap = Bootstrap::gateway()?;
    bootstrap.set_policy(policy(json!({"rule": {"stamp": {"remove": ["x-debug"]}}})))?;
    set_routes(
        &mut bootstrap,
        json!([
            {
                "match": {"prefix": "/", "headers": [{"name": "x-debug", "present_match": true}]},
                "direct_response": {"status": 204},
            },
            {"match": {"prefix": "/"}, "route": {"cluster": CLOSED}},
        ]),
    )?;
    let (gateway, external) = testbed.gateway(bootstrap).await?;
    for path in ["/http1", "/http2"] {
        let call = Call::get("allowed.example:443").path(path).header("x-debug", "1");
        assert_guard_refuses(&call, path, &gateway, &external).await?;
    }
    Ok(())
}

async fn a_filter_behind_the_policy_cannot_change_the_route_either(
    testbed: &Testbed,
) -> Result<()> {
    let mut bootstrap = Bootstrap::gateway()?;
    bootstrap.set_policy(policy(json!({"strip": {"mesh": false}})))?;
    set_routes(&mut bootstrap, routes_by("x-other"))?;
    let filters = connection_manager(&mut bootstrap)["http_filters"].as_array_mut();
    filters.context("filters")?.insert(
        1,
        json!({
            "name": "envoy.filters.http.lua",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.filters.http.lua.v3.Lua",
                "default_source_code": {
                    "inline_string": "function envoy_on_request(handle) handle:headers():remove('x-other') end",
                },
            },
        }),
    );
    let (gateway, external) = testbed.gateway(bootstrap).await?;
    for path in ["/http1", "/http2"] {
        let call = Call::get(HOST).path(path).header("x-other", "1");
        assert_guard_refuses(&call, path, &gateway, &external).await?;
    }
    Ok(())
}

async fn a_request_whose_route_stays_passes(testbed: &Testbed) -> Result<()> {
    let mut bootstrap = Bootstrap::gateway()?;
    bootstrap.set_policy(policy(json!({
        "rule": {"stamp": {"set": {"x-egress-team": "shop"}, "remove": ["x-debug"]}},
    })))?;
    let mut routes = json!([{"match": {"prefix": "/direct"}, "direct_response": {"status": 204}}]);
    let by_header = routes_by("x-other");
    routes
        .as_array_mut()
        .context("routes")?
        .extend(by_header.as_array().cloned().into_iter().flatten());
    set_routes(&mut bootstrap, routes)?;
    let (gateway, external) = testbed.gateway(bootstrap).await?;
    let egress = gateway.listener("egress")?;

    let open = Call::get(HOST).header("x-other", "1").header("x-debug", "1");
    assert_eq!(open.clone().path("/1").http1(egress).await?.status, 301);
    assert_eq!(open.path("/2").http2(egress).await?.status, 301);
    for path in ["/1", "/2"] {
        let record = gateway.access_log(path).await?;
        assert_eq!(record["egress_decision"], "allow");
        assert_eq!(record["upstream_cluster"], OPEN);
    }
    assert_eq!(external.counter("http.external.downstream_rq_completed").await?, 2);

    // Where there is no cluster before and after, Envoy answers as if nothing were asked.
    let direct = Call::get("allowed.example:443").path("/direct").http1(egress).await?;
    assert_eq!(direct.status, 204);

    // What the policy refuses, it refuses itself, with a reason.
    let closed = Call::get(HOST).path("/3").http1(egress).await?;
    assert_eq!((closed.status, &closed.json()?["reason"]), (403, &json!("default")));
    Ok(())
}

/// Where nothing rests on the port, or nothing is enforced, nothing is demanded of the route. What the filter
/// removes or sets then makes Envoy send a request elsewhere than when it was judged.
async fn without_a_judged_port_the_route_may_change(testbed: &Testbed) -> Result<()> {
    let removal = json!({"rule": {"stamp": {"remove": ["x-debug"]}}});
    let mut monitor = policy(removal.clone());
    monitor["mode"] = json!("monitor");
    let mut portless = policy(removal);
    portless["rules"][0]["to"] = json!([{"hosts": [HOST]}]);
    let mut dry_run = portless.clone();
    let rules = dry_run["rules"].as_array_mut().context("rules")?;
    rules.push(json!({"id": "dry", "action": "deny", "state": "dry-run", "to": [{"ports": [22]}]}));
    let mut stamped = portless.clone();
    stamped["rules"][0]["stamp"] = json!({"set": {"x-egress-team": "shop"}});
    let mut by_stamp = routes_by("x-egress-team");
    by_stamp[0]["route"]["cluster"] = json!(CLOSED);
    by_stamp[1]["route"]["cluster"] = json!(OPEN);
    let by_removal = routes_by("x-debug");
    for (policy, routes) in [
        (&monitor, &by_removal),
        (&portless, &by_removal),
        (&dry_run, &by_removal),
        (&stamped, &by_stamp),
    ] {
        let mut bootstrap = Bootstrap::gateway()?;
        bootstrap.set_policy(policy.clone())?;
        set_routes(&mut bootstrap, routes.clone())?;
        let (gateway, _external) = testbed.gateway(bootstrap).await?;
        let call = Call::get(HOST).path("/changed").header("x-debug", "1");
        let answer = call.http1(gateway.listener("egress")?).await?;
        assert_eq!(answer.status, 301, "{policy}");
        assert_eq!(gateway.access_log("/changed").await?["upstream_cluster"], CLOSED, "{policy}");
    }
    Ok(())
}

async fn a_redirected_request_carries_no_stamp_to_another_host(testbed: &Testbed) -> Result<()> {
    let (gateway, external) = testbed.gateway_before(redirecting()?, redirected()?).await?;
    let egress = gateway.listener("egress")?;
    for path in ["/redirect/1", "/redirect/2"] {
        let call = Call::get(HOST).path(path).header("authorization", "mine").header("cookie", "c");
        let answer = match path {
            "/redirect/1" => call.http1(egress).await?,
            _ => call.http2(egress).await?,
        };
        let seen = answer.seen()?;
        assert!(seen.contains(&(":authority", OTHER_HOST)) && seen.contains(&("cookie", "c")));
        for name in ["authorization", "x-egress-team", "x-envoy-original-url"] {
            assert!(!seen.iter().any(|(seen, _)| *seen == name), "{name}: {seen:?}");
        }
        assert!(seen.contains(&("x-egress-policy", "test")), "{seen:?}");
        // The first host got what was meant for it.
        let first = external.access_log(path).await?;
        assert_eq!(
            (&first["authority"], &first["authorization"]),
            (&json!(HOST), &json!("Bearer a"))
        );

        let landed = |record: &Value| record["path"] == "/landed" && record["egress_rule"] == "b";
        let record = gateway.first_record(landed).await?;
        assert_eq!(record["egress_decision"], "allow");
        assert_eq!(record["upstream_cluster"], "outbound|80||denied.example");
    }
    Ok(())
}

async fn a_redirected_request_is_judged_for_the_other_host(testbed: &Testbed) -> Result<()> {
    let mut bootstrap = redirected()?;
    let mut policy = policy_of_two();
    policy["rules"].as_array_mut().context("rules")?.pop();
    bootstrap.set_policy(policy)?;
    let (gateway, external) = testbed.gateway_before(redirecting()?, bootstrap).await?;
    let call = Call::get(HOST).path("/redirect/denied");
    let answer = call.http1(gateway.listener("egress")?).await?;
    assert_eq!((answer.status, &answer.json()?["host"]), (403, &json!(OTHER_HOST)));
    assert_eq!(external.counter("http.external.downstream_rq_completed").await?, 1);
    let refused = |record: &Value| record["egress_decision"] == "deny";
    assert_eq!(gateway.first_record(refused).await?["egress_rule"], Value::Null);
    Ok(())
}

/// Another filter that sends a request elsewhere, without the header of Envoy's redirects.
async fn a_request_that_is_sent_elsewhere_for_its_answer_carries_no_stamp(
    testbed: &Testbed,
) -> Result<()> {
    let mut bootstrap = redirected()?;
    let routes = &mut connection_manager(&mut bootstrap)["route_config"]["virtual_hosts"][0];
    let route = routes["routes"][0]["route"].as_object_mut().context("a route")?;
    route.remove("internal_redirect_policy");
    let filters = connection_manager(&mut bootstrap)["http_filters"].as_array_mut();
    filters.context("filters")?.insert(0, custom_response("http://denied.example/landed"));
    let mut external = Bootstrap::external()?;
    external.log_field("authorization", "%REQ(AUTHORIZATION)%");
    external.log_field("original_url", "%REQ(X-ENVOY-ORIGINAL-URL)%");
    let (gateway, external) = testbed.gateway_before(external, bootstrap).await?;
    Call::get(HOST).path("/elsewhere").http1(gateway.listener("egress")?).await?;

    assert_eq!(external.access_log("/elsewhere").await?["authorization"], "Bearer a");
    let landed = external.access_log("/landed").await?;
    assert_eq!(landed["authority"], OTHER_HOST);
    for field in ["authorization", "original_url", "x_egress_team"] {
        assert_eq!(landed[field], Value::Null, "{field}");
    }
    Ok(())
}

async fn a_caller_who_claims_to_be_redirected_loses_what_it_sent(testbed: &Testbed) -> Result<()> {
    let (gateway, _external) = testbed.gateway(redirected()?).await?;
    let egress = gateway.listener("egress")?;
    let call = Call::get(OTHER_HOST)
        .header("x-envoy-original-url", "http://allowed.example/")
        .header("x_envoy_original_url", "http://allowed.example/")
        .header("x-egress-team", "forged")
        .header("authorization", "mine");
    for answer in [call.http1(egress).await?, call.http2(egress).await?] {
        let seen = answer.seen()?;
        let forged = |name: &str| name.contains("original") || name == "x-egress-team";
        assert!(!seen.iter().any(|(name, _)| forged(name)), "{seen:?}");
        assert!(seen.contains(&("x-egress-policy", "test")), "{seen:?}");
    }
    Ok(())
}

/// The other host of the shipped gateway: whether it is denied is for the policy to say.
const OTHER_HOST: &str = "denied.example";

/// A policy that lets requests pass to both hosts, and stamps those to the first.
fn policy_of_two() -> Value {
    json!({
        "policy": "test",
        "rules": [
            {
                "id": "a",
                "action": "allow",
                "to": [{"hosts": [HOST], "ports": [80]}],
                "stamp": {"set": {"authorization": "Bearer a", "x-egress-team": "a"}},
            },
            {"id": "b", "action": "allow", "to": [{"hosts": [OTHER_HOST], "ports": [80]}]},
        ],
        "stamp": {"set": {"x-egress-policy": "{policy}"}},
    })
}

/// A gateway that obeys redirects of the first host.
fn redirected() -> Result<Bootstrap> {
    let mut bootstrap = Bootstrap::gateway()?;
    bootstrap.set_policy(policy_of_two())?;
    let hosts = &mut connection_manager(&mut bootstrap)["route_config"]["virtual_hosts"];
    hosts[0]["routes"][0]["route"]["internal_redirect_policy"] =
        json!({"redirect_response_codes": [301]});
    Ok(bootstrap)
}

/// An external service whose first host redirects to the other.
fn redirecting() -> Result<Bootstrap> {
    let mut external = Bootstrap::external()?;
    external.log_field("authorization", "%REQ(AUTHORIZATION)%");
    let lua = &mut connection_manager(&mut external)["http_filters"][0]["typed_config"];
    let code = &mut lua["default_source_code"]["inline_string"];
    let shipped = code.as_str().context("Lua")?;
    let location = r#""https://" .. authority .. path"#;
    anyhow::ensure!(shipped.contains(location), "no location in {shipped}");
    *code = shipped.replace(location, r#""http://denied.example/landed""#).into();
    Ok(external)
}

/// A filter that replaces every answer by what is at `uri`.
fn custom_response(uri: &str) -> Value {
    json!({
        "name": "envoy.filters.http.custom_response",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.custom_response.v3.CustomResponse",
            "custom_response_matcher": {"matcher_list": {"matchers": [{
                "predicate": {"single_predicate": {
                    "input": {
                        "name": "status",
                        "typed_config": {"@type": "type.googleapis.com/envoy.type.matcher.v3.HttpResponseStatusCodeMatchInput"},
                    },
                    "value_match": {"exact": "301"},
                }},
                "on_match": {"action": {
                    "name": "redirect",
                    "typed_config": {
                        "@type": "type.googleapis.com/envoy.extensions.http.custom_response.redirect_policy.v3.RedirectPolicy",
                        "uri": uri,
                    },
                }},
            }]}},
        },
    })
}

/// The filter allowed it, the guard did not, no byte reached the other port; and the record tells.
async fn assert_guard_refuses(
    call: &Call,
    path: &str,
    gateway: &Envoy,
    external: &Envoy,
) -> Result<()> {
    let egress = gateway.listener("egress")?;
    let answer = match path {
        "/http1" => call.http1(egress).await?,
        _ => call.http2(egress).await?,
    };
    assert_eq!((answer.status, &*answer.body), (403, "RBAC: access denied"));
    let record = gateway.access_log(path).await?;
    assert_eq!(record["egress_decision"], "allow");
    assert_eq!(record["response_code"], 403);
    assert_eq!(record["upstream_cluster"], CLOSED);
    assert_eq!(record["upstream_host"], Value::Null);
    assert_eq!(external.counter("http.external.downstream_cx_total").await?, 0);
    Ok(())
}

/// A policy that lets requests for [`HOST`] go to port 443. `part` adds keys of the policy, and under
/// `rule` keys of its rule.
fn policy(part: Value) -> Value {
    let mut policy = json!({
        "policy": "test",
        "rules": [{"id": "open", "action": "allow", "to": [{"hosts": [HOST], "ports": [443]}]}],
    });
    for (key, value) in part.as_object().into_iter().flatten() {
        match &**key {
            "rule" => {
                for (key, value) in value.as_object().into_iter().flatten() {
                    policy["rules"][0][key] = value.clone();
                }
            }
            _ => policy[key] = value.clone(),
        }
    }
    policy
}

/// To the open port with a header, to the closed one without.
fn routes_by(header: &str) -> Value {
    json!([
        {
            "match": {"prefix": "/", "headers": [{"name": header, "present_match": true}]},
            "route": {"cluster": OPEN},
        },
        {"match": {"prefix": "/"}, "route": {"cluster": CLOSED}},
    ])
}

/// Gives the first host other routes, and both ports a cluster.
fn set_routes(bootstrap: &mut Bootstrap, routes: Value) -> Result<()> {
    connection_manager(bootstrap)["route_config"]["virtual_hosts"][0]["routes"] = routes;
    let clusters = bootstrap.tree_mut()["static_resources"]["clusters"].as_array_mut();
    let clusters = clusters.context("clusters")?;
    for name in [OPEN, CLOSED] {
        let mut cluster = clusters[0].clone();
        cluster["name"] = json!(name);
        cluster["load_assignment"]["cluster_name"] = json!(name);
        clusters.push(cluster);
    }
    Ok(())
}

fn connection_manager(bootstrap: &mut Bootstrap) -> &mut Value {
    &mut bootstrap.tree_mut()["static_resources"]["listeners"][0]["filter_chains"][0]["filters"][0]
        ["typed_config"]
}

/// Such a proxy resolves the host that a caller names, and dials the port that it names, else 443 if the
/// cluster starts TLS, else 80.
async fn behind_a_dynamic_forward_proxy_the_port_is_what_the_cluster_says(
    testbed: &Testbed,
) -> Result<()> {
    let refused = None;
    for (cluster, starts_tls, sent) in [
        // The name says no port: nor does an authority without one.
        (
            "dynamic",
            false,
            [("localhost", refused), ("localhost:80", refused), ("localhost:443", Some(443))],
        ),
        (
            "outbound|443||dynamic",
            true,
            [("localhost", Some(443)), ("localhost:80", refused), ("localhost:443", Some(443))],
        ),
    ] {
        let mut bootstrap = Bootstrap::gateway()?;
        bootstrap.set_policy(json!({
            "policy": "test",
            "rules": [{"id": "https-only", "action": "allow",
                "to": [{"hosts": ["localhost"], "ports": [443]}]}],
        }))?;
        forward_dynamically(&mut bootstrap, cluster, starts_tls)?;
        bootstrap.bind_free_ports();
        let gateway = testbed.start(&bootstrap).await?;
        for (number, (host, dialled)) in sent.into_iter().enumerate() {
            let path = format!("/{number}");
            let answer =
                Call::get(host).path(&path).http1(gateway.listener("egress")?).await?.status;
            let record = gateway.access_log(&path).await?;
            let decision = if dialled.is_some() { "allow" } else { "deny" };
            assert_eq!(record["egress_decision"], decision, "{host} by {cluster}");
            assert_eq!(answer == 403, dialled.is_none(), "{host} by {cluster}");
            let upstream = dialled.map(|port| format!("127.0.0.1:{port}"));
            assert_eq!(record["upstream_host"], json!(upstream), "{host} by {cluster}");
        }
    }
    Ok(())
}

/// Sends every host by a cluster that resolves it.
fn forward_dynamically(bootstrap: &mut Bootstrap, cluster: &str, starts_tls: bool) -> Result<()> {
    const TYPE: &str = "type.googleapis.com/envoy.extensions";
    let cache = json!({"name": "cache", "dns_lookup_family": "V4_ONLY"});
    let resources = &mut bootstrap.tree_mut()["static_resources"];
    let mut dynamic = json!({
        "name": cluster,
        "lb_policy": "CLUSTER_PROVIDED",
        "cluster_type": {"name": "dynamic", "typed_config": {
            "@type": format!("{TYPE}.clusters.dynamic_forward_proxy.v3.ClusterConfig"),
            "dns_cache_config": cache,
        }},
    });
    if starts_tls {
        dynamic["transport_socket"] = json!({"name": "tls", "typed_config": {
            "@type": format!("{TYPE}.transport_sockets.tls.v3.UpstreamTlsContext"),
            // The cluster insists on it; nobody answers.
            "common_tls_context": {"validation_context": {"trusted_ca": {
                "inline_string": envoy_kit::certificates::Authority::new(&[])?.certificate_pem(),
            }}},
        }});
    }
    resources["clusters"] = json!([dynamic]);
    let manager = &mut resources["listeners"][0]["filter_chains"][0]["filters"][0]["typed_config"];
    let mut host = manager["route_config"]["virtual_hosts"][0].take();
    host["domains"] = json!(["*"]);
    host["routes"] = json!([{"match": {"prefix": "/"}, "route": {"cluster": cluster}}]);
    manager["route_config"]["virtual_hosts"] = json!([host]);
    let filters = manager["http_filters"].as_array_mut().context("a list of filters")?;
    let filter = json!({"name": "dynamic", "typed_config": {
        "@type": format!("{TYPE}.filters.http.dynamic_forward_proxy.v3.FilterConfig"),
        "dns_cache_config": cache,
    }});
    filters.insert(filters.len() - 1, filter);
    Ok(())
}
