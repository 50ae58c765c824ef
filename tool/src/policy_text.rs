//! Pieces of a policy that a command writes: its head, values in YAML, names and ids; and where it goes.

use crate::console::{Console, Format, GOOD, NAME, counted, styled};
use crate::document::is_text_when_plain;
use crate::failure::Failure;
use clap::ValueEnum;
use egress_warden::config::{self, Config};
use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

/// The options of a command that writes a policy in YAML.
#[derive(Debug, clap::Args)]
pub(crate) struct Output {
    /// Where to write the policy. `-` is standard output
    #[arg(short, long, value_name = "POLICY", default_value = "-")]
    output: PathBuf,
    /// The mode of the policy. monitor: nothing is refused, everything is reported
    #[arg(long, value_enum, default_value_t = Mode::Enforce, value_name = "MODE")]
    pub(crate) mode: Mode,
}

/// What a policy does with what it does not allow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Mode {
    Enforce,
    Monitor,
}

impl Output {
    /// Writes a policy: to a file, which is told, or as the answer in text.
    pub(crate) fn write(
        &self,
        text: &str,
        config: &Config,
        console: &mut Console,
    ) -> Result<(), Failure> {
        let is_text = console.format() == Format::Text;
        if self.output == Path::new("-") {
            return if is_text { console.bytes(text.as_bytes()) } else { Ok(()) };
        }
        let name = self.output.display();
        std::fs::write(&self.output, text).map_err(|error| {
            Failure::new(name.to_string(), error.to_string(), "name another file")
        })?;
        if !is_text {
            return Ok(());
        }
        let rules = counted(config.policy.rules().len() as u64, "rule");
        let (name, revision) = (styled(NAME, name), styled(GOOD, &config.revision));
        console.line(format_args!("{name}: {revision}, {rules}"))
    }
}

/// The first lines of a policy, to the key `rules`.
pub(crate) fn head(name: &str, mode: Mode, has_rules: bool) -> String {
    let mode = if mode == Mode::Monitor { "mode: monitor\n" } else { "" };
    let rules = if has_rules { "rules:" } else { "rules: []" };
    let name = word(name);
    format!("policy: {name}\n{mode}default: deny\n{rules}\n")
}

/// A host, or the name of a rule or a policy. `no` and `null` are such, and other values of YAML.
pub(crate) fn word(word: &str) -> String {
    match word.starts_with(|it: char| it.is_ascii_lowercase()) && is_text_when_plain(word) {
        true => word.to_owned(),
        false => quoted(word),
    }
}

/// A list of ports on one line.
pub(crate) fn ports(ports: &[u16]) -> String {
    let ports: Vec<String> = ports.iter().map(u16::to_string).collect();
    format!("[{}]", ports.join(", "))
}

/// A list of texts on one line.
pub(crate) fn list(texts: &[String]) -> String {
    let texts: Vec<String> = texts.iter().map(|it| quoted(it)).collect();
    format!("[{}]", texts.join(", "))
}

/// A string of JSON is one of YAML.
pub(crate) fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// The name of a policy, as an argument.
pub(crate) fn name(text: &str) -> Result<String, String> {
    match config::is_name(text) {
        true => Ok(text.to_owned()),
        false => Err("write a name of `a-z 0-9 -`, such as `payments-egress`".to_owned()),
    }
}

/// A text as the start of a rule's id, with room for a number; `rule` where nothing of it can stand there.
pub(crate) fn id_of(text: &str) -> String {
    let text: String = text
        .to_ascii_lowercase()
        .chars()
        .map(|it| if it.is_ascii_alphanumeric() { it } else { '-' })
        .collect();
    let text = text.trim_matches('-');
    let cut = text.get(..config::MAX_NAME - 6).unwrap_or(text).trim_end_matches('-');
    if cut.is_empty() { "rule".to_owned() } else { cut.to_owned() }
}

/// Names that are taken, so that each is given once.
#[derive(Debug, Default)]
pub(crate) struct Ids {
    taken: HashSet<String>,
    /// By name the first number that may be free: to look for it from 2 on takes a square of time.
    next: HashMap<String, usize>,
}

impl Ids {
    /// An id that nothing else has: the name, or the name with a number.
    pub(crate) fn free(&mut self, name: &str) -> String {
        if self.taken.insert(name.to_owned()) {
            return name.to_owned();
        }
        let next = self.next.entry(name.to_owned()).or_insert(2);
        loop {
            let id = format!("{name}-{next}");
            *next = next.saturating_add(1);
            if self.taken.insert(id.clone()) {
                return id;
            }
        }
    }
}

impl FromIterator<String> for Ids {
    fn from_iter<I: IntoIterator<Item = String>>(taken: I) -> Self {
        Self { taken: taken.into_iter().collect(), next: HashMap::new() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_that_would_be_another_value_of_yaml_is_quoted() {
        for (text, expected) in [
            ("api.stripe.com", "api.stripe.com"),
            ("null", "\"null\""),
            ("no", "\"no\""),
            ("true", "\"true\""),
            ("*.stripe.com", "\"*.stripe.com\""),
            ("1.2.3.4", "\"1.2.3.4\""),
        ] {
            assert_eq!(word(text), expected);
        }
    }
}
