//! Commands as functions of texts, for tests that ask too often to start a program.

use crate::commands::check::{Surroundings, mended};
use crate::commands::diff::{OfPolicies, Subject, compared};
use crate::commands::import::{Kind, Text, imported};
use crate::finding::{Finding, Message};
use crate::logs::{self, Ending};
use crate::policy_file::{Policies, PolicyFile};
use crate::policy_text::Mode;
use crate::render::gateway::GatewayFile;
use crate::render::istio;
use crate::render::plan::Plan;
use clap::ValueEnum;
use egress_warden::place::Place;
use egress_warden::policy::Reads;
use egress_warden::root_id::Connections;
use egress_warden::time::Time;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// What `check --fix` makes of a policy's text.
#[derive(Clone, Debug)]
pub struct Fixed {
    /// The new text; the old one where there was nothing to fix.
    pub text: String,
    /// How many places it differs in.
    pub count: usize,
    /// Whether the policy was valid before.
    pub was_valid: bool,
    /// Whether it is valid now.
    pub is_valid: bool,
}

/// Fixes a policy's text for requests within mutual TLS, as of a time.
///
/// # Errors
///
/// The message of `check --fix` where the new text would not be the old one with what was promised.
pub fn fix(text: &str, at: Time) -> Result<Fixed, String> {
    let file = Policies::of_text("p".to_owned(), text.to_owned(), false);
    let is_valid = |file: &Policies| file.files().iter().all(|policy| policy.config().is_ok());
    let was_valid = is_valid(&file);
    let surroundings = Surroundings {
        at,
        has_mutual_tls: true,
        is_dynamic_forward_proxy: false,
        judges_connections: false,
        place: Place::Gateway,
    };
    let (fixed, counts) = mended(file, surroundings).map_err(|error| error.to_string())?;
    let count = counts.iter().sum();
    let is_valid = is_valid(&fixed);
    Ok(Fixed { text: fixed.document().text().to_owned(), count, was_valid, is_valid })
}

/// What `diff --format json` answers about two valid policies, as JSON text.
///
/// # Errors
///
/// The message of the command.
pub fn diff(texts: [&str; 2], is_of_connections: bool, at: Time) -> Result<String, String> {
    let subject = if is_of_connections { Subject::Connections } else { Subject::Requests };
    let files = texts.map(|text| PolicyFile::of_text("p".to_owned(), text.to_owned(), true));
    let [Ok(old), Ok(new)] = files.each_ref().map(PolicyFile::config) else {
        return Err("a policy is not valid".to_owned());
    };
    let [old_file, new_file] = &files;
    let comparison = compared((old_file, old), (new_file, new), subject, at)
        .map_err(|error| error.to_string())?;
    serde_json::to_string(&OfPolicies::new(["old", "new"], &comparison))
        .map_err(|error| error.to_string())
}

/// Every error of the description of a gateway: its JSONPath, and its message.
pub fn gateway_errors(text: &str) -> Vec<(String, String)> {
    told(GatewayFile::of_text("g", text).gateway().err().unwrap_or_default())
}

/// What `render istio` writes.
#[derive(Clone, Debug)]
pub struct Istio {
    /// Paths from the folder on, each with its text.
    pub files: Vec<(String, String)>,
    /// What the plan routes, as `HOST:PORT WAY TARGET`.
    pub plan: Vec<String>,
    /// Hosts that the plan routes and Istio cannot, or not for everybody: the kind, and the host.
    pub losses: Vec<(String, String)>,
}

/// Renders a valid policy for Istio; without text the gateway has its defaults.
///
/// # Errors
///
/// Those of the description, each with its JSONPath and its message.
pub fn istio(policy: &str, gateway: &str) -> Result<Istio, Vec<(String, String)>> {
    let file = PolicyFile::of_text("p".to_owned(), policy.to_owned(), false);
    let (Ok(config), Some(source)) = (file.config(), file.source()) else {
        return Err(vec![("$".to_owned(), "a policy that is not valid".to_owned())]);
    };
    let description = match gateway {
        "" => GatewayFile::default(),
        text => GatewayFile::of_text("g", text),
    };
    let gateway = description.gateway().map_err(told)?;
    let plan = Plan::of(&source, &gateway);
    let rendering = istio::render(config, &source, &gateway, &plan).map_err(told)?;
    let planned = plan.routes.iter().map(|it| {
        let (host, way) = (it.host.text(), it.way.kind.as_str());
        format!("{host}:{} {way} {}", it.port, it.target_port)
    });
    let losses = rendering.losses.iter();
    Ok(Istio {
        files: rendering.files.into_iter().map(|it| (it.path.to_owned(), it.text)).collect(),
        plan: planned.collect(),
        losses: losses.map(|it| (it.kind.word().to_owned(), it.kind.host().to_owned())).collect(),
    })
}

/// Paths with messages.
fn told<K: Message>(errors: Vec<Finding<K>>) -> Vec<(String, String)> {
    let told = errors.into_iter().map(|error| {
        let message = format!("found {}: {}", error.kind.problem(), error.kind.remedy());
        (error.path, message)
    });
    told.collect()
}

/// What a log tells of.
#[derive(Clone, Debug, Default)]
pub struct LogRead {
    /// Requests and connections.
    pub requests: u64,
    /// Of these, those that were passed on.
    pub passed: u64,
    /// Lines that are none.
    pub others: u64,
    /// The canonical hosts of those that are not malformed.
    pub hosts: BTreeSet<String>,
}

/// Reads a log, packed or not, as `replay` does without options.
pub fn read_log(bytes: &[u8]) -> LogRead {
    let mut read = LogRead::default();
    let reads = Reads { principal: true, cluster: true, clock: true, server_name: true };
    let others = logs::read_bytes(bytes.to_vec(), &mut |logged| {
        read.requests += 1;
        read.passed += u64::from(logged.ending() == Ending::PassedOn);
        let request = logged.request(reads, Connections::default());
        let host = request.authority.ok().map(|it| it.host.canonical().into_owned());
        read.hosts.extend(host);
    });
    LogRead { others, ..read }
}

/// The requests of a log as the rows that [`WhatIf`](crate::what_if::WhatIf) takes. Each row has equal
/// requests; `is_by_time`: of the same millisecond only.
pub fn rows(bytes: &[u8], is_by_time: bool) -> String {
    let mut rows: BTreeMap<(String, Option<Duration>), Vec<u64>> = BTreeMap::new();
    logs::read_bytes(bytes.to_vec(), &mut |logged| {
        let time = logged.time().map(Time::since_epoch);
        let times = rows.entry((logged.record(), time.filter(|_| is_by_time))).or_default();
        let milliseconds = time.map_or(0, |time| time.as_millis());
        times.push(u64::try_from(milliseconds).unwrap_or(u64::MAX));
    });
    let rows = rows.into_iter().map(|((record, _), times)| {
        let (first, last) = (times.iter().min(), times.iter().max());
        serde_json::json!([times.len(), first, last, [], record])
    });
    serde_json::Value::from_iter(rows).to_string()
}

/// What `import --allow-partial` makes of texts.
#[derive(Clone, Debug)]
pub struct Imported {
    /// The policy, with its comments.
    pub text: String,
    /// What is not carried over, as the command says it.
    pub open: Vec<String>,
    /// What of the texts is of another kind, or decides nothing.
    pub passed_over: Vec<String>,
}

/// The kinds of import, `auto` included.
#[must_use]
pub fn kinds() -> Vec<String> {
    let kinds = Kind::value_variants().iter().filter_map(Kind::to_possible_value);
    kinds.map(|kind| kind.get_name().to_owned()).collect()
}

/// Imports texts of a kind, which is named as on the command line, each with the name of its file.
/// `accounts` is the file of `--service-accounts`.
///
/// # Errors
///
/// The message of the command.
pub fn import(
    kind: &str,
    texts: &[(&str, &str)],
    accounts: Option<&str>,
) -> Result<Imported, String> {
    import_since(kind, texts, accounts, None)
}

/// The same with what `--cilium-version` says.
///
/// # Errors
///
/// The message of the command.
pub fn import_since(
    kind: &str,
    texts: &[(&str, &str)],
    accounts: Option<&str>,
    cilium: Option<&str>,
) -> Result<Imported, String> {
    let cilium = cilium.map(str::parse).transpose()?;
    let kind = Kind::from_str(kind, false)?;
    let text = |(name, text): &(&str, &str)| {
        let is_json = name.ends_with(".json");
        Text::of((*name).to_owned(), (*text).to_owned(), is_json)
    };
    let texts = texts.iter().map(text).collect::<Result<Vec<_>, _>>();
    let accounts =
        accounts.map(|text| Text::of("accounts.yaml".to_owned(), text.to_owned(), false));
    let accounts = accounts.transpose().map_err(|failure| failure.to_string())?;
    let imported = texts.and_then(|texts| {
        imported(kind, &texts, accounts.as_ref(), cilium, "imported", Mode::Enforce)
    });
    let imported = imported.map_err(|failure| failure.to_string())?;
    let open = imported.points().collect();
    Ok(Imported { open, passed_over: imported.passed_over, text: imported.text })
}
