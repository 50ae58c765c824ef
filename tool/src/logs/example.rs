//! Requests and connections that belong together: how many, and the first few of them.

use super::plain::plain;
use super::{Logged, Place, Tally};
use serde::Serialize;

/// How many requests of a group are shown.
const SHOWN: usize = 3;
/// How much of a value is shown, in characters.
const SHOWN_CHARACTERS: usize = 120;

/// Requests that belong together.
#[derive(Debug, Default)]
pub(crate) struct Group {
    pub(crate) requests: u64,
    examples: Vec<Example>,
}

/// One request, to be found again.
#[derive(Debug)]
struct Example {
    place: Place,
    /// `None` for a connection.
    method: Option<String>,
    authority: String,
    /// Without its query, which no verdict depends on and where secrets stand.
    path: Option<String>,
    principal: Option<String>,
    /// Of a connection without a server name: where it went.
    upstream: Option<String>,
}

/// An example with its place by name, as answers have it.
#[derive(Debug, Serialize)]
pub(crate) struct Shown<'a> {
    /// `FILE:LINE`
    place: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    method: Option<&'a str>,
    authority: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    path: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    principal: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    upstream_host: Option<&'a str>,
}

/// A group as answers have it.
#[derive(Debug, Serialize)]
pub(crate) struct Requests<'a> {
    pub(crate) requests: u64,
    pub(crate) examples: Vec<Shown<'a>>,
}

impl Group {
    /// Counts one request more.
    pub(crate) fn push(&mut self, logged: &Logged<'_>, place: Place) {
        self.requests += 1;
        if self.examples.len() < SHOWN {
            self.examples.push(Example {
                place,
                method: logged.method().map(shown_text),
                authority: shown_text(logged.authority()),
                path: logged.path().and_then(|path| path.split('?').next()).map(shown_text),
                principal: logged.principal().map(shown_text),
                upstream: match (logged.is_connection(), logged.authority()) {
                    (true, "") => logged.upstream().map(shown_text),
                    _ => None,
                },
            });
        }
    }

    /// Adds what stands behind.
    pub(crate) fn add(&mut self, behind: Self) {
        self.requests += behind.requests;
        let room = SHOWN.saturating_sub(self.examples.len());
        self.examples.extend(behind.examples.into_iter().take(room));
    }

    pub(crate) fn answer(&self, tally: &Tally) -> Requests<'_> {
        Requests { requests: self.requests, examples: self.shown(tally) }
    }

    /// The first few.
    pub(crate) fn shown(&self, tally: &Tally) -> Vec<Shown<'_>> {
        let shown = |example: &'_ Example| -> String { tally.name(example.place) };
        self.examples
            .iter()
            .map(|example| Shown {
                place: shown(example),
                method: example.method.as_deref(),
                authority: &example.authority,
                path: example.path.as_deref(),
                principal: example.principal.as_deref(),
                upstream_host: example.upstream.as_deref(),
            })
            .collect()
    }
}

impl std::fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let authority = match (self.method, self.authority) {
            (None, "") => "(no server name)",
            (_, authority) => authority,
        };
        write!(f, "{}: {} {authority}", self.place, self.method.unwrap_or("TLS"))?;
        f.write_str(self.path.unwrap_or_default())?;
        if let Some(upstream) = self.upstream_host {
            write!(f, " to {upstream}")?;
        }
        match self.principal {
            Some(principal) => write!(f, " by {principal}"),
            None => Ok(()),
        }
    }
}

/// As much of a text as is shown, without what a terminal obeys.
pub(crate) fn shown_text(text: &str) -> String {
    plain(text, SHOWN_CHARACTERS)
}
