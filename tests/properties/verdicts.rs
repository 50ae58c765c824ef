//! Verdicts against the naive matcher.

use crate::for_all_bytes;
use arbitrary::Unstructured;
use egress_warden::host::ServerNameForm;
use egress_warden::place::Place;
use egress_warden::policy::{ClusterPort, judged_method};
use egress_warden::root_id::Connections;
use egress_warden::time::Time;
use egress_warden_simulate::case::CaseFile;
use egress_warden_simulate::{Connection, Request, Subject};
use kit::case::{at, files};
use kit::naive;
use kit::naive::comparison::{compare, compare_decision, compare_hosts, compare_path};
use kit::naive::sample;
use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;

#[test]
fn the_naive_matcher_agrees_on_every_verdict_and_every_reason_comes_up() {
    let seen = RefCell::new(BTreeSet::new());
    for_all_bytes(3_000, |bytes| {
        for (verdict, would) in compare(bytes) {
            for (kind, verdict) in [("is", Some(verdict)), ("would be", would)] {
                if let Some((allows, reason, _)) = verdict {
                    let action = if allows { "allow" } else { "deny" };
                    seen.borrow_mut().insert(format!("{kind} {action} {reason}"));
                }
            }
        }
    });
    let expected = [
        "is allow default",
        "is allow monitor",
        "is allow rule",
        "is deny connect",
        "is deny default",
        "is deny destination",
        "is deny expired",
        "is deny forbidden_address",
        "is deny identity",
        "is deny ip_literal",
        "is deny malformed",
        "is deny rule",
        "is deny sni",
        "is deny unknown",
        "would be allow default",
        "would be allow rule",
        "would be deny connect",
        "would be deny default",
        "would be deny destination",
        "would be deny expired",
        "would be deny forbidden_address",
        "would be deny identity",
        "would be deny ip_literal",
        "would be deny malformed",
        "would be deny rule",
        "would be deny sni",
        "would be deny unknown",
    ];
    assert_eq!(seen.into_inner(), expected.map(str::to_owned).into());
}

#[test]
fn the_naive_matcher_agrees_on_every_path() {
    for_all_bytes(1_000, |bytes| {
        compare_path(&sample::path(&mut Unstructured::new(bytes)).expect("a path"));
    });
}

#[test]
fn the_naive_matcher_agrees_on_every_host() {
    let matched = Cell::new(0);
    for_all_bytes(2_000, |bytes| matched.set(matched.get() + compare_hosts(bytes)));
    // Else little was said of what matches.
    assert!(matched.get() > 2_000, "{}", matched.get());
}

/// The cases reach what the small alphabet does not.
#[test]
fn the_naive_matcher_agrees_on_every_case() {
    let mut compared = 0;
    for file in files::read("tests/cases") {
        let cases: CaseFile = serde_saphyr::from_str(&file.text).expect("a case file");
        for (policy, _) in cases.policies() {
            let judged = cases.connections().expect("a root id").expect("one for connections");
            for subject in cases.subjects() {
                let facts = match &subject {
                    Subject::Request(request) => facts(request),
                    Subject::Connection(connection) => connection_facts(connection, judged),
                };
                compare_decision(&policy, &facts);
                compared += 1;
            }
        }
    }
    assert!(compared > 1_000, "{compared}");
}

/// What the filter gathers of a request.
fn facts(request: &Request) -> naive::Request {
    let headers = request.header_pairs();
    let header = |wanted: &str| {
        let mut values = headers.iter().filter(|(name, _)| name == wanted.as_bytes());
        values.next().map(|(_, value)| value.clone())
    };
    let protocols = headers.iter().filter(|(name, _)| name == b"upgrade" || name == b":protocol");
    let method = header(":method").unwrap_or_default();
    let peer = request.peer_uri();
    let principal = peer.as_deref().and_then(|uri| uri.strip_prefix(b"spiffe://"));
    let is_tls = request.tls || peer.is_some();
    let is_at_waypoint = request.place() == Place::Waypoint;
    naive::Request {
        waypoint_cluster: request.cluster().filter(|_| is_at_waypoint).map(String::into_bytes),
        authority: header(":authority").unwrap_or_default(),
        method: judged_method(&method, protocols.map(|(_, value)| &value[..])).to_vec(),
        path: header(":path"),
        cluster_port: request.cluster().and_then(|name| match ClusterPort::of(name.as_bytes()) {
            ClusterPort::Said(port) => Some(port),
            ClusterPort::Unsaid | ClusterPort::Unknown => None,
        }),
        principal: principal
            .filter(|it| !(it.is_empty() || is_at_waypoint && it.contains(&b',')))
            .and_then(|it| String::from_utf8(it.to_vec()).ok()),
        server_name: is_tls
            .then(|| request.sni.as_ref().map(|sni| sni.0.clone()).unwrap_or_default()),
        now: request.clock(at()).and_then(Time::nanoseconds),
        ..naive::Request::default()
    }
}

/// What the filter gathers of one of these connections.
fn connection_facts(connection: &Connection, judged: Connections) -> naive::Request {
    let peer = connection.peer_uri();
    let principal = peer.as_deref().and_then(|uri| uri.strip_prefix(b"spiffe://"));
    let chain = connection.chain().map(String::into_bytes);
    let is_at_waypoint = chain.is_some();
    naive::Request {
        waypoint_cluster: chain,
        authority: connection.sni.as_ref().map(|sni| sni.0.clone()).unwrap_or_default(),
        cluster_port: Some(judged.port),
        is_connection: true,
        is_mesh_form: judged.server_names == ServerNameForm::Mesh,
        principal: principal
            .filter(|it| !(it.is_empty() || is_at_waypoint && it.contains(&b',')))
            .and_then(|it| String::from_utf8(it.to_vec()).ok()),
        now: connection.clock(at()).and_then(Time::nanoseconds),
        ..naive::Request::default()
    }
}
