//! A folder of rendered files: which of them are of an earlier render, and may be replaced.

use crate::failure::Failure;
use crate::output::{failed, is_replaceable};
use std::fs;
use std::path::{Path, PathBuf};

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
