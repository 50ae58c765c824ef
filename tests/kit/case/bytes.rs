//! Bytes as a file writes them: text, `{hex: "c3bc"}`, or `{repeat: [["a", 63], [".test", 1]]}`.

use std::fmt::{self, Debug, Display, Formatter};

use serde::{Deserialize, Deserializer};

#[derive(Clone, Default, PartialEq, Eq)]
pub struct Bytes(pub Vec<u8>);

#[derive(Deserialize)]
#[serde(untagged)]
enum Written {
    Text(String),
    Other(Notation),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
enum Notation {
    Hex(String),
    Repeat(Vec<(String, usize)>),
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self(match Written::deserialize(deserializer)? {
            Written::Text(text) => text.into_bytes(),
            Written::Other(Notation::Hex(digits)) => decode_hex(&digits)
                .ok_or_else(|| serde::de::Error::custom("not pairs of hex digits"))?,
            Written::Other(Notation::Repeat(parts)) => {
                parts.iter().flat_map(|(text, times)| text.repeat(*times).into_bytes()).collect()
            }
        }))
    }
}

fn decode_hex(digits: &str) -> Option<Vec<u8>> {
    let digits: Vec<_> = digits.chars().map(|digit| digit.to_digit(16)).collect::<Option<_>>()?;
    let pairs = digits.chunks(2).map(|pair| match pair {
        [high, low] => u8::try_from(high << 4 | low).ok(),
        _ => None,
    });
    pairs.collect()
}

impl Display for Bytes {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 200;
        match self.0.get(..SHOWN) {
            Some(start) => write!(formatter, "{}… ({} bytes)", start.escape_ascii(), self.0.len()),
            None => write!(formatter, "{}", self.0.escape_ascii()),
        }
    }
}

impl Debug for Bytes {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        write!(formatter, "`{self}`")
    }
}
