//! IANA's IPv4 and IPv6 Special-Purpose Address Registries as of 18 July 2026, row by row, with
//! what the column "Globally Reachable" says; an empty cell or "N/A" is not "True".
//!
//! To bring it up to date, compare with `iana-ipv4-special-registry-1.csv` and
//! `iana-ipv6-special-registry-1.csv` of IANA's protocol registries.

use super::host::{MAPPED, holds, ip};

/// Whether an address is refused unless a rule names it: by the most specific row that holds it, or
/// by what the policy's language adds.
pub fn is_forbidden(address: u128) -> bool {
    let rows = rows(ROWS).filter(|(base, length, _)| holds(*base, *length, address));
    let row = rows.max_by_key(|(_, length, _)| *length);
    row.is_some_and(|(.., is_reachable)| !is_reachable)
        || rows_added().any(|(base, length, _)| holds(base, length, address))
}

/// Whether a whole block lies in one range that is not globally reachable.
pub fn is_within_one_range(base: u128, length: u32) -> bool {
    rows(ROWS)
        .filter(|(.., is_reachable)| !is_reachable)
        .chain(rows_added())
        .any(|(wide, shorter, _)| shorter <= length && holds(wide, shorter, base))
}

/// Addresses at the edges of every row: the last before it, its first and last, the first behind.
pub fn edges() -> impl Iterator<Item = u128> {
    rows(ROWS).chain(rows_added()).flat_map(|(base, length, _)| {
        let last = base | u128::MAX.checked_shr(length).unwrap_or(0);
        [base.wrapping_sub(1), base, last, last.wrapping_add(1)]
    })
}

fn rows_added() -> impl Iterator<Item = (u128, u32, bool)> {
    rows(ADDED)
}

/// Base, length in 128 bits, whether globally reachable.
fn rows(table: &'static str) -> impl Iterator<Item = (u128, u32, bool)> {
    table.lines().filter(|line| !line.is_empty()).map(|line| {
        let (block, reachable) = line.split_once(' ').expect("a block and a word");
        let (base, length) = block.split_once('/').expect("a block");
        let base = ip(base).expect("an address");
        let length: u32 = length.parse().expect("a length");
        let length =
            if base >> 32 == MAPPED >> 32 && !block.contains(':') { 96 + length } else { length };
        (base, length, reachable == "True")
    })
}

/// `::ffff:0:0/96` is left out: a mapped address is its IPv4 address.
const ROWS: &str = "
0.0.0.0/8 False
0.0.0.0/32 False
10.0.0.0/8 False
100.64.0.0/10 False
127.0.0.0/8 False
169.254.0.0/16 False
172.16.0.0/12 False
192.0.0.0/24 False
192.0.0.0/29 False
192.0.0.8/32 False
192.0.0.9/32 True
192.0.0.10/32 True
192.0.0.170/32 False
192.0.0.171/32 False
192.0.2.0/24 False
192.31.196.0/24 True
192.52.193.0/24 True
192.88.99.0/24 -
192.88.99.2/32 False
192.168.0.0/16 False
192.175.48.0/24 True
198.18.0.0/15 False
198.51.100.0/24 False
203.0.113.0/24 False
240.0.0.0/4 False
255.255.255.255/32 False
::1/128 False
::/128 False
64:ff9b::/96 True
64:ff9b:1::/48 False
100::/64 False
100:0:0:1::/64 False
2001::/23 False
2001::/32 N/A
2001:1::1/128 True
2001:1::2/128 True
2001:1::3/128 True
2001:2::/48 False
2001:3::/32 True
2001:4:112::/48 True
2001:10::/28 -
2001:20::/28 True
2001:30::/28 True
2001:db8::/32 False
2002::/16 N/A
2620:4f:8000::/48 True
3fff::/20 False
5f00::/16 False
fc00::/7 False
fe80::/10 False
";

/// Multicast, Azure's platform services, and what embeds or translates to IPv4 addresses.
const ADDED: &str = "
224.0.0.0/4 -
168.63.129.16/32 -
ff00::/8 -
::/96 -
64:ff9b::/96 -
64:ff9b:1::/48 -
2002::/16 -
2001::/32 -
fec0::/10 -
";
