//! What a policy allows and no route can say.

use crate::console::counted;
use crate::finding::Message;
use crate::policy_text;
use crate::render::gateway::WayKind;
use std::borrow::Cow;

/// Why hosts of one place in a policy have no route, or not all that they might.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Obstacle {
    pub(crate) kind: ObstacleKind,
    /// As the policy writes them, in its order; empty where it names none.
    pub(crate) hosts: Vec<String>,
    /// Whether callers lose nothing that the policy names: it is told, and no more.
    pub(crate) is_note: bool,
}

/// Why.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum ObstacleKind {
    /// Globs, which no proxy routes by.
    Glob,
    /// Blocks of addresses, which stand for more hosts than routes can name.
    Block,
    /// A rule for any host.
    AnyHost,
    /// What no rule decides passes.
    DefaultAllow,
    /// Whatever the rules say passes.
    Monitor,
    /// The gateway has no way for these ports.
    NoWay { ports: Vec<u16> },
    /// What the rules ask is inside the TLS that is passed on.
    RequestsOnly { ports: Vec<u16> },
    /// A TLS connection to an address has no server name.
    NoServerName { ports: Vec<u16> },
    /// Only CONNECT is allowed, which no route takes.
    ConnectOnly,
    /// An allow rule that is a dry run.
    DryRun,
}

impl ObstacleKind {
    /// A word that stays the same while messages get better.
    pub(crate) fn word(&self) -> &'static str {
        match self {
            Self::Glob => "glob",
            Self::Block => "block",
            Self::AnyHost => "any-host",
            Self::DefaultAllow => "default-allow",
            Self::Monitor => "monitor",
            Self::NoWay { .. } => "no-way",
            Self::RequestsOnly { .. } => "requests-only",
            Self::NoServerName { .. } => "no-server-name",
            Self::ConnectOnly => "connect-only",
            Self::DryRun => "dry-run",
        }
    }
}

impl Obstacle {
    /// `a.test`, or `a.test and 3 others`.
    fn named(&self) -> String {
        match (self.hosts.as_slice(), self.hosts.len().saturating_sub(1)) {
            ([], _) => "any host".to_owned(),
            ([host, ..], 0) => format!("`{host}`"),
            ([host, ..], others) => format!("`{host}` and {}", counted(others as u64, "other")),
        }
    }
}

/// `port 443`, `ports 443 and 8443`.
fn ports_text(ports: &[u16]) -> String {
    let texts: Vec<_> = ports.iter().map(u16::to_string).collect();
    match texts.split_last() {
        Some((last, [])) => format!("port {last}"),
        Some((last, others)) => format!("ports {} and {last}", others.join(", ")),
        None => "no port".to_owned(),
    }
}

impl Message for Obstacle {
    fn problem(&self) -> Cow<'_, str> {
        let hosts = self.named();
        match &self.kind {
            ObstacleKind::Glob => {
                format!("no route for {hosts}: no proxy routes by such a pattern")
            }
            ObstacleKind::Block => format!("no route for {hosts}: a route names single addresses"),
            ObstacleKind::AnyHost => "no route for a rule without `hosts`".to_owned(),
            ObstacleKind::DefaultAllow => {
                "`default: allow` lets hosts pass that have no route".to_owned()
            }
            ObstacleKind::Monitor => {
                "`mode: monitor` lets hosts pass that have no route".to_owned()
            }
            ObstacleKind::NoWay { ports } if ports.is_empty() => {
                format!("no route for {hosts}: the gateway has no way for it")
            }
            ObstacleKind::NoWay { ports } => {
                format!("no route for {hosts}: the gateway has no way for {}", ports_text(ports))
            }
            ObstacleKind::RequestsOnly { ports } => format!(
                "no route for {hosts} on {}: methods, paths and queries are unknown in TLS that \
                 is passed on, so no connection is allowed",
                ports_text(ports)
            ),
            ObstacleKind::NoServerName { ports } => format!(
                "no route for {hosts} on {}: TLS to an address has no server name, so no \
                 connection is allowed",
                ports_text(ports)
            ),
            ObstacleKind::ConnectOnly => format!("no route for {hosts}: only CONNECT is allowed"),
            ObstacleKind::DryRun => format!("no route for {hosts}: the rule is a dry run"),
        }
        .into()
    }

    fn remedy(&self) -> Cow<'_, str> {
        match &self.kind {
            ObstacleKind::Glob | ObstacleKind::Block | ObstacleKind::AnyHost if self.is_note => {
                "routes are written for those that `ways` of the gateway name".into()
            }
            ObstacleKind::Glob => {
                "name the hosts under `hosts` of one of the gateway's `ways`, or write `*.NAME` here"
                    .into()
            }
            ObstacleKind::Block | ObstacleKind::AnyHost => {
                "name the hosts under `hosts` of one of the gateway's `ways`".into()
            }
            ObstacleKind::DefaultAllow | ObstacleKind::Monitor => {
                "routes are written for the hosts that allow rules or `ways` of the gateway name"
                    .into()
            }
            ObstacleKind::NoWay { ports } if ports.is_empty() => {
                "write one for it in the gateway's `ways`, such as `{way: originate}`".into()
            }
            ObstacleKind::NoWay { ports } => {
                let is_tls = ports.iter().all(|port| port % 1000 == 443);
                let way = if is_tls { WayKind::Passthrough } else { WayKind::Http }.as_str();
                let ports = policy_text::ports(ports);
                format!("write one in its `ways`, such as `{{ports: {ports}, way: {way}}}`").into()
            }
            ObstacleKind::RequestsOnly { .. } => {
                "let callers speak HTTP to a port with `way: originate` (80 by default), or leave \
                 methods, paths and queries out"
                    .into()
            }
            ObstacleKind::NoServerName { .. } => {
                "write the host's name, or let callers speak HTTP to a port with `way: originate`"
                    .into()
            }
            ObstacleKind::ConnectOnly => {
                "let callers speak to the host itself, by `GET` for example".into()
            }
            ObstacleKind::DryRun => "render again once it is in force".into(),
        }
    }
}
