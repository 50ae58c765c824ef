//! The filter's configuration, as Envoy takes it, and where it stands in a gateway: among the HTTP
//! filters, or among those of a listener that ends no TLS of the application's.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use super::upstream::{POLICY_STAMP, STAMP};
use envoy_kit::bootstrap::Bootstrap;
use envoy_kit::passthrough::Lane;

/// The module with `src/wasm/fault.rs`, which `./build.sh test` builds.
const FAULT_MODULE: &str = "target/fault/egress_warden.wasm";

/// A policy that lets requests for `hosts` pass, with the stamps that the upstream looks for.
pub(crate) fn policy(name: &str, hosts: &[&str]) -> Value {
    let mut policy = connection_policy(name, hosts);
    policy["stamp"] = json!({"set": {STAMP.0: STAMP.1, POLICY_STAMP: "{policy}"}});
    policy
}

/// A policy that lets connections to `hosts` pass.
pub(crate) fn connection_policy(name: &str, hosts: &[&str]) -> Value {
    json!({
        "policy": name,
        "rules": [{"id": "open", "action": "allow", "to": [{"hosts": hosts}]}],
    })
}

/// The configuration of the filter, as Envoy takes it.
#[derive(Clone)]
pub(crate) struct Plugin {
    pub(super) plane: Plane,
    config: Value,
}

impl Plugin {
    /// As `envoy/gateway.yaml` has it, but for the policy.
    pub(crate) fn new(policy: &Value) -> Result<Self> {
        Self::on(Plane::Requests, policy)
    }

    /// As `envoy/gateway-tls.yaml` has it, but for the policy.
    pub(crate) fn of_connections(policy: &Value) -> Result<Self> {
        Self::on(Plane::Connections, policy)
    }

    pub(crate) fn on(plane: Plane, policy: &Value) -> Result<Self> {
        let mut bootstrap = plane.open_gateway()?;
        let filters =
            plane.filters(&mut bootstrap.tree_mut()["static_resources"]["listeners"][0])?;
        let filter = filters.iter().find(|filter| filter["name"] == "egress-warden");
        let mut config = filter.context("a filter `egress-warden`")?["typed_config"].clone();
        config["config"]["configuration"]["value"] = json!(policy.to_string());
        Ok(Self { plane, config })
    }

    /// Runs the fault build under a name that says what goes wrong; see `src/wasm/fault.rs`.
    pub(crate) fn fault(mut self, name: &str) -> Self {
        self.config["config"]["name"] = json!(name);
        self.module(Path::new(FAULT_MODULE))
    }

    pub(crate) fn module(mut self, path: &Path) -> Self {
        self.config["config"]["vm_config"]["code"]["local"]["filename"] = json!(path);
        self
    }

    pub(crate) fn failure_policy(mut self, name: &str) -> Self {
        self.config["config"]["failure_policy"] = json!(name);
        self
    }

    /// A VM of its own: Envoy shares one among configurations with the same id and module.
    pub(crate) fn vm_id(mut self, vm_id: &str) -> Self {
        self.config["config"]["vm_config"]["vm_id"] = json!(vm_id);
        self
    }

    pub(crate) fn root_id(mut self, root_id: &str) -> Self {
        self.config["config"]["root_id"] = json!(root_id);
        self
    }

    pub(super) fn config(&self) -> &Value {
        &self.config
    }

    /// What delivers it by itself.
    pub(super) fn to_resource(&self) -> Value {
        json!({
            "@type": "type.googleapis.com/envoy.config.core.v3.TypedExtensionConfig",
            "name": "egress-warden",
            "typed_config": self.config,
        })
    }
}

/// What the filter judges, and with it where it stands.
#[derive(Clone, Copy)]
pub(crate) enum Plane {
    Requests,
    Connections,
}

impl Plane {
    /// The shipped gateway, with a way out for every host on its one listener, `egress`.
    pub(super) fn open_gateway(self) -> Result<Bootstrap> {
        match self {
            Self::Requests => {
                let mut bootstrap = Bootstrap::gateway()?;
                bootstrap.route_every_host()?;
                Ok(bootstrap)
            }
            Self::Connections => {
                let mut bootstrap = Bootstrap::gateway_tls()?;
                let upstream = SocketAddr::from((Ipv4Addr::LOCALHOST, self.service_port()?));
                let policy = &Value::Null;
                bootstrap.take_every_name(&[Lane { name: "egress", policy, upstream }])?;
                Ok(bootstrap)
            }
        }
    }

    /// The port of the service that the shipped gateway stands before.
    pub(super) fn service_port(self) -> Result<u16> {
        match self {
            Self::Requests => Bootstrap::external()?.listener_port("external"),
            Self::Connections => Ok(15022),
        }
    }

    /// The filters of a listener among which this one stands.
    pub(super) fn filters(self, listener: &mut Value) -> Result<&mut Vec<Value>> {
        let filters = match self {
            Self::Requests => &mut connection_manager(listener)["http_filters"],
            Self::Connections => &mut listener["filter_chains"][0]["filters"],
        };
        filters.as_array_mut().context("a list of filters")
    }

    /// The access log that has the filter's verdicts.
    pub(super) fn access_log(self, listener: &mut Value) -> &mut Value {
        match self {
            Self::Requests => &mut connection_manager(listener)["access_log"][0],
            Self::Connections => &mut listener["access_log"][0],
        }
    }

    /// Where Envoy counts what it was given by discovery.
    pub(super) fn plugin_counters(self) -> String {
        let kind = match self {
            Self::Requests => "http_filter",
            Self::Connections => "network_filter",
        };
        format!("extension_config_discovery.{kind}.egress-warden.")
    }
}

pub(super) fn connection_manager(listener: &mut Value) -> &mut Value {
    &mut listener["filter_chains"][0]["filters"][0]["typed_config"]
}
