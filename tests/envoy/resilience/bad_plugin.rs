//! Configurations that Envoy cannot use, and what its log says about each.

use std::path::PathBuf;

use anyhow::{Context as _, Result, ensure};
use serde_json::json;
use tempfile::TempDir;

use super::gateway::{Discovered, Gateway, Plan, Service};
use super::plugin::{Plane, Plugin, policy};
use envoy_kit::testbed::Testbed;

/// A plugin that Envoy cannot use.
pub(crate) struct BadPlugin {
    pub(crate) name: &'static str,
    pub(crate) plugin: Plugin,
    /// What Envoy's log says about it.
    pub(crate) causes: &'static [&'static str],
}

impl BadPlugin {
    pub(crate) fn all(plane: Plane, modules: &Modules) -> Result<Vec<Self>> {
        let bad = |name, plugin, causes| Self { name, plugin, causes };
        let new = Plugin::on(plane, &policy("new", &["new.example"]))?;
        let mut all = vec![
            Self::policy(plane)?,
            bad(
                "a trap in configure",
                new.clone().fault("fault/trap/configure/every/1"),
                &["Function: proxy_on_configure failed"],
            ),
            bad(
                "no memory in configure",
                new.clone().fault("fault/exhaust/configure/every/1"),
                // Whichever allocation is the first that finds none.
                &["memory allocation of", "failed to load"],
            ),
            bad(
                "a trap in the allocator",
                new.clone().fault("fault/trap/memory_allocate/every/1"),
                &["Function: proxy_on_memory_allocate failed"],
            ),
            bad(
                "no module",
                new.clone().module(&modules.file("missing.wasm")),
                &["Invalid path: "],
            ),
            bad(
                "half a module",
                new.clone().module(&modules.file("truncated.wasm")),
                &["Failed to load Wasm code"],
            ),
            bad(
                "an unknown import",
                new.clone().module(&modules.file("unknown_import.wasm")),
                &["Failed to load Wasm module due to a missing import: env.proxy_set_propertx"],
            ),
        ];
        if matches!(plane, Plane::Connections) {
            all.push(bad(
                "a root id with a port that is none",
                new.root_id("connections:abc"),
                &["root id `connections:abc` refused: ", "; write `connections`"],
            ));
        }
        Ok(all)
    }

    /// A policy with several faults, which the log names all.
    pub(crate) fn policy(plane: Plane) -> Result<Self> {
        let mut policy = policy("new", &["New.example"]);
        policy["rules"][0]["action"] = json!("permit");
        policy["rulez"] = json!([]);
        Ok(Self {
            name: "a bad policy",
            plugin: Plugin::on(plane, &policy)?,
            causes: &["rules[0].to[0].hosts[0]", "rules[0].action", "rulez"],
        })
    }

    /// As an update of the plugin alone Envoy refuses it, and says why.
    pub(crate) async fn is_refused_by(&self, gateway: &Gateway) -> Result<()> {
        ensure!(!gateway.update_plugin(&self.plugin).await?, "{} was accepted", self.name);
        self.is_explained_by(gateway).await
    }

    /// As an update of the listener that holds it, too.
    pub(crate) async fn is_refused_in_the_listener_of(&self, gateway: &mut Gateway) -> Result<()> {
        let is_accepted = gateway.update_plugin_in_listener(&self.plugin).await?;
        ensure!(!is_accepted, "{} was accepted", self.name);
        self.is_explained_by(gateway).await
    }

    /// Envoy does not start with it, and says why.
    pub(crate) async fn starts_no_envoy(
        &self,
        testbed: &Testbed,
        upstream: &impl Service,
    ) -> Result<()> {
        let plan = Plan::new(&self.plugin, Discovered::Nothing)?;
        let log = plan.refusal(testbed, upstream).await.context(self.name)?;
        for cause in self.causes {
            ensure!(log.contains(cause), "`{cause}` is not in\n{log}");
        }
        Ok(())
    }

    pub(crate) async fn is_explained_by(&self, gateway: &Gateway) -> Result<()> {
        for cause in self.causes {
            gateway.envoy.error_log(cause).await.context(self.name)?;
        }
        Ok(())
    }
}

/// Damaged copies of the module.
pub(crate) struct Modules(TempDir);

impl Modules {
    pub(crate) fn write() -> Result<Self> {
        let modules = Self(tempfile::tempdir()?);
        let path = format!("{}/target/egress_warden.wasm", kit::REPOSITORY);
        let module = std::fs::read(path)?;
        std::fs::write(modules.file("truncated.wasm"), &module[..module.len() / 2])?;
        // Another import of the same length, which no proxy has.
        let (known, unknown) = (b"proxy_set_property", b"proxy_set_propertx");
        let mut damaged = module;
        let place = damaged.windows(known.len()).position(|window| window == known);
        let place = place.context("the module imports it")?;
        damaged[place..][..known.len()].copy_from_slice(unknown);
        std::fs::write(modules.file("unknown_import.wasm"), damaged)?;
        Ok(modules)
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }
}
