//! The counters of a policy, as data: which of them a decision adds to. A proxy never frees a counter, so
//! no host, path or caller is in a name or label.

use crate::policy::{Action, Decision, Policy, Reason, Verdict};

/// Rules that have a counter of their own; the others share one.
const COUNTED_RULES: usize = 1000;

/// Counters of one subject.
#[derive(Debug, PartialEq, Eq)]
pub struct Family {
    /// Where it stands among those of requests, or of connections.
    pub index: usize,
    /// What the names of its counters begin with.
    pub name: &'static str,
    /// What tells its counters apart.
    pub labels: &'static [&'static str],
}

/// The families of requests, or of connections.
pub type Families = [Family; 3];

macro_rules! families {
    ($verdict:literal, $would:literal, $rule:literal) => {
        [
            Family { index: 0, name: $verdict, labels: &["decision", "reason"] },
            Family { index: 1, name: $would, labels: &["decision"] },
            Family { index: 2, name: $rule, labels: &["rule", "decision"] },
        ]
    };
}

/// Those of requests: verdicts, would-be decisions, and the rules that decided.
pub static OF_REQUESTS: Families =
    families!("egress_warden.requests", "egress_warden.would", "egress_warden.rule");

/// Those of connections. Apart from those of requests: a proxy may have both filters, with one policy.
pub static OF_CONNECTIONS: Families = families!(
    "egress_warden.connections",
    "egress_warden.connections.would",
    "egress_warden.connections.rule"
);

/// One counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counter<'a> {
    /// What it counts.
    pub family: &'static Family,
    /// See [`Self::values`]; the second is empty where the family has one label.
    values: [&'a str; 2],
    /// Its number among those of its policy, below [`Counter::most`].
    pub number: usize,
}

/// The name of the counter of what is refused because there is no policy.
pub fn without_policy([verdicts, ..]: &Families) -> String {
    format!("{}.{}.no_policy", verdicts.name, Action::Deny.as_str())
}

const ACTIONS: usize = 2;
const REASONS: usize = Reason::Undecided as usize + 1;
const WOULD: usize = ACTIONS * REASONS;
const RULES: usize = WOULD + ACTIONS;

impl<'a> Counter<'a> {
    /// Calls for each counter of one of the [`Families`] that a decision adds one to. The first 1,000 rules
    /// by id have their own.
    pub fn each(
        families: &'static Families,
        decision: &Decision,
        policy: &'a Policy,
        mut add: impl FnMut(&Self),
    ) {
        let [verdicts, would, rules] = families;
        let Verdict { action, reason, rule } = decision.verdict;
        add(&Self {
            family: verdicts,
            values: [action.as_str(), reason.as_str()],
            number: action as usize * REASONS + reason as usize,
        });
        if let Some(Verdict { action, .. }) = decision.would {
            add(&Self {
                family: would,
                values: [action.as_str(), ""],
                number: WOULD + action as usize,
            });
        }
        if let Some(index) = rule {
            // Rules are in the order of their ids.
            let own = policy.rules().get(index).filter(|_| index < COUNTED_RULES);
            add(&Self {
                family: rules,
                values: [own.map_or("_other", |rule| &rule.id), action.as_str()],
                number: RULES + index.min(COUNTED_RULES) * ACTIONS + action as usize,
            });
        }
    }

    /// How many a policy may have.
    pub fn most(policy: &Policy) -> usize {
        RULES + policy.rules().len().min(COUNTED_RULES + 1) * ACTIONS
    }

    /// The values of the family's labels.
    pub fn values(&self) -> &[&'a str] {
        self.values.get(..self.family.labels.len()).unwrap_or_default()
    }

    /// Its name where a proxy knows no labels.
    pub fn name(&self) -> String {
        let mut name = self.family.name.to_owned();
        for value in self.values() {
            name.push('.');
            name.push_str(value);
        }
        name
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
        let mut names = Vec::new();
        Counter::each(&OF_REQUESTS, &policy.decide(&request), &policy, |counter| {
            assert!(counter.number < Counter::most(&policy));
            names.push(counter.name());
        });
        names
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
