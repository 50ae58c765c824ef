//! A whole gateway for Istio: all objects of a policy's way out, as files for `kubectl apply -k` in two
//! steps.
//!
//! Objects that Istio needs for each host stand alone, named after the host, so that a host comes and goes
//! without the others. The ServiceEntries are a step of their own: a sidecar that knows a host and has no
//! route to the gateway for it dials the host itself, past the policy.

mod ambient;
mod error;
mod gateway_api;
mod hosts;
mod install;
mod names;
mod network;
mod proxy;
mod ways;
mod wildcards;

pub(crate) use error::{IstioError, Loss};
pub(crate) use install::largest;

use super::gateway::{Authorities, Dataplane, Gateway, IstioVersion, RouteForm, WayKind};
use super::plan::{HostForm, Plan, Route, RouteHost};
use super::wildcard_port::{WildcardPort, port_without_name};
use crate::finding::{Finding, Message, Span};
use crate::policy_file::{Node, RuleSource, Source, path_of, place_of};
use crate::policy_text::quoted;
use egress_warden::config::Config;
use egress_warden::policy::Settings;
use error::LossKind;
use std::collections::{BTreeMap, HashMap, HashSet};

/// The start of every file that is written here, and of none that people write.
pub(crate) const MARK: &str = "# egress-warden render istio: ";

/// From so many bytes on `kubectl apply` refuses an object, as it keeps a copy in an annotation.
pub(crate) const MAX_APPLIED: usize = 262_144;

/// The largest object that is written.
pub(crate) const MAX_OBJECT: usize = 1 << 20;

/// Where Istio's control plane is, and the settings of its whole mesh.
const ISTIO_NAMESPACE: &str = "istio-system";

/// All that is written.
#[derive(Debug)]
pub(crate) struct Rendering {
    /// Sorted by path.
    pub(crate) files: Vec<File>,
    /// What has no route, or not all that it might; places are those of the policy.
    pub(crate) losses: Vec<Finding<Loss>>,
    /// What must be ready before the hosts are applied.
    pub(crate) awaited: Option<&'static str>,
    /// How many hosts and ports are routed.
    pub(crate) hosts: usize,
    pub(crate) routes: usize,
}

/// One file.
#[derive(Debug)]
pub(crate) struct File {
    /// From the folder on, with `/`.
    pub(crate) path: &'static str,
    pub(crate) text: String,
}

/// What the files are made of.
struct Mesh<'r> {
    config: &'r Config,
    policy: &'r Source<'r>,
    gateway: &'r Gateway<'r>,
    plan: &'r Plan<'r>,
    /// Those with a route, sorted.
    hosts: Vec<Host<'r>>,
    /// Those of all hosts.
    names: HashSet<&'r str>,
    losses: Vec<Finding<Loss>>,
}

/// What carries calls through the gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// VirtualServices, and pods of Istio's own chart.
    VirtualService,
    /// Routes of the Gateway API, and pods that istiod starts.
    GatewayApi,
    /// A waypoint of ambient mode, whose pods istiod starts.
    Waypoint,
}

impl Form {
    fn of(gateway: &Gateway<'_>) -> Self {
        match (gateway.dataplane, gateway.routes) {
            (Dataplane::Ambient, _) => Self::Waypoint,
            (Dataplane::Sidecar, RouteForm::GatewayApi) => Self::GatewayApi,
            (Dataplane::Sidecar, RouteForm::VirtualService) => Self::VirtualService,
        }
    }
}

/// A host with its routes.
struct Host<'r> {
    host: &'r RouteHost,
    /// Its name in the names of objects.
    name: String,
    /// Sorted by port.
    routes: Vec<&'r Route<'r>>,
}

/// The files, or every reason why there are none; the places of these are in the description.
pub(crate) fn render(
    config: &Config,
    policy: &Source<'_>,
    gateway: &Gateway<'_>,
    plan: &Plan<'_>,
) -> Result<Rendering, Vec<Finding<IstioError>>> {
    let errors = errors_of(policy, gateway, plan);
    if !errors.is_empty() {
        return Err(errors);
    }
    let mesh = Mesh::of(config, policy, gateway, plan);
    let mut files = Vec::new();
    match mesh.form() {
        Form::Waypoint => ambient::write(&mesh, &mut files),
        Form::GatewayApi => {
            proxy::write(&mesh, &mut files);
            gateway_api::write(&mesh, &mut files);
        }
        Form::VirtualService => {
            proxy::write(&mesh, &mut files);
            ways::write(&mesh, &mut files);
            wildcards::write(&mesh, &mut files);
        }
    }
    network::write(&mesh, &mut files);
    hosts::write(&mesh, &mut files);
    install::write(&mesh, &mut files);
    let routes = mesh.routes().count();
    let awaited = match mesh.form() {
        Form::Waypoint => Some("the waypoint"),
        Form::GatewayApi => Some("the gateway"),
        Form::VirtualService => None,
    };
    Ok(Rendering { files, awaited, hosts: mesh.hosts.len(), routes, losses: mesh.losses })
}

impl<'r> Mesh<'r> {
    fn of(
        config: &'r Config,
        policy: &'r Source<'r>,
        gateway: &'r Gateway<'r>,
        plan: &'r Plan<'r>,
    ) -> Self {
        let mut losses = Vec::new();
        let mut by_host: BTreeMap<&RouteHost, Vec<&Route<'_>>> = BTreeMap::new();
        let rules: Rules<'_, '_> = policy.rules.iter().map(|rule| (rule.id, rule)).collect();
        for route in &plan.routes {
            let lost = losses_of(&policy.settings, &rules, gateway, route);
            let is_routed = !lost.iter().any(|kind| kind.is_without_route());
            losses.extend(lost.into_iter().map(|kind| at_rule(policy, &rules, route, kind)));
            if is_routed {
                by_host.entry(&route.host).or_default().push(route);
            }
        }
        losses.sort_by_key(|finding| finding.span.start);
        losses.dedup();
        let names = by_host.keys().map(|host| &*host.name).collect();
        let hosts = by_host.into_iter();
        let hosts =
            hosts.map(|(host, routes)| Host { host, name: names::of_host(host), routes }).collect();
        Self { config, policy, gateway, plan, hosts, names, losses }
    }

    fn routes(&self) -> impl Iterator<Item = &'r Route<'r>> {
        self.hosts.iter().flat_map(|host| host.routes.iter().copied())
    }

    fn form(&self) -> Form {
        Form::of(self.gateway)
    }

    fn is_ambient(&self) -> bool {
        self.form() == Form::Waypoint
    }

    /// The name of the Gateway whose pods istiod starts.
    fn resource(&self) -> Option<String> {
        match self.form() {
            Form::VirtualService => None,
            Form::GatewayApi => Some(self.gateway.name.to_owned()),
            Form::Waypoint => Some(ambient::waypoint(self)),
        }
    }

    /// The labels of the gateway's pods, a line each.
    fn labels(&self, indent: &str) -> String {
        if let Some(name) = self.resource() {
            return format!("{indent}gateway.networking.k8s.io/gateway-name: {}\n", scalar(&name));
        }
        let lines = self.gateway.labels.iter();
        lines.map(|(key, value)| format!("{indent}{}: {}\n", quoted(key), quoted(value))).collect()
    }

    fn has_http(&self) -> bool {
        // A gateway for nothing at all refuses requests, and says why.
        self.hosts.is_empty() || self.routes().any(is_http)
    }

    fn has_tls(&self) -> bool {
        self.routes().any(|route| !is_http(route))
    }

    /// A name of the gateway's own objects.
    fn own(&self, rest: &str) -> String {
        names::label(format!("{}{rest}", self.gateway.name))
    }

    /// The first lines of an object in the gateway's namespace.
    fn head(&self, api_version: &str, kind: &str, name: &str) -> String {
        object_head(api_version, kind, name, self.gateway.namespace)
    }

    /// Adds a file: its comment, and what it says.
    fn add(&self, files: &mut Vec<File>, path: &'static str, comment: &str, text: &str) {
        let mut whole = format!("{MARK}{}\n#\n", self.config.revision);
        whole.push_str(&commented(comment.trim_end()));
        whole.push_str(text);
        files.push(File { path, text: whole });
    }
}

/// The first lines of an object.
fn object_head(api_version: &str, kind: &str, name: &str, namespace: &str) -> String {
    let (name, namespace) = (scalar(name), scalar(namespace));
    format!(
        "apiVersion: {api_version}\nkind: {kind}\nmetadata:\n  name: {name}\n  namespace: \
         {namespace}\n"
    )
}

/// A label of DNS that is a text for every reader of YAML: in quotes where it might be a number, or a word
/// for something else.
fn scalar(label: &str) -> String {
    const WORDS: [&str; 9] = ["false", "n", "no", "null", "off", "on", "true", "y", "yes"];
    let is_text = label.starts_with(|it: char| it.is_ascii_lowercase()) && !WORDS.contains(&label);
    if is_text { label.to_owned() } else { quoted(label) }
}

/// Lines of a comment.
fn commented(text: &str) -> String {
    let lines = text.lines().map(|line| match line {
        "" => "#\n".to_owned(),
        line => format!("# {line}\n"),
    });
    lines.collect()
}

/// Several objects in one file.
fn documents(objects: Vec<String>) -> String {
    objects.join("---\n")
}

/// The gateway's Service, as routes name it.
fn service(mesh: &Mesh<'_>) -> String {
    let gateway = mesh.gateway;
    let name = match mesh.form() {
        Form::GatewayApi => service_name(gateway.name),
        Form::VirtualService | Form::Waypoint => gateway.service.to_owned(),
    };
    format!("{name}.{}.svc.cluster.local", gateway.namespace)
}

/// The Service that istiod makes of a Gateway.
fn service_name(gateway: &str) -> String {
    format!("{gateway}-istio")
}

/// Whether this Istio reads TLSRoutes in the version that the Gateway API's standard channel has: before it an
/// experimental one, and only where istiod is told to.
fn has_tls_route_v1(gateway: &Gateway<'_>) -> bool {
    gateway.istio.minor >= 30
}

fn is_http(route: &Route<'_>) -> bool {
    route.way.kind != WayKind::Passthrough
}

/// Whether this Istio makes a cluster of a ServiceEntry with `resolution: DYNAMIC_DNS`: from 1.28 on at a
/// waypoint, for HTTP, and later at a gateway.
fn has_dynamic_dns(gateway: &Gateway<'_>) -> bool {
    let first = if gateway.dataplane == Dataplane::Ambient { 28 } else { 31 };
    gateway.istio >= IstioVersion { minor: first }
}

/// What keeps a route from being one of Istio's, and what is lost on it.
fn losses_of(
    settings: &Settings,
    rules: &Rules<'_, '_>,
    gateway: &Gateway<'_>,
    route: &Route<'_>,
) -> Vec<LossKind> {
    let host = &route.host;
    let is_label = |it: &str| it.bytes().all(|it| it.is_ascii_alphanumeric() || it == b'-');
    if matches!(host.form, HostForm::Address(_)) {
        return vec![LossKind::Address];
    }
    if !host.is_wildcard() && !host.name.contains('.') {
        return vec![LossKind::ShortName];
    }
    if !host.name.split('.').all(is_label) {
        return vec![LossKind::OddName];
    }
    if gateway.dataplane == Dataplane::Ambient {
        // Callers are known by their tunnel, within which no name of TLS is.
        let is_lost = host.is_wildcard() && (!is_http(route) || !route.is_looked_up());
        return is_lost.then_some(LossKind::NotLookedUp { port: route.port }).into_iter().collect();
    }
    let is_gateway_api = Form::of(gateway) == Form::GatewayApi;
    if is_gateway_api && host.is_wildcard() {
        return vec![LossKind::WildcardRoute];
    }
    let mut losses = Vec::new();
    let is_passed_on = !is_http(route) && (host.is_wildcard() || is_gateway_api);
    if is_passed_on && asks_callers(settings, rules, route) {
        losses.push(LossKind::UnknownCaller { port: route.port, is_gateway_api });
    }
    if host.is_wildcard() && is_http(route) && settings.sni_must_match {
        losses.push(LossKind::ServerName);
    }
    losses
}

/// Rules by their ids.
type Rules<'p, 'n> = HashMap<&'n str, &'p RuleSource<'n>>;

/// The rules that may allow a route.
fn rules_of<'i, 'p, 'n>(
    rules: &'i Rules<'p, 'n>,
    route: &'i Route<'_>,
) -> impl Iterator<Item = &'p RuleSource<'n>> + Clone + use<'i, 'p, 'n> {
    route.rules.iter().filter_map(|id| rules.get(id).copied())
}

/// Whether nobody passes whose caller is unknown.
fn asks_callers(settings: &Settings, rules: &Rules<'_, '_>, route: &Route<'_>) -> bool {
    let mut rules = rules_of(rules, route).peekable();
    settings.identity_required
        || (rules.peek().is_some() && rules.all(|rule| !rule.from.is_empty()))
}

/// A loss at the place in the policy that names the host, or else at the rule.
fn at_rule(
    policy: &Source<'_>,
    rules: &Rules<'_, '_>,
    route: &Route<'_>,
    kind: LossKind,
) -> Finding<Loss> {
    let host = route.host.text();
    let rules = rules_of(rules, route);
    let named = rules.clone().find_map(|rule| place_of_host(rule, &route.host));
    let place = named.or_else(|| rules.clone().next().map(|it| (path_of(it), place_of(it))));
    let (path, node) = place.unwrap_or_else(|| ("$".to_owned(), policy.root));
    Finding { path, span: node.span.clone(), kind: Loss { host, kind } }
}

fn place_of_host<'n>(rule: &RuleSource<'n>, host: &RouteHost) -> Option<(String, &'n Node)> {
    // The second is a tree, which names the host and all below it.
    let texts = [host.text(), format!(".{}", host.name)];
    rule.to.iter().enumerate().find_map(|(entry, to)| {
        let hosts = to.node.get("hosts")?.items();
        let item = hosts
            .iter()
            .position(|it| it.text().is_some_and(|it| texts.iter().any(|text| text == it)))?;
        Some((format!("{}.to[{entry}].hosts[{item}]", path_of(rule)), hosts.get(item)?))
    })
}

/// What keeps a description from being one for Istio.
fn errors_of(
    policy: &Source<'_>,
    gateway: &Gateway<'_>,
    plan: &Plan<'_>,
) -> Vec<Finding<IstioError>> {
    let form = Form::of(gateway);
    let is_ambient = form == Form::Waypoint;
    let mut errors = match form {
        Form::VirtualService => Vec::new(),
        Form::GatewayApi => gateway_api::errors_of(gateway, plan),
        Form::Waypoint => ambient::errors_of(policy, gateway),
    };
    let mut protocols = BTreeMap::new();
    let mut endpoints = BTreeMap::new();
    for route in &plan.routes {
        let port = route.port;
        // A waypoint takes its ports from the ServiceEntries, and istiod makes the Service of a Gateway.
        if form == Form::VirtualService && !gateway.ports.contains(&port) {
            errors.push(at_way(route, IstioError::NoServicePort { port }));
        }
        if *protocols.entry(port).or_insert_with(|| is_http(route)) != is_http(route) {
            errors.push(at_way(route, IstioError::TwoProtocols { port, is_ambient }));
        }
        let own = &route.way.endpoints;
        if *endpoints.entry(&route.host).or_insert(own) != own {
            errors.push(at_way(route, IstioError::TwoEndpoints { host: route.host.text() }));
        }
        errors.extend(wildcard_error(gateway, route).map(|kind| at_way(route, kind)));
    }
    errors.sort_by_cached_key(|error| (error.path.clone(), format!("{:?}", error.kind)));
    errors.dedup();
    errors
}

fn wildcard_error(gateway: &Gateway<'_>, route: &Route<'_>) -> Option<IstioError> {
    // Routes of the Gateway API have no wildcards at all: that is told.
    if !route.is_looked_up() || Form::of(gateway) == Form::GatewayApi {
        return None;
    }
    if is_http(route) {
        let default = port_without_name(route.way.kind);
        let named = if route.port == 80 { default } else { route.port };
        if route.target_port != named {
            return Some(IstioError::WildcardPort(WildcardPort::of(route)));
        }
    }
    let is_secret = matches!(route.way.authorities, Authorities::Secret(_));
    let host = || route.host.text();
    (is_secret && !has_dynamic_dns(gateway)).then(|| IstioError::WildcardSecret { host: host() })
}

/// An error about the way of a route.
fn at_way(route: &Route<'_>, kind: IstioError) -> Finding<IstioError> {
    let place = route.way.place.clone();
    let (path, span) = place.unwrap_or_else(|| ("$".to_owned(), Span::default()));
    Finding { path, span, kind }
}

fn at(path: &str, kind: IstioError) -> Finding<IstioError> {
    Finding { path: path.to_owned(), span: Span::default(), kind }
}

/// What the plan leaves out, and what is lost in Istio, as lines of a comment.
fn told(mesh: &Mesh<'_>) -> String {
    let of_plan = mesh.plan.obstacles.iter().map(|it| (&it.path, &it.kind as &dyn Message));
    let of_istio = mesh.losses.iter().map(|it| (&it.path, &it.kind as &dyn Message));
    let lines = of_plan
        .chain(of_istio)
        .map(|(path, kind)| format!("  `{path}`: {}:\n    {}\n", kind.problem(), kind.remedy()));
    lines.collect()
}
