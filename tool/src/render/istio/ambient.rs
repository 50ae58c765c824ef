//! The gateway as a waypoint of Istio's ambient mode: its namespace, the waypoint, and what it runs.
//!
//! The objects are those that this project ships and tests; what depends on the policy is written here.

use super::proxy::{body, head_comment};
use super::{File, Finding, ISTIO_NAMESPACE, IstioError, Mesh, at, documents, proxy, scalar, ways};
use crate::policy_file::Source;
use crate::render::gateway::Gateway;
use crate::render::policy_json::secrets;

const NAMESPACE: &str = include_str!("../../../../envoy/istio/ambient/namespace.yaml");
const WAYPOINT: &str = include_str!("../../../../envoy/istio/ambient/waypoint.yaml");
const GUARD: &str = include_str!("../../../../envoy/istio/ambient/guard.yaml");
const TELEMETRY: &str = include_str!("../../../../envoy/istio/ambient/telemetry.yaml");
const TELEMETRY_1_29: &str = include_str!("../../../../envoy/istio/ambient/telemetry-1.29.yaml");
const WORKLOADS: &str =
    include_str!("../../../../envoy/istio/ambient/workloads/network-policy.yaml");
const MESH_CONFIG: &str = include_str!("../../../../envoy/istio/ambient/mesh-config.yaml");

const OF_NAMESPACE: &str = "\
The namespace of the waypoint and of every host that leaves through it. Only those who write the policy should be able to
write here.

With `istio.io/use-waypoint` here, each ServiceEntry of the namespace goes through the waypoint, also one whose author
forgets the label.
";

const OF_WAYPOINT: &str = "\
The waypoint that every host of the namespace leaves through. istiod starts its pods.
";

const OF_GUARD: &str = "\
The guard: nothing leaves the waypoint without the verdict `allow` of the filter. It refuses everything that the waypoint
carries until the filter is there: apply it first, delete it last.

`main_internal` is the listener within the tunnels, with all the chains of a waypoint.
";

const OF_TELEMETRY: &str = "\
The waypoint's access log, with the provider of mesh-config.yaml, and no tracing headers (traceparent, b3) on requests that
leave the mesh: the tracer would add them after every filter has run, so no policy could remove them.
";

const RULES: &str = "\
TLS from the waypoint to the external service, where the waypoint starts it: the server name, and the name that must be in
the certificate. Under a wildcard both are those of the request. Without `caCertificates` or `credentialName` the
authorities are those of the waypoint's operating system. These rules are for the waypoint alone (`exportTo`).
`istioctl analyze` warns IST0129 on them, wrongly: the waypoint verifies, by the authorities of the operating system.

Between the workload and the waypoint ztunnel encrypts, with the workload's own certificate; no rule is needed for it.
";

const OF_MESH: &str = "\
Helm values for the chart `istiod` of Istio (an IstioOperator takes the same `meshConfig` under `spec`).

A provider for the access log of the waypoint, which telemetry.yaml names. One serves all waypoints of a mesh.
";

pub(super) fn write(mesh: &Mesh<'_>, files: &mut Vec<File>) {
    mesh.add(files, "namespace.yaml", OF_NAMESPACE, &adapted(mesh, NAMESPACE, None));
    mesh.add(files, "waypoint.yaml", OF_WAYPOINT, &adapted(mesh, WAYPOINT, None));
    let guard = adapted(mesh, GUARD, Some(("egress-warden-guard", "-warden-guard")));
    mesh.add(files, "guard.yaml", OF_GUARD, &guard);
    proxy::write_plugins(mesh, files);
    let telemetry = if proxy::has_traffic_extension(mesh) { TELEMETRY } else { TELEMETRY_1_29 };
    let telemetry = adapted(mesh, telemetry, Some(("egress-waypoint", "-waypoint")));
    mesh.add(files, "telemetry.yaml", OF_TELEMETRY, &telemetry);
    let rules: Vec<_> = mesh.hosts.iter().filter_map(|host| ways::to_service(mesh, host)).collect();
    if !rules.is_empty() {
        mesh.add(files, "destination-rules.yaml", RULES, &documents(rules));
    }
    let of_workloads = mesh.gateway.workloads.iter().map(|namespace| of_workloads(mesh, namespace));
    let of_workloads: Vec<_> = of_workloads.collect();
    if !of_workloads.is_empty() {
        let comment = head_comment(WORKLOADS);
        mesh.add(files, "workloads/network-policies.yaml", &comment, &documents(of_workloads));
    }
    mesh.add(files, "mesh-config.yaml", OF_MESH, &mesh_config(mesh));
}

/// What keeps a description from being one of a waypoint.
pub(super) fn errors_of(policy: &Source<'_>, gateway: &Gateway<'_>) -> Vec<Finding<IstioError>> {
    let mut errors = Vec::new();
    if gateway.namespace == ISTIO_NAMESPACE {
        errors.push(at("$.metadata.namespace", IstioError::NamespaceOfIstio));
    }
    if gateway.workloads.contains(&gateway.namespace) {
        let namespace = gateway.namespace.to_owned();
        errors.push(at("$.spec.workloads", IstioError::NamespaceOfWorkloads { namespace }));
    }
    let secrets = secrets(policy.root).into_iter().take(1);
    errors.extend(secrets.map(|name| at("$.spec.dataplane", IstioError::WaypointSecret { name })));
    errors
}

/// The waypoint's own name.
pub(super) fn waypoint(mesh: &Mesh<'_>) -> String {
    mesh.own("-waypoint")
}

/// A shipped object with the names of this waypoint, without the comment at its head. `own` is its name,
/// and what stands for it here.
fn adapted(mesh: &Mesh<'_>, shipped: &str, own: Option<(&str, &str)>) -> String {
    let (waypoint, namespace) = (waypoint(mesh), mesh.gateway.namespace);
    let mut text = body(shipped).to_owned();
    if let Some((name, own)) = own {
        let own = mesh.own(own);
        text = text.replacen(&format!("\n  name: {name}\n"), &format!("\n  name: {own}\n"), 1);
    }
    let namespace = scalar(namespace);
    for (shipped, own) in [
        (SHIPPED_BESIDE, "# The router adds".to_owned()),
        ("name: waypoint\n", format!("name: {waypoint}\n")),
        ("use-waypoint: waypoint\n", format!("use-waypoint: {waypoint}\n")),
        ("namespace: istio-egress\n", format!("namespace: {namespace}\n")),
        ("  name: istio-egress\n", format!("  name: {namespace}\n")),
    ] {
        text = text.replacen(shipped, &own, 1);
    }
    text
}

/// What the shipped waypoint says of another file, which is not here.
const SHIPPED_BESIDE: &str = "# As in ../gateway-values.yaml: the router adds";

/// The only ways out of a namespace of workloads.
fn of_workloads(mesh: &Mesh<'_>, namespace: &str) -> String {
    let name = format!("  name: {}\n", mesh.own("-only"));
    let namespace = format!("  namespace: {}\n", scalar(namespace));
    let text = body(WORKLOADS).replacen(WORKLOADS_NAME, &name, 1);
    text.replacen(WORKLOADS_NAMESPACE, &namespace, 1)
}

const WORKLOADS_NAME: &str = "  name: out-through-the-mesh-only\n";
const WORKLOADS_NAMESPACE: &str = "  namespace: payments\n";

/// The shipped log, with what is recorded of connections where some are judged.
fn mesh_config(mesh: &Mesh<'_>) -> String {
    let mut text = body(MESH_CONFIG).to_owned();
    // At the end of the file: its last keys are the log's fields.
    let parts = ["decision", "rule", "reason", "policy", "would", "would_rule", "would_reason"];
    for part in parts.iter().filter(|_| mesh.has_tls()) {
        text.push_str(&format!(
            "          egress_connection_{part}: \"%FILTER_STATE(wasm.egress_connection_{part}:PLAIN)%\"\n"
        ));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_replaced_stands_in_the_shipped_files() {
        let target = "    kind: Gateway\n    name: waypoint\n";
        for (shipped, parts) in [
            (NAMESPACE, &["  name: istio-egress\n", "use-waypoint: waypoint\n"][..]),
            (WAYPOINT, &[SHIPPED_BESIDE, "\n  name: waypoint\n", "namespace: istio-egress\n"]),
            (GUARD, &["\n  name: egress-warden-guard\n", "namespace: istio-egress\n", target]),
            (TELEMETRY, &["\n  name: egress-waypoint\n", "namespace: istio-egress\n", target]),
            (TELEMETRY_1_29, &["\n  name: egress-waypoint\n", "namespace: istio-egress\n", target]),
            (WORKLOADS, &[WORKLOADS_NAME, WORKLOADS_NAMESPACE]),
        ] {
            for part in parts {
                assert_eq!(body(shipped).matches(part).count(), 1, "{part}");
            }
        }
        assert_eq!(
            MESH_CONFIG.lines().last().map(|it| it.starts_with("          guard: ")),
            Some(true)
        );
    }
}
