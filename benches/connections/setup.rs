//! The set-ups that are compared: what each of them runs, and what it is asked for.

use serde_json::{Value, json};

/// What the gateway runs before `tcp_proxy`.
pub(crate) enum Way {
    Nothing,
    EmptyFilter,
    /// RBAC with a list of server names, as Istio renders an AuthorizationPolicy.
    Lists,
    Warden {
        logs: bool,
        is_guarded: bool,
    },
}

/// Which names are asked for.
#[derive(Clone, Copy)]
pub(crate) enum Asked {
    /// All that are listed, in turn.
    Listed,
    /// Where a list is walked, all of it is walked for this one, as for one that is refused.
    Last,
    /// As many that are not: all are refused.
    Unlisted,
}

/// One set-up.
pub(crate) struct Setup {
    /// Its name in the raw figures, and what others find it by.
    pub(crate) key: &'static str,
    pub(crate) title: &'static str,
    pub(crate) way: Way,
    /// Names in its list.
    pub(crate) names: usize,
    pub(crate) asked: Asked,
    /// Whether callers show a certificate, in the mesh's TLS around their own, and rules and lists
    /// ask for it.
    pub(crate) is_mutual_tls: bool,
}

/// The caller whom the certificate shows, and what a rule asks for.
pub(crate) const CALLER: &str = "cluster.local/ns/shop/sa/web";

impl Setup {
    fn new(key: &'static str, title: &'static str, way: Way, names: usize) -> Self {
        Self { key, title, way, names, asked: Asked::Listed, is_mutual_tls: false }
    }

    fn asked(self, asked: Asked) -> Self {
        Self { asked, ..self }
    }

    fn mutual_tls(self) -> Self {
        Self { is_mutual_tls: true, ..self }
    }

    /// The key of the set-up that does the same without a filter.
    pub(crate) fn without_filter(&self) -> &'static str {
        if self.is_mutual_tls { "mutual-none" } else { "none" }
    }

    /// The server names that it is asked for.
    pub(crate) fn asked_names(&self) -> Vec<String> {
        match self.asked {
            Asked::Listed => {
                (0..self.names.min(MOST_ASKED)).map(|place| name(place * self.step())).collect()
            }
            Asked::Last => vec![name(self.names - 1)],
            Asked::Unlisted => {
                (0..MOST_ASKED).map(|place| format!("u{place}.example.com")).collect()
            }
        }
    }

    pub(crate) fn is_refused(&self) -> bool {
        matches!(self.asked, Asked::Unlisted)
    }

    /// So that those that are asked for are spread over the list.
    fn step(&self) -> usize {
        (self.names / MOST_ASKED).max(1)
    }

    pub(crate) fn listed_names(&self) -> impl Iterator<Item = String> {
        (0..self.names).map(name)
    }

    /// The policy of egress-warden.
    pub(crate) fn policy(&self) -> Value {
        let logs = matches!(self.way, Way::Warden { logs: true, .. });
        let mut rule = json!({
            "id": "listed",
            "action": "allow",
            "to": [{"hosts": self.listed_names().collect::<Vec<_>>(), "ports": [443]}],
        });
        if self.is_mutual_tls {
            rule["from"] = json!([{"principals": [CALLER]}]);
        }
        json!({
            "policy": "bench",
            "rules": [rule],
            "log": {"requests": if logs { "denied" } else { "none" }},
        })
    }
}

/// So many different hellos are sent.
const MOST_ASKED: usize = 1_000;

fn name(place: usize) -> String {
    format!("h{place}.example.com")
}

/// Every set-up, in the order in which they take turns: what is compared stands close together.
pub(crate) fn all() -> Vec<Setup> {
    let warden = |key, title, names| {
        Setup::new(key, title, Way::Warden { logs: true, is_guarded: true }, names)
    };
    let lists = |key, title, names| Setup::new(key, title, Way::Lists, names);
    let unguarded = Way::Warden { logs: true, is_guarded: false };
    let unlogged = Way::Warden { logs: false, is_guarded: true };
    vec![
        Setup::new("none", "no filter", Way::Nothing, 10_000),
        Setup::new("empty", "an empty Wasm filter", Way::EmptyFilter, 10_000),
        warden("warden-1", "egress-warden and guard, 1 name", 1),
        lists("lists-1", "RBAC list, 1 name", 1),
        warden("warden-100", "egress-warden and guard, 100 names", 100),
        lists("lists-100", "RBAC list, 100 names", 100),
        warden("warden-10000", "egress-warden and guard, 10,000 names", 10_000),
        lists("lists-10000", "RBAC list, 10,000 names", 10_000),
        lists("lists-10000-last", "RBAC list, the last of 10,000 names", 10_000).asked(Asked::Last),
        warden("warden-10000-last", "egress-warden and guard, the last of 10,000 names", 10_000)
            .asked(Asked::Last),
        Setup::new("unguarded", "egress-warden without the guard, 10,000 names", unguarded, 10_000),
        warden("warden-100000", "egress-warden and guard, 100,000 names", 100_000),
        warden("denied", "egress-warden and guard, 10,000 names, all refused", 10_000)
            .asked(Asked::Unlisted),
        lists("lists-denied", "RBAC list, 10,000 names, all refused", 10_000)
            .asked(Asked::Unlisted),
        Setup::new(
            "denied-unlogged",
            "egress-warden, all refused, with `log.requests: none`",
            unlogged,
            10_000,
        )
        .asked(Asked::Unlisted),
        warden("denied-100", "egress-warden and guard, 100 names, all refused", 100)
            .asked(Asked::Unlisted),
        lists("lists-100-denied", "RBAC list, 100 names, all refused", 100).asked(Asked::Unlisted),
        Setup::new("mutual-none", "mutual TLS, no filter", Way::Nothing, 10_000).mutual_tls(),
        warden("mutual", "mutual TLS, egress-warden and guard, 10,000 names, a caller", 10_000)
            .mutual_tls(),
        lists("mutual-lists", "mutual TLS, RBAC list, 10,000 names, a caller", 10_000).mutual_tls(),
        Setup::new("none-again", "no filter, another one", Way::Nothing, 10_000),
    ]
}
