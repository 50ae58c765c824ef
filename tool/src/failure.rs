//! How a command ends.

use std::fmt;
use std::io;
use std::process::ExitCode;

/// What a command found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Yes, or nothing to report: 0.
    Yes,
    /// No, or findings: 1.
    No,
    /// The answer is about a part of the input only: 2.
    Incomplete,
}

impl Outcome {
    /// No where there are findings.
    pub(crate) fn of_findings(count: usize) -> Self {
        if count == 0 { Self::Yes } else { Self::No }
    }
}

impl From<Outcome> for ExitCode {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Yes => Self::SUCCESS,
            Outcome::No => Self::from(1),
            Outcome::Incomplete => Self::from(2),
        }
    }
}

/// Why a command could not answer: where, what was found there, and what to do instead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    place: String,
    problem: String,
    remedy: String,
    is_closed_output: bool,
}

impl Failure {
    /// `place` is a file, a file with its line, or an argument.
    pub(crate) fn new(
        place: impl Into<String>,
        problem: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self {
            place: place.into(),
            problem: problem.into(),
            remedy: remedy.into(),
            is_closed_output: false,
        }
    }

    /// Standard output could not be written.
    pub(crate) fn of_output(error: &io::Error) -> Self {
        Self {
            is_closed_output: error.kind() == io::ErrorKind::BrokenPipe,
            ..Self::new("standard output", error.to_string(), "make room, or write elsewhere")
        }
    }

    /// Whether the reader closed the output. This is not reported.
    pub(crate) fn is_closed_output(&self) -> bool {
        self.is_closed_output
    }

    /// 2, but 0 where whoever reads the output has seen enough.
    pub(crate) fn exit_code(&self) -> ExitCode {
        if self.is_closed_output { ExitCode::SUCCESS } else { ExitCode::from(2) }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}: {}", self.place, self.problem, self.remedy)
    }
}

impl std::error::Error for Failure {}
