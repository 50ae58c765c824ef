//! Policies of egress-warden: lists of hosts, lists of rules, each with three stamps.

use serde_json::{Value, json};

/// The stamps that reach the upstream, with their values; the rule's id is the third.
pub(crate) const TEAM: (&str, &str) = ("x-egress-team", "shop");
pub(crate) const POLICY: (&str, &str) = ("x-egress-policy", "bench");
pub(crate) const RULE: &str = "x-egress-rule";

/// The one rule of a list of hosts, and the name of the native policies too.
pub(crate) const LISTED: &str = "listed";

/// `h%d.example.com` and the like, with the host's place in its list for `%d`: what wrk asks for.
pub(crate) fn host(pattern: &str, place: usize) -> String {
    pattern.replace("%d", &place.to_string())
}

/// The id of the caller that sends the load, without `spiffe://`.
pub(crate) fn caller() -> String {
    principal(7919)
}

fn principal(place: usize) -> String {
    format!("cluster.local/ns/shop/sa/a{place}")
}

/// One rule that lets `count` hosts pass.
pub(crate) fn hosts(pattern: &str, count: usize) -> Value {
    let hosts: Vec<String> = (0..count).map(|place| host(pattern, place)).collect();
    policy(json!([{"id": LISTED, "action": "allow", "to": [{"hosts": hosts}]}]))
}

/// `count` rules, each of which lets the caller pass to a host of its own.
pub(crate) fn rules_by_host(pattern: &str, count: usize) -> Value {
    let rule = |place| {
        json!({
            "id": format!("rule-{place}"),
            "action": "allow",
            "from": [{"principals": [caller()]}],
            "to": [{"hosts": [host(pattern, place)]}],
        })
    };
    policy((0..count).map(rule).collect())
}

/// `count` rules about one host, each of which lets another caller pass: the one that sends the
/// load is among them.
pub(crate) fn rules_by_caller(only_host: &str, count: usize) -> Value {
    let rule = |place| {
        let principal = if count == 1 { caller() } else { principal(place) };
        json!({
            "id": format!("rule-{place}"),
            "action": "allow",
            "from": [{"principals": [principal]}],
            "to": [{"hosts": [only_host]}],
        })
    };
    policy((0..count).map(rule).collect())
}

fn policy(rules: Value) -> Value {
    json!({
        "policy": POLICY.1,
        "rules": rules,
        "stamp": {"set": {TEAM.0: TEAM.1, POLICY.0: "{policy}", RULE: "{rule}"}},
    })
}
