//! Which rules a request is compared with: those found through its host, and where many rules share
//! a host, through its caller.
//!
//! A candidate is one way for one rule to match: by one entry of its `to`, or by having no `to`.
//! The index leaves out only what cannot match; whether a candidate does is for its conditions to
//! say.

mod callers;

use self::callers::{Callers, Keys};
use super::decision::Action;
use super::host_map::{HostKeys, HostMap, RANK_ANY_HOST, Scope};
use super::request::Facts;
use super::rule::{HostsOfEntries, Rule};
use std::cell::OnceCell;

/// The candidates of a policy's rules.
#[derive(Debug)]
pub(super) struct Index {
    postings: Vec<Posting>,
    by_host: HostMap,
    /// The candidates without hosts.
    anywhere: Group,
    crowds: Vec<Crowd>,
    callers: Callers,
}

/// One way for one rule to match.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Candidate {
    pub(super) rule: u32,
    /// Index into the rule's `to`; `None` where the rule has no `to`.
    pub(super) destination: Option<u32>,
    /// By what its hosts match; `None` where it has none.
    pub(super) scope: Option<Scope>,
    /// How specific the pattern of its hosts is, 0 the most.
    pub(super) rank: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Posting {
    rule: u32,
    /// [`NONE`] where the rule has no `to`.
    destination: u32,
    next: Chain,
}

/// A linked list of postings; [`NONE`] where it is empty. Chains of several hosts may share their
/// ends, or be the same.
type Chain = u32;
/// A chain, or a crowd's index with [`CROWD`] set.
type Group = u32;

const NONE: u32 = u32::MAX;
/// Set in the [`Group`] of a crowd. The limits of a policy keep chains and crowds below.
const CROWD: u32 = 1 << 31;

/// The candidates of a host that has many.
#[derive(Debug)]
struct Crowd {
    /// Those that are not found through callers.
    anyone: Chain,
    /// Those of deny rules that are, for a caller who is unknown: such a rule matches then.
    unknown_principal: Chain,
    /// The same for a caller whose namespace is unknown.
    unknown_namespace: Chain,
    /// Those that are found through callers, in order. A rule that is has few keys ([`Keys`]), so
    /// this is at most so many times as long as the host's list. It needs no limit over all hosts,
    /// which the rules of one author could use up for all others.
    by_caller: Box<[Called]>,
}

/// A candidate for one caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Called {
    caller: u32,
    /// Its place among the postings.
    posting: u32,
}

/// A chain up to this length is walked.
const SHORT: usize = 8;

impl Index {
    /// Takes the rules with the hosts of their `to`, in the same order.
    pub(super) fn new(rules: &[Rule], hosts: &[HostsOfEntries<'_>]) -> Self {
        let patterns = hosts.iter().flatten().flatten().flatten();
        let mut index = Self {
            postings: Vec::new(),
            by_host: HostMap::for_patterns(patterns, NONE),
            anywhere: NONE,
            crowds: Vec::new(),
            callers: Callers::default(),
        };
        for (rule, entries) in (0..).zip(hosts) {
            if entries.is_empty() {
                index.anywhere = prepend(&mut index.postings, index.anywhere, rule, NONE);
            }
            for (destination, hosts) in (0..).zip(entries) {
                match hosts {
                    None => {
                        let chain = index.anywhere;
                        index.anywhere = prepend(&mut index.postings, chain, rule, destination);
                    }
                    Some(patterns) => {
                        for pattern in patterns {
                            if let Some(chain) = index.by_host.entry(pattern) {
                                *chain = prepend(&mut index.postings, *chain, rule, destination);
                            }
                        }
                    }
                }
            }
        }
        index.part_crowds(rules);
        index.postings.shrink_to_fit();
        index
    }

    /// Shows every candidate.
    pub(super) fn visit(&self, facts: &Facts<'_>, visit: &mut impl FnMut(Candidate)) {
        let caller = OnceCell::new();
        self.by_host.visit(&facts.host_keys, &mut |group, scope, rank| {
            self.visit_group(group, (Some(scope), rank), facts, &caller, visit);
        });
        self.visit_group(self.anywhere, (None, RANK_ANY_HOST), facts, &caller, visit);
    }

    /// Every candidate for a host, whoever calls: the most specific host first, then in the order of
    /// the rules. Slower than [`Index::visit`]; for explanations.
    pub(super) fn all(&self, host: &HostKeys<'_>) -> Vec<Candidate> {
        let mut groups = Vec::new();
        self.by_host.visit(host, &mut |group, scope, rank| groups.push((group, Some(scope), rank)));
        groups.push((self.anywhere, None, RANK_ANY_HOST));
        let mut candidates = Vec::new();
        for (group, scope, rank) in groups {
            let (chain, by_caller) = match self.crowd(group) {
                Some(crowd) => (crowd.anyone, &*crowd.by_caller),
                None => (group, &[][..]),
            };
            let called = by_caller.iter().filter_map(|it| self.postings.get(it.posting as usize));
            let anyone = chain_of(&self.postings, chain).map(|(_, posting)| posting);
            candidates.extend(anyone.chain(called.copied()).map(|it| it.candidate(scope, rank)));
        }
        // Members of a crowd stand there once for each of several callers.
        candidates.sort_by_key(|it| (it.rank, it.rule, it.destination));
        candidates.dedup();
        candidates
    }

    /// The crowd that a group is, if it is one.
    fn crowd(&self, group: Group) -> Option<&Crowd> {
        if group & CROWD == 0 || group == NONE {
            return None;
        }
        self.crowds.get((group & !CROWD) as usize)
    }

    /// Shows the candidates of one group. `caller` holds the caller's numbers, once a crowd was met.
    fn visit_group(
        &self,
        group: Group,
        (scope, rank): (Option<Scope>, u32),
        facts: &Facts<'_>,
        caller: &OnceCell<Vec<u32>>,
        visit: &mut impl FnMut(Candidate),
    ) {
        let mut walk = |chain| {
            for (_, posting) in chain_of(&self.postings, chain) {
                visit(posting.candidate(scope, rank));
            }
        };
        let Some(crowd) = self.crowd(group) else { return walk(group) };
        walk(crowd.anyone);
        if facts.principal.is_none() {
            walk(crowd.unknown_principal);
        }
        if facts.namespace().is_none() {
            walk(crowd.unknown_namespace);
        }
        for caller in caller.get_or_init(|| self.callers.of(facts)) {
            for posting in crowd.of_caller(*caller) {
                if let Some(posting) = self.postings.get(posting as usize) {
                    visit(posting.candidate(scope, rank));
                }
            }
        }
    }

    /// Splits the candidates of each host that has many, by their callers.
    fn part_crowds(&mut self, rules: &[Rule]) {
        // Chains that hosts share are split once.
        let mut crowd_of: Vec<u32> = Vec::new();
        let mut by_host = std::mem::take(&mut self.by_host);
        let mut anywhere = self.anywhere;
        for group in by_host.values_mut().chain([&mut anywhere]) {
            let chain = *group;
            if chain_of(&self.postings, chain).nth(SHORT).is_none() {
                continue;
            }
            crowd_of.resize(self.postings.len().max(crowd_of.len()), NONE);
            let Some(crowd) = crowd_of.get_mut(chain as usize) else { continue };
            if *crowd == NONE {
                *crowd = self.part(chain, rules);
            }
            *group = *crowd;
        }
        self.by_host = by_host;
        self.anywhere = anywhere;
    }

    /// Makes a crowd of a chain, if its rules name callers; else it stays as it is.
    fn part(&mut self, chain: Chain, rules: &[Rule]) -> Group {
        let members: Vec<(u32, Posting)> = chain_of(&self.postings, chain).collect();
        let keys_of = |member: &Posting| Keys::of(rules.get(member.rule as usize)?);
        let Ok(number) = u32::try_from(self.crowds.len()) else { return chain };
        if !members.iter().any(|(_, member)| keys_of(member).is_some()) {
            return chain;
        }
        let [mut anyone, mut unknown_principal, mut unknown_namespace] = [NONE; 3];
        let mut by_caller = Vec::new();
        // Chains grow at the front.
        for &(posting, member) in members.iter().rev() {
            let mut join = |chain: &mut Chain| {
                *chain = prepend(&mut self.postings, *chain, member.rule, member.destination);
            };
            let Some(keys) = keys_of(&member) else {
                join(&mut anyone);
                continue;
            };
            if rules.get(member.rule as usize).is_some_and(|rule| rule.action == Action::Deny) {
                if keys.has_principals() {
                    join(&mut unknown_principal);
                }
                if keys.has_namespaces() {
                    join(&mut unknown_namespace);
                }
            }
            let callers = keys.iter().filter_map(|key| self.callers.intern(key));
            by_caller.extend(callers.map(|caller| Called { caller, posting }));
        }
        by_caller.sort_unstable();
        // A rule may name a caller twice.
        by_caller.dedup();
        let by_caller = by_caller.into_boxed_slice();
        self.crowds.push(Crowd { anyone, unknown_principal, unknown_namespace, by_caller });
        number | CROWD
    }
}

impl Crowd {
    /// The places of the postings for one caller.
    fn of_caller(&self, caller: u32) -> impl Iterator<Item = u32> {
        let start = self.by_caller.partition_point(|it| it.caller < caller);
        let called = self.by_caller.get(start..).unwrap_or_default().iter();
        called.take_while(move |it| it.caller == caller).map(|it| it.posting)
    }
}

impl Posting {
    fn candidate(self, scope: Option<Scope>, rank: u32) -> Candidate {
        let destination = Some(self.destination).filter(|it| *it != NONE);
        Candidate { rule: self.rule, destination, scope, rank }
    }
}

/// The chain with one posting more in front. Where the posting before this one was the same, both
/// are one: so the hosts of one list share a chain.
fn prepend(postings: &mut Vec<Posting>, chain: Chain, rule: u32, destination: u32) -> Chain {
    let posting = Posting { rule, destination, next: chain };
    let head = postings.get(chain as usize);
    if head.is_some_and(|head| (head.rule, head.destination) == (rule, destination)) {
        return chain;
    }
    if postings.last() != Some(&posting) {
        postings.push(posting);
    }
    u32::try_from(postings.len()).map_or(chain, |length| length.wrapping_sub(1))
}

/// The postings of a chain, each behind its place.
fn chain_of(postings: &[Posting], chain: Chain) -> impl Iterator<Item = (u32, Posting)> {
    let mut next = chain;
    std::iter::from_fn(move || {
        let place = next;
        let posting = *postings.get(place as usize)?;
        next = posting.next;
        Some((place, posting))
    })
}
