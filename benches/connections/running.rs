//! Set-ups at work: `envoy/gateway-tls.yaml` edited, started before the upstream, and found to do
//! what is going to be timed.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::ClientConfig;
use tokio_rustls::rustls::client::Resumption;

use crate::callers::Callers;
use crate::setup::{self, Asked, CALLER, Setup, Way};
use crate::upstream;
use envoy_kit::bootstrap::Bootstrap;
use envoy_kit::certificates::Authority;
use envoy_kit::passthrough::Lane;
use envoy_kit::process::Envoy;
use envoy_kit::testbed::Testbed;

const EMPTY_FILTER: &str = include_str!("empty.wat");
/// The load on each set-up before the first round.
const WARM_UP: Duration = Duration::from_millis(500);

/// A set-up that serves.
pub(crate) struct Running {
    pub(crate) envoy: Envoy,
    address: SocketAddr,
    callers: Callers,
}

/// Starts all of them. None costs anything while another one is under load.
pub(crate) async fn start_all(testbed: &Testbed) -> Result<Vec<Running>> {
    let upstream = upstream::start()?;
    let modules = tempfile::tempdir()?;
    let empty_filter = modules.path().join("empty.wasm");
    std::fs::write(&empty_filter, wat::parse_str(EMPTY_FILTER)?)?;
    let authority = Authority::new(&["*.example.com"])?;
    let mut all = Vec::new();
    for setup in setup::all() {
        let start = Running::start(testbed, &setup, upstream, &empty_filter, &authority);
        let running = start.await.with_context(|| format!("start {}", setup.title))?;
        running.load(WARM_UP).await.with_context(|| format!("warm up {}", setup.title))?;
        all.push(running);
    }
    Ok(all)
}

impl Running {
    async fn start(
        testbed: &Testbed,
        setup: &Setup,
        upstream: SocketAddr,
        empty_filter: &Path,
        authority: &Authority,
    ) -> Result<Self> {
        let mut bootstrap = Bootstrap::gateway_tls()?;
        let lane = Lane { name: "lane", policy: &setup.policy(), upstream };
        bootstrap.take_every_name(&[lane])?;
        bootstrap.bind_free_ports();
        // A line for each refusal.
        bootstrap.log_path = Some("/dev/null");
        let listener = &mut bootstrap.tree_mut()["static_resources"]["listeners"][0];
        let access_log = &mut listener["access_log"][0];
        access_log["name"] = json!("envoy.access_loggers.file");
        access_log["typed_config"]["@type"] =
            json!("type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog");
        access_log["typed_config"]["path"] = json!("/dev/null");
        let filters = listener["filter_chains"][0]["filters"].as_array_mut();
        install(setup, filters.context("filters")?, empty_filter)?;
        if setup.is_mutual_tls {
            bootstrap.require_mutual_tls(authority)?;
        }
        let envoy = testbed.start(&bootstrap).await?;
        let address = envoy.listener("lane")?;
        let running = Self { envoy, address, callers: callers(setup, authority)? };
        running.verify(setup, authority).await?;
        Ok(running)
    }

    /// What is listed passes and nothing else does, where names are decided about.
    async fn verify(&self, setup: &Setup, authority: &Authority) -> Result<()> {
        self.callers.connect_once(self.address).await?;
        if matches!(setup.way, Way::Lists | Way::Warden { .. }) {
            for asked in [Asked::Listed, Asked::Last, Asked::Unlisted] {
                let other = Setup { asked, way: Way::Nothing, ..*setup };
                callers(&other, authority)?.connect_once(self.address).await?;
            }
        }
        Ok(())
    }

    /// Sends the load for so long; how many connections that were.
    pub(crate) async fn load(&self, duration: Duration) -> Result<usize> {
        self.callers.connect(self.address, duration).await
    }
}

/// Those who ask what a set-up is asked.
fn callers(setup: &Setup, authority: &Authority) -> Result<Callers> {
    let mesh = setup.is_mutual_tls.then(|| mesh(authority)).transpose()?;
    let config = authority.client(None, "h2")?;
    Callers::new(setup.asked_names(), setup.is_refused(), &config, mesh)
}

/// A sidecar's side of the mesh's TLS, which shows the caller's certificate in each connection.
fn mesh(authority: &Authority) -> Result<TlsConnector> {
    let caller = authority.caller(&format!("spiffe://{CALLER}"))?;
    let mut config = ClientConfig::clone(&*authority.client(Some(&caller), "h2")?);
    // Each handshake is a whole one, however few names are asked for.
    config.resumption = Resumption::disabled();
    Ok(TlsConnector::from(Arc::new(config)))
}

/// Puts a set-up's filters in the place of the filter and the guard, which come first.
fn install(setup: &Setup, filters: &mut Vec<Value>, empty_filter: &Path) -> Result<()> {
    match setup.way {
        Way::Warden { is_guarded: true, .. } => {}
        Way::Warden { is_guarded: false, .. } => {
            filters.remove(1);
        }
        Way::Nothing => {
            filters.drain(..2);
        }
        Way::EmptyFilter => {
            filters.remove(1);
            let config = &mut filters[0]["typed_config"]["config"];
            config["vm_config"]["vm_id"] = json!("empty");
            config["vm_config"]["code"]["local"]["filename"] = json!(empty_filter);
            config.as_object_mut().context("an object")?.remove("configuration");
        }
        Way::Lists => {
            filters.splice(..2, [list(setup)]);
        }
    }
    Ok(())
}

/// RBAC as Istio renders an AuthorizationPolicy that allows server names (`connection.sni`), with
/// mutual TLS those of one caller: one list, which Envoy walks.
fn list(setup: &Setup) -> Value {
    let names: Vec<Value> = setup
        .listed_names()
        .map(|name| json!({"requested_server_name": {"exact": name}}))
        .collect();
    let caller = if setup.is_mutual_tls {
        let name = json!({"exact": format!("spiffe://{CALLER}")});
        json!({"or_ids": {"ids": [{"authenticated": {"principal_name": name}}]}})
    } else {
        json!({"any": true})
    };
    json!({
        "name": "envoy.filters.network.rbac",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.network.rbac.v3.RBAC",
            "stat_prefix": "tcp.",
            "rules": {"policies": {"listed": {
                "permissions": [{"and_rules": {"rules": [{"or_rules": {"rules": names}}]}}],
                "principals": [{"and_ids": {"ids": [caller]}}],
            }}},
        },
    })
}
