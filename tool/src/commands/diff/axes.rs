//! The axes beside the host, for the rules that know a host: callers, server names, ports, methods, paths
//! and times.
//!
//! Each axis is a list of equivalence classes: no list of patterns distinguishes two values of one class.
//! A class has one of its values as example. Classes are found by asking the lists about values, never by
//! names; the names are made from the values afterwards.

use super::callers::Callers;
use super::paths::{self, Label, Path};
use super::subject::Subject;
use super::ways::Way;
use super::words::Pieces;
use crate::policy_file::{Callers as Sources, Destinations, List};
use egress_warden::policy::{ClusterPort, PathPattern, TextPattern, TextSet, namespace_of};
use egress_warden::time::Time;
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fmt;
use std::hash::Hash;

/// Example values of classes, each with the names of all values in its class.
pub(super) type Axis<V> = Vec<(Vec<String>, V)>;

/// The axes of one set of rules.
#[derive(Debug)]
pub(super) struct Axes {
    /// `None`: no certificate was verified.
    pub(super) callers: Axis<Option<String>>,
    pub(super) server_names: Axis<ServerName>,
    pub(super) ports: Axis<Port>,
    /// `None`, as of the paths: a connection, which shows none.
    pub(super) methods: Vec<(Vec<MethodName>, Option<String>)>,
    pub(super) paths: Axis<Option<String>>,
    /// In nanoseconds since the Unix epoch.
    pub(super) times: Axis<Time>,
}

/// Why requests are left undecided.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Gap {
    /// Their rules combine in so many ways.
    Combinations(usize),
    /// No example of these was found.
    NoExample(&'static str),
}

/// Most values of one axis before equal ones are merged.
const MAX_VALUES: usize = 1_000_000;
/// Most comparisons of a value with a pattern on one axis.
const MAX_QUESTIONS: usize = 1_000_000_000;

/// How many axes there are.
pub(super) const AXES: usize = 6;

/// What TLS says of the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ServerName {
    /// The host, or there is no TLS.
    Agrees,
    /// Nothing, or another host.
    Differs,
}

impl ServerName {
    /// What a request has. An empty name, which stands for none, is no host's.
    pub(super) fn of_request(self) -> Option<&'static [u8]> {
        match self {
            Self::Agrees => None,
            Self::Differs => Some(b""),
        }
    }
}

/// What a request says of its port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Port {
    Known(u16),
    Unsaid,
    /// Route and authority differ.
    Conflict,
}

impl Port {
    /// The port of the authority, and what the cluster says.
    pub(super) fn of_request(self) -> (Option<u16>, ClusterPort) {
        match self {
            Self::Known(port) => (Some(port), ClusterPort::Unsaid),
            Self::Unsaid => (None, ClusterPort::Unsaid),
            Self::Conflict => (Some(443), ClusterPort::Said(80)),
        }
    }
}

/// What both policies ask of every request.
#[derive(Clone, Copy, Debug)]
pub(super) struct Demands {
    pub(super) identity: bool,
    pub(super) server_name: bool,
}

impl Axes {
    /// The axes of these ways, from a time on.
    pub(super) fn of(
        ways: &[Way<'_>],
        subject: Subject,
        demands: Demands,
        at: Time,
    ) -> Result<Self, Gap> {
        let is_request = subject == Subject::Requests;
        Ok(Self {
            callers: callers(ways, demands.identity)?,
            server_names: server_names(demands.server_name && is_request),
            ports: ports(ways, subject),
            methods: if is_request { methods(ways) } else { vec![(vec![MethodName::Any], None)] },
            paths: if is_request { paths(ways)? } else { any(None) },
            times: times(ways, at),
        })
    }

    /// How many values each axis has.
    pub(super) fn sizes(&self) -> [usize; AXES] {
        [
            self.callers.len(),
            self.server_names.len(),
            self.ports.len(),
            self.methods.len(),
            self.paths.len(),
            self.times.len(),
        ]
    }

    /// The names on an axis of the values at these positions; `None` where that is all of them.
    pub(super) fn names(&self, axis: usize, positions: &[usize]) -> Option<Vec<String>> {
        fn named<N: ToString, V>(axis: &[(Vec<N>, V)], positions: &[usize]) -> Option<Vec<String>> {
            if positions.len() >= axis.len() {
                return None;
            }
            let values = positions.iter().filter_map(|&position| axis.get(position));
            Some(values.flat_map(|(names, _)| names.iter().map(N::to_string)).collect())
        }
        match axis {
            0 => named(&self.callers, positions),
            1 => named(&self.server_names, positions),
            2 => named(&self.ports, positions),
            3 => self.method_names(positions).or_else(|| named(&self.methods, positions)),
            4 => named(&self.paths, positions),
            _ => named(&self.times, positions),
        }
    }
}

impl Axes {
    /// The name for all methods but one.
    fn method_names(&self, positions: &[usize]) -> Option<Vec<String>> {
        let numbered = self.methods.iter().enumerate();
        let missing: Vec<&MethodName> = numbered
            .filter(|(position, _)| !positions.contains(position))
            .flat_map(|(_, (names, _))| names)
            .collect();
        match missing[..] {
            [one] if positions.len() > 1 && *one != MethodName::Others => {
                Some(vec![format!("all but {one}")])
            }
            _ => None,
        }
    }
}

/// Keeps one value for all that are the same to every list; the names of all stay.
fn merged<N: Clone + Eq + Hash, V>(
    values: impl IntoIterator<Item = (N, V)>,
    signature: impl Fn(&V) -> Vec<u8>,
) -> Vec<(Vec<N>, V)> {
    let mut axis: Vec<(Vec<N>, V)> = Vec::new();
    let mut known: BTreeMap<Vec<u8>, usize> = BTreeMap::new();
    let mut named: HashSet<N> = HashSet::new();
    for (name, value) in values {
        let position = *known.entry(signature(&value)).or_insert(axis.len());
        let is_new = named.insert(name.clone());
        match axis.get_mut(position) {
            // INVARIANT: no two names have a value in common, so the same name is of the same class.
            Some((names, _)) => names.extend(is_new.then_some(name)),
            None => axis.push((vec![name], value)),
        }
    }
    axis
}

fn any<V>(value: V) -> Axis<V> {
    vec![(vec!["any".to_owned()], value)]
}

/// The patterns of every such list that is there.
fn lists<'a, T: 'a, P: Copy + 'a>(
    entries: impl Iterator<Item = &'a T>,
    fields: fn(&'a T) -> [&'a List<'a, P>; 2],
) -> Vec<Vec<P>> {
    let lists = entries.flat_map(fields).flatten();
    lists.map(|list| list.patterns().to_vec()).collect()
}

/// Leaves undecided what would take too long. Exact patterns cost one look-up, each other one a comparison.
fn within_bounds(values: usize, lists: &[&[Vec<TextPattern<'_>>]]) -> Result<(), Gap> {
    let lists = lists.iter().copied().flatten();
    let walked = |list: &Vec<TextPattern<'_>>| {
        list.iter().filter(|it| !matches!(it, TextPattern::Exact(_))).count().saturating_add(1)
    };
    let questions = values.saturating_mul(lists.map(walked).sum());
    match values > MAX_VALUES || questions > MAX_QUESTIONS {
        true => Err(Gap::Combinations(values)),
        false => Ok(()),
    }
}

fn sets(lists: &[Vec<TextPattern<'_>>]) -> Vec<TextSet> {
    lists.iter().map(|list| list.iter().copied().collect()).collect()
}

fn callers(ways: &[Way<'_>], is_identity_demanded: bool) -> Result<Axis<Option<String>>, Gap> {
    let sources = || ways.iter().flat_map(|way| &way.rule.from);
    if sources().next().is_none() && !is_identity_demanded {
        return Ok(any(None));
    }
    if sources().any(|it| it.service_accounts.is_some() || it.not_service_accounts.is_some()) {
        return Err(Gap::NoExample("a caller of a service account"));
    }
    let principals = lists(sources(), |it: &Sources<'_>| [&it.principals, &it.not_principals]);
    let namespaces = lists(sources(), |it: &Sources<'_>| [&it.namespaces, &it.not_namespaces]);
    let (of_principals, of_namespaces) = (sets(&principals), sets(&namespaces));
    let callers = Callers {
        principals: Pieces::of(&principals),
        namespaces: (!namespaces.is_empty()).then(|| Pieces::of(&namespaces)),
    };
    within_bounds(callers.count(), &[&principals, &namespaces])?;
    let found = callers.principals().ok_or(Gap::NoExample("a caller"))?;
    let mut named: Vec<(String, Option<String>)> =
        found.into_iter().map(|it| (callers.label(&it), Some(it))).collect();
    named.sort_by(|(a, _), (b, _)| a.cmp(b));
    let nobody = ("not verified".to_owned(), None);
    Ok(merged([nobody].into_iter().chain(named), |principal| match principal {
        None => vec![u8::MAX],
        Some(principal) => {
            let namespace = namespace_of(principal);
            let by_principal = of_principals.iter().map(|set| u8::from(set.contains(principal)));
            let by_namespace = of_namespaces.iter().map(|set| match namespace {
                Some(namespace) => u8::from(set.contains(namespace)),
                None => 2,
            });
            by_principal.chain(by_namespace).collect()
        }
    }))
}

fn server_names(is_demanded: bool) -> Axis<ServerName> {
    if !is_demanded {
        return any(ServerName::Agrees);
    }
    vec![
        (vec!["the host, or no TLS".to_owned()], ServerName::Agrees),
        (vec!["none, or another than the host".to_owned()], ServerName::Differs),
    ]
}

fn ports(ways: &[Way<'_>], subject: Subject) -> Axis<Port> {
    let destinations = ways.iter().filter_map(|way| way.destination);
    let lists = lists(destinations, |it: &Destinations<'_>| [&it.ports, &it.not_ports]);
    if lists.is_empty() {
        return any(Port::Known(443));
    }
    let named: BTreeSet<u16> = lists.iter().flatten().copied().collect();
    let other = (1..=u16::MAX).rev().find(|port| !named.contains(port));
    let known = named.iter().map(|&port| (port.to_string(), Port::Known(port)));
    let other = other.map(|port| ("other ports".to_owned(), Port::Known(port)));
    // The plugin says the port of a connection.
    let unsaid = (subject == Subject::Requests).then(|| ("unsaid".to_owned(), Port::Unsaid));
    let conflict = [("in conflict".to_owned(), Port::Conflict)];
    merged(known.chain(other).chain(unsaid).chain(conflict), |port| match port {
        Port::Known(port) => lists.iter().map(|list| u8::from(list.contains(port))).collect(),
        Port::Unsaid => vec![u8::MAX],
        Port::Conflict => vec![u8::MAX - 1],
    })
}

/// CONNECT in any case is told apart by every policy.
const CONNECT: &str = "CONNECT";

/// The name of a class of methods.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum MethodName {
    /// This one.
    Exactly(String),
    /// This one in all cases that are not listed.
    AnotherCase(String),
    /// All that are not listed.
    Others,
    AllButConnect,
    Any,
}

impl fmt::Display for MethodName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exactly(method) => f.write_str(method),
            Self::AnotherCase(method) => write!(f, "{method} in another case"),
            Self::Others => f.write_str("other methods"),
            Self::AllButConnect => f.write_str("all but CONNECT"),
            Self::Any => f.write_str("any"),
        }
    }
}

/// Methods are compared with their case, and one that differs from a listed one in its case only may
/// be taken for it. So there are the listed ones, all other spellings of each, and the others.
fn methods(ways: &[Way<'_>]) -> Vec<(Vec<MethodName>, Option<String>)> {
    let destinations = ways.iter().filter_map(|way| way.destination);
    let lists = lists(destinations, |it: &Destinations<'_>| [&it.methods, &it.not_methods]);
    let named: BTreeSet<&str> = lists.iter().flatten().copied().collect();
    let folded: BTreeMap<String, &str> =
        named.iter().chain([&CONNECT]).rev().map(|it| (it.to_ascii_lowercase(), *it)).collect();
    let exactly = |method: &str| MethodName::Exactly(method.to_owned());
    let listed = named.iter().map(|it| (exactly(it), (*it).to_owned()));
    let spelt_otherwise = folded.values().filter_map(|method| {
        let other = in_another_case(method, &named)?;
        // Where CONNECT is not listed, its case tells nothing apart.
        Some(match named.contains(method) {
            true => (MethodName::AnotherCase((*method).to_owned()), other),
            false => (exactly(CONNECT), CONNECT.to_owned()),
        })
    });
    let common = ["GET", "POST", "HEAD", "OTHER"].map(str::to_owned).into_iter();
    let numbered = (0..=named.len()).map(|number| format!("OTHER{number}"));
    let other = common.chain(numbered).find(|it| !folded.contains_key(&it.to_ascii_lowercase()));
    let name = if named.is_empty() { MethodName::AllButConnect } else { MethodName::Others };
    let other = other.map(|method| (name, method));
    let values = listed.chain(spelt_otherwise).chain(other);
    let axis = merged(values, |method| {
        let in_list = |list: &Vec<&str>| match list.contains(&&**method) {
            true => 2,
            false => u8::from(list.iter().any(|it| it.eq_ignore_ascii_case(method))),
        };
        let is_connect = u8::from(method.eq_ignore_ascii_case(CONNECT));
        lists.iter().map(in_list).chain([is_connect]).collect()
    });
    axis.into_iter().map(|(names, method)| (names, Some(method))).collect()
}

/// A spelling of a method, with other cases, that is not listed; `None` where all of them are.
fn in_another_case(method: &str, listed: &BTreeSet<&str>) -> Option<String> {
    let letters = method.bytes().filter(u8::is_ascii_alphabetic).count();
    // One more than are listed: as many bits as that takes choose the case of the last letters.
    (0..=listed.len())
        .map_while(|number| {
            let bits = usize::BITS - number.leading_zeros();
            (letters >= bits as usize).then_some(number)
        })
        .map(|number| {
            let mut number = number;
            let spelt = method.chars().rev().map(|letter| {
                if !letter.is_ascii_alphabetic() {
                    return letter;
                }
                let is_upper = number & 1 == 1;
                number >>= 1;
                if is_upper { letter.to_ascii_uppercase() } else { letter.to_ascii_lowercase() }
            });
            let reversed: Vec<char> = spelt.collect();
            reversed.into_iter().rev().collect::<String>()
        })
        .find(|spelling| !listed.contains(&**spelling))
}

fn paths(ways: &[Way<'_>]) -> Result<Axis<Option<String>>, Gap> {
    let destinations = || ways.iter().filter_map(|way| way.destination);
    if destinations().any(|it| it.query.is_some() || it.not_query.is_some()) {
        return Err(Gap::NoExample("a query"));
    }
    let lists = lists(destinations(), |it: &Destinations<'_>| [&it.paths, &it.not_paths]);
    if lists.is_empty() {
        return Ok(any(Some("/".to_owned())));
    }
    let lists = lists.iter().map(|list| texts(list)).collect::<Option<Vec<_>>>();
    let lists = lists.ok_or(Gap::NoExample("a path of a template, or with an encoded slash"))?;
    let sets = sets(&lists);
    let pieces = Pieces::of(&lists);
    within_bounds(paths::count(&pieces), &[&lists])?;
    let found = paths::paths(&pieces).ok_or(Gap::NoExample("a path"))?;
    let named = found.into_iter().map(|path| (path.label(&pieces), path));
    let axis = merged(named, |path| match &path.readings {
        None => vec![u8::MAX],
        Some([sent, lenient]) => {
            let in_both =
                |set: &TextSet| u8::from(set.contains(sent)) | u8::from(set.contains(lenient)) << 1;
            sets.iter().map(in_both).collect()
        }
    });
    // A path with the same verdict as both of its readings as plain paths needs no name of its own.
    let in_few_words = |(mut labels, path): (Vec<Label>, Path)| {
        if path.is_of_one_reading() {
            labels.retain(|label| !matches!(label, Label::Two { .. }));
        }
        (labels.iter().map(Label::to_string).collect(), Some(path.sent))
    };
    Ok(axis.into_iter().map(in_few_words).collect())
}

/// The patterns of paths as texts; `None` where one is a template or has an encoded slash.
fn texts<'a>(list: &[PathPattern<'a>]) -> Option<Vec<TextPattern<'a>>> {
    let text = |pattern: &PathPattern<'a>| match *pattern {
        PathPattern::Text(text) if !pattern.has_encoded_slash() => Some(text),
        _ => None,
    };
    list.iter().map(text).collect()
}

fn times(ways: &[Way<'_>], at: Time) -> Axis<Time> {
    let later: BTreeSet<Time> =
        ways.iter().filter_map(|way| way.rule.until).filter(|end| *end > at).collect();
    let mut times: Axis<Time> = vec![(vec!["now".to_owned()], at)];
    times.extend(later.into_iter().map(|end| (vec![format!("from {end}")], end)));
    times
}
