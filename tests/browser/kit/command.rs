//! Commands that only ChromeDriver has.

use fantoccini::wd::WebDriverCompatibleCommand;
use http::Method;
use serde_json::{Value, json};
use url::{ParseError, Url};

/// A command of Chrome's own protocol.
#[derive(Debug)]
pub(crate) struct Chrome {
    pub(crate) command: &'static str,
    pub(crate) given: Value,
}

/// What was logged since it was last asked.
#[derive(Debug)]
pub(crate) struct Log {
    /// `browser` or `performance`.
    pub(crate) kind: &'static str,
}

impl WebDriverCompatibleCommand for Chrome {
    fn endpoint(&self, base: &Url, session: Option<&str>) -> Result<Url, ParseError> {
        of_session(base, session, "goog/cdp/execute")
    }

    fn method_and_body(&self, _: &Url) -> (Method, Option<String>) {
        (Method::POST, Some(json!({"cmd": self.command, "params": self.given}).to_string()))
    }
}

impl WebDriverCompatibleCommand for Log {
    fn endpoint(&self, base: &Url, session: Option<&str>) -> Result<Url, ParseError> {
        of_session(base, session, "se/log")
    }

    fn method_and_body(&self, _: &Url) -> (Method, Option<String>) {
        (Method::POST, Some(json!({"type": self.kind}).to_string()))
    }
}

fn of_session(base: &Url, session: Option<&str>, path: &str) -> Result<Url, ParseError> {
    base.join(&format!("session/{}/{path}", session.unwrap_or_default()))
}
