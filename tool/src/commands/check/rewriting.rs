//! Writing a file anew: the whole of it or nothing, so that nobody ever reads half a policy.

use crate::failure::Failure;
use crate::input;
use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, Write as _};
use std::path::Path;

/// Writes `after` where the file still holds `before`; mode and owner stay.
pub(super) fn rewrite(path: &Path, before: &[u8], after: &[u8]) -> Result<(), Failure> {
    let failure = |problem: &str, remedy: &str| Failure::new(input::name(path), problem, remedy);
    let not_written = |error: io::Error| {
        failure(&error.to_string(), "allow writing it and its folder, or leave `--fix` out")
    };
    let metadata = fs::symlink_metadata(path).map_err(not_written)?;
    if metadata.is_symlink() {
        return Err(failure("a symbolic link", "name the file that it leads to"));
    }
    if !metadata.is_file() {
        return Err(failure("no regular file", "name one, or fix standard input: `-`"));
    }
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let beside = path.with_file_name(format!(".{name}.{}.fix", std::process::id()));
    let written = write(&beside, &metadata, after).and_then(|()| {
        if fs::read(path)? != before {
            return Ok(false);
        }
        fs::rename(&beside, path).map(|()| true)
    });
    if !matches!(written, Ok(true)) {
        // Where it was never made there is nothing to take away.
        let _ = fs::remove_file(&beside);
    }
    match written {
        Ok(true) => Ok(()),
        Ok(false) => Err(failure("a file that changed meanwhile", "run it again")),
        Err(error) => Err(not_written(error)),
    }
}

fn write(path: &Path, like: &Metadata, text: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).open(path)?;
    own_as(&file, like)?;
    file.set_permissions(like.permissions())?;
    file.write_all(text)?;
    file.sync_all()
}

/// Gives a file the owner that another has.
#[cfg(unix)]
fn own_as(file: &File, like: &Metadata) -> io::Result<()> {
    use std::os::unix::fs::{MetadataExt as _, fchown};
    let is = file.metadata()?;
    if (is.uid(), is.gid()) == (like.uid(), like.gid()) {
        return Ok(());
    }
    fchown(file, Some(like.uid()), Some(like.gid()))
}

#[cfg(not(unix))]
fn own_as(_file: &File, _like: &Metadata) -> io::Result<()> {
    Ok(())
}
