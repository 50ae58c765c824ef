//! `report`: what logs come to, as one page for people.

use crate::console::{BAD, Console, Format, NAME, counted, styled};
use crate::failure::{Failure, Outcome};
use crate::logs::{self, Choice, Tally};
use crate::output::{failed, is_replaceable, of_somebody_else};
use crate::page::{self, About, Built, Judge, Policy, Traffic};
use crate::policy_file::PolicyFile;
use serde::Serialize;
use std::path::{Path, PathBuf};

/// Writes what logs come to as one page, to be opened in a browser
///
/// The page is one HTML file. It loads nothing and sends nothing, and works from disk. It shows totals
/// and a timeline by decision; who called which host; tables of callers, hosts, rules and reasons; the
/// rules that no verdict names; and for each refusal the rule that would open it, or why none does. In
/// the page the policy can be edited: it shows the errors of the text, and which of the logged requests
/// the edited policy decides otherwise.
///
/// With `--policy` the requests are judged by that policy, as `replay` judges them. Without it the page
/// shows the verdicts of the log.
///
/// Logs are read as `replay` reads them, and what its help says of them is true here. Logs without a
/// request give a page that says so.
///
/// Whoever gets the page can read callers, hosts, paths and the policy in it. Queries are cut off, since
/// tokens may stand there; `--queries` keeps them.
///
/// A page has at most 5 MiB. Totals and the timeline count every request. Of flows (caller, host, port,
/// verdict) and of distinct requests the page holds the most frequent, and says how many requests are
/// not among them.
///
/// `--format json` writes one object about the page: `complete`, `output`, `bytes`, `policy`, `requests`,
/// `allowed`, `denied`, `undecided`, `would_be_denied`, and `lines` as in `replay`.
///
/// Exit codes: 0 the page is written; 2 wrong usage, or too much of the input is unreadable. In the
/// latter case the page is written all the same, and says so first.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  egress-warden report access.log.gz access.log -o report.html
  egress-warden report access.log --policy policy.yaml -o report.html")]
pub(crate) struct Args {
    /// The logs. `-` is standard input
    #[arg(required = true)]
    logs: Vec<PathBuf>,
    /// Judge the requests by this policy, in YAML or JSON
    #[arg(long, value_name = "POLICY")]
    policy: Option<PathBuf>,
    /// If that file holds several policies: the one of this name, or in the manifest of this name
    #[arg(long, value_name = "NAME", requires = "policy")]
    document: Option<String>,
    /// Where to write the page. An earlier page is replaced, another file is not. `-` is standard
    /// output
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
    /// Keep the queries of requests in the page. Secrets may stand there
    #[arg(long)]
    queries: bool,
    #[command(flatten)]
    choice: Choice,
}

/// The answer about a page. Its keys are stable.
#[derive(Debug, Serialize)]
struct Answer<'a> {
    /// Whether the logs were read, but for a small share of their lines.
    complete: bool,
    output: String,
    bytes: usize,
    /// Name and hash of the policy, as records have it.
    policy: Option<&'a str>,
    requests: u64,
    allowed: u64,
    denied: u64,
    /// The log has no verdict, or the policy's depends on a time that the log does not have.
    undecided: u64,
    would_be_denied: u64,
    lines: &'a Tally,
}

pub(crate) fn run(args: &Args, built: Built, console: &mut Console) -> Result<Outcome, Failure> {
    let is_file = args.output != Path::new("-");
    // Told before the logs are read, which may take minutes.
    if is_file && !is_replaceable(&args.output, page::MARK)? {
        return Err(of_somebody_else(&args.output, "egress-warden report"));
    }
    let loaded = match &args.policy {
        Some(path) => Some(PolicyFile::load(path, args.document.as_deref(), console)?),
        None => None,
    };
    let connections = args.choice.root_id.connections(loaded.as_ref().map(|(file, _)| file));
    let config = loaded.as_ref().map(|(_, config)| config);
    let judge = Judge { config, connections, with_queries: args.queries };
    let mut traffic = Traffic::default();
    let tally = logs::scan_any(
        &args.logs,
        &args.choice,
        |chunk: &mut Traffic, logged, _| chunk.push(logged, judge),
        |chunk| {
            traffic.add(chunk);
            Ok(())
        },
    )?;
    tally.tell(console);
    let nothing = tally.nothing_read();
    let about = About {
        tally: &tally,
        empty: nothing.as_ref().map(ToString::to_string),
        policy: loaded.as_ref().map(|(file, config)| Policy { file, config }),
        root_id: connections.to_string(),
        with_queries: args.queries,
    };
    let page = page::write(&traffic, &about, built)
        .map_err(|error| Failure::new("report", error.to_string(), "make room"))?;
    if is_file {
        std::fs::write(&args.output, &page).map_err(|error| failed(&args.output, &error))?;
        tell(args, &traffic, &tally, config.map(|it| &*it.revision), page.len(), console)?;
    } else {
        console.bytes(&page)?;
    }
    match nothing {
        Some(failure) => Err(failure),
        None => Ok(tally.outcome(Outcome::Yes)),
    }
}

fn tell(
    args: &Args,
    traffic: &Traffic,
    tally: &Tally,
    policy: Option<&str>,
    bytes: usize,
    console: &mut Console,
) -> Result<(), Failure> {
    let [allowed, denied, undecided] = traffic.decided();
    let output = args.output.display().to_string();
    if console.format() == Format::Json {
        return console.json(&Answer {
            complete: tally.is_complete(),
            output,
            bytes,
            policy,
            requests: tally.requests(),
            allowed,
            denied,
            undecided,
            would_be_denied: traffic.would_be_refused(),
            lines: tally,
        });
    }
    if let Some(caveat) = tally.caveat() {
        console.line(styled(BAD, caveat))?;
    }
    let by = policy.map(|policy| format!(" through {policy}")).unwrap_or_default();
    let without = match undecided {
        0 => String::new(),
        count => format!(", {count} without a verdict"),
    };
    console.line(format_args!(
        "{}: {}{by}: {allowed} allowed, {denied} denied{without}",
        styled(NAME, output),
        counted(tally.requests(), "request"),
    ))
}
