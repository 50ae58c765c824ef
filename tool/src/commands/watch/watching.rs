//! The sources while they are watched.

use super::Args;
use crate::console::Console;
use crate::failure::{Failure, Outcome};
use crate::input;
use crate::live::admin::{self, Look};
use crate::live::screen::{Screen, Wish};
use crate::live::{Counters, Lines, Log, Picture, State};
use crate::logs::{Growing, Step};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Receiver;
use std::thread;
use std::time::{Duration, Instant};

/// How often the log and the keyboard are looked at.
const PAUSE: Duration = Duration::from_millis(100);
/// How long the log is read before the rest is looked after again.
const READING: Duration = Duration::from_millis(200);

/// What ends a program in a terminal. The terminal is to be as before then.
#[cfg(unix)]
const SIGNALS: [i32; 3] =
    [signal_hook::consts::SIGHUP, signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM];
#[cfg(not(unix))]
const SIGNALS: [i32; 2] = [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM];

/// What is watched, and what was seen.
pub(super) struct Watching<'a> {
    state: State,
    growing: Option<Growing<'a>>,
    address: Option<&'a str>,
    /// When the counters were there last.
    counters_at: Option<Instant>,
    /// When the log was looked at last.
    log_at: Instant,
}

impl<'a> Watching<'a> {
    /// Opens the log. Nothing is read yet.
    pub(super) fn new(args: &'a Args) -> Result<Self, Failure> {
        let path = args.log.as_deref();
        let growing = path.map(|path| Growing::open(path, &args.choice)).transpose()?;
        let root_id = args.choice.root_id.connections(None);
        let address = args.admin.as_deref();
        Ok(Self {
            state: State {
                counters: address.map(|address| Counters::new(address.to_owned())),
                log: path.map(|path| Log::new(input::name(path), root_id)),
            },
            growing,
            address,
            counters_at: None,
            log_at: Instant::now(),
        })
    }

    /// Looks once, and says what there is; of a pipe all that comes.
    pub(super) fn once(&mut self, console: &mut Console) -> Result<(), Failure> {
        if let Some(address) = self.address {
            self.take(admin::look(address, true));
        }
        loop {
            match self.read(Duration::MAX) {
                Step::Paused if self.reads_pipe() => thread::sleep(PAUSE),
                Step::Paused | Step::Ended => break,
                Step::Read => {}
            }
        }
        let State { counters, log } = &self.state;
        let of_counters = counters.as_ref().and_then(|it| it.problem.as_ref());
        let of_log = log.as_ref().and_then(|it| it.problem.as_ref());
        match of_counters.or(of_log) {
            Some(problem) => Err(problem.clone()),
            None => Lines::default().write(&self.picture(), console),
        }
    }

    /// Writes lines at each interval until somebody ends it, or the log ends and nothing else is watched.
    pub(super) fn lines(
        &mut self,
        interval: Duration,
        console: &mut Console,
    ) -> Result<(), Failure> {
        let is_over = ended_by_signal()?;
        let mut looks = self.looks(interval);
        let mut lines = Lines::default();
        loop {
            let step = self.read(READING);
            let has_ended = step == Step::Ended && self.address.is_none();
            if looks.is_due(self) || has_ended {
                lines.write(&self.next_picture(), console)?;
            }
            if has_ended {
                let problem = self.state.log.as_ref().and_then(|log| log.problem.clone());
                return problem.map_or(Ok(()), Err);
            }
            if is_over.load(Ordering::Relaxed) {
                return Ok(());
            }
            if step != Step::Read {
                thread::sleep(PAUSE);
            }
        }
    }

    /// Shows a screen until somebody ends it.
    pub(super) fn screen(&mut self, interval: Duration, mut screen: Screen) -> Result<(), Failure> {
        let is_over = ended_by_signal()?;
        let mut looks = self.looks(interval);
        self.read(READING);
        let mut picture = self.picture();
        screen.show(&picture)?;
        while !is_over.load(Ordering::Relaxed) {
            let step = self.read(READING);
            let is_due = looks.is_due(self);
            if is_due {
                picture = self.next_picture();
            }
            let wait = if step == Step::Read || is_due { Duration::ZERO } else { PAUSE };
            let wish = screen.wait(wait)?;
            if wish == Some(Wish::End) {
                break;
            }
            if is_due || wish.is_some() {
                screen.show(&picture)?;
            }
        }
        Ok(())
    }

    /// How it ends, and what is to be known of the lines of the log.
    pub(super) fn end(&self, console: &mut Console) -> Outcome {
        let Some(growing) = &self.growing else { return Outcome::Yes };
        growing.tally().tell(console);
        growing.tally().outcome(Outcome::Yes)
    }

    /// Reads what is there of the log, for so long.
    fn read(&mut self, time: Duration) -> Step {
        let (Some(growing), Some(log)) = (&mut self.growing, &mut self.state.log) else {
            return Step::Ended;
        };
        let start = Instant::now();
        loop {
            match growing.step(&mut |logged| log.see(logged)) {
                Ok(Step::Read) if start.elapsed() < time => {}
                Ok(Step::Read) => return Step::Read,
                Ok(Step::Paused) => {
                    log.problem = None;
                    if !growing.has_end() {
                        log.begin_rates();
                    }
                    return Step::Paused;
                }
                Ok(Step::Ended) => {
                    log.has_ended = true;
                    return Step::Ended;
                }
                Err(problem) => {
                    log.problem = Some(problem);
                    return Step::Paused;
                }
            }
        }
    }

    /// Takes what the admin address said.
    fn take(&mut self, look: Look) {
        let Some(counters) = &mut self.state.counters else { return };
        match look.counters {
            Ok(snapshot) => {
                let before = self.counters_at.replace(look.at);
                let time = before.map_or(Duration::ZERO, |it| look.at.duration_since(it));
                counters.look(&snapshot, time);
            }
            Err(problem) => counters.problem = Some(problem),
        }
        if let Some(policies) = look.policies {
            counters.look_at_policies(policies);
        }
    }

    /// A picture of a new look at the log.
    fn next_picture(&mut self) -> Picture {
        let now = Instant::now();
        let before = std::mem::replace(&mut self.log_at, now);
        if let Some(log) = &mut self.state.log {
            log.pass(now.duration_since(before));
        }
        let picture = self.picture();
        // Nobody says of a pipe where the past ends. What `kubectl logs -f` begins with comes at once.
        if self.reads_pipe()
            && let Some(log) = &mut self.state.log
        {
            log.begin_rates();
        }
        picture
    }

    fn reads_pipe(&self) -> bool {
        self.growing.as_ref().is_some_and(Growing::has_end)
    }

    fn picture(&self) -> Picture {
        Picture::of(&self.state, self.growing.as_ref().map(Growing::tally))
    }

    fn looks(&self, interval: Duration) -> Looks {
        match self.address {
            Some(address) => Looks::OfAdmin(admin::watch(address.to_owned(), interval)),
            None => Looks::ByClock { interval, due: Instant::now() + interval },
        }
    }
}

/// When there is something new to show.
enum Looks {
    /// With each look at the admin address, whatever came of it.
    OfAdmin(Receiver<Look>),
    ByClock {
        interval: Duration,
        due: Instant,
    },
}

impl Looks {
    /// Whether it is time, with what came meanwhile taken.
    fn is_due(&mut self, watching: &mut Watching<'_>) -> bool {
        match self {
            Self::OfAdmin(looks) => {
                let mut is_due = false;
                for look in looks.try_iter() {
                    watching.take(look);
                    is_due = true;
                }
                is_due
            }
            Self::ByClock { interval, due } => {
                let now = Instant::now();
                let is_due = now >= *due;
                if is_due {
                    *due = now + *interval;
                }
                is_due
            }
        }
    }
}

/// Becomes true when the process is told to end.
fn ended_by_signal() -> Result<Arc<AtomicBool>, Failure> {
    let is_over = Arc::new(AtomicBool::new(false));
    for signal in SIGNALS {
        signal_hook::flag::register(signal, Arc::clone(&is_over)).map_err(|error| {
            Failure::new("signals", error.to_string(), "start it where signals can be handled")
        })?;
    }
    Ok(is_over)
}
