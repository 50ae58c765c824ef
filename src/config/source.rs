//! What a policy says as it is written, and how that becomes what decides.
//!
//! The policy that decides has forgotten where its patterns stood, once it is compiled. Here each still
//! has the node that it was read from.

use super::Config;
use super::canonical;
use super::order::sorted;
use super::reader::Listed;
use super::tree::Node;
use crate::answer::{Answer, Reveal};
use crate::host::HostPattern;
use crate::policy::{
    Action, Destination, Parameter, PathPattern, Policy, Rule, Settings, Source as Caller,
    SourceField, State, TextPattern, TextSet,
};
use crate::record::LogRequests;
use crate::stamp::{Stamp, Stamps, Strip};
use crate::time::Time;
use std::collections::BTreeMap;

/// A policy as it is written; absent keys have their defaults.
#[derive(Debug)]
pub struct Source<'n, N: Node> {
    /// Mode, default and what is demanded of every request.
    pub settings: Settings,
    /// In the order of the text.
    pub rules: Vec<RuleSource<'n, N>>,
    /// The whole tree.
    pub root: &'n N,
    /// What every request that passes is stamped with.
    pub stamp: Stamp,
    pub(super) name: &'n str,
    pub(super) hosts: usize,
    pub(super) strip: Strip,
    pub(super) deny: DenySource<'n>,
    pub(super) log: LogRequests,
}

/// One rule.
#[derive(Debug)]
pub struct RuleSource<'n, N> {
    /// Its position in `rules`.
    pub index: usize,
    /// Its node.
    pub node: &'n N,
    /// Its id.
    pub id: &'n str,
    /// What happens to a request that matches.
    pub action: Action,
    /// Which of the two views leaves it out; `None`: none.
    pub state: Option<State>,
    /// When it ends.
    pub until: Option<Time>,
    /// Empty: any caller.
    pub from: Vec<Callers<'n, N>>,
    /// Empty: any destination.
    pub to: Vec<Destinations<'n, N>>,
    /// What the requests that it lets through are stamped with.
    pub stamp: Option<Stamp>,
    pub(super) message: Option<&'n str>,
}

/// A list of patterns; absent: no condition.
pub type List<'n, N, T> = Option<Listed<'n, N, T>>;

/// One entry of `from`.
#[derive(Debug)]
#[expect(missing_docs, reason = "the fields are the keys of policies")]
pub struct Callers<'n, N> {
    pub node: &'n N,
    pub principals: List<'n, N, TextPattern<'n>>,
    pub not_principals: List<'n, N, TextPattern<'n>>,
    pub namespaces: List<'n, N, TextPattern<'n>>,
    pub not_namespaces: List<'n, N, TextPattern<'n>>,
    pub service_accounts: List<'n, N, &'n str>,
    pub not_service_accounts: List<'n, N, &'n str>,
}

/// One entry of `to`.
#[derive(Debug)]
#[expect(missing_docs, reason = "the fields are the keys of policies")]
pub struct Destinations<'n, N> {
    pub node: &'n N,
    pub hosts: List<'n, N, HostPattern<'n>>,
    pub not_hosts: List<'n, N, HostPattern<'n>>,
    pub ports: List<'n, N, u16>,
    pub not_ports: List<'n, N, u16>,
    pub methods: List<'n, N, &'n str>,
    pub not_methods: List<'n, N, &'n str>,
    pub paths: List<'n, N, PathPattern<'n>>,
    pub not_paths: List<'n, N, PathPattern<'n>>,
    pub query: Option<Vec<ParameterSource<'n, N>>>,
    pub not_query: Option<Vec<ParameterSource<'n, N>>>,
}

/// One parameter of `query` or `notQuery`.
#[derive(Debug)]
pub struct ParameterSource<'n, N> {
    /// Its name.
    pub name: &'n str,
    /// Its values.
    pub values: Listed<'n, N, TextPattern<'n>>,
}

/// The `deny` object.
#[derive(Debug)]
pub(super) struct DenySource<'n> {
    pub(super) status: u16,
    pub(super) message: &'n str,
    pub(super) docs: &'n str,
    pub(super) reveal: Reveal,
}

impl<N: Node> Source<'_, N> {
    /// The policy that decides.
    pub fn compile(self) -> Config {
        let mut messages = BTreeMap::new();
        let mut stamps = BTreeMap::new();
        let in_order = sorted(self.rules, |a, b| a.id.cmp(b.id));
        let mut rules = Vec::with_capacity(in_order.len());
        for (index, rule) in in_order.into_iter().enumerate() {
            messages.extend(rule.message.map(|message| (index, Box::from(message))));
            let (rule, destinations, stamp) = rule.compile();
            stamps.extend(stamp.map(|stamp| (index, stamp)));
            rules.push((rule, destinations));
        }
        let DenySource { status, message, docs, reveal } = self.deny;
        let hash = canonical::hash(self.root);
        Config {
            name: self.name.into(),
            hash,
            revision: format!("{}@{hash:012x}", self.name).into(),
            hosts: self.hosts,
            policy: Policy::new(self.settings, rules),
            stamps: Stamps::new(self.strip, self.stamp, stamps),
            answer: Answer {
                status,
                message: message.into(),
                docs: docs.into(),
                reveal,
                rule_messages: messages,
            },
            log: self.log,
        }
    }
}

impl<'n, N> RuleSource<'n, N> {
    fn compile(self) -> (Rule, Vec<Destination<'n>>, Option<Stamp>) {
        let rule = Rule {
            id: self.id.into(),
            action: self.action,
            state: self.state,
            until: self.until,
            from: self.from.into_iter().map(Callers::compile).collect(),
        };
        (rule, self.to.into_iter().map(Destinations::compile).collect(), self.stamp)
    }
}

impl<N> Callers<'_, N> {
    fn compile(self) -> Caller {
        Caller::new([
            (SourceField::Principals, set(self.principals)),
            (SourceField::NotPrincipals, set(self.not_principals)),
            (SourceField::Namespaces, set(self.namespaces)),
            (SourceField::NotNamespaces, set(self.not_namespaces)),
            (SourceField::ServiceAccounts, self.service_accounts.map(service_accounts)),
            (SourceField::NotServiceAccounts, self.not_service_accounts.map(service_accounts)),
        ])
    }
}

impl<'n, N> Destinations<'n, N> {
    fn compile(self) -> Destination<'n> {
        let methods = |list: List<'n, N, &'n str>| {
            list.map(|list| list.patterns.into_iter().map(Box::from).collect())
        };
        Destination {
            hosts: self.hosts.map(|list| list.patterns),
            not_hosts: self.not_hosts.map(|list| list.patterns),
            ports: self.ports.map(|list| list.patterns),
            not_ports: self.not_ports.map(|list| list.patterns),
            methods: methods(self.methods),
            not_methods: methods(self.not_methods),
            paths: self.paths.map(|list| list.patterns.into_iter().collect()),
            not_paths: self.not_paths.map(|list| list.patterns.into_iter().collect()),
            query: self.query.map(parameters),
            not_query: self.not_query.map(parameters),
        }
    }
}

/// `NAMESPACE/ACCOUNT`, as policies write a service account, as it ends a principal:
/// `NAMESPACE/sa/ACCOUNT`.
pub fn account_in_principal(account: &str) -> String {
    account.replacen('/', "/sa/", 1)
}

fn service_accounts<N>(list: Listed<'_, N, &str>) -> TextSet {
    let mut set = TextSet::default();
    for account in list.patterns {
        set.insert(TextPattern::Exact(&account_in_principal(account)));
    }
    set
}

fn parameters<N>(list: Vec<ParameterSource<'_, N>>) -> Vec<Parameter> {
    let parameter = |it: ParameterSource<'_, N>| Parameter {
        name: it.name.into(),
        values: it.values.patterns.into_iter().collect(),
    };
    list.into_iter().map(parameter).collect()
}

fn set<N>(list: List<'_, N, TextPattern<'_>>) -> Option<TextSet> {
    list.map(|list| list.patterns.into_iter().collect())
}
