//! A connection as a case writes it.

use std::fmt::{self, Display, Formatter};

use serde::Deserialize;

use super::bytes::Bytes;
use super::request::{Path, nanoseconds};

/// Defaults: a TLS hello without a server name, by a caller who showed no certificate.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Connection {
    /// The server name, as the proxy says it.
    pub sni: Option<Bytes>,
    /// The SPIFFE id of the verified peer certificate, without `spiffe://`.
    pub principal: Option<String>,
    /// The verified peer certificate's URI, where it is no SPIFFE id.
    pub uri_san: Option<Bytes>,
    #[serde(default = "default_clock")]
    pub at: String,
}

fn default_clock() -> String {
    "2026-11-23T10:00:00Z".to_owned()
}

impl Connection {
    /// The attributes that Envoy has of such a connection.
    pub fn properties(&self) -> impl Iterator<Item = (Path, Vec<u8>)> {
        let peer = self.peer_uri();
        // Where it has a certificate, the gateway has ended TLS.
        let tls_version = peer.as_ref().map(|_| b"TLSv1.3".to_vec());
        let properties: [(Path, Option<Vec<u8>>); 5] = [
            (&["connection", "requested_server_name"], self.sni.clone().map(|Bytes(sni)| sni)),
            (&["connection", "tls_version"], tls_version),
            (&["connection", "uri_san_peer_certificate"], peer),
            (&["source", "address"], Some(b"10.0.0.7:41000".to_vec())),
            (&["destination", "address"], Some(b"10.0.0.1:15443".to_vec())),
        ];
        properties.into_iter().filter_map(|(path, value)| Some((path, value?)))
    }

    /// The URI of the verified peer certificate.
    pub fn peer_uri(&self) -> Option<Vec<u8>> {
        let spiffe = || Some(format!("spiffe://{}", self.principal.as_ref()?).into_bytes());
        self.uri_san.clone().map(|Bytes(uri)| uri).or_else(spiffe)
    }

    /// Nanoseconds since the Unix epoch.
    pub fn clock(&self) -> Option<u64> {
        nanoseconds(&self.at)
    }
}

impl Display for Connection {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        match &self.sni {
            Some(sni) => write!(formatter, "to `{sni}`"),
            None => formatter.write_str("without a server name"),
        }
    }
}
