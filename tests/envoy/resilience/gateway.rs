//! `envoy/gateway.yaml` or `envoy/gateway-tls.yaml`, as the plugin is for requests or connections,
//! before an upstream that counts, routed so that every host has its way out: what the filter and
//! the guard let through arrives. Listener and plugin come with the bootstrap or, as in a mesh, by
//! discovery: from files that Envoy watches.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::plugin::{Plane, Plugin, connection_manager};
use envoy_kit::bootstrap::Bootstrap;
use envoy_kit::call::Call;
use envoy_kit::certificates::Authority;
use envoy_kit::process::Envoy;
use envoy_kit::shell::Shell;
use envoy_kit::testbed::Testbed;

/// How long anything that surely comes may take on a machine with much else to do.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);
const PAUSE: Duration = Duration::from_millis(5);

const LISTENER: &str = "/static_resources/listeners/0";
const LISTENER_COUNTERS: &str = "listener_manager.lds.";

/// What stands behind the gateway, on this machine.
pub(crate) trait Service {
    fn port(&self) -> u16;
}

/// Waits until something holds: workers take an update a moment after Envoy accepted it.
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

/// What comes by discovery; the rest comes with the bootstrap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Discovered {
    Nothing,
    /// The listener, with the plugin in it.
    Listener,
    Plugin,
    /// The listener and, by itself, the plugin.
    Both,
}

/// A gateway before its start.
pub(crate) struct Plan {
    bootstrap: Bootstrap,
    plugin: Plugin,
    discovered: Discovered,
    is_delivered: bool,
}

impl Plan {
    pub(crate) fn new(plugin: &Plugin, discovered: Discovered) -> Result<Self> {
        let mut bootstrap = plugin.plane.open_gateway()?;
        bootstrap.bind_free_ports();
        bootstrap.tree_mut()["node"] = json!({"id": "gateway", "cluster": "gateway"});
        Ok(Self { bootstrap, plugin: plugin.clone(), discovered, is_delivered: true })
    }

    pub(crate) fn without_guard(mut self) -> Result<Self> {
        self.filters()?.retain(|filter| filter["name"] != "egress-warden-guard");
        Ok(self)
    }

    pub(crate) fn workers(mut self, count: usize) -> Self {
        self.bootstrap.concurrency = count;
        self
    }

    /// Makes Envoy follow the upstream's redirects itself.
    pub(crate) fn follow_redirects(mut self) -> Result<Self> {
        let listener = self.bootstrap.tree_mut().pointer_mut(LISTENER).context("a listener")?;
        let hosts = &mut connection_manager(listener)["route_config"]["virtual_hosts"];
        hosts[0]["routes"][0]["route"]["internal_redirect_policy"] = json!({});
        Ok(self)
    }

    /// Gives what a replaced listener still serves so many seconds.
    pub(crate) fn drain_seconds(mut self, seconds: u32) -> Self {
        self.bootstrap.drain_seconds = Some(seconds);
        self
    }

    /// Makes the gateway end the mesh's mutual TLS around what callers send.
    pub(crate) fn require_mutual_tls(mut self, mesh: &Authority) -> Result<Self> {
        self.bootstrap.require_mutual_tls(mesh)?;
        Ok(self)
    }

    /// Discovery of the plugin answers that there is none. A VM of its own starts before the workers:
    /// where the first of all starts after them, Envoy 1.37.0 crashes (SECURITY.md).
    pub(crate) fn with_empty_discovery(mut self) -> Self {
        let other = self.plugin.clone().vm_id("other");
        self.bootstrap.tree_mut()["bootstrap_extensions"] = json!([{
            "name": "envoy.bootstrap.wasm",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.wasm.v3.WasmService",
                "singleton": true,
                "config": other.config()["config"],
            },
        }]);
        self.is_delivered = false;
        self
    }

    /// Sends Envoy's own log, where the filter's lines are, to a file.
    pub(crate) fn log_path(mut self, path: &'static str) -> Self {
        self.bootstrap.log_path = Some(path);
        self
    }

    /// Writes both logs where nobody keeps them.
    pub(crate) fn discards_logs(mut self) -> Result<Self> {
        let listener = self.bootstrap.tree_mut().pointer_mut(LISTENER).context("a listener")?;
        let access_log = self.plugin.plane.access_log(listener);
        access_log["name"] = json!("envoy.access_loggers.file");
        access_log["typed_config"]["@type"] =
            json!("type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog");
        access_log["typed_config"]["path"] = json!("/dev/null");
        Ok(self.log_path("/dev/null"))
    }

    /// Starts it before `upstream`.
    pub(crate) async fn start(self, testbed: &Testbed, upstream: &impl Service) -> Result<Gateway> {
        let plane = self.plugin.plane;
        let shell = testbed.shell();
        let (bootstrap, files) = self.ready_for(upstream, shell)?;
        Ok(Gateway { envoy: testbed.start(&bootstrap).await?, plane, shell, files })
    }

    /// Starts it, which it refuses; what it logged.
    pub(crate) async fn refusal(
        self,
        testbed: &Testbed,
        upstream: &impl Service,
    ) -> Result<String> {
        let (bootstrap, _files) = self.ready_for(upstream, testbed.shell())?;
        Ok(testbed.refusal(bootstrap).await?.join("\n"))
    }

    fn ready_for(mut self, upstream: &impl Service, shell: Shell) -> Result<(Bootstrap, Files)> {
        self.bootstrap.redirect(self.plugin.plane.service_port()?, upstream.port());
        let files = Files { directory: tempfile::tempdir()?, listener: json!(null) };
        let mut typed_config = self.plugin.config().clone();
        shell.apply_to(&mut typed_config);
        let discovered = self.discovered;
        for filter in self.filters()?.iter_mut().filter(|it| it["name"] == "egress-warden") {
            match discovered {
                Discovered::Nothing | Discovered::Listener => {
                    filter["typed_config"] = typed_config.clone();
                }
                Discovered::Plugin | Discovered::Both => {
                    *filter = json!({
                        "name": "egress-warden",
                        "config_discovery": {
                            "config_source": files.source("plugin"),
                            "type_urls": [&typed_config["@type"]],
                        },
                    });
                }
            }
        }
        let tree = self.bootstrap.tree_mut();
        let mut listener = tree["static_resources"]["listeners"][0].clone();
        listener["@type"] = json!("type.googleapis.com/envoy.config.listener.v3.Listener");
        if matches!(self.discovered, Discovered::Listener | Discovered::Both) {
            tree["static_resources"]["listeners"] = json!([]);
            tree["dynamic_resources"] = json!({"lds_config": files.source("listener")});
        }
        shell.apply_to(&mut listener);
        files.put("listener", &[&listener])?;
        let mut plugin = self.plugin.to_resource();
        shell.apply_to(&mut plugin);
        let plugins = [&plugin];
        files.put("plugin", if self.is_delivered { &plugins } else { &[] })?;
        Ok((self.bootstrap, Files { listener, ..files }))
    }

    fn filters(&mut self) -> Result<&mut Vec<Value>> {
        let listener = self.bootstrap.tree_mut().pointer_mut(LISTENER).context("a listener")?;
        self.plugin.plane.filters(listener)
    }
}

/// A running gateway.
pub(crate) struct Gateway {
    pub(crate) envoy: Envoy,
    plane: Plane,
    shell: Shell,
    files: Files,
}

impl Gateway {
    /// Where it waits for callers; none while it has no listener.
    pub(crate) async fn address(&self) -> Result<Option<SocketAddr>> {
        let call = Call::get("admin").path("/listeners?format=json");
        let listeners = call.http1(self.envoy.admin()).await?.json()?;
        let address = &listeners["listener_statuses"][0]["local_address"]["socket_address"];
        Ok(address["port_value"].as_u64().map(|port| {
            SocketAddr::from((std::net::Ipv4Addr::LOCALHOST, u16::try_from(port).unwrap_or(0)))
        }))
    }

    /// Delivers another configuration of the plugin by itself; whether Envoy accepts it.
    pub(crate) async fn update_plugin(&self, plugin: &Plugin) -> Result<bool> {
        self.update("plugin", &plugin.to_resource(), &self.plane.plugin_counters()).await
    }

    /// Delivers the listener anew, edited; whether Envoy accepts it. Later edits build on it.
    pub(crate) async fn update_listener(
        &mut self,
        edit: impl FnOnce(&mut Value) + Send,
    ) -> Result<bool> {
        edit(&mut self.files.listener);
        self.update("listener", &self.files.listener, LISTENER_COUNTERS).await
    }

    /// The same, of the filters among which the plugin stands.
    pub(crate) async fn update_filters(
        &mut self,
        edit: impl FnOnce(&mut Vec<Value>) + Send,
    ) -> Result<bool> {
        edit(self.plane.filters(&mut self.files.listener)?);
        self.update_listener(|_| ()).await
    }

    /// Delivers the listener with another configuration of the plugin in it.
    pub(crate) async fn update_plugin_in_listener(&mut self, plugin: &Plugin) -> Result<bool> {
        self.update_filters(|filters| filters[0]["typed_config"] = plugin.config().clone()).await
    }

    async fn update(&self, file: &str, resource: &Value, counters: &str) -> Result<bool> {
        let (accepted, refused) = self.updates(counters).await?;
        let mut resource = resource.clone();
        self.shell.apply_to(&mut resource);
        self.files.put(file, &[&resource])?;
        let started = Instant::now();
        loop {
            let now = self.updates(counters).await?;
            if now != (accepted, refused) {
                return Ok(now.1 == refused);
            }
            ensure!(started.elapsed() < PATIENCE, "Envoy ignores the new {file}");
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// How many updates were accepted, and how many refused.
    async fn updates(&self, counters: &str) -> Result<(u64, u64)> {
        let stats = self.stats(&format!("^{counters}update_(success|rejected)$")).await?;
        let value = |name: &str| {
            let name = format!("{counters}{name}");
            let stat = stats.iter().find(|stat| stat["name"] == name);
            stat.and_then(|stat| stat["value"].as_u64()).unwrap_or(0)
        };
        Ok((value("update_success"), value("update_rejected")))
    }

    /// How many requests the filter has decided.
    pub(crate) async fn decided(&self) -> Result<u64> {
        let stats = self.stats(r"custom\.egress_warden\.requests\.").await?;
        Ok(stats.iter().filter_map(|stat| stat["value"].as_u64()).sum())
    }

    /// How many counters the filter has defined.
    pub(crate) async fn counters(&self) -> Result<usize> {
        Ok(self.stats(r"^wasmcustom\.").await?.len() - self.gauges().await?.len())
    }

    /// What the filter's gauges show, by the last part of their names.
    pub(crate) async fn gauges(&self) -> Result<BTreeMap<String, u64>> {
        let stats = self.stats(r"custom\.egress_warden\.policy_").await?;
        let gauge = |stat: &Value| {
            let (_, name) = stat["name"].as_str()?.rsplit_once('.')?;
            Some((name.to_owned(), stat["value"].as_u64()?))
        };
        Ok(stats.iter().filter_map(gauge).collect())
    }

    /// How many VMs Envoy has started in place of failed ones.
    pub(crate) async fn reloads(&self) -> Result<u64> {
        let stats = self.stats("vm_reload_success$").await?;
        Ok(stats.iter().filter_map(|stat| stat["value"].as_u64()).sum())
    }

    /// The access log, which is to have `count` lines.
    pub(crate) async fn records(&self, count: u64) -> Result<Vec<Value>> {
        soon(async || {
            let records = self.all_records()?.len();
            ensure!(records as u64 == count, "{records} records of {count} requests");
            Ok(())
        })
        .await?;
        self.all_records()
    }

    /// The access log so far.
    pub(crate) fn all_records(&self) -> Result<Vec<Value>> {
        let lines = self.envoy.access_log_after(0);
        lines.iter().map(|line| Ok(serde_json::from_str(line)?)).collect()
    }

    async fn stats(&self, filter: &str) -> Result<Vec<Value>> {
        let path = format!("/stats?format=json&filter={}", filter.replace('^', "%5E"));
        let stats = Call::get("admin").path(&path).http1(self.envoy.admin()).await?.json()?;
        Ok(stats["stats"].as_array().context("Envoy lists its statistics")?.clone())
    }

    /// The memory that the process holds, in KiB.
    pub(crate) fn resident_memory(&self) -> Result<u64> {
        let path = format!("/proc/{}/status", self.envoy.process_id());
        let status = std::fs::read_to_string(&path).with_context(|| format!("read {path}"))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let size = line.and_then(|line| line.trim().strip_suffix(" kB")).context("a line VmRSS")?;
        Ok(size.trim().parse()?)
    }
}

/// What Envoy watches: a file for each kind of resource.
struct Files {
    directory: TempDir,
    listener: Value,
}

impl Files {
    fn source(&self, file: &str) -> Value {
        let path = self.directory.path().join(file).with_extension("json");
        json!({"path_config_source": {"path": path}, "resource_api_version": "V3"})
    }

    /// Replaces a file in one step, which is what Envoy waits for.
    fn put(&self, file: &str, resources: &[&Value]) -> Result<()> {
        let path = self.directory.path().join(file).with_extension("json");
        let new = path.with_extension("new");
        std::fs::write(&new, json!({"resources": resources}).to_string())?;
        Ok(std::fs::rename(new, path)?)
    }
}
