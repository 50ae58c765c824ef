//! The guard: whether it stands right before what sends on, and lets through what the filter allowed and nothing else.

use super::Subject;
use crate::verify::kind::{
    GUARD_CONDITION, GUARD_MISSING, GUARD_NAME, GUARD_PLACE, GUARD_RULES, GUARD_WITHOUT_CONDITION,
};
use crate::verify::plugin::{Plugin, guard_of, verdict_key};
use crate::verify::proxy::{Filter, Stack};
use crate::verify::report::Report;
use crate::verify::tree::{Fields, is_same_expression, shown, texts_of};
use crate::verify::ways::leads_by_name;
use serde_json::{Value, json};

/// Every chain has it.
pub(super) fn present(subject: &Subject<'_, '_>, report: &mut Report) {
    for (stack, is_of_connections) in subject.carried.stacks() {
        if guard_of(stack, is_of_connections).is_none() {
            report.say(&GUARD_MISSING, &stack.place, "no guard stands behind the filter");
        }
    }
}

/// It stands behind the filter, and right before what sends on.
pub(super) fn place(subject: &Subject<'_, '_>, report: &mut Report) {
    for (stack, _, at, guard) in guards(subject) {
        let place = format!("{}, filter {}", stack.place, guard.shown());
        let filter = stack.filters.iter().position(|it| Plugin::of(it).is_some());
        if filter.is_some_and(|filter| filter > at) {
            report.say(
                &GUARD_PLACE,
                &place,
                "the guard stands before egress-warden, and refuses everything",
            );
        }
        let last = stack.filters.len().saturating_sub(1);
        let behind = stack.filters.iter().take(last).skip(at.saturating_add(1));
        let is_allowed = |it: &&Filter<'_>| Plugin::of(it).is_some() || leads_by_name(it);
        let behind: Vec<_> = behind.filter(|it| !is_allowed(it)).map(Filter::shown).collect();
        if !behind.is_empty() {
            let problem = format!("behind the guard stands {}", behind.join(", "));
            report.say(&GUARD_PLACE, &place, problem);
        }
    }
}

/// Its rules.
pub(super) fn rules(subject: &Subject<'_, '_>, report: &mut Report) {
    for (stack, is_of_connections, _, guard) in guards(subject) {
        let place = format!("{}, filter {}", stack.place, guard.shown());
        if guard.entry.is_set("disabled") {
            report.say(&GUARD_RULES, &place, "the guard is off, unless a route switches it on");
        }
        if guard.entry.is_set("is_optional") {
            report.say(&GUARD_RULES, &place, "the guard may be left out (`is_optional`)");
        }
        let config = guard.typed.map_or(&Value::Null, |typed| typed.value);
        let policy = subject.policy(is_of_connections).config;
        let needs_condition = !is_of_connections && policy.policy.rests_on_route();
        rbac(config, is_of_connections, needs_condition, &place, report);
        let logs_result = || {
            let results = "egress_warden_guard_enforced_engine_result";
            let managers = subject.carried.requests().map(|(_, manager)| manager);
            let mut logs = managers.flat_map(|it| it.config.list("access_log"));
            logs.any(|log| crate::verify::tree::texts(log).iter().any(|it| it.contains(results)))
        };
        let prefix = config.text("rules_stat_prefix").unwrap_or_default();
        if !is_of_connections && prefix != "egress_warden_guard_" && logs_result() {
            let problem = format!(
                "its results are recorded under `{}`, so the field `guard` of the access log stays empty",
                shown(prefix)
            );
            report.say(&GUARD_NAME, &place, problem);
        }
    }
}

/// No other filter writes the verdict.
pub(super) fn verdict(subject: &Subject<'_, '_>, report: &mut Report) {
    for egress in &subject.carried.egress {
        let filters = [
            egress.listener.config.field("listener_filters"),
            egress.chain.config.field("filters"),
        ];
        let keys = filters.into_iter().flatten().flat_map(|it| texts_of(it, "object_key"));
        for key in keys.filter(|key| key.starts_with("wasm.egress_")) {
            let problem = format!(
                "another filter writes the filter state `{}`, which the guard believes",
                shown(key)
            );
            report.say(&GUARD_RULES, &egress.chain.place, problem);
        }
    }
}

/// An RBAC configuration as a guard.
pub(super) fn rbac(
    config: &Value,
    is_of_connections: bool,
    needs_condition: bool,
    place: &str,
    report: &mut Report,
) {
    let mut wrong = |problem: String| report.say(&GUARD_RULES, place, problem);
    let Some(rules) = config.field("rules") else {
        let why = match (config.field("matcher"), config.field("shadow_rules")) {
            (Some(_), _) => "a matcher, which is not the guard's",
            (None, Some(_)) => "`shadow_rules` alone, which refuse nothing",
            (None, None) => "no rules, so it lets everything through",
        };
        return wrong(format!("the guard has {why}"));
    };
    let action = rules.text("action").unwrap_or("ALLOW");
    if action != "ALLOW" {
        return wrong(format!("the guard's action is `{}`", shown(action)));
    }
    let key = verdict_key(is_of_connections);
    let policies: Vec<_> = rules.map("policies").collect();
    if policies.is_empty() {
        return wrong("the guard has no policy, and refuses everything".to_owned());
    }
    for (name, policy) in &policies {
        let principals = policy.list("principals");
        let lets_pass = policy.list("permissions").iter().any(|it| it.is_set("any"));
        if principals.is_empty() || !principals.iter().all(|it| is_verdict(it, key)) {
            wrong(format!(
                "the guard's policy `{}` lets pass what has not `{key}` = `allow`",
                shown(name)
            ));
        } else if !lets_pass {
            wrong(format!(
                "the guard's policy `{}` refuses some of what the filter allowed",
                shown(name)
            ));
        }
    }
    if is_of_connections {
        return;
    }
    for (name, policy) in policies {
        let condition = policy.field("condition");
        let is_right = condition.is_some_and(|it| is_same_expression(&same_cluster(), it));
        let kind = match (condition, needs_condition) {
            _ if is_right => continue,
            (None, false) => &GUARD_WITHOUT_CONDITION,
            _ => &GUARD_CONDITION,
        };
        let what =
            if condition.is_some() { "another condition than the guard's" } else { "no condition" };
        let problem = format!(
            "the guard's policy `{}` has {what}: a request may leave by another cluster than was judged",
            shown(name)
        );
        report.say(kind, place, problem);
    }
}

/// Whether a principal is the filter's verdict, alone or with others.
fn is_verdict(principal: &Value, key: &str) -> bool {
    let is_verdict = |principal: &Value| {
        let state = principal.field("filter_state");
        state.is_some_and(|state| {
            let exact = state.below(&["string_match", "exact"]).and_then(Value::as_str);
            state.text("key") == Some(key) && exact == Some("allow")
        })
    };
    let all_of = principal.field("and_ids").map_or(&[][..], |it| it.list("ids"));
    is_verdict(principal) || all_of.iter().any(is_verdict)
}

fn guards<'s, 'p, 'd>(
    subject: &'s Subject<'p, 'd>,
) -> impl Iterator<Item = (&'p Stack<'d>, bool, usize, &'p Filter<'d>)> + use<'s, 'p, 'd> {
    subject.carried.stacks().filter_map(|(stack, is_of_connections)| {
        let at = guard_of(stack, is_of_connections)?;
        Some((stack, is_of_connections, at, stack.filters.get(at)?))
    })
}

/// The guard's condition, as in `envoy/gateway.yaml`, which says what it means.
fn same_cluster() -> Value {
    let ident = |name: &str| json!({"ident_expr": {"name": name}});
    let judged = |is_test: bool| select(&ident("filter_state"), "wasm.egress_cluster", is_test);
    let chosen = |is_test: bool| select(&ident("xds"), "cluster_name", is_test);
    let call =
        |function: &str, args: &[Value]| json!({"call_expr": {"function": function, "args": args}});
    let none = json!({"const_expr": {"string_value": ""}});
    let now = call("_?_:_", &[chosen(true), chosen(false), none]);
    let is_judged = call("_==_", &[judged(false), call("bytes", &[now])]);
    call("_||_", &[call("!_", &[judged(true)]), is_judged])
}

fn select(operand: &Value, field: &str, is_test: bool) -> Value {
    match is_test {
        true => json!({"select_expr": {"operand": operand, "field": field, "test_only": true}}),
        false => json!({"select_expr": {"operand": operand, "field": field}}),
    }
}
