//! `check`: every error of a policy, and every warning.
//!
//! An error is what the proxy refuses. A warning is about what it accepts and is probably not meant.

mod allowances;
mod contradictions;
mod denials;
mod literals;
mod names;
mod rewriting;
mod trees;
mod warning;
mod warnings;

use crate::console::{Console, Format};
use crate::diagnostics::{self, Diagnostic, Level, fix};
use crate::failure::{Failure, Outcome};
use crate::policy_file::PolicyFile;
use egress_warden::time::Time;
use std::path::{Path, PathBuf};

/// Checks policies: reports all errors at once, then warnings
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  egress-warden check policy.yaml
  egress-warden check --fix teams/*.yaml
  egress-warden check --deny-warnings --format json policy.yaml

Exit codes: 0 no error, 1 an error (or a warning, with --deny-warnings),
2 unreadable input.")]
pub(crate) struct Args {
    /// Policies in YAML or JSON. `-` is standard input
    #[arg(required = true, value_name = "POLICY")]
    policies: Vec<PathBuf>,
    /// Rewrite what is certain, and keep comments and layout. `-` is written to standard output
    #[arg(long)]
    fix: bool,
    /// Exit with 1 if there are warnings
    #[arg(long)]
    deny_warnings: bool,
    /// The listener verifies no client certificates, so no caller is known
    #[arg(long)]
    no_mutual_tls: bool,
    /// The route goes to a dynamic forward proxy, so callers choose the port
    #[arg(long)]
    dynamic_forward_proxy: bool,
    /// The policy is for TLS connections that are not terminated, so methods and paths are
    /// unknown. Not needed for a manifest with `type: NETWORK`
    #[arg(long)]
    connections: bool,
    /// The time that `until` is compared with, in RFC 3339. Default: now
    #[arg(long, value_name = "TIME", default_value_t = egress_warden_simulate::time::now(), hide_default_value = true)]
    at: Time,
}

/// What the proxy that a policy is for is like.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Surroundings {
    pub(crate) at: Time,
    pub(crate) has_mutual_tls: bool,
    pub(crate) is_dynamic_forward_proxy: bool,
    pub(crate) judges_connections: bool,
}

/// Checks one policy after the other; one that cannot be read does not keep others from it.
pub(crate) fn run(args: &Args, console: &mut Console) -> Result<Outcome, Failure> {
    let surroundings = Surroundings {
        at: args.at,
        has_mutual_tls: !args.no_mutual_tls,
        is_dynamic_forward_proxy: args.dynamic_forward_proxy,
        judges_connections: args.connections,
    };
    let mut unreadable = None;
    let mut objections = 0_usize;
    let mut answers = Vec::new();
    for path in &args.policies {
        let (file, surroundings, fixed) = match read(path, args.fix, surroundings) {
            Ok(read) => read,
            Err(failure) => {
                // The last one is told by whoever called.
                if let Some(earlier) = unreadable.replace(failure) {
                    console.fail(&earlier);
                }
                continue;
            }
        };
        let reports = examine(&file, surroundings);
        let counts = |report: &&Diagnostic| match report.level {
            Level::Error => true,
            Level::Warning => args.deny_warnings,
            Level::Note => false,
        };
        objections = objections.saturating_add(reports.iter().filter(counts).count());
        match console.format() {
            Format::Text if args.fix && path == Path::new("-") => {
                console.bytes(file.text().as_bytes())?;
                diagnostics::write(&file, &reports, fixed, |text| {
                    console.note(text);
                    Ok(())
                })?;
            }
            Format::Text => diagnostics::write(&file, &reports, fixed, |text| console.line(text))?,
            Format::Json => answers.push(diagnostics::json(&file, &reports, fixed)),
        }
    }
    if console.format() == Format::Json {
        console.json(&serde_json::json!({ "policies": answers }))?;
    }
    unreadable.map_or(Ok(Outcome::of_findings(objections)), Err)
}

/// Reads a policy and says how many of its errors were mended where they are to be; a manifest knows
/// its surroundings better.
fn read(
    path: &Path,
    is_to_be_fixed: bool,
    surroundings: Surroundings,
) -> Result<(PolicyFile, Surroundings, usize), Failure> {
    let file = PolicyFile::read(path)?;
    let judges_connections = surroundings.judges_connections || file.connections().is_some();
    let surroundings = Surroundings { judges_connections, ..surroundings };
    let (file, fixed) = match is_to_be_fixed {
        true => rewritten(path, file, surroundings)?,
        false => (file, 0),
    };
    Ok((file, surroundings, fixed))
}

/// Everything there is to say of a policy, in the order of its text.
fn examine(file: &PolicyFile, surroundings: Surroundings) -> Vec<Diagnostic> {
    let mut reports: Vec<Diagnostic> = match file.config() {
        Err(errors) => errors.iter().map(|error| Diagnostic::of_policy(file, error)).collect(),
        Ok(_) => warnings::of(file, surroundings),
    };
    reports.sort_by_key(|report| (report.finding.span.start, report.level != Level::Error));
    reports
}

/// Mends a policy where it stands; says how many edits that took.
fn rewritten(
    path: &Path,
    file: PolicyFile,
    surroundings: Surroundings,
) -> Result<(PolicyFile, usize), Failure> {
    let before = file.text().to_owned();
    let (file, fixed) = mended(file, surroundings)?;
    if fixed > 0 && path != Path::new("-") {
        rewriting::rewrite(path, before.as_bytes(), file.text().as_bytes())?;
    }
    Ok((file, fixed))
}

/// Applies edits until there is none left: one error may hide another.
pub(crate) fn mended(
    mut file: PolicyFile,
    surroundings: Surroundings,
) -> Result<(PolicyFile, usize), Failure> {
    const ROUNDS: usize = 8;
    let mut fixed = 0_usize;
    for _ in 0..ROUNDS {
        let edits = examine(&file, surroundings).into_iter().filter_map(|report| report.edit);
        let edits: Vec<_> = edits.collect();
        if edits.is_empty() {
            break;
        }
        let (next, count) = fix::apply(&file, edits)?;
        fixed = fixed.saturating_add(count);
        file = next;
    }
    Ok((file, fixed))
}
