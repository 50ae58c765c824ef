//! The naive matcher and the filter's own, side by side.

use super::{Policy, Request, Verdict, decide, host, registry, sample};
use arbitrary::Unstructured;
use egress_warden::config;
use egress_warden::host::{Authority, Host, ServerNameForm, is_forbidden};
use egress_warden::policy::{self, ClusterPort};
use egress_warden::root_id::Connections;
use egress_warden::time::Time;
use std::net::IpAddr;

/// Makes a policy, eight requests, four connections, and some of both at a waypoint, of bytes, decides them in both ways, and panics where they
/// differ; else the verdicts, for statistics.
pub fn compare(bytes: &[u8]) -> Vec<(Verdict, Option<Verdict>)> {
    let mut bytes = Unstructured::new(bytes);
    // Bytes that have run out read as zeros, so that any are enough.
    let text = sample::policy(&mut bytes).expect("a policy").to_string();
    let config = config::read(text.as_bytes()).unwrap_or_else(|errors| panic!("{text}\n{errors}"));
    let naive: Policy = serde_json::from_str(&text).expect("a policy");
    let requests = (0..8).map(|_| sample::request(&mut bytes).expect("a request"));
    let mut requests: Vec<_> = requests.collect();
    requests.extend((0..4).map(|_| sample::connection(&mut bytes).expect("a connection")));
    let at_waypoint = (0..4).map(|_| sample::request_at_waypoint(&mut bytes).expect("a request"));
    requests.extend(at_waypoint);
    let at_waypoint = (0..2).map(|_| sample::connection_at_waypoint(&mut bytes).expect("one"));
    requests.extend(at_waypoint);
    requests
        .into_iter()
        .map(|request| compare_one(&text, &config.policy, &naive, &request))
        .collect()
}

/// The same with policies of host patterns alone, and names: how a rule is found by its hosts.
pub fn compare_hosts(bytes: &[u8]) -> usize {
    let mut bytes = Unstructured::new(bytes);
    let text = sample::policy_of_hosts(&mut bytes).expect("a policy").to_string();
    let config = config::read(text.as_bytes()).unwrap_or_else(|errors| panic!("{text}\n{errors}"));
    let naive: Policy = serde_json::from_str(&text).expect("a policy");
    let verdicts = (0..16).map(|_| {
        let request = Request {
            authority: sample::name(&mut bytes).expect("a name").into_bytes(),
            method: b"GET".to_vec(),
            ..Request::default()
        };
        compare_one(&text, &config.policy, &naive, &request)
    });
    verdicts.filter(|((_, _, rule), _)| rule.is_some()).count()
}

/// Decides one request in both ways; panics where they differ.
pub fn compare_decision(text: &str, request: &Request) {
    let config = config::read(text.as_bytes()).unwrap_or_else(|errors| panic!("{text}\n{errors}"));
    let naive: Policy = serde_json::from_str(text).expect("a policy");
    compare_one(text, &config.policy, &naive, request);
}

fn compare_one(
    text: &str,
    policy: &policy::Policy,
    naive: &Policy,
    request: &Request,
) -> (Verdict, Option<Verdict>) {
    let decision = policy.decide(&facts(request));
    let in_words = |verdict: policy::Verdict| {
        let rule = verdict.rule.map(|index| policy.rules()[index].id.to_string());
        (verdict.action == policy::Action::Allow, verdict.reason.as_str(), rule)
    };
    let decided = (in_words(decision.verdict), decision.would.map(in_words));
    let expected = decide(naive, request);
    assert_eq!(
        decided,
        expected,
        "left: the filter, right: the naive matcher\n{text}\n{} {} {request:?}",
        request.method.escape_ascii(),
        request.authority.escape_ascii(),
    );
    expected
}

/// The request as the filter's own matcher takes it.
pub fn facts(request: &Request) -> policy::Request<'_> {
    if let (true, Some(chain)) = (request.is_connection, &request.waypoint_cluster) {
        return policy::Request {
            principal: request.principal.as_deref(),
            now: request.now.map(Time::of_nanoseconds),
            ..policy::Request::connection_to_cluster(&request.authority, chain)
        };
    }
    if let (true, Some(port)) = (request.is_connection, request.cluster_port) {
        let connections = Connections { port, server_names: form(request.is_mesh_form) };
        return policy::Request {
            principal: request.principal.as_deref(),
            now: request.now.map(Time::of_nanoseconds),
            ..policy::Request::connection(&request.authority, connections)
        };
    }
    if let Some(cluster) = &request.waypoint_cluster {
        let mut facts = policy::Request {
            path: request.path.as_deref(),
            principal: request.principal.as_deref(),
            now: request.now.map(Time::of_nanoseconds),
            ..policy::Request::new(&request.authority, &request.method)
        };
        facts.send_to_cluster(cluster);
        return facts;
    }
    policy::Request {
        path: request.path.as_deref(),
        cluster_port: request.cluster_port.map_or(ClusterPort::Unsaid, ClusterPort::Said),
        principal: request.principal.as_deref(),
        server_name: request.server_name.as_deref(),
        now: request.now.map(Time::of_nanoseconds),
        ..policy::Request::new(&request.authority, &request.method)
    }
}

/// Reads an authority in both ways; panics where they differ, or where its canonical form is
/// another host.
pub fn compare_authority(bytes: &[u8]) -> Option<(host::Host, Option<u16>)> {
    let naive = host::authority(bytes);
    let read = Authority::parse(bytes);
    let shown = bytes.escape_ascii();
    assert_eq!(read.as_ref().ok().map(in_naive_form), naive, "{shown}");
    if let Ok(authority) = &read {
        let canonical = authority.host.canonical();
        assert_eq!(Host::parse(canonical.as_bytes()).as_ref(), Ok(&authority.host), "{shown}");
        if let (Host::Address(address), Some((host::Host::Address(bits), _))) =
            (&authority.host, &naive)
        {
            assert_eq!(is_forbidden(*address), registry::is_forbidden(*bits), "{shown}");
        }
    }
    naive
}

/// Reads a TLS server name of each form in both ways; panics where they differ, or where what is
/// judged is not what a proxy goes by: the bytes themselves, of which no two forms are one.
pub fn compare_server_name(bytes: &[u8]) {
    let shown = bytes.escape_ascii();
    let [as_name, as_mesh_form] = [false, true].map(|is_mesh_form| {
        let read = Authority::of_server_name(bytes, form(is_mesh_form));
        let naive = host::server_name(bytes, is_mesh_form);
        assert_eq!(read.as_ref().ok().map(in_naive_form), naive, "{is_mesh_form}, {shown}");
        read.ok().map(|authority| authority.host.canonical().into_owned())
    });
    if let Some(name) = &as_name {
        assert_eq!(name.as_bytes(), bytes, "{shown}");
    }
    if let Some(name) = &as_mesh_form {
        assert!(bytes.ends_with(name.as_bytes()) && bytes.starts_with(b"outbound_."), "{shown}");
    }
    assert!(as_name.is_none() || as_mesh_form.is_none(), "{shown}");
}

fn form(is_mesh_form: bool) -> ServerNameForm {
    match is_mesh_form {
        true => ServerNameForm::Mesh,
        false => ServerNameForm::Host,
    }
}

fn in_naive_form(authority: &Authority<'_>) -> (host::Host, Option<u16>) {
    let host = match &authority.host {
        Host::Name(name) => host::Host::Name(name.as_str().to_owned()),
        Host::Address(IpAddr::V4(v4)) => host::Host::Address(v4.to_ipv6_mapped().to_bits()),
        Host::Address(IpAddr::V6(v6)) => host::Host::Address(v6.to_bits()),
    };
    (host, authority.port)
}

/// Judges a path by conditions on paths and queries in both ways.
pub fn compare_path(path: &[u8]) {
    thread_local! {
        static POLICIES: Vec<(String, policy::Policy, Policy)> = sample::path_policies()
            .map(|text| {
                let text = text.to_string();
                let config = config::read(text.as_bytes()).expect("a policy");
                let naive = serde_json::from_str(&text).expect("a policy");
                (text, config.policy, naive)
            })
            .collect();
    }
    let request = Request {
        authority: b"a.test".to_vec(),
        method: b"GET".to_vec(),
        path: Some(path.to_vec()),
        ..Request::default()
    };
    POLICIES.with(|policies| {
        for (text, policy, naive) in policies {
            compare_one(text, policy, naive, &request);
        }
    });
}
