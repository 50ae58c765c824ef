//! What the gateway's proxies run: the filter with the policy, the guard, and settings of their own.
//!
//! The guards are those that this project ships and tests.

use super::{File, Form, Mesh, documents, scalar};
use crate::policy_text::quoted;
use crate::render::policy_json::{policy_yaml, secrets};
use crate::render::template::fill;

const GUARD: &str = include_str!("../../../../envoy/istio/guard.yaml");
const GUARD_CONNECTIONS: &str = include_str!("../../../../envoy/istio/tls/guard.yaml");
const TELEMETRY: &str = include_str!("../../../../envoy/istio/telemetry.yaml");
const TELEMETRY_1_29: &str = include_str!("../../../../envoy/istio/telemetry-1.29.yaml");
const WAIT: &str = include_str!("wait.yaml");
const WASM_PLUGIN: &str = include_str!("wasm_plugin.yaml");
const TRAFFIC_EXTENSION: &str = include_str!("traffic_extension.yaml");

const OF_CONNECTIONS: &str = "\
The filter for connections: the same module and the same policy, before tcp_proxy. Of a rule, hosts, ports and callers
count; what is inside the TLS is unknown.
";

pub(super) fn write(mesh: &Mesh<'_>, files: &mut Vec<File>) {
    if mesh.has_http() {
        let guard = adapted(mesh, GUARD, "egress-warden-guard", "-warden-guard");
        mesh.add(files, "guard.yaml", &head_comment(GUARD), &guard);
    }
    if mesh.has_tls() {
        let name = "egress-warden-guard-tls";
        let guard = adapted(mesh, GUARD_CONNECTIONS, name, "-warden-guard-tls");
        let mut comment =
            head_comment(GUARD_CONNECTIONS).replacen("../guard.yaml", "guard.yaml", 1);
        if !has_wait(mesh) {
            comment = comment.replacen(WITHIN_MUTUAL_TLS, ".", 1);
        }
        mesh.add(files, "guard-connections.yaml", &comment, &guard);
    }
    if mesh.has_tls() && has_wait(mesh) {
        let values = [("head", &*wait_head(mesh)), ("labels", &*mesh.labels(""))];
        mesh.add(files, "wait.yaml", &head_comment(WAIT), &fill(body(WAIT), &values));
    }
    write_plugins(mesh, files);
    let telemetry = if has_traffic_extension(mesh) { TELEMETRY } else { TELEMETRY_1_29 };
    let comment = if has_traffic_extension(mesh) { NO_PROPAGATION } else { NO_SPANS };
    let text = adapted(mesh, telemetry, "egress-gateway", "-gateway");
    mesh.add(files, "telemetry.yaml", comment, &text);
}

/// The filter with the policy: for requests, and for connections.
pub(super) fn write_plugins(mesh: &Mesh<'_>, files: &mut Vec<File>) {
    if mesh.has_http() {
        let comment = plugin_comment(mesh, "requests");
        mesh.add(files, plugin_path(mesh, false), &comment, &plugin(mesh, None));
    }
    if mesh.has_tls() {
        let plugins = tls_ports(mesh).into_iter().map(|port| plugin(mesh, Some(port))).collect();
        let comment = format!("{}\n{OF_CONNECTIONS}", plugin_comment(mesh, "connections"));
        mesh.add(files, plugin_path(mesh, true), &comment, &documents(plugins));
    }
}

/// What the shipped comment says of a file that is not everywhere.
const WITHIN_MUTUAL_TLS: &str = "; within mutual TLS, wait.yaml makes tcp_proxy wait.";

const NO_PROPAGATION: &str = "\
Keeps the gateway's tracer from adding its headers (traceparent, b3) to requests that leave the mesh. It adds them after
every filter has run, so no policy can remove them. The gateway still reports its span, and its access log still has the
`trace_id`.
";

const NO_SPANS: &str = "\
Tracing ends at the gateway: it adds no headers (traceparent, b3) to requests that leave the mesh, which it would do after
every filter has run, and reports no span. Istio from 1.30 on can do the first without the second.
";

/// Istio 1.30 has TrafficExtension and `disableContextPropagation`.
pub(super) fn has_traffic_extension(mesh: &Mesh<'_>) -> bool {
    mesh.gateway.istio.minor >= 30
}

/// Envoy 1.37, which Istio 1.29 has, knows `upstream_connect_mode`. By routes of the Gateway API no TLS comes in
/// the mesh's own, so the filter closes what it refuses before anything is dialled.
fn has_wait(mesh: &Mesh<'_>) -> bool {
    mesh.gateway.istio.minor >= 29 && mesh.form() == Form::VirtualService
}

fn plugin_path(mesh: &Mesh<'_>, is_of_connections: bool) -> &'static str {
    match (has_traffic_extension(mesh), is_of_connections) {
        (true, false) => "traffic-extension.yaml",
        (true, true) => "traffic-extension-connections.yaml",
        (false, false) => "wasm-plugin.yaml",
        (false, true) => "wasm-plugin-connections.yaml",
    }
}

/// The ports of TLS that is passed on.
fn tls_ports(mesh: &Mesh<'_>) -> Vec<u16> {
    let ports = mesh.routes().filter(|route| !super::is_http(route)).map(|route| route.port);
    let ports: std::collections::BTreeSet<u16> = ports.collect();
    ports.into_iter().collect()
}

/// A shipped object with the names of this gateway, without the comment at its head.
fn adapted(mesh: &Mesh<'_>, shipped: &str, name: &str, own: &str) -> String {
    let [of_filter, of_policy] =
        [WORKLOAD_SELECTOR, SELECTOR].map(|shipped| match target_refs(mesh) {
            Some(refs) => refs.lines().map(|line| format!("  {line}\n")).collect(),
            None => shipped.replacen(LABELS, &mesh.labels("      "), 1),
        });
    let replaced = [
        (format!("  name: {name}\n"), format!("  name: {}\n", mesh.own(own))),
        (NAMESPACE.to_owned(), format!("  namespace: {}\n", scalar(mesh.gateway.namespace))),
        (WORKLOAD_SELECTOR.to_owned(), of_filter),
        (SELECTOR.to_owned(), of_policy),
    ];
    let text = body(shipped).to_owned();
    replaced.iter().fold(text, |text, (old, new)| text.replacen(old, new, 1))
}

const NAMESPACE: &str = "  namespace: istio-system\n";
const LABELS: &str = "      istio: egressgateway\n";
const WORKLOAD_SELECTOR: &str = "  workloadSelector:\n    labels:\n      istio: egressgateway\n";
const SELECTOR: &str = "  selector:\n    matchLabels:\n      istio: egressgateway\n";

/// What is behind the comment at the head of a file.
pub(super) fn body(text: &str) -> &str {
    let comment: usize =
        text.split_inclusive('\n').take_while(|it| it.starts_with('#')).map(str::len).sum();
    text.get(comment..).unwrap_or_default()
}

/// The comment at the head of a file, without its marks.
pub(super) fn head_comment(text: &str) -> String {
    let lines = text.lines().map_while(|line| line.strip_prefix('#'));
    lines.map(|line| format!("{}\n", line.strip_prefix(' ').unwrap_or(line))).collect()
}

fn wait_head(mesh: &Mesh<'_>) -> String {
    mesh.head("networking.istio.io/v1alpha3", "EnvoyFilter", &mesh.own("-warden-waits"))
}

fn plugin_comment(mesh: &Mesh<'_>, of: &str) -> String {
    let revision = &mesh.config.revision;
    let example = if mesh.gateway.module.is_none() { EXAMPLE_COMMENT } else { "" };
    format!(
        "egress-warden decides {of} by {revision}.\n\nApply the guard first: it refuses everything \
         until this answers.\n{example}"
    )
}

const EXAMPLE_COMMENT: &str = "
The address of the module is an example: write yours under `module` of the gateway's description.
";

/// Without a description of it, where the module might be.
const EXAMPLE: &str = "oci://registry.example.com/egress-warden:0.1.0";

/// The plugin for requests, or for connections to a port.
fn plugin(mesh: &Mesh<'_>, connections: Option<u16>) -> String {
    let gateway = mesh.gateway;
    let (name, kind, ports) = match connections {
        None => (mesh.own("-warden"), String::new(), String::new()),
        Some(port) => {
            let rest = if port == 443 { String::new() } else { format!("-{port}") };
            let root =
                if port == 443 { "connections".to_owned() } else { format!("connections:{port}") };
            (
                mesh.own(&format!("-warden-connections{rest}")),
                format!(
                    "# Before tcp_proxy, and the port that the policy judges.\ntype: NETWORK\npluginName: {}\n",
                    quoted(&root)
                ),
                format!(
                    "# Without it the filter would stand before HTTP as well.\nmatch:\n- ports: [{{number: {port}}}]\n"
                ),
            )
        }
    };
    let (api_version, kind_of_object, template) = match has_traffic_extension(mesh) {
        true => ("extensions.istio.io/v1alpha1", "TrafficExtension", TRAFFIC_EXTENSION),
        false => ("extensions.istio.io/v1alpha1", "WasmPlugin", WASM_PLUGIN),
    };
    let module = gateway.module.as_ref();
    let url = quoted(module.map_or(EXAMPLE, |it| it.url));
    let sha256 = module.and_then(|it| it.sha256).map(|it| format!("sha256: {}\n", quoted(it)));
    let pull_secret = module.and_then(|it| it.pull_secret);
    let pull_secret = pull_secret.map(|it| format!("imagePullSecret: {}\n", quoted(it)));
    let values = [
        ("head", &*mesh.head(api_version, kind_of_object, &name)),
        ("target", &*target(mesh)),
        ("match", &*ports),
        ("type", &*kind),
        ("url", &*url),
        ("sha256", sha256.as_deref().unwrap_or_default()),
        ("pull_secret", pull_secret.as_deref().unwrap_or_default()),
        ("environment", &*environment(mesh)),
        ("policy", &*policy_yaml(mesh.policy.root)),
    ];
    fill(template, &values)
}

/// The proxies that a plugin is for.
fn target(mesh: &Mesh<'_>) -> String {
    match (target_refs(mesh), mesh.is_ambient()) {
        (Some(refs), true) => format!("# A waypoint takes no plugin by `selector`.\n{refs}"),
        (Some(refs), false) => refs,
        (None, _) => format!("selector:\n  matchLabels:\n{}", mesh.labels("    ")),
    }
}

/// The Gateway whose pods istiod starts, as policies name it.
fn target_refs(mesh: &Mesh<'_>) -> Option<String> {
    let name = mesh.resource()?;
    let name = scalar(&name);
    Some(format!(
        "targetRefs:\n- group: gateway.networking.k8s.io\n  kind: Gateway\n  name: {name}\n"
    ))
}

/// The variables of the gateway's pods that the stamps name.
fn environment(mesh: &Mesh<'_>) -> String {
    let names = secrets(mesh.policy.root);
    if names.is_empty() {
        return String::new();
    }
    let names = names.iter().map(|it| format!("  - {{name: {}, valueFrom: HOST}}\n", quoted(it)));
    let file = if mesh.resource().is_some() { "gateway.yaml" } else { "gateway-values.yaml" };
    format!("# From the gateway's pods ({file}).\nvmConfig:\n  env:\n{}", names.collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_replaced_stands_in_the_shipped_files() {
        assert_eq!(GUARD_CONNECTIONS.matches(WITHIN_MUTUAL_TLS).count(), 1);
        for (shipped, name, labels) in [
            (GUARD, "egress-warden-guard", WORKLOAD_SELECTOR),
            (GUARD_CONNECTIONS, "egress-warden-guard-tls", WORKLOAD_SELECTOR),
            (TELEMETRY, "egress-gateway", SELECTOR),
            (TELEMETRY_1_29, "egress-gateway", SELECTOR),
        ] {
            let name = format!("metadata:\n  name: {name}\n");
            assert!(labels.ends_with(LABELS));
            for replaced in [&*name, NAMESPACE, labels] {
                assert_eq!(body(shipped).matches(replaced).count(), 1, "{replaced}");
            }
        }
    }
}
