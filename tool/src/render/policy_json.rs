//! A policy as JSON that is read by people too: one key a line, one rule a line, in ASCII.
//!
//! JSON is YAML, but for the escapes of characters beyond 16 bits: JSON writes two, which readers of YAML
//! refuse.

use crate::policy_file::{Node, Value};
use crate::policy_text::quoted;
use std::fmt::Write as _;

/// The policy of a tree, for a text that is read as JSON.
pub(super) fn policy_json(tree: &Node) -> String {
    in_ascii(&lines(tree), |c, out| {
        for unit in c.encode_utf16(&mut [0; 2]) {
            let _ = write!(out, "\\u{unit:04x}");
        }
    })
}

/// The policy of a tree, for a text that is read as YAML.
pub(super) fn policy_yaml(tree: &Node) -> String {
    in_ascii(&lines(tree), |c, out| {
        let _ = match u16::try_from(u32::from(c)) {
            Ok(unit) => write!(out, "\\u{unit:04x}"),
            Err(_) => write!(out, "\\U{:08x}", u32::from(c)),
        };
    })
}

fn lines(tree: &Node) -> String {
    let members: Vec<_> = tree
        .members()
        .iter()
        .map(|member| format!("  {}: {}", quoted(&member.key), value(&member.key, &member.value)))
        .collect();
    format!("{{\n{}\n}}", members.join(",\n"))
}

fn value(key: &str, node: &Node) -> String {
    match &node.value {
        Value::List(rules) if key == "rules" && !rules.is_empty() => {
            let rules: Vec<_> =
                rules.iter().map(|rule| format!("    {}", rule.to_json())).collect();
            format!("[\n{}\n  ]", rules.join(",\n"))
        }
        _ => node.to_json(),
    }
}

/// Beyond ASCII there are characters that a block of YAML takes for line breaks, or may not hold. Outside
/// its strings JSON has none.
fn in_ascii(json: &str, escape: impl Fn(char, &mut String)) -> String {
    let mut ascii = String::with_capacity(json.len());
    for c in json.chars() {
        if c == '\n' || (' '..='~').contains(&c) {
            ascii.push(c);
        } else {
            escape(c, &mut ascii);
        }
    }
    ascii
}

/// The variables of the environment that the stamps of a policy name, sorted.
pub(super) fn secrets(tree: &Node) -> Vec<String> {
    let rules = tree.get("rules").map_or(&[][..], Node::items);
    let stamps = rules.iter().chain([tree]).filter_map(|it| it.get("stamp")?.get("set"));
    let values = stamps.flat_map(Node::members).filter_map(|header| header.value.text());
    let mut names: Vec<String> = values.flat_map(secrets_of).collect();
    names.sort_unstable();
    names.dedup();
    names
}

fn secrets_of(value: &str) -> Vec<String> {
    // Two braces are a literal one.
    let value = value.replace("{{", "");
    let secrets = value.split("{secret:").skip(1);
    secrets.filter_map(|rest| rest.split_once('}')).map(|(name, _)| name.to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy_file::PolicyFile;

    fn tree_of(policy: &str) -> PolicyFile {
        PolicyFile::of_text("p".to_owned(), policy.to_owned(), false)
    }

    #[test]
    fn it_is_the_same_policy() {
        let policy = "policy: t\ndefault: deny\nrules:\n\
                      - {id: a, action: deny, message: \"b\u{fc}cher \\u2028 \\x7f \u{1f600} \\\"\\n\"}\n\
                      - {id: b, action: allow, to: [{hosts: [a.test], ports: [80]}]}\n";
        let file = tree_of(policy);
        let json = policy_json(file.tree().unwrap());
        assert!(json.bytes().all(|it| it == b'\n' || (b' '..=b'~').contains(&it)), "{json}");
        assert_eq!(json.lines().count(), 8, "{json}");
        let read = egress_warden::config::read(json.as_bytes()).unwrap();
        assert_eq!(read.revision, file.config().unwrap().revision);

        let yaml = policy_yaml(file.tree().unwrap());
        assert!(yaml.is_ascii() && yaml.contains("\\U0001f600"), "{yaml}");
        let value: serde_json::Value = serde_saphyr::from_str(&yaml).unwrap();
        let read = egress_warden::config::read(value.to_string().as_bytes()).unwrap();
        assert_eq!(read.revision, file.config().unwrap().revision);
    }

    #[test]
    fn the_secrets_of_stamps_are_found() {
        let file = tree_of(
            "policy: t\nstamp: {set: {x-a: \"{secret:B}\"}}\nrules:\n- id: a\n  action: allow\n  \
             stamp: {set: {x-b: \"{secret:A} {secret:B}\", x-c: \"{{secret:C}}\"}}\n",
        );
        assert!(file.config().is_ok());
        assert_eq!(secrets(file.tree().unwrap()), ["A", "B"]);
    }
}
