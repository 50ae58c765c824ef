//! `test`: what a policy is expected to do, as a file says it.

mod cases;
mod watch;

use crate::console::{BAD, Console, Format, GOOD, NAME, ODD, counted, styled};
use crate::diagnostics::Level;
use crate::failure::{Failure, Outcome};
use crate::policy_file::{PolicyFile, RuleSource, Which, place_of};
use crate::report::{Entry, Region, Report, Subject as Tested};
use cases::CaseFile;
use egress_warden::time::Time;
use egress_warden_simulate::case::Case;
use egress_warden_simulate::{Filters, Outcome as Simulated, Subject};
use serde_json::{Value, json};
use std::collections::{BTreeSet, HashMap};
use std::path::PathBuf;
use std::sync::Arc;

/// Tests whether a policy does what files of cases expect
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  egress-warden test policy.yaml cases.yaml

A file of cases:
  cases:
  - name: the shop may charge
    request:
      host: api.stripe.com
      method: POST
      path: /v1/charges
      principal: cluster.local/ns/shop/sa/web
    expect:
      decision: allow
      rule: stripe
      upstream: {x-egress-team: [shop]}
  - name: nobody else may
    request: {host: api.stripe.com}
    expect: {decision: deny, reason: default}
  - name: a TLS connection has a server name, but no method and no path
    connection: {sni: api.stripe.com}
    expect: {decision: deny, reason: default}

decision, rule, reason, would, would_rule, would_reason: compared always. A key
that a case does not name must be absent (`reason: rule` may be left out).
status, body (all of it), grpc_message, upstream, line, level, policy: compared
if the case names them.
`requests` and `connections` take lists. Connections are judged as under the
root id `connections`; write `root_id: connections:8443` beside `cases` for
another one.

Exit codes: 0 all as expected, 1 not, 2 unreadable input.")]
pub(crate) struct Args {
    /// The policy in YAML or JSON
    #[arg(value_name = "POLICY")]
    policy: PathBuf,
    #[command(flatten)]
    which: Which,
    /// Files of cases in YAML or JSON
    #[arg(required = true, value_name = "CASES")]
    cases: Vec<PathBuf>,
    /// Exit with 1 if there are rules that no case reaches
    #[arg(long)]
    deny_uncovered: bool,
    /// Repeat the test when one of the files changes, until interrupted
    #[arg(long)]
    watch: bool,
    /// The proxy's clock for cases without a time, in RFC 3339. Default: now
    #[arg(long, value_name = "TIME", default_value_t = egress_warden_simulate::time::now(), hide_default_value = true)]
    at: Time,
}

/// Yes where every request ends as its case says.
pub(crate) fn run(args: &Args, console: &mut Console) -> Result<Outcome, Failure> {
    if !args.watch {
        return test(args, console);
    }
    let files: Vec<_> = std::iter::once(&args.policy).chain(&args.cases).collect();
    watch::each_change(&files, || {
        match test(args, console) {
            Ok(_) => {}
            Err(failure) if failure.is_closed_output() => return Err(failure),
            Err(failure) => console.fail(&failure),
        }
        console.flush()
    })
}

/// A request or a connection that did not end as its case says.
struct Surprise {
    case: String,
    place: String,
    subject: String,
    differences: Vec<String>,
}

#[derive(Default)]
struct Tally {
    cases: u64,
    requests: u64,
    connections: u64,
    surprises: Vec<Surprise>,
    reached: BTreeSet<String>,
}

fn test(args: &Args, console: &mut Console) -> Result<Outcome, Failure> {
    let (policy, config) = PolicyFile::load(&args.policy, args.which.name(), console)?;
    let config = Arc::new(config);
    let mut tally = Tally::default();
    let mut tested = Vec::new();
    for path in &args.cases {
        let file = CaseFile::read(path)?;
        let filters = Filters::new(Arc::clone(&config), file.connections);
        for (case, start) in file.cases() {
            let surprises = tally.test(case, &file.at(start), &filters, args.at);
            if console.form().is_some() {
                tested.push(of_case(case, &surprises, &file, start));
            }
            tally.surprises.extend(surprises);
        }
    }
    let rules = config.policy.rules().iter();
    let unreached: Vec<&str> =
        rules.map(|rule| &*rule.id).filter(|id| !tally.reached.contains(*id)).collect();
    match (console.form(), console.format()) {
        (Some(form), _) => {
            tested.push(of_rules(&policy, &unreached, args.deny_uncovered));
            Report { command: "test", is_complete: true, subjects: tested }.write(form, console)?;
        }
        (None, Format::Text) => tally.write(&unreached, config.policy.rules().len(), console)?,
        (None, Format::Json) => console.json(&tally.to_json(&config.revision, &unreached))?,
    }
    let uncovered = if args.deny_uncovered { unreached.len() } else { 0 };
    Ok(Outcome::of_findings(tally.surprises.len().saturating_add(uncovered)))
}

/// A case in a report.
fn of_case(case: &Case, surprises: &[Surprise], file: &CaseFile, start: usize) -> Tested {
    let entry = |surprise: &Surprise| Entry {
        kind: "not-as-expected",
        level: Level::Error,
        fails: true,
        message: format!("{}: {}", surprise.subject, surprise.differences.join("; ")),
        path: None,
        region: file.region(start),
    };
    Tested {
        file: file.name().to_owned(),
        name: case.name.clone(),
        entries: surprises.iter().map(entry).collect(),
    }
}

/// The rules of the policy in a report: whether cases reach them.
fn of_rules(policy: &PolicyFile, unreached: &[&str], is_denied: bool) -> Tested {
    let source = policy.source();
    let rules = source.iter().flat_map(|source| &source.rules);
    let rules: HashMap<&str, &RuleSource<'_>> = rules.map(|rule| (rule.id, rule)).collect();
    let region = |id: &str| Region::of(policy.document(), &place_of(rules.get(id)?).span);
    let entry = |id: &&str| Entry {
        kind: "unreached-rule",
        level: Level::Warning,
        fails: is_denied,
        message: format!("no case reaches the rule `{id}`: add one"),
        path: None,
        region: region(id),
    };
    Tested {
        file: policy.name().to_owned(),
        name: "cases reach every rule".to_owned(),
        entries: unreached.iter().map(entry).collect(),
    }
}

impl Tally {
    fn test(&mut self, case: &Case, place: &str, filters: &Filters, at: Time) -> Vec<Surprise> {
        let mut surprises = Vec::new();
        self.cases = self.cases.saturating_add(1);
        for subject in case.subjects() {
            let count = match subject {
                Subject::Request(_) => &mut self.requests,
                Subject::Connection(_) => &mut self.connections,
            };
            *count = count.saturating_add(1);
            let simulated = filters.simulate(&subject, at);
            self.reach(&simulated);
            let differences = case.expect.differences(&simulated);
            if !differences.is_empty() {
                surprises.push(Surprise {
                    case: case.name.clone(),
                    place: place.to_owned(),
                    subject: subject.to_string(),
                    differences,
                });
            }
        }
        surprises
    }

    fn reach(&mut self, simulated: &Simulated) {
        for key in ["rule", "would_rule"] {
            if let Some(rule) = simulated.recorded(key)
                && !self.reached.contains(rule)
            {
                self.reached.insert(rule.to_owned());
            }
        }
    }

    fn write(
        &self,
        unreached: &[&str],
        rules: usize,
        console: &mut Console,
    ) -> Result<(), Failure> {
        for surprise in &self.surprises {
            let name = styled(NAME, &surprise.case);
            console.line(format_args!("{} {name}", styled(BAD, "not as expected:")))?;
            console.line(format_args!("  {}: {}", surprise.place, surprise.subject))?;
            for difference in &surprise.differences {
                console.line(format_args!("  {difference}"))?;
            }
        }
        let reached = rules.saturating_sub(unreached.len());
        let connections = match self.connections {
            0 => String::new(),
            count => format!(", {}", counted(count, "connection")),
        };
        console.line(format_args!(
            "{}, {}{connections}: {}; {reached} of {rules} rules reached",
            counted(self.cases, "case"),
            counted(self.requests, "request"),
            match self.surprises.len() {
                0 => styled(GOOD, "all as expected").to_string(),
                count => styled(BAD, format_args!("{count} not as expected")).to_string(),
            },
        ))?;
        if !unreached.is_empty() {
            const SHOWN: usize = 20;
            let mut shown = unreached.iter().take(SHOWN).copied().collect::<Vec<_>>().join(", ");
            if unreached.len() > SHOWN {
                shown.push_str(", …");
            }
            console.line(format_args!("{} {shown}", styled(ODD, "no case reaches:")))?;
        }
        Ok(())
    }

    fn to_json(&self, policy: &str, unreached: &[&str]) -> Value {
        let surprises = self.surprises.iter().map(|surprise| {
            json!({
                "case": surprise.case,
                "place": surprise.place,
                "request": surprise.subject,
                "differences": surprise.differences,
            })
        });
        json!({
            "policy": policy,
            "cases": self.cases,
            "requests": self.requests,
            "connections": self.connections,
            "failures": surprises.collect::<Vec<_>>(),
            "unreached_rules": unreached,
        })
    }
}
