//! Hosts of sources whose `*` stays within one label.

use super::hosts::canonical;
use egress_warden::host::{HostPattern, is_special};
use std::net::IpAddr;

/// What is wrong with a text, and what to do about it.
pub(super) type Unsaid = (String, String);

/// A name in canonical form. Special names are none: there they are somebody else's, on the gateway they
/// would be its own.
pub(super) fn name(text: &str) -> Result<String, Unsaid> {
    match parsed(text)? {
        Host::Name(name) => Ok(name),
        Host::Address(..) => Err(("an address, which is no name".into(), NAME.into())),
    }
}

/// A name, or an address that is globally reachable, in canonical form.
pub(super) fn name_or_address(text: &str) -> Result<String, Unsaid> {
    match parsed(text)? {
        Host::Name(host) => Ok(host),
        Host::Address(host, address) if !egress_warden::host::is_forbidden(address) => Ok(host),
        Host::Address(..) => Err((
            "an address that is not globally reachable".into(),
            "write a rule for it by hand if the gateway may reach it".into(),
        )),
    }
}

/// A pattern in canonical form: a `*` is any run of bytes within its label, and `**` as the first label is
/// one label or more.
pub(super) fn pattern(text: &str) -> Result<String, Unsaid> {
    let lower = text.to_ascii_lowercase();
    if let Some(name) = lower.strip_prefix("*.") {
        return Err((
            "`*` as the first label: there it is one label, and in a policy any number".into(),
            format!(
                "name the hosts, or write `*.{name}` by hand if everything below may be reached"
            ),
        ));
    }
    if !lower.contains('*') {
        return name(text);
    }
    let written = match lower.strip_prefix("**.") {
        Some(name) => format!("*.{name}"),
        None => lower,
    };
    canonical(&written).map_err(|error| (error.problem().into(), error.remedy().into()))
}

/// Whether a pattern may leave out a label that begins `xn--`, which a `*` beside other bytes never matches.
pub(super) fn spares_encoded(pattern: &str) -> bool {
    pattern.split('.').any(|label| {
        let before = label.split_once('*').map(|(before, _)| before);
        let is_whole = label.bytes().all(|byte| byte == b'*');
        !is_whole && before.is_some_and(|before| "xn--".starts_with(before))
    })
}

/// A pattern that leaves out no such label: a label of that kind is any.
pub(super) fn widened(pattern: &str) -> String {
    let widened = |label| if spares_encoded(label) { "*" } else { label };
    pattern.split('.').map(widened).collect::<Vec<_>>().join(".")
}

const NAME: &str = "write a name such as `api.example.com`";

enum Host {
    Name(String),
    Address(String, IpAddr),
}

fn parsed(text: &str) -> Result<Host, Unsaid> {
    let host = canonical(text)
        .map_err(|error| (error.problem().to_string(), error.remedy().to_string()))?;
    match HostPattern::parse(&host) {
        Ok(HostPattern::Address(address)) => Ok(Host::Address(host, address)),
        Ok(HostPattern::Name(_)) if is_special(&host) => Err((
            "a special name, which would be the gateway's own".into(),
            "write a rule for it by hand if the gateway may reach it".into(),
        )),
        Ok(HostPattern::Name(_)) => Ok(Host::Name(host)),
        _ => Err(("no name".into(), NAME.into())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stays_within_its_label() {
        for (text, expected) in [
            ("api-*.A.test.", "api-*.a.test"),
            ("**.a.test", "*.a.test"),
            ("**.b.*.a.test", "*.b.*.a.test"),
            ("b.*.a.test", "b.*.a.test"),
            ("a.test", "a.test"),
        ] {
            assert_eq!(pattern(text).as_deref(), Ok(expected), "{text}");
        }
        for text in [
            "*.a.test",
            "*.b.*.a.test",
            "*",
            "**",
            "a*.test",
            "a**.b.test",
            ".a.test",
            "192.0.2.0/24",
        ] {
            assert!(pattern(text).is_err(), "{text}");
        }
    }

    #[test]
    fn addresses_and_special_names_are_no_names() {
        for text in ["192.0.2.1", "localhost", "metadata.google.internal", "a.test:443", "*.a.test"]
        {
            assert!(name(text).is_err(), "{text}");
        }
        assert_eq!(name_or_address("8.8.8.8").as_deref(), Ok("8.8.8.8"));
        for text in ["127.0.0.1", "169.254.169.254", "10.0.0.0/8"] {
            assert!(name_or_address(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_star_beside_other_bytes_spares_encoded_labels() {
        assert!(spares_encoded("*-a.b.test") && spares_encoded("x*.b.test"));
        assert!(!spares_encoded("**.*.b.test") && !spares_encoded("a-*.b.test"));
        assert_eq!(widened("a-*.x*.*.b.test"), "a-*.*.*.b.test");
    }
}
