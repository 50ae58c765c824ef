//! Files that a command reads whole; `-` is standard input.

use super::failure::Failure;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// What `-` is called in messages.
const STANDARD_INPUT: &str = "standard input";

/// How messages name a file.
pub(crate) fn name(path: &Path) -> String {
    if path == Path::new("-") { STANDARD_INPUT.to_owned() } else { path.display().to_string() }
}

/// Reads a file of at most `max` bytes.
pub(crate) fn read(path: &Path, max: usize) -> Result<Vec<u8>, Failure> {
    let unreadable = |error: io::Error| unreadable(path, &error);
    let mut bytes = Vec::new();
    // One byte more tells a file that is too long from one that just fits.
    let limit = u64::try_from(max).unwrap_or(u64::MAX).saturating_add(1);
    if path == Path::new("-") {
        io::stdin().lock().take(limit).read_to_end(&mut bytes).map_err(unreadable)?;
    } else {
        File::open(path)
            .and_then(|file| file.take(limit).read_to_end(&mut bytes))
            .map_err(unreadable)?;
    }
    if bytes.len() > max {
        let problem = format!("more than {max} bytes");
        return Err(Failure::new(name(path), problem, "split it, or name another file"));
    }
    Ok(bytes)
}

/// Says why a file cannot be read.
pub(crate) fn unreadable(path: &Path, error: &io::Error) -> Failure {
    let remedy = match error.kind() {
        io::ErrorKind::NotFound => "name a file that is there, or `-` for standard input",
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
