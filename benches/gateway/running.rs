//! Set-ups at work: `envoy/gateway.yaml` edited, started before the upstream, and found to do what
//! is going to be timed.

use std::net::SocketAddr;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::policy::{POLICY, RULE, TEAM, caller};
use crate::setup::{Setup, Way, native_hosts};
use crate::{native, sidecar, upstream};
use envoy_kit::ACCESS_LOG_FIELDS;
use envoy_kit::bootstrap::Bootstrap;
use envoy_kit::call::{Call, seen};
use envoy_kit::certificates::Authority;
use envoy_kit::process::Envoy;
use envoy_kit::shell::Shell;
use envoy_kit::testbed::Testbed;

/// What the gateway logs beside the fields of the reference path and those of the verdict.
const OTHER_FIELDS: [&str; 3] = ["guard", "response_code_details", "source_principal"];

/// Counts the gateway's answers.
const REQUESTS: &str = "http.outbound_0.0.0.0_80.downstream_rq_completed";

const EMPTY_FILTER: &str = include_str!("empty.wat");

/// A set-up that serves.
pub(crate) struct Running {
    pub(crate) setup: Setup,
    pub(crate) envoy: Envoy,
    /// What callers of a mutual-TLS listener go through; its CPU time is not counted.
    _sidecar: Option<Envoy>,
    /// Where the load goes.
    pub(crate) address: SocketAddr,
    log: Log,
}

/// Starts all of them. None costs anything while another one is under load.
pub(crate) async fn start_all(testbed: &Testbed, setups: Vec<Setup>) -> Result<Vec<Running>> {
    let upstream = upstream::start()?;
    let modules = tempfile::tempdir()?;
    let empty_filter = modules.path().join("empty.wasm");
    std::fs::write(&empty_filter, wat::parse_str(EMPTY_FILTER)?)?;
    let mut all = Vec::new();
    for setup in setups {
        let title = setup.title;
        let running = Running::start(testbed, setup, upstream, &empty_filter).await;
        let running = running.with_context(|| format!("start {title}"))?;
        running.verify().await.with_context(|| format!("verify {title}"))?;
        all.push(running);
    }
    Ok(all)
}

impl Running {
    async fn start(
        testbed: &Testbed,
        setup: Setup,
        upstream: SocketAddr,
        empty_filter: &Path,
    ) -> Result<Self> {
        let log = Log::new()?;
        let mut bootstrap = Bootstrap::gateway()?;
        bootstrap.bind_free_ports();
        bootstrap.redirect(Bootstrap::external()?.listener_port("external")?, upstream.port());
        let manager = connection_manager(&mut bootstrap)?;
        route_every_host(manager)?;
        log.receive_records(manager);
        install(&setup, &mut bootstrap, empty_filter)?;
        if setup.is_refused {
            // A line for each refusal.
            bootstrap.log_path = Some("/dev/null");
        }
        if !setup.is_mutual_tls {
            let envoy = testbed.start(&bootstrap).await?;
            let address = envoy.listener("egress")?;
            return Ok(Self { setup, envoy, _sidecar: None, address, log });
        }
        let authority = Authority::new(&[sidecar::SERVER_NAME])?;
        bootstrap.require_mutual_tls(&authority)?;
        let envoy = testbed.start(&bootstrap).await?;
        let caller = authority.caller(&format!("spiffe://{}", caller()))?;
        let sidecar = sidecar::bootstrap(&authority, &caller, envoy.listener("egress")?)?;
        let sidecar = testbed.start(&sidecar).await?;
        let address = sidecar.listener(sidecar::LISTENER)?;
        Ok(Self { setup, envoy, _sidecar: Some(sidecar), address, log })
    }

    /// The requests that it has answered.
    pub(crate) async fn requests(&self) -> Result<u64> {
        let path = format!("/stats?format=json&filter={REQUESTS}");
        let stats = Call::get("admin").path(&path).http1(self.envoy.admin()).await?.json()?;
        let stats = stats["stats"].as_array().context("Envoy lists its statistics")?;
        let counter = stats.iter().find(|stat| stat["name"] == REQUESTS);
        counter.and_then(|counter| counter["value"].as_u64()).context("a counter of requests")
    }

    /// Sends what the load will send, and looks at the answer, at what arrives upstream and at the
    /// record. Then records are thrown away.
    async fn verify(&self) -> Result<()> {
        let setup = &self.setup;
        let last = setup.asked.1 - 1;
        for place in [0, last / 2, last] {
            let path = format!("{}?{place}", upstream::SEEN);
            let answer = Call::get(&setup.host(place)).path(&path).http1(self.address).await?;
            let status = if setup.is_refused { 403 } else { 200 };
            ensure!(answer.status == status, "{answer:?}");
            let record = self.log.record(&path).await?;
            self.verify_record(&record)?;
            if !setup.is_refused {
                self.verify_stamps(&seen(&answer.body)?)?;
            }
        }
        if setup.decides() {
            let answer = Call::get("elsewhere.example.org").http1(self.address).await?;
            ensure!(answer.status == 403, "{answer:?}");
        }
        self.log.throw_records_away(&self.envoy).await
    }

    fn verify_record(&self, record: &Value) -> Result<()> {
        let fields = record.as_object().context("a record is an object")?;
        let says = |field: &str, value: &str| {
            ensure!(record[field] == value, "{field} is not {value} in {record:#}");
            Ok(())
        };
        for field in ACCESS_LOG_FIELDS {
            ensure!(fields.contains_key(field), "no {field} in {record:#}");
        }
        if !self.setup.has_fields() {
            ensure!(fields.len() == ACCESS_LOG_FIELDS.len(), "{record:#}");
            return Ok(());
        }
        let others = OTHER_FIELDS.len() + native::RECORD.len();
        ensure!(fields.len() == ACCESS_LOG_FIELDS.len() + others, "{record:#}");
        let said = native::RECORD.iter().filter(|(field, _)| !record[field].is_null()).count();
        let expected = if self.setup.decides() { 3 } else { 0 };
        ensure!(said == expected, "{said} fields say something in {record:#}");
        match (&self.setup.way, self.setup.is_refused) {
            (_, true) => says("egress_decision", "deny")?,
            (Way::Warden(_) | Way::NativeWarden(_) | Way::GuardedWarden(_), false) => {
                says("egress_decision", "allow")?
            }
            (Way::Record, false) => {}
            (_, false) => says("egress_decision", "allowed")?,
        }
        if self.setup.is_mutual_tls {
            says("source_principal", &format!("spiffe://{}", caller()))?;
        }
        Ok(())
    }

    fn verify_stamps(&self, headers: &[(&str, &str)]) -> Result<()> {
        let stamps: Vec<_> =
            headers.iter().filter(|(name, _)| name.starts_with("x-egress-")).collect();
        let count = self.setup.stamps();
        ensure!(stamps.len() == count, "{headers:?}");
        let is_there = |stamp| stamps.contains(&&stamp);
        ensure!(count == 0 || is_there(TEAM), "{headers:?}");
        ensure!(count < 3 || is_there(POLICY), "{headers:?}");
        ensure!(count < 3 || stamps.iter().any(|(name, _)| *name == RULE), "{headers:?}");
        Ok(())
    }
}

/// Whatever the filters let through has a way out, and all of it the same one.
fn route_every_host(manager: &mut Value) -> Result<()> {
    let hosts = manager["route_config"]["virtual_hosts"].as_array_mut();
    let hosts = hosts.context("a list of virtual hosts")?;
    hosts.truncate(1);
    hosts[0]["domains"] = json!(["*"]);
    Ok(())
}

fn install(setup: &Setup, bootstrap: &mut Bootstrap, empty_filter: &Path) -> Result<()> {
    if !matches!(setup.way, Way::GuardedWarden(_)) {
        bootstrap.remove_filter("egress-warden-guard");
    }
    let native = match &setup.way {
        Way::Warden(policy) | Way::GuardedWarden(policy) => {
            return bootstrap.set_policy(policy.clone());
        }
        Way::NativeWarden(policy) => {
            bootstrap.set_policy(policy.clone())?;
            Shell::Native.apply(bootstrap);
            return Ok(());
        }
        Way::EmptyFilter => {
            let filters = filters(bootstrap)?;
            let config = &mut filters[0]["typed_config"]["config"];
            config["vm_config"]["vm_id"] = json!("empty");
            config["vm_config"]["code"]["local"]["filename"] = json!(empty_filter);
            config.as_object_mut().context("an object")?.remove("configuration");
            Vec::new()
        }
        Way::Record => {
            bootstrap.remove_filter("egress-warden");
            return Ok(());
        }
        Way::Nothing => {
            bootstrap.remove_filter("egress-warden");
            Vec::new()
        }
        Way::NativeTrio { hosts } => {
            let (pattern, count) = native_hosts(*hosts);
            vec![native::matcher_map(pattern, count), native::stamps()]
        }
        Way::Lists { hosts } => {
            let (pattern, count) = native_hosts(*hosts);
            vec![native::lists(pattern, count)]
        }
        Way::ListsTrio { hosts } => {
            let (pattern, count) = native_hosts(*hosts);
            vec![native::lists(pattern, count), native::stamps()]
        }
    };
    if !native.is_empty() {
        bootstrap.remove_filter("egress-warden");
        filters(bootstrap)?.splice(0..0, native);
    }
    let manager = connection_manager(bootstrap)?;
    let fields =
        manager["access_log"][0]["typed_config"]["log_format"]["json_format"].as_object_mut();
    let fields = fields.context("the record's fields")?;
    if setup.has_fields() {
        for (field, format) in native::RECORD {
            fields.insert(field.to_owned(), json!(format));
        }
    } else {
        fields.retain(|field, _| ACCESS_LOG_FIELDS.contains(&field.as_str()));
    }
    Ok(())
}

fn filters(bootstrap: &mut Bootstrap) -> Result<&mut Vec<Value>> {
    let filters = connection_manager(bootstrap)?["http_filters"].as_array_mut();
    filters.context("a list of filters")
}

fn connection_manager(bootstrap: &mut Bootstrap) -> Result<&mut Value> {
    bootstrap
        .tree_mut()
        .pointer_mut("/static_resources/listeners/0/filter_chains/0/filters/0/typed_config")
        .context("a connection manager")
}

/// Where a set-up's records go: to a file that is read, later nowhere. Envoy opens one path, and
/// opens it again when it is asked to.
struct Log(TempDir);

impl Log {
    fn new() -> Result<Self> {
        let log = Self(tempfile::tempdir()?);
        let records = log.0.path().join("records");
        std::fs::write(&records, "")?;
        std::os::unix::fs::symlink(records, log.path())?;
        Ok(log)
    }

    fn path(&self) -> std::path::PathBuf {
        self.0.path().join("log")
    }

    fn receive_records(&self, manager: &mut Value) {
        let access_log = &mut manager["access_log"][0];
        access_log["name"] = json!("envoy.access_loggers.file");
        access_log["typed_config"]["@type"] =
            json!("type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog");
        access_log["typed_config"]["path"] = json!(self.path());
    }

    /// The record of the request that was sent for `path`, waiting for it.
    async fn record(&self, path: &str) -> Result<Value> {
        for _ in 0..500 {
            let records = std::fs::read_to_string(self.0.path().join("records"))?;
            let mut records = records.lines().filter_map(|line| serde_json::from_str(line).ok());
            if let Some(record) = records.find(|record: &Value| record["path"] == path) {
                return Ok(record);
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        anyhow::bail!("no record of {path}")
    }

    async fn throw_records_away(&self, envoy: &Envoy) -> Result<()> {
        std::fs::remove_file(self.path())?;
        std::os::unix::fs::symlink("/dev/null", self.path())?;
        let answer = Call::new("POST", "admin").path("/reopen_logs").http1(envoy.admin()).await?;
        ensure!(answer.status == 200, "{answer:?}");
        Ok(())
    }
}
