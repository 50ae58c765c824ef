//! What the page says of an edited policy is what the commands say: the numbers of `replay` and of `diff`
//! with logs, and the errors of `check`.

use anyhow::{Context, Result, ensure};
use egress_warden_tool::in_process::rows;
use egress_warden_tool::what_if::{Rows, WhatIf};
use proptest::prelude::*;
use serde_json::{Value, json};
use std::path::Path;
use std::process::Command;

/// The JSON that a command answers.
fn command(args: &[&str], folder: &Path) -> Result<Value> {
    let output = Command::new(env!("CARGO_BIN_EXE_egress-warden"))
        .current_dir(folder)
        .args(["--format", "json"])
        .args(args)
        .output()?;
    let text = String::from_utf8(output.stdout)?;
    serde_json::from_str(&text)
        .with_context(|| String::from_utf8_lossy(&output.stderr).into_owned())
}

fn judge(base: Option<&str>, rows: &str, text: &str) -> Result<Value> {
    let rows = Rows::read(rows)?;
    let mut what_if = WhatIf::new(base, &rows, None)?;
    Ok(serde_json::from_str(&what_if.judge(text))?)
}

/// Rules of all kinds for a handful of hosts; some end when the requests of [`log`] come.
fn policy() -> impl Strategy<Value = String> {
    let host = prop::sample::select(vec![
        "a.test",
        "b.test",
        "*.w.test",
        "x.w.test",
        "192.0.2.1",
        "c.test",
    ]);
    let rule = (
        prop::sample::select(vec!["allow", "deny"]),
        prop::collection::vec(host, 1..3),
        prop::option::of(prop::sample::select(vec!["dry-run", "retiring"])),
        prop::option::of(0..6),
        prop::option::of(prop::sample::select(vec!["GET", "POST"])),
        prop::option::of(prop::sample::select(vec![
            "cluster.local/ns/pay/*",
            "cluster.local/ns/web/sa/a",
        ])),
        prop::option::of(prop::sample::select(vec![443, 80])),
    );
    let rules = prop::collection::vec(rule, 0..6);
    (rules, any::<bool>(), 0..4).prop_map(|(rules, is_monitor, default)| {
        let rules = rules.into_iter().enumerate();
        let rules = rules.map(|(number, (action, hosts, state, end, method, caller, port))| {
            let mut to = json!({"hosts": hosts});
            if let Some(method) = method {
                to["methods"] = json!([method]);
            }
            if let Some(port) = port {
                to["ports"] = json!([port]);
            }
            let mut rule = json!({"id": format!("r{number}"), "action": action, "to": [to]});
            if let Some(state) = state {
                rule["state"] = state.into();
            }
            if let Some(end) = end {
                rule["until"] = format!("2026-11-25T03:00:0{end}Z").into();
            }
            if let Some(caller) = caller {
                rule["from"] = json!([{"principals": [caller]}]);
            }
            rule
        });
        let mode = if is_monitor { "monitor" } else { "enforce" };
        let default = if default == 0 { "allow" } else { "deny" };
        let rules: Vec<_> = rules.collect();
        json!({"policy": "p", "mode": mode, "default": default, "rules": rules}).to_string()
    })
}

/// Lines of a gateway's log, requests and connections, with and without a verdict or a time.
fn log() -> impl Strategy<Value = String> {
    let host = prop::sample::select(vec![
        "a.test",
        "A.test:443",
        "b.test",
        "x.w.test",
        "y.w.test",
        "192.0.2.1",
        "c.test:80",
        "",
    ]);
    let line = (
        host,
        prop::sample::select(vec!["GET", "POST", "CONNECT"]),
        prop::option::weighted(0.9, 0..6000_u32),
        prop::sample::select(vec![
            "",
            "spiffe://cluster.local/ns/pay/sa/a",
            "spiffe://cluster.local/ns/web/sa/a",
        ]),
        prop::option::of((prop::sample::select(vec!["allow", "deny"]), 0..4)),
        prop::sample::select(vec!["outbound|443||a.test", "outbound|80||b.test", "-"]),
        prop::sample::select(vec!["-", "NR", "UF"]),
        0..5,
    );
    prop::collection::vec(line, 1..60).prop_map(|lines| {
        let lines =
            lines.into_iter().map(|(host, method, time, caller, verdict, cluster, flags, kind)| {
                let mut line = json!({
                    "authority": host, "method": method, "path": "/", "response_code": 200,
                    "response_flags": flags, "upstream_cluster": cluster,
                    "requested_server_name": "-", "upstream_host": "192.0.2.1:443",
                });
                let is_connection = kind == 0;
                if is_connection {
                    line = json!({
                        "requested_server_name": host, "response_flags": flags,
                        "upstream_cluster": cluster, "upstream_host": "192.0.2.1:443",
                    });
                }
                if !caller.is_empty() {
                    line["source_principal"] = caller.into();
                }
                if let Some(time) = time {
                    line["start_time"] =
                        format!("2026-11-25T03:00:0{}.{:03}Z", time / 1000, time % 1000).into();
                }
                if let Some((decision, rule)) = verdict {
                    let keys = if is_connection { "egress_connection_" } else { "egress_" };
                    line[format!("{keys}decision")] = decision.into();
                    if rule > 0 {
                        line[format!("{keys}rule")] = format!("r{rule}").into();
                    } else {
                        line[format!("{keys}reason")] = "default".into();
                    }
                }
                format!("{line}\n")
            });
        lines.collect()
    })
}

/// The numbers of a JSON answer at these paths.
fn numbers(answer: &Value, paths: &[&str]) -> Vec<u64> {
    let number = |path: &&str| answer.pointer(path).and_then(Value::as_u64).expect(path);
    paths.iter().map(number).collect()
}

const OF_JUDGE: [&str; 15] = [
    "/requests",
    "/undecided",
    "/allowed",
    "/denied",
    "/log/same",
    "/log/other_reason",
    "/log/other_decision",
    "/log/none",
    "/log/refused_otherwise",
    "/log/failed",
    "/base/undecided",
    "/base/opens",
    "/base/closes",
    "/base/announces",
    "/base/renames",
];

/// The same of the commands, in the same order.
fn of_commands(folder: &Path) -> Result<Vec<u64>> {
    let replay = command(&["replay", "new.json", "log"], folder)?;
    let diff = command(&["diff", "old.json", "new.json", "log"], folder)?;
    let mut all = numbers(
        &replay,
        &[
            "/requests",
            "/undated/requests",
            "/allowed",
            "/denied",
            "/logged/same",
            "/logged/other_reason",
            "/logged/other_decision",
            "/logged/none",
            "/logged/refused_otherwise",
            "/logged/failed",
        ],
    );
    all.extend(numbers(
        &diff,
        &["/undated/requests", "/opens", "/closes", "/announces", "/renames"],
    ));
    Ok(all)
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 100,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn the_numbers_are_those_of_replay_and_of_diff(old in policy(), new in policy(), log in log()) {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in [("old.json", &old), ("new.json", &new), ("log", &log)] {
            std::fs::write(folder.path().join(name), text).unwrap();
        }
        let expected = of_commands(folder.path()).unwrap();
        let by_time = judge(Some(&old), &rows(log.as_bytes(), true), &new).unwrap();
        prop_assert_eq!(&numbers(&by_time, &OF_JUDGE), &expected, "{}", by_time);

        // Where rows have requests of several times, what depends on it is open, and nothing else.
        let answer = judge(Some(&old), &rows(log.as_bytes(), false), &new).unwrap();
        let found = numbers(&answer, &OF_JUDGE);
        let (of_log, of_base) = (found[1], found[10]);
        for (number, (found, expected)) in found.iter().zip(&expected).enumerate() {
            let open = if number < 10 { of_log } else { of_base };
            let range = match number {
                0 => *expected..=*expected,
                1 | 10 => *expected..=u64::MAX,
                _ => expected.saturating_sub(open)..=*expected,
            };
            prop_assert!(range.contains(found), "{}: {answer}", OF_JUDGE[number]);
        }
        let sum = |paths: &[&str]| -> u64 { numbers(&answer, paths).iter().sum() };
        let all = sum(&["/requests"]);
        prop_assert_eq!(sum(&["/allowed", "/denied", "/undecided"]), all);
        let of_log = ["/log/same", "/log/other_reason", "/log/other_decision", "/log/none"];
        prop_assert_eq!(sum(&of_log) + sum(&["/undecided"]), all);
        let of_base = ["/base/same", "/base/other_reason", "/base/other_decision", "/base/undecided"];
        prop_assert_eq!(sum(&of_base), all);
        prop_assert_eq!(sum(&["/base/opens", "/base/closes"]), sum(&["/base/other_decision"]));
        prop_assert_eq!(sum(&["/base/announces", "/base/renames"]), sum(&["/base/other_reason"]));
    }
}

const POLICY: &str =
    "policy: p\ndefault: deny\nrules:\n- id: a\n  action: allow\n  to: [{hosts: [a.test]}]\n";

#[test]
fn every_error_stands_where_check_has_it() -> Result<()> {
    let folder = tempfile::tempdir()?;
    for text in [
        "",
        "policy: p",
        "policy: p\ndefault: deny\nprots: 1\nmode: no\n",
        "policy: p\ndefault: A\ndefault: deny\n",
        "a: [",
        "\u{feff}policy: p\nrules: []\n",
        "{\"policy\": \"p\", \"rules\": 3}",
        "policy: p\nrules:\n- {id: é, action: allow, to: [{hosts: [\"*\", Ä.test, 'b..test']}]}\n- {id: a}\n",
        "kind: WasmPlugin\nmetadata: {name: b}\nspec: {pluginConfig: {policy: two, default: no}}\n",
    ] {
        std::fs::write(folder.path().join("p.yaml"), text)?;
        let check = command(&["check", "p.yaml"], folder.path())?;
        let errors = check["policies"].as_array().into_iter().flatten();
        let errors = errors.flat_map(|policy| policy["findings"].as_array().into_iter().flatten());
        let places = ["path", "line", "column", "end_line", "end_column", "remedy"];
        let of = |error: &Value, message: String| {
            let mut told = json!({"message": message});
            places.iter().for_each(|key| told[*key] = error[*key].clone());
            told
        };
        let errors = errors.filter(|error| error["level"] == "error");
        let found =
            |error: &Value| format!("found {}", error["found"].as_str().unwrap_or_default());
        let expected: Vec<_> = errors.map(|error| of(error, found(error))).collect();
        ensure!(!expected.is_empty(), "{text}: no error");
        let answer = judge(None, "[]", text)?;
        assert_eq!(answer, json!({"errors": expected}), "{text}");
    }
    Ok(())
}

#[test]
fn a_second_policy_is_an_error_at_its_place() -> Result<()> {
    let answer = judge(None, "[]", &format!("{POLICY}---\n{POLICY}"))?;
    let errors = answer["errors"].as_array().context("errors")?;
    assert_eq!(errors.len(), 1, "{answer}");
    assert_eq!((&errors[0]["line"], &errors[0]["column"]), (&json!(8), &json!(1)));
    Ok(())
}

#[test]
fn changes_are_listed_by_row_with_changed_decisions_first() -> Result<()> {
    let record = |host: &str, more: Value| {
        let mut record = json!({
            "log": "access_log", "ending": "passed_on", "authority": host, "method": "GET",
        });
        record
            .as_object_mut()
            .expect("an object")
            .extend(more.as_object().cloned().unwrap_or_default());
        record
    };
    let allowed = json!({"egress_decision": "allow", "egress_rule": "old"});
    let rows = json!([
        [1, 1_795_575_600_000_u64, 1_795_575_600_999_u64, record("a.test", allowed.clone())],
        [7, null, null, [1, 2], record("b.test", json!({"undated": true})).to_string()],
        [3, 1_795_575_600_000_u64, 1_795_575_600_000_u64, record("b.test", allowed)],
    ]);
    let edited = POLICY.replace("id: a", "id: z").replace("a.test", "a.test, c.test");
    let answer = judge(Some(POLICY), &rows.to_string(), &edited)?;
    let verdict =
        |decision: &str, rule: &str| json!({"decision": decision, "reason": "rule", "rule": rule});
    let denied = json!({"decision": "deny", "reason": "default"});
    assert_eq!(
        answer["changes"],
        json!([
            {"row": 2, "requests": 3, "kind": "closes", "against": "log",
                "before": verdict("allow", "old"), "now": denied},
            {"row": 0, "requests": 1, "kind": "renames", "against": "base",
                "before": verdict("allow", "a"), "now": verdict("allow", "z")},
            {"row": 0, "requests": 1, "kind": "renames", "against": "log",
                "before": verdict("allow", "old"), "now": verdict("allow", "z")},
        ]),
        "{answer}"
    );
    assert_eq!(answer["requests"], 11);
    assert_eq!(answer["more"], json!({"log": 0, "base": 0}));
    Ok(())
}

#[test]
fn what_is_no_row_and_no_policy_is_told_with_a_remedy() {
    let error = |base, rows, root_id| {
        let asked = Rows::read(rows).and_then(|rows| WhatIf::new(base, &rows, root_id).map(drop));
        asked.expect_err(rows).to_string()
    };
    for (found, starts) in [
        (error(Some("polcy: p"), "[]", None), "the policy:1:1: "),
        (error(None, "[", None), "the rows: "),
        (error(None, "[[1, null, null]]", None), "the rows: a row without a record"),
        (
            error(None, "[[1, 5, 4, {\"log\":\"filter\",\"ending\":\"refused\"}]]", None),
            "the rows: no times from 5 to 4",
        ),
        (error(None, "[]", Some("x")), "the root id: "),
    ] {
        assert!(found.starts_with(starts), "{found}");
    }
}
