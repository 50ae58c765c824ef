//! Files that a command writes: one of its own is replaced, one of somebody else is not.

use crate::failure::Failure;
use std::fs;
use std::io;
use std::path::Path;

/// Whether a file is none yet, or one that the same command wrote: it begins with this mark.
pub(crate) fn is_replaceable(path: &Path, mark: &str) -> Result<bool, Failure> {
    match fs::read(path) {
        Ok(bytes) => Ok(bytes.starts_with(mark.as_bytes())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(true),
        Err(error) => Err(failed(path, &error)),
    }
}

/// A file that somebody else has written where one is to be.
pub(crate) fn of_somebody_else(path: &Path, command: &str) -> Failure {
    let problem = format!("a file that was not written by `{command}`");
    failure(path, problem, "move it, or name another place")
}

/// A file that could not be read or written.
pub(crate) fn failed(path: &Path, error: &io::Error) -> Failure {
    failure(path, error.to_string(), "name another place")
}

/// Anything else that is wrong with a place for a file.
pub(crate) fn failure(path: &Path, problem: impl Into<String>, remedy: &str) -> Failure {
    Failure::new(path.display().to_string(), problem, remedy)
}
