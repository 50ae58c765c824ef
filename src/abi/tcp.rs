//! One TCP connection: the proxy as the connection filter sees it.

use std::rc::Rc;

use proxy_wasm::traits::{Context, StreamContext};
use proxy_wasm::types::Action;

use super::hostcalls::{self, Status};
use super::proxy::{RunningProxy, action};
use crate::connection::{ConnectionFilter, ConnectionProxy};
use crate::proxy::Flow;

/// A connection, with the policy that its root had when the connection was made.
pub(super) struct TcpConnection {
    filter: Option<Rc<ConnectionFilter>>,
    /// What was decided, once it is.
    flow: Option<Flow>,
}

impl TcpConnection {
    pub(super) fn new(filter: Option<Rc<ConnectionFilter>>) -> Self {
        Self { filter, flow: None }
    }
}

impl Context for TcpConnection {}

impl StreamContext for TcpConnection {
    fn on_new_connection(&mut self) -> Action {
        #[cfg(egress_fault)]
        super::fault::strike(super::fault::Callback::NewConnection);
        self.flow = match &self.filter {
            Some(filter) => filter.on_new_connection(&RunningProxy),
            // No policy is never "allow".
            None => {
                RunningProxy.close();
                Some(Flow::Stop)
            }
        };
        // Undecided it goes on, without a byte.
        self.flow.map_or(Action::Continue, action)
    }

    /// Whatever the callback before returned, Envoy goes on to the next filter when bytes come,
    /// unless this one says no.
    fn on_downstream_data(&mut self, _size: usize, _end_of_stream: bool) -> Action {
        #[cfg(egress_fault)]
        super::fault::strike(super::fault::Callback::DownstreamData);
        if let (None, Some(filter)) = (self.flow, &self.filter) {
            self.flow = Some(filter.decide(&RunningProxy));
        }
        self.flow.map_or(Action::Pause, action)
    }
}

impl ConnectionProxy for RunningProxy {
    fn close(&self) {
        if let Err(Status(status)) = hostcalls::close_downstream() {
            log::error!("the proxy does not close a refused connection: status {status}");
        }
    }
}
