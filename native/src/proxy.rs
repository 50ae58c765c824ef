//! Envoy as the filter sees it, during a callback about a request.

use crate::abi::{self, Attribute, FamilyId, Lent, Part, Reply, Request};
use crate::redirect::{self, Revision, SeveralPolicies};
use crate::writes::{Write, Writes};
use egress_warden::counters::Counter;
use egress_warden::filter::{HttpProxy, LocalResponse};
use egress_warden::proxy::{Failed, Proxy};
use egress_warden::time::Time;
use std::cell::{Cell, RefCell};
use std::time::{SystemTime, UNIX_EPOCH};

/// The request of the callback that is running.
#[derive(Debug)]
pub(crate) struct RunningProxy<'a, 'r> {
    request: &'a Request<'r>,
    families: &'a Families,
    /// Of the policy that decides.
    revision: &'a Revision,
    /// Whether the request is answered.
    is_answered: &'a Cell<bool>,
    writes: RefCell<Writes>,
}

/// The families of counters, by their index; absent where Envoy refused to define one.
pub(crate) type Families = [Option<FamilyId>; 3];

impl<'a, 'r> RunningProxy<'a, 'r> {
    pub(crate) fn new(
        request: &'a Request<'r>,
        families: &'a Families,
        revision: &'a Revision,
        is_answered: &'a Cell<bool>,
    ) -> Self {
        Self { request, families, revision, is_answered, writes: RefCell::default() }
    }

    /// What the filter wants written.
    pub(crate) fn into_writes(self) -> Writes {
        self.writes.into_inner()
    }

    fn attribute(&self, attribute: Attribute) -> Option<Vec<u8>> {
        self.request.attribute(attribute).map(<[u8]>::to_vec)
    }

    fn lend(&self, part: Part) -> Result<Lent<'_>, Failed> {
        self.request.lend(part).ok_or(Failed).inspect_err(|Failed| {
            log::error!("the proxy does not give the request's {}", part.name());
        })
    }

    fn policy_before(&self) -> Result<Option<Vec<u8>>, Failed> {
        let before = redirect::policy_before(&self.lend(Part::Headers)?, self.revision);
        let before = before.map_err(|SeveralPolicies| {
            log::error!(
                "the request was redirected while requests of several policies were open: which let it \
                 pass before is unknown"
            );
            Failed
        })?;
        Ok(before.map(|revision| revision.as_bytes().to_vec()))
    }
}

impl Proxy for RunningProxy<'_, '_> {
    fn property(&self, path: &[&str]) -> Result<Option<Vec<u8>>, Failed> {
        Ok(match path {
            ["connection", "requested_server_name"] => match abi::tells_server_name() {
                true => self.attribute(Attribute::RequestedServerName),
                false => None,
            },
            ["connection", "tls_version"] => self.attribute(Attribute::TlsVersion),
            ["connection", "uri_san_peer_certificate"] => {
                self.attribute(Attribute::UriSanPeerCertificate)
            }
            ["source", "address"] => self.attribute(Attribute::SourceAddress),
            ["xds", "cluster_name"] => self.request.cluster_name().map(<[u8]>::to_vec),
            ["filter_state", key] => self.request.filter_state(key.as_bytes()),
            ["egress_policy"] => self.policy_before()?,
            _ => {
                log::error!("the filter asks for `{}`, which is not read here", path.join("."));
                return Err(Failed);
            }
        })
    }

    fn now(&self) -> Option<Time> {
        Time::after_epoch(SystemTime::now().duration_since(UNIX_EPOCH).ok()?)
    }

    fn set_filter_state(&self, key: &str, value: &[u8]) {
        set_filter_state(self.request, key, value);
    }

    fn increment(&self, counter: &Counter<'_>) {
        let family = self.families.get(counter.family.index).copied().flatten();
        let Some(family) = family else { return };
        match *counter.values() {
            [value] => self.request.increment(family, [value]),
            [first, second] => self.request.increment(family, [first, second]),
            _ => {}
        }
    }
}

impl HttpProxy for RunningProxy<'_, '_> {
    type Headers<'h>
        = Lent<'h>
    where
        Self: 'h;

    fn request_headers(&self) -> Result<Lent<'_>, Failed> {
        self.lend(Part::Headers)
    }

    fn set_request_header(&self, name: &[u8], value: &[u8]) -> Result<(), Failed> {
        self.writes.borrow_mut().push(Write::Set, name, value);
        Ok(())
    }

    fn add_request_header(&self, name: &[u8], value: &[u8]) -> Result<(), Failed> {
        self.writes.borrow_mut().push(Write::Add, name, value);
        Ok(())
    }

    fn remove_request_header(&self, name: &[u8]) -> Result<(), Failed> {
        self.writes.borrow_mut().push(Write::Remove, name, b"");
        Ok(())
    }

    fn request_trailers(&self) -> Result<Lent<'_>, Failed> {
        self.lend(Part::Trailers)
    }

    fn remove_request_trailer(&self, name: &[u8]) -> Result<(), Failed> {
        self.remove_request_header(name)
    }

    fn bind_cluster(&self, name: &[u8]) -> Result<(), Failed> {
        match set_filter_state(self.request, "egress_cluster", name) {
            true => Ok(()),
            false => {
                log::error!("the proxy does not take the cluster that was judged");
                Err(Failed)
            }
        }
    }

    fn send_local_response(&self, response: &LocalResponse<'_>) {
        // Envoy derives the status of gRPC from that of HTTP, unless it finds one.
        let grpc_status = response.grpc_status.map(|status| status.to_string());
        let grpc_status = grpc_status.as_deref().map(|status| ("grpc-status", status));
        let headers: Vec<_> = response.headers.iter().copied().chain(grpc_status).collect();
        // Before: where a response has begun, Envoy ends the stream during the call.
        self.is_answered.set(true);
        self.request.reply(&Reply {
            status: response.status,
            headers: &headers,
            body: response.body,
            details: response.details,
        });
    }
}

/// The key is that of the module for Proxy-Wasm, so that guard and access log are the same.
fn set_filter_state(request: &Request<'_>, key: &str, value: &[u8]) -> bool {
    const PREFIX: &[u8] = b"wasm.";
    // Longer than any key with its prefix.
    let mut name = [0; 64];
    let length = PREFIX.len().saturating_add(key.len());
    for (to, from) in name.iter_mut().zip(PREFIX.iter().chain(key.as_bytes())) {
        *to = *from;
    }
    name.get(..length).is_some_and(|name| request.set_filter_state(name, value))
}
