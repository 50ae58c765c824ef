//! Lines of `key=value`, as logrus and Go's slog write them.

use super::super::unread::Problem;
use std::collections::BTreeSet;

/// The values of some keys, in the order of the keys; quoted ones without their quotes and still
/// escaped.
///
/// Whoever writes such a line puts quotes around every value that has a blank, a quote or a `=`, and
/// escapes quotes within. So what a caller sent neither ends its value nor begins another key. A line
/// that is not of this form to its end is none; nor is one with a key that stands twice.
pub(super) fn values<'a, const N: usize>(
    line: &'a str,
    keys: [&str; N],
) -> Result<Option<[Option<&'a str>; N]>, Problem> {
    let (mut values, mut seen) = ([None; N], BTreeSet::new());
    let mut rest = line;
    loop {
        let Some((key, behind)) = rest.split_once('=') else { return Ok(None) };
        if key.is_empty() || !key.bytes().all(is_key_byte) {
            return Ok(None);
        }
        let Some((value, behind)) = value(behind) else { return Ok(None) };
        if !seen.insert(key) {
            return Err(Problem::RepeatedKey);
        }
        if let Some(place) = keys.iter().zip(&mut values).find(|(it, _)| **it == key) {
            *place.1 = Some(value);
        }
        match behind.strip_prefix(' ') {
            Some(next) => rest = next,
            None if behind.is_empty() => return Ok(Some(values)),
            None => return Ok(None),
        }
    }
}

/// The value at the start of a text, and what follows it.
fn value(text: &str) -> Option<(&str, &str)> {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find(' ').unwrap_or(text.len());
        let (value, behind) = text.split_at_checked(end)?;
        return (!value.contains(['"', '='])).then_some((value, behind));
    };
    let mut is_escaped = false;
    let end = quoted.bytes().position(|byte| {
        let is_end = byte == b'"' && !is_escaped;
        is_escaped = byte == b'\\' && !is_escaped;
        is_end
    })?;
    Some((quoted.get(..end)?, quoted.get(end + 1..)?))
}

fn is_key_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"_-.".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_found_by_their_keys() {
        let read = |line| values(line, ["a", "b"]).expect(line).expect(line);
        assert_eq!(read("a=1 b=2"), [Some("1"), Some("2")]);
        assert_eq!(read(r#"x="a=1 b=2" b="" c="#), [None, Some("")]);
        assert_eq!(read(r#"a="x\" b=2 \\" c=d"#), [Some(r#"x\" b=2 \\"#), None]);
    }

    #[test]
    fn what_is_not_of_the_form_to_its_end_is_none() {
        for line in [
            "",
            "a",
            "a=1 ",
            "a=1  b=2",
            "a=1 b",
            "=1",
            "a b=1",
            r#"a=1"2"#,
            "a=b=c",
            r#"a="1"#,
            r#"a="1"b=2"#,
            r#"a="1\"#,
            r#"a="1\" b=2"#,
        ] {
            assert_eq!(values(line, ["a", "b"]), Ok(None), "{line}");
        }
        for line in ["a=1 a=2", r#"x=1 a=2 x="3""#] {
            assert_eq!(values(line, ["a"]), Err(Problem::RepeatedKey), "{line}");
        }
    }
}
