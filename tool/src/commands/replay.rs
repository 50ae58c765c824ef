//! `replay`: logged requests through a policy, and where it decides otherwise than the log.

use crate::console::{BAD, Console, FRAME, Format, NAME, counted, styled};
use crate::failure::{Failure, Outcome};
use crate::judgement::Judgement;
use crate::logs::{
    self, Choice, Comparison, Group, Logged, LoggedVerdict, Place, Recorded, Requests, Tally,
};
use crate::policy_file::{PolicyFile, Which};
use egress_warden::config::Config;
use egress_warden::policy::{
    Action, Attempt, ClusterPort, FieldMiss, Miss, Policy, Reason, Request, Verdict,
};
use egress_warden::root_id::Connections;
use serde::Serialize;
use std::collections::HashMap;
use std::path::PathBuf;

/// Decides logged requests again, and compares with the log
///
/// Shows totals by decision, reason and rule, and where the policy decides otherwise than the log says.
///
/// Input: Envoy's access log in JSON or text, the filter's own lines, and what others decided:
/// Smokescreen's `CANONICAL-PROXY-DECISION` (JSON or text), Squid's own log format, Hubble's flows in
/// JSON; plain, gzip, zstd, xz or bzip2. Of text
/// the default formats of Istio and Envoy are known; `--log-format` takes any other. Of JSON the names
/// of Istio, Envoy Gateway, Contour and OpenTelemetry are known; `--field` takes others.
///
/// A record must begin its line, or follow a known prefix: CRI, `kubectl logs` (`--prefix`,
/// `--timestamps`), stern, docker compose, logcli, `aws logs tail`, journald, or Envoy's own log. The line may be wrapped by collectors, also
/// several times: text or an object under a known key (`log`, `message`, `line`, `textPayload`,
/// `jsonPayload`, `_source`, …), JSON arrays, objects over several lines, the answers of Loki,
/// Elasticsearch, CloudWatch and Google. Parts of a line that a container runtime cut are joined. JSON at
/// any other place in a line is text of a caller and is not read, and neither is a line of text that can
/// be read in several ways. The output says how many lines of which form were read.
///
/// If more than 1 % of the lines cannot be read (`--max-unread`), the answer says so first, and the exit
/// code is 2.
///
/// The time of a request is its `start_time`, `@timestamp` or `timestamp`: RFC 3339 with any offset, or
/// seconds, milliseconds, microseconds or nanoseconds since 1970. If a line has none, and the decision
/// depends on it, the request is `undated`: counted, and not decided.
///
/// A line with neither method nor authority is a TLS connection that was not terminated; it is judged as
/// one and counted among the requests.
///
/// A log does not tell everything. Istio's own log names no caller: such requests are judged as not
/// verified. No log says whether a connection without a server name was TLS: it is taken for TLS if a
/// caller is named. No log says that a GET was an upgrade to a tunnel. The filter's own lines cut long
/// values: a cut path is unknown. They have the judged port, not the cluster's, if that policy read no
/// cluster. The access log of a refused connection has no port: the root id's port is used.
///
/// If the policy allowed a logged request, and the cluster in the log has a port that the rule does not
/// allow, then the request took another route than the judged one, or the guard refused it. Such lines
/// are counted and named.
///
/// Without a verdict of the filter, a request that the mesh did not let through counts as refused in the
/// log (`deny refused_by_mesh`): no upstream got it, and no failure on the way is named. Requests that
/// were not passed on though no filter denied them are counted in a line of their own.
///
/// Of others, a tunnel to a host and port counts as a TLS connection there, and so does a request whose
/// method is not logged. Their verdicts count as the log's (`refused_by_squid`). They name callers by
/// role, address or pod, which is no verified SPIFFE id: such requests are judged as not verified. Of
/// Hubble, requests and connections are read that leave the cluster to a host with one name; other flows
/// are passed over and counted.
///
/// `--format json` writes one object: `complete`, `policy`, `requests`, `allowed`, `denied`, `verdicts` and `would`
/// [{decision, reason, rule, requests, examples [{place, method, authority, path, principal}]}],
/// `logged` {same, other_reason, other_decision, none, refused_otherwise, failed, unlisted},
/// `differences` [{logged, now, requests, examples}], `rerouted` and `undated` {requests, examples},
/// `lines` {access_log, filter, others, forms [{form, prefix, lines}], connections, left_out,
/// passed_over, without_caller_field, without_time, unread {lines, first [{place, problem, text}]}}.
///
/// Exit codes: 0 every decision is the one in the log, or the log has none; 1 some differ or are not
/// decided; 2 wrong usage, or too much of the input is unreadable.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  egress-warden replay policy.yaml access.log.gz access.log")]
pub(crate) struct Args {
    /// The policy in YAML or JSON
    policy: PathBuf,
    #[command(flatten)]
    which: Which,
    /// The logs. `-` is standard input
    #[arg(required = true)]
    logs: Vec<PathBuf>,
    #[command(flatten)]
    choice: Choice,
}

pub(crate) fn run(args: &Args, console: &mut Console) -> Result<Outcome, Failure> {
    let (file, config) = PolicyFile::load(&args.policy, args.which.name(), console)?;
    let connections = args.choice.root_id.connections(Some(&file));
    let mut totals = Totals::default();
    let tally = logs::scan(
        &args.logs,
        &args.choice,
        |totals: &mut Totals, logged, place| {
            totals.judge(&config, logged, connections, place);
        },
        |chunk| {
            totals.add(chunk);
            Ok(())
        },
    )?;
    tally.tell(console);
    let answer = Answer::new(&totals, &config, &tally);
    match console.format() {
        Format::Json => console.json(&answer)?,
        Format::Text => answer.write(console)?,
    }
    let is_as_logged = answer.logged.compared.other_decision == 0 && answer.undated.requests == 0;
    Ok(tally.outcome(if is_as_logged { Outcome::Yes } else { Outcome::No }))
}

/// Most kinds of difference that are told apart, so that a hostile log cannot fill the memory.
const MAX_DIFFERENCES: usize = 10_000;

/// The totals of a log.
#[derive(Debug, Default)]
struct Totals {
    verdicts: HashMap<Key, Group>,
    would: HashMap<Key, Group>,
    logged: Comparison,
    differences: HashMap<(Judgement, Key), Group>,
    /// Differences of kinds beyond the first 10,000.
    unlisted: u64,
    /// Those that went, or would have gone, to another port than the one that was judged.
    rerouted: Group,
    /// Those that have no time, which their decision depends on.
    undated: Group,
}

/// A verdict as a key.
type Key = (Action, Reason, Option<usize>);

impl Totals {
    fn judge(
        &mut self,
        config: &Config,
        logged: &Logged<'_>,
        connections: Connections,
        place: Place,
    ) {
        let policy = &config.policy;
        let request = logged.request(policy.reads(), connections);
        let Some(decision) = logs::decide(policy, &request) else {
            return self.undated.push(logged, place);
        };
        let verdict = decision.verdict;
        self.verdicts.entry(key(verdict)).or_default().push(logged, place);
        if let Some(would) = decision.would {
            self.would.entry(key(would)).or_default().push(logged, place);
        }
        let Some(before) = self.logged.count(Recorded::of(logged), (policy, verdict), 1) else {
            return;
        };
        if logged.policy() == Some(&config.revision) && is_rerouted(&before, &request, policy) {
            self.rerouted.push(logged, place);
        }
        let difference = (Judgement::from(before), key(verdict));
        self.differences.entry(difference).or_default().push(logged, place);
    }

    /// Adds what stands behind.
    fn add(&mut self, behind: Self) {
        for (key, group) in behind.verdicts {
            self.verdicts.entry(key).or_default().add(group);
        }
        for (key, group) in behind.would {
            self.would.entry(key).or_default().add(group);
        }
        self.logged.add(&behind.logged);
        self.rerouted.add(behind.rerouted);
        self.undated.add(behind.undated);
        for (key, group) in behind.differences {
            if self.differences.len() < MAX_DIFFERENCES || self.differences.contains_key(&key) {
                self.differences.entry(key).or_default().add(group);
            } else {
                self.unlisted += group.requests;
            }
        }
    }
}

fn key(verdict: Verdict) -> Key {
    (verdict.action, verdict.reason, verdict.rule)
}

/// Whether the rule that allowed a request matches everything but its port, or at a waypoint but the host
/// that was dialled.
fn is_rerouted(before: &LoggedVerdict<'_>, request: &Request<'_>, policy: &Policy) -> bool {
    if !matches!(request.cluster_port, ClusterPort::Said(_)) || before.action == Action::Deny {
        return false;
    }
    let is_named = |attempt: &Attempt| {
        let rule = policy.rules().get(attempt.rule);
        rule.is_some_and(|rule| rule.action == Action::Allow && before.rule == Some(&*rule.id))
    };
    let is_of_port = |miss: &FieldMiss| matches!(miss.field, "ports" | "notPorts");
    let attempts = policy.trace(request).attempts;
    attempts.iter().filter(|attempt| is_named(attempt)).any(|attempt| match &attempt.miss {
        Some(Miss::Fields(misses)) => misses.iter().all(is_of_port),
        Some(Miss::DialledHost) => true,
        _ => false,
    })
}

/// The answer. Its keys are stable.
#[derive(Debug, Serialize)]
struct Answer<'a> {
    /// Whether the logs were read, but for a small share of their lines.
    complete: bool,
    /// Name and hash of the policy, as records have it.
    policy: &'a str,
    requests: u64,
    allowed: u64,
    denied: u64,
    /// Most frequent first.
    verdicts: Vec<Row<'a>>,
    /// Would-be verdicts, where they differ.
    would: Vec<Row<'a>>,
    logged: OfLog<'a>,
    /// Where a verdict is not the log's: other decisions first, then most frequent first.
    differences: Vec<Difference<'a>>,
    /// Requests whose port in the log is not the one that was judged.
    rerouted: Requests<'a>,
    /// Requests that were not decided, since that depends on a time that their line does not have.
    undated: Requests<'a>,
    lines: &'a Tally,
}

/// Requests of one verdict.
#[derive(Debug, Serialize)]
struct Row<'a> {
    #[serde(flatten)]
    judgement: Judgement,
    requests: u64,
    examples: Vec<logs::Shown<'a>>,
}

/// How the verdicts of the log compare.
#[derive(Debug, Serialize)]
struct OfLog<'a> {
    #[serde(flatten)]
    compared: &'a Comparison,
    unlisted: u64,
}

/// Requests of one verdict in the log and another now.
#[derive(Debug, Serialize)]
struct Difference<'a> {
    logged: &'a Judgement,
    now: Judgement,
    requests: u64,
    examples: Vec<logs::Shown<'a>>,
}

impl<'a> Answer<'a> {
    fn new(totals: &'a Totals, config: &'a Config, tally: &'a Tally) -> Self {
        let judgement = |&(action, reason, rule): &Key| {
            Judgement::new(Verdict { action, reason, rule }, &config.policy)
        };
        let rows = |groups: &'a HashMap<Key, Group>| {
            let mut rows: Vec<Row<'a>> = groups
                .iter()
                .map(|(key, group)| Row {
                    judgement: judgement(key),
                    requests: group.requests,
                    examples: group.shown(tally),
                })
                .collect();
            rows.sort_by(|a, b| {
                b.requests.cmp(&a.requests).then_with(|| a.judgement.cmp(&b.judgement))
            });
            rows
        };
        let mut differences: Vec<Difference<'a>> = totals
            .differences
            .iter()
            .map(|((logged, key), group)| Difference {
                logged,
                now: judgement(key),
                requests: group.requests,
                examples: group.shown(tally),
            })
            .collect();
        differences.sort_by(|a, b| {
            let is_same_decision = |it: &Difference<'_>| it.logged.decision == it.now.decision;
            is_same_decision(a)
                .cmp(&is_same_decision(b))
                .then_with(|| b.requests.cmp(&a.requests))
                .then_with(|| (a.logged, &a.now).cmp(&(b.logged, &b.now)))
        });
        let verdicts = rows(&totals.verdicts);
        let of = |action: Action| {
            let rows = verdicts.iter().filter(|row| &*row.judgement.decision == action.as_str());
            rows.map(|row| row.requests).sum()
        };
        Self {
            complete: tally.is_complete(),
            policy: &config.revision,
            requests: tally.requests(),
            allowed: of(Action::Allow),
            denied: of(Action::Deny),
            would: rows(&totals.would),
            logged: OfLog { compared: &totals.logged, unlisted: totals.unlisted },
            differences,
            rerouted: totals.rerouted.answer(tally),
            undated: totals.undated.answer(tally),
            lines: tally,
            verdicts,
        }
    }

    fn write(&self, console: &mut Console) -> Result<(), Failure> {
        let connections = match self.lines.connections {
            0 => String::new(),
            count => format!(", {count} of them connections,"),
        };
        if let Some(caveat) = self.lines.caveat() {
            console.line(styled(BAD, caveat))?;
        }
        let undated = match self.undated.requests {
            0 => String::new(),
            count => format!(", {count} not decided"),
        };
        console.line(format_args!(
            "{}{connections} through {}: {} allowed, {} denied{undated}",
            counted(self.requests, "request"),
            styled(NAME, self.policy),
            self.allowed,
            self.denied
        ))?;
        console.line(self.lines.origin())?;
        write_rows(console, &self.verdicts)?;
        if !self.would.is_empty() {
            console.line(
                "\nWould-be decisions that differ (`mode: monitor`, or rules with a `state`):",
            )?;
            write_rows(console, &self.would)?;
        }
        let OfLog { compared, unlisted } = self.logged;
        let Comparison { same, other_reason, other_decision, none, refused_otherwise, failed } =
            *compared;
        console.line(format_args!(
            "\nThe log's own verdicts: {same} the same, {other_reason} for another reason, \
             {other_decision} another decision, {none} not in the log"
        ))?;
        for Difference { logged, now, requests, examples } in &self.differences {
            console.line(format_args!("{requests:>10}  {logged} in the log, now {now}"))?;
            write_examples(console, examples)?;
        }
        if unlisted > 0 {
            console.line(format_args!("{unlisted:>10}  of further kinds"))?;
        }
        if refused_otherwise + failed > 0 {
            console.line(format_args!(
                "\nNot passed on, and not denied by the filter: {refused_otherwise} refused by the \
                 mesh, {failed} failed on the way"
            ))?;
        }
        let Requests { requests, examples } = &self.undated;
        if *requests > 0 {
            console.line(
                "\nNot decided, since a rule with `until` matches and the line has no time that can \
                 be read:",
            )?;
            console.line(format_args!("{requests:>10}  in all"))?;
            write_examples(console, examples)?;
        }
        let Requests { requests, examples } = &self.rerouted;
        if *requests > 0 {
            console.line(
                "\nAllowed by this policy, and then routed to a port that the rule does not allow \
                 (a guard that is up to date refuses them):",
            )?;
            console.line(format_args!("{requests:>10}  in all"))?;
            write_examples(console, examples)?;
        }
        Ok(())
    }
}

fn write_rows(console: &mut Console, rows: &[Row<'_>]) -> Result<(), Failure> {
    for Row { judgement, requests, examples } in rows {
        console.line(format_args!("{requests:>10}  {judgement}"))?;
        if &*judgement.decision == Action::Deny.as_str() {
            write_examples(console, examples)?;
        }
    }
    Ok(())
}

fn write_examples(console: &mut Console, examples: &[logs::Shown<'_>]) -> Result<(), Failure> {
    for example in examples {
        console.line(styled(FRAME, format_args!("              {example}")))?;
    }
    Ok(())
}
