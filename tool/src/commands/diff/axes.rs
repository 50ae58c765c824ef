//! The axes beside the host, for the rules that know a host: callers, server names, ports, methods, paths,
//! queries and times.
//!
//! Each axis is a list of equivalence classes: no list of patterns distinguishes two values of one class.
//! A class has one of its values as example. Classes are found by asking the lists about values, never by
//! names; the names are made from the values afterwards.

use super::paths::{self, Label};
use super::queries::{Asked, Queries};
use super::subject::Subject;
use super::templates;
use super::ways::Way;
use crate::classes::callers::{Callers, service_account_of};
use crate::classes::texts::Pieces;
use crate::policy_file::{Callers as Sources, Destinations, List};
use egress_warden::policy::{ClusterPort, PathPattern, TextPattern, TextSet, namespace_of};
use egress_warden::time::Time;
use std::borrow::Cow;
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
    /// Behind the `?`; `None`: the path has none.
    pub(super) queries: Axis<Option<String>>,
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
pub(super) const AXES: usize = 7;

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
            queries: if is_request { queries(ways)? } else { any(None) },
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
            self.queries.len(),
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
            5 => named(&self.queries, positions),
            _ => named(&self.times, positions),
        }
    }
}

impl Axes {
    /// The path at one position with the query at another.
    pub(super) fn target(&self, path: usize, query: usize) -> Option<Cow<'_, str>> {
        let path = self.paths.get(path)?.1.as_ref()?;
        Some(match self.queries.get(query).and_then(|(_, query)| query.as_ref()) {
            Some(query) => format!("{path}?{query}").into(),
            None => path.into(),
        })
    }

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
fn merged<N: Clone + Eq + Hash, V, S: Ord>(
    values: impl IntoIterator<Item = (N, V)>,
    signature: impl Fn(&V) -> S,
) -> Vec<(Vec<N>, V)> {
    let mut axis: Vec<(Vec<N>, V)> = Vec::new();
    let mut known: BTreeMap<S, usize> = BTreeMap::new();
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

fn callers<'n>(ways: &[Way<'n>], is_identity_demanded: bool) -> Result<Axis<Option<String>>, Gap> {
    let sources = || ways.iter().flat_map(|way| &way.rule.from);
    if sources().next().is_none() && !is_identity_demanded {
        return Ok(any(None));
    }
    let principals = lists(sources(), |it: &Sources<'_>| [&it.principals, &it.not_principals]);
    let namespaces = lists(sources(), |it: &Sources<'_>| [&it.namespaces, &it.not_namespaces]);
    let accounts =
        lists(sources(), |it: &Sources<'_>| [&it.service_accounts, &it.not_service_accounts]);
    let exactly = |list: Vec<&'n str>| list.into_iter().map(TextPattern::Exact).collect();
    let accounts: Vec<Vec<TextPattern<'_>>> = accounts.into_iter().map(exactly).collect();
    let of_principals = sets(&principals);
    let (of_namespaces, of_accounts) = (sets(&namespaces), sets(&accounts));
    let asks_for_places = !namespaces.is_empty() || !accounts.is_empty();
    let callers = Callers {
        principals: Pieces::of(&principals),
        namespaces: asks_for_places.then(|| Pieces::of(&namespaces)),
        accounts: Pieces::of(&accounts),
    };
    within_bounds(callers.count(), &[&principals, &namespaces, &accounts])?;
    let found = callers.principals().ok_or(Gap::NoExample("a caller"))?;
    let mut named: Vec<(String, Option<String>)> =
        found.into_iter().map(|it| (callers.label(&it), Some(it))).collect();
    named.sort_by(|(a, _), (b, _)| a.cmp(b));
    let nobody = ("not verified".to_owned(), None);
    Ok(merged([nobody].into_iter().chain(named), |principal| match principal {
        None => vec![u8::MAX],
        Some(principal) => {
            let is_in =
                |set: &TextSet, text: Option<&str>| text.map_or(2, |it| set.contains(it).into());
            let namespace = namespace_of(principal);
            let account = service_account_of(principal);
            let by_principal = of_principals.iter().map(|set| is_in(set, Some(principal)));
            let by_namespace = of_namespaces.iter().map(|set| is_in(set, namespace));
            let by_account = of_accounts.iter().map(|set| is_in(set, account.as_deref()));
            by_principal.chain(by_namespace).chain(by_account).collect()
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
        lists.iter().map(in_list).chain([is_connect]).collect::<Vec<_>>()
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
    let lists = lists(destinations(), |it: &Destinations<'_>| [&it.paths, &it.not_paths]);
    if lists.is_empty() {
        return Ok(any(Some("/".to_owned())));
    }
    let Some(lists) = lists.iter().map(|list| texts(list)).collect::<Option<Vec<_>>>() else {
        return paths_of_templates(&lists);
    };
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
    Ok(axis.into_iter().map(|(labels, path)| (in_few_words(labels), Some(path.sent))).collect())
}

fn paths_of_templates(lists: &[Vec<PathPattern<'_>>]) -> Result<Axis<Option<String>>, Gap> {
    let found = templates::paths(lists).ok_or(Gap::NoExample("some paths of the templates"))?;
    let named = found.into_iter().map(|path| (path.label.clone(), path));
    let axis = merged(named, |path| path.in_lists.clone());
    Ok(axis.into_iter().map(|(labels, path)| (in_few_words(labels), Some(path.sent))).collect())
}

/// The names of a class of paths: one that is sent otherwise needs none of its own where plain paths are in
/// the class that match what it does in one reading, and others what it does in the other.
fn in_few_words(labels: Vec<Label>) -> Vec<String> {
    let plain: HashSet<&String> = labels.iter().filter_map(Label::of_one_reading).collect();
    let is_needed = |label: &&Label| match label {
        Label::Two { sent, lenient } => !plain.contains(sent) || !plain.contains(lenient),
        Label::One(_) | Label::Unclear => true,
    };
    labels.iter().filter(is_needed).map(Label::to_string).collect()
}

fn queries(ways: &[Way<'_>]) -> Result<Axis<Option<String>>, Gap> {
    let destinations = ways.iter().filter_map(|way| way.destination);
    let fields = destinations.flat_map(|it| [&it.query, &it.not_query]).flatten();
    let fields: Vec<Asked<'_>> = fields
        .map(|field| field.iter().map(|it| (it.name, it.values.patterns().to_vec())).collect())
        .collect();
    if fields.is_empty() {
        return Ok(any(None));
    }
    let queries = Queries::of(&fields).ok_or(Gap::NoExample("a query"))?;
    let lists: Vec<Vec<TextPattern<'_>>> =
        fields.iter().flat_map(|field| field.values().cloned()).collect();
    within_bounds(queries.count(), &[&lists])?;
    let named = queries.all().into_iter().map(|it| (queries.label(&it), it));
    let axis = merged(named, |query| queries.signature(query));
    Ok(axis.into_iter().map(|(names, query)| (names, queries.sent(&query))).collect())
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
