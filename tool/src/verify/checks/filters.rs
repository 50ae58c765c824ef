//! The filter: whether it is in every chain, at its place, with the right policy, and closed when it fails.

use super::Subject;
use crate::verify::kind::{
    CLOSED, FAIL_OPEN, FILTER_DISABLED, FILTER_MISSING, FILTER_OPTIONAL, FILTER_ORDER,
    FILTER_TWICE, FILTER_UNDELIVERED, MODULE_MISSING, MODULES_DIFFER, NOT_IN_DUMP, OPEN_DEFAULT,
    POLICY_DIFFERS, POLICY_INVALID, ROOT_ID, SECRET_IN_DUMP, UNKNOWN_AFTER, WAY_OUT_UNKNOWN,
};
use crate::verify::plugin::{Plugin, guard_of, is_held, is_rbac};
use crate::verify::proxy::{End, Filter, Proxy, Stack};
use crate::verify::report::Report;
use crate::verify::tree::{Fields, Typed, shown};
use crate::verify::ways::{Carried, has_udp_proxy, leads_by_name};
use egress_warden::config;
use egress_warden::root_id::Connections;
use std::collections::{BTreeSet, HashMap};

/// Every chain has the filter once.
pub(super) fn present(subject: &Subject<'_, '_>, report: &mut Report) {
    for (stack, is_of_connections) in subject.carried.stacks() {
        let count = stack.filters.iter().filter(|it| Plugin::of(it).is_some()).count();
        match count {
            0 => missing(stack, is_of_connections, report),
            1 => {}
            _ => report.say(
                &FILTER_TWICE,
                &stack.place,
                format!("{count} filters decide each request, and each is recorded {count} times"),
            ),
        }
    }
    for egress in &subject.carried.egress {
        if let End::Unknown(kind) = &egress.chain.end {
            let problem = format!("the chain ends in `{kind}`, before which no filter decides");
            report.say(&WAY_OUT_UNKNOWN, &egress.chain.place, problem);
        }
    }
    for listener in subject.proxy.listeners.iter().filter(|it| has_udp_proxy(it)) {
        let place = format!("listener {}", listener.name);
        report.say(&WAY_OUT_UNKNOWN, place, "datagrams are passed on, which no filter decides");
    }
}

/// Why a stack has no filter.
fn missing(stack: &Stack<'_>, is_of_connections: bool, report: &mut Report) {
    for filter in stack.filters.iter().filter(|it| it.discovery.is_some()) {
        let place = format!("{}, filter {}", stack.place, filter.shown());
        if filter.typed.is_none() {
            let problem = "the filter comes by discovery (ECDS) and is not in the dump";
            report.say(&FILTER_UNDELIVERED, place, problem);
            return;
        }
        if is_rbac(filter) && filter.name.contains("egress-warden") {
            report.say(
                &MODULE_MISSING,
                place,
                "in the filter's place stands one that refuses everything",
            );
            return;
        }
    }
    let (kind, problem) = match (guard_of(stack, is_of_connections), is_of_connections) {
        (Some(_), true) => (&CLOSED, "no filter decides here, and the guard closes everything"),
        (Some(_), false) => {
            (&FILTER_MISSING, "no filter decides here, and the guard refuses everything")
        }
        (None, _) => {
            (&FILTER_MISSING, "no filter decides here, and no guard refuses: everything leaves")
        }
    };
    report.say(kind, &stack.place, problem);
}

/// What stands behind the filter changes no request, and asks nobody who calls.
pub(super) fn order(subject: &Subject<'_, '_>, report: &mut Report) {
    for (stack, _) in subject.carried.stacks() {
        let Some(own) = stack.filters.iter().position(|it| Plugin::of(it).is_some()) else {
            continue;
        };
        // What sends on is the last.
        let last = stack.filters.len().saturating_sub(1);
        let between = stack.filters.iter().take(last).skip(own.saturating_add(1));
        for filter in between.filter(|it| Plugin::of(it).is_none()) {
            let place = format!("{}, filter {}", stack.place, filter.shown());
            let kind = filter.typed.map_or("nothing that is in the dump", |typed| typed.kind);
            match effect_of(filter) {
                Effect::None => {}
                Effect::Authenticates => {
                    let problem = format!(
                        "`{}` finds out who calls behind egress-warden, which decides before",
                        shown(kind)
                    );
                    report.say(&FILTER_ORDER, place, problem);
                }
                Effect::Changes => {
                    let problem = format!(
                        "`{}` can change a request that egress-warden has judged",
                        shown(kind)
                    );
                    report.say(&FILTER_ORDER, place, problem);
                }
                Effect::Unknown => {
                    let problem = format!(
                        "`{}` stands behind egress-warden, and whether it changes requests is not known",
                        shown(kind)
                    );
                    report.say(&UNKNOWN_AFTER, place, problem);
                }
            }
        }
    }
}

/// What a filter does to what was judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Effect {
    None,
    Authenticates,
    Changes,
    Unknown,
}

fn effect_of(filter: &Filter<'_>) -> Effect {
    let Some(Typed { kind, .. }) = filter.typed else { return Effect::Unknown };
    if leads_by_name(filter) {
        return Effect::None;
    }
    let known = EFFECTS.iter().find(|(start, _)| kind.starts_with(start));
    known.map_or(Effect::Unknown, |(_, effect)| *effect)
}

/// By what the name of a filter's type begins with.
const EFFECTS: [(&str, Effect); 33] = [
    ("envoy.extensions.filters.http.rbac.", Effect::None),
    ("envoy.extensions.filters.http.fault.", Effect::None),
    ("envoy.extensions.filters.http.cors.", Effect::None),
    ("envoy.extensions.filters.http.grpc_stats.", Effect::None),
    ("envoy.extensions.filters.http.compressor.", Effect::None),
    ("envoy.extensions.filters.http.local_ratelimit.", Effect::None),
    ("envoy.extensions.filters.http.bandwidth_limit.", Effect::None),
    ("envoy.extensions.filters.http.admission_control.", Effect::None),
    ("envoy.extensions.filters.network.rbac.", Effect::None),
    ("envoy.extensions.filters.network.connection_limit.", Effect::None),
    ("envoy.extensions.filters.network.local_ratelimit.", Effect::None),
    ("istio.envoy.config.filter.http.alpn.", Effect::None),
    ("stats.PluginConfig", Effect::None),
    ("io.istio.", Effect::None),
    ("istio.telemetry.", Effect::None),
    ("envoy.tcp.metadataexchange.", Effect::None),
    ("envoy.extensions.filters.http.ext_authz.", Effect::Authenticates),
    ("envoy.extensions.filters.http.jwt_authn.", Effect::Authenticates),
    ("envoy.extensions.filters.http.oauth2.", Effect::Authenticates),
    ("envoy.extensions.filters.http.basic_auth.", Effect::Authenticates),
    ("envoy.extensions.filters.http.api_key_auth.", Effect::Authenticates),
    ("istio.envoy.config.filter.http.authn.", Effect::Authenticates),
    ("envoy.extensions.filters.network.ext_authz.", Effect::Authenticates),
    ("envoy.extensions.filters.http.lua.", Effect::Changes),
    ("envoy.extensions.filters.http.wasm.", Effect::Changes),
    ("envoy.extensions.filters.http.ext_proc.", Effect::Changes),
    ("envoy.extensions.filters.http.header_mutation.", Effect::Changes),
    ("envoy.extensions.filters.http.golang.", Effect::Changes),
    ("envoy.extensions.filters.http.dynamic_modules.", Effect::Changes),
    ("envoy.extensions.filters.http.credential_injector.", Effect::Changes),
    ("envoy.extensions.filters.http.composite.", Effect::Changes),
    ("envoy.extensions.filters.http.set_filter_state.", Effect::Changes),
    ("envoy.extensions.filters.network.set_filter_state.", Effect::Changes),
];

/// Each filter that is egress-warden: its policy, and that it is closed when it fails.
pub(super) fn plugins(subject: &Subject<'_, '_>, report: &mut Report) {
    // Many chains have one text.
    let mut read = HashMap::new();
    // A library beside a module is no other version: the library judges no connections.
    let mut files = [BTreeSet::new(), BTreeSet::new()];
    for (stack, is_of_connections) in subject.carried.stacks() {
        for filter in &stack.filters {
            let Some(plugin) = Plugin::of(filter) else { continue };
            let place = format!("{}, filter {}", stack.place, filter.shown());
            entry(filter, &place, report);
            closed(plugin, is_of_connections, &place, report);
            let text = plugin.text();
            let running = read.entry(text.clone()).or_insert_with(|| revision(text.as_deref()));
            match running {
                Ok(running) => {
                    report.configured.insert(running.clone());
                    let wanted = &*subject.policy(is_of_connections).config.revision;
                    if running != wanted {
                        let problem = format!("{running} is configured, and {wanted} is to run");
                        report.say(&POLICY_DIFFERS, &place, problem);
                    }
                }
                Err(why) => report.say(&POLICY_INVALID, &place, why.clone()),
            }
            let [of_module, of_library] = &mut files;
            let files = if plugin.is_native() { of_library } else { of_module };
            files.extend(plugin.module().map(|module| shown(&module)));
            for name in plugin.variables_with_values() {
                if text.as_deref().is_some_and(|text| text.contains(&format!("{{secret:{name}}}")))
                {
                    let problem = format!(
                        "the value of the secret `{}` is in the configuration",
                        shown(name)
                    );
                    report.say(&SECRET_IN_DUMP, &place, problem);
                }
            }
        }
    }
    for files in files {
        if files.len() > 1 {
            let problem = format!("{} modules run side by side", files.len());
            report.say(&MODULES_DIFFER, "filters", problem);
        }
        report.modules.extend(files);
    }
    if !subject.proxy.has_part("EcdsConfigDump")
        && subject
            .carried
            .stacks()
            .any(|(stack, _)| stack.filters.iter().any(|it| it.discovery.is_some()))
    {
        let problem = "filters come by discovery, and the dump has none of them (EcdsConfigDump)";
        report.say(&NOT_IN_DUMP, "filters", problem);
    }
}

/// What the chain says of the filter.
fn entry(filter: &Filter<'_>, place: &str, report: &mut Report) {
    if filter.entry.is_set("disabled") {
        report.say(&FILTER_DISABLED, place, "the filter is off, unless a route switches it on");
    }
    if filter.entry.is_set("is_optional") {
        report.say(&FILTER_OPTIONAL, place, "the filter may be left out");
    }
    let default = filter.discovery.and_then(|it| it.field("default_config"));
    let is_open = default.is_some_and(|it| {
        Typed::of(it).and_then(|typed| Plugin::of_typed(typed, filter.name)).is_none()
    });
    if is_open {
        let early =
            filter.discovery.is_some_and(|it| it.is_set("apply_default_config_without_warming"));
        let problem = match early {
            true => {
                "another filter stands in until the plugin arrives (`apply_default_config_without_warming`)"
            }
            false => "another filter stands in where the plugin does not arrive (`default_config`)",
        };
        report.say(&OPEN_DEFAULT, place, problem);
    }
}

fn closed(plugin: Plugin<'_>, is_of_connections: bool, place: &str, report: &mut Report) {
    if plugin.fails_open() {
        report.say(&FAIL_OPEN, place, "a failed VM lets everything through (FAIL_OPEN)");
    }
    let root_id = plugin.root_id();
    let is_right = match Connections::of_root_id(root_id.as_bytes()) {
        Ok(judged) => judged.is_some() == is_of_connections,
        Err(_) => false,
    };
    if !is_right {
        let of = if is_of_connections { "connections" } else { "requests" };
        report.say(
            &ROOT_ID,
            place,
            format!("the root id `{}` is not one for {of}", shown(root_id)),
        );
    }
}

/// The revisions of all policies that the proxy's filters have; the error is that of the first without one.
pub(in crate::verify) fn configured(proxy: &Proxy<'_>) -> Result<BTreeSet<String>, String> {
    let carried = Carried::of(proxy, is_held);
    let filters = carried.stacks().flat_map(|(stack, _)| &stack.filters);
    // Many chains have one text.
    let texts: BTreeSet<_> = filters.filter_map(Plugin::of).map(Plugin::text).collect();
    if texts.is_empty() {
        return Err("no filter of it is egress-warden".to_owned());
    }
    texts.iter().map(|text| revision(text.as_deref())).collect()
}

/// The revision of a running policy, or why there is none.
fn revision(text: Option<&str>) -> Result<String, String> {
    let text = text.ok_or("the filter's configuration is no text (StringValue)")?;
    match config::read(text.as_bytes()) {
        Ok(config) => Ok(config.revision.into()),
        Err(errors) => Err(format!(
            "the configured policy has {}, the first: {}",
            crate::console::counted(errors.iter().len() as u64, "error"),
            shown(&errors.iter().next().map(ToString::to_string).unwrap_or_default())
        )),
    }
}
