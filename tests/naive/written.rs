//! A request as case files write it.

use super::Request;
use serde_json::{Value, json};
use std::time::{Duration, UNIX_EPOCH};

/// Bytes go as hex digits: they need not be text.
pub fn request(request: &Request) -> Value {
    let hex = |bytes: &[u8]| {
        let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        json!({ "hex": digits })
    };
    let mut written = json!({
        "authority": hex(&request.authority),
        "method": hex(&request.method),
        "tls": request.server_name.is_some(),
        "at": match request.now {
            Some(now) => {
                let time = UNIX_EPOCH + Duration::from_nanos(now);
                humantime::format_rfc3339_nanos(time).to_string()
            }
            None => "none".to_owned(),
        },
    });
    match &request.path {
        Some(path) => written["path"] = hex(path),
        None => written["without"] = json!([":path"]),
    }
    if let Some(port) = request.cluster_port {
        written["cluster"] = format!("outbound|{port}||a.test").into();
    }
    if let Some(principal) = &request.principal {
        written["principal"] = principal.as_str().into();
    }
    if let Some(name) = request.server_name.as_ref().filter(|name| !name.is_empty()) {
        written["sni"] = hex(name);
    }
    written
}
