//! What a user would run instead: Envoy's own filters and formatters.

use serde_json::{Map, Value, json};

use crate::policy::{LISTED, POLICY, RULE, TEAM, host};

/// RBAC that looks `:authority` up in a map, the fastest list that Envoy has. It knows neither
/// ports nor spellings.
pub(crate) fn matcher_map(pattern: &str, count: usize) -> Value {
    let action = |name: &str, action: &str| {
        json!({"action": {
            "name": name,
            "typed_config": {
                "@type": "type.googleapis.com/envoy.config.rbac.v3.Action",
                "name": name,
                "action": action,
            },
        }})
    };
    let map: Map<String, Value> =
        (0..count).map(|place| (host(pattern, place), action(LISTED, "ALLOW"))).collect();
    rbac(json!({"matcher": {
        "matcher_tree": {
            "input": {
                "name": "authority",
                "typed_config": {
                    "@type": "type.googleapis.com/envoy.type.matcher.v3.HttpRequestHeaderMatchInput",
                    "header_name": ":authority",
                },
            },
            "exact_match_map": {"map": map},
        },
        "on_no_match": action("default", "DENY"),
    }}))
}

/// RBAC as Istio renders an AuthorizationPolicy that allows hosts: each as it is and with any port,
/// in one list that Envoy walks.
pub(crate) fn lists(pattern: &str, count: usize) -> Value {
    let header = |how: &str, value: String| json!({"header": {"name": ":authority", "string_match": {how: value, "ignore_case": true}}});
    let hosts: Vec<Value> = (0..count)
        .map(|place| host(pattern, place))
        .flat_map(|host| [header("exact", host.clone()), header("prefix", format!("{host}:"))])
        .collect();
    rbac(json!({"rules": {"policies": {LISTED: {
        "permissions": [{"and_rules": {"rules": [{"or_rules": {"rules": hosts}}]}}],
        "principals": [{"and_ids": {"ids": [{"any": true}]}}],
    }}}}))
}

/// Three headers in place of whatever the caller sent under their names; constants, which are the
/// cheapest that the filter can set.
pub(crate) fn stamps() -> Value {
    let set = |(name, value): (&str, &str)| {
        json!({"append": {
            "header": {"key": name, "value": value},
            "append_action": "OVERWRITE_IF_EXISTS_OR_ADD",
        }})
    };
    json!({
        "name": "stamps",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.header_mutation.v3.HeaderMutation",
            "mutations": {"request_mutations": [set(TEAM), set(POLICY), set((RULE, LISTED))]},
        },
    })
}

/// In the record's fields what the native filters know: as egress-warden's, three of them say
/// something about a request that passes and the others nothing.
pub(crate) const RECORD: [(&str, &str); 7] = [
    ("egress_decision", "%DYNAMIC_METADATA(envoy.filters.http.rbac:enforced_engine_result)%"),
    ("egress_rule", "%DYNAMIC_METADATA(envoy.filters.http.rbac:enforced_effective_policy_id)%"),
    ("egress_reason", "%CONNECTION_TERMINATION_DETAILS%"),
    ("egress_policy", "bench@000000000000"),
    ("egress_would", "%DYNAMIC_METADATA(envoy.filters.http.rbac:shadow_engine_result)%"),
    ("egress_would_rule", "%DYNAMIC_METADATA(envoy.filters.http.rbac:shadow_effective_policy_id)%"),
    ("egress_would_reason", "%DYNAMIC_METADATA(envoy.filters.http.rbac:shadow_reason)%"),
];

fn rbac(mut config: Value) -> Value {
    config["@type"] = json!("type.googleapis.com/envoy.extensions.filters.http.rbac.v3.RBAC");
    json!({"name": "envoy.filters.http.rbac", "typed_config": config})
}
