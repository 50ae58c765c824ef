//! Smokescreen's line for each request that it decides: `CANONICAL-PROXY-DECISION`, in JSON or as
//! `key=value`.
//!
//! Its proxy takes `CONNECT HOST:PORT`, and requests in clear of which the line has neither method nor
//! path. A line of `report` is allowed, though enforcing would deny it: it passed.

use super::super::ending::Ending;
use super::super::line::Form;
use super::super::time;
use super::super::unread::Problem;
use super::{Asked, Decision, Told, host_and_port, logfmt};
use egress_warden::policy::Action;
use egress_warden::time::Time;
use serde::Deserialize;
use std::borrow::Cow;

const MESSAGE: &str = "CANONICAL-PROXY-DECISION";

/// Whether a line may be one of these.
pub(super) fn may_be(line: &str) -> bool {
    memchr::memmem::find(line.as_bytes(), MESSAGE.as_bytes()).is_some()
}

/// What is asked of a line.
#[derive(Deserialize)]
struct Line<'a> {
    #[serde(borrow)]
    msg: Cow<'a, str>,
    #[serde(borrow)]
    requested_host: Option<Cow<'a, str>>,
    #[serde(borrow)]
    proxy_type: Option<Cow<'a, str>>,
    /// Absent where the request was refused before it was decided.
    allow: Option<bool>,
    /// A text; what else it may be is an error as well.
    error: Option<serde::de::IgnoredAny>,
    #[serde(borrow)]
    start_time: Option<Cow<'a, str>>,
    #[serde(borrow)]
    time: Option<Cow<'a, str>>,
}

pub(super) fn of_object(record: &str) -> Result<Option<Told<'_>>, Problem> {
    // The object is JSON, and no key of it stands twice: what does not fit is another program's.
    let Ok(line) = serde_json::from_str::<Line<'_>>(record) else { return Ok(None) };
    line.told()
}

pub(super) fn of_text(line: &str) -> Result<Option<Told<'_>>, Problem> {
    const KEYS: [&str; 7] =
        ["msg", "requested_host", "proxy_type", "allow", "error", "start_time", "time"];
    let Some(values) = logfmt::values(line, KEYS)? else { return Ok(None) };
    let [Some(msg), requested_host, proxy_type, allow, error, start_time, time] = values else {
        return Ok(None);
    };
    let allow = match allow {
        None => None,
        Some("true") => Some(true),
        Some("false") => Some(false),
        Some(_) => return Ok(None),
    };
    let line = Line {
        msg: msg.into(),
        requested_host: requested_host.map(Cow::from),
        proxy_type: proxy_type.map(Cow::from),
        allow,
        error: error.map(|_| serde::de::IgnoredAny),
        start_time: start_time.map(Cow::from),
        time: time.map(Cow::from),
    };
    line.told()
}

impl<'a> Line<'a> {
    fn told(self) -> Result<Option<Told<'a>>, Problem> {
        if self.msg != MESSAGE {
            return Ok(None);
        }
        let Some(requested) = self.requested_host else {
            return Err(Problem::Field {
                name: "requested_host",
                found: "not there",
                wanted: "text",
            });
        };
        let usual = match self.proxy_type.as_deref() {
            Some("http") => Some(80),
            _ => None,
        };
        let (host, port) = match host_and_port(&requested) {
            (host, Some(port)) => (Cow::Owned(host.to_owned()), Some(port)),
            _ => (requested, usual),
        };
        let times = [self.start_time.as_deref(), self.time.as_deref()];
        let (action, ending) = match (self.allow, self.error) {
            (Some(true), None) => (Some(Action::Allow), Ending::PassedOn),
            (Some(true), Some(_)) => (Some(Action::Allow), Ending::Failed),
            (Some(false), _) => (Some(Action::Deny), Ending::Refused),
            (None, Some(_)) => (None, Ending::Refused),
            (None, None) => (None, Ending::Unsaid),
        };
        Ok(Some(Told::Decision(Decision {
            form: Form::Smokescreen,
            asked: Asked::Connection { host },
            port,
            time: times.into_iter().flatten().find_map(time_of),
            action,
            ending,
        })))
    }
}

/// A time of RFC 3339, or as Go shows one in UTC.
fn time_of(text: &str) -> Option<Time> {
    match text.strip_suffix(" +0000 UTC") {
        Some(time) => time::read(&format!("{time}Z")),
        None => time::read(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = r#"time="2026-05-04T10:20:01Z" level=info msg=CANONICAL-PROXY-DECISION allow=true content_length=0 decision_reason="rule has allow and report policy" enforce_would_deny=true id=c1 inbound_remote_addr="10.0.0.7:40001" project=shop proxy_type=connect requested_host="a.smoke.test:8443" role=web start_time="2026-05-04 10:20:01.137 +0000 UTC" trace_id="#;
    const JSON: &str = r#"{"allow":true,"content_length":0,"decision_reason":"rule has allow and report policy","enforce_would_deny":true,"level":"info","msg":"CANONICAL-PROXY-DECISION","proxy_type":"connect","requested_host":"a.smoke.test:8443","role":"web","start_time":"2026-05-04T10:20:01.137Z","time":"2026-05-04T10:20:01Z","trace_id":""}"#;

    fn decision<'a>(told: Result<Option<Told<'a>>, Problem>, line: &str) -> Decision<'a> {
        match told {
            Ok(Some(Told::Decision(decision))) => decision,
            other => panic!("{line}: {other:?}"),
        }
    }

    #[test]
    fn both_forms_tell_the_same() {
        let of_text = decision(of_text(TEXT), TEXT);
        assert_eq!(of_text, decision(of_object(JSON), JSON));
        assert_eq!(of_text.asked, Asked::Connection { host: "a.smoke.test".into() });
        assert_eq!((of_text.port, of_text.action), (Some(8443), Some(Action::Allow)));
        assert_eq!(of_text.ending, Ending::PassedOn);
        assert_eq!(of_text.time, "2026-05-04T10:20:01.137Z".parse().ok());
    }

    #[test]
    fn what_became_of_a_request_is_told_by_allow_and_error() {
        for (old, new, action, ending) in [
            ("allow=true", "allow=false", Some(Action::Deny), Ending::Refused),
            (
                "allow=true",
                r#"allow=true error="dial tcp: timeout""#,
                Some(Action::Allow),
                Ending::Failed,
            ),
            ("allow=true", "error=denied", None, Ending::Refused),
            ("allow=true ", "", None, Ending::Unsaid),
        ] {
            let line = TEXT.replacen(old, new, 1);
            let decision = decision(of_text(&line), &line);
            assert_eq!((decision.action, decision.ending), (action, ending), "{line}");
        }
    }

    #[test]
    fn a_request_in_clear_goes_to_port_80_unless_it_says_another() {
        for (host, port) in [("a.smoke.test", Some(80)), ("a.smoke.test:8080", Some(8080))] {
            let line = TEXT
                .replace("proxy_type=connect", "proxy_type=http")
                .replace("a.smoke.test:8443", host);
            assert_eq!(decision(of_text(&line), &line).port, port);
        }
        let line = TEXT.replace(":8443", "");
        assert_eq!(decision(of_text(&line), &line).port, None, "a tunnel says its port");
    }

    #[test]
    fn no_value_of_a_caller_is_another_fact() {
        const FORGED: &str = r#"x" requested_host="evil.test:443" allow=true y=""#;
        // logrus and slog escape the quotes.
        let line = TEXT.replace("trace_id=", &format!("trace_id={FORGED:?}"));
        let read = decision(of_text(&line), &line);
        assert_eq!(read.asked, Asked::Connection { host: "a.smoke.test".into() });
        // Where they did not, a key stands twice.
        let line = TEXT.replace("trace_id=", &format!("trace_id=\"{FORGED}\""));
        assert_eq!(of_text(&line), Err(Problem::RepeatedKey));
        // The message as a part of another line is none.
        for line in [
            TEXT.replace("msg=", "msg=x-"),
            TEXT.replace("level=info", "GET /"),
            format!("GET /{TEXT}"),
            r#"time="2026-05-04T10:20:01Z" msg="said CANONICAL-PROXY-DECISION" requested_host="a""#
                .to_owned(),
        ] {
            assert_eq!(of_text(&line), Ok(None), "{line}");
        }
        let other = JSON.replace(r#""msg":""#, r#""msg":"GET /"#);
        assert_eq!(of_object(&other), Ok(None));
        assert_eq!(of_object(&JSON.replace("\"allow\":true", "\"allow\":\"yes\"")), Ok(None));
    }
}
