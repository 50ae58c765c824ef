//! The routes of a rendered Envoy, read from its configuration alone, and chosen as Envoy chooses.

use serde_json::Value;

/// What leads where.
pub struct Table {
    /// Domains of HTTP with the clusters of their routes.
    http: Vec<(String, String)>,
    /// Ports and server names that have a way out.
    tls: Vec<(u16, String)>,
}

impl Table {
    pub fn of(tree: &Value) -> Self {
        let (mut http, mut tls) = (Vec::new(), Vec::new());
        for listener in list(&tree["static_resources"]["listeners"]) {
            let name = text(&listener["name"]);
            for chain in list(&listener["filter_chains"]) {
                let manager = &chain["filters"][0]["typed_config"]["route_config"];
                for host in list(&manager["virtual_hosts"]) {
                    let cluster = text(&host["routes"][0]["route"]["cluster"]);
                    let domains = list(&host["domains"]).iter().map(text);
                    http.extend(domains.map(|domain| (domain, cluster.clone())));
                }
                let Some(port) = name.strip_prefix("egress_tls_") else { continue };
                let port = port.parse().expect("a port");
                let names = list(&chain["filter_chain_match"]["server_names"]);
                tls.extend(names.iter().map(|name| (port, text(name))));
            }
        }
        Self { http, tls }
    }

    /// A host and a port for each route, and whether it is one of TLS.
    pub fn examples(&self) -> Vec<(String, u16, bool)> {
        let below = |pattern: &str| pattern.replace('*', "q9");
        let http = self.http.iter().map(|(domain, cluster)| {
            let port = cluster.split('|').nth(1).and_then(|port| port.parse().ok());
            let port = port.expect("a port in the cluster's name");
            let host = domain.strip_suffix(&format!(":{port}")).unwrap_or(domain);
            (below(host), port, false)
        });
        http.chain(self.tls.iter().map(|(port, name)| (below(name), *port, true))).collect()
    }

    /// Where a host's port leads.
    pub fn way(&self, host: &str, port: u16, is_tls: bool) -> Option<String> {
        if is_tls {
            let names: Vec<_> = self
                .tls
                .iter()
                .filter(|(it, _)| *it == port)
                .map(|(_, name)| name.clone())
                .collect();
            return best(names.iter(), host).cloned();
        }
        // Under a wildcard that is looked up, `Host` without a port alone leads to port 80.
        let without_port = || self.cluster_of(host).filter(|_| port == 80);
        self.cluster_of(&format!("{host}:{port}")).or_else(without_port)
    }

    /// The cluster of the route that Envoy takes for what `Host` says.
    pub fn cluster_of(&self, authority: &str) -> Option<String> {
        let authority = authority.to_ascii_lowercase();
        let domain = best(self.http.iter().map(|(domain, _)| domain), &authority)?;
        let route = self.http.iter().find(|(it, _)| it == domain);
        route.map(|(_, cluster)| cluster.clone())
    }
}

/// The exact one, else the longest wildcard.
fn best<'t>(patterns: impl Iterator<Item = &'t String>, text: &str) -> Option<&'t String> {
    let fits = |pattern: &&String| match pattern.strip_prefix('*') {
        Some(suffix) => text.len() > suffix.len() && text.ends_with(suffix),
        None => *pattern == text,
    };
    patterns.filter(fits).max_by_key(|pattern| (!pattern.starts_with('*'), pattern.len()))
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}
