//! Versions of Cilium.

use std::str::FromStr;

/// A version, by its first two numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Version {
    major: u32,
    minor: u32,
}

impl Version {
    /// From here on, `**.` at the start of a `matchPattern` is any number of labels.
    pub(super) const DEEP_PATTERNS: Self = Self { major: 1, minor: 19 };
}

impl FromStr for Version {
    type Err = &'static str;

    /// Reads `1.19`, `1.19.2` or `v1.19.2`.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut numbers = text.strip_prefix('v').unwrap_or(text).splitn(3, '.');
        let mut number = || numbers.next().and_then(|number| number.parse().ok());
        match (number(), number()) {
            (Some(major), Some(minor)) => Ok(Self { major, minor }),
            _ => Err("write a version such as 1.19"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_ordered_by_their_numbers() {
        let is_deep = |text: &str| text.parse().map(|it: Version| it >= Version::DEEP_PATTERNS);
        for (text, expected) in [
            ("1.19", true),
            ("v1.19.0", true),
            ("1.20.1-rc.1", true),
            ("2.0", true),
            ("1.18.9", false),
            ("1.9", false),
            ("0.20", false),
        ] {
            assert_eq!(is_deep(text), Ok(expected), "{text}");
        }
        for text in ["", "1", "1.", "1.x", "latest", "1,19"] {
            assert!(is_deep(text).is_err(), "{text}");
        }
    }
}
