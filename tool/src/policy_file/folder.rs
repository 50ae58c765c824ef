//! Folders with policies in them, among other files.

use super::{Policies, foreign};
use crate::console::Console;
use crate::failure::Failure;
use crate::input;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Every `*.yaml`, `*.yml` and `*.json` of a folder and below, by name. Links are errors: what is behind
/// one would be read twice, or without end, or not at all.
pub(crate) fn files(folder: &Path) -> Result<Vec<PathBuf>, Failure> {
    let mut files = Vec::new();
    collect(folder, &mut files)?;
    Ok(files)
}

/// Why a folder without a policy is no answer.
pub(crate) fn without_policy(folder: &Path) -> Failure {
    let remedy = "name a folder with policies in *.yaml, *.yml or *.json";
    Failure::new(input::name(folder), "no policy", remedy)
}

/// How a file of a folder that holds no policy is told of.
pub(crate) fn told(folder: &Path, path: &Path, file: &Policies) -> String {
    let path = path.strip_prefix(folder).unwrap_or(path).display();
    format!("{path} ({})", foreign::some(file.others()))
}

/// Says which files of a folder hold no policy.
pub(crate) fn tell_others(folder: &Path, others: &[String], console: &mut Console) {
    if !others.is_empty() {
        let (folder, others) = (input::name(folder), foreign::some(others));
        console.note(format_args!("{folder}: passed over, no policy: {others}"));
    }
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> Result<(), Failure> {
    let unreadable = |error: io::Error| {
        Failure::new(input::name(folder), error.to_string(), "name a folder that can be read")
    };
    let entries: Result<Vec<_>, _> = fs::read_dir(folder).map_err(unreadable)?.collect();
    let mut entries = entries.map_err(unreadable)?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let path = entry.path();
        let is_file =
            path.extension().is_some_and(|it| it == "yaml" || it == "yml" || it == "json");
        let is_folder = path.is_dir();
        if entry.file_type().map_err(unreadable)?.is_symlink() && (is_file || is_folder) {
            let problem = "a symbolic link, which is not followed";
            let remedy = "put the file itself here, or name it on the command line";
            return Err(Failure::new(input::name(&path), problem, remedy));
        }
        if is_folder {
            collect(&path, files)?;
        } else if is_file {
            files.push(path);
        }
    }
    Ok(())
}
