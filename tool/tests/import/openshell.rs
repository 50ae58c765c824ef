//! OpenShell's network policies, by its schema reference and its policy engine: an endpoint without a protocol
//! opens its host and port; where one of protocol `rest` matches, only what some such endpoint's rules or preset
//! open is open, without what the deny rules of any of them match. `*` in a host is one label, `**` one or more. GET
//! stands for HEAD. A `*` in a path is a segment's bytes; whether it crosses a `/` is not certain. A path with an
//! encoded slash is refused unless the endpoint takes it.

use super::{Sent, assert_clean, import, is_allowed, run, sent};
use egress_warden_tool::in_process;
use proptest::prelude::*;

/// A method and a path.
type Pair = (&'static str, &'static str);

#[derive(Clone, Debug)]
struct Endpoint {
    host: &'static str,
    port: u16,
    rest: Option<(Vec<Pair>, Vec<Pair>)>,
    /// `allow_encoded_slash`.
    takes_slashes: bool,
}

const ENDPOINT_HOSTS: [&str; 8] = [
    "api.media.example",
    "a.media.example",
    "Media.example",
    "**.media.example",
    "*.media.example",
    "a*.media.example",
    "x*.media.example",
    "b.*.media.example",
];

const HOSTS: [&str; 9] = [
    "media.example",
    "a.media.example",
    "api.media.example",
    "b.media.example",
    "b.a.media.example",
    "b.c.media.example",
    "xn--bcher-kva.media.example",
    "xmedia.example",
    "example.org",
];

const METHODS: [&str; 4] = ["*", "GET", "post", "DELETE"];
const PATHS: [&str; 7] = ["**", "/**", "/v1/**", "/v1/x", "/v1/*", "/*/x", "/v1/[xy]"];
const SENT_METHODS: [&str; 4] = ["GET", "HEAD", "POST", "DELETE"];
const SENT_PATHS: [&str; 7] = ["/", "/v1/", "/v1/x", "/v1/x/y", "/v2/x", "/v1/x%2fy", "/v1%2Fx"];

/// Whether a glob matches; a single `*` crosses a separator only where `crosses`.
fn glob(pattern: &[u8], text: &[u8], separator: u8, crosses: bool) -> bool {
    let any = |rest: &[u8], over: bool| {
        (0..=text.len())
            .take_while(|at| over || !text[..*at].contains(&separator))
            .any(|at| glob(rest, &text[at..], separator, crosses))
    };
    match (pattern, text) {
        ([b'*', b'*', rest @ ..], _) => any(rest, true),
        ([b'*', rest @ ..], _) => any(rest, crosses),
        ([b'[', b'x', b'y', b']', rest @ ..], [b'x' | b'y', after @ ..]) => {
            glob(rest, after, separator, crosses)
        }
        ([first, rest @ ..], [other, after @ ..]) => {
            first == other && glob(rest, after, separator, crosses)
        }
        ([], []) => true,
        _ => false,
    }
}

fn matches((method, path): &Pair, sent: &Sent, crosses: bool) -> bool {
    let method = method.to_uppercase();
    (method == "*" || method == sent.method || method == "GET" && sent.method == "HEAD")
        && (*path == "**" || glob(path.as_bytes(), sent.path.as_bytes(), b'/', crosses))
}

/// What is open where a `*` of an allow is read one way and that of a deny the other.
fn model(endpoints: &[Endpoint], sent: &Sent, allows_cross: bool, denies_cross: bool) -> bool {
    let is_host = |endpoint: &&Endpoint| {
        let host = endpoint.host.to_lowercase();
        glob(host.as_bytes(), sent.host.as_bytes(), b'.', false) && endpoint.port == sent.port
    };
    let matching: Vec<_> = endpoints.iter().filter(is_host).collect();
    if matching.iter().all(|endpoint| endpoint.rest.is_none()) {
        return !matching.is_empty();
    }
    let any = |pairs: &[Pair], crosses| pairs.iter().any(|pair| matches(pair, sent, crosses));
    let opens = |endpoint: &&Endpoint| {
        (endpoint.takes_slashes || !has_encoded_slash(sent))
            && endpoint.rest.as_ref().is_some_and(|(rules, _)| any(rules, allows_cross))
    };
    let denies = |endpoint: &&Endpoint| {
        endpoint.rest.as_ref().is_some_and(|(_, denied)| any(denied, denies_cross))
    };
    matching.iter().any(opens) && !matching.iter().any(denies)
}

fn has_encoded_slash(sent: &Sent) -> bool {
    sent.path.to_lowercase().contains("%2f")
}

fn written(endpoints: &[Endpoint]) -> String {
    let mut text = "version: 1\nnetwork_policies:\n  some:\n    binaries: [{path: /usr/bin/curl}]\n    endpoints:\n".to_owned();
    for endpoint in endpoints {
        text.push_str(&format!("    - host: {:?}\n      port: {}\n", endpoint.host, endpoint.port));
        let Some((rules, denied)) = &endpoint.rest else { continue };
        let slashes = endpoint.takes_slashes;
        text.push_str(&format!("      allow_encoded_slash: {slashes}\n"));
        text.push_str("      protocol: rest\n      enforcement: enforce\n      rules:\n");
        for (method, path) in rules {
            text.push_str(&format!("      - allow: {{method: {method:?}, path: {path:?}}}\n"));
        }
        if !denied.is_empty() {
            text.push_str("      deny_rules:\n");
        }
        for (method, path) in denied {
            text.push_str(&format!("      - {{method: {method:?}, path: {path:?}}}\n"));
        }
    }
    text
}

fn pairs(count: std::ops::Range<usize>) -> impl Strategy<Value = Vec<Pair>> {
    let pair = (prop::sample::select(METHODS.to_vec()), prop::sample::select(PATHS.to_vec()));
    prop::collection::vec(pair, count)
}

proptest! {
    #[test]
    fn what_openshell_refuses_stays_refused_and_what_is_missing_is_named(
        endpoints in prop::collection::vec(
            (
                prop::sample::select(ENDPOINT_HOSTS.to_vec()),
                prop::sample::select(vec![443_u16, 8443]),
                prop::option::of((pairs(1..3), pairs(0..3))),
                any::<bool>(),
            )
                .prop_map(|(host, port, rest, takes_slashes)| Endpoint { host, port, rest, takes_slashes }),
            1..5,
        ),
    ) {
        let text = written(&endpoints);
        let (imported, config) = import("openshell", "policy.yaml", &text);
        // One point is about the programs.
        let is_named = imported.open.len() > 1
            || imported.text.contains("is for no label that begins xn--");
        let denies_slashes = imported.text.contains("A `%2F` in a path is a `/` here");
        let names_slashes = imported.open.iter().any(|point| point.contains("%2F"));
        for host in HOSTS {
            for port in [443, 8443] {
                for (method, path) in SENT_METHODS.iter().flat_map(|it| SENT_PATHS.map(|path| (*it, path))) {
                    let sent = Sent { method, path, ..sent(host, port) };
                    let is = is_allowed(&config, &sent);
                    let surely = model(&endpoints, &sent, false, true);
                    let perhaps = model(&endpoints, &sent, true, false);
                    let is_named_slash = names_slashes && has_encoded_slash(&sent);
                    prop_assert!(surely || !is || is_named_slash, "{:?}\n{}\n{}", sent, text, imported.text);
                    let is_named = is_named || denies_slashes && !is && has_encoded_slash(&sent);
                    prop_assert!(is == perhaps || is_named, "{:?}\n{}\n{}", sent, text, imported.text);
                }
            }
        }
    }
}

const POLICY: &str = r#"version: 1
filesystem_policy: {read_only: [/usr], read_write: [/tmp]}
process: {run_as_user: sandbox}
network_policies:
  ledger_api:
    name: ledger-api
    endpoints:
    - host: api.ledger.example
      port: 443
      protocol: rest
      enforcement: enforce
      rules:
      - allow: { method: GET, path: "/v1/**" }
      - allow: { method: POST, path: /v1/charges }
      deny_rules:
      - { method: GET, path: "/v1/admin/**" }
    binaries: [{path: /usr/bin/curl}]
  media:
    endpoints:
    - { host: "*.media.example", port: 443, protocol: rest, enforcement: enforce, access: read-only }
    - { host: "**.cdn.example", port: 443 }
    - { host: "*-aiplatform.parcel.example", port: 443 }
    binaries: [{path: /usr/bin/*}]
"#;

#[test]
fn what_is_about_programs_and_files_is_named() {
    for kind in ["openshell", "auto"] {
        let (imported, config) = import(kind, "policy.yaml", POLICY);
        assert_clean(&imported);
        let has = |words: &str| imported.open.iter().any(|point| point.contains(words));
        assert_eq!(imported.open.len(), 4, "{:?}", imported.open);
        assert!(
            imported.text.contains("*-aiplatform.parcel.example is for no label that begins xn--")
        );
        assert!(has(
            "paths with an encoded slash (`%2F`), which an endpoint of `ledger_api` refuses"
        ));
        assert!(has("`binaries` of `ledger_api` (/usr/bin/curl)") && has("`*.media.example`"));
        for (method, host, path, expected) in [
            ("GET", "api.ledger.example", "/v1/charges/7", true),
            ("HEAD", "api.ledger.example", "/v1/charges/7", true),
            ("GET", "api.ledger.example", "/v1/admin/keys", false),
            ("POST", "api.ledger.example", "/v1/charges", true),
            ("POST", "api.ledger.example", "/v1/charges/7", false),
            ("DELETE", "api.ledger.example", "/v1/charges", false),
            ("GET", "api.ledger.example", "/v2/x", false),
            ("GET", "a.b.media.example", "/", false),
            ("GET", "media.example", "/", false),
            ("PUT", "a.b.cdn.example", "/x", true),
            ("GET", "cdn.example", "/", false),
            ("GET", "eu-aiplatform.parcel.example", "/", true),
            ("GET", "aiplatform.parcel.example", "/", false),
            ("GET", "other.example", "/", false),
        ] {
            let sent = Sent { method, path, ..sent(host, 443) };
            assert_eq!(is_allowed(&config, &sent), expected, "{sent:?}");
        }
        assert!(!is_allowed(&config, &Sent { path: "/v1/x", ..sent("api.ledger.example", 80) }));
    }
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("policy.yaml");
    std::fs::write(&path, POLICY).expect("a file");
    let told = run(&["import", path.to_str().expect("text")]).stderr;
    assert!(String::from_utf8_lossy(&told).contains("filesystem_policy"));
}

#[test]
fn what_is_not_understood_opens_nothing() {
    let rest = "host: a.example, port: 443, protocol: rest, enforcement: enforce";
    for endpoint in [
        "host: a.example, port: 0".to_owned(),
        "host: a.example".to_owned(),
        "port: 443, allowed_ips: [10.0.0.0/8]".to_owned(),
        "host: a.example, port: 443, allowed_ips: [10.0.0.0/8]".to_owned(),
        "host: '*', port: 443".to_owned(),
        "host: '*.example', port: 443".to_owned(),
        "host: 169.254.169.254, port: 80".to_owned(),
        "host: metadata.google.internal, port: 80".to_owned(),
        "host: a.example, port: 443, protocol: graphql, access: read-only".to_owned(),
        "host: a.example, port: 443, protocol: new".to_owned(),
        rest.to_owned(),
        format!("{rest}, access: most"),
        format!("{rest}, access: full, rules: [{{allow: {{method: GET, path: '**'}}}}]"),
        format!("{rest}, rules: [{{allow: {{method: GET, path: '**', query: {{a: b}}}}}}]"),
        format!("{rest}, rules: [{{allow: {{method: CONNECT, path: '**'}}}}]"),
        format!("{rest}, rules: [{{allow: {{path: '**'}}}}]"),
        format!(
            "{rest}, rules: [{{allow: {{method: GET, path: '/a?'}}}}, {{allow: {{method: GET, path: '/**/b'}}}}]"
        ),
        "host: a.example, port: 443, access: read-only".to_owned(),
        "host: a.example, port: 443, protocol: tcp, rules: []".to_owned(),
        "host: a.example, port: 443, deny_rules: [{path: /x}]".to_owned(),
        "host: a.example, port: 443, path: /x".to_owned(),
        format!("{rest}, rules: [{{allow: {{method: GET, path: '**'}}, at: night}}]"),
        format!("{rest}, path: '/b/**', rules: [{{allow: {{method: GET, path: '/a'}}}}]"),
    ] {
        let text = format!(
            "version: 1\nnetwork_policies: {{a: {{binaries: [{{path: /b}}], endpoints: [{{{endpoint}}}]}}}}\n"
        );
        let (imported, config) = import("openshell", "policy.yaml", &text);
        assert!(imported.open.len() > 1 || endpoint == rest, "{text}");
        assert!(
            !config
                .policy
                .rules()
                .iter()
                .any(|rule| rule.action == egress_warden::policy::Action::Allow),
            "{text}"
        );
    }
}

#[test]
fn what_is_inspected_by_one_endpoint_is_not_opened_by_another() {
    let text = "version: 1\nnetwork_policies:\n  a: {binaries: [{path: /b}], endpoints: [{host: '**.a.example', port: 443}, \
                {host: x.b.example, port: 443, protocol: rest, enforcement: enforce, access: full}]}\n  \
                b: {binaries: [{path: /b}], endpoints: [{host: '*.a.example', port: 443, protocol: rest, enforcement: \
                enforce, access: read-only}, {host: x.b.example, port: 443, path: '/graphql', protocol: graphql}]}\n";
    let (imported, config) = import("openshell", "policy.yaml", text);
    assert_clean(&imported);
    for (host, path, expected) in [
        ("x.a.example", "/", false),
        ("x.b.example", "/", true),
        ("x.b.example", "/graphql", false),
    ] {
        let sent = Sent { method: "POST", path, ..sent(host, 443) };
        assert_eq!(is_allowed(&config, &sent), expected, "{sent:?}");
    }
}

#[test]
fn a_key_of_a_policy_that_is_not_known_leaves_its_endpoints_closed() {
    let text = "version: 1\nnetwork_policies: {a: {binaries: [{path: /b}], at: night, endpoints: [{host: a.example, port: 443}]}}\n";
    let (imported, config) = import("openshell", "policy.yaml", text);
    assert!(imported.open.iter().any(|point| point.contains("`at`")), "{:?}", imported.open);
    assert!(!is_allowed(&config, &sent("a.example", 443)));
}

#[test]
fn what_is_no_list_or_text_is_an_error() {
    let rest = "host: a.example, port: 443, protocol: rest, enforcement: enforce, access: full";
    for wrong in [
        format!("endpoints: [{{{rest}, deny_rules: {{path: /x}}}}]"),
        format!("endpoints: [{{{rest}, path: 5}}]"),
        format!("endpoints: [{{{rest}, path: null}}]"),
        "endpoints: [{host: a.example, port: 443, protocol: null}]".to_owned(),
    ] {
        let text =
            format!("version: 1\nnetwork_policies: {{a: {{binaries: [{{path: /b}}], {wrong}}}}}\n");
        let failure = in_process::import("openshell", &[("p.yaml", &text)], None);
        assert!(failure.is_err_and(|failure| failure.contains("which is not a")), "{text}");
    }
}

#[test]
fn every_path_is_open_where_encoded_slashes_are_allowed() {
    let text = "version: 1\nnetwork_policies: {a: {binaries: [{path: /b}], endpoints: [{host: a.example, port: 443, \
                protocol: rest, enforcement: enforce, access: full, allow_encoded_slash: true}]}}\n";
    let (imported, config) = import("openshell", "policy.yaml", text);
    assert_eq!(imported.open.len(), 1, "{:?}", imported.open);
    assert!(is_allowed(&config, &Sent { path: "/a%2fb", ..sent("a.example", 443) }));
}
