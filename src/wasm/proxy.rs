//! The proxy as both filters see it: the host calls in the name of the stream or connection whose
//! callback is running.

use std::ops::RangeInclusive;

use proxy_wasm::types::Action;

use super::hostcalls::{self, Status};
use super::metrics::Metrics;
use crate::counters::Counter;
use crate::gauges::Gauges;
use crate::policy::Policy;
use crate::proxy::{Failed, Flow, Proxy};
use crate::time::Time;

/// A policy's filter with its metrics.
pub(super) struct Counted<F> {
    pub(super) filter: F,
    metrics: Metrics,
}

impl<F> Counted<F> {
    pub(super) fn new(filter: F, policy: &Policy, gauges: Gauges) -> Self {
        Self { filter, metrics: Metrics::new(policy, gauges) }
    }

    /// The proxy, in the callback that is running.
    pub(super) fn proxy(&self) -> RunningProxy<'_> {
        RunningProxy { metrics: &self.metrics }
    }
}

/// The host calls of the callback that is running.
pub(super) struct RunningProxy<'a> {
    metrics: &'a Metrics,
}

impl Proxy for RunningProxy<'_> {
    fn property(&self, path: &[&str]) -> Result<Option<Vec<u8>>, Failed> {
        match hostcalls::property(path) {
            Ok(value) => Ok(Some(value)),
            Err(Status::NOT_FOUND) => Ok(None),
            Err(_) => Err(Failed),
        }
    }

    fn now(&self) -> Option<Time> {
        // Where nothing is written for the time it stays 0. Envoy counts it in an i64: what lies
        // beyond is a clock before 1970.
        const CREDIBLE: RangeInclusive<u64> = 1..=i64::MAX.cast_unsigned();
        let now = hostcalls::current_time().ok().filter(|now| CREDIBLE.contains(now));
        now.map(Time::of_nanoseconds)
    }

    fn set_filter_state(&self, key: &str, value: &[u8]) {
        let _ = hostcalls::set_property(key, value);
    }

    fn increment(&self, counter: &Counter<'_>) {
        self.metrics.increment(counter);
    }
}

/// What a callback returns for a verdict.
pub(super) fn action(flow: Flow) -> Action {
    match flow {
        Flow::Continue => Action::Continue,
        Flow::Stop => Action::Pause,
    }
}
