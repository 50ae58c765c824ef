//! Diagnostics for people and for programs.

use super::{Diagnostic, Level};
use crate::console::{BAD, FRAME, GOOD, NAME, ODD, counted, styled};
use crate::document::{Document, Span};
use crate::failure::Failure;
use crate::finding::{Finding, Message};
use crate::policy_file::PolicyFile;
use crate::render::istio::Loss;
use crate::render::plan::Obstacle;
use annotate_snippets::{AnnotationKind, Level as Title, Renderer, Snippet};
use serde_json::{Value, json};
use std::rc::Rc;

/// Longest line that is shown, in bytes; a policy may be one line of JSON.
const MAX_LINE: usize = 4_096;

/// Every diagnostic with its line of the text, and then the sum.
pub(crate) fn write(
    file: &PolicyFile,
    diagnostics: &[Diagnostic],
    fixed: usize,
    mut line: impl FnMut(String) -> Result<(), Failure>,
) -> Result<(), Failure> {
    for diagnostic in diagnostics {
        line(format!("{}\n", one(file.document(), diagnostic)))?;
    }
    line(sum(file, diagnostics, fixed))
}

/// The same as JSON.
pub(crate) fn json(file: &PolicyFile, diagnostics: &[Diagnostic], fixed: usize) -> Value {
    let findings: Vec<_> =
        diagnostics.iter().map(|diagnostic| one_json(file.document(), diagnostic)).collect();
    json!({
        "file": file.name(),
        "document": file.document_name(),
        "policy": revision(file, diagnostics),
        "fixed": fixed,
        "findings": findings,
    })
}

/// One as JSON.
pub(crate) fn one_json(document: &Document, diagnostic: &Diagnostic) -> Value {
    let finding = &diagnostic.finding;
    let (start, end) = (document.position(finding.span.start), document.position(finding.span.end));
    json!({
        "level": diagnostic.level.as_str(),
        "kind": diagnostic.kind,
        "path": finding.path,
        "line": start.line,
        "column": start.column,
        "end_line": end.line,
        "end_column": end.column,
        "found": finding.kind.problem(),
        "remedy": finding.kind.remedy(),
        "fixable": diagnostic.edit.is_some(),
    })
}

/// One with its line of the text.
pub(crate) fn one(document: &Document, diagnostic: &Diagnostic) -> String {
    let finding = &diagnostic.finding;
    let title = format!("`{}`: {}", finding.path, diagnostic.found());
    let Some(excerpt) = Excerpt::of(document, diagnostic) else {
        let level = match diagnostic.level {
            Level::Error => styled(BAD, "error").to_string(),
            Level::Warning => styled(ODD, "warning").to_string(),
            Level::Note => styled(FRAME, "note").to_string(),
        };
        let place = document.at(finding.span.start);
        return format!(
            "{level}: {title}\n {} {place}\n  {}",
            styled(FRAME, "-->"),
            finding.kind.remedy()
        );
    };
    let level = match diagnostic.level {
        Level::Error => Title::ERROR,
        Level::Warning => Title::WARNING,
        Level::Note => Title::NOTE,
    };
    let remedy = finding.kind.remedy();
    let annotation = AnnotationKind::Primary.span(excerpt.span).label(&*remedy);
    let snippet = Snippet::source(excerpt.text)
        .line_start(excerpt.line)
        .path(document.name())
        .fold(false)
        .annotation(annotation);
    Renderer::styled().render(&[level.primary_title(title).element(snippet)])
}

/// The line that a diagnostic points into.
struct Excerpt<'d> {
    text: &'d str,
    line: usize,
    span: std::ops::Range<usize>,
}

impl<'d> Excerpt<'d> {
    /// Nothing where there is no line to show, or one that is too long for that.
    fn of(document: &'d Document, diagnostic: &Diagnostic) -> Option<Self> {
        let span = &diagnostic.finding.span;
        let (line, Span { start, .. }) = document.line_at(span.start);
        if line.len() > MAX_LINE || line.contains(|c: char| c.is_control() && c != '\t') {
            return None;
        }
        let from = span.start.checked_sub(start)?.min(line.len());
        let to = span.end.saturating_sub(start).min(line.trim_end().len()).max(from);
        Some(Self { text: line, line: document.position(span.start).line, span: from..to })
    }
}

fn sum(file: &PolicyFile, diagnostics: &[Diagnostic], fixed: usize) -> String {
    let count = |level| diagnostics.iter().filter(|diagnostic| diagnostic.level == level).count();
    let (errors, warnings) = (count(Level::Error), count(Level::Warning));
    let fixable = diagnostics.iter().filter(|diagnostic| diagnostic.edit.is_some()).count();
    let mut said = vec![revision(file, diagnostics).map_or_else(
        || styled(BAD, "refused").to_string(),
        |revision| styled(GOOD, revision).to_string(),
    )];
    said.extend((errors > 0).then(|| counted(errors as u64, "error")));
    said.push(if warnings == 0 {
        "no warnings".to_owned()
    } else {
        counted(warnings as u64, "warning")
    });
    said.extend((fixed > 0).then(|| format!("{fixed} fixed")));
    said.extend((fixable > 0).then(|| format!("`--fix` mends {fixable}")));
    format!("{}: {}", styled(NAME, file.title()), said.join(", "))
}

/// The policy's revision; absent where there is an error, be it in the policy or around it.
fn revision<'f>(file: &'f PolicyFile, diagnostics: &[Diagnostic]) -> Option<&'f str> {
    let is_refused = diagnostics.iter().any(|diagnostic| diagnostic.level == Level::Error);
    file.config().ok().filter(|_| !is_refused).map(|config| &*config.revision)
}

impl Diagnostic {
    /// What a plan leaves out: a warning, or a note where the policy names nothing that is lost.
    pub(crate) fn of_plan(finding: &Finding<Obstacle>) -> Self {
        let level = if finding.kind.is_note { Level::Note } else { Level::Warning };
        let kind = finding.kind.kind.word();
        let finding = finding.clone().map(|kind| Rc::new(kind) as Rc<dyn Message>);
        Self { level, kind, finding, edit: None }
    }

    /// What Istio cannot be told of a plan.
    pub(crate) fn of_istio(finding: &Finding<Loss>) -> Self {
        let kind = finding.kind.word();
        let finding = finding.clone().map(|kind| Rc::new(kind) as Rc<dyn Message>);
        Self { level: Level::Warning, kind, finding, edit: None }
    }
}

impl Level {
    /// As answers in JSON have it.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Note => "note",
        }
    }
}
