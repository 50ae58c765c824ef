//! Paths that two policies tell apart: one for each way in which all their patterns can match.
//!
//! A path has two readings, as sent and lenient. For paths of one reading the list is complete. Of
//! those whose readings differ (escapes, `;`), it has some for each pair of patterns; no more is
//! claimed for it.

use super::words::Pieces;
use std::fmt::Write;

/// A path that stands for all that fare as it does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Path {
    /// Which paths these are.
    pub(super) label: String,
    pub(super) sent: String,
    /// Its lenient reading; `None`: it is unclear, and has none.
    pub(super) lenient: Option<String>,
}

/// The paths that these patterns tell apart, of one reading first.
pub(super) fn paths(pieces: &Pieces<'_>) -> Vec<Path> {
    let mut paths: Vec<Path> = Vec::new();
    let fresh = pieces.fresh();
    let label = |text: &str| pieces.label(text).unwrap_or_else(|| "other paths".to_owned());
    let plain = |sent: String| Path { label: label(&sent), lenient: Some(sent.clone()), sent };
    // A pattern that no path begins with matches no path: `/` comes first.
    paths.extend(pieces.exact.iter().map(|it| plain((*it).to_owned())));
    for (prefix, suffix) in pieces.ends() {
        let root = if prefix.starts_with('/') { "" } else { "/" };
        paths.push(plain(format!("{root}{prefix}{fresh}{suffix}")));
    }
    let of_two_readings: Vec<Path> = paths
        .iter()
        .filter_map(|path| path.lenient.as_deref())
        .flat_map(|lenient| of_two_readings(pieces, fresh, lenient))
        .map(|(sent, lenient)| Path {
            label: format!("paths sent as {} and read as {}", label(&sent), label(&lenient)),
            sent,
            lenient: Some(lenient),
        })
        .collect();
    paths.extend(of_two_readings);
    let unclear = ["/%", "*"].map(str::to_owned);
    paths.extend(unclear.map(|sent| Path {
        label: "unclear paths".to_owned(),
        sent,
        lenient: None,
    }));
    paths
}

/// Paths with this lenient reading that match fewer or other patterns as sent.
fn of_two_readings(pieces: &Pieces<'_>, fresh: char, lenient: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let starts = pieces.prefixes.iter().copied().filter(|it| lenient.starts_with(it)).chain(["/"]);
    for start in starts {
        let Some(rest) = lenient.get(start.len()..) else { continue };
        let mut escaped = String::from(start);
        for byte in rest.bytes() {
            // Writing to a string cannot fail.
            let _ = write!(escaped, "%{byte:02X}");
        }
        // What stands behind `;` is cut, up to the next `/`.
        let ends = pieces.suffixes.iter().copied().filter(|it| !it.contains('/')).chain([""]);
        for end in ends {
            found.push((format!("{escaped};{fresh}{end}"), lenient.to_owned()));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use egress_warden::policy::TextPattern;

    fn found(patterns: &[&str]) -> Vec<Path> {
        let mut pieces = Pieces::default();
        pieces.add(patterns.iter().filter_map(|it| TextPattern::parse(it)));
        paths(&pieces)
    }

    #[test]
    fn every_way_to_match_has_a_path() {
        let found = found(&["/v1/*", "/v1/admin*", "*.png", "/exact"]);
        let of_one_reading: Vec<_> = found
            .iter()
            .filter(|path| path.lenient.as_deref() == Some(&path.sent))
            .map(|path| &*path.label)
            .collect();
        assert_eq!(
            of_one_reading,
            [
                "/exact",
                "/v1/*.png",
                "/v1/admin*.png",
                "*.png",
                "/v1/*",
                "/v1/admin*",
                "other paths"
            ]
        );
    }

    #[test]
    fn the_two_readings_are_what_is_claimed() {
        use egress_warden::config;
        use egress_warden::policy::{Action, Request};
        for path in found(&["/v1/*", "*.png", "/exact"]) {
            // A policy that allows exactly the claimed lenient reading, in both readings or one.
            let decide = |action: &str, default: &str, pattern: &str| {
                let text = format!(
                    r#"{{"policy":"p","default":"{default}","rules":[{{"id":"r","action":"{action}","to":[{{"paths":["{pattern}"]}}]}}]}}"#
                );
                let policy = config::read(text.as_bytes()).expect(&text).policy;
                let request = Request {
                    path: Some(path.sent.as_bytes()),
                    ..Request::new(b"a.example", b"GET")
                };
                policy.decide(&request).verdict.action
            };
            match &path.lenient {
                Some(lenient) => {
                    assert_eq!(decide("deny", "allow", lenient), Action::Deny, "{path:?}");
                }
                None => assert_eq!(decide("deny", "allow", "/x"), Action::Deny, "{path:?}"),
            }
        }
    }
}
