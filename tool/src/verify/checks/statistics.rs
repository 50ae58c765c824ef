//! What the statistics say: refused updates, failed VMs, and requests that the guard stopped.

use super::Subject;
use crate::verify::kind::{
    CONFIG_MISSING, GUARD_REFUSED, Kind, PLUGIN_REFUSED, PLUGIN_UNPROVED, UPDATES_REJECTED,
    VM_FAILED,
};
use crate::verify::plugin::Plugin;
use crate::verify::report::Report;
use crate::verify::stats::Stats;
use crate::verify::tree::shown;

/// Counters that are to be zero: how their names begin and end, what is counted, and the kind.
const ZERO: [(&str, &str, &str, &Kind); 11] = [
    (
        "listener_manager.lds.",
        "update_rejected",
        "update of listeners was refused",
        &UPDATES_REJECTED,
    ),
    (
        "cluster_manager.cds.",
        "update_rejected",
        "update of clusters was refused",
        &UPDATES_REJECTED,
    ),
    ("http.", ".update_rejected", "update of routes was refused", &UPDATES_REJECTED),
    (
        "extension_config_discovery.",
        ".update_rejected",
        "update of the plugin was refused",
        &UPDATES_REJECTED,
    ),
    (
        "extension_config_discovery.",
        ".config_fail",
        "update of the plugin failed",
        &UPDATES_REJECTED,
    ),
    (
        "listener.",
        "extension_config_missing",
        "request or connection came before the plugin",
        &CONFIG_MISSING,
    ),
    ("wasm.", ".vm_reload", "VM was started again after a trap", &VM_FAILED),
    ("wasm.", ".vm_reload_failure", "VM could not be started again", &VM_FAILED),
    ("wasm.", "remote_load_fetch_failures", "fetch of the module failed", &VM_FAILED),
    (
        "http.",
        ".egress_warden_guard_.denied",
        "request had no verdict, or another way than was judged, and the guard refused it",
        &GUARD_REFUSED,
    ),
    (
        "egress_warden_guard.",
        "rbac.denied",
        "connection had no verdict, and the guard refused it",
        &GUARD_REFUSED,
    ),
];

/// What is to be zero.
pub(in crate::verify) fn counters(stats: &Stats, report: &mut Report) {
    for (name, value) in stats.counters() {
        let known =
            ZERO.iter().find(|(start, end, ..)| name.starts_with(start) && name.ends_with(end));
        if let Some((_, _, what, kind)) = known.filter(|_| value > 0) {
            report.say(kind, format!("counter {}", shown(name)), format!("{value} times: {what}"));
        }
    }
}

/// Whether the plugins that were delivered are in force.
pub(in crate::verify) fn plugins(
    subject: &Subject<'_, '_>,
    stats: Option<&Stats>,
    report: &mut Report,
) {
    for (stack, _) in subject.carried.stacks() {
        for filter in stack.filters.iter().filter(|it| Plugin::of(it).is_some()) {
            let Some(delivered) = filter.version else { continue };
            let place = format!("{}, filter {}", stack.place, filter.shown());
            let why = match stats.map(|stats| stats.version_of(filter.name)) {
                Some(Some(version)) if version == delivered && !version.is_empty() => continue,
                Some(Some(version)) if version != delivered => {
                    let problem = format!(
                        "version `{}` of the plugin was delivered, and `{}` is in force",
                        shown(delivered),
                        shown(version)
                    );
                    report.say(&PLUGIN_REFUSED, place, problem);
                    continue;
                }
                Some(Some(_)) => "it has no version",
                Some(None) => "the statistics do not have its version",
                None => "there are no statistics",
            };
            let problem = format!("whether the plugin in the dump is in force was not seen: {why}");
            report.say(&PLUGIN_UNPROVED, place, problem);
        }
    }
}
