//! `smokescreen`: an access control list (v1) of Stripe's Smokescreen.
//!
//! By its source (pkg/smokescreen/acl/v1): the list of the caller's role decides, or `default` where it has
//! none; without either all is refused. A host in `allowed_domains` passes, also one of `global_deny_list`; then
//! that list refuses, then `global_allow_list` lets through; for the rest `action` is `enforce` (refused), `report`
//! (let through and reported) or `open`. `*.name` is what is below the name. Ports are not looked at.
//!
//! A role is the name in a client certificate, and no SPIFFE id. So `default` is for any caller, and the rule
//! of a role is for a principal that nobody has, until somebody writes the right one. Tunnels are not opened:
//! the gateway judges what the caller sends to a host.

use super::draft::{Action, Callers, Draft, Entry, Rule, told};
use super::hosts::{HostSet, canonical};
use super::text::{Shape, Text, other_key, title};
use crate::document::Node;
use crate::failure::Failure;
use crate::policy_text::{Ids, id_of};
use egress_warden::host::PatternError;

const SHAPE: Shape = Shape {
    lists: &["services", "allowed_domains", "global_deny_list", "global_allow_list"],
    objects: &["default"],
    texts: &["action"],
    free: &[],
};

/// Whether a text has such a list.
pub(super) fn looks(text: &Text) -> bool {
    text.has_object(is_list)
}

/// A rule for `default`, and one for each role.
pub(super) fn import(texts: &[Text], draft: &mut Draft) -> Result<(), Failure> {
    let mut has_lists = false;
    for text in texts {
        for object in text.objects()? {
            if !is_list(object) {
                draft.passed_over.push(format!("{}: {}", text.at(object), title(object)));
                continue;
            }
            if std::mem::replace(&mut has_lists, true) {
                let problem = "a second list: there each proxy has one";
                return Err(Failure::new(text.at(object), problem, "import one at a time"));
            }
            if object.get("version").and_then(Node::text) != Some("v1") {
                let problem = "a list that is not of version v1";
                return Err(Failure::new(text.at(object), problem, "write `version: v1`"));
            }
            SHAPE.check(text, object)?;
            const KEYS: [&str; 5] =
                ["version", "services", "default", "global_deny_list", "global_allow_list"];
            match other_key(object, &KEYS) {
                Some(other) => draft.limit(text.at(object), other, "the list"),
                None => List::read(text, object, draft).write(draft),
            }
        }
    }
    match (has_lists, texts.first()) {
        (false, Some(text)) => {
            let remedy = "name a file with `version`, `services` and `default`";
            Err(Failure::new(text.name(), "no list of Smokescreen", remedy))
        }
        _ => Ok(()),
    }
}

fn is_list(object: &Node) -> bool {
    let has_action = |node: &Node| node.get("action").is_some();
    let services = object.get("services").map_or(&[][..], Node::items);
    object.get("version").is_some()
        && (services.iter().any(has_action) || object.get("default").is_some_and(has_action))
}

/// The list, with what holds for every role.
struct List<'n> {
    text: &'n Text,
    object: &'n Node,
    denied: HostSet,
    allowed: HostSet,
    /// Whether the list of what is denied was read whole.
    is_whole: bool,
}

impl<'n> List<'n> {
    fn read(text: &'n Text, object: &'n Node, draft: &mut Draft) -> Self {
        let globs = |key: &str| object.get(key).map_or(&[][..], Node::items);
        let (mut denied, mut is_whole) = (HostSet::default(), true);
        for glob in globs("global_deny_list") {
            let value = glob.text().unwrap_or_default();
            match (read(value), value.strip_prefix("*.")) {
                (Ok(host), _) => denied.insert(&host),
                // Broader than it is there, by the domain itself: no pattern allows that one.
                (Err(PatternError::TopLevel { domain }), Some(_)) => denied.add_tree(&domain),
                (Err(error), _) => {
                    is_whole = false;
                    let problem = format!("{}: {}", error.problem(), told(value));
                    draft.point(text.at(glob), problem, error.remedy());
                }
            }
        }
        let allowed = hosts(text, globs("global_allow_list"), draft);
        Self { text, object, denied, allowed, is_whole }
    }

    fn write(&self, draft: &mut Draft) {
        if let Some(default) = self.object.get("default") {
            self.write_role("default", default, None, draft);
        }
        let mut principals = Ids::default();
        for service in self.object.get("services").map_or(&[][..], Node::items) {
            let name = service.get("name").and_then(Node::text).unwrap_or("unnamed");
            let principal = format!("smokescreen.invalid/{}", principals.free(&id_of(name)));
            let action = service.get("action").and_then(Node::text).unwrap_or_default();
            draft.point(
                self.text.at(service),
                format!(
                    "service {} (`{action}`): a role is no caller that a policy knows, so its rules are for nobody",
                    told(name)
                ),
                format!("write the caller in place of `{principal}`; what is for any caller stays open to it"),
            );
            self.write_role(name, service, Some(principal), draft);
        }
    }

    /// The rules of one role; of any caller where it has no principal.
    fn write_role(&self, name: &str, role: &Node, principal: Option<String>, draft: &mut Draft) {
        const PROXY: [&str; 3] =
            ["allowed_external_proxies", "allowed_domains_mitm", "mitm_domains"];
        let place = self.text.at(role);
        let known = [&["name", "project", "action", "allowed_domains"][..], &PROXY].concat();
        if let Some(other) = other_key(role, &known) {
            draft.limit(place, other, name);
            return;
        }
        for key in PROXY {
            if let Some(node) = role.get(key) {
                let problem = format!("`{key}` of {}", told(name));
                let remedy =
                    "a policy only says which hosts may be reached: set it up in the gateway";
                draft.point(self.text.at(node), problem, remedy);
            }
        }
        let rest = match role.get("action").and_then(Node::text) {
            Some("enforce") => None,
            Some("report") => Some(Action::Retiring),
            Some("open") => Some(Action::Allow),
            other => {
                let problem =
                    format!("`action` {} of {}", told(other.unwrap_or("nothing")), told(name));
                draft.point(place, problem, "write enforce, report or open");
                return;
            }
        };
        let domains = role.get("allowed_domains").map_or(&[][..], Node::items);
        let own = hosts(self.text, domains, draft);
        let mut origin = vec![format!("{place}: {name}")];
        if !own.and(&self.denied).is_empty() {
            origin
                .push("What of it global_deny_list has too is allowed, as it is there.".to_owned());
        }
        let mut entries: Vec<Entry> = Vec::new();
        if !own.is_empty() {
            entries.push(Entry::of_hosts(&own));
        }
        let (allowed, denied) = self.allowed.minus(&self.denied);
        if self.is_whole && !allowed.is_empty() {
            let not_hosts = denied.patterns();
            entries.push(Entry { not_hosts, ..Entry::of_hosts(&allowed) });
        }
        entries.dedup();
        let callers = |principal| Callers { principals: vec![principal], ..Callers::default() };
        let from: Vec<Callers> = principal.into_iter().map(callers).collect();
        if !entries.is_empty() {
            let rule = Rule::new(name, origin.clone(), Action::Allow, entries);
            draft.rules.push(Rule { from: from.clone(), ..rule });
        }
        if let Some(action) = rest.filter(|_| self.is_whole) {
            let rule = self.rest(name, &place, action, draft);
            draft.rules.extend(rule.map(|rule| Rule { from, ..rule }));
        }
    }

    /// The rule for what no list names.
    fn rest(&self, name: &str, place: &str, action: Action, draft: &mut Draft) -> Option<Rule> {
        if let Some(domain) = self.denied.top_levels().next() {
            let problem =
                format!("a deny of everything below `.{domain}`, which no pattern can say");
            draft.point(place, problem, "allow hosts by name, so that the deny is not needed");
            return None;
        }
        draft.point(
            place,
            "any host: those that are written as addresses and special names stay refused",
            "name the addresses that callers need under `hosts`",
        );
        let entry = Entry { not_hosts: self.denied.patterns(), ..Entry::default() };
        let to = if entry == Entry::default() { Vec::new() } else { vec![entry] };
        let word = if action == Action::Retiring { "report" } else { "open" };
        let origin = format!("{place}: {name}, what no list names ({word})");
        Some(Rule::new(&format!("{name}-{word}"), vec![origin], action, to))
    }
}

/// What globs name. What is none is told.
fn hosts(text: &Text, globs: &[Node], draft: &mut Draft) -> HostSet {
    let mut hosts = HostSet::default();
    for glob in globs {
        let value = glob.text().unwrap_or_default();
        match read(value) {
            Ok(host) => hosts.insert(&host),
            Err(error) => {
                let problem = format!("{}: {}", error.problem(), told(value));
                draft.point(text.at(glob), problem, error.remedy());
            }
        }
    }
    hosts
}

/// A glob has one `*`, as its first label.
fn read(glob: &str) -> Result<String, PatternError> {
    let name = glob.strip_prefix("*.").unwrap_or(glob);
    match (name.contains('*') || name.starts_with('.'), name.contains('/')) {
        (true, _) => Err(PatternError::NoApex),
        (_, true) => Err(PatternError::Path),
        _ => canonical(glob),
    }
}
