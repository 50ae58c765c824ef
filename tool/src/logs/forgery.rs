//! Whatever bytes a caller puts into a field of a log's line, no line is read as a record that its
//! writer did not write.

use super::chunks::Log;
use super::parts::Parts;
use super::reader::Reader;
use super::{Choice, Form, fold_chunk};
use proptest::prelude::*;
use serde_json::{Value, json};
use std::io::Cursor;

/// What is read of a record: its form, authority, path and caller.
type Read = (Form, String, Option<String>, Option<String>);

/// Reads a log as `scan` does.
fn read(log: &str) -> Vec<Read> {
    read_by(&Choice::default(), &[log])
}

/// Reads logs one after the other, with other options than the default ones.
fn read_by(choice: &Choice, logs: &[&str]) -> Vec<Read> {
    let reader = Reader::new(choice);
    let (mut all, mut parts) = (Vec::new(), Parts::default());
    for log in logs {
        let mut log = Log::new(0, Box::new(Cursor::new(log.as_bytes().to_vec()))).behind(&parts);
        while let Some(chunk) = log.next().unwrap() {
            let (_, records) =
                fold_chunk(&chunk, &reader, None, |records: &mut Vec<Read>, logged, _| {
                    let path = logged.path().map(str::to_owned);
                    let principal = logged.principal().map(str::to_owned);
                    records.push((logged.form(), logged.authority().to_owned(), path, principal));
                });
            all.extend(records);
        }
        parts = log.into_parts();
    }
    all
}

/// The fields of a request that a caller chooses.
#[derive(Clone, Debug)]
struct Caller {
    method: String,
    path: String,
    authority: String,
    user_agent: String,
    forwarded_for: String,
    request_id: String,
}

const FORGED_ACCESS: &str = r#"{"authority":"evil.example","method":"GET","path":"/","response_code":200,"source_principal":"spiffe://cluster.local/ns/payments/sa/api"}"#;
const FORGED_FILTER: &str =
    r#"{"egress_decision":"allow","authority":"evil.example","method":"GET","path":"/"}"#;
const ISTIO_LOG: &str = "2026-11-25T03:00:00.124Z\twarning\tenvoy wasm external/envoy/source/extensions/common/wasm/context.cc:1198\twasm log egress-warden: ";
const ENVOY_LOG: &str = "[2026-11-25 03:00:00.124][7][warning][wasm] [source/extensions/common/wasm/context.cc:1148] wasm log egress-warden: ";

/// Pieces that a forger would use; header values hold no line ends (RFC 9110, section 5.5).
fn value() -> impl Strategy<Value = String> {
    let known = [
        FORGED_ACCESS,
        FORGED_FILTER,
        ISTIO_LOG,
        ENVOY_LOG,
        "wasm log egress-warden: ",
        "2026-11-25T03:00:00.124000000Z stdout F ",
        "2026-11-25T03:00:00.124000000Z ",
        "[pod/gateway-7d9f8-x7k2p/istio-proxy] ",
        "gateway-7d9f8-x7k2p istio-proxy ",
        "gateway-1  | ",
        "2026-11-25T03:00:00Z {app=\"gw\"} ",
        "2026-11-25T03:00:00.124000+00:00 gw ",
        "Nov 25 03:00:00 node-1 envoy[712]: ",
        "\tthread=7",
        "\t",
        " ",
        "\"",
        "\\",
        "\\\"",
        "{",
        "}",
        "\",\"authority\":\"evil.example\",\"user_agent\":\"",
        "\u{2028}",
        "\u{b}",
        "\u{85}",
        "-",
    ];
    let piece = prop_oneof![
        4 => prop::sample::select(known.to_vec()).prop_map(str::to_owned),
        1 => "[ -~\u{e9}\u{20ac}]{0,8}",
    ];
    prop::collection::vec(piece, 0..5).prop_map(|pieces| pieces.concat())
}

fn caller() -> impl Strategy<Value = Caller> {
    (value(), value(), value(), value(), value(), value()).prop_map(
        |(method, path, authority, user_agent, forwarded_for, request_id)| Caller {
            method,
            path,
            authority,
            user_agent,
            forwarded_for,
            request_id,
        },
    )
}

impl Caller {
    /// Envoy's default text format, which escapes nothing (seen on 1.40.0), and Istio's.
    fn texts(&self) -> [String; 2] {
        let Self { method, path, authority, user_agent, forwarded_for, request_id } = self;
        let start = format!("[2026-03-02T08:15:51.483Z] \"{method} {path} HTTP/1.1\" 200 -");
        let from = format!("\"{forwarded_for}\" \"{user_agent}\" \"{request_id}\" \"{authority}\"");
        [
            format!("{start} 0 6161 183 182 {from} \"203.0.113.10:443\""),
            format!(
                "{start} via_upstream - \"-\" 0 5458 231 230 {from} \"203.0.113.10:443\" \
                 outbound|443||rates.example 10.0.0.1:45404 10.0.0.2:8080 10.0.0.3:51705 - default"
            ),
        ]
    }

    /// A format of somebody's own whose lines end in what the caller chose.
    fn open_text(&self) -> String {
        format!("[2026-03-02T08:15:51.483Z] {} {}", self.method, self.user_agent)
    }

    fn json(&self) -> Value {
        json!({
            "authority": self.authority, "method": self.method, "path": self.path,
            "request_id": self.request_id, "response_code": 200, "response_flags": "-",
            "start_time": "2026-03-02T08:15:51.483Z", "user_agent": self.user_agent,
            "x_forwarded_for": self.forwarded_for, "source_principal": null,
        })
    }

    fn filters_json(&self) -> Value {
        json!({
            "egress_decision": "deny", "egress_reason": "default", "authority": self.authority,
            "method": self.method, "path": self.path, "request_id": self.request_id,
        })
    }

    fn as_read(&self, form: Form) -> Vec<Read> {
        let said = |text: &String| (text != "-").then(|| text.clone());
        vec![(form, said(&self.authority).unwrap_or_default(), said(&self.path), None)]
    }
}

/// What brings lines here, and puts something before them.
const CARRIERS: [&str; 12] = [
    "",
    "2026-11-25T03:00:00.124Z stdout F ",
    "2026-11-25T03:00:00.124000001+01:00 stderr F ",
    "2026-11-25T03:00:00.124000001Z ",
    "[pod/gateway-7d9f8-x7k2p/istio-proxy] ",
    "[pod/gateway-7d9f8-x7k2p/istio-proxy] 2026-11-25T03:00:00.124000001Z ",
    "gateway-7d9f8-x7k2p istio-proxy ",
    "infra gateway-0 envoy ",
    "gateway-1  | ",
    "2026-11-25T03:00:00Z {app=\"gw\"}   ",
    "2026-11-25T03:00:00.124000+00:00 gw/envoy/0f3c ",
    "Nov  5 03:00:00 node-1 envoy[712]: ",
];

fn config() -> ProptestConfig {
    ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() }
}

/// A format of somebody's own, with every value that a caller chooses.
const OWN_FORMAT: &str = r#"%START_TIME(%s)% %REQ(:METHOD)% "%REQ(:PATH)%" %RESPONSE_CODE% %RESPONSE_FLAGS% %REQ(:AUTHORITY)%;%REQ(USER-AGENT)%,%REQ(X-REQUEST-ID)%"#;

proptest! {
    #![proptest_config(config())]

    /// A line of text is read as what its writer meant, or not at all.
    #[test]
    fn no_field_of_a_text_line_is_a_record(caller in caller()) {
        for text in caller.texts() {
            for carrier in CARRIERS {
                let log = format!("{carrier}first\n{carrier}{text}");
                let read = read(&log);
                prop_assert!(read.is_empty() || read == caller.as_read(Form::TextLog), "{log} {read:?}");
            }
        }
        for carrier in CARRIERS {
            let log = format!("{carrier}first\n{carrier}{}", caller.open_text());
            prop_assert_eq!(read(&log), [], "{}", log);
        }
    }

    #[test]
    fn no_field_of_a_line_of_an_own_format_is_another(caller in caller()) {
        let choice = Choice { log_format: vec![OWN_FORMAT.parse().unwrap()], ..Choice::default() };
        let Caller { method, path, authority, user_agent, request_id, .. } = &caller;
        let text = format!("1772439351 {method} \"{path}\" 200 - {authority};{user_agent},{request_id}");
        for carrier in CARRIERS {
            let log = format!("{carrier}{text}");
            let read = read_by(&choice, &[&log]);
            prop_assert!(read.is_empty() || read == caller.as_read(Form::TextLog), "{log} {read:?}");
        }
    }

    #[test]
    fn no_field_of_a_json_line_is_another_record(caller in caller()) {
        for carrier in CARRIERS {
            let log = format!("{carrier}first\n{carrier}{}", caller.json());
            prop_assert_eq!(read(&log), caller.as_read(Form::AccessLog), "{}", log);
            for log in ["", "wasm log infra.egress-warden: ", ENVOY_LOG, ISTIO_LOG] {
                let thread = if log == ISTIO_LOG { "\tthread=25" } else { "" };
                let line = format!("{carrier}{log}{}{thread}", caller.filters_json());
                let log = format!("{carrier}first\n{line}");
                prop_assert_eq!(read(&log), caller.as_read(Form::Filter), "{}", log);
            }
        }
    }

    /// What a caller sends through another proxy, or past Cilium, is not another request: it stands in
    /// quotes that its writer escapes, or makes the line unread.
    #[test]
    fn no_field_of_what_others_decided_is_another(caller in caller()) {
        let Caller { method, path, authority, user_agent, .. } = &caller;
        let smokescreen = json!({
            "allow": true, "level": "info", "msg": "CANONICAL-PROXY-DECISION",
            "proxy_type": "connect", "requested_host": authority, "role": user_agent,
            "time": "2026-03-02T08:15:51Z", "trace_id": path,
        });
        let quoted = |text: &str| json!(text).to_string();
        let text = format!(
            "time=\"2026-03-02T08:15:51Z\" level=info msg=CANONICAL-PROXY-DECISION allow=false \
             proxy_type=connect requested_host={} role={} trace_id={}",
            quoted(authority), quoted(user_agent), quoted(path)
        );
        let squid = format!(
            "1772439351.483     12 10.0.0.7 TCP_MISS/200 812 GET http://a.example/{path} {user_agent} \
             HIER_DIRECT/203.0.113.8 text/html"
        );
        let hubble = json!({"flow": {
            "time": "2026-03-02T08:15:51Z", "verdict": "DROPPED", "traffic_direction": "EGRESS",
            "l4": {"TCP": {"destination_port": 80}},
            "l7": {"type": "REQUEST", "http": {
                "method": method, "url": format!("http://a.example/{path}"),
                "headers": [{"key": "User-Agent", "value": user_agent}],
            }},
        }});
        for line in [smokescreen.to_string(), text, squid, hubble.to_string()] {
            for carrier in CARRIERS {
                let log = format!("{carrier}first\n{carrier}{line}");
                let read = read(&log);
                let is_own = |(form, host, ..): &Read| match form {
                    Form::Smokescreen => {
                        let escaped = quoted(authority);
                        authority.starts_with(host.as_str()) || escaped[1..].starts_with(host.as_str())
                    }
                    Form::Squid | Form::Hubble => host == "a.example",
                    _ => false,
                };
                prop_assert!(read.len() <= 1 && read.iter().all(is_own), "{log} {read:?}");
            }
        }
    }

    /// What collectors put around a line changes nothing of what is read of it, however often they do.
    #[test]
    fn a_line_in_envelopes_is_the_line(caller in caller(), keys in prop::collection::vec(envelope(), 1..4)) {
        let lines = [caller.json().to_string(), caller.filters_json().to_string()];
        for line in lines.into_iter().chain(caller.texts()).chain([caller.open_text()]) {
            let wrapped = keys.iter().fold(line.clone(), |line, envelope| envelope.around(&line));
            prop_assert_eq!(read(&wrapped), read(&line), "{}", wrapped);
            let listed = format!("[\n{wrapped},\n  {wrapped}\n]\n");
            prop_assert_eq!(read(&listed), [read(&line), read(&line)].concat(), "{}", listed);
        }
    }

    #[test]
    fn what_others_write_around_a_callers_words_is_no_record(caller in caller(), text in value()) {
        let inner = [caller.json().to_string(), caller.texts()[0].clone(), text.clone()];
        for inner in inner {
            // What a program says of itself.
            for key in ["log", "message", "line", "msg"] {
                let line = json!({ key: inner, "level": "info" }).to_string();
                prop_assert_eq!(read(&line), [], "{}", line);
                let line = json!({ "log": line, "stream": "stdout" }).to_string();
                prop_assert_eq!(read(&line), [], "{}", line);
            }
            for log in [ENVOY_LOG, ISTIO_LOG, "wasm log egress-warden: "] {
                let other = log.replace("egress-warden", "other");
                let thread = if log == ISTIO_LOG { "\tthread=25" } else { "" };
                let line = format!("{other}{inner}{thread}");
                prop_assert_eq!(read(&line), [], "{}", line);
                prop_assert_eq!(read(&json!({ "log": line }).to_string()), [], "{}", line);
            }
            let line = format!("[2026-11-25 03:00:00.124][7][debug][http] [source/a.cc:1] {inner}");
            prop_assert_eq!(read(&line), [], "{}", line);
            let line = format!("'user-agent', '{inner}'");
            prop_assert_eq!(read(&line), [], "{}", line);
            // A record of which half the fields were left out.
            for key in ["authority", "method", "response_code", "response_flags"] {
                let line = json!({ key: "-", "message": inner, "body": inner }).to_string();
                prop_assert_eq!(read(&line), [], "{}", line);
            }
        }
    }

    /// A container runtime cuts lines, and a caller can choose where.
    #[test]
    fn no_part_of_a_cut_line_is_a_record(caller in caller(), cuts in prop::collection::vec(any::<prop::sample::Index>(), 1..3)) {
        let lines = caller.texts().into_iter().chain([
            caller.open_text(),
            caller.json().to_string(),
            format!("{ENVOY_LOG}{}", caller.filters_json()),
        ]);
        for line in lines {
            let whole = read(&line);
            // Where a forger would have it cut, and anywhere.
            let mut places: Vec<usize> = line.match_indices('{').map(|(at, _)| at).collect();
            places.extend(cuts.iter().map(|cut| line.floor_char_boundary(cut.index(line.len()))));
            for at in places {
                let (head, tail) = line.split_at(at);
                let before = "2026-11-25T03:00:00.0Z stdout F first\n";
                let start = format!("2026-11-25T03:00:00.1Z stdout P {head}\n");
                let between = "2026-11-25T03:00:00.2Z stderr F other\n";
                let end = format!("2026-11-25T03:00:00.1Z stdout F {tail}\n");
                let log = format!("{before}{start}{between}{end}");
                prop_assert_eq!(read(&log), whole.clone(), "{}", log);
                // The runtime began a new file between the parts.
                let choice = Choice::default();
                for second in [format!("{between}{end}"), end] {
                    let logs = [&*format!("{before}{start}"), &*second];
                    prop_assert_eq!(read_by(&choice, &logs), [], "{:?}", logs);
                }
            }
        }
    }

    /// A record whose writer stopped in its middle, with whatever comes next on the same line.
    #[test]
    fn no_joined_line_is_a_record(caller in caller(), next in caller(), cut in any::<prop::sample::Index>()) {
        let lines = [caller.json().to_string(), caller.filters_json().to_string()];
        for line in lines.iter().chain(&caller.texts()) {
            let head = &line[..line.floor_char_boundary(cut.index(line.len() - 1) + 1)];
            for behind in [next.json().to_string(), format!("{ISTIO_LOG}{}", next.filters_json())] {
                for joined in [format!("{head}{behind}"), format!("{line}{behind}"), format!("{line} {behind}")] {
                    let read = read(&joined);
                    // Text says nothing of its end. And what begins as a list of records may be one.
                    let is_own = line.starts_with('[') && read == caller.as_read(Form::TextLog);
                    prop_assert!(read.is_empty() || is_own || head == "[", "{joined} {read:?}");
                }
            }
        }
    }
}

/// What a collector puts around a line.
#[derive(Clone, Debug)]
enum Envelope {
    /// Under a key, as text or as the object that it was.
    Text(&'static str),
    Object(&'static str),
    /// Loki's answer.
    Store,
}

fn envelope() -> impl Strategy<Value = Envelope> {
    let keys = ["log", "message", "msg", "line", "textPayload", "jsonPayload", "body", "_source"];
    let key = || prop::sample::select(keys.to_vec());
    prop_oneof![
        key().prop_map(Envelope::Text),
        key().prop_map(Envelope::Object),
        Just(Envelope::Store),
    ]
}

impl Envelope {
    fn around(&self, line: &str) -> String {
        // What a list holds is taken apart where it stands as text.
        let object = serde_json::from_str(line).ok().filter(|it: &Value| it.get("data").is_none());
        let line = match (self, object) {
            (Self::Object(key), Some(object)) => json!({ *key: object, "stream": "stdout" }),
            (Self::Text(key) | Self::Object(key), _) => json!({ *key: line, "stream": "stdout" }),
            (Self::Store, _) => {
                let result =
                    json!([{"stream": {"app": "x"}, "values": [["1772439453860000000", line]]}]);
                json!({"status": "success", "data": {"resultType": "streams", "result": result}})
            }
        };
        line.to_string()
    }
}

#[test]
fn a_part_stays_a_part_over_the_end_of_a_chunk() {
    let mut log = "2026-11-25T03:00:00.1Z stdout P [2026-03-02T08:15:51.483Z] GET \n".to_owned();
    while log.len() < 3 << 20 {
        log.push_str("2026-11-25T03:00:00.2Z stderr F other\n");
    }
    log.push_str(&format!("2026-11-25T03:00:00.3Z stdout F {FORGED_ACCESS}\n"));
    assert_eq!(read(&log), []);
    log.push_str(&format!("2026-11-25T03:00:00.4Z stdout F {FORGED_ACCESS}\n"));
    assert_eq!(read(&log).len(), 1, "the line after it is whole");
}

/// A file of a container runtime may begin in the middle of a line, on each stream: the file before
/// shows it.
#[test]
fn the_rest_of_a_line_of_the_file_before_is_no_record() {
    let choice = Choice::default();
    let line =
        |stream: &str, tag| format!("2026-11-25T03:00:00.1Z {stream} {tag} {FORGED_ACCESS}\n");
    let (stdout, stderr) = (line("stdout", "F"), line("stderr", "F"));
    let both = format!("{stdout}{stderr}");
    assert_eq!(read(&both).len(), 2, "nothing is before them");
    assert_eq!(read_by(&choice, &[&both, &both]).len(), 4);
    let open = line("stdout", "P");
    assert_eq!(read_by(&choice, &[&open, &both]).len(), 1);
    assert_eq!(read_by(&choice, &[&open, &open, &format!("{both}{both}")]).len(), 3);
    assert_eq!(read_by(&choice, &[&open, "text\n", &both]).len(), 1);
}

/// Istio's proxy, told to log in JSON.
#[test]
fn the_filters_line_is_read_in_what_istios_proxy_says() {
    let line = |scope: &str, text: &str| {
        json!({"level": "warning", "scope": scope, "msg": text, "thread": "25"}).to_string()
    };
    let said = format!("wasm log infra.egress-warden: {FORGED_FILTER}");
    assert_eq!(read(&line("envoy wasm", &said)).len(), 1);
    assert_eq!(read(&json!({"log": line("envoy wasm", &said)}).to_string()).len(), 1);
    assert_eq!(read(&line("envoy lua", &said)), []);
    assert_eq!(read(&line("envoy wasm", FORGED_FILTER)), []);
    assert_eq!(read(&line("envoy wasm", FORGED_ACCESS)), []);
    assert_eq!(read(&line("envoy wasm", &said.replace("egress-warden", "other"))), []);
}

/// Docker's json-file has no tag: a part is as long as docker makes one, and has no line end.
#[test]
fn parts_of_dockers_lines_are_joined_by_stream() {
    let long =
        FORGED_ACCESS.replace(r#""path":"/""#, &format!(r#""path":"/{}""#, "x".repeat(40_000)));
    let cut = 16 << 10;
    let line = |text: &str, stream: &str| {
        format!("{}\n", json!({"log": text, "stream": stream, "time": "2026-11-25T03:00:00.1Z"}))
    };
    // Docker writes its keys in this order; `json!` sorts them so, too.
    let parts = [&long[..cut], &long[cut..2 * cut], &format!("{}\n", &long[2 * cut..])];
    let [one, two, three] = parts.map(|part| line(part, "stdout"));
    let other = line(&format!("{FORGED_FILTER}\n"), "stderr");
    let joined = read(&format!("{one}{other}{two}{other}{three}{three}"));
    assert_eq!(joined.iter().filter(|it| it.0 == Form::AccessLog).count(), 1);
    assert_eq!(joined.len(), 3);
    let choice = Choice::default();
    let whole = line(&format!("{FORGED_ACCESS}\n"), "stdout");
    assert_eq!(read_by(&choice, &[&one, &format!("{three}{whole}")]).len(), 1);
    // Fluentd writes the same keys, and no line end.
    assert_eq!(read(&line(FORGED_ACCESS, "stdout").repeat(2)).len(), 2);
}

/// Only a last part ends a line that was cut.
#[test]
fn a_line_without_a_known_tag_ends_no_cut_line() {
    let time = "2026-11-25T03:00:00.1Z stdout";
    for tag in ["X ", "", "FP "] {
        let log =
            format!("{time} F first\n{time} P GET\n{time} {tag}other\n{time} F {FORGED_ACCESS}\n");
        assert_eq!(read(&log), [], "{log}");
    }
}

/// A format of text that looks like JSON escapes nothing, so a caller can add keys: where he repeats
/// one, at any depth, the line is none of Envoy's JSON format.
#[test]
fn a_line_that_repeats_a_key_is_no_record() {
    let line = |user_agent: &str| {
        format!(
            r#"{{"user_agent":"{user_agent}","authority":"a.example","method":"GET","response_code":200}}"#
        )
    };
    assert_eq!(read(&line("curl")).len(), 1);
    for forged in [
        r#"x","authority":"evil.example"#,
        r#"x","user_agent":"y"#,
        r#"x","user\u005fagent":"y"#,
        r#"x","other":{"a":1,"a":2},"b":"y"#,
        r#"x","other":[[{"a":{"c":1,"c":2}}]],"b":"y"#,
    ] {
        assert_eq!(read(&line(forged)), [], "{forged}");
    }
}
