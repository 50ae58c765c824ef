//! Globs over names: patterns with a `*` elsewhere than as the whole first label.
//!
//! A `*` stands for any run of bytes of its label, also none; alone in a label for that whole label, or
//! as the first label for one label or more. Beside other bytes it never matches within an `xn--` label:
//! its bytes are an encoding, no text (RFC 6125, section 6.4.3).

/// A glob in canonical form. A `*` in the first label may stand alone; no two stand side by side, and none
/// in the last two labels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Glob<'a>(&'a str);

impl<'a> Glob<'a> {
    /// INVARIANT: the text was read by [`super::HostPattern::parse`] once.
    pub(crate) fn of_canonical(text: &'a str) -> Self {
        Self(text)
    }

    /// The glob as policies write it.
    pub fn as_str(self) -> &'a str {
        self.0
    }

    /// The labels, the last one first.
    pub(crate) fn labels(self) -> impl Iterator<Item = &'a str> {
        self.0.rsplit('.')
    }

    /// The labels behind the last `*`, as one name.
    pub fn suffix(self) -> &'a str {
        let behind = self.0.rsplit_once('*').map_or(self.0, |(_, behind)| behind);
        behind.split_once('.').map_or(behind, |(_, suffix)| suffix)
    }

    /// How many bytes are not `*`: the more there are, the more specific the glob is.
    pub fn literal_bytes(self) -> usize {
        self.0.bytes().filter(|byte| *byte != b'*').count()
    }

    /// Whether a canonical name matches.
    pub fn matches(self, name: &str) -> bool {
        let mut labels = name.rsplit('.');
        let mut patterns = self.labels().peekable();
        while let Some(pattern) = patterns.next() {
            let Some(label) = labels.next() else { return false };
            if pattern == "*" && patterns.peek().is_none() {
                return true;
            }
            if !label_matches(pattern, label) {
                return false;
            }
        }
        labels.next().is_none()
    }
}

fn label_matches(pattern: &str, label: &str) -> bool {
    let Some((start, rest)) = pattern.split_once('*') else { return pattern == label };
    if pattern == "*" {
        return true;
    }
    if label.starts_with("xn--") {
        return false;
    }
    let (inner, end) =
        rest.rsplit_once('*').map_or((None, rest), |(inner, end)| (Some(inner), end));
    let middle = label.strip_prefix(start).and_then(|label| label.strip_suffix(end));
    let Some(middle) = middle else { return false };
    // The first place for each run leaves the most to those behind it.
    let mut runs = inner.into_iter().flat_map(|inner| inner.split('*'));
    let left = runs.try_fold(middle, |left, run| left.split_once(run).map(|(_, left)| left));
    left.is_some()
}

#[cfg(test)]
mod tests {
    use super::*;
    use wasm_bindgen_test::wasm_bindgen_test;

    #[wasm_bindgen_test(unsupported = test)]
    fn a_star_stays_within_its_label() {
        for (glob, matching, others) in [
            (
                "sts.*.amazonaws.com",
                &["sts.eu-west-1.amazonaws.com", "sts.xn--p1ai.amazonaws.com"][..],
                &["sts.amazonaws.com", "sts.a.b.amazonaws.com", "xsts.a.amazonaws.com"][..],
            ),
            (
                "*.s3.*.amazonaws.com",
                &["b.s3.eu.amazonaws.com", "a.b.s3.eu.amazonaws.com"],
                &["s3.eu.amazonaws.com", "b.s3.amazonaws.com", "b.s3.eu.x.amazonaws.com"],
            ),
            (
                "api-*.duo.example",
                &["api-1.duo.example", "api--1.duo.example"],
                &["api.duo.example", "my-api-1.duo.example", "api-a.b.duo.example"],
            ),
            ("*-x.g.example", &["eu-x.g.example"], &["x.g.example", "a.eu-x.g.example"]),
            ("a*b.g.example", &["ab.g.example", "acb.g.example"], &["a.g.example", "b.g.example"]),
            ("a*a.g.example", &["aa.g.example"], &["a.g.example"]),
            ("*b*b*.g.example", &["bb.g.example", "abcbd.g.example"], &["b.g.example"]),
            ("xn*.g.example", &["xn.g.example"], &["xn--p1ai.g.example"]),
        ] {
            let glob = Glob::of_canonical(glob);
            for name in matching {
                assert!(glob.matches(name), "{glob:?}: {name}");
            }
            for name in others {
                assert!(!glob.matches(name), "{glob:?}: {name}");
            }
        }
    }

    #[wasm_bindgen_test(unsupported = test)]
    fn the_suffix_is_what_every_match_ends_with() {
        for (glob, suffix) in [
            ("sts.*.amazonaws.com", "amazonaws.com"),
            ("*.s3.*.amazonaws.com", "amazonaws.com"),
            ("api-*.a.duo.example", "a.duo.example"),
        ] {
            assert_eq!(Glob::of_canonical(glob).suffix(), suffix);
        }
    }
}
