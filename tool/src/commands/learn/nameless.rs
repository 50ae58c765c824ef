//! Connections without a server name: no policy can allow them, so what matters is where they went, why
//! the mesh had no name for it, and what would show one.

use crate::logs::{Group, Logged, Place, Shown, Tally, shown_text};
use serde::Serialize;
use std::collections::BTreeMap;
use std::net::SocketAddr;

/// How many places are told apart; more are counted together.
const MAX_WAYS: usize = 1000;
/// How many of them the text shows.
const SHOWN: usize = 20;

/// The connections, by the way that they took.
#[derive(Debug, Default)]
pub(super) struct Nameless {
    all: Group,
    by_way: BTreeMap<Way, u64>,
}

/// Where a connection went, as far as its line says.
#[derive(Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Way {
    /// Address and port of the upstream.
    upstream: Option<String>,
    cluster: Option<String>,
}

/// A way as JSON answers have it.
#[derive(Debug, Serialize)]
struct WayAnswer<'a> {
    upstream_host: Option<&'a str>,
    upstream_cluster: Option<&'a str>,
    connections: u64,
    reason: String,
    remedy: String,
}

/// All of them as JSON answers have them.
#[derive(Debug, Serialize)]
pub(super) struct Answer<'a> {
    requests: u64,
    examples: Vec<Shown<'a>>,
    ways: Vec<WayAnswer<'a>>,
}

impl Nameless {
    pub(super) fn push(&mut self, logged: &Logged<'_>, place: Place) {
        self.all.push(logged, place);
        let way = Way {
            upstream: logged.upstream().map(shown_text),
            cluster: logged.cluster().map(shown_text),
        };
        self.count(way, 1);
    }

    /// Adds what stands behind.
    pub(super) fn add(&mut self, behind: Self) {
        self.all.add(behind.all);
        for (way, connections) in behind.by_way {
            self.count(way, connections);
        }
    }

    fn count(&mut self, way: Way, connections: u64) {
        let is_full = self.by_way.len() >= MAX_WAYS && !self.by_way.contains_key(&way);
        let way = if is_full { Way::default() } else { way };
        *self.by_way.entry(way).or_default() += connections;
    }

    pub(super) fn answer<'a>(&'a self, tally: &'a Tally) -> Answer<'a> {
        let way = |(way, connections): (&'a Way, &u64)| WayAnswer {
            upstream_host: way.upstream.as_deref(),
            upstream_cluster: way.cluster.as_deref(),
            connections: *connections,
            reason: way.reason(),
            remedy: way.remedy(),
        };
        Answer {
            requests: self.all.requests,
            examples: self.all.shown(tally),
            ways: self.by_way.iter().map(way).collect(),
        }
    }

    /// Lines for a person; none where there are no such connections.
    pub(super) fn lines(&self, tally: &Tally) -> Vec<String> {
        let count = match self.all.requests {
            0 => return Vec::new(),
            1 => "1 connection".to_owned(),
            more => format!("{more} connections"),
        };
        let mut lines = vec![format!("{count} without a server name: no policy can allow them.")];
        for (way, connections) in self.by_way.iter().take(SHOWN) {
            lines.push(format!("  {connections} {way}: {}", way.reason()));
            lines.push(format!("    {}", way.remedy()));
        }
        let more = self.by_way.len().saturating_sub(SHOWN);
        if more > 0 {
            lines.push(format!("  and to {more} more addresses (`--format json`)"));
        }
        lines.push("  Such as:".to_owned());
        lines.extend(self.all.shown(tally).iter().map(|example| format!("  {example}")));
        lines
    }
}

impl std::fmt::Display for Way {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "to {}", self.upstream.as_deref().unwrap_or("an address that is not logged"))?;
        match &self.cluster {
            Some(cluster) => write!(f, " by {cluster}"),
            None => Ok(()),
        }
    }
}

impl Way {
    /// Why the mesh had no name.
    fn reason(&self) -> String {
        match (self.cluster.as_deref(), self.host()) {
            (Some("PassthroughCluster"), _) => {
                "no ServiceEntry has this address, so it was passed to what the caller dialled"
                    .into()
            }
            (Some("BlackHoleCluster"), _) => {
                "no ServiceEntry has this address, so the mesh refused it".into()
            }
            (_, Some(host)) => {
                format!("a ServiceEntry gives it to {host}, and no TLS names a host")
            }
            _ => "neither TLS nor the cluster names a host".into(),
        }
    }

    /// What would show a name.
    fn remedy(&self) -> String {
        if let Some(host) = self.host() {
            return format!(
                "if it is TLS, let the caller send the server name {host}; else no policy can tell it"
            );
        }
        if self.cluster.as_deref() == Some("BlackHoleCluster") {
            return "what the caller dialled is the line's `%DOWNSTREAM_LOCAL_ADDRESS%`: a ServiceEntry \
                    with that address shows a host"
                .into();
        }
        match self.upstream.as_deref().and_then(|it| it.parse::<SocketAddr>().ok()) {
            Some(address) => format!(
                "a ServiceEntry with `addresses: [\"{}\"]`, port {} and protocol TCP shows a host in the \
                 cluster's name; if it is TLS, let the caller send a server name",
                address.ip(),
                address.port()
            ),
            None => "log `%UPSTREAM_HOST%` and `%UPSTREAM_CLUSTER%` to see where it goes".into(),
        }
    }

    /// The host of a cluster in Istio's form.
    fn host(&self) -> Option<&str> {
        let rest = self.cluster.as_deref()?.strip_prefix("outbound|")?;
        rest.splitn(3, '|').nth(2).filter(|host| !host.is_empty())
    }
}
