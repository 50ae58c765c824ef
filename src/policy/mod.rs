//! What a policy decides: compiled rules, an index over their hosts, and one entry,
//! [`Policy::decide`].
//!
//! A rule is found through its hosts: an exact host by one hash look-up, wildcards by one look-up
//! for each suffix of the host that may be one, globs by a run of bytes of one label, blocks by one for
//! each prefix length in use; rules without hosts stand apart. Where many rules share a host, they are
//! found through their callers. Only these candidates are looked at. Of those that match, the one with
//! the most specific host is named; ties go to the first id in alphabetical order.
//!
//! Nothing here reads a clock, a header or a proxy: all facts come in with the [`Request`].

mod both_hosts;
mod decision;
mod dialled;
mod globs;
mod host_map;
mod index;
mod path;
mod paths;
mod query;
mod request;
mod rule;
mod suffixes;
mod text;
mod trace;

pub use decision::{Action, Decision, Reason, Verdict};
pub use dialled::Dialled;
pub use globs::Globs;
pub use host_map::Scope;
pub use path::readings as path_readings;
pub use paths::{PathPattern, PathSet, with_slash};
pub use query::Parameter;
pub use request::{ClusterPort, Port, Request, judged_method, namespace_of};
pub use rule::{Destination, FieldMiss, Miss, Rule, Source, SourceField, State};
pub use text::{TextPattern, TextSet};
pub use trace::{Attempt, Trace};

use both_hosts::Entries;
use decision::{PerView, VERDICT, WOULD_BE};
use index::{Candidate, Index};
use request::Facts;
use rule::{Conditions, Match};

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

/// Those of a policy that says none.
impl Default for Settings {
    fn default() -> Self {
        Self {
            mode: Mode::Enforce,
            default: Action::Deny,
            identity_required: false,
            sni_must_match: false,
        }
    }
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
    index: Index,
    /// Whether any rule has a state: else both views say the same.
    has_states: bool,
    reads: Reads,
    rests_on_route: bool,
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

impl Policy {
    /// Compiles rules, in ascending order of their ids. A verdict names a rule by its index here.
    pub fn new(settings: Settings, rules: Vec<(Rule, Vec<Destination<'_>>)>) -> Self {
        let mut reads = Reads {
            principal: settings.identity_required,
            server_name: settings.sni_must_match,
            ..Reads::default()
        };
        let mut rests_on_route = false;
        let mut heads = Vec::with_capacity(rules.len());
        let mut conditions = Vec::with_capacity(rules.len());
        let mut hosts = Vec::with_capacity(rules.len());
        for (rule, destinations) in rules {
            reads.principal |= !rule.from.is_empty();
            reads.clock |= rule.until.is_some();
            let names_ports = destinations.iter().any(Destination::names_ports);
            reads.cluster |= names_ports;
            rests_on_route |= names_ports && rule.state != Some(State::DryRun);
            let (hosts_of_rule, conditions_of_rule) = Conditions::compile(destinations);
            heads.push(rule);
            conditions.push(conditions_of_rule);
            hosts.push(hosts_of_rule);
        }
        let index = Index::new(&heads, &hosts);
        let has_states = heads.iter().any(|rule| rule.state.is_some());
        rests_on_route &= settings.mode == Mode::Enforce;
        Self { settings, rules: heads, conditions, index, has_states, reads, rests_on_route }
    }

    /// Facts that must be in a [`Request`] for this policy.
    pub fn reads(&self) -> Reads {
        self.reads
    }

    /// Whether refusals are carried out.
    pub fn enforces(&self) -> bool {
        self.settings.mode == Mode::Enforce
    }

    /// Whether what is enforced depends on the route: a rule that counts now names ports. Of a dry run
    /// and under `mode: monitor` nothing is enforced.
    pub fn rests_on_route(&self) -> bool {
        self.rests_on_route
    }

    /// The rules, in ascending order of their ids.
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// The ids of the rules that ask for methods or paths. On a connection, which shows neither,
    /// that is unknown: such an entry matches in no allow rule, and in a deny rule as if it did not
    /// ask.
    pub fn rules_for_requests(&self) -> impl Iterator<Item = &str> {
        let rules = self.rules.iter().zip(&self.conditions);
        rules.filter(|(_, conditions)| conditions.ask_for_requests()).map(|(rule, _)| &*rule.id)
    }

    /// Decides one request. Every step is in the order of the language's definition; the first
    /// that applies decides.
    pub fn decide(&self, request: &Request<'_>) -> Decision {
        let verdicts = self.judge(request);
        match self.settings.mode {
            Mode::Monitor => {
                let would = verdicts[WOULD_BE];
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

    fn judge(&self, request: &Request<'_>) -> PerView<Verdict> {
        let everywhere = |reason| [Verdict::deny(reason); 2];
        let Some(facts) = Facts::of(request) else { return everywhere(Reason::Malformed) };
        if self.settings.identity_required && request.principal.is_none() {
            return everywhere(Reason::Identity);
        }
        if self.settings.sni_must_match && !facts.server_name_is_host() {
            return everywhere(Reason::Sni);
        }
        if !matches!(request.dialled, Dialled::Named) {
            return self.judge_dialled(&facts);
        }
        let found = self.find(&facts, None);
        match self.has_states {
            true => [VERDICT, WOULD_BE].map(|view| self.conclude(&facts, &found, view)),
            false => [self.conclude(&facts, &found, VERDICT); 2],
        }
    }

    /// Steps 3 to 7: from the rules that match to a verdict.
    fn conclude(&self, facts: &Facts<'_>, found: &Found, view: usize) -> Verdict {
        let named = |rules: &PerView<Option<Named>>| rules.get(view).copied().flatten();
        let pick = |rules: &PerView<Option<Named>>| Some(named(rules)?.rule);
        if let Some(Named { by, rule, .. }) = named(&found.deny) {
            let reason = if by == Match::Certain { Reason::Rule } else { Reason::Unknown };
            return Verdict::by_rule(Action::Deny, reason, rule);
        }
        if let Some(rule) = pick(&found.allow) {
            return Verdict::by_rule(Action::Allow, Reason::Rule, rule);
        }
        if let Some(reason) = facts.special_reason() {
            return Verdict::deny(reason);
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

    /// Holds the request against the candidates, and keeps of each kind the match that is named. Of allow
    /// rules only these entries count, where there are any given.
    fn find(&self, facts: &Facts<'_>, entries: Option<&Entries>) -> Found {
        let mut found = Found::default();
        // The entries of one rule come one behind the other: its callers are asked about once.
        let mut last = None;
        let mut caller_matches = |index: u32, rule: &Rule| match last {
            Some((asked, matches)) if asked == index => matches,
            _ => last.insert((index, rule.matches_caller(facts))).1,
        };
        self.index.visit(facts, &mut |candidate| {
            let at = candidate.rule as usize;
            let Some((rule, conditions)) = self.rules.get(at).zip(self.conditions.get(at)) else {
                return;
            };
            if entries.is_some_and(|it| rule.action == Action::Allow && !it.contains(&candidate)) {
                return;
            }
            let Some(kind) = found.kind(rule, facts) else { return };
            let counts = rule.counts_per_view();
            let Candidate { destination, scope, rank, rule: index } = candidate;
            let is_better = |best: &Option<Named>, counts: bool, by: Match| {
                counts && best.is_none_or(|best| Named { by, rank, rule: index } < best)
            };
            let mut places = kind.iter().zip(counts);
            if !places.any(|(best, counts)| is_better(best, counts, Match::Certain)) {
                return;
            }
            let by_destination = rule.matches_destination(conditions, destination, scope, facts);
            let Some(by_destination) = by_destination else { return };
            let Some(by_caller) = caller_matches(index, rule) else { return };
            let by = by_destination.max(by_caller);
            for (best, counts) in kind.iter_mut().zip(counts) {
                if is_better(best, counts, by) {
                    *best = Some(Named { by, rank, rule: index });
                }
            }
        });
        found
    }
}

/// A rule that matches: the least is the one that is named.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Named {
    by: Match,
    /// How specific the pattern of its hosts is, 0 the most.
    rank: u32,
    /// Rules are in the order of their ids.
    rule: u32,
}

/// The named rule of each kind, in each view.
#[derive(Debug, Default)]
struct Found {
    deny: PerView<Option<Named>>,
    allow: PerView<Option<Named>>,
    expired: PerView<Option<Named>>,
}

impl Found {
    /// Where a match of this rule is kept; `None` where the rule has ended and is left out.
    fn kind(&mut self, rule: &Rule, facts: &Facts<'_>) -> Option<&mut PerView<Option<Named>>> {
        match (rule.action, rule.has_ended(facts)) {
            (Action::Deny, false) => Some(&mut self.deny),
            (Action::Deny, true) => None,
            (Action::Allow, false) => Some(&mut self.allow),
            (Action::Allow, true) => Some(&mut self.expired),
        }
    }
}
