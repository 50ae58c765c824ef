//! A policy in a file: YAML or JSON in, the one reader's answer out, with places in the file.
//!
//! The tree of the text is what [`egress_warden::config::read_tree`] reads, as it does in the proxy: so an
//! error has its place in the file, down to line and column. A manifest that carries a policy
//! (WasmPlugin, TrafficExtension, EnvoyFilter, EnvoyExtensionPolicy) stands for that policy. A text may hold more than that: [`Policies`]
//! finds the policies in it.

mod advice;
mod carrier;
mod error;
pub(crate) mod folder;
mod foreign;
mod policies;

pub(crate) use crate::document::{Member, Node, Value};
pub(crate) use error::PolicyError;
pub(crate) use policies::{Policies, Which, one_of};

use crate::console::Console;
use crate::document::{Document, TextError};
use crate::failure::Failure;
use crate::finding::Finding;
use carrier::Place;
use egress_warden::config::{self, Config, MAX_DEPTH};
use egress_warden::root_id::Connections;
use std::borrow::Cow;
use std::cell::OnceCell;
use std::collections::HashSet;
use std::path::Path;
use std::rc::Rc;

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
    document: Rc<Document>,
    /// Where in it the policy is; absent where the text has none that could be.
    place: Option<Place>,
    /// Errors of the text that may change what is read of the policy.
    errors: Vec<Finding<TextError>>,
    /// Whether it is the only policy of the text.
    is_alone: bool,
    /// What the policy's reader says, once it was asked.
    reading: OnceCell<Reading>,
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
    fn new(
        document: &Rc<Document>,
        place: Option<Place>,
        errors: Vec<Finding<TextError>>,
        is_alone: bool,
    ) -> Self {
        Self { document: Rc::clone(document), place, errors, is_alone, reading: OnceCell::new() }
    }

    /// Takes apart a text that holds one policy; a second one is an error. What is valid JSON is read as
    /// JSON whatever its name.
    pub(crate) fn of_text(name: String, text: String, is_json_by_name: bool) -> Self {
        Policies::of_text(name, text, is_json_by_name).into_one()
    }

    /// Reads a policy that is to be used: errors are a failure, which says how to see them all. What is
    /// beside the policy is told.
    pub(crate) fn load(
        path: &Path,
        name: Option<&str>,
        console: &mut Console,
    ) -> Result<(Self, Config), Failure> {
        let policies = Policies::read(path)?;
        policies.tell(console);
        policies.only(name)?.into_valid()
    }

    /// The policy, where it is valid.
    pub(crate) fn into_valid(mut self) -> Result<(Self, Config), Failure> {
        let reading = self.reading.take().unwrap_or_else(|| self.ask());
        match reading.config {
            Ok(config) => Ok((self, config)),
            Err(errors) => {
                let where_all = ": `egress-warden check` shows them all";
                Err(self.document.failure(&errors, where_all))
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
        let mut findings: Vec<_> = self.errors.iter().map(|it| self.within(it)).collect();
        if let Some(place) = &self.place {
            findings.extend(place.errors(&self.document));
        }
        let read = match self.tree() {
            Some(tree) => read(tree),
            None => Err(carrier::not_policies(&self.document)),
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

    /// A text that holds this policy alone: the file's, or in a file with others the policy as JSON.
    pub(crate) fn own_text(&self) -> Cow<'_, str> {
        match (self.is_alone, self.tree()) {
            (false, Some(tree)) => tree.to_json().into(),
            _ => self.text().into(),
        }
    }

    /// The whole text, taken apart.
    pub(crate) fn document(&self) -> &Document {
        &self.document
    }

    /// What a manifest that puts the filter before connections (`type: NETWORK`) has it judge.
    pub(crate) fn connections(&self) -> Option<Connections> {
        self.place.as_ref()?.connections(&self.document)
    }

    /// The policy, taken apart; absent where the text has none that could be.
    pub(crate) fn tree(&self) -> Option<&Node> {
        self.place.as_ref()?.policy(&self.document)
    }

    /// The object that kubectl applies: the policy with the manifest around it.
    pub(crate) fn carrier(&self) -> Option<&Node> {
        self.place.as_ref()?.carrier(&self.document)
    }

    /// The policy's name, or its manifest with its kind, as messages name it among others.
    pub(crate) fn label(&self) -> String {
        match (self.carrier(), self.policy_name()) {
            (Some(carrier), _) if self.is_in_manifest() => foreign::told(carrier),
            (_, Some(name)) => format!("policy {}", foreign::shown(name)),
            _ => "a policy without a name".to_owned(),
        }
    }

    /// Its name for `--document`, where a manifest carries it; else the policy's own.
    pub(crate) fn document_name(&self) -> Option<String> {
        let carrier = self.carrier().filter(|_| self.is_in_manifest());
        let metadata = carrier.and_then(|it| it.get("metadata"));
        let of_manifest = |key| metadata?.get(key)?.text();
        match (of_manifest("namespace"), of_manifest("name")) {
            (Some(namespace), Some(name)) => {
                Some(format!("{}/{}", foreign::shown(namespace), foreign::shown(name)))
            }
            (None, Some(name)) => Some(foreign::shown(name)),
            (_, None) => self.policy_name().map(foreign::shown),
        }
    }

    /// How messages name the policy: by its file, and by its label where that holds several.
    pub(crate) fn title(&self) -> String {
        match self.is_alone {
            true => self.name().to_owned(),
            false => format!("{} ({})", self.name(), self.label()),
        }
    }

    /// Whether the policy has a name, or its manifest has it, alone or behind its namespace.
    fn is_named(&self, name: &str) -> bool {
        let document = self.document_name();
        let without_namespace =
            document.as_deref().map(|it| it.split_once('/').map_or(it, |(_, name)| name));
        [self.policy_name(), document.as_deref(), without_namespace].contains(&Some(name))
    }

    fn policy_name(&self) -> Option<&str> {
        self.tree()?.get("policy")?.text()
    }

    fn is_in_manifest(&self) -> bool {
        self.place.as_ref().is_some_and(Place::is_in_manifest)
    }

    /// `FILE:LINE:COLUMN` of an offset.
    pub(crate) fn at(&self, offset: usize) -> String {
        self.document.at(offset)
    }

    /// An error of the text; paths in the policy begin at the policy.
    fn within(&self, error: &Finding<TextError>) -> Finding<PolicyError> {
        let is_inside = |policy: &Node| {
            policy.span.start <= error.span.start && error.span.end <= policy.span.end
        };
        let mut error = error.clone().map(PolicyError::Text);
        if let Some(place) = self.place.as_ref().filter(|_| self.tree().is_some_and(is_inside))
            && let Some(rest) = error.path.strip_prefix(&place.path())
        {
            error.path = format!("${rest}");
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
