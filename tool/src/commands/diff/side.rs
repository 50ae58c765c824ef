//! One side of a comparison: a policy in a file, or the only one of a folder.

use crate::console::Console;
use crate::failure::Failure;
use crate::input;
use crate::policy_file::{Policies, PolicyFile, folder, one_of};
use egress_warden::config::Config;
use std::path::Path;

/// Reads the policy of a side; `name` chooses one of several.
pub(super) fn load(
    path: &Path,
    name: Option<&str>,
    console: &mut Console,
) -> Result<(PolicyFile, Config), Failure> {
    if !path.is_dir() {
        return PolicyFile::load(path, name, console);
    }
    let (mut found, mut others) = (Vec::new(), Vec::new());
    for file in folder::files(path)? {
        let policies = Policies::look_into(&file)?;
        if policies.files().is_empty() {
            others.push(folder::told(path, &file, &policies));
            continue;
        }
        policies.tell(console);
        found.extend(policies.into_files());
    }
    folder::tell_others(path, &others, console);
    match (found.len(), name) {
        (0, _) => Err(folder::without_policy(path)),
        (2.., None) => Err(several(path, &found)),
        _ => one_of(input::name(path), found, name)?.into_valid(),
    }
}

fn several(path: &Path, found: &[PolicyFile]) -> Failure {
    let names: Vec<_> = found.iter().map(PolicyFile::title).collect();
    let problem = format!("{} policies: {}", found.len(), names.join(", "));
    let remedy = "compare their bundles, as `egress-warden bundle FOLDER -o FILE` writes them, or choose \
                  one: `--document NAME`";
    Failure::new(input::name(path), problem, remedy)
}
