//! `diff`: what a change of policy opens and what it closes.

mod automaton;
mod axes;
mod comparison;
mod hosts;
mod names;
mod paths;
mod queries;
mod sides;
mod subject;
mod templates;
mod traffic;
mod ways;

use crate::change::Kind;
use crate::console::{
    BAD, Console, FRAME, Format, GOOD, NAME, ODD, counted, styled, without_colour,
};
use crate::diagnostics::Level;
use crate::document::Span;
use crate::failure::{Failure, Outcome};
use crate::judgement::Judgement;
use crate::logs::{Choice, Requests, Shown, Tally};
use crate::policy_file::{PolicyFile, Source, Which, place_of};
use crate::report::{Entry, Region, Report, Subject as Reported};
use axes::Gap;
use clap::ValueEnum;
pub(crate) use comparison::Comparison;
use comparison::{Change, Example, Side, Undecided};
use egress_warden::config::Config;
use egress_warden::time::Time;
use serde::Serialize;
use std::collections::HashMap;
use std::path::PathBuf;
pub(crate) use subject::Subject;
use traffic::Traffic;

/// Shows what a change of a policy opens and closes
///
/// Without logs, `diff` sorts all requests into equivalence classes: no pattern of either policy
/// distinguishes two requests of one class (by host, caller, server name, port, method, path, query,
/// or time from now on). It decides one request of each class by both policies, and reports equal changes
/// together. The answer is exact. A class that cannot be decided is reported as `undecided`: its rules
/// combine in more than 1,000,000 ways, or no example of it is found. Stamps, answers and log settings
/// are not compared, nor is a proxy without a clock.
///
/// How to read a change: `*.a.example` and `api-*.a.example` stand for the names that they match and that
/// neither policy names more precisely, `api-*.a.example and *-eu.a.example` for those that both match.
/// `/v1/*` stands for the paths that begin so and match no longer pattern of either policy, in both
/// readings; a template stands for the paths that it and no other one matches. A path whose two readings
/// differ in their verdict is reported as `sent as … and read as …`. A parameter of a query is `unclear`
/// where readers may differ on its value. A method stands for the requests that are judged by it; a CONNECT
/// without a port is malformed. A port is `unsaid` where neither authority nor route says it. A text of a
/// policy with spaces is in quotes.
///
/// `--connections` compares TLS connections that are not terminated; they show neither method nor path.
/// Manifests of plugins for connections (`type: NETWORK`) are compared so too. Otherwise connections are
/// not compared, and a note says if a change opens connections and no request.
///
/// With logs: each distinct request or connection whose verdict changes, how often it was seen, and
/// both rules. A request without a readable time is `undated`, and not compared, if its decision by
/// either policy depends on the time. If too many lines cannot be read (`--max-unread`), the answer says
/// so first, and the exit code is 2.
///
/// A request `opens` if it was refused and passes now; `closes` is the reverse. `announces`: only the
/// would-be decision changes. `renames`: another rule or reason leads to the same decision.
///
/// `--format json` writes one object. Without logs: `old`, `new`, `exact`, `combinations`, `changes`
/// [{kind, hosts, callers, server_names, ports, methods, paths, queries, times, old, new, example}], where an
/// absent list means any; `undecided` [{hosts, combinations or without_example}]. With logs:
/// `complete`, `old`, `new`, `requests`, `opens`, `closes`, `announces`, `renames`, `changes` [{kind,
/// requests, method, host, port, path, principal, old, new, examples}], `unlisted`, `undated`, `lines`
/// as in `replay`.
///
/// Exit codes: 0 nothing opens; 1 something opens or is undecided (`--fail-on any`: anything changes);
/// 2 wrong usage, or too much of the input is unreadable.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  egress-warden diff old.yaml new.yaml
  egress-warden diff --fail-on any old.yaml new.yaml access.log.gz")]
pub(crate) struct Args {
    /// The policy before the change, or a folder: one with several policies stands for their bundle
    old: PathBuf,
    /// The policy after the change, or a folder
    new: PathBuf,
    #[command(flatten)]
    which: Which,
    /// Logs to decide by both policies. `-` is standard input
    logs: Vec<PathBuf>,
    /// Which changes make the exit code 1
    #[arg(long, value_enum, default_value_t = FailOn::Opens, value_name = "WHAT")]
    fail_on: FailOn,
    /// Compare from this time on, in RFC 3339. Default: now. Logs have their own times
    #[arg(long, value_name = "TIME", conflicts_with = "logs")]
    at: Option<Time>,
    /// Compare TLS connections that are not terminated, instead of requests. Not for logs: their lines
    /// say what they are
    #[arg(long, conflicts_with = "logs")]
    connections: bool,
    #[command(flatten)]
    choice: Choice,
}

/// What makes a gate fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum FailOn {
    /// Something passes that was refused
    Opens,
    /// Anything changes
    Any,
}

pub(crate) fn run(args: &Args, console: &mut Console) -> Result<Outcome, Failure> {
    let [(old_file, old), (new_file, new)] =
        sides::load([&args.old, &args.new], args.which.name(), console)?;
    let revisions = [&*old.revision, &*new.revision];
    if args.logs.is_empty() {
        let at = args.at.unwrap_or_else(egress_warden_simulate::time::now);
        let subject = subject(args, &old_file, &new_file)?;
        let compared = |subject| compared((&old_file, &old), (&new_file, &new), subject, at);
        let comparison = compared(subject)?;
        let opens = comparison.opens();
        if opens == 0 && subject == Subject::Requests {
            let connections = compared(Subject::Connections)?.opens();
            if connections > 0 {
                console.note(CONNECTIONS_OPEN);
            }
        }
        let answer = OfPolicies::new(revisions, &comparison);
        match (console.form(), console.format()) {
            (Some(form), _) => {
                let subjects = answer.reported(&Rules::of(&new_file), args.fail_on);
                Report { command: "diff", is_complete: true, subjects }.write(form, console)?;
            }
            (None, Format::Json) => console.json(&answer)?,
            (None, Format::Text) => answer.write(console)?,
        }
        return Ok(match args.fail_on {
            FailOn::Opens => Outcome::of_findings(opens),
            FailOn::Any => {
                Outcome::of_findings(comparison.changes.len() + comparison.undecided.len())
            }
        });
    }
    let connections = args.choice.root_id.connections(Some(&new_file));
    let (traffic, tally) =
        traffic::compare(&old.policy, &new.policy, &args.logs, &args.choice, connections)?;
    tally.tell(console);
    let answer = OfTraffic::new(revisions, &traffic, &tally);
    match (console.form(), console.format()) {
        (Some(form), _) => {
            let subjects = answer.reported(&Rules::of(&new_file), args.fail_on);
            let is_complete = tally.is_complete();
            Report { command: "diff", is_complete, subjects }.write(form, console)?;
        }
        (None, Format::Json) => console.json(&answer)?,
        (None, Format::Text) => answer.write(console)?,
    }
    let changes = match args.fail_on {
        FailOn::Opens => answer.opens > 0,
        FailOn::Any => !traffic.counts.is_empty(),
    };
    let fails = changes || answer.undated.requests > 0;
    Ok(tally.outcome(if fails { Outcome::No } else { Outcome::Yes }))
}

/// The note if only requests were compared.
const CONNECTIONS_OPEN: &str = "no request opens, but TLS connections that are not terminated do, \
                                or are undecided: for a gateway that passes them on see `--connections`";

/// Whether requests or connections are compared: by the flag, or by the manifests around the policies.
fn subject(args: &Args, old: &PolicyFile, new: &PolicyFile) -> Result<Subject, Failure> {
    if args.connections {
        return Ok(Subject::Connections);
    }
    let mistake = |problem| {
        let remedy = "give `--connections`, or the policies themselves";
        Err(Failure::new(new.name(), problem, remedy))
    };
    match (old.connections(), new.connections()) {
        (None, None) => Ok(Subject::Requests),
        (Some(old), Some(new)) if old == new => Ok(Subject::Connections),
        (Some(_), Some(_)) => {
            mistake("a plugin of another root id (`pluginName`), which judges other connections")
        }
        (Some(_), None) | (None, Some(_)) => {
            mistake("a plugin for connections on one side, and on the other none")
        }
    }
}

/// What two policies differ in, from a time on.
pub(crate) fn compared(
    (old_file, old): (&PolicyFile, &Config),
    (new_file, new): (&PolicyFile, &Config),
    subject: Subject,
    at: Time,
) -> Result<Comparison, Failure> {
    let (old_source, new_source) = (source(old_file)?, source(new_file)?);
    Ok(comparison::compare(
        Side { source: &old_source, policy: &old.policy },
        Side { source: &new_source, policy: &new.policy },
        subject,
        at,
    ))
}

fn source(file: &PolicyFile) -> Result<Source<'_>, Failure> {
    // INVARIANT: what was read without errors has a source.
    file.source().ok_or_else(|| Failure::new(file.name(), "no policy", "write one"))
}

/// The answer without logs. Its keys are stable.
#[derive(Debug, Serialize)]
pub(crate) struct OfPolicies<'a> {
    old: &'a str,
    new: &'a str,
    /// Whether every request was decided.
    exact: bool,
    combinations: usize,
    changes: &'a [Change],
    undecided: Vec<LeftUndecided<'a>>,
}

#[derive(Debug, Serialize)]
struct LeftUndecided<'a> {
    hosts: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    combinations: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    without_example: Option<&'static str>,
}

impl<'a> LeftUndecided<'a> {
    fn new(Undecided { hosts, gap }: &'a Undecided) -> Self {
        let (combinations, without_example) = match *gap {
            Gap::Combinations(combinations) => (Some(combinations), None),
            Gap::NoExample(what) => (None, Some(what)),
        };
        Self { hosts, combinations, without_example }
    }
}

impl<'a> OfPolicies<'a> {
    pub(crate) fn new([old, new]: [&'a str; 2], comparison: &'a Comparison) -> Self {
        let Comparison { changes, undecided, combinations } = comparison;
        Self {
            old,
            new,
            exact: undecided.is_empty(),
            combinations: *combinations,
            changes,
            undecided: undecided.iter().map(LeftUndecided::new).collect(),
        }
    }

    /// Each change, and what was not decided, in a report. A change stands where the new policy has the rule
    /// that it comes from.
    fn reported(&self, rules: &Rules<'_>, fail_on: FailOn) -> Vec<Reported> {
        let changed = |change: &Change| {
            let Change { kind, hosts, old, new, example, .. } = change;
            let (was, is) = tenses(*kind);
            let how = format!("{was} {old}, {is} {new}, such as {example}");
            rules.reported(*kind, &list(hosts), &how, fail_on, new)
        };
        let undecided = |LeftUndecided { hosts, .. }: &LeftUndecided<'_>| {
            rules.undecided(&list(hosts), "see the comparison in text")
        };
        let changes = self.changes.iter().map(changed);
        changes.chain(self.undecided.iter().map(undecided)).collect()
    }

    fn write(&self, console: &mut Console) -> Result<(), Failure> {
        for change in self.changes {
            let Change { kind, hosts, scope, old, new, example } = change;
            console.line(format_args!("{} {}", styled_kind(*kind), list(hosts)))?;
            let parts = [
                ("callers", &scope.callers),
                ("server name", &scope.server_names),
                ("ports", &scope.ports),
                ("methods", &scope.methods),
                ("paths", &scope.paths),
                ("queries", &scope.queries),
                ("times", &scope.times),
            ];
            for (name, values) in parts {
                if let Some(values) = values {
                    console.line(format_args!("    {name:<12}{}", list(values)))?;
                }
            }
            let (was, is) = tenses(*kind);
            console.line(format_args!("    {was:<12}{old}"))?;
            console.line(format_args!("    {is:<12}{new}"))?;
            console.line(styled(FRAME, format_args!("    {:<12}{example}", "such as")))?;
        }
        for LeftUndecided { hosts, combinations, without_example } in &self.undecided {
            console.line(format_args!("{} {}", styled(ODD, "undecided"), list(hosts)))?;
            if let Some(combinations) = combinations {
                console.line(format_args!(
                    "    their rules combine in {combinations} ways: split the rules, or give logs"
                ))?;
            }
            if let Some(what) = without_example {
                console.line(format_args!(
                    "    no example of {what} was found that the patterns leave: name fewer, or give \
                     logs"
                ))?;
            }
        }
        let count = |kind| self.changes.iter().filter(|it| it.kind == kind).count();
        console.line(format_args!(
            "{} to {}: {} opens, {} closes, {} announces, {} renames, {} undecided; {} combinations",
            styled(NAME, self.old),
            styled(NAME, self.new),
            count(Kind::Opens),
            count(Kind::Closes),
            count(Kind::Announces),
            count(Kind::Renames),
            self.undecided.len(),
            self.combinations
        ))
    }
}

/// The answer with logs. Its keys are stable.
#[derive(Debug, Serialize)]
struct OfTraffic<'a> {
    /// Whether the logs were read, but for a small share of their lines.
    complete: bool,
    old: &'a str,
    new: &'a str,
    requests: u64,
    opens: u64,
    closes: u64,
    announces: u64,
    renames: u64,
    /// Each distinct request, by kind, then the most frequent first.
    changes: Vec<ChangedRequest<'a>>,
    /// Requests beyond the first 200,000 distinct ones.
    unlisted: u64,
    /// Requests that were not decided, since that depends on a time that their line does not have.
    undated: Requests<'a>,
    lines: &'a Tally,
}

#[derive(Debug, Serialize)]
struct ChangedRequest<'a> {
    kind: Kind,
    requests: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    method: Option<&'a str>,
    host: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    port: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    path: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    principal: Option<&'a str>,
    old: &'a Judgement,
    new: &'a Judgement,
    examples: Vec<Shown<'a>>,
}

impl<'a> OfTraffic<'a> {
    fn new([old, new]: [&'a str; 2], traffic: &'a Traffic, tally: &'a Tally) -> Self {
        let count = |kind| traffic.counts.get(&kind).copied().unwrap_or_default();
        let changes = traffic.requests().into_iter().map(|(distinct, group)| ChangedRequest {
            kind: distinct.kind,
            requests: group.requests,
            method: distinct.method.as_deref(),
            host: &distinct.host,
            port: distinct.port,
            path: distinct.path.as_deref(),
            principal: distinct.principal.as_deref(),
            old: &distinct.old,
            new: &distinct.new,
            examples: group.shown(tally),
        });
        Self {
            complete: tally.is_complete(),
            old,
            new,
            requests: tally.requests(),
            opens: count(Kind::Opens),
            closes: count(Kind::Closes),
            announces: count(Kind::Announces),
            renames: count(Kind::Renames),
            changes: changes.collect(),
            unlisted: traffic.unlisted,
            undated: traffic.undated.answer(tally),
            lines: tally,
        }
    }

    /// Each distinct request that changes, in a report.
    fn reported(&self, rules: &Rules<'_>, fail_on: FailOn) -> Vec<Reported> {
        let changed = |change: &ChangedRequest<'_>| {
            let (was, is) = tenses(change.kind);
            let requests = counted(change.requests, "request");
            let how = format!("{was} {}, {is} {} ({requests})", change.old, change.new);
            rules.reported(change.kind, &change.to_string(), &how, fail_on, change.new)
        };
        let undated = (self.undated.requests > 0).then(|| {
            let requests = counted(self.undated.requests, "request");
            rules.undecided(
                &requests,
                "a rule with `until` matches, and the line has no time that can be read",
            )
        });
        self.changes.iter().map(changed).chain(undated).collect()
    }

    fn write(&self, console: &mut Console) -> Result<(), Failure> {
        if let Some(caveat) = self.lines.caveat() {
            console.line(styled(BAD, caveat))?;
        }
        for change in &self.changes {
            console.line(format_args!(
                "{} {:>8}  {change}",
                styled_kind(change.kind),
                change.requests,
            ))?;
            let (was, is) = tenses(change.kind);
            console.line(format_args!("    {was} {}, {is} {}", change.old, change.new))?;
            if let Some(first) = change.examples.first() {
                console.line(styled(FRAME, format_args!("    {first}")))?;
            }
        }
        if self.unlisted > 0 {
            console.line(format_args!("{} more requests, not listed", self.unlisted))?;
        }
        let Requests { requests, examples } = &self.undated;
        if *requests > 0 {
            console.line(format_args!(
                "{} {requests:>8}  a rule with `until` matches, and the line has no time that can be \
                 read",
                styled(ODD, "undecided")
            ))?;
            for example in examples {
                console.line(styled(FRAME, format_args!("    {example}")))?;
            }
        }
        console.line(format_args!(
            "{} to {}: of {}, {} open, {} close, {} change the would-be decision, {} renamed",
            styled(NAME, self.old),
            styled(NAME, self.new),
            counted(self.requests, "request"),
            self.opens,
            self.closes,
            self.announces,
            self.renames
        ))
    }
}

impl std::fmt::Display for ChangedRequest<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let method = printable(self.method.unwrap_or("TLS"));
        write!(f, "{method} {}", printable(self.host))?;
        if let Some(port) = self.port {
            write!(f, ":{port}")?;
        }
        f.write_str(&printable(self.path.unwrap_or_default()))?;
        match self.principal {
            Some(principal) => write!(f, " by {principal}"),
            None => Ok(()),
        }
    }
}

impl FailOn {
    /// Whether a change of this kind makes the exit code 1.
    fn covers(self, kind: Kind) -> bool {
        self == Self::Any || kind == Kind::Opens
    }
}

/// Where the rules of the new policy are.
struct Rules<'a> {
    file: &'a PolicyFile,
    spans: HashMap<&'a str, Span>,
}

impl<'a> Rules<'a> {
    fn of(file: &'a PolicyFile) -> Self {
        let source = file.source();
        let rules = source.iter().flat_map(|source| &source.rules);
        let spans = rules.map(|rule| (rule.id, place_of(rule).span.clone())).collect();
        Self { file, spans }
    }

    /// A change in a report, at the rule that the new verdict names; else where the policy starts.
    fn reported(
        &self,
        kind: Kind,
        what: &str,
        how: &str,
        fail_on: FailOn,
        new: &Judgement,
    ) -> Reported {
        let rule = new.rule.as_deref().and_then(|id| self.spans.get(id));
        self.subject(kind.word(), what, how, fail_on.covers(kind), rule)
    }

    fn undecided(&self, what: &str, why: &str) -> Reported {
        self.subject("undecided", what, why, true, None)
    }

    fn subject(
        &self,
        kind: &'static str,
        what: &str,
        how: &str,
        fails: bool,
        rule: Option<&Span>,
    ) -> Reported {
        let start = self.file.tree().map_or(0, |tree| tree.span.start);
        let span = rule.cloned().unwrap_or(start..start);
        let file = self.file;
        let region = Region::of(file.document(), &span);
        let level = if fails { Level::Error } else { Level::Note };
        let name = format!("{kind} {what}");
        let message = without_colour(&format!("{name}: {how}"));
        let entry = Entry { kind, level, fails, message, path: None, region };
        Reported { file: file.name().to_owned(), name, entries: vec![entry] }
    }
}

/// How the verdicts of a change follow on each other.
fn tenses(kind: Kind) -> (&'static str, &'static str) {
    match kind {
        Kind::Announces => ("would be", "will be"),
        Kind::Opens | Kind::Closes | Kind::Renames => ("was", "is"),
    }
}

/// How many names a line has.
const LISTED: usize = 8;

fn list(names: &[String]) -> String {
    let mut list = names.iter().take(LISTED).map(String::as_str).collect::<Vec<_>>().join(", ");
    let more = names.len().saturating_sub(LISTED);
    if more > 0 {
        list.push_str(&format!(" and {more} more"));
    }
    list
}

fn styled_kind(kind: Kind) -> String {
    let style = match kind {
        Kind::Opens => BAD,
        Kind::Closes => GOOD,
        Kind::Announces => ODD,
        Kind::Renames => FRAME,
    };
    styled(style, format_args!("{:<9}", kind.word())).to_string()
}

/// On one line, without control characters for a terminal.
fn printable(text: &str) -> String {
    text.chars()
        .flat_map(|it| {
            let escaped = it.is_control().then(|| it.escape_default());
            let plain = escaped.is_none().then_some(it);
            escaped.into_iter().flatten().chain(plain)
        })
        .collect()
}

impl std::fmt::Display for Example {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let method = self.method.as_deref().unwrap_or("TLS");
        let authority = if self.authority.is_empty() { "nothing" } else { &self.authority };
        let path = printable(self.path.as_deref().unwrap_or_default());
        write!(f, "{method} {authority}{path}")?;
        if let Some(principal) = &self.principal {
            write!(f, " by {}", printable(principal))?;
        }
        match self.server_name.as_deref() {
            Some("") => write!(f, ", over TLS without a server name")?,
            Some(name) => write!(f, ", over TLS to {}", printable(name))?,
            None => {}
        }
        if let Some(port) = self.cluster_port {
            write!(f, ", by a route to port {port}")?;
        }
        match &self.time {
            Some(time) => write!(f, ", at {time}"),
            None => Ok(()),
        }
    }
}
