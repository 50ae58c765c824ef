//! Sidecars: which of the registry the callers of a namespace see.

use super::callers::Scope;
use super::registry::{is_namespace, port};
use super::{Object, ROOT_NAMESPACE, items};
use crate::commands::import::draft::{Draft, told};
use crate::document::Node;
use crate::failure::Failure;
use std::collections::{BTreeMap, BTreeSet, HashSet};

/// The Sidecars by their namespaces.
#[derive(Debug, Default)]
pub(super) struct Sidecars {
    by_namespace: BTreeMap<String, Views>,
}

/// The Sidecars of one namespace.
#[derive(Debug, Default)]
struct Views {
    /// That of all workloads.
    all: Option<View>,
    /// Those of some workloads, in place of that.
    some: Vec<View>,
}

/// What one Sidecar shows.
#[derive(Debug, Default)]
struct View {
    /// Whether it does not say.
    is_open: bool,
    /// On the ports that have a listener of their own.
    by_port: BTreeMap<u16, Imports>,
    /// On the other ports.
    rest: Imports,
}

/// Hosts by the namespaces that they are from.
type Imports = BTreeMap<Source, Names>;

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Source {
    Any,
    /// The caller's own.
    Own,
    Named(String),
}

/// Names, and names whose subdomains are meant.
#[derive(Debug, Default)]
struct Names {
    is_all: bool,
    exact: HashSet<String>,
    below: HashSet<String>,
}

impl Names {
    fn insert(&mut self, name: &str) {
        let name = name.to_ascii_lowercase();
        match name.strip_prefix("*.") {
            Some(above) => drop(self.below.insert(above.to_owned())),
            None if name == "*" => self.is_all = true,
            None => drop(self.exact.insert(name)),
        }
    }

    /// Whether all that a host stands for is among them.
    fn cover(&self, host: &str) -> bool {
        let (name, is_below) = match host.strip_prefix("*.") {
            Some(name) => (name, true),
            None => (host, false),
        };
        let above = |name: &str| {
            let mut names = std::iter::successors(name.split_once('.'), |it| it.1.split_once('.'));
            names.any(|(_, above)| self.below.contains(above))
        };
        let is_itself =
            if is_below { self.below.contains(name) } else { self.exact.contains(name) };
        self.is_all || is_itself || above(name)
    }
}

impl View {
    /// Whether a caller sees a service: one of this namespace, or one of another that has no Sidecar.
    fn shows(&self, caller: Option<&str>, from: Option<&str>, host: &str, port: u16) -> bool {
        let imports = self.by_port.get(&port).unwrap_or(&self.rest);
        self.is_open
            || imports.iter().any(|(source, names)| {
                let is_from = match source {
                    Source::Any => true,
                    Source::Own => caller.is_some() && caller == from,
                    Source::Named(name) => from == Some(name),
                };
                is_from && names.cover(host)
            })
    }
}

impl Sidecars {
    /// Adds a Sidecar.
    pub(super) fn read(&mut self, object: Object<'_>, draft: &mut Draft) -> Result<(), Failure> {
        let Some(namespace) = object.namespace() else {
            let problem = format!("{}, which names no namespace", object.title());
            return Err(Failure::new(object.place(), problem, "write `metadata.namespace`"));
        };
        if let Some(node) = object.spec("outboundTrafficPolicy")
            && node.get("mode").and_then(Node::text) != Some("REGISTRY_ONLY")
        {
            draft.point(
                object.text.at(node),
                format!(
                    "`outboundTrafficPolicy` of {}: hosts that no ServiceEntry names stay refused",
                    object.title()
                ),
                "name the hosts that callers need under `hosts`",
            );
        }
        let view = view(object, draft);
        let labels = object.spec("workloadSelector").and_then(|it| it.get("labels"));
        let views = self.by_namespace.entry(namespace.to_owned()).or_default();
        if labels.is_some_and(|labels| !labels.members().is_empty()) {
            draft.point(
                object.place(),
                format!(
                    "{} is for some workloads, which a policy cannot tell from others: for all of \
                     the namespace only what it shows is allowed",
                    object.title()
                ),
                "give the workloads service accounts of their own, and write them under `serviceAccounts`",
            );
            views.some.push(view);
        } else if views.all.is_some() {
            // Which of them holds is undefined: so both do.
            views.some.push(view);
        } else {
            views.all = Some(view);
        }
        Ok(())
    }

    /// Which callers see a host of a ServiceEntry from a namespace, on a port.
    pub(super) fn scope(
        &self,
        exported: Option<&BTreeSet<String>>,
        from: Option<&str>,
        host: &str,
        port: u16,
    ) -> Scope {
        let is_exported = |to: &str| exported.is_none_or(|namespaces| namespaces.contains(to));
        let default = self.by_namespace.get(ROOT_NAMESPACE).and_then(|views| views.all.as_ref());
        let by_default =
            |caller: Option<&str>| default.is_none_or(|view| view.shows(caller, from, host, port));
        let is_shown = |namespace: &str, views: &Views| {
            let all = match &views.all {
                Some(view) => view.shows(Some(namespace), from, host, port),
                None => by_default(Some(namespace)),
            };
            let some = |view: &View| view.shows(Some(namespace), from, host, port);
            is_exported(namespace) && all && views.some.iter().all(some)
        };
        let (mut shown, mut hidden) = (BTreeSet::new(), BTreeSet::new());
        for (namespace, views) in &self.by_namespace {
            let side = if is_shown(namespace, views) { &mut shown } else { &mut hidden };
            side.insert(namespace.clone());
        }
        let is_other = |namespace: &str| !self.by_namespace.contains_key(namespace);
        match exported {
            None if by_default(None) && hidden.is_empty() => Scope::All,
            None if by_default(None) => Scope::Except(hidden),
            _ => {
                let candidates = exported.into_iter().flatten().map(String::as_str).chain(from);
                let others = candidates.filter(|namespace| {
                    is_other(namespace) && is_exported(namespace) && by_default(Some(namespace))
                });
                Scope::Only(shown.into_iter().chain(others.map(str::to_owned)).collect())
            }
        }
    }
}

fn view(object: Object<'_>, draft: &mut Draft) -> View {
    let mut view = View::default();
    let Some(listeners) = items(object.spec("egress")) else {
        let problem = format!("`egress` of {}, which is no list: it shows nothing", object.title());
        draft.point(object.place(), problem, "write a list of listeners");
        return view;
    };
    view.is_open = listeners.is_empty();
    for listener in listeners {
        let number = listener.get("port").map(|port_node| port_node.get("number").and_then(port));
        let imports = match number {
            None => &mut view.rest,
            Some(Some(number)) => view.by_port.entry(number).or_default(),
            Some(None) => {
                let problem = format!("a listener of {} without a port of TCP", object.title());
                draft.point(object.text.at(listener), problem, "write the number of the port");
                continue;
            }
        };
        let hosts = items(listener.get("hosts")).unwrap_or_default();
        if hosts.is_empty() {
            let problem = format!("a listener of {} without a list of hosts", object.title());
            draft.point(object.text.at(listener), problem, "list `NAMESPACE/HOST`");
        }
        for node in hosts {
            match node.text().and_then(import) {
                Some((Some(source), name)) => imports.entry(source).or_default().insert(name),
                Some((None, _)) => {}
                None => {
                    let what = told(node.text().unwrap_or("no text"));
                    let problem = format!("{}: {what} is no `NAMESPACE/HOST`", object.title());
                    draft.point(
                        object.text.at(node),
                        problem,
                        "write a namespace, `.` or `*`, then `/` and a host",
                    );
                }
            }
        }
    }
    view
}

/// The namespace and the name of `NAMESPACE/HOST`; no namespace where none is meant.
fn import(text: &str) -> Option<(Option<Source>, &str)> {
    let (namespace, name) = text.split_once('/')?;
    let source = match namespace {
        "*" => Some(Source::Any),
        "." => Some(Source::Own),
        "~" => None,
        _ if is_namespace(namespace) => Some(Source::Named(namespace.to_owned())),
        _ => return None,
    };
    (!name.is_empty()).then_some((source, name))
}
