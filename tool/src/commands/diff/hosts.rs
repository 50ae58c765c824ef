//! The equivalence classes of hosts under two policies: one for each way in which their patterns can match.
//!
//! The classes of names are: each exact pattern; the names with the same longest wildcard and the same globs
//! (see [`names`]). The classes of addresses are: each exact pattern; the addresses with the same smallest
//! block. The special-purpose blocks of the registries count as blocks, because forbidden addresses have
//! other verdicts.

use super::names;
use super::subject::Subject;
use egress_warden::host::{Block, Host, HostPattern, is_forbidden, special_purpose_blocks};
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
    let mut classes = names::names(patterns);
    if subject == Subject::Requests {
        classes.extend(addresses(patterns));
    }
    classes
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
    pub(super) fn exact(host: &str) -> Self {
        Self { label: host.to_owned(), host: Some(host.to_owned()) }
    }
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
}
