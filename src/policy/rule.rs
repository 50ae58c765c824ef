//! Rules, and when one matches.
//!
//! Every condition is known to hold, known not to hold, or unknown. If it is unknown, an allow rule
//! does not match and a deny rule does. This is so for a field and for its `not` form.

use super::decision::{Action, PerView};
use super::host_map::{HostMap, Scope};
use super::paths::PathSet;
use super::query::Parameter;
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

/// One entry of `from`: its fields that are present, each of which must match.
#[derive(Clone, Debug, Default)]
pub struct Source(Box<[(SourceField, TextSet)]>);

/// A field of an entry of `from`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SourceField {
    /// SPIFFE ids without `spiffe://`.
    Principals,
    /// None of these SPIFFE ids.
    NotPrincipals,
    /// Kubernetes namespaces.
    Namespaces,
    /// None of these namespaces.
    NotNamespaces,
    /// Kubernetes service accounts, as `NAMESPACE/sa/ACCOUNT`.
    ServiceAccounts,
    /// None of these service accounts.
    NotServiceAccounts,
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
    pub paths: Option<PathSet>,
    /// None of these paths.
    pub not_paths: Option<PathSet>,
    /// Parameters of the query, each of which must match.
    pub query: Option<Vec<Parameter>>,
    /// Not all of these parameters match.
    pub not_query: Option<Vec<Parameter>>,
}

impl Destination<'_> {
    /// Whether a verdict on this entry depends on the port.
    pub(super) fn names_ports(&self) -> bool {
        self.ports.is_some() || self.not_ports.is_some()
    }
}

impl Rule {
    /// Whether each view counts the rule.
    pub(super) fn counts_per_view(&self) -> PerView<bool> {
        [self.state != Some(State::DryRun), self.state != Some(State::Retiring)]
    }

    /// Whether the rule is past its `until`. Without a clock an allow has ended and a deny has not.
    pub(super) fn has_ended(&self, facts: &Facts<'_>) -> bool {
        self.until.is_some_and(|until| match facts.now {
            Some(now) => now >= until,
            None => self.action == Action::Allow,
        })
    }

    /// How the rule matches by one entry of its `to`, whose hosts were found to match by `scope`
    /// (`None`: it has no hosts), or by having no `to`. `None`: it does not.
    fn matches(
        &self,
        conditions: &Conditions,
        destination: Option<u32>,
        scope: Option<Scope>,
        facts: &Facts<'_>,
    ) -> Option<Match> {
        let by_destination = self.matches_destination(conditions, destination, scope, facts)?;
        Some(by_destination.max(self.matches_caller(facts)?))
    }

    /// The part of [`Rule::matches`] that differs from entry to entry.
    pub(super) fn matches_destination(
        &self,
        conditions: &Conditions,
        destination: Option<u32>,
        scope: Option<Scope>,
        facts: &Facts<'_>,
    ) -> Option<Match> {
        let condition = match destination {
            Some(index) => Some(conditions.0.get(index as usize)?),
            None => None,
        };
        if self.action == Action::Allow && !names_what_must_be_named(condition, scope, facts) {
            return None;
        }
        let Some(condition) = condition else { return Some(Match::Certain) };
        let mut found = Match::Certain;
        let mut tests = condition.0.iter();
        tests.all(|test| self.counts(test.holds(self.action, facts), &mut found)).then_some(found)
    }

    /// How the best entry of `from` matches, if any does.
    pub(super) fn matches_caller(&self, facts: &Facts<'_>) -> Option<Match> {
        if self.from.is_empty() {
            return Some(Match::Certain);
        }
        let mut best = None;
        for source in &self.from {
            let mut found = Match::Certain;
            if source.tests(facts).all(|(_, known)| self.counts(known, &mut found)) {
                if found == Match::Certain {
                    return Some(found);
                }
                best = Some(found);
            }
        }
        best
    }

    /// Whether a field counts as holding of which so much is known. What is unknown does in a deny rule,
    /// which is noted.
    fn counts(&self, known: Option<bool>, found: &mut Match) -> bool {
        known.unwrap_or_else(|| {
            *found = Match::Unknown;
            self.action == Action::Deny
        })
    }
}

/// How a rule matches; the least is named before the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Match {
    Certain,
    /// Only because something is unknown.
    Unknown,
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
    /// At a waypoint: it allows the host that the request names, and not the one that is dialled.
    DialledHost,
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
    /// How the rule matches, as [`Rule::matches`] has it, or why it does not.
    pub(super) fn outcome(
        &self,
        conditions: &Conditions,
        destination: Option<u32>,
        scope: Option<Scope>,
        facts: &Facts<'_>,
    ) -> Result<Match, Miss> {
        if let Some(found) = self.matches(conditions, destination, scope, facts) {
            return Ok(found);
        }
        let condition = destination.and_then(|index| conditions.0.get(index as usize));
        if self.action == Action::Allow && !names_what_must_be_named(condition, scope, facts) {
            let is_host = !names_host(scope, facts);
            return Err(if is_host { Miss::HostNotNamed } else { Miss::ConnectNotNamed });
        }
        let entry = destination.map_or(0, |index| index as usize);
        let mut misses: Vec<FieldMiss> = condition
            .into_iter()
            .flat_map(|condition| {
                let tests = condition.0.iter();
                tests.map(|it| self.field_miss("to", entry, it.key(), it.holds(self.action, facts)))
            })
            .flatten()
            .collect();
        let sources = self.from.iter().enumerate().map(|(entry, source)| {
            let tests = source.tests(facts);
            let misses = tests.map(|(it, known)| self.field_miss("from", entry, it.key(), known));
            misses.flatten().collect::<Vec<_>>()
        });
        let sources: Vec<_> = sources.collect();
        if sources.iter().all(|misses| !misses.is_empty()) {
            misses.extend(sources.into_iter().flatten());
        }
        Err(Miss::Fields(misses))
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
        let unknown = |list, entry, field, known: Option<bool>| {
            let is_unknown = known.is_none();
            is_unknown.then_some(FieldMiss { list, entry, field, is_unknown })
        };
        let condition = destination.and_then(|index| conditions.0.get(index as usize));
        let entry = destination.map_or(0, |index| index as usize);
        let to = condition.into_iter().flat_map(|condition| {
            let tests = condition.0.iter();
            tests.map(move |it| unknown("to", entry, it.key(), it.holds(self.action, facts)))
        });
        let from = self.from.iter().enumerate().flat_map(|(entry, source)| {
            source.tests(facts).map(move |(it, known)| unknown("from", entry, it.key(), known))
        });
        to.chain(from).flatten().collect()
    }

    /// A field that does not hold: `known` is what its test says.
    fn field_miss(
        &self,
        list: &'static str,
        entry: usize,
        field: &'static str,
        known: Option<bool>,
    ) -> Option<FieldMiss> {
        let is_unknown = match known {
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
        let mut tests = condition.into_iter().flat_map(|condition| &condition.0);
        tests.any(|test| match test {
            Test::Methods(methods) => methods.iter().any(|method| &**method == "CONNECT"),
            _ => false,
        })
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

impl Source {
    /// Takes the fields that are present.
    pub fn new(fields: impl IntoIterator<Item = (SourceField, Option<TextSet>)>) -> Self {
        let present = |(field, set): (_, Option<_>)| Some((field, set?));
        Self(fields.into_iter().filter_map(present).collect())
    }

    /// What a field lists, if it is present.
    pub(super) fn get(&self, wanted: SourceField) -> Option<&TextSet> {
        self.0.iter().find_map(|(field, set)| (*field == wanted).then_some(set))
    }

    /// Each field, and whether it holds; `None` where that is unknown.
    fn tests(&self, facts: &Facts<'_>) -> impl Iterator<Item = (SourceField, Option<bool>)> {
        self.0.iter().map(|(field, set)| (*field, field.holds(set, facts)))
    }
}

impl SourceField {
    /// The key of policies.
    fn key(self) -> &'static str {
        match self {
            Self::Principals => "principals",
            Self::NotPrincipals => "notPrincipals",
            Self::Namespaces => "namespaces",
            Self::NotNamespaces => "notNamespaces",
            Self::ServiceAccounts => "serviceAccounts",
            Self::NotServiceAccounts => "notServiceAccounts",
        }
    }

    fn holds(self, set: &TextSet, facts: &Facts<'_>) -> Option<bool> {
        let value = match self {
            Self::Principals | Self::NotPrincipals => facts.principal.as_ref(),
            Self::Namespaces | Self::NotNamespaces => facts.namespace(),
            Self::ServiceAccounts | Self::NotServiceAccounts => facts.service_account(),
        };
        let lists = matches!(self, Self::Principals | Self::Namespaces | Self::ServiceAccounts);
        Some(set.matches(value?) == lists)
    }
}

/// What the entries of a rule's `to` ask beside their hosts.
#[derive(Debug)]
pub(super) struct Conditions(Box<[Condition]>);

/// What one entry of `to` asks beside its hosts, which the index finds: every field that is present, what
/// costs least first.
#[derive(Debug)]
struct Condition(Box<[Test]>);

/// A field of an entry of `to`.
#[derive(Debug)]
enum Test {
    Ports(Vec<u16>),
    NotPorts(Vec<u16>),
    Methods(Vec<Box<str>>),
    NotMethods(Vec<Box<str>>),
    NotHosts(Box<HostMap>),
    Paths(Box<PathSet>),
    NotPaths(Box<PathSet>),
    Query(Vec<Parameter>),
    NotQuery(Vec<Parameter>),
}

/// The hosts of each entry of a rule's `to`; `None` for an entry without hosts.
pub(super) type HostsOfEntries<'a> = Vec<Option<Vec<HostPattern<'a>>>>;

impl Conditions {
    /// Parts the hosts of each entry, for the index, from what else it asks.
    pub(super) fn compile<'a>(destinations: Vec<Destination<'a>>) -> (HostsOfEntries<'a>, Self) {
        let (hosts, conditions): (Vec<_>, Vec<_>) = destinations
            .into_iter()
            .map(|destination| {
                let Destination { hosts, not_hosts, ports, not_ports, .. } = destination;
                let Destination { methods, not_methods, paths, not_paths, .. } = destination;
                let Destination { query, not_query, .. } = destination;
                let not_hosts = not_hosts.map(|patterns| Test::NotHosts(host_map(&patterns)));
                let paths = paths.map(|set| Test::Paths(Box::new(set)));
                let not_paths = not_paths.map(|set| Test::NotPaths(Box::new(set)));
                let tests = [
                    ports.map(Test::Ports),
                    not_ports.map(Test::NotPorts),
                    methods.map(Test::Methods),
                    not_methods.map(Test::NotMethods),
                    not_hosts,
                    paths,
                    not_paths,
                    query.map(Test::Query),
                    not_query.map(Test::NotQuery),
                ];
                let condition = Condition(tests.into_iter().flatten().collect());
                (hosts, condition)
            })
            .unzip();
        (hosts, Self(conditions.into()))
    }

    /// Whether an entry asks for a method, a path or a query, which a connection does not show.
    pub(super) fn ask_for_requests(&self) -> bool {
        let mut tests = self.0.iter().flat_map(|condition| &condition.0);
        tests.any(|test| match test {
            Test::Ports(_) | Test::NotPorts(_) | Test::NotHosts(_) => false,
            Test::Methods(_) | Test::NotMethods(_) | Test::Paths(_) | Test::NotPaths(_) => true,
            Test::Query(_) | Test::NotQuery(_) => true,
        })
    }
}

fn host_map(patterns: &[HostPattern<'_>]) -> Box<HostMap> {
    let mut map = HostMap::for_patterns(patterns.iter(), 0);
    for pattern in patterns {
        let _ = map.entry(pattern);
    }
    Box::new(map)
}

impl Test {
    /// The key of policies.
    fn key(&self) -> &'static str {
        match self {
            Self::NotHosts(_) => "notHosts",
            Self::Ports(_) => "ports",
            Self::NotPorts(_) => "notPorts",
            Self::Methods(_) => "methods",
            Self::NotMethods(_) => "notMethods",
            Self::Paths(_) => "paths",
            Self::NotPaths(_) => "notPaths",
            Self::Query(_) => "query",
            Self::NotQuery(_) => "notQuery",
        }
    }

    /// Whether the field holds in a rule with this action; `None` where that is unknown. Where it holds of
    /// one reading of the path only, it does in a deny rule and does not in an allow rule.
    fn holds(&self, action: Action, facts: &Facts<'_>) -> Option<bool> {
        let not = |known: Option<bool>| known.map(|listed| !listed);
        let of_both = |holds: Option<bool>| Some(holds.unwrap_or(action == Action::Deny));
        match self {
            Self::Ports(ports) => has_port(ports, facts.port),
            Self::NotPorts(ports) => not(has_port(ports, facts.port)),
            Self::Methods(methods) => has_method(methods, facts.method),
            Self::NotMethods(methods) => not(has_method(methods, facts.method)),
            Self::NotHosts(hosts) => Some(!hosts.contains(&facts.host_keys)),
            Self::Paths(set) => of_both(set.matches(facts.readings()?)),
            Self::NotPaths(set) => of_both(not(set.matches(facts.readings()?))),
            Self::Query(asked) => facts.query()?.matches(asked),
            Self::NotQuery(asked) => not(facts.query()?.matches(asked)),
        }
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
