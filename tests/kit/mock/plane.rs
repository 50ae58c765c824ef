//! The mock host as a place where cases run.

use super::{Guest, Headers, Level, LocalReply, Root, Worker};
use crate::case::plane::Plane;
use egress_warden::place::Place;
use egress_warden::time::Time;
use egress_warden_simulate::{Answer, Outcome, Subject};
use std::cell::OnceCell;

/// What stands beside the record in the filter state, for the guard.
const CLUSTER: &str = "egress_cluster";

/// A node id as a waypoint of Istio has it.
const WAYPOINT: &str = "waypoint~10.0.0.9~waypoint-7d4f.egress~egress.svc.cluster.local";

/// Policies are roots of this worker, which stands at gateways and waypoints in turn.
pub struct InHost<'w, G>(pub &'w mut Worker<G>);

/// A policy that was accepted.
pub struct Loaded {
    root_id: String,
    text: String,
    root: Root,
    at_waypoint: OnceCell<Root>,
}

impl<G: Guest> Plane for InHost<'_, G> {
    type Policy = Loaded;

    fn load(&mut self, root_id: &str, text: &str) -> Result<Loaded, Vec<String>> {
        let root = self.0.configure_as(root_id, text);
        let errors = || self.0.lines().into_iter().map(|line| line.text).collect();
        let policy = Loaded {
            root_id: root_id.to_owned(),
            text: text.to_owned(),
            root,
            at_waypoint: OnceCell::new(),
        };
        root.accepted.then_some(policy).ok_or_else(errors)
    }

    fn send(&mut self, policy: &Loaded, subject: &Subject) -> Outcome {
        let at = crate::case::at();
        let worker = &mut *self.0;
        let root = match subject.place() {
            Place::Gateway => &policy.root,
            Place::Waypoint => policy.at_waypoint.get_or_init(|| {
                worker.set_node_id(Some(WAYPOINT));
                let root = worker.configure_as(&policy.root_id, &policy.text);
                worker.set_node_id(None);
                assert!(root.accepted, "accepted at a gateway and not at a waypoint");
                root
            }),
        };
        worker.set_clock(subject.clock(at).and_then(Time::nanoseconds));
        let arrived = subject.header_pairs();
        let before = worker.counters();
        let properties = subject.properties(at).into_iter();
        let outcome = match subject {
            Subject::Request(_) => {
                let headers = arrived.iter().map(|(name, value)| (&name[..], &value[..]));
                let sent = properties.fold(super::Request::new(headers), |sent, (path, value)| {
                    sent.property(path, value)
                });
                worker.send(*root, sent)
            }
            Subject::Connection(_) => {
                let made = super::Connection::default();
                let made = properties.fold(made, |made, (path, value)| made.property(path, value));
                worker.connect(*root, made)
            }
        };
        let grown = worker.counters().into_iter().filter_map(|(name, value)| {
            let growth = value - before.get(&name).copied().unwrap_or_default();
            (growth > 0).then_some((name, growth))
        });
        let (clusters, filter_state): (Vec<_>, Vec<_>) =
            outcome.filter_state.into_iter().partition(|(key, _)| key == CLUSTER);
        Outcome {
            passed: outcome.passed,
            prefix: subject.record_prefix(),
            arrived,
            headers: pairs(&outcome.headers).collect(),
            filter_state,
            clusters: clusters.into_iter().map(|(_, cluster)| cluster).collect(),
            answers: outcome.replies.into_iter().map(answer).collect(),
            closings: outcome.closings,
            counters: grown.collect(),
            lines: outcome.lines.into_iter().map(|line| (level(line.level), line.text)).collect(),
        }
    }
}

fn answer(reply: LocalReply) -> Answer {
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("the filter's own headers");
    Answer {
        status: u16::try_from(reply.status).expect("a status has three digits"),
        details: reply.details,
        headers: pairs(&reply.headers).map(|(name, value)| (text(name), text(value))).collect(),
        body: reply.body,
        grpc_status: reply.grpc_status,
    }
}

fn pairs(headers: &Headers) -> impl Iterator<Item = (Vec<u8>, Vec<u8>)> {
    headers.iter().map(|(name, value)| (name.to_vec(), value.to_vec()))
}

fn level(level: Level) -> log::Level {
    match level {
        Level::Trace => log::Level::Trace,
        Level::Debug => log::Level::Debug,
        Level::Info => log::Level::Info,
        Level::Warn => log::Level::Warn,
        Level::Error | Level::Critical => log::Level::Error,
    }
}
