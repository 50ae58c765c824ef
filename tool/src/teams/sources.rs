//! The policies that a bundle is made of, each with its team.

use super::own::Own;
use super::team::Team;
use crate::console::Console;
use crate::failure::Failure;
use crate::input;
use crate::policy_file::{Node, Policies, PolicyFile, folder};
use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;

/// The file that says whose the policies in its folder and below are.
const TEAM_FILE: &str = "team.yaml";

/// One team's policy.
pub(crate) struct Source {
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

    pub(crate) fn into_file(self) -> PolicyFile {
        self.file
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

/// Reads files and, of folders, the policies in them and below, by name. What else is there is told.
pub(crate) fn read(paths: &[PathBuf], console: &mut Console) -> Result<Vec<Source>, Failure> {
    let mut teams = Teams::default();
    let mut sources = Vec::new();
    for path in paths {
        if path == Path::new("-") {
            add(Policies::read(path)?, None, &mut sources, console);
            continue;
        }
        let place = path.canonicalize().map_err(|error| input::unreadable(path, &error))?;
        if !place.is_dir() {
            add(Policies::read(path)?, teams.of_file(&place)?, &mut sources, console);
            continue;
        }
        let mut others = Vec::new();
        for file in folder::files(path)?.iter().filter(|file| !file.ends_with(TEAM_FILE)) {
            let policies = Policies::look_into(file)?;
            if policies.files().is_empty() {
                others.push(folder::told(path, file, &policies));
                continue;
            }
            let place = file.canonicalize().map_err(|error| input::unreadable(file, &error))?;
            add(policies, teams.of_file(&place)?, &mut sources, console);
        }
        folder::tell_others(path, &others, console);
    }
    match paths.first() {
        // A file that is named stands for a policy, be it one or not.
        Some(folder) if sources.is_empty() => Err(folder::without_policy(folder)),
        _ => Ok(sources),
    }
}

/// Adds the policies of a text, all of one team.
fn add(
    policies: Policies,
    team: Option<Rc<Team>>,
    sources: &mut Vec<Source>,
    console: &mut Console,
) {
    policies.tell(console);
    sources.extend(policies.into_files().into_iter().map(|file| Source::new(file, team.clone())));
}

/// The teams of folders, by their paths without links.
#[derive(Default)]
struct Teams(HashMap<PathBuf, Option<Rc<Team>>>);

impl Teams {
    /// The team of a file, by its path without links.
    fn of_file(&mut self, file: &Path) -> Result<Option<Rc<Team>>, Failure> {
        file.parent().map_or(Ok(None), |folder| self.of(folder))
    }

    /// The team of the nearest file in the folder and those above, up to the root of the file system:
    /// whoever names a folder far below gets the same team.
    fn of(&mut self, folder: &Path) -> Result<Option<Rc<Team>>, Failure> {
        if let Some(team) = self.0.get(folder) {
            return Ok(team.clone());
        }
        let above = self.of_file(folder)?;
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
    use crate::console::{Color, Format};
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
        let mut console = Console::new(Format::Text, Color::Never);
        let sources = read(&paths, &mut console).map_err(|failure| failure.to_string())?;
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

    /// What may be meant as a policy stays, for its reader to say what is wrong with it.
    #[test]
    fn only_what_is_no_policy_is_passed_over_and_only_in_a_folder() {
        let found = |text: &str| {
            let root = folders();
            let path = root.path().join("all/platform/other.yaml");
            fs::write(&path, text).unwrap();
            let named = teams(&root, &["all/platform/other.yaml"]).unwrap();
            assert!(!named.is_empty(), "{text}");
            teams(&root, &["all/platform"]).unwrap().len() - 1
        };
        for other in [
            "kind: Kustomization\napiVersion: kustomize.config.k8s.io/v1beta1\nresources: [a.yaml]",
            "resources: [a.yaml]",
            "replicaCount: 2\nimage: {tag: '1'}",
            "apiVersion: v1\nkind: Service\nspec: {}",
        ] {
            assert_eq!(found(other), 0, "{other}");
        }
        for meant in [
            "",
            "\u{feff}policy: x\nrules: []",
            "polcy: x\nrules: []",
            "policy: x\nrule: []",
            "default: deny",
            "x: 1\n---\npolicy: x\nrules: []",
            "x: {{ y }}",
        ] {
            assert_eq!(found(meant), 1, "{meant}");
        }
        let item = "{kind: WasmPlugin, apiVersion: a/v1, spec: {pluginConfig: {policy: x}}}";
        let list = format!("kind: List\napiVersion: v1\nitems: [{item}, {item}]");
        assert_eq!(found(&list), 2);
    }

    #[test]
    fn a_folder_without_a_policy_is_no_bundle() {
        let root = folders();
        fs::create_dir(root.path().join("none")).unwrap();
        fs::write(root.path().join("none/values.yaml"), "replicaCount: 2").unwrap();
        fs::write(root.path().join("none/team.yaml"), "team: pay").unwrap();
        teams(&root, &["none"]).expect_err("no policy");
        assert_eq!(teams(&root, &["none", "all/platform"]), pairs(&[("three", "")]));
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
