//! `explain`: one request or connection, its verdict, and how that came about.

mod account;
mod curl;
mod matched;
mod text;

use crate::console::{Console, Format};
use crate::failure::{Failure, Outcome};
use crate::input;
use crate::policy_file::{PolicyFile, RuleSource, Source, Which};
use crate::root_id::RootId;
use crate::trust_domain;
use account::Account;
use egress_warden::config::Config;
use egress_warden::policy::namespace_of;
use egress_warden::root_id::Connections;
use egress_warden::time::Time;
use egress_warden_simulate::{Bytes, Connection, Filters, Outcome as Simulated, Request, Subject};
use std::collections::HashMap;
use std::path::{Path, PathBuf};

/// Shows the verdict on a request or a TLS connection, and how it was reached
#[derive(Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("subject").required(true).args(["host", "connection", "curl", "requests"]))]
#[command(override_usage = "\
egress-warden explain [OPTIONS] <POLICY> --host <HOST>
       egress-warden explain [OPTIONS] <POLICY> --connection <NAME>
       egress-warden explain [OPTIONS] <POLICY> --requests <FILE>
       egress-warden explain [OPTIONS] <POLICY> --curl <ARGUMENT>...")]
#[command(after_help = "\
Examples:
  egress-warden explain policy.yaml --host api.stripe.com --path /v1/charges
  egress-warden explain policy.yaml --curl -X POST https://api.stripe.com/v1
  egress-warden explain policy.yaml --host api.stripe.com \\
    --principal cluster.local/ns/shop/sa/web
  egress-warden explain policy.yaml --connection api.stripe.com
  egress-warden explain policy.yaml --host api.stripe.com \\
    --dialled api.stripe.com:443
  egress-warden explain policy.yaml --requests - --format json < requests.jsonl

Exit codes: 0 it passes (with --requests: all pass), 1 it is refused,
2 wrong usage or unreadable input.")]
pub(crate) struct Args {
    /// The policy in YAML or JSON. `-` is standard input
    #[arg(value_name = "POLICY")]
    policy: PathBuf,
    #[command(flatten)]
    which: Which,
    /// The authority as the caller sends it: a host, with or without a port
    #[arg(long, value_name = "HOST")]
    host: Option<String>,
    /// The method. Default: GET
    #[arg(long, value_name = "METHOD", conflicts_with_all = ["curl", "requests"])]
    method: Option<String>,
    /// The path with its query. Default: /
    #[arg(long, value_name = "PATH", conflicts_with_all = ["curl", "requests"])]
    path: Option<String>,
    /// The server name of a TLS connection that is not terminated, as Envoy shows it to the
    /// filter: in lower case
    #[arg(long, value_name = "NAME", conflicts_with_all = ["method", "path", "sni", "header"])]
    connection: Option<String>,
    /// The port that the route's cluster dials. For a connection: in place of the root id's port
    #[arg(long, value_name = "PORT", conflicts_with = "requests", value_parser = clap::value_parser!(u16).range(1..))]
    port: Option<u16>,
    /// Judges it at a waypoint. HOST:PORT is what the caller dialled; the name of the route's
    /// cluster is good as well. A connection may have no server name there: `--connection ''`
    #[arg(long, value_name = "HOST:PORT", conflicts_with_all = ["requests", "port", "sni"])]
    dialled: Option<String>,
    #[command(flatten)]
    root_id: RootId,
    /// The caller's SPIFFE id. Default: no caller is known
    #[arg(long, value_name = "ID", conflicts_with = "requests")]
    principal: Option<String>,
    /// The server name, if the request comes over TLS
    #[arg(long, value_name = "NAME", conflicts_with = "requests")]
    sni: Option<String>,
    /// A header of the request, `NAME: VALUE`. May be repeated
    #[arg(long, value_name = "HEADER", value_parser = header, conflicts_with_all = ["curl", "requests"])]
    header: Vec<(String, String)>,
    /// The proxy's clock, in RFC 3339. Default: now
    #[arg(long, value_name = "TIME", default_value_t = egress_warden_simulate::time::now(), hide_default_value = true)]
    at: Time,
    /// The arguments of a curl command, up to the end of the line
    #[arg(
        long,
        value_name = "ARGUMENT",
        num_args = 1..,
        allow_hyphen_values = true
    )]
    curl: Vec<String>,
    /// A file of requests: one JSON object on each line, with the keys of `request` in `test`.
    /// Connections are `{"connection": {…}}`. With `--format json` each answer is one line
    #[arg(long, value_name = "FILE")]
    requests: Option<PathBuf>,
}

/// Yes where it passes.
pub(crate) fn run(args: &Args, console: &mut Console) -> Result<Outcome, Failure> {
    let (file, config) = PolicyFile::load(&args.policy, args.which.name(), console)?;
    let source = file.source();
    let connections = args.root_id.connections(Some(&file));
    let connections = Connections { port: args.port.unwrap_or(connections.port), ..connections };
    let is_local =
        |policy: &Source<'_>| trust_domain::named_by(policy).contains(trust_domain::LOCAL);
    let rules = source.iter().flat_map(|source| &source.rules);
    let explainer = Explainer {
        names_local_domain: source.as_ref().is_some_and(is_local),
        file: &file,
        filters: Filters::new(config, connections),
        connections,
        rules: rules.map(|rule| (rule.id, rule)).collect(),
        at: args.at,
    };
    match &args.requests {
        Some(path) => each_of(path, &explainer, console),
        None => {
            let subject = subject(args)?;
            for note in notes(args, &subject, explainer.filters.config()) {
                console.note(note);
            }
            explainer.explain(&subject, console)
        }
    }
}

/// Notes on input that may mean something else than the caller expects.
fn notes(args: &Args, subject: &Subject, config: &Config) -> Vec<String> {
    let mut notes = Vec::new();
    let has_port = matches!(subject, Subject::Request(request)
        if request.port.is_some() && request.dialled.is_none());
    if has_port && args.port.is_none() && config.policy.reads().cluster {
        notes.push(
            "the port is taken from the URL; the filter takes the port of the route's cluster \
             (give it as `--port`)"
                .to_owned(),
        );
    }
    if let Some(principal) = &args.principal {
        let id = principal.strip_prefix("spiffe://").unwrap_or(principal);
        if namespace_of(id).is_none() {
            notes.push(format!(
                "`{principal}` is not `DOMAIN/ns/NAMESPACE/sa/ACCOUNT`: its namespace is unknown"
            ));
        }
    }
    notes
}

struct Explainer<'f> {
    file: &'f PolicyFile,
    filters: Filters,
    connections: Connections,
    rules: HashMap<&'f str, &'f RuleSource<'f>>,
    at: Time,
    /// Whether a principal of the policy is in the trust domain `cluster.local`.
    names_local_domain: bool,
}

impl Explainer<'_> {
    fn explain(&self, subject: &Subject, console: &mut Console) -> Result<Outcome, Failure> {
        let simulated = self.filters.simulate(subject, self.at);
        let passed = simulated.passed;
        if let Some(note) = self.local_domain(subject, &simulated) {
            console.note(note);
        }
        let account = Account {
            file: self.file,
            config: self.filters.config(),
            rules: &self.rules,
            subject,
            connections: self.connections,
            at: self.at,
            simulated,
            trace: self.filters.trace(subject, self.at),
        };
        match console.format() {
            Format::Text => console.line(text::of(&account))?,
            Format::Json => console.json(&account.to_json())?,
        }
        Ok(if passed { Outcome::Yes } else { Outcome::No })
    }

    /// Says so where the caller's trust domain is all that keeps rules for `cluster.local` from it.
    fn local_domain(&self, subject: &Subject, simulated: &Simulated) -> Option<String> {
        if !self.names_local_domain {
            return None;
        }
        let caller = subject.principal()?;
        let local = trust_domain::as_local(caller)?;
        let as_local = self.filters.simulate(&with_principal(subject, &local), self.at);
        let [decision, would] = decisions(&as_local);
        (decisions(simulated) != [decision, would]).then(|| {
            format!(
                "`{caller}` is in another trust domain than `cluster.local`, which the policy names: as \
                 `{local}` the answer is {}. Only Istio's own policies take `cluster.local` for the \
                 mesh's trust domain; write the domain of the caller",
                would.or(decision).unwrap_or_default()
            )
        })
    }
}

/// The same from another caller.
fn with_principal(subject: &Subject, principal: &str) -> Subject {
    let principal = Some(principal.to_owned());
    match subject.clone() {
        Subject::Request(request) => Subject::Request(Request { principal, ..request }),
        Subject::Connection(connection) => {
            Subject::Connection(Connection { principal, ..connection })
        }
    }
}

/// What is judged otherwise, as the two words of its record.
fn decisions(outcome: &Simulated) -> [Option<&str>; 2] {
    ["decision", "would"].map(|key| outcome.recorded(key))
}

/// Requests one a line, each answered before the next is read.
fn each_of(
    path: &Path,
    explainer: &Explainer<'_>,
    console: &mut Console,
) -> Result<Outcome, Failure> {
    let mut outcome = None;
    for line in input::lines(path)? {
        let (number, line) = line?;
        if line.trim_ascii().is_empty() {
            continue;
        }
        let subject = Subject::from_json(&line).map_err(|error| {
            let place = format!("{}:{number}", input::name(path));
            Failure::new(place, format!("no request: {error}"), "write one JSON object a line")
        })?;
        let passes = explainer.explain(&subject, console)?;
        if outcome != Some(Outcome::No) {
            outcome = Some(passes);
        }
    }
    outcome.ok_or_else(|| {
        Failure::new(input::name(path), "no request", "write one JSON object a line")
    })
}

fn subject(args: &Args) -> Result<Subject, Failure> {
    let text = |text: &Option<String>| text.as_deref().map(Bytes::from);
    if args.connection.is_some() {
        return Ok(Subject::Connection(Connection {
            sni: text(&args.connection),
            principal: args.principal.clone(),
            dialled: args.dialled.clone(),
            ..Connection::default()
        }));
    }
    let asked = if args.curl.is_empty() {
        let headers = args.header.iter();
        Request {
            authority: text(&args.host),
            method: text(&args.method),
            path: text(&args.path),
            headers: headers.map(|(name, value)| (name.clone(), value.as_str().into())).collect(),
            ..Request::default()
        }
    } else {
        curl::request(&args.curl)?
    };
    Ok(Subject::Request(Request {
        port: args.port.or(asked.port),
        dialled: args.dialled.clone(),
        principal: args.principal.clone(),
        tls: args.sni.is_some(),
        sni: text(&args.sni),
        ..asked
    }))
}

fn header(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once(':').ok_or("write `NAME: VALUE`")?;
    Ok((name.trim().to_owned(), value.trim().to_owned()))
}
