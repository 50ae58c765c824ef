//! What a request or a connection costs, in figures that no noise moves: host calls, instructions, memory.
//!
//! Calls are compared exactly: each crossing between proxy and VM costs about as much as the whole
//! decision. Instructions and memory are those of the module that is shipped, as the pinned
//! toolchain makes it, instructions by the engine's fuel: it counts a block as it is entered, so a
//! block that is left early costs all of it. They may differ from the committed figures by a twentieth: what was won is
//! committed anew, so that it is not lost in the margin.
#![cfg(not(target_family = "wasm"))]

use kit::mock::{Connection, Guest, Module, Request, Root, Worker, in_a_worker};
use serde_json::{Value, json};
use std::collections::BTreeMap;

kit::scenarios![
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
            ("proxy_add_header_map_value", 3),
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
        ("1 host", whole_job(1, &exact), Request::get("h0.example.com"), 25_351),
        ("10,000 hosts", whole_job(ten_thousand, &exact), listed.clone(), 25_894),
        ("10,000 wildcards", whole_job(ten_thousand, &wildcard), deep, 27_390),
        ("10,000 rules for callers of one host", callers, called, 45_461),
        ("10,000 hosts, denied", denied, listed, 64_834),
    ]
    .map(|(name, policy, request, committed)| (name, spent_on(&policy, request), committed));
    assert_committed(&figures);
}

/// Of many globs under one suffix only those are compared with a host that have a run of its bytes.
#[test]
fn globs_that_share_a_suffix_do_not_add_up() {
    let middle = |index: usize| format!("*.h{index}.*.example.com");
    let start = |index: usize| format!("h{index}-*.example.com");
    let within = |index: usize| format!("*-h{index}-*.example.com");
    let between = |index: usize| format!("a-*-h{index}-*-b.example.com");
    let figures = [
        (
            "1 glob, whole labels",
            1,
            &middle as &dyn Fn(usize) -> String,
            "a.h0.b.example.com",
            33_466,
        ),
        ("100,000 of them", 100_000, &middle, "a.h54321.b.example.com", 34_797),
        ("1 glob, the start of a label", 1, &start, "h0-a.example.com", 31_431),
        ("100,000 of them", 100_000, &start, "h54321-a.example.com", 38_248),
        ("1 glob, within a label", 1, &within, "a-h0-b.example.com", 35_733),
        ("100,000 of them", 100_000, &within, "a-h54321-b.example.com", 60_986),
        ("1 glob, between equal ends", 1, &between, "a-x-h0-y-b.example.com", 34_879),
        ("100,000 of them", 100_000, &between, "a-x-h54321-y-b.example.com", 80_128),
    ]
    .map(|(name, globs, glob, host, committed)| {
        (name, spent_on(&whole_job(globs, glob), Request::get(host)), committed)
    });
    assert_committed(&figures);
}

/// What one template, one encoded slash and one parameter cost, beside a path that is written out.
#[test]
fn instructions_of_paths_and_queries() {
    let asking = |key: &str, value: Value| {
        let mut policy = whole_job(1, &exact);
        policy["rules"][0]["to"][0][key] = value;
        policy
    };
    let request = Request::get("h0.example.com").path("/repos/acme/git?service=a&depth=1");
    let figures = [
        ("an exact path", asking("paths", json!(["/repos/acme/git"])), 31_579),
        ("a template", asking("paths", json!(["/repos/{*}/git"])), 34_383),
        (
            "an encoded slash beside it",
            asking("paths", json!(["/repos/{*}/git", "/a%2fb"])),
            38_655,
        ),
        ("a parameter", asking("query", json!({"service": ["a"]})), 57_653),
    ]
    .map(|(name, policy, committed)| (name, spent_on(&policy, request.clone()), committed));
    assert_committed(&figures);
}

/// The fuel of one request that was sent before.
fn spent_on(policy: &Value, request: Request) -> u64 {
    let text = policy.to_string();
    in_a_worker::<Module, _>(|worker| {
        let root = worker.configure(text);
        spent_by_the_second(worker, |worker| {
            worker.send(root, request.clone());
        })
    })
}

#[test]
fn instructions_per_connection() {
    let figures = [
        ("1 name", 1, "h0.example.com", 26_261),
        ("10,000 names", 10_000, "h4321.example.com", 26_789),
        ("10,000 names, refused", 10_000, "unlisted.example.com", 25_195),
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

/// What one caller can make large, and what one author can.
struct Pair {
    name: &'static str,
    policy: fn(usize) -> Value,
    /// How many rules or stamps are few, and how many are many.
    sizes: (usize, usize),
    small: Request,
    large: Request,
    /// The figure of the large request under the large policy.
    committed: u64,
}

/// The large request under the large policy costs what it costs under the small one, and what the
/// small request costs under the large one: a sum, and never the product.
#[test]
fn what_a_caller_sends_and_what_an_author_wrote_do_not_multiply() {
    let figures: Vec<_> = pairs()
        .into_iter()
        .map(|Pair { name, policy, sizes: (few, many), small, large, committed }| {
            let [least, by_caller, by_author, both] =
                [(few, &small), (few, &large), (many, &small), (many, &large)].map(
                    |(size, request)| {
                        in_a_worker::<Module, _>(|worker| {
                            let root = worker.configure(policy(size).to_string());
                            assert!(root.accepted, "{name}");
                            spent_by_the_second(worker, |worker| {
                                worker.send(root, request.clone());
                            })
                        })
                    },
                );
            let sum = (by_caller + by_author).saturating_sub(least);
            assert!(both <= sum + sum / 4, "{name}: {both} is over {by_caller} + {by_author}");
            (name, both, committed)
        })
        .collect();
    assert_committed(&figures);
}

fn pairs() -> Vec<Pair> {
    let get = || Request::get("a.test");
    let long = |byte: &str| byte.repeat(50_000);
    let called_by = |principal: String| {
        let path = ["connection", "uri_san_peer_certificate"];
        Request::get(deep_host()).property(&path, format!("spiffe://{principal}"))
    };
    let caller = || called_by("d/ns/n/sa/a".to_owned());
    let stamped = || get().header("x-sent", "forged");
    let aliases = |count: usize| {
        const BYTES: [u8; 15] = *b"-_.!#$%&'*+^`|~";
        // Every one is another name, and an alias of x-0-0-0-0.
        let name = |index: usize| {
            let byte = |place: u32| char::from(BYTES[index / 15_usize.pow(place) % 15]);
            format!("x{}0{}0{}0{}0", byte(0), byte(1), byte(2), byte(3))
        };
        (0..count).fold(get(), |request, index| request.header(name(index), "forged"))
    };
    vec![
        Pair {
            name: "path, prefixes",
            policy: |rules| asking(rules, &|index| json!({"paths": [format!("/r{index}/*")]})),
            sizes: (100, 10_000),
            small: get().path("/x"),
            large: get().path(format!("/x{}", long("a"))),
            committed: 20_896_500,
        },
        Pair {
            name: "path in two readings, exact paths",
            policy: |rules| asking(rules, &|index| json!({"paths": [format!("/r{index}")]})),
            sizes: (10, 1_000),
            small: get().path("/x%61"),
            large: get().path(format!("/x{}", "%61".repeat(16_000))),
            committed: 8_576_883,
        },
        Pair {
            name: "path, suffixes that are not to be",
            policy: |rules| asking(rules, &|index| json!({"notPaths": [format!("*.r{index}")]})),
            sizes: (10, 1_000),
            small: get().path("/x"),
            large: get().path(format!("/x{}", long("/"))),
            committed: 14_951_398,
        },
        Pair {
            name: "labels of the host, wildcards that are not to be",
            policy: |rules| {
                let wildcards = |index| json!({"notHosts": [format!("*.n{index}.test")]});
                asking(rules, &wildcards)
            },
            sizes: (10, 1_000),
            small: Request::get("a.a.a.test"),
            large: Request::get(deep_host()),
            committed: 2_086_164,
        },
        Pair {
            name: "caller, exact and suffixes",
            policy: |rules| {
                from(
                    rules,
                    &|index| json!({"principals": [format!("*/sa/s{index}"), format!("d/ns/n{index}/sa/a")]}),
                )
            },
            sizes: (10, 1_000),
            small: caller(),
            large: called_by(format!("d/ns/n/sa/{}", long("a"))),
            committed: 2_993_349,
        },
        Pair {
            name: "namespace, exact and prefixes",
            policy: |rules| {
                from(
                    rules,
                    &|index| json!({"namespaces": [format!("n{index}*"), format!("m{index}")]}),
                )
            },
            sizes: (10, 1_000),
            small: caller(),
            large: called_by(format!("d/ns/{}/sa/a", long("n"))),
            committed: 3_242_677,
        },
        Pair {
            name: "directories of the caller, hosts with many callers",
            policy: callers_of_every_suffix,
            sizes: (1, 60),
            small: called_by(format!("d/ns/{}", "n/".repeat(10))),
            large: called_by(format!("d/ns/{}", "n/".repeat(25_000))),
            committed: 3_056_731,
        },
        Pair {
            name: "method, methods",
            policy: |rules| asking(rules, &|index| json!({"methods": [format!("M{index}")]})),
            sizes: (10, 1_000),
            small: get().method("X"),
            large: get().method(&long("X")),
            committed: 3_110_051,
        },
        Pair {
            name: "tokens of Connection, stamps",
            policy: stamping,
            sizes: (1, 64),
            small: stamped().header("connection", "x-0-0-0-0"),
            large: stamped()
                .header("connection", format!("x-0-0-0-0{}", ",x-9-9-9-9".repeat(5_000))),
            committed: 5_532_449,
        },
        Pair {
            name: "empty tokens of Connection, stamps",
            policy: stamping,
            sizes: (1, 64),
            small: stamped().header("connection", "x-0-0-0-0"),
            large: stamped().header("connection", format!("x-0-0-0-0{}", long(","))),
            committed: 2_776_823,
        },
        Pair {
            name: "headers under aliases, stamps",
            policy: stamping,
            sizes: (1, 64),
            small: aliases(1),
            large: aliases(1_000),
            committed: 6_182_006,
        },
        Pair {
            name: "request id, values that hold it",
            policy: |stamps| {
                let value = "{request_id}".repeat(300);
                let set = (0..stamps).map(|stamp| (format!("x-{stamp}"), json!(value)));
                json!({
                    "policy": "bench",
                    "default": "allow",
                    "stamp": {"set": set.collect::<serde_json::Map<_, _>>()},
                    "log": {"requests": "none"},
                })
            },
            sizes: (1, 64),
            small: get().header("x-request-id", "a"),
            large: get().header("x-request-id", long("a")),
            committed: 816_114,
        },
    ]
}

/// So many allow rules for one host and all below it, of which each asks for more.
fn asking(rules: usize, more: &dyn Fn(usize) -> Value) -> Value {
    let entry = |index| {
        let mut entry = more(index);
        entry["hosts"] = json!(["a.test", "*.a.test"]);
        entry
    };
    let rule = |index| json!({"id": format!("r{index}"), "action": "allow", "to": [entry(index)]});
    rules_of((0..rules).map(rule).collect())
}

/// So many allow rules for every host, each for callers of its own.
fn from(rules: usize, source: &dyn Fn(usize) -> Value) -> Value {
    let rule =
        |index| json!({"id": format!("r{index}"), "action": "allow", "from": [source(index)]});
    rules_of((0..rules).map(rule).collect())
}

/// Ten rules for callers under each of so many wildcards, every one of which covers [`deep_host`].
fn callers_of_every_suffix(wildcards: usize) -> Value {
    let host = |labels: usize| format!("*.{}a.test", "a.".repeat(labels));
    let rule = |index: usize| {
        let directory = format!("d/ns/{}*", "n/".repeat(index % 10));
        json!({
            "id": format!("r{index}"),
            "action": "allow",
            "from": [{"principals": [directory], "notPrincipals": ["d/*"]}],
            "to": [{"hosts": [host(index / 10)]}],
        })
    };
    rules_of((0..10 * wildcards).map(rule).collect())
}

fn rules_of(rules: Vec<Value>) -> Value {
    json!({"policy": "bench", "rules": rules, "log": {"requests": "none"}})
}

/// A name of 120 labels.
fn deep_host() -> String {
    format!("{}test", "a.".repeat(119))
}

/// As many stamps as a policy and a rule can have, or fewer.
fn stamping(stamps: usize) -> Value {
    let names = |first: usize| (0..stamps).map(move |index| format!("x-{first}-{index}"));
    let set = |first| {
        let fixed = [("x-0-0-0-0".to_owned(), json!("ours"))];
        let more = names(first).skip(1).map(|name| (name, json!("ours")));
        fixed.into_iter().chain(more).collect::<serde_json::Map<_, _>>()
    };
    let remove = |first| names(first).collect::<Vec<_>>();
    json!({
        "policy": "bench",
        "rules": [{
            "id": "all",
            "action": "allow",
            "to": [{"hosts": ["a.test"]}],
            "stamp": {"set": set(10), "remove": remove(20)},
        }],
        "stamp": {"set": set(30), "remove": remove(40)},
        "log": {"requests": "none"},
    })
}

/// The entries of one rule: those of `to` that match, each of which needs a caller.
#[test]
fn entries_of_to_and_of_from_do_not_multiply() {
    let policy = |to: usize, from: usize| {
        let sources = (0..from).map(|index| json!({"principals": [format!("*/s{index}")]}));
        let entries = (0..to).map(
            |index| json!({"hosts": ["a.test", "*.a.test"], "notPaths": [format!("/r{index}")]}),
        );
        rules_of(vec![json!({
            "id": "all",
            "action": "allow",
            "from": sources.collect::<Vec<_>>(),
            "to": entries.collect::<Vec<_>>(),
        })])
    };
    let request = Request::get("a.a.test")
        .property(&["connection", "uri_san_peer_certificate"], "spiffe://d/ns/n/sa/a");
    let [least, by_to, by_from, both] =
        [(1, 1), (300, 1), (1, 300), (300, 300)].map(|(to, from)| {
            in_a_worker::<Module, _>(|worker| {
                let root = worker.configure(policy(to, from).to_string());
                assert!(root.accepted);
                spent_by_the_second(worker, |worker| {
                    worker.send(root, request.clone());
                })
            })
        });
    let sum = (by_to + by_from).saturating_sub(least);
    assert!(both <= sum + sum / 4, "{both} is over {by_to} + {by_from}");
    assert_committed(&[("300 entries of to, 300 of from", both, 570_697)]);
}

/// A team with a thousand rules for eight callers each, for each of many hosts of its own.
#[test]
fn rules_of_one_team_leave_the_hosts_of_others_as_cheap() {
    let rule = |id: String, source: Value, to: Value| json!({"id": id, "action": "allow", "from": [source], "to": to});
    let others = (0..2_000).map(|index| {
        let source = json!({"namespaces": [format!("n{index}")]});
        rule(format!("o{index}"), source, json!([{"hosts": ["*.shared.test"]}]))
    });
    let own_hosts: Vec<_> = (0..140).map(|index| format!("h{index}.a.test")).collect();
    let team = (0..1_000).map(|index| {
        let principals: Vec<_> = (0..8).map(|key| format!("d/ns/a/sa/{index}-{key}")).collect();
        let to = match index {
            // So that no two of the hosts have the same candidates.
            0 => own_hosts.iter().map(|host| json!({"hosts": [host]})).collect(),
            _ => json!([{"hosts": own_hosts}]),
        };
        rule(format!("a{index}"), json!({"principals": principals}), to)
    });
    let request = Request::get("x.shared.test")
        .property(&["connection", "uri_san_peer_certificate"], "spiffe://d/ns/n7/sa/web");
    let [without, with] =
        [others.clone().collect::<Vec<_>>(), team.chain(others).collect()].map(|rules| {
            in_a_worker::<Module, _>(|worker| {
                let root = worker.configure(rules_of(rules).to_string());
                assert!(root.accepted);
                spent_by_the_second(worker, |worker| {
                    worker.send(root, request.clone());
                })
            })
        });
    assert_committed(&[
        ("2,000 rules for callers of one host", without, 42_864),
        ("the same beside a team's rules for its own hosts", with, 43_064),
    ]);
}

/// Whoever writes a policy can make hosts that all hash to one place.
#[test]
fn hosts_that_are_aimed_at_one_place_cost_little_more_than_others() {
    let figures = [
        ("100,000 hosts", (0..100_000).map(exact).collect::<Vec<_>>(), 26_025),
        ("100,000 hosts aimed at one place", hosts_in_one_place(100_000), 39_930),
    ]
    .map(|(name, hosts, committed)| {
        let policy = whole_job(hosts.len(), &|index| hosts[index].clone()).to_string();
        in_a_worker::<Module, _>(|worker| {
            let before = worker.fuel_spent().expect("the engine counts");
            let root = worker.configure(&policy);
            assert!(root.accepted);
            let loading = worker.fuel_spent().expect("the engine counts") - before;
            let last = hosts.last().expect("a host");
            let looking_up = spent_by_the_second(worker, |worker| {
                worker.send(root, Request::get(last));
            });
            (name, loading, looking_up, committed)
        })
    });
    let [(_, plain, ..), (_, aimed, ..)] = figures;
    assert!(aimed < 3 * plain, "loading costs {aimed} where they are aimed, else {plain}");
    assert_committed(
        &figures.map(|(name, _, looking_up, committed)| (name, looking_up, committed)),
    );
}

/// Names in one sixteenth of a table's places, by the hash of `src/key_table.rs`. With another hash
/// they would be spread, and the figure of a look-up another.
fn hosts_in_one_place(count: usize) -> Vec<String> {
    const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;
    let mix = |state: u64, word: u64| (state.rotate_left(23) ^ word).wrapping_mul(FACTOR);
    let with = |state: u64, label: &str| {
        let (words, rest) = label.as_bytes().as_chunks::<8>();
        let state = words.iter().fold(state, |state, word| mix(state, u64::from_le_bytes(*word)));
        let last = rest.iter().rfold(label.len() as u64, |last, byte| last << 8 | u64::from(*byte));
        mix(state, last)
    };
    let place = |state: u64| (state ^ (state >> 32)).wrapping_mul(FACTOR) >> 60;
    let above = with(with(0, "com"), "example");
    let labels = (0_u32..).map(|index| format!("h{index}"));
    let aimed = labels.filter(|label| place(with(above, label)) == 0);
    aimed.take(count).map(|label| format!("{label}.example.com")).collect()
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
        ("KiB after 20 reloads", reloaded >> 10, 16_000),
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
