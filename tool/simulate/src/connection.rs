//! A TLS connection that is not terminated, as a file writes it.

use crate::attributes::{Attribute, peer_uri, remote_address};
use crate::bytes::Bytes;
use crate::time::Clock;
use egress_warden::time::Time;
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
    /// The attributes that Envoy has of such a connection. Where there is a certificate, the gateway ends
    /// TLS: the mesh's, around the application's own.
    pub(crate) fn properties(&self) -> Vec<(Attribute, Vec<u8>)> {
        let peer = self.peer_uri();
        let tls_version = peer.as_ref().map(|_| b"TLSv1.3".to_vec());
        let properties: [(Attribute, Option<Vec<u8>>); 5] = [
            (&["connection", "requested_server_name"], self.sni.clone().map(|Bytes(sni)| sni)),
            (&["connection", "tls_version"], tls_version),
            (&["connection", "uri_san_peer_certificate"], peer),
            (&["source", "address"], Some(remote_address(self.remote_address.as_ref()))),
            (&["destination", "address"], Some(b"10.0.0.1:15443".to_vec())),
        ];
        properties.into_iter().filter_map(|(path, value)| Some((path, value?))).collect()
    }

    /// The URI of the verified peer certificate.
    pub fn peer_uri(&self) -> Option<Vec<u8>> {
        peer_uri(self.uri_san.as_ref(), self.principal.as_deref())
    }

    /// The time by the proxy's clock; `at` where the connection says none.
    pub fn clock(&self, at: Time) -> Option<Time> {
        self.at.unwrap_or(Clock::At(at)).time()
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
