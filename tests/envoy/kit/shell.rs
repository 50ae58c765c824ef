//! In which form the filter runs in an Envoy: the same tests hold for each.

use serde_json::{Value, json};

use super::bootstrap::Bootstrap;

/// How the filter runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shell {
    /// The module, in Proxy-Wasm, as the shipped files have it.
    Wasm,
    /// The native library, as a dynamic module, in the place of each filter of the other form.
    Native,
}

/// What the names of counters begin with.
const WASM_COUNTER: &str = "wasmcustom.";
const NATIVE_COUNTER: &str = "dynamicmodulescustom.";

impl Shell {
    /// The versions of these that the shell runs on: a dynamic module needs Envoy 1.38.
    pub fn versions(self, versions: Vec<String>) -> Vec<String> {
        let is_old = |version: &str| version.starts_with("1.36.") || version.starts_with("1.37.");
        match self {
            Self::Wasm => versions,
            Self::Native => versions.into_iter().filter(|version| !is_old(version)).collect(),
        }
    }

    /// The configuration of an Envoy that runs the filter so.
    pub fn apply(self, bootstrap: &mut Bootstrap) {
        let variables = self.apply_to(&mut bootstrap.tree);
        bootstrap.environment.extend(variables);
        if bootstrap.name == "waypoint" {
            name_for_waypoint(&mut bootstrap.tree);
        }
    }

    /// The same of any part of a configuration; the variables that the filter's environment has to have.
    pub fn apply_to(self, configuration: &mut Value) -> Vec<(String, String)> {
        let mut secrets = Secrets::default();
        if self == Self::Native {
            make_native(configuration, &mut secrets);
        }
        let Secrets { mut set, listed } = secrets;
        if !listed.is_empty() {
            set.push(("EGRESS_WARDEN_SECRETS".to_owned(), listed.join(", ")));
        }
        set
    }

    /// A counter's name as the module's would be.
    pub fn counter(self, name: &str) -> String {
        match (self, name.strip_prefix(NATIVE_COUNTER)) {
            (Self::Native, Some(name)) => format!("{WASM_COUNTER}{}", without_labels(name)),
            _ => name.to_owned(),
        }
    }

    /// A line that the filter wrote to Envoy's log: what Envoy wrote before it, and the filter's own.
    pub fn filter_line(self, line: &str) -> Option<(&str, &str)> {
        let (prefix, text) = line.split_once(match self {
            Self::Wasm => " wasm log ",
            Self::Native => "[dynamic_modules] ",
        })?;
        Some((prefix, text.get(text.find('{')?..)?))
    }
}

/// Of `FAMILY.LABEL.VALUE.LABEL.VALUE` the family and the values. A rule's id has no dot.
fn without_labels(name: &str) -> String {
    const LABELS: [(&str, usize); 3] = [("requests", 2), ("would", 1), ("rule", 2)];
    for (family, labels) in LABELS {
        let family = format!("egress_warden.{family}");
        if let Some(rest) = name.strip_prefix(&family).and_then(|rest| rest.strip_prefix('.')) {
            let parts = rest.split('.').collect::<Vec<_>>();
            if parts.len() == 2 * labels {
                let values = parts.chunks(2).map(|pair| pair[1]);
                return [family.as_str()].into_iter().chain(values).collect::<Vec<_>>().join(".");
            }
        }
    }
    name.to_owned()
}

/// What a VM's environment has.
#[derive(Debug, Default)]
struct Secrets {
    /// Variables with their values.
    set: Vec<(String, String)>,
    /// The names of all, also of those that come from Envoy's environment.
    listed: Vec<String>,
}

/// Puts the library in the place of each module; the variables of the VM's environment become the process's.
fn make_native(value: &mut Value, secrets: &mut Secrets) {
    const MODULE: &str = "type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm";
    match value {
        Value::Object(fields) if fields.get("@type").is_some_and(|it| it == MODULE) => {
            let config = &value["config"];
            let variables = &config["vm_config"]["environment_variables"];
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            for (name, value) in variables["key_values"].as_object().into_iter().flatten() {
                secrets.set.push((name.clone(), text(value)));
                secrets.listed.push(name.clone());
            }
            secrets
                .listed
                .extend(variables["host_env_keys"].as_array().into_iter().flatten().map(text));
            *value = filter(&config["name"], &config["configuration"]);
        }
        Value::Object(fields) => {
            fields.values_mut().for_each(|field| make_native(field, secrets));
        }
        Value::Array(items) => items.iter_mut().for_each(|item| make_native(item, secrets)),
        _ => {}
    }
}

/// A module learns from Envoy that it runs in a waypoint, the library from its name.
fn name_for_waypoint(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            if let Some(name) = fields.get_mut("filter_name").filter(|it| **it == "egress-warden") {
                *name = json!("egress-warden:waypoint");
            }
            fields.values_mut().for_each(name_for_waypoint);
        }
        Value::Array(items) => items.iter_mut().for_each(name_for_waypoint),
        _ => {}
    }
}

/// The filter's configuration, with this name and policy.
fn filter(name: &Value, policy: &Value) -> Value {
    json!({
        "@type": "type.googleapis.com/envoy.extensions.filters.http.dynamic_modules.v3.DynamicModuleFilter",
        "dynamic_module_config": {"name": "egress_warden"},
        "filter_name": name,
        "filter_config": policy,
    })
}
