//! What others decided who see traffic leave: Smokescreen, Squid, and Cilium by Hubble's flows.
//!
//! They ask other questions than Envoy's access log answers, so each line becomes what a policy can be
//! asked: a tunnel to `HOST:PORT` is a connection to that host, because in the mesh the same client
//! sends TLS without a proxy; a request in clear is a request where the line has its method, and a
//! connection else. Whom they name as the caller (a role, an address, a pod) is no SPIFFE id that a
//! mesh verified: callers stay unknown.
//!
//! Whatever a caller may choose in such a line must not become another line's facts: the readers take
//! a line as a whole, in the one way in which its writer can have written it, or not at all.

mod hubble;
mod logfmt;
mod smokescreen;
mod squid;

use super::ending::Ending;
use super::line::Form;
use super::unread::Problem;
use egress_warden::policy::Action;
use egress_warden::time::Time;
use std::borrow::Cow;

/// What one line tells.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Decision<'a> {
    pub(super) form: Form,
    pub(super) asked: Asked<'a>,
    /// That was asked for, or is usual for the scheme.
    pub(super) port: Option<u16>,
    pub(super) time: Option<Time>,
    /// What was decided, where the line says so.
    pub(super) action: Option<Action>,
    pub(super) ending: Ending,
}

/// What was asked for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Asked<'a> {
    Request {
        method: Cow<'a, str>,
        authority: Cow<'a, str>,
        path: Option<Cow<'a, str>>,
    },
    /// A connection to a host, of which no method and no path are known.
    Connection {
        host: Cow<'a, str>,
    },
}

/// What a line is that was read as one of these.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Told<'a> {
    Decision(Decision<'a>),
    /// Something else that its writer says: no request that leaves.
    PassedOver,
}

/// Whether an object, or one within, may be of one of these.
pub(super) fn may_be(record: &str) -> bool {
    smokescreen::may_be(record) || hubble::may_be(record)
}

/// Reads an object; `None` where it is of none of them.
pub(super) fn of_object(record: &str) -> Result<Option<Told<'_>>, Problem> {
    if smokescreen::may_be(record) {
        return smokescreen::of_object(record);
    }
    if hubble::may_be(record) {
        return hubble::of_object(record);
    }
    Ok(None)
}

/// Reads a line of text; `None` where it is of none of them.
pub(super) fn of_text(line: &str) -> Result<Option<Told<'_>>, Problem> {
    if smokescreen::may_be(line) {
        return smokescreen::of_text(line);
    }
    squid::of_text(line)
}

/// Splits `HOST:PORT` as a tunnel names it, and leaves what is not of that form as it is.
fn host_and_port(text: &str) -> (&str, Option<u16>) {
    let Some((host, port)) = text.rsplit_once(':') else { return (text, None) };
    let is_number = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
    match port.parse() {
        Ok(port) if is_number => (host, Some(port)),
        _ => (text, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_digits_behind_the_last_colon_are_a_port() {
        for (text, expected) in [
            ("a.test:443", ("a.test", Some(443))),
            ("[2001:db8::1]:443", ("[2001:db8::1]", Some(443))),
            ("a.test", ("a.test", None)),
            ("a.test:", ("a.test:", None)),
            ("a.test:+443", ("a.test:+443", None)),
            ("a.test:65536", ("a.test:65536", None)),
            ("a.test:443/x", ("a.test:443/x", None)),
        ] {
            assert_eq!(host_and_port(text), expected);
        }
    }
}
