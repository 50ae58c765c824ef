//! The application speaks HTTP and the gateway begins the TLS: a policy of requests, stamps among
//! them, and an external service that is reached only if its certificate is the right one. On real
//! Envoys, before a real TLS service.

use anyhow::Result;
use serde_json::{Value, json};

use envoy_kit::bootstrap::Bootstrap;
use envoy_kit::call::{Answer, Call};
use envoy_kit::certificates::Authority;
use envoy_kit::on_each_envoy;
use envoy_kit::process::Envoy;
use envoy_kit::testbed::Testbed;
use envoy_kit::tls_service::TlsService;

/// Where the shipped file expects the external service.
const SERVICE_PORT: u16 = 15021;
const HOST: &str = "allowed.example";

on_each_envoy![
    what_passes_leaves_with_its_stamps_in_tls_of_the_gateways_own,
    what_is_refused_begins_no_tls,
    a_service_of_another_authority_gets_no_request,
    a_service_of_another_name_gets_no_request,
    a_service_without_tls_gets_no_request,
    without_names_any_certificate_of_the_authority_will_do,
];

async fn what_passes_leaves_with_its_stamps_in_tls_of_the_gateways_own(
    testbed: &Testbed,
) -> Result<()> {
    let authority = Authority::new(&[HOST])?;
    let service = TlsService::start(0, &authority).await?;
    let gateway = start(testbed, &authority, &[HOST], &service).await?;
    // Whatever the caller calls the host, the server name is the gateway's own word.
    for (number, host) in [HOST, "ALLOWED.example:80"].into_iter().enumerate() {
        let path = format!("/v1/charges/{number}");
        let call = Call::get(host).path(&path).header("x-egress-team", "forged");
        let answer = call.http1(gateway.listener("egress")?).await?;
        let seen = answer.seen()?;
        let all = |name: &str| -> Vec<&str> {
            seen.iter().filter(|(key, _)| *key == name).map(|(_, value)| *value).collect()
        };
        assert_eq!(all("server name"), [HOST]);
        assert_eq!(all("path"), [path.as_str()]);
        assert_eq!(all("x-egress-team"), ["payments"]);
        assert_eq!(all("x-egress-rule"), ["charges"]);
        let record = gateway.access_log(&path).await?;
        assert_eq!(record["egress_decision"], "allow");
        assert_eq!(record["egress_rule"], "charges");
        assert_eq!(record["response_code"], 301);
        assert_eq!(record["upstream_cluster"], "outbound|80||allowed.example");
    }
    assert_eq!(service.requests(), 2);
    Ok(())
}

async fn what_is_refused_begins_no_tls(testbed: &Testbed) -> Result<()> {
    let authority = Authority::new(&[HOST])?;
    let service = TlsService::start(0, &authority).await?;
    let gateway = start(testbed, &authority, &[HOST], &service).await?;
    for (host, path) in
        [(HOST, "/v1/admin"), (HOST, "/"), (HOST, "/v1/%2e%2e/x"), ("denied.example", "/v1/x")]
    {
        let answer = Call::get(host).path(path).http1(gateway.listener("egress")?).await?;
        assert_eq!(answer.status, 403, "{host}{path}");
        assert_eq!(answer.json()?["error"], "egress_denied", "{host}{path}");
    }
    assert_eq!((service.callers(), service.requests()), (0, 0));
    Ok(())
}

async fn a_service_of_another_authority_gets_no_request(testbed: &Testbed) -> Result<()> {
    let trusted = Authority::new(&[HOST])?;
    let service = TlsService::start(0, &Authority::new(&[HOST])?).await?;
    let gateway = start(testbed, &trusted, &[HOST], &service).await?;
    let answer = charge(&gateway).await?;
    assert_fails_closed(&gateway, &answer, "CERTIFICATE_VERIFY_FAILED").await?;
    assert_eq!(service.requests(), 0);
    Ok(())
}

async fn a_service_of_another_name_gets_no_request(testbed: &Testbed) -> Result<()> {
    let authority = Authority::new(&["other.example"])?;
    let service = TlsService::start(0, &authority).await?;
    let gateway = start(testbed, &authority, &[HOST], &service).await?;
    let answer = charge(&gateway).await?;
    assert_fails_closed(&gateway, &answer, "CERTIFICATE_VERIFY_FAILED").await?;
    assert_eq!(service.requests(), 0);
    Ok(())
}

async fn a_service_without_tls_gets_no_request(testbed: &Testbed) -> Result<()> {
    let mut bootstrap = Bootstrap::gateway()?;
    bootstrap.originate_tls(&Authority::new(&[HOST])?, HOST, &[HOST]);
    bootstrap.set_policy(policy())?;
    let (gateway, external) = testbed.gateway(bootstrap).await?;
    let answer = charge(&gateway).await?;
    assert_fails_closed(&gateway, &answer, "TLS_error").await?;
    let arrived = external.counter("http.external.downstream_rq_total").await?;
    assert_eq!(arrived, external.counter("http.external.downstream_rq_4xx").await?);
    Ok(())
}

/// Why `subjectAltNames` must not be left out beside `sni`.
async fn without_names_any_certificate_of_the_authority_will_do(testbed: &Testbed) -> Result<()> {
    let authority = Authority::new(&["other.example"])?;
    let service = TlsService::start(0, &authority).await?;
    let gateway = start(testbed, &authority, &[], &service).await?;
    assert_eq!(charge(&gateway).await?.status, 301);
    assert_eq!(service.requests(), 1);
    Ok(())
}

/// The gateway with TLS of its own to `service`, which must show a certificate of `authority` for one
/// of `names`.
async fn start(
    testbed: &Testbed,
    authority: &Authority,
    names: &[&str],
    service: &TlsService,
) -> Result<Envoy> {
    let mut bootstrap = Bootstrap::gateway()?;
    bootstrap.originate_tls(authority, HOST, names);
    bootstrap.set_policy(policy())?;
    bootstrap.bind_free_ports();
    bootstrap.redirect(SERVICE_PORT, service.address.port());
    testbed.start(&bootstrap).await
}

fn policy() -> Value {
    json!({
        "policy": "test",
        "rules": [{
            "id": "charges",
            "action": "allow",
            "to": [{
                "hosts": [HOST],
                "ports": [80],
                "methods": ["GET", "POST"],
                "paths": ["/v1/*"],
                "notPaths": ["/v1/admin*"],
            }],
            "stamp": {"set": {"x-egress-team": "payments", "x-egress-rule": "{rule}"}},
        }],
    })
}

/// A request that the policy lets pass.
async fn charge(gateway: &Envoy) -> Result<Answer> {
    Call::new("POST", HOST)
        .path("/v1/charges")
        .body("amount=1")
        .http1(gateway.listener("egress")?)
        .await
}

/// The policy's word was "allow", and Envoy found nobody to whom it may say so.
async fn assert_fails_closed(gateway: &Envoy, answer: &Answer, cause: &str) -> Result<()> {
    assert_eq!(answer.status, 503, "{}", answer.body);
    let record = gateway.access_log("/v1/charges").await?;
    assert_eq!(record["egress_decision"], "allow");
    assert_eq!(record["response_code"], 503);
    assert_eq!(record["response_flags"], "UF");
    let reason = record["upstream_transport_failure_reason"].as_str().unwrap_or_default();
    assert!(reason.contains(cause), "{reason}");
    Ok(())
}
