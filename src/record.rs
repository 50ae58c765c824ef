//! A decision as a record: filter-state pairs for the proxy's access log, and a JSON line.

use crate::json_line::JsonLine;
use crate::policy::{Action, Decision, Policy, Reason, Verdict};
use crate::time::Time;

/// The name and value of one key of a record.
pub type Pair<'a> = (&'static str, &'a str);

/// The keys of a record. A connection has keys of its own: filter state that is set on a connection is
/// seen by every request on it, where it must neither satisfy the guard of requests nor stand in their
/// records.
#[derive(Clone, Copy, Debug)]
pub struct Keys {
    /// What each key begins with.
    pub prefix: &'static str,
    decision: &'static str,
    rule: &'static str,
    reason: &'static str,
    policy: &'static str,
    would: &'static str,
    would_rule: &'static str,
    would_reason: &'static str,
}

macro_rules! keys {
    ($prefix:literal) => {
        Keys {
            prefix: $prefix,
            decision: concat!($prefix, "decision"),
            rule: concat!($prefix, "rule"),
            reason: concat!($prefix, "reason"),
            policy: concat!($prefix, "policy"),
            would: concat!($prefix, "would"),
            would_rule: concat!($prefix, "would_rule"),
            would_reason: concat!($prefix, "would_reason"),
        }
    };
}

/// The keys of a request's record.
pub const OF_REQUESTS: Keys = keys!("egress_");

/// The keys of a connection's record.
pub const OF_CONNECTIONS: Keys = keys!("egress_connection_");

/// Which requests leave a JSON line in the proxy's log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogRequests {
    /// Those refused, and those that would be.
    Denied,
    /// Every one.
    All,
    /// None.
    None,
}

/// What a request or a connection is decided to be, in the words of records.
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    keys: Keys,
    decision: Decision,
    rule: Option<&'a str>,
    would_rule: Option<&'a str>,
    policy: &'a str,
}

/// Facts of a request or a connection that only the JSON line holds.
#[derive(Clone, Copy, Debug, Default)]
pub struct Details<'a> {
    /// When the verdict fell.
    pub start_time: Option<Time>,
    /// The canonical host; absent where the authority is malformed.
    pub host: Option<&'a str>,
    /// `:authority`, as sent.
    pub authority: Option<&'a [u8]>,
    /// The canonical host that is dialled at a waypoint, where it is not `host`.
    pub dialled_host: Option<&'a str>,
    /// The port that was judged.
    pub port: Option<u16>,
    /// `:method`, as sent.
    pub method: Option<&'a [u8]>,
    /// `:path`, as sent; its query is left out here.
    pub path: Option<&'a [u8]>,
    /// The caller's SPIFFE id as the certificate has it.
    pub source_principal: Option<&'a [u8]>,
    /// The caller's address and port.
    pub downstream_remote_address: Option<&'a [u8]>,
    /// Where a connection came in; absent for requests.
    pub downstream_local_address: Option<&'a [u8]>,
    /// The TLS server name.
    pub requested_server_name: Option<&'a [u8]>,
    /// `x-request-id`, as sent.
    pub request_id: Option<&'a [u8]>,
}

impl<'a> Record<'a> {
    /// Takes a decision of this policy on a request, and the policy's name with its hash.
    pub fn new(decision: Decision, policy: &'a Policy, revision: &'a str) -> Self {
        Self::under(OF_REQUESTS, decision, policy, revision)
    }

    /// The same for a connection.
    pub fn of_connection(decision: Decision, policy: &'a Policy, revision: &'a str) -> Self {
        Self::under(OF_CONNECTIONS, decision, policy, revision)
    }

    fn under(keys: Keys, decision: Decision, policy: &'a Policy, revision: &'a str) -> Self {
        let id = |verdict: Verdict| policy.rules().get(verdict.rule?).map(|rule| &*rule.id);
        let would_rule = decision.would.and_then(id);
        Self { keys, decision, rule: id(decision.verdict), would_rule, policy: revision }
    }

    /// The id of the rule that is named.
    pub fn rule(&self) -> Option<&'a str> {
        self.rule
    }

    /// At which level the JSON line is to be written: a refusal, or what would be one, is a warning.
    /// `None` where the policy or the proxy does not want it.
    pub fn level(&self, wanted: LogRequests) -> Option<log::Level> {
        let refuses = |verdict: Verdict| verdict.action == Action::Deny;
        let is_refusal = refuses(self.decision.verdict) || self.decision.would.is_some_and(refuses);
        let level = if is_refusal { log::Level::Warn } else { log::Level::Info };
        let is_wanted = match wanted {
            LogRequests::Denied => is_refusal,
            LogRequests::All => true,
            LogRequests::None => false,
        };
        (is_wanted && log::log_enabled!(level)).then_some(level)
    }

    /// The filter-state pairs. A reason that a rule's id says already is left out.
    pub fn filter_state(&self) -> impl Iterator<Item = Pair<'a>> {
        self.keys(|reason| (reason != Reason::Rule).then(|| reason.as_str()))
    }

    /// The same in the place of an earlier record of the same connection, whose reason must not stay:
    /// filter state cannot be taken back.
    pub fn filter_state_instead(&self) -> impl Iterator<Item = Pair<'a>> {
        self.keys(|reason| Some(reason.as_str()))
    }

    /// The JSON line, without its line end.
    pub fn line(&self, details: &Details<'_>) -> String {
        let start_time = details.start_time.map(|it| it.milliseconds().to_string());
        let path = details.path.and_then(|path| path.split(|&byte| byte == b'?').next());
        let mut line = JsonLine::new();
        for (key, value) in self.keys(|reason| Some(reason.as_str())) {
            line.text(key, Some(value));
        }
        line.text("start_time", start_time.as_deref())
            .text("host", details.host)
            .bytes("authority", details.authority)
            .text("dialled_host", details.dialled_host)
            .number("port", details.port)
            .bytes("method", details.method)
            .bytes("path", path)
            .bytes("source_principal", details.source_principal)
            .bytes("downstream_remote_address", details.downstream_remote_address)
            .bytes("downstream_local_address", details.downstream_local_address)
            .bytes("requested_server_name", details.requested_server_name)
            .bytes("request_id", details.request_id)
            .finish()
    }

    /// The keys that both forms share, in their order; `reason` says how a reason is written.
    fn keys(
        &self,
        reason: impl Fn(Reason) -> Option<&'static str>,
    ) -> impl Iterator<Item = Pair<'a>> {
        let Decision { verdict, would } = self.decision;
        let keys = self.keys;
        [
            (keys.decision, Some(verdict.action.as_str())),
            (keys.rule, self.rule),
            (keys.reason, reason(verdict.reason)),
            (keys.policy, Some(self.policy)),
            (keys.would, would.map(|would| would.action.as_str())),
            (keys.would_rule, self.would_rule),
            (keys.would_reason, would.and_then(|would| reason(would.reason))),
        ]
        .into_iter()
        .filter_map(|(key, value)| Some((key, value?)))
    }
}
