//! Lines that are no logged request: how many, and what the first few look like.

use super::Place;
use super::plain::plain;
use serde::Serialize;

/// How many lines are shown.
const SHOWN: usize = 5;
/// How much of a line is shown, in characters.
const SHOWN_CHARACTERS: usize = 80;

/// Why a line is no logged request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Problem {
    /// It is longer than any request's.
    TooLong,
    /// It has bytes that are not UTF-8.
    NotUtf8,
    /// No JSON object is in it, and no line of a known text format.
    NoObject,
    /// An object may be in it, behind what no known writer puts before a record.
    UnknownPrefix,
    /// Envoy's own log, with what another plugin says.
    OtherPlugin,
    /// A container runtime has cut the line, and this is a part of it whose others are not there.
    Part,
    /// A line of text that can be read in several ways: a caller may have written a part of it.
    Ambiguous,
    /// What looks like a JSON object is none.
    NotJson,
    /// The object has no end: the log was cut, or is still written.
    HalfWritten,
    /// A key of the object stands twice: whoever wrote it, it was neither Envoy nor the filter.
    RepeatedKey,
    /// The object is something else.
    OtherObject,
    /// A flow to an address that has several names: which one was meant is not known.
    SeveralNames,
    /// It is read, and tells of no request that leaves.
    PassedOver,
    /// A field that is asked for has a value of another kind than the one that is wanted.
    Field { name: &'static str, found: &'static str, wanted: &'static str },
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::TooLong => "longer than 1 MiB",
            Self::NotUtf8 => "not UTF-8",
            Self::NoObject => "neither JSON nor text of a known format",
            Self::UnknownPrefix => "no record at its start",
            Self::OtherPlugin => "of a plugin that `--plugin` does not name",
            Self::Part => "part of a line that the container runtime cut, without the others",
            Self::Ambiguous => "text that can be read in several ways",
            Self::NotJson => "not JSON",
            Self::HalfWritten => "half-written",
            Self::RepeatedKey => "a JSON object with a repeated key",
            Self::OtherObject => "a JSON object that is not a logged request",
            Self::SeveralNames => "a flow to an address with several names",
            Self::PassedOver => "no request that leaves",
            Self::Field { name, found, wanted } => {
                return write!(f, "`{name}` is {found}, not {wanted}");
            }
        })
    }
}

/// One such line.
#[derive(Debug)]
pub(crate) struct Sample {
    pub(crate) place: Place,
    pub(crate) problem: Problem,
    text: String,
}

/// Lines that are no logged request.
#[derive(Debug, Default)]
pub(crate) struct Unread {
    pub(crate) lines: u64,
    samples: Vec<Sample>,
}

impl Unread {
    pub(super) fn push(&mut self, place: Place, problem: Problem, line: &[u8]) {
        self.lines += 1;
        if self.samples.len() < SHOWN {
            self.samples.push(Sample { place, problem, text: shown(line) });
        }
    }

    /// Adds what stands behind.
    pub(super) fn add(&mut self, behind: Self) {
        self.lines += behind.lines;
        let room = SHOWN.saturating_sub(self.samples.len());
        self.samples.extend(behind.samples.into_iter().take(room));
    }

    pub(super) fn first(&self) -> Option<&Sample> {
        self.samples.first()
    }

    pub(super) fn answer(&self, name: impl Fn(Place) -> String) -> Answer<'_> {
        let first = self.samples.iter().map(|Sample { place, problem, text }| Line {
            place: name(*place),
            problem: problem.to_string(),
            text,
        });
        Answer { lines: self.lines, first: first.collect() }
    }

    /// One note for all, one for each that is shown.
    pub(super) fn notes(&self, name: impl Fn(Place) -> String) -> Vec<String> {
        let mut notes = Vec::new();
        if self.lines > 0 {
            notes.push(format!("lines that are not a logged request: {}", self.lines));
        }
        notes.extend(self.samples.iter().map(|sample| {
            format!("  {}: {}: {}", name(sample.place), sample.problem, sample.text)
        }));
        let more = self.lines.saturating_sub(u64::try_from(self.samples.len()).unwrap_or(0));
        if more > 0 {
            notes.push(format!("  and {more} more"));
        }
        notes
    }
}

/// Lines that are no logged request, as JSON answers have them.
#[derive(Debug, Serialize)]
pub(super) struct Answer<'a> {
    lines: u64,
    first: Vec<Line<'a>>,
}

#[derive(Debug, Serialize)]
struct Line<'a> {
    /// `FILE:LINE`
    place: String,
    problem: String,
    text: &'a str,
}

/// The start of a line.
fn shown(line: &[u8]) -> String {
    // One character more than is shown.
    let head = line.get(..(SHOWN_CHARACTERS + 1) * 4).unwrap_or(line);
    plain(&String::from_utf8_lossy(head), SHOWN_CHARACTERS)
}
