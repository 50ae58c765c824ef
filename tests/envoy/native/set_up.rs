//! The manifests of `envoy/native/` in real Envoys: Istio puts the filter there as it is written, Envoy Gateway renders
//! it.

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use envoy_kit::bootstrap::Bootstrap;
use envoy_kit::call::Call;
use envoy_kit::testbed::Testbed;

on_each_native![
    the_filter_of_istio_has_the_policy_of_the_plugin,
    the_filter_and_the_guard_of_envoy_gateway_decide,
];

/// The policy is a Struct there: Envoy gives it to the filter as the text that Istio makes of a plugin's.
async fn the_filter_of_istio_has_the_policy_of_the_plugin(testbed: &Testbed) -> Result<()> {
    let plugin = manifest("istio/traffic-extension.yaml")?;
    let policy = plugin["spec"]["wasm"]["pluginConfig"].to_string();
    let revision = egress_warden::config::read(policy.as_bytes())?.revision;
    let manifest = manifest("native/istio/filter.yaml")?;
    let mut bootstrap = Bootstrap::native_gateway()?;
    filters(&mut bootstrap)?[0] = manifest["spec"]["configPatches"][0]["patch"]["value"].clone();
    let (gateway, _external) = testbed.gateway(bootstrap).await?;
    let answer = Call::get("allowed.example").path("/1").http1(gateway.listener("egress")?).await?;
    ensure!(answer.status == 403, "{}", answer.status);
    let record = gateway.access_log("/1").await?;
    assert_eq!(record["egress_policy"], &*revision);
    assert_eq!(record["egress_reason"], "identity");
    Ok(())
}

/// Envoy Gateway switches the filter off for all routes but those that have it, and gives each of these the guard.
async fn the_filter_and_the_guard_of_envoy_gateway_decide(testbed: &Testbed) -> Result<()> {
    const FILTER: &str = "envoy.filters.http.dynamic_modules/envoyextensionpolicy/egress/egress-warden/dynamic-module/0";
    const GUARD: &str = "envoy.filters.http.rbac";
    let module = &manifest("native/envoy-gateway/filter.yaml")?["spec"]["dynamicModule"][0];
    let mut bootstrap = Bootstrap::native_gateway()?;
    let filters = filters(&mut bootstrap)?;
    filters[0]["name"] = json!(FILTER);
    filters[0]["disabled"] = json!(true);
    filters[0]["typed_config"]["filter_name"] = module["filterName"].clone();
    filters[0]["typed_config"]["filter_config"]["value"] = json!(module["config"].to_string());
    filters[1] = json!({
        "name": GUARD,
        "typed_config": {"@type": "type.googleapis.com/envoy.extensions.filters.http.rbac.v3.RBAC"},
    });
    let enabled = json!({
        "@type": "type.googleapis.com/envoy.config.route.v3.FilterConfig",
        "config": {},
    });
    let routes = &mut super::connection_manager(&mut bootstrap)["route_config"]["virtual_hosts"];
    let hosts = routes.as_array_mut().context("virtual hosts")?;
    hosts[0]["domains"] = json!(["api.example.com"]);
    hosts[0]["routes"][0]["typed_per_filter_config"] = json!({FILTER: enabled, GUARD: guard()?});
    hosts[1]["domains"] = json!(["*"]);
    hosts[1]["routes"][0]["typed_per_filter_config"] = json!({GUARD: guard()?});
    let (gateway, external) = testbed.gateway(bootstrap).await?;
    let egress = gateway.listener("egress")?;
    for (host, path, status, details) in [
        ("api.example.com", "/v1/charges", 301, "via_upstream"),
        ("api.example.com", "/v1/admin", 403, "egress_denied[default]"),
        ("other.example", "/v1/filter-is-off", 403, "rbac_access_denied_matched_policy[default]"),
    ] {
        let answer = Call::get(host).path(path).http1(egress).await?;
        ensure!(answer.status == status, "{host}{path}: {}", answer.status);
        assert_eq!(gateway.access_log(path).await?["response_code_details"], details, "{path}");
    }
    assert_eq!(external.counter("http.external.downstream_rq_completed").await?, 1);
    Ok(())
}

/// What Envoy Gateway makes of the guard for a route: a matcher whose only predicate is the expression, parsed.
fn guard() -> Result<Value> {
    let authorization = &manifest("native/envoy-gateway/guard.yaml")?["spec"]["authorization"];
    assert_eq!(authorization["defaultAction"], "Deny");
    let rule = &authorization["rules"][0];
    assert_eq!(
        (&rule["action"], &rule["name"]),
        (&json!("Allow"), &json!("egress-warden-allowed"))
    );
    assert_eq!(rule["cel"], "filter_state['wasm.egress_decision'] == b'allow'");
    // In base64, as bytes are in JSON.
    let allow = json!({"const_expr": {"bytes_value": "YWxsb3c="}});
    let verdict = json!({"call_expr": {"function": "_[_]", "args": [
        {"ident_expr": {"name": "filter_state"}},
        {"const_expr": {"string_value": "wasm.egress_decision"}},
    ]}});
    let action = |name: &str, action: &str| {
        json!({"name": name, "typed_config": {
            "@type": "type.googleapis.com/envoy.config.rbac.v3.Action",
            "name": name,
            "action": action,
        }})
    };
    Ok(json!({
        "@type": "type.googleapis.com/envoy.extensions.filters.http.rbac.v3.RBACPerRoute",
        "rbac": {"matcher": {
            "matcher_list": {"matchers": [{
                "predicate": {"single_predicate": {
                    "input": {"name": "cel", "typed_config": {
                        "@type": "type.googleapis.com/xds.type.matcher.v3.HttpAttributesCelMatchInput",
                    }},
                    "custom_match": {"name": "cel_matcher", "typed_config": {
                        "@type": "type.googleapis.com/xds.type.matcher.v3.CelMatcher",
                        "expr_match": {"cel_expr_parsed": {"expr": {
                            "call_expr": {"function": "_==_", "args": [verdict, allow]},
                        }}},
                    }},
                }},
                "on_match": {"action": action("egress-warden-allowed", "ALLOW")},
            }]},
            "on_no_match": {"action": action("default", "DENY")},
        }},
    }))
}

fn filters(bootstrap: &mut Bootstrap) -> Result<&mut Vec<Value>> {
    super::connection_manager(bootstrap)["http_filters"].as_array_mut().context("filters")
}

fn manifest(file: &str) -> Result<Value> {
    let path = format!("{}/envoy/{file}", kit::REPOSITORY);
    let text = std::fs::read_to_string(&path).with_context(|| path.clone())?;
    serde_saphyr::from_str(&text).with_context(|| path)
}
