//! `egress-warden learn` on the log of a whole fleet.

use egress_warden::config::{self, Config};
use egress_warden::host::{Host, HostPattern};
use egress_warden::policy::{Action, ClusterPort, Request};
use egress_warden::root_id::Connections;
use kit::access_log::Sent;
use kit::fleet::Intent;
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

#[test]
fn a_fleets_policy_is_small_and_allows_its_work_and_no_probe() -> anyhow::Result<()> {
    let traffic = kit::fleet::traffic(1);
    assert!(traffic.len() >= 200_000, "{}", traffic.len());
    let services: BTreeSet<_> = of_work(&traffic).filter_map(|sent| sent.caller.clone()).collect();
    let hosts: BTreeSet<_> = of_work(&traffic).map(|sent| sent.host.clone()).collect();
    assert_eq!((services.len(), hosts.len()), (300, 2_000));

    let folder = tempfile::tempdir()?;
    let (log, work) = (folder.path().join("fleet.log"), folder.path().join("work.log"));
    write_log(&log, traffic.iter().map(|(_, sent)| sent), true)?;
    write_log(&work, of_work(&traffic), false)?;

    let learnt = run(&["learn", path(&log)]);
    assert!(learnt.status.success(), "{}", String::from_utf8_lossy(&learnt.stderr));
    let yaml = String::from_utf8(learnt.stdout)?;
    let policy_file = folder.path().join("policy.yaml");
    std::fs::write(&policy_file, &yaml)?;
    let checked = run(&["check", path(&policy_file)]);
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stdout));

    let policy: Value = serde_saphyr::from_str(&yaml)?;
    let pairs: BTreeSet<_> = traffic.iter().map(|(_, sent)| (&sent.caller, &sent.host)).collect();
    let size = rules(&policy).count() + patterns(&policy).count() + callers(&policy).count();
    assert!(size * 10 <= pairs.len(), "{size} entries for {} pairs", pairs.len());

    let replayed = run(&["replay", "--format", "json", path(&policy_file), path(&work)]);
    let replayed: Value = serde_json::from_slice(&replayed.stdout)?;
    assert_eq!(replayed["denied"], 0, "{replayed}");
    assert_eq!(replayed["requests"], of_work(&traffic).count());

    let config = config::read(policy.to_string().as_bytes())?;
    let worked: BTreeSet<_> = of_work(&traffic).map(|sent| (&sent.host, sent.port)).collect();
    for (_, sent) in traffic.iter().filter(|(it, _)| matches!(it, Intent::Probe | Intent::Typo)) {
        if !worked.contains(&(&sent.host, sent.port)) {
            assert_eq!(decide(&config, sent), Action::Deny, "{sent:?}");
        }
        if !hosts.contains(&sent.host) {
            let pattern = patterns(&policy).find(|pattern| matches(pattern, &sent.host));
            assert_eq!(pattern, None, "{sent:?}");
        }
    }
    Ok(())
}

#[test]
fn what_was_not_passed_on_is_never_learnt() -> anyhow::Result<()> {
    let config = learnt_from("tool/tests/examples/learn.in/refused.log")?;
    assert!(is_allowed(&config, "rates.bank.example", 443));
    assert!(is_connection_allowed(&config, "files.ledger.example", 443));
    for host in [
        "paste.exfil.example",
        "vault.bank.example",
        "hooks.parcel.example",
        "nowhere.media.example",
        "down.notify.example",
        "unknown.notify.example",
        "moved.media.example",
        "drop.exfil.example",
        "db.infra.example",
        "down.ledger.example",
        "slow.exfil.example",
    ] {
        for port in [80, 443] {
            assert!(!is_allowed(&config, host, port), "{host}:{port}");
            assert!(!is_connection_allowed(&config, host, port), "{host}:{port}");
        }
    }
    Ok(())
}

#[test]
fn what_does_not_leave_the_mesh_is_never_learnt_and_no_port_is_guessed() -> anyhow::Result<()> {
    let config = learnt_from("tool/tests/examples/learn.in/hops.log")?;
    for (host, port, expected) in [
        ("rates.bank.example", 80, true),
        ("rates.bank.example", 443, false),
        ("old.media.example", 80, true),
        ("old.media.example", 443, false),
        ("new.media.example", 8080, true),
        ("new.media.example", 443, false),
        ("api.ledger.example", 80, false),
        ("api.ledger.example", 443, false),
        ("cart.shop", 8080, false),
        ("198.51.100.21", 15021, false),
        ("198.51.100.50", 3306, false),
    ] {
        assert_eq!(is_allowed(&config, host, port), expected, "{host}:{port}");
    }
    assert!(is_connection_allowed(&config, "mail.notify.example", 8443));
    assert!(!is_connection_allowed(&config, "mail.notify.example", 443));
    Ok(())
}

#[test]
fn what_others_let_through_is_learnt_and_what_they_refused_is_not() -> anyhow::Result<()> {
    for (log, passed, refused) in [
        (
            "smokescreen.log",
            &[("a.smoke.test", 443), ("c.smoke.test", 80)][..],
            &["b.smoke.test", "d.smoke.test", "evil.test"][..],
        ),
        ("smokescreen-text.log", &[("a.smoketext.test", 443)], &["b.smoketext.test", "evil.test"]),
        (
            "squid.log",
            &[("a.squid.test", 443), ("c.squid.test", 8080)],
            &["b.squid.test", "d.squid.test", "evil.test"],
        ),
        (
            "hubble.log",
            &[("a.hubble.test", 443), ("c.hubble.test", 8080)],
            &["b.hubble.test", "d.hubble.test", "e.hubble.test", "f.hubble.test"],
        ),
    ] {
        let config = learnt_from(&format!("tool/tests/data/logs/{log}"))?;
        for (host, port) in passed {
            assert!(is_allowed(&config, host, *port), "{log} {host}:{port}");
            assert!(!is_allowed(&config, host, 9999), "{log} {host}");
        }
        for host in refused {
            for port in [80, 443, 8443] {
                assert!(!is_allowed(&config, host, port), "{log} {host}:{port}");
            }
        }
    }
    Ok(())
}

/// Hosts of one kind, most of them seen, some held back: what a pattern opens is the rest of its kind,
/// and nothing of strangers or of what was refused.
#[test]
fn trees_and_globs_open_the_hosts_of_their_kind_and_no_others() -> anyhow::Result<()> {
    let seen = |form: &str| -> Vec<String> {
        (0..8).filter(|it| it % 4 != 3).map(|it| form.replace('#', &it.to_string())).collect()
    };
    let held_back = |form: &str| [3, 7].map(|it| form.replace('#', &it.to_string()));
    let kinds = ["t#.tickets.vendor.com", "api-#.duo.com", "sts.r#.cloud.com", "eu-#-db.maker.com"];
    // Of strangers: the same shapes over public suffixes.
    let others = ["api-#.github.io", "sts.r#.amazonaws.com", "acct-#.openai.azure.com"];
    // Of one kind, but for one that was refused.
    let mixed = ["job-#.forge.com"];
    let passed: Vec<String> =
        [&kinds[..], &others, &mixed].concat().into_iter().flat_map(seen).collect();
    let folder = tempfile::tempdir()?;
    let log = folder.path().join("log");
    let line = |host: &str, details: &str, status: u16| {
        serde_json::json!({
            "authority": host, "method": "GET", "path": "/", "response_code": status,
            "response_code_details": details, "start_time": "2026-03-02T08:15:51Z",
            "upstream_cluster": format!("outbound|443||{host}"),
        })
        .to_string()
    };
    let apex = "tickets.vendor.com".to_owned();
    let mut lines: Vec<String> =
        passed.iter().chain([&apex]).map(|host| line(host, "via_upstream", 200)).collect();
    lines.push(line("job-x.forge.com", "ext_authz_denied", 403));
    std::fs::write(&log, lines.join("\n"))?;

    let learnt = run(&["learn", "--min-requests", "1", "--format", "json", path(&log)]);
    let answer: Value = serde_json::from_slice(&learnt.stdout)?;
    let policy = &answer["policy"];
    let config = config::read(policy.to_string().as_bytes())?;
    for host in passed.iter().chain([&apex]) {
        assert!(is_allowed(&config, host, 443), "{host}");
    }
    for (forms, expected) in [(&kinds[..], true), (&others, false), (&mixed, false)] {
        for host in forms.iter().flat_map(|form| held_back(form)) {
            assert_eq!(is_allowed(&config, &host, 443), expected, "{host}");
            assert_eq!(patterns(policy).any(|it| matches(it, &host)), expected, "{host}");
        }
    }
    for host in [
        "vendor.com",
        "duo.com",
        "www.duo.com",
        "api-1.x.duo.com",
        "sts.cloud.com",
        "s3.r1.cloud.com",
        "eu-1-web.maker.com",
        "job-x.forge.com",
    ] {
        assert!(!is_allowed(&config, host, 443), "{host}");
    }
    let many: Vec<&str> =
        patterns(policy).filter(|it| it.contains('*') || it.starts_with('.')).collect();
    assert_eq!(
        many,
        [".tickets.vendor.com", "api-*.duo.com", "eu-*-db.maker.com", "sts.*.cloud.com"]
    );
    Ok(())
}

fn learnt_from(log: &str) -> anyhow::Result<Config> {
    let log = Path::new(kit::REPOSITORY).join(log);
    let learnt = run(&["learn", "--min-requests", "1", "--format", "json", path(&log)]);
    let answer: Value = serde_json::from_slice(&learnt.stdout)?;
    Ok(config::read(answer["policy"].to_string().as_bytes())?)
}

fn is_allowed(config: &Config, host: &str, port: u16) -> bool {
    let request = Request {
        cluster_port: ClusterPort::Said(port),
        path: Some(b"/"),
        ..Request::new(host.as_bytes(), b"GET")
    };
    config.policy.decide(&request).verdict.action == Action::Allow
}

fn is_connection_allowed(config: &Config, host: &str, port: u16) -> bool {
    let request = Request {
        cluster_port: ClusterPort::Said(port),
        ..Request::connection(host.as_bytes(), Connections::default())
    };
    config.policy.decide(&request).verdict.action == Action::Allow
}

fn of_work(traffic: &[(Intent, Sent)]) -> impl Iterator<Item = &Sent> {
    traffic.iter().filter(|(intent, _)| *intent == Intent::Work).map(|(_, sent)| sent)
}

fn write_log<'a>(
    path: &Path,
    traffic: impl Iterator<Item = &'a Sent>,
    with_other_lines: bool,
) -> std::io::Result<()> {
    let mut file = BufWriter::new(File::create(path)?);
    for (number, sent) in traffic.enumerate() {
        if with_other_lines && number % 5_000 == 0 {
            writeln!(
                file,
                "[2026-11-02 00:00:00.000][7][info][main] all dependencies initialized"
            )?;
        }
        writeln!(file, "{}", kit::access_log::line(number, sent))?;
    }
    if with_other_lines {
        write!(file, "{{\"authority\":\"half-writ")?;
    }
    file.flush()
}

fn run(arguments: &[&str]) -> Output {
    let program = PathBuf::from(env!("CARGO_BIN_EXE_egress-warden"));
    Command::new(program).args(arguments).output().expect("the tool runs")
}

fn path(path: &Path) -> &str {
    path.to_str().expect("a path in UTF-8")
}

fn rules(policy: &Value) -> impl Iterator<Item = &Value> {
    policy["rules"].as_array().into_iter().flatten()
}

fn patterns(policy: &Value) -> impl Iterator<Item = &str> {
    rules(policy)
        .flat_map(|rule| rule["to"].as_array().into_iter().flatten())
        .flat_map(|to| to["hosts"].as_array().into_iter().flatten())
        .filter_map(Value::as_str)
}

fn callers(policy: &Value) -> impl Iterator<Item = &Value> {
    rules(policy)
        .flat_map(|rule| rule["from"].as_array().into_iter().flatten())
        .flat_map(|from| ["principals", "namespaces"].map(|key| from[key].as_array()))
        .flatten()
        .flatten()
}

fn matches(pattern: &str, host: &str) -> bool {
    let Ok(Host::Name(name)) = Host::parse(host.as_bytes()) else { return pattern == host };
    let name = name.as_str();
    let is_under = |apex: &str| name.strip_suffix(apex).is_some_and(|start| start.ends_with('.'));
    match HostPattern::parse(pattern) {
        Ok(HostPattern::Under(apex)) => is_under(apex),
        Ok(HostPattern::Tree(apex)) => name == apex || is_under(apex),
        Ok(HostPattern::Glob(glob)) => glob.matches(name),
        _ => pattern == host,
    }
}

fn decide(config: &Config, sent: &Sent) -> Action {
    let request = Request {
        cluster_port: ClusterPort::Said(sent.port),
        principal: sent.caller.as_deref(),
        path: Some(sent.path.as_bytes()),
        ..Request::new(sent.host.as_bytes(), sent.method.as_bytes())
    };
    config.policy.decide(&request).verdict.action
}
