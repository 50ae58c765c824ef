//! The policy's meaning once more, as plainly as it can be said: every rule is walked for every
//! request, and nothing is looked up, ordered or kept.
//!
//! Written from the language's definition (`docs/policy.md`) and from nothing under `src/`,
//! with a host parser of its own, so that what both agree on is not one mistake made twice. The
//! properties and the fuzz target `decide` compare the two.

pub mod comparison;
pub mod host;
pub mod registry;
pub mod sample;

use host::{Host, Pattern};
use serde::Deserialize;
use std::collections::BTreeMap;

/// A policy, as far as verdicts depend on it, deserialized from its own text.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
pub struct Policy {
    #[serde(default)]
    mode: String,
    #[serde(default)]
    default: String,
    #[serde(default)]
    identity: String,
    #[serde(default)]
    sni: String,
    #[serde(default)]
    rules: Vec<Rule>,
}

#[derive(Debug, Deserialize)]
struct Rule {
    id: String,
    action: String,
    state: Option<String>,
    until: Option<String>,
    from: Option<Vec<Entry>>,
    to: Option<Vec<Entry>>,
}

/// An entry of `from` or of `to`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Entry {
    principals: Option<Vec<String>>,
    not_principals: Option<Vec<String>>,
    namespaces: Option<Vec<String>>,
    not_namespaces: Option<Vec<String>>,
    service_accounts: Option<Vec<String>>,
    not_service_accounts: Option<Vec<String>>,
    hosts: Option<Vec<String>>,
    not_hosts: Option<Vec<String>>,
    ports: Option<Vec<f64>>,
    not_ports: Option<Vec<f64>>,
    methods: Option<Vec<String>>,
    not_methods: Option<Vec<String>>,
    paths: Option<Vec<String>>,
    not_paths: Option<Vec<String>>,
    query: Option<Parameters>,
    not_query: Option<Parameters>,
}

/// A parameter's name, and the patterns of its value.
type Parameters = BTreeMap<String, Vec<String>>;

/// What is known of a request.
#[derive(Clone, Debug, Default)]
pub struct Request {
    pub authority: Vec<u8>,
    pub method: Vec<u8>,
    pub path: Option<Vec<u8>>,
    pub cluster_port: Option<u16>,
    /// The name of the route's cluster at a waypoint, empty where there is none; absent at a gateway.
    pub waypoint_cluster: Option<Vec<u8>>,
    /// A connection: `authority` is its server name, `cluster_port` its port, and it has no method.
    pub is_connection: bool,
    /// A connection whose plugin expects server names in the mesh's own form.
    pub is_mesh_form: bool,
    pub principal: Option<String>,
    /// The server name of a TLS connection; absent without TLS.
    pub server_name: Option<Vec<u8>>,
    /// Nanoseconds since the Unix epoch.
    pub now: Option<u64>,
}

/// Whether it passes, the reason, and the rule that is named.
pub type Verdict = (bool, &'static str, Option<String>);

/// The verdict, and the would-be verdict where it differs.
pub fn decide(policy: &Policy, request: &Request) -> (Verdict, Option<Verdict>) {
    // Each view leaves out the rules of one state.
    let [now, next] = ["dry-run", "retiring"].map(|state| judge(policy, request, state));
    match policy.mode == "monitor" {
        true if next.0 => (next, None),
        true => ((true, "monitor", None), Some(next)),
        false if now.0 == next.0 => (now, None),
        false => (now, Some(next)),
    }
}

/// The steps of the definition, without the rules of one state; at a waypoint, with both readings of the
/// host.
fn judge(policy: &Policy, request: &Request, without: &str) -> Verdict {
    let Some(cluster) = &request.waypoint_cluster else {
        return judge_readings(policy, request, without, Dialled::Same);
    };
    let (dialled, cluster_port) = match dialled(cluster) {
        None => (None, None),
        Some((host, port)) => (Some(host), Some(port)),
    };
    let named = authority(request).map(|(host, _)| host);
    let readings = match dialled {
        None => Dialled::Nothing,
        Some(Cluster::One(host)) if Some(&host) == named.as_ref() => Dialled::Same,
        Some(Cluster::One(host)) => Dialled::Other(host),
        Some(Cluster::Under(apex)) => {
            let covers = |host: &Host| match (host, &apex) {
                (Host::Name(host), Host::Name(apex)) => host.ends_with(&format!(".{apex}")),
                _ => false,
            };
            if named.as_ref().is_some_and(covers) { Dialled::Same } else { Dialled::Unknown }
        }
    };
    // Nobody speaks TLS inside a tunnel that a waypoint ends.
    let request = Request { cluster_port, server_name: None, ..request.clone() };
    let is_same = readings == Dialled::Same;
    let verdict = judge_readings(policy, &request, without, readings);
    let is_by_rule = matches!(verdict.1, "rule" | "unknown" | "malformed" | "identity");
    // "would be allowed if it were not for the dialled host"
    let by_name = || judge_readings(policy, &request, without, Dialled::Same);
    match is_same || is_by_rule || verdict.0 || !by_name().0 {
        true => verdict,
        false => (false, "destination", None),
    }
}

/// What a waypoint's cluster says of the host.
enum Cluster {
    One(Host),
    Under(Host),
}

/// How the host that is dialled differs from the one that is named.
#[derive(Clone, Debug, PartialEq)]
enum Dialled {
    Same,
    Other(Host),
    /// A host that nobody knows.
    Unknown,
    /// The cluster says no host.
    Nothing,
}

/// `inbound-vip|PORT|…|HOST` or `outbound|PORT|…|HOST`.
fn dialled(cluster: &[u8]) -> Option<(Cluster, u16)> {
    let text = std::str::from_utf8(cluster).ok()?;
    let [direction, port, _, host] = text.split('|').collect::<Vec<_>>()[..] else { return None };
    let is_known = direction == "inbound-vip" || direction == "outbound";
    let (apex, is_wildcard) = match host.strip_prefix("*.") {
        Some(apex) => (apex, true),
        None => (host, false),
    };
    // A host and its port are written as an authority has them.
    let (host, port) = host::authority(format!("{apex}:{port}").as_bytes())?;
    let host = if is_wildcard { Cluster::Under(host) } else { Cluster::One(host) };
    is_known.then_some((host, port?))
}

/// The steps for these readings of the host.
fn judge_readings(policy: &Policy, request: &Request, without: &str, dialled: Dialled) -> Verdict {
    let is_connect = request.method.eq_ignore_ascii_case(b"CONNECT");
    let is_token = |byte: &u8| byte.is_ascii_graphic() && !b"\"(),/:;<=>?@[\\]{}".contains(byte);
    let authority = match authority(request) {
        Some(authority) if request.is_connection => authority,
        Some(authority)
            if !request.method.is_empty()
                && request.method.iter().all(is_token)
                && (authority.1.is_some() || !is_connect) =>
        {
            authority
        }
        _ => return (false, "malformed", None),
    };
    let (host, _) = &authority;
    if policy.identity == "required" && request.principal.is_none() {
        return (false, "identity", None);
    }
    if let (true, Some(name)) = (policy.sni == "match", &request.server_name)
        && !name.starts_with(b"outbound_.")
        && !host::authority(name).is_some_and(|name| name == (host.clone(), None))
    {
        return (false, "sni", None);
    }
    if dialled == Dialled::Nothing {
        return (false, "destination", None);
    }
    let counting = || {
        let counts = |rule: &&Rule| rule.state.as_deref() != Some(without);
        policy.rules.iter().filter(counts)
    };
    let named = |action: &str, ended: bool, unknown: bool| {
        let rules =
            counting().filter(|rule| rule.action == action && has_ended(rule, request) == ended);
        let matches = rules.filter_map(|rule| {
            Some((specificity(rule, request, &authority, &dialled, unknown)?, rule))
        });
        let first = matches.min_by(|(a, left), (b, right)| b.cmp(a).then(left.id.cmp(&right.id)));
        first.map(|(_, rule)| rule.id.clone())
    };
    if let rule @ Some(_) = named("deny", false, false) {
        return (false, "rule", rule);
    }
    if let rule @ Some(_) = named("deny", false, true) {
        return (false, "unknown", rule);
    }
    if let rule @ Some(_) = named("allow", false, false) {
        return (true, "rule", rule);
    }
    let special = match &dialled {
        Dialled::Other(other) if other.is_special() && !host.is_special() => other,
        _ => host,
    };
    match special {
        Host::Address(address) if !registry::is_forbidden(*address) => {
            return (false, "ip_literal", None);
        }
        _ if special.is_special() => return (false, "forbidden_address", None),
        _ if is_connect => return (false, "connect", None),
        _ => {}
    }
    // Unknown never helps an allow.
    match (policy.default == "allow" && dialled != Dialled::Unknown, named("allow", true, false)) {
        (true, _) => (true, "default", None),
        (false, rule @ Some(_)) => (false, "expired", rule),
        (false, None) => (false, "default", None),
    }
}

/// The host that is asked for, and the port that is said beside it.
fn authority(request: &Request) -> Option<(Host, Option<u16>)> {
    // A connection without a server name is one for the host that was dialled.
    let is_nameless = request.is_connection && request.authority.is_empty();
    let cluster = request.waypoint_cluster.as_deref().filter(|_| is_nameless);
    if let Some((Cluster::One(host), _)) = cluster.and_then(dialled) {
        return Some((host, None));
    }
    match request.is_connection {
        true => host::server_name(&request.authority, request.is_mesh_form),
        false => host::authority(&request.authority),
    }
}

/// Whether the rule is past its `until`; without a clock, in the way that allows less.
fn has_ended(rule: &Rule, request: &Request) -> bool {
    let Some(until) = &rule.until else { return false };
    let until = humantime::parse_rfc3339(until).expect("RFC 3339");
    let until = until.duration_since(std::time::UNIX_EPOCH).expect("after 1970").as_nanos();
    request.now.map_or(rule.action == "allow", |now| u128::from(now) >= until)
}

/// How specific the host pattern is by which the rule matches if fields that are unknown are as told,
/// or `None` where it does not match.
fn specificity(
    rule: &Rule,
    request: &Request,
    authority: &(Host, Option<u16>),
    dialled: &Dialled,
    unknown: bool,
) -> Option<(u8, usize)> {
    let is_deny = rule.action == "deny";
    let all = |fields: &[Option<bool>]| fields.iter().all(|field| field.unwrap_or(unknown));
    let from = |entry: &Entry| {
        let caller = request.principal.as_deref();
        let workload = caller.and_then(workload);
        let namespace = workload.map(|(namespace, _)| namespace);
        let account = workload.map(|(namespace, account)| format!("{namespace}/{account}"));
        all(&[
            field(&entry.principals, |list| Some(any_text(list, caller?))),
            field(&entry.not_principals, |list| Some(!any_text(list, caller?))),
            field(&entry.namespaces, |list| Some(any_text(list, namespace?))),
            field(&entry.not_namespaces, |list| Some(!any_text(list, namespace?))),
            field(&entry.service_accounts, |list| Some(list.contains(account.as_ref()?))),
            field(&entry.not_service_accounts, |list| Some(!list.contains(account.as_ref()?))),
        ])
    };
    if !rule.from.as_ref().is_none_or(|entries| entries.iter().any(from)) {
        return None;
    }
    let (named, port) = authority;
    let others = match dialled {
        Dialled::Same | Dialled::Nothing => vec![],
        Dialled::Other(host) => vec![Some(host)],
        Dialled::Unknown => vec![None],
    };
    let must_name_connect = !is_deny && request.method.eq_ignore_ascii_case(b"CONNECT");
    let must_name_host = |host: &Host| !is_deny && host.is_special();
    let path = request.path.as_deref();
    // An allow needs both readings of a path, a deny one.
    let any_or_both =
        |[sent, lenient]: [bool; 2]| if is_deny { sent || lenient } else { sent && lenient };
    let Some(entries) = &rule.to else {
        let must_name = others.iter().flatten().copied().chain([named]).any(must_name_host);
        let is_known = is_deny || !others.contains(&None);
        return (!must_name_connect && !must_name && is_known).then_some((0, 0));
    };
    let to = |entry: &Entry, host: &Host| {
        let by_host = |pattern: &Pattern| pattern.matches(host) && (is_deny || pattern.opens(host));
        let hosts: Vec<Pattern> = patterns(&entry.hosts).filter(by_host).collect();
        let names_connect = entry.methods.iter().flatten().any(|method| method == "CONNECT");
        let matches = all(&[
            Some(entry.hosts.is_none() && !must_name_host(host) || !hosts.is_empty()),
            Some(!patterns(&entry.not_hosts).any(|pattern| pattern.matches(host))),
            Some(names_connect || !must_name_connect),
            field(&entry.ports, |list| has_port(list, *port, request.cluster_port)),
            field(&entry.not_ports, |list| {
                has_port(list, *port, request.cluster_port).map(|it| !it)
            }),
            field(&entry.methods, |list| has_method(list, request)),
            field(&entry.not_methods, |list| has_method(list, request).map(|it| !it)),
            field(&entry.paths, |list| path_readings(list, path).map(any_or_both)),
            field(&entry.not_paths, |list| {
                path_readings(list, path).map(|[sent, lenient]| any_or_both([!sent, !lenient]))
            }),
            field(&entry.query, |asked| has_parameters(asked, path)),
            field(&entry.not_query, |asked| has_parameters(asked, path).map(|it| !it)),
        ]);
        let specificity = |pattern: &Pattern| pattern.specificity(host);
        matches.then(|| hosts.iter().map(specificity).max().unwrap_or((0, 0)))
    };
    // An allow needs one entry that matches both readings, a deny one reading.
    let both = |entry: &Entry| {
        let by_name = to(entry, named);
        let by_others = others.iter().map(|host| host.and_then(|host| to(entry, host)));
        match is_deny {
            true => by_others.flatten().chain(by_name).max(),
            false => by_name.filter(|_| by_others.clone().all(|it| it.is_some())),
        }
    };
    entries.iter().filter_map(both).max()
}

fn field<T>(list: &Option<T>, matches: impl Fn(&T) -> Option<bool>) -> Option<bool> {
    list.as_ref().map_or(Some(true), matches)
}

fn patterns(list: &Option<Vec<String>>) -> impl Iterator<Item = Pattern> {
    list.iter().flatten().map(|text| Pattern::read(text).expect("a host pattern"))
}

/// Exact, `prefix*`, `*suffix`, and `*` for present.
fn any_text(list: &[String], text: &str) -> bool {
    list.iter().any(|pattern| match (pattern.strip_prefix('*'), pattern.strip_suffix('*')) {
        (Some(suffix), _) => text.ends_with(suffix),
        (None, Some(prefix)) => text.starts_with(prefix),
        (None, None) => text == pattern,
    })
}

/// Namespace and account of exactly `domain/ns/NAMESPACE/sa/ACCOUNT`.
fn workload(principal: &str) -> Option<(&str, &str)> {
    match principal.split('/').collect::<Vec<_>>()[..] {
        [domain, "ns", namespace, "sa", account] if ![domain, namespace, account].contains(&"") => {
            Some((namespace, account))
        }
        _ => None,
    }
}

/// Whether the port that is dialled is in the list: that of the route, or if it says none, that of the
/// authority.
fn has_port(list: &[f64], said: Option<u16>, dialled: Option<u16>) -> Option<bool> {
    match (dialled, said) {
        (Some(dialled), Some(said)) if dialled != said => None,
        _ => Some(list.contains(&f64::from(dialled.or(said)?))),
    }
}

fn has_method(list: &[String], request: &Request) -> Option<bool> {
    let method = (!request.is_connection).then_some(&request.method[..])?;
    if list.iter().any(|listed| listed.as_bytes() == method) {
        return Some(true);
    }
    let differs_in_case = list.iter().any(|listed| listed.as_bytes().eq_ignore_ascii_case(method));
    (!differs_in_case).then_some(false)
}

/// Whether the path as sent is in the list, and whether its lenient reading is.
fn path_readings(list: &[String], path: Option<&[u8]>) -> Option<[bool; 2]> {
    let [sent, lenient] = readings(path?)?;
    let decoded = |pattern: &String| pattern.replace("%2f", "/").replace("%2F", "/");
    Some([
        list.iter().any(|pattern| is_of_path(pattern, &sent)),
        list.iter().any(|pattern| is_of_path(&decoded(pattern), &lenient)),
    ])
}

/// A template is held segment by segment, all else as a text.
fn is_of_path(pattern: &str, path: &str) -> bool {
    if !pattern.contains("{*}") && !pattern.contains("{**}") {
        return match (pattern.strip_prefix('*'), pattern.strip_suffix('*')) {
            (Some(suffix), _) => (0..=path.len())
                .filter(|at| path.is_char_boundary(*at))
                .any(|at| is_as_written(suffix, &path[at..])),
            (None, Some(prefix)) => (0..=path.len())
                .filter(|at| path.is_char_boundary(*at))
                .any(|at| is_as_written(prefix, &path[..at])),
            (None, None) => is_as_written(pattern, path),
        };
    }
    let segments: Vec<&str> = path.split('/').collect();
    let wanted: Vec<&str> = pattern.split('/').collect();
    let is_of = |(wanted, segment): (&&str, &&str)| match *wanted {
        "{*}" => !segment.is_empty(),
        "{**}" => true,
        literal => is_as_written(literal, segment),
    };
    let may_have_more = wanted.last() == Some(&"{**}");
    (segments.len() == wanted.len() || may_have_more && segments.len() > wanted.len())
        && wanted.iter().zip(&segments).all(is_of)
}

/// Byte by byte, but for the case of the `f` of an encoded slash.
fn is_as_written(pattern: &str, text: &str) -> bool {
    let ends_slash = |at: usize| pattern[..=at].to_ascii_lowercase().ends_with("%2f");
    pattern.len() == text.len()
        && pattern.bytes().zip(text.bytes()).enumerate().all(|(at, (wanted, byte))| {
            wanted == byte || wanted.eq_ignore_ascii_case(&byte) && ends_slash(at)
        })
}

/// Whether every parameter that is asked for has one of its values.
fn has_parameters(asked: &Parameters, path: Option<&[u8]>) -> Option<bool> {
    let answers = asked.iter().map(|(name, values)| {
        let value = parameter(name, path?)?;
        Some(value.is_some_and(|value| any_text(values, &value)))
    });
    // One that is known not to hold is enough.
    let all = answers.reduce(|one, other| match (one, other) {
        (Some(false), _) | (_, Some(false)) => Some(false),
        (Some(true), Some(true)) => Some(true),
        _ => None,
    });
    all.flatten()
}

/// The value of a parameter, `Some(None)` where it is absent, `None` where it is unknown.
fn parameter(name: &str, path: &[u8]) -> Option<Option<String>> {
    let query = path.splitn(2, |&byte| byte == b'?').nth(1).unwrap_or_default();
    let decoded = |text: &[u8]| {
        let spaced: Vec<u8> =
            text.iter().map(|&byte| if byte == b'+' { b' ' } else { byte }).collect();
        decoded_once(&spaced)
    };
    let values_cut_at = |cuts: &[u8]| -> Vec<Vec<u8>> {
        let parts = query.split(|byte| cuts.contains(byte)).filter_map(|part| {
            let mut halves = part.splitn(2, |&byte| byte == b'=').map(decoded);
            (halves.next()? == name.as_bytes()).then(|| halves.next().unwrap_or_default())
        });
        parts.collect()
    };
    // Some readers cut at a `;` too, or leave out what follows a `#`.
    let values = values_cut_at(b"&");
    if values != values_cut_at(b"&;") || path.contains(&b'#') && path.contains(&b'?') {
        return None;
    }
    let is_unclear =
        |text: &str| text.contains(|it: char| ";%".contains(it) || it.is_ascii_control());
    match &values[..] {
        [] => Some(None),
        [value] => {
            let value = String::from_utf8(value.clone()).ok()?;
            (!is_unclear(name) && !is_unclear(&value)).then_some(Some(value))
        }
        _ => None,
    }
}

/// The path as sent and as lenient readers take it; `None` where it is unclear.
fn readings(path: &[u8]) -> Option<[String; 2]> {
    let sent = path.split(|&byte| byte == b'?').next()?;
    let [sent, decoded] = [sent.to_vec(), decoded_once(sent)].map(String::from_utf8);
    let (sent, decoded) = (sent.ok()?, decoded.ok()?);
    let is_unclear = !sent.starts_with('/') || decoded.contains(['\\', '\0', '%', '?', '#']);
    let segments: Vec<&str> = decoded.split('/').filter_map(|it| it.split(';').next()).collect();
    if is_unclear || segments.iter().any(|segment| [".", ".."].contains(segment)) {
        return None;
    }
    let mut lenient = segments.join("/");
    while lenient.contains("//") {
        lenient = lenient.replace("//", "/");
    }
    Some([sent, lenient])
}

/// Every `%` with two hex digits as the byte that it stands for, once.
fn decoded_once(text: &[u8]) -> Vec<u8> {
    let mut decoded = Vec::new();
    let mut rest = text;
    while let [byte, tail @ ..] = rest {
        let digits = tail.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
        let value = digits.filter(|it| it.bytes().all(|digit| digit.is_ascii_hexdigit()));
        match value.map(|digits| u8::from_str_radix(digits, 16)) {
            Some(Ok(value)) if *byte == b'%' => {
                decoded.push(value);
                rest = &tail[2..];
            }
            _ => {
                decoded.push(*byte);
                rest = tail;
            }
        }
    }
    decoded
}
