//! egress-warden and its guard among the filters of a chain.

use super::proxy::{Chain, End, Filter, Stack};
use super::tree::{Fields, Typed};
use serde_json::Value;
use std::borrow::Cow;

/// The types of the filters, of requests and of connections.
const WASM: [&str; 2] =
    ["envoy.extensions.filters.http.wasm.v3.Wasm", "envoy.extensions.filters.network.wasm.v3.Wasm"];
/// The type of the filter of requests in its native form.
const NATIVE: &str = "envoy.extensions.filters.http.dynamic_modules.v3.DynamicModuleFilter";
const RBAC: [&str; 2] =
    ["envoy.extensions.filters.http.rbac.v3.RBAC", "envoy.extensions.filters.network.rbac.v3.RBAC"];
/// What the names of the filters hold in everything that is shipped, and what those of the guards do.
const NAME: &str = "egress-warden";
const GUARD: &str = "egress-warden-guard";

/// The plugin of a filter that is egress-warden.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plugin<'d> {
    /// Of a native one that of the filter, which has no plugin within.
    config: &'d Value,
    is_native: bool,
}

impl<'d> Plugin<'d> {
    /// The plugin of a filter, if it is egress-warden: a Wasm filter or a dynamic module whose configuration has the key
    /// `policy`, or whose name, or plugin's name, says `egress-warden`.
    pub(super) fn of(filter: &Filter<'d>) -> Option<Self> {
        filter.typed.and_then(|typed| Self::of_typed(typed, filter.name))
    }

    /// The same of a configuration that has no filter's entry.
    pub(super) fn of_typed(typed: Typed<'d>, name: &str) -> Option<Self> {
        let is_native = typed.kind == NATIVE;
        let config = match is_native {
            true => typed.value,
            false => typed.value.field("config").filter(|_| WASM.contains(&typed.kind))?,
        };
        let plugin = Self { config, is_native };
        let own = config.text(if is_native { "filter_name" } else { "name" }).unwrap_or_default();
        let is_named = [name, own].iter().any(|it| it.contains(NAME));
        (is_named || plugin.text().is_some_and(|it| has_policy(&it))).then_some(plugin)
    }

    /// Whether it is a dynamic module.
    pub(super) fn is_native(self) -> bool {
        self.is_native
    }

    /// The policy's text. A dynamic module gets a Struct as text, too.
    pub(super) fn text(self) -> Option<Cow<'d, str>> {
        let key = if self.is_native { "filter_config" } else { "configuration" };
        let configuration = self.config.field(key).and_then(Typed::of)?;
        match configuration.kind {
            "google.protobuf.StringValue" => configuration.value.text("value").map(Cow::Borrowed),
            "google.protobuf.Struct" if self.is_native => {
                configuration.value.field("value").map(|it| it.to_string().into())
            }
            _ => None,
        }
    }

    pub(super) fn root_id(self) -> &'d str {
        self.config.text("root_id").unwrap_or_default()
    }

    /// Whether a failed VM lets everything through.
    pub(super) fn fails_open(self) -> bool {
        self.config.text("failure_policy") == Some("FAIL_OPEN") || self.config.is_set("fail_open")
    }

    /// Names of variables whose values are in the configuration.
    pub(super) fn variables_with_values(self) -> impl Iterator<Item = &'d str> {
        let variables = self.config.below(&["vm_config", "environment_variables"]);
        let values = variables.into_iter().flat_map(|it| it.map("key_values"));
        // Istio says by these which plugin it is.
        values.map(|(name, _)| name).filter(|name| !name.starts_with("ISTIO_"))
    }

    /// Where the module comes from, with its hash where that is said.
    pub(super) fn module(self) -> Option<String> {
        let code = match self.is_native {
            true => {
                let library = self.config.field("dynamic_module_config")?;
                if let Some(name) = library.text("name").filter(|name| !name.is_empty()) {
                    return Some(format!("lib{name}.so"));
                }
                library.field("module")?
            }
            false => self.config.below(&["vm_config", "code"])?,
        };
        if let Some(remote) = code.field("remote") {
            let uri =
                remote.below(&["http_uri", "uri"]).and_then(Value::as_str).unwrap_or("no URL");
            let hash = remote.text("sha256").filter(|hash| !hash.is_empty());
            return Some(hash.map_or_else(|| uri.to_owned(), |it| format!("{uri} (sha256 {it})")));
        }
        let local = code.field("local")?;
        let file = local.text("filename").map(ToOwned::to_owned);
        file.or_else(|| Some("bytes within the configuration".to_owned()))
    }
}

/// Whether a text is an object with the key `policy`, as only egress-warden's has it.
fn has_policy(text: &str) -> bool {
    let object = serde_json::from_str::<Value>(text).ok();
    object.is_some_and(|object| object.field("policy").is_some())
}

/// Whether a filter is Envoy's RBAC.
pub(super) fn is_rbac(filter: &Filter<'_>) -> bool {
    RBAC.iter().any(|kind| filter.is(kind))
}

/// The key of the verdict that a guard asks for.
pub(super) fn verdict_key(is_of_connections: bool) -> &'static str {
    match is_of_connections {
        true => "wasm.egress_connection_decision",
        false => "wasm.egress_decision",
    }
}

/// The place of the guard: the last RBAC filter that is called so, or asks for the verdict.
pub(super) fn guard_of(stack: &Stack<'_>, is_of_connections: bool) -> Option<usize> {
    stack.filters.iter().rposition(|filter| {
        let asks = || {
            let value = filter.typed.map_or(&Value::Null, |typed| typed.value);
            super::tree::texts(value).contains(&verdict_key(is_of_connections))
        };
        is_rbac(filter) && (filter.name.contains(GUARD) || asks())
    })
}

/// Whether a chain has the filter, or the guard, for what it carries: nothing passes it undecided.
pub(super) fn is_held(chain: &Chain<'_>) -> bool {
    let is_in = |stack: &Stack<'_>, is_of_connections| {
        let mut filters = stack.filters.iter();
        filters.any(|it| Plugin::of(it).is_some()) || guard_of(stack, is_of_connections).is_some()
    };
    match &chain.end {
        End::Requests(manager) => manager.stacks.iter().any(|it| is_in(it, false)),
        End::Connections(tcp) => is_in(&tcp.stack, true),
        End::Closed | End::Unknown(_) => false,
    }
}
