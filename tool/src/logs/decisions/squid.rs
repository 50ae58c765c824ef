//! Squid's own log format:
//! `TIME.MS ELAPSED CLIENT ACTION/STATUS BYTES METHOD URL USER HIERARCHY/PEER TYPE`.
//!
//! Squid escapes blanks in what callers send, unless it was told not to. A line with more blanks than
//! the format has can be read in several ways, and is not.

use super::super::ending::Ending;
use super::super::line::Form;
use super::super::unread::Problem;
use super::{Asked, Decision, Told, host_and_port};
use egress_warden::policy::Action;
use egress_warden::time::Time;
use std::net::IpAddr;

/// The start of a line, up to the bytes, by which a line of Squid is told.
struct Start<'a> {
    began: Option<Time>,
    action: &'a str,
    status: u16,
    rest: &'a str,
}

/// What stands behind.
const FIELDS: usize = 6;

pub(super) fn of_text(line: &str) -> Result<Option<Told<'_>>, Problem> {
    let Some(start) = Start::read(line) else { return Ok(None) };
    let fields: Vec<_> = start.rest.trim_end().split(' ').collect();
    let [bytes, method, url, _user, way, _type] = fields[..] else {
        return match fields.len() > FIELDS {
            true => Err(Problem::Ambiguous),
            false => Ok(None),
        };
    };
    let Some((hierarchy, peer)) = way.split_once('/') else { return Ok(None) };
    if !is_number(bytes) || !hierarchy.bytes().all(is_code_byte) {
        return Ok(None);
    }
    let Some((asked, port)) = asked(method, url) else { return Ok(Some(Told::PassedOver)) };
    let (action, ending) = start.outcome(peer);
    Ok(Some(Told::Decision(Decision {
        form: Form::Squid,
        asked,
        port,
        time: start.began,
        action,
        ending,
    })))
}

impl<'a> Start<'a> {
    fn read(line: &'a str) -> Option<Self> {
        let (time, rest) = line.split_once(' ')?;
        let (seconds, milliseconds) = time.split_once('.')?;
        let is_time = seconds.len() == 10 && milliseconds.len() == 3;
        // The elapsed time is aligned by blanks.
        let (elapsed, rest) = rest.trim_start_matches(' ').split_once(' ')?;
        let (client, rest) = rest.split_once(' ')?;
        let (result, rest) = rest.split_once(' ')?;
        let (action, status) = result.split_once('/')?;
        let is_line = is_time
            && [seconds, milliseconds, elapsed, status].into_iter().all(is_number)
            && client.parse::<IpAddr>().is_ok()
            && action.bytes().all(is_code_byte)
            && status.len() == 3;
        let logged: u64 = format!("{seconds}{milliseconds}").parse().ok()?;
        let began = elapsed.parse().ok().and_then(|elapsed| logged.checked_sub(elapsed));
        is_line.then_some(())?;
        Some(Self {
            began: began.map(|began| Time::of_nanoseconds(began.saturating_mul(1_000_000))),
            action,
            status: status.parse().ok()?,
            rest,
        })
    }

    /// What was decided, and what became of it. Squid answers 502, 503 and 504 itself if it reaches
    /// nobody, and passes on those of others.
    fn outcome(&self, peer: &str) -> (Option<Action>, Ending) {
        if self.action.contains("DENIED") {
            return (Some(Action::Deny), Ending::Refused);
        }
        let is_answered = peer != "-" || self.action.contains("HIT");
        let ending = match (is_answered, self.status) {
            (_, 502..=504) => Ending::Failed,
            (true, _) => Ending::PassedOn,
            (false, _) => Ending::Unsaid,
        };
        (Some(Action::Allow), ending)
    }
}

/// What was asked for, and by which port; `None` where it is no request that a policy can be asked.
fn asked<'a>(method: &'a str, url: &'a str) -> Option<(Asked<'a>, Option<u16>)> {
    if method == "CONNECT" {
        let (host, port) = host_and_port(url);
        return Some((Asked::Connection { host: host.into() }, port));
    }
    let (scheme, rest) = url.split_once("://")?;
    let usual = match scheme {
        "http" => 80,
        "https" => 443,
        _ => return None,
    };
    let (authority, path) = match rest.find(['/', '?', '#']) {
        Some(end) => rest.split_at_checked(end)?,
        None => (rest, "/"),
    };
    let port = host_and_port(authority).1.unwrap_or(usual);
    // Squid cuts a query off behind its `?`, unless it was told not to: then it is not known.
    let path = (!path.ends_with('?')).then(|| path.into());
    let (method, authority) = (method.into(), authority.into());
    Some((Asked::Request { method, authority, path }, Some(port)))
}

fn is_code_byte(byte: u8) -> bool {
    byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_'
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    const TUNNEL: &str = "1777890001.437    300 10.0.0.7 TCP_TUNNEL/200 5390 CONNECT a.squid.test:443 - HIER_DIRECT/203.0.113.7 -";
    const GET: &str = "1777890002.574     12 10.0.0.7 TCP_MISS/404 812 GET http://b.squid.test:8080/one?q=1 web HIER_DIRECT/203.0.113.8 text/html";

    fn decision(line: &str) -> Decision<'_> {
        match of_text(line) {
            Ok(Some(Told::Decision(decision))) => decision,
            other => panic!("{line}: {other:?}"),
        }
    }

    fn request<'a>(authority: &'a str, path: Option<&'a str>) -> Asked<'a> {
        Asked::Request {
            method: "GET".into(),
            authority: authority.into(),
            path: path.map(Into::into),
        }
    }

    #[test]
    fn tunnels_are_connections_and_urls_requests() {
        let tunnel = decision(TUNNEL);
        assert_eq!(tunnel.asked, Asked::Connection { host: "a.squid.test".into() });
        assert_eq!((tunnel.port, tunnel.action), (Some(443), Some(Action::Allow)));
        assert_eq!(tunnel.time, "2026-05-04T10:20:01.137Z".parse().ok());
        for (url, asked, port) in [
            (
                "http://b.squid.test:8080/one?q=1",
                request("b.squid.test:8080", Some("/one?q=1")),
                8080,
            ),
            ("http://b.squid.test", request("b.squid.test", Some("/")), 80),
            ("https://b.squid.test/one?", request("b.squid.test", None), 443),
            ("http://b.squid.test?x", request("b.squid.test", Some("?x")), 80),
            ("http://[2001:db8::1]/", request("[2001:db8::1]", Some("/")), 80),
            ("http://u@evil.test/", request("u@evil.test", Some("/")), 80),
        ] {
            let line = GET.replace("http://b.squid.test:8080/one?q=1", url);
            let read = decision(&line);
            assert_eq!((read.asked, read.port), (asked, Some(port)), "{line}");
        }
    }

    #[test]
    fn the_result_tells_what_became_of_it() {
        use Action::{Allow, Deny};
        for (result, peer, action, ending) in [
            ("TCP_MISS/404", "HIER_DIRECT/203.0.113.8", Allow, Ending::PassedOn),
            ("TCP_MISS_ABORTED/000", "HIER_DIRECT/203.0.113.8", Allow, Ending::PassedOn),
            ("TCP_MEM_HIT/200", "HIER_NONE/-", Allow, Ending::PassedOn),
            ("TCP_DENIED/403", "HIER_NONE/-", Deny, Ending::Refused),
            ("TCP_DENIED_REPLY/403", "HIER_DIRECT/203.0.113.8", Deny, Ending::Refused),
            ("TCP_DENIED/407", "HIER_NONE/-", Deny, Ending::Refused),
            ("TCP_MISS/503", "HIER_NONE/-", Allow, Ending::Failed),
            ("TCP_MISS/503", "HIER_DIRECT/203.0.113.8", Allow, Ending::Failed),
            ("TCP_MISS/200", "HIER_NONE/-", Allow, Ending::Unsaid),
        ] {
            let line = GET.replace("TCP_MISS/404", result).replace("HIER_DIRECT/203.0.113.8", peer);
            let read = decision(&line);
            assert_eq!((read.action, read.ending), (Some(action), ending), "{line}");
        }
    }

    #[test]
    fn what_asks_for_nothing_is_passed_over() {
        for (method, url) in [
            ("NONE", "error:invalid-request"),
            ("-", "error:transaction-end-before-headers"),
            ("GET", "cache_object://localhost/info"),
            ("GET", "ftp://a.test/"),
            ("GET", "/relative"),
        ] {
            let line = GET.replace("GET", method).replace("http://b.squid.test:8080/one?q=1", url);
            assert_eq!(of_text(&line), Ok(Some(Told::PassedOver)), "{line}");
        }
    }

    #[test]
    fn a_line_with_more_blanks_than_the_format_is_read_in_no_way() {
        for (old, new) in [
            ("/one?q=1", "/ - HIER_DIRECT/203.0.113.9 text/html"),
            ("/one?q=1", "/one two"),
            (" web ", " web shop "),
            ("text/html", "text/html [Host: evil.test]"),
            (" GET ", "  GET "),
        ] {
            let line = GET.replacen(old, new, 1);
            assert_eq!(of_text(&line), Err(Problem::Ambiguous), "{line}");
        }
        for line in [
            GET.replace("10.0.0.7", "a.test"),
            GET.replace("1777890002.574", "1777890002"),
            GET.replace("TCP_MISS/404", "tcp/404"),
            GET.replace("/404", "/x"),
            GET.replace("812", "-"),
            GET.replace("HIER_DIRECT/", ""),
            GET.replace(" text/html", ""),
            format!("GET {GET}"),
        ] {
            assert_eq!(of_text(&line), Ok(None), "{line}");
        }
    }
}
