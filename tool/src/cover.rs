//! Which patterns say at least what another says.
//!
//! Every answer `true` is certain; `false` also stands for what cannot be told.

use crate::classes::callers::service_account_of;
use crate::globs::{self, GlobPlaces, glob_of};
use crate::policy_file::{Callers, Destinations, List};
use egress_warden::host::{Block, HostPattern};
use egress_warden::policy::{Action, PathPattern, TextPattern, namespace_of};
use std::cell::OnceCell;
use std::net::IpAddr;

/// A pattern of one field.
pub(crate) trait Pattern {
    /// Whether everything that matches the other matches this.
    fn covers(&self, other: &Self) -> bool;
    /// Whether exactly one value matches.
    fn is_exact(&self) -> bool;
    /// What matches, as keys.
    fn keys(&self) -> Keys;
    /// The pattern, where it is one over hosts: globs are found by more than keys.
    fn of_hosts(&self) -> Option<HostPattern<'_>> {
        None
    }
}

/// What matches a pattern, as keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Keys {
    /// Exactly this.
    One(Key),
    /// Exactly this, written in two ways.
    Either(Key, Key),
    /// Both together.
    Both(Key, Key),
    /// This, or only some of it.
    Some(Key),
}

/// A text, or all texts that begin so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Key {
    bytes: Vec<u8>,
    is_open: bool,
}

impl Key {
    /// A text behind the mark of its kind; texts of different kinds never meet.
    fn exact(kind: &[u8], text: impl IntoIterator<Item = u8>) -> Self {
        Self { bytes: kind.iter().copied().chain(text).collect(), is_open: false }
    }

    fn open(kind: &[u8], start: impl IntoIterator<Item = u8>) -> Self {
        Self { is_open: true, ..Self::exact(kind, start) }
    }
}

impl Pattern for HostPattern<'_> {
    fn covers(&self, other: &Self) -> bool {
        let is_under = |name: &str, apex: &str| {
            name.strip_suffix(apex).is_some_and(|start| start.ends_with('.'))
        };
        match (*self, *other) {
            (Self::Name(name), Self::Name(other)) => name == other,
            (Self::Under(apex), Self::Name(name) | Self::Tree(name)) => is_under(name, apex),
            (Self::Under(apex), Self::Under(other)) => apex == other || is_under(other, apex),
            (Self::Tree(apex), Self::Name(other) | Self::Under(other) | Self::Tree(other)) => {
                apex == other || is_under(other, apex)
            }
            (Self::Under(apex) | Self::Tree(apex), Self::Glob(glob)) => {
                apex == glob.suffix() || is_under(glob.suffix(), apex)
            }
            (Self::Glob(glob), other) => globs::covers(glob, other),
            (Self::Address(address), Self::Address(other)) => address == other,
            (Self::Block(block), Self::Address(address)) => block.contains(address),
            (Self::Block(block), Self::Block(other)) => {
                block.length() <= other.length() && block.contains(other.base())
            }
            _ => false,
        }
    }

    fn is_exact(&self) -> bool {
        matches!(self, Self::Name(_) | Self::Address(_))
    }

    fn keys(&self) -> Keys {
        // Names from their end, addresses by their bits.
        let exact = |name: &str| Key::exact(b"n", name.bytes().rev());
        let under = |apex: &str| Key::open(b"n", apex.bytes().rev().chain([b'.']));
        match *self {
            Self::Name(name) => Keys::One(exact(name)),
            Self::Under(apex) => Keys::One(under(apex)),
            Self::Tree(apex) => Keys::Both(exact(apex), under(apex)),
            Self::Glob(glob) => Keys::Some(under(glob.suffix())),
            Self::Address(address) => Keys::One(Key::exact(family(address), bits(address))),
            Self::Block(block) => {
                let bits = bits(block.base()).take(usize::from(block.length()));
                Keys::One(Key::open(family(block.base()), bits))
            }
        }
    }

    fn of_hosts(&self) -> Option<HostPattern<'_>> {
        Some(*self)
    }
}

fn family(address: IpAddr) -> &'static [u8] {
    if address.is_ipv4() { b"4" } else { b"6" }
}

/// The bits of an address, the highest first.
fn bits(address: IpAddr) -> impl Iterator<Item = u8> {
    let bytes = match address {
        IpAddr::V4(v4) => v4.octets().to_vec(),
        IpAddr::V6(v6) => v6.octets().to_vec(),
    };
    bytes.into_iter().flat_map(|byte| (0..8).rev().map(move |bit| (byte >> bit) & 1))
}

/// A host pattern and those that cover it, from narrow to wide.
pub(crate) fn widening(host: HostPattern<'_>) -> impl Iterator<Item = HostPattern<'_>> {
    std::iter::successors(Some(host), |host| match *host {
        HostPattern::Name(name) | HostPattern::Under(name) => Some(HostPattern::Tree(name)),
        HostPattern::Tree(name) => {
            name.split_once('.').map(|(_, parent)| HostPattern::Under(parent))
        }
        HostPattern::Glob(glob) => Some(HostPattern::Under(glob.suffix())),
        HostPattern::Address(address) => {
            let width = if address.is_ipv4() { 32 } else { 128 };
            Block::new(address, width).map(HostPattern::Block)
        }
        HostPattern::Block(block) => {
            let length = block.length().checked_sub(1)?;
            Block::new(block.base(), length).map(HostPattern::Block)
        }
    })
}

impl Pattern for TextPattern<'_> {
    fn covers(&self, other: &Self) -> bool {
        match (*self, *other) {
            (Self::Present, _) => true,
            (Self::Exact(text), Self::Exact(other)) => text == other,
            (Self::Prefix(prefix), Self::Exact(other) | Self::Prefix(other)) => {
                other.starts_with(prefix)
            }
            (Self::Suffix(suffix), Self::Exact(other) | Self::Suffix(other)) => {
                other.ends_with(suffix)
            }
            _ => false,
        }
    }

    fn is_exact(&self) -> bool {
        matches!(self, Self::Exact(_))
    }

    fn keys(&self) -> Keys {
        let (forwards, backwards) = (b"<", b">");
        match *self {
            Self::Exact(text) => Keys::Either(
                Key::exact(forwards, text.bytes()),
                Key::exact(backwards, text.bytes().rev()),
            ),
            Self::Prefix(start) => Keys::One(Key::open(forwards, start.bytes())),
            Self::Suffix(end) => Keys::One(Key::open(backwards, end.bytes().rev())),
            Self::Present => Keys::One(Key::open(b"", [])),
        }
    }
}

impl Pattern for PathPattern<'_> {
    fn covers(&self, other: &Self) -> bool {
        match (*self, *other) {
            (Self::Text(TextPattern::Present), _) => true,
            (Self::Text(text), Self::Text(other)) if !self.has_encoded_slash() => {
                !PathPattern::Text(other).has_encoded_slash() && text.covers(&other)
            }
            (Self::Text(TextPattern::Prefix(start)), _) if !self.has_encoded_slash() => {
                literal_start(*other).starts_with(start)
            }
            _ => self == other,
        }
    }

    fn is_exact(&self) -> bool {
        matches!(self, Self::Text(TextPattern::Exact(_))) && !self.has_encoded_slash()
    }

    fn keys(&self) -> Keys {
        match self {
            Self::Text(text) if !self.has_encoded_slash() => text.keys(),
            Self::Text(TextPattern::Suffix(_)) => Keys::Some(Key::open(b"", [])),
            _ => Keys::Some(Key::open(b"<", literal_start(*self).bytes())),
        }
    }
}

/// What every path that matches begins with, in both of its readings.
fn literal_start(pattern: PathPattern<'_>) -> &str {
    let text = match pattern {
        PathPattern::Text(TextPattern::Suffix(_)) => "",
        pattern => pattern.text(),
    };
    text.split(['{', '%']).next().unwrap_or_default()
}

impl Pattern for u16 {
    fn covers(&self, other: &Self) -> bool {
        self == other
    }

    fn is_exact(&self) -> bool {
        true
    }

    fn keys(&self) -> Keys {
        Keys::One(Key::exact(b"", self.to_be_bytes()))
    }
}

impl Pattern for &str {
    fn covers(&self, other: &Self) -> bool {
        self == other
    }

    fn is_exact(&self) -> bool {
        true
    }

    fn keys(&self) -> Keys {
        Keys::One(Key::exact(b"", self.bytes()))
    }
}

/// The keys of a list's patterns, in order: what covers one is found without going through all.
#[derive(Debug)]
struct Index {
    exact: Vec<Vec<u8>>,
    /// None of them begins with another.
    open: Vec<Vec<u8>>,
    /// The globs among patterns over hosts.
    globs: GlobPlaces,
    is_exact: bool,
}

impl Index {
    fn of<T: Pattern>(patterns: &[T]) -> Self {
        let (mut exact, mut open) = (Vec::new(), Vec::new());
        for pattern in patterns {
            let keys = match pattern.keys() {
                Keys::One(key) => [Some(key), None],
                Keys::Either(key, other) | Keys::Both(key, other) => [Some(key), Some(other)],
                Keys::Some(_) => continue,
            };
            for Key { bytes, is_open } in keys.into_iter().flatten() {
                if is_open { open.push(bytes) } else { exact.push(bytes) }
            }
        }
        exact.sort_unstable();
        open.sort_unstable();
        open.dedup_by(|next, kept| next.starts_with(kept));
        let globs = patterns.iter().filter_map(|pattern| glob_of(&pattern.of_hosts()?));
        let globs = GlobPlaces::new(&globs.collect::<Vec<_>>());
        Self { exact, open, globs, is_exact: patterns.iter().all(T::is_exact) }
    }

    /// Whether one of the patterns covers this one.
    fn covers(&self, pattern: &impl Pattern) -> bool {
        let is_covered = |Key { bytes, is_open }: &Key| {
            // Of what it may begin with, the last in order is the only one.
            let before = self.open.partition_point(|open| open <= bytes).checked_sub(1);
            let is_begun = before
                .and_then(|before| self.open.get(before))
                .is_some_and(|open| bytes.starts_with(open));
            is_begun || (!is_open && self.exact.binary_search(bytes).is_ok())
        };
        let by_keys = match pattern.keys() {
            Keys::One(key) | Keys::Some(key) => is_covered(&key),
            Keys::Either(key, other) => is_covered(&key) || is_covered(&other),
            Keys::Both(key, other) => is_covered(&key) && is_covered(&other),
        };
        by_keys || pattern.of_hosts().is_some_and(|host| !self.globs.covering(host).is_empty())
    }

    /// Whether this pattern covers one of the patterns that match one value, or may.
    fn is_met(&self, pattern: &impl Pattern) -> bool {
        let is_met = |Key { bytes, is_open }: &Key| {
            let first = self.exact.partition_point(|exact| exact < bytes);
            self.exact.get(first).is_some_and(|exact| {
                if *is_open { exact.starts_with(bytes) } else { exact == bytes }
            })
        };
        match pattern.keys() {
            Keys::One(key) | Keys::Some(key) => is_met(&key),
            Keys::Either(key, other) | Keys::Both(key, other) => is_met(&key) || is_met(&other),
        }
    }
}

/// A list of patterns that is asked again and again.
#[derive(Debug)]
pub(crate) struct Patterns<'p, T> {
    listed: &'p [T],
    index: OnceCell<Index>,
}

impl<'p, T: Pattern> Patterns<'p, T> {
    /// Lists up to here are gone through: that is as quick, and needs no memory.
    const FEW: usize = 8;

    /// An absent list has no patterns.
    pub(crate) fn of(list: &'p List<'_, T>) -> Self
    where
        T: Copy,
    {
        Self::listed(list.as_ref().map_or(&[], |list| list.patterns()))
    }

    /// Of patterns that are no list of a policy.
    pub(crate) fn listed(listed: &'p [T]) -> Self {
        Self { listed, index: OnceCell::new() }
    }

    /// Whether one of them covers this one.
    pub(crate) fn covers(&self, pattern: &T) -> bool {
        if self.listed.len() <= Self::FEW {
            return self.listed.iter().any(|listed| listed.covers(pattern));
        }
        self.index().covers(pattern)
    }

    /// Whether each of the others is covered.
    fn cover(&self, others: &Self) -> bool {
        others.listed.iter().all(|other| self.covers(other))
    }

    /// Whether what they match is so many values, none of which matches this one.
    fn are_values_outside(&self, pattern: &T) -> bool {
        if self.listed.len() <= Self::FEW {
            return self.listed.iter().all(|it| it.is_exact() && !pattern.covers(it));
        }
        let index = self.index();
        index.is_exact && !index.is_met(pattern)
    }

    fn index(&self) -> &Index {
        self.index.get_or_init(|| Index::of(self.listed))
    }
}

/// Whether a field and its `not` form contradict each other.
pub(crate) fn excludes_itself<T: Pattern + Copy>(field: &List<'_, T>, not: &List<'_, T>) -> bool {
    field.is_some() && not.is_some() && Patterns::of(not).cover(&Patterns::of(field))
}

/// A field with its `not` form.
#[derive(Debug)]
struct Field<'p, T> {
    listed: Option<Patterns<'p, T>>,
    not: Patterns<'p, T>,
}

impl<'p, T: Pattern + Copy> Field<'p, T> {
    fn of(listed: &'p List<'_, T>, not: &'p List<'_, T>) -> Self {
        Self { listed: listed.is_some().then(|| Patterns::of(listed)), not: Patterns::of(not) }
    }

    /// Whether an exact value matches; the second where there is none, and one is asked for.
    fn admits<'v>(&'v self, value: Option<T>, if_unknown: bool) -> bool
    where
        'p: 'v,
    {
        match value {
            Some(value) => {
                self.listed.as_ref().is_none_or(|listed| listed.covers(&value))
                    && !self.not.covers(&value)
            }
            None => (self.listed.is_none() && self.not.listed.is_empty()) || if_unknown,
        }
    }

    fn covers(&self, other: &Self) -> bool {
        let admits = match (&self.listed, &other.listed) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(outer), Some(inner)) => outer.cover(inner),
        };
        admits
            && self.not.listed.iter().all(|excluded| {
                let listed = other.listed.as_ref();
                other.not.covers(excluded)
                    || listed.is_some_and(|listed| listed.are_values_outside(excluded))
            })
    }
}

/// What an entry of `to` asks, beside the hosts that it lists.
#[derive(Debug)]
pub(crate) struct Demands<'p> {
    not_hosts: Patterns<'p, HostPattern<'p>>,
    ports: Field<'p, u16>,
    methods: Field<'p, &'p str>,
    paths: Field<'p, PathPattern<'p>>,
    asks_query: bool,
}

impl<'p> Demands<'p> {
    pub(crate) fn of(entry: &'p Destinations<'p>) -> Self {
        Self {
            not_hosts: Patterns::of(&entry.not_hosts),
            ports: Field::of(&entry.ports, &entry.not_ports),
            methods: Field::of(&entry.methods, &entry.not_methods),
            paths: Field::of(&entry.paths, &entry.not_paths),
            asks_query: entry.query.is_some() || entry.not_query.is_some(),
        }
    }

    /// Those of an entry that asks nothing.
    pub(crate) fn any() -> Self {
        Self {
            not_hosts: Patterns::of(&None),
            ports: Field::of(&None, &None),
            methods: Field::of(&None, &None),
            paths: Field::of(&None, &None),
            asks_query: false,
        }
    }

    /// The same, for all ports but these.
    pub(crate) fn outside_ports(self, ports: &'p [u16]) -> Self {
        Self { ports: Field { listed: None, not: Patterns::listed(ports) }, ..self }
    }

    /// How many conditions there are.
    pub(crate) fn count(&self) -> usize {
        fn of<T>(field: &Field<'_, T>) -> usize {
            usize::from(field.listed.is_some())
                .saturating_add(usize::from(!field.not.listed.is_empty()))
        }
        let not_hosts = usize::from(!self.not_hosts.listed.is_empty());
        let query = usize::from(self.asks_query);
        [not_hosts, of(&self.ports), of(&self.methods), of(&self.paths), query].iter().sum()
    }

    /// Whether whatever meets the other's demands meets these, as far as hosts are not asked.
    pub(crate) fn cover(&self, other: &Self) -> bool {
        self.ports.covers(&other.ports)
            && self.methods.covers(&other.methods)
            && self.paths.covers(&other.paths)
            // Whether one query covers another is not told.
            && !self.asks_query
    }

    /// Whether `notHosts` takes nothing out of this host that the other's lets in. `None`: any host.
    pub(crate) fn spare_none_of(&self, host: Option<HostPattern<'_>>, other: &Self) -> bool {
        match host {
            Some(host) if host.is_exact() => {
                !self.not_hosts.covers(&host) || other.not_hosts.covers(&host)
            }
            _ => other.not_hosts.cover(&self.not_hosts),
        }
    }
}

/// What an entry of `from` asks.
#[derive(Debug)]
pub(crate) struct CallerDemands<'p> {
    principals: Field<'p, TextPattern<'p>>,
    namespaces: Field<'p, TextPattern<'p>>,
    service_accounts: Field<'p, &'p str>,
}

impl<'p> CallerDemands<'p> {
    pub(crate) fn of(entry: &'p Callers<'p>) -> Self {
        Self {
            principals: Field::of(&entry.principals, &entry.not_principals),
            namespaces: Field::of(&entry.namespaces, &entry.not_namespaces),
            service_accounts: Field::of(&entry.service_accounts, &entry.not_service_accounts),
        }
    }

    /// Whether a verified caller meets them in a rule that so acts. A namespace that its id does not say
    /// is unknown: that matches in a deny rule only.
    pub(crate) fn are_met_by(&self, principal: &str, action: Action) -> bool {
        let if_unknown = action == Action::Deny;
        let namespace = namespace_of(principal).map(TextPattern::Exact);
        let account = service_account_of(principal);
        self.principals.admits(Some(TextPattern::Exact(principal)), if_unknown)
            && self.namespaces.admits(namespace, if_unknown)
            && self.service_accounts.admits(account.as_deref(), if_unknown)
    }

    /// Whether all of the other's callers are among these.
    pub(crate) fn cover(&self, other: &Self) -> bool {
        self.principals.covers(&other.principals)
            && self.namespaces.covers(&other.namespaces)
            && self.service_accounts.covers(&other.service_accounts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;
    use std::fmt::Debug;

    #[test]
    fn a_pattern_covers_what_it_matches_and_no_more() {
        let host = |text| HostPattern::parse(text).unwrap();
        for (outer, inner, covers) in [
            ("a.test", "a.test", true),
            ("*.a.test", "b.a.test", true),
            ("*.a.test", "a.test", false),
            ("*.a.test", "ba.test", false),
            ("*.a.test", "*.b.a.test", true),
            ("*.b.a.test", "*.a.test", false),
            ("10.0.0.0/8", "10.1.2.3", true),
            ("10.0.0.0/8", "10.1.0.0/16", true),
            ("10.1.0.0/16", "10.0.0.0/8", false),
            ("10.0.0.0/8", "11.0.0.0", false),
            ("a.test", "*.a.test", false),
            ("*.s3.*.a.test", "b.s3.c.a.test", true),
            ("*.s3.*.a.test", "*.s3.c.a.test", true),
            ("*.s3.*.a.test", "x*.s3.*.a.test", true),
            ("x*.s3.*.a.test", "*.s3.*.a.test", false),
            ("a*.b.test", "*.ab.b.test", false),
        ] {
            assert_eq!(host(outer).covers(&host(inner)), covers, "{outer} {inner}");
        }
        let text = |text| TextPattern::parse(text).unwrap();
        for (outer, inner, covers) in [
            ("*", "/a*", true),
            ("/a*", "/ab", true),
            ("/a*", "/ab*", true),
            ("/ab*", "/a*", false),
            ("*b", "*ab", true),
            ("*b", "/b*", false),
            ("/a", "/a", true),
            ("/a", "/a*", false),
        ] {
            assert_eq!(text(outer).covers(&text(inner)), covers, "{outer} {inner}");
        }
    }

    fn texts() -> impl Strategy<Value = String> {
        let plain = "[ab]{1,4}";
        prop_oneof![
            plain.prop_map(|it| it),
            plain.prop_map(|it| format!("{it}*")),
            plain.prop_map(|it| format!("*{it}")),
            Just("*".to_owned()),
        ]
    }

    fn hosts() -> impl Strategy<Value = String> {
        prop_oneof![
            1 => "[ab](\\.[ab]{1,2}){0,3}".prop_map(|it| it),
            1 => "[ab]\\.[ab](\\.[ab]{1,2}){0,2}".prop_map(|it| format!("*.{it}")),
            1 => "[ab]\\.[ab](\\.[ab]{1,2}){0,2}".prop_map(|it| format!(".{it}")),
            4 => "[ab*]{1,2}(\\.[ab*]{1,2})?".prop_map(|it| format!("{it}.a.b")),
            2 => "[ab]{1,2}(\\.[ab]{1,2})?".prop_map(|it| format!("{it}.a.b")),
            1 => (0_u8..4).prop_map(|it| format!("10.0.0.{it}")),
            1 => (0_u8..4, 30_u8..=32).prop_map(|(it, length)| {
                let base = it & (0xff_u8.checked_shl(u32::from(32 - length)).unwrap_or(0));
                format!("10.0.0.{base}/{length}")
            }),
            1 => Just("0.0.0.0/0".to_owned()),
            1 => Just("::/0".to_owned()),
            1 => Just("[2001:db8::1]".to_owned()),
            1 => Just("2001:db8::/32".to_owned()),
        ]
    }

    /// What an index says is what going through the list says.
    fn assert_index<T: Pattern + Debug>(patterns: &[T], other: &T) {
        let index = Index::of(patterns);
        let is_covered = patterns.iter().any(|it| it.covers(other));
        assert_eq!(index.covers(other), is_covered, "{patterns:?} {other:?}");
        let is_met = patterns.iter().any(|it| it.is_exact() && other.covers(it));
        // A glob only may be met, and so may be what is not one value.
        let may_be = matches!(other.keys(), Keys::Some(_))
            || patterns.iter().any(|it| matches!(it.keys(), Keys::Both(..)));
        match may_be {
            true => assert!(index.is_met(other) || !is_met, "{patterns:?} {other:?}"),
            false => assert_eq!(index.is_met(other), is_met, "{patterns:?} {other:?}"),
        }
        assert_eq!(index.is_exact, patterns.iter().all(T::is_exact), "{patterns:?}");
    }

    proptest! {
        #[test]
        fn an_index_of_texts_covers_what_its_patterns_cover(
            all in vec(texts(), 0..12), other in texts()
        ) {
            let parse = |text| TextPattern::parse(text).unwrap();
            let all: Vec<_> = all.iter().map(|it| parse(it)).collect();
            assert_index(&all, &parse(&other));
        }

        #[test]
        fn an_index_of_hosts_covers_what_its_patterns_cover(
            all in vec(hosts(), 0..12), other in hosts()
        ) {
            let parse = |text| HostPattern::parse(text).ok();
            let all: Vec<_> = all.iter().filter_map(|it| parse(it)).collect();
            let Some(other) = parse(&other) else { return Ok(()) };
            assert_index(&all, &other);
            let is_covered = all.iter().any(|it| it.covers(&other));
            let is_listed = |wider| all.contains(&wider);
            let globs = all.iter().filter_map(glob_of);
            let globs = GlobPlaces::new(&globs.collect::<Vec<_>>());
            let by_glob = !globs.covering(other).is_empty();
            prop_assert_eq!(widening(other).any(is_listed) || by_glob, is_covered);
        }
    }
}
