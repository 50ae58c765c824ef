//! Which rules have no effect, and which of their entries can match nothing.

use super::Surroundings;
use super::warning::Contradiction;
use crate::cover::{Pattern, Patterns, excludes_itself};
use crate::policy_file::{Callers, Destinations, List, RuleSource};
use egress_warden::host::{HostPattern, is_special};
use egress_warden::policy::{
    Action, Mode, PathPattern, Settings, State, TextPattern, namespace_of,
};
use std::collections::HashSet;

/// Whether a rule is left out of every verdict from now on.
pub(super) fn is_left_out(
    rule: &RuleSource<'_>,
    settings: &Settings,
    surroundings: Surroundings,
) -> bool {
    is_idle_in_monitor(rule, settings)
        || rule.until.is_some_and(|until| surroundings.at.until(until).is_none())
}

/// Whether a rule is of the verdict alone, where only the would-be verdict is worked out.
pub(super) fn is_idle_in_monitor(rule: &RuleSource<'_>, settings: &Settings) -> bool {
    settings.mode == Mode::Monitor && rule.state == Some(State::Retiring)
}

/// Why no request matches an entry of `to`. What is unknown matches a deny, whatever contradicts itself
/// beside the host.
pub(super) fn of_destination(entry: &Destinations<'_>, action: Action) -> Option<Contradiction> {
    if excludes_itself(&entry.hosts, &entry.not_hosts) {
        return Some(Contradiction::Not("notHosts"));
    }
    if action == Action::Deny {
        return None;
    }
    if excludes_itself(&entry.ports, &entry.not_ports) {
        return Some(Contradiction::Not("notPorts"));
    }
    if excludes_methods(&entry.methods, &entry.not_methods) {
        return Some(Contradiction::Not("notMethods"));
    }
    if excludes_any(&entry.paths, &entry.not_paths, PathPattern::Text(TextPattern::Prefix("/"))) {
        return Some(Contradiction::Not("notPaths"));
    }
    let is_special_only = |host: &HostPattern<'_>| match host {
        HostPattern::Under(apex) => is_special_under(apex),
        HostPattern::Glob(glob) => is_special_under(glob.suffix()),
        _ => false,
    };
    let hosts = entry.hosts.as_ref()?.patterns();
    hosts.iter().all(is_special_only).then_some(Contradiction::SpecialNames)
}

/// Why no request to a waypoint matches an entry of `to`: what is dialled there has a name.
pub(super) fn of_waypoint(entry: &Destinations<'_>, action: Action) -> Option<Contradiction> {
    let is_address =
        |host: &HostPattern<'_>| matches!(host, HostPattern::Address(_) | HostPattern::Block(_));
    let hosts = entry.hosts.as_ref()?.patterns();
    (action == Action::Allow && hosts.iter().all(is_address)).then_some(Contradiction::NoName)
}

/// Why no request matches an entry of `from`. An unknown caller matches a deny, where such a caller is
/// not refused before.
pub(super) fn of_caller(
    entry: &Callers<'_>,
    action: Action,
    settings: &Settings,
) -> Option<Contradiction> {
    if action == Action::Deny && !settings.identity_required {
        return None;
    }
    if excludes_any(&entry.principals, &entry.not_principals, TextPattern::Present) {
        return Some(Contradiction::Not("notPrincipals"));
    }
    if action == Action::Deny {
        return None;
    }
    if excludes_any(&entry.namespaces, &entry.not_namespaces, TextPattern::Present) {
        return Some(Contradiction::Not("notNamespaces"));
    }
    if excludes_itself(&entry.service_accounts, &entry.not_service_accounts) {
        return Some(Contradiction::Not("notServiceAccounts"));
    }
    no_id(entry)
}

/// Why none of the ids that an entry lists meets its other conditions.
fn no_id(entry: &Callers<'_>) -> Option<Contradiction> {
    let namespaces = Patterns::of(&entry.namespaces);
    let not_namespaces = Patterns::of(&entry.not_namespaces);
    let is_in = |namespace: &str| {
        let namespace = TextPattern::Exact(namespace);
        (entry.namespaces.is_none() || namespaces.covers(&namespace))
            && !not_namespaces.covers(&namespace)
    };
    let accounts = Patterns::of(&entry.service_accounts);
    if let Some(listed) = &entry.service_accounts {
        let mut namespaces = listed.patterns().iter().filter_map(|it| it.split_once('/'));
        if !namespaces.any(|(namespace, _)| is_in(namespace)) {
            return Some(Contradiction::NoCaller);
        }
    }
    let asks_namespace = entry.namespaces.is_some() || entry.not_namespaces.is_some();
    let is_elsewhere = |principal: &TextPattern<'_>| {
        let TextPattern::Exact(id) = principal else { return false };
        asks_namespace && !namespace_of(id).is_some_and(is_in)
    };
    let is_other = |principal: &TextPattern<'_>| {
        let TextPattern::Exact(id) = principal else { return false };
        let account = namespace_of(id).zip(id.rsplit_once('/'));
        account.is_none_or(|(namespace, (_, account))| {
            !accounts.covers(&&*format!("{namespace}/{account}"))
        })
    };
    let principals = entry.principals.as_ref()?.patterns();
    if principals.iter().all(is_elsewhere) {
        let is_listed = entry.namespaces.is_some();
        return Some(match is_listed {
            true => Contradiction::OtherNamespaces,
            false => Contradiction::NoCaller,
        });
    }
    let is_no_caller = entry.service_accounts.is_some() && principals.iter().all(is_other);
    is_no_caller.then_some(Contradiction::NoCaller)
}

/// The conditions of an entry that a proxy cannot judge where TLS is not terminated, by their keys.
pub(super) fn hidden_by_tls(entry: &Destinations<'_>) -> impl Iterator<Item = &'static str> {
    let Destinations { methods, not_methods, paths, not_paths, query, not_query, .. } = entry;
    let conditions = [
        ("methods", methods.is_some()),
        ("notMethods", not_methods.is_some()),
        ("paths", paths.is_some()),
        ("notPaths", not_paths.is_some()),
        ("query", query.is_some()),
        ("notQuery", not_query.is_some()),
    ];
    conditions.into_iter().filter_map(|(key, is_there)| is_there.then_some(key))
}

/// Whether a `not` form leaves nothing of its field, or of all texts that may be known.
fn excludes_any<T: Pattern + Copy>(field: &List<'_, T>, not: &List<'_, T>, all: T) -> bool {
    excludes_itself(field, not) || Patterns::of(not).covers(&all)
}

/// A method that is listed in `notMethods` in another case is unknown, which helps no allow.
fn excludes_methods(methods: &List<'_, &str>, not: &List<'_, &str>) -> bool {
    let (Some(methods), Some(not)) = (methods, not) else { return false };
    let not: HashSet<String> = not.patterns().iter().map(|it| it.to_ascii_lowercase()).collect();
    methods.patterns().iter().all(|method| not.contains(&method.to_ascii_lowercase()))
}

/// Whether every name under this one must be named to be allowed.
fn is_special_under(apex: &str) -> bool {
    is_special(&format!("x.{apex}"))
}
