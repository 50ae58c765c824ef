//! Errors in English: the only place that has words for them.

use super::canonical::number_text;
use super::error::{
    Error, ErrorKind, Errors, Found, Place, Required, Step, TextError, Type, without_scheme,
};
use super::{MAX_HOSTS, MAX_NAME, MAX_RULES, MAX_STAMPS, MAX_TEXT};
use crate::stamp::NameError;
use std::borrow::Cow;
use std::fmt;

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = self.kind();
        write!(f, "`{}`: found {}: {}", self.place(), kind.problem(), kind.remedy())
    }
}

impl fmt::Display for Errors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, error) in self.iter().enumerate() {
            write!(f, "{}{error}", if index == 0 { "" } else { "\n" })?;
        }
        Ok(())
    }
}

impl std::error::Error for Error {}

impl std::error::Error for Errors {}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("$")?;
        self.steps().iter().try_for_each(|step| match step {
            Step::Key { key, .. } => f.write_str(&path_step(key)),
            Step::Index(index) => write!(f, "[{index}]"),
        })
    }
}

impl ErrorKind {
    /// What was found, on one line.
    pub fn problem(&self) -> Cow<'static, str> {
        match self {
            Self::EmptyText => "an empty text".into(),
            Self::LongText { bytes } | Self::LongValue { bytes, .. } => {
                format!("a text of {bytes} bytes").into()
            }
            Self::ByteOrderMark => "a byte-order mark".into(),
            Self::NotUtf8 { offset } => {
                format!("a byte at offset {offset} that is not UTF-8").into()
            }
            Self::NotJson { reason } => format!("what is not JSON: {reason}").into(),
            Self::DuplicateKey => "a key that stands twice".into(),
            Self::UnknownKey { key, .. } => format!("the unknown key {}", quote(key)).into(),
            Self::MissingKey(required) => format!("no `{}`", required.key()).into(),
            Self::WrongType { found, .. } | Self::UnknownWord { found, .. } => found.describe(),
            Self::NotInRange { found, .. } => Found::Number(*found).describe(),
            Self::EmptyList => "an empty list".into(),
            Self::NoRules => "an empty list without a `default`".into(),
            Self::EmptyEntry => "an entry without fields".into(),
            Self::Name { name } => format!("the name {}", quote(name)).into(),
            Self::DuplicateId { id, first } => {
                format!("the id {}, which `$.rules[{first}]` has too", quote(id)).into()
            }
            Self::TooManyRules { count } => format!("{count} rules").into(),
            Self::TooManyHosts { count } => format!("{count} hosts over all rules").into(),
            Self::TooManyHeaders { count } => format!("{count} headers").into(),
            Self::StampInDeny => "a stamp in a deny rule".into(),
            Self::MessageInAllow => "a message in an allow rule".into(),
            Self::Time { text } => format!("the time {}", quote(text)).into(),
            Self::Host { text, error } => format!("{} ({})", quote(text), error.problem()).into(),
            Self::Pattern { text, error } => {
                format!("{} ({})", quote(text), error.problem()).into()
            }
            Self::EmptyQuery => "no parameters".into(),
            Self::ParameterName { name } => format!("the parameter {}", quote(name)).into(),
            Self::ServiceAccount { text } => format!("{} (no service account)", quote(text)).into(),
            Self::Method { text } => format!("{} (no method)", quote(text)).into(),
            Self::MethodCase { text } => {
                format!("{} (a standard method in another case)", quote(text)).into()
            }
            Self::Header { text, error } => format!("{} ({error})", quote(text)).into(),
            Self::DuplicateHeader { text, earlier } => {
                let (text, earlier) = (quote(text), quote(earlier));
                format!("{text}, which this stamp names already as {earlier}").into()
            }
            Self::Template(error) => error.to_string().into(),
        }
    }

    /// What to write instead, on one line.
    pub fn remedy(&self) -> Cow<'static, str> {
        if let Some(sentence) = self.of_another_language() {
            return sentence.into();
        }
        match self {
            Self::EmptyText => "write a policy; an empty one never means allow".into(),
            Self::LongText { .. } => {
                format!("a policy has at most {MAX_TEXT} bytes ({} MiB)", MAX_TEXT >> 20).into()
            }
            Self::ByteOrderMark => "start the text with `{`".into(),
            Self::NotUtf8 { .. } => "write the policy in UTF-8".into(),
            Self::NotJson { .. } => "write one JSON object".into(),
            Self::DuplicateKey => "keep one of them".into(),
            Self::UnknownKey { key, known } => match other_name(key, known) {
                Some(sentence) => sentence.into(),
                None => format!("known are {}", list(known)).into(),
            },
            Self::MissingKey(required) => required.remedy().into(),
            Self::WrongType { expected, .. } => format!("write {}", expected.describe()).into(),
            Self::NotInRange { min, max, .. } => {
                format!("write a whole number from {min} to {max}").into()
            }
            Self::UnknownWord { known, .. } => format!("write one of {}", list(known)).into(),
            Self::EmptyList => "list at least one, or leave the key out".into(),
            Self::NoRules => Required::Rules.remedy().into(),
            Self::EmptyEntry => {
                "name a field, or leave the whole list out to match everything".into()
            }
            Self::LongValue { max, .. } => format!("shorten it to {max} bytes").into(),
            Self::Name { .. } => format!("write 1 to {MAX_NAME} of a-z, 0-9 and `-`").into(),
            Self::DuplicateId { .. } => "give every rule an id of its own".into(),
            Self::TooManyRules { .. } => format!("a policy has at most {MAX_RULES} rules").into(),
            Self::TooManyHosts { .. } => format!("a policy has at most {MAX_HOSTS} hosts").into(),
            Self::TooManyHeaders { .. } => format!("name at most {MAX_STAMPS}").into(),
            Self::StampInDeny => "stamp in allow rules only".into(),
            Self::MessageInAllow => "write it in deny rules only".into(),
            Self::Time { .. } => {
                "write a time in UTC from 1970 on, such as `2027-01-31T00:00:00Z` (RFC 3339)".into()
            }
            Self::Host { error, .. } => error.remedy(),
            Self::Pattern { text, error } => error.remedy(text),
            Self::EmptyQuery => "name a parameter, as in `query: {service: [a]}`".into(),
            Self::ParameterName { .. } => {
                "write the decoded name, without `%`, `;` and control characters".into()
            }
            Self::ServiceAccount { .. } => {
                "write NAMESPACE/ACCOUNT, such as `payments/checkout`; for \
                                            patterns use `namespaces` or `principals`"
                    .into()
            }
            Self::Method { .. } => {
                "write a method such as `GET`; for every method leave `methods` out".into()
            }
            Self::MethodCase { text } => format!("use \"{}\"", text.to_ascii_uppercase()).into(),
            Self::Header { text, error: NameError::Case } => {
                format!("use \"{}\"", text.to_ascii_lowercase()).into()
            }
            Self::Header { error: NameError::Removable, .. } => {
                "name another header, such as `x-egress-team`; this one can only be removed".into()
            }
            Self::Header { .. } => "name another header, such as `x-egress-team`".into(),
            Self::DuplicateHeader { .. } => "set it or remove it, once".into(),
            Self::Template(error) => error.remedy().into(),
        }
    }
}

/// What to do with a template of a policy.
pub const RENDER: &str =
    "render it first (`helm template`, `kustomize build`), and give what comes of it";

impl ErrorKind {
    /// What to write for a text that has a meaning in another language.
    fn of_another_language(&self) -> Option<&'static str> {
        let text = self.author_text()?;
        match self {
            _ if text.as_bytes().windows(2).any(|pair| pair == b"{{") => Some(RENDER),
            Self::WrongType { expected: Type::Number, .. } if is_range(text) => {
                Some("write each number by itself, without quotes; ranges are not supported")
            }
            Self::Pattern { .. } if is_regular_expression(text) => Some(
                "regular expressions are not supported: write the text out, or as `prefix*`, \
                 `*suffix` or `*`",
            ),
            _ => None,
        }
    }

    /// The author's text that the error is about.
    fn author_text(&self) -> Option<&str> {
        match self {
            Self::UnknownKey { key: text, .. }
            | Self::WrongType { found: Found::Text(text), .. }
            | Self::UnknownWord { found: Found::Text(text), .. }
            | Self::Name { name: text }
            | Self::Time { text }
            | Self::Host { text, .. }
            | Self::Pattern { text, .. }
            | Self::ServiceAccount { text }
            | Self::Method { text }
            | Self::Header { text, .. } => Some(text),
            _ => None,
        }
    }
}

/// Several numbers in one text: `8000-9000`, `8000:9000`, `443, 8443`.
fn is_range(text: &str) -> bool {
    let is_digit = |byte: &u8| byte.is_ascii_digit();
    let text = text.as_bytes();
    text.first().is_some_and(is_digit)
        && text.last().is_some_and(is_digit)
        && text.iter().all(|byte| is_digit(byte) || matches!(byte, b'-' | b':' | b',' | b' '))
        && !text.iter().all(is_digit)
}

/// Whether a text that is no pattern holds what only a regular expression has.
fn is_regular_expression(text: &str) -> bool {
    let is_sign = |pair: &[u8]| matches!(pair, b".*" | b".+" | b"[^" | b"\\.");
    text.starts_with(['^', '(']) || text.ends_with('$') || text.as_bytes().windows(2).any(is_sign)
}

/// What to write for a key that has a meaning elsewhere: in the language's first edition, in Istio's
/// AuthorizationPolicy, or in YAML.
fn other_name(key: &str, known: &[&str]) -> Option<&'static str> {
    match key {
        "only" if known.contains(&"state") => {
            Some("write `state: dry-run` for `only: next`, `state: retiring` for `only: now`")
        }
        "operation" if known.contains(&"hosts") => Some(LEVEL),
        "source" if known.contains(&"principals") => Some(LEVEL),
        "<<" => Some("write out the members that the merge key `<<` stands for"),
        _ => None,
    }
}

/// What to write for the level between an entry and its fields.
const LEVEL: &str = "write the fields in it directly into the entry";

impl Required {
    fn key(self) -> &'static str {
        match self {
            Self::Policy => "policy",
            Self::Rules => "rules",
            Self::Id => "id",
            Self::Action => "action",
        }
    }

    fn remedy(self) -> &'static str {
        match self {
            Self::Policy => "name the policy, such as `payments-egress`",
            Self::Rules => "write rules, or write `default` out: `deny` or `allow`",
            Self::Id => "give the rule an id, such as `stripe`",
            Self::Action => "write `action: allow` or `action: deny`",
        }
    }
}

impl Found {
    fn describe(&self) -> Cow<'static, str> {
        match self {
            Self::Null => "null".into(),
            Self::Bool(value) => format!("the boolean `{value}`").into(),
            Self::Number(value) => format!("the number {}", number_text(*value)).into(),
            Self::Text(text) => format!("the string {}", quote(text)).into(),
            Self::List => "a list".into(),
            Self::Object => "an object".into(),
        }
    }
}

impl Type {
    fn describe(self) -> &'static str {
        match self {
            Self::Bool => "`true` or `false`",
            Self::Number => "a number without quotes",
            Self::Text => "a string",
            Self::List => "a list",
            Self::Object => "an object",
        }
    }
}

impl TextError {
    fn problem(self) -> &'static str {
        match self {
            Self::Empty => "an empty pattern",
            Self::Wildcard | Self::PathWildcard => "`*` in another place",
            Self::Scheme => "a SPIFFE id with its scheme",
            Self::PathCharacter(_) => "a path with a character that readers take apart",
            Self::PathEscape => "a path with a percent-escape other than `%2f`",
            Self::Template => "a template elsewhere than as a whole segment",
            Self::DoubleSlash | Self::DotSegment | Self::RelativePath => {
                "a path that no request has"
            }
        }
    }

    fn remedy(self, text: &str) -> Cow<'static, str> {
        match self {
            Self::Empty | Self::Wildcard => {
                "write it out, or as `prefix*`, `*suffix` or `*`".into()
            }
            Self::PathWildcard => {
                "write it out, or as `prefix*`, `*suffix` or `*`; `{*}` is one whole \
                                   segment, `{**}` at the end all that follow"
                    .into()
            }
            Self::Scheme => match without_scheme(text) {
                "" => "write a SPIFFE id without `spiffe://`".into(),
                bare => format!("use {}", enclose('"', bare)).into(),
            },
            Self::PathCharacter(character) => format!(
                "leave `{character}` out: patterns match the decoded path without its query"
            )
            .into(),
            Self::PathEscape => {
                "write the decoded character; of escapes only `%2f` says more than its character"
                    .into()
            }
            Self::Template => {
                "write `{*}` for one whole segment, or `{**}` at the end for all that \
                               follow, without another `*`"
                    .into()
            }
            Self::DoubleSlash => "write one `/`: repeated ones are merged".into(),
            Self::DotSegment => "leave the dot segment out".into(),
            Self::RelativePath => {
                let absolute = enclose('"', &format!("/{text}"));
                format!("start it with `/` or `*`, as in {absolute}").into()
            }
        }
    }
}

/// Words in backticks.
fn list(words: &[&str]) -> String {
    words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ")
}

/// The step of a JSONPath (RFC 9535) that leads to a key: `.key`, or `['key']` where it must be quoted.
pub fn path_step(key: &str) -> String {
    if is_identifier(key) {
        return format!(".{key}");
    }
    let key: String = key.chars().take(MAX_QUOTE).collect();
    format!("['{}']", key.escape_debug())
}

fn is_identifier(key: &str) -> bool {
    key.len() <= MAX_QUOTE
        && key.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && key.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// Most characters of the author's text that a message repeats.
const MAX_QUOTE: usize = 80;

/// The author's own text in a message: in backticks, on one line, cut.
fn quote(text: &str) -> String {
    enclose('`', text)
}

/// A text between two marks, on one line, cut.
fn enclose(mark: char, text: &str) -> String {
    let mut enclosed = String::from(mark);
    for character in text.chars().take(MAX_QUOTE) {
        if character.is_control() || matches!(character, '\u{2028}' | '\u{2029}') {
            enclosed.extend(character.escape_default());
        } else {
            enclosed.push(character);
        }
    }
    if text.chars().nth(MAX_QUOTE).is_some() {
        enclosed.push('…');
    }
    enclosed.push(mark);
    enclosed
}
