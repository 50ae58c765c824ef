//! Where a dump or statistics come from: a file, standard input, or a gateway's admin address.

use crate::failure::Failure;
use crate::input;
use std::path::Path;
use std::time::Duration;

/// How long an answer may take in all.
const PATIENCE: Duration = Duration::from_secs(60);

/// Largest answer to a question that is asked again and again, in bytes.
const MAX_OWN_STATS: usize = 64 << 20;

/// What is asked of an admin address.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Question {
    ConfigDump,
    Stats,
    /// The counters of egress-warden and its guard, and how long the proxy runs.
    OwnStats,
}

impl Question {
    fn path(self) -> &'static str {
        match self {
            Self::ConfigDump => "/config_dump?include_eds",
            Self::Stats => "/stats?format=json",
            Self::OwnStats => "/stats?format=json&filter=egress.warden%7Cserver.uptime",
        }
    }

    /// Largest answer, in bytes.
    fn most(self) -> usize {
        match self {
            Self::ConfigDump | Self::Stats => super::dump::MAX_TEXT,
            Self::OwnStats => MAX_OWN_STATS,
        }
    }
}

/// How messages name it.
pub(crate) fn name(source: &str) -> String {
    match is_url(source) {
        true => source.to_owned(),
        false => input::name(Path::new(source)),
    }
}

/// Reads a file, standard input for `-`, or what an admin address answers.
pub(crate) fn read(source: &str, question: Question) -> Result<Vec<u8>, Failure> {
    match is_url(source) {
        true => fetch(source, question, PATIENCE),
        false => input::read(Path::new(source), super::dump::MAX_TEXT),
    }
}

/// Whether it is an admin address alone, without a path.
pub(crate) fn is_address(source: &str) -> bool {
    let rest = source.split_once("://").map(|(_, rest)| rest);
    rest.is_some_and(|rest| !rest.trim_end_matches('/').contains('/'))
}

fn is_url(source: &str) -> bool {
    source.contains("://")
}

/// Refuses an address that is not read.
pub(crate) fn plain_http(source: &str) -> Result<(), Failure> {
    if source.starts_with("http://") {
        return Ok(());
    }
    let remedy = "write `http://HOST:PORT`; for a pod: `kubectl port-forward POD 15000`";
    Err(Failure::new(source, "no address that is read: only plain HTTP is", remedy))
}

/// Reads what an address answers within this time.
pub(crate) fn fetch(
    source: &str,
    question: Question,
    patience: Duration,
) -> Result<Vec<u8>, Failure> {
    let fail = |problem: String, remedy: &str| Failure::new(source, problem, remedy);
    plain_http(source)?;
    // An address alone is asked for what is needed; a path is taken as it is.
    let url = match is_address(source) {
        true => format!("{}{}", source.trim_end_matches('/'), question.path()),
        false => source.to_owned(),
    };
    let agent: ureq::Agent = ureq::Agent::config_builder()
        .timeout_global(Some(patience))
        .max_redirects(0)
        // The admin address is reached directly, whatever the environment says.
        .proxy(None)
        .http_status_as_error(false)
        .build()
        .into();
    let unreachable = |error: ureq::Error| {
        let remedy = "see that the admin address is right and open from here";
        fail(format!("no answer: {error}"), remedy)
    };
    let mut response = agent.get(&url).call().map_err(unreachable)?;
    if response.status() != 200 {
        let problem = format!("answered with status {}", response.status().as_u16());
        return Err(fail(problem, "give the admin address of an Envoy"));
    }
    let limit = u64::try_from(question.most()).unwrap_or(u64::MAX);
    response.body_mut().with_config().limit(limit).read_to_vec().map_err(unreachable)
}
