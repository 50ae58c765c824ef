//! The one host parser: bytes in, canonical host out. Requests and policies both use it, and
//! nothing else in this crate takes a host apart.
//!
//! - A **name** has at most 253 bytes in labels of 1 to 63 of `a-z 0-9 - _`, with no hyphen at an
//!   end of a label. Letters are lowered and one trailing dot is dropped. An `xn--` label must be
//!   punycode (RFC 3492) that decodes to something not ASCII and encodes back to itself.
//! - A name whose last label is all digits or starts `0x` is an attempt at an IPv4 address (WHATWG
//!   URL, "ends in a number"); only the canonical dotted quad is one, all else is malformed.
//! - An **IPv6 address** stands in brackets, without a zone id. An IPv4-mapped one is that IPv4
//!   address.
//! - An **authority** is a host with an optional port: digits, 1 to 65535, no leading zero.
//! - A **server name** of TLS is a name in its canonical spelling; where a plugin is told so, it is the
//!   mesh's own form of one and a port instead, `outbound_.PORT_.SUBSET_.NAME`.
//!
//! Everything else is [`Malformed`]: userinfo, `%`, two hosts joined by a comma, an empty host or
//! port, `[name]`, any byte beyond the above.

mod address;
mod authority;
mod glob;
mod name;
mod pattern;
mod punycode;
mod server_name;

pub use address::{Block, is_forbidden, special_purpose_blocks};
pub use authority::Authority;
pub(crate) use authority::parse_port;
pub use glob::Glob;
pub(crate) use name::suffixes;
pub use name::{MAX_LABEL, MAX_NAME, Name, SPECIAL_NAMES};
pub use pattern::{HostPattern, PatternError};
pub use server_name::ServerNameForm;

use std::borrow::Cow;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A host in canonical form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Host<'a> {
    /// A DNS name.
    Name(Name<'a>),
    /// An IP address; an IPv4-mapped IPv6 address is held as the IPv4 one.
    Address(IpAddr),
}

impl<'a> Host<'a> {
    /// Reads a host without a port: a name, an IPv4 address, or an IPv6 address in brackets.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Malformed> {
        if let Some(rest) = bytes.strip_prefix(b"[") {
            let literal = rest.strip_suffix(b"]").ok_or(Malformed::Bracket)?;
            return Ok(Self::Address(parse_v6(literal)?));
        }
        if name::is_ipv4_attempt(bytes) {
            let address = std::str::from_utf8(bytes).ok().and_then(|text| text.parse().ok());
            return address.map(|v4: Ipv4Addr| Self::Address(v4.into())).ok_or(Malformed::Ipv4);
        }
        Ok(Self::Name(Name::parse(bytes)?))
    }

    /// The canonical text: a name in lower case, a dotted quad, or RFC 5952 in brackets.
    pub fn canonical(&self) -> Cow<'_, str> {
        match self {
            Self::Name(name) => Cow::Borrowed(name.as_str()),
            Self::Address(IpAddr::V4(v4)) => Cow::Owned(v4.to_string()),
            Self::Address(IpAddr::V6(v6)) => Cow::Owned(format!("[{v6}]")),
        }
    }

    /// The same with a text of its own.
    pub fn into_owned(self) -> Host<'static> {
        match self {
            Self::Name(name) => Host::Name(name.into_owned()),
            Self::Address(address) => Host::Address(address),
        }
    }

    /// Whether an allow rule must name this host to admit it: an address, or a name that stands
    /// for the machine itself or for a cloud's metadata service.
    pub fn is_special(&self) -> bool {
        match self {
            Self::Name(name) => name.is_special(),
            Self::Address(_) => true,
        }
    }
}

/// The same of a host as policies and logs write it; what is no host is not special.
pub fn is_special(text: &str) -> bool {
    Host::parse(text.as_bytes()).is_ok_and(|host| host.is_special())
}

/// Reads what stands between the brackets of an IPv6 literal.
fn parse_v6(literal: &[u8]) -> Result<IpAddr, Malformed> {
    let address: Option<Ipv6Addr> =
        std::str::from_utf8(literal).ok().and_then(|text| text.parse().ok());
    // INVARIANT: no `IpAddr::V6` in this crate is an IPv4-mapped one.
    address.map(|v6| IpAddr::V6(v6).to_canonical()).ok_or(Malformed::Ipv6)
}

/// Why bytes are not a host, or not an authority.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Malformed {
    /// There is no host.
    Empty,
    /// A byte that no host has.
    Byte(u8),
    /// A label is empty: two dots, or a dot in front.
    EmptyLabel,
    /// A label has more than 63 bytes.
    LongLabel,
    /// The name has more than 253 bytes.
    LongName,
    /// A label starts or ends with a hyphen.
    Hyphen,
    /// An `xn--` label is not canonical punycode for something beyond ASCII.
    Punycode,
    /// It ends in a number, but is not a canonical dotted quad.
    Ipv4,
    /// What stands in brackets is not an IPv6 address.
    Ipv6,
    /// A bracket without its counterpart.
    Bracket,
    /// The port is not a number from 1 to 65535 in plain digits.
    Port,
    /// A TLS server name is an address.
    Address,
    /// A TLS server name is not in its canonical spelling.
    Spelling,
    /// A TLS server name begins as the mesh's own form, where a DNS name is expected.
    MeshForm,
    /// A TLS server name is not of the mesh's own form, where that is expected.
    NoMeshForm,
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("the host is empty"),
            Self::Byte(byte) => write!(f, "a host has no byte `{}`", byte.escape_ascii()),
            Self::EmptyLabel => f.write_str("a label is empty"),
            Self::LongLabel => f.write_str("a label has more than 63 bytes"),
            Self::LongName => f.write_str("the name has more than 253 bytes"),
            Self::Hyphen => f.write_str("a label starts or ends with a hyphen"),
            Self::Punycode => f.write_str("an `xn--` label is not canonical punycode"),
            Self::Ipv4 => f.write_str("it ends in a number but is not a dotted quad"),
            Self::Ipv6 => f.write_str("what stands in brackets is not an IPv6 address"),
            Self::Bracket => f.write_str("a bracket has no counterpart"),
            Self::Port => f.write_str("the port is not a number from 1 to 65535"),
            Self::Address => f.write_str("a server name is a name, not an address"),
            Self::Spelling => f.write_str(
                "a server name is in lower case, as Envoy shows it, without a trailing dot",
            ),
            Self::MeshForm => f.write_str(
                "it begins as the mesh's own form, which only a root id with `:mesh-names` takes",
            ),
            Self::NoMeshForm => f.write_str("it is not `outbound_.PORT_.SUBSET_.NAME`"),
        }
    }
}

impl std::error::Error for Malformed {}
