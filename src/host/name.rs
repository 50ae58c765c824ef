//! DNS names in canonical form.

use super::{Malformed, punycode};
use std::borrow::Cow;

/// Longest name, in bytes of its text without the trailing dot (RFC 1035, section 2.3.4).
pub const MAX_NAME: usize = 253;
/// Longest label, in bytes (RFC 1035, section 2.3.4).
pub const MAX_LABEL: usize = 63;

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
        let mut has_upper = false;
        let mut label_start = 0;
        for (at, &byte) in bytes.iter().enumerate() {
            match byte {
                b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' => {}
                b'.' => {
                    check_label(bytes.get(label_start..at).unwrap_or_default())?;
                    label_start = at.saturating_add(1);
                }
                b'A'..=b'Z' => has_upper = true,
                _ => return Err(Malformed::Byte(byte)),
            }
        }
        check_label(bytes.get(label_start..).unwrap_or_default())?;
        if bytes.len() > MAX_NAME {
            return Err(Malformed::LongName);
        }
        // Only ASCII got this far.
        let text = std::str::from_utf8(bytes).map_err(|_| Malformed::Empty)?;
        Ok(Self(match has_upper {
            true => Cow::Owned(text.to_ascii_lowercase()),
            false => Cow::Borrowed(text),
        }))
    }

    pub(super) fn into_owned(self) -> Name<'static> {
        Name(Cow::Owned(self.0.into_owned()))
    }

    /// The canonical text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether this name stands for the machine itself or for a cloud's metadata service.
    pub(super) fn is_special(&self) -> bool {
        SPECIAL_NAMES.contains(&self.as_str()) || self.as_str().ends_with(".localhost")
    }
}

/// The name's suffixes of whole labels, shortest first and the name itself last, each with its first
/// label: for `a.b.test` (`test`, `test`), (`b`, `b.test`), (`a`, `a.b.test`).
pub(crate) fn suffixes(name: &str) -> impl Iterator<Item = (&str, &str)> {
    let mut end = Some(name.len());
    std::iter::from_fn(move || {
        let label_end = end?;
        let above = name.as_bytes().get(..label_end)?;
        let dot = above.iter().rposition(|&byte| byte == b'.');
        end = dot;
        let start = dot.map_or(0, |dot| dot.saturating_add(1));
        Some((name.get(start..label_end)?, name.get(start..)?))
    })
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
    fn suffixes_are_walked_label_by_label() {
        let walked = |name| suffixes(name).collect::<Vec<_>>();
        assert_eq!(walked("test"), [("test", "test")]);
        assert_eq!(
            walked("a.bc.wild.test"),
            [
                ("test", "test"),
                ("wild", "wild.test"),
                ("bc", "bc.wild.test"),
                ("a", "a.bc.wild.test")
            ]
        );
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
