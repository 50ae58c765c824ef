//! A logged request as one line of JSON: the key by which equal requests are counted, and what is kept
//! of them once the log is gone.

use super::ending::Ending;
use super::line::{Field, Fields, Form, Logged};
use super::prefix::Prefix;
use egress_warden::policy::Action;
use egress_warden::time::Time;
use serde::{Deserialize, Deserializer, Serialize};
use std::borrow::Cow;

/// All that a verdict on a logged request depends on, and all that its log tells of one, but for the time.
///
/// Its keys are those of Envoy's access log as it is shipped, and stand for the same of every form of
/// lines; what a line does not say is left out. A connection's verdict stands under the keys of a
/// request's. What the line says in many ways, how it ended, is said in one word.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Record<'a> {
    /// The form of the line.
    log: Form,
    ending: Ending,
    /// Whether it is a connection that was not terminated.
    #[serde(default, skip_serializing_if = "is_false")]
    connection: bool,
    /// Whether its line has no time that can be read.
    #[serde(default, skip_serializing_if = "is_false")]
    undated: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    authority: Text<'a>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    method: Text<'a>,
    /// Absent too where the line has only its beginning.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    path: Text<'a>,
    /// `null` where the log has a place for the caller, and nothing in it.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "there")]
    source_principal: Option<Text<'a>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    requested_server_name: Text<'a>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    upstream_cluster: Text<'a>,
    /// Of a connection without a server name: where it went.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    upstream_host: Text<'a>,
    /// The other host that was dialled at a waypoint, in the filter's line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    dialled_host: Text<'a>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    port: Option<u16>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    egress_decision: Text<'a>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    egress_rule: Text<'a>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    egress_reason: Text<'a>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    egress_would: Text<'a>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    egress_would_rule: Text<'a>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    egress_would_reason: Text<'a>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    egress_policy: Text<'a>,
}

/// A value of a record.
type Text<'a> = Option<Cow<'a, str>>;

fn is_false(flag: &bool) -> bool {
    !flag
}

/// Tells a key with `null` from one that is left out.
fn there<'a, 'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Text<'a>>, D::Error> {
    Deserialize::deserialize(deserializer).map(Some)
}

impl<'a> Record<'a> {
    fn of(logged: &'a Logged<'_>) -> Self {
        let said = |field: &'a Field<'_>| field.said().map(Cow::Borrowed);
        let Logged { fields, form, is_connection, .. } = logged;
        let of_request = |field| if *is_connection { None } else { said(field) };
        let is_nameless = *is_connection && logged.authority().is_empty();
        let (told, would) = (logged.told(), logged.would());
        let decided = logged.verdict().filter(|_| form.is_of_others());
        let caller = &fields.source_principal;
        Self {
            log: *form,
            ending: logged.ending(),
            connection: *is_connection,
            undated: logged.time().is_none(),
            authority: of_request(&fields.authority),
            method: of_request(&fields.method),
            path: logged.path().filter(|_| !is_connection).map(Cow::Borrowed),
            source_principal: caller.has_key().then(|| said(caller)),
            requested_server_name: said(&fields.requested_server_name),
            upstream_cluster: said(&fields.upstream_cluster),
            upstream_host: if is_nameless { said(&fields.upstream_host) } else { None },
            dialled_host: said(&fields.dialled_host).filter(|_| *form == Form::Filter),
            port: fields.port.number(),
            egress_decision: match decided {
                Some(verdict) => Some(verdict.action.as_str().into()),
                None => said(told.decision),
            },
            egress_rule: said(told.rule),
            egress_reason: match decided {
                Some(verdict) => Some(verdict.reason.into()),
                None => said(told.reason),
            },
            egress_would: would.map(|it| it.action.as_str().into()),
            egress_would_rule: would.and_then(|it| it.rule).map(Cow::Borrowed),
            egress_would_reason: said(logged.told_of_would().reason),
            egress_policy: said(&fields.egress_policy),
        }
    }

    /// Whether its line had no time that could be read.
    pub(crate) fn is_undated(&self) -> bool {
        self.undated
    }

    /// What others decided; none where the filter did.
    fn decided(&self) -> Option<Action> {
        let is = |action: Action| self.egress_decision.as_deref() == Some(action.as_str());
        let decided = [Action::Allow, Action::Deny].into_iter().find(|action| is(*action));
        decided.filter(|_| self.log.is_of_others())
    }
}

impl<'a> Logged<'a> {
    /// The request as one line of JSON without its time: equal ones are those on which every policy
    /// decides the same at the same time, and of which the log tells the same. [`Self::of_record`] reads
    /// it again.
    pub(crate) fn record(&self) -> String {
        // INVARIANT: texts and numbers are JSON.
        serde_json::to_string(&Record::of(self)).unwrap_or_default()
    }

    /// The same with `?` in the place of a query, and without what stands around a host: secrets stand
    /// there.
    pub(crate) fn record_without_query(&self) -> String {
        let mut record = Record::of(self);
        if let Some((path, _)) = record.path.as_deref().and_then(|it| it.split_once('?')) {
            record.path = Some(format!("{path}?").into());
        }
        record.authority = record.authority.map(|it| without_secrets(&it).to_owned().into());
        // INVARIANT: texts and numbers are JSON.
        serde_json::to_string(&record).unwrap_or_default()
    }

    /// The request that a record tells of, at a time.
    pub(crate) fn of_record(record: Record<'a>, time: Option<Time>) -> Self {
        let (decided, is_connection) = (record.decided(), record.connection);
        let decision = Field::of_record(record.egress_decision);
        let rule = Field::of_record(record.egress_rule);
        let reason = Field::of_record(record.egress_reason);
        let would = Field::of_record(record.egress_would);
        let would_rule = Field::of_record(record.egress_would_rule);
        let would_reason = Field::of_record(record.egress_would_reason);
        let told = match is_connection {
            true => Fields {
                egress_connection_decision: decision,
                egress_connection_rule: rule,
                egress_connection_reason: reason,
                egress_connection_would: would,
                egress_connection_would_rule: would_rule,
                egress_connection_would_reason: would_reason,
                ..Fields::default()
            },
            false => Fields {
                egress_decision: decision,
                egress_rule: rule,
                egress_reason: reason,
                egress_would: would,
                egress_would_rule: would_rule,
                egress_would_reason: would_reason,
                ..Fields::default()
            },
        };
        let fields = Fields {
            authority: Field::of_record(record.authority),
            dialled_host: Field::of_record(record.dialled_host),
            method: Field::of_record(record.method),
            path: Field::of_record(record.path),
            upstream_cluster: Field::of_record(record.upstream_cluster),
            requested_server_name: Field::of_record(record.requested_server_name),
            source_principal: match record.source_principal {
                None => Field::Unsaid,
                Some(None) => Field::Absent,
                Some(principal) => Field::of_record(principal),
            },
            egress_policy: Field::of_record(record.egress_policy),
            port: record.port.map_or(Field::Unsaid, |port| Field::Number(port.into())),
            upstream_host: Field::of_record(record.upstream_host),
            ..told
        };
        Self {
            prefix: Prefix::NONE,
            form: record.log,
            fields,
            is_connection,
            time,
            decided,
            ending: Some(record.ending),
        }
    }
}

/// What was sent as a host, without a user and a password before it and a path or query after it. What had
/// one of these is malformed, and stays so.
pub(crate) fn without_secrets(authority: &str) -> &str {
    let (user, end) = (authority.rfind('@'), authority.find(['/', '?', '#']));
    let range = match (user, end) {
        // Where the host ends cannot be told.
        (Some(at), Some(end)) if end < at => at..at + 1,
        _ => user.unwrap_or_default()..end.map_or(authority.len(), |it| it + 1),
    };
    authority.get(range).unwrap_or_default()
}

/// Asserts that the record of a request is read again as what its line was.
#[cfg(test)]
pub(super) fn assert_read_again(logged: &Logged<'_>) {
    use egress_warden::policy::Reads;
    use egress_warden::root_id::Connections;
    let text = logged.record();
    let record: Record<'_> = serde_json::from_str(&text).expect(&text);
    assert_eq!(record.is_undated(), logged.time().is_none(), "{text}");
    let again = Logged::of_record(record, logged.time());
    let told = |it: &Logged<'_>| {
        let of_log = (it.form(), it.is_connection(), it.has_caller_field(), it.time());
        let verdicts = format!("{:?} {:?} {:?}", it.verdict(), it.would(), it.policy());
        let way = format!("{:?} {:?} {:?}", it.ending(), it.cluster(), it.hop(None));
        (of_log, it.principal().map(str::to_owned), verdicts, way)
    };
    assert_eq!(told(&again), told(logged), "{text}");
    if logged.is_connection() && logged.authority().is_empty() {
        assert_eq!(again.upstream(), logged.upstream(), "{text}");
    }
    let every = Reads { principal: true, cluster: true, clock: true, server_name: true };
    let mesh = Connections::of_root_id(b"connections:8443:mesh-names");
    let mesh = mesh.ok().flatten().expect("a root id");
    for reads in [every, Reads::default()] {
        for connections in [Connections::default(), mesh] {
            let request = |it: &Logged<'_>| format!("{:?}", it.request(reads, connections));
            assert_eq!(request(&again), request(logged), "{text}");
        }
    }
    assert_eq!(again.record(), text);
}

#[cfg(test)]
mod tests {
    use super::super::Choice;
    use super::super::reader::Reader;
    use super::*;
    use egress_warden::host::Authority;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    /// The records of a line.
    fn records(line: &str) -> Vec<String> {
        let mut records = Vec::new();
        Reader::new(&Choice::default()).read(line.as_bytes(), &mut |read| {
            if let Ok(logged) = read {
                assert_read_again(&logged);
                records.push(logged.record());
            }
        });
        records
    }

    fn record(line: &str) -> Value {
        let records = records(line);
        assert_eq!(records.len(), 1, "{line}: {records:?}");
        serde_json::from_str(&records[0]).expect(line)
    }

    #[test]
    fn a_record_has_the_keys_of_the_shipped_access_log() {
        for (line, expected) in [
            (
                r#"{"start_time":"2026-11-25T03:00:00.123Z","method":"POST","path":"/v1?x=1","authority":"API.Stripe.com:443","response_code":200,"upstream_cluster":"outbound|443||api.stripe.com","upstream_host":"192.0.2.1:443","requested_server_name":"api.stripe.com","source_principal":"spiffe://cluster.local/ns/pay/sa/api","egress_decision":"allow","egress_rule":"stripe","egress_reason":null,"egress_policy":"p@0","egress_would":"deny","egress_would_rule":"later","duration":12}"#,
                json!({
                    "log": "access_log", "ending": "passed_on", "method": "POST",
                    "path": "/v1?x=1", "authority": "API.Stripe.com:443",
                    "upstream_cluster": "outbound|443||api.stripe.com",
                    "requested_server_name": "api.stripe.com",
                    "source_principal": "spiffe://cluster.local/ns/pay/sa/api",
                    "egress_decision": "allow", "egress_rule": "stripe", "egress_policy": "p@0",
                    "egress_would": "deny", "egress_would_rule": "later",
                }),
            ),
            (
                r#"{"bytes_received":300,"bytes_sent":9,"egress_connection_decision":"deny","egress_connection_reason":"malformed","requested_server_name":"-","response_flags":"-","source_principal":null,"upstream_cluster":"-","upstream_host":"192.0.2.1:443"}"#,
                json!({
                    "log": "access_log", "ending": "refused", "connection": true, "undated": true,
                    "source_principal": null, "upstream_host": "192.0.2.1:443",
                    "egress_decision": "deny", "egress_reason": "malformed",
                }),
            ),
            (
                r#"{"egress_decision":"deny","egress_reason":"default","egress_policy":"p@0","start_time":"2026-11-25T03:00:00.123Z","host":"denied.example","authority":"denied.example","port":80,"method":"GET","path":"/"}"#,
                json!({
                    "log": "filter", "ending": "refused", "authority": "denied.example",
                    "method": "GET", "path": "/", "port": 80, "egress_decision": "deny",
                    "egress_reason": "default", "egress_policy": "p@0",
                }),
            ),
            (
                "1772439530.193    120 10.0.0.7 TCP_DENIED/403 3900 CONNECT a.test:443 - HIER_NONE/- text/html",
                json!({
                    "log": "squid", "ending": "refused", "connection": true, "port": 443,
                    "requested_server_name": "a.test", "egress_decision": "deny",
                    "egress_reason": "refused_by_squid",
                }),
            ),
        ] {
            assert_eq!(record(line), expected, "{line}");
        }
    }

    #[test]
    fn lines_that_differ_in_time_bytes_or_status_have_one_record() {
        let line = |more: &str| {
            format!(
                r#"{{"authority":"a.test","method":"GET","upstream_host":"192.0.2.1:443"{more}}}"#
            )
        };
        let first = record(&line(r#","response_code":200,"start_time":1795575600123"#));
        for more in [
            r#","response_code":404,"start_time":1795575600456"#,
            r#","response_code":200,"start_time":1795575600123,"bytes_sent":7,"duration":3"#,
        ] {
            assert_eq!(record(&line(more)), first, "{more}");
        }
        // Without a time, a verdict may be none.
        assert_ne!(record(&line(r#","response_code":200"#)), first);
        assert_ne!(
            record(&line(r#","response_code":200,"start_time":1795575600123,"port":1"#)),
            first
        );
    }

    #[test]
    fn a_query_can_be_left_out() {
        let line = |path: &str| {
            format!(r#"{{"authority":"a.test","method":"GET","response_code":200,"path":{path}}}"#)
        };
        let without_query = |path: &str| {
            let mut paths = Vec::new();
            Reader::new(&Choice::default()).read(line(path).as_bytes(), &mut |read| {
                let record: Value =
                    serde_json::from_str(&read.expect(path).record_without_query()).expect(path);
                paths.push(record["path"].clone());
            });
            paths
        };
        assert_eq!(without_query(r#""/v1?token=1?2""#), [json!("/v1?")]);
        assert_eq!(without_query(r#""/v1?""#), [json!("/v1?")]);
        assert_eq!(without_query(r#""/v1""#), [json!("/v1")]);
        assert_eq!(without_query("null"), [json!(null)]);
    }

    #[test]
    fn a_record_without_its_query_has_no_password_and_no_query_of_a_host_either() {
        for (authority, expected) in [
            ("a.test:443", "a.test:443"),
            ("user:s3cret@a.test", "@a.test"),
            ("s3cret@s3cret@a.test:443", "@a.test:443"),
            ("a.test?s3cret", "a.test?"),
            ("a.test/s3cret?s3cret", "a.test/"),
            ("user:s3cret@a.test#s3cret", "@a.test#"),
            ("a.test?token=s3cret@s3cret", "@"),
            ("user:s3/cret@a.test", "@"),
        ] {
            let line = json!({"authority": authority, "method": "GET", "response_code": 400});
            let line = line.to_string();
            let mut authorities = Vec::new();
            Reader::new(&Choice::default()).read(line.as_bytes(), &mut |read| {
                let record: Value =
                    serde_json::from_str(&read.expect(&line).record_without_query()).expect(&line);
                authorities.push(record["authority"].clone());
            });
            assert_eq!(authorities, [json!(expected)]);
            // What is cut is malformed as before.
            let is_host = |text: &str| Authority::parse(text.as_bytes()).is_ok();
            assert_eq!(is_host(expected), is_host(authority), "{authority}");
        }
    }

    /// Texts that callers and writers choose.
    fn text() -> impl Strategy<Value = String> {
        let known = [
            "a.test",
            "A.test:443",
            "192.0.2.1",
            "[2001:db8::1]:8443",
            "bad..host",
            "",
            "-",
            "allow",
            "deny",
            "destination",
            "default",
            "GET",
            "CONNECT",
            "/",
            "/a?b=c#d",
            "spiffe://cluster.local/ns/a/sa/b",
            "spiffe://a,spiffe://b",
            "outbound|443||a.test",
            "inbound-vip|443|http|b.test",
            "inbound-vip|80|tls|*.w.test",
            "encap",
            "PassthroughCluster",
            "outbound_.8443_._.a.test",
            "192.0.2.1:443",
            "80",
            "0",
            "65536",
            "via_upstream",
            "NR",
            "UF,URX",
            "HTTP/1.1",
            "2026-03-02T08:18:50.193Z",
            "</script>",
            "\u{202e}\"\\\u{0}",
        ];
        let long = prop::sample::select(vec![1019, 1020, 1021, 3000]);
        prop_oneof![
            12 => prop::sample::select(known.to_vec()).prop_map(str::to_owned),
            1 => any::<String>(),
            1 => long.prop_map(|length| format!("/{}", "x".repeat(length))),
        ]
    }

    fn value() -> impl Strategy<Value = Value> {
        prop_oneof![
            10 => text().prop_map(Value::from),
            2 => Just(Value::Null),
            2 => any::<u16>().prop_map(Value::from),
            1 => Just(json!([])),
        ]
    }

    const KEYS: [&str; 33] = [
        "authority",
        "method",
        "path",
        "start_time",
        "timestamp",
        "dialled_host",
        "upstream_cluster",
        "requested_server_name",
        "source_principal",
        "egress_decision",
        "egress_rule",
        "egress_reason",
        "egress_would",
        "egress_would_rule",
        "egress_would_reason",
        "egress_policy",
        "egress_connection_decision",
        "egress_connection_rule",
        "egress_connection_reason",
        "egress_connection_would",
        "egress_connection_would_rule",
        "egress_connection_would_reason",
        "egress_connection_policy",
        "port",
        "protocol",
        "response_code",
        "response_flags",
        "response_code_details",
        "connection_termination_details",
        "upstream_host",
        "guard",
        "bytes_received",
        "bytes_sent",
    ];

    /// An object of an access log, or of the filter, with any of its fields.
    fn object() -> impl Strategy<Value = Value> {
        let shape = prop::sample::select(vec![
            json!({"authority": "a.test", "method": "GET", "response_code": 200}),
            json!({"authority": null, "method": null, "response_code": 0}),
            json!({"requested_server_name": "a.test", "response_flags": null}),
            json!({"egress_decision": "deny", "authority": "a.test", "method": "GET"}),
            json!({"egress_connection_decision": "allow", "requested_server_name": "a.test"}),
        ]);
        let key = prop::sample::select(KEYS.to_vec());
        (shape, prop::collection::vec((key, value()), 0..12)).prop_map(|(mut object, fields)| {
            for (key, value) in fields {
                object[key] = value;
            }
            object
        })
    }

    /// Lines of others, with texts where callers choose them.
    fn line_of_others() -> impl Strategy<Value = String> {
        let action = prop::sample::select(vec![("true", "FORWARDED"), ("false", "DROPPED")]);
        (text(), text(), any::<u16>(), action, 0..6).prop_map(
            |(host, method, port, (allow, verdict), kind)| {
                let port_of = format!("{host}:{port}");
                match kind {
                    0 => json!({"msg": "CANONICAL-PROXY-DECISION", "allow": allow == "true",
                        "proxy_type": "connect", "requested_host": port_of, "level": "info"}),
                    1 => json!({"msg": "CANONICAL-PROXY-DECISION", "allow": allow == "true",
                        "proxy_type": "http", "requested_host": port_of, "role": method,
                        "time": "2026-03-02T08:18:50Z", "level": "warning"}),
                    2 => json!({"flow": {"verdict": verdict, "traffic_direction": "EGRESS",
                        "l4": {"TCP": {"destination_port": port, "flags": {"SYN": true}}},
                        "destination": {}, "destination_names": [host]}}),
                    3 => json!({"flow": {"verdict": verdict, "traffic_direction": "EGRESS",
                        "time": "2026-03-02T08:18:50Z",
                        "l4": {"TCP": {"destination_port": port}},
                        "l7": {"type": "REQUEST", "http": {"method": method,
                            "url": format!("http://{host}/a?b")}},
                        "destination": {}, "destination_names": ["a.test"]}}),
                    4 => Value::from(format!(
                        "1772439530.193 1 10.0.0.7 TCP_DENIED/403 9 CONNECT {port_of} - HIER_NONE/- -"
                    )),
                    _ => Value::from(format!(
                        "1772439530.193 1 10.0.0.7 TCP_MISS/200 9 {method} http://{host}/a?b - \
                         HIER_DIRECT/192.0.2.1 text/html"
                    )),
                }
            },
        ).prop_map(|line| line.as_str().map_or_else(|| line.to_string(), str::to_owned))
    }

    proptest! {
        #![proptest_config(ProptestConfig {
            cases: 512,
            failure_persistence: None,
            ..ProptestConfig::default()
        })]

        #[test]
        fn a_record_is_read_again_as_the_request_that_it_was(
            object in object(), line in line_of_others(),
        ) {
            records(&object.to_string());
            records(&line);
        }
    }
}
