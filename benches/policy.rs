//! What a decision costs natively, by the number of hosts, and what loading a policy costs.
//!
//! `./build.sh bench native`. Times compare within one run on one machine.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use egress_warden::config;
use egress_warden::policy::{Policy, Request};
use std::hint::black_box;
use std::time::Duration;

const SIZES: [usize; 5] = [10, 1_000, 10_000, 100_000, 1_000_000];

criterion_group! {
    name = benches;
    // Decisions take nanoseconds: this is millions of them.
    config = Criterion::default()
        .warm_up_time(Duration::from_secs(1))
        .measurement_time(Duration::from_secs(2));
    targets = decide, decide_by_caller, load
}
criterion_main!(benches);

/// One request against a list of hosts: parse the authority, decide. The requests go round over
/// many hosts, so that the index is not asked for one cached entry again and again.
fn decide(criterion: &mut Criterion) {
    let exact = |index: usize| format!("h{index}.example.com");
    let wildcard = |index: usize| format!("*.h{index}.example.com");
    let under_wildcard = |index: usize| format!("a.b.h{index}.example.com");
    let unlisted = |index: usize| format!("a.b.u{index}.example.com");
    // Globs that share a suffix, with what tells them apart at the start, in the middle and at the end.
    let glob = |index: usize| format!("h{index}-*.example.com");
    let under_glob = |index: usize| format!("h{index}-x.example.com");
    let glob_in_the_middle = |index: usize| format!("*.h{index}.*.example.com");
    let under_the_middle = |index: usize| format!("a.b.h{index}.x.example.com");
    let glob_anywhere = |index: usize| format!("*-h{index}-*.example.com");
    let under_anywhere = |index: usize| format!("a-h{index}-b.example.com");
    let tree = |index: usize| format!(".h{index}.example.com");
    for (name, host_of, authority_of) in [
        ("exact", &exact as &dyn Fn(usize) -> String, &exact as &dyn Fn(usize) -> String),
        ("wildcard", &wildcard, &under_wildcard),
        ("miss", &exact, &unlisted),
        ("miss among wildcards", &wildcard, &unlisted),
        ("tree", &tree, &under_wildcard),
        ("glob", &glob, &under_glob),
        ("glob, whole labels", &glob_in_the_middle, &under_the_middle),
        ("glob, within a label", &glob_anywhere, &under_anywhere),
        ("miss among globs", &glob, &unlisted),
    ] {
        let mut group = criterion.benchmark_group(format!("decide/{name}"));
        // A million globs take long to load where nothing is optimised.
        let most = if name.contains("glob") { 100_000 } else { 1_000_000 };
        for size in SIZES.into_iter().filter(|size| *size <= most) {
            let policy = load_policy(&text(size, host_of));
            // 7919 is prime to the sizes, so the hosts are spread over the whole list.
            let authorities: Vec<String> =
                (0..4096).map(|round| authority_of(round * 7919 % size)).collect();
            let mut authorities = authorities.iter().cycle();
            group.bench_function(BenchmarkId::from_parameter(size), |bencher| {
                bencher.iter(|| {
                    authorities.next().map(|authority| {
                        policy.decide(&Request::new(black_box(authority.as_bytes()), b"GET"))
                    })
                });
            });
        }
        group.finish();
    }
}

/// One request against rules that ask for a caller and a path: each with its own host, or all with
/// the same one.
fn decide_by_caller(criterion: &mut Criterion) {
    let own = |index: usize| format!("h{index}.example.com");
    let shared = |_: usize| "api.example.com".to_owned();
    for (name, host_of) in
        [("own host", &own as &dyn Fn(usize) -> String), ("shared host", &shared)]
    {
        let mut group = criterion.benchmark_group(format!("decide by caller/{name}"));
        for size in [1, 10_000] {
            let policy = load_policy(&rules_text(size, host_of));
            let requests: Vec<(String, String)> = (0..4096)
                .map(|round| round * 7919 % size)
                .map(|index| (host_of(index), principal(index)))
                .collect();
            let mut requests = requests.iter().cycle();
            group.bench_function(BenchmarkId::from_parameter(size), |bencher| {
                bencher.iter(|| {
                    requests.next().map(|(authority, principal)| {
                        policy.decide(&Request {
                            path: Some(b"/v1/charges?limit=10"),
                            principal: Some(principal),
                            ..Request::new(black_box(authority.as_bytes()), b"GET")
                        })
                    })
                });
            });
        }
        group.finish();
    }
}

/// A policy's JSON text to a policy at work.
fn load(criterion: &mut Criterion) {
    let text = text(100_000, &|index| format!("h{index}.example.com"));
    let mut group = criterion.benchmark_group("load");
    group.sample_size(20);
    group.throughput(Throughput::Elements(100_000));
    group.bench_function("100000 hosts", |bencher| {
        bencher.iter(|| load_policy(black_box(&text)));
    });
    group.finish();
}

/// One allow rule that lists the hosts.
fn text(hosts: usize, host_of: &dyn Fn(usize) -> String) -> String {
    let hosts: Vec<String> = (0..hosts).map(host_of).collect();
    serde_json::json!({
        "policy": "bench",
        "rules": [{ "id": "listed", "action": "allow", "to": [{ "hosts": hosts }] }],
    })
    .to_string()
}

/// One allow rule for each caller.
fn rules_text(rules: usize, host_of: &dyn Fn(usize) -> String) -> String {
    let rule = |index: usize| {
        serde_json::json!({
            "id": format!("r{index}"),
            "action": "allow",
            "from": [{ "principals": [principal(index)] }],
            "to": [{ "hosts": [host_of(index)], "paths": ["/v1/*"] }],
        })
    };
    let rules: Vec<_> = (0..rules).map(rule).collect();
    serde_json::json!({ "policy": "bench", "rules": rules }).to_string()
}

fn principal(index: usize) -> String {
    format!("cluster.local/ns/n{index}/sa/web")
}

fn load_policy(text: &str) -> Policy {
    config::read(text.as_bytes()).expect("a policy without errors").policy
}
