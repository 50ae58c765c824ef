//! The equivalence classes of hosts under two policies: one for each way in which their patterns can match.
//!
//! The classes of names are: each exact pattern; the names below a wildcard and below no longer one, which
//! no glob matches; the names that a glob matches and no other glob or longer wildcard; all other names.
//! Names that a glob matches together with another one have no class of their own: they are told as not
//! decided, unless it is certain that there are none. The classes of addresses are: each exact pattern; the addresses with the same smallest
//! block. The special-purpose blocks of the registries count as blocks, because forbidden addresses have
//! other verdicts.

use super::subject::Subject;
use egress_warden::host::{
    Block, Host, HostPattern, SPECIAL_NAMES, is_forbidden, special_purpose_blocks,
};
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// An equivalence class of hosts with an example.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct HostClass {
    /// The name of the class.
    pub(super) label: String,
    /// One of them, in canonical form; `None` where none was found.
    pub(super) host: Option<String>,
}

/// The classes under these patterns. An address is not a server name, so connections have none.
pub(super) fn hosts(patterns: &[HostPattern<'_>], subject: Subject) -> Vec<HostClass> {
    let mut classes = names(patterns);
    if subject == Subject::Requests {
        classes.extend(addresses(patterns));
    }
    classes
}

fn names(patterns: &[HostPattern<'_>]) -> Vec<HostClass> {
    let mut exact: BTreeSet<&str> = SPECIAL_NAMES.into_iter().collect();
    let mut under: BTreeSet<&str> = BTreeSet::from(["localhost"]);
    let mut globs: BTreeSet<&str> = BTreeSet::new();
    for pattern in patterns {
        match *pattern {
            HostPattern::Name(name) => drop(exact.insert(name)),
            HostPattern::Under(name) => drop(under.insert(name)),
            HostPattern::Tree(name) => {
                exact.insert(name);
                under.insert(name);
            }
            HostPattern::Glob(glob) => drop(globs.insert(glob.as_str())),
            HostPattern::Address(_) | HostPattern::Block(_) => {}
        }
    }
    let mut classes: Vec<HostClass> = exact.iter().map(|name| HostClass::exact(name)).collect();
    let is_of_a_glob = |name: &str| globs.iter().any(|glob| matches(glob, name));
    let taken = |name: &str| exact.contains(name) || is_of_a_glob(name);
    classes.extend(under.iter().filter_map(|parent| HostClass::under(parent, exact.len(), &taken)));
    classes.extend(globs.iter().flat_map(|glob| HostClass::of_glob(glob, &exact, &under, &globs)));
    let other = simple_labels(exact.len()).find(|name| !exact.contains(&**name));
    classes.push(HostClass { label: "other names".to_owned(), host: other });
    classes
}

/// Labels of which at least one is not taken where so many are.
fn simple_labels(taken: usize) -> impl Iterator<Item = String> {
    let numbered = (1..=taken).map(|number| format!("any{number}"));
    ["any".to_owned()].into_iter().chain(numbered)
}

/// Every label of one or two bytes.
fn short_labels() -> impl Iterator<Item = String> {
    const BYTES: &str = "abcdefghijklmnopqrstuvwxyz0123456789_";
    let one = BYTES.chars().map(String::from);
    let two = BYTES
        .chars()
        .flat_map(|first| BYTES.chars().map(move |second| String::from_iter([first, second])));
    one.chain(two)
}

fn addresses(patterns: &[HostPattern<'_>]) -> Vec<HostClass> {
    let mut exact: BTreeSet<IpAddr> = BTreeSet::new();
    let mut named: Vec<Block> = Vec::new();
    for pattern in patterns {
        match *pattern {
            HostPattern::Address(address) => drop(exact.insert(address)),
            HostPattern::Block(block) => named.push(block),
            HostPattern::Name(_)
            | HostPattern::Under(_)
            | HostPattern::Tree(_)
            | HostPattern::Glob(_) => {}
        }
    }
    let roots = [IpAddr::V4(Ipv4Addr::UNSPECIFIED), IpAddr::V6(Ipv6Addr::UNSPECIFIED)];
    let roots = roots.into_iter().filter_map(|address| Block::new(address, 0));
    let blocks: BTreeSet<Range> = (named.iter().copied())
        .chain(special_purpose_blocks())
        .chain(roots)
        .map(Range::of_block)
        .collect();
    let taken: BTreeSet<Range> =
        exact.iter().map(|address| Range::of_address(*address)).chain([MAPPED]).collect();
    let mut classes: BTreeMap<String, HostClass> = BTreeMap::new();
    for block in &blocks {
        let Some(address) = block.free(&blocks, &taken) else { continue };
        let smallest = named
            .iter()
            .filter(|block| block.contains(address))
            .max_by_key(|block| block.length())
            .map(|block| format!("{}/{}", block.base(), block.length()));
        let forbidden = if is_forbidden(address) { "forbidden " } else { "" };
        let label = match (smallest, address) {
            (Some(block), _) if forbidden.is_empty() => block,
            (Some(block), _) => format!("{block}, forbidden addresses"),
            (None, IpAddr::V4(_)) => format!("other {forbidden}IPv4 addresses"),
            (None, IpAddr::V6(_)) => format!("other {forbidden}IPv6 addresses"),
        };
        let host = Host::Address(address).canonical().into_owned();
        classes.entry(label.clone()).or_insert(HostClass { label, host: Some(host) });
    }
    let exact =
        exact.into_iter().map(|address| HostClass::exact(&Host::Address(address).canonical()));
    exact.chain(classes.into_values()).collect()
}

impl HostClass {
    fn exact(host: &str) -> Self {
        Self { label: host.to_owned(), host: Some(host.to_owned()) }
    }

    /// The names below a wildcard that are none of the exact ones and below no longer wildcard;
    /// `None` where there are none, as the longest names are exhausted.
    fn under(parent: &str, exact: usize, is_taken: &dyn Fn(&str) -> bool) -> Option<Self> {
        let below = |label: String| format!("{label}.{parent}");
        let is_name = |name: &str| Host::parse(name.as_bytes()).is_ok();
        // Where three bytes do not fit, every name there can be is tried.
        let may_be_more = is_name(&below("any".to_owned()));
        let taken = if may_be_more { exact } else { 0 };
        // With one label more than the wildcard it is below no longer one.
        let mut names = simple_labels(taken).chain(short_labels()).map(below);
        let host = names.find(|name| is_name(name) && !is_taken(name));
        let label = format!("*.{parent}");
        (host.is_some() || may_be_more).then_some(Self { label, host })
    }

    /// The names that a glob matches alone, and those that it may match with another pattern.
    fn of_glob(
        glob: &str,
        exact: &BTreeSet<&str>,
        under: &BTreeSet<&str>,
        globs: &BTreeSet<&str>,
    ) -> Vec<Self> {
        let others: Vec<String> = globs
            .iter()
            .filter(|other| **other != glob)
            .map(|other| (*other).to_owned())
            // What is under a name that the glob's own end is under is all of the glob.
            .chain(
                under.iter().filter(|apex| !is_under(glob, apex)).map(|apex| format!("*.{apex}")),
            )
            .filter(|other| may_meet(glob, other))
            .collect();
        let names = simple_labels(exact.len()).chain(short_labels());
        let names = names.map(|label| glob.replace('*', &label));
        let is_alone = |name: &String| {
            let is_of = |other: &String| match other.strip_prefix("*.") {
                Some(apex) if !apex.contains('*') => is_under(name, apex),
                _ => matches(other, name),
            };
            Host::parse(name.as_bytes()).is_ok()
                && matches(glob, name)
                && !exact.contains(&**name)
                && !others.iter().any(is_of)
        };
        let alone = Self { label: glob.to_owned(), host: names.into_iter().find(is_alone) };
        // Of two globs the first tells of both.
        let met = others.iter().filter(|other| !globs.contains(&***other) || glob < other.as_str());
        let met = met.map(|other| format!("{glob} and {other} together"));
        let met = met.map(|label| Self { label, host: None });
        [alone].into_iter().chain(met).collect()
    }
}

fn matches(glob: &str, name: &str) -> bool {
    matches!(HostPattern::parse(glob), Ok(HostPattern::Glob(glob)) if glob.matches(name))
}

fn is_under(name: &str, apex: &str) -> bool {
    name.strip_suffix(apex).is_some_and(|start| start.ends_with('.'))
}

/// Whether a name may match both patterns: `false` is certain.
fn may_meet(one: &str, other: &str) -> bool {
    let labels = |text: &'_ str| -> Vec<String> { text.rsplit('.').map(str::to_owned).collect() };
    let (one, other) = (labels(one), labels(other));
    let is_open = |labels: &[String]| labels.last().is_some_and(|first| first == "*");
    let fits = |short: &[String], long: &[String]| short.len() >= long.len() || is_open(short);
    let may_be_one = |(one, other): (&String, &String)| match (one.split_once('*'), other) {
        (Some(_), other) if other.contains('*') => true,
        (Some((start, _)), other) => {
            let end = one.rsplit_once('*').map_or("", |(_, end)| end);
            other.starts_with(start) && other.ends_with(end)
        }
        (None, other) => match (other.split_once('*'), other.rsplit_once('*')) {
            (Some((start, _)), Some((_, end))) => one.starts_with(start) && one.ends_with(end),
            _ => one == other,
        },
    };
    fits(&one, &other) && fits(&other, &one) && one.iter().zip(&other).all(may_be_one)
}

/// Addresses of one family from the first to the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Range {
    is_v6: bool,
    first: u128,
    last: u128,
}

/// IPv4-mapped addresses: no host is one, since each is read as the IPv4 address.
const MAPPED: Range = Range { is_v6: true, first: 0xffff_0000_0000, last: 0xffff_ffff_ffff };

impl Range {
    fn of_address(address: IpAddr) -> Self {
        let bits = match address {
            IpAddr::V4(v4) => v4.to_bits().into(),
            IpAddr::V6(v6) => v6.to_bits(),
        };
        Self { is_v6: address.is_ipv6(), first: bits, last: bits }
    }

    fn of_block(block: Block) -> Self {
        let base = Self::of_address(block.base());
        let width: u32 = if base.is_v6 { 128 } else { 32 };
        let host_bits = width.saturating_sub(block.length().into());
        let hosts = 1_u128.checked_shl(host_bits).map_or(u128::MAX, |size| size - 1);
        Self { last: base.first | hosts, ..base }
    }

    /// An address of this block that lies in no smaller one and is not taken.
    fn free(&self, blocks: &BTreeSet<Self>, taken: &BTreeSet<Self>) -> Option<IpAddr> {
        let is_inside = |it: &&Self| {
            **it != *self
                && it.is_v6 == self.is_v6
                && self.first <= it.first
                && it.last <= self.last
        };
        let start = Self { is_v6: self.is_v6, first: self.first, last: 0 };
        let end = Self { is_v6: self.is_v6, first: self.last, last: u128::MAX };
        let mut inside: Vec<&Self> = blocks.range(start..=end).filter(is_inside).collect();
        inside.extend(taken.range(start..=end).filter(|it| it.is_v6 == self.is_v6));
        inside.sort_unstable();
        let mut free = self.first;
        for range in inside {
            if free < range.first {
                break;
            }
            free = free.max(range.last.checked_add(1)?);
        }
        (free <= self.last).then(|| self.address(free)).flatten()
    }

    fn address(&self, bits: u128) -> Option<IpAddr> {
        Some(match self.is_v6 {
            true => IpAddr::V6(Ipv6Addr::from_bits(bits)),
            false => IpAddr::V4(Ipv4Addr::from_bits(u32::try_from(bits).ok()?)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(patterns: &[&str]) -> BTreeMap<String, String> {
        let patterns: Vec<_> =
            patterns.iter().map(|text| HostPattern::parse(text).expect(text)).collect();
        let classes = hosts(&patterns, Subject::Requests).into_iter();
        classes.map(|class| (class.label, class.host.expect("an example"))).collect()
    }

    #[test]
    fn a_glob_has_a_class_of_its_own_and_what_it_shares_is_not_decided() {
        let classes = |texts: &[&str]| -> Vec<(String, Option<String>)> {
            let patterns: Vec<_> =
                texts.iter().map(|text| HostPattern::parse(text).expect(text)).collect();
            let classes = names(&patterns).into_iter();
            let special = |it: &HostClass| {
                it.label.contains("metadata")
                    || it.label.contains("instance")
                    || it.label.contains("localhost")
            };
            classes.filter(|it| !special(it)).map(|it| (it.label, it.host)).collect()
        };
        let told = |label: &str, host: Option<&str>| (label.to_owned(), host.map(str::to_owned));
        let other = told("other names", Some("any"));
        assert_eq!(
            classes(&["api-*.a.test", "sts.*.b.test", ".a.test"]),
            [
                told("a.test", Some("a.test")),
                told("*.a.test", Some("any.a.test")),
                told("api-*.a.test", Some("api-any.a.test")),
                told("sts.*.b.test", Some("sts.any.b.test")),
                other.clone(),
            ]
        );
        assert_eq!(
            classes(&["a*.a.test", "*b.a.test"]),
            [
                told("*b.a.test", Some("bb.a.test")),
                told("*b.a.test and a*.a.test together", None),
                told("a*.a.test", Some("aany.a.test")),
                other,
            ]
        );
    }

    #[test]
    fn every_name_is_in_one_class() {
        let found =
            found(&["a.example.com", "any.example.com", "*.example.com", "*.b.example.com"]);
        for (label, host) in [
            ("a.example.com", "a.example.com"),
            ("*.example.com", "any1.example.com"),
            ("*.b.example.com", "any.b.example.com"),
            ("other names", "any"),
            ("metadata.google.internal", "metadata.google.internal"),
            ("*.localhost", "any.localhost"),
        ] {
            assert_eq!(found.get(label).map(String::as_str), Some(host), "{label}");
        }
    }

    #[test]
    fn every_address_is_in_one_class() {
        let found = found(&["192.0.2.7", "8.8.8.0/24", "8.8.8.0/25", "0.0.0.0/0", "::/0"]);
        for (label, host) in [
            ("192.0.2.7", "192.0.2.7"),
            ("8.8.8.0/25", "8.8.8.0"),
            ("8.8.8.0/24", "8.8.8.128"),
            ("0.0.0.0/0", "1.0.0.0"),
            ("0.0.0.0/0, forbidden addresses", "0.0.0.0"),
            ("::/0, forbidden addresses", "[::]"),
        ] {
            assert_eq!(found.get(label).map(String::as_str), Some(host), "{label}");
        }
        assert!(!found.contains_key("other IPv4 addresses"), "{found:?}");
    }

    #[test]
    fn a_block_that_is_used_up_by_smaller_ones_has_no_class() {
        let found = found(&["8.8.8.0/24", "8.8.8.0/25", "8.8.8.128/25", "9.9.9.9/32", "9.9.9.9"]);
        assert!(!found.contains_key("8.8.8.0/24"), "{found:?}");
        assert!(!found.contains_key("9.9.9.9/32"), "{found:?}");
        assert!(found.contains_key("9.9.9.9"), "{found:?}");
        assert!(found.contains_key("other IPv4 addresses"), "{found:?}");
    }

    #[test]
    fn every_class_is_told_apart_by_its_own_patterns_only() {
        // The host of a class matches a wildcard or a block only where its label names it.
        let patterns =
            ["*.example.com", "*.b.example.com", "b.example.com", "10.0.0.0/8", "10.1.0.0/16"];
        for (label, host) in found(&patterns) {
            let host = Host::parse(host.as_bytes()).expect(&label);
            let is_under =
                matches!(&host, Host::Name(name) if name.as_str().ends_with(".b.example.com"));
            assert_eq!(is_under, label == "*.b.example.com", "{label}");
            let Host::Address(address) = host else { continue };
            let inner = Block::new("10.1.0.0".parse().unwrap(), 16).unwrap();
            assert_eq!(inner.contains(address), label.starts_with("10.1.0.0/16"), "{label}");
        }
    }

    #[test]
    fn a_wildcard_over_the_longest_names_has_an_example_or_no_name() {
        let label = "a".repeat(63);
        let parent = |length: usize| {
            let rest = "b".repeat(length - 3 * 64);
            format!("{label}.{label}.{label}.{rest}")
        };
        for (length, example) in
            [(249, Some("any")), (250, Some("aa")), (251, Some("a")), (252, None), (253, None)]
        {
            let parent = parent(length);
            let found = HostClass::under(&parent, 0, &|_| false);
            let expected = example.map(|it| Some(format!("{it}.{parent}")));
            let host = found.map(|class| class.host);
            // Of two bytes each will do.
            let host = match length {
                250 => host.map(|host| host.map(|_| format!("aa.{parent}"))),
                _ => host,
            };
            assert_eq!(host, expected, "{length}");
        }
    }

    #[test]
    fn no_example_is_a_name_that_is_taken() {
        let parent = format!("{0}.{0}.{0}.{1}", "a".repeat(63), "b".repeat(59));
        assert_eq!(parent.len(), 251);
        let names: Vec<String> = short_labels().map(|it| format!("{it}.{parent}")).collect();
        let taken = |count: usize| {
            HostClass::under(&parent, count, &|it| names.iter().take(count).any(|name| name == it))
        };
        let example = |class: HostClass| class.host.unwrap();
        assert_eq!(taken(36).map(example), Some(format!("_.{parent}")));
        assert_eq!(taken(37), None);
        // Longer labels fit, and this many names are not looked through.
        let parent = &parent[2..];
        let names: Vec<String> =
            short_labels().chain(simple_labels(2000)).map(|it| format!("{it}.{parent}")).collect();
        let exact: BTreeSet<&str> = names.iter().map(String::as_str).collect();
        let class = HostClass::under(parent, exact.len(), &|it| exact.contains(it)).unwrap();
        assert_eq!(class.host, None, "{class:?}");
    }
}
