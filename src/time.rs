//! Points in time: the ends of rules, and when a request came.

use std::fmt;
use std::str::FromStr;
use std::time::{Duration, SystemTime};

/// A point in time, from 1970 to the end of the year 9999, as exact as a nanosecond.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time(Duration);

impl Time {
    /// The first of all.
    pub const EPOCH: Self = Self(Duration::ZERO);

    /// What a clock says that counts nanoseconds since the Unix epoch: it ends in the year 2554.
    pub const fn of_nanoseconds(nanoseconds: u64) -> Self {
        Self(Duration::from_nanos(nanoseconds))
    }

    /// So much after the Unix epoch; `None` after the year 9999.
    pub fn after_epoch(since: Duration) -> Option<Self> {
        /// The first second of the year 10000.
        const END: Duration = Duration::from_secs(253_402_300_800);
        (since < END).then_some(Self(since))
    }

    /// How much after the Unix epoch.
    pub fn since_epoch(self) -> Duration {
        self.0
    }

    /// The same as nanoseconds; absent where 64 bits do not hold them.
    pub fn nanoseconds(self) -> Option<u64> {
        u64::try_from(self.0.as_nanos()).ok()
    }

    /// How long until then; absent where it has come.
    pub fn until(self, then: Self) -> Option<Duration> {
        then.0.checked_sub(self.0).filter(|left| !left.is_zero())
    }

    /// As Envoy's `%START_TIME%` writes it: with milliseconds.
    pub fn milliseconds(self) -> impl fmt::Display {
        humantime::format_rfc3339_millis(self.system())
    }

    fn system(self) -> SystemTime {
        SystemTime::UNIX_EPOCH + self.0
    }
}

/// RFC 3339, in UTC.
impl FromStr for Time {
    type Err = NoTime;

    fn from_str(text: &str) -> Result<Self, NoTime> {
        let time = humantime::parse_rfc3339(text).ok();
        let since = time.and_then(|time| time.duration_since(SystemTime::UNIX_EPOCH).ok());
        since.and_then(Self::after_epoch).ok_or(NoTime)
    }
}

/// RFC 3339, in UTC, with a fraction where there is one.
impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        humantime::format_rfc3339(self.system()).fmt(f)
    }
}

/// A text that is no time in UTC (RFC 3339), or one before 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoTime;

impl fmt::Display for NoTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("write a time in UTC from 1970 on, such as `2027-01-31T00:00:00Z`")
    }
}

impl std::error::Error for NoTime {}

#[cfg(test)]
mod tests {
    use super::*;
    use wasm_bindgen_test::wasm_bindgen_test;

    #[wasm_bindgen_test(unsupported = test)]
    fn any_year_up_to_9999_is_read_and_written() {
        for text in [
            "1970-01-01T00:00:00Z",
            "2262-04-11T23:47:16.854775807Z",
            "2554-07-21T23:34:33.709551615Z",
            "2554-07-21T23:34:33.709551616Z",
            "2999-01-01T00:00:00Z",
            "9999-12-31T23:59:59.999999999Z",
        ] {
            assert_eq!(text.parse::<Time>().map(|it| it.to_string()).as_deref(), Ok(text));
        }
        for text in ["1969-12-31T23:59:59Z", "10000-01-01T00:00:00Z", "2999-01-01", "", "2999"] {
            assert_eq!(text.parse::<Time>(), Err(NoTime), "{text}");
        }
        let last = Duration::new(253_402_300_799, 999_999_999);
        assert!(Time::after_epoch(last).is_some());
        assert_eq!(Time::after_epoch(last + Duration::from_nanos(1)), None);
        let clock = Time::of_nanoseconds(u64::MAX);
        assert_eq!(clock.milliseconds().to_string(), "2554-07-21T23:34:33.709Z");
        assert!(clock < "2999-01-01T00:00:00Z".parse().unwrap());
    }
}
