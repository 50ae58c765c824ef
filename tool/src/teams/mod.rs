//! The policies of several teams, and one policy of them all.
//!
//! No rule of a team changes its meaning on the way. If two files differ in a setting, or a team writes
//! what it may not, this is an error with its place, never a silent choice.

mod error;
mod hold;
mod own;
#[cfg(test)]
mod promise;
mod sources;
mod team;

pub(crate) use error::BundleError;
pub(crate) use sources::{Source, read};

use crate::finding::Finding;
use crate::policy_file::{
    Member, Node, PolicyFile, RuleSource, Source as PolicySource, Value, path_of, place_of,
};
use egress_warden::config::{MAX_NAME, canonical_json};
use egress_warden::policy::Settings;
use hold::Common;
use std::collections::BTreeMap;

/// The name of a bundle that nobody names.
pub(crate) const NAME: &str = "egress";

/// Keys of a policy that are no settings.
const NO_SETTINGS: [&str; 2] = ["policy", "rules"];

/// An error with the file that it is in.
pub(crate) type InFile<'s> = (&'s PolicyFile, Finding<BundleError>);

/// The policies of several teams as one, as far as they were read.
#[derive(Default)]
pub(crate) struct Bundle<'s> {
    settings: BTreeMap<&'s str, (&'s PolicyFile, &'s Node)>,
    /// By id, with the place of the id in its source.
    rules: BTreeMap<String, (Node, &'s PolicyFile, &'s Node)>,
    /// By name, with the first policy of each.
    teams: BTreeMap<&'s str, &'s Source>,
    common: Common,
    errors: Vec<InFile<'s>>,
}

impl<'s> Bundle<'s> {
    /// Settings first: what a team may say in its rules depends on them.
    pub(crate) fn of(sources: &'s [Source]) -> Self {
        let mut bundle = Self::default();
        let mut policies = Vec::new();
        for source in sources {
            match (source.file.config(), source.file.source()) {
                (Err(errors), _) => {
                    let errors = errors.iter().cloned();
                    let errors = errors.map(|it| (&source.file, it.map(BundleError::Policy)));
                    bundle.errors.extend(errors);
                }
                (Ok(_), Some(policy)) => policies.push((source, policy)),
                // INVARIANT: what was read without errors has a source.
                (Ok(_), None) => {}
            }
        }
        for (source, policy) in &policies {
            bundle.add_team(source);
            let members = policy.root.members().iter();
            for member in members.filter(|it| !NO_SETTINGS.contains(&&*it.key)) {
                bundle.set(source, policy, member);
            }
            if source.own().is_none() {
                bundle.common.add(policy);
            }
        }
        for (source, policy) in &policies {
            policy.rules.iter().for_each(|rule| bundle.add_rule(source, rule));
        }
        bundle
    }

    /// What keeps the policies from being one.
    pub(crate) fn errors(&self) -> &[InFile<'s>] {
        &self.errors
    }

    /// How many rules there are, and of how many teams.
    pub(crate) fn size(&self) -> (usize, usize) {
        (self.rules.len(), self.teams.len())
    }

    /// The policy, as canonical JSON. `file` is how messages name it.
    pub(crate) fn into_policy(self, file: String, name: &str) -> PolicyFile {
        PolicyFile::of_text(file, canonical_json(&self.into_tree(name)), true)
    }

    /// One name is one team: a team that could take another's would take its ids.
    fn add_team(&mut self, source: &'s Source) {
        let first = *self.teams.entry(source.team()).or_insert(source);
        let (Some(name), Some(other)) = (source.name_node(), first.name_node()) else { return };
        if source.own() != first.own() {
            let place = first.file.at(other.span.start);
            let error = BundleError::OtherCallers { team: source.team().to_owned(), place };
            self.error(&source.file, ("$.policy".to_owned(), name), error);
        }
    }

    fn set(&mut self, source: &'s Source, policy: &PolicySource<'s>, member: &'s Member) {
        let file = &source.file;
        let Member { key, value: node, .. } = member;
        let place = (format!("$.{key}"), node);
        if source.own().is_some() && !is_default(policy, member) {
            let team = source.team().to_owned();
            return self.error(file, place, BundleError::Setting { team });
        }
        let (other_file, other) = *self.settings.entry(key).or_insert((file, node));
        if canonical_json(other) != canonical_json(node) {
            let other_place = other_file.at(other.span.start);
            self.error(file, place, BundleError::SettingConflict { place: other_place });
        }
    }

    fn add_rule(&mut self, source: &'s Source, rule: &RuleSource<'s>) {
        let file = &source.file;
        let path = path_of(rule);
        let team = source.team();
        let id = format!("{team}-{}", rule.id);
        let node = place_of(rule);
        let place = (format!("{path}.id"), node);
        if let Some(own) = source.own() {
            for (place, trespass) in hold::trespasses(own, &self.common, &path, rule) {
                let error = BundleError::Trespass { team: team.to_owned(), trespass };
                self.error(file, place, error);
            }
            let reads_as = |other: &&str| {
                other.len() > team.len()
                    && id.strip_prefix(*other).is_some_and(|rest| rest.starts_with('-'))
            };
            if let Some(other) = self.teams.keys().copied().find(reads_as) {
                let error = BundleError::IdOfTeam { id: id.clone(), team: other.to_owned() };
                self.error(file, place.clone(), error);
            }
        }
        if id.len() > MAX_NAME {
            return self.error(file, place, BundleError::LongId { id });
        }
        if let Some((_, other_file, other)) = self.rules.get(&id) {
            let error = BundleError::DuplicateId { id, place: other_file.at(other.span.start) };
            return self.error(file, place, error);
        }
        let mut renamed = rule.node.clone();
        if let Value::Object(members) = &mut renamed.value {
            for member in members.iter_mut().filter(|member| &*member.key == "id") {
                member.value.value = Value::Text(id.as_str().into());
            }
        }
        self.rules.insert(id, (renamed, file, node));
    }

    fn error(&mut self, file: &'s PolicyFile, (path, node): (String, &Node), kind: BundleError) {
        self.errors.push((file, Finding { path, span: node.span.clone(), kind }));
    }

    fn into_tree(self, name: &str) -> Node {
        let node = |value| Node { value, span: 0..0 };
        let member = |key: &str, value| Member { key: key.into(), key_span: 0..0, value };
        let rules = self.rules.into_values().map(|(rule, ..)| rule).collect();
        let mut members = vec![
            member("policy", node(Value::Text(name.into()))),
            member("rules", node(Value::List(rules))),
        ];
        for (key, (_, value)) in self.settings {
            members.push(member(key, value.clone()));
        }
        if !members.iter().any(|member| &*member.key == "default") {
            members.push(member("default", node(Value::Text("deny".into()))));
        }
        node(Value::Object(members))
    }
}

/// Whether a setting says what would hold without it.
fn is_default(policy: &PolicySource<'_>, member: &Member) -> bool {
    let (settings, default) = (&policy.settings, Settings::default());
    match &*member.key {
        "mode" => settings.mode == default.mode,
        "default" => settings.default == default.default,
        "identity" => settings.identity_required == default.identity_required,
        "sni" => settings.sni_must_match == default.sni_must_match,
        _ => matches!(&member.value.value, Value::Object(members) if members.is_empty()),
    }
}
