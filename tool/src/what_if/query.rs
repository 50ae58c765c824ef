//! Queries that are not in a record, and rules that ask for them.

use crate::policy_file::PolicyFile;
use egress_warden::policy::{Attempt, Miss, Policy, Request};
use egress_warden::time::Time;
use std::collections::{HashMap, HashSet};

/// The entries of `to` that ask for the query, by rule and entry.
#[derive(Debug)]
pub(super) struct Queries(HashSet<(usize, usize)>);

impl Queries {
    /// Those of a policy, which stands in this file.
    pub(super) fn of(file: &PolicyFile, policy: &Policy) -> Self {
        let rules = policy.rules().iter().enumerate();
        let numbers: HashMap<&str, usize> =
            rules.map(|(number, rule)| (&*rule.id, number)).collect();
        let source = file.source();
        let rules = source.iter().flat_map(|source| &source.rules);
        let entries = rules.flat_map(|rule| {
            let number = numbers.get(rule.id).copied();
            let entries = rule.to.iter().enumerate();
            entries.filter_map(move |(entry, it)| {
                let asks = it.query.is_some() || it.not_query.is_some();
                number.filter(|_| asks).map(|rule| (rule, entry))
            })
        });
        Self(entries.collect())
    }

    /// Whether a decision may depend on a query that was left out: a path that ends in `?` had one.
    pub(super) fn may_decide(&self, policy: &Policy, request: &Request<'_>) -> bool {
        if self.0.is_empty() || !request.path.is_some_and(|path| path.ends_with(b"?")) {
            return false;
        }
        // At first no rule has ended.
        let trace = policy.trace(&Request { now: Some(Time::EPOCH), ..request.clone() });
        trace.attempts.iter().any(|attempt| self.decides(attempt))
    }

    /// Whether nothing but the query tells whether a rule matches.
    fn decides(&self, attempt: &Attempt) -> bool {
        let asks = attempt.destination.is_some_and(|entry| self.0.contains(&(attempt.rule, entry)));
        asks && match &attempt.miss {
            None | Some(Miss::DialledHost) => true,
            Some(Miss::Fields(misses)) => {
                misses.iter().all(|miss| matches!(miss.field, "query" | "notQuery"))
            }
            Some(Miss::Ended | Miss::HostNotNamed | Miss::ConnectNotNamed) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Rows, WhatIf};
    use crate::logs;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    /// Allowed, denied and undecided of one request, with its query and without.
    fn judged(policy: &str, path: &str) -> [[u64; 3]; 2] {
        let line = json!({
            "start_time": "2026-11-25T03:00:00Z", "authority": "a.test", "method": "GET", "path": path,
            "response_code": 200, "source_principal": "spiffe://td/ns/shop/sa/cart",
        });
        let mut records = Vec::new();
        logs::read_bytes(format!("{line}\n").into(), &mut |logged| {
            records.extend([logged.record(), logged.record_without_query()]);
        });
        let judged = records.iter().map(|record| {
            let rows = format!("[[1,1795575600000,1795575600000,{record}]]");
            let read = Rows::read(&rows).expect(&rows);
            let mut what_if = WhatIf::new(None, &read, None).expect(&rows);
            let answer: Value = serde_json::from_str(&what_if.judge(policy)).expect("JSON");
            ["allowed", "denied", "undecided"].map(|key| answer[key].as_u64().expect(policy))
        });
        judged.collect::<Vec<_>>().try_into().expect("two records")
    }

    fn policy(rules: &[Value]) -> String {
        json!({"policy": "p", "default": "deny", "rules": rules}).to_string()
    }

    const DECIDED: [[u64; 3]; 2] = [[1, 0, 0]; 2];

    #[test]
    fn what_depends_on_a_query_that_is_left_out_is_undecided() {
        let fetch = json!({"id": "fetch", "action": "allow",
            "to": [{"hosts": ["a.test"], "query": {"service": ["git-upload-pack"]}}]});
        let fetching = "/repo?service=git-upload-pack";
        assert_eq!(judged(&policy(std::slice::from_ref(&fetch)), fetching), [[1, 0, 0], [0, 0, 1]]);
        assert_eq!(judged(&policy(std::slice::from_ref(&fetch)), "/repo"), [[0, 1, 0]; 2]);
        // Another condition of the rule, or another rule's host, decides whatever the query is.
        let mut post = fetch.clone();
        post["to"][0]["methods"] = json!(["POST"]);
        assert_eq!(judged(&policy(&[post]), fetching), [[0, 1, 0]; 2]);
        let mut elsewhere = fetch;
        elsewhere["to"][0]["hosts"] = json!(["b.test"]);
        let allow = json!({"id": "a", "action": "allow", "to": [{"hosts": ["a.test"]}]});
        assert_eq!(judged(&policy(&[elsewhere, allow]), fetching), DECIDED);
    }

    fn rule() -> impl Strategy<Value = Value> {
        let sample = |values: &[Value]| prop::sample::select(values.to_vec());
        let query = [
            json!(null),
            json!({"a": ["1"]}),
            json!({"a": ["*"]}),
            json!({"b": ["x*"], "a": ["1"]}),
        ];
        (
            sample(&[json!("allow"), json!("deny")]),
            sample(&[json!("a.test"), json!(".a.test"), json!("b.test")]),
            sample(&query),
            sample(&query),
            sample(&[json!(null), json!(["/v1/*"])]),
            sample(&[json!(null), json!("dry-run"), json!("retiring")]),
            sample(&[json!(null), json!("2026-01-01T00:00:00Z"), json!("2027-01-01T00:00:00Z")]),
        )
            .prop_map(|(action, host, query, not_query, paths, state, until)| {
                let mut to = json!({"hosts": [host],
                    "query": query, "notQuery": not_query, "paths": paths});
                to.as_object_mut().unwrap().retain(|_, value| !value.is_null());
                let mut rule =
                    json!({"action": action, "state": state, "until": until, "to": [to]});
                rule.as_object_mut().unwrap().retain(|_, value| !value.is_null());
                rule
            })
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn what_is_decided_without_a_query_is_decided_so_with_any(
            rules in prop::collection::vec(rule(), 1..4),
            query in prop::sample::select(vec!["", "a=1", "a=2", "b=xy&a=1", "a=1&a=1", "a=%zz", "b"]),
            path in prop::sample::select(vec!["/v1/x", "/"]),
        ) {
            let numbered = rules.iter().enumerate().map(|(number, rule)| {
                let mut rule = rule.clone();
                rule["id"] = format!("r{number}").into();
                rule
            });
            let policy = policy(&numbered.collect::<Vec<_>>());
            let [with, without] = judged(&policy, &format!("{path}?{query}"));
            prop_assert!(without == [0, 0, 1] || without == with, "{} {:?} {:?}", policy, with, without);
        }
    }
}
