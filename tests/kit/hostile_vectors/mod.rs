//! Hostile requests as data: what the files under `tests/hostile` may say.
//!
//! The same vectors are sent to real Envoys (`tests/envoy/hostile.rs`) and shown to the module on the
//! mock host. One more vector, or file, needs no Rust.
//!
//! # A file
//!
//! | key | holds |
//! |---|---|
//! | `about` | which part of the subject the file covers: for its reader |
//! | `policies` | policies by name; absent, those of `tests/hostile/policies`: `PA` (default deny) and `PD` (default allow). Every vector meets each of them |
//! | `gateways` | gateways by what sets them apart from the permissive one, see [`Gateway`]; absent, that one alone. Every vector meets each of them |
//! | `vectors` | see below |
//!
//! Every policy stamps `x-egress-id`: the upstream must see the header once, with the policy's own
//! `policy` as its value.
//!
//! # A vector
//!
//! | key | holds |
//! |---|---|
//! | `name` | a sentence |
//! | `authorities` | a GET of `/` from each of these |
//! | `request`, `requests` | each as [`Request`] says |
//! | `raw`, `raws` | HTTP/1 as written: the wire only |
//! | `fields`, `blocks` | HTTP/2 header blocks as written, pairs of name and value: the wire only |
//! | `conversation` | requests on one connection, each with its own `expect`, one after the answer to the other; `together: true`: all at once (pipelined, or as concurrent streams) |
//! | `via` | `[http1]` or `[http2]`; absent, `authorities`, requests and conversations go over both |
//! | `expect` | what must come of each of them; see below |
//! | `reason` | the record's reason where the filter refuses (`rule` where a rule decided), for every policy or by policy |
//! | `upstream` | headers at the upstream, pseudo-headers included: every value of a name. `:authority`, `:method` and `:path` of a request are expected as sent where this does not name them |
//!
//! All text is as `tool/simulate/src/bytes.rs` reads it: text with YAML's escapes, `{hex: "c3bc"}`, or
//! `{repeat: [["a", 63], [".test", 1]]}`.
//!
//! # What must come
//!
//! | `expect` | on the wire | on the mock host |
//! |---|---|---|
//! | `allow` | the upstream gets the request, with exactly our stamp | it goes on, so stamped |
//! | `deny` | the filter answers, zero bytes at the upstream | the filter answers |
//! | `refused` | Envoy or the filter refuses, zero bytes at the upstream | the filter answers |
//! | `rejected` | Envoy refuses by itself, zero bytes at the upstream | not shown to the filter: skip |
//! | `either` | versions of Envoy differ: `refused`, or `allow` where what is forwarded is allowed, which `upstream` must say | skip |
//! | `{same_as: deny.test}` | what comes of a GET of `/` from that authority | the same |
//! | `{PA: allow, PD: deny}` | by policy, each one of the words | the same |

use std::collections::BTreeMap;
use std::fmt::{self, Display, Formatter};

use serde::Deserialize;
use serde_json::Value;

use crate::case::files;
use egress_warden_simulate::Bytes;

const DIRECTORY: &str = "tests/hostile";
const POLICIES: &str = "tests/hostile/policies";

/// One file, with the policies that it leaves to the directory filled in.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VectorFile {
    /// The file's name under the package.
    #[serde(skip)]
    pub name: String,
    #[serde(rename = "about")]
    _about: String,
    #[serde(default)]
    pub policies: BTreeMap<String, Value>,
    #[serde(default = "permissive_gateway")]
    pub gateways: Vec<Gateway>,
    pub vectors: Vec<Vector>,
}

/// What sets a gateway apart from the shipped one with permissive routing.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Gateway {
    /// Whether Envoy resolves dot segments before any filter. Absent, as shipped, and of no
    /// influence on what the file expects.
    pub normalize_path: Option<bool>,
    /// The port that the route's cluster names, as Istio's `outbound|443||…` do; absent, none.
    pub port: Option<u16>,
    /// Whether CONNECT is routed and its tunnels are opened, extended CONNECT included.
    #[serde(default)]
    pub tunnels: bool,
    /// Whether HTTP/1 trailers are passed on.
    #[serde(default)]
    pub trailers: bool,
}

/// A sentence, and the messages that show it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Vector {
    pub name: String,
    #[serde(default)]
    authorities: Vec<Bytes>,
    request: Option<Request>,
    #[serde(default)]
    requests: Vec<Request>,
    raw: Option<Bytes>,
    #[serde(default)]
    raws: Vec<Bytes>,
    fields: Option<Fields>,
    #[serde(default)]
    blocks: Vec<Fields>,
    #[serde(default)]
    pub conversation: Vec<Turn>,
    #[serde(default)]
    pub together: bool,
    #[serde(default)]
    via: Vec<Protocol>,
    expect: Option<Expectation>,
    reason: Option<PerPolicy<String>>,
    #[serde(default)]
    pub upstream: BTreeMap<String, Vec<Bytes>>,
}

/// A header: its name and its value.
pub type Field = (Bytes, Bytes);

/// A header block, pseudo-headers included.
pub type Fields = Vec<Field>;

/// A request of a conversation.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Turn {
    pub request: Request,
    pub expect: Expectation,
}

/// A request that either protocol can carry. Defaults: a GET of `/` without a body.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    pub authority: Bytes,
    #[serde(default = "get")]
    pub method: Bytes,
    /// Not sent with a CONNECT, unless it is an extended one.
    #[serde(default = "root")]
    pub path: Bytes,
    /// The protocol of an extended CONNECT (RFC 8441), which is HTTP/2's alone.
    pub protocol: Option<Bytes>,
    #[serde(default)]
    pub headers: Fields,
    pub body: Option<Bytes>,
    #[serde(default)]
    pub trailers: Fields,
    /// Whether the caller leaves the body without an end, and waits for the answer.
    #[serde(default)]
    pub unfinished: bool,
}

fn permissive_gateway() -> Vec<Gateway> {
    vec![Gateway::default()]
}

fn get() -> Bytes {
    Bytes(b"GET".to_vec())
}

fn root() -> Bytes {
    Bytes(b"/".to_vec())
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Protocol {
    Http1,
    Http2,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(
    untagged,
    expecting = "no such `expect`: use allow, deny, refused, rejected, either, {same_as: HOST}, or a word for each policy, {PA: …, PD: …}"
)]
pub enum Expectation {
    Always(Word),
    Like(Like),
    ByPolicy(BTreeMap<String, Word>),
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Like {
    same_as: Bytes,
}

/// What a vector says of both policies, or of each by its name.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub enum PerPolicy<T> {
    Always(T),
    ByPolicy(BTreeMap<String, T>),
}

impl<T> PerPolicy<T> {
    /// What it says of one policy; `None` where it names others only.
    pub fn under(&self, policy: &str) -> Option<&T> {
        match self {
            Self::Always(one) => Some(one),
            Self::ByPolicy(each) => each.get(policy),
        }
    }
}

/// What must come of a message, see the module's page.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Word {
    Allow,
    Deny,
    Refused,
    Rejected,
    Either,
}

/// What must come of a message under one policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    Is(Word),
    /// What comes of a GET of `/` from this authority.
    SameAs(Bytes),
}

/// What is sent and answered.
#[derive(Clone, Debug)]
pub enum Message {
    Request(Request),
    Raw(Bytes),
    Fields(Fields),
}

impl Display for Message {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Request(request) => request.fmt(formatter),
            Self::Raw(text) => write!(formatter, "`{text}`"),
            Self::Fields(fields) => fmt_fields(fields, formatter),
        }
    }
}

/// Every file, by name.
///
/// # Panics
///
/// Where a file is not as the module's page says.
pub fn read() -> Vec<VectorFile> {
    let policies = policies();
    let files: Vec<_> = files::read(DIRECTORY)
        .into_iter()
        .map(|text| {
            let mut file: VectorFile = parse(&text.name, &text.text);
            file.name = text.name;
            if file.policies.is_empty() {
                file.policies = policies.clone();
            }
            for vector in &file.vectors {
                vector.check(&file);
            }
            file
        })
        .collect();
    assert!(!files.is_empty(), "no file of vectors was found");
    files
}

/// The policies that vectors meet unless their file has its own, by name.
pub fn policies() -> BTreeMap<String, Value> {
    files::read(POLICIES)
        .into_iter()
        .map(|file| {
            let name = file.name.trim_start_matches(POLICIES).trim_matches('/');
            (name.trim_end_matches(".yaml").to_owned(), parse(&file.name, &file.text))
        })
        .collect()
}

fn parse<T: for<'de> Deserialize<'de>>(name: &str, text: &str) -> T {
    serde_saphyr::from_str(text).unwrap_or_else(|error| panic!("{name}: {error}"))
}

impl VectorFile {
    /// Whether the outcomes hold for paths that the filter sees as they were sent.
    pub fn holds_for_paths_as_sent(&self) -> bool {
        self.gateways.iter().any(|gateway| gateway.normalize_path != Some(true))
    }
}

impl Gateway {
    /// The name of the cluster that everything is routed to.
    pub fn cluster_name(&self, subset: &str) -> String {
        match self.port {
            Some(port) => format!("outbound|{port}|{subset}|external"),
            None => format!("external-{subset}"),
        }
    }
}

impl Vector {
    /// What is sent, each on a connection of its own; nothing for a conversation.
    pub fn messages(&self) -> impl Iterator<Item = Message> {
        let authorities = self.authorities.iter().cloned().map(Request::get);
        let requests = self.request.iter().chain(&self.requests).cloned();
        let raws = self.raw.iter().chain(&self.raws).cloned();
        let blocks = self.fields.iter().chain(&self.blocks).cloned();
        authorities
            .chain(requests)
            .map(Message::Request)
            .chain(raws.map(Message::Raw))
            .chain(blocks.map(Message::Fields))
    }

    /// Whether the vector goes over `protocol`.
    pub fn goes_via(&self, protocol: Protocol) -> bool {
        self.via.is_empty() || self.via.contains(&protocol)
    }

    /// What must come of each of [`Vector::messages`].
    pub fn outcome(&self, policy: &str) -> Outcome {
        self.expect.as_ref().expect("checked when read").under(policy)
    }

    /// The record's reason where the filter refuses; absent, any will do.
    pub fn reason(&self, policy: &str) -> Option<&str> {
        self.reason.as_ref()?.under(policy).map(String::as_str)
    }

    fn check(&self, file: &VectorFile) {
        let place = format!("{}: {}", file.name, self.name);
        let messages = self.messages().count();
        match self.conversation.len() {
            0 => assert!(messages > 0 && self.expect.is_some(), "{place}: no message or `expect`"),
            _ => {
                assert!(messages == 0 && self.expect.is_none(), "{place}: not a conversation alone")
            }
        }
        let expectations = self.expect.iter().chain(self.conversation.iter().map(|it| &it.expect));
        for expectation in expectations {
            let named = !self.upstream.is_empty();
            assert!(named || !expectation.may_be(Word::Either), "{place}: no `upstream`");
            if let Expectation::ByPolicy(words) = expectation {
                let (named, known) = (words.keys(), file.policies.keys());
                assert!(named.eq(known), "{place}: not every policy is named, or another one");
            }
        }
    }
}

impl Expectation {
    fn may_be(&self, word: Word) -> bool {
        match self {
            Self::Always(only) => *only == word,
            Self::Like(_) => false,
            Self::ByPolicy(words) => words.values().any(|one| *one == word),
        }
    }

    /// What must come under one policy.
    pub fn under(&self, policy: &str) -> Outcome {
        match self {
            Self::Always(word) => Outcome::Is(*word),
            Self::Like(Like { same_as }) => Outcome::SameAs(same_as.clone()),
            Self::ByPolicy(words) => Outcome::Is(words[policy]),
        }
    }
}

impl Request {
    /// A GET of `/`.
    pub fn get(authority: Bytes) -> Self {
        Self {
            authority,
            method: get(),
            path: root(),
            protocol: None,
            headers: Fields::new(),
            body: None,
            trailers: Fields::new(),
            unfinished: false,
        }
    }

    /// Whether it has no path: a CONNECT that is no extended one.
    pub fn has_no_path(&self) -> bool {
        self.method.0 == b"CONNECT" && self.protocol.is_none()
    }

    /// The headers as Envoy shows them to a filter: names in lower case, an extended CONNECT as the
    /// upgrade that it is over HTTP/1.1.
    pub fn header_pairs(&self) -> Vec<(Vec<u8>, Vec<u8>)> {
        let pair = |name: &str, value: &[u8]| (name.as_bytes().to_vec(), value.to_vec());
        let method = if self.protocol.is_some() { b"GET" } else { &self.method.0[..] };
        let mut pairs = vec![pair(":authority", &self.authority.0), pair(":method", method)];
        if !self.has_no_path() {
            pairs.push(pair(":path", &self.path.0));
            pairs.push(pair(":scheme", b"http"));
        }
        if let Some(protocol) = &self.protocol {
            pairs.push(pair("upgrade", &protocol.0));
            pairs.push(pair("connection", b"upgrade"));
        }
        let headers = self.headers.iter();
        pairs.extend(headers.map(|(name, value)| (name.0.to_ascii_lowercase(), value.0.clone())));
        pairs
    }
}

impl Display for Request {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        let Self { authority, method, path, protocol, headers, trailers, .. } = self;
        write!(formatter, "{method} of `{path}` from `{authority}`")?;
        if let Some(protocol) = protocol {
            write!(formatter, " by {protocol}")?;
        }
        fmt_fields(headers, formatter)?;
        fmt_fields(trailers, formatter)
    }
}

fn fmt_fields(fields: &[Field], formatter: &mut Formatter<'_>) -> fmt::Result {
    const SHOWN: usize = 8;
    for (name, value) in fields.iter().take(SHOWN) {
        write!(formatter, " `{name}: {value}`")?;
    }
    match fields.len().saturating_sub(SHOWN) {
        0 => Ok(()),
        more => write!(formatter, " and {more} more"),
    }
}
