//! `team.yaml`: whose the policies in its folder and below are, and for whom they may speak.

use crate::cover::Pattern;
use crate::document::Document;
use crate::failure::Failure;
use egress_warden::config::{self, ErrorKind};
use egress_warden::policy::TextPattern;
use serde::{Deserialize, Deserializer};
use std::path::Path;

/// Largest file, in bytes.
const MAX_FILE: usize = 1 << 20;

/// Whose policies are.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Team {
    /// What ids are prefixed by.
    pub(super) name: String,
    /// Patterns of the namespaces whose callers it may speak for, never none; absent: any caller.
    pub(super) namespaces: Option<Vec<String>>,
}

/// What a file says.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct TeamFile {
    team: String,
    #[serde(default, deserialize_with = "some")]
    namespaces: Option<Vec<String>>,
}

/// A key that is there needs a list: `null` is none.
fn some<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Vec<String>>, D::Error> {
    Vec::deserialize(deserializer).map(Some)
}

impl Team {
    /// Reads a file. `above` is the team of the folder above, which this one may only narrow.
    pub(super) fn read(path: &Path, above: Option<&Self>) -> Result<Self, Failure> {
        let document = Document::read(path, MAX_FILE, "a team's file")?;
        let file: TeamFile = document
            .read_as("write `team: NAME`, and `namespaces: [NAME]` if the team has its own")?;
        file.into_team(above)
            .map_err(|(problem, remedy)| Failure::new(document.name(), problem, remedy))
    }

    /// The patterns as a policy would write them.
    pub(super) fn list(&self) -> String {
        let list: Vec<_> =
            self.namespaces.iter().flatten().map(|name| format!("\"{name}\"")).collect();
        list.join(", ")
    }

    /// Whether every namespace of a pattern is the team's.
    pub(super) fn has(&self, pattern: TextPattern<'_>) -> bool {
        let Some(namespaces) = &self.namespaces else { return true };
        let mut own = namespaces.iter().filter_map(|own| TextPattern::parse(own));
        own.any(|own| own.covers(&pattern))
    }
}

impl TeamFile {
    /// The team, or what is wrong and what to write instead.
    fn into_team(self, above: Option<&Team>) -> Result<Team, (String, String)> {
        let Self { team: name, namespaces } = self;
        if !config::is_name(&name) {
            let error = ErrorKind::Name { name: name.into() };
            return Err((error.problem().into_owned(), error.remedy().into_owned()));
        }
        if namespaces.as_ref().is_some_and(Vec::is_empty) {
            let remedy =
                "list the team's namespaces; without `namespaces` it speaks for any caller";
            return Err(("`namespaces` without an entry".to_owned(), remedy.to_owned()));
        }
        if let Some(bad) =
            namespaces.iter().flatten().find(|text| TextPattern::parse(text).is_none())
        {
            let remedy = "write it out, or as `prefix*` or `*suffix`";
            return Err((format!("the namespace `{bad}`"), remedy.to_owned()));
        }
        let Some(above) = above.filter(|above| above.namespaces.is_some()) else {
            return Ok(Team { name, namespaces });
        };
        let is_part = name.strip_prefix(&above.name).is_some_and(|rest| rest.starts_with('-'));
        if name != above.name && !is_part {
            let problem = format!("the name `{name}` in a folder of team `{}`", above.name);
            let remedy = format!("write `{0}`, or a name that begins `{0}-`", above.name);
            return Err((problem, remedy));
        }
        let is_foreign =
            |text: &&String| !TextPattern::parse(text).is_some_and(|pattern| above.has(pattern));
        if let Some(foreign) = namespaces.iter().flatten().find(is_foreign) {
            let problem = format!(
                "the namespace `{foreign}` in a folder of team `{}`, which does not have it",
                above.name
            );
            return Err((problem, format!("name some of [{}]", above.list())));
        }
        let namespaces = namespaces.or_else(|| above.namespaces.clone());
        Ok(Team { name, namespaces })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn team(name: &str, namespaces: Option<&[&str]>) -> Team {
        let list = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        Team { name: name.to_owned(), namespaces: namespaces.map(list) }
    }

    fn read(text: &str, above: Option<&Team>) -> Result<Team, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("team.yaml");
        std::fs::write(&path, text).unwrap();
        Team::read(&path, above).map_err(|failure| failure.to_string())
    }

    #[test]
    fn namespaces_that_are_written_are_never_none() {
        assert_eq!(read("team: pay", None), Ok(team("pay", None)));
        assert_eq!(read("team: pay\nnamespaces: [pay]", None), Ok(team("pay", Some(&["pay"]))));
        for text in
            ["team: pay\nnamespaces: []", "team: pay\nnamespaces:", "team: pay\nnamespaces: ~"]
        {
            read(text, None).expect_err(text);
        }
    }

    #[test]
    fn a_folder_below_a_held_team_can_only_narrow_it() {
        let held = team("pay", Some(&["pay", "eu-*"]));
        for (text, expected) in [
            ("team: pay", team("pay", Some(&["pay", "eu-*"]))),
            ("team: pay-a", team("pay-a", Some(&["pay", "eu-*"]))),
            ("team: pay-a\nnamespaces: [eu-1, \"eu-a*\"]", team("pay-a", Some(&["eu-1", "eu-a*"]))),
        ] {
            assert_eq!(read(text, Some(&held)), Ok(expected), "{text}");
        }
        for text in [
            "team: platform",
            "team: payx",
            "team: pay\nnamespaces: [shop]",
            "team: pay\nnamespaces: [pay, \"*\"]",
            "team: pay\nnamespaces: [\"eu*\"]",
        ] {
            read(text, Some(&held)).expect_err(text);
        }
        let free = team("platform", None);
        assert_eq!(
            read("team: pay\nnamespaces: [pay]", Some(&free)),
            Ok(team("pay", Some(&["pay"])))
        );
    }
}
