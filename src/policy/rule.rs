//! Rules, and when one matches.
//!
//! Every condition is known to hold, known not to hold, or unknown. Unknown never helps an allow
//! and never spares a deny: it counts as not holding in an allow rule and as holding in a deny
//! rule, for a field and its `not` form alike.

use super::decision::Action;
use super::host_map::{HostMap, Scope};
use super::request::{Facts, Port};
use super::text::TextSet;
use crate::host::{Host, HostPattern};

/// A rule without its destinations, which are compiled into the index.
#[derive(Clone, Debug)]
pub struct Rule {
    /// Unique in its policy.
    pub id: Box<str>,
    /// What happens to a request that matches.
    pub action: Action,
    /// Which of the two views counts the rule; `None`: both.
    pub only: Option<Only>,
    /// When the rule ends, in nanoseconds since the Unix epoch.
    pub until: Option<u64>,
    /// Callers, any of which may match; empty: any caller.
    pub from: Vec<Source>,
}

/// The one view that counts a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Only {
    /// It will be withdrawn: it counts for the verdict only.
    Now,
    /// It is a dry run: it counts for the would-be verdict only.
    Next,
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
    pub(super) fn matches(
        &self,
        conditions: &Conditions,
        destination: Option<u32>,
        scope: Option<Scope>,
        facts: &Facts<'_>,
    ) -> bool {
        let holds = |known: Option<bool>| known.unwrap_or(self.action == Action::Deny);
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
        condition.is_none_or(|condition| condition.fields(facts).into_iter().flatten().all(holds))
            && (self.from.is_empty()
                || self
                    .from
                    .iter()
                    .any(|source| source.fields(facts).into_iter().flatten().all(holds)))
    }
}

/// Why a rule does not match by one entry of its `to`: the first of its conditions that does not
/// hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Miss {
    /// It is past its `until`.
    Ended,
    /// The host is an address or a special name, which an allow must name.
    HostNotNamed,
    /// The request is a CONNECT, which an allow must name.
    ConnectNotNamed,
    /// A field of the entry.
    To(FieldMiss),
    /// A field of each entry of `from`.
    From(Vec<FieldMiss>),
}

/// A field that does not hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FieldMiss {
    /// Index of the entry in its list.
    pub entry: usize,
    /// The field's key.
    pub field: &'static str,
    /// Whether what it asks about is unknown, which never helps an allow.
    pub is_unknown: bool,
}

/// The keys of [`Condition::fields`], in their order.
const TO_FIELDS: [&str; 7] =
    ["notHosts", "ports", "notPorts", "methods", "notMethods", "paths", "notPaths"];
/// The keys of [`Source::fields`], in their order.
const FROM_FIELDS: [&str; 4] = ["principals", "notPrincipals", "namespaces", "notNamespaces"];

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
        let to = condition.and_then(|condition| {
            let entry = destination.map_or(0, |index| index as usize);
            self.first_miss(entry, &TO_FIELDS, &condition.fields(facts))
        });
        Some(to.map(Miss::To).unwrap_or_else(|| {
            let from = self.from.iter().enumerate();
            Miss::From(
                from.filter_map(|(entry, source)| {
                    self.first_miss(entry, &FROM_FIELDS, &source.fields(facts))
                })
                .collect(),
            )
        }))
    }

    fn first_miss(
        &self,
        entry: usize,
        keys: &[&'static str],
        fields: &[Option<Option<bool>>],
    ) -> Option<FieldMiss> {
        keys.iter().zip(fields).find_map(|(&field, known)| match (*known)? {
            Some(true) => None,
            Some(false) => Some(FieldMiss { entry, field, is_unknown: false }),
            None => (self.action == Action::Allow).then_some(FieldMiss {
                entry,
                field,
                is_unknown: true,
            }),
        })
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
    !facts.host.is_special()
        || match (scope, facts.host) {
            (Some(Scope::Exact), _) => true,
            // A wide block says nothing of the forbidden addresses in it.
            (Some(Scope::Block(block)), Host::Address(address)) => {
                !crate::host::is_forbidden(*address) || block.is_within_forbidden_range()
            }
            _ => false,
        }
}

impl Source {
    /// Each field that is present: whether it holds, `None` where that is unknown.
    fn fields(&self, facts: &Facts<'_>) -> [Option<Option<bool>>; 4] {
        let field = |set: &Option<TextSet>, value: Option<&str>, listed: bool| {
            set.as_ref().map(|set| value.map(|value| set.contains(value) == listed))
        };
        [
            field(&self.principals, facts.principal, true),
            field(&self.not_principals, facts.principal, false),
            field(&self.namespaces, facts.namespace(), true),
            field(&self.not_namespaces, facts.namespace(), false),
        ]
    }
}

/// What the entries of a rule's `to` ask beside their hosts.
#[derive(Debug)]
pub(super) struct Conditions(Box<[Condition]>);

/// What one entry of `to` asks beside its hosts.
#[derive(Debug)]
struct Condition {
    not_hosts: Option<HostMap<()>>,
    ports: Option<Vec<u16>>,
    not_ports: Option<Vec<u16>>,
    methods: Option<Vec<Box<str>>>,
    not_methods: Option<Vec<Box<str>>>,
    paths: Option<TextSet>,
    not_paths: Option<TextSet>,
}

impl Conditions {
    /// Parts the hosts of each entry, for the index, from what else it asks.
    pub(super) fn compile<'a>(
        destinations: Vec<Destination<'a>>,
    ) -> (Vec<Option<Vec<HostPattern<'a>>>>, Self) {
        let (hosts, conditions): (Vec<_>, Vec<_>) = destinations
            .into_iter()
            .map(|destination| {
                let not_hosts = destination.not_hosts.map(|patterns| {
                    let mut map = HostMap::default();
                    for pattern in &patterns {
                        let () = *map.entry(pattern);
                    }
                    map
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
}

impl Condition {
    /// Each field that is present: whether it holds, `None` where that is unknown.
    fn fields(&self, facts: &Facts<'_>) -> [Option<Option<bool>>; 7] {
        let not = |known: Option<bool>| known.map(|listed| !listed);
        let path = |set: &TextSet| facts.readings()?.agree(|reading| set.contains(reading));
        [
            self.not_hosts.as_ref().map(|hosts| Some(hosts.matches(facts.host).next().is_none())),
            self.ports.as_ref().map(|ports| has_port(ports, facts.port)),
            self.not_ports.as_ref().map(|ports| has_no_port(ports, facts.port)),
            self.methods.as_ref().map(|methods| has_method(methods, facts.method)),
            self.not_methods.as_ref().map(|methods| not(has_method(methods, facts.method))),
            self.paths.as_ref().map(path),
            self.not_paths.as_ref().map(|set| not(path(set))),
        ]
    }
}

fn has_port(ports: &[u16], port: Port) -> Option<bool> {
    match port {
        Port::Known(port) => Some(ports.contains(&port)),
        Port::Unsaid => Some(ports.contains(&80) || ports.contains(&443)),
        Port::Unknown => None,
    }
}

/// Where 80 and 443 both count and one of them is listed, it is unknown whether the port is another.
fn has_no_port(ports: &[u16], port: Port) -> Option<bool> {
    match port {
        Port::Known(port) => Some(!ports.contains(&port)),
        Port::Unsaid => {
            let (http, https) = (ports.contains(&80), ports.contains(&443));
            (http == https).then_some(!http)
        }
        Port::Unknown => None,
    }
}

/// A method that differs from a listed one only in case may be taken for it, or not.
fn has_method(methods: &[Box<str>], method: &[u8]) -> Option<bool> {
    if methods.iter().any(|listed| listed.as_bytes() == method) {
        return Some(true);
    }
    let folds = methods.iter().any(|listed| listed.as_bytes().eq_ignore_ascii_case(method));
    if folds { None } else { Some(false) }
}
