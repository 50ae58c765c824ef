//! One HTTP stream as a plain state machine over a small trait: read, decide, write. Connections that
//! stay TLS have a filter of their own, [`crate::connection`].
//!
//! The header map is read once. A request that passes is stamped, one that is refused is answered
//! here and goes no further; each leaves one record. Where the proxy does not give the headers, or
//! does not take a stamp, the request is refused.

use crate::answer::{self, Subject};
use crate::config::Config;
use crate::counters::Counters;
use crate::header_map::HeaderMap;
use crate::policy::{
    Action, ClusterPort, Decision, Request, Trace, Verdict, judged_method, namespace_of,
};
use crate::proxy::{Downstream, Failed, Flow, Proxy, header_value};
use crate::record::{Details, Record};
use crate::stamp::{Operation, Placeholder, Values};
use std::sync::Arc;

/// What the filter asks of the proxy about a request, beside what it asks for connections too.
pub trait HttpProxy: Proxy {
    /// The request's headers, pseudo-headers included.
    fn request_headers(&self) -> Result<HeaderMap, Failed>;
    /// Replaces a request header, all its entries, by one value.
    fn set_request_header(&self, name: &[u8], value: &[u8]) -> Result<(), Failed>;
    /// Removes every entry of a request header.
    fn remove_request_header(&self, name: &[u8]) -> Result<(), Failed>;
    /// The request's trailers, while they are passing.
    fn request_trailers(&self) -> Result<HeaderMap, Failed>;
    /// Removes every entry of a request trailer.
    fn remove_request_trailer(&self, name: &[u8]) -> Result<(), Failed>;
    /// Answers the request in the upstream's place. Unanswered it still goes no further.
    fn send_local_response(&self, response: &LocalResponse<'_>);
}

/// An answer that the proxy gives itself; the request goes no further.
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

/// A policy at work. It holds no state of a stream and is shared by all of them.
#[derive(Debug)]
pub struct Filter {
    config: Arc<Config>,
    counters: Counters,
}

impl Filter {
    /// Takes what a policy text says.
    pub fn new(config: impl Into<Arc<Config>>) -> Self {
        let config = config.into();
        let counters = Counters::new(&config.policy);
        Self { config, counters }
    }

    /// Decides one request, leaves its record, and stamps or answers it.
    pub fn on_request_headers(&self, proxy: &impl HttpProxy) -> Flow {
        let headers = proxy.request_headers();
        let message = headers.as_ref().map(Message::read).unwrap_or_default();
        let connection = Downstream::new(proxy);
        let request = self.request(proxy, &message, &connection);
        let authority = request.authority.as_ref().ok();
        let host = authority.map(|authority| authority.host.canonical());
        let stream = Stream {
            config: &self.config,
            proxy,
            message: &message,
            connection: &connection,
            host: host.as_deref(),
            port: request.port(),
        };
        let decision = match &headers {
            Ok(headers) => stream.stamp(self.config.policy.decide(&request), headers),
            Err(Failed) => Decision::proxy_error(),
        };
        let record = stream.record(decision);
        stream.write(&record);
        for counter in self.counters.of(&decision, &self.config.policy) {
            proxy.increment(counter);
        }
        match decision.verdict.action {
            Action::Allow => Flow::Continue,
            Action::Deny => {
                stream.refuse(&decision.verdict, &record);
                Flow::Stop
            }
        }
    }

    /// How the policy judges the same request, with all that it looks at. Nothing is written.
    pub fn trace(&self, proxy: &impl HttpProxy) -> Result<Trace, Failed> {
        let headers = proxy.request_headers()?;
        let message = Message::read(&headers);
        let connection = Downstream::new(proxy);
        Ok(self.config.policy.trace(&self.request(proxy, &message, &connection)))
    }

    /// What the policy says beside its verdicts.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The facts of a request that this policy asks about.
    fn request<'a, P: Proxy>(
        &self,
        proxy: &P,
        message: &Message<'a>,
        connection: &'a Downstream<'_, P>,
    ) -> Request<'a> {
        let reads = self.config.policy.reads();
        let judges_server_name = reads.server_name && connection.may_be_tls();
        Request {
            path: message.path,
            cluster_port: if reads.cluster { cluster_port(proxy) } else { ClusterPort::Unsaid },
            principal: reads.principal.then(|| connection.principal()).flatten(),
            server_name: judges_server_name.then(|| connection.server_name().unwrap_or_default()),
            now: reads.clock.then(|| proxy.now()).flatten(),
            ..Request::new(message.authority.unwrap_or_default(), message.judged_method())
        }
    }

    /// Removes from the trailers of a request that passes what could pass for a stamp; a request
    /// whose trailers the proxy does not give or write ends here.
    pub fn on_request_trailers(&self, proxy: &impl HttpProxy) -> Flow {
        let cleared = proxy.request_trailers().and_then(|trailers| {
            let mut forged = self.config.stamps.forged_trailers(&trailers).into_iter();
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
struct Stream<'a, P> {
    config: &'a Config,
    proxy: &'a P,
    message: &'a Message<'a>,
    connection: &'a Downstream<'a, P>,
    /// Canonical; absent where the authority is malformed.
    host: Option<&'a str>,
    port: Option<u16>,
}

impl<'a, P: HttpProxy> Stream<'a, P> {
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

    /// Stamps a request that is to pass. One that cannot be stamped does not: it would leave with
    /// what its caller forged, and with the verdict `allow` beside it.
    fn stamp(&self, decision: Decision, headers: &HeaderMap) -> Decision {
        match decision.verdict.action {
            Action::Allow if self.write_stamps(decision, headers).is_err() => {
                Decision::proxy_error()
            }
            Action::Allow | Action::Deny => decision,
        }
    }

    fn write_stamps(&self, decision: Decision, headers: &HeaderMap) -> Result<(), Failed> {
        let stamps = &self.config.stamps;
        let rule = decision.verdict.rule;
        let reads_principal = [Placeholder::Principal, Placeholder::Namespace]
            .into_iter()
            .any(|placeholder| stamps.uses(rule, placeholder));
        let principal = reads_principal.then(|| self.connection.principal()).flatten();
        let values = Values {
            rule: self.record(decision).rule(),
            policy: Some(&self.config.name),
            host: self.host,
            principal,
            namespace: principal.and_then(namespace_of),
            request_id: self.message.request_id.and_then(header_value),
        };
        stamps.operations(rule, headers, &values).try_for_each(|operation| match operation {
            Operation::Remove(name) => self.proxy.remove_request_header(name),
            Operation::Set(name, value) => self.proxy.set_request_header(name.as_bytes(), &value),
        })
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
#[derive(Debug, Default)]
struct Message<'a> {
    authority: Option<&'a [u8]>,
    method: Option<&'a [u8]>,
    path: Option<&'a [u8]>,
    request_id: Option<&'a [u8]>,
    /// The values of `:protocol` and of every `upgrade`.
    protocols: Vec<&'a [u8]>,
    is_grpc: bool,
}

impl<'a> Message<'a> {
    fn read(headers: &'a HeaderMap) -> Self {
        let mut message = Self::default();
        for (name, value) in headers.iter() {
            match name {
                b":authority" => message.authority = message.authority.or(Some(value)),
                b":method" => message.method = message.method.or(Some(value)),
                b":path" => message.path = message.path.or(Some(value)),
                b"x-request-id" => message.request_id = message.request_id.or(Some(value)),
                b":protocol" | b"upgrade" => message.protocols.push(value),
                b"content-type" => message.is_grpc |= is_grpc(value),
                _ => {}
            }
        }
        message
    }

    fn judged_method(&self) -> &'a [u8] {
        let method = self.method.unwrap_or_default();
        judged_method(method, self.protocols.iter().copied())
    }
}

/// What the name of the route's cluster says of the port. A request may have no cluster.
fn cluster_port(proxy: &impl Proxy) -> ClusterPort {
    match proxy.property(&["xds", "cluster_name"]) {
        Ok(None) => ClusterPort::Unsaid,
        Ok(Some(name)) => ClusterPort::of(&name),
        Err(Failed) => ClusterPort::Unknown,
    }
}

/// Whether a content type is gRPC's, as Envoy tells it.
fn is_grpc(content_type: &[u8]) -> bool {
    let rest = content_type.strip_prefix(b"application/grpc");
    rest.is_some_and(|rest| matches!(rest.first(), None | Some(b'+' | b';')))
}
