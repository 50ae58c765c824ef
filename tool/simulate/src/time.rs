//! Points in time as arguments and files write them: RFC 3339, in UTC.

use std::fmt;
use std::str::FromStr;
use std::time::{Duration, SystemTime};

/// A point in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Time(SystemTime);

impl Time {
    pub fn now() -> Self {
        Self(SystemTime::now())
    }

    /// Nanoseconds since the Unix epoch; absent where 64 bits do not hold them.
    pub fn nanoseconds(self) -> Option<u64> {
        let since = self.0.duration_since(SystemTime::UNIX_EPOCH).ok()?;
        u64::try_from(since.as_nanos()).ok()
    }

    /// How long until then; absent where it has come.
    pub fn until(self, then: SystemTime) -> Option<Duration> {
        then.duration_since(self.0).ok().filter(|left| !left.is_zero())
    }
}

impl FromStr for Time {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let time = humantime::parse_rfc3339(text).map(Self);
        time.ok()
            .filter(|time| time.nanoseconds().is_some())
            .ok_or_else(|| "write a time in UTC, such as `2027-01-31T00:00:00Z`".to_owned())
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        humantime::format_rfc3339_seconds(self.0).fmt(f)
    }
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
    /// Nanoseconds since the Unix epoch.
    pub(crate) fn nanoseconds(self) -> Option<u64> {
        match self {
            Self::Unreadable => None,
            Self::At(time) => time.nanoseconds(),
        }
    }
}
