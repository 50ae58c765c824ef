//! Which hop of its way a logged request is on: out of the mesh, or within.

/// A hop, by the cluster that the line names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hop {
    /// Out of the mesh, as far as the line says.
    Out,
    /// To a service of the mesh, for a host that is none: to the gateway, most likely. Which port that
    /// dials stands in its own log only.
    ToGateway,
    /// To a workload, its proxy, or a service of the mesh: no egress.
    Within,
}

impl Hop {
    /// `cluster` is the upstream cluster's name, `host` the canonical host that was asked for.
    pub(super) fn new(cluster: Option<&str>, host: Option<&str>) -> Self {
        let cluster = cluster.unwrap_or_default();
        if is_inbound(cluster) || host.is_some_and(is_mesh_name) {
            return Self::Within;
        }
        let service = host_of(cluster).filter(|service| is_mesh_name(service));
        match (service, host) {
            (None, _) => Self::Out,
            (Some(_), _) if cluster.starts_with(OF_WAYPOINT) => Self::Within,
            (Some(service), Some(host)) if !is_short_for(host, service) => Self::ToGateway,
            (Some(_), _) => Self::Within,
        }
    }
}

/// What a waypoint's clusters begin with.
pub(super) const OF_WAYPOINT: &str = "inbound-vip|";

/// Istio's clusters for what comes to a workload, and for what its own agent answers.
fn is_inbound(cluster: &str) -> bool {
    let starts = ["inbound|", "inbound_.", "InboundPassthroughCluster"];
    starts.iter().any(|start| cluster.starts_with(start))
        || ["agent", "prometheus_stats", "encap"].contains(&cluster)
}

/// The host of a cluster in Istio's form, `outbound|PORT|SUBSET|HOST`, `inbound-vip|PORT|PROTOCOL|HOST` or
/// `outbound_.PORT_.SUBSET_.HOST`.
fn host_of(cluster: &str) -> Option<&str> {
    let with_bars = cluster.strip_prefix("outbound|").or_else(|| cluster.strip_prefix(OF_WAYPOINT));
    match (with_bars, cluster.strip_prefix("outbound_.")) {
        (Some(rest), _) => rest.splitn(3, '|').nth(2),
        (None, Some(rest)) => rest.splitn(3, "_.").nth(2),
        (None, None) => None,
    }
}

/// Whether a host is a name of a Kubernetes service: `SERVICE.NAMESPACE.svc`, with any domain of a
/// cluster behind it and any pod before.
fn is_mesh_name(host: &str) -> bool {
    host.ends_with(".cluster.local")
        || host.ends_with(".clusterset.local")
        || host.split('.').skip(2).any(|label| label == "svc")
}

/// Whether a host is a service's name as its own namespace or its cluster shortens it.
fn is_short_for(host: &str, service: &str) -> bool {
    service.strip_prefix(host).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hop_is_told_by_the_cluster_and_the_host() {
        const GATEWAY: &str = "outbound|80||istio-egressgateway.istio-system.svc.cluster.local";
        for (cluster, host, expected) in [
            (Some("outbound|443||api.stripe.com"), Some("api.stripe.com"), Hop::Out),
            (Some("outbound_.443_._.api.stripe.com"), Some("api.stripe.com"), Hop::Out),
            (Some("PassthroughCluster"), Some("api.stripe.com"), Hop::Out),
            (Some("stripe"), Some("svc.stripe.com"), Hop::Out),
            (None, Some("api.svc.stripe.com"), Hop::Out),
            (None, None, Hop::Out),
            (Some(GATEWAY), Some("api.stripe.com"), Hop::ToGateway),
            (Some("outbound|443|v1|gw.infra.svc.example.org"), Some("a.example"), Hop::ToGateway),
            (Some("outbound_.443_._.gw.infra.svc.cluster.local"), Some("a.com"), Hop::ToGateway),
            (Some(GATEWAY), None, Hop::Within),
            (Some(GATEWAY), Some("istio-egressgateway"), Hop::Within),
            (Some("outbound|8080||cart.shop.svc.cluster.local"), Some("cart.shop"), Hop::Within),
            (Some("outbound|8080||cart.shop.svc.cluster.local"), Some("cart.sho"), Hop::ToGateway),
            (Some("PassthroughCluster"), Some("db-0.db.shop.svc.cluster.local"), Hop::Within),
            (None, Some("cart.shop.svc"), Hop::Within),
            (Some("inbound|8080||"), Some("api.stripe.com"), Hop::Within),
            (Some("InboundPassthroughClusterIpv4"), None, Hop::Within),
            (Some("agent"), Some("198.51.100.21"), Hop::Within),
            (Some("inbound-vip|443|http|api.stripe.com"), Some("api.stripe.com"), Hop::Out),
            (Some("inbound-vip|443|http|*.stripe.com"), Some("api.stripe.com"), Hop::Out),
            (Some("inbound-vip|80|http|cart.shop.svc.cluster.local"), Some("cart"), Hop::Within),
            (Some("inbound-vip|80|http|cart.shop.svc.cluster.local"), Some("a.com"), Hop::Within),
            (Some("encap"), Some("10.0.0.7"), Hop::Within),
        ] {
            assert_eq!(Hop::new(cluster, host), expected, "{cluster:?} {host:?}");
        }
    }
}
