//! Which policy let a request pass before Envoy, or a filter behind, sent it to another host.
//!
//! The second pass is a stream of its own, on the same thread. It begins while the first still stands (Envoy
//! 1.40), or when the first has just ended (1.38 and 1.39). Filter state that a module sets does not outlive
//! the first. But the second has the very headers of the first: a stamp that it may carry on to another host
//! lies at the same place in Envoy's memory, with the same value. Where another request's header happens to lie
//! there, it has that value too, and loses nothing but what it could not tell from a stamp. Elsewhere the header
//! that Envoy adds to a redirect is enough, and the policies of the streams that stand now and of the one that
//! ended last: if there are several, it is unknown which of them the request passed.

use crate::writes::{Write, Writes};
use egress_warden::header_map::Headers;
use egress_warden::stamp::{ORIGINAL_URL, Stamps};
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::sync::Arc;

/// What a policy is known by: its name and hash.
pub(crate) type Revision = Arc<str>;

thread_local! {
    static STANDING: RefCell<Standing> = const { RefCell::new(Standing::new()) };
}

/// The streams of this thread.
struct Standing {
    /// How many there are of each policy.
    policies: Vec<(Revision, usize)>,
    /// Those that were let pass with a stamp that may be carried, by its place.
    passes: BTreeMap<usize, Passed>,
    numbers: u64,
    /// The policy of the one that ended last.
    last_ended: Option<Revision>,
    /// The one that ended last, if it was let pass.
    last_pass: Option<(usize, Passed)>,
}

struct Passed {
    revision: Revision,
    /// Of the stream.
    number: u64,
    /// The stamp's value. Memory of a request that is over may be another's soon.
    value: Box<[u8]>,
}

/// What a stream has to give back when it ends: the place of its stamp, and its number.
#[derive(Debug, Default)]
pub(crate) struct Pass(Cell<Option<(usize, u64)>>);

/// A stream of a policy begins.
pub(crate) fn begin(revision: &Revision) {
    STANDING.with_borrow_mut(|standing| standing.count(revision));
}

/// It was let pass, with these headers, some of which were written.
pub(crate) fn let_pass(
    pass: &Pass,
    revision: &Revision,
    stamps: &Stamps,
    writes: &Writes,
    headers: &impl Headers,
) {
    let is_written =
        |name| writes.iter().any(|(write, it, _)| write != Write::Remove && it == name);
    let mut carried =
        headers.iter().filter(|&(name, _)| stamps.is_carried(name) && is_written(name));
    if let Some((_, value)) = carried.next() {
        let place = value.as_ptr().addr();
        STANDING.with_borrow_mut(|standing| {
            standing.numbers = standing.numbers.wrapping_add(1);
            let number = standing.numbers;
            let passed = Passed { revision: Arc::clone(revision), number, value: value.into() };
            standing.passes.insert(place, passed);
            pass.0.set(Some((place, number)));
        });
    }
}

/// It is over.
pub(crate) fn end(pass: &Pass, revision: &Revision) {
    STANDING.with_borrow_mut(|standing| {
        standing.discount(revision);
        if standing.last_ended.as_ref().is_none_or(|last| !Arc::ptr_eq(last, revision)) {
            standing.last_ended = Some(Arc::clone(revision));
        }
        standing.last_pass = pass.0.take().and_then(|(place, number)| {
            // The second pass may have taken its place.
            standing.passes.get(&place).filter(|passed| passed.number == number)?;
            standing.passes.remove(&place).map(|passed| (place, passed))
        });
    });
}

/// The policy that let a request with these headers pass before, where one did; `own` is that of its stream.
/// It fails where it was redirected, and this is unknown.
pub(crate) fn policy_before(
    headers: &impl Headers,
    own: &Revision,
) -> Result<Option<Revision>, SeveralPolicies> {
    STANDING.with_borrow(|standing| {
        if let Some(passed) = headers.iter().find_map(|(_, value)| standing.passed(value)) {
            return Ok(Some(Arc::clone(&passed.revision)));
        }
        if headers.iter().all(|(name, _)| name != ORIGINAL_URL.as_bytes()) {
            return Ok(None);
        }
        let mut others = standing.policies.iter().map(|(other, _)| other);
        match others.by_ref().chain(&standing.last_ended).all(|other| other == own) {
            true => Ok(Some(Arc::clone(own))),
            false => Err(SeveralPolicies),
        }
    })
}

/// Streams of several policies stand.
#[derive(Debug)]
pub(crate) struct SeveralPolicies;

impl Standing {
    const fn new() -> Self {
        Self {
            policies: Vec::new(),
            passes: BTreeMap::new(),
            numbers: 0,
            last_ended: None,
            last_pass: None,
        }
    }

    /// The first pass of a request that has this value.
    fn passed(&self, value: &[u8]) -> Option<&Passed> {
        let place = value.as_ptr().addr();
        let ended = self.last_pass.as_ref().filter(|(other, _)| *other == place);
        let passed = self.passes.get(&place).or(ended.map(|(_, passed)| passed));
        passed.filter(|passed| *passed.value == *value)
    }

    fn count(&mut self, revision: &Revision) {
        match self.policies.iter_mut().find(|(other, _)| Arc::ptr_eq(other, revision)) {
            Some((_, count)) => *count = count.saturating_add(1),
            None => self.policies.push((Arc::clone(revision), 1)),
        }
    }

    fn discount(&mut self, revision: &Revision) {
        self.policies.retain_mut(|(other, count)| {
            if Arc::ptr_eq(other, revision) {
                *count = count.saturating_sub(1);
            }
            *count > 0
        });
    }
}
