//! The request that a curl command sends.

use crate::failure::Failure;
use egress_warden_simulate::{Bytes, Request};

/// Options that change the request, with what they do.
const OPTIONS: [(&str, &str, Effect); 17] = [
    ("-X", "--request", Effect::Method),
    ("-H", "--header", Effect::Header),
    ("-d", "--data", Effect::Post),
    ("", "--data-raw", Effect::Post),
    ("", "--data-binary", Effect::Post),
    ("", "--data-ascii", Effect::Post),
    ("", "--data-urlencode", Effect::Post),
    ("", "--json", Effect::Post),
    ("-F", "--form", Effect::Post),
    ("-T", "--upload-file", Effect::Put),
    ("-A", "--user-agent", Effect::Agent),
    ("", "--url", Effect::Url),
    ("", "--request-target", Effect::Target),
    ("-I", "--head", Effect::Head),
    ("-G", "--get", Effect::Get),
    ("", "--path-as-is", Effect::AsIs),
    ("", "--http2", Effect::Nothing),
];

/// Options with a value that the proxy never sees.
const VALUED: [(&str, &str); 22] = [
    ("-o", "--output"),
    ("-m", "--max-time"),
    ("-u", "--user"),
    ("-b", "--cookie"),
    ("-c", "--cookie-jar"),
    ("-e", "--referer"),
    ("-w", "--write-out"),
    ("-x", "--proxy"),
    ("-E", "--cert"),
    ("-D", "--dump-header"),
    ("-K", "--config"),
    ("", "--cacert"),
    ("", "--capath"),
    ("", "--key"),
    ("", "--connect-timeout"),
    ("", "--connect-to"),
    ("", "--resolve"),
    ("", "--retry"),
    ("", "--retry-delay"),
    ("", "--interface"),
    ("", "--unix-socket"),
    ("", "--max-redirs"),
];

/// Options without a value that the proxy never sees; short ones may stand together.
const FLAGS: [(char, &str); 22] = [
    ('s', "--silent"),
    ('S', "--show-error"),
    ('v', "--verbose"),
    ('i', "--include"),
    ('k', "--insecure"),
    ('L', "--location"),
    ('f', "--fail"),
    ('O', "--remote-name"),
    ('J', "--remote-header-name"),
    ('g', "--globoff"),
    ('N', "--no-buffer"),
    ('#', "--progress-bar"),
    ('4', "--ipv4"),
    ('6', "--ipv6"),
    ('0', "--http1.0"),
    ('\0', "--http1.1"),
    ('\0', "--http2-prior-knowledge"),
    ('\0', "--http3"),
    ('\0', "--compressed"),
    ('\0', "--fail-with-body"),
    ('\0', "--no-progress-meter"),
    ('\0', "--tlsv1.2"),
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Effect {
    Method,
    Header,
    Post,
    Put,
    Agent,
    Url,
    Target,
    Head,
    Get,
    AsIs,
    Nothing,
}

impl Effect {
    fn takes_value(self) -> bool {
        !matches!(self, Self::Head | Self::Get | Self::AsIs | Self::Nothing)
    }
}

/// Reads the arguments; the word `curl` may stand in front.
pub(super) fn request(arguments: &[String]) -> Result<Request, Failure> {
    let mut command = Command::default();
    let mut rest = arguments.iter().map(String::as_str).peekable();
    rest.next_if_eq(&"curl");
    while let Some(argument) = rest.next() {
        command.take(argument, &mut rest)?;
    }
    command.request()
}

#[derive(Debug, Default)]
struct Command<'a> {
    url: Option<&'a str>,
    method: Option<&'a str>,
    target: Option<&'a str>,
    headers: Vec<(String, &'a str)>,
    has_body: bool,
    is_upload: bool,
    is_head: bool,
    is_get: bool,
    is_as_is: bool,
    data: Vec<&'a str>,
}

impl<'a> Command<'a> {
    fn take(
        &mut self,
        argument: &'a str,
        rest: &mut impl Iterator<Item = &'a str>,
    ) -> Result<(), Failure> {
        if let Some(name) = argument.strip_prefix("--")
            && !name.is_empty()
        {
            return self.take_long(argument, rest);
        }
        match argument.strip_prefix('-').filter(|letters| !letters.is_empty()) {
            Some(letters) if argument != "--" => self.take_short(argument, letters, rest),
            _ => self.apply(Effect::Url, argument),
        }
    }

    fn take_long(
        &mut self,
        argument: &'a str,
        rest: &mut impl Iterator<Item = &'a str>,
    ) -> Result<(), Failure> {
        if let Some((.., effect)) = OPTIONS.iter().find(|(_, long, _)| *long == argument) {
            let value = if effect.takes_value() { value(argument, rest)? } else { "" };
            return self.apply(*effect, value);
        }
        if VALUED.iter().any(|(_, long)| *long == argument) {
            return value(argument, rest).map(|_| ());
        }
        if FLAGS.iter().any(|(_, long)| *long == argument) {
            return Ok(());
        }
        Err(unknown(argument))
    }

    /// Short options: flags together, and the last with its value in one word or the next.
    fn take_short(
        &mut self,
        argument: &'a str,
        letters: &'a str,
        rest: &mut impl Iterator<Item = &'a str>,
    ) -> Result<(), Failure> {
        for (at, letter) in letters.char_indices() {
            let tail = letters.get(at.saturating_add(letter.len_utf8())..).unwrap_or_default();
            let named =
                |short: &str| short.strip_prefix('-').is_some_and(|it| it.starts_with(letter));
            let effect =
                OPTIONS.iter().find(|(short, ..)| named(short)).map(|(.., effect)| *effect);
            let is_valued = VALUED.iter().any(|(short, _)| named(short));
            if effect.is_some_and(Effect::takes_value) || is_valued {
                let value = if tail.is_empty() { value(argument, rest)? } else { tail };
                return effect.map_or(Ok(()), |effect| self.apply(effect, value));
            }
            match effect {
                Some(effect) => self.apply(effect, "")?,
                None if FLAGS.iter().any(|(flag, _)| *flag == letter) => {}
                None => return Err(unknown(argument)),
            }
        }
        Ok(())
    }

    fn apply(&mut self, effect: Effect, value: &'a str) -> Result<(), Failure> {
        match effect {
            Effect::Method => self.method = Some(value),
            Effect::Header => {
                // `name;` sends an empty value, `name:` sends none.
                if let Some((name, value)) = value.split_once(':') {
                    self.headers.push((name.trim().to_ascii_lowercase(), value.trim()));
                } else if let Some(name) = value.strip_suffix(';') {
                    self.headers.push((name.trim().to_ascii_lowercase(), ""));
                }
            }
            Effect::Post => {
                self.has_body = true;
                self.data.push(value);
            }
            Effect::Put => self.is_upload = true,
            Effect::Agent => self.headers.push(("user-agent".to_owned(), value)),
            Effect::Url if self.url.is_some() => {
                return Err(Failure::new("--curl", "two URLs", "explain one request at a time"));
            }
            Effect::Url => self.url = Some(value),
            Effect::Target => self.target = Some(value),
            Effect::Head => self.is_head = true,
            Effect::Get => self.is_get = true,
            Effect::AsIs => self.is_as_is = true,
            Effect::Nothing => {}
        }
        Ok(())
    }

    fn request(self) -> Result<Request, Failure> {
        let url = self.url.ok_or_else(|| {
            Failure::new("--curl", "no URL", "end with one, such as `https://api.example.com/v1`")
        })?;
        let (scheme, rest) = url.split_once("://").unwrap_or(("http", url));
        let default_port = match scheme.to_ascii_lowercase().as_str() {
            "http" => None,
            // The gateway dials it, though the caller does not write it.
            "https" => Some(443),
            _ => {
                let problem = format!("a URL of `{scheme}`");
                return Err(Failure::new("--curl", problem, "write one of `http` or `https`"));
            }
        };
        let rest = rest.split('#').next().unwrap_or_default();
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, target) = rest.split_at_checked(end).unwrap_or((rest, ""));
        // A userinfo becomes a header and does not travel in the authority.
        let authority = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
        let has_port = authority.rsplit_once(':').is_some_and(|(_, port)| {
            !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit())
        });
        let mut path =
            if target.starts_with('/') { target.to_owned() } else { format!("/{target}") };
        if !self.is_as_is {
            path = without_dot_segments(&path);
        }
        if self.is_get && !self.data.is_empty() {
            path.push(if path.contains('?') { '&' } else { '?' });
            path.push_str(&self.data.join("&"));
        }
        let method = match self.method {
            Some(method) => method,
            None if self.is_head => "HEAD",
            None if self.is_upload => "PUT",
            None if self.has_body && !self.is_get => "POST",
            None => "GET",
        };
        let host = self.headers.iter().find(|(name, _)| name == "host").map(|(_, value)| *value);
        Ok(Request {
            authority: Some(host.unwrap_or(authority).into()),
            method: Some(method.into()),
            path: Some(self.target.map_or_else(|| path.as_str().into(), Bytes::from)),
            port: if has_port { None } else { default_port },
            headers: self
                .headers
                .into_iter()
                .filter(|(name, value)| name != "host" && !value.is_empty())
                .map(|(name, value)| (name, value.into()))
                .collect(),
            ..Request::default()
        })
    }
}

fn value<'a>(option: &str, rest: &mut impl Iterator<Item = &'a str>) -> Result<&'a str, Failure> {
    rest.next().ok_or_else(|| {
        Failure::new("--curl", format!("`{option}` without a value"), "write its value behind it")
    })
}

fn unknown(option: &str) -> Failure {
    let problem = format!("the unknown option `{option}`");
    Failure::new(
        "--curl",
        problem,
        "leave it out if it does not change the request's line or headers",
    )
}

/// What curl makes of a path before it sends it (RFC 3986, section 5.2.4).
fn without_dot_segments(target: &str) -> String {
    let (path, query) = match target.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (target, None),
    };
    let mut kept: Vec<&str> = Vec::new();
    let segments: Vec<&str> = path.split('/').skip(1).collect();
    let last = segments.len().saturating_sub(1);
    for (index, segment) in segments.into_iter().enumerate() {
        let decoded = segment.replace("%2e", ".").replace("%2E", ".");
        match decoded.as_str() {
            "." | ".." => {
                if decoded == ".." {
                    kept.pop();
                }
                if index == last {
                    kept.push("");
                }
            }
            _ => kept.push(segment),
        }
    }
    let mut target = format!("/{}", kept.join("/"));
    if let Some(query) = query {
        target.push('?');
        target.push_str(query);
    }
    target
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Result<Request, Failure> {
        let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        request(&words)
    }

    #[test]
    fn a_curl_command_is_the_request_that_it_sends() {
        for (line, sent, port) in [
            ("curl https://a.test", "GET a.test /", Some(443)),
            ("http://a.test/v1?x=1#y", "GET a.test /v1?x=1", None),
            ("a.test:8443/v1", "GET a.test:8443 /v1", None),
            ("https://a.test:8443", "GET a.test:8443 /", None),
            ("-sSLo /dev/null -XPOST https://u:p@a.test/", "POST a.test /", Some(443)),
            ("-d x=1 http://a.test", "POST a.test /", None),
            ("-G -d x=1 -d y=2 http://a.test/s", "GET a.test /s?x=1&y=2", None),
            ("-I http://a.test?q", "HEAD a.test /?q", None),
            ("-T file http://a.test/f", "PUT a.test /f", None),
            ("--request PATCH -d x http://a.test", "PATCH a.test /", None),
            ("-H host:b.test http://a.test", "GET b.test /", None),
            ("http://a.test/a/../b/./c/..", "GET a.test /b/", None),
            ("http://a.test/a/%2e%2e/b", "GET a.test /b", None),
            ("--path-as-is http://a.test/a/../b", "GET a.test /a/../b", None),
            ("http://[2001:db8::1]/", "GET [2001:db8::1] /", None),
            ("--max-time 5 --url http://a.test", "GET a.test /", None),
        ] {
            let request = read(line).unwrap_or_else(|failure| panic!("{line}: {failure}"));
            assert_eq!((request.to_string().as_str(), request.port), (sent, port), "{line}");
        }
    }

    #[test]
    fn headers_are_kept_as_they_are_sent() {
        let headers = read("-A me -H X-A:1 -H X-Gone: -H X-Empty; http://a.test").unwrap().headers;
        let headers: Vec<_> =
            headers.iter().map(|(name, value)| format!("{name}={value}")).collect();
        assert_eq!(headers, ["user-agent=me", "x-a=1"]);
    }

    #[test]
    fn what_is_no_such_command_is_said() {
        for (line, problem) in [
            ("", "no URL"),
            ("-X", "without a value"),
            ("--frobnicate http://a.test", "the unknown option `--frobnicate`"),
            ("-Z http://a.test", "the unknown option `-Z`"),
            ("ftp://a.test", "a URL of `ftp`"),
            ("a.test b.test", "two URLs"),
        ] {
            let failure = read(line).unwrap_err().to_string();
            assert!(failure.contains(problem), "{line}: {failure}");
        }
    }
}
