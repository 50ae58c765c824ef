//! What stands for the proxy: it holds a request or a connection, with Envoy's semantics, and keeps
//! what the filter writes.

use crate::attributes::Attribute;
use crate::outcome::{Answer, Headers, Outcome};
use crate::subject::Subject;
use egress_warden::connection::ConnectionProxy;
use egress_warden::counters::Counter;
use egress_warden::filter::{HttpProxy, LocalResponse};
use egress_warden::header_map::HeaderMap;
use egress_warden::proxy::{Failed, Proxy};
use egress_warden::time::Time;
use log::Level;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;

pub struct MemoryProxy {
    arrived: Headers,
    headers: RefCell<Headers>,
    properties: BTreeMap<Attribute, Vec<u8>>,
    clock: Option<Time>,
    filter_state: RefCell<Vec<(String, String)>>,
    clusters: RefCell<Vec<String>>,
    answers: RefCell<Vec<Answer>>,
    closings: Cell<usize>,
    counters: RefCell<BTreeMap<String, u64>>,
}

impl MemoryProxy {
    pub fn new(subject: &Subject, at: Time) -> Self {
        let arrived = subject.header_pairs();
        Self {
            headers: RefCell::new(arrived.clone()),
            arrived,
            properties: subject.properties(at).into_iter().collect(),
            clock: subject.clock(at),
            filter_state: RefCell::default(),
            clusters: RefCell::default(),
            answers: RefCell::default(),
            closings: Cell::default(),
            counters: RefCell::default(),
        }
    }

    pub fn into_outcome(
        self,
        passed: bool,
        prefix: &'static str,
        lines: Vec<(Level, String)>,
    ) -> Outcome {
        Outcome {
            passed,
            prefix,
            arrived: self.arrived,
            headers: self.headers.into_inner(),
            filter_state: self.filter_state.into_inner(),
            clusters: self.clusters.into_inner(),
            answers: self.answers.into_inner(),
            closings: self.closings.get(),
            counters: self.counters.into_inner(),
            lines,
        }
    }
}

impl Proxy for MemoryProxy {
    fn property(&self, path: &[&str]) -> Result<Option<Vec<u8>>, Failed> {
        Ok(self.properties.get(path).cloned())
    }

    fn now(&self) -> Option<Time> {
        self.clock
    }

    fn set_filter_state(&self, key: &str, value: &[u8]) {
        let value = String::from_utf8_lossy(value).into_owned();
        self.filter_state.borrow_mut().push((key.to_owned(), value));
    }

    fn increment(&self, counter: &Counter<'_>) {
        let mut counters = self.counters.borrow_mut();
        let count = counters.entry(counter.name()).or_default();
        *count = count.saturating_add(1);
    }
}

impl ConnectionProxy for MemoryProxy {
    fn close(&self) {
        self.closings.set(self.closings.get().saturating_add(1));
    }
}

impl HttpProxy for MemoryProxy {
    type Headers<'a> = HeaderMap;

    fn request_headers(&self) -> Result<HeaderMap, Failed> {
        let headers = self.headers.borrow();
        Ok(HeaderMap::from_pairs(headers.iter().map(|(name, value)| (&name[..], &value[..]))))
    }

    fn set_request_header(&self, name: &[u8], value: &[u8]) -> Result<(), Failed> {
        self.remove_request_header(name)?;
        self.headers.borrow_mut().push((name.to_ascii_lowercase(), value.to_vec()));
        Ok(())
    }

    fn remove_request_header(&self, name: &[u8]) -> Result<(), Failed> {
        self.headers.borrow_mut().retain(|(present, _)| !present.eq_ignore_ascii_case(name));
        Ok(())
    }

    /// A simulated request has no trailers.
    fn request_trailers(&self) -> Result<HeaderMap, Failed> {
        Ok(HeaderMap::default())
    }

    fn remove_request_trailer(&self, _name: &[u8]) -> Result<(), Failed> {
        Err(Failed)
    }

    fn bind_cluster(&self, name: &[u8]) -> Result<(), Failed> {
        self.clusters.borrow_mut().push(String::from_utf8_lossy(name).into_owned());
        Ok(())
    }

    fn send_local_response(&self, response: &LocalResponse<'_>) {
        let owned = |&(name, value): &(&str, &str)| (name.to_owned(), value.to_owned());
        self.answers.borrow_mut().push(Answer {
            status: response.status,
            details: response.details.to_owned(),
            headers: response.headers.iter().map(owned).collect(),
            body: response.body.to_vec(),
            grpc_status: response.grpc_status,
        });
    }
}
