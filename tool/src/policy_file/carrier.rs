//! Where in a text a policy is: a document by itself, in a manifest, or in a manifest of a list.

use super::error::PolicyError;
use super::foreign::{self, Foreign};
use crate::document::{Document, Node, TextError, Value};
use crate::finding::{Finding, Message as _};
use egress_warden::root_id::Connections;
use std::collections::HashSet;
use std::ops::Range;

/// Where a policy is.
#[derive(Clone, Debug)]
pub(super) struct Place {
    object: Position,
    /// From the manifest to the policy; none where the policy stands by itself.
    steps: Vec<Step>,
}

/// From a node to one that it holds.
#[derive(Clone, Copy, Debug)]
enum Step {
    Key(&'static str),
    Item(usize),
}

/// Where an object is that kubectl would take for one.
#[derive(Clone, Debug)]
struct Position {
    /// Among the documents.
    root: usize,
    /// Among the items of a list, and of a list in that, and so on.
    items: Vec<usize>,
}

/// What a text holds.
#[derive(Debug)]
pub(super) struct Contents {
    pub(super) policies: Vec<Place>,
    /// Errors of each policy and of what carries it.
    pub(super) errors: Vec<Vec<Finding<TextError>>>,
    /// Errors elsewhere that may hide a policy or change one.
    pub(super) around: Vec<Finding<TextError>>,
    /// What else there is, as messages name it.
    pub(super) others: Vec<String>,
}

impl Contents {
    /// Finds the policies of a text that can be taken apart. If the text is `meant` as a policy and is a
    /// single object, this is one unless it is known to be something else. Otherwise objects are
    /// policies if they look like one.
    pub(super) fn of(document: &Document, errors: &[Finding<TextError>], meant: bool) -> Self {
        let objects = objects(document);
        let is_alone = objects.len() == 1 && meant;
        let (mut policies, mut others) = (Vec::new(), Vec::new());
        let mut owners = Vec::new();
        for (position, object) in objects {
            let first = policies.len();
            if foreign::of(object).is_none() {
                let ways = ways(object).unwrap_or_else(|| vec![Way::default()]);
                let is_one = |way: &Way| {
                    let policy = follow(object, &way.steps);
                    is_alone || way.is_to_filter || policy.is_some_and(looks_like_policy)
                };
                let places = ways.into_iter().filter(is_one);
                policies
                    .extend(places.map(|it| Place { object: position.clone(), steps: it.steps }));
            }
            if policies.len() == first {
                others.push(foreign::told(object));
            }
            owners.push(Owner {
                path: position.path(),
                root: position.root,
                object,
                policies: first..policies.len(),
            });
        }
        let (errors, around) = distribute(document, errors, &owners, policies.len());
        Self { policies, errors, around, others }
    }
}

/// An object, and which policies it carries.
struct Owner<'d> {
    /// JSONPath in its document.
    path: String,
    root: usize,
    object: &'d Node,
    policies: Range<usize>,
}

/// Parts the errors of a text: for each policy those that are its own, and those elsewhere that may hide a
/// policy or change one. By one of the latter a policy could be passed over that kubectl applies.
fn distribute(
    document: &Document,
    errors: &[Finding<TextError>],
    owners: &[Owner<'_>],
    count: usize,
) -> (Vec<Vec<Finding<TextError>>>, Vec<Finding<TextError>>) {
    let (mut of_each, mut around) = (vec![Vec::new(); count], Vec::new());
    for error in errors {
        match owner_of(document, owners, error) {
            Some(owner) if !owner.policies.is_empty() => {
                let own = of_each.get_mut(owner.policies.clone()).into_iter().flatten();
                own.for_each(|errors| errors.push(error.clone()));
            }
            Some(other) if !may_hide(other, error) => {}
            _ => around.push(error.clone()),
        }
    }
    (of_each, around)
}

/// The object that an error is in. Where aliases may stand for it elsewhere in a list, nobody's.
fn owner_of<'o, 'd>(
    document: &Document,
    owners: &'o [Owner<'d>],
    error: &Finding<TextError>,
) -> Option<&'o Owner<'d>> {
    let roots = document.roots();
    let root = roots.partition_point(|it| it.span.start <= error.span.start).checked_sub(1)?;
    let first = owners.partition_point(|it| it.root < root);
    let end = owners.partition_point(|it| it.root <= root);
    let owners = owners.get(first..end)?;
    let is_in = |it: &&Owner<'_>| {
        it.object.span.start <= error.span.start && error.span.end <= it.object.span.end
    };
    match owners {
        [only] if only.path == "$" => Some(only).filter(is_in),
        _ if document.has_aliases() => None,
        _ => {
            let next = owners.partition_point(|it| it.object.span.start <= error.span.start);
            owners.get(next.checked_sub(1)?).filter(is_in)
        }
    }
}

/// Whether another reader may see a policy in an object, by an error, in which there is none as it was
/// read here: the error may change the object's kind, or its items, or what a plugin is given.
fn may_hide(other: &Owner<'_>, error: &Finding<TextError>) -> bool {
    let is_at_top = || {
        let rest = error.path.strip_prefix(&other.path).and_then(|it| it.get(1..));
        !rest.unwrap_or_default().contains(['.', '['])
    };
    match error.kind {
        TextError::Doubtful(..)
        | TextError::KeyIsDoubtful(_)
        | TextError::BlockAtEnd
        | TextError::BlockBeforeSeparator => false,
        TextError::AnchorName | TextError::DuplicateAnchor(_) => true,
        _ => is_at_top() || may_carry(other.object),
    }
}

/// Of a text without a policy: what is there instead. Where more is known of some object than that it is
/// no policy, this is said, of each kind once.
pub(super) fn not_policies(document: &Document) -> Vec<Finding<PolicyError>> {
    let objects = objects(document);
    let whole =
        |object: &Node, kind| Finding::whole(object.span.clone(), PolicyError::Foreign(kind));
    let mut telling = Vec::new();
    let mut kinds = HashSet::new();
    for (_, object) in &objects {
        let Some(kind) = foreign::of(object).filter(|it| it.is_telling()) else { continue };
        if kinds.insert(kind.problem().into_owned()) {
            telling.push(whole(object, kind));
        }
    }
    match &*objects {
        _ if !telling.is_empty() => telling,
        [(_, only)] => foreign::of(only).map(|kind| whole(only, kind)).into_iter().collect(),
        [(_, first), ..] => {
            let names = objects.iter().map(|(_, object)| foreign::told(object));
            vec![whole(first, Foreign::Several(names.collect()))]
        }
        [] => Vec::new(),
    }
}

impl Place {
    /// The object that carries the policy.
    pub(super) fn carrier<'d>(&self, document: &'d Document) -> Option<&'d Node> {
        let root = document.roots().get(self.object.root)?;
        self.object.items.iter().try_fold(root, |list, item| list.get("items")?.items().get(*item))
    }

    /// The policy itself.
    pub(super) fn policy<'d>(&self, document: &'d Document) -> Option<&'d Node> {
        follow(self.carrier(document)?, &self.steps)
    }

    /// JSONPath of the policy in its document.
    pub(super) fn path(&self) -> String {
        let steps = self.steps.iter().map(|step| match step {
            Step::Key(key) => format!(".{key}"),
            Step::Item(item) => format!("[{item}]"),
        });
        format!("{}{}", self.object.path(), steps.collect::<String>())
    }

    /// Whether a manifest carries the policy.
    pub(super) fn is_in_manifest(&self) -> bool {
        !self.steps.is_empty()
    }

    /// What a manifest that puts the filter before connections has it judge.
    pub(super) fn connections(&self, document: &Document) -> Option<Connections> {
        connections_of(self.plugin(document)?).ok().flatten()
    }

    /// Errors of what stands around the policy.
    pub(super) fn errors(&self, document: &Document) -> Vec<Finding<PolicyError>> {
        let mut errors = Vec::new();
        if let Some(plugin) = self.plugin(document)
            && let Err(kind) = connections_of(plugin)
        {
            let place = plugin.get("pluginName").unwrap_or(plugin);
            errors.push(Finding::whole(place.span.clone(), kind));
        }
        if let Some(manifest) = self.carrier(document).filter(|_| self.is_in_manifest()) {
            errors.extend(odd_keys(manifest));
        }
        errors
    }

    /// What of a manifest loads the filter.
    fn plugin<'d>(&self, document: &'d Document) -> Option<&'d Node> {
        let (_, way) = self.steps.split_last()?;
        follow(self.carrier(document)?, way)
    }
}

impl Position {
    /// JSONPath in its document.
    fn path(&self) -> String {
        let items = self.items.iter().map(|item| format!(".items[{item}]"));
        format!("${}", items.collect::<String>())
    }
}

/// Every object of a text, with those of a list (`kubectl get -o yaml`) one by one.
fn objects(document: &Document) -> Vec<(Position, &Node)> {
    let mut found = Vec::new();
    for (root, node) in document.roots().iter().enumerate() {
        collect(Position { root, items: Vec::new() }, node, &mut found);
    }
    found
}

fn collect<'d>(position: Position, node: &'d Node, found: &mut Vec<(Position, &'d Node)>) {
    let Some(items) = items(node) else { return found.push((position, node)) };
    for (index, item) in items.iter().enumerate() {
        let mut position = position.clone();
        position.items.push(index);
        collect(position, item, found);
    }
}

/// The items of a list. kubectl takes an object with `items` for one, whatever its kind; a manifest that
/// carries a policy may have none beside it.
fn items(node: &Node) -> Option<&[Node]> {
    let items =
        node.get("items").filter(|_| node.get("policy").is_none() && ways(node).is_none())?;
    node.get("kind")?.text()?;
    Some(items.items()).filter(|items| !items.is_empty())
}

/// From a manifest to what it gives to a filter.
#[derive(Debug, Default)]
pub(super) struct Way {
    steps: Vec<Step>,
    /// Whether that filter is this one, whatever it is given. Of plugins it is not known.
    is_to_filter: bool,
}

/// The ways of a manifest that may load the filter, as far as it gives its plugin something; `None` where
/// there is none.
pub(super) fn ways(object: &Node) -> Option<Vec<Way>> {
    use Step::Key;
    let ways: Vec<_> = match object.get("kind")?.text()? {
        "WasmPlugin" => vec![(vec![Key("spec"), Key("pluginConfig")], false)],
        "TrafficExtension" => vec![(vec![Key("spec"), Key("wasm"), Key("pluginConfig")], false)],
        // The native library, in Istio.
        "EnvoyFilter" => of_library(
            object,
            &[Key("spec"), Key("configPatches")],
            &[Key("patch"), Key("value"), Key("typed_config")],
            "filter_name",
            &[Key("filter_config"), Key("value")],
        ),
        // The same, in Envoy Gateway.
        "EnvoyExtensionPolicy" => of_library(
            object,
            &[Key("spec"), Key("dynamicModule")],
            &[],
            "filterName",
            &[Key("config")],
        ),
        _ => Vec::new(),
    };
    let there = ways.into_iter().filter(|(steps, _)| follow(object, steps).is_some());
    let there: Vec<_> = there.map(|(steps, is_to_filter)| Way { steps, is_to_filter }).collect();
    Some(there).filter(|it| !it.is_empty())
}

/// Of a list of filters the ways to the policies of those that are this one, which their `name` says.
fn of_library(
    object: &Node,
    list: &[Step],
    filter: &[Step],
    name: &str,
    policy: &[Step],
) -> Vec<(Vec<Step>, bool)> {
    let count = follow(object, list).map_or(0, |list| list.items().len());
    let filters = (0..count).map(|item| [list, &[Step::Item(item)], filter].concat());
    let own = filters.filter(|it| is_library(follow(object, it).and_then(|it| it.get(name))));
    own.map(|it| ([&it[..], policy].concat(), true)).collect()
}

/// Whether a dynamic module's filter is this one: the library refuses any other name.
fn is_library(name: Option<&Node>) -> bool {
    matches!(name.and_then(Node::text), Some("egress-warden" | "egress-warden:waypoint"))
}

/// Whether an object is of a kind that can load the filter.
fn may_carry(object: &Node) -> bool {
    let kind = object.get("kind").and_then(Node::text);
    matches!(kind, Some("WasmPlugin" | "TrafficExtension" | "EnvoyFilter" | "EnvoyExtensionPolicy"))
}

fn follow<'d>(from: &'d Node, steps: &[Step]) -> Option<&'d Node> {
    steps.iter().try_fold(from, |node, step| match step {
        Step::Key(key) => node.get(key),
        Step::Item(item) => node.items().get(*item),
    })
}

/// Whether an object beside others is meant as a policy: other plugins are given other things.
fn looks_like_policy(node: &Node) -> bool {
    let is_list = |node: &Node| matches!(node.value, Value::List(_));
    node.get("policy").is_some()
        || node.get("rules").is_some_and(is_list)
        || node.get("default").is_some_and(|it| it.text().is_some())
}

/// Keys that no manifest has. kubectl takes an object with `items` for a list, whatever its kind, and
/// drops what stands around it.
fn odd_keys(manifest: &Node) -> Vec<Finding<PolicyError>> {
    const KEYS: [&str; 5] = ["apiVersion", "kind", "metadata", "spec", "status"];
    let Value::Object(members) = &manifest.value else { return Vec::new() };
    let odd = members.iter().filter(|member| !KEYS.contains(&&*member.key));
    odd.map(|member| {
        let kind = PolicyError::ManifestKey(member.key.clone());
        Finding::whole(member.key_span.clone(), kind)
    })
    .collect()
}

/// The connections that a plugin of a manifest judges, `None` where it judges requests; or why it
/// would judge neither. Istio gives a plugin's name as its root id.
fn connections_of(plugin: &Node) -> Result<Option<Connections>, PolicyError> {
    let name = plugin.get("pluginName");
    let root_id = name.and_then(Node::text).unwrap_or_default();
    let is_network = plugin.get("type").and_then(Node::text) == Some("NETWORK");
    match (is_network, Connections::of_root_id(root_id.as_bytes())) {
        (true, Ok(Some(connections))) => Ok(Some(connections)),
        (false, Ok(None)) => Ok(None),
        (true, _) => Err(PolicyError::NetworkName),
        (false, _) => Err(PolicyError::NameWithoutNetwork),
    }
}
