//! Traces against the decisions that they explain.

use crate::for_all_bytes;
use arbitrary::Unstructured;
use egress_warden::config;
use egress_warden::policy::{Action, Attempt, Miss, Policy, Reason, Request, Trace, Verdict};
use kit::naive::comparison::facts;
use kit::naive::sample;
use serde_json::json;
use std::cell::RefCell;
use std::collections::BTreeSet;

#[test]
fn a_trace_leads_to_its_decision() {
    let misses = RefCell::new(BTreeSet::new());
    for_all_bytes(3_000, |bytes| {
        let mut bytes = Unstructured::new(bytes);
        let text = sample::policy(&mut bytes).expect("a policy");
        let policy = config::read(text.to_string().as_bytes()).expect("a policy").policy;
        for number in 0..12 {
            let request = match number {
                0..8 => sample::request(&mut bytes).expect("a request"),
                _ => sample::request_at_waypoint(&mut bytes).expect("a request"),
            };
            let trace = policy.trace(&facts(&request));
            let shown = format!("{text}\n{request:?}\n{trace:?}");
            assert_eq!(trace.decision, policy.decide(&facts(&request)), "{shown}");
            let (now, next) = (trace.decision.verdict, trace.decision.would);
            if text["mode"] == "monitor" {
                follow(&policy, &trace, next.unwrap_or(now), 1, &shown);
            } else {
                follow(&policy, &trace, now, 0, &shown);
                next.into_iter().for_each(|next| follow(&policy, &trace, next, 1, &shown));
            }
            misses.borrow_mut().extend(trace.attempts.iter().flat_map(words));
        }
    });
    let expected = [
        "connect",
        "dialled",
        "ended",
        "from",
        "host",
        "methods",
        "notHosts",
        "notMethods",
        "notNamespaces",
        "notPaths",
        "notPorts",
        "notPrincipals",
        "notQuery",
        "notServiceAccounts",
        "namespaces",
        "paths",
        "ports",
        "principals",
        "query",
        "serviceAccounts",
        "to",
    ];
    assert_eq!(misses.into_inner(), expected.into());
}

/// Rules that share a host are found through their callers, but why each did not match is told to
/// whoever asks.
#[test]
fn every_rule_for_a_host_is_told_of_whoever_calls() {
    let callers = ["principals", "namespaces"].map(|key| {
        (0..20).map(move |index| {
            let caller = match key {
                "principals" => format!("d/ns/n{index}/sa/*"),
                _ => format!("n{index}"),
            };
            json!({
                "id": format!("{key}-{index:02}"), "action": "allow",
                "from": [{ key: [caller] }], "to": [{ "hosts": ["a.test"] }],
            })
        })
    });
    let rules: Vec<_> = callers.into_iter().flatten().collect();
    let text = json!({ "policy": "crowd", "rules": rules }).to_string();
    let policy = config::read(text.as_bytes()).expect("a policy").policy;
    for (principal, matching) in [(None, 0), (Some("d/ns/n7/sa/a"), 2), (Some("d/ns/x/sa/a"), 0)] {
        let request = Request { principal, ..Request::new(b"a.test", b"GET") };
        let attempts = policy.trace(&request).attempts;
        let ids: Vec<_> = attempts.iter().map(|it| &policy.rules()[it.rule].id).collect();
        assert!(ids.len() == 40 && ids.is_sorted(), "{principal:?}: {ids:?}");
        let matches = attempts.iter().filter(|attempt| attempt.miss.is_none()).count();
        assert_eq!(matches, matching, "{principal:?}");
    }
}

/// Reads a verdict off the candidates, as the language's definition puts it.
fn follow(policy: &Policy, trace: &Trace, verdict: Verdict, view: usize, shown: &str) {
    let first = |action, has_ended| {
        let matches = |candidate: &&Attempt| {
            candidate.miss.is_none()
                && candidate.counts[view]
                && candidate.has_ended == has_ended
                && policy.rules()[candidate.rule].action == action
        };
        let matching = || trace.attempts.iter().filter(matches);
        let certain = matching().find(|candidate| !candidate.rests_on_unknown);
        certain.or_else(|| matching().next())
    };
    let deny = first(Action::Deny, false);
    let is_certain = deny.is_some_and(|candidate| !candidate.rests_on_unknown);
    let first = |action, has_ended| first(action, has_ended).map(|candidate| candidate.rule);
    let (deny, allow) = (first(Action::Deny, false), first(Action::Allow, false));
    match verdict.reason {
        Reason::Rule if verdict.action == Action::Deny => {
            assert_eq!((verdict.rule, true), (deny, is_certain), "{shown}");
        }
        Reason::Unknown => assert_eq!((verdict.rule, false), (deny, is_certain), "{shown}"),
        Reason::Rule => assert_eq!((None, verdict.rule), (deny, allow), "{shown}"),
        reason => {
            assert_eq!((None, None), (deny, allow), "{shown}");
            if reason == Reason::Expired {
                assert_eq!(verdict.rule, first(Action::Allow, true), "{shown}");
            }
            if matches!(reason, Reason::Malformed | Reason::Identity | Reason::Sni) {
                assert!(trace.attempts.is_empty(), "{shown}");
            }
        }
    }
}

fn words(candidate: &Attempt) -> Vec<&'static str> {
    match &candidate.miss {
        None => Vec::new(),
        Some(Miss::Ended) => vec!["ended"],
        Some(Miss::HostNotNamed) => vec!["host"],
        Some(Miss::ConnectNotNamed) => vec!["connect"],
        Some(Miss::DialledHost) => vec!["dialled"],
        Some(Miss::Fields(misses)) => {
            assert!(!misses.is_empty(), "{candidate:?}");
            misses.iter().flat_map(|miss| [miss.list, miss.field]).collect()
        }
    }
}
