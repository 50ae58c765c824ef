//! `bundle`: one policy of several teams'.
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

use crate::console::{Console, Format, GOOD, NAME, counted, styled};
use crate::diagnostics::{self, Diagnostic};
use crate::failure::{Failure, Outcome};
use crate::finding::Finding;
use crate::policy_file::{
    Member, Node, PolicyFile, RuleSource, Source as PolicySource, Value, path_of, place_of,
};
use egress_warden::config::{MAX_NAME, canonical_json};
use egress_warden::policy::Settings;
use error::BundleError;
use hold::Common;
use serde_json::json;
use sources::Source;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Merges the policies of several teams into one
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  egress-warden bundle policies/ --name mesh-egress -o bundle.json

Rule ids get the team's name as prefix. A folder stands for the policies in it
and below. A note names the files that are passed over as no policy, such as a
kustomization.yaml. A team.yaml describes the team of its folder and all folders
below:
  team: payments                           # default: the name of each policy
  namespaces: [payments]                   # the team's own callers: these and
  principals: [\"example.org/build/pay/*\"]  # those. Default of both: any caller

The nearest team.yaml counts, also one above the named folder. A team.yaml below
a team with callers of its own can only narrow it. Symbolic links in a folder
are errors.

The rules of a team with `namespaces` or `principals` affect only its own
callers. They may name some of these by any field of `from`. What cannot be
limited so is an error: settings, a rule for other callers, a deny rule without
`identity: required` and `principals`, a stamp under a name `x-...`. Whoever can
change a team.yaml decides for whom its team speaks.

Settings that differ between two policies are conflicts. The output is canonical
JSON (RFC 8785) with rules sorted by id. Equal policies have equal hashes.

Exit codes: 0 written, 1 an error or a conflict, 2 unreadable input.")]
pub(crate) struct Args {
    /// Policies, or folders of them
    #[arg(required = true, value_name = "POLICIES")]
    policies: Vec<PathBuf>,
    /// Where to write the bundle. `-` is standard output
    #[arg(short, long, value_name = "FILE", default_value = "-")]
    output: PathBuf,
    /// The name of the policy
    #[arg(long, value_name = "NAME", default_value = "egress")]
    name: String,
}

/// Keys of a policy that are no settings.
const NO_SETTINGS: [&str; 2] = ["policy", "rules"];

/// Yes where a bundle is written.
pub(crate) fn run(args: &Args, console: &mut Console) -> Result<Outcome, Failure> {
    let sources = sources::read(&args.policies, console)?;
    let bundle = Bundle::of(&sources);
    if !bundle.errors.is_empty() {
        report(&bundle.errors, console)?;
        return Ok(Outcome::No);
    }
    let (rules, teams) = (bundle.rules.len(), bundle.teams.len());
    let size = format!("{} of {}", counted(rules as u64, "rule"), counted(teams as u64, "team"));
    let text = canonical_json(&bundle.into_policy(&args.name));
    let merged = PolicyFile::of_text("the bundle".to_owned(), text, true);
    let revision = match merged.config() {
        Ok(config) => config.revision.clone(),
        Err(errors) => {
            let errors = errors.iter().cloned();
            let errors: Vec<_> =
                errors.map(|error| (&merged, error.map(BundleError::Policy))).collect();
            report(&errors, console)?;
            return Ok(Outcome::No);
        }
    };
    if args.output == Path::new("-") {
        console.bytes(merged.text().as_bytes())?;
        console.bytes(b"\n")?;
        console.note(format_args!("{revision}: {size}"));
        return Ok(Outcome::Yes);
    }
    std::fs::write(&args.output, merged.text()).map_err(|error| {
        Failure::new(args.output.display().to_string(), error.to_string(), "name another file")
    })?;
    match console.format() {
        Format::Text => console.line(format_args!(
            "{}: {}, {size}",
            styled(NAME, args.output.display()),
            styled(GOOD, &revision),
        ))?,
        Format::Json => {
            console.json(&json!({ "policy": revision, "rules": rules, "teams": teams }))?;
        }
    }
    Ok(Outcome::Yes)
}

/// Every error with its place.
fn report(errors: &[InFile<'_>], console: &mut Console) -> Result<(), Failure> {
    let errors = errors.iter().map(|(file, error)| (file, diagnostic(file, error)));
    match console.format() {
        Format::Text => {
            for (file, error) in errors {
                console.line(format_args!("{}\n", diagnostics::one(file, &error)))?;
            }
            Ok(())
        }
        Format::Json => {
            let errors: Vec<_> = errors.map(|(file, error)| json_of(file, &error)).collect();
            console.json(&json!({ "policy": null, "findings": errors }))
        }
    }
}

fn diagnostic(file: &PolicyFile, error: &Finding<BundleError>) -> Diagnostic {
    match &error.kind {
        BundleError::Policy(kind) => {
            Diagnostic::of_policy(file, &error.clone().map(|_| kind.clone()))
        }
        _ => Diagnostic::error(error.clone()),
    }
}

/// One error, which may be in any of the files.
fn json_of(file: &PolicyFile, error: &Diagnostic) -> serde_json::Value {
    let mut json = diagnostics::one_json(file, error);
    if let Some(json) = json.as_object_mut() {
        json.insert("file".to_owned(), file.name().into());
    }
    json
}

/// An error with the file that it is in.
type InFile<'s> = (&'s PolicyFile, Finding<BundleError>);

/// What was read so far.
#[derive(Default)]
struct Bundle<'s> {
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
    fn of(sources: &'s [Source]) -> Self {
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

    fn into_policy(self, name: &str) -> Node {
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
