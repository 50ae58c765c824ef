//! However long a list of hosts is, the verdicts are the same: servers that change their way of
//! matching at a hundred items, or at ten thousand, have let requests pass that way.

use egress_warden::config;
use egress_warden::root_id::Connections;
use egress_warden_simulate::Filters;
use egress_warden_simulate::case::CaseFile;
use kit::case::{at, files};
use serde_json::Value;

const SIZES: [usize; 6] = [1, 99, 100, 101, 10_000, 100_000];

#[test]
fn lists_of_any_size_of_exact_hosts_decide_alike() {
    assert_sizes_decide_alike(|index| format!("h{index}.filling.example"));
}

#[test]
fn lists_of_any_size_of_wildcards_decide_alike() {
    assert_sizes_decide_alike(|index| format!("*.h{index}.filling.example"));
}

/// The cases on hosts, each of their policies with its lists of hosts as they stand and filled up.
fn assert_sizes_decide_alike(filling: impl Fn(usize) -> String) {
    for name in ["hosts_default_deny", "hosts_default_allow", "hosts_malformed", "addresses"] {
        let name = format!("tests/cases/{name}.yaml");
        let file = files::read("tests/cases").into_iter().find(|file| file.name == name);
        let file = file.unwrap_or_else(|| panic!("{name} is gone"));
        let cases: CaseFile = serde_saphyr::from_str(&file.text).expect("a case file");
        let mut filled_lists = 0;
        for (text, _) in cases.policies() {
            let policy: Value = serde_json::from_str(&text).expect("a policy");
            let expected = verdicts(&policy, &cases);
            for size in SIZES {
                let mut filled = policy.clone();
                filled_lists += fill(&mut filled, size, &filling);
                assert!(verdicts(&filled, &cases) == expected, "{name}: {size} hosts");
            }
        }
        assert!(filled_lists > 0, "{name}: no list of hosts");
    }
}

/// Brings the first list of hosts of every action to a size; their number. Others stay, for the
/// sake of the limit over all rules.
fn fill(policy: &mut Value, size: usize, filling: impl Fn(usize) -> String) -> usize {
    let mut filled = Vec::new();
    for rule in policy["rules"].as_array_mut().expect("rules") {
        let action = rule["action"].clone();
        let entries = rule.get_mut("to").and_then(Value::as_array_mut).into_iter().flatten();
        let lists =
            entries.filter_map(|entry| entry.get_mut("hosts").and_then(Value::as_array_mut));
        for list in lists {
            if !filled.contains(&action) {
                // Half before, half behind what is asked for.
                let missing = size.saturating_sub(list.len());
                let mut hosts: Vec<Value> =
                    (0..missing).map(|index| filling(index).into()).collect();
                let behind = hosts.split_off(missing / 2);
                hosts.append(list);
                hosts.extend(behind);
                *list = hosts;
                filled.push(action.clone());
            }
        }
    }
    filled.len()
}

/// What each request leaves in the filter state, the policy's hash apart.
fn verdicts(policy: &Value, cases: &CaseFile) -> Vec<Vec<(String, String)>> {
    let config = config::read(policy.to_string().as_bytes()).expect("a policy");
    let filters = Filters::new(config, Connections::default());
    let verdicts = cases.subjects().map(|subject| {
        let mut state = filters.simulate(&subject, at()).filter_state;
        state.retain(|(key, _)| key != "egress_policy");
        state
    });
    verdicts.collect()
}
