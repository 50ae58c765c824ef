//! Rules of a policy.

use super::MAX_MESSAGE;
use super::error::{ErrorKind, Path, Required, TextError, without_scheme};
use super::reader::{Entry, Object, Reader};
use super::source::{Callers, Destinations, List, ParameterSource, RuleSource};
use super::stamp;
use super::tree::Node;
use crate::key_table::KeyTable;
use crate::policy::{Action, PathPattern, State, TextPattern, with_slash};
use crate::time::Time;
use crate::token::is_token;

/// The words for actions.
pub(super) const ACTIONS: [(&str, Action); 2] = [("allow", Action::Allow), ("deny", Action::Deny)];

/// Reads the rule at an index; `ids` holds those of the rules before it.
pub(super) fn read<'n, N: Node>(
    reader: &mut Reader,
    ids: &mut KeyTable,
    entry: Entry<'n, '_, N>,
    index: usize,
) -> Option<RuleSource<'n, N>> {
    let node = entry.0;
    let known = &["id", "action", "state", "until", "from", "to", "stamp", "message", "note"];
    let object = reader.object(entry, known)?;
    let id = id(reader, ids, &object, index);
    let action = reader.word(object.get("action"), &ACTIONS);
    if object.get("action").is_none() {
        reader.error(&object.path, ErrorKind::MissingKey(Required::Action));
    }
    let states = [("dry-run", State::DryRun), ("retiring", State::Retiring)];
    let state = reader.word(object.get("state"), &states);
    let until = object.get("until").and_then(|(node, path)| until(reader, node, &path));
    let from = reader.each(object.get("from"), callers);
    let to = reader.each(object.get("to"), destinations);
    let stamp = object.get("stamp").map(|(node, path)| {
        if action == Some(Action::Deny) {
            reader.error(&path, ErrorKind::StampInDeny);
        }
        stamp::read(reader, (node, path))
    });
    let message = reader.short_text(object.get("message"), MAX_MESSAGE);
    if action == Some(Action::Allow)
        && let Some((_, path)) = object.get("message")
    {
        reader.error(&path, ErrorKind::MessageInAllow);
    }
    let _ = reader.short_text(object.get("note"), MAX_MESSAGE);
    Some(RuleSource {
        index,
        node,
        // An error was reported where one of these is absent.
        id: id.unwrap_or_default(),
        action: action.unwrap_or(Action::Deny),
        state,
        until,
        from: from.map(|list| list.patterns).unwrap_or_default(),
        to: to.map(|list| list.patterns).unwrap_or_default(),
        stamp,
        message,
    })
}

fn id<'n, N: Node + 'n>(
    reader: &mut Reader,
    ids: &mut KeyTable,
    object: &Object<'n, '_, N>,
    index: usize,
) -> Option<&'n str> {
    let Some((node, path)) = object.get("id") else {
        reader.error(&object.path, ErrorKind::MissingKey(Required::Id));
        return None;
    };
    let id = reader.name(node, &path)?;
    // INVARIANT: there are at most `MAX_RULES`.
    let position = u32::try_from(index).unwrap_or(u32::MAX);
    if let Some((first, false)) = ids.entry(id.as_bytes(), position) {
        let first = *first as usize;
        reader.error(&path, ErrorKind::DuplicateId { id: id.into(), first });
    }
    Some(id)
}

fn until<N: Node>(reader: &mut Reader, node: &N, path: &Path<'_>) -> Option<Time> {
    let text = reader.text(node, path)?;
    let time = text.parse().ok();
    if time.is_none() {
        reader.error(path, ErrorKind::Time { text: text.into() });
    }
    time
}

fn callers<'n, N: Node>(
    reader: &mut Reader,
    node: &'n N,
    path: &Path<'_>,
) -> Option<Callers<'n, N>> {
    let known = &[
        "principals",
        "notPrincipals",
        "namespaces",
        "notNamespaces",
        "serviceAccounts",
        "notServiceAccounts",
    ];
    let entry = entry(reader, (node, *path), known)?;
    let mut list = |key, read| patterns(reader, entry.get(key), read);
    Some(Callers {
        node,
        principals: list("principals", principal_pattern),
        not_principals: list("notPrincipals", principal_pattern),
        namespaces: list("namespaces", text_pattern),
        not_namespaces: list("notNamespaces", text_pattern),
        service_accounts: reader.each(entry.get("serviceAccounts"), service_account),
        not_service_accounts: reader.each(entry.get("notServiceAccounts"), service_account),
    })
}

fn destinations<'n, N: Node>(
    reader: &mut Reader,
    node: &'n N,
    path: &Path<'_>,
) -> Option<Destinations<'n, N>> {
    let known = &[
        "hosts",
        "ports",
        "methods",
        "paths",
        "query",
        "notHosts",
        "notPorts",
        "notMethods",
        "notPaths",
        "notQuery",
    ];
    let entry = entry(reader, (node, *path), known)?;
    let port =
        |reader: &mut Reader, node: &N, path: &Path<'_>| reader.integer(node, path, 1..=u16::MAX);
    Some(Destinations {
        node,
        hosts: reader.each(entry.get("hosts"), Reader::host),
        not_hosts: reader.each(entry.get("notHosts"), Reader::host),
        ports: reader.each(entry.get("ports"), port),
        not_ports: reader.each(entry.get("notPorts"), port),
        methods: reader.each(entry.get("methods"), method),
        not_methods: reader.each(entry.get("notMethods"), method),
        paths: patterns(reader, entry.get("paths"), self::path),
        not_paths: patterns(reader, entry.get("notPaths"), self::path),
        query: query(reader, entry.get("query")),
        not_query: query(reader, entry.get("notQuery")),
    })
}

/// An entry of `from` or `to`: an object with at least one field.
fn entry<'n, 'p, N: Node>(
    reader: &mut Reader,
    entry: Entry<'n, 'p, N>,
    known: &'static [&'static str],
) -> Option<Object<'n, 'p, N>> {
    let object = reader.object(entry, known)?;
    if object.is_empty() {
        reader.error(&object.path, ErrorKind::EmptyEntry);
    }
    Some(object)
}

/// Patterns, each of which is read by `read` or refused.
fn patterns<'n, N: Node, T>(
    reader: &mut Reader,
    entry: Option<Entry<'n, '_, N>>,
    read: fn(&'n str) -> Result<T, TextError>,
) -> List<'n, N, T> {
    reader.each(entry, |reader, node, path| {
        let text = reader.text(node, path)?;
        match read(text) {
            Ok(pattern) => Some(pattern),
            Err(error) => {
                reader.error(path, ErrorKind::Pattern { text: text.into(), error });
                None
            }
        }
    })
}

/// Reads a pattern of namespaces, or of a parameter's values.
pub fn text_pattern(text: &str) -> Result<TextPattern<'_>, TextError> {
    let error = if text.is_empty() { TextError::Empty } else { TextError::Wildcard };
    TextPattern::parse(text).ok_or(error)
}

/// Reads a pattern of principals.
pub fn principal_pattern(text: &str) -> Result<TextPattern<'_>, TextError> {
    if without_scheme(text) != text {
        return Err(TextError::Scheme);
    }
    text_pattern(text)
}

fn path(text: &str) -> Result<PathPattern<'_>, TextError> {
    if let Some(character) = text.chars().find(|c| "?#;\\".contains(*c)) {
        return Err(TextError::PathCharacter(character));
    }
    let decoded = with_slash(text, "/");
    if decoded.contains('%') {
        return Err(TextError::PathEscape);
    }
    if decoded.contains("//") {
        return Err(TextError::DoubleSlash);
    }
    if decoded.split('/').any(|segment| matches!(segment, "." | "..")) {
        return Err(TextError::DotSegment);
    }
    if !text.is_empty() && !text.starts_with(['/', '*']) {
        return Err(TextError::RelativePath);
    }
    match text.contains(['{', '}']) {
        true => template(text),
        false => text_pattern(text).map(PathPattern::Text).map_err(|error| match error {
            TextError::Wildcard => TextError::PathWildcard,
            error => error,
        }),
    }
}

fn template(text: &str) -> Result<PathPattern<'_>, TextError> {
    let mut segments = text.split('/').peekable();
    while let Some(segment) = segments.next() {
        let is_read = match segment {
            "{*}" => true,
            "{**}" => segments.peek().is_none(),
            literal => !literal.contains(['{', '}', '*']),
        };
        if !is_read {
            return Err(TextError::Template);
        }
    }
    Ok(PathPattern::Template(text))
}

/// What is asked of each parameter of a query.
fn query<'n, N: Node>(
    reader: &mut Reader,
    entry: Option<Entry<'n, '_, N>>,
) -> Option<Vec<ParameterSource<'n, N>>> {
    let (node, path) = entry?;
    let members = reader.members(node, &path)?;
    if members.is_empty() {
        reader.error(&path, ErrorKind::EmptyQuery);
    }
    let mut parameters = Vec::with_capacity(members.len());
    for (member, position) in members.iter().zip(0..) {
        let name = N::key(member);
        let path = path.key(name, position);
        if name.is_empty() || name.contains(['%', ';']) || name.contains(char::is_control) {
            reader.key_error(&path, ErrorKind::ParameterName { name: name.into() });
        }
        let values = patterns(reader, Some((N::member_value(member), path)), text_pattern);
        parameters.extend(values.map(|values| ParameterSource { name, values }));
    }
    Some(parameters)
}

fn service_account<'n, N: Node>(
    reader: &mut Reader,
    node: &'n N,
    path: &Path<'_>,
) -> Option<&'n str> {
    let text = reader.text(node, path)?;
    match text.split('/').collect::<Vec<_>>()[..] {
        [namespace, account] if ![namespace, account].contains(&"") && !text.contains('*') => {
            Some(text)
        }
        _ => {
            reader.error(path, ErrorKind::ServiceAccount { text: text.into() });
            None
        }
    }
}

/// The methods that a client has by heart (RFC 9110, section 9, and RFC 5789).
const STANDARD_METHODS: [&str; 9] =
    ["CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "TRACE"];

fn method<'n, N: Node>(reader: &mut Reader, node: &'n N, path: &Path<'_>) -> Option<&'n str> {
    let text = reader.text(node, path)?;
    let is_standard = |standard: &&str| standard.eq_ignore_ascii_case(text) && **standard != *text;
    if text.contains('*') || !is_token(text.as_bytes()) {
        reader.error(path, ErrorKind::Method { text: text.into() });
        None
    } else if STANDARD_METHODS.iter().any(is_standard) {
        reader.error(path, ErrorKind::MethodCase { text: text.into() });
        None
    } else {
        Some(text)
    }
}
