//! `bundle`: one policy of several teams'.

use crate::console::{Console, Format, GOOD, NAME, counted, styled};
use crate::diagnostics::{self, Diagnostic};
use crate::failure::{Failure, Outcome};
use crate::finding::Finding;
use crate::policy_file::PolicyFile;
use crate::teams::{self, Bundle, BundleError, InFile};
use serde_json::json;
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
    #[arg(long, value_name = "NAME", default_value = teams::NAME)]
    name: String,
}

/// Yes where a bundle is written.
pub(crate) fn run(args: &Args, console: &mut Console) -> Result<Outcome, Failure> {
    let sources = teams::read(&args.policies, console)?;
    let bundle = Bundle::of(&sources);
    if !bundle.errors().is_empty() {
        report(bundle.errors(), console)?;
        return Ok(Outcome::No);
    }
    let (rules, teams) = bundle.size();
    let size = format!("{} of {}", counted(rules as u64, "rule"), counted(teams as u64, "team"));
    let merged = bundle.into_policy("the bundle".to_owned(), &args.name);
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
                console.line(format_args!("{}\n", diagnostics::one(file.document(), &error)))?;
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
    let mut json = diagnostics::one_json(file.document(), error);
    if let Some(json) = json.as_object_mut() {
        json.insert("file".to_owned(), file.name().into());
    }
    json
}
