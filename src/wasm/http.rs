//! One HTTP stream: the proxy as the filter sees it.

use std::rc::Rc;

use proxy_wasm::traits::{Context, HttpContext};
use proxy_wasm::types::Action;

use super::hostcalls::{self, Status};
use super::metrics;
use super::proxy::{Counted, RunningProxy, action};
use crate::counters::OF_REQUESTS;
use crate::filter::{Filter, HttpProxy, Judged, LocalResponse};
use crate::header_map::HeaderMap;
use crate::proxy::{Failed, Flow};

/// A stream, with the policy that its root had when the stream began.
pub(super) struct HttpStream {
    filter: Option<Rc<Counted<Filter>>>,
    /// The rule that was named at the headers.
    rule: Option<usize>,
}

impl HttpStream {
    pub(super) fn new(filter: Option<Rc<Counted<Filter>>>) -> Self {
        Self { filter, rule: None }
    }
}

#[cfg(egress_fault)]
impl Drop for HttpStream {
    fn drop(&mut self) {
        super::fault::strike(super::fault::Callback::Delete);
    }
}

impl Context for HttpStream {}

impl HttpContext for HttpStream {
    fn on_http_request_headers(&mut self, _count: usize, _end_of_stream: bool) -> Action {
        #[cfg(egress_fault)]
        super::fault::strike(super::fault::Callback::RequestHeaders);
        let flow = match &self.filter {
            Some(it) => {
                let Judged { flow, rule } = it.filter.on_request_headers(&it.proxy());
                self.rule = rule;
                flow
            }
            None => refuse_without_policy(),
        };
        action(flow)
    }

    fn on_http_request_trailers(&mut self, _count: usize) -> Action {
        // Without a policy the request was refused before its trailers came.
        let trailers =
            |it: &Rc<Counted<Filter>>| it.filter.on_request_trailers(&it.proxy(), self.rule);
        action(self.filter.as_ref().map_or(Flow::Stop, trailers))
    }
}

/// Without a valid policy, all traffic is denied: a root that could not be configured lets nothing through.
fn refuse_without_policy() -> Flow {
    metrics::count_without_policy(&OF_REQUESTS);
    send_local_response(&LocalResponse {
        status: 503,
        details: "egress_denied[no_policy]",
        headers: &[("content-type", "application/json")],
        body: br#"{"error":"egress_denied"}"#,
        grpc_status: None,
    });
    Flow::Stop
}

impl HttpProxy for RunningProxy<'_> {
    type Headers<'a>
        = HeaderMap
    where
        Self: 'a;

    fn request_headers(&self) -> Result<HeaderMap, Failed> {
        hostcalls::request_headers().map_err(|Status(status)| {
            log::error!("the proxy does not give the request's headers: status {status}");
            Failed
        })
    }

    fn set_request_header(&self, name: &[u8], value: &[u8]) -> Result<(), Failed> {
        hostcalls::replace_request_header(name, value).map_err(|status| not_written(name, status))
    }

    fn add_request_header(&self, name: &[u8], value: &[u8]) -> Result<(), Failed> {
        hostcalls::add_request_header(name, value).map_err(|status| not_written(name, status))
    }

    fn remove_request_header(&self, name: &[u8]) -> Result<(), Failed> {
        hostcalls::remove_request_header(name).map_err(|status| not_written(name, status))
    }

    fn request_trailers(&self) -> Result<HeaderMap, Failed> {
        hostcalls::request_trailers().map_err(|Status(status)| {
            log::error!("the proxy does not give the request's trailers: status {status}");
            Failed
        })
    }

    fn remove_request_trailer(&self, name: &[u8]) -> Result<(), Failed> {
        hostcalls::remove_request_trailer(name).map_err(|status| not_written(name, status))
    }

    fn bind_cluster(&self, name: &[u8]) -> Result<(), Failed> {
        hostcalls::set_property("egress_cluster", name).map_err(|Status(status)| {
            log::error!("the proxy does not take the cluster that was judged: status {status}");
            Failed
        })
    }

    fn send_local_response(&self, response: &LocalResponse<'_>) {
        send_local_response(response);
    }
}

fn send_local_response(response: &LocalResponse<'_>) {
    let headers = HeaderMap::from_pairs(
        response.headers.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())),
    );
    let _ = hostcalls::send_local_response(
        response.status,
        response.details,
        &headers,
        response.body,
        response.grpc_status,
    );
}

fn not_written(header: &[u8], Status(status): Status) -> Failed {
    let header = header.escape_ascii();
    log::error!("the proxy does not write the request's `{header}`: status {status}");
    Failed
}
