//! The passthrough gateway, `envoy/gateway-tls.yaml`, and what tests change in it.

use std::net::SocketAddr;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use super::bootstrap::Bootstrap;

/// One listener that takes every server name, with a policy and an upstream of its own.
pub struct Lane<'a> {
    pub name: &'a str,
    pub policy: &'a Value,
    pub upstream: SocketAddr,
}

impl Bootstrap {
    /// Puts listeners in the place of the shipped one that have its last chain alone, the one that
    /// takes every name, here with a way out: whatever the filter lets pass arrives.
    pub fn take_every_name(&mut self, lanes: &[Lane<'_>]) -> Result<()> {
        let resources = &self.tree_mut()["static_resources"];
        let shipped = resources["listeners"][0].clone();
        let mut cluster = resources["clusters"][0].clone();
        let filters = shipped["filter_chains"].as_array().and_then(|chains| chains.last());
        let filters = filters.context("a listener with chains")?["filters"].clone();
        let mut listeners = Vec::new();
        let mut clusters = Vec::new();
        for Lane { name, policy, upstream } in lanes {
            let mut filters = filters.clone();
            filters[0]["typed_config"]["config"]["configuration"]["value"] =
                json!(policy.to_string());
            filters[2]["typed_config"]["cluster"] = json!(name);
            let mut listener = shipped.clone();
            listener["name"] = json!(name);
            listener["address"]["socket_address"]["port_value"] = json!(0);
            listener["filter_chains"] = json!([{"filters": filters}]);
            listeners.push(listener);
            cluster["name"] = json!(name);
            cluster["load_assignment"]["cluster_name"] = json!(name);
            let endpoint =
                &mut cluster["load_assignment"]["endpoints"][0]["lb_endpoints"][0]["endpoint"];
            endpoint["address"]["socket_address"]["port_value"] = json!(upstream.port());
            clusters.push(cluster.clone());
        }
        let resources = &mut self.tree_mut()["static_resources"];
        resources["listeners"] = Value::Array(listeners);
        resources["clusters"] = Value::Array(clusters);
        Ok(())
    }

    /// Makes every chain wait for its caller, as `envoy/istio/tls/wait.yaml` does; Envoy 1.36 cannot.
    pub fn wait_for_callers(&mut self) -> Result<()> {
        let path = format!("{}/envoy/istio/tls/wait.yaml", kit::REPOSITORY);
        let manifest: Value = serde_saphyr::from_str(&std::fs::read_to_string(path)?)?;
        let patches = manifest["spec"]["configPatches"].as_array().context("a list of patches")?;
        let listeners = &mut self.tree_mut()["static_resources"]["listeners"];
        let listeners = listeners.as_array_mut().into_iter().flatten();
        let chains = listeners.flat_map(|it| it["filter_chains"].as_array_mut()).flatten();
        for chain in chains {
            for patch in patches {
                let place = match patch["applyTo"].as_str() {
                    Some("FILTER_CHAIN") => Some(&mut *chain),
                    _ => chain["filters"].as_array_mut().and_then(|filters| filters.last_mut()),
                };
                merge(place.context("a filter")?, &patch["patch"]["value"]);
            }
        }
        Ok(())
    }
}

fn merge(into: &mut Value, value: &Value) {
    match value.as_object() {
        None => *into = value.clone(),
        Some(fields) => fields.iter().for_each(|(key, value)| merge(&mut into[key], value)),
    }
}
