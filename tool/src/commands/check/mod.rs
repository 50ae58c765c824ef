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
use crate::document::TextError;
use crate::failure::{Failure, Outcome};
use crate::finding::Finding;
use crate::policy_file::{Policies, PolicyFile, folder};
use crate::report::{Entry, Region, Report, Subject};
use egress_warden::place::Place;
use egress_warden::time::Time;
use std::path::{Path, PathBuf};

/// Checks policies: reports all errors at once, then warnings
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  egress-warden check policy.yaml
  egress-warden check --fix policies/
  kubectl get wasmplugin -A -o yaml | egress-warden check -
  egress-warden check --deny-warnings --format json policy.yaml
  egress-warden check --format sarif policies/ >check.sarif

Exit codes: 0 no error, 1 an error (or a warning, with --deny-warnings),
2 unreadable input.")]
pub(crate) struct Args {
    /// Policies in YAML or JSON, or folders of them. `-` is standard input. A file may hold several
    /// documents, or the list that `kubectl get` writes: each policy in it is checked. What carries
    /// no policy is passed over with a note
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
    /// The policy is for a waypoint of Istio's ambient mode
    #[arg(long, conflicts_with_all = ["no_mutual_tls", "dynamic_forward_proxy"])]
    waypoint: bool,
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
    pub(crate) place: Place,
}

/// Checks one file after the other; one that cannot be read does not keep others from it.
pub(crate) fn run(args: &Args, console: &mut Console) -> Result<Outcome, Failure> {
    let mut check =
        Check { args, unreadable: None, objections: 0, answers: Vec::new(), subjects: Vec::new() };
    for path in &args.policies {
        match path.is_dir() {
            true => check.folder(path, console)?,
            false => match Policies::read(path) {
                Ok(file) => check.file(path, file, console)?,
                Err(failure) => check.put_off(failure, console),
            },
        }
    }
    let Check { unreadable, objections, answers, subjects, .. } = check;
    if let Some(form) = console.form() {
        let report = Report { command: "check", is_complete: unreadable.is_none(), subjects };
        report.write(form, console)?;
    } else if console.format() == Format::Json {
        console.json(&serde_json::json!({ "policies": answers }))?;
    }
    unreadable.map_or(Ok(Outcome::of_findings(objections)), Err)
}

/// What was found so far.
struct Check<'a> {
    args: &'a Args,
    /// The last failure, which is told by whoever called; earlier ones were.
    unreadable: Option<Failure>,
    objections: usize,
    answers: Vec<serde_json::Value>,
    /// The policies, where a report is wanted.
    subjects: Vec<Subject>,
}

impl Check<'_> {
    /// Checks what is a policy in a folder and below, and says what is none.
    fn folder(&mut self, folder: &Path, console: &mut Console) -> Result<(), Failure> {
        let files = match folder::files(folder) {
            Ok(files) => files,
            Err(failure) => {
                self.put_off(failure, console);
                return Ok(());
            }
        };
        let mut others = Vec::new();
        let count = files.len();
        for path in files {
            match Policies::look_into(&path) {
                Ok(file) if file.files().is_empty() => {
                    others.push(folder::told(folder, &path, &file));
                }
                Ok(file) => self.file(&path, file, console)?,
                Err(failure) => self.put_off(failure, console),
            }
        }
        if others.len() == count {
            self.put_off(folder::without_policy(folder), console);
        } else {
            folder::tell_others(folder, &others, console);
        }
        Ok(())
    }

    fn file(
        &mut self,
        path: &Path,
        policies: Policies,
        console: &mut Console,
    ) -> Result<(), Failure> {
        let (policies, fixed) = match self.rewritten(path, policies) {
            Ok(rewritten) => rewritten,
            Err(failure) => {
                self.put_off(failure, console);
                return Ok(());
            }
        };
        policies.tell_others(console);
        let is_output_a_policy = self.args.fix && path == Path::new("-");
        let is_report = console.form().is_some();
        if is_output_a_policy && !is_report && console.format() == Format::Text {
            console.bytes(policies.document().text().as_bytes())?;
        }
        let mark = policies.document().mark();
        for ((index, file), fixed) in policies.files().iter().enumerate().zip(fixed) {
            let mark = mark.clone().filter(|_| index == 0);
            let reports = examine(file, mark, self.args.surroundings());
            self.objections = self.objections.saturating_add(self.count(&reports));
            if is_report {
                self.subjects.push(self.subject(file, &reports));
                continue;
            }
            match console.format() {
                Format::Text if is_output_a_policy => {
                    diagnostics::write(file, &reports, fixed, |text| {
                        console.note(text);
                        Ok(())
                    })?;
                }
                Format::Text => {
                    diagnostics::write(file, &reports, fixed, |text| console.line(text))?;
                }
                Format::Json => self.answers.push(diagnostics::json(file, &reports, fixed)),
            }
        }
        Ok(())
    }

    /// Mends the policies of a file where they are to be mended; says how many edits each took.
    fn rewritten(
        &self,
        path: &Path,
        policies: Policies,
    ) -> Result<(Policies, Vec<usize>), Failure> {
        if !self.args.fix {
            let fixed = vec![0; policies.files().len()];
            return Ok((policies, fixed));
        }
        let before = policies.document().bytes();
        let (policies, fixed) = mended(policies, self.args.surroundings())?;
        if fixed.iter().any(|fixed| *fixed > 0) && path != Path::new("-") {
            rewriting::rewrite(path, &before, &policies.document().bytes())?;
        }
        Ok((policies, fixed))
    }

    /// How many reports make the exit code 1.
    fn count(&self, reports: &[Diagnostic]) -> usize {
        reports.iter().filter(|report| self.fails(report.level)).count()
    }

    fn fails(&self, level: Level) -> bool {
        match level {
            Level::Error => true,
            Level::Warning => self.args.deny_warnings,
            Level::Note => false,
        }
    }

    /// A policy in a report.
    fn subject(&self, file: &PolicyFile, reports: &[Diagnostic]) -> Subject {
        let entry = |report: &Diagnostic| {
            let Finding { path, span, .. } = &report.finding;
            Entry {
                kind: report.kind,
                level: report.level,
                fails: self.fails(report.level),
                message: report.told(),
                path: Some(path.clone()),
                region: Region::of(file.document(), span),
            }
        };
        Subject {
            file: file.name().to_owned(),
            name: file.label(),
            entries: reports.iter().map(entry).collect(),
        }
    }

    /// Goes on with other files.
    fn put_off(&mut self, failure: Failure, console: &mut Console) {
        if let Some(earlier) = self.unreadable.replace(failure) {
            console.fail(&earlier);
        }
    }
}

impl Args {
    fn surroundings(&self) -> Surroundings {
        Surroundings {
            at: self.at,
            has_mutual_tls: !self.no_mutual_tls,
            is_dynamic_forward_proxy: self.dynamic_forward_proxy,
            judges_connections: self.connections,
            place: if self.waypoint { Place::Waypoint } else { Place::Gateway },
        }
    }
}

/// Everything there is to say of a policy, in the order of its text; a manifest knows its surroundings
/// better. `mark` is the error of a byte-order mark before the text.
fn examine(
    file: &PolicyFile,
    mark: Option<Finding<TextError>>,
    surroundings: Surroundings,
) -> Vec<Diagnostic> {
    let judges_connections = surroundings.judges_connections || file.connections().is_some();
    let surroundings = Surroundings { judges_connections, ..surroundings };
    let mut reports: Vec<Diagnostic> = match file.config() {
        Err(errors) => errors.iter().map(|error| Diagnostic::of_policy(file, error)).collect(),
        Ok(_) => warnings::of(file, surroundings),
    };
    reports.extend(mark.map(Diagnostic::of_mark));
    reports.sort_by_key(|report| (report.finding.span.start, report.level != Level::Error));
    reports
}

/// Applies edits until there is none left: one error may hide another. Says how many edits each policy
/// took.
pub(crate) fn mended(
    mut policies: Policies,
    surroundings: Surroundings,
) -> Result<(Policies, Vec<usize>), Failure> {
    const ROUNDS: usize = 8;
    let mut fixed = vec![0_usize; policies.files().len()];
    for _ in 0..ROUNDS {
        let mut mark = policies.document().mark();
        let mut edits = Vec::new();
        for (file, fixed) in policies.files().iter().zip(&mut fixed) {
            let reports = examine(file, mark.take(), surroundings).into_iter();
            let own = fix::distinct(reports.filter_map(|report| report.edit).collect());
            *fixed = fixed.saturating_add(own.len());
            edits.extend(own);
        }
        if edits.is_empty() {
            break;
        }
        policies = fix::apply(&policies, edits)?;
    }
    Ok((policies, fixed))
}
