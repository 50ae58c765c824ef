//! One HTTP stream: the proxy as the filter sees it.

use std::ops::RangeInclusive;
use std::rc::Rc;

use proxy_wasm::traits::{Context, HttpContext};
use proxy_wasm::types::Action;

use super::hostcalls::Status;
use super::{counters, hostcalls};
use crate::counters::Counter;
use crate::filter::{Failed, Filter, Flow, LocalResponse, Proxy};
use crate::header_map::HeaderMap;

/// A stream, with the policy that its root had when the stream began.
pub(super) struct HttpStream {
    filter: Option<Rc<Filter>>,
}

impl HttpStream {
    pub(super) fn new(filter: Option<Rc<Filter>>) -> Self {
        Self { filter }
    }
}

impl Context for HttpStream {}

impl HttpContext for HttpStream {
    fn on_http_request_headers(&mut self, _count: usize, _end_of_stream: bool) -> Action {
        #[cfg(egress_fault)]
        super::fault::strike(super::fault::Callback::RequestHeaders);
        let flow = match &self.filter {
            Some(filter) => filter.on_request_headers(&StreamProxy),
            None => refuse_without_policy(&StreamProxy),
        };
        action(flow)
    }

    fn on_http_request_trailers(&mut self, _count: usize) -> Action {
        // Without a policy the request was refused before its trailers came.
        let flow = self.filter.as_ref().map(|filter| filter.on_request_trailers(&StreamProxy));
        action(flow.unwrap_or(Flow::Stop))
    }
}

fn action(flow: Flow) -> Action {
    match flow {
        Flow::Continue => Action::Continue,
        Flow::Stop => Action::Pause,
    }
}

/// No policy is never "allow": a root that could not be configured lets nothing through.
fn refuse_without_policy(proxy: &impl Proxy) -> Flow {
    proxy.send_local_response(&LocalResponse {
        status: 503,
        details: "egress_denied[no_policy]",
        headers: &[("content-type", "application/json")],
        body: br#"{"error":"egress_denied"}"#,
        grpc_status: None,
    });
    Flow::Stop
}

/// The host calls of the stream whose callback is running.
struct StreamProxy;

impl Proxy for StreamProxy {
    fn request_headers(&self) -> Result<HeaderMap, Failed> {
        hostcalls::request_headers().map_err(|Status(status)| {
            log::error!("the proxy does not give the request's headers: status {status}");
            Failed
        })
    }

    fn property(&self, path: &[&str]) -> Result<Option<Vec<u8>>, Failed> {
        match hostcalls::property(path) {
            Ok(value) => Ok(Some(value)),
            Err(Status::NOT_FOUND) => Ok(None),
            Err(_) => Err(Failed),
        }
    }

    fn now(&self) -> Option<u64> {
        // Where nothing is written for the time it stays 0. Envoy counts it in an i64: what lies
        // beyond is a clock before 1970.
        const CREDIBLE: RangeInclusive<u64> = 1..=i64::MAX.cast_unsigned();
        hostcalls::current_time().ok().filter(|now| CREDIBLE.contains(now))
    }

    fn set_filter_state(&self, key: &str, value: &[u8]) {
        let _ = hostcalls::set_property(key, value);
    }

    fn set_request_header(&self, name: &[u8], value: &[u8]) -> Result<(), Failed> {
        hostcalls::replace_request_header(name, value).map_err(|status| not_written(name, status))
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

    fn send_local_response(&self, response: &LocalResponse<'_>) {
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

    fn increment(&self, counter: &Counter) {
        counters::increment(counter);
    }
}

fn not_written(header: &[u8], Status(status): Status) -> Failed {
    let header = header.escape_ascii();
    log::error!("the proxy does not write the request's `{header}`: status {status}");
    Failed
}
