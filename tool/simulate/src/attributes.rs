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

/// The name of the cluster at a waypoint, as Istio gives it; the name of a cluster is taken as it is.
pub fn cluster_of_dialled(dialled: &str) -> String {
    let is_port = |port: &str| port.parse::<u16>().is_ok();
    match dialled.rsplit_once(':').filter(|(host, port)| is_port(port) && !host.contains('|')) {
        Some((host, port)) => format!("inbound-vip|{port}|http|{host}"),
        None => dialled.to_owned(),
    }
}

/// The name of a cluster that dials a port, as Istio gives it.
pub fn cluster_of_port(port: u16) -> String {
    format!("outbound|{port}||")
}
