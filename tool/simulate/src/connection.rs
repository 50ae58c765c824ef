//! A TLS connection that is not terminated, as a file writes it.

use super::bytes::Bytes;
use super::request::{Clock, Path, clock_of, peer_uri};
use crate::time::Time;
use std::fmt;

/// One without a server name, by a caller who showed no certificate, where nothing else is said.
#[derive(Clone, Debug, Default, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Connection {
    /// The server name in the hello, as Envoy shows it: in lower case.
    pub sni: Option<Bytes>,
    /// The SPIFFE id of the verified peer certificate, with or without `spiffe://`.
    pub principal: Option<String>,
    /// The verified peer certificate's URI, where it is no SPIFFE id.
    pub uri_san: Option<Bytes>,
    /// Where the connection comes from, as `source.address` says it.
    pub remote_address: Option<Bytes>,
    /// The proxy's clock, RFC 3339, or `none` where it cannot be read.
    pub at: Option<Clock>,
}

impl Connection {
    /// The attributes that Envoy has of such a connection.
    pub fn properties(&self) -> impl Iterator<Item = (Path, Vec<u8>)> {
        let peer = peer_uri(self.uri_san.as_ref(), self.principal.as_deref());
        let remote_address = self.remote_address.clone().unwrap_or_else(|| "10.0.0.7:41000".into());
        let properties: [(Path, Option<Vec<u8>>); 4] = [
            (&["connection", "requested_server_name"], self.sni.clone().map(|Bytes(sni)| sni)),
            (&["connection", "uri_san_peer_certificate"], peer),
            (&["source", "address"], Some(remote_address.0)),
            (&["destination", "address"], Some(b"10.0.0.1:15443".to_vec())),
        ];
        properties.into_iter().filter_map(|(path, value)| Some((path, value?)))
    }

    /// Nanoseconds since the Unix epoch.
    pub fn clock(&self, otherwise: Time) -> Option<u64> {
        clock_of(self.at, otherwise)
    }
}

impl fmt::Display for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.sni {
            Some(sni) => write!(f, "TLS {sni}"),
            None => f.write_str("TLS (no server name)"),
        }
    }
}
