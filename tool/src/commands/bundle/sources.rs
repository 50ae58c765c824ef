//! The policies that a bundle is made of, each with its team.

use super::own::Own;
use super::team::Team;
use crate::failure::Failure;
use crate::input;
use crate::policy_file::{Node, PolicyFile};
use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;

/// The file that says whose the policies in its folder and below are.
const TEAM_FILE: &str = "team.yaml";

/// One team's policy.
pub(super) struct Source {
    pub(super) file: PolicyFile,
    /// The policy's own name.
    name: String,
    team: Option<Rc<Team>>,
}

impl Source {
    pub(super) fn new(file: PolicyFile, team: Option<Rc<Team>>) -> Self {
        let name = file.tree().and_then(|root| root.get("policy")?.text()).map(str::to_owned);
        Self { name: name.unwrap_or_default(), file, team }
    }

    /// What the ids of its rules are prefixed by.
    pub(super) fn team(&self) -> &str {
        self.team.as_ref().map_or(&self.name, |team| &team.name)
    }

    /// The callers that it may speak for; absent: any.
    pub(super) fn own(&self) -> Option<&Own> {
        self.team.as_deref()?.own.as_ref()
    }

    /// Where it says its own name; the whole text where it does not.
    pub(super) fn name_node(&self) -> Option<&Node> {
        let root = self.file.tree()?;
        Some(root.get("policy").unwrap_or(root))
    }
}

/// Reads files and, of folders, what is in them and below, by name.
pub(super) fn read(paths: &[PathBuf]) -> Result<Vec<Source>, Failure> {
    let mut files = Vec::new();
    for path in paths {
        if path == Path::new("-") {
            files.push(Found { path: path.clone(), folder: None });
            continue;
        }
        let place = path.canonicalize().map_err(|error| input::unreadable(path, &error))?;
        if place.is_dir() {
            collect(path, &mut files)?;
        } else {
            files.push(Found::new(path, &place));
        }
    }
    if files.is_empty() {
        let names: Vec<_> = paths.iter().map(|path| input::name(path)).collect();
        return Err(Failure::new(
            names.join(", "),
            "no policy",
            "name a folder with *.yaml or *.json",
        ));
    }
    let mut teams = Teams::default();
    let mut sources = Vec::new();
    for Found { path, folder } in files {
        let team = match folder {
            Some(folder) => teams.of(&folder)?,
            None => None,
        };
        sources.push(Source::new(PolicyFile::read(&path)?, team));
    }
    Ok(sources)
}

/// A policy's file.
struct Found {
    /// As messages name it.
    path: PathBuf,
    /// The folder in which it lies, without links; absent for standard input.
    folder: Option<PathBuf>,
}

impl Found {
    /// `place` is the path without links.
    fn new(path: &Path, place: &Path) -> Self {
        Self { path: path.to_owned(), folder: place.parent().map(Path::to_owned) }
    }
}

/// Finds the policies in a folder and below. Links are errors: a team could bring in what belongs to
/// somebody else, a file that is no policy there by its name among it.
fn collect(path: &Path, files: &mut Vec<Found>) -> Result<(), Failure> {
    let unreadable = |error: io::Error| {
        Failure::new(input::name(path), error.to_string(), "name a folder that can be read")
    };
    let mut entries = Vec::new();
    for entry in fs::read_dir(path).map_err(unreadable)? {
        entries.push(entry.map_err(unreadable)?);
    }
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let path = entry.path();
        let kind = entry.file_type().map_err(unreadable)?;
        let is_policy =
            path.extension().is_some_and(|it| it == "yaml" || it == "yml" || it == "json")
                && path.file_name().is_some_and(|name| name != TEAM_FILE);
        let is_folder = path.is_dir();
        if kind.is_symlink() && (is_policy || is_folder) {
            let problem = "a symbolic link, which is not followed";
            let remedy = "put the file itself here, or name it on the command line";
            return Err(Failure::new(input::name(&path), problem, remedy));
        }
        if is_folder {
            collect(&path, files)?;
        } else if is_policy {
            let place = path.canonicalize().map_err(|error| input::unreadable(&path, &error))?;
            files.push(Found::new(&path, &place));
        }
    }
    Ok(())
}

/// The teams of folders, by their paths without links.
#[derive(Default)]
struct Teams(HashMap<PathBuf, Option<Rc<Team>>>);

impl Teams {
    /// The team of the nearest file in the folder and those above, up to the root of the file system:
    /// whoever names a folder far below gets the same team.
    fn of(&mut self, folder: &Path) -> Result<Option<Rc<Team>>, Failure> {
        if let Some(team) = self.0.get(folder) {
            return Ok(team.clone());
        }
        let above = match folder.parent() {
            Some(parent) => self.of(parent)?,
            None => None,
        };
        let file = shown(&folder.join(TEAM_FILE));
        let team = match fs::symlink_metadata(&file) {
            Ok(metadata) if metadata.is_file() => {
                Some(Rc::new(Team::read(&file, above.as_deref())?))
            }
            Ok(_) => {
                let problem = "not a regular file, perhaps a symbolic link";
                return Err(Failure::new(input::name(&file), problem, "write the file itself"));
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => above,
            Err(error) => return Err(input::unreadable(&file, &error)),
        };
        self.0.insert(folder.to_owned(), team.clone());
        Ok(team)
    }
}

/// A path as messages name it: from the current folder on, where it lies in that.
fn shown(path: &Path) -> PathBuf {
    let here = std::env::current_dir().and_then(|here| here.canonicalize());
    let below = here.ok().and_then(|here| path.strip_prefix(here).ok().map(Path::to_owned));
    below.unwrap_or_else(|| path.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;
    use tempfile::TempDir;

    /// Folders of two teams, the one below a link away from the other.
    fn folders() -> TempDir {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in [
            ("all/pay/team.yaml", "team: pay\nnamespaces: [pay]"),
            ("all/pay/one.yaml", "policy: one\nrules: []"),
            ("all/pay/sub/deep/two.yaml", "policy: two\nrules: []"),
            ("all/platform/three.yaml", "policy: three\nrules: []"),
            ("outside/four.yaml", "policy: four\nrules: []"),
        ] {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        root
    }

    /// Each policy's name with the team that holds it.
    fn teams(root: &TempDir, paths: &[&str]) -> Result<Vec<(String, String)>, String> {
        let paths: Vec<_> = paths.iter().map(|path| root.path().join(path)).collect();
        let sources = read(&paths).map_err(|failure| failure.to_string())?;
        let held = |source: &Source| source.own().map(|_| source.team().to_owned());
        Ok(sources.iter().map(|it| (it.name.clone(), held(it).unwrap_or_default())).collect())
    }

    fn pairs(pairs: &[(&str, &str)]) -> Result<Vec<(String, String)>, String> {
        Ok(pairs.iter().map(|(name, team)| ((*name).to_owned(), (*team).to_owned())).collect())
    }

    #[test]
    fn a_team_holds_its_folder_and_all_below_however_they_are_named() {
        let root = folders();
        assert_eq!(teams(&root, &["all"]), pairs(&[("one", "pay"), ("two", "pay"), ("three", "")]));
        for below in ["all/pay/sub", "all/pay/sub/deep", "all/pay/sub/deep/two.yaml"] {
            assert_eq!(teams(&root, &[below]), pairs(&[("two", "pay")]), "{below}");
        }
        symlink(root.path().join("all/pay/sub"), root.path().join("link")).unwrap();
        assert_eq!(teams(&root, &["link"]), pairs(&[("two", "pay")]));
        assert_eq!(teams(&root, &["link/deep/two.yaml"]), pairs(&[("two", "pay")]));
    }

    #[test]
    fn no_link_in_a_folder_is_followed() {
        let root = folders();
        let link = root.path().join("all/platform/linked.yaml");
        let with_link = |target: &str| {
            let _ = fs::remove_file(&link);
            symlink(root.path().join(target), &link).unwrap();
            teams(&root, &["all/platform"])
        };
        fs::write(root.path().join("all/platform/five.yaml.disabled"), "policy: five\nrules: []")
            .unwrap();
        for target in [
            "all/pay/one.yaml",
            "all/platform/three.yaml",
            "all/platform/five.yaml.disabled",
            "outside/four.yaml",
            "missing.yaml",
            "all/pay/sub",
        ] {
            let failure = with_link(target).expect_err(target);
            assert!(failure.contains("linked.yaml"), "{failure}");
        }
    }

    #[test]
    fn what_is_named_as_a_teams_file_is_one() {
        let root = folders();
        let file = root.path().join("all/pay/team.yaml");
        fs::remove_file(&file).unwrap();
        fs::create_dir(&file).unwrap();
        teams(&root, &["all"]).expect_err("a folder");
        fs::remove_dir(&file).unwrap();
        for target in ["missing", "outside/four.yaml"] {
            symlink(root.path().join(target), &file).unwrap();
            teams(&root, &["all"]).expect_err("a link");
            fs::remove_file(&file).unwrap();
        }
    }
}
