//! A proposal as text: a policy in YAML, then, as comments, what is left to a person.

use super::appraisal;
use super::draft::{Apart, Callers, Draft, Rule};
use super::sightings::Sighting;
use crate::console::counted;
use crate::policy_text::{Mode, head, list, ports, quoted, word};
use egress_warden::config::MAX_MESSAGE;
use egress_warden::time::Time;
use std::collections::BTreeMap;
use std::fmt::Write;

/// Most hosts of one name that are written out one by one.
const MAX_OF_ONE_NAME: usize = 5;
/// Most callers that a proposed rule for one destination lists.
const MAX_CALLERS: usize = 10;
/// Most destinations that are written out for one oddity.
const MAX_OF_ODDITY: usize = 200;

/// The whole text.
pub(super) fn text(draft: &Draft, name: &str, mode: Mode, introduction: &[String]) -> String {
    let mut text = String::new();
    // Writing to a string cannot fail.
    for line in introduction {
        let _ = writeln!(text, "# {line}");
    }
    text.push_str(&head(name, mode, !draft.rules.is_empty()));
    for rule in &draft.rules {
        write_rule(&mut text, rule);
    }
    write_apart(&mut text, &draft.apart, draft.rules.is_empty());
    text
}

/// What a rule's note says: how often, by how many, when.
pub(super) fn note(rule: &Rule) -> String {
    let mut note =
        format!("seen {} by {}{}", times(rule.seen.passed), rule.callers, when(&rule.seen));
    let methods: Vec<&str> = rule.seen.methods.iter().map(String::as_str).collect();
    let _ = write!(note, ", {}", methods.join(" "));
    note.truncate(note.floor_char_boundary(MAX_MESSAGE));
    note
}

/// `, 2026-11-01 to 2026-11-25`.
pub(super) fn when(seen: &Sighting) -> String {
    let Some((first, last)) = seen.time else { return String::new() };
    let (first, last) = (day(first), day(last));
    if first == last { format!(", {first}") } else { format!(", {first} to {last}") }
}

fn day(time: Time) -> String {
    let mut text = time.to_string();
    text.truncate("2026-11-01".len());
    text
}

fn write_rule(text: &mut String, rule: &Rule) {
    let _ = writeln!(text, "- id: {}\n  action: allow", word(&rule.id));
    let from = rule.entries_of_from();
    if !from.is_empty() {
        text.push_str("  from:\n");
    }
    for (key, values) in from {
        match &values[..] {
            [_, _, _, ..] => {
                let _ = writeln!(text, "  - {key}:");
                for value in &values {
                    let _ = writeln!(text, "    - {}", quoted(value));
                }
            }
            _ => {
                let _ = writeln!(text, "  - {key}: {}", list(&values));
            }
        }
    }
    text.push_str("  to:\n  - hosts:\n");
    for it in &rule.hosts {
        let _ = writeln!(text, "    - {}", word(it));
    }
    let _ = writeln!(text, "    ports: {}\n  note: {}", ports(&rule.ports), quoted(&note(rule)));
}

fn write_apart(text: &mut String, apart: &[Apart], has_no_rules: bool) {
    if apart.is_empty() {
        return;
    }
    text.push_str(
        "\n# Not allowed above: for a person to judge. A line that starts `# - ` is a rule, ",
    );
    text.push_str(match has_no_rules {
        true => "to\n# be put under `rules` in place of `[]`.\n",
        false => "once\n# its `# ` is taken away.\n",
    });
    if apart.iter().any(|it| it.port.is_none()) {
        text.push_str("# A rule without `ports` is for any port: add the one that leaves.\n");
    }
    let mut number = 0;
    for of_oddity in apart.chunk_by(|a, b| a.oddity == b.oddity) {
        let Some(first) = of_oddity.first() else { continue };
        let _ = writeln!(text, "#\n# {}:", first.oddity);
        let mut by_name: BTreeMap<&str, Vec<&Apart>> = BTreeMap::new();
        for it in of_oddity {
            by_name.entry(appraisal::registered(&it.host)).or_default().push(it);
        }
        for (shown, (name, destinations)) in by_name.iter().enumerate() {
            if shown >= MAX_OF_ODDITY {
                let left: usize = by_name.values().skip(shown).map(Vec::len).sum();
                let _ = writeln!(text, "#   and {left} destinations more");
                break;
            }
            if destinations.len() > MAX_OF_ONE_NAME {
                write_crowd(text, name, destinations);
                continue;
            }
            for it in destinations {
                number += 1;
                write_single(text, it, number);
            }
        }
    }
}

/// Many destinations under one name, in one line.
fn write_crowd(text: &mut String, name: &str, destinations: &[&Apart]) {
    let mut all = Sighting::default();
    for it in destinations {
        all.add(it.seen.clone());
    }
    let callers = destinations.iter().flat_map(|it| &it.callers).map(Option::as_deref);
    let example = destinations.first().map_or("", |it| &it.host);
    let _ = writeln!(
        text,
        "#   {} destinations under {name}, such as {example}: {} by {}{}",
        destinations.len(),
        times(all.requests()),
        Callers::count(callers).by_name(),
        when(&all)
    );
}

fn write_single(text: &mut String, apart: &Apart, number: usize) {
    let callers: Vec<&Option<String>> = apart.callers.iter().collect();
    let is_listable = |it: &&Option<String>| it.as_deref().is_none_or(|it| !it.contains('*'));
    if callers.len() > MAX_CALLERS || !callers.iter().all(is_listable) {
        let _ = writeln!(
            text,
            "#   {}{}: {} by {}{}",
            apart.host,
            apart.port.map(|port| format!(":{port}")).unwrap_or_default(),
            times(apart.seen.requests()),
            Callers::count(apart.callers.iter().map(Option::as_deref)).by_name(),
            when(&apart.seen)
        );
        return;
    }
    let known: Vec<String> = apart.callers.iter().flatten().cloned().collect();
    let from = match known.len() == callers.len() {
        true => format!("from: [{{principals: {}}}], ", list(&known)),
        false => String::new(),
    };
    let ports = apart.port.map(|port| format!(", ports: [{port}]")).unwrap_or_default();
    let methods = if apart.is_connect { ", methods: [CONNECT]" } else { "" };
    let seen = format!("seen {}{}", times(apart.seen.requests()), when(&apart.seen));
    let _ = writeln!(
        text,
        "# - {{id: judge-{number}, action: allow, {from}to: [{{hosts: [{}]{ports}{methods}}}], note: {}}}",
        quoted(&apart.host),
        quoted(&seen)
    );
}

/// `1 time`, `2 times`.
fn times(count: u64) -> String {
    counted(count, "time")
}
