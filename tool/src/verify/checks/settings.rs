//! Settings of the connection managers that the shipped configurations have.

use super::Subject;
use crate::verify::kind::{
    ATTEMPT_COUNT, CLIENT_CERT, ENVOY_HEADERS, PATH_NORMALIZATION, REMOTE_ADDRESS, ROUTE_REWRITES,
};
use crate::verify::report::Report;
use crate::verify::tree::{Fields, Typed, shown};
use serde_json::Value;

/// Each connection manager, its router and its virtual hosts.
pub(super) fn of(subject: &Subject<'_, '_>, report: &mut Report) {
    for (egress, manager) in subject.carried.requests() {
        let (place, config) = (&egress.chain.place, manager.config);
        // At a waypoint the caller's address and certificate are those of the tunnel.
        if !subject.is_waypoint() {
            if !config.is_set("use_remote_address") {
                let problem = "a caller says by x-forwarded-for which address it has";
                report.say(&REMOTE_ADDRESS, place, problem);
            }
            let details = config.text("forward_client_cert_details").unwrap_or("SANITIZE");
            if !matches!(details, "SANITIZE" | "SANITIZE_SET") {
                let problem =
                    format!("x-forwarded-client-cert of callers is passed on ({})", shown(details));
                report.say(&CLIENT_CERT, place, problem);
            }
        }
        if !config.is_set("normalize_path") {
            report.say(&PATH_NORMALIZATION, place, "dot segments of paths are not resolved");
        }
        for stack in &manager.stacks {
            let router = stack.filters.last().and_then(|it| it.typed);
            let Some(router) = router.filter(|it| it.kind.ends_with(".router.v3.Router")) else {
                continue;
            };
            if !router.value.is_set("suppress_envoy_headers") {
                let problem = "the router adds x-envoy-expected-rq-timeout-ms and others, which no policy can remove";
                report.say(&ENVOY_HEADERS, &stack.place, problem);
            }
            upstream_filters(router.value.list("upstream_http_filters"), &stack.place, report);
        }
        let Ok(routes) = subject.proxy.routes_of(config) else { continue };
        for host in routes.list("virtual_hosts") {
            if host.is_set("include_request_attempt_count") {
                let name = shown(host.text("name").unwrap_or_default());
                let problem = "the router adds x-envoy-attempt-count, which no policy can remove";
                report.say(&ATTEMPT_COUNT, format!("{place}, virtual host {name}"), problem);
            }
        }
    }
    for (name, cluster) in subject.carried.clusters(subject.proxy) {
        for (_, options) in cluster.config.map("typed_extension_protocol_options") {
            let place = format!("cluster {}", shown(name));
            upstream_filters(options.list("http_filters"), &place, report);
        }
    }
}

/// Filters behind the router, which run after the guard.
fn upstream_filters(filters: &[Value], place: &str, report: &mut Report) {
    for filter in filters {
        let kind = Typed::config_of(filter).map_or("unknown", |typed| typed.kind);
        if kind.starts_with("envoy.extensions.filters.http.upstream_codec.") {
            continue;
        }
        let problem =
            format!("`{}` stands behind the router and may change what was judged", shown(kind));
        report.say(&ROUTE_REWRITES, place, problem);
    }
}
