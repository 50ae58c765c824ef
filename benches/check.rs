//! What each warning of `egress-warden check` costs on large policies: the time for a policy that has it as
//! often as it can, at 1,000, 30,000 and 1,000,000 hosts, ids or paths.
//!
//! `./build.sh bench check` runs it. The policies lie in the build's own folder meanwhile. Figures compare on
//! one machine that has nothing else to do.

use serde_json::{Value, json};
use std::io::Read;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// A policy has so many rules at most, and an entry one item of each.
const MAX_RULES: usize = 100_000;

fn main() -> std::io::Result<()> {
    // `cargo test` only asks whether the benchmark works.
    let is_measured = std::env::args().any(|argument| argument == "--bench");
    let sizes: &[usize] = if is_measured { &[1_000, 30_000, 1_000_000] } else { &[1_000] };
    println!("{:<26}{}", "warning", sizes.iter().map(|it| format!("{it:>14}")).collect::<String>());
    let policy = Path::new(env!("CARGO_TARGET_TMPDIR")).join("check.json");
    for (kind, flags, rules) in WARNINGS {
        let mut times = String::new();
        for size in sizes {
            // Some less than the limit, so that what stands beside it has room.
            let rules = rules(size - size / 1_000);
            let text = json!({
                "policy": "large", "default": "deny", "mode": mode(kind), "sni": server_name(kind),
                "rules": rules,
            });
            std::fs::write(&policy, text.to_string())?;
            let (time, told) = check(&policy, flags)?;
            let count = told.matches(&format!("\"kind\":\"{}\"", word(kind))).count();
            assert!((count > 0) == (kind != "none"), "{kind}: {count} at {size}: {told:.2000}");
            times.push_str(&format!("{:>12.2} s", time.as_secs_f64()));
        }
        println!("{kind:<26}{times}");
    }
    std::fs::remove_file(policy)
}

/// How long it took, and what it said.
fn check(policy: &Path, flags: &[&str]) -> std::io::Result<(Duration, String)> {
    let start = Instant::now();
    let mut tool = Command::new(env!("CARGO_BIN_EXE_egress-warden"))
        .args(["check", "--format", "json", "--at", "2026-06-01T00:00:00Z"])
        .args(flags)
        .arg(policy)
        .stdout(Stdio::piped())
        .spawn()?;
    let mut told = String::new();
    if let Some(output) = &mut tool.stdout {
        output.read_to_string(&mut told)?;
    }
    let status = tool.wait()?;
    let time = start.elapsed();
    assert!(status.success(), "{status}: {told:.2000}");
    Ok((time, told))
}

/// Some words stand for two warnings.
fn word(kind: &str) -> &str {
    kind.split(' ').next().unwrap_or_default()
}

fn mode(kind: &str) -> &'static str {
    if kind == "never-matches (state)" { "monitor" } else { "enforce" }
}

fn server_name(kind: &str) -> &'static str {
    if kind == "at-waypoint" { "match" } else { "ignore" }
}

type Rules = fn(usize) -> Value;

/// The kind, what `check` is told of the listener, and rules of so many items that have it.
const WARNINGS: [(&str, &[&str], Rules); 35] = [
    ("none", &[], |size| json!([allow(json!({ "hosts": all(size, host) }))])),
    ("all-addresses", &[], |size| json!([allow(json!({ "hosts": all(size, |_| "::/0".into()) }))])),
    ("allow-without-ports", &["--dynamic-forward-proxy"], |size| {
        let deny = json!([{ "notPorts": [443], "methods": ["PUT"] }]);
        json!([
            rule("deny", "d", deny),
            rule("allow", "a", all(size, |it| json!({ "hosts": [host(it)] })))
        ])
    }),
    ("always-denied", &[], |size| {
        let hosts = all(size / 2, host);
        json!([
            rule("deny", "d", json!([{ "hosts": hosts }])),
            rule("allow", "a", json!([{ "hosts": hosts }, { "hosts": ["x.test"] }])),
        ])
    }),
    ("always-denied (entries)", &[], |size| {
        let entries = all(size / 2, |it| json!({ "hosts": [host(it)], "ports": [443] }));
        json!([
            rule("deny", "d", entries.clone()),
            rule("allow", "a", entries),
            rule("allow", "b", json!([{ "hosts": ["x.test"] }])),
        ])
    }),
    ("always-denied (rules)", &[], |size| {
        let rules = (size / 2).min(MAX_RULES / 2);
        let of = |action: &str, prefix: &str| -> Vec<Value> {
            let hosts = |at: usize| {
                let hosts: Vec<_> = (at..size / 2).step_by(rules).map(host).collect();
                rule(action, &format!("{prefix}{at}"), json!([{ "hosts": hosts }]))
            };
            (0..rules).map(hosts).collect()
        };
        [of("deny", "d"), of("allow", "a")].concat().into()
    }),
    ("always-denied (globs)", &[], |size| {
        json!([
            rule("deny", "d", json!([{ "hosts": all(size / 2, glob) }])),
            rule(
                "allow",
                "a",
                json!([{ "hosts": all(size / 2, of_glob) }, { "hosts": ["x.test"] }])
            ),
        ])
    }),
    ("at-waypoint", &["--waypoint"], |size| json!([allow(json!({ "hosts": all(size, host) }))])),
    ("confusable", &[], |size| {
        let hosts = |letter: &str| {
            let letter = letter.to_owned();
            (0..size / 2).map(move |it| Value::from(format!("b{it}{letter}.example")))
        };
        json!([allow(json!({ "hosts": hosts("1").chain(hosts("l")).collect::<Value>() }))])
    }),
    ("deny-ends", &[], |size| timed(size, "deny", "2028-01-01T00:00:00Z")),
    ("ended", &[], |size| timed(size, "allow", "2026-01-01T00:00:00Z")),
    ("ends-soon", &[], |size| timed(size, "allow", "2026-06-09T00:00:00Z")),
    ("equal-hosts", &[], |size| json!([allow(json!({ "hosts": all(size, |it| host(it / 2)) }))])),
    ("equal-items", &[], |size| {
        json!([allow(json!({ "paths": all(size, |it| format!("/p{}", it / 2).into()) }))])
    }),
    ("from-without-mutual-tls", &["--no-mutual-tls"], |size| {
        from(all(size, |it| json!({ "namespaces": [format!("n{it}")] })))
    }),
    ("in-tree", &[], |size| {
        let hosts = all(size, |it| match it % 2 {
            0 => format!(".{}", name(it)).into(),
            _ => format!("*.{}", name(it - 1)).into(),
        });
        json!([allow(json!({ "hosts": hosts }))])
    }),
    ("large", &[], |size| {
        let length = if size < 30_000 { 300 } else { 10 };
        let path = |it| format!("/{}{it}", "a".repeat(length)).into();
        json!([allow(json!({ "paths": all(size, path) }))])
    }),
    ("literal-method", &[], |size| {
        json!([allow(json!({ "methods": all(size, |it| format!("GET|M{it}").into()) }))])
    }),
    ("literal-pattern", &[], |size| {
        json!([allow(json!({ "paths": all(size, |it| format!("/p{it}/:id").into()) }))])
    }),
    ("local-domain", &[], |size| {
        from(
            json!([{ "principals": all(size, |it| format!("cluster.local/ns/n/sa/s{it}").into()) }]),
        )
    }),
    ("mixed-script", &[], |size| {
        let hosts = all(size, |it| format!("xn--pypl-53dc.{}", name(it)).into());
        json!([allow(json!({ "hosts": hosts }))])
    }),
    ("name-and-wildcard", &[], |size| {
        let hosts = all(size, |it| match it % 2 {
            0 => name(it).into(),
            _ => format!("*.{}", name(it - 1)).into(),
        });
        json!([allow(json!({ "hosts": hosts }))])
    }),
    ("namespaces-without-domain", &[], |size| {
        from(all(size, |it| match it % 2 {
            0 => json!({ "principals": [format!("td{it}.example/ns/n/sa/s")] }),
            _ => json!({
                "namespaces": [format!("n{it}")],
                "notPrincipals": ["td0.example/*", format!("td{}.example/*", it - 1)],
            }),
        }))
    }),
    ("never-matches", &[], |size| {
        let hosts = all(size / 2, |it| format!("*.{}", name(it)).into());
        json!([allow(json!({ "hosts": hosts, "notHosts": hosts }))])
    }),
    ("never-matches (globs)", &[], |size| {
        let entry = json!({ "hosts": all(size / 2, of_glob), "notHosts": all(size / 2, glob) });
        json!([allow(entry)])
    }),
    ("never-matches (entries)", &[], |size| {
        let entry = |it| json!({ "hosts": [host(it)], "ports": [80], "notPorts": [80] });
        json!([rule("allow", "a", all(size, entry))])
    }),
    ("never-matches (callers)", &[], |size| {
        let principals = all(size / 2, |it| format!("td/ns/n{it}/sa/s").into());
        let accounts = all(size / 2, |it| format!("m{it}/s").into());
        from(json!([{ "principals": principals, "serviceAccounts": accounts }]))
    }),
    ("never-matches (state)", &[], |size| {
        let mut rules = in_rules(size, "allow");
        rules.iter_mut().for_each(|rule| rule["state"] = "retiring".into());
        rules.into()
    }),
    ("not-uts46", &[], |size| {
        json!([allow(json!({ "hosts": all(size, |it| format!("xn--u-ccb.{}", name(it)).into()) }))])
    }),
    ("never-matches (waypoint)", &["--waypoint"], |size| {
        let entry =
            |it: usize| json!({ "hosts": [format!("203.{}.{}.0/24", it / 256 % 256, it % 256)] });
        json!([rule("allow", "a", all(size, entry))])
    }),
    ("open-apex", &[], |size| {
        let wildcards = all(size / 2, |it| format!("*.{}", name(it)).into());
        json!([
            rule("deny", "d", json!([{ "hosts": wildcards }])),
            allow(json!({ "hosts": all(size / 2, host) })),
        ])
    }),
    ("open-apex (globs)", &[], |size| {
        let below = |it| format!("*.bad{it}-b.a.example").into();
        json!([
            rule("deny", "d", json!([{ "hosts": all(size / 2, below) }])),
            allow(json!({ "hosts": all(size / 2, glob) })),
        ])
    }),
    ("public-suffix", &[], |size| {
        json!([allow(json!({ "hosts": all(size, |it| format!("*.b{it}.ck").into()) }))])
    }),
    ("same-rules", &[], |size| {
        let halves = [in_rules(size / 2, "allow"), in_rules(size / 2, "allow")];
        let mut rules = halves.concat();
        for (rule, number) in rules.iter_mut().zip(0..) {
            rule["id"] = format!("r{number}").into();
        }
        rules.into()
    }),
    ("unseen-in-tls", &["--connections"], |size| {
        let entry = |it| json!({ "hosts": [host(it)], "methods": ["GET"] });
        json!([rule("allow", "a", all(size, entry))])
    }),
];

fn name(number: usize) -> String {
    format!("bad{number}.example")
}

fn host(number: usize) -> Value {
    name(number).into()
}

/// Globs that share a suffix.
fn glob(number: usize) -> Value {
    format!("bad{number}-*.a.example").into()
}

/// A name that the glob of this number matches, and no other.
fn of_glob(number: usize) -> Value {
    format!("bad{number}-b.a.example").into()
}

fn all(size: usize, item: impl Fn(usize) -> Value) -> Value {
    (0..size).map(item).collect()
}

fn rule(action: &str, id: &str, to: Value) -> Value {
    json!({ "id": id, "action": action, "to": to })
}

fn allow(entry: Value) -> Value {
    rule("allow", "a", json!([entry]))
}

/// One rule with these callers.
fn from(from: Value) -> Value {
    json!([{ "id": "a", "action": "allow", "from": from, "to": [{ "hosts": ["a.test"] }] }])
}

/// So many hosts in as many rules as there may be, half of that where others stand beside them.
fn in_rules(size: usize, action: &str) -> Vec<Value> {
    let rules = size.min(MAX_RULES / 2);
    let hosts = |at: usize| {
        let hosts: Vec<_> = (at..size).step_by(rules).map(host).collect();
        rule(action, &format!("r{at}"), json!([{ "hosts": hosts }]))
    };
    (0..rules).map(hosts).collect()
}

fn timed(size: usize, action: &str, until: &str) -> Value {
    let mut rules = in_rules(size, action);
    rules.iter_mut().for_each(|rule| rule["until"] = until.into());
    rules.into()
}
