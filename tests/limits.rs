//! The limits of a policy's size: what is just within loads and decides, what is beyond is one clear error.

#![cfg(not(target_family = "wasm"))]

use egress_warden::config::{self, Config, MAX_HOSTS, MAX_RULES, MAX_TEXT};
use egress_warden::policy::{Action, Request};

#[test]
fn a_million_hosts_load_and_one_more_is_an_error() {
    let hosts = |count: usize| -> String {
        let hosts: Vec<String> = (0..count).map(|index| format!("\"h{index}.test\"")).collect();
        let rule = r#"{"id":"a","action":"allow","to":[{"hosts":["#;
        format!(r#"{{"policy":"p","rules":[{rule}{}]}}]}}]}}"#, hosts.join(","))
    };

    let config = config::read(hosts(MAX_HOSTS).as_bytes()).expect("it is within the limits");
    assert_eq!(action(&config, &format!("h{}.test", MAX_HOSTS - 1)), Action::Allow);
    assert_eq!(action(&config, &format!("h{MAX_HOSTS}.test")), Action::Deny);

    assert_eq!(
        errors(hosts(MAX_HOSTS + 1).as_bytes()),
        ["`$.rules`: found 1000001 hosts over all rules: a policy has at most 1000000 hosts"]
    );
}

#[test]
fn a_hundred_thousand_rules_load_and_one_more_is_an_error() {
    let rules = |count: usize| -> String {
        let rule = |index| {
            let to = format!(r#"[{{"hosts":["h{index}.test"]}}]"#);
            format!(r#"{{"id":"r{index}","action":"allow","to":{to}}}"#)
        };
        let rules: Vec<String> = (0..count).map(rule).collect();
        format!(r#"{{"policy":"p","rules":[{}]}}"#, rules.join(","))
    };

    let config = config::read(rules(MAX_RULES).as_bytes()).expect("it is within the limits");
    assert_eq!(action(&config, &format!("h{}.test", MAX_RULES - 1)), Action::Allow);

    assert_eq!(
        errors(rules(MAX_RULES + 1).as_bytes()),
        ["`$.rules`: found 100001 rules: a policy has at most 100000 rules"]
    );
}

#[test]
fn a_text_over_64_mib_is_an_error_and_is_not_read() {
    let text = vec![b' '; MAX_TEXT + 1];
    assert_eq!(
        errors(&text),
        ["`$`: found a text of 67108865 bytes: a policy has at most 67108864 bytes (64 MiB)"]
    );
}

fn action(config: &Config, host: &str) -> Action {
    let request = Request::new(host.as_bytes(), b"GET");
    config.policy.decide(&request).verdict.action
}

fn errors(text: &[u8]) -> Vec<String> {
    let errors = config::read(text).expect_err("it is beyond the limits");
    errors.iter().map(ToString::to_string).collect()
}
