//! Who calls: the sources of a rule, and who of them sees a service.

use super::conditions::{Aim, Field, Meaning, Reader, is_not, is_valid};
use super::items;
use super::registry::is_namespace;
use crate::commands::import::draft::Callers;
use crate::document::{Member, Node, Value};
use std::collections::BTreeSet;

/// How ids begin that are of the mesh's own trust domain.
const LOCAL: &str = "cluster.local/";

/// Who sees a service.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Scope {
    /// Everybody, also who is not verified.
    All,
    /// The callers of these namespaces.
    Only(BTreeSet<String>),
    /// The callers of all other namespaces.
    Except(BTreeSet<String>),
}

impl Scope {
    pub(super) fn is_empty(&self) -> bool {
        matches!(self, Self::Only(namespaces) if namespaces.is_empty())
    }

    /// Those of the callers who see it; without any given, of all. `None` where nobody is left; an empty
    /// list is everybody.
    pub(super) fn within(&self, callers: &[Callers]) -> Option<Vec<Callers>> {
        if *self == Self::All {
            return Some(callers.to_vec());
        }
        let all = [Callers::default()];
        let callers = if callers.is_empty() { &all } else { callers };
        let left: Vec<_> = callers.iter().filter_map(|it| self.narrowed(it.clone())).collect();
        (!left.is_empty()).then_some(left)
    }

    /// What of one entry is left.
    fn narrowed(&self, mut callers: Callers) -> Option<Callers> {
        let had = |list: &[String]| !list.is_empty();
        let named = [&callers.principals, &callers.service_accounts, &callers.namespaces];
        let [principals, accounts, namespaces] = named.map(|list| had(list));
        callers.principals.retain(|id| match namespace_of(id) {
            Identity::In(namespace) | Identity::Below(namespace) => self.has(namespace),
            Identity::Elsewhere => false,
            Identity::Unclear => true,
        });
        callers.service_accounts.retain(|account| {
            account.split_once('/').is_some_and(|(namespace, _)| self.has(namespace))
        });
        if let Self::Only(all) = self
            && namespaces
        {
            let is_listed = |name: &&String| callers.namespaces.iter().any(|it| matches(it, name));
            callers.namespaces = all.iter().filter(is_listed).cloned().collect();
        } else {
            callers.namespaces.retain(|name| name.contains('*') || self.has(name));
        }
        let is_left = [
            (principals, &callers.principals),
            (accounts, &callers.service_accounts),
            (namespaces, &callers.namespaces),
        ];
        if is_left.iter().any(|(had_some, list)| *had_some && list.is_empty()) {
            return None;
        }
        let is_in = |id: &String| matches!(namespace_of(id), Identity::In(_));
        let is_settled = accounts
            || principals && callers.principals.iter().all(is_in)
            || namespaces && callers.namespaces.iter().all(|name| !name.contains('*'));
        match self {
            Self::Only(all) if !is_settled => callers.namespaces = all.iter().cloned().collect(),
            Self::Except(all) if !is_settled => callers.not_namespaces.extend(all.iter().cloned()),
            _ => {}
        }
        callers.not_namespaces.sort_unstable();
        callers.not_namespaces.dedup();
        Some(callers)
    }

    fn has(&self, namespace: &str) -> bool {
        match self {
            Self::All => true,
            Self::Only(namespaces) => namespaces.contains(namespace),
            Self::Except(namespaces) => !namespaces.contains(namespace),
        }
    }
}

/// What the pattern of an id says of the namespace.
enum Identity<'a> {
    /// It is an id in this one.
    In(&'a str),
    /// It begins like the ids of this one.
    Below(&'a str),
    /// It is an id in none.
    Elsewhere,
    Unclear,
}

fn namespace_of(id: &str) -> Identity<'_> {
    let parts: Vec<_> = id.split('/').collect();
    match (&parts[..], id.contains('*')) {
        ([domain, "ns", namespace, "sa", account], false)
            if [domain, namespace, account].iter().all(|part| !part.is_empty()) =>
        {
            Identity::In(namespace)
        }
        (_, false) => Identity::Elsewhere,
        ([domain, "ns", namespace, _, ..], true) if !domain.contains('*') => {
            Identity::Below(namespace)
        }
        _ => Identity::Unclear,
    }
}

/// Whether a pattern over namespaces matches one.
fn matches(pattern: &str, name: &str) -> bool {
    match (pattern.strip_prefix('*'), pattern.strip_suffix('*')) {
        (Some(end), _) => name.ends_with(end),
        (_, Some(start)) => name.starts_with(start),
        _ => pattern == name,
    }
}

/// Whether an entry asks who is verified.
pub(super) fn is_positive(callers: &Callers) -> bool {
    let Callers { principals, namespaces, service_accounts, .. } = callers;
    [principals, namespaces, service_accounts].iter().any(|list| !list.is_empty())
}

impl Reader<'_, '_> {
    /// Who a rule is for; nothing where it is for nobody, an empty list where it is for everybody.
    pub(super) fn callers(&mut self, rule: &Node) -> Option<Vec<Callers>> {
        self.members(rule, &["from", "to", "when"])?;
        let mut common = Callers::default();
        for condition in self.entries(rule, "when")? {
            self.when(condition, &mut common)?;
        }
        let sources = self.entries(rule, "from")?;
        if sources.is_empty() {
            return Some(if common == Callers::default() { Vec::new() } else { vec![common] });
        }
        let mut all = Vec::new();
        for source in sources {
            let mut callers = common.clone();
            let Some(members) = self.fields(source, "source") else { continue };
            if members.iter().all(|member| self.source(member, &mut callers).is_some()) {
                all.push(callers);
            }
        }
        if all.contains(&Callers::default()) {
            return Some(Vec::new());
        }
        (!all.is_empty()).then_some(all)
    }

    /// The entries of a list of a rule.
    pub(super) fn entries<'a>(&mut self, rule: &'a Node, key: &str) -> Option<&'a [Node]> {
        match items(rule.get(key)) {
            Some(entries) => Some(entries),
            None => {
                let field = self.unsaid(key, rule, "which is no list");
                (field == Field::Any).then_some(&[])
            }
        }
    }

    /// The value under the only key of an entry: its fields. Nothing where they cannot be met.
    pub(super) fn fields<'a>(&mut self, entry: &'a Node, key: &str) -> Option<&'a [Member]> {
        self.members(entry, &[key])?;
        let Some(fields) = entry.get(key) else { return Some(&[]) };
        match &fields.value {
            Value::Object(members) => Some(members),
            Value::Null => Some(&[]),
            _ => (self.unsaid(key, fields, "which has no fields") == Field::Any).then_some(&[]),
        }
    }

    /// Looks into an object that has only these keys. Nothing where it has others, and cannot be met.
    fn members(&mut self, object: &Node, keys: &[&str]) -> Option<()> {
        if !matches!(object.value, Value::Object(_)) {
            let field = self.unsaid(&keys.join("`, `"), object, "without an object around it");
            return (field == Field::Any).then_some(());
        }
        for strange in object.members().iter().filter(|member| !keys.contains(&&*member.key)) {
            let why = format!("which is none of `{}`", keys.join("`, `"));
            if self.unsaid(&strange.key, &strange.value, &why) == Field::Never {
                return None;
            }
        }
        Some(())
    }

    fn source(&mut self, member: &Member, callers: &mut Callers) -> Option<()> {
        let Member { key, value, .. } = member;
        let namespace = self.object.namespace();
        let field = match &**key {
            "principals" | "notPrincipals" => self.principals(key, value),
            "namespaces" | "notNamespaces" => self.field(key, value, a_namespace),
            "serviceAccounts" | "notServiceAccounts" => {
                self.field(key, value, |text| account(text, namespace))
            }
            _ => self.unsaid(key, value, "a policy knows callers by their certificates alone"),
        };
        self.add(key, value, field, callers)
    }

    fn when(&mut self, condition: &Node, callers: &mut Callers) -> Option<()> {
        let attribute = condition.get("key").and_then(Node::text).unwrap_or_default();
        let keys = match attribute {
            "source.principal" => ["principals", "notPrincipals"],
            "source.namespace" => ["namespaces", "notNamespaces"],
            _ => {
                let problem = format!("`when` {attribute}: a condition that a policy cannot say");
                self.point(condition, problem);
                return (self.never_said() == Field::Any).then_some(());
            }
        };
        self.members(condition, &["key", "values", "notValues"])?;
        let has_some = |key| condition.get(key).is_some_and(|it| items(Some(it)) != Some(&[]));
        if !["values", "notValues"].into_iter().any(has_some) {
            self.point(condition, format!("`when` {attribute}: without values"));
            return (self.never_said() == Field::Any).then_some(());
        }
        for (key, values) in keys.into_iter().zip(["values", "notValues"]) {
            let Some(value) = condition.get(values) else { continue };
            let field = match attribute {
                "source.principal" => self.principals(key, value),
                _ => self.field(key, value, a_namespace),
            };
            self.add(key, value, field, callers)?;
        }
        Some(())
    }

    /// Ids. In what refuses, `cluster.local` is any trust domain: there it stands for that of the mesh,
    /// whatever its name.
    fn principals(&mut self, key: &str, node: &Node) -> Field {
        let refuses = (self.aim == Aim::Deny) != is_not(key);
        let is_local = |value: &Node| value.text().is_some_and(|it| it.starts_with(LOCAL));
        if refuses && node.items().iter().any(is_local) {
            let note = format!(
                "`{key}`: `cluster.local` is any trust domain here, lest it be not that of the mesh."
            );
            self.notes.push(note);
        }
        self.field(key, node, |text| principal(text, refuses))
    }

    /// Adds a field; nothing where no caller meets it.
    fn add(&mut self, key: &str, node: &Node, field: Field, callers: &mut Callers) -> Option<()> {
        let values = match field {
            Field::Any => return Some(()),
            Field::Never => return None,
            Field::Values(values) => values,
        };
        let list = match key {
            "principals" => &mut callers.principals,
            "notPrincipals" => &mut callers.not_principals,
            "namespaces" => &mut callers.namespaces,
            "notNamespaces" => &mut callers.not_namespaces,
            "serviceAccounts" => &mut callers.service_accounts,
            _ => &mut callers.not_service_accounts,
        };
        if !list.is_empty() && !is_not(key) {
            let field = self.unsaid(key, node, "a second list of the same, of which both hold");
            return (field == Field::Any).then_some(());
        }
        list.extend(values.into_iter().filter(|value| !list.contains(value)).collect::<Vec<_>>());
        Some(())
    }
}

/// An id without its scheme.
fn principal(text: &str, refuses: bool) -> Meaning {
    if text.starts_with("spiffe://") {
        return Meaning::Nothing("ids stand without `spiffe://`");
    }
    let inner = text.strip_prefix('*').or_else(|| text.strip_suffix('*')).unwrap_or(text);
    if inner.contains('*') {
        return Meaning::Nothing("a `*` counts at one end only");
    }
    if text.contains("//") || !is_valid("from", "principals", text) {
        return Meaning::Unsaid("no id that a policy takes");
    }
    match text.strip_prefix(LOCAL) {
        Some(_) if refuses && text.ends_with('*') => {
            Meaning::Unsaid("`cluster.local` stands for the trust domain of the mesh there")
        }
        Some(rest) if refuses => Meaning::Text(format!("*/{rest}")),
        _ => Meaning::Text(text.to_owned()),
    }
}

fn a_namespace(text: &str) -> Meaning {
    let inner = text.strip_prefix('*').or_else(|| text.strip_suffix('*')).unwrap_or(text);
    match inner.is_empty() && !text.is_empty() || is_namespace(inner) {
        true => Meaning::Text(text.to_owned()),
        false => Meaning::Unsaid("no name, `prefix*` or `*suffix` of namespaces"),
    }
}

/// `NAMESPACE/ACCOUNT`, or an account of the policy's own namespace.
fn account(text: &str, namespace: Option<&str>) -> Meaning {
    let account = match (text.contains('/'), namespace) {
        (true, _) => text.to_owned(),
        (false, Some(namespace)) => format!("{namespace}/{text}"),
        (false, None) => return Meaning::Unsaid("an account without a namespace"),
    };
    match !account.contains('*') && is_valid("from", "serviceAccounts", &account) {
        true => Meaning::Text(account),
        false => Meaning::Unsaid("no `NAMESPACE/ACCOUNT`"),
    }
}
