//! What keeps Istio from being configured as a plan says.

use crate::finding::Message;
use crate::render::wildcard_port::WildcardPort;
use std::borrow::Cow;

/// Why a description is none for Istio.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum IstioError {
    /// A gateway whose Service would have too long a name.
    LongName {
        max: usize,
    },
    /// More ports than a Gateway has listeners.
    ManyPorts {
        count: usize,
        max: usize,
    },
    /// A waypoint in the namespace of the control plane.
    NamespaceOfIstio,
    /// A waypoint among the workloads that it is for.
    NamespaceOfWorkloads {
        namespace: String,
    },
    /// A credential for a proxy whose pods are istiod's.
    WaypointSecret {
        name: String,
    },
    /// Callers of a route dial a port that the gateway's Service has not.
    NoServicePort {
        port: u16,
    },
    /// HTTP for one host and TLS for another, on one port.
    TwoProtocols {
        port: u16,
        is_ambient: bool,
    },
    /// One host's ways have different endpoints.
    TwoEndpoints {
        host: String,
    },
    WildcardPort(WildcardPort),
    /// Names under a wildcard whose authorities are a Secret, before Istio makes the cluster.
    WildcardSecret {
        host: String,
    },
}

impl Message for IstioError {
    fn problem(&self) -> Cow<'_, str> {
        match self {
            Self::LongName { max } => format!(
                "a name of more than {max} characters: istiod names the gateway's Service after it, with \
                 `-istio` behind"
            )
            .into(),
            Self::ManyPorts { count, max } => {
                format!("{count} ports, of which a Gateway has {max} at most").into()
            }
            Self::NamespaceOfIstio => "the namespace of Istio for a waypoint: `istio.io/use-waypoint` \
                 holds for all of a namespace, and deleting takes it away"
                .into(),
            Self::NamespaceOfWorkloads { namespace } => format!(
                "`{namespace}` as the namespace of workloads and of their waypoint: who writes there \
                 can open hosts"
            )
            .into(),
            Self::WaypointSecret { name } => format!(
                "`dataplane: ambient`, and a policy that stamps `{{secret:{name}}}`: istiod starts the \
                 waypoint's pods, without that variable"
            )
            .into(),
            Self::NoServicePort { port } => {
                format!("port {port}, which is none of the gateway's Service").into()
            }
            Self::TwoProtocols { port, is_ambient: true } => format!(
                "HTTP and TLS on port {port}: Istio adds a filter for connections by the port alone"
            )
            .into(),
            Self::TwoProtocols { port, is_ambient: false } => format!(
                "HTTP and TLS on port {port}: a sidecar has one listener for the external hosts of \
                 a port"
            )
            .into(),
            Self::TwoEndpoints { host } => format!(
                "other endpoints for `{host}` than another way has: a ServiceEntry has one list"
            )
            .into(),
            Self::WildcardPort(error) => error.problem(),
            Self::WildcardSecret { host } => {
                format!("`secret` for `{host}`, whose names Istio looks up from 1.31 on").into()
            }
        }
    }

    fn remedy(&self) -> Cow<'_, str> {
        match self {
            Self::LongName { .. } => "write a shorter one".into(),
            Self::ManyPorts { .. } => "part the policy between two gateways".into(),
            Self::NamespaceOfIstio | Self::NamespaceOfWorkloads { .. } => {
                "give the waypoint a namespace of its own".into()
            }
            Self::WaypointSecret { .. } => {
                "write `dataplane: sidecar`, or leave the credential out of the policy".into()
            }
            Self::NoServicePort { .. } => {
                "write it under `ports` of the description, with all others".into()
            }
            Self::TwoProtocols { .. } => "give one of them another port".into(),
            Self::TwoEndpoints { .. } => "write the same `endpoints` in both".into(),
            Self::WildcardPort(error) => error.remedy(),
            Self::WildcardSecret { .. } => {
                "write `caCertificates` with a file, or name its hosts in a way of their own".into()
            }
        }
    }
}

/// Why a host of the policy has no route in Istio.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Loss {
    pub(super) host: String,
    pub(super) kind: LossKind,
}

/// What Istio takes for no host of a gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LossKind {
    Address,
    /// A name without a dot, which Istio completes with a namespace.
    ShortName,
    /// A name with other characters than those of a host.
    OddName,
    /// TLS to a wildcard, or by routes of the Gateway API, by rules that ask who calls.
    UnknownCaller {
        port: u16,
        is_gateway_api: bool,
    },
    /// Names under a wildcard, by routes of the Gateway API.
    WildcardRoute,
    /// `sni: match` for the names under a wildcard.
    ServerName,
    /// Names under a wildcard that a waypoint does not look up: TLS, or with `endpoints`.
    NotLookedUp {
        port: u16,
    },
}

impl LossKind {
    /// A word that stays the same while messages get better.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Address => "address",
            Self::ShortName => "short-name",
            Self::OddName => "odd-name",
            Self::UnknownCaller { .. } => "unknown-caller",
            Self::WildcardRoute => "wildcard-route",
            Self::ServerName => "server-name",
            Self::NotLookedUp { .. } => "not-looked-up",
        }
    }

    /// Whether there is no route at all.
    pub(super) fn is_without_route(self) -> bool {
        match self {
            Self::Address
            | Self::ShortName
            | Self::OddName
            | Self::WildcardRoute
            | Self::NotLookedUp { .. } => true,
            Self::UnknownCaller { .. } | Self::ServerName => false,
        }
    }
}

impl Loss {
    pub(crate) fn word(&self) -> &'static str {
        self.kind.word()
    }

    pub(crate) fn host(&self) -> &str {
        &self.host
    }
}

impl Message for Loss {
    fn problem(&self) -> Cow<'_, str> {
        let host = &self.host;
        match self.kind {
            LossKind::Address => {
                format!("no route for `{host}`: the hosts of an Istio gateway are names")
            }
            LossKind::ShortName => format!(
                "no route for `{host}`: Istio takes a name without a dot for a Service of its \
                 namespace"
            ),
            LossKind::OddName => format!(
                "no route for `{host}`: Istio's hosts have letters, digits and hyphens only"
            ),
            LossKind::WildcardRoute => format!(
                "no route for `{host}`: with `routes: gateway-api` nothing looks up the names under a \
                 wildcard"
            ),
            LossKind::UnknownCaller { port, .. } => format!(
                "`{host}` on port {port}: callers are unknown there, so rules with `from` never \
                 allow and `identity: required` refuses"
            ),
            LossKind::NotLookedUp { port } => format!(
                "no route for `{host}` on port {port}: at a waypoint the names under a wildcard are \
                 looked up, and for HTTP only"
            ),
            LossKind::ServerName => {
                format!("`{host}`: a sidecar sends one server name for all names under it, so `sni: match` refuses them")
            }
        }
        .into()
    }

    fn remedy(&self) -> Cow<'_, str> {
        match self.kind {
            LossKind::Address => "write the name of the host",
            LossKind::ShortName => "write its whole name",
            LossKind::OddName => "use another name of the host",
            LossKind::WildcardRoute => "name the hosts, or write `routes: virtual-service`",
            LossKind::UnknownCaller { is_gateway_api: true, .. } => {
                "write `routes: virtual-service`, or let callers speak HTTP: a TLSRoute has no mutual \
                 TLS of the mesh around it"
            }
            LossKind::UnknownCaller { is_gateway_api: false, .. } => {
                "name the hosts: within the mesh's mutual TLS a server name must be known"
            }
            LossKind::NotLookedUp { .. } => {
                "name the hosts, or let callers speak HTTP, in a way without `endpoints`"
            }
            LossKind::ServerName => "name the hosts, or leave `sni: match` out",
        }
        .into()
    }
}
