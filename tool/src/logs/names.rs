//! Under which keys logs say what is asked for: Envoy's own names, those of other writers, and those
//! that `--field` gives.

use super::text::TextFormat;
use std::str::FromStr;

/// The name of the field that other writers call so.
///
/// Envoy Gateway names headers as HTTP does; the others are OpenTelemetry's conventions, and what
/// Envoy's tracers call the rest.
pub(super) fn common(key: &str) -> Option<&'static str> {
    Some(match key {
        ":authority" | "server.address" | "http.host" => "authority",
        ":method" | "http.request.method" | "http.method" => "method",
        ":path" | "x-envoy-origin-path" | "x-envoy-original-path" | "url.path" | "http.target" => {
            "path"
        }
        "server.port" => "port",
        "http.response.status_code" | "http.status_code" => "response_code",
        "upstream_cluster.name" => "upstream_cluster",
        "upstream_address" => "upstream_host",
        "http.protocol" => "protocol",
        "tls.client.server_name" => "requested_server_name",
        _ => return None,
    })
}

/// What `--field` can name.
const NAMES: [&str; 18] = [
    "authority",
    "bytes_received",
    "bytes_sent",
    "connection_termination_details",
    "egress_decision",
    "egress_reason",
    "egress_rule",
    "method",
    "path",
    "port",
    "protocol",
    "requested_server_name",
    "response_code",
    "response_code_details",
    "response_flags",
    "source_principal",
    "start_time",
    "upstream_cluster",
];

/// A key of somebody's own log, and the field that it stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Name {
    pub(super) field: String,
    pub(super) key: String,
}

/// Reads `NAME=KEY`.
impl FromStr for Name {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (field, key) = text.split_once('=').ok_or("write NAME=KEY")?;
        let is_known = NAMES.contains(&field) || field == "upstream_host";
        match (is_known, key) {
            (_, "") => Err("there is no key behind the `=`".to_owned()),
            (false, _) => {
                let names = NAMES.join(", ");
                Err(format!("no field is called `{field}`; there are {names}, upstream_host"))
            }
            (true, key) => Ok(Self { field: field.to_owned(), key: key.to_owned() }),
        }
    }
}

/// What `--log-format` takes: the format of text lines, or the object of a JSON format.
#[derive(Clone, Debug)]
pub(crate) enum LogFormat {
    Text(TextFormat),
    Json(Vec<Name>),
}

impl FromStr for LogFormat {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(text) {
            Err(_) => text.parse().map(Self::Text),
            Ok(object) => {
                let name = |(key, value): (String, serde_json::Value)| {
                    let field = super::text::field_of(value.as_str()?)?;
                    Some(Name { field, key })
                };
                Ok(Self::Json(object.into_iter().filter_map(name).collect()))
            }
        }
    }
}
