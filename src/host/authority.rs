//! A host with an optional port, as `:authority` and `Host` carry it (RFC 9110, section 7.2).

use super::{Host, Malformed};

/// The authority of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authority<'a> {
    /// The host, in canonical form.
    pub host: Host<'a>,
    /// The port, where one is written.
    pub port: Option<u16>,
}

impl<'a> Authority<'a> {
    /// Reads `host` or `host:port`.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let end = match bytes.first() {
            // A colon inside brackets belongs to the address.
            Some(b'[') => bytes.iter().position(|&byte| byte == b']'),
            _ => bytes.iter().position(|&byte| matches!(byte, b':' | b']')),
        };
        let host_end = match end.map(|at| (at, bytes.get(at))) {
            Some((at, Some(b']'))) => at.saturating_add(1),
            Some((at, _)) => at,
            None => bytes.len(),
        };
        let (host, rest) = bytes.split_at_checked(host_end).unwrap_or((bytes, b""));
        let port = match rest {
            [] => None,
            [b':', digits @ ..] => Some(parse_port(digits)?),
            _ => return Err(Malformed::Bracket),
        };
        Ok(Self { host: Host::parse(host)?, port })
    }
}

/// Reads a port: one to five digits, no leading zero, 1 to 65535.
fn parse_port(digits: &[u8]) -> Result<u16, Malformed> {
    if digits.first() == Some(&b'0') || !digits.iter().all(u8::is_ascii_digit) {
        return Err(Malformed::Port);
    }
    let text = std::str::from_utf8(digits).map_err(|_| Malformed::Port)?;
    text.parse().map_err(|_| Malformed::Port)
}

#[cfg(test)]
mod tests {
    use super::*;
    use wasm_bindgen_test::wasm_bindgen_test;

    fn canonical(text: &str) -> Result<(String, Option<u16>), Malformed> {
        let authority = Authority::parse(text.as_bytes())?;
        Ok((authority.host.canonical().into_owned(), authority.port))
    }

    #[wasm_bindgen_test(unsupported = test)]
    fn every_spelling_of_a_host_is_the_same_host() {
        for (spelling, host, port) in [
            ("deny.test", "deny.test", None),
            ("dEnY.TeSt", "deny.test", None),
            ("deny.test.", "deny.test", None),
            ("DENY.test.:8443", "deny.test", Some(8443)),
            ("_dmarc.deny.test", "_dmarc.deny.test", None),
            ("aa--b.wild.test", "aa--b.wild.test", None),
            ("XN--BCHER-KVA.test", "xn--bcher-kva.test", None),
            ("1.2.3.4:1", "1.2.3.4", Some(1)),
            ("[2001:DB8:0:0::1]:65535", "[2001:db8::1]", Some(65535)),
            ("[::ffff:169.254.169.254]", "169.254.169.254", None),
            ("[::FFFF:A9FE:A9FE]", "169.254.169.254", None),
            ("[0:0:0:0:0:ffff:a9fe:a9fe]:80", "169.254.169.254", Some(80)),
        ] {
            assert_eq!(canonical(spelling), Ok((host.to_owned(), port)), "{spelling}");
        }
    }

    #[wasm_bindgen_test(unsupported = test)]
    fn what_is_not_a_host_with_an_optional_port_is_malformed() {
        use Malformed as M;
        for (text, error) in [
            ("", M::Empty),
            (".", M::EmptyLabel),
            ("deny.test..", M::EmptyLabel),
            (".deny.test", M::EmptyLabel),
            ("deny..test", M::EmptyLabel),
            (" deny.test", M::Byte(b' ')),
            ("user:pw@deny.test", M::Port),
            ("api.allow.test@evil.test", M::Byte(b'@')),
            ("api.allow.test,evil.test", M::Byte(b',')),
            ("%64enied.test", M::Byte(b'%')),
            ("*.wild.test", M::Byte(b'*')),
            ("b\u{fc}cher.test", M::Byte(0xc3)),
            ("-x.wild.test", M::Hyphen),
            ("x-.wild.test", M::Hyphen),
            ("xn--", M::Hyphen),
            ("xn--deny-.test", M::Hyphen),
            ("xn--deny.test", M::Punycode),
            ("deny.test:", M::Port),
            ("deny.test:abc", M::Port),
            ("deny.test:+80", M::Port),
            ("deny.test:0", M::Port),
            ("deny.test:00443", M::Port),
            ("deny.test:65536", M::Port),
            ("deny.test:18446744073709551697", M::Port),
            ("deny.test:443:443", M::Port),
            ("2001:db8::1", M::Port),
            ("[1::2]:3:4", M::Port),
            ("[1::2]3", M::Bracket),
            ("[deny.test]", M::Ipv6),
            ("[]", M::Ipv6),
            ("[:]", M::Ipv6),
            ("[[::1]]", M::Bracket),
            ("[fe80::1%25eth0]", M::Ipv6),
            ("[1.2.3.4]", M::Ipv6),
            ("a]b", M::Bracket),
            ("a[b", M::Byte(b'[')),
            ("[::1", M::Bracket),
        ] {
            assert_eq!(canonical(text), Err(error), "{text}");
        }
    }

    #[wasm_bindgen_test(unsupported = test)]
    fn a_number_at_the_end_is_a_dotted_quad_or_malformed() {
        for text in [
            "2130706433",
            "0x7f000001",
            "017700000001",
            "127.1",
            "0",
            "0177.0.0.1",
            "0x7f.0.0.1",
            "1.2.3.4.",
            "256.256.256.256",
            "1.2.3.08",
            "1.2.3.4.5",
            "foo.1.2.3.4",
            "foo.0x4",
            "foo.0X4",
            "foo.5.",
            "0x100000000",
        ] {
            assert_eq!(canonical(text), Err(Malformed::Ipv4), "{text}");
        }
    }

    #[wasm_bindgen_test(unsupported = test)]
    fn names_have_253_bytes_and_labels_63_at_most() {
        let label = "a".repeat(63);
        let longest = format!("{label}.{label}.{label}.{}", "b".repeat(61));
        assert_eq!(canonical(&longest), Ok((longest.clone(), None)));
        assert_eq!(canonical(&format!("{longest}.")), Ok((longest.clone(), None)));
        assert_eq!(canonical(&format!("{longest}b")), Err(Malformed::LongName));
        assert_eq!(canonical(&format!("a{label}.test")), Err(Malformed::LongLabel));
    }
}
