//! What there is to say of a policy's text, each with its place: errors and warnings as data, their
//! display, and the edits of the text that mend them.
//!
//! An error is what the proxy refuses. A warning is what it accepts and nobody is likely to mean.

pub(crate) mod fix;
mod render;

pub(crate) use render::{json, one, one_json, write};

use crate::document::{Finding, Node};
use crate::policy_file::PolicyFile;
use fix::Edit;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Level {
    Fault,
    Warning,
}

/// A finding with what to do about it.
#[derive(Clone, Debug)]
pub(crate) struct Diagnostic {
    pub(crate) level: Level,
    /// A word that stays the same while messages get better.
    pub(crate) kind: &'static str,
    pub(crate) finding: Finding,
    /// What `check --fix` writes.
    pub(crate) edit: Option<Edit>,
}

impl Diagnostic {
    /// An error that the policy's reader found.
    pub(crate) fn of_fault(file: &PolicyFile, finding: Finding) -> Self {
        let edit = fix::of_fault(file, &finding);
        let is_doubtful = file.document().is_doubtful(&finding.span);
        let kind = if is_doubtful { "yaml-1.1" } else { "fault" };
        Self { level: Level::Fault, kind, finding, edit }
    }

    /// A warning about the value of a node.
    pub(crate) fn warning(
        kind: &'static str,
        (path, node): (String, &Node),
        problem: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        let (problem, remedy) = (problem.into(), remedy.into());
        let finding = Finding { path, span: node.span.clone(), problem, remedy };
        Self { level: Level::Warning, kind, finding, edit: None }
    }
}
