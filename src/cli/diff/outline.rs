//! What the text of a policy names: the patterns by which it tells requests apart.
//!
//! Nothing here decides. An outline only says which requests are worth asking the two policies
//! about.

use crate::cli::failure::Failure;
use crate::cli::policy_file::PolicyFile;
use serde::Deserialize;

/// A policy, as far as it names anything.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Outline {
    #[serde(default)]
    pub(super) rules: Vec<RuleOutline>,
}

/// A rule. What is left out of it is empty here: an empty list is a fault of a policy.
#[derive(Debug, Default, Deserialize)]
pub(super) struct RuleOutline {
    #[serde(default)]
    pub(super) from: Vec<Source>,
    #[serde(default)]
    pub(super) to: Vec<Destination>,
    pub(super) until: Option<String>,
}

/// An entry of `from`.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Source {
    pub(super) principals: Vec<String>,
    pub(super) not_principals: Vec<String>,
    pub(super) namespaces: Vec<String>,
    pub(super) not_namespaces: Vec<String>,
}

/// An entry of `to`.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Destination {
    pub(super) hosts: Vec<String>,
    pub(super) not_hosts: Vec<String>,
    pub(super) ports: Vec<f64>,
    pub(super) not_ports: Vec<f64>,
    pub(super) methods: Vec<String>,
    pub(super) not_methods: Vec<String>,
    pub(super) paths: Vec<String>,
    pub(super) not_paths: Vec<String>,
}

impl Outline {
    /// Takes a file that was read without a fault.
    pub(super) fn of(file: &PolicyFile) -> Result<Self, Failure> {
        let outline = file.tree().and_then(|tree| serde_json::from_str(&tree.to_json()).ok());
        // INVARIANT: the reader takes no policy whose keys have other types.
        outline.ok_or_else(|| Failure::new(file.name(), "no policy", "write one"))
    }
}

/// One way for one rule to match: by an entry of its `to`, or by any destination.
#[derive(Clone, Copy, Debug)]
pub(super) struct Way<'a> {
    pub(super) rule: &'a RuleOutline,
    pub(super) destination: Option<&'a Destination>,
}

impl Outline {
    /// Every way of every rule.
    pub(super) fn ways(&self) -> impl Iterator<Item = Way<'_>> {
        self.rules.iter().flat_map(|rule| {
            let anywhere =
                rule.to.is_empty().then_some(Way { rule, destination: None }).into_iter();
            anywhere.chain(rule.to.iter().map(move |it| Way { rule, destination: Some(it) }))
        })
    }
}
