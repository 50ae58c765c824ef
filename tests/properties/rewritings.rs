//! A policy decides alike in whatever way it is written.

use crate::for_all_bytes;
use arbitrary::{Result, Unstructured};
use egress_warden::config;
use egress_warden::policy::{Action, Reason, Verdict};
use kit::naive::Request;
use kit::naive::comparison::facts;
use kit::naive::sample;
use serde_json::{Value, json};

#[test]
fn the_order_of_rules_entries_and_lists_changes_nothing() {
    for_all_rewritings(Naming::Same, |bytes, policy| {
        let mut policy = policy.clone();
        shuffle(bytes, &mut policy)?;
        Ok(policy)
    });
}

#[test]
fn a_rule_that_stands_twice_changes_no_verdict() {
    for_all_rewritings(Naming::Free, |bytes, policy| {
        let mut policy = policy.clone();
        let rules = policy["rules"].as_array_mut().expect("rules");
        for index in 0..rules.len() {
            if bytes.arbitrary()? {
                let mut copy = rules[index].clone();
                copy["id"] = format!("copy-{index}").into();
                rules.push(copy);
            }
        }
        Ok(policy)
    });
}

/// Entries, and the items of a plain list, are joined by "or"; those of a `not…` list are not.
#[test]
fn a_list_split_over_entries_changes_nothing() {
    for_all_rewritings(Naming::Same, |bytes, policy| with_split_entries(bytes, policy, is_plain));
}

#[test]
fn entries_split_over_rules_change_no_verdict() {
    for_all_rewritings(Naming::Free, |bytes, policy| {
        let mut policy = policy.clone();
        let mut rules = Vec::new();
        for rule in policy["rules"].as_array().expect("rules") {
            let Some(entries) = rule.get("to").and_then(Value::as_array) else {
                rules.push(rule.clone());
                continue;
            };
            for (index, entry) in split(bytes, entries, is_plain)?.into_iter().enumerate() {
                let mut part = rule.clone();
                part["id"] = format!("{}-{index}", rule["id"].as_str().expect("an id")).into();
                part["to"] = json!([entry]);
                rules.push(part);
            }
        }
        policy["rules"] = rules.into();
        Ok(policy)
    });
}

/// Where many rules share a host, they are found through their callers: here every host that the
/// policy names, and "any host", is shared by many rules that match nobody.
#[test]
fn a_crowd_of_rules_for_callers_who_never_call_changes_nothing() {
    for_all_rewritings(Naming::Same, |bytes, policy| {
        let mut policy = policy.clone();
        let rules = policy["rules"].as_array_mut().expect("rules");
        let entries = rules.iter().filter_map(|rule| rule.get("to")?.as_array()).flatten();
        let hosts = entries.filter_map(|entry| entry.get("hosts")?.as_array()).flatten();
        let hosts: Vec<Value> = hosts.cloned().collect();
        for index in 0..20 {
            let callers = match bytes.int_in_range(0..=2)? {
                0 => json!({"principals": [format!("d/ns/nobody/sa/{index}")]}),
                1 => json!({"principals": [format!("d/ns/nobody-{index}/sa/*")]}),
                _ => json!({"namespaces": [format!("nobody-{index}")]}),
            };
            let mut rule = json!({"id": format!("crowd-{index}"), "action": "allow"});
            rule["from"] = json!([callers]);
            if index % 2 == 0 && !hosts.is_empty() {
                rule["to"] = json!([{"hosts": hosts}]);
            }
            rules.insert(bytes.int_in_range(0..=rules.len())?, rule);
        }
        Ok(policy)
    });
}

/// An allow needs both readings of a path, and they may match by different items of one list: split,
/// the list allows less, never more.
#[test]
fn a_list_of_paths_split_over_entries_allows_no_more() {
    for_all_bytes(1_000, |bytes| {
        let mut bytes = Unstructured::new(bytes);
        let policy = sample::policy(&mut bytes).expect("a policy");
        let is_paths = |key: &str| key == "paths";
        let rewritten = with_split_entries(&mut bytes, &policy, is_paths).expect("a rewriting");
        let requests = [sample::request(&mut bytes).expect("a request")];
        let [whole, parts] =
            [&policy, &rewritten].map(|policy| decisions(policy, &requests, Naming::Free));
        for ((whole, _), (parts, _)) in whole.iter().zip(&parts) {
            assert!(whole.0 == parts.0 || parts.0 == Action::Deny, "{policy}\n{rewritten}");
        }
    });
}

/// Whether the rewriting leaves the ids, so that the same rule must be named.
#[derive(Clone, Copy, PartialEq)]
enum Naming {
    Same,
    Free,
}

fn for_all_rewritings(
    naming: Naming,
    rewrite: impl Fn(&mut Unstructured<'_>, &Value) -> Result<Value>,
) {
    for_all_bytes(1_000, |bytes| {
        let mut bytes = Unstructured::new(bytes);
        let policy = sample::policy(&mut bytes).expect("a policy");
        let requests: Vec<Request> =
            (0..8).map(|_| sample::request(&mut bytes).expect("a request")).collect();
        let rewritten = rewrite(&mut bytes, &policy).expect("a rewriting");
        assert_eq!(
            decisions(&policy, &requests, naming),
            decisions(&rewritten, &requests, naming),
            "{policy}\n{rewritten}"
        );
    });
}

type Words = (Action, Reason, Option<String>);

fn decisions(policy: &Value, requests: &[Request], naming: Naming) -> Vec<(Words, Option<Words>)> {
    let text = policy.to_string();
    let policy = config::read(text.as_bytes()).unwrap_or_else(|errors| panic!("{errors}")).policy;
    let words = |verdict: Verdict| {
        let rule = verdict.rule.filter(|_| naming == Naming::Same);
        let id = rule.map(|index| policy.rules()[index].id.to_string());
        (verdict.action, verdict.reason, id)
    };
    let decisions = requests.iter().map(|request| policy.decide(&facts(request)));
    decisions.map(|decision| (words(decision.verdict), decision.would.map(words))).collect()
}

/// Shuffles every list.
fn shuffle(bytes: &mut Unstructured<'_>, value: &mut Value) -> Result<()> {
    match value {
        Value::Array(items) => {
            for last in (1..items.len()).rev() {
                items.swap(last, bytes.int_in_range(0..=last)?);
            }
            items.iter_mut().try_for_each(|item| shuffle(bytes, item))
        }
        Value::Object(members) => {
            members.values_mut().try_for_each(|member| shuffle(bytes, member))
        }
        _ => Ok(()),
    }
}

/// A list whose items could as well stand in entries of their own. Not that of paths: see
/// [`a_list_of_paths_split_over_entries_allows_no_more`].
fn is_plain(key: &str) -> bool {
    !key.starts_with("not") && key != "paths"
}

fn with_split_entries(
    bytes: &mut Unstructured<'_>,
    policy: &Value,
    is_split: fn(&str) -> bool,
) -> Result<Value> {
    let mut policy = policy.clone();
    for rule in policy["rules"].as_array_mut().expect("rules") {
        for side in ["from", "to"] {
            let Some(entries) = rule.get_mut(side) else { continue };
            *entries = split(bytes, entries.as_array().expect("entries"), is_split)?.into();
        }
    }
    Ok(policy)
}

/// Splits one of the lists of each entry.
fn split(
    bytes: &mut Unstructured<'_>,
    entries: &[Value],
    is_split: fn(&str) -> bool,
) -> Result<Vec<Value>> {
    let mut parts = Vec::new();
    for entry in entries {
        let members = entry.as_object().expect("an entry");
        let has_some = |list: &Value| list.as_array().is_some_and(|items| items.len() > 1);
        let lists: Vec<_> =
            members.iter().filter(|(key, list)| is_split(key) && has_some(list)).collect();
        if lists.is_empty() {
            parts.push(entry.clone());
            continue;
        }
        let (key, list) = *bytes.choose(&lists)?;
        let items = list.as_array().expect("a list");
        let (head, tail) = items.split_at(bytes.int_in_range(1..=items.len() - 1)?);
        for half in [head, tail] {
            let mut part = entry.clone();
            part[key] = half.into();
            parts.push(part);
        }
    }
    Ok(parts)
}
