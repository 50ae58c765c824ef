//! Counters and gauges by name. None of them is worth a request: one that cannot be defined, or changed,
//! is skipped.

use std::cell::{Cell, RefCell};
use std::rc::{Rc, Weak};

use proxy_wasm::types::MetricType;

use super::hostcalls;
use crate::counters::{self, Counter, Families};
use crate::gauges::Gauges;
use crate::key_table::KeyTable;
use crate::policy::Policy;

thread_local! {
    /// The ids of the metrics that this VM has defined so far. The proxy gives every definition a
    /// new id, also of a known name, and keeps it as long as the VM lives; so the ids outlive the
    /// roots, and reloads define nothing twice.
    static IDS: RefCell<KeyTable> = RefCell::default();
    /// The counters of the policies that this VM has, with the name of their first gauge.
    static POLICIES: RefCell<Vec<(&'static str, Weak<CounterIds>)>> = RefCell::default();
}

/// By a counter's number.
type CounterIds = [Cell<Option<u32>>];

/// The metrics of one policy.
pub(super) struct Metrics {
    /// Each is asked for at its first use.
    counters: Rc<CounterIds>,
    gauges: Gauges,
}

impl Metrics {
    /// Those of a policy that the proxy has taken. Its gauges show it.
    pub(super) fn new(policy: &Policy, gauges: Gauges) -> Self {
        let metrics =
            Self { counters: vec![Cell::new(None); Counter::most(policy)].into(), gauges };
        POLICIES.with_borrow_mut(|policies| {
            policies.retain(|(_, counters)| counters.strong_count() > 0);
            policies.push((metrics.gauge(), Rc::downgrade(&metrics.counters)));
        });
        metrics.show();
        metrics
    }

    /// Adds one to a counter, defining it at first use.
    pub(super) fn increment(&self, counter: &Counter<'_>) {
        let Some(known) = self.counters.get(counter.number) else { return };
        if known.get().is_none() {
            self.show();
            known.set(id(MetricType::Counter, &counter.name()));
        }
        if let Some(id) = known.get() {
            let _ = hostcalls::increment_counter(id);
        }
    }

    /// Sets the gauges. If an old policy comes back unchanged, the proxy may use its root again, and does not
    /// say so. So the other policies forget the ids of their counters: one that decides again looks for them,
    /// and comes here.
    fn show(&self) {
        for gauge in &self.gauges {
            if let Some(id) = id(MetricType::Gauge, gauge.name) {
                let _ = hostcalls::record_metric(id, gauge.value);
            }
        }
        POLICIES.with_borrow(|policies| {
            let of_kind = policies.iter().filter(|(gauge, _)| *gauge == self.gauge());
            let counters = of_kind.filter_map(|(_, counters)| counters.upgrade());
            for counters in counters.filter(|it| !Rc::ptr_eq(it, &self.counters)) {
                counters.iter().for_each(|id| id.set(None));
            }
        });
    }

    fn gauge(&self) -> &'static str {
        let [gauge, ..] = &self.gauges;
        gauge.name
    }
}

/// Counts what is refused because there is no policy.
pub(super) fn count_without_policy(families: &Families) {
    if let Some(id) = id(MetricType::Counter, &counters::without_policy(families)) {
        let _ = hostcalls::increment_counter(id);
    }
}

fn id(metric_type: MetricType, name: &str) -> Option<u32> {
    IDS.with_borrow_mut(|ids| {
        if let Some(id) = ids.get(name.as_bytes()) {
            return Some(id);
        }
        let id = hostcalls::define_metric(metric_type, name).ok()?;
        ids.entry(name.as_bytes(), id);
        Some(id)
    })
}
