//! One line of a log as the request, or the connection, that it tells of.

use super::chunks::MAX_LINE;
use super::prefix::{Prefix, Start};
use super::unread::Problem;
use egress_warden::policy::{Action, ClusterPort, Reads, Request};
use egress_warden::root_id::Connections;
use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::Value;
use std::borrow::Cow;
use std::fmt;
use std::time::SystemTime;

/// Which of the two kinds of record a line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Form {
    /// Envoy's JSON access log.
    AccessLog,
    /// The filter's own JSON line.
    Filter,
}

impl Form {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::AccessLog => "access_log",
            Self::Filter => "filter",
        }
    }
}

/// A request or a connection that a log tells of.
#[derive(Debug)]
pub(crate) struct Logged<'a> {
    prefix: Prefix,
    form: Form,
    fields: Fields<'a>,
}

/// What the log says was decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct LoggedVerdict<'a> {
    pub(crate) action: Action,
    pub(crate) rule: Option<&'a str>,
    /// `rule` where the log leaves it out.
    pub(crate) reason: &'a str,
}

/// The filter's line cuts values at 1,024 bytes, at a character boundary: one that is no longer than
/// this was not cut.
const SURELY_WHOLE: usize = 1020;

/// The fields that a verdict depends on, and those that tell of one.
#[derive(Debug, Default)]
struct Fields<'a> {
    authority: Text<'a>,
    method: Text<'a>,
    path: Text<'a>,
    start_time: Text<'a>,
    upstream_cluster: Text<'a>,
    requested_server_name: Text<'a>,
    source_principal: Text<'a>,
    egress_decision: Text<'a>,
    egress_rule: Text<'a>,
    egress_reason: Text<'a>,
    egress_policy: Text<'a>,
    egress_connection_decision: Text<'a>,
    egress_connection_rule: Text<'a>,
    egress_connection_reason: Text<'a>,
    port: Option<u16>,
    /// Which HTTP it is; a connection has none.
    protocol: Text<'a>,
    /// The HTTP status, as only access logs tell it; 0 where there is no answer.
    response_code: Option<u64>,
    /// Whether Envoy tells how it ended, as only access logs do.
    response_flags: bool,
    /// Whether a key stands twice, at any depth. Neither Envoy nor the filter writes such an object.
    has_repeated_key: bool,
}

/// A text of a log: borrowed where it has no escape.
#[derive(Debug, Default)]
enum Text<'a> {
    /// The key is not there.
    #[default]
    Unsaid,
    /// `null`, or Envoy's `-`.
    Absent,
    Said(Cow<'a, str>),
}

impl<'a> Logged<'a> {
    /// Reads a line. `Ok(None)`: there is nothing in it. `plugin` is part of the filter's name in
    /// Envoy's own log.
    pub(crate) fn parse(line: &'a [u8], plugin: &str) -> Result<Option<Self>, Problem> {
        if line.len() > MAX_LINE {
            return Err(Problem::TooLong);
        }
        let text = std::str::from_utf8(line).map_err(|_| Problem::NotUtf8)?;
        if text.trim().is_empty() {
            return Ok(None);
        }
        let Start { prefix, record } = Prefix::split(text, plugin)?;
        let mut values = serde_json::Deserializer::from_str(record).into_iter::<Fields<'_>>();
        let fields = match values.next() {
            Some(Ok(fields)) => fields,
            Some(Err(error)) if error.is_eof() => return Err(Problem::HalfWritten),
            Some(Err(error)) if error.is_data() => return Err(Problem::OtherObject),
            Some(Err(_)) | None => return Err(Problem::NotJson),
        };
        let behind = record.get(values.byte_offset()..).unwrap_or_default().trim_ascii_end();
        let is_thread = |behind: &str| {
            let number = behind.strip_prefix("\tthread=").unwrap_or_default();
            !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit())
        };
        let may_follow = |behind| prefix.names_thread_behind() && is_thread(behind);
        if !behind.is_empty() && !may_follow(behind) {
            return Err(Problem::NotJson);
        }
        if fields.has_repeated_key {
            return Err(Problem::RepeatedKey);
        }
        let form = fields.form().ok_or(Problem::OtherObject)?;
        // Envoy's own log holds no access log: another plugin's text can look like one.
        if prefix.is_of_proxy_log() && form != Form::Filter {
            return Err(Problem::OtherObject);
        }
        Ok(Some(Self { prefix, form, fields }))
    }

    /// What stood before it on its line.
    pub(crate) fn prefix(&self) -> Prefix {
        self.prefix
    }

    pub(crate) fn form(&self) -> Form {
        self.form
    }

    /// Whether the line tells of a connection that was not terminated: of it neither method nor host
    /// are known, nor which HTTP it would be. The filter's own line says so by its keys.
    pub(crate) fn is_connection(&self) -> bool {
        let Fields { authority, method, protocol, .. } = &self.fields;
        if self.form == Form::Filter {
            return self.fields.egress_connection_decision.said().is_some();
        }
        [authority, method, protocol].into_iter().all(|it| it.said().is_none())
            && self.fields.response_code.unwrap_or_default() == 0
    }

    /// `:authority`, as sent, or the server name of a connection; empty where there was none.
    pub(crate) fn authority(&self) -> &str {
        let sent = match self.is_connection() {
            true => &self.fields.requested_server_name,
            false => &self.fields.authority,
        };
        sent.said().unwrap_or_default()
    }

    /// `:method`, as sent, empty where there was none; `None` for a connection.
    pub(crate) fn method(&self) -> Option<&str> {
        (!self.is_connection()).then(|| self.fields.method.said().unwrap_or_default())
    }

    /// The path as sent; absent too where the line has only its beginning.
    pub(crate) fn path(&self) -> Option<&str> {
        let path = self.fields.path.said()?;
        (self.form == Form::AccessLog || path.len() <= SURELY_WHOLE).then_some(path)
    }

    /// The caller's SPIFFE id without `spiffe://`: the first name of the certificate, where that is
    /// one, as the filter reads it.
    pub(crate) fn principal(&self) -> Option<&str> {
        let names = self.fields.source_principal.said()?;
        let principal = names.split(',').next()?.strip_prefix("spiffe://")?;
        let is_printable = principal.bytes().all(|byte| (0x20..=0x7e).contains(&byte));
        (is_printable && !principal.is_empty()).then_some(principal)
    }

    /// Whether the log has a place for the caller, filled or not.
    pub(crate) fn has_caller_field(&self) -> bool {
        self.form == Form::Filter || !matches!(self.fields.source_principal, Text::Unsaid)
    }

    /// When the request came, in nanoseconds since the Unix epoch.
    pub(crate) fn time(&self) -> Option<u64> {
        let time = humantime::parse_rfc3339(self.fields.start_time.said()?).ok()?;
        let since_epoch = time.duration_since(SystemTime::UNIX_EPOCH).ok()?;
        u64::try_from(since_epoch.as_nanos()).ok()
    }

    /// What was decided, where a filter did. A request's line may also have what was decided of the
    /// connection that it came on: that is not about the request.
    pub(crate) fn verdict(&self) -> Option<LoggedVerdict<'_>> {
        let fields = &self.fields;
        let (decision, rule, reason) = match self.is_connection() {
            true => (
                &fields.egress_connection_decision,
                &fields.egress_connection_rule,
                &fields.egress_connection_reason,
            ),
            false => (&fields.egress_decision, &fields.egress_rule, &fields.egress_reason),
        };
        let action = match decision.said()? {
            "allow" => Action::Allow,
            "deny" => Action::Deny,
            _ => return None,
        };
        let reason = reason.said().unwrap_or("rule");
        Some(LoggedVerdict { action, rule: rule.said(), reason })
    }

    /// Name and hash of the policy that decided a request.
    pub(crate) fn policy(&self) -> Option<&str> {
        self.fields.egress_policy.said()
    }

    /// Whether the request went nowhere: the filter refused it, or the mesh knows no such host.
    pub(crate) fn was_refused(&self) -> bool {
        self.verdict().is_some_and(|verdict| verdict.action == Action::Deny)
            || self.fields.upstream_cluster.said() == Some("BlackHoleCluster")
    }

    /// The request as a policy that asks for these facts gets it, or the connection as one of these.
    pub(crate) fn request(&self, reads: Reads, connections: Connections) -> Request<'_> {
        let authority = self.authority().as_bytes();
        let known = match self.method() {
            None => Request::connection(authority, connections),
            Some(method) => Request {
                path: self.path().map(str::as_bytes),
                server_name: if reads.server_name { self.server_name() } else { None },
                ..Request::new(authority, method.as_bytes())
            },
        };
        let mut request = Request {
            principal: self.principal(),
            now: if reads.clock { self.time() } else { None },
            ..known
        };
        request.cluster_port = self.cluster_port(&request);
        request
    }

    /// The filter's line has the port that was judged: none beside an authority with one is a
    /// conflict.
    fn cluster_port(&self, request: &Request<'_>) -> ClusterPort {
        match (self.form, self.fields.port) {
            (Form::Filter, Some(port)) => ClusterPort::Said(port),
            (Form::Filter, None) => {
                let says_port = request.authority.as_ref().is_ok_and(|it| it.port.is_some());
                if says_port { ClusterPort::Unknown } else { ClusterPort::Unsaid }
            }
            (Form::AccessLog, _) => {
                let cluster = self.fields.upstream_cluster.said();
                match cluster.map(|name| ClusterPort::of(name.as_bytes())) {
                    // A refused connection has no cluster, and its plugin's port stands nowhere.
                    None | Some(ClusterPort::Unsaid) => request.cluster_port,
                    Some(port) => port,
                }
            }
        }
    }

    /// The server name, empty where TLS had none. No log says whether there was TLS: a caller's
    /// certificate tells.
    fn server_name(&self) -> Option<&[u8]> {
        match (self.fields.requested_server_name.said(), self.fields.source_principal.said()) {
            (Some(name), _) => Some(name.as_bytes()),
            (None, Some(_)) => Some(b""),
            (None, None) => None,
        }
    }
}

impl Fields<'_> {
    fn form(&self) -> Option<Form> {
        let has = |field: &Text<'_>| !matches!(field, Text::Unsaid);
        let has_request = has(&self.authority) && has(&self.method);
        // What such a log writes of other connections has no answer either.
        let has_connection = self.response_flags && has(&self.requested_server_name);
        match self.response_code {
            Some(_) => has_request.then_some(Form::AccessLog),
            None if has_connection => Some(Form::AccessLog),
            None => {
                let decisions = [&self.egress_decision, &self.egress_connection_decision];
                let is_one = decisions.iter().filter(|it| it.said().is_some()).count() == 1;
                is_one.then_some(Form::Filter)
            }
        }
    }
}

impl Text<'_> {
    fn said(&self) -> Option<&str> {
        match self {
            Self::Said(text) => Some(text),
            Self::Absent | Self::Unsaid => None,
        }
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TextVisitor)
    }
}

struct TextVisitor;

impl<'de> Visitor<'de> for TextVisitor {
    type Value = Text<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string or null")
    }

    fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
        Ok(Text::Absent)
    }

    fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(if text == "-" { Text::Absent } else { Text::Said(Cow::Borrowed(text)) })
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Text::Said(Cow::Owned(text.to_owned())))
    }
}

impl<'de> Deserialize<'de> for Fields<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(FieldsVisitor)
    }
}

struct FieldsVisitor;

impl<'de> Visitor<'de> for FieldsVisitor {
    type Value = Fields<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut fields = Fields::default();
        let mut keys = Keys::default();
        while let Some(Key(key)) = map.next_key()? {
            match &*key {
                "authority" => fields.authority = map.next_value()?,
                "method" => fields.method = map.next_value()?,
                "path" => fields.path = map.next_value()?,
                "start_time" => fields.start_time = map.next_value()?,
                "upstream_cluster" => fields.upstream_cluster = map.next_value()?,
                "requested_server_name" => fields.requested_server_name = map.next_value()?,
                "source_principal" => fields.source_principal = map.next_value()?,
                "egress_decision" => fields.egress_decision = map.next_value()?,
                "egress_rule" => fields.egress_rule = map.next_value()?,
                "egress_reason" => fields.egress_reason = map.next_value()?,
                "egress_policy" => fields.egress_policy = map.next_value()?,
                "egress_connection_decision" => {
                    fields.egress_connection_decision = map.next_value()?;
                }
                "egress_connection_rule" => fields.egress_connection_rule = map.next_value()?,
                "egress_connection_reason" => fields.egress_connection_reason = map.next_value()?,
                "port" => fields.port = map.next_value()?,
                "protocol" => fields.protocol = map.next_value()?,
                "response_code" => {
                    let status: Value = map.next_value()?;
                    fields.response_code = Some(status.as_u64().unwrap_or_default());
                }
                _ => {
                    fields.response_flags |= key == "response_flags";
                    let Other { has_repeated_key } = map.next_value()?;
                    fields.has_repeated_key |= has_repeated_key;
                }
            }
            keys.0.push(key);
        }
        fields.has_repeated_key |= keys.repeat();
        Ok(fields)
    }
}

/// A key of an object, borrowed where it has no escape.
#[derive(serde::Deserialize)]
struct Key<'a>(#[serde(borrow)] Cow<'a, str>);

/// The keys of one object.
#[derive(Default)]
struct Keys<'a>(Vec<Cow<'a, str>>);

impl Keys<'_> {
    /// Whether one stands twice. Quick where they are in order, as Envoy writes them.
    fn repeat(mut self) -> bool {
        self.0.sort_unstable();
        self.0.windows(2).any(|pair| matches!(pair, [one, next] if one == next))
    }
}

/// A value that is not looked at but for its keys.
struct Other {
    has_repeated_key: bool,
}

impl<'de> Deserialize<'de> for Other {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(OtherVisitor)
    }
}

struct OtherVisitor;

impl OtherVisitor {
    const SCALAR: Other = Other { has_repeated_key: false };
}

impl<'de> Visitor<'de> for OtherVisitor {
    type Value = Other;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E: Error>(self) -> Result<Other, E> {
        Ok(Self::SCALAR)
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<Other, E> {
        Ok(Self::SCALAR)
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<Other, E> {
        Ok(Self::SCALAR)
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<Other, E> {
        Ok(Self::SCALAR)
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<Other, E> {
        Ok(Self::SCALAR)
    }

    fn visit_str<E: Error>(self, _: &str) -> Result<Other, E> {
        Ok(Self::SCALAR)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Other, A::Error> {
        let mut has_repeated_key = false;
        while let Some(item) = items.next_element::<Other>()? {
            has_repeated_key |= item.has_repeated_key;
        }
        Ok(Other { has_repeated_key })
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Other, A::Error> {
        let mut has_repeated_key = false;
        let mut keys = Keys::default();
        while let Some((Key(key), value)) = map.next_entry::<Key<'_>, Other>()? {
            has_repeated_key |= value.has_repeated_key;
            keys.0.push(key);
        }
        has_repeated_key |= keys.repeat();
        Ok(Other { has_repeated_key })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use egress_warden::config;
    use egress_warden::policy::Policy;

    const PLUGIN: &str = "egress-warden";
    const ACCESS: &str = r#"{"start_time":"2026-11-25T03:00:00.123Z","method":"POST","path":"/v1/charges?x=1","authority":"API.Stripe.com:443","response_code":200,"upstream_cluster":"outbound|443||api.stripe.com","requested_server_name":"api.stripe.com","source_principal":"spiffe://cluster.local/ns/pay/sa/api,spiffe://other","egress_decision":"allow","egress_rule":"stripe","egress_reason":null,"duration":12}"#;
    const FILTER: &str = r#"{"egress_decision":"deny","egress_reason":"default","egress_policy":"p@0","start_time":"2026-11-25T03:00:00.123Z","host":"denied.example","authority":"denied.example","port":80,"method":"GET","path":"/"}"#;
    const ISTIO: &str = r#"{"authority":"a.example","bytes_received":0,"method":"GET","path":null,"response_code":301,"start_time":"2026-11-25T03:00:00.123Z","upstream_cluster":"PassthroughCluster","user_agent":"-","requested_server_name":"-"}"#;

    /// Of the listener in envoy/gateway-tls.yaml.
    const LISTENER: &str = r#"{"bytes_received":300,"bytes_sent":9,"connection_termination_details":null,"downstream_local_address":"127.0.0.1:15031","downstream_remote_address":"127.1.0.0:4000","duration":3,"egress_connection_decision":"allow","egress_connection_policy":"p@0","egress_connection_rule":"stripe","requested_server_name":"api.stripe.com","response_flags":"-","source_principal":null,"start_time":"2026-11-25T03:00:00.123Z","upstream_cluster":"outbound|443||api.stripe.com"}"#;
    const FILTER_OF_CONNECTIONS: &str = r#"{"egress_connection_decision":"deny","egress_connection_reason":"default","egress_connection_policy":"p@0","start_time":"2026-11-25T03:00:00.123Z","host":"denied.example","port":8443,"downstream_remote_address":"127.1.0.0:4000","downstream_local_address":"127.0.0.1:15031","requested_server_name":"denied.example"}"#;
    /// Of tcp_proxy, in the format of ISTIO.
    const ISTIOS_CONNECTION: &str = r#"{"authority":null,"bytes_received":300,"method":null,"path":null,"protocol":null,"response_code":0,"response_flags":"-","start_time":"2026-11-25T03:00:00.123Z","upstream_cluster":"outbound|8443||api.stripe.com","requested_server_name":"outbound_.8443_._.api.stripe.com"}"#;

    fn logged(line: &str) -> Logged<'_> {
        Logged::parse(line.as_bytes(), PLUGIN).expect(line).expect(line)
    }

    fn problem(line: &[u8]) -> Problem {
        Logged::parse(line, PLUGIN).expect_err("no request")
    }

    fn everything() -> Reads {
        Reads { principal: true, cluster: true, clock: true, server_name: true }
    }

    #[test]
    fn an_access_log_tells_every_fact() {
        let logged = logged(ACCESS);
        let request = logged.request(everything(), Connections::default());
        assert_eq!(logged.form(), Form::AccessLog);
        assert_eq!(request.authority.as_ref().unwrap().host.canonical(), "api.stripe.com");
        assert_eq!(request.method, Some(&b"POST"[..]));
        assert_eq!(request.path, Some(&b"/v1/charges?x=1"[..]));
        assert_eq!(request.port(), Some(443));
        assert_eq!(request.principal, Some("cluster.local/ns/pay/sa/api"));
        assert_eq!(request.server_name, Some(&b"api.stripe.com"[..]));
        assert_eq!(request.now, Some(1_795_575_600_123_000_000));
        let verdict = LoggedVerdict { action: Action::Allow, rule: Some("stripe"), reason: "rule" };
        assert_eq!(logged.verdict(), Some(verdict));
        assert!(logged.has_caller_field());
    }

    #[test]
    fn the_filters_line_is_read_behind_every_prefix() {
        for line in [
            FILTER.to_owned(),
            format!(
                "[2026-11-25 03:00:00.124][7][warning][wasm] [source/extensions/common/wasm/context.cc:1148] wasm log egress-warden: {FILTER}"
            ),
            format!(
                "2026-11-25T03:00:00.124Z\twarning\tenvoy wasm external/envoy/source/extensions/common/wasm/context.cc:1198\twasm log egress-warden: {FILTER}\tthread=25"
            ),
            format!("2026-11-25T03:00:00.124Z stderr F {FILTER}"),
            format!("[pod/gateway/istio-proxy] {FILTER}  "),
        ] {
            let logged = logged(&line);
            assert_eq!(logged.form(), Form::Filter);
            assert_eq!(logged.request(everything(), Connections::default()).port(), Some(80));
            assert!(logged.was_refused());
        }
    }

    #[test]
    fn a_value_that_the_filter_may_have_cut_is_unknown() {
        let with_path = |length| FILTER.replace(r#""/""#, &format!(r#""/{}""#, "x".repeat(length)));
        assert!(logged(&with_path(1019)).path().is_some());
        assert!(logged(&with_path(1020)).path().is_none());
        let access = ACCESS.replace("/v1/charges", &format!("/{}", "x".repeat(5000)));
        assert!(logged(&access).path().is_some());
    }

    #[test]
    fn the_filters_line_without_a_port_beside_one_that_was_sent_is_a_conflict() {
        let request_of =
            |line: &str| logged(line).request(everything(), Connections::default()).cluster_port;
        let unsaid = FILTER.replace(r#""port":80,"#, "");
        assert_eq!(request_of(&unsaid), ClusterPort::Unsaid);
        let conflict =
            unsaid.replace(r#""authority":"denied.example""#, r#""authority":"denied.example:81""#);
        assert_eq!(request_of(&conflict), ClusterPort::Unknown);
    }

    #[test]
    fn istios_own_log_knows_no_caller_and_no_verdict() {
        let logged = logged(ISTIO);
        let request = logged.request(everything(), Connections::default());
        assert!(!logged.has_caller_field());
        assert_eq!(logged.verdict(), None);
        assert_eq!((request.path, request.principal, request.server_name), (None, None, None));
        assert_eq!(request.port(), None);
    }

    #[test]
    fn connections_are_told_from_requests_and_judged_as_such() {
        let host_under = |root_id: &str, line: &str, form, port| {
            let connections = Connections::of_root_id(root_id.as_bytes()).unwrap().unwrap();
            let logged = logged(line);
            assert_eq!((logged.is_connection(), logged.method()), (true, None), "{line}");
            assert_eq!(logged.form(), form, "{line}");
            let request = logged.request(everything(), connections);
            assert_eq!((request.method, request.path), (None, None), "{line}");
            assert_eq!(request.port(), port, "{line}");
            request.authority.unwrap().host.canonical().into_owned()
        };
        let host_of = |line: &str, form, port| host_under("connections", line, form, port);
        assert_eq!(host_of(LISTENER, Form::AccessLog, Some(443)), "api.stripe.com");
        assert_eq!(host_of(FILTER_OF_CONNECTIONS, Form::Filter, Some(8443)), "denied.example");
        // The port is that of the cluster that was taken.
        let host =
            host_under("connections:mesh-names", ISTIOS_CONNECTION, Form::AccessLog, Some(8443));
        assert_eq!(host, "api.stripe.com");
        // A refused one went nowhere: its cluster is not there to name the port.
        let refused = LISTENER.replace(r#""outbound|443||api.stripe.com""#, "null");
        assert_eq!(host_of(&refused, Form::AccessLog, Some(443)), "api.stripe.com");
        let host = host_under("connections:8443", &refused, Form::AccessLog, Some(8443));
        assert_eq!(host, "api.stripe.com");
        let conflict = FILTER_OF_CONNECTIONS
            .replace(r#""port":8443,"#, "")
            .replace(r#"name":"denied.example"#, r#"name":"outbound_.443_._.denied.example"#);
        let host = host_under("connections:8443:mesh-names", &conflict, Form::Filter, None);
        assert_eq!(host, "denied.example");

        assert!(logged(FILTER_OF_CONNECTIONS).was_refused());
        for request in [ACCESS, FILTER, ISTIO] {
            assert!(!logged(request).is_connection(), "{request}");
        }
        // Headers that never came whole: HTTP for all that, though TLS around it had a server name.
        let cut_off = ISTIOS_CONNECTION.replace(r#""protocol":null"#, r#""protocol":"HTTP/1.1""#);
        assert!(!logged(&cut_off).is_connection());
        let refused_by_the_codec =
            ISTIOS_CONNECTION.replace(r#""response_code":0"#, r#""response_code":400"#);
        assert!(!logged(&refused_by_the_codec).is_connection());
    }

    /// Where both filters stand in one chain, every request's log may show the connection's filter state.
    #[test]
    fn a_connections_verdict_is_no_requests_and_the_other_way_round() {
        let with = |line: &str, fields: &str| line.replacen('{', &format!("{{{fields},"), 1);
        let of_connection = r#""egress_connection_decision":"deny","egress_connection_rule":"c""#;
        let of_request = r#""egress_decision":"deny","egress_rule":"r""#;
        let stripe = LoggedVerdict { action: Action::Allow, rule: Some("stripe"), reason: "rule" };
        assert_eq!(logged(&with(ACCESS, of_connection)).verdict(), Some(stripe));
        assert_eq!(logged(&with(LISTENER, of_request)).verdict(), Some(stripe));
        assert_eq!(logged(&with(ISTIO, of_connection)).verdict(), None);
        assert_eq!(logged(&with(ISTIOS_CONNECTION, of_request)).verdict(), None);
        // The filter writes no such line.
        assert_eq!(problem(with(FILTER, of_connection).as_bytes()), Problem::OtherObject);
    }

    #[test]
    fn tls_without_a_server_name_is_told_by_the_callers_certificate() {
        let without = ACCESS.replace(
            r#""requested_server_name":"api.stripe.com""#,
            r#""requested_server_name":null"#,
        );
        assert_eq!(
            logged(&without).request(everything(), Connections::default()).server_name,
            Some(&b""[..])
        );
    }

    #[test]
    fn other_lines_are_told_apart() {
        use Problem as P;
        assert!(matches!(Logged::parse(b" \t ", PLUGIN), Ok(None)));
        for (line, expected) in [
            (&b"[warning] cannot connect"[..], P::NoObject),
            (b"\x7fELF\x02\x01\0\0", P::NoObject),
            (b"\xff{}", P::NotUtf8),
            (b"{nonsense}", P::NotJson),
            (br#"{"a":1} {"b":2}"#, P::NotJson),
            (br#"{"authority":"a.example","method":"GE"#, P::HalfWritten),
            (br#"{"level":"info","msg":"started"}"#, P::OtherObject),
            (br#"{"authority":"a.example","method":7,"response_code":200}"#, P::OtherObject),
            (
                br#"{"authority":"a","authority":"b","method":"GET","response_code":1}"#,
                P::RepeatedKey,
            ),
            (br#"{"authority":"a.example","response_code":200}"#, P::OtherObject),
        ] {
            assert_eq!(problem(line), expected, "{}", String::from_utf8_lossy(line));
        }
        let mut long = ACCESS.replace("/v1", &"x".repeat(MAX_LINE));
        assert_eq!(problem(long.as_bytes()), P::TooLong);
        long.truncate(long.len() / 2);
        assert_eq!(problem(long.as_bytes()), P::HalfWritten);
    }

    #[test]
    fn a_logged_request_is_judged_as_the_filter_judged_it() {
        let text = br#"{"policy":"p","rules":[{"id":"stripe","action":"allow","from":[{"principals":["cluster.local/ns/pay/*"]}],"to":[{"hosts":["api.stripe.com"],"ports":[443],"paths":["/v1/*"]}]}]}"#;
        let policy: Policy = config::read(text).unwrap().policy;
        let logged = logged(ACCESS);
        let verdict =
            policy.decide(&logged.request(policy.reads(), Connections::default())).verdict;
        assert_eq!(verdict.action, Action::Allow);
    }
}
