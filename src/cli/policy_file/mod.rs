//! A policy in a file: YAML or JSON in, the one reader's answer out, with places in the file.
//!
//! The text becomes JSON, which [`egress_warden::config::read`] reads as it does in the proxy. What
//! it says of a place in the JSON is found again in the file, down to line and column. A manifest of
//! Istio that carries a policy (WasmPlugin, TrafficExtension) stands for that policy.

mod json;
mod tree;
mod yaml;

pub(crate) use tree::{Member, Node, Span, Value, quoted};

use super::failure::Failure;
use super::input;
use egress_warden::config::{self, Config, Fault, MAX_TEXT};
use std::cell::OnceCell;
use std::path::Path;

/// A policy's text, and where in it everything stands.
#[derive(Debug)]
pub(crate) struct PolicyFile {
    name: String,
    text: String,
    notation: Notation,
    /// The policy, taken apart; absent where the text has none that could be.
    tree: Option<Node>,
    /// Whether the policy's reader gets the tree, and not the text as it is.
    is_read_by_tree: bool,
    /// Why there is no tree.
    /// Whether it is a manifest that puts the filter before connections.
    is_for_connections: bool,
    unreadable: Option<Finding>,
    ambiguous: Vec<Span>,
    /// What the policy's reader says, once it was asked.
    reading: OnceCell<Result<Config, Vec<Finding>>>,
    /// Where each line starts, once somebody asked.
    line_starts: OnceCell<Vec<usize>>,
}

/// What a text is that is no policy, where somebody may take it for one; and what to give instead.
fn something_else(root: &Node) -> Option<(&'static str, &'static str)> {
    let has = |key| root.get(key).is_some();
    if has("policy") {
        return None;
    }
    if has("static_resources") || has("dynamic_resources") {
        let remedy =
            "give the policy that stands in it under `configuration`, in a file of its own";
        return Some(("an Envoy configuration", remedy));
    }
    (has("apiVersion") && has("kind")).then_some((
        "a manifest that carries no policy",
        "give a WasmPlugin or a TrafficExtension with `pluginConfig`, or the policy itself",
    ))
}

/// How a policy is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Notation {
    Yaml,
    Json,
}

/// Something to say about a place in a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Finding {
    /// JSONPath (RFC 9535).
    pub(crate) path: String,
    pub(crate) span: Span,
    /// What was found.
    pub(crate) problem: String,
    /// What to write instead.
    pub(crate) remedy: String,
}

/// A line and a column, both from 1; columns count characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Position {
    pub(crate) line: usize,
    pub(crate) column: usize,
}

impl PolicyFile {
    /// Reads a file; `-` is standard input. What is text has no failure here, be it a policy or not.
    pub(crate) fn read(path: &Path) -> Result<Self, Failure> {
        let name = input::name(path);
        let bytes = input::read(path, MAX_TEXT)?;
        let text = String::from_utf8(bytes).map_err(|error| {
            let offset = error.utf8_error().valid_up_to();
            let problem = format!("a byte at offset {offset} that is not UTF-8");
            Failure::new(&name, problem, "name a policy, in UTF-8")
        })?;
        let is_json_by_name = path.extension().is_some_and(|extension| extension == "json");
        Ok(Self::of_text(name, text, is_json_by_name))
    }

    /// Takes a text apart; one that is valid JSON is read as JSON whatever its name.
    pub(crate) fn of_text(name: String, text: String, is_json_by_name: bool) -> Self {
        let mut file = Self {
            name,
            text,
            notation: Notation::Json,
            tree: None,
            is_read_by_tree: false,
            is_for_connections: false,
            unreadable: None,
            ambiguous: Vec::new(),
            reading: OnceCell::new(),
            line_starts: OnceCell::new(),
        };
        let may_be_json = is_json_by_name || file.text.trim_start().starts_with('{');
        // Its limit of depth keeps the next parser from overflowing the stack.
        if may_be_json && serde_json::from_str::<serde::de::IgnoredAny>(&file.text).is_ok() {
            file.tree = json::parse(&file.text);
            file.take_from_manifest();
            return file;
        }
        if is_json_by_name {
            return file;
        }
        file.notation = Notation::Yaml;
        if let Some(text) = file.text.strip_prefix('\u{feff}') {
            let span = 0..file.text.len().saturating_sub(text.len());
            file.unreadable = Some(Finding::whole(span, "a byte-order mark", "take it away"));
            return file;
        }
        match yaml::parse(&file.text) {
            Ok(document) => {
                file.tree = Some(document.root);
                file.is_read_by_tree = true;
                file.ambiguous = document.ambiguous;
                file.take_from_manifest();
            }
            Err(yaml::Unreadable { span, problem, remedy }) => {
                file.unreadable = Some(Finding::whole(span, problem, remedy));
            }
        }
        file
    }

    /// The same file with another text.
    pub(crate) fn rewritten(self, text: String) -> Self {
        Self::of_text(self.name, text, self.notation == Notation::Json)
    }

    /// Reads a policy that is to be used: faults are a failure, which says how to see them all.
    pub(crate) fn load(path: &Path) -> Result<(Self, Config), Failure> {
        let mut file = Self::read(path)?;
        let reading = file.reading.take().unwrap_or_else(|| file.ask());
        match reading {
            Ok(config) => Ok((file, config)),
            Err(faults) => Err(file.failure(&faults)),
        }
    }

    /// What the policy says, or every fault of its text; then there is at least one.
    pub(crate) fn config(&self) -> Result<&Config, &[Finding]> {
        self.reading.get_or_init(|| self.ask()).as_ref().map_err(Vec::as_slice)
    }

    fn ask(&self) -> Result<Config, Vec<Finding>> {
        if let Some(finding) = &self.unreadable {
            return Err(vec![finding.clone()]);
        }
        let read = match &self.tree {
            Some(tree) if self.is_read_by_tree => config::read(tree.to_json().as_bytes()),
            _ => config::read(self.text.as_bytes()),
        };
        read.map_err(|faults| faults.iter().map(|fault| self.place(fault)).collect())
    }

    /// How messages name the file.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// Whether it is a manifest that puts the filter before connections (`type: NETWORK`).
    pub(crate) fn is_for_connections(&self) -> bool {
        self.is_for_connections
    }

    pub(crate) fn notation(&self) -> Notation {
        self.notation
    }

    /// The policy, taken apart.
    pub(crate) fn tree(&self) -> Option<&Node> {
        self.tree.as_ref()
    }

    /// Plain scalars that YAML 1.1 reads otherwise than this tool.
    pub(crate) fn ambiguous(&self) -> &[Span] {
        &self.ambiguous
    }

    /// Line and column of an offset.
    pub(crate) fn position(&self, offset: usize) -> Position {
        let starts = self.line_starts.get_or_init(|| {
            let ends = self.text.bytes().zip(1..).filter(|(byte, _)| *byte == b'\n');
            std::iter::once(0).chain(ends.map(|(_, start)| start)).collect()
        });
        let line = starts.partition_point(|&start| start <= offset);
        let start = starts.get(line.saturating_sub(1)).copied().unwrap_or_default();
        let before = self.text.get(start..offset).unwrap_or_default();
        Position { line, column: before.chars().count().saturating_add(1) }
    }

    /// `FILE:LINE:COLUMN` of an offset.
    pub(crate) fn at(&self, offset: usize) -> String {
        let Position { line, column } = self.position(offset);
        format!("{}:{line}:{column}", self.name)
    }

    /// Where the text is a manifest that loads the filter, the policy is what stands in it.
    fn take_from_manifest(&mut self) {
        let embedded = |root: &Node| {
            let spec = root.get("spec")?;
            let plugin = match root.get("kind")?.text()? {
                "WasmPlugin" => spec,
                "TrafficExtension" => spec.get("wasm")?,
                _ => return None,
            };
            let kind = plugin.get("type").and_then(Node::text);
            Some((plugin.get("pluginConfig")?.clone(), kind == Some("NETWORK")))
        };
        let Some(root) = &self.tree else { return };
        if let Some((policy, is_for_connections)) = embedded(root) {
            self.tree = Some(policy);
            self.is_read_by_tree = true;
            self.is_for_connections = is_for_connections;
        } else if let Some((problem, remedy)) = something_else(root) {
            self.unreadable = Some(Finding::whole(root.span.clone(), problem, remedy));
        }
    }

    fn failure(&self, faults: &[Finding]) -> Failure {
        let Some(first) = faults.first() else {
            return Failure::new(&self.name, "no policy", "write one");
        };
        let problem = format!("`{}`: found {}", first.path, first.problem);
        let remedy = match faults.len() {
            1 => first.remedy.clone(),
            count => format!(
                "{} (the first of {count} faults: `egress-warden check` shows them all)",
                first.remedy
            ),
        };
        Failure::new(self.at(first.span.start), problem, remedy)
    }

    fn place(&self, fault: &Fault) -> Finding {
        Finding {
            path: fault.path().to_owned(),
            span: self.span_of(fault),
            problem: fault.problem().to_owned(),
            remedy: fault.remedy().to_owned(),
        }
    }

    fn span_of(&self, fault: &Fault) -> Span {
        let is_of_whole_text =
            fault.path() == "$" && fault.problem().starts_with("what is not JSON");
        let tree = match &self.tree {
            Some(tree) if !is_of_whole_text => tree,
            _ => return self.span_of_error(fault),
        };
        let mut node = tree;
        let mut member: Option<&Member> = None;
        let last = fault.positions().len().saturating_sub(1);
        for (depth, &position) in fault.positions().iter().enumerate() {
            let next = match &node.value {
                Value::List(items) => items.get(position).map(|item| (item, None)),
                Value::Object(members) => {
                    let is_named =
                        |member: &&Member| depth != last || names(fault.path(), &member.key);
                    // The reader names some keys without looking for their position.
                    let member = members
                        .get(position)
                        .filter(is_named)
                        .or_else(|| members.iter().find(is_named))
                        .or_else(|| members.get(position));
                    member.map(|member| (&member.value, Some(member)))
                }
                _ => None,
            };
            let Some((child, of)) = next else { break };
            (node, member) = (child, of);
        }
        match member {
            Some(member) if is_about_key(fault, &member.key) => member.key_span.clone(),
            _ => node.span.clone(),
        }
    }

    /// The place that serde_json names in its message, where a text is not JSON.
    fn span_of_error(&self, fault: &Fault) -> Span {
        let number = |word: &str| -> Option<usize> {
            let (_, rest) = fault.problem().rsplit_once(word)?;
            rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
        };
        let place = number(" line ").zip(number(" column ")).and_then(|(line, column)| {
            let line_start: usize =
                self.text.split_inclusive('\n').take(line.checked_sub(1)?).map(str::len).sum();
            let offset = line_start.saturating_add(column.saturating_sub(1));
            Some(self.text.floor_char_boundary(offset.min(self.text.len())))
        });
        let at = place.unwrap_or(0);
        at..at
    }
}

impl Finding {
    fn whole(span: Span, problem: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { path: "$".to_owned(), span, problem: problem.into(), remedy: remedy.into() }
    }
}

/// Whether a fault is one of the key and not of its value: its text then names the key first.
fn is_about_key(fault: &Fault, key: &str) -> bool {
    let problem = fault.problem();
    problem == "a key that stands twice"
        || problem.starts_with("the unknown key ")
        || problem
            .strip_prefix('`')
            .is_some_and(|rest| rest.strip_prefix(key).is_some_and(|rest| rest.starts_with('`')))
}

/// Whether a JSONPath ends in this key; true also where that cannot be told.
fn names(path: &str, key: &str) -> bool {
    path.ends_with("']") || path.strip_suffix(key).is_some_and(|start| start.ends_with('.'))
}
