//! Where in the mesh the proxy stands.

/// What a proxy tells of a request depends on this.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Place {
    /// A gateway, a sidecar, or an Envoy of no mesh: it ends its callers' TLS itself, and chooses routes by
    /// the host that a request names.
    #[default]
    Gateway,
    /// A waypoint of Istio's ambient mode: it learns of its callers through filter state, and chooses routes
    /// by the address that they dialled.
    Waypoint,
}

impl Place {
    /// Reads the proxy's node id (property `xds.node.id`), which Istio begins with the kind of proxy and `~`.
    pub fn of_node_id(id: &[u8]) -> Self {
        match id.starts_with(b"waypoint~") {
            true => Self::Waypoint,
            false => Self::Gateway,
        }
    }
}
