//! What a bundle promises: whatever a team with callers of its own adds, the requests and connections of
//! other callers, and of those who are not verified, come to the same end as before.

use super::Bundle;
use super::own::Own;
use super::own::tests::{is_own, own};
use super::sources::Source;
use super::team::Team;
use crate::policy_file::PolicyFile;
use egress_warden::config;
use egress_warden::root_id::Connections;
use egress_warden_simulate::{Answer, Connection, Filters, Headers, Request, Subject};
use proptest::prelude::*;
use proptest::sample::select;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::rc::Rc;

const HOSTS: [&str; 8] = [
    "a.test",
    "*.a.test",
    "x.a.test",
    "b.test",
    "10.0.0.1",
    "10.0.0.0/8",
    "localhost",
    "169.254.169.254",
];
const PATHS: [&str; 4] = ["/v1/*", "/admin", "*", "*/end"];
const METHODS: [&str; 3] = ["GET", "POST", "CONNECT"];
const PRINCIPALS: [&str; 14] = [
    "cluster.local/ns/pay/sa/api",
    "cluster.local/ns/pay/sa/*",
    "cluster.local/ns/pay/*",
    "cluster.local/ns/shop/sa/*",
    "cluster.local/ns/*",
    "*/ns/pay/sa/api",
    "*/sa/api",
    "cluster.local/vm/*",
    "*",
    "example.org/build/pay/*",
    "example.org/build/pay/ci",
    "example.org/build/*",
    "example.org/build/shop/*",
    "*/ci",
];
const NAMESPACES: [&str; 5] = ["pay", "pay-*", "shop", "*-eu", "*"];
const ACCOUNTS: [&str; 5] = ["pay/api", "pay-eu/api", "shop/api", "pay/ci", "build/pay"];
const HEADERS: [&str; 9] = [
    "x-gateway",
    "x-pay",
    "x_pay",
    "x-shop",
    "x-platform",
    "authorization",
    "accept",
    "cookie",
    "x.debug",
];
/// Some of them are callers of team `pay`, whichever of its forms that has.
const CALLERS: [&str; 19] = [
    "spiffe://cluster.local/ns/pay/sa/api",
    "spiffe://cluster.local/ns/pay/sa/ci",
    "spiffe://cluster.local/ns/pay-eu/sa/api",
    "spiffe://cluster.local/ns/shop/sa/api",
    "spiffe://cluster.local/ns/shop-eu/sa/api",
    "spiffe://cluster.local/ns/payx/sa/api",
    "spiffe://cluster.local/ns/shop/sa/x/ns/pay/sa/api",
    "spiffe://cluster.local/vm/ns/pay/sa/api",
    "spiffe://cluster.local/vm/api",
    "spiffe://cluster.local/sa/api",
    "spiffe://example.org/build/pay/ci",
    "spiffe://example.org/build/pay",
    "spiffe://example.org/build/shop/ci",
    "spiffe://example.org/build/payx/ci",
    "spiffe://other.org/build/pay/ci",
    "spiffe://other.org/ns/pay/sa/ci",
    "spiffe://pay",
    "https://cluster.local/ns/pay/sa/api",
    "",
];

/// The ways in which team `pay` has callers of its own.
fn forms() -> [Own; 4] {
    [
        own(&["pay", "pay-*"], &[]),
        own(&[], &["example.org/build/pay/*", "cluster.local/ns/pay/sa/api"]),
        own(&["pay"], &["example.org/build/pay/*"]),
        own(&[], &["*/ns/pay/sa/api", "*/ci"]),
    ]
}

type Pairs = BTreeMap<&'static str, Value>;

fn object(pairs: Pairs) -> Value {
    Value::Object(pairs.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())
}

/// Some of these, each list not empty.
fn lists(
    fields: &[(&'static str, &'static [&'static str])],
) -> impl Strategy<Value = Value> + use<> {
    let fields: Vec<_> = fields
        .iter()
        .map(|&(key, values)| {
            let list = prop::collection::vec(select(values), 1..3);
            prop::option::weighted(0.4, list).prop_map(move |list| list.map(|it| (key, json!(it))))
        })
        .collect();
    fields.prop_map(|fields| object(fields.into_iter().flatten().collect()))
}

fn callers() -> impl Strategy<Value = Value> {
    let own = select(vec![
        json!({"namespaces": ["pay"]}),
        json!({"principals": ["cluster.local/ns/pay/sa/*"]}),
        json!({"principals": ["cluster.local/ns/pay/*"], "namespaces": ["*"]}),
        json!({"namespaces": ["pay-eu"], "notPrincipals": ["cluster.local/ns/shop/sa/*"]}),
        json!({"principals": ["example.org/build/pay/*"]}),
        json!({"principals": ["example.org/build/pay/ci", "cluster.local/ns/pay/sa/api"]}),
        json!({"serviceAccounts": ["pay/api"]}),
        json!({"serviceAccounts": ["pay/ci", "pay/api"], "notNamespaces": ["shop"]}),
        json!({"serviceAccounts": ["pay/api"], "principals": ["cluster.local/ns/pay/*"]}),
    ]);
    let any = lists(&[
        ("principals", &PRINCIPALS),
        ("notPrincipals", &PRINCIPALS),
        ("namespaces", &NAMESPACES),
        ("notNamespaces", &NAMESPACES),
        ("serviceAccounts", &ACCOUNTS),
        ("notServiceAccounts", &ACCOUNTS),
    ]);
    prop_oneof![2 => own, 1 => any]
}

fn destination() -> impl Strategy<Value = Value> {
    let ports = prop::option::weighted(0.3, select(vec![80, 443]));
    let lists = lists(&[
        ("hosts", &HOSTS),
        ("notHosts", &HOSTS),
        ("methods", &METHODS),
        ("paths", &PATHS),
        ("notPaths", &PATHS),
    ]);
    (lists, ports, select(&HOSTS[..])).prop_map(|(mut entry, port, host)| {
        if let Some(port) = port {
            entry["ports"] = json!([port]);
        }
        if entry.as_object().is_some_and(Map::is_empty) {
            entry["hosts"] = json!([host]);
        }
        entry
    })
}

fn stamp() -> impl Strategy<Value = Value> {
    let set = prop::collection::btree_map(select(&HEADERS[..]), select(vec!["1", "{rule}"]), 0..3);
    let remove = prop::collection::vec(select(&HEADERS[..]), 0..2);
    (set, remove).prop_map(|(set, remove)| {
        let mut pairs = Pairs::new();
        if !set.is_empty() {
            pairs.insert("set", json!(set));
        }
        if !remove.is_empty() {
            pairs.insert("remove", json!(remove));
        }
        object(pairs)
    })
}

fn rule(id: &'static str) -> impl Strategy<Value = Value> {
    let from = prop::option::weighted(0.9, prop::collection::vec(callers(), 1..3));
    let to = prop::option::weighted(0.8, prop::collection::vec(destination(), 1..3));
    let state = prop::option::weighted(0.2, select(vec!["dry-run", "retiring"]));
    let until = select(vec!["2020-01-01T00:00:00Z", "2099-01-01T00:00:00Z"]);
    let stamp = prop::option::weighted(0.5, stamp());
    let until = prop::option::weighted(0.2, until);
    let is_allow = prop::bool::weighted(0.6);
    (is_allow, from, to, state, until, stamp).prop_map(
        move |(allows, from, to, state, until, stamp)| {
            let mut pairs = Pairs::from([
                ("id", json!(id)),
                ("action", json!(if allows { "allow" } else { "deny" })),
            ]);
            let optional = [
                ("from", from.map(|it| json!(it))),
                ("to", to.map(|it| json!(it))),
                ("state", state.map(|it| json!(it))),
                ("until", until.map(|it| json!(it))),
                ("stamp", stamp.filter(|_| allows)),
                ("message", (!allows).then(|| json!("no"))),
            ];
            pairs.extend(optional.into_iter().filter_map(|(key, value)| Some((key, value?))));
            object(pairs)
        },
    )
}

/// What a held team may add to a rule, and mostly must not.
fn setting() -> impl Strategy<Value = Option<(&'static str, Value)>> {
    prop::option::weighted(
        0.2,
        select(vec![
            ("mode", json!("monitor")),
            ("mode", json!("enforce")),
            ("default", json!("allow")),
            ("default", json!("deny")),
            ("identity", json!("required")),
            ("sni", json!("match")),
            ("stamp", json!({"set": {"x-gateway": "2"}})),
            ("stamp", json!({})),
            ("strip", json!({"forwarded": true})),
            ("deny", json!({"reveal": "nothing"})),
            ("log", json!({"requests": "none"})),
        ]),
    )
}

/// A policy that speaks for everybody.
fn common() -> impl Strategy<Value = Value> {
    let settings = (
        select(vec!["deny", "allow"]),
        select(vec!["optional", "required"]),
        select(vec!["enforce", "enforce", "monitor"]),
        select(vec!["ignore", "match"]),
        prop::option::of(stamp()),
    );
    (settings, rule("one"), rule("two"), 0..3_usize).prop_map(|(settings, one, two, count)| {
        let (default, identity, mode, sni, stamp) = settings;
        let rules: Vec<_> = [one, two].into_iter().take(count).collect();
        json!({
            "policy": "platform", "default": default, "identity": identity, "mode": mode,
            "sni": sni, "stamp": stamp.unwrap_or(json!({})), "rules": rules,
        })
    })
}

/// Requests and connections of callers that are not these.
fn subjects(own: &Own) -> Vec<Subject> {
    let is_other =
        |uri: &&str| uri.strip_prefix("spiffe://").is_none_or(|caller| !is_own(own, caller));
    let callers = CALLERS.into_iter().filter(is_other);
    let callers = callers.map(|uri| (!uri.is_empty()).then(|| uri.into()));
    let hosts =
        ["a.test", "x.a.test:443", "10.0.0.1", "localhost", "169.254.169.254", "c.test", "?"];
    let mut subjects = Vec::new();
    for uri_san in callers {
        for (index, host) in hosts.into_iter().enumerate() {
            let headers = HEADERS.iter().flat_map(|name| {
                [(*name).to_owned(), name.to_ascii_uppercase().replace('-', "_")]
                    .map(|name| (name, "sent".into()))
            });
            subjects.push(Subject::Request(Request {
                authority: Some(host.into()),
                method: Some(METHODS[index % 2].into()),
                path: Some(["/v1/a", "/admin", "/%61dmin", "/v1/../end"][index % 4].into()),
                uri_san: uri_san.clone(),
                port: [Some(443), None, Some(80)][index % 3],
                tls: index % 2 == 0,
                headers: headers.collect(),
                ..Request::default()
            }));
            subjects.push(Subject::Connection(Connection {
                sni: Some(host.into()),
                uri_san: uri_san.clone(),
                ..Connection::default()
            }));
        }
    }
    subjects
}

/// What becomes of one, without the hash of the policy, which is another.
fn end(
    filters: &Filters,
    subject: &Subject,
) -> (bool, Headers, BTreeMap<String, String>, Vec<Answer>) {
    let it = filters.simulate(subject, "2026-11-25T00:00:00Z".parse().unwrap());
    let mut record: BTreeMap<_, _> = it.filter_state.into_iter().collect();
    record.retain(|key, _| key != "egress_policy" && key != "egress_connection_policy");
    (it.passed, it.headers, record, it.answers)
}

fn source(policy: &Value, team: Option<Team>) -> Source {
    let name = policy["policy"].as_str().unwrap();
    let file = PolicyFile::of_text(format!("{name}.json"), policy.to_string(), true);
    Source::new(file, team.map(Rc::new))
}

fn held(policy: &str, rule: &Value, setting: Option<&(&str, Value)>, own: Own) -> Source {
    let team = Team { name: policy.to_owned(), own: Some(own) };
    let mut text = json!({ "policy": policy, "rules": [rule] });
    if let Some((key, value)) = setting {
        text[key] = value.clone();
    }
    source(&text, Some(team))
}

/// The policy of all of them; absent where it is an error.
fn bundled(sources: &[Source]) -> Option<Filters> {
    let bundle = Bundle::of(sources);
    if !bundle.errors.is_empty() {
        return None;
    }
    let text = bundle.into_policy("all".to_owned(), "all").text().to_owned();
    let config = config::read(text.as_bytes()).ok()?;
    Some(Filters::new(config, Connections::default()))
}

/// How many held rules to try, of which many are errors.
const CASES: usize = 4_000;
/// How many requests and connections to try with each.
const ASKED: usize = 23;

#[test]
fn no_rule_of_a_held_team_changes_anything_for_other_callers() {
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &[7; 32]);
    let mut runner = TestRunner::new_with_rng(Config::default(), rng);
    let strategy = (common(), rule("maps"), rule("new"), setting());
    let forms = forms().map(|own| (subjects(&own), own));
    let (mut allows, mut denies, mut stamps) = (0, 0, 0);
    // Rules that were taken, by form and field.
    let mut taken = [[0; 3]; 4];
    for case in 0..CASES {
        let (common, shop, pay, setting) = strategy.new_tree(&mut runner).unwrap().current();
        let platform = || source(&common, None);
        let shop_source = || held("shop", &shop, None, own(&["shop", "*-eu"], &[]));
        // A rule of the other team that is an error is left out.
        let has_shop = bundled(&[platform(), shop_source()]).is_some();
        let others = || [platform()].into_iter().chain(has_shop.then(shop_source));
        let before: Vec<_> = others().collect();
        let form = case % forms.len();
        let (subjects, own) = &forms[form];
        let after: Vec<_> =
            others().chain([held("pay", &pay, setting.as_ref(), own.clone())]).collect();
        let (Some(before), Some(after)) = (bundled(&before), bundled(&after)) else { continue };
        match pay["action"].as_str() {
            Some("deny") => denies += 1,
            _ => allows += 1,
        }
        stamps += usize::from(pay["stamp"]["set"].is_object());
        for (index, key) in ["principals", "namespaces", "serviceAccounts"].into_iter().enumerate()
        {
            let entries = pay["from"].as_array().into_iter().flatten();
            taken[form][index] += usize::from(entries.into_iter().any(|it| it[key].is_array()));
        }
        let some = subjects.iter().cycle().skip(case * ASKED % subjects.len()).take(ASKED);
        for subject in some {
            assert_eq!(
                end(&after, subject),
                end(&before, subject),
                "{subject:?}\n{own:?}\n{common}\n{shop}\n{pay} {setting:?}"
            );
        }
    }
    assert!(
        allows > 500 && denies > 25 && stamps > 50,
        "{allows} {denies} {stamps} rules were taken"
    );
    let is_taken = |count: &usize| *count > 10;
    assert!(taken.iter().all(|fields| fields.iter().all(is_taken)), "{taken:?} rules were taken");
}
