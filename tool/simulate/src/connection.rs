//! A TLS connection that is not terminated, as a file writes it.

use crate::attributes::{Attribute, cluster_of_dialled, peer_uri, remote_address, tunnel_caller};
use crate::bytes::Bytes;
use crate::time::Clock;
use egress_warden::place::Place;
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
    /// At a waypoint, what the caller dialled: `HOST:PORT`, or the name of the filter chain. Absent, the
    /// connection comes to a gateway.
    pub dialled: Option<String>,
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
        let mut properties: Vec<(Attribute, Option<Vec<u8>>)> = vec![
            (&["connection", "requested_server_name"], self.sni.clone().map(|Bytes(sni)| sni)),
            (&["source", "address"], Some(remote_address(self.remote_address.as_ref()))),
            (&["destination", "address"], Some(b"10.0.0.1:15443".to_vec())),
        ];
        match self.chain() {
            None => {
                properties.push((&["connection", "tls_version"], tls_version));
                properties.push((&["connection", "uri_san_peer_certificate"], peer));
            }
            Some(chain) => {
                properties.push(tunnel_caller(peer));
                properties.push((&["xds", "filter_chain_name"], Some(chain.into_bytes())));
            }
        }
        properties.into_iter().filter_map(|(path, value)| Some((path, value?))).collect()
    }

    /// Where it is judged.
    pub fn place(&self) -> Place {
        match self.dialled {
            Some(_) => Place::Waypoint,
            None => Place::Gateway,
        }
    }

    /// The name of a waypoint's filter chain.
    pub fn chain(&self) -> Option<String> {
        self.dialled.as_deref().map(|dialled| cluster_of_dialled(dialled, "tcp"))
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
