//! The filter of requests: one policy, and the streams under it.

use crate::abi::{self, Part, Plugin, Reply, Request, Scope, Status};
#[cfg(egress_fault)]
use crate::fault::{Callback, Fault};
use crate::logger;
use crate::proxy::{Families, RunningProxy};
use crate::redirect::{self, Pass, Revision};
use crate::secrets;
use crate::writes::{Write, Writes};
use egress_warden::counters::OF_REQUESTS;
use egress_warden::filter::{Filter, Judged};
use egress_warden::gauges;
use egress_warden::load;
use egress_warden::place::Place;
use egress_warden::policy::{Action, Reason};
use egress_warden::proxy::Flow;
use std::cell::Cell;

/// One configuration. All workers share it; Envoy forgets it when the last of its streams is over.
pub(crate) struct Requests {
    filter: Filter,
    place: Place,
    /// The policy's name and hash.
    revision: Revision,
    families: Families,
    #[cfg(egress_fault)]
    fault: Option<Fault>,
}

/// What is known of a stream between its callbacks.
#[derive(Debug)]
pub(crate) struct Stream {
    status: Cell<Status>,
    /// The rule that was named at the headers.
    rule: Cell<Option<usize>>,
    is_answered: Cell<bool>,
    pass: Pass,
}

/// The filter's name in a gateway, a sidecar, or an Envoy of no mesh.
const GATEWAY: &str = "egress-warden";
/// The filter's name in a waypoint.
const WAYPOINT: &str = "egress-warden:waypoint";

/// Filter state that a waypoint has of each caller, and no other proxy.
const WAYPOINTS_CALLER: &[u8] = b"io.istio.peer_principal";

/// Why a request was refused, where no policy did.
const PANIC: &str = "native_panic";
const PANIC_DETAILS: &str = "egress_denied[native_panic]";
const PROXY_ERROR_DETAILS: &str = "egress_denied[proxy_error]";

impl Plugin for Requests {
    type Stream = Stream;

    fn load() {
        logger::install();
    }

    fn configure(scope: &Scope<'_>, name: &[u8], configuration: &[u8]) -> Option<Self> {
        #[cfg(egress_fault)]
        let fault = Fault::of_name(name);
        #[cfg(egress_fault)]
        fault.iter().for_each(|fault| fault.strike(Callback::Configure));
        let place = place(name)?;
        let config = load::policy(configuration, secrets::listed)?;
        if config.policy.reads().server_name && !abi::tells_server_name() {
            log::error!("policy refused: `sni: match` needs Envoy 1.39 or later");
            return None;
        }
        let revision = Revision::from(&*config.revision);
        let families = OF_REQUESTS.each_ref().map(|family| {
            let id = scope.define_counters(family.name, family.labels);
            if id.is_none() {
                log::error!("the proxy does not define the counters `{}`", family.name);
            }
            id
        });
        if abi::sets_gauges() {
            for gauge in gauges::of_requests(&config) {
                if !scope.set_gauge(gauge.name, gauge.value) {
                    log::error!("the proxy does not set the gauge `{}`", gauge.name);
                }
            }
        }
        Some(Self {
            filter: Filter::new(config, place),
            place,
            revision,
            families,
            #[cfg(egress_fault)]
            fault,
        })
    }

    fn begin(&self) -> Stream {
        #[cfg(egress_fault)]
        self.strike(Callback::Begin);
        redirect::begin(&self.revision);
        Stream {
            status: Cell::new(Status::Stop),
            rule: Cell::new(None),
            is_answered: Cell::new(false),
            pass: Pass::default(),
        }
    }

    fn on_request_headers(&self, stream: &Stream, request: &mut Request<'_>) -> Status {
        #[cfg(egress_fault)]
        self.strike(Callback::RequestHeaders);
        if self.is_misplaced(request) {
            log::error!("this is a waypoint: give the filter the name `{WAYPOINT}`");
            self.count(request, Reason::ProxyError.as_str());
            refuse(Some(stream), request, PROXY_ERROR_DETAILS);
            return Status::Stop;
        }
        let proxy = self.proxy(request, stream);
        let Judged { flow, rule } = self.filter.on_request_headers(&proxy);
        let writes = proxy.into_writes();
        stream.rule.set(rule);
        let status = match flow {
            Flow::Continue => self.write(stream, &writes, request, Part::Headers),
            Flow::Stop => Status::Stop,
        };
        stream.status.set(status);
        let stamps = &self.filter.config().stamps;
        if status == Status::Continue
            && stamps.may_be_carried()
            && let Some(headers) = request.lend(Part::Headers)
        {
            redirect::let_pass(&stream.pass, &self.revision, stamps, &writes, &headers);
        }
        status
    }

    fn on_request_body(&self, stream: &Stream) -> Status {
        #[cfg(egress_fault)]
        self.strike(Callback::RequestBody);
        stream.status.get()
    }

    fn on_request_trailers(&self, stream: &Stream, request: &mut Request<'_>) -> Status {
        #[cfg(egress_fault)]
        self.strike(Callback::RequestTrailers);
        if stream.status.get() == Status::Stop {
            return Status::Stop;
        }
        let proxy = self.proxy(request, stream);
        let flow = self.filter.on_request_trailers(&proxy, stream.rule.get());
        let writes = proxy.into_writes();
        match flow {
            Flow::Continue => self.write(stream, &writes, request, Part::Trailers),
            Flow::Stop => Status::Stop,
        }
    }

    fn on_panic(&self, stream: Option<&Stream>, request: &mut Request<'_>) {
        self.count(request, PANIC);
        refuse(stream, request, PANIC_DETAILS);
    }

    fn end(&self, stream: Stream) {
        redirect::end(&stream.pass, &self.revision);
        #[cfg(egress_fault)]
        self.strike(Callback::End);
    }
}

impl Requests {
    /// Whether the proxy is a waypoint, and the filter was not told: what is right at a gateway leaves a
    /// waypoint open.
    fn is_misplaced(&self, request: &Request<'_>) -> bool {
        self.place == Place::Gateway && request.filter_state(WAYPOINTS_CALLER).is_some()
    }

    fn proxy<'a, 'r>(
        &'a self,
        request: &'a Request<'r>,
        stream: &'a Stream,
    ) -> RunningProxy<'a, 'r> {
        RunningProxy::new(request, &self.families, &self.revision, &stream.is_answered)
    }

    /// Counts a refusal that the filter does not know of.
    fn count(&self, request: &Request<'_>, reason: &str) {
        let [verdicts, ..] = self.families;
        if let Some(verdicts) = verdicts {
            request.increment(verdicts, [Action::Deny.as_str(), reason]);
        }
    }

    /// Writes what the filter wanted. If Envoy does not take it, the request goes no further: it would leave
    /// with headers that its caller forged.
    fn write(
        &self,
        stream: &Stream,
        writes: &Writes,
        request: &mut Request<'_>,
        part: Part,
    ) -> Status {
        for (write, name, value) in writes.iter() {
            let is_written = match write {
                Write::Set => request.set(part, name, value),
                Write::Add => request.add(part, name, value),
                Write::Remove => request.remove(part, name),
            };
            if !is_written {
                log::error!("the proxy does not write the request's `{}`", name.escape_ascii());
                refuse(Some(stream), request, PROXY_ERROR_DETAILS);
                return Status::Stop;
            }
            #[cfg(egress_fault)]
            self.strike(Callback::HeaderWrite);
        }
        Status::Continue
    }

    #[cfg(egress_fault)]
    fn strike(&self, callback: Callback) {
        self.fault.iter().for_each(|fault| fault.strike(callback));
    }
}

#[cfg(egress_fault)]
impl Drop for Requests {
    fn drop(&mut self) {
        self.strike(Callback::Forget);
    }
}

/// Answers a request that got no answer yet, and lets it go no further.
fn refuse(stream: Option<&Stream>, request: &Request<'_>, details: &str) {
    if let Some(stream) = stream {
        stream.status.set(Status::Stop);
        if stream.is_answered.replace(true) {
            return;
        }
    }
    request.reply(&Reply {
        status: 503,
        headers: &[("content-type", "application/json")],
        body: br#"{"error":"egress_denied"}"#,
        details,
    });
}

/// What the filter's name says of where the proxy stands: Envoy does not tell a module its node id.
fn place(name: &[u8]) -> Option<Place> {
    match name {
        name if name == GATEWAY.as_bytes() => Some(Place::Gateway),
        name if name == WAYPOINT.as_bytes() => Some(Place::Waypoint),
        #[cfg(egress_fault)]
        _ if Fault::of_name(name).is_some() => Some(Place::Gateway),
        name => {
            let name = name.escape_ascii();
            log::error!(
                "filter name `{name}` refused: write `{GATEWAY}`, or at a waypoint `{WAYPOINT}`"
            );
            None
        }
    }
}
