//! The load: wrk, with one thread and few connections.

use std::net::SocketAddr;
use std::process::Stdio;

use anyhow::{Context as _, Result, ensure};
use serde::Deserialize;
use tokio::process::Command;

const CONNECTIONS: &str = "8";
const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/gateway/hosts.lua");

/// What wrk says of a load, in the last line that `hosts.lua` prints.
#[derive(Debug, Deserialize)]
pub(crate) struct Load {
    /// Requests that were answered.
    pub(crate) requests: u64,
    /// Of these, answered with a status from 400 on.
    pub(crate) refused: u64,
    /// Connections, reads, writes and answers in time that failed.
    pub(crate) broken: u64,
}

/// Sends requests for the hosts of `asked`, a pattern and a number, for `seconds`.
pub(crate) async fn load(address: SocketAddr, asked: (&str, usize), seconds: u32) -> Result<Load> {
    let output = Command::new("wrk")
        .args(["--threads", "1", "--connections", CONNECTIONS, "--script", SCRIPT])
        .args(["--duration", &format!("{seconds}s"), &format!("http://{address}")])
        .args(["--", asked.0, &asked.1.to_string()])
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .context("start wrk")?;
    let text = String::from_utf8_lossy(&output.stdout);
    ensure!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    let line = text.lines().last().unwrap_or_default();
    serde_json::from_str(line).with_context(|| format!("what wrk says: {text}"))
}
