//! The way through the gateway in the words of the Gateway API: the gateway itself, whose pods istiod starts,
//! and routes from every sidecar to it and from there out.

use super::install::{SECRETS, proxy_config, variables};
use super::ways::{self, tls_to_service};
use super::{
    File, Finding, Gateway, Host, IstioError, Mesh, Plan, Route, WayKind, at, documents,
    has_tls_route_v1, is_http, names, service, service_name,
};
use crate::policy_text::quoted;
use crate::render::template::fill;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

const GATEWAY: &str = include_str!("gateway_api.yaml");
const LISTENER_OF_HTTP: &str = include_str!("gateway_api_http.yaml");
const LISTENER_OF_TLS: &str = include_str!("gateway_api_tls.yaml");

/// Most listeners of a Gateway, by its schema.
const MAX_LISTENERS: usize = 64;

/// Longest label of DNS, which the name of a Service is.
const MAX_NAME: usize = 63;

const OF_GATEWAY: &str = "\
The gateway: istiod starts its pods and its Service, which only the cluster reaches.

HTTP comes in the mesh's mutual TLS (ISTIO_MUTUAL), which makes callers known: the gateway verifies the workload's
certificate, which `from` and `identity` of a policy use. TLS is the application's own, and the gateway does not end
it: there callers are unknown.
";

const OF_ROUTES: &str = "\
The way of a call: from every sidecar to the gateway, and from the gateway out. The filter is on the second leg, so the
first has no way around it. The gateway's cluster is named outbound|PORT||HOST: this PORT is what `ports` of a policy
sees.

A route attaches to the ServiceEntry of hosts/, and takes no effect before it is there.
";

const RULES: &str = "\
TLS on both legs, and none beside them.

From the sidecar to the gateway: mutual TLS with the workload's own certificate, or the application's own TLS as it is.

From the gateway to the external service: where the gateway starts TLS, the server name, and the name that must be in
the certificate. Without `caCertificates` or `credentialName` the authorities are those of the gateway's operating
system. These rules are for the gateway alone (`exportTo`, `workloadSelector`).

From any other proxy to the external service: nothing. A proxy that knows the host and has no route for it would dial
the host itself. These rules make it ask for a certificate of the mesh with a name that nobody has, so it fails before
it has sent anything.

`istioctl analyze` warns IST0129 on the second kind, wrongly: it verifies, by the authorities of the operating system.
";

pub(super) fn write(mesh: &Mesh<'_>, files: &mut Vec<File>) {
    mesh.add(files, "gateway.yaml", OF_GATEWAY, &gateway(mesh));
    if mesh.hosts.is_empty() {
        return;
    }
    let of_hosts = mesh.hosts.iter().flat_map(|host| [to_service(mesh, host), closed(mesh, host)]);
    let rules = std::iter::once(to_gateway(mesh)).chain(of_hosts).collect();
    mesh.add(files, "destination-rules.yaml", RULES, &documents(rules));
    let legs = mesh.hosts.iter().flat_map(|host| {
        host.routes
            .iter()
            .flat_map(|route| [leg_to_gateway(mesh, host, route), leg_out(mesh, host, route)])
    });
    mesh.add(files, "routes.yaml", OF_ROUTES, &documents(legs.collect()));
}

/// What keeps a description from being one of such a gateway.
pub(super) fn errors_of(gateway: &Gateway<'_>, plan: &Plan<'_>) -> Vec<Finding<IstioError>> {
    let mut errors = Vec::new();
    let max = MAX_NAME - service_name("").len();
    if gateway.name.len() > max {
        errors.push(at("$.metadata.name", IstioError::LongName { max }));
    }
    let ports: BTreeSet<_> = plan.routes.iter().map(|route| route.port).collect();
    if ports.len() > MAX_LISTENERS {
        let count = ports.len();
        errors.push(at("$.spec.ways", IstioError::ManyPorts { count, max: MAX_LISTENERS }));
    }
    errors
}

/// The Gateway, with the variables of its pods before it.
fn gateway(mesh: &Mesh<'_>) -> String {
    let variables = variables(mesh);
    let pods = mesh.own("-pods");
    let parameters = format!(
        "# The credentials that the policy stamps.\nparametersRef: {{group: \"\", kind: ConfigMap, name: {pods}}}"
    );
    let has_variables = !variables.is_empty();
    let values = [
        ("head", &*mesh.head("gateway.networking.k8s.io/v1", "Gateway", mesh.gateway.name)),
        ("proxy_config", proxy_config()),
        ("parameters", if has_variables { &*parameters } else { "" }),
        ("listeners", &*listeners(mesh)),
    ];
    let gateway = fill(GATEWAY, &values);
    if !has_variables {
        return gateway;
    }
    let head = mesh.head("v1", "ConfigMap", &pods);
    let values = [("head", &*head), ("secrets", SECRETS), ("variables", &*variables)];
    documents(vec![fill(PODS, &values), gateway])
}

const PODS: &str = "\
@head@
data:
  @secrets@
  deployment: |
    spec:
      template:
        spec:
          containers:
          - name: istio-proxy
            env:
            @variables@
";

/// The ports that callers dial, and whether they speak HTTP there.
fn ports(mesh: &Mesh<'_>) -> BTreeMap<u16, bool> {
    mesh.routes().map(|route| (route.port, is_http(route))).collect()
}

/// One listener for each port: hosts are told apart by routes.
fn listeners(mesh: &Mesh<'_>) -> String {
    let mut ports = ports(mesh);
    if ports.is_empty() {
        // A Gateway has a listener, and this one refuses everything.
        ports.insert(80, true);
    }
    let listeners = ports.into_iter().map(|(port, is_http)| {
        let template = if is_http { LISTENER_OF_HTTP } else { LISTENER_OF_TLS };
        fill(template, &[("name", &listener(port, is_http)), ("port", &port.to_string())])
    });
    listeners.collect()
}

fn listener(port: u16, is_http: bool) -> String {
    format!("{}-{port}", if is_http { "http" } else { "tls" })
}

/// From every sidecar to the gateway: where a port of the host leads.
fn leg_to_gateway(mesh: &Mesh<'_>, host: &Host<'_>, route: &Route<'_>) -> String {
    let (port, service) = (route.port, quoted(&service_name(mesh.gateway.name)));
    let mut text = leg(mesh, host, route, "to-gateway");
    let _ = write!(
        text,
        "  - group: networking.istio.io\n    kind: ServiceEntry\n    name: {}\n    port: {port}\n",
        host.name
    );
    if !is_http(route) {
        text.push_str(&hostnames(host));
    }
    let _ = write!(text, "  rules:\n  # {}\n  - backendRefs:\n", route.reason());
    let _ = writeln!(text, "    - {{name: {service}, port: {port}}}");
    text
}

/// From the gateway out.
fn leg_out(mesh: &Mesh<'_>, host: &Host<'_>, route: &Route<'_>) -> String {
    let port = route.port;
    let mut text = leg(mesh, host, route, "out");
    let _ = write!(
        text,
        "  - name: {}\n    sectionName: {}\n{}",
        quoted(mesh.gateway.name),
        listener(port, is_http(route)),
        hostnames(host)
    );
    text.push_str("  rules:\n  - backendRefs:\n");
    let name = quoted(&host.host.text());
    let _ = writeln!(
        text,
        "    - {{group: networking.istio.io, kind: Hostname, name: {name}, port: {port}}}"
    );
    text
}

/// The first lines of a route, as far as its parents.
fn leg(mesh: &Mesh<'_>, host: &Host<'_>, route: &Route<'_>, leg: &str) -> String {
    let (version, kind) = match (is_http(route), has_tls_route_v1(mesh.gateway)) {
        (true, _) => ("v1", "HTTPRoute"),
        (false, true) => ("v1", "TLSRoute"),
        (false, false) => ("v1alpha2", "TLSRoute"),
    };
    let version = format!("gateway.networking.k8s.io/{version}");
    let name = names::label(format!("{leg}-{}-{}", route.port, host.name));
    format!("{}spec:\n  parentRefs:\n", mesh.head(&version, kind, &name))
}

fn hostnames(host: &Host<'_>) -> String {
    format!("  hostnames: [{}]\n", quoted(&host.host.text()))
}

/// The TLS from a sidecar to the gateway. A route knows no subset, so one rule is for all hosts.
fn to_gateway(mesh: &Mesh<'_>) -> String {
    let name = mesh.own("-from-sidecars");
    let mut text = mesh.head("networking.istio.io/v1", "DestinationRule", &name);
    let _ = write!(
        text,
        "spec:\n  host: {}\n  trafficPolicy:\n    portLevelSettings:\n",
        quoted(&service(mesh))
    );
    for (port, is_http) in ports(mesh) {
        let mode = if is_http { "ISTIO_MUTUAL" } else { "DISABLE" };
        let _ = writeln!(text, "    - port: {{number: {port}}}\n      tls:\n        mode: {mode}");
    }
    text
}

/// The TLS from the gateway to the external service.
fn to_service(mesh: &Mesh<'_>, host: &Host<'_>) -> String {
    let mut text = ways::of_gateway_alone(mesh, host);
    let _ = writeln!(
        text,
        "  workloadSelector:\n    matchLabels:\n{}",
        mesh.labels("      ").trim_end()
    );
    text.push_str("  trafficPolicy:\n    portLevelSettings:\n");
    for route in &host.routes {
        text.push_str(&match route.way.kind {
            WayKind::Originate => tls_to_service(host, route),
            WayKind::Http | WayKind::Passthrough => format!(
                "    - port: {{number: {}}}\n      tls:\n        mode: DISABLE\n",
                route.port
            ),
        });
    }
    text
}

/// What keeps every other proxy from the external service.
fn closed(mesh: &Mesh<'_>, host: &Host<'_>) -> String {
    let name = names::label(format!("gateway-only-{}", host.name));
    let mut text = mesh.head("networking.istio.io/v1", "DestinationRule", &name);
    let _ = writeln!(text, "spec:\n  host: {}\n  exportTo: [\"*\"]", quoted(&host.host.text()));
    text.push_str(CLOSED);
    text
}

const CLOSED: &str = "  trafficPolicy:
    tls:
      mode: ISTIO_MUTUAL
      subjectAltNames: [\"only-the-egress-gateway-dials-it.invalid\"]
";
