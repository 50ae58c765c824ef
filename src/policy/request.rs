//! The facts of one request, or of one connection, that a verdict may depend on.

use super::decision::Reason;
use super::dialled::{self, Dialled};
use super::host_map::HostKeys;
use super::path::Readings;
use super::query::Query;
use super::text::Text;
use crate::host::{Authority, Host, Malformed, is_forbidden};
use crate::root_id::Connections;
use crate::time::Time;
use crate::token::is_token;
use std::cell::OnceCell;

/// A request, or a TLS connection that is not terminated, as far as a policy asks about it. Facts that [`super::Reads`] does not name may be
/// left absent.
#[derive(Clone, Debug)]
pub struct Request<'a> {
    /// `:authority`, read; of a connection, its server name.
    pub authority: Result<Authority<'a>, Malformed>,
    /// The method that the request is judged by, see [`judged_method`]; `None` for a connection,
    /// which shows none.
    pub method: Option<&'a [u8]>,
    /// `:path`, as sent, with its query.
    pub path: Option<&'a [u8]>,
    /// The port in the name of the route's cluster.
    pub cluster_port: ClusterPort,
    /// Which host the request goes to.
    pub dialled: Dialled<'a>,
    /// The caller's verified SPIFFE id, without `spiffe://`.
    pub principal: Option<&'a str>,
    /// Whether the connection is TLS, and then its server name; empty where it sent none.
    pub server_name: Option<&'a [u8]>,
    /// When it came, by the proxy's clock.
    pub now: Option<Time>,
}

impl<'a> Request<'a> {
    /// A request of which nothing but its authority and its method is known.
    pub fn new(authority: &'a [u8], method: &'a [u8]) -> Self {
        Self {
            authority: Authority::parse(authority),
            method: Some(method),
            path: None,
            cluster_port: ClusterPort::Unsaid,
            dialled: Dialled::Named,
            principal: None,
            server_name: None,
            now: None,
        }
    }

    /// One of these connections, of which nothing but its TLS server name is known. A port that the
    /// server name says, in the mesh's own form, must be theirs.
    pub fn connection(server_name: &'a [u8], connections: Connections) -> Self {
        Self {
            authority: Authority::of_server_name(server_name, connections.server_names),
            method: None,
            path: None,
            cluster_port: ClusterPort::Said(connections.port),
            dialled: Dialled::Named,
            principal: None,
            server_name: None,
            now: None,
        }
    }

    /// A connection at a waypoint, which goes to the host and the port in the name of a cluster. Without a
    /// server name it is one for that host.
    pub fn connection_to_cluster(server_name: &'a [u8], cluster: &'a [u8]) -> Self {
        let mut connection = Self::connection(server_name, Connections::default());
        if server_name.is_empty()
            && let Some(host) = dialled::host_of_cluster(cluster)
        {
            connection.authority = Ok(Authority { host, port: None });
        }
        connection.send_to_cluster(cluster);
        connection
    }

    /// Sends it where a waypoint does: to the host and the port in the name of the route's cluster, which is
    /// empty where there is none.
    pub fn send_to_cluster(&mut self, cluster: &'a [u8]) {
        let named = self.authority.as_ref().ok().map(|authority| &authority.host);
        let (dialled, port) = Dialled::of(cluster, named);
        self.dialled = dialled;
        self.cluster_port = port.map_or(ClusterPort::Unknown, ClusterPort::Said);
    }

    /// The port that will be dialled; absent where neither the route nor the authority says, and
    /// where they differ.
    pub fn port(&self) -> Option<u16> {
        Port::of(self.cluster_port, self.authority.as_ref().ok()?.port).known()
    }
}

/// The method by which an upgrade is judged: its own, and CONNECT for `connect-udp` (RFC 9298) and
/// `connect-ip` (RFC 9484). Envoy shows an extended CONNECT (RFC 8441) as the GET that the same
/// upgrade is over HTTP/1.1.
///
/// `protocols` are the values of `:protocol` and of every `upgrade` header.
pub fn judged_method<'a>(
    method: &'a [u8],
    mut protocols: impl Iterator<Item = &'a [u8]>,
) -> &'a [u8] {
    let tunnels = protocols.any(|value| {
        value.split(|&byte| byte == b',').map(<[u8]>::trim_ascii).any(|protocol| {
            protocol.eq_ignore_ascii_case(b"connect-udp")
                || protocol.eq_ignore_ascii_case(b"connect-ip")
        })
    });
    if tunnels { b"CONNECT" } else { method }
}

/// What the route's cluster says of the port that will be dialled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClusterPort {
    /// Nothing: there is no cluster, or Istio did not name it.
    Unsaid,
    /// This one.
    Said(u16),
    /// The cluster's name could not be read.
    Unknown,
}

impl ClusterPort {
    /// Reads the name of a cluster: Istio's is `outbound|P|subset|host`. None has an empty name.
    pub fn of(cluster: &[u8]) -> Self {
        if cluster.is_empty() {
            return Self::Unknown;
        }
        let port = || {
            let port = cluster.strip_prefix(b"outbound|")?.split(|&byte| byte == b'|').next()?;
            std::str::from_utf8(port).ok()?.parse().ok().filter(|&port| port != 0)
        };
        port().map_or(Self::Unsaid, Self::Said)
    }
}

/// A well-formed request, with what follows from its facts. What is read or hashed at the cost of the
/// request's bytes is so once, at the first rule that asks, however many rules do.
#[derive(Debug)]
pub(super) struct Facts<'a> {
    pub(super) host: &'a Host<'a>,
    pub(super) host_keys: HostKeys<'a>,
    /// Whether an allow must name the host.
    pub(super) is_special: bool,
    /// `None`: unknown.
    pub(super) method: Option<&'a [u8]>,
    pub(super) is_connect: bool,
    pub(super) port: Port,
    pub(super) principal: Option<Text<'a>>,
    namespace: OnceCell<Option<Text<'a>>>,
    pub(super) now: Option<Time>,
    request: &'a Request<'a>,
    readings: OnceCell<Option<Readings<'a>>>,
    service_account: OnceCell<Option<Text<'a>>>,
    query: OnceCell<Option<Box<Query<'a>>>>,
}

/// What is known of the port that will be dialled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Port {
    /// This one.
    Known(u16),
    /// Unknown: neither the route nor the authority says.
    Unsaid,
    /// Unknown: the authority says another than the route dials, or the route could not be read.
    Conflict,
}

impl Port {
    /// This one; `None` where it is unknown.
    pub fn known(self) -> Option<u16> {
        match self {
            Self::Known(port) => Some(port),
            Self::Unsaid | Self::Conflict => None,
        }
    }

    /// What the route and the authority say together.
    fn of(cluster_port: ClusterPort, said: Option<u16>) -> Self {
        match (cluster_port, said) {
            (ClusterPort::Unknown, _) => Self::Conflict,
            (ClusterPort::Said(dialled), Some(said)) if dialled != said => Self::Conflict,
            (ClusterPort::Said(port), _) | (ClusterPort::Unsaid, Some(port)) => Self::Known(port),
            (ClusterPort::Unsaid, None) => Self::Unsaid,
        }
    }
}

impl<'a> Facts<'a> {
    /// `None` where the request is malformed: the authority is not a host with an optional port,
    /// the method is not a token, or a CONNECT has no port.
    pub(super) fn of(request: &'a Request<'a>) -> Option<Self> {
        let authority = request.authority.as_ref().ok()?;
        // An upstream may fold the case, so every spelling is held to what CONNECT is held to.
        let is_connect =
            request.method.is_some_and(|method| method.eq_ignore_ascii_case(b"CONNECT"));
        if !request.method.is_none_or(is_token) || (is_connect && authority.port.is_none()) {
            return None;
        }
        let port = Port::of(request.cluster_port, authority.port);
        Some(Self::to(&authority.host, request, port, is_connect))
    }

    /// Which host the request goes to.
    pub(super) fn dialled(&self) -> &'a Dialled<'a> {
        &self.request.dialled
    }

    /// The same request to another host than it names.
    pub(super) fn sent_to(&self, host: &'a Host<'a>) -> Self {
        Self::to(host, self.request, self.port, self.is_connect)
    }

    fn to(host: &'a Host<'a>, request: &'a Request<'a>, port: Port, is_connect: bool) -> Self {
        Self {
            host,
            host_keys: HostKeys::new(host),
            is_special: host.is_special(),
            method: request.method,
            is_connect,
            port,
            principal: request.principal.map(Text::new),
            namespace: OnceCell::new(),
            now: request.now,
            request,
            readings: OnceCell::new(),
            service_account: OnceCell::new(),
            query: OnceCell::new(),
        }
    }

    /// Why a host that no rule names is refused, where an allow must name it.
    pub(super) fn special_reason(&self) -> Option<Reason> {
        self.is_special.then_some(match self.host {
            Host::Address(address) if !is_forbidden(*address) => Reason::IpLiteral,
            _ => Reason::ForbiddenAddress,
        })
    }

    /// Whether the TLS server name is the host or the mesh's own form; true without TLS.
    pub(super) fn server_name_is_host(&self) -> bool {
        self.request.server_name.is_none_or(|name| {
            name.starts_with(b"outbound_.")
                || Host::parse(name).is_ok_and(|host| host == *self.host)
        })
    }

    /// The namespace of a principal that is exactly `domain/ns/NAMESPACE/sa/ACCOUNT`.
    pub(super) fn namespace(&self) -> Option<&Text<'a>> {
        let read = || namespace_of(self.request.principal?).map(Text::new);
        self.namespace.get_or_init(read).as_ref()
    }

    /// The service account of such a principal, as `NAMESPACE/sa/ACCOUNT`.
    pub(super) fn service_account(&self) -> Option<&Text<'a>> {
        let read = || service_account_of(self.request.principal?).map(Text::new);
        self.service_account.get_or_init(read).as_ref()
    }

    /// The parameters of the query; `None` where there is no path.
    pub(super) fn query(&self) -> Option<&Query<'a>> {
        let read = || Some(Box::new(Query::of(self.request.path?)));
        self.query.get_or_init(read).as_deref()
    }

    /// The readings of the path; `None` where it is absent or unclear.
    pub(super) fn readings(&self) -> Option<&Readings<'a>> {
        self.readings.get_or_init(|| self.request.path.and_then(Readings::of)).as_ref()
    }
}

/// The namespace of a principal that is exactly `domain/ns/NAMESPACE/sa/ACCOUNT`.
pub fn namespace_of(principal: &str) -> Option<&str> {
    let mut segments = principal.split('/');
    let mut next = || segments.next().filter(|segment| !segment.is_empty());
    match (next()?, next()?, next()?, next()?, next()?, next()) {
        (_domain, "ns", namespace, "sa", _account, None) if !principal.ends_with('/') => {
            Some(namespace)
        }
        _ => None,
    }
}

/// `NAMESPACE/sa/ACCOUNT` of a principal that is exactly `domain/ns/NAMESPACE/sa/ACCOUNT`.
fn service_account_of(principal: &str) -> Option<&str> {
    namespace_of(principal)?;
    principal.split_once("/ns/").map(|(_, account)| account)
}

#[cfg(test)]
mod tests {
    use super::*;
    use wasm_bindgen_test::wasm_bindgen_test;

    #[wasm_bindgen_test(unsupported = test)]
    fn upgrades_are_judged_as_their_method() {
        let judged = |method: &'static str, protocols: &[&'static str]| {
            judged_method(method.as_bytes(), protocols.iter().map(|it| it.as_bytes()))
        };
        assert_eq!(judged("GET", &[]), b"GET");
        assert_eq!(judged("GET", &["websocket"]), b"GET");
        assert_eq!(judged("CONNECT", &["websocket"]), b"CONNECT");
        assert_eq!(judged("GET", &["connect-udp"]), b"CONNECT");
        assert_eq!(judged("GET", &["websocket", "foo, Connect-IP"]), b"CONNECT");
    }

    #[wasm_bindgen_test(unsupported = test)]
    fn only_istios_outbound_clusters_name_a_port() {
        assert_eq!(ClusterPort::of(b"outbound|443||api.example.com"), ClusterPort::Said(443));
        assert_eq!(ClusterPort::of(b"outbound|8443|v1|api.example.com"), ClusterPort::Said(8443));
        assert_eq!(ClusterPort::of(b"outbound|22||\xff"), ClusterPort::Said(22));
        for name in ["external", "outbound|", "outbound|0||x", "outbound|70000||x", "inbound|80||"]
        {
            assert_eq!(ClusterPort::of(name.as_bytes()), ClusterPort::Unsaid, "{name}");
        }
        assert_eq!(ClusterPort::of(b""), ClusterPort::Unknown);
    }

    #[wasm_bindgen_test(unsupported = test)]
    fn only_istios_form_of_a_spiffe_id_has_a_namespace() {
        assert_eq!(namespace_of("cluster.local/ns/payments/sa/api"), Some("payments"));
        for principal in [
            "",
            "cluster.local",
            "cluster.local/ns/payments",
            "cluster.local/ns//sa/api",
            "cluster.local/ns/payments/sa/",
            "cluster.local/ns/payments/sa/api/",
            "cluster.local/ns/payments/sa/api/x",
            "cluster.local/sa/api/ns/payments",
            "/ns/a/sa/b",
        ] {
            assert_eq!(namespace_of(principal), None, "{principal}");
        }
    }
}
