//! A request or a connection sent through the filter with no proxy around it: what becomes of it, and
//! what it leaves behind.
//!
//! The filter is the one that the proxy runs, from the header map to the record. What stands for the
//! proxy only holds what it is told.
#![forbid(unsafe_code)]
#![deny(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::todo,
    clippy::unimplemented,
    clippy::unreachable,
    clippy::unwrap_used
)]

mod bytes;
mod connection;
mod lines;
mod proxy;
mod request;
mod subject;
pub mod time;

pub use bytes::{Bytes, shown};
pub use connection::Connection;
pub use request::Request;
pub use subject::Subject;

use crate::time::Time;
use egress_warden::config::Config;
use egress_warden::connection::ConnectionFilter;
use egress_warden::filter::Filter;
use egress_warden::policy::Trace;
use egress_warden::proxy::Flow;
use egress_warden::record;
use egress_warden::root_id::Connections;
use proxy::MemoryProxy;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Header names, in lower case, and values in the order of the map.
pub type Headers = Vec<(Vec<u8>, Vec<u8>)>;

/// One policy at work on both.
pub struct Filters {
    config: Arc<Config>,
    requests: Filter,
    connections: ConnectionFilter,
}

/// All that a request or a connection leaves behind.
#[derive(Debug)]
pub struct Rehearsal {
    /// A connection that does not pass is closed, without an answer.
    pub passed: bool,
    /// The headers as they came.
    pub arrived: Headers,
    /// The headers as they leave.
    pub headers: Headers,
    /// What the keys of the record begin with.
    pub prefix: &'static str,
    /// The keys of the record.
    pub record: BTreeMap<String, String>,
    /// What the caller gets of a refusal.
    pub answer: Option<Answer>,
    /// The line in the proxy's log, with its level.
    pub line: Option<(log::Level, String)>,
    pub trace: Option<Trace>,
}

/// The answer to a refused request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    pub content_type: Option<String>,
    pub body: Vec<u8>,
    pub grpc_status: Option<u32>,
}

impl Filters {
    /// Connections are judged as these.
    pub fn new(config: Arc<Config>, connections: Connections) -> Self {
        Self {
            requests: Filter::new(Arc::clone(&config)),
            connections: ConnectionFilter::new(Arc::clone(&config), connections),
            config,
        }
    }

    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Sends one; `at` is the proxy's clock where it says none.
    pub fn rehearse(&self, subject: &Subject, at: Time) -> Rehearsal {
        lines::capture();
        let (proxy, trace, flow, keys);
        match subject {
            Subject::Request(request) => {
                keys = record::OF_REQUESTS;
                proxy = MemoryProxy::of_request(request, at);
                trace = self.requests.trace(&proxy);
                flow = self.requests.on_request_headers(&proxy).flow;
            }
            Subject::Connection(connection) => {
                keys = record::OF_CONNECTIONS;
                proxy = MemoryProxy::of_connection(connection, at);
                trace = self.connections.trace(&proxy);
                flow = self.connections.decide(&proxy);
            }
        }
        proxy.into_rehearsal(flow == Flow::Continue, keys.prefix, lines::take(), trace.ok())
    }
}

impl Rehearsal {
    /// What the record says under a key, named without what all keys begin with: `decision`,
    /// `would_rule`. The reason `rule` is written out, as in the log.
    pub fn recorded(&self, key: &str) -> Option<&str> {
        let recorded =
            |key: &str| self.record.get(&[self.prefix, key].concat()).map(String::as_str);
        let verdict = match key {
            "reason" => Some("decision"),
            "would_reason" => Some("would"),
            _ => None,
        };
        recorded(key).or_else(|| recorded(verdict?).map(|_| "rule"))
    }

    /// Every value of a header as it leaves.
    pub fn values_of<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
        let is_named = move |other: &[u8]| other.eq_ignore_ascii_case(name.as_bytes());
        self.headers.iter().filter(move |(other, _)| is_named(other)).map(|(_, value)| &value[..])
    }
}
