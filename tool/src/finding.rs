//! Something to say about a place in a text, as data: where, and what of a kind. English is in the
//! display of kinds alone.

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;

/// Where something stands in a text: an offset in bytes and the one behind it.
pub(crate) type Span = Range<usize>;

/// Something to say about a place in a text.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Finding<K> {
    /// JSONPath (RFC 9535).
    pub(crate) path: String,
    pub(crate) span: Span,
    pub(crate) kind: K,
}

/// What a kind says to people.
pub(crate) trait Message: fmt::Debug {
    /// What was found.
    fn problem(&self) -> Cow<'_, str>;
    /// What to write instead.
    fn remedy(&self) -> Cow<'_, str>;
}

impl<K> Finding<K> {
    /// One about a whole text.
    pub(crate) fn whole(span: Span, kind: K) -> Self {
        Self { path: "$".to_owned(), span, kind }
    }

    /// The same finding among those of a wider kind.
    pub(crate) fn map<W>(self, widen: impl FnOnce(K) -> W) -> Finding<W> {
        Finding { path: self.path, span: self.span, kind: widen(self.kind) }
    }
}
