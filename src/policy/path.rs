//! The two readings of a path.
//!
//! An upstream may decode, cut and merge a path before it acts on it, or may not. So a path is read
//! as sent, and leniently: percent-decoded once, `;…` cut from each segment, `//` merged. Where
//! readers differ more than that, the path is unclear and has no reading: a dot segment after
//! decoding, `\`, a NUL, a `%` left after decoding, a fragment, bytes that are not UTF-8, and what
//! does not start with `/`.

use std::borrow::Cow;

/// Both readings of the part of a path before `?`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Readings<'a> {
    sent: &'a str,
    lenient: Cow<'a, str>,
}

impl<'a> Readings<'a> {
    /// Reads `:path`; `None` where it is unclear.
    pub(super) fn of(path: &'a [u8]) -> Option<Self> {
        let end = path.iter().position(|&byte| byte == b'?').unwrap_or(path.len());
        let sent = std::str::from_utf8(path.get(..end)?).ok()?;
        let lenient = lenient(sent)?;
        Some(Self { sent, lenient })
    }

    /// As sent, and leniently.
    pub(super) fn both(&self) -> [&str; 2] {
        [self.sent, &self.lenient]
    }

    /// What holds of both readings; `None` where it holds of one only.
    pub(super) fn agree(&self, test: impl Fn(&str) -> bool) -> Option<bool> {
        let sent = test(self.sent);
        (sent == test(&self.lenient)).then_some(sent)
    }
}

/// The two readings of `:path`, as sent and lenient, without its query; `None` where it is unclear.
pub fn readings(path: &[u8]) -> Option<[String; 2]> {
    Readings::of(path).map(|readings| readings.both().map(str::to_owned))
}

fn lenient(sent: &str) -> Option<Cow<'_, str>> {
    if !sent.starts_with('/') || sent.contains('#') {
        return None;
    }
    let decoded = percent_decode(sent)?;
    if decoded.contains(['%', '\\', '\0']) {
        return None;
    }
    let cut = |segment: &str| segment.split(';').next().unwrap_or_default().to_owned();
    if decoded.split('/').any(|segment| matches!(cut(segment).as_str(), "." | "..")) {
        return None;
    }
    if !decoded.contains(';') && !decoded.contains("//") {
        return Some(decoded);
    }
    let mut merged = String::with_capacity(decoded.len());
    for segment in decoded.split('/').map(cut).filter(|segment| !segment.is_empty()) {
        merged.push('/');
        merged.push_str(&segment);
    }
    // A closing slash survives, also behind a segment of parameters alone.
    if merged.is_empty() || decoded.rsplit('/').map(cut).next().is_some_and(|last| last.is_empty())
    {
        merged.push('/');
    }
    Some(Cow::Owned(merged))
}

/// Decodes every `%XX` once; what is no such escape stays, for the caller to find. `None` where the
/// result is not UTF-8.
fn percent_decode(text: &str) -> Option<Cow<'_, str>> {
    if !text.contains('%') {
        return Some(Cow::Borrowed(text));
    }
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        let escape = match (byte, tail) {
            (b'%', [high, low, after @ ..]) => {
                hex_digit(*high).zip(hex_digit(*low)).map(|(high, low)| (high << 4 | low, after))
            }
            _ => None,
        };
        let (byte, after) = escape.unwrap_or((byte, tail));
        decoded.push(byte);
        rest = after;
    }
    String::from_utf8(decoded).ok().map(Cow::Owned)
}

fn hex_digit(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use wasm_bindgen_test::wasm_bindgen_test;

    #[wasm_bindgen_test(unsupported = test)]
    fn the_lenient_reading_decodes_cuts_and_merges() {
        for (sent, lenient) in [
            ("/", "/"),
            ("/v1/charges?x=/../", "/v1/charges"),
            ("/%61dmin", "/admin"),
            ("/public%2fadmin", "/public/admin"),
            ("/@types%2fnode", "/@types/node"),
            ("//admin", "/admin"),
            ("/bucket//key", "/bucket/key"),
            ("/bucket//", "/bucket/"),
            ("//", "/"),
            ("/admin;x=y/", "/admin/"),
            ("/admin;x=y", "/admin"),
            ("/admin%3bx/y", "/admin/y"),
            ("/a/;x", "/a/"),
            ("/;x", "/"),
            ("/...", "/..."),
            ("/b%C3%BCcher", "/bücher"),
            ("/channels/%23general", "/channels/#general"),
        ] {
            let readings = Readings::of(sent.as_bytes()).expect(sent);
            assert_eq!(readings.lenient, lenient, "{sent}");
            assert_eq!(readings.sent, sent.split('?').next().unwrap());
        }
    }

    #[wasm_bindgen_test(unsupported = test)]
    fn what_readers_disagree_on_is_unclear() {
        for path in [
            "",
            "*",
            "admin",
            "/./admin",
            "/a/../admin",
            "/..",
            "/a/.",
            "/%2e%2e/x",
            "/public/..%2fadmin",
            "/v1/..;/admin",
            "/v1/.;x/admin",
            "/v1/%2e%2e%3b/admin",
            "/a\\b",
            "/a%5cb",
            "/a%00b",
            "/%252f",
            "/100%",
            "/%zz",
            "/%2",
            "/a#b",
            "/%ff",
        ] {
            assert_eq!(Readings::of(path.as_bytes()), None, "{path}");
        }
        assert_eq!(Readings::of(b"/\xff"), None);
    }

    #[wasm_bindgen_test(unsupported = test)]
    fn readings_agree_or_nothing_is_known() {
        let readings = Readings::of(b"//admin").unwrap();
        assert_eq!(readings.agree(|path| path.ends_with("/admin")), Some(true));
        assert_eq!(readings.agree(|path| path == "/public"), Some(false));
        assert_eq!(readings.agree(|path| path == "/admin"), None);
    }
}
