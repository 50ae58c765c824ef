//! What comes out: a verdict, and where it differs, the would-be verdict.

/// Allow or deny: what a rule does, and what a verdict says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// The request passes.
    Allow,
    /// The request is refused.
    Deny,
}

impl Action {
    /// The word of policies and records.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Deny => "deny",
        }
    }
}

/// Which step decided. A closed list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// A rule matched.
    Rule,
    /// A deny rule matched, only because something is unknown that it asks about.
    Unknown,
    /// No rule matched.
    Default,
    /// `mode: monitor` let a request pass that would be refused.
    Monitor,
    /// The authority, the method or a CONNECT without port is malformed.
    Malformed,
    /// The caller has no verified identity, and the policy requires one.
    Identity,
    /// The TLS server name is not the host.
    Sni,
    /// An address that is not globally reachable or a special name, which no rule names.
    ForbiddenAddress,
    /// Another address that no rule names.
    IpLiteral,
    /// A CONNECT that no rule names.
    Connect,
    /// The rule that would have allowed it has ended.
    Expired,
    /// At a waypoint: it is sent to another host than it names, to which it may not go; or the cluster
    /// does not say to which.
    Destination,
    /// The proxy did not give the request's headers, or did not take what is written to them.
    ProxyError,
    /// The connection ended before a verdict on it could be given.
    Undecided,
}

impl Reason {
    /// The word of records and answers.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Rule => "rule",
            Self::Unknown => "unknown",
            Self::Default => "default",
            Self::Monitor => "monitor",
            Self::Malformed => "malformed",
            Self::Identity => "identity",
            Self::Sni => "sni",
            Self::ForbiddenAddress => "forbidden_address",
            Self::IpLiteral => "ip_literal",
            Self::Connect => "connect",
            Self::Expired => "expired",
            Self::Destination => "destination",
            Self::ProxyError => "proxy_error",
            Self::Undecided => "undecided",
        }
    }
}

/// A verdict with its reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Whether the request passes.
    pub action: Action,
    /// Which step decided.
    pub reason: Reason,
    /// The rule that is named, as an index into the policy's rules; with reason
    /// [`Reason::Rule`], [`Reason::Unknown`] and [`Reason::Expired`] only.
    pub rule: Option<usize>,
}

impl Verdict {
    pub(super) fn allow(reason: Reason) -> Self {
        Self { action: Action::Allow, reason, rule: None }
    }

    pub(super) fn deny(reason: Reason) -> Self {
        Self { action: Action::Deny, reason, rule: None }
    }

    pub(super) fn by_rule(action: Action, reason: Reason, rule: u32) -> Self {
        Self { action, reason, rule: Some(rule as usize) }
    }
}

/// What happens to a request, and the would-be decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decision {
    /// What happens.
    pub verdict: Verdict,
    /// What would happen, only where it lets pass what is refused now or the reverse.
    pub would: Option<Verdict>,
}

impl Decision {
    /// Refuses, whatever the policy says, `mode: monitor` included: a request whose headers cannot be
    /// read or written might leave with what its caller forged.
    pub fn proxy_error() -> Self {
        Self { verdict: Verdict::deny(Reason::ProxyError), would: None }
    }

    /// The refusal, in every mode, of a connection that ends before a verdict on it could be given.
    pub fn undecided() -> Self {
        Self { verdict: Verdict::deny(Reason::Undecided), would: None }
    }
}

/// One value for the verdict, one for the would-be verdict.
pub(super) type PerView<T> = [T; 2];
/// The view of the verdict: it counts rules without `state` and those with `state: retiring`.
pub(super) const VERDICT: usize = 0;
/// The view of the would-be verdict: it counts rules without `state` and those with `state: dry-run`.
pub(super) const WOULD_BE: usize = 1;
