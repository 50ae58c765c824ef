//! A request or a connection sent through the filter with no proxy around it: what becomes of it, and
//! what it leaves behind.
//!
//! The filter is the one that the proxy runs, from the header map to the record. What stands for the
//! proxy only holds what it is told.

mod bytes;
mod connection;
mod lines;
mod proxy;
mod request;
mod subject;

pub(crate) use bytes::{Bytes, shown};
pub(crate) use connection::Connection;
pub(crate) use request::Request;
pub(crate) use subject::Subject;

use super::time::Time;
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
pub(crate) type Headers = Vec<(Vec<u8>, Vec<u8>)>;

/// One policy at work on both.
pub(crate) struct Filters {
    config: Arc<Config>,
    requests: Filter,
    connections: ConnectionFilter,
}

/// All that a request or a connection leaves behind.
#[derive(Debug)]
pub(crate) struct Rehearsal {
    /// A connection that does not pass is closed, without an answer.
    pub(crate) passed: bool,
    /// The headers as they came.
    pub(crate) arrived: Headers,
    /// The headers as they leave.
    pub(crate) headers: Headers,
    /// What the keys of the record begin with.
    pub(crate) prefix: &'static str,
    /// The keys of the record.
    pub(crate) record: BTreeMap<String, String>,
    /// What the caller gets of a refusal.
    pub(crate) answer: Option<Answer>,
    /// The line in the proxy's log, with its level.
    pub(crate) line: Option<(log::Level, String)>,
    pub(crate) trace: Option<Trace>,
}

/// The answer to a refused request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) content_type: Option<String>,
    pub(crate) body: Vec<u8>,
    pub(crate) grpc_status: Option<u32>,
}

impl Filters {
    /// Connections are judged as these.
    pub(crate) fn new(config: Arc<Config>, connections: Connections) -> Self {
        Self {
            requests: Filter::new(Arc::clone(&config)),
            connections: ConnectionFilter::new(Arc::clone(&config), connections),
            config,
        }
    }

    pub(crate) fn config(&self) -> &Config {
        &self.config
    }

    /// Sends one; `at` is the proxy's clock where it says none.
    pub(crate) fn rehearse(&self, subject: &Subject, at: Time) -> Rehearsal {
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
    pub(crate) fn recorded(&self, key: &str) -> Option<&str> {
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
    pub(crate) fn values_of<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
        let is_named = move |other: &[u8]| other.eq_ignore_ascii_case(name.as_bytes());
        self.headers.iter().filter(move |(other, _)| is_named(other)).map(|(_, value)| &value[..])
    }
}
