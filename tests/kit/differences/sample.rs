//! Two policies made of bytes, and requests made of what they name.

use super::{AT_NANOSECONDS, Request, labels};
use arbitrary::{Result, Unstructured};
use egress_warden::host::{Host, HostPattern};
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

const HOSTS: [&str; 38] = [
    ".a.test",
    ".b.a.test",
    ".any.a.test",
    "a*.a.test",
    "*a.a.test",
    "a*a.a.test",
    "*n*.a.test",
    "b.*.a.test",
    "*.b.*.a.test",
    "*.a*.a.test",
    "a*.b.a.test",
    "*y.b.a.test",
    "xn*.a.test",
    "m*.google.internal",
    "a.test",
    "b.a.test",
    "any.a.test",
    "*.a.test",
    "*.b.a.test",
    "*.c.b.a.test",
    "any",
    "any1",
    "another.invalid",
    "localhost",
    "metadata",
    "x.localhost",
    "*.x.localhost",
    "8.8.8.8",
    "8.8.8.0/24",
    "8.8.8.0/25",
    "8.8.8.8/32",
    "0.0.0.0/0",
    "10.0.0.0/8",
    "10.1.2.3",
    "[2001:db8::1]",
    "2001:db8::/32",
    "::/0",
    "169.254.0.0/16",
];
const PRINCIPALS: [&str; 14] = [
    "other callers",
    "in a namespace",
    "not verified",
    "a/ns/n/sa/x",
    "a/ns/n/*",
    "a/ns/n*",
    "a*",
    "*/sa/x",
    "*n/sa/x",
    "*x",
    "*",
    "~",
    "a/ns/n/sa/*",
    "*s/n/sa/x",
];
const NAMESPACES: [&str; 8] = ["*", "n", "nn", "n*", "*n", "nn*", "a/b", "other namespaces"];
const ACCOUNTS: [&str; 5] = ["n/x", "n/y", "nn/x", "a/x", "n/s"];
const METHODS: [&str; 10] =
    ["GET", "POST", "HEAD", "CONNECT", "OTHER", "foo", "FOO", "Foo", "1", "other"];
/// Templates and encoded slashes: of few policies, as they are compared in another way.
const TEMPLATES: [&str; 13] = [
    "/a/{*}",
    "/{*}/b",
    "/a/{**}",
    "/{**}",
    "/a/{*}/b",
    "/{*}/a/{**}",
    "/a%2fb",
    "/a%2F*",
    "*%2fb",
    "/{*}/a%2fb",
    "/a%2f{*}",
    "/a%2fb*",
    "/%2fa",
];
const PATHS: [&str; 22] = [
    "/a",
    "/a/b",
    "/a/*",
    "/a*",
    "/ab*",
    "/a/b*",
    "*b",
    "*/b",
    "*a/b",
    "*",
    "/",
    "/*",
    "*6E",
    "*E/b",
    "*/",
    "/ab/a",
    "*.b",
    "/a.*",
    "*n",
    "*~",
    "/~*",
    "/other paths",
];
const PARAMETERS: [&str; 3] = ["a", "b", "q q"];
const VALUES: [&str; 9] = ["*", "1", "12", "1*", "*2", "12*", "*12", "a b", "x=1&y"];
const PORTS: [u16; 4] = [80, 443, 22, 65535];
const TIMES: [&str; 4] = [
    "2026-01-01T00:00:00Z",
    "2026-06-01T00:00:00Z",
    "2027-01-01T00:00:00Z",
    "2028-01-01T00:00:00Z",
];

/// Which fields rules may have.
#[derive(Clone, Copy, Debug)]
pub struct Fields {
    pub callers: bool,
    pub ports: bool,
    pub methods: bool,
    pub paths: bool,
    /// Whether paths may be templates and have encoded slashes.
    pub templates: bool,
    pub queries: bool,
}

/// An old and a new policy; the new one is another, or the old one with some of it changed.
pub fn policies(bytes: &mut Unstructured<'_>, fields: Fields) -> Result<[Value; 2]> {
    let old = policy(bytes, fields)?;
    let other = policy(bytes, fields)?;
    if bytes.ratio(1, 4)? {
        return Ok([old, other]);
    }
    let mut new = old.clone();
    for key in ["default", "mode", "identity", "sni"] {
        if bytes.ratio(1, 8)? {
            new[key] = other[key].clone();
        }
    }
    let others = other["rules"].as_array().cloned().unwrap_or_default();
    let mut rules = Vec::new();
    for rule in new["rules"].as_array().into_iter().flatten() {
        match bytes.int_in_range(0..=4)? {
            0 => {}
            1 => rules.push(with_one_change(bytes, rule.clone(), fields)?),
            _ => rules.push(rule.clone()),
        }
    }
    for rule in others {
        if rules.iter().all(|it| it["id"] != rule["id"]) && bytes.ratio(1, 2)? {
            rules.push(rule);
        }
    }
    new["rules"] = rules.into();
    Ok([old, new])
}

fn policy(bytes: &mut Unstructured<'_>, fields: Fields) -> Result<Value> {
    let mut policy = json!({
        "policy": "p",
        "default": bytes.choose(&["deny", "allow"])?,
        "mode": word(bytes, 8, ["monitor", "enforce"])?,
        "identity": word(bytes, 8, ["required", "optional"])?,
        "sni": word(bytes, 6, ["match", "ignore"])?,
    });
    let count = bytes.int_in_range(0..=3)?;
    let rules = (0..count).map(|number| rule(bytes, &format!("r{number}"), fields));
    policy["rules"] = rules.collect::<Result<_>>()?;
    Ok(policy)
}

/// The first word, once in so many times.
fn word(bytes: &mut Unstructured<'_>, once_in: u8, words: [&str; 2]) -> Result<String> {
    Ok(words[usize::from(!bytes.ratio(1, once_in)?)].to_owned())
}

fn rule(bytes: &mut Unstructured<'_>, id: &str, fields: Fields) -> Result<Value> {
    let mut rule = json!({ "id": id, "action": bytes.choose(&["allow", "allow", "deny"])? });
    if bytes.ratio(1, 6)? {
        rule["state"] = (*bytes.choose(&["retiring", "dry-run"])?).into();
    }
    if bytes.ratio(1, 6)? {
        rule["until"] = (*bytes.choose(&TIMES)?).into();
    }
    if fields.callers && bytes.ratio(1, 2)? {
        rule["from"] = entries(bytes, source)?;
    }
    if bytes.ratio(7, 8)? {
        rule["to"] = entries(bytes, |bytes| destination(bytes, fields))?;
    }
    Ok(rule)
}

/// The rule with a list, an entry or its action changed.
fn with_one_change(bytes: &mut Unstructured<'_>, mut rule: Value, fields: Fields) -> Result<Value> {
    let other = self::rule(bytes, "other", fields)?;
    let key = *bytes.choose(&["action", "state", "until", "from", "to", "to", "to", "from"])?;
    let entry = |rule: &Value| rule.get(key).and_then(|it| it.get(0)).cloned();
    match (entry(&rule), entry(&other)) {
        (Some(Value::Object(mut entry)), Some(Value::Object(fields))) => {
            for (field, list) in fields {
                if bytes.ratio(1, 2)? {
                    entry.insert(field, list);
                }
            }
            rule[key][0] = entry.into();
        }
        _ => match other.get(key) {
            Some(value) => rule[key] = value.clone(),
            None => {
                let _ = rule.as_object_mut().map(|rule| rule.remove(key));
            }
        },
    }
    Ok(rule)
}

fn entries(
    bytes: &mut Unstructured<'_>,
    mut entry: impl FnMut(&mut Unstructured<'_>) -> Result<Map<String, Value>>,
) -> Result<Value> {
    let count = *bytes.choose(&[1, 1, 1, 2])?;
    (0..count).map(|_| entry(bytes).map(Value::Object)).collect()
}

fn source(bytes: &mut Unstructured<'_>) -> Result<Map<String, Value>> {
    let mut entry = Map::new();
    for (key, once_in) in [("principals", 3), ("notPrincipals", 5)] {
        if bytes.ratio(1, once_in)? {
            entry.insert(key.to_owned(), texts(bytes, &PRINCIPALS, "", "a/nsx~")?);
        }
    }
    for (key, once_in) in [("namespaces", 3), ("notNamespaces", 5)] {
        if bytes.ratio(1, once_in)? {
            entry.insert(key.to_owned(), texts(bytes, &NAMESPACES, "", "nm~")?);
        }
    }
    for (key, once_in) in [("serviceAccounts", 4), ("notServiceAccounts", 6)] {
        if bytes.ratio(1, once_in)? || (entry.is_empty() && key == "notServiceAccounts") {
            let count = bytes.int_in_range(1..=2)?;
            let accounts = (0..count).map(|_| Ok(Value::from(*bytes.choose(&ACCOUNTS)?)));
            entry.insert(key.to_owned(), accounts.collect::<Result<_>>()?);
        }
    }
    Ok(entry)
}

fn destination(bytes: &mut Unstructured<'_>, fields: Fields) -> Result<Map<String, Value>> {
    let mut entry = Map::new();
    for (key, is_wanted) in [("hosts", bytes.ratio(3, 4)?), ("notHosts", bytes.ratio(1, 6)?)] {
        if is_wanted {
            entry.insert(key.to_owned(), hosts(bytes)?);
        }
    }
    for (key, once_in) in [("ports", 3), ("notPorts", 6)] {
        if fields.ports && bytes.ratio(1, once_in)? {
            let count = bytes.int_in_range(1..=2)?;
            let ports = (0..count).map(|_| Ok(Value::from(*bytes.choose(&PORTS)?)));
            entry.insert(key.to_owned(), ports.collect::<Result<_>>()?);
        }
    }
    for (key, once_in) in [("methods", 3), ("notMethods", 5)] {
        if fields.methods && bytes.ratio(1, once_in)? {
            let count = bytes.int_in_range(1..=3)?;
            let methods = (0..count).map(|_| Ok(Value::from(*bytes.choose(&METHODS)?)));
            entry.insert(key.to_owned(), methods.collect::<Result<_>>()?);
        }
    }
    for (key, once_in) in [("paths", 2), ("notPaths", 4)] {
        if fields.paths && bytes.ratio(1, once_in)? {
            let mut paths = texts(bytes, &PATHS, "/", "/ab6E.~n")?;
            if fields.templates && bytes.ratio(1, 2)? {
                paths[0] = (*bytes.choose(&TEMPLATES)?).into();
            }
            entry.insert(key.to_owned(), paths);
        }
    }
    for (key, once_in) in [("query", 3), ("notQuery", 5)] {
        if fields.queries && bytes.ratio(1, once_in)? {
            entry.insert(key.to_owned(), query(bytes)?);
        }
    }
    if entry.is_empty() {
        entry.insert("hosts".to_owned(), hosts(bytes)?);
    }
    Ok(entry)
}

fn query(bytes: &mut Unstructured<'_>) -> Result<Value> {
    let count = *bytes.choose(&[1, 1, 2])?;
    let parameters = (0..count).map(|_| {
        let name = (*bytes.choose(&PARAMETERS)?).to_owned();
        Ok((name, texts(bytes, &VALUES, "", "12a")?))
    });
    parameters.collect::<Result<Map<_, _>>>().map(Value::Object)
}

fn hosts(bytes: &mut Unstructured<'_>) -> Result<Value> {
    let count = bytes.int_in_range(1..=3)?;
    let host = |_| match bytes.int_in_range(0..=11)? {
        0 => Ok(format!("*.{}", long_name(bytes.int_in_range(247..=253)?))),
        1 => Ok(format!("{}.{}", bytes.choose(&["a", "b", "any", "_"])?, long_name(251))),
        _ => Ok((*bytes.choose(&HOSTS)?).to_owned()),
    };
    let hosts: Vec<String> = (0..count).map(host).collect::<Result<_>>()?;
    Ok(hosts.into_iter().filter(|it| HostPattern::parse(it).is_ok()).collect())
}

/// A name of so many bytes.
fn long_name(length: usize) -> String {
    let label = "l".repeat(63);
    format!("{label}.{label}.{label}.{}", "m".repeat(length - 3 * 64))
}

/// One to three patterns, of the list or of a few of these letters.
fn texts(
    bytes: &mut Unstructured<'_>,
    known: &[&str],
    start: &str,
    letters: &str,
) -> Result<Value> {
    let letters: Vec<char> = letters.chars().collect();
    let count = *bytes.choose(&[1, 1, 2, 3])?;
    let pattern = |_| {
        if bytes.ratio(3, 4)? {
            return Ok((*bytes.choose(known)?).to_owned());
        }
        let length = bytes.int_in_range(1..=5)?;
        let text: String =
            (0..length).map(|_| Ok(*bytes.choose(&letters)?)).collect::<Result<_>>()?;
        Ok(match bytes.int_in_range(0..=2)? {
            0 => format!("{start}{text}"),
            1 => format!("{start}{text}*"),
            _ => format!("*{text}"),
        })
    };
    (0..count).map(pattern).map(|it: Result<String>| it.map(Value::from)).collect()
}

/// The values that requests are made of, all from what two policies name.
#[derive(Debug)]
pub struct Universe {
    pub hosts: Vec<String>,
    pub ports: Vec<(Option<u16>, Option<u16>)>,
    pub methods: Vec<String>,
    pub paths: Vec<Option<String>>,
    /// Behind the path.
    pub queries: Vec<String>,
    pub principals: Vec<Option<String>>,
    pub server_names: Vec<Option<String>>,
    pub times: Vec<u64>,
}

/// xorshift64*: enough for a choice, and the same on every machine.
#[derive(Debug)]
pub struct Dice(pub u64);

impl Dice {
    pub fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let high = self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33;
        usize::try_from(high).unwrap() % sides
    }

    pub fn one<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.roll(of.len())]
    }
}

impl Universe {
    /// All values of a few parts each that two policies can tell apart, and others.
    pub fn of(policies: [&Value; 2]) -> Self {
        let rules = || policies.into_iter().flat_map(|it| it["rules"].as_array().unwrap());
        let all = |list: &'static str, keys: [&'static str; 2]| -> BTreeSet<String> {
            let entries = rules().flat_map(|rule| rule[list].as_array().into_iter().flatten());
            entries.flat_map(|entry| keys.map(|key| labels::texts(&entry[key])).concat()).collect()
        };
        let has = |list: &'static str, key: &'static str| {
            rules().flat_map(|rule| rule[list].as_array().into_iter().flatten()).any(|entry| {
                let not = format!("not{}{}", key[..1].to_uppercase(), &key[1..]);
                entry.get(key).is_some() || entry.get(&not).is_some()
            })
        };
        let asks_for_server_names = policies.iter().any(|it| it["sni"] == "match");
        let asks_for_callers = policies.iter().any(|it| it["identity"] == "required");
        let hosts = hosts_of(&all("to", ["hosts", "notHosts"]));
        let server_names = match asks_for_server_names {
            true => {
                let others = [None, Some(String::new()), Some("another.invalid".to_owned())];
                others.into_iter().chain(hosts.iter().take(4).cloned().map(Some)).collect()
            }
            false => vec![None],
        };
        let (n, y) = (None, Some(443));
        let ports = match has("to", "ports") {
            true => vec![
                (n, n),
                (y, n),
                (n, y),
                (Some(80), n),
                (Some(22), Some(22)),
                (y, Some(22)),
                (Some(7), n),
                (Some(65535), n),
            ],
            false => vec![(y, n), (n, n)],
        };
        let principals = match rules().any(|rule| rule.get("from").is_some()) || asks_for_callers {
            true => principals_of(
                &all("from", ["principals", "notPrincipals"]),
                &all("from", ["namespaces", "notNamespaces"]),
                &all("from", ["serviceAccounts", "notServiceAccounts"]),
            ),
            false => vec![None],
        };
        let paths = match has("to", "paths") {
            true => paths_of(&all("to", ["paths", "notPaths"])),
            false => vec![Some("/".to_owned())],
        };
        let parameters = rules().flat_map(|rule| rule["to"].as_array().into_iter().flatten());
        let parameters = parameters.flat_map(|entry| [&entry["query"], &entry["notQuery"]]);
        let queries = queries_of(parameters.filter_map(Value::as_object).flatten());
        let times = match rules().any(|rule| rule.get("until").is_some()) {
            true => {
                let later = TIMES.map(labels::nanoseconds);
                let at = [AT_NANOSECONDS, AT_NANOSECONDS + 1, u64::MAX];
                let times = later.iter().flat_map(|it| [it - 1, *it]).chain(at);
                times.filter(|it| *it >= AT_NANOSECONDS).collect()
            }
            false => vec![AT_NANOSECONDS],
        };
        let methods = methods_of(&all("to", ["methods", "notMethods"]));
        Self { hosts, ports, methods, paths, queries, principals, server_names, times }
    }

    /// One request by chance, or with `is_connection` a connection.
    pub fn pick(&self, dice: &mut Dice, is_connection: bool) -> Request {
        let (port, cluster_port) = *dice.one(&self.ports);
        Request {
            host: dice.one(&self.hosts).clone(),
            port: if is_connection && cluster_port.is_none() { None } else { port },
            cluster_port: if is_connection {
                cluster_port.or(port).or(Some(443))
            } else {
                cluster_port
            },
            method: (!is_connection).then(|| dice.one(&self.methods).clone()),
            path: with_query(dice.one(&self.paths), dice.one(&self.queries))
                .filter(|_| !is_connection),
            principal: dice.one(&self.principals).clone(),
            server_name: dice.one(&self.server_names).clone().filter(|_| !is_connection),
            now: *dice.one(&self.times),
        }
    }

    fn sizes(&self) -> [usize; 8] {
        [
            self.hosts.len(),
            self.ports.len(),
            self.methods.len(),
            self.paths.len(),
            self.queries.len(),
            self.principals.len(),
            self.server_names.len(),
            self.times.len(),
        ]
    }

    /// How many requests there are.
    pub fn size(&self) -> usize {
        self.sizes().iter().product()
    }

    /// Leaves values out by chance until there are no more requests than that.
    pub fn thin(&mut self, most: usize, dice: &mut Dice) {
        fn halve<T>(values: &mut Vec<T>, dice: &mut Dice) {
            for _ in 0..values.len() / 2 {
                values.swap_remove(dice.roll(values.len()));
            }
        }
        while self.size() > most {
            let sizes = self.sizes();
            match sizes.iter().position(|size| Some(size) == sizes.iter().max()) {
                Some(0) => halve(&mut self.hosts, dice),
                Some(1) => halve(&mut self.ports, dice),
                Some(2) => halve(&mut self.methods, dice),
                Some(3) => halve(&mut self.paths, dice),
                Some(4) => halve(&mut self.queries, dice),
                Some(5) => halve(&mut self.principals, dice),
                Some(6) => halve(&mut self.server_names, dice),
                _ => halve(&mut self.times, dice),
            }
        }
    }

    /// Every request there is.
    pub fn requests(&self) -> impl Iterator<Item = Request> {
        let sizes = self.sizes();
        (0..self.size()).map(move |number: usize| {
            let mut rest = number;
            let [host, port, method, path, query, principal, server_name, time] =
                sizes.map(|size| {
                    let at = rest % size;
                    rest /= size;
                    at
                });
            let (port, cluster_port) = self.ports[port];
            Request {
                host: self.hosts[host].clone(),
                port,
                cluster_port,
                method: Some(self.methods[method].clone()),
                path: with_query(&self.paths[path], &self.queries[query]),
                principal: self.principals[principal].clone(),
                server_name: self.server_names[server_name].clone(),
                now: self.times[time],
            }
        })
    }
}

fn with_query(path: &Option<String>, query: &String) -> Option<String> {
    path.as_ref().map(|path| format!("{path}{query}"))
}

/// Queries of the parameters that are asked for, clear and unclear.
fn queries_of<'a>(asked: impl Iterator<Item = (&'a String, &'a Value)>) -> Vec<String> {
    let mut known: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    for (name, values) in asked {
        known.entry(name).or_default().extend(labels::texts(values));
    }
    let mut found = BTreeSet::from([String::new()]);
    let mut parts: Vec<Vec<String>> = Vec::new();
    for (name, patterns) in known {
        let name = name.replace(' ', "+");
        let values: Vec<String> = pieces(&patterns)
            .iter()
            .flat_map(|it| [it.clone(), format!("{it}z"), format!("z{it}"), format!("{it}z{it}")])
            .map(|it| it.replace('&', "%26").replace('=', "%3d").replace(' ', "+"))
            .collect();
        let part: Vec<String> = values.iter().map(|value| format!("{name}={value}")).collect();
        found.extend(part.iter().map(|part| format!("?{part}")));
        for odd in ["#", "&z=1;y=2", ";", "%3b", "%", "%ff", "%00"] {
            found.extend(part.iter().take(2).map(|part| format!("?{part}{odd}")));
        }
        let first = part.first().cloned().unwrap_or_default();
        found.extend([format!("?{name}"), format!("?{first}&{first}"), format!("?z=1;{first}")]);
        parts.push(part);
    }
    for pair in parts.windows(2) {
        let longer = pair[0].iter().flat_map(|one| {
            pair[1]
                .iter()
                .flat_map(move |other| [format!("?{one}&{other}"), format!("?{other}&{one}&{one}")])
        });
        found.extend(longer);
    }
    let first = parts.iter().map(|part| part[0].as_str()).collect::<Vec<_>>().join("&");
    found.insert(format!("?{first}"));
    found.into_iter().collect()
}

fn hosts_of(patterns: &BTreeSet<String>) -> Vec<String> {
    let mut hosts: BTreeSet<String> = BTreeSet::new();
    for pattern in patterns {
        match HostPattern::parse(pattern).expect("a pattern") {
            HostPattern::Name(name) => hosts.extend([name.to_owned(), format!("z.{name}")]),
            HostPattern::Under(apex) | HostPattern::Tree(apex) => {
                let below = ["z.", "any.", "y.z.", ""].map(|labels| format!("{labels}{apex}"));
                hosts.extend(below);
            }
            HostPattern::Glob(glob) => {
                for text in [glob.as_str().to_owned(), format!("y.{}", glob.as_str())] {
                    let runs = ["", "z", "y.z", "a", "b", "an", "xn--p1ai"];
                    hosts.extend(runs.map(|run| text.replace('*', run)));
                    let first = text.replacen('*', "b", 1);
                    hosts.extend(["", "a"].map(|run| first.replace('*', run)));
                }
            }
            HostPattern::Address(address) => hosts.extend(neighbours(address, 128)),
            HostPattern::Block(block) => hosts.extend(neighbours(block.base(), block.length())),
        }
    }
    let others = ["any", "other.test", "x.localhost", "1.1.1.1", "10.0.0.1", "[2606:4700::1]"];
    hosts.extend(others.map(str::to_owned));
    hosts.into_iter().filter(|host| Host::parse(host.as_bytes()).is_ok()).collect()
}

/// The first address of a block, the next, the last, and the one behind the last.
fn neighbours(base: IpAddr, length: u8) -> Vec<String> {
    let addresses: Vec<IpAddr> = match base {
        IpAddr::V4(v4) => {
            let bits = v4.to_bits();
            let last = bits | u32::MAX.checked_shr(length.min(32).into()).unwrap_or(0);
            [bits, bits | 1, last, last.wrapping_add(1)].map(|it| IpAddr::V4(it.into())).into()
        }
        IpAddr::V6(v6) => {
            let bits = v6.to_bits();
            let last = bits | u128::MAX.checked_shr(length.into()).unwrap_or(0);
            [bits, bits | 1, last, last.wrapping_add(1)]
                .map(|it| IpAddr::V6(it.into()).to_canonical())
                .into()
        }
    };
    addresses.into_iter().map(|it| Host::Address(it).canonical().into_owned()).collect()
}

fn methods_of(listed: &BTreeSet<String>) -> Vec<String> {
    let mut methods: BTreeSet<String> =
        ["GET", "CONNECT", "connect", "OTHER"].map(str::to_owned).into();
    for method in listed {
        // Every case of the first four letters.
        for number in 0..16_u32 {
            let spelt = method.chars().zip(0..).map(|(letter, at)| match number >> at & 1 == 1 {
                true => letter.to_ascii_uppercase(),
                false => letter.to_ascii_lowercase(),
            });
            methods.insert(spelt.collect());
        }
        methods.insert(method.clone());
    }
    methods.into_iter().collect()
}

/// What patterns are made of: without their `*`.
fn pieces(patterns: &BTreeSet<String>) -> Vec<String> {
    let bare = |it: &String| {
        let segments = it.replace("{**}", "").replace("{*}", "z");
        segments.replace('*', "")
    };
    let bare: BTreeSet<String> = patterns.iter().map(bare).collect();
    bare.into_iter().chain(["".to_owned()]).collect()
}

fn principals_of(
    principals: &BTreeSet<String>,
    namespaces: &BTreeSet<String>,
    accounts: &BTreeSet<String>,
) -> Vec<Option<String>> {
    let namespaces: Vec<String> = pieces(namespaces)
        .into_iter()
        .flat_map(|it| [it.clone(), format!("{it}q"), format!("q{it}"), format!("{it}q{it}")])
        .collect();
    let pieces = pieces(principals);
    let mut found: BTreeSet<String> = BTreeSet::new();
    for start in &pieces {
        for end in &pieces {
            found.extend([format!("{start}{end}"), format!("{start}q{end}")]);
            found.extend([format!("{start}/ns/{end}"), format!("{start}/sa/{end}")]);
        }
        let in_form = |namespace: &String| {
            [
                format!("q/ns/{namespace}/sa/q"),
                format!("q/ns/{namespace}{start}"),
                format!("{start}{namespace}/sa/q"),
                format!("{start}{namespace}/sa/x"),
                format!("a/ns/{namespace}/sa/x"),
            ]
        };
        found.extend(namespaces.iter().flat_map(in_form));
    }
    let domains = ["a", "q", "a/q"];
    for (namespace, account) in accounts.iter().filter_map(|it| it.split_once('/')) {
        let of = |domain| {
            let account = format!("{domain}/ns/{namespace}/sa/{account}");
            [format!("{account}q"), format!("{account}/q"), account]
        };
        found.extend(domains.into_iter().flat_map(of));
    }
    [None].into_iter().chain(found.into_iter().map(Some)).collect()
}

/// Pairs of pieces, with escapes and cuts in between and in them.
fn paths_of(patterns: &BTreeSet<String>) -> Vec<Option<String>> {
    let pieces = pieces(patterns);
    let between = ["", "q", "/", ";", "/;q", "%71", "%2F", "//", "/q;"];
    let mut found: BTreeSet<String> =
        ["/", "/%", "*", "/..", "//", "/;", "/?q"].map(str::to_owned).into();
    for start in &pieces {
        for end in &pieces {
            for text in between {
                for start in [start.clone(), escaped(start, 0), escaped(start, 1)] {
                    for end in [end.clone(), escaped(end, 0), escaped(end, 1)] {
                        let root = if start.starts_with('/') { "" } else { "/" };
                        found.insert(format!("{root}{start}{text}{end}"));
                    }
                }
            }
        }
    }
    [None].into_iter().chain(found.into_iter().map(Some)).collect()
}

/// The text with one of its characters escaped: the one at this distance from its end.
fn escaped(text: &str, from_end: usize) -> String {
    let at = text.chars().count().checked_sub(from_end + 1);
    let characters = text.chars().zip(0..).map(|(character, index)| match Some(index) == at {
        true => character.to_string().bytes().map(|it| format!("%{it:02X}")).collect(),
        false => character.to_string(),
    });
    characters.collect()
}
