//! What two policies are compared by.

/// Requests, or TLS connections that are not terminated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Subject {
    Requests,
    /// They show a name and a port, and neither method nor path.
    Connections,
}
