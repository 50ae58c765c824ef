//! What `render istio` writes, read as the API server and Istio read it.

use egress_warden_tool::in_process::{Istio, istio};
use kit::custom_resources::CustomResources;
use proptest::prelude::*;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// Policies that differ in what has to be written.
const POLICIES: [(&str, &str, &str); 7] = [
    ("http", "http.yaml", "http-gateway.yaml"),
    ("originate", "originate.yaml", "originate-gateway.yaml"),
    ("passthrough", "passthrough.yaml", "passthrough-gateway.yaml"),
    ("wildcards", "wildcards.yaml", "wildcards-gateway.yaml"),
    ("wildcards of 1.31", "wildcards.yaml", "wildcards-1.31-gateway.yaml"),
    ("namespaces", "namespaces.yaml", "namespaces-gateway.yaml"),
    ("nothing", "nothing.yaml", ""),
];

/// The same at a waypoint.
const AMBIENT: [(&str, &str, &str); 2] = [
    ("ambient", "ambient.yaml", "ambient-gateway.yaml"),
    ("ambient of 1.29", "ambient.yaml", "ambient-1.29-gateway.yaml"),
];

/// The same by routes of the Gateway API.
const GATEWAY_API: [(&str, &str, &str); 3] = [
    ("Gateway API", "gateway-api.yaml", "gateway-api-gateway.yaml"),
    ("Gateway API of 1.29", "gateway-api.yaml", "gateway-api-1.29-gateway.yaml"),
    ("Gateway API for nothing", "nothing.yaml", "gateway-api-gateway.yaml"),
];

fn all() -> impl Iterator<Item = (&'static str, &'static str, &'static str)> {
    POLICIES.into_iter().chain(AMBIENT).chain(GATEWAY_API)
}

#[test]
fn every_object_fits_the_schema_of_its_kind() {
    let schemas = CustomResources::load();
    let mut kinds = BTreeSet::new();
    for (name, policy, gateway) in all() {
        for object in Objects::of_files(policy, gateway).all {
            let schema = schemas.schema_of(&object).unwrap_or_else(|| panic!("{name}: {object}"));
            let schema = jsonschema::validator_for(schema).expect("a schema");
            let errors: Vec<_> = schema.iter_errors(&object).map(|it| it.to_string()).collect();
            assert!(errors.is_empty(), "{name}: {errors:?} in {object}");
            kinds.insert(object["kind"].as_str().expect("a kind").to_owned());
        }
    }
    let expected = [
        "ConfigMap",
        "DestinationRule",
        "EnvoyFilter",
        "Gateway",
        "HTTPRoute",
        "Namespace",
        "NetworkPolicy",
        "ServiceEntry",
        "Sidecar",
        "TLSRoute",
        "Telemetry",
        "TrafficExtension",
        "VirtualService",
        "WasmPlugin",
    ];
    assert_eq!(kinds, expected.map(str::to_owned).into());
}

#[test]
fn every_object_has_a_name_of_its_own_that_is_a_label() {
    for (name, policy, gateway) in all() {
        let mut names = BTreeSet::new();
        for object in Objects::of_files(policy, gateway).all {
            let metadata = &object["metadata"];
            let own = metadata["name"].as_str().expect("a name");
            let is_inner = |it: char| it.is_ascii_lowercase() || it.is_ascii_digit() || it == '-';
            assert!((1..=63).contains(&own.len()) && own.chars().all(is_inner), "{name}: {own}");
            let key =
                (object["kind"].to_string(), metadata["namespace"].to_string(), own.to_owned());
            assert!(names.insert(key), "{name}: {own} twice");
        }
    }
}

/// A name that YAML might take for something else is still one.
#[test]
fn names_are_texts() {
    let schemas = CustomResources::load();
    for (name, namespace) in [("123", "on"), ("1e5", "0x1f"), ("no", "1")] {
        for spec in [json!({}), json!({"dataplane": "ambient"}), json!({"routes": "gateway-api"})] {
            let mut gateway = json!({
                "apiVersion": "egress-warden.dev/v1alpha1",
                "kind": "EgressGateway",
                "metadata": {"name": name, "namespace": namespace},
                "spec": spec.clone(),
            });
            gateway["spec"]["workloads"] = json!({"namespaces": ["7"]});
            let rendered = istio(&example("http.yaml"), &gateway.to_string()).expect("files");
            let objects = Objects::of(&rendered);
            for object in &objects.all {
                let schema = schemas.schema_of(object).expect("a schema");
                let schema = jsonschema::validator_for(schema).expect("a schema");
                let errors: Vec<_> = schema.iter_errors(object).map(|it| it.to_string()).collect();
                assert!(errors.is_empty(), "{errors:?} in {object}");
            }
            if spec == json!({}) {
                assert_eq!(objects.legs().1, objects.known());
            }
        }
    }
}

/// The guards first, and no ServiceEntry before all else.
#[test]
fn the_guard_is_applied_first_and_the_hosts_last() {
    for (name, policy, gateway) in POLICIES {
        let objects = Objects::of_files(policy, gateway);
        let first = objects.list("kustomization.yaml");
        assert_eq!(objects.kustomization("")["sortOptions"], json!({"order": "fifo"}), "{name}");
        let guards = first.iter().take_while(|file| file.starts_with("guard")).count();
        assert!(guards >= 1, "{name}: {first:?}");
        let later = first.iter().skip(guards);
        assert!(!later.clone().any(|file| file.starts_with("guard")), "{name}: {first:?}");
        let place = |file: &str| first.iter().position(|it| it == file);
        assert!(place("destination-rules.yaml") <= place("virtual-services.yaml"), "{name}");
        for file in &first {
            let kinds = objects.kinds_of(file);
            assert!(!kinds.contains("ServiceEntry"), "{name}: {file}");
        }
        if objects.has_file("hosts/kustomization.yaml") {
            assert_eq!(objects.list("hosts/kustomization.yaml"), ["service-entries.yaml"]);
            let kinds = objects.kinds_of("hosts/service-entries.yaml");
            assert_eq!(kinds, BTreeSet::from(["ServiceEntry".to_owned()]), "{name}");
        }
        // Every object is in one of the lists.
        let listed: BTreeSet<_> =
            first.iter().cloned().chain(["hosts/service-entries.yaml".to_owned()]).collect();
        for path in objects.files.keys() {
            let is_object = path.ends_with(".yaml")
                && !path.ends_with("kustomization.yaml")
                && !["mesh-config.yaml", "gateway-values.yaml"].contains(&path.as_str());
            assert_eq!(listed.contains(path), is_object, "{name}: {path}");
        }
        let order = &objects.files["ORDER.txt"];
        let places = ["apply -k .", "apply -k hosts", "delete -k hosts", "delete -k ."];
        let places = places.map(|command| order.find(&format!("kubectl {command}\n")));
        assert!(places.is_sorted() && places[0].is_some(), "{name}: {places:?}");
    }
}

/// What judges stands with its guard, at every place and with the policy of the command.
#[test]
fn the_guard_is_in_whatever_is_rendered() {
    for (name, policy, gateway) in POLICIES {
        let objects = Objects::of_files(policy, gateway);
        let text = example(policy);
        let expected = document(&text);
        let plugins: Vec<_> =
            objects.of_kind("TrafficExtension").chain(objects.of_kind("WasmPlugin")).collect();
        assert!(!plugins.is_empty(), "{name}");
        for plugin in plugins {
            let spec = &plugin["spec"];
            let wasm = spec.get("wasm").unwrap_or(spec);
            assert_eq!(wasm["pluginConfig"], expected, "{name}");
            let is_of_connections = wasm.get("type") == Some(&json!("NETWORK"));
            assert_eq!(spec.get("match").is_some(), is_of_connections, "{name}");
            let guard = if is_of_connections { "tls/guard.yaml" } else { "guard.yaml" };
            let shipped = document(&shipped(guard));
            let patches = &shipped["spec"]["configPatches"];
            let is_guard = |it: &&Value| &it["spec"]["configPatches"] == patches;
            let guard = objects.of_kind("EnvoyFilter").find(is_guard).expect(name);
            let selected = &guard["spec"]["workloadSelector"]["labels"];
            assert_eq!(selected, &spec["selector"]["matchLabels"], "{name}");
        }
    }
}

/// The reference path, as it is shipped and as it is rendered.
#[test]
fn the_reference_path_means_what_the_shipped_files_mean() {
    let policy = document(&shipped("traffic-extension.yaml"));
    let policy = policy["spec"]["wasm"]["pluginConfig"].to_string();
    let objects = Objects::of(&istio(&policy, "").expect("a rendering"));
    for (file, kind) in [
        ("hosts/service-entry.yaml", "ServiceEntry"),
        ("gateway.yaml", "Gateway"),
        ("virtual-service.yaml", "VirtualService"),
        ("destination-rule.yaml", "DestinationRule"),
        ("traffic-extension.yaml", "TrafficExtension"),
        ("guard.yaml", "EnvoyFilter"),
        ("telemetry.yaml", "Telemetry"),
    ] {
        let shipped = documents(&shipped(file));
        let rendered: Vec<_> = objects.of_kind(kind).map(with_plain_names).collect();
        assert_eq!(rendered, shipped, "{file}");
    }
    for file in ["mesh-config.yaml", "gateway-values.yaml"] {
        assert_eq!(document(&objects.files[file]), document(&shipped(file)), "{file}");
    }
    let old = "apiVersion: egress-warden.dev/v1alpha1\nkind: EgressGateway\n\
               metadata: {name: egress, namespace: istio-system}\nspec: {istio: \"1.29\"}\n";
    let objects = Objects::of(&istio(&policy, old).expect("a rendering"));
    let mut plugin = objects.of_kind("WasmPlugin").next().expect("a plugin").clone();
    // Of the versions that are known, each has it.
    assert_eq!(plugin["spec"]["failStrategy"], "FAIL_RELOAD");
    plugin["spec"]["failStrategy"] = json!("FAIL_CLOSE");
    assert_eq!(plugin, document(&shipped("wasm-plugin.yaml")));
    let telemetry = objects.of_kind("Telemetry").next().expect("settings");
    assert_eq!(telemetry, &document(&shipped("telemetry-1.29.yaml")));
}

/// TLS within the mesh's own, as it is shipped and as it is rendered.
#[test]
fn the_path_of_connections_means_what_the_shipped_files_mean() {
    let policy = document(&shipped("tls/traffic-extension.yaml"));
    let policy = policy["spec"]["wasm"]["pluginConfig"].to_string();
    let objects = Objects::of(&istio(&policy, "").expect("a rendering"));
    let mutual = documents(&shipped("tls/mutual.yaml"));
    let mut expected = documents(&shipped("tls/hosts/service-entry.yaml"));
    expected.extend(documents(&shipped("tls/traffic-extension.yaml")));
    expected.extend(documents(&shipped("tls/guard.yaml")));
    expected.extend(mutual);
    for shipped in expected {
        let kind = shipped["kind"].as_str().expect("a kind");
        let name = &shipped["metadata"]["name"];
        let rendered: Vec<_> = objects.of_kind(kind).map(with_plain_names).collect();
        let is_same = rendered.contains(&shipped);
        assert!(is_same, "{kind} {name}: {shipped:#}\n{rendered:#?}");
    }
    assert_eq!(objects.of_kind("ServiceEntry").count(), 1);
    assert_eq!(objects.of_kind("DestinationRule").count(), 1);
}

/// Names of ports and routes as the shipped files have them, where one of each is enough, and the Gateway
/// of one TLS host.
fn with_plain_names(object: &Value) -> Value {
    let text = object.to_string();
    let names = [
        ("\"https-80\"", "\"https-from-mesh\""),
        ("\"http-80\"", "\"http\""),
        ("\"to-egress-gateway-80\"", "\"to-egress-gateway\""),
        ("\"to-external-service-80\"", "\"to-external-service\""),
        ("egress-tls-files-example-com", "egress-tls"),
    ];
    let text = names.iter().fold(text, |text, (from, to)| text.replace(from, to));
    // Of a server its mode, of a ServiceEntry its place say more than the port's name.
    let tls = if object["kind"] == "Gateway" { "tls-from-mesh" } else { "tls" };
    let text = text.replace("\"tls-443\"", &format!("\"{tls}\""));
    serde_json::from_str(&text).expect("JSON")
}

/// Workloads of the namespaces that a description names have the gateway as the only way out, and their
/// sidecars know no other.
#[test]
fn the_namespaces_of_workloads_are_closed() {
    for (policy, gateway, namespaces) in [
        ("namespaces.yaml", "namespaces-gateway.yaml", &["payments", "shop"][..]),
        ("gateway-api.yaml", "gateway-api-gateway.yaml", &["shop"]),
    ] {
        let objects = Objects::of_files(policy, gateway);
        let of_namespaces = |kind: &str| {
            let objects = objects.of_kind(kind);
            let own =
                objects.filter(|it| namespaces.iter().any(|ns| it["metadata"]["namespace"] == *ns));
            own.cloned().collect::<Vec<_>>()
        };
        let sidecars = of_namespaces("Sidecar");
        assert_eq!(sidecars.len(), namespaces.len(), "{gateway}");
        assert_eq!(sidecars.len(), objects.of_kind("Sidecar").count(), "{gateway}");
        let spec = json!({"outboundTrafficPolicy": {"mode": "REGISTRY_ONLY"}});
        assert!(sidecars.iter().all(|sidecar| sidecar["spec"] == spec), "{gateway}: {sidecars:?}");
        // The gateway's pods, by the labels that the plugin's object finds them by.
        let own = objects
            .of_kind("NetworkPolicy")
            .find(|it| it["spec"]["egress"][2]["to"][0].get("ipBlock").is_some());
        let pods = &own.expect("the gateway's own")["spec"]["podSelector"];
        let closed = of_namespaces("NetworkPolicy");
        assert_eq!(closed.len(), namespaces.len(), "{gateway}");
        for policy in closed {
            let ways = list(&policy["spec"]["egress"]);
            let last = ways.last().expect("the gateway");
            assert_eq!(&last["to"][0]["podSelector"], pods, "{gateway}");
        }
    }
}

/// Each of 2,000 hosts has the objects that it has alone, and the others are as many as without it.
#[test]
fn many_hosts_are_many_small_objects() {
    let render = |hosts: &[String], spec: &str| {
        let to = json!([{"hosts": hosts, "ports": [80, 443]}]);
        let policy = json!({"policy": "many", "rules": [{"id": "a", "action": "allow", "to": to}]});
        let gateway = format!(
            "apiVersion: egress-warden.dev/v1alpha1\nkind: EgressGateway\n\
             metadata: {{name: egress, namespace: istio-egress}}\nspec: {spec}\n"
        );
        Objects::of(&istio(&policy.to_string(), &gateway).expect("a rendering"))
    };
    let hosts: Vec<_> = (0..2_000).map(|it| format!("h{it}.example.com")).collect();
    for (spec, of_each) in [
        // The Gateway is that of the host's TLS.
        ("{}", "DestinationRule DestinationRule Gateway ServiceEntry VirtualService"),
        (
            "{routes: gateway-api}",
            "DestinationRule DestinationRule HTTPRoute HTTPRoute ServiceEntry TLSRoute TLSRoute",
        ),
        ("{dataplane: ambient}", "DestinationRule ServiceEntry"),
    ] {
        let all = render(&hosts, spec);
        for host in [&hosts[0], &hosts[1_234]] {
            let alone = render(std::slice::from_ref(host), spec);
            let label = host.replace('.', "-");
            let is_own = |object: &&Value| {
                let name = text(&object["metadata"]["name"]);
                name == label || name.ends_with(&format!("-{label}"))
            };
            let own: Vec<_> = all.all.iter().filter(is_own).collect();
            assert_eq!(own, alone.all.iter().filter(is_own).collect::<Vec<_>>(), "{spec}: {host}");
            let mut kinds: Vec<_> = own.iter().map(|it| text(&it["kind"])).collect();
            kinds.sort_unstable();
            assert_eq!(kinds.join(" "), of_each, "{spec}: {host}");
            let shared = alone.all.len() - own.len();
            assert_eq!(all.all.len(), 2_000 * own.len() + shared, "{spec}");
        }
        let largest = all.all.iter().map(|object| object.to_string().len()).max();
        assert!(largest.is_some_and(|bytes| bytes < 100_000), "{spec}: {largest:?}");
    }
}

#[test]
fn the_same_policy_gives_the_same_bytes() {
    for (_, policy, gateway) in all() {
        let render = || render_files(policy, gateway).files;
        assert_eq!(render(), render());
    }
}

#[test]
fn what_istio_cannot_do_is_an_error_or_told() {
    let spec = |spec: &str| {
        format!(
            "apiVersion: egress-warden.dev/v1alpha1\nkind: EgressGateway\n\
             metadata: {{name: e, namespace: ns}}\nspec: {spec}\n"
        )
    };
    let allow = |to: &str| format!("policy: t\nrules: [{{id: a, action: allow, to: [{to}]}}]\n");
    let errors = |policy: &str, gateway: &str| {
        istio(&allow(policy), &spec(gateway)).err().unwrap_or_default()
    };
    for (policy, gateway, path, part) in [
        (
            "{hosts: [a.test]}",
            "{ways: [{way: http, ports: [8080]}]}",
            "$.spec.ways[0]",
            "port 8080, which is none",
        ),
        (
            "{hosts: [a.test, b.test]}",
            "{ports: [8080], ways: [{hosts: [a.test], way: http, ports: [8080]}, {way: passthrough, ports: [8080]}]}",
            "$.spec.ways[1]",
            "HTTP and TLS on port 8080",
        ),
        (
            "{hosts: [a.test]}",
            "{ways: [{way: http, endpoints: [192.0.2.1]}, {way: passthrough, endpoints: [192.0.2.2]}]}",
            "$.spec.ways[1]",
            "other endpoints for `a.test`",
        ),
        (
            "{hosts: [\"*.a.test\"]}",
            "{ways: [{way: http, targetPort: 8080}]}",
            "$.spec.ways[0]",
            "the port 8080 for `*.a.test`",
        ),
        (
            "{hosts: [\"*.a.test\"]}",
            "{ways: [{way: originate, secret: ca}]}",
            "$.spec.ways[0]",
            "`secret` for `*.a.test`",
        ),
        (
            "{hosts: [a.test]}",
            "{dataplane: ambient, workloads: {namespaces: [ns]}}",
            "$.spec.workloads",
            "`ns` as the namespace of workloads",
        ),
        (
            "{hosts: [a.test, b.test]}",
            "{dataplane: ambient, ways: [{hosts: [a.test], way: http, ports: [8080]}, {way: passthrough, ports: [8080]}]}",
            "$.spec.ways[1]",
            "HTTP and TLS on port 8080: Istio adds",
        ),
        (
            "{hosts: [\"*.a.test\"]}",
            "{dataplane: ambient, ways: [{way: http, targetPort: 8080}]}",
            "$.spec.ways[0]",
            "the port 8080 for `*.a.test`",
        ),
    ] {
        let found = errors(policy, gateway);
        let is_found = found.iter().any(|(at, message)| at == path && message.contains(part));
        assert!(is_found && found.len() == 1, "{part}: {found:?}");
    }
    assert!(
        errors(
            "{hosts: [\"*.a.test\"]}",
            "{istio: \"1.31\", ways: [{way: originate, secret: ca}]}"
        )
        .is_empty()
    );

    let policy = "policy: t\nsni: match\nidentity: required\nrules: [{id: a, action: allow, to: [{hosts: \
                  [192.0.2.1, intranet, \"*.a.test\", b.test], ports: [80, 443]}]}]\n";
    let losses = istio(policy, "").expect("a rendering").losses;
    let losses: BTreeSet<_> = losses.iter().map(|(kind, host)| format!("{kind} {host}")).collect();
    let expected = [
        "address 192.0.2.1",
        "server-name *.a.test",
        "short-name intranet",
        "unknown-caller *.a.test",
    ];
    assert_eq!(losses, expected.map(str::to_owned).into());
}

/// What a waypoint cannot do, and what it can although a gateway cannot.
#[test]
fn what_a_waypoint_cannot_do_is_told() {
    let gateway = |namespace: &str| {
        format!(
            "apiVersion: egress-warden.dev/v1alpha1\nkind: EgressGateway\n\
             metadata: {{name: e, namespace: {namespace}}}\nspec: {{dataplane: ambient, ways: [{{hosts: \
             [\"*.b.test\"], way: http, endpoints: [192.0.2.2]}}, {{way: originate, secret: ca}}, {{way: \
             passthrough}}]}}\n"
        )
    };
    let policy = "policy: t\nsni: match\nidentity: required\nrules: [{id: a, action: allow, to: [{hosts: \
                  [192.0.2.1, intranet, \"*.a.test\", c.test], ports: [80, 443]}, {hosts: [\"*.b.test\"], ports: [80]}]}]\n";
    let rendered = istio(policy, &gateway("egress")).expect("a rendering");
    let losses: BTreeSet<_> =
        rendered.losses.iter().map(|(kind, host)| format!("{kind} {host}")).collect();
    let expected = [
        "address 192.0.2.1",
        "not-looked-up *.a.test",
        "not-looked-up *.b.test",
        "short-name intranet",
    ];
    assert_eq!(losses, expected.map(str::to_owned).into());
    let known = [("*.a.test", 80), ("c.test", 80), ("c.test", 443)];
    let known = known.map(|(host, port)| (host.to_owned(), port));
    assert_eq!(Objects::of(&rendered).known(), known.into());

    let stamped = "policy: t\nrules: [{id: a, action: allow, to: [{hosts: [c.test]}], stamp: {set: \
                   {authorization: \"Bearer {secret:KEY}\"}}}]\n";
    let errors = istio(stamped, &gateway("egress")).err().unwrap_or_default();
    assert!(
        matches!(&errors[..], [(path, it)] if path == "$.spec.dataplane" && it.contains("stamps `{secret:KEY}`")),
        "{errors:?}"
    );

    let errors = istio(policy, &gateway("istio-system")).err().unwrap_or_default();
    assert!(
        matches!(&errors[..], [(path, it)] if path == "$.metadata.namespace" && it.contains("of its own")),
        "{errors:?}"
    );
}

/// The guard first, the hosts last, and everything names the Gateway whose pods istiod starts.
#[test]
fn a_gateway_of_the_gateway_api_has_its_guard_first_and_its_hosts_last() {
    for (name, policy, gateway) in GATEWAY_API {
        let objects = Objects::of_files(policy, gateway);
        let first = objects.list("kustomization.yaml");
        let place = |file: &str| first.iter().position(|it| it == file);
        let guards = first.iter().take_while(|file| file.starts_with("guard")).count();
        assert!(guards >= 1, "{name}: {first:?}");
        assert!(!first.iter().skip(guards).any(|file| file.starts_with("guard")), "{name}");
        // No route before the rules that keep every other proxy from the hosts.
        assert!(place("destination-rules.yaml") <= place("routes.yaml"), "{name}: {first:?}");
        assert!(place("gateway.yaml").is_some(), "{name}: {first:?}");
        assert!(
            first.iter().all(|file| !objects.kinds_of(file).contains("ServiceEntry")),
            "{name}"
        );
        let written = objects.files.keys().filter(|path| {
            path.ends_with(".yaml")
                && !path.ends_with("kustomization.yaml")
                && *path != "mesh-config.yaml"
        });
        let mut listed: BTreeSet<_> = first.iter().cloned().collect();
        let has_hosts = objects.has_file("hosts/kustomization.yaml");
        listed.extend(has_hosts.then(|| "hosts/service-entries.yaml".to_owned()));
        assert_eq!(written.cloned().collect::<BTreeSet<_>>(), listed, "{name}");
        let order = &objects.files["ORDER.txt"];
        let commands = [
            "apply -k .",
            "-n istio-egress wait --for=condition=Programmed --timeout=5m gtw/egress",
            "apply -k hosts",
            "delete -k hosts",
            "delete -k .",
        ];
        let places = commands.map(|command| order.find(&format!("kubectl {command}\n")));
        assert!(places.is_sorted() && places[0].is_some(), "{name}: {places:?}");

        let policy = document(&example(policy));
        let target =
            json!([{"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": "egress"}]);
        for kind in ["EnvoyFilter", "Telemetry", "TrafficExtension", "WasmPlugin"] {
            for object in objects.of_kind(kind) {
                let spec = &object["spec"];
                assert_eq!(spec["targetRefs"], target, "{name}: {kind}");
                let others = ["selector", "workloadSelector"];
                assert!(others.iter().all(|key| spec.get(*key).is_none()), "{name}: {kind}");
                assert_eq!(object["metadata"]["namespace"], "istio-egress", "{name}: {kind}");
            }
        }
        let plugins: Vec<_> =
            objects.of_kind("TrafficExtension").chain(objects.of_kind("WasmPlugin")).collect();
        assert_eq!(plugins.len(), guards, "{name}");
        for plugin in plugins {
            let spec = &plugin["spec"];
            let wasm = spec.get("wasm").unwrap_or(spec);
            assert_eq!(wasm["pluginConfig"], policy, "{name}");
            let is_of_connections = wasm.get("type") == Some(&json!("NETWORK"));
            let guard = if is_of_connections { "tls/guard.yaml" } else { "guard.yaml" };
            let patches = &document(&shipped(guard))["spec"]["configPatches"];
            assert!(
                objects.of_kind("EnvoyFilter").any(|it| &it["spec"]["configPatches"] == patches),
                "{name}: {guard}"
            );
        }
    }
}

/// A credential reaches the pods that istiod starts, and the filter by them.
#[test]
fn the_pods_of_a_gateway_of_the_gateway_api_have_the_variables_of_stamps() {
    let objects = Objects::of_files("gateway-api.yaml", "gateway-api-gateway.yaml");
    let pods = objects.of_kind("ConfigMap").next().expect("what the pods have more");
    let gateway = objects.of_kind("Gateway").next().expect("a gateway");
    let parameters = &gateway["spec"]["infrastructure"]["parametersRef"];
    assert_eq!(
        parameters,
        &json!({"group": "", "kind": "ConfigMap", "name": pods["metadata"]["name"]})
    );
    let overlay = document(&text(&pods["data"]["deployment"]));
    let container = &overlay["spec"]["template"]["spec"]["containers"][0];
    let variables = json!([{"name": "PARTNER_TOKEN", "valueFrom": {"secretKeyRef": {"name": "egress-credentials", "key": "PARTNER_TOKEN"}}}]);
    assert_eq!(container, &json!({"name": "istio-proxy", "env": variables}));
    // The settings of its proxy are those of a gateway of Istio's chart.
    let values = document(&shipped("gateway-values.yaml"));
    assert_eq!(gateway["spec"]["infrastructure"]["annotations"], values["podAnnotations"]);
    assert_eq!(gateway["metadata"]["annotations"]["networking.istio.io/service-type"], "ClusterIP");
}

/// What routes of the Gateway API cannot say.
#[test]
fn what_the_gateway_api_cannot_do_is_an_error_or_told() {
    let gateway = |name: &str, spec: &str| {
        format!(
            "apiVersion: egress-warden.dev/v1alpha1\nkind: EgressGateway\n\
             metadata: {{name: {name}, namespace: ns}}\nspec: {{routes: gateway-api{spec}}}\n"
        )
    };
    let policy = "policy: t\nsni: match\nidentity: required\nrules: [{id: a, action: allow, to: [{hosts: \
                  [192.0.2.1, intranet, \"*.a.test\", b.test], ports: [80, 443]}]}]\n";
    // Neither a port that no wildcard can have nor a Secret is an error of a host that has no route.
    let spec = ", ways: [{way: originate, targetPort: 8443, secret: ca}, {way: passthrough}]";
    let rendered = istio(policy, &gateway("e", spec)).expect("a rendering");
    let losses: BTreeSet<_> =
        rendered.losses.iter().map(|(kind, host)| format!("{kind} {host}")).collect();
    let expected = [
        "address 192.0.2.1",
        "short-name intranet",
        "unknown-caller b.test",
        "wildcard-route *.a.test",
    ];
    assert_eq!(losses, expected.map(str::to_owned).into());
    let known = [("b.test".to_owned(), 80), ("b.test".to_owned(), 443)];
    assert_eq!(Objects::of(&rendered).known(), known.into());

    let ports: Vec<_> = (1..=65).map(|port| port.to_string()).collect();
    let ways = format!(", ways: [{{way: http, ports: [{}]}}]", ports.join(", "));
    let name = "a".repeat(58);
    for (name, spec, path, part) in [
        (&*name, "", "$.metadata.name", "more than 57 characters"),
        ("e", &*ways, "$.spec.ways", "65 ports, of which a Gateway has 64"),
        (
            "e",
            ", ways: [{hosts: [b.test], way: http, ports: [443]}, {way: passthrough}]",
            "$.spec.ways[1]",
            "HTTP and TLS on port 443",
        ),
    ] {
        let policy =
            "policy: t\nrules: [{id: a, action: allow, to: [{hosts: [b.test, c.test]}]}]\n";
        let errors = istio(policy, &gateway(name, spec)).err().unwrap_or_default();
        let is_found =
            matches!(&errors[..], [(at, message)] if at == path && message.contains(part));
        assert!(is_found, "{part}: {errors:?}");
    }
    let longest = istio(policy, &gateway(&"a".repeat(57), "")).expect("a rendering");
    assert!(Objects::of(&longest).of_kind("HTTPRoute").count() > 0);
}

/// The network first, then the guard and all else, the hosts last; and everything names the waypoint.
#[test]
fn a_waypoint_has_its_guard_before_its_pods_and_its_hosts_last() {
    for (name, policy, gateway) in AMBIENT {
        let objects = Objects::of_files(policy, gateway);
        let first = objects.list("kustomization.yaml");
        let place = |file: &str| first.iter().position(|it| it == file).expect(file);
        let plugins: Vec<_> =
            first.iter().filter(|it| it.contains("plugin") || it.contains("extension")).collect();
        assert_eq!(plugins.len(), 2, "{name}: {first:?}");
        assert!(
            ["namespace.yaml", "network-policy.yaml", "guard.yaml"]
                .iter()
                .zip(&first)
                .all(|(a, b)| a == b),
            "{name}: {first:?}"
        );
        assert!(plugins.iter().all(|plugin| place(plugin) > place("guard.yaml")));
        assert_eq!(place("waypoint.yaml"), first.len() - 1, "{name}: {first:?}");
        assert!(
            first.iter().all(|file| !objects.kinds_of(file).contains("ServiceEntry")),
            "{name}"
        );
        for folder in ["", "hosts/", "workloads/"] {
            assert_eq!(objects.kustomization(folder)["sortOptions"], json!({"order": "fifo"}));
        }
        // Every object is in one of the lists.
        let mut listed: BTreeSet<_> = first.iter().cloned().collect();
        listed.insert("hosts/service-entries.yaml".to_owned());
        listed.insert("workloads/network-policies.yaml".to_owned());
        let written = objects.files.keys().filter(|path| {
            path.ends_with(".yaml")
                && !path.ends_with("kustomization.yaml")
                && *path != "mesh-config.yaml"
        });
        assert_eq!(written.cloned().collect::<BTreeSet<_>>(), listed, "{name}");
        let order = &objects.files["ORDER.txt"];
        let commands = [
            "apply -k workloads",
            "apply -k .",
            "-n egress wait --for=condition=Programmed --timeout=5m gtw/out-waypoint",
            "apply -k hosts",
            "delete -k hosts",
            "delete -k .",
            "delete -k workloads",
        ];
        let places = commands.map(|command| order.find(&format!("kubectl {command}\n")));
        assert!(places.is_sorted() && places[0].is_some(), "{name}: {places:?}");

        let text = example(policy);
        let policy = document(&text);
        let guards: Vec<_> = objects.of_kind("EnvoyFilter").collect();
        let shipped = document(&shipped("ambient/guard.yaml"));
        let [guard] = guards[..] else { panic!("{name}: {guards:?}") };
        assert_eq!(guard["spec"]["configPatches"], shipped["spec"]["configPatches"], "{name}");
        let target = json!([{"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": "out-waypoint"}]);
        for kind in ["EnvoyFilter", "Telemetry", "TrafficExtension", "WasmPlugin"] {
            for object in objects.of_kind(kind) {
                assert_eq!(object["spec"]["targetRefs"], target, "{name}: {kind}");
                assert_eq!(object["spec"].get("selector"), None, "{name}: {kind}");
                assert_eq!(object["metadata"]["namespace"], "egress", "{name}: {kind}");
            }
        }
        for plugin in objects.of_kind("TrafficExtension").chain(objects.of_kind("WasmPlugin")) {
            let spec = &plugin["spec"];
            assert_eq!(spec.get("wasm").unwrap_or(spec)["pluginConfig"], policy, "{name}");
        }
    }
}

/// The shipped waypoint, and the rendered one.
#[test]
fn a_waypoint_means_what_the_shipped_files_mean() {
    let policy = document(&shipped("ambient/traffic-extension.yaml"));
    let policy = policy["spec"]["wasm"]["pluginConfig"].to_string();
    let gateway = |istio: &str| {
        format!(
            "apiVersion: egress-warden.dev/v1alpha1\nkind: EgressGateway\n\
             metadata: {{name: egress, namespace: istio-egress}}\nspec: {{istio: \"{istio}\", dataplane: \
             ambient, workloads: {{namespaces: [payments]}}}}\n"
        )
    };
    let render = |version: &str| Objects::of(&istio(&policy, &gateway(version)).expect("files"));
    let objects = render("1.30");
    let mut count = 0;
    for file in [
        "namespace.yaml",
        "network-policy.yaml",
        "guard.yaml",
        "traffic-extension.yaml",
        "telemetry.yaml",
        "destination-rule.yaml",
        "waypoint.yaml",
        "hosts/service-entry.yaml",
        "workloads/network-policy.yaml",
    ] {
        let shipped = with_one_name(&document(&shipped(&format!("ambient/{file}"))));
        let all: Vec<_> = objects.all.iter().map(with_one_name).collect();
        assert!(all.contains(&shipped), "{file}: {shipped:#}\n{all:#?}");
        count += 1;
    }
    assert_eq!(objects.all.len(), count);
    let shipped_config = document(&shipped("ambient/mesh-config.yaml"));
    assert_eq!(document(&objects.files["mesh-config.yaml"]), shipped_config);

    let objects = render("1.29");
    let mut plugin = with_one_name(objects.of_kind("WasmPlugin").next().expect("a plugin"));
    // Of the versions that are known, each has it.
    assert_eq!(plugin["spec"]["failStrategy"], "FAIL_RELOAD");
    plugin["spec"]["failStrategy"] = json!("FAIL_CLOSE");
    assert_eq!(plugin, with_one_name(&document(&shipped("ambient/wasm-plugin.yaml"))));
    let telemetry = with_one_name(objects.of_kind("Telemetry").next().expect("settings"));
    assert_eq!(telemetry, with_one_name(&document(&shipped("ambient/telemetry-1.29.yaml"))));
}

/// An object of a waypoint with one name for each thing, whether it is shipped or rendered. TLS that is the
/// same on all ports of a host stands for that of the only port.
fn with_one_name(object: &Value) -> Value {
    let names = [
        ("\"waypoint\"", "\"egress-waypoint\""),
        ("\"waypoint-out\"", "\"egress-out\""),
        ("\"out-through-the-mesh-only\"", "\"egress-only\""),
        ("\"http-80\"", "\"http\""),
    ];
    let text = names.iter().fold(object.to_string(), |text, (from, to)| text.replace(from, to));
    let mut object: Value = serde_json::from_str(&text).expect("JSON");
    if object["kind"] == "DestinationRule" {
        let policy = &mut object["spec"]["trafficPolicy"];
        if let [of_port] = list(&policy["portLevelSettings"]).collect::<Vec<_>>()[..] {
            assert_eq!(of_port["port"]["number"], 80);
            *policy = json!({"tls": of_port["tls"]});
        }
    }
    object
}

/// What is rendered; none where the description is refused for ways that no sidecar can tell apart, or for
/// addresses of one port alone. Any other refusal is an error.
fn rendered_or_ambiguous(policy: &Value, gateway: &Value) -> Result<Option<Istio>, TestCaseError> {
    match istio(&policy.to_string(), &gateway.to_string()) {
        Ok(rendered) => Ok(Some(rendered)),
        Err(errors) => {
            let is_ambiguous =
                |it: &str| it.contains("HTTP and TLS on port") || it.contains("other endpoints");
            prop_assert!(errors.iter().all(|(_, it)| is_ambiguous(it)), "{errors:?}");
            Ok(None)
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(64) })]

    /// A path that is wider or narrower than the plan is an error.
    #[test]
    fn what_is_planned_has_its_whole_path_and_nothing_else_has(
        (policy, gateway) in (policies(), gateways())
    ) {
        let Some(rendered) = rendered_or_ambiguous(&policy, &gateway)? else { return Ok(()) };
        let unrouted: BTreeSet<_> = rendered
            .losses
            .iter()
            .filter(|(kind, _)| ["address", "short-name", "odd-name"].contains(&kind.as_str()))
            .map(|(_, host)| host.clone())
            .collect();
        let planned: BTreeSet<_> = rendered
            .plan
            .iter()
            .filter_map(|line| line.split(' ').next()?.rsplit_once(':'))
            .filter(|(host, _)| !unrouted.contains(*host))
            .map(|(host, port)| (host.to_owned(), port.parse::<u64>().expect("a port")))
            .collect();
        let objects = Objects::of(&rendered);
        prop_assert_eq!(objects.known(), planned.clone(), "ServiceEntries");
        prop_assert_eq!(objects.served(), planned.clone(), "Gateways");
        let (to_gateway, out) = objects.legs();
        prop_assert_eq!(to_gateway, planned.clone(), "to the gateway");
        prop_assert_eq!(out, planned, "out");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(64) })]

    /// At a waypoint the ServiceEntries are the whole path: wider or narrower than the plan is an error.
    #[test]
    fn what_is_planned_is_known_at_the_waypoint_and_nothing_else_is(
        (policy, mut gateway) in (policies(), gateways())
    ) {
        gateway["spec"]["dataplane"] = json!("ambient");
        gateway["spec"].as_object_mut().expect("a spec").remove("ports");
        let Some(rendered) = rendered_or_ambiguous(&policy, &gateway)? else { return Ok(()) };
        let has_loss = |kinds: &[&str], host: &str| {
            rendered.losses.iter().any(|(kind, it)| kinds.contains(&kind.as_str()) && it == host)
        };
        let mut planned = BTreeMap::new();
        for line in &rendered.plan {
            let [at, way, target] = line.split(' ').collect::<Vec<_>>()[..] else { panic!("{line}") };
            let (host, port) = at.rsplit_once(':').expect("a port");
            if has_loss(&["address", "short-name", "odd-name"], host) {
                continue;
            }
            if host.starts_with("*.") && way == "passthrough" {
                prop_assert!(has_loss(&["not-looked-up"], host), "{line}");
                continue;
            }
            let key = (host.to_owned(), port.parse::<u64>().expect("a port"));
            planned.insert(key, (way.to_owned(), target.parse::<u64>().expect("a port")));
        }
        let objects = Objects::of(&rendered);
        prop_assert_eq!(objects.known(), planned.keys().cloned().collect());
        let mut connections = BTreeSet::new();
        for entry in objects.of_kind("ServiceEntry") {
            prop_assert_eq!(&entry["metadata"]["labels"]["istio.io/use-waypoint"], "egress-waypoint");
            let host = text(&entry["spec"]["hosts"][0]);
            let is_wildcard = host.starts_with("*.");
            prop_assert_eq!(entry["spec"]["resolution"] == "DYNAMIC_DNS", is_wildcard);
            for port in list(&entry["spec"]["ports"]) {
                let number = number(&port["number"]);
                let (way, target) = &planned[&(host.clone(), number)];
                let is_tls = way == "passthrough";
                prop_assert_eq!(&port["protocol"], if is_tls { "TLS" } else { "HTTP" });
                if !is_wildcard {
                    prop_assert_eq!(port.get("targetPort").and_then(Value::as_u64).unwrap_or(number), *target);
                }
                connections.extend(is_tls.then_some(number));
                let rules = objects.of_kind("DestinationRule").filter(|it| it["spec"]["host"] == json!(host));
                let started = rules
                    .flat_map(|it| list(&it["spec"]["trafficPolicy"]["portLevelSettings"]))
                    .filter(|it| it["port"]["number"] == number && it["tls"]["mode"] == "SIMPLE")
                    .count();
                prop_assert_eq!(started, usize::from(way == "originate"));
            }
        }
        // A filter for each port of connections, and none before requests.
        let plugins = objects.of_kind("TrafficExtension").chain(objects.of_kind("WasmPlugin"));
        let mut judged = BTreeSet::new();
        for plugin in plugins {
            let spec = &plugin["spec"];
            let wasm = spec.get("wasm").unwrap_or(spec);
            let ports: Vec<_> = list(&spec["match"]).flat_map(|it| list(&it["ports"])).collect();
            if wasm.get("type").is_none() {
                prop_assert!(ports.is_empty());
                continue;
            }
            prop_assert_eq!(ports.len(), 1);
            let port = number(&ports[0]["number"]);
            let root = if port == 443 { "connections".to_owned() } else { format!("connections:{port}") };
            prop_assert_eq!(&wasm["pluginName"], &root);
            prop_assert!(judged.insert(port));
        }
        prop_assert_eq!(judged, connections);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(64) })]

    /// By routes of the Gateway API: a path that is wider or narrower than the plan is an error, and so is a
    /// proxy other than the gateway that could dial a host.
    #[test]
    fn what_is_planned_has_its_whole_path_by_the_gateway_api_and_nothing_else_has(
        (policy, mut gateway) in (policies(), gateways())
    ) {
        gateway["spec"]["routes"] = json!("gateway-api");
        gateway["spec"].as_object_mut().expect("a spec").remove("ports");
        let Some(rendered) = rendered_or_ambiguous(&policy, &gateway)? else { return Ok(()) };
        let unrouted: BTreeSet<_> = rendered
            .losses
            .iter()
            .filter(|(kind, _)| ["address", "short-name", "odd-name", "wildcard-route"].contains(&kind.as_str()))
            .map(|(_, host)| host.clone())
            .collect();
        let mut planned = BTreeMap::new();
        for line in &rendered.plan {
            let [at, way, _] = line.split(' ').collect::<Vec<_>>()[..] else { panic!("{line}") };
            let (host, port) = at.rsplit_once(':').expect("a port");
            if host.starts_with("*.") {
                prop_assert!(unrouted.contains(host), "{line}");
            }
            if !unrouted.contains(host) {
                planned.insert((host.to_owned(), port.parse::<u64>().expect("a port")), way.to_owned());
            }
        }
        let ports: Ports = planned.keys().cloned().collect();
        let objects = Objects::of(&rendered);
        prop_assert_eq!(objects.known(), ports.clone(), "ServiceEntries");
        let (to_gateway, out) = objects.legs_of_gateway_api();
        prop_assert_eq!(to_gateway, ports.clone(), "to the gateway");
        prop_assert_eq!(out, ports, "out");
        for ((host, port), way) in &planned {
            let rules: Vec<_> =
                objects.of_kind("DestinationRule").filter(|it| it["spec"]["host"] == json!(host)).collect();
            let [own, closed] = rules[..] else { panic!("{host}: {rules:?}") };
            let [own, closed] = [own, closed].map(|it| &it["spec"]);
            let labels = json!({"matchLabels": {"gateway.networking.k8s.io/gateway-name": "egress"}});
            prop_assert_eq!(&own["workloadSelector"], &labels);
            prop_assert_eq!(&own["exportTo"], &json!(["."]));
            let tls = list(&own["trafficPolicy"]["portLevelSettings"])
                .find(|it| it["port"]["number"] == *port)
                .map(|it| &it["tls"])
                .expect("TLS of the port");
            let mode = if way == "originate" { "SIMPLE" } else { "DISABLE" };
            prop_assert_eq!(&tls["mode"], mode);
            if way == "originate" {
                prop_assert_eq!(&tls["sni"], &json!(host));
                prop_assert_eq!(&tls["subjectAltNames"], &json!([host]));
            }
            prop_assert!(closed.get("workloadSelector").is_none());
            prop_assert_eq!(&closed["exportTo"], &json!(["*"]));
            let nobody = json!({"tls": {"mode": "ISTIO_MUTUAL", "subjectAltNames": ["only-the-egress-gateway-dials-it.invalid"]}});
            prop_assert_eq!(&closed["trafficPolicy"], &nobody);
        }
    }
}

fn policies() -> impl Strategy<Value = Value> {
    let names =
        ["a.test", "b.a.test", "c-d.test", "c.d.test", "any.a.test", "intranet", "192.0.2.1"];
    let patterns = ["*.a.test", ".b.a.test", "*.b.a.test", ".c-d.test", "e-*.a.test"];
    let hosts = prop::sample::subsequence([names.as_slice(), &patterns].concat(), 1..5);
    let ports = prop::option::of(prop::sample::subsequence(vec![80, 443, 8080], 1..3));
    let methods = prop::option::of(Just(vec!["GET"]));
    let rule = (hosts, ports, methods, any::<bool>(), prop::bool::weighted(0.8));
    prop::collection::vec(rule, 0..4).prop_map(|rules| {
        let rules =
            rules.into_iter().enumerate().map(|(index, (hosts, ports, methods, from, allow))| {
                let mut to = json!({"hosts": hosts});
                if let Some(ports) = ports {
                    to["ports"] = json!(ports);
                }
                if let Some(methods) = methods {
                    to["methods"] = json!(methods);
                }
                let action = if allow { "allow" } else { "deny" };
                let mut rule = json!({"id": format!("r{index}"), "action": action, "to": [to]});
                if from {
                    rule["from"] = json!([{"namespaces": ["shop"]}]);
                }
                rule
            });
        json!({"policy": "generated", "default": "deny", "rules": rules.collect::<Vec<_>>()})
    })
}

fn gateways() -> impl Strategy<Value = Value> {
    let ways = [
        json!({"way": "originate"}),
        json!({"way": "passthrough"}),
        json!({"way": "http", "ports": [8080]}),
        json!({"way": "http", "hosts": ["b.a.test"]}),
        json!({"way": "originate", "hosts": ["c.d.test"], "endpoints": ["203.0.113.7"], "ports": [80, 8080]}),
    ];
    let ways = prop::sample::subsequence(ways.to_vec(), 1..5).prop_map(|mut ways| {
        // Those for every host come last.
        ways.sort_by_key(|way| way.get("hosts").is_none());
        ways
    });
    (ways, prop::sample::select(vec!["1.28", "1.29", "1.30", "1.31"])).prop_map(|(ways, istio)| {
        json!({
            "apiVersion": "egress-warden.dev/v1alpha1",
            "kind": "EgressGateway",
            "metadata": {"name": "egress", "namespace": "istio-egress"},
            "spec": {"istio": istio, "ports": [80, 443, 8080], "ways": ways},
        })
    })
}

/// A rendering, taken apart.
struct Objects {
    files: BTreeMap<String, String>,
    all: Vec<Value>,
}

/// `kubectl apply` keeps a copy of each object in an annotation, and an API server takes no larger ones.
#[test]
fn a_large_policy_is_for_the_server_and_a_larger_one_is_refused() {
    for (hosts, is_refused) in [(9_000, false), (30_000, true)] {
        let folder = tempfile::tempdir().expect("a folder");
        let hosts: Vec<_> =
            (0..hosts).map(|it| format!("h{it}.{}.example", "a".repeat(30))).collect();
        let policy = json!({
            "policy": "large",
            "rules": [
                {"id": "a", "action": "allow", "to": [{"hosts": ["a.example"], "ports": [80]}]},
                {"id": "d", "action": "deny", "to": [{"hosts": hosts}]},
            ],
        });
        std::fs::write(folder.path().join("policy.json"), policy.to_string()).expect("a file");
        let (code, out, told) = run(folder.path(), &["policy.json", "-o", "out"]);
        if is_refused {
            assert_eq!((code, out.as_str()), (2, ""), "{told}");
            let parts = ["out/traffic-extension.yaml", "of which an API server takes 1048576"];
            assert!(parts.iter().all(|part| told.contains(part)), "{told}");
            assert!(!folder.path().join("out").exists());
        } else {
            assert_eq!(code, 0, "{told}");
            for line in [
                "kubectl apply --server-side -k out\n",
                "kubectl apply --server-side -k out/hosts\n",
            ] {
                assert!(out.contains(line), "{out}");
            }
            let order = read(&folder.path().join("out/ORDER.txt"));
            assert!(order.contains("kubectl apply --server-side -k .\n"), "{order}");
        }
    }
}

/// What an earlier render has left is gone, and what somebody else has written stays as it is.
#[test]
fn a_folder_holds_one_render_and_what_others_wrote() {
    let folder = tempfile::tempdir().expect("a folder");
    let example = |file: &str| {
        let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/examples/render-istio.in");
        examples.join(file).to_str().expect("UTF-8").to_owned()
    };
    let render = |policy: &str, gateway: &str| {
        let (policy, gateway) = (example(policy), example(gateway));
        run(folder.path(), &[&policy, "--gateway", &gateway, "-o", "out"])
    };
    let out = folder.path().join("out");
    assert_eq!(render("wildcards.yaml", "wildcards-gateway.yaml").0, 0);
    assert!(out.join("wildcards.yaml").exists() && out.join("hosts/kustomization.yaml").exists());
    std::fs::write(out.join("notes.txt"), "mine").expect("a file");
    assert_eq!(render("ambient.yaml", "ambient-gateway.yaml").0, 1);
    assert!(out.join("workloads/kustomization.yaml").exists());
    assert_eq!(render("http.yaml", "http-gateway.yaml").0, 0);
    assert!(
        !out.join("wildcards.yaml").exists() && !out.join("workloads/kustomization.yaml").exists()
    );
    assert!(!out.join("wildcards.yaml").exists() && !out.join("guard-connections.yaml").exists());
    assert_eq!(read(&out.join("notes.txt")), "mine");

    for name in ["hosts/Kustomization", "workloads/kustomization.yml", "guard.yaml"] {
        std::fs::write(out.join(name), "mine").expect("a file");
        let before = read(&out.join("ORDER.txt"));
        let (code, _, told) = render("nothing.yaml", "http-gateway.yaml");
        assert!(
            code == 2 && told.contains(&format!("out/{name}: a file that was not written by")),
            "{told}"
        );
        assert_eq!(read(&out.join(name)), "mine");
        assert_eq!(read(&out.join("ORDER.txt")), before);
        std::fs::remove_file(out.join(name)).expect("a file");
    }
}

/// `render istio` in a folder: its exit code, and what it says.
fn run(folder: &Path, arguments: &[&str]) -> (i32, String, String) {
    let mut tool = std::process::Command::new(env!("CARGO_BIN_EXE_egress-warden"));
    let output = tool.current_dir(folder).args(["render", "istio"]).args(arguments).output();
    let output = output.expect("the tool runs");
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    (output.status.code().unwrap_or(-1), text(output.stdout), text(output.stderr))
}

/// Hosts with ports.
type Ports = BTreeSet<(String, u64)>;

impl Objects {
    fn of(rendered: &Istio) -> Self {
        let files: BTreeMap<_, _> = rendered.files.iter().cloned().collect();
        assert_eq!(files.len(), rendered.files.len());
        let mut objects = Self { files, all: Vec::new() };
        let mut paths = objects.list("kustomization.yaml");
        if objects.has_file("hosts/kustomization.yaml") {
            let hosts = objects.list("hosts/kustomization.yaml");
            paths.extend(hosts.iter().map(|path| format!("hosts/{path}")));
        }
        if objects.has_file("workloads/kustomization.yaml") {
            let workloads = objects.list("workloads/kustomization.yaml");
            paths.extend(workloads.iter().map(|path| format!("workloads/{path}")));
        }
        objects.all = paths.iter().flat_map(|path| documents(&objects.files[path])).collect();
        objects
    }

    fn of_files(policy: &str, gateway: &str) -> Self {
        Self::of(&render_files(policy, gateway))
    }

    fn has_file(&self, path: &str) -> bool {
        self.files.contains_key(path)
    }

    fn kustomization(&self, folder: &str) -> Value {
        document(&self.files[&format!("{folder}kustomization.yaml")])
    }

    /// What a kustomization lists.
    fn list(&self, path: &str) -> Vec<String> {
        let list = document(&self.files[path]);
        let list = list["resources"].as_array().expect("a list").iter();
        list.map(|it| it.as_str().expect("a file").to_owned()).collect()
    }

    fn kinds_of(&self, path: &str) -> BTreeSet<String> {
        let objects = documents(&self.files[path]).into_iter();
        objects.map(|it| it["kind"].as_str().expect("a kind").to_owned()).collect()
    }

    fn of_kind<'o>(&'o self, kind: &str) -> impl Iterator<Item = &'o Value> + use<'o> {
        let kind = json!(kind);
        self.all.iter().filter(move |object| object["kind"] == kind)
    }

    /// What the mesh knows.
    fn known(&self) -> Ports {
        let entries = self.of_kind("ServiceEntry");
        let known: Vec<_> = entries
            .flat_map(|entry| {
                let host = text(&entry["spec"]["hosts"][0]);
                list(&entry["spec"]["ports"])
                    .map(move |port| (host.clone(), number(&port["number"])))
            })
            .collect();
        let set: Ports = known.iter().cloned().collect();
        assert_eq!(set.len(), known.len(), "twice in {known:?}");
        set
    }

    /// What the gateway has a server for.
    fn served(&self) -> Ports {
        let servers = self.of_kind("Gateway").flat_map(|it| list(&it["spec"]["servers"]));
        let served: Vec<_> = servers
            .flat_map(|server| {
                let port = number(&server["port"]["number"]);
                list(&server["hosts"]).map(move |host| (text(host), port))
            })
            .collect();
        let set: Ports = served.iter().cloned().collect();
        assert_eq!(set.len(), served.len(), "twice in {served:?}");
        set
    }

    /// What has a route to the gateway, by a subset that says how; and what the gateway routes out, from a
    /// server of its own.
    fn legs(&self) -> (Ports, Ports) {
        let (mut to_gateway, mut out) = (Ports::new(), Ports::new());
        for service in self.of_kind("VirtualService") {
            let spec = &service["spec"];
            let host = text(&spec["hosts"][0]);
            let gateways: BTreeSet<_> = list(&spec["gateways"]).map(text).collect();
            for (kind, route) in ["http", "tls", "tcp"]
                .iter()
                .flat_map(|kind| list(&spec[*kind]).map(move |route| (*kind, route)))
            {
                assert_eq!(list(&route["match"]).count(), 1);
                let matched = &route["match"][0];
                let port = number(&matched["port"]);
                let names = if kind == "tls" { json!([host]) } else { Value::Null };
                assert_eq!(matched.get("sniHosts").cloned().unwrap_or_default(), names);
                let gateway = text(&matched["gateways"][0]);
                assert!(gateways.contains(&gateway));
                let destination = &route["route"][0]["destination"];
                assert_eq!(destination["port"]["number"], port);
                if gateway == "mesh" {
                    let tls = self.leg_tls(destination, port);
                    self.assert_meets(&tls, &host, port, kind);
                    assert!(to_gateway.insert((host.clone(), port)), "{host}:{port} twice");
                } else {
                    assert_eq!(destination["host"], json!(host));
                    let server = self.server(&gateway, &host, port);
                    let protocol = if kind == "http" { "HTTPS" } else { "TLS" };
                    assert_eq!(server["port"]["protocol"], protocol);
                    let mode = if kind == "tls" { "PASSTHROUGH" } else { "ISTIO_MUTUAL" };
                    assert_eq!(server["tls"]["mode"], mode);
                    assert!(out.insert((host.clone(), port)), "{host}:{port} twice");
                }
            }
        }
        (to_gateway, out)
    }

    /// By routes of the Gateway API: what has a route to the gateway, and what the gateway routes out; each by
    /// a listener that meets what the sidecar speaks.
    fn legs_of_gateway_api(&self) -> (Ports, Ports) {
        let gateways: Vec<_> = self.of_kind("Gateway").collect();
        let [gateway] = gateways[..] else { panic!("{gateways:?}") };
        let name = text(&gateway["metadata"]["name"]);
        let namespace = text(&gateway["metadata"]["namespace"]);
        let listeners: BTreeMap<_, _> =
            list(&gateway["spec"]["listeners"]).map(|it| (text(&it["name"]), it)).collect();
        let service = format!("{name}-istio");
        let modes: Vec<_> = self
            .of_kind("DestinationRule")
            .filter(|it| it["spec"]["host"] == format!("{service}.{namespace}.svc.cluster.local"))
            .flat_map(|it| list(&it["spec"]["trafficPolicy"]["portLevelSettings"]))
            .collect();
        let (mut to_gateway, mut out) = (Ports::new(), Ports::new());
        for route in self.of_kind("HTTPRoute").chain(self.of_kind("TLSRoute")) {
            let is_http = route["kind"] == "HTTPRoute";
            let spec = &route["spec"];
            let ([parent], [rule]) = (
                &list(&spec["parentRefs"]).collect::<Vec<_>>()[..],
                &list(&spec["rules"]).collect::<Vec<_>>()[..],
            ) else {
                panic!("{route}")
            };
            let [backend] = list(&rule["backendRefs"]).collect::<Vec<_>>()[..] else {
                panic!("{route}")
            };
            let port = number(&backend["port"]);
            let hostnames: Vec<_> = list(&spec["hostnames"]).map(text).collect();
            if parent["kind"] == "ServiceEntry" {
                let entry = self
                    .of_kind("ServiceEntry")
                    .find(|it| it["metadata"]["name"] == parent["name"])
                    .expect("a ServiceEntry");
                let host = text(&entry["spec"]["hosts"][0]);
                assert_eq!(
                    parent,
                    &&json!({"group": "networking.istio.io", "kind": "ServiceEntry", "name": parent["name"], "port": port})
                );
                assert_eq!(backend, &json!({"name": service, "port": port}));
                assert_eq!(hostnames, if is_http { vec![] } else { vec![host.clone()] });
                let mode = modes.iter().find(|it| it["port"]["number"] == port).expect("TLS");
                let expected = if is_http { "ISTIO_MUTUAL" } else { "DISABLE" };
                assert_eq!(mode["tls"], json!({"mode": expected}));
                assert!(to_gateway.insert((host, port)));
            } else {
                assert_eq!(parent["name"], name);
                let [host] = &hostnames[..] else { panic!("{route}") };
                assert_eq!(
                    backend,
                    &json!({"group": "networking.istio.io", "kind": "Hostname", "name": host, "port": port})
                );
                let listener = listeners[&text(&parent["sectionName"])];
                assert_eq!(
                    (listener["port"].as_u64(), listener.get("hostname")),
                    (Some(port), None)
                );
                let (protocol, tls) = if is_http {
                    (
                        "HTTPS",
                        json!({"mode": "Terminate", "options": {"gateway.istio.io/tls-terminate-mode": "ISTIO_MUTUAL"}}),
                    )
                } else {
                    ("TLS", json!({"mode": "Passthrough"}))
                };
                assert_eq!((&listener["protocol"], &listener["tls"]), (&json!(protocol), &tls));
                assert!(out.insert((host.clone(), port)));
            }
        }
        (to_gateway, out)
    }

    /// The TLS of a subset of the gateway.
    fn leg_tls(&self, destination: &Value, port: u64) -> Value {
        let subsets = self
            .of_kind("DestinationRule")
            .filter(|rule| rule["spec"]["host"] == destination["host"])
            .flat_map(|rule| list(&rule["spec"]["subsets"]));
        let subsets: Vec<_> =
            subsets.filter(|subset| subset["name"] == destination["subset"]).collect();
        let [subset] = subsets[..] else { panic!("{subsets:?}") };
        let settings = list(&subset["trafficPolicy"]["portLevelSettings"]);
        let of_port: Vec<_> = settings
            .filter(|it| it["port"]["number"] == port)
            .map(|it| it["tls"].clone())
            .collect();
        let [tls] = &of_port[..] else { panic!("{of_port:?}") };
        tls.clone()
    }

    /// Whether what a sidecar says leads to the server of the host, and to no narrower one.
    fn assert_meets(&self, tls: &Value, host: &str, port: u64, kind: &str) {
        let below = |name: &str| {
            host.strip_prefix("*.")
                .is_some_and(|apex| name.strip_suffix(apex).is_some_and(|rest| rest.ends_with('.')))
        };
        if kind == "tls" && tls["mode"] == "DISABLE" {
            assert!(host.starts_with("*."), "{host} without a caller");
            return;
        }
        assert_eq!(tls["mode"], "ISTIO_MUTUAL");
        let name = text(&tls["sni"]);
        assert!(name == host || below(&name), "{name} for {host}");
        let others = self.served().into_iter().filter(|(_, it)| *it == port);
        for (other, _) in others.filter(|(other, _)| other != host) {
            assert_ne!(other, name);
            let is_narrower = other.len() > host.len()
                && other.strip_prefix('*').is_some_and(|rest| name.ends_with(rest));
            assert!(!is_narrower, "{name} for {host} leads to {other}");
        }
    }

    fn server(&self, gateway: &str, host: &str, port: u64) -> Value {
        let gateways = self.of_kind("Gateway").filter(|it| it["metadata"]["name"] == gateway);
        let servers = gateways.flat_map(|it| list(&it["spec"]["servers"]));
        let servers: Vec<_> = servers
            .filter(|it| it["port"]["number"] == port)
            .filter(|it| list(&it["hosts"]).any(|it| it == host))
            .collect();
        let [server] = servers[..] else { panic!("{gateway} has {servers:?}") };
        server.clone()
    }
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn text(value: &Value) -> String {
    value.as_str().expect("a text").to_owned()
}

fn number(value: &Value) -> u64 {
    value.as_u64().expect("a number")
}

fn render_files(policy: &str, gateway: &str) -> Istio {
    let gateway = if gateway.is_empty() { String::new() } else { example(gateway) };
    istio(&example(policy), &gateway).unwrap_or_else(|errors| panic!("{policy}: {errors:?}"))
}

fn example(file: &str) -> String {
    read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/examples/render-istio.in").join(file))
}

fn shipped(file: &str) -> String {
    read(&Path::new(kit::REPOSITORY).join("envoy/istio").join(file))
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn document(text: &str) -> Value {
    let [document] = <[Value; 1]>::try_from(documents(text)).expect("one document");
    document
}

/// One by one: the reader bounds what a text may hold.
fn documents(text: &str) -> Vec<Value> {
    let parts = text.split("\n---\n");
    parts
        .map(|it| serde_saphyr::from_str(it).unwrap_or_else(|error| panic!("{error} in {it}")))
        .collect()
}
