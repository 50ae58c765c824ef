//! A proxy in memory, with Envoy's semantics: what it holds after the filter ran is what is tested.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;

use egress_warden::connection::ConnectionProxy;
use egress_warden::counters::Counter;
use egress_warden::filter::{HttpProxy, LocalResponse};
use egress_warden::header_map::HeaderMap;
use egress_warden::proxy::{Failed, Flow, Proxy};
use log::Level;

use super::connection::Connection;
use super::request::{Path, Request};

/// Header names, in lower case, and values in the order of the map.
pub type Headers = Vec<(Vec<u8>, Vec<u8>)>;

pub struct MemoryProxy {
    arrived: Headers,
    headers: RefCell<Headers>,
    properties: BTreeMap<Path, Vec<u8>>,
    clock: Option<u64>,
    filter_state: RefCell<Vec<(String, Vec<u8>)>>,
    answers: RefCell<Vec<Answer>>,
    closings: Cell<usize>,
    counters: RefCell<BTreeMap<String, u64>>,
}

/// A local response, owned.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub details: String,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    pub grpc_status: Option<u32>,
}

/// All that a request or a connection left behind.
pub struct Outcome {
    pub passed: bool,
    pub arrived: Headers,
    pub headers: Headers,
    pub filter_state: Vec<(String, Vec<u8>)>,
    pub answers: Vec<Answer>,
    /// How often the connection was closed.
    pub closings: usize,
    pub counters: BTreeMap<String, u64>,
    pub lines: Vec<(Level, String)>,
}

impl MemoryProxy {
    pub fn new(request: &Request) -> Self {
        Self::having(request.header_pairs(), request.properties(), request.clock())
    }

    pub fn of_connection(connection: &Connection) -> Self {
        Self::having(Headers::new(), connection.properties(), connection.clock())
    }

    fn having(
        arrived: Headers,
        properties: impl Iterator<Item = (Path, Vec<u8>)>,
        clock: Option<u64>,
    ) -> Self {
        Self {
            headers: RefCell::new(arrived.clone()),
            arrived,
            properties: properties.collect(),
            clock,
            filter_state: RefCell::default(),
            answers: RefCell::default(),
            closings: Cell::default(),
            counters: RefCell::default(),
        }
    }

    pub fn into_outcome(self, flow: Flow, lines: Vec<(Level, String)>) -> Outcome {
        Outcome {
            passed: matches!(flow, Flow::Continue),
            arrived: self.arrived,
            headers: self.headers.into_inner(),
            filter_state: self.filter_state.into_inner(),
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

    fn now(&self) -> Option<u64> {
        self.clock
    }

    fn set_filter_state(&self, key: &str, value: &[u8]) {
        self.filter_state.borrow_mut().push((key.to_owned(), value.to_vec()));
    }

    fn increment(&self, counter: &Counter) {
        *self.counters.borrow_mut().entry(counter.name().to_owned()).or_default() += 1;
    }
}

impl ConnectionProxy for MemoryProxy {
    fn close(&self) {
        self.closings.set(self.closings.get() + 1);
    }
}

impl HttpProxy for MemoryProxy {
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

    /// No case has trailers.
    fn request_trailers(&self) -> Result<HeaderMap, Failed> {
        Ok(HeaderMap::default())
    }

    fn remove_request_trailer(&self, _name: &[u8]) -> Result<(), Failed> {
        Err(Failed)
    }

    fn bind_cluster(&self, name: &[u8]) -> Result<(), Failed> {
        self.set_filter_state("egress_cluster", name);
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
