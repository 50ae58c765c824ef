//! Policy text -> tree -> [`Source`] -> [`Config`], or every error of the text in one go.
//!
//! Reading is a pure function of the bytes and of the environment that holds the secrets: no clock, no
//! proxy, the same answer in every worker. The tree may be the caller's own, which knows where everything
//! stands: there is one reader for all.

mod canonical;
mod error;
mod json;
mod order;
mod policy;
mod reader;
mod rule;
mod source;
mod stamp;
mod tree;
mod words;

pub use canonical::canonical_json;
pub use error::{
    Error, ErrorKind, Errors, Found, Place, Required, Step, Suggestion, TextError, Type,
};
pub use reader::{Item, Listed};
pub use rule::{principal_pattern, text_pattern};
pub use source::{Callers, Destinations, List, RuleSource, Source, account_in_principal};
pub use tree::{Node, Value};
pub use words::{RENDER, path_step};

use crate::answer::Answer;
use crate::policy::Policy;
use crate::record::LogRequests;
use crate::stamp::{Environment, Stamps};

/// Largest text, in bytes.
pub const MAX_TEXT: usize = 64 << 20;
/// Most hosts, `notHosts` included, over all rules.
pub const MAX_HOSTS: usize = 1_000_000;
/// Most rules.
pub const MAX_RULES: usize = 100_000;
/// Most headers that one stamp sets, and most that it removes.
pub const MAX_STAMPS: usize = 64;
/// Deepest nesting of arrays and objects.
pub const MAX_DEPTH: usize = 64;
/// Longest name of a policy and longest id of a rule, in bytes.
pub const MAX_NAME: usize = 63;
/// Longest note and longest message, in bytes.
pub const MAX_MESSAGE: usize = 256;

/// All that a policy text says: the policy that decides, and what is done about a decision.
#[derive(Debug)]
pub struct Config {
    /// The policy's name.
    pub name: Box<str>,
    /// The first 48 bits of the SHA-256 of its canonical JSON (RFC 8785).
    pub hash: u64,
    /// The policy as records name it: `name@` and its hash in 12 hex digits.
    pub revision: Box<str>,
    /// How many hosts its rules list, `notHosts` included.
    pub hosts: usize,
    /// What decides.
    pub policy: Policy,
    /// What is written to the headers of requests that pass.
    pub stamps: Stamps,
    /// What callers of refused requests are told.
    pub answer: Answer,
    /// Which requests leave a JSON line in the proxy's log.
    pub log: LogRequests,
}

/// Whether a policy or a rule may have this name.
pub fn is_name(text: &str) -> bool {
    let is_name_byte =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    !text.is_empty() && text.len() <= MAX_NAME && text.bytes().all(is_name_byte)
}

/// Reads a policy in JSON. A text with any error makes no policy, and all of them are told. Its secrets
/// stay as they are written: this is for those who ask, not for a proxy.
pub fn read(text: &[u8]) -> Result<Config, Errors> {
    let root = json::parse(text).map_err(Errors::one)?;
    read_tree(&root).map(Source::compile)
}

/// The same for a proxy, with the secrets of its environment. One that is absent, or that cannot stand
/// in a header, is an error, which does not tell the value.
pub fn read_with_secrets(text: &[u8], environment: Environment) -> Result<Config, Errors> {
    let root = json::parse(text).map_err(Errors::one)?;
    policy::read(&root, Some(environment)).map(Source::compile)
}

/// Reads a policy from a tree, which is nested at most [`MAX_DEPTH`] levels deep.
pub fn read_tree<N: Node>(root: &N) -> Result<Source<'_, N>, Errors> {
    policy::read(root, None)
}
