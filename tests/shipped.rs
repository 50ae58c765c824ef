//! The files under `envoy/`, read by those who will have to read them: Envoy its configurations, docker-compose its
//! services, the schemas of Istio's custom resources the manifests. What is written down twice, because a user copies
//! one file and not the other, must be the same in both places.

#![cfg(not(target_family = "wasm"))]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use egress_warden::host::Authority;
use egress_warden::root_id::Connections;
use kit::custom_resources::CustomResources;
use kit::envoys;
use serde_json::{Map, Value, json};

/// The configurations of the local set-up.
const CONFIGURATIONS: [&str; 4] = ["sidecar", "gateway", "gateway-tls", "external"];

/// That with the native library, which needs a newer Envoy than the others.
const NATIVE: &str = "envoy/native/gateway.yaml";

/// Those that are services in `docker-compose.yaml`, under the same names. Nothing there speaks the TLS that
/// `gateway-tls` is for.
const SERVICES: [&str; 3] = ["sidecar", "gateway", "external"];

/// Those that watch them, and their images.
const WATCHERS: [(&str, &str); 2] =
    [("grafana", "grafana/grafana:12.3.1"), ("prometheus", "prom/prometheus:v3.5.0")];

/// How a query of the dashboard says what was chosen.
const CHOSEN: &str = r#"job=~"$job", namespace=~"$namespace", instance=~"$instance""#;

/// The columns of the gateway's access log: those the reference path promises, then the filter's own.
const ACCESS_LOG_FIELDS: [&str; 34] = [
    "trace_id",
    "upstream_host",
    "downstream_remote_address",
    "requested_server_name",
    "response_code",
    "upstream_service_time",
    "user_agent",
    "path",
    "route_name",
    "bytes_sent",
    "response_flags",
    "upstream_local_address",
    "duration",
    "upstream_cluster",
    "upstream_transport_failure_reason",
    "authority",
    "request_id",
    "protocol",
    "bytes_received",
    "method",
    "downstream_local_address",
    "start_time",
    "istio_policy_status",
    "x_forwarded_for",
    "source_principal",
    "egress_decision",
    "egress_rule",
    "egress_reason",
    "egress_policy",
    "egress_would",
    "egress_would_rule",
    "egress_would_reason",
    "response_code_details",
    "guard",
];

#[test]
fn every_envoy_accepts_every_configuration() {
    for version in envoys::usual() {
        for name in CONFIGURATIONS {
            let file = format!("envoy/{name}.yaml");
            validate_with_envoy(version, &["--disable-hot-restart", "--config-path", &file]);
        }
    }
}

#[test]
fn envoy_accepts_the_configuration_of_the_native_library() {
    let arguments = ["--disable-hot-restart", "--config-path", NATIVE];
    validate_with_envoy(envoys::newest(), &arguments);
}

/// The command of the README's "In a real Envoy", and the same for hosts that are looked up.
#[test]
fn every_envoy_accepts_what_is_rendered_as_the_readme_says() {
    const COMMAND: &str =
        "egress-warden render envoy envoy/two-hosts.yaml --gateway envoy/local-gateway.yaml";
    let readme = std::fs::read_to_string(repository().join("README.md")).expect("a README");
    assert!(readme.contains(&format!("$ {COMMAND} > target/mine.yaml")));
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name).to_str().expect("UTF-8").to_owned();
    let mut looked_up = document(&envoy("local-gateway.yaml"));
    looked_up["spec"]["ways"] = json!([{"way": "http"}, {"way": "passthrough"}]);
    std::fs::write(path("gateway.json"), looked_up.to_string()).expect("a file");
    let commands = [COMMAND, &COMMAND.replace("envoy/local-gateway.yaml", &path("gateway.json"))];
    for (number, command) in commands.into_iter().enumerate() {
        let mut tool = std::process::Command::new(kit::tool());
        let output = tool.current_dir(repository()).args(command.split(' ').skip(1)).output();
        let output = output.expect("the tool runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let file = path(&format!("{number}.yaml"));
        std::fs::write(&file, output.stdout).expect("a file");
        for version in envoys::usual() {
            validate_with_envoy(version, &["--disable-hot-restart", "--config-path", &file]);
        }
    }
}

/// The command of the page about the library.
#[test]
fn envoy_accepts_what_is_rendered_with_the_native_library() {
    const COMMAND: &str =
        "egress-warden render envoy envoy/two-hosts.yaml --gateway envoy/native/local-gateway.yaml";
    let page = std::fs::read_to_string(repository().join("docs/native.md")).expect("a page");
    assert!(page.contains(&format!("$ {COMMAND} > target/mine.yaml")));
    let mut tool = Command::new(kit::tool());
    let output = tool.current_dir(repository()).args(COMMAND.split(' ').skip(1)).output();
    let text = String::from_utf8(output.expect("the tool runs").stdout).expect("UTF-8");
    assert!(text.contains("target/libegress_warden.so"), "{text}");
    let file = tempfile::NamedTempFile::with_suffix(".yaml").expect("a file");
    std::fs::write(file.path(), text).expect("a file");
    let path = file.path().to_str().expect("UTF-8");
    validate_with_envoy(envoys::newest(), &["--disable-hot-restart", "--config-path", path]);
}

#[test]
fn docker_compose_runs_the_very_same_configurations() {
    let services = services_as_written();
    assert_eq!(
        services.keys().map(String::as_str).collect::<BTreeSet<_>>(),
        SERVICES.into_iter().chain(WATCHERS.map(|(name, _)| name)).collect(),
    );
    for name in SERVICES {
        let service = &services[name];
        assert_eq!(service["image"], format!("${{ENVOY_IMAGE:-{}}}", image()), "{name}");
        assert_eq!(service["entrypoint"], json!(["/usr/local/bin/envoy"]), "{name}");

        // The container sees the repository's directories under its working directory, by the same relative names,
        // and nothing in it can write to them.
        let inside = service["working_dir"].as_str().expect("a working directory");
        let mounts = [("./", "envoy"), ("../target", "target")]
            .map(|(outside, directory)| format!("{outside}:{inside}/{directory}:ro"));
        assert_eq!(service["volumes"], json!(mounts), "{name}");

        // All three share the first one's addresses, so 127.0.0.1 in the configurations means what it says.
        let network = (name != "sidecar").then_some("service:sidecar");
        assert_eq!(service.get("network_mode").and_then(Value::as_str), network, "{name}");

        let command = service["command"].as_array().expect("a command");
        let arguments: Vec<&str> = command.iter().filter_map(Value::as_str).collect();
        assert_eq!(arguments[..2], ["--config-path", &format!("envoy/{name}.yaml")]);
        for version in envoys::usual() {
            validate_with_envoy(version, &arguments);
        }
    }
}

/// Where docker-compose is installed; `./build.sh test` says where it is not.
#[test]
fn docker_compose_reads_its_file_as_it_is_written() {
    let Some(resolved) = services_as_resolved() else { return };
    let written = services_as_written();
    assert_eq!(resolved.keys().collect::<Vec<_>>(), written.keys().collect::<Vec<_>>());
    for (name, image) in WATCHERS {
        assert_eq!(resolved[name]["image"], image, "{name}");
    }
    for name in SERVICES {
        let (service, resolved) = (&written[name], &resolved[name]);
        for key in ["command", "entrypoint", "network_mode", "read_only", "working_dir"] {
            assert_eq!(resolved.get(key), service.get(key), "{name}: {key}");
        }
        assert_eq!(resolved["image"], image(), "{name}");
        let mounts = ["envoy", "target"].map(|directory| {
            format!("{}:/egress-warden/{directory}:ro", repository().join(directory).display())
        });
        assert_eq!(resolved["volumes"], json!(mounts), "{name}");
    }
}

/// What watches the others has what it reads from this folder, and nobody beyond this machine reaches anything.
#[test]
fn docker_compose_shows_what_the_gateway_counts() {
    let services = services_as_written();
    let ports = services["sidecar"]["ports"].as_array().expect("ports");
    assert!(
        ports.len() == 4 && ports.iter().all(|it| it.as_str().unwrap().starts_with("127.0.0.1:"))
    );
    for (name, service) in &services {
        assert!(name == "sidecar" || service.get("ports").is_none(), "{name}");
    }
    let prefix = "/egress-warden/envoy/";
    for (name, image) in WATCHERS {
        let service = &services[name];
        let variable = format!("{}_IMAGE", name.to_uppercase());
        assert_eq!(service["image"], format!("${{{variable}:-{image}}}"), "{name}");
        assert_eq!(
            service["volumes"],
            json!([format!("./:{prefix}:ro").replace("/:ro", ":ro")]),
            "{name}"
        );
        assert_eq!(service["network_mode"], "service:sidecar", "{name}");
        let text = service.to_string();
        let paths: Vec<&str> = text.split(prefix).skip(1).collect();
        assert!(!paths.is_empty(), "{name}");
        for path in paths {
            let path = path.split('"').next().expect("a path");
            assert!(envoy(path).exists(), "{name}: {path}");
        }
    }
    let environment = &services["grafana"]["environment"];
    for (variable, value) in [
        ("GF_AUTH_ANONYMOUS_ORG_ROLE", "Viewer"),
        ("GF_AUTH_BASIC_ENABLED", "false"),
        ("GF_AUTH_DISABLE_LOGIN_FORM", "true"),
        ("GF_SECURITY_DISABLE_INITIAL_ADMIN_CREATION", "true"),
    ] {
        assert_eq!(environment[variable], value, "{variable}");
    }

    let source =
        &document(&envoy("grafana/provisioning/datasources/prometheus.yaml"))["datasources"][0];
    let arguments = services["prometheus"]["command"].as_array().expect("a command");
    let (_, port) = source["url"].as_str().and_then(|it| it.rsplit_once(':')).expect("an URL");
    assert!(arguments.contains(&json!(format!("--web.listen-address=0.0.0.0:{port}"))));
    let global = &document(&envoy("prometheus/prometheus.yaml"))["global"];
    assert_eq!(source["jsonData"]["timeInterval"], global["scrape_interval"]);
    let provider =
        &document(&envoy("grafana/provisioning/dashboards/egress-warden.yaml"))["providers"][0];
    assert_eq!(provider["options"]["path"], format!("{prefix}grafana"));
}

#[test]
fn the_dashboard_is_what_grafana_needs() {
    let text = std::fs::read_to_string(envoy("grafana/egress-warden.json")).expect("a dashboard");
    let dashboard: Value = serde_json::from_str(&text).expect("JSON");
    // A number would make it the dashboard of one Grafana.
    assert_eq!((&dashboard["id"], &dashboard["uid"]), (&Value::Null, &json!("egress-warden")));
    let named = text.matches(r#""uid": ""#).count() - 1;
    assert_eq!(
        text.matches(r#""uid": "${datasource}""#).count(),
        named,
        "a data source of one Grafana"
    );
    assert!(dashboard["schemaVersion"].as_u64().expect("a number") >= 36);
    let variables = dashboard["templating"]["list"].as_array().expect("variables");
    let variables: Vec<_> =
        variables.iter().map(|it| it["name"].as_str().expect("a name")).collect();
    assert_eq!(variables, ["datasource", "job", "namespace", "instance"]);

    let source = json!({"type": "prometheus", "uid": "${datasource}"});
    let page = std::fs::read_to_string(repository().join("docs/metrics.md")).expect("a page");
    let mut ids = BTreeSet::new();
    let mut cells = BTreeSet::new();
    for panel in dashboard["panels"].as_array().expect("panels") {
        let title = panel["title"].as_str().expect("a title");
        assert!(ids.insert(panel["id"].as_u64().expect("a number")), "{title}: its id");
        let [x, y, width, height] =
            ["x", "y", "w", "h"].map(|key| panel["gridPos"][key].as_u64().expect("a number"));
        assert!(width > 0 && height > 0 && x + width <= 24, "{title}: its place");
        for cell in (x..x + width).flat_map(|x| (y..y + height).map(move |y| (x, y))) {
            assert!(cells.insert(cell), "{title}: another is at {cell:?}");
        }
        if panel["type"] == "row" {
            assert!(page.contains(&format!("\n| {title} | ")), "{title} in docs/metrics.md");
            continue;
        }
        assert!(panel["description"].as_str().is_some_and(|it| it.ends_with('.')), "{title}");
        assert!(panel["fieldConfig"]["defaults"]["unit"].is_string(), "{title}: a unit");
        assert_eq!(panel["datasource"], source, "{title}");
        let mut names = BTreeSet::new();
        for target in panel["targets"].as_array().expect("targets") {
            assert!(names.insert(target["refId"].as_str().expect("a name")), "{title}");
            assert_eq!(target["datasource"], source, "{title}");
            let expression = target["expr"].as_str().expect("an expression");
            assert!(expression.contains(CHOSEN) || expression.contains("ALERTS{"), "{title}");
            for metric in expression.split(|it: char| !(it.is_ascii_lowercase() || it == '_')) {
                let is_ours = metric.starts_with("egress_warden_");
                assert!(
                    !is_ours || page.contains(&metric.replace("connections_policy_", "policy_")),
                    "{metric}"
                );
            }
        }
        assert!(!names.is_empty(), "{title} asks nothing");
    }
}

#[test]
fn every_manifest_fits_the_schema_of_its_kind() {
    let schemas = CustomResources::load();
    let mut kinds = BTreeSet::new();
    for file in manifests() {
        for manifest in documents(&file) {
            let errors = errors_of(&schemas, &manifest);
            assert!(errors.is_empty(), "{}: {errors:#?}", file.display());
            kinds.insert(manifest["kind"].as_str().expect("a kind").to_owned());
        }
    }
    let expected = [
        "Deployment",
        "DestinationRule",
        "EnvoyExtensionPolicy",
        "EnvoyFilter",
        "EnvoyProxy",
        "Gateway",
        "Namespace",
        "NetworkPolicy",
        "SecurityPolicy",
        "Service",
        "ServiceAccount",
        "ServiceEntry",
        "Telemetry",
        "TrafficExtension",
        "ValidatingAdmissionPolicy",
        "ValidatingAdmissionPolicyBinding",
        "VirtualService",
        "WasmPlugin",
    ];
    assert_eq!(kinds, expected.map(str::to_owned).into());
}

/// In the place of the module, and nothing else.
#[test]
fn the_native_gateway_is_the_gateway_but_for_the_filter() {
    let mut native = document(&repository().join(NATIVE));
    let mut wasm = gateway();
    let [of_native, of_wasm] = [&native, &wasm].map(|it| filter(it, "egress-warden").clone());
    let text = of_native["filter_config"]["value"].as_str().expect("a text");
    let policy: Value = serde_json::from_str(text).expect("JSON");
    assert_eq!(policy, document(&envoy("policy.yaml")));
    assert_eq!(of_native["filter_name"], of_wasm["config"]["name"]);
    for gateway in [&mut native, &mut wasm] {
        *gateway.pointer_mut(FIRST_FILTER).expect("a filter") = Value::Null;
    }
    assert_eq!(native, wasm);
}

/// In the place of the plugin, with its policy: between other patches and the guard, where the pod has the library.
#[test]
fn the_native_filter_of_istio_is_the_plugin_in_another_form() {
    let native = |file: &str| document(&repository().join("envoy/native/istio").join(file));
    let plugin = document(&istio("traffic-extension.yaml"));
    let guard = document(&istio("guard.yaml"));
    let manifest = native("filter.yaml");
    assert_eq!(manifest["metadata"], plugin["metadata"]);
    let [spec, guards] = [&manifest, &guard].map(|it| &it["spec"]);
    assert_eq!(spec["workloadSelector"]["labels"], plugin["spec"]["selector"]["matchLabels"]);
    assert!((1..100).contains(&spec["priority"].as_i64().expect("a number")));
    assert_eq!(guards["priority"], 100);
    let [patch, of_guard] = [spec, guards].map(|it| &it["configPatches"][0]);
    assert_eq!((&patch["applyTo"], &patch["match"]), (&of_guard["applyTo"], &of_guard["match"]));
    assert_eq!(patch["patch"]["operation"], of_guard["patch"]["operation"]);
    let config = &patch["patch"]["value"]["typed_config"];
    assert_eq!(
        config["@type"],
        filter(&document(&repository().join(NATIVE)), "egress-warden")["@type"]
    );
    assert_eq!(config["filter_config"]["value"], plugin["spec"]["wasm"]["pluginConfig"]);

    let values = native("gateway-values.yaml");
    let mount = &values["volumeMounts"][0];
    assert_eq!(values["env"]["ENVOY_DYNAMIC_MODULES_SEARCH_PATH"], mount["mountPath"]);
    assert_eq!(values["volumes"][0]["name"], mount["name"]);
    assert_eq!(config["dynamic_module_config"], json!({"name": "egress_warden"}));

    let steps = native("kustomization.yaml");
    assert_eq!(steps["resources"], json!(["../../istio", "filter.yaml"]));
    let target = json!({"kind": plugin["kind"], "name": plugin["metadata"]["name"]});
    assert_eq!(steps["patches"][0]["target"], target);
    let deleted = &parse(steps["patches"][0]["patch"].as_str().expect("a text"))[0];
    assert_eq!(deleted["$patch"], "delete");
    for field in ["apiVersion", "kind", "metadata"] {
        assert_eq!(deleted[field], plugin[field]);
    }
}

/// The pod has the library where it is registered, and the filter and its guard are for all of the gateway's routes.
#[test]
fn everything_of_envoy_gateway_names_the_gateway() {
    let folder = "envoy/native/envoy-gateway";
    let expected = ["EnvoyProxy", "Gateway", "SecurityPolicy", "EnvoyExtensionPolicy"];
    assert_eq!(kinds_of(folder, &kustomization(folder)), expected);
    assert_eq!(kustomization(folder)["sortOptions"], json!({"order": "fifo"}));
    let of = |file: &str| document(&repository().join(folder).join(file));
    let [proxy, gateway, guard, filter] =
        ["envoy-proxy.yaml", "gateway.yaml", "guard.yaml", "filter.yaml"].map(of);
    let name = &gateway["metadata"]["name"];
    let target = json!([{"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": name}]);
    for manifest in [&guard, &filter] {
        assert_eq!(manifest["spec"]["targetRefs"], target);
        assert_eq!(manifest["metadata"]["namespace"], gateway["metadata"]["namespace"]);
    }
    let parameters = &gateway["spec"]["infrastructure"]["parametersRef"];
    assert_eq!(
        (&parameters["kind"], &parameters["name"]),
        (&proxy["kind"], &proxy["metadata"]["name"])
    );
    // Who may write a policy for a route of his own takes the filter away from it.
    for listener in gateway["spec"]["listeners"].as_array().expect("listeners") {
        assert_eq!(listener["allowedRoutes"], json!({"namespaces": {"from": "Same"}}));
    }

    let module = &filter["spec"]["dynamicModule"][0];
    assert_eq!(module["filterName"], "egress-warden");
    let policy = module["config"].to_string();
    egress_warden::config::read(policy.as_bytes()).expect("a policy");
    let registered = &proxy["spec"]["dynamicModules"][0];
    assert_eq!(registered["name"], module["name"]);
    let path = registered["source"]["local"]["path"].as_str().expect("a path");
    let deployment = &proxy["spec"]["provider"]["kubernetes"]["envoyDeployment"];
    let mounts = [&deployment["container"], &deployment["initContainers"][0]]
        .map(|container| &container["volumeMounts"][0]);
    for mount in mounts {
        let folder = mount["mountPath"].as_str().expect("a path");
        assert_eq!(path, format!("{folder}/libegress_warden.so"));
        assert_eq!(mount["name"], deployment["pod"]["volumes"][0]["name"]);
    }
    let format = &proxy["spec"]["telemetry"]["accessLog"]["settings"][0]["format"];
    let mut fields = access_log(&document(&envoy("gateway.yaml"))).clone();
    // RBAC of a route has no such prefix.
    fields.as_object_mut().expect("fields").remove("guard");
    assert_eq!(format["json"], fields);
}

#[test]
fn a_misspelt_field_is_a_fault_at_any_depth() {
    let schemas = CustomResources::load();
    for (place, field) in
        [("", "specs"), ("/spec", "failStategy"), ("/spec/selector", "matchLabel")]
    {
        let mut plugin = document(&istio("wasm-plugin.yaml"));
        let object = plugin.pointer_mut(place).and_then(Value::as_object_mut).expect("an object");
        object.insert(field.to_owned(), json!({}));
        let errors = errors_of(&schemas, &plugin);
        assert!(errors.iter().any(|error| error.contains(field)), "{place}/{field}: {errors:#?}");
    }
}

#[test]
fn a_value_of_the_wrong_kind_is_an_error() {
    let schemas = CustomResources::load();
    for (place, value) in [
        ("/spec/failStrategy", json!("FAIL_SAFE")),
        ("/spec/priority", json!("first")),
        ("/spec/url", Value::Null),
    ] {
        let mut plugin = document(&istio("wasm-plugin.yaml"));
        *plugin.pointer_mut(place).expect("a field") = value;
        assert!(!errors_of(&schemas, &plugin).is_empty(), "{place}");
    }
}

#[test]
fn the_local_policy_is_the_same_in_its_own_file_and_in_the_gateway() {
    let gateway = gateway();
    let configuration = &filter(&gateway, "egress-warden")["config"]["configuration"];
    let inline = configuration["value"].as_str().expect("a text");
    assert_eq!(document(&envoy("policy.yaml")), serde_json::from_str::<Value>(inline).unwrap());
}

#[test]
fn the_plugins_are_the_same_for_both_generations_of_istio() {
    for folder in ["", "tls/", "ambient/"] {
        let old = document(&istio(&format!("{folder}wasm-plugin.yaml")));
        let new = document(&istio(&format!("{folder}traffic-extension.yaml")));
        assert_eq!(old["metadata"], new["metadata"], "{folder}");
        for field in ["selector", "targetRefs", "match", "phase", "priority"] {
            assert_eq!(old["spec"][field], new["spec"][field], "{folder}{field}");
        }
        for field in ["url", "type", "pluginName", "pluginConfig"] {
            assert_eq!(old["spec"][field], new["spec"]["wasm"][field], "{folder}{field}");
        }
    }
}

/// The folder `secret/`: the gateway's pod has the variable, the VM takes it from there, and the policy names it.
#[test]
fn the_credential_is_in_the_pod_and_the_policy_names_it() {
    const NAME: &str = "PARTNER_TOKEN";
    fn environment(name: &str) -> Option<Vec<u8>> {
        (name == NAME).then(|| b"t0p-s3cret".to_vec())
    }
    let values = document(&istio("secret/gateway-values.yaml"));
    let variable = &values["envVarFrom"][0];
    assert_eq!(variable["name"], NAME);
    assert_eq!(variable["valueFrom"]["secretKeyRef"]["key"], NAME);

    let steps = kustomization("envoy/istio/secret");
    assert_eq!(steps["sortOptions"], json!({"order": "fifo"}));
    assert_eq!(steps["resources"], json!([".."]));
    assert_eq!(steps["patches"][0]["path"], "traffic-extension.yaml");
    let schemas = CustomResources::load();
    let mut policies = Vec::new();
    for (file, plugin) in [("traffic-extension.yaml", "/spec/wasm"), ("wasm-plugin.yaml", "/spec")]
    {
        let mut manifest = document(&istio(file));
        add_all(&mut manifest, &document(&istio(&format!("secret/{file}"))));
        let errors = errors_of(&schemas, &manifest);
        assert!(errors.is_empty(), "{file}: {errors:#?}");
        let plugin = manifest.pointer(plugin).expect("a plugin");
        assert_eq!(plugin["vmConfig"]["env"], json!([{"name": NAME, "valueFrom": "HOST"}]));
        let policy = &plugin["pluginConfig"];
        assert_eq!(policy["rules"][0]["id"], "payments-to-api");
        let text = policy.to_string();
        egress_warden::config::read_with_secrets(text.as_bytes(), environment).expect("a policy");
        assert!(egress_warden::config::read_with_secrets(text.as_bytes(), |_| None).is_err());
        policies.push(policy.clone());
    }
    assert_eq!(policies[0], policies[1]);
}

/// Applies a list of additions (RFC 6902) to members of objects.
fn add_all(manifest: &mut Value, additions: &Value) {
    for addition in additions.as_array().expect("a list") {
        assert_eq!(addition["op"], "add");
        let path = addition["path"].as_str().expect("a path");
        let (object, member) = path.rsplit_once('/').expect("an absolute path");
        let object = manifest.pointer_mut(object).and_then(Value::as_object_mut).expect(path);
        let before = object.insert(member.to_owned(), addition["value"].clone());
        assert_eq!(before, None, "{path}");
    }
}

#[test]
fn the_plugin_for_connections_stands_where_connections_arrive() {
    let spec = &document(&istio("tls/wasm-plugin.yaml"))["spec"];
    assert_eq!(spec["type"], "NETWORK");
    assert_eq!(spec["pluginName"], "connections");
    // Its policy sees port 443, and Istio puts it before that port alone.
    assert_eq!(spec["match"], json!([{"ports": [{"number": 443}]}]));
    for way in ["passthrough.yaml", "mutual.yaml"] {
        let server = &Way::read(way).gateway["servers"][0];
        assert_eq!(
            (&server["port"]["number"], &server["port"]["protocol"]),
            (&json!(443), &json!("TLS"))
        );
    }
    let [entry] =
        <[Value; 1]>::try_from(documents(&istio("tls/hosts/service-entry.yaml"))).expect("one");
    assert_eq!(entry["spec"]["ports"][0]["number"], 443);
}

/// What leads a connection out of the gateway is a name that its plugin takes, as the bytes stand.
#[test]
fn every_server_name_that_leads_out_has_the_form_of_the_root_id() {
    let root_id_of = |name: &Value| {
        let judged = Connections::of_root_id(name.as_str().expect("a text").as_bytes());
        judged.expect("a root id").expect("a root id of connections")
    };
    let istios = root_id_of(&document(&istio("tls/wasm-plugin.yaml"))["spec"]["pluginName"]);
    let mutual = Way::read("mutual.yaml");
    let istio_names = [
        &Way::read("passthrough.yaml").routes["tls"][1]["match"][0]["sniHosts"],
        &mutual.gateway["servers"][0]["hosts"],
        &json!([mutual.tls()["sni"]]),
        &documents(&istio("tls/wildcards.yaml"))[1]["spec"]["tls"][1]["match"][0]["sniHosts"],
    ];
    let mut names: Vec<_> = istio_names.map(|names| (istios, names.clone())).into();
    let gateway = document(&envoy("gateway-tls.yaml"));
    let listener = &gateway["static_resources"]["listeners"][0];
    for chain in listener["filter_chains"].as_array().expect("chains") {
        let judged = root_id_of(&chain["filters"][0]["typed_config"]["config"]["root_id"]);
        names.push((judged, chain["filter_chain_match"]["server_names"].clone()));
    }
    let mut seen = 0;
    for (judged, names) in &names {
        for name in names.as_array().into_iter().flatten() {
            let name = name.as_str().expect("a name").replace('*', "x");
            let read = Authority::of_server_name(name.as_bytes(), judged.server_names);
            assert!(read.is_ok(), "{name}: {read:?}");
            seen += 1;
        }
    }
    assert_eq!(seen, 6);
}

#[test]
fn both_ways_of_a_connection_lead_through_the_gateway() {
    let host = &document(&istio("tls/hosts/service-entry.yaml"))["spec"]["hosts"][0];
    let [passthrough, mutual] = ["passthrough.yaml", "mutual.yaml"].map(Way::read);
    for way in [&passthrough, &mutual] {
        assert_eq!(way.gateway["servers"].as_array().map(Vec::len), Some(1));
        assert_eq!(way.gateway["servers"][0]["hosts"], json!([host]));
        assert_eq!(way.routes["hosts"], json!([host]));
        assert_eq!(way.routes["gateways"], json!(["mesh", "egress-tls"]));

        let to_gateway = &way.routes["tls"][0];
        let matched = json!([{"gateways": ["mesh"], "port": 443, "sniHosts": [host]}]);
        assert_eq!(to_gateway["match"], matched);
        let destination = &to_gateway["route"][0]["destination"];
        assert_eq!(destination["host"], way.rule["host"]);
        assert_eq!(destination["subset"], way.rule["subsets"][0]["name"]);
        assert_eq!(destination["port"], json!({"number": 443}));
        let leg = &way.rule["subsets"][0]["trafficPolicy"]["portLevelSettings"][0];
        assert_eq!(leg["port"], json!({"number": 443}));
    }

    let out = json!([{"destination": {"host": host, "port": {"number": 443}}}]);
    assert_eq!(passthrough.gateway["servers"][0]["tls"], json!({"mode": "PASSTHROUGH"}));
    assert_eq!(passthrough.tls(), &json!({"mode": "DISABLE"}));
    let matched = json!([{"gateways": ["egress-tls"], "port": 443, "sniHosts": [host]}]);
    assert_eq!(passthrough.routes["tls"][1], json!({"match": matched, "route": out}));
    assert_eq!(passthrough.routes.get("tcp"), None);

    assert_eq!(mutual.gateway["servers"][0]["tls"], json!({"mode": "ISTIO_MUTUAL"}));
    assert_eq!(mutual.tls(), &json!({"mode": "ISTIO_MUTUAL", "sni": host}));
    let matched = json!([{"gateways": ["egress-tls"], "port": 443}]);
    assert_eq!(mutual.routes["tcp"], json!([{"match": matched, "route": out}]));
    assert_eq!(mutual.routes["tls"].as_array().map(Vec::len), Some(1));
}

#[test]
fn within_mutual_tls_the_gateway_waits_for_the_verdict() {
    let spec = &document(&istio("tls/wait.yaml"))["spec"];
    assert_eq!(
        spec["workloadSelector"],
        document(&istio("tls/guard.yaml"))["spec"]["workloadSelector"]
    );
    let host = &document(&istio("tls/hosts/service-entry.yaml"))["spec"]["hosts"][0];
    let patches = spec["configPatches"].as_array().expect("patches");
    for patch in patches {
        assert_eq!(&patch["match"]["listener"]["filterChain"]["sni"], host);
        assert_eq!(patch["patch"]["operation"], "MERGE");
    }
    let proxy = &patches[0]["patch"]["value"]["typed_config"];
    assert_eq!(proxy["upstream_connect_mode"], "ON_DOWNSTREAM_DATA");
    assert!(patches[1]["patch"]["value"]["transport_socket_connect_timeout"].is_string());
}

#[test]
fn names_under_a_wildcard_are_looked_up_behind_the_guard() {
    let documents = documents(&istio("tls/wildcards.yaml"));
    let specs: Vec<&Value> = documents.iter().map(|document| &document["spec"]).collect();
    let [gateway, routes, lookup, entry] = specs[..] else { panic!("four resources") };
    let hosts = &entry["hosts"];
    assert_eq!(entry["resolution"], "DYNAMIC_DNS");
    assert_eq!(&gateway["servers"][0]["hosts"], hosts);
    assert_eq!(gateway["servers"][0]["tls"], json!({"mode": "PASSTHROUGH"}));
    let [to_gateway, out] = [0, 1].map(|index| &routes["tls"][index]);
    for leg in [to_gateway, out] {
        assert_eq!(&leg["match"][0]["sniHosts"], hosts);
    }
    assert_eq!(to_gateway["route"], Way::read("passthrough.yaml").routes["tls"][0]["route"]);
    assert_eq!(out["route"][0]["destination"]["host"], hosts[0]);

    let guard = &document(&istio("tls/guard.yaml"))["spec"];
    assert!(lookup["priority"].as_u64() > guard["priority"].as_u64());
    let patch = &lookup["configPatches"][0];
    assert_eq!(patch["match"]["listener"]["filterChain"]["sni"], hosts[0]);
    assert_eq!(patch["patch"]["operation"], "INSERT_BEFORE");
    let config = &patch["patch"]["value"]["typed_config"];
    assert_eq!(config["port_value"], entry["ports"][0]["number"]);
    // As Istio names the cache of the cluster.
    let name = format!("{}_dfp_dns_cache", hosts[0].as_str().expect("a host"));
    assert_eq!(config["dns_cache_config"]["name"], json!(name));
}

/// TLS that the gateway begins is worth nothing without the name it must find in the certificate.
#[test]
fn the_gateway_ties_the_external_service_to_its_name() {
    let rules = documents(&istio("destination-rule.yaml"));
    let rule = rules.iter().find(|rule| rule["spec"]["host"] == "api.example.com");
    let spec = &rule.expect("a rule for the service")["spec"];
    assert_eq!(spec["exportTo"], json!(["."]));
    let tls = &spec["trafficPolicy"]["portLevelSettings"][0]["tls"];
    let name = "api.example.com";
    assert_eq!(tls, &json!({"mode": "SIMPLE", "sni": name, "subjectAltNames": [name]}));
}

#[test]
fn every_policy_is_valid() {
    let [plugin, connections] = ["wasm-plugin.yaml", "tls/wasm-plugin.yaml"]
        .map(|file| document(&istio(file))["spec"]["pluginConfig"].clone());
    let gateway_tls = document(&envoy("gateway-tls.yaml"));
    let inline = &chains(&gateway_tls)[0][0]["typed_config"]["config"]["configuration"]["value"];
    let inline = serde_json::from_str(inline.as_str().expect("a text")).expect("JSON");
    let [lesson, two_hosts] = ["policy.yaml", "two-hosts.yaml"].map(|file| document(&envoy(file)));
    for policy in [&lesson, &two_hosts, &plugin, &connections, &inline] {
        if let Err(errors) = egress_warden::config::read(policy.to_string().as_bytes()) {
            panic!("{errors}");
        }
    }
}

#[test]
fn the_guard_stands_between_the_filter_and_the_router() {
    let gateway = gateway();
    let filters = connection_manager(&gateway)["http_filters"].as_array().expect("filters");
    let names: Vec<&Value> = filters.iter().map(|filter| &filter["name"]).collect();
    assert_eq!(names, ["egress-warden", "egress-warden-guard", "envoy.filters.http.router"]);

    let patches = &document(&istio("guard.yaml"))["spec"]["configPatches"];
    assert_eq!(patches.as_array().map(Vec::len), Some(1));
    assert_eq!(patches[0]["patch"]["operation"], "INSERT_BEFORE");
    let position = "/match/listener/filterChain/filter/subFilter/name";
    assert_eq!(patches[0].pointer(position), Some(&json!("envoy.filters.http.router")));
    assert_eq!(patches[0]["patch"]["value"], filters[1], "the guard differs");
}

#[test]
fn the_guard_of_connections_stands_between_the_filter_and_the_proxy() {
    let gateway = document(&envoy("gateway-tls.yaml"));
    let chains = chains(&gateway);
    for filters in &chains {
        let names: Vec<&Value> = filters.iter().map(|filter| &filter["name"]).collect();
        assert_eq!(names[..2], ["egress-warden", "egress-warden-guard"]);
        assert_eq!(names.last(), Some(&&json!("envoy.filters.network.tcp_proxy")));
        assert_eq!(filters[..2], chains[0][..2], "the filter or the guard differs");
    }

    let spec = &document(&istio("tls/guard.yaml"))["spec"];
    assert_eq!(spec["priority"], document(&istio("guard.yaml"))["spec"]["priority"]);
    let patches = &spec["configPatches"];
    assert_eq!(patches.as_array().map(Vec::len), Some(1));
    assert_eq!(patches[0]["applyTo"], "NETWORK_FILTER");
    assert_eq!(patches[0]["patch"]["operation"], "INSERT_BEFORE");
    let place = json!({"filterChain": {"filter": {"name": "envoy.filters.network.tcp_proxy"}}});
    assert_eq!(patches[0]["match"], json!({"context": "GATEWAY", "listener": place}));
    assert_eq!(patches[0]["patch"]["value"], chains[0][1], "the guard differs");
}

#[test]
fn the_log_of_connections_has_the_fields_of_the_gateways() {
    let gateway = document(&envoy("gateway-tls.yaml"));
    let log = &gateway["static_resources"]["listeners"][0]["access_log"][0]["typed_config"];
    let fields = log["log_format"]["json_format"].as_object().expect("fields");
    let of_connections = |name: &str| name.replacen("egress_", "egress_connection_", 1);
    let gateway = self::gateway();
    let mut expected: BTreeMap<String, Value> = BTreeMap::new();
    for (name, format) in access_log(&gateway).as_object().expect("fields") {
        let format = of_connections(format.as_str().expect("a format"));
        expected.insert(of_connections(name), format.into());
    }
    let details = json!("%CONNECTION_TERMINATION_DETAILS%");
    expected.insert("connection_termination_details".to_owned(), details);
    for (name, format) in fields {
        assert_eq!(expected.get(name), Some(format), "{name}");
    }
    for name in ACCESS_LOG_FIELDS.iter().filter(|name| name.starts_with("egress_")) {
        assert!(fields.contains_key(&of_connections(name)), "{name}");
    }
}

#[test]
fn the_access_log_has_the_promised_fields_and_no_other() {
    let gateway = gateway();
    let fields = access_log(&gateway).as_object().expect("fields").keys().map(String::as_str);
    assert_eq!(fields.collect::<BTreeSet<_>>(), BTreeSet::from(ACCESS_LOG_FIELDS));
}

#[test]
fn the_access_log_in_the_mesh_has_the_fields_of_requests_and_of_connections() {
    let mesh = document(&istio("mesh-config.yaml"));
    let mesh = &mesh["meshConfig"];
    let format = mesh["accessLogFormat"].as_str().expect("a format");
    let format: Value = serde_json::from_str(format).expect("a format in JSON");
    let gateway_tls = document(&envoy("gateway-tls.yaml"));
    let log = &gateway_tls["static_resources"]["listeners"][0]["access_log"][0]["typed_config"];
    let of_connections = log["log_format"]["json_format"].as_object().expect("fields");
    let mut expected = access_log(&gateway()).as_object().expect("fields").clone();
    let theirs = |name: &str| name.starts_with("egress_") || name.starts_with("connection_");
    expected.extend(of_connections.clone().into_iter().filter(|(name, _)| theirs(name)));
    assert_eq!(format, Value::Object(expected));
    assert_eq!(mesh["accessLogEncoding"], "JSON");
    assert_eq!(mesh["outboundTrafficPolicy"]["mode"], "REGISTRY_ONLY");
}

#[test]
fn what_the_router_would_add_by_itself_is_switched_off() {
    let gateway = gateway();
    assert_eq!(filter(&gateway, "envoy.filters.http.router")["suppress_envoy_headers"], true);
    let manager = connection_manager(&gateway);
    for host in manager["route_config"]["virtual_hosts"].as_array().expect("virtual hosts") {
        assert_eq!(host["include_request_attempt_count"], false, "{}", host["name"]);
    }
    assert_eq!(manager.get("tracing"), None);

    let values = document(&istio("gateway-values.yaml"));
    let annotation =
        values["podAnnotations"]["proxy.istio.io/config"].as_str().expect("an annotation");
    let expected =
        json!({"envoyDebugHeaders": {"disabled": true}, "attemptCount": {"disabled": true}});
    let [annotation] = <[Value; 1]>::try_from(parse(annotation)).expect("one document");
    assert_eq!(annotation["proxyHeaders"], expected);
    for (file, field) in [
        ("telemetry.yaml", "disableContextPropagation"),
        ("telemetry-1.29.yaml", "disableSpanReporting"),
    ] {
        let telemetry = document(&istio(file));
        assert_eq!(telemetry["spec"]["tracing"], json!([{field: true}]), "{file}");
    }
}

/// Istio leaves these counters out by default, and then nobody sees that a policy was refused.
#[test]
fn the_gateway_counts_refused_policies() {
    let values = document(&istio("gateway-values.yaml"));
    let annotation = values["podAnnotations"]["proxy.istio.io/config"].as_str().expect("a text");
    let matcher = &parse(annotation)[0]["proxyStatsMatcher"];
    let expected = [".*extension_config_discovery.*", ".*egress_warden.*"];
    assert_eq!(matcher, &json!({ "inclusionRegexps": expected }));
}

/// Each gateway gives Prometheus the same labels, also the one that the tool writes.
#[test]
fn every_gateway_has_the_same_labels_for_prometheus() {
    let of_gateway = document(&envoy("gateway.yaml"))["stats_config"].clone();
    let names = of_gateway["stats_tags"].as_array().expect("tags").iter().map(|it| &it["tag_name"]);
    assert_eq!(names.collect::<Vec<_>>(), ["decision", "reason", "rule"]);
    let tool = repository().join("tool/src/render/envoy/stats.yaml");
    for path in [envoy("gateway-tls.yaml"), repository().join(NATIVE), tool] {
        assert_eq!(document(&path)["stats_config"], of_gateway, "{}", path.display());
    }
}

/// The rules for Prometheus do what their tests say.
#[test]
fn the_rules_for_prometheus_pass_their_tests() {
    if Command::new("promtool").arg("--version").output().is_err() {
        println!("skipped: no `promtool` on the path (Debian's package `prometheus` has it)");
        return;
    }
    for arguments in [
        &["check", "config", "prometheus.yaml"][..],
        &["test", "rules", "rules.test.yaml", "rules.days.test.yaml"],
    ] {
        let promtool = Command::new("promtool")
            .args(arguments)
            .current_dir(envoy("prometheus"))
            .output()
            .expect("promtool");
        let text = [promtool.stdout, promtool.stderr].concat();
        assert!(promtool.status.success(), "{}", String::from_utf8_lossy(&text));
    }
}

/// Each alert is tested, and is in the table of docs/metrics.md.
#[test]
fn every_alert_is_tested_and_documented() {
    let page = std::fs::read_to_string(repository().join("docs/metrics.md")).expect("a page");
    let tests = ["rules.test.yaml", "rules.days.test.yaml"]
        .map(|name| std::fs::read_to_string(envoy("prometheus").join(name)).expect("tests"))
        .concat();
    let rules = document(&envoy("prometheus/rules.yaml"));
    let groups = rules["groups"].as_array().expect("groups");
    let rules = groups.iter().flat_map(|group| group["rules"].as_array().expect("rules"));
    for rule in rules {
        let name = rule["alert"].as_str().or(rule["record"].as_str()).expect("a name");
        assert!(tests.contains(name), "{name} in the tests");
        assert!(page.contains(&format!("`{name}`")), "{name} in docs/metrics.md");
    }
}

/// Until the way through the gateway is there, a sidecar that knows a host dials it by itself.
#[test]
fn the_service_entries_are_applied_last_and_the_guard_first() {
    for folder in ["envoy/istio", "envoy/istio/tls"] {
        let way = kustomization(folder);
        assert_eq!(way["sortOptions"], json!({"order": "fifo"}), "{folder}");
        let kinds = kinds_of(folder, &way);
        assert_eq!(kinds[0], "EnvoyFilter", "{folder}");
        assert!(!kinds.iter().any(|kind| kind == "ServiceEntry"), "{folder}");
        let hosts = format!("{folder}/hosts");
        assert_eq!(kinds_of(&hosts, &kustomization(&hosts)), ["ServiceEntry"], "{folder}");
    }
    let wildcards = documents(&istio("tls/wildcards.yaml"));
    let last = wildcards.iter().position(|manifest| manifest["kind"] == "ServiceEntry");
    assert_eq!(last, Some(wildcards.len() - 1));

    let page = std::fs::read_to_string(repository().join("docs/istio.md")).expect("a page");
    let place = |command: &str| page.find(&format!("`kubectl {command}`")).expect(command);
    for folder in ["envoy/istio", "envoy/istio/tls"] {
        let hosts = format!("apply -k {folder}/hosts");
        assert!(place(&format!("apply -k {folder}")) < place(&hosts), "{folder}");
    }
    assert!(place("delete -k envoy/istio/hosts") < place("delete -k envoy/istio"));
}

/// The workload of the walk-through is in the mesh, and its identity is the one that the shipped policy names.
#[test]
fn the_sample_is_a_workload_that_the_policy_names() {
    assert_eq!(
        kinds_of("envoy/istio/sample", &kustomization("envoy/istio/sample")),
        ["Namespace", "ServiceAccount", "Service", "Deployment"]
    );
    let namespace = document(&istio("sample/namespace.yaml"));
    assert_eq!(namespace["metadata"]["labels"]["istio-injection"], "enabled");

    let sample = documents(&istio("sample/sleep.yaml"));
    let [account, service, deployment] = sample.as_slice() else {
        panic!("{} manifests", sample.len());
    };
    for manifest in &sample {
        assert_eq!(manifest["metadata"]["namespace"], namespace["metadata"]["name"]);
    }
    let pod = &deployment["spec"]["template"];
    assert_eq!(deployment["spec"]["selector"]["matchLabels"], pod["metadata"]["labels"]);
    assert_eq!(service["spec"]["selector"], pod["metadata"]["labels"]);
    assert_eq!(pod["spec"]["serviceAccountName"], account["metadata"]["name"]);

    let name = |manifest: &Value| manifest["metadata"]["name"].as_str().expect("a name").to_owned();
    let principal = format!("cluster.local/ns/{}/sa/{}", name(&namespace), name(account));
    let plugin = document(&istio("traffic-extension.yaml"));
    let rule = &plugin["spec"]["wasm"]["pluginConfig"]["rules"][0];
    assert_eq!(rule["from"], json!([{"principals": [principal]}]));
}

/// Until the waypoint is there, ztunnel dials a host that it knows by itself; and what it does not know it passes on.
#[test]
fn in_ambient_mode_the_network_closes_first_and_the_hosts_open_last() {
    let [workloads, ambient, hosts] =
        ["workloads", "", "hosts"].map(|step| format!("envoy/istio/ambient/{step}"));
    let kinds = |folder: &str| kinds_of(folder, &kustomization(folder));
    for folder in [&workloads, &ambient] {
        assert_eq!(kustomization(folder)["sortOptions"], json!({"order": "fifo"}), "{folder}");
    }
    assert_eq!(kinds(&workloads), ["Namespace", "NetworkPolicy"]);
    let expected = [
        "Namespace",
        "NetworkPolicy",
        "EnvoyFilter",
        "TrafficExtension",
        "Telemetry",
        "DestinationRule",
        "Gateway",
    ];
    assert_eq!(kinds(&ambient), expected);
    assert_eq!(kinds(&hosts), ["ServiceEntry"]);

    let page = std::fs::read_to_string(repository().join("docs/ambient.md")).expect("a page");
    let places = [
        "apply -k envoy/istio/ambient/workloads",
        "apply -k envoy/istio/ambient",
        "apply -k envoy/istio/ambient/hosts",
        "delete -k envoy/istio/ambient/hosts",
        "delete -k envoy/istio/ambient",
        "delete -k envoy/istio/ambient/workloads",
    ]
    .map(|command| page.find(&format!("`kubectl {command}`")).expect(command));
    assert!(places.is_sorted(), "{places:?}");
}

/// A waypoint takes by `targetRefs` what a gateway takes by a selector, and each host must name the waypoint.
#[test]
fn everything_of_the_waypoint_names_it() {
    let ambient = |file: &str| document(&istio(&format!("ambient/{file}")));
    let waypoint = ambient("waypoint.yaml");
    assert_eq!(waypoint["spec"]["gatewayClassName"], "istio-waypoint");
    let (name, namespace) = (&waypoint["metadata"]["name"], &waypoint["metadata"]["namespace"]);
    let target = json!([{"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": name}]);
    for file in [
        "guard.yaml",
        "wasm-plugin.yaml",
        "traffic-extension.yaml",
        "telemetry.yaml",
        "telemetry-1.29.yaml",
    ] {
        let manifest = ambient(file);
        assert_eq!(manifest["spec"]["targetRefs"], target, "{file}");
        assert_eq!(&manifest["metadata"]["namespace"], namespace, "{file}");
        assert_eq!(manifest["spec"].get("selector"), None, "{file}");
        assert_eq!(manifest["spec"].get("workloadSelector"), None, "{file}");
    }
    let own = ambient("namespace.yaml");
    assert_eq!(&own["metadata"]["name"], namespace);
    let entry = ambient("hosts/service-entry.yaml");
    assert_eq!(&entry["metadata"]["namespace"], namespace);
    for labels in [&own["metadata"]["labels"], &entry["metadata"]["labels"]] {
        assert_eq!(&labels["istio.io/use-waypoint"], name);
    }
    // What is not HTTP no filter of requests meets.
    for port in entry["spec"]["ports"].as_array().expect("ports") {
        assert_eq!(port["protocol"], "HTTP");
    }
    let policy = ambient("network-policy.yaml");
    let pods = &policy["spec"]["podSelector"]["matchLabels"];
    assert_eq!(pods, &json!({"gateway.networking.k8s.io/gateway-name": name}));
    let out = &policy["spec"]["egress"][2]["ports"];
    assert_eq!(out[0]["port"], entry["spec"]["ports"][0]["targetPort"]);

    let rule = ambient("destination-rule.yaml");
    let host = &entry["spec"]["hosts"][0];
    assert_eq!(&rule["spec"]["host"], host);
    let tls = &rule["spec"]["trafficPolicy"]["tls"];
    assert_eq!(tls, &json!({"mode": "SIMPLE", "sni": host, "subjectAltNames": [host]}));
}

/// Nothing is left to a workload but names, and tunnels to pods of the cluster.
#[test]
fn the_network_leaves_a_workload_dns_and_the_mesh() {
    let spec = &document(&istio("ambient/workloads/network-policy.yaml"))["spec"];
    assert_eq!((&spec["podSelector"], &spec["policyTypes"]), (&json!({}), &json!(["Egress"])));
    let dns = json!([{"port": 53, "protocol": "UDP"}, {"port": 53, "protocol": "TCP"}]);
    let system = json!([
        {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "kube-system"}}},
    ]);
    let ways = json!([
        {"to": system, "ports": dns},
        {"to": [{"namespaceSelector": {}}], "ports": [{"port": 15008, "protocol": "TCP"}]},
    ]);
    assert_eq!(spec["egress"], ways);
}

/// One policy text at a gateway and at a waypoint, and the same guards: only where they stand differs.
#[test]
fn a_waypoint_has_the_policy_and_the_guards_of_a_gateway() {
    let policy = |file: &str| document(&istio(file))["spec"]["pluginConfig"].clone();
    assert_eq!(policy("ambient/wasm-plugin.yaml"), policy("wasm-plugin.yaml"));

    let guard = document(&istio("ambient/guard.yaml"));
    let patches = guard["spec"]["configPatches"].as_array().expect("patches");
    assert_eq!(patches.len(), 2);
    for (patch, original) in patches.iter().zip(["guard.yaml", "tls/guard.yaml"]) {
        let original = &document(&istio(original))["spec"];
        assert_eq!(guard["spec"]["priority"], original["priority"]);
        let mut expected = original["configPatches"][0].clone();
        expected["match"]["context"] = json!("SIDECAR_INBOUND");
        expected["match"]["listener"]["name"] = json!("main_internal");
        assert_eq!(patch, &expected);
    }
}

#[test]
fn the_access_log_of_a_waypoint_has_the_fields_of_the_gateways() {
    let mesh = document(&istio("ambient/mesh-config.yaml"));
    let provider = &mesh["meshConfig"]["extensionProviders"][0];
    let mut expected = access_log(&gateway()).clone();
    expected["source_principal"] = json!("%FILTER_STATE(io.istio.peer_principal:PLAIN)%");
    expected["connection_termination_details"] = json!("%CONNECTION_TERMINATION_DETAILS%");
    assert_eq!(provider["envoyFileAccessLog"]["logFormat"]["labels"], expected);

    for (file, field) in [
        ("telemetry.yaml", "disableContextPropagation"),
        ("telemetry-1.29.yaml", "disableSpanReporting"),
    ] {
        let spec = &document(&istio(&format!("ambient/{file}")))["spec"];
        assert_eq!(spec["tracing"], json!([{field: true}]), "{file}");
        let providers = json!([{"providers": [{"name": provider["name"]}]}]);
        assert_eq!(spec["accessLogging"], providers, "{file}");
    }

    let waypoint = document(&istio("ambient/waypoint.yaml"));
    let settings = "proxy.istio.io/config";
    let of_waypoint = &waypoint["spec"]["infrastructure"]["annotations"][settings];
    let of_gateway = &document(&istio("gateway-values.yaml"))["podAnnotations"][settings];
    assert_eq!(of_waypoint, of_gateway);
}

/// What `kubectl apply -k` reads in a folder.
fn kustomization(folder: &str) -> Value {
    document(&repository().join(folder).join("kustomization.yaml"))
}

/// The kinds of what a folder's kustomization applies, in its order.
fn kinds_of(folder: &str, kustomization: &Value) -> Vec<String> {
    let files = kustomization["resources"].as_array().expect("a list of files");
    let files = files.iter().map(|file| file.as_str().expect("a file"));
    let manifests = files.flat_map(|file| documents(&repository().join(folder).join(file)));
    manifests.map(|it| it["kind"].as_str().expect("a kind").to_owned()).collect()
}

/// Runs Envoy's own check, which starts the module and configures it with the policy.
fn validate_with_envoy(version: &str, arguments: &[&str]) {
    let envoy = repository().join(format!("target/envoy/{version}/bin/envoy"));
    let [module, library] = ["target/egress_warden.wasm", "target/libegress_warden.so"]
        .map(|file| repository().join(file));
    for needed in [&envoy, &module, &library] {
        assert!(
            needed.exists(),
            "{} is missing: run `./build.sh test`, which brings it",
            needed.display()
        );
    }
    let mut command = Command::new(envoy);
    command.current_dir(repository()).args(["--mode", "validate"]).args(arguments);
    let output = command.output().expect("Envoy runs");
    let log = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "Envoy {version} refuses {arguments:?}:\n{log}");
}

/// The image of the newest Envoy.
fn image() -> String {
    let (minor, _) = envoys::newest().rsplit_once('.').expect("a version of three numbers");
    format!("envoyproxy/envoy:v{minor}-latest")
}

/// The services of `docker-compose.yaml`, with what they share merged in.
fn services_as_written() -> Map<String, Value> {
    let file = document(&repository().join("envoy/docker-compose.yaml"));
    file["services"].as_object().expect("services").clone()
}

/// The services as docker-compose resolves them, with no variable set; `None` where it is not installed.
fn services_as_resolved() -> Option<Map<String, Value>> {
    let mut command = Command::new("docker-compose");
    command.current_dir(repository());
    for name in ["ENVOY_IMAGE", "GRAFANA_IMAGE", "PROMETHEUS_IMAGE"] {
        command.env_remove(name);
    }
    command.args(["--file", "envoy/docker-compose.yaml", "config"]);
    let output = match command.output() {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return None,
        output => output.expect("docker-compose runs"),
    };
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let resolved = parse(&String::from_utf8(output.stdout).expect("UTF-8"));
    Some(resolved[0]["services"].as_object().expect("services").clone())
}

/// Everything that is wrong with a manifest, each error with its place.
fn errors_of(schemas: &CustomResources, manifest: &Value) -> Vec<String> {
    let Some(schema) = schemas.schema_of(manifest) else {
        return vec![format!("no schema of {} {}", manifest["apiVersion"], manifest["kind"])];
    };
    let schema = jsonschema::validator_for(schema).expect("a schema");
    let errors = schema.iter_errors(manifest);
    errors.map(|error| format!("{}: {error}", error.instance_path())).collect()
}

/// The folders with manifests.
const FOLDERS: [&str; 11] = [
    "envoy/istio",
    "envoy/istio/admission",
    "envoy/istio/sample",
    "envoy/istio/hosts",
    "envoy/istio/tls",
    "envoy/istio/tls/hosts",
    "envoy/istio/ambient",
    "envoy/istio/ambient/workloads",
    "envoy/istio/ambient/hosts",
    "envoy/native/istio",
    "envoy/native/envoy-gateway",
];

/// The files that are applied to a cluster. The others are lists of them, and values for Istio's Helm
/// charts.
fn manifests() -> Vec<PathBuf> {
    let mut files = Vec::new();
    for folder in FOLDERS {
        let entries = std::fs::read_dir(repository().join(folder)).expect("a directory");
        files.extend(entries.map(|entry| entry.expect("a file").path()));
    }
    files.retain(|file| {
        file.is_file()
            && !file.ends_with("kustomization.yaml")
            && !file.ends_with("mesh-config.yaml")
            && !file.ends_with("gateway-values.yaml")
    });
    files.sort();
    files
}

/// One of the ways of a connection through the mesh: the specs of its three resources.
struct Way {
    gateway: Value,
    routes: Value,
    rule: Value,
}

impl Way {
    fn read(file: &str) -> Self {
        let documents = documents(&istio(&format!("tls/{file}")));
        let kinds: Vec<&Value> = documents.iter().map(|document| &document["kind"]).collect();
        assert_eq!(kinds, ["Gateway", "VirtualService", "DestinationRule"]);
        assert_eq!(documents[0]["metadata"]["name"], "egress-tls");
        let mut specs = documents.into_iter().map(|mut document| document["spec"].take());
        let mut spec = || specs.next().expect("a spec");
        Self { gateway: spec(), routes: spec(), rule: spec() }
    }

    /// The TLS from a sidecar to the gateway.
    fn tls(&self) -> &Value {
        &self.rule["subsets"][0]["trafficPolicy"]["portLevelSettings"][0]["tls"]
    }
}

fn gateway() -> Value {
    document(&envoy("gateway.yaml"))
}

/// The first HTTP filter of a gateway, egress-warden.
const FIRST_FILTER: &str =
    "/static_resources/listeners/0/filter_chains/0/filters/0/typed_config/http_filters/0";

/// The filters of each chain of `gateway-tls.yaml`.
fn chains(gateway: &Value) -> Vec<&[Value]> {
    let chains = gateway["static_resources"]["listeners"][0]["filter_chains"].as_array();
    let chains = chains.into_iter().flatten();
    chains.map(|chain| chain["filters"].as_array().expect("filters").as_slice()).collect()
}

/// The configuration of the gateway's HTTP filter of that name.
fn filter<'a>(gateway: &'a Value, name: &str) -> &'a Value {
    let filters = connection_manager(gateway)["http_filters"].as_array().expect("filters");
    let filter =
        filters.iter().find(|filter| filter["name"] == name).expect("a filter of that name");
    &filter["typed_config"]
}

fn access_log(gateway: &Value) -> &Value {
    &connection_manager(gateway)["access_log"][0]["typed_config"]["log_format"]["json_format"]
}

fn connection_manager(gateway: &Value) -> &Value {
    &gateway["static_resources"]["listeners"][0]["filter_chains"][0]["filters"][0]["typed_config"]
}

fn envoy(file: &str) -> PathBuf {
    repository().join("envoy").join(file)
}

fn istio(file: &str) -> PathBuf {
    repository().join("envoy/istio").join(file)
}

fn repository() -> PathBuf {
    std::fs::canonicalize(kit::REPOSITORY).expect("a repository")
}

/// The only document of a YAML file.
fn document(file: &Path) -> Value {
    let [document] = <[Value; 1]>::try_from(documents(file)).expect("one document");
    document
}

fn documents(file: &Path) -> Vec<Value> {
    parse(
        &std::fs::read_to_string(file)
            .unwrap_or_else(|error| panic!("{}: {error}", file.display())),
    )
}

fn parse(yaml: &str) -> Vec<Value> {
    serde_saphyr::from_multiple(yaml).unwrap_or_else(|error| panic!("{error}"))
}
