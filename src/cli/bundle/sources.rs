//! The policies that a bundle is made of, each with its team.

use super::super::failure::Failure;
use super::super::input;
use super::super::policy_file::{Node, PolicyFile};
use super::team::Team;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::rc::Rc;

/// The file beside policies that says whose they are.
const TEAM_FILE: &str = "team.yaml";

/// One team's policy.
pub(super) struct Source {
    pub(super) file: PolicyFile,
    /// The policy's own name.
    name: String,
    team: Option<Rc<Team>>,
}

impl Source {
    /// What the ids of its rules are prefixed by.
    pub(super) fn team(&self) -> &str {
        self.team.as_ref().map_or(&self.name, |team| &team.name)
    }

    /// Whether it may speak for some callers only.
    pub(super) fn is_held(&self) -> bool {
        self.team.as_ref().is_some_and(|team| !team.namespaces.is_empty())
    }

    /// Where a rule is not held to the team's callers.
    pub(super) fn trespasses<'r>(
        &self,
        path: &str,
        rule: &'r Node,
    ) -> Vec<(String, &'r Node, String, String)> {
        let team = self.team.as_ref().filter(|_| self.is_held());
        team.map(|team| team.trespasses(path, rule)).unwrap_or_default()
    }
}

/// Reads files and, of folders, what is in them and below, by name.
pub(super) fn read(paths: &[PathBuf]) -> Result<Vec<Source>, Failure> {
    let mut files = Vec::new();
    for path in paths {
        collect(path, &mut files)?;
    }
    if files.is_empty() {
        let names: Vec<_> = paths.iter().map(|path| input::name(path)).collect();
        return Err(Failure::new(
            names.join(", "),
            "no policy",
            "name a folder with *.yaml or *.json",
        ));
    }
    let mut teams: HashMap<PathBuf, Option<Rc<Team>>> = HashMap::new();
    let mut sources = Vec::new();
    for path in files {
        let folder = path.parent().unwrap_or(Path::new("")).to_owned();
        let team = match teams.get(&folder) {
            Some(team) => team.clone(),
            None => {
                let at = folder.join(TEAM_FILE);
                let team = at.is_file().then(|| Team::read(&at).map(Rc::new)).transpose()?;
                teams.insert(folder, team.clone());
                team
            }
        };
        let file = PolicyFile::read(&path)?;
        let name = file.tree().and_then(|root| root.get("policy")?.text()).map(str::to_owned);
        sources.push(Source { name: name.unwrap_or_default(), file, team });
    }
    Ok(sources)
}

fn collect(path: &Path, files: &mut Vec<PathBuf>) -> Result<(), Failure> {
    if !path.is_dir() {
        files.push(path.to_owned());
        return Ok(());
    }
    let unreadable = |error: std::io::Error| {
        Failure::new(input::name(path), error.to_string(), "name a folder that can be read")
    };
    let mut entries = Vec::new();
    for entry in std::fs::read_dir(path).map_err(unreadable)? {
        entries.push(entry.map_err(unreadable)?);
    }
    entries.sort_by_key(std::fs::DirEntry::file_name);
    for entry in entries {
        let path = entry.path();
        // A link to a folder above would never end.
        let is_folder = entry.file_type().map_err(unreadable)?.is_dir();
        let is_policy =
            path.extension().is_some_and(|it| it == "yaml" || it == "yml" || it == "json")
                && path.file_name().is_some_and(|name| name != TEAM_FILE);
        if is_folder {
            collect(&path, files)?;
        } else if is_policy && path.is_file() {
            files.push(path);
        }
    }
    Ok(())
}
