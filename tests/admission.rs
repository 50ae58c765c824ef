//! `envoy/istio/admission/`: the expressions as the API server evaluates them, over the manifests that are shipped and over
//! each way to break one. The answer of the API server is imitated here: conditions, variables in order, validations.

#![cfg(not(target_family = "wasm"))]

use std::collections::BTreeMap;
use std::path::PathBuf;

use cel::{Context, Program, Value as Cel};
use serde_json::{Value, json};

const FOLDER: &str = "envoy/istio";
const PLUGINS: [&str; 6] = [
    "wasm-plugin.yaml",
    "traffic-extension.yaml",
    "tls/wasm-plugin.yaml",
    "tls/traffic-extension.yaml",
    "ambient/wasm-plugin.yaml",
    "ambient/traffic-extension.yaml",
];

#[test]
fn every_plugin_that_is_shipped_is_admitted() {
    let policy = AdmissionPolicy::read();
    for file in PLUGINS {
        let plugin = document(file);
        assert!(policy.concerns(&plugin), "{file}");
        assert_eq!(policy.objections(&plugin, &namespace(&[])), [""; 0], "{file}");
    }
}

#[test]
fn each_way_to_break_one_is_refused_with_its_remedy() {
    let policy = AdmissionPolicy::read();
    for (place, value, expected) in [
        ("/pluginConfig", None, "no `policy`"),
        ("/pluginConfig/policy", None, "no `policy`"),
        ("/pluginConfig/polices", Some(json!("a")), "an unknown key"),
        ("/pluginConfig/rules", Some(json!([{"action": "allow"}])), "no `id`"),
        ("/pluginConfig/rules/1/action", Some(json!("block")), "neither `allow` nor `deny`"),
        ("/pluginConfig/rules/1/action", None, "neither `allow` nor `deny`"),
        ("/failStrategy", Some(json!("FAIL_OPEN")), "write FAIL_CLOSE"),
        ("/pluginConfig/mode", Some(json!("monitor")), "refuses nothing"),
        ("/pluginConfig/default", Some(json!("allow")), "every other host"),
    ] {
        for (file, spec) in
            [("wasm-plugin.yaml", "/spec"), ("traffic-extension.yaml", "/spec/wasm")]
        {
            let mut plugin = document(file);
            set(&mut plugin, &format!("{spec}{place}"), value.clone());
            let objections = policy.objections(&plugin, &namespace(&[]));
            let objection = objections.iter().any(|it| it.contains(expected));
            assert!(objection, "{file} {place}: {objections:?}");
        }
    }
    let mut plugin = document("wasm-plugin.yaml");
    set(&mut plugin, "/spec/pluginConfig", Some(json!({"policy": "a"})));
    let objections = policy.objections(&plugin, &namespace(&[]));
    assert!(objections[0].contains("neither `rules` nor `default`"), "{objections:?}");
}

#[test]
fn a_namespace_for_trials_takes_what_refuses_nothing() {
    let policy = AdmissionPolicy::read();
    let mut plugin = document("traffic-extension.yaml");
    set(&mut plugin, "/spec/wasm/pluginConfig/mode", Some(json!("monitor")));
    set(&mut plugin, "/spec/wasm/pluginConfig/default", Some(json!("allow")));
    assert_eq!(policy.objections(&plugin, &namespace(&["other"])).len(), 2);
    assert_eq!(policy.objections(&plugin, &json!({"metadata": {}})).len(), 2);
    assert_eq!(policy.objections(&plugin, &namespace(&["egress-warden-trial"])), [""; 0]);
}

#[test]
fn the_plugins_of_others_are_let_alone() {
    let policy = AdmissionPolicy::read();
    let other = json!({"spec": {"url": "oci://registry.example.com/coraza:1", "pluginConfig": {}}});
    assert!(!policy.concerns(&other));
}

#[test]
fn its_keys_are_those_of_the_language() {
    let schema = PathBuf::from(kit::REPOSITORY).join("tool/src/commands/schema/policy.json");
    let schema = std::fs::read_to_string(schema).expect("a schema");
    let schema: Value = serde_json::from_str(&schema).expect("JSON");
    let policy = AdmissionPolicy::read();
    for key in schema["properties"].as_object().expect("keys").keys() {
        let mut plugin = document("wasm-plugin.yaml");
        set(&mut plugin, &format!("/spec/pluginConfig/{key}"), Some(json!([])));
        let objections = policy.objections(&plugin, &namespace(&[]));
        assert!(objections.iter().all(|it| !it.contains("unknown key")), "{key}: {objections:?}");
    }
}

#[test]
fn its_binding_denies_and_its_folder_has_both() {
    let (policy, binding) = (document("admission/policy.yaml"), document("admission/binding.yaml"));
    assert_eq!(binding["spec"]["policyName"], policy["metadata"]["name"]);
    assert_eq!(binding["spec"]["validationActions"], json!(["Deny"]));
    assert_eq!(policy["spec"]["failurePolicy"], "Fail");
    let folder = document("admission/kustomization.yaml");
    assert_eq!(folder["resources"], json!(["policy.yaml", "binding.yaml"]));
}

struct AdmissionPolicy {
    condition: Program,
    /// In order: one may use those before it.
    variables: Vec<(String, Program)>,
    /// Each with the message of its refusal.
    validations: Vec<(Program, String)>,
}

impl AdmissionPolicy {
    fn read() -> Self {
        let spec = document("admission/policy.yaml")["spec"].take();
        let text = |value: &Value| value.as_str().expect("a text").to_owned();
        let program = |value: &Value| {
            let source = text(&value["expression"]);
            Program::compile(&source).unwrap_or_else(|error| panic!("{source}: {error}"))
        };
        let all = |key: &str| spec[key].as_array().expect(key).clone();
        let [condition] = &*all("matchConditions") else { panic!("one condition") };
        Self {
            condition: program(condition),
            variables: all("variables").iter().map(|it| (text(&it["name"]), program(it))).collect(),
            validations: all("validations")
                .iter()
                .map(|it| (program(it), text(&it["message"])))
                .collect(),
        }
    }

    fn concerns(&self, object: &Value) -> bool {
        let mut context = Context::default();
        context.add_variable("object", object).expect("a value");
        is_true(&self.condition, &context)
    }

    /// The messages of what is not so.
    fn objections(&self, object: &Value, namespace: &Value) -> Vec<&str> {
        let mut context = Context::default();
        context.add_variable("object", object).expect("a value");
        context.add_variable("namespaceObject", namespace).expect("a value");
        let mut variables: BTreeMap<String, Cel> = BTreeMap::new();
        for (name, program) in &self.variables {
            let mut inner = context.new_inner_scope();
            inner.add_variable_from_value("variables", map(&variables));
            let value = program.execute(&inner).unwrap_or_else(|error| panic!("{name}: {error}"));
            variables.insert(name.clone(), value);
        }
        context.add_variable_from_value("variables", map(&variables));
        let refused = self.validations.iter().filter(|(program, _)| !is_true(program, &context));
        refused.map(|(_, message)| &**message).collect()
    }
}

fn map(variables: &BTreeMap<String, Cel>) -> Cel {
    let entries: std::collections::HashMap<String, Cel> =
        variables.iter().map(|(name, value)| (name.clone(), value.clone())).collect();
    entries.into()
}

fn is_true(program: &Program, context: &Context<'_, '_>) -> bool {
    match program.execute(context) {
        Ok(Cel::Bool(is_true)) => is_true,
        other => panic!("{other:?}"),
    }
}

fn namespace(labels: &[&str]) -> Value {
    let labels: BTreeMap<&str, &str> = labels.iter().map(|label| (*label, "true")).collect();
    json!({"metadata": {"name": "istio-system", "labels": labels}})
}

/// Puts a value at a place, or takes what is there away.
fn set(manifest: &mut Value, place: &str, value: Option<Value>) {
    let (parent, key) = place.rsplit_once('/').expect("an absolute place");
    let parent = manifest.pointer_mut(parent).and_then(Value::as_object_mut).expect(place);
    match value {
        Some(value) => parent.insert(key.to_owned(), value),
        None => parent.remove(key),
    };
}

fn document(file: &str) -> Value {
    let path = PathBuf::from(kit::REPOSITORY).join(FOLDER).join(file);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path:?}: {error}"));
    serde_saphyr::from_str(&text).expect("YAML")
}
