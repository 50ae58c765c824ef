//! Domain lists of AWS Network Firewall, in the default action order (pass before drop), by the developer
//! guide. Port 443 stands for TLS, port 80 for HTTP: the policy does not know the protocol.

use super::{assert_clean, assert_decides, hosts, import, is_allowed, sent};
use egress_warden_tool::in_process;
use proptest::prelude::*;
use serde_json::json;

/// One rule group.
#[derive(Clone, Debug)]
struct Group {
    kind: &'static str,
    types: Vec<&'static str>,
    targets: Vec<String>,
}

fn model(groups: &[Group], host: &str, port: u16) -> bool {
    let protocol = if port == 443 { "TLS_SNI" } else { "HTTP_HOST" };
    let is_about = |group: &&Group| group.types.contains(&protocol);
    let lists = |group: &Group| {
        group.targets.iter().any(|target| match target.strip_prefix('.') {
            Some(name) => host == name || host.ends_with(&format!(".{name}")),
            None => host == target,
        })
    };
    let of = |kind: &'static str| groups.iter().filter(is_about).filter(move |it| it.kind == kind);
    if of("ALLOWLIST").any(lists) {
        return true;
    }
    !of("DENYLIST").any(lists) && of("ALLOWLIST").next().is_none()
}

fn document(groups: &[Group]) -> String {
    let group = |group: &Group| {
        let list = json!({
            "Targets": group.targets, "TargetTypes": group.types, "GeneratedRulesType": group.kind,
        });
        json!({ "RuleGroup": { "RulesSource": { "RulesSourceList": list } } }).to_string()
    };
    groups.iter().map(group).collect::<Vec<_>>().join("\n---\n")
}

fn a_group() -> impl Strategy<Value = Group> {
    let types = vec![
        vec!["TLS_SNI", "HTTP_HOST"],
        vec!["TLS_SNI", "HTTP_HOST"],
        vec!["TLS_SNI"],
        vec!["HTTP_HOST"],
    ];
    let target = (prop::sample::select(vec!["", "."]), prop::sample::select(hosts()));
    let target = prop_oneof![
        8 => target.prop_map(|(dot, host)| format!("{dot}{host}")),
        1 => Just(".example".to_owned()),
    ];
    (
        prop::sample::select(vec!["ALLOWLIST", "ALLOWLIST", "DENYLIST"]),
        prop::sample::select(types),
        prop::collection::vec(target, 1..5),
    )
        .prop_map(|(kind, types, targets)| Group { kind, types, targets })
}

proptest! {
    #[test]
    fn what_the_firewall_drops_stays_refused_and_what_is_missing_is_named(
        groups in prop::collection::vec(a_group(), 1..4),
    ) {
        let text = document(&groups);
        let (imported, config) = import("aws-network-firewall", "groups.yaml", &text);
        for host in hosts() {
            for port in [80, 443] {
                let expected = model(&groups, &host, port);
                let is = is_allowed(&config, &sent(&host, port));
                prop_assert!(expected || !is, "{}:{}\n{}\n{}", host, port, text, imported.text);
                prop_assert!(is || !expected || !imported.open.is_empty(), "{}:{}\n{}", host, port, text);
            }
        }
    }
}

#[test]
fn a_list_of_partners() {
    let text = r#"{"RuleGroup": {
  "RuleVariables": {"IPSets": {"HOME_NET": {"Definition": ["198.51.100.0/24"]}}},
  "RulesSource": {"RulesSourceList": {
    "Targets": [".media.example", "api.ledger.example"],
    "TargetTypes": ["TLS_SNI", "HTTP_HOST"], "GeneratedRulesType": "ALLOWLIST"}},
  "StatefulRuleOptions": {"RuleOrder": "DEFAULT_ACTION_ORDER"}}}"#;
    for kind in ["aws-network-firewall", "auto"] {
        let (imported, config) = import(kind, "group.json", text);
        assert_clean(&imported);
        let [point] = &imported.open[..] else { panic!("{:?}", imported.open) };
        assert!(point.starts_with("group.json:2: HOME_NET [\"198.51.100.0/24\"]"), "{point}");
        assert_decides(
            &config,
            &[
                ("media.example", 443, true),
                ("a.b.media.example", 80, true),
                ("api.ledger.example", 80, true),
                ("x.api.ledger.example", 443, false),
                ("ledger.example", 443, false),
                ("xmedia.example", 443, false),
            ],
        );
    }
}

#[test]
fn what_may_refuse_more_lets_nothing_be_allowed() {
    let list = r#"{"Targets": ["a.example"], "TargetTypes": ["TLS_SNI", "HTTP_HOST"], "GeneratedRulesType": "ALLOWLIST"}"#;
    let odd_list = list.replace("ALLOWLIST", "ALERTLIST");
    for text in [
        format!(r#"{{"RulesSource": {{"RulesSourceList": {list}, "RulesString": "drop tls any any -> any any (sid:1;)"}}}}"#),
        format!(r#"{{"RulesSource": {{"RulesSourceList": {list}}}, "RuleVariables": {{"IPSets": {{"EXTERNAL_NET": {{"Definition": ["192.0.2.0/24"]}}}}}}}}"#),
        format!(r#"{{"RulesSource": {{"RulesSourceList": {odd_list}}}}}"#),
        r#"{"RulesSource": {"RulesSourceList": {"Targets": ["a.example"], "GeneratedRulesType": "ALLOWLIST"}}}"#.to_owned(),
    ] {
        let (imported, config) = import("aws-network-firewall", "group.json", &text);
        assert!(!imported.open.is_empty(), "{text}");
        assert!(!is_allowed(&config, &sent("a.example", 443)), "{text}");
    }
}

#[test]
fn a_deny_wins_over_an_allow_also_below_a_top_level_domain() {
    for denied in ["a.example", ".a.example", ".example"] {
        let group = |kind, targets: &[&str]| Group {
            kind,
            types: vec!["TLS_SNI", "HTTP_HOST"],
            targets: targets.iter().map(|it| (*it).to_owned()).collect(),
        };
        let text = document(&[
            group("ALLOWLIST", &[".a.example", "b.test"]),
            group("DENYLIST", &[denied]),
        ]);
        let (_, config) = import("aws-network-firewall", "groups.yaml", &text);
        assert!(!is_allowed(&config, &sent("a.example", 443)), "{denied}");
        assert!(is_allowed(&config, &sent("b.test", 443)), "{denied}");
    }
}

#[test]
fn a_block_of_addresses_is_no_domain() {
    for (kind, text) in [
        (
            "aws-network-firewall",
            r#"{"RulesSource": {"RulesSourceList": {"Targets": ["192.0.2.0/24"], "TargetTypes": ["TLS_SNI", "HTTP_HOST"], "GeneratedRulesType": "ALLOWLIST"}}}"#,
        ),
        (
            "smokescreen",
            "version: v1\nservices: []\ndefault: {action: enforce, allowed_domains: [192.0.2.0/24]}\n",
        ),
    ] {
        let (imported, config) = import(kind, "block.yaml", text);
        assert_eq!(imported.open.len(), 1, "{:?}", imported.open);
        assert!(!is_allowed(&config, &sent("192.0.2.1", 443)), "{kind}");
    }
}

#[test]
fn what_a_list_denies_that_nobody_can_read_here_is_not_allowed_by_another() {
    let list = |kind: &str, targets: &str| {
        format!(
            "  {kind}:\n    Type: AWS::NetworkFirewall::RuleGroup\n    Properties: {{RuleGroup: {{RulesSource: \
             {{RulesSourceList: {{Targets: {targets}, TargetTypes: [TLS_SNI, HTTP_HOST], GeneratedRulesType: \
             {kind}}}}}}}}}\n"
        )
    };
    let document = |targets: &str| {
        format!("Resources:\n{}{}", list("ALLOWLIST", "[.a.example]"), list("DENYLIST", targets))
    };
    let (imported, config) =
        import("aws-network-firewall", "stack.yaml", &document("[{Ref: Denied}]"));
    assert!(!imported.open.is_empty());
    assert!(!is_allowed(&config, &sent("a.example", 443)), "{}", imported.text);
    let text = document("{Ref: Denied}");
    let failure = in_process::import("aws-network-firewall", &[("stack.yaml", &text)], None);
    assert!(failure.is_err_and(|failure| failure.contains("which is not a list")));
}
