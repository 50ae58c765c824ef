//! `verify`: whether a running proxy is what it must be for a policy.

use crate::console::{BAD, Console, FRAME, Format, GOOD, NAME, ODD, counted, styled};
use crate::diagnostics::Level;
use crate::failure::{Failure, Outcome};
use crate::policy_file::{PolicyFile, Which};
use crate::report::{self, Entry, Subject};
use crate::verify::source::{self, Question};
use crate::verify::{Expected, Found, Policy, Report, Text, verify};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// Compares a running Envoy or Istio gateway with a policy, by its configuration dump
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  egress-warden verify policy.yaml --config-dump http://127.0.0.1:15000
  kubectl exec -n istio-system deploy/istio-egressgateway -- \\
    pilot-agent request GET 'stats?format=json' > stats.json
  kubectl exec -n istio-system deploy/istio-egressgateway -- \\
    pilot-agent request GET config_dump \\
    | egress-warden verify policy.yaml --config-dump - --stats stats.json

JSON: `policy`, `proxy` (`node`, `envoy`, `istio`), `configured`, `modules`,
`chains`, `listeners`, `not_checked`, and `findings`, each with `level`, `kind`,
`place`, `found` and `remedy`.

What it cannot see: whether every worker runs the filter (only the guard holds
then), and what is in front of the gateway or behind it.

Exit codes: 0 no error, 1 an error (or a warning, with --deny-warnings),
2 unreadable input.")]
pub(crate) struct Args {
    /// The policy that is to run, in YAML or JSON
    #[arg(value_name = "POLICY")]
    policy: PathBuf,
    #[command(flatten)]
    which: Which,
    /// The policy for TLS connections that are passed on, if it is another
    #[arg(long, value_name = "POLICY")]
    connections: Option<PathBuf>,
    /// What the proxy answers to `/config_dump?include_eds`: a file, `-` for standard input, or
    /// its admin address such as http://127.0.0.1:15000
    #[arg(long, value_name = "FILE|URL")]
    config_dump: String,
    /// What it answers to `/stats?format=json` or `/stats`, to see whether an update was refused
    /// and whether the guard refused anything. Not needed beside an admin address
    #[arg(long, value_name = "FILE|URL")]
    stats: Option<String>,
    /// Exit with 1 if there are warnings
    #[arg(long)]
    deny_warnings: bool,
}

/// Yes where nothing is wrong.
pub(crate) fn run(args: &Args, console: &mut Console) -> Result<Outcome, Failure> {
    args.read_standard_input_once()?;
    let of_requests = PolicyFile::load(&args.policy, args.which.name(), console)?;
    let of_connections = match &args.connections {
        Some(path) => Some(PolicyFile::load(path, None, console)?),
        None => None,
    };
    let dump = source::read(&args.config_dump, Question::ConfigDump)?;
    // An admin address has both.
    let is_address = source::is_address(&args.config_dump);
    let stats_source = args.stats.as_ref().or_else(|| is_address.then_some(&args.config_dump));
    let stats = stats_source.map(|it| source::read(it, Question::Stats)).transpose()?;

    let (file, config) = &of_requests;
    let own = source_of(file)?;
    let other = of_connections.as_ref();
    let other_source = other.map(|(file, _)| source_of(file)).transpose()?;
    let requests = Policy { config, source: &own };
    let connections = match (other, &other_source) {
        (Some((_, config)), Some(source)) => Policy { config, source },
        _ => requests,
    };
    let name = source::name(&args.config_dump);
    let stats_name = stats_source.map(|it| source::name(it)).unwrap_or_default();
    let report = verify(
        Expected { requests, connections },
        Text { name: &name, bytes: &dump },
        stats.as_deref().map(|bytes| Text { name: &stats_name, bytes }),
    )?;

    let revision = &*config.revision;
    match (console.form(), console.format()) {
        (Some(form), _) => {
            let subject = subject(&report, name, revision, args.deny_warnings);
            let subjects = vec![subject];
            report::Report { command: "verify", is_complete: true, subjects }
                .write(form, console)?;
        }
        (None, Format::Json) => console.json(&json_of(&report, revision))?,
        (None, Format::Text) => write(&report, revision, stats.is_some(), console)?,
    }
    let warnings = if args.deny_warnings { report.count(Level::Warning) } else { 0 };
    Ok(Outcome::of_findings(report.count(Level::Error).saturating_add(warnings)))
}

impl Args {
    /// Standard input can be one of the inputs.
    fn read_standard_input_once(&self) -> Result<(), Failure> {
        let paths = [Some(self.policy.as_path()), self.connections.as_deref()];
        let sources = [Some(self.config_dump.as_str()), self.stats.as_deref()];
        let sources = sources.into_iter().flatten().map(Path::new);
        let all = paths.into_iter().flatten().chain(sources);
        match all.filter(|it| *it == Path::new("-")).count() {
            0 | 1 => Ok(()),
            _ => Err(Failure::new(
                "standard input",
                "several inputs are `-`",
                "write one of them to a file",
            )),
        }
    }
}

/// A valid policy as it is written.
fn source_of(file: &PolicyFile) -> Result<crate::policy_file::Source<'_>, Failure> {
    file.source().ok_or_else(|| Failure::new(file.name(), "not valid", "ask `egress-warden check`"))
}

/// The proxy in a report.
fn subject(report: &Report, dump: String, revision: &str, deny_warnings: bool) -> Subject {
    let entry = |found: &Found| Entry {
        kind: found.kind.id,
        level: found.kind.level,
        fails: match found.kind.level {
            Level::Error => true,
            Level::Warning => deny_warnings,
            Level::Note => false,
        },
        message: format!("{}: {}: {}", found.place, found.problem, found.kind.remedy),
        path: None,
        region: None,
    };
    let name = format!("the proxy runs {revision}");
    Subject { file: dump, name, entries: report.found.iter().map(entry).collect() }
}

/// Each finding, what was looked at and what was not, and the sum.
fn write(
    report: &Report,
    revision: &str,
    has_stats: bool,
    console: &mut Console,
) -> Result<(), Failure> {
    for found in &report.found {
        console.line(format_args!("{}\n", one(found)))?;
    }
    let versions = [("Envoy", &report.envoy), ("Istio", &report.istio), ("node", &report.node)];
    let versions =
        versions.into_iter().filter_map(|(what, it)| Some(format!("{what} {}", it.as_ref()?)));
    let versions: Vec<_> = versions.collect();
    if !versions.is_empty() {
        console.line(format_args!("proxy: {}", versions.join(", ")))?;
    }
    for module in &report.modules {
        console.line(format_args!("module: {module}"))?;
    }
    for listener in &report.listeners {
        console.line(format_args!("checked: listener {listener}"))?;
    }
    for (listener, why) in &report.others {
        console.line(format_args!("not checked: listener {listener}: {why}"))?;
    }
    if !has_stats {
        console.line("not checked: statistics: name them by `--stats`")?;
    }
    console.line(sum(report, revision))
}

fn one(found: &Found) -> String {
    let level = match found.kind.level {
        Level::Error => styled(BAD, "error").to_string(),
        Level::Warning => styled(ODD, "warning").to_string(),
        Level::Note => styled(FRAME, "note").to_string(),
    };
    format!(
        "{level}: `{}`: {}\n {} {}\n  {}",
        found.kind.id,
        found.problem,
        styled(FRAME, "-->"),
        found.place,
        found.kind.remedy
    )
}

fn sum(report: &Report, revision: &str) -> String {
    let (errors, warnings) = (report.count(Level::Error), report.count(Level::Warning));
    let chains = counted(report.chains as u64, "filter chain");
    let runs = match report.configured.contains(revision) {
        true => styled(GOOD, "configured").to_string(),
        false => styled(BAD, "not configured").to_string(),
    };
    let counts = |count: usize, noun| match count {
        0 => format!("no {noun}s"),
        count => counted(count as u64, noun),
    };
    format!(
        "{}: {runs}, {chains} checked, {}, {}",
        styled(NAME, revision),
        counts(errors, "error"),
        counts(warnings, "warning")
    )
}

fn json_of(report: &Report, revision: &str) -> Value {
    let others = report.others.iter();
    let others: Vec<_> =
        others.map(|(listener, why)| json!({"listener": listener, "why": why})).collect();
    let findings = report.found.iter().map(|found| {
        json!({
            "level": found.kind.level.as_str(),
            "kind": found.kind.id,
            "place": found.place,
            "found": found.problem,
            "remedy": found.kind.remedy,
        })
    });
    json!({
        "policy": revision,
        "proxy": {"node": report.node, "envoy": report.envoy, "istio": report.istio},
        "configured": report.configured,
        "modules": report.modules,
        "chains": report.chains,
        "listeners": report.listeners,
        "not_checked": others,
        "findings": findings.collect::<Vec<_>>(),
    })
}
