//! `google-swp`: UrlLists of Google's Secure Web Proxy.
//!
//! By its UrlList syntax reference: `name` is that name alone, `*.name` what is below it, `*name` both, by
//! whole labels; without a path every path matches; `name/path/*` are the paths that begin so, and
//! `name/path` is that path without parameters. A list does not say what it is for: assumed is a rule that
//! allows it, unless a rule that denies stands beside it. It is for any port.

use super::draft::{Action, Draft, Entry, Rule, count, told};
use super::hosts::{HostSet, canonical};
use super::paths::is_prefix;
use super::text::{Shape, Text, title};
use crate::document::Node;
use crate::failure::Failure;
use std::collections::BTreeMap;

const SHAPE: Shape =
    Shape { lists: &["urlLists", "values"], objects: &[], texts: &["basicProfile"], free: &[] };

/// Whether a text has a list of URLs, by its keys.
pub(super) fn looks(text: &Text) -> bool {
    let is_named = |list: &Node| {
        list.get("name").and_then(Node::text).is_some_and(|name| name.contains("/urlLists/"))
    };
    text.has_object(|object| {
        lists(object).iter().any(|list| is_named(list) || list.get("createTime").is_some())
    })
}

/// A rule for each list.
pub(super) fn import(texts: &[Text], draft: &mut Draft) -> Result<(), Failure> {
    let (mut has_lists, mut denies) = (false, false);
    for text in texts {
        for object in text.objects()? {
            let lists = lists(object);
            has_lists |= !lists.is_empty();
            SHAPE.check(text, object)?;
            if object.get("basicProfile").and_then(Node::text) == Some("DENY") {
                denies = true;
                draft.point(
                    text.at(object),
                    format!("{}, which denies: so nothing is carried over", title(object)),
                    "import the lists that are allowed without it, and write the deny by hand",
                );
            } else if lists.is_empty() {
                draft.passed_over.push(format!("{}: {}", text.at(object), title(object)));
            }
            for list in lists {
                import_list(text, list, draft);
            }
        }
    }
    if denies {
        draft.rules.clear();
    }
    match (has_lists, texts.first()) {
        (false, Some(text)) => {
            let remedy = "name what `gcloud network-security url-lists export` writes";
            Err(Failure::new(text.name(), "no UrlList", remedy))
        }
        _ => Ok(()),
    }
}

/// The lists of an object: itself, or those that the API lists.
fn lists(object: &Node) -> Vec<&Node> {
    let is_list = |node: &&Node| node.get("values").is_some();
    let listed = object.get("urlLists").map_or(&[][..], Node::items);
    listed.iter().chain([object]).filter(is_list).collect()
}

fn import_list(text: &Text, list: &Node, draft: &mut Draft) {
    let name = list.get("name").and_then(Node::text).unwrap_or("urls");
    let name = name.rsplit('/').next().unwrap_or(name);
    let values = list.get("values").map_or(&[][..], Node::items);
    let mut by_path: BTreeMap<Option<String>, HostSet> = BTreeMap::new();
    for value in values {
        match value.text().map(read) {
            Some(Ok((host, path))) => by_path.entry(path).or_default().insert(&host),
            Some(Err((problem, remedy))) => draft.point(text.at(value), problem, remedy),
            None => draft.point(text.at(value), "a value that is no text", "write a host"),
        }
    }
    let entry = |(path, hosts): (Option<String>, HostSet)| Entry {
        paths: path.into_iter().collect(),
        ..Entry::of_hosts(&hosts)
    };
    let entries: Vec<Entry> = by_path.into_iter().map(entry).collect();
    if !entries.is_empty() {
        let origin = format!("{}: UrlList {name}, {}", text.at(list), count(values.len(), "value"));
        draft.rules.push(Rule::new(name, vec![origin], Action::Allow, entries));
    }
}

/// A host and the pattern of its paths, or what is wrong and what to write.
fn read(value: &str) -> Result<(String, Option<String>), (String, String)> {
    let (host, path) = match value.split_once('/') {
        Some((host, path)) => (host, Some(path)),
        None => (value, None),
    };
    let wrong = |problem: &str, remedy: &str| {
        Err((format!("{problem}: {}", told(value)), remedy.to_owned()))
    };
    let tree = host.strip_prefix('*').filter(|name| !name.starts_with('.'));
    let host = tree.map_or_else(|| host.to_owned(), |name| format!(".{name}"));
    if tree.is_none() && host.starts_with('.') || host.trim_start_matches("*.").contains('*') {
        return wrong("no pattern of a UrlList", "write a name, `*.name` or `*name`");
    }
    let host = match canonical(&host) {
        Ok(host) => host,
        Err(error) => return wrong(&error.problem(), &error.remedy()),
    };
    match path {
        None | Some("*") => Ok((host, None)),
        Some(path) if path.ends_with("/*") && is_prefix(&format!("/{path}")) => {
            Ok((host, Some(format!("/{path}"))))
        }
        Some(path) if path.contains('*') => {
            wrong("a path that no policy can say", "write whole segments, with `/*` at the end")
        }
        Some(_) => wrong(
            "a path without parameters: in a policy a path is for any query",
            "add the path under `paths` by hand if callers may add a query",
        ),
    }
}
