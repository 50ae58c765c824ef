//! Cilium's policies, by its documentation (Layer 3: DNS based, Layer 4, Layer 7): the egress rules of all
//! policies that select a pod add up, `egressDeny` wins, all else is refused (enforcement mode `always`). `*` is
//! any run of bytes within a label, `**.` at the start one label or more, `*` alone any name. `path` is a
//! regular expression over the whole path with its query.

use super::{ACCOUNTS, PODS, Pod, Sent, assert_clean, import_for, is_allowed, sent};
use egress_warden::config::Config;
use egress_warden_tool::in_process;
use proptest::prelude::*;
use std::fmt::Write;

/// One item of `toFQDNs`: its key and its value.
type Name = (&'static str, &'static str);
/// An expression over methods or paths, what a policy writes for it, and what it matches.
type Expression = (&'static str, fn(&str) -> bool);

#[derive(Clone, Debug)]
struct Rule {
    names: Vec<Name>,
    /// `port`, `endPort`, `protocol`.
    ports: Option<Vec<(u16, Option<u16>, &'static str)>>,
    http: Vec<(usize, usize)>,
}

#[derive(Clone, Debug)]
struct Policy {
    /// Absent: of the whole cluster.
    namespace: Option<&'static str>,
    labels: Vec<(&'static str, &'static str)>,
    rules: Vec<Rule>,
    /// Ports denied to any host; none is every port.
    denied: Vec<Option<u16>>,
}

const METHODS: [Expression; 5] = [
    ("", |_| true),
    ("GET", |it| it == "GET"),
    ("^GET|POST$", |it| it == "GET" || it == "POST"),
    ("(PUT)", |it| it == "PUT"),
    ("P.*", |it| it.starts_with('P')),
];

const PATHS: [Expression; 9] = [
    ("", |_| true),
    (".*", |_| true),
    ("/v1/.*", |it| it.starts_with("/v1/")),
    ("^/v1.*$", |it| it.starts_with("/v1")),
    ("/v1\\.0/.*", |it| it.starts_with("/v1.0/")),
    ("/v1.0/.*", |it| it.starts_with("/v1") && it.get(4..6) == Some("0/")),
    ("/v1/x", |it| it == "/v1/x"),
    ("/v1/.+", |it| it.starts_with("/v1/") && it.len() > 4),
    ("/v.*/x", |it| it.starts_with("/v") && it.ends_with("/x") && it.len() > 3),
];

const NAMES: [Name; 13] = [
    ("matchName", "media.example"),
    ("matchName", "CDN.Media.example."),
    ("matchName", "a.bank.example"),
    ("matchPattern", "*.media.example"),
    ("matchPattern", "x-*.media.example"),
    ("matchPattern", "x*.media.example"),
    ("matchPattern", "*a.media.example"),
    ("matchPattern", "**.bank.example"),
    ("matchPattern", "cdn**.bank.example"),
    ("matchPattern", "cdn.*.media.example"),
    ("matchPattern", "*.*.media.example"),
    ("matchPattern", "*.example"),
    ("matchPattern", "*"),
];

const HOSTS: [&str; 13] = [
    "media.example",
    "cdn.media.example",
    "a.media.example",
    "x-a.media.example",
    "xn--bcher-kva.media.example",
    "b.a.media.example",
    "cdn.a.media.example",
    "bank.example",
    "a.bank.example",
    "b.a.bank.example",
    "cdn2.bank.example",
    "a.media.example.exfil.example",
    "example.org",
];

const SENT_PATHS: [&str; 7] = ["/", "/v1/", "/v1/x", "/v1/x?a=/x", "/v1.0/y", "/v1z0/y", "/v1z"];

/// Whether bytes of a name match a pattern in which `*` is any run within a label.
fn matches(pattern: &[u8], name: &[u8]) -> bool {
    match (pattern, name) {
        ([b'*', rest @ ..], _) => {
            matches(rest, name)
                || matches!(name, [first, after @ ..] if *first != b'.' && matches(pattern, after))
        }
        ([first, rest @ ..], [other, after @ ..]) => first == other && matches(rest, after),
        ([], []) => true,
        _ => false,
    }
}

fn selects((key, value): &Name, host: &str, version: Option<&str>) -> bool {
    let value = value.to_ascii_lowercase();
    let value = value.trim_end_matches('.');
    // Where nobody says, the version in which it is least.
    let value = if version == DEEP { value.to_owned() } else { value.replace("**", "*") };
    match value.strip_prefix("**.") {
        _ if *key == "matchName" => host == value,
        _ if value == "*" => true,
        Some(below) => (0..host.len()).any(|at| {
            host.as_bytes()[at] == b'.'
                && at > 0
                && matches(below.as_bytes(), &host.as_bytes()[at + 1..])
        }),
        None => matches(value.as_bytes(), host.as_bytes()),
    }
}

/// The version since which `**.` is any number of labels.
const DEEP: Option<&str> = Some("1.19");

fn is_for(policy: &Policy, pod: &Pod) -> bool {
    policy.namespace.is_none_or(|namespace| namespace == pod.namespace)
        && policy.labels.iter().all(|(key, value)| match *key {
            "io.cilium.k8s.policy.serviceaccount" => *value == pod.account,
            "k8s:io.kubernetes.pod.namespace" => *value == pod.namespace,
            key => pod.labels.contains(&(key.trim_start_matches("k8s:"), value)),
        })
}

/// The names by which a rule opens a request.
fn opens<'r>(
    rule: &'r Rule,
    sent: &Sent,
    version: Option<&'r str>,
) -> impl Iterator<Item = &'r Name> {
    let is_port = rule.ports.as_ref().is_none_or(|ports| {
        ports.iter().any(|(first, last, protocol)| {
            *protocol != "UDP" && (*first..=last.unwrap_or(*first)).contains(&sent.port)
        })
    });
    let is_request = rule.ports.is_none()
        || rule.http.is_empty()
        || rule
            .http
            .iter()
            .any(|(method, path)| METHODS[*method].1(sent.method) && PATHS[*path].1(sent.path));
    let names = rule.names.iter().filter(move |_| is_port && is_request);
    let host = sent.host.clone();
    names.filter(move |name| selects(name, &host, version))
}

fn model(policies: &[Policy], pod: &Pod, sent: &Sent, version: Option<&str>) -> bool {
    let of_pod = || policies.iter().filter(|policy| is_for(policy, pod));
    let is_denied = of_pod()
        .flat_map(|policy| &policy.denied)
        .any(|denied| denied.is_none_or(|port| port == sent.port));
    !is_denied
        && of_pod()
            .flat_map(|policy| &policy.rules)
            .any(|rule| opens(rule, sent, version).next().is_some())
}

fn written(policies: &[Policy]) -> String {
    let mut text = String::new();
    for policy in policies {
        let (kind, namespace) = match policy.namespace {
            Some(namespace) => ("CiliumNetworkPolicy", format!(", namespace: {namespace}")),
            None => ("CiliumClusterwideNetworkPolicy", String::new()),
        };
        let labels: Vec<_> =
            policy.labels.iter().map(|(key, value)| format!("{key:?}: {value}")).collect();
        let _ = writeln!(
            text,
            "---\napiVersion: cilium.io/v2\nkind: {kind}\nmetadata: {{name: some{namespace}}}\nspec:\n  \
             endpointSelector: {{matchLabels: {{{}}}}}\n  egress:\n  - {{}}",
            labels.join(", ")
        );
        for rule in &policy.rules {
            text.push_str("  - toFQDNs:\n");
            for (key, value) in &rule.names {
                let _ = writeln!(text, "    - {key}: {value:?}");
            }
            let Some(ports) = &rule.ports else { continue };
            text.push_str("    toPorts:\n    - ports:\n");
            for (first, last, protocol) in ports {
                let last = last.map(|last| format!(", endPort: {last}")).unwrap_or_default();
                let _ = writeln!(text, "      - {{port: \"{first}\", protocol: {protocol}{last}}}");
            }
            if !rule.http.is_empty() {
                text.push_str("      rules:\n        http:\n");
            }
            for (method, path) in &rule.http {
                let _ = writeln!(
                    text,
                    "        - {{method: {:?}, path: {:?}}}",
                    METHODS[*method].0, PATHS[*path].0
                );
            }
        }
        if !policy.denied.is_empty() {
            text.push_str("  egressDeny:\n");
        }
        for denied in &policy.denied {
            text.push_str("  - toEntities: [world]\n");
            if let Some(port) = denied {
                let _ = writeln!(
                    text,
                    "    toPorts: [{{ports: [{{port: \"{port}\", protocol: TCP}}]}}]"
                );
            }
        }
    }
    text
}

fn a_rule() -> impl Strategy<Value = Rule> {
    let port = (
        prop::sample::select(vec![80_u16, 443, 8000]),
        prop::option::weighted(0.2, prop::sample::select(vec![8443_u16, 9000])),
        prop::sample::select(vec!["TCP", "ANY", "TCP", "UDP"]),
    );
    (
        prop::collection::vec(prop::sample::select(NAMES.to_vec()), 1..4),
        prop::option::weighted(0.7, prop::collection::vec(port, 1..3)),
        prop::collection::vec((0..METHODS.len(), 0..PATHS.len()), 0..3),
    )
        .prop_map(|(names, ports, http)| Rule { names, ports, http })
}

fn a_policy() -> impl Strategy<Value = Policy> {
    let label = prop::sample::select(vec![
        ("app", "web"),
        ("k8s:app", "cart"),
        ("tier", "front"),
        ("io.cilium.k8s.policy.serviceaccount", "web"),
        ("k8s:io.kubernetes.pod.namespace", "shop"),
    ]);
    (
        prop::sample::select(vec![Some("shop"), Some("shop"), Some("payments"), None]),
        prop::collection::vec(label, 0..3),
        prop::collection::vec(a_rule(), 1..3),
        prop::collection::vec(prop::sample::select(vec![None, Some(80), Some(443)]), 0..2),
    )
        .prop_map(|(namespace, mut labels, rules, mut denied)| {
            labels.sort_unstable();
            labels.dedup();
            if denied.first() == Some(&None) && rules.len() > 1 {
                denied.clear();
            }
            Policy { namespace, labels, rules, denied }
        })
}

/// Whether what is allowed there and not here is so because of something that was named.
fn is_named(policies: &[Policy], pod: &Pod, sent: &Sent, open: &[String], text: &str) -> bool {
    let has = |words: &str| open.iter().any(|point| point.contains(words));
    let opening = policies.iter().filter(|policy| is_for(policy, pod)).flat_map(|policy| {
        policy
            .rules
            .iter()
            .flat_map(move |rule| opens(rule, sent, DEEP).map(move |name| (policy, rule, name)))
    });
    has("a deny of") || has("a policy lists them one by one") || {
        opening.into_iter().all(|(policy, rule, (_, value))| {
            let is_http_named = rule.http.iter().any(|(method, path)| {
                let (method, path) = (METHODS[*method].0, PATHS[*path].0);
                has(&format!("`{path}`")) || has(&format!("`{method}`"))
            });
            has(&format!("`{value}`"))
                || text.contains(&format!("{value} is for no label that begins xn--"))
                || !policy.labels.is_empty() && has("`endpointSelector`")
                // The accounts are some of those that are selected.
                || !policy.labels.is_empty() && text.contains("stand for `endpointSelector`")
                || is_http_named
        })
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]
    #[test]
    fn what_cilium_refuses_stays_refused_and_what_is_missing_is_named(
        policies in prop::collection::vec(a_policy(), 1..4),
        has_accounts in any::<bool>(),
        version in prop::sample::select(vec![None, Some("1.18.4"), DEEP]),
    ) {
        let text = written(&policies);
        let accounts = has_accounts.then_some(ACCOUNTS);
        let imported = in_process::import_since("cilium", &[("p.yaml", &text)], accounts, version);
        let (imported, config) = super::read(imported.expect("an import"));
        assert_clean(&imported);
        for pod in &PODS {
            for host in HOSTS {
                for (port, method, path) in requests() {
                    let sent = Sent { method, path, caller: Some(pod.id), ..sent(host, port) };
                    let is = is_allowed(&config, &sent);
                    let is_there = model(&policies, pod, &sent, version);
                    prop_assert!(is_there || !is, "{:?}\n{}\n{}", sent, text, imported.text);
                    prop_assert!(
                        is == is_there || is_named(&policies, pod, &sent, &imported.open, &imported.text),
                        "{:?}\n{}\n{}", sent, text, imported.text
                    );
                }
            }
        }
        for host in HOSTS {
            prop_assert!(!is_allowed(&config, &sent(host, 443)));
        }
    }
}

fn requests() -> impl Iterator<Item = (u16, &'static str, &'static str)> {
    let paths = SENT_PATHS.into_iter().map(|path| (443, "GET", path));
    let methods = ["POST", "PUT"].map(|method| (443, method, "/v1/x"));
    let ports = [80, 8443, 9000, 9001].map(|port| (port, "GET", "/v1/x"));
    paths.chain(methods).chain(ports)
}

const SHOP: &str = r#"apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: {name: shop-egress, namespace: shop}
spec:
  endpointSelector:
    matchLabels: {app: web}
  egress:
  - toEndpoints:
    - matchLabels: {k8s:io.kubernetes.pod.namespace: kube-system, k8s-app: kube-dns}
    toPorts:
    - ports: [{port: "53", protocol: ANY}]
      rules: {dns: [{matchPattern: "*"}]}
  - toFQDNs:
    - matchName: api.ledger.example
    - matchPattern: "*.cdn.media.example"
    - matchPattern: "api-*.parcel.example"
    - matchPattern: "*.store.*.notify.example"
    toPorts:
    - ports: [{port: "443", protocol: TCP}]
  - toFQDNs:
    - matchName: rates.bank.example
"#;

fn assert_decides(config: &Config, caller: Option<&'static str>, expected: &[(&str, u16, bool)]) {
    for (host, port, is) in expected {
        let sent = Sent { caller, ..sent(host, *port) };
        assert_eq!(is_allowed(config, &sent), *is, "{sent:?}");
    }
}

#[test]
fn a_star_stays_within_its_label_and_names_of_dns_rules_open_no_host() {
    let accounts = "- {namespace: shop, labels: {app: web}, serviceAccounts: [web]}\n";
    for kind in ["cilium", "auto"] {
        let (imported, config) = import_for(kind, "shop.yaml", SHOP, Some(accounts));
        assert_clean(&imported);
        let [first, second] = &imported.open[..] else { panic!("{:?}", imported.open) };
        assert!(
            first.starts_with("shop.yaml:15:") && first.contains("`*.cdn.media.example`"),
            "{first}"
        );
        assert!(second.starts_with("shop.yaml:17:"), "{second}");
        let web = Some("cluster.local/ns/shop/sa/web");
        assert_decides(
            &config,
            web,
            &[
                ("api.ledger.example", 443, true),
                ("api.ledger.example", 80, false),
                ("a.b.cdn.media.example", 443, false),
                ("cdn.media.example", 443, false),
                ("api-eu.parcel.example", 443, true),
                ("api.parcel.example", 443, false),
                ("my-api-eu.parcel.example", 443, false),
                ("api-eu.x.parcel.example", 443, false),
                ("store.west.notify.example", 443, false),
                ("rates.bank.example", 8443, true),
                ("other.example", 443, false),
            ],
        );
        let delete =
            Sent { method: "DELETE", path: "/x", caller: web, ..sent("api.ledger.example", 443) };
        assert!(is_allowed(&config, &delete));
        for caller in [None, Some("cluster.local/ns/payments/sa/web")] {
            assert_decides(&config, caller, &[("api.ledger.example", 443, false)]);
        }
    }
    let (imported, config) = import_for("cilium", "shop.yaml", SHOP, None);
    assert!(
        imported.open[0].starts_with("shop.yaml:6: `endpointSelector` `app=web`"),
        "{:?}",
        imported.open
    );
    assert_eq!(config.policy.rules().len(), 0);
}

/// A policy for the pods of shop.
fn of_shop(rest: &str) -> String {
    format!(
        "kind: CiliumNetworkPolicy\nmetadata: {{name: a, namespace: shop}}\nspec:\n  endpointSelector: {{}}\n{rest}"
    )
}

const OPEN: &str = "  egress: [{toFQDNs: [{matchName: a.example}]}]\n";

#[test]
fn what_names_no_host_opens_none() {
    for rule in [
        "{toEntities: [world]}",
        "{toEntities: [all], toPorts: [{ports: [{port: '443'}]}]}",
        "{toCIDR: [192.0.2.0/24]}",
        "{toCIDRSet: [{cidr: 0.0.0.0/0, except: [10.0.0.0/8]}]}",
        "{toPorts: [{ports: [{port: '443', protocol: TCP}]}]}",
        "{toEndpoints: [{matchLabels: {'reserved:world': ''}}]}",
        "{toFQDNs: [{matchName: a.example}], toEntities: [world]}",
        "{toFQDNs: [{matchName: a.example}], authentication: {mode: required}}",
        "{toFQDNs: [{matchName: 192.0.2.1}, {matchName: localhost}, {matchName: a.example, matchPattern: b.example}, {}]}",
        "{toFQDNs: [{matchPattern: '**'}, {matchPattern: '*.'}, {matchPattern: 'a.**'}, {matchPattern: '.a.example'}]}",
        "{toFQDNs: [{matchName: a.example}], toPorts: [{ports: [{port: '443', protocol: UDP}]}]}",
        "{toFQDNs: [{matchName: a.example}], toPorts: [{ports: [{port: https}, {port: '0'}, {port: 9, endPort: 8}]}]}",
        "{toFQDNs: [{matchName: a.example}], toPorts: [{ports: [{port: '1', endPort: 40000}]}]}",
        "{toFQDNs: [{matchName: a.example}], toPorts: [{ports: [{port: '443'}], serverNames: [b.example]}]}",
        "{toFQDNs: [{matchName: a.example}], toPorts: [{ports: [{port: '443'}], rules: {kafka: [{}]}}]}",
        "{toFQDNs: [{matchName: a.example}], toPorts: [{ports: [{port: '443'}], rules: {http: [{host: b.example}, {headers: [x]}, {method: CONNECT}, {path: /v1}]}}]}",
        "{toFQDNs: [{matchName: a.example}], toPorts: [{}]}",
        "{toFQDNs: [{matchPattern: '**.a.example'}]}",
    ] {
        let (imported, config) =
            import_for("cilium", "a.yaml", &of_shop(&format!("  egress: [{rule}]\n")), None);
        assert!(!imported.open.is_empty(), "{rule}");
        assert_eq!(config.policy.rules().len(), 0, "{rule}");
    }
}

#[test]
fn what_cannot_be_said_of_a_deny_denies_more() {
    let web = Some("cluster.local/ns/shop/sa/web");
    for (rule, is, is_named) in [
        ("{toEntities: [world]}", false, false),
        ("{toCIDR: [0.0.0.0/0]}", false, false),
        ("{toPorts: [{ports: [{port: '443'}]}]}", false, false),
        ("{toPorts: [{ports: [{port: '400', endPort: 500}]}]}", false, false),
        ("{toPorts: [{ports: [{port: '80', endPort: 60000}]}]}", false, true),
        ("{toPorts: [{ports: [{port: https}]}]}", false, true),
        ("{toFQDNs: [{matchName: b.example}]}", false, true),
        ("{}", false, true),
        ("{toEntities: [nothing-known]}", false, false),
        ("{toEndpoints: [{matchLabels: {'reserved:world': ''}}]}", false, false),
        ("{toPorts: [{ports: [{port: '443', protocol: UDP}]}]}", true, true),
        ("{toCIDR: [169.254.169.254/32]}", true, true),
        ("{toEntities: [kube-apiserver]}", true, false),
        ("{toPorts: [{ports: [{port: '80'}]}]}", true, false),
    ] {
        let text = of_shop(&format!("{OPEN}  egressDeny: [{rule}]\n"));
        let (imported, config) = import_for("cilium", "a.yaml", &text, None);
        assert_clean(&imported);
        assert_decides(&config, web, &[("a.example", 443, is)]);
        assert_eq!(!imported.open.is_empty(), is_named, "{rule} {:?}", imported.open);
    }
}

#[test]
fn a_deny_for_pods_that_nobody_can_say_is_for_their_namespace() {
    let deny = "---\nkind: CiliumNetworkPolicy\nmetadata: {name: b, namespace: shop}\nspec:\n  endpointSelector: \
                {matchLabels: {app: web}}\n  egressDeny: [{toPorts: [{ports: [{port: '80'}]}]}]\n";
    let (imported, config) =
        import_for("cilium", "a.yaml", &format!("{}{deny}", of_shop(OPEN)), Some(ACCOUNTS));
    assert!(imported.open.iter().any(|it| it.contains("a deny of")), "{:?}", imported.open);
    for caller in ["cluster.local/ns/shop/sa/web", "cluster.local/ns/shop/sa/cart"] {
        assert_decides(
            &config,
            Some(caller),
            &[("a.example", 80, false), ("a.example", 443, true)],
        );
    }
}

#[test]
fn callers_are_what_their_labels_say_exactly() {
    let policy = |kind: &str, metadata: &str, selector: &str| {
        format!("kind: {kind}\nmetadata: {metadata}\nspec:\n  endpointSelector: {selector}\n{OPEN}")
    };
    let (own, all) = ("CiliumNetworkPolicy", "CiliumClusterwideNetworkPolicy");
    let namespace = "k8s:io.kubernetes.pod.namespace";
    let account = "io.cilium.k8s.policy.serviceaccount";
    let shop_web = "cluster.local/ns/shop/sa/web";
    let shop_cart = "cluster.local/ns/shop/sa/cart";
    let payments_web = "cluster.local/ns/payments/sa/web";
    for (text, expected) in [
        (policy(own, "{name: a, namespace: shop}", "{}"), &[shop_web, shop_cart][..]),
        (
            policy(
                own,
                "{name: a, namespace: shop}",
                &format!("{{matchLabels: {{{account}: web}}}}"),
            ),
            &[shop_web],
        ),
        (policy(own, "{name: a, namespace: '*'}", "{}"), &[]),
        (policy(own, "{name: a}", "{}"), &[]),
        (
            policy(
                own,
                "{name: a, namespace: shop}",
                &format!("{{matchLabels: {{{account}: '*'}}}}"),
            ),
            &[],
        ),
        (
            policy(
                own,
                "{name: a, namespace: shop}",
                &format!("{{matchLabels: {{{namespace}: payments}}}}"),
            ),
            &[],
        ),
        (
            policy(
                own,
                "{name: a, namespace: shop}",
                "{matchExpressions: [{key: tier, operator: NotIn, values: [back]}]}",
            ),
            &[shop_web],
        ),
        (
            policy(
                own,
                "{name: a, namespace: shop}",
                "{matchExpressions: [{key: tier, operator: Exists}]}",
            ),
            &[shop_web, shop_cart],
        ),
        (
            policy(
                own,
                "{name: a, namespace: shop}",
                "{matchExpressions: [{key: tier, operator: DoesNotExist}]}",
            ),
            &[],
        ),
        (
            policy(own, "{name: a, namespace: shop}", "{matchLabels: {'k8s:tier': back}}"),
            &[shop_cart],
        ),
        (policy(all, "{name: a}", "{}"), &[shop_web, shop_cart, payments_web]),
        (
            policy(all, "{name: a}", &format!("{{matchLabels: {{{namespace}: payments}}}}")),
            &[payments_web],
        ),
        (
            policy(
                all,
                "{name: a}",
                &format!(
                    "{{matchExpressions: [{{key: {namespace}, operator: NotIn, values: [shop]}}]}}"
                ),
            ),
            &[],
        ),
        (policy(all, "{name: a}", &format!("{{matchLabels: {{{account}: web}}}}")), &[]),
        (
            policy(
                all,
                "{name: a}",
                &format!(
                    "{{matchExpressions: [{{key: {namespace}, operator: In, values: [shop, payments]}}], matchLabels: {{{account}: web}}}}"
                ),
            ),
            &[shop_web, payments_web],
        ),
        (policy(all, "{name: a}", "null"), &[]),
    ] {
        let (imported, config) = import_for("cilium", "a.yaml", &text, Some(ACCOUNTS));
        for caller in [shop_web, shop_cart, payments_web] {
            assert_decides(
                &config,
                Some(caller),
                &[("a.example", 443, expected.contains(&caller))],
            );
        }
        assert_decides(&config, None, &[("a.example", 443, false)]);
        assert_eq!(imported.open.is_empty(), !expected.is_empty(), "{text} {:?}", imported.open);
    }
}

#[test]
fn any_name_is_any_host_but_addresses_and_special_names() {
    let text = of_shop("  egress: [{toFQDNs: [{matchPattern: '*'}]}]\n");
    let (imported, config) = import_for("cilium", "a.yaml", &text, None);
    assert_clean(&imported);
    assert!(imported.open[0].contains("any host"), "{:?}", imported.open);
    let web = Some("cluster.local/ns/shop/sa/web");
    assert_decides(&config, web, &[("x.y.example", 443, true), ("192.0.2.1", 443, false)]);
    assert_decides(&config, None, &[("x.y.example", 443, false)]);
}

#[test]
fn a_policy_that_selects_no_pod_denies_nobody() {
    let text = format!(
        "{}---\nkind: CiliumNetworkPolicy\nmetadata: {{name: b, namespace: payments}}\nspec:\n  endpointSelector: \
         {{matchLabels: {{'k8s:io.kubernetes.pod.namespace': shop}}}}\n  egressDeny: [{{toEntities: [world]}}]\n",
        of_shop(OPEN)
    );
    let (imported, config) = import_for("cilium", "a.yaml", &text, None);
    assert!(imported.open[0].contains("which selects no pod"), "{:?}", imported.open);
    assert_decides(&config, Some("cluster.local/ns/shop/sa/web"), &[("a.example", 443, true)]);
}

#[test]
fn a_key_of_a_spec_that_is_not_known_leaves_it_closed() {
    let text = of_shop(&format!(
        "  at: night\n{OPEN}  egressDeny: [{{toPorts: [{{ports: [{{port: '80'}}]}}]}}]\n"
    ));
    let (imported, config) = import_for("cilium", "a.yaml", &text, None);
    assert!(imported.open[0].contains("`at`"), "{:?}", imported.open);
    assert_decides(&config, Some("cluster.local/ns/shop/sa/web"), &[("a.example", 443, false)]);
    assert_eq!(config.policy.rules().len(), 1, "the deny stays: {}", imported.text);
}

/// An empty list is any port, any request or any pod, and another value must not be taken for one.
#[test]
fn what_is_no_list_or_object_is_an_error() {
    let name = "toFQDNs: [{matchName: a.example}]";
    for rest in [
        format!("  egress: [{{{name}, toPorts: {{ports: [{{port: '443'}}]}}}}]\n"),
        format!("  egress: [{{{name}, toPorts: [{{ports: {{port: '443'}}}}]}}]\n"),
        format!("  egress: [{{{name}, toPorts: [{{ports: [{{port: '443'}}], rules: [x]}}]}}]\n"),
        format!(
            "  egress: [{{{name}, toPorts: [{{ports: [{{port: '443'}}], rules: {{http: {{method: GET}}}}}}]}}]\n"
        ),
        format!("{OPEN}  egressDeny: {{toEntities: [world]}}\n"),
        OPEN.replace(['[', ']'], ""),
    ] {
        let text = of_shop(&rest);
        let failure = in_process::import("cilium", &[("a.yaml", &text)], None);
        assert!(failure.is_err_and(|failure| failure.contains("which is not a")), "{text}");
    }
    for selector in ["[app]", "{matchLabels: [app]}", "{matchExpressions: {key: app}}"] {
        let text =
            of_shop(OPEN).replace("endpointSelector: {}", &format!("endpointSelector: {selector}"));
        assert!(in_process::import("cilium", &[("a.yaml", &text)], None).is_err(), "{text}");
    }
    let text = of_shop(OPEN).replace(
        "endpointSelector: {}",
        "endpointSelector: {matchExpressions: [{key: tier, operator: NotIn}]}",
    );
    let (imported, config) = import_for("cilium", "a.yaml", &text, Some(ACCOUNTS));
    assert_eq!((imported.open.len(), config.policy.rules().len()), (1, 0), "{}", imported.text);
}

#[test]
fn a_version_of_cilium_is_for_its_policies_alone() {
    let failure = in_process::import_since("domains", &[("a", "a.example")], None, DEEP);
    assert!(failure.is_err_and(|failure| failure.contains("`--cilium-version` for domains")));
}
