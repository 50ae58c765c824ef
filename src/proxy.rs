//! What both filters ask of the proxy they run in, and what they learn there of who is calling.

use crate::counters::Counter;
use crate::place::Place;
use crate::time::Time;
use crate::token::header_value;
use std::cell::OnceCell;

/// What requests and connections both need of the proxy. A call returns an error where its failure
/// would change what leaves the mesh.
pub trait Proxy {
    /// A property by its path (Envoy's attributes), as raw bytes; `None` where the proxy has none.
    fn property(&self, path: &[&str]) -> Result<Option<Vec<u8>>, Failed>;
    /// The time; `None` where the clock cannot be read.
    fn now(&self) -> Option<Time>;
    /// Sets filter state `wasm.{key}`, which access logs and the guard read. The guard refuses what
    /// has none.
    fn set_filter_state(&self, key: &str, value: &[u8]);
    /// Adds one to a counter. If this fails, nothing else changes.
    fn increment(&self, counter: &Counter<'_>);
}

/// The proxy did not do what it was asked. Its log says why, where somebody must look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failed;

/// What happens to a request or a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Flow {
    /// It goes on.
    Continue,
    /// It was refused: a request is answered, a connection closed.
    Stop,
}

/// Facts of the downstream connection, each asked for at its first use.
pub(crate) struct Downstream<'a, P> {
    proxy: &'a P,
    place: Place,
    caller: OnceCell<Option<Vec<u8>>>,
    server_name: OnceCell<Option<Vec<u8>>>,
}

impl<'a, P: Proxy> Downstream<'a, P> {
    pub(crate) fn new(proxy: &'a P, place: Place) -> Self {
        Self { proxy, place, caller: OnceCell::new(), server_name: OnceCell::new() }
    }

    pub(crate) fn place(&self) -> Place {
        self.place
    }

    /// False only where the proxy says that the connection has no version of TLS.
    pub(crate) fn may_be_tls(&self) -> bool {
        self.proxy.property(&["connection", "tls_version"]) != Ok(None)
    }

    pub(crate) fn server_name(&self) -> Option<&[u8]> {
        let read = || self.property(&["connection", "requested_server_name"]);
        self.server_name.get_or_init(read).as_deref()
    }

    /// The first URI of the peer certificate; at a waypoint all of them, joined by commas, from the tunnel
    /// in which the request came.
    pub(crate) fn certificate_uri(&self) -> Option<&[u8]> {
        let read = || match self.place {
            Place::Gateway => self.property(&["connection", "uri_san_peer_certificate"]),
            Place::Waypoint => {
                let uri = self.property(&["filter_state", "io.istio.peer_principal"]);
                uri.filter(|uri| uri != NO_URI)
            }
        };
        self.caller.get_or_init(read).as_deref()
    }

    /// The caller's SPIFFE id, without `spiffe://`; absent where the certificate has none. Never
    /// from a header. A SPIFFE id holds no comma; what does may be two that somebody joined.
    pub(crate) fn principal(&self) -> Option<&str> {
        let id = self.certificate_uri()?.strip_prefix(b"spiffe://")?;
        header_value(id).filter(|id| !id.contains(','))
    }

    fn property(&self, path: &[&str]) -> Option<Vec<u8>> {
        self.proxy.property(path).ok().flatten().filter(|value| !value.is_empty())
    }
}

/// What Envoy writes into filter state in the place of a certificate's URI where there is none.
const NO_URI: &[u8] = b"-";
