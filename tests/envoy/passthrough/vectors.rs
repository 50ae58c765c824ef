//! Hostile connections as data: what the files under `tests/hellos` may say.
//!
//! Every vector meets both policies of `tests/hostile/policies`. One more needs no Rust.
//!
//! | key of a vector | holds |
//! |---|---|
//! | `name` | a sentence |
//! | `names` | a ClientHello to each of these |
//! | `hello`, `hellos` | each as [`Hello`] says |
//! | `raw`, `raws` | the first bytes as written |
//! | `writes` | how many bytes go out at a time; absent, all at once |
//! | `expect` | what must come of each; by policy: `{PA: allow, PD: deny}` |
//! | `reason` | the record's reason where the filter refuses (`rule` where a rule decided) |
//!
//! | `expect` | on the wire | on the mock host |
//! |---|---|---|
//! | `allow` | every byte that was sent arrives, the answer comes back | it goes on |
//! | `deny` | the filter closes it, nothing at the upstream, not even a connection | it is closed |
//! | `refused` | Envoy or the filter closes it, as versions differ; nothing at the upstream | not shown |
//! | `rejected` | Envoy closes it before the filter hears of it; nothing at the upstream | not shown |

use serde::Deserialize;

use egress_warden_simulate::Bytes;
use envoy_kit::tls::hello::Hello;
use kit::case::files;
use kit::hostile_vectors::PerPolicy;

const DIRECTORY: &str = "tests/hellos";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct VectorFile {
    #[serde(rename = "about")]
    _about: String,
    vectors: Vec<Vector>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Vector {
    pub(crate) name: String,
    #[serde(default)]
    names: Vec<Bytes>,
    hello: Option<Hello>,
    #[serde(default)]
    hellos: Vec<Hello>,
    raw: Option<Bytes>,
    #[serde(default)]
    raws: Vec<Bytes>,
    #[serde(default = "usize::max_value")]
    pub(crate) writes: usize,
    expect: PerPolicy<Word>,
    reason: Option<PerPolicy<String>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Word {
    Allow,
    Deny,
    Refused,
    Rejected,
}

/// Every vector, each with its file before its name.
pub(crate) fn read() -> Vec<Vector> {
    let mut vectors = Vec::new();
    for file in files::read(DIRECTORY) {
        let read: VectorFile = serde_saphyr::from_str(&file.text)
            .unwrap_or_else(|error| panic!("{}: {error}", file.name));
        vectors.extend(read.vectors.into_iter().map(|mut vector| {
            assert!(vector.openings().next().is_some(), "{}: nothing is sent", vector.name);
            vector.name = format!("{}: {}", file.name, vector.name);
            vector
        }));
    }
    assert!(!vectors.is_empty(), "no vector was found");
    vectors
}

impl Vector {
    /// The first bytes of each connection.
    pub(crate) fn openings(&self) -> impl Iterator<Item = Vec<u8>> {
        let hellos = self.hellos().map(|hello| hello.to_bytes());
        hellos.chain(self.raw.iter().chain(&self.raws).map(|Bytes(raw)| raw.clone()))
    }

    fn hellos(&self) -> impl Iterator<Item = Hello> {
        self.names
            .iter()
            .map(|Bytes(name)| Hello::to(name))
            .chain(self.hello.iter().chain(&self.hellos).cloned())
    }

    /// The server names that Envoy shows, in lower case, where each hello has exactly one.
    pub(crate) fn shown(&self) -> impl Iterator<Item = Vec<u8>> {
        self.hellos().filter_map(|hello| match hello.names.as_deref() {
            Some([Bytes(name)]) => Some(name.to_ascii_lowercase()),
            _ => None,
        })
    }

    pub(crate) fn expected(&self, policy: &str) -> Word {
        *self.expect.under(policy).expect("an expectation for each policy")
    }

    pub(crate) fn reason(&self, policy: &str) -> Option<&str> {
        self.reason.as_ref()?.under(policy).map(String::as_str)
    }
}
