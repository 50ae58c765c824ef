//! `team.yaml`: whose the policies beside it are, and whom they may speak for.

use super::super::cover::Pattern;
use super::super::failure::Failure;
use super::super::input;
use super::super::policy_file::Node;
use egress_warden::config::MAX_NAME;
use egress_warden::policy::TextPattern;
use serde::Deserialize;
use std::path::Path;

/// Largest file, in bytes.
const MAX_FILE: usize = 1 << 20;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Team {
    /// What ids are prefixed by.
    #[serde(rename = "team")]
    pub(super) name: String,
    /// Patterns of the team's namespaces; empty: it may speak for any caller.
    #[serde(default)]
    pub(super) namespaces: Vec<String>,
}

impl Team {
    pub(super) fn read(path: &Path) -> Result<Self, Failure> {
        let name = input::name(path);
        let bytes = input::read(path, MAX_FILE)?;
        let options = serde_saphyr::options! { with_snippet: false };
        let team: Self =
            serde_saphyr::from_slice_with_options(&bytes, options).map_err(|error| {
                let remedy = "write `team: NAME`, and `namespaces: [NAME]` where it has its own";
                Failure::new(&name, format!("no team: {error}"), remedy)
            })?;
        let is_name_byte =
            |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        let is_name = !team.name.is_empty()
            && team.name.len() <= MAX_NAME
            && team.name.bytes().all(is_name_byte);
        if !is_name {
            let problem = format!("the name `{}`", team.name);
            return Err(Failure::new(name, problem, "write 1 to 63 of a-z, 0-9 and `-`"));
        }
        if let Some(bad) = team.namespaces.iter().find(|text| TextPattern::parse(text).is_none()) {
            let problem = format!("the namespace `{bad}`");
            return Err(Failure::new(name, problem, "write it out, or as `prefix*` or `*suffix`"));
        }
        Ok(team)
    }

    /// Where a rule is for more callers than the team's: place, problem and remedy.
    pub(super) fn trespasses<'r>(
        &self,
        path: &str,
        rule: &'r Node,
    ) -> Vec<(String, &'r Node, String, String)> {
        let list: Vec<_> = self.namespaces.iter().map(|name| format!("\"{name}\"")).collect();
        let remedy = format!("write `namespaces: [{}]`, or fewer", list.join(", "));
        let entries = rule.get("from").map(Node::items).unwrap_or_default();
        if entries.is_empty() {
            let place = rule.get("id").unwrap_or(rule);
            let problem = format!("a rule of team `{}` for any caller", self.name);
            let remedy = format!("write `from: [{{namespaces: [{}]}}]`", list.join(", "));
            return vec![(path.to_owned(), place, problem, remedy)];
        }
        let wide = entries.iter().enumerate().filter(|(_, entry)| !self.holds(entry));
        wide.map(|(index, entry)| {
            let problem = format!("callers who may not be of team `{}`", self.name);
            (format!("{path}.from[{index}]"), entry, problem, remedy.clone())
        })
        .collect()
    }

    /// Whether all callers of an entry are in the team's namespaces, by either of its lists.
    fn holds(&self, entry: &Node) -> bool {
        let all = |key: &str, is_own: &dyn Fn(&str) -> bool| {
            let items = entry.get(key).map(Node::items).unwrap_or_default();
            !items.is_empty() && items.iter().all(|item| item.text().is_some_and(is_own))
        };
        let is_own_namespace = |text: &str| {
            let Some(pattern) = TextPattern::parse(text) else { return false };
            let own = self.namespaces.iter().filter_map(|own| TextPattern::parse(own));
            own.into_iter().any(|own| own.covers(&pattern))
        };
        let is_own_principal = |text: &str| {
            let mut segments = text.split('/');
            // The namespace must stand there whole, so that a `*` comes behind it.
            let domain = segments.next();
            match (domain, segments.next(), segments.next(), segments.next()) {
                (Some(domain), Some("ns"), Some(namespace), Some(_)) => {
                    !domain.contains('*') && !namespace.contains('*') && is_own_namespace(namespace)
                }
                _ => false,
            }
        };
        all("namespaces", &is_own_namespace) || all("principals", &is_own_principal)
    }
}
