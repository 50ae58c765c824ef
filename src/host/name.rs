//! DNS names in canonical form.

use super::{Malformed, punycode};
use std::borrow::Cow;

/// Longest name, in bytes of its text without the trailing dot (RFC 1035, section 2.3.4).
const MAX_NAME: usize = 253;
/// Longest label, in bytes (RFC 1035, section 2.3.4).
const MAX_LABEL: usize = 63;

/// Names that stand for the machine itself or for a cloud's metadata service, beside those under
/// `localhost`.
pub const SPECIAL_NAMES: [&str; 6] = [
    "instance-data",
    "instance-data.ec2.internal",
    "localhost",
    "metadata",
    "metadata.goog",
    "metadata.google.internal",
];

/// A DNS name: lower case, no trailing dot. Borrows the caller's bytes where they are canonical.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name<'a>(Cow<'a, str>);

impl<'a> Name<'a> {
    /// Reads a name that is no IPv4 attempt (see [`is_ipv4_attempt`]).
    pub(super) fn parse(bytes: &'a [u8]) -> Result<Self, Malformed> {
        if bytes.is_empty() {
            return Err(Malformed::Empty);
        }
        let bytes = without_trailing_dot(bytes);
        if let Some(&byte) = bytes.iter().find(|&&byte| !is_name_byte(byte)) {
            return Err(Malformed::Byte(byte));
        }
        if bytes.len() > MAX_NAME {
            return Err(Malformed::LongName);
        }
        for label in bytes.split(|&byte| byte == b'.') {
            check_label(label)?;
        }
        // Only ASCII got this far.
        let text = std::str::from_utf8(bytes).map_err(|_| Malformed::Empty)?;
        Ok(Self(match text.bytes().any(|byte| byte.is_ascii_uppercase()) {
            true => Cow::Owned(text.to_ascii_lowercase()),
            false => Cow::Borrowed(text),
        }))
    }

    /// The canonical text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The names above this one, nearest first: for `a.b.test` `b.test`, then `test`.
    pub fn parents(&self) -> impl Iterator<Item = &str> {
        std::iter::successors(Some(self.as_str()), |name| name.split_once('.').map(|(_, up)| up))
            .skip(1)
    }

    /// Whether this name stands for the machine itself or for a cloud's metadata service.
    pub(super) fn is_special(&self) -> bool {
        SPECIAL_NAMES.contains(&self.as_str()) || self.as_str().ends_with(".localhost")
    }
}

/// Whether the last label is all digits or starts `0x`: then the host is read as an IPv4 address
/// or not at all, since resolvers do so (WHATWG URL, "ends in a number checker").
pub(super) fn is_ipv4_attempt(bytes: &[u8]) -> bool {
    let last = match without_trailing_dot(bytes).rsplit(|&byte| byte == b'.').next() {
        None | Some([]) => return false,
        Some(label) => label,
    };
    last.iter().all(u8::is_ascii_digit) || matches!(last, [b'0', b'x' | b'X', ..])
}

fn without_trailing_dot(bytes: &[u8]) -> &[u8] {
    bytes.strip_suffix(b".").unwrap_or(bytes)
}

fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.')
}

fn check_label(label: &[u8]) -> Result<(), Malformed> {
    match label {
        [] => Err(Malformed::EmptyLabel),
        [b'-', ..] | [.., b'-'] => Err(Malformed::Hyphen),
        _ if label.len() > MAX_LABEL => Err(Malformed::LongLabel),
        [b'x' | b'X', b'n' | b'N', b'-', b'-', rest @ ..] if !punycode::is_canonical(rest) => {
            Err(Malformed::Punycode)
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wasm_bindgen_test::wasm_bindgen_test;

    #[wasm_bindgen_test(unsupported = test)]
    fn parents_are_walked_label_by_label() {
        let name = Name::parse(b"A.b.wild.test.").unwrap();
        assert_eq!(name.parents().collect::<Vec<_>>(), ["b.wild.test", "wild.test", "test"]);
        assert_eq!(Name::parse(b"test").unwrap().parents().count(), 0);
    }

    #[wasm_bindgen_test(unsupported = test)]
    fn special_names_are_special_in_every_spelling() {
        for text in ["LOCALHOST", "localhost.", "a.b.localhost", "metadata.google.internal"] {
            assert!(Name::parse(text.as_bytes()).unwrap().is_special(), "{text}");
        }
        for text in ["localhost.test", "notlocalhost", "x.metadata.google.internal"] {
            assert!(!Name::parse(text.as_bytes()).unwrap().is_special(), "{text}");
        }
    }
}
