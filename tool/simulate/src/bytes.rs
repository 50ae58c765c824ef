//! Bytes as a file writes them: text, `{hex: "c3bc"}`, or `{repeat: [["a", 63], [".test", 1]]}`.

use serde::de::{Deserialize, Deserializer, Error};
use std::fmt;

/// Bytes of a request, which need not be text.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Bytes(pub Vec<u8>);

#[derive(serde::Deserialize)]
#[serde(untagged, expecting = "expected a string, `{hex: …}` or `{repeat: …}`")]
enum Written {
    Text(String),
    Other(Notation),
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
enum Notation {
    Hex(String),
    Repeat(Vec<(String, usize)>),
}

/// Most bytes that a notation may stand for: more than the longest text of a policy.
const MAX_BYTES: usize = 1 << 27;

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self(match Written::deserialize(deserializer)? {
            Written::Text(text) => text.into_bytes(),
            Written::Other(Notation::Hex(digits)) => {
                from_hex(&digits).ok_or_else(|| D::Error::custom("`hex` is not pairs of digits"))?
            }
            Written::Other(Notation::Repeat(parts)) => {
                let length = |(text, times): &(String, usize)| text.len().saturating_mul(*times);
                if parts.iter().map(length).fold(0, usize::saturating_add) > MAX_BYTES {
                    return Err(D::Error::custom("`repeat` stands for more than 128 MiB"));
                }
                parts.iter().flat_map(|(text, times)| text.repeat(*times).into_bytes()).collect()
            }
        }))
    }
}

fn from_hex(digits: &str) -> Option<Vec<u8>> {
    let digits: Vec<u32> = digits.chars().map(|digit| digit.to_digit(16)).collect::<Option<_>>()?;
    let pairs = digits.chunks(2).map(|pair| match pair {
        [high, low] => u8::try_from(high << 4 | low).ok(),
        _ => None,
    });
    pairs.collect()
}

impl From<&str> for Bytes {
    fn from(text: &str) -> Self {
        Self(text.as_bytes().to_vec())
    }
}

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&shown(&self.0))
    }
}

impl fmt::Debug for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{self}`")
    }
}

/// Bytes on one line, cut: text where they are printable, escapes where not.
pub fn shown(bytes: &[u8]) -> String {
    const SHOWN: usize = 300;
    let start = bytes.get(..SHOWN).unwrap_or(bytes);
    let mut text: String = match std::str::from_utf8(start) {
        Ok(text) => text
            .chars()
            .map(|c| if c.is_control() { c.escape_default().to_string() } else { c.to_string() })
            .collect(),
        Err(_) => start.escape_ascii().to_string(),
    };
    if start.len() < bytes.len() {
        text.push_str(&format!("… ({} bytes)", bytes.len()));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Result<Vec<u8>, String> {
        serde_json::from_str(json).map(|Bytes(bytes)| bytes).map_err(|error| error.to_string())
    }

    #[test]
    fn bytes_are_text_digits_or_parts_that_are_repeated() {
        assert_eq!(read(r#""a.test""#).unwrap(), b"a.test");
        assert_eq!(read(r#"{"hex": "00C3bc"}"#).unwrap(), [0x00, 0xc3, 0xbc]);
        assert_eq!(read(r#"{"repeat": [["ab", 2], [".", 1]]}"#).unwrap(), b"abab.");
        for (json, problem) in [
            (r#"{"hex": "0"}"#, "not pairs of digits"),
            (r#"{"hex": "0g"}"#, "not pairs of digits"),
            (r#"{"repeat": [["ab", 67108865]]}"#, "more than 128 MiB"),
            (r#"{"repeat": [["ab", 18446744073709551615], ["a", 1]]}"#, "more than 128 MiB"),
            ("7", "expected a string"),
        ] {
            let error = read(json).unwrap_err();
            assert!(error.contains(problem), "{json}: {error}");
        }
    }
}
