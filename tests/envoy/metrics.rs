//! What Prometheus gets of a gateway: labels in place of long names, a number of series that traffic does not move, and one set
//! of names for the module, the native library, and an Envoy that Istio configures.

#[path = "metrics/dashboard.rs"]
mod dashboard;
#[path = "metrics/prometheus.rs"]
mod prometheus;
#[path = "metrics/try_script.rs"]
mod try_script;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::Path;

use anyhow::{Context as _, Result, anyhow, ensure};
use egress_warden::config::{self, Config};
use serde_json::{Value, json};

use envoy_kit::bootstrap::Bootstrap;
use envoy_kit::call::Call;
use envoy_kit::process::Envoy;
use envoy_kit::shell::Shell;
use envoy_kit::testbed::Testbed;
use envoy_kit::tls::caller::Caller;
use envoy_kit::tls::hello::Hello;
use envoy_kit::{on_each_envoy, on_each_shell, versions};

use prometheus::{Prometheus, soon};

on_each_shell![requests_have_labels_and_their_number_stays_bounded];
on_each_envoy![connections_have_labels];

/// Those that need a Prometheus, and curl for what is sent, on the newest Envoy.
macro_rules! with_prometheus {
    ($($test:ident: $scenario:path,)+) => {$(
        #[test]
        fn $test() {
            if !["prometheus", "curl"].into_iter().any(prometheus::is_missing) {
                versions::run(vec![kit::envoys::newest().to_owned()], $scenario);
            }
        }
    )+};
}

with_prometheus! {
    prometheus_has_one_set_of_names: scrape,
    each_query_of_the_dashboard_has_data: dashboard::each_query_has_data,
    what_the_script_sends_is_counted: try_script::what_it_sends_is_counted,
}

#[test]
fn the_script_says_what_is_wrong() {
    if !prometheus::is_missing("curl") {
        try_script::says_what_is_wrong();
    }
}

async fn requests_have_labels_and_their_number_stays_bounded(testbed: &Testbed) -> Result<()> {
    let mut bootstrap = Bootstrap::gateway()?;
    bootstrap.set_policy(json!({
        "policy": "test",
        "rules": [
            // The names of rules that a regular expression could take for something else.
            {"id": "allow", "action": "allow", "to": [{"hosts": ["allowed.example"]}]},
            {"id": "would", "action": "deny", "to": [{"hosts": ["allowed.example"], "paths": ["/no"]}]},
            {"id": "closing", "action": "deny", "state": "dry-run", "to": [{"hosts": ["allowed.example"]}]},
        ],
    }))?;
    let hash = policy_of(&bootstrap)?.hash;
    let (gateway, _external) = testbed.gateway(bootstrap).await?;
    let egress = gateway.listener("egress")?;
    Call::get("allowed.example").http1(egress).await?;
    Call::get("allowed.example").path("/no").http1(egress).await?;
    Call::get("denied.example").http1(egress).await?;
    let prefix = match testbed.shell() {
        Shell::Wasm => "",
        Shell::Native => "envoy_dynamicmodulescustom_",
    };
    let expected = [
        (r#"requests{decision="allow",reason="rule"}"#, 1),
        (r#"requests{decision="deny",reason="default"}"#, 1),
        (r#"requests{decision="deny",reason="rule"}"#, 1),
        (r#"rule{decision="allow",rule="allow"}"#, 1),
        (r#"rule{decision="deny",rule="would"}"#, 1),
        (r#"would{decision="deny"}"#, 1),
    ];
    let gauges = [("policy_hash", hash), ("policy_hosts", 3), ("policy_rules", 3)];
    let gauges = gauges.into_iter().filter(|_| testbed.sets_gauges());
    let name = |(name, value)| (format!("{prefix}egress_warden_{name}"), value);
    let expected: BTreeMap<_, u64> = expected.into_iter().chain(gauges).map(name).collect();
    assert_eq!(exposed(&gateway).await?, expected);

    for number in 0..100 {
        let host = format!("host{number}.example");
        let call = Call::get(&host).path(&format!("/{number}")).header("user-agent", &host);
        call.http1(egress).await?;
    }
    let after = exposed(&gateway).await?;
    assert_eq!(after.keys().collect::<Vec<_>>(), expected.keys().collect::<Vec<_>>());
    let (refused, _) = name((r#"requests{decision="deny",reason="default"}"#, 0));
    assert_eq!(after[&refused], 101);
    Ok(())
}

async fn connections_have_labels(testbed: &Testbed) -> Result<()> {
    let bootstrap = Bootstrap::gateway_tls()?;
    let policy = policy_of(&bootstrap)?;
    let gateway = judging_connections(testbed, bootstrap).await?;
    let expected = [
        ("connections_policy_hash", policy.hash),
        ("connections_policy_hosts", policy.hosts as u64),
        ("connections_policy_rules", policy.policy.rules().len() as u64),
        (r#"connections{decision="allow",reason="rule"}"#, 1),
        (r#"connections{decision="deny",reason="default"}"#, 1),
        (r#"connections{decision="deny",reason="rule"}"#, 1),
        (r#"connections_rule{decision="allow",rule="archive-until-moved"}"#, 1),
        (r#"connections_rule{decision="deny",rule="no-legacy-api"}"#, 1),
        (r#"connections_would{decision="deny"}"#, 1),
    ];
    let expected = expected.map(|(name, count)| (format!("egress_warden_{name}"), count));
    assert_eq!(exposed(&gateway).await?, BTreeMap::from(expected));
    Ok(())
}

/// The policy that a filter of this configuration has.
fn policy_of(bootstrap: &Bootstrap) -> Result<Config> {
    fn text(value: &Value) -> Option<&str> {
        match value {
            Value::Object(fields) => fields
                .get("configuration")
                .and_then(|it| it["value"].as_str())
                .or_else(|| fields.values().find_map(text)),
            Value::Array(items) => items.iter().find_map(text),
            _ => None,
        }
    }
    let text = text(&bootstrap.tree).context("a policy")?;
    config::read(text.as_bytes()).map_err(|errors| anyhow!("{errors:?}"))
}

/// The metrics of the filter as Envoy gives them to Prometheus, with their labels in the order of the alphabet.
async fn exposed(gateway: &Envoy) -> Result<BTreeMap<String, u64>> {
    let text = Call::get("admin").path("/stats/prometheus").http1(gateway.admin()).await?.body;
    let ours = text.lines().filter(|line| {
        line.trim_start_matches("envoy_dynamicmodulescustom_").starts_with("egress_warden_")
    });
    let metric = |line: &str| {
        let (series, value) = line.rsplit_once(' ').context("a value")?;
        let (name, labels) = series.split_once('{').context("labels")?;
        let labels = labels.trim_end_matches('}');
        let mut labels: Vec<_> = labels.split(',').filter(|it| !it.is_empty()).collect();
        labels.sort_unstable();
        let labels = match labels[..] {
            [] => String::new(),
            _ => format!("{{{}}}", labels.join(",")),
        };
        Ok((name.to_owned() + &labels, value.parse()?))
    };
    ours.map(metric).collect()
}

/// The shipped configuration of Prometheus asks gateways of each kind; what it has of them afterwards.
async fn scrape(testbed: &Testbed) -> Result<()> {
    let native = Testbed::new(testbed.version())?.with(Shell::Native);
    let folder = tempfile::tempdir()?;
    let (module, _external) = counting(testbed, Bootstrap::gateway()?).await?;
    let (in_istio, _external) = counting(testbed, as_istio(Bootstrap::gateway()?)?).await?;
    let (library, _external) = counting(&native, Bootstrap::gateway()?).await?;
    let (library_in_istio, _external) = counting(&native, as_istio(Bootstrap::gateway()?)?).await?;
    let (both, _external) = with_both(testbed).await?;
    let tls = judging_connections(testbed, Bootstrap::gateway_tls()?).await?;
    let tls_in_istio = judging_connections(testbed, as_istio(Bootstrap::gateway_tls()?)?).await?;
    let bad = with_a_bad_policy(testbed, Bootstrap::gateway()?, folder.path()).await?;
    let bad_in_istio =
        with_a_bad_policy(testbed, as_istio(Bootstrap::gateway()?)?, folder.path()).await?;

    let guard = |listener, allowed| {
        [("allowed", allowed), ("denied", 0)].map(|(result, count)| {
            format!("egress_warden_guard_total listener={listener} result={result} {count}")
        })
    };
    let shown = |prefix: &str, policy: &Config| {
        let gauges = [
            ("hash", policy.hash),
            ("hosts", policy.hosts as u64),
            ("rules", policy.policy.rules().len() as u64),
        ];
        gauges.map(|(name, value)| format!("egress_warden_{prefix}policy_{name} {value}"))
    };
    let of_requests = shown("", &policy_of(&Bootstrap::gateway()?)?);
    let of_connections = shown("connections_", &policy_of(&Bootstrap::gateway_tls()?)?);
    let requests = |rule: &str, legacy: &str| {
        let counted = [
            "egress_warden_requests_total decision=allow reason=rule 2".to_owned(),
            "egress_warden_requests_total decision=deny reason=default 1".to_owned(),
            "egress_warden_requests_total decision=deny reason=rule 1".to_owned(),
            format!("egress_warden_rule_total decision=allow rule={rule} 2"),
            format!("egress_warden_rule_total decision=deny rule={legacy} 1"),
            "egress_warden_would_total decision=deny 1".to_owned(),
        ];
        [&counted[..], &of_requests].concat()
    };
    let native = |series: Vec<String>| {
        let labelled = series.into_iter().map(|it| {
            let (series, value) = it.rsplit_once(' ').unwrap_or((&it, ""));
            format!("{series} runtime=native {value}")
        });
        labelled.collect::<Vec<_>>()
    };
    let connections = |archive: &str, legacy: &str| {
        let counted = [
            "egress_warden_connections_guard_total result=allowed 0".to_owned(),
            "egress_warden_connections_guard_total result=denied 0".to_owned(),
            format!("egress_warden_connections_rule_total decision=allow rule={archive} 1"),
            format!("egress_warden_connections_rule_total decision=deny rule={legacy} 1"),
            "egress_warden_connections_total decision=allow reason=rule 1".to_owned(),
            "egress_warden_connections_total decision=deny reason=default 1".to_owned(),
            "egress_warden_connections_total decision=deny reason=rule 1".to_owned(),
            "egress_warden_connections_would_total decision=deny 1".to_owned(),
        ];
        [&counted[..], &of_connections].concat()
    };
    let refused = ["egress_warden_updates_rejected_total filter=egress_warden 1".to_owned()];
    let exact = requests("shop-to-allowed", "no-legacy-api");
    // Envoy's own tag takes `outbound_0` out of the name; Istio leaves it there.
    let (port, whole) = ("0_0_0_80", "outbound_0_0_0_0_80");
    let expected: [(&str, &Envoy, Vec<String>); 9] = [
        ("module", &module, [&exact[..], &guard(port, 2)].concat()),
        (
            "in-istio",
            &in_istio,
            [&requests("shop_to_allowed", "no_legacy_api")[..], &guard(whole, 2)].concat(),
        ),
        ("library", &library, [&native(exact.clone())[..], &guard(port, 2)].concat()),
        ("both", &both, [&exact[..], &native(exact.clone()), &guard(port, 4)].concat()),
        ("library-in-istio", &library_in_istio, [&native(exact)[..], &guard(whole, 2)].concat()),
        ("tls", &tls, connections("archive-until-moved", "no-legacy-api")),
        ("tls-in-istio", &tls_in_istio, connections("archive_until_moved", "no_legacy_api")),
        ("bad", &bad, [&refused[..], &guard(port, 0)].concat()),
        ("bad-in-istio", &bad_in_istio, [&refused[..], &guard(whole, 0)].concat()),
    ];
    let targets = expected.each_ref().map(|(name, envoy, _)| (*name, envoy.admin()));
    let prometheus = Prometheus::start(&targets, folder.path())?;
    let expected: BTreeMap<_, BTreeSet<_>> = expected
        .into_iter()
        .map(|(name, _, series)| (name.to_owned(), series.into_iter().collect()))
        .collect();
    soon(async || {
        let found = prometheus.series().await?;
        ensure!(found == expected, "{found:#?}, not {expected:#?}");
        Ok(())
    })
    .await?;
    // The rules that were loaded beside it can be evaluated.
    let rules = prometheus.ask("/api/v1/rules").await?;
    let groups = rules["data"]["groups"].as_array().context("groups")?;
    let rules = groups.iter().flat_map(|group| group["rules"].as_array().into_iter().flatten());
    let rules: Vec<_> = rules.collect();
    ensure!(rules.len() > 10, "{rules:#?}");
    ensure!(rules.iter().all(|rule| rule["health"] != "err"), "{rules:#?}");
    Ok(())
}

/// A gateway that allowed two requests, one of which would be refused, and refused two.
async fn counting(testbed: &Testbed, bootstrap: Bootstrap) -> Result<(Envoy, Envoy)> {
    let (gateway, external) = testbed.gateway(bootstrap).await?;
    send_requests(&gateway).await?;
    Ok((gateway, external))
}

/// A gateway with the module on one listener and the native library on another.
async fn with_both(testbed: &Testbed) -> Result<(Envoy, Envoy)> {
    let mut bootstrap = Bootstrap::gateway()?;
    let listeners = &mut bootstrap.tree_mut()["static_resources"]["listeners"];
    let mut second = listeners[0].clone();
    Shell::Native.apply_to(&mut second);
    second["name"] = json!("second");
    listeners.as_array_mut().context("listeners")?.push(second);
    let (gateway, external) = testbed.gateway(bootstrap).await?;
    send_requests_to(gateway.listener("egress")?).await?;
    send_requests_to(gateway.listener("second")?).await?;
    Ok((gateway, external))
}

async fn send_requests(gateway: &Envoy) -> Result<()> {
    send_requests_to(gateway.listener("egress")?).await
}

async fn send_requests_to(address: SocketAddr) -> Result<()> {
    for call in [
        Call::get("allowed.example"),
        Call::new("DELETE", "allowed.example"),
        Call::get("allowed.example").path("/legacy"),
        Call::get("denied.example"),
    ] {
        call.http1(address).await?;
    }
    Ok(())
}

/// A gateway that refused two connections, and let one pass that would be refused.
async fn judging_connections(testbed: &Testbed, mut bootstrap: Bootstrap) -> Result<Envoy> {
    bootstrap.bind_free_ports();
    let gateway = testbed.start(&bootstrap).await?;
    make_connections(&gateway).await?;
    Ok(gateway)
}

async fn make_connections(gateway: &Envoy) -> Result<()> {
    for name in ["denied.example", "legacy.wild.example", "archive.example"] {
        let mut caller = Caller::connect(gateway.listener("egress_tls")?).await?;
        caller.exchange(&Hello::to(name).to_bytes()).await?;
    }
    Ok(())
}

/// A gateway whose plugin is delivered by itself, with a policy that is refused.
async fn with_a_bad_policy(
    testbed: &Testbed,
    mut bootstrap: Bootstrap,
    folder: &Path,
) -> Result<Envoy> {
    bootstrap.set_policy(json!({"policy": "bad", "default": "nonsense"}))?;
    let tree = bootstrap.tree_mut();
    // What is configured by files needs a name.
    tree["node"] = json!({"id": "bad", "cluster": "bad"});
    let listener = &mut tree["static_resources"]["listeners"][0];
    let filters = &mut listener["filter_chains"][0]["filters"][0]["typed_config"]["http_filters"];
    let filters = filters.as_array_mut().context("filters")?;
    let filter = filters.iter_mut().find(|it| it["name"] == "egress-warden").context("filter")?;
    let path = folder.join("plugin.json");
    let mut resource =
        json!({"@type": "type.googleapis.com/envoy.config.core.v3.TypedExtensionConfig"});
    resource["name"] = filter["name"].take();
    resource["typed_config"] = filter["typed_config"].take();
    std::fs::write(&path, json!({"resources": [resource]}).to_string())?;
    *filter = json!({
        "name": "egress-warden",
        "config_discovery": {
            "config_source": {"path_config_source": {"path": path}, "resource_api_version": "V3"},
            "type_urls": ["type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm"],
        },
    });
    bootstrap.bind_free_ports();
    testbed.start(&bootstrap).await
}

/// What Istio says about statistics in its own bootstrap, as far as it touches ours, with what gateway-values.yaml adds to it.
fn as_istio(mut bootstrap: Bootstrap) -> Result<Bootstrap> {
    let path = Path::new(kit::REPOSITORY).join("envoy/istio/gateway-values.yaml");
    let values: Value = serde_saphyr::from_str(&std::fs::read_to_string(path)?)?;
    let annotation = values["podAnnotations"]["proxy.istio.io/config"].as_str();
    let annotation: Value = serde_saphyr::from_str(annotation.context("an annotation")?)?;
    let kept = annotation["proxyStatsMatcher"]["inclusionRegexps"].as_array().context("a list")?;
    let prefixes = [
        "cluster_manager",
        "listener_manager",
        "server",
        "cluster.xds-grpc",
        "wasm",
        "component",
        "istio",
    ];
    let suffixes =
        ["rbac.allowed", "rbac.denied", "shadow_allowed", "shadow_denied", "downstream_cx_active"];
    let patterns: Vec<_> = prefixes
        .iter()
        .map(|it| json!({"prefix": it}))
        .chain(suffixes.iter().map(|it| json!({"suffix": it})))
        .chain(kept.iter().map(|it| json!({"safe_regex": {"regex": it}})))
        .collect();
    bootstrap.tree_mut()["stats_config"] = json!({
        "use_all_default_tags": false,
        "stats_tags": [
            {"tag_name": "cluster_name", "regex": r"^cluster\.((.+?(\..+?\.svc\.cluster\.local)?)\.)"},
            {"tag_name": "response_code", "regex": r"_rq(_(\d{3}))$"},
            {"tag_name": "http_conn_manager_prefix", "regex": r"^http\.(((?:[_.[:digit:]]*|[_\[\]aAbBcCdDeEfF[:digit:]]*))\.)"},
            {"tag_name": "authz_enforce_result", "regex": r"rbac(\.(allowed|denied))"},
            {"tag_name": "authz_dry_run_result", "regex": r"(\.shadow_(allowed|denied))"},
        ],
        "stats_matcher": {"inclusion_list": {"patterns": patterns}},
    });
    Ok(bootstrap)
}
