//! What is left open: to the gateway the outside, to workloads the gateway alone.

use super::{File, ISTIO_NAMESPACE, Mesh, documents, object_head};
use crate::policy_text::quoted;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::net::IpAddr;

const OF_GATEWAY: &str = "\
Where the gateway itself may go: DNS, istiod, and the ports of the external services. A name that resolves to a private
address, or to the address of a cloud's metadata, is stopped here: the filter sees names only.

IPv6 is closed, but for `endpoints` of the description. A registry of the module with a private address needs a line of
its own, and so does a collector of traces. It needs a network plugin that enforces NetworkPolicies.
";

const OF_WORKLOADS: &str = "\
The only boundary against a workload: it can go round its own sidecar. What is left to the pods is DNS, istiod and the
gateway.

NetworkPolicies add up: calls to other workloads of the cluster need another one. It needs a network plugin that enforces
them.
";

const OF_SIDECARS: &str = "\
Sidecars of these namespaces refuse every host that the mesh does not know, also where the whole mesh does not
(mesh-config.yaml).

Istio takes one Sidecar without `workloadSelector` in a namespace, the oldest. If a namespace has another, this one has no
effect: write `outboundTrafficPolicy` into that, and take this out of the list. In these namespaces it takes the place of a
Sidecar for the whole mesh, with what that says of `egress`.
";

pub(super) fn write(mesh: &Mesh<'_>, files: &mut Vec<File>) {
    mesh.add(files, "network-policy.yaml", OF_GATEWAY, &of_gateway(mesh));
    if mesh.is_ambient() {
        return;
    }
    let of_workloads: Vec<_> =
        mesh.gateway.workloads.iter().map(|namespace| of_workloads(mesh, namespace)).collect();
    if !of_workloads.is_empty() {
        let sidecars = mesh.gateway.workloads.iter().map(|namespace| sidecar(mesh, namespace));
        mesh.add(files, "sidecars.yaml", OF_SIDECARS, &documents(sidecars.collect()));
        mesh.add(files, "workloads.yaml", OF_WORKLOADS, &documents(of_workloads));
    }
}

fn of_gateway(mesh: &Mesh<'_>) -> String {
    let mut text = mesh.head("networking.k8s.io/v1", "NetworkPolicy", &mesh.own("-out"));
    text.push_str("spec:\n  podSelector:\n    matchLabels:\n");
    text.push_str(&mesh.labels("      "));
    text.push_str("  policyTypes: [Egress]\n  egress:\n");
    text.push_str(DNS);
    text.push_str(&istiod());
    let outside: BTreeSet<u16> = mesh
        .routes()
        .filter(|route| route.way.endpoints.is_empty())
        .map(|route| route.target_port)
        .chain(registry_port(mesh))
        .collect();
    if !outside.is_empty() {
        text.push_str(OUTSIDE);
        text.push_str(&ports(&outside));
    }
    for (address, to) in endpoints(mesh) {
        let length = if address.is_ipv4() { 32 } else { 128 };
        let block = quoted(&format!("{address}/{length}"));
        let _ = writeln!(text, "  - to:\n    - ipBlock: {{cidr: {block}}}");
        text.push_str(&ports(&to));
    }
    text
}

fn of_workloads(mesh: &Mesh<'_>, namespace: &str) -> String {
    let name = mesh.own("-only");
    let mut text = object_head("networking.k8s.io/v1", "NetworkPolicy", &name, namespace);
    text.push_str("spec:\n  podSelector: {}\n  policyTypes: [Egress]\n  egress:\n");
    text.push_str(DNS);
    text.push_str(&istiod());
    let of_gateway = quoted(mesh.gateway.namespace);
    let _ = write!(
        text,
        "  - to:\n    - namespaceSelector:\n        matchLabels: {{kubernetes.io/metadata.name: \
         {of_gateway}}}\n      podSelector:\n        matchLabels:\n"
    );
    text.push_str(&mesh.labels("          "));
    text
}

fn sidecar(mesh: &Mesh<'_>, namespace: &str) -> String {
    let name = mesh.own("-known-hosts-only");
    let head = object_head("networking.istio.io/v1", "Sidecar", &name, namespace);
    format!("{head}spec:\n  outboundTrafficPolicy:\n    mode: REGISTRY_ONLY\n")
}

const DNS: &str = "  - to:
    - namespaceSelector:
        matchLabels: {kubernetes.io/metadata.name: kube-system}
    ports:
    - {port: 53, protocol: UDP}
    - {port: 53, protocol: TCP}
";

fn istiod() -> String {
    format!(
        "  - to:\n    - namespaceSelector:\n        matchLabels: {{kubernetes.io/metadata.name: \
         {ISTIO_NAMESPACE}}}\n    ports:\n    - {{port: 15012, protocol: TCP}}\n"
    )
}

/// All of IPv4 but what is private, shared, local to the link, or a cloud's own.
const OUTSIDE: &str = "  - to:
    - ipBlock:
        cidr: 0.0.0.0/0
        except: [10.0.0.0/8, 100.64.0.0/10, 127.0.0.0/8, 168.63.129.16/32, 169.254.0.0/16, 172.16.0.0/12, 192.168.0.0/16]
";

fn ports(ports: &BTreeSet<u16>) -> String {
    let lines = ports.iter().map(|port| format!("    - {{port: {port}, protocol: TCP}}\n"));
    format!("    ports:\n{}", lines.collect::<String>())
}

/// Where descriptions say that hosts are, with the ports there.
fn endpoints(mesh: &Mesh<'_>) -> BTreeMap<IpAddr, BTreeSet<u16>> {
    let mut endpoints: BTreeMap<IpAddr, BTreeSet<u16>> = BTreeMap::new();
    for route in mesh.routes() {
        for address in &route.way.endpoints {
            endpoints.entry(*address).or_default().insert(route.target_port);
        }
    }
    endpoints
}

/// Where the module comes from.
fn registry_port(mesh: &Mesh<'_>) -> Option<u16> {
    let Some(module) = &mesh.gateway.module else { return Some(443) };
    let (scheme, rest) = module.url.split_once("://")?;
    let default = match scheme {
        "file" => return None,
        "http" => 80,
        _ => 443,
    };
    let authority = rest.split('/').next().unwrap_or_default();
    let named = authority.rsplit_once(':').and_then(|(_, port)| port.parse().ok());
    Some(named.unwrap_or(default))
}
