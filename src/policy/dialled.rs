//! Where a waypoint (Istio's ambient mode) sends a request: where its caller dialled, whatever host its
//! authority names.

use crate::host::{Host, parse_port};

/// Which host a request goes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Dialled<'a> {
    /// The one that its authority names.
    Named,
    /// This one, and its authority names another.
    Host(Host<'a>),
    /// Another than its authority names, and it is unknown which: one under a wildcard.
    Other,
    /// Unknown: there is no cluster, or its name says no host.
    Unsaid,
}

impl<'a> Dialled<'a> {
    /// What the name of a route's cluster says of the host and the port of a request that names `named`,
    /// at a waypoint. Istio's names are `inbound-vip|PORT|PROTOCOL|HOST`, with `/SUBSET` behind the
    /// protocol where there is one, and `outbound|PORT|SUBSET|HOST`. HOST may be a wildcard, `*.NAME`: it
    /// stands for any name under NAME.
    pub(super) fn of(cluster: &'a [u8], named: Option<&Host<'_>>) -> (Self, Option<u16>) {
        match host_and_port(cluster) {
            Some((DialledHost::One(host), port)) if Some(&host) == named => {
                (Self::Named, Some(port))
            }
            Some((DialledHost::One(host), port)) => (Self::Host(host), Some(port)),
            Some((DialledHost::Under(apex), port)) => {
                let is_named = named.is_some_and(|named| is_under(named, &apex));
                (if is_named { Self::Named } else { Self::Other }, Some(port))
            }
            None => (Self::Unsaid, None),
        }
    }

    pub(super) fn into_owned(self) -> Dialled<'static> {
        match self {
            Self::Named => Dialled::Named,
            Self::Host(host) => Dialled::Host(host.into_owned()),
            Self::Other => Dialled::Other,
            Self::Unsaid => Dialled::Unsaid,
        }
    }

    /// What is dialled, where that is known and not the host that is named.
    pub fn host(&self) -> Option<&Host<'a>> {
        match self {
            Self::Host(host) => Some(host),
            Self::Named | Self::Other | Self::Unsaid => None,
        }
    }
}

/// The host in the name of a waypoint's cluster, where it is not a wildcard.
pub(super) fn host_of_cluster(cluster: &[u8]) -> Option<Host<'_>> {
    match host_and_port(cluster)? {
        (DialledHost::One(host), _) => Some(host),
        (DialledHost::Under(_), _) => None,
    }
}

enum DialledHost<'a> {
    One(Host<'a>),
    /// Any name under this one.
    Under(Host<'a>),
}

fn host_and_port(cluster: &[u8]) -> Option<(DialledHost<'_>, u16)> {
    let mut parts = cluster.split(|&byte| byte == b'|');
    let mut next = || parts.next();
    let (direction, port, _, host) = (next()?, next()?, next()?, next()?);
    if !matches!(direction, b"inbound-vip" | b"outbound") || next().is_some() {
        return None;
    }
    let host = match host.strip_prefix(b"*.") {
        Some(apex) => DialledHost::Under(Host::parse(apex).ok()?),
        None => DialledHost::One(Host::parse(host).ok()?),
    };
    Some((host, parse_port(port).ok()?))
}

fn is_under(host: &Host<'_>, apex: &Host<'_>) -> bool {
    let (Host::Name(host), Host::Name(apex)) = (host, apex) else { return false };
    let above = host.as_str().strip_suffix(apex.as_str());
    above.is_some_and(|above| above.ends_with('.'))
}
