//! The hosts that the mesh knows: ServiceEntries, the last step.

use super::ambient::waypoint;
use super::{File, Host, Mesh, documents, has_dynamic_dns, is_http};
use crate::policy_text::quoted;
use std::fmt::Write as _;

const COMMENT: &str = "\
Makes the hosts known to the mesh. Under REGISTRY_ONLY (../mesh-config.yaml) a sidecar routes to no other host.

Apply them last and delete them first: with these alone, a sidecar dials such a host itself, past the policy, and in
clear text where it is the gateway that starts the TLS.

The addresses come from DNS at the gateway. A name that resolves to a private address is for the network to stop
(../network-policy.yaml), or for `endpoints` of a way.
";

const OF_AMBIENT: &str = "\
Makes the hosts known to the mesh, behind the waypoint. istiod gives each an address of its own, and that address, not the
host that a request names, chooses the way out.

Apply them last, when the waypoint is ready, and delete them first: without a waypoint ztunnel dials such a host itself,
past the policy, and in clear text where it is the waypoint that starts the TLS.

The addresses behind them come from DNS at the waypoint. A name that resolves to a private address is for the network to
stop (../network-policy.yaml), or for `endpoints` of a way.
";

const DYNAMIC: &str = "
The names under a wildcard are looked up one by one (../wildcards.yaml).
";

const DYNAMIC_OF_AMBIENT: &str = "
The names under a wildcard are looked up one by one (DYNAMIC_DNS).
";

pub(super) fn write(mesh: &Mesh<'_>, files: &mut Vec<File>) {
    if mesh.hosts.is_empty() {
        return;
    }
    let entries = mesh.hosts.iter().map(|host| entry(mesh, host)).collect();
    let has_wildcards = mesh.routes().any(|route| route.is_looked_up());
    let comment = match (mesh.is_ambient(), has_wildcards) {
        (true, false) => OF_AMBIENT.to_owned(),
        (true, true) => format!("{OF_AMBIENT}{DYNAMIC_OF_AMBIENT}"),
        (false, false) => COMMENT.to_owned(),
        (false, true) => format!("{COMMENT}{DYNAMIC}"),
    };
    mesh.add(files, "hosts/service-entries.yaml", &comment, &documents(entries));
}

fn entry(mesh: &Mesh<'_>, host: &Host<'_>) -> String {
    let name = quoted(&host.host.text());
    let mut text = mesh.head("networking.istio.io/v1", "ServiceEntry", &host.name);
    if mesh.is_ambient() {
        let _ = writeln!(text, "  labels:\n    istio.io/use-waypoint: {}", waypoint(mesh));
    }
    let _ = writeln!(text, "spec:\n  hosts: [{name}]\n  location: MESH_EXTERNAL");
    let _ = writeln!(text, "  resolution: {}\n  ports:", resolution(mesh, host));
    for route in &host.routes {
        let (port, target) = (route.port, route.target_port);
        let (name, protocol) = if is_http(route) { ("http", "HTTP") } else { ("tls", "TLS") };
        let _ = writeln!(text, "  # {}", route.reason());
        let _ =
            writeln!(text, "  - number: {port}\n    name: {name}-{port}\n    protocol: {protocol}");
        if target != port && !route.is_looked_up() {
            let _ = writeln!(text, "    targetPort: {target}");
        }
    }
    let endpoints = endpoints(host);
    if !endpoints.is_empty() {
        text.push_str("  endpoints:\n");
    }
    for endpoint in endpoints {
        let _ = writeln!(text, "  - address: {}", quoted(&endpoint));
    }
    text
}

/// Where to dial in place of what DNS says.
fn endpoints<'r>(host: &Host<'r>) -> Vec<String> {
    let of_first = host.routes.first().map_or(&[][..], |route| &route.way.endpoints);
    of_first.iter().map(|address| address.to_string()).collect()
}

fn resolution(mesh: &Mesh<'_>, host: &Host<'_>) -> &'static str {
    let is_dynamic = host.routes.iter().any(|route| route.is_looked_up());
    match (is_dynamic, endpoints(host).is_empty()) {
        (true, _) if has_dynamic_dns(mesh.gateway) => "DYNAMIC_DNS",
        // The gateway's cluster is that of ../wildcards.yaml.
        (true, _) => "NONE",
        (false, true) => "DNS",
        (false, false) => "STATIC",
    }
}
