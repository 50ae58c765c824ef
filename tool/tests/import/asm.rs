//! ASMEgressTrafficPolicies, by the CRD's description: a rule opens the hosts of `to` on `port.number` to the
//! pods of `from`, of a namespace and with the labels of `workloadSelector`; all else is refused.

use super::{ACCOUNTS, PODS, Pod, Sent, assert_clean, hosts, import_for, is_allowed, sent};
use proptest::prelude::*;

/// A source: a namespace and perhaps labels.
type Source = (&'static str, Vec<(&'static str, &'static str)>);
type Destination = (Vec<String>, u16);

fn selects((namespace, labels): &Source, pod: &Pod) -> bool {
    *namespace == pod.namespace && labels.iter().all(|label| pod.labels.contains(label))
}

fn model(rules: &[(Vec<Source>, Vec<Destination>)], pod: &Pod, host: &str, port: u16) -> bool {
    rules.iter().any(|(from, to)| {
        from.iter().any(|source| selects(source, pod))
            && to.iter().any(|(hosts, number)| hosts.iter().any(|it| it == host) && *number == port)
    })
}

fn written(rules: &[(Vec<Source>, Vec<Destination>)]) -> String {
    let mut text = "apiVersion: istio.alibabacloud.com/v1beta1\nkind: ASMEgressTrafficPolicy\nmetadata: {name: \
                    egress, namespace: istio-egress}\nspec:\n  byEgressGateway: {name: egress}\n  egressRules:\n"
        .to_owned();
    for (from, to) in rules {
        text.push_str("  - from:\n");
        for (namespace, labels) in from {
            text.push_str(&format!("    - namespace: {namespace}\n"));
            for (place, (key, value)) in labels.iter().enumerate() {
                let head = if place == 0 { "      workloadSelector:\n" } else { "" };
                text.push_str(&format!("{head}        {key}: {value}\n"));
            }
        }
        text.push_str("    to:\n");
        for (hosts, number) in to {
            text.push_str(&format!(
                "    - {{name: some, hosts: {hosts:?}, port: {{name: http, number: {number}, protocol: HTTP}}, \
                 byEgressGateway: {{port: 80}}}}\n"
            ));
        }
    }
    text
}

fn a_rule() -> impl Strategy<Value = (Vec<Source>, Vec<Destination>)> {
    let labels = prop::sample::select(vec![
        vec![],
        vec![("app", "web")],
        vec![("app", "web"), ("tier", "front")],
        vec![("tier", "back")],
        vec![("app", "other")],
    ]);
    let source = (prop::sample::select(vec!["shop", "payments"]), labels);
    let some = prop::collection::vec(prop::sample::select(hosts()), 1..4);
    let destination = (some, prop::sample::select(vec![80, 443]));
    (prop::collection::vec(source, 0..3), prop::collection::vec(destination, 1..3))
}

proptest! {
    #[test]
    fn who_is_not_opened_a_host_there_is_not_opened_it_here(
        rules in prop::collection::vec(a_rule(), 1..4),
        has_accounts in any::<bool>(),
    ) {
        let text = written(&rules);
        let (imported, config) =
            import_for("asm", "egress.yaml", &text, has_accounts.then_some(ACCOUNTS));
        for pod in &PODS {
            for host in hosts() {
                for port in [80, 443, 8443] {
                    let is = is_allowed(&config, &Sent { caller: Some(pod.id), ..sent(&host, port) });
                    let is_there = model(&rules, pod, &host, port);
                    prop_assert!(is_there || !is, "{}:{} {}\n{}", host, port, pod.id, text);
                    // What is missing is so because of a selector, which is named or stands for other accounts.
                    let by_namespace: Vec<_> = rules
                        .iter()
                        .map(|(from, to)| {
                            let from = from.iter().filter(|(_, labels)| labels.is_empty()).cloned();
                            (from.collect(), to.clone())
                        })
                        .collect();
                    let is_exact = model(&by_namespace, pod, &host, port);
                    prop_assert!(is || !is_exact, "{}:{} {}\n{}", host, port, pod.id, text);
                    let is_named = imported.open.iter().any(|point| point.contains("workloadSelector"));
                    let is_known = has_accounts && pod.namespace == "shop" && pod.account != "default";
                    prop_assert!(is || !is_there || is_named || !is_known, "{}\n{}", pod.id, text);
                }
            }
        }
        for host in hosts() {
            prop_assert!(!is_allowed(&config, &sent(&host, 443)));
        }
    }
}

const PARTNERS: &str = "apiVersion: istio.alibabacloud.com/v1beta1
kind: ASMEgressTrafficPolicy
metadata: {name: egress, namespace: istio-egress}
spec:
  byEgressGateway: {name: egress}
  egressRules:
  - from:
    - {namespace: shop, workloadSelector: {app: web}}
    to:
    - name: media-http
      hosts: [www.media.example, media.example]
      port: {name: http, number: 80, protocol: HTTP}
      byEgressGateway: {port: 80}
  - from: [{namespace: payments}]
    to:
    - name: ledger-tls
      hosts: [api.ledger.example]
      port: {name: tls, number: 443, protocol: TLS}
      byEgressGateway: {port: 444}
";

#[test]
fn a_selector_needs_the_accounts_of_its_pods() {
    let accounts = "- {namespace: shop, labels: {app: web}, serviceAccounts: [web]}\n";
    for kind in ["asm", "auto"] {
        for accounts in [None, Some(accounts)] {
            let (imported, config) = import_for(kind, "egress.yaml", PARTNERS, accounts);
            assert_clean(&imported);
            let is_said = "egress.yaml:8: `workloadSelector` `app=web` in namespace shop";
            assert_eq!(imported.open.len(), usize::from(accounts.is_none()), "{:?}", imported.open);
            assert!(
                imported.open.iter().all(|point| point.starts_with(is_said)),
                "{:?}",
                imported.open
            );
            assert!(imported.text.contains("`workloadSelector`"), "{}", imported.text);
            let web = Some("cluster.local/ns/shop/sa/web");
            let charger = Some("cluster.local/ns/payments/sa/charger");
            for (host, port, caller, expected) in [
                ("www.media.example", 80, web, accounts.is_some()),
                ("media.example", 80, web, accounts.is_some()),
                ("www.media.example", 443, web, false),
                ("www.media.example", 80, charger, false),
                ("www.media.example", 80, Some("cluster.local/ns/shop/sa/other"), false),
                ("api.ledger.example", 443, charger, true),
                ("api.ledger.example", 444, charger, false),
                ("api.ledger.example", 443, web, false),
                ("api.ledger.example", 443, None, false),
                ("x.media.example", 80, web, false),
            ] {
                let sent = Sent { caller, ..sent(host, port) };
                assert_eq!(is_allowed(&config, &sent), expected, "{sent:?}");
            }
        }
    }
}

#[test]
fn what_is_not_understood_opens_nothing() {
    for (from, to) in [
        ("{namespace: '*'}", "{name: a, hosts: [a.example], port: {number: 443}}"),
        ("{}", "{name: a, hosts: [a.example], port: {number: 443}}"),
        ("{namespace: shop, ipBlock: x}", "{name: a, hosts: [a.example], port: {number: 443}}"),
        (
            "{namespace: shop, workloadSelector: {}}",
            "{name: a, hosts: [a.example], port: {number: 443}}",
        ),
        (
            "{namespace: shop}",
            "{name: a, hosts: ['*.example', '*.a.example', localhost, 192.0.2.1, 'a.example:443', .a.example], port: {number: 443}}",
        ),
        ("{namespace: shop}", "{name: a, hosts: [a.example], port: {number: 0}}"),
        ("{namespace: shop}", "{name: a, hosts: [a.example]}"),
        ("{namespace: shop}", "{name: a, hosts: [a.example], port: {number: 443}, methods: [GET]}"),
    ] {
        let text = format!(
            "kind: ASMEgressTrafficPolicy\nspec:\n  egressRules:\n  - from: [{from}]\n    to: [{to}]\n"
        );
        let (imported, config) = import_for("asm", "egress.yaml", &text, Some(ACCOUNTS));
        assert!(!imported.open.is_empty(), "{text}");
        assert_eq!(config.policy.rules().len(), 0, "{text}");
    }
}

#[test]
fn a_key_that_is_not_known_leaves_what_it_is_for_closed() {
    let rule =
        "{from: [{namespace: shop}], to: [{name: a, hosts: [a.example], port: {number: 443}}]";
    for text in [
        format!("kind: ASMEgressTrafficPolicy\nspec: {{at: night, egressRules: [{rule}}}]}}\n"),
        format!("kind: ASMEgressTrafficPolicy\nspec: {{egressRules: [{rule}, at: night}}]}}\n"),
    ] {
        let (imported, config) = import_for("asm", "egress.yaml", &text, None);
        assert_eq!((imported.open.len(), config.policy.rules().len()), (1, 0), "{text}");
    }
}
