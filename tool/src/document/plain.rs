//! What a plain scalar of YAML means, where readers agree on it.
//!
//! YAML 1.1, 1.2 and each library have rules of their own. A plain scalar stands for a value only
//! where the readers that a policy may meet take it for the same one: kubectl (sigs.k8s.io/yaml),
//! Helm and kustomize (go-yaml v3), Envoy (yaml-cpp), PyYAML, and YAML 1.2's core schema.

use super::tree::Value;

/// The meaning of a plain scalar.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Plain {
    /// One value for every reader.
    Value(Value),
    /// Readers differ.
    Doubtful(Doubt),
}

/// What some readers take a plain scalar for, while others take it for a text or another number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Doubt {
    Boolean(bool),
    /// In another base, with signs, `_` or a fraction, or too large for a double.
    Number,
    Base60,
    Time,
    /// An infinity, or no number: JSON has neither.
    NotFinite,
    /// A word of YAML 1.1 with a meaning of its own.
    Special,
}

/// Reads a plain scalar.
pub(super) fn read(text: &str) -> Plain {
    if let Some(doubt) = doubt(text) {
        return Plain::Doubtful(doubt);
    }
    Plain::Value(match text {
        "" | "~" | "null" | "Null" | "NULL" => Value::Null,
        "true" | "True" | "TRUE" => Value::Bool(true),
        "false" | "False" | "FALSE" => Value::Bool(false),
        _ => integer(text).map_or_else(|| Value::Text(text.into()), Value::Number),
    })
}

/// Whether every reader takes a plain scalar for a text.
pub(crate) fn is_text(text: &str) -> bool {
    matches!(read(text), Plain::Value(Value::Text(_)))
}

/// A whole number as every reader writes it, small enough to be exact in a double.
fn integer(text: &str) -> Option<f64> {
    const EXACT: i64 = 1 << 53;
    let number: i64 = text.parse().ok()?;
    #[expect(clippy::cast_precision_loss, reason = "such a number is exact")]
    let exact =
        (-EXACT < number && number < EXACT && number.to_string() == text).then_some(number as f64);
    exact
}

fn doubt(text: &str) -> Option<Doubt> {
    if let Some(value) = boolean(text) {
        return Some(Doubt::Boolean(value));
    }
    if matches!(text, "=" | "<<") {
        return Some(Doubt::Special);
    }
    let signed = text.strip_prefix(['-', '+']);
    let unsigned = signed.map_or(text, |rest| rest.trim_start_matches('_'));
    if ["inf", "nan"]
        .iter()
        .any(|&word| unsigned.strip_prefix('.').is_some_and(|it| it.eq_ignore_ascii_case(word)))
    {
        return Some(Doubt::NotFinite);
    }
    if is_number(unsigned) {
        return integer(text).is_none().then_some(Doubt::Number);
    }
    if is_base_60(unsigned) {
        return Some(Doubt::Base60);
    }
    is_time(text).then_some(Doubt::Time)
}

/// A boolean of YAML 1.1 that YAML 1.2 takes for a text.
fn boolean(text: &str) -> Option<bool> {
    const WORDS: [(&str, bool); 6] =
        [("y", true), ("n", false), ("yes", true), ("no", false), ("on", true), ("off", false)];
    let is_in_one_case = |word: &str| {
        text.eq_ignore_ascii_case(word)
            && (text.get(1..) == word.get(1..) || text.bytes().all(|it| it.is_ascii_uppercase()))
    };
    WORDS.iter().find_map(|&(word, value)| is_in_one_case(word).then_some(value))
}

/// Whether some reader takes a text without its sign for a number: in any base, with `_` anywhere
/// but at its start, with a fraction and an exponent.
fn is_number(text: &str) -> bool {
    if !text.starts_with(|c: char| c.is_ascii_digit() || c == '.') {
        return false;
    }
    let digits: String = text.chars().filter(|&c| c != '_').collect();
    let in_base = |prefixes: [&str; 2], base: u32| {
        let rest = prefixes.iter().find_map(|prefix| digits.strip_prefix(prefix));
        // PyYAML takes `0x_` for a number, and fails.
        let is_there = |rest: &str| !rest.is_empty() || text.ends_with('_');
        rest.is_some_and(|rest| is_there(rest) && rest.chars().all(|c| c.is_digit(base)))
    };
    in_base(["0x", "0X"], 16)
        || in_base(["0o", "0O"], 8)
        || in_base(["0b", "0B"], 2)
        || is_decimal(&digits)
}

fn is_decimal(text: &str) -> bool {
    let all_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (text, None),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let is_exponent = |text: &str| {
        let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
        !digits.is_empty() && all_digits(digits)
    };
    !(whole.is_empty() && fraction.is_empty())
        && all_digits(whole)
        && all_digits(fraction)
        && exponent.is_none_or(is_exponent)
}

/// `22:22` and `1:30.5`: digits, and behind each `:` less than 60.
fn is_base_60(text: &str) -> bool {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let mut places = whole.split(':');
    let is_digit = |byte: u8| byte.is_ascii_digit() || byte == b'_';
    let starts = places.next().is_some_and(|first| {
        first.starts_with(|c: char| c.is_ascii_digit()) && first.bytes().all(is_digit)
    });
    let is_place =
        |place: &str| matches!(place.as_bytes(), [b'0'..=b'9'] | [b'0'..=b'5', b'0'..=b'9']);
    starts && whole.contains(':') && places.all(is_place) && fraction.bytes().all(is_digit)
}

/// A date, or a date and something that begins a time.
fn is_time(text: &str) -> bool {
    let mut parts = text.splitn(3, '-');
    let is_digits = |text: &str, lengths: std::ops::RangeInclusive<usize>| {
        lengths.contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit())
    };
    let (Some(year), Some(month), Some(rest)) = (parts.next(), parts.next(), parts.next()) else {
        return false;
    };
    let (day, time) = rest.split_at(rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len()));
    is_digits(year, 4..=4)
        && is_digits(month, 1..=2)
        && is_digits(day, 1..=2)
        && (time.is_empty() || time.starts_with(['T', 't', ' ', '\t']))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value as Json;

    /// What four readers make of plain scalars, as tests/data/README.md says.
    const READERS: &str = include_str!("../../../tests/data/plain-scalars.jsonl");

    #[test]
    fn a_plain_scalar_is_read_only_as_every_reader_reads_it() {
        for line in READERS.lines() {
            let row: Vec<Json> = serde_json::from_str(line).expect(line);
            let (scalar, values) = row.split_first().expect("a row");
            let scalar = scalar.as_str().expect("a scalar");
            let read = match read(scalar) {
                Plain::Value(value) => value,
                Plain::Doubtful(_) => continue,
            };
            let read: Json = match read {
                Value::Null => Json::Null,
                Value::Bool(value) => value.into(),
                // INVARIANT: none but whole numbers are read.
                Value::Number(value) => (value as i64).into(),
                Value::Text(text) => (*text).into(),
                Value::List(_) | Value::Object(_) => panic!("{scalar}: no scalar"),
            };
            assert!(values.iter().all(|value| *value == read), "{scalar}: {read}, {values:?}");
        }
    }

    #[test]
    fn what_is_plain_to_everybody_is_read() {
        for text in [
            "a",
            "none",
            "nO",
            "oN",
            "tRUE",
            "nULL",
            "inf",
            "nan",
            "10.0.0.1",
            "10.0.0.1:80",
            "1.2.3",
            "a:1",
            "1-2",
            "/v1/*",
            "2027-01-31x",
            "0x",
            "0o8",
            "1e",
            ".",
            "..",
            "_1",
            "1:60",
            "a_b",
        ] {
            assert!(is_text(text), "{text}");
        }
        for (text, number) in [("0", 0.0), ("443", 443.0), ("-443", -443.0)] {
            assert_eq!(read(text), Plain::Value(Value::Number(number)), "{text}");
        }
        for (text, value) in
            [("True", Value::Bool(true)), ("FALSE", Value::Bool(false)), ("~", Value::Null)]
        {
            assert_eq!(read(text), Plain::Value(value), "{text}");
        }
    }

    #[test]
    fn what_some_take_otherwise_is_doubtful() {
        use Doubt as D;
        for (doubt, texts) in [
            (D::Boolean(true), &["y", "Y", "yes", "Yes", "YES", "on", "On", "ON"][..]),
            (D::Boolean(false), &["n", "N", "no", "No", "NO", "off", "Off", "OFF"]),
            (
                D::Number,
                &[
                    "0443",
                    "00",
                    "08",
                    "+443",
                    "-0",
                    "0o17",
                    "0O17",
                    "0x1F",
                    "0X1f",
                    "0b11",
                    "-0x1",
                    "1_000",
                    "-_1",
                    "0x_1",
                    "0x_",
                    "443.0",
                    "1.5",
                    ".5",
                    "5.",
                    "1e3",
                    "1.5e+3",
                    "-.5E-3",
                    "9007199254740993",
                    "12345678901234567890",
                    "1e400",
                ],
            ),
            (D::Base60, &["22:22", "1:30:00", "1:30.5", "-1:30", "01:30"]),
            (
                D::Time,
                &["2027-01-31", "2027-1-3", "2027-01-31T00:00:00Z", "2027-01-31 00:00:00 +1"],
            ),
            (D::NotFinite, &[".inf", "-.INF", "+.Inf", ".nan", ".NaN"]),
            (D::Special, &["=", "<<"]),
        ] {
            for text in texts {
                assert_eq!(read(text), Plain::Doubtful(doubt), "{text}");
            }
        }
    }
}
