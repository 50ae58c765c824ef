//! Names under a wildcard: what Istio leaves out at a gateway, the look-up of each name.

use super::{Authorities, File, Host, Mesh, WayKind, documents, has_dynamic_dns, is_http};
use crate::policy_text::quoted;
use crate::render::plan::Route;
use crate::render::template::fill;

const COMMENT: &str = "\
Looks up the names under a wildcard, one by one: behind the guard, so what is refused is not even looked up.

Rather name hosts, if you can. With those the caller's word says whether it may leave; here it also says where to, and
whoever has the DNS of one such name says what address the gateway dials, a private one too: network-policy.yaml keeps
the gateway from those. HTTP is dialled on the port in `Host`: 80, or 443 with TLS, if it names none.

The addresses are IPv4.
";

const BY_ISTIO: &str = "
Istio from 1.31 on makes the gateway's clusters (`resolution: DYNAMIC_DNS`). Name and family of the cache must be those of
the cluster, or Envoy refuses the listener: see `istioctl proxy-config clusters … -o json` after an upgrade of Istio.
";

const BY_FILTER: &str = "
Up to Istio 1.30 a gateway has no cluster that looks names up: these take the place of Istio's own. So a DestinationRule
for such a host has no effect at the gateway.
";

pub(super) fn write(mesh: &Mesh<'_>, files: &mut Vec<File>) {
    let mut patches = String::new();
    for host in &mesh.hosts {
        let routes = || host.routes.iter().filter(|route| route.is_looked_up());
        if !has_dynamic_dns(mesh.gateway) {
            patches.extend(routes().map(|route| cluster(host, route)));
        }
        if routes().any(|route| is_http(route)) {
            let (name, cache) = (quoted(&host.host.text()), cache(host));
            patches.push_str(&fill(HTTP, &[("name", &*name), ("cache", &*cache)]));
        }
        let tls: Vec<_> = routes().filter(|route| !is_http(route)).collect();
        patches.extend(tls.iter().map(|route| server_name(host, route, tls.len() > 1)));
    }
    if patches.is_empty() {
        return;
    }
    let name = mesh.own("-warden-wildcards");
    let mut text = mesh.head("networking.istio.io/v1alpha3", "EnvoyFilter", &name);
    text.push_str("spec:\n  workloadSelector:\n    labels:\n");
    text.push_str(&mesh.labels("      "));
    text.push_str("  # After the guard's 100.\n  priority: 200\n  configPatches:\n");
    text.push_str(&patches);
    let how = if has_dynamic_dns(mesh.gateway) { BY_ISTIO } else { BY_FILTER };
    mesh.add(files, "wildcards.yaml", &format!("{COMMENT}{how}"), &documents(vec![text]));
}

/// The cache of a wildcard's addresses; Istio names its own the same.
fn cache(host: &Host<'_>) -> String {
    let name = quoted(&format!("{}_dfp_dns_cache", host.host.text()));
    format!("{{name: {name}, dns_lookup_family: V4_ONLY}}")
}

fn server_name(host: &Host<'_>, route: &Route<'_>, has_others: bool) -> String {
    let (name, cache) = (quoted(&host.host.text()), cache(host));
    let target = route.target_port.to_string();
    // The same names on another port, with another target.
    let port = if has_others { format!("portNumber: {}", route.port) } else { String::new() };
    let values =
        [("name", &*name), ("cache", &*cache), ("target", &*target), ("port_number", &*port)];
    fill(SERVER_NAME, &values)
}

/// A cluster in the place of Istio's own, which would dial no name.
fn cluster(host: &Host<'_>, route: &Route<'_>) -> String {
    let cluster = quoted(&format!("outbound|{}||{}", route.port, host.host.text()));
    let starts_tls = route.way.kind == WayKind::Originate;
    let authorities = match route.way.authorities {
        Authorities::File(file) => file,
        // INVARIANT: a Secret was refused, see `wildcard_error`.
        Authorities::System | Authorities::Secret(_) => SYSTEM_AUTHORITIES,
    };
    let authorities = quoted(authorities);
    let tls = fill(TLS, &[("authorities", &*authorities)]);
    let names = "upstream_http_protocol_options: {auto_sni: true, auto_san_validation: true}";
    let protocol = fill(PROTOCOL, &[("names", if starts_tls { names } else { "" })]);
    let values = [
        ("cluster", &*cluster),
        ("cache", &*cache(host)),
        ("protocol", if is_http(route) { &*protocol } else { "" }),
        ("tls", if starts_tls { &*tls } else { "" }),
    ];
    fill(CLUSTER, &values)
}

/// Where Istio's images keep them.
const SYSTEM_AUTHORITIES: &str = "/etc/ssl/certs/ca-certificates.crt";

const HTTP: &str = r#"  - applyTo: HTTP_FILTER
    match:
      context: GATEWAY
      listener:
        filterChain:
          sni: @name@
          filter:
            name: envoy.filters.network.http_connection_manager
            subFilter:
              name: envoy.filters.http.router
    patch:
      operation: INSERT_BEFORE
      value:
        name: envoy.filters.http.dynamic_forward_proxy
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.http.dynamic_forward_proxy.v3.FilterConfig
          dns_cache_config: @cache@
"#;

const SERVER_NAME: &str = r#"  - applyTo: NETWORK_FILTER
    match:
      context: GATEWAY
      listener:
        @port_number@
        filterChain:
          sni: @name@
          filter:
            name: envoy.filters.network.tcp_proxy
    patch:
      operation: INSERT_BEFORE
      value:
        name: envoy.filters.network.sni_dynamic_forward_proxy
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.sni_dynamic_forward_proxy.v3.FilterConfig
          port_value: @target@
          dns_cache_config: @cache@
"#;

const CLUSTER: &str = r#"  - applyTo: CLUSTER
    match:
      context: GATEWAY
      cluster: {name: @cluster@}
    patch:
      operation: REMOVE
  - applyTo: CLUSTER
    match:
      context: GATEWAY
    patch:
      operation: ADD
      value:
        name: @cluster@
        connect_timeout: 10s
        lb_policy: CLUSTER_PROVIDED
        cluster_type:
          name: envoy.clusters.dynamic_forward_proxy
          typed_config:
            "@type": type.googleapis.com/envoy.extensions.clusters.dynamic_forward_proxy.v3.ClusterConfig
            dns_cache_config: @cache@
        @protocol@
        @tls@
"#;

const PROTOCOL: &str = r#"# The caller's own protocol goes on: gRPC needs HTTP/2 on every leg of the way.
typed_extension_protocol_options:
  envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
    "@type": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
    use_downstream_protocol_config: {http2_protocol_options: {}}
    @names@
"#;

/// The names are those of the request.
const TLS: &str = r#"transport_socket:
  name: envoy.transport_sockets.tls
  typed_config:
    "@type": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext
    common_tls_context:
      tls_params: {tls_minimum_protocol_version: TLSv1_2, tls_maximum_protocol_version: TLSv1_3}
      validation_context:
        trusted_ca: {filename: @authorities@}
"#;
