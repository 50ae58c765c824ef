//! Doing something again whenever one of some files changes.

use crate::failure::{Failure, Outcome};
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, SystemTime};

/// How often the files are looked at: a person does not notice, and a disk neither.
const PAUSE: Duration = Duration::from_millis(300);

/// Does it now and after each change; ends with its first failure.
pub(super) fn each_change(
    files: &[&PathBuf],
    mut act: impl FnMut() -> Result<(), Failure>,
) -> Result<Outcome, Failure> {
    loop {
        let seen = state(files);
        act()?;
        while state(files) == seen {
            thread::sleep(PAUSE);
        }
    }
}

/// When each file was written last, and how long it is; nothing of one that is not there.
fn state(files: &[&PathBuf]) -> Vec<Option<(SystemTime, u64)>> {
    let of = |path: &&PathBuf| {
        let metadata = std::fs::metadata(path).ok()?;
        Some((metadata.modified().ok()?, metadata.len()))
    };
    files.iter().map(of).collect()
}
