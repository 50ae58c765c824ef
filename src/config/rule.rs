//! Rules of a policy text.

use super::MAX_MESSAGE;
use super::fault::{Path, quote, replacement};
use super::json::Node;
use super::object::{Entry, Object, Reader};
use super::stamp;
use crate::policy::{Action, Destination, Only, Rule, Source, TextPattern, TextSet};
use crate::stamp::Stamp;
use crate::token::is_token;
use std::time::SystemTime;

/// The words for actions.
pub(super) const ACTIONS: [(&str, Action); 2] = [("allow", Action::Allow), ("deny", Action::Deny)];

/// One rule as it is written.
pub(super) struct RuleText<'n> {
    /// The id, where it is one.
    pub(super) id: Option<&'n str>,
    pub(super) rule: Rule,
    pub(super) destinations: Vec<Destination<'n>>,
    pub(super) stamp: Option<Stamp>,
    pub(super) message: Option<&'n str>,
}

impl<'n> RuleText<'n> {
    pub(super) fn read(reader: &mut Reader, entry: Entry<'n, '_, '_>) -> Option<Self> {
        let known = ["id", "action", "only", "until", "from", "to", "stamp", "message", "note"];
        let object = reader.object(entry, &known)?;
        let id = match object.get("id") {
            Some((node, path)) => reader.name(node, &path),
            None => {
                reader.missing(&object.path, "id", "give the rule an id, such as `stripe`");
                None
            }
        };
        let action = reader.word(object.get("action"), &ACTIONS);
        if object.get("action").is_none() {
            reader.missing(&object.path, "action", "write `action: allow` or `action: deny`");
        }
        let only = reader.word(object.get("only"), &[("now", Only::Now), ("next", Only::Next)]);
        let until = object.get("until").and_then(|(node, path)| until(reader, node, &path));
        let from = reader.each(object.get("from"), source).unwrap_or_default();
        let to = reader.each(object.get("to"), destination).unwrap_or_default();
        let stamp = object.get("stamp").map(|(node, path)| {
            if action == Some(Action::Deny) {
                reader.fault(&path, "a stamp in a deny rule", "stamp in allow rules only");
            }
            stamp::read(reader, (node, path))
        });
        let message = reader.short_text(object.get("message"), MAX_MESSAGE);
        if action == Some(Action::Allow)
            && let Some((_, path)) = object.get("message")
        {
            reader.fault(&path, "a message in an allow rule", "write it in deny rules only");
        }
        let _ = reader.short_text(object.get("note"), MAX_MESSAGE);
        let rule = Rule {
            // A fault was reported where one of these is absent.
            id: id.unwrap_or_default().into(),
            action: action.unwrap_or(Action::Deny),
            only,
            until,
            from,
        };
        Some(Self { id, rule, destinations: to, stamp, message })
    }
}

fn until(reader: &mut Reader, node: &Node<'_>, path: &Path<'_>) -> Option<u64> {
    let text = reader.text(node, path)?;
    let nanoseconds = humantime::parse_rfc3339(text)
        .ok()
        .and_then(|time| time.duration_since(SystemTime::UNIX_EPOCH).ok())
        .and_then(|since| u64::try_from(since.as_nanos()).ok());
    if nanoseconds.is_none() {
        let remedy = "write a time in UTC, such as `2027-01-31T00:00:00Z` (RFC 3339)";
        reader.fault(path, format!("the time {}", quote(text)), remedy);
    }
    nanoseconds
}

fn source(reader: &mut Reader, node: &Node<'_>, path: &Path<'_>) -> Option<Source> {
    let known = ["principals", "notPrincipals", "namespaces", "notNamespaces"];
    let entry = entry(reader, (node, *path), &known)?;
    let mut set = |key, read: ReadPattern| text_set(reader, &entry, key, read);
    Some(Source {
        principals: set("principals", principal),
        not_principals: set("notPrincipals", principal),
        namespaces: set("namespaces", plain),
        not_namespaces: set("notNamespaces", plain),
    })
}

fn destination<'n>(
    reader: &mut Reader,
    node: &'n Node<'_>,
    path: &Path<'_>,
) -> Option<Destination<'n>> {
    let known =
        ["hosts", "ports", "methods", "paths", "notHosts", "notPorts", "notMethods", "notPaths"];
    let entry = entry(reader, (node, *path), &known)?;
    let port = |reader: &mut Reader, node: &Node<'_>, path: &Path<'_>| {
        reader.integer(node, path, 1..=u16::MAX)
    };
    Some(Destination {
        hosts: reader.each(entry.get("hosts"), Reader::host),
        not_hosts: reader.each(entry.get("notHosts"), Reader::host),
        ports: reader.each(entry.get("ports"), port),
        not_ports: reader.each(entry.get("notPorts"), port),
        methods: reader.each(entry.get("methods"), method),
        not_methods: reader.each(entry.get("notMethods"), method),
        paths: text_set(reader, &entry, "paths", self::path),
        not_paths: text_set(reader, &entry, "notPaths", self::path),
    })
}

/// An entry of `from` or `to`: an object with at least one field.
fn entry<'n, 'a, 'p>(
    reader: &mut Reader,
    entry: Entry<'n, 'a, 'p>,
    known: &[&'static str],
) -> Option<Object<'n, 'a, 'p>> {
    let object = reader.object(entry, known)?;
    if object.is_empty() {
        let remedy = "name a field, or leave the whole list out to match everything";
        reader.fault(&object.path, "an entry without fields", remedy);
    }
    Some(object)
}

/// Reads one pattern, or says what is wrong with it and what to write instead.
type ReadPattern = for<'t> fn(&'t str) -> Result<TextPattern<'t>, (&'static str, String)>;

fn text_set(
    reader: &mut Reader,
    entry: &Object<'_, '_, '_>,
    key: &'static str,
    read: ReadPattern,
) -> Option<TextSet> {
    let patterns = reader.each(entry.get(key), |reader, node, path| {
        let text = reader.text(node, path)?;
        match read(text) {
            Ok(pattern) => Some(pattern),
            Err((problem, remedy)) => {
                reader.fault(path, format!("{} ({problem})", quote(text)), remedy);
                None
            }
        }
    });
    Some(patterns?.into_iter().collect())
}

fn plain(text: &str) -> Result<TextPattern<'_>, (&'static str, String)> {
    TextPattern::parse(text).ok_or_else(|| {
        let remedy = "write it out, or as `prefix*`, `*suffix` or `*`".to_owned();
        (if text.is_empty() { "an empty pattern" } else { "`*` in another place" }, remedy)
    })
}

fn principal(text: &str) -> Result<TextPattern<'_>, (&'static str, String)> {
    match text.strip_prefix("spiffe://") {
        Some(bare) => Err(("a SPIFFE id with its scheme", format!("use {}", replacement(bare)))),
        None => plain(text),
    }
}

fn path(text: &str) -> Result<TextPattern<'_>, (&'static str, String)> {
    let no_path = |remedy: &str| Err(("a path that no request has", remedy.to_owned()));
    if let Some(character) = text.chars().find(|c| "?#%;\\{}".contains(*c)) {
        return Err((
            "a path with a character that readers take apart",
            format!("leave `{character}` out: patterns match the decoded path without its query"),
        ));
    }
    if text.contains("//") {
        return no_path("write one `/`: repeated ones are merged");
    }
    if text.split('/').any(|segment| matches!(segment, "." | "..")) {
        return no_path("leave the dot segment out");
    }
    if !text.is_empty() && !text.starts_with(['/', '*']) {
        let absolute = replacement(&format!("/{text}"));
        return no_path(&format!("start it with `/` or `*`, as in {absolute}"));
    }
    plain(text)
}

/// The methods that a client has by heart (RFC 9110, section 9, and RFC 5789).
const STANDARD_METHODS: [&str; 9] =
    ["CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "TRACE"];

fn method(reader: &mut Reader, node: &Node<'_>, path: &Path<'_>) -> Option<Box<str>> {
    let text = reader.text(node, path)?;
    let upper = text.to_ascii_uppercase();
    if text.contains('*') || !is_token(text.as_bytes()) {
        let remedy = "write a method such as `GET`; for every method leave `methods` out";
        reader.fault(path, format!("{} (no method)", quote(text)), remedy);
        None
    } else if upper != text && STANDARD_METHODS.contains(&upper.as_str()) {
        let problem = format!("{} (a standard method in another case)", quote(text));
        reader.fault(path, problem, format!("use \"{upper}\""));
        None
    } else {
        Some(text.into())
    }
}
