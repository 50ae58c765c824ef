//! What a request or a connection costs, in figures that no noise moves: host calls, instructions, memory.
//!
//! Calls are compared exactly: each crossing between proxy and VM costs about as much as the whole
//! decision. Instructions and memory are those of the module that is shipped, as the pinned
//! toolchain makes it, instructions by the engine's fuel: it counts a block as it is entered, so a
//! block that is left early costs all of it. They may differ from the committed figures by a twentieth: what was won is
//! committed anew, so that it is not lost in the margin.
#![cfg(not(target_family = "wasm"))]

mod mock;

use mock::{Connection, Guest, Module, Request, Root, Worker, in_a_worker};
use serde_json::{Value, json};
use std::collections::BTreeMap;

mock::scenarios![
    an_allowed_request_costs_nine_calls,
    a_denied_request_costs_six_calls,
    a_line_of_json_costs_five_calls_more,
    an_identity_costs_one_call_more,
    a_port_costs_two_calls_more,
    a_stamp_that_a_redirect_may_carry_costs_one_call_more,
    without_rules_that_ask_nothing_is_asked,
    an_allowed_connection_costs_seven_calls,
    a_refused_connection_costs_seven_calls,
    the_caller_of_a_connection_costs_one_call_more,
    a_line_of_json_for_a_connection_costs_five_calls_more,
];

fn an_allowed_request_costs_nine_calls<G: Guest>(worker: &mut Worker<G>) {
    let root = worker.configure(whole_job(1, &exact).to_string());
    let calls = calls_of(worker, root, &Request::get("h0.example.com"));
    assert_eq!(
        calls,
        counts([
            ("proxy_get_header_map_pairs", 1),
            ("proxy_set_property", 3),
            ("proxy_replace_header_map_value", 3),
            ("proxy_increment_metric", 2),
        ])
    );
}

fn a_denied_request_costs_six_calls<G: Guest>(worker: &mut Worker<G>) {
    let root = worker.configure(whole_job(1, &exact).to_string());
    let calls = calls_of(worker, root, &Request::get("unlisted.example.com"));
    assert_eq!(calls, denied());
}

fn a_line_of_json_costs_five_calls_more<G: Guest>(worker: &mut Worker<G>) {
    let mut policy = whole_job(1, &exact);
    policy["log"] = json!({"requests": "denied"});
    let root = worker.configure(policy.to_string());
    let mut expected = denied();
    // The address, the certificate and the server name; the time; the line itself.
    expected.extend(counts([
        ("proxy_get_property", 3),
        ("proxy_get_current_time_nanoseconds", 1),
        ("proxy_log", 1),
    ]));
    assert_eq!(calls_of(worker, root, &Request::get("unlisted.example.com")), expected);
}

fn an_identity_costs_one_call_more<G: Guest>(worker: &mut Worker<G>) {
    let mut policy = whole_job(1, &exact);
    policy["rules"][0]["from"] = json!([{"principals": ["cluster.local/ns/shop/sa/*"]}]);
    let root = worker.configure(policy.to_string());
    let request = Request::get("h0.example.com").property(
        &["connection", "uri_san_peer_certificate"],
        "spiffe://cluster.local/ns/shop/sa/web",
    );
    let calls = calls_of(worker, root, &request);
    assert_eq!(calls.get("proxy_get_property"), Some(&1));
    assert_eq!(calls.values().sum::<u64>(), 10);
}

fn a_port_costs_two_calls_more<G: Guest>(worker: &mut Worker<G>) {
    let mut policy = whole_job(1, &exact);
    policy["rules"][0]["to"][0]["ports"] = json!([443]);
    let root = worker.configure(policy.to_string());
    let request = Request::get("h0.example.com")
        .property(&["xds", "cluster_name"], "outbound|443||h0.example.com");
    let calls = calls_of(worker, root, &request);
    // The route's cluster is read, and left for the guard.
    assert_eq!(calls.get("proxy_get_property"), Some(&1));
    assert_eq!(calls.get("proxy_set_property"), Some(&4));
    assert_eq!(calls.values().sum::<u64>(), 11);

    let mut expected = denied();
    expected.extend(counts([("proxy_get_property", 1)]));
    assert_eq!(calls_of(worker, root, &Request::get("unlisted.example.com")), expected);
}

fn a_stamp_that_a_redirect_may_carry_costs_one_call_more<G: Guest>(worker: &mut Worker<G>) {
    let mut policy = whole_job(1, &exact);
    policy["rules"][0]["stamp"]["set"] = json!({"authorization": "t", "x-egress-team": "t"});
    let root = worker.configure(policy.to_string());
    let calls = calls_of(worker, root, &Request::get("h0.example.com"));
    // Whether the request was here before.
    assert_eq!(calls.get("proxy_get_property"), Some(&1));
    assert_eq!(calls.values().sum::<u64>(), 10);
    assert_eq!(calls_of(worker, root, &Request::get("unlisted.example.com")), denied());
}

fn without_rules_that_ask_nothing_is_asked<G: Guest>(worker: &mut Worker<G>) {
    let root = worker.configure(r#"{"policy": "p", "default": "allow", "strip": {"mesh": false}}"#);
    let calls = calls_of(worker, root, &Request::get("h0.example.com"));
    assert_eq!(
        calls,
        counts([
            ("proxy_get_header_map_pairs", 1),
            ("proxy_set_property", 3),
            ("proxy_increment_metric", 1),
        ])
    );
}

fn an_allowed_connection_costs_seven_calls<G: Guest>(worker: &mut Worker<G>) {
    let root = worker.configure_as("connections", whole_job(1, &exact).to_string());
    let calls = calls_of_connection(worker, root, &Connection::to("h0.example.com"));
    assert_eq!(
        calls,
        counts([
            // Whether the gateway ends TLS, and the server name.
            ("proxy_get_property", 2),
            ("proxy_set_property", 3),
            ("proxy_increment_metric", 2),
        ])
    );
}

fn a_refused_connection_costs_seven_calls<G: Guest>(worker: &mut Worker<G>) {
    let root = worker.configure_as("connections", whole_job(1, &exact).to_string());
    let calls = calls_of_connection(worker, root, &Connection::to("unlisted.example.com"));
    assert_eq!(calls, refused());
}

fn the_caller_of_a_connection_costs_one_call_more<G: Guest>(worker: &mut Worker<G>) {
    let mut policy = whole_job(1, &exact);
    policy["identity"] = json!("required");
    let root = worker.configure_as("connections", policy.to_string());
    let calls = calls_of_connection(worker, root, &Connection::to("h0.example.com"));
    let mut expected = refused();
    expected.extend(counts([("proxy_get_property", 3)]));
    assert_eq!(calls, expected);
}

fn a_line_of_json_for_a_connection_costs_five_calls_more<G: Guest>(worker: &mut Worker<G>) {
    let mut policy = whole_job(1, &exact);
    policy["log"] = json!({"requests": "denied"});
    let root = worker.configure_as("connections", policy.to_string());
    let calls = calls_of_connection(worker, root, &Connection::to("unlisted.example.com"));
    let mut expected = refused();
    // Two addresses and the certificate more; the time; the line itself.
    expected.extend(counts([
        ("proxy_get_property", 5),
        ("proxy_get_current_time_nanoseconds", 1),
        ("proxy_log", 1),
    ]));
    assert_eq!(calls, expected);
}

#[test]
fn instructions_per_request() {
    let ten_thousand = 10_000;
    let mut denied = whole_job(ten_thousand, &exact);
    denied["rules"][0]["action"] = json!("deny");
    denied["rules"][0].as_object_mut().expect("a rule").remove("stamp");
    let callers = json!({
        "policy": "bench",
        "rules": (0..ten_thousand).map(|index| json!({
            "id": format!("r{index}"),
            "action": "allow",
            "from": [{"principals": [format!("cluster.local/ns/n{index}/sa/web")]}],
            "to": [{"hosts": ["h4321.example.com"]}],
        })).collect::<Vec<_>>(),
        "log": {"requests": "none"},
    });
    let listed = Request::get("h4321.example.com");
    let called = listed.clone().property(
        &["connection", "uri_san_peer_certificate"],
        "spiffe://cluster.local/ns/n4321/sa/web",
    );
    let deep = Request::get("a.b.h4321.example.com");
    let figures = [
        ("1 host", whole_job(1, &exact), Request::get("h0.example.com"), 28_073),
        ("10,000 hosts", whole_job(ten_thousand, &exact), listed.clone(), 28_602),
        ("10,000 wildcards", whole_job(ten_thousand, &wildcard), deep, 30_212),
        ("10,000 rules for callers of one host", callers, called, 45_873),
        ("10,000 hosts, denied", denied, listed, 64_505),
    ]
    .map(|(name, policy, request, committed)| {
        let spent = in_a_worker::<Module, _>(|worker| {
            let root = worker.configure(policy.to_string());
            spent_by_the_second(worker, |worker| {
                worker.send(root, request.clone());
            })
        });
        (name, spent, committed)
    });
    assert_committed(&figures);
}

#[test]
fn instructions_per_connection() {
    let figures = [
        ("1 name", 1, "h0.example.com", 25_333),
        ("10,000 names", 10_000, "h4321.example.com", 25_778),
        ("10,000 names, refused", 10_000, "unlisted.example.com", 21_863),
    ]
    .map(|(name, hosts, server_name, committed)| {
        let spent = in_a_worker::<Module, _>(|worker| {
            let root = worker.configure_as("connections", whole_job(hosts, &exact).to_string());
            spent_by_the_second(worker, |worker| {
                worker.connect(root, Connection::to(server_name));
            })
        });
        (name, spent, committed)
    });
    assert_committed(&figures);
}

#[test]
fn memory_of_a_hundred_thousand_hosts() {
    let policies = [whole_job(100_000, &exact), whole_job(100_000, &other)];
    let (first, reloaded) = in_a_worker::<Module, _>(|worker| {
        let mut root = worker.configure(policies[0].to_string());
        assert!(root.accepted);
        let first = worker.memory_size().expect("a linear memory");
        for reload in 1..=20 {
            let next = worker.configure(policies[reload % 2].to_string());
            worker.remove(root);
            root = next;
        }
        (first, worker.memory_size().expect("a linear memory"))
    });
    assert_committed(&[
        ("KiB after the first policy", first >> 10, 10_624),
        ("KiB after 20 reloads", reloaded >> 10, 15_680),
    ]);
}

/// The fuel of the second run; the first defines counters.
fn spent_by_the_second(worker: &mut Worker<Module>, run: impl Fn(&mut Worker<Module>)) -> u64 {
    run(worker);
    let before = worker.fuel_spent().expect("the engine counts");
    run(worker);
    worker.fuel_spent().expect("the engine counts") - before
}

/// Holds figures to the committed ones.
fn assert_committed(figures: &[(&str, u64, u64)]) {
    let is_near = |figure: u64, committed: u64| figure.abs_diff(committed) <= committed / 20;
    assert!(
        figures.iter().all(|&(_, figure, committed)| is_near(figure, committed)),
        "the figure, then the committed one: {figures:#?}"
    );
}

/// What `./build.sh bench` measures: so many hosts, three stamps.
fn whole_job(hosts: usize, host: &dyn Fn(usize) -> String) -> Value {
    json!({
        "policy": "bench",
        "rules": [{
            "id": "listed",
            "action": "allow",
            "to": [{"hosts": (0..hosts).map(host).collect::<Vec<_>>()}],
            "stamp": {"set": {"x-egress-team": "payments", "x-egress-rule": "{rule}"}},
        }],
        "stamp": {"set": {"x-egress-policy": "{policy}"}},
        "log": {"requests": "none"},
    })
}

fn exact(index: usize) -> String {
    format!("h{index}.example.com")
}

fn other(index: usize) -> String {
    format!("g{index}.example.com")
}

fn wildcard(index: usize) -> String {
    format!("*.h{index}.example.com")
}

/// The host calls of one request, once the first has defined its counters.
fn calls_of<G: Guest>(
    worker: &mut Worker<G>,
    root: Root,
    request: &Request,
) -> BTreeMap<String, u64> {
    calls_of_the_second(worker, root, |worker| {
        worker.send(root, request.clone());
    })
}

fn calls_of_connection<G: Guest>(
    worker: &mut Worker<G>,
    root: Root,
    connection: &Connection,
) -> BTreeMap<String, u64> {
    calls_of_the_second(worker, root, |worker| {
        worker.connect(root, connection.clone());
    })
}

fn calls_of_the_second<G: Guest>(
    worker: &mut Worker<G>,
    root: Root,
    run: impl Fn(&mut Worker<G>),
) -> BTreeMap<String, u64> {
    assert!(root.accepted);
    run(worker);
    let before = worker.all_calls();
    run(worker);
    let mut calls = worker.all_calls();
    for (import, count) in &mut calls {
        *count -= before.get(import).unwrap_or(&0);
    }
    calls.retain(|_, count| *count > 0);
    calls
}

fn denied() -> BTreeMap<String, u64> {
    counts([
        ("proxy_get_header_map_pairs", 1),
        ("proxy_set_property", 3),
        ("proxy_send_local_response", 1),
        ("proxy_increment_metric", 1),
    ])
}

fn refused() -> BTreeMap<String, u64> {
    counts([
        ("proxy_get_property", 2),
        ("proxy_set_property", 3),
        ("proxy_close_stream", 1),
        ("proxy_increment_metric", 1),
    ])
}

fn counts<const N: usize>(calls: [(&str, u64); N]) -> BTreeMap<String, u64> {
    calls.map(|(import, count)| (import.to_owned(), count)).into()
}
