//! One TLS connection that is not terminated, as a plain state machine: read, decide, close or let
//! pass.
//!
//! What is seen of it is the server name in the clear part of its hello, the port, and the caller
//! where the gateway verified a certificate. The same policy as for requests decides; methods and
//! paths are unknown. Each connection leaves one record. One that is refused is closed before a
//! byte of it goes on; where the proxy does not say what was asked for, it is refused.

use crate::config::Config;
use crate::counters::{Counter, OF_CONNECTIONS};
use crate::host::Host;
use crate::place::Place;
use crate::policy::{Action, Decision, Policy, Request, Trace};
use crate::proxy::{Downstream, Failed, Flow, Proxy};
use crate::record::{Details, Pair, Record};
use crate::root_id::Connections;
use std::sync::Arc;

/// What the filter asks of the proxy about a connection, beside what it asks for requests too.
pub trait ConnectionProxy: Proxy {
    /// Closes the connection to the caller. If this fails, the connection still goes no further here.
    fn close(&self);
}

/// The filter for one policy and the connections to one port. It has no state of a connection; all
/// connections share it.
#[derive(Debug)]
pub struct ConnectionFilter {
    config: Arc<Config>,
    connections: Connections,
    place: Place,
}

impl ConnectionFilter {
    /// Takes what a policy text says, what the plugin's root id does, and where the proxy stands.
    pub fn new(config: impl Into<Arc<Config>>, connections: Connections, place: Place) -> Self {
        Self { config: config.into(), connections, place }
    }

    /// A warning about rules that have another effect on connections than their author may expect;
    /// `None` if there are none.
    pub fn warning(&self) -> Option<String> {
        const NAMED: usize = 10;
        let mut ids = self.config.policy.rules_for_requests();
        let named = ids.by_ref().take(NAMED).collect::<Vec<_>>().join("`, `");
        let others = match ids.count() {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        (!named.is_empty()).then(|| {
            format!(
                "policy {}: a connection shows neither method nor path, but these rules ask for them: \
                 `{named}`{others}; there an allow matches none, and a deny matches any",
                self.config.revision
            )
        })
    }

    /// Decides a new connection. `None`: the gateway itself ends TLS (the mesh's, around the
    /// application's own), and the handshake, which names the caller, is still to come. Then call
    /// [`Self::decide_late`] when the first bytes are there, before they go on. The connection cannot be
    /// held back until then: Envoy's tcp_proxy does not read until its own connection is open, so no
    /// handshake would come. Until the verdict the record says `undecided`.
    pub fn on_new_connection(&self, proxy: &impl ConnectionProxy) -> Option<Flow> {
        // At a waypoint the caller is known by the tunnel.
        if self.place == Place::Waypoint || !Downstream::new(proxy, self.place).may_be_tls() {
            return Some(self.decide(proxy));
        }
        write(proxy, self.record(Decision::undecided()).filter_state());
        None
    }

    /// Decides one connection, leaves its record, and closes it or lets it pass.
    pub fn decide(&self, proxy: &impl ConnectionProxy) -> Flow {
        self.conclude(proxy, Policy::decide, |record| write(proxy, record.filter_state()))
    }

    /// The same for a connection that had to wait.
    pub fn decide_late(&self, proxy: &impl ConnectionProxy) -> Flow {
        self.conclude(proxy, Policy::decide, |record| write(proxy, record.filter_state_instead()))
    }

    /// Closes a connection that had to wait too long for a verdict, and leaves its record.
    pub fn refuse_undecided(&self, proxy: &impl ConnectionProxy) -> Flow {
        let undecided = |_: &Policy, _: &Request<'_>| Decision::undecided();
        self.conclude(proxy, undecided, |record| write(proxy, record.filter_state_instead()))
    }

    /// Counts a connection that ended before its verdict. The proxy is not asked about it any more.
    pub fn count_undecided(&self, proxy: &impl Proxy) {
        self.count(&Decision::undecided(), proxy);
    }

    /// Whether the policy would let a connection pass. Nothing is written.
    pub fn lets_pass(&self, proxy: &impl ConnectionProxy) -> bool {
        let Ok(seen) = self.see(proxy) else { return false };
        let downstream = Downstream::new(proxy, self.place);
        let request = self.request(proxy, &seen, &downstream);
        self.config.policy.decide(&request).verdict.action == Action::Allow
    }

    fn conclude<P: ConnectionProxy>(
        &self,
        proxy: &P,
        decide: impl FnOnce(&Policy, &Request<'_>) -> Decision,
        write: impl FnOnce(&Record<'_>),
    ) -> Flow {
        let policy = &self.config.policy;
        let downstream = Downstream::new(proxy, self.place);
        let seen = self.see(proxy);
        let is_seen = seen.is_ok();
        let seen = seen.unwrap_or_default();
        let request = self.request(proxy, &seen, &downstream);
        let decision = match is_seen {
            true => decide(policy, &request),
            false => Decision::proxy_error(),
        };
        let record = self.record(decision);
        write(&record);
        if let Some(level) = record.level(self.config.log) {
            let address = |side| proxy.property(&[side, "address"]).ok().flatten();
            let authority = request.authority.as_ref().ok();
            let line = record.line(&Details {
                start_time: proxy.now(),
                host: authority.map(|authority| authority.host.canonical()).as_deref(),
                dialled_host: request.dialled.host().map(Host::canonical).as_deref(),
                port: request.port(),
                source_principal: downstream.certificate_uri(),
                downstream_remote_address: address("source").as_deref(),
                downstream_local_address: address("destination").as_deref(),
                requested_server_name: Some(&*seen.server_name).filter(|name| !name.is_empty()),
                ..Details::default()
            });
            log::log!(level, "{line}");
        }
        self.count(&decision, proxy);
        match decision.verdict.action {
            Action::Allow => Flow::Continue,
            Action::Deny => {
                proxy.close();
                Flow::Stop
            }
        }
    }

    fn record(&self, decision: Decision) -> Record<'_> {
        Record::of_connection(decision, &self.config.policy, &self.config.revision)
    }

    fn count(&self, decision: &Decision, proxy: &impl Proxy) {
        Counter::each(&OF_CONNECTIONS, decision, &self.config.policy, |counter| {
            proxy.increment(counter)
        });
    }

    /// How the policy judges the same connection, with all that it looks at. Nothing is written.
    pub fn trace(&self, proxy: &impl ConnectionProxy) -> Result<Trace, Failed> {
        let seen = self.see(proxy)?;
        let downstream = Downstream::new(proxy, self.place);
        Ok(self.config.policy.trace(&self.request(proxy, &seen, &downstream)))
    }

    /// The facts of a connection that this policy asks about.
    fn request<'a, P: Proxy>(
        &self,
        proxy: &P,
        seen: &'a Seen,
        downstream: &'a Downstream<'_, P>,
    ) -> Request<'a> {
        let reads = self.config.policy.reads();
        let connection = match self.place {
            Place::Gateway => Request::connection(&seen.server_name, self.connections),
            Place::Waypoint => Request::connection_to_cluster(&seen.server_name, &seen.chain),
        };
        Request {
            principal: reads.principal.then(|| downstream.principal()).flatten(),
            now: reads.clock.then(|| proxy.now()).flatten(),
            ..connection
        }
    }

    /// What the proxy shows of where a connection goes.
    fn see(&self, proxy: &impl Proxy) -> Result<Seen, Failed> {
        let property = |path| Ok(proxy.property(path)?.unwrap_or_default());
        Ok(Seen {
            server_name: property(&["connection", "requested_server_name"])?,
            chain: match self.place {
                Place::Gateway => Vec::new(),
                Place::Waypoint => property(&["xds", "filter_chain_name"])?,
            },
        })
    }
}

/// What is seen of where a connection goes.
#[derive(Debug, Default)]
struct Seen {
    /// Of the hello; empty where it had none.
    server_name: Vec<u8>,
    /// The name of a waypoint's filter chain. Istio gives it that of the cluster that was dialled.
    chain: Vec<u8>,
}

fn write<'a>(proxy: &impl Proxy, record: impl Iterator<Item = Pair<'a>>) {
    for (key, value) in record {
        proxy.set_filter_state(key, value.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;
    use wasm_bindgen_test::wasm_bindgen_test;

    #[wasm_bindgen_test(unsupported = test)]
    fn rules_that_ask_for_methods_or_paths_are_named_ten_at_most() {
        let warning = |fields: &[&str]| {
            let rules = (10..).zip(fields).map(|(number, field)| {
                let mut to = serde_json::json!({ "hosts": ["a.test"] });
                if !field.is_empty() {
                    to[*field] = serde_json::json!(["*"]);
                }
                serde_json::json!({ "id": format!("r{number}"), "action": "deny", "to": [to] })
            });
            let rules = rules.collect::<Vec<_>>();
            let text = serde_json::json!({ "policy": "p", "rules": rules }).to_string();
            let config = config::read(text.as_bytes()).unwrap();
            ConnectionFilter::new(config, Connections::default(), Place::Gateway).warning()
        };
        assert_eq!(warning(&["", ""]), None);
        let two = warning(&["", "paths", "notPaths"]).unwrap();
        assert!(two.contains("`r11`, `r12`; there"), "{two}");
        let twelve = warning(&["paths"; 12]).unwrap();
        assert!(twelve.contains("`r19` and 2 more"), "{twelve}");
    }
}
