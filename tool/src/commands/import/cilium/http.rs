//! The HTTP rules of a port.
//!
//! `method` and `path` are regular expressions that match as a whole, the path with its query. Those are
//! read that say no more than methods, or what a path begins with.

use crate::commands::import::draft::{Entry, told};
use crate::commands::import::paths::is_prefix;
use crate::commands::import::wildcards::Unsaid;
use crate::document::Node;
use std::collections::BTreeSet;

/// What requests are; without anything any.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Requests {
    methods: BTreeSet<String>,
    path: Option<String>,
}

impl Requests {
    /// An entry for them, of any host and port.
    pub(super) fn entry(self) -> Entry {
        Entry {
            methods: self.methods.into_iter().collect(),
            paths: self.path.into_iter().collect(),
            ..Entry::default()
        }
    }
}

/// Reads a rule.
pub(super) fn read(rule: &Node) -> Result<Requests, Unsaid> {
    let mut requests = Requests::default();
    for member in rule.members() {
        let value = member.value.text();
        match (&*member.key, value) {
            ("method" | "path", Some("")) => {}
            ("method", Some(method)) => requests.methods = methods(method)?,
            ("path", Some(path)) => requests.path = prefix(path)?,
            (other, _) => {
                return Err((
                    format!("an HTTP rule with `{other}`, which no policy can say"),
                    "write a rule for its method and path by hand if that may be wider".into(),
                ));
            }
        }
    }
    Ok(requests)
}

/// The methods that an expression such as `GET|POST` matches; none where it matches any.
fn methods(expression: &str) -> Result<BTreeSet<String>, Unsaid> {
    let whole = without_anchors(expression);
    if whole == ".*" || whole == ".+" {
        return Ok(BTreeSet::new());
    }
    let inner = whole.strip_prefix('(').and_then(|it| it.strip_suffix(')')).unwrap_or(whole);
    let methods: BTreeSet<String> = inner.split('|').map(str::to_owned).collect();
    let is_method = |method: &String| {
        let is_letter = |byte: u8| byte.is_ascii_uppercase() || byte == b'-';
        !method.is_empty() && method.bytes().all(is_letter) && method != "CONNECT"
    };
    match methods.iter().all(is_method) {
        true => Ok(methods),
        false => Err((
            format!("an HTTP rule for the methods {}", told(expression)),
            "write them as `GET|POST`, in capitals and without CONNECT".into(),
        )),
    }
}

/// The pattern of the paths that an expression such as `/v1/.*` matches; none where it matches any.
fn prefix(expression: &str) -> Result<Option<String>, Unsaid> {
    let whole = without_anchors(expression);
    if whole == ".*" {
        return Ok(None);
    }
    let begun = whole.strip_suffix(".*").and_then(literal);
    let pattern = begun.map(|begun| format!("{begun}*"));
    match pattern.filter(|pattern| is_prefix(pattern)) {
        Some(pattern) => Ok(Some(pattern)),
        None if literal(whole).is_some() => Err((
            format!(
                "an HTTP rule for the path {} without a query: in a policy a path is for any query",
                told(expression)
            ),
            "add the path under `paths` by hand if callers may add a query".into(),
        )),
        None => Err((
            format!("an HTTP rule for the path {}", told(expression)),
            "write it as `/v1/.*`: the bytes that the path begins with, and `.*`".into(),
        )),
    }
}

fn without_anchors(expression: &str) -> &str {
    let begun = expression.strip_prefix('^').unwrap_or(expression);
    begun.strip_suffix('$').filter(|rest| !rest.ends_with('\\')).unwrap_or(begun)
}

/// The bytes that an expression matches alone, if it has no other meaning.
fn literal(expression: &str) -> Option<String> {
    let mut literal = String::new();
    let mut rest = expression.chars();
    while let Some(it) = rest.next() {
        match it {
            '\\' => literal.push(rest.next().filter(char::is_ascii_punctuation)?),
            '.' | '[' | ']' | '(' | ')' | '{' | '}' | '*' | '+' | '?' | '|' | '^' | '$' => {
                return None;
            }
            it => literal.push(it),
        }
    }
    Some(literal)
}
