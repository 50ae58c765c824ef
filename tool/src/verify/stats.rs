//! Envoy's statistics: what `/stats` answers, as JSON or as text.

use super::dump::json;
use super::tree::Fields;
use crate::failure::Failure;
use serde_json::Value;
use std::collections::BTreeMap;

/// Counters and gauges, and texts, by name.
#[derive(Debug, Default)]
pub(crate) struct Stats {
    counters: BTreeMap<String, u64>,
    texts: BTreeMap<String, String>,
}

impl Stats {
    /// Reads them. `place` is the name of the text for messages.
    pub(crate) fn read(text: &[u8], place: &str) -> Result<Self, Failure> {
        let stats = match text.trim_ascii_start().first() {
            Some(b'{') => of_json(&json(text, place, COMMAND)?),
            Some(b'#') => {
                let remedy = format!("give what {COMMAND} writes");
                return Err(Failure::new(place, "statistics in Prometheus' format", remedy));
            }
            // What is packed, or empty, has its own message.
            None | Some(0x1f | 0x28) => of_json(&json(text, place, COMMAND)?),
            Some(_) => of_text(&String::from_utf8_lossy(text)),
        };
        match stats.counters.is_empty() {
            true => {
                Err(Failure::new(place, "no statistics", format!("give what {COMMAND} writes")))
            }
            false => Ok(stats),
        }
    }

    /// The version of a filter that is in force, as its discovery counts it.
    pub(super) fn version_of(&self, filter: &str) -> Option<&str> {
        let name = format!(".{filter}.version_text");
        let mut texts = self.texts.iter();
        let of_filter = texts.find(|(key, _)| {
            key.starts_with("extension_config_discovery.") && key.ends_with(&name)
        });
        of_filter.map(|(_, version)| version.as_str())
    }

    /// Each counter with its value.
    pub(crate) fn counters(&self) -> impl Iterator<Item = (&str, u64)> {
        self.counters.iter().map(|(name, value)| (name.as_str(), *value))
    }
}

const COMMAND: &str = "`curl -s localhost:15000/stats?format=json`";

fn of_json(tree: &Value) -> Stats {
    let mut stats = Stats::default();
    for stat in tree.list("stats") {
        let Some(name) = stat.text("name") else { continue };
        match stat.field("value") {
            Some(Value::String(text)) => {
                stats.texts.insert(name.to_owned(), text.clone());
            }
            value => {
                stats.counters.extend(value.and_then(Value::as_u64).map(|it| (name.to_owned(), it)))
            }
        }
    }
    stats
}

fn of_text(text: &str) -> Stats {
    let mut stats = Stats::default();
    for (name, value) in text.lines().filter_map(|line| line.split_once(": ")) {
        let quoted = value.trim().strip_prefix('"').and_then(|it| it.strip_suffix('"'));
        match quoted {
            Some(text) => {
                stats.texts.insert(name.to_owned(), text.to_owned());
            }
            None => {
                stats.counters.extend(value.trim().parse().ok().map(|it| (name.to_owned(), it)))
            }
        }
    }
    stats
}
