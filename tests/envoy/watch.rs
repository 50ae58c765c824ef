//! `egress-warden watch` on real Envoys: what it counts is what was sent, by the counters of each shell and by the access
//! log, and a proxy that is started again has no negative rate.

use anyhow::{Context as _, Result, ensure};
use envoy_kit::bootstrap::Bootstrap;
use envoy_kit::call::Call;
use envoy_kit::on_each_shell;
use envoy_kit::process::Envoy;
use envoy_kit::testbed::Testbed;
use serde_json::{Value, json};
use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// How long the tool may take on a machine with much else to do.
const PATIENCE: Duration = Duration::from_secs(60);

on_each_shell![what_is_watched_is_what_was_sent];

async fn what_is_watched_is_what_was_sent(testbed: &Testbed) -> Result<()> {
    let mut bootstrap = Bootstrap::gateway()?;
    bootstrap.set_policy(json!({
        "policy": "test",
        "rules": [
            {"id": "allow-it", "action": "allow", "to": [{"hosts": ["allowed.example"]}]},
            {"id": "no-admin", "action": "deny", "to": [{"hosts": ["allowed.example"], "paths": ["/no"]}]},
            {"id": "closing", "action": "deny", "state": "dry-run", "to": [{"hosts": ["allowed.example"], "methods": ["POST"]}]},
        ],
    }))?;
    let (gateway, _external) = testbed.gateway(bootstrap).await?;
    let admin = format!("http://{}", gateway.admin());
    let mut watching = Command::new(kit::tool())
        .args(["watch", "--admin", &admin, "--interval", "1", "--format", "json"])
        .stdout(Stdio::piped())
        .spawn()?;
    let mut pictures = BufReader::new(watching.stdout.take().context("a pipe")?).lines();
    let mut next =
        || -> Result<Value> { Ok(serde_json::from_str(&pictures.next().context("a picture")??)?) };
    let first = next()?;
    assert_eq!(first["admin"]["problem"], Value::Null, "{first:#}");
    assert_eq!(counts(&first["admin"]), (0, 0, 0));

    let sent = send(&gateway).await?;
    let started = Instant::now();
    let counted = loop {
        let picture = next()?;
        ensure!(started.elapsed() < PATIENCE, "{picture:#}");
        let (allowed, denied, would) = counts(&picture["admin"]);
        ensure!(allowed <= 3 && denied <= 6 && would <= 1, "{picture:#}");
        if (allowed, denied, would) == (3, 6, 1) {
            break picture;
        }
    };
    watching.kill()?;
    watching.wait()?;
    let rate = counted["admin"]["requests"]["per_second"].as_f64();
    ensure!(rate.is_some_and(|rate| rate > 0.0), "{counted:#}");

    let folder = tempfile::tempdir()?;
    let log = folder.path().join("access.log");
    gateway.records(sent).await?;
    std::fs::write(&log, gateway.access_log_after(0).join("\n") + "\n")?;
    let output = Command::new(kit::tool())
        .args(["watch", "--once", "--format", "json", "--admin", &admin])
        .arg(&log)
        .output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let seen: Value = serde_json::from_slice(&output.stdout)?;
    for source in ["admin", "log"] {
        assert_eq!(counts(&seen[source]), (3, 6, 1), "{source}: {seen:#}");
        let policies = seen[source]["policies"].as_array().context("policies")?;
        let policy = policies.first().and_then(Value::as_str).context("a policy")?;
        ensure!(policies.len() == 1 && policy.starts_with("test@"), "{seen:#}");
    }
    let hash = seen["admin"]["policies"][0].as_str().map(|it| it.trim_start_matches("test@"));
    let in_force = if testbed.sets_gauges() { json!([hash]) } else { json!([]) };
    assert_eq!(seen["admin"]["in_force"], in_force);
    // Rules and reasons, and by the log also hosts and what opens them.
    let rows = |source: &str, keys: &[&str]| -> Vec<Value> {
        let rows = seen[source]["refused"].as_array().into_iter().flatten();
        rows.map(|row| keys.iter().map(|key| row[*key].clone()).collect()).collect()
    };
    assert_eq!(
        rows("admin", &["count", "reason", "rule"]),
        [json!([4, "default", null]), json!([2, "rule", "no-admin"])]
    );
    assert_eq!(
        rows("log", &["count", "reason", "rule", "host"]),
        [
            json!([4, "default", null, "denied.example"]),
            json!([2, "rule", "no-admin", "allowed.example"])
        ]
    );
    let rule = seen["log"]["refused"][0]["rule_to_add"].as_str().context("a rule")?;
    ensure!(rule.contains("hosts: [denied.example]"), "{rule}");
    assert_eq!(seen["log"]["would_be_refused"][0]["rule"], "closing");
    Ok(())
}

/// Allowed, denied, and what would be denied, of requests.
fn counts(part: &Value) -> (u64, u64, u64) {
    let count = |key: &str| part["requests"][key].as_u64().unwrap_or(u64::MAX);
    (count("allowed"), count("denied"), count("would_be_denied"))
}

/// Sends what is counted: how many requests.
async fn send(gateway: &Envoy) -> Result<usize> {
    let egress = gateway.listener("egress")?;
    let calls = [
        (Call::get("allowed.example"), 2),
        (Call::new("POST", "allowed.example"), 1),
        (Call::get("allowed.example").path("/no"), 2),
        (Call::get("denied.example").path("/a?secret"), 4),
    ];
    let mut sent = 0;
    for (call, times) in calls {
        for _ in 0..times {
            call.clone().http1(egress).await?;
            sent += 1;
        }
    }
    Ok(sent)
}
