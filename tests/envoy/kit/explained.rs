//! Generated requests, as they are sent to an Envoy and as the tool explains them.

use std::io::Write as _;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use super::call::Call;

/// Those that Envoy takes over HTTP/1.1.
const METHODS: [&str; 2] = ["GET", "POST"];

/// What the access log and the tool both say of a decision.
pub const KEYS: [&str; 6] = [
    "egress_decision",
    "egress_rule",
    "egress_reason",
    "egress_would",
    "egress_would_rule",
    "egress_would_reason",
];

/// A generated request that can be written on the wire.
pub struct Sent {
    method: &'static str,
    pub authority: String,
    path: String,
}

impl Sent {
    /// Nothing where Envoy would not take the request for one.
    pub fn of(request: kit::naive::Request) -> Option<Self> {
        let path = String::from_utf8(request.path?).ok()?;
        let authority = String::from_utf8(request.authority).ok()?;
        let is_graphic = |text: &str| text.bytes().all(|byte| byte.is_ascii_graphic());
        let method = METHODS.into_iter().find(|method| method.as_bytes() == request.method)?;
        (path.starts_with('/')
            && is_graphic(&path)
            && is_graphic(&authority)
            && !authority.is_empty())
        .then_some(Self { method, authority, path })
    }

    pub fn call(&self) -> Call {
        Call::new(self.method, &self.authority).path(&self.path)
    }

    /// As a line for [`explained`], where the request takes the route to such a cluster.
    pub fn line(&self, cluster: Option<&str>) -> Value {
        let Self { method, authority, path } = self;
        let mut line = json!({ "authority": authority, "method": method, "path": path });
        if let Some(cluster) = cluster {
            line["cluster"] = json!(cluster);
        }
        line
    }
}

/// What `egress-warden explain --requests` says of each line under a policy.
pub fn explained(policy: &Value, lines: impl Iterator<Item = Value>) -> Result<Vec<Value>> {
    let file = tempfile::NamedTempFile::with_suffix(".json")?;
    std::fs::write(&file, policy.to_string())?;
    let mut tool = Command::new(kit::tool())
        .args(["explain", "--format", "json", "--requests", "-"])
        .arg(file.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    // Fewer than a pipe holds.
    let mut input = tool.stdin.take().context("a pipe")?;
    for line in lines {
        writeln!(input, "{line}")?;
    }
    drop(input);
    let output = tool.wait_with_output()?;
    let text = String::from_utf8(output.stdout)?;
    Ok(text.lines().map(serde_json::from_str).collect::<Result<_, _>>()?)
}
