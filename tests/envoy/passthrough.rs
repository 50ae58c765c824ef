//! TLS that is not terminated, on real Envoys: the shipped passthrough gateway, callers that send
//! any bytes, and an upstream that counts them.
//!
//! No byte of a refused connection may arrive. Every byte of a passing one must.

#[path = "passthrough/chains.rs"]
mod chains;
#[path = "passthrough/pressure.rs"]
mod pressure;
#[path = "passthrough/shipped.rs"]
mod shipped;
#[path = "passthrough/vectors.rs"]
mod vectors;
#[path = "passthrough/waiting.rs"]
mod waiting;

use std::collections::BTreeMap;
use std::process::Command;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use envoy_kit::bootstrap::Bootstrap;
use envoy_kit::on_each_envoy;
use envoy_kit::passthrough::Lane;
use envoy_kit::testbed::Testbed;
use envoy_kit::tls::caller::Caller;
use envoy_kit::tls::upstream::Upstream;
use kit::hostile_vectors;
use kit::mock::{Connection, Guest, Worker};
use vectors::Word;

use chains::{
    each_name_in_the_meshs_form_arrives_where_its_own_chain_leads_or_nowhere,
    each_server_name_arrives_where_its_own_chain_leads_or_nowhere,
};
use pressure::{
    callers_that_reset_at_any_phase_leave_no_byte_and_no_gap,
    ten_thousand_half_open_connections_hold_nobody_up,
};
use shipped::{
    a_real_tls_client_passes_untouched_or_is_cut_off,
    an_allowed_name_without_a_way_out_goes_nowhere, both_records_of_a_connection_agree,
    each_connection_is_counted, names_under_a_wildcard_are_looked_up_once_they_may_pass,
    no_connection_passes_the_guard_without_a_verdict, the_certificate_around_the_tls_is_the_caller,
    the_log_of_tcp_proxy_has_a_line_for_each,
};
use waiting::{
    a_silent_caller_gets_no_byte_and_is_cut_off, whoever_speaks_is_dialled_for_after_the_verdict,
};

on_each_envoy![
    every_vector_comes_out_as_it_must,
    each_server_name_arrives_where_its_own_chain_leads_or_nowhere,
    each_name_in_the_meshs_form_arrives_where_its_own_chain_leads_or_nowhere,
    a_real_tls_client_passes_untouched_or_is_cut_off,
    an_allowed_name_without_a_way_out_goes_nowhere,
    both_records_of_a_connection_agree,
    each_connection_is_counted,
    names_under_a_wildcard_are_looked_up_once_they_may_pass,
    the_log_of_tcp_proxy_has_a_line_for_each,
    no_connection_passes_the_guard_without_a_verdict,
    the_certificate_around_the_tls_is_the_caller,
    callers_that_reset_at_any_phase_leave_no_byte_and_no_gap,
    ten_thousand_half_open_connections_hold_nobody_up,
    a_silent_caller_gets_no_byte_and_is_cut_off,
    whoever_speaks_is_dialled_for_after_the_verdict,
];

kit::scenarios![every_vector_comes_out_as_it_must_on_the_mock_host];

/// Each connection alone, so that what arrives is its own.
async fn every_vector_comes_out_as_it_must(testbed: &Testbed) -> Result<()> {
    let mut failures = Vec::new();
    for (name, policy) in hostile_vectors::policies() {
        let upstream = Upstream::start().await?;
        let mut gateway = Bootstrap::gateway_tls()?;
        let lane = Lane { name: &name, policy: &policy, upstream: upstream.address };
        gateway.take_every_name(&[lane])?;
        gateway.bind_free_ports();
        let gateway = testbed.start(&gateway).await?;

        let mut sent = Vec::new();
        let mut arrived = 0;
        for vector in vectors::read() {
            for opening in vector.openings() {
                let mut caller = Caller::connect(gateway.listener(&name)?).await?;
                let answered = caller.exchange_in_parts(&opening, vector.writes).await?;
                let address = caller.address.to_string();
                drop(caller);
                let arrivals = upstream.all_arrivals().await?;
                let (expected, came) = match vector.expected(&name) {
                    Word::Allow => ((true, vec![opening.clone()]), arrivals.get(arrived..)),
                    _ => ((false, Vec::new()), arrivals.get(arrived..)),
                };
                let came = (answered, came.unwrap_or_default().to_vec());
                arrived = arrivals.len();
                let what = format!("{name}, {}, {}", vector.name, shown(&opening));
                if came != expected {
                    let lengths: Vec<_> = came.1.iter().map(Vec::len).collect();
                    failures.push(format!("{what}: answered {}, arrived {lengths:?}", came.0));
                }
                let reason = vector.reason(&name).map(str::to_owned);
                sent.push((what, address, vector.expected(&name), reason));
            }
        }

        // One record each, by the address of its caller.
        let records = gateway.records(sent.len()).await?;
        let replayed = replay(&policy, &gateway.access_log_after(0))?;
        let by_caller = |lines: Vec<Value>| {
            let mut of: BTreeMap<String, Vec<Value>> = BTreeMap::new();
            for line in lines {
                let caller = line["downstream_remote_address"].as_str().unwrap_or_default();
                of.entry(caller.to_owned()).or_default().push(line);
            }
            of
        };
        let (records, lines) = (by_caller(records), by_caller(gateway.filter_lines()));
        let mut verdicts = 0;
        for (what, address, expected, reason) in &sent {
            let [record] = records.get(address).map_or(&[][..], Vec::as_slice) else {
                failures.push(format!("{what}: not one record: {:#?}", records.get(address)));
                continue;
            };
            let decision = record["egress_connection_decision"].as_str();
            let is_expected = match expected {
                Word::Allow => decision == Some("allow"),
                Word::Deny => decision == Some("deny"),
                Word::Refused => decision != Some("allow"),
                Word::Rejected => decision.is_none(),
            };
            let recorded = record["egress_connection_reason"].as_str().unwrap_or("rule");
            let is_reason =
                reason.as_deref().is_none_or(|it| it == recorded || decision != Some("deny"));
            if !is_expected || !is_reason {
                failures.push(format!("{what}: {record}"));
            }
            verdicts += usize::from(decision.is_some());
            let of_filter = lines.get(address).map_or(0, Vec::len);
            if of_filter != usize::from(decision == Some("deny")) {
                failures.push(format!("{what}: {of_filter} lines of the filter, {record}"));
            }
        }
        let counters = gateway
            .counters(|name| {
                name.starts_with("wasmcustom.egress_warden.connections.")
                    && ![".rule.", ".policy_"].iter().any(|part| name.contains(part))
            })
            .await?;
        let counted = counters.values().sum::<u64>();
        if counted != verdicts as u64 {
            failures.push(format!("{name}: {counted} counted, {verdicts} recorded"));
        }
        // What Envoy refuses by itself is refused in the log, too, for a reason of its own.
        let refused = sent.len() - verdicts;
        let agreed = json!({
            "same": verdicts,
            "other_reason": refused,
            "other_decision": 0,
            "none": 0,
            "unlisted": 0,
            "refused_otherwise": refused,
            "failed": 0,
        });
        if replayed["logged"] != agreed || replayed["lines"]["connections"] != sent.len() {
            failures.push(format!("{name}: the tool judges otherwise: {replayed:#}"));
        }
        failures.extend(gateway.errors());
        eprintln!("{name}: {} connections, {verdicts} met the filter", sent.len());
    }
    assert!(failures.is_empty(), "{} failed\n\n{}\n", failures.len(), failures.join("\n\n"));
    Ok(())
}

/// What Envoy shows of them.
fn every_vector_comes_out_as_it_must_on_the_mock_host<G: Guest>(worker: &mut Worker<G>) {
    let mut failures = Vec::new();
    for (policy_name, policy) in hostile_vectors::policies() {
        let root = worker.configure_as("connections", policy.to_string());
        assert!(root.accepted, "{:#?}", worker.lines());
        for vector in vectors::read() {
            let expected = match vector.expected(&policy_name) {
                Word::Allow => true,
                Word::Deny => false,
                Word::Refused | Word::Rejected => continue,
            };
            for server_name in vector.shown() {
                let outcome = worker.connect(root, Connection::to(&server_name));
                let reason = outcome.state("egress_connection_reason").unwrap_or("rule");
                let is_reason =
                    vector.reason(&policy_name).is_none_or(|it| it == reason || outcome.passed);
                if outcome.passed != expected || !is_reason {
                    let shown = shown(&server_name);
                    failures.push(format!("{policy_name}, {}, {shown}: {reason}", vector.name));
                }
            }
        }
    }
    assert!(failures.is_empty(), "{} failed\n\n{}\n", failures.len(), failures.join("\n\n"));
}

/// What the tool makes of the gateway's access log.
fn replay(policy: &Value, log: &[String]) -> Result<Value> {
    let folder = tempfile::tempdir()?;
    let [policy_path, log_path] =
        ["policy.json", "access.log"].map(|name| folder.path().join(name));
    std::fs::write(&policy_path, policy.to_string())?;
    std::fs::write(&log_path, log.join("\n"))?;
    let output = Command::new(kit::tool())
        .args(["replay", "--format", "json"])
        .args([&policy_path, &log_path])
        .output()?;
    serde_json::from_slice(&output.stdout)
        .with_context(|| String::from_utf8_lossy(&output.stderr).into_owned())
}

fn shown(bytes: &[u8]) -> String {
    let start = bytes.get(..120).unwrap_or(bytes);
    format!("{} ({} bytes)", start.escape_ascii(), bytes.len())
}

/// A policy that lets connections to `hosts` pass, and none else.
fn policy(name: &str, hosts: &[&str]) -> Value {
    json!({
        "policy": name,
        "rules": [{"id": "open", "action": "allow", "to": [{"hosts": hosts, "ports": [443]}]}],
    })
}

/// The value of one field of the record of a caller.
async fn record_of(gateway: &envoy_kit::process::Envoy, caller: &str) -> Result<Value> {
    gateway
        .first_record(|record| record["downstream_remote_address"] == caller)
        .await
        .with_context(|| format!("the record of {caller}"))
}
