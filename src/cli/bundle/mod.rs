//! `bundle`: one policy of several teams'.
//!
//! Nothing a team wrote changes its meaning on the way: what two files say differently, and what a
//! team may not say, is a fault that names the place, never a silent choice.

mod sources;
mod team;

use super::check;
use super::console::{Console, Format, GOOD, NAME, styled};
use super::failure::{Failure, Outcome};
use super::policy_file::{Finding, Member, Node, PolicyFile, Value};
use serde_json::json;
use sources::Source;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};

/// Merges the policies of several teams into one, ids prefixed by team
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  egress-warden bundle policies/ --name mesh-egress -o bundle.json

A folder stands for the policies in it and below. Beside a policy a team.yaml may say whose it is:
  team: payments                # prefixes the ids; without it, the policy's own name does
  namespaces: [payments]        # every rule must be for callers of these; absent: for any

Settings that two policies say differently are conflicts; a team with `namespaces` may not say any. The
output is canonical JSON (RFC 8785), rules by id, so that equal policies have equal hashes.

Exit codes: 0 written, 1 a fault or a conflict, 2 unreadable.")]
pub(crate) struct Args {
    /// Policies, or folders of them
    #[arg(required = true, value_name = "POLICIES")]
    policies: Vec<PathBuf>,
    /// Where the bundle goes; `-` is standard output
    #[arg(short, long, value_name = "FILE", default_value = "-")]
    output: PathBuf,
    /// The name of the policy
    #[arg(long, value_name = "NAME", default_value = "egress")]
    name: String,
}

/// Keys that speak for everybody.
const SETTINGS: [&str; 8] = ["mode", "default", "identity", "sni", "stamp", "strip", "deny", "log"];

/// Yes where a bundle is written.
pub(crate) fn run(args: &Args, console: &mut Console) -> Result<Outcome, Failure> {
    let sources = sources::read(&args.policies)?;
    let mut bundle = Bundle::default();
    for source in &sources {
        bundle.add(source);
    }
    if !bundle.faults.is_empty() {
        report(&bundle.faults, console)?;
        return Ok(Outcome::No);
    }
    let (rules, teams) = (bundle.rules.len(), bundle.teams.len());
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
        console.note(format_args!("{revision}: {rules} rules of {teams} teams"));
        return Ok(Outcome::Yes);
    }
    std::fs::write(&args.output, merged.text()).map_err(|error| {
        Failure::new(args.output.display().to_string(), error.to_string(), "name another file")
    })?;
    match console.format() {
        Format::Text => console.line(format_args!(
            "{}: {}, {rules} rules of {teams} teams",
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
    match console.format() {
        Format::Text => {
            for (file, fault) in faults {
                console.line(format_args!("{}\n", check::fault(file, fault)))?;
            }
            Ok(())
        }
        Format::Json => {
            let faults: Vec<_> =
                faults.iter().map(|(file, fault)| check::fault_json(file, fault)).collect();
            console.json(&json!({ "policy": null, "findings": faults }))
        }
    }
}

/// What was read so far.
#[derive(Default)]
struct Bundle<'s> {
    settings: HashMap<&'static str, (&'s PolicyFile, &'s Node)>,
    /// By id, with the place of the id in its source.
    rules: BTreeMap<String, (Node, &'s PolicyFile, &'s Node)>,
    teams: BTreeSet<&'s str>,
    faults: Vec<(&'s PolicyFile, Finding)>,
}

impl<'s> Bundle<'s> {
    fn add(&mut self, source: &'s Source) {
        let file = &source.file;
        if let Err(faults) = file.config() {
            self.faults.extend(faults.iter().map(|fault| (file, fault.clone())));
            return;
        }
        let Some(root) = file.tree() else { return };
        self.teams.insert(source.team());
        for key in SETTINGS {
            if let Some(node) = root.get(key) {
                self.set(source, key, node);
            }
        }
        let rules = root.get("rules").map(Node::items).unwrap_or_default();
        for (index, rule) in rules.iter().enumerate() {
            self.add_rule(source, index, rule);
        }
    }

    fn set(&mut self, source: &'s Source, key: &'static str, node: &'s Node) {
        let file = &source.file;
        if source.is_held() && !is_default(key, node) {
            self.fault(
                file,
                format!("$.{key}"),
                node,
                format!(
                    "a setting of team `{}`, which speaks for its own callers only",
                    source.team()
                ),
                "leave it to a policy of nobody's namespaces",
            );
            return;
        }
        let (other_file, other) = *self.settings.entry(key).or_insert((file, node));
        if other.to_canonical_json() != node.to_canonical_json() {
            let place = other_file.at(other.span.start);
            let problem = format!("a setting that {place} says otherwise");
            self.fault(file, format!("$.{key}"), node, problem, "keep one of them");
        }
    }

    fn add_rule(&mut self, source: &'s Source, index: usize, rule: &'s Node) {
        let file = &source.file;
        let path = format!("$.rules[{index}]");
        let Some(written) = rule.get("id") else { return };
        let id = format!("{}-{}", source.team(), written.text().unwrap_or_default());
        for (path, node, problem, remedy) in source.trespasses(&path, rule) {
            self.fault(file, path, node, problem, remedy);
        }
        if id.len() > egress_warden::config::MAX_NAME {
            let problem = format!("an id that becomes `{id}`, of {} bytes", id.len());
            let remedy = format!("shorten it to {} bytes", egress_warden::config::MAX_NAME);
            self.fault(file, format!("{path}.id"), written, problem, remedy);
            return;
        }
        if let Some((_, other_file, other)) = self.rules.get(&id) {
            let place = other_file.at(other.span.start);
            let problem = format!("the id that becomes `{id}`, as that at {place} does");
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

/// Whether a setting says what would hold without it.
fn is_default(key: &str, node: &Node) -> bool {
    let default = match key {
        "mode" => "enforce",
        "default" => "deny",
        "identity" => "optional",
        "sni" => "ignore",
        _ => return node.members().is_empty(),
    };
    node.text() == Some(default)
}
