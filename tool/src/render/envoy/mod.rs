//! A whole gateway for an Envoy that no control plane configures: listeners, filter, guard, routes, and the
//! ways out.
//!
//! All of it is one file, or a folder of files that Envoy takes anew while it runs.
//!
//! One listener takes HTTP, and the port that `Host` names chooses among the routes of a host. TLS that is
//! passed on has a listener for each port, as a hello names none. A chain of filters is one more copy of
//! the policy in each worker, so all names of a listener share one.

mod clusters;
mod files;
mod plugins;
mod tls_listener;

pub(crate) use files::{BOOTSTRAP, CLUSTERS, File, MARK, without_gone};

use super::gateway::{Dataplane, Gateway, MutualTls, WayKind};
use super::plan::{Plan, Route};
use crate::finding::{Finding, Message};
use crate::policy_file::{Node, Source};
use crate::render::policy_json;
use crate::render::template::{fill, quoted, socket};
use crate::render::wildcard_port::{WildcardPort, port_without_name};
use egress_warden::config::Config;
use plugins::{Plugin, Plugins};
use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt::Write as _;
use tls_listener::TlsListener;

const HTTP: &str = include_str!("http.yaml");
const DYNAMIC_FORWARD_PROXY: &str = include_str!("dynamic_forward_proxy.yaml");
const TLS: &str = include_str!("tls.yaml");
const CHAIN: &str = include_str!("chain.yaml");
const REQUESTS: &str = include_str!("requests.yaml");
const REQUESTS_NATIVE: &str = include_str!("requests_native.yaml");
const CONNECTIONS: &str = include_str!("connections.yaml");
const MUTUAL_TLS: &str = include_str!("mutual_tls.yaml");
const HEADER: &str = include_str!("header.yaml");
const STATS: &str = include_str!("stats.yaml");

/// Why a description is none for an Envoy without a control plane.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum EnvoyError {
    /// A waypoint, which is a part of Istio.
    Ambient,
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
            Self::Ambient => "`dataplane: ambient`: a waypoint is a part of Istio's mesh".into(),
            Self::Secret => "`secret`, which an Envoy without a control plane cannot read".into(),
            Self::WildcardPort(error) => error.problem(),
            Self::NoSocket { port } => {
                format!("port {port}, whose listener would have the address of another").into()
            }
        }
    }

    fn remedy(&self) -> Cow<'_, str> {
        match self {
            Self::Ambient => "leave it out, or render it by `render istio`".into(),
            Self::Secret => "write `caCertificates` with a file".into(),
            Self::WildcardPort(error) => error.remedy(),
            Self::NoSocket { .. } => "choose other addresses under `spec.envoy`".into(),
        }
    }
}

/// What a configuration is made of.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Inputs<'i> {
    pub(crate) config: &'i Config,
    pub(crate) policy: &'i Source<'i>,
    pub(crate) gateway: &'i Gateway<'i>,
    pub(crate) plan: &'i Plan<'i>,
}

/// All in one file, or every reason why there is none; their places are in the description.
pub(crate) fn bootstrap(inputs: Inputs<'_>) -> Result<String, Vec<Finding<EnvoyError>>> {
    let parts = inputs.parts(Plugins::InPlace { has_policy: false })?;
    let mut text = inputs.header();
    let admin = socket(inputs.gateway.envoy.admin);
    let _ = write!(text, "admin:\n  address: {{socket_address: {admin}}}\n\n{STATS}");
    let _ = write!(text, "\nstatic_resources:\n  listeners:\n{}", parts.listeners.concat());
    match parts.clusters.is_empty() {
        true => text.push_str("\n  clusters: []\n"),
        false => {
            let _ = write!(text, "\n  clusters:\n{}", parts.clusters.concat());
        }
    }
    Ok(text)
}

/// The files of a folder, in the order in which they are to be moved there; or the same reasons.
///
/// From the moment in which the new policy is in force it alone decides, and no new route is there before. A
/// listener may name clusters that are still to come: what is routed there meanwhile is answered by 503.
pub(crate) fn files(
    inputs: Inputs<'_>,
    folder: &str,
) -> Result<Vec<File>, Vec<Finding<EnvoyError>>> {
    let parts = inputs.parts(Plugins::InFiles { folder, files: Vec::new() })?;
    let mark = format!("{MARK}{}\n#\n", inputs.config.revision);
    let head = |about: &str| format!("{mark}# {about}\n\n");
    let plugin = head("The plugin with the policy.");
    let mut files: Vec<_> = parts.files.into_iter().map(|file| file.headed(&plugin)).collect();
    files.push(files::clusters(&parts.clusters).headed(&head("The ways out.")));
    let notes = inputs.notes();
    let listeners = files::listeners(&parts.listeners);
    files.push(
        listeners.headed(&format!("{mark}# Where callers connect, and the routes.\n{notes}\n")),
    );
    let (name, admin) = (quoted(inputs.gateway.name), socket(inputs.gateway.envoy.admin));
    files.push(files::bootstrap(folder, &name, &admin));
    Ok(files)
}

/// The parts of a configuration, each listener and each cluster as an item of a list.
struct Parts {
    listeners: Vec<String>,
    clusters: Vec<String>,
    /// The plugins, where they are in files of their own.
    files: Vec<File>,
}

impl Inputs<'_> {
    fn parts(self, mut plugins: Plugins<'_>) -> Result<Parts, Vec<Finding<EnvoyError>>> {
        let Self { config, policy, gateway, plan } = self;
        let (tls, http): (Vec<_>, Vec<_>) =
            plan.routes.iter().partition(|route| route.way.kind == WayKind::Passthrough);
        let tls_listeners = tls_listener::listeners(&tls, gateway);
        let errors = self.errors(&tls_listeners);
        if !errors.is_empty() {
            return Err(errors);
        }
        let is_static = matches!(plugins, Plugins::InPlace { .. });
        let json = policy_json::policy_json(policy.root);
        let environment = environment(policy.root);
        let module = quoted(gateway.envoy.module);
        let values = [
            ("revision", &*config.revision),
            ("policy", &json),
            ("environment", &environment),
            ("module", &module),
        ];
        let mut listeners = Vec::new();
        // An Envoy for nothing at all refuses what comes, and says why.
        if !http.is_empty() || tls.is_empty() {
            // By files, a listener may come before its clusters.
            let values =
                [&values[..], &[("validate_clusters", if is_static { "true" } else { "false" })]];
            listeners.push(http_listener(&http, gateway, &mut plugins, &values.concat()));
        }
        listeners.extend(tls_listeners.iter().map(|it| it.text(&values, &mut plugins)));
        let is_dynamic = http.iter().any(|route| route.is_looked_up());
        // A name that stands for something in a file does in that file alone.
        let mut said = clusters::Said { protocol: false, cache: is_static && is_dynamic };
        let own = plan.routes.iter().filter(|route| !is_shared(route));
        let mut clusters: Vec<String> = own.map(|route| clusters::of(route, &mut said)).collect();
        if tls.iter().any(|route| is_shared(route)) {
            clusters.push(clusters::wildcards(&mut said));
        }
        if !tls.is_empty() {
            clusters.push(clusters::nowhere());
        }
        let files = match plugins {
            Plugins::InPlace { .. } => Vec::new(),
            Plugins::InFiles { files, .. } => files,
        };
        Ok(Parts { listeners, clusters, files })
    }

    /// Everything that keeps this from being the configuration of an Envoy, each once for a way.
    fn errors(self, tls: &[TlsListener<'_>]) -> Vec<Finding<EnvoyError>> {
        let mut errors = Vec::new();
        if self.gateway.dataplane == Dataplane::Ambient {
            let path = "$.spec.dataplane".to_owned();
            errors.push(Finding { path, span: 0..0, kind: EnvoyError::Ambient });
        }
        errors.extend(self.plan.routes.iter().flat_map(errors_of));
        let without_socket = tls.iter().filter(|listener| listener.address.is_none());
        errors.extend(without_socket.filter_map(|listener| {
            at_way(listener.routes.first()?, EnvoyError::NoSocket { port: listener.port })
        }));
        let mut told = HashSet::new();
        errors.retain(|it| told.insert((it.path.clone(), std::mem::discriminant(&it.kind))));
        errors
    }

    /// What stands before everything: what it is, and what has no route.
    fn header(self) -> String {
        fill(HEADER, &[("revision", &self.config.revision), ("notes", &self.notes())])
    }

    /// What the policy asks and this Envoy does not have, as lines of comment.
    fn notes(self) -> String {
        let mut notes = String::new();
        if let Some(note) = self.callers_unknown() {
            let _ = writeln!(notes, "#\n# Note: {}.", note.text());
        }
        if !self.plan.obstacles.is_empty() {
            notes.push_str("#\n# Told about routes:\n");
        }
        for Finding { path, kind, .. } in &self.plan.obstacles {
            let _ =
                writeln!(notes, "#\n#   `{path}`: {}:\n#     {}", kind.problem(), kind.remedy());
        }
        notes
    }

    /// Where callers stay unknown, though the policy asks who calls.
    pub(crate) fn callers_unknown(self) -> Option<CallersUnknown> {
        let policy = self.policy;
        let asks = policy.settings.identity_required
            || policy.rules.iter().any(|rule| !rule.from.is_empty());
        let has_tls = self.plan.routes.iter().any(|route| route.way.kind == WayKind::Passthrough);
        match self.gateway.envoy.mutual_tls {
            _ if !asks => None,
            None => Some(CallersUnknown::Everywhere),
            Some(_) => has_tls.then_some(CallersUnknown::InTls),
        }
    }
}

/// Where nobody knows who calls: there rules with `from` allow nobody, and `identity: required` refuses everybody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CallersUnknown {
    Everywhere,
    /// Where TLS is passed on.
    InTls,
}

impl CallersUnknown {
    pub(crate) fn text(self) -> &'static str {
        match self {
            Self::Everywhere => {
                "this Envoy verifies no client certificates, so rules with `from` never allow: name \
                the files of certificates in `spec.envoy.mutualTls`"
            }
            Self::InTls => {
                "where TLS is passed on, no client certificate is verified, so rules with `from` never allow there"
            }
        }
    }
}

/// The filter of requests in Proxy-Wasm, and what its guard is for.
const OF_MODULE: Plugin<'static> = Plugin {
    kind: "envoy.extensions.filters.http.wasm.v3.Wasm",
    template: REQUESTS,
    key: "configuration",
    filter: "egress-warden",
    file: "requests",
};
const GUARD_OF_MODULE: &str = "\
# The guard. If the VM of a worker fails to start or to configure, Envoy runs that worker without the Wasm
# filter and reports nothing, whatever the failure policy. This native filter lets a request pass only if
# the filter allowed it, and only by the judged way. A caller cannot set filter state.
";

/// The same of the native library.
const OF_LIBRARY: Plugin<'static> = Plugin {
    kind: "envoy.extensions.filters.http.dynamic_modules.v3.DynamicModuleFilter",
    template: REQUESTS_NATIVE,
    key: "filter_config",
    // Not the module's: while listeners drain, Envoy would take the one for the other, and refuse it.
    filter: "egress-warden-native",
    file: "requests-native",
};
const GUARD_OF_LIBRARY: &str = "\
# The guard: a filter of Envoy's own that lets a request pass only if egress-warden allowed it, and only by
# the judged way. If egress-warden is taken away, nothing passes. A caller cannot set filter state.
";

/// The listener for HTTP. `values` are those of the whole configuration.
fn http_listener(
    routes: &[&Route<'_>],
    gateway: &Gateway<'_>,
    plugins: &mut Plugins<'_>,
    values: &[(&str, &str)],
) -> String {
    let native = gateway.envoy.native.map(quoted);
    let (plugin, guard_is_for) = match &native {
        Some(_) => (OF_LIBRARY, GUARD_OF_LIBRARY),
        None => (OF_MODULE, GUARD_OF_MODULE),
    };
    let file = native.as_deref().map(|file| ("native", file));
    let values = [values, file.as_slice()].concat();
    let (filter, plugin) = plugins.place(&plugin, &values);
    let address = socket(gateway.envoy.http);
    let hosts = virtual_hosts(routes);
    let is_dynamic = routes.iter().any(|route| route.is_looked_up());
    let proxy = if is_dynamic { DYNAMIC_FORWARD_PROXY } else { "" };
    let tls = gateway.envoy.mutual_tls.as_ref();
    let transport_socket = tls.map(transport_socket).unwrap_or_default();
    let own = [
        ("filter", filter),
        ("plugin", &*plugin),
        ("guard_is_for", guard_is_for),
        ("address", &address),
        ("virtual_hosts", &hosts),
        ("dynamic_forward_proxy", proxy),
        ("listener_filters", if tls.is_some() { LISTENER_FILTERS } else { "" }),
        ("transport_socket", &transport_socket),
    ];
    fill(HTTP, &[&values[..], &own].concat())
}

/// Callers with certificates.
fn transport_socket(tls: &MutualTls<'_>) -> String {
    let files = [tls.certificate, tls.key, tls.authorities].map(quoted);
    let [certificate, key, authorities] = files.each_ref().map(String::as_str);
    fill(MUTUAL_TLS, &[("certificate", certificate), ("key", key), ("authorities", authorities)])
}

const LISTENER_FILTERS: &str = "\
# For the server name in the access log.
listener_filters:
- name: envoy.filters.listener.tls_inspector
  typed_config:
    \"@type\": type.googleapis.com/envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector
";

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
