//! A map from host patterns to numbers, looked up by host.

use super::globs::Globs;
use super::suffixes::{Suffixes, hash_name};
use crate::host::{Block, Host, HostPattern};
use crate::key_table::KeyTable;
use std::cell::OnceCell;
use std::net::IpAddr;

/// Numbers by host pattern.
#[derive(Debug, Default)]
pub(super) struct HostMap {
    names: KeyTable,
    /// Wildcards, by the name that they stand above.
    under: KeyTable,
    /// How many labels the names in `under` have: bit N for N labels.
    under_depths: u128,
    /// Patterns for a name and those under it, by that name.
    trees: KeyTable,
    /// The same of `trees`.
    tree_depths: u128,
    globs: Globs,
    /// Addresses and blocks, see [`AddressKey`].
    addresses: KeyTable,
    /// The scopes in `addresses`, most specific first, each once.
    address_scopes: Vec<AddressScope>,
    /// What a number is before it is set.
    initial: u32,
}

/// By what kind of pattern a host was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Exactly this name, or exactly this address.
    Exact,
    /// A wildcard over names.
    Under,
    /// A pattern for a name and those under it, by that name.
    Apex,
    /// A glob over names.
    Glob,
    /// A block of addresses.
    Block(Block),
}

/// A host, and the hashes by which every map finds it: made once, at the first look-up, so that a
/// map costs what its own patterns cost, however many labels the host has.
#[derive(Debug)]
pub(super) struct HostKeys<'a> {
    host: &'a Host<'a>,
    suffixes: OnceCell<Suffixes>,
}

impl<'a> HostKeys<'a> {
    pub(super) fn new(host: &'a Host<'a>) -> Self {
        Self { host, suffixes: OnceCell::new() }
    }
}

impl HostMap {
    /// A map for these patterns, which does not grow. A number is `initial` at first.
    pub(super) fn for_patterns<'a>(
        patterns: impl Iterator<Item = &'a HostPattern<'a>>,
        initial: u32,
    ) -> Self {
        let mut sizes = [(0_usize, 0_usize); 4];
        let [names, under, trees, addresses] = &mut sizes;
        let mut globs = Vec::new();
        for pattern in patterns {
            let ((keys, bytes), length) = match pattern {
                HostPattern::Name(name) => (&mut *names, name.len()),
                HostPattern::Under(name) => (&mut *under, name.len()),
                HostPattern::Tree(name) => (&mut *trees, name.len()),
                HostPattern::Glob(glob) => {
                    globs.push(*glob);
                    continue;
                }
                HostPattern::Address(_) | HostPattern::Block(_) => {
                    (&mut *addresses, AddressKey::MAX)
                }
            };
            *keys = keys.saturating_add(1);
            *bytes = bytes.saturating_add(length);
        }
        let [names, under, trees, addresses] =
            sizes.map(|(keys, bytes)| KeyTable::with_capacity(keys, bytes));
        let globs = Globs::new(&globs, initial);
        Self { names, under, trees, globs, addresses, initial, ..Self::default() }
    }

    /// The place of the number of one of the patterns. `None` where the map is full, which the limits
    /// of a policy exclude.
    pub(super) fn entry(&mut self, pattern: &HostPattern<'_>) -> Option<&mut u32> {
        let initial = self.initial;
        let entry = match *pattern {
            HostPattern::Name(name) => {
                let (hasher, _) = hash_name(name);
                self.names.entry_hashed(hasher.finish(), name.as_bytes(), initial)
            }
            HostPattern::Under(name) => {
                let (hasher, depth) = hash_name(name);
                self.under_depths |= depth_bit(depth);
                self.under.entry_hashed(hasher.finish(), name.as_bytes(), initial)
            }
            HostPattern::Tree(name) => {
                let (hasher, depth) = hash_name(name);
                self.tree_depths |= depth_bit(depth);
                self.trees.entry_hashed(hasher.finish(), name.as_bytes(), initial)
            }
            HostPattern::Glob(glob) => return self.globs.get_mut(glob),
            HostPattern::Address(address) => self.address_entry(address, AddressScope::Exact),
            HostPattern::Block(block) => {
                self.address_entry(block.base(), AddressScope::Block(block.length()))
            }
        };
        entry.map(|(number, _)| number)
    }

    /// Shows the numbers of all patterns that match the host, each with its rank: 0 is the most
    /// specific.
    pub(super) fn visit(&self, host: &HostKeys<'_>, visit: &mut dyn FnMut(u32, Scope, u32)) {
        match host.host {
            Host::Name(name) => {
                let suffixes = host.suffixes.get_or_init(|| Suffixes::of(name.as_str()));
                self.visit_name(name.as_str(), suffixes, visit);
            }
            Host::Address(address) => self.visit_address(*address, visit),
        }
    }

    /// Whether any pattern matches the host.
    pub(super) fn contains(&self, host: &HostKeys<'_>) -> bool {
        let mut is_found = false;
        self.visit(host, &mut |_, _, _| is_found = true);
        is_found
    }

    /// Every number.
    pub(super) fn values_mut(&mut self) -> impl Iterator<Item = &mut u32> {
        let names = self.names.values_mut().chain(self.under.values_mut());
        let names = names.chain(self.trees.values_mut()).chain(self.globs.values_mut());
        names.chain(self.addresses.values_mut())
    }

    fn visit_name(&self, name: &str, suffixes: &Suffixes, visit: &mut dyn FnMut(u32, Scope, u32)) {
        let labels = suffixes.len();
        let found = |table: &KeyTable, labels| {
            let (hash, suffix) = suffixes.get(name, labels)?;
            table.get_hashed(hash, suffix)
        };
        if let Some(number) = found(&self.names, labels) {
            visit(number, Scope::Exact, RANK_EXACT);
        }
        if self.tree_depths & depth_bit(labels) != 0
            && let Some(number) = found(&self.trees, labels)
        {
            visit(number, Scope::Apex, RANK_EXACT);
        }
        // The longest first, and none but those that are as long as a pattern's name.
        let above = depth_bit(labels).wrapping_sub(1);
        for (table, depths) in [(&self.under, self.under_depths), (&self.trees, self.tree_depths)] {
            let mut depths = depths & above;
            while depths != 0 {
                let depth = depths.ilog2() as usize;
                depths &= !depth_bit(depth);
                let Some((hash, suffix)) = suffixes.get(name, depth) else { continue };
                if let Some(number) = table.get_hashed(hash, suffix) {
                    // The dot before the name is of the pattern, too.
                    visit(number, Scope::Under, rank_of_bytes(suffix.len().saturating_add(1)));
                }
            }
        }
        self.globs.visit(name, suffixes, &mut |number, bytes| {
            visit(number, Scope::Glob, rank_of_bytes(bytes));
        });
    }

    fn visit_address(&self, address: IpAddr, visit: &mut dyn FnMut(u32, Scope, u32)) {
        for &address_scope in &self.address_scopes {
            let (base, scope, rank) = match address_scope {
                AddressScope::Exact => (address, Scope::Exact, RANK_EXACT),
                AddressScope::Block(length) => match Block::new(address, length) {
                    Some(block) => (block.base(), Scope::Block(block), rank_of_bits(length)),
                    None => continue,
                },
            };
            let key = AddressKey::new(base, address_scope);
            if let Some(number) = self.addresses.get(key.as_bytes()) {
                visit(number, scope, rank);
            }
        }
    }

    fn address_entry(&mut self, base: IpAddr, scope: AddressScope) -> Option<(&mut u32, bool)> {
        if let Err(at) = self.address_scopes.binary_search_by(|other| scope.cmp(other)) {
            self.address_scopes.insert(at, scope);
        }
        self.addresses.entry(AddressKey::new(base, scope).as_bytes(), self.initial)
    }
}

/// The rank of a pattern for exactly one host.
const RANK_EXACT: u32 = 0;
/// The rank of no pattern at all.
pub(super) const RANK_ANY_HOST: u32 = u32::MAX;

/// The rank of a pattern over names with so many bytes that are not `*`.
fn rank_of_bytes(bytes: usize) -> u32 {
    // INVARIANT: a pattern has at most 255 bytes.
    u32::try_from(bytes).unwrap_or_default().abs_diff(RANK_LEAST)
}

/// The rank of a block with a prefix of so many bits.
fn rank_of_bits(bits: u8) -> u32 {
    u32::from(bits).abs_diff(RANK_LEAST)
}

/// The rank of a pattern that says nothing of the host, if there were one.
const RANK_LEAST: u32 = 1 << 10;

/// A name of 253 bytes has no more labels.
const MAX_LABELS: usize = 127;

/// INVARIANT: names have at most [`MAX_LABELS`] labels.
fn depth_bit(labels: usize) -> u128 {
    1 << labels.min(MAX_LABELS)
}

/// What a pattern over addresses covers, the more specific the greater.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum AddressScope {
    /// A block with a prefix of this length, in bits.
    Block(u8),
    /// One address.
    Exact,
}

/// An address or a block as a key: its octets, and what it covers.
struct AddressKey {
    bytes: [u8; Self::MAX],
    length: usize,
}

impl AddressKey {
    const MAX: usize = 17;

    fn new(base: IpAddr, scope: AddressScope) -> Self {
        let mut key = Self { bytes: [0; Self::MAX], length: 0 };
        let scope = match scope {
            AddressScope::Block(length) => length,
            AddressScope::Exact => u8::MAX,
        };
        let octets = match &base {
            IpAddr::V4(v4) => &v4.octets()[..],
            IpAddr::V6(v6) => &v6.octets()[..],
        };
        for (place, byte) in key.bytes.iter_mut().zip(octets.iter().chain([&scope])) {
            *place = *byte;
            key.length = key.length.saturating_add(1);
        }
        key
    }

    fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or(&self.bytes)
    }
}
