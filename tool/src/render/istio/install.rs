//! How all of it is applied: the two steps and their order, and values for Istio's own charts.

use super::{File, Form, MAX_APPLIED, Mesh, has_tls_route_v1, service_name, told};
use crate::document::Document;
use crate::policy_text::{ports, quoted};
use crate::render::policy_json::secrets;
use crate::render::template::fill;

const MESH_CONFIG: &str = include_str!("../../../../envoy/istio/mesh-config.yaml");
const GATEWAY_VALUES: &str = include_str!("../../../../envoy/istio/gateway-values.yaml");
const ORDER: &str = include_str!("order.txt");
const ORDER_OF_GATEWAY_API: &str = include_str!("order_gateway_api.txt");
const ORDER_OF_AMBIENT: &str = include_str!("order_ambient.txt");

const OF_MESH: &str = "\
Helm values for the chart `istiod` of Istio (an IstioOperator takes the same `meshConfig` under `spec`). They are for the
whole mesh, and for all its gateways.
";

/// What the shipped file says of another one that is not here.
const FIELDS: &str = "  # The access log of every proxy. ../gateway.yaml has the same fields and says what is behind some of them; the\n  \
                      # `egress_*` ones are empty everywhere but at the egress gateway.\n";
const FIELDS_HERE: &str = "  # The access log of every proxy; its fields `egress_*` are empty everywhere but at the egress gateway.\n";

const SERVICE: &str = "service:\n  type: ClusterIP\n";

const FIRST: &str = "\
Step 1 of 2: the filter, the guard, and the way through the gateway. `kubectl apply@server_side@ -k` this folder.

Step 2 is hosts/: the ServiceEntries. It comes last and goes first (ORDER.txt). As soon as a sidecar knows a host and has
no route to the gateway for it, the sidecar dials the host itself: past the policy, and in clear text where the gateway is
to start the TLS.

Not in this list: mesh-config.yaml and gateway-values.yaml are values for Istio's Helm charts.
";

const SECOND: &str = "\
Step 2 of 2: the external hosts become known to the mesh. `kubectl apply@server_side@ -k` this folder.

Delete in the opposite order: this folder first, then the one above.
";

const FIRST_OF_GATEWAY_API: &str = "\
Step 1 of 2: the filter, the guard, the gateway, and the way through it. `kubectl apply@server_side@ -k` this folder.

Step 2 is hosts/: the ServiceEntries. It comes when the gateway is ready, and goes first (ORDER.txt). A route takes effect
when istiod knows its ServiceEntry. A sidecar that knows the host before it knows the route cannot dial the host itself:
destination-rules.yaml makes it ask for a certificate that no external service has.

Not in this list: mesh-config.yaml has values for Istio's Helm chart.
";

const SECOND_OF_GATEWAY_API: &str = "\
Step 2 of 2: the external hosts become known to the mesh. `kubectl apply@server_side@ -k` this folder.

Before it, wait until the gateway is ready. Delete in the opposite order: this folder first (../ORDER.txt).
";

const WORKLOADS_OF_AMBIENT: &str = "\
Step 1 of 3: the workloads' ways out close. `kubectl apply@server_side@ -k` this folder.

It comes first and goes last (../ORDER.txt).
";

const FIRST_OF_AMBIENT: &str = "\
Step 2 of 3: the filter, the guard and the waypoint. `kubectl apply@server_side@ -k` this folder.

Step 1 is workloads/: the network closes every other way out. Step 3 is hosts/: the ServiceEntries (ORDER.txt). As soon as
ztunnel knows a host and has no waypoint for it, it dials the host itself: past the policy, and in clear text where the
waypoint is to start the TLS. So hosts/ comes when the waypoint is ready, and goes first.

Not in this list: mesh-config.yaml has values for Istio's Helm chart.
";

const SECOND_OF_AMBIENT: &str = "\
Step 3 of 3: the external hosts become known to the mesh. `kubectl apply@server_side@ -k` this folder.

Before it, wait until the waypoint is ready. Delete in the opposite order: this folder first (../ORDER.txt).
";

/// In the order in which they are applied. The guards are first: they refuse everything until the filter
/// answers.
const FIRST_FILES: [&str; 17] = [
    "guard.yaml",
    "guard-connections.yaml",
    "traffic-extension.yaml",
    "traffic-extension-connections.yaml",
    "wasm-plugin.yaml",
    "wasm-plugin-connections.yaml",
    "wait.yaml",
    "wildcards.yaml",
    "telemetry.yaml",
    "network-policy.yaml",
    "destination-rules.yaml",
    "gateways.yaml",
    "virtual-services.yaml",
    // In their place, by the Gateway API.
    "gateway.yaml",
    "routes.yaml",
    "sidecars.yaml",
    "workloads.yaml",
];
/// The same of a waypoint, whose guard is there before its pods are.
const FIRST_FILES_OF_AMBIENT: [&str; 10] = [
    "namespace.yaml",
    "network-policy.yaml",
    "guard.yaml",
    "traffic-extension.yaml",
    "traffic-extension-connections.yaml",
    "wasm-plugin.yaml",
    "wasm-plugin-connections.yaml",
    "telemetry.yaml",
    "destination-rules.yaml",
    "waypoint.yaml",
];
const WORKLOADS_FILE: &str = "network-policies.yaml";
const SECOND_FILE: &str = "service-entries.yaml";

pub(super) fn write(mesh: &Mesh<'_>, files: &mut Vec<File>) {
    let is_large = largest(files).is_some();
    let server_side = if is_large { " --server-side" } else { "" };
    let values = [("server_side", server_side)];
    let (first, second, order): (&[&'static str], _, _) = match mesh.form() {
        Form::VirtualService => (&FIRST_FILES, [FIRST, SECOND], ORDER),
        Form::GatewayApi => {
            (&FIRST_FILES, [FIRST_OF_GATEWAY_API, SECOND_OF_GATEWAY_API], ORDER_OF_GATEWAY_API)
        }
        Form::Waypoint => {
            (&FIRST_FILES_OF_AMBIENT, [FIRST_OF_AMBIENT, SECOND_OF_AMBIENT], ORDER_OF_AMBIENT)
        }
    };
    let [first_comment, second_comment] = second.map(|comment| fill(comment, &values));
    let is_written = |path: &&&str| files.iter().any(|file| file.path == **path);
    let resources: Vec<_> = first.iter().filter(is_written).copied().collect();
    mesh.add(files, "kustomization.yaml", &first_comment, &kustomization(mesh, &resources));
    if !mesh.hosts.is_empty() {
        let text = kustomization(mesh, &[SECOND_FILE]);
        mesh.add(files, "hosts/kustomization.yaml", &second_comment, &text);
    }
    match mesh.form() {
        Form::Waypoint if mesh.gateway.workloads.is_empty() => {}
        Form::Waypoint => {
            let (comment, text) =
                (fill(WORKLOADS_OF_AMBIENT, &values), kustomization(mesh, &[WORKLOADS_FILE]));
            mesh.add(files, "workloads/kustomization.yaml", &comment, &text);
        }
        Form::GatewayApi => write_mesh_config(mesh, files),
        Form::VirtualService => {
            write_mesh_config(mesh, files);
            mesh.add(files, "gateway-values.yaml", &gateway_comment(mesh), &gateway_values(mesh));
        }
    }
    mesh.add(files, "ORDER.txt", &order_text(mesh, order, is_large), "");
    files.sort_by_key(|file| file.path);
}

fn write_mesh_config(mesh: &Mesh<'_>, files: &mut Vec<File>) {
    let mesh_config = body(MESH_CONFIG).replacen(FIELDS, FIELDS_HERE, 1);
    mesh.add(files, "mesh-config.yaml", OF_MESH, &mesh_config);
}

/// The largest object that `kubectl apply` refuses without `--server-side`: its file and its bytes.
pub(crate) fn largest(files: &[File]) -> Option<(&'static str, usize)> {
    let sizes = files.iter().filter(|file| file.text.len() >= MAX_APPLIED).flat_map(|file| {
        let objects = file.text.split("\n---\n").filter(|text| text.len() >= MAX_APPLIED);
        // It is the JSON that counts, which layout and comments are no part of.
        objects.map(|text| {
            let document = Document::of_text(file.path.to_owned(), text.to_owned(), false);
            (file.path, document.roots().first().map_or(0, |root| root.to_json().len()))
        })
    });
    sizes.filter(|(_, bytes)| *bytes >= MAX_APPLIED).max_by_key(|(_, bytes)| *bytes)
}

fn body(text: &str) -> &str {
    super::proxy::body(text)
}

fn kustomization(mesh: &Mesh<'_>, resources: &[&str]) -> String {
    let mut text = format!(
        "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\n# In the order of the \
         list, not sorted by kind.\nsortOptions:\n  order: fifo\n# By these, what a later policy no \
         longer has is found (ORDER.txt).\nlabels:\n- pairs:\n    app.kubernetes.io/managed-by: \
         egress-warden\n    egress-warden.dev/gateway: {}\nresources:\n",
        quoted(mesh.gateway.name)
    );
    for resource in resources {
        text.push_str(&format!("- {resource}\n"));
    }
    text
}

fn gateway_comment(mesh: &Mesh<'_>) -> String {
    let shipped = super::proxy::head_comment(GATEWAY_VALUES);
    // Its first paragraph names the labels of the shipped gateway.
    let rest = shipped.split_once("\n\n").map_or("", |(_, rest)| rest);
    let labels: Vec<_> =
        mesh.gateway.labels.iter().map(|(key, value)| format!("{key}: {value}")).collect();
    format!(
        "Helm values for the chart `gateway` of Istio, release `{}` in the namespace `{}`.\nIts \
         pods must have the labels that the objects here select: `{}`.\n\n{rest}",
        mesh.gateway.service,
        mesh.gateway.namespace,
        labels.join("`, `")
    )
}

fn gateway_values(mesh: &Mesh<'_>) -> String {
    let mut service = SERVICE.to_owned();
    let ports = &mesh.gateway.ports;
    if ports != &[80, 443] {
        service.push_str(
            "  ports:\n  - {name: status-port, port: 15021, targetPort: 15021, protocol: TCP}\n",
        );
        for port in ports {
            service.push_str(&format!(
                "  - {{name: tcp-{port}, port: {port}, targetPort: {port}, protocol: TCP}}\n"
            ));
        }
    }
    let mut text = body(GATEWAY_VALUES).replacen(SERVICE, &service, 1);
    let variables = variables(mesh);
    if !variables.is_empty() {
        text.push_str(&format!("{SECRETS}{NO_VARIABLES}envVarFrom:\n{variables}"));
    }
    text
}

/// What the gateway's pods need for the credentials that the policy stamps: a list of variables, in YAML.
pub(super) fn variables(mesh: &Mesh<'_>) -> String {
    let names = secrets(mesh.policy.root).into_iter();
    let variables = names.map(|name| {
        let name = quoted(&name);
        format!(
            "- name: {name}\n  valueFrom:\n    secretKeyRef: {{name: egress-credentials, key: {name}}}\n"
        )
    });
    variables.collect()
}

pub(super) const SECRETS: &str = "\
# Credentials that the policy stamps, from a Secret of the gateway's namespace. Without one the policy is refused.
";

const NO_VARIABLES: &str = "\
# A chart without `envVarFrom` ignores this: then `kubectl set env` the Deployment.
";

/// What the annotations of the gateway's pods say to its proxy.
pub(super) fn proxy_config() -> &'static str {
    GATEWAY_VALUES.split_once(ANNOTATIONS).map_or("", |(_, annotations)| annotations)
}

const ANNOTATIONS: &str = "podAnnotations:\n";

fn order_text(mesh: &Mesh<'_>, order: &str, is_large: bool) -> String {
    let told = told(mesh);
    let told = match told.is_empty() {
        true => String::new(),
        false => format!("What is not routed as the policy has it:\n\n{told}"),
    };
    let has_workloads = !mesh.gateway.workloads.is_empty();
    let workloads = match (has_workloads, mesh.is_ambient()) {
        (true, _) => "",
        (false, false) => NO_WORKLOADS,
        (false, true) => NO_WORKLOADS_OF_AMBIENT,
    };
    let (channel, alpha) = match (has_tls_route_v1(mesh.gateway), mesh.has_tls()) {
        (true, _) => ("standard channel, 1.5 or later", ""),
        (false, false) => ("standard channel, 1.3 or later", ""),
        (false, true) => ("experimental channel, 1.3 or 1.4", ALPHA),
    };
    let step = |text: String| if has_workloads { text } else { String::new() };
    let server_side = if is_large { " --server-side" } else { "" };
    let first = step(format!("  kubectl apply{server_side} -k workloads\n"));
    let last = step("  kubectl delete -k workloads\n".to_owned());
    let namespaces: String = mesh
        .gateway
        .workloads
        .iter()
        .map(|namespace| {
            format!("  kubectl label namespace {namespace} istio.io/dataplane-mode=ambient\n")
        })
        .collect();
    let large = if is_large { LARGE } else { "" };
    let values = [
        ("server_side", server_side),
        ("first", &first),
        ("last", &last),
        ("namespaces", &namespaces),
        ("waypoint", &super::ambient::waypoint(mesh)),
        ("namespace", mesh.gateway.namespace),
        ("gateway", mesh.gateway.name),
        ("service", &service_name(mesh.gateway.name)),
        ("channel", channel),
        ("alpha", alpha),
        ("ports", &ports(&mesh.gateway.ports)),
        ("large", large),
        ("workloads", workloads),
        ("told", &told),
    ];
    fill(order, &values)
}

/// Behind a line of ORDER.txt.
const ALPHA: &str = ", with the variable PILOT_ENABLE_ALPHA_GATEWAY_API=true:
  it reads no TLSRoute otherwise, and then no TLS leaves";

const NO_WORKLOADS: &str = "
No NetworkPolicy closes the workloads' other ways out: name their namespaces under `spec.workloads.namespaces` of the
gateway's description. A sidecar is no boundary against its own workload.
";

const NO_WORKLOADS_OF_AMBIENT: &str = "
No NetworkPolicy closes the workloads' other ways out: name their namespaces under `spec.workloads.namespaces` of the
gateway's description. ztunnel passes on what it does not know, whatever `outboundTrafficPolicy` of the mesh says.
";

const LARGE: &str = "
An object here has more than 262,144 bytes. `kubectl apply` keeps a copy of each in an annotation, which has no room for
that; with `--server-side` it keeps none.
";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_replaced_stands_in_the_shipped_files() {
        assert_eq!(MESH_CONFIG.matches(FIELDS).count(), 1);
        assert_eq!(GATEWAY_VALUES.matches(SERVICE).count(), 1);
        assert!(proxy_config().starts_with("  proxy.istio.io/config: |\n"));
    }
}
