//! Hosts, addresses and their patterns, read character by character from what the RFCs say.

use super::registry;

/// A host; an address as its bits, IPv4 in the mapped form of RFC 4291, section 2.5.5.2.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Host {
    Name(String),
    Address(u128),
}

/// A pattern of `hosts` or `notHosts`.
#[derive(Debug)]
pub enum Pattern {
    Name(String),
    /// Labels with a `*` in some of them.
    Glob(Vec<String>),
    /// A name and everything below it.
    Tree(String),
    Address(u128),
    /// An address without host bits, and the length of the prefix in the 128 bits.
    Block(u128, u32),
}

/// What makes an IPv4 address an IPv6 one.
pub const MAPPED: u128 = 0xffff_0000_0000;

impl Host {
    /// An address, or a name that an allow must name exactly.
    pub fn is_special(&self) -> bool {
        const NAMES: &str = "localhost metadata metadata.google.internal metadata.goog \
                             instance-data instance-data.ec2.internal";
        match self {
            Self::Address(_) => true,
            Self::Name(name) => {
                NAMES.split_whitespace().any(|it| it == name) || name.ends_with(".localhost")
            }
        }
    }
}

impl Pattern {
    /// Reads a pattern that a policy was accepted with.
    pub fn read(text: &str) -> Option<Self> {
        if text.contains('*') {
            return Some(Self::Glob(text.split('.').map(str::to_owned).collect()));
        }
        if let Some(apex) = text.strip_prefix('.') {
            return Some(Self::Tree(apex.to_owned()));
        }
        if let Some((base, length)) = text.split_once('/') {
            let (base, length) = (ip(base)?, length.parse::<u32>().ok()?);
            let is_v4 = text.contains('.') && !text.contains(':');
            return Some(Self::Block(base, if is_v4 { 96 + length } else { length }));
        }
        match authority(text.as_bytes())? {
            (Host::Name(name), None) => Some(Self::Name(name)),
            (Host::Address(address), None) => Some(Self::Address(address)),
            _ => None,
        }
    }

    pub fn matches(&self, host: &Host) -> bool {
        match (self, host) {
            (Self::Name(name), Host::Name(host)) => name == host,
            (Self::Glob(labels), Host::Name(host)) => is_of_glob(labels, host),
            (Self::Tree(apex), Host::Name(host)) => {
                host == apex || host.ends_with(&format!(".{apex}"))
            }
            (Self::Address(address), Host::Address(host)) => address == host,
            (Self::Block(base, length), Host::Address(host)) => {
                // `::/0` is not about IPv4.
                is_v4(*base, *length) == is_v4(*host, 128) && holds(*base, *length, *host)
            }
            _ => false,
        }
    }

    /// Whether a match counts for an allow: a special name wants its exact name, a forbidden
    /// address itself or a block wholly within one forbidden range.
    pub fn opens(&self, host: &Host) -> bool {
        match (self, host) {
            (Self::Glob(_) | Self::Tree(_), _) => !host.is_special(),
            (Self::Block(base, length), Host::Address(host)) => {
                !registry::is_forbidden(*host) || registry::is_within_one_range(*base, *length)
            }
            _ => true,
        }
    }

    /// Of a pattern that matches the host: what names it exactly, before the pattern with the most
    /// bytes that are not `*`, or the longest block.
    pub fn specificity(&self, host: &Host) -> (u8, usize) {
        match (self, host) {
            (Self::Name(_) | Self::Address(_), _) => (2, 0),
            (Self::Tree(apex), Host::Name(host)) if apex == host => (2, 0),
            (Self::Tree(apex), _) => (1, 1 + apex.len()),
            (Self::Glob(labels), _) => (1, labels.join(".").replace('*', "").len()),
            // Addresses of IPv4 are held as the IPv6 ones that they are mapped to.
            (Self::Block(_, length), Host::Address(bits)) if bits >> 32 == 0xffff => {
                (1, *length as usize - 96)
            }
            (Self::Block(_, length), _) => (1, *length as usize),
        }
    }
}

/// Label by label from the end; a `*` that is the whole first label stands for one label or more.
fn is_of_glob(labels: &[String], host: &str) -> bool {
    let parts: Vec<&str> = host.split('.').collect();
    let Some(more) = parts.len().checked_sub(labels.len()) else { return false };
    let may_have_more = labels[0] == "*";
    (more == 0 || may_have_more)
        && labels.iter().zip(&parts[more..]).all(|(label, part)| is_of_label(label, part))
}

fn is_of_label(label: &str, part: &str) -> bool {
    match label {
        "*" => true,
        _ if label.contains('*') => !part.starts_with("xn--") && is_of_runs(label, part),
        _ => label == part,
    }
}

/// Each `*` stands for any run of bytes, also none.
fn is_of_runs(label: &str, part: &str) -> bool {
    let Some((start, others)) = label.split_once('*') else { return label == part };
    let rest = part.strip_prefix(start);
    rest.is_some_and(|rest| (0..=rest.len()).any(|run| is_of_runs(others, &rest[run..])))
}

/// Whether the block holds the address.
pub fn holds(base: u128, length: u32, address: u128) -> bool {
    // Shifting by 128 bits is not defined: a prefix of no bits holds everything.
    length == 0 || (base ^ address) >> (128 - length) == 0
}

pub fn is_v4(base: u128, length: u32) -> bool {
    length >= 96 && base >> 32 == MAPPED >> 32
}

/// `host` or `host:port`.
pub fn authority(bytes: &[u8]) -> Option<(Host, Option<u16>)> {
    let text = std::str::from_utf8(bytes).ok().filter(|text| text.is_ascii())?;
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (literal, port) = rest.split_once(']')?;
            (Host::Address(ipv6(literal)?), port)
        }
        None => {
            let end = text.find(':').unwrap_or(text.len());
            (name(&text[..end])?, &text[end..])
        }
    };
    if port.is_empty() {
        return Some((host, None));
    }
    let number: u16 = port.strip_prefix(':')?.parse().ok().filter(|port| *port > 0)?;
    (port == format!(":{number}")).then_some((host, Some(number)))
}

fn name(text: &str) -> Option<Host> {
    let lower = text.to_ascii_lowercase();
    let name = lower.strip_suffix('.').unwrap_or(&lower);
    let last = name.rsplit('.').next()?;
    if !last.is_empty() && last.chars().all(|c| c.is_ascii_digit()) || last.starts_with("0x") {
        return ipv4(&lower).map(|v4| Host::Address(MAPPED | u128::from(v4)));
    }
    let is_label = |label: &str| {
        let is_known = label.chars().all(|c| "abcdefghijklmnopqrstuvwxyz0123456789-_".contains(c));
        let is_punycode = label.strip_prefix("xn--").is_none_or(|encoded| {
            idna::punycode::decode_to_string(encoded).is_some_and(|decoded| {
                !decoded.is_ascii()
                    && idna::punycode::encode_str(&decoded).as_deref() == Some(encoded)
            })
        });
        (1..=63).contains(&label.len())
            && is_known
            && is_punycode
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    (name.len() <= 253 && name.split('.').all(is_label)).then(|| Host::Name(name.to_owned()))
}

/// An address without brackets and without a port.
pub fn ip(text: &str) -> Option<u128> {
    ipv4(text).map(|v4| MAPPED | u128::from(v4)).or_else(|| ipv6(text))
}

/// The canonical dotted quad.
fn ipv4(text: &str) -> Option<u32> {
    let quad: Vec<u8> = text.split('.').map(|part| part.parse().ok()).collect::<Option<_>>()?;
    let written: Vec<String> = quad.iter().map(u8::to_string).collect();
    (written.join(".") == text).then_some(u32::from_be_bytes(quad.try_into().ok()?))
}

/// RFC 4291, section 2.2: eight groups of hex digits; `::` for one or more groups of zeros; the
/// last two groups may be a dotted quad.
fn ipv6(text: &str) -> Option<u128> {
    let groups = |part: &str, may_end_in_quad: bool| -> Option<Vec<u16>> {
        let mut groups = Vec::new();
        let parts: Vec<&str> = part.split(':').collect();
        for (index, part) in parts.iter().enumerate() {
            if may_end_in_quad && index + 1 == parts.len() && part.contains('.') {
                let [a, b, c, d] = ipv4(part)?.to_be_bytes();
                groups.extend([u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d])]);
            } else if (1..=4).contains(&part.len()) && part.chars().all(|c| c.is_ascii_hexdigit()) {
                groups.push(u16::from_str_radix(part, 16).ok()?);
            } else {
                return None;
            }
        }
        Some(groups)
    };
    let some_groups =
        |part: &str, quad| if part.is_empty() { Some(Vec::new()) } else { groups(part, quad) };
    let all = match text.split_once("::") {
        None => groups(text, true)?,
        Some((head, tail)) => {
            let (mut all, tail) = (some_groups(head, false)?, some_groups(tail, true)?);
            let zeros = 8_usize.checked_sub(all.len() + tail.len()).filter(|zeros| *zeros > 0)?;
            all.extend(std::iter::repeat_n(0, zeros));
            all.extend(tail);
            all
        }
    };
    (all.len() == 8).then(|| all.iter().fold(0, |bits, group| bits << 16 | u128::from(*group)))
}

/// The name that a TLS server name is, or with `is_mesh_form` stands for, and the port that it says
/// then.
pub fn server_name(bytes: &[u8], is_mesh_form: bool) -> Option<(Host, Option<u16>)> {
    let text = std::str::from_utf8(bytes).ok()?;
    let (name, port) = match is_mesh_form {
        false => (text, None),
        true => {
            let parts: Vec<&str> = text.splitn(4, "_.").collect();
            let ["outbound", port, subset, name] = parts[..] else { return None };
            let is_label = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
            if subset.len() > 63 || !subset.chars().all(is_label) {
                return None;
            }
            let (_, port) = authority(format!("port.test:{port}").as_bytes())?;
            (name, Some(port?))
        }
    };
    match authority(name.as_bytes())? {
        (Host::Name(host), None) if host == name && !name.starts_with("outbound_.") => {
            Some((Host::Name(host), port))
        }
        _ => None,
    }
}
