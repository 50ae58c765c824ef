//! One strict JSON object on one line, written key by key in a fixed order.

use std::fmt::Write;

/// Longest string value, in bytes before escaping.
pub(crate) const MAX_VALUE: usize = 1024;

/// An object under construction. Absent values leave no key.
#[derive(Debug)]
pub(crate) struct JsonLine(String);

impl JsonLine {
    pub(crate) fn new() -> Self {
        Self(String::from("{"))
    }

    /// A text, cut at [`MAX_VALUE`] bytes at a character boundary.
    pub(crate) fn text(&mut self, key: &'static str, value: Option<&str>) -> &mut Self {
        if let Some(value) = value {
            self.key(key);
            self.0.push('"');
            let cut = value.get(..value.floor_char_boundary(MAX_VALUE)).unwrap_or(value);
            for character in cut.chars() {
                push_escaped(&mut self.0, character);
            }
            self.0.push('"');
        }
        self
    }

    /// Bytes as a text; those that are not UTF-8 become U+FFFD.
    pub(crate) fn bytes(&mut self, key: &'static str, value: Option<&[u8]>) -> &mut Self {
        // A character that this cuts stands wholly behind the cut of the text.
        let head = value.map(|value| value.get(..MAX_VALUE + 4).unwrap_or(value));
        let text = head.map(String::from_utf8_lossy);
        self.text(key, text.as_deref())
    }

    pub(crate) fn number(&mut self, key: &'static str, value: Option<u16>) -> &mut Self {
        if let Some(value) = value {
            self.key(key);
            self.0.push_str(&value.to_string());
        }
        self
    }

    pub(crate) fn finish(&mut self) -> String {
        self.0.push('}');
        std::mem::take(&mut self.0)
    }

    fn key(&mut self, key: &'static str) {
        if self.0.len() > 1 {
            self.0.push(',');
        }
        self.0.push('"');
        self.0.push_str(key);
        self.0.push_str("\":");
    }
}

/// Escapes what JSON demands (RFC 8259, section 7), and what some readers take for the end of a
/// line, a control, or the end of a script.
fn push_escaped(out: &mut String, character: char) {
    match character {
        '"' => out.push_str("\\\""),
        '\\' => out.push_str("\\\\"),
        '\n' => out.push_str("\\n"),
        '\r' => out.push_str("\\r"),
        '\t' => out.push_str("\\t"),
        '<' | '\u{2028}' | '\u{2029}' => push_unicode(out, character),
        _ if character.is_control() => push_unicode(out, character),
        _ => out.push(character),
    }
}

fn push_unicode(out: &mut String, character: char) {
    // Writing to a string cannot fail.
    let _ = write!(out, "\\u{:04x}", u32::from(character));
}

#[cfg(test)]
mod tests {
    use super::*;
    use wasm_bindgen_test::wasm_bindgen_test;

    fn value_of(line: &str) -> serde_json::Value {
        serde_json::from_str(line).expect("strict JSON")
    }

    #[wasm_bindgen_test(unsupported = test)]
    fn any_text_is_one_line_of_strict_json() {
        let hostile = "\"\\\r\n\t\0\u{1b}\u{7f}\u{85}\u{2028}</script>\u{1f4a1}";
        let line = JsonLine::new().text("a", Some(hostile)).text("b", None).finish();
        assert!(!line.contains(|c: char| c.is_control() || c == '\u{2028}' || c == '<'), "{line}");
        assert_eq!(value_of(&line), serde_json::json!({ "a": hostile }));
    }

    #[wasm_bindgen_test(unsupported = test)]
    fn bytes_that_are_not_utf8_are_replaced() {
        let line = JsonLine::new().bytes("a", Some(b"x\xff\xc3y")).finish();
        assert_eq!(value_of(&line), serde_json::json!({ "a": "x\u{fffd}\u{fffd}y" }));
    }

    #[wasm_bindgen_test(unsupported = test)]
    fn values_are_cut_at_a_character_boundary() {
        for (text, length) in [("a".repeat(70_000), 1024), (format!("a{}", "€".repeat(500)), 1024)]
        {
            let line = JsonLine::new().bytes("a", Some(text.as_bytes())).finish();
            let cut = value_of(&line)["a"].as_str().unwrap().to_owned();
            assert_eq!(cut.len(), length);
            assert!(text.starts_with(&cut));
        }
    }
}
