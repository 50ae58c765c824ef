//! Whether a running proxy is what it must be for a policy, by its own configuration dump.
//!
//! The dump becomes a plain model (`proxy`, `ways`); each check (`checks`) asks one thing of it. A dump says what a
//! proxy was configured to do, not what it does: a worker whose filter could not start looks the same.

mod checks;
mod dump;
mod hosts;
mod kind;
mod plugin;
mod proxy;
mod report;
pub(crate) mod source;
mod stats;
mod tree;
mod ways;

pub(crate) use report::{Found, Report};
pub(crate) use stats::Stats;

use crate::failure::Failure;
use crate::policy_file::Source;
use egress_warden::config::Config;
use hosts::Hosts;
use proxy::Proxy;
use std::collections::BTreeSet;

/// The policies that are to run; they may be one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Expected<'p> {
    pub(crate) requests: Policy<'p>,
    pub(crate) connections: Policy<'p>,
}

/// A valid policy.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Policy<'p> {
    pub(crate) config: &'p Config,
    pub(crate) source: &'p Source<'p>,
}

/// A text with its name for messages.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Text<'t> {
    pub(crate) name: &'t str,
    pub(crate) bytes: &'t [u8],
}

/// Compares a configuration dump, and the statistics if they are there, with the policies.
pub(crate) fn verify(
    expected: Expected<'_>,
    dump: Text<'_>,
    stats: Option<Text<'_>>,
) -> Result<Report, Failure> {
    let tree = dump::read(dump.bytes, dump.name)?;
    let stats = stats.map(|text| Stats::read(text.bytes, text.name)).transpose()?;
    let proxy = Proxy::of(&tree, dump.name)?;
    let hosts = [expected.requests, expected.connections].map(|it| Hosts::of(it.source));
    let [requests, connections] = hosts.each_ref().map(Hosts::index);
    let subject = checks::Subject::new(&proxy, expected, [&requests, &connections]);
    let mut report = subject.report();
    for check in checks::ALL {
        check(&subject, &mut report);
    }
    checks::plugins(&subject, stats.as_ref(), &mut report);
    if let Some(stats) = &stats {
        checks::counters(stats, &mut report);
    }
    report.sort();
    Ok(report)
}

/// The revisions of the policies that a proxy is configured with, of requests and connections.
pub(crate) fn configured(dump: Text<'_>) -> Result<BTreeSet<String>, Failure> {
    let tree = dump::read(dump.bytes, dump.name)?;
    let proxy = Proxy::of(&tree, dump.name)?;
    let found = checks::configured(&proxy);
    found.map_err(|problem| {
        Failure::new(dump.name, problem, "ask `egress-warden verify` about this proxy")
    })
}

#[cfg(test)]
mod tests {
    use super::kind::ALL;
    use super::*;
    use crate::policy_file::PolicyFile;
    use serde_json::Value;

    const FIXTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/examples/verify.in/");

    fn fixture(name: &str) -> String {
        std::fs::read_to_string(format!("{FIXTURES}{name}")).expect("a fixture")
    }

    /// The kinds of what is found in a dump, with the statistics.
    fn found(dump: &str, stats: &str) -> Vec<&'static str> {
        found_for(fixture("policy.yaml"), dump, stats)
    }

    fn found_for(policy: String, dump: &str, stats: &str) -> Vec<&'static str> {
        let files = [policy, fixture("connections.yaml")].map(|text| {
            PolicyFile::of_text("policy".to_owned(), text, false).into_valid().expect("valid")
        });
        let sources = files.each_ref().map(|(file, _)| file.source().expect("a source"));
        let [requests, connections] =
            [0, 1].map(|it: usize| Policy { config: &files[it].1, source: &sources[it] });
        let text = |name, text: &'static str| Text { name, bytes: text.as_bytes() };
        let (dump, stats) = (dump.to_owned().leak(), stats.to_owned().leak());
        let stats = Some(text("stats", stats));
        let report = verify(Expected { requests, connections }, text("dump", dump), stats);
        report.expect("a report").found.iter().map(|found| found.kind.id).collect()
    }

    /// `istioctl proxy-config all -o json` writes fields in the other spelling.
    #[test]
    fn both_spellings_of_fields_are_read() {
        fn camel(value: &Value) -> Value {
            match value {
                Value::Object(members) => {
                    let is_name =
                        |key: &str| !key.contains(['.', '@', '-']) && !key.starts_with("egress");
                    let members = members.iter().map(|(key, value)| {
                        let key = if is_name(key) { tree::camel_case(key) } else { key.clone() };
                        (key, camel(value))
                    });
                    Value::Object(members.collect())
                }
                Value::Array(items) => Value::Array(items.iter().map(camel).collect()),
                value => value.clone(),
            }
        }
        for (name, stats) in
            [("istio.json", "istio-stats.json"), ("wrong.json", "wrong-stats.json")]
        {
            let dump = fixture(name);
            let other = camel(&serde_json::from_str(&dump).expect("JSON")).to_string();
            assert!(other.contains("routeConfigName"));
            assert_eq!(found(&other, &fixture(stats)), found(&dump, &fixture(stats)), "{name}");
        }
    }

    /// A policy without `ports` does not rest on the route.
    #[test]
    fn a_guard_without_its_condition_is_as_bad_as_the_policy_needs_it() {
        let stats = fixture("istio-stats.json");
        let mut dump: Value = serde_json::from_str(&fixture("istio.json")).expect("JSON");
        let manager = "/configs/2/dynamic_listeners/0/active_state/listener/filter_chains/0/filters/0/typed_config";
        let manager = dump.pointer_mut(manager).expect("a connection manager");
        let policies = &mut manager["http_filters"][7]["typed_config"]["rules"]["policies"];
        let policy = policies["egress-warden-allowed"].as_object_mut().expect("a policy");
        policy.remove("condition").expect("a condition");
        assert_eq!(found(&dump.to_string(), &stats), ["guard-condition"]);

        let dump = dump.to_string().replace(r#",\"ports\":[80]"#, "");
        let policy = fixture("policy.yaml").replace("    ports:\n    - 80\n", "");
        assert_eq!(found_for(policy, &dump, &stats), ["guard-without-condition"]);
    }

    #[test]
    fn counters_that_are_to_be_zero_are_told_by_their_kind() {
        let dump = fixture("istio.json");
        for (counter, kind) in [
            ("listener_manager.lds.update_rejected", "updates-rejected"),
            ("cluster_manager.cds.update_rejected", "updates-rejected"),
            ("http.outbound_0.0.0.0_8080.rds.https_8080.update_rejected", "updates-rejected"),
            ("listener.0.0.0.0_8080.extension_config_missing", "config-missing"),
            ("listener.0.0.0.0_8443.network_extension_config_missing", "config-missing"),
            ("wasm.egress-warden.vm_reload", "vm-failed"),
            ("wasm.egress-warden.vm_reload_failure", "vm-failed"),
            ("http.outbound_0.0.0.0_80.rbac.egress_warden_guard_.denied", "guard-refused"),
            ("egress_warden_guard.rbac.denied", "guard-refused"),
        ] {
            for (value, expected) in [(0, vec![]), (3, vec![kind])] {
                let mut stats: Value =
                    serde_json::from_str(&fixture("istio-stats.json")).expect("JSON");
                let counter = serde_json::json!({"name": counter, "value": value});
                stats["stats"]
                    .as_array_mut()
                    .expect("a list")
                    .retain(|it| it["name"] != counter["name"]);
                stats["stats"].as_array_mut().expect("a list").push(counter.clone());
                assert_eq!(found(&dump, &stats.to_string()), expected, "{counter}");
            }
        }
    }

    /// Every kind stands in the documentation once, and a test makes it.
    #[test]
    fn every_kind_is_documented_and_tested() {
        let documentation = include_str!("../../../docs/tool.md");
        let tests = [
            include_str!("../../../tests/envoy/verify.rs"),
            include_str!("mod.rs"),
            include_str!("../../tests/examples/verify.md"),
        ]
        .concat();
        let ids: BTreeSet<_> = ALL.iter().map(|kind| kind.id).collect();
        assert_eq!(ids.len(), ALL.len());
        for kind in ALL {
            assert_eq!(
                documentation.matches(&format!("| `{}` |", kind.id)).count(),
                1,
                "{}",
                kind.id
            );
            assert!(tests.contains(kind.id), "{}", kind.id);
        }
    }
}
