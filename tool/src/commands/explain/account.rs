//! What there is to say of one request or connection, in the order in which it came about.

use super::matched::{self, Patterns};
use crate::policy_file::{Node, PolicyFile, RuleSource};
use egress_warden::config::Config;
use egress_warden::place::Place;
use egress_warden::policy::{
    Action, Attempt, Decision, Dialled, FieldMiss, Miss, Port, Reason, Scope, Trace, Verdict,
};
use egress_warden::root_id::Connections;
use egress_warden::time::Time;
use egress_warden_simulate::{Headers, Outcome, Subject, shown};
use serde_json::{Map, Value, json};
use std::collections::HashMap;

pub(super) struct Account<'a> {
    pub(super) file: &'a PolicyFile,
    pub(super) config: &'a Config,
    /// Rules as they are written, by their ids: a policy keeps its rules in an order of its own.
    pub(super) rules: &'a HashMap<&'a str, &'a RuleSource<'a>>,
    pub(super) subject: &'a Subject,
    /// As which a connection is judged.
    pub(super) connections: Connections,
    pub(super) at: Time,
    /// What becomes of it.
    pub(super) simulated: Outcome,
    pub(super) trace: Option<Trace>,
}

/// The steps of a verdict, each with the question that it asks.
pub(super) const STEPS: [&str; 7] = [
    "malformed",
    "identity, sni",
    "deny rules",
    "allow rules",
    "addresses, special names, CONNECT",
    "ended allow rules",
    "default",
];

impl<'a> Account<'a> {
    pub(super) fn trace(&self) -> Option<&Trace> {
        self.trace.as_ref()
    }

    /// The verdict whose steps are told: what stands, and under `mode: monitor` what would.
    pub(super) fn judged(&self) -> Option<Verdict> {
        let Decision { verdict, would } = self.trace()?.decision;
        match verdict.reason {
            Reason::Monitor => would,
            _ => Some(verdict),
        }
    }

    /// The id of a rule.
    pub(super) fn id(&self, rule: usize) -> &str {
        self.config.policy.rules().get(rule).map(|rule| &*rule.id).unwrap_or_default()
    }

    pub(super) fn action(&self, rule: usize) -> Action {
        let rule = self.config.policy.rules().get(rule);
        rule.map_or(Action::Deny, |rule| rule.action)
    }

    /// `FILE:LINE:COLUMN` of a rule.
    pub(super) fn place(&self, rule: usize) -> String {
        let rule = self.rules.get(self.id(rule));
        rule.map(|rule| self.file.at(rule.node.span.start)).unwrap_or_default()
    }

    /// What a rule asks in a field, as it is written, cut.
    pub(super) fn asked(&self, rule: usize, miss: &FieldMiss) -> String {
        const SHOWN: usize = 100;
        let node = self.rules.get(self.id(rule)).and_then(|rule| rule.node.get(miss.list));
        let node = node.and_then(|node| node.items().get(miss.entry)?.get(miss.field));
        let json = node.map(Node::to_json).unwrap_or_default();
        match json.char_indices().nth(SHOWN) {
            Some((end, _)) => format!("{}…", json.get(..end).unwrap_or_default()),
            None => json,
        }
    }

    /// The patterns by which each of the trace's attempts matches, in their order.
    pub(super) fn patterns(&self) -> Vec<Patterns<'a>> {
        let authority = self.subject.authority(self.connections).and_then(Result::ok);
        let Some((trace, authority)) = self.trace().zip(authority) else { return Vec::new() };
        let path = match self.subject {
            Subject::Request(request) => Some(request.path()),
            Subject::Connection(_) => None,
        };
        matched::of_attempts(trace, &authority.host, path, |rule| {
            self.rules.get(self.id(rule)).copied()
        })
    }

    /// What the named rule asks about that is unknown, where it matches only for that, each once, in
    /// words.
    pub(super) fn unknown(&self, verdict: &Verdict) -> Vec<&'static str> {
        let attempts = self.trace().map(|trace| &*trace.attempts).unwrap_or_default();
        let is_named = |attempt: &&Attempt| {
            verdict.reason == Reason::Unknown
                && verdict.rule == Some(attempt.rule)
                && attempt.rests_on_unknown
        };
        let mut facts = Vec::new();
        // The first is the one that is named.
        for miss in attempts.iter().find(is_named).into_iter().flat_map(|it| &it.unspared) {
            let fact = fact(miss.field);
            if !facts.contains(&fact) {
                facts.push(fact);
            }
        }
        facts
    }

    pub(super) fn to_json(&self) -> Value {
        let mut account = Map::new();
        let recorded = |key: &str| self.simulated.recorded(key).map(Value::from);
        let mut put = |key: &str, value: Option<Value>| {
            account.extend(value.map(|value| (key.to_owned(), value)));
        };
        put("policy", recorded("policy"));
        put("decision", recorded("decision"));
        put("rule", recorded("rule"));
        put("reason", recorded("reason"));
        put("would", recorded("would"));
        put("would_rule", recorded("would_rule"));
        put("would_reason", recorded("would_reason"));
        let decision = self.trace().map(|trace| trace.decision);
        let unknown = |verdict: Option<Verdict>| {
            let facts = verdict.map(|verdict| self.unknown(&verdict)).unwrap_or_default();
            (!facts.is_empty()).then(|| json!(facts))
        };
        put("unknown", unknown(decision.map(|decision| decision.verdict)));
        put("would_unknown", unknown(decision.and_then(|decision| decision.would)));
        match self.subject {
            Subject::Request(_) => put("request", Some(self.request_json())),
            Subject::Connection(_) => put("connection", Some(self.connection_json())),
        }
        put("step", self.step_json());
        put("candidates", self.trace().map(|trace| self.candidates_json(trace)));
        put("upstream", self.simulated.passed.then(|| headers_json(&self.simulated.headers)));
        put(
            "answer",
            self.simulated.answer().map(|answer| {
                json!({
                    "status": answer.status,
                    "content_type": answer.content_type(),
                    "grpc_status": answer.grpc_status,
                    "body": String::from_utf8_lossy(&answer.body),
                })
            }),
        );
        put("record", Some(json!(self.simulated.record())));
        put("line", self.simulated.line().map(|(level, line)| {
            json!({ "level": level.as_str().to_ascii_lowercase(), "text": line })
        }));
        Value::Object(account)
    }

    fn request_json(&self) -> Value {
        let (method, path) = self.subject.method_and_path().unzip();
        let lenient = self.trace().and_then(|trace| trace.path.as_ref()).map(|[_, path]| path);
        let mut request = self.host_json("authority");
        request.insert("dialled".to_owned(), self.dialled_json());
        request.insert("method".to_owned(), json!(method));
        request.insert("path".to_owned(), json!(path));
        request.insert("lenient_path".to_owned(), json!(lenient));
        Value::Object(request)
    }

    fn connection_json(&self) -> Value {
        Value::Object(self.host_json("requested_server_name"))
    }

    /// What both have; `sent` names the bytes that the host is read from.
    fn host_json(&self, sent: &str) -> Map<String, Value> {
        let authority = self.subject.authority(self.connections);
        let read = authority.as_ref().and_then(|read| read.as_ref().ok());
        let malformed = authority.as_ref().and_then(|read| read.as_ref().err());
        let port = match self.trace().and_then(|trace| trace.port) {
            Some(Port::Known(port)) => json!(port),
            Some(Port::Unsaid) => json!("unsaid"),
            Some(Port::Conflict) => json!("unknown"),
            None => Value::Null,
        };
        let pairs = [
            (sent, json!(self.subject.sent_host().map(shown))),
            ("host", json!(read.map(|authority| authority.host.canonical()))),
            ("malformed", json!(malformed.map(ToString::to_string))),
            ("port", port),
            ("principal", json!(self.subject.principal())),
        ];
        pairs.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
    }

    /// The host that is dialled at a waypoint, `null` at a gateway.
    fn dialled_json(&self) -> Value {
        let trace = self.trace().filter(|_| self.subject.place() == Place::Waypoint);
        match trace.map(|trace| &trace.dialled) {
            None => Value::Null,
            Some(Dialled::Named) => json!("named"),
            Some(Dialled::Host(host)) => json!({ "host": host.canonical() }),
            Some(Dialled::Other) => json!("another"),
            Some(Dialled::Unsaid) => json!("unsaid"),
        }
    }

    fn step_json(&self) -> Option<Value> {
        let number = self.step(&self.judged()?);
        let asks = STEPS.get(number.saturating_sub(1));
        Some(json!({ "number": number, "asks": asks }))
    }

    fn candidates_json(&self, trace: &Trace) -> Value {
        let candidate = |(candidate, patterns): (&Attempt, Patterns<'_>)| {
            let misses = match &candidate.miss {
                None => json!([]),
                Some(Miss::Ended) => json!([{ "condition": "until" }]),
                Some(Miss::HostNotNamed) => {
                    json!([{ "condition": "hosts", "must_be_named": true }])
                }
                Some(Miss::ConnectNotNamed) => {
                    json!([{ "condition": "methods", "must_be_named": true }])
                }
                Some(Miss::DialledHost) => json!([{ "condition": "hosts", "dialled": true }]),
                Some(Miss::Fields(misses)) => misses.iter().map(field_json).collect(),
            };
            let [now, next] = candidate.counts;
            json!({
                "rule": self.id(candidate.rule),
                "action": self.action(candidate.rule).as_str(),
                "place": self.place(candidate.rule),
                "entry": candidate.destination,
                "by": by(candidate.scope),
                "hosts": patterns.hosts,
                "paths": patterns.paths,
                "dialled": candidate.is_dialled,
                "counts": { "now": now, "next": next },
                "ended": candidate.has_ended,
                "matches": candidate.miss.is_none(),
                "rests_on_unknown": candidate.rests_on_unknown,
                "misses": misses,
                "unspared": candidate.unspared.iter().map(field_json).collect::<Vec<_>>(),
            })
        };
        trace.attempts.iter().zip(self.patterns()).map(candidate).collect()
    }

    /// Which of [`STEPS`] decides, from 1.
    pub(super) fn step(&self, verdict: &Verdict) -> usize {
        let is_unsaid = || self.trace().is_some_and(|trace| trace.dialled == Dialled::Unsaid);
        match (verdict.reason, verdict.action) {
            (Reason::Malformed | Reason::ProxyError | Reason::Undecided, _) => 1,
            (Reason::Identity | Reason::Sni, _) => 2,
            (Reason::Destination, _) if is_unsaid() => 2,
            (Reason::Rule, Action::Deny) | (Reason::Unknown, _) => 3,
            (Reason::Rule, Action::Allow) | (Reason::Destination, _) => 4,
            (Reason::ForbiddenAddress | Reason::IpLiteral | Reason::Connect, _) => 5,
            (Reason::Expired, _) => 6,
            (Reason::Default | Reason::Monitor, _) => 7,
        }
    }
}

/// What a field asks about.
fn fact(field: &str) -> &'static str {
    match field {
        "principals" | "notPrincipals" => "the caller",
        "namespaces" | "notNamespaces" => "the caller's namespace",
        "serviceAccounts" | "notServiceAccounts" => "the caller's service account",
        "ports" | "notPorts" => "the port",
        "methods" | "notMethods" => "the method",
        "query" | "notQuery" => "the query",
        // Hosts are always known.
        _ => "the path",
    }
}

/// By what kind of pattern the host was found.
pub(super) fn by(scope: Option<Scope>) -> &'static str {
    match scope {
        Some(Scope::Exact) => "exact host",
        Some(Scope::Under) => "wildcard",
        Some(Scope::Apex) => "apex",
        Some(Scope::Glob) => "glob",
        Some(Scope::Block(_)) => "block",
        None => "any host",
    }
}

fn field_json(miss: &FieldMiss) -> Value {
    json!({
        "condition": miss.field,
        "list": miss.list,
        "entry": miss.entry,
        "unknown": miss.is_unknown,
    })
}

fn headers_json(headers: &Headers) -> Value {
    headers.iter().map(|(name, value)| json!([shown(name), shown(value)])).collect()
}
