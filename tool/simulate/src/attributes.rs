//! What the proxy tells of a request or a connection beside its headers: Envoy's attributes.

use crate::bytes::Bytes;

/// The path of an attribute of the proxy.
pub type Attribute = &'static [&'static str];

/// The URI of the verified peer certificate.
pub fn peer_uri(uri_san: Option<&Bytes>, principal: Option<&str>) -> Option<Vec<u8>> {
    let spiffe = || {
        let principal = principal?;
        let id = principal.strip_prefix("spiffe://").unwrap_or(principal);
        Some(format!("spiffe://{id}").into_bytes())
    };
    uri_san.map(|Bytes(uri)| uri.clone()).or_else(spiffe)
}

/// Where it comes from, as `source.address` says it.
pub fn remote_address(said: Option<&Bytes>) -> Vec<u8> {
    said.map_or_else(|| b"10.0.0.7:41000".to_vec(), |Bytes(address)| address.clone())
}

/// The name of the cluster at a waypoint, as Istio gives it for `http` or `tcp`; the name of a cluster is
/// taken as it is.
pub fn cluster_of_dialled(dialled: &str, protocol: &str) -> String {
    match host_and_port(dialled) {
        Some((host, port)) => format!("inbound-vip|{port}|{protocol}|{host}"),
        None => dialled.to_owned(),
    }
}

/// The host in what was dialled, or in the name of a cluster.
pub fn host_of_dialled(dialled: &str) -> &str {
    let of_cluster = || dialled.rsplit('|').next().unwrap_or_default();
    host_and_port(dialled).map_or_else(of_cluster, |(host, _)| host)
}

fn host_and_port(dialled: &str) -> Option<(&str, &str)> {
    let is_port = |port: &str| port.parse::<u16>().is_ok();
    dialled.rsplit_once(':').filter(|(host, port)| is_port(port) && !host.contains('|'))
}

/// The name of a cluster that dials a port, as Istio gives it.
pub fn cluster_of_port(port: u16) -> String {
    format!("outbound|{port}||")
}

/// Who calls through a tunnel, as a waypoint has it.
pub fn tunnel_caller(peer_uri: Option<Vec<u8>>) -> (Attribute, Option<Vec<u8>>) {
    let uri = peer_uri.unwrap_or_else(|| b"-".to_vec());
    (&["filter_state", "io.istio.peer_principal"], Some(uri))
}
