//! What there is to say of a text, of a policy's above all, each with its place: errors and warnings as
//! data, their display, and the edits of the text that mend them.
//!
//! An error is what the proxy refuses. A warning is what it accepts and nobody is likely to mean.

pub(crate) mod fix;
mod render;

pub(crate) use render::{json, one, one_json, write};

use crate::document::{Node, TextError};
use crate::finding::{Finding, Message};
use crate::policy_file::{PolicyError, PolicyFile};
use crate::render::istio::Loss;
use crate::render::plan::Obstacle;
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

    /// What a plan leaves out: a warning, or a note where the policy names nothing that is lost.
    pub(crate) fn of_plan(finding: &Finding<Obstacle>) -> Self {
        let level = if finding.kind.is_note { Level::Note } else { Level::Warning };
        let kind = finding.kind.kind.word();
        let finding = finding.clone().map(|kind| Rc::new(kind) as Rc<dyn Message>);
        Self { level, kind, finding, edit: None }
    }

    /// What Istio cannot be told of a plan.
    pub(crate) fn of_istio(finding: &Finding<Loss>) -> Self {
        let kind = finding.kind.word();
        let finding = finding.clone().map(|kind| Rc::new(kind) as Rc<dyn Message>);
        Self { level: Level::Warning, kind, finding, edit: None }
    }

    /// The kind of most errors.
    const ERROR: &'static str = "error";
}
