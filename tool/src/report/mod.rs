//! Answers in the forms that pipelines read: SARIF, which code hosts show at the lines of a change, and
//! JUnit XML, which they show as tests.
//!
//! A command says what it looked at and what it found there; both forms are written from that.

mod junit;
mod sarif;

use crate::console::{Console, Form};
use crate::diagnostics::Level;
use crate::document::{Document, Position, Span};
use crate::failure::Failure;
use std::path::Path;

/// What a command looked at, with what it found.
#[derive(Debug)]
pub(crate) struct Report {
    /// The command.
    pub(crate) command: &'static str,
    /// Whether all of the input could be read.
    pub(crate) is_complete: bool,
    pub(crate) subjects: Vec<Subject>,
}

/// One thing that was looked at, such as a policy or a case. JUnit has it as a test.
#[derive(Debug)]
pub(crate) struct Subject {
    /// The file that it is in, as messages name it.
    pub(crate) file: String,
    pub(crate) name: String,
    pub(crate) entries: Vec<Entry>,
}

/// One thing that was found. SARIF has it as a result.
#[derive(Debug)]
pub(crate) struct Entry {
    /// A word that stays the same while messages get better.
    pub(crate) kind: &'static str,
    pub(crate) level: Level,
    /// Whether it makes the exit code 1.
    pub(crate) fails: bool,
    /// What was found, and what to write instead where that is known. It has no colour.
    pub(crate) message: String,
    /// JSONPath in the policy.
    pub(crate) path: Option<String>,
    pub(crate) region: Option<Region>,
}

/// A part of a file.
#[derive(Debug)]
pub(crate) struct Region {
    file: String,
    start: Position,
    end: Position,
}

impl Region {
    /// `None` where the text is not that of a file, such as that of standard input.
    pub(crate) fn of(document: &Document, span: &Span) -> Option<Self> {
        Path::new(document.name()).is_file().then(|| Self {
            file: document.name().to_owned(),
            start: document.position(span.start),
            end: document.position(span.end),
        })
    }
}

impl Report {
    /// Writes the report to standard output.
    pub(crate) fn write(&self, form: Form, console: &mut Console) -> Result<(), Failure> {
        match form {
            Form::Sarif => console.json(&sarif::of(self)),
            Form::Junit => console.bytes(junit::of(self).as_bytes()),
        }
    }
}
