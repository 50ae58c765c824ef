//! `learn`: proposes a policy from logged requests.

mod appraisal;
mod draft;
mod nameless;
mod patterns;
mod proposal;
mod sightings;

use crate::console::{Console, Format, counted};
use crate::failure::{Failure, Outcome};
use crate::logs::{Choice, Group, Shown, Tally};
use crate::policy_file::PolicyFile;
use crate::policy_text::{self, Output};
use appraisal::Thresholds;
use draft::{Apart, Draft, Settings, Summary};
use egress_warden::config::{self, Config};
use serde::Serialize;
use serde_json::Value;
use sightings::Sightings;
use std::path::PathBuf;
use std::time::Duration;

/// Proposes a small readable policy that allows what a log has seen
///
/// Ordinary requests become allow rules. A request is ordinary if it passed at least 10 times, from one
/// namespace to one host and port; 50 times if a single caller made all of them; and in a log of a day
/// or longer, in 3 different hours.
///
/// A request passed if the log shows that an upstream got it: `upstream_host`, or the details
/// `via_upstream`; of a connection, bytes as well. What the mesh refused in any way, or could not
/// deliver, proves nothing. A log without `upstream_host` and `response_code_details` shows it by a
/// 2xx answer without flags. The filter's own lines do not show it.
///
/// The port is that of the cluster, the authority or the upstream. If none says it, it stays open: so in
/// a sidecar's log of the way to the gateway, because the gateway dials another port. Requests within
/// the mesh are counted and not used.
///
/// A rule names a namespace if at least half of its callers, and at least three, use a host. It names
/// every verified caller if four fifths of the namespaces do. It covers none of the callers and hosts
/// that never passed. Each rule's note says how many requests passed, of how many callers, and when they
/// were seen.
///
/// A pattern stands for at least 5 ordinary hosts of one port. It is a glob if a single label varies, or
/// a part of one up to a `-`: `sts.*.example.com`, `api-*.example.com`. It is a wildcard if the hosts
/// have a name above them in common. A rule that would list a name and the wildcard below it lists
/// `.example.com`. No pattern reaches a name under which anybody can take one, as `*.amazonaws.com`
/// does.
///
/// All other requests follow as comments, with what is odd about them: never passed when seen, similar
/// to a name seen 20 times as often, an address, a special name, not ASCII, a tunnel, an open port, a
/// caller who is not verified while others are, without a readable time, rare. None of them is allowed.
/// A person decides.
///
/// Logs are read as `replay` reads them: a record must begin its line, or follow a known prefix. A
/// format that writes JSON by hand (`text_format`) escapes nothing, so callers can add fields: learn
/// from `json_format` only.
///
/// A log without callers (Istio's own) gives rules for any caller. Paths and methods are not
/// restricted; a note lists the methods.
///
/// Requests without a readable time are counted, and allow nothing: whether they are of 3 different hours
/// is not known. If too many lines cannot be read (`--max-unread`), the first line of the proposal says
/// so, and the exit code is 2.
///
/// `--format json` writes one object: `complete`, `policy`, `summary` {requests, callers,
/// unverified_callers, hosts, pairs, allowed_pairs, rules, entries}, `known`, `malformed`, `nameless`
/// {requests, examples, ways [{upstream_host, upstream_cluster, connections, reason, remedy}]}, `within_mesh` and `dialled_elsewhere` {requests, examples}, `apart` [{reason, host, port, connect, requests, callers, like}],
/// `lines` as in `replay`.
///
/// Exit codes: 0 a proposal; 2 wrong usage, or too much of the input is unreadable.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  egress-warden learn access.log.gz --mode monitor -o policy.yaml
  egress-warden learn --base policy.yaml access.log")]
pub(crate) struct Args {
    /// The logs. `-` is standard input
    #[arg(required = true)]
    logs: Vec<PathBuf>,
    /// Propose only what this policy does not allow yet
    #[arg(long, value_name = "POLICY")]
    base: Option<PathBuf>,
    /// If that file holds several policies: the one of this name, or in the manifest of this name
    #[arg(long, value_name = "NAME", requires = "base")]
    document: Option<String>,
    /// The name of the proposed policy. Default: the name of the base, or `learnt`
    #[arg(long, value_name = "NAME", value_parser = policy_text::name)]
    name: Option<String>,
    /// How many requests make a destination ordinary
    #[arg(long, value_name = "COUNT", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..))]
    min_requests: u64,
    /// How many hosts make a wildcard or a glob
    #[arg(long, value_name = "COUNT", default_value_t = 5, value_parser = clap::value_parser!(u16).range(2..))]
    wildcard_from: u16,
    /// Learn from requests that did not pass too
    #[arg(long)]
    with_refused: bool,
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    choice: Choice,
}

/// How many times as many requests a single caller must make.
const ALONE: u64 = 5;
/// Fewest distinct hours in a long log.
const HOURS: usize = 3;
/// From when on a log is long: a day.
const LONG: Duration = Duration::from_secs(86_400);

pub(crate) fn run(args: &Args, console: &mut Console) -> Result<Outcome, Failure> {
    let base = match &args.base {
        Some(path) => Some(PolicyFile::load(path, args.document.as_deref(), console)?),
        None => None,
    };
    let connections = args.choice.root_id.connections(base.as_ref().map(|(file, _)| file));
    let base = base.map(|(_, config)| config);
    let policy = base.as_ref().map(|base| &base.policy);
    let (sightings, tally) =
        sightings::read(&args.logs, &args.choice, connections, policy, args.with_refused)?;
    tally.tell(console);
    let is_long = sightings.span().is_some_and(|(first, last)| first.until(last) >= Some(LONG));
    let settings = Settings {
        thresholds: Thresholds {
            requests: args.min_requests,
            alone: ALONE,
            hours: if is_long { HOURS } else { 0 },
        },
        wildcard_from: args.wildcard_from.into(),
    };
    let taken = base.iter().flat_map(|base| base.policy.rules()).map(|rule| rule.id.to_string());
    let draft = Draft::new(&sightings, settings, taken.collect());
    let name = args.name.as_deref().or(base.as_ref().map(|base| &*base.name)).unwrap_or("learnt");
    let mode = args.output.mode;
    let policy = draft.policy(name, mode, proposal::note);
    // What cannot be read must not be proposed.
    let proposed = config::read(policy.to_string().as_bytes()).map_err(|errors| {
        let remedy = "learn from fewer logs, or raise --min-requests";
        Failure::new("the proposal", errors.to_string().replace('\n', "; "), remedy)
    })?;
    let introduction = introduction(&draft, &sightings, &tally, base.as_ref());
    let text = proposal::text(&draft, name, mode, &introduction);
    args.output.write(&text, &proposed, console)?;
    if console.format() == Format::Json {
        console.json(&Answer::new(&draft, policy, &sightings, &tally))?;
    }
    Ok(tally.outcome(Outcome::Yes))
}

fn introduction(
    draft: &Draft,
    sightings: &Sightings,
    tally: &Tally,
    base: Option<&Config>,
) -> Vec<String> {
    let Summary { requests, callers, hosts, pairs, allowed_pairs, rules, entries } = &draft.summary;
    let when = sightings.span().map(|time| {
        proposal::when(&sightings::Sighting { time: Some(time), ..Default::default() })
    });
    let mut lines = Vec::from_iter(tally.caveat());
    lines.extend([
        format!(
            "Proposed from {} of {callers} to {}{}.",
            counted(*requests, "request"),
            count(*hosts, "host"),
            when.unwrap_or_default()
        ),
        format!(
            "Allowed: {allowed_pairs} of {} of caller and host, by {} with {}; {} left to a person.",
            count(*pairs, "pair"),
            count(*rules, "rule"),
            if *entries == 1 { "1 entry".to_owned() } else { format!("{entries} entries") },
            count(draft.apart.len(), "destination"),
        ),
        format!("{}.", tally.origin()),
    ]);
    if let Some(base) = base {
        lines.push(format!(
            "Only what {} does not allow yet: it let {} through.",
            base.revision,
            counted(sightings.known(), "request")
        ));
    }
    let left_out = [
        (&sightings.malformed, "malformed request", ": no policy can allow them"),
        (&sightings.within, "request", " within the mesh: no egress, and not used"),
        (
            &sightings.elsewhere,
            "request",
            " of a waypoint to another host than they name, or to one that is unknown: not used",
        ),
    ];
    for (group, noun, what) in left_out {
        lines.extend(left_out_lines(group, noun, what, tally));
    }
    lines.extend(sightings.nameless.lines(tally));
    if *rules == 0 && draft.apart.is_empty() {
        lines.push("No rule: no request in the log is a reason for one.".to_owned());
    }
    lines
}

/// Lines about requests that are neither in a rule nor left to a person.
fn left_out_lines(group: &Group, noun: &str, what: &str, tally: &Tally) -> Vec<String> {
    if group.requests == 0 {
        return Vec::new();
    }
    let mut lines = vec![format!("{}{what}, such as:", counted(group.requests, noun))];
    let shown = group.shown(tally);
    lines.extend(shown.iter().map(|example| format!("  {example}")));
    lines
}

fn count(count: usize, noun: &str) -> String {
    counted(count as u64, noun)
}

/// The answer. Its keys are stable.
#[derive(Debug, Serialize)]
struct Answer<'a> {
    /// Whether the logs were read, but for a small share of their lines.
    complete: bool,
    /// The proposed policy, as the filter reads it.
    policy: Value,
    summary: &'a Summary,
    /// Requests that the base lets through already.
    known: u64,
    malformed: u64,
    /// Connections without a server name.
    nameless: nameless::Answer<'a>,
    within_mesh: LeftOut<'a>,
    /// Requests that dialled another host at a waypoint than they name.
    dialled_elsewhere: LeftOut<'a>,
    /// What no rule allows.
    apart: Vec<ApartAnswer<'a>>,
    lines: &'a Tally,
}

/// Requests that are neither in a rule nor left to a person.
#[derive(Debug, Serialize)]
struct LeftOut<'a> {
    requests: u64,
    examples: Vec<Shown<'a>>,
}

impl<'a> LeftOut<'a> {
    fn new(group: &'a Group, tally: &'a Tally) -> Self {
        Self { requests: group.requests, examples: group.shown(tally) }
    }
}

#[derive(Debug, Serialize)]
struct ApartAnswer<'a> {
    reason: &'static str,
    host: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    port: Option<u16>,
    connect: bool,
    requests: u64,
    /// `null`: not verified.
    callers: &'a [Option<String>],
    /// The much more frequent name that it looks like.
    #[serde(skip_serializing_if = "Option::is_none")]
    like: Option<&'a str>,
}

impl<'a> Answer<'a> {
    fn new(draft: &'a Draft, policy: Value, sightings: &'a Sightings, tally: &'a Tally) -> Self {
        let apart = draft.apart.iter().map(|it: &Apart| ApartAnswer {
            reason: it.oddity.as_str(),
            host: &it.host,
            port: it.port,
            connect: it.is_connect,
            requests: it.seen.requests(),
            callers: &it.callers,
            like: match &it.oddity {
                appraisal::Oddity::Like(name) => Some(name),
                _ => None,
            },
        });
        Self {
            complete: tally.is_complete(),
            policy,
            summary: &draft.summary,
            known: sightings.known(),
            malformed: sightings.malformed.requests,
            nameless: sightings.nameless.answer(tally),
            within_mesh: LeftOut::new(&sightings.within, tally),
            dialled_elsewhere: LeftOut::new(&sightings.elsewhere, tally),
            apart: apart.collect(),
            lines: tally,
        }
    }
}
