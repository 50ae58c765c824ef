//! What there is to say of a text, of a policy's above all, each with its place: errors and warnings as
//! data, their display, and the edits of the text that mend them.
//!
//! An error is what the proxy refuses. A warning is what it accepts and nobody is likely to mean.

pub(crate) mod fix;
#[cfg(not(target_family = "wasm"))]
mod render;

#[cfg(not(target_family = "wasm"))]
pub(crate) use render::{json, one, one_json, write};

use crate::document::{Node, TextError};
use crate::finding::{Finding, Message};
use crate::policy_file::{PolicyError, PolicyFile};
use fix::Edit;
use std::rc::Rc;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Level {
    Error,
    Warning,
    /// What is right or wrong depending on what the tool cannot see. It is no objection.
    Note,
}

/// A finding with what to do about it.
#[derive(Clone, Debug)]
pub(crate) struct Diagnostic {
    pub(crate) level: Level,
    /// A word that stays the same while messages get better.
    pub(crate) kind: &'static str,
    pub(crate) finding: Finding<Rc<dyn Message>>,
    /// What `check --fix` writes.
    pub(crate) edit: Option<Edit>,
}

impl Diagnostic {
    /// An error of a policy, with the edit that mends it.
    pub(crate) fn of_policy(file: &PolicyFile, finding: &Finding<PolicyError>) -> Self {
        let kind = match finding.kind {
            PolicyError::Text(TextError::Doubtful(..)) => "yaml-1.1",
            _ => Self::ERROR,
        };
        let edit = fix::of_error(file, finding);
        Self { kind, edit, ..Self::error(finding.clone()) }
    }

    /// The error of a byte-order mark before the text.
    pub(crate) fn of_mark(finding: Finding<TextError>) -> Self {
        Self { edit: Some(fix::of_mark()), ..Self::error(finding) }
    }

    /// An error that nothing mends.
    pub(crate) fn error(finding: Finding<impl Message + 'static>) -> Self {
        let finding = finding.map(|kind| Rc::new(kind) as Rc<dyn Message>);
        Self { level: Level::Error, kind: Self::ERROR, finding, edit: None }
    }

    /// A warning about the value of a node.
    pub(crate) fn warning(
        kind: &'static str,
        (path, node): (String, &Node),
        message: impl Message + 'static,
    ) -> Self {
        let finding = Finding { path, span: node.span.clone(), kind: Rc::new(message) as Rc<_> };
        Self { level: Level::Warning, kind, finding, edit: None }
    }

    /// What was found, and what to write instead, on one line.
    pub(crate) fn told(&self) -> String {
        format!("{}: {}", self.found(), self.finding.kind.remedy())
    }

    /// What was found.
    pub(crate) fn found(&self) -> String {
        match self.level {
            Level::Error => format!("found {}", self.finding.kind.problem()),
            Level::Warning | Level::Note => self.finding.kind.problem().into_owned(),
        }
    }

    /// The kind of most errors.
    const ERROR: &'static str = "error";
}
