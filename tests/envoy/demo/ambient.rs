//! A waypoint of Istio's ambient mode before the external service of the walk, and callers in tunnels.

use anyhow::Result;
use serde_json::{Value, json};

use envoy_kit::bootstrap::Bootstrap;
use envoy_kit::call::{Answer, Call};
use envoy_kit::certificates::Authority;
use envoy_kit::hbone::{WAYPOINT, Workload};
use envoy_kit::process::Envoy;
use envoy_kit::testbed::Testbed;
use envoy_kit::waypoint::{Destination, HBONE};

pub(crate) const ALLOWED: Destination<'_> = Destination {
    address: "240.240.0.1",
    port: 80,
    cluster: "inbound-vip|80|http|allowed.example",
};
pub(crate) const DENIED: Destination<'_> =
    Destination { address: "240.240.0.2", port: 80, cluster: "inbound-vip|80|http|denied.example" };

pub(crate) struct Waypoint {
    envoy: Envoy,
    authority: Authority,
}

impl Waypoint {
    /// On free ports: nobody but this program speaks HBONE to it.
    pub(crate) async fn start(testbed: &Testbed, external: &Envoy) -> Result<Self> {
        let authority = Authority::new(&[WAYPOINT])?;
        let mut gateway = Bootstrap::gateway()?;
        gateway.set_policy(json!({
            "policy": "local-waypoint",
            "rules": [{
                "id": "checkout-to-allowed",
                "action": "allow",
                "from": [{"principals": ["cluster.local/ns/shop/sa/checkout"]}],
                "to": [{"hosts": ["allowed.example"], "ports": [80]}],
            }],
        }))?;
        let mut waypoint = gateway.into_waypoint(&authority, &[ALLOWED, DENIED])?;
        waypoint.bind_free_ports();
        let shipped = Bootstrap::external()?.listener_port("external")?;
        waypoint.redirect(shipped, external.listener("external")?.port());
        Ok(Self { envoy: testbed.start(&waypoint).await?, authority })
    }

    /// A GET by the workload of that account, which dials one host and names another.
    pub(crate) async fn call(
        &self,
        account: &str,
        destination: Destination<'_>,
        host: &str,
        path: &str,
    ) -> Result<Answer> {
        let dialled = destination.dialled();
        println!(
            "  GET http://{host}{path} by `{account}`, dialled: {dialled} ({})",
            destination.host()
        );
        let uri = format!("spiffe://cluster.local/ns/shop/sa/{account}");
        let certificate = self.authority.caller(&uri)?;
        let waypoint = self.envoy.listener(HBONE)?;
        let workload = Workload::connect(waypoint, &self.authority, &certificate).await?;
        Call::get(host).path(path).http1_by(&workload, &dialled).await
    }

    pub(crate) async fn record(&self, path: &str) -> Result<Value> {
        self.envoy.access_log(path).await
    }
}
