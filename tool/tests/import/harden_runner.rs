//! Harden-Runner: `block` lets through `allowed-endpoints` alone. Whether `*.name` is also the name is
//! not asked: the import may refuse it.

use super::{assert_clean, assert_decides, hosts, import, is_allowed, sent};
use proptest::prelude::*;

/// Whether a list of endpoints lets a connection through.
fn model(endpoints: &[(bool, String, u16)], host: &str, port: u16) -> bool {
    endpoints.iter().any(|(is_below, name, only)| {
        let is_host = if *is_below { host.ends_with(&format!(".{name}")) } else { host == name };
        is_host && *only == port
    })
}

fn workflow(jobs: &[Vec<(bool, String, u16)>]) -> String {
    let mut text = "on: [push]\njobs:\n".to_owned();
    for (number, endpoints) in jobs.iter().enumerate() {
        text.push_str(&format!(
            "  job{number}:\n    steps:\n    - run: make\n    - uses: step-security/harden-runner@v2\n      \
             with:\n        egress-policy: block\n        allowed-endpoints: >\n"
        ));
        for (is_below, name, port) in endpoints {
            let star = if *is_below { "*." } else { "" };
            text.push_str(&format!("          {star}{name}:{port}\n"));
        }
    }
    text
}

proptest! {
    #[test]
    fn a_workflow_allows_what_each_of_its_jobs_may_reach(
        jobs in prop::collection::vec(
            prop::collection::vec(
                (
                    any::<bool>(),
                    prop::sample::select(hosts()),
                    prop::sample::select(vec![443_u16, 8443]),
                ),
                1..6,
            ),
            1..3,
        ),
    ) {
        let text = workflow(&jobs);
        let (imported, config) = import("harden-runner", "ci.yaml", &text);
        for host in hosts() {
            for port in [80, 443, 8443] {
                let by_all = jobs.iter().all(|endpoints| model(endpoints, &host, port));
                let by_one = jobs.iter().any(|endpoints| model(endpoints, &host, port));
                let is = is_allowed(&config, &sent(&host, port));
                prop_assert_eq!(is, by_all, "{}:{}\n{}", host, port, text);
                prop_assert!(is == by_one || !imported.open.is_empty(), "{}:{}\n{}", host, port, text);
            }
        }
    }
}

#[test]
fn what_is_audited_is_named_and_what_is_blocked_is_carried_over() {
    let text = "name: build\non: [push]\njobs:\n  build:\n    steps:\n    - uses: \
                step-security/harden-runner@v2\n      with:\n        egress-policy: block\n        \
                allowed-endpoints: >\n          api.ledger.example:443\n          \
                *.media.example:443 files.parcel.example:8443\n  lint:\n    steps:\n    - uses: \
                step-security/harden-runner@v2\n      with: {egress-policy: audit}\n";
    for kind in ["harden-runner", "auto"] {
        let (imported, config) = import(kind, "ci.yaml", text);
        assert_clean(&imported);
        let [point] = &imported.open[..] else { panic!("{:?}", imported.open) };
        assert!(point.starts_with("ci.yaml:15: `egress-policy: audit` of job lint"), "{point}");
        assert_decides(
            &config,
            &[
                ("api.ledger.example", 443, true),
                ("api.ledger.example", 80, false),
                ("cdn.media.example", 443, true),
                ("cdn.media.example", 8443, false),
                ("files.parcel.example", 8443, true),
                ("files.parcel.example", 443, false),
                ("other.example", 443, false),
            ],
        );
    }
}

#[test]
fn what_is_not_written_out_is_named_and_opens_nothing() {
    for with in [
        "{egress-policy: \"${{ inputs.policy }}\", allowed-endpoints: a.example}",
        "{egress-policy: block, allowed-endpoints: \"${{ vars.ALLOWED }} a.*.example:443 b.example:x c.${{ vars.ONE }}:443\"}",
        "{policy: stored, allowed-endpoints: a.example}",
        "{egress-policy: block, allowed-endpoints: '10.0.0.0/8:443'}",
    ] {
        let text = format!(
            "jobs: {{a: {{steps: [{{uses: step-security/harden-runner@v2, with: {with}}}]}}}}"
        );
        let (imported, config) = import("harden-runner", "ci.yaml", &text);
        assert!(!imported.open.is_empty(), "{with}");
        assert_eq!(config.policy.rules().len(), 0, "{with}");
    }
}
