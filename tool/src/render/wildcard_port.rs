//! A port for the names under a wildcard that no proxy can dial.

use super::gateway::WayKind;
use super::plan::Route;
use crate::finding::Message;
use std::borrow::Cow;

/// A wildcard of HTTP whose names are to be dialled on a port that no request names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct WildcardPort {
    host: String,
    target_port: u16,
}

impl WildcardPort {
    pub(super) fn of(route: &Route<'_>) -> Self {
        Self { host: route.host.text(), target_port: route.target_port }
    }
}

/// Where a name under a wildcard is dialled if `Host` names no port.
pub(super) fn port_without_name(kind: WayKind) -> u16 {
    if kind == WayKind::Originate { 443 } else { 80 }
}

impl Message for WildcardPort {
    fn problem(&self) -> Cow<'_, str> {
        let Self { host, target_port } = self;
        format!(
            "the port {target_port} for `{host}`: a proxy dials the names under a wildcard on the \
             port in `Host`, else on 80, or 443 with TLS"
        )
        .into()
    }

    fn remedy(&self) -> Cow<'_, str> {
        "name its hosts in a way of their own, or leave `targetPort` out".into()
    }
}
