//! What the labels of an answer stand for.

use super::Request;
use egress_warden::host::{Host, HostPattern, is_forbidden};
use egress_warden::policy::{namespace_of, path_readings};
use serde_json::Value;
use std::cell::OnceCell;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

/// All that two policies name.
pub struct Known {
    ways: Vec<Way>,
    hosts: Vec<String>,
    asks_for_callers: bool,
    asks_for_server_names: bool,
}

/// An entry of a rule's `to` (or its lack) with the rule.
struct Way {
    rule: Value,
    to: Option<Value>,
}

/// What the rules that know one host name.
pub struct Group<'a> {
    known: &'a Known,
    host: String,
    ways: Vec<&'a Way>,
    host_label: OnceCell<String>,
}

impl Known {
    pub fn of(policies: &[&Value]) -> Self {
        let rules = policies.iter().flat_map(|it| it["rules"].as_array().into_iter().flatten());
        let mut ways = Vec::new();
        for rule in rules {
            match rule["to"].as_array() {
                None => ways.push(Way { rule: rule.clone(), to: None }),
                Some(entries) => ways.extend(
                    entries.iter().map(|to| Way { rule: rule.clone(), to: Some(to.clone()) }),
                ),
            }
        }
        let hosts = |way: &Way| {
            let of = |key: &str| way.to.as_ref().map(|to| texts(&to[key])).unwrap_or_default();
            [of("hosts"), of("notHosts")].concat()
        };
        Self {
            hosts: ways.iter().flat_map(hosts).collect(),
            asks_for_callers: policies.iter().any(|it| it["identity"] == "required")
                || ways.iter().any(|way| way.rule.get("from").is_some()),
            asks_for_server_names: policies.iter().any(|it| it["sni"] == "match"),
            ways,
        }
    }

    pub fn group(&self, host: &str) -> Group<'_> {
        let is_among = |patterns: &[String]| patterns.iter().any(|it| is_of(it, host));
        let knows = |way: &&Way| {
            let list = |key: &str| way.to.as_ref().and_then(|to| to.get(key)).map(texts);
            list("hosts").is_none_or(|hosts| is_among(&hosts))
                && !list("notHosts").is_some_and(|hosts| is_among(&hosts))
        };
        let ways = self.ways.iter().filter(knows).collect();
        Group { known: self, host: host.to_owned(), ways, host_label: OnceCell::new() }
    }
}

fn sources(way: &Way) -> Vec<&Value> {
    way.rule["from"].as_array().into_iter().flatten().collect()
}

fn destinations(way: &Way) -> Vec<&Value> {
    way.to.iter().collect()
}

/// The texts of a list; none where there is none.
pub fn texts(list: &Value) -> Vec<String> {
    let items = list.as_array().into_iter().flatten();
    items.filter_map(Value::as_str).map(str::to_owned).collect()
}

/// Whether a pattern matches a host.
fn is_of(pattern: &str, host: &str) -> bool {
    match HostPattern::parse(pattern).expect("a pattern") {
        HostPattern::Name(name) => host == name,
        HostPattern::Under(apex) => host.ends_with(&format!(".{apex}")),
        HostPattern::Tree(apex) => host == apex || host.ends_with(&format!(".{apex}")),
        HostPattern::Glob(glob) => glob.matches(host),
        HostPattern::Address(address) => address_of(host) == Some(address),
        HostPattern::Block(block) => address_of(host).is_some_and(|it| block.contains(it)),
    }
}

/// What a wildcard or a tree stands above.
fn apex(pattern: &str) -> Option<&str> {
    let apex = pattern.strip_prefix("*.").or(pattern.strip_prefix('.'))?;
    (!apex.contains('*')).then_some(apex)
}

fn is_glob(pattern: &str) -> bool {
    pattern.contains('*') && apex(pattern).is_none()
}

/// The globs that say most first, without those that match wherever another of them does; then the
/// wildcard, where not all that one of the globs matches is below it.
fn names_label(globs: Vec<&str>, wildcard: Option<&str>) -> String {
    // Names that a glob matches and hardly any other one by chance.
    let some_of = |glob: &str| {
        let rest = glob.strip_prefix("*.").map(|rest| rest.replace('*', "q0q"));
        match rest {
            Some(rest) => vec![format!("q0q.{rest}"), format!("q0q.0q0.{rest}")],
            None => vec![glob.replace('*', "q0q")],
        }
    };
    let is_covered = |wide: &&str| {
        let mut others = globs.iter().filter(|it| *it != wide);
        others.any(|it| some_of(it).iter().all(|name| is_of(wide, name)))
    };
    let mut named: Vec<&str> = globs.iter().filter(|it| !is_covered(it)).copied().collect();
    let bytes = |glob: &str| glob.len() - glob.matches('*').count();
    named.sort_by_key(|glob| (usize::MAX - bytes(glob), *glob));
    let is_above = |apex: &str| {
        let mut names = named.iter().map(|glob| glob.rsplit_once('*').map_or("", |(_, rest)| rest));
        names.any(|rest| rest.ends_with(&format!(".{apex}")))
    };
    let wildcard = wildcard.filter(|apex| !is_above(apex)).map(|apex| format!("*.{apex}"));
    let all: Vec<String> = named.iter().map(|it| (*it).to_owned()).chain(wildcard).collect();
    if all.is_empty() { "other names".to_owned() } else { all.join(" and ") }
}

fn address_of(host: &str) -> Option<IpAddr> {
    match Host::parse(host.as_bytes()).expect("a host") {
        Host::Address(address) => Some(address),
        Host::Name(_) => None,
    }
}

const SPECIAL: [&str; 6] = [
    "instance-data",
    "instance-data.ec2.internal",
    "localhost",
    "metadata",
    "metadata.goog",
    "metadata.google.internal",
];

impl Group<'_> {
    /// The host's own name where it is named, else its globs and its longest wildcard, or smallest block.
    pub fn host_label(&self) -> &str {
        self.host_label.get_or_init(|| self.label_of_host())
    }

    fn label_of_host(&self) -> String {
        let host = &self.host;
        let named = &self.known.hosts;
        let is_tree = named.iter().any(|it| it.strip_prefix('.') == Some(host));
        let is_named = named.contains(host) || is_tree || SPECIAL.contains(&&**host);
        match address_of(host) {
            _ if is_named => host.clone(),
            None => {
                let wildcards = named.iter().map(String::as_str).chain(["*.localhost"]);
                let apexes = wildcards.filter_map(|it| apex(it));
                let above = apexes.filter(|apex| host.ends_with(&format!(".{apex}")));
                let longest = above.max_by_key(|it| it.len());
                let globs: BTreeSet<&str> =
                    named.iter().map(String::as_str).filter(|it| is_glob(it)).collect();
                names_label(globs.into_iter().filter(|it| is_of(it, host)).collect(), longest)
            }
            Some(address) => {
                let blocks = named.iter().filter(|it| it.contains('/') && is_of(it, host));
                let length =
                    |it: &&String| it.split('/').nth(1).unwrap().parse::<u8>().expect("a length");
                let forbidden = is_forbidden(address);
                let family = if address.is_ipv4() { "IPv4" } else { "IPv6" };
                match (blocks.max_by_key(length), forbidden) {
                    (Some(block), true) => format!("{block}, forbidden addresses"),
                    (Some(block), false) => block.clone(),
                    (None, true) => format!("other forbidden {family} addresses"),
                    (None, false) => format!("other {family} addresses"),
                }
            }
        }
    }

    /// Whether the labels of a change speak of this request.
    pub fn is_in(&self, change: &Value, request: &Request, at: u64) -> bool {
        let hosts = texts(&change["hosts"]);
        if request.is_malformed() || hosts == ["malformed ones"] {
            return request.is_malformed() && hosts == ["malformed ones"];
        }
        let names = |key: &str, label: &dyn Fn() -> Vec<String>| match change.get(key) {
            None => true,
            Some(list) => {
                let (list, labels) = (texts(list), label());
                let is_listed = |label: &String| list.contains(label);
                let is_all_but = list[0].starts_with("all but ") && !is_listed(&labels[0]);
                match is_all_but {
                    true => !labels.iter().any(|it| list.contains(&format!("all but {it}"))),
                    false => labels.iter().any(is_listed),
                }
            }
        };
        (hosts == ["any host"] || hosts.iter().any(|it| it == self.host_label()))
            && names("callers", &|| vec![self.caller_label(request.principal.as_deref())])
            && names("server_names", &|| vec![self.server_name_label(request)])
            && names("ports", &|| vec![self.port_label(request)])
            && names("methods", &|| {
                self.method_labels(request.method.as_deref().expect("a method"))
            })
            && names("paths", &|| self.path_labels(request.path.as_deref()))
            && names("queries", &|| vec![self.query_label(request.path.as_deref())])
            && names("times", &|| vec![self.time_label(request.now, at)])
    }

    fn lists(&self, of: fn(&Way) -> Vec<&Value>, keys: [&str; 2]) -> Vec<Vec<String>> {
        let entries = self.ways.iter().flat_map(|way| of(way));
        let lists = entries.flat_map(|entry| keys.into_iter().filter_map(|key| entry.get(key)));
        lists.map(texts).collect()
    }

    fn caller_label(&self, principal: Option<&str>) -> String {
        assert!(self.known.asks_for_callers, "callers are told apart");
        let Some(principal) = principal else { return "not verified".to_owned() };
        let lists = |keys| self.lists(sources, keys);
        let principals = lists(["principals", "notPrincipals"]).concat();
        let namespaces = lists(["namespaces", "notNamespaces"]);
        let accounts = lists(["serviceAccounts", "notServiceAccounts"]);
        if principals.iter().any(|it| it == principal) {
            return literal(principal);
        }
        let who = text_label(&principals, principal);
        if namespaces.is_empty() && accounts.is_empty() {
            return who.unwrap_or("other callers".to_owned());
        }
        let namespaces = namespaces.concat();
        let asks = |patterns: &[String]| patterns.iter().any(|it| it != "*");
        // No segment of a principal that has a namespace is empty.
        let accounts = accounts.concat();
        let account = accounts.iter().find(|it| {
            let (namespace, account) = it.split_once('/').expect("an account");
            namespace_of(principal) == Some(namespace)
                && principal.ends_with(&format!("/ns/{namespace}/sa/{account}"))
        });
        let place = match namespace_of(principal) {
            None => "outside any namespace".to_owned(),
            Some(_) if account.is_some() => {
                format!("as service account {}", account.expect("one"))
            }
            Some(_) if !asks(&namespaces) => "in a namespace".to_owned(),
            Some(namespace) => match text_label(&namespaces, namespace) {
                Some(label) => format!("in namespace {label}"),
                None => "in other namespaces".to_owned(),
            },
        };
        match who {
            Some(who) => format!("{who} {place}"),
            None if !asks(&principals) => place,
            None => format!("other callers {place}"),
        }
    }

    fn server_name_label(&self, request: &Request) -> String {
        assert!(self.known.asks_for_server_names, "server names are told apart");
        let agrees = request.server_name.as_ref().is_none_or(|name| {
            Host::parse(name.as_bytes()).is_ok_and(|it| it.canonical() == *request.host)
        });
        let label = if agrees { "the host, or no TLS" } else { "none, or another than the host" };
        label.to_owned()
    }

    fn port_label(&self, request: &Request) -> String {
        let entries = self.ways.iter().filter_map(|way| way.to.as_ref());
        let named = entries.flat_map(|to| [&to["ports"], &to["notPorts"]]);
        let mut named = named.flat_map(|it| it.as_array().into_iter().flatten());
        match (request.port, request.cluster_port) {
            (Some(said), Some(dialled)) if said != dialled => "in conflict".to_owned(),
            (None, None) => "unsaid".to_owned(),
            (port, other) => {
                let port = port.or(other).unwrap();
                match named.any(|it| it.as_u64() == Some(port.into())) {
                    true => port.to_string(),
                    false => "other ports".to_owned(),
                }
            }
        }
    }

    /// Where its case is another, that of any method that is listed so.
    fn method_labels(&self, method: &str) -> Vec<String> {
        let named = self.lists(destinations, ["methods", "notMethods"]).concat();
        if named.iter().any(|it| it == method) {
            return vec![method.to_owned()];
        }
        let alike: Vec<String> = named
            .iter()
            .filter(|it| it.eq_ignore_ascii_case(method))
            .map(|it| format!("{it} in another case"))
            .collect();
        let other = if named.is_empty() { "all but CONNECT" } else { "other methods" };
        match alike.is_empty() {
            false => alike,
            true if method.eq_ignore_ascii_case("CONNECT") => vec!["CONNECT".to_owned()],
            true => vec![other.to_owned()],
        }
    }

    /// The label of a path, and where no list tells its readings apart those of plain paths that match
    /// what one of them does.
    fn path_labels(&self, path: Option<&str>) -> Vec<String> {
        let Some([sent, lenient]) = path.and_then(|path| path_readings(path.as_bytes())) else {
            return vec!["unclear paths".to_owned()];
        };
        let lists = self.lists(destinations, ["paths", "notPaths"]);
        let with = |slash: &str| {
            let pattern = |it: &String| it.replace("%2f", slash).replace("%2F", slash);
            let lists = lists.iter().map(|list| list.iter().map(pattern).collect());
            lists.collect::<Vec<Vec<String>>>()
        };
        let (of_sent, of_lenient) = (with("%2f"), with("/"));
        let is_plain = sent == lenient;
        let sent = sent.replace("%2F", "%2f");
        let [as_sent, as_read] = [(&of_sent, &sent), (&of_lenient, &lenient)]
            .map(|(lists, text)| path_text_label(&lists.concat(), text));
        let in_list = |list: &Vec<String>, text: &str| list.iter().any(|it| is_of_path(it, text));
        let both = format!("paths sent as {as_sent} and read as {as_read}");
        let mut pairs = of_sent.iter().zip(&of_lenient);
        if is_plain && as_sent == as_read {
            vec![as_sent]
        } else if pairs.all(|(one, other)| in_list(one, &sent) == in_list(other, &lenient)) {
            vec![as_sent, as_read, both]
        } else {
            vec![both]
        }
    }

    /// What the query says of every parameter that is asked for. Without a path it is unknown.
    fn query_label(&self, path: Option<&str>) -> String {
        let entries = self.ways.iter().filter_map(|way| way.to.as_ref());
        let fields = entries.flat_map(|to| [&to["query"], &to["notQuery"]]);
        let mut asked: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (name, values) in fields.filter_map(Value::as_object).flatten() {
            asked.entry(name.clone()).or_default().extend(texts(values));
        }
        let label = |(name, patterns): (&String, &Vec<String>)| {
            let parameter = path.map_or(Parameter::Unclear, |path| parameter(path, name));
            let name = literal(name);
            match parameter {
                Parameter::Absent => format!("no {name}"),
                Parameter::Unclear => format!("unclear {name}"),
                Parameter::Value(value) => match text_label(patterns, &value) {
                    Some(value) => format!("{name}={value}"),
                    None if patterns.iter().all(|it| it == "*") => format!("{name}=*"),
                    None => format!("other {name}"),
                },
            }
        };
        asked.iter().map(label).collect::<Vec<_>>().join(" and ")
    }

    fn time_label(&self, now: u64, at: u64) -> String {
        let ends = self.ways.iter().filter_map(|way| way.rule["until"].as_str());
        let ends = ends.map(|text| (nanoseconds(text), text.to_owned()));
        let begun = ends.filter(|(end, _)| *end > at && *end <= now).max();
        begun.map_or("now".to_owned(), |(_, text)| format!("from {text}"))
    }
}

enum Parameter {
    Absent,
    Unclear,
    Value(String),
}

/// What a query says of a parameter.
fn parameter(path: &str, name: &str) -> Parameter {
    let Some((_, query)) = path.split_once('?') else { return Parameter::Absent };
    let halves = |part: &str| {
        let (name, value) = part.split_once('=').unwrap_or((part, ""));
        [decoded(name), decoded(value)]
    };
    let is_it = |part: &&str| halves(part)[0] == name.as_bytes();
    let parts: Vec<&str> = query.split('&').filter(is_it).collect();
    let is_cut = query.split('&').filter(|it| it.contains(';')).flat_map(|it| it.split(';'));
    let unclear = |byte: &u8| b";%".contains(byte) || byte.is_ascii_control();
    match parts[..] {
        _ if path.contains('#') || is_cut.into_iter().any(|it| is_it(&it)) => Parameter::Unclear,
        [] => Parameter::Absent,
        [part] => match String::from_utf8(halves(part)[1].clone()) {
            Ok(value) if !value.as_bytes().iter().any(unclear) => Parameter::Value(value),
            _ => Parameter::Unclear,
        },
        _ => Parameter::Unclear,
    }
}

fn decoded(text: &str) -> Vec<u8> {
    let text = text.replace('+', " ");
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let [first, behind @ ..] = rest {
        let digits = behind.get(..2).and_then(|it| std::str::from_utf8(it).ok());
        let digits = digits.filter(|it| it.bytes().all(|digit| digit.is_ascii_hexdigit()));
        let byte = digits.filter(|_| *first == b'%').and_then(|it| u8::from_str_radix(it, 16).ok());
        bytes.push(byte.unwrap_or(*first));
        rest = if byte.is_some() { &behind[2..] } else { behind };
    }
    bytes
}

pub fn nanoseconds(time: &str) -> u64 {
    let time = humantime::parse_rfc3339(time).expect("a time");
    let since = time.duration_since(std::time::UNIX_EPOCH).expect("after 1970");
    u64::try_from(since.as_nanos()).expect("before 2554")
}

fn matches(pattern: &str, text: &str) -> bool {
    match (pattern.strip_prefix('*'), pattern.strip_suffix('*')) {
        (Some(suffix), _) => text.ends_with(suffix),
        (None, Some(prefix)) => text.starts_with(prefix),
        (None, None) => text == pattern,
    }
}

/// Whether a pattern of paths matches one reading.
fn is_of_path(pattern: &str, text: &str) -> bool {
    if !pattern.contains('{') {
        return matches(pattern, text);
    }
    let (mut wanted, segments): (Vec<&str>, Vec<&str>) =
        (pattern.split('/').collect(), text.split('/').collect());
    let is_open = wanted.last() == Some(&"{**}");
    if is_open {
        wanted.pop();
    }
    let is_long_enough = match is_open {
        true => segments.len() > wanted.len(),
        false => segments.len() == wanted.len(),
    };
    let is_of = |(wanted, segment): (&&str, &&str)| match *wanted {
        "{*}" => !segment.is_empty(),
        literal => literal == *segment,
    };
    is_long_enough && wanted.iter().zip(&segments).all(is_of)
}

/// An exact pattern; else the longest prefix and suffix, and every template.
fn path_text_label(patterns: &[String], text: &str) -> String {
    if patterns.iter().any(|it| it == text) {
        return literal(text);
    }
    let (templates, others): (Vec<String>, Vec<String>) =
        patterns.iter().cloned().partition(|it| it.contains('{'));
    let matching = templates.into_iter().filter(|it| is_of_path(it, text)).map(|it| literal(&it));
    let matching: BTreeSet<String> = matching.collect();
    let named: Vec<String> = text_label(&others, text).into_iter().chain(matching).collect();
    if named.is_empty() { "other paths".to_owned() } else { named.join(" and ") }
}

/// The longest prefix and the longest suffix of a text that none of the patterns is exactly.
fn text_label(patterns: &[String], text: &str) -> Option<String> {
    if patterns.iter().any(|it| it == text) {
        return Some(literal(text));
    }
    fn longest<'a>(pieces: impl Iterator<Item = &'a str>) -> &'a str {
        pieces.max_by_key(|it| it.len()).unwrap_or_default()
    }
    let matching = || patterns.iter().filter(|it| *it != "*" && matches(it, text));
    let prefix = longest(matching().filter_map(|it| it.strip_suffix('*')));
    let suffix = longest(matching().filter_map(|it| it.strip_prefix('*')));
    let is_any = prefix.is_empty() && suffix.is_empty();
    (!is_any).then(|| literal(&format!("{prefix}*{suffix}")))
}

/// In quotes where it has spaces, controls or quotes.
fn literal(text: &str) -> String {
    let is_plain = |it: char| !it.is_whitespace() && !it.is_control() && it != '"';
    if text.chars().all(is_plain) { text.to_owned() } else { format!("{text:?}") }
}
