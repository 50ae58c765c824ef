//! Istio, by its reference: what ServiceEntries register, as `exportTo` and Sidecars show it to a caller, and what
//! AuthorizationPolicies of the gateway allow. Values match exactly, as `prefix*`, as `*suffix`, or, `*`, if
//! present.

use super::{Sent, assert_clean, decision, hosts, import, is_allowed, sent};
use egress_warden::config::Config;
use egress_warden::policy::Action;
use proptest::prelude::*;
use serde_json::{Value, json};

/// Fields of a source or an operation, with their values.
type Fields = Vec<(&'static str, Vec<&'static str>)>;

#[derive(Clone, Debug)]
struct Service {
    name: String,
    namespace: &'static str,
    hosts: Vec<String>,
    ports: Vec<u16>,
    exported: Option<Vec<&'static str>>,
    is_internal: bool,
}

#[derive(Clone, Debug)]
struct Policy {
    name: String,
    namespace: &'static str,
    target: Target,
    action: &'static str,
    is_dry: bool,
    rules: Vec<(Vec<Fields>, Vec<Fields>, Fields)>,
}

/// What a policy selects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Target {
    Gateway,
    Namespace,
    Web,
}

#[derive(Clone, Debug)]
struct Sidecar {
    name: String,
    namespace: &'static str,
    is_of_some: bool,
    /// The port and the hosts of each listener.
    listeners: Vec<(Option<u16>, Vec<&'static str>)>,
}

#[derive(Clone, Debug, Default)]
struct Mesh {
    services: Vec<Service>,
    policies: Vec<Policy>,
    sidecars: Vec<Sidecar>,
}

/// What a policy here does not see of a request.
#[derive(Clone, Debug)]
struct Unseen {
    /// Where a caller is who is not verified.
    home: &'static str,
    /// Whether the workload has the label that Sidecars select.
    is_selected: bool,
    team: Option<&'static str>,
    listener: &'static str,
    is_near: bool,
    /// What the provider of CUSTOM says.
    is_passed: bool,
}

const HOME: &str = "infra";
const ROOT: &str = "istio-system";

fn is_match(pattern: &str, value: &str) -> bool {
    match (pattern.strip_prefix('*'), pattern.strip_suffix('*')) {
        (Some(""), _) => !value.is_empty(),
        (Some(end), _) => value.ends_with(end),
        (_, Some(start)) => value.starts_with(start),
        _ => value == pattern,
    }
}

/// The namespace and the account of a caller.
fn identity(caller: Option<&str>) -> Option<(&str, &str)> {
    let parts: Vec<_> = caller?.split('/').collect();
    match parts[..] {
        [_, "ns", namespace, "sa", account] => Some((namespace, account)),
        _ => None,
    }
}

impl Mesh {
    fn passes(&self, sent: &Sent, unseen: &Unseen, is_later: bool) -> bool {
        let is_registered = |service: &Service| {
            let hosts = service.hosts.iter().filter(|host| is_match(host, &sent.host));
            !service.is_internal
                && service.ports.contains(&sent.port)
                && hosts.into_iter().any(|host| self.sees(service, host, sent, unseen))
        };
        let is_known = self.services.is_empty() || self.services.iter().any(is_registered);
        let of = |action: &'static str| {
            self.policies.iter().filter(move |policy| {
                policy.action == action && policy.is_of_gateway() && (is_later || !policy.is_dry)
            })
        };
        let matches =
            |policy: &Policy| policy.rules.iter().any(|rule| is_ruled(rule, policy, sent, unseen));
        // A provider is asked for real only.
        let is_refused = |policy: &Policy| !policy.is_dry && matches(policy) && !unseen.is_passed;
        is_known
            && !of("CUSTOM").any(is_refused)
            && !of("DENY").any(matches)
            && (of("ALLOW").next().is_none() || of("ALLOW").any(matches))
    }

    fn sees(&self, service: &Service, host: &str, sent: &Sent, unseen: &Unseen) -> bool {
        let home = identity(sent.caller).map_or(unseen.home, |(namespace, _)| namespace);
        let is_exported = service.exported.as_ref().is_none_or(|exported| {
            exported.contains(&"*")
                || sent.caller.is_some()
                    && (exported.contains(&home)
                        || exported.contains(&".") && service.namespace == home)
        });
        let of = |namespace: &str, is_of_some: bool| {
            self.sidecars
                .iter()
                .find(move |it| it.namespace == namespace && it.is_of_some == is_of_some)
        };
        let special = if unseen.is_selected { of(home, true) } else { None };
        let sidecar = special.or_else(|| of(home, false)).or_else(|| of(ROOT, false));
        let shows = |sidecar: &Sidecar| {
            let listeners = &sidecar.listeners;
            let has_own = listeners.iter().any(|(port, _)| *port == Some(sent.port));
            let own = if has_own { Some(sent.port) } else { None };
            listeners.is_empty()
                || listeners
                    .iter()
                    .filter(|(port, _)| *port == own)
                    .flat_map(|(_, hosts)| hosts)
                    .any(|it| {
                        let (from, name) = it.split_once('/').expect("a namespace");
                        let is_from = match from {
                            "*" => true,
                            "." => service.namespace == home,
                            _ => service.namespace == from,
                        };
                        let is_name = name == "*"
                            || name == host
                            || name.starts_with('*') && host.ends_with(&name[1..]);
                        is_from && is_name
                    })
        };
        is_exported && sidecar.is_none_or(shows)
    }

    fn text(&self) -> String {
        let services = self.services.iter().map(Service::object);
        let policies = self.policies.iter().map(Policy::object);
        let sidecars = self.sidecars.iter().map(Sidecar::object);
        let items: Vec<_> = services.chain(policies).chain(sidecars).collect();
        json!({ "apiVersion": "v1", "kind": "List", "items": items }).to_string()
    }

    /// The objects that an import may name as why something is refused.
    fn excuses(&self) -> Vec<String> {
        let policies = self.policies.iter().map(|it| format!("{}/{}", it.namespace, it.name));
        let sidecars = self.sidecars.iter().map(|it| format!("{}/{}", it.namespace, it.name));
        policies.chain(sidecars).chain(["neither a ServiceEntry".to_owned()]).collect()
    }
}

impl Policy {
    fn is_of_gateway(&self) -> bool {
        self.target != Target::Web && [HOME, ROOT].contains(&self.namespace)
    }

    fn object(&self) -> Value {
        let entries = |entries: &[Fields], key: &str| {
            let entry = |fields: &Fields| {
                let fields: serde_json::Map<_, _> =
                    fields.iter().map(|(key, values)| ((*key).to_owned(), json!(values))).collect();
                json!({ key: fields })
            };
            entries.iter().map(entry).collect::<Vec<_>>()
        };
        let rule = |(from, to, when): &(Vec<Fields>, Vec<Fields>, Fields)| {
            let when = when.iter().map(|(key, values)| match key.strip_prefix('!') {
                Some(key) => json!({ "key": key, "notValues": values }),
                None => json!({ "key": key, "values": values }),
            });
            json!({ "from": entries(from, "source"), "to": entries(to, "operation"), "when": when.collect::<Vec<_>>() })
        };
        let selector = match self.target {
            Target::Gateway => json!({ "matchLabels": { "istio": "egressgateway" } }),
            Target::Namespace => Value::Null,
            Target::Web => json!({ "matchLabels": { "istio": "web" } }),
        };
        let annotations = json!({ "istio.io/dry-run": self.is_dry.to_string() });
        json!({
            "apiVersion": "security.istio.io/v1",
            "kind": "AuthorizationPolicy",
            "metadata": { "name": self.name, "namespace": self.namespace, "annotations": annotations },
            "spec": {
                "selector": selector,
                "action": self.action,
                "rules": self.rules.iter().map(rule).collect::<Vec<_>>(),
            },
        })
    }
}

impl Service {
    fn object(&self) -> Value {
        let port =
            |port: &u16| json!({ "number": port, "name": format!("p{port}"), "protocol": "HTTP" });
        json!({
            "apiVersion": "networking.istio.io/v1",
            "kind": "ServiceEntry",
            "metadata": { "name": self.name, "namespace": self.namespace },
            "spec": {
                "hosts": self.hosts,
                "ports": self.ports.iter().map(port).collect::<Vec<_>>(),
                "exportTo": self.exported,
                "location": if self.is_internal { "MESH_INTERNAL" } else { "MESH_EXTERNAL" },
            },
        })
    }
}

impl Sidecar {
    fn object(&self) -> Value {
        let listener = |(port, hosts): &(Option<u16>, Vec<&str>)| match port {
            Some(port) => {
                json!({ "port": { "number": port, "name": "p", "protocol": "HTTP" }, "hosts": hosts })
            }
            None => json!({ "hosts": hosts }),
        };
        let mut spec = json!({ "egress": self.listeners.iter().map(listener).collect::<Vec<_>>() });
        if self.is_of_some {
            spec["workloadSelector"] = json!({ "labels": { "app": "web" } });
        }
        json!({
            "apiVersion": "networking.istio.io/v1",
            "kind": "Sidecar",
            "metadata": { "name": self.name, "namespace": self.namespace },
            "spec": spec,
        })
    }
}

fn is_ruled(
    (from, to, when): &(Vec<Fields>, Vec<Fields>, Fields),
    policy: &Policy,
    sent: &Sent,
    unseen: &Unseen,
) -> bool {
    let all = |fields: &Fields| {
        fields.iter().all(|(key, values)| {
            let is_not = key.starts_with("not");
            values.is_empty()
                || values.iter().any(|it| is_value(key, it, policy, sent, unseen)) != is_not
        })
    };
    let conditions = when.iter().all(|(key, values)| {
        let (name, is_not) = key.strip_prefix('!').map_or((*key, false), |name| (name, true));
        values.iter().any(|it| is_value(name, it, policy, sent, unseen)) != is_not
    });
    (from.is_empty() || from.iter().any(all)) && (to.is_empty() || to.iter().any(all)) && conditions
}

fn is_value(key: &str, value: &str, policy: &Policy, sent: &Sent, unseen: &Unseen) -> bool {
    let namespace = identity(sent.caller);
    match key {
        "principals" | "notPrincipals" | "source.principal" => {
            sent.caller.is_some_and(|caller| is_match(value, caller))
        }
        "namespaces" | "notNamespaces" | "source.namespace" => {
            namespace.is_some_and(|(namespace, _)| is_match(value, namespace))
        }
        "serviceAccounts" | "notServiceAccounts" => {
            let full = if value.contains('/') {
                value.to_owned()
            } else {
                format!("{}/{value}", policy.namespace)
            };
            namespace.is_some_and(|(namespace, account)| full == format!("{namespace}/{account}"))
        }
        "ipBlocks" | "notIpBlocks" => unseen.is_near,
        // With or without its port a host is the same host here.
        "hosts" | "notHosts" => {
            let value = value.to_ascii_lowercase();
            is_match(&value, &sent.host)
                || is_match(&value, &format!("{}:{}", sent.host, sent.port))
        }
        "ports" | "notPorts" => value == unseen.listener,
        "methods" | "notMethods" => is_match(value, sent.method),
        "paths" | "notPaths" => is_match(value, sent.path),
        "request.headers[x-team]" => unseen.team == Some(value),
        other => panic!("{other}"),
    }
}

const NAMESPACES: [&str; 4] = ["shop", "payments", HOME, ROOT];
const CALLERS: [Option<&str>; 6] = [
    None,
    Some("cluster.local/ns/shop/sa/web"),
    Some("cluster.local/ns/payments/sa/web"),
    Some("cluster.local/ns/payments/sa/charger"),
    Some("other.example/ns/shop/sa/web"),
    Some("cluster.local/ns/stock/sa/web"),
];
const HOSTS: [&str; 16] = [
    "media.example",
    "*.media.example",
    "a.media.example",
    "cdn.media.example",
    "CDN.media.example",
    "*.a.media.example",
    "bank.example",
    "*.bank.example",
    "bank.example:*",
    "a.bank.example:8080",
    "*media.example",
    "*a.media.example",
    "*-a.bank.example",
    "cdn.*",
    "*.example",
    "*",
];
const SOURCES: [(&str, &[&str]); 14] = [
    ("principals", &["cluster.local/ns/payments/sa/charger"]),
    ("principals", &["cluster.local/ns/shop/*", "other.example/*"]),
    ("principals", &["*/sa/web"]),
    ("principals", &["*"]),
    ("notPrincipals", &["cluster.local/ns/shop/sa/web"]),
    ("notPrincipals", &["*/sa/charger"]),
    ("namespaces", &["shop", "payments"]),
    ("namespaces", &["pay*"]),
    ("namespaces", &["*"]),
    ("notNamespaces", &["shop"]),
    ("serviceAccounts", &["payments/web", "web"]),
    ("notServiceAccounts", &["shop/web"]),
    ("ipBlocks", &["192.0.2.0/24"]),
    ("notIpBlocks", &["192.0.2.0/24"]),
];
const OPERATIONS: [(&str, &[&str]); 12] = [
    ("methods", &["GET"]),
    ("methods", &["P*"]),
    ("methods", &["*"]),
    ("notMethods", &["POST"]),
    ("paths", &["/v1/charges", "/v2*"]),
    ("paths", &["*charges"]),
    ("paths", &["v1", "/v1/*"]),
    ("notPaths", &["/v1/charges"]),
    ("notPaths", &["/v1*b"]),
    ("ports", &["8443"]),
    ("notPorts", &["8443"]),
    ("paths", &["*"]),
];
const CONDITIONS: [(&str, &[&str]); 5] = [
    ("source.namespace", &["shop"]),
    ("!source.namespace", &["payments"]),
    ("source.principal", &["*/sa/web"]),
    ("request.headers[x-team]", &["blue"]),
    ("!request.headers[x-team]", &["blue"]),
];

/// Some fields of a table, each once.
fn fields(table: &'static [(&str, &[&str])], most: usize) -> impl Strategy<Value = Fields> {
    prop::sample::subsequence(table, 0..=most).prop_map(|chosen| {
        let mut fields = Fields::new();
        for (key, values) in chosen {
            if fields.iter().all(|(known, _)| *known != key) {
                fields.push((key, values.to_vec()));
            }
        }
        fields
    })
}

fn operation() -> impl Strategy<Value = Fields> {
    let hosts = || prop::sample::subsequence(&HOSTS[..], 0..3);
    (hosts(), prop::option::weighted(0.3, hosts()), fields(&OPERATIONS, 1)).prop_map(
        |(hosts, not_hosts, mut fields)| {
            fields.push(("hosts", hosts));
            fields.extend(not_hosts.map(|hosts| ("notHosts", hosts)));
            fields
        },
    )
}

fn policy() -> impl Strategy<Value = Policy> {
    let rule = (
        prop::collection::vec(fields(&SOURCES, 2), 0..3),
        prop::collection::vec(operation(), 0..3),
        prop_oneof![3 => Just(Fields::new()), 1 => fields(&CONDITIONS, 1)],
    );
    let target = prop_oneof![
        6 => Just(Target::Gateway),
        2 => Just(Target::Namespace),
        1 => Just(Target::Web)
    ];
    (
        prop_oneof![4 => Just(HOME), 2 => Just(ROOT), 1 => Just("shop")],
        target,
        prop_oneof![4 => Just("ALLOW"), 3 => Just("DENY"), 1 => Just("AUDIT"), 1 => Just("CUSTOM")],
        prop::bool::weighted(0.2),
        prop::collection::vec(rule, 0..3),
    )
        .prop_map(|(namespace, target, action, is_dry, rules)| Policy {
            name: String::new(),
            namespace,
            target,
            action,
            is_dry,
            rules,
        })
}

fn service() -> impl Strategy<Value = Service> {
    let host = (prop::sample::select(vec!["", "", "*."]), prop::sample::select(hosts()));
    let exported = prop::sample::subsequence(vec![".", "payments", "stock", "*"], 1..3);
    (
        prop::sample::select(&NAMESPACES[..]),
        prop::collection::vec(host.prop_map(|(star, host)| format!("{star}{host}")), 1..5),
        prop::sample::subsequence(vec![80, 443, 8080], 1..3),
        prop::option::weighted(0.3, exported),
        prop::bool::weighted(0.1),
    )
        .prop_map(|(namespace, hosts, ports, exported, is_internal)| Service {
            name: String::new(),
            namespace,
            hosts,
            ports,
            exported,
            is_internal,
        })
}

fn sidecars() -> impl Strategy<Value = Vec<Sidecar>> {
    let host = prop::sample::select(vec![
        "*/*",
        "./*",
        "infra/*",
        "*/*.media.example",
        "infra/*.bank.example",
        "*/media.example",
        "shop/*",
    ]);
    let listener = (
        prop::option::weighted(0.3, prop::sample::select(vec![443, 8080])),
        prop::collection::vec(host, 1..4),
    );
    let one = (prop::bool::weighted(0.3), prop::collection::vec(listener, 0..3));
    prop::collection::vec(prop::option::weighted(0.3, one), 5).prop_map(|all| {
        // One Sidecar for each namespace, and one of some workloads; more would be undefined.
        let places = [
            ("shop", false),
            ("shop", true),
            ("payments", false),
            ("payments", true),
            (ROOT, false),
        ];
        let sidecar =
            |((namespace, is_of_some), one): ((&'static str, bool), Option<(bool, _)>)| {
                one.map(|(_, listeners)| Sidecar {
                    name: format!("sidecar-{is_of_some}"),
                    namespace,
                    is_of_some,
                    listeners,
                })
            };
        places.into_iter().zip(all).filter_map(sidecar).collect()
    })
}

fn mesh() -> impl Strategy<Value = Mesh> {
    (
        prop_oneof![1 => Just(Vec::new()), 4 => prop::collection::vec(service(), 1..5)],
        prop::collection::vec(policy(), 0..4),
        prop_oneof![2 => Just(Vec::new()), 1 => sidecars()],
    )
        .prop_map(|(mut services, mut policies, sidecars)| {
            for (number, service) in services.iter_mut().enumerate() {
                service.name = format!("service-{number}");
            }
            let has_gateway =
                policies.iter().any(|it| it.target == Target::Gateway && it.namespace == HOME);
            // Without a policy that says where the gateway is, one of another namespace would be taken for its.
            policies.retain(|it| has_gateway || it.namespace != "shop");
            for (number, policy) in policies.iter_mut().enumerate() {
                policy.name = format!("policy-{number}");
                if policy.namespace == "shop" && policy.target == Target::Gateway {
                    policy.target = Target::Web;
                }
            }
            Mesh { services, policies, sidecars }
        })
        .prop_filter("something", |mesh| !mesh.text().contains("\"items\":[]"))
}

fn request() -> impl Strategy<Value = (Sent, Unseen)> {
    let sent = (
        prop::sample::select(hosts()),
        prop::sample::select(vec![80, 443, 8080]),
        prop::sample::select(vec!["GET", "POST"]),
        prop::sample::select(vec!["/", "/v1/charges", "/v1/x", "/v2"]),
        prop::sample::select(&CALLERS[..]),
    );
    let unseen = (
        prop::sample::select(vec!["shop", "payments", HOME, "stock"]),
        any::<bool>(),
        prop::sample::select(vec![None, Some("blue")]),
        prop::sample::select(vec!["8443", "8080"]),
        (any::<bool>(), any::<bool>()),
    );
    let sent = sent.prop_map(|(host, port, method, path, caller)| Sent {
        host,
        port,
        method,
        path,
        caller,
    });
    let unseen = unseen.prop_map(|(home, is_selected, team, listener, (is_near, is_passed))| {
        Unseen { home, is_selected, team, listener, is_near, is_passed }
    });
    (sent, unseen)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(192))]
    #[test]
    fn what_the_mesh_refuses_stays_refused_and_what_is_missing_is_named(
        mesh in mesh(),
        requests in prop::collection::vec(request(), 120),
    ) {
        let text = mesh.text();
        let (imported, config) = import("istio", "mesh.json", &text);
        let told = imported.open.join("\n");
        let is_named = mesh.excuses().iter().any(|excuse| told.contains(excuse));
        // Who is not verified may be of any namespace, also of one whose Sidecar shows less.
        let has_sidecars = !mesh.sidecars.is_empty();
        for (sent, unseen) in requests {
            let decision = decision(&config, &sent);
            let now = decision.verdict.action == Action::Allow;
            let later = decision.would.map_or(now, |would| would.action == Action::Allow);
            for (is, is_later) in [(now, false), (later, true)] {
                let expected = mesh.passes(&sent, &unseen, is_later);
                prop_assert!(expected || !is, "widened, {} {:?} {:?}\n{}\n{}", is_later, sent, unseen, text, imported.text);
                let is_unknown = sent.caller.is_none() && has_sidecars;
                let is_foreign = sent.caller.is_some_and(|caller| !caller.starts_with("cluster.local/"));
                let is_unknown = is_unknown || is_foreign && imported.text.contains("is any trust domain here");
                prop_assert!(
                    is || !expected || is_named || is_unknown,
                    "unnamed, {} {:?} {:?}\n{}\n{}", is_later, sent, unseen, text, imported.text
                );
            }
        }
    }
}

/// A request (host, port, method, path and caller) and whether it is allowed.
type Row<'a> = (&'a str, u16, &'static str, &'static str, Option<&'static str>, bool);

fn assert_verdicts(config: &Config, expected: &[Row<'_>]) {
    for (host, port, method, path, caller, is) in expected {
        let sent = Sent { method, path, caller: *caller, ..sent(host, *port) };
        assert_eq!(is_allowed(config, &sent), *is, "{sent:?}");
    }
}

const SHOP: Option<&str> = Some("cluster.local/ns/shop/sa/web");
const CHARGER: Option<&str> = Some("cluster.local/ns/payments/sa/charger");
const AGENT: Option<&str> = Some("cluster.local/ns/infra/sa/agent");

fn entry(name: &str, namespace: &str, spec: &str) -> String {
    object("networking.istio.io/v1", "ServiceEntry", name, namespace, spec)
}

fn authorization(name: &str, namespace: &str, spec: &str) -> String {
    object("security.istio.io/v1", "AuthorizationPolicy", name, namespace, spec)
}

fn object(version: &str, kind: &str, name: &str, namespace: &str, spec: &str) -> String {
    format!(
        "---\napiVersion: {version}\nkind: {kind}\nmetadata: {{name: {name}, namespace: {namespace}}}\nspec: {{{spec}}}\n"
    )
}

const GATEWAY: &str = "selector: {matchLabels: {istio: egressgateway}}";

#[test]
fn what_is_registered_and_authorized_is_allowed() {
    let text = [
        entry("ledger", "infra", "hosts: [api.ledger.example], location: MESH_EXTERNAL, ports: [{number: 443, name: tls, protocol: TLS}], resolution: DNS"),
        entry("media", "infra", "hosts: ['*.media.example'], ports: [{number: 80, name: http, protocol: HTTP}, {number: 443, name: tls, protocol: TLS}], resolution: NONE"),
        authorization("egress", "infra", &format!("{GATEWAY}, action: ALLOW, rules: [\
            {{from: [{{source: {{principals: [cluster.local/ns/payments/sa/charger]}}}}], \
            to: [{{operation: {{hosts: [api.ledger.example], methods: [POST], paths: [/v1/charges*]}}}}]}}, \
            {{from: [{{source: {{namespaces: [shop]}}}}], to: [{{operation: {{hosts: ['*.media.example']}}}}]}}]")),
    ]
    .concat();
    for kind in ["istio", "auto"] {
        let (imported, config) = import(kind, "mesh.yaml", &text);
        assert_eq!(imported.open, Vec::<String>::new());
        assert_clean(&imported);
        let (ledger, charge) = ("api.ledger.example", "/v1/charges/7");
        assert_verdicts(
            &config,
            &[
                (ledger, 443, "POST", charge, CHARGER, true),
                (ledger, 443, "GET", charge, CHARGER, false),
                (ledger, 443, "POST", "/v1/admin", CHARGER, false),
                (ledger, 443, "POST", charge, SHOP, false),
                (ledger, 443, "POST", charge, None, false),
                (ledger, 8080, "POST", charge, CHARGER, false),
                ("cdn.media.example", 443, "GET", "/", SHOP, true),
                ("a.b.media.example", 80, "GET", "/", SHOP, true),
                ("media.example", 443, "GET", "/", SHOP, false),
                ("cdn.media.example", 443, "GET", "/", CHARGER, false),
                ("cdn.media.example", 443, "GET", "/", None, false),
                ("cdn.media.example", 8443, "GET", "/", SHOP, false),
                ("other.example", 443, "GET", "/", SHOP, false),
            ],
        );
    }
}

#[test]
fn a_list_of_services_is_for_whom_it_is_exported_to() {
    let text = "apiVersion: v1\nkind: List\nitems:\n\
        - apiVersion: networking.istio.io/v1beta1\n  kind: ServiceEntry\n  metadata: {name: rates, namespace: infra}\n  \
        spec:\n    hosts: [rates.bank.example]\n    ports: [{number: 443, name: https, protocol: TLS}]\n\
        - apiVersion: networking.istio.io/v1beta1\n  kind: ServiceEntry\n  metadata: {name: push, namespace: shop}\n  \
        spec:\n    hosts: [push.notify.example, feed.notify.example]\n    exportTo: [\".\"]\n    \
        ports: [{number: 443, name: https, protocol: TLS}, {number: 8080, name: http, protocol: HTTP}]\n\
        - apiVersion: networking.istio.io/v1beta1\n  kind: ServiceEntry\n  metadata: {name: pool, namespace: infra}\n  \
        spec:\n    hosts: [pool.internal.example]\n    location: MESH_INTERNAL\n    ports: [{number: 8080, name: http}]\n";
    for kind in ["istio", "auto"] {
        let (imported, config) = import(kind, "list.yaml", text);
        assert_eq!(imported.open, Vec::<String>::new());
        assert_clean(&imported);
        let [passed_over] = &imported.passed_over[..] else { panic!("{imported:?}") };
        assert!(
            passed_over.contains("MESH_INTERNAL") && passed_over.contains("infra/pool"),
            "{passed_over}"
        );
        assert_verdicts(
            &config,
            &[
                ("rates.bank.example", 443, "GET", "/", None, true),
                ("rates.bank.example", 443, "GET", "/", CHARGER, true),
                ("rates.bank.example", 8080, "GET", "/", None, false),
                ("x.rates.bank.example", 443, "GET", "/", None, false),
                ("push.notify.example", 443, "GET", "/", SHOP, true),
                ("feed.notify.example", 8080, "GET", "/", SHOP, true),
                ("push.notify.example", 443, "GET", "/", CHARGER, false),
                ("push.notify.example", 443, "GET", "/", None, false),
                ("pool.internal.example", 8080, "GET", "/", SHOP, false),
                ("other.example", 443, "GET", "/", SHOP, false),
            ],
        );
    }
}

#[test]
fn a_deny_wins_and_a_condition_that_cannot_be_said_opens_nothing() {
    let text = [
        authorization("deny-vault", "infra", &format!("{GATEWAY}, action: DENY, rules: [\
            {{from: [{{source: {{notNamespaces: [infra]}}}}], to: [{{operation: {{hosts: [vault.bank.example]}}}}]}}]")),
        authorization("allow-bank", "infra", &format!("{GATEWAY}, rules: [\
            {{from: [{{source: {{namespaces: [shop, infra]}}}}], to: [{{operation: {{hosts: ['*.bank.example'], notPaths: [/internal*]}}}}]}}, \
            {{to: [{{operation: {{hosts: [status.notify.example]}}}}], when: [{{key: 'request.headers[x-team]', values: [blue]}}]}}]")),
        authorization("watch", "infra", &format!("{GATEWAY}, action: AUDIT, rules: [{{to: [{{operation: {{hosts: [files.parcel.example]}}}}]}}]")),
    ]
    .concat();
    let (imported, config) = import("istio", "mesh.yaml", &text);
    assert_clean(&imported);
    let [point] = &imported.open[..] else { panic!("{imported:?}") };
    assert!(
        point.starts_with("mesh.yaml:") && point.contains("`when` request.headers[x-team]"),
        "{point}"
    );
    let [passed_over] = &imported.passed_over[..] else { panic!("{imported:?}") };
    assert!(passed_over.contains("infra/watch: AUDIT"), "{passed_over}");
    assert_verdicts(
        &config,
        &[
            ("vault.bank.example", 443, "GET", "/", AGENT, true),
            ("vault.bank.example", 443, "GET", "/", SHOP, false),
            ("rates.bank.example", 443, "GET", "/", SHOP, true),
            ("rates.bank.example", 443, "GET", "/internal/x", SHOP, false),
            ("rates.bank.example", 443, "GET", "/", CHARGER, false),
            ("rates.bank.example", 443, "GET", "/", None, false),
            ("status.notify.example", 443, "GET", "/", None, false),
            ("status.notify.example", 443, "GET", "/", SHOP, false),
            ("files.parcel.example", 443, "GET", "/", SHOP, false),
        ],
    );
}

/// A host that everybody may reach, beside policies.
fn registered(policies: &[String]) -> String {
    let service =
        entry("bank", "infra", "hosts: [a.bank.example], ports: [{number: 443, name: tls}]");
    [service].into_iter().chain(policies.iter().cloned()).collect()
}

#[test]
fn only_the_policies_of_the_egress_gateway_count() {
    let gateway = |namespace: &str| {
        authorization("own", namespace, &format!("{GATEWAY}, action: DENY, rules: []"))
    };
    let of = |namespace: &str, spec: &str| authorization("it", namespace, spec);
    let closed = "rules: []";
    let ingress = format!("selector: {{matchLabels: {{istio: ingressgateway}}}}, {closed}");
    let web = format!("selector: {{matchLabels: {{app: web}}}}, {closed}");
    let open = "selector: {matchLabels: {app: web}}, rules: [{}]".to_owned();
    let other_egress = format!("selector: {{matchLabels: {{istio: egressgateway-eu}}}}, {closed}");
    let target = format!(
        "targetRefs: [{{kind: Gateway, group: gateway.networking.k8s.io, name: ingress}}], {closed}"
    );
    for (policies, is_open, word) in [
        // Another workload, of another namespace or with another value of the label.
        (vec![gateway("infra"), of("shop", &web)], true, "for `app: web`, not the egress gateway"),
        (
            vec![gateway("infra"), of("shop", closed)],
            true,
            "for its whole namespace, not the egress gateway",
        ),
        (
            vec![gateway("istio-system"), of("istio-system", &ingress)],
            true,
            "not the egress gateway",
        ),
        (
            vec![gateway("infra"), of("infra", &target)],
            true,
            "for Gateway ingress, not the egress gateway",
        ),
        // The whole namespace, or the whole mesh.
        (vec![gateway("infra"), of("infra", closed)], false, ""),
        (vec![gateway("infra"), of("istio-system", closed)], false, ""),
        (vec![of("infra", closed)], false, ""),
        (vec![of("infra", &format!("{GATEWAY}, {closed}"))], false, ""),
        // The input does not say.
        (
            vec![gateway("infra"), of("infra", &web)],
            false,
            "which may be the egress gateway or not",
        ),
        (vec![of("shop", &web)], false, "which may be the egress gateway or not"),
        (
            vec![gateway("istio-system"), of("shop", closed)],
            false,
            "may be the egress gateway or not",
        ),
        (
            vec![gateway("infra"), of("infra", &other_egress)],
            false,
            "may be the egress gateway or not",
        ),
        (vec![of("infra", closed), of("shop", closed)], false, "may be the egress gateway or not"),
        // Nor does it matter: beside an ALLOW of the gateway another only opens.
        (
            vec![of("istio-system", &format!("{GATEWAY}, {closed}")), of("shop", &open)],
            false,
            "it: for `app: web`, which is taken for another than the egress gateway",
        ),
    ] {
        let (imported, config) = import("istio", "mesh.yaml", &registered(&policies));
        let told = imported.open.iter().chain(&imported.passed_over).map(String::as_str);
        let told = told.collect::<Vec<_>>().join("\n");
        assert!(told.contains(word), "{policies:?}\n{told}");
        assert_eq!(told.is_empty(), word.is_empty(), "{policies:?}\n{told}");
        assert_eq!(
            is_allowed(&config, &sent("a.bank.example", 443)),
            is_open,
            "{policies:?}\n{told}"
        );
    }
}

#[test]
fn what_is_of_another_shape_opens_nothing() {
    let allow = |rules: &str| {
        registered(&[authorization("it", "infra", &format!("{GATEWAY}, rules: {rules}"))])
    };
    let deny = |rules: &str| {
        registered(&[authorization(
            "it",
            "infra",
            &format!("{GATEWAY}, action: DENY, rules: {rules}"),
        )])
    };
    let service = |spec: &str| entry("it", "infra", spec);
    for text in [
        allow("{}"),
        allow("[{from: {source: {namespaces: [shop]}}}]"),
        allow("[{from: [{source: {namespaces: shop}}]}]"),
        allow("[{from: [{source: {namespace: [shop]}}]}]"),
        allow("[{from: [{namespaces: [shop]}]}]"),
        allow("[{from: [shop]}]"),
        allow("[{from: [{source: [shop]}]}]"),
        allow("[{form: [{source: {namespaces: [shop]}}]}]"),
        allow("[shop]"),
        allow("[{from: [{source: {principals: ['spiffe://cluster.local/ns/shop/sa/web']}}]}]"),
        allow("[{from: [{source: {requestPrincipals: ['*']}}]}]"),
        allow("[{from: [{source: {remoteIpBlocks: [192.0.2.0/24]}}]}]"),
        allow("[{from: [{source: {trustDomains: [cluster.local]}}]}]"),
        allow("[{to: [{operation: {hosts: a.bank.example}}]}]"),
        allow("[{to: [{operation: {hosts: ['*bank.*']}}]}]"),
        allow(
            "[{to: [{operation: {hosts: ['.bank.example', 'a*.bank.example', 'a.bank.example:http']}}]}]",
        ),
        allow("[{to: [{operation: {hosts: [a.bank.example], ports: ['443']}}]}]"),
        allow("[{to: [{operation: {methods: [get]}}]}]"),
        allow("[{to: [{operation: {notPaths: ['/a*b']}}]}]"),
        allow("[{to: {operation: {hosts: [a.bank.example]}}}]"),
        allow("[{when: [{key: connection.sni, values: [a.bank.example]}]}]"),
        allow("[{when: {key: source.namespace, values: [shop]}}]"),
        allow("[{when: [{key: source.namespace}]}]"),
        allow("[{when: [{key: source.namespace, notValues: []}]}]"),
        allow("[{when: [{key: source.namespace, values: [shop], at: night}]}]"),
        deny("[{when: [{key: connection.sni, values: [b.bank.example]}]}]"),
        deny("[{to: [{operation: {hosts: 'b.bank.example'}}]}]"),
        deny("[{to: [{operation: {hosts: ['a*'], ports: ['8443']}}]}]"),
        deny("[{to: [{operation: {paths: ['/a*b']}}]}]"),
        service("hosts: a.bank.example, ports: [{number: 443, name: tls}]"),
        service(
            "hosts: [.bank.example, '*', '*.example', 'a*.bank.example', 192.0.2.0/24], ports: [{number: 443, name: tls}]",
        ),
        service("hosts: [a.bank.example], ports: []"),
        service("hosts: [a.bank.example], ports: [{number: '443', name: tls}]"),
        service("hosts: [a.bank.example], ports: [{number: 443, name: u, protocol: UDP}]"),
        service("hosts: [a.bank.example], ports: [{number: 443, name: tls}], exportTo: '.'"),
        service("hosts: [a.bank.example], ports: [{number: 443, name: tls}], exportTo: ['**']"),
        service("hosts: [a.bank.example], ports: [{number: 443, name: tls}], location: 7"),
    ] {
        let (imported, config) = import("istio", "mesh.yaml", &text);
        assert!(!imported.open.is_empty(), "{text}\n{}", imported.text);
        for host in ["a.bank.example", "x.bank.example"] {
            for caller in [None, SHOP] {
                let sent = Sent { caller, ..sent(host, 443) };
                assert!(!is_allowed(&config, &sent), "{text}\n{}", imported.text);
            }
        }
    }
}

#[test]
fn what_is_no_mesh_is_an_error_with_its_place() {
    let policy = authorization("it", "infra", "action: allow");
    let sidecar =
        "apiVersion: networking.istio.io/v1\nkind: Sidecar\nmetadata: {name: it}\nspec: {}\n";
    for (text, problem) in [
        ("apiVersion: networking.istio.io/v1\nkind: Gateway\n", "no ServiceEntry"),
        ("apiVersion: networking.gke.io/v1\nkind: ServiceEntry\n", "no ServiceEntry"),
        (&policy, "mesh.yaml:2: AuthorizationPolicy infra/it: action `allow`"),
        (sidecar, "mesh.yaml:1: Sidecar it, which names no namespace"),
    ] {
        let error = egress_warden_tool::in_process::import("istio", &[("mesh.yaml", text)], None);
        let error = error.expect_err(text);
        assert!(error.contains(problem), "{error}");
    }
}

#[test]
fn ten_thousand_hosts_are_one_rule_for_a_policy_that_allows_them() {
    let services = (0..100).map(|service| {
        let hosts = (0..100).map(|host| format!("h{host}.s{service}.bank.example"));
        let hosts = hosts.collect::<Vec<_>>().join(", ");
        entry(
            &format!("s{service}"),
            "infra",
            &format!("hosts: [{hosts}], ports: [{{number: 443, name: tls}}]"),
        )
    });
    let policy = authorization(
        "all",
        "infra",
        &format!("{GATEWAY}, rules: [{{from: [{{source: {{namespaces: [shop]}}}}]}}]"),
    );
    let text: String = services.chain([policy]).collect();
    let (imported, config) = import("istio", "mesh.yaml", &text);
    assert_eq!(imported.open, Vec::<String>::new());
    assert_eq!(imported.text.matches(".bank.example\n").count(), 10_000);
    assert_eq!(imported.text.matches("- id: ").count(), 1);
    assert_verdicts(
        &config,
        &[
            ("h7.s42.bank.example", 443, "GET", "/", SHOP, true),
            ("h7.s42.bank.example", 443, "GET", "/", CHARGER, false),
            ("h100.s42.bank.example", 443, "GET", "/", SHOP, false),
        ],
    );
}

#[test]
fn a_folder_is_read_with_all_that_is_in_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let below = folder.path().join("authorization");
    std::fs::create_dir(&below).expect("a folder");
    let service = entry(
        "bank",
        "infra",
        "hosts: [a.bank.example, b.bank.example], ports: [{number: 443, name: tls}]",
    );
    let policy = authorization(
        "it",
        "infra",
        &format!("{GATEWAY}, rules: [{{to: [{{operation: {{hosts: [a.bank.example]}}}}]}}]"),
    );
    std::fs::write(folder.path().join("services.yml"), service).expect("a file");
    std::fs::write(below.join("policy.yaml"), policy).expect("a file");
    std::fs::write(folder.path().join("README.md"), "# no policy").expect("a file");
    let output = super::run(&["import", folder.path().to_str().expect("text")]);
    let policy = String::from_utf8(output.stdout).expect("text");
    assert_eq!(output.status.code(), Some(0), "{policy}");
    assert!(
        policy.contains("- a.bank.example") && !policy.contains("- b.bank.example"),
        "{policy}"
    );
    let empty = super::run(&["import", below.join("..").join("none").to_str().expect("text")]);
    assert_eq!(empty.status.code(), Some(2));
}
