//! The verdict on a spelling is the verdict on the canonical form, or deny.

use crate::for_all_bytes;
use arbitrary::{Result, Unstructured};
use egress_warden::config;
use egress_warden::host::{Authority, Host};
use egress_warden::policy::{Action, Reason};
use kit::naive::comparison::facts;
use kit::naive::sample;
use std::net::IpAddr;

#[test]
fn every_spelling_gets_the_verdict_of_its_canonical_form() {
    for_all_bytes(1_500, |bytes| {
        let mut bytes = Unstructured::new(bytes);
        let text = sample::policy(&mut bytes).expect("a policy").to_string();
        let policy = config::read(text.as_bytes()).expect("a policy").policy;
        for _ in 0..8 {
            let mut request = sample::request(&mut bytes).expect("a request");
            let sent = request.authority.clone();
            let Ok(authority) = Authority::parse(&sent) else { continue };
            let port = authority.port.map(|port| format!(":{port}")).unwrap_or_default();
            request.authority = format!("{}{port}", authority.host.canonical()).into();
            let canonical = policy.decide(&facts(&request));
            for _ in 0..4 {
                let host = respelt(&mut bytes, &authority.host).expect("a spelling");
                request.authority = format!("{host}{port}").into();
                assert_eq!(policy.decide(&facts(&request)), canonical, "{text}\n{host}{port}");
            }
        }
    });
}

/// One byte put anywhere makes another spelling of the host, another host, or none.
#[test]
fn what_is_no_spelling_of_a_host_is_denied() {
    for_all_bytes(1_500, |bytes| {
        let mut bytes = Unstructured::new(bytes);
        let text = sample::policy(&mut bytes).expect("a policy").to_string();
        let policy = config::read(text.as_bytes()).expect("a policy").policy;
        let mut request = sample::request(&mut bytes).expect("a request");
        let at = bytes.int_in_range(0..=request.authority.len()).expect("a place");
        let byte = *bytes.choose(b".:@%[],;*/ -0aA\0\xff\xad").expect("a byte");
        request.authority.insert(at, byte);
        let decision = policy.decide(&facts(&request));
        let sent = request.authority.clone();
        match Authority::parse(&sent) {
            Ok(authority) => {
                let port = authority.port.map(|port| format!(":{port}")).unwrap_or_default();
                request.authority = format!("{}{port}", authority.host.canonical()).into();
                assert_eq!(policy.decide(&facts(&request)), decision, "{}", sent.escape_ascii());
            }
            Err(_) => {
                let verdict = decision.would.unwrap_or(decision.verdict);
                let is_refused =
                    (verdict.action, verdict.reason) == (Action::Deny, Reason::Malformed);
                assert!(is_refused, "{}: {decision:?}", sent.escape_ascii());
            }
        }
    });
}

/// The host in other letters, with a trailing dot, or as another text of its address.
fn respelt(bytes: &mut Unstructured<'_>, host: &Host<'_>) -> Result<String> {
    let name = match host {
        Host::Name(name) => name.as_str(),
        Host::Address(address) => {
            let v6 = match address {
                IpAddr::V4(v4) => v4.to_ipv6_mapped(),
                IpAddr::V6(v6) => *v6,
            };
            return sample::address_spelling(bytes, v6.to_bits());
        }
    };
    let mut spelling = String::new();
    for letter in name.chars() {
        let is_raised = bytes.arbitrary()?;
        spelling.push(if is_raised { letter.to_ascii_uppercase() } else { letter });
    }
    if bytes.arbitrary()? {
        spelling.push('.');
    }
    Ok(spelling)
}
