//! The load: wrk, with one thread and few connections, stopped while it is another one's turn.

use std::net::SocketAddr;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde::Deserialize;
use tokio::process::{Child, Command};

const CONNECTIONS: &str = "8";
/// Longer than any run.
const DURATION: &str = "1h";
/// Longer than any pause: answers that wait for its end are not late. wrk reserves memory by it.
const TIMEOUT: &str = "60s";
const PAUSE: Duration = Duration::from_millis(150);
const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/gateway/hosts.lua");

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

/// A wrk that sends requests, or waits. It is killed when this value is dropped.
pub(crate) struct Wrk(Child);

impl Wrk {
    /// Starts to send requests for the hosts of `asked`, a pattern and a number.
    pub(crate) fn start(address: SocketAddr, asked: (&str, usize)) -> Result<Self> {
        let child = Command::new("wrk")
            .args(["--threads", "1", "--connections", CONNECTIONS, "--script", SCRIPT])
            .args(["--duration", DURATION, "--timeout", TIMEOUT, &format!("http://{address}")])
            .args(["--", asked.0, &asked.1.to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .context("start wrk")?;
        Ok(Self(child))
    }

    pub(crate) fn pause(&self) -> Result<()> {
        self.signal(Signal::SIGSTOP)
    }

    pub(crate) fn go_on(&self) -> Result<()> {
        self.signal(Signal::SIGCONT)
    }

    /// Ends it; what it says of the whole load.
    pub(crate) async fn end(mut self) -> Result<Load> {
        self.go_on()?;
        // The thread that sends may take an interrupt, and ends. The other one, which sleeps out
        // the duration, takes the next.
        while self.0.try_wait()?.is_none() {
            self.signal(Signal::SIGINT)?;
            tokio::time::sleep(PAUSE).await;
        }
        let output = self.0.wait_with_output().await?;
        let text = String::from_utf8_lossy(&output.stdout);
        ensure!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
        let line = text.lines().last().unwrap_or_default();
        serde_json::from_str(line).with_context(|| format!("what wrk says: {text}"))
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        let process_id = self.0.id().context("wrk has ended by itself")?;
        Ok(kill(Pid::from_raw(process_id.cast_signed()), signal)?)
    }
}
