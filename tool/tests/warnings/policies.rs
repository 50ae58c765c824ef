//! Changes to a policy that provoke warnings.

use kit::differences::sample::Dice;
use serde_json::{Map, Value, json};

/// Ends before the time of the check, soon after it, within a day, and later.
const ENDS: [&str; 4] = [
    "2026-05-01T00:00:00Z",
    "2026-06-10T12:00:00Z",
    "2026-06-01T12:00:00Z",
    "2027-06-01T00:00:00Z",
];
const METHODS: [&str; 4] = ["ANY", "all", "GET|POST", "X.*"];
const PATHS: [&str; 7] = ["/a/.*", "/a/:id", "/<name>/b", "/a$", "/a/{*}/b", "/a/{**}", "/a%2fb"];
const CALLERS: [&str; 6] =
    ["a/ns/.*", "(a|b)/ns/n/*", "cluster.local/ns/n/sa/x", "two.example/*", "b/ns/*", "c/ns/n/*"];
const HOSTS: [&str; 7] =
    ["0.0.0.0/0", "::/0", "*.x.localhost", ".x.localhost", "*.a.test", ".a.test", "c.*.a.test"];

/// Makes one such change, where the policy has a place for it.
pub fn provoke(policy: &mut Value, dice: &mut Dice) {
    let rules = policy["rules"].as_array_mut().expect("a list");
    if rules.is_empty() {
        rules.push(json!({ "id": "x", "action": "allow", "to": [{ "hosts": ["a.test"] }] }));
    }
    let at = dice.roll(rules.len());
    let id = format!("p{}", rules.len());
    let rule = &mut rules[at];
    match dice.roll(18) {
        0 => repeat_an_item(rule, dice),
        1 => {
            let mut copy = rule.clone();
            copy["id"] = id.into();
            rules.push(copy);
        }
        2 | 3 => contradict(rule, dice),
        4 | 5 => {
            let mut deny = denial_of(rule, dice);
            deny["id"] = id.into();
            rules.push(deny);
        }
        6 => rule["until"] = (pick(dice, &ENDS)).into(),
        7 => add(rule, "to", pick(dice, &["methods", "notMethods"]), pick(dice, &METHODS)),
        8 => add(rule, "to", pick(dice, &["paths", "notPaths"]), pick(dice, &PATHS)),
        9 => add(rule, "from", pick(dice, &["principals", "notPrincipals"]), pick(dice, &CALLERS)),
        10 => add(rule, "from", "namespaces", pick(dice, &["n", "n", "n.*", "n|m", "*"])),
        11 => add(rule, "to", "hosts", pick(dice, &HOSTS)),
        12 => {
            let field = pick(dice, &["serviceAccounts", "notServiceAccounts"]);
            add(rule, "from", field, pick(dice, &["n/x", "m/x"]));
        }
        13 => {
            let query = pick(dice, &["query", "notQuery"]).to_owned();
            let value = json!({ "service": ["x"] });
            match entries(rule, "to").into_iter().next() {
                Some(entry) => drop(entry.insert(query, value)),
                None => rule["to"] = json!([{ query: value }]),
            }
        }
        14 => {
            for host in dice.one(&[["a.test", "*.a.test"], [".b.a.test", "*.b.a.test"]]) {
                add(rule, "to", pick(dice, &["hosts", "hosts", "notHosts"]), host);
            }
        }
        15 => {
            rule["state"] = "retiring".into();
            policy["mode"] = "monitor".into();
        }
        _ => {
            let names = texts(rule, "to", "hosts");
            let name = names.iter().find(|it| !it.contains(['*', '/', '[', ':']));
            let name = name.map_or("a.test", String::as_str);
            rules.push(json!({
                "id": id, "action": "deny", "to": [{ "hosts": [format!("*.{name}")] }],
            }));
        }
    }
}

fn pick<'a>(dice: &mut Dice, texts: &[&'a str]) -> &'a str {
    dice.one::<&str>(texts)
}

fn entries<'a>(rule: &'a mut Value, key: &str) -> Vec<&'a mut Map<String, Value>> {
    let entries = rule.get_mut(key).and_then(Value::as_array_mut);
    entries.into_iter().flatten().filter_map(Value::as_object_mut).collect()
}

fn texts(rule: &Value, key: &str, field: &str) -> Vec<String> {
    let entries = rule[key].as_array().into_iter().flatten();
    let items = entries.flat_map(|entry| entry[field].as_array().into_iter().flatten());
    items.filter_map(Value::as_str).map(str::to_owned).collect()
}

/// Adds an item to one of the rule's lists.
fn add(rule: &mut Value, key: &str, field: &str, item: &str) {
    if rule.get(key).is_none() {
        rule[key] = json!([{ field: [] }]);
    }
    if let Some(entry) = entries(rule, key).into_iter().next() {
        let list = entry.entry(field).or_insert_with(|| json!([]));
        list.as_array_mut().expect("a list").push(item.into());
    }
}

fn repeat_an_item(rule: &mut Value, dice: &mut Dice) {
    let key = pick(dice, &["to", "from"]);
    for entry in entries(rule, key) {
        let lists = entry.values_mut().filter_map(Value::as_array_mut);
        for list in lists.filter(|list| !list.is_empty()) {
            let item = list[dice.roll(list.len())].clone();
            list.push(item);
        }
    }
}

/// Lets a field's `not` form have all that the field has.
fn contradict(rule: &mut Value, dice: &mut Dice) {
    let key = pick(dice, &["to", "from"]);
    for entry in entries(rule, key) {
        let is_list = |key: &&String| !key.starts_with("not") && entry[*key].is_array();
        let listed: Vec<_> = entry.keys().filter(is_list).cloned().collect();
        if listed.is_empty() {
            continue;
        }
        let field = dice.one(&listed);
        let not = format!("not{}{}", field[..1].to_uppercase(), &field[1..]);
        let mut list = entry[field].clone();
        list.as_array_mut().expect("a list").extend(entry.get(&not).cloned());
        let list = list.as_array().expect("a list").iter();
        let flat = list.flat_map(|it| it.as_array().cloned().unwrap_or(vec![it.clone()]));
        entry.insert(not, flat.collect());
    }
}

/// A deny of what the rule is about, or of more or less than that.
fn denial_of(rule: &Value, dice: &mut Dice) -> Value {
    let mut deny = rule.clone();
    deny["action"] = "deny".into();
    let whole = deny.as_object_mut().expect("a rule");
    whole.retain(|key, _| !matches!(key.as_str(), "state" | "until") || dice.roll(2) == 0);
    for key in ["to", "from"] {
        for entry in entries(&mut deny, key) {
            if entry.len() > 1 && dice.roll(2) == 0 {
                let fields: Vec<_> = entry.keys().cloned().collect();
                entry.remove(dice.one(&fields));
            }
        }
        if dice.roll(6) == 0 {
            deny.as_object_mut().expect("a rule").remove(key);
        }
    }
    if dice.roll(3) == 0 {
        match pick(dice, &["notPorts", "notMethods", "notHosts"]) {
            "notPorts" => add_number(&mut deny, 443),
            "notMethods" => add(&mut deny, "to", "notMethods", "GET"),
            _ => add(&mut deny, "to", "notHosts", "a.test"),
        }
    }
    deny
}

fn add_number(rule: &mut Value, port: u16) {
    if rule.get("to").is_none() {
        rule["to"] = json!([{}]);
    }
    for entry in entries(rule, "to") {
        let list = entry.entry("notPorts").or_insert_with(|| json!([]));
        list.as_array_mut().expect("a list").push(port.into());
    }
}
