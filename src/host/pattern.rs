//! What a policy may write where it names hosts.

use super::{Block, Host, Malformed};
use std::borrow::Cow;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// One pattern of a list of hosts, in canonical form.
///
/// | text | matches |
/// | --- | --- |
/// | `api.example.com` | that name |
/// | `*.example.com` | every name under it, at any depth, never `example.com` itself |
/// | `192.0.2.1`, `[2001:db8::1]` | that address, however a request spells it |
/// | `203.0.113.0/24`, `2001:db8::/32` | the addresses of the block, written as addresses |
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum HostPattern<'a> {
    /// Exactly this name.
    Name(&'a str),
    /// Every name under this one.
    Under(&'a str),
    /// Exactly this address.
    Address(IpAddr),
    /// Every address of the block.
    Block(Block),
}

impl<'a> HostPattern<'a> {
    /// Reads a pattern. Only canonical text is one; the error holds the canonical form where there is
    /// one.
    pub fn parse(text: &'a str) -> Result<Self, PatternError> {
        if let Some(suffix) = text.strip_prefix("*.") {
            return parse_under(text, suffix);
        }
        if text == "*" {
            return Err(PatternError::Everything);
        }
        if text.contains('*') {
            return Err(PatternError::Wildcard);
        }
        if let Some((address, length)) = text.split_once('/') {
            return parse_block(text, address, length);
        }
        match Host::parse(text.as_bytes()) {
            Ok(host) => {
                let canonical = host.canonical();
                if canonical != text {
                    return Err(PatternError::Spelling { canonical: canonical.into() });
                }
                Ok(match host {
                    Host::Address(address) => Self::Address(address),
                    Host::Name(_) => Self::Name(text),
                })
            }
            Err(malformed) => Err(diagnose(text, malformed)),
        }
    }
}

/// Why a text is no host pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PatternError {
    /// There is no host.
    Empty,
    /// `*` alone.
    Everything,
    /// `*.` without a name.
    NoApex,
    /// `*` stands elsewhere than as the whole first label.
    Wildcard,
    /// A wildcard over a whole top-level domain.
    TopLevel {
        /// The domain.
        domain: Box<str>,
    },
    /// A wildcard before an address.
    UnderAddress,
    /// A scheme stands before the host.
    Url,
    /// A path stands behind the host.
    Path,
    /// Something before an `@`.
    UserInfo,
    /// A port stands behind the host.
    Port {
        /// The pattern without it.
        canonical: Box<str>,
    },
    /// The host, or the block, has a canonical form, which is another.
    Spelling {
        /// That form.
        canonical: Box<str>,
    },
    /// An IPv6 address without brackets.
    Brackets {
        /// The address in its canonical form.
        canonical: Box<str>,
    },
    /// An IPv4 address with a dot behind it.
    TrailingDot {
        /// The address.
        address: Ipv4Addr,
    },
    /// A block of IPv4-mapped addresses.
    MappedBlock {
        /// Where the IPv4 block begins.
        base: IpAddr,
    },
    /// The length of a block's prefix does not fit its address.
    PrefixLength {
        /// The longest.
        max: u8,
    },
    /// A block with host bits set.
    HostBits {
        /// The block that the address lies in.
        block: Block,
        /// The address that stands before the length.
        address: IpAddr,
    },
    /// A host with characters beyond ASCII.
    Unicode,
    /// No host at all.
    NoHost(Malformed),
}

impl PatternError {
    /// What is wrong with the text.
    pub fn problem(&self) -> Cow<'static, str> {
        match self {
            Self::Empty => "an empty host".into(),
            Self::Everything | Self::NoApex => "a wildcard without a name".into(),
            Self::Wildcard => "`*` elsewhere than as the whole first label".into(),
            Self::TopLevel { .. } => "a wildcard over a whole top-level domain".into(),
            Self::UnderAddress => "a wildcard before an address".into(),
            Self::Url => "a URL".into(),
            Self::Path => "a host with a path".into(),
            Self::UserInfo => "a host with a userinfo".into(),
            Self::Port { .. } => "a host with a port".into(),
            Self::Spelling { .. } => "a host that is not in canonical form".into(),
            Self::Brackets { .. } => "an IPv6 address without brackets".into(),
            Self::TrailingDot { .. } => format!("no host: {}", Malformed::Ipv4).into(),
            Self::MappedBlock { .. } => "a block of IPv4-mapped addresses".into(),
            Self::PrefixLength { .. } => "a prefix length that does not fit the address".into(),
            Self::HostBits { .. } => "a block with host bits set".into(),
            Self::Unicode => "a host that is not in ASCII".into(),
            Self::NoHost(malformed) => format!("no host: {malformed}").into(),
        }
    }

    /// What to write instead.
    pub fn remedy(&self) -> Cow<'static, str> {
        match self {
            Self::Everything => "for every host leave `hosts` out".into(),
            Self::NoApex => "write `*.example.com`; for every host leave `hosts` out".into(),
            Self::Wildcard => "write `*.example.com`, or list the hosts".into(),
            Self::TopLevel { domain } => {
                format!("name at least two labels: `*.example.{domain}`").into()
            }
            Self::UnderAddress => "write the address, or a block such as `203.0.113.0/24`".into(),
            Self::Url => "write the host alone, without scheme and path".into(),
            Self::Path => "write the host alone and the path under `paths`; a block starts with an \
                           address in canonical form"
                .into(),
            Self::UserInfo => "write the host alone".into(),
            Self::Port { canonical } => {
                format!("use \"{canonical}\", and the port under `ports`").into()
            }
            Self::Spelling { canonical } | Self::Brackets { canonical } => {
                format!("use \"{canonical}\"").into()
            }
            Self::TrailingDot { address } => format!("use \"{address}\"").into(),
            Self::MappedBlock { base } => {
                format!("use the IPv4 block that starts at `{base}`").into()
            }
            Self::PrefixLength { max } => format!("write a length from 0 to {max}").into(),
            Self::HostBits { block, address } => {
                let address = Host::Address(*address);
                let (block, address) = (block_text(block), address.canonical());
                format!("write \"{block}\" for the block, or \"{address}\"").into()
            }
            Self::Unicode => {
                "write the name in its ASCII form, with labels that start `xn--`".into()
            }
            Self::NoHost(Malformed::Ipv4) => {
                "write the address as a dotted quad, such as `192.0.2.1`".into()
            }
            Self::NoHost(Malformed::Ipv6) => {
                "write a name without brackets, or an IPv6 address such as `[2001:db8::1]`, without \
                 a zone id"
                    .into()
            }
            Self::Empty | Self::NoHost(_) => "write a host such as `api.example.com`".into(),
        }
    }

    /// The pattern to write instead, where it is certain which was meant.
    pub fn canonical(&self) -> Option<String> {
        match self {
            Self::Spelling { canonical } | Self::Brackets { canonical } => {
                Some(canonical.to_string())
            }
            Self::TrailingDot { address } => Some(address.to_string()),
            _ => None,
        }
    }
}

impl fmt::Display for PatternError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.problem(), self.remedy())
    }
}

impl std::error::Error for PatternError {}

fn parse_under<'a>(text: &str, suffix: &'a str) -> Result<HostPattern<'a>, PatternError> {
    match Host::parse(suffix.as_bytes()) {
        Ok(Host::Name(name)) if !name.as_str().contains('.') => {
            Err(PatternError::TopLevel { domain: name.as_str().into() })
        }
        Ok(Host::Name(name)) if name.as_str() == suffix => Ok(HostPattern::Under(suffix)),
        Ok(Host::Name(name)) => {
            Err(PatternError::Spelling { canonical: format!("*.{}", name.as_str()).into() })
        }
        Ok(Host::Address(_)) => Err(PatternError::UnderAddress),
        Err(Malformed::Empty) => Err(PatternError::NoApex),
        Err(malformed) => Err(diagnose(text, malformed)),
    }
}

fn parse_block<'a>(
    text: &str,
    address: &str,
    length: &str,
) -> Result<HostPattern<'a>, PatternError> {
    if text.contains("://") {
        return Err(PatternError::Url);
    }
    // Brackets belong to single addresses, but what is meant is clear.
    let (address, length) = (address.trim_matches(['[', ']']), length.trim_end_matches(']'));
    let Ok(base) = address.parse::<IpAddr>() else { return Err(PatternError::Path) };
    if base.to_canonical() != base {
        return Err(PatternError::MappedBlock { base: base.to_canonical() });
    }
    let max = if base.is_ipv4() { 32 } else { 128 };
    // `024` is 24 to one reader and 20 to another.
    let is_decimal = length == "0" || !length.starts_with(['0', '+']);
    let block = length
        .parse()
        .ok()
        .filter(|_| is_decimal)
        .and_then(|length| Block::new(base, length))
        .ok_or(PatternError::PrefixLength { max })?;
    if block.base() != base {
        return Err(PatternError::HostBits { block, address: base });
    }
    let canonical = block_text(&block);
    if canonical != text {
        return Err(PatternError::Spelling { canonical: canonical.into() });
    }
    Ok(HostPattern::Block(block))
}

/// A block as patterns write it.
fn block_text(block: &Block) -> String {
    format!("{}/{}", block.base(), block.length())
}

/// Says what the author may have meant by a text that is no host.
fn diagnose(text: &str, malformed: Malformed) -> PatternError {
    if text.is_empty() {
        return PatternError::Empty;
    }
    if !text.is_ascii() {
        return PatternError::Unicode;
    }
    if text.contains('@') {
        return PatternError::UserInfo;
    }
    if let Ok(address) = text.parse::<Ipv6Addr>() {
        let host = Host::Address(IpAddr::V6(address).to_canonical());
        return PatternError::Brackets { canonical: host.canonical().into() };
    }
    if let Some((host, port)) = text.rsplit_once(':')
        && port.bytes().all(|byte| byte.is_ascii_digit())
        && let Some(canonical) = canonical_pattern(host)
    {
        return PatternError::Port { canonical: canonical.into() };
    }
    // A quad with a dot behind it is the only near miss that names one address.
    match text.strip_suffix('.').map(str::parse) {
        Some(Ok(address)) if malformed == Malformed::Ipv4 => PatternError::TrailingDot { address },
        _ => PatternError::NoHost(malformed),
    }
}

/// The canonical form of a name, a wildcard or an address, where that is a pattern.
fn canonical_pattern(text: &str) -> Option<String> {
    let (wildcard, host) = match text.strip_prefix("*.") {
        Some(parent) => ("*.", parent),
        None => ("", text),
    };
    let canonical = format!("{wildcard}{}", Host::parse(host.as_bytes()).ok()?.canonical());
    HostPattern::parse(&canonical).is_ok().then_some(canonical)
}

#[cfg(test)]
mod tests {
    use super::*;
    use wasm_bindgen_test::wasm_bindgen_test;

    #[wasm_bindgen_test(unsupported = test)]
    fn canonical_patterns_are_read() {
        let address = |text: &str| text.parse::<IpAddr>().unwrap();
        let block = |text, length| HostPattern::Block(Block::new(address(text), length).unwrap());
        for (text, pattern) in [
            ("api.example.com", HostPattern::Name("api.example.com")),
            ("localhost", HostPattern::Name("localhost")),
            ("*.example.com", HostPattern::Under("example.com")),
            ("192.0.2.1", HostPattern::Address(address("192.0.2.1"))),
            ("[2001:db8::1]", HostPattern::Address(address("2001:db8::1"))),
            ("203.0.113.0/24", block("203.0.113.0", 24)),
            ("0.0.0.0/0", block("0.0.0.0", 0)),
            ("2001:db8::/32", block("2001:db8::", 32)),
        ] {
            assert_eq!(HostPattern::parse(text), Ok(pattern), "{text}");
        }
    }

    #[wasm_bindgen_test(unsupported = test)]
    fn every_other_text_is_refused_with_what_to_write_instead() {
        for (text, remedy) in [
            ("", "write a host such as"),
            ("*", "leave `hosts` out"),
            ("*.", "leave `hosts` out"),
            ("*.com", "`*.example.com`"),
            ("*.COM.", "`*.example.com`"),
            ("a.*.com", "list the hosts"),
            ("api*.example.com", "list the hosts"),
            ("*.*.example.com", "write a host such as"),
            ("API.Example.com", r#"use "api.example.com""#),
            ("api.example.com.", r#"use "api.example.com""#),
            ("*.Example.com", r#"use "*.example.com""#),
            ("api.example.com:443", r#"use "api.example.com", and the port under `ports`"#),
            ("*.example.com:443", r#"use "*.example.com", and the port under `ports`"#),
            ("https://api.example.com/v1", "without scheme and path"),
            ("api.example.com/v1", "the path under `paths`"),
            ("user@api.example.com", "write the host alone"),
            ("b\u{fc}cher.example", "labels that start `xn--`"),
            ("*.deny\u{3002}example", "labels that start `xn--`"),
            ("2001:DB8::1", r#"use "[2001:db8::1]""#),
            ("[2001:DB8::1]", r#"use "[2001:db8::1]""#),
            ("[::ffff:1.2.3.4]", r#"use "1.2.3.4""#),
            ("::ffff:1.2.3.4", r#"use "1.2.3.4""#),
            ("[fe80::1%eth0]", "without a zone id"),
            ("1.2.3.4.", r#"use "1.2.3.4""#),
            ("1.2.3", "dotted quad"),
            ("203.0.113.5/24", r#"write "203.0.113.0/24" for the block, or "203.0.113.5""#),
            ("2001:db8::1/32", r#"write "2001:db8::/32" for the block, or "[2001:db8::1]""#),
            ("2001:DB8::/32", r#"use "2001:db8::/32""#),
            ("[2001:db8::/32]", r#"use "2001:db8::/32""#),
            ("[2001:db8::]/32", r#"use "2001:db8::/32""#),
            ("203.0.113.0/024", "from 0 to 32"),
            ("203.0.113.0/+24", "from 0 to 32"),
            ("203.0.113.0/33", "from 0 to 32"),
            ("203.0.113.0/", "from 0 to 32"),
            ("::ffff:0:0/96", "use the IPv4 block"),
            ("xn--deny.test", "write a host such as"),
        ] {
            let error = HostPattern::parse(text).expect_err(text);
            assert!(error.to_string().contains(remedy), "{text}: {error}");
        }
    }
}
