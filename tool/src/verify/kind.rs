//! What can be found in a running configuration: how bad it is, and what to do about it.

use crate::diagnostics::Level;

/// One kind of finding.
#[derive(Debug)]
pub(crate) struct Kind {
    /// A word that stays the same while messages get better.
    pub(crate) id: &'static str,
    pub(crate) level: Level,
    pub(crate) remedy: &'static str,
}

macro_rules! kinds {
    ($($name:ident = $level:ident $id:literal: $remedy:literal;)+) => {
        $(pub(super) const $name: Kind = Kind { id: $id, level: Level::$level, remedy: $remedy };)+
        /// All of them, by what they are about.
        #[cfg(test)]
        pub(crate) const ALL: &[Kind] = &[$($name),+];
    };
}

kinds! {
    // The filter.
    FILTER_MISSING = Error "filter-missing":
        "put egress-warden into this chain; in Istio see that its plugin selects this gateway, and `match.mode` is CLIENT or unset";
    CLOSED = Note "closed":
        "nothing to do if nothing is to pass here; else add the plugin for connections";
    FILTER_TWICE = Error "filter-twice":
        "keep one: in Istio a WasmPlugin or a TrafficExtension, never both";
    FILTER_DISABLED = Error "filter-disabled":
        "take `disabled` away from the filter";
    FILTER_OPTIONAL = Error "filter-optional":
        "take `is_optional` away: an Envoy without the extension leaves the filter out and reports nothing";
    FILTER_UNDELIVERED = Error "filter-undelivered":
        "read the gateway's log for the errors of the policy or the module, and send a good one; until then Envoy answers 500";
    MODULE_MISSING = Error "module-missing":
        "Istio's agent could not fetch the module and refuses everything in its place: see its log, and `url`, `sha256` and the pull secret of the plugin";
    FILTER_ORDER = Error "filter-order":
        "move it before egress-warden; in Istio keep egress-warden in phase AUTHZ with a priority below the others'";
    UNKNOWN_AFTER = Warning "unknown-after":
        "see whether it changes requests; if it does, move it before egress-warden";
    FAIL_OPEN = Error "fail-open":
        "set FAIL_RELOAD, or FAIL_CLOSED; in Istio `failStrategy: FAIL_RELOAD` or `FAIL_CLOSE`";
    OPEN_DEFAULT = Error "open-default":
        "take `default_config` and `apply_default_config_without_warming` away: until the plugin is there, everything is to be refused";
    ROOT_ID = Error "root-id":
        "leave it empty for requests, and write `connections`, or `connections:8443`, for connections; in Istio it is `pluginName`";
    POLICY_DIFFERS = Error "policy-differs":
        "apply the policy, or verify against the one that is meant to run; if it was applied, read the gateway's log: Envoy keeps the old one when it refuses the new";
    POLICY_INVALID = Error "policy-invalid":
        "ask `egress-warden check` about it";
    MODULES_DIFFER = Warning "modules-differ":
        "give all plugins the same module";
    SECRET_IN_DUMP = Warning "secret-in-dump":
        "use `host_env_keys`, in Istio `valueFrom: HOST`: whoever reads the configuration reads the value";

    // The guard.
    GUARD_MISSING = Error "guard-missing":
        "put the guard (envoy/gateway.yaml, envoy/istio/guard.yaml) right before the router, or before tcp_proxy: a worker whose filter could not start lets everything through";
    GUARD_PLACE = Error "guard-place":
        "move the guard right before the router, or before tcp_proxy; an EnvoyFilter needs a higher `priority` than all others";
    GUARD_RULES = Error "guard-rules":
        "take the guard from envoy/gateway.yaml or envoy/istio/guard.yaml as it is: action ALLOW, and one policy whose only principal is the filter's verdict";
    GUARD_CONDITION = Error "guard-condition":
        "add the condition of envoy/gateway.yaml: this policy decides by the route's cluster, and Envoy may choose another one afterwards";
    GUARD_WITHOUT_CONDITION = Warning "guard-without-condition":
        "add the condition of envoy/gateway.yaml, before a policy with `ports` needs it";
    GUARD_NAME = Note "guard-name":
        "set `rules_stat_prefix: egress_warden_guard_`, or drop the field `guard` of the access log";

    // Ways out.
    NO_EGRESS = Error "no-egress":
        "see that this is the gateway's dump, and that its listeners have arrived";
    WAY_OUT_UNKNOWN = Error "way-out-unknown":
        "end the chain in an HTTP connection manager or a tcp_proxy, with the filter before it";
    ROUTE_DISABLES = Error "route-disables":
        "take it away from `typed_per_filter_config`";
    ROUTE_ELSEWHERE = Error "route-elsewhere":
        "send each host to its own cluster: what was judged is the host that the caller named";
    ROUTE_BY_CALLER = Error "route-by-caller":
        "name the cluster of each host";
    ROUTE_NOT_ALLOWED = Warning "route-not-allowed":
        "take the route away, or allow the host: a route that no rule needs is open as soon as a rule is too wide";
    ROUTE_WIDE = Warning "route-wide":
        "list the hosts that the policy allows";
    ROUTE_OTHER_HOST = Warning "route-other-host":
        "send each host to its own cluster";
    ROUTE_REWRITES = Warning "route-rewrites":
        "take the rewriting away: the external service gets another host or path than the policy judged";
    ROUTES_UNSEEN = Error "routes-unseen":
        "take the whole dump, `/config_dump` without `resource` or `mask`; if the routes have not arrived, wait for them";
    HOST_WITHOUT_ROUTE = Note "host-without-route":
        "add a route, or drop the host: the policy allows it and nothing leads there";
    WAY_OUT_UNSEEN = Note "way-out-unseen":
        "name the cluster `outbound|PORT||HOST`, and it can be compared with the policy";

    // TLS on the ways out.
    TLS_UNVERIFIED = Error "tls-unverified":
        "give the validation context a `trusted_ca`; in Istio `mode: SIMPLE` without `insecureSkipVerify`";
    TLS_ANY_NAME = Error "tls-any-name":
        "match the certificate's name: `match_typed_subject_alt_names` or `auto_sni_san_validation`; in Istio write `sni` and `subjectAltNames`, or neither";
    TLS_UNSEEN = Warning "tls-unseen":
        "see by hand how the certificate of the external service is verified";
    TLS_INSPECTOR = Warning "tls-inspector":
        "add the TLS inspector to the listener: without it no connection has a server name, and each is refused";
    CONNECTION_PORT = Warning "connection-port":
        "write the port into the root id, `connections:8443`: rules with `ports` are compared with that one";

    // What is recorded.
    LOG_FIELDS = Warning "log-fields":
        "take the fields from envoy/gateway.yaml, for connections from envoy/gateway-tls.yaml; in Istio from mesh-config.yaml";
    LOG_FILTERED = Warning "log-filtered":
        "take the filter of the access log away, or keep a logger without one";
    STATS_HIDDEN = Warning "stats-hidden":
        "keep them: in Istio `proxyStatsMatcher: {inclusionRegexps: [\".*extension_config_discovery.*\"]}`; nothing else tells that a policy was refused";

    // Settings that the shipped configurations have.
    REMOTE_ADDRESS = Warning "remote-address":
        "set `use_remote_address: true`: addresses claimed in x-forwarded-for are believed otherwise";
    PATH_NORMALIZATION = Warning "path-normalization":
        "set `normalize_path: true`; in Istio `pathNormalization: {normalization: BASE}`";
    CLIENT_CERT = Warning "client-cert":
        "set `forward_client_cert_details: SANITIZE_SET`: callers write x-forwarded-client-cert themselves otherwise";
    ENVOY_HEADERS = Warning "envoy-headers":
        "set `suppress_envoy_headers: true` on the router; in Istio `proxyHeaders: {envoyDebugHeaders: {disabled: true}}`";
    ATTEMPT_COUNT = Warning "attempt-count":
        "set `include_request_attempt_count: false`; in Istio `proxyHeaders: {attemptCount: {disabled: true}}`";

    // Updates.
    UPDATE_REFUSED = Error "update-refused":
        "mend it and send it again: Envoy goes on with the configuration before";
    PLUGIN_REFUSED = Error "plugin-refused":
        "read the gateway's log for the reason, mend it and send it again: Envoy goes on with the plugin before";
    PLUGIN_UNPROVED = Warning "plugin-unproved":
        "name the statistics by `--stats`: a dump shows the plugin that was delivered last, also if Envoy refused it";
    NOT_IN_FORCE = Warning "not-in-force":
        "wait until it has warmed, and verify again";
    UPDATES_REJECTED = Warning "updates-rejected":
        "read the gateway's log for the reason; the count is since its start, so see by the policy's hash what is in force";
    CONFIG_MISSING = Warning "config-missing":
        "see that the plugin arrives before the listener; what came meanwhile got 500, or was closed";
    VM_FAILED = Warning "vm-failed":
        "read the gateway's log for the trap, and report it";
    GUARD_REFUSED = Warning "guard-refused":
        "read the gateway's log: a worker without the filter, or a route that changed after the verdict; restart the gateway if it goes on";

    // What this command does not know.
    NOT_READ = Note "not-read":
        "nothing to do; what is in it was not looked at";
    NOT_IN_DUMP = Warning "not-in-dump":
        "take the whole dump, `/config_dump?include_eds`";
}
