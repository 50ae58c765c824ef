//! The canonical form of a policy (RFC 8785) and its hash.

use super::order::sorted;
use super::tree::{Node, Value};
use sha2::{Digest, Sha256};

/// The first 48 bits of the SHA-256 of the canonical form.
pub(super) fn hash<N: Node>(node: &N) -> u64 {
    let mut hash = CanonicalHash::default();
    write(node, &mut |text| hash.write(text));
    let digest = hash.finish();
    digest.as_ref().iter().take(6).fold(0, |hash, &byte| hash << 8 | u64::from(byte))
}

/// A tree as canonical JSON (RFC 8785), for trees that are policies: their keys are ASCII, so that the
/// order of bytes is that of UTF-16, and their numbers are integers below 2^53.
pub fn canonical_json<N: Node>(node: &N) -> String {
    let mut json = String::new();
    write(node, &mut |text| json.push_str(text));
    json
}

fn write<N: Node>(node: &N, out: &mut dyn FnMut(&str)) {
    match node.value() {
        Value::Null => out("null"),
        Value::Bool(value) => out(if value { "true" } else { "false" }),
        Value::Number(value) => out(&number_text(value)),
        Value::Text(text) => write_text(text, out),
        Value::List(items) => {
            out("[");
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    out(",");
                }
                write(item, out);
            }
            out("]");
        }
        Value::Object(members) => {
            let sorted = sorted(members.iter().collect(), |a, b| N::key(a).cmp(N::key(b)));
            out("{");
            for (index, member) in sorted.into_iter().enumerate() {
                if index > 0 {
                    out(",");
                }
                write_text(N::key(member), out);
                out(":");
                write(N::member_value(member), out);
            }
            out("}");
        }
    }
}

/// The shortest text that is this number; a whole one has no point.
pub(super) fn number_text(value: f64) -> String {
    const EXACT: f64 = 9_007_199_254_740_992.0; // 2^53
    match value.fract() == 0.0 && (-EXACT..=EXACT).contains(&value) {
        true => (value as i64).to_string(),
        false => serde_json::to_string(&value).unwrap_or_default(),
    }
}

/// A string as RFC 8785 (section 3.2.2.2) wants it, which is how serde_json escapes.
fn write_text(text: &str, out: &mut dyn FnMut(&str)) {
    if text.bytes().any(|byte| byte < 0x20 || matches!(byte, b'"' | b'\\')) {
        return out(&serde_json::to_string(text).unwrap_or_default());
    }
    out("\"");
    out(text);
    out("\"");
}

/// The SHA-256 of a text that comes in small pieces.
#[derive(Default)]
struct CanonicalHash {
    digest: Sha256,
    pieces: Vec<u8>,
}

impl CanonicalHash {
    /// Pieces are hashed together from this length on.
    const ENOUGH: usize = 4096;

    fn write(&mut self, piece: &str) {
        self.pieces.extend_from_slice(piece.as_bytes());
        if self.pieces.len() >= Self::ENOUGH {
            self.digest.update(&self.pieces);
            self.pieces.clear();
        }
    }

    fn finish(mut self) -> impl AsRef<[u8]> {
        self.digest.update(&self.pieces);
        self.digest.finalize()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::json;
    use wasm_bindgen_test::wasm_bindgen_test;

    #[wasm_bindgen_test(unsupported = test)]
    fn canonical_json_forgets_what_control_planes_rewrite() {
        let canonical_form = r#"{"a":[1,443,true,null],"b":"\n\u000f€\"\\","c":{}}"#;
        for text in [
            canonical_form,
            "{ \"c\" : {}, \"b\":\"\\u000a\\u000F\\u20ac\\\"\\\\\",\n\"a\":[1.0,4.43e2,true,null] }",
        ] {
            assert_eq!(canonical_json(&json::parse(text.as_bytes()).unwrap()), canonical_form);
        }
    }
}
