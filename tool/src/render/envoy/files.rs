//! A configuration as a folder of files that Envoy watches: a bootstrap, and what it takes from the others.
//!
//! Each file has a folder of its own, as Envoy reads a file anew whenever one is moved into its folder: so the
//! order in which files are moved is the one in which Envoy takes them, and it never asks for one that is gone.

use crate::document::{Document, Node};
use crate::render::template::{fill, quoted};
use sha2::{Digest as _, Sha256};
use std::collections::BTreeSet;
use std::fmt::Write as _;

/// A file begins so, but for the bootstrap with what it is for.
pub(crate) const MARK: &str = "# egress-warden render envoy: ";
/// Where the bootstrap is, in the folder.
pub(crate) const BOOTSTRAP: &str = "envoy.yaml";

pub(super) const EXTENSION: &str = "envoy.config.core.v3.TypedExtensionConfig";
const CLUSTER: &str = "envoy.config.cluster.v3.Cluster";
const LISTENER: &str = "envoy.config.listener.v3.Listener";

/// One file.
#[derive(Debug)]
pub(crate) struct File {
    /// Below the folder.
    pub(crate) path: String,
    pub(crate) text: String,
}

impl File {
    /// A file with these resources, each of which begins as an item of a list. Its version says what is in it.
    pub(super) fn new(path: String, resources: &[String], kind: &str) -> Self {
        let mut list = String::new();
        for resource in resources {
            let rest = resource.strip_prefix("  - ").unwrap_or(resource);
            let _ = write!(list, "  - \"@type\": type.googleapis.com/{kind}\n    {rest}");
        }
        let mut version = String::new();
        for byte in Sha256::digest(&list).iter().take(VERSION / 2) {
            let _ = write!(version, "{byte:02x}");
        }
        let list = if list.is_empty() {
            "resources: []\n".to_owned()
        } else {
            format!("resources:\n{list}")
        };
        Self { path, text: format!("version_info: \"{version}\"\n{list}") }
    }

    /// The same below these lines of comment.
    pub(super) fn headed(self, head: &str) -> Self {
        Self { text: format!("{head}{}", self.text), ..self }
    }
}

/// Digits of a version.
const VERSION: usize = 16;

pub(super) fn clusters(resources: &[String]) -> File {
    File::new(CLUSTERS.to_owned(), resources, CLUSTER)
}

pub(super) fn listeners(resources: &[String]) -> File {
    File::new(LISTENERS.to_owned(), resources, LISTENER)
}

/// Where the clusters are, in the folder.
pub(crate) const CLUSTERS: &str = "clusters/clusters.yaml";
const LISTENERS: &str = "listeners/listeners.yaml";

/// The text of the clusters of an earlier render, without those that the later one lacks; none where it lacks
/// none. What cannot be read counts as lacking.
pub(crate) fn without_gone(earlier: &str, later: &str) -> Option<String> {
    let [earlier, later] = [earlier, later].map(|text| {
        let document = Document::of_text(CLUSTERS.to_owned(), text.to_owned(), false);
        let resources = document.roots().first().and_then(|root| root.get("resources"));
        resources.map(|it| it.items().to_vec()).unwrap_or_default()
    });
    let name = |cluster: &Node| cluster.get("name").and_then(Node::text).map(str::to_owned);
    let names: BTreeSet<_> = later.iter().map(name).collect();
    let kept: Vec<_> = earlier.iter().filter(|it| names.contains(&name(it))).collect();
    (kept.len() < earlier.len()).then(|| {
        let kept: Vec<_> = kept.into_iter().map(Node::to_json).collect();
        format!("{MARK}until the next is there\nresources: [{}]\n", kept.join(", "))
    })
}

/// What starts an Envoy on the folder. It says nothing about the policy, so that it stays as it is.
pub(super) fn bootstrap(folder: &str, name: &str, admin: &str) -> File {
    let (clusters, listeners) = (source(folder, CLUSTERS), source(folder, LISTENERS));
    let path = quoted_path(folder, BOOTSTRAP);
    let values = [
        ("path", &*path),
        ("name", name),
        ("admin", admin),
        ("stats", super::STATS),
        ("clusters", &clusters),
        ("listeners", &listeners),
    ];
    File { path: BOOTSTRAP.to_owned(), text: fill(TEMPLATE, &values) }
}

const TEMPLATE: &str = include_str!("bootstrap.yaml");

/// Where Envoy takes a file from, and what it watches for a new one.
pub(super) fn source(folder: &str, path: &str) -> String {
    let within = path.rsplit_once('/').map_or("", |(within, _)| within);
    let (path, within) = (quoted_path(folder, path), quoted_path(folder, within));
    format!(
        "{{path_config_source: {{path: {path}, watched_directory: {{path: {within}}}}}, \
         resource_api_version: V3}}"
    )
}

fn quoted_path(folder: &str, path: &str) -> String {
    quoted(&format!("{}/{path}", folder.trim_end_matches('/')))
}
