//! Hosts and addresses against other parsers and the registries.

use crate::for_all_bytes;
use arbitrary::{Result, Unstructured};
use egress_warden::host::Authority;
use kit::naive::comparison::{compare_authority, compare_server_name};
use kit::naive::host::{Host, MAPPED};
use kit::naive::{registry, sample};
use std::net::{Ipv4Addr, Ipv6Addr};

/// What authorities are made of, beside any byte.
const PARTS: [&str; 44] = [
    "a",
    "test",
    ".",
    ":",
    "::",
    "[",
    "]",
    "-",
    "_",
    "0",
    "1",
    "80",
    "443",
    "255",
    "256",
    "08",
    "0x",
    "0X7f",
    "ffff",
    "FFFF",
    "a9fe",
    "A9FE",
    "64:ff9b",
    "2002",
    "fe80",
    "%25",
    "%",
    "@",
    ",",
    "*",
    " ",
    "xn--",
    "bcher-kva",
    "XN--BCHER-KVA",
    "deny-",
    "ü",
    "/",
    "1.2.3.4",
    "::ffff:",
    "0:0:0:0:",
    "outbound_.",
    "Outbound_.443_._.",
    "_.",
    "_.v1_.",
];

#[test]
fn the_naive_parser_agrees_on_every_authority() {
    for_all_bytes(4_000, |bytes| {
        let authority = authority(&mut Unstructured::new(bytes)).expect("an authority");
        compare_authority(&authority);
    });
}

#[test]
fn the_naive_parser_agrees_on_every_server_name() {
    for_all_bytes(4_000, |bytes| {
        let server_name = authority(&mut Unstructured::new(bytes)).expect("a server name");
        compare_server_name(&server_name);
    });
}

#[test]
fn every_spelling_of_an_address_is_that_address() {
    for_all_bytes(2_000, |bytes| {
        let mut bytes = Unstructured::new(bytes);
        let address = address(&mut bytes).expect("an address");
        let text = sample::address_spelling(&mut bytes, address).expect("a spelling");
        let read = compare_authority(text.as_bytes());
        assert_eq!(read, Some((Host::Address(address), None)), "{text}");
    });
}

/// Browsers and their kin read `0x7f.1` as 127.0.0.1; what they take for an address is here that
/// address or malformed, never a name.
#[test]
fn what_the_url_standard_reads_as_an_address_is_that_address_or_malformed() {
    for_all_bytes(4_000, |bytes| {
        let authority = authority(&mut Unstructured::new(bytes)).expect("an authority");
        let Ok(text) = std::str::from_utf8(&authority) else { return };
        let Ok(ours) = Authority::parse(text.as_bytes()) else { return };
        let host = ours.host.canonical();
        let standard = url::Host::parse(text.strip_suffix(&port(&ours)).unwrap_or(text));
        let expected = match standard {
            // Unicode's rules on letters (UTS 46) are not the filter's.
            Err(url::ParseError::IdnaError) => return,
            Err(error) => panic!("{error}: {text}"),
            Ok(url::Host::Ipv4(v4)) => v4.to_string(),
            Ok(url::Host::Ipv6(v6)) => match v6.to_ipv4_mapped() {
                Some(v4) => v4.to_string(),
                None => format!("[{v6}]"),
            },
            Ok(url::Host::Domain(name)) => name.strip_suffix('.').unwrap_or(&name).to_owned(),
        };
        assert_eq!(host, expected, "{text}");
    });
}

#[test]
fn addresses_at_the_edges_of_every_registered_block_are_forbidden_as_registered() {
    let mut forbidden = 0;
    for address in registry::edges() {
        let text = format!("[{}]", Ipv6Addr::from_bits(address));
        compare_authority(text.as_bytes());
        forbidden += u32::from(registry::is_forbidden(address));
    }
    assert!(forbidden > 50, "{forbidden}");
}

fn port(authority: &Authority<'_>) -> String {
    authority.port.map(|port| format!(":{port}")).unwrap_or_default()
}

fn authority(bytes: &mut Unstructured<'_>) -> Result<Vec<u8>> {
    let mut authority = Vec::new();
    for _ in 0..bytes.int_in_range(0..=9)? {
        match bytes.ratio(63, 64)? {
            true => authority.extend(bytes.choose(&PARTS)?.bytes()),
            false => authority.push(bytes.arbitrary()?),
        }
    }
    Ok(authority)
}

/// In the naive parser's form, IPv4 as often as IPv6, with runs of zeros.
fn address(bytes: &mut Unstructured<'_>) -> Result<u128> {
    if bytes.arbitrary()? {
        return Ok(MAPPED | u128::from(Ipv4Addr::from_bits(bytes.arbitrary()?).to_bits()));
    }
    let mut address = 0;
    for _ in 0..8 {
        let group = bytes.choose(&[0, 0, 1, 0xffff, 0x2001, 0xa9fe, 0x64, 0xff9b])?;
        address = address << 16 | group;
    }
    Ok(address)
}
