//! The proxy's state, with Envoy's meaning of each host call.
//!
//! Read in Envoy's `source/extensions/common/wasm/context.cc`, `source/common/http/header_map_impl.cc`
//! and in proxy-wasm-cpp-host's `src/exports.cc`; where they surprise, a comment says so.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::rc::Rc;

use super::misbehaviour::{Calls, Misbehaviour};

/// One host, seen by the guest's imports and by the worker that drives the guest.
pub type SharedHost = Rc<RefCell<Host>>;

/// The statuses of ABI 0.2.1 that this host answers with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    NotFound = 1,
    BadArgument = 2,
    InvalidMemoryAccess = 6,
    Unimplemented = 12,
}

/// The levels of `proxy_log`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    Trace,
    Debug,
    Info,
    Warn,
    Error,
    Critical,
}

/// A line that passed the proxy's log level.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    pub level: Level,
    pub text: String,
}

/// The answer that the filter asked for, before Envoy makes a response of it (for gRPC callers it
/// becomes a 200 with `grpc-status` and the body as `grpc-message`; HEAD loses the body).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalReply {
    pub status: u32,
    pub details: String,
    pub headers: Headers,
    pub body: Vec<u8>,
    pub grpc_status: Option<u32>,
}

pub struct Host {
    /// Nanoseconds since the Unix epoch; `None` where the clock cannot be read.
    pub clock: Option<u64>,
    /// Lines under it are dropped.
    pub log_level: Level,
    pub lines: Vec<Line>,
    /// Values of counters by name.
    pub counters: BTreeMap<String, u64>,
    /// Values of gauges by name.
    pub gauges: BTreeMap<String, u64>,
    /// How often each import was called.
    pub calls: BTreeMap<String, u64>,
    /// What goes wrong.
    pub misbehaviour: Option<(Calls, Misbehaviour)>,
    /// The configuration, while a plugin is being configured.
    pub plugin_configuration: Option<Vec<u8>>,
    /// The context whose callback is running.
    pub context: u32,
    pub streams: HashMap<u32, StreamState>,
    /// The roots that are called back every so many milliseconds.
    pub tick_periods: HashMap<u32, u32>,
    /// The root of every stream.
    pub roots: HashMap<u32, u32>,
    /// The ids by which plugins name their roots, by the root's context.
    pub root_ids: HashMap<u32, String>,
    /// The proxy's node id.
    pub node_id: Option<String>,
    /// The properties that outlive a redirect, by the root that said so.
    pub kept: BTreeSet<(u32, String)>,
    /// Kinds and names of the metrics by definition; the id is made of the place and the kind.
    metrics: Vec<(u32, String)>,
}

/// What the proxy knows of one HTTP stream, or of one connection.
#[derive(Clone, Debug, Default)]
pub struct StreamState {
    pub request_headers: Headers,
    /// Attributes by their path, its parts joined by NUL.
    pub properties: BTreeMap<String, Vec<u8>>,
    /// In the order in which its keys were first set.
    pub filter_state: Vec<(String, Vec<u8>)>,
    /// Every reply that was asked for; Envoy sends the first.
    pub local_replies: Vec<LocalReply>,
    /// How often the caller's connection was closed.
    pub closings: usize,
}

/// Envoy gives metrics ids in steps of four; the low bits tell the kind of metric.
const METRIC_ID_STEP: u32 = 4;
const COUNTER: u32 = 0;
const GAUGE: u32 = 1;
/// The number of the request's header map.
const REQUEST_HEADERS: u32 = 0;
/// Under which filter state a property that a filter sets is kept.
pub const FILTER_STATE_PREFIX: &str = "wasm.";

impl Default for Host {
    fn default() -> Self {
        Self {
            clock: Some(1_767_225_600_000_000_000), // 2026-01-01T00:00:00Z
            log_level: Level::Info,
            lines: Vec::new(),
            counters: BTreeMap::new(),
            gauges: BTreeMap::new(),
            calls: BTreeMap::new(),
            misbehaviour: None,
            plugin_configuration: None,
            context: 0,
            streams: HashMap::new(),
            tick_periods: HashMap::new(),
            roots: HashMap::new(),
            root_ids: HashMap::new(),
            node_id: None,
            kept: BTreeSet::new(),
            metrics: Vec::new(),
        }
    }
}

impl Host {
    pub fn current_time(&self) -> Result<u64, Status> {
        self.clock.ok_or(Status::Unimplemented)
    }

    pub fn log(&mut self, level: u32, text: &[u8]) -> Result<(), Status> {
        let level = Level::from_number(level).ok_or(Status::BadArgument)?;
        if level >= self.log_level {
            self.lines.push(Line { level, text: String::from_utf8_lossy(text).into_owned() });
        }
        Ok(())
    }

    pub fn buffer(&self, kind: u32, start: u32, max_size: u32) -> Result<Vec<u8>, Status> {
        const PLUGIN_CONFIGURATION: u32 = 7;
        let configuration = (kind == PLUGIN_CONFIGURATION)
            .then_some(self.plugin_configuration.as_ref())
            .flatten()
            .ok_or(Status::NotFound)?;
        let end = start.checked_add(max_size).ok_or(Status::BadArgument)? as usize;
        let start = (start as usize).min(configuration.len());
        Ok(configuration[start..end.min(configuration.len())].to_vec())
    }

    /// The request's headers. Outside a stream Envoy has no map, and gives an empty one.
    pub fn header_pairs(&self, map: u32) -> Result<Headers, Status> {
        match self.request_headers(map) {
            Ok(headers) => Ok(headers.clone()),
            Err(_) => Ok(Headers::default()),
        }
    }

    pub fn header_value(&self, map: u32, name: &[u8]) -> Result<Vec<u8>, Status> {
        let headers = self.request_headers(map)?;
        headers.first(name).map(<[u8]>::to_vec).ok_or(Status::NotFound)
    }

    pub fn set_header_pairs(&mut self, map: u32, pairs: Headers) -> Result<(), Status> {
        *self.request_headers_mut(map)? = pairs;
        Ok(())
    }

    pub fn add_header(&mut self, map: u32, name: &[u8], value: &[u8]) -> Result<(), Status> {
        self.request_headers_mut(map)?.add(name, value);
        Ok(())
    }

    /// Envoy's `setCopy`: every entry under the name goes, ours comes last.
    pub fn replace_header(&mut self, map: u32, name: &[u8], value: &[u8]) -> Result<(), Status> {
        let headers = self.request_headers_mut(map)?;
        headers.remove(name);
        headers.add(name, value);
        Ok(())
    }

    pub fn remove_header(&mut self, map: u32, name: &[u8]) -> Result<(), Status> {
        self.request_headers_mut(map)?.remove(name);
        Ok(())
    }

    /// An attribute; else, by one name, what a filter has set.
    pub fn property(&self, path: &[u8]) -> Result<Vec<u8>, Status> {
        let path = std::str::from_utf8(path).map_err(|_| Status::NotFound)?;
        if path == "plugin_root_id"
            && let Some(root_id) = self.root_ids.get(&self.context)
        {
            return Ok(root_id.clone().into_bytes());
        }
        if path == "xds\0node\0id" {
            return self.node_id.clone().map(String::into_bytes).ok_or(Status::NotFound);
        }
        let stream = self.stream().ok_or(Status::NotFound)?;
        let key = filter_state_key(path);
        let state = || stream.filter_state.iter().find(|(set, _)| *set == key);
        let value = stream.properties.get(path).or_else(|| Some(&state()?.1));
        value.cloned().ok_or(Status::NotFound)
    }

    /// Kept as filter state under the whole path, NULs included; a later value takes the place of an
    /// earlier one.
    pub fn set_property(&mut self, path: &[u8], value: &[u8]) -> Result<(), Status> {
        let key = filter_state_key(&String::from_utf8_lossy(path));
        let stream = self.stream_mut().ok_or(Status::NotFound)?;
        match stream.filter_state.iter_mut().find(|(set, _)| *set == key) {
            Some((_, earlier)) => *earlier = value.to_vec(),
            None => stream.filter_state.push((key, value.to_vec())),
        }
        Ok(())
    }

    /// Envoy's `declare_property`, of which only a life as long as the request's is known here. A second
    /// declaration of a name is refused.
    pub fn call_foreign_function(&mut self, name: &[u8], arguments: &[u8]) -> Result<(), Status> {
        if name != b"declare_property" {
            return Err(Status::NotFound);
        }
        let declared = arguments.strip_prefix(&[0x0a]).and_then(|rest| {
            let (&length, rest) = rest.split_first()?;
            let (name, rest) = rest.split_at_checked(usize::from(length))?;
            (rest == [0x28, 1]).then(|| String::from_utf8_lossy(name).into_owned())
        });
        let declared = declared.ok_or(Status::BadArgument)?;
        self.kept.insert((self.context, declared)).then_some(()).ok_or(Status::BadArgument)
    }

    /// Of the root of the context that is running; 0 is never.
    pub fn set_tick_period(&mut self, milliseconds: u32) -> Result<(), Status> {
        let root = self.roots.get(&self.context).copied().unwrap_or(self.context);
        match milliseconds {
            0 => self.tick_periods.remove(&root),
            period => self.tick_periods.insert(root, period),
        };
        Ok(())
    }

    /// Until the callback returns.
    pub fn set_effective_context(&mut self, context: u32) -> Result<(), Status> {
        let is_known = self.streams.contains_key(&context) || self.root_ids.contains_key(&context);
        is_known.then(|| self.context = context).ok_or(Status::BadArgument)
    }

    pub fn send_local_reply(&mut self, reply: LocalReply) -> Result<(), Status> {
        let stream = self.stream_mut().ok_or(Status::BadArgument)?;
        stream.local_replies.push(reply);
        Ok(())
    }

    /// Envoy closes what a network filter has; other kinds are nothing it knows here.
    pub fn close_stream(&mut self, kind: u32) -> Result<(), Status> {
        const DOWNSTREAM: u32 = 2;
        let stream = self.stream_mut().filter(|_| kind == DOWNSTREAM);
        stream.ok_or(Status::BadArgument)?.closings += 1;
        Ok(())
    }

    /// A new id at every call, also for a name that is defined already.
    pub fn define_metric(&mut self, kind: u32, name: &[u8]) -> Result<u32, Status> {
        let name = String::from_utf8_lossy(name).into_owned();
        self.values(kind).ok_or(Status::Unimplemented)?.entry(name.clone()).or_default();
        self.metrics.push((kind, name));
        Ok(METRIC_ID_STEP * self.metrics.len() as u32 + kind)
    }

    pub fn increment_metric(&mut self, id: u32, offset: i64) -> Result<(), Status> {
        let offset = u64::try_from(offset).ok().filter(|&offset| offset > 0);
        *self.metric(COUNTER, id)? += offset.ok_or(Status::BadArgument)?;
        Ok(())
    }

    pub fn record_metric(&mut self, id: u32, value: u64) -> Result<(), Status> {
        *self.metric(GAUGE, id)? = value;
        Ok(())
    }

    fn metric(&mut self, kind: u32, id: u32) -> Result<&mut u64, Status> {
        if id % METRIC_ID_STEP != kind {
            return Err(Status::BadArgument);
        }
        let place = (id / METRIC_ID_STEP).checked_sub(1).ok_or(Status::NotFound)?;
        let (defined, name) = self.metrics.get(place as usize).cloned().ok_or(Status::NotFound)?;
        let values = self.values(kind).filter(|_| defined == kind).ok_or(Status::NotFound)?;
        values.get_mut(&name).ok_or(Status::NotFound)
    }

    fn values(&mut self, kind: u32) -> Option<&mut BTreeMap<String, u64>> {
        match kind {
            COUNTER => Some(&mut self.counters),
            GAUGE => Some(&mut self.gauges),
            _ => None,
        }
    }

    fn request_headers(&self, map: u32) -> Result<&Headers, Status> {
        let stream = self.stream().filter(|_| map == REQUEST_HEADERS);
        stream.map(|stream| &stream.request_headers).ok_or(Status::BadArgument)
    }

    fn request_headers_mut(&mut self, map: u32) -> Result<&mut Headers, Status> {
        let stream = self.stream_mut().filter(|_| map == REQUEST_HEADERS);
        stream.map(|stream| &mut stream.request_headers).ok_or(Status::BadArgument)
    }

    fn stream(&self) -> Option<&StreamState> {
        self.streams.get(&self.context)
    }

    fn stream_mut(&mut self) -> Option<&mut StreamState> {
        self.streams.get_mut(&self.context)
    }
}

pub fn filter_state_key(name: &str) -> String {
    format!("{FILTER_STATE_PREFIX}{name}")
}

impl Level {
    fn from_number(number: u32) -> Option<Self> {
        use Level::{Critical, Debug, Error, Info, Trace, Warn};
        [Trace, Debug, Info, Warn, Error, Critical].get(number as usize).copied()
    }
}

/// An ordered multimap of bytes, its names in lower case.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Headers(Vec<(Vec<u8>, Vec<u8>)>);

impl Headers {
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.0.iter().map(|(name, value)| (name.as_slice(), value.as_slice()))
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Every value under a name.
    pub fn values(&self, name: impl AsRef<[u8]>) -> Vec<&[u8]> {
        let name = name.as_ref().to_ascii_lowercase();
        self.iter().filter(|(other, _)| *other == name).map(|(_, value)| value).collect()
    }

    fn first(&self, name: &[u8]) -> Option<&[u8]> {
        self.values(name).first().copied()
    }

    pub fn add(&mut self, name: &[u8], value: &[u8]) {
        self.0.push((name.to_ascii_lowercase(), value.to_vec()));
    }

    pub fn remove(&mut self, name: &[u8]) {
        let name = name.to_ascii_lowercase();
        self.0.retain(|(other, _)| *other != name);
    }
}
