//! The set-ups that are compared: what each of them runs, and what it is asked for.

use serde_json::{Map, Value, json};

use crate::policy;

/// What wrk asks for: hosts by their place in a list.
const LISTED: &str = "h%d.example.com";
const UNDER_WILDCARD: &str = "a.b.h%d.example.com";
/// Where a list is walked, all of it is walked for this one, as for one that is refused.
const LAST: &str = "h9999.example.com";
const LAST_OF_100: &str = "h99.example.com";
const UNLISTED: &str = "u%d.example.com";

/// What the gateway runs before the router.
pub(crate) enum Way {
    Nothing,
    /// No filter, and all fields of the record: those of the verdict are empty.
    Record,
    EmptyFilter,
    /// RBAC with a map of hosts, header mutation and as many fields in the record as
    /// egress-warden's.
    NativeTrio {
        hosts: usize,
    },
    /// RBAC as Istio renders an AuthorizationPolicy.
    Lists {
        hosts: usize,
    },
    /// The same with header mutation and the fields of the record: the whole job.
    ListsTrio {
        hosts: usize,
    },
    Warden(Value),
    /// The same as a dynamic module of Envoy, without Proxy-Wasm.
    NativeWarden(Value),
    /// With the guard behind it, as it is shipped.
    GuardedWarden(Value),
}

/// One set-up.
pub(crate) struct Setup {
    /// Its name in the raw figures, and what others find it by.
    pub(crate) key: &'static str,
    pub(crate) title: &'static str,
    pub(crate) way: Way,
    /// The hosts that it is asked for, by their pattern and number.
    pub(crate) asked: (&'static str, usize),
    /// Whether what it is asked for is refused.
    pub(crate) is_refused: bool,
    /// Whether callers show a certificate.
    pub(crate) is_mutual_tls: bool,
}

impl Setup {
    fn new(key: &'static str, title: &'static str, way: Way, hosts: usize) -> Self {
        let asked = (LISTED, hosts);
        Self { key, title, way, asked, is_refused: false, is_mutual_tls: false }
    }

    fn refusing(self) -> Self {
        Self { asked: (UNLISTED, self.asked.1), is_refused: true, ..self }
    }

    fn mutual_tls(self) -> Self {
        Self { is_mutual_tls: true, ..self }
    }

    /// The host that the request number `place` asks for.
    pub(crate) fn host(&self, place: usize) -> String {
        policy::host(self.asked.0, place)
    }

    /// Whether it decides about hosts, so that one that is not listed is refused.
    pub(crate) fn decides(&self) -> bool {
        !matches!(self.way, Way::Nothing | Way::Record | Way::EmptyFilter)
    }

    /// Whether its record has the fields of the verdict.
    pub(crate) fn has_fields(&self) -> bool {
        !matches!(self.way, Way::Nothing | Way::EmptyFilter | Way::Lists { .. })
    }

    /// How many stamps it sets on what passes.
    pub(crate) fn stamps(&self) -> usize {
        match &self.way {
            Way::Nothing | Way::Record | Way::EmptyFilter | Way::Lists { .. } => 0,
            Way::NativeTrio { .. } | Way::ListsTrio { .. } => 3,
            Way::Warden(policy) | Way::NativeWarden(policy) | Way::GuardedWarden(policy) => {
                policy["stamp"]["set"].as_object().map_or(0, Map::len)
            }
        }
    }
}

/// Every set-up, in the order in which they take turns: what is compared stands close together.
pub(crate) fn all() -> Vec<Setup> {
    let hosts = |count| policy::hosts(LISTED, count);
    let by_caller = |count| policy::rules_by_caller(&policy::host(LISTED, 0), count);
    let warden = |key, title, count| Setup::new(key, title, Way::Warden(hosts(count)), count);
    let module = |key, title, count| Setup::new(key, title, Way::NativeWarden(hosts(count)), count);
    let guarded = Setup::new(
        "guarded",
        "egress-warden, 10,000 hosts, with the guard",
        Way::GuardedWarden(hosts(10_000)),
        10_000,
    );
    let mut unlogged = hosts(10_000);
    unlogged["log"] = json!({"requests": "none"});
    let unlogged = Setup::new(
        "denied-unlogged",
        "the same, with `log.requests: none`",
        Way::Warden(unlogged),
        10_000,
    );
    let mut one_stamp = hosts(10_000);
    one_stamp["stamp"]["set"] = json!({policy::TEAM.0: policy::TEAM.1});
    let one_stamp = Setup::new(
        "one-stamp",
        "egress-warden, 10,000 hosts, one stamp",
        Way::Warden(one_stamp),
        10_000,
    );
    let mut no_stamp = hosts(10_000);
    no_stamp["stamp"]["set"] = json!({});
    let no_stamp = Setup::new(
        "no-stamp",
        "egress-warden, 10,000 hosts, no stamp",
        Way::Warden(no_stamp),
        10_000,
    );
    let wildcards = Setup::new(
        "wildcards",
        "egress-warden, 10,000 wildcards",
        Way::Warden(policy::hosts("*.h%d.example.com", 10_000)),
        10_000,
    );
    let lists_trio = Setup::new(
        "lists-trio-100",
        "the same with stamps and record, 100 hosts",
        Way::ListsTrio { hosts: 100 },
        100,
    );
    let lists_last = lists(
        "lists-10000-last",
        "AuthorizationPolicy lists, 10,000 hosts, asked for the last one",
        10_000,
    );
    let short_lists_last = lists(
        "lists-100-last",
        "AuthorizationPolicy lists, 100 hosts, asked for the last one",
        100,
    );
    let one_rule = Setup::new(
        "one-rule",
        "mutual TLS, egress-warden, one rule with principals",
        Way::Warden(by_caller(1)),
        1,
    );
    let rules_by_caller = Setup::new(
        "rules-by-caller",
        "mutual TLS, egress-warden, 10,000 rules with principals on one host",
        Way::Warden(by_caller(10_000)),
        1,
    );
    let rules_by_host = Setup::new(
        "rules-by-host",
        "mutual TLS, egress-warden, 10,000 rules with principals, each its own host",
        Way::Warden(policy::rules_by_host(LISTED, 10_000)),
        10_000,
    );
    vec![
        Setup::new("none", "no filter", Way::Nothing, 10_000),
        Setup::new("record", "no filter, and the record's fields", Way::Record, 10_000),
        Setup::new("empty", "an empty Wasm filter", Way::EmptyFilter, 10_000),
        native("native-10000", "native trio, 10,000 hosts", 10_000),
        warden("warden-10000", "egress-warden, 10,000 hosts, three stamps", 10_000),
        module("module-10000", "egress-warden as a dynamic module, 10,000 hosts", 10_000),
        one_stamp,
        no_stamp,
        guarded,
        warden("denied", "egress-warden, 10,000 hosts, all requests denied", 10_000).refusing(),
        unlogged.refusing(),
        Setup { asked: (UNDER_WILDCARD, 10_000), ..wildcards },
        warden("warden-100000", "egress-warden, 100,000 hosts", 100_000),
        warden("warden-1", "egress-warden, 1 host", 1),
        warden("warden-1000", "egress-warden, 1,000 hosts", 1_000),
        warden("warden-100", "egress-warden, 100 hosts", 100),
        module("module-100000", "egress-warden as a dynamic module, 100,000 hosts", 100_000),
        module("module-1", "egress-warden as a dynamic module, 1 host", 1),
        lists("lists-100", "AuthorizationPolicy lists, 100 hosts", 100),
        Setup { asked: (LAST_OF_100, 1), ..short_lists_last },
        lists_trio,
        lists("lists-1000", "AuthorizationPolicy lists, 1,000 hosts", 1_000),
        lists("lists-10000", "AuthorizationPolicy lists, 10,000 hosts", 10_000),
        Setup { asked: (LAST, 1), ..lists_last },
        native("native-1", "native trio, 1 host", 1),
        native("native-1000", "native trio, 1,000 hosts", 1_000),
        native("native-100000", "native trio, 100,000 hosts", 100_000),
        one_rule.mutual_tls(),
        rules_by_caller.mutual_tls(),
        rules_by_host.mutual_tls(),
        Setup::new("none-again", "no filter, another one", Way::Nothing, 10_000),
    ]
}

fn native(key: &'static str, title: &'static str, hosts: usize) -> Setup {
    Setup::new(key, title, Way::NativeTrio { hosts }, hosts)
}

fn lists(key: &'static str, title: &'static str, hosts: usize) -> Setup {
    Setup::new(key, title, Way::Lists { hosts }, hosts)
}

/// The list that a set-up of native filters has.
pub(crate) fn native_hosts(hosts: usize) -> (&'static str, usize) {
    (LISTED, hosts)
}
