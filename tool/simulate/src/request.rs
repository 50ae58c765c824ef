//! A request as a file writes it.

use super::bytes::Bytes;
use super::{Headers, shown};
use crate::time::Time;
use std::fmt;

/// The path of an attribute of the proxy.
pub type Path = &'static [&'static str];

/// A `GET` of `/` over plain text, by a caller who showed no certificate, where nothing else is said.
#[derive(Clone, Debug, Default, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Request {
    /// `:authority`; absent, the request carries none.
    #[serde(alias = "host")]
    pub authority: Option<Bytes>,
    pub method: Option<Bytes>,
    pub path: Option<Bytes>,
    /// The SPIFFE id of the verified peer certificate, with or without `spiffe://`.
    pub principal: Option<String>,
    /// The verified peer certificate's URI, where it is no SPIFFE id.
    pub uri_san: Option<Bytes>,
    /// The port that the route's cluster names.
    pub port: Option<u16>,
    /// The name of the route's cluster, in place of its port.
    pub cluster: Option<String>,
    /// Whether the connection is TLS: one with a peer certificate always is.
    pub tls: bool,
    pub sni: Option<Bytes>,
    /// Where the request comes from, as `source.address` says it.
    pub remote_address: Option<Bytes>,
    pub headers: Vec<(String, Bytes)>,
    /// Pseudo-headers that are not sent.
    pub without: Vec<String>,
    /// The proxy's clock, RFC 3339, or `none` where it cannot be read.
    pub at: Option<Clock>,
}

/// What the proxy's clock says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Clock {
    Unreadable,
    At(Time),
}

impl<'de> serde::Deserialize<'de> for Clock {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        match text.as_str() {
            "none" => Ok(Self::Unreadable),
            time => time.parse().map(Self::At).map_err(serde::de::Error::custom),
        }
    }
}

impl Request {
    pub fn method(&self) -> &[u8] {
        self.method.as_ref().map_or(b"GET", |Bytes(method)| method)
    }

    pub fn path(&self) -> &[u8] {
        self.path.as_ref().map_or(b"/", |Bytes(path)| path)
    }

    /// The headers in the order in which Envoy gives them, names in lower case.
    pub fn header_pairs(&self) -> Headers {
        let pseudo = [
            (":authority", self.authority.as_ref().map(|Bytes(authority)| &authority[..])),
            (":path", Some(self.path())),
            (":method", Some(self.method())),
            (":scheme", Some(&b"http"[..])),
        ];
        let pseudo = pseudo
            .into_iter()
            .filter(|(name, _)| !self.without.iter().any(|absent| absent == name))
            .filter_map(|(name, value)| Some((name.as_bytes().to_vec(), value?.to_vec())));
        let others = self
            .headers
            .iter()
            .map(|(name, Bytes(value))| (name.to_ascii_lowercase().into_bytes(), value.clone()));
        pseudo.chain(others).collect()
    }

    /// The attributes that Envoy has of such a request.
    pub fn properties(&self) -> impl Iterator<Item = (Path, Vec<u8>)> {
        let peer = peer_uri(self.uri_san.as_ref(), self.principal.as_deref());
        let is_tls = self.tls || peer.is_some();
        let remote_address = self.remote_address.clone().unwrap_or_else(|| "10.0.0.7:41000".into());
        let sni = self.sni.clone().map(|Bytes(sni)| sni);
        let properties: [(Path, Option<Vec<u8>>); 5] = [
            (&["connection", "requested_server_name"], sni),
            (&["connection", "tls_version"], is_tls.then(|| b"TLSv1.3".to_vec())),
            (&["connection", "uri_san_peer_certificate"], peer),
            (&["source", "address"], Some(remote_address.0)),
            (&["xds", "cluster_name"], self.cluster().map(String::into_bytes)),
        ];
        properties.into_iter().filter_map(|(path, value)| Some((path, value?)))
    }

    /// Nanoseconds since the Unix epoch.
    pub fn clock(&self, otherwise: Time) -> Option<u64> {
        clock_of(self.at, otherwise)
    }

    fn cluster(&self) -> Option<String> {
        let of_port = || Some(format!("outbound|{}||", self.port?));
        self.cluster.clone().or_else(of_port)
    }
}

/// The URI of the verified peer certificate.
pub fn peer_uri(uri_san: Option<&Bytes>, principal: Option<&str>) -> Option<Vec<u8>> {
    let spiffe = || {
        let principal = principal?;
        let id = principal.strip_prefix("spiffe://").unwrap_or(principal);
        Some(format!("spiffe://{id}").into_bytes())
    };
    uri_san.map(|Bytes(uri)| uri.clone()).or_else(spiffe)
}

/// Nanoseconds since the Unix epoch; `otherwise` where nothing is said.
pub fn clock_of(said: Option<Clock>, otherwise: Time) -> Option<u64> {
    match said.unwrap_or(Clock::At(otherwise)) {
        Clock::Unreadable => None,
        Clock::At(time) => time.nanoseconds(),
    }
}

impl fmt::Display for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ", shown(self.method()))?;
        match &self.authority {
            Some(authority) => write!(f, "{authority} ")?,
            None => f.write_str("(no authority) ")?,
        }
        f.write_str(&shown(self.path()))
    }
}
