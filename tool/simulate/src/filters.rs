//! The filter at work, on requests and on connections.

use crate::lines;
use crate::outcome::Outcome;
use crate::proxy::MemoryProxy;
use crate::subject::Subject;
use egress_warden::config::Config;
use egress_warden::connection::ConnectionFilter;
use egress_warden::filter::Filter;
use egress_warden::place::Place;
use egress_warden::policy::Trace;
use egress_warden::proxy::Flow;
use egress_warden::root_id::Connections;
use egress_warden::time::Time;
use std::sync::Arc;

/// One policy at work on both.
#[derive(Debug)]
pub struct Filters {
    config: Arc<Config>,
    /// Of requests at a gateway, and at a waypoint.
    requests: [Filter; 2],
    /// The same of connections.
    connections: [ConnectionFilter; 2],
}

impl Filters {
    /// Connections are judged as these.
    pub fn new(config: impl Into<Arc<Config>>, connections: Connections) -> Self {
        let config = config.into();
        Self {
            requests: PLACES.map(|place| Filter::new(Arc::clone(&config), place)),
            connections: PLACES
                .map(|place| ConnectionFilter::new(Arc::clone(&config), connections, place)),
            config,
        }
    }

    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Sends one; `at` is the proxy's clock where it says none. A connection that waits for its caller's
    /// certificate has it at once.
    pub fn simulate(&self, subject: &Subject, at: Time) -> Outcome {
        let proxy = MemoryProxy::new(subject, at);
        let (flow, lines) = lines::during(|| match subject {
            Subject::Request(_) => {
                of_place(&self.requests, subject.place()).on_request_headers(&proxy).flow
            }
            Subject::Connection(_) => {
                let filter = of_place(&self.connections, subject.place());
                let decided = filter.on_new_connection(&proxy);
                decided.unwrap_or_else(|| filter.decide_late(&proxy))
            }
        });
        proxy.into_outcome(flow == Flow::Continue, subject.record_prefix(), lines)
    }

    /// How the policy judges one, with all that it looks at. Absent where the proxy fails, which this one
    /// does not.
    pub fn trace(&self, subject: &Subject, at: Time) -> Option<Trace> {
        let proxy = MemoryProxy::new(subject, at);
        match subject {
            Subject::Request(_) => of_place(&self.requests, subject.place()).trace(&proxy).ok(),
            Subject::Connection(_) => {
                of_place(&self.connections, subject.place()).trace(&proxy).ok()
            }
        }
    }
}

const PLACES: [Place; 2] = [Place::Gateway, Place::Waypoint];

/// What there is one of for each place, in their order.
fn of_place<T>([at_gateway, at_waypoint]: &[T; 2], place: Place) -> &T {
    match place {
        Place::Gateway => at_gateway,
        Place::Waypoint => at_waypoint,
    }
}
