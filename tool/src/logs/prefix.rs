//! What may stand before a record on its line.
//!
//! Envoy writes header values into a text access log as they were sent: quotes, tabs and braces may
//! stand in a user agent or a path. So JSON somewhere in a line proves nothing. A record begins where
//! its line begins, or behind one of these prefixes, from their first byte to their last:
//!
//! | prefix | written by |
//! | --- | --- |
//! | `TIME stdout F `, `TIME stderr F ` | a container runtime (CRI) |
//! | `[pod/POD/CONTAINER] ` | `kubectl logs --prefix` |
//! | `POD CONTAINER `, `NAMESPACE POD CONTAINER ` | stern; the pod's name ends in what a controller appends |
//! | `SERVICE-1  \| ` | docker compose |
//! | `TIME {NAME="VALUE", …} ` without fractions of a second | logcli |
//! | `TIME STREAM `, the offset as `+00:00` with six digits of a second or none | `aws logs tail` |
//! | `MMM DD TIME HOST UNIT[PID]: `, or with a time of RFC 3339 | journald, syslog |
//! | `TIME ` with nine digits of a second, alone or behind one of the last three | `--timestamps` |
//! | `[TIME][THREAD][LEVEL][wasm] [FILE:LINE] wasm log PLUGIN: ` | Envoy's own log; may stand behind all of these |
//! | the same in Istio's form, or cut down to `wasm log PLUGIN: ` | Istio's proxy, Envoy with `--log-format %v` |
//!
//! Envoy's own log holds what other plugins say, too, so `PLUGIN` must be the filter's. The parts of a
//! container runtime's lines are joined before.

use super::unread::Problem;
use egress_warden::host::{MAX_LABEL, MAX_NAME};
use std::fmt;

/// What stood before a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Prefix {
    is_in_envelope: bool,
    carrier: Option<Carrier>,
    has_time: bool,
    log: Option<ProxyLog>,
}

/// Who brought the line here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Carrier {
    Runtime,
    Kubectl,
    Stern,
    Compose,
    Logcli,
    Tail,
    Journal,
}

/// How a proxy begins the lines of its own log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum ProxyLog {
    Envoy,
    Istio,
    Message,
}

/// A record with what stood before it.
#[derive(Debug)]
pub(super) struct Start<'a> {
    pub(super) prefix: Prefix,
    /// What stands behind it, to the end of the line.
    pub(super) record: &'a str,
}

impl Prefix {
    /// Nothing.
    pub(super) const NONE: Self =
        Self { is_in_envelope: false, carrier: None, has_time: false, log: None };

    /// The same, in an envelope or not.
    pub(super) fn within(self, is_in_envelope: bool) -> Self {
        Self { is_in_envelope, ..self }
    }

    /// Takes a known prefix off a line; `plugin` is part of the filter's name in Envoy's log.
    pub(super) fn split<'a>(line: &'a str, plugin: &str) -> Result<Start<'a>, Problem> {
        if line.starts_with('{') {
            return Ok(Start { prefix: Self::NONE, record: line });
        }
        let carried = [
            (Carrier::Runtime, runtime(line)),
            (Carrier::Kubectl, kubectl(line)),
            (Carrier::Stern, stern(line)),
            (Carrier::Compose, compose(line)),
            (Carrier::Logcli, logcli(line)),
            (Carrier::Journal, journal(line)),
            (Carrier::Tail, tail(line)),
        ];
        let carried = carried.into_iter().find_map(|(carrier, rest)| Some((carrier, rest?)));
        let carrier = carried.map(|(carrier, _)| carrier);
        let rest = carried.map_or(line, |(_, rest)| rest);
        let timed = match carrier {
            Some(Carrier::Runtime) => None,
            _ => command_time(rest),
        };
        let (has_time, rest) = (timed.is_some(), timed.unwrap_or(rest));
        let (log, record) = match proxy_log(rest) {
            None => (None, rest),
            Some((log, message)) => {
                let (name, record) = message.split_once(": ").ok_or(Problem::UnknownPrefix)?;
                if !name.contains(plugin) {
                    return Err(Problem::OtherPlugin);
                }
                (Some(log), record)
            }
        };
        Ok(Start { prefix: Self { is_in_envelope: false, carrier, has_time, log }, record })
    }

    /// Whether it is of a log that holds the filter's lines, and no access log.
    pub(super) fn is_of_proxy_log(self) -> bool {
        self.log.is_some()
    }

    /// Whether a proxy writes `<tab>thread=17` behind what it was told to log.
    pub(super) fn names_thread_behind(self) -> bool {
        self.log == Some(ProxyLog::Istio)
    }
}

/// The prefix with words for what differs from line to line; nothing where there is none.
impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_in_envelope { "{KEY: " } else { "" })?;
        f.write_str(match self.carrier {
            None => "",
            Some(Carrier::Runtime) => "TIME STREAM F ",
            Some(Carrier::Kubectl) => "[pod/POD/CONTAINER] ",
            Some(Carrier::Stern) => "POD CONTAINER ",
            Some(Carrier::Compose) => "SERVICE | ",
            Some(Carrier::Logcli) => "TIME {LABELS} ",
            Some(Carrier::Tail) => "TIME STREAM ",
            Some(Carrier::Journal) => "TIME HOST UNIT[PID]: ",
        })?;
        f.write_str(if self.has_time { "TIME " } else { "" })?;
        f.write_str(match self.log {
            None => "",
            Some(ProxyLog::Envoy) => "[TIME][THREAD][LEVEL][wasm] [FILE:LINE] wasm log PLUGIN: ",
            Some(ProxyLog::Istio) => "TIME LEVEL envoy wasm FILE:LINE wasm log PLUGIN: ",
            Some(ProxyLog::Message) => "wasm log PLUGIN: ",
        })
    }
}

/// Why a text without a record is none.
pub(super) fn problem(text: &str) -> Problem {
    match (stream(text), text.contains('{')) {
        (Some((_, rest)), _) if is_part(rest) => Problem::Part,
        (_, true) => Problem::UnknownPrefix,
        (_, false) => Problem::NoObject,
    }
}

/// Whether what follows a container runtime's stream is the tag of a part, or no tag that is known.
fn is_part(rest: &str) -> bool {
    !rest.starts_with("F ") && rest != "F"
}

/// A line of a container runtime's log (CRI).
#[derive(Debug, PartialEq, Eq)]
pub(super) struct RuntimeLine {
    pub(super) is_stderr: bool,
    pub(super) tag: Tag,
    /// Where its tag, and where its content begins.
    pub(super) tag_at: usize,
    pub(super) content_at: usize,
}

/// Whether a runtime's line is the last of those that it cut a longer one into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tag {
    Part,
    Last,
}

impl RuntimeLine {
    /// Reads the start of a line; `None` where no runtime wrote it, or with a tag that is not known.
    pub(super) fn read(line: &[u8]) -> Option<Self> {
        // Most lines are of no runtime's log.
        if !line.first().is_some_and(u8::is_ascii_digit) {
            return None;
        }
        let head = line.get(..MAX_RUNTIME_PREFIX).unwrap_or(line);
        let head = head.utf8_chunks().next().map_or("", |chunk| chunk.valid());
        let (is_stderr, rest) = stream(head)?;
        // Tags are separated by colons; there is no second one yet.
        let tags_end = rest.find(' ').unwrap_or(rest.len());
        let tag = match rest.get(..tags_end)?.split(':').next()? {
            "P" => Tag::Part,
            "F" => Tag::Last,
            _ => return None,
        };
        let tag_at = head.len() - rest.len();
        Some(Self { is_stderr, tag, tag_at, content_at: (tag_at + tags_end + 1).min(line.len()) })
    }
}

/// Longer than any [`runtime`] prefix.
const MAX_RUNTIME_PREFIX: usize = 64;

fn runtime(line: &str) -> Option<&str> {
    stream(line)?.1.strip_prefix("F ")
}

/// The stream that a container runtime names, and what follows.
fn stream(line: &str) -> Option<(bool, &str)> {
    let rest = time(line)?.rest.strip_prefix(' ')?;
    let stdout = rest.strip_prefix("stdout ").map(|rest| (false, rest));
    stdout.or_else(|| rest.strip_prefix("stderr ").map(|rest| (true, rest)))
}

fn kubectl(line: &str) -> Option<&str> {
    let (pod, rest) = line.strip_prefix("[pod/")?.split_once('/')?;
    let (container, rest) = rest.split_once("] ")?;
    (is_name(pod) && is_label(container)).then_some(rest)
}

fn stern(line: &str) -> Option<&str> {
    // Text access logs hold times, status codes and addresses there.
    let is_word = |it: &str| is_label(it) && has_letter(it);
    let (first, rest) = line.split_once(' ')?;
    let (second, rest) = rest.split_once(' ')?;
    if is_pod(first) && is_word(second) {
        return Some(rest);
    }
    let (third, rest) = rest.split_once(' ')?;
    (is_word(first) && is_pod(second) && is_word(third)).then_some(rest)
}

fn compose(line: &str) -> Option<&str> {
    let (name, rest) = line.split_once(' ')?;
    let rest = rest.trim_start_matches(' ').strip_prefix("| ")?;
    let (service, number) = name.rsplit_once(['-', '_'])?;
    let is_service_byte = |it: u8| it.is_ascii_alphanumeric() || matches!(it, b'-' | b'_' | b'.');
    // A date has none.
    let is_service = has_letter(service) && service.bytes().all(is_service_byte);
    let is_number = !number.is_empty() && number.bytes().all(|it| it.is_ascii_digit());
    (is_service && is_number).then_some(rest)
}

/// Labels behind a time to the second, as logcli shows them: aligned by blanks, and each value in quotes.
fn logcli(line: &str) -> Option<&str> {
    let LeadingTime { digits, rest } = time(line)?;
    let mut rest = rest.strip_prefix(" {").filter(|_| digits == 0)?;
    if let Some(behind) = rest.strip_prefix("} ") {
        return Some(behind.trim_start_matches(' '));
    }
    loop {
        let (name, behind) = rest.split_once("=\"")?;
        let is_name = |it: u8| it.is_ascii_alphanumeric() || it == b'_';
        if name.is_empty() || !name.bytes().all(is_name) {
            return None;
        }
        rest = behind_quoted(behind)?;
        match rest.strip_prefix(", ") {
            Some(next) => rest = next,
            None => return rest.strip_prefix("} ").map(|it| it.trim_start_matches(' ')),
        }
    }
}

/// What stands behind the quote that ends a text, in which quotes are escaped.
fn behind_quoted(text: &str) -> Option<&str> {
    let mut is_escaped = false;
    let end = text.bytes().position(|byte| {
        let is_end = byte == b'"' && !is_escaped;
        is_escaped = byte == b'\\' && !is_escaped;
        is_end
    })?;
    text.get(end + 1..)
}

/// The stream behind a time as Python shows one, which no access log's is.
fn tail(line: &str) -> Option<&str> {
    let LeadingTime { digits, rest } = time(line)?;
    let before = line.get(..line.len() - rest.len())?;
    if !before.ends_with("+00:00") || !(digits == 6 || digits == 0) {
        return None;
    }
    let (stream, rest) = rest.strip_prefix(' ')?.split_once(' ')?;
    let is_stream_byte = |it: u8| it.is_ascii_alphanumeric() || b"/_.-#$[]".contains(&it);
    (has_letter(stream) && stream.bytes().all(is_stream_byte)).then_some(rest)
}

/// Host and unit behind a time, as journald shows them to be read by people.
fn journal(line: &str) -> Option<&str> {
    let rest = match syslog_time(line) {
        Some(rest) => rest,
        None => time(line)?.rest.strip_prefix(' ')?,
    };
    let (host, rest) = rest.split_once(' ')?;
    let (unit, rest) = rest.split_once(": ")?;
    let (name, number) = unit.strip_suffix(']')?.split_once('[')?;
    let is_host_byte = |it: u8| it.is_ascii_alphanumeric() || b"-_.".contains(&it);
    let is_unit_byte = |it: u8| it.is_ascii_alphanumeric() || b"-_.@/".contains(&it);
    let is_unit = !host.is_empty()
        && host.bytes().all(is_host_byte)
        && has_letter(name)
        && name.bytes().all(is_unit_byte)
        && is_number(number);
    is_unit.then_some(rest)
}

/// Behind a time like `May 04 10:20:01 `, with a blank for the first digit of a day or without.
fn syslog_time(line: &str) -> Option<&str> {
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let (month, rest) = line.split_at_checked(3)?;
    let (day, rest) = rest.split_at_checked(" 00 ".len())?;
    let (clock, rest) = rest.split_at_checked("00:00:00 ".len())?;
    let is_day = day.replacen("  ", " 0", 1).bytes().zip(*b" 00 ").all(is_of_shape);
    let is_clock = clock.bytes().zip(*b"00:00:00 ").all(is_of_shape);
    (MONTHS.contains(&month) && is_day && is_clock).then_some(rest)
}

/// The time that a command adds: with nine digits, and so none of an access log's.
fn command_time(text: &str) -> Option<&str> {
    let time = time(text)?;
    (time.digits == 9).then(|| time.rest.strip_prefix(' '))?
}

/// The start of a line in a proxy's own log, up to the plugin's name.
fn proxy_log(text: &str) -> Option<(ProxyLog, &str)> {
    const MESSAGE: &str = "wasm log ";
    if let Some(message) = text.strip_prefix(MESSAGE) {
        return Some((ProxyLog::Message, message));
    }
    if let Some(rest) = text.strip_prefix('[') {
        let (date, rest) = rest.split_at_checked("2026-11-25 03:00:00".len())?;
        let is_date = date.bytes().zip(*b"0000-00-00 00:00:00").all(is_of_shape);
        let (fraction, rest) = rest.strip_prefix('.')?.split_once("][")?;
        let (thread, rest) = rest.split_once("][")?;
        let (level, rest) = rest.split_once("][wasm] [")?;
        let (place, rest) = rest.split_once("] ")?;
        let is_start = is_date
            && [fraction, thread].into_iter().all(is_number)
            && is_level(level)
            && is_place(place);
        return is_start.then(|| Some((ProxyLog::Envoy, rest.strip_prefix(MESSAGE)?)))?;
    }
    let rest = time(text)?.rest.strip_prefix('\t')?;
    let (level, rest) = rest.split_once('\t')?;
    let (place, rest) = rest.strip_prefix("envoy wasm ")?.split_once('\t')?;
    (is_level(level) && is_place(place))
        .then(|| Some((ProxyLog::Istio, rest.strip_prefix(MESSAGE)?)))?
}

/// A time at the start of a text.
struct LeadingTime<'a> {
    /// How many digits of a second stand there.
    digits: usize,
    rest: &'a str,
}

/// Reads a time of RFC 3339.
fn time(text: &str) -> Option<LeadingTime<'_>> {
    let (whole, rest) = text.split_at_checked("2026-11-25T03:00:00".len())?;
    if !whole.bytes().zip(*b"0000-00-00T00:00:00").all(is_of_shape) {
        return None;
    }
    let (digits, rest) = match rest.strip_prefix('.') {
        None => (0, rest),
        Some(fraction) => {
            let rest = fraction.trim_start_matches(|it: char| it.is_ascii_digit());
            (fraction.len() - rest.len(), rest)
        }
    };
    if let Some(rest) = rest.strip_prefix('Z') {
        return Some(LeadingTime { digits, rest });
    }
    let (offset, rest) = rest.strip_prefix(['+', '-'])?.split_at_checked("00:00".len())?;
    let is_offset = offset.bytes().zip(*b"00:00").all(is_of_shape);
    is_offset.then_some(LeadingTime { digits, rest })
}

/// Whether a byte is what stands in a pattern, where `0` is any digit.
fn is_of_shape((byte, shape): (u8, u8)) -> bool {
    if shape == b'0' { byte.is_ascii_digit() } else { byte == shape }
}

/// Whether a controller may have made the name of this pod: one of a StatefulSet ends in its number,
/// others in five letters or digits.
fn is_pod(name: &str) -> bool {
    let end = name.rsplit_once('-').map_or("", |(_, end)| end);
    is_name(name) && (is_number(end) || end.len() == 5)
}

/// A name of a pod: labels joined by dots (RFC 1123).
fn is_name(name: &str) -> bool {
    name.len() <= MAX_NAME && name.split('.').all(is_label)
}

/// A name of a namespace or a container: one label (RFC 1123).
fn is_label(label: &str) -> bool {
    let is_inner = |it: u8| it.is_ascii_lowercase() || it.is_ascii_digit() || it == b'-';
    let is_outer = |it: Option<char>| it.is_some_and(|it| it.is_ascii_alphanumeric());
    label.len() <= MAX_LABEL
        && label.bytes().all(is_inner)
        && is_outer(label.chars().next())
        && is_outer(label.chars().next_back())
}

fn has_letter(text: &str) -> bool {
    text.bytes().any(|it| it.is_ascii_alphabetic())
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|it| it.is_ascii_digit())
}

fn is_level(text: &str) -> bool {
    matches!(text, "trace" | "debug" | "info" | "warning" | "error" | "critical")
}

/// `FILE:LINE` of Envoy's source.
fn is_place(text: &str) -> bool {
    let is_path_byte = |it: u8| it.is_ascii_alphanumeric() || b"_-./".contains(&it);
    text.rsplit_once(':')
        .is_some_and(|(path, line)| path.bytes().all(is_path_byte) && is_number(line))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_known_prefix_is_told() {
        for (before, shown) in [
            ("", ""),
            ("2026-11-25T03:00:00Z stdout F ", "TIME STREAM F "),
            ("2026-11-25T03:00:00.123456789+01:00 stderr F ", "TIME STREAM F "),
            ("2026-11-25T03:00:00.123456789Z ", "TIME "),
            ("[pod/gw-1/istio-proxy] ", "[pod/POD/CONTAINER] "),
            ("[pod/gw/envoy] 2026-11-25T03:00:00.123456789Z ", "[pod/POD/CONTAINER] TIME "),
            ("gw-6d9c7f8b54-x7k2p istio-proxy ", "POD CONTAINER "),
            ("infra gw-0 istio-proxy 2026-11-25T03:00:00.123456789Z ", "POD CONTAINER TIME "),
            ("1a gw.2-0 envoy-2 ", "POD CONTAINER "),
            ("gateway-1  | ", "SERVICE | "),
            ("my_app_gateway_12 | 2026-11-25T03:00:00.123456789Z ", "SERVICE | TIME "),
            ("2026-11-25T03:00:00Z {} ", "TIME {LABELS} "),
            (r#"2026-11-25T04:00:00+01:00 {app="gw", pod="gw-1 \"{\""}    "#, "TIME {LABELS} "),
            ("2026-11-25T03:00:00.123456+00:00 gw/envoy/0f3c ", "TIME STREAM "),
            ("2026-11-25T03:00:00+00:00 gw ", "TIME STREAM "),
            ("Nov  5 03:00:00 node-1 envoy[712]: ", "TIME HOST UNIT[PID]: "),
            ("Nov 25 03:00:00 node-1.test envoy@gw[712]: ", "TIME HOST UNIT[PID]: "),
            ("2026-11-25T03:00:00+00:00 node-1 envoy[712]: ", "TIME HOST UNIT[PID]: "),
            ("wasm log egress-warden: ", "wasm log PLUGIN: "),
            ("wasm log infra.egress-warden connections:443: ", "wasm log PLUGIN: "),
            (
                "2026-11-25T03:00:00Z stderr F [2026-11-25 03:00:00.124][7][warning][wasm] [source/extensions/common/wasm/context.cc:1148] wasm log egress-warden: ",
                "TIME STREAM F [TIME][THREAD][LEVEL][wasm] [FILE:LINE] wasm log PLUGIN: ",
            ),
            (
                "2026-11-25T03:00:00.124231Z\twarning\tenvoy wasm external/envoy/source/extensions/common/wasm/context.cc:1198\twasm log egress-warden: ",
                "TIME LEVEL envoy wasm FILE:LINE wasm log PLUGIN: ",
            ),
        ] {
            let line = format!("{before}{{}}");
            let start = Prefix::split(&line, "egress-warden").expect(&line);
            assert_eq!((start.prefix.to_string().as_str(), start.record), (shown, "{}"), "{line}");
        }
    }

    #[test]
    fn nothing_else_is_a_prefix() {
        for line in [
            " {}",
            "x{}",
            "[2026-03-02T08:15:51.483Z] {}",
            "[2026-03-02T08:15:51.483Z] \"GET / HTTP/1.1\" {}",
            // An access log's own time has three digits.
            "2026-03-02T08:15:51.483Z {}",
            "2026-03-02T08:15:51.483000000Z  {}",
            "2026-03-02T08:15:51.483000000 {}",
            "2026-03-02T08:15:51.483000000Z stdout  {}",
            "2026-03-02T08:15:51.483000000Z stdout X {}",
            "2026-03-02T08:15:51.483000000Z stdlog F {}",
            "200 default {}",
            "GET / {}",
            "200 | {}",
            "default | {}",
            "a.example 113ffafb-17ac-464a-9930-f8474545c66f {}",
            // What an access log begins with, and two words of the caller.
            "10.1.2.3 a-0 403 {}",
            "1772439351 a-0 403 {}",
            "1772439351 a-0 b {}",
            "10.1.2.3 a-0 b {}",
            "a-0 403 {}",
            "a-0 b.example {}",
            "-a a-0 b {}",
            "a a-0 b- {}",
            "a .a-0 b {}",
            "a a..b-0 b {}",
            "2026-03-02 | {}",
            "2026-03-02T08:15:51.483Z {} {}",
            "2026-03-02T08:15:51Z {a} {}",
            r#"2026-03-02T08:15:51Z {"a":"b"} {}"#,
            r#"2026-03-02T08:15:51Z {a="b"}{}"#,
            r#"2026-03-02T08:15:51Z {a="b",c="d"} {}"#,
            r#"2026-03-02T08:15:51Z {a="b" {}"#,
            r#"2026-03-02T08:15:51Z {a=b} {}"#,
            "2026-03-02T08:15:51.483+00:00 gw {}",
            "2026-03-02T08:15:51Z gw {}",
            "2026-03-02T08:15:51.483000+01:00 gw {}",
            "2026-03-02T08:15:51.483000+00:00 200 {}",
            "2026-03-02T08:15:51.483000+00:00 \"GET {}",
            "Nov 25 03:00:00 node-1 envoy: {}",
            "Nov 25 03:00:00 node-1 envoy[a]: {}",
            "Nov 25 03:00:00 envoy[712]: {}",
            "Non 25 03:00:00 node-1 envoy[712]: {}",
            "Nov 25 03:00 node-1 envoy[712]: {}",
            "Nov 25 03:00:00 GET /[1]: {}",
            "[pod/gw] {}",
            "[pod/gw/istio.proxy] {}",
            "[pod/gw/istio-proxy]{}",
            "[pod/gw/istio proxy] {}",
            "wasm log: {}",
            "2026-11-25T03:00:00Z stdout F 2026-11-25T03:00:00Z stdout F {}",
            "[2026-11-25 03:00:00.124][7][warning][http] [source/a.cc:1] wasm log egress-warden: {}",
            "[2026-11-25 03:00:00.124][7][warning][wasm] [source/a.cc:1] x wasm log egress-warden: {}",
            "2026-11-25T03:00:00.124Z\twarning\tenvoy lua source/a.cc:1\twasm log egress-warden: {}",
        ] {
            let start = Prefix::split(line, "egress-warden").expect(line);
            assert!(!start.record.starts_with('{'), "{line}");
        }
        let other = "wasm log other: egress-warden: {}";
        assert_eq!(Prefix::split(other, "egress-warden").expect_err(other), Problem::OtherPlugin);
        assert_eq!(problem("text"), Problem::NoObject);
        assert_eq!(problem("text {}"), Problem::UnknownPrefix);
        assert_eq!(problem("2026-11-25T03:00:00Z stdout P {}"), Problem::Part);
    }
}
