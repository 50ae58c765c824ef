//! What a policy may write where it names hosts.

use super::name::MAX_LABEL;
use super::{Block, Glob, Host, Malformed};
use std::borrow::Cow;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// One pattern of a list of hosts, in canonical form.
///
/// | text | matches |
/// | --- | --- |
/// | `api.example.com` | that name |
/// | `*.example.com` | every name under it, at any depth, never `example.com` itself |
/// | `.example.com` | `example.com` and every name under it |
/// | `sts.*.amazonaws.com`, `api-*.example.com` | see [`Glob`] |
/// | `192.0.2.1`, `[2001:db8::1]` | that address, however a request spells it |
/// | `203.0.113.0/24`, `2001:db8::/32` | the addresses of the block, written as addresses |
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum HostPattern<'a> {
    /// Exactly this name.
    Name(&'a str),
    /// Every name under this one.
    Under(&'a str),
    /// This name and every name under it.
    Tree(&'a str),
    /// The names that match.
    Glob(Glob<'a>),
    /// Exactly this address.
    Address(IpAddr),
    /// Every address of the block.
    Block(Block),
}

impl<'a> HostPattern<'a> {
    /// Reads a pattern. Only canonical text is one; the error holds the canonical form where there is
    /// one.
    pub fn parse(text: &'a str) -> Result<Self, PatternError> {
        if let Some((address, length)) = text.split_once('/') {
            return parse_block(text, address, length);
        }
        if let Some(suffix) = text.strip_prefix("*.")
            && !suffix.contains('*')
        {
            return Ok(Self::Under(parse_apex(text, "*.", suffix)?));
        }
        if text.contains('*') {
            return parse_glob(text).map(Self::Glob);
        }
        if let Some(apex) = text.strip_prefix('.') {
            return Ok(Self::Tree(parse_apex(text, ".", apex)?));
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
    /// `*.` or `.` without a name.
    NoApex,
    /// `*` stands in one of the last two labels.
    LastLabels,
    /// `*` stands before a name without a dot between them.
    NoDot {
        /// The name.
        name: Box<str>,
    },
    /// Two `*` stand side by side, in one label or as whole labels.
    SideBySide {
        /// The wildcard over the name behind them, where nothing else is before it.
        wildcard: Option<Box<str>>,
    },
    /// There are more than four.
    TooManyStars,
    /// `*` stands in a label that starts `xn--`.
    EncodedLabel,
    /// A regular expression.
    Regex,
    /// A pattern over a whole top-level domain.
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
            Self::LastLabels => "`*` in one of the last two labels".into(),
            Self::NoDot { .. } => "`*` before a name without a dot between them".into(),
            Self::SideBySide { .. } => "two `*` side by side".into(),
            Self::TooManyStars => format!("more than {MAX_STARS} `*`").into(),
            Self::EncodedLabel => "`*` in a label that starts `xn--`".into(),
            Self::Regex => "a regular expression".into(),
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
            Self::LastLabels => {
                "write the last two labels out, as in `*.example.com` or `api-*.example.com`".into()
            }
            Self::NoDot { name } => format!(
                "use \"*.{name}\" for the names below it, or \".{name}\" for it and those"
            )
            .into(),
            Self::SideBySide { wildcard: Some(wildcard) } => {
                format!("use \"{wildcard}\", which matches at any depth").into()
            }
            Self::SideBySide { wildcard: None } => {
                "write one `*` in a label, and a literal label between two that are `*`".into()
            }
            Self::TooManyStars => "write at most four in one pattern, or list the hosts".into(),
            Self::EncodedLabel => "write the label out, or `*` for the whole label".into(),
            Self::Regex => "write a pattern such as `*.example.com`, `.example.com` or \
                            `api-*.example.com`"
                .into(),
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

/// Reads the name behind `*.` or `.`.
fn parse_apex<'a>(text: &str, before: &str, apex: &'a str) -> Result<&'a str, PatternError> {
    match Host::parse(apex.as_bytes()) {
        Ok(Host::Name(name)) if !name.as_str().contains('.') => {
            Err(PatternError::TopLevel { domain: name.as_str().into() })
        }
        Ok(Host::Name(name)) if name.as_str() == apex => Ok(apex),
        Ok(Host::Name(name)) => {
            Err(PatternError::Spelling { canonical: format!("{before}{}", name.as_str()).into() })
        }
        Ok(Host::Address(_)) => Err(PatternError::UnderAddress),
        Err(Malformed::Empty) => Err(PatternError::NoApex),
        Err(malformed) => Err(diagnose(text, malformed)),
    }
}

/// Most `*` in a glob.
const MAX_STARS: usize = 4;

/// Reads a text with a `*` that is no wildcard over names.
fn parse_glob(text: &str) -> Result<Glob<'_>, PatternError> {
    if text.trim_matches(['*', '.']).is_empty() {
        return Err(if text.contains('.') {
            PatternError::NoApex
        } else {
            PatternError::Everything
        });
    }
    let host = text.split('.').map(as_label).collect::<Vec<_>>().join(".");
    let name = match Host::parse(host.as_bytes()) {
        Ok(Host::Name(name)) => name,
        Ok(Host::Address(_)) => return Err(PatternError::UnderAddress),
        Err(_) if has_encoded_star(text) => return Err(PatternError::EncodedLabel),
        Err(malformed) => return Err(diagnose(text, malformed)),
    };
    let (before, last) = match text.trim_end_matches('.').rsplitn(3, '.').collect::<Vec<_>>()[..] {
        [last, second, before] => (Some(before), [second, last]),
        [last, second] => (None, [second, last]),
        _ => (None, ["", text]),
    };
    if last.iter().any(|label| label.contains('*')) {
        return Err(in_last_labels(text, before.is_none()));
    }
    let labels: Vec<&str> = before.into_iter().flat_map(|before| before.split('.')).collect();
    if text.contains("**") || labels.windows(2).any(|pair| pair == ["*", "*"]) {
        return Err(side_by_side(text));
    }
    if text.bytes().filter(|byte| *byte == b'*').count() > MAX_STARS {
        return Err(PatternError::TooManyStars);
    }
    if has_encoded_star(text) {
        return Err(PatternError::EncodedLabel);
    }
    if name.as_str() != host {
        let canonical = text.trim_end_matches('.').to_ascii_lowercase();
        return Err(PatternError::Spelling { canonical: canonical.into() });
    }
    Ok(Glob::of_canonical(text))
}

/// A label that the label of a glob matches: with a byte for each `*`, where it may have one more.
fn as_label(label: &str) -> String {
    let bytes = label.bytes().filter(|byte| *byte != b'*').count();
    label.replace('*', if bytes < MAX_LABEL { "a" } else { "" })
}

fn has_encoded_star(text: &str) -> bool {
    let is_encoded = |label: &str| label.get(..4).is_some_and(|it| it.eq_ignore_ascii_case("xn--"));
    text.split('.').any(|label| is_encoded(label) && label.contains('*'))
}

/// Says what was meant by a `*` in one of the last two labels.
fn in_last_labels(text: &str, has_no_more: bool) -> PatternError {
    let behind = text.strip_prefix('*').filter(|_| has_no_more);
    match behind.map(HostPattern::parse) {
        Some(Ok(HostPattern::Name(name))) if name.contains('.') => {
            PatternError::NoDot { name: name.into() }
        }
        _ => PatternError::LastLabels,
    }
}

/// Says what was meant by several `*` side by side.
fn side_by_side(text: &str) -> PatternError {
    let name = text.trim_start_matches(['*', '.']);
    let wildcard = format!("*.{name}");
    let is_wildcard = !name.contains('*')
        && HostPattern::parse(&wildcard).is_ok()
        && text.strip_suffix(name).is_some_and(|before| before.ends_with('.'));
    PatternError::SideBySide { wildcard: is_wildcard.then(|| wildcard.into()) }
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
    if text.contains(['\\', '^', '$', '(', ')', '|', '+', '?'])
        || text.starts_with(".*")
        || text.contains(".*") && !text.contains("*.")
    {
        return PatternError::Regex;
    }
    if text.contains('@') {
        return PatternError::UserInfo;
    }
    if let Ok(address) = text.parse::<Ipv6Addr>() {
        let host = Host::Address(IpAddr::V6(address).to_canonical());
        return PatternError::Brackets { canonical: host.canonical().into() };
    }
    if let Some((host, port)) = text.rsplit_once(':')
        && (port == "*" || port.bytes().all(|byte| byte.is_ascii_digit()))
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

/// The canonical form of a name, a pattern over names or an address, where that is a pattern.
fn canonical_pattern(text: &str) -> Option<String> {
    match HostPattern::parse(text) {
        Ok(_) => Some(text.to_owned()),
        Err(error) => error.canonical(),
    }
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
            (".example.com", HostPattern::Tree("example.com")),
            ("sts.*.example.com", HostPattern::Glob(Glob::of_canonical("sts.*.example.com"))),
            ("*.s3.*.example.com", HostPattern::Glob(Glob::of_canonical("*.s3.*.example.com"))),
            ("api*.example.com", HostPattern::Glob(Glob::of_canonical("api*.example.com"))),
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
            (".", "leave `hosts` out"),
            ("..", "write a host such as"),
            (".com", "`*.example.com`"),
            (".1.2.3.4", "write the address"),
            ("*.1.2.3.4", "write the address"),
            ("a*.2.3.4", "dotted quad"),
            (".Example.com", r#"use ".example.com""#),
            (".example.com:443", r#"use ".example.com", and the port under `ports`"#),
            ("example.com:*", r#"use "example.com", and the port under `ports`"#),
            ("*.example.com:*", r#"use "*.example.com", and the port under `ports`"#),
            ("api-*.example.com:443", r#"use "api-*.example.com", and the port under `ports`"#),
            ("a.*.com", "the last two labels out"),
            ("a.b.*", "the last two labels out"),
            ("a.exam*le.com", "the last two labels out"),
            ("*example.com", r#"use "*.example.com" for the names below it, or ".example.com""#),
            ("*.*.example.com", r#"use "*.example.com""#),
            ("**.example.com", r#"use "*.example.com""#),
            ("**", "leave `hosts` out"),
            ("*.*", "leave `hosts` out"),
            ("a.**.example.com", "one `*` in a label"),
            ("a.*.*.example.com", "one `*` in a label"),
            ("a*b*c*.d*.e*.example.com", "at most four"),
            ("API-*.example.com", r#"use "api-*.example.com""#),
            ("api-*.example.com.", r#"use "api-*.example.com""#),
            ("xn--*.example.com", "write the label out"),
            ("-*.example.com", "write a host such as"),
            ("https://*.example.com", "without scheme and path"),
            (r".*\.example\.com", "`api-*.example.com`"),
            ("^api.example.com$", "`api-*.example.com`"),
            ("(a|b).example.com", "`api-*.example.com`"),
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
