//! What holds of every record and of every answer.

use egress_warden::answer::Subject;
use egress_warden::config::Config;
use egress_warden::policy::{Decision, Request};
use egress_warden::record::{Details, Record};
use egress_warden::time::Time;
use serde::de::{Deserialize, Deserializer, Error, MapAccess, Visitor};
use std::collections::BTreeMap;
use std::fmt;

/// Longest string, in bytes.
const MAX_TEXT: usize = 1024;

/// One JSON object: unique keys, each with a string or a number.
#[derive(Debug)]
pub struct Line(pub BTreeMap<String, serde_json::Value>);

impl Line {
    /// Reads a text that must be one line of strict JSON, and whose strings are cut.
    pub fn read(text: &str) -> Self {
        let is_break = |c: char| c.is_control() || "\u{2028}\u{2029}".contains(c);
        assert!(!text.contains(is_break), "not one line: {text:?}");
        let line: Self =
            serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"));
        for (key, value) in &line.0 {
            match value {
                serde_json::Value::String(text) => assert!(text.len() <= MAX_TEXT, "{key}"),
                value => assert!(value.is_u64(), "{key}: {value}"),
            }
        }
        line
    }

    fn text(&self, key: &str) -> Option<&str> {
        self.0.get(key)?.as_str()
    }
}

impl<'de> Deserialize<'de> for Line {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members;

        impl<'de> Visitor<'de> for Members {
            type Value = Line;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Line, A::Error> {
                let mut line = BTreeMap::new();
                while let Some((key, value)) = members.next_entry::<String, _>()? {
                    if line.insert(key.clone(), value).is_some() {
                        return Err(A::Error::custom(format_args!("`{key}` stands there twice")));
                    }
                }
                Ok(Line(line))
            }
        }

        deserializer.deserialize_map(Members)
    }
}

/// Writes the record and the answer of a request with these facts, and checks that they are one
/// line of strict JSON each, that no fact changed another, and that each is cut as promised.
pub fn check(config: &Config, facts: [&[u8]; 8]) {
    let [authority, method, path, principal, address, server_name, request_id, clock] = facts;
    let request = Request { path: Some(path), ..Request::new(authority, method) };
    let decision: Decision = config.policy.decide(&request);
    let record = Record::new(decision, &config.policy, &config.revision);
    let host = request.authority.as_ref().ok().map(|authority| authority.host.canonical());
    let clock = clock.first_chunk().map(|bytes| Time::of_nanoseconds(u64::from_le_bytes(*bytes)));
    let details = Details {
        start_time: clock,
        host: host.as_deref(),
        authority: Some(authority),
        dialled_host: host.as_deref(),
        port: request.authority.as_ref().ok().and_then(|authority| authority.port),
        method: Some(method),
        path: Some(path),
        source_principal: Some(principal),
        downstream_remote_address: Some(address),
        downstream_local_address: Some(address),
        requested_server_name: Some(server_name),
        request_id: Some(request_id),
    };
    let line = Line::read(&record.line(&details));
    let without_query = path.split(|&byte| byte == b'?').next();
    for (key, sent) in [
        ("authority", Some(authority)),
        ("method", Some(method)),
        ("path", without_query),
        ("source_principal", Some(principal)),
        ("downstream_remote_address", Some(address)),
        ("downstream_local_address", Some(address)),
        ("requested_server_name", Some(server_name)),
        ("request_id", Some(request_id)),
    ] {
        assert_eq!(line.text(key), sent.map(cut).as_deref(), "{key}");
    }
    for (key, value) in record.filter_state() {
        assert_eq!(line.text(key), Some(value), "{key}");
    }
    assert_eq!(line.text("egress_decision"), Some(decision.verdict.action.as_str()));
    assert_eq!(line.text("host"), host.as_deref());
    assert_eq!(line.text("dialled_host"), host.as_deref());

    let subject = Subject {
        host: host.as_deref(),
        rule: record.rule(),
        policy: &config.name,
        request_id: Some(request_id),
    };
    let answer = Line::read(&config.answer.body(&decision.verdict, &subject));
    assert_eq!(answer.text("error"), Some("egress_denied"));
    assert_eq!(answer.text("reason"), Some(decision.verdict.reason.as_str()));
    assert_eq!(answer.text("request_id"), Some(&*cut(request_id)));
}

/// What is recorded of bytes: U+FFFD for what is not UTF-8, then at most so many bytes of whole
/// characters.
fn cut(bytes: &[u8]) -> String {
    let mut text = String::from_utf8_lossy(bytes).into_owned();
    while text.len() > MAX_TEXT {
        text.pop();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::{Line, check};
    use crate::for_all_bytes;
    use arbitrary::{Result, Unstructured};
    use egress_warden::config;
    use egress_warden::root_id::Connections;
    use egress_warden_simulate::time::Clock;
    use egress_warden_simulate::{Bytes, Filters, Request, Subject};
    use kit::case::at;
    use kit::naive::sample;

    /// What facts are made of, beside any byte.
    const PARTS: [&[u8]; 24] = [
        b"a",
        b"\"",
        b"\\",
        b"\r",
        b"\n",
        b"\t",
        b"\0",
        b"\x1b[0m",
        b"\x7f",
        b"</script>",
        b"?",
        b"#",
        b",",
        b"x\",\"egress_decision\":\"allow",
        "\u{2028}".as_bytes(),
        "\u{85}".as_bytes(),
        "\u{1f4a1}".as_bytes(),
        b"\xff",
        b"\xc3",
        b"\xed\xa0\x80",
        b"\xf0\x9f\x92",
        &[b'a'; 1021],
        &[b'"'; 1024],
        &[0xff; 400],
    ];

    #[test]
    fn any_facts_make_one_line_of_strict_json_each() {
        let text =
            br#"{"policy":"p","rules":[{"id":"r","action":"allow","to":[{"hosts":["a.test"]}]}]}"#;
        let config = config::read(text).expect("a policy");
        for_all_bytes(1_500, |bytes| {
            let mut bytes = Unstructured::new(bytes);
            let facts: [Vec<u8>; 8] = std::array::from_fn(|_| fact(&mut bytes).expect("a fact"));
            check(&config, facts.each_ref().map(Vec::as_slice));
        });
    }

    fn fact(bytes: &mut Unstructured<'_>) -> Result<Vec<u8>> {
        let mut fact = Vec::new();
        for _ in 0..bytes.int_in_range(0..=5)? {
            match bytes.ratio(15, 16)? {
                true => fact.extend(*bytes.choose(&PARTS)?),
                false => fact.push(bytes.arbitrary()?),
            }
        }
        Ok(fact)
    }

    #[test]
    fn every_request_leaves_one_record_whatever_becomes_of_it() {
        for_all_bytes(1_000, |bytes| {
            let mut bytes = Unstructured::new(bytes);
            let mut policy = sample::policy(&mut bytes).expect("a policy");
            let logs = bytes.choose(&["all", "denied", "none"]).expect("a word");
            policy["log"] = serde_json::json!({ "requests": logs });
            let text = policy.to_string();
            let config = config::read(text.as_bytes()).expect("a policy");
            let filters = Filters::new(config, Connections::default());
            for _ in 0..4 {
                let request = request(&mut bytes).expect("a request");
                let outcome = filters.simulate(&Subject::Request(request), at());
                let state = |wanted: &str| {
                    let mut values = outcome.filter_state.iter().filter(|(key, _)| key == wanted);
                    let value = values.next().map(|(_, value)| value.as_str());
                    assert!(values.next().is_none(), "{wanted} is set twice");
                    value
                };
                let decision = if outcome.passed { "allow" } else { "deny" };
                assert_eq!(state("egress_decision"), Some(decision));
                assert_eq!(outcome.answers.len(), usize::from(!outcome.passed));
                for answer in outcome.answers.iter().filter(|answer| answer.grpc_status.is_none()) {
                    Line::read(std::str::from_utf8(&answer.body).expect("UTF-8"));
                }
                let counted = |kind: &str| -> u64 {
                    let counters = outcome.counters.iter();
                    let counters = counters.filter(|(name, _)| name.starts_with(kind));
                    counters.map(|(_, count)| count).sum()
                };
                let would = state("egress_would");
                assert_eq!(counted("egress_warden.requests."), 1);
                assert_eq!(counted("egress_warden.would."), u64::from(would.is_some()));
                let is_refusal = !outcome.passed || would == Some("deny");
                let is_logged = *logs == "all" || *logs == "denied" && is_refusal;
                assert_eq!(outcome.lines.len(), usize::from(is_logged), "{text}");
                for (_, text) in &outcome.lines {
                    let line = Line::read(text);
                    assert_eq!(line.text("egress_decision"), Some(decision));
                    assert_eq!(line.text("egress_would"), would);
                }
            }
        });
    }

    /// A sample of few hosts and any bytes elsewhere.
    fn request(bytes: &mut Unstructured<'_>) -> Result<Request> {
        let sample = sample::request(bytes)?;
        let authority = if bytes.ratio(7, 8)? { sample.authority } else { fact(bytes)? };
        let mut headers = Vec::new();
        for name in ["x-request-id", "content-type", "upgrade", "x-envoy-original-path"] {
            if bytes.arbitrary()? {
                headers.push((name.to_owned(), Bytes(fact(bytes)?)));
            }
        }
        if bytes.ratio(1, 8)? {
            headers.push(("content-type".to_owned(), Bytes(b"application/grpc".to_vec())));
        }
        Ok(Request {
            authority: bytes.ratio(15, 16)?.then_some(Bytes(authority)),
            method: Some(Bytes(sample.method)),
            path: Some(Bytes(fact(bytes)?)),
            principal: sample.principal,
            cluster: sample.cluster_port.map(|port| format!("outbound|{port}||a.test")),
            tls: sample.server_name.is_some(),
            sni: sample.server_name.map(Bytes),
            remote_address: Some(Bytes(fact(bytes)?)),
            headers,
            at: Some(match sample.now {
                Some(_) => Clock::At("2027-01-01T00:00:00Z".parse().expect("a time")),
                None => Clock::Unreadable,
            }),
            ..Request::default()
        })
    }
}
