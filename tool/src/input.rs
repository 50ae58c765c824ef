//! Files that a command reads whole; `-` is standard input.

use crate::failure::Failure;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

/// What `-` is called in messages.
const STANDARD_INPUT: &str = "standard input";

/// How messages name a file.
pub(crate) fn name(path: &Path) -> String {
    if path == Path::new("-") { STANDARD_INPUT.to_owned() } else { path.display().to_string() }
}

/// Reads a file of at most `max` bytes.
pub(crate) fn read(path: &Path, max: usize) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    // One byte more tells a file that is too long from one that just fits.
    let limit = u64::try_from(max).unwrap_or(u64::MAX).saturating_add(1);
    if path == Path::new("-") {
        io::stdin()
            .lock()
            .take(limit)
            .read_to_end(&mut bytes)
            .map_err(|error| unreadable(path, &error))?;
    } else {
        File::open(path)
            .and_then(|file| file.take(limit).read_to_end(&mut bytes))
            .map_err(|error| unreadable(path, &error))?;
    }
    if bytes.len() > max {
        let problem = format!("more than {max} bytes");
        return Err(Failure::new(name(path), problem, "split it, or name another file"));
    }
    Ok(bytes)
}

/// The lines of a file, numbered from 1, without their ends; memory does not grow with the file.
pub(crate) fn lines(
    path: &Path,
) -> Result<impl Iterator<Item = Result<(usize, Vec<u8>), Failure>>, Failure> {
    let place = name(path);
    let mut reader: Box<dyn BufRead> = if path == Path::new("-") {
        Box::new(io::stdin().lock())
    } else {
        let file = File::open(path).map_err(|error| unreadable(path, &error))?;
        Box::new(BufReader::new(file))
    };
    let path = path.to_owned();
    Ok((1..).map_while(move |number| {
        let mut line = Vec::new();
        match reader.by_ref().take(MAX_LINE).read_until(b'\n', &mut line) {
            Ok(0) => None,
            Ok(read) if read as u64 == MAX_LINE => {
                let place = format!("{place}:{number}");
                Some(Err(Failure::new(
                    place,
                    "a line of 16 MiB or more",
                    "write one request a line",
                )))
            }
            Ok(_) => {
                while line.last().is_some_and(|byte| matches!(byte, b'\n' | b'\r')) {
                    line.pop();
                }
                Some(Ok((number, line)))
            }
            Err(error) => Some(Err(unreadable(&path, &error))),
        }
    }))
}

/// Longest line, in bytes.
const MAX_LINE: u64 = 16 << 20;

/// Says why a file cannot be read.
pub(crate) fn unreadable(path: &Path, error: &io::Error) -> Failure {
    let remedy = match error.kind() {
        io::ErrorKind::NotFound => "name a file that exists, or `-` for standard input",
        io::ErrorKind::PermissionDenied => "allow reading it",
        io::ErrorKind::IsADirectory => "name a file in it",
        _ => "name a file that can be read",
    };
    Failure::new(name(path), describe(error), remedy)
}

/// An error of the system in lower case and without its number.
fn describe(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "no such file".to_owned(),
        io::ErrorKind::PermissionDenied => "may not be read".to_owned(),
        io::ErrorKind::IsADirectory => "is a folder".to_owned(),
        _ => error.to_string(),
    }
}
