//! What `--fix` writes: edits of the text by their place, so that comments and layout stay.

use super::super::policy_file::{Finding, Node, Notation, PolicyFile, Value, quoted};
use super::Edit;

/// The edit that a fault's remedy spells out, where it does.
pub(super) fn of_fault(file: &PolicyFile, fault: &Finding) -> Option<Edit> {
    let written = file.text().get(fault.span.clone())?;
    if let Some(replacement) = spelt_out(&fault.remedy) {
        let replacement = scalar(file.notation(), written, replacement);
        return Some(Edit { span: fault.span.clone(), replacement });
    }
    // A number in quotes.
    let is_number = fault.remedy == "write a number without quotes";
    let digits = written.trim_matches(['"', '\'']);
    let is_port = |port: u16| port != 0 && port.to_string() == digits;
    (is_number && digits != written && digits.parse().is_ok_and(is_port))
        .then(|| Edit { span: fault.span.clone(), replacement: digits.to_owned() })
}

/// The edit that takes an item out of its list, where no comment would go with it. The first item
/// of a list is none to take out.
pub(super) fn removal(file: &PolicyFile, before: &Node, item: &Node) -> Option<Edit> {
    let span = before.span.end..item.span.end;
    let between = file.text().get(span.clone())?;
    let rest_of_line = file.text().get(span.end..)?.lines().next().unwrap_or_default();
    let may_hold_comment = file.notation() == Notation::Yaml
        && (between.contains(['#', '&', '*', '!']) || rest_of_line.trim_start().starts_with('#'));
    let is_scalar = matches!(item.value, Value::Text(_) | Value::Number(_));
    (is_scalar && !may_hold_comment).then(|| Edit { span, replacement: String::new() })
}

/// Applies edits that do not overlap, each once; returns the text and how many there were.
pub(super) fn apply(text: &str, mut edits: Vec<Edit>) -> (String, usize) {
    edits.sort_by_key(|edit| (edit.span.start, edit.span.end));
    let mut out = String::with_capacity(text.len());
    let (mut end, mut count) = (0, 0_usize);
    for edit in edits {
        // An alias gives the edits of what it stands for once more.
        let Some(kept) = text.get(end..edit.span.start) else { continue };
        out.push_str(kept);
        out.push_str(&edit.replacement);
        end = edit.span.end;
        count = count.saturating_add(1);
    }
    out.push_str(text.get(end..).unwrap_or_default());
    (out, count)
}

/// What a remedy of the form `use "TEXT"` tells to use. The reader escapes and cuts what would not
/// fit on a line: then it tells no whole text.
fn spelt_out(remedy: &str) -> Option<&str> {
    let text = remedy.strip_prefix("use \"")?.strip_suffix('"')?;
    (!text.contains(['\\', '"', '…'])).then_some(text)
}

/// A text as a scalar, in quotes where the one that was there had them or where it needs them.
fn scalar(notation: Notation, written: &str, text: &str) -> String {
    let was_plain = notation == Notation::Yaml && !written.starts_with(['"', '\'']);
    if was_plain && is_safe_plain(text) { text.to_owned() } else { quoted(text) }
}

/// Whether a text may stand in YAML without quotes, wherever it stands.
fn is_safe_plain(text: &str) -> bool {
    let is_plain_byte = |byte: u8| byte.is_ascii_alphanumeric() || b"-._/".contains(&byte);
    let starts_plain = text.starts_with(|c: char| c.is_ascii_alphabetic());
    const WORDS: [&str; 9] = ["y", "n", "yes", "no", "on", "off", "true", "false", "null"];
    starts_plain
        && text.bytes().all(is_plain_byte)
        && !WORDS.iter().any(|word| text.eq_ignore_ascii_case(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edits_leave_everything_else_as_it_was() {
        let edit = |span, replacement: &str| Edit { span, replacement: replacement.to_owned() };
        let text = "a: [X, Y] # X";
        let edits = vec![edit(7..8, "y"), edit(4..5, "xx"), edit(4..5, "xx")];
        assert_eq!(apply(text, edits), ("a: [xx, y] # X".to_owned(), 2));
        assert_eq!(apply(text, Vec::new()), (text.to_owned(), 0));
    }

    #[test]
    fn only_a_text_that_is_told_whole_is_used() {
        assert_eq!(spelt_out("use \"a.test\""), Some("a.test"));
        for remedy in [
            "use \"a.test\", and the port under `ports`",
            "use \"a\\u{0}\"",
            "use \"aa…\"",
            "write one",
        ] {
            assert_eq!(spelt_out(remedy), None, "{remedy}");
        }
    }

    #[test]
    fn quotes_stay_where_they_were_or_are_needed() {
        let yaml = |written, text| scalar(Notation::Yaml, written, text);
        assert_eq!(yaml("A.test", "a.test"), "a.test");
        assert_eq!(yaml("'A.test'", "a.test"), "\"a.test\"");
        assert_eq!(yaml("*.A.test", "*.a.test"), "\"*.a.test\"");
        assert_eq!(yaml("1.2.3.4.", "1.2.3.4"), "\"1.2.3.4\"");
        assert_eq!(scalar(Notation::Json, "\"A\"", "a"), "\"a\"");
    }
}
