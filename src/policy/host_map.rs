//! A map from host patterns to numbers, looked up by host.

use crate::host::{Block, Host, HostPattern, suffixes};
use crate::key_table::{Hash, Hasher, KeyTable};
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
    /// Addresses and blocks, see [`AddressKey`].
    addresses: KeyTable,
    /// The scopes in `addresses`, most specific first, each once.
    address_scopes: Vec<AddressScope>,
}

/// By what kind of pattern a host was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Exactly this name, or exactly this address.
    Exact,
    /// A wildcard over names.
    Under,
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

/// The suffixes of a name, of whole labels: each with its hash, and where it starts in the name. The
/// shortest comes first, the name itself last.
#[derive(Debug, Default)]
struct Suffixes {
    /// Those of the first few labels: few names have more, and an allocation costs more than the
    /// whole look-up.
    first: [(Hash, u8); FEW_LABELS],
    more: Vec<(Hash, u8)>,
    len: usize,
}

const FEW_LABELS: usize = 8;
/// A name of 253 bytes has no more labels.
const MAX_LABELS: usize = 127;

impl<'a> HostKeys<'a> {
    pub(super) fn new(host: &'a Host<'a>) -> Self {
        Self { host, suffixes: OnceCell::new() }
    }
}

impl Suffixes {
    fn of(name: &str) -> Self {
        let mut hasher = Hasher::default();
        let mut found = Self::default();
        for (label, suffix) in suffixes(name) {
            hasher = hasher.with(label.as_bytes());
            // INVARIANT: a name has at most 253 bytes.
            let start = u8::try_from(name.len().wrapping_sub(suffix.len())).unwrap_or(u8::MAX);
            let place = (hasher.finish(), start);
            match found.first.get_mut(found.len) {
                Some(vacant) => *vacant = place,
                None => found.more.push(place),
            }
            found.len = found.len.saturating_add(1);
        }
        found
    }

    /// How many labels the name has.
    fn len(&self) -> usize {
        self.len
    }

    /// The hash and the bytes of the suffix with so many labels.
    fn get<'n>(&self, name: &'n str, labels: usize) -> Option<(Hash, &'n [u8])> {
        let index = labels.checked_sub(1)?;
        let more = || self.more.get(index.checked_sub(FEW_LABELS)?);
        let (hash, start) = *self.first.get(index).or_else(more)?;
        Some((hash, name.as_bytes().get(usize::from(start)..)?))
    }
}

impl HostMap {
    /// A map that takes these patterns without growing.
    pub(super) fn for_patterns<'a>(patterns: impl Iterator<Item = &'a HostPattern<'a>>) -> Self {
        let mut sizes = [(0_usize, 0_usize); 3];
        let [names, under, addresses] = &mut sizes;
        for pattern in patterns {
            let ((keys, bytes), length) = match pattern {
                HostPattern::Name(name) => (&mut *names, name.len()),
                HostPattern::Under(name) => (&mut *under, name.len()),
                HostPattern::Address(_) | HostPattern::Block(_) => {
                    (&mut *addresses, AddressKey::MAX)
                }
            };
            *keys = keys.saturating_add(1);
            *bytes = bytes.saturating_add(length);
        }
        let [names, under, addresses] =
            sizes.map(|(keys, bytes)| KeyTable::with_capacity(keys, bytes));
        Self { names, under, addresses, ..Self::default() }
    }

    /// The place of a pattern's number, which is `initial` at first. `None` where the map is full,
    /// which the limits of a policy exclude.
    pub(super) fn entry(&mut self, pattern: &HostPattern<'_>, initial: u32) -> Option<&mut u32> {
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
            HostPattern::Address(address) => {
                self.address_entry(address, AddressScope::Exact, initial)
            }
            HostPattern::Block(block) => {
                let scope = AddressScope::Block(block.length());
                self.address_entry(block.base(), scope, initial)
            }
        };
        entry.map(|(number, _)| number)
    }

    /// Shows the numbers of all patterns that match the host: of the exact one, then of the longest
    /// wildcard or block, down to the shortest.
    pub(super) fn visit(&self, host: &HostKeys<'_>, visit: &mut dyn FnMut(u32, Scope)) {
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
        self.visit(host, &mut |_, _| is_found = true);
        is_found
    }

    /// Every number.
    pub(super) fn values_mut(&mut self) -> impl Iterator<Item = &mut u32> {
        let names = self.names.values_mut().chain(self.under.values_mut());
        names.chain(self.addresses.values_mut())
    }

    fn visit_name(&self, name: &str, suffixes: &Suffixes, visit: &mut dyn FnMut(u32, Scope)) {
        let labels = suffixes.len();
        let found = |table: &KeyTable, labels| {
            let (hash, suffix) = suffixes.get(name, labels)?;
            table.get_hashed(hash, suffix)
        };
        if let Some(number) = found(&self.names, labels) {
            visit(number, Scope::Exact);
        }
        // The longest first, and none but those that are as long as a wildcard's name.
        let mut depths = self.under_depths & depth_bit(labels).wrapping_sub(1);
        while depths != 0 {
            let depth = depths.ilog2() as usize;
            depths &= !depth_bit(depth);
            if let Some(number) = found(&self.under, depth) {
                visit(number, Scope::Under);
            }
        }
    }

    fn visit_address(&self, address: IpAddr, visit: &mut dyn FnMut(u32, Scope)) {
        for &address_scope in &self.address_scopes {
            let (base, scope) = match address_scope {
                AddressScope::Exact => (address, Scope::Exact),
                AddressScope::Block(length) => match Block::new(address, length) {
                    Some(block) => (block.base(), Scope::Block(block)),
                    None => continue,
                },
            };
            let key = AddressKey::new(base, address_scope);
            if let Some(number) = self.addresses.get(key.as_bytes()) {
                visit(number, scope);
            }
        }
    }

    fn address_entry(
        &mut self,
        base: IpAddr,
        scope: AddressScope,
        initial: u32,
    ) -> Option<(&mut u32, bool)> {
        if let Err(at) = self.address_scopes.binary_search_by(|other| scope.cmp(other)) {
            self.address_scopes.insert(at, scope);
        }
        self.addresses.entry(AddressKey::new(base, scope).as_bytes(), initial)
    }
}

/// A name hashed label by label from its end, so that the hashes of all names above it come by on
/// the way; and its number of labels.
fn hash_name(name: &str) -> (Hasher, usize) {
    suffixes(name).fold((Hasher::default(), 0), |(hasher, depth), (label, _)| {
        (hasher.with(label.as_bytes()), depth.saturating_add(1))
    })
}

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
