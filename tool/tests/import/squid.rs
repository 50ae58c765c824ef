//! Squid: the first `http_access` line decides all of whose ACLs match; the values of an ACL are
//! alternatives; without a match the opposite of the last line. From the configuration reference.

use super::{Sent, assert_clean, hosts, import, is_allowed, sent};
use proptest::prelude::*;

/// One line: whether it allows, and its ACLs, perhaps negated.
type Line = (bool, Vec<(bool, &'static str)>);

/// Who calls.
#[derive(Clone, Copy, Debug)]
struct Caller {
    is_local: bool,
    is_admin: bool,
}

const ACLS: &str = "acl localnet src 198.51.100.0/24\nacl admins src 198.51.100.7\n\
    acl media dstdomain .media.example\nacl below dstdomain .a.media.example bank.example\n\
    acl some dstdomain a.media.example .bank.example xmedia.example\n\
    acl tld dstdomain .example\nacl web port 80 443\nacl tls port 443\nacl high port 1025-65535\n\
    acl writes method POST PUT\nacl odd dstdom_regex cdn\n";

fn matches(acl: &str, sent: &Sent, caller: Caller) -> bool {
    let tree = |name: &str| sent.host == name || sent.host.ends_with(&format!(".{name}"));
    match acl {
        "all" => true,
        "localnet" => caller.is_local,
        "admins" => caller.is_admin,
        "media" => tree("media.example"),
        "below" => tree("a.media.example") || sent.host == "bank.example",
        "some" => {
            sent.host == "a.media.example" || tree("bank.example") || sent.host == "xmedia.example"
        }
        "tld" => tree("example"),
        "web" => sent.port == 80 || sent.port == 443,
        "tls" => sent.port == 443,
        "high" => sent.port > 1024,
        "writes" => sent.method == "POST" || sent.method == "PUT",
        "CONNECT" => sent.method == "CONNECT",
        "odd" => sent.host.contains("cdn"),
        other => panic!("{other}"),
    }
}

fn model(lines: &[Line], sent: &Sent, caller: Caller) -> bool {
    let first = lines.iter().find(|(_, acls)| {
        acls.iter().all(|(is_negated, acl)| matches(acl, sent, caller) != *is_negated)
    });
    match (first, lines.last()) {
        (Some((allows, _)), _) => *allows,
        (None, last) => last.is_some_and(|(allows, _)| !allows),
    }
}

fn configuration(lines: &[Line]) -> String {
    let mut text = ACLS.to_owned();
    for (allows, acls) in lines {
        text.push_str(if *allows { "http_access allow" } else { "http_access deny" });
        for (is_negated, acl) in acls {
            text.push_str(if *is_negated { " !" } else { " " });
            text.push_str(acl);
        }
        text.push('\n');
    }
    text
}

/// Whether the import leaves a caller to the network who would not reach the gateway.
fn is_kept_away(open: &[String], caller: Caller) -> bool {
    let demands = |callers: &str| {
        callers.split(" or ").any(|literal| match literal {
            "localnet" => caller.is_local,
            "!localnet" => !caller.is_local,
            "admins" => caller.is_admin,
            "!admins" => !caller.is_admin,
            other => panic!("{other}"),
        })
    };
    let said = open.iter().filter_map(|point| {
        point.split_once("only callers who are `")?.1.split_once('`').map(|(callers, _)| callers)
    });
    !said.into_iter().all(demands)
}

fn a_line() -> impl Strategy<Value = Line> {
    let names = vec![
        "all", "localnet", "localnet", "admins", "media", "media", "below", "some", "tld", "web",
        "tls", "high", "writes", "CONNECT", "odd",
    ];
    let literal = (prop::bool::weighted(0.25), prop::sample::select(names));
    (any::<bool>(), prop::collection::vec(literal, 1..4))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]
    #[test]
    fn what_squid_refuses_stays_refused_and_what_is_missing_is_named(
        mut lines in prop::collection::vec(a_line(), 1..8),
        ends in any::<bool>(),
    ) {
        if ends {
            lines.push((false, vec![(false, "all")]));
        }
        let text = configuration(&lines);
        let (imported, config) = import("squid", "squid.conf", &text);
        // Neither of these keeps a request to a name from such a caller.
        let is_excuse = |point: &&String| {
            !point.contains(": any host:") && !point.contains(": only callers who are")
        };
        let has_excuse = imported.open.iter().any(|point| is_excuse(&point));
        for caller in [(true, false), (true, true), (false, false)] {
            let caller = Caller { is_local: caller.0, is_admin: caller.1 };
            if is_kept_away(&imported.open, caller) {
                continue;
            }
            for host in hosts() {
                for port in [80, 443, 8080] {
                    for method in ["GET", "POST", "CONNECT"] {
                        let sent = Sent { method, ..sent(&host, port) };
                        let expected = model(&lines, &sent, caller);
                        let is = is_allowed(&config, &sent);
                        prop_assert!(expected || !is, "{:?} {:?}\n{}\n{}", sent, caller, text, imported.text);
                        prop_assert!(
                            is || !expected || has_excuse,
                            "{:?} {:?}\n{}\n{}", sent, caller, text, imported.text
                        );
                    }
                }
            }
        }
    }
}

const SHOP: &str = "# egress of the shop\nhttp_port 3128\nacl localnet src 198.51.100.0/24\n\
    acl SSL_ports port 443\nacl Safe_ports port 80\nacl Safe_ports port 443 # both\n\
    acl blocked dstdomain .exfil.example\nacl status dstdomain status.exfil.example\n\
    acl partners dstdomain .media.example \\\n  rates.bank.example\nacl uploads method PUT POST\n\n\
    http_access deny !Safe_ports\nhttp_access deny CONNECT !SSL_ports\n\
    http_access allow localnet status\nhttp_access deny blocked\n\
    http_access deny uploads partners\nhttp_access allow localnet partners\nhttp_access deny all\n\
    cache deny all\n";

#[test]
fn an_allow_before_a_deny_wins_and_methods_and_ports_are_kept() {
    for kind in ["squid", "auto"] {
        let (imported, config) = import(kind, "squid.conf", SHOP);
        assert_clean(&imported);
        let [point] = &imported.open[..] else { panic!("{:?}", imported.open) };
        assert!(point.starts_with("squid.conf:3: only callers who are `localnet`"), "{point}");
        assert!(point.contains("198.51.100.0/24"), "{point}");
        for (host, port, method, expected) in [
            ("media.example", 80, "GET", true),
            ("a.b.media.example", 80, "GET", true),
            ("rates.bank.example", 80, "GET", true),
            ("x.rates.bank.example", 80, "GET", false),
            ("media.example", 80, "POST", false),
            ("rates.bank.example", 80, "PUT", false),
            ("cdn.media.example", 443, "GET", true),
            ("cdn.media.example", 443, "CONNECT", true),
            ("cdn.media.example", 80, "CONNECT", false),
            ("cdn.media.example", 8080, "GET", false),
            ("status.exfil.example", 80, "GET", true),
            ("status.exfil.example", 80, "POST", true),
            ("exfil.example", 80, "GET", false),
            ("x.status.exfil.example", 80, "GET", false),
            ("other.example", 80, "GET", false),
        ] {
            let sent = Sent { method, ..sent(host, port) };
            assert_eq!(is_allowed(&config, &sent), expected, "{sent:?}\n{}", imported.text);
        }
    }
}

#[test]
fn what_is_elsewhere_or_unknown_opens_nothing() {
    for (lines, place) in [
        ("include /etc/squid/conf.d/*.conf\nhttp_access allow all\n", "squid.conf:1: `include"),
        (
            "acl p dstdomain \"/etc/p\"\nhttp_access allow p\nhttp_access deny all\n",
            "squid.conf:1: values",
        ),
        (
            "acl p dstdomain .a.example\nhttp_access deny p bad\nhttp_access allow p\nhttp_access deny all\n",
            "squid.conf:2:",
        ),
        (
            "acl p dstdomain .a.example\nacl u proxy_auth REQUIRED\nhttp_access allow u p\nhttp_access deny all\n",
            "squid.conf:3:",
        ),
        ("acl m method get\nhttp_access deny m\nhttp_access allow all\n", "squid.conf:1: `get`"),
        (
            "acl p dstdomain *.a.example\nhttp_access allow p\nhttp_access deny all\n",
            "squid.conf:1: `*.a",
        ),
    ] {
        let (imported, config) = import("squid", "squid.conf", lines);
        assert!(imported.open.iter().any(|point| point.starts_with(place)), "{:?}", imported.open);
        assert!(!is_allowed(&config, &sent("x.a.example", 443)), "{lines}");
    }
}

#[test]
fn the_lines_of_the_default_configuration_are_read() {
    let text = "acl localnet src 192.0.2.0/24\nacl SSL_ports port 443\nacl Safe_ports port 80 21 443\n\
        acl Safe_ports port 1025-65535\nacl partners dstdomain .a.example\n\
        http_access deny !Safe_ports\nhttp_access deny CONNECT !SSL_ports\n\
        http_access allow localhost manager\nhttp_access deny manager\n\
        http_access deny to_localhost\nhttp_access deny !partners\nhttp_access allow localnet\n\
        http_access allow localhost\nhttp_access deny all\n";
    let (imported, config) = import("squid", "squid.conf", text);
    for (host, port, expected) in [
        ("x.a.example", 443, true),
        ("x.a.example", 8443, true),
        ("x.a.example", 22, false),
        ("b.example", 443, false),
    ] {
        assert_eq!(
            is_allowed(&config, &sent(host, port)),
            expected,
            "{host}:{port}\n{}",
            imported.text
        );
    }
}

#[test]
fn what_a_line_excludes_stays_out_in_either_order() {
    for acls in ["!below media", "media !below"] {
        let text = format!("{ACLS}http_access allow {acls}\nhttp_access deny all\n");
        let (imported, config) = import("squid", "squid.conf", &text);
        assert_eq!(imported.open, Vec::<String>::new());
        for (host, expected) in [
            ("media.example", true),
            ("b.media.example", true),
            ("a.media.example", false),
            ("b.a.media.example", false),
        ] {
            assert_eq!(is_allowed(&config, &sent(host, 443)), expected, "{acls}: {host}");
        }
    }
}

#[test]
fn what_some_callers_may_is_not_opened_to_all() {
    let lines =
        "http_access allow admins media\nhttp_access allow localnet some\nhttp_access deny all\n";
    let (imported, config) = import("squid", "squid.conf", &format!("{ACLS}{lines}"));
    assert_eq!(imported.open.len(), 2, "{:?}", imported.open);
    for host in ["media.example", "a.media.example", "bank.example"] {
        assert!(!is_allowed(&config, &sent(host, 443)), "{host}");
    }
}

#[test]
fn all_is_everybody_however_it_is_defined() {
    for all in ["acl all src 0.0.0.0/0.0.0.0", "acl all src 198.51.100.0/24", "acl any src ::/0"] {
        let name = if all.starts_with("acl any") { "any" } else { "all" };
        let text = format!(
            "{all}\nacl p dstdomain .a.example\nhttp_access allow p\nhttp_access deny {name}\n"
        );
        let (imported, config) = import("squid", "squid.conf", &text);
        assert_eq!(imported.open, Vec::<String>::new(), "{all}");
        assert!(is_allowed(&config, &sent("a.example", 443)), "{all}");
        assert!(!is_allowed(&config, &sent("b.example", 443)), "{all}");
    }
}

#[test]
fn a_line_that_allows_without_an_acl_is_skipped() {
    for line in ["http_access allow", "http_access allow # all"] {
        let text = format!("{line}\nhttp_access deny all\n");
        let (imported, config) = import("squid", "squid.conf", &text);
        assert!(imported.open[0].contains("without an ACL"), "{:?}", imported.open);
        assert!(!is_allowed(&config, &sent("a.example", 443)), "{line}");
    }
}
