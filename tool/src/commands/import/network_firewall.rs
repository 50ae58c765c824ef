//! `aws-network-firewall`: domain lists of AWS Network Firewall.
//!
//! By its API reference (RulesSourceList) and developer guide (stateful domain list rule groups): `.name` is
//! the name and everything below it, `name` that name alone; `TLS_SNI` is about TLS, `HTTP_HOST` about
//! HTTP, on any port. ALLOWLIST passes what is listed and drops the rest of these protocols; DENYLIST and
//! REJECTLIST drop what is listed; ALERTLIST refuses nothing. Assumed where a list is for one protocol:
//! port 443 is TLS and port 80 is HTTP, because a policy does not know the protocol. Between lists a deny
//! wins here. What a list says nothing of stays refused.

use super::draft::{Action, Draft, Entry, Rule, count, told};
use super::hosts::{HostSet, canonical};
use super::text::{Shape, Text, title};
use crate::document::Node;
use crate::failure::Failure;
use egress_warden::host::{Host, PatternError};

const SHAPE: Shape = Shape {
    lists: &["Targets", "TargetTypes"],
    objects: &["RulesSourceList", "RuleVariables", "IPSets"],
    texts: &["GeneratedRulesType"],
    free: &["IPSets"],
};

/// Whether a text has a rule group.
pub(super) fn looks(text: &Text) -> bool {
    text.has_object(|object| !groups(object).is_empty())
}

/// A rule for each domain list.
pub(super) fn import(texts: &[Text], draft: &mut Draft) -> Result<(), Failure> {
    let mut lists = Lists::default();
    let mut has_groups = false;
    for text in texts {
        for object in text.objects()? {
            let groups = groups(object);
            has_groups |= !groups.is_empty();
            if groups.is_empty() {
                draft.passed_over.push(format!("{}: {}", text.at(object), title(object)));
            }
            for (name, group) in groups {
                SHAPE.check(text, group)?;
                lists.add(text, name, group, draft);
            }
        }
    }
    if let (false, Some(text)) = (has_groups, texts.first()) {
        let remedy = "name the document of a rule group, with `RulesSource`";
        return Err(Failure::new(text.name(), "no rule group", remedy));
    }
    lists.write(draft);
    Ok(())
}

/// The rule groups of an object, with their names: of `create-rule-group`, of `describe-rule-group`, of a
/// template of CloudFormation.
fn groups(object: &Node) -> Vec<(&str, &Node)> {
    let response = object.get("RuleGroupResponse").unwrap_or(object);
    let name = response.get("RuleGroupName").and_then(Node::text).unwrap_or("domains");
    let resources = object.get("Resources").map_or(&[][..], Node::members).iter();
    let resources = resources.filter_map(|resource| {
        let kind = resource.value.get("Type").and_then(Node::text);
        let group = resource.value.get("Properties")?.get("RuleGroup")?;
        (kind == Some("AWS::NetworkFirewall::RuleGroup")).then_some((&*resource.key, group))
    });
    let own = object.get("RuleGroup").unwrap_or(object);
    let own = own.get("RulesSource").map(|_| (name, own));
    own.into_iter().chain(resources).collect()
}

/// What lists allow and deny.
#[derive(Default)]
struct Lists {
    allowed: Vec<List>,
    denied: Vec<List>,
    /// Whether rules that are not read may refuse more.
    is_closed: bool,
}

/// The hosts of one list.
struct List {
    name: String,
    place: String,
    origin: String,
    hosts: HostSet,
    /// Empty: any.
    ports: Vec<u16>,
}

impl Lists {
    fn add(&mut self, text: &Text, name: &str, group: &Node, draft: &mut Draft) {
        let Some(source) = group.get("RulesSource") else { return };
        for other in source.members().iter().filter(|it| &*it.key != "RulesSourceList") {
            let rules = other.value.to_json().to_ascii_lowercase();
            let refuses = ["drop", "reject", "forward"].iter().any(|word| rules.contains(word));
            self.is_closed |= refuses;
            let so = if refuses { ", which may refuse more: so nothing is allowed" } else { "" };
            draft.point(
                text.at_line(text.document().position(other.key_span.start).line),
                format!("`{}` of {}{so}", other.key, told(name)),
                "write rules for it by hand: only domain lists are read",
            );
        }
        let Some(list) = source.get("RulesSourceList") else { return };
        let is_limited = self.tell_variables(text, group, draft);
        let place = text.at(list);
        let kind = list.get("GeneratedRulesType").and_then(Node::text).unwrap_or_default();
        let ports = ports(list);
        if ports.is_none() {
            let problem = format!("`TargetTypes` of {}", told(name));
            draft.point(&*place, problem, "write TLS_SNI, HTTP_HOST, or both");
        }
        let is_limited = is_limited || ports.is_none();
        let ports = ports.unwrap_or_default();
        let origin = format!("{place}: {kind} {name}");
        let mut hosts = HostSet::default();
        for target in list.get("Targets").map_or(&[][..], Node::items) {
            // What a list denies that nobody can read here must not be allowed by another.
            self.is_closed |= kind != "ALLOWLIST" && target.text().is_none();
            let value = target.text().unwrap_or_default();
            match read(value, kind == "ALLOWLIST") {
                Ok(Target::Pattern(host)) => hosts.insert(&host),
                Ok(Target::TopLevel(name)) => hosts.add_tree(&name),
                Err(error) => draft.point(
                    text.at(target),
                    format!("{}: {}", error.problem(), told(value)),
                    error.remedy(),
                ),
            }
        }
        let list = List { name: name.to_owned(), place, origin, hosts, ports };
        match kind {
            "ALLOWLIST" if is_limited => {}
            "ALLOWLIST" => {
                if let [port] = list.ports[..] {
                    let protocol = if port == 443 { "TLS" } else { "HTTP" };
                    draft.point(
                        &*list.place,
                        format!("{protocol} on other ports than {port}: a policy does not know the protocol"),
                        "add the ports that callers need",
                    );
                }
                self.allowed.push(list);
            }
            "DENYLIST" | "REJECTLIST" => {
                draft.point(
                    &*list.place,
                    format!("{kind} {}: what it leaves open stays refused", told(name)),
                    "add rules that allow what callers need",
                );
                self.denied.push(List { ports: Vec::new(), ..list });
            }
            other => draft.point(
                &*list.place,
                format!("`GeneratedRulesType` {}, which allows nothing here", told(other)),
                "write ALLOWLIST or DENYLIST",
            ),
        }
    }

    /// Names the variables that domain lists use; whether they limit where hosts may lie.
    fn tell_variables(&self, text: &Text, group: &Node, draft: &mut Draft) -> bool {
        let sets = group.get("RuleVariables").and_then(|variables| variables.get("IPSets"));
        let variable = |name: &str| sets.and_then(|sets| sets.get(name));
        if let Some(home) = variable("HOME_NET") {
            let addresses = home.get("Definition").unwrap_or(home).to_json();
            draft.point(
                text.at(home),
                format!("HOME_NET {addresses}: a policy does not know addresses of callers"),
                "let only these reach the gateway, or add `from` to the rules",
            );
        }
        if let Some(external) = variable("EXTERNAL_NET") {
            draft.point(
                text.at(external),
                "EXTERNAL_NET, which limits the addresses of hosts: its list allows nothing here",
                "write rules for the list by hand, and limit the addresses in the network",
            );
        }
        variable("EXTERNAL_NET").is_some()
    }

    fn write(self, draft: &mut Draft) {
        if let (Some(_), Some(denied)) = (self.allowed.first(), self.denied.first()) {
            draft.point(
                &*denied.place,
                "a list that denies beside one that allows: what is in both stays refused",
                "take out of it what may leave",
            );
        }
        let mut top_levels = HostSet::default();
        let lists = self.denied.into_iter().map(|list| (list, Action::Deny));
        let allowed = if self.is_closed { Vec::new() } else { self.allowed };
        for (list, action) in lists.chain(allowed.into_iter().map(|list| (list, Action::Allow))) {
            let hosts = match action {
                Action::Deny => {
                    list.hosts.top_levels().for_each(|name| top_levels.add_tree(name));
                    list.hosts.without_top_levels()
                }
                // No pattern can deny a top-level domain: what is below one is not allowed.
                _ => list.hosts.minus(&top_levels).0,
            };
            if hosts.is_empty() {
                continue;
            }
            let entry = Entry { ports: list.ports, ..Entry::of_hosts(&hosts) };
            let origin = format!("{}, {}", list.origin, count(entry.hosts.len(), "host"));
            draft.rules.push(Rule::new(&list.name, vec![origin], action, vec![entry]));
        }
    }
}

/// The ports of the protocols that a list is for; empty: any. Nothing where the protocols are unknown.
fn ports(list: &Node) -> Option<Vec<u16>> {
    let types = list.get("TargetTypes").map_or(&[][..], Node::items);
    let types: Vec<&str> = types.iter().filter_map(Node::text).collect();
    match (types.contains(&"TLS_SNI"), types.contains(&"HTTP_HOST")) {
        (true, true) => Some(Vec::new()),
        (true, false) => Some(vec![443]),
        (false, true) => Some(vec![80]),
        (false, false) => None,
    }
}

/// What a target names.
enum Target {
    Pattern(String),
    /// A top-level domain and all below it: only a deny can take account of it.
    TopLevel(String),
}

fn read(target: &str, allows: bool) -> Result<Target, PatternError> {
    if let Some(name) = target.strip_prefix('.').map(str::to_ascii_lowercase)
        && !allows
        && !name.contains('.')
        && matches!(Host::parse(name.as_bytes()), Ok(Host::Name(_)))
    {
        return Ok(Target::TopLevel(name));
    }
    // A `*` is a byte like any other to the firewall, and a block of addresses is no domain.
    match (target.contains('*'), target.contains('/')) {
        (true, _) => Err(PatternError::NoApex),
        (_, true) => Err(PatternError::Path),
        _ => canonical(target).map(Target::Pattern),
    }
}
