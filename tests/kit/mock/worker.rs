//! A worker of the proxy, with one VM in it.

use std::cell::{Ref, RefMut};
use std::collections::BTreeMap;

use super::guest::Guest;
use super::host::{
    FILTER_STATE_PREFIX, Headers, Host, Level, Line, LocalReply, SharedHost, StreamState,
    filter_state_key,
};
use super::misbehaviour::{Calls, Misbehaviour};

/// Drives a guest as Envoy does: contexts are created, called back and deleted, and every host
/// call in between is made in the name of the context that is running.
pub struct Worker<G> {
    guest: G,
    host: SharedHost,
    last_context: u32,
}

/// One configuration of the plugin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Root {
    id: u32,
    /// What the guest said of the configuration.
    pub accepted: bool,
}

/// A stream or a connection that is open.
#[derive(Debug)]
pub struct Stream {
    id: u32,
    /// How many lines the log had when the stream began.
    first_line: usize,
    /// What the filter did with the request's headers, once it has seen them.
    action: Option<u32>,
}

/// What came of a request or a connection.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Whether it went on to the next filter. One that neither went on nor was answered
    /// hangs until a timeout of the proxy.
    pub passed: bool,
    /// The request's headers as the next filter sees them.
    pub headers: Headers,
    /// The replies that the filter asked for. The first is sent.
    pub replies: Vec<LocalReply>,
    /// How often the filter closed the caller's connection.
    pub closings: usize,
    /// By the name that the filter gave it, in the order in which it was set.
    pub filter_state: Vec<(String, String)>,
    /// What was logged since the stream began.
    pub lines: Vec<Line>,
}

impl<G: Guest> Worker<G> {
    /// A worker whose VM has started.
    pub fn start() -> Self {
        let host = SharedHost::default();
        let mut guest = G::load(SharedHost::clone(&host));
        guest.initialize();
        Self { guest, host, last_context: 0 }
    }

    /// Creates a root context and configures it.
    pub fn configure(&mut self, policy: impl AsRef<[u8]>) -> Root {
        self.configure_as("", policy)
    }

    /// The same under the id by which a plugin names its root.
    pub fn configure_as(&mut self, root_id: &str, policy: impl AsRef<[u8]>) -> Root {
        let policy = policy.as_ref();
        let size = u32::try_from(policy.len()).expect("a policy is smaller than linear memory");
        self.configure_root(root_id, size, policy)
    }

    /// Configures a root with another size announced than the policy has.
    pub fn configure_announcing(&mut self, size: u32, policy: impl AsRef<[u8]>) -> Root {
        self.configure_root("", size, policy.as_ref())
    }

    fn configure_root(&mut self, root_id: &str, size: u32, policy: &[u8]) -> Root {
        let id = self.last_context + 1;
        self.host_mut().root_ids.insert(id, root_id.to_owned());
        assert_eq!(self.create(0), id);
        let started = self.guest.on_vm_start(id, 0);
        self.host_mut().plugin_configuration = Some(policy.to_vec());
        let accepted = started && self.guest.on_configure(id, size);
        self.host_mut().plugin_configuration = None;
        Root { id, accepted }
    }

    /// Ends a root, as Envoy does once another has taken its place.
    pub fn remove(&mut self, root: Root) {
        self.delete(root.id);
    }

    /// A whole request: opens a stream under a root, shows the headers, ends it.
    pub fn send(&mut self, root: Root, request: Request) -> Outcome {
        let mut stream = self.open(root);
        self.show_headers(&mut stream, request);
        self.close(stream)
    }

    /// What Envoy redirects by itself: a request that passed under the root `first` goes through the
    /// filters again, under `root`, in a new stream. Its headers are those that left, but for `changed`;
    /// of filter state only what outlives a redirect is there.
    pub fn redirect(
        &mut self,
        first: Root,
        passed: &Outcome,
        root: Root,
        changed: impl Fn(Request) -> Request,
    ) -> Outcome {
        let headers = passed.headers.clone();
        let request = changed(Request { headers, properties: BTreeMap::new() });
        let mut stream = self.open(root);
        {
            let mut host = self.host_mut();
            let kept = passed
                .filter_state
                .iter()
                .filter(|(name, _)| host.kept.contains(&(first.id, name.clone())));
            let kept: Vec<_> = kept
                .map(|(name, value)| (filter_state_key(name), value.clone().into_bytes()))
                .collect();
            let state = host.streams.get_mut(&stream.id).expect("the stream is open");
            state.filter_state = kept;
        }
        self.show_headers(&mut stream, request);
        self.close(stream)
    }

    /// A whole connection: made under a root, and ended.
    pub fn connect(&mut self, root: Root, connection: Connection) -> Outcome {
        let stream = self.make(root, connection);
        self.close(stream)
    }

    /// Makes a connection under a root, and has its caller send a hello.
    pub fn make(&mut self, root: Root, connection: Connection) -> Stream {
        let mut stream = self.begin(root, connection);
        self.speak(&mut stream);
        stream
    }

    /// Makes a connection under a root; its caller has sent nothing yet. As in Envoy, the certificate
    /// of TLS that the gateway ends is there only when bytes come.
    pub fn begin(&mut self, root: Root, connection: Connection) -> Stream {
        let mut stream = self.open(root);
        {
            let mut host = self.host_mut();
            host.context = stream.id;
            let state = host.streams.get_mut(&stream.id).expect("the connection is made");
            state.properties = connection.properties.clone();
            if state.properties.contains_key("connection\0tls_version") {
                state.properties.remove("connection\0uri_san_peer_certificate");
            }
        }
        stream.action = Some(self.guest.on_new_connection(stream.id));
        let mut host = self.host_mut();
        let state = host.streams.get_mut(&stream.id).expect("the connection is made");
        state.properties = connection.properties;
        stream
    }

    /// Bytes from the caller. As in Envoy, what stopped at first goes on if it does not stop when bytes
    /// come; a connection that is closed has none.
    pub fn speak(&mut self, stream: &mut Stream) {
        if !self.is_closed(stream) {
            self.host_mut().context = stream.id;
            stream.action = Some(self.guest.on_downstream_data(stream.id, 200, false));
        }
    }

    /// Bytes from the upstream; whether they go on to the caller.
    pub fn hear(&mut self, stream: &mut Stream) -> bool {
        self.host_mut().context = stream.id;
        let action = self.guest.on_upstream_data(stream.id, 200, false);
        action == 0 && !self.is_closed(stream)
    }

    /// Whether the filter has closed the caller's connection.
    pub fn is_closed(&self, stream: &Stream) -> bool {
        self.host().streams[&stream.id].closings > 0
    }

    /// Lets a second go by for a root; whether it asked to be called back.
    pub fn tick(&mut self, root: Root) -> bool {
        let ticks = self.host().tick_periods.get(&root.id) == Some(&1_000);
        if ticks {
            self.host_mut().context = root.id;
            self.guest.on_tick(root.id);
        }
        ticks
    }

    pub fn open(&mut self, root: Root) -> Stream {
        let first_line = self.host().lines.len();
        // The proxy has the stream before the guest hears of it.
        let id = self.last_context + 1;
        self.host_mut().streams.insert(id, StreamState::default());
        self.host_mut().roots.insert(id, root.id);
        assert_eq!(self.create(root.id), id);
        Stream { id, first_line, action: None }
    }

    /// Shows a stream the headers of its request. Shown others afterwards, it acts on those.
    pub fn show_headers(&mut self, stream: &mut Stream, request: Request) {
        let count = u32::try_from(request.headers.len()).expect("few headers");
        {
            let mut host = self.host_mut();
            host.context = stream.id;
            let state = host.streams.get_mut(&stream.id).expect("the stream is open");
            state.request_headers = request.headers;
            state.properties = request.properties;
        }
        stream.action = Some(self.guest.on_request_headers(stream.id, count, true));
    }

    pub fn close(&mut self, stream: Stream) -> Outcome {
        self.delete(stream.id);
        let mut host = self.host_mut();
        let state = host.streams.remove(&stream.id).expect("the stream is open");
        let named = |(key, value): (String, Vec<u8>)| {
            let name = key.strip_prefix(FILTER_STATE_PREFIX).expect("Envoy prefixes every key");
            (name.to_owned(), String::from_utf8_lossy(&value).into_owned())
        };
        Outcome {
            // After a local reply Envoy stops the request whatever the filter returned.
            passed: stream.action == Some(0)
                && state.local_replies.is_empty()
                && state.closings == 0,
            headers: state.request_headers,
            replies: state.local_replies,
            closings: state.closings,
            filter_state: state.filter_state.into_iter().map(named).collect(),
            lines: host.lines[stream.first_line..].to_vec(),
        }
    }

    /// Lines under this level are dropped; a fresh worker's is `Info`, Envoy's own default.
    pub fn set_log_level(&mut self, level: Level) {
        self.host_mut().log_level = level;
    }

    /// Sets the proxy's node id, which says where it stands; `None`: it has none.
    pub fn set_node_id(&mut self, id: Option<&str>) {
        self.host_mut().node_id = id.map(str::to_owned);
    }

    /// Sets the proxy's clock, in nanoseconds since the Unix epoch; `None`: it cannot be read.
    pub fn set_clock(&mut self, nanoseconds: Option<u64>) {
        self.host_mut().clock = nanoseconds;
    }

    /// Makes some host calls go wrong, and all others go right again.
    pub fn misbehave(&mut self, calls: Calls, misbehaviour: Misbehaviour) {
        self.host_mut().misbehaviour = Some((calls, misbehaviour));
    }

    /// Makes every host call go right again.
    pub fn behave(&mut self) {
        self.host_mut().misbehaviour = None;
    }

    /// Every line that the log has.
    pub fn lines(&self) -> Vec<Line> {
        self.host().lines.clone()
    }

    /// A counter's value; `None` for one that was never defined.
    pub fn counter(&self, name: &str) -> Option<u64> {
        self.host().counters.get(name).copied()
    }

    /// Every counter that was defined.
    pub fn counters(&self) -> BTreeMap<String, u64> {
        self.host().counters.clone()
    }

    /// Every gauge that was defined.
    pub fn gauges(&self) -> BTreeMap<String, u64> {
        self.host().gauges.clone()
    }

    /// How often the guest has called an import so far.
    pub fn calls(&self, import: &str) -> u64 {
        self.host().calls.get(import).copied().unwrap_or_default()
    }

    /// How often the guest has called each import so far.
    pub fn all_calls(&self) -> BTreeMap<String, u64> {
        self.host().calls.clone()
    }

    /// What the guest's instructions have cost so far, where something counts them.
    pub fn fuel_spent(&self) -> Option<u64> {
        self.guest.fuel_spent()
    }

    /// Bytes of the guest's linear memory, where it has one of its own.
    pub fn memory_size(&self) -> Option<u64> {
        self.guest.memory_size()
    }

    fn create(&mut self, parent: u32) -> u32 {
        self.last_context += 1;
        self.host_mut().context = self.last_context;
        self.guest.on_context_create(self.last_context, parent);
        self.last_context
    }

    fn delete(&mut self, context: u32) {
        self.host_mut().context = context;
        assert!(self.guest.on_done(context), "nothing here holds a context back");
        self.guest.on_log(context);
        self.guest.on_delete(context);
    }

    fn host(&self) -> Ref<'_, Host> {
        self.host.borrow()
    }

    fn host_mut(&mut self) -> RefMut<'_, Host> {
        self.host.borrow_mut()
    }
}

impl Outcome {
    /// The reply that is sent.
    pub fn reply(&self) -> Option<&LocalReply> {
        self.replies.first()
    }

    /// The reply's body as JSON.
    pub fn reply_json(&self) -> serde_json::Value {
        let reply = self.reply().expect("the request was answered");
        serde_json::from_slice(&reply.body).expect("the body is JSON")
    }

    /// The value of filter state that access logs and the guard read.
    pub fn state(&self, name: &str) -> Option<&str> {
        let mut states = self.filter_state.iter();
        states.find(|(set, _)| set == name).map(|(_, value)| value.as_str())
    }
}

/// The headers of a request and what else the proxy knows of its stream.
#[derive(Clone, Debug, Default)]
pub struct Request {
    headers: Headers,
    properties: BTreeMap<String, Vec<u8>>,
}

impl Request {
    /// A request with these headers, as Envoy shows them, and nothing else.
    pub fn new<'a>(headers: impl IntoIterator<Item = (&'a [u8], &'a [u8])>) -> Self {
        headers
            .into_iter()
            .fold(Self::default(), |request, (name, value)| request.header(name, value))
    }

    /// `GET https://{authority}/` as Envoy shows it.
    pub fn get(authority: impl AsRef<[u8]>) -> Self {
        Self::default()
            .header(":authority", authority)
            .header(":path", "/")
            .header(":method", "GET")
            .header(":scheme", "https")
    }

    #[must_use]
    pub fn method(self, method: &str) -> Self {
        self.without(":method").header(":method", method)
    }

    #[must_use]
    pub fn path(self, path: impl AsRef<[u8]>) -> Self {
        self.without(":path").header(":path", path)
    }

    /// Adds a header; the name is lowered as Envoy does.
    #[must_use]
    pub fn header(mut self, name: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Self {
        self.headers.add(name.as_ref(), value.as_ref());
        self
    }

    /// Removes every entry of a header.
    #[must_use]
    pub fn without(mut self, name: &str) -> Self {
        self.headers.remove(name.as_bytes());
        self
    }

    /// Sets an attribute by its path.
    #[must_use]
    pub fn property(mut self, path: &[&str], value: impl AsRef<[u8]>) -> Self {
        self.properties.insert(path.join("\0"), value.as_ref().to_vec());
        self
    }
}

/// What the proxy knows of a connection.
#[derive(Clone, Debug, Default)]
pub struct Connection {
    properties: BTreeMap<String, Vec<u8>>,
}

impl Connection {
    /// A TLS connection whose hello names a server.
    pub fn to(server_name: impl AsRef<[u8]>) -> Self {
        Self::default().property(&["connection", "requested_server_name"], server_name)
    }

    /// Sets an attribute by its path.
    #[must_use]
    pub fn property(mut self, path: &[&str], value: impl AsRef<[u8]>) -> Self {
        self.properties.insert(path.join("\0"), value.as_ref().to_vec());
        self
    }
}
