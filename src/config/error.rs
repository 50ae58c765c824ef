//! Errors of a policy as data: where, what was found, and what to put there where that is certain.
//!
//! English is in [`super::words`] alone: whoever wants to know what an error says asks its kind.

use super::order::sorted;
use super::tree::{Node, Value};
use crate::host::PatternError;
use crate::policy::TextPattern;
use crate::stamp::{NameError, TemplateError};
use std::cmp::Ordering;

/// One error. Its text reads "`PATH`: found PROBLEM: REMEDY", on one line.
#[derive(Clone, Debug, PartialEq)]
pub struct Error {
    place: Place,
    kind: ErrorKind,
}

impl Error {
    /// An error of the value at a path.
    pub(super) fn at(path: &Path<'_>, kind: ErrorKind) -> Self {
        Self { place: Place { steps: path.steps(), is_key: false }, kind }
    }

    /// An error of the key at the end of a path.
    pub(super) fn at_key(path: &Path<'_>, kind: ErrorKind) -> Self {
        Self { place: Place { steps: path.steps(), is_key: true }, kind }
    }

    /// Where.
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// What was found there.
    pub fn kind(&self) -> &ErrorKind {
        &self.kind
    }
}

/// Where in a tree an error is. Its text is JSONPath (RFC 9535) from `$`, the whole tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    steps: Vec<Step>,
    is_key: bool,
}

impl Place {
    /// The way from the whole tree.
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// Whether the key at the end of the way is meant, not its value.
    pub fn is_key(&self) -> bool {
        self.is_key
    }

    fn position_cmp(&self, other: &Self) -> Ordering {
        self.steps.iter().map(Step::position).cmp(other.steps.iter().map(Step::position))
    }
}

/// One step from a node to a node in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// To the value of a key.
    Key {
        /// The key.
        key: Box<str>,
        /// Its position among the members of the object: a key may stand there twice.
        position: usize,
    },
    /// To an item of a list.
    Index(usize),
}

impl Step {
    /// Among the members or items of the node.
    pub fn position(&self) -> usize {
        match self {
            Self::Key { position, .. } | Self::Index(position) => *position,
        }
    }
}

/// What was found. Texts are whole, as the author wrote them.
#[derive(Clone, Debug, PartialEq)]
#[expect(missing_docs, reason = "the fields say what they are")]
#[non_exhaustive]
pub enum ErrorKind {
    /// There is no text.
    EmptyText,
    /// The text is over [`super::MAX_TEXT`].
    LongText { bytes: usize },
    /// The text begins with a byte-order mark.
    ByteOrderMark,
    /// The text is not UTF-8 from this byte on.
    NotUtf8 { offset: usize },
    /// The text is not JSON, as its parser says.
    NotJson { reason: Box<str> },
    /// The key is in its object already.
    DuplicateKey,
    /// The object has no such key.
    UnknownKey { key: Box<str>, known: &'static [&'static str] },
    /// A key is absent that must be there.
    MissingKey(Required),
    /// The value is of another type.
    WrongType { found: Found, expected: Type },
    /// The number is not a whole one of the range.
    NotInRange { found: f64, min: u16, max: u16 },
    /// The value is no word of a closed list.
    UnknownWord { found: Found, known: Vec<&'static str> },
    /// The list has no items.
    EmptyList,
    /// There are no rules, and no default is named.
    NoRules,
    /// An entry of `from` or `to` without fields.
    EmptyEntry,
    /// A note or a message is too long.
    LongValue { bytes: usize, max: usize },
    /// A name of a policy, or an id of a rule, that is not in its form.
    Name { name: Box<str> },
    /// An earlier rule has this id.
    DuplicateId { id: Box<str>, first: usize },
    /// There are more than [`super::MAX_RULES`].
    TooManyRules { count: usize },
    /// There are more than [`super::MAX_HOSTS`].
    TooManyHosts { count: usize },
    /// There are more than [`super::MAX_STAMPS`].
    TooManyHeaders { count: usize },
    /// A deny rule with a stamp.
    StampInDeny,
    /// An allow rule with a message.
    MessageInAllow,
    /// No time in UTC.
    Time { text: Box<str> },
    /// No pattern of hosts.
    Host { text: Box<str>, error: PatternError },
    /// No pattern of principals, namespaces, paths or query parameters.
    Pattern { text: Box<str>, error: TextError },
    /// `query` or `notQuery` without parameters.
    EmptyQuery,
    /// No name of a query parameter that a request can have.
    ParameterName { name: Box<str> },
    /// No service account.
    ServiceAccount { text: Box<str> },
    /// No method.
    Method { text: Box<str> },
    /// A standard method in another case.
    MethodCase { text: Box<str> },
    /// No header that a stamp can name.
    Header { text: Box<str>, error: NameError },
    /// A header that the stamp names already, as `earlier`.
    DuplicateHeader { text: Box<str>, earlier: Box<str> },
    /// No value of a header.
    Template(TemplateError),
}

/// A key that must be there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the keys have these names")]
pub enum Required {
    Policy,
    /// Where `default` is absent.
    Rules,
    Id,
    Action,
}

/// A value that was found, without what is within it.
#[derive(Clone, Debug, PartialEq)]
#[expect(missing_docs, reason = "the types of JSON")]
pub enum Found {
    Null,
    Bool(bool),
    Number(f64),
    Text(Box<str>),
    List,
    Object,
}

impl Found {
    /// What a node holds.
    pub fn of<N: Node>(node: &N) -> Self {
        match node.value() {
            Value::Null => Self::Null,
            Value::Bool(value) => Self::Bool(value),
            Value::Number(value) => Self::Number(value),
            Value::Text(text) => Self::Text(text.into()),
            Value::List(_) => Self::List,
            Value::Object(_) => Self::Object,
        }
    }
}

/// A type that was expected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the types of JSON")]
pub enum Type {
    Bool,
    Number,
    Text,
    List,
    Object,
}

/// Why a text is no pattern of principals, namespaces or paths.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TextError {
    /// It is empty.
    Empty,
    /// `*` stands elsewhere than in the forms of patterns.
    Wildcard,
    /// The same of a path.
    PathWildcard,
    /// A SPIFFE id begins with `spiffe://`.
    Scheme,
    /// A path has a character that readers of paths take apart.
    PathCharacter(char),
    /// A path has a percent-escape other than `%2f`.
    PathEscape,
    /// A path has a brace, or a `*` beside one, elsewhere than in the templates `{*}` and `{**}`.
    Template,
    /// A path has `//`.
    DoubleSlash,
    /// A path has the segment `.` or `..`.
    DotSegment,
    /// A path begins with neither `/` nor `*`.
    RelativePath,
}

/// What to put in the place of a value or a key that is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Suggestion {
    /// This text.
    Text(String),
    /// This number.
    Number(u16),
}

impl ErrorKind {
    /// What to put there, where it is certain what was meant.
    pub fn suggestion(&self) -> Option<Suggestion> {
        match self {
            Self::Host { error, .. } => error.canonical().map(Suggestion::Text),
            Self::Pattern { text, error: TextError::Scheme } => {
                let bare = without_scheme(text);
                TextPattern::parse(bare).map(|_| Suggestion::Text(bare.to_owned()))
            }
            Self::MethodCase { text } => Some(Suggestion::Text(text.to_ascii_uppercase())),
            Self::Header { text, error: NameError::Case } => {
                Some(Suggestion::Text(text.to_ascii_lowercase()))
            }
            Self::WrongType { found: Found::Text(text), expected: Type::Number } => {
                let number: u16 = text.parse().ok()?;
                (number.to_string() == **text).then_some(Suggestion::Number(number))
            }
            _ => None,
        }
    }
}

/// The scheme of SPIFFE ids, which patterns of principals leave out.
const SCHEME: &str = "spiffe://";

/// A principal without its scheme.
pub(super) fn without_scheme(principal: &str) -> &str {
    principal.strip_prefix(SCHEME).unwrap_or(principal)
}

/// Every error of one policy, in the order of its tree; at least one.
#[derive(Clone, Debug, PartialEq)]
pub struct Errors(Vec<Error>);

impl Errors {
    pub(super) fn one(error: Error) -> Self {
        Self(vec![error])
    }

    pub(super) fn new(errors: Vec<Error>) -> Self {
        Self(sorted(errors, |a, b| a.place.position_cmp(&b.place)))
    }

    /// The errors.
    pub fn iter(&self) -> std::slice::Iter<'_, Error> {
        self.0.iter()
    }
}

impl IntoIterator for Errors {
    type Item = Error;
    type IntoIter = std::vec::IntoIter<Error>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

/// A place that is being read, as a chain to the whole tree.
#[derive(Clone, Copy, Debug)]
pub(super) enum Path<'a> {
    Root,
    /// A key, and its position among the members of the object.
    Key(&'a Path<'a>, &'a str, usize),
    Index(&'a Path<'a>, usize),
}

impl Path<'_> {
    pub(super) fn key<'a>(&'a self, key: &'a str, position: usize) -> Path<'a> {
        Path::Key(self, key, position)
    }

    pub(super) fn index(&self, index: usize) -> Path<'_> {
        Path::Index(self, index)
    }

    fn steps(&self) -> Vec<Step> {
        let (parent, step) = match *self {
            Self::Root => return Vec::new(),
            Self::Key(parent, key, position) => (parent, Step::Key { key: key.into(), position }),
            Self::Index(parent, index) => (parent, Step::Index(index)),
        };
        let mut steps = parent.steps();
        steps.push(step);
        steps
    }
}
