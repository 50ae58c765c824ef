//! Panics on command: in the test build only (`--cfg egress_fault`), the shipped library lacks them.
//!
//! The filter's name says where and when: `fault/CALLBACK/NUMBER` panics at every so manieth call of one of
//! [`Callback`]. Under any other name nothing goes wrong.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// A place where something can go wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Callback {
    Configure,
    Begin,
    RequestHeaders,
    /// The filter has decided, and its writes are to be carried out.
    HeaderWrite,
    RequestBody,
    RequestTrailers,
    End,
    Forget,
}

impl Callback {
    fn name(self) -> &'static str {
        match self {
            Self::Configure => "configure",
            Self::Begin => "begin",
            Self::RequestHeaders => "request_headers",
            Self::HeaderWrite => "header_write",
            Self::RequestBody => "request_body",
            Self::RequestTrailers => "request_trailers",
            Self::End => "end",
            Self::Forget => "forget",
        }
    }
}

/// What a name asks for.
#[derive(Debug)]
pub(crate) struct Fault {
    callback: String,
    every: u64,
    calls: AtomicU64,
}

impl Fault {
    pub(crate) fn of_name(name: &[u8]) -> Option<Self> {
        let name = String::from_utf8_lossy(name);
        let ["fault", callback, number] = name.split('/').collect::<Vec<_>>()[..] else {
            return None;
        };
        let every = number.parse().ok()?;
        Some(Self { callback: callback.to_owned(), every, calls: AtomicU64::new(0) })
    }

    #[expect(clippy::panic, reason = "this is what it is for")]
    pub(crate) fn strike(&self, callback: Callback) {
        if callback.name() == self.callback
            && self.calls.fetch_add(1, Relaxed).saturating_add(1).is_multiple_of(self.every)
        {
            panic!("a fault at {}", self.callback);
        }
    }
}
