//! One line of a log as the request, or the connection, that it tells of.

use super::decisions::{Asked, Decision};
use super::documents::is_list_key;
use super::ending::{Ending, Signs};
use super::hop::{Hop, OF_WAYPOINT};
use super::names::{self, Name};
use super::prefix::Prefix;
use super::time;
use super::unread::Problem;
use crate::judgement::Judgement;
use egress_warden::host::{Authority, Host};
use egress_warden::policy::{Action, ClusterPort, Dialled, Reads, Reason, Request};
use egress_warden::root_id::Connections;
use egress_warden::time::Time;
use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Serialize};
use serde_json::Number;
use std::borrow::Cow;
use std::fmt;

/// Which kind of record a line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Form {
    /// Envoy's JSON access log.
    AccessLog,
    /// Envoy's access log in text.
    TextLog,
    /// The filter's own JSON line.
    Filter,
    /// What Smokescreen decided.
    Smokescreen,
    /// Squid's own log.
    Squid,
    /// A flow of Hubble: what Cilium let through or dropped.
    Hubble,
}

impl Form {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::AccessLog => "access_log",
            Self::TextLog => "text_log",
            Self::Filter => "filter",
            Self::Smokescreen => "smokescreen",
            Self::Squid => "squid",
            Self::Hubble => "hubble",
        }
    }

    /// Whether it tells what another proxy, or a network, decided.
    pub(crate) fn is_of_others(self) -> bool {
        matches!(self, Self::Smokescreen | Self::Squid | Self::Hubble)
    }

    /// The reason of a verdict that is not the filter's.
    fn reason(self, action: Action) -> &'static str {
        match (self, action) {
            (Self::Smokescreen, Action::Allow) => "allowed_by_smokescreen",
            (Self::Smokescreen, Action::Deny) => "refused_by_smokescreen",
            (Self::Squid, Action::Allow) => "allowed_by_squid",
            (Self::Squid, Action::Deny) => "refused_by_squid",
            (Self::Hubble, Action::Allow) => "allowed_by_cilium",
            (Self::Hubble, Action::Deny) => "refused_by_cilium",
            (Self::AccessLog | Self::TextLog | Self::Filter, _) => "rule",
        }
    }
}

/// A request or a connection that a log tells of.
#[derive(Debug)]
pub(crate) struct Logged<'a> {
    pub(super) prefix: Prefix,
    pub(super) form: Form,
    pub(super) fields: Fields<'a>,
    /// Whether it is a connection.
    pub(super) is_connection: bool,
    pub(super) time: Option<Time>,
    /// What others say that they decided.
    pub(super) decided: Option<Action>,
    /// What became of it, where that is said and not to be told from the fields.
    pub(super) ending: Option<Ending>,
}

/// What the log says was decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct LoggedVerdict<'a> {
    pub(crate) action: Action,
    pub(crate) rule: Option<&'a str>,
    /// `rule` where the log leaves it out.
    pub(crate) reason: &'a str,
}

impl From<LoggedVerdict<'_>> for Judgement {
    fn from(verdict: LoggedVerdict<'_>) -> Self {
        Self {
            decision: verdict.action.as_str().into(),
            reason: verdict.reason.into(),
            rule: verdict.rule.map(Box::from),
        }
    }
}

/// The verdict of a log that has none of the filter, and shows that the mesh refused.
pub(crate) const BY_MESH: LoggedVerdict<'static> =
    LoggedVerdict { action: Action::Deny, rule: None, reason: "refused_by_mesh" };

/// The fields in which a filter tells of one verdict.
pub(super) struct VerdictFields<'l, 'a> {
    pub(super) decision: &'l Field<'a>,
    pub(super) rule: &'l Field<'a>,
    pub(super) reason: &'l Field<'a>,
}

/// The filter's line cuts values at 1,024 bytes, at a character boundary: one that is no longer than
/// this was not cut.
const SURELY_WHOLE: usize = 1020;

/// The fields that a verdict depends on, and those that tell of one.
#[derive(Debug, Default)]
pub(super) struct Fields<'a> {
    pub(super) authority: Field<'a>,
    /// The other host that was dialled at a waypoint, in the filter's line.
    pub(super) dialled_host: Field<'a>,
    pub(super) method: Field<'a>,
    pub(super) path: Field<'a>,
    pub(super) start_time: Field<'a>,
    /// `@timestamp`, as collectors call the time.
    pub(super) collected_at: Field<'a>,
    pub(super) timestamp: Field<'a>,
    pub(super) upstream_cluster: Field<'a>,
    pub(super) requested_server_name: Field<'a>,
    pub(super) source_principal: Field<'a>,
    pub(super) egress_decision: Field<'a>,
    pub(super) egress_rule: Field<'a>,
    pub(super) egress_reason: Field<'a>,
    pub(super) egress_would: Field<'a>,
    pub(super) egress_would_rule: Field<'a>,
    pub(super) egress_would_reason: Field<'a>,
    pub(super) egress_policy: Field<'a>,
    pub(super) egress_connection_decision: Field<'a>,
    pub(super) egress_connection_rule: Field<'a>,
    pub(super) egress_connection_reason: Field<'a>,
    pub(super) egress_connection_would: Field<'a>,
    pub(super) egress_connection_would_rule: Field<'a>,
    pub(super) egress_connection_would_reason: Field<'a>,
    pub(super) port: Field<'a>,
    /// Which HTTP it is; a connection has none.
    pub(super) protocol: Field<'a>,
    /// The HTTP status, as only access logs tell it; 0 where there is no answer.
    pub(super) response_code: Field<'a>,
    /// How it ended, as only access logs tell it.
    pub(super) response_flags: Field<'a>,
    pub(super) response_code_details: Field<'a>,
    pub(super) connection_termination_details: Field<'a>,
    pub(super) upstream_host: Field<'a>,
    /// What the guard said, in the shipped log.
    pub(super) guard: Field<'a>,
    pub(super) bytes_received: Field<'a>,
    pub(super) bytes_sent: Field<'a>,
    /// How grave it is: of a program's own message.
    pub(super) level: Field<'a>,
    /// Which part of Istio's proxy says so.
    pub(super) scope: Field<'a>,
    /// What may hold the record, where this object is an envelope.
    pub(super) inner: Vec<Inner<'a>>,
    /// Whether a key holds a list of records.
    pub(super) has_list: bool,
    /// Whether a key stands twice, at any depth. Neither Envoy nor the filter writes such an object.
    pub(super) has_repeated_key: bool,
}

/// What an envelope holds.
#[derive(Debug)]
pub(super) enum Inner<'a> {
    Text(Cow<'a, str>),
    Object(Box<Fields<'a>>),
}

/// A value of a log. Whether it is of a kind that can be used is for those to say who use it.
#[derive(Debug, Default)]
pub(super) enum Field<'a> {
    /// The key is not there.
    #[default]
    Unsaid,
    /// `null`, or Envoy's `-`.
    Absent,
    /// Borrowed where it has no escape.
    Text(Cow<'a, str>),
    Number(Number),
    /// Of another type, which is named.
    Other(&'static str),
}

impl<'a> Logged<'a> {
    /// The record that the fields of an object tell of; none where they tell of something else.
    pub(super) fn of_object(prefix: Prefix, fields: Fields<'a>) -> Result<Self, Problem> {
        let form = fields.form().ok_or(Problem::OtherObject)?;
        // Envoy's own log holds no access log: another plugin's text can look like one.
        if prefix.is_of_proxy_log() && form != Form::Filter {
            return Err(Problem::OtherObject);
        }
        Self::new(prefix, form, fields)
    }

    /// The record that a line of text tells of.
    pub(super) fn of_text(prefix: Prefix, fields: Fields<'a>) -> Result<Self, Problem> {
        Self::new(prefix, Form::TextLog, fields)
    }

    /// The request or the connection that others decided. A name that is an address is no server name:
    /// TLS sends none of an address.
    pub(super) fn of_decision(prefix: Prefix, decision: Decision<'a>) -> Self {
        let Decision { form, asked, port, time, action, ending } = decision;
        let mut fields = Fields {
            port: port.map_or(Field::Unsaid, |port| Field::Number(port.into())),
            ..Fields::default()
        };
        let is_connection = matches!(asked, Asked::Connection { .. });
        match asked {
            Asked::Request { method, authority, path } => {
                fields.method = Field::Text(method);
                fields.authority = Field::Text(authority);
                fields.path = path.map_or(Field::Unsaid, Field::Text);
            }
            Asked::Connection { host } if is_address(&host) => {
                let port = port.map_or(String::new(), |port| format!(":{port}"));
                fields.requested_server_name = Field::Absent;
                fields.upstream_host = Field::Text(format!("{host}{port}").into());
            }
            Asked::Connection { host } => fields.requested_server_name = Field::Text(host),
        }
        Self { prefix, form, fields, is_connection, time, decided: action, ending: Some(ending) }
    }

    /// The same at the time when a collector got it, where the line has none itself.
    pub(super) fn or_at(mut self, time: Option<Time>) -> Self {
        self.time = self.time.or(time);
        self
    }

    fn new(prefix: Prefix, form: Form, fields: Fields<'a>) -> Result<Self, Problem> {
        let (is_connection, time) = (fields.is_connection(form), fields.time());
        let logged =
            Self { prefix, form, fields, is_connection, time, decided: None, ending: None };
        logged.misfit().map_or(Ok(logged), Err)
    }

    /// What stood before it on its line.
    pub(crate) fn prefix(&self) -> Prefix {
        self.prefix
    }

    pub(crate) fn form(&self) -> Form {
        self.form
    }

    /// Whether the line tells of a connection that was not terminated.
    pub(crate) fn is_connection(&self) -> bool {
        self.is_connection
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
        (self.form != Form::Filter || path.len() <= SURELY_WHOLE).then_some(path)
    }

    /// The caller's SPIFFE id without `spiffe://`, as the filter reads it: of a certificate with several
    /// names none for a request, and the first for a connection.
    pub(crate) fn principal(&self) -> Option<&str> {
        let names = self.fields.source_principal.said()?;
        let first = names.split(',').next().filter(|it| self.is_connection() || *it == names);
        let principal = first?.strip_prefix("spiffe://")?;
        let is_printable = principal.bytes().all(|byte| (0x20..=0x7e).contains(&byte));
        (is_printable && !principal.is_empty()).then_some(principal)
    }

    /// Whether the log has a place for the caller, filled or not.
    pub(crate) fn has_caller_field(&self) -> bool {
        self.form == Form::Filter || self.fields.source_principal.has_key()
    }

    /// When the request came; absent where the line has no time
    /// that can be read.
    pub(crate) fn time(&self) -> Option<Time> {
        self.time
    }

    /// What was decided, where a filter did. A request's line may also have what was decided of the
    /// connection that it came on: that is not about the request.
    pub(crate) fn verdict(&self) -> Option<LoggedVerdict<'_>> {
        if self.form.is_of_others() {
            let action = self.decided?;
            return Some(LoggedVerdict { action, rule: None, reason: self.form.reason(action) });
        }
        self.told().verdict()
    }

    /// What would be decided, where the log says that this differs.
    pub(crate) fn would(&self) -> Option<LoggedVerdict<'_>> {
        self.told_of_would().verdict()
    }

    /// What the log says was decided: a filter's verdict, or without one that the mesh refused.
    pub(crate) fn verdict_or_refusal(&self) -> Option<LoggedVerdict<'_>> {
        let by_mesh = || (self.ending() == Ending::Refused).then_some(BY_MESH);
        self.verdict().or_else(by_mesh)
    }

    /// What a filter says of its verdict on a request, or on a connection.
    pub(super) fn told(&self) -> VerdictFields<'_, 'a> {
        let fields = &self.fields;
        match self.is_connection {
            true => VerdictFields {
                decision: &fields.egress_connection_decision,
                rule: &fields.egress_connection_rule,
                reason: &fields.egress_connection_reason,
            },
            false => VerdictFields {
                decision: &fields.egress_decision,
                rule: &fields.egress_rule,
                reason: &fields.egress_reason,
            },
        }
    }

    /// What it says of the would-be verdict.
    pub(super) fn told_of_would(&self) -> VerdictFields<'_, 'a> {
        let fields = &self.fields;
        match self.is_connection {
            true => VerdictFields {
                decision: &fields.egress_connection_would,
                rule: &fields.egress_connection_would_rule,
                reason: &fields.egress_connection_would_reason,
            },
            false => VerdictFields {
                decision: &fields.egress_would,
                rule: &fields.egress_would_rule,
                reason: &fields.egress_would_reason,
            },
        }
    }

    /// Name and hash of the policy that decided a request.
    pub(crate) fn policy(&self) -> Option<&str> {
        self.fields.egress_policy.said()
    }

    /// How it ended. The filter's own line is written before that: it says only what was refused.
    pub(crate) fn ending(&self) -> Ending {
        if let Some(ending) = self.ending {
            return ending;
        }
        let fields = &self.fields;
        if self.verdict().is_some_and(|verdict| verdict.action == Action::Deny) {
            return Ending::Refused;
        }
        if self.form == Form::Filter {
            return Ending::Unsaid;
        }
        let signs = Signs {
            status: (!self.is_connection())
                .then_some(fields.response_code.number().unwrap_or_default()),
            bytes: fields.bytes(),
            flags: &fields.response_flags,
            details: &fields.response_code_details,
            termination: &fields.connection_termination_details,
            guard: &fields.guard,
            cluster: &fields.upstream_cluster,
            upstream: &fields.upstream_host,
        };
        signs.ending()
    }

    /// The hop that the line tells of. `host` is the canonical host, where one was sent.
    pub(crate) fn hop(&self, host: Option<&str>) -> Hop {
        Hop::new(self.fields.upstream_cluster.said(), host)
    }

    /// Whether it was passed to the address that the caller had dialled.
    pub(crate) fn is_passthrough(&self) -> bool {
        self.fields.upstream_cluster.said() == Some("PassthroughCluster")
    }

    /// The upstream cluster that was chosen.
    pub(crate) fn cluster(&self) -> Option<&str> {
        self.fields.upstream_cluster.said()
    }

    /// Address and port of the upstream that was chosen, as the log has them.
    pub(crate) fn upstream(&self) -> Option<&str> {
        self.fields.upstream_host.said()
    }

    /// The request as a policy that asks for these facts gets it, or the connection as one of these.
    pub(crate) fn request(&self, reads: Reads, connections: Connections) -> Request<'_> {
        let authority = self.authority().as_bytes();
        let known = match self.method() {
            // Others name the host, in any spelling, and not the bytes of a server name.
            None if self.form.is_of_others() => {
                Request { method: None, ..Request::new(authority, b"") }
            }
            None => match self.cluster_at_waypoint() {
                Some(cluster) => Request::connection_to_cluster(authority, cluster),
                None => Request::connection(authority, connections),
            },
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
        match self.cluster_at_waypoint() {
            Some(_) if self.is_connection() => {}
            Some(cluster) => {
                request.server_name = None;
                request.send_to_cluster(cluster);
            }
            None => {
                request.cluster_port = self.cluster_port(&request);
                request.dialled = self.dialled(&request);
            }
        }
        request
    }

    /// The upstream cluster at a waypoint, as far as the line says that it was one. Of a connection the
    /// filter chain, by which it was judged, has the same name.
    fn cluster_at_waypoint(&self) -> Option<&[u8]> {
        let cluster = self.fields.upstream_cluster.said()?;
        let is_at_waypoint = cluster.starts_with(OF_WAYPOINT) || self.is_refused_for_destination();
        is_at_waypoint.then_some(cluster.as_bytes())
    }

    /// Which host was dialled, where the line has no cluster. The filter's own line names the host if it
    /// is another than the request's.
    fn dialled(&self, request: &Request<'_>) -> Dialled<'_> {
        let host = self.fields.dialled_host.said().filter(|_| self.form == Form::Filter);
        match (host.map(|host| Host::parse(host.as_bytes())), request.cluster_port) {
            (Some(Ok(host)), _) => Dialled::Host(host),
            (Some(Err(_)), _) => Dialled::Other,
            (None, _) if !self.is_refused_for_destination() => Dialled::Named,
            // Neither a cluster that names no host nor a wildcard stands in the line.
            (None, ClusterPort::Said(_)) => Dialled::Other,
            (None, _) => Dialled::Unsaid,
        }
    }

    /// Whether the filter refused it, or would have, for the host that was dialled.
    fn is_refused_for_destination(&self) -> bool {
        let mut reasons = [self.told().reason, self.told_of_would().reason].into_iter();
        reasons.any(|it| it.said() == Some(Reason::Destination.as_str()))
    }

    /// The filter's line has the port that was judged: none beside an authority with one is a
    /// conflict. In an access log `port` is a field of somebody's own format, which counts where
    /// neither the cluster nor the authority says one.
    fn cluster_port(&self, request: &Request<'_>) -> ClusterPort {
        let says_port = request.authority.as_ref().is_ok_and(|it| it.port.is_some());
        match (self.form, self.fields.port.number()) {
            (Form::Filter | Form::Smokescreen | Form::Squid | Form::Hubble, Some(port)) => {
                ClusterPort::Said(port)
            }
            (Form::Smokescreen | Form::Squid | Form::Hubble, None) => ClusterPort::Unsaid,
            (Form::Filter, None) if says_port => ClusterPort::Unknown,
            (Form::Filter, None) => ClusterPort::Unsaid,
            (Form::AccessLog | Form::TextLog, port) => {
                let cluster = self.fields.upstream_cluster.said();
                let of_cluster = cluster.map(|name| ClusterPort::of(name.as_bytes()));
                match (of_cluster.unwrap_or(ClusterPort::Unsaid), request.cluster_port, port) {
                    (ClusterPort::Unsaid, ClusterPort::Unsaid, Some(port)) if !says_port => {
                        ClusterPort::Said(port)
                    }
                    // A refused connection has no cluster, and its plugin's port stands nowhere.
                    (ClusterPort::Unsaid, of_request, _) => of_request,
                    (of_cluster, ..) => of_cluster,
                }
            }
        }
    }

    /// The first field that is asked for, and whose value is of a kind that it cannot have.
    fn misfit(&self) -> Option<Problem> {
        let Fields { port, .. } = &self.fields;
        let (of_request, of_connection) = (self.fields.of_request(), self.fields.of_connection());
        let own: &[_] = if self.is_connection() { &of_connection } else { &of_request };
        let is_misfit = |field: &Field<'_>| field.has_value() && field.said().is_none();
        let of_both = self.fields.of_both();
        let misfit = own.iter().chain(&of_both).find(|(_, field)| is_misfit(field));
        let is_port =
            self.form != Form::Filter || !port.has_value() || port.number::<u16>().is_some();
        let (name, field, wanted) = match misfit {
            Some((name, field)) => (*name, *field, "text or null"),
            None if is_port => return None,
            None => ("port", port, "a port from 0 to 65535"),
        };
        Some(Problem::Field { name, found: field.kind(), wanted })
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

impl<'l> VerdictFields<'l, '_> {
    fn verdict(self) -> Option<LoggedVerdict<'l>> {
        let action = match self.decision.said()? {
            "allow" => Action::Allow,
            "deny" => Action::Deny,
            _ => return None,
        };
        let reason = self.reason.said().unwrap_or("rule");
        Some(LoggedVerdict { action, rule: self.rule.said(), reason })
    }
}

impl<'a> Fields<'a> {
    /// The field of a key; none where nobody asks for it.
    fn slot(&mut self, key: &str) -> Option<&mut Field<'a>> {
        Some(match key {
            "authority" => &mut self.authority,
            "dialled_host" => &mut self.dialled_host,
            "method" => &mut self.method,
            "path" => &mut self.path,
            "start_time" => &mut self.start_time,
            "@timestamp" => &mut self.collected_at,
            "timestamp" => &mut self.timestamp,
            "upstream_cluster" => &mut self.upstream_cluster,
            "requested_server_name" => &mut self.requested_server_name,
            "source_principal" => &mut self.source_principal,
            "egress_decision" => &mut self.egress_decision,
            "egress_rule" => &mut self.egress_rule,
            "egress_reason" => &mut self.egress_reason,
            "egress_would" => &mut self.egress_would,
            "egress_would_rule" => &mut self.egress_would_rule,
            "egress_would_reason" => &mut self.egress_would_reason,
            "egress_policy" => &mut self.egress_policy,
            "egress_connection_decision" => &mut self.egress_connection_decision,
            "egress_connection_rule" => &mut self.egress_connection_rule,
            "egress_connection_reason" => &mut self.egress_connection_reason,
            "egress_connection_would" => &mut self.egress_connection_would,
            "egress_connection_would_rule" => &mut self.egress_connection_would_rule,
            "egress_connection_would_reason" => &mut self.egress_connection_would_reason,
            "port" => &mut self.port,
            "protocol" => &mut self.protocol,
            "response_code" => &mut self.response_code,
            "response_flags" => &mut self.response_flags,
            "response_code_details" => &mut self.response_code_details,
            "connection_termination_details" => &mut self.connection_termination_details,
            "upstream_host" => &mut self.upstream_host,
            "guard" => &mut self.guard,
            "bytes_received" => &mut self.bytes_received,
            "bytes_sent" => &mut self.bytes_sent,
            "level" => &mut self.level,
            "scope" => &mut self.scope,
            _ => return None,
        })
    }

    /// Reads an object, and nothing behind it. `own` are the names that somebody gave.
    pub(super) fn parse(record: &'a str, own: &[Name]) -> Result<Self, Problem> {
        let mut json = serde_json::Deserializer::from_str(record);
        let fields = match (FieldsSeed { own }).deserialize(&mut json) {
            Ok(fields) => fields,
            Err(error) if error.is_eof() => return Err(Problem::HalfWritten),
            Err(_) => return Err(Problem::NotJson),
        };
        json.end().map_err(|_| Problem::NotJson)?;
        match fields.has_repeated_key {
            true => Err(Problem::RepeatedKey),
            false => Ok(fields),
        }
    }

    /// Sets a field to what a text format says of it.
    pub(super) fn set_text(&mut self, key: &str, value: &'a str) {
        if let Some(slot) = self.slot(key) {
            *slot = if value == "-" { Field::Absent } else { Field::Text(value.into()) };
        }
    }

    /// The field that others call by a key, where somebody said so or it is known. Of those that are
    /// known, a field's own name counts more.
    fn set_other(&mut self, key: &str, field: Field<'a>, own: &[Name]) {
        if let Some(name) = own.iter().find(|name| name.key == key) {
            if let Some(slot) = self.slot(&name.field) {
                *slot = field;
            }
        } else if let Some(slot) = names::common(key).and_then(|name| self.slot(name))
            && !slot.has_value()
        {
            *slot = field;
        }
    }

    /// What it holds, where it is an envelope: an object that itself tells nothing of a request. So no
    /// field of a record, which a caller may choose, is taken for a line.
    pub(super) fn into_inner(self) -> Vec<Inner<'a>> {
        let own = [&self.authority, &self.method, &self.response_code, &self.response_flags];
        match own.into_iter().any(Field::has_key) {
            true => Vec::new(),
            false => self.inner,
        }
    }

    /// Whether a program wrote this as its own message, and did not pass on a line.
    pub(super) fn is_message(&self) -> bool {
        self.level.said().is_some()
    }

    /// Whether Istio's proxy says there what a plugin logs.
    pub(super) fn is_of_plugins(&self) -> bool {
        self.scope.said() == Some("envoy wasm")
    }

    /// Whether the object holds a list of records.
    pub(super) fn has_list(&self) -> bool {
        self.has_list
    }

    /// The texts that are asked for of a request.
    fn of_request(&self) -> [(&'static str, &Field<'a>); 8] {
        [
            ("authority", &self.authority),
            ("dialled_host", &self.dialled_host),
            ("method", &self.method),
            ("path", &self.path),
            ("egress_decision", &self.egress_decision),
            ("egress_rule", &self.egress_rule),
            ("egress_reason", &self.egress_reason),
            ("egress_policy", &self.egress_policy),
        ]
    }

    /// Those of a connection that was not terminated.
    fn of_connection(&self) -> [(&'static str, &Field<'a>); 3] {
        [
            ("egress_connection_decision", &self.egress_connection_decision),
            ("egress_connection_rule", &self.egress_connection_rule),
            ("egress_connection_reason", &self.egress_connection_reason),
        ]
    }

    /// Those of either.
    fn of_both(&self) -> [(&'static str, &Field<'a>); 3] {
        [
            ("requested_server_name", &self.requested_server_name),
            ("source_principal", &self.source_principal),
            ("upstream_cluster", &self.upstream_cluster),
        ]
    }

    pub(super) fn form(&self) -> Option<Form> {
        let has_request = self.authority.has_key() && self.method.has_key();
        if self.response_code.has_key() {
            return has_request.then_some(Form::AccessLog);
        }
        // What such a log writes of other connections has no answer either.
        if self.response_flags.has_key() && self.requested_server_name.has_key() {
            return Some(Form::AccessLog);
        }
        let decisions = [&self.egress_decision, &self.egress_connection_decision];
        let is_one = decisions.iter().filter(|it| it.has_value()).count() == 1;
        is_one.then_some(Form::Filter)
    }

    /// Whether they tell of a connection that was not terminated: of it neither method nor host are
    /// known, nor which HTTP it would be. The filter's own line says so by its keys.
    fn is_connection(&self, form: Form) -> bool {
        let Self { authority, method, protocol, .. } = self;
        if form == Form::Filter {
            return self.egress_connection_decision.has_value();
        }
        ![authority, method, protocol].into_iter().any(Field::has_value)
            && self.response_code.number::<u64>().unwrap_or_default() == 0
    }

    /// Bytes received and sent, where one of them is told.
    fn bytes(&self) -> Option<u64> {
        let counts = [&self.bytes_received, &self.bytes_sent];
        counts.into_iter().filter_map(Field::number).reduce(u64::saturating_add)
    }

    pub(super) fn time(&self) -> Option<Time> {
        let times = [&self.start_time, &self.collected_at, &self.timestamp];
        times.into_iter().find_map(|field| match field {
            Field::Text(text) => time::read(text),
            Field::Number(number) => time::read(&number.to_string()),
            Field::Unsaid | Field::Absent | Field::Other(_) => None,
        })
    }
}

impl<'a> Field<'a> {
    /// The text of a record that is read again; none where it leaves it out.
    pub(super) fn of_record(text: Option<Cow<'a, str>>) -> Self {
        text.map_or(Self::Unsaid, Self::Text)
    }

    pub(super) fn has_key(&self) -> bool {
        !matches!(self, Self::Unsaid)
    }

    /// Whether there is a value, of whatever kind.
    pub(super) fn has_value(&self) -> bool {
        !matches!(self, Self::Unsaid | Self::Absent)
    }

    /// Whether the log has a place for it, and nothing in it.
    pub(super) fn is_absent(&self) -> bool {
        matches!(self, Self::Absent)
    }

    pub(super) fn said(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            Self::Unsaid | Self::Absent | Self::Number(_) | Self::Other(_) => None,
        }
    }

    /// The number, which text formats write in quotes.
    pub(super) fn number<T: TryFrom<u64>>(&self) -> Option<T> {
        let number = match self {
            Self::Number(number) => number.as_u64(),
            Self::Text(text) if text.bytes().all(|byte| byte.is_ascii_digit()) => text.parse().ok(),
            Self::Unsaid | Self::Absent | Self::Text(_) | Self::Other(_) => None,
        };
        T::try_from(number?).ok()
    }

    /// What the value is, in words.
    fn kind(&self) -> &'static str {
        match self {
            Self::Unsaid => "not there",
            Self::Absent => "null",
            Self::Text(_) => "text",
            Self::Number(_) => "a number",
            Self::Other(kind) => kind,
        }
    }
}

/// Whether a host is an address, in any spelling.
fn is_address(host: &str) -> bool {
    let authority = Authority::parse(host.as_bytes());
    authority.is_ok_and(|it| matches!(it.host, Host::Address(_)))
}

/// Whether collectors keep the line that they pass on under this key, as text or as the object that it
/// was.
pub(super) fn is_envelope_key(key: &str) -> bool {
    matches!(
        key,
        "@message"
            | "LogEntry"
            | "LogMessage"
            | "MESSAGE"
            | "_raw"
            | "_source"
            | "attributes"
            | "body"
            | "content"
            | "event"
            | "fields"
            | "full_message"
            | "json"
            | "jsonPayload"
            | "line"
            | "log"
            | "log_processed"
            | "message"
            | "msg"
            | "parsed"
            | "payload"
            | "raw"
            | "record"
            | "result"
            | "short_message"
            | "stringValue"
            | "structured"
            | "textPayload"
            | "value"
    )
}

/// Reads an object as fields.
#[derive(Clone, Copy)]
struct FieldsSeed<'n> {
    own: &'n [Name],
}

impl<'de> DeserializeSeed<'de> for FieldsSeed<'_> {
    type Value = Fields<'de>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for FieldsSeed<'_> {
    type Value = Fields<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut fields = Fields::default();
        let mut keys = Keys::of_record();
        while let Some(Key(key)) = map.next_key()? {
            let is_own = self.own.iter().any(|name| name.key == key);
            // Most keys are fields' own names.
            let has_repeated_key = if let Some(slot) = fields.slot(&key).filter(|_| !is_own) {
                let Value { field, has_repeated_key } = map.next_value()?;
                if field.has_value() || !slot.has_value() {
                    *slot = field;
                }
                has_repeated_key
            } else if is_envelope_key(&key) && !is_own {
                match map.next_value_seed(InnerSeed { own: self.own })? {
                    Held::Inner(inner) => {
                        let has_repeated_key = match &inner {
                            Inner::Object(fields) => fields.has_repeated_key,
                            Inner::Text(_) => false,
                        };
                        fields.inner.push(inner);
                        has_repeated_key
                    }
                    Held::Other(value) => {
                        fields.has_list |= value.is_nested() && is_list_key(&key);
                        value.has_repeated_key
                    }
                }
            } else {
                let value: Value<'_> = map.next_value()?;
                fields.has_list |= value.is_nested() && is_list_key(&key);
                fields.set_other(&key, value.field, self.own);
                value.has_repeated_key
            };
            fields.has_repeated_key |= has_repeated_key;
            keys.0.push(key);
        }
        fields.has_repeated_key |= keys.repeat();
        Ok(fields)
    }
}

/// Reads what stands under the key of an envelope.
struct InnerSeed<'n> {
    own: &'n [Name],
}

/// What stands there.
enum Held<'a> {
    Inner(Inner<'a>),
    Other(Value<'a>),
}

impl<'de> DeserializeSeed<'de> for InnerSeed<'_> {
    type Value = Held<'de>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for InnerSeed<'_> {
    type Value = Held<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
        ValueVisitor.visit_unit().map(Held::Other)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Self::Value, E> {
        ValueVisitor.visit_bool(value).map(Held::Other)
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Self::Value, E> {
        ValueVisitor.visit_i64(number).map(Held::Other)
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Self::Value, E> {
        ValueVisitor.visit_u64(number).map(Held::Other)
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<Self::Value, E> {
        ValueVisitor.visit_f64(number).map(Held::Other)
    }

    fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Held::Inner(Inner::Text(text.into())))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Held::Inner(Inner::Text(Cow::Owned(text.to_owned()))))
    }

    /// journald keeps a text that is not printable as the list of its bytes.
    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
        let (mut bytes, mut count) = (Vec::new(), 0);
        let (mut is_text, mut has_repeated_key) = (true, false);
        while let Some(item) = items.next_element::<Value<'_>>()? {
            has_repeated_key |= item.has_repeated_key;
            match item.field {
                Field::Number(_) if is_text => bytes.extend(item.field.number::<u8>()),
                _ => is_text = false,
            }
            count += 1;
        }
        is_text &= count > 0 && bytes.len() == count;
        Ok(match String::from_utf8(bytes) {
            Ok(text) if is_text => Held::Inner(Inner::Text(text.into())),
            _ => Held::Other(Value { field: Field::Other("a list"), has_repeated_key }),
        })
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        let fields = FieldsSeed { own: self.own }.visit_map(map)?;
        Ok(Held::Inner(Inner::Object(Box::new(fields))))
    }
}

/// A key of an object, borrowed where it has no escape.
#[derive(Deserialize)]
struct Key<'a>(#[serde(borrow)] Cow<'a, str>);

/// The keys of one object.
struct Keys<'a>(Vec<Cow<'a, str>>);

impl Keys<'_> {
    /// None yet, with room for those of most records.
    fn of_record() -> Self {
        Self(Vec::with_capacity(48))
    }

    /// Whether one stands twice. Quick where they are in order, as Envoy writes them.
    fn repeat(mut self) -> bool {
        if self.0.windows(2).all(|pair| matches!(pair, [one, next] if one < next)) {
            return false;
        }
        self.0.sort_unstable();
        self.0.windows(2).any(|pair| matches!(pair, [one, next] if one == next))
    }
}

/// A value, of which lists and objects are not looked at but for their keys.
struct Value<'a> {
    field: Field<'a>,
    has_repeated_key: bool,
}

impl<'a> Value<'a> {
    /// Whether it is a list or an object.
    fn is_nested(&self) -> bool {
        matches!(self.field, Field::Other("a list" | "an object"))
    }

    fn scalar(field: Field<'a>) -> Self {
        Self { field, has_repeated_key: false }
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Value<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ValueVisitor)
    }
}

struct ValueVisitor;

impl<'de> Visitor<'de> for ValueVisitor {
    type Value = Value<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
        Ok(Value::scalar(Field::Absent))
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<Self::Value, E> {
        Ok(Value::scalar(Field::Other("a boolean")))
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Self::Value, E> {
        Ok(Value::scalar(Field::Number(number.into())))
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Self::Value, E> {
        Ok(Value::scalar(Field::Number(number.into())))
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<Self::Value, E> {
        let number = Number::from_f64(number);
        Ok(Value::scalar(number.map_or(Field::Other("a number"), Field::Number)))
    }

    fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Self::Value, E> {
        let is_absent = text == "-";
        Ok(Value::scalar(if is_absent { Field::Absent } else { Field::Text(text.into()) }))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Value::scalar(Field::Text(Cow::Owned(text.to_owned()))))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
        let mut has_repeated_key = false;
        while let Some(item) = items.next_element::<Value<'_>>()? {
            has_repeated_key |= item.has_repeated_key;
        }
        Ok(Value { field: Field::Other("a list"), has_repeated_key })
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut has_repeated_key = false;
        let mut keys = Keys(Vec::new());
        while let Some((Key(key), value)) = map.next_entry::<Key<'_>, Value<'_>>()? {
            has_repeated_key |= value.has_repeated_key;
            keys.0.push(key);
        }
        has_repeated_key |= keys.repeat();
        Ok(Value { field: Field::Other("an object"), has_repeated_key })
    }
}

#[cfg(test)]
mod tests {
    use super::super::Choice;
    use super::super::chunks::MAX_LINE;
    use super::super::reader::{Reader, without_thread};
    use super::*;
    use egress_warden::config;
    use egress_warden::policy::Policy;

    const PLUGIN: &str = "egress-warden";
    const ACCESS: &str = r#"{"start_time":"2026-11-25T03:00:00.123Z","method":"POST","path":"/v1/charges?x=1","authority":"API.Stripe.com:443","response_code":200,"upstream_cluster":"outbound|443||api.stripe.com","requested_server_name":"api.stripe.com","source_principal":"spiffe://cluster.local/ns/pay/sa/api","egress_decision":"allow","egress_rule":"stripe","egress_reason":null,"duration":12}"#;
    const FILTER: &str = r#"{"egress_decision":"deny","egress_reason":"default","egress_policy":"p@0","start_time":"2026-11-25T03:00:00.123Z","host":"denied.example","authority":"denied.example","port":80,"method":"GET","path":"/"}"#;
    const ISTIO: &str = r#"{"authority":"a.example","bytes_received":0,"method":"GET","path":null,"response_code":301,"start_time":"2026-11-25T03:00:00.123Z","upstream_cluster":"PassthroughCluster","user_agent":"-","requested_server_name":"-"}"#;

    /// Of the listener in envoy/gateway-tls.yaml.
    const LISTENER: &str = r#"{"bytes_received":300,"bytes_sent":9,"connection_termination_details":null,"downstream_local_address":"127.0.0.1:15031","downstream_remote_address":"127.1.0.0:4000","duration":3,"egress_connection_decision":"allow","egress_connection_policy":"p@0","egress_connection_rule":"stripe","requested_server_name":"api.stripe.com","response_flags":"-","source_principal":null,"start_time":"2026-11-25T03:00:00.123Z","upstream_cluster":"outbound|443||api.stripe.com"}"#;
    const FILTER_OF_CONNECTIONS: &str = r#"{"egress_connection_decision":"deny","egress_connection_reason":"default","egress_connection_policy":"p@0","start_time":"2026-11-25T03:00:00.123Z","host":"denied.example","port":8443,"downstream_remote_address":"127.1.0.0:4000","downstream_local_address":"127.0.0.1:15031","requested_server_name":"denied.example"}"#;
    /// Of tcp_proxy, in the format of ISTIO.
    const ISTIOS_CONNECTION: &str = r#"{"authority":null,"bytes_received":300,"method":null,"path":null,"protocol":null,"response_code":0,"response_flags":"-","start_time":"2026-11-25T03:00:00.123Z","upstream_cluster":"outbound|8443||api.stripe.com","requested_server_name":"outbound_.8443_._.api.stripe.com"}"#;

    fn logged(line: &str) -> Logged<'_> {
        let start = Prefix::split(line, PLUGIN).expect(line);
        let record = without_thread(start.record);
        let fields = Fields::parse(record, &[]).expect(line);
        Logged::of_object(start.prefix, fields).expect(line)
    }

    fn problems(line: &[u8]) -> Vec<Problem> {
        let mut problems = Vec::new();
        Reader::new(&Choice::default()).read(line, &mut |read| problems.extend(read.err()));
        problems
    }

    fn problem(line: &[u8]) -> Problem {
        let problems = problems(line);
        assert_eq!(problems.len(), 1, "{}", String::from_utf8_lossy(line));
        problems[0]
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
        assert_eq!(request.now, Some(Time::of_nanoseconds(1_795_575_600_123_000_000)));
        let verdict = LoggedVerdict { action: Action::Allow, rule: Some("stripe"), reason: "rule" };
        assert_eq!(logged.verdict(), Some(verdict));
        assert!(logged.has_caller_field());
    }

    #[test]
    fn a_certificate_with_several_names_is_no_caller_of_a_request() {
        const ONE: &str = r#""spiffe://cluster.local/ns/pay/sa/api""#;
        for (names, expected) in [
            (ONE, Some("cluster.local/ns/pay/sa/api")),
            (r#""spiffe://cluster.local/ns/pay/sa/api,spiffe://other""#, None),
            (r#""https://a/,spiffe://cluster.local/ns/pay/sa/api""#, None),
            (r#""spiffe://""#, None),
        ] {
            let line = ACCESS.replacen(ONE, names, 1);
            assert_eq!(logged(&line).principal(), expected, "{line}");
        }
        // The filter of connections is told the first name only.
        let names = r#""source_principal":"spiffe://a/ns/b/sa/c,spiffe://other","#;
        let line = LISTENER.replacen('{', &format!("{{{names}"), 1);
        let line = line.replace(r#""source_principal":null,"#, "");
        assert_eq!(logged(&line).principal(), Some("a/ns/b/sa/c"));
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
            assert_eq!(logged.ending(), Ending::Refused);
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

        assert_eq!(logged(FILTER_OF_CONNECTIONS).ending(), Ending::Refused);
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
        assert_eq!(problems(b" \t "), []);
        for (line, expected) in [
            (&b"[warning] cannot connect"[..], P::NoObject),
            (b"\x7fELF\x02\x01\0\0", P::NoObject),
            (b"\xff{}", P::NotUtf8),
            (b"{nonsense}", P::NotJson),
            (br#"{"a":1} {"b":2}"#, P::NotJson),
            (br#"{"authority":"a.example","method":"GE"#, P::HalfWritten),
            (br#"{"level":"info","msg":"started"}"#, P::OtherObject),
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
    fn a_field_of_the_wrong_kind_is_named_where_it_is_asked_for() {
        for (line, old, new, said) in [
            (ACCESS, r#""POST""#, "7", "`method` is a number, not text or null"),
            (ACCESS, r#""/v1/charges?x=1""#, "[1]", "`path` is a list, not text or null"),
            (ACCESS, r#""stripe""#, "{}", "`egress_rule` is an object, not text or null"),
            (
                ACCESS,
                r#""spiffe://cluster.local/ns/pay/sa/api""#,
                "true",
                "`source_principal` is a boolean, not text or null",
            ),
            (
                LISTENER,
                r#""outbound|443||api.stripe.com""#,
                "443",
                "`upstream_cluster` is a number, not text or null",
            ),
            (FILTER, r#""deny""#, "0", "`egress_decision` is a number, not text or null"),
            (FILTER, "80", "65536", "`port` is a number, not a port from 0 to 65535"),
            (FILTER, "80", r#""+80""#, "`port` is text, not a port from 0 to 65535"),
            (FILTER_OF_CONNECTIONS, "8443", "[]", "`port` is a list, not a port from 0 to 65535"),
        ] {
            let line = line.replacen(old, new, 1);
            assert_eq!(problem(line.as_bytes()).to_string(), said, "{line}");
        }
    }

    #[test]
    fn a_field_that_is_not_asked_for_may_be_of_any_kind() {
        let with = |line: &str, fields: &str| line.replacen('{', &format!("{{{fields},"), 1);
        for other in [
            r#""port":"x""#,
            r#""port":{"a":[1]}"#,
            r#""protocol":1"#,
            r#""response_flags":[]"#,
            r#""timestamp":{"seconds":1}"#,
            r#""egress_connection_rule":7"#,
        ] {
            let line = with(ACCESS, other);
            let logged = logged(&line);
            let request = logged.request(everything(), Connections::default());
            assert_eq!((request.port(), logged.method()), (Some(443), Some("POST")), "{line}");
        }
        let line = with(LISTENER, r#""egress_rule":7,"port":[],"path":{}"#);
        assert!(logged(&line).is_connection());
        // A method or an HTTP of the wrong kind does not make a request a connection.
        for odd in [r#""method":null,"authority":7"#, r#""method":7,"authority":null"#] {
            let line = format!(r#"{{{odd},"response_code":0,"response_flags":"-"}}"#);
            assert!(matches!(problem(line.as_bytes()), Problem::Field { .. }), "{line}");
        }
        let line = ISTIOS_CONNECTION.replace(r#""protocol":null"#, r#""protocol":2"#);
        assert!(!logged(&line).is_connection());
        // Whatever a field holds, no key in it may stand twice.
        for field in ["port", "response_code", "timestamp"] {
            let line = with(
                r#"{"authority":"a.example","method":"GET","response_flags":"-","requested_server_name":null}"#,
                &format!(r#""{field}":{{"a":1,"a":2}}"#),
            );
            assert_eq!(problem(line.as_bytes()), Problem::RepeatedKey, "{line}");
        }
    }

    #[test]
    fn the_would_be_verdict_is_read_where_the_log_has_one() {
        assert_eq!(logged(ACCESS).would(), None);
        const WOULD: &str = r#"{"egress_would":"deny","egress_would_reason":"default","#;
        let default = LoggedVerdict { action: Action::Deny, rule: None, reason: "default" };
        assert_eq!(logged(&ACCESS.replacen('{', WOULD, 1)).would(), Some(default));
        const BY_RULE: &str = r#"{"egress_would":"allow","egress_would_rule":"next","#;
        let by_rule = LoggedVerdict { action: Action::Allow, rule: Some("next"), reason: "rule" };
        assert_eq!(logged(&FILTER.replacen('{', BY_RULE, 1)).would(), Some(by_rule));
        // What is said of a connection is not said of a request on it, and the reverse.
        const OF_CONNECTION: &str = r#"{"egress_connection_would":"deny","#;
        assert_eq!(logged(&ACCESS.replacen('{', OF_CONNECTION, 1)).would(), None);
        let connection = ISTIOS_CONNECTION.replacen('{', OF_CONNECTION, 1);
        let denied = LoggedVerdict { reason: "rule", ..default };
        assert_eq!(logged(&connection).would(), Some(denied));
        assert_eq!(logged(&ISTIOS_CONNECTION.replacen('{', WOULD, 1)).would(), None);
    }

    #[test]
    fn numbers_may_be_in_quotes() {
        let port_of =
            |line: &str| logged(line).request(everything(), Connections::default()).port();
        assert_eq!(port_of(&FILTER.replace("80", r#""80""#)), Some(80));
        let refused_by_the_codec =
            ISTIOS_CONNECTION.replace(r#""response_code":0"#, r#""response_code":"400""#);
        assert!(!logged(&refused_by_the_codec).is_connection());
        // A port of somebody's own format counts where nothing else says one.
        let own = |authority, port| {
            format!(
                r#"{{"authority":"{authority}","method":"GET","response_code":"200","port":{port}}}"#
            )
        };
        assert_eq!(port_of(&own("a.example", r#""8443""#)), Some(8443));
        assert_eq!(port_of(&own("a.example", "8443")), Some(8443));
        assert_eq!(port_of(&own("a.example:9443", "8443")), Some(9443));
        assert_eq!(port_of(&own("a.example", r#""x""#)), None);
        assert_eq!(port_of(&ACCESS.replacen('{', r#"{"port":1,"#, 1)), Some(443));
    }

    #[test]
    fn the_time_is_read_from_text_and_numbers_of_the_usual_fields() {
        const START: &str = r#""start_time":"2026-11-25T03:00:00.123Z""#;
        let at = Some(Time::of_nanoseconds(1_795_575_600_123_000_000));
        for time in [
            START,
            r#""start_time":1795575600.123"#,
            r#""start_time":1795575600123"#,
            r#""start_time":"1795575600.123""#,
            r#""@timestamp":"2026-11-25T12:00:00.123+0900""#,
            r#""timestamp":1795575600123"#,
            r#""timestamp":12,"start_time":null,"@timestamp":"2026-11-25T03:00:00.123Z""#,
            r#""@timestamp":"2026-11-25T04:00:00Z","start_time":1795575600123"#,
        ] {
            let line = ACCESS.replace(START, time);
            assert_eq!(logged(&line).time(), at, "{line}");
        }
        for time in [
            r#""start_time":"03:00:00""#,
            r#""start_time":-1"#,
            r#""start_time":1e300"#,
            r#""start_time":true"#,
            r#""time":"2026-11-25T03:00:00.123Z""#,
        ] {
            let line = ACCESS.replace(START, time);
            assert_eq!(logged(&line).time(), None, "{line}");
        }
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

    #[test]
    fn a_request_to_a_waypoint_is_judged_by_both_hosts() {
        let text = br#"{"policy":"p","rules":[{"id":"a","action":"allow","to":[{"hosts":["a.test","*.w.test"],"ports":[443]}]},{"id":"bad","action":"deny","to":[{"hosts":["bad.test"]}]}]}"#;
        let policy: Policy = config::read(text).unwrap().policy;
        let verdict = |line: &str| {
            let logged = logged(line);
            let request = logged.request(policy.reads(), Connections::default());
            let verdict = policy.decide(&request).verdict;
            (verdict.action.as_str(), verdict.reason.as_str())
        };
        let access = |host: &str, cluster: &str, more: &str| {
            format!(
                r#"{{"authority":"{host}","method":"GET","path":"/","response_code":200,"upstream_cluster":"{cluster}"{more}}}"#
            )
        };
        const REFUSED: &str = r#","egress_decision":"deny","egress_reason":"destination""#;
        const WOULD: &str = r#","egress_would":"deny","egress_would_reason":"destination""#;
        for (line, expected) in [
            (access("a.test", "inbound-vip|443|http|a.test", ""), ("allow", "rule")),
            (access("a.test", "inbound-vip|80|http|a.test", ""), ("deny", "default")),
            (access("a.test", "inbound-vip|443|http|b.test", ""), ("deny", "destination")),
            (access("a.test", "inbound-vip|443|http|bad.test", ""), ("deny", "rule")),
            (access("x.w.test", "inbound-vip|443|http|*.w.test", ""), ("allow", "rule")),
            // At a gateway the cluster says the port alone.
            (access("a.test", "outbound|443||b.test", ""), ("allow", "rule")),
            (access("a.test", "outbound|443||b.test", REFUSED), ("deny", "destination")),
            (access("a.test", "encap", REFUSED), ("deny", "destination")),
            (access("a.test", "encap", WOULD), ("deny", "destination")),
            (access("a.test", "-", REFUSED), ("deny", "destination")),
        ] {
            assert_eq!(verdict(&line), expected, "{line}");
        }
        let of_connections = |text: &str| {
            let text = text.replace(r#""egress_"#, r#""egress_connection_"#);
            text.replace(
                r#""authority":"a.test","method":"GET","path":"/""#,
                r#""requested_server_name":"a.test""#,
            )
        };
        let own = |reason: &str, more: &str| {
            format!(
                r#"{{"egress_decision":"deny","egress_reason":"{reason}","egress_policy":"p@000000000000","authority":"a.test","method":"GET","path":"/"{more}}}"#
            )
        };
        for (line, expected) in [
            (own("default", r#","port":443"#), ("allow", "rule")),
            (own("destination", r#","port":443,"dialled_host":"b.test""#), ("deny", "destination")),
            (own("default", r#","port":443,"dialled_host":"bad.test""#), ("deny", "rule")),
            (own("default", r#","port":443,"dialled_host":"x.w.test""#), ("allow", "rule")),
            (own("destination", r#","port":443"#), ("deny", "destination")),
            (own("destination", ""), ("deny", "destination")),
        ] {
            assert_eq!(verdict(&line), expected, "{line}");
            assert_eq!(verdict(&of_connections(&line)), expected, "{line} of a connection");
        }
    }
}
