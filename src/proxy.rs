//! What both filters ask of the proxy they run in, and what they learn there of who is calling.

use crate::counters::Counter;
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
    /// Adds one to a counter, defining it at first use.
    fn increment(&self, counter: &Counter);
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
    certificate_uri: OnceCell<Option<Vec<u8>>>,
    server_name: OnceCell<Option<Vec<u8>>>,
}

impl<'a, P: Proxy> Downstream<'a, P> {
    pub(crate) fn new(proxy: &'a P) -> Self {
        Self { proxy, certificate_uri: OnceCell::new(), server_name: OnceCell::new() }
    }

    /// False only where the proxy says that the connection has no version of TLS.
    pub(crate) fn may_be_tls(&self) -> bool {
        self.proxy.property(&["connection", "tls_version"]) != Ok(None)
    }

    pub(crate) fn server_name(&self) -> Option<&[u8]> {
        self.property(&self.server_name, "requested_server_name")
    }

    /// The first URI of the peer certificate.
    pub(crate) fn certificate_uri(&self) -> Option<&[u8]> {
        self.property(&self.certificate_uri, "uri_san_peer_certificate")
    }

    /// The caller's SPIFFE id, without `spiffe://`; absent where the certificate has none. Never
    /// from a header. A SPIFFE id holds no comma; what does may be two that somebody joined.
    pub(crate) fn principal(&self) -> Option<&str> {
        let id = self.certificate_uri()?.strip_prefix(b"spiffe://")?;
        header_value(id).filter(|id| !id.contains(','))
    }

    fn property<'s>(
        &self,
        cell: &'s OnceCell<Option<Vec<u8>>>,
        attribute: &str,
    ) -> Option<&'s [u8]> {
        let read = || self.proxy.property(&["connection", attribute]).ok().flatten();
        cell.get_or_init(|| read().filter(|value| !value.is_empty())).as_deref()
    }
}
