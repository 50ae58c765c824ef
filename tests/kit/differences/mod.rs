//! What `diff` answers about two policies, held against what they decide.
//!
//! Its answer is read as its user reads it: by its labels. What a label stands for is written here
//! once more, from the definition (`egress-warden diff --help`) and from nothing under `src/`. A
//! request that the policies decide otherwise must be in one change, of its kind and with its verdicts;
//! any other request in none.

pub mod labels;
pub mod sample;

use egress_warden::config::{self, Config};
use egress_warden::host::{Authority, Host};
use egress_warden::policy::{self, Action, ClusterPort, Dialled, Policy, Verdict};
use egress_warden::time::Time;
use labels::Known;
use serde_json::{Value, json};

/// The time that comparisons begin at, and the same in nanoseconds since the Unix epoch.
pub const AT: &str = "2026-06-01T00:00:00Z";
pub const AT_NANOSECONDS: u64 = 1_780_272_000_000_000_000;

/// A request with a well-formed authority, or a connection, which has no method.
#[derive(Clone, Debug)]
pub struct Request {
    /// In canonical form.
    pub host: String,
    pub port: Option<u16>,
    pub cluster_port: Option<u16>,
    pub method: Option<String>,
    pub path: Option<String>,
    pub principal: Option<String>,
    pub server_name: Option<String>,
    pub now: u64,
}

impl Request {
    /// A CONNECT whose authority has no port is malformed.
    pub fn is_malformed(&self) -> bool {
        let is_connect = |method: &String| method.eq_ignore_ascii_case("CONNECT");
        self.method.as_ref().is_some_and(is_connect) && self.port.is_none()
    }

    /// A connection to an address is malformed.
    pub fn is_to_a_name(&self) -> bool {
        matches!(Host::parse(self.host.as_bytes()), Ok(Host::Name(_)))
    }

    /// What the filter gathers of it.
    pub fn facts(&self) -> policy::Request<'_> {
        policy::Request {
            authority: Ok(Authority {
                host: Host::parse(self.host.as_bytes()).expect("a host"),
                port: self.port,
            }),
            method: self.method.as_ref().map(String::as_bytes),
            path: self.path.as_ref().map(String::as_bytes),
            cluster_port: self.cluster_port.map_or(ClusterPort::Unsaid, ClusterPort::Said),
            dialled: Dialled::Named,
            principal: self.principal.as_deref(),
            server_name: self.server_name.as_ref().map(String::as_bytes),
            now: Some(Time::of_nanoseconds(self.now)),
        }
    }
}

/// Two policies, read once.
pub struct Pair {
    pub texts: [String; 2],
    configs: [Config; 2],
    known: Known,
}

impl Pair {
    /// `None` where one of them is no policy.
    pub fn read(old: &Value, new: &Value) -> Option<Self> {
        let texts = [old, new].map(Value::to_string);
        let [Ok(old_config), Ok(new_config)] =
            texts.each_ref().map(|text| config::read(text.as_bytes()))
        else {
            return None;
        };
        Some(Self { texts, configs: [old_config, new_config], known: Known::of(&[old, new]) })
    }

    /// Panics where the answer is wrong about the request; says whether its verdict changes.
    pub fn check(&self, answer: &Value, request: &Request) -> bool {
        let difference = self.difference(request);
        let group = self.known.group(&request.host);
        let host = group.host_label();
        let undecided = answer["undecided"].as_array().expect("a list").iter();
        if undecided.flat_map(|it| labels::texts(&it["hosts"])).any(|label| label == host) {
            return false;
        }
        let changes = answer["changes"].as_array().expect("a list").iter();
        let told: Vec<Value> = changes
            .filter(|change| group.is_in(change, request, AT_NANOSECONDS))
            .map(|change| json!([change["kind"], change["old"], change["new"]]))
            .collect();
        let expected: Vec<Value> = difference.into_iter().collect();
        assert_eq!(
            told, expected,
            "left: what the answer says, right: what the policies decide\n{}\n{}\n{request:?}\n{answer:#}",
            self.texts[0], self.texts[1]
        );
        !expected.is_empty()
    }

    /// Kind, old and new verdict.
    pub fn difference(&self, request: &Request) -> Option<Value> {
        let facts = request.facts();
        let [old, new] = self.configs.each_ref().map(|config| config.policy.decide(&facts));
        let [before, after] = [old.verdict, new.verdict];
        let [would, will] = [old.would.unwrap_or(before), new.would.unwrap_or(after)];
        let told = |kind: &str, before, after| {
            let [old, new] = self.configs.each_ref().map(|config| &config.policy);
            Some(json!([kind, in_words(before, old), in_words(after, new)]))
        };
        let same =
            in_words(before, &self.configs[0].policy) == in_words(after, &self.configs[1].policy);
        match (before.action, after.action) {
            (Action::Deny, Action::Allow) => told("opens", before, after),
            (Action::Allow, Action::Deny) => told("closes", before, after),
            _ if would.action != will.action => told("announces", would, will),
            _ if !same => told("renames", before, after),
            _ => None,
        }
    }
}

fn in_words(verdict: Verdict, policy: &Policy) -> Value {
    let mut words =
        json!({ "decision": verdict.action.as_str(), "reason": verdict.reason.as_str() });
    if let Some(rule) = verdict.rule {
        words["rule"] = policy.rules()[rule].id.to_string().into();
    }
    words
}
