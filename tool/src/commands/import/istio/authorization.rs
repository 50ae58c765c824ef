//! AuthorizationPolicies: who may what.

use super::Object;
use super::callers::{Scope, is_positive};
use super::conditions::{Aim, Reader};
use super::gateway::{Belongs, Gateway, Target};
use super::items;
use super::registry::Seen;
use crate::commands::import::draft::{Action, Callers, Draft, Entry, Rule, told};
use crate::commands::import::hosts::HostSet;
use crate::document::{Node, Value};
use crate::failure::Failure;
use std::collections::BTreeMap;

/// What a policy does with what its rules match.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Allow,
    Deny,
    Audit,
    Custom,
}

/// One AuthorizationPolicy.
#[derive(Debug)]
pub(super) struct Policy<'n> {
    object: Object<'n>,
    verdict: Verdict,
    /// Whether it is tried only.
    is_dry: bool,
    target: Target,
}

/// The policies of the egress gateway.
#[derive(Debug, Default)]
pub(super) struct Authorization<'p, 'n> {
    policies: Vec<&'p Policy<'n>>,
    /// Whether some other may be the gateway's that allows, and the same of those in dry run.
    may_allow: bool,
    may_allow_later: bool,
}

impl<'n> Policy<'n> {
    pub(super) fn read(object: Object<'n>) -> Result<Self, Failure> {
        let verdict = match object.spec("action").map(|node| node.text().unwrap_or_default()) {
            None | Some("ALLOW") => Verdict::Allow,
            Some("DENY") => Verdict::Deny,
            Some("AUDIT") => Verdict::Audit,
            Some("CUSTOM") => Verdict::Custom,
            Some(other) => {
                let problem = format!("{}: action {}", object.title(), told(other));
                let remedy = "write ALLOW, DENY, AUDIT or CUSTOM";
                return Err(Failure::new(object.place(), problem, remedy));
            }
        };
        let annotations = object.node.get("metadata").and_then(|it| it.get("annotations"));
        let is_dry = match annotations.and_then(|it| it.get("istio.io/dry-run")).map(|it| &it.value)
        {
            Some(Value::Bool(is_dry)) => *is_dry,
            Some(Value::Text(text)) => ["1", "t", "T", "true", "TRUE", "True"].contains(&&**text),
            _ => false,
        };
        Ok(Self { object, verdict, is_dry, target: Target::of(object) })
    }

    /// Whether it has no rules, or is for workloads by labels or names that speak of no egress.
    fn opens_nothing_here(&self) -> bool {
        let is_whole = self.target == Target::Namespace;
        self.rules().next().is_none() || !is_whole && !self.target.names("egress")
    }

    fn namespace(&self) -> &'n str {
        self.object.namespace().unwrap_or_default()
    }

    /// Its rules; each with its number, if there are several.
    fn rules(&self) -> impl Iterator<Item = (&'n Node, String)> {
        let rules = items(self.object.spec("rules")).unwrap_or_default();
        let title = self.object.title();
        (1..).zip(rules).map(move |(number, rule)| {
            let number = if rules.len() == 1 { String::new() } else { format!(", rule {number}") };
            (rule, format!("{title}{number}"))
        })
    }
}

impl<'p, 'n> Authorization<'p, 'n> {
    /// Those that are the gateway's, or may be, and decide something. Others are told.
    pub(super) fn of(policies: &'p [Policy<'n>], draft: &mut Draft) -> Self {
        let targets: Vec<_> =
            policies.iter().map(|policy| (policy.target.clone(), policy.namespace())).collect();
        let gateway = Gateway::of(&targets);
        // Beside an ALLOW of the gateway, one more could only open more.
        let is_closed = policies.iter().any(|policy| {
            policy.verdict == Verdict::Allow
                && !policy.is_dry
                && gateway.owns(&policy.target, policy.namespace()) == Belongs::Yes
        });
        let mut all = Self::default();
        for policy in policies {
            let (title, place) = (policy.object.title(), policy.object.place());
            let belongs = gateway.owns(&policy.target, policy.namespace());
            let why = match (policy.verdict, belongs) {
                (_, Belongs::No) => {
                    Some(format!("for {}, not the egress gateway", policy.target.told()))
                }
                (Verdict::Allow, Belongs::Unknown) if is_closed && policy.opens_nothing_here() => {
                    let told = policy.target.told();
                    Some(format!("for {told}, which is taken for another than the egress gateway"))
                }
                (Verdict::Audit, _) => Some("AUDIT, which decides nothing".to_owned()),
                (Verdict::Custom, _) if policy.is_dry => {
                    Some("CUSTOM in dry run, which decides nothing".to_owned())
                }
                _ => None,
            };
            if let Some(why) = why {
                draft.passed_over.push(format!("{place}: {title}: {why}"));
                continue;
            }
            let is_left_out = policy.verdict == Verdict::Allow && belongs == Belongs::Unknown;
            if belongs == Belongs::Unknown {
                let result = match policy.verdict {
                    Verdict::Allow if policy.is_dry => "it is left out",
                    Verdict::Allow => "what it allows stays refused, and what it may refuse too",
                    _ => "what it denies is denied",
                };
                draft.point(
                    place,
                    format!(
                        "{title} is for {}, which may be the egress gateway or not: {result}",
                        policy.target.told()
                    ),
                    "leave it out if it is for another workload; else let its selector name the \
                     gateway, such as `istio: egressgateway`, in the namespace of the gateway",
                );
            }
            all.may_allow |= is_left_out && !policy.is_dry;
            all.may_allow_later |= is_left_out && policy.is_dry;
            all.policies.extend((!is_left_out).then_some(policy));
        }
        all
    }

    /// Whether what no ALLOW policy allows is refused.
    pub(super) fn has_allow(&self) -> bool {
        self.may_allow || self.has(Verdict::Allow, false)
    }

    /// Whether that will be so once what is in dry run is enforced.
    pub(super) fn has_dry_allow(&self) -> bool {
        self.may_allow_later || self.has(Verdict::Allow, true)
    }

    fn has(&self, verdict: Verdict, is_dry: bool) -> bool {
        self.policies.iter().any(|policy| policy.verdict == verdict && policy.is_dry == is_dry)
    }

    /// A rule for each rule, within what is registered. Gives back the deny rules that spare, in
    /// the source, who is not verified.
    pub(super) fn write(
        &self,
        registry: Option<&Seen<'_>>,
        draft: &mut Draft,
    ) -> Vec<(String, String)> {
        let hosts = registry.map(Seen::hosts);
        let mut sparing = Vec::new();
        for policy in &self.policies {
            if items(policy.object.spec("rules")).is_none() {
                draft.point(
                    policy.object.place(),
                    format!(
                        "`rules` of {}, which is no list: it is read as empty",
                        policy.object.title()
                    ),
                    "write a list of rules",
                );
            }
            if policy.verdict == Verdict::Custom && policy.rules().next().is_some() {
                let provider = policy.object.spec("provider").and_then(|it| it.get("name")?.text());
                draft.point(
                    policy.object.place(),
                    format!(
                        "{}: CUSTOM: the provider {} decides there, and a policy cannot ask it: all \
                         that it is asked about is denied",
                        policy.object.title(),
                        told(provider.unwrap_or("without a name"))
                    ),
                    "remove the rule if the provider stays in the gateway",
                );
            }
            for (node, title) in policy.rules() {
                let origin = format!("{}: {title}", policy.object.text.at(node));
                let aim = if policy.verdict == Verdict::Allow { Aim::Allow } else { Aim::Deny };
                let mut reader = Reader { object: policy.object, aim, draft, notes: Vec::new() };
                let rules = match aim {
                    Aim::Allow => reader.allow(node, registry),
                    Aim::Deny => reader.deny(node, hosts.as_ref()),
                };
                let notes = reader.notes;
                let (origin, action) = match (aim, policy.is_dry) {
                    (Aim::Allow, false) => (origin, Action::Allow),
                    (Aim::Allow, true) => (format!("{origin} (dry run)"), Action::AllowLater),
                    (Aim::Deny, false) => (origin, Action::Deny),
                    (Aim::Deny, true) => (format!("{origin} (dry run)"), Action::DenyLater),
                };
                let origin: Vec<_> = [origin].into_iter().chain(notes).collect();
                for (from, to) in rules {
                    if aim == Aim::Deny && !from.is_empty() && from.iter().all(is_positive) {
                        sparing.push((policy.object.text.at(node), title.clone()));
                    }
                    let rule = Rule::new(policy.object.name(), origin.clone(), action, to);
                    draft.rules.push(Rule { from, ..rule });
                }
            }
        }
        sparing
    }
}

impl Reader<'_, '_> {
    /// What a rule allows: callers and destinations.
    fn allow(
        &mut self,
        rule: &Node,
        registry: Option<&Seen<'_>>,
    ) -> Vec<(Vec<Callers>, Vec<Entry>)> {
        let (callers, operations) = (self.callers(rule), self.operations(rule));
        let (Some(callers), Some(operations)) = (callers, operations) else { return Vec::new() };
        if callers.iter().any(|callers| !is_positive(callers)) {
            self.draft.point(
                self.object.text.at(rule),
                format!("{}: callers who are not verified stay refused", self.object.title()),
                "nothing, if the gateway's server speaks ISTIO_MUTUAL to all callers",
            );
        }
        let mut by_scope: BTreeMap<&Scope, Vec<Entry>> = BTreeMap::new();
        match registry {
            None => {
                let entries = by_scope.entry(&Scope::All).or_default();
                for operation in &operations {
                    entries.extend(self.allowed(operation, None));
                }
            }
            Some(registry) => {
                for (scope, ports, hosts) in registry.groups() {
                    for operation in &operations {
                        let entries = self.allowed(operation, Some((hosts, ports)));
                        by_scope.entry(scope).or_default().extend(entries);
                    }
                }
            }
        }
        if by_scope.values().flatten().any(|entry| entry.hosts.is_empty()) {
            self.draft.point(
                self.object.text.at(rule),
                "any host: those that are written as addresses and special names stay refused",
                "name the addresses that callers need under `hosts`",
            );
        }
        let mut rules = Vec::new();
        for (scope, entries) in by_scope.into_iter().filter(|(_, entries)| !entries.is_empty()) {
            rules.extend(scope.within(&callers).map(|from| (from, distinct(entries))));
        }
        rules
    }

    /// What a rule denies: callers and destinations.
    fn deny(&mut self, rule: &Node, hosts: Option<&HostSet>) -> Vec<(Vec<Callers>, Vec<Entry>)> {
        let (callers, operations) = (self.callers(rule), self.operations(rule));
        let (Some(callers), Some(operations)) = (callers, operations) else { return Vec::new() };
        let mut entries = Vec::new();
        for operation in &operations {
            entries.extend(self.denied(operation, hosts));
        }
        if entries.is_empty() { Vec::new() } else { vec![(callers, distinct(entries))] }
    }
}

/// Each entry once; none where one asks for nothing.
fn distinct(entries: Vec<Entry>) -> Vec<Entry> {
    if entries.contains(&Entry::default()) {
        return Vec::new();
    }
    let mut distinct: Vec<Entry> = Vec::new();
    for entry in entries {
        if !distinct.contains(&entry) {
            distinct.push(entry);
        }
    }
    distinct
}
