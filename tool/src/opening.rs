//! The rule that would open the way to a refused request, as YAML to copy, or why no rule does.
//!
//! A policy that allows the request once the rule is added: that is what is promised here. The rule is the
//! narrowest one that policies can write. Where it must leave a condition out, a comment says so.

use crate::judgement::Judgement;
use crate::policy_text::{list, ports, word};
use egress_warden::config::{self, principal_pattern};
use egress_warden::host::Host;
use egress_warden::policy::{Dialled, Reason, Request, path_readings, with_slash};
use egress_warden::token::is_token;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Write};

/// Most methods that a rule lists for one destination, beside CONNECT.
const MAX_METHODS: usize = 8;
/// Most paths that a rule lists for one destination.
const MAX_PATHS: usize = 5;
/// Most destinations of a waypoint that a rule lists.
const MAX_DESTINATIONS: usize = 4;
/// Longest path that a rule lists, in bytes.
const MAX_PATH: usize = 512;

/// What one rule must open: requests of one caller to one host and port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Opening {
    /// What the rule is called after.
    named: String,
    /// `None`: no port is known.
    port: Option<u16>,
    /// `None`: not verified.
    principal: Option<String>,
    is_address: bool,
    /// By the host that is named, and at a waypoint the one that is dialled.
    destinations: BTreeMap<BTreeSet<String>, Ways>,
    /// Whether more destinations were dialled than are listed.
    is_cut: bool,
}

/// What is asked of one destination: paths by method. `None`: a connection, which shows neither.
type Ways = Option<BTreeMap<Method, Paths>>;

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Method {
    This(String),
    /// Any but CONNECT, since a rule cannot list them for this reason.
    Any(&'static str),
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Paths {
    These(BTreeSet<String>),
    /// Any, since a rule cannot list them for this reason.
    Any(&'static str),
}

/// Why a rule lists no more of them.
const MANY: &str = "there are many";
const CONNECT: &str = "CONNECT";

/// Why no rule opens it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Obstacle {
    /// The request is malformed; with what is wrong where it is the host.
    Malformed(Option<String>),
    /// A deny rule matches. It is named where a policy can have such a name.
    DenyRule(Option<Box<str>>),
    /// A deny rule matches only since something is unknown.
    Unknown(Option<Box<str>>),
    /// The policy requires a verified caller.
    Identity,
    /// The TLS server name is not the host.
    ServerName,
    /// An address or a name of the network itself, or of the machine.
    Forbidden,
    /// At a waypoint it goes to a host that is not known.
    Destination,
    /// `connect` in another case.
    MethodCase,
    /// The caller's id is one that no pattern can write.
    Caller,
    /// There was no verdict of a policy.
    NoVerdict,
}

impl Opening {
    /// What opens the way to a request that was refused in this way, by a policy or by the log.
    pub(crate) fn of(request: &Request<'_>, refusal: &Judgement) -> Result<Self, Obstacle> {
        let authority = match &request.authority {
            Ok(authority) => authority,
            Err(malformed) => return Err(Obstacle::Malformed(Some(malformed.to_string()))),
        };
        if let Some(obstacle) = obstacle(refusal) {
            return Err(obstacle);
        }
        let is_connect = request.method.is_some_and(|it| it.eq_ignore_ascii_case(b"CONNECT"));
        if !request.method.is_none_or(is_token) || (is_connect && authority.port.is_none()) {
            return Err(Obstacle::Malformed(None));
        }
        if is_connect && request.method != Some(b"CONNECT") {
            return Err(Obstacle::MethodCase);
        }
        let principal = match request.principal {
            Some(principal) if is_writable(principal) => Some(principal.to_owned()),
            Some(_) => return Err(Obstacle::Caller),
            None => None,
        };
        let hosts = hosts(&authority.host, &request.dialled)?;
        if hosts.iter().any(is_forbidden) {
            return Err(Obstacle::Forbidden);
        }
        Ok(Self {
            named: authority.host.canonical().into_owned(),
            port: request.port(),
            principal,
            is_address: hosts.iter().any(|host| host.is_special()),
            destinations: BTreeMap::from([(
                hosts.iter().map(|host| host.canonical().into_owned()).collect(),
                request
                    .method
                    .map(|method| BTreeMap::from([(of_method(method), of_path(request.path))])),
            )]),
            is_cut: false,
        })
    }

    /// Opens the way to what the other opens, too. Both are of one caller, host and port, and both of
    /// requests or of connections.
    pub(crate) fn join(&mut self, other: &Self) {
        for (hosts, more) in &other.destinations {
            match (self.destinations.get_mut(hosts), more) {
                (Some(Some(ways)), Some(more)) => join_ways(ways, more),
                (Some(_), _) => {}
                (None, more) => {
                    self.destinations.insert(hosts.clone(), more.clone());
                }
            }
        }
        self.is_cut |= other.is_cut;
        while self.destinations.len() > MAX_DESTINATIONS {
            self.destinations.pop_last();
            self.is_cut = true;
        }
        self.is_address |= other.is_address;
    }

    /// Whether it opens the way to a request of the same caller, host and port already. It may say that it
    /// does not where it does.
    pub(crate) fn covers(&self, request: &Request<'_>) -> bool {
        let mut destinations = self.destinations.iter();
        let named = destinations.find(|(hosts, _)| hosts.len() == 1).map(|(_, ways)| ways);
        let (Some(Some(ways)), Dialled::Named) = (named, &request.dialled) else { return false };
        let path = request.path.and_then(|path| path.split(|byte| *byte == b'?').next());
        ways.iter().any(|(method, paths)| method.covers(request.method) && paths.covers(path))
    }

    /// What the rule's id may begin with.
    pub(crate) fn name(&self) -> &str {
        &self.named
    }

    /// The rule under this id, as an entry of `rules`. The comments hold nothing that was sent.
    pub(crate) fn yaml(&self, id: &str) -> String {
        let mut text = String::new();
        // Writing to a string cannot fail.
        for comment in self.comments() {
            let _ = writeln!(text, "# {comment}");
        }
        let _ = writeln!(text, "- id: {}\n  action: allow", word(id));
        if let Some(principal) = &self.principal {
            let principals = list(std::slice::from_ref(principal));
            let _ = writeln!(text, "  from:\n  - principals: {principals}");
        }
        text.push_str("  to:\n");
        for (hosts, ways) in &self.destinations {
            let hosts: Vec<String> = hosts.iter().map(|it| word(it)).collect();
            for fields in entries(ways) {
                let _ = writeln!(text, "  - hosts: [{}]", hosts.join(", "));
                if let Some(port) = self.port {
                    let _ = writeln!(text, "    ports: {}", ports(&[port]));
                }
                text.push_str(&fields);
            }
        }
        text
    }

    fn comments(&self) -> Vec<String> {
        let mut comments = Vec::new();
        if self.principal.is_none() {
            comments.push("for any caller: this one is not verified".to_owned());
        }
        if self.is_address {
            comments.push("an address, not a name: nobody vouches for who has it".to_owned());
        }
        if self.is_cut {
            comments.push(format!("not for all: more than {MAX_DESTINATIONS} hosts were dialled"));
        }
        let ways = || self.destinations.values().flatten().flatten();
        if ways().any(|(method, _)| method.is_connect()) {
            comments.push("a tunnel: what goes through it is not judged".to_owned());
        }
        if self.port.is_none() {
            comments.push("for any port: none is known for certain".to_owned());
        }
        let methods = ways().filter_map(|(method, _)| match method {
            Method::This(_) => None,
            Method::Any(why) => Some(format!("for any method: {why}")),
        });
        let paths = ways().filter_map(|(_, paths)| match paths {
            Paths::These(_) => None,
            Paths::Any(why) => Some(format!("for any path: {why}")),
        });
        comments.extend(methods.collect::<BTreeSet<_>>());
        comments.extend(paths.collect::<BTreeSet<_>>());
        comments
    }
}

impl Method {
    fn covers(&self, method: Option<&[u8]>) -> bool {
        match self {
            Self::This(this) => method == Some(this.as_bytes()),
            Self::Any(why) => {
                *why == MANY
                    && method.is_some_and(|it| !it.eq_ignore_ascii_case(CONNECT.as_bytes()))
            }
        }
    }

    /// An entry opens a tunnel only if it names the method.
    fn is_connect(&self) -> bool {
        matches!(self, Self::This(method) if method == CONNECT)
    }
}

impl Paths {
    fn covers(&self, path: Option<&[u8]>) -> bool {
        match self {
            Self::Any(_) => true,
            Self::These(these) => path
                .and_then(|it| std::str::from_utf8(it).ok())
                .is_some_and(|it| these.contains(it)),
        }
    }

    fn listed(&self) -> impl Iterator<Item = &String> {
        let these = match self {
            Self::These(these) => Some(these),
            Self::Any(_) => None,
        };
        these.into_iter().flatten()
    }

    fn join(&mut self, other: &Self) {
        match (&mut *self, other) {
            (Self::Any(why), Self::Any(other)) => *why = (*why).min(other),
            (Self::Any(_), Self::These(_)) => {}
            (_, Self::Any(why)) => *self = Self::Any(why),
            (Self::These(these), Self::These(more)) => these.extend(more.iter().cloned()),
        }
    }
}

/// Joins paths by method, within the bounds of what a rule lists.
fn join_ways(ways: &mut BTreeMap<Method, Paths>, more: &BTreeMap<Method, Paths>) {
    for (method, paths) in more {
        match ways.get_mut(method) {
            Some(own) => own.join(paths),
            None => {
                ways.insert(method.clone(), paths.clone());
            }
        }
    }
    let are_many = ways.contains_key(&Method::Any(MANY))
        || ways.keys().filter(|method| !method.is_connect()).count() > MAX_METHODS;
    if are_many {
        let (tunnels, rest): (BTreeMap<_, _>, BTreeMap<_, _>) =
            std::mem::take(ways).into_iter().partition(|(method, _)| method.is_connect());
        *ways = tunnels;
        let joined = rest.into_values().reduce(|mut all, paths| {
            all.join(&paths);
            all
        });
        ways.extend(joined.map(|paths| (Method::Any(MANY), paths)));
    }
    let listed: BTreeSet<&String> = ways.values().flat_map(Paths::listed).collect();
    if listed.len() > MAX_PATHS || ways.values().any(|it| *it == Paths::Any(MANY)) {
        let these = ways.values_mut().filter(|it| matches!(it, Paths::These(_)));
        these.for_each(|paths| *paths = Paths::Any(MANY));
    }
}

/// The methods and paths of each entry for one destination. Methods with the same paths share one, so
/// that no entry opens a path for a method that was not asked for there.
fn entries(ways: &Ways) -> Vec<String> {
    let Some(ways) = ways else { return vec![String::new()] };
    let mut entries: Vec<(Option<Vec<String>>, &Paths)> = Vec::new();
    for (method, paths) in ways {
        match method {
            Method::Any(_) => entries.push((None, paths)),
            Method::This(method) => {
                let same = entries
                    .iter_mut()
                    .find_map(|(methods, of)| methods.as_mut().filter(|_| *of == paths));
                match same {
                    Some(methods) => methods.push(method.clone()),
                    None => entries.push((Some(vec![method.clone()]), paths)),
                }
            }
        }
    }
    let lines = |(methods, paths): (Option<Vec<String>>, &Paths)| {
        let methods = methods.map(|it| format!("    methods: {}\n", list(&it)));
        let paths: Vec<String> = paths.listed().cloned().collect();
        let paths = (!paths.is_empty()).then(|| format!("    paths: {}\n", list(&paths)));
        methods.into_iter().chain(paths).collect()
    };
    entries.into_iter().map(lines).collect()
}

/// What a reason alone says.
pub(crate) fn obstacle(refusal: &Judgement) -> Option<Obstacle> {
    let rule = || refusal.rule.clone().filter(|rule| config::is_name(rule));
    let is = |reason: Reason| &*refusal.reason == reason.as_str();
    let known = [
        (Reason::Rule, Obstacle::DenyRule(rule())),
        (Reason::Unknown, Obstacle::Unknown(rule())),
        (Reason::Malformed, Obstacle::Malformed(None)),
        (Reason::Identity, Obstacle::Identity),
        (Reason::Sni, Obstacle::ServerName),
        (Reason::ProxyError, Obstacle::NoVerdict),
        (Reason::Undecided, Obstacle::NoVerdict),
    ];
    known.into_iter().find_map(|(reason, obstacle)| is(reason).then_some(obstacle))
}

/// The hosts that one entry must name: an allow needs both readings at a waypoint.
fn hosts<'h>(named: &'h Host<'h>, dialled: &'h Dialled<'h>) -> Result<Vec<&'h Host<'h>>, Obstacle> {
    match dialled {
        Dialled::Named => Ok(vec![named]),
        Dialled::Host(host) => Ok(vec![named, host]),
        Dialled::Other | Dialled::Unsaid => Err(Obstacle::Destination),
    }
}

/// Whether a rule for this host should not be a matter of copying: an address that is not globally
/// reachable, or a name of the machine or of a metadata service.
fn is_forbidden(host: &&Host<'_>) -> bool {
    match host {
        Host::Address(address) => egress_warden::host::is_forbidden(*address),
        Host::Name(_) => host.is_special(),
    }
}

/// Whether an exact pattern stands for this caller and for no other.
fn is_writable(principal: &str) -> bool {
    !principal.contains('*') && principal_pattern(principal).is_ok()
}

/// Methods in lower case may be a standard one in another case, which no rule can list.
fn of_method(method: &[u8]) -> Method {
    let text = std::str::from_utf8(method).ok();
    match text.filter(|it| !it.contains('*') && *it == it.to_ascii_uppercase()) {
        Some(method) => Method::This(method.to_owned()),
        None => Method::Any("a rule cannot list this one"),
    }
}

/// The path as an exact pattern, where both of its readings match one.
fn of_path(path: Option<&[u8]>) -> Paths {
    let Some(path) = path else { return Paths::Any("the log has none") };
    let is_plain = |byte: u8| byte.is_ascii_graphic() && !b"*{}".contains(&byte);
    let exact = path_readings(path).and_then(|[sent, lenient]| {
        let is_writable = sent.len() <= MAX_PATH && sent.bytes().all(is_plain);
        (is_writable && with_slash(&sent, "/") == lenient).then_some(sent)
    });
    match exact {
        Some(path) => Paths::These([path].into()),
        None => Paths::Any("a rule cannot list this one"),
    }
}

impl fmt::Display for Obstacle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let deny = |rule: &Option<Box<str>>| match rule {
            Some(rule) => format!("the deny rule `{rule}`"),
            None => "a deny rule".to_owned(),
        };
        match self {
            Self::Malformed(None) => f.write_str("malformed: no policy allows it"),
            Self::Malformed(Some(problem)) => {
                write!(f, "malformed host: {problem}; no policy allows it")
            }
            Self::DenyRule(rule) => {
                write!(f, "{} matches: change that one, no allow rule overrules it", deny(rule))
            }
            Self::Unknown(rule) => write!(
                f,
                "{} matches, because something is unknown that it asks about: see `explain`; no allow \
                 rule overrules it",
                deny(rule)
            ),
            Self::Identity => f.write_str(
                "the policy requires a verified caller (`identity: required`): call with a certificate \
                 of the mesh",
            ),
            Self::ServerName => f.write_str(
                "the TLS server name is not the host (`sni: match`): the caller must send one name",
            ),
            Self::Forbidden => f.write_str(
                "a private or special address or name: write a rule whose `hosts` name exactly it, if \
                 that is meant",
            ),
            Self::Destination => f.write_str(
                "the waypoint sends it to a host that is not known: give the destination a \
                 ServiceEntry with a name of its own",
            ),
            Self::MethodCase => f.write_str("CONNECT in another case: no rule can list it"),
            Self::Caller => f.write_str("no pattern stands for exactly this caller's id"),
            Self::NoVerdict => f.write_str(
                "the proxy gave the filter nothing to decide by: no policy changes that",
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy_file::PolicyFile;
    use egress_warden::config::Config;
    use egress_warden::policy::{Action, ClusterPort, Decision, Policy};
    use egress_warden::root_id::Connections;
    use egress_warden::time::Time;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    fn read(text: &str) -> Config {
        let file = PolicyFile::of_text("policy.yaml".to_owned(), text.to_owned(), false);
        match file.into_valid() {
            Ok((_, config)) => config,
            Err(failure) => panic!("{failure}\n{text}"),
        }
    }

    /// A policy in YAML: its head, its rules in JSON, and what is to be added.
    fn policy(head: &str, rules: &[Value], added: &str) -> String {
        let rules: String = rules.iter().map(|rule| format!("- {rule}\n")).collect();
        let list = if rules.is_empty() && added.is_empty() { " []" } else { "" };
        format!("policy: p\n{head}default: deny\nrules:{list}\n{rules}{added}")
    }

    /// What is refused in a decision, or would be.
    fn refusal(decision: Decision, policy: &Policy) -> Option<Judgement> {
        let mut both = [Some(decision.verdict), decision.would].into_iter().flatten();
        let refused = both.find(|it| it.action == Action::Deny);
        refused.map(|verdict| Judgement::new(verdict, policy))
    }

    /// What opens the way to a request that this policy refuses, or would.
    fn opened(text: &str, request: &Request<'_>) -> Option<Result<Opening, Obstacle>> {
        let policy = read(text).policy;
        let decision = policy.decide(request);
        let refusal = refusal(decision, &policy)?;
        Some(Opening::of(request, &refusal))
    }

    const NOTHING: &str = "default: deny\npolicy: p\nrules: []\n";

    fn get<'a>(authority: &'a str, path: &'a str) -> Request<'a> {
        Request {
            path: Some(path.as_bytes()),
            principal: Some("cluster.local/ns/shop/sa/cart"),
            cluster_port: ClusterPort::Said(443),
            ..Request::new(authority.as_bytes(), b"GET")
        }
    }

    #[test]
    fn the_rule_says_all_that_is_known_of_the_request() {
        let request = get("API.stripe.com.", "/v1/charges?key=secret");
        let opening = opened(NOTHING, &request).unwrap().unwrap();
        assert_eq!(opening.name(), "api.stripe.com");
        assert_eq!(
            opening.yaml("stripe"),
            "\
- id: stripe
  action: allow
  from:
  - principals: [\"cluster.local/ns/shop/sa/cart\"]
  to:
  - hosts: [api.stripe.com]
    ports: [443]
    methods: [\"GET\"]
    paths: [\"/v1/charges\"]
"
        );
    }

    #[test]
    fn what_a_rule_cannot_say_is_left_out_and_told() {
        let request = Request {
            principal: None,
            cluster_port: ClusterPort::Unsaid,
            ..Request::new(b"9.9.9.9", b"get")
        };
        let opening = opened(NOTHING, &request).unwrap().unwrap();
        assert_eq!(
            opening.yaml("nine"),
            "\
# for any caller: this one is not verified
# an address, not a name: nobody vouches for who has it
# for any port: none is known for certain
# for any method: a rule cannot list this one
# for any path: the log has none
- id: nine
  action: allow
  to:
  - hosts: [\"9.9.9.9\"]
"
        );
    }

    #[test]
    fn one_rule_opens_the_way_to_many_requests_of_one_caller() {
        let paths: Vec<String> = (0..7).map(|number| format!("/{number}")).collect();
        let mut opening = opened(NOTHING, &get("a.test", "/0")).unwrap().unwrap();
        for (number, path) in paths.iter().enumerate() {
            opening.join(&opened(NOTHING, &get("a.test", path)).unwrap().unwrap());
            assert!(opening.covers(&get("a.test", path)));
            assert_eq!(opening.covers(&get("a.test", "/another")), number >= MAX_PATHS);
            let text = policy("", &[], &opening.yaml("a"));
            for path in &paths[..=number] {
                assert_eq!(opened(&text, &get("a.test", path)), None, "{text}");
            }
        }
        assert!(opening.yaml("a").contains("# for any path: there are many\n"));
    }

    /// A rule that opens each of these, of one caller, host and port.
    fn joined(requests: &[Request<'_>]) -> Opening {
        let mut openings = requests.iter().map(|it| opened(NOTHING, it).unwrap().unwrap());
        let first = openings.next().unwrap();
        openings.fold(first, |mut all, opening| {
            all.join(&opening);
            all
        })
    }

    #[test]
    fn a_rule_for_many_opens_no_path_for_a_method_that_was_not_asked_for_there() {
        let asked = |method: &'static str, path| Request {
            method: Some(method.as_bytes()),
            ..get("a.test", path)
        };
        let requests = [
            asked("GET", "/public"),
            asked("HEAD", "/public"),
            asked("POST", "/orders"),
            asked("get", "/odd"),
        ];
        let text = policy("", &[], &joined(&requests).yaml("a"));
        for request in &requests {
            assert_eq!(opened(&text, request), None, "{text}");
        }
        for request in [asked("POST", "/public"), asked("GET", "/orders"), asked("PUT", "/public")]
        {
            assert!(opened(&text, &request).is_some(), "{text}");
        }
    }

    #[test]
    fn a_rule_is_valid_whatever_word_of_yaml_its_id_is() {
        for name in ["null", "no", "y", "true", "off", "1e3", "0", "0x1f", "a-test"] {
            let opening = opened(NOTHING, &get("a.test", "/")).unwrap().unwrap();
            let text = policy("", &[], &opening.yaml(name));
            assert_eq!(&*read(&text).policy.rules()[0].id, name);
            assert_eq!(opened(&text, &get("a.test", "/")), None);
        }
    }

    #[test]
    fn a_tunnel_is_opened_beside_any_other_methods() {
        let tunnel = Request { method: Some(b"CONNECT"), path: None, ..get("a.test:443", "/") };
        let named = ["A", "B", "C", "D", "E", "F", "G", "H", "I"];
        let mut requests: Vec<_> = named
            .iter()
            .map(|method| Request { method: Some(method.as_bytes()), ..get("a.test", "/x") })
            .collect();
        requests.insert(4, tunnel.clone());
        let of_case = [tunnel, Request { method: Some(b"get"), ..get("a.test", "/x") }];
        for requests in [&requests[..], &of_case] {
            let text = policy("", &[], &joined(requests).yaml("a"));
            for request in requests {
                assert_eq!(opened(&text, request), None, "{text}");
            }
            // The path of the tunnel, which is none, opens no path to others.
            assert!(opened(&text, &get("a.test", "/y")).is_some(), "{text}");
        }
    }

    #[test]
    fn destinations_of_a_waypoint_are_opened_one_by_one_and_only_a_few() {
        let to = |dialled: &'static str, path| Request {
            dialled: Dialled::Host(Host::parse(dialled.as_bytes()).unwrap()),
            ..get("a.test", path)
        };
        let requests = [to("b.test", "/b"), to("c.test", "/c")];
        let text = policy("", &[], &joined(&requests).yaml("a"));
        for request in &requests {
            assert_eq!(opened(&text, request), None, "{text}");
        }
        let other = Request { path: Some(b"/c"), ..requests[0].clone() };
        assert!(opened(&text, &other).is_some(), "{text}");

        let names: Vec<String> = (0..100).map(|number| format!("h{number}.test")).collect();
        let many: Vec<_> = names
            .iter()
            .map(|it| Request {
                dialled: Dialled::Host(Host::parse(it.as_bytes()).unwrap()),
                ..get("a.test", "/")
            })
            .collect();
        let rule = joined(&many).yaml("a");
        assert!(rule.starts_with("# not for all: more than 4 hosts were dialled\n"), "{rule}");
        assert_eq!(rule.matches("- hosts:").count(), MAX_DESTINATIONS);
    }

    #[test]
    fn where_no_rule_can_open_it_the_reason_is_told() {
        let deny = json!({"id": "no-legacy", "action": "deny", "to": [{"hosts": ["legacy.test"]}]});
        let of_get = json!({"id": "of-get", "action": "deny",
            "to": [{"hosts": ["legacy.test"], "methods": ["PUT"]}]});
        let base = policy("", std::slice::from_ref(&deny), "");
        let unknown = policy("", &[of_get], "");
        let monitor = policy("mode: monitor\n", &[deny], "");
        let strict = policy("identity: required\n", &[], "");
        let sni = policy("sni: match\n", &[], "");
        let nobody = Request { principal: None, ..get("a.test", "/") };
        let elsewhere = Request { server_name: Some(b"b.test"), ..get("a.test", "/") };
        let starred = Request { principal: Some("td/ns/*/sa/a"), ..get("a.test", "/") };
        let to = |dialled| Request { dialled, ..get("a.test", "/") };
        let tunnel = |method| Request { method: Some(method), ..get("a.test:443", "/") };
        for (policy, request, expected) in [
            (&base, get("legacy.test", "/"), "the deny rule `no-legacy` matches"),
            (&monitor, get("legacy.test", "/"), "the deny rule `no-legacy` matches"),
            (&unknown, Request { method: None, ..get("legacy.test", "/") }, "something is unknown"),
            (&strict, nobody, "the policy requires a verified caller"),
            (&sni, elsewhere, "the TLS server name is not the host"),
            (&base, get("a.test,b.test", "/"), "malformed host"),
            (&base, get("", "/"), "malformed host"),
            (&base, tunnel(b"GE T"), "malformed: no policy"),
            (
                &base,
                Request { method: Some(b"CONNECT"), ..get("a.test", "/") },
                "malformed: no policy",
            ),
            (&base, tunnel(b"connect"), "CONNECT in another case"),
            (&base, get("169.254.169.254", "/"), "a private or special address"),
            (&base, get("localhost", "/"), "a private or special address"),
            (&base, to(Dialled::Other), "the waypoint sends it"),
            (&base, to(Dialled::Unsaid), "the waypoint sends it"),
            (&base, starred, "no pattern stands for exactly"),
        ] {
            let obstacle = opened(policy, &request).expect("a refusal").unwrap_err().to_string();
            assert!(obstacle.starts_with(expected) || obstacle.contains(expected), "{obstacle}");
        }
    }

    #[test]
    fn what_the_log_alone_says_is_enough() {
        let judgement = |reason: &str, rule: Option<&str>| Judgement {
            decision: "deny".into(),
            reason: reason.into(),
            rule: rule.map(Box::from),
        };
        let request = get("a.test", "/");
        assert!(Opening::of(&request, &judgement("refused_by_mesh", None)).is_ok());
        assert!(Opening::of(&request, &judgement("expired", Some("old"))).is_ok());
        let of = |rule| Opening::of(&request, &judgement("rule", Some(rule))).unwrap_err();
        assert_eq!(of("no-legacy"), Obstacle::DenyRule(Some("no-legacy".into())));
        assert_eq!(of("\u{202e}</script>"), Obstacle::DenyRule(None));
    }

    fn one_of<T: Clone + std::fmt::Debug + 'static>(
        values: &[T],
    ) -> impl Strategy<Value = T> + use<T> {
        prop::sample::select(values.to_vec())
    }

    /// A rule without its id.
    fn rule() -> impl Strategy<Value = Value> {
        let fields = (
            one_of(&[
                json!(null),
                json!(["a.test"]),
                json!([".a.test"]),
                json!(["9.9.9.0/24"]),
                json!(["b.test"]),
            ]),
            one_of(&[json!(null), json!([443]), json!([80])]),
            one_of(&[json!(null), json!(["GET"]), json!(["CONNECT"])]),
            one_of(&[json!(null), json!(["/v1/*"])]),
            one_of(&[json!(null), json!(["td/ns/shop/*"])]),
        );
        let rest = (
            one_of(&["allow", "allow", "deny"]),
            one_of(&[json!(null), json!(null), json!("dry-run"), json!("retiring")]),
            one_of(&[json!(null), json!(null), json!("2026-01-01T00:00:00Z")]),
        );
        (fields, rest).prop_map(
            |((hosts, ports, methods, paths, principals), (action, state, until))| {
                let object = |pairs: [(&str, Value); 4]| {
                    let pairs = pairs.into_iter().filter(|(_, value)| !value.is_null());
                    Value::Object(pairs.map(|(key, value)| (key.to_owned(), value)).collect())
                };
                let to = object([
                    ("hosts", hosts),
                    ("ports", ports),
                    ("methods", methods),
                    ("paths", paths),
                ]);
                let mut rule = json!({"action": action, "state": state, "until": until});
                if to != json!({}) {
                    rule["to"] = json!([to]);
                }
                if !principals.is_null() {
                    rule["from"] = json!([{"principals": principals}]);
                }
                rule.as_object_mut().unwrap().retain(|_, value| !value.is_null());
                rule
            },
        )
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        /// The promise: with the rule, the policy allows the request.
        #[test]
        fn the_policy_with_the_rule_allows_the_request(
            head in one_of(&["", "", "mode: monitor\n", "identity: required\n", "sni: match\n"]),
            rules in prop::collection::vec(rule(), 0..4),
            host in one_of(&["a.test", "A.test.:443", "x.a.test:80", "9.9.9.9", "[2001:4860::1]:443", "null", "a.test:8443"]),
            method in one_of(&[None, Some("GET"), Some("get"), Some("CONNECT"), Some("PROPFIND"), Some("NO")]),
            path in one_of(&[
                None, Some("/"), Some("/v1/x?q=1"), Some("/@a%2fb"), Some("/%61"), Some("//a"), Some("/a;b"),
                Some("/{*}"), Some("/a*b"), Some("/\u{e9}"), Some("/.."), Some("/\"x"), Some("*"),
            ]),
            principal in one_of(&[None, Some("td/ns/shop/sa/cart"), Some("#\"'\\"), Some("a, b: c")]),
            server_name in one_of(&[None, Some("a.test"), Some("")]),
            cluster_port in one_of(&[ClusterPort::Unsaid, ClusterPort::Unknown, ClusterPort::Said(443)]),
            dialled in one_of(&["", "a.test", "b.test", "9.9.9.9"]),
            year in one_of(&[2025, 2027]),
        ) {
            let numbered = rules.iter().enumerate().map(|(number, rule)| {
                let mut rule = rule.clone();
                rule["id"] = format!("r{number}").into();
                rule
            });
            let rules: Vec<Value> = numbered.collect();
            let known = match method {
                Some(method) => Request::new(host.as_bytes(), method.as_bytes()),
                None => Request::connection(host.as_bytes(), Connections::default()),
            };
            let dialled = match Host::parse(dialled.as_bytes()) {
                Ok(dialled) if known.authority.as_ref().is_ok_and(|it| it.host == dialled) => Dialled::Named,
                Ok(host) => Dialled::Host(host),
                Err(_) => Dialled::Named,
            };
            let request = Request {
                path: method.and(path).map(str::as_bytes),
                principal,
                server_name: server_name.map(str::as_bytes),
                cluster_port,
                dialled,
                now: format!("{year}-06-01T00:00:00Z").parse::<Time>().ok(),
                ..known
            };
            let before = policy(head, &rules, "");
            if let Some(Ok(opening)) = opened(&before, &request) {
                let after = policy(head, &rules, &opening.yaml("opened"));
                let decision = read(&after).policy.decide(&request);
                prop_assert_eq!(decision.verdict.action, Action::Allow, "{}", after);
                let was_refused = read(&before).policy.decide(&request).verdict.action == Action::Deny;
                prop_assert!(was_refused || decision.would.is_none(), "{}", after);
            }
        }
    }
}
