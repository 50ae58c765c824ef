//! A root context: one configuration of the plugin, and the streams that begin under it.

use std::rc::Rc;

use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::ContextType;

use super::hostcalls::{self, Status};
use super::http::HttpStream;
use crate::config::{self, Faults};
use crate::filter::Filter;

/// More faults than this are counted, not logged one by one.
const LOGGED_FAULTS: usize = 1_000;

/// Holds the policy that new streams take; none until a configuration was good.
#[derive(Default)]
pub(super) struct Root {
    filter: Option<Rc<Filter>>,
}

impl Context for Root {}

impl RootContext for Root {
    fn on_configure(&mut self, plugin_configuration_size: usize) -> bool {
        #[cfg(egress_fault)]
        if super::fault::strike(super::fault::Callback::Configure) {
            return false;
        }
        let Some(filter) = read_filter(plugin_configuration_size) else {
            return false;
        };
        self.filter = Some(Rc::new(filter));
        true
    }

    fn create_http_context(&self, _context_id: u32) -> Option<Box<dyn HttpContext>> {
        #[cfg(egress_fault)]
        super::fault::strike(super::fault::Callback::ContextCreate);
        Some(Box::new(HttpStream::new(self.filter.clone())))
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }
}

/// The filter of the plugin's configuration; `None`, with the reasons in the log, where it is bad.
fn read_filter(plugin_configuration_size: usize) -> Option<Filter> {
    let text = match hostcalls::plugin_configuration(plugin_configuration_size) {
        Ok(text) => text,
        Err(Status::NOT_FOUND) => Vec::new(),
        Err(Status(status)) => {
            log::error!("the proxy does not give the plugin's configuration: status {status}");
            return None;
        }
    };
    match config::read(&text) {
        Ok(config) => Some(Filter::new(config)),
        Err(faults) => {
            log_faults(&faults);
            None
        }
    }
}

fn log_faults(faults: &Faults) {
    let mut faults = faults.iter();
    for fault in faults.by_ref().take(LOGGED_FAULTS) {
        log::error!("policy refused: {fault}");
    }
    let more = faults.count();
    if more > 0 {
        log::error!("policy refused: {more} more faults");
    }
}
