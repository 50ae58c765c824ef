//! Files of cases, each case with its place.

use crate::document::{Document, Node};
use crate::failure::Failure;
use crate::report::Region;
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
        if let Some((case, start)) = file.cases().find(|(it, _)| it.subjects().next().is_none()) {
            let place = file.at(start);
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

    pub(super) fn name(&self) -> &str {
        self.document.name()
    }

    /// Each case with where it starts.
    pub(super) fn cases(&self) -> impl Iterator<Item = (&Case, usize)> {
        let starts = self.starts.iter().copied().chain(std::iter::repeat(0));
        self.cases.iter().zip(starts)
    }

    /// `FILE:LINE:COLUMN`.
    pub(super) fn at(&self, start: usize) -> String {
        self.document.at(start)
    }

    /// The line on which a case starts, from there on.
    pub(super) fn region(&self, start: usize) -> Option<Region> {
        let (line, span) = self.document.line_at(start);
        Region::of(&self.document, &(start..span.start.saturating_add(line.len())))
    }
}
