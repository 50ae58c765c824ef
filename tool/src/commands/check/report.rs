//! What `check` found, for people and for programs.

use super::{Level, Report};
use crate::console::{BAD, FRAME, GOOD, NAME, ODD, styled};
use crate::failure::Failure;
use crate::policy_file::PolicyFile;
use annotate_snippets::{AnnotationKind, Level as Title, Renderer, Snippet};
use serde_json::{Value, json};

/// Longest line that is shown, in bytes; a policy may be one line of JSON.
const MAX_LINE: usize = 4_096;

/// Every report with its line of the text, and then the sum.
pub(super) fn write(
    file: &PolicyFile,
    reports: &[Report],
    fixed: usize,
    mut line: impl FnMut(String) -> Result<(), Failure>,
) -> Result<(), Failure> {
    for report in reports {
        line(format!("{}\n", one(file, report)))?;
    }
    line(sum(file, reports, fixed))
}

/// The same as JSON.
pub(super) fn json(file: &PolicyFile, reports: &[Report], fixed: usize) -> Value {
    let findings: Vec<_> = reports.iter().map(|report| one_json(file, report)).collect();
    json!({
        "file": file.name(),
        "policy": file.config().ok().map(|config| &*config.revision),
        "fixed": fixed,
        "findings": findings,
    })
}

/// One report as JSON.
pub(super) fn one_json(file: &PolicyFile, report: &Report) -> Value {
    let finding = &report.finding;
    let (start, end) = (file.position(finding.span.start), file.position(finding.span.end));
    json!({
        "level": report.level.as_str(),
        "kind": report.kind,
        "path": finding.path,
        "line": start.line,
        "column": start.column,
        "end_line": end.line,
        "end_column": end.column,
        "found": finding.problem,
        "remedy": finding.remedy,
        "fixable": report.edit.is_some(),
    })
}

/// One report with its line of the text.
pub(super) fn one(file: &PolicyFile, report: &Report) -> String {
    let finding = &report.finding;
    let title = format!("`{}`: {}", finding.path, report.found());
    let Some(excerpt) = Excerpt::of(file, report) else {
        let level = match report.level {
            Level::Fault => styled(BAD, "fault").to_string(),
            Level::Warning => styled(ODD, "warning").to_string(),
        };
        let place = file.at(finding.span.start);
        return format!(
            "{level}: {title}\n {} {place}\n  {}",
            styled(FRAME, "-->"),
            finding.remedy
        );
    };
    let level = match report.level {
        Level::Fault => Title::ERROR.with_name("fault"),
        Level::Warning => Title::WARNING,
    };
    let annotation = AnnotationKind::Primary.span(excerpt.span).label(&finding.remedy);
    let snippet = Snippet::source(excerpt.text)
        .line_start(excerpt.line)
        .path(file.name())
        .fold(false)
        .annotation(annotation);
    Renderer::styled().render(&[level.primary_title(title).element(snippet)])
}

/// The line that a report points into.
struct Excerpt<'f> {
    text: &'f str,
    line: usize,
    span: std::ops::Range<usize>,
}

impl<'f> Excerpt<'f> {
    /// Nothing where there is no line to show, or one that is too long for that.
    fn of(file: &'f PolicyFile, report: &Report) -> Option<Self> {
        let span = &report.finding.span;
        let text = file.text();
        let start = text.get(..span.start)?.rfind('\n').map_or(0, |end| end.saturating_add(1));
        let line = text.get(start..)?.lines().next().unwrap_or_default();
        if line.len() > MAX_LINE || line.contains(|c: char| c.is_control() && c != '\t') {
            return None;
        }
        let from = span.start.checked_sub(start)?.min(line.len());
        let to = span.end.saturating_sub(start).min(line.trim_end().len()).max(from);
        Some(Self { text: line, line: file.position(span.start).line, span: from..to })
    }
}

fn sum(file: &PolicyFile, reports: &[Report], fixed: usize) -> String {
    let count = |level| reports.iter().filter(|report| report.level == level).count();
    let (faults, warnings) = (count(Level::Fault), count(Level::Warning));
    let fixable = reports.iter().filter(|report| report.edit.is_some()).count();
    let mut said = vec![file.config().map_or_else(
        |_| styled(BAD, "refused").to_string(),
        |config| styled(GOOD, &config.revision).to_string(),
    )];
    said.extend((faults > 0).then(|| counted(faults, "fault")));
    said.push(if warnings == 0 { "no warnings".to_owned() } else { counted(warnings, "warning") });
    said.extend((fixed > 0).then(|| format!("{fixed} fixed")));
    said.extend((fixable > 0).then(|| format!("`--fix` mends {fixable}")));
    format!("{}: {}", styled(NAME, file.name()), said.join(", "))
}

fn counted(count: usize, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}

impl Report {
    fn found(&self) -> String {
        match self.level {
            Level::Fault => format!("found {}", self.finding.problem),
            Level::Warning => self.finding.problem.clone(),
        }
    }
}

impl Level {
    fn as_str(self) -> &'static str {
        match self {
            Self::Fault => "fault",
            Self::Warning => "warning",
        }
    }
}
