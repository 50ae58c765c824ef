//! IP address blocks, and the addresses that no request reaches unless a rule names them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A CIDR block: an address without host bits, and the length of its prefix in bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Block {
    base: IpAddr,
    length: u8,
}

impl Block {
    /// `None` where the length is over that of the address (32 or 128 bits).
    pub fn new(address: IpAddr, length: u8) -> Option<Self> {
        (length <= width(address)).then(|| Self::around(address, length))
    }

    /// The address without host bits.
    pub fn base(&self) -> IpAddr {
        self.base
    }

    /// The length of the prefix, in bits.
    pub fn length(&self) -> u8 {
        self.length
    }

    /// The block of this length that holds `address`; a length over the address's is its width.
    pub(crate) fn around(address: IpAddr, length: u8) -> Self {
        let length = length.min(width(address));
        let base = match address {
            IpAddr::V4(v4) => {
                let mask = u32::MAX.checked_shl(32 - u32::from(length)).unwrap_or(0);
                IpAddr::V4(Ipv4Addr::from_bits(v4.to_bits() & mask))
            }
            IpAddr::V6(v6) => {
                let mask = u128::MAX.checked_shl(128 - u32::from(length)).unwrap_or(0);
                IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & mask))
            }
        };
        Self { base, length }
    }

    /// Whether the address lies in this block.
    pub fn contains(&self, address: IpAddr) -> bool {
        self.base.is_ipv4() == address.is_ipv4() && Self::around(address, self.length) == *self
    }

    /// Whether the whole of this block lies in one forbidden range: only then does it speak of
    /// forbidden addresses on purpose.
    pub fn is_within_forbidden_range(&self) -> bool {
        FORBIDDEN.iter().any(|range| range.length <= self.length && range.contains(self.base))
    }
}

/// Whether the address is forbidden unless a rule names it: it is not globally reachable by
/// IANA's special-purpose registries, or multicast, or embeds or translates to another address, or
/// a cloud's metadata service.
pub fn is_forbidden(address: IpAddr) -> bool {
    FORBIDDEN.iter().any(|range| range.contains(address))
        && !REACHABLE.iter().any(|range| range.contains(address))
}

/// The blocks by which [`is_forbidden`] tells addresses apart: of two addresses that lie in the same
/// of these it says the same.
pub fn special_purpose_blocks() -> impl Iterator<Item = Block> {
    FORBIDDEN.iter().chain(&REACHABLE).copied()
}

fn width(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

const fn v4(a: u8, b: u8, c: u8, d: u8, length: u8) -> Block {
    Block { base: IpAddr::V4(Ipv4Addr::new(a, b, c, d)), length }
}

const fn v6(a: u16, b: u16, c: u16, d: u16, length: u8) -> Block {
    Block { base: IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0)), length }
}

/// IANA IPv4 and IPv6 Special-Purpose Address Registries (RFC 6890 and later, as of 2025-10): what
/// is not marked globally reachable; then multicast and the ranges that this project adds.
const FORBIDDEN: [Block; 33] = [
    v4(0, 0, 0, 0, 8),           // "this network", RFC 791
    v4(10, 0, 0, 0, 8),          // private use, RFC 1918
    v4(100, 64, 0, 0, 10), // shared address space, RFC 6598; 100.100.100.200 is Alibaba's metadata
    v4(127, 0, 0, 0, 8),   // loopback, RFC 1122
    v4(169, 254, 0, 0, 16), // link local, RFC 3927; 169.254.169.254 is most clouds' metadata
    v4(172, 16, 0, 0, 12), // private use, RFC 1918
    v4(192, 0, 0, 0, 24),  // IETF protocol assignments, RFC 6890; 192.0.0.192 is Oracle's metadata
    v4(192, 0, 2, 0, 24),  // documentation, RFC 5737
    v4(192, 88, 99, 0, 24), // deprecated 6to4 relay anycast, RFC 7526
    v4(192, 168, 0, 0, 16), // private use, RFC 1918
    v4(198, 18, 0, 0, 15), // benchmarking, RFC 2544
    v4(198, 51, 100, 0, 24), // documentation, RFC 5737
    v4(203, 0, 113, 0, 24), // documentation, RFC 5737
    v4(224, 0, 0, 0, 4),   // multicast, RFC 5771
    v4(240, 0, 0, 0, 4),   // reserved, RFC 1112, and limited broadcast
    v4(168, 63, 129, 16, 32), // Azure's platform services
    v6(0, 0, 0, 0, 96),    // unspecified, loopback, IPv4-compatible, RFC 4291
    v6(0x64, 0xff9b, 0, 0, 96), // IPv4/IPv6 translation, RFC 6052
    v6(0x64, 0xff9b, 1, 0, 48), // local-use translation, RFC 8215
    v6(0x100, 0, 0, 0, 64), // discard only, RFC 6666
    v6(0x100, 0, 0, 1, 64), // dummy prefix, RFC 9780
    v6(0x2001, 0, 0, 0, 23), // IETF protocol assignments, RFC 2928
    v6(0x2001, 0, 0, 0, 32), // Teredo, RFC 4380
    v6(0x2001, 2, 0, 0, 48), // benchmarking, RFC 5180
    v6(0x2001, 0x10, 0, 0, 28), // deprecated ORCHID, RFC 4843
    v6(0x2001, 0xdb8, 0, 0, 32), // documentation, RFC 3849
    v6(0x2002, 0, 0, 0, 16), // 6to4, RFC 3056
    v6(0x3fff, 0, 0, 0, 20), // documentation, RFC 9637
    v6(0x5f00, 0, 0, 0, 16), // segment routing SIDs, RFC 9602
    v6(0xfc00, 0, 0, 0, 7), // unique local, RFC 4193; fd00:ec2::254 is AWS's metadata
    v6(0xfe80, 0, 0, 0, 10), // link local, RFC 4291
    v6(0xfec0, 0, 0, 0, 10), // deprecated site local, RFC 3879
    v6(0xff00, 0, 0, 0, 8), // multicast, RFC 4291
];

/// Assignments inside the blocks above that the registries mark globally reachable.
const REACHABLE: [Block; 9] = [
    v4(192, 0, 0, 9, 32),  // Port Control Protocol anycast, RFC 7723
    v4(192, 0, 0, 10, 32), // TURN anycast, RFC 8155
    PCP_ANYCAST,
    TURN_ANYCAST,
    SRP_ANYCAST,
    v6(0x2001, 3, 0, 0, 32),     // AMT, RFC 7450
    v6(0x2001, 4, 0x112, 0, 48), // AS112, RFC 7535
    v6(0x2001, 0x20, 0, 0, 28),  // ORCHIDv2, RFC 7343
    v6(0x2001, 0x30, 0, 0, 28),  // drone remote identification, RFC 9374
];

/// `2001:1::1` (RFC 7723), `2001:1::2` (RFC 8155) and `2001:1::3` (RFC 9665).
const PCP_ANYCAST: Block = anycast(1);
const TURN_ANYCAST: Block = anycast(2);
const SRP_ANYCAST: Block = anycast(3);

const fn anycast(last: u16) -> Block {
    Block { base: IpAddr::V6(Ipv6Addr::new(0x2001, 1, 0, 0, 0, 0, 0, last)), length: 128 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wasm_bindgen_test::wasm_bindgen_test;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[wasm_bindgen_test(unsupported = test)]
    fn special_purpose_addresses_are_forbidden_and_public_ones_are_not() {
        for text in [
            "0.0.0.0",
            "10.1.2.3",
            "100.100.100.200",
            "127.0.0.1",
            "169.254.169.254",
            "172.31.0.1",
            "192.0.0.192",
            "192.168.1.1",
            "198.19.0.1",
            "203.0.113.9",
            "224.0.0.1",
            "255.255.255.255",
            "168.63.129.16",
            "::",
            "::1",
            "::127.0.0.1",
            "64:ff9b::a00:1",
            "64:ff9b:1::1",
            "100::1",
            "100:0:0:1::1",
            "2001::1",
            "2001:2::1",
            "2001:1::4",
            "2001:db8::1",
            "2002:a00:1::1",
            "3fff::1",
            "5f00::1",
            "fd00:ec2::254",
            "fe80::1",
            "fec0::1",
            "ff02::1",
        ] {
            assert!(is_forbidden(address(text)), "{text}");
        }
        for text in [
            "1.1.1.1",
            "8.8.8.8",
            "100.128.0.0",
            "172.32.0.1",
            "192.0.0.9",
            "192.0.1.1",
            "168.63.129.17",
            "192.31.196.1",
            "2606:4700::1111",
            "2001:1::1",
            "2001:20::1",
            "2001:200::1",
            "2620:4f:8000::1",
            "64:ff9a::1",
        ] {
            assert!(!is_forbidden(address(text)), "{text}");
        }
    }

    #[wasm_bindgen_test(unsupported = test)]
    fn a_block_holds_its_addresses_only() {
        let block = Block::new(address("203.0.113.0"), 24).unwrap();
        assert!(block.contains(address("203.0.113.255")));
        assert!(!block.contains(address("203.0.114.0")));
        assert!(!block.contains(address("2001:db8::")));
        let all = Block::new(address("0.0.0.0"), 0).unwrap();
        assert!(all.contains(address("255.255.255.255")));
        assert!(!all.contains(address("::")));
        assert_eq!(Block::new(address("0.0.0.0"), 33), None);
        assert_eq!(Block::new(address("::"), 129), None);
    }

    #[wasm_bindgen_test(unsupported = test)]
    fn only_a_block_inside_one_forbidden_range_speaks_of_it() {
        let within =
            |text, length| Block::new(address(text), length).unwrap().is_within_forbidden_range();
        assert!(within("169.254.169.254", 32));
        assert!(within("10.0.0.0", 8));
        assert!(within("fd00::", 8));
        assert!(!within("0.0.0.0", 0));
        assert!(!within("168.0.0.0", 6));
        assert!(!within("8.8.8.0", 24));
    }

    #[wasm_bindgen_test(unsupported = test)]
    fn no_table_entry_has_host_bits() {
        for block in FORBIDDEN.iter().chain(&REACHABLE) {
            assert_eq!(Block::new(block.base, block.length), Some(*block));
        }
    }
}
