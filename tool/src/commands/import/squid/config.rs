//! The lines of a squid.conf, and what its ACLs mean.

use super::area::Part;
use crate::commands::import::draft::{Draft, told};
use crate::commands::import::hosts::HostSet;
use crate::commands::import::ports::Ports;
use crate::commands::import::text::Text;
use egress_warden::host::Host;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::ops::RangeInclusive;

/// What of a configuration decides.
#[derive(Debug, Default)]
pub(super) struct Config {
    acls: BTreeMap<String, Acl>,
    /// The `http_access` lines.
    pub(super) lines: Vec<Line>,
    /// What is done where none of them matches.
    pub(super) last: Option<Line>,
    /// Lines of other lists that deny: they hold whatever `http_access` says.
    pub(super) earlier_denials: Vec<Line>,
    /// Whether all of it was there to read.
    pub(super) is_whole: bool,
}

/// One `http_access` line.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) place: String,
    pub(super) text: String,
    pub(super) allows: bool,
    pub(super) literals: Vec<Literal>,
}

/// The name of an ACL, perhaps negated.
#[derive(Clone, Debug)]
pub(super) struct Literal {
    pub(super) name: String,
    pub(super) is_negated: bool,
}

impl Literal {
    fn read(word: &str) -> Self {
        let name = word.trim_start_matches('!');
        let is_negated = (word.len() - name.len()) % 2 == 1;
        Self { name: name.to_owned(), is_negated }
    }

    pub(super) fn negated(&self) -> String {
        Self { name: self.name.clone(), is_negated: !self.is_negated }.to_string()
    }
}

impl fmt::Display for Literal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", if self.is_negated { "!" } else { "" }, self.name)
    }
}

/// One ACL: its lines add up.
#[derive(Debug)]
struct Acl {
    place: String,
    /// As it is written, each line.
    text: String,
    kind: String,
    values: Vec<String>,
    /// Whether values lie in a file, or are none that its kind has.
    has_unread: bool,
}

/// What an ACL asks.
#[derive(Clone, Debug)]
pub(super) enum Meaning {
    All,
    Part(Part),
    /// Callers by their address.
    Caller,
    /// Callers on the proxy's own machine.
    Local,
    /// Addresses of the proxy's own machine and its link.
    ToLocal,
    /// The proxy's own pages.
    Manager,
    /// With its kind.
    Unknown(String),
}

/// Lists beside `http_access` that may refuse a request, with the word that does.
const OTHER_LISTS: [(&str, &str); 4] = [
    ("adapted_http_access", "deny"),
    ("http_reply_access", "deny"),
    ("miss_access", "deny"),
    ("ssl_bump", "terminate"),
];

impl Config {
    /// Reads texts as one configuration. What is not in them is named.
    pub(super) fn read(texts: &[Text], draft: &mut Draft) -> Self {
        let mut config = Self { is_whole: true, ..Self::default() };
        for text in texts {
            for (number, line) in logical_lines(text) {
                config.add(&text.at_line(number), &line, draft);
            }
        }
        // Where no line matches, the opposite of the last one is done.
        config.last = config.lines.last().filter(|line| !line.allows).map(|last| Line {
            place: last.place.clone(),
            text: "allow what no http_access line matches".to_owned(),
            allows: true,
            literals: Vec::new(),
        });
        config
    }

    fn add(&mut self, place: &str, line: &str, draft: &mut Draft) {
        let words: Vec<&str> =
            line.split_whitespace().take_while(|word| !word.starts_with('#')).collect();
        match &words[..] {
            ["acl", name, kind, values @ ..] => self.add_acl(place, [name, kind], values, draft),
            ["http_access", "allow"] => draft.point(
                place,
                "an `http_access allow` without an ACL, which Squid skips",
                "write `http_access allow all` if everything may pass",
            ),
            ["http_access", action @ ("allow" | "deny"), literals @ ..] => {
                self.lines.push(Line::new(place, &words, *action == "allow", literals));
            }
            [list, action, literals @ ..] if OTHER_LISTS.contains(&(*list, *action)) => {
                self.earlier_denials.push(Line::new(place, &words, false, literals));
            }
            ["include" | "if" | "http_access", ..] => {
                self.is_whole = false;
                draft.point(
                    place,
                    format!(
                        "{}: what it adds is not known, so nothing is carried over",
                        told(line.trim())
                    ),
                    "put the lines in its place that apply",
                );
            }
            _ => {}
        }
    }

    fn add_acl(&mut self, place: &str, name: [&str; 2], values: &[&str], draft: &mut Draft) {
        let [name, kind] = name;
        let acl = self.acls.entry(name.to_owned()).or_insert_with(|| Acl {
            place: place.to_owned(),
            text: format!("acl {name} {kind}"),
            kind: kind.to_owned(),
            values: Vec::new(),
            has_unread: false,
        });
        acl.has_unread |= acl.kind != kind;
        let values = values.iter().skip_while(|value| value.starts_with('-') && value.len() < 4);
        for value in values {
            acl.text.push_str(&format!(" {value}"));
            if value.starts_with('"') || value.starts_with("parameters(") {
                acl.has_unread = true;
                draft.point(
                    place,
                    format!("values of `{name}` in another file: {}", told(value)),
                    "put the values in the place of the file's name",
                );
                continue;
            }
            if acl.kind == "dstdomain" && !is_domain(value) {
                draft.point(
                    place,
                    format!("{} in `{name}`, which is no domain", told(value)),
                    "write `.example.com` for a name and what is below it",
                );
            }
            if acl.kind == "method" && !is_method(value) {
                acl.has_unread = true;
                draft.point(
                    place,
                    format!("{} in `{name}`, which is no method in capitals", told(value)),
                    "write it as requests have it, such as `POST`",
                );
            }
            acl.values.push((*value).to_owned());
        }
    }

    /// What an ACL of a name asks.
    pub(super) fn meaning(&self, name: &str) -> Meaning {
        let Some(acl) = self.acls.get(name) else {
            return match name {
                "all" => Meaning::All,
                "manager" => Meaning::Manager,
                "localhost" => Meaning::Local,
                "to_localhost" | "to_linklocal" => Meaning::ToLocal,
                "CONNECT" => Meaning::Part(Part::Methods(BTreeSet::from([name.to_owned()]))),
                _ => Meaning::Unknown("which is not defined".to_owned()),
            };
        };
        if acl.has_unread {
            return Meaning::Unknown("whose values are not all known".to_owned());
        }
        let unknown = || Meaning::Unknown(format!("of the kind `{}`", acl.kind));
        match &*acl.kind {
            "dstdomain" => Meaning::Part(Part::Hosts(acl.domains())),
            "port" => acl.ports().map_or_else(unknown, |ports| Meaning::Part(Part::Ports(ports))),
            "method" => Meaning::Part(Part::Methods(acl.values.iter().cloned().collect())),
            "src" if name == "all" || acl.values.iter().any(|value| is_every_address(value)) => {
                Meaning::All
            }
            "src" if name == "localhost" => Meaning::Local,
            "src" => Meaning::Caller,
            "dst" if matches!(name, "to_localhost" | "to_linklocal") => Meaning::ToLocal,
            _ if name == "manager" => Meaning::Manager,
            _ => unknown(),
        }
    }

    /// What is not known of an ACL, as messages say it.
    pub(super) fn told(&self, literal: &Literal) -> String {
        let name = &literal.name;
        match self.meaning(name) {
            Meaning::Unknown(why) => format!("no policy can ask for `{name}`, {why}"),
            Meaning::Caller => {
                let text = self.acls.get(name).map_or("", |acl| &acl.text);
                format!("callers by address: {}", told(text))
            }
            _ => format!("no policy can ask for `{name}`"),
        }
    }

    /// Where callers are defined, and how.
    pub(super) fn source_of(&self, callers: &str) -> Option<(&str, &str)> {
        let acl = self.acls.get(callers.trim_start_matches('!'))?;
        Some((&acl.place, &acl.text))
    }
}

impl Line {
    fn new(place: &str, words: &[&str], allows: bool, literals: &[&str]) -> Self {
        Self {
            place: place.to_owned(),
            text: words.join(" "),
            allows,
            literals: literals.iter().map(|word| Literal::read(word)).collect(),
        }
    }
}

impl Acl {
    /// Its values of `dstdomain`.
    fn domains(&self) -> HostSet {
        let mut hosts = HostSet::default();
        for value in &self.values {
            let value = value.to_ascii_lowercase();
            let value = value.trim_end_matches('.');
            match (value.strip_prefix('.'), Host::parse(value.as_bytes())) {
                (Some(name), _) if is_name(name) => hosts.add_tree(name),
                (None, Ok(host)) => hosts.insert(&host.canonical()),
                _ => {}
            }
        }
        hosts
    }

    fn ports(&self) -> Option<Ports> {
        let range = |value: &String| -> Option<RangeInclusive<u16>> {
            let (first, last) = value.split_once('-').unwrap_or((value, value));
            Some(first.parse().ok()?..=last.parse().ok()?)
        };
        let ranges: Option<Vec<_>> = self.values.iter().map(range).collect();
        ranges.map(|ranges| Ports::of(&ranges))
    }
}

fn is_name(text: &str) -> bool {
    matches!(Host::parse(text.as_bytes()), Ok(Host::Name(_)))
}

/// Whether a value of `method` is one whatever is made of its case.
fn is_method(value: &str) -> bool {
    value.bytes().all(|byte| byte.is_ascii_uppercase() || matches!(byte, b'-' | b'_'))
}

/// Whether a value of `src` is every address of a family.
fn is_every_address(value: &str) -> bool {
    const EVERY: [&str; 6] =
        ["all", "0/0", "0.0.0.0/0", "0.0.0.0/0.0.0.0", "::/0", "0.0.0.0-255.255.255.255"];
    EVERY.contains(&value)
}

/// Whether a value of `dstdomain` can match a host.
fn is_domain(value: &str) -> bool {
    let value = value.to_ascii_lowercase();
    let value = value.trim_end_matches('.');
    value.strip_prefix('.').map_or_else(|| Host::parse(value.as_bytes()).is_ok(), is_name)
}

/// Lines with those joined that end in `\`, under the number of the first.
fn logical_lines(text: &Text) -> Vec<(usize, String)> {
    let mut lines: Vec<(usize, String)> = Vec::new();
    let mut is_open = false;
    for (number, line) in text.lines() {
        let is_comment = line.trim_start().starts_with('#') && !is_open;
        let (line, continues) = match line.trim_end().strip_suffix('\\') {
            Some(line) if !is_comment => (line, true),
            _ => (line, false),
        };
        match lines.last_mut().filter(|_| is_open) {
            Some((_, last)) => last.push_str(&format!(" {line}")),
            None => lines.push((number, line.to_owned())),
        }
        is_open = continues;
    }
    lines
}
