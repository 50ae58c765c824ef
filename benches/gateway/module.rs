//! How large the module is.

use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

const MODULE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/egress_warden.wasm");

/// Bytes, as built and as an image's layer has them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sizes {
    pub(crate) raw: u64,
    pub(crate) compressed: u64,
}

impl Sizes {
    pub(crate) fn measure() -> Result<Self> {
        let raw = std::fs::metadata(MODULE).context("the module; `./build.sh` builds it")?.len();
        let output = Command::new("gzip")
            .args(["--best", "--stdout", MODULE])
            .stderr(Stdio::inherit())
            .output()
            .context("start gzip")?;
        ensure!(output.status.success(), "gzip failed");
        Ok(Self { raw, compressed: output.stdout.len() as u64 })
    }

    pub(crate) fn json(&self) -> Value {
        json!({"bytes": self.raw, "compressed_bytes": self.compressed})
    }
}
