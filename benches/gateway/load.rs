//! Loading policies into the module in V8, which `load.mjs` does.

use std::process::Stdio;

use anyhow::{Context as _, Result, ensure};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::process::Command;

use crate::figure::Figure;
use crate::policy;
use crate::rounds::Schedule;

/// Hosts of the policies that are loaded.
pub(crate) const HOSTS: usize = 100_000;

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/gateway/load.mjs");
const MODULE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/egress_warden.wasm");

/// What `load.mjs` prints: one VM, loaded and reloaded.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Load {
    /// Compiling and instantiating the module.
    vm_milliseconds: f64,
    /// `proxy_on_configure` in the fresh VM.
    load_milliseconds: f64,
    reload_milliseconds: Vec<f64>,
    /// Linear memory after so many reloads.
    pub(crate) memory_mebibytes: Vec<(u32, f64)>,
}

/// Loads, each in a process of its own.
pub(crate) struct Loads(Vec<Load>);

/// Loads policies of [`HOSTS`] hosts.
pub(crate) async fn measure(schedule: &Schedule) -> Result<Loads> {
    let directory = tempfile::tempdir()?;
    // As many names, other ones: what a reload leaves behind is seen in the memory.
    let policies = ["h%d.example.com", "g%d.example.com"].map(|pattern| {
        let path = directory.path().join(&pattern[..1]);
        (path, policy::hosts(pattern, HOSTS).to_string())
    });
    for (path, text) in &policies {
        std::fs::write(path, text)?;
    }
    let mut loads = Vec::new();
    for _ in 0..schedule.loads {
        let output = Command::new("node")
            .args([SCRIPT, MODULE])
            .args(policies.iter().map(|(path, _)| path))
            .stdin(Stdio::null())
            .stderr(Stdio::inherit())
            .kill_on_drop(true)
            .output()
            .await
            .context("start node")?;
        ensure!(output.status.success(), "load.mjs failed");
        loads.push(serde_json::from_slice(&output.stdout)?);
    }
    Ok(Loads(loads))
}

impl Loads {
    /// Milliseconds to compile and instantiate the module.
    pub(crate) fn vm(&self) -> Figure {
        Figure::of(self.0.iter().map(|load| load.vm_milliseconds))
    }

    /// Milliseconds of the first policy of a VM.
    pub(crate) fn first(&self) -> Figure {
        Figure::of(self.0.iter().map(|load| load.load_milliseconds))
    }

    /// Milliseconds of a later policy.
    pub(crate) fn reload(&self) -> Figure {
        Figure::of(self.0.iter().flat_map(|load| &load.reload_milliseconds).copied())
    }

    /// MiB of linear memory after so many reloads. Nothing in a VM depends on time.
    pub(crate) fn memory(&self) -> &[(u32, f64)] {
        &self.0[0].memory_mebibytes
    }

    pub(crate) fn json(&self) -> Value {
        let load = |load: &Load| {
            json!({
                "vm_milliseconds": load.vm_milliseconds,
                "load_milliseconds": load.load_milliseconds,
                "reload_milliseconds": load.reload_milliseconds,
                "memory_mebibytes": load.memory_mebibytes,
            })
        };
        self.0.iter().map(load).collect()
    }
}
