//! Warnings about what has a meaning in other languages and stands for itself here.

use super::warning::Warning;
use crate::diagnostics::Diagnostic;
use crate::policy_file::{List, Node, Source, path_of};
use egress_warden::config::{Item, Listed};
use egress_warden::host::HostPattern;

/// Every warning about texts that look like those of another language, in the lists of all rules.
pub(super) fn of(policy: &Source<'_>) -> Vec<Diagnostic> {
    let mut reports = Vec::new();
    for rule in &policy.rules {
        for (index, entry) in rule.to.iter().enumerate() {
            let start = format!("{}.to[{index}]", path_of(rule));
            let mut list = Reader { start, reports: &mut reports };
            list.read("hosts", &entry.hosts, |_, host, text| of_host(host, text));
            list.read("methods", &entry.methods, |key, method, _| of_method(key, method));
            list.read("notMethods", &entry.not_methods, |key, method, _| of_method(key, method));
            list.read("paths", &entry.paths, |_, _, path| of_path(path));
            list.read("notPaths", &entry.not_paths, |_, _, path| of_path(path));
        }
        for (index, entry) in rule.from.iter().enumerate() {
            let start = format!("{}.from[{index}]", path_of(rule));
            let mut list = Reader { start, reports: &mut reports };
            list.read("principals", &entry.principals, |_, _, text| of_name(text));
            list.read("notPrincipals", &entry.not_principals, |_, _, text| of_name(text));
            list.read("namespaces", &entry.namespaces, |_, _, text| of_name(text));
            list.read("notNamespaces", &entry.not_namespaces, |_, _, text| of_name(text));
        }
    }
    reports
}

/// Goes through the lists of one entry.
struct Reader<'r> {
    /// The path of the entry.
    start: String,
    reports: &'r mut Vec<Diagnostic>,
}

impl Reader<'_> {
    /// Reports what is said of each item of a list; `say` gets the list's key, the pattern and its
    /// text.
    fn read<T: Copy>(
        &mut self,
        key: &'static str,
        list: &List<'_, T>,
        say: impl Fn(&'static str, T, &str) -> Option<Warning>,
    ) {
        for (position, item) in list.iter().flat_map(Listed::iter).enumerate() {
            let Item { pattern, node } = item;
            if let Some(warning) = say(key, pattern, Node::text(node).unwrap_or_default()) {
                let place = (format!("{}.{key}[{position}]", self.start), node);
                self.reports.push(Diagnostic::warning(warning.word(), place, warning));
            }
        }
    }
}

/// A block of all addresses, as a NetworkPolicy has for the whole internet.
fn of_host(host: HostPattern<'_>, text: &str) -> Option<Warning> {
    matches!(host, HostPattern::Block(block) if block.length() == 0)
        .then(|| Warning::AllAddresses { block: text.to_owned() })
}

/// A word for all methods, or several methods in one text.
fn of_method(key: &'static str, method: &str) -> Option<Warning> {
    let stands_for_all = ["ALL", "ANY"].iter().any(|word| word.eq_ignore_ascii_case(method));
    if stands_for_all {
        return Some(Warning::AnyMethod { key, method: method.to_owned() });
    }
    // Of what a token may hold, no method in use has these.
    method
        .contains(['.', '|', '^', '$', '+'])
        .then(|| Warning::SeveralMethods { method: method.to_owned() })
}

/// A placeholder or a regular expression.
fn of_path(path: &str) -> Option<Warning> {
    let is_placeholder = |segment: &&str| {
        let is_named = |name: &str| name.starts_with(|c: char| c.is_ascii_alphabetic());
        segment.strip_prefix(':').is_some_and(is_named)
            || segment.strip_prefix('<').is_some_and(|rest| rest.ends_with('>'))
    };
    if let Some(segment) = path.split('/').find(is_placeholder) {
        let (start, _) = path.split_once(segment)?;
        let start = (!start.contains('*')).then(|| start.to_owned());
        let text = segment.to_owned();
        return Some(Warning::Literal { text, looks_like: "a placeholder", start });
    }
    // But for `$`, no URI has these bytes unescaped (RFC 3986); the policy's reader refuses others.
    let is_regex = path.contains(['^', '|', '[', ']']) || path.ends_with('$');
    (is_regex || anything_at_end(path).is_some()).then(|| regex(path))
}

/// Characters of regular expressions, which SPIFFE ids and namespaces never have.
const REGEX: [char; 11] = ['^', '$', '|', '(', ')', '[', ']', '{', '}', '+', '?'];

/// A regular expression where a caller or a namespace is named.
fn of_name(text: &str) -> Option<Warning> {
    let is_regex = text.contains(REGEX);
    (is_regex || anything_at_end(text).is_some()).then(|| regex(text))
}

fn regex(text: &str) -> Warning {
    let is_plain = |start: &&str| !start.contains(REGEX) && !start.contains('*');
    let start = anything_at_end(text).filter(is_plain).map(str::to_owned);
    Warning::Literal { text: text.to_owned(), looks_like: "a regular expression", start }
}

/// What is before a last segment `.*` or `.+`.
fn anything_at_end(text: &str) -> Option<&str> {
    let start = text.strip_suffix(".*").or_else(|| text.strip_suffix(".+"))?;
    (start.is_empty() || start.ends_with('/')).then_some(start)
}
