//! Pieces of a policy that a command writes: values in YAML, names and ids.

use egress_warden::config;
use std::collections::BTreeSet;

/// A host where a list has it: one that starts with a letter is no other YAML value.
pub(crate) fn host(host: &str) -> String {
    match host.starts_with(|it: char| it.is_ascii_lowercase()) {
        true => host.to_owned(),
        false => quoted(host),
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

/// An id that no other rule has: the name, or the name with a number.
pub(crate) fn free_id(name: &str, taken: &mut BTreeSet<String>) -> String {
    let numbered = (2_usize..).map(|number| format!("{name}-{number}"));
    let mut candidates = [name.to_owned()].into_iter().chain(numbered);
    let id = candidates.find(|id| !taken.contains(id)).unwrap_or_default();
    taken.insert(id.clone());
    id
}
