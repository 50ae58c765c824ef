//! JSON that is no line: arrays, objects over many lines, and the answers of log stores, which hold
//! their records in lists.
//!
//! [`Splitter`] takes such a document apart while it streams by, and gives out the innermost objects
//! and texts that may be records. It descends by brackets and by the keys of [`is_list_key`] only, and
//! never into a text: what a caller sent stays within the quotes of the one who wrote it.

use super::chunks::MAX_LINE;
use memchr::{memchr, memchr2};

/// How deep a document may nest; `serde_json` reads no deeper.
const MAX_DEPTH: usize = 120;
/// Longer than any key that is looked for.
const MAX_KEY: usize = 32;

/// Whether a key holds lists of records in the answers and exports of log stores.
pub(super) fn is_list_key(key: &str) -> bool {
    matches!(
        key,
        "data"
            | "entries"
            | "events"
            | "hits"
            | "items"
            | "logEvents"
            | "logRecords"
            | "logs"
            | "messages"
            | "records"
            | "Records"
            | "resourceLogs"
            | "result"
            | "results"
            | "rows"
            | "scopeLogs"
            | "values"
    )
}

/// Whether a line is the start of a document. `is_first`: of its file. The answer of a store on one line
/// is looked for there, and where a line is longer than those of requests.
pub(super) fn opens(line: &[u8], is_first: bool) -> bool {
    match line {
        [b'{'] | [b'['] | [b'{' | b'[', b'\r'] => true,
        [b'[', rest @ ..] => matches!(rest.trim_ascii_start(), [b'{' | b'[' | b'"', ..]),
        [b'{', ..] if is_first || line.len() > LONG => has_list_at_its_start(line),
        _ => false,
    }
}

/// Longer than a line of a request in general.
const LONG: usize = 1 << 16;
/// How much of a long line is looked at.
const HEAD: usize = 1 << 12;

/// Whether an object holds a list of records, as far as its start shows.
fn has_list_at_its_start(line: &[u8]) -> bool {
    let mut splitter = Splitter::default();
    let end = splitter.feed(line.get(..HEAD).unwrap_or(line), &mut 0, &mut |_, _| {});
    !matches!(end, Fed::Broken(_)) && splitter.has_descended
}

/// Takes one document apart.
#[derive(Debug, Default)]
pub(super) struct Splitter {
    levels: Vec<Level>,
    expected: Expected,
    is_in_text: bool,
    is_escaped: bool,
    /// The object or text that may be a record, as far as it is read, without blanks.
    item: Vec<u8>,
    item_line: u64,
    /// The line that was read last.
    line: u64,
    is_in_item: bool,
    key: Vec<u8>,
    has_descended: bool,
}

/// A bracket that is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Level {
    /// A list of what may be records.
    List,
    /// An object that may be a record.
    Item,
    /// An object that turned out to hold a list of records.
    Holder,
    /// Anything within an item, or beside the list of a holder.
    Object,
    OtherList,
}

impl Level {
    fn is_object(self) -> bool {
        matches!(self, Self::Item | Self::Holder | Self::Object)
    }
}

/// What may come next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Expected {
    #[default]
    Value,
    /// Behind `{` or a comma in an object.
    Key,
    Colon,
    /// Behind a value: a comma or the end.
    Comma,
    /// Within a number, `true`, `false` or `null`.
    Word,
}

/// How far a document was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fed {
    /// Up to the end of what was given; it goes on.
    All,
    /// It ends before this byte.
    End(usize),
    /// It is no JSON from this byte on.
    Broken(usize),
}

impl Splitter {
    /// Reads on. `line` is the number of the line that `bytes` begin in, and is counted up; `give` gets
    /// each item with the line in which it begins.
    pub(super) fn feed(
        &mut self,
        bytes: &[u8],
        line: &mut u64,
        give: &mut impl FnMut(&[u8], u64),
    ) -> Fed {
        let mut at = 0;
        while let Some(&byte) = bytes.get(at) {
            if self.is_in_text {
                let rest = bytes.get(at..).unwrap_or_default();
                match self.text(rest, give) {
                    Some(read) => at += read,
                    None => return Fed::Broken(at),
                }
                continue;
            }
            if byte == b'\n' {
                *line += 1;
            }
            self.line = *line;
            if !self.take(byte, *line, give) {
                return Fed::Broken(at);
            }
            at += 1;
            if self.levels.is_empty() {
                return Fed::End(at);
            }
        }
        Fed::All
    }

    /// What is read of an item that has no end.
    pub(super) fn unfinished(&self) -> (&[u8], u64) {
        match self.is_in_item {
            true => (&self.item, self.item_line),
            false => (b"{", self.line),
        }
    }

    /// Reads on in a text: how many bytes, or `None` where it is none.
    fn text(&mut self, bytes: &[u8], give: &mut impl FnMut(&[u8], u64)) -> Option<usize> {
        if std::mem::take(&mut self.is_escaped) {
            self.keep(bytes.get(..1)?);
            return Some(1);
        }
        let end = memchr2(b'"', b'\\', bytes).unwrap_or(bytes.len());
        let (inner, behind) = bytes.split_at_checked(end)?;
        if memchr(b'\n', inner).is_some() {
            return None;
        }
        self.keep(inner);
        let Some(&mark) = behind.first() else { return Some(end) };
        self.keep(&[mark]);
        if mark == b'\\' {
            self.is_escaped = true;
            return Some(end + 1);
        }
        self.is_in_text = false;
        if self.expected == Expected::Key {
            self.expected = Expected::Colon;
        } else {
            self.expected = Expected::Comma;
            if self.levels.last() == Some(&Level::List) {
                self.end_text(give);
            }
        }
        Some(end + 1)
    }

    /// Takes a byte that is outside of texts; `false` where it cannot stand there.
    fn take(&mut self, byte: u8, line: u64, give: &mut impl FnMut(&[u8], u64)) -> bool {
        if self.expected == Expected::Word {
            if byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.') {
                self.keep(&[byte]);
                return true;
            }
            self.expected = Expected::Comma;
        }
        let top = self.levels.last().copied();
        match (byte, self.expected) {
            (b' ' | b'\t' | b'\r' | b'\n', _) => return true,
            (b'{' | b'[', Expected::Value) => return self.open(byte == b'{', line),
            (b'"', Expected::Value | Expected::Key) => {
                self.is_in_text = true;
                if self.expected == Expected::Key {
                    self.key.clear();
                } else if top == Some(Level::List) {
                    self.begin(line);
                    self.keep(TEXT_BEGINS);
                }
            }
            (b':', Expected::Colon) => self.expected = Expected::Value,
            (b',', Expected::Comma) => {
                let is_object = top.is_some_and(Level::is_object);
                self.expected = if is_object { Expected::Key } else { Expected::Value };
            }
            (b'}', Expected::Comma | Expected::Key) => {
                return self.close(true, give);
            }
            (b']', Expected::Comma | Expected::Value) => {
                return self.close(false, give);
            }
            (b't' | b'f' | b'n' | b'-' | b'0'..=b'9', Expected::Value) => {
                self.expected = Expected::Word;
            }
            _ => return false,
        }
        self.keep(&[byte]);
        true
    }

    fn open(&mut self, is_object: bool, line: u64) -> bool {
        let parent = self.levels.last().copied();
        let has_list_key = std::str::from_utf8(&self.key).is_ok_and(is_list_key);
        let descends = match parent {
            None | Some(Level::List) => true,
            Some(Level::Item | Level::Holder) => has_list_key,
            Some(Level::Object | Level::OtherList) => false,
        };
        if let (true, Some(parent @ (Level::Item | Level::Holder))) =
            (descends, self.levels.last_mut())
        {
            *parent = Level::Holder;
            self.has_descended = true;
            self.is_in_item = false;
        }
        let level = match (is_object, descends) {
            (true, true) => Level::Item,
            (false, true) => Level::List,
            (true, false) => Level::Object,
            (false, false) => Level::OtherList,
        };
        if level == Level::Item {
            self.begin(line);
        }
        self.keep(if is_object { b"{" } else { b"[" });
        self.levels.push(level);
        self.expected = if is_object { Expected::Key } else { Expected::Value };
        self.levels.len() <= MAX_DEPTH
    }

    fn close(&mut self, is_object: bool, give: &mut impl FnMut(&[u8], u64)) -> bool {
        let Some(level) = self.levels.pop() else { return false };
        self.keep(if is_object { b"}" } else { b"]" });
        if level == Level::Item {
            self.end(give);
        }
        self.expected = Expected::Comma;
        level.is_object() == is_object
    }

    fn begin(&mut self, line: u64) {
        self.item.clear();
        self.item_line = line;
        self.is_in_item = true;
    }

    fn end(&mut self, give: &mut impl FnMut(&[u8], u64)) {
        self.is_in_item = false;
        give(&self.item, self.item_line);
    }

    /// Ends a text in a list. One of digits only is Loki's time of the next.
    fn end_text(&mut self, give: &mut impl FnMut(&[u8], u64)) {
        let text = self.item.strip_prefix(TEXT_BEGINS).unwrap_or_default();
        let is_time = text.iter().all(|it| it.is_ascii_digit() || *it == b'"');
        self.keep(b"}");
        match is_time {
            true => self.is_in_item = false,
            false => self.end(give),
        }
    }

    fn keep(&mut self, bytes: &[u8]) {
        let is_key = self.is_in_text && self.expected == Expected::Key;
        if is_key && self.key.len() < MAX_KEY {
            let quoted = bytes.strip_suffix(b"\"").unwrap_or(bytes);
            self.key.extend(quoted.iter().take(MAX_KEY));
        }
        // One over the longest line is enough to show that it is too long.
        if self.is_in_item && self.item.len() <= MAX_LINE {
            self.item.extend_from_slice(bytes);
        }
    }
}

/// A text of a list is given out as an object with one key that [`super::line`] unwraps.
const TEXT_BEGINS: &[u8] = b"{\"line\":";

#[cfg(test)]
mod tests {
    use super::*;

    fn items(text: &str, block: usize) -> (Vec<(String, u64)>, Fed) {
        let (mut splitter, mut line, mut items) = (Splitter::default(), 1, Vec::new());
        for bytes in text.as_bytes().chunks(block) {
            let fed = splitter.feed(bytes, &mut line, &mut |item, line| {
                items.push((String::from_utf8(item.to_vec()).unwrap(), line));
            });
            if fed != Fed::All {
                return (items, fed);
            }
        }
        (items, Fed::All)
    }

    #[test]
    fn documents_are_taken_apart_wherever_they_are_cut() {
        for (text, expected) in [
            (r#"{"a":{"b":[{}]}}"#, vec![(r#"{"a":{"b":[{}]}}"#, 1)]),
            ("{\n \"a\" : [ 1 , -2.5e+3 ]\n}", vec![(r#"{"a":[1,-2.5e+3]}"#, 1)]),
            ("[\n{\"a\":true},\n {\"b\":null}]", vec![(r#"{"a":true}"#, 2), (r#"{"b":null}"#, 3)]),
            (
                r#"{"n":[],"events":[{"message":"a\"}{"},{}],"other":{"events":[{"x":1}]}}"#,
                vec![(r#"{"message":"a\"}{"}"#, 1), ("{}", 1)],
            ),
            (
                r#"{"data":{"result":[{"stream":{"a":"b"},"values":[["17","x"],["18","{}"]]}]}}"#,
                vec![(r#"{"line":"x"}"#, 1), (r#"{"line":"{}"}"#, 1)],
            ),
            (r#"["a",7,"12"]"#, vec![(r#"{"line":"a"}"#, 1)]),
            (r#"{"hits":{"hits":[{"_source":{"a":1}}]}}"#, vec![(r#"{"_source":{"a":1}}"#, 1)]),
        ] {
            for block in [1, 2, 7, text.len()] {
                let (found, fed) = items(text, block);
                let found: Vec<_> = found.iter().map(|(it, line)| (it.as_str(), *line)).collect();
                assert_eq!(found, expected, "{text} by {block}");
                assert!(matches!(fed, Fed::End(_)), "{text} by {block}");
            }
        }
    }

    #[test]
    fn what_is_no_json_is_told_at_its_place() {
        for (text, place) in [
            ("{\n\"a\":1\n{\"b\":2}", 8),
            ("{\n\"a\":1,\n{\"b\":2}", 9),
            ("{\n\"a\n", 3),
            ("[{}}", 3),
            ("{]", 1),
            ("[x", 1),
            ("{\"a\":x}", 5),
            ("[1 2]", 3),
        ] {
            assert_eq!(items(text, text.len()).1, Fed::Broken(place), "{text}");
        }
        let deep = "[".repeat(10_000);
        assert_eq!(items(&deep, deep.len()).1, Fed::Broken(MAX_DEPTH));
        assert_eq!(items("{\"a\":\"b", 3).1, Fed::All);
    }

    #[test]
    fn lines_of_logs_open_no_document() {
        for line in [
            "",
            "{}",
            r#"{"authority":"a.test","data":1}"#,
            r#"{"log":"{\"events\":[]}"}"#,
            "[2026-03-02T08:15:01.391Z] \"GET / HTTP/1.1\" 200",
            "[pod/a-0/b] {}",
            "{nonsense",
        ] {
            assert!(!opens(line.as_bytes(), true), "{line}");
        }
        for line in ["{", "[", "[{", "[ {\"a\":1}]", "[[", r#"{"a":1,"events":["#, "[\"a\"]"] {
            assert!(opens(line.as_bytes(), true), "{line}");
        }
        assert!(!opens(br#"{"a":1,"events":["#, false));
    }
}
