//! Header operations as data: what is removed from a request that passes, and what is set on it.
//!
//! Upstreams may fold header names: `x_egress_id`, `X.Egress.Id` and `x~egress!id` arrive in some of
//! them as `x-egress-id`. So a name counts for all of its aliases: names are compared in lower case,
//! with every byte that is neither a letter nor a digit read as `-`.

use crate::header_map::Headers;
use crate::key_table::KeyTable;
use crate::token::{header_value, is_token};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

/// Headers that the mesh adds for its own use.
const MESH: [&str; 8] = [
    "x-envoy-attempt-count",
    "x-envoy-decorator-operation",
    "x-envoy-internal",
    "x-envoy-original-dst-host",
    "x-envoy-original-path",
    "x-envoy-peer-metadata",
    "x-envoy-peer-metadata-id",
    "x-forwarded-client-cert",
];

/// Credentials for a proxy (RFC 9110, sections 11.7.1 and 11.7.2): Envoy forwards them, and they are no
/// business of the service behind it.
const PROXY: [&str; 2] = ["proxy-authenticate", "proxy-authorization"];

/// What Envoy sets on a request that it redirects itself (`internal_redirect_policy`): the URL that the
/// redirecting host was asked for, its query included. It leaves in no request.
pub const ORIGINAL_URL: &str = "x-envoy-original-url";

/// Headers that say on whose behalf a request is made.
const FORWARDED: [&str; 5] =
    ["forwarded", "x-envoy-external-address", "x-forwarded-for", "x-forwarded-host", "x-real-ip"];

/// Names that no stamp may touch, beside pseudo-headers and `x-envoy-*`: they frame the message,
/// belong to one hop (RFC 9110, section 7.6.1, and RFC 2616, section 13.5.1), or are the mesh's.
const UNTOUCHABLE: [&str; 9] = [
    "connection",
    "content-length",
    "expect",
    "host",
    "keep-alive",
    "proxy-connection",
    "transfer-encoding",
    "upgrade",
    "x-forwarded-client-cert",
];

/// Names that belong to one hop as well, and that Envoy forwards all the same (1.36.4 to 1.40.0, over
/// HTTP/1 and HTTP/2): a stamp may remove them, not set them.
const REMOVABLE: [&str; 5] =
    ["http2-settings", "proxy-authenticate", "proxy-authorization", "te", "trailer"];

/// The stamps of a policy: its own, those of its rules, and the groups of headers it strips.
#[derive(Debug, Default)]
pub struct Stamps {
    own: Stamp,
    /// The numbers of the names that the policy's own stamp sets, in its order.
    own_names: Vec<u32>,
    /// Whether any rule sets one of these.
    rules_set_own: bool,
    may_be_carried: bool,
    /// By the rule's index in the policy.
    rules: BTreeMap<usize, Stamp>,
    governed: Governed,
}

/// Every name that is stripped, or that any stamp sets or removes, folded. What becomes of a header
/// is one look-up, however many stamps there are.
#[derive(Debug, Default)]
struct Governed {
    /// Folded names, numbered from 0.
    numbers: KeyTable,
    /// What becomes of a name whatever the rule, by its number.
    everywhere: Vec<Fate>,
    /// What becomes of it beside under one rule, by [`rule_key`].
    under_rules: KeyTable,
    /// How long the names are: bit N for N bytes, the last bit for more too. Folding changes no
    /// length, so most of a request's headers need no second look.
    lengths: u64,
}

/// The headers of a request that stamps may concern, found while all of them are read.
#[derive(Debug, Default)]
pub struct Concerned<'a> {
    /// Those that have a number, under this name or any alias.
    numbered: Vec<(u32, &'a [u8])>,
    /// The values of every `connection`.
    connections: Vec<&'a [u8]>,
}

/// What becomes of a header that a caller sends, as bits.
type Fate = u32;

/// It is removed: stripped, removed by a stamp, or reserved for a stamp, so that no caller can
/// forge it.
const REMOVED: Fate = 1;
/// A stamp sets it. What the caller sent under the name is removed, and `Connection` may not name it.
const SET: Fate = 2;
/// A rule sets it, and does not reserve it. A request that Envoy redirects still carries what was set
/// for the host before, so it is removed from that one.
const CARRIED: Fate = 4;

/// What one policy, or one rule, sets and removes.
#[derive(Clone, Debug, Default)]
pub struct Stamp {
    /// Headers with the values they get.
    pub set: Vec<(HeaderName, Template)>,
    /// Headers that are removed.
    pub remove: Vec<HeaderName>,
}

/// The name of a header that a stamp sets or removes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeaderName {
    name: Box<str>,
    folded: Box<str>,
}

/// Groups of headers that do not leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Strip {
    /// Headers that the mesh adds for its own use.
    pub mesh: bool,
    /// Credentials for a proxy.
    pub proxy: bool,
    /// Headers that say on whose behalf a request is made.
    pub forwarded: bool,
}

/// One write to a request's headers. Names and values are bytes as the proxy takes them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operation<'a> {
    /// Every entry of this name goes.
    Remove(&'a [u8]),
    /// The value replaces every entry of this name.
    Set(&'a str, Cow<'a, [u8]>),
    /// The value becomes the only entry of this name, which has none: what the caller sent under it is removed before.
    Add(&'a str, Cow<'a, [u8]>),
}

/// Longest `x-request-id` that a value may hold, in bytes: a caller may choose it, and a policy may
/// write it many times. A UUID has 36.
pub const MAX_REQUEST_ID: usize = 256;

/// The values of placeholders in one request; absent if unknown.
#[derive(Clone, Copy, Debug, Default)]
pub struct Values<'a> {
    /// The id of the named rule.
    pub rule: Option<&'a str>,
    /// The policy's name, without its hash: partners may compare the value.
    pub policy: Option<&'a str>,
    /// The canonical host.
    pub host: Option<&'a str>,
    /// The caller's SPIFFE id without `spiffe://`.
    pub principal: Option<&'a str>,
    /// The caller's namespace.
    pub namespace: Option<&'a str>,
    /// `x-request-id`, of at most [`MAX_REQUEST_ID`] bytes.
    pub request_id: Option<&'a str>,
}

impl Stamps {
    /// Takes the policy's own stamp and those of rules, by their index in the policy.
    pub fn new(strip: Strip, own: Stamp, rules: BTreeMap<usize, Stamp>) -> Self {
        let groups =
            [(strip.mesh, &MESH[..]), (strip.proxy, &PROXY[..]), (strip.forwarded, &FORWARDED[..])];
        let mut governed = Governed::default();
        for name in groups.into_iter().filter(|(wanted, _)| *wanted).flat_map(|(_, group)| group) {
            governed.add(name, REMOVED);
        }
        governed.add(ORIGINAL_URL, REMOVED);
        for name in &own.remove {
            governed.add(name.folded(), REMOVED);
        }
        let own_names =
            own.set.iter().filter_map(|(name, _)| governed.add(name.folded(), SET)).collect();
        let mut rules_set_own = false;
        for (rule, stamp) in &rules {
            for (name, _) in &stamp.set {
                rules_set_own |= governed.fate(None, name.folded().as_bytes()) & SET != 0;
                let is_reserved = name.folded().starts_with("x-");
                let everywhere = if is_reserved { REMOVED } else { CARRIED };
                governed.add_under_rule(*rule, name.folded(), everywhere, SET);
            }
            for name in &stamp.remove {
                governed.add_under_rule(*rule, name.folded(), 0, REMOVED);
            }
        }
        let may_be_carried = governed.everywhere.contains(&CARRIED);
        Self { own, own_names, rules_set_own, may_be_carried, rules, governed }
    }

    /// Whether the stamps that apply to a rule's requests use a placeholder.
    pub fn uses(&self, rule: Option<usize>, placeholder: Placeholder) -> bool {
        self.set_for(rule).any(|(_, template)| template.uses(placeholder))
    }

    /// Whether a request that Envoy redirects may carry what a rule set for the host before.
    pub fn may_be_carried(&self) -> bool {
        self.may_be_carried
    }

    /// Whether a request that Envoy redirects may carry a header of this name that a rule set for the host before.
    pub fn is_carried(&self, name: &[u8]) -> bool {
        let fate = self
            .governed
            .number(name)
            .and_then(|number| self.governed.everywhere.get(usize::try_from(number).ok()?));
        fate.is_some_and(|fate| fate & CARRIED != 0)
    }

    /// Takes note of one header of a request.
    #[inline]
    pub fn note<'a>(&self, concerned: &mut Concerned<'a>, name: &'a [u8], value: &'a [u8]) {
        if let Some(number) = self.governed.number(name) {
            concerned.numbered.push((number, name));
        }
        if name == b"connection" {
            concerned.connections.push(value);
        }
    }

    /// What to write to the headers of a request for which `rule` is named: removals first. Of a
    /// redirected one, whatever any rule may have set for the host before is removed.
    pub fn operations<'a>(
        &'a self,
        rule: Option<usize>,
        headers: &Concerned<'a>,
        values: &Values<'a>,
        is_redirected: bool,
    ) -> impl Iterator<Item = Operation<'a>> {
        let mut removed = Vec::new();
        let mut seen = KeyTable::default();
        let removing = REMOVED | SET | if is_redirected { CARRIED } else { 0 };
        for &(number, name) in &headers.numbered {
            if self.governed.fate_of_number(rule, number) & removing != 0 && is_new(&mut seen, name)
            {
                removed.push(name);
            }
        }
        let connection = self.connection(rule, &headers.connections);
        let values = *values;
        let sets = self.set_for(rule).filter_map(move |(name, template)| {
            Some(Operation::Add(name.as_str(), template.render(&values)?))
        });
        removed.into_iter().map(Operation::Remove).chain(connection).chain(sets)
    }

    /// The names among a request's trailers that may not go on, each once: those under which a header
    /// of the request would be removed. Some upstreams merge trailers into the headers (RFC 9110,
    /// section 6.5.2). Stamps of other rules do not concern this request.
    pub fn forged_trailers<'a>(
        &self,
        rule: Option<usize>,
        trailers: &'a impl Headers,
    ) -> Vec<&'a [u8]> {
        let mut seen = KeyTable::default();
        let names = trailers.iter().map(|(name, _)| name);
        let is_forged = |name: &&[u8]| self.governed.fate(rule, name) & (REMOVED | SET) != 0;
        names.filter(|name| is_forged(name) && is_new(&mut seen, name)).collect()
    }

    /// The new `Connection` if it names a stamped header, which the next hop would drop.
    fn connection<'a>(&self, rule: Option<usize>, values: &[&[u8]]) -> Option<Operation<'a>> {
        let tokens = values
            .iter()
            .flat_map(|value| value.split(|&byte| byte == b','))
            .map(<[u8]>::trim_ascii);
        let mut names_stamp = false;
        let mut kept = Vec::new();
        for token in tokens.filter(|token| !token.is_empty()) {
            if self.governed.fate(rule, token) & SET != 0 {
                names_stamp = true;
                continue;
            }
            if !kept.is_empty() {
                kept.extend_from_slice(b", ");
            }
            kept.extend_from_slice(token);
        }
        if !names_stamp {
            return None;
        }
        Some(match kept.is_empty() {
            true => Operation::Remove(b"connection"),
            false => Operation::Set("connection", Cow::Owned(kept)),
        })
    }

    fn of_rule(&self, rule: Option<usize>) -> Option<&Stamp> {
        self.rules.get(&rule?)
    }

    /// The names and values that apply: the rule's, then the policy's own that the rule leaves.
    fn set_for(&self, rule: Option<usize>) -> impl Iterator<Item = &(HeaderName, Template)> {
        let of_rule = self.of_rule(rule).map(|stamp| &stamp.set[..]).unwrap_or_default();
        let is_left = move |(_, number): &(_, &u32)| {
            !self.rules_set_own || self.governed.under_rule(rule, **number) & SET == 0
        };
        let own = self.own.set.iter().zip(&self.own_names).filter(is_left);
        of_rule.iter().chain(own.map(|(set, _)| set))
    }
}

impl Governed {
    /// Adds to what becomes of a name whatever the rule; its number.
    fn add(&mut self, folded: &str, fate: Fate) -> Option<u32> {
        let next = u32::try_from(self.everywhere.len()).ok()?;
        let (number, is_new) = self.numbers.entry(folded.as_bytes(), next)?;
        if is_new {
            self.everywhere.push(0);
            self.lengths |= length_bit(folded.as_bytes());
        }
        *self.everywhere.get_mut(*number as usize)? |= fate;
        Some(*number)
    }

    /// The same, and what becomes of it beside under one rule.
    fn add_under_rule(&mut self, rule: usize, folded: &str, everywhere: Fate, under_rule: Fate) {
        if let Some(number) = self.add(folded, everywhere)
            && let Some((fate, _)) = self.under_rules.entry(&rule_key(rule, number), 0)
        {
            *fate |= under_rule;
        }
    }

    /// What becomes of a header, under this name or any alias, where `rule` is named.
    fn fate(&self, rule: Option<usize>, name: &[u8]) -> Fate {
        self.number(name).map_or(0, |number| self.fate_of_number(rule, number))
    }

    fn fate_of_number(&self, rule: Option<usize>, number: u32) -> Fate {
        let everywhere = self.everywhere.get(number as usize).copied().unwrap_or_default();
        everywhere | self.under_rule(rule, number)
    }

    /// The number of a name, by any of its aliases.
    #[inline]
    fn number(&self, name: &[u8]) -> Option<u32> {
        let is_as_long = self.lengths & length_bit(name) != 0;
        is_as_long.then(|| self.numbers.get(&fold(name))).flatten()
    }

    fn under_rule(&self, rule: Option<usize>, number: u32) -> Fate {
        rule.and_then(|rule| self.under_rules.get(&rule_key(rule, number))).unwrap_or_default()
    }
}

fn rule_key(rule: usize, name: u32) -> [u8; 8] {
    (rule as u64).wrapping_shl(32).wrapping_add(u64::from(name)).to_le_bytes()
}

/// Whether the name was not seen before. Marks it as seen.
fn is_new(seen: &mut KeyTable, name: &[u8]) -> bool {
    seen.entry(name, 0).is_none_or(|(_, is_new)| is_new)
}

impl HeaderName {
    /// Reads the name of a header to set, as policies write it.
    pub fn to_set(name: &str) -> Result<Self, NameError> {
        let name = Self::to_remove(name)?;
        match REMOVABLE.contains(&name.folded()) {
            true => Err(NameError::Removable),
            false => Ok(name),
        }
    }

    /// Reads the name of a header to remove, as policies write it.
    pub fn to_remove(name: &str) -> Result<Self, NameError> {
        if name.starts_with(':') {
            return Err(NameError::PseudoHeader);
        }
        if !is_token(name.as_bytes()) {
            return Err(NameError::Token);
        }
        if name.bytes().any(|byte| byte.is_ascii_uppercase()) {
            return Err(NameError::Case);
        }
        let folded: String = name.bytes().map(folded).map(char::from).collect();
        if UNTOUCHABLE.contains(&folded.as_str()) || folded.starts_with("x-envoy-") {
            return Err(NameError::Untouchable);
        }
        Ok(Self { name: name.into(), folded: folded.into() })
    }

    /// The name, in lower case.
    pub fn as_str(&self) -> &str {
        &self.name
    }

    /// The name under which all of its aliases fall, see the module's page.
    pub fn folded(&self) -> &str {
        &self.folded
    }
}

/// Why a name cannot be set or removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NameError {
    /// It starts with a colon.
    PseudoHeader,
    /// It is no token (RFC 9110, section 5.6.2).
    Token,
    /// It is not in lower case.
    Case,
    /// It, or an alias of it, frames the message, belongs to one hop, or is the mesh's own.
    Untouchable,
    /// It, or an alias of it, belongs to one hop, and Envoy forwards it: it can be removed, not set.
    Removable,
}

impl fmt::Display for NameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::PseudoHeader => "a pseudo-header",
            Self::Token => "no header name",
            Self::Case => "a header name that is not in lower case",
            Self::Untouchable => "a header that belongs to the proxy or to one hop",
            Self::Removable => "a header that belongs to one hop",
        })
    }
}

impl std::error::Error for NameError {}

fn length_bit(name: &[u8]) -> u64 {
    1_u64.checked_shl(u32::try_from(name.len()).unwrap_or(u32::MAX)).unwrap_or(1 << 63)
}

/// A header name as some upstreams fold it, see the module's page.
fn fold(name: &[u8]) -> Cow<'_, [u8]> {
    match name.iter().all(|byte| folded(*byte) == *byte) {
        true => Cow::Borrowed(name),
        false => Cow::Owned(name.iter().copied().map(folded).collect()),
    }
}

/// What [`fold`] makes of each byte.
#[expect(clippy::indexing_slicing, reason = "an index that is wrong fails the build")]
const FOLDED: [u8; 256] = {
    let mut table = [b'-'; 256];
    let mut byte = 0_u8;
    while byte < u8::MAX {
        byte += 1;
        if byte.is_ascii_alphanumeric() {
            table[byte as usize] = byte.to_ascii_lowercase();
        }
    }
    table
};

fn folded(byte: u8) -> u8 {
    FOLDED.get(usize::from(byte)).copied().unwrap_or(b'-')
}

/// A header value with placeholders.
///
/// `{rule} {policy} {host} {principal} {namespace} {request_id}` stand for facts of the request;
/// `{secret:NAME}` stands for a variable of the filter's environment; `{{` and `}}` are literal braces.
#[derive(Clone, PartialEq, Eq)]
pub struct Template(Vec<Part>);

/// A value may hold secrets, which show nowhere but in the header.
impl fmt::Debug for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Template(..)")
    }
}

#[derive(Clone, PartialEq, Eq)]
enum Part {
    Literal(Box<str>),
    Placeholder(Placeholder),
}

/// The variables that a policy may name as secrets: the value of one by its name, `None` where it is not set.
pub type Environment = fn(&str) -> Option<Vec<u8>>;

/// A fact of the request that a value may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placeholder {
    /// The id of the named rule.
    Rule,
    /// The policy's name.
    Policy,
    /// The canonical host.
    Host,
    /// The caller's SPIFFE id without `spiffe://`.
    Principal,
    /// The caller's namespace.
    Namespace,
    /// `x-request-id`.
    RequestId,
}

/// The words for placeholders.
const PLACEHOLDERS: [(&str, Placeholder); 6] = [
    ("rule", Placeholder::Rule),
    ("policy", Placeholder::Policy),
    ("host", Placeholder::Host),
    ("principal", Placeholder::Principal),
    ("namespace", Placeholder::Namespace),
    ("request_id", Placeholder::RequestId),
];

impl Template {
    /// Longest text of a value, in bytes.
    pub const MAX: usize = 4096;

    /// Reads a value. Its secrets are those of the environment; without one they stay as they are
    /// written.
    pub fn parse(text: &str, environment: Option<Environment>) -> Result<Self, TemplateError> {
        if text.len() > Self::MAX {
            return Err(TemplateError::TooLong);
        }
        if let Some(byte) = text.bytes().find(|byte| !(0x20..=0x7e).contains(byte)) {
            return Err(TemplateError::Byte(byte));
        }
        let mut parts = Vec::new();
        let mut literal = String::new();
        let mut rest = text;
        while let Some(at) = rest.find(['{', '}']) {
            let (before, from_brace) = rest.split_at_checked(at).unwrap_or((rest, ""));
            literal.push_str(before);
            let escaped = [("{{", '{'), ("}}", '}')]
                .into_iter()
                .find_map(|(pair, brace)| Some((from_brace.strip_prefix(pair)?, brace)));
            if let Some((after, brace)) = escaped {
                literal.push(brace);
                rest = after;
                continue;
            }
            let inside = from_brace.strip_prefix('{').and_then(|inside| inside.split_once('}'));
            let (word, after) = inside.ok_or(TemplateError::Brace)?;
            if let Some(name) = word.strip_prefix("secret:") {
                literal.push_str(&secret(name, environment)?);
                rest = after;
                continue;
            }
            let placeholder = PLACEHOLDERS
                .iter()
                .find_map(|(known, placeholder)| (*known == word).then_some(*placeholder))
                .ok_or_else(|| TemplateError::Placeholder(word.into()))?;
            push_literal(&mut parts, &mut literal);
            parts.push(Part::Placeholder(placeholder));
            rest = after;
        }
        literal.push_str(rest);
        push_literal(&mut parts, &mut literal);
        Ok(Self(parts))
    }

    /// The value for one request; `None` if a placeholder has no value.
    pub fn render<'a>(&'a self, values: &Values<'a>) -> Option<Cow<'a, [u8]>> {
        let text = |part: &'a Part| {
            Some(match part {
                Part::Literal(text) => text,
                Part::Placeholder(Placeholder::Rule) => values.rule?,
                Part::Placeholder(Placeholder::Policy) => values.policy?,
                Part::Placeholder(Placeholder::Host) => values.host?,
                Part::Placeholder(Placeholder::Principal) => values.principal?,
                Part::Placeholder(Placeholder::Namespace) => values.namespace?,
                Part::Placeholder(Placeholder::RequestId) => values.request_id?,
            })
        };
        if let [part] = &self.0[..] {
            return Some(Cow::Borrowed(text(part)?.as_bytes()));
        }
        let mut rendered = Vec::new();
        for part in &self.0 {
            rendered.extend_from_slice(text(part)?.as_bytes());
        }
        Some(Cow::Owned(rendered))
    }

    fn uses(&self, placeholder: Placeholder) -> bool {
        self.0.contains(&Part::Placeholder(placeholder))
    }
}

/// The value of a variable; as it is written without an environment.
fn secret(name: &str, environment: Option<Environment>) -> Result<String, TemplateError> {
    let is_of_name = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_';
    if name.is_empty() || !name.bytes().all(is_of_name) {
        return Err(TemplateError::SecretName(name.into()));
    }
    let Some(environment) = environment else { return Ok(format!("{{secret:{name}}}")) };
    let value = environment(name).ok_or_else(|| TemplateError::NoSecret(name.into()))?;
    // What reads a field's value cuts blanks off its ends (RFC 9110, section 5.5).
    let is_whole = value.trim_ascii().len() == value.len() && value.len() <= Template::MAX;
    let text = header_value(&value).filter(|_| is_whole);
    text.map(str::to_owned).ok_or_else(|| TemplateError::UnfitSecret(name.into()))
}

fn push_literal(parts: &mut Vec<Part>, literal: &mut String) {
    if !literal.is_empty() {
        parts.push(Part::Literal(std::mem::take(literal).into()));
    }
}

/// Why a text is no header value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TemplateError {
    /// It has more than [`Template::MAX`] bytes.
    TooLong,
    /// A control, or a byte over 0x7e.
    Byte(u8),
    /// A brace without its counterpart.
    Brace,
    /// A word in braces that is no placeholder.
    Placeholder(Box<str>),
    /// No variable has this name.
    SecretName(Box<str>),
    /// The environment has no such variable.
    NoSecret(Box<str>),
    /// The value of this variable cannot stand in a header. The error does not hold the value.
    UnfitSecret(Box<str>),
}

impl fmt::Display for TemplateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong => write!(f, "a value of more than {} bytes", Template::MAX),
            Self::Byte(byte) => write!(f, "a value with the byte `{}`", byte.escape_ascii()),
            Self::Brace => f.write_str("a brace without its counterpart"),
            Self::Placeholder(word) => {
                write!(f, "the unknown placeholder `{{{}}}`", word.escape_debug())
            }
            Self::SecretName(name) => {
                write!(f, "the secret `{}`, which is no name of a variable", name.escape_debug())
            }
            Self::NoSecret(name) => {
                write!(f, "the secret `{name}`, which the filter's environment does not have")
            }
            Self::UnfitSecret(name) => {
                write!(f, "the secret `{name}`, whose value cannot stand in a header")
            }
        }
    }
}

impl std::error::Error for TemplateError {}

impl TemplateError {
    /// What to write instead.
    pub fn remedy(&self) -> String {
        match self {
            Self::TooLong => "shorten it".to_owned(),
            Self::Byte(_) => "write printable ASCII only".to_owned(),
            Self::Brace => "write `{{` and `}}` for literal braces".to_owned(),
            Self::Placeholder(_) => {
                let words: Vec<_> =
                    PLACEHOLDERS.iter().map(|(word, _)| format!("`{{{word}}}`")).collect();
                let words = words.join(", ");
                format!("write one of {words}, `{{secret:NAME}}`, or `{{{{` for a literal brace")
            }
            Self::SecretName(_) => {
                "name the variable by A to Z, 0 to 9 and `_`, as in `{secret:PARTNER_TOKEN}`"
                    .to_owned()
            }
            Self::NoSecret(_) => {
                "set it in the plugin's VM configuration: `environment_variables`, in Istio \
                 `vmConfig.env`; for the native library set it in Envoy's environment, and write its \
                 name into the variable `EGRESS_WARDEN_SECRETS` there"
                    .to_owned()
            }
            Self::UnfitSecret(_) => format!(
                "give it 1 to {} bytes of printable ASCII, without a blank or a line break at the ends",
                Template::MAX
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::header_map::HeaderMap;
    use wasm_bindgen_test::wasm_bindgen_test;

    const VALUES: Values<'_> = Values {
        rule: Some("stripe"),
        policy: Some("payments"),
        host: Some("api.stripe.com"),
        principal: None,
        namespace: None,
        request_id: Some("42"),
    };

    fn stamp(set: &[(&str, &str)], remove: &[&str]) -> Stamp {
        Stamp {
            set: set
                .iter()
                .map(|(n, v)| (HeaderName::to_set(n).unwrap(), Template::parse(v, None).unwrap()))
                .collect(),
            remove: remove.iter().map(|name| HeaderName::to_remove(name).unwrap()).collect(),
        }
    }

    const NO_STRIP: Strip = Strip { mesh: false, proxy: false, forwarded: false };

    fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
        HeaderMap::from_pairs(pairs.iter().map(|(n, v)| (n.as_bytes(), v.as_bytes())))
    }

    /// Names with their values as they stand after the operations.
    fn after(stamps: &Stamps, rule: Option<usize>, pairs: &[(&str, &str)]) -> Vec<String> {
        after_pass(stamps, rule, pairs, false)
    }

    fn after_pass(
        stamps: &Stamps,
        rule: Option<usize>,
        pairs: &[(&str, &str)],
        is_redirected: bool,
    ) -> Vec<String> {
        let map = headers(pairs);
        let mut left: Vec<(Vec<u8>, Vec<u8>)> =
            map.iter().map(|(n, v)| (n.to_vec(), v.to_vec())).collect();
        let mut concerned = Concerned::default();
        map.iter().for_each(|(name, value)| stamps.note(&mut concerned, name, value));
        for operation in stamps.operations(rule, &concerned, &VALUES, is_redirected) {
            match operation {
                Operation::Remove(name) => left.retain(|(other, _)| other != name),
                Operation::Add(name, value) => {
                    let is_alias = |other: &[u8]| fold(other) == fold(name.as_bytes());
                    assert!(!left.iter().any(|(other, _)| is_alias(other)), "{name} is there");
                    left.push((name.into(), value.into_owned()));
                }
                Operation::Set(name, value) => {
                    left.retain(|(other, _)| other != name.as_bytes());
                    left.push((name.into(), value.into_owned()));
                }
            }
        }
        let text = |(name, value): (Vec<u8>, Vec<u8>)| {
            format!("{}={}", String::from_utf8_lossy(&name), String::from_utf8_lossy(&value))
        };
        left.into_iter().map(text).collect()
    }

    #[wasm_bindgen_test(unsupported = test)]
    fn a_stamp_replaces_whatever_the_caller_sent_under_any_alias() {
        let stamps =
            Stamps::new(NO_STRIP, stamp(&[("x-egress-team", "payments")], &[]), BTreeMap::new());
        let sent = [
            ("x-egress-team", "forged"),
            ("x-egress-team", "twice"),
            ("x_egress_team", "forged"),
            ("X.Egress.Team", "forged"),
            ("x~egress!team", "forged"),
            ("x-egress-teams", "other"),
            ("xxegress-team", "other"),
            ("x-egresss-team", "other"),
        ];
        assert_eq!(
            after(&stamps, None, &sent),
            [
                "x-egress-teams=other",
                "xxegress-team=other",
                "x-egresss-team=other",
                "x-egress-team=payments"
            ]
        );
    }

    #[wasm_bindgen_test(unsupported = test)]
    fn a_rule_stamps_its_own_requests_and_reserves_only_x_names_on_others() {
        let rules = BTreeMap::from([(
            1,
            stamp(&[("x-team", "{rule}"), ("authorization", "Bearer t")], &["x-debug"]),
        )]);
        let stamps = Stamps::new(NO_STRIP, stamp(&[("x-team", "own"), ("x-id", "1")], &[]), rules);
        let sent = [
            ("x-team", "forged"),
            ("authorization", "Basic c"),
            ("x-debug", "1"),
            ("x-other", "1"),
        ];
        assert_eq!(
            after(&stamps, Some(1), &sent),
            ["x-other=1", "x-team=stripe", "authorization=Bearer t", "x-id=1"]
        );
        assert_eq!(
            after(&stamps, Some(0), &sent),
            ["authorization=Basic c", "x-debug=1", "x-other=1", "x-team=own", "x-id=1"]
        );
    }

    #[wasm_bindgen_test(unsupported = test)]
    fn a_redirected_request_carries_nothing_that_a_rule_set_for_the_host_before() {
        let rules = BTreeMap::from([
            (1, stamp(&[("authorization", "Bearer a"), ("x-team", "a")], &["cookie"])),
            (2, stamp(&[("api-key", "{rule}")], &[])),
        ]);
        let stamps = Stamps::new(NO_STRIP, stamp(&[("x-id", "1")], &[]), rules);
        assert!(stamps.may_be_carried());
        let sent = [
            ("authorization", "Bearer a"),
            ("Authorization", "Bearer a"),
            ("api_key", "a"),
            ("x-team", "a"),
            ("x-envoy-original-url", "https://a/?q"),
            ("cookie", "c"),
            ("x-other", "1"),
        ];
        let after = |rule, is_redirected| after_pass(&stamps, rule, &sent, is_redirected);
        assert_eq!(after(None, true), ["cookie=c", "x-other=1", "x-id=1"]);
        assert_eq!(after(Some(2), true), ["cookie=c", "x-other=1", "api-key=stripe", "x-id=1"]);
        assert_eq!(
            after(Some(2), false),
            [
                "authorization=Bearer a",
                "Authorization=Bearer a",
                "cookie=c",
                "x-other=1",
                "api-key=stripe",
                "x-id=1"
            ]
        );
        let reserved = BTreeMap::from([(1, stamp(&[("x-team", "a")], &[]))]);
        assert!(!Stamps::new(NO_STRIP, Stamp::default(), reserved).may_be_carried());
    }

    #[wasm_bindgen_test(unsupported = test)]
    fn a_value_with_an_absent_placeholder_is_not_stamped_and_not_forgeable() {
        let own = stamp(&[("x-caller", "{principal}"), ("x-request", "{{{request_id}}}")], &[]);
        let stamps = Stamps::new(NO_STRIP, own, BTreeMap::new());
        assert_eq!(after(&stamps, None, &[("x-caller", "forged")]), ["x-request={42}"]);
    }

    #[wasm_bindgen_test(unsupported = test)]
    fn groups_are_stripped_when_asked() {
        let sent = [
            ("x-envoy-peer-metadata", "1"),
            ("x_forwarded_client_cert", "1"),
            ("proxy-authorization", "1"),
            ("Proxy_Authenticate", "1"),
            ("x-forwarded-for", "1"),
            ("forwarded", "1"),
        ];
        let left = |strip| {
            let stamps = Stamps::new(strip, Stamp::default(), BTreeMap::new());
            after(&stamps, None, &sent).len()
        };
        assert_eq!(left(NO_STRIP), 6);
        assert_eq!(left(Strip { mesh: true, ..NO_STRIP }), 4);
        assert_eq!(left(Strip { proxy: true, ..NO_STRIP }), 4);
        assert_eq!(left(Strip { forwarded: true, ..NO_STRIP }), 4);
        assert_eq!(left(Strip { mesh: true, proxy: true, forwarded: true }), 0);
    }

    #[wasm_bindgen_test(unsupported = test)]
    fn connection_loses_the_tokens_that_name_a_stamped_header() {
        let stamps = Stamps::new(NO_STRIP, stamp(&[("x-id", "1")], &[]), BTreeMap::new());
        let connection = |value| after(&stamps, None, &[("connection", value)]);
        assert_eq!(connection("Upgrade, X_Id"), ["connection=Upgrade", "x-id=1"]);
        assert_eq!(connection("x-id"), ["x-id=1"]);
        assert_eq!(connection("x|id,,close, ,X'ID"), ["connection=close", "x-id=1"]);
        assert_eq!(connection("Upgrade,keep-alive"), ["connection=Upgrade,keep-alive", "x-id=1"]);
    }

    #[wasm_bindgen_test(unsupported = test)]
    fn no_trailer_passes_for_a_header_that_a_stamp_governs() {
        let rules = BTreeMap::from([(1, stamp(&[("authorization", "Bearer t")], &["x-debug"]))]);
        let own = stamp(&[("x-id", "1")], &["x-internal"]);
        let stamps = Stamps::new(Strip { mesh: true, ..NO_STRIP }, own, rules);
        let trailers = headers(&[
            ("x-checksum", "1"),
            ("x_id", "forged"),
            ("X.Id", "forged"),
            ("x`id", "forged"),
            ("x_id", "twice"),
            ("x-internal", "1"),
            ("authorization", "forged"),
            ("x_debug", "1"),
            ("x-forwarded-client-cert", "1"),
            ("x-forwarded-for", "1"),
        ]);
        let forged = |rule| -> Vec<_> {
            let names = stamps.forged_trailers(rule, &trailers).into_iter();
            names.map(|name| std::str::from_utf8(name).unwrap()).collect()
        };
        assert_eq!(
            forged(Some(1)),
            [
                "x_id",
                "X.Id",
                "x`id",
                "x-internal",
                "authorization",
                "x_debug",
                "x-forwarded-client-cert"
            ]
        );
        let of_everybody = ["x_id", "X.Id", "x`id", "x-internal", "x-forwarded-client-cert"];
        assert_eq!(forged(Some(2)), of_everybody, "the stamp of another rule");
        assert_eq!(forged(None), of_everybody);
    }

    #[wasm_bindgen_test(unsupported = test)]
    fn names_that_frame_or_route_cannot_be_stamped_or_removed() {
        for name in [
            ":path",
            "",
            "X-Upper",
            "x team",
            "host",
            "content-length",
            "content_length",
            "proxy-connection",
            "transfer.encoding",
            "content~length",
            "x-envoy-foo",
            "x_envoy_foo",
            "x^envoy|foo",
            "x-forwarded-client-cert",
            "expect",
            "connection",
            "keep-alive",
            "b\u{fc}cher",
        ] {
            assert!(HeaderName::to_set(name).is_err(), "{name}");
            assert!(HeaderName::to_remove(name).is_err(), "{name}");
        }
        for name in ["authorization", "x-egress-team", "x_egress_team", "user-agent"] {
            assert!(HeaderName::to_set(name).is_ok(), "{name}");
            assert!(HeaderName::to_remove(name).is_ok(), "{name}");
        }
    }

    #[wasm_bindgen_test(unsupported = test)]
    fn what_envoy_forwards_of_one_hop_can_be_removed_and_not_set() {
        for name in ["proxy-authorization", "proxy_authenticate", "te", "trailer", "http2.settings"]
        {
            assert_eq!(HeaderName::to_set(name), Err(NameError::Removable), "{name}");
            assert!(HeaderName::to_remove(name).is_ok(), "{name}");
        }
    }

    fn environment(name: &str) -> Option<Vec<u8>> {
        let value: &[u8] = match name {
            "TOKEN" => b"t0p-s3cret {rule}",
            "EMPTY" => b"",
            "CR" => b"t0p-s3cret\r",
            "LF" => b"t0p-s3cret\nx: y",
            "NUL" => b"t0p-s3cret\0",
            "BYTE" => b"t0p-s3cret\xff",
            "BLANK" => b"t0p-s3cret ",
            "LONG" => &[b't'; Template::MAX + 1],
            _ => return None,
        };
        Some(value.to_vec())
    }

    #[wasm_bindgen_test(unsupported = test)]
    fn a_secret_is_the_value_of_a_variable_and_shows_nowhere_else() {
        let value = "Bearer {secret:TOKEN}, {rule}";
        let template = Template::parse(value, Some(environment)).unwrap();
        let rendered = template.render(&VALUES).unwrap();
        assert_eq!(&*rendered, b"Bearer t0p-s3cret {rule}, stripe");
        assert!(!format!("{template:?}").contains("t0p"), "{template:?}");
        let unread = Template::parse(value, None).unwrap();
        assert_eq!(&*unread.render(&VALUES).unwrap(), b"Bearer {secret:TOKEN}, stripe");
        for name in ["EMPTY", "CR", "LF", "NUL", "BYTE", "BLANK", "LONG"] {
            let error = Template::parse(&format!("{{secret:{name}}}"), Some(environment));
            let error = error.unwrap_err();
            assert_eq!(error, TemplateError::UnfitSecret(name.into()));
            let told = format!("{error:?} {error} {}", error.remedy());
            assert!(!told.contains("t0p") && told.contains(name), "{told}");
        }
        let absent = Template::parse("{secret:ABSENT}", Some(environment));
        assert_eq!(absent, Err(TemplateError::NoSecret("ABSENT".into())));
        for name in ["", "token", "A-B", "A B", "A{"] {
            for environment in [None, Some(environment as Environment)] {
                let error = Template::parse(&format!("{{secret:{name}}}"), environment);
                assert_eq!(error, Err(TemplateError::SecretName(name.into())), "{name}");
            }
        }
    }

    #[wasm_bindgen_test(unsupported = test)]
    fn values_are_printable_ascii_with_known_placeholders() {
        for text in
            ["a\r\nb", "a\0", "a\tb", "a\u{7f}", "\u{fc}", "{", "}", "a}b{", "{hosts}", "{}"]
        {
            assert!(Template::parse(text, None).is_err(), "{text:?}");
        }
        let literal = Template::parse("%REQ(authorization)% $x {{y}}", None).unwrap();
        assert_eq!(&*literal.render(&VALUES).unwrap(), b"%REQ(authorization)% $x {y}");
        assert!(Template::parse(&"a".repeat(Template::MAX), None).is_ok());
        assert_eq!(
            Template::parse(&"a".repeat(Template::MAX + 1), None),
            Err(TemplateError::TooLong)
        );
    }
}
