//! What each kind of warning claims of verdicts, as a test of one warning.

use egress_warden::config;
use egress_warden::policy::{Action, Decision, Policy, Verdict, namespace_of};
use kit::differences::labels::nanoseconds;
use kit::differences::sample::{Dice, Universe};
use kit::differences::{AT_NANOSECONDS, Request};
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// How many requests a claim is tried on, and how many to find one that must be there.
const REQUESTS: usize = 300;
const MOST_REQUESTS: usize = 50_000;
/// That which rules ask for.
const QUERY: &str = "?service=x";
const DAY: u64 = 24 * 60 * 60 * 1_000_000_000;

/// Panics where a warning claims what is not so.
pub type Hold = fn(&mut Claim<'_>);

/// Every kind of warning that claims something of verdicts.
pub const ALL: [(&str, Hold); 20] = [
    ("all-addresses", all_addresses),
    ("allow-without-ports", allow_without_ports),
    ("always-denied", always_denied),
    ("at-waypoint", at_waypoint),
    ("deny-ends", deny_ends),
    ("ended", ended),
    ("ends-soon", ends_soon),
    ("equal-hosts", equal_item),
    ("equal-items", equal_item),
    ("from-without-mutual-tls", from_without_mutual_tls),
    ("in-tree", in_tree),
    ("literal-method", literal_method),
    ("literal-pattern", literal_pattern),
    ("local-domain", local_domain),
    ("name-and-wildcard", name_and_wildcard),
    ("namespaces-without-domain", namespaces_without_domain),
    ("never-matches", never_matches),
    ("open-apex", open_apex),
    ("same-rules", same_rules),
    ("unseen-in-tls", unseen),
];

/// One warning about a policy.
pub struct Claim<'a> {
    policy: &'a Value,
    finding: &'a Value,
    is_of_connections: bool,
    is_at_waypoint: bool,
    dice: &'a mut Dice,
}

/// What of a decision must stay as it is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Same {
    /// Everything.
    All,
    /// What passes, and what would.
    Actions,
}

impl<'a> Claim<'a> {
    pub fn new(policy: &'a Value, finding: &'a Value, flags: &[&str], dice: &'a mut Dice) -> Self {
        let [is_of_connections, is_at_waypoint] =
            ["--connections", "--waypoint"].map(|flag| flags.contains(&flag));
        Self { policy, finding, is_of_connections, is_at_waypoint, dice }
    }

    fn words(&self) -> &'a str {
        self.finding["found"].as_str().expect("words")
    }

    /// The texts in backticks, in order.
    fn quoted(&self) -> impl Iterator<Item = &'a str> {
        self.words().split('`').skip(1).step_by(2)
    }

    /// The place, as keys and positions from the top: `["rules", "0", "to", "1"]`.
    fn place(&self) -> Vec<&'a str> {
        let path = self.finding["path"].as_str().expect("a path");
        path.split(['.', '[', ']', '$']).filter(|it| !it.is_empty()).collect()
    }

    fn rule(&self) -> &'a Value {
        &self.policy["rules"][self.rule_position()]
    }

    fn rule_position(&self) -> usize {
        self.place()[1].parse().expect("a position")
    }

    /// What stands at the place.
    fn item(&self) -> &'a Value {
        let pointer = self.place().iter().fold(String::new(), |all, it| all + "/" + it);
        self.policy.pointer(&pointer).expect("a value")
    }

    /// The policy with another value at the place; `None`: with none.
    fn with(&self, value: Option<Value>) -> Value {
        let mut policy = self.policy.clone();
        set(&mut policy, &self.place(), value);
        policy
    }

    /// The policy with these rules in the place of its own.
    fn with_rules(&self, rules: impl IntoIterator<Item = Value>) -> Value {
        let mut policy = self.policy.clone();
        policy["rules"] = rules.into_iter().collect();
        // Without rules it must be written out.
        policy["default"] = policy.get("default").cloned().unwrap_or("deny".into());
        policy
    }

    /// The policy without the rule that the place is in.
    fn without_rule(&self) -> Value {
        let mut rules = self.policy["rules"].as_array().expect("a list").clone();
        rules.remove(self.rule_position());
        self.with_rules(rules)
    }

    /// Requests that the rule may be about, and others that the policy may be about.
    fn requests(&mut self) -> Vec<Request> {
        let rule = self.with_rules([self.rule().clone()]);
        let (of_rule, of_all) = (universe(&rule), universe(self.policy));
        let mut requests = self.pick(&of_rule, REQUESTS);
        requests.extend(self.pick(&of_all, REQUESTS));
        for path in requests.iter_mut().step_by(2).filter_map(|it| it.path.as_mut()) {
            path.push_str(QUERY);
        }
        requests
    }

    fn pick(&mut self, universe: &Universe, count: usize) -> Vec<Request> {
        let is_of_connections = self.is_of_connections;
        let picked = (0..count).map(|_| universe.pick(self.dice, is_of_connections));
        picked.filter(|it| !is_of_connections || it.is_to_a_name()).collect()
    }

    /// Panics where the policies decide one of the requests otherwise.
    fn assert_same(&self, policies: [&Value; 2], same: Same, requests: &[Request]) {
        let [policy, other] = policies.map(read);
        for (number, request) in requests.iter().enumerate() {
            // At a waypoint a name is dialled, now and then another than the request's.
            let dialled = match request.is_to_a_name() && number % 3 > 0 {
                true => &request.host,
                false => "b.test",
            };
            let port = request.port.unwrap_or(443);
            let cluster = format!("inbound-vip|{port}|http|{dialled}");
            let mut facts = request.facts();
            if self.is_at_waypoint {
                facts.server_name = None;
                facts.send_to_cluster(cluster.as_bytes());
            }
            let [is, would_be] = [&policy, &other].map(|it| in_words(it, it.decide(&facts), same));
            assert!(
                is == would_be,
                "{}\n{}\n{}\n{}\n{request:?}\n{is} with the first policy, {would_be} with the second",
                self.finding,
                self.policy,
                policies[0],
                policies[1]
            );
        }
    }

    fn fail(&self, why: &str) -> ! {
        panic!("{why}\n{}\n{}", self.finding, self.policy)
    }
}

/// The block names no name: without it all is the same for names.
fn all_addresses(claim: &mut Claim<'_>) {
    let mut requests = claim.requests();
    requests.retain(Request::is_to_a_name);
    claim.assert_same([claim.policy, &claim.with(None)], Same::All, &requests);
}

/// The rule, with this entry alone, lets pass at any port what it lets pass at one.
fn allow_without_ports(claim: &mut Claim<'_>) {
    let mut rule = claim.rule().clone();
    if claim.place().len() > 2 {
        rule["to"] = json!([claim.item()]);
    }
    let mut policy = claim.with_rules([rule]);
    policy["default"] = "deny".into();
    policy["mode"] = "enforce".into();
    let spared: Vec<u64> = match claim.item()["notPorts"].as_array() {
        Some(ports) => ports.iter().filter_map(Value::as_u64).collect(),
        None => Vec::new(),
    };
    if !spared.is_empty() && !claim.words().contains("notPorts") {
        claim.fail("it is not every port");
    }
    let read = read(&policy);
    let is_allowed =
        |request: &Request| read.decide(&request.facts()).verdict.action == Action::Allow;
    for request in claim.requests().into_iter().filter(is_allowed) {
        for port in [1, 22, 80, 443, 4711, 65535] {
            let request = Request { port: Some(port), cluster_port: None, ..request.clone() };
            let is_spared = spared.contains(&port.into());
            assert_eq!(
                is_allowed(&request),
                !is_spared,
                "{}\n{policy}\n{request:?}",
                claim.finding
            );
        }
    }
}

/// The deny rule that is named refuses all that the allow would let pass.
fn always_denied(claim: &mut Claim<'_>) {
    let requests = claim.requests();
    claim.assert_same([claim.policy, &claim.with(None)], Same::Actions, &requests);
    if claim.words().contains("other rules") {
        return;
    }
    let by = claim.quoted().next().expect("an id");
    let rules = claim.policy["rules"].as_array().expect("a list").iter();
    let rules = rules.filter(|it| it["action"] == "allow" || it["id"] == by).cloned();
    let with_it = claim.with_rules(rules);
    let place = claim.place();
    let own = claim.rule()["id"].clone();
    let position = with_it["rules"].as_array().expect("a list").iter();
    let position = position.map(|it| &it["id"]).position(|id| *id == own).expect("the rule");
    let mut without = with_it.clone();
    let position = position.to_string();
    set(&mut without, &[&["rules", &position], &place[2..]].concat(), None);
    claim.assert_same([&with_it, &without], Same::Actions, &requests);
}

/// The setting is without effect.
fn at_waypoint(claim: &mut Claim<'_>) {
    let universe = universe(claim.policy);
    let requests = claim.pick(&universe, REQUESTS);
    claim.assert_same([claim.policy, &claim.with(None)], Same::All, &requests);
}

/// Until its end the deny counts as if it had none, then as if it were not there.
fn deny_ends(claim: &mut Claim<'_>) {
    let until = nanoseconds(claim.rule()["until"].as_str().expect("a time"));
    let mut before = claim.requests();
    let mut after = before.clone();
    let from = until.max(AT_NANOSECONDS);
    after.iter_mut().for_each(|it| it.now = it.now.max(from));
    claim.assert_same([claim.policy, &claim.without_rule()], Same::All, &after);
    before.retain(|it| it.now < until);
    claim.assert_same([claim.policy, &claim.with(None)], Same::All, &before);
}

/// From now on, nothing passes or is refused by the rule.
fn ended(claim: &mut Claim<'_>) {
    let requests = claim.requests();
    claim.assert_same([claim.policy, &claim.without_rule()], Same::Actions, &requests);
}

/// Now the rule counts as if it had no end, and after so many days as if it were not there.
fn ends_soon(claim: &mut Claim<'_>) {
    let days = claim.words().split(' ').find_map(|word| word.parse().ok());
    let days: u64 = match days {
        Some(days) => days,
        None if claim.words().contains("a day") => 1,
        None => claim.fail("no time is told"),
    };
    let mut now = claim.requests();
    let mut then = now.clone();
    now.iter_mut().for_each(|it| it.now = AT_NANOSECONDS);
    claim.assert_same([claim.policy, &claim.with(None)], Same::All, &now);
    then.iter_mut().for_each(|it| it.now = it.now.max(AT_NANOSECONDS + days * DAY));
    claim.assert_same([claim.policy, &claim.without_rule()], Same::Actions, &then);
}

/// One of the two is enough.
fn equal_item(claim: &mut Claim<'_>) {
    let requests = claim.requests();
    claim.assert_same([claim.policy, &claim.with(None)], Same::All, &requests);
}

/// Where no caller is known, an allow entry is without effect, and a deny entry holds for everyone.
fn from_without_mutual_tls(claim: &mut Claim<'_>) {
    let mut requests = claim.requests();
    requests.iter_mut().for_each(|it| it.principal = None);
    if claim.rule()["action"] == "allow" {
        claim.assert_same([claim.policy, &claim.with(None)], Same::All, &requests);
        return;
    }
    let mut changed = claim.policy.clone();
    set(&mut changed, &claim.place()[..3], None);
    // What matches by something unknown is told otherwise.
    claim.assert_same([claim.policy, &changed], Same::Actions, &requests);
}

/// The pattern for the name and all below it does without the item.
fn in_tree(claim: &mut Claim<'_>) {
    let requests = claim.requests();
    claim.assert_same([claim.policy, &claim.with(None)], Same::All, &requests);
}

/// The one pattern in the place of both decides alike.
fn name_and_wildcard(claim: &mut Claim<'_>) {
    let tree = claim.quoted().next().expect("a pattern");
    let place = claim.place();
    let list = &claim.policy["rules"][claim.rule_position()]["to"];
    let list = &list[place[3].parse::<usize>().expect("a position")][place[4]];
    let is_half = |it: &&Value| it == &&tree[1..] || *it == &format!("*{tree}");
    let others = list.as_array().expect("a list").iter().filter(|it| !is_half(it)).cloned();
    let joined: Value = others.chain([tree.into()]).collect();
    let mut changed = claim.policy.clone();
    set(&mut changed, &place[..5], Some(joined));
    let requests = claim.requests();
    claim.assert_same([claim.policy, &changed], Same::All, &requests);
}

/// A request with another method is judged as if the item were a method that nobody uses.
fn literal_method(claim: &mut Claim<'_>) {
    let item = claim.item().as_str().expect("a method");
    let mut requests = claim.requests();
    requests.retain(|it| it.method.as_ref().is_none_or(|it| !it.eq_ignore_ascii_case(item)));
    let changed = claim.with(Some("X-NOBODY".into()));
    claim.assert_same([claim.policy, &changed], Same::All, &requests);
}

/// A text without what the item says, as it is written, is judged as if the item were another.
fn literal_pattern(claim: &mut Claim<'_>) {
    let item = claim.item().as_str().expect("a pattern").replace('*', "");
    let is_path = item.starts_with('/');
    let nobodys = if is_path { "/nobody/sends/this" } else { "nobody.test.sends.this" };
    let mut requests = claim.requests();
    requests.retain(|request| {
        let text = if is_path { &request.path } else { &request.principal };
        let text = text.as_deref().unwrap_or_default();
        // What is escaped may be it after all.
        !text.contains(&item) && !text.contains(['%', ';']) && !text.contains("//")
    });
    let changed = claim.with(Some(nobodys.into()));
    claim.assert_same([claim.policy, &changed], Same::All, &requests);
}

/// The item is without effect for callers of other trust domains.
fn local_domain(claim: &mut Claim<'_>) {
    let mut requests = claim.requests();
    let is_of_it = |it: &String| it.starts_with("cluster.local/");
    requests.retain(|it| it.principal.as_ref().is_none_or(|it| !is_of_it(it)));
    // Of no caller nothing is known, whatever is asked.
    let changed = claim.with(Some("nobody.test/ns/x/sa/y".into()));
    claim.assert_same([claim.policy, &changed], Same::All, &requests);
}

/// Some caller of each trust domain that is named is among those that the entry matches, or none of any.
fn namespaces_without_domain(claim: &mut Claim<'_>) {
    let is_allow = claim.rule()["action"] == "allow";
    let (action, default) = if is_allow { ("allow", "deny") } else { ("deny", "allow") };
    let policy = json!({ "policy": "p", "default": default, "rules": [
        { "id": "r", "action": action, "from": [claim.item()] },
    ]});
    let read = read(&policy);
    let principals = universe(&policy).principals;
    let is_matched = |domain: &str| {
        principals.iter().flatten().any(|principal| {
            let Some((_, rest)) = principal.split_once('/') else { return false };
            let request = Request {
                host: "other.test".to_owned(),
                port: Some(443),
                cluster_port: None,
                method: Some("GET".to_owned()),
                path: Some("/".to_owned()),
                principal: Some(format!("{domain}/{rest}")),
                server_name: None,
                now: AT_NANOSECONDS,
            };
            namespace_of(&format!("{domain}/{rest}")).is_some()
                && read.decide(&request.facts()).verdict.rule.is_some()
        })
    };
    let domains: Vec<_> = claim.quoted().map(|domain| (domain, is_matched(domain))).collect();
    if domains.iter().any(|(_, is_matched)| *is_matched != domains[0].1) {
        claim.fail(&format!("callers of some only are matched: {domains:?}"));
    }
}

/// What is told of is without effect.
fn never_matches(claim: &mut Claim<'_>) {
    let requests = claim.requests();
    let changed = match claim.words().contains("rule") {
        true => claim.without_rule(),
        false => claim.with(None),
    };
    // At a waypoint it may say why something is refused: its one host is allowed, and another is dialled.
    let same = if claim.is_at_waypoint { Same::Actions } else { Same::All };
    claim.assert_same([claim.policy, &changed], same, &requests);
}

/// Of the names below, the rule refuses one, and some request to the name itself passes.
fn open_apex(claim: &mut Claim<'_>) {
    let apex = claim.quoted().next().expect("a name").to_owned();
    let mut rule = claim.rule().clone();
    if let Some(rule) = rule.as_object_mut() {
        rule.remove("state");
    }
    let mut alone = claim.with_rules([rule]);
    alone["default"] = "allow".into();
    alone["mode"] = "enforce".into();
    let is_below = |host: &str| host.ends_with(&format!(".{apex}"));
    let is_refused =
        |policy: &Policy, it: &Request| policy.decide(&it.facts()).verdict.rule.is_some();
    if !claim.finds(&alone, is_below, is_refused) {
        claim.fail("the rule refuses no name below");
    }
    let passes = |policy: &Policy, it: &Request| {
        let decision = policy.decide(&it.facts());
        decision.would.unwrap_or(decision.verdict).action == Action::Allow
            || decision.verdict.action == Action::Allow
    };
    // Not worked out: whether wildcards of principals leave anyone to the other conditions, and what no
    // id has.
    let mut policy = claim.policy.clone();
    let rules = policy["rules"].as_array_mut().expect("a list").iter_mut();
    let entries = rules.filter_map(|rule| rule.get_mut("from")?.as_array_mut()).flatten();
    for entry in entries.filter_map(Value::as_object_mut) {
        let listed = |key: &str| entry.get(key).map(texts_as_written).unwrap_or_default();
        if listed("principals").iter().any(|it| it.contains('*')) {
            entry.retain(|key, _| key == "principals");
        } else if listed("namespaces").iter().any(|it| it.contains('/')) {
            entry.insert("namespaces".to_owned(), json!(["*"]));
        }
    }
    if !claim.finds(&policy, |host| host == apex, passes) {
        claim.fail("nothing passes to the name itself");
    }
}

impl Claim<'_> {
    /// Whether there is such a request to such a host.
    fn finds(
        &mut self,
        policy: &Value,
        is_host: impl Fn(&str) -> bool,
        is: impl Fn(&Policy, &Request) -> bool,
    ) -> bool {
        let read = read(policy);
        let mut universe = universe(policy);
        universe.hosts.retain(|host| is_host(host));
        if universe.hosts.is_empty() {
            return false;
        }
        // All would be too many: what the policy names, something with it, and some others.
        let mut named = texts(policy);
        named.extend(["q", "GET"].map(str::to_owned));
        narrow(&mut universe.methods, self.dice, |it| named.contains(it));
        let is_named = |it: &str| {
            let bare = it.strip_prefix('/').unwrap_or(it);
            let bares = [bare, bare.strip_suffix('q').unwrap_or(bare)];
            bares.iter().any(|it| named.contains(*it) || named.contains(&format!("/{it}")))
        };
        narrow(&mut universe.paths, self.dice, |it| it.as_deref().is_none_or(is_named));
        narrow(&mut universe.principals, self.dice, |it| {
            it.as_deref().is_none_or(|it| {
                named.contains(it) || namespace_of(it).is_some_and(|it| named.contains(it))
            })
        });
        let accounts = named.iter().filter_map(|it| it.split_once('/'));
        let accounts = accounts.map(|(namespace, name)| format!("a/ns/{namespace}/sa/{name}"));
        universe.principals.extend(accounts.map(Some));
        let queries: Vec<_> =
            universe.paths.iter().flatten().map(|it| format!("{it}{QUERY}")).collect();
        universe.paths.extend(queries.into_iter().map(Some));
        match self.is_of_connections {
            true => self.pick(&universe, MOST_REQUESTS).iter().any(|it| is(&read, it)),
            false => universe.requests().any(|it| is(&read, &it)),
        }
    }
}

/// Leaves values out by chance, but none of those that are to stay.
fn narrow<T>(values: &mut Vec<T>, dice: &mut Dice, stays: impl Fn(&T) -> bool) {
    const MOST: usize = 16;
    let others = values.iter().filter(|it| !stays(it)).count();
    values.retain(|it| stays(it) || dice.roll(others) < MOST);
}

/// Every text of a policy, a pattern without its `*`.
fn texts(value: &Value) -> BTreeSet<String> {
    texts_as_written(value).into_iter().map(|it| it.replace('*', "")).collect()
}

fn texts_as_written(value: &Value) -> BTreeSet<String> {
    match value {
        Value::String(text) => [text.clone()].into(),
        Value::Array(items) => items.iter().flat_map(texts_as_written).collect(),
        Value::Object(members) => members.values().flat_map(texts_as_written).collect(),
        _ => BTreeSet::new(),
    }
}

/// Alone, under one id, the two decide alike.
fn same_rules(claim: &mut Claim<'_>) {
    let id = claim.quoted().next().expect("an id");
    let rules = claim.policy["rules"].as_array().expect("a list");
    let other = rules.iter().find(|it| it["id"] == id).expect("a rule");
    let [this, other] = [claim.rule(), other].map(|rule| {
        let mut rule = rule.clone();
        rule["id"] = "x".into();
        claim.with_rules([rule])
    });
    let requests = claim.requests();
    claim.assert_same([&this, &other], Same::All, &requests);
}

/// On connections, an allow entry with the field is without effect; in a deny entry the field is.
pub fn unseen(claim: &mut Claim<'_>) {
    let requests = claim.requests();
    let place = claim.place();
    let mut changed = claim.policy.clone();
    let rule = claim.rule_position();
    if claim.rule()["action"] == "allow" {
        set(&mut changed, &place[..4], None);
        claim.assert_same([claim.policy, &changed], Same::All, &requests);
        return;
    }
    let entry = changed["rules"][rule].pointer_mut(&format!("/to/{}", place[3]));
    let entry = entry.and_then(Value::as_object_mut).expect("an entry");
    match place.get(4) {
        Some(field) => entry.retain(|key, _| key != field),
        // It is said of all that the entry asks beside the host.
        None => entry.retain(|key, _| key == "hosts"),
    }
    // An entry without conditions matches everything, as a rule without `to` does.
    if entry.is_empty() {
        changed["rules"][rule].as_object_mut().expect("a rule").remove("to");
    }
    claim.assert_same([claim.policy, &changed], Same::Actions, &requests);
}

fn universe(policy: &Value) -> Universe {
    Universe::of([policy, policy])
}

fn read(policy: &Value) -> Policy {
    let config = config::read(policy.to_string().as_bytes());
    config.unwrap_or_else(|errors| panic!("{policy}\n{errors}")).policy
}

/// Sets or takes away what stands at a place. What has no item left matches nothing, and goes, too.
fn set(policy: &mut Value, place: &[&str], value: Option<Value>) {
    let (last, above) = place.split_last().expect("a place");
    let pointer = above.iter().fold(String::new(), |all, it| all + "/" + it);
    let parent = policy.pointer_mut(&pointer).expect("a parent");
    match (parent, value) {
        (Value::Object(members), Some(value)) => {
            members.insert((*last).to_owned(), value);
        }
        (Value::Object(members), None) => {
            members.remove(*last);
        }
        (Value::Array(items), Some(value)) => {
            items[last.parse::<usize>().expect("a position")] = value;
        }
        (Value::Array(items), None) => {
            items.remove(last.parse().expect("a position"));
            if items.is_empty() {
                match above {
                    [] | [_] => {
                        policy["default"] = policy.get("default").cloned().unwrap_or("deny".into())
                    }
                    // A list of an entry, or the entries of a rule.
                    [entry @ .., _] => set(policy, entry, None),
                }
            }
        }
        _ => panic!("no such place: {place:?}"),
    }
}

fn in_words(policy: &Policy, decision: Decision, same: Same) -> String {
    let verdict = |verdict: Verdict| match (same, verdict.rule) {
        (Same::Actions, _) => verdict.action.as_str().to_owned(),
        (Same::All, None) => format!("{} {}", verdict.action.as_str(), verdict.reason.as_str()),
        (Same::All, Some(rule)) => {
            let id = &policy.rules()[rule].id;
            format!("{} {} {id}", verdict.action.as_str(), verdict.reason.as_str())
        }
    };
    let is = verdict(decision.verdict);
    // Where nothing else is told, it is the same.
    let would_be = decision.would.map_or_else(|| is.clone(), verdict);
    format!("{is}, would be {would_be}")
}
