//! A map from host patterns to values, looked up by host.

use crate::hash::HashMap;
use crate::host::{Block, Host, HostPattern, Name};
use std::net::IpAddr;

/// Values by host pattern.
#[derive(Debug)]
pub(super) struct HostMap<V> {
    names: HashMap<Box<str>, V>,
    under: HashMap<Box<str>, V>,
    addresses: HashMap<IpAddr, V>,
    blocks: HashMap<Block, V>,
    /// The lengths of the blocks, longest first, each once.
    block_lengths: Vec<u8>,
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

impl<V> Default for HostMap<V> {
    fn default() -> Self {
        Self {
            names: HashMap::default(),
            under: HashMap::default(),
            addresses: HashMap::default(),
            blocks: HashMap::default(),
            block_lengths: Vec::new(),
        }
    }
}

impl<V: Default> HostMap<V> {
    /// The value of a pattern, made at its first use.
    pub(super) fn entry(&mut self, pattern: &HostPattern<'_>) -> &mut V {
        match *pattern {
            HostPattern::Name(name) => text_entry(&mut self.names, name),
            HostPattern::Under(name) => text_entry(&mut self.under, name),
            HostPattern::Address(address) => self.addresses.entry(address).or_default(),
            HostPattern::Block(block) => {
                if let Err(at) =
                    self.block_lengths.binary_search_by(|length| block.length().cmp(length))
                {
                    self.block_lengths.insert(at, block.length());
                }
                self.blocks.entry(block).or_default()
            }
        }
    }
}

impl<V> HostMap<V> {
    /// The values of every pattern that matches the host: the exact one, then the longest wildcard
    /// or block, down to the shortest.
    pub(super) fn matches<'a>(
        &'a self,
        host: &'a Host<'_>,
    ) -> impl Iterator<Item = (&'a V, Scope)> {
        let (name, address) = match host {
            Host::Name(name) => (Some(name), None),
            Host::Address(address) => (None, Some(*address)),
        };
        let names = name.into_iter().flat_map(|name| self.matches_of_name(name));
        let addresses = address.into_iter().flat_map(|address| self.matches_of_address(address));
        names.chain(addresses)
    }

    fn matches_of_name<'a>(&'a self, name: &'a Name<'_>) -> impl Iterator<Item = (&'a V, Scope)> {
        let exact = self.names.get(name.as_str()).map(|value| (value, Scope::Exact));
        let parents = (!self.under.is_empty()).then(|| name.parents()).into_iter().flatten();
        let wildcards = parents.filter_map(|parent| Some((self.under.get(parent)?, Scope::Under)));
        exact.into_iter().chain(wildcards)
    }

    fn matches_of_address(&self, address: IpAddr) -> impl Iterator<Item = (&V, Scope)> {
        let exact = self.addresses.get(&address).map(|value| (value, Scope::Exact));
        let blocks = self.block_lengths.iter().filter_map(move |&length| {
            let block = Block::new(address, length)?;
            Some((self.blocks.get(&block)?, Scope::Block(block)))
        });
        exact.into_iter().chain(blocks)
    }
}

fn text_entry<'a, V: Default>(map: &'a mut HashMap<Box<str>, V>, key: &str) -> &'a mut V {
    map.entry(Box::from(key)).or_default()
}
