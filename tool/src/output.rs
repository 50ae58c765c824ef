//! Files that a command writes: one of its own is replaced, one of somebody else is not.

use crate::failure::Failure;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;

/// Whether a file is none yet, or one that the same command wrote: it begins with this mark.
///
/// Only its beginning is read, and nothing of what is no file: a pipe would wait, and a device may never end.
pub(crate) fn is_replaceable(path: &Path, mark: &str) -> Result<bool, Failure> {
    let kind = match fs::metadata(path) {
        Ok(metadata) => metadata.file_type(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(true),
        Err(error) => return Err(failed(path, &error)),
    };
    if !kind.is_file() && !kind.is_dir() {
        return Err(failure(path, "a pipe or a device, not a file", "name another place"));
    }
    let mut start = Vec::new();
    let read =
        File::open(path).and_then(|file| file.take(mark.len() as u64).read_to_end(&mut start));
    match read {
        Ok(_) => Ok(start == mark.as_bytes()),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_file_with_the_mark_is_replaced_and_what_is_no_file_is_not_read() {
        let folder = tempfile::tempdir().unwrap();
        let place = |name: &str| folder.path().join(name);
        for (name, text) in
            [("own", "mark\nrest"), ("short", "mar"), ("other", "rest"), ("empty", "")]
        {
            fs::write(place(name), text).unwrap();
        }
        for (name, expected) in
            [("own", true), ("missing", true), ("short", false), ("other", false), ("empty", false)]
        {
            assert_eq!(is_replaceable(&place(name), "mark\n"), Ok(expected), "{name}");
        }
        assert!(is_replaceable(folder.path(), "mark\n").is_err());
        #[cfg(unix)]
        {
            // Each would be read without an end, or wait for a writer without one.
            let pipe = place("pipe");
            let made = std::process::Command::new("mkfifo").arg(&pipe).status().unwrap();
            assert!(made.success());
            for path in [&pipe, Path::new("/dev/zero")] {
                let failure = is_replaceable(path, "mark\n").unwrap_err();
                assert!(failure.to_string().contains("a pipe or a device"), "{failure}");
            }
        }
    }
}
