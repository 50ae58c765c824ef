//! A proxy that misbehaves: it fails, lies, or leaves out what it promised.
//!
//! Whatever it does, nothing traps and nothing opens. No request passes that needed a value which the
//! proxy did not give, no deny rule is skipped for it, and no request leaves with a header that its caller
//! forged.
#![cfg(not(target_family = "wasm"))]

use egress_warden::header_map::HeaderMap;
use kit::mock::{
    Calls, Connection, Guest, IMPORTS, Level, Misbehaviour, Outcome, Request, Root, Worker,
};
use serde_json::{Value, json};

kit::scenarios![
    no_status_of_any_call_traps_a_configuration,
    no_status_of_all_calls_traps_a_configuration,
    a_configuration_that_is_promised_and_not_given_is_none,
    a_configuration_of_another_size_than_announced_is_read_as_far_as_it_is_there,
    no_status_of_any_call_traps_a_request_or_opens,
    no_status_of_all_calls_traps_a_request_or_lets_it_pass,
    no_data_of_any_call_traps_a_request_or_opens,
    an_allow_that_needs_a_missing_fact_is_none,
    a_deny_is_not_spared_by_a_missing_fact,
    a_proxy_that_has_no_cluster_leaves_the_port_to_the_authority,
    a_version_of_tls_that_cannot_be_read_is_one,
    a_clock_that_is_not_credible_helps_no_allow_and_spares_no_deny,
    a_torn_header_map_is_refused,
    a_header_that_is_not_written_refuses_the_request,
    headers_are_read_and_written_or_the_request_refused_in_monitor_mode_too,
    a_request_without_a_verdict_in_filter_state_is_the_guards,
    a_request_that_cannot_be_bound_to_its_cluster_is_refused,
    a_request_that_may_be_redirected_and_nobody_knows_is_refused,
    a_refusal_that_is_not_answered_stops_the_request_all_the_same,
    metrics_that_cannot_be_defined_change_nothing_and_are_tried_again,
    a_stream_may_end_in_every_phase,
    a_stream_that_is_shown_headers_twice_is_judged_twice,
    no_status_of_any_call_traps_a_connection_or_opens,
    no_status_or_data_of_all_calls_lets_a_connection_pass,
    a_connection_that_needs_a_missing_fact_is_none,
    a_server_name_that_cannot_be_read_refuses_in_monitor_mode_too,
    a_connection_that_the_proxy_does_not_close_goes_no_further,
    a_connection_without_a_verdict_in_filter_state_is_the_guards,
    a_plugin_whose_root_id_cannot_be_read_judges_requests,
    where_nobody_knows_where_the_proxy_stands_nothing_passes,
    a_waypoint_that_tells_no_caller_or_no_cluster_lets_nothing_pass,
];

const HOST: &str = "api.allow.test";
const CALLER: &str = "spiffe://cluster.local/ns/payments/sa/api";
const PEER: [&str; 2] = ["connection", "uri_san_peer_certificate"];
const TLS_VERSION: [&str; 2] = ["connection", "tls_version"];
const SERVER_NAME: [&str; 2] = ["connection", "requested_server_name"];
const CLUSTER: [&str; 2] = ["xds", "cluster_name"];

/// Those of ABI 0.2.1, and some that are not.
const ERRORS: [u32; 15] = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 99, u32::MAX];
const NOT_FOUND: u32 = 1;

/// Success, and nothing that was asked for.
fn absences() -> [Misbehaviour; 4] {
    [
        Misbehaviour::Status(0),
        Misbehaviour::NullPointer { size: 0 },
        Misbehaviour::NullPointer { size: 7 },
        Misbehaviour::NoSize,
    ]
}

/// Success, and what is no sensible value of anything.
fn nonsense() -> [Misbehaviour; 4] {
    [b"\xff\xfe".to_vec(), b"\0".to_vec(), b" ".to_vec(), vec![b'a'; 65_536]]
        .map(Misbehaviour::Bytes)
}

fn errors() -> impl Iterator<Item = Misbehaviour> {
    ERRORS.into_iter().map(Misbehaviour::Status)
}

/// Every way in which a value is not there, but the one in which the proxy says that it has none.
fn unreadable() -> impl Iterator<Item = Misbehaviour> {
    let errors = errors().filter(|it| !matches!(it, Misbehaviour::Status(NOT_FOUND)));
    errors.chain(absences())
}

/// A policy whose one allow needs every fact, and stamps.
fn strict() -> String {
    json!({
        "policy": "strict",
        "default": "deny",
        "identity": "required",
        "sni": "match",
        "stamp": {"set": {"x-org": "acme"}},
        "rules": [{
            "id": "a",
            "action": "allow",
            "until": "2027-01-01T00:00:00Z",
            "from": [{"principals": ["cluster.local/ns/payments/*"], "namespaces": ["payments"]}],
            "to": [{"hosts": [HOST], "ports": [443], "methods": ["GET"], "paths": ["/v1/*"]}],
            "stamp": {"set": {"x-egress-team": "payments"}},
        }],
    })
    .to_string()
}

/// A request with every fact, and with forged stamps.
fn request() -> Request {
    Request::get(format!("{HOST}:443"))
        .path("/v1/charges")
        .header("x-egress-team", "forged")
        .header("x_egress_team", "forged")
        .header("connection", "upgrade, x-org")
        .property(&PEER, CALLER)
        .property(&TLS_VERSION, "TLSv1.3")
        .property(&SERVER_NAME, HOST)
        .property(&CLUSTER, format!("outbound|443||{HOST}"))
}

fn no_status_of_any_call_traps_a_configuration<G: Guest>(worker: &mut Worker<G>) {
    for import in IMPORTS {
        for error in errors() {
            worker.misbehave(Calls::Of(import), error.clone());
            let root = worker.configure(strict());
            worker.behave();
            // Where it stands must be known, or that the proxy does not say.
            let is_told = match *import {
                "proxy_get_buffer_bytes" => false,
                "proxy_get_property" => matches!(error, Misbehaviour::Status(NOT_FOUND)),
                _ => true,
            };
            assert_eq!(root.accepted, is_told, "{import}: {error:?}");
            assert_eq!(worker.send(root, request()).passed, root.accepted, "{import}: {error:?}");
            worker.remove(root);
        }
    }
}

fn no_status_of_all_calls_traps_a_configuration<G: Guest>(worker: &mut Worker<G>) {
    for misbehaviour in errors().chain(absences()) {
        worker.misbehave(Calls::All, misbehaviour.clone());
        let root = worker.configure(strict());
        assert!(!root.accepted, "{misbehaviour:?}");
        assert!(!worker.send(root, request()).passed, "{misbehaviour:?}");
        worker.remove(root);
    }
}

fn a_configuration_that_is_promised_and_not_given_is_none<G: Guest>(worker: &mut Worker<G>) {
    for misbehaviour in absences().into_iter().chain(nonsense()) {
        worker.misbehave(Calls::Of("proxy_get_buffer_bytes"), misbehaviour.clone());
        let root = worker.configure(strict());
        worker.behave();
        assert!(!root.accepted, "{misbehaviour:?}");
        assert!(!worker.send(root, request()).passed, "{misbehaviour:?}");
    }
}

fn a_configuration_of_another_size_than_announced_is_read_as_far_as_it_is_there<G: Guest>(
    worker: &mut Worker<G>,
) {
    let policy = strict();
    let size = u32::try_from(policy.len()).expect("a short policy");
    for announced in [size, size + 1, size * 2, u32::MAX] {
        let root = worker.configure_announcing(announced, &policy);
        assert!(root.accepted, "{announced} announced of {size}");
        assert!(worker.send(root, request()).passed, "{announced} announced of {size}");
    }
    for announced in 0..size {
        let root = worker.configure_announcing(announced, &policy);
        assert!(!root.accepted, "{announced} announced of {size}");
        assert!(!worker.send(root, request()).passed, "{announced} announced of {size}");
        worker.remove(root);
    }
}

/// The calls without which nobody can say that the request may pass, and carries our stamps only.
const NEEDED: [&str; 7] = [
    "proxy_get_header_map_pairs",
    "proxy_get_property",
    "proxy_set_property",
    "proxy_get_current_time_nanoseconds",
    "proxy_add_header_map_value",
    "proxy_replace_header_map_value",
    "proxy_remove_header_map_value",
];

fn no_status_of_any_call_traps_a_request_or_opens<G: Guest>(worker: &mut Worker<G>) {
    let root = worker.configure(strict());
    for import in IMPORTS {
        for error in errors() {
            worker.misbehave(Calls::Of(import), error.clone());
            let what = format!("{import}: {error:?}");

            let outcome = worker.send(root, request());
            if *import == "proxy_set_property" {
                // No verdict can be left, either.
                assert!(!outcome.passed && outcome.replies.len() == 1, "{what}: {outcome:#?}");
            } else if NEEDED.contains(import) {
                assert_refused(&outcome, &what);
            } else {
                assert_passed(&outcome, &what);
            }

            let evil = request().without(":authority").header(":authority", "evil.test");
            assert!(!worker.send(root, evil).passed, "{what}");
        }
    }
    worker.behave();
    assert_passed(&worker.send(root, request()), "afterwards");
}

fn no_status_of_all_calls_traps_a_request_or_lets_it_pass<G: Guest>(worker: &mut Worker<G>) {
    let root = worker.configure(strict());
    for misbehaviour in errors().chain(absences()).chain(nonsense()) {
        worker.misbehave(Calls::All, misbehaviour.clone());
        assert!(!worker.send(root, request()).passed, "{misbehaviour:?}");
    }
}

fn no_data_of_any_call_traps_a_request_or_opens<G: Guest>(worker: &mut Worker<G>) {
    let root = worker.configure(strict());
    for import in ["proxy_get_header_map_pairs", "proxy_get_property"] {
        for misbehaviour in absences().into_iter().chain(nonsense()) {
            worker.misbehave(Calls::Of(import), misbehaviour.clone());
            assert_refused(&worker.send(root, request()), &format!("{import}: {misbehaviour:?}"));
        }
    }
}

/// A fact, the ways in which it goes missing, and a part of a policy that asks for it: true of
/// [`request`] in an allow, and false in a deny.
struct Fact {
    calls: Calls,
    misbehaviours: Vec<Misbehaviour>,
    allows: Vec<Value>,
    denies: Vec<Value>,
}

fn facts() -> [Fact; 6] {
    let absent = || errors().chain(absences());
    let property = |path: &'static str| Calls::About("proxy_get_property", path);
    let caller = |field: &str, value: &str| json!({"rule": {"from": [{field: [value]}]}});
    let entry = |field: &str, value: Value| json!({"rule": {"to": [{field: [value]}]}});
    let whole_map = |field, held: Value, other: Value| Fact {
        calls: Calls::Of("proxy_get_header_map_pairs"),
        misbehaviours: absent().chain(nonsense()).collect(),
        allows: vec![entry(field, held.clone()), entry(&not(field), other.clone())],
        denies: vec![entry(field, other), entry(&not(field), held)],
    };
    [
        Fact {
            calls: property("connection\0uri_san_peer_certificate"),
            misbehaviours: absent().chain(nonsense()).collect(),
            allows: vec![
                caller("principals", "cluster.local/ns/payments/sa/api"),
                caller("notPrincipals", "cluster.local/ns/orders/sa/web"),
                caller("namespaces", "payments"),
                caller("notNamespaces", "orders"),
                json!({"identity": "required", "rule": {}}),
            ],
            denies: vec![
                caller("principals", "cluster.local/ns/orders/sa/web"),
                caller("notPrincipals", "cluster.local/ns/payments/sa/api"),
                caller("namespaces", "orders"),
                caller("notNamespaces", "payments"),
            ],
        },
        Fact {
            calls: property("xds\0cluster_name"),
            misbehaviours: unreadable().collect(),
            allows: vec![entry("ports", json!(443)), entry("notPorts", json!(22))],
            denies: vec![entry("ports", json!(22)), entry("notPorts", json!(443))],
        },
        Fact {
            calls: property("connection\0requested_server_name"),
            misbehaviours: absent().chain(nonsense()).collect(),
            allows: vec![json!({"sni": "match", "rule": {}})],
            denies: vec![],
        },
        whole_map("methods", json!("GET"), json!("POST")),
        whole_map("paths", json!("/v1/*"), json!("/admin*")),
        whole_map("hosts", json!(HOST), json!("other.test")),
    ]
}

/// `hosts` to `notHosts`.
fn not(field: &str) -> String {
    let (first, rest) = field.split_at(1);
    format!("not{}{rest}", first.to_uppercase())
}

fn policy(default: &str, action: &str, part: &Value) -> String {
    let mut policy = json!({
        "policy": "p",
        "default": default,
        "rules": [{"id": "r", "action": action}],
    });
    for (key, value) in part.as_object().expect("an object") {
        if key == "rule" {
            let rule = policy["rules"][0].as_object_mut().expect("an object");
            rule.extend(value.as_object().expect("an object").clone());
        } else {
            policy[key] = value.clone();
        }
    }
    policy.to_string()
}

fn configure<G: Guest>(worker: &mut Worker<G>, policy: impl AsRef<[u8]>) -> Root {
    worker.behave();
    let root = worker.configure(policy);
    assert!(root.accepted, "{:#?}", worker.lines());
    root
}

fn an_allow_that_needs_a_missing_fact_is_none<G: Guest>(worker: &mut Worker<G>) {
    for fact in facts() {
        for part in &fact.allows {
            let root = configure(worker, policy("deny", "allow", part));
            assert!(worker.send(root, request()).passed, "{part}");
            for misbehaviour in &fact.misbehaviours {
                worker.misbehave(fact.calls, misbehaviour.clone());
                assert_refused(&worker.send(root, request()), &format!("{part}: {misbehaviour:?}"));
            }
        }
    }
}

fn a_deny_is_not_spared_by_a_missing_fact<G: Guest>(worker: &mut Worker<G>) {
    for fact in facts() {
        for part in &fact.denies {
            let root = configure(worker, policy("allow", "deny", part));
            assert!(worker.send(root, request()).passed, "{part}");
            for misbehaviour in &fact.misbehaviours {
                worker.misbehave(fact.calls, misbehaviour.clone());
                assert_refused(&worker.send(root, request()), &format!("{part}: {misbehaviour:?}"));
            }
        }
    }
}

fn a_proxy_that_has_no_cluster_leaves_the_port_to_the_authority<G: Guest>(worker: &mut Worker<G>) {
    let part = json!({"rule": {"to": [{"ports": [443]}]}});
    let root = configure(worker, policy("deny", "allow", &part));
    let cluster = Calls::About("proxy_get_property", "xds\0cluster_name");

    worker.misbehave(cluster, Misbehaviour::Status(NOT_FOUND));
    assert!(worker.send(root, request()).passed);

    // Istio's name says the port, whatever follows it.
    for name in [&b"outbound|22||\xff"[..], b"outbound|22||", b"outbound|22"] {
        worker.misbehave(cluster, Misbehaviour::Bytes(name.to_vec()));
        assert_refused(&worker.send(root, request()), &name.escape_ascii().to_string());
    }
}

fn a_version_of_tls_that_cannot_be_read_is_one<G: Guest>(worker: &mut Worker<G>) {
    let root = configure(worker, policy("allow", "allow", &json!({"sni": "match"})));
    let version = Calls::About("proxy_get_property", "connection\0tls_version");
    let misdirected = request().property(&SERVER_NAME, "other.test");

    for misbehaviour in unreadable().chain(nonsense()) {
        worker.misbehave(version, misbehaviour.clone());
        assert!(worker.send(root, request()).passed, "{misbehaviour:?}");
        let outcome = worker.send(root, misdirected.clone());
        assert_refused(&outcome, &format!("{misbehaviour:?}"));
        assert_eq!(outcome.state("egress_reason"), Some("sni"), "{misbehaviour:?}");
    }

    // Without TLS there is nothing to compare.
    worker.misbehave(version, Misbehaviour::Status(NOT_FOUND));
    assert!(worker.send(root, misdirected).passed);
}

fn a_clock_that_is_not_credible_helps_no_allow_and_spares_no_deny<G: Guest>(
    worker: &mut Worker<G>,
) {
    let clock = Calls::Of("proxy_get_current_time_nanoseconds");
    let ending = |default, action| {
        policy(default, action, &json!({"rule": {"until": "2027-01-01T00:00:00Z"}}))
    };
    let allow = configure(worker, ending("deny", "allow"));
    let deny = configure(worker, ending("allow", "deny"));
    assert!(worker.send(allow, request()).passed, "the allow has not ended");

    for misbehaviour in errors().chain(absences()) {
        worker.misbehave(clock, misbehaviour.clone());
        assert_refused(&worker.send(allow, request()), &format!("{misbehaviour:?}"));
        assert_refused(&worker.send(deny, request()), &format!("{misbehaviour:?}"));
    }
    worker.behave();
    // Minus one as Envoy's signed count would give it to us.
    for time in [None, Some(0), Some(u64::MAX), Some(i64::MIN.cast_unsigned())] {
        worker.set_clock(time);
        assert_refused(&worker.send(allow, request()), &format!("{time:?}"));
        assert_refused(&worker.send(deny, request()), &format!("{time:?}"));
    }

    // Long after both have ended.
    worker.set_clock(Some(i64::MAX.cast_unsigned()));
    assert_refused(&worker.send(allow, request()), "in the year 2262");
    assert!(worker.send(deny, request()).passed, "the deny has ended");
}

/// Policies under which [`request`] passes, and is stamped or strips what its caller sent.
fn open_policies() -> [String; 3] {
    let watched = json!({
        "policy": "watched",
        "mode": "monitor",
        "default": "deny",
        "stamp": {"set": {"x-egress-team": "payments"}},
    });
    let stripping = json!({
        "policy": "stripping",
        "default": "allow",
        "stamp": {"remove": ["x-egress-team"]},
        "rules": [{"id": "d", "action": "deny", "to": [{"paths": ["/admin*"]}]}],
    });
    [strict(), watched.to_string(), stripping.to_string()]
}

fn a_torn_header_map_is_refused<G: Guest>(worker: &mut Worker<G>) {
    let whole = HeaderMap::from_pairs([
        (&b":authority"[..], HOST.as_bytes()),
        (b":path", b"/v1/charges"),
        (b":method", b"GET"),
        (b"x-egress-team", b"forged"),
    ]);
    let buffer = whole.as_bytes();
    let mut torn: Vec<_> = (0..buffer.len()).map(|length| buffer[..length].to_vec()).collect();
    torn.push([buffer, b"\0"].concat());
    torn.push(HeaderMap::from_pairs([]).as_bytes().to_vec());
    // The count, and the sizes of each name and value.
    for at in (0..36).step_by(4) {
        let said = u32::from_le_bytes(buffer[at..at + 4].try_into().expect("four bytes"));
        for lie in [0, said - 1, said + 1, said * 2, 1 << 31, u32::MAX - 1, u32::MAX] {
            let mut lying = buffer.to_vec();
            lying[at..at + 4].copy_from_slice(&lie.to_le_bytes());
            torn.push(lying);
        }
    }
    let pairs = Calls::Of("proxy_get_header_map_pairs");
    for policy in open_policies() {
        let root = configure(worker, policy);
        for buffer in &torn {
            worker.misbehave(pairs, Misbehaviour::Bytes(buffer.clone()));
            let outcome = worker.send(root, request());
            assert_proxy_error(&outcome, &buffer.escape_ascii().to_string());
        }
    }
    let open = open_policies();
    let root = configure(worker, &open[2]);
    worker.misbehave(pairs, Misbehaviour::Bytes(buffer.to_vec()));
    assert!(worker.send(root, request()).passed, "the whole of it");
}

fn a_header_that_is_not_written_refuses_the_request<G: Guest>(worker: &mut Worker<G>) {
    for policy in open_policies() {
        let root = configure(worker, policy);
        let writes = [
            Calls::About("proxy_remove_header_map_value", "x_egress_team"),
            Calls::About("proxy_remove_header_map_value", "x-egress-team"),
        ];
        for calls in writes {
            for error in errors() {
                worker.misbehave(calls, error.clone());
                assert_proxy_error(&worker.send(root, request()), &format!("{calls:?}: {error:?}"));
            }
        }
    }
    let root = configure(worker, strict());
    for (call, header) in [
        ("proxy_add_header_map_value", "x-egress-team"),
        ("proxy_add_header_map_value", "x-org"),
        ("proxy_replace_header_map_value", "connection"),
    ] {
        for error in errors() {
            worker.misbehave(Calls::About(call, header), error.clone());
            let outcome = worker.send(root, request());
            assert_proxy_error(&outcome, &format!("{header}: {error:?}"));
            let line = outcome.lines.iter().find(|line| line.level == Level::Error);
            let Misbehaviour::Status(status) = error else { unreachable!("an error is a status") };
            let said = format!("`{header}`: status {status}");
            assert!(line.is_some_and(|line| line.text.contains(&said)), "{said}: {line:?}");
        }
    }
    worker.behave();
    assert_passed(&worker.send(root, request()), "afterwards");
}

fn headers_are_read_and_written_or_the_request_refused_in_monitor_mode_too<G: Guest>(
    worker: &mut Worker<G>,
) {
    let watched = &open_policies()[1];
    let root = configure(worker, watched);
    let evil = request().method("not a token");
    let outcome = worker.send(root, evil.clone());
    assert!(outcome.passed, "monitor mode refuses nothing");
    assert_eq!(outcome.headers.values("x-egress-team"), [b"payments"]);

    for calls in ["get_header_map_pairs", "add_header_map_value", "remove_header_map_value"] {
        let import = IMPORTS.iter().find(|import| import.ends_with(calls)).expect("an import");
        for error in errors() {
            worker.misbehave(Calls::Of(import), error.clone());
            let outcome = worker.send(root, evil.clone());
            assert_proxy_error(&outcome, &format!("{import}: {error:?}"));
            assert_eq!(outcome.state("egress_would"), None);
        }
    }
}

/// There is nobody to tell. Without the verdict the native guard behind the filter refuses it, which
/// tests/envoy/gateway.rs shows.
fn a_request_without_a_verdict_in_filter_state_is_the_guards<G: Guest>(worker: &mut Worker<G>) {
    let root = configure(worker, strict());
    for error in errors() {
        worker.misbehave(Calls::About("proxy_set_property", "egress_decision"), error.clone());

        let outcome = worker.send(root, request());
        assert_eq!(outcome.state("egress_decision"), None, "{error:?}");
        assert_eq!(outcome.state("egress_rule"), Some("a"), "{error:?}");

        // What the filter refuses itself needs no guard.
        let outcome = worker.send(root, request().method("POST"));
        assert!(!outcome.passed && outcome.reply().is_some(), "{error:?}");
    }
}

/// It might go by another way than was judged.
fn a_request_that_cannot_be_bound_to_its_cluster_is_refused<G: Guest>(worker: &mut Worker<G>) {
    let root = configure(worker, strict());
    for error in errors() {
        worker.misbehave(Calls::About("proxy_set_property", "egress_cluster"), error.clone());
        let outcome = worker.send(root, request());
        assert_proxy_error(&outcome, &format!("{error:?}"));
        assert_eq!(outcome.headers.values("x-org"), [b""; 0], "{error:?}");
    }
}

/// It might carry to one host what was stamped for another.
fn a_request_that_may_be_redirected_and_nobody_knows_is_refused<G: Guest>(worker: &mut Worker<G>) {
    let stamping = json!({"rule": {"stamp": {"set": {"authorization": "Bearer t"}}}});
    for (policy, request) in [
        (policy("deny", "allow", &stamping), request()),
        (strict(), request().header("x-envoy-original-url", "https://other.test/")),
    ] {
        let root = configure(worker, policy);
        for misbehaviour in unreadable().chain(nonsense()) {
            worker.misbehave(
                Calls::About("proxy_get_property", "egress_policy"),
                misbehaviour.clone(),
            );
            let outcome = worker.send(root, request.clone());
            assert_proxy_error(&outcome, &format!("{misbehaviour:?}"));
        }
        worker.behave();
        assert!(worker.send(root, request).passed, "nobody says that it was");
    }
}

fn a_refusal_that_is_not_answered_stops_the_request_all_the_same<G: Guest>(worker: &mut Worker<G>) {
    let root = configure(worker, strict());
    let unconfigured = worker.configure("{}");
    for misbehaviour in errors().chain(absences()) {
        worker.misbehave(Calls::Of("proxy_send_local_response"), misbehaviour.clone());

        let outcome = worker.send(root, request().method("POST"));
        assert!(!outcome.passed && outcome.reply().is_none(), "{misbehaviour:?}");
        assert_eq!(outcome.state("egress_decision"), Some("deny"), "{misbehaviour:?}");

        let outcome = worker.send(unconfigured, request());
        assert!(!outcome.passed && outcome.reply().is_none(), "{misbehaviour:?}");
        assert_eq!(outcome.state("egress_decision"), None, "{misbehaviour:?}");
    }
}

fn metrics_that_cannot_be_defined_change_nothing_and_are_tried_again<G: Guest>(
    worker: &mut Worker<G>,
) {
    const COUNTER: &str = "egress_warden.requests.allow.rule";
    for error in errors() {
        worker.misbehave(Calls::Of("proxy_define_metric"), error.clone());
        assert!(worker.configure(strict()).accepted, "{error:?}");
        assert!(worker.gauges().is_empty(), "{error:?}");
    }
    let root = configure(worker, strict());
    assert_eq!(worker.gauges().len(), 3);
    for error in errors() {
        worker.misbehave(Calls::Of("proxy_define_metric"), error.clone());
        assert_passed(&worker.send(root, request()), &format!("{error:?}"));
        assert!(!worker.send(root, request().method("POST")).passed, "{error:?}");
    }
    assert_eq!(worker.counter(COUNTER), None);

    worker.behave();
    worker.send(root, request());
    worker.misbehave(Calls::Of("proxy_increment_metric"), Misbehaviour::Status(NOT_FOUND));
    assert_passed(&worker.send(root, request()), "the counter is not found");
    worker.behave();
    worker.send(root, request());
    assert_eq!(worker.counter(COUNTER), Some(2));

    let gauges = worker.gauges();
    for error in errors() {
        worker.misbehave(Calls::Of("proxy_record_metric"), error.clone());
        let other = strict().replace("acme", "other");
        assert!(worker.configure(other).accepted, "{error:?}");
        assert_eq!(worker.gauges(), gauges, "{error:?}");
    }
}

fn a_stream_may_end_in_every_phase<G: Guest>(worker: &mut Worker<G>) {
    let root = configure(worker, strict());
    for error in errors().chain(absences()).map(Some).chain([None]) {
        match error {
            Some(error) => worker.misbehave(Calls::All, error),
            None => worker.behave(),
        }
        // Reset before its headers came, and logged all the same.
        let created = worker.open(root);
        let [mut first, mut second] = [worker.open(root), worker.open(root)];
        assert!(!worker.close(created).passed);
        worker.show_headers(&mut second, request());
        worker.show_headers(&mut first, request().method("POST"));
        assert!(!worker.close(first).passed);
        worker.close(second);
    }
    assert_passed(&worker.send(root, request()), "afterwards");

    // Its root is gone before it is.
    let mut orphan = worker.open(root);
    let silent = worker.open(root);
    worker.remove(root);
    worker.show_headers(&mut orphan, request());
    assert_passed(&worker.close(orphan), "an orphan");
    assert!(!worker.close(silent).passed);
}

fn a_stream_that_is_shown_headers_twice_is_judged_twice<G: Guest>(worker: &mut Worker<G>) {
    let root = configure(worker, strict());

    let mut redirected = worker.open(root);
    worker.show_headers(&mut redirected, request());
    worker.show_headers(&mut redirected, request().method("POST"));
    let outcome = worker.close(redirected);
    assert_refused(&outcome, "the second is refused");

    let mut refused = worker.open(root);
    worker.show_headers(&mut refused, request().method("POST"));
    worker.show_headers(&mut refused, request());
    assert!(!worker.close(refused).passed, "it was answered once");
}

/// A policy whose one allow needs every fact of a connection.
fn strict_on_connections() -> String {
    json!({
        "policy": "strict",
        "default": "deny",
        "identity": "required",
        "rules": [{
            "id": "a",
            "action": "allow",
            "until": "2027-01-01T00:00:00Z",
            "from": [{"principals": ["cluster.local/ns/payments/*"], "namespaces": ["payments"]}],
            "to": [{"hosts": [HOST], "ports": [443]}],
        }],
    })
    .to_string()
}

/// A connection with every fact.
fn connection() -> Connection {
    Connection::to(HOST).property(&PEER, CALLER)
}

fn configure_connections<G: Guest>(worker: &mut Worker<G>, policy: impl AsRef<[u8]>) -> Root {
    worker.behave();
    let root = worker.configure_as("connections", policy);
    assert!(root.accepted, "{:#?}", worker.lines());
    root
}

fn no_status_of_any_call_traps_a_connection_or_opens<G: Guest>(worker: &mut Worker<G>) {
    const NEEDED: [&str; 2] = ["proxy_get_property", "proxy_get_current_time_nanoseconds"];
    let root = configure_connections(worker, strict_on_connections());
    for import in IMPORTS {
        for error in errors() {
            worker.misbehave(Calls::Of(import), error.clone());
            let what = format!("{import}: {error:?}");
            let outcome = worker.connect(root, connection());
            assert_eq!(outcome.passed, !NEEDED.contains(import), "{what}: {outcome:#?}");
            assert_eq!(outcome.closings, usize::from(!outcome.passed), "{what}");
            let evil = connection().property(&SERVER_NAME, "evil.test");
            assert!(!worker.connect(root, evil).passed, "{what}");
        }
    }
    worker.behave();
    assert!(worker.connect(root, connection()).passed, "afterwards");
}

fn no_status_or_data_of_all_calls_lets_a_connection_pass<G: Guest>(worker: &mut Worker<G>) {
    let root = configure_connections(worker, strict_on_connections());
    for misbehaviour in errors().chain(absences()).chain(nonsense()) {
        worker.misbehave(Calls::All, misbehaviour.clone());
        assert!(!worker.connect(root, connection()).passed, "{misbehaviour:?}");
        worker.misbehave(Calls::Of("proxy_get_property"), misbehaviour.clone());
        assert!(!worker.connect(root, connection()).passed, "{misbehaviour:?}");
    }
}

fn a_connection_that_needs_a_missing_fact_is_none<G: Guest>(worker: &mut Worker<G>) {
    let about = |path: &'static str| Calls::About("proxy_get_property", path);
    let root = configure_connections(worker, strict_on_connections());
    for (calls, reason) in [
        (about("connection\0uri_san_peer_certificate"), "identity"),
        (Calls::Of("proxy_get_current_time_nanoseconds"), "expired"),
    ] {
        for misbehaviour in errors().chain(absences()) {
            worker.misbehave(calls, misbehaviour.clone());
            let outcome = worker.connect(root, connection());
            assert!(!outcome.passed, "{calls:?}: {misbehaviour:?}");
            assert_eq!(
                outcome.state("egress_connection_reason"),
                Some(reason),
                "{calls:?}: {misbehaviour:?}"
            );
        }
    }
    let name = about("connection\0requested_server_name");
    for misbehaviour in absences().into_iter().chain([Misbehaviour::Status(NOT_FOUND)]) {
        worker.misbehave(name, misbehaviour.clone());
        let outcome = worker.connect(root, connection());
        assert!(!outcome.passed, "{misbehaviour:?}");
        assert_eq!(
            outcome.state("egress_connection_reason"),
            Some("malformed"),
            "{misbehaviour:?}"
        );
    }
}

fn a_server_name_that_cannot_be_read_refuses_in_monitor_mode_too<G: Guest>(worker: &mut Worker<G>) {
    let watched = json!({"policy": "watched", "mode": "monitor", "default": "deny"}).to_string();
    let root = configure_connections(worker, watched);
    assert!(worker.connect(root, Connection::default()).passed, "monitor mode refuses nothing");

    let name = Calls::About("proxy_get_property", "connection\0requested_server_name");
    for error in errors().filter(|it| !matches!(it, Misbehaviour::Status(NOT_FOUND))) {
        worker.misbehave(name, error.clone());
        let outcome = worker.connect(root, connection());
        assert!(!outcome.passed, "{error:?}");
        assert_eq!(outcome.closings, 1, "{error:?}");
        assert_eq!(outcome.state("egress_connection_reason"), Some("proxy_error"), "{error:?}");
        assert_eq!(outcome.state("egress_connection_would"), None, "{error:?}");
    }
}

fn a_connection_that_the_proxy_does_not_close_goes_no_further<G: Guest>(worker: &mut Worker<G>) {
    let root = configure_connections(worker, strict_on_connections());
    let unconfigured = worker.configure_as("connections", "{}");
    for error in errors() {
        worker.misbehave(Calls::Of("proxy_close_stream"), error.clone());
        let outcome = worker.connect(root, Connection::to("evil.test"));
        assert!(!outcome.passed && outcome.closings == 0, "{error:?}");
        assert_eq!(outcome.state("egress_connection_decision"), Some("deny"), "{error:?}");
        let said = outcome.lines.iter().filter(|line| line.level == Level::Error).count();
        assert_eq!(said, 1, "{:#?}", outcome.lines);
        assert!(!worker.connect(unconfigured, connection()).passed, "{error:?}");
    }
}

fn a_connection_without_a_verdict_in_filter_state_is_the_guards<G: Guest>(worker: &mut Worker<G>) {
    let root = configure_connections(worker, strict_on_connections());
    for error in errors() {
        worker.misbehave(
            Calls::About("proxy_set_property", "egress_connection_decision"),
            error.clone(),
        );
        let outcome = worker.connect(root, connection());
        assert_eq!(outcome.state("egress_connection_decision"), None, "{error:?}");
        assert_eq!(outcome.state("egress_connection_rule"), Some("a"), "{error:?}");
    }
}

fn a_plugin_whose_root_id_cannot_be_read_judges_requests<G: Guest>(worker: &mut Worker<G>) {
    for misbehaviour in errors().chain(absences()) {
        worker
            .misbehave(Calls::About("proxy_get_property", "plugin_root_id"), misbehaviour.clone());
        let root = worker.configure(strict());
        worker.behave();
        assert!(root.accepted, "{misbehaviour:?}");
        assert_passed(&worker.send(root, request()), &format!("{misbehaviour:?}"));
        worker.remove(root);
    }
}

fn where_nobody_knows_where_the_proxy_stands_nothing_passes<G: Guest>(worker: &mut Worker<G>) {
    let errors = errors().filter(|it| !matches!(it, Misbehaviour::Status(NOT_FOUND)));
    for error in errors {
        worker.misbehave(Calls::About("proxy_get_property", "xds\0node\0id"), error.clone());
        let root = worker.configure(strict());
        worker.behave();
        assert!(!root.accepted, "{error:?}");
        assert!(!worker.send(root, request()).passed, "{error:?}");
        worker.remove(root);
    }
}

fn a_waypoint_that_tells_no_caller_or_no_cluster_lets_nothing_pass<G: Guest>(
    worker: &mut Worker<G>,
) {
    worker.set_node_id(Some("waypoint~10.0.0.9~w.egress~egress.svc.cluster.local"));
    let root = worker.configure(strict());
    let caller = ["filter_state", "io.istio.peer_principal"];
    let request = || {
        let request = request().property(&caller, CALLER);
        request.property(&CLUSTER, format!("inbound-vip|443|http|{HOST}"))
    };
    assert_passed(&worker.send(root, request()), "as it should be");
    for misbehaviour in unreadable().chain(nonsense()) {
        for property in [caller.join("\0"), CLUSTER.join("\0")] {
            worker.misbehave(
                Calls::About("proxy_get_property", property.clone().leak()),
                misbehaviour.clone(),
            );
            let what = format!("{property:?} {misbehaviour:?}");
            assert_refused(&worker.send(root, request()), &what);
        }
    }
}

/// It went on with the verdict in filter state, and no header of its caller's making is left.
fn assert_passed(outcome: &Outcome, what: &str) {
    assert!(outcome.passed, "{what}: {outcome:#?}");
    assert_eq!(outcome.headers.values("x-egress-team"), [b"payments"], "{what}");
    assert_eq!(outcome.headers.values("x_egress_team"), [b""; 0], "{what}");
    assert_eq!(outcome.headers.values("x-org"), [b"acme"], "{what}");
    assert_eq!(outcome.headers.values("connection"), [b"upgrade"], "{what}");
}

/// It was answered, and would not pass the guard.
fn assert_refused(outcome: &Outcome, what: &str) {
    assert!(!outcome.passed, "{what}: {outcome:#?}");
    assert_eq!(outcome.state("egress_decision"), Some("deny"), "{what}");
    assert_eq!(outcome.replies.len(), 1, "{what}: {outcome:#?}");
}

/// It was refused because of the proxy, and the log says so once.
fn assert_proxy_error(outcome: &Outcome, what: &str) {
    assert_refused(outcome, what);
    assert_eq!(outcome.state("egress_reason"), Some("proxy_error"), "{what}");
    assert_eq!(outcome.state("egress_rule"), None, "{what}");
    let reply = outcome.reply().expect("it was answered");
    assert_eq!((reply.status, &*reply.details), (503, "egress_denied[proxy_error]"), "{what}");
    let levels: Vec<_> = outcome.lines.iter().map(|line| line.level).collect();
    assert_eq!(levels, [Level::Error, Level::Warn], "{what}: {:#?}", outcome.lines);
}
