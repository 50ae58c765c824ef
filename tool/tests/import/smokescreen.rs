//! Smokescreen's decision (pkg/smokescreen/acl/v1, Decide): the role's list or the default's; its own
//! domains pass, then the global deny list refuses, the global allow list lets through, and the action is for
//! the rest.

use super::{Sent, assert_clean, assert_decides, hosts, import, is_allowed, sent};
use egress_warden_tool::in_process;
use proptest::prelude::*;

/// A role: its action and its domains.
type Role = (&'static str, Vec<String>);

fn lists(globs: &[String], host: &str) -> bool {
    globs.iter().any(|glob| match glob.strip_prefix("*.") {
        Some(name) => host.ends_with(&format!(".{name}")),
        None => host == glob,
    })
}

fn model(role: Option<&Role>, denied: &[String], allowed: &[String], host: &str) -> bool {
    let Some((action, own)) = role else { return false };
    if lists(own, host) {
        return true;
    }
    !lists(denied, host) && (lists(allowed, host) || *action != "enforce")
}

fn written(
    default: Option<&Role>,
    service: &Role,
    denied: &[String],
    allowed: &[String],
) -> String {
    let role = |(action, own): &Role| {
        format!("{{name: crawler, action: {action}, allowed_domains: {own:?}}}")
    };
    let default = default.map(|it| format!("default: {}\n", role(it))).unwrap_or_default();
    format!(
        "version: v1\nservices:\n- {}\n{default}global_deny_list: {denied:?}\nglobal_allow_list: {allowed:?}\n",
        role(service)
    )
}

fn globs() -> impl Strategy<Value = Vec<String>> {
    let glob = (prop::sample::select(vec!["", "*."]), prop::sample::select(hosts()));
    prop::collection::vec(glob.prop_map(|(star, host)| format!("{star}{host}")), 0..4)
}

fn role() -> impl Strategy<Value = Role> {
    (prop::sample::select(vec!["enforce", "enforce", "report", "open"]), globs())
}

proptest! {
    #[test]
    fn the_default_is_for_everybody_and_a_role_for_who_is_written_in(
        default in prop::option::of(role()),
        service in role(),
        (denied, allowed) in (globs(), globs()),
        is_tld_denied in prop::bool::weighted(0.1),
    ) {
        let mut denied = denied;
        denied.extend(is_tld_denied.then(|| "*.example".to_owned()));
        let text = written(default.as_ref(), &service, &denied, &allowed);
        let (imported, config) = import("smokescreen", "acl.yaml", &text);
        let is_named = imported.open.iter().any(|point| point.contains("no pattern can say"));
        for host in hosts() {
            let of_default = model(default.as_ref(), &denied, &allowed, &host);
            for caller in [None, Some("cluster.local/ns/shop/sa/web")] {
                let is = is_allowed(&config, &Sent { caller, ..sent(&host, 443) });
                prop_assert!(is == of_default || is_named && !is, "{:?} {}\n{}", caller, host, text);
            }
            let caller = Some("smokescreen.invalid/crawler");
            let expected = of_default || model(Some(&service), &denied, &allowed, &host);
            let is = is_allowed(&config, &Sent { caller, ..sent(&host, 443) });
            prop_assert!(is == expected || is_named && !is, "{}\n{}", host, text);
        }
    }
}

#[test]
fn what_a_role_may_is_not_open_to_everyone() {
    let text = "---\nversion: v1\nservices:\n- {name: checkout, project: pay, action: enforce, allowed_domains: \
        [api.ledger.example, '*.bank.example']}\n- {name: crawler, project: shop, action: report, \
        allowed_domains: [feeds.media.example]}\n- {name: sandbox, project: infra, action: open}\n\
        default: {project: infra, action: enforce, allowed_domains: [status.notify.example]}\n";
    for kind in ["smokescreen", "auto"] {
        let (imported, config) = import(kind, "acl.yaml", text);
        assert_clean(&imported);
        for words in [["checkout", "enforce"], ["crawler", "report"], ["sandbox", "open"]] {
            let is_said = |point: &String| words.iter().all(|word| point.contains(word));
            assert!(imported.open.iter().any(is_said), "{words:?} {:?}", imported.open);
        }
        for host in ["api.ledger.example", "*.bank.example", "feeds.media.example"] {
            assert!(imported.text.contains(host), "{}", imported.text);
        }
        assert_decides(
            &config,
            &[
                ("status.notify.example", 443, true),
                ("api.ledger.example", 443, false),
                ("eu.bank.example", 443, false),
                ("feeds.media.example", 443, false),
                ("other.example", 443, false),
            ],
        );
    }
}

#[test]
fn what_is_not_understood_opens_nothing() {
    let text = "version: v1\nservices: []\nglobal_deny_list: ['a*.example']\n\
        default: {action: open, allowed_domains: [b.example, '*.com', 'c.*.example'], allowed_external_proxies: [p.example]}\n";
    let (imported, config) = import("smokescreen", "acl.yaml", text);
    assert_eq!(imported.open.len(), 4, "{:?}", imported.open);
    assert_decides(
        &config,
        &[("b.example", 443, true), ("ab.example", 443, false), ("x.com", 443, false)],
    );
    let odd = "version: v1\nservices: []\ndefault: {action: allow, allowed_domains: [b.example]}\n";
    let (imported, config) = import("smokescreen", "acl.yaml", odd);
    assert_eq!(imported.open.len(), 1, "{:?}", imported.open);
    assert_decides(&config, &[("b.example", 443, false)]);
}

#[test]
fn what_may_deny_more_than_is_read_opens_nothing() {
    let default = "default: {action: open, allowed_domains: [b.example]";
    for text in [
        format!("version: v1\nglobal_deny_list: '*.exfil.example'\n{default}}}\n"),
        format!("version: v1\nglobal_deny_list: {{a: b}}\n{default}}}\n"),
    ] {
        let failure = in_process::import("smokescreen", &[("acl.yaml", &text)], None);
        assert!(failure.is_err_and(|failure| failure.contains("which is not a list")), "{text}");
    }
    for text in [
        format!("version: v1\n{default}, denied_domains: [a.example]}}\n"),
        format!("version: v1\nglobal_denials: [a.example]\n{default}}}\n"),
    ] {
        let (imported, config) = import("smokescreen", "acl.yaml", &text);
        assert_eq!(imported.open.len(), 1, "{:?}", imported.open);
        assert_decides(&config, &[("a.example", 443, false), ("b.example", 443, false)]);
    }
}
