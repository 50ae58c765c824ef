//! `bundle`: one policy of several teams'.
//!
//! Nothing a team wrote changes its meaning on the way: what two files say differently, and what a
//! team may not say, is a fault that names the place, never a silent choice.

mod hold;
#[cfg(test)]
mod promise;
mod sources;
mod team;

use crate::console::{Console, Format, GOOD, NAME, counted, styled};
use crate::diagnostics::{self, Diagnostic};
use crate::failure::{Failure, Outcome};
use crate::policy_file::{Finding, Member, Node, PolicyFile, Value};
use hold::{Common, Trespass};
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
and below. A team.yaml describes the team of its folder and all folders below:
  team: payments          # the prefix. Default: the name of each policy
  namespaces: [payments]  # whose callers the rules may name. Default: anyone's

The nearest team.yaml counts, also one above the named folder. A team.yaml below
a team with `namespaces` can only narrow it. Symbolic links in a folder are
errors.

The rules of a team with `namespaces` affect only its own callers. What cannot
be limited so is an error: settings, a rule for other callers, a deny rule
without `identity: required` and `principals`, a stamp under a name `x-...`.
Whoever can change a team.yaml decides for whom its team speaks.

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
    let sources = sources::read(&args.policies)?;
    let bundle = Bundle::of(&sources);
    if !bundle.faults.is_empty() {
        report(&bundle.faults, console)?;
        return Ok(Outcome::No);
    }
    let (rules, teams) = (bundle.rules.len(), bundle.teams.len());
    let size = format!("{} of {}", counted(rules as u64, "rule"), counted(teams as u64, "team"));
    let text = bundle.into_policy(&args.name).to_canonical_json();
    let merged = PolicyFile::of_text("the bundle".to_owned(), text, true);
    let revision = match merged.config() {
        Ok(config) => config.revision.clone(),
        Err(faults) => {
            let faults: Vec<_> = faults.iter().map(|fault| (&merged, fault.clone())).collect();
            report(&faults, console)?;
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

/// Every fault with its place.
fn report(faults: &[(&PolicyFile, Finding)], console: &mut Console) -> Result<(), Failure> {
    let faults =
        faults.iter().map(|(file, fault)| (file, Diagnostic::of_fault(file, fault.clone())));
    match console.format() {
        Format::Text => {
            for (file, fault) in faults {
                console.line(format_args!("{}\n", diagnostics::one(file, &fault)))?;
            }
            Ok(())
        }
        Format::Json => {
            let faults: Vec<_> = faults.map(|(file, fault)| json_of(file, &fault)).collect();
            console.json(&json!({ "policy": null, "findings": faults }))
        }
    }
}

/// One fault, which may be in any of the files.
fn json_of(file: &PolicyFile, fault: &Diagnostic) -> serde_json::Value {
    let mut json = diagnostics::one_json(file, fault);
    if let Some(json) = json.as_object_mut() {
        json.insert("file".to_owned(), file.name().into());
    }
    json
}

/// What was read so far.
#[derive(Default)]
struct Bundle<'s> {
    settings: BTreeMap<&'s str, (&'s PolicyFile, &'s Node)>,
    /// By id, with the place of the id in its source.
    rules: BTreeMap<String, (Node, &'s PolicyFile, &'s Node)>,
    /// By name, with the first policy of each.
    teams: BTreeMap<&'s str, &'s Source>,
    common: Common,
    faults: Vec<(&'s PolicyFile, Finding)>,
}

impl<'s> Bundle<'s> {
    /// Settings first: what a team may say in its rules depends on them.
    fn of(sources: &'s [Source]) -> Self {
        let mut bundle = Self::default();
        let mut roots = Vec::new();
        for source in sources {
            match (source.file.config(), source.file.tree()) {
                (Err(faults), _) => {
                    let faults = faults.iter().map(|fault| (&source.file, fault.clone()));
                    bundle.faults.extend(faults);
                }
                (Ok(_), Some(root)) => roots.push((source, root)),
                (Ok(_), None) => {}
            }
        }
        for (source, root) in &roots {
            bundle.add_team(source);
            for member in root.members().iter().filter(|it| !NO_SETTINGS.contains(&&*it.key)) {
                bundle.set(source, &member.key, &member.value);
            }
            if source.holder().is_none() {
                rules(root).iter().for_each(|rule| bundle.common.add_rule(rule));
            }
        }
        for (source, root) in roots {
            for (index, rule) in rules(root).iter().enumerate() {
                bundle.add_rule(source, index, rule);
            }
        }
        bundle
    }

    /// One name is one team: a team that could take another's would take its ids.
    fn add_team(&mut self, source: &'s Source) {
        let first = *self.teams.entry(source.team()).or_insert(source);
        let (Some(name), Some(other)) = (source.name_node(), first.name_node()) else { return };
        if source.holder() != first.holder() {
            let place = first.file.at(other.span.start);
            let problem = format!(
                "a policy of team `{}`, like the one at {place}, but for other callers",
                source.team()
            );
            let path = "$.policy".to_owned();
            self.fault(&source.file, path, name, problem, "give one of the teams another name");
        }
    }

    fn set(&mut self, source: &'s Source, key: &'s str, node: &'s Node) {
        let file = &source.file;
        if source.holder().is_some() && !is_default(key, node) {
            let problem = format!(
                "a setting of team `{}`, which speaks for its own callers only",
                source.team()
            );
            self.fault(file, format!("$.{key}"), node, problem, hold::FOR_EVERYBODY);
            return;
        }
        match key {
            "identity" => self.common.requires_identity |= node.text() == Some("required"),
            "stamp" => self.common.add_stamp(node),
            _ => {}
        }
        let (other_file, other) = *self.settings.entry(key).or_insert((file, node));
        if other.to_canonical_json() != node.to_canonical_json() {
            let place = other_file.at(other.span.start);
            let problem = format!("a setting that differs from {place}");
            self.fault(file, format!("$.{key}"), node, problem, "keep one of them");
        }
    }

    fn add_rule(&mut self, source: &'s Source, index: usize, rule: &'s Node) {
        let file = &source.file;
        let path = format!("$.rules[{index}]");
        let Some(written) = rule.get("id") else { return };
        let team = source.team();
        let id = format!("{team}-{}", written.text().unwrap_or_default());
        if let Some(holder) = source.holder() {
            for Trespass { path, node, problem, remedy } in
                hold::trespasses(holder, &self.common, &path, rule)
            {
                self.fault(file, path, node, problem, remedy);
            }
            let reads_as = |other: &&str| {
                other.len() > team.len()
                    && id.strip_prefix(*other).is_some_and(|rest| rest.starts_with('-'))
            };
            if let Some(other) = self.teams.keys().copied().find(reads_as) {
                let problem = format!("an id that becomes `{id}`, an id of team `{other}`");
                self.fault(file, format!("{path}.id"), written, problem, "choose another id");
            }
        }
        if id.len() > egress_warden::config::MAX_NAME {
            let problem = format!("an id that becomes `{id}`, of {} bytes", id.len());
            let remedy = format!("shorten it to {} bytes", egress_warden::config::MAX_NAME);
            self.fault(file, format!("{path}.id"), written, problem, remedy);
            return;
        }
        if let Some((_, other_file, other)) = self.rules.get(&id) {
            let place = other_file.at(other.span.start);
            let problem = format!("an id that becomes `{id}`, like the one at {place}");
            self.fault(file, format!("{path}.id"), written, problem, "give one of them another id");
            return;
        }
        let mut renamed = rule.clone();
        if let Value::Object(members) = &mut renamed.value {
            for member in members.iter_mut().filter(|member| &*member.key == "id") {
                member.value.value = Value::Text(id.as_str().into());
            }
        }
        self.rules.insert(id, (renamed, file, written));
    }

    fn fault(
        &mut self,
        file: &'s PolicyFile,
        path: String,
        node: &Node,
        problem: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        let (problem, remedy) = (problem.into(), remedy.into());
        self.faults.push((file, Finding { path, span: node.span.clone(), problem, remedy }));
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

fn rules(root: &Node) -> &[Node] {
    root.get("rules").map(Node::items).unwrap_or_default()
}

/// Whether a setting says what would hold without it.
fn is_default(key: &str, node: &Node) -> bool {
    let default = match key {
        "mode" => "enforce",
        "default" => "deny",
        "identity" => "optional",
        "sni" => "ignore",
        _ => return matches!(&node.value, Value::Object(members) if members.is_empty()),
    };
    node.text() == Some(default)
}
