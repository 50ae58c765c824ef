//! A real Prometheus, on the shipped configuration and rules.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::{Value, json};

use envoy_kit::call::Call;

/// How long it may take on a machine with much else to do.
const PATIENCE: Duration = Duration::from_secs(120);
const PAUSE: Duration = Duration::from_millis(500);

/// Whether a program is missing that a test needs: the test is skipped then, and `./build.sh test` says so.
pub(crate) fn is_missing(program: &str) -> bool {
    let is_missing = Command::new(program).arg("--version").output().is_err();
    if is_missing {
        println!("skipped: no `{program}` on the path (Debian's package has it)");
    }
    is_missing
}

/// Waits until something holds: it is asked each second.
pub(crate) async fn soon(holds: impl AsyncFn() -> Result<()>) -> Result<()> {
    let started = Instant::now();
    while started.elapsed() < PATIENCE {
        if holds().await.is_ok() {
            return Ok(());
        }
        tokio::time::sleep(PAUSE).await;
    }
    holds().await
}

/// A Prometheus with the shipped configuration. It is killed when this value is dropped.
pub(crate) struct Prometheus {
    child: Child,
    address: SocketAddr,
}

impl Prometheus {
    /// It asks the targets, which get a label `target`, each second. What it writes goes to `folder`.
    pub(crate) fn start(targets: &[(&str, SocketAddr)], folder: &Path) -> Result<Self> {
        let shipped = Path::new(kit::REPOSITORY).join("envoy/prometheus");
        let text = std::fs::read_to_string(shipped.join("prometheus.yaml"))?;
        let mut config: Value = serde_saphyr::from_str(&text)?;
        config["global"] = json!({"scrape_interval": "1s", "evaluation_interval": "1s"});
        config["rule_files"] = json!([shipped.join("rules.yaml")]);
        let targets = targets.iter().map(
            |(name, address)| json!({"targets": [address.to_string()], "labels": {"target": name}}),
        );
        config["scrape_configs"][0]["static_configs"] = targets.collect();
        let path = folder.join("prometheus.json");
        std::fs::write(&path, config.to_string())?;
        let address = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?;
        let child = Command::new("prometheus")
            .arg(format!("--config.file={}", path.display()))
            .arg(format!("--storage.tsdb.path={}", folder.join("data").display()))
            .arg(format!("--web.listen-address={address}"))
            .arg("--log.level=warn")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .context("start Prometheus")?;
        Ok(Self { child, address })
    }

    /// What it answers.
    pub(crate) async fn ask(&self, path: &str) -> Result<Value> {
        let answer = Call::get("prometheus").path(path).http1(self.address).await?.json()?;
        match answer["status"].as_str() {
            Some("success") => Ok(answer),
            _ => bail!("{path}: {answer}"),
        }
    }

    /// The samples of an expression, now.
    pub(crate) async fn query(&self, expression: &str) -> Result<Vec<Value>> {
        let answer = self.ask(&format!("/api/v1/query?query={}", encoded(expression))).await?;
        Ok(answer["data"]["result"].as_array().context("samples")?.clone())
    }

    /// The values that a label has in the series of a selector.
    pub(crate) async fn label_values(&self, selector: &str, label: &str) -> Result<Vec<String>> {
        let path = format!("/api/v1/label/{label}/values?match[]={}", encoded(selector));
        Ok(serde_json::from_value(self.ask(&path).await?["data"].clone())?)
    }

    /// Of each target all series of ours: the name, the labels that the filter or the guard gave, and the value.
    pub(crate) async fn series(&self) -> Result<BTreeMap<String, BTreeSet<String>>> {
        let mut series: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
        for sample in self.query(r#"{__name__=~"egress_warden_.+"}"#).await? {
            let labels = sample["metric"].as_object().context("labels")?;
            let own = ["decision", "reason", "rule", "listener", "result", "filter", "runtime"];
            let of_scrape = ["__name__", "target", "job", "instance"];
            let of_envoy =
                ["envoy_http_conn_manager_prefix", "envoy_rbac_prefix", "authz_enforce_result"];
            let mut text = labels["__name__"].as_str().context("a name")?.to_owned();
            for (label, value) in labels {
                if own.contains(&label.as_str()) {
                    text += &format!(" {label}={}", value.as_str().context("a text")?);
                } else {
                    let known = of_scrape.iter().chain(&of_envoy).any(|it| it == label);
                    ensure!(known, "the label {label} of {text}");
                }
            }
            let value = sample["value"][1].as_str().context("a value")?;
            let target = labels["target"].as_str().context("a target")?.to_owned();
            series.entry(target).or_default().insert(format!("{text} {value}"));
        }
        Ok(series)
    }
}

/// As a part of an URL.
fn encoded(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02x}")).collect()
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        // Either fails only where the process has ended by itself and is gone.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
