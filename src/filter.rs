//! One HTTP stream as a plain state machine over a small trait: read, decide, write. Connections that
//! stay TLS have a filter of their own, [`crate::connection`].
//!
//! The header map is read once. A request that passes is stamped, one that is refused is answered
//! here and goes no further; each leaves one record. Where the proxy does not give the headers, or
//! does not take a stamp, the request is refused.

use crate::answer::{self, Subject};
use crate::config::Config;
use crate::counters::{Counter, OF_REQUESTS};
use crate::header_map::Headers;
use crate::host::Host;
use crate::place::Place;
use crate::policy::{
    Action, ClusterPort, Decision, Dialled, Request, Trace, Verdict, judged_method, namespace_of,
};
use crate::proxy::{Downstream, Failed, Flow, Proxy};
use crate::record::{Details, Record};
use crate::stamp::{
    Concerned, MAX_REQUEST_ID, ORIGINAL_URL, Operation, Placeholder, Stamps, Values,
};
use crate::token::header_value;
use std::cell::OnceCell;
use std::sync::Arc;

/// What the filter asks of the proxy about a request, beside what it asks for connections too.
///
/// A proxy that lends its headers puts off writes until the filter has returned, so that what is lent stays
/// as it is. If it cannot write then, it refuses the request.
pub trait HttpProxy: Proxy {
    /// Headers as the proxy gives or lends them.
    type Headers<'a>: Headers
    where
        Self: 'a;

    /// The request's headers, pseudo-headers included.
    fn request_headers(&self) -> Result<Self::Headers<'_>, Failed>;
    /// Replaces a request header, all its entries, by one value.
    fn set_request_header(&self, name: &[u8], value: &[u8]) -> Result<(), Failed>;
    /// The same for a header that has no entry, which a proxy may do at less cost.
    fn add_request_header(&self, name: &[u8], value: &[u8]) -> Result<(), Failed> {
        self.set_request_header(name, value)
    }
    /// Removes every entry of a request header.
    fn remove_request_header(&self, name: &[u8]) -> Result<(), Failed>;
    /// The request's trailers, while they are passing.
    fn request_trailers(&self) -> Result<Self::Headers<'_>, Failed>;
    /// Removes every entry of a request trailer.
    fn remove_request_trailer(&self, name: &[u8]) -> Result<(), Failed>;
    /// Sets filter state `wasm.egress_cluster` to the name of the cluster that was judged, empty where
    /// there was none. The guard lets the request pass to that cluster only.
    fn bind_cluster(&self, name: &[u8]) -> Result<(), Failed>;
    /// Sends a local reply. If this fails, the request still goes no further.
    fn send_local_response(&self, response: &LocalResponse<'_>);
}

/// A local reply: the proxy answers, and the request goes no further.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalResponse<'a> {
    /// HTTP status, 400 to 599.
    pub status: u16,
    /// Envoy's response-code details.
    pub details: &'a str,
    /// Header names and values beside those that the proxy adds itself.
    pub headers: &'a [(&'a str, &'a str)],
    /// The body, or for gRPC the `grpc-message`.
    pub body: &'a [u8],
    /// gRPC status code where the caller speaks gRPC.
    pub grpc_status: Option<u32>,
}

/// gRPC's PERMISSION_DENIED.
const GRPC_PERMISSION_DENIED: u32 = 7;

/// What became of a request at its headers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Judged {
    /// Whether it goes on.
    pub flow: Flow,
    /// The rule that was named, by its index in the policy: its stamp governs the trailers too.
    pub rule: Option<usize>,
}

/// The filter for one policy. It has no state of a stream; all streams share it.
#[derive(Debug)]
pub struct Filter {
    config: Arc<Config>,
    place: Place,
}

impl Filter {
    /// Takes what a policy text says, and where the proxy stands.
    pub fn new(config: impl Into<Arc<Config>>, place: Place) -> Self {
        Self { config: config.into(), place }
    }

    /// Decides one request, leaves its record, and stamps or answers it.
    pub fn on_request_headers(&self, proxy: &impl HttpProxy) -> Judged {
        let headers = proxy.request_headers();
        let message = headers.as_ref().map(|headers| Message::read(headers, &self.config.stamps));
        let message = message.unwrap_or_default();
        let connection = Downstream::new(proxy, self.place);
        let cluster = self.cluster(proxy);
        let request = self.request(proxy, &message, &connection, &cluster);
        let authority = request.authority.as_ref().ok();
        let host = authority.map(|authority| authority.host.canonical());
        let stream = Stream {
            config: &self.config,
            proxy,
            message: &message,
            connection: &connection,
            cluster: &cluster,
            host: host.as_deref(),
            dialled: &request.dialled,
            port: request.port(),
        };
        let decision = match &headers {
            Ok(_) => stream.release(self.config.policy.decide(&request)),
            Err(Failed) => Decision::proxy_error(),
        };
        let record = stream.record(decision);
        stream.write(&record);
        Counter::each(&OF_REQUESTS, &decision, &self.config.policy, |counter| {
            proxy.increment(counter)
        });
        let flow = match decision.verdict.action {
            Action::Allow => Flow::Continue,
            Action::Deny => {
                stream.refuse(&decision.verdict, &record);
                Flow::Stop
            }
        };
        Judged { flow, rule: decision.verdict.rule }
    }

    /// How the policy judges the same request, with all that it looks at. Nothing is written.
    pub fn trace(&self, proxy: &impl HttpProxy) -> Result<Trace, Failed> {
        let headers = proxy.request_headers()?;
        let message = Message::read(&headers, &self.config.stamps);
        let connection = Downstream::new(proxy, self.place);
        let cluster = self.cluster(proxy);
        Ok(self.config.policy.trace(&self.request(proxy, &message, &connection, &cluster)))
    }

    /// What the policy says beside its verdicts.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The facts of a request that this policy asks about.
    fn request<'a, P: Proxy>(
        &self,
        proxy: &P,
        message: &Message<'a, impl Headers>,
        connection: &'a Downstream<'_, P>,
        cluster: &'a Cluster,
    ) -> Request<'a> {
        let reads = self.config.policy.reads();
        // What a waypoint's callers speak inside their tunnels is not TLS.
        let judges_server_name =
            reads.server_name && self.place == Place::Gateway && connection.may_be_tls();
        let mut request = Request {
            path: message.path,
            principal: reads.principal.then(|| message.principal(connection)).flatten(),
            server_name: judges_server_name.then(|| connection.server_name().unwrap_or_default()),
            now: reads.clock.then(|| proxy.now()).flatten(),
            ..Request::new(message.authority.unwrap_or_default(), message.judged_method())
        };
        match self.place {
            Place::Gateway => request.cluster_port = cluster.port(),
            Place::Waypoint => request.send_to_cluster(cluster.name().unwrap_or_default()),
        }
        request
    }

    /// The cluster of the route, where this policy asks for it; a waypoint always does.
    fn cluster(&self, proxy: &impl Proxy) -> Cluster {
        match self.place == Place::Waypoint || self.config.policy.reads().cluster {
            true => Cluster::of_route(proxy),
            false => Cluster::Unasked,
        }
    }

    /// Removes from the trailers of a passing request what could be taken for a stamp; `rule` is the
    /// named rule. If the proxy does not give or write the trailers, the request ends here.
    pub fn on_request_trailers(&self, proxy: &impl HttpProxy, rule: Option<usize>) -> Flow {
        let cleared = proxy.request_trailers().and_then(|trailers| {
            let mut forged = self.config.stamps.forged_trailers(rule, &trailers).into_iter();
            forged.try_for_each(|name| proxy.remove_request_trailer(name))
        });
        match cleared {
            Ok(()) => Flow::Continue,
            Err(Failed) => {
                let verdict = Decision::proxy_error().verdict;
                proxy.send_local_response(&LocalResponse {
                    status: self.config.answer.status(&verdict),
                    details: &answer::details(&verdict),
                    headers: &[],
                    body: b"",
                    grpc_status: None,
                });
                Flow::Stop
            }
        }
    }
}

/// A stream with all that its record, its stamps or its answer say.
struct Stream<'a, P, H> {
    config: &'a Config,
    proxy: &'a P,
    message: &'a Message<'a, H>,
    connection: &'a Downstream<'a, P>,
    cluster: &'a Cluster,
    /// Canonical; absent where the authority is malformed.
    host: Option<&'a str>,
    /// Where it goes.
    dialled: &'a Dialled<'a>,
    port: Option<u16>,
}

impl<'a, P: HttpProxy, H: Headers> Stream<'a, P, H> {
    fn record(&self, decision: Decision) -> Record<'a> {
        Record::new(decision, &self.config.policy, &self.config.revision)
    }

    fn write(&self, record: &Record<'_>) {
        for (key, value) in record.filter_state() {
            self.proxy.set_filter_state(key, value.as_bytes());
        }
        if let Some(level) = record.level(self.config.log) {
            let remote_address = self.proxy.property(&["source", "address"]).ok().flatten();
            let line = record.line(&Details {
                start_time: self.proxy.now(),
                host: self.host,
                authority: self.message.authority,
                dialled_host: self.dialled.host().map(Host::canonical).as_deref(),
                port: self.port,
                method: self.message.method,
                path: self.message.path,
                source_principal: self.connection.certificate_uri(),
                downstream_remote_address: remote_address.as_deref(),
                requested_server_name: self.connection.server_name(),
                request_id: self.message.request_id,
                ..Details::default()
            });
            log::log!(level, "{line}");
        }
    }

    /// Prepares an allowed request to pass. If this fails, the request is refused: it would leave with
    /// headers that its caller forged, or by a way that was not judged, with the verdict `allow`.
    fn release(&self, decision: Decision) -> Decision {
        let is_ready = |()| self.write_stamps(decision).is_ok();
        match decision.verdict.action {
            Action::Allow if !self.bind_cluster().is_ok_and(is_ready) => Decision::proxy_error(),
            Action::Allow | Action::Deny => decision,
        }
    }

    /// Binds the request to the cluster that was judged. Stamps and removals make Envoy choose the
    /// route again, and the filter cannot read which route that is.
    fn bind_cluster(&self) -> Result<(), Failed> {
        let policy = &self.config.policy;
        let rests_on_route = match self.connection.place() {
            Place::Gateway => policy.rests_on_route(),
            Place::Waypoint => policy.enforces(),
        };
        match self.cluster.name() {
            Some(name) if rests_on_route => self.proxy.bind_cluster(name),
            _ => Ok(()),
        }
    }

    fn write_stamps(&self, decision: Decision) -> Result<(), Failed> {
        let stamps = &self.config.stamps;
        let rule = decision.verdict.rule;
        let uses = |placeholder| stamps.uses(rule, placeholder);
        let reads_principal = uses(Placeholder::Principal) || uses(Placeholder::Namespace);
        let principal = reads_principal.then(|| self.message.principal(self.connection)).flatten();
        let values = Values {
            rule: self.record(decision).rule(),
            policy: Some(&self.config.name),
            host: self.host,
            principal,
            namespace: principal.and_then(namespace_of),
            request_id: self
                .message
                .request_id
                .filter(|id| id.len() <= MAX_REQUEST_ID && uses(Placeholder::RequestId))
                .and_then(header_value),
        };
        let mut operations =
            stamps.operations(rule, &self.message.concerned, &values, self.is_redirected()?);
        operations.try_for_each(|operation| match operation {
            Operation::Remove(name) => self.proxy.remove_request_header(name),
            Operation::Set(name, value) => self.proxy.set_request_header(name.as_bytes(), &value),
            Operation::Add(name, value) => self.proxy.add_request_header(name.as_bytes(), &value),
        })
    }

    /// Whether the request has passed here before: Envoy follows some redirects itself, to another host,
    /// and the request still carries the stamps for the first host. It is recognised by the header that
    /// Envoy sets (a caller who forges it loses only its own headers), and by the record of the first
    /// pass. It fails if another policy decided the first pass: its stamps are unknown here.
    fn is_redirected(&self) -> Result<bool, Failed> {
        let has_original_url = self.message.has_original_url;
        if !has_original_url && !self.config.stamps.may_be_carried() {
            return Ok(false);
        }
        let before = self.proxy.property(&["egress_policy"]).inspect_err(|Failed| {
            log::error!("the proxy does not say whether it redirected the request");
        })?;
        match before {
            None => Ok(has_original_url),
            Some(before) if before == self.config.revision.as_bytes() => Ok(true),
            Some(before) => {
                let before = before.escape_ascii();
                log::error!(
                    "`{before}` let this request pass before: it was redirected, and that policy is \
                     replaced, or two plugins stand in one chain"
                );
                Err(Failed)
            }
        }
    }

    fn refuse(&self, verdict: &Verdict, record: &Record<'_>) {
        let answer = &self.config.answer;
        let details = answer::details(verdict);
        let status = answer.status(verdict);
        if self.message.is_grpc {
            let message = answer.grpc_message(verdict);
            self.proxy.send_local_response(&LocalResponse {
                status,
                details: &details,
                headers: &[],
                body: message.as_bytes(),
                grpc_status: Some(GRPC_PERMISSION_DENIED),
            });
        } else {
            let body = answer.body(
                verdict,
                &Subject {
                    host: self.host,
                    rule: record.rule(),
                    policy: &self.config.name,
                    request_id: self.message.request_id,
                },
            );
            self.proxy.send_local_response(&LocalResponse {
                status,
                details: &details,
                headers: &[("content-type", "application/json")],
                body: body.as_bytes(),
                grpc_status: None,
            });
        }
    }
}

/// The headers that the filter asks about, found in one pass.
#[derive(Debug)]
struct Message<'a, H> {
    authority: Option<&'a [u8]>,
    method: Option<&'a [u8]>,
    path: Option<&'a [u8]>,
    request_id: Option<&'a [u8]>,
    has_original_url: bool,
    /// The values of `:protocol` and of every `upgrade`.
    protocols: Vec<&'a [u8]>,
    is_grpc: bool,
    concerned: Concerned<'a>,
    headers: Option<&'a H>,
    /// Whether `x-forwarded-client-cert` names several URIs of one certificate, once that was asked.
    has_several_uris: OnceCell<bool>,
}

impl<H> Default for Message<'_, H> {
    fn default() -> Self {
        Self {
            authority: None,
            method: None,
            path: None,
            request_id: None,
            has_original_url: false,
            protocols: Vec::new(),
            is_grpc: false,
            concerned: Concerned::default(),
            headers: None,
            has_several_uris: OnceCell::new(),
        }
    }
}

impl<'a, H: Headers> Message<'a, H> {
    fn read(headers: &'a H, stamps: &Stamps) -> Self {
        let mut message = Self { headers: Some(headers), ..Self::default() };
        for (name, value) in headers.iter() {
            match name {
                b":authority" => message.authority = message.authority.or(Some(value)),
                b":method" => message.method = message.method.or(Some(value)),
                b":path" => message.path = message.path.or(Some(value)),
                b"x-request-id" => message.request_id = message.request_id.or(Some(value)),
                b":protocol" | b"upgrade" => message.protocols.push(value),
                name if name == ORIGINAL_URL.as_bytes() => message.has_original_url = true,
                b"content-type" => message.is_grpc |= is_grpc(value),
                _ => {}
            }
            stamps.note(&mut message.concerned, name, value);
        }
        message
    }

    /// The caller's SPIFFE id. Of a certificate with several URIs a gateway gives only the first as a
    /// property, and may name all in `x-forwarded-client-cert`: such a caller is unknown. The header
    /// says nothing else; a caller who forges it loses only its own identity. A waypoint's does not say
    /// anything of the tunnel, whose URIs are all known.
    fn principal<'c, P: Proxy>(&self, connection: &'c Downstream<'_, P>) -> Option<&'c str> {
        let principal = connection.principal()?;
        let is_only_one = connection.place() == Place::Waypoint || !self.has_several_uris();
        is_only_one.then_some(principal)
    }

    fn has_several_uris(&self) -> bool {
        let read = || {
            let mut headers = self.headers.into_iter().flat_map(Headers::iter);
            headers
                .any(|(name, value)| name == b"x-forwarded-client-cert" && has_several_uris(value))
        };
        *self.has_several_uris.get_or_init(read)
    }

    fn judged_method(&self) -> &'a [u8] {
        let method = self.method.unwrap_or_default();
        judged_method(method, self.protocols.iter().copied())
    }
}

/// What the proxy says of the route's cluster.
#[derive(Debug)]
enum Cluster {
    /// The policy does not ask.
    Unasked,
    /// Its name, or that there is none: a request may have no route, and a route no cluster.
    Said(Option<Vec<u8>>),
    /// The proxy failed to say.
    Unknown,
}

impl Cluster {
    fn of_route(proxy: &impl Proxy) -> Self {
        let name = proxy.property(&["xds", "cluster_name"]);
        name.map_or(Self::Unknown, Self::Said)
    }

    fn port(&self) -> ClusterPort {
        match self {
            Self::Unasked | Self::Said(None) => ClusterPort::Unsaid,
            Self::Said(Some(name)) => ClusterPort::of(name),
            Self::Unknown => ClusterPort::Unknown,
        }
    }

    /// The name that was judged, empty where there was none. What is allowed with an unknown cluster
    /// is allowed with any.
    fn name(&self) -> Option<&[u8]> {
        match self {
            Self::Said(name) => Some(name.as_deref().unwrap_or_default()),
            Self::Unasked | Self::Unknown => None,
        }
    }
}

/// Whether an element of `x-forwarded-client-cert` has two URIs or more. Quotes are not read: a subject
/// that looks like more URIs makes the caller unknown, and none can hide a URI.
fn has_several_uris(value: &[u8]) -> bool {
    value.split(|&byte| byte == b',').any(|element| {
        let pairs = element.split(|&byte| byte == b';');
        pairs.filter(|pair| pair.starts_with(b"URI=")).count() > 1
    })
}

/// Whether a content type is gRPC's, as Envoy tells it.
fn is_grpc(content_type: &[u8]) -> bool {
    let rest = content_type.strip_prefix(b"application/grpc");
    rest.is_some_and(|rest| matches!(rest.first(), None | Some(b'+' | b';')))
}

/// A native proxy's workers share a policy.
const _: () = {
    const fn is_shared<T: Send + Sync>() {}
    is_shared::<Filter>();
    is_shared::<crate::connection::ConnectionFilter>();
};
