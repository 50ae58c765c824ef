//! The two sides of a comparison: each a policy in a file, or what a folder holds.

use crate::console::Console;
use crate::failure::Failure;
use crate::input;
use crate::policy_file::{PolicyFile, one_of};
use crate::teams::{self, Bundle, Source};
use egress_warden::config::Config;
use std::path::{Path, PathBuf};

/// A valid policy.
type Policy = (PolicyFile, Config);

/// What a side is.
enum Side<'a> {
    Policy(Box<Policy>),
    Folder(&'a Path, Vec<Source>),
}

/// Reads the policies of both sides. A folder with one policy stands for it. Where a folder has several, folders stand
/// for their bundles, on both sides: rules have other ids there. `name` chooses one policy instead.
pub(super) fn load(
    paths: [&PathBuf; 2],
    name: Option<&str>,
    console: &mut Console,
) -> Result<[Policy; 2], Failure> {
    let [old, new] = paths.map(|path| Side::read(path, name, console));
    let (old, new) = (old?, new?);
    let is_of_several = [&old, &new].iter().any(|side| side.is_of_several());
    Ok([old.into_policy(is_of_several)?, new.into_policy(is_of_several)?])
}

impl<'a> Side<'a> {
    fn read(path: &'a PathBuf, name: Option<&str>, console: &mut Console) -> Result<Self, Failure> {
        if !path.is_dir() {
            let policy = PolicyFile::load(path, name, console)?;
            return Ok(Self::Policy(Box::new(policy)));
        }
        let sources = teams::read(std::slice::from_ref(path), console)?;
        if name.is_none() {
            return Ok(Self::Folder(path, sources));
        }
        let files = sources.into_iter().map(Source::into_file).collect();
        let policy = one_of(input::name(path), files, name)?.into_valid()?;
        Ok(Self::Policy(Box::new(policy)))
    }

    fn is_of_several(&self) -> bool {
        matches!(self, Self::Folder(_, sources) if sources.len() > 1)
    }

    fn into_policy(self, is_bundled: bool) -> Result<Policy, Failure> {
        match self {
            Self::Policy(policy) => Ok(*policy),
            Self::Folder(path, sources) if is_bundled => bundle(path, &sources),
            Self::Folder(path, sources) => {
                let files = sources.into_iter().map(Source::into_file).collect();
                one_of(input::name(path), files, None)?.into_valid()
            }
        }
    }
}

/// The bundle of a folder. Its errors are those of `bundle`.
fn bundle(path: &Path, sources: &[Source]) -> Result<Policy, Failure> {
    let bundle = Bundle::of(sources);
    if let Some((file, _)) = bundle.errors().first() {
        let errors: Vec<_> = bundle.errors().iter().map(|(_, error)| error.clone()).collect();
        let where_all = format!(": `egress-warden bundle {}` shows them all", path.display());
        return Err(file.document().failure(&errors, &where_all));
    }
    bundle.into_policy(format!("the bundle of {}", path.display()), teams::NAME).into_valid()
}
