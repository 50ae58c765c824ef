//! JUnit XML, in the part that all its readers share: suites of tests, each with at most one failure.

use super::{Entry, Report, Subject};
use crate::console::counted;
use std::fmt::Write as _;

pub(super) fn of(report: &Report) -> String {
    let mut out = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    let name = format!("egress-warden {}", report.command);
    let attributes = counts(&report.subjects);
    line(&mut out, format_args!("<testsuites name=\"{}\"{attributes}>", escaped(&name)));
    for suite in report.subjects.chunk_by(|a, b| a.file == b.file) {
        let file = suite.first().map(|subject| &*subject.file).unwrap_or_default();
        let (name, attributes) = (escaped(file), counts(suite));
        line(&mut out, format_args!("  <testsuite name=\"{name}\"{attributes}>"));
        suite.iter().for_each(|subject| test(&mut out, subject));
        line(&mut out, format_args!("  </testsuite>"));
    }
    line(&mut out, format_args!("</testsuites>"));
    out
}

fn test(out: &mut String, subject: &Subject) {
    let (name, class) = (escaped(&subject.name), escaped(&subject.file));
    line(out, format_args!("    <testcase name=\"{name}\" classname=\"{class}\">"));
    let (failures, others): (Vec<&Entry>, Vec<&Entry>) =
        subject.entries.iter().partition(|entry| entry.fails);
    if let Some(first) = failures.first() {
        let message = match failures.len() {
            1 => first.message.clone(),
            count => counted(count as u64, "finding"),
        };
        let (kind, text) = (escaped(first.kind), text(&told(&failures)));
        line(
            out,
            format_args!(
                "      <failure type=\"{kind}\" message=\"{}\">{text}</failure>",
                escaped(&message)
            ),
        );
    }
    if !others.is_empty() {
        line(out, format_args!("      <system-out>{}</system-out>", text(&told(&others))));
    }
    line(out, format_args!("    </testcase>"));
}

/// What was found, each with its place.
fn told(entries: &[&Entry]) -> String {
    let one = |entry: &&Entry| match &entry.region {
        Some(place) => {
            format!("{}:{}:{}: {}", place.file, place.start.line, place.start.column, entry.message)
        }
        None => entry.message.clone(),
    };
    entries.iter().map(one).collect::<Vec<_>>().join("\n")
}

fn counts(subjects: &[Subject]) -> String {
    let failures = subjects.iter().filter(|it| it.entries.iter().any(|entry| entry.fails)).count();
    format!(" tests=\"{}\" failures=\"{failures}\" errors=\"0\"", subjects.len())
}

fn line(out: &mut String, text: std::fmt::Arguments<'_>) {
    // INVARIANT: a text takes everything.
    let _ = out.write_fmt(text);
    out.push('\n');
}

/// For a value between quotes: a reader makes a space of what ends a line there.
fn escaped(value: &str) -> String {
    let lines = |c| matches!(c, '\n' | '\t' | '\r').then(|| format!("&#{};", u32::from(c)));
    escaped_with(value, lines)
}

/// For what is between tags: a reader makes a line feed of a carriage return there.
fn text(text: &str) -> String {
    escaped_with(text, |c| (c == '\r').then(|| "&#13;".to_owned()))
}

/// What XML 1.0 has no way to write stands as Rust escapes it.
fn escaped_with(text: &str, of_space: impl Fn(char) -> Option<String>) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\n' | '\t' | '\r' => match of_space(c) {
                Some(escaped) => out.push_str(&escaped),
                None => out.push(c),
            },
            '\0'..='\u{1f}' | '\u{7f}'..='\u{9f}' | '\u{fffe}' | '\u{ffff}' => {
                out.extend(c.escape_default());
            }
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnostics::Level;

    #[test]
    fn whatever_a_name_is_readers_get_it_back() {
        let name = "a \"b\" <c> & 'd' ]]>\n\te\u{1f600}";
        let entry = |message: &str| Entry {
            kind: "not-as-expected",
            level: Level::Error,
            fails: true,
            message: message.to_owned(),
            path: None,
            region: None,
        };
        let subject = |name: &str| Subject {
            file: "a&b.yaml".to_owned(),
            name: name.to_owned(),
            entries: vec![entry(name), entry("\u{0}\u{1b}[31m\u{85}\u{ffff}")],
        };
        let report = Report {
            command: "test",
            is_complete: true,
            subjects: vec![subject(name), subject("\u{7}")],
        };
        let text = of(&report);
        let document = roxmltree::Document::parse(&text).expect("XML");
        let suites = document.root_element();
        assert_eq!(
            (suites.attribute("tests"), suites.attribute("failures")),
            (Some("2"), Some("2"))
        );
        let tests: Vec<_> = suites.descendants().filter(|it| it.has_tag_name("testcase")).collect();
        assert_eq!(tests[0].attribute("name"), Some(name));
        assert_eq!(tests[0].attribute("classname"), Some("a&b.yaml"));
        let failure = tests[0].first_element_child().expect("a failure");
        assert_eq!(failure.attribute("message"), Some("2 findings"));
        assert_eq!(
            failure.text(),
            Some(&*format!("{name}\n\\u{{0}}\\u{{1b}}[31m\\u{{85}}\\u{{ffff}}"))
        );
        assert_eq!(tests[1].attribute("name"), Some("\\u{7}"));
    }
}
