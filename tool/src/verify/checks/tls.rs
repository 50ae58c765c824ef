//! TLS on the ways out: the external service must show a certificate of a trusted authority, and for its own name.

use super::Subject;
use crate::verify::kind::{TLS_ANY_NAME, TLS_UNSEEN, TLS_UNVERIFIED};
use crate::verify::proxy::Proxy;
use crate::verify::report::Report;
use crate::verify::tree::{Fields, Typed, shown};
use serde_json::Value;

/// Every cluster that a way leads to, if it begins TLS.
pub(super) fn of(subject: &Subject<'_, '_>, report: &mut Report) {
    for (name, cluster) in subject.carried.clusters(subject.proxy) {
        let place = format!("cluster {}", shown(name));
        let config = cluster.config;
        let matches = config.list("transport_socket_matches").iter();
        let sockets = matches.filter_map(|it| it.field("transport_socket"));
        for socket in config.field("transport_socket").into_iter().chain(sockets) {
            transport_socket(subject.proxy, config, socket, &place, report);
        }
    }
}

fn transport_socket(
    proxy: &Proxy<'_>,
    cluster: &Value,
    socket: &Value,
    place: &str,
    report: &mut Report,
) {
    let Some(typed) = Typed::config_of(socket) else { return };
    let kind = typed.kind.strip_prefix("envoy.extensions.transport_sockets.").unwrap_or(typed.kind);
    match kind {
        "raw_buffer.v3.RawBuffer" => {}
        "tls.v3.UpstreamTlsContext" => context(proxy, cluster, typed.value, place, report),
        "quic.v3.QuicUpstreamTransport" => {
            if let Some(tls) = typed.value.field("upstream_tls_context") {
                context(proxy, cluster, tls, place, report);
            }
        }
        _ => match typed.value.first(&["transport_socket", "tls_socket_config"]) {
            // One around another.
            Some(inner) if inner.field("typed_config").is_some() => {
                transport_socket(proxy, cluster, inner, place, report);
            }
            Some(inner) => context(proxy, cluster, inner, place, report),
            None => {
                let problem = format!("the transport socket `{}` is not known", shown(typed.kind));
                report.say(&TLS_UNSEEN, place, problem);
            }
        },
    }
}

fn context(proxy: &Proxy<'_>, cluster: &Value, tls: &Value, place: &str, report: &mut Report) {
    let Some(common) = tls.field("common_tls_context") else {
        return report.say(
            &TLS_UNVERIFIED,
            place,
            "the certificate of the external service is not verified",
        );
    };
    let combined = common.field("combined_validation_context");
    let own = combined.and_then(|it| it.field("default_validation_context"));
    let own = own.or_else(|| common.field("validation_context"));
    let secret_config = ["validation_context_sds_secret_config"];
    let secret_config =
        combined.and_then(|it| it.first(&secret_config)).or_else(|| common.first(&secret_config));
    let secret_name = secret_config.and_then(|it| it.text("name"));
    let secret = secret_name.and_then(|name| proxy.secret(name)?.field("validation_context"));
    let contexts: Vec<_> = own.into_iter().chain(secret).collect();

    if contexts.iter().any(|it| it.field("custom_validator_config").is_some()) {
        let problem = "a validator of its own verifies the certificate";
        return report.say(&TLS_UNSEEN, place, problem);
    }
    let accepts_all =
        |it: &&&Value| it.text("trust_chain_verification") == Some("ACCEPT_UNTRUSTED");
    if contexts.iter().find(accepts_all).is_some() {
        let problem = "certificates that no authority has signed are accepted (ACCEPT_UNTRUSTED)";
        report.say(&TLS_UNVERIFIED, place, problem);
    }
    // A secret that is to come holds the connection back until it is there.
    let has_authority = secret_name.is_some()
        || contexts.iter().any(|it| {
            it.first(&["trusted_ca", "system_root_certs", "ca_certificate_provider_instance"])
                .is_some()
        });
    if !has_authority {
        let problem =
            "the certificate of the external service is not verified: there is no `trusted_ca`";
        return report.say(&TLS_UNVERIFIED, place, problem);
    }
    let names = [
        "match_typed_subject_alt_names",
        "match_subject_alt_names",
        "verify_certificate_hash",
        "verify_certificate_spki",
    ];
    let matches_name = contexts.iter().any(|it| names.iter().any(|name| !it.list(name).is_empty()))
        || tls.is_set("auto_sni_san_validation")
        || validates_by_request(cluster);
    if !matches_name {
        let problem = "a certificate for any name is accepted, if an authority has signed it";
        report.say(&TLS_ANY_NAME, place, problem);
    }
}

/// Whether the host of each request must be in the certificate.
fn validates_by_request(cluster: &Value) -> bool {
    cluster.map("typed_extension_protocol_options").any(|(_, options)| {
        let options = options.field("upstream_http_protocol_options");
        options.is_some_and(|options| options.is_set("auto_san_validation"))
    })
}
