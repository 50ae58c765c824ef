//! Names of objects: labels of DNS that come from hosts.
//!
//! A name depends on its host alone, so that no other host of a policy can change it. What could be the
//! name of two hosts, or is too long, ends with a hash of the host.

use crate::render::plan::RouteHost;
use sha2::{Digest as _, Sha256};
use std::fmt::Write as _;

/// Longest label of DNS.
const MAX: usize = 63;

/// A host as a label: dots become hyphens. `--` stands in no such text of its own: it parts the hash, and
/// the mark of a wildcard.
pub(super) fn of_host(host: &RouteHost) -> String {
    let mark = if host.is_wildcard() { "wild--" } else { "" };
    let is_plain = |it: char| it.is_ascii_lowercase() || it.is_ascii_digit();
    let is_unique = host.name.chars().all(|it| is_plain(it) || it == '.');
    let text: String = host.name.chars().map(|it| if is_plain(it) { it } else { '-' }).collect();
    let text = format!("{mark}{text}");
    if is_unique && text.len() <= MAX { text } else { hashed(&text, &host.text()) }
}

/// A name of several parts, as a label.
pub(super) fn label(text: String) -> String {
    if text.len() <= MAX { text } else { hashed(&text, &text) }
}

/// The text, cut where it is too long, with a hash of what it stands for.
fn hashed(text: &str, of: &str) -> String {
    const DIGITS: usize = 10;
    let cut = text.get(..MAX - DIGITS - 2).unwrap_or(text);
    let mut name = format!("{}--", cut.trim_matches('-'));
    for byte in Sha256::digest(of).iter().take(DIGITS / 2) {
        let _ = write!(name, "{byte:02x}");
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::render::plan::HostForm;

    fn name_of(text: &str) -> String {
        let (name, form) = match text.strip_prefix("*.") {
            Some(name) => (name, HostForm::Below),
            None => (text, HostForm::Name),
        };
        of_host(&RouteHost { name: name.into(), form })
    }

    #[test]
    fn a_plain_host_is_readable() {
        assert_eq!(name_of("api.example.com"), "api-example-com");
        assert_eq!(name_of("*.example.com"), "wild--example-com");
    }

    #[test]
    fn no_two_hosts_share_a_name() {
        let long = "a".repeat(60);
        let hosts = [
            "a.b.test",
            "a-b.test",
            "a.b-test",
            "*.b.test",
            "*.b-test",
            "wild.b.test",
            "wild--b.test",
            "wild-.b.test",
            "xn--bcher-kva.test",
            "_a.test",
            &format!("{long}.a.test"),
            &format!("{long}.b.test"),
            &format!("*.{long}.b.test"),
            "-a.test",
            "a.test",
        ];
        let names: std::collections::BTreeSet<_> = hosts.iter().map(|it| name_of(it)).collect();
        assert_eq!(names.len(), hosts.len(), "{names:?}");
        let is_end = |it: Option<char>| it.is_some_and(|it| it.is_ascii_alphanumeric());
        for name in &names {
            assert!(name.len() <= 63, "{name}");
            assert!(is_end(name.chars().next()) && is_end(name.chars().last()), "{name}");
        }
    }

    #[test]
    fn a_long_name_of_several_parts_keeps_its_start() {
        let name = label(format!("egressgateway-for-{}", "a".repeat(63)));
        assert_eq!(name.len(), 63);
        assert!(name.starts_with("egressgateway-for-aaaa"), "{name}");
        assert_eq!(label("short".to_owned()), "short");
    }
}
