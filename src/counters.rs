//! The names of counters. Envoy never frees a counter, so no host, path or caller is in a name.

use crate::policy::{Action, Decision, Policy, Verdict};

/// Rules that have a counter of their own; the others share one.
const COUNTED_RULES: usize = 1000;

/// Which rules have a counter of their own.
#[derive(Debug)]
pub struct Counters {
    /// By the rule's index in the policy.
    is_counted: Vec<bool>,
}

impl Counters {
    /// The first 1,000 rules by id have their own.
    pub fn new(policy: &Policy) -> Self {
        let rules = policy.rules();
        let mut by_id: Vec<usize> = (0..rules.len()).collect();
        by_id.sort_unstable_by_key(|&index| rules.get(index).map(|rule| &rule.id));
        let mut is_counted = vec![false; rules.len()];
        for index in by_id.into_iter().take(COUNTED_RULES) {
            if let Some(counted) = is_counted.get_mut(index) {
                *counted = true;
            }
        }
        Self { is_counted }
    }

    /// The counters that one decision adds one to.
    pub fn of(&self, decision: &Decision, policy: &Policy) -> impl Iterator<Item = String> {
        let Decision { verdict, would } = decision;
        let action = verdict.action.as_str();
        let requests = format!("egress_warden.requests.{action}.{}", verdict.reason.as_str());
        let would =
            would.map(|would: Verdict| format!("egress_warden.would.{}", would.action.as_str()));
        let rule = verdict.rule.map(|index| {
            let own = policy.rules().get(index).filter(|_| self.has_own(index));
            let id = own.map_or("_other", |rule| &rule.id);
            format!("egress_warden.rule.{id}.{}", Action::as_str(verdict.action))
        });
        [Some(requests), would, rule].into_iter().flatten()
    }

    fn has_own(&self, rule: usize) -> bool {
        self.is_counted.get(rule).copied().unwrap_or(false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;
    use crate::policy::Request;
    use wasm_bindgen_test::wasm_bindgen_test;

    /// The counters of a request to a host, under a policy with one allow rule for each index.
    fn counters_of(rules: usize, host: &str) -> Vec<String> {
        let rule = |index: usize| {
            let hosts = [format!("h{index}.test")];
            // Ids descend, so that the order of the text is not that of the ids.
            let id = format!("r{:05}", rules - index);
            serde_json::json!({ "id": id, "action": "allow", "to": [{ "hosts": hosts }] })
        };
        let rules: Vec<_> = (0..rules).map(rule).collect();
        let text = serde_json::json!({ "policy": "p", "rules": rules }).to_string();
        let policy = config::read(text.as_bytes()).unwrap().policy;
        let request = Request::new(host.as_bytes(), b"GET");
        Counters::new(&policy).of(&policy.decide(&request), &policy).collect()
    }

    #[wasm_bindgen_test(unsupported = test)]
    fn the_first_thousand_rules_by_id_have_their_own_counter() {
        for (host, id) in [("h1000.test", "r00001"), ("h1.test", "r01000"), ("h0.test", "_other")] {
            let rule = format!("egress_warden.rule.{id}.allow");
            assert_eq!(counters_of(1001, host), ["egress_warden.requests.allow.rule", &rule]);
        }
    }

    #[wasm_bindgen_test(unsupported = test)]
    fn no_counter_names_a_host() {
        assert_eq!(counters_of(1, "secret.test"), ["egress_warden.requests.deny.default"]);
    }
}
