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
    /// Programs that took part, with their versions.
    pub(crate) programs: Vec<(&'static str, String)>,
    pub(crate) date: String,
}

impl Machine {
    pub(crate) fn describe(programs: &[&'static str]) -> Result<Self> {
        let cpus = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let model = cpus.lines().find_map(|line| line.strip_prefix("model name"));
        let model = model.map(|model| model.trim_start_matches([' ', '\t', ':']));
        let now = humantime::format_rfc3339_seconds(std::time::SystemTime::now()).to_string();
        Ok(Self {
            cpu: model.unwrap_or("unknown").to_owned(),
            cores: std::thread::available_parallelism()?.get(),
            kernel: second_word(&first_line("uname", "-sr")?),
            envoy: kit::envoys::newest(),
            rust: second_word(&first_line("rustc", "--version")?),
            programs: programs.iter().map(|name| version(name)).collect::<Result<_>>()?,
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
            "programs": self.programs.iter().cloned().collect::<std::collections::BTreeMap<_, _>>(),
            "date": self.date,
        })
    }
}

/// A program, and the word of its first line that begins with a digit, maybe behind a `v` or its name.
fn version(program: &'static str) -> Result<(&'static str, String)> {
    let line = first_line(program, "--version")?;
    let mut words = line.split_whitespace().map(|word| {
        let named = word.strip_prefix(program).and_then(|word| word.strip_prefix('-'));
        named.unwrap_or(word).trim_start_matches('v')
    });
    let version = words.find(|word| word.starts_with(|first: char| first.is_ascii_digit()));
    Ok((program, version.with_context(|| format!("the version of {program}: {line}"))?.to_owned()))
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
