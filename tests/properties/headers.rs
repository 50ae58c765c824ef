//! What leaves a request that passes: nothing that a caller sent under a stamped name, under any
//! alias, and each stamp once.

use crate::for_all_bytes;
use arbitrary::{Result, Unstructured};
use egress_warden::config;
use egress_warden::root_id::Connections;
use egress_warden_simulate::{Bytes, Filters, Headers, Request, Subject};
use kit::case::at;
use serde_json::{Map, Value, json};

/// Names that may be stamped; some fall together.
const NAMES: [&str; 9] =
    ["x-a", "x_a", "x.b", "x-b", "x-c", "x~c", "authorization", "x-forwarded-for", "plain_name"];
/// Names that may be removed only.
const REMOVABLE: [&str; 2] = ["proxy-authorization", "te"];
/// What a caller sends: the same in other spellings, and names that are stripped.
const SENT: [&str; 26] = [
    "x-a",
    "x_a",
    "X.A",
    "X-a",
    "x.b",
    "x-b",
    "X_C",
    "authorization",
    "plain-name",
    "plain.name",
    "x-forwarded-for",
    "x_forwarded_for",
    "x-envoy-original-path",
    "x-envoy-original-url",
    "x_envoy_attempt_count",
    "proxy-authorization",
    "Proxy_Authenticate",
    "te",
    "x-other",
    "connection",
    "x~a",
    "X!a",
    "x'b",
    "x|c",
    "plain^name",
    "x+forwarded`for",
];
const VALUES: [&str; 5] =
    ["ours", "{rule}", "{{{host}}}", "{principal}", "{request_id}/{namespace}"];

#[test]
fn what_leaves_carries_each_stamp_once_and_nothing_that_a_caller_forged() {
    for_all_bytes(2_000, |bytes| {
        let mut bytes = Unstructured::new(bytes);
        let policy = policy(&mut bytes).expect("a policy");
        let text = policy.to_string();
        let config =
            config::read(text.as_bytes()).unwrap_or_else(|errors| panic!("{text}\n{errors}"));
        let filters = Filters::new(config, Connections::default());
        for _ in 0..4 {
            let request = request(&mut bytes).expect("a request");
            let outcome = filters.simulate(&Subject::Request(request.clone()), at());
            assert!(outcome.passed, "{text}");
            let expected = naive(&policy, outcome.recorded("rule"), &request);
            let mut left = outcome.headers;
            left.sort();
            assert_eq!(
                shown(&left),
                shown(&expected),
                "{text}\n{:?}",
                shown(&request.header_pairs())
            );
        }
    });
}

/// Strip, remove, set, as the language says it: no index, no thrift.
fn naive(policy: &Value, rule: Option<&str>, request: &Request) -> Headers {
    let rules = policy["rules"].as_array().expect("rules");
    let named = rules.iter().find(|it| it["id"].as_str() == rule);
    let sets = |owner: &Value| owner["stamp"]["set"].as_object().cloned().unwrap_or_default();
    let (own, of_rule) = (sets(policy), named.map(sets).unwrap_or_default());
    let is_named =
        |set: &Map<String, Value>, name: &str| set.keys().any(|key| fold(key) == fold(name));
    let removes = |owner: &Value, name: &str| {
        let names = owner["stamp"]["remove"].as_array().into_iter().flatten();
        names.filter_map(Value::as_str).any(|removed| fold(removed) == fold(name))
    };
    // Or so its caller says: then it may carry what a rule set for another host.
    let is_redirected =
        request.header_pairs().iter().any(|(name, _)| *name == b"x-envoy-original-url");
    let is_reserved = |name: &str| {
        let in_rules = rules.iter().any(|rule| is_named(&sets(rule), name));
        is_named(&own, name) || in_rules && (is_redirected || fold(name).starts_with("x-"))
    };
    let is_stripped = |name: &str| match &*fold(name) {
        "x-envoy-original-url" => true,
        "x-envoy-original-path" | "x-envoy-attempt-count" => policy["strip"]["mesh"] != false,
        "proxy-authorization" | "proxy-authenticate" => policy["strip"]["proxy"] != false,
        "x-forwarded-for" => policy["strip"]["forwarded"] == true,
        _ => false,
    };
    let is_set = |name: &str| is_named(&own, name) || is_named(&of_rule, name);
    let mut headers = Headers::new();
    let mut tokens = Vec::new();
    for (name, value) in request.header_pairs() {
        let text = String::from_utf8(name.clone()).expect("a name");
        let is_gone = is_stripped(&text)
            || removes(policy, &text)
            || named.is_some_and(|rule| removes(rule, &text))
            || is_reserved(&text)
            || is_set(&text);
        if text == "connection" {
            tokens.push(String::from_utf8(value.clone()).expect("tokens"));
        }
        if !is_gone {
            headers.push((name, value));
        }
    }
    // Rewritten only where it names a stamp.
    let tokens: Vec<&str> =
        tokens.iter().flat_map(|value| value.split(',')).map(str::trim).collect();
    if tokens.iter().any(|token| is_set(token)) {
        let is_kept = |token: &&str| !token.is_empty() && !is_set(token);
        let kept: Vec<&str> = tokens.into_iter().filter(is_kept).collect();
        headers.retain(|(name, _)| name != b"connection");
        if !kept.is_empty() {
            headers.push((b"connection".to_vec(), kept.join(", ").into()));
        }
    }
    let is_left = |(name, _): &(&String, &Value)| !is_named(&of_rule, name);
    for (name, value) in own.iter().filter(is_left).chain(&of_rule) {
        let value = value.as_str().expect("a text");
        if let Some(value) = rendered(value, rule, request) {
            headers.push((name.clone().into(), value.into()));
        }
    }
    headers.sort();
    headers
}

fn fold(name: &str) -> String {
    name.to_ascii_lowercase().replace(|c: char| !c.is_ascii_alphanumeric(), "-")
}

/// The values of [`VALUES`]; absent where a fact is.
fn rendered(value: &str, rule: Option<&str>, request: &Request) -> Option<String> {
    let principal = request.principal.as_deref();
    let id = request.headers.iter().find(|(name, _)| name == "x-request-id");
    Some(match value {
        "{rule}" => rule?.to_owned(),
        "{{{host}}}" => "{a.test}".to_owned(),
        "{principal}" => principal?.to_owned(),
        "{request_id}/{namespace}" => {
            let namespace = principal?.split('/').nth(2)?;
            format!("{}/{namespace}", String::from_utf8_lossy(&id?.1.0))
        }
        literal => literal.to_owned(),
    })
}

fn shown(headers: &Headers) -> Vec<String> {
    let line = |(name, value): &(Vec<u8>, Vec<u8>)| {
        format!("{}: {}", name.escape_ascii(), value.escape_ascii())
    };
    headers.iter().map(line).collect()
}

/// Two rules, one of which may match, and stamps on three levels.
fn policy(bytes: &mut Unstructured<'_>) -> Result<Value> {
    let mut rules = Vec::new();
    for (id, host) in [("one", "a.test"), ("two", "b.test")] {
        let mut rule = json!({ "id": id, "action": "allow", "to": [{ "hosts": [host] }] });
        if let Some(stamp) = stamp(bytes)? {
            rule["stamp"] = stamp;
        }
        rules.push(rule);
    }
    if bytes.ratio(1, 4)? {
        rules.remove(0);
    }
    let mut policy = json!({ "policy": "p", "default": "allow", "rules": rules });
    if let Some(stamp) = stamp(bytes)? {
        policy["stamp"] = stamp;
    }
    let mut strip = Map::new();
    for group in ["mesh", "proxy", "forwarded"] {
        if let Some(is_stripped) = bytes.arbitrary::<Option<bool>>()? {
            strip.insert(group.to_owned(), is_stripped.into());
        }
    }
    policy["strip"] = strip.into();
    Ok(policy)
}

/// Each name set, removed or neither; of those that fall together one.
fn stamp(bytes: &mut Unstructured<'_>) -> Result<Option<Value>> {
    let (mut set, mut remove, mut taken) = (Map::new(), Vec::new(), Vec::new());
    for name in NAMES {
        let action = bytes.int_in_range(0..=3)?;
        if action < 2 || taken.contains(&fold(name)) {
            continue;
        }
        taken.push(fold(name));
        match action {
            2 => remove.push(name),
            _ => {
                set.insert(name.to_owned(), (*bytes.choose(&VALUES)?).into());
            }
        }
    }
    for name in REMOVABLE {
        if bytes.ratio(1, 4)? {
            taken.push(name.to_owned());
            remove.push(name);
        }
    }
    Ok((!taken.is_empty()).then(|| json!({ "set": set, "remove": remove })))
}

fn request(bytes: &mut Unstructured<'_>) -> Result<Request> {
    let mut headers = Vec::new();
    for _ in 0..bytes.int_in_range(0..=8)? {
        let name = *bytes.choose(&SENT)?;
        let value = match name {
            "connection" => *bytes.choose(&[
                "x-a",
                "close, X_A , x-b",
                "x.c",
                "upgrade",
                "authorization,x-a",
                ",x&b,, upgrade,",
            ])?,
            _ => *bytes.choose(&["forged", "", "ours"])?,
        };
        headers.push((name.to_owned(), Bytes(value.into())));
    }
    if bytes.arbitrary()? {
        headers.push(("x-request-id".to_owned(), Bytes(b"id-1".to_vec())));
    }
    let principal: Option<&str> = *bytes.choose(&[None, Some("d/ns/n/sa/a")])?;
    Ok(Request {
        authority: Some(Bytes(b"A.test.:443".to_vec())),
        principal: principal.map(str::to_owned),
        headers,
        ..Request::default()
    })
}
