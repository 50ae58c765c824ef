//! Descriptions of gateways: what the reader refuses, and that the JSON Schema refuses the same.

use egress_warden_tool::in_process::gateway_errors;
use serde::Deserialize;
use serde_json::{Value, json};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    whole: Option<Value>,
    #[serde(default)]
    top: serde_json::Map<String, Value>,
    spec: Option<Value>,
    /// Paths, each with a part of the message.
    #[serde(default)]
    errors: Vec<(String, String)>,
    /// Why no schema can refuse it.
    beyond_a_schema: Option<String>,
}

impl Case {
    fn gateway(&self) -> Value {
        let mut gateway = match (&self.whole, &self.spec) {
            (Some(whole), None) => whole.clone(),
            (None, Some(spec)) => json!({
                "apiVersion": "egress-warden.dev/v1alpha1",
                "kind": "EgressGateway",
                "metadata": {"name": "egress", "namespace": "istio-system"},
                "spec": spec,
            }),
            _ => panic!("{}: give `whole` or `spec`", self.name),
        };
        if let Some(gateway) = gateway.as_object_mut() {
            gateway.extend(self.top.clone());
        }
        gateway
    }
}

#[test]
fn a_description_is_refused_for_every_error_at_its_place() {
    for case in cases() {
        // Keys are in another order in JSON than in the file.
        let mut found = gateway_errors(&case.gateway().to_string());
        let mut expected = case.errors.clone();
        found.sort();
        expected.sort();
        let is_as_expected = found.len() == expected.len()
            && found
                .iter()
                .zip(&expected)
                .all(|((path, message), (at, part))| path == at && message.contains(part.as_str()));
        assert!(is_as_expected, "{}: expected {expected:#?}, got {found:#?}", case.name);
    }
}

#[test]
fn the_schema_refuses_what_the_reader_refuses() {
    let schema = schema();
    for case in cases() {
        let gateway = case.gateway();
        let errors: Vec<_> = schema.iter_errors(&gateway).map(|it| it.to_string()).collect();
        let is_valid = case.errors.is_empty() || case.beyond_a_schema.is_some();
        assert_eq!(errors.is_empty(), is_valid, "{}: {errors:?}", case.name);
    }
}

#[test]
fn the_hosts_of_a_gateway_are_those_of_a_policy() {
    let policy: Value = serde_json::from_str(POLICY).expect("JSON");
    let gateway: Value = serde_json::from_str(GATEWAY).expect("JSON");
    for name in ["host", "port"] {
        assert_eq!(gateway["$defs"][name], policy["$defs"][name], "{name}");
    }
}

#[test]
fn the_tool_prints_the_schema_that_is_tested() {
    let mut tool = std::process::Command::new(env!("CARGO_BIN_EXE_egress-warden"));
    let output = tool.args(["schema", "gateway"]).output().expect("the tool runs");
    assert!(output.status.success());
    assert_eq!(String::from_utf8(output.stdout).expect("UTF-8"), GATEWAY);
}

const POLICY: &str = include_str!("../src/commands/schema/policy.json");
const GATEWAY: &str = include_str!("../src/commands/schema/gateway.json");

fn cases() -> Vec<Case> {
    let cases: Vec<Case> =
        serde_saphyr::from_str(include_str!("gateways.yaml")).expect("cases of gateways");
    assert!(cases.len() > 30, "{}", cases.len());
    cases
}

fn schema() -> jsonschema::Validator {
    let schema: Value = serde_json::from_str(GATEWAY).expect("JSON");
    jsonschema::draft202012::meta::validate(&schema).expect("a schema");
    jsonschema::draft202012::new(&schema).expect("a schema")
}
