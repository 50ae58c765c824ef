//! A folder of rendered files: which of them are of an earlier render, and may be replaced.

use crate::failure::Failure;
use std::fs;
use std::path::{Path, PathBuf};

/// Whether a file is none yet, or one of an earlier render, which begins with this mark.
pub(super) fn is_replaceable(path: &Path, mark: &str) -> Result<bool, Failure> {
    match fs::read(path) {
        Ok(bytes) => Ok(bytes.starts_with(mark.as_bytes())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(true),
        Err(error) => Err(failed(path, &error)),
    }
}

/// The files of an earlier render in a folder.
pub(super) fn earlier(folder: &Path, mark: &str) -> Result<Vec<PathBuf>, Failure> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(failed(folder, &error)),
    };
    let mut files = Vec::new();
    for entry in entries {
        let path = entry.map_err(|error| failed(folder, &error))?.path();
        if path.is_file() && is_replaceable(&path, mark)? {
            files.push(path);
        }
    }
    Ok(files)
}

/// A file that somebody else has written where one is to be.
pub(super) fn of_somebody_else(path: &Path, command: &str) -> Failure {
    let problem = format!("a file that was not written by `{command}`");
    failure(path, problem, "move it, or name another folder")
}

pub(super) fn failed(path: &Path, error: &std::io::Error) -> Failure {
    failure(path, error.to_string(), "name another folder")
}

pub(super) fn failure(path: &Path, problem: impl Into<String>, remedy: &str) -> Failure {
    Failure::new(path.display().to_string(), problem, remedy)
}
