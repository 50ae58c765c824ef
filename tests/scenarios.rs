//! The filter at its border to the proxy: configuration, streams, and each way out of the VM.
//!
//! The meaning of policies is tested elsewhere. These tests check that the verdict reaches the proxy.
#![cfg(not(target_family = "wasm"))]

use egress_warden::config;
use kit::mock::{Connection, Guest, Level, Native, Request, Root, Worker};
use serde_json::json;
use std::collections::BTreeMap;

const POLICY: &str = r#"{
    "policy": "t",
    "default": "deny",
    "rules": [{
        "id": "a",
        "action": "allow",
        "to": [{"hosts": ["api.allow.test"]}],
        "stamp": {"set": {"x-egress-team": "payments"}}
    }]
}"#;
const ALLOWED: &str = "api.allow.test";
const DENIED: &str = "deny.test";

kit::scenarios![
    a_good_policy_is_accepted_in_silence,
    a_policy_with_faults_is_refused_and_each_fault_logged_once,
    an_absent_policy_is_refused,
    a_secret_of_the_environment_is_stamped_and_in_no_line,
    a_secret_that_the_environment_lacks_is_refused,
    faults_beyond_a_thousand_are_counted,
    a_root_without_a_policy_refuses_every_request,
    a_new_root_decides_new_streams_and_the_old_root_its_own,
    reloads_do_not_grow_the_memory,
    an_allowed_request_goes_on_with_its_stamp,
    a_stamp_replaces_what_the_caller_sent,
    an_allowed_request_leaves_its_verdict_in_filter_state,
    the_guard_is_left_the_cluster_that_was_judged,
    what_rests_on_no_port_or_is_not_enforced_leaves_no_cluster,
    a_redirected_request_carries_nothing_that_a_rule_stamped,
    a_request_is_known_again_without_the_header_of_redirects,
    a_redirected_request_that_another_policy_stamped_is_refused,
    a_denied_request_is_answered_and_goes_no_further,
    a_denied_request_leaves_its_verdict_in_filter_state,
    a_denied_grpc_call_gets_permission_denied,
    a_denied_request_logs_one_line_of_json_as_a_warning,
    lines_under_the_level_of_the_proxy_are_dropped,
    a_counter_is_defined_once_and_counts_on,
    counters_go_on_after_a_reload,
    gauges_show_the_policy_that_was_taken_or_decided_last,
    header_bytes_that_are_not_utf8_change_nothing,
    a_request_without_headers_is_refused,
    a_thousand_headers_change_no_verdict,
    headers_of_60_kib_change_no_verdict,
    a_byte_that_is_not_utf8_in_any_header_changes_no_verdict,
    the_root_id_tells_connections_from_requests,
    the_root_id_tells_which_form_server_names_have,
    a_root_id_that_is_neither_is_refused,
    the_node_id_tells_a_waypoint_from_a_gateway,
    connections_at_a_waypoint_are_judged_at_once_by_what_was_dialled,
    a_root_without_a_policy_refuses_every_connection,
    an_allowed_connection_goes_on_with_its_verdict_in_filter_state,
    a_refused_connection_is_closed_once_and_leaves_its_record,
    rules_that_ask_for_methods_or_paths_are_said_once_where_connections_are_judged,
    a_new_root_decides_new_connections,
    connections_have_counters_of_their_own,
    a_caller_whose_handshake_is_still_to_come_is_waited_for,
    a_connection_that_waits_is_judged_by_the_policy_in_force,
    where_either_policy_may_be_in_force_both_must_allow,
    a_connection_without_a_verdict_is_ended_in_time,
    no_byte_reaches_a_caller_before_the_verdict,
    a_connection_that_ends_undecided_has_its_record,
];

fn a_good_policy_is_accepted_in_silence<G: Guest>(worker: &mut Worker<G>) {
    assert!(worker.configure(POLICY).accepted);
    assert_eq!(worker.lines(), []);
}

fn a_policy_with_faults_is_refused_and_each_fault_logged_once<G: Guest>(worker: &mut Worker<G>) {
    let root = worker.configure(r#"{"policy":"t","default":"deny","colour":1,"taste":2}"#);

    assert!(!root.accepted);
    let lines = worker.lines();
    for key in ["colour", "taste"] {
        assert_eq!(lines.iter().filter(|line| line.text.contains(key)).count(), 1, "{lines:#?}");
    }
    assert_eq!(lines.len(), 2);
    assert!(lines.iter().all(|line| line.level == Level::Error), "{lines:#?}");
    assert!(lines.iter().all(|line| !line.text.contains('\n')), "{lines:#?}");
}

fn a_secret_of_the_environment_is_stamped_and_in_no_line<G: Guest>(worker: &mut Worker<G>) {
    const SECRET: &str = env!("CARGO_PKG_NAME");
    let policy = json!({
        "policy": "t",
        "rules": [{"id": "a", "action": "allow", "to": [{"hosts": [ALLOWED]}],
            "stamp": {"set": {"authorization": "Bearer {secret:CARGO_PKG_NAME}"}}}],
        "log": {"requests": "all"},
    });
    let root = worker.configure(policy.to_string());
    assert!(root.accepted);
    let sent = [
        (":authority", ALLOWED),
        (":method", "GET"),
        (":path", "/"),
        ("authorization", "Bearer mine"),
        ("authorization", "Bearer mine"),
    ];
    let sent = Request::new(sent.map(|(name, value)| (name.as_bytes(), value.as_bytes())));
    let outcome = worker.send(root, sent);
    assert!(outcome.passed);
    let stamped = format!("Bearer {SECRET}");
    assert_eq!(outcome.headers.values("authorization"), [stamped.as_bytes()]);
    let lines = format!("{:?}", worker.lines());
    assert!(lines.contains("egress_decision") && !lines.contains(SECRET), "{lines}");
}

fn a_secret_that_the_environment_lacks_is_refused<G: Guest>(worker: &mut Worker<G>) {
    let policy = json!({
        "policy": "t",
        "default": "deny",
        "stamp": {"set": {"x-a": "{secret:CARGO_PKG_NAME}", "x-b": "{secret:NO_SUCH_VARIABLE}"}},
    });
    assert!(!worker.configure(policy.to_string()).accepted);
    let lines = worker.lines();
    let texts: Vec<_> = lines.iter().map(|line| &*line.text).collect();
    assert_eq!(texts.len(), 1, "{texts:?}");
    assert!(texts[0].contains("$.stamp.set['x-b']") && texts[0].contains("`NO_SUCH_VARIABLE`"));
}

fn an_absent_policy_is_refused<G: Guest>(worker: &mut Worker<G>) {
    assert!(!worker.configure("").accepted);
    assert_eq!(worker.lines().len(), 1);
}

fn faults_beyond_a_thousand_are_counted<G: Guest>(worker: &mut Worker<G>) {
    let unknown: String = (0..1_234).map(|n| format!(r#","unknown-{n}":1"#)).collect();
    let root = worker.configure(format!(r#"{{"policy":"t","default":"deny"{unknown}}}"#));

    assert!(!root.accepted);
    let lines = worker.lines();
    assert_eq!(lines.len(), 1_001);
    assert!(lines[1_000].text.contains("234"), "{:?}", lines[1_000]);
}

fn a_root_without_a_policy_refuses_every_request<G: Guest>(worker: &mut Worker<G>) {
    let root = worker.configure("{}");

    let outcome = worker.send(root, Request::get(ALLOWED));

    assert!(!outcome.passed);
    assert_eq!(outcome.reply_json(), json!({"error": "egress_denied"}));
    let reply = outcome.reply().expect("it was answered");
    assert_eq!(reply.status, 503);
    assert_eq!(reply.details, "egress_denied[no_policy]");
    assert_eq!(reply.headers.values("content-type"), [b"application/json"]);
    assert_eq!(worker.counter("egress_warden.requests.deny.no_policy"), Some(1));
    assert!(worker.gauges().is_empty());
}

fn a_new_root_decides_new_streams_and_the_old_root_its_own<G: Guest>(worker: &mut Worker<G>) {
    let old = worker.configure(POLICY);
    let mut old_stream = worker.open(old);

    let new = worker.configure(POLICY.replace(ALLOWED, "other.test"));
    assert!(new.accepted);
    worker.show_headers(&mut old_stream, Request::get(ALLOWED));

    assert!(worker.close(old_stream).passed);
    assert!(!worker.send(new, Request::get(ALLOWED)).passed);
    assert!(worker.send(new, Request::get("other.test")).passed);

    // A stream may outlive its root.
    let mut last = worker.open(old);
    worker.remove(old);
    worker.show_headers(&mut last, Request::get(ALLOWED));
    assert!(worker.close(last).passed);
}

fn reloads_do_not_grow_the_memory<G: Guest>(worker: &mut Worker<G>) {
    let hosts: Vec<_> = (0..2_000).map(|n| format!("host-{n}.test")).collect();
    let hosts = serde_json::to_string(&hosts).expect("strings are JSON");
    let policy = POLICY.replace(&format!("[\"{ALLOWED}\"]"), &hosts);
    let mut current = worker.configure(&policy);
    assert!(current.accepted, "{:#?}", worker.lines());
    let mut reload = |worker: &mut Worker<G>, times: usize| {
        for _ in 0..times {
            let next = worker.configure(&policy);
            worker.remove(std::mem::replace(&mut current, next));
            assert!(worker.send(current, Request::get("host-7.test")).passed);
        }
        worker.memory_size()
    };

    // Natively there is no memory of the guest's own to measure.
    let (Some(settled), Some(after)) = (reload(worker, 10), reload(worker, 190)) else { return };
    assert!(after * 10 <= settled * 11, "{settled} bytes after 10 reloads, {after} after 200");
}

fn an_allowed_request_goes_on_with_its_stamp<G: Guest>(worker: &mut Worker<G>) {
    let root = worker.configure(POLICY);

    let outcome = worker.send(root, Request::get(ALLOWED).path("/v1").header("accept", "*/*"));

    assert!(outcome.passed);
    assert_eq!(outcome.reply(), None);
    assert_eq!(outcome.headers.values("x-egress-team"), [b"payments"]);
    assert_eq!(outcome.headers.values("accept"), [b"*/*"]);
    assert_eq!(outcome.headers.values(":authority"), [ALLOWED.as_bytes()]);
    assert_eq!(outcome.headers.values(":path"), [b"/v1"]);
}

fn a_stamp_replaces_what_the_caller_sent<G: Guest>(worker: &mut Worker<G>) {
    let root = worker.configure(POLICY);
    let forged = Request::get(ALLOWED)
        .header("x-egress-team", "forged")
        .header("X-Egress-Team", "forged again");

    let outcome = worker.send(root, forged);

    assert_eq!(outcome.headers.values("x-egress-team"), [b"payments"]);
}

fn an_allowed_request_leaves_its_verdict_in_filter_state<G: Guest>(worker: &mut Worker<G>) {
    let root = worker.configure(POLICY);

    let outcome = worker.send(root, Request::get(ALLOWED));

    assert_eq!(outcome.state("egress_decision"), Some("allow"));
    assert_eq!(outcome.state("egress_rule"), Some("a"));
    assert_eq!(outcome.state("egress_reason"), None);
    assert_policy_name(outcome.state("egress_policy"));
    assert_eq!(outcome.filter_state.len(), 3, "{:#?}", outcome.filter_state);
}

/// A policy whose verdict rests on the port.
fn of_port(part: serde_json::Value) -> String {
    let mut policy = json!({
        "policy": "t",
        "default": "deny",
        "rules": [
            {"id": "a", "action": "allow", "to": [{"hosts": [ALLOWED], "ports": [443]}]},
            {"id": "any", "action": "allow", "to": [{"hosts": ["any.test"]}]},
        ],
    });
    for (key, value) in part.as_object().into_iter().flatten() {
        policy[key] = value.clone();
    }
    policy.to_string()
}

fn the_guard_is_left_the_cluster_that_was_judged<G: Guest>(worker: &mut Worker<G>) {
    let root = worker.configure(of_port(json!({})));
    let cluster = ["xds", "cluster_name"];
    let demanded = |worker: &mut Worker<G>, request: Request| {
        let outcome = worker.send(root, request);
        outcome.state("egress_cluster").map(str::to_owned)
    };
    let by = |host: &str, name: &str| Request::get(host).property(&cluster, name);
    let judged = "outbound|443||api.allow.test";
    assert_eq!(demanded(worker, by(ALLOWED, judged)).as_deref(), Some(judged));
    // Also where the rule that is named asks for no port: another may have denied.
    assert_eq!(demanded(worker, by("any.test", "external")).as_deref(), Some("external"));
    // None is one that a route may find later.
    let none = Request::get("api.allow.test:443");
    assert_eq!(demanded(worker, none).as_deref(), Some(""));
    assert_eq!(demanded(worker, by(ALLOWED, "outbound|22||api.allow.test")), None);
    assert_eq!(demanded(worker, by(DENIED, judged)), None);
}

fn what_rests_on_no_port_or_is_not_enforced_leaves_no_cluster<G: Guest>(worker: &mut Worker<G>) {
    let dry_run = json!([
        {"id": "a", "action": "allow", "to": [{"hosts": [ALLOWED]}]},
        {"id": "dry", "action": "deny", "state": "dry-run", "to": [{"ports": [22]}]},
    ]);
    for policy in
        [POLICY.to_owned(), of_port(json!({"mode": "monitor"})), of_port(json!({"rules": dry_run}))]
    {
        let root = worker.configure(&policy);
        let cluster = "outbound|443||api.allow.test";
        let request = Request::get(ALLOWED).property(&["xds", "cluster_name"], cluster);
        let outcome = worker.send(root, request);
        assert!(outcome.passed, "{policy}");
        assert_eq!(outcome.state("egress_cluster"), None, "{policy}");
    }
}

/// Both hosts are allowed, and requests to the first get a credential.
const STAMPING: &str = r#"{
    "policy": "t",
    "rules": [
        {
            "id": "a",
            "action": "allow",
            "to": [{"hosts": ["api.allow.test"]}],
            "stamp": {"set": {"authorization": "Bearer a", "x-egress-team": "payments"}}
        },
        {"id": "b", "action": "allow", "to": [{"hosts": ["b.test"]}]}
    ]
}"#;
const ORIGINAL_URL: &str = "x-envoy-original-url";

/// As Envoy changes a request that it redirects.
fn to_b(request: Request) -> Request {
    request
        .without(":authority")
        .header(":authority", "b.test")
        .header(ORIGINAL_URL, "https://api.allow.test/?token=1")
}

fn a_redirected_request_carries_nothing_that_a_rule_stamped<G: Guest>(worker: &mut Worker<G>) {
    let root = worker.configure(STAMPING);
    let sent = Request::get(ALLOWED).header("authorization", "mine").header("x-other", "1");
    let first = worker.send(root, sent);
    assert_eq!(first.headers.values("authorization"), [b"Bearer a"]);
    assert_eq!(first.headers.values("x-egress-team"), [b"payments"]);

    let second = worker.redirect(root, &first, root, to_b);
    assert!(second.passed);
    for name in ["authorization", "x-egress-team", ORIGINAL_URL] {
        assert_eq!(second.headers.values(name), [b""; 0], "{name}");
    }
    assert_eq!(second.headers.values("x-other"), [b"1"]);
    assert_eq!(second.state("egress_rule"), Some("b"));

    // Back at the first host it is stamped again.
    let third = worker.redirect(root, &second, root, |request| {
        request.without(":authority").header(":authority", ALLOWED).header(ORIGINAL_URL, "b")
    });
    assert_eq!(third.headers.values("authorization"), [b"Bearer a"]);
    assert_eq!(third.headers.values(ORIGINAL_URL), [b""; 0]);
}

/// Other filters than the router send requests elsewhere, too.
fn a_request_is_known_again_without_the_header_of_redirects<G: Guest>(worker: &mut Worker<G>) {
    let root = worker.configure(STAMPING);
    let first = worker.send(root, Request::get(ALLOWED));
    let second = worker.redirect(root, &first, root, |request| to_b(request).without(ORIGINAL_URL));
    assert!(second.passed);
    assert_eq!(second.headers.values("authorization"), [b""; 0]);

    // What passes here for the first time keeps the caller's own.
    let own = worker.send(root, Request::get("b.test").header("authorization", "mine"));
    assert_eq!(own.headers.values("authorization"), [b"mine"]);
}

fn a_redirected_request_that_another_policy_stamped_is_refused<G: Guest>(worker: &mut Worker<G>) {
    let old = worker.configure(STAMPING);
    let first = worker.send(old, Request::get(ALLOWED));
    // It knows nothing of `authorization`.
    let new = worker.configure(POLICY.replace(ALLOWED, "b.test"));
    worker.remove(old);

    let second = worker.redirect(old, &first, new, to_b);
    assert!(!second.passed);
    assert_eq!(second.state("egress_reason"), Some("proxy_error"));
    let said = second.lines.iter().find(|line| line.level == Level::Error);
    assert!(said.is_some_and(|line| line.text.contains("is replaced")), "{:#?}", second.lines);

    // The old policy's own requests are not harmed by it.
    assert!(worker.send(new, Request::get("b.test")).passed);
}

fn a_denied_request_is_answered_and_goes_no_further<G: Guest>(worker: &mut Worker<G>) {
    let root = worker.configure(POLICY);

    let outcome = worker.send(root, Request::get(DENIED).header("x-request-id", "1234"));

    assert!(!outcome.passed);
    assert_eq!(outcome.headers.values("x-egress-team"), [b""; 0]);
    assert_eq!(
        outcome.reply_json(),
        json!({
            "error": "egress_denied",
            "host": DENIED,
            "reason": "default",
            "policy": "t",
            "request_id": "1234",
        })
    );
    let reply = outcome.reply().expect("it was answered");
    assert_eq!(reply.status, 403);
    assert_eq!(reply.grpc_status, None);
    assert!(reply.details.contains("egress_denied"), "{}", reply.details);
    assert!(reply.details.contains("default"), "{}", reply.details);
    assert_eq!(reply.headers.values("content-type"), [b"application/json"]);
}

fn a_denied_request_leaves_its_verdict_in_filter_state<G: Guest>(worker: &mut Worker<G>) {
    let root = worker.configure(POLICY);

    let outcome = worker.send(root, Request::get(DENIED));

    assert_eq!(outcome.state("egress_decision"), Some("deny"));
    assert_eq!(outcome.state("egress_rule"), None);
    assert_eq!(outcome.state("egress_reason"), Some("default"));
    assert_policy_name(outcome.state("egress_policy"));
    assert_eq!(outcome.filter_state.len(), 3, "{:#?}", outcome.filter_state);
}

fn a_denied_grpc_call_gets_permission_denied<G: Guest>(worker: &mut Worker<G>) {
    let root = worker.configure(POLICY);
    let call = Request::get(DENIED).method("POST").header("content-type", "application/grpc+proto");

    let outcome = worker.send(root, call);
    let reply = outcome.reply().expect("it was answered");

    assert_eq!(reply.grpc_status, Some(7));
}

fn a_denied_request_logs_one_line_of_json_as_a_warning<G: Guest>(worker: &mut Worker<G>) {
    let root = worker.configure(POLICY);

    let lines = worker.send(root, Request::get(DENIED).header("x-request-id", "a\"b")).lines;

    assert_eq!(lines.len(), 1, "{lines:#?}");
    assert_eq!(lines[0].level, Level::Warn);
    assert!(!lines[0].text.contains('\n'));
    let record: serde_json::Value = serde_json::from_str(&lines[0].text).expect("it is JSON");
    assert_eq!(record["egress_decision"], "deny");
    assert_eq!(record["egress_reason"], "default");
    assert_eq!(record["host"], DENIED);
    assert_eq!(record["request_id"], "a\"b");
    assert_eq!(worker.send(root, Request::get(ALLOWED)).lines, []);
}

fn lines_under_the_level_of_the_proxy_are_dropped<G: Guest>(worker: &mut Worker<G>) {
    let everything = POLICY.replacen('{', r#"{"log": {"requests": "all"},"#, 1);
    let root = worker.configure(everything);
    assert!(root.accepted, "{:#?}", worker.lines());

    let levels_at = |worker: &mut Worker<G>, level| {
        worker.set_log_level(level);
        let mut lines = worker.send(root, Request::get(ALLOWED)).lines;
        lines.extend(worker.send(root, Request::get(DENIED)).lines);
        lines.iter().map(|line| line.level).collect::<Vec<_>>()
    };

    assert_eq!(levels_at(worker, Level::Info), [Level::Info, Level::Warn]);
    assert_eq!(levels_at(worker, Level::Warn), [Level::Warn]);
    assert_eq!(levels_at(worker, Level::Error), []);
}

fn a_counter_is_defined_once_and_counts_on<G: Guest>(worker: &mut Worker<G>) {
    let root = worker.configure(POLICY);
    assert_eq!(worker.counter("egress_warden.requests.allow.rule").unwrap_or(0), 0);

    for _ in 0..3 {
        worker.send(root, Request::get(ALLOWED));
    }
    worker.send(root, Request::get(DENIED));

    assert_eq!(worker.counter("egress_warden.requests.allow.rule"), Some(3));
    assert_eq!(worker.counter("egress_warden.rule.a.allow"), Some(3));
    assert_eq!(worker.counter("egress_warden.requests.deny.default"), Some(1));
    assert_every_metric_is_defined_once(worker);
}

fn counters_go_on_after_a_reload<G: Guest>(worker: &mut Worker<G>) {
    let old = worker.configure(POLICY);
    worker.send(old, Request::get(DENIED));
    let new = worker.configure(POLICY);
    worker.remove(old);

    worker.send(new, Request::get(DENIED));

    assert_eq!(worker.counter("egress_warden.requests.deny.default"), Some(2));
    assert_every_metric_is_defined_once(worker);
}

fn gauges_show_the_policy_that_was_taken_or_decided_last<G: Guest>(worker: &mut Worker<G>) {
    const HASH: &str = "egress_warden.policy_hash";
    let other = POLICY.replace("api.allow.test", "a.test\", \"b.test");
    let root = worker.configure(POLICY);
    let [policy, of_other] = [POLICY, &other].map(|it| config::read(it.as_bytes()).unwrap());
    let shown =
        [(HASH, policy.hash), ("egress_warden.policy_hosts", 1), ("egress_warden.policy_rules", 1)];
    let shown = shown.map(|(name, value)| (name.to_owned(), value));
    assert_eq!(worker.gauges(), BTreeMap::from(shown.clone()));
    let outcome = worker.send(root, Request::get(ALLOWED));
    assert_eq!(outcome.state("egress_policy"), Some(&*format!("t@{:012x}", policy.hash)));

    assert!(!worker.configure(other.replace("hosts", "host")).accepted);
    assert_eq!(worker.gauges(), BTreeMap::from(shown));

    // Of connections they are apart: a proxy may have both.
    assert!(worker.configure_as("connections", &other).accepted);
    let gauges = worker.gauges();
    assert_eq!(gauges.len(), 6, "{gauges:#?}");
    assert_eq!(gauges[HASH], policy.hash);
    assert_eq!(gauges["egress_warden.connections.policy_hash"], of_other.hash);
    assert_eq!(gauges["egress_warden.connections.policy_hosts"], 2);

    let new = worker.configure(&other);
    assert!(new.accepted);
    assert_eq!(worker.gauges()[HASH], of_other.hash);
    // Envoy configures nothing where it goes back to a root that it kept.
    for (root, hash) in [(root, policy.hash), (new, of_other.hash), (root, policy.hash)] {
        for _ in 0..2 {
            worker.send(root, Request::get(ALLOWED));
            assert_eq!(worker.gauges()[HASH], hash);
        }
    }
    assert_eq!(worker.gauges()["egress_warden.connections.policy_hash"], of_other.hash);
    assert_eq!(worker.counter("egress_warden.rule.a.allow"), Some(5));
    assert_every_metric_is_defined_once(worker);
}

fn assert_every_metric_is_defined_once<G: Guest>(worker: &Worker<G>) {
    let metrics = worker.counters().len() + worker.gauges().len();
    assert_eq!(worker.calls("proxy_define_metric"), metrics as u64);
}

fn header_bytes_that_are_not_utf8_change_nothing<G: Guest>(worker: &mut Worker<G>) {
    let root = worker.configure(POLICY);
    let bytes = b"\x80\xc3\x28\xff";

    let passed = worker.send(root, Request::get(ALLOWED).header("x-bytes", bytes));
    assert!(passed.passed);
    assert_eq!(passed.headers.values("x-bytes"), [bytes]);

    let odd = Request::get(DENIED).path(b"/\xff").header("x-request-id", bytes);
    let denied = worker.send(root, odd.property(&["connection", "requested_server_name"], bytes));
    assert_eq!(denied.state("egress_decision"), Some("deny"));
    assert_eq!(denied.reply_json()["error"], "egress_denied");
    assert_eq!(denied.lines.len(), 1);

    assert!(!worker.send(root, Request::get(b"\xff.allow.test")).passed);
}

fn a_request_without_headers_is_refused<G: Guest>(worker: &mut Worker<G>) {
    let root = worker.configure(POLICY);
    let nothing = [":authority", ":path", ":method", ":scheme"]
        .into_iter()
        .fold(Request::get(ALLOWED), |request, name| request.without(name));

    let outcome = worker.send(root, nothing);

    assert!(!outcome.passed);
    assert_eq!(outcome.state("egress_decision"), Some("deny"));
}

fn a_thousand_headers_change_no_verdict<G: Guest>(worker: &mut Worker<G>) {
    let root = worker.configure(POLICY);
    let removals = worker.calls("proxy_remove_header_map_value");

    assert_same_verdicts(worker, root, |request| {
        (0..1_000).fold(request, |request, n| request.header(format!("x-{n}"), "v"))
    });
    assert_same_verdicts(worker, root, |request| {
        (0..1_000).fold(request, |request, _| request.header("x-egress-team", "forged"))
    });
    assert_same_verdicts(worker, root, |request| {
        let spellings = ["X-Egress-Team", "x_egress_team", "x.egress.team", "x-egress_team"];
        let forged = spellings.into_iter().cycle().take(1_000);
        forged.fold(request, |request, name| request.header(name, "forged"))
    });
    // However often a name stands there, it is removed once.
    assert_eq!(worker.calls("proxy_remove_header_map_value"), removals + 1 + 4);
}

fn headers_of_60_kib_change_no_verdict<G: Guest>(worker: &mut Worker<G>) {
    let root = worker.configure(POLICY);
    let long = "v".repeat(60 << 10);
    for name in ["x-long", "x-egress-team", "x-request-id", "connection", "upgrade", "content-type"]
    {
        assert_same_verdicts(worker, root, |request| request.header(name, &long));
    }
    assert_same_verdicts(worker, root, |request| request.header(long.as_bytes(), "v"));
    assert_same_verdicts(worker, root, |request| request.path(format!("/{long}")));
    assert_same_verdicts(worker, root, |request| {
        request.header("connection", "x-egress-team, ".repeat(4 << 10))
    });
    assert_same_verdicts(worker, root, |request| {
        (0..60).fold(request, |request, n| request.header(format!("x-{n}"), &long[..1 << 10]))
    });
}

fn a_byte_that_is_not_utf8_in_any_header_changes_no_verdict<G: Guest>(worker: &mut Worker<G>) {
    let root = worker.configure(POLICY);
    let names =
        ["x-egress-team", "x-request-id", "connection", "upgrade", "content-type", "cookie"];
    for value in [&b"\xff"[..], b"a\xffb", b"\xc3", b"application/grpc\xff", b"x-egress-team,\xff"]
    {
        for name in names {
            assert_same_verdicts(worker, root, |request| request.header(name, value));
        }
        let in_path = [b"/", value].concat();
        assert_same_verdicts(worker, root, |request| request.path(&in_path));
        let name = [b"x-", value].concat();
        assert_same_verdicts(worker, root, |request| request.header(&name, "v"));
    }
}

/// A request that is allowed and one that is denied are decided, stamped, answered and recorded as
/// without the change.
fn assert_same_verdicts<G: Guest>(
    worker: &mut Worker<G>,
    root: Root,
    change: impl Fn(Request) -> Request,
) {
    for host in [ALLOWED, DENIED] {
        let plain = worker.send(root, Request::get(host));
        let changed = worker.send(root, change(Request::get(host)));

        assert_eq!(changed.passed, plain.passed);
        assert_eq!(changed.filter_state, plain.filter_state);
        assert_eq!(changed.lines.len(), plain.lines.len());
        if plain.passed {
            assert_eq!(changed.headers.values("x-egress-team"), [b"payments"]);
            let aliases = ["x_egress_team", "x.egress.team", "x-egress_team"];
            assert!(aliases.iter().all(|alias| changed.headers.values(alias).is_empty()));
        } else {
            let [plain, changed] = [&plain, &changed].map(|it| it.reply().expect("an answer"));
            assert_eq!((changed.status, &changed.details), (plain.status, &plain.details));
        }
    }
}

/// Envoy never frees a counter. Natively alone: the figure is the library's.
#[test]
fn a_hundred_thousand_hosts_are_counted_by_no_more_counters() {
    fn scenario(worker: &mut Worker<Native>) {
        let root = worker.configure(POLICY.replace("api.allow", "*.allow"));
        worker.set_log_level(Level::Error);
        let send = |worker: &mut Worker<Native>, from: u32, to: u32| {
            for n in from..to {
                assert!(worker.send(root, Request::get(format!("h{n}.allow.test"))).passed);
                assert!(!worker.send(root, Request::get(format!("h{n}.deny.test"))).passed);
            }
            worker.counters().into_keys().collect::<Vec<_>>()
        };
        let counters = send(worker, 0, 1);
        assert_eq!(counters.len(), 3, "{counters:?}");
        assert_eq!(send(worker, 1, 50_000), counters);
        assert_every_metric_is_defined_once(worker);
        assert_eq!(worker.counter("egress_warden.rule.a.allow"), Some(50_000));
    }
    kit::mock::in_a_worker(scenario);
}

fn the_root_id_tells_connections_from_requests<G: Guest>(worker: &mut Worker<G>) {
    // One policy text, one hash, side by side in one VM.
    let requests = worker.configure_as("", POLICY);
    let connections = worker.configure_as("connections", POLICY);
    let other_port = worker.configure_as("connections:8443", POLICY);
    assert!(requests.accepted && connections.accepted && other_port.accepted);

    let request = worker.send(requests, Request::get(ALLOWED));
    let connection = worker.connect(connections, Connection::to(ALLOWED));
    assert!(request.passed && connection.passed);
    assert_eq!(request.state("egress_policy"), connection.state("egress_connection_policy"));
    assert!(worker.connect(other_port, Connection::to(ALLOWED)).passed);
    assert!(!worker.connect(connections, Connection::to(DENIED)).passed);
}

fn the_root_id_tells_which_form_server_names_have<G: Guest>(worker: &mut Worker<G>) {
    let names = worker.configure_as("connections", POLICY);
    let mesh_names = worker.configure_as("connections:mesh-names", POLICY);
    assert!(names.accepted && mesh_names.accepted);

    let mesh_name = format!("outbound_.443_._.{ALLOWED}");
    assert!(worker.connect(names, Connection::to(ALLOWED)).passed);
    assert!(worker.connect(mesh_names, Connection::to(&mesh_name)).passed);
    for (root, name) in [(names, mesh_name.as_str()), (mesh_names, ALLOWED)] {
        let outcome = worker.connect(root, Connection::to(name));
        assert!(!outcome.passed && outcome.closings == 1, "{name}");
        assert_eq!(outcome.state("egress_connection_reason"), Some("malformed"), "{name}");
    }
}

fn a_root_id_that_is_neither_is_refused<G: Guest>(worker: &mut Worker<G>) {
    assert!(worker.configure_as("egress", POLICY).accepted);
    assert_eq!(worker.lines(), []);
    for root_id in [
        "connections:",
        "connections:https",
        "connections:70000",
        "connections-8443",
        "connections:mesh",
        "connections:mesh-names:443",
    ] {
        let root = worker.configure_as(root_id, POLICY);
        assert!(!root.accepted, "{root_id}");
        let line = worker.lines().pop().expect("a line");
        assert_eq!(line.level, Level::Error);
        assert!(line.text.contains(root_id), "{line:?}");
    }
}

const WAYPOINT: &str = "waypoint~10.0.0.9~waypoint-7d4f.egress~egress.svc.cluster.local";

fn the_node_id_tells_a_waypoint_from_a_gateway<G: Guest>(worker: &mut Worker<G>) {
    let cluster = ["xds", "cluster_name"];
    let to = |name: &str| Request::get(ALLOWED).property(&cluster, name);
    for gateway in [
        None,
        Some(""),
        Some("router~10.0.0.9~egress-5c.egress~egress.svc.cluster.local"),
        Some("sidecar~10.0.0.9~waypoint~waypoint~"),
        Some("waypoint"),
    ] {
        worker.set_node_id(gateway);
        let root = worker.configure(POLICY);
        let outcome = worker.send(root, to("inbound-vip|443|http|deny.test"));
        assert!(outcome.passed, "{gateway:?}");
        assert_eq!(outcome.state("egress_cluster"), None, "{gateway:?}");
    }
    worker.set_node_id(Some(WAYPOINT));
    let root = worker.configure(POLICY);
    let outcome = worker.send(root, to("inbound-vip|443|http|deny.test"));
    assert!(!outcome.passed);
    assert_eq!(outcome.state("egress_reason"), Some("destination"));
    assert_eq!(outcome.reply_json()["reason"], "destination");

    // The guard holds every request that passes to the cluster that was judged, whatever the policy asks.
    let judged = "inbound-vip|443|http|api.allow.test";
    let outcome = worker.send(root, to(judged));
    assert!(outcome.passed);
    assert_eq!(outcome.state("egress_cluster"), Some(judged));

    let monitor = worker.configure(POLICY.replacen('{', r#"{"mode": "monitor","#, 1));
    let outcome = worker.send(monitor, to("inbound-vip|443|http|deny.test"));
    assert!(outcome.passed);
    assert_eq!(outcome.state("egress_would_reason"), Some("destination"));
    assert_eq!(outcome.state("egress_cluster"), None);
}

fn connections_at_a_waypoint_are_judged_at_once_by_what_was_dialled<G: Guest>(
    worker: &mut Worker<G>,
) {
    let dialling = |host: &str| {
        let chain = format!("inbound-vip|443|tcp|{host}");
        let caller = "spiffe://cluster.local/ns/shop/sa/web";
        Connection::default()
            .property(&["xds", "filter_chain_name"], chain)
            .property(&["filter_state", "io.istio.peer_principal"], caller)
    };
    worker.set_node_id(Some(WAYPOINT));
    let root = worker.configure_as("connections", POLICY);
    for (host, passes) in [(ALLOWED, true), (DENIED, false)] {
        let stream = worker.begin(root, dialling(host));
        assert_eq!(worker.is_closed(&stream), !passes, "{host}");
        let outcome = worker.close(stream);
        assert_eq!(outcome.passed, passes, "{host}");
        let decision = if passes { "allow" } else { "deny" };
        assert_eq!(outcome.state("egress_connection_decision"), Some(decision), "{host}");
    }
    let named = dialling(DENIED).property(&["connection", "requested_server_name"], ALLOWED);
    let outcome = worker.connect(root, named);
    assert_eq!(outcome.state("egress_connection_reason"), Some("destination"));
}

fn a_root_without_a_policy_refuses_every_connection<G: Guest>(worker: &mut Worker<G>) {
    let root = worker.configure_as("connections", "{}");
    assert!(!root.accepted);

    let outcome = worker.connect(root, Connection::to(ALLOWED));

    assert!(!outcome.passed);
    assert_eq!(outcome.closings, 1);
    assert_eq!(outcome.filter_state, []);
    assert_eq!(worker.counter("egress_warden.connections.deny.no_policy"), Some(1));
}

fn an_allowed_connection_goes_on_with_its_verdict_in_filter_state<G: Guest>(
    worker: &mut Worker<G>,
) {
    let root = worker.configure_as("connections", POLICY);

    let outcome = worker.connect(root, Connection::to(ALLOWED));

    assert!(outcome.passed);
    assert_eq!(outcome.closings, 0);
    assert_eq!(outcome.state("egress_connection_decision"), Some("allow"));
    assert_eq!(outcome.state("egress_connection_rule"), Some("a"));
    assert_policy_name(outcome.state("egress_connection_policy"));
    assert_eq!(outcome.filter_state.len(), 3, "{:#?}", outcome.filter_state);
    assert_eq!(outcome.lines, []);
}

fn a_refused_connection_is_closed_once_and_leaves_its_record<G: Guest>(worker: &mut Worker<G>) {
    let root = worker.configure_as("connections", POLICY);

    let outcome = worker.connect(root, Connection::to(DENIED));

    assert!(!outcome.passed);
    assert_eq!(outcome.closings, 1);
    assert_eq!(outcome.replies, []);
    assert_eq!(outcome.state("egress_connection_decision"), Some("deny"));
    assert_eq!(outcome.state("egress_connection_reason"), Some("default"));
    assert_eq!(outcome.filter_state.len(), 3, "{:#?}", outcome.filter_state);
    let [line] = outcome.lines.as_slice() else { panic!("{:#?}", outcome.lines) };
    assert_eq!(line.level, Level::Warn);
    let record: serde_json::Value = serde_json::from_str(&line.text).expect("a line of JSON");
    assert_eq!(record["requested_server_name"], DENIED);
}

fn rules_that_ask_for_methods_or_paths_are_said_once_where_connections_are_judged<G: Guest>(
    worker: &mut Worker<G>,
) {
    let policy = POLICY.replace(r#""hosts""#, r#""methods": ["GET"], "hosts""#);
    assert!(worker.configure(&policy).accepted);
    assert_eq!(worker.lines(), []);

    let root = worker.configure_as("connections", &policy);
    for _ in 0..3 {
        assert!(!worker.connect(root, Connection::to(ALLOWED)).passed);
    }

    let lines = worker.lines();
    let said: Vec<_> = lines.iter().filter(|line| !line.text.starts_with('{')).collect();
    let [line] = said[..] else { panic!("{lines:#?}") };
    assert_eq!(line.level, Level::Warn);
    assert!(line.text.contains("`a`") && line.text.contains("method"), "{line:?}");
}

fn a_new_root_decides_new_connections<G: Guest>(worker: &mut Worker<G>) {
    let old = worker.configure_as("connections", POLICY);
    let open = worker.make(old, Connection::to(ALLOWED));

    let new = worker.configure_as("connections", POLICY.replace(ALLOWED, "other.test"));
    worker.remove(old);

    assert!(!worker.connect(new, Connection::to(ALLOWED)).passed);
    assert!(worker.connect(new, Connection::to("other.test")).passed);
    // One that is open stays open.
    assert!(worker.close(open).passed);
}

fn connections_have_counters_of_their_own<G: Guest>(worker: &mut Worker<G>) {
    let policy =
        POLICY.replace(r#""action": "allow","#, r#""action": "allow", "state": "retiring","#);
    let root = worker.configure_as("connections", policy);
    worker.connect(root, Connection::to(ALLOWED));
    worker.connect(root, Connection::to(DENIED));
    worker.connect(root, Connection::default());

    let counters = worker.counters();
    let names = ["allow.rule", "deny.default", "deny.malformed", "rule.a.allow", "would.deny"];
    let names = names.map(|name| (format!("egress_warden.connections.{name}"), 1));
    assert_eq!(counters, names.into());
}

fn a_caller_whose_handshake_is_still_to_come_is_waited_for<G: Guest>(worker: &mut Worker<G>) {
    let policy = POLICY.replace(r#""default": "deny","#, r#""identity": "required","#);
    let root = worker.configure_as("connections", policy);
    let made = Connection::to(ALLOWED).property(&["connection", "tls_version"], "TLSv1.3");
    let peer = ["connection", "uri_san_peer_certificate"];

    let outcome = worker.connect(root, made.clone().property(&peer, "spiffe://d/ns/n/sa/a"));
    assert!(outcome.passed, "{outcome:#?}");
    assert_eq!(outcome.state("egress_connection_reason"), Some("rule"));
    assert_eq!(outcome.filter_state.len(), 4, "{:#?}", outcome.filter_state);

    let outcome = worker.connect(root, made);
    assert!(!outcome.passed);
    assert_eq!(outcome.closings, 1);
    assert_eq!(outcome.state("egress_connection_reason"), Some("identity"));
}

/// A connection whose caller is known once its handshake is over.
fn within_tls(server_name: &str) -> Connection {
    Connection::to(server_name).property(&["connection", "tls_version"], "TLSv1.3")
}

fn a_connection_that_waits_is_judged_by_the_policy_in_force<G: Guest>(worker: &mut Worker<G>) {
    let old = worker.configure_as("connections", POLICY);
    let mut waiting = [ALLOWED, "other.test"].map(|name| worker.begin(old, within_tls(name)));
    let standing = worker.make(old, within_tls(ALLOWED));
    let new = worker.configure_as(
        "connections",
        POLICY.replace(ALLOWED, "other.test").replace(r#""policy": "t""#, r#""policy": "new""#),
    );
    assert!(new.accepted);

    waiting.iter_mut().for_each(|stream| worker.speak(stream));

    let outcomes = waiting.map(|stream| worker.close(stream));
    assert_eq!(outcomes.each_ref().map(|it| it.passed), [false, true]);
    for outcome in &outcomes {
        let policy = outcome.state("egress_connection_policy");
        assert!(policy.is_some_and(|it| it.starts_with("new@")), "{policy:?}");
    }
    assert!(worker.close(standing).passed, "a verdict that fell stands");
}

/// While another listener is made ready Envoy begins connections under the old root.
fn where_either_policy_may_be_in_force_both_must_allow<G: Guest>(worker: &mut Worker<G>) {
    let both = POLICY.replace(ALLOWED, &format!(r#"{ALLOWED}", "both.test"#));
    let old = worker.configure_as("connections", both);
    let new =
        worker.configure_as("connections", POLICY.replace(ALLOWED, r#"other.test", "both.test"#));
    assert!(old.accepted && new.accepted);
    for (name, passes) in [(ALLOWED, false), ("other.test", false), ("both.test", true)] {
        assert_eq!(worker.connect(old, within_tls(name)).passed, passes, "{name}");
    }
    // In the clear the verdict falls when the connection begins: the old one is in force there.
    assert!(worker.connect(old, Connection::to(ALLOWED)).passed);
}

fn a_connection_without_a_verdict_is_ended_in_time<G: Guest>(worker: &mut Worker<G>) {
    let root = worker.configure_as("connections", POLICY);
    assert!(!worker.tick(root), "nothing waits");
    let silent = worker.begin(root, within_tls(ALLOWED));
    let mut decided = worker.make(root, within_tls(ALLOWED));
    for second in 1..10 {
        assert!(worker.tick(root), "{second}");
        assert!(!worker.is_closed(&silent), "{second}");
    }
    assert!(worker.tick(root) && worker.is_closed(&silent));
    assert!(!worker.tick(root), "nothing waits any more");
    worker.speak(&mut decided);
    assert!(worker.close(decided).passed);

    let outcome = worker.close(silent);
    assert_eq!(outcome.closings, 1);
    assert_eq!(outcome.state("egress_connection_decision"), Some("deny"));
    assert_eq!(outcome.state("egress_connection_reason"), Some("undecided"));
    assert_policy_name(outcome.state("egress_connection_policy"));
    let [line] = outcome.lines.as_slice() else { panic!("{:#?}", outcome.lines) };
    assert!(line.text.contains(r#""egress_connection_reason":"undecided""#), "{line:?}");
    assert_eq!(worker.counter("egress_warden.connections.deny.undecided"), Some(1));
}

fn no_byte_reaches_a_caller_before_the_verdict<G: Guest>(worker: &mut Worker<G>) {
    let root = worker.configure_as("connections", POLICY);
    let mut silent = worker.begin(root, within_tls(ALLOWED));
    assert!(!worker.hear(&mut silent));
    let outcome = worker.close(silent);
    assert_eq!(outcome.closings, 1);
    assert_eq!(outcome.state("egress_connection_reason"), Some("undecided"));

    let mut decided = worker.make(root, within_tls(ALLOWED));
    assert!(worker.hear(&mut decided));
    assert!(worker.close(decided).passed);
}

fn a_connection_that_ends_undecided_has_its_record<G: Guest>(worker: &mut Worker<G>) {
    let root = worker.configure_as("connections", POLICY);
    let stream = worker.begin(root, within_tls(ALLOWED));
    let outcome = worker.close(stream);
    assert_eq!(outcome.state("egress_connection_decision"), Some("deny"));
    assert_eq!(outcome.state("egress_connection_reason"), Some("undecided"));
    assert_policy_name(outcome.state("egress_connection_policy"));
    assert_eq!(outcome.lines, [], "a probe of a port is no refusal");
    assert_eq!(worker.counter("egress_warden.connections.deny.undecided"), Some(1));
}

/// The module alone has a memory of its own.
#[test]
fn connections_that_stand_keep_no_policy_alive() {
    const NAMES: u64 = 5_000;
    const UPDATES: usize = 60;
    /// At the least.
    const BYTES_OF_A_NAME: u64 = 16;
    fn scenario(worker: &mut Worker<kit::mock::Module>) {
        let policy = |update: usize| {
            let hosts = (0..NAMES).map(|name| format!("{:?}", format!("h{name}.u{update}.test")));
            let hosts = hosts.collect::<Vec<_>>().join(", ");
            POLICY.replace(&format!("{ALLOWED:?}"), &format!("{ALLOWED:?}, {hosts}"))
        };
        let mut held = Vec::new();
        let mut sizes = Vec::new();
        for update in 0..UPDATES {
            // As in Envoy, a root stays while its connections do.
            let root = worker.configure_as("connections", policy(update));
            assert!(root.accepted, "{:#?}", worker.lines());
            held.push(worker.make(root, Connection::to(ALLOWED)));
            held.push(worker.make(root, within_tls(ALLOWED)));
            held.push(worker.begin(root, within_tls(ALLOWED)));
            sizes.push(worker.memory_size().expect("linear memory"));
        }
        // The connections have their memory; a policy that is kept takes more at each update.
        let grown = sizes[UPDATES - 1] - sizes[UPDATES / 2];
        assert!(grown < NAMES * BYTES_OF_A_NAME, "{sizes:?}");
        for mut stream in held {
            worker.speak(&mut stream);
            assert!(worker.close(stream).passed);
        }
    }
    kit::mock::in_a_worker(scenario);
}

/// `t@` and twelve hexadecimal digits.
fn assert_policy_name(name: Option<&str>) {
    let hash = name.and_then(|name| name.strip_prefix("t@")).unwrap_or_default();
    assert_eq!(hash.len(), 12, "{name:?}");
    assert!(hash.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')), "{name:?}");
}
