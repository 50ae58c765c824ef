//! Files of cases, each case with its place.

use crate::document::{Document, Node};
use crate::failure::Failure;
use egress_warden::root_id::{self, Connections};
use egress_warden_simulate::case::{self, Case};
use std::path::Path;

/// Largest file of cases, in bytes.
const MAX_FILE: usize = 256 << 20;

pub(super) struct CaseFile {
    document: Document,
    /// As which its connections are judged.
    pub(super) connections: Connections,
    cases: Vec<Case>,
    /// Where each case starts.
    starts: Vec<usize>,
}

impl CaseFile {
    pub(super) fn read(path: &Path) -> Result<Self, Failure> {
        let document = Document::read(path, MAX_FILE, "a file of cases")?;
        let read: case::CaseFile =
            document.read_as("write cases as `egress-warden test --help` shows")?;
        let root = document.roots().first();
        let connections = read.connections().ok().flatten().ok_or_else(|| {
            let value = root.and_then(|root| root.get("root_id"));
            let place = document.at(value.map_or(0, |value| value.span.start));
            let id = read.root_id.as_deref().unwrap_or_default();
            let problem = format!("`root_id: {id}` judges no connections");
            Failure::new(place, problem, root_id::REMEDY)
        })?;
        let nodes = root.and_then(|root| root.get("cases")).map(Node::items).unwrap_or_default();
        let starts = nodes.iter().map(|node| node.get("name").unwrap_or(node).span.start);
        let starts = starts.collect();
        let file = Self { document, connections, cases: read.cases, starts };
        if let Some((case, place)) = file.cases().find(|(it, _)| it.subjects().next().is_none()) {
            let problem = format!("the case `{}` has no request and no connection", case.name);
            let remedy = "write `request`, `requests`, `connection` or `connections`";
            return Err(Failure::new(place, problem, remedy));
        }
        if file.cases.is_empty() {
            let remedy = "write one, or leave the file out";
            return Err(Failure::new(file.document.name(), "no case", remedy));
        }
        Ok(file)
    }

    /// Each case with its place, `FILE:LINE:COLUMN`.
    pub(super) fn cases(&self) -> impl Iterator<Item = (&Case, String)> {
        let starts = self.starts.iter().copied().chain(std::iter::repeat(0));
        self.cases.iter().zip(starts.map(|start| self.document.at(start)))
    }
}
