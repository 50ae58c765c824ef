//! What a policy is asked about: a request, or a connection.

use crate::attributes::{Attribute, host_of_dialled};
use crate::bytes::{Bytes, shown};
use crate::connection::Connection;
use crate::outcome::Headers;
use crate::request::Request;
use egress_warden::host::{Authority, Host, Malformed};
use egress_warden::place::Place;
use egress_warden::record;
use egress_warden::root_id::Connections;
use egress_warden::time::Time;
use serde::de::IgnoredAny;
use std::fmt;

/// A request or a connection.
#[derive(Clone, Debug)]
pub enum Subject {
    Request(Request),
    Connection(Connection),
}

impl Subject {
    /// Reads a JSON object: a request, or `{"connection": {…}}`.
    pub fn from_json(text: &[u8]) -> serde_json::Result<Self> {
        #[derive(serde::Deserialize)]
        struct Kind {
            connection: Option<IgnoredAny>,
        }
        #[derive(serde::Deserialize)]
        #[serde(deny_unknown_fields)]
        struct OfConnection {
            connection: Connection,
        }
        // Read twice, so that an error is told with its place.
        let kind = serde_json::from_slice(text);
        if let Ok(Kind { connection: Some(IgnoredAny) }) = kind {
            let OfConnection { connection } = serde_json::from_slice(text)?;
            return Ok(Self::Connection(connection));
        }
        serde_json::from_slice(text).map(Self::Request)
    }

    /// The headers in the order in which Envoy gives them, names in lower case; a connection has none.
    pub fn header_pairs(&self) -> Headers {
        match self {
            Self::Request(request) => request.header_pairs(),
            Self::Connection(_) => Headers::new(),
        }
    }

    /// The attributes that Envoy has of it; `at` is the proxy's clock where it says none.
    pub fn properties(&self, at: Time) -> Vec<(Attribute, Vec<u8>)> {
        match self {
            Self::Request(request) => request.properties(at),
            Self::Connection(connection) => connection.properties(),
        }
    }

    /// Where it is judged.
    pub fn place(&self) -> Place {
        match self {
            Self::Request(request) => request.place(),
            Self::Connection(connection) => connection.place(),
        }
    }

    /// The time by the proxy's clock; `at` where it says none.
    pub fn clock(&self, at: Time) -> Option<Time> {
        match self {
            Self::Request(request) => request.clock(at),
            Self::Connection(connection) => connection.clock(at),
        }
    }

    /// What the keys of its record begin with.
    pub fn record_prefix(&self) -> &'static str {
        match self {
            Self::Request(_) => record::OF_REQUESTS.prefix,
            Self::Connection(_) => record::OF_CONNECTIONS.prefix,
        }
    }

    /// The authority, or the server name, as it is sent.
    pub fn sent_host(&self) -> Option<&[u8]> {
        let sent = match self {
            Self::Request(request) => request.authority.as_ref(),
            Self::Connection(connection) => connection.sni.as_ref(),
        };
        sent.map(|Bytes(sent)| &sent[..])
    }

    /// What that is read as, where a plugin judges these connections; absent where there is none. A
    /// connection without a server name is one for the host that was dialled at a waypoint.
    pub fn authority(&self, connections: Connections) -> Option<Result<Authority<'_>, Malformed>> {
        if let (Self::Connection(Connection { dialled: Some(dialled), .. }), None | Some(b"")) =
            (self, self.sent_host())
        {
            let host = Host::parse(host_of_dialled(dialled).as_bytes());
            return Some(host.map(|host| Authority { host, port: None }));
        }
        let sent = self.sent_host()?;
        Some(match self {
            Self::Request(_) => Authority::parse(sent),
            Self::Connection(_) => Authority::of_server_name(sent, connections.server_names),
        })
    }

    /// Method and path, which a connection does not show.
    pub fn method_and_path(&self) -> Option<(String, String)> {
        match self {
            Self::Request(request) => Some((shown(request.method()), shown(request.path()))),
            Self::Connection(_) => None,
        }
    }

    /// The caller's SPIFFE id, as it is written.
    pub fn principal(&self) -> Option<&str> {
        match self {
            Self::Request(request) => request.principal.as_deref(),
            Self::Connection(connection) => connection.principal.as_deref(),
        }
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Request(request) => request.fmt(f),
            Self::Connection(connection) => connection.fmt(f),
        }
    }
}
