//! A waypoint of Istio's ambient mode on real Envoys: what a caller says by its certificate, by the address
//! that it dials and by the host that it names.

use anyhow::Result;
use serde_json::{Value, json};

use envoy_kit::bootstrap::Bootstrap;
use envoy_kit::call::Call;
use envoy_kit::certificates::Authority;
use envoy_kit::hbone::{WAYPOINT, Workload};
use envoy_kit::on_each_envoy;
use envoy_kit::testbed::Testbed;
use envoy_kit::waypoint::{Destination, HBONE};

on_each_envoy![the_address_chooses_the_route_and_the_certificate_is_filter_state];

const CHECKOUT: &str = "spiffe://cluster.local/ns/shop/sa/checkout";

const ALLOWED: Destination<'_> = Destination {
    address: "240.240.0.1",
    port: 80,
    cluster: "inbound-vip|80|http|allowed.example",
};
const DENIED: Destination<'_> =
    Destination { address: "240.240.0.2", port: 80, cluster: "inbound-vip|80|http|denied.example" };

/// What the filter relies on there.
async fn the_address_chooses_the_route_and_the_certificate_is_filter_state(
    testbed: &Testbed,
) -> Result<()> {
    let authority = Authority::new(&[WAYPOINT])?;
    let mut gateway = Bootstrap::gateway()?;
    gateway.remove_filter("egress-warden");
    gateway.remove_filter("egress-warden-guard");
    gateway.log_field("node", "%CEL(xds.node.id)%");
    gateway.log_field("certificate", "%DOWNSTREAM_PEER_URI_SAN%");
    let (waypoint, _external) =
        testbed.gateway(gateway.into_waypoint(&authority, &[ALLOWED, DENIED])?).await?;
    for (number, (uris, principal)) in [
        (&[CHECKOUT][..], json!(CHECKOUT)),
        (
            &[CHECKOUT, "spiffe://other/ns/a/sa/b"],
            json!(format!("{CHECKOUT},spiffe://other/ns/a/sa/b")),
        ),
        (&[], json!("-")),
    ]
    .into_iter()
    .enumerate()
    {
        let certificate = authority.caller_of_uris(uris)?;
        let workload =
            Workload::connect(waypoint.listener(HBONE)?, &authority, &certificate).await?;
        for destination in [ALLOWED, DENIED] {
            let dialled = destination.dialled();
            let path = format!("/{number}/{dialled}");
            let call = Call::get("other.example").path(&path);
            assert_eq!(call.http1_by(&workload, &dialled).await?.status, 301);
            let record = waypoint.access_log(&path).await?;
            assert_eq!(record["authority"], "other.example");
            assert_eq!(record["upstream_cluster"], destination.cluster);
            assert_eq!(record["downstream_local_address"], dialled);
            assert_eq!(record["source_principal"], principal);
            assert_eq!(record["certificate"], Value::Null);
            assert!(record["node"].as_str().is_some_and(|id| id.starts_with("waypoint~")));
            assert_eq!(call.http2_by(&workload, &dialled).await?.status, 301);
        }
        let nowhere = Call::get("allowed.example").http1_by(&workload, "240.240.0.9:80").await;
        assert!(nowhere.is_err());
    }
    Ok(())
}
