//! Host calls that are not answered as Envoy answers them.

/// The calls that go wrong.
#[derive(Clone, Copy, Debug)]
pub enum Calls {
    All,
    /// Those of one import.
    Of(&'static str),
    /// Those of one import about one thing: the path of a property, its parts joined by NUL, or the
    /// name of a header, of filter state or of a metric.
    About(&'static str, &'static str),
}

/// What the guest is told in place of the truth. Nothing else happens: no header is written, no
/// answer sent.
#[derive(Clone, Debug)]
pub enum Misbehaviour {
    /// This status; 0 claims success and returns nothing.
    Status(u32),
    /// Success, and these bytes.
    Bytes(Vec<u8>),
    /// Success, and a size without a pointer.
    NullPointer { size: u64 },
    /// Success, and a pointer without a size.
    NoSize,
}

impl Calls {
    pub fn contain(self, import: &str, subject: impl FnOnce() -> Option<Vec<u8>>) -> bool {
        match self {
            Self::All => true,
            Self::Of(name) => name == import,
            Self::About(name, about) => {
                name == import && subject().is_some_and(|subject| subject == about.as_bytes())
            }
        }
    }
}
