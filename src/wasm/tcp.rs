//! One TCP connection: the proxy as the connection filter sees it.

use std::cell::{Cell, RefCell};
use std::rc::{Rc, Weak};

use proxy_wasm::traits::{Context, StreamContext};
use proxy_wasm::types::Action;

use super::hostcalls::{self, Status};
use super::metrics;
use super::proxy::{Counted, RunningProxy, action};
use crate::connection::{ConnectionFilter, ConnectionProxy};
use crate::counters::OF_CONNECTIONS;
use crate::in_force::{InForce, Made, Root, Roots};
use crate::proxy::Flow;

/// How often connections without a verdict are looked at, in milliseconds.
const TICK: u32 = 1_000;

/// How many ticks a connection may go without a verdict.
const PATIENCE: u32 = 10;

thread_local! {
    static ROOTS: RefCell<Roots<Counted<ConnectionFilter>>> = RefCell::default();
}

/// A policy for connections, and those that wait for their verdict.
pub(super) struct Plugin {
    root: Rc<Root<Counted<ConnectionFilter>>>,
    /// Some have their verdict by now. The proxy ticks while there are any.
    waiting: RefCell<Vec<Weak<Connection>>>,
}

/// A connection that the proxy has opened a context for.
pub(super) struct TcpConnection {
    /// None where the root never had a policy.
    connection: Option<Rc<Connection>>,
}

struct Connection {
    context: u32,
    made: Made<Counted<ConnectionFilter>>,
    /// What was decided, once it is.
    flow: Cell<Option<Flow>>,
    /// How many ticks it has waited.
    ticks: Cell<u32>,
    plugin: Rc<Plugin>,
}

impl Plugin {
    /// Takes the policy of the plugin of this name and root id.
    pub(super) fn new(name: &[u8], root_id: &[u8], filter: Counted<ConnectionFilter>) -> Self {
        let id = [name, root_id].join(&0);
        let root = ROOTS.with_borrow_mut(|roots| roots.configure(&id, filter));
        Self { root, waiting: RefCell::default() }
    }

    /// Ends the connections that have waited too long for their verdict, under the policy in force.
    pub(super) fn on_tick(&self) {
        let undecided = |it: &Weak<Connection>| it.upgrade().filter(|it| it.flow.get().is_none());
        let overdue: Vec<_> = self.waiting.borrow().iter().filter_map(undecided).collect();
        for connection in overdue {
            connection.ticks.set(connection.ticks.get().saturating_add(1));
            // The host calls about it are in its name, not in that of the root whose callback runs.
            if connection.ticks.get() >= PATIENCE
                && hostcalls::set_effective_context(connection.context).is_ok()
            {
                connection.refuse_undecided();
            }
        }
        let mut waiting = self.waiting.borrow_mut();
        waiting.retain(|it| undecided(it).is_some());
        if waiting.is_empty() {
            tick_every(0);
        }
    }

    fn wait_for(&self, connection: &Rc<Connection>) {
        let mut waiting = self.waiting.borrow_mut();
        if waiting.is_empty() {
            tick_every(TICK);
        }
        waiting.push(Rc::downgrade(connection));
    }
}

impl TcpConnection {
    pub(super) fn new(context: u32, plugin: Option<&Rc<Plugin>>) -> Self {
        let connection = plugin.map(|plugin| {
            Rc::new(Connection {
                context,
                made: ROOTS.with_borrow_mut(|roots| roots.connect(&plugin.root)),
                flow: Cell::new(None),
                ticks: Cell::new(0),
                plugin: Rc::clone(plugin),
            })
        });
        Self { connection }
    }

    /// What was decided. Without a policy it is a refusal.
    fn flow(&self) -> Option<Flow> {
        self.connection.as_ref().map_or(Some(Flow::Stop), |connection| connection.flow.get())
    }
}

#[cfg(egress_fault)]
impl Drop for TcpConnection {
    fn drop(&mut self) {
        super::fault::strike(super::fault::Callback::Delete);
    }
}

impl Context for TcpConnection {}

impl StreamContext for TcpConnection {
    fn on_new_connection(&mut self) -> Action {
        #[cfg(egress_fault)]
        super::fault::strike(super::fault::Callback::NewConnection);
        let policy = self.connection.as_ref().and_then(|connection| connection.made.policy());
        match (&self.connection, policy) {
            (Some(connection), Some(it)) => {
                connection.flow.set(it.filter.on_new_connection(&it.proxy()));
                if connection.flow.get().is_none() {
                    connection.plugin.wait_for(connection);
                }
            }
            (Some(connection), None) => {
                log::error!(
                    "a policy came back unchanged after many others, while connections were open under \
                     it, and the filter no longer has it: change its text, a `note` is enough"
                );
                connection.close_without_policy();
            }
            (None, _) => close_without_policy(),
        }
        // An undecided connection stays, but no byte passes.
        self.flow().map_or(Action::Continue, action)
    }

    /// Whatever the callback before returned, Envoy goes on to the next filter when bytes come,
    /// unless this one says no.
    fn on_downstream_data(&mut self, _size: usize, _end_of_stream: bool) -> Action {
        #[cfg(egress_fault)]
        super::fault::strike(super::fault::Callback::DownstreamData);
        if let (None, Some(connection)) = (self.flow(), &self.connection) {
            connection.decide();
        }
        self.flow().map_or(Action::Pause, action)
    }

    /// Bytes for a caller before the verdict: the upstream was dialled too early, and speaks first. To
    /// hold them back would keep in memory all that the upstream sends.
    fn on_upstream_data(&mut self, _size: usize, _end_of_stream: bool) -> Action {
        #[cfg(egress_fault)]
        super::fault::strike(super::fault::Callback::UpstreamData);
        if let (None, Some(connection)) = (self.flow(), &self.connection) {
            connection.refuse_undecided();
        }
        self.flow().map_or(Action::Pause, action)
    }
}

impl Connection {
    /// Decides by the policy in force, which need not be the one that it began under.
    fn decide(&self) {
        match self.in_force() {
            InForce::Nothing => self.close_without_policy(),
            InForce::One(it) => self.flow.set(Some(it.filter.decide_late(&it.proxy()))),
            InForce::Either(later, own) => {
                let lets_pass = |it: &Counted<ConnectionFilter>| it.filter.lets_pass(&it.proxy());
                let it = if lets_pass(&later) && !lets_pass(&own) { own } else { later };
                self.flow.set(Some(it.filter.decide_late(&it.proxy())));
            }
        }
    }

    /// Ends it without a verdict.
    fn refuse_undecided(&self) {
        match self.in_force() {
            InForce::Nothing => self.close_without_policy(),
            InForce::One(it) | InForce::Either(it, _) => {
                self.flow.set(Some(it.filter.refuse_undecided(&it.proxy())));
            }
        }
    }

    fn close_without_policy(&self) {
        close_without_policy();
        self.flow.set(Some(Flow::Stop));
    }

    fn in_force(&self) -> InForce<Counted<ConnectionFilter>> {
        ROOTS.with_borrow(|roots| roots.in_force(&self.made))
    }
}

/// The proxy ends the connection. If it had no verdict, its record says so already, and here it is
/// counted. Nothing else may be asked about a connection that the proxy is closing.
impl Drop for Connection {
    fn drop(&mut self) {
        if self.flow.get().is_none()
            && let InForce::One(it) | InForce::Either(it, _) = self.in_force()
        {
            it.filter.count_undecided(&it.proxy());
        }
    }
}

/// Makes the proxy tick for the root of the context that is running; 0 is never.
fn tick_every(milliseconds: u32) {
    if let Err(Status(status)) = hostcalls::set_tick_period(milliseconds) {
        log::error!("the proxy does not tick for connections without a verdict: status {status}");
    }
}

impl ConnectionProxy for RunningProxy<'_> {
    fn close(&self) {
        close();
    }
}

fn close_without_policy() {
    metrics::count_without_policy(&OF_CONNECTIONS);
    close();
}

fn close() {
    if let Err(Status(status)) = hostcalls::close_downstream() {
        log::error!("the proxy does not close a refused connection: status {status}");
    }
}
