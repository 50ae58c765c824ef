//! The text of a configuration dump -> JSON, or why it is none.

use super::tree::{Fields, shown};
use crate::failure::Failure;
use serde_json::Value;

/// Largest text, in bytes.
pub(crate) const MAX_TEXT: usize = 512 << 20;

/// How much of a text that is none is told, in bytes.
const START: usize = 60;

/// RFC 1952, section 2.3.1.
const GZIP: &[u8] = b"\x1f\x8b";
/// RFC 8878, section 3.1.1.
const ZSTD: &[u8] = b"\x28\xb5\x2f\xfd";

/// Reads what Envoy answers to `/config_dump`. `place` is the name of the text for messages.
pub(crate) fn read(text: &[u8], place: &str) -> Result<Value, Failure> {
    let value = json(text, place, "`curl -s localhost:15000/config_dump?include_eds`")?;
    let fail = |problem: &str, remedy: &str| Err(Failure::new(place, problem, remedy));
    if value.field("stats").is_some() {
        return fail("statistics, and no configuration dump", "give it as `--stats`");
    }
    match value.field("configs").and_then(Value::as_array) {
        Some(configs) if !configs.is_empty() => Ok(value),
        Some(_) => fail("a dump without any configuration", "take the whole dump, `/config_dump`"),
        None => fail(
            "no configuration dump: it has no list `configs`",
            "give what the gateway's admin address answers to `/config_dump?include_eds`",
        ),
    }
}

/// Reads JSON; `command` is what writes it.
pub(super) fn json(text: &[u8], place: &str, command: &str) -> Result<Value, Failure> {
    let fail = |problem: &str, remedy: String| Failure::new(place, problem, remedy);
    if text.trim_ascii().is_empty() {
        let remedy = format!("see what {command} says by itself");
        return Err(fail("empty", remedy));
    }
    for (start, problem, command) in
        [(GZIP, "packed by gzip", "gzip -dc"), (ZSTD, "packed by zstd", "zstd -dc")]
    {
        if text.starts_with(start) {
            return Err(fail(problem, format!("unpack it: `{command} FILE`, and give `-`")));
        }
    }
    serde_json::from_slice(text).map_err(|error| match error.is_eof() {
        true => fail("JSON that is cut off", format!("take it again: {command}")),
        false => {
            let start = String::from_utf8_lossy(text.get(..START).unwrap_or(text));
            let problem = format!("not JSON: {error}, in `{}`", shown(start.trim()));
            fail(&problem, format!("give what {command} writes"))
        }
    })
}
