//! `egress-warden verify` on what real Envoys answer: nothing is wrong with what is shipped, and each of many sabotages
//! is found, in the dump of a real Envoy and on Envoys that run it.

use anyhow::{Context as _, Result, ensure};
use envoy_kit::bootstrap::Bootstrap;
use envoy_kit::call::Call;
use envoy_kit::on_each_envoy;
use envoy_kit::process::Envoy;
use envoy_kit::testbed::Testbed;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::process::Command;
use std::time::{Duration, Instant};

on_each_envoy![
    the_shipped_gateway_is_what_it_must_be_and_each_sabotage_is_found,
    the_shipped_passthrough_gateway_is_what_it_must_be_and_each_sabotage_is_found,
    what_render_envoy_writes_is_what_it_must_be,
    a_running_gateway_without_its_guard_is_found,
    a_refused_update_of_the_plugin_is_found,
];

#[test]
fn the_native_gateway_is_what_it_must_be_and_sabotage_is_found() {
    envoy_kit::versions::run_native(kit::envoys::asked_for(), async |testbed: &Testbed| {
        let running = Running::start(testbed, Bootstrap::native_gateway()?).await?;
        let told = running.verify_dump(&running.dump)?;
        assert_eq!(kinds(&told), ["route-not-allowed"]);
        assert_eq!(told["modules"], json!(["target/libegress_warden.so"]));
        running.finds(testbed, SABOTAGES_OF_THE_LIBRARY)?;

        // As Istio has it: the library by its name, the policy as an object, which Envoy gives to it as text.
        let policy: Value = serde_json::from_str(&running.policy)?;
        let mut dump = running.dump.clone();
        let config = &mut filters(&mut dump)[0]["typed_config"];
        config["dynamic_module_config"] = json!({"name": "egress_warden"});
        config["filter_config"] =
            json!({"@type": "type.googleapis.com/google.protobuf.Struct", "value": policy});
        let told = running.verify_dump(&dump)?;
        assert_eq!(kinds(&told), ["route-not-allowed"]);
        assert_eq!(told["modules"], json!(["libegress_warden.so"]));
        Ok(())
    });
}

const SABOTAGES_OF_THE_LIBRARY: &[Sabotage] = &[
    ("the filter is gone", "filter-missing", "put egress-warden", |it| remove(it, "egress-warden")),
    ("the filter stands twice", "filter-twice", "keep one", |it| {
        let filters = filters(it);
        filters.insert(0, filters[0].clone());
    }),
    ("another library beside it", "modules-differ", "the same module", |it| {
        let filters = filters(it);
        let mut other = filters[0].clone();
        other["typed_config"]["dynamic_module_config"] = json!({"name": "other"});
        filters.insert(0, other);
    }),
    ("another policy", "policy-differs", "apply the policy", |it| {
        let policy = &mut filters(it)[0]["typed_config"]["filter_config"]["value"];
        *policy = json!(policy.as_str().expect("a text").replace("/admin*", "/root*"));
    }),
    ("the guard is gone", "guard-missing", "right before the router", |it| {
        remove(it, "egress-warden-guard");
    }),
];

const TYPE: &str = "type.googleapis.com/envoy.extensions";

async fn the_shipped_gateway_is_what_it_must_be_and_each_sabotage_is_found(
    testbed: &Testbed,
) -> Result<()> {
    let running = Running::start(testbed, Bootstrap::gateway()?).await?;
    // One of its two hosts is there to be refused.
    assert_eq!(running.found(&running.dump)?, ["route-not-allowed"]);
    let by_address = running.verify(&[&format!("http://{}", running.envoy.admin())])?;
    assert_eq!(kinds(&by_address), ["route-not-allowed"]);
    assert_eq!(by_address["configured"], json!([by_address["policy"]]));
    running.finds(testbed, SABOTAGES)
}

async fn the_shipped_passthrough_gateway_is_what_it_must_be_and_each_sabotage_is_found(
    testbed: &Testbed,
) -> Result<()> {
    let running = Running::start(testbed, Bootstrap::gateway_tls()?).await?;
    // One of its allowed hosts is there to have no way out.
    assert_eq!(running.found(&running.dump)?, ["host-without-route"]);
    running.finds(testbed, SABOTAGES_OF_CONNECTIONS)
}

/// For each form of ways out: TLS that the gateway begins, TLS that is passed on, wildcards.
async fn what_render_envoy_writes_is_what_it_must_be(testbed: &Testbed) -> Result<()> {
    let examples =
        std::path::Path::new(kit::REPOSITORY).join("tool/tests/examples/render-envoy.in");
    for name in ["originate", "passthrough", "wildcards"] {
        let policy = examples.join(format!("{name}.yaml"));
        let rendered = Command::new(kit::tool())
            .args(["render", "envoy", "-o", "-"])
            .arg(&policy)
            .arg("--gateway")
            .arg(examples.join(format!("{name}-gateway.yaml")))
            .output()?;
        // 1: something that the policy names has no route.
        ensure!(rendered.status.code() != Some(2), "{}", String::from_utf8_lossy(&rendered.stderr));
        let text = std::str::from_utf8(&rendered.stdout)?
            .replace("/etc/envoy/egress_warden.wasm", "target/egress_warden.wasm")
            .replace("/etc/envoy/bank.pem", "/etc/ssl/certs/ca-certificates.crt");
        let tree = serde_saphyr::from_str(&text)?;
        let mut running =
            Running::start(testbed, Bootstrap { tree, ..Bootstrap::gateway()? }).await?;
        running.policy = std::fs::read_to_string(&policy)?;
        let told = running.verify_dump(&running.dump)?;
        let wrong: Vec<_> = findings(&told).filter(|it| it["level"] != "note").collect();
        ensure!(wrong.is_empty(), "{name}: {wrong:#?}");
    }
    Ok(())
}

async fn a_running_gateway_without_its_guard_is_found(testbed: &Testbed) -> Result<()> {
    let mut gateway = Bootstrap::gateway()?;
    let policy = policy_of(&gateway)?;
    gateway.remove_filter("egress-warden-guard");
    let mut other: Value = serde_json::from_str(&policy)?;
    other["default"] = json!("allow");
    gateway.set_policy(other)?;
    let mut running = Running::start(testbed, gateway).await?;
    running.policy = policy;
    let found = running.found(&running.dump)?;
    assert_eq!(found, ["guard-missing", "policy-differs", "route-not-allowed"]);
    Ok(())
}

async fn a_refused_update_of_the_plugin_is_found(testbed: &Testbed) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("plugin.json");
    let put = |plugin: &Value, version: &str| -> Result<()> {
        let new = path.with_extension("new");
        let update = json!({"version_info": version, "resources": [plugin]});
        std::fs::write(&new, update.to_string())?;
        Ok(std::fs::rename(new, &path)?)
    };
    let mut gateway = Bootstrap::gateway()?;
    let policy = policy_of(&gateway)?;
    let filter = filters_of(&mut gateway.tree["static_resources"]["listeners"][0])
        .iter_mut()
        .find(|it| it["name"] == "egress-warden")
        .context("the filter")?;
    let mut plugin = json!({
        "@type": "type.googleapis.com/envoy.config.core.v3.TypedExtensionConfig",
        "name": "egress-warden",
        "typed_config": filter["typed_config"].take(),
    });
    *filter = json!({
        "name": "egress-warden",
        "config_discovery": {
            "config_source": {"path_config_source": {"path": path}, "resource_api_version": "V3"},
            "type_urls": [plugin["typed_config"]["@type"]],
        },
    });
    put(&plugin, "1")?;
    gateway.tree["node"] = json!({"id": "gateway", "cluster": "gateway"});
    let mut running = Running::start(testbed, gateway).await?;
    running.policy = policy;
    // The dump does not tell whether what was delivered is in force.
    assert_eq!(running.found(&running.dump)?, ["plugin-unproved", "route-not-allowed"]);
    let admin = format!("http://{}/", running.envoy.admin());
    assert_eq!(kinds(&running.verify(&[&admin])?), ["route-not-allowed"]);

    // A good policy that this gateway cannot use: it has no such secret.
    let mut policy: Value = serde_json::from_str(&running.policy)?;
    policy["stamp"]["set"]["x-key"] = json!("{secret:NOT_THERE}");
    running.policy = policy.to_string();
    plugin["typed_config"]["config"]["configuration"]["value"] = json!(running.policy);
    put(&plugin, "2")?;
    let started = Instant::now();
    let name = "extension_config_discovery.http_filter.egress-warden.update_rejected";
    while running.envoy.counter(name).await? == 0 {
        ensure!(started.elapsed() < Duration::from_secs(30), "the update was not refused");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // Both as what was saved, and as what the admin address answers.
    let stats = Call::get("admin").path("/stats").http1(running.envoy.admin()).await?.body;
    let stats_path = folder.path().join("stats");
    std::fs::write(&stats_path, stats)?;
    for stats in [&admin, &stats_path.to_string_lossy().into_owned()] {
        let told = running.verify(&[&admin, "--stats", stats])?;
        let found = ["plugin-refused", "route-not-allowed", "updates-rejected"];
        assert_eq!(kinds(&told), found, "{told}");
    }
    Ok(())
}

/// An Envoy that runs, its dump, and the policy that it is to run.
struct Running {
    envoy: Envoy,
    dump: Value,
    policy: String,
}

impl Running {
    async fn start(testbed: &Testbed, mut gateway: Bootstrap) -> Result<Self> {
        let policy = policy_of(&gateway).unwrap_or_default();
        gateway.bind_free_ports();
        let envoy = testbed.start(&gateway).await?;
        envoy.ensure_nothing_is_deprecated()?;
        let path = "/config_dump?include_eds";
        let dump = Call::get("admin").path(path).http1(envoy.admin()).await?.json()?;
        Ok(Self { envoy, dump, policy })
    }

    /// Each sabotage is found where it was not found before, and its remedy speaks of it. The sabotages are the same for
    /// every Envoy, so one is asked.
    fn finds(&self, testbed: &Testbed, sabotages: &[Sabotage]) -> Result<()> {
        if kit::envoys::asked_for().first().is_none_or(|first| first != testbed.version()) {
            return Ok(());
        }
        let before = self.verify_dump(&self.dump)?;
        let mut missed = Vec::new();
        for (what, kind, remedy, sabotage) in sabotages {
            let mut dump = self.dump.clone();
            sabotage(&mut dump);
            let told = self.verify_dump(&dump)?;
            let is_found = findings(&told).any(|it| {
                it["kind"] == *kind
                    && it["remedy"].as_str().is_some_and(|it| it.contains(remedy))
                    && findings(&before).all(|before| before != it)
            });
            if !is_found {
                missed.push(format!("{what}: no `{kind}` with `{remedy}` in {told:#}"));
            }
        }
        ensure!(missed.is_empty(), "{}", missed.join("\n"));
        Ok(())
    }

    /// The kinds of findings in a dump, each once, in alphabetical order.
    fn found(&self, dump: &Value) -> Result<Vec<String>> {
        Ok(kinds(&self.verify_dump(dump)?))
    }

    fn verify_dump(&self, dump: &Value) -> Result<Value> {
        let file = tempfile::NamedTempFile::new()?;
        std::fs::write(file.path(), dump.to_string())?;
        self.verify(&[&file.path().to_string_lossy()])
    }

    fn verify(&self, dump: &[&str]) -> Result<Value> {
        let policy = tempfile::NamedTempFile::with_suffix(".yaml")?;
        std::fs::write(policy.path(), &self.policy)?;
        let output = Command::new(kit::tool())
            .args(["verify", "--format", "json"])
            .arg(policy.path())
            .arg("--config-dump")
            .args(dump)
            .output()?;
        let told: Value = serde_json::from_slice(&output.stdout)
            .with_context(|| String::from_utf8_lossy(&output.stderr).into_owned())?;
        let code = i32::from(findings(&told).any(|it| it["level"] == "error"));
        ensure!(output.status.code() == Some(code), "{:?} for {told:#}", output.status);
        Ok(told)
    }
}

fn findings(told: &Value) -> impl Iterator<Item = &Value> {
    told["findings"].as_array().into_iter().flatten()
}

fn kinds(told: &Value) -> Vec<String> {
    let kinds = findings(told).filter_map(|it| it["kind"].as_str().map(ToOwned::to_owned));
    kinds.collect::<BTreeSet<_>>().into_iter().collect()
}

/// The text of the policy in a bootstrap.
fn policy_of(gateway: &Bootstrap) -> Result<String> {
    let chain = &gateway.tree["static_resources"]["listeners"][0]["filter_chains"][0];
    let of_requests = chain["filters"][0]["typed_config"]["http_filters"].as_array();
    let filters = of_requests.or(chain["filters"].as_array()).context("filters")?;
    let own = filters.iter().find(|it| it["name"] == "egress-warden").context("the filter")?;
    let text = ["config/configuration", "filter_config"]
        .iter()
        .find_map(|place| own.pointer(&format!("/typed_config/{place}/value"))?.as_str());
    Ok(text.context("a policy")?.to_owned())
}

/// What is done, the finding, a word of its remedy, and how it is done to a dump.
type Sabotage = (&'static str, &'static str, &'static str, fn(&mut Value));

const SABOTAGES: &[Sabotage] = &[
    ("the filter is gone", "filter-missing", "put egress-warden", |it| remove(it, "egress-warden")),
    ("a chain beside it", "filter-missing", "put egress-warden", |it| {
        let mut chain = listener(it)["filter_chains"][0].clone();
        chain["filters"][0]["typed_config"]["http_filters"] = json!([router()]);
        listener(it)["default_filter_chain"] = chain;
    }),
    ("upgrades go another way", "filter-missing", "put egress-warden", |it| {
        manager(it)["upgrade_configs"][0]["filters"] = json!([router()]);
    }),
    ("the filter stands twice", "filter-twice", "keep one", |it| {
        let filters = filters(it);
        filters.insert(0, filters[0].clone());
    }),
    ("the filter is off", "filter-disabled", "disabled", |it| {
        filters(it)[0]["disabled"] = json!(true);
    }),
    ("the filter may be left out", "filter-optional", "is_optional", |it| {
        filters(it)[0]["is_optional"] = json!(true);
    }),
    ("it opens when it fails", "fail-open", "FAIL_RELOAD", |it| {
        plugin(it)["failure_policy"] = json!("FAIL_OPEN");
    }),
    ("another policy", "policy-differs", "apply the policy", |it| {
        let text = plugin(it)["configuration"]["value"].as_str().expect("a text");
        let text = text.replace("/admin*", "/root*");
        plugin(it)["configuration"]["value"] = json!(text);
    }),
    ("no policy", "policy-invalid", "check", |it| {
        plugin(it)["configuration"]["value"] = json!("{\"policy\": \u{1b}");
    }),
    ("it judges connections", "root-id", "leave it empty", |it| {
        plugin(it)["root_id"] = json!("connections");
    }),
    ("a script behind it", "filter-order", "before egress-warden", |it| {
        filters(it).insert(1, filter("lua", "lua.v3.Lua"));
    }),
    ("authentication behind it", "filter-order", "before egress-warden", |it| {
        filters(it).insert(1, filter("authz", "ext_authz.v3.ExtAuthz"));
    }),
    ("something new behind it", "unknown-after", "changes requests", |it| {
        filters(it).insert(1, filter("new", "new.v3.New"));
    }),
    ("the plugin did not arrive", "filter-undelivered", "gateway's log", |it| {
        discover(it, None);
    }),
    ("the module did not arrive", "module-missing", "sha256", |it| {
        let refuses = json!({"@type": format!("{TYPE}.filters.http.rbac.v3.RBAC"), "rules": {}});
        discover(it, Some(refuses));
    }),
    ("all passes until it arrives", "open-default", "apply_default_config_without_warming", |it| {
        let own = filters(it)[0]["typed_config"].clone();
        discover(it, Some(own));
        filters(it)[0]["config_discovery"]["apply_default_config_without_warming"] = json!(true);
        filters(it)[0]["config_discovery"]["default_config"] =
            json!({"@type": format!("{TYPE}.filters.http.router.v3.Router")});
    }),
    ("a secret in the configuration", "secret-in-dump", "host_env_keys", |it| {
        let text = plugin(it)["configuration"]["value"].as_str().expect("a text");
        let text = text.replace("\"{rule}\"", "\"{secret:TOKEN}\"");
        plugin(it)["configuration"]["value"] = json!(text);
        plugin(it)["vm_config"]["environment_variables"] =
            json!({"key_values": {"TOKEN": "hidden"}});
    }),
    ("the guard is gone", "guard-missing", "right before the router", |it| {
        remove(it, "egress-warden-guard");
    }),
    ("the guard is first", "guard-place", "right before the router", |it| filters(it).swap(0, 1)),
    ("something behind the guard", "guard-place", "priority", |it| {
        filters(it).insert(2, filter("cors", "cors.v3.Cors"));
    }),
    ("the guard denies", "guard-rules", "action ALLOW", |it| {
        guard(it)["rules"]["action"] = json!("DENY");
    }),
    ("the guard only watches", "guard-rules", "as it is", |it| {
        guard(it)["shadow_rules"] = guard(it)["rules"].take();
    }),
    ("the guard has no rules", "guard-rules", "as it is", |it| {
        guard(it).as_object_mut().expect("rules").remove("rules");
    }),
    ("the guard lets all pass", "guard-rules", "only principal", |it| {
        guard(it)["rules"]["policies"]["egress-warden-allowed"]["principals"] =
            json!([{"any": true}]);
    }),
    ("the guard believes a header", "guard-rules", "only principal", |it| {
        let header = json!({"header": {"name": "x-egress", "string_match": {"exact": "allow"}}});
        guard(it)["rules"]["policies"]["egress-warden-allowed"]["principals"]
            .as_array_mut()
            .expect("principals")
            .push(header);
    }),
    ("the guard has a second policy", "guard-rules", "one policy", |it| {
        guard(it)["rules"]["policies"]["others"] =
            json!({"permissions": [{"any": true}], "principals": [{"any": true}]});
    }),
    ("the guard asks for a refusal", "guard-rules", "only principal", |it| {
        guard(it)["rules"]["policies"]["egress-warden-allowed"]["principals"][0]["filter_state"]
            ["string_match"]["exact"] = json!("deny");
    }),
    ("the guard has no condition", "guard-condition", "condition", |it| {
        let policy = &mut guard(it)["rules"]["policies"]["egress-warden-allowed"];
        policy.as_object_mut().expect("a policy").remove("condition");
    }),
    ("the guard has another condition", "guard-condition", "condition", |it| {
        guard(it)["rules"]["policies"]["egress-warden-allowed"]["condition"] =
            json!({"const_expr": {"bool_value": true}});
    }),
    ("the guard's results have another name", "guard-name", "rules_stat_prefix", |it| {
        guard(it)["rules_stat_prefix"] = json!("other_");
    }),
    ("no listener", "no-egress", "this is the gateway's dump", |it| {
        part(it, "ListenersConfigDump")["static_listeners"] = json!([]);
    }),
    ("another protocol", "way-out-unknown", "with the filter before it", |it| {
        let chain = json!({"filters": [{"name": "redis", "typed_config":
            {"@type": format!("{TYPE}.filters.network.redis_proxy.v3.RedisProxy")}}]});
        listener(it)["filter_chains"].as_array_mut().expect("chains").push(chain);
    }),
    ("datagrams", "way-out-unknown", "with the filter before it", |it| {
        listener(it)["listener_filters"] = json!([{"name": "udp", "typed_config":
            {"@type": format!("{TYPE}.filters.udp.udp_proxy.v3.UdpProxyConfig")}}]);
    }),
    ("a host switches the filter off", "route-disables", "typed_per_filter_config", |it| {
        host(it)["typed_per_filter_config"] = json!({"egress-warden": disabled()});
    }),
    ("a route switches the guard off", "route-disables", "typed_per_filter_config", |it| {
        host(it)["routes"][0]["typed_per_filter_config"] =
            json!({"egress-warden-guard": disabled()});
    }),
    ("a route empties the guard", "route-disables", "typed_per_filter_config", |it| {
        host(it)["routes"][0]["typed_per_filter_config"] = json!({"egress-warden-guard":
            {"@type": format!("{TYPE}.filters.http.rbac.v3.RBACPerRoute")}});
    }),
    ("a route opens the guard", "guard-rules", "only principal", |it| {
        host(it)["routes"][0]["typed_per_filter_config"] = json!({"egress-warden-guard": {
            "@type": format!("{TYPE}.filters.http.rbac.v3.RBACPerRoute"),
            "rbac": {"rules": {"policies": {"a": {"permissions": [{"any": true}], "principals": [{"any": true}]}}}},
        }});
    }),
    ("an allowed host leads elsewhere", "route-elsewhere", "its own cluster", |it| {
        add_cluster(it, &json!({"name": "outbound|80||other.example", "type": "STRICT_DNS"}));
        route(it)["cluster"] = json!("outbound|80||other.example");
    }),
    ("a copy goes elsewhere", "route-elsewhere", "its own cluster", |it| {
        add_cluster(it, &json!({"name": "outbound|80||other.example", "type": "STRICT_DNS"}));
        route(it)["request_mirror_policies"] = json!([{"cluster": "outbound|80||other.example"}]);
    }),
    ("an allowed host leads to another", "route-other-host", "its own cluster", |it| {
        host(it)["domains"] = json!(["allowed.example", "a.archive.example"]);
    }),
    ("a header chooses", "route-by-caller", "name the cluster", |it| {
        *route(it) = json!({"cluster_header": "x-cluster"});
    }),
    ("the address that was dialled", "route-by-caller", "name the cluster", |it| {
        add_cluster(it, &json!({"name": "PassthroughCluster", "type": "ORIGINAL_DST"}));
        route(it)["cluster"] = json!("PassthroughCluster");
    }),
    ("every host by its name", "route-wide", "list the hosts", |it| {
        add_cluster(it, &forward_proxy());
        host(it)["domains"] = json!(["*"]);
        route(it)["cluster"] = json!("dynamic");
    }),
    ("a host that no rule names", "route-not-allowed", "or allow the host", |it| {
        host(it)["domains"] = json!(["allowed.example", "new.example"]);
    }),
    ("the router rewrites the host", "route-rewrites", "another host", |it| {
        route(it)["host_rewrite_literal"] = json!("other.example");
    }),
    ("a filter behind the router", "route-rewrites", "another host", |it| {
        let filter = filter("mutation", "header_mutation.v3.HeaderMutation");
        let clusters =
            part(it, "ClustersConfigDump")["static_clusters"].as_array_mut().expect("clusters");
        let options = &mut clusters[0]["cluster"]["typed_extension_protocol_options"];
        options["envoy.extensions.upstreams.http.v3.HttpProtocolOptions"]["http_filters"] =
            json!([filter]);
    }),
    ("routes that are not there", "routes-unseen", "whole dump", |it| {
        manager(it).as_object_mut().expect("a manager").remove("route_config");
        manager(it)["rds"] = json!({"route_config_name": "http.80"});
        part(it, "RoutesConfigDump")["static_route_configs"] = json!([]);
    }),
    ("clusters that are not there", "not-in-dump", "whole dump", |it| {
        let configs = it["configs"].as_array_mut().expect("configs");
        configs.retain(|it| !it["@type"].as_str().expect("a type").contains("Clusters"));
    }),
    ("a host without a way", "host-without-route", "add a route", |it| {
        host(it)["domains"] = json!(["other.example"]);
    }),
    ("an address without a name", "way-out-unseen", "outbound|PORT||HOST", |it| {
        let clusters =
            part(it, "ClustersConfigDump")["static_clusters"].as_array_mut().expect("clusters");
        clusters[0]["cluster"]["name"] = json!("service");
        route(it)["cluster"] = json!("service");
    }),
    ("TLS that is not verified", "tls-unverified", "trusted_ca", |it| originate(it, json!({}))),
    ("TLS with anyone", "tls-unverified", "trusted_ca", |it| {
        originate(
            it,
            json!({"validation_context": {
                "trusted_ca": {"filename": "/ca"},
                "trust_chain_verification": "ACCEPT_UNTRUSTED",
                "match_typed_subject_alt_names": [{"san_type": "DNS", "matcher": {"exact": "allowed.example"}}],
            }}),
        );
    }),
    ("TLS with any name", "tls-any-name", "subjectAltNames", |it| {
        originate(it, json!({"validation_context": {"trusted_ca": {"filename": "/ca"}}}));
    }),
    ("a validator of its own", "tls-unseen", "by hand", |it| {
        originate(it, json!({"validation_context": {"custom_validator_config": {"name": "x"}}}));
    }),
    ("no access log", "log-fields", "envoy/gateway.yaml", |it| {
        manager(it)["access_log"] = json!([])
    }),
    ("a field is gone", "log-fields", "envoy/gateway.yaml", |it| {
        let format = &mut manager(it)["access_log"][0]["typed_config"]["log_format"]["json_format"];
        format.as_object_mut().expect("fields").remove("egress_rule");
    }),
    ("the access log leaves lines out", "log-filtered", "without one", |it| {
        manager(it)["access_log"][0]["filter"] = json!({"response_flag_filter": {"flags": ["NR"]}});
    }),
    ("the counters are gone", "stats-hidden", "proxyStatsMatcher", |it| {
        make_dynamic(it);
        part(it, "BootstrapConfigDump")["bootstrap"]["stats_config"] = json!({"stats_matcher":
            {"inclusion_list": {"patterns": [{"prefix": "listener_manager"}]}}});
    }),
    ("callers name their address", "remote-address", "use_remote_address", |it| {
        manager(it)["use_remote_address"] = json!(false);
    }),
    ("dot segments stay", "path-normalization", "normalize_path", |it| {
        manager(it)["normalize_path"] = json!(false);
    }),
    ("callers name their certificate", "client-cert", "SANITIZE_SET", |it| {
        manager(it)["forward_client_cert_details"] = json!("APPEND_FORWARD");
    }),
    ("the router's headers leave", "envoy-headers", "suppress_envoy_headers", |it| {
        filters(it)[2]["typed_config"]["suppress_envoy_headers"] = json!(false);
    }),
    ("attempts are told", "attempt-count", "include_request_attempt_count", |it| {
        host(it)["include_request_attempt_count"] = json!(true);
    }),
    ("the last update was refused", "update-refused", "send it again", |it| {
        make_dynamic(it);
        part(it, "ListenersConfigDump")["dynamic_listeners"][0]["error_state"] =
            json!({"details": "Unable to create Wasm plugin"});
    }),
    ("an update waits", "not-in-force", "verify again", |it| {
        make_dynamic(it);
        let entry = &mut part(it, "ListenersConfigDump")["dynamic_listeners"][0];
        entry["warming_state"] = entry["active_state"].clone();
    }),
    ("an unknown part", "not-read", "not looked at", |it| {
        let unknown = json!({"@type": "type.googleapis.com/envoy.admin.v9.NewDump\u{1b}[2J"});
        it["configs"].as_array_mut().expect("configs").push(unknown);
    }),
];

const SABOTAGES_OF_CONNECTIONS: &[Sabotage] = &[
    ("the filter is gone from one chain", "closed", "plugin for connections", |it| {
        chain_filters(it, 0).remove(0);
    }),
    ("filter and guard are gone", "filter-missing", "put egress-warden", |it| {
        chain_filters(it, 2).drain(..2);
    }),
    ("the guard is gone from one chain", "guard-missing", "before tcp_proxy", |it| {
        chain_filters(it, 1).remove(1);
    }),
    ("the guard asks for a request's verdict", "guard-rules", "only principal", |it| {
        chain_filters(it, 0)[1]["typed_config"]["rules"]["policies"]["egress-warden-allowed"]["principals"]
            [0]["filter_state"]["key"] = json!("wasm.egress_decision");
    }),
    ("it opens when it fails", "fail-open", "FAIL_RELOAD", |it| {
        chain_filters(it, 1)[0]["typed_config"]["config"]["failure_policy"] = json!("FAIL_OPEN");
    }),
    ("it judges requests", "root-id", "write `connections`", |it| {
        chain_filters(it, 0)[0]["typed_config"]["config"]["root_id"] = json!("");
    }),
    ("one chain has another policy", "policy-differs", "apply the policy", |it| {
        let value =
            &mut chain_filters(it, 2)[0]["typed_config"]["config"]["configuration"]["value"];
        *value = json!(value.as_str().expect("a text").replace("SHOP-1", "SHOP-2"));
    }),
    ("another module in one chain", "modules-differ", "same module", |it| {
        chain_filters(it, 2)[0]["typed_config"]["config"]["vm_config"]["code"]["local"]["filename"] =
            json!("other.wasm");
    }),
    ("nothing reads the hello", "tls-inspector", "TLS inspector", |it| {
        listener(it)["listener_filters"] = json!([]);
    }),
    ("another port", "connection-port", "connections:8443", |it| {
        chain_filters(it, 0)[0]["typed_config"]["config"]["root_id"] = json!("connections:8443");
    }),
    ("a name leads elsewhere", "route-elsewhere", "its own cluster", |it| {
        add_cluster(it, &json!({"name": "outbound|443||other.example", "type": "STRICT_DNS"}));
        chain_filters(it, 0)[2]["typed_config"]["cluster"] = json!("outbound|443||other.example");
    }),
    ("every other name leads to one host", "route-other-host", "its own cluster", |it| {
        chain_filters(it, 2)[2]["typed_config"]["cluster"] = json!("outbound|443||allowed.example");
    }),
    ("every name is dialled", "route-wide", "list the hosts", |it| {
        listener(it)["filter_chains"][1]
            .as_object_mut()
            .expect("a chain")
            .remove("filter_chain_match");
    }),
    ("a name that no rule names", "route-not-allowed", "or allow the host", |it| {
        listener(it)["filter_chains"][0]["filter_chain_match"]["server_names"] =
            json!(["allowed.example", "new.example"]);
    }),
    ("filter state names the cluster", "route-by-caller", "name the cluster", |it| {
        let filter = set_state("envoy.tcp_proxy.cluster", "%DOWNSTREAM_TLS_ISSUER%");
        chain_filters(it, 0).insert(2, filter);
    }),
    ("another filter writes the verdict", "guard-rules", "as it is", |it| {
        let filter = set_state("wasm.egress_connection_decision", "allow");
        chain_filters(it, 0).insert(0, filter);
    }),
    ("connections are not recorded", "log-fields", "gateway-tls.yaml", |it| {
        listener(it)["access_log"] = json!([]);
    }),
];

fn part<'v>(dump: &'v mut Value, kind: &str) -> &'v mut Value {
    let mut configs = dump["configs"].as_array_mut().expect("configs").iter_mut();
    configs
        .find(|it| it["@type"].as_str().is_some_and(|it| it.ends_with(&format!(".{kind}"))))
        .expect("a part")
}

fn listener(dump: &mut Value) -> &mut Value {
    &mut part(dump, "ListenersConfigDump")["static_listeners"][0]["listener"]
}

fn manager(dump: &mut Value) -> &mut Value {
    &mut listener(dump)["filter_chains"][0]["filters"][0]["typed_config"]
}

/// The filters of a listener's first chain.
fn filters_of(listener: &mut Value) -> &mut Vec<Value> {
    let manager = &mut listener["filter_chains"][0]["filters"][0]["typed_config"];
    manager["http_filters"].as_array_mut().expect("filters")
}

fn filters(dump: &mut Value) -> &mut Vec<Value> {
    filters_of(listener(dump))
}

fn chain_filters(dump: &mut Value, chain: usize) -> &mut Vec<Value> {
    listener(dump)["filter_chains"][chain]["filters"].as_array_mut().expect("filters")
}

fn remove(dump: &mut Value, name: &str) {
    filters(dump).retain(|it| it["name"] != name);
}

fn plugin(dump: &mut Value) -> &mut Value {
    &mut filters(dump)[0]["typed_config"]["config"]
}

fn guard(dump: &mut Value) -> &mut Value {
    &mut filters(dump)[1]["typed_config"]
}

fn host(dump: &mut Value) -> &mut Value {
    &mut manager(dump)["route_config"]["virtual_hosts"][0]
}

fn route(dump: &mut Value) -> &mut Value {
    &mut host(dump)["routes"][0]["route"]
}

fn filter(name: &str, kind: &str) -> Value {
    json!({"name": name, "typed_config": {"@type": format!("{TYPE}.filters.http.{kind}")}})
}

fn set_state(key: &str, format: &str) -> Value {
    let format = json!({"text_format_source": {"inline_string": format}});
    json!({"name": "state", "typed_config": {
        "@type": format!("{TYPE}.filters.network.set_filter_state.v3.Config"),
        "on_new_connection": [{"object_key": key, "format_string": format}],
    }})
}

fn router() -> Value {
    filter("router", "router.v3.Router")
}

fn disabled() -> Value {
    json!({"@type": "type.googleapis.com/envoy.config.route.v3.FilterConfig", "disabled": true})
}

/// Has the filter come by discovery, with what was delivered.
fn discover(dump: &mut Value, delivered: Option<Value>) {
    let filter = &mut filters(dump)[0];
    filter.as_object_mut().expect("a filter").remove("typed_config");
    filter["config_discovery"] = json!({"config_source": {"ads": {}}});
    let delivered =
        delivered.map(|it| json!({"ecds_filter": {"name": "egress-warden", "typed_config": it}}));
    let delivered: Vec<_> = delivered.into_iter().collect();
    let discovery = json!({"@type": "type.googleapis.com/envoy.admin.v3.EcdsConfigDump", "ecds_filters": delivered});
    dump["configs"].as_array_mut().expect("configs").push(discovery);
}

fn make_dynamic(dump: &mut Value) {
    let listener = listener(dump).clone();
    let part = part(dump, "ListenersConfigDump");
    part["static_listeners"] = json!([]);
    part["dynamic_listeners"] = json!([{"name": "egress", "active_state": {"listener": listener}}]);
}

fn add_cluster(dump: &mut Value, cluster: &Value) {
    let clusters = &mut part(dump, "ClustersConfigDump")["static_clusters"];
    clusters.as_array_mut().expect("clusters").push(json!({"cluster": cluster}));
}

fn forward_proxy() -> Value {
    json!({"name": "dynamic", "cluster_type": {"name": "envoy.clusters.dynamic_forward_proxy", "typed_config":
        {"@type": format!("{TYPE}.clusters.dynamic_forward_proxy.v3.ClusterConfig")}}})
}

/// Has the first cluster begin TLS.
fn originate(dump: &mut Value, common: Value) {
    let clusters = &mut part(dump, "ClustersConfigDump")["static_clusters"];
    clusters[0]["cluster"]["transport_socket"] = json!({
        "name": "envoy.transport_sockets.tls",
        "typed_config": {
            "@type": format!("{TYPE}.transport_sockets.tls.v3.UpstreamTlsContext"),
            "sni": "allowed.example",
            "common_tls_context": common,
        },
    });
}
