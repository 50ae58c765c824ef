//! A plain list: `name` alone, `.name` with what is below, `*.name` what is below; `!` takes out; a port
//! behind `:` is the only one. Assumed, because there is no standard: see the importer.

use super::{assert_clean, assert_decides, hosts, import, is_allowed, run, sent};
use proptest::prelude::*;

/// Whether a list lets a request through.
fn model(lines: &[(bool, String, Option<u16>)], host: &str, port: u16) -> bool {
    let matches = |(_, item, only): &&(bool, String, Option<u16>)| {
        let is_below = |name: &str| host.ends_with(&format!(".{name}"));
        let is_host = match (item.strip_prefix("*."), item.strip_prefix('.')) {
            (Some(name), _) => is_below(name),
            (_, Some(name)) => host == name || is_below(name),
            _ => host == item,
        };
        is_host && only.is_none_or(|only| only == port)
    };
    let (out, lets): (Vec<_>, Vec<_>) = lines.iter().filter(matches).partition(|line| line.0);
    out.is_empty() && !lets.is_empty()
}

proptest! {
    #[test]
    fn a_list_allows_what_it_names_and_nothing_else(
        lines in prop::collection::vec(
            (
                prop::bool::weighted(0.2),
                prop::sample::select(vec!["", ".", "*."]),
                prop::sample::select(hosts()),
                prop::option::of(prop::sample::select(vec![80_u16, 443])),
            ),
            1..8,
        ),
        upper in any::<bool>(),
    ) {
        let lines: Vec<_> = lines
            .into_iter()
            .map(|(out, before, host, port)| (out, format!("{before}{host}"), port))
            .collect();
        let mut text = String::from("# partners\n\n");
        for (out, item, port) in &lines {
            let mark = if *out { "!" } else { "" };
            let item = if upper { item.to_uppercase() } else { item.clone() };
            let port = port.map(|port| format!(":{port}")).unwrap_or_default();
            text.push_str(&format!("  {mark}{item}{port} # why\r\n"));
        }
        let (imported, config) = import("domains", "list.txt", &text);
        prop_assert_eq!(&imported.open, &Vec::<String>::new());
        for host in hosts() {
            for port in [80, 443, 8443] {
                let expected = model(&lines, &host, port);
                prop_assert_eq!(
                    is_allowed(&config, &sent(&host, port)), expected, "{}:{}\n{}", host, port, text
                );
            }
        }
    }
}

#[test]
fn a_list_of_partners() {
    let text = "# partners of the shop\n.media.example\n*.media.example\nmedia.example\n\
                rates.bank.example\nRATES.bank.example.\n\n*.notify.example:8443\n#old.parcel.example\n\
                192.0.2.1\n";
    for kind in ["domains", "auto"] {
        let (imported, config) = import(kind, "list.txt", text);
        assert_eq!(imported.open, Vec::<String>::new());
        assert_clean(&imported);
        assert_decides(
            &config,
            &[
                ("media.example", 443, true),
                ("a.b.media.example", 80, true),
                ("xmedia.example", 443, false),
                ("rates.bank.example", 443, true),
                ("x.rates.bank.example", 443, false),
                ("notify.example", 8443, false),
                ("a.notify.example", 8443, true),
                ("a.notify.example", 443, false),
                ("old.parcel.example", 443, false),
                ("192.0.2.1", 443, true),
                ("other.example", 443, false),
            ],
        );
    }
}

#[test]
fn what_is_no_host_is_named_with_its_line() {
    let text =
        "a.example\n0.0.0.0 ads.example\n.com\nhttps://b.example/c\nd.example:0\n||e.example^\n*\n";
    let (imported, config) = import("domains", "list.txt", text);
    let lines: Vec<_> = imported.open.iter().map(|point| &point[..11]).collect();
    assert_eq!(
        lines,
        ["list.txt:2:", "list.txt:3:", "list.txt:4:", "list.txt:5:", "list.txt:6:", "list.txt:7:"]
    );
    for host in ["ads.example", "x.com", "b.example", "d.example", "e.example"] {
        assert!(!is_allowed(&config, &sent(host, 443)), "{host}");
    }
    assert!(is_allowed(&config, &sent("a.example", 443)));
}

#[test]
fn a_host_that_is_taken_out_and_cannot_be_read_leaves_nothing_allowed() {
    for item in ["!*", "!https://a.example/x", "!a.example:0", "!*.example"] {
        let (imported, config) =
            import("domains", "list.txt", &format!(".a.example\n{item}\n!b.example\n"));
        assert!(imported.open[0].contains("so nothing is allowed"), "{:?}", imported.open);
        assert!(!is_allowed(&config, &sent("a.example", 443)), "{item}");
        assert_eq!(config.policy.rules().len(), 1, "{}", imported.text);
    }
}

#[test]
fn a_long_list_is_imported_whole() {
    let text: String = (0..10_000).map(|it| format!("host-{it}.list.example\n")).collect();
    let (_, config) = import("domains", "list.txt", &text);
    assert!(is_allowed(&config, &sent("host-9999.list.example", 443)));
}

#[test]
fn a_point_keeps_the_policy_from_being_written_unless_the_rest_is_asked_for() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name).to_str().expect("text").to_owned();
    let (list, policy) = (path("list.txt"), path("policy.yaml"));
    std::fs::write(&list, "a.example\n*.com\n").expect("a file");
    let strict = run(&["import", "--from", "domains", &list, "-o", &policy]);
    assert_eq!(strict.status.code(), Some(1));
    assert!(!std::path::Path::new(&policy).exists());
    let partial = run(&["import", "--allow-partial", &list, "-o", &policy]);
    assert_eq!(partial.status.code(), Some(0), "{}", String::from_utf8_lossy(&partial.stderr));
    let text = std::fs::read_to_string(&policy).expect("a policy");
    assert!(text.contains("list.txt:2: a wildcard over a whole top-level domain"), "{text}");
}
