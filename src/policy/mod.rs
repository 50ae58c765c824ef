//! What a policy decides: compiled rules, an index over their hosts, and one entry,
//! [`Policy::decide`].
//!
//! A rule is found through its hosts: an exact host by one hash look-up, wildcards by one look-up
//! for each label of the host, blocks by one for each prefix length in use; rules without hosts
//! stand apart. Only these candidates are looked at, most specific host first and smallest id
//! first among equals, so the first that matches is the one that is named.
//!
//! Nothing here reads a clock, a header or a proxy: all facts come in with the [`Request`].

mod decision;
mod host_map;
mod path;
mod request;
mod rule;
mod text;
mod trace;

pub use decision::{Action, Decision, Reason, Verdict};
pub use host_map::Scope;
pub(crate) use request::namespace_of;
pub use request::{ClusterPort, Port, Request, judged_method};
pub use rule::{Destination, FieldMiss, Miss, Only, Rule, Source};
pub use text::{TextPattern, TextSet};
pub use trace::{Candidate, Trace};

use crate::host::{Host, HostPattern, is_forbidden};
use decision::{NEXT, NOW, PerView};
use host_map::HostMap;
use request::Facts;
use rule::Conditions;

/// Settings of a policy beside its rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Whether refusals are carried out or only reported.
    pub mode: Mode,
    /// The verdict where no rule matches.
    pub default: Action,
    /// Whether a caller without a verified SPIFFE id is refused.
    pub identity_required: bool,
    /// Whether the server name of a TLS connection must be the host.
    pub sni_must_match: bool,
}

/// Whether refusals are carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Refusals are carried out.
    Enforce,
    /// Nothing is refused, everything is reported.
    Monitor,
}

/// A compiled policy. It never changes; a new text makes a new one.
#[derive(Debug)]
pub struct Policy {
    settings: Settings,
    rules: Vec<Rule>,
    conditions: Vec<Conditions>,
    postings: Vec<Posting>,
    by_host: HostMap<Chain>,
    anywhere: Chain,
    reads: Reads,
}

/// Facts that this policy's verdicts depend on and that cost the proxy something to give.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reads {
    /// The caller's SPIFFE id.
    pub principal: bool,
    /// The cluster of the route, for its port.
    pub cluster: bool,
    /// The clock.
    pub clock: bool,
    /// The TLS server name.
    pub server_name: bool,
}

/// One way for one rule to match: by one entry of its `to`, or by any destination.
#[derive(Debug)]
struct Posting {
    rule: u32,
    /// Index into the rule's `to`; `None` where the rule has no `to`.
    destination: Option<u32>,
    next: Chain,
}

/// A linked list of postings, smallest rule id first.
type Chain = Option<u32>;

impl Policy {
    /// Compiles rules; their order changes no verdict. A verdict names a rule by its index here.
    pub fn new(settings: Settings, rules: Vec<(Rule, Vec<Destination<'_>>)>) -> Self {
        let mut policy = Self {
            settings,
            rules: Vec::with_capacity(rules.len()),
            conditions: Vec::with_capacity(rules.len()),
            postings: Vec::new(),
            by_host: HostMap::default(),
            anywhere: None,
            reads: Reads {
                principal: settings.identity_required,
                server_name: settings.sni_must_match,
                ..Reads::default()
            },
        };
        let mut hosts_of = Vec::with_capacity(rules.len());
        for (rule, destinations) in rules {
            policy.reads.principal |= !rule.from.is_empty();
            policy.reads.clock |= rule.until.is_some();
            policy.reads.cluster |= destinations.iter().any(Destination::names_ports);
            let (hosts, conditions) = Conditions::compile(destinations);
            hosts_of.push(hosts);
            policy.rules.push(rule);
            policy.conditions.push(conditions);
        }
        // Chains grow at the front, so the largest id goes first.
        let mut order: Vec<usize> = (0..hosts_of.len()).collect();
        let id = |index: &usize| policy.rules.get(*index).map(|rule| &rule.id);
        order.sort_unstable_by(|a, b| id(b).cmp(&id(a)));
        for index in order {
            let hosts = hosts_of.get_mut(index).map(std::mem::take).unwrap_or_default();
            policy.post(index, hosts);
        }
        policy
    }

    /// Facts that must be in a [`Request`] for this policy.
    pub fn reads(&self) -> Reads {
        self.reads
    }

    /// The rules, in the order of the text.
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// Decides one request. Every step is in the order of the language's definition; the first
    /// that applies decides.
    pub fn decide(&self, request: &Request<'_>) -> Decision {
        let verdicts = self.judge(request);
        match self.settings.mode {
            Mode::Monitor => {
                let would = verdicts[NEXT];
                match would.action {
                    Action::Allow => Decision { verdict: would, would: None },
                    Action::Deny => {
                        Decision { verdict: Verdict::allow(Reason::Monitor), would: Some(would) }
                    }
                }
            }
            Mode::Enforce => {
                let [verdict, would] = verdicts;
                let would = (would.action != verdict.action).then_some(would);
                Decision { verdict, would }
            }
        }
    }

    fn post(&mut self, rule: usize, hosts_of_destinations: Vec<Option<Vec<HostPattern<'_>>>>) {
        let Ok(rule) = u32::try_from(rule) else { return };
        if hosts_of_destinations.is_empty() {
            push_front(&mut self.postings, &mut self.anywhere, rule, None);
        }
        for (destination, hosts) in (0_u32..).zip(hosts_of_destinations) {
            let destination = Some(destination);
            match hosts {
                None => push_front(&mut self.postings, &mut self.anywhere, rule, destination),
                Some(patterns) => {
                    for pattern in &patterns {
                        let chain = self.by_host.entry(pattern);
                        push_front(&mut self.postings, chain, rule, destination);
                    }
                }
            }
        }
    }

    fn judge(&self, request: &Request<'_>) -> PerView<Verdict> {
        let everywhere = |reason| [Verdict::deny(reason); 2];
        let Some(facts) = Facts::of(request) else { return everywhere(Reason::Malformed) };
        if self.settings.identity_required && request.principal.is_none() {
            return everywhere(Reason::Identity);
        }
        if self.settings.sni_must_match && !facts.server_name_is_host() {
            return everywhere(Reason::Sni);
        }
        let found = self.find(&facts);
        [NOW, NEXT].map(|view| self.conclude(&facts, &found, view))
    }

    /// Steps 3 to 7: from the rules that match to a verdict.
    fn conclude(&self, facts: &Facts<'_>, found: &Found, view: usize) -> Verdict {
        let pick = |rules: &PerView<Option<u32>>| rules.get(view).copied().flatten();
        if let Some(rule) = pick(&found.deny) {
            return Verdict::by_rule(Action::Deny, Reason::Rule, rule);
        }
        if let Some(rule) = pick(&found.allow) {
            return Verdict::by_rule(Action::Allow, Reason::Rule, rule);
        }
        if facts.host.is_special() {
            return Verdict::deny(match facts.host {
                Host::Address(address) if !is_forbidden(*address) => Reason::IpLiteral,
                _ => Reason::ForbiddenAddress,
            });
        }
        if facts.is_connect {
            return Verdict::deny(Reason::Connect);
        }
        match (self.settings.default, pick(&found.expired)) {
            (Action::Deny, Some(rule)) => Verdict::by_rule(Action::Deny, Reason::Expired, rule),
            (Action::Deny, None) => Verdict::deny(Reason::Default),
            (Action::Allow, _) => Verdict::allow(Reason::Default),
        }
    }

    /// Walks the candidates, most specific host first, and keeps the first match of each kind.
    fn find(&self, facts: &Facts<'_>) -> Found {
        let mut found = Found::default();
        let chains = self.by_host.matches(facts.host).map(|(chain, scope)| (*chain, Some(scope)));
        for (chain, scope) in chains.chain([(self.anywhere, None)]) {
            let mut link = chain;
            while let Some(posting) = link.and_then(|link| self.postings.get(link as usize)) {
                link = posting.next;
                let rule = posting.rule as usize;
                let (Some(head), Some(conditions)) =
                    (self.rules.get(rule), self.conditions.get(rule))
                else {
                    continue;
                };
                let Some(slot) = found.slot(head, facts) else { continue };
                let counts = [head.only != Some(Only::Next), head.only != Some(Only::Now)];
                let wanted =
                    slot.iter().zip(counts).any(|(taken, counts)| counts && taken.is_none());
                if wanted && head.matches(conditions, posting.destination, scope, facts) {
                    for (taken, counts) in slot.iter_mut().zip(counts) {
                        if counts && taken.is_none() {
                            *taken = Some(posting.rule);
                        }
                    }
                }
            }
        }
        found
    }
}

/// The named rule of each kind, in each view.
#[derive(Debug, Default)]
struct Found {
    deny: PerView<Option<u32>>,
    allow: PerView<Option<u32>>,
    expired: PerView<Option<u32>>,
}

impl Found {
    /// Where a match of this rule is kept; `None` where the rule has ended and is left out.
    fn slot(&mut self, rule: &Rule, facts: &Facts<'_>) -> Option<&mut PerView<Option<u32>>> {
        match (rule.action, rule.has_ended(facts)) {
            (Action::Deny, false) => Some(&mut self.deny),
            (Action::Deny, true) => None,
            (Action::Allow, false) => Some(&mut self.allow),
            (Action::Allow, true) => Some(&mut self.expired),
        }
    }
}

fn push_front(postings: &mut Vec<Posting>, chain: &mut Chain, rule: u32, destination: Option<u32>) {
    // The reader holds a policy to 1,000,000 hosts and 100,000 rules.
    if let Ok(index) = u32::try_from(postings.len()) {
        postings.push(Posting { rule, destination, next: *chain });
        *chain = Some(index);
    }
}
