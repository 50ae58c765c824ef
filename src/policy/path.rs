//! The two readings of a path.
//!
//! An upstream may decode, cut and merge a path before it acts on it, or may not. So a path is read
//! as sent, and leniently: percent-decoded once, `;…` cut from each segment, `//` merged. Where
//! readers differ more than that, the path is unclear and has no reading: a dot segment after
//! decoding, `\`, a NUL, a `%` left after decoding, `?` or `#` after decoding, bytes that are not
//! UTF-8, and what does not start with `/`.

use super::text::Text;
use std::borrow::Cow;

/// Both readings of the part of a path before `?`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Readings<'a> {
    sent: Text<'a>,
    /// As sent, but with `%2f` for `%2F`; `None` where that is the same.
    folded: Option<Text<'a>>,
    /// `None` where it is the same.
    lenient: Option<Text<'a>>,
}

impl<'a> Readings<'a> {
    /// Reads `:path`; `None` where it is unclear.
    pub(super) fn of(path: &'a [u8]) -> Option<Self> {
        let end = path.iter().position(|&byte| byte == b'?').unwrap_or(path.len());
        let sent = std::str::from_utf8(path.get(..end)?).ok()?;
        let lenient = match lenient(sent)? {
            Cow::Borrowed(_) => None,
            Cow::Owned(lenient) => Some(Text::new(lenient)),
        };
        let folded = sent.contains("%2F").then(|| Text::new(sent.replace("%2F", "%2f")));
        Some(Self { sent: Text::new(sent), folded, lenient })
    }

    /// As sent, and leniently.
    pub(super) fn both(&self) -> [&str; 2] {
        [&self.sent, self.lenient.as_ref().unwrap_or(&self.sent)].map(Text::as_str)
    }

    /// What patterns are held against: the path as sent, its encoded slashes all as `%2f`, and the
    /// lenient reading where it is another.
    pub(super) fn texts(&self) -> (&Text<'a>, Option<&Text<'a>>) {
        (self.folded.as_ref().unwrap_or(&self.sent), self.lenient.as_ref())
    }
}

/// The two readings of `:path`, as sent and lenient, without its query; `None` where it is unclear.
pub fn readings(path: &[u8]) -> Option<[String; 2]> {
    Readings::of(path).map(|readings| readings.both().map(str::to_owned))
}

/// The lenient reading: borrowed where it is what was sent. All of it goes by bytes: a caller may
/// send 64 KiB of them.
fn lenient(sent: &str) -> Option<Cow<'_, str>> {
    if !sent.starts_with('/') {
        return None;
    }
    let decoded = percent_decode(sent)?;
    let bytes = decoded.as_bytes();
    if bytes.iter().any(|byte| matches!(byte, b'%' | b'\\' | b'\0' | b'?' | b'#')) {
        return None;
    }
    let may_differ = |pair: &[u8]| matches!(pair, b"//" | b"/." | [b';', _] | [_, b';']);
    if !bytes.windows(2).any(may_differ) {
        return Some(decoded);
    }
    let merged = merge(bytes)?;
    match merged == bytes {
        true => Some(decoded),
        false => String::from_utf8(merged).ok().map(Cow::Owned),
    }
}

/// The path without parameters and repeated slashes; `None` where it has a dot segment.
fn merge(path: &[u8]) -> Option<Vec<u8>> {
    let mut merged = Vec::with_capacity(path.len());
    let mut segment = 0;
    let mut is_parameter = false;
    for &byte in path {
        match byte {
            b'/' => {
                if is_dots(merged.get(segment..)?) {
                    return None;
                }
                if merged.last() != Some(&b'/') {
                    merged.push(b'/');
                }
                segment = merged.len();
                is_parameter = false;
            }
            b';' => is_parameter = true,
            _ if is_parameter => {}
            _ => merged.push(byte),
        }
    }
    (!is_dots(merged.get(segment..)?)).then_some(merged)
}

fn is_dots(segment: &[u8]) -> bool {
    matches!(segment, b"." | b"..")
}

/// Decodes every `%XX` once; what is no such escape stays, for the caller to find. `None` where the
/// result is not UTF-8.
fn percent_decode(text: &str) -> Option<Cow<'_, str>> {
    if !text.contains('%') {
        return Some(Cow::Borrowed(text));
    }
    String::from_utf8(decode_escapes(text.as_bytes(), |byte| byte)).ok().map(Cow::Owned)
}

/// The bytes with every `%XX` decoded once; what is no such escape is read by `plain`.
pub(super) fn decode_escapes(text: &[u8], plain: impl Fn(u8) -> u8) -> Vec<u8> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&byte, tail)) = rest.split_first() {
        let escape = match (byte, tail) {
            (b'%', [high, low, after @ ..]) => {
                hex_digit(*high).zip(hex_digit(*low)).map(|(high, low)| (high << 4 | low, after))
            }
            _ => None,
        };
        let (byte, after) = escape.unwrap_or_else(|| (plain(byte), tail));
        decoded.push(byte);
        rest = after;
    }
    decoded
}

fn hex_digit(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte.wrapping_sub(b'0')),
        b'a'..=b'f' => Some(byte.wrapping_sub(b'a').wrapping_add(10)),
        b'A'..=b'F' => Some(byte.wrapping_sub(b'A').wrapping_add(10)),
        _ => None,
    }
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
        ] {
            let readings = Readings::of(sent.as_bytes()).expect(sent);
            assert_eq!(readings.both(), [sent.split('?').next().unwrap(), lenient]);
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
            "/channels/%23general",
            "/a%3fb",
            "/a%3Fb",
            "/%ff",
        ] {
            assert_eq!(Readings::of(path.as_bytes()), None, "{path}");
        }
        assert_eq!(Readings::of(b"/\xff"), None);
    }
}
