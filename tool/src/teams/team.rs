//! `team.yaml`: whose the policies in its folder and below are, and for whom they may speak.

use super::own::Own;
use crate::document::Document;
use crate::failure::Failure;
use egress_warden::config::{self, ErrorKind};
use serde::{Deserialize, Deserializer};
use std::path::Path;

/// Largest file, in bytes.
const MAX_FILE: usize = 1 << 20;

/// Whose policies are.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Team {
    /// What ids are prefixed by.
    pub(super) name: String,
    /// The callers it may speak for; absent: any.
    pub(super) own: Option<Own>,
}

/// What a file says.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct TeamFile {
    team: String,
    #[serde(default, deserialize_with = "some")]
    namespaces: Option<Vec<String>>,
    #[serde(default, deserialize_with = "some")]
    principals: Option<Vec<String>>,
}

/// A key that is there needs a list: `null` is none.
fn some<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Vec<String>>, D::Error> {
    Vec::deserialize(deserializer).map(Some)
}

impl Team {
    /// Reads a file. `above` is the team of the folder above, which this one may only narrow.
    pub(super) fn read(path: &Path, above: Option<&Self>) -> Result<Self, Failure> {
        let document = Document::read(path, MAX_FILE, "a team's file")?;
        let file: TeamFile = document.read_as(
            "write `team: NAME`, and `namespaces` or `principals` if it has callers of its own",
        )?;
        file.into_team(above)
            .map_err(|(problem, remedy)| Failure::new(document.name(), problem, remedy))
    }
}

impl TeamFile {
    /// The team, or what is wrong and what to write instead.
    fn into_team(self, above: Option<&Team>) -> Result<Team, (String, String)> {
        let own = self.own()?;
        let name = self.team;
        if !config::is_name(&name) {
            let error = ErrorKind::Name { name: name.into() };
            return Err((error.problem().into_owned(), error.remedy().into_owned()));
        }
        let Some(Team { name: name_above, own: Some(own_above) }) = above else {
            return Ok(Team { name, own });
        };
        let is_part = name.strip_prefix(name_above).is_some_and(|rest| rest.starts_with('-'));
        if name != *name_above && !is_part {
            let problem = format!("the name `{name}` in a folder of team `{name_above}`");
            let remedy = format!("write `{name_above}`, or a name that begins `{name_above}-`");
            return Err((problem, remedy));
        }
        let Some(own) = own else { return Ok(Team { name, own: Some(own_above.clone()) }) };
        if let Some((noun, text)) = own_above.first_beyond(&own) {
            let problem = format!(
                "the {noun} `{text}` in a folder of team `{name_above}`, which does not have it"
            );
            let fields = own_above.fields().join("` or `");
            return Err((problem, format!("write `{fields}`, or less")));
        }
        Ok(Team { name, own: Some(own) })
    }

    fn own(&self) -> Result<Option<Own>, (String, String)> {
        let lists = [("namespaces", &self.namespaces), ("principals", &self.principals)];
        if let Some((key, _)) =
            lists.iter().find(|(_, list)| list.as_ref().is_some_and(Vec::is_empty))
        {
            let remedy =
                "list some; a team without `namespaces` and `principals` speaks for any caller";
            return Err((format!("`{key}` without an entry"), remedy.to_owned()));
        }
        if lists.iter().all(|(_, list)| list.is_none()) {
            return Ok(None);
        }
        let [namespaces, principals] = lists.map(|(_, list)| list.clone().unwrap_or_default());
        Own::new(namespaces, principals).map(Some)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn team(name: &str, namespaces: &[&str], principals: &[&str]) -> Team {
        let list = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
        let own = Own::new(list(namespaces), list(principals)).unwrap();
        Team { name: name.to_owned(), own: Some(own) }
    }

    fn free(name: &str) -> Team {
        Team { name: name.to_owned(), own: None }
    }

    fn read(text: &str, above: Option<&Team>) -> Result<Team, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("team.yaml");
        std::fs::write(&path, text).unwrap();
        Team::read(&path, above).map_err(|failure| failure.to_string())
    }

    #[test]
    fn lists_that_are_written_are_never_none() {
        assert_eq!(read("team: pay", None), Ok(free("pay")));
        assert_eq!(read("team: pay\nnamespaces: [pay]", None), Ok(team("pay", &["pay"], &[])));
        let both = "team: pay\nnamespaces: [pay]\nprincipals: [\"example.org/build/*\"]";
        assert_eq!(read(both, None), Ok(team("pay", &["pay"], &["example.org/build/*"])));
        for key in ["namespaces", "principals"] {
            for list in [" []", "", " ~", " [\"\"]", " [\"a*b\"]", " pay"] {
                let text = format!("team: pay\n{key}:{list}");
                read(&text, None).expect_err(&text);
            }
        }
        let empty_beside = "team: pay\nnamespaces: []\nprincipals: [a]";
        read(empty_beside, None).expect_err(empty_beside);
    }

    #[test]
    fn what_can_never_match_gets_what_does() {
        for (text, remedy) in [
            ("team: a\nprincipals: [\"spiffe://d/build/*\"]", "use \"d/build/*\""),
            ("team: a\nnamespaces: [\"d/build/*\"]", "as `principals`"),
        ] {
            let failure = read(text, None).expect_err(text);
            assert!(failure.contains(remedy), "{failure}");
        }
    }

    #[test]
    fn a_folder_below_a_held_team_can_only_narrow_it() {
        let held = team("pay", &["pay", "eu-*"], &["d/build/*"]);
        for (text, expected) in [
            ("team: pay", team("pay", &["pay", "eu-*"], &["d/build/*"])),
            ("team: pay-a", team("pay-a", &["pay", "eu-*"], &["d/build/*"])),
            ("team: pay-a\nnamespaces: [eu-1, \"eu-a*\"]", team("pay-a", &["eu-1", "eu-a*"], &[])),
            ("team: pay\nprincipals: [d/build/a]", team("pay", &[], &["d/build/a"])),
            ("team: pay\nprincipals: [\"d/ns/pay/*\"]", team("pay", &[], &["d/ns/pay/*"])),
        ] {
            assert_eq!(read(text, Some(&held)), Ok(expected), "{text}");
        }
        for text in [
            "team: platform",
            "team: payx",
            "team: pay\nnamespaces: [shop]",
            "team: pay\nnamespaces: [pay, \"*\"]",
            "team: pay\nnamespaces: [\"eu*\"]",
            "team: pay\nprincipals: [\"d/*\"]",
            "team: pay\nprincipals: [\"*/build/a\"]",
        ] {
            read(text, Some(&held)).expect_err(text);
        }
        assert_eq!(
            read("team: pay\nnamespaces: [pay]", Some(&free("platform"))),
            Ok(team("pay", &["pay"], &[]))
        );
    }
}
