//! A policy in a file: YAML or JSON in, the one reader's answer out, with places in the file.
//!
//! The tree of the text is what [`egress_warden::config::read_tree`] reads, as it does in the proxy: so an
//! error has its place in the file, down to line and column. A manifest of Istio that carries a policy
//! (WasmPlugin, TrafficExtension) stands for that policy.

mod advice;
mod error;

pub(crate) use crate::document::{Member, Node, Value};
pub(crate) use error::PolicyError;

use crate::document::{Document, Position, TextError};
use crate::failure::Failure;
use crate::finding::Finding;
use egress_warden::config::{self, Config, MAX_DEPTH};
use egress_warden::root_id::Connections;
use std::cell::OnceCell;
use std::collections::HashSet;
use std::path::Path;

/// A policy as it is written, each pattern with its node.
pub(crate) type Source<'n> = config::Source<'n, Node>;
/// One rule of it.
pub(crate) type RuleSource<'n> = config::RuleSource<'n, Node>;
/// One entry of `from`.
pub(crate) type Callers<'n> = config::Callers<'n, Node>;
/// One entry of `to`.
pub(crate) type Destinations<'n> = config::Destinations<'n, Node>;
/// A list of patterns; absent: no condition.
pub(crate) type List<'n, T> = config::List<'n, Node, T>;

/// A policy's text, and where in it everything stands.
#[derive(Debug)]
pub(crate) struct PolicyFile {
    document: Document,
    manifest: Option<Manifest>,
    /// What the policy's reader says, once it was asked.
    reading: OnceCell<Reading>,
}

/// A manifest that loads the filter with a policy in it.
#[derive(Clone, Copy, Debug)]
struct Manifest {
    /// Keys from the top to the policy.
    keys: &'static [&'static str],
}

/// A policy as it was read.
#[derive(Debug)]
struct Reading {
    /// What the policy says, or every error of the whole text; then there is at least one.
    config: Result<Config, Vec<Finding<PolicyError>>>,
    /// Whether the policy's own reader has no objection. It gets plain scalars that readers take
    /// differently as texts.
    is_policy_sound: bool,
}

impl PolicyFile {
    /// Reads a file; `-` is standard input. What is text has no failure here, be it a policy or not.
    pub(crate) fn read(path: &Path) -> Result<Self, Failure> {
        Document::read(path, config::MAX_TEXT, "a policy").map(Self::of)
    }

    /// Takes a text apart; one that is valid JSON is read as JSON whatever its name.
    pub(crate) fn of_text(name: String, text: String, is_json_by_name: bool) -> Self {
        Self::of(Document::of_text(name, text, is_json_by_name))
    }

    fn of(document: Document) -> Self {
        let manifest = document.root().and_then(Manifest::of);
        Self { document, manifest, reading: OnceCell::new() }
    }

    /// The same file with another text.
    pub(crate) fn rewritten(&self, text: String) -> Self {
        Self::of(self.document.rewritten(text))
    }

    /// Reads a policy that is to be used: errors are a failure, which says how to see them all.
    pub(crate) fn load(path: &Path) -> Result<(Self, Config), Failure> {
        let mut file = Self::read(path)?;
        let reading = file.reading.take().unwrap_or_else(|| file.ask());
        match reading.config {
            Ok(config) => Ok((file, config)),
            Err(errors) => {
                let where_all = ": `egress-warden check` shows them all";
                Err(file.document.failure(&errors, where_all))
            }
        }
    }

    /// What the policy says, or every error of its text; then there is at least one.
    pub(crate) fn config(&self) -> Result<&Config, &[Finding<PolicyError>]> {
        self.reading().config.as_ref().map_err(Vec::as_slice)
    }

    /// Whether all is sound once the plain scalars that readers take differently are texts.
    pub(crate) fn is_sound_as_texts(&self) -> bool {
        self.reading().is_policy_sound
    }

    /// What the policy says as it is written; absent where its reader has errors.
    pub(crate) fn source(&self) -> Option<Source<'_>> {
        config::read_tree(self.tree()?).ok()
    }

    fn reading(&self) -> &Reading {
        self.reading.get_or_init(|| self.ask())
    }

    fn ask(&self) -> Reading {
        let mut findings: Vec<_> =
            self.document.errors().iter().map(|it| self.within(it)).collect();
        if let Some(plugin) = self.plugin()
            && let Err(kind) = connections_of(plugin)
        {
            let place = plugin.get("pluginName").unwrap_or(plugin);
            findings.push(Finding::whole(place.span.clone(), kind));
        }
        findings.extend(
            self.document
                .root()
                .filter(|_| self.manifest.is_some())
                .map(odd_keys)
                .into_iter()
                .flatten(),
        );
        let read = match self.tree() {
            Some(tree) => read(tree),
            None => Err(self.something_else().into_iter().collect()),
        };
        let is_policy_sound = read.is_ok();
        let config = match read {
            Ok(config) if findings.is_empty() => Ok(config),
            Ok(_) => Err(findings),
            Err(more) => {
                // What is said of a place already is not said again.
                let told: HashSet<_> = findings.iter().map(|it| it.span.clone()).collect();
                findings.extend(more.into_iter().filter(|it| !told.contains(&it.span)));
                findings.sort_by_key(|finding| finding.span.start);
                Err(findings)
            }
        };
        Reading { config, is_policy_sound }
    }

    /// How messages name the file.
    pub(crate) fn name(&self) -> &str {
        self.document.name()
    }

    pub(crate) fn text(&self) -> &str {
        self.document.text()
    }

    /// The whole text, taken apart.
    pub(crate) fn document(&self) -> &Document {
        &self.document
    }

    /// What a manifest that puts the filter before connections (`type: NETWORK`) has it judge.
    pub(crate) fn connections(&self) -> Option<Connections> {
        connections_of(self.plugin()?).ok().flatten()
    }

    /// What of a manifest loads the filter.
    fn plugin(&self) -> Option<&Node> {
        let (_, way) = self.manifest?.keys.split_last()?;
        way.iter().try_fold(self.document.root()?, |node, key| node.get(key))
    }

    /// The policy, taken apart; absent where the text has none that could be.
    pub(crate) fn tree(&self) -> Option<&Node> {
        let root = self.document.root()?;
        match self.manifest {
            Some(manifest) => manifest.keys.iter().try_fold(root, |node, key| node.get(key)),
            None => something_else(root).is_none().then_some(root),
        }
    }

    /// Line and column of an offset.
    pub(crate) fn position(&self, offset: usize) -> Position {
        self.document.position(offset)
    }

    /// `FILE:LINE:COLUMN` of an offset.
    pub(crate) fn at(&self, offset: usize) -> String {
        self.document.at(offset)
    }

    fn something_else(&self) -> Option<Finding<PolicyError>> {
        let root = self.document.root()?;
        Some(Finding::whole(root.span.clone(), something_else(root)?))
    }

    /// An error of the document; paths in the policy begin at the policy.
    fn within(&self, error: &Finding<TextError>) -> Finding<PolicyError> {
        let is_inside = |policy: &Node| {
            policy.span.start <= error.span.start && error.span.end <= policy.span.end
        };
        let mut error = error.clone().map(PolicyError::Text);
        if let Some(manifest) = self.manifest.filter(|_| self.tree().is_some_and(is_inside)) {
            let start = format!("$.{}", manifest.keys.join("."));
            if let Some(rest) = error.path.strip_prefix(&start) {
                error.path = format!("${rest}");
            }
        }
        error
    }
}

/// JSONPath of a rule.
pub(crate) fn path_of(rule: &RuleSource<'_>) -> String {
    format!("$.rules[{}]", rule.index)
}

/// The value of a rule's id: where messages about the whole rule point.
pub(crate) fn place_of<'n>(rule: &RuleSource<'n>) -> &'n Node {
    rule.node.get("id").unwrap_or(rule.node)
}

/// Reads the tree of a policy.
fn read(tree: &Node) -> Result<Config, Vec<Finding<PolicyError>>> {
    if let Some(node) = tree.deeper_than(MAX_DEPTH) {
        return Err(vec![Finding::whole(node.span.clone(), PolicyError::Nesting)]);
    }
    let errors = match config::read_tree(tree) {
        Ok(source) => return Ok(source.compile()),
        Err(errors) => errors,
    };
    Err(errors.iter().map(|error| PolicyError::at_its_place(error, tree)).collect())
}

impl Manifest {
    fn of(root: &Node) -> Option<Self> {
        let keys: &[&str] = match root.get("kind")?.text()? {
            "WasmPlugin" => &["spec", "pluginConfig"],
            "TrafficExtension" => &["spec", "wasm", "pluginConfig"],
            _ => return None,
        };
        let (_, way) = keys.split_last()?;
        let plugin = way.iter().try_fold(root, |node, key| node.get(key))?;
        plugin.get("pluginConfig")?;
        Some(Self { keys })
    }
}

/// Keys that no manifest has. kubectl takes an object with `items` for a list, whatever its kind, and
/// drops what stands around it.
fn odd_keys(manifest: &Node) -> Vec<Finding<PolicyError>> {
    const KEYS: [&str; 5] = ["apiVersion", "kind", "metadata", "spec", "status"];
    let Value::Object(members) = &manifest.value else { return Vec::new() };
    let odd = members.iter().filter(|member| !KEYS.contains(&&*member.key));
    odd.map(|member| {
        let kind = PolicyError::ManifestKey(member.key.clone());
        Finding::whole(member.key_span.clone(), kind)
    })
    .collect()
}

/// The connections that a plugin of a manifest judges, `None` where it judges requests; or why it
/// would judge neither. Istio gives a plugin's name as its root id.
fn connections_of(plugin: &Node) -> Result<Option<Connections>, PolicyError> {
    let name = plugin.get("pluginName");
    let root_id = name.and_then(Node::text).unwrap_or_default();
    let is_network = plugin.get("type").and_then(Node::text) == Some("NETWORK");
    match (is_network, Connections::of_root_id(root_id.as_bytes())) {
        (true, Ok(Some(connections))) => Ok(Some(connections)),
        (false, Ok(None)) => Ok(None),
        (true, _) => Err(PolicyError::NetworkName),
        (false, _) => Err(PolicyError::NameWithoutNetwork),
    }
}

/// What a text is that is no policy, where somebody may take it for one.
fn something_else(root: &Node) -> Option<PolicyError> {
    let has = |key| root.get(key).is_some();
    if has("policy") {
        return None;
    }
    if has("static_resources") || has("dynamic_resources") {
        return Some(PolicyError::EnvoyConfiguration);
    }
    (has("apiVersion") && has("kind")).then_some(PolicyError::ManifestWithoutPolicy)
}
