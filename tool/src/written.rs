//! The rules of a policy as they are written: patterns with their places.
//!
//! The policy that decides has forgotten both, once it is compiled. What is read here was read by
//! the policy's own reader before, so nothing is refused any more; verdicts come from there alone.

use crate::policy_file::Node;
use egress_warden::host::HostPattern;
use egress_warden::policy::{Action, Mode, Only, TextPattern};
use std::time::SystemTime;

/// A policy as it is written.
#[derive(Debug)]
pub(crate) struct WrittenPolicy<'a> {
    pub(crate) mode: Mode,
    pub(crate) default: Action,
    pub(crate) rules: Vec<WrittenRule<'a>>,
}

/// One rule.
#[derive(Debug)]
pub(crate) struct WrittenRule<'a> {
    /// Its position in `rules`.
    pub(crate) index: usize,
    pub(crate) id: &'a str,
    pub(crate) node: &'a Node,
    pub(crate) action: Action,
    pub(crate) only: Option<Only>,
    pub(crate) until: Option<SystemTime>,
    /// Empty: any caller.
    pub(crate) from: Vec<Callers<'a>>,
    /// Empty: any destination.
    pub(crate) to: Vec<Destinations<'a>>,
}

/// One entry of `from`.
#[derive(Debug)]
pub(crate) struct Callers<'a> {
    pub(crate) principals: List<'a, TextPattern<'a>>,
    pub(crate) not_principals: List<'a, TextPattern<'a>>,
    pub(crate) namespaces: List<'a, TextPattern<'a>>,
    pub(crate) not_namespaces: List<'a, TextPattern<'a>>,
}

/// One entry of `to`.
#[derive(Debug, Default)]
pub(crate) struct Destinations<'a> {
    pub(crate) hosts: List<'a, HostPattern<'a>>,
    pub(crate) not_hosts: List<'a, HostPattern<'a>>,
    pub(crate) ports: List<'a, u16>,
    pub(crate) not_ports: List<'a, u16>,
    pub(crate) methods: List<'a, &'a str>,
    pub(crate) not_methods: List<'a, &'a str>,
    pub(crate) paths: List<'a, TextPattern<'a>>,
    pub(crate) not_paths: List<'a, TextPattern<'a>>,
}

/// A list of patterns; absent: no condition.
pub(crate) type List<'a, T> = Option<Vec<Written<'a, T>>>;

/// A pattern and its place.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Written<'a, T> {
    pub(crate) pattern: T,
    pub(crate) node: &'a Node,
}

impl<'a> WrittenPolicy<'a> {
    /// Takes the tree of a text that the policy's reader accepts.
    pub(crate) fn of(root: &'a Node) -> Self {
        let word = |key: &str| root.get(key).and_then(Node::text);
        let rules = root.get("rules").map(Node::items).unwrap_or_default();
        Self {
            mode: if word("mode") == Some("monitor") { Mode::Monitor } else { Mode::Enforce },
            default: action(word("default")),
            rules: rules
                .iter()
                .enumerate()
                .map(|(index, node)| WrittenRule::of(index, node))
                .collect(),
        }
    }
}

impl<'a> WrittenRule<'a> {
    fn of(index: usize, node: &'a Node) -> Self {
        let word = |key: &str| node.get(key).and_then(Node::text);
        let entries = |key: &str| node.get(key).map(Node::items).unwrap_or_default().iter();
        Self {
            index,
            id: word("id").unwrap_or_default(),
            node,
            action: action(word("action")),
            only: match word("only") {
                Some("now") => Some(Only::Now),
                Some("next") => Some(Only::Next),
                _ => None,
            },
            until: word("until").and_then(|text| humantime::parse_rfc3339(text).ok()),
            from: entries("from").map(Callers::of).collect(),
            to: entries("to").map(Destinations::of).collect(),
        }
    }

    /// JSONPath of the rule.
    pub(crate) fn path(&self) -> String {
        format!("$.rules[{}]", self.index)
    }

    /// The value of the rule's id: where messages about the whole rule point.
    pub(crate) fn place(&self) -> &'a Node {
        self.node.get("id").unwrap_or(self.node)
    }
}

impl<'a> Callers<'a> {
    fn of(node: &'a Node) -> Self {
        let texts = |key| list(node, key, |item| TextPattern::parse(item.text()?));
        Self {
            principals: texts("principals"),
            not_principals: texts("notPrincipals"),
            namespaces: texts("namespaces"),
            not_namespaces: texts("notNamespaces"),
        }
    }
}

impl<'a> Destinations<'a> {
    fn of(node: &'a Node) -> Self {
        let hosts = |key| list(node, key, |item| HostPattern::parse(item.text()?).ok());
        let texts = |key| list(node, key, |item| TextPattern::parse(item.text()?));
        let methods = |key| list(node, key, Node::text);
        let ports = |key| list(node, key, port);
        Self {
            hosts: hosts("hosts"),
            not_hosts: hosts("notHosts"),
            ports: ports("ports"),
            not_ports: ports("notPorts"),
            methods: methods("methods"),
            not_methods: methods("notMethods"),
            paths: texts("paths"),
            not_paths: texts("notPaths"),
        }
    }
}

fn action(word: Option<&str>) -> Action {
    if word == Some("allow") { Action::Allow } else { Action::Deny }
}

fn list<'a, T>(node: &'a Node, key: &str, read: impl Fn(&'a Node) -> Option<T>) -> List<'a, T> {
    let items = node.get(key)?.items();
    Some(items.iter().filter_map(|node| Some(Written { pattern: read(node)?, node })).collect())
}

fn port(node: &Node) -> Option<u16> {
    match node.value {
        // INVARIANT: the reader has accepted it as a whole number of this range.
        crate::policy_file::Value::Number(number) => Some(number as u16),
        _ => None,
    }
}
