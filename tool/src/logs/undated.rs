//! Requests whose time is not known exactly, and policies with rules that end.

use egress_warden::policy::{Decision, Policy, Request};
use egress_warden::time::Time;

/// Decides a logged request. `None` if the decision depends on the time, and the request has none: the
/// filter, without a clock, would take every allow rule with `until` for ended.
pub(crate) fn decide(policy: &Policy, request: &Request<'_>) -> Option<Decision> {
    if request.now.is_some() || !policy.reads().clock {
        return Some(policy.decide(request));
    }
    // At first no rule has ended.
    decide_from(policy, request, Time::EPOCH, |_| true)
}

/// Decides requests that differ in nothing but their time.
#[derive(Debug)]
pub(crate) struct Decider<'p> {
    policy: &'p Policy,
    /// When rules of the policy end, the first one first.
    ends: Vec<Time>,
}

impl<'p> Decider<'p> {
    pub(crate) fn new(policy: &'p Policy) -> Self {
        let mut ends: Vec<Time> = policy.rules().iter().filter_map(|rule| rule.until).collect();
        ends.sort_unstable();
        ends.dedup();
        Self { policy, ends }
    }

    /// Decides requests of which the first came when this one says, or at no known time, and the last at
    /// this time. `None` if the decision depends on which of them it was.
    pub(crate) fn decide(&self, request: &Request<'_>, last: Option<Time>) -> Option<Decision> {
        let (Some(first), Some(last)) = (request.now, last) else {
            return decide(self.policy, request);
        };
        // A rule counts up to its end, and not at it.
        let next = self.ends.partition_point(|end| *end <= first);
        match self.ends.get(next) {
            Some(end) if *end <= last => {
                decide_from(self.policy, request, first, |end| end <= last)
            }
            _ => Some(self.policy.decide(request)),
        }
    }
}

/// Decides a request from a time on, up to which some ends come. From then on the decision can change
/// only when a rule ends that matches.
fn decide_from(
    policy: &Policy,
    request: &Request<'_>,
    from: Time,
    comes: impl Fn(Time) -> bool,
) -> Option<Decision> {
    let at = |now| Request { now: Some(now), ..request.clone() };
    let first = policy.trace(&at(from));
    let matching = first.attempts.iter().filter(|attempt| attempt.miss.is_none());
    let mut ends = matching
        .filter_map(|attempt| policy.rules().get(attempt.rule)?.until)
        .filter(|end| *end > from && comes(*end));
    ends.all(|end| policy.decide(&at(end)) == first.decision).then_some(first.decision)
}

#[cfg(test)]
mod tests {
    use super::*;
    use egress_warden::config;
    use egress_warden::policy::ClusterPort;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    fn decided(rules: &str, host: &str, now: Option<Time>) -> Option<Decision> {
        let text = format!(r#"{{"policy":"p","rules":[{rules}]}}"#);
        let policy = config::read(text.as_bytes()).expect(rules).policy;
        let request = Request {
            now,
            cluster_port: ClusterPort::Said(443),
            ..Request::new(host.as_bytes(), b"GET")
        };
        decide(&policy, &request)
    }

    const ALLOW: &str =
        r#"{"id":"a","action":"allow","until":"2027-01-31T00:00:00Z","to":[{"hosts":["a.test"]}]}"#;
    const DENY: &str =
        r#"{"id":"d","action":"deny","until":"2027-03-31T00:00:00Z","to":[{"hosts":["a.test"]}]}"#;
    const ALWAYS: &str = r#"{"id":"z","action":"deny","to":[{"hosts":["b.test"]}]}"#;

    #[test]
    fn what_depends_on_the_time_is_not_decided_without_one() {
        for rules in [ALLOW.to_owned(), DENY.to_owned(), format!("{ALLOW},{DENY},{ALWAYS}")] {
            assert_eq!(decided(&rules, "a.test", None), None, "{rules}");
            assert!(decided(&rules, "a.test", Some(Time::EPOCH)).is_some(), "{rules}");
            assert!(decided(&rules, "b.test", None).is_some(), "{rules}");
        }
        assert!(decided(ALWAYS, "a.test", None).is_some());
        // The would-be decision alone depends on it.
        let announced = ALLOW.replace(r#""until""#, r#""state":"dry-run","until""#);
        assert_eq!(decided(&announced, "a.test", None), None);
        // The same first and last, and between the ends of both another.
        let refused = DENY.replace(r#""until":"2027-03"#, r#""state":"dry-run","until":"2026-12"#);
        assert_eq!(decided(&format!("{announced},{refused}"), "a.test", None), None);
    }

    /// A rule without its id, which may end, and may be a dry run or retiring.
    fn rule() -> impl Strategy<Value = Value> {
        let action = prop::sample::select(vec!["allow", "deny"]);
        let state = prop::option::of(prop::sample::select(vec!["dry-run", "retiring"]));
        let host = prop::sample::select(vec!["a.site.test", "*.site.test", "b.site.test"]);
        (action, prop::option::of(0..8), state, host).prop_map(|(action, year, state, host)| {
            let mut rule = json!({"action": action, "to": [{"hosts": [host]}]});
            if let Some(year) = year {
                rule["until"] = format!("203{year}-01-01T00:00:00Z").into();
            }
            if let Some(state) = state {
                rule["state"] = state.into();
            }
            rule
        })
    }

    fn numbered(rules: &[Value]) -> String {
        let numbered = rules.iter().enumerate().map(|(number, rule)| {
            let mut rule = rule.clone();
            rule["id"] = format!("r{number}").into();
            rule.to_string()
        });
        numbered.collect::<Vec<_>>().join(",")
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn what_is_decided_without_a_time_is_decided_so_at_any(
            rules in prop::collection::vec(rule(), 1..6),
        ) {
            let rules = numbered(&rules);
            if let Some(decision) = decided(&rules, "a.site.test", None) {
                for year in 2029..2040 {
                    let now: Time = format!("{year}-06-01T00:00:00Z").parse().expect("a time");
                    let then = decided(&rules, "a.site.test", Some(now));
                    prop_assert_eq!(then, Some(decision), "{} {}", year, rules);
                }
            }
        }

        #[test]
        fn what_is_decided_between_two_times_is_decided_so_at_each_and_all_else_is_open(
            rules in prop::collection::vec(rule(), 1..6),
            (first, later) in (2029..2039, 0..6),
        ) {
            let policy = format!(r#"{{"policy":"p","rules":[{}]}}"#, numbered(&rules));
            let policy = config::read(policy.as_bytes()).expect("a policy").policy;
            let request = Request {
                cluster_port: ClusterPort::Said(443),
                ..Request::new(b"a.site.test", b"GET")
            };
            // The second before a year's end, its end, and the last nanosecond before it: where rules end.
            let second = |year: i32| -> Time {
                format!("{year}-12-31T23:59:59Z").parse().expect("a time")
            };
            let (from, to) = (second(first), second(first + later));
            let end = |year: i32| -> Time {
                format!("{year}-01-01T00:00:00Z").parse().expect("a time")
            };
            for to in [to, end(first + later + 1)] {
                let ends = (first + 1..=first + later + 1).map(end).filter(|end| *end <= to);
                let mut at = ends.chain([from, to]).map(|now| {
                    policy.decide(&Request { now: Some(now), ..request.clone() })
                });
                let one = at.next().filter(|one| at.all(|other| other == *one));
                let first = Request { now: Some(from), ..request.clone() };
                let decided = Decider::new(&policy).decide(&first, Some(to));
                prop_assert_eq!(decided, one, "{:?} to {:?}: {:?}", from, to, policy);
            }
            let without = Decider::new(&policy).decide(&request, None);
            prop_assert_eq!(without, decide(&policy, &request));
        }
    }
}
