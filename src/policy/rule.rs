//! Rules, and when one matches.
//!
//! Every condition is known to hold, known not to hold, or unknown. If it is unknown, an allow rule
//! does not match and a deny rule does. This is so for a field and for its `not` form.

use super::decision::Action;
use super::host_map::{HostMap, Scope};
use super::request::{Facts, Port};
use super::text::TextSet;
use crate::host::{Host, HostPattern};
use crate::time::Time;

/// A rule without its destinations, which are compiled into the index.
#[derive(Clone, Debug)]
pub struct Rule {
    /// Unique in its policy.
    pub id: Box<str>,
    /// What happens to a request that matches.
    pub action: Action,
    /// Which of the two views leaves the rule out; `None`: none.
    pub state: Option<State>,
    /// When the rule ends.
    pub until: Option<Time>,
    /// Callers, any of which may match; empty: any caller.
    pub from: Vec<Source>,
}

/// What a rule is where it is not simply active.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Evaluated and reported, not enforced: it counts for the would-be verdict only.
    DryRun,
    /// Enforced, and its end is reported: it counts for the verdict only.
    Retiring,
}

/// One entry of `from`; every field that is present must match.
#[derive(Clone, Debug, Default)]
pub struct Source {
    /// SPIFFE ids without `spiffe://`.
    pub principals: Option<TextSet>,
    /// None of these SPIFFE ids.
    pub not_principals: Option<TextSet>,
    /// Kubernetes namespaces.
    pub namespaces: Option<TextSet>,
    /// None of these namespaces.
    pub not_namespaces: Option<TextSet>,
}

/// One entry of `to`; every field that is present must match.
#[derive(Clone, Debug, Default)]
pub struct Destination<'a> {
    /// Hosts.
    pub hosts: Option<Vec<HostPattern<'a>>>,
    /// None of these hosts.
    pub not_hosts: Option<Vec<HostPattern<'a>>>,
    /// Ports that will be dialled.
    pub ports: Option<Vec<u16>>,
    /// None of these ports.
    pub not_ports: Option<Vec<u16>>,
    /// Methods, compared with their case.
    pub methods: Option<Vec<Box<str>>>,
    /// None of these methods.
    pub not_methods: Option<Vec<Box<str>>>,
    /// Paths, without a query.
    pub paths: Option<TextSet>,
    /// None of these paths.
    pub not_paths: Option<TextSet>,
}

impl Destination<'_> {
    /// Whether a verdict on this entry depends on the port.
    pub(super) fn names_ports(&self) -> bool {
        self.ports.is_some() || self.not_ports.is_some()
    }
}

impl Rule {
    /// Whether the rule is past its `until`. Without a clock an allow has ended and a deny has not.
    pub(super) fn has_ended(&self, facts: &Facts<'_>) -> bool {
        self.until.is_some_and(|until| match facts.now {
            Some(now) => now >= until,
            None => self.action == Action::Allow,
        })
    }

    /// Whether the rule matches by one entry of its `to`, whose hosts were found to match by
    /// `scope` (`None`: it has no hosts), or by having no `to`.
    fn matches(
        &self,
        conditions: &Conditions,
        destination: Option<u32>,
        scope: Option<Scope>,
        facts: &Facts<'_>,
    ) -> bool {
        self.matches_destination(conditions, destination, scope, facts)
            && self.matches_caller(facts)
    }

    /// The part of [`Rule::matches`] that differs from entry to entry.
    pub(super) fn matches_destination(
        &self,
        conditions: &Conditions,
        destination: Option<u32>,
        scope: Option<Scope>,
        facts: &Facts<'_>,
    ) -> bool {
        let condition = match destination {
            Some(index) => match conditions.0.get(index as usize) {
                Some(condition) => Some(condition),
                None => return false,
            },
            None => None,
        };
        if self.action == Action::Allow && !names_what_must_be_named(condition, scope, facts) {
            return false;
        }
        condition.is_none_or(|condition| {
            let mut fields = ConditionField::ALL.into_iter();
            fields.all(|field| condition.holds(field, facts).is_none_or(|it| self.counts(it)))
        })
    }

    /// Whether any entry of `from` matches, or there is none.
    pub(super) fn matches_caller(&self, facts: &Facts<'_>) -> bool {
        let source_holds = |source: &Source| {
            let mut fields = SourceField::ALL.into_iter();
            fields.all(|field| source.holds(field, facts).is_none_or(|it| self.counts(it)))
        };
        self.from.is_empty() || self.from.iter().any(source_holds)
    }

    /// Whether a condition counts as holding: what is unknown does in a deny rule.
    fn counts(&self, known: Option<bool>) -> bool {
        known.unwrap_or(self.action == Action::Deny)
    }
}

/// Why a rule does not match by one entry of its `to`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Miss {
    /// It is past its `until`.
    Ended,
    /// The host is an address or a special name, which an allow must name.
    HostNotNamed,
    /// The request is a CONNECT, which an allow must name.
    ConnectNotNamed,
    /// Every field of that entry that does not hold, and of all entries of `from` where none holds.
    Fields(Vec<FieldMiss>),
}

/// A field that does not hold, or only for what is unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FieldMiss {
    /// `to` or `from`.
    pub list: &'static str,
    /// Index of the entry in its list.
    pub entry: usize,
    /// The field's key.
    pub field: &'static str,
    /// Whether what it asks about is unknown: then an allow rule does not match, and a deny rule does.
    pub is_unknown: bool,
}

impl Rule {
    /// Why the rule does not match where [`Rule::matches`] says so; `None`: it matches.
    pub(super) fn miss(
        &self,
        conditions: &Conditions,
        destination: Option<u32>,
        scope: Option<Scope>,
        facts: &Facts<'_>,
    ) -> Option<Miss> {
        if self.matches(conditions, destination, scope, facts) {
            return None;
        }
        let condition = destination.and_then(|index| conditions.0.get(index as usize));
        if self.action == Action::Allow && !names_what_must_be_named(condition, scope, facts) {
            let is_host = !names_host(scope, facts);
            return Some(if is_host { Miss::HostNotNamed } else { Miss::ConnectNotNamed });
        }
        let entry = destination.map_or(0, |index| index as usize);
        let mut misses: Vec<FieldMiss> = condition
            .into_iter()
            .flat_map(|condition| {
                ConditionField::ALL
                    .map(|it| self.field_miss("to", entry, it.key(), condition.holds(it, facts)))
            })
            .flatten()
            .collect();
        let sources = self.from.iter().enumerate().map(|(entry, source)| {
            let fields = SourceField::ALL
                .map(|it| self.field_miss("from", entry, it.key(), source.holds(it, facts)));
            fields.into_iter().flatten().collect::<Vec<_>>()
        });
        let sources: Vec<_> = sources.collect();
        if sources.iter().all(|misses| !misses.is_empty()) {
            misses.extend(sources.into_iter().flatten());
        }
        Some(Miss::Fields(misses))
    }

    /// The fields of a deny that hold only because what they ask about is unknown.
    pub(super) fn unspared(
        &self,
        conditions: &Conditions,
        destination: Option<u32>,
        facts: &Facts<'_>,
    ) -> Vec<FieldMiss> {
        if self.action == Action::Allow {
            return Vec::new();
        }
        let unknown = |list, entry, field, known| {
            let is_unknown = known == Some(None);
            is_unknown.then_some(FieldMiss { list, entry, field, is_unknown })
        };
        let condition = destination.and_then(|index| conditions.0.get(index as usize));
        let entry = destination.map_or(0, |index| index as usize);
        let to = condition.into_iter().flat_map(|condition| {
            ConditionField::ALL.map(|it| unknown("to", entry, it.key(), condition.holds(it, facts)))
        });
        let from = self.from.iter().enumerate().flat_map(|(entry, source)| {
            SourceField::ALL.map(|it| unknown("from", entry, it.key(), source.holds(it, facts)))
        });
        to.chain(from).flatten().collect()
    }

    /// A field that does not hold: `known` is what [`Condition::holds`] says of it.
    fn field_miss(
        &self,
        list: &'static str,
        entry: usize,
        field: &'static str,
        known: Option<Option<bool>>,
    ) -> Option<FieldMiss> {
        let is_unknown = match known? {
            Some(true) => return None,
            Some(false) => false,
            None => true,
        };
        // A deny rule matches what is unknown.
        let is_miss = !is_unknown || self.action == Action::Allow;
        is_miss.then_some(FieldMiss { list, entry, field, is_unknown })
    }
}

/// An allow matches an address or a special name only if its hosts name it, and a CONNECT only if
/// its methods name CONNECT.
fn names_what_must_be_named(
    condition: Option<&Condition>,
    scope: Option<Scope>,
    facts: &Facts<'_>,
) -> bool {
    let names_connect = || {
        let methods = condition.and_then(|condition| condition.methods.as_ref());
        methods.is_some_and(|methods| methods.iter().any(|method| &**method == "CONNECT"))
    };
    names_host(scope, facts) && (!facts.is_connect || names_connect())
}

fn names_host(scope: Option<Scope>, facts: &Facts<'_>) -> bool {
    !facts.is_special
        || match (scope, facts.host) {
            (Some(Scope::Exact), _) => true,
            // A wide block says nothing of the forbidden addresses in it.
            (Some(Scope::Block(block)), Host::Address(address)) => {
                !crate::host::is_forbidden(*address) || block.is_within_forbidden_range()
            }
            _ => false,
        }
}

/// A field of an entry of `from`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SourceField {
    Principals,
    NotPrincipals,
    Namespaces,
    NotNamespaces,
}

impl SourceField {
    pub(super) const ALL: [Self; 4] =
        [Self::Principals, Self::NotPrincipals, Self::Namespaces, Self::NotNamespaces];

    /// The key of policies.
    fn key(self) -> &'static str {
        match self {
            Self::Principals => "principals",
            Self::NotPrincipals => "notPrincipals",
            Self::Namespaces => "namespaces",
            Self::NotNamespaces => "notNamespaces",
        }
    }
}

impl Source {
    /// Whether a field holds: `None` where it is absent, `Some(None)` where that is unknown.
    pub(super) fn holds(&self, field: SourceField, facts: &Facts<'_>) -> Option<Option<bool>> {
        let (set, value, is_listed) = match field {
            SourceField::Principals => (&self.principals, facts.principal.as_ref(), true),
            SourceField::NotPrincipals => (&self.not_principals, facts.principal.as_ref(), false),
            SourceField::Namespaces => (&self.namespaces, facts.namespace(), true),
            SourceField::NotNamespaces => (&self.not_namespaces, facts.namespace(), false),
        };
        let set = set.as_ref()?;
        Some(value.map(|value| set.matches(value) == is_listed))
    }
}

/// What the entries of a rule's `to` ask beside their hosts.
#[derive(Debug)]
pub(super) struct Conditions(Box<[Condition]>);

/// What one entry of `to` asks beside its hosts.
#[derive(Debug)]
struct Condition {
    not_hosts: Option<Box<HostMap>>,
    ports: Option<Vec<u16>>,
    not_ports: Option<Vec<u16>>,
    methods: Option<Vec<Box<str>>>,
    not_methods: Option<Vec<Box<str>>>,
    paths: Option<TextSet>,
    not_paths: Option<TextSet>,
}

/// The hosts of each entry of a rule's `to`; `None` for an entry without hosts.
pub(super) type HostsOfEntries<'a> = Vec<Option<Vec<HostPattern<'a>>>>;

impl Conditions {
    /// Parts the hosts of each entry, for the index, from what else it asks.
    pub(super) fn compile<'a>(destinations: Vec<Destination<'a>>) -> (HostsOfEntries<'a>, Self) {
        let (hosts, conditions): (Vec<_>, Vec<_>) = destinations
            .into_iter()
            .map(|destination| {
                let not_hosts = destination.not_hosts.map(|patterns| {
                    let mut map = HostMap::for_patterns(patterns.iter(), 0);
                    for pattern in &patterns {
                        let _ = map.entry(pattern);
                    }
                    Box::new(map)
                });
                let condition = Condition {
                    not_hosts,
                    ports: destination.ports,
                    not_ports: destination.not_ports,
                    methods: destination.methods,
                    not_methods: destination.not_methods,
                    paths: destination.paths,
                    not_paths: destination.not_paths,
                };
                (destination.hosts, condition)
            })
            .unzip();
        (hosts, Self(conditions.into()))
    }

    /// Whether an entry asks for a method or a path, which a connection does not show.
    pub(super) fn ask_for_requests(&self) -> bool {
        self.0.iter().any(|condition| {
            let Condition { methods, not_methods, paths, not_paths, .. } = condition;
            methods.is_some() || not_methods.is_some() || paths.is_some() || not_paths.is_some()
        })
    }
}

/// A field of an entry of `to`, beside its hosts, which the index finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ConditionField {
    NotHosts,
    Ports,
    NotPorts,
    Methods,
    NotMethods,
    Paths,
    NotPaths,
}

impl ConditionField {
    /// What costs least comes first.
    pub(super) const ALL: [Self; 7] = [
        Self::Ports,
        Self::NotPorts,
        Self::Methods,
        Self::NotMethods,
        Self::NotHosts,
        Self::Paths,
        Self::NotPaths,
    ];

    /// The key of policies.
    fn key(self) -> &'static str {
        match self {
            Self::NotHosts => "notHosts",
            Self::Ports => "ports",
            Self::NotPorts => "notPorts",
            Self::Methods => "methods",
            Self::NotMethods => "notMethods",
            Self::Paths => "paths",
            Self::NotPaths => "notPaths",
        }
    }
}

impl Condition {
    /// Whether a field holds: `None` where it is absent, `Some(None)` where that is unknown.
    pub(super) fn holds(&self, field: ConditionField, facts: &Facts<'_>) -> Option<Option<bool>> {
        let not = |known: Option<bool>| known.map(|listed| !listed);
        let path = |set: &TextSet| facts.readings()?.agree(|reading| set.matches(reading));
        Some(match field {
            ConditionField::NotHosts => Some(!self.not_hosts.as_ref()?.contains(&facts.host_keys)),
            ConditionField::Ports => has_port(self.ports.as_ref()?, facts.port),
            ConditionField::NotPorts => not(has_port(self.not_ports.as_ref()?, facts.port)),
            ConditionField::Methods => has_method(self.methods.as_ref()?, facts.method),
            ConditionField::NotMethods => not(has_method(self.not_methods.as_ref()?, facts.method)),
            ConditionField::Paths => path(self.paths.as_ref()?),
            ConditionField::NotPaths => not(path(self.not_paths.as_ref()?)),
        })
    }
}

fn has_port(ports: &[u16], port: Port) -> Option<bool> {
    port.known().map(|port| ports.contains(&port))
}

/// A method that differs from a listed one only in case may be taken for it, or not.
fn has_method(methods: &[Box<str>], method: Option<&[u8]>) -> Option<bool> {
    let method = method?;
    if methods.iter().any(|listed| listed.as_bytes() == method) {
        return Some(true);
    }
    let folds = methods.iter().any(|listed| listed.as_bytes().eq_ignore_ascii_case(method));
    if folds { None } else { Some(false) }
}
