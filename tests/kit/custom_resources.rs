//! The schemas of what manifests may say: those of Istio's and of Envoy Gateway's custom resources, and of
//! what stands beside them.

use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::Path;

/// Schemas by version and kind.
pub struct CustomResources(BTreeMap<[String; 2], Value>);

impl CustomResources {
    /// Reads the definitions from `tests/data/`.
    pub fn load() -> Self {
        let mut schemas = BTreeMap::new();
        let files = ["istio-crds.yaml", "kubernetes.yaml", "envoy-gateway.yaml"];
        for definition in files.iter().flat_map(|file| definitions(file)) {
            let spec = &definition["spec"];
            let group = spec["group"].as_str().expect("a group");
            let kind = spec["names"]["kind"].as_str().expect("a kind");
            for version in spec["versions"].as_array().expect("versions") {
                let name = version["name"].as_str().expect("a name");
                let name = format!("{group}/{name}").trim_start_matches('/').to_owned();
                let schema = &version["schema"]["openAPIV3Schema"];
                let schema = closed_resource(schema, spec["scope"] == "Namespaced");
                schemas.insert([name, kind.to_owned()], schema);
            }
        }
        Self(schemas)
    }

    /// The JSON Schema of a manifest.
    pub fn schema_of(&self, manifest: &Value) -> Option<&Value> {
        let name = ["apiVersion", "kind"]
            .map(|field| manifest[field].as_str().unwrap_or_default().to_owned());
        self.0.get(&name)
    }
}

fn definitions(file: &str) -> Vec<Value> {
    let text = std::fs::read_to_string(Path::new(crate::REPOSITORY).join("tests/data").join(file));
    serde_saphyr::from_multiple(&text.expect("definitions")).expect("YAML")
}

/// A resource's schema with what Kubernetes adds to every one, and closed against unknown fields.
fn closed_resource(schema: &Value, is_namespaced: bool) -> Value {
    let mut schema = schema.clone();
    schema["properties"]["apiVersion"] = json!({"type": "string"});
    schema["properties"]["kind"] = json!({"type": "string"});
    schema["properties"]["metadata"] = json!({
        "type": "object",
        "properties": {
            "name": {"type": "string"},
            "namespace": {"type": "string"},
            "labels": {"type": "object", "additionalProperties": {"type": "string"}},
            "annotations": {"type": "object", "additionalProperties": {"type": "string"}},
        },
        "required": ["name"],
    });
    match is_namespaced {
        true => schema["properties"]["metadata"]["required"] = json!(["name", "namespace"]),
        false => schema["properties"]["metadata"]["properties"]["namespace"] = json!(false),
    }
    close(&mut schema);
    schema
}

/// Turns a structural schema of Kubernetes into a JSON schema that means the same and refuses unknown fields, as
/// `kubectl` does. Rules written in CEL (`x-kubernetes-validations`) are not checked.
fn close(schema: &mut Value) {
    let Some(object) = schema.as_object_mut() else {
        return;
    };
    if object.get("nullable") == Some(&json!(true))
        && let Some(kind) = object.remove("type")
    {
        object.insert("type".to_owned(), json!([kind, "null"]));
    }
    let open = object.get("x-kubernetes-preserve-unknown-fields") == Some(&json!(true));
    if object.contains_key("properties") && !open {
        object.entry("additionalProperties").or_insert(json!(false));
    }
    // What stands under `oneOf`, `anyOf`, `allOf` and `not` restricts the fields named here and names none of its own.
    for nested in ["additionalProperties", "items"] {
        object.get_mut(nested).map(close);
    }
    if let Some(properties) = object.get_mut("properties").and_then(Value::as_object_mut) {
        properties.values_mut().for_each(close);
    }
}
