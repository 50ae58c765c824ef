//! What a request or a connection leaves behind, in a proxy in memory or in another.

use log::Level;
use std::collections::BTreeMap;

/// Header names, in lower case, and values in the order of the map.
pub type Headers = Vec<(Vec<u8>, Vec<u8>)>;

/// All that a request or a connection leaves behind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// A connection that does not pass is closed, without an answer.
    pub passed: bool,
    /// What the keys of the record begin with.
    pub prefix: &'static str,
    /// The headers as they came.
    pub arrived: Headers,
    /// The headers as they leave.
    pub headers: Headers,
    /// The record: filter state by its keys, in the order in which it was set.
    pub filter_state: Vec<(String, String)>,
    /// The clusters that the request was bound to: one at most.
    pub clusters: Vec<String>,
    /// What the caller gets of a refusal: one answer at most.
    pub answers: Vec<Answer>,
    /// How often the connection was closed.
    pub closings: usize,
    /// By how much counters grew.
    pub counters: BTreeMap<String, u64>,
    /// What was logged.
    pub lines: Vec<(Level, String)>,
}

/// The answer to a refused request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    /// Envoy's response-code details.
    pub details: String,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    pub grpc_status: Option<u32>,
}

impl Outcome {
    /// The keys of the record, as an access log has them.
    pub fn record(&self) -> BTreeMap<&str, &str> {
        self.filter_state.iter().map(|(key, value)| (&**key, &**value)).collect()
    }

    /// What the record says under a key, named without what all keys begin with: `decision`,
    /// `would_rule`. The reason `rule` is written out, as in the log.
    pub fn recorded(&self, key: &str) -> Option<&str> {
        let verdict = match key {
            "reason" => Some("decision"),
            "would_reason" => Some("would"),
            _ => None,
        };
        self.state(key).or_else(|| self.state(verdict?).map(|_| "rule"))
    }

    /// The same as it stands in the filter state, set last.
    fn state(&self, key: &str) -> Option<&str> {
        let is_named = |name: &str| name.strip_prefix(self.prefix) == Some(key);
        let mut pairs = self.filter_state.iter().rev();
        pairs.find(|(name, _)| is_named(name)).map(|(_, value)| &**value)
    }

    pub fn answer(&self) -> Option<&Answer> {
        self.answers.first()
    }

    /// The line in the proxy's log, with its level.
    pub fn line(&self) -> Option<&(Level, String)> {
        self.lines.first()
    }

    /// Every value of a header as it leaves.
    pub fn values_of<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
        let is_named = move |other: &[u8]| other.eq_ignore_ascii_case(name.as_bytes());
        self.headers.iter().filter(move |(other, _)| is_named(other)).map(|(_, value)| &value[..])
    }
}

impl Answer {
    pub fn content_type(&self) -> Option<&str> {
        let mut headers = self.headers.iter();
        headers.find(|(name, _)| name == "content-type").map(|(_, value)| &**value)
    }
}
