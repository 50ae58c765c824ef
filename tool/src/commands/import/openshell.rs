//! `openshell`: network policies of NVIDIA's OpenShell.
//!
//! By its policy schema reference and its policy engine: an endpoint opens its host on its ports. Without a
//! protocol, or with `tcp`, it opens any request; with `rest`, those of its `rules` or of its `access`, without
//! those of `deny_rules` of any endpoint. Where an endpoint inspects requests, what others open without
//! inspection does not count. In a host `*` is one label and `**` one or more. GET stands for HEAD, too.
//! A `*` in a path may or may not cross a `/`: in what is opened it is read as one segment, in what is denied as
//! any bytes.
//!
//! Which programs call is not known to a gateway: `binaries` is named, and left to who reaches it.

use super::draft::{Action, Draft, Entry, Rule, told};
use super::paths::{is_pattern, is_prefix};
use super::policies::{Kind, policies};
use super::ports;
use super::text::{Shape, Text, other_key};
use super::wildcards::{self, Unsaid};
use crate::document::{Member, Node, Value};
use crate::failure::Failure;
use egress_warden::host::HostPattern;
use std::collections::BTreeSet;

/// What stands in one policy.
const SHAPE: Shape = Shape {
    lists: &["endpoints", "binaries", "ports", "rules", "deny_rules"],
    objects: &["allow"],
    texts: &["host", "protocol", "path", "method", "enforcement"],
    free: &["query"],
};

/// Keys of an endpoint that are about what is in requests.
const INSPECTION: [&str; 4] = ["path", "access", "rules", "deny_rules"];

/// Whether a text has such policies.
pub(super) fn looks(text: &Text) -> bool {
    text.has_object(is_policy)
}

/// A rule for each policy, and one for what it denies.
pub(super) fn import(texts: &[Text], draft: &mut Draft) -> Result<(), Failure> {
    let mut endpoints = Vec::new();
    for (text, object) in policies(texts, &KIND, draft)? {
        if object.get("version").map(|version| &version.value) != Some(&Value::Number(1.0)) {
            let problem = "a policy that is not of version 1";
            return Err(Failure::new(text.at(object), problem, "write `version: 1`"));
        }
        for policy in object.get("network_policies").map_or(&[][..], Node::members) {
            SHAPE.check(text, &policy.value)?;
        }
        for member in object.members() {
            import_member(text, member, &mut endpoints, draft);
        }
    }
    write(&endpoints, draft);
    Ok(())
}

const KIND: Kind = Kind {
    is_policy,
    none: (
        "no network policy of OpenShell",
        "name a file with `network_policies` and their `endpoints`",
    ),
};

fn is_policy(object: &Node) -> bool {
    let policies = object.get("network_policies").map_or(&[][..], Node::members);
    policies.iter().any(|policy| policy.value.get("endpoints").is_some())
}

/// What one endpoint opens.
#[derive(Debug)]
struct Endpoint {
    /// The policy that has it.
    policy: String,
    place: String,
    /// Absent where it is no pattern of a policy.
    host: Option<String>,
    /// A pattern that matches whatever the host does, and perhaps more; absent where there is none.
    wide: Option<String>,
    ports: Vec<u16>,
    traffic: Traffic,
}

/// What of requests an endpoint opens and denies; entries without hosts and ports.
#[derive(Debug)]
enum Traffic {
    /// All of it, uninspected.
    Any,
    Requests {
        opened: Vec<Entry>,
        denied: Vec<Entry>,
    },
}

fn import_member(text: &Text, member: &Member, endpoints: &mut Vec<Endpoint>, draft: &mut Draft) {
    let place = text.at_line(text.document().position(member.key_span.start).line);
    match &*member.key {
        "version" => {}
        "network_policies" => {
            for policy in member.value.members() {
                import_policy(text, policy, endpoints, draft);
            }
        }
        "network_middlewares" => draft.point(
            place,
            "`network_middlewares`, which may refuse requests by what is in them",
            "set them up in the gateway",
        ),
        other => {
            draft.passed_over.push(format!("{place}: {other}, which is about the sandbox itself"))
        }
    }
}

fn import_policy(text: &Text, policy: &Member, endpoints: &mut Vec<Endpoint>, draft: &mut Draft) {
    let name = &policy.key;
    let other = other_key(&policy.value, &["name", "endpoints", "binaries"]);
    let binaries = policy.value.get("binaries");
    let paths: Vec<&str> = binaries
        .map_or(&[][..], Node::items)
        .iter()
        .filter_map(|binary| binary.get("path").and_then(Node::text))
        .collect();
    let Some(binaries) = binaries.filter(|_| !paths.is_empty()) else {
        let problem = format!("{} without `binaries`, which opens nothing", told(name));
        draft.point(text.at(&policy.value), problem, "list the programs that call");
        return;
    };
    draft.point(
        text.at(binaries),
        format!(
            "`binaries` of {} ({}): a gateway does not know which program calls",
            told(name),
            paths.join(", ")
        ),
        "let only the sandbox of these programs reach the gateway, or add `from` to the rule",
    );
    for node in policy.value.get("endpoints").map_or(&[][..], Node::items) {
        let ports = listed_ports(node);
        let Some(ports) = ports.filter(|ports| !ports.is_empty()) else {
            let problem = format!("an endpoint of {} without a port from 1 to 65535", told(name));
            draft.point(text.at(node), problem, "write its `port`");
            continue;
        };
        let host = node.get("host").and_then(Node::text).unwrap_or_default();
        let wide = host.to_ascii_lowercase();
        let wide = wide.trim_start_matches('*');
        let wide =
            if wide.starts_with('.') { format!("*{wide}") } else { host.to_ascii_lowercase() };
        let wide = wildcards::widened(&wide);
        let place = text.at(node);
        let mut reader = Reader { text, name, draft };
        // What a key that is not known may refuse to all endpoints is opened by none.
        let traffic = match other {
            Some(other) => reader.closed(&policy.value, other),
            None => reader.traffic(node),
        };
        let host = match read_host(host) {
            Ok(host) => Some(host),
            Err((problem, remedy)) => {
                draft.point(&*place, format!("{problem}: {}", told(host)), remedy);
                None
            }
        };
        let wide = HostPattern::parse(&wide).is_ok().then_some(wide);
        endpoints.push(Endpoint { policy: name.to_string(), place, host, wide, ports, traffic });
    }
}

fn listed_ports(node: &Node) -> Option<Vec<u16>> {
    match node.get("ports").map_or(&[][..], Node::items) {
        [] => node.get("port").and_then(ports::port).map(|port| vec![port]),
        listed => listed.iter().map(ports::port).collect(),
    }
}

fn read_host(host: &str) -> Result<String, Unsaid> {
    if host.contains('*') { wildcards::pattern(host) } else { wildcards::name_or_address(host) }
}

/// Reads an endpoint of a policy.
struct Reader<'t> {
    text: &'t Text,
    name: &'t str,
    draft: &'t mut Draft,
}

impl Reader<'_> {
    /// What an endpoint opens. What no policy can say is named: it is inspected and opens nothing.
    fn traffic(&mut self, node: &Node) -> Traffic {
        const KNOWN: [&str; 17] = [
            "host",
            "port",
            "ports",
            "path",
            "protocol",
            "tls",
            "enforcement",
            "access",
            "rules",
            "deny_rules",
            "allow_encoded_slash",
            "websocket_credential_rewrite",
            "request_body_credential_rewrite",
            "credential_signing",
            "signing_service",
            "signing_region",
            "credential_binding",
        ];
        let protocol = node.get("protocol").map_or(Some(""), Node::text).unwrap_or("unknown");
        if let Some(other) = other_key(node, &KNOWN) {
            return self.closed(node, other);
        }
        match protocol {
            "" | "tcp" => match INSPECTION.into_iter().find(|key| node.get(key).is_some()) {
                Some(key) => self.closed(node, key),
                None => Traffic::Any,
            },
            "rest" => self.requests(node),
            other => {
                let problem = format!(
                    "protocol {} of {}, which is about what is in requests",
                    told(other),
                    told(self.name)
                );
                let remedy = "write a rule for its host by hand if any request to it may pass";
                self.draft.point(self.text.at(node), problem, remedy);
                // Its path is its own: what others open there counts only as far as it says.
                let path = node.get("path").and_then(Node::text).unwrap_or("**");
                let paths = wide_path(path).0.into_iter().collect();
                let denied = vec![Entry { paths, ..Entry::default() }];
                Traffic::Requests { opened: Vec::new(), denied }
            }
        }
    }

    /// Nothing, because of a key that may let less through than what stands beside it.
    fn closed(&mut self, node: &Node, key: &str) -> Traffic {
        self.draft.limit(self.text.at(node), key, self.name);
        Traffic::Requests { opened: Vec::new(), denied: Vec::new() }
    }

    fn requests(&mut self, node: &Node) -> Traffic {
        if node.get("enforcement").and_then(Node::text) != Some("enforce") {
            self.draft.point(
                self.text.at(node),
                format!(
                    "an endpoint of {} without `enforcement: enforce`, which refuses nothing there",
                    told(self.name)
                ),
                "add rules for what it lets through beside its own",
            );
        }
        let path =
            node.get("path").and_then(Node::text).filter(|path| !path.is_empty()).unwrap_or("**");
        let rules = node.get("rules").map_or(&[][..], Node::items);
        let preset = node.get("access").map(|access| access.text().unwrap_or_default());
        let opened = match (preset, rules) {
            (None, rules) => rules.iter().filter_map(|rule| self.opened(rule, path)).collect(),
            (Some(preset), []) => self.preset(node, preset, path),
            _ => {
                self.draft.point(
                    self.text.at(node),
                    "`access` beside `rules`",
                    "write one of them",
                );
                Vec::new()
            }
        };
        self.tell_slashes(node, &opened);
        let denied = node.get("deny_rules").map_or(&[][..], Node::items);
        let denied = denied.iter().map(|rule| self.denied(rule, path)).collect();
        Traffic::Requests { opened, denied }
    }

    /// Names that encoded slashes are refused there. Here a path without a `*` and a whole segment refuse them,
    /// too, but not what begins like a path.
    fn tell_slashes(&mut self, node: &Node, opened: &[Entry]) {
        let is_open = |entry: &Entry| {
            entry.paths.is_empty() || entry.paths.iter().any(|path| path.ends_with('*'))
        };
        let allows = node.get("allow_encoded_slash").map(|allows| &allows.value);
        let is_host = node.get("host").and_then(Node::text).is_some_and(|it| read_host(it).is_ok());
        if is_host && allows != Some(&Value::Bool(true)) && opened.iter().any(is_open) {
            let problem = format!(
                "paths with an encoded slash (`%2F`), which an endpoint of {} refuses: here they pass",
                told(self.name)
            );
            let remedy = "set `path_with_escaped_slashes_action: REJECT_REQUEST` in the gateway's HTTP connection \
                          manager, or write `allow_encoded_slash: true` if they may pass";
            self.draft.point(self.text.at(node), problem, remedy);
        }
    }

    fn preset(&mut self, node: &Node, preset: &str, path: &str) -> Vec<Entry> {
        let methods: &[&str] = match preset {
            "full" => &[],
            "read-only" => &["GET", "HEAD", "OPTIONS"],
            "read-write" => &["GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"],
            other => {
                let problem = format!("`access` {} of {}", told(other), told(self.name));
                self.draft.point(
                    self.text.at(node),
                    problem,
                    "write read-only, read-write or full",
                );
                return Vec::new();
            }
        };
        let methods = methods.iter().map(|it| (*it).to_owned()).collect();
        let entry = self.path(node, path).map(|paths| Entry { methods, paths, ..Entry::default() });
        entry.into_iter().collect()
    }

    /// What a rule opens within the path of its endpoint.
    fn opened(&mut self, rule: &Node, within: &str) -> Option<Entry> {
        if let Some(other) = other_key(rule, &["allow"]).filter(|_| rule.get("allow").is_some()) {
            self.draft.limit(self.text.at(rule), other, self.name);
            return None;
        }
        let rule = rule.get("allow").unwrap_or(rule);
        if let Some(other) = other_key(rule, &["method", "path"]) {
            self.draft.limit(self.text.at(rule), other, self.name);
            return None;
        }
        let text = |key: &str| rule.get(key).and_then(Node::text).unwrap_or_default();
        let (method, path) = (text("method").to_ascii_uppercase(), text("path"));
        let Some(methods) = methods(&method) else {
            let problem = format!("a rule of {} for the method {}", told(self.name), told(&method));
            self.draft.point(self.text.at(rule), problem, "write a method such as `GET`, or `*`");
            return None;
        };
        let path = match (within, path) {
            ("**", path) | (path, "**") => path,
            (within, path) if within == path => path,
            (within, path) => {
                let problem = format!("the path {} of a rule within {}", told(path), told(within));
                let remedy = "write the paths that are in both";
                self.draft.point(self.text.at(rule), problem, remedy);
                return None;
            }
        };
        self.path(rule, path).map(|paths| Entry { methods, paths, ..Entry::default() })
    }

    /// The patterns of a path that is opened; none where it is any.
    fn path(&mut self, node: &Node, path: &str) -> Option<Vec<String>> {
        match narrow_path(path) {
            Some((pattern, is_whole)) => {
                if !is_whole {
                    let problem =
                        format!("`*` in the path {}, which here is one segment", told(path));
                    let remedy = "add the paths with more segments that callers need";
                    self.draft.point(self.text.at(node), problem, remedy);
                }
                Some(pattern.into_iter().collect())
            }
            None => {
                let problem = format!("the path {}, which no policy can say", told(path));
                let remedy = "write whole segments, with `/**` at the end";
                self.draft.point(self.text.at(node), problem, remedy);
                None
            }
        }
    }

    /// What a rule denies, or more.
    fn denied(&mut self, rule: &Node, within: &str) -> Entry {
        let text = |key: &str| rule.get(key).and_then(Node::text);
        let (path, is_whole) = wide_path(match text("path") {
            None | Some("**") => within,
            Some(path) => path,
        });
        let method = text("method").unwrap_or("*").to_ascii_uppercase();
        let methods = methods(&method);
        let is_more =
            !is_whole || methods.is_none() || other_key(rule, &["method", "path"]).is_some();
        if is_more {
            let problem = format!(
                "a deny of {} that no policy can say: here it denies more",
                told(self.name)
            );
            self.draft.point(self.text.at(rule), problem, "write by hand what is denied");
        }
        Entry {
            methods: methods.unwrap_or_default(),
            paths: path.into_iter().collect(),
            ..Entry::default()
        }
    }
}

/// The methods that one of a rule stands for; none where it is any. Nothing where it is no method.
fn methods(method: &str) -> Option<Vec<String>> {
    let is_letter = |byte: u8| byte.is_ascii_uppercase() || byte == b'-';
    match method {
        "*" => Some(Vec::new()),
        "GET" => Some(vec!["GET".to_owned(), "HEAD".to_owned()]),
        "" | "CONNECT" => None,
        other => other.bytes().all(is_letter).then(|| vec![other.to_owned()]),
    }
}

/// A pattern for what a path with wildcards certainly matches, absent where it is any, and whether it
/// certainly matches no more.
fn narrow_path(path: &str) -> Option<(Option<String>, bool)> {
    if path == "**" {
        return Some((None, true));
    }
    if path.contains(['?', '[', ']', '{', '}', '!', '\\', '%']) {
        return None;
    }
    let prefix = path.strip_suffix("/**").map(|prefix| format!("{prefix}/*"));
    let simple = prefix.unwrap_or_else(|| path.to_owned());
    let has_whole_end = simple != path;
    if is_prefix(&simple) && (has_whole_end || !simple.contains('*')) {
        return Some((Some(simple), true));
    }
    let is_whole = |segment: &str| segment == "*" || !segment.contains('*');
    let template: Vec<&str> =
        path.split('/').map(|segment| if segment == "*" { "{*}" } else { segment }).collect();
    let template = template.join("/");
    (path.split('/').all(is_whole) && is_pattern(&template)).then_some((Some(template), false))
}

/// A pattern for all that a path with wildcards may match, absent where it is any, and whether it matches
/// no more.
fn wide_path(path: &str) -> (Option<String>, bool) {
    let cut = path.find(['*', '?', '[', '{', '\\']).unwrap_or(path.len());
    let (begun, rest) = path.split_at(cut);
    let pattern = if rest.is_empty() { begun.to_owned() } else { format!("{begun}*") };
    match pattern.as_str() {
        "*" => (None, rest == "**"),
        _ if is_prefix(&pattern) => (Some(pattern), matches!(rest, "" | "**")),
        _ => (None, false),
    }
}

/// Writes the rules of all endpoints.
fn write(endpoints: &[Endpoint], draft: &mut Draft) {
    let inspected: Vec<&Endpoint> =
        endpoints.iter().filter(|it| !matches!(it.traffic, Traffic::Any)).collect();
    let denied: Vec<(&Endpoint, Entry)> = inspected
        .iter()
        .flat_map(|endpoint| endpoint.denied().map(move |entry| (*endpoint, entry)))
        .collect();
    let policies: BTreeSet<&str> = endpoints.iter().map(|it| &*it.policy).collect();
    for policy in policies {
        let own = || endpoints.iter().filter(|it| it.policy == policy);
        let mut entries = Vec::new();
        for endpoint in own() {
            entries.extend(endpoint.entries(&inspected, draft));
        }
        let mut to: Vec<Entry> = Vec::new();
        for entry in entries {
            if !denied.iter().any(|(_, denied)| covers(denied, &entry)) && !to.contains(&entry) {
                to.push(entry);
            }
        }
        let origin = |what: &str| {
            let mut lines = vec![format!("{what} of {policy}")];
            lines.extend(own().map(|endpoint| endpoint.place.clone()));
            vec![lines.join(", ")]
        };
        if !to.is_empty() {
            let spared = own().filter_map(|endpoint| endpoint.host.as_ref());
            let spared = spared.filter(|host| wildcards::spares_encoded(host));
            let mut origin = origin("endpoints");
            origin.extend(spared.map(|host| format!("{host} is for no label that begins xn--.")));
            draft.rules.push(Rule::new(policy, origin, Action::Allow, to));
        }
        let mut to: Vec<Entry> = Vec::new();
        for (_, entry) in denied.iter().filter(|(endpoint, _)| endpoint.policy == policy) {
            if !to.contains(entry) {
                to.push(entry.clone());
            }
        }
        if !to.is_empty() {
            let name = format!("{policy}-deny");
            let mut origin = origin("deny_rules");
            if to.iter().any(|entry| !entry.paths.is_empty()) {
                origin.push(
                    "A `%2F` in a path is a `/` here, so that none gets around it.".to_owned(),
                );
            }
            draft.rules.push(Rule::new(&name, origin, Action::Deny, to));
        }
    }
}

impl Endpoint {
    /// What it opens beside those that inspect.
    fn entries(&self, inspected: &[&Self], draft: &mut Draft) -> Vec<Entry> {
        let Some(host) = &self.host else { return Vec::new() };
        let hosts = vec![host.clone()];
        match &self.traffic {
            Traffic::Requests { opened, .. } => {
                let entry = |entry: &Entry| Entry {
                    hosts: hosts.clone(),
                    ports: self.ports.clone(),
                    ..entry.clone()
                };
                opened.iter().map(entry).collect()
            }
            Traffic::Any => {
                let entry = |port: &u16| self.uninspected(host, *port, inspected, draft);
                self.ports.iter().filter_map(entry).collect()
            }
        }
    }

    /// What it opens without inspection on a port: not what others inspect there.
    fn uninspected(
        &self,
        host: &str,
        port: u16,
        inspected: &[&Self],
        draft: &mut Draft,
    ) -> Option<Entry> {
        let mut not_hosts = BTreeSet::new();
        let mut is_open = true;
        for other in inspected.iter().filter(|other| other.ports.contains(&port)) {
            match &other.wide {
                Some(wide) if !may_meet(wide, host) => continue,
                Some(wide) if !is_within(host, wide) => drop(not_hosts.insert(wide.clone())),
                _ => is_open = false,
            }
            draft.point(
                &*self.place,
                format!(
                    "{} on port {port}, which {} inspects: only what that one opens is open",
                    told(host),
                    other.place
                ),
                "add rules for what callers need beside it",
            );
        }
        is_open.then(|| Entry {
            hosts: vec![host.to_owned()],
            not_hosts: not_hosts.into_iter().collect(),
            ports: vec![port],
            ..Entry::default()
        })
    }

    fn denied(&self) -> impl Iterator<Item = Entry> {
        let denied = match &self.traffic {
            Traffic::Any => &[][..],
            Traffic::Requests { denied, .. } => denied,
        };
        denied.iter().map(|entry| Entry {
            hosts: self.wide.iter().cloned().collect(),
            ports: self.ports.clone(),
            ..entry.clone()
        })
    }
}

/// Whether a name may match both patterns.
fn may_meet(one: &str, other: &str) -> bool {
    if !one.contains('*') && !other.contains('*') {
        return one == other;
    }
    let (one, other) = (suffix(one), suffix(other));
    is_below(one, other) || is_below(other, one) || one == other
}

/// Whether all that a pattern matches is matched by another.
fn is_within(pattern: &str, wide: &str) -> bool {
    let below = wide.strip_prefix("*.").filter(|name| !name.contains('*'));
    pattern == wide
        || below.is_some_and(|name| {
            is_below(pattern.trim_start_matches("*."), name)
                || pattern.strip_prefix("*.") == Some(name)
        })
}

fn is_below(name: &str, above: &str) -> bool {
    name.strip_suffix(above).is_some_and(|rest| rest.ends_with('.'))
}

/// The labels behind the last that has a `*`.
fn suffix(pattern: &str) -> &str {
    let behind = pattern.rsplit_once('*').map(|(_, behind)| behind);
    behind.map_or(pattern, |behind| behind.split_once('.').map_or("", |(_, suffix)| suffix))
}

/// Whether a deny is for all that an entry opens, as far as their fields say.
fn covers(denied: &Entry, entry: &Entry) -> bool {
    let has_path = |path: &String| {
        denied.paths.iter().any(|it| match it.strip_suffix('*') {
            Some(prefix) => path.starts_with(prefix),
            None => it == path,
        })
    };
    let within = |some: &[String], all: &[String]| {
        all.is_empty() || !some.is_empty() && some.iter().all(|it| all.contains(it))
    };
    (denied.hosts.is_empty()
        || entry.hosts.iter().all(|host| denied.hosts.iter().any(|wide| is_within(host, wide))))
        && entry.ports.iter().all(|port| denied.ports.contains(port))
        && within(&entry.methods, &denied.methods)
        && (denied.paths.is_empty() || !entry.paths.is_empty() && entry.paths.iter().all(has_path))
}
