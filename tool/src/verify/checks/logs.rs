//! The access logs, and the statistics that tell of refused updates.

use super::Subject;
use crate::verify::kind::{LOG_FIELDS, LOG_FILTERED, STATS_HIDDEN};
use crate::verify::report::Report;
use crate::verify::tree::{Fields, shown, texts};
use egress_warden::record::{Keys, OF_CONNECTIONS, OF_REQUESTS};
use serde_json::Value;

/// What a record has, behind the prefix of its keys.
const FIELDS: [&str; 7] =
    ["decision", "rule", "reason", "policy", "would", "would_rule", "would_reason"];

/// Every chain records the verdicts.
pub(super) fn of(subject: &Subject<'_, '_>, report: &mut Report) {
    for (egress, manager) in subject.carried.requests() {
        let logs: Vec<_> = manager.config.list("access_log").iter().collect();
        fields(&logs, &OF_REQUESTS, &egress.chain.place, report);
    }
    for (egress, tcp) in subject.carried.connections() {
        let of_listener = egress.listener.config.list("access_log");
        let logs: Vec<_> = tcp.config.list("access_log").iter().chain(of_listener).collect();
        fields(&logs, &OF_CONNECTIONS, &egress.chain.place, report);
    }
    statistics(subject, report);
}

fn fields(logs: &[&Value], keys: &Keys, place: &str, report: &mut Report) {
    if logs.is_empty() {
        return report.say(&LOG_FIELDS, place, "there is no access log");
    }
    let missing = |log: &Value| -> Vec<String> {
        let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '.';
        let texts = texts(log);
        let words: std::collections::BTreeSet<_> =
            texts.iter().flat_map(|text| text.split(|c| !is_word(c))).collect();
        let names = FIELDS.map(|field| format!("{}{field}", keys.prefix)).into_iter();
        names.filter(|name| !words.contains(format!("wasm.{name}").as_str())).collect()
    };
    let all: Vec<_> = logs.iter().map(|log| (log, missing(log))).collect();
    let Some((_, least)) = all.iter().min_by_key(|(_, missing)| missing.len()) else { return };
    if !least.is_empty() {
        let problem = format!("the access log has no {}", least.join(", "));
        report.say(&LOG_FIELDS, place, problem);
    } else if all.iter().all(|(log, missing)| !missing.is_empty() || log.field("filter").is_some())
    {
        report.say(&LOG_FILTERED, place, "a filter of the access log may leave verdicts out");
    }
}

/// Counters of discovery are kept, where something comes by it.
fn statistics(subject: &Subject<'_, '_>, report: &mut Report) {
    if !subject.proxy.is_dynamic() {
        return;
    }
    let matcher =
        subject.proxy.bootstrap.and_then(|it| it.below(&["stats_config", "stats_matcher"]));
    let Some(matcher) = matcher else { return };
    let says = |list: &str| {
        matcher.field(list).map_or(&[][..], |it| it.list("patterns")).iter().any(names_discovery)
    };
    let why = if matcher.is_set("reject_all") {
        "all statistics are dropped"
    } else if matcher.field("inclusion_list").is_some() && !says("inclusion_list") {
        "no pattern of the statistics that are kept names `extension_config_discovery`"
    } else if says("exclusion_list") {
        "statistics of `extension_config_discovery` are dropped"
    } else {
        return;
    };
    let problem = format!("{why}, so whether an update was refused is not counted");
    report.say(&STATS_HIDDEN, format!("bootstrap, {}", shown("stats_config")), problem);
}

/// Whether a matcher of texts takes the counters of plugins' discovery. A regular expression is not run; it does if it
/// names them.
fn names_discovery(pattern: &Value) -> bool {
    const NAME: &str = "extension_config_discovery.http_filter.egress-warden.update_rejected";
    const PART: &str = "extension_config_discovery";
    let regex = pattern.below(&["safe_regex", "regex"]).and_then(Value::as_str);
    pattern.text("prefix").is_some_and(|it| NAME.starts_with(it))
        || pattern
            .text("suffix")
            .is_some_and(|it| NAME.ends_with(it) || it.contains("update_rejected"))
        || pattern
            .text("contains")
            .is_some_and(|it| it.contains(PART) || it.contains("update_rejected"))
        || pattern.text("exact").is_some_and(|it| it.contains(PART))
        || regex.is_some_and(|it| it.contains(PART) || it.contains("update_rejected") || it == ".*")
}
