//! Policies and requests made of bytes, from an alphabet so small that they often meet.

use super::Request;
use arbitrary::{Result, Unstructured};
use serde_json::{Map, Value, json};

const NAMES: [&str; 13] = [
    "a.test",
    "b.a.test",
    "c.b.a.test",
    "cd.b.a.test",
    "c-d.bb.a.test",
    "d.c.b.a.test",
    "xn--bcher-kva.b.a.test",
    "other.test",
    "xn--bcher-kva.test",
    "localhost",
    "c.x.localhost",
    "metadata.google.internal",
    "test",
];
const ADDRESSES: [&str; 7] = [
    "8.8.8.8",
    "10.0.0.1",
    "169.254.169.254",
    "192.0.0.9",
    "[2001:4860:4860::8888]",
    "[fd00:ec2::254]",
    "[2001:db8::1]",
];
const WIDE_HOSTS: [&str; 28] = [
    "*.a.test",
    "*.b.a.test",
    "*.c.b.a.test",
    "*.x.localhost",
    "*.google.internal",
    ".a.test",
    ".b.a.test",
    ".x.localhost",
    "c.*.a.test",
    "c*.b.a.test",
    "*d.b.a.test",
    "c*d.*.a.test",
    "*.b*.a.test",
    "*.c*.b.a.test",
    "x*.b.a.test",
    "*-d.b*b.a.test",
    "m*.google.internal",
    "0.0.0.0/0",
    "8.0.0.0/6",
    "8.8.0.0/16",
    "8.8.8.8/32",
    "10.0.0.0/8",
    "169.254.0.0/16",
    "192.0.0.0/24",
    "::/0",
    "2000::/3",
    "fd00::/8",
    "2001:db8::/31",
];
const MALFORMED: [&str; 12] = [
    "",
    ".",
    "a..test",
    "a.test..",
    "-a.test",
    "xn--a.test",
    "b\u{fc}cher.test",
    "8.8.8.8.",
    "0x8.8.8.8",
    "[::1%25lo]",
    "[a.test]",
    "a.test,b.a.test",
];
const PRINCIPALS: [&str; 5] =
    ["d/ns/n/sa/a", "d/ns/m/sa/a", "d/ns/n/sa/b", "d/ns/n/sa/a/x", "e/ns//sa/a"];
const PRINCIPAL_PATTERNS: [&str; 6] =
    ["d/ns/n/sa/a", "d/ns/m/sa/a", "d/ns/n/*", "d*", "*/sa/a", "*"];
const NAMESPACE_PATTERNS: [&str; 5] = ["n", "m", "n*", "*n", "*"];
const SERVICE_ACCOUNTS: [&str; 4] = ["n/a", "m/a", "n/b", "a/n"];
const METHODS: [&str; 7] = ["GET", "POST", "CONNECT", "LIST", "list", "get", "connect"];
const PATH_PATTERNS: [&str; 20] = [
    "/a",
    "/a/*",
    "/a*",
    "/a/b",
    "/a/b/*",
    "*/b",
    "*a",
    "*",
    "/a/{*}",
    "/{*}/b",
    "/a/{*}/b",
    "/{*}/{*}",
    "/a/{**}",
    "/{*}/b/{**}",
    "/{**}",
    "/a%2fb",
    "/a%2F*",
    "*%2fb",
    "/a%2fb/{*}",
    "/{*}/a%2Fb/{**}",
];
const PATH_PARTS: [&str; 22] = [
    "/", "a", "/a", "/b", "/a/b", "//", "%2f", "%2F", "%61", ";x", "/;x", "..", ".", "\\", "%5c",
    "%25", "%00", "?", "#", "%ff", "%3f", "%23",
];
const PARAMETERS: [&str; 4] = ["q", "r", "q r", "q+"];
const VALUE_PATTERNS: [&str; 7] = ["1", "12", "1*", "*2", "*", "1 2", "+1"];
const QUERY_PARTS: [&str; 26] = [
    "q=1", "&", "q=12", "&q", "r=1", "&r=", "q+r=1+2", "q", "=", "1", "2", "+", "%2b", "%20",
    "%71", "%31", ";", "%3b", "%25", "%", "%00", "%ff", "?", "#", "Q=1", "\u{fc}",
];
const TIMES: [&str; 4] = [
    "2026-01-01T00:00:00Z",
    "2027-01-01T00:00:00Z",
    "2028-01-01T00:00:00Z",
    // After what a clock of 64 bits can say.
    "2999-01-01T00:00:00Z",
];

/// A policy that the reader accepts.
pub fn policy(bytes: &mut Unstructured<'_>) -> Result<Value> {
    let mut policy = json!({ "policy": "sample", "default": bytes.choose(&["deny", "allow"])? });
    let settings = [("mode", "monitor", 5), ("identity", "required", 8), ("sni", "match", 6)];
    for (key, word, once_in) in settings {
        if rarely(bytes, once_in)? {
            policy[key] = word.into();
        }
    }
    let count = bytes.int_in_range(0..=6)?;
    // Neither in the order of the ids nor against it: 5 is prime to 7.
    let rules = (0..count).map(|index| rule(bytes, &format!("r{}", index * 5 % 7)));
    policy["rules"] = rules.collect::<Result<_>>()?;
    Ok(policy)
}

fn rule(bytes: &mut Unstructured<'_>, id: &str) -> Result<Value> {
    let mut rule = json!({ "id": id, "action": bytes.choose(&["allow", "allow", "deny"])? });
    if rarely(bytes, 3)? {
        rule["state"] = (*bytes.choose(&["retiring", "dry-run"])?).into();
    }
    if rarely(bytes, 3)? {
        rule["until"] = (*bytes.choose(&TIMES)?).into();
    }
    if rarely(bytes, 4)? {
        rule["from"] = entries(bytes, source)?;
    }
    if bytes.ratio(9, 10)? {
        rule["to"] = entries(bytes, destination)?;
    }
    Ok(rule)
}

/// One to three entries.
fn entries(
    bytes: &mut Unstructured<'_>,
    entry: impl Fn(&mut Unstructured<'_>) -> Result<Map<String, Value>>,
) -> Result<Value> {
    let count = *bytes.choose(&[1, 1, 2, 3])?;
    (0..count).map(|_| entry(bytes).map(Value::Object)).collect()
}

fn source(bytes: &mut Unstructured<'_>) -> Result<Map<String, Value>> {
    let mut entry = Map::new();
    insert(bytes, &mut entry, "principals", 3, &PRINCIPAL_PATTERNS)?;
    insert(bytes, &mut entry, "notPrincipals", 6, &PRINCIPAL_PATTERNS)?;
    insert(bytes, &mut entry, "namespaces", 3, &NAMESPACE_PATTERNS)?;
    insert(bytes, &mut entry, "notNamespaces", 6, &NAMESPACE_PATTERNS)?;
    insert(bytes, &mut entry, "serviceAccounts", 4, &SERVICE_ACCOUNTS)?;
    insert(bytes, &mut entry, "notServiceAccounts", 6, &SERVICE_ACCOUNTS)?;
    if entry.is_empty() {
        entry.insert("principals".to_owned(), list(bytes, &PRINCIPAL_PATTERNS)?);
    }
    Ok(entry)
}

fn destination(bytes: &mut Unstructured<'_>) -> Result<Map<String, Value>> {
    let hosts = [&NAMES[..], &ADDRESSES, &WIDE_HOSTS].concat();
    // The last two are no patterns: a standard method is written in its own case.
    let methods = &METHODS[..5];
    let ports = [80, 443, 8443];
    let mut entry = Map::new();
    insert(bytes, &mut entry, "hosts", 2, &hosts)?;
    insert(bytes, &mut entry, "notHosts", 8, &hosts)?;
    insert(bytes, &mut entry, "ports", 6, &ports)?;
    insert(bytes, &mut entry, "notPorts", 8, &ports)?;
    insert(bytes, &mut entry, "methods", 5, methods)?;
    insert(bytes, &mut entry, "notMethods", 8, methods)?;
    insert(bytes, &mut entry, "paths", 6, &PATH_PATTERNS)?;
    insert(bytes, &mut entry, "notPaths", 8, &PATH_PATTERNS)?;
    for (key, once_in) in [("query", 6), ("notQuery", 8)] {
        if rarely(bytes, once_in)? {
            entry.insert(key.to_owned(), parameters(bytes)?);
        }
    }
    if entry.is_empty() {
        entry.insert("hosts".to_owned(), list(bytes, &hosts)?);
    }
    Ok(entry)
}

/// Inserts a list once in so many times.
fn insert<T: Clone + Into<Value>>(
    bytes: &mut Unstructured<'_>,
    entry: &mut Map<String, Value>,
    key: &str,
    once_in: u8,
    patterns: &[T],
) -> Result<()> {
    if rarely(bytes, once_in)? {
        entry.insert(key.to_owned(), list(bytes, patterns)?);
    }
    Ok(())
}

/// One or two parameters with one to four patterns each.
fn parameters(bytes: &mut Unstructured<'_>) -> Result<Value> {
    let mut asked = Map::new();
    for _ in 0..bytes.int_in_range(1..=2)? {
        let name = (*bytes.choose(&PARAMETERS)?).to_owned();
        asked.insert(name, list(bytes, &VALUE_PATTERNS)?);
    }
    Ok(asked.into())
}

/// One to four patterns.
fn list<T: Clone + Into<Value>>(bytes: &mut Unstructured<'_>, patterns: &[T]) -> Result<Value> {
    let count = bytes.int_in_range(1..=4)?;
    (0..count).map(|_| Ok(bytes.choose(patterns)?.clone().into())).collect()
}

/// True once in so many times, and never of bytes that have run out.
fn rarely(bytes: &mut Unstructured<'_>, once_in: u8) -> Result<bool> {
    Ok(!bytes.ratio(once_in - 1, once_in)?)
}

/// A request, in one spelling or another, now and then malformed.
pub fn request(bytes: &mut Unstructured<'_>) -> Result<Request> {
    let now = bytes.choose(&[None, Some(0), Some(1), Some(2)])?.map(|index: usize| {
        let time = humantime::parse_rfc3339(TIMES[index]).expect("RFC 3339");
        let since_epoch = time.duration_since(std::time::UNIX_EPOCH).expect("after 1970");
        u64::try_from(since_epoch.as_nanos()).expect("before 2554") - u64::from(index == 2)
    });
    let server_name = match bytes.int_in_range(0..=5)? {
        0 => Some(Vec::new()),
        1 => Some(b"outbound_.443_._.a.test".to_vec()),
        2 | 3 => Some(spelling(bytes)?.into_bytes()),
        _ => None,
    };
    Ok(Request {
        authority: authority(bytes)?.into_bytes(),
        method: match rarely(bytes, 20)? {
            true => bytes.choose(&["", "G T", "GET\0"])?.as_bytes().to_vec(),
            false => bytes.choose(&METHODS)?.as_bytes().to_vec(),
        },
        path: match rarely(bytes, 12)? {
            true => None,
            false => Some(path(bytes)?),
        },
        cluster_port: *bytes.choose(&[None, None, Some(80), Some(443), Some(8443)])?,
        principal: match bytes.ratio(2, 7)? {
            true => None,
            false => Some((*bytes.choose(&PRINCIPALS)?).to_owned()),
        },
        server_name,
        now,
        ..Request::default()
    })
}

/// The same at a waypoint.
pub fn request_at_waypoint(bytes: &mut Unstructured<'_>) -> Result<Request> {
    let request = request(bytes)?;
    let cluster = waypoint_cluster(bytes, "http", &request.authority)?;
    Ok(Request { waypoint_cluster: Some(cluster), server_name: None, ..request })
}

/// The name of the cluster that is dialled, in half of them one for the host that is named.
fn waypoint_cluster(bytes: &mut Unstructured<'_>, protocol: &str, named: &[u8]) -> Result<Vec<u8>> {
    let named = String::from_utf8_lossy(named);
    let host = match bytes.int_in_range(0..=5)? {
        0 | 1 => named.clone().into_owned(),
        2 => format!("*.{}", spelling(bytes)?),
        3 => match named.split_once('.') {
            Some((_, apex)) => format!("*.{apex}"),
            None => spelling(bytes)?,
        },
        _ => spelling(bytes)?,
    };
    let host = host.rsplit_once(':').map_or(&*host, |(host, _)| host);
    let port = bytes.choose(&["80", "443", "443", "8443"])?;
    let cluster = match bytes.int_in_range(0..=9)? {
        0 => format!("outbound|{port}||{host}"),
        1 => format!("inbound-vip|{port}|{protocol}/v1|{host}"),
        2 => bytes
            .choose(&["", "encap", "direct-tcp", "inbound|80||", "inbound-vip|0|http|a.test"])?
            .to_string(),
        _ => format!("inbound-vip|{port}|{protocol}|{host}"),
    };
    Ok(cluster.into_bytes())
}

/// A connection, by a server name in one spelling or another, now and then malformed.
pub fn connection(bytes: &mut Unstructured<'_>) -> Result<Request> {
    let Request { principal, now, .. } = request(bytes)?;
    let name = spelling(bytes)?;
    let is_mesh_form = bytes.ratio(1, 3)?;
    let server_name = match bytes.int_in_range(0..=9)? {
        0 => (*bytes.choose(&MALFORMED)?).to_owned(),
        1 => authority(bytes)?,
        2 => format!("outbound_.443_._.{name}"),
        3 => format!("outbound_.8443_.v1_.{name}"),
        4 => {
            const BEGINNINGS: [&str; 4] =
                ["outbound_.443_.", "outbound_.x_._.", "outbound_.", "Outbound_.443_._."];
            bytes.choose(&BEGINNINGS)?.to_string() + &name
        }
        5 => format!("outbound_.443_._.outbound_.443_._.{name}"),
        _ if is_mesh_form => format!("outbound_.443_._.{name}"),
        _ => name,
    };
    Ok(Request {
        authority: server_name.into_bytes(),
        cluster_port: Some(*bytes.choose(&[443, 443, 443, 8443])?),
        is_connection: true,
        is_mesh_form,
        principal,
        now,
        ..Request::default()
    })
}

/// The same at a waypoint, in half of them without a server name.
pub fn connection_at_waypoint(bytes: &mut Unstructured<'_>) -> Result<Request> {
    let connection = connection(bytes)?;
    let cluster = waypoint_cluster(bytes, "tcp", &connection.authority)?;
    let authority = if bytes.ratio(1, 2)? { Vec::new() } else { connection.authority };
    Ok(Request { authority, waypoint_cluster: Some(cluster), is_mesh_form: false, ..connection })
}

fn authority(bytes: &mut Unstructured<'_>) -> Result<String> {
    let host = match rarely(bytes, 16)? {
        true => (*bytes.choose(&MALFORMED)?).to_owned(),
        false => spelling(bytes)?,
    };
    const PORTS: [&str; 16] = [
        "", "", "", "", "", "", ":80", ":80", ":443", ":443", ":443", ":8443", ":8443", ":22",
        ":0", ":080",
    ];
    Ok(format!("{host}{}", bytes.choose(&PORTS)?))
}

/// A host of the alphabet in one of its spellings.
pub fn spelling(bytes: &mut Unstructured<'_>) -> Result<String> {
    let host = match rarely(bytes, 4)? {
        true => *bytes.choose(&ADDRESSES)?,
        false => *bytes.choose(&NAMES)?,
    };
    let quad = host.parse::<std::net::Ipv4Addr>().ok().map(|v4| v4.to_ipv6_mapped().segments());
    Ok(match (bytes.int_in_range(0..=7)?, quad) {
        (4, _) => host.to_ascii_uppercase(),
        (1, None) if !host.starts_with('[') => format!("{host}."),
        (2, None) if !host.starts_with('[') => format!("{}.", host.to_ascii_uppercase()),
        (1, Some(_)) => format!("[::ffff:{host}]"),
        (2, Some([.., high, low])) => format!("[::FFFF:{high:X}:{low:x}]"),
        (3, Some([.., high, low])) => format!("[0:0:0:0:0:ffff:{high:04x}:{low:x}]"),
        _ => host.to_owned(),
    })
}

/// A path of up to six parts, now and then with a query; most start with a slash.
pub fn path(bytes: &mut Unstructured<'_>) -> Result<Vec<u8>> {
    let mut path = if rarely(bytes, 16)? { Vec::new() } else { b"/".to_vec() };
    for _ in 0..bytes.int_in_range(0..=5)? {
        match rarely(bytes, 64)? {
            true => path.push(bytes.arbitrary()?),
            // The parts before the eleventh are those of clear paths.
            false if bytes.ratio(3, 4)? => path.extend(bytes.choose(&PATH_PARTS[..11])?.bytes()),
            false => path.extend(bytes.choose(&PATH_PARTS)?.bytes()),
        }
    }
    if rarely(bytes, 2)? {
        path.push(b'?');
        for _ in 0..bytes.int_in_range(0..=5)? {
            match rarely(bytes, 64)? {
                true => path.push(bytes.arbitrary()?),
                // Those before the seventh are clear.
                false if bytes.ratio(3, 4)? => {
                    path.extend(bytes.choose(&QUERY_PARTS[..7])?.bytes())
                }
                false => path.extend(bytes.choose(&QUERY_PARTS)?.bytes()),
            }
        }
    }
    Ok(path)
}

/// A policy for each pattern, action and form of the conditions on paths and queries.
pub fn path_policies() -> impl Iterator<Item = Value> {
    let paths = PATH_PATTERNS.map(|pattern| json!([pattern]));
    let queries = VALUE_PATTERNS.map(|pattern| json!({ "q": [pattern] }));
    let two = [json!({ "q": ["1*"], "q r": ["1 2"] }), json!({ "q": ["1"], "r": ["*"] })];
    let fields = ["paths", "notPaths"].map(|field| (field, paths.to_vec()));
    let more = ["query", "notQuery"].map(|field| (field, [&queries[..], &two].concat()));
    let actions = [("allow", "deny"), ("deny", "allow")];
    fields.into_iter().chain(more).flat_map(move |(field, conditions)| {
        conditions.into_iter().flat_map(move |condition| {
            actions.map(|(action, default)| {
                let rule = json!({ "id": "r", "action": action, "to": [{ field: condition }] });
                json!({ "policy": "sample", "default": default, "rules": [rule] })
            })
        })
    })
}

/// An address, IPv4 in its mapped form, in one of its spellings.
pub fn address_spelling(bytes: &mut Unstructured<'_>, address: u128) -> Result<String> {
    let groups: Vec<u16> = (0..8).rev().map(|index| (address >> (16 * index)) as u16).collect();
    let quad = std::net::Ipv4Addr::from_bits(address as u32);
    if address >> 32 == 0xffff && bytes.arbitrary()? {
        return Ok(quad.to_string());
    }
    let mut texts = Vec::new();
    for group in &groups {
        let text = match bytes.arbitrary()? {
            true => format!("{group:x}"),
            false => format!("{group:04X}"),
        };
        texts.push(text);
    }
    if bytes.ratio(1, 4)? {
        texts.truncate(6);
        texts.push(quad.to_string());
    }
    // Any run of zero groups may go, not only the longest.
    let from = bytes.int_in_range(0..=5)?;
    let zeros = groups[from..6].iter().take_while(|group| **group == 0).count();
    if zeros == 0 {
        return Ok(format!("[{}]", texts.join(":")));
    }
    let count = bytes.int_in_range(1..=zeros)?;
    Ok(format!("[{}::{}]", texts[..from].join(":"), texts[from + count..].join(":")))
}

/// A policy whose rules differ by their host patterns alone: exact names, and patterns with a `*` or a
/// dot at their start, of an alphabet so small that many match one name.
pub fn policy_of_hosts(bytes: &mut Unstructured<'_>) -> Result<Value> {
    let count = bytes.int_in_range(1..=16)?;
    let rule = |index| {
        let mut entry = json!({ "hosts": hosts(bytes)? });
        if rarely(bytes, 6)? {
            entry["notHosts"] = hosts(bytes)?;
        }
        let action = bytes.choose(&["allow", "allow", "deny"])?;
        Ok(json!({ "id": format!("r{index}"), "action": action, "to": [entry] }))
    };
    let rules: Value = (0..count).map(rule).collect::<Result<_>>()?;
    Ok(json!({ "policy": "sample", "default": "deny", "rules": rules }))
}

fn hosts(bytes: &mut Unstructured<'_>) -> Result<Value> {
    let count = *bytes.choose(&[1, 1, 2, 3])?;
    (0..count).map(|_| host_pattern(bytes).map(Value::from)).collect()
}

/// Up to four labels before the last two, with at most four `*`, of which no two are neighbours.
fn host_pattern(bytes: &mut Unstructured<'_>) -> Result<String> {
    let mut pattern = String::new();
    let count = bytes.int_in_range(0..=4)?;
    let is_tree = rarely(bytes, 5)?;
    for _ in 0..count {
        let label = *bytes.choose(&PATTERN_LABELS)?;
        let stars = pattern.matches('*').count() + label.matches('*').count();
        let has_neighbours = pattern.ends_with("*.") && label.starts_with('*');
        let may_stand = stars <= 4 && !has_neighbours && !(is_tree && label.contains('*'));
        pattern.push_str(if may_stand { label } else { "a" });
        pattern.push('.');
    }
    let tree = if is_tree { "." } else { "" };
    Ok(format!("{tree}{pattern}{}", bytes.choose(&APEXES)?))
}

const APEXES: [&str; 3] = ["x.test", "a.test", "b.a"];
const PATTERN_LABELS: [&str; 18] = [
    "*",
    "*",
    "*",
    "a",
    "b",
    "ab",
    "a*",
    "*a",
    "*b",
    "a*b",
    "b*",
    "*ab*",
    "a-*",
    "*-b",
    "a*a*",
    "xn--bcher-kva",
    "x*",
    "*va",
];

/// A name that a pattern of the alphabet may have been written for.
pub fn name(bytes: &mut Unstructured<'_>) -> Result<String> {
    const LABELS: [&str; 16] = [
        "a",
        "b",
        "ab",
        "ba",
        "aa",
        "aab",
        "abab",
        "a-b",
        "a-a",
        "b-b",
        "xn--bcher-kva",
        "xn",
        "x",
        "va",
        "a--b",
        "test",
    ];
    let count = bytes.int_in_range(0..=5)?;
    let mut name = String::new();
    for _ in 0..count {
        name.push_str(bytes.choose(&LABELS)?);
        name.push('.');
    }
    Ok(name + bytes.choose(&APEXES)?)
}
