//! Whatever the text, an import says what is wrong with it, or writes a policy that the filter takes. What is
//! written is read by another reader of YAML than the tool's.

use arbitrary::{Result, Unstructured};
use egress_warden::config;
use egress_warden_tool::in_process;
use serde_json::Value;
use std::collections::BTreeSet;

/// Panics where the import of some bytes is not as it should be. Their first line names the kind; where it names
/// none, the first byte chooses one.
pub fn check(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let kinds = in_process::kinds();
    let (line, rest) = text.split_once('\n').unwrap_or(("", &text));
    match kinds.iter().find(|kind| *kind == line) {
        Some(kind) => check_text(kind, rest),
        None => {
            let choice = bytes.first().copied().map_or(0, usize::from) % kinds.len();
            check_text(&kinds[choice], &text);
        }
    }
}

/// Accounts of pods with labels, as `--service-accounts` takes them.
const ACCOUNTS: &str = "- {namespace: shop, labels: {app: web}, serviceAccounts: [web]}\n";

fn check_text(kind: &str, text: &str) {
    let map = ["asm", "cilium"].contains(&kind).then_some(ACCOUNTS);
    let file = if text.starts_with('{') { "input.json" } else { "input" };
    let imported = match in_process::import(kind, &[(file, text)], map) {
        Ok(imported) => imported,
        Err(message) => return message.lines().for_each(|line| assert_shown(line, text)),
    };
    imported.open.iter().for_each(|point| assert_shown(point, text));
    imported.text.lines().for_each(|line| assert_shown(line, text));
    let policy: Value = serde_saphyr::from_str(&imported.text)
        .unwrap_or_else(|error| panic!("{error}\n{text}\n{}", imported.text));
    let keys: BTreeSet<&str> =
        policy.as_object().expect("an object").keys().map(|it| &**it).collect();
    assert_eq!(keys, BTreeSet::from(["default", "policy", "rules"]), "{text}\n{}", imported.text);
    assert_eq!(policy["default"], "deny");
    config::read(policy.to_string().as_bytes())
        .unwrap_or_else(|errors| panic!("{errors}\n{text}\n{}", imported.text));
    let comments = imported.text.lines().filter(|line| line.starts_with("# - input")).count();
    assert_eq!(comments, imported.open.len(), "each open point is a comment: {}", imported.text);
}

/// Panics where the import of a text is not as it should be once some parts of it are doubled, put elsewhere, or
/// taken out.
pub fn check_changed(text: &str, bytes: &mut Unstructured<'_>) -> Result<()> {
    let mut text = text.to_owned();
    for _ in 0..bytes.int_in_range(1..=4)? {
        let mut place = |text: &str| -> Result<usize> {
            Ok(text.floor_char_boundary(bytes.int_in_range(0..=text.len())?))
        };
        let (from, to) = (place(&text)?, place(&text)?);
        let part = text[from.min(to)..from.max(to)].to_owned();
        match bytes.int_in_range(0..=3)? {
            0 => text.insert_str(from, &part),
            1 => text.insert_str(from, bytes.choose(&PARTS)?),
            2 => text.replace_range(from.min(to)..from.max(to), bytes.choose(&PARTS)?),
            _ => text.truncate(from),
        }
    }
    check(text.as_bytes());
    Ok(())
}

/// What texts of all kinds give a meaning to.
const PARTS: [&str; 30] = [
    "", " ", "\n", "\t", "#", "'", "\"", ":", ",", "- ", "? ", "&x ", "*x", "!", "|", "[", "}",
    "\\\n", "*", "*.", ".", ":443", "0", "/", "xn--", "\u{e9}", "\u{2028}", "\u{85}", "\u{1b}[m",
    "${{",
];

/// A line that a terminal, and a reader of YAML, take for one line.
fn assert_shown(line: &str, text: &str) {
    let is_odd = |it: char| it.is_control() || matches!(it, '\u{2028}' | '\u{2029}' | '\u{feff}');
    assert!(!line.is_empty() && !line.contains(is_odd), "{line:?}\n{text:?}");
}
