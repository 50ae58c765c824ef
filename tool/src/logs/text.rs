//! Access logs in text: a format string of Envoy's operators becomes a matcher of lines.
//!
//! Envoy escapes nothing in text: quotes, blanks and whole lines may stand in a path or a user agent. So
//! each operator takes every text that Envoy may write for it, and a line counts only if it can be read
//! in one way. What the writer meant is among the ways; where it is the only one, nobody else's is.

use super::line::Fields;
use super::unread::Problem;
use std::ops::Range;
use std::str::FromStr;
use std::sync::LazyLock;

/// Istio's default format since 1.9, and Envoy's; then those of Istio before. Tried where no
/// `--log-format` is given.
const DEFAULTS: [&str; 5] = [
    concat!(
        r#"[%START_TIME%] "%REQ(:METHOD)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% %PROTOCOL%" "#,
        r#"%RESPONSE_CODE% %RESPONSE_FLAGS% %RESPONSE_CODE_DETAILS% "#,
        r#"%CONNECTION_TERMINATION_DETAILS% "%UPSTREAM_TRANSPORT_FAILURE_REASON%" "#,
        r#"%BYTES_RECEIVED% %BYTES_SENT% %DURATION% %RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)% "#,
        r#""%REQ(X-FORWARDED-FOR)%" "%REQ(USER-AGENT)%" "%REQ(X-REQUEST-ID)%" "#,
        r#""%REQ(:AUTHORITY)%" "%UPSTREAM_HOST%" %UPSTREAM_CLUSTER% %UPSTREAM_LOCAL_ADDRESS% "#,
        r#"%DOWNSTREAM_LOCAL_ADDRESS% %DOWNSTREAM_REMOTE_ADDRESS% %REQUESTED_SERVER_NAME% "#,
        r#"%ROUTE_NAME%"#
    ),
    concat!(
        r#"[%START_TIME%] "%REQ(:METHOD)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% %PROTOCOL%" "#,
        r#"%RESPONSE_CODE% %RESPONSE_FLAGS% %BYTES_RECEIVED% %BYTES_SENT% %DURATION% "#,
        r#"%RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)% "%REQ(X-FORWARDED-FOR)%" "%REQ(USER-AGENT)%" "#,
        r#""%REQ(X-REQUEST-ID)%" "%REQ(:AUTHORITY)%" "%UPSTREAM_HOST%""#
    ),
    concat!(
        r#"[%START_TIME%] "%REQ(:METHOD)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% %PROTOCOL%" "#,
        r#"%RESPONSE_CODE% %RESPONSE_FLAGS% %RESPONSE_CODE_DETAILS% "#,
        r#""%UPSTREAM_TRANSPORT_FAILURE_REASON%" %BYTES_RECEIVED% %BYTES_SENT% %DURATION% "#,
        r#"%RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)% "%REQ(X-FORWARDED-FOR)%" "%REQ(USER-AGENT)%" "#,
        r#""%REQ(X-REQUEST-ID)%" "%REQ(:AUTHORITY)%" "%UPSTREAM_HOST%" %UPSTREAM_CLUSTER% "#,
        r#"%UPSTREAM_LOCAL_ADDRESS% %DOWNSTREAM_LOCAL_ADDRESS% %DOWNSTREAM_REMOTE_ADDRESS% "#,
        r#"%REQUESTED_SERVER_NAME% %ROUTE_NAME%"#
    ),
    concat!(
        r#"[%START_TIME%] "%REQ(:METHOD)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% %PROTOCOL%" "#,
        r#"%RESPONSE_CODE% %RESPONSE_FLAGS% "%DYNAMIC_METADATA(istio.mixer:status)%" "#,
        r#""%UPSTREAM_TRANSPORT_FAILURE_REASON%" %BYTES_RECEIVED% %BYTES_SENT% %DURATION% "#,
        r#"%RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)% "%REQ(X-FORWARDED-FOR)%" "%REQ(USER-AGENT)%" "#,
        r#""%REQ(X-REQUEST-ID)%" "%REQ(:AUTHORITY)%" "%UPSTREAM_HOST%" %UPSTREAM_CLUSTER% "#,
        r#"%UPSTREAM_LOCAL_ADDRESS% %DOWNSTREAM_LOCAL_ADDRESS% %DOWNSTREAM_REMOTE_ADDRESS% "#,
        r#"%REQUESTED_SERVER_NAME% %ROUTE_NAME%"#
    ),
    concat!(
        r#"[%START_TIME%] "%REQ(:METHOD)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% %PROTOCOL%" "#,
        r#"%RESPONSE_CODE% %RESPONSE_FLAGS% "%DYNAMIC_METADATA(istio.mixer:status)%" "#,
        r#""%UPSTREAM_TRANSPORT_FAILURE_REASON%" %BYTES_RECEIVED% %BYTES_SENT% %DURATION% "#,
        r#"%RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)% "%REQ(X-FORWARDED-FOR)%" "%REQ(USER-AGENT)%" "#,
        r#""%REQ(X-REQUEST-ID)%" "%REQ(:AUTHORITY)%" "%UPSTREAM_HOST%" %UPSTREAM_CLUSTER% "#,
        r#"%UPSTREAM_LOCAL_ADDRESS% %DOWNSTREAM_LOCAL_ADDRESS% %DOWNSTREAM_REMOTE_ADDRESS% "#,
        r#"%REQUESTED_SERVER_NAME%"#
    ),
];

static DEFAULT_FORMATS: LazyLock<Formats> = LazyLock::new(|| {
    let mut formats: Vec<TextFormat> =
        DEFAULTS.iter().filter_map(|format| format.parse().ok()).collect();
    // Of two formats that differ in the route's name at their end, the shorter one would else take both
    // for a server name with a blank.
    for last in formats.iter_mut().filter_map(|format| format.operators.last_mut()) {
        if last.values == Values::Any {
            last.values = Values::Word;
        }
    }
    Formats::new(formats)
});

/// The formats that are tried where none is given.
pub(super) fn defaults() -> &'static Formats {
    &DEFAULT_FORMATS
}

/// Formats that a line may have.
#[derive(Debug)]
pub(super) struct Formats(Vec<Format>);

#[derive(Debug)]
struct Format {
    format: TextFormat,
    /// How many operators it begins with that the one before it begins with as well: what they match
    /// need not be looked for again.
    shared: usize,
}

impl Formats {
    pub(super) fn new(formats: Vec<TextFormat>) -> Self {
        let mut all: Vec<Format> = Vec::with_capacity(formats.len());
        for format in formats {
            let shared = all.last().map_or(0, |before| before.format.shared_with(&format));
            all.push(Format { format, shared });
        }
        Self(all)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Reads a line. Where it can be read in several ways, by one format or by several, it is not.
    pub(super) fn read<'a>(&self, line: &'a str) -> Result<Option<Fields<'a>>, Problem> {
        let mut search = Search::new();
        let mut one = None;
        for Format { format, shared } in &self.0 {
            if let Some(fields) = format.read(line, *shared, &mut search)?
                && one.replace(fields).is_some()
            {
                return Err(Problem::Ambiguous);
            }
        }
        Ok(one)
    }
}

/// A format of text lines, from a string of Envoy's operators.
#[derive(Clone, Debug)]
pub(crate) struct TextFormat {
    /// What stands before the first operator.
    start: String,
    operators: Vec<Operator>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Operator {
    /// The key of the field that it fills; none where nobody asks for it.
    key: Option<String>,
    values: Values,
    /// What stands behind it, up to the next.
    after: String,
}

/// What an operator may write: everything that it may, because a way to read a line that is left out
/// could be the right one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Values {
    /// Anything: what callers and services send.
    Any,
    /// Anything without a blank.
    Word,
    /// Anything without a blank and a quote: addresses and times.
    Bare,
    /// A number, or `-`.
    Number,
    /// `HTTP/1.1` and the like, or `-`.
    Protocol,
}

/// A place in a line up to which it can be read.
#[derive(Clone, Copy, Debug)]
struct Place {
    at: usize,
    /// By which place of the level before.
    from: usize,
    has_several_ways: bool,
}

/// More places for one operator are too many ways.
const MAX_PLACES: usize = 512;

/// Up to which places the operators of a format can be read: one level for the start, and one behind
/// each operator.
#[derive(Debug)]
struct Search {
    places: Vec<Place>,
    /// Where each level begins.
    levels: Vec<usize>,
}

impl Search {
    fn new() -> Self {
        // Enough for most lines.
        Self { places: Vec::with_capacity(256), levels: Vec::with_capacity(32) }
    }

    /// Keeps that many levels.
    fn cut(&mut self, levels: usize) {
        if let Some(end) = self.levels.get(levels) {
            self.places.truncate(*end);
            self.levels.truncate(levels);
        }
    }

    fn level(&self, number: usize) -> &[Place] {
        let start = self.levels.get(number).copied().unwrap_or(self.places.len());
        let end = self.levels.get(number + 1).copied().unwrap_or(self.places.len());
        self.places.get(start..end).unwrap_or_default()
    }

    /// Begins the next level.
    fn begin(&mut self) {
        self.levels.push(self.places.len());
    }

    /// Adds a place to the last level, which stays in order and names each once.
    fn push(&mut self, place: Place) {
        let start = self.levels.last().copied().unwrap_or_default();
        let behind = self.places.get(start..).unwrap_or_default();
        if behind.last().is_none_or(|last| last.at < place.at) {
            return self.places.push(place);
        }
        let at = start + behind.iter().rposition(|it| it.at <= place.at).map_or(0, |at| at + 1);
        match self.places.get_mut(start..at).and_then(<[Place]>::last_mut) {
            Some(same) if same.at == place.at => same.has_several_ways = true,
            _ => self.places.insert(at, place),
        }
    }

    fn is_too_wide(&self) -> bool {
        let start = self.levels.last().copied().unwrap_or_default();
        self.places.len() - start > MAX_PLACES
    }
}

impl TextFormat {
    /// How many operators two formats begin with together. The last of each ends the line, which
    /// others do not.
    fn shared_with(&self, other: &Self) -> usize {
        let most = self.operators.len().min(other.operators.len()).saturating_sub(1);
        let pairs = self.operators.iter().zip(&other.operators).take(most);
        match self.start == other.start {
            true => pairs.take_while(|(one, other)| one == other).count(),
            false => 0,
        }
    }

    /// Reads a line. The search holds what the format before has found, of which the first operators
    /// are shared.
    fn read<'a>(
        &self,
        line: &'a str,
        shared: usize,
        search: &mut Search,
    ) -> Result<Option<Fields<'a>>, Problem> {
        if shared == 0 {
            search.cut(0);
            let Some(rest) = line.strip_prefix(&self.start) else { return Ok(None) };
            search.begin();
            let at = line.len() - rest.len();
            search.push(Place { at, from: 0, has_several_ways: false });
        }
        if search.levels.len() <= shared {
            return Ok(None);
        }
        search.cut(shared + 1);
        for (number, operator) in self.operators.iter().enumerate().skip(shared) {
            let is_last = number + 1 == self.operators.len();
            operator.find(line.as_bytes(), number, is_last, search);
            if search.is_too_wide() {
                return Err(Problem::Ambiguous);
            }
            if search.level(number + 1).is_empty() {
                search.cut(number + 1);
                return Ok(None);
            }
        }
        match search.level(self.operators.len()) {
            [Place { has_several_ways: false, .. }] => Ok(Some(self.fields(line, search))),
            _ => Err(Problem::Ambiguous),
        }
    }

    /// The fields of a line that can be read in one way, which is found from its end.
    fn fields<'a>(&self, line: &'a str, search: &Search) -> Fields<'a> {
        let mut fields = Fields::default();
        let mut chosen = 0;
        for (number, operator) in self.operators.iter().enumerate().rev() {
            let Some(place) = search.level(number + 1).get(chosen) else { continue };
            chosen = place.from;
            let Some(start) = search.level(number).get(chosen) else { continue };
            let value = line.get(start.at..place.at.saturating_sub(operator.after.len()));
            if let (Some(key), Some(value)) = (&operator.key, value) {
                fields.set_text(key, value);
            }
        }
        fields
    }

    /// Whether a line of this format tells enough of a request or of a connection.
    fn lacks(&self) -> Option<&'static str> {
        let has = |key: &str| self.operators.iter().any(|it| it.key.as_deref() == Some(key));
        let of_request = [
            ("authority", "%REQ(:AUTHORITY)%"),
            ("method", "%REQ(:METHOD)%"),
            ("response_code", "%RESPONSE_CODE%"),
        ];
        if has("requested_server_name") && has("response_flags") && !has("response_code") {
            return None;
        }
        of_request.into_iter().find(|(key, _)| !has(key)).map(|(_, operator)| operator)
    }
}

impl Operator {
    /// Finds the places behind this operator and what follows it, from those of a level.
    fn find(&self, line: &[u8], level: usize, is_last: bool, search: &mut Search) {
        search.begin();
        let count = search.level(level).len();
        if self.values == Values::Any {
            return self.find_any(line, level, is_last, search);
        }
        for from in 0..count {
            let Some(&place) = search.level(level).get(from) else { break };
            self.find_from(line, place, from, is_last, search);
            if search.is_too_wide() {
                break;
            }
        }
    }

    fn find_any(&self, line: &[u8], level: usize, is_last: bool, search: &mut Search) {
        let Some(first) = search.level(level).first() else { return };
        for end in ends(line, first.at..line.len(), self.after.as_bytes(), is_last) {
            let start = end - self.after.len();
            let before = search.level(level);
            let Some(way) = before.first() else { break };
            let has_several_ways =
                way.has_several_ways || before.get(1).is_some_and(|place| place.at <= start);
            search.push(Place { at: end, from: 0, has_several_ways });
            if search.is_too_wide() {
                break;
            }
        }
    }

    fn find_from(
        &self,
        line: &[u8],
        place: Place,
        from: usize,
        is_last: bool,
        search: &mut Search,
    ) {
        let rest = line.get(place.at..).unwrap_or_default();
        if !rest.first().is_some_and(|byte| self.values.may_begin(*byte)) {
            return;
        }
        let run = rest.iter().position(|byte| !self.values.may_hold(*byte));
        let last = place.at + run.unwrap_or(rest.len()) + self.after.len();
        let range = place.at..last.min(line.len());
        for end in ends(line, range, self.after.as_bytes(), is_last) {
            let value = line.get(place.at..end - self.after.len()).unwrap_or_default();
            if self.values.admits(value) {
                search.push(Place { at: end, from, has_several_ways: place.has_several_ways });
            }
        }
    }
}

/// Behind each place in a range where `after` stands; the line's end is the only one for the last
/// operator.
fn ends<'a>(
    line: &'a [u8],
    range: Range<usize>,
    after: &'a [u8],
    is_last: bool,
) -> impl Iterator<Item = usize> + 'a {
    let at_end = (is_last && range.end == line.len())
        .then(|| line.get(range.start..).is_some_and(|rest| rest.ends_with(after)))
        .is_some_and(|is_there| is_there)
        .then_some(line.len());
    let searched = if is_last { &[][..] } else { line.get(range.clone()).unwrap_or_default() };
    let first = after.first().copied().unwrap_or_default();
    let within = memchr::memchr_iter(first, searched)
        .filter(move |at| {
            after.len() == 1 || searched.get(*at..).is_some_and(|rest| rest.starts_with(after))
        })
        .map(move |at| range.start + at + after.len());
    at_end.into_iter().chain(within)
}

impl Values {
    /// Whether a value may begin so; none of those that are asked is empty.
    fn may_begin(self, byte: u8) -> bool {
        match self {
            Self::Protocol => byte == b'H' || byte == b'-',
            _ => self.may_hold(byte),
        }
    }

    fn may_hold(self, byte: u8) -> bool {
        match self {
            Self::Any => true,
            Self::Word => byte != b' ',
            Self::Bare => byte != b' ' && byte != b'"',
            Self::Number => byte.is_ascii_digit() || byte == b'-',
            Self::Protocol => byte.is_ascii_alphanumeric() || b"/.-".contains(&byte),
        }
    }

    fn admits(self, value: &[u8]) -> bool {
        match self {
            Self::Any => true,
            Self::Word | Self::Bare => !value.is_empty(),
            Self::Number => {
                value == b"-" || (!value.is_empty() && value.iter().all(u8::is_ascii_digit))
            }
            Self::Protocol => value == b"-" || value.starts_with(b"HTTP/"),
        }
    }
}

/// Reads a format as it stands in a mesh configuration, with or without the `\n` at its end.
impl FromStr for TextFormat {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim_end_matches(['\n', '\r']);
        let text = text.strip_suffix("\\n").unwrap_or(text);
        if text.contains('\n') {
            return Err("it has several lines: give the format of one line".to_owned());
        }
        let mut format = Self { start: String::new(), operators: Vec::new() };
        let mut rest = text;
        while let Some((before, behind)) = rest.split_once('%') {
            format.literal().push_str(before);
            if let Some(behind) = behind.strip_prefix('%') {
                format.literal().push('%');
                rest = behind;
                continue;
            }
            let (operator, behind) = Operator::parse(behind)?;
            format.follow(operator)?;
            rest = behind;
        }
        format.literal().push_str(rest);
        match format.lacks() {
            Some(operator) => Err(format!("it has no {operator}, which every request needs")),
            None => Ok(format),
        }
    }
}

impl TextFormat {
    /// Where the next literal text goes.
    fn literal(&mut self) -> &mut String {
        self.operators.last_mut().map_or(&mut self.start, |operator| &mut operator.after)
    }

    fn follow(&mut self, operator: Operator) -> Result<(), String> {
        if self.operators.last().is_some_and(|last| last.after.is_empty()) {
            let key = operator.key.as_deref().unwrap_or("an operator");
            return Err(format!("nothing separates {key} from the operator before it"));
        }
        self.operators.push(operator);
        Ok(())
    }
}

impl Operator {
    /// Reads an operator behind its first `%`, and gives what stands behind its last.
    fn parse(text: &str) -> Result<(Self, &str), String> {
        let is_name = |it: char| it.is_ascii_uppercase() || it.is_ascii_digit() || it == '_';
        let name_end = text.find(|it| !is_name(it)).unwrap_or(text.len());
        let (name, rest) = text.split_at_checked(name_end).unwrap_or((text, ""));
        let open = || format!("the operator %{name} has no end: a single % is written %%");
        let (argument, rest) = match rest.strip_prefix('(') {
            Some(inner) => inner.split_once(')').ok_or_else(open)?,
            None => ("", rest),
        };
        let (length, behind) = rest.split_once('%').ok_or_else(open)?;
        let digits = length.strip_prefix(':').unwrap_or(length);
        if name.is_empty() || !digits.bytes().all(|it| it.is_ascii_digit()) {
            return Err(open());
        }
        let key = key(name, argument);
        let values = values(name, argument);
        Ok((Self { key, values, after: String::new() }, behind))
    }
}

/// The field that a value of a JSON format fills: one operator alone.
pub(super) fn field_of(value: &str) -> Option<String> {
    let (operator, behind) = Operator::parse(value.strip_prefix('%')?).ok()?;
    operator.key.filter(|_| behind.is_empty())
}

/// The field that an operator fills.
fn key(name: &str, argument: &str) -> Option<String> {
    let key = match name {
        "BYTES_RECEIVED" => "bytes_received",
        "BYTES_SENT" => "bytes_sent",
        "CONNECTION_TERMINATION_DETAILS" => "connection_termination_details",
        "DOWNSTREAM_PEER_URI_SAN" => "source_principal",
        "PATH" => "path",
        "PROTOCOL" => "protocol",
        "REQUESTED_SERVER_NAME" => "requested_server_name",
        "RESPONSE_CODE" => "response_code",
        "RESPONSE_CODE_DETAILS" => "response_code_details",
        "RESPONSE_FLAGS" | "RESPONSE_FLAGS_LONG" => "response_flags",
        // A time of the day alone is none.
        "START_TIME" if is_whole_time(argument) => "start_time",
        "UPSTREAM_CLUSTER" | "UPSTREAM_CLUSTER_RAW" => "upstream_cluster",
        "UPSTREAM_HOST" | "UPSTREAM_REMOTE_ADDRESS" => "upstream_host",
        "REQ" | "REQ_WITHOUT_QUERY" => {
            let argument = argument.to_ascii_lowercase();
            let field = |header: &str| match header {
                ":authority" | "host" => Some("authority"),
                ":method" => Some("method"),
                ":path" => Some("path"),
                _ => None,
            };
            return argument.split('?').find_map(field).map(str::to_owned);
        }
        "DYNAMIC_METADATA" if argument.contains("egress_warden_guard") => "guard",
        // The filter's own state: `wasm.egress_decision:PLAIN`.
        "FILTER_STATE" => {
            let state = argument.strip_prefix("wasm.")?;
            return state.split(':').next().map(str::to_owned);
        }
        _ => return None,
    };
    Some(key.to_owned())
}

/// Whether a format of times has the date.
fn is_whole_time(format: &str) -> bool {
    format.is_empty() || ["%s", "%Y", "%F"].into_iter().any(|it| format.contains(it))
}

fn values(name: &str, argument: &str) -> Values {
    match name {
        "BYTES_RECEIVED" | "BYTES_SENT" | "DURATION" | "RESPONSE_CODE" => Values::Number,
        "PROTOCOL" => Values::Protocol,
        "START_TIME" if argument.is_empty() => Values::Bare,
        // Blanks become `_`, unless the argument keeps them.
        "RESPONSE_CODE_DETAILS" if argument.is_empty() => Values::Bare,
        "DOWNSTREAM_LOCAL_ADDRESS"
        | "DOWNSTREAM_REMOTE_ADDRESS"
        | "RESPONSE_FLAGS"
        | "UPSTREAM_HOST"
        | "UPSTREAM_LOCAL_ADDRESS"
        | "UPSTREAM_REMOTE_ADDRESS" => Values::Bare,
        "ROUTE_NAME" | "UPSTREAM_CLUSTER" => Values::Word,
        // Envoy's router writes a number there, and nothing where there was no answer.
        "RESP" if argument.eq_ignore_ascii_case("X-ENVOY-UPSTREAM-SERVICE-TIME") => Values::Word,
        _ => Values::Any,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(format: &str) -> String {
        format.parse::<TextFormat>().expect_err(format)
    }

    #[test]
    fn every_default_format_is_one() {
        assert_eq!(defaults().0.len(), DEFAULTS.len());
    }

    #[test]
    fn a_format_that_tells_too_little_or_cannot_be_read_is_refused() {
        const ENOUGH: &str = "%REQ(:METHOD)% %REQ(:AUTHORITY)% %RESPONSE_CODE%";
        for format in [
            ENOUGH,
            "100%% %REQ(:METHOD):9% %REQ(HOST)%|%RESPONSE_CODE%\\n",
            "%REQUESTED_SERVER_NAME% %RESPONSE_FLAGS%\n",
            "%START_TIME(%Y/%m/%dT%H:%M:%S%z)% %REQ(:METHOD)% %REQ(:AUTHORITY)% %RESPONSE_CODE%",
        ] {
            assert!(format.parse::<TextFormat>().is_ok(), "{format}");
        }
        for (format, said) in [
            ("", "it has no %REQ(:AUTHORITY)%, which every request needs"),
            (
                "%REQ(:AUTHORITY)% %RESPONSE_CODE%",
                "it has no %REQ(:METHOD)%, which every request needs",
            ),
            (
                "%REQ(:AUTHORITY)% %REQ(:METHOD)%",
                "it has no %RESPONSE_CODE%, which every request needs",
            ),
            (
                "%REQ(:AUTHORITY)%%REQ(:METHOD)%",
                "nothing separates method from the operator before it",
            ),
            ("100% %REQ(:METHOD)%", "the operator % has no end: a single % is written %%"),
            ("%REQ(:METHOD% x", "the operator %REQ has no end: a single % is written %%"),
            ("%REQ(:METHOD):x% x", "the operator %REQ has no end: a single % is written %%"),
            ("%PROTOCOL", "the operator %PROTOCOL has no end: a single % is written %%"),
            ("a\nb", "it has several lines: give the format of one line"),
        ] {
            assert_eq!(problem(format), said, "{format}");
        }
    }

    #[test]
    fn a_line_that_can_be_read_in_several_ways_is_not_read() {
        let format: TextFormat =
            "%REQ(:METHOD)% %REQ(:AUTHORITY)% %RESPONSE_CODE% \"%REQ(USER-AGENT)%\""
                .parse()
                .expect("a format");
        let formats = Formats::new(vec![format]);
        let ways = |line: &str| match formats.read(line) {
            Ok(None) => 0,
            Ok(Some(_)) => 1,
            Err(_) => 2,
        };
        for (line, expected) in [
            ("GET a.test 200 \"curl\"", 1),
            ("GET a.test 200 \"a \" b\"", 1),
            ("GET a.test 200 \"b.test 200 \"x\"", 2),
            ("GET a b 200 \"\"", 2),
            ("GET a.test ok \"curl\"", 0),
            ("GET a.test 200 \"curl", 0),
            ("", 0),
        ] {
            assert_eq!(ways(line), expected, "{line}");
        }
        // However many there are, it takes no longer than one look at each.
        assert_eq!(ways(&format!("{}\"", "a 1 \"".repeat(100_000))), 2);
        assert_eq!(ways(&"a ".repeat(500_000)), 2);
    }
}
