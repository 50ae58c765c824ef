//! The counters of a policy. Envoy never frees a counter, so no host, path or caller is in a name.

use crate::policy::{Decision, Policy, Reason, Verdict};
use std::cell::{Cell, OnceCell};

/// Rules that have a counter of their own; the others share one.
const COUNTED_RULES: usize = 1000;

/// One counter, and what the proxy calls it.
#[derive(Debug)]
pub struct Counter {
    name: Box<str>,
    id: Cell<Option<u32>>,
}

impl Counter {
    /// The name that the proxy is to know it by.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The proxy's number for it, kept after its first use; `None` where `define` gives none.
    pub fn id(&self, define: impl FnOnce(&str) -> Option<u32>) -> Option<u32> {
        if self.id.get().is_none() {
            self.id.set(define(&self.name));
        }
        self.id.get()
    }
}

/// Every counter that decisions of one policy may add to, made when it is first asked for.
#[derive(Debug)]
pub struct Counters {
    names: Names,
    verdicts: [[OnceCell<Counter>; REASONS]; ACTIONS],
    would: [OnceCell<Counter>; ACTIONS],
    /// By the rule's index in the policy; the last is for all other rules.
    rules: Vec<[OnceCell<Counter>; ACTIONS]>,
}

/// How the names of one kind of counters begin.
#[derive(Clone, Copy, Debug)]
struct Names {
    verdict: &'static str,
    would: &'static str,
    rule: &'static str,
}

const OF_REQUESTS: Names = Names {
    verdict: "egress_warden.requests.",
    would: "egress_warden.would.",
    rule: "egress_warden.rule.",
};

/// Apart from those of requests: a proxy may have both filters, with one policy.
const OF_CONNECTIONS: Names = Names {
    verdict: "egress_warden.connections.",
    would: "egress_warden.connections.would.",
    rule: "egress_warden.connections.rule.",
};

const ACTIONS: usize = 2;
const REASONS: usize = Reason::Undecided as usize + 1;

impl Counters {
    /// Those of requests. The first 1,000 rules by id have their own.
    pub fn new(policy: &Policy) -> Self {
        Self::named(OF_REQUESTS, policy)
    }

    /// Those of connections, alike.
    pub fn of_connections(policy: &Policy) -> Self {
        Self::named(OF_CONNECTIONS, policy)
    }

    fn named(names: Names, policy: &Policy) -> Self {
        // Rules are in the order of their ids.
        let counted = policy.rules().len().min(COUNTED_RULES.saturating_add(1));
        Self {
            names,
            verdicts: Default::default(),
            would: Default::default(),
            rules: std::iter::repeat_with(Default::default).take(counted).collect(),
        }
    }

    /// The counters that one decision adds one to.
    pub fn of<'a>(
        &'a self,
        decision: &Decision,
        policy: &Policy,
    ) -> impl Iterator<Item = &'a Counter> + use<'a> {
        let Decision { verdict, would } = decision;
        let Verdict { action, reason, rule } = *verdict;
        let names = self.names;
        let of_action = self.verdicts.get(action as usize);
        let verdict = of_action.and_then(|reasons| reasons.get(reason as usize)).map(|counter| {
            made(counter, || [names.verdict, action.as_str(), ".", reason.as_str()].concat())
        });
        let would = would.and_then(|would| {
            let counter = self.would.get(would.action as usize)?;
            Some(made(counter, || [names.would, would.action.as_str()].concat()))
        });
        let rule = rule.and_then(|index| {
            let own = policy.rules().get(index).filter(|_| index < COUNTED_RULES);
            let id = own.map_or("_other", |rule| &rule.id);
            let counter = self.rules.get(index.min(COUNTED_RULES))?.get(action as usize)?;
            Some(made(counter, || [names.rule, id, ".", action.as_str()].concat()))
        });
        [verdict, would, rule].into_iter().flatten()
    }
}

fn made(counter: &OnceCell<Counter>, name: impl FnOnce() -> String) -> &Counter {
    counter.get_or_init(|| Counter { name: name().into(), id: Cell::default() })
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
        let counters = Counters::new(&policy);
        let counted = counters.of(&policy.decide(&request), &policy);
        counted.map(|counter| counter.name().to_owned()).collect()
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
