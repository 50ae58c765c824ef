//! What a warning says.

use crate::finding::Message;
use crate::public_suffix::Openness;
use egress_warden::policy::Action;
use std::borrow::Cow;

/// What was found, which the policy's reader accepts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Warning {
    /// A rule that counts for the verdict only, where nothing is enforced.
    RetiringInMonitor,
    /// No request matches an entry, or the whole rule.
    NeverMatches {
        is_whole_rule: bool,
        why: Contradiction,
    },
    Ended,
    EndsWithin {
        days: u64,
    },
    DenyEnds,
    /// Another rule says the same.
    SameRule {
        id: String,
    },
    /// An item of this kind of list is its item `first` already.
    EqualItem {
        is_host: bool,
        item: String,
        first: usize,
    },
    /// A name and the wildcard below it stand in one list.
    NameAndWildcard {
        apex: String,
    },
    /// An item of a list that has the pattern for this name and all below it.
    InTree {
        item: String,
        apex: String,
    },
    /// `from` where no caller is known.
    NoMutualTls(Action),
    /// Namespaces of every one of these trust domains, and perhaps of others.
    Namespaces {
        domains: Vec<String>,
        and_others: bool,
    },
    /// Principals of `cluster.local` alone.
    LocalDomain,
    /// More bytes than `kubectl apply` takes.
    Large {
        bytes: usize,
        max: usize,
    },
    /// Deny rules cover all of a rule.
    RuleDenied {
        by: String,
        and_others: bool,
    },
    /// A deny rule covers an entry, or one of its hosts.
    EntryDenied {
        by: String,
    },
    /// An allow without ports where callers choose the port.
    AnyPort {
        /// Those in `notPorts` are left out.
        but_some: bool,
    },
    /// A condition on methods, paths or the query where TLS hides them.
    Unseen {
        key: &'static str,
        action: Action,
    },
    /// `sni: match` where no TLS is seen.
    ServerNameAtWaypoint,
    /// A deny of the names under this one, and not of itself.
    OpenApex {
        apex: String,
    },
    /// A wildcard over names that strangers can take.
    PublicSuffix {
        apex: String,
        openness: Openness,
    },
    /// A block of all addresses.
    AllAddresses {
        block: String,
    },
    /// A method that stands for all of them elsewhere, in the list of this key.
    AnyMethod {
        key: &'static str,
        method: String,
    },
    /// Several methods in one text.
    SeveralMethods {
        method: String,
    },
    /// A text that stands for others in another language.
    Literal {
        text: String,
        /// What it is there.
        looks_like: &'static str,
        /// What all that was meant begins with, where that is certain.
        start: Option<String>,
    },
    /// A name that UTS 46 refuses.
    NotUts46 {
        name: String,
    },
    /// A label of several scripts.
    MixedScript {
        name: String,
        label: String,
    },
    /// A name that looks like an ASCII one.
    LooksLike {
        name: String,
        look: String,
    },
    /// A name that looks like another of the policy.
    LooksLikeOther {
        name: String,
        other: String,
    },
}

/// Why nothing matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Contradiction {
    /// The field of this key takes out all that is listed.
    Not(&'static str),
    /// Wildcards over special names alone.
    SpecialNames,
    /// No principal is in a namespace that is listed.
    OtherNamespaces,
    /// No id that is listed meets the other conditions.
    NoCaller,
    /// Addresses alone, at a waypoint.
    NoName,
}

impl Warning {
    /// A word that stays the same while messages get better.
    pub(super) fn word(&self) -> &'static str {
        match self {
            Self::RetiringInMonitor | Self::NeverMatches { .. } => "never-matches",
            Self::Ended => "ended",
            Self::EndsWithin { .. } => "ends-soon",
            Self::DenyEnds => "deny-ends",
            Self::SameRule { .. } => "same-rules",
            Self::EqualItem { is_host: true, .. } => "equal-hosts",
            Self::EqualItem { is_host: false, .. } => "equal-items",
            Self::NameAndWildcard { .. } => "name-and-wildcard",
            Self::InTree { .. } => "in-tree",
            Self::NoMutualTls(_) => "from-without-mutual-tls",
            Self::Namespaces { .. } => "namespaces-without-domain",
            Self::LocalDomain => "local-domain",
            Self::Large { .. } => "large",
            Self::RuleDenied { .. } | Self::EntryDenied { .. } => "always-denied",
            Self::AnyPort { .. } => "allow-without-ports",
            Self::Unseen { .. } => "unseen-in-tls",
            Self::ServerNameAtWaypoint => "at-waypoint",
            Self::OpenApex { .. } => "open-apex",
            Self::PublicSuffix { .. } => "public-suffix",
            Self::AllAddresses { .. } => "all-addresses",
            Self::AnyMethod { .. } | Self::SeveralMethods { .. } => "literal-method",
            Self::Literal { .. } => "literal-pattern",
            Self::NotUts46 { .. } => "not-uts46",
            Self::MixedScript { .. } => "mixed-script",
            Self::LooksLike { .. } | Self::LooksLikeOther { .. } => "confusable",
        }
    }
}

impl Message for Warning {
    fn problem(&self) -> Cow<'_, str> {
        match self {
            Self::RetiringInMonitor => {
                "this rule has no effect: under `mode: monitor` no retiring rule counts".into()
            }
            Self::NeverMatches { is_whole_rule, why } => {
                let what = if *is_whole_rule { "this rule" } else { "this entry" };
                format!("{what} can never match: {}", why.describe()).into()
            }
            Self::Ended => "this rule has ended: it has no effect any more".into(),
            Self::EndsWithin { days: 1 } => "this rule ends within a day".into(),
            Self::EndsWithin { days } => format!("this rule ends within {days} days").into(),
            Self::DenyEnds => {
                "this deny rule ends by itself: what it denies may pass from then on".into()
            }
            Self::SameRule { id } => {
                format!("this rule is the same as `{id}`, but for its id and its note").into()
            }
            Self::EqualItem { item, first, .. } => {
                format!("{item} is in this list twice: item {first} is the same").into()
            }
            Self::NameAndWildcard { apex } => {
                format!("`.{apex}` says the same as `{apex}` and `*.{apex}` together").into()
            }
            Self::InTree { item, apex } => {
                format!("`.{apex}` in this list matches everything that `{item}` does").into()
            }
            Self::NoMutualTls(Action::Allow) => {
                "without mutual TLS no caller is known, so this allow entry never matches".into()
            }
            Self::NoMutualTls(Action::Deny) => {
                "without mutual TLS no caller is known, so this deny entry matches every caller"
                    .into()
            }
            Self::Namespaces { domains, and_others } => {
                let domains: Vec<_> = domains.iter().map(|it| format!("`{it}`")).collect();
                let mut domains = domains.join(", ");
                if *and_others {
                    domains.push_str(" and others");
                }
                format!("this entry matches callers of several trust domains ({domains})").into()
            }
            Self::LocalDomain => {
                "`cluster.local` is compared literally: only Istio's own policies take it for the \
                 trust domain of the mesh"
                    .into()
            }
            Self::Large { bytes, max } => {
                format!("`kubectl apply` refuses objects of {max} bytes and more: this has {bytes}")
                    .into()
            }
            Self::RuleDenied { by, and_others: false } => {
                format!("`{by}` denies everything that this rule allows").into()
            }
            Self::RuleDenied { by, and_others: true } => {
                format!("`{by}` and other rules deny everything that this rule allows").into()
            }
            Self::EntryDenied { by } => {
                format!("`{by}` denies everything that is allowed here").into()
            }
            Self::AnyPort { but_some } => {
                let which = if *but_some { " but those in `notPorts`" } else { "" };
                format!(
                    "behind a dynamic forward proxy callers choose the port, and this allows every \
                     port{which}"
                )
                .into()
            }
            Self::Unseen { key, action: Action::Allow } => format!(
                "the TLS hides methods, paths and queries: an allow entry with `{key}` never matches"
            )
            .into(),
            Self::Unseen { key, action: Action::Deny } => format!(
                "the TLS hides methods, paths and queries: in a deny entry `{key}` has no effect"
            )
            .into(),
            Self::ServerNameAtWaypoint => {
                "at a waypoint this has no effect: requests come in tunnels, without TLS of their own"
                    .into()
            }
            Self::OpenApex { apex } => {
                format!("this denies the names under `{apex}`, but not `{apex}` itself").into()
            }
            Self::PublicSuffix { apex, openness: Openness::Itself } => {
                format!("anybody can register a name under `{apex}` (it is a public suffix)").into()
            }
            Self::PublicSuffix { apex, openness: Openness::Below } => {
                format!("anybody can register a name under `{apex}` (it has public suffixes below)")
                    .into()
            }
            Self::AllAddresses { block } => {
                format!("`{block}` matches only hosts that are written as addresses, and no name")
                    .into()
            }
            Self::AnyMethod { method, .. } => {
                format!("`{method}` is compared as the name of a method: it does not mean all")
                    .into()
            }
            Self::SeveralMethods { method } => {
                format!("`{method}` is compared as the name of one method").into()
            }
            Self::Literal { text, looks_like, .. } => {
                format!("`{text}` looks like {looks_like}, but is compared literally").into()
            }
            Self::NotUts46 { name } => {
                format!("`{name}` is not a name that UTS 46 allows: browsers refuse it").into()
            }
            Self::MixedScript { name, label } => {
                format!("`{name}` mixes scripts: `{}`", with_code_points(label)).into()
            }
            Self::LooksLike { name, look } => {
                format!("`{name}` looks like `{look}`, but is another name").into()
            }
            Self::LooksLikeOther { name, other } => {
                format!("`{name}` looks like `{other}`, another name in this policy").into()
            }
        }
    }

    fn remedy(&self) -> Cow<'_, str> {
        match self {
            Self::RetiringInMonitor => "remove the rule, or its `state`".into(),
            Self::NeverMatches { .. } => "remove it, or correct its conditions".into(),
            Self::Ended => "remove the rule, or set a later `until`".into(),
            Self::EndsWithin { .. } => "set a later `until` if it is still needed".into(),
            Self::DenyEnds => "remove `until`, and the rule by hand once it is not needed".into(),
            Self::SameRule { .. } | Self::EqualItem { .. } => "keep one of them".into(),
            Self::NameAndWildcard { apex } => format!("use \".{apex}\" for both").into(),
            Self::InTree { .. } => "remove it".into(),
            Self::NoMutualTls(_) => "verify client certificates, or remove `from`".into(),
            Self::Namespaces { .. } => {
                "add `principals: [\"DOMAIN/*\"]` if callers of one are meant".into()
            }
            Self::LocalDomain => {
                "if the mesh has another (`meshConfig.trustDomain`), write that one".into()
            }
            Self::Large { .. } => "use `kubectl apply --server-side`, which takes it".into(),
            Self::RuleDenied { .. } | Self::EntryDenied { .. } => {
                "remove the allow, or narrow the deny".into()
            }
            Self::AnyPort { .. } => "name the `ports`, such as `[443]`, and the proxy's cluster \
                                     `outbound|443||NAME`: otherwise a request without a port \
                                     matches none"
                .into(),
            Self::Unseen { key, .. } => {
                format!("let the gateway originate the TLS, or remove `{key}`").into()
            }
            Self::ServerNameAtWaypoint => "remove it, or keep it for gateways".into(),
            Self::OpenApex { apex } => format!("write \".{apex}\" to deny both").into(),
            Self::PublicSuffix { .. } => "list the names that are meant".into(),
            Self::AllAddresses { .. } => {
                "list names; without `hosts` an entry matches every name".into()
            }
            Self::AnyMethod { key, .. } => format!("list the methods, or remove `{key}`").into(),
            Self::SeveralMethods { .. } => "list each method by itself: `[GET, POST]`".into(),
            Self::Literal { start: Some(start), .. } => {
                format!("write \"{start}*\" for all that begins so").into()
            }
            Self::Literal { start: None, .. } => {
                "write exact texts, or parts with one `*` at the start or the end".into()
            }
            Self::NotUts46 { .. } => "check where the name comes from".into(),
            Self::MixedScript { .. } | Self::LooksLike { .. } => {
                "check that this name is meant".into()
            }
            Self::LooksLikeOther { .. } => "check that both are meant".into(),
        }
    }
}

impl Contradiction {
    fn describe(self) -> Cow<'static, str> {
        match self {
            Self::Not(key) => format!("`{key}` leaves nothing to match").into(),
            Self::SpecialNames => {
                "a name under `localhost` is allowed only where `hosts` lists exactly it".into()
            }
            Self::OtherNamespaces => "none of its principals is in one of its namespaces".into(),
            Self::NoCaller => "no caller meets all of its conditions".into(),
            Self::NoName => {
                "at a waypoint an allow must match the host of a ServiceEntry, which is a name"
                    .into()
            }
        }
    }
}

/// A label with what is not ASCII written as code points beside it.
fn with_code_points(label: &str) -> String {
    let points: Vec<_> = label
        .chars()
        .filter(|c| !c.is_ascii())
        .map(|c| format!("U+{:04X}", u32::from(c)))
        .collect();
    format!("{label} ({})", points.join(" "))
}
