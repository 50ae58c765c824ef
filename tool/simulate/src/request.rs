//! A request as a file writes it.

use crate::attributes::{
    Attribute, cluster_of_dialled, cluster_of_port, peer_uri, remote_address, tunnel_caller,
};
use crate::bytes::{Bytes, shown};
use crate::outcome::Headers;
use crate::time::Clock;
use egress_warden::place::Place;
use egress_warden::time::Time;
use std::fmt;

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
    /// At a waypoint, what the caller dialled: `HOST:PORT`, or the name of the route's cluster. Absent, the
    /// request comes to a gateway.
    pub dialled: Option<String>,
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

impl Request {
    /// The method that is sent.
    pub fn method(&self) -> &[u8] {
        self.method.as_ref().map_or(b"GET", |Bytes(method)| method)
    }

    /// The path that is sent.
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

    /// Where it is judged.
    pub fn place(&self) -> Place {
        match self.dialled {
            Some(_) => Place::Waypoint,
            None => Place::Gateway,
        }
    }

    /// The attributes that Envoy has of such a request.
    pub(crate) fn properties(&self, at: Time) -> Vec<(Attribute, Vec<u8>)> {
        let cluster = self.cluster().map(String::into_bytes);
        let time = self.clock(at).and_then(Time::nanoseconds).map(|it| it.to_le_bytes().to_vec());
        let properties: [(Attribute, Option<Vec<u8>>); 5] = [
            (&["cluster_name"], cluster.clone()),
            (&["request", "id"], self.request_id()),
            (&["request", "time"], time),
            (&["source", "address"], Some(remote_address(self.remote_address.as_ref()))),
            (&["xds", "cluster_name"], cluster),
        ];
        let properties = properties.into_iter().chain(match self.place() {
            Place::Gateway => self.connection_properties(),
            Place::Waypoint => self.tunnel_properties(),
        });
        properties.filter_map(|(path, value)| Some((path, value?))).collect()
    }

    /// What a gateway knows of the connection in which the request came.
    fn connection_properties(&self) -> Vec<(Attribute, Option<Vec<u8>>)> {
        let peer = self.peer_uri();
        let is_tls = self.tls || peer.is_some();
        vec![
            (&["connection", "mtls"], Some(vec![u8::from(peer.is_some())])),
            (&["connection", "requested_server_name"], self.sni.clone().map(|Bytes(sni)| sni)),
            (&["connection", "tls_version"], is_tls.then(|| b"TLSv1.3".to_vec())),
            (&["connection", "uri_san_peer_certificate"], peer),
        ]
    }

    /// What a waypoint knows of the tunnel in which the request came; it ended in another listener.
    fn tunnel_properties(&self) -> Vec<(Attribute, Option<Vec<u8>>)> {
        vec![tunnel_caller(self.peer_uri())]
    }

    fn request_id(&self) -> Option<Vec<u8>> {
        let mut headers = self.header_pairs().into_iter();
        headers.find(|(name, _)| name == b"x-request-id").map(|(_, value)| value)
    }

    /// The URI of the verified peer certificate.
    pub fn peer_uri(&self) -> Option<Vec<u8>> {
        peer_uri(self.uri_san.as_ref(), self.principal.as_deref())
    }

    /// The time by the proxy's clock; `at` where the request says none.
    pub fn clock(&self, at: Time) -> Option<Time> {
        self.at.unwrap_or(Clock::At(at)).time()
    }

    /// The name of the route's cluster.
    pub fn cluster(&self) -> Option<String> {
        let dialled = self.dialled.as_deref().map(|dialled| cluster_of_dialled(dialled, "http"));
        dialled.or_else(|| self.cluster.clone()).or_else(|| self.port.map(cluster_of_port))
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
