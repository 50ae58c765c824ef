//! Header operations as data: what is removed from a request that passes, and what is set on it.
//!
//! Upstreams may fold header names: `x_egress_id` and `X.Egress.Id` arrive in some of them as
//! `x-egress-id`. So a name counts for all of its aliases: names are compared in lower case with
//! `_` and `.` read as `-`.

use crate::header_map::HeaderMap;
use crate::token::is_token;
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
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

/// What Envoy sets on a request that it redirects itself (`internal_redirect_policy`): the URL that the
/// redirecting host was asked for, its query included. It leaves in no request.
pub const ORIGINAL_URL: &str = "x-envoy-original-url";

/// Headers that say on whose behalf a request is made.
const FORWARDED: [&str; 5] =
    ["forwarded", "x-envoy-external-address", "x-forwarded-for", "x-forwarded-host", "x-real-ip"];

/// Names that no stamp may touch, beside pseudo-headers and `x-envoy-*`: they frame the message,
/// belong to one hop (RFC 9110, section 7.6.1, and RFC 2616, section 13.5.1), or are the mesh's.
const UNTOUCHABLE: [&str; 14] = [
    "connection",
    "content-length",
    "expect",
    "host",
    "http2-settings",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "x-forwarded-client-cert",
];

/// The stamps of a policy: its own, those of its rules, and the groups of headers it strips.
#[derive(Debug, Default)]
pub struct Stamps {
    own: Stamp,
    /// By the rule's index in the policy.
    rules: BTreeMap<usize, Stamp>,
    /// Folded names that are removed from every request that passes: stripped, removed by the
    /// policy's own stamp, or reserved for a stamp, so that no caller can forge it.
    cleared: BTreeSet<Box<str>>,
    /// The other folded names that any rule sets. A request that Envoy redirects still carries what
    /// was set under them for the host before.
    carried: BTreeSet<Box<str>>,
    /// Those, and every other folded name that any stamp sets or removes.
    governed: BTreeSet<Box<str>>,
    /// How long the governed names are: bit N for N bytes, the last bit for more too. Folding
    /// changes no length, so most of a request's headers need no second look.
    governed_lengths: u64,
}

/// What one policy, or one rule, sets and removes.
#[derive(Clone, Debug, Default)]
pub struct Stamp {
    /// Headers with the values they get.
    pub set: Vec<(HeaderName, Template)>,
    /// Headers that go.
    pub remove: Vec<HeaderName>,
}

/// The name of a header that may be stamped or removed.
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
}

/// What placeholders stand for in one request; absent where unknown.
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
    /// `x-request-id`.
    pub request_id: Option<&'a str>,
}

impl Stamps {
    /// Takes the policy's own stamp and those of rules, by their index in the policy.
    pub fn new(strip: Strip, own: Stamp, rules: BTreeMap<usize, Stamp>) -> Self {
        let groups = [(strip.mesh, &MESH[..]), (strip.forwarded, &FORWARDED[..])];
        let stripped =
            groups.into_iter().filter(|(wanted, _)| *wanted).flat_map(|(_, group)| group);
        let reserved = own.set.iter().map(|(name, _)| name.folded());
        let reserved_by_rules = rules
            .values()
            .flat_map(|stamp| &stamp.set)
            .map(|(name, _)| name.folded())
            .filter(|name| name.starts_with("x-"));
        let removed = own.remove.iter().map(HeaderName::folded);
        let cleared: BTreeSet<Box<str>> = stripped
            .copied()
            .chain(removed)
            .chain(reserved)
            .chain(reserved_by_rules)
            .chain([ORIGINAL_URL])
            .map(Box::from)
            .collect();
        let set_by_rules = rules.values().flat_map(|stamp| &stamp.set);
        let carried = set_by_rules
            .map(|(name, _)| name.folded())
            .filter(|name| !cleared.contains(*name))
            .map(Box::from)
            .collect();
        let of_rules = rules.values().flat_map(|stamp| {
            let set = stamp.set.iter().map(|(name, _)| name);
            set.chain(&stamp.remove).map(|name| Box::from(name.folded()))
        });
        let governed: BTreeSet<Box<str>> = cleared.iter().cloned().chain(of_rules).collect();
        let governed_lengths =
            governed.iter().fold(0, |lengths, name| lengths | length_bit(name.as_bytes()));
        Self { own, rules, cleared, carried, governed, governed_lengths }
    }

    /// Whether the stamps that apply to a rule's requests use a placeholder.
    pub fn uses(&self, rule: Option<usize>, placeholder: Placeholder) -> bool {
        self.set_for(rule).any(|(_, template)| template.uses(placeholder))
    }

    /// Whether a request that Envoy redirects may carry what a rule set for the host before.
    pub fn may_be_carried(&self) -> bool {
        !self.carried.is_empty()
    }

    /// What to write to the headers of a request for which `rule` is named: removals first. Of a
    /// redirected one, whatever any rule may have set for the host before is removed.
    pub fn operations<'a>(
        &'a self,
        rule: Option<usize>,
        headers: &'a HeaderMap,
        values: &Values<'a>,
        is_redirected: bool,
    ) -> impl Iterator<Item = Operation<'a>> {
        let removed_by_rule = self.of_rule(rule).map(|stamp| &stamp.remove[..]).unwrap_or_default();
        let is_cleared = |folded: &[u8]| {
            let is_in = |names: &BTreeSet<Box<str>>| {
                std::str::from_utf8(folded).is_ok_and(|name| names.contains(name))
            };
            is_in(&self.cleared)
                || (is_redirected && is_in(&self.carried))
                || removed_by_rule.iter().any(|name| name.folded().as_bytes() == folded)
                || self.is_set(rule, folded)
        };
        let mut removed: Vec<&[u8]> = Vec::new();
        let mut names_connection = false;
        for (name, _) in headers.iter() {
            if self.may_govern(name) && !removed.contains(&name) && is_cleared(&fold(name)) {
                removed.push(name);
            }
            names_connection |= name == b"connection";
        }
        let connection = names_connection.then(|| self.connection(rule, headers)).flatten();
        let values = *values;
        let sets = self.set_for(rule).filter_map(move |(name, template)| {
            Some(Operation::Set(name.as_str(), template.render(&values)?))
        });
        removed.into_iter().map(Operation::Remove).chain(connection).chain(sets)
    }

    /// The names among a request's trailers that may not go on, each once. A trailer under a name
    /// that any stamp of the policy sets or removes has no use but to pass for that header: some
    /// upstreams merge trailers into the headers (RFC 9110, section 6.5.2).
    pub fn forged_trailers<'a>(&self, trailers: &'a HeaderMap) -> Vec<&'a [u8]> {
        let is_governed = |folded: &[u8]| {
            std::str::from_utf8(folded).is_ok_and(|name| self.governed.contains(name))
        };
        let mut forged: Vec<&[u8]> = Vec::new();
        for (name, _) in trailers.iter() {
            if self.may_govern(name) && !forged.contains(&name) && is_governed(&fold(name)) {
                forged.push(name);
            }
        }
        forged
    }

    /// What `Connection` becomes where it names a stamped header: the next hop would drop that.
    fn connection(&self, rule: Option<usize>, headers: &HeaderMap) -> Option<Operation<'_>> {
        let values = headers.iter().filter(|(name, _)| *name == b"connection");
        let tokens: Vec<&[u8]> = values
            .flat_map(|(_, value)| value.split(|&byte| byte == b','))
            .map(<[u8]>::trim_ascii)
            .collect();
        let kept: Vec<&[u8]> =
            tokens.iter().copied().filter(|token| !self.is_set(rule, &fold(token))).collect();
        match kept.len() {
            all if all == tokens.len() => None,
            0 => Some(Operation::Remove(b"connection")),
            _ => Some(Operation::Set("connection", Cow::Owned(kept.join(&b", "[..])))),
        }
    }

    /// False only where no stamp sets or removes the name, nor an alias of it.
    fn may_govern(&self, name: &[u8]) -> bool {
        self.governed_lengths & length_bit(name) != 0
    }

    fn of_rule(&self, rule: Option<usize>) -> Option<&Stamp> {
        self.rules.get(&rule?)
    }

    /// The names and values that apply: the rule's, then the policy's own that the rule leaves.
    fn set_for(&self, rule: Option<usize>) -> impl Iterator<Item = &(HeaderName, Template)> {
        let of_rule = self.of_rule(rule).map(|stamp| &stamp.set[..]).unwrap_or_default();
        let is_overridden =
            |name: &HeaderName| of_rule.iter().any(|(other, _)| other.folded() == name.folded());
        let own = self.own.set.iter().filter(move |(name, _)| !is_overridden(name));
        of_rule.iter().chain(own)
    }

    fn is_set(&self, rule: Option<usize>, folded: &[u8]) -> bool {
        self.set_for(rule).any(|(name, _)| name.folded().as_bytes() == folded)
    }
}

impl HeaderName {
    /// Reads a name as policies write it.
    pub fn parse(name: &str) -> Result<Self, NameError> {
        if name.starts_with(':') {
            return Err(NameError::PseudoHeader);
        }
        if !is_token(name.as_bytes()) {
            return Err(NameError::Token);
        }
        if name.bytes().any(|byte| byte.is_ascii_uppercase()) {
            return Err(NameError::Case);
        }
        let folded = name.replace(['_', '.'], "-");
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

/// Why a name cannot be stamped or removed.
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
}

impl fmt::Display for NameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::PseudoHeader => "a pseudo-header",
            Self::Token => "no header name",
            Self::Case => "a header name that is not in lower case",
            Self::Untouchable => "a header that belongs to the proxy or to one hop",
        })
    }
}

impl std::error::Error for NameError {}

fn length_bit(name: &[u8]) -> u64 {
    1_u64.checked_shl(u32::try_from(name.len()).unwrap_or(u32::MAX)).unwrap_or(1 << 63)
}

/// A header name as some upstreams fold it: lower case, `_` and `.` as `-`.
fn fold(name: &[u8]) -> Cow<'_, [u8]> {
    let folds = |byte: &u8| byte.is_ascii_uppercase() || matches!(byte, b'_' | b'.');
    if !name.iter().any(folds) {
        return Cow::Borrowed(name);
    }
    let folded = name.iter().map(|byte| match byte {
        b'_' | b'.' => b'-',
        _ => byte.to_ascii_lowercase(),
    });
    Cow::Owned(folded.collect())
}

/// A header value with placeholders.
///
/// `{rule} {policy} {host} {principal} {namespace} {request_id}` stand for facts of the request;
/// `{{` and `}}` are literal braces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template(Vec<Part>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Literal(Box<str>),
    Placeholder(Placeholder),
}

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

    /// Reads a value.
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
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

    /// The value for one request; `None` where a placeholder's fact is absent.
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
                format!("write one of {}, or `{{{{` for a literal brace", words.join(", "))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
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
                .map(|(n, v)| (HeaderName::parse(n).unwrap(), Template::parse(v).unwrap()))
                .collect(),
            remove: remove.iter().map(|name| HeaderName::parse(name).unwrap()).collect(),
        }
    }

    const NO_STRIP: Strip = Strip { mesh: false, forwarded: false };

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
        for operation in stamps.operations(rule, &map, &VALUES, is_redirected) {
            match operation {
                Operation::Remove(name) => left.retain(|(other, _)| other != name),
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
            ("x-egress-teams", "other"),
        ];
        assert_eq!(after(&stamps, None, &sent), ["x-egress-teams=other", "x-egress-team=payments"]);
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
            ("x-forwarded-for", "1"),
            ("forwarded", "1"),
        ];
        let strip = |mesh, forwarded| {
            let stamps = Stamps::new(Strip { mesh, forwarded }, Stamp::default(), BTreeMap::new());
            after(&stamps, None, &sent).len()
        };
        assert_eq!((strip(false, false), strip(true, false), strip(true, true)), (4, 2, 0));
    }

    #[wasm_bindgen_test(unsupported = test)]
    fn connection_loses_the_tokens_that_name_a_stamped_header() {
        let stamps = Stamps::new(NO_STRIP, stamp(&[("x-id", "1")], &[]), BTreeMap::new());
        let connection = |value| after(&stamps, None, &[("connection", value)]);
        assert_eq!(connection("Upgrade, X_Id"), ["connection=Upgrade", "x-id=1"]);
        assert_eq!(connection("x-id"), ["x-id=1"]);
        assert_eq!(connection("Upgrade,keep-alive"), ["connection=Upgrade,keep-alive", "x-id=1"]);
    }

    #[wasm_bindgen_test(unsupported = test)]
    fn no_trailer_passes_for_a_header_that_a_stamp_governs() {
        let rules = BTreeMap::from([(1, stamp(&[("authorization", "Bearer t")], &["x-debug"]))]);
        let own = stamp(&[("x-id", "1")], &["x-internal"]);
        let stamps = Stamps::new(Strip { mesh: true, forwarded: false }, own, rules);
        let trailers = headers(&[
            ("x-checksum", "1"),
            ("x_id", "forged"),
            ("X.Id", "forged"),
            ("x_id", "twice"),
            ("x-internal", "1"),
            ("authorization", "forged"),
            ("x_debug", "1"),
            ("x-forwarded-client-cert", "1"),
            ("x-forwarded-for", "1"),
        ]);
        let forged: Vec<_> = stamps
            .forged_trailers(&trailers)
            .into_iter()
            .map(|name| std::str::from_utf8(name).unwrap())
            .collect();
        assert_eq!(
            forged,
            ["x_id", "X.Id", "x-internal", "authorization", "x_debug", "x-forwarded-client-cert"]
        );
    }

    #[wasm_bindgen_test(unsupported = test)]
    fn names_that_frame_or_route_cannot_be_stamped() {
        for name in [
            ":path",
            "",
            "X-Upper",
            "x team",
            "host",
            "content-length",
            "content_length",
            "te",
            "transfer.encoding",
            "x-envoy-foo",
            "x_envoy_foo",
            "x-forwarded-client-cert",
            "expect",
            "connection",
            "keep-alive",
            "b\u{fc}cher",
        ] {
            assert!(HeaderName::parse(name).is_err(), "{name}");
        }
        for name in ["authorization", "x-egress-team", "x_egress_team", "user-agent"] {
            assert!(HeaderName::parse(name).is_ok(), "{name}");
        }
    }

    #[wasm_bindgen_test(unsupported = test)]
    fn values_are_printable_ascii_with_known_placeholders() {
        for text in
            ["a\r\nb", "a\0", "a\tb", "a\u{7f}", "\u{fc}", "{", "}", "a}b{", "{hosts}", "{}"]
        {
            assert!(Template::parse(text).is_err(), "{text:?}");
        }
        let literal = Template::parse("%REQ(authorization)% $x {{y}}").unwrap();
        assert_eq!(&*literal.render(&VALUES).unwrap(), b"%REQ(authorization)% $x {y}");
        assert!(Template::parse(&"a".repeat(Template::MAX)).is_ok());
        assert_eq!(Template::parse(&"a".repeat(Template::MAX + 1)), Err(TemplateError::TooLong));
    }
}
