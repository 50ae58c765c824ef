//! The description of an egress gateway: what a policy does not say, and whoever configures a proxy for it
//! must know.
//!
//! It has the form of a Kubernetes object, so that a custom resource can follow. Its group is a name of
//! this project's own: those of Kubernetes and of Istio are theirs to define. Everything under `spec` has
//! a default, which is what most gateways need.

mod error;
mod reader;

pub(crate) use error::GatewayError;

use crate::cover::Pattern;
use crate::document::{Document, Node};
use crate::failure::Failure;
use crate::finding::{Finding, Span};
use egress_warden::host::HostPattern;
use reader::{Entry, Object, Reader};
use std::collections::HashSet;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;

/// Largest file, in bytes.
const MAX_FILE: usize = 8 << 20;

/// What an `apiVersion` must be.
pub(crate) const API_VERSION: &str = "egress-warden.dev/v1alpha1";
/// What a `kind` must be.
pub(crate) const KIND: &str = "EgressGateway";

/// A gateway. `'d` is the document that describes it.
#[derive(Debug)]
pub(crate) struct Gateway<'d> {
    /// The names of its objects begin so.
    pub(crate) name: &'d str,
    pub(crate) namespace: &'d str,
    pub(crate) istio: IstioVersion,
    pub(crate) dataplane: Dataplane,
    pub(crate) routes: RouteForm,
    /// The Service in front of its pods, in its namespace.
    pub(crate) service: &'d str,
    /// What selects its pods, sorted.
    pub(crate) labels: Vec<(&'d str, &'d str)>,
    /// Those of its Service, sorted: a caller's port is served under its own number.
    pub(crate) ports: Vec<u16>,
    /// The first that fits a host and a port is taken.
    pub(crate) ways: Vec<Way<'d>>,
    pub(crate) module: Option<Module<'d>>,
    /// The namespaces of the workloads that are to leave through it alone, sorted.
    pub(crate) workloads: Vec<&'d str>,
    pub(crate) envoy: EnvoySettings<'d>,
}

/// A minor version of Istio that is known: how its configuration is written differs from one to the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct IstioVersion {
    /// Behind `1.`
    pub(crate) minor: u8,
}

/// Who brings the traffic to the gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dataplane {
    Sidecar,
    /// The gateway is a waypoint.
    Ambient,
}

/// Which resources say the way through the gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RouteForm {
    VirtualService,
    GatewayApi,
}

/// How hosts are reached from the gateway.
#[derive(Debug)]
pub(crate) struct Way<'d> {
    /// Its JSONPath, and where that is in the text; absent for a default.
    pub(crate) place: Option<(String, Span)>,
    /// Absent: every host.
    hosts: Option<WayHosts<'d>>,
    /// Those that callers dial.
    pub(crate) ports: Vec<u16>,
    pub(crate) kind: WayKind,
    target_port: Option<u16>,
    pub(crate) authorities: Authorities<'d>,
    /// Where to dial in place of what DNS says; empty: as DNS says.
    pub(crate) endpoints: Vec<IpAddr>,
}

/// What a gateway does with what it lets pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WayKind {
    /// HTTP in, HTTP out.
    Http,
    /// HTTP in; the gateway starts TLS and verifies the name.
    Originate,
    /// The application's own TLS, as it is.
    Passthrough,
}

/// Whose certificates an external service may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Authorities<'d> {
    /// Those of the proxy's operating system.
    System,
    /// A file in the proxy.
    File(&'d str),
    /// A Secret in the gateway's namespace.
    Secret(&'d str),
}

/// Where Istio gets the module.
#[derive(Debug)]
pub(crate) struct Module<'d> {
    pub(crate) url: &'d str,
    pub(crate) sha256: Option<&'d str>,
    /// A Secret in the gateway's namespace.
    pub(crate) pull_secret: Option<&'d str>,
}

/// What only an Envoy that no control plane configures needs to be told.
#[derive(Debug)]
pub(crate) struct EnvoySettings<'d> {
    pub(crate) admin: SocketAddr,
    /// Where it listens for HTTP.
    pub(crate) http: SocketAddr,
    /// Where it listens for TLS to the first port; those for further ports follow it.
    pub(crate) tls: SocketAddr,
    /// The file of the module.
    pub(crate) module: &'d str,
    /// The file of the native library; absent: the module judges requests too.
    pub(crate) native: Option<&'d str>,
    /// Absent where the listener for HTTP speaks no TLS, and callers are unknown.
    pub(crate) mutual_tls: Option<MutualTls<'d>>,
}

/// Files for TLS with callers that have certificates.
#[derive(Debug)]
pub(crate) struct MutualTls<'d> {
    /// The gateway's own certificate, with its key.
    pub(crate) certificate: &'d str,
    pub(crate) key: &'d str,
    /// Whose certificates callers may have.
    pub(crate) authorities: &'d str,
}

/// The hosts of a way; exact names are found by their text.
#[derive(Debug)]
struct WayHosts<'d> {
    listed: Vec<HostPattern<'d>>,
    names: HashSet<&'d str>,
}

impl IstioVersion {
    /// The oldest first.
    pub(crate) const KNOWN: [Self; 4] =
        [Self { minor: 28 }, Self { minor: 29 }, Self { minor: 30 }, Self { minor: 31 }];

    fn parse(text: &str) -> Option<Self> {
        Self::KNOWN.into_iter().find(|known| known.to_string() == text)
    }
}

impl fmt::Display for IstioVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "1.{}", self.minor)
    }
}

impl Default for Gateway<'_> {
    fn default() -> Self {
        Self {
            name: "egress",
            namespace: "istio-system",
            istio: IstioVersion { minor: 30 },
            dataplane: Dataplane::Sidecar,
            routes: RouteForm::VirtualService,
            service: "istio-egressgateway",
            labels: vec![("istio", "egressgateway")],
            ports: vec![80, 443],
            ways: vec![
                Way::by_default(WayKind::Originate, None),
                Way::by_default(WayKind::Passthrough, None),
            ],
            module: None,
            workloads: Vec::new(),
            envoy: EnvoySettings::default(),
        }
    }
}

impl Default for EnvoySettings<'_> {
    fn default() -> Self {
        let local = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        Self {
            admin: local(15010),
            http: local(15011),
            tls: local(15031),
            module: "target/egress_warden.wasm",
            native: None,
            mutual_tls: None,
        }
    }
}

impl WayKind {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Originate => "originate",
            Self::Passthrough => "passthrough",
        }
    }

    /// The port of callers, where a way names none.
    fn default_port(self) -> u16 {
        match self {
            Self::Http | Self::Originate => 80,
            Self::Passthrough => 443,
        }
    }
}

impl<'d> Way<'d> {
    fn by_default(kind: WayKind, place: Option<(String, Span)>) -> Self {
        Self {
            place,
            hosts: None,
            ports: vec![kind.default_port()],
            kind,
            target_port: None,
            authorities: Authorities::System,
            endpoints: Vec::new(),
        }
    }

    /// The port that is dialled outside, for a port of callers.
    pub(crate) fn target_port(&self, port: u16) -> u16 {
        let default = if self.kind == WayKind::Originate { 443 } else { port };
        self.target_port.unwrap_or(default)
    }

    /// Whether it is for all of these hosts.
    pub(crate) fn is_for(&self, host: &HostPattern<'_>) -> bool {
        self.hosts.as_ref().is_none_or(|hosts| match host {
            HostPattern::Name(name) if hosts.names.contains(name) => true,
            host => hosts.listed.iter().any(|listed| listed.covers(host)),
        })
    }

    /// The hosts that it names.
    pub(crate) fn hosts(&self) -> &[HostPattern<'d>] {
        self.hosts.as_ref().map_or(&[], |hosts| &hosts.listed)
    }
}

impl<'d> Gateway<'d> {
    /// The way of a host's port.
    pub(crate) fn way(&self, host: &HostPattern<'_>, port: u16) -> Option<&Way<'d>> {
        self.ways.iter().find(|way| way.ports.contains(&port) && way.is_for(host))
    }

    /// The ports that have a way, where a rule for this host names none; sorted.
    pub(crate) fn ports_of(&self, host: &HostPattern<'_>) -> Vec<u16> {
        let ways = self.ways.iter().filter(|way| way.is_for(host));
        let mut ports: Vec<u16> = ways.flat_map(|way| way.ports.iter().copied()).collect();
        ports.sort_unstable();
        ports.dedup();
        ports
    }
}

/// The file of a description; without one everything has its default.
#[derive(Debug, Default)]
pub(crate) struct GatewayFile {
    document: Option<Document>,
}

impl GatewayFile {
    /// Takes a file apart; `-` is standard input.
    pub(crate) fn read(path: &Path) -> Result<Self, Failure> {
        let document = Document::read(path, MAX_FILE, "the description of a gateway")?;
        Ok(Self { document: Some(document) })
    }

    /// Takes a text apart, as the file of this name.
    pub(crate) fn of_text(name: &str, text: &str) -> Self {
        Self { document: Some(Document::of_text(name.to_owned(), text.to_owned(), false)) }
    }

    /// Where errors are.
    pub(crate) fn document(&self) -> Option<&Document> {
        self.document.as_ref()
    }

    /// What it says, or every error, in the order of the text.
    pub(crate) fn gateway(&self) -> Result<Gateway<'_>, Vec<Finding<GatewayError>>> {
        let Some(document) = &self.document else { return Ok(Gateway::default()) };
        let second = document.roots().get(1).map(|root| root.span.clone());
        let second =
            second.map(|span| Finding::whole(span, crate::document::TextError::SecondDocument));
        let errors = document.mark().into_iter().chain(document.errors().iter().cloned());
        let errors = errors.chain(second).map(|error| error.map(GatewayError::Text));
        let mut reader = Reader { errors: errors.collect() };
        let read = document.roots().first().and_then(|root| gateway(&mut reader, root));
        match read {
            Some(gateway) if reader.errors.is_empty() => Ok(gateway),
            _ => {
                reader.errors.sort_by_key(|error| error.span.start);
                Err(reader.errors)
            }
        }
    }
}

fn gateway<'d>(reader: &mut Reader, root: &'d Node) -> Option<Gateway<'d>> {
    let known = &["apiVersion", "kind", "metadata", "spec"];
    let object = reader.object(Entry { node: root, path: "$".to_owned() }, known)?;
    let api_version =
        reader.required(&object, "apiVersion", "apiVersion: egress-warden.dev/v1alpha1");
    reader.word(api_version, &[(API_VERSION, ())]);
    let kind = reader.required(&object, "kind", "kind: EgressGateway");
    reader.word(kind, &[(KIND, ())]);
    let mut gateway = Gateway::default();
    let metadata =
        reader.required(&object, "metadata", "metadata: {name: egress, namespace: istio-system}");
    if let Some(metadata) = metadata {
        names(reader, metadata, &mut gateway);
    }
    if let Some(entry) = object.get("spec") {
        spec(reader, entry, &mut gateway);
    }
    Some(gateway)
}

fn names<'d>(reader: &mut Reader, metadata: Entry<'d>, gateway: &mut Gateway<'d>) -> Option<()> {
    // What else tools and the API server write there says nothing about the gateway.
    let known = &[
        "name",
        "namespace",
        "labels",
        "annotations",
        "creationTimestamp",
        "generation",
        "managedFields",
        "resourceVersion",
        "uid",
    ];
    let metadata = reader.object(metadata, known)?;
    let name = reader.required(&metadata, "name", "name: egress");
    gateway.name = object_name(reader, name).unwrap_or(gateway.name);
    let namespace = reader.required(&metadata, "namespace", "namespace: istio-system");
    gateway.namespace = object_name(reader, namespace).unwrap_or(gateway.namespace);
    Some(())
}

fn spec<'d>(reader: &mut Reader, entry: Entry<'d>, gateway: &mut Gateway<'d>) -> Option<()> {
    let known = &[
        "istio",
        "dataplane",
        "routes",
        "service",
        "labels",
        "ports",
        "ways",
        "module",
        "workloads",
        "envoy",
    ];
    let spec = reader.object(entry, known)?;
    if let Some(entry) = spec.get("istio") {
        let version = reader.parsed(&entry, IstioVersion::parse, GatewayError::IstioVersion);
        gateway.istio = version.unwrap_or(gateway.istio);
    }
    let dataplanes = [("sidecar", Dataplane::Sidecar), ("ambient", Dataplane::Ambient)];
    let dataplane = reader.word(spec.get("dataplane"), &dataplanes);
    gateway.dataplane = dataplane.unwrap_or(gateway.dataplane);
    let forms =
        [("virtual-service", RouteForm::VirtualService), ("gateway-api", RouteForm::GatewayApi)];
    gateway.routes = reader.word(spec.get("routes"), &forms).unwrap_or(gateway.routes);
    gateway.service = object_name(reader, spec.get("service")).unwrap_or(gateway.service);
    if let Some(entry) = spec.get("labels") {
        gateway.labels = labels(reader, &entry);
    }
    let ports = reader.each(spec.get("ports"), |reader, entry| reader.port(&entry));
    gateway.ports = ports.map_or_else(|| std::mem::take(&mut gateway.ports), sorted);
    if let Some(ways) = ways(reader, spec.get("ways")) {
        gateway.ways = ways;
    }
    gateway.module = spec.get("module").and_then(|entry| module(reader, entry));
    if let Some(entry) = spec.get("workloads") {
        gateway.workloads = workloads(reader, entry).unwrap_or_default();
    }
    if let Some(entry) = spec.get("envoy") {
        envoy(reader, entry, &mut gateway.envoy);
    }
    if gateway.dataplane == Dataplane::Ambient {
        for key in ["routes", "service", "labels", "ports"] {
            not_beside(reader, &spec, key, GatewayError::NotAmbient);
        }
    } else if gateway.routes == RouteForm::GatewayApi {
        for key in ["service", "labels", "ports"] {
            not_beside(reader, &spec, key, GatewayError::NotGatewayApi);
        }
    }
    Some(())
}

/// A gateway whose pods istiod starts has no such setting.
fn not_beside(
    reader: &mut Reader,
    spec: &Object<'_>,
    key: &'static str,
    error: fn(&'static str) -> GatewayError,
) {
    if let Some(entry) = spec.get(key) {
        let span = spec.key_span(key);
        reader.errors.push(Finding { path: entry.path, span, kind: error(key) });
    }
}

fn labels<'d>(reader: &mut Reader, entry: &Entry<'d>) -> Vec<(&'d str, &'d str)> {
    let Some(members) = reader.members(entry) else { return Vec::new() };
    if members.is_empty() {
        reader
            .error(entry, GatewayError::Missing { key: "label", example: "istio: egressgateway" });
    }
    let mut labels = Vec::with_capacity(members.len());
    for member in members {
        let path = format!("{}{}", entry.path, egress_warden::config::path_step(&member.key));
        let value = Entry { node: &member.value, path };
        // A prefix is a DNS name.
        let name = member.key.rsplit('/').next().unwrap_or_default();
        if !is_label(name) || name.is_empty() {
            reader.error(&value, GatewayError::Label(member.key.clone()));
        }
        let text = reader.parsed(&value, |it| is_label(it).then_some(it), GatewayError::Label);
        labels.extend(text.map(|text| (&*member.key, text)));
    }
    labels.sort_unstable();
    labels
}

fn ways<'d>(reader: &mut Reader, entry: Option<Entry<'d>>) -> Option<Vec<Way<'d>>> {
    let mut ways: Vec<(Way<'d>, Entry<'d>)> =
        reader.each(entry, |reader, entry| Some((way(reader, entry.clone())?, entry)))?;
    for (index, (way, entry)) in ways.iter().enumerate() {
        let takes_all = |(earlier, _): &(Way<'_>, _)| {
            earlier.hosts.is_none() && way.ports.iter().all(|port| earlier.ports.contains(port))
        };
        if let Some(earlier) = ways.iter().take(index).position(takes_all) {
            reader.error(entry, GatewayError::NeverUsed { earlier });
        }
    }
    Some(ways.drain(..).map(|(way, _)| way).collect())
}

fn way<'d>(reader: &mut Reader, entry: Entry<'d>) -> Option<Way<'d>> {
    let known = &["hosts", "ports", "way", "targetPort", "caCertificates", "secret", "endpoints"];
    let place = (entry.path.clone(), entry.node.span.clone());
    let object = reader.object(entry, known)?;
    let kinds = [WayKind::Http, WayKind::Originate, WayKind::Passthrough];
    let kinds = kinds.map(|kind| (kind.as_str(), kind));
    let kind = reader.required(&object, "way", "way: originate");
    let kind = reader.word(kind, &kinds);
    let hosts = reader.each(object.get("hosts"), |reader, entry| reader.host(&entry));
    let ports = reader.each(object.get("ports"), |reader, entry| reader.port(&entry));
    let target_port = object.get("targetPort").and_then(|entry| reader.port(&entry));
    let endpoints = reader.each(object.get("endpoints"), |reader, entry| {
        reader.parsed(&entry, |text| text.parse().ok(), GatewayError::Address)
    });
    let authorities = authorities(reader, &object, kind);
    let way = Way::by_default(kind?, Some(place));
    Some(Way {
        hosts: hosts.map(WayHosts::new),
        ports: ports.map_or_else(|| way.ports.clone(), sorted),
        target_port,
        authorities,
        endpoints: endpoints.unwrap_or_default(),
        ..way
    })
}

fn authorities<'d>(
    reader: &mut Reader,
    way: &Object<'d>,
    kind: Option<WayKind>,
) -> Authorities<'d> {
    let (file, secret) = (way.get("caCertificates"), way.get("secret"));
    let starts_no_tls = kind.is_some_and(|kind| kind != WayKind::Originate);
    if let Some(entry) = file.as_ref().or(secret.as_ref()).filter(|_| starts_no_tls) {
        reader.error(entry, GatewayError::AuthoritiesWithoutTls);
    }
    if let (Some(_), Some(entry)) = (&file, &secret) {
        reader.error(entry, GatewayError::TwoAuthorities);
    }
    let is_path = |text: &'_ str| text.starts_with('/') && is_printable(text);
    let file = file.and_then(|entry| {
        reader.parsed(&entry, |it| is_path(it).then_some(it), GatewayError::FilePath)
    });
    let secret = secret_name(reader, secret);
    match (file, secret) {
        (Some(file), _) => Authorities::File(file),
        (None, Some(secret)) => Authorities::Secret(secret),
        (None, None) => Authorities::System,
    }
}

fn module<'d>(reader: &mut Reader, entry: Entry<'d>) -> Option<Module<'d>> {
    let object = reader.object(entry, &["url", "sha256", "pullSecret"])?;
    let url =
        reader.required(&object, "url", "url: oci://registry.example.com/egress-warden:0.1.0");
    let schemes = ["oci://", "https://", "http://", "file://"];
    let is_url = |text: &str| {
        schemes.iter().any(|it| text.strip_prefix(it).is_some_and(|rest| !rest.is_empty()))
            && !text.contains(|c: char| c.is_whitespace() || c.is_control())
    };
    let url = url.and_then(|entry| {
        reader.parsed(&entry, |it| is_url(it).then_some(it), GatewayError::ModuleUrl)
    });
    let is_digest = |text: &str| {
        text.len() == 64 && text.bytes().all(|it| it.is_ascii_digit() || matches!(it, b'a'..=b'f'))
    };
    let sha256 = object.get("sha256").and_then(|entry| {
        reader.parsed(&entry, |it| is_digest(it).then_some(it), GatewayError::Digest)
    });
    let pull_secret = secret_name(reader, object.get("pullSecret"));
    Some(Module { url: url?, sha256, pull_secret })
}

fn workloads<'d>(reader: &mut Reader, entry: Entry<'d>) -> Option<Vec<&'d str>> {
    let object = reader.object(entry, &["namespaces"])?;
    let namespaces = reader.required(&object, "namespaces", "namespaces: [payments]");
    let read = |reader: &mut Reader, entry| object_name(reader, Some(entry));
    reader.each(namespaces, read).map(sorted)
}

fn envoy<'d>(
    reader: &mut Reader,
    entry: Entry<'d>,
    settings: &mut EnvoySettings<'d>,
) -> Option<()> {
    let known = &["admin", "http", "tls", "module", "native", "mutualTls"];
    let object = reader.object(entry, known)?;
    let mut taken: Vec<(&'static str, SocketAddr)> = Vec::new();
    for (key, socket) in
        [("admin", &mut settings.admin), ("http", &mut settings.http), ("tls", &mut settings.tls)]
    {
        let entry = object.get(key);
        let read = entry.as_ref().and_then(|entry| {
            let parse = |text: &str| text.parse().ok().filter(|it: &SocketAddr| it.port() > 0);
            reader.parsed(entry, parse, GatewayError::Socket)
        });
        *socket = read.unwrap_or(*socket);
        let same = taken.iter().find(|(_, other)| other == socket);
        if let Some((other, _)) = same {
            let entry = entry.as_ref().unwrap_or(object.entry());
            reader.error(entry, GatewayError::SameSocket { other });
        }
        taken.push((key, *socket));
    }
    let mut file = |key| {
        let entry = object.get(key)?;
        reader.parsed(&entry, |it| is_file_path(it).then_some(it), GatewayError::FilePath)
    };
    settings.module = file("module").unwrap_or(settings.module);
    settings.native = file("native");
    settings.mutual_tls = object.get("mutualTls").and_then(|entry| mutual_tls(reader, entry));
    Some(())
}

fn mutual_tls<'d>(reader: &mut Reader, entry: Entry<'d>) -> Option<MutualTls<'d>> {
    let known = &["serverCertificate", "privateKey", "caCertificates"];
    let object = reader.object(entry, known)?;
    let mut file = |key, example| {
        let entry = reader.required(&object, key, example)?;
        reader.parsed(&entry, |it| is_file_path(it).then_some(it), GatewayError::FilePath)
    };
    let certificate = file("serverCertificate", "serverCertificate: /etc/envoy/gateway.pem");
    let key = file("privateKey", "privateKey: /etc/envoy/gateway.key");
    let authorities = file("caCertificates", "caCertificates: /etc/envoy/callers.pem");
    Some(MutualTls { certificate: certificate?, key: key?, authorities: authorities? })
}

/// The name of an object that is part of a host's name: a label of DNS (RFC 1123).
fn object_name<'d>(reader: &mut Reader, entry: Option<Entry<'d>>) -> Option<&'d str> {
    let read = |text| is_dns_label(text).then_some(text);
    reader.parsed(&entry?, read, GatewayError::ObjectName)
}

/// The name of any other object: labels of DNS with dots between them.
fn secret_name<'d>(reader: &mut Reader, entry: Option<Entry<'d>>) -> Option<&'d str> {
    let is_name = |text: &str| text.len() <= 253 && text.split('.').all(is_dns_label);
    reader.parsed(&entry?, |text| is_name(text).then_some(text), GatewayError::ObjectName)
}

fn is_dns_label(text: &str) -> bool {
    let is_inner = |it: u8| it.is_ascii_lowercase() || it.is_ascii_digit() || it == b'-';
    (1..=63).contains(&text.len())
        && !text.starts_with('-')
        && !text.ends_with('-')
        && text.bytes().all(is_inner)
}

/// Whether a text may be the path of a file, also below Envoy's working directory.
fn is_file_path(text: &str) -> bool {
    !text.is_empty() && is_printable(text)
}

/// Whether a text means the same in every notation.
fn is_printable(text: &str) -> bool {
    text.bytes().all(|byte| (b' '..=b'~').contains(&byte))
}

/// Whether a text may be the value of a label of Kubernetes, or its name without the prefix.
fn is_label(text: &str) -> bool {
    let is_end = |it: Option<u8>| it.is_none_or(|it| it.is_ascii_alphanumeric());
    let is_inner = |it: u8| it.is_ascii_alphanumeric() || matches!(it, b'-' | b'_' | b'.');
    text.len() <= 63
        && is_end(text.bytes().next())
        && is_end(text.bytes().last())
        && text.bytes().all(is_inner)
}

fn sorted<T: Ord>(mut list: Vec<T>) -> Vec<T> {
    list.sort_unstable();
    list.dedup();
    list
}

impl<'d> WayHosts<'d> {
    fn new(listed: Vec<HostPattern<'d>>) -> Self {
        let names = listed.iter().filter_map(|pattern| match pattern {
            HostPattern::Name(name) => Some(*name),
            _ => None,
        });
        Self { names: names.collect(), listed }
    }
}
