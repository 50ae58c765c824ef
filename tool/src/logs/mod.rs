//! Logged requests, read as a stream: the one reader of logs behind `replay`, `diff` and `learn`.
//!
//! Requests, and connections that were not terminated, are read in any mixture from
//!
//! - Envoy's access log in JSON, as `envoy/gateway.yaml`, `envoy/gateway-tls.yaml`,
//!   `envoy/istio/mesh-config.yaml` and Istio write it, or under [other names](names);
//! - Envoy's access log in [text]: Istio's default formats, Envoy's, and those of `--log-format`;
//! - the filter's own JSON line, alone or in Envoy's own log;
//! - what others decided: Smokescreen, Squid, and Cilium by Hubble's flows ([`decisions`]).
//!
//! A record begins at the start of its line, or behind one of the prefixes that [`prefix`] lists; JSON
//! anywhere else is what a caller sent, and no record. The line may lie in envelopes ([`reader`]), in
//! the lists of a JSON document ([`documents`]), or in [`parts`].
//!
//! Files may be plain, gzip, zstd, xz or bzip2, told by their first bytes. Every other line is counted, and the
//! first few are kept with their place. Where they are more than a stated share, the answer says so
//! first, and the exit code is 2. Memory does not grow with the log: chunks of whole lines are
//! folded on every core, and what they come to is merged in the order of the log.

mod chunks;
mod comparison;
mod compression;
mod decisions;
mod documents;
mod ending;
mod example;
#[cfg(not(target_family = "wasm"))]
mod follow;
#[cfg(test)]
mod forgery;
#[cfg(not(target_family = "wasm"))]
mod growing;
mod hop;
mod line;
mod names;
mod parts;
mod plain;
mod prefix;
mod progress;
mod reader;
mod record;
#[cfg(test)]
mod shapes;
mod text;
mod time;
mod undated;
mod unread;

pub(crate) use comparison::{Comparison, Recorded};
pub(crate) use ending::Ending;
pub(crate) use example::{Group, Requests, Shown, shown_text};
#[cfg(not(target_family = "wasm"))]
pub(crate) use growing::{Growing, Step};
pub(crate) use hop::Hop;
pub(crate) use line::{BY_MESH, Form, Logged, LoggedVerdict};
pub(crate) use plain::plain;
pub(crate) use record::{Record, without_secrets};
pub(crate) use undated::{Decider, decide};
use unread::{Problem, Unread};

use crate::console::{Console, counted};
use crate::failure::{Failure, Outcome};
use crate::input;
use crate::root_id::RootId;
use chunks::{Chunk, Chunks, Log};
use clap::ValueEnum;
use names::{LogFormat, Name};
use prefix::Prefix;
use progress::Progress;
use reader::Reader;
use serde::ser::{Serialize, SerializeStruct, Serializer};
use std::collections::BTreeMap;
use std::io::Cursor;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError, mpsc};
use std::thread;

/// Which logs to read, as every command that reads some asks it.
#[derive(Debug, clap::Args)]
pub(crate) struct Choice {
    /// Read lines of this form only. The whole output of a proxy has a refused request in both forms
    #[arg(long, value_enum, value_name = "FORM")]
    pub(crate) only: Option<Only>,
    /// Part of the filter's name in Envoy's own log (`wasm log NAME: …`). Lines of other plugins
    /// are not read
    #[arg(long, value_name = "NAME", default_value = PLUGIN)]
    pub(crate) plugin: String,
    /// If more than this share of the lines cannot be read, the exit code is 2
    #[arg(long, value_name = "PERCENT", default_value_t = MAX_UNREAD, value_parser = clap::value_parser!(u8).range(0..=100))]
    max_unread: u8,
    /// How the lines of a text access log are written: Envoy's operators, as `accessLogFormat` of the
    /// mesh configuration has them. Without it Istio's default formats and Envoy's are known. The
    /// object of a JSON format says under which keys its fields stand. May be given several times
    #[arg(long, value_name = "STRING")]
    log_format: Vec<LogFormat>,
    /// The key under which a JSON log has a field, for example `authority=host`. May be given several
    /// times
    #[arg(long, value_name = "NAME=KEY")]
    field: Vec<Name>,
    #[command(flatten)]
    pub(crate) root_id: RootId,
}

/// What the shipped configurations call the filter; Istio puts a namespace before it.
const PLUGIN: &str = "egress-warden";
/// Few enough that what they hide changes no conclusion, and enough for what a proxy says of itself.
const MAX_UNREAD: u8 = 1;

impl Default for Choice {
    fn default() -> Self {
        Self {
            only: None,
            plugin: PLUGIN.to_owned(),
            max_unread: MAX_UNREAD,
            log_format: Vec::new(),
            field: Vec::new(),
            root_id: RootId::default(),
        }
    }
}

/// A form of lines to keep to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Only {
    /// Envoy's access log in JSON or text, with or without `egress_*` fields
    AccessLog,
    /// The filter's own JSON lines
    Filter,
}

impl Only {
    fn admits(self, form: Form) -> bool {
        match self {
            Self::AccessLog => form.is_access_log(),
            Self::Filter => form == Form::Filter,
        }
    }
}

/// Where a request stands: the log by its position among those named, and the line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    log: usize,
    line: u64,
}

/// How many lines of each kind a run has read.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    /// Requests of Envoy's access log.
    pub(crate) access_log: u64,
    /// Requests of the filter's own lines.
    pub(crate) filter: u64,
    /// Requests that others decided: another proxy, or a network.
    others: u64,
    /// Of all, how many stood behind which prefix.
    forms: BTreeMap<(Form, Prefix), u64>,
    /// Of all, those that are connections.
    pub(crate) connections: u64,
    /// Requests that `--only` leaves out.
    pub(crate) left_out: u64,
    /// Lines of others that tell of no request that leaves.
    passed_over: u64,
    /// Requests whose log has no field for the caller.
    pub(crate) without_caller_field: u64,
    /// Requests whose line has no time that can be read.
    without_time: u64,
    /// Lines that are no logged request.
    pub(crate) unread: Unread,
    /// The largest share of unread lines with which an answer is complete, in percent.
    max_unread: u8,
    names: Vec<String>,
}

/// Part of every JSON answer; its keys are stable.
impl Serialize for Tally {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut object = serializer.serialize_struct("Tally", 10)?;
        object.serialize_field("access_log", &self.access_log)?;
        object.serialize_field("filter", &self.filter)?;
        object.serialize_field("others", &self.others)?;
        object.serialize_field("forms", &self.forms())?;
        object.serialize_field("connections", &self.connections)?;
        object.serialize_field("left_out", &self.left_out)?;
        object.serialize_field("passed_over", &self.passed_over)?;
        object.serialize_field("without_caller_field", &self.without_caller_field)?;
        object.serialize_field("without_time", &self.without_time)?;
        object.serialize_field("unread", &self.unread.answer(|place| self.name(place)))?;
        object.end()
    }
}

/// Lines of one form behind one prefix, as JSON answers have them.
#[derive(Debug, serde::Serialize)]
struct FormRow {
    form: &'static str,
    /// With words for what differs from line to line.
    prefix: String,
    lines: u64,
}

impl Tally {
    fn forms(&self) -> Vec<FormRow> {
        let row = |(&(form, prefix), &lines): (&(Form, Prefix), &u64)| FormRow {
            form: form.as_str(),
            prefix: prefix.to_string(),
            lines,
        };
        self.forms.iter().map(row).collect()
    }

    /// From which forms of lines the requests were read.
    pub(crate) fn origin(&self) -> String {
        let part = |(&(form, prefix), &lines): (&(Form, Prefix), &u64)| {
            let form = match form {
                Form::AccessLog => "Envoy's JSON access log",
                Form::TextLog => "Envoy's text access log",
                Form::Filter => "the filter",
                Form::Smokescreen => "Smokescreen's log",
                Form::Squid => "Squid's log",
                Form::Hubble => "Hubble's flows",
            };
            match prefix.to_string().as_str() {
                "" => format!("{} of {form}", counted(lines, "line")),
                prefix => format!("{} of {form} behind `{prefix}`", counted(lines, "line")),
            }
        };
        let parts: Vec<_> = self.forms.iter().map(part).collect();
        format!("Read from {}", parts.join(", "))
    }

    /// The requests that were folded.
    pub(crate) fn requests(&self) -> u64 {
        self.access_log + self.filter + self.others
    }

    /// `file:line`.
    pub(crate) fn name(&self, place: Place) -> String {
        let name = self.names.get(place.log).map_or("", String::as_str);
        format!("{name}:{}", place.line)
    }

    /// Whether the unread lines are no more than the stated share. A line that `--only` leaves out is
    /// read; one with nothing in it is none.
    pub(crate) fn is_complete(&self) -> bool {
        u128::from(self.unread.lines) * 100
            <= u128::from(self.lines()) * u128::from(self.max_unread)
    }

    /// How a command ends that would end so, had it read everything.
    pub(crate) fn outcome(&self, of_answer: Outcome) -> Outcome {
        if self.is_complete() { of_answer } else { Outcome::Incomplete }
    }

    /// The first line of an answer in text that is not complete.
    pub(crate) fn caveat(&self) -> Option<String> {
        let caveat = || {
            let shortfall = self.shortfall();
            format!(
                "INCOMPLETE: {shortfall} (`--max-unread`). This answer is about the others only."
            )
        };
        (!self.is_complete()).then(caveat)
    }

    /// How much was not read, where that is too much.
    fn shortfall(&self) -> String {
        let lines = counted(self.lines(), "line");
        format!(
            "{} of {lines} could not be read, more than {} %",
            self.unread.lines, self.max_unread
        )
    }

    /// That not a single request was read, and why.
    pub(crate) fn nothing_read(&self) -> Option<Failure> {
        (self.requests() == 0).then(|| nothing_read(self))
    }

    fn lines(&self) -> u64 {
        self.requests() + self.left_out + self.passed_over + self.unread.lines
    }

    /// Says what somebody should know before he believes the answer.
    pub(crate) fn tell(&self, console: &mut Console) {
        if !self.is_complete() {
            console.fail(&too_little_read(self));
        }
        for note in self.notes() {
            console.note(note);
        }
    }

    /// The logs, as messages name them.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.names.iter().map(String::as_str)
    }

    /// The same, one note a line.
    pub(crate) fn notes(&self) -> Vec<String> {
        let mut notes = self.unread.notes(|place| self.name(place));
        if self.access_log > 0 && self.filter > 0 {
            notes.push(format!(
                "both forms of lines are there, {} of the access log and {} of the filter: a \
                 request that stands in both counts twice; `--only access-log` leaves the \
                 filter's out",
                self.access_log, self.filter
            ));
        }
        let without_caller_field = self.without_caller_field.saturating_sub(self.others);
        if without_caller_field > 0 {
            notes.push(format!(
                "{} of a log without `source_principal`: callers are judged as not verified",
                counted(without_caller_field, "request")
            ));
        }
        if self.others > 0 {
            notes.push(format!(
                "{} of a log that names no SPIFFE id (a role, an address or a pod is none): callers \
                 are judged as not verified",
                counted(self.others, "request")
            ));
        }
        if self.passed_over > 0 {
            notes.push(format!(
                "lines that tell of no request that leaves, and are passed over: {}",
                self.passed_over
            ));
        }
        if self.without_time > 0 {
            notes.push(format!(
                "{} without a time that can be read (`start_time`, `@timestamp` or `timestamp`): \
                 nothing that depends on the time is concluded from them",
                counted(self.without_time, "request")
            ));
        }
        notes
    }

    fn add(&mut self, other: Self) {
        self.access_log += other.access_log;
        self.filter += other.filter;
        self.others += other.others;
        for (form, lines) in other.forms {
            *self.forms.entry(form).or_default() += lines;
        }
        self.connections += other.connections;
        self.left_out += other.left_out;
        self.passed_over += other.passed_over;
        self.without_caller_field += other.without_caller_field;
        self.without_time += other.without_time;
        self.unread.add(other.unread);
    }
}

/// Folds every request of the logs. `fold` takes one request into what its chunk of lines comes to,
/// on any core; `merge` takes what the chunks come to, in the order of the log, and may end the run.
///
/// Logs without a single request are a failure: an answer about nothing would look like a good one.
pub(crate) fn scan<T: Default + Send>(
    paths: &[PathBuf],
    choice: &Choice,
    fold: impl Fn(&mut T, &Logged<'_>, Place) + Sync,
    merge: impl FnMut(T) -> Result<(), Failure>,
) -> Result<Tally, Failure> {
    let tally = scan_any(paths, choice, fold, merge)?;
    tally.nothing_read().map_or(Ok(tally), Err)
}

/// The same for those who tell themselves that there is no request, see [`Tally::nothing_read`].
pub(crate) fn scan_any<T: Default + Send>(
    paths: &[PathBuf],
    choice: &Choice,
    fold: impl Fn(&mut T, &Logged<'_>, Place) + Sync,
    mut merge: impl FnMut(T) -> Result<(), Failure>,
) -> Result<Tally, Failure> {
    let mut tally = Tally {
        names: paths.iter().map(|path| input::name(path)).collect(),
        max_unread: choice.max_unread,
        ..Tally::default()
    };
    let mut progress = Progress::new(paths);
    let chunks = Mutex::new(Chunks::new(paths, progress.bar()));
    let reader = Reader::new(choice);
    let is_over = AtomicBool::new(false);
    let cores = thread::available_parallelism().map_or(1, usize::from);
    // Bounded, so that those who fold do not run ahead of the one who merges.
    let (sender, receiver) = mpsc::sync_channel(cores);
    let result = thread::scope(|scope| {
        for _ in 0..cores {
            let sender = sender.clone();
            let (chunks, is_over, fold, reader) = (&chunks, &is_over, &fold, &reader);
            scope.spawn(move || {
                while !is_over.load(Ordering::Relaxed) {
                    let chunk = chunks.lock().unwrap_or_else(PoisonError::into_inner).next();
                    let (number, folded) = match chunk {
                        Some((number, Ok(chunk))) => {
                            (number, Ok(fold_chunk(&chunk, reader, choice.only, fold)))
                        }
                        Some((number, Err(failure))) => (number, Err(failure)),
                        None => break,
                    };
                    if sender.send((number, folded)).is_err() {
                        break;
                    }
                }
            });
        }
        drop(sender);
        let mut in_order = InOrder::default();
        for (number, folded) in receiver {
            in_order.waiting.insert(number, folded);
            while let Some(folded) = in_order.next() {
                let merged = folded.and_then(|(chunk_tally, value)| {
                    tally.add(chunk_tally);
                    progress.tell(tally.lines());
                    merge(value)
                });
                if merged.is_err() {
                    is_over.store(true, Ordering::Relaxed);
                    return merged;
                }
            }
        }
        Ok(())
    });
    progress.finish();
    result?;
    Ok(tally)
}

/// Reads bytes as one log, as every command does that is told nothing else about it. `see` gets each
/// request. Says how many lines are none; all is none where the bytes are of a form that is not read.
pub(crate) fn read_bytes(bytes: Vec<u8>, see: &mut dyn FnMut(&Logged<'_>)) -> u64 {
    let Ok(bytes) = compression::decode(Box::new(Cursor::new(bytes))) else { return 1 };
    let (choice, mut log, mut others) = (Choice::default(), Log::new(0, bytes), 0);
    let reader = Reader::new(&choice);
    while let Ok(Some(chunk)) = log.next() {
        for (line, _) in chunk.lines() {
            reader.read(line, &mut |read| match read {
                Ok(logged) => see(&logged),
                Err(_) => others += 1,
            });
        }
    }
    others
}

fn fold_chunk<T: Default>(
    chunk: &Chunk,
    reader: &Reader<'_>,
    only: Option<Only>,
    mut fold: impl FnMut(&mut T, &Logged<'_>, Place),
) -> (Tally, T) {
    let (mut tally, mut value) = (Tally::default(), T::default());
    for (line, number) in chunk.lines() {
        let place = Place { log: chunk.log, line: number };
        reader.read(line, &mut |read| match read {
            Ok(logged) if only.is_none_or(|only| only.admits(logged.form())) => {
                match logged.form() {
                    Form::AccessLog | Form::TextLog => tally.access_log += 1,
                    Form::Filter => tally.filter += 1,
                    Form::Smokescreen | Form::Squid | Form::Hubble => tally.others += 1,
                }
                *tally.forms.entry((logged.form(), logged.prefix())).or_default() += 1;
                tally.connections += u64::from(logged.is_connection());
                tally.without_caller_field += u64::from(!logged.has_caller_field());
                tally.without_time += u64::from(logged.time().is_none());
                fold(&mut value, &logged, place);
            }
            Ok(_) => tally.left_out += 1,
            Err(Problem::PassedOver) => tally.passed_over += 1,
            Err(problem) => tally.unread.push(place, problem, line),
        });
    }
    (tally, value)
}

/// Results by the number of their chunk, given back in order.
struct InOrder<T> {
    due: u64,
    waiting: BTreeMap<u64, T>,
}

impl<T> Default for InOrder<T> {
    fn default() -> Self {
        Self { due: 0, waiting: BTreeMap::new() }
    }
}

impl<T> InOrder<T> {
    fn next(&mut self) -> Option<T> {
        let value = self.waiting.remove(&self.due)?;
        self.due += 1;
        Some(value)
    }
}

fn too_little_read(tally: &Tally) -> Failure {
    let remedy = "give logs of a form that `replay --help` lists, or allow more by `--max-unread`";
    Failure::new(tally.names.join(", "), tally.shortfall(), remedy)
}

fn nothing_read(tally: &Tally) -> Failure {
    let problem = match tally.unread.first() {
        _ if tally.left_out > 0 => {
            format!("none of {} logged requests has the form that `--only` names", tally.left_out)
        }
        Some(sample) => format!(
            "none of {} lines is a logged request; the first, {}, is {}",
            tally.unread.lines,
            tally.name(sample.place),
            sample.problem
        ),
        None if tally.passed_over > 0 => {
            format!("none of {} lines tells of a request that leaves", tally.passed_over)
        }
        None => "no line at all".to_owned(),
    };
    let remedy = "give Envoy's access log in JSON or text (`--log-format` for a format of your own), the \
                  filter's own lines, or the log of Smokescreen, Squid or Hubble";
    Failure::new(tally.names.join(", "), problem, remedy)
}
