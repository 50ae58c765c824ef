//! What it was measured on.

use std::process::Command;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

/// The machine, the versions of what took part, and the date.
#[derive(Clone, Debug)]
pub(crate) struct Machine {
    pub(crate) cpu: String,
    pub(crate) cores: usize,
    pub(crate) kernel: String,
    pub(crate) envoy: &'static str,
    pub(crate) rust: String,
    pub(crate) node: String,
    pub(crate) wrk: String,
    pub(crate) date: String,
}

impl Machine {
    pub(crate) fn describe(envoy: &'static str) -> Result<Self> {
        let cpus = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let model = cpus.lines().find_map(|line| line.strip_prefix("model name"));
        let model = model.map(|model| model.trim_start_matches([' ', '\t', ':']));
        let now = humantime::format_rfc3339_seconds(std::time::SystemTime::now()).to_string();
        Ok(Self {
            cpu: model.unwrap_or("unknown").to_owned(),
            cores: std::thread::available_parallelism()?.get(),
            kernel: second_word(&first_line("uname", "-sr")?),
            envoy,
            rust: second_word(&first_line("rustc", "--version")?),
            node: first_line("node", "--version")?.trim_start_matches('v').to_owned(),
            wrk: second_word(&first_line("wrk", "--version")?),
            date: now.get(..10).unwrap_or_default().to_owned(),
        })
    }

    pub(crate) fn json(&self) -> Value {
        json!({
            "cpu": self.cpu,
            "cores": self.cores,
            "kernel": self.kernel,
            "envoy": self.envoy,
            "rust": self.rust,
            "node": self.node,
            "wrk": self.wrk,
            "date": self.date,
        })
    }
}

fn first_line(program: &str, argument: &str) -> Result<String> {
    let output = Command::new(program).arg(argument).output();
    let output = output.with_context(|| format!("start {program}"))?;
    let text = String::from_utf8_lossy(&output.stdout);
    Ok(text.lines().next().unwrap_or_default().to_owned())
}

fn second_word(line: &str) -> String {
    line.split_whitespace().nth(1).unwrap_or_default().to_owned()
}
