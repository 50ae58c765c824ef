//! A root context: one configuration of the plugin, and the streams or connections that begin under
//! it. Which of the two, its root id says.

use std::rc::Rc;
use std::sync::Arc;

use proxy_wasm::traits::{Context, HttpContext, RootContext, StreamContext};
use proxy_wasm::types::ContextType;

use super::hostcalls::{self, Status};
use super::http::HttpStream;
use super::proxy::Counted;
use super::tcp::{Plugin, TcpConnection};
use crate::config::Config;
use crate::connection::ConnectionFilter;
use crate::filter::Filter;
use crate::gauges;
use crate::host::Malformed;
use crate::load;
use crate::place::Place;
use crate::root_id::{self, Connections};

/// Holds the policy that new streams or connections take; none until a configuration was good.
pub(super) enum Root {
    Requests(Option<Rc<Counted<Filter>>>),
    Connections(Option<Rc<Plugin>>),
}

impl Default for Root {
    fn default() -> Self {
        Self::Requests(None)
    }
}

#[cfg(egress_fault)]
impl Drop for Root {
    fn drop(&mut self) {
        super::fault::strike(super::fault::Callback::RootDelete);
    }
}

impl Context for Root {}

impl RootContext for Root {
    fn on_configure(&mut self, plugin_configuration_size: usize) -> bool {
        #[cfg(egress_fault)]
        if super::fault::strike(super::fault::Callback::Configure) {
            return false;
        }
        let root_id = hostcalls::plugin_root_id().unwrap_or_default();
        let Ok(connections) = judged_connections(&root_id) else { return false };
        // Before the policy is read: what comes under a bad one is to be refused as what it is.
        if connections.is_some() && !matches!(self, Self::Connections(_)) {
            *self = Self::Connections(None);
        }
        let Ok(place) = place() else { return false };
        let Some(config) = read_config(plugin_configuration_size) else { return false };
        let config = Arc::new(config);
        *self = match connections {
            None => {
                keep_policy_over_redirects();
                let filter = Filter::new(Arc::clone(&config), place);
                let gauges = gauges::of_requests(&config);
                Self::Requests(Some(Rc::new(Counted::new(filter, &config.policy, gauges))))
            }
            Some(connections) => {
                let filter = ConnectionFilter::new(Arc::clone(&config), connections, place);
                if let Some(warning) = filter.warning() {
                    log::warn!("{warning}");
                }
                let name = hostcalls::plugin_name().unwrap_or_default();
                let gauges = gauges::of_connections(&config);
                let filter = Counted::new(filter, &config.policy, gauges);
                Self::Connections(Some(Rc::new(Plugin::new(&name, &root_id, filter))))
            }
        };
        true
    }

    fn create_http_context(&self, _context_id: u32) -> Option<Box<dyn HttpContext>> {
        #[cfg(egress_fault)]
        super::fault::strike(super::fault::Callback::ContextCreate);
        let filter = match self {
            Self::Requests(filter) => filter.clone(),
            Self::Connections(_) => None,
        };
        Some(Box::new(HttpStream::new(filter)))
    }

    fn create_stream_context(&self, context_id: u32) -> Option<Box<dyn StreamContext>> {
        #[cfg(egress_fault)]
        super::fault::strike(super::fault::Callback::ContextCreate);
        let plugin = match self {
            Self::Requests(_) => None,
            Self::Connections(plugin) => plugin.as_ref(),
        };
        Some(Box::new(TcpConnection::new(context_id, plugin)))
    }

    fn on_tick(&mut self) {
        #[cfg(egress_fault)]
        super::fault::strike(super::fault::Callback::Tick);
        if let Self::Connections(Some(plugin)) = self {
            plugin.on_tick();
        }
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(match self {
            Self::Requests(_) => ContextType::HttpContext,
            Self::Connections(_) => ContextType::StreamContext,
        })
    }
}

/// The connections that the plugin judges; `None`: it judges requests. A proxy that does not tell the
/// root id has requests judged: a connection then meets no context, and is closed.
fn judged_connections(root_id: &[u8]) -> Result<Option<Connections>, Malformed> {
    Connections::of_root_id(root_id).inspect_err(|error| {
        let root_id = root_id.escape_ascii();
        log::error!("root id `{root_id}` refused: {error}; {}", root_id::REMEDY);
    })
}

/// Where this proxy stands. It fails if the proxy does not say: what is right at a gateway leaves a waypoint
/// open.
fn place() -> Result<Place, Status> {
    match hostcalls::property(&["xds", "node", "id"]) {
        Ok(id) => Ok(Place::of_node_id(&id)),
        Err(Status::NOT_FOUND) => Ok(Place::Gateway),
        Err(Status(status)) => {
            log::error!("the proxy does not give its node id: status {status}");
            Err(Status(status))
        }
    }
}

/// Lets the second pass of a request that Envoy redirects know the first, and its policy.
fn keep_policy_over_redirects() {
    if let Err(Status(status)) = hostcalls::keep_property("egress_policy") {
        log::error!("the proxy does not keep `egress_policy` over a redirect: status {status}");
    }
}

/// What the plugin's configuration says; `None`, with the reasons in the log, where it is bad.
fn read_config(plugin_configuration_size: usize) -> Option<Config> {
    let text = match hostcalls::plugin_configuration(plugin_configuration_size) {
        Ok(text) => text,
        Err(Status::NOT_FOUND) => Vec::new(),
        Err(Status(status)) => {
            log::error!("the proxy does not give the plugin's configuration: status {status}");
            return None;
        }
    };
    load::policy(&text, load::variable)
}
