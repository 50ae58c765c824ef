//! Hubble's flows, as `hubble observe -o json` and its exporter write them: what Cilium let out of a
//! pod, and what it dropped.
//!
//! Of the flows those are read that leave the cluster and name a host: requests of HTTP, and the first
//! packet of a TCP connection to an address that Cilium knows by one DNS name. Replies, later packets,
//! what comes in or stays within, lookups of names, and addresses without a name are passed over. One
//! connection may be several flows.

use super::super::ending::Ending;
use super::super::line::Form;
use super::super::time;
use super::super::unread::Problem;
use super::{Asked, Decision, Told};
use egress_warden::policy::Action;
use serde::Deserialize;
use serde::de::IgnoredAny;
use std::borrow::Cow;

/// Whether an object may be of Hubble.
pub(super) fn may_be(record: &str) -> bool {
    let signs = ["\"traffic_direction\"", "\"flow\"", "\"lost_events\""];
    signs.iter().any(|sign| memchr::memmem::find(record.as_bytes(), sign.as_bytes()).is_some())
}

/// What Hubble puts around a flow; older ones write it alone.
#[derive(Deserialize)]
struct Line<'a> {
    #[serde(borrow)]
    flow: Option<Flow<'a>>,
    lost_events: Option<IgnoredAny>,
}

/// What is asked of a flow. What has its usual value is left out.
#[derive(Deserialize)]
struct Flow<'a> {
    #[serde(borrow)]
    time: Option<Cow<'a, str>>,
    #[serde(borrow)]
    verdict: Option<Cow<'a, str>>,
    #[serde(borrow)]
    drop_reason_desc: Option<Cow<'a, str>>,
    #[serde(borrow)]
    traffic_direction: Option<Cow<'a, str>>,
    #[serde(borrow)]
    trace_observation_point: Option<Cow<'a, str>>,
    is_reply: Option<bool>,
    /// What `is_reply` was called before.
    reply: Option<bool>,
    l4: Option<Transport>,
    #[serde(borrow)]
    l7: Option<Application<'a>>,
    #[serde(borrow)]
    destination: Option<Endpoint<'a>>,
    #[serde(borrow)]
    destination_names: Option<Vec<Cow<'a, str>>>,
}

#[derive(Deserialize)]
struct Transport {
    #[serde(rename = "TCP")]
    tcp: Option<Tcp>,
}

#[derive(Deserialize)]
struct Tcp {
    destination_port: Option<u16>,
    flags: Option<Flags>,
}

#[derive(Deserialize)]
struct Flags {
    #[serde(rename = "SYN", default)]
    syn: bool,
    #[serde(rename = "ACK", default)]
    ack: bool,
}

#[derive(Deserialize)]
struct Application<'a> {
    #[serde(rename = "type", borrow)]
    kind: Option<Cow<'a, str>>,
    #[serde(borrow)]
    http: Option<Http<'a>>,
}

#[derive(Deserialize)]
struct Http<'a> {
    #[serde(borrow)]
    method: Option<Cow<'a, str>>,
    #[serde(borrow)]
    url: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
struct Endpoint<'a> {
    #[serde(borrow)]
    namespace: Option<Cow<'a, str>>,
    #[serde(borrow)]
    pod_name: Option<Cow<'a, str>>,
}

pub(super) fn of_object(record: &str) -> Result<Option<Told<'_>>, Problem> {
    let flow = match serde_json::from_str::<Line<'_>>(record) {
        Ok(Line { flow: Some(flow), .. }) => flow,
        Ok(Line { lost_events: Some(_), .. }) => return Ok(Some(Told::PassedOver)),
        Ok(_) => match serde_json::from_str::<Flow<'_>>(record) {
            Ok(flow) if flow.traffic_direction.is_some() => flow,
            _ => return Ok(None),
        },
        Err(_) => return Ok(None),
    };
    if flow.verdict.is_none() {
        return Ok(None);
    }
    flow.told().map(Some)
}

impl<'a> Flow<'a> {
    fn told(self) -> Result<Told<'a>, Problem> {
        let (true, Some((action, ending))) = (self.leaves(), self.outcome()) else {
            return Ok(Told::PassedOver);
        };
        let tcp = self.l4.and_then(|it| it.tcp);
        let port = tcp.as_ref().and_then(|it| it.destination_port);
        let time = self.time.as_deref().and_then(time::read);
        let asked = match (self.l7, tcp) {
            (Some(application), _) => application.asked(),
            (None, Some(tcp)) if tcp.is_first() => named(self.destination_names)?,
            (None, _) => None,
        };
        Ok(match asked {
            None => Told::PassedOver,
            Some(asked) => {
                Told::Decision(Decision { form: Form::Hubble, asked, port, time, action, ending })
            }
        })
    }

    /// Whether it goes out of a pod, and not to another one.
    fn leaves(&self) -> bool {
        let is_reply = self.is_reply.or(self.reply) == Some(true);
        // There the packet has not yet come to the policy.
        let is_before = self.trace_observation_point.as_deref().unwrap_or_default();
        let is_to_pod = self.destination.as_ref().is_some_and(|it| {
            let names = [&it.namespace, &it.pod_name];
            names.into_iter().flatten().any(|name| !name.is_empty())
        });
        self.traffic_direction.as_deref() == Some("EGRESS")
            && !is_reply
            && !is_before.starts_with("FROM_")
            && !is_to_pod
    }

    /// What was decided, and what became of it; `None` where nothing was decided yet.
    fn outcome(&self) -> Option<(Option<Action>, Ending)> {
        match self.verdict.as_deref()? {
            // A policy in audit mode would drop it.
            "FORWARDED" | "AUDIT" => Some((Some(Action::Allow), Ending::PassedOn)),
            "DROPPED" => match self.drop_reason_desc.as_deref() {
                None | Some("POLICY_DENIED" | "POLICY_DENY" | "AUTH_REQUIRED") => {
                    Some((Some(Action::Deny), Ending::Refused))
                }
                Some(_) => Some((None, Ending::Failed)),
            },
            "ERROR" => Some((None, Ending::Failed)),
            _ => None,
        }
    }
}

impl Tcp {
    /// Whether the packet begins a connection.
    fn is_first(&self) -> bool {
        self.flags.as_ref().is_none_or(|flags| flags.syn && !flags.ack)
    }
}

impl<'a> Application<'a> {
    fn asked(self) -> Option<Asked<'a>> {
        let Http { method, url } = self.http.filter(|_| self.kind.as_deref() == Some("REQUEST"))?;
        let url = url?;
        let (_, rest) = url.split_once("://")?;
        let (authority, path) = match rest.find(['/', '?', '#']) {
            Some(end) => rest.split_at_checked(end)?,
            None => (rest, "/"),
        };
        Some(Asked::Request {
            method: method?,
            authority: Cow::Owned(authority.to_owned()),
            path: Some(Cow::Owned(path.to_owned())),
        })
    }
}

/// The connection to a host, where it has one name.
fn named(names: Option<Vec<Cow<'_, str>>>) -> Result<Option<Asked<'_>>, Problem> {
    let mut names = names.unwrap_or_default().into_iter();
    match (names.next(), names.next()) {
        (None, _) => Ok(None),
        (Some(host), None) => {
            let host = host.strip_suffix('.').map(|it| Cow::Owned(it.to_owned())).unwrap_or(host);
            Ok(Some(Asked::Connection { host }))
        }
        (Some(_), Some(_)) => Err(Problem::SeveralNames),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FLOW: &str = r#"{"flow":{"time":"2026-05-04T10:20:01.137Z","verdict":"FORWARDED","IP":{"source":"10.0.0.7","destination":"203.0.113.7","ipVersion":"IPv4"},"l4":{"TCP":{"source_port":40001,"destination_port":443,"flags":{"SYN":true}}},"source":{"ID":7,"identity":70,"namespace":"shop","labels":["k8s:io.cilium.k8s.policy.serviceaccount=web"],"pod_name":"web-0"},"destination":{"identity":16777217,"labels":["fqdn:a.hubble.test","reserved:world"]},"Type":"L3_L4","destination_names":["a.hubble.test"],"event_type":{"type":4,"sub_type":3},"traffic_direction":"EGRESS","trace_observation_point":"TO_STACK","is_reply":false,"Summary":"TCP Flags: SYN"},"node_name":"n1","time":"2026-05-04T10:20:01.137Z"}"#;

    fn decision(line: &str) -> Decision<'_> {
        match of_object(line) {
            Ok(Some(Told::Decision(decision))) => decision,
            other => panic!("{line}: {other:?}"),
        }
    }

    fn with(old: &str, new: &str) -> String {
        let line = FLOW.replacen(old, new, 1);
        assert_ne!(line, FLOW, "{old}");
        line
    }

    fn with_http(http: &str, kind: &str) -> String {
        with(r#""Type":"L3_L4""#, &format!(r#""Type":"L7","l7":{{"type":"{kind}","http":{http}}}"#))
    }

    #[test]
    fn the_first_packet_to_a_name_is_a_connection() {
        let alone =
            FLOW.strip_prefix(r#"{"flow":"#).and_then(|it| it.split_once(r#","node_name""#));
        for line in [
            FLOW.to_owned(),
            alone.expect("a flow").0.to_owned(),
            with(r#""flags":{"SYN":true}"#, r#""flags":null"#),
            with(r#"["a.hubble.test"]"#, r#"["a.hubble.test."]"#),
        ] {
            let read = decision(&line);
            assert_eq!(read.asked, Asked::Connection { host: "a.hubble.test".into() }, "{line}");
            assert_eq!((read.port, read.action), (Some(443), Some(Action::Allow)));
            assert_eq!(read.ending, Ending::PassedOn);
            assert_eq!(read.time, "2026-05-04T10:20:01.137Z".parse().ok());
        }
        let several = with(r#"["a.hubble.test"]"#, r#"["a.hubble.test","b.hubble.test"]"#);
        assert_eq!(of_object(&several), Err(Problem::SeveralNames));
    }

    #[test]
    fn a_request_of_http_is_read_with_its_host() {
        let line = with_http(r#"{"method":"GET","url":"http://b.hubble.test/one?q=1"}"#, "REQUEST");
        let asked = Asked::Request {
            method: "GET".into(),
            authority: "b.hubble.test".into(),
            path: Some("/one?q=1".into()),
        };
        assert_eq!(decision(&line).asked, asked);
        let odd = r#"{"method":"GET","url":"http://u@evil.test:1 x?http://b.hubble.test/"}"#;
        match decision(&with_http(odd, "REQUEST")).asked {
            Asked::Request { authority, .. } => assert_eq!(authority, "u@evil.test:1 x"),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_verdict_tells_what_became_of_it() {
        use Action::{Allow, Deny};
        for (verdict, action, ending) in [
            (r#""FORWARDED""#, Some(Allow), Ending::PassedOn),
            (r#""AUDIT""#, Some(Allow), Ending::PassedOn),
            (r#""DROPPED""#, Some(Deny), Ending::Refused),
            (r#""DROPPED","drop_reason_desc":"POLICY_DENIED""#, Some(Deny), Ending::Refused),
            (r#""DROPPED","drop_reason_desc":"CT_MAP_INSERTION_FAILED""#, None, Ending::Failed),
            (r#""ERROR""#, None, Ending::Failed),
        ] {
            let line = FLOW.replacen(r#""FORWARDED""#, verdict, 1);
            let read = decision(&line);
            assert_eq!((read.action, read.ending), (action, ending), "{line}");
        }
    }

    #[test]
    fn flows_that_leave_no_cluster_or_name_no_host_are_passed_over() {
        for line in [
            with(r#""EGRESS""#, r#""INGRESS""#),
            with(r#""traffic_direction":"EGRESS","#, ""),
            with(r#""is_reply":false"#, r#""is_reply":true"#),
            with(r#""is_reply":false"#, r#""reply":true"#),
            with("TO_STACK", "FROM_ENDPOINT"),
            with(r#""SYN":true"#, r#""SYN":true,"ACK":true"#),
            with(r#""SYN":true"#, r#""PSH":true,"ACK":true"#),
            with(r#""TCP""#, r#""UDP""#),
            with(r#""destination":{"#, r#""destination":{"namespace":"shop","pod_name":"db-0","#),
            with(r#"["a.hubble.test"]"#, "[]"),
            with(r#""destination_names":["a.hubble.test"],"#, ""),
            with("FORWARDED", "REDIRECTED"),
            with_http(r#"{"code":200,"method":"GET","url":"http://b.test/"}"#, "RESPONSE"),
            with_http(r#"{"method":"GET"}"#, "REQUEST"),
            with(
                r#""Type":"L3_L4""#,
                r#""Type":"L7","l7":{"type":"REQUEST","dns":{"query":"a.hubble.test."}}"#,
            ),
            r#"{"lost_events":{"source":"PERF_EVENT_RING_BUFFER","num_events_lost":"1"}}"#.into(),
        ] {
            assert_eq!(of_object(&line), Ok(Some(Told::PassedOver)), "{line}");
        }
        for line in [
            r#"{"flow":"a"}"#,
            r#"{"flow":{"a":1}}"#,
            r#"{"verdict":"FORWARDED","flow":null}"#,
            r#"{"traffic_direction":"EGRESS"}"#,
        ] {
            assert_eq!(of_object(line), Ok(None), "{line}");
        }
    }
}
