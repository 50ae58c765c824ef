//! How a logged request or connection ended: what shows that it was passed on to an upstream.
//!
//! The question is put this way round, because a mesh refuses in many ways and each log format shows
//! some of them. What no sign shows to have been passed on is no evidence that it may pass.

use super::line::Field;
use serde::{Deserialize, Serialize};

/// How it ended, as far as the line says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Ending {
    /// An upstream got it, whatever it answered.
    PassedOn,
    /// The mesh did not let it through, or knew no way for it.
    Refused,
    /// There was a way, and no upstream was reached.
    Failed,
    /// The line does not say.
    Unsaid,
}

/// What an access log says of an ending.
#[derive(Debug)]
pub(super) struct Signs<'a> {
    /// The HTTP status; `None` for a connection.
    pub(super) status: Option<u64>,
    /// Bytes received and sent, where the log counts them.
    pub(super) bytes: Option<u64>,
    pub(super) flags: &'a Field<'a>,
    /// `%RESPONSE_CODE_DETAILS%`
    pub(super) details: &'a Field<'a>,
    /// `%CONNECTION_TERMINATION_DETAILS%`
    pub(super) termination: &'a Field<'a>,
    pub(super) guard: &'a Field<'a>,
    pub(super) cluster: &'a Field<'a>,
    pub(super) upstream: &'a Field<'a>,
}

/// Envoy's cluster for what the mesh does not know (`REGISTRY_ONLY`).
const BLACK_HOLE: &str = "BlackHoleCluster";
/// The upstream answered.
const VIA_UPSTREAM: &str = "via_upstream";
/// Envoy followed a redirect itself: authority and path of the line are those of the next request.
const INTERNAL_REDIRECT: &str = "internal_redirect";
/// An RBAC filter refused: of connections it may do so when the upstream is connected already.
const RBAC: &str = "rbac_access_denied";
/// Flags, short and long, by which no byte went to the upstream host that the line may name.
const NOT_SENT: [&str; 4] = ["UF", "UpstreamConnectionFailure", "UO", "UpstreamOverflow"];
/// Flags, short and long, by which a request or a connection failed that had a way.
const FAILURES: [&str; 16] = [
    "UF",
    "UpstreamConnectionFailure",
    "UO",
    "UpstreamOverflow",
    "UH",
    "NoHealthyUpstream",
    "UT",
    "UpstreamRequestTimeout",
    "DC",
    "DownstreamConnectionTermination",
    "DT",
    "DurationTimeout",
    "DF",
    "DnsResolutionFailed",
    "OM",
    "OverloadManagerTerminated",
];

impl Signs<'_> {
    pub(super) fn ending(&self) -> Ending {
        if self.says_refused() {
            return Ending::Refused;
        }
        if self.details.said() == Some(INTERNAL_REDIRECT) {
            return Ending::Unsaid;
        }
        let is_passed_on = match self.status {
            Some(status) => self.is_request_passed_on(status),
            None => self.is_connection_passed_on(),
        };
        if is_passed_on {
            return Ending::PassedOn;
        }
        let has_way = !self.cluster.is_absent();
        if has_way && self.has_flag(&FAILURES) {
            return Ending::Failed;
        }
        match self.says_something() {
            true => Ending::Refused,
            false => Ending::Unsaid,
        }
    }

    /// Whether the line names a refusal, whatever else it says.
    fn says_refused(&self) -> bool {
        let is_rbac = |text: &Field<'_>| text.said().is_some_and(|it| it.starts_with(RBAC));
        is_rbac(self.details)
            || is_rbac(self.termination)
            || self.guard.said() == Some("denied")
            || self.cluster.said() == Some(BLACK_HOLE)
    }

    fn is_request_passed_on(&self, status: u64) -> bool {
        if self.details.said() == Some(VIA_UPSTREAM) {
            return true;
        }
        if self.upstream.said().is_some() {
            return !self.has_flag(&NOT_SENT);
        }
        // A log without both fields: what Envoy answers itself is seldom a success without a flag, and
        // then no cluster was chosen.
        let is_unsaid = matches!((self.details, self.upstream), (Field::Unsaid, Field::Unsaid));
        let is_success = (100..300).contains(&status) && !self.flags.has_value();
        is_unsaid && is_success && !self.cluster.is_absent()
    }

    /// Of a connection, bytes tell: tcp_proxy connects before a filter behind the first byte refuses.
    fn is_connection_passed_on(&self) -> bool {
        if self.upstream.is_absent() || self.cluster.is_absent() || self.has_flag(&NOT_SENT) {
            return false;
        }
        let names_upstream = self.upstream.said().is_some();
        match self.bytes {
            Some(bytes) => bytes > 0 && (names_upstream || !self.flags.has_value()),
            None => names_upstream,
        }
    }

    /// Whether the line has a sign that an upstream would have left otherwise.
    fn says_something(&self) -> bool {
        self.upstream.is_absent()
            || self.cluster.is_absent()
            || self.details.said().is_some()
            || self.flags.has_value()
            || (self.status.is_none() && self.bytes == Some(0))
    }

    fn has_flag(&self, flags: &[&str]) -> bool {
        self.flags.said().is_some_and(|it| it.split(',').any(|flag| flags.contains(&flag)))
    }
}

#[cfg(test)]
mod tests {
    use super::super::line::{Fields, Logged};
    use super::super::prefix::Prefix;
    use super::*;
    use serde_json::{Value, json};

    /// The ending of a line with these fields and those that every line has.
    fn ending(kind: &Value, fields: &Value) -> Ending {
        let mut line = kind.clone();
        let object = line.as_object_mut().unwrap();
        object.extend(fields.as_object().unwrap().clone());
        let line = line.to_string();
        let fields = Fields::parse(&line, &[]).unwrap();
        Logged::of_object(Prefix::NONE, fields).expect("a request").ending()
    }

    fn request(fields: &Value) -> Ending {
        ending(&json!({"authority": "a.example", "method": "GET", "response_code": 403}), fields)
    }

    fn connection(fields: &Value) -> Ending {
        let kind = json!({
            "requested_server_name": "a.example", "response_flags": null,
            "bytes_received": 517, "bytes_sent": 3120,
        });
        ending(&kind, fields)
    }

    const WAY: &str = "outbound|443||a.example";

    #[test]
    fn a_request_was_passed_on_where_the_line_shows_an_upstream() {
        for fields in [
            json!({"response_code_details": "via_upstream"}),
            json!({"upstream_host": "192.0.2.1:443"}),
            json!({"upstream_host": "192.0.2.1:443", "response_flags": "UT"}),
            json!({"upstream_host": "192.0.2.1:443", "response_flags": "DC", "response_code": 0}),
            json!({"upstream_host": "192.0.2.1:443", "response_flags": "UC", "response_code": 503}),
            json!({"response_code": 200}),
            json!({"response_code": 201, "response_flags": "-", "upstream_cluster": WAY}),
        ] {
            assert_eq!(request(&fields), Ending::PassedOn, "{fields}");
        }
    }

    #[test]
    fn a_request_without_an_upstream_was_refused_however_the_mesh_says_so() {
        const RBAC: &str = "rbac_access_denied_matched_policy[none]";
        for fields in [
            json!({"response_code": 502, "route_name": "block_all", "upstream_host": null}),
            json!({"response_code": 502, "response_code_details": "direct_response"}),
            json!({"upstream_cluster": WAY, "response_code_details": RBAC}),
            json!({"upstream_cluster": WAY, "response_flags": "UAEX"}),
            json!({"upstream_cluster": WAY, "response_flags": "UAEX", "response_code": 200}),
            json!({"upstream_cluster": WAY, "upstream_host": null, "response_code": 200}),
            json!({"response_flags": "NR", "response_code_details": "route_not_found"}),
            json!({"upstream_cluster": null, "response_flags": "UH", "response_code": 503}),
            json!({"upstream_cluster": null, "response_code": 200}),
            json!({"upstream_cluster": "BlackHoleCluster", "response_flags": "UH"}),
            json!({"upstream_host": "192.0.2.1:443", "guard": "denied"}),
            json!({"egress_decision": "deny", "upstream_host": "192.0.2.1:443"}),
            json!({"egress_decision": "allow", "upstream_cluster": WAY, "upstream_host": null}),
        ] {
            assert_eq!(request(&fields), Ending::Refused, "{fields}");
        }
    }

    #[test]
    fn a_failure_on_the_way_is_neither_and_what_is_not_said_is_open() {
        for (fields, expected) in [
            (json!({"upstream_cluster": WAY, "response_flags": "UH"}), Ending::Failed),
            (json!({"upstream_host": "192.0.2.1:443", "response_flags": "UF,URX"}), Ending::Failed),
            (
                json!({"upstream_host": "192.0.2.1:443", "response_flags": "UpstreamOverflow"}),
                Ending::Failed,
            ),
            (json!({"upstream_cluster": WAY}), Ending::Unsaid),
            (json!({"upstream_cluster": WAY, "response_flags": "-"}), Ending::Unsaid),
            (
                json!({"upstream_host": "192.0.2.1:443", "response_code_details": "internal_redirect"}),
                Ending::Unsaid,
            ),
        ] {
            assert_eq!(request(&fields), expected, "{fields}");
        }
        let of_filter =
            json!({"egress_decision": "allow", "authority": "a.example", "method": "GET"});
        assert_eq!(ending(&of_filter, &json!({})), Ending::Unsaid);
    }

    #[test]
    fn a_connection_was_passed_on_where_bytes_went_to_an_upstream() {
        const RBAC: &str = "rbac_access_denied_matched_policy[none]";
        let to = |mut fields: Value| {
            let object = fields.as_object_mut().unwrap();
            object.entry("upstream_cluster").or_insert(WAY.into());
            object.entry("upstream_host").or_insert("192.0.2.1:443".into());
            fields
        };
        for (fields, expected) in [
            (to(json!({})), Ending::PassedOn),
            (json!({"upstream_cluster": WAY}), Ending::PassedOn),
            (json!({"response_flags": "NR", "upstream_host": null}), Ending::Refused),
            (json!({"response_flags": "NR"}), Ending::Refused),
            (to(json!({"connection_termination_details": RBAC})), Ending::Refused),
            (to(json!({"upstream_cluster": "BlackHoleCluster"})), Ending::Refused),
            (to(json!({"egress_connection_decision": "deny"})), Ending::Refused),
            (to(json!({"response_flags": "UF"})), Ending::Failed),
            (json!({"upstream_host": null, "bytes_received": 0, "bytes_sent": 0}), Ending::Refused),
            (to(json!({"bytes_received": 0, "bytes_sent": 0})), Ending::Refused),
            (json!({"bytes_received": null, "bytes_sent": null}), Ending::Unsaid),
        ] {
            assert_eq!(connection(&fields), expected, "{fields}");
        }
    }
}
