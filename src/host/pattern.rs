//! What a policy may write where it names hosts.

use super::{Block, Host, Malformed, parse_v6, punycode};
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
    /// Reads a pattern. Only canonical text is one; the error names the canonical form where there
    /// is one.
    pub fn parse(text: &'a str) -> Result<Self, PatternError> {
        if let Some(suffix) = text.strip_prefix("*.") {
            return parse_under(text, suffix);
        }
        if text == "*" {
            let remedy = "for every host leave `hosts` out";
            return Err(PatternError::new("a wildcard without a name", remedy));
        }
        if text.contains('*') {
            return Err(PatternError::new(
                "`*` elsewhere than as the whole first label",
                "write `*.example.com`, or list the hosts",
            ));
        }
        if let Some((address, length)) = text.split_once('/') {
            return parse_block(text, address, length);
        }
        match Host::parse(text.as_bytes()) {
            Ok(host) => {
                let canonical = host.canonical();
                if canonical != text {
                    return Err(PatternError::misspelt(&canonical));
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

/// Why a text is no host pattern, and what to write instead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PatternError {
    problem: String,
    remedy: String,
}

impl PatternError {
    /// What is wrong with the text.
    pub fn problem(&self) -> &str {
        &self.problem
    }

    /// What to write instead.
    pub fn remedy(&self) -> &str {
        &self.remedy
    }

    fn new(problem: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { problem: problem.into(), remedy: remedy.into() }
    }

    fn misspelt(canonical: &str) -> Self {
        Self::new("a host that is not in canonical form", format!("use \"{canonical}\""))
    }
}

impl fmt::Display for PatternError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.problem, self.remedy)
    }
}

impl std::error::Error for PatternError {}

fn parse_under<'a>(text: &str, suffix: &'a str) -> Result<HostPattern<'a>, PatternError> {
    match Host::parse(suffix.as_bytes()) {
        Ok(Host::Name(name)) if !name.as_str().contains('.') => Err(PatternError::new(
            "a wildcard over a whole top-level domain",
            format!("name at least two labels: `*.example.{}`", name.as_str()),
        )),
        Ok(Host::Name(name)) if name.as_str() == suffix => Ok(HostPattern::Under(suffix)),
        Ok(Host::Name(name)) => Err(PatternError::misspelt(&format!("*.{}", name.as_str()))),
        Ok(Host::Address(_)) => Err(PatternError::new(
            "a wildcard before an address",
            "write the address, or a block such as `203.0.113.0/24`",
        )),
        Err(Malformed::Empty) => Err(PatternError::new(
            "a wildcard without a name",
            "write `*.example.com`; for every host leave `hosts` out",
        )),
        Err(malformed) => Err(diagnose(text, malformed)),
    }
}

fn parse_block<'a>(
    text: &str,
    address: &str,
    length: &str,
) -> Result<HostPattern<'a>, PatternError> {
    if text.contains("://") {
        return Err(PatternError::new("a URL", "write the host alone, without scheme and path"));
    }
    // Brackets belong to single addresses, but what is meant is clear.
    let (address, length) = (address.trim_matches(['[', ']']), length.trim_end_matches(']'));
    let Ok(base) = address.parse::<IpAddr>() else {
        return Err(PatternError::new(
            "a host with a path",
            "write the host alone and the path under `paths`; a block starts with an address in \
             canonical form",
        ));
    };
    if base.to_canonical() != base {
        return Err(PatternError::new(
            "a block of IPv4-mapped addresses",
            format!("use the IPv4 block that starts at `{}`", base.to_canonical()),
        ));
    }
    let width = if base.is_ipv4() { 32 } else { 128 };
    // `024` is 24 to one reader and 20 to another.
    let is_decimal = length == "0" || !length.starts_with(['0', '+']);
    let block = length
        .parse()
        .ok()
        .filter(|_| is_decimal)
        .and_then(|length| Block::new(base, length))
        .ok_or_else(|| {
            PatternError::new(
                "a prefix length that does not fit the address",
                format!("write a length from 0 to {width}"),
            )
        })?;
    let canonical = format!("{}/{}", block.base(), block.length());
    if block.base() != base {
        let address = Host::Address(base);
        return Err(PatternError::new(
            "a block with host bits set",
            format!("write \"{canonical}\" for the block, or \"{}\"", address.canonical()),
        ));
    }
    if canonical != text {
        return Err(PatternError::misspelt(&canonical));
    }
    Ok(HostPattern::Block(block))
}

/// Says what the author may have meant by a text that is no host.
fn diagnose(text: &str, malformed: Malformed) -> PatternError {
    if text.is_empty() {
        return PatternError::new("an empty host", "write a host such as `api.example.com`");
    }
    if !text.is_ascii() {
        return PatternError::new("a host that is not in ASCII", remedy_for_unicode(text));
    }
    if text.contains('@') {
        return PatternError::new("a host with a userinfo", "write the host alone");
    }
    if let Ok(address) = text.parse::<Ipv6Addr>() {
        let host = Host::Address(IpAddr::V6(address).to_canonical());
        return PatternError::new(
            "an IPv6 address without brackets",
            format!("use \"{}\"", host.canonical()),
        );
    }
    if let Some((host, port)) = text.rsplit_once(':')
        && port.bytes().all(|byte| byte.is_ascii_digit())
        && let Some(canonical) = canonical_pattern(host)
    {
        return PatternError::new(
            "a host with a port",
            format!("use \"{canonical}\", and the port under `ports`"),
        );
    }
    let remedy = match malformed {
        // INVARIANT: a quad with a trailing dot is the only near miss that names one address.
        Malformed::Ipv4 => match text.strip_suffix('.').map(str::parse::<Ipv4Addr>) {
            Some(Ok(address)) => format!("use \"{address}\""),
            _ => "write the address as a dotted quad, such as `192.0.2.1`".to_owned(),
        },
        Malformed::Ipv6 if parse_v6(text.trim_matches(['[', ']']).as_bytes()).is_err() => {
            "write a name without brackets, or an IPv6 address such as `[2001:db8::1]`, without a \
             zone id"
                .to_owned()
        }
        _ => "write a host such as `api.example.com`".to_owned(),
    };
    PatternError::new(format!("no host: {malformed}"), remedy)
}

/// Names the A-labels of a Unicode name (RFC 5891), as far as that needs no Unicode tables: where each
/// letter stands for itself, or for its lower case. Full-width letters, ideographic full stops and
/// combining marks stand for others (UTS 46), so no form is named for a name with them.
fn remedy_for_unicode(text: &str) -> String {
    let label = |label: &str| -> Option<String> {
        if label.is_ascii() {
            return Some(label.to_ascii_lowercase());
        }
        let lower: Vec<char> = label.chars().map(plain_letter).collect::<Option<_>>()?;
        Some(format!("xn--{}", String::from_utf8(punycode::encode(&lower)?).ok()?))
    };
    let labels: Option<Vec<String>> = text.split('.').map(label).collect();
    match labels.map(|labels| labels.join(".")) {
        Some(host) if HostPattern::parse(&host).is_ok() => match text.contains(DEVIATIONS) {
            true => format!("write \"{host}\"; to older readers it is another name"),
            false => format!("use \"{host}\""),
        },
        _ => "write the name in its ASCII form, with labels that start `xn--`".to_owned(),
    }
}

/// Letters that UTS 46 once mapped, to `ss` and to another sigma.
const DEVIATIONS: [char; 2] = ['\u{df}', '\u{3c2}'];

/// The lower case of a letter that UTS 46 maps to nothing else, in any place of a label; `None` for
/// other characters, and for scripts whose labels have rules of their own.
fn plain_letter(c: char) -> Option<char> {
    // The capitals of these stand 32 before the small letters.
    let moved = |by: u32| char::from_u32(u32::from(c).checked_add(by)?);
    match c {
        'A'..='Z' => Some(c.to_ascii_lowercase()),
        '0'..='9' | 'a'..='z' | '-' | '_' => Some(c),
        // Latin, but the signs U+00D7 and U+00F7.
        '\u{c0}'..='\u{d6}' | '\u{d8}'..='\u{de}' => moved(32),
        '\u{df}'..='\u{f6}' | '\u{f8}'..='\u{ff}' => Some(c),
        // Greek.
        '\u{391}'..='\u{3a1}' | '\u{3a3}'..='\u{3a9}' => moved(32),
        '\u{3ac}'..='\u{3ce}' => Some(c),
        // Cyrillic.
        '\u{410}'..='\u{42f}' => moved(32),
        '\u{430}'..='\u{45f}' => Some(c),
        // Hiragana, Katakana, Han, Hangul.
        '\u{3041}'..='\u{3096}'
        | '\u{30a1}'..='\u{30fa}'
        | '\u{4e00}'..='\u{9fff}'
        | '\u{ac00}'..='\u{d7a3}' => Some(c),
        _ => None,
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
            ("b\u{fc}cher.example", r#"use "xn--bcher-kva.example""#),
            ("*.B\u{dc}CHER.example", r#"use "*.xn--bcher-kva.example""#),
            ("*.\u{411}\u{44e}\u{440}\u{43e}.example", r#"use "*.xn--90a0af9c.example""#),
            ("\u{4f8b}\u{3048}.example", r#"use "xn--r8jz45g.example""#),
            ("fa\u{df}.example", r#"write "xn--fa-hia.example"; to older readers"#),
            ("\u{ff44}eny.example", "labels that start `xn--`"),
            ("deny\u{3002}example", "labels that start `xn--`"),
            ("\u{130}.example", "labels that start `xn--`"),
            ("\u{fb01}sh.example", "labels that start `xn--`"),
            ("bu\u{308}cher.example", "labels that start `xn--`"),
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

    /// A form that is named for a name is what UTS 46 makes of it, and differs from it by case only.
    #[cfg(not(target_family = "wasm"))]
    #[test]
    fn the_named_form_of_a_unicode_name_is_certain() {
        let mut named = 0;
        for c in '\u{80}'..=char::MAX {
            for text in [format!("{c}eny.example"), format!("a{c}a.b{c}.example")] {
                let remedy = HostPattern::parse(&text).expect_err(&text).remedy().to_owned();
                let Some(form) = remedy.strip_prefix("use \"").and_then(|it| it.strip_suffix('"'))
                else {
                    continue;
                };
                named += 1;
                assert_eq!(
                    idna::domain_to_ascii_strict(&text).ok().as_deref(),
                    Some(form),
                    "{text}"
                );
                let (back, read) = idna::domain_to_unicode(form);
                assert_eq!((back, read.is_ok()), (text.to_lowercase(), true), "{text}");
            }
        }
        assert!(named > 60_000, "{named}");
    }
}
