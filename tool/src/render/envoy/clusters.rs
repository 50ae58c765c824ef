//! The ways out, one cluster for each.

use crate::render::gateway::{Authorities, WayKind};
use crate::render::plan::{HostForm, Route};
use crate::render::template::{endpoint, quoted};
use std::fmt::Write as _;

/// The name of a route's cluster, as Istio has it. Its port is the one that callers dial, which the policy
/// judges; it may dial another.
///
/// One that begins TLS has another name than one that does not. Else a route to it could lead to the other while
/// a configuration changes in parts, and a request would leave in the clear.
pub(super) fn name(route: &Route<'_>) -> String {
    let subset = match route.way.kind {
        WayKind::Originate => route.way.kind.as_str(),
        WayKind::Http | WayKind::Passthrough => "",
    };
    format!("outbound|{}|{subset}|{}", route.port, route.host.text())
}

/// What was said already, and has a name in the same file.
pub(super) struct Said {
    pub(super) protocol: bool,
    pub(super) cache: bool,
}

/// The cluster of a route: what stands in its name's place is looked up, unless its endpoints are known.
/// The first for HTTP has what all of them say.
pub(super) fn of(route: &Route<'_>, said: &mut Said) -> String {
    let cluster = quoted(&name(route));
    let addresses = match (route.way.endpoints.as_slice(), route.host.form) {
        ([], HostForm::Address(address)) => vec![address.to_string()],
        (endpoints, _) => endpoints.iter().map(|it| it.to_string()).collect(),
    };
    let mut text = format!("  - name: {cluster}\n");
    if route.is_looked_up() {
        text.push_str(&dynamic(said));
    } else if addresses.is_empty() {
        text.push_str(LOOKED_UP);
        text.push_str(&load_assignment(&cluster, &[route.host.name.to_string()], route));
    } else {
        text.push_str("    type: STATIC\n");
        text.push_str(&load_assignment(&cluster, &addresses, route));
    }
    match route.way.kind {
        WayKind::Passthrough => {}
        // Under a wildcard the name in TLS is that of each request. Envoy asks for it without TLS too.
        WayKind::Http | WayKind::Originate if route.is_looked_up() => {
            text.push_str(PROTOCOL_WITH_NAMES);
        }
        WayKind::Originate if route.host.is_wildcard() => text.push_str(PROTOCOL_WITH_NAMES),
        WayKind::Http | WayKind::Originate => {
            text.push_str(if said.protocol { SAME_PROTOCOL } else { PROTOCOL });
            said.protocol = true;
        }
    }
    if route.way.kind == WayKind::Originate {
        text.push_str(&tls(route));
    }
    text
}

fn load_assignment(cluster: &str, hosts: &[String], route: &Route<'_>) -> String {
    let endpoints: Vec<_> = hosts
        .iter()
        .map(|host| {
            let address = endpoint(host, route.target_port);
            format!("{{endpoint: {{address: {{socket_address: {address}}}}}}}")
        })
        .collect();
    let endpoints = endpoints.join(", ");
    format!(
        "    load_assignment:\n      cluster_name: {cluster}\n      \
         endpoints: [{{lb_endpoints: [{endpoints}]}}]\n"
    )
}

/// As long as DNS says. Envoy 1.40 deprecates `type: STRICT_DNS` with settings of DNS beside it.
const LOOKED_UP: &str = r#"    cluster_type:
      name: envoy.clusters.dns
      typed_config:
        "@type": type.googleapis.com/envoy.extensions.clusters.dns.v3.DnsCluster
        dns_lookup_family: V4_PREFERRED
        respect_dns_ttl: true
"#;

const DYNAMIC: &str = r#"    lb_policy: CLUSTER_PROVIDED
    cluster_type:
      name: envoy.clusters.dynamic_forward_proxy
      typed_config:
        "@type": type.googleapis.com/envoy.extensions.clusters.dynamic_forward_proxy.v3.ClusterConfig
"#;

fn dynamic(said: &mut Said) -> String {
    let cache = if said.cache {
        "*dns_cache"
    } else {
        "&dns_cache {name: egress, dns_lookup_family: V4_PREFERRED}"
    };
    said.cache = true;
    format!("{DYNAMIC}        dns_cache_config: {cache}\n")
}

/// The wildcards of TLS that is passed on. Their names are looked up by another filter, and so is the port.
pub(super) fn wildcards(said: &mut Said) -> String {
    format!("  - name: {WILDCARDS}\n{}", dynamic(said))
}

/// The name of the cluster for [`wildcards`].
pub(super) const WILDCARDS: &str = "wildcards";
/// The name of the cluster without endpoints.
pub(super) const NOWHERE: &str = "nowhere";

/// No way out: for server names that have none.
pub(super) fn nowhere() -> String {
    format!("  - name: {NOWHERE}\n    type: STATIC\n")
}

const PROTOCOL: &str = r#"    # The caller's own protocol goes on: gRPC needs HTTP/2 on every leg of the way.
    typed_extension_protocol_options: &same_protocol
      envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
        "@type": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
        use_downstream_protocol_config: {http2_protocol_options: {}}
"#;

const SAME_PROTOCOL: &str = "    typed_extension_protocol_options: *same_protocol\n";

const PROTOCOL_WITH_NAMES: &str = r#"    # The name in TLS, and in the certificate, is the host of each request.
    typed_extension_protocol_options:
      envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
        "@type": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
        upstream_http_protocol_options: {auto_sni: true, auto_san_validation: true}
        use_downstream_protocol_config: {http2_protocol_options: {}}
"#;

/// TLS towards the external service, whose certificate must be of the right authority and name.
fn tls(route: &Route<'_>) -> String {
    let authorities = match route.way.authorities {
        Authorities::File(file) => file,
        Authorities::System | Authorities::Secret(_) => SYSTEM_AUTHORITIES,
    };
    let (sni, names) = match route.host.form {
        HostForm::Below => (None, None),
        HostForm::Address(address) => (None, Some(("IP_ADDRESS", address.to_string()))),
        HostForm::Name => (Some(&route.host.name), Some(("DNS", route.host.name.to_string()))),
    };
    let mut text = String::from(TLS_HEAD);
    if let Some(sni) = sni {
        let _ = writeln!(text, "        sni: {}", quoted(sni));
    }
    text.push_str(TLS_COMMON);
    let _ = writeln!(text, "            trusted_ca: {{filename: {}}}", quoted(authorities));
    if let Some((kind, name)) = names {
        let name = quoted(&name);
        let _ = writeln!(
            text,
            "            match_typed_subject_alt_names: [{{san_type: {kind}, matcher: {{exact: {name}}}}}]"
        );
    }
    text
}

/// Where Debian, Ubuntu and Envoy's own images keep them.
const SYSTEM_AUTHORITIES: &str = "/etc/ssl/certs/ca-certificates.crt";

const TLS_HEAD: &str = r#"    transport_socket:
      name: envoy.transport_sockets.tls
      typed_config:
        "@type": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext
"#;

const TLS_COMMON: &str = "        common_tls_context:
          tls_params: {tls_minimum_protocol_version: TLSv1_2, tls_maximum_protocol_version: TLSv1_3}
          validation_context:
";
