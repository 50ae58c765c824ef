//! What stands for the proxy: it holds a request or a connection and keeps what the filter writes.

use super::connection::Connection;
use super::request::{Path, Request};
use super::{Answer, Headers, Rehearsal};
use crate::time::Time;
use egress_warden::connection::ConnectionProxy;
use egress_warden::counters::Counter;
use egress_warden::filter::{HttpProxy, LocalResponse};
use egress_warden::header_map::HeaderMap;
use egress_warden::policy::Trace;
use egress_warden::proxy::{Failed, Proxy};
use std::cell::RefCell;
use std::collections::BTreeMap;

pub struct MemoryProxy {
    arrived: Headers,
    headers: RefCell<Headers>,
    properties: BTreeMap<Path, Vec<u8>>,
    clock: Option<u64>,
    filter_state: RefCell<BTreeMap<String, String>>,
    answer: RefCell<Option<Answer>>,
}

impl MemoryProxy {
    pub fn of_request(request: &Request, at: Time) -> Self {
        Self::new(request.header_pairs(), request.properties(), request.clock(at))
    }

    pub fn of_connection(connection: &Connection, at: Time) -> Self {
        Self::new(Headers::new(), connection.properties(), connection.clock(at))
    }

    fn new(
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
            answer: RefCell::default(),
        }
    }

    pub fn into_rehearsal(
        self,
        passed: bool,
        prefix: &'static str,
        lines: Vec<(log::Level, String)>,
        trace: Option<Trace>,
    ) -> Rehearsal {
        Rehearsal {
            passed,
            arrived: self.arrived,
            headers: self.headers.into_inner(),
            prefix,
            record: self.filter_state.into_inner(),
            answer: self.answer.into_inner(),
            line: lines.into_iter().next(),
            trace,
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
        let value = String::from_utf8_lossy(value).into_owned();
        self.filter_state.borrow_mut().insert(key.to_owned(), value);
    }

    fn increment(&self, _counter: &Counter) {}
}

impl ConnectionProxy for MemoryProxy {
    /// That it does not pass is what the filter says of it.
    fn close(&self) {}
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

    /// A rehearsed request has no trailers.
    fn request_trailers(&self) -> Result<HeaderMap, Failed> {
        Ok(HeaderMap::default())
    }

    fn remove_request_trailer(&self, _name: &[u8]) -> Result<(), Failed> {
        Ok(())
    }

    /// Nothing routes a rehearsed request anew.
    fn bind_cluster(&self, _name: &[u8]) -> Result<(), Failed> {
        Ok(())
    }

    fn send_local_response(&self, response: &LocalResponse<'_>) {
        let content_type = response.headers.iter().find(|(name, _)| *name == "content-type");
        *self.answer.borrow_mut() = Some(Answer {
            status: response.status,
            content_type: content_type.map(|(_, value)| (*value).to_owned()),
            body: response.body.to_vec(),
            grpc_status: response.grpc_status,
        });
    }
}
