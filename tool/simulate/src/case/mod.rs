//! The format of case files: policies, requests or connections, and what is to become of them.
//!
//! `egress-warden test` reads it, and so do the tests under `tests/cases`.

mod expectation;

pub use expectation::Expectation;

use crate::connection::Connection;
use crate::request::Request;
use crate::subject::Subject;
use egress_warden::host::Malformed;
use egress_warden::root_id::Connections;
use serde::Deserialize;
use serde_json::Value;

/// A file of cases.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CaseFile {
    /// What the file covers: for its reader.
    pub about: Option<String>,
    /// A policy that the cases are about. `egress-warden test` holds them to the one that it is given.
    policy: Option<Value>,
    /// Policies under which the same is expected of every case.
    #[serde(default)]
    policies: Vec<Value>,
    /// That of the plugin that judges the connections.
    pub root_id: Option<String>,
    pub cases: Vec<Case>,
}

/// A sentence of the policy's meaning, shown by one request or connection or several alike.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Case {
    pub name: String,
    request: Option<Request>,
    #[serde(default)]
    requests: Vec<Request>,
    connection: Option<Connection>,
    #[serde(default)]
    connections: Vec<Connection>,
    pub expect: Expectation,
}

impl CaseFile {
    /// Each policy of the file as the JSON text that a control plane hands on, and its name.
    pub fn policies(&self) -> impl Iterator<Item = (String, &str)> {
        let policies = self.policy.iter().chain(&self.policies);
        policies.map(|policy| {
            let name = policy.get("policy").and_then(Value::as_str);
            (policy.to_string(), name.unwrap_or_default())
        })
    }

    /// As which connections are judged; `None` where the root id is one for requests.
    pub fn connections(&self) -> Result<Option<Connections>, Malformed> {
        match &self.root_id {
            Some(id) => Connections::of_root_id(id.as_bytes()),
            None => Ok(Some(Connections::default())),
        }
    }

    /// The requests and connections of all cases, in order.
    pub fn subjects(&self) -> impl Iterator<Item = Subject> {
        self.cases.iter().flat_map(Case::subjects)
    }
}

impl Case {
    /// Its requests, then its connections.
    pub fn subjects(&self) -> impl Iterator<Item = Subject> {
        let requests = self.request.iter().chain(&self.requests).cloned();
        let connections = self.connection.iter().chain(&self.connections).cloned();
        requests.map(Subject::Request).chain(connections.map(Subject::Connection))
    }
}
