//! A whole gateway for an Envoy that no control plane configures: listeners, filter, guard, routes, and the
//! ways out.
//!
//! One listener takes HTTP, and the port that `Host` names chooses among the routes of a host. TLS that is
//! passed on has a listener for each port, as a hello names none. A chain of filters is one more copy of
//! the policy in each worker, so all names of a listener share one.

mod clusters;
mod tls_listener;

use super::gateway::{Gateway, WayKind};
use super::plan::{Plan, Route};
use crate::finding::{Finding, Message};
use crate::policy_file::{Node, Source};
use crate::render::policy_json;
use crate::render::template::{fill, quoted, socket};
use crate::render::wildcard_port::{WildcardPort, port_without_name};
use egress_warden::config::Config;
use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt::Write as _;

const HTTP: &str = include_str!("http.yaml");
const DYNAMIC_FORWARD_PROXY: &str = include_str!("dynamic_forward_proxy.yaml");
const TLS: &str = include_str!("tls.yaml");
const CONNECTIONS: &str = include_str!("connections.yaml");
const HEADER: &str = include_str!("header.yaml");

/// Why a description is none for an Envoy without a control plane.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum EnvoyError {
    /// A Secret, which is an object of Kubernetes.
    Secret,
    WildcardPort(WildcardPort),
    /// No address is left for a listener.
    NoSocket {
        port: u16,
    },
}

impl Message for EnvoyError {
    fn problem(&self) -> Cow<'_, str> {
        match self {
            Self::Secret => "`secret`, which an Envoy without a control plane cannot read".into(),
            Self::WildcardPort(error) => error.problem(),
            Self::NoSocket { port } => {
                format!("port {port}, whose listener would have the address of another").into()
            }
        }
    }

    fn remedy(&self) -> Cow<'_, str> {
        match self {
            Self::Secret => "write `caCertificates` with a file".into(),
            Self::WildcardPort(error) => error.remedy(),
            Self::NoSocket { .. } => "choose other addresses under `spec.envoy`".into(),
        }
    }
}

/// The bootstrap of an Envoy, or every reason why there is none; their places are in the description.
pub(crate) fn bootstrap(
    config: &Config,
    policy: &Source<'_>,
    gateway: &Gateway<'_>,
    plan: &Plan<'_>,
) -> Result<String, Vec<Finding<EnvoyError>>> {
    let (tls, http): (Vec<_>, Vec<_>) =
        plan.routes.iter().partition(|route| route.way.kind == WayKind::Passthrough);
    let listeners = tls_listener::listeners(&tls, gateway);
    let without_socket = listeners.iter().filter(|listener| listener.address.is_none());
    let without_socket = without_socket.filter_map(|listener| {
        let kind = EnvoyError::NoSocket { port: listener.port };
        at_way(listener.routes.first()?, kind)
    });
    let mut errors: Vec<_> = plan.routes.iter().flat_map(errors_of).chain(without_socket).collect();
    // Each once for a way.
    let mut told = HashSet::new();
    errors.retain(|it| told.insert((it.path.clone(), std::mem::discriminant(&it.kind))));
    if !errors.is_empty() {
        return Err(errors);
    }
    let json = policy_json::policy_json(policy.root);
    let environment = environment(policy.root);
    let module = quoted(gateway.envoy.module);
    let values = [
        ("revision", &*config.revision),
        ("policy", &json),
        ("environment", &environment),
        ("module", &module),
    ];
    let is_dynamic = http.iter().any(|route| route.is_looked_up());
    let mut text = header(config, policy, plan);
    let admin = socket(gateway.envoy.admin);
    let _ = writeln!(text, "admin:\n  address: {{socket_address: {admin}}}\n");
    text.push_str("static_resources:\n  listeners:\n");
    // An Envoy for nothing at all refuses what comes, and says why.
    let has_http = !http.is_empty() || tls.is_empty();
    if has_http {
        let address = socket(gateway.envoy.http);
        let hosts = virtual_hosts(&http);
        let proxy = if is_dynamic { DYNAMIC_FORWARD_PROXY } else { "" };
        let own =
            [("address", &*address), ("virtual_hosts", &hosts), ("dynamic_forward_proxy", proxy)];
        text.push_str(&fill(HTTP, &[&values[..], &own].concat()));
    }
    let mut has_policy = has_http;
    for listener in &listeners {
        text.push_str(&listener.text(&values, has_policy));
        has_policy = true;
    }
    let mut has_protocol = false;
    let own = plan.routes.iter().filter(|route| !is_shared(route));
    let mut clusters: Vec<String> =
        own.map(|route| clusters::of(route, &mut has_protocol)).collect();
    if tls.iter().any(|route| is_shared(route)) {
        clusters.push(clusters::wildcards(is_dynamic));
    }
    if !tls.is_empty() {
        clusters.push(clusters::nowhere());
    }
    match clusters.is_empty() {
        true => text.push_str("\n  clusters: []\n"),
        false => {
            let _ = write!(text, "\n  clusters:\n{}", clusters.concat());
        }
    }
    Ok(text)
}

/// What stands before everything: what it is, and what has no route.
fn header(config: &Config, policy: &Source<'_>, plan: &Plan<'_>) -> String {
    let mut notes = String::new();
    if asks_callers(policy) {
        notes.push_str(NO_CALLERS);
    }
    if !plan.obstacles.is_empty() {
        notes.push_str("#\n# Told about routes:\n");
    }
    for Finding { path, kind, .. } in &plan.obstacles {
        let _ = writeln!(notes, "#\n#   `{path}`: {}:\n#     {}", kind.problem(), kind.remedy());
    }
    fill(HEADER, &[("revision", &config.revision), ("notes", &notes)])
}

const NO_CALLERS: &str = "\
#
# This Envoy verifies no client certificates, so every caller is unknown: rules with `from` allow nobody, and
# `identity: required` refuses everybody.
";

/// Whether the policy asks who calls.
pub(crate) fn asks_callers(policy: &Source<'_>) -> bool {
    policy.settings.identity_required || policy.rules.iter().any(|rule| !rule.from.is_empty())
}

fn environment(tree: &Node) -> String {
    let secrets = policy_json::secrets(tree);
    if secrets.is_empty() {
        return String::new();
    }
    let names: Vec<_> = secrets.iter().map(|it| quoted(it)).collect();
    format!(
        "# The values of `{{secret:NAME}}` come from Envoy's own environment.\n\
         environment_variables: {{host_env_keys: [{}]}}",
        names.join(", ")
    )
}

/// What keeps a route from being one of this Envoy's.
fn errors_of(route: &Route<'_>) -> Vec<Finding<EnvoyError>> {
    let mut errors = Vec::new();
    if matches!(route.way.authorities, super::gateway::Authorities::Secret(_)) {
        errors.extend(at_way(route, EnvoyError::Secret));
    }
    let is_http = route.way.kind != WayKind::Passthrough;
    if is_http && route.is_looked_up() && domains(route).is_empty() {
        errors.extend(at_way(route, EnvoyError::WildcardPort(WildcardPort::of(route))));
    }
    errors
}

/// An error about the way of a route; those of defaults have none.
fn at_way(route: &Route<'_>, kind: EnvoyError) -> Option<Finding<EnvoyError>> {
    let (path, span) = route.way.place.clone()?;
    Some(Finding { path, span, kind })
}

/// What `Host` may say to take a route of HTTP. Names under a wildcard are dialled on the port that it names.
fn domains(route: &Route<'_>) -> Vec<String> {
    let (host, port) = (route.host.text(), route.port);
    let default = port_without_name(route.way.kind);
    let is_fixed = !route.is_looked_up();
    let without_port = port == 80 && (is_fixed || route.target_port == default);
    let with_port = is_fixed || route.target_port == port;
    let domains = [without_port.then(|| host.clone()), with_port.then(|| format!("{host}:{port}"))];
    domains.into_iter().flatten().collect()
}

fn virtual_hosts(routes: &[&Route<'_>]) -> String {
    if routes.is_empty() {
        return " []".to_owned();
    }
    let mut text = String::new();
    for route in routes {
        let name = quoted(&format!("{}:{}", route.host.text(), route.port));
        let domains: Vec<_> = domains(route).iter().map(|it| quoted(it)).collect();
        let _ = write!(
            text,
            "
            # {}
            - name: {name}
              domains: [{}]
              routes:
              - name: {name}
                match: {{prefix: /}}
                route: {{cluster: {}, timeout: 0s}}",
            route.reason(),
            domains.join(", "),
            quoted(&clusters::name(route)),
        );
    }
    text
}

/// Whether a route shares its cluster with other wildcards.
fn is_shared(route: &Route<'_>) -> bool {
    route.way.kind == WayKind::Passthrough && route.is_looked_up()
}
