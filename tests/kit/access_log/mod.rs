//! Lines of the access log of `envoy/gateway.yaml`, as a gateway writes them that only watches
//! (`mode: monitor`): whatever anybody tries has passed.

use std::fmt::Write;
use std::time::{Duration, SystemTime};

/// One request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sent {
    /// In milliseconds since the Unix epoch.
    pub time: u64,
    /// Without `spiffe://`; absent where it is not verified.
    pub caller: Option<String>,
    pub method: &'static str,
    pub host: String,
    pub port: u16,
    pub path: String,
}

/// The line of `envoy/gateway.yaml` for a request, without its end.
pub fn line(number: usize, sent: &Sent) -> String {
    let Sent { time, caller, method, host, port, path } = sent;
    let start = SystemTime::UNIX_EPOCH + Duration::from_millis(*time);
    let principal = match caller {
        Some(caller) => format!("\"spiffe://{caller}\""),
        None => "null".to_owned(),
    };
    let mut line = String::with_capacity(1000);
    // Writing to a string cannot fail.
    let _ = write!(
        line,
        r#"{{"authority":"{host}","bytes_received":{received},"bytes_sent":{bytes},"downstream_local_address":"10.8.0.7:8443","downstream_remote_address":"10.8.{a}.{b}:{from}","duration":{duration},"egress_decision":"allow","egress_policy":"watching@0123456789ab","egress_reason":"monitor","egress_rule":null,"egress_would":"deny","egress_would_reason":"default","egress_would_rule":null,"istio_policy_status":null,"method":"{method}","path":"{path}","protocol":"HTTP/2","request_id":"{number:08x}-5ca1-4ab1-9e00-{number:012x}","requested_server_name":"outbound_.{port}_._.{host}","response_code":200,"response_flags":"-","route_name":"external","source_principal":{principal},"start_time":"{start}","trace_id":"{number:032x}","upstream_cluster":"outbound|{port}||{host}","upstream_host":"203.0.113.{b}:{port}","upstream_local_address":"10.8.0.7:{from}","upstream_service_time":"{duration}","upstream_transport_failure_reason":null,"user_agent":"Go-http-client/2.0","x_forwarded_for":"10.8.{a}.{b}"}}"#,
        received = number % 997,
        bytes = number % 7919,
        a = number / 250 % 250,
        b = number % 250,
        from = 20_000 + number % 40_000,
        duration = number % 311,
        start = humantime::format_rfc3339_millis(start),
    );
    line
}
