//! What the rules that know a host tell apart beside the host: callers, server names, ports, methods,
//! paths and times, each as a list of values that stand for all others.

use super::callers;
use super::paths;
use super::ways::Way;
use super::words::Pieces;
use crate::cli::written::{Callers, Destinations, List};
use egress_warden::policy::{ClusterPort, TextPattern, TextSet, namespace_of};
use std::collections::{BTreeMap, BTreeSet};
use std::time::SystemTime;

/// Values that are told apart, each with the names of all that it stands for.
pub(super) type Axis<V> = Vec<(Vec<String>, V)>;

/// The axes of one set of rules.
#[derive(Debug)]
pub(super) struct Axes {
    pub(super) callers: Axis<Option<String>>,
    pub(super) server_names: Axis<ServerName>,
    pub(super) ports: Axis<Port>,
    pub(super) methods: Axis<String>,
    pub(super) paths: Axis<String>,
    /// In nanoseconds since the Unix epoch.
    pub(super) times: Axis<u64>,
}

/// How many axes there are.
pub(super) const AXES: usize = 6;

/// What TLS says of the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ServerName {
    /// The host, or there is no TLS.
    Agrees,
    /// Another.
    Differs,
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
            Self::Conflict => (Some(443), ClusterPort::Unknown),
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
    pub(super) fn of(ways: &[Way<'_>], demands: Demands, at: u64) -> Self {
        Self {
            callers: callers_of(ways, demands.identity),
            server_names: server_names(demands.server_name),
            ports: ports(ways),
            methods: methods(ways),
            paths: paths_of(ways),
            times: times(ways, at),
        }
    }

    /// Whether there are paths whose two readings differ: of those only some are tried.
    pub(super) fn has_paths_of_two_readings(&self) -> bool {
        self.paths.len() > 1
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
        fn named<V>(axis: &Axis<V>, positions: &[usize]) -> Option<Vec<String>> {
            if positions.len() >= axis.len() {
                return None;
            }
            let values = positions.iter().filter_map(|&position| axis.get(position));
            Some(values.flat_map(|(names, _)| names.iter().cloned()).collect())
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
    /// All methods but one, in so many words.
    fn method_names(&self, positions: &[usize]) -> Option<Vec<String>> {
        let numbered = self.methods.iter().enumerate();
        let missing: Vec<&String> = numbered
            .filter(|(position, _)| !positions.contains(position))
            .flat_map(|(_, (names, _))| names)
            .collect();
        match missing[..] {
            [one] if positions.len() > 1 => Some(vec![format!("all but {one}")]),
            _ => None,
        }
    }
}

/// Keeps one value for all that are the same to every list; the names of all stay.
fn merged<V>(
    values: impl IntoIterator<Item = (String, V)>,
    signature: impl Fn(&V) -> Vec<u8>,
) -> Axis<V> {
    let mut axis: Axis<V> = Vec::new();
    let mut known: BTreeMap<Vec<u8>, usize> = BTreeMap::new();
    for (name, value) in values {
        let position = *known.entry(signature(&value)).or_insert(axis.len());
        match axis.get_mut(position) {
            Some((names, _)) if names.contains(&name) => {}
            Some((names, _)) => names.push(name),
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
    lists.map(|list| list.iter().map(|written| written.pattern).collect()).collect()
}

fn pieces<'a>(lists: &[Vec<TextPattern<'a>>]) -> Pieces<'a> {
    let mut pieces = Pieces::default();
    pieces.add(lists.iter().flatten().copied());
    pieces
}

fn sets(lists: &[Vec<TextPattern<'_>>]) -> Vec<TextSet> {
    lists.iter().map(|list| list.iter().copied().collect()).collect()
}

fn callers_of(ways: &[Way<'_>], is_identity_demanded: bool) -> Axis<Option<String>> {
    let sources = || ways.iter().flat_map(|way| &way.rule.from);
    if sources().next().is_none() && !is_identity_demanded {
        return any(None);
    }
    let principals = lists(sources(), |it: &Callers<'_>| [&it.principals, &it.not_principals]);
    let namespaces = lists(sources(), |it: &Callers<'_>| [&it.namespaces, &it.not_namespaces]);
    let (of_principals, of_namespaces) = (sets(&principals), sets(&namespaces));
    let callers = callers::callers(&pieces(&principals), &pieces(&namespaces));
    merged(callers, |principal| match principal {
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
    })
}

fn server_names(is_demanded: bool) -> Axis<ServerName> {
    if !is_demanded {
        return any(ServerName::Agrees);
    }
    vec![
        (vec!["the host, or no TLS".to_owned()], ServerName::Agrees),
        (vec!["another than the host".to_owned()], ServerName::Differs),
    ]
}

fn ports(ways: &[Way<'_>]) -> Axis<Port> {
    let destinations = ways.iter().filter_map(|way| way.destination);
    let lists = lists(destinations, |it: &Destinations<'_>| [&it.ports, &it.not_ports]);
    if lists.is_empty() {
        return any(Port::Known(443));
    }
    let mut named: BTreeSet<u16> = lists.iter().flatten().copied().collect();
    let other = (1..=u16::MAX).rev().find(|port| !named.contains(port));
    // Where a port is unsaid, 80 and 443 count, so that they are worth a value each.
    named.extend([80, 443]);
    let known = named.iter().map(|&port| (port.to_string(), Port::Known(port)));
    let other = other.map(|port| ("other ports".to_owned(), Port::Known(port)));
    let unknown = [("unsaid".to_owned(), Port::Unsaid), ("in conflict".to_owned(), Port::Conflict)];
    merged(known.chain(other).chain(unknown), |port| match port {
        Port::Known(port) => lists.iter().map(|list| u8::from(list.contains(port))).collect(),
        Port::Unsaid => vec![u8::MAX],
        Port::Conflict => vec![u8::MAX - 1],
    })
}

fn methods(ways: &[Way<'_>]) -> Axis<String> {
    let destinations = ways.iter().filter_map(|way| way.destination);
    let lists = lists(destinations, |it: &Destinations<'_>| [&it.methods, &it.not_methods]);
    let named: BTreeSet<&str> = lists.iter().flatten().copied().collect();
    let mut values: Vec<(String, String)> =
        named.iter().map(|method| ((*method).to_owned(), (*method).to_owned())).collect();
    values.extend(named.iter().filter_map(|method| {
        let in_another_case = [method.to_ascii_lowercase(), method.to_ascii_uppercase()];
        let other = in_another_case.into_iter().find(|it| !named.contains(&**it))?;
        Some((format!("{method} in another case"), other))
    }));
    values.push(("CONNECT".to_owned(), "CONNECT".to_owned()));
    let is_known = |method: &str| named.iter().any(|it| it.eq_ignore_ascii_case(method));
    let other = ["GET", "POST", "HEAD", "OTHER"].map(str::to_owned).into_iter();
    let other = other.chain((0..=named.len()).map(|number| format!("OTHER{number}")));
    let other = other.into_iter().find(|method| !is_known(method));
    let name = if named.is_empty() { "all but CONNECT" } else { "other methods" };
    values.extend(other.map(|method| (name.to_owned(), method)));
    merged(values, |method| {
        let in_list = |list: &Vec<&str>| match list.contains(&&**method) {
            true => 2,
            false => u8::from(list.iter().any(|it| it.eq_ignore_ascii_case(method))),
        };
        let is_connect = u8::from(method.eq_ignore_ascii_case("CONNECT"));
        lists.iter().map(in_list).chain([is_connect]).collect()
    })
}

fn paths_of(ways: &[Way<'_>]) -> Axis<String> {
    let destinations = ways.iter().filter_map(|way| way.destination);
    let lists = lists(destinations, |it: &Destinations<'_>| [&it.paths, &it.not_paths]);
    if lists.is_empty() {
        return any("/".to_owned());
    }
    let sets = sets(&lists);
    let axis = merged(
        paths::paths(&pieces(&lists)).into_iter().map(|path| (path.label.clone(), path)),
        |path| match &path.lenient {
            None => vec![u8::MAX],
            Some(lenient) => sets
                .iter()
                .map(|set| {
                    u8::from(set.contains(&path.sent)) | u8::from(set.contains(lenient)) << 1
                })
                .collect(),
        },
    );
    let is_of_two_readings = |name: &String| name.starts_with("paths sent as ");
    axis.into_iter()
        .map(|(mut names, path)| {
            // What fares as a plain path needs no words of its own.
            if names.iter().any(|name| !is_of_two_readings(name)) {
                names.retain(|name| !is_of_two_readings(name));
            }
            (names, path.sent)
        })
        .collect()
}

fn times(ways: &[Way<'_>], at: u64) -> Axis<u64> {
    let later: BTreeMap<u64, SystemTime> = ways
        .iter()
        .filter_map(|way| way.rule.until)
        .filter_map(|end| {
            let since = end.duration_since(SystemTime::UNIX_EPOCH).ok()?;
            Some((u64::try_from(since.as_nanos()).ok()?, end))
        })
        .filter(|(end, _)| *end > at)
        .collect();
    let mut times: Axis<u64> = vec![(vec!["now".to_owned()], at)];
    times.extend(later.into_iter().map(|(nanoseconds, end)| {
        (vec![format!("from {}", humantime::format_rfc3339(end))], nanoseconds)
    }));
    times
}
