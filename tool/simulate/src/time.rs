//! The proxy's clock, as arguments and files write it.

use std::time::{Duration, SystemTime};

use egress_warden::time::Time;

/// The time now, to the second.
pub fn now() -> Time {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Time::after_epoch(Duration::from_secs(since.as_secs())).unwrap_or(Time::EPOCH)
}

/// What the proxy's clock says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Clock {
    Unreadable,
    At(Time),
}

impl<'de> serde::Deserialize<'de> for Clock {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        match text.as_str() {
            "none" => Ok(Self::Unreadable),
            time => time.parse().map(Self::At).map_err(serde::de::Error::custom),
        }
    }
}

impl Clock {
    /// `None` where it cannot be read.
    pub(crate) fn time(self) -> Option<Time> {
        match self {
            Self::Unreadable => None,
            Self::At(time) => Some(time),
        }
    }
}
