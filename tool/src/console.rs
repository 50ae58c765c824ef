//! Where answers and complaints go: standard output and standard error, with colour where it is
//! wanted. An output that nobody reads any more is no error.

use crate::failure::Failure;
use anstream::adapter::strip_str;
use anstream::{AutoStream, ColorChoice};
use anstyle::{AnsiColor, Style};
use clap::ValueEnum;
use serde::Serialize;
use std::fmt::Display;
use std::io::{self, BufWriter, Stderr, Stdout, Write};

/// How answers are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    Text,
    Json,
}

/// Forms of a report, which other programs read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// SARIF 2.1.0
    Sarif,
    /// JUnit XML
    Junit,
}

/// When to use colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Color {
    Auto,
    Always,
    Never,
}

/// Errors, refusals.
pub(crate) const BAD: Style = AnsiColor::Red.on_default().bold();
/// What passes.
pub(crate) const GOOD: Style = AnsiColor::Green.on_default().bold();
/// Warnings, and what would change.
pub(crate) const ODD: Style = AnsiColor::Yellow.on_default().bold();
/// Places and what frames a text.
pub(crate) const FRAME: Style = AnsiColor::Cyan.on_default();
/// Names that the eye looks for.
pub(crate) const NAME: Style = Style::new().bold();

/// A text in a style; where colour is not wanted, the console takes it off again.
pub(crate) fn styled(style: Style, text: impl Display) -> impl Display {
    format!("{style}{text}{style:#}")
}

/// A text in no style.
pub(crate) fn without_colour(text: &str) -> String {
    strip_str(text).to_string()
}

/// `1 request`, `2 requests`.
pub(crate) fn counted(count: u64, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}

/// Both outputs of the process.
pub(crate) struct Console {
    /// Without [`AutoStream`]: JSON has no colour to take off, and may be long.
    out: BufWriter<Stdout>,
    is_coloured: bool,
    err: AutoStream<Stderr>,
    format: Format,
    form: Option<Form>,
}

impl Console {
    pub(crate) fn new(format: Format, color: Color) -> Self {
        let choice = |automatic: ColorChoice| match color {
            Color::Auto => automatic,
            Color::Always => ColorChoice::Always,
            Color::Never => ColorChoice::Never,
        };
        let (out, err) = (io::stdout(), io::stderr());
        let (for_out, for_err) =
            (choice(AutoStream::choice(&out)), choice(AutoStream::choice(&err)));
        Self {
            out: BufWriter::new(out),
            is_coloured: for_out != ColorChoice::Never,
            err: AutoStream::new(err, for_err),
            format,
            form: None,
        }
    }

    /// The same console, where the answer is to be a report of this form.
    pub(crate) fn reporting(self, form: Form) -> Self {
        Self { form: Some(form), ..self }
    }

    /// The form of the report that is to be the answer. Commands that write none are not asked for one.
    pub(crate) fn form(&self) -> Option<Form> {
        self.form
    }

    pub(crate) fn format(&self) -> Format {
        self.format
    }

    /// Whether colour is wanted in the answer.
    pub(crate) fn is_coloured(&self) -> bool {
        self.is_coloured
    }

    /// One line of the answer.
    pub(crate) fn line(&mut self, line: impl Display) -> Result<(), Failure> {
        let line = line.to_string();
        let written = match self.is_coloured {
            true => writeln!(self.out, "{line}"),
            false => writeln!(self.out, "{}", strip_str(&line)),
        };
        written.map_err(|error| Failure::of_output(&error))
    }

    /// The answer, or one of its lines, as JSON on one line.
    pub(crate) fn json(&mut self, value: &impl Serialize) -> Result<(), Failure> {
        serde_json::to_writer(&mut self.out, value)
            .map_err(|error| Failure::of_output(&error.into()))?;
        self.bytes(b"\n")
    }

    /// Bytes of the answer, as they are.
    pub(crate) fn bytes(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.out.write_all(bytes).map_err(|error| Failure::of_output(&error))
    }

    /// Something beside the answer. Where it cannot be said, it is not.
    pub(crate) fn note(&mut self, note: impl Display) {
        let _ = writeln!(self.err, "{note}");
    }

    /// Writes out what is held back.
    pub(crate) fn flush(&mut self) -> Result<(), Failure> {
        self.out.flush().map_err(|error| Failure::of_output(&error))
    }

    /// Says why there is no answer, unless the output is closed.
    pub(crate) fn fail(&mut self, failure: &Failure) {
        // Half an answer may have been given; what is held back of it belongs before the complaint.
        let _ = self.out.flush();
        if !failure.is_closed_output() {
            self.note(format_args!("{} {failure}", styled(BAD, "error:")));
        }
    }
}
