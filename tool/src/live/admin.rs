//! A proxy's admin address, asked again and again.

use super::counters::{self, Snapshot};
use crate::failure::Failure;
use crate::verify::source::{self, Question};
use crate::verify::{self, Text};
use std::collections::BTreeSet;
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

/// How long an answer may take: on a screen that stands still nothing is seen.
const PATIENCE: Duration = Duration::from_secs(5);
/// How often the policy is asked for. The dump is long, and policies seldom change.
const POLICY: Duration = Duration::from_secs(30);

/// What an admin address said.
#[derive(Debug)]
pub(crate) struct Look {
    /// When the answer was there.
    pub(crate) at: Instant,
    pub(crate) counters: Result<Snapshot, Failure>,
    /// The revisions of the policies, where these were asked for.
    pub(crate) policies: Option<Result<BTreeSet<String>, Failure>>,
}

/// Looks once.
pub(crate) fn look(address: &str, asks_policy: bool) -> Look {
    let text = source::fetch(address, Question::OwnStats, PATIENCE);
    let counters = text.and_then(|text| counters::read(&text, address));
    let at = Instant::now();
    // One that gives no counters has no dump either. A path of its own is that of counters.
    let asks_policy = asks_policy && counters.is_ok() && source::is_address(address);
    Look { at, counters, policies: asks_policy.then(|| policies(address)) }
}

/// Looks at each interval, in a thread of its own: an address that answers slowly holds up nobody.
pub(crate) fn watch(address: String, interval: Duration) -> Receiver<Look> {
    let (sender, looks) = sync_channel(1);
    thread::spawn(move || {
        let mut asked: Option<Instant> = None;
        loop {
            let start = Instant::now();
            let asks_policy = asked.is_none_or(|it| it.elapsed() >= POLICY);
            let look = look(&address, asks_policy);
            // One that is back may have another policy.
            asked = match (&look.counters, asks_policy) {
                (Err(_), _) => None,
                (Ok(_), true) => Some(start),
                (Ok(_), false) => asked,
            };
            if sender.send(look).is_err() {
                break;
            }
            thread::sleep(interval.saturating_sub(start.elapsed()));
        }
    });
    looks
}

fn policies(address: &str) -> Result<BTreeSet<String>, Failure> {
    let dump = source::fetch(address, Question::ConfigDump, PATIENCE)?;
    verify::configured(Text { name: address, bytes: &dump })
}
