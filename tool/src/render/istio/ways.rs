//! The way through the gateway, as VirtualServices: from every sidecar to the gateway, and from there out.

use super::{
    Authorities, File, Host, Mesh, Route, WayKind, documents, has_dynamic_dns, is_http, names,
    scalar, service,
};
use crate::policy_text::quoted;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

const GATEWAYS: &str = "\
Where the gateway takes calls from the mesh.

ISTIO_MUTUAL makes callers known: the gateway verifies the workload's certificate, which `from` and `identity` of a
policy use. Ports are those of the gateway's Service. The protocol says what is spoken within the mutual TLS: HTTPS is
HTTP, TLS is the application's own TLS.

TLS has a server for each host, because the first `tcp` route for the hosts of a server takes all its connections. A
wildcard has one of its own: for TLS in mode PASSTHROUGH, as the name that is asked for is in the application's own hello
alone, and without a caller, for there is no certificate of the mesh around it.
";

const ROUTES: &str = "\
The way of a call: from every sidecar to the gateway, and from the gateway out. The filter is on the second leg, so the
first has no way around it. The gateway's cluster is named outbound|PORT||HOST: this PORT is what `ports` of a policy
sees.

`istioctl analyze` warns IST0140 here, wrongly: each half of a route is for one of the two places in `gateways`.
";

const RULES: &str = "\
TLS on both legs.

From the sidecar to the gateway: mutual TLS with the workload's own certificate. The server name is the external host,
because the gateway picks its server by it. Under a wildcard it is one name for all, or the application's own.

From the gateway to the external service, where the gateway starts TLS: the server name, and the name that must be in
the certificate. Under a wildcard both are those of the request. Without `caCertificates` or `credentialName` the
authorities are those of the gateway's operating system. These rules are for the gateway alone (`exportTo`): sidecars
never dial the external service.

`istioctl analyze` warns IST0129 on the second kind, wrongly: it verifies, by the authorities of the operating system.
";

pub(super) fn write(mesh: &Mesh<'_>, files: &mut Vec<File>) {
    if mesh.hosts.is_empty() {
        return;
    }
    let rules = mesh
        .hosts
        .iter()
        .flat_map(|host| std::iter::once(to_gateway(mesh, host)).chain(to_service(mesh, host)));
    mesh.add(files, "destination-rules.yaml", RULES, &documents(rules.collect()));
    mesh.add(files, "gateways.yaml", GATEWAYS, &documents(gateways(mesh)));
    let routes = mesh.hosts.iter().map(|host| virtual_service(mesh, host)).collect();
    mesh.add(files, "virtual-services.yaml", ROUTES, &documents(routes));
}

/// The Gateway of a route.
fn gateway_of(mesh: &Mesh<'_>, host: &Host<'_>, route: &Route<'_>) -> String {
    match (is_http(route), host.host.is_wildcard()) {
        (true, false) => mesh.own(""),
        (true, true) => mesh.own(&format!("-{}", host.name)),
        (false, _) => mesh.own(&format!("-tls-{}", host.name)),
    }
}

fn gateways(mesh: &Mesh<'_>) -> Vec<String> {
    let mut gateways: BTreeMap<String, BTreeMap<u16, Server>> = BTreeMap::new();
    for host in &mesh.hosts {
        for route in &host.routes {
            let servers = gateways.entry(gateway_of(mesh, host, route)).or_default();
            let server = servers.entry(route.port).or_default();
            server.hosts.push(host.host.text());
            server.is_http = is_http(route);
            server.is_passed_on = !server.is_http && host.host.is_wildcard();
        }
    }
    gateways.iter().map(|(name, servers)| gateway(mesh, name, servers)).collect()
}

#[derive(Default)]
struct Server {
    hosts: Vec<String>,
    is_http: bool,
    /// Whether its TLS does not end here.
    is_passed_on: bool,
}

fn gateway(mesh: &Mesh<'_>, name: &str, servers: &BTreeMap<u16, Server>) -> String {
    let mut text = mesh.head("networking.istio.io/v1", "Gateway", name);
    text.push_str("spec:\n  selector:\n");
    text.push_str(&mesh.labels("    "));
    text.push_str("  servers:\n");
    for (port, server) in servers {
        let (name, protocol) = if server.is_http { ("https", "HTTPS") } else { ("tls", "TLS") };
        let mode = if server.is_passed_on { "PASSTHROUGH" } else { "ISTIO_MUTUAL" };
        let _ = writeln!(
            text,
            "  - port:\n      number: {port}\n      name: {name}-{port}\n      protocol: \
             {protocol}\n    tls:\n      mode: {mode}\n    hosts:"
        );
        for host in &server.hosts {
            let _ = writeln!(text, "    - {}", quoted(host));
        }
    }
    text
}

fn virtual_service(mesh: &Mesh<'_>, host: &Host<'_>) -> String {
    let name = quoted(&host.host.text());
    let mut text = mesh.head("networking.istio.io/v1", "VirtualService", &host.name);
    let gateways = host.routes.iter().map(|route| gateway_of(mesh, host, route));
    let gateways: BTreeSet<_> = gateways.collect();
    let _ = writeln!(text, "spec:\n  hosts: [{name}]\n  gateways:\n  - mesh");
    for gateway in gateways {
        let _ = writeln!(text, "  - {}", scalar(&gateway));
    }
    let (mut http, mut tls, mut tcp) = (String::new(), String::new(), String::new());
    for route in &host.routes {
        let [to_gateway, out] = legs(mesh, host, route);
        let by_name = format!("      sniHosts: [{name}]\n");
        if is_http(route) {
            http.push_str(&to_gateway.text(""));
            http.push_str(&out.text(""));
        } else {
            tls.push_str(&to_gateway.text(&by_name));
            // Where the mesh's TLS ends at the gateway, the server's name leads here.
            match host.host.is_wildcard() {
                true => tls.push_str(&out.text(&by_name)),
                false => tcp.push_str(&out.text("")),
            }
        }
    }
    for (key, routes) in [("http", http), ("tls", tls), ("tcp", tcp)] {
        if !routes.is_empty() {
            let _ = write!(text, "  {key}:\n{routes}");
        }
    }
    text
}

/// One half of a route.
struct Leg {
    comment: String,
    /// Only routes of HTTP have one.
    name: Option<String>,
    gateway: String,
    port: u16,
    host: String,
    subset: Option<String>,
}

/// The two halves of a route: to the gateway, and out.
fn legs(mesh: &Mesh<'_>, host: &Host<'_>, route: &Route<'_>) -> [Leg; 2] {
    let port = route.port;
    let name = |name: &str| is_http(route).then(|| format!("{name}-{port}"));
    let to_gateway = Leg {
        comment: route.reason(),
        name: name("to-egress-gateway"),
        gateway: "mesh".to_owned(),
        port,
        host: service(mesh),
        subset: Some(host.name.clone()),
    };
    let out = Leg {
        comment: String::new(),
        name: name("to-external-service"),
        gateway: gateway_of(mesh, host, route),
        port,
        host: host.host.text(),
        subset: None,
    };
    [to_gateway, out]
}

impl Leg {
    /// `more` is what else it matches.
    fn text(&self, more: &str) -> String {
        let mut text = String::new();
        if !self.comment.is_empty() {
            let _ = writeln!(text, "  # {}", self.comment);
        }
        match &self.name {
            Some(name) => {
                let _ = writeln!(text, "  - name: {name}\n    match:");
            }
            None => text.push_str("  - match:\n"),
        }
        let _ = writeln!(
            text,
            "    - gateways: [{}]\n      port: {}",
            scalar(&self.gateway),
            self.port
        );
        let _ = write!(text, "{more}    route:\n    - destination:\n        host: ");
        let _ = writeln!(text, "{}", quoted(&self.host));
        if let Some(subset) = &self.subset {
            let _ = writeln!(text, "        subset: {subset}");
        }
        let _ = writeln!(text, "        port: {{number: {}}}", self.port);
        text
    }
}

/// The TLS from a sidecar to the gateway.
fn to_gateway(mesh: &Mesh<'_>, host: &Host<'_>) -> String {
    let name = names::label(format!("egressgateway-for-{}", host.name));
    let mut text = mesh.head("networking.istio.io/v1", "DestinationRule", &name);
    let service = quoted(&service(mesh));
    let _ = writeln!(text, "spec:\n  host: {service}\n  subsets:\n  - name: {}", host.name);
    text.push_str("    trafficPolicy:\n      portLevelSettings:\n");
    let server_name = quoted(&server_name(mesh, host));
    for route in &host.routes {
        let _ = writeln!(text, "      - port: {{number: {}}}\n        tls:", route.port);
        if !is_http(route) && host.host.is_wildcard() {
            text.push_str("          mode: DISABLE\n");
        } else {
            let _ = writeln!(text, "          mode: ISTIO_MUTUAL\n          sni: {server_name}");
        }
    }
    text
}

/// What the gateway picks its server by. Under a wildcard, a name below it that no other server has.
fn server_name(mesh: &Mesh<'_>, host: &Host<'_>) -> String {
    if !host.host.is_wildcard() {
        return host.host.name.to_string();
    }
    let numbered = (2_usize..).map(|number| format!("any-{number}.{}", host.host.name));
    let mut candidates = std::iter::once(format!("any.{}", host.host.name)).chain(numbered);
    candidates.find(|name| !mesh.names.contains(&**name)).unwrap_or_default()
}

/// The TLS from the gateway to the external service, where the gateway starts it.
pub(super) fn to_service(mesh: &Mesh<'_>, host: &Host<'_>) -> Option<String> {
    let has_own_cluster =
        |route: &Route<'_>| route.is_looked_up() && !has_dynamic_dns(mesh.gateway);
    let starts_tls =
        |route: &&&Route<'_>| route.way.kind == WayKind::Originate && !has_own_cluster(route);
    let mut routes = host.routes.iter().filter(starts_tls).peekable();
    routes.peek()?;
    let mut text = of_gateway_alone(mesh, host);
    text.push_str("  trafficPolicy:\n    portLevelSettings:\n");
    text.extend(routes.map(|route| tls_to_service(host, route)));
    Some(text)
}

/// The first lines of a rule that is for the gateway alone.
pub(super) fn of_gateway_alone(mesh: &Mesh<'_>, host: &Host<'_>) -> String {
    let head = mesh.head("networking.istio.io/v1", "DestinationRule", &host.name);
    format!("{head}spec:\n  host: {}\n  exportTo: [\".\"]\n", quoted(&host.host.text()))
}

/// The TLS that the gateway starts, to one port.
pub(super) fn tls_to_service(host: &Host<'_>, route: &Route<'_>) -> String {
    let mut text = format!("    - port: {{number: {}}}\n      tls:\n", route.port);
    text.push_str("        mode: SIMPLE\n");
    if !host.host.is_wildcard() {
        let name = quoted(&host.host.text());
        // Both or neither: beside `sni` alone Istio asks for no name.
        let _ = writeln!(text, "        sni: {name}\n        subjectAltNames: [{name}]");
    }
    match route.way.authorities {
        Authorities::System => {}
        Authorities::File(file) => {
            let _ = writeln!(text, "        caCertificates: {}", quoted(file));
        }
        Authorities::Secret(secret) => {
            let _ = writeln!(text, "        credentialName: {}", quoted(secret));
        }
    }
    text
}
