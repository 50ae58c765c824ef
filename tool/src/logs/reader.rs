//! Which records a line holds: its own, or those that envelopes hold, one within another.
//!
//! An envelope is what collectors put around a line: an object with the line under a known key, as text
//! or as the object that it was, or a list of such. The text in it is read like a line of its own: a
//! record must begin it, or follow a known prefix. What a program says of itself (an object with a
//! `level`) is no envelope of others' lines; of those only Istio's proxy passes on what its plugins say,
//! and there only the filter's own line is read.

use super::chunks::MAX_LINE;
use super::decisions::{self, Told};
use super::documents::{self, Fed, Splitter};
use super::line::{Fields, Inner, Logged, is_envelope_key};
use super::names::{LogFormat, Name};
use super::prefix::{self, Prefix, Start};
use super::text::{self, Formats};
use super::unread::Problem;
use super::{Choice, Form};
use egress_warden::time::Time;
use serde_json::Value;

/// Reads lines as a choice of logs asks.
#[derive(Debug)]
pub(super) struct Reader<'c> {
    plugin: &'c str,
    names: Vec<Name>,
    /// The formats of text that somebody gave, which replace the default ones.
    formats: Formats,
}

/// Where a text stands.
#[derive(Clone, Copy, Default)]
struct Within {
    depth: usize,
    /// Whether it is what a program says of itself.
    is_message: bool,
    /// When a collector got it.
    time: Option<Time>,
}

/// How many envelopes may lie within each other.
const MAX_DEPTH: usize = 8;

/// Gets the records of a line, and for each other thing that it holds why it is none.
type Give<'g> = &'g mut dyn FnMut(Result<Logged<'_>, Problem>);

impl<'c> Reader<'c> {
    pub(super) fn new(choice: &'c Choice) -> Self {
        let mut names = choice.field.clone();
        let mut formats = Vec::new();
        for format in &choice.log_format {
            match format {
                LogFormat::Text(format) => formats.push(format.clone()),
                LogFormat::Json(keys) => names.extend(keys.iter().cloned()),
            }
        }
        Self { plugin: &choice.plugin, names, formats: Formats::new(formats) }
    }

    /// Gives out what a line holds; nothing where it is blank.
    pub(super) fn read(&self, line: &[u8], give: Give<'_>) {
        if line.len() > MAX_LINE {
            return give(Err(Problem::TooLong));
        }
        let Ok(text) = std::str::from_utf8(line) else { return give(Err(Problem::NotUtf8)) };
        if text.trim().is_empty() {
            return;
        }
        if let Err(problem) = self.text(text, Within::default(), give) {
            give(Err(problem));
        }
    }

    /// Gives out the records of a text, or says why there is none.
    fn text(&self, text: &str, within: Within, give: Give<'_>) -> Result<(), Problem> {
        let start = Prefix::split(text, self.plugin)?;
        if !self.formats.is_empty() && self.format(&self.formats, text, &start, within, give)? {
            return Ok(());
        }
        let Start { prefix, record } = start;
        if record.starts_with('{') {
            return self.object(record, prefix, within, give);
        }
        if documents::opens(record.as_bytes(), false) {
            return self.list(record, within, give);
        }
        if self.formats.is_empty() && self.format(text::defaults(), text, &start, within, give)? {
            return Ok(());
        }
        if self.formats.is_empty()
            && !within.is_message
            && !start.prefix.is_of_proxy_log()
            && let Some(told) = decisions::of_text(record)?
        {
            return self.told(told, prefix, within, give);
        }
        Err(prefix::problem(text))
    }

    /// Gives out what others decided.
    fn told(
        &self,
        told: Told<'_>,
        prefix: Prefix,
        within: Within,
        give: Give<'_>,
    ) -> Result<(), Problem> {
        match told {
            Told::PassedOver => Err(Problem::PassedOver),
            Told::Decision(decision) => {
                let logged = Logged::of_decision(prefix.within(within.depth > 0), decision);
                give(Ok(logged.or_at(within.time)));
                Ok(())
            }
        }
    }

    /// Reads a text by formats, and says whether one fits.
    fn format(
        &self,
        formats: &Formats,
        text: &str,
        start: &Start<'_>,
        within: Within,
        give: Give<'_>,
    ) -> Result<bool, Problem> {
        // Envoy's own log holds what callers sent, and no access log.
        if within.is_message || start.prefix.is_of_proxy_log() {
            return Ok(false);
        }
        let whole = match start.record.len() == text.len() {
            true => None,
            false => formats.read(text)?,
        };
        let (prefix, fields) = match (whole, formats.read(start.record)?) {
            (None, None) => return Ok(false),
            (None, Some(fields)) => (start.prefix, fields),
            (Some(fields), None) => (Prefix::NONE, fields),
            (Some(_), Some(_)) => return Err(Problem::Ambiguous),
        };
        give(Ok(Logged::of_text(prefix.within(within.depth > 0), fields)?.or_at(within.time)));
        Ok(true)
    }

    fn object(
        &self,
        text: &str,
        prefix: Prefix,
        within: Within,
        give: Give<'_>,
    ) -> Result<(), Problem> {
        let record = match prefix.names_thread_behind() {
            true => without_thread(text),
            false => text,
        };
        let fields = Fields::parse(record, &self.names)?;
        if fields.form().is_some() || prefix.is_of_proxy_log() {
            return self.record(fields, prefix, within, give);
        }
        let may_be_decision = !within.is_message && decisions::may_be(record);
        if may_be_decision && let Some(told) = decisions::of_object(record)? {
            return self.told(told, prefix, within, give);
        }
        let has_list = fields.has_list();
        let problem = match self.envelope(fields, within, give) {
            Ok(()) => return Ok(()),
            Err(Problem::OtherObject) if may_be_decision => {
                match self.decision_within(record, within, give)? {
                    true => return Ok(()),
                    false => Problem::OtherObject,
                }
            }
            Err(problem) => problem,
        };
        if has_list { self.list(record, within, give) } else { Err(problem) }
    }

    fn record(
        &self,
        fields: Fields<'_>,
        prefix: Prefix,
        within: Within,
        give: Give<'_>,
    ) -> Result<(), Problem> {
        if within.is_message && !prefix.is_of_proxy_log() {
            return Err(Problem::OtherObject);
        }
        let logged = Logged::of_object(prefix.within(within.depth > 0), fields)?;
        give(Ok(logged.or_at(within.time)));
        Ok(())
    }

    /// Gives out what others decided, where a collector has read their line and keeps it as an object.
    /// Says whether there is one.
    fn decision_within(
        &self,
        record: &str,
        within: Within,
        give: Give<'_>,
    ) -> Result<bool, Problem> {
        let mut held = serde_json::from_str::<Value>(record).map_err(|_| Problem::NotJson)?;
        for depth in within.depth + 1..=MAX_DEPTH {
            let Value::Object(object) = held else { break };
            let inner = object.into_iter().find(|(key, it)| is_envelope_key(key) && it.is_object());
            let Some((_, object)) = inner else { break };
            let text = object.to_string();
            if let Some(told) = decisions::of_object(&text)? {
                let within = Within { depth, ..within };
                return self.told(told, Prefix::NONE, within, give).map(|()| true);
            }
            held = object;
        }
        Ok(false)
    }

    /// Gives out what an envelope holds: the first that is a record, and objects before texts, because a
    /// collector that has read a line may keep both.
    fn envelope(&self, fields: Fields<'_>, within: Within, give: Give<'_>) -> Result<(), Problem> {
        if within.depth == MAX_DEPTH {
            return Err(Problem::OtherObject);
        }
        let (is_message, may_be_filters) = (fields.is_message(), fields.is_of_plugins());
        let inside = Within {
            depth: within.depth + 1,
            is_message: within.is_message || is_message,
            time: fields.time().or(within.time),
        };
        let (mut texts, mut problem) = (Vec::new(), None);
        for inner in fields.into_inner() {
            let read = match inner {
                Inner::Text(_) if is_message && !may_be_filters => continue,
                Inner::Text(text) => {
                    texts.push(text);
                    continue;
                }
                Inner::Object(fields) if fields.form().is_some() => {
                    // What was an object in the log of a program is what it read, and no message.
                    let inside = Within { is_message: false, ..inside };
                    self.record(*fields, Prefix::NONE, inside, give)
                }
                Inner::Object(fields) => self.envelope(*fields, inside, give),
            };
            match read {
                Ok(()) => return Ok(()),
                Err(other) => problem = problem.or(Some(other)),
            }
        }
        for text in texts {
            match self.text(text.trim_end_matches(['\n', '\r']), inside, give) {
                Ok(()) => return Ok(()),
                Err(Problem::NoObject) => {}
                // What a text says of itself tells more than an object that is no record.
                Err(other) => problem = Some(other),
            }
        }
        Err(problem.unwrap_or(Problem::OtherObject))
    }

    /// Gives out what a list holds, and what lists within a record of a store's answer hold.
    fn list(&self, text: &str, within: Within, give: Give<'_>) -> Result<(), Problem> {
        if within.depth == MAX_DEPTH {
            return Err(Problem::OtherObject);
        }
        let (mut items, mut splitter) = (Vec::new(), Splitter::default());
        let mut keep = |item: &[u8], _| items.push(item.to_vec());
        match splitter.feed(text.as_bytes(), &mut 0, &mut keep) {
            Fed::End(end) if text.get(end..).is_some_and(|rest| rest.trim().is_empty()) => {}
            Fed::All => return Err(Problem::HalfWritten),
            Fed::End(_) | Fed::Broken(_) => return Err(Problem::NotJson),
        }
        let inside = Within { depth: within.depth + 1, ..within };
        for item in items {
            let item = std::str::from_utf8(&item).map_err(|_| Problem::NotUtf8)?;
            if let Err(problem) = self.text(item, inside, give) {
                give(Err(problem));
            }
        }
        Ok(())
    }
}

/// Istio's proxy writes `<tab>thread=17` behind what it was told to log; no text of JSON holds a tab.
pub(super) fn without_thread(text: &str) -> &str {
    let text = text.trim_end();
    match text.rsplit_once("\tthread=") {
        Some((record, number)) if number.bytes().all(|byte| byte.is_ascii_digit()) => record,
        _ => text,
    }
}

impl Form {
    /// Whether it is of Envoy's access log.
    pub(super) fn is_access_log(self) -> bool {
        matches!(self, Self::AccessLog | Self::TextLog)
    }
}
