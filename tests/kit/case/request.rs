//! A request as a case writes it.

use std::fmt::{self, Display, Formatter};

use serde::Deserialize;

use super::bytes::Bytes;

/// The path of an attribute.
pub type Path = &'static [&'static str];

/// Defaults: a `GET` of `/` over plain text, by a caller who showed no certificate.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// `:authority`; absent, the request carries none.
    pub authority: Option<Bytes>,
    #[serde(default = "default_method")]
    pub method: Bytes,
    #[serde(default = "default_path")]
    pub path: Bytes,
    /// The SPIFFE id of the verified peer certificate, without `spiffe://`.
    pub principal: Option<String>,
    /// The verified peer certificate's URI, where it is no SPIFFE id.
    pub uri_san: Option<Bytes>,
    /// The name of the route's cluster.
    pub cluster: Option<String>,
    /// Whether the connection is TLS: one with a peer certificate always is.
    #[serde(default)]
    pub tls: bool,
    pub sni: Option<Bytes>,
    /// Where the request came from, as `source.address` says it.
    #[serde(default = "default_remote_address")]
    pub remote_address: Bytes,
    #[serde(default)]
    pub headers: Vec<(String, Bytes)>,
    /// Pseudo-headers that are not sent.
    #[serde(default)]
    pub without: Vec<String>,
    /// The proxy's clock, RFC 3339, or `none` where it cannot be read.
    #[serde(default = "default_clock")]
    pub at: String,
}

fn default_method() -> Bytes {
    Bytes(b"GET".to_vec())
}

fn default_path() -> Bytes {
    Bytes(b"/".to_vec())
}

fn default_remote_address() -> Bytes {
    Bytes(b"10.0.0.7:41000".to_vec())
}

fn default_clock() -> String {
    "2026-11-23T10:00:00Z".to_owned()
}

impl Request {
    /// The headers in the order in which Envoy gives them, names in lower case.
    pub fn header_pairs(&self) -> Vec<(Vec<u8>, Vec<u8>)> {
        let pseudo = [
            (":authority", self.authority.clone()),
            (":path", Some(self.path.clone())),
            (":method", Some(self.method.clone())),
            (":scheme", Some(Bytes(b"http".to_vec()))),
        ];
        let pseudo = pseudo
            .into_iter()
            .filter(|(name, _)| !self.without.iter().any(|absent| absent == name))
            .filter_map(|(name, value)| Some((name.as_bytes().to_vec(), value?.0)));
        let others = self
            .headers
            .iter()
            .map(|(name, value)| (name.to_ascii_lowercase().into_bytes(), value.0.clone()));
        pseudo.chain(others).collect()
    }

    /// The attributes that Envoy has of such a request.
    pub fn properties(&self) -> impl Iterator<Item = (Path, Vec<u8>)> {
        let peer = self.peer_uri();
        let tls = self.tls || peer.is_some();
        let clock = self.clock();
        let properties: [(Path, Option<Vec<u8>>); 9] = [
            (&["cluster_name"], self.cluster.clone().map(String::into_bytes)),
            (&["connection", "mtls"], Some(vec![u8::from(peer.is_some())])),
            (&["connection", "requested_server_name"], self.sni.clone().map(|Bytes(sni)| sni)),
            (&["connection", "tls_version"], tls.then(|| b"TLSv1.3".to_vec())),
            (&["connection", "uri_san_peer_certificate"], peer),
            (&["request", "id"], self.request_id()),
            (&["request", "time"], clock.map(|nanoseconds| nanoseconds.to_le_bytes().to_vec())),
            (&["source", "address"], Some(self.remote_address.0.clone())),
            (&["xds", "cluster_name"], self.cluster.clone().map(String::into_bytes)),
        ];
        properties.into_iter().filter_map(|(path, value)| Some((path, value?)))
    }

    fn request_id(&self) -> Option<Vec<u8>> {
        let mut headers = self.header_pairs().into_iter();
        headers.find(|(name, _)| name == b"x-request-id").map(|(_, value)| value)
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

/// A time of the proxy's clock, RFC 3339, in nanoseconds since the Unix epoch; `none`: it cannot be
/// read.
pub fn nanoseconds(at: &str) -> Option<u64> {
    if at == "none" {
        return None;
    }
    let time = humantime::parse_rfc3339(at).unwrap();
    let since_epoch = time.duration_since(std::time::UNIX_EPOCH).unwrap();
    Some(since_epoch.as_nanos().try_into().unwrap())
}

impl Display for Request {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} ", self.method)?;
        match &self.authority {
            Some(authority) => write!(formatter, "`{authority}` ")?,
            None => formatter.write_str("without authority ")?,
        }
        write!(formatter, "`{}`", self.path)
    }
}
