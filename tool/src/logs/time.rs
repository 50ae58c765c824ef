//! Times as logs write them.

use egress_warden::time::Time;
use std::time::{Duration, SystemTime};

/// Reads a time. Two kinds are known:
///
/// - a date and a time of RFC 3339, also with a blank for the `T`, and an offset from UTC without its
///   colon (`+0000`). Without an offset it is of no known zone, and not read;
/// - a number of seconds, milliseconds, microseconds or nanoseconds since the epoch, with or without a
///   fraction. Which it is shows in the number of its digits: a time from 2001-09-09 to 2286-11-20 has
///   10, 13, 16 or 19.
pub(super) fn read(text: &str) -> Option<Time> {
    if text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') {
        of_epoch(text)
    } else {
        of_calendar(text)
    }
}

fn of_calendar(text: &str) -> Option<Time> {
    let (local, zone) = text.split_at_checked(text.rfind(is_zone_start)?)?;
    // What was split off must be the only zone: `+00:00Z` has two.
    let mut fraction = local.bytes().skip("2026-03-02T08:18:50".len());
    if !fraction.all(|byte| byte.is_ascii_digit() || byte == b'.') {
        return None;
    }
    let since_epoch = humantime::parse_rfc3339_weak(local).ok()?;
    let local = since_epoch.duration_since(SystemTime::UNIX_EPOCH).ok()?;
    let minutes = offset(zone)?;
    let away = Duration::from_secs(minutes.unsigned_abs() * 60);
    let since_epoch = if minutes > 0 { local.checked_sub(away) } else { local.checked_add(away) };
    Time::after_epoch(since_epoch?)
}

fn is_zone_start(character: char) -> bool {
    matches!(character, 'Z' | '+' | '-')
}

/// Minutes east of UTC.
fn offset(zone: &str) -> Option<i64> {
    let (sign, rest) = match zone {
        "Z" => return Some(0),
        zone => match zone.split_at_checked(1)? {
            ("+", rest) => (1, rest),
            ("-", rest) => (-1, rest),
            _ => return None,
        },
    };
    let (hours, minutes) = rest.split_at_checked(2)?;
    let minutes = match minutes {
        "" => 0,
        minutes => of_two_digits(minutes.strip_prefix(':').unwrap_or(minutes), 59)?,
    };
    Some(sign * (of_two_digits(hours, 23)? * 60 + minutes))
}

fn of_two_digits(text: &str, most: i64) -> Option<i64> {
    let is_number = text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_digit());
    let number = is_number.then(|| text.parse().ok())?;
    number.filter(|number| *number <= most)
}

fn of_epoch(text: &str) -> Option<Time> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    // How many digits of a fraction a nanosecond has.
    let places: usize = match whole.len() {
        10 => 9,
        13 => 6,
        16 => 3,
        19 => 0,
        _ => return None,
    };
    let is_number = !fraction.is_empty() && fraction.bytes().all(|byte| byte.is_ascii_digit());
    let fraction = fraction.get(..places).unwrap_or(fraction);
    let nanoseconds = format!("{whole}{fraction:0<places$}");
    is_number.then(|| nanoseconds.parse().ok())?.map(Time::of_nanoseconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_usual_forms_are_read() {
        const SECOND: u64 = 1_000_000_000;
        let at = 1_772_439_530 * SECOND;
        for (text, expected) in [
            ("2026-03-02T08:18:50Z", at),
            ("2026-03-02T08:18:50.193Z", at + 193_000_000),
            ("2026-03-02T08:18:50.193456789Z", at + 193_456_789),
            ("2026-03-02T08:18:50+0000", at),
            ("2026-03-02T08:18:50+00:00", at),
            ("2026-03-02T08:18:50-00", at),
            ("2026-03-02T17:18:50.5+09:00", at + SECOND / 2),
            ("2026-03-02T10:18:50+0200", at),
            ("2026-03-02T05:18:50-03:00", at),
            ("2026-03-01T23:48:50-0830", at),
            ("2026-03-02T13:48:50+05:30", at),
            ("2026-03-02 08:18:50.193+00:00", at + 193_000_000),
            ("2026-03-02 08:18:50Z", at),
            ("1772439530", at),
            ("1772439530.193", at + 193_000_000),
            ("1772439530.1934567891", at + 193_456_789),
            ("1772439530193", at + 193_000_000),
            ("1772439530193.5", at + 193_500_000),
            ("1772439530193456", at + 193_456_000),
            ("1772439530193456789", at + 193_456_789),
        ] {
            assert_eq!(read(text), Some(Time::of_nanoseconds(expected)), "{text}");
        }
    }

    #[test]
    fn the_years_from_1970_to_9999_are_read() {
        for (text, expected) in [
            ("1970-01-01T09:00:00+09:00", "1970-01-01T00:00:00Z"),
            ("2999-01-01T01:00:00+01:00", "2999-01-01T00:00:00Z"),
            ("9999-12-31T23:59:59Z", "9999-12-31T23:59:59Z"),
        ] {
            assert_eq!(read(text), expected.parse().ok(), "{text}");
        }
    }

    #[test]
    fn nothing_else_is_a_time() {
        for text in [
            "",
            "-",
            "Z",
            "+00:00",
            "2026-03-02",
            "2026-03-02T",
            // Of no known zone.
            "2026-03-02T08:18:50",
            "2026-03-02 08:18:50.193",
            "2026-03-02T08:18:50ZZ",
            "2026-03-02T08:18:50Z+00:00",
            "2026-03-02T08:18:50+00:00Z",
            "2026-03-02T08:18:50 Z",
            "2026-03-02T08:18:50.1.2Z",
            "2026-03-02T08:18:50+24:00",
            "2026-03-02T08:18:50+00:60",
            "2026-03-02T08:18:50+0:00",
            "2026-03-02T08:18:50+000",
            "2026-03-02T08:18:50+00:",
            "2026-03-02T08:18:50++0:00",
            "2026-13-02T08:18:50Z",
            "2026-02-30T08:18:50Z",
            "1970-01-01T00:00:00+09:00",
            "9999-12-31T23:59:59-00:01",
            // A duration, and numbers of no unit.
            "12",
            "0",
            "177243953",
            "17724395301",
            "1772439530.",
            ".193",
            "1772439530.1.2",
            "1772439530,193",
            "99999999999999999999",
            "18:50",
            "8\u{e9}:18",
        ] {
            assert_eq!(read(text), None, "{text}");
        }
    }
}
