//! Counters of egress-warden by what they count, from every form in which a proxy gives them: the names of
//! docs/metrics.md, of the module and of the native library, with labels and without.

use crate::failure::Failure;
use crate::verify::Stats;
use egress_warden::policy::Action;
use std::collections::BTreeMap;

/// What a counter counts.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Counted {
    /// Decisions, by reason.
    Verdict { of: Subject, action: &'static str, reason: String },
    /// Decisions, by the rule that made them.
    Rule { of: Subject, action: &'static str, rule: String },
    /// Would-be decisions that differ.
    Would { of: Subject, action: &'static str },
    /// What a guard refused.
    Guard { of: Subject },
    /// Policies that the proxy refused.
    Rejected,
    /// For how many seconds the proxy runs.
    Uptime,
    /// The hash of the policy in force, as a number.
    Policy { of: Subject },
}

/// What is decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Subject {
    Requests,
    Connections,
}

/// All counters at one time. Those that count the same are added.
pub(crate) type Snapshot = BTreeMap<Counted, u64>;

/// Most counters that are taken of an answer. A policy has about 2,000 for requests and as many for connections.
const MOST: usize = 20_000;

/// The gauge of the hash of the policy in force.
const POLICY: &str = "policy_hash";

/// Reads statistics: JSON or text, as `/stats` has them, or those for Prometheus.
pub(crate) fn read(text: &[u8], place: &str) -> Result<Snapshot, Failure> {
    let mut snapshot = Snapshot::new();
    let mut add = |counted: Option<Counted>, count: u64| {
        let Some(counted) = counted else { return };
        if snapshot.len() < MOST || snapshot.contains_key(&counted) {
            let is_gauge = matches!(counted, Counted::Policy { .. } | Counted::Uptime);
            let sum = snapshot.entry(counted).or_default();
            *sum = if is_gauge { count } else { sum.saturating_add(count) };
        }
    };
    if text.trim_ascii_start().starts_with(b"#") {
        for line in String::from_utf8_lossy(text).lines() {
            if let Some((series, count)) = series(line) {
                add(of_prometheus(&series), count);
            }
        }
    } else {
        for (name, count) in Stats::read(text, place)?.counters() {
            add(of_envoy(name), count);
        }
    }
    Ok(snapshot)
}

/// What the counter of this name in `/stats` counts.
fn of_envoy(name: &str) -> Option<Counted> {
    if name == "server.uptime" {
        return Some(Counted::Uptime);
    }
    if name.ends_with(".egress_warden_guard_.denied") {
        return Some(Counted::Guard { of: Subject::Requests });
    }
    if name == "egress_warden_guard.rbac.denied" {
        return Some(Counted::Guard { of: Subject::Connections });
    }
    if name.starts_with("extension_config_discovery.") && name.ends_with(".update_rejected") {
        return Some(Counted::Rejected);
    }
    let own = ["wasmcustom.", "dynamicmodulescustom."].iter().find_map(|it| name.strip_prefix(it));
    let parts: Vec<&str> = own?.strip_prefix("egress_warden.")?.split('.').collect();
    let (family, values) = match parts.as_slice() {
        ["connections", family @ ("rule" | "would"), values @ ..] => {
            (Family::of(Subject::Connections, family)?, values)
        }
        ["connections", POLICY] => return Some(Counted::Policy { of: Subject::Connections }),
        ["connections", values @ ..] => (Family::Verdict(Subject::Connections), values),
        [POLICY] => return Some(Counted::Policy { of: Subject::Requests }),
        [family, values @ ..] => (Family::of(Subject::Requests, family)?, values),
        [] => return None,
    };
    // The native library has labels, and Envoy writes each before its value.
    let labelled = |label: &str| {
        let mut pairs = values.chunks(2);
        pairs.find_map(|pair| match pair {
            [key, value] if *key == label => Some(*value),
            _ => None,
        })
    };
    match (family, values) {
        (Family::Verdict(_), [action, reason]) => family.counted(action, reason),
        (Family::Rule(_), [rule, action]) => family.counted(action, rule),
        (Family::Would(_), [action]) => family.counted(action, ""),
        _ => family.labelled(labelled),
    }
}

/// One family of counters.
#[derive(Clone, Copy)]
enum Family {
    Verdict(Subject),
    Rule(Subject),
    Would(Subject),
}

impl Family {
    fn of(of: Subject, name: &str) -> Option<Self> {
        Some(match name {
            "requests" => Self::Verdict(of),
            "rule" => Self::Rule(of),
            "would" => Self::Would(of),
            _ => return None,
        })
    }

    /// The counter of this family with these labels.
    fn labelled<'l>(self, label: impl Fn(&str) -> Option<&'l str>) -> Option<Counted> {
        let other = match self {
            Self::Verdict(_) => label("reason")?,
            Self::Rule(_) => label("rule")?,
            Self::Would(_) => "",
        };
        self.counted(label("decision")?, other)
    }

    /// The counter of this family with these values; `other` is the reason or the rule.
    fn counted(self, action: &str, other: &str) -> Option<Counted> {
        let actions = [Action::Allow, Action::Deny].map(Action::as_str);
        let action = actions.into_iter().find(|it| *it == action)?;
        Some(match self {
            Self::Verdict(of) => Counted::Verdict { of, action, reason: other.to_owned() },
            Self::Rule(of) => Counted::Rule { of, action, rule: other.to_owned() },
            Self::Would(of) => Counted::Would { of, action },
        })
    }
}

/// A series of Prometheus: its name and its labels.
struct Series<'t> {
    name: &'t str,
    labels: Vec<(&'t str, &'t str)>,
}

impl Series<'_> {
    fn label(&self, name: &str) -> Option<&str> {
        self.labels.iter().find(|(label, _)| *label == name).map(|(_, value)| *value)
    }
}

/// Reads a line `NAME{LABEL="VALUE",…} COUNT`. A value that has an escape is none of ours.
fn series(line: &str) -> Option<(Series<'_>, u64)> {
    let (series, count) = line.trim_end().rsplit_once(' ')?;
    let count = count.parse().ok()?;
    let Some((name, labels)) = series.split_once('{') else {
        return Some((Series { name: series, labels: Vec::new() }, count));
    };
    let mut rest = labels.strip_suffix('}')?;
    let mut labels = Vec::new();
    while !rest.is_empty() {
        let (label, behind) = rest.split_once("=\"")?;
        let (value, behind) = behind.split_once('"')?;
        labels.push((label, value));
        rest = behind.strip_prefix(',').unwrap_or(behind);
    }
    Some((Series { name, labels }, count))
}

/// What a series of Envoy, or one with the names of docs/metrics.md, counts.
fn of_prometheus(series: &Series<'_>) -> Option<Counted> {
    let name = series.name.strip_suffix("_total").unwrap_or(series.name);
    if name == "envoy_server_uptime" {
        return Some(Counted::Uptime);
    }
    if let Some(of) = guard(name, series) {
        return Some(Counted::Guard { of });
    }
    let is_rejected = name == "egress_warden_updates_rejected"
        || (name.starts_with("envoy_extension_config_discovery_")
            && name.contains("egress_warden")
            && name.ends_with("_update_rejected"));
    if is_rejected {
        return Some(Counted::Rejected);
    }
    let name = name.strip_prefix("envoy_dynamicmodulescustom_").unwrap_or(name);
    let name = name.strip_prefix("egress_warden_")?;
    let (of, name) = match name.strip_prefix("connections") {
        Some("") => (Subject::Connections, "requests"),
        Some(rest) => (Subject::Connections, rest.strip_prefix('_')?),
        None => (Subject::Requests, name),
    };
    if name == POLICY {
        return Some(Counted::Policy { of });
    }
    match series.label("decision") {
        Some(_) => Family::of(of, name)?.labelled(|label| series.label(label)),
        None => of_name(of, name),
    }
}

/// What a name without labels counts, whose parts are joined by `_`.
fn of_name(of: Subject, name: &str) -> Option<Counted> {
    if let Some(action) = name.strip_prefix("would_") {
        return Family::Would(of).counted(action, "");
    }
    if let Some((rule, action)) = name.strip_prefix("rule_").and_then(|it| it.rsplit_once('_')) {
        return Family::Rule(of).counted(action, rule);
    }
    let verdict = match of {
        Subject::Requests => name.strip_prefix("requests_")?,
        Subject::Connections => name,
    };
    let (action, reason) = verdict.split_once('_')?;
    Family::Verdict(of).counted(action, reason)
}

/// Whether it is what a guard refused.
fn guard(name: &str, series: &Series<'_>) -> Option<Subject> {
    let is = |label: &str, value: &str| series.label(label) == Some(value);
    if name.starts_with("envoy_http_") && name.ends_with("rbac_egress_warden_guard__denied")
        || (name == "egress_warden_guard" && is("result", "denied"))
    {
        return Some(Subject::Requests);
    }
    let is_of_connections = (name == "envoy_rbac_denied"
        && is("envoy_rbac_prefix", "egress_warden_guard"))
        || (name == "envoy_egress_warden_guard_rbac" && is("authz_enforce_result", "denied"))
        || (name == "egress_warden_connections_guard" && is("result", "denied"));
    is_of_connections.then_some(Subject::Connections)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The same counts in every form.
    #[test]
    fn every_form_of_the_names_is_read() {
        let forms = [
            r#"{"stats":[
                {"name":"server.uptime","value":7},
                {"name":"wasmcustom.egress_warden.requests.deny.default","value":3},
                {"name":"wasmcustom.egress_warden.rule.no-legacy.deny","value":2},
                {"name":"wasmcustom.egress_warden.would.deny","value":1},
                {"name":"wasmcustom.egress_warden.connections.allow.rule","value":5},
                {"name":"wasmcustom.egress_warden.connections.rule.ok.allow","value":5},
                {"name":"wasmcustom.egress_warden.connections.would.allow","value":4},
                {"name":"http.outbound_0.0.0.0_80.rbac.egress_warden_guard_.denied","value":6},
                {"name":"http.outbound_0.0.0.0_80.rbac.egress_warden_guard_.allowed","value":60},
                {"name":"egress_warden_guard.rbac.denied","value":8},
                {"name":"extension_config_discovery.http_filter.egress-warden.update_rejected","value":9},
                {"name":"wasmcustom.egress_warden.policy_hash","value":266706986376692},
                {"name":"wasmcustom.egress_warden.policy_rules","value":3},
                {"name":"wasmcustom.egress_warden.connections.policy_hash","value":11},
                {"name":"wasmcustom.other.requests.deny.default","value":99},
                {"name":"wasmcustom.egress_warden.requests.maybe.default","value":99}]}"#,
            "server.uptime: 7\n\
             dynamicmodulescustom.egress_warden.policy_hash: 266706986376692\n\
             wasmcustom.egress_warden.connections.policy_hash: 11\n\
             dynamicmodulescustom.egress_warden.requests.runtime.native.decision.deny.reason.default: 3\n\
             dynamicmodulescustom.egress_warden.rule.rule.no-legacy.decision.deny: 2\n\
             dynamicmodulescustom.egress_warden.would.decision.deny: 1\n\
             wasmcustom.egress_warden.connections.allow.rule: 5\n\
             wasmcustom.egress_warden.connections.rule.ok.allow: 5\n\
             wasmcustom.egress_warden.connections.would.allow: 4\n\
             http.a.rbac.egress_warden_guard_.denied: 2\n\
             http.b.rbac.egress_warden_guard_.denied: 4\n\
             egress_warden_guard.rbac.denied: 8\n\
             extension_config_discovery.http_filter.egress-warden.update_rejected: 9\n",
            "# TYPE envoy_server_uptime gauge\n\
             envoy_server_uptime{} 7\n\
             egress_warden_policy_hash{} 266706986376692\n\
             egress_warden_connections_policy_hash{} 11\n\
             egress_warden_connections_policy_rules{} 7\n\
             egress_warden_requests{decision=\"deny\",reason=\"default\"} 3\n\
             egress_warden_rule{decision=\"deny\",rule=\"no-legacy\"} 2\n\
             egress_warden_would{decision=\"deny\"} 1\n\
             egress_warden_connections{reason=\"rule\",decision=\"allow\"} 5\n\
             egress_warden_connections_rule{decision=\"allow\",rule=\"ok\"} 5\n\
             egress_warden_connections_would{decision=\"allow\"} 4\n\
             envoy_http_rbac_egress_warden_guard__denied{envoy_http_conn_manager_prefix=\"a\"} 6\n\
             envoy_rbac_denied{envoy_rbac_prefix=\"egress_warden_guard\"} 8\n\
             envoy_rbac_denied{envoy_rbac_prefix=\"other\"} 99\n\
             envoy_extension_config_discovery_http_filter_egress_warden_update_rejected{} 9\n",
            "# HELP\n\
             envoy_server_uptime{} 7\n\
             envoy_dynamicmodulescustom_egress_warden_policy_hash{} 266706986376692\n\
             egress_warden_connections_policy_hash{} 11\n\
             envoy_dynamicmodulescustom_egress_warden_requests{runtime=\"native\",decision=\"deny\",reason=\"default\"} 3\n\
             egress_warden_rule_no-legacy_deny{} 2\n\
             egress_warden_would_deny{} 1\n\
             egress_warden_connections_allow_rule{} 5\n\
             egress_warden_connections_rule_ok_allow{} 5\n\
             egress_warden_connections_would_allow{} 4\n\
             egress_warden_guard_total{listener=\"a\",result=\"denied\"} 6\n\
             envoy_egress_warden_guard_rbac{authz_enforce_result=\"denied\"} 8\n\
             egress_warden_updates_rejected_total{filter=\"egress_warden\"} 9\n",
        ];
        let (requests, connections) = (Subject::Requests, Subject::Connections);
        let (allow, deny) = ("allow", "deny");
        let expected = [
            (Counted::Verdict { of: requests, action: deny, reason: "default".to_owned() }, 3),
            (Counted::Verdict { of: connections, action: allow, reason: "rule".to_owned() }, 5),
            (Counted::Rule { of: requests, action: deny, rule: "no-legacy".to_owned() }, 2),
            (Counted::Rule { of: connections, action: allow, rule: "ok".to_owned() }, 5),
            (Counted::Would { of: requests, action: deny }, 1),
            (Counted::Would { of: connections, action: allow }, 4),
            (Counted::Guard { of: requests }, 6),
            (Counted::Guard { of: connections }, 8),
            (Counted::Rejected, 9),
            (Counted::Uptime, 7),
            (Counted::Policy { of: requests }, 0xf291_8f2e_9df4),
            (Counted::Policy { of: connections }, 11),
        ];
        for form in forms {
            assert_eq!(read(form.as_bytes(), "stats").expect(form), expected.clone().into());
        }
    }

    #[test]
    fn no_answer_makes_it_panic_or_grow() {
        for text in
            ["", "#", "# a\n{} 1\nx{=\"\"} 2\na{b=\"\\\"\"} 3\n 4\nx 1e400", "<html>", "{}", "\0"]
        {
            let _ = read(text.as_bytes(), "stats");
        }
        let many = (0..2 * MOST).map(|it| format!("egress_warden_rule_r{it}_deny 1\n"));
        let many = format!("#\n{}", many.collect::<String>());
        assert_eq!(read(many.as_bytes(), "stats").expect("counters").len(), MOST);
    }
}
