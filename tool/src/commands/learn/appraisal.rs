//! Which destinations are ordinary, and what is odd about the others.

use super::sightings::{Port, is_address};
use egress_warden::host::is_special;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// From when on a destination counts as ordinary.
#[derive(Clone, Copy, Debug)]
pub(super) struct Thresholds {
    /// Requests that passed, of one namespace to one destination.
    pub(super) requests: u64,
    /// So many times as many where only one caller made them.
    pub(super) alone: u64,
    /// Distinct hours, in a log of a day or longer.
    pub(super) hours: usize,
}

/// How many times as frequent a name must be for one like it to be odd.
const MUCH_MORE: u64 = 20;

/// Why a destination is left to a person, the gravest first.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Oddity {
    /// A rule of the base denies it.
    DeniedByBase,
    /// It was never passed on when it was seen.
    Refused,
    /// The log does not say whether it was passed on.
    EndingUnsaid,
    /// It looks like a name that is seen much more often.
    Like(String),
    /// A name of the machine itself or of a metadata service.
    SpecialName,
    Address,
    /// A name with characters beyond ASCII.
    Punycode,
    /// A name of one label.
    OneLabel,
    Connect,
    PortInConflict,
    /// The log does not say which port leaves.
    PortUnsaid,
    /// The caller was not verified, in a log where others were.
    NobodyVerified,
    /// A caller whose name no policy can list.
    UnlistableCaller,
    /// Seen seldom, but for requests at a time that is not known.
    Undated,
    /// Seen seldom.
    Rare,
}

impl Oddity {
    /// The word of the JSON answer.
    pub(super) fn as_str(&self) -> &'static str {
        match self {
            Self::DeniedByBase => "denied_by_base",
            Self::Refused => "refused",
            Self::EndingUnsaid => "ending_unsaid",
            Self::Like(_) => "like",
            Self::SpecialName => "special_name",
            Self::Address => "address",
            Self::Punycode => "punycode",
            Self::OneLabel => "one_label",
            Self::Connect => "connect",
            Self::PortInConflict => "port_in_conflict",
            Self::PortUnsaid => "port_unsaid",
            Self::NobodyVerified => "not_verified",
            Self::UnlistableCaller => "unlistable_caller",
            Self::Undated => "undated",
            Self::Rare => "rare",
        }
    }
}

impl fmt::Display for Oddity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::DeniedByBase => "a rule of the base denies it",
            Self::Refused => "refused whenever seen, or failed on its way",
            Self::EndingUnsaid => "the log does not say whether it was passed on",
            Self::Like(name) => return write!(f, "like {name}, which is seen much more often"),
            Self::SpecialName => "a name of the machine or a metadata service",
            Self::Address => "an address",
            Self::Punycode => "a name beyond ASCII",
            Self::OneLabel => "a name of one label",
            Self::Connect => "a tunnel",
            Self::PortInConflict => "authority and route name different ports",
            Self::PortUnsaid => {
                "the log does not say which port leaves, as in a sidecar's log of the way to the \
                 gateway"
            }
            Self::NobodyVerified => "the caller is not verified",
            Self::UnlistableCaller => "a caller whose name no policy can list",
            Self::Undated => "without a time that can be read",
            Self::Rare => "seldom seen",
        })
    }
}

/// What is odd about a host and a port by themselves, whoever calls.
pub(super) fn oddity(host: &str, port: Port, is_connect: bool) -> Option<Oddity> {
    if is_address(host) {
        return Some(Oddity::Address);
    }
    if is_special(host) {
        return Some(Oddity::SpecialName);
    }
    if host.split('.').any(|label| label.starts_with("xn--")) {
        return Some(Oddity::Punycode);
    }
    if !host.contains('.') {
        return Some(Oddity::OneLabel);
    }
    if is_connect {
        return Some(Oddity::Connect);
    }
    match port {
        Port::Known(_) => None,
        Port::Unsaid => Some(Oddity::PortUnsaid),
        Port::Conflict => Some(Oddity::PortInConflict),
    }
}

/// The part of a name that somebody registered; the whole name where the public suffix list does not
/// know.
pub(super) fn registered(host: &str) -> &str {
    known_registered(host).unwrap_or(host)
}

/// The part of a name that somebody registered, below a suffix of the public suffix list.
pub(super) fn known_registered(host: &str) -> Option<&str> {
    let suffix = psl::suffix(host.as_bytes())?;
    if !suffix.is_known() {
        return None;
    }
    psl::domain_str(host)
}

/// Names by how often they are seen, to find those that look like a more frequent one.
#[derive(Debug)]
pub(super) struct Likeness<'a> {
    by_length: BTreeMap<usize, Vec<(&'a str, u64)>>,
    by_label: BTreeMap<&'a str, Vec<(&'a str, u64)>>,
    requests: BTreeMap<&'a str, u64>,
}

impl<'a> Likeness<'a> {
    /// Takes hosts with their requests.
    pub(super) fn new(hosts: impl Iterator<Item = (&'a str, u64)>) -> Self {
        let mut requests: BTreeMap<&str, u64> = BTreeMap::new();
        for (host, count) in hosts.filter(|(host, _)| !is_address(host)) {
            *requests.entry(registered(host)).or_default() += count;
        }
        let mut likeness = Self { by_length: BTreeMap::new(), by_label: BTreeMap::new(), requests };
        for (name, count) in &likeness.requests {
            likeness.by_length.entry(name.len()).or_default().push((name, *count));
            likeness.by_label.entry(first_label(name)).or_default().push((name, *count));
        }
        likeness
    }

    /// The names that are like a much more frequent one, each with that.
    pub(super) fn odd_names(&self) -> BTreeMap<&'a str, &'a str> {
        let pairs = self.requests.iter().filter_map(|(name, count)| {
            Some((*name, self.frequent_like(name, count.saturating_mul(MUCH_MORE))?))
        });
        pairs.collect()
    }

    /// A name that stands inside a host and is much more frequent than it, as in
    /// `api.stripe.com.evil.example`.
    pub(super) fn inside(&self, host: &str, requests: u64) -> Option<&'a str> {
        let least = requests.saturating_mul(MUCH_MORE);
        let labels: BTreeSet<usize> =
            std::iter::once(0).chain(host.match_indices('.').map(|(dot, _)| dot + 1)).collect();
        labels.iter().find_map(|start| {
            let rest = host.get(*start..)?;
            rest.match_indices('.').find_map(|(dot, _)| {
                let name = rest.get(..dot).filter(|name| name.contains('.'))?;
                let (name, count) = self.requests.get_key_value(name)?;
                (*count >= least).then_some(*name)
            })
        })
    }

    fn frequent_like(&self, name: &str, least: u64) -> Option<&'a str> {
        let most_edits = if name.len() >= 12 { 2 } else { 1 };
        if name.len() >= 6 {
            let lengths = name.len().saturating_sub(most_edits)..=name.len() + most_edits;
            let near = self.by_length.range(lengths).flat_map(|(_, names)| names).find(
                |(other, count)| {
                    *count >= least
                        && *other != name
                        && strsim::osa_distance(name, other) <= most_edits
                },
            );
            if let Some((other, _)) = near {
                return Some(other);
            }
        }
        let same_label = self.by_label.get(first_label(name)).into_iter().flatten();
        let mut frequent = same_label.filter(|(other, count)| *count >= least && *other != name);
        frequent.next().map(|(other, _)| *other)
    }
}

fn first_label(name: &str) -> &str {
    name.split('.').next().unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn odd_hosts_are_told_by_themselves() {
        let odd = |host| oddity(host, Port::Known(443), false);
        for (host, expected) in [
            ("api.stripe.com", None),
            ("169.254.169.254", Some(Oddity::Address)),
            ("[2001:db8::1]", Some(Oddity::Address)),
            ("metadata.google.internal", Some(Oddity::SpecialName)),
            ("xn--strpe-3ya.com", Some(Oddity::Punycode)),
            ("redis", Some(Oddity::OneLabel)),
        ] {
            assert_eq!(odd(host), expected, "{host}");
        }
        assert_eq!(oddity("a.example", Port::Conflict, false), Some(Oddity::PortInConflict));
        assert_eq!(oddity("a.example", Port::Unsaid, false), Some(Oddity::PortUnsaid));
        assert_eq!(oddity("a.example", Port::Known(443), true), Some(Oddity::Connect));
    }

    #[test]
    fn a_name_is_registered_below_the_public_suffix() {
        for (host, name) in [
            ("a.b.stripe.com", "stripe.com"),
            ("shop.example.co.uk", "example.co.uk"),
            ("team.github.io", "team.github.io"),
            ("x.team.github.io", "team.github.io"),
            ("github.io", "github.io"),
            ("db.corp", "db.corp"),
        ] {
            assert_eq!(registered(host), name, "{host}");
        }
        assert_eq!(known_registered("github.io"), None);
        assert_eq!(known_registered("db.corp"), None);
    }

    #[test]
    fn names_like_a_much_more_frequent_one_are_odd() {
        let seen = [
            ("api.stripe.com", 1000),
            ("api.str1pe.com", 3),
            ("stripe.co", 3),
            ("stripe.net", 3),
            ("strpie.com", 51),
            ("api.stripe.com.evil-host.net", 2),
            ("sentry.io", 40),
        ];
        let likeness = Likeness::new(seen.into_iter());
        let odd = likeness.odd_names();
        assert_eq!(
            odd.keys().copied().collect::<Vec<_>>(),
            ["str1pe.com", "stripe.co", "stripe.net"]
        );
        assert_eq!(likeness.inside("api.stripe.com.evil-host.net", 2), Some("stripe.com"));
        assert_eq!(likeness.inside("api.stripe.com", 2), None);
    }
}
