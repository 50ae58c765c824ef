//! `egress-warden import`: a small model of what each source means, and the policy beside it.
//!
//! Each model is written from the source's documentation, apart from the importer. Over generated
//! policies and requests: what the model refuses the policy refuses; what the model allows the policy
//! allows, unless the import named what keeps it from that.

use egress_warden::config::{self, Config};
use egress_warden::host::Authority;
use egress_warden::policy::{Action, Decision, Request};
use egress_warden_tool::in_process::{self, Imported};
use serde_json::Value;
use std::process::{Command, Output};

#[path = "import/asm.rs"]
mod asm;
#[path = "import/cilium.rs"]
mod cilium;
#[path = "import/domains.rs"]
mod domains;
#[path = "import/google_swp.rs"]
mod google_swp;
#[path = "import/harden_runner.rs"]
mod harden_runner;
#[path = "import/istio.rs"]
mod istio;
#[path = "import/network_firewall.rs"]
mod network_firewall;
#[path = "import/openshell.rs"]
mod openshell;
#[path = "import/smokescreen.rs"]
mod smokescreen;
#[path = "import/squid.rs"]
mod squid;

/// One request to a host.
#[derive(Clone, Debug)]
struct Sent {
    host: String,
    port: u16,
    method: &'static str,
    path: &'static str,
    caller: Option<&'static str>,
}

/// A GET of `/` by nobody who is known.
fn sent(host: &str, port: u16) -> Sent {
    Sent { host: host.to_owned(), port, method: "GET", path: "/", caller: None }
}

/// Imports a text, which may leave points open.
fn import(kind: &str, file: &str, text: &str) -> (Imported, Config) {
    import_for(kind, file, text, None)
}

/// The same with the file of `--service-accounts`.
fn import_for(kind: &str, file: &str, text: &str, accounts: Option<&str>) -> (Imported, Config) {
    let imported = in_process::import(kind, &[(file, text)], accounts);
    read(imported.unwrap_or_else(|error| panic!("{error}\n{text}")))
}

/// The policy that was imported, as another reader takes it.
fn read(imported: Imported) -> (Imported, Config) {
    let policy: Value = serde_saphyr::from_str(&imported.text).expect("YAML");
    let config = config::read(policy.to_string().as_bytes()).expect("a policy");
    (imported, config)
}

/// Whether a policy allows a request.
fn is_allowed(config: &Config, sent: &Sent) -> bool {
    decision(config, sent).verdict.action == Action::Allow
}

fn decision(config: &Config, sent: &Sent) -> Decision {
    let authority = format!("{}:{}", sent.host, sent.port);
    let request = Request {
        authority: Authority::parse(authority.as_bytes()),
        principal: sent.caller,
        path: (sent.method != "CONNECT").then_some(sent.path.as_bytes()),
        ..Request::new(b"", sent.method.as_bytes())
    };
    config.policy.decide(&request)
}

/// A pod: its namespace, its account, its labels, and the id that its certificate has.
struct Pod {
    namespace: &'static str,
    account: &'static str,
    labels: &'static [(&'static str, &'static str)],
    id: &'static str,
}

/// The pods of a cluster. What `ACCOUNTS` says of them is true, and not all.
const PODS: [Pod; 4] = [
    Pod {
        namespace: "shop",
        account: "web",
        labels: &[("app", "web"), ("tier", "front")],
        id: "cluster.local/ns/shop/sa/web",
    },
    Pod {
        namespace: "shop",
        account: "cart",
        labels: &[("app", "cart"), ("tier", "back")],
        id: "cluster.local/ns/shop/sa/cart",
    },
    Pod {
        namespace: "shop",
        account: "default",
        labels: &[("app", "web")],
        id: "cluster.local/ns/shop/sa/default",
    },
    Pod {
        namespace: "payments",
        account: "web",
        labels: &[("app", "web")],
        id: "cluster.local/ns/payments/sa/web",
    },
];

const ACCOUNTS: &str = "- {namespace: shop, labels: {app: web, tier: front}, serviceAccounts: [web]}\n\
                        - {namespace: shop, labels: {tier: back}, serviceAccounts: [cart]}\n";

/// Hosts below a few names, so that patterns and requests meet.
fn hosts() -> Vec<String> {
    let names = ["media.example", "bank.example", "a.media.example", "b.a.media.example"];
    let below = ["", "a.", "x-a.", "b.a.", "cdn.", "xn--bcher-kva."];
    let others = ["xmedia.example", "example.org", "media.example.exfil.example"];
    let hosts = names.iter().flat_map(|name| below.map(|below| format!("{below}{name}")));
    hosts.chain(others.map(str::to_owned)).collect()
}

/// What `check` says of an imported policy: no error and no warning.
fn assert_clean(imported: &Imported) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("policy.yaml");
    std::fs::write(&path, &imported.text).expect("a file");
    let checked = run(&["check", "--deny-warnings", path.to_str().expect("text")]);
    let told = String::from_utf8_lossy(&checked.stdout);
    assert_eq!(checked.status.code(), Some(0), "{told}\n{}", imported.text);
}

fn run(arguments: &[&str]) -> Output {
    let tool = Command::new(env!("CARGO_BIN_EXE_egress-warden")).args(arguments).output();
    tool.expect("the tool runs")
}

/// Requests with what becomes of each.
fn assert_decides(config: &Config, expected: &[(&str, u16, bool)]) {
    for (host, port, is) in expected {
        assert_eq!(is_allowed(config, &sent(host, *port)), *is, "{host}:{port}");
    }
}

#[test]
fn what_is_no_text_or_of_no_known_kind_is_told() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name).to_str().expect("text").to_owned();
    let bomb = (1..30).fold("a0: &a0 [x, x]\n".to_owned(), |text, it| {
        let before = it - 1;
        format!("{text}a{it}: &a{it} [*a{before}, *a{before}]\n")
    });
    let binary: Vec<u8> = (0..=255).cycle().take(10_000).collect();
    for (name, bytes, kind, problem) in [
        ("empty", &b" \n"[..], "auto", "an empty text"),
        ("binary", &binary, "auto", "that is not UTF-8"),
        ("nul", b"a.test\n\0", "domains", "a NUL byte"),
        ("bomb.yaml", bomb.as_bytes(), "harden-runner", "aliases that stand for more"),
        ("cycle.yaml", b"jobs: &a {b: *a}\n", "harden-runner", "alias"),
        ("half.yaml", b"jobs: {build: {steps: [{uses: ", "harden-runner", "what is not YAML"),
        ("half-auto.yaml", b"jobs: {build: {steps: [{uses: ", "auto", "what is not YAML"),
        (
            "network.yaml",
            b"apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: a}\n",
            "auto",
            "names addresses and no hosts",
        ),
        ("other.yaml", b"kind: Pod\nspec: {}\n", "auto", "no kind that is known"),
        ("no-step.yaml", b"jobs: {}\n", "harden-runner", "no step of harden-runner"),
        ("no-asm.yaml", b"kind: Pod\n", "asm", "no ASMEgressTrafficPolicy"),
        ("no-openshell.yaml", b"kind: Pod\n", "openshell", "no network policy of OpenShell"),
        (
            "other-openshell.yaml",
            b"version: 2\nnetwork_policies: {a: {endpoints: []}}\n",
            "openshell",
            "not of version 1",
        ),
        ("no-cilium.yaml", b"kind: Pod\n", "cilium", "no CiliumNetworkPolicy"),
        (
            "half-asm.yaml",
            b"kind: ASMEgressTrafficPolicy\nspec: {egressRules: [",
            "asm",
            "what is not YAML",
        ),
        (
            "half-cilium.yaml",
            b"kind: CiliumNetworkPolicy\nspec: {egress: [",
            "cilium",
            "what is not YAML",
        ),
        ("bomb-cilium.yaml", bomb.as_bytes(), "cilium", "aliases that stand for more"),
        ("cycle-asm.yaml", b"spec: &a {b: *a}\n", "asm", "alias"),
    ] {
        let path = path(name);
        std::fs::write(&path, bytes).expect("a file");
        let output = run(&["import", "--from", kind, &path]);
        let told = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{name}: {told}");
        assert!(told.contains(problem) && told.contains(name), "{name}: {told}");
        assert!(output.stdout.is_empty(), "{name}");
    }
    for (text, problem) in [
        ("- {namespace: shop, labels: {app: web}, accounts: [web]}\n", "an unknown key `accounts`"),
        ("- {labels: {app: web}, serviceAccounts: [web]}\n", "no `namespace`"),
        ("- {namespace: '*', labels: {app: web}, serviceAccounts: [web]}\n", "no `namespace`"),
        ("- {namespace: shop, labels: {}, serviceAccounts: [web]}\n", "no `labels`"),
        ("- {namespace: shop, labels: {app: 1}, serviceAccounts: [web]}\n", "no `labels`"),
        ("- {namespace: shop, labels: {app: web}, serviceAccounts: []}\n", "no `serviceAccounts`"),
        (
            "- {namespace: shop, labels: {app: web}, serviceAccounts: ['*']}\n",
            "no `serviceAccounts`",
        ),
        ("web\n", "no `namespace`"),
        ("- {namespace: shop, labels: ", "what is not YAML"),
        (
            "- {namespace: shop, labels: {app: web}, serviceAccounts: [web]}\n\
             - {namespace: shop, labels: {app: api}, serviceAccounts: [web]}\n",
            "pods of `shop/web` with other labels",
        ),
    ] {
        let (policy, accounts) = (path("asm.yaml"), path("accounts.yaml"));
        std::fs::write(&policy, "kind: ASMEgressTrafficPolicy\n").expect("a file");
        std::fs::write(&accounts, text).expect("a file");
        let output = run(&["import", "--service-accounts", &accounts, &policy]);
        let told = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{text}: {told}");
        assert!(told.contains(problem) && told.contains("accounts.yaml"), "{text}: {told}");
    }
    let of_no_pods = run(&[
        "import",
        "--service-accounts",
        &path("accounts.yaml"),
        &path("no-step.yaml"),
        "--from",
        "domains",
    ]);
    assert_eq!(of_no_pods.status.code(), Some(2));
    for arguments in [&["import", "--from", "nothing", "x"][..], &["import"], &["import", "/none"]]
    {
        assert_eq!(run(arguments).status.code(), Some(2), "{arguments:?}");
    }
}

/// Messages quote the source, and are comments of the policy.
#[test]
fn no_text_of_a_source_is_a_line_of_the_policy() {
    let host = r#""*.a.example\nlog: {requests: none}\n#""#;
    for (kind, text) in [
        (
            "cilium",
            format!(
                "kind: CiliumNetworkPolicy\nmetadata: {{name: a, namespace: shop}}\nspec: {{endpointSelector: {{}}, \
                 egress: [{{toFQDNs: [{{matchPattern: {host}}}]}}]}}\n"
            ),
        ),
        (
            "openshell",
            format!(
                "version: 1\nnetwork_policies: {{a: {{binaries: [{{path: /b}}], endpoints: [{{host: {host}, port: 443}}]}}}}\n"
            ),
        ),
    ] {
        let (imported, _) = import(kind, "a.yaml", &text);
        let policy: Value = serde_saphyr::from_str(&imported.text).expect("YAML");
        assert_eq!(policy.get("log"), None, "{}", imported.text);
        assert!(imported.open.iter().all(|point| !point.contains('\n')), "{:?}", imported.open);
    }
}
