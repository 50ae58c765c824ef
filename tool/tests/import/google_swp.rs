//! UrlLists, by Google's syntax reference: `name` alone, `*.name` below it, `*name` both by whole labels;
//! no path is any, `/path/*` what begins so, `/path` that path without parameters.

use super::{Sent, assert_clean, hosts, import, is_allowed, sent};
use proptest::prelude::*;

fn matches(value: &str, sent: &Sent) -> bool {
    let (host, path) = value.split_once('/').unwrap_or((value, "*"));
    let is_below = |name: &str| sent.host.ends_with(&format!(".{name}"));
    let is_host = match (host.strip_prefix("*."), host.strip_prefix('*')) {
        (Some(name), _) => is_below(name),
        (_, Some(name)) => sent.host == name || is_below(name),
        _ => sent.host == host,
    };
    let is_path = match path.strip_suffix('*') {
        Some(prefix) => sent.path.starts_with(&format!("/{prefix}")),
        None => sent.path == format!("/{path}"),
    };
    is_host && is_path
}

const PATHS: [&str; 6] = ["/", "/v1/charges", "/v1/charges?a=b", "/v1/", "/v2/x", "/v1x/y"];

proptest! {
    #[test]
    fn a_list_allows_its_urls_and_no_others(
        values in prop::collection::vec(
            (
                prop::sample::select(vec!["", "*.", "*"]),
                prop::sample::select(hosts()),
                prop::sample::select(vec!["", "", "/*", "/v1/*", "/v1/charges", "/v*"]),
            ),
            1..6,
        ),
    ) {
        let values: Vec<String> =
            values.into_iter().map(|(before, host, path)| format!("{before}{host}{path}")).collect();
        let mut text = "name: projects/shop/locations/global/urlLists/partners\nvalues:\n".to_owned();
        values.iter().for_each(|value| text.push_str(&format!("- '{value}'\n")));
        let (imported, config) = import("google-swp", "urls.yaml", &text);
        let is_named = |value: &str| imported.open.iter().any(|point| point.contains(&format!("`{value}`")));
        for host in hosts() {
            for path in PATHS {
                let sent = Sent { path, ..sent(&host, 443) };
                let by: Vec<_> = values.iter().filter(|value| matches(value, &sent)).collect();
                let is = is_allowed(&config, &sent);
                prop_assert!(!by.is_empty() || !is, "{:?}\n{}", sent, text);
                prop_assert!(is || by.iter().all(|value| is_named(value)), "{:?}\n{}", sent, text);
            }
        }
    }
}

#[test]
fn the_list_of_partners() {
    let text = "createTime: '2026-02-11T09:12:44Z'\nname: projects/shop/locations/eu/urlLists/partners\n\
        values:\n- rates.bank.example\n- '*.media.example'\n- '*parcel.example'\n- api.ledger.example/v1/*\n";
    for kind in ["google-swp", "auto"] {
        let (imported, config) = import(kind, "urls.yaml", text);
        assert_eq!(imported.open, Vec::<String>::new());
        assert_clean(&imported);
        for (host, path, expected) in [
            ("rates.bank.example", "/any", true),
            ("x.rates.bank.example", "/", false),
            ("a.b.media.example", "/", true),
            ("media.example", "/", false),
            ("parcel.example", "/", true),
            ("x.parcel.example", "/", true),
            ("myparcel.example", "/", false),
            ("api.ledger.example", "/v1/charges", true),
            ("api.ledger.example", "/v2/charges", false),
            ("media.example.exfil.example", "/", false),
        ] {
            let sent = Sent { path, ..sent(host, 443) };
            assert_eq!(is_allowed(&config, &sent), expected, "{sent:?}");
        }
    }
}

#[test]
fn what_is_no_host_or_is_denied_beside_it_opens_nothing() {
    for text in [
        "name: a/urlLists/b\nvalues: ['https://a.example', a, 'a.*.example', '*', a.example/x?y=z, 'a.example:443']\n",
        "name: a/urlLists/b\nvalues: [a.example]\n---\nname: r\nbasicProfile: DENY\n",
    ] {
        let (imported, config) = import("google-swp", "urls.yaml", text);
        assert!(!imported.open.is_empty());
        assert!(!is_allowed(&config, &sent("a.example", 443)), "{text}");
        assert!(!is_allowed(&config, &sent("x.a.example", 443)), "{text}");
    }
}
