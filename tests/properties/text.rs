//! What holds of every policy text.

use egress_warden::config;
use egress_warden::policy::Request;

/// Reads any bytes. Every error says where, what and what instead, on one line; what is accepted
/// decides any request, and has the same hash however a control plane writes it.
pub fn check(text: &[u8]) -> bool {
    match config::read(text) {
        Ok(config) => {
            for authority in [&b""[..], b"a.test", b"[::1]:443", b"\xff"] {
                for method in [&b"GET"[..], b"CONNECT", b""] {
                    let _ = config.policy.decide(&Request::new(authority, method));
                }
            }
            let rewritten: serde_json::Value = serde_json::from_slice(text).expect("strict JSON");
            let rewritten =
                config::read(rewritten.to_string().as_bytes()).expect("the same policy");
            assert_eq!(config.revision, rewritten.revision);
            true
        }
        Err(errors) => {
            assert!(errors.iter().next().is_some(), "refused without an error");
            for error in errors.iter() {
                let shown = error.to_string();
                let is_one_line =
                    !shown.contains(|c: char| c.is_control() || "\u{2028}\u{2029}".contains(c));
                assert!(error.place().to_string().starts_with('$'), "{shown:?}");
                assert!(
                    !error.kind().problem().is_empty() && !error.kind().remedy().is_empty(),
                    "{shown:?}"
                );
                assert!(is_one_line, "{shown:?}");
            }
            false
        }
    }
}

#[cfg(test)]
mod tests {
    use super::check;
    use crate::for_all_bytes;
    use arbitrary::{Result, Unstructured};
    use egress_warden::config;
    use egress_warden::host::HostPattern;
    use kit::naive::sample;
    use serde_json::{Value, json};
    use std::fmt::Write;

    /// What policy texts are made of, beside any byte.
    const PARTS: [&str; 56] = [
        "{",
        "}",
        "[",
        "]",
        ",",
        ":",
        "\"",
        "\"policy\":\"p\"",
        "\"rules\":[",
        "\"id\":",
        "\"action\":",
        "\"allow\"",
        "\"deny\"",
        "\"to\":[{",
        "\"from\":[{",
        "\"hosts\":[",
        "\"paths\":[",
        "\"principals\":",
        "\"methods\":",
        "\"ports\":",
        "\"stamp\":",
        "\"set\":",
        "\"remove\":",
        "\"until\":",
        "\"message\":",
        "\"a.test\"",
        "\"*.a.test\"",
        "\".a.test\"",
        "\"a*.b.a.test\"",
        "\"serviceAccounts\":",
        "\"query\":{",
        "\"state\":",
        "\"/a/{*}/b\"",
        "\"/a%2fb\"",
        "{**}",
        "%2F",
        "*",
        "\"*.\"",
        "\"http://a/\"",
        "\"b\u{fc}cher.test\"",
        "\"10.0.0.1/8\"",
        "\"{host}\"",
        "\"{\"",
        "\"\\u2028\"",
        "\"\\n\"",
        "\"\\ud800\"",
        "\"a\\u0000\"",
        "443",
        "-0",
        "1e400",
        "null",
        "true",
        " ",
        "\n",
        "//",
        "\u{feff}",
    ];

    #[test]
    fn any_text_is_a_policy_or_has_faults_that_tell() {
        let accepted = std::cell::Cell::new(0);
        for_all_bytes(3_000, |bytes| {
            let mut bytes = Unstructured::new(bytes);
            let text = mutated(&mut bytes).expect("a text");
            accepted.set(accepted.get() + u32::from(check(&text)));
        });
        // Else nothing was said of policies.
        assert!(accepted.get() > 50, "{}", accepted.get());
    }

    /// A policy with some parts put in or taken out, or parts alone.
    fn mutated(bytes: &mut Unstructured<'_>) -> Result<Vec<u8>> {
        let mut text = Vec::new();
        if bytes.ratio(3, 4)? {
            text = sample::policy(bytes)?.to_string().into_bytes();
        }
        for _ in 0..bytes.int_in_range(0..=6)? {
            let at = bytes.int_in_range(0..=text.len())?;
            let until = bytes.int_in_range(at..=text.len().min(at + 8))?;
            let part = match bytes.ratio(7, 8)? {
                true => bytes.choose(&PARTS)?.as_bytes().to_vec(),
                false => vec![bytes.arbitrary()?],
            };
            text.splice(at..until, part);
        }
        Ok(text)
    }

    /// So that the file in git, the tool and the filter name the same policy.
    #[test]
    fn the_hash_is_that_of_the_meaning_and_not_of_the_writing() {
        for_all_bytes(1_000, |bytes| {
            let mut bytes = Unstructured::new(bytes);
            let mut policy = sample::policy(&mut bytes).expect("a policy");
            policy["deny"] = json!({
                "status": bytes.int_in_range(400..=599).expect("a status"),
                "message": bytes.choose(&["", "\"\\/\u{8}\t\u{1f}", "\u{e9}\u{2028}\u{1f4a1}"]).expect("a text"),
            });
            let mut rewritten = String::new();
            write(&mut bytes, &policy, &mut rewritten).expect("a text");
            let revision = |text: &str| {
                let config = config::read(text.as_bytes());
                config.unwrap_or_else(|errors| panic!("{text}\n{errors}")).revision
            };
            let original = revision(&policy.to_string());
            assert_eq!(original, revision(&rewritten), "{policy}\n{rewritten}");
            // Any difference of meaning is one of the hash, be it of one digit.
            let status = policy["deny"]["status"].as_u64().expect("a status");
            policy["deny"]["status"] = (if status == 400 { 401 } else { status - 1 }).into();
            assert_ne!(original, revision(&policy.to_string()), "{policy}");
        });
    }

    /// Writes JSON as some other program might.
    fn write(bytes: &mut Unstructured<'_>, value: &Value, out: &mut String) -> Result<()> {
        let space = |bytes: &mut Unstructured<'_>, out: &mut String| {
            out.push_str(bytes.choose(&["", "", " ", "\n\t", "\r\n"])?);
            Ok(())
        };
        space(bytes, out)?;
        match value {
            Value::Array(items) => {
                out.push('[');
                for (index, item) in items.iter().enumerate() {
                    out.push_str(if index == 0 { "" } else { "," });
                    write(bytes, item, out)?;
                }
                out.push(']');
            }
            Value::Object(members) => {
                let mut members: Vec<_> = members.iter().collect();
                for last in (1..members.len()).rev() {
                    members.swap(last, bytes.int_in_range(0..=last)?);
                }
                out.push('{');
                for (index, (key, value)) in members.into_iter().enumerate() {
                    out.push_str(if index == 0 { "" } else { "," });
                    space(bytes, out)?;
                    write_text(bytes, key, out)?;
                    space(bytes, out)?;
                    out.push(':');
                    write(bytes, value, out)?;
                }
                out.push('}');
            }
            Value::String(text) => write_text(bytes, text, out)?,
            Value::Number(number) => {
                let number = number.as_u64().expect("a whole number");
                // Writing to a string cannot fail.
                let _ = match bytes.int_in_range(0..=4)? {
                    0 => write!(out, "{number}.0"),
                    1 => write!(out, "{number}e0"),
                    2 => write!(out, "{number}00E-2"),
                    3 => write!(out, "{}.{:02}e+2", number / 100, number % 100),
                    _ => write!(out, "{number}"),
                };
            }
            other => out.push_str(&other.to_string()),
        }
        space(bytes, out)
    }

    fn write_text(bytes: &mut Unstructured<'_>, text: &str, out: &mut String) -> Result<()> {
        out.push('"');
        for character in text.chars() {
            let must_escape = character < ' ' || matches!(character, '"' | '\\');
            match bytes.int_in_range(0..=7)? {
                0 => {
                    for unit in character.encode_utf16(&mut [0; 2]) {
                        let _ = write!(out, "\\u{unit:04x}");
                    }
                }
                1 if character == '/' => out.push_str("\\/"),
                _ if must_escape => {
                    let _ = write!(out, "\\u{:04X}", u32::from(character));
                }
                _ => out.push(character),
            }
        }
        out.push('"');
        Ok(())
    }

    /// What is suggested must be right.
    #[test]
    fn a_host_that_is_suggested_is_a_pattern() {
        const HOSTS: [&str; 38] = [
            "*", ".a.test", "a*", "*a", "-*", "*.", ".", "a", "A", "test", "a.test", ":80", ":",
            "/8", "/33", "/", "1", "1.2.3.4", "10.0.0.1", "[", "]", "::", "::1", "::ffff:",
            "2001:DB8", "0", "0x7f", "@", "http://", "\u{fc}", "\u{df}", "\u{301}", "xn--", "-",
            "_", " ", "\n", "\u{2028}",
        ];
        let named = std::cell::Cell::new(0);
        for_all_bytes(3_000, |bytes| {
            let mut bytes = Unstructured::new(bytes);
            let count = bytes.int_in_range(0..=6).expect("a number");
            let host: String = (0..count).map(|_| *bytes.choose(&HOSTS).expect("a part")).collect();
            let Err(error) = HostPattern::parse(&host) else { return };
            let Some(canonical) = error.canonical() else { return };
            assert!(HostPattern::parse(&canonical).is_ok(), "{host:?}: {error}");
            named.set(named.get() + 1);
        });
        assert!(named.get() > 20, "{}", named.get());
    }
}
