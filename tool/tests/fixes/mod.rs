//! A fix changes what its messages say and nothing else, whatever the layout of the text; and no
//! verdict of a policy that was valid. What is written is read by another reader of YAML than the
//! tool's.

use arbitrary::{Result, Unstructured};
use egress_warden::host::{Host, HostPattern};
use egress_warden_tool::in_process::{self, Fixed};
use kit::differences::sample::{Dice, Universe};
use kit::differences::{AT, Pair};
use serde_json::Value;

/// How many requests a valid policy and its fix are tried with.
const REQUESTS: usize = 50;

/// Panics where the fix of the text that some bytes make is not as it should be.
pub fn check(bytes: &[u8]) {
    if let Ok(text) = text(&mut Unstructured::new(bytes)) {
        check_text(&text);
    }
}

fn check_text(text: &str) {
    // Refusing to write is for what nobody thought of.
    let fixed = in_process::fix(text, AT.parse().expect("a time"))
        .unwrap_or_else(|error| panic!("{error}\n{text}"));
    assert_eq!(fixed.count == 0, fixed.text == text, "{text}\n{}", fixed.text);
    assert!(!fixed.was_valid || fixed.is_valid, "{text}\n{}", fixed.text);
    let comments = |text: &str| text.matches("# kept").count();
    assert_eq!(comments(text), comments(&fixed.text), "{text}\n{}", fixed.text);
    let Ok(old) = serde_saphyr::from_multiple::<Value>(text) else { return };
    let new: Vec<Value> = serde_saphyr::from_multiple(&fixed.text)
        .unwrap_or_else(|error| panic!("{error}\n{text}\n{}", fixed.text));
    assert_eq!(old.len(), new.len(), "{text}\n{}", fixed.text);
    for (old, new) in old.iter().zip(&new) {
        check_document(old, new, &fixed, text);
    }
}

fn check_document(old: &Value, new: &Value, fixed: &Fixed, text: &str) {
    assert!(is_mended(old, new), "{text}\n{}", fixed.text);
    if fixed.was_valid && old["rules"].is_array() {
        let Some(pair) = Pair::read(old, new) else { return };
        let universe = Universe::of([old, new]);
        let mut dice = Dice(text.len() as u64 | 1);
        for _ in 0..REQUESTS {
            let request = universe.pick(&mut dice, false);
            assert_eq!(pair.difference(&request), None, "{request:?}\n{text}\n{}", fixed.text);
        }
    }
}

/// Whether a value is another, but for what fixes may change.
fn is_mended(old: &Value, new: &Value) -> bool {
    match (old, new) {
        (Value::String(old), Value::String(new)) => old == new || is_respelt(old, new),
        (Value::String(old), Value::Number(new)) => *old == new.to_string(),
        // The other reader's YAML is an older one.
        (Value::Number(_) | Value::Bool(_), Value::String(_)) => true,
        (Value::Array(old), Value::Array(new)) => {
            let mut kept = 0;
            let all = old.iter().all(|item| match new.get(kept) {
                Some(next) if is_mended(item, next) => {
                    kept += 1;
                    true
                }
                // What goes is in the list before or behind.
                _ => new.iter().any(|other| is_mended(item, other)),
            });
            all && kept == new.len()
        }
        (Value::Object(old), Value::Object(new)) => {
            old.len() == new.len()
                && old.iter().all(|(key, old)| {
                    let lower = key.to_ascii_lowercase();
                    new.get(key).or_else(|| new.get(&lower)).is_some_and(|new| is_mended(old, new))
                })
        }
        _ => old == new,
    }
}

/// Whether two texts are spellings of one host, method, header or principal.
fn is_respelt(old: &str, new: &str) -> bool {
    let bare = |text: &str| text.strip_prefix("*.").unwrap_or(text).to_owned();
    let is_wildcard = |text: &str| text.starts_with("*.");
    let host = |text: &str| {
        let text = bare(text);
        let address = text.parse().map(|ip: std::net::IpAddr| Host::Address(ip.to_canonical()));
        address
            .ok()
            .or_else(|| Host::parse(text.as_bytes()).ok())
            .map(|it| it.canonical().into_owned())
    };
    let is_same_host = is_wildcard(old) == is_wildcard(new)
        && (host(old).is_some_and(|it| it == bare(new))
            || idna::domain_to_ascii_strict(&bare(old)).is_ok_and(|it| it == bare(new)));
    let block = |text: &str| {
        let text = text.replace(['[', ']'], "").to_ascii_lowercase();
        let (base, length) = text.split_once('/')?;
        Some((base.parse::<std::net::IpAddr>().ok()?, length.to_owned()))
    };
    is_same_host && HostPattern::parse(new).is_ok()
        || block(old).is_some() && block(old) == block(new)
        || old.eq_ignore_ascii_case(new)
        || old.strip_prefix("spiffe://") == Some(new)
        || old.strip_suffix('.').is_some_and(|it| it == new)
        || new.strip_prefix('.').is_some_and(|apex| {
            let is_special = Host::parse(apex.as_bytes()).is_ok_and(|it| it.is_special());
            !is_special && host(old).as_deref() == Some(apex)
        })
}

/// A policy in some layout, and then perhaps a few bytes of it changed.
fn text(bytes: &mut Unstructured<'_>) -> Result<String> {
    let mut text = String::from("policy: p\n");
    if bytes.ratio(1, 4)? {
        text += "stamp: {set: {X-Team: a, x-b: c}, remove: [X-Debug, x-d]} # kept\n";
    }
    text += "rules:\n";
    for rule in 0..bytes.int_in_range(1..=2)? {
        let action = if bytes.arbitrary()? { "allow" } else { "deny" };
        text += &format!("- id: r{rule}\n  action: {action}\n");
        if bytes.arbitrary()? {
            text += "  from:\n  - ";
            list(bytes, "principals", &PRINCIPALS, &mut text)?;
            text += "    ";
            list(bytes, "namespaces", &NAMESPACES, &mut text)?;
        }
        text += "  to:\n  - ";
        list(bytes, "hosts", &HOSTS, &mut text)?;
        for (key, values) in [("ports", &PORTS[..]), ("methods", &METHODS), ("paths", &PATHS)] {
            if bytes.ratio(1, 2)? {
                text += "    ";
                list(bytes, key, values, &mut text)?;
            }
        }
    }
    if bytes.ratio(1, 8)? {
        text = text.replace('\n', "\r\n");
    }
    for _ in 0..bytes.int_in_range(0..=3)? {
        change(bytes, &mut text)?;
    }
    match bytes.int_in_range(0..=15)? {
        13 => text.insert(0, '\u{feff}'),
        14 => text.insert_str(0, "---\nkind: ConfigMap # kept\ndata: {a: no}\n---\n"),
        15 => {
            text += "\n--- # kept\npolicy: q\nrules:\n- id: q\n  action: deny\n  to:\n  - ";
            list(bytes, "hosts", &HOSTS, &mut text)?;
        }
        _ => {}
    }
    Ok(text)
}

const HOSTS: [&str; 18] = [
    "a.test",
    "A.test",
    "b.a.test",
    "*.a.test",
    ".a.test",
    "*.b.a.test",
    "x.localhost",
    "*.x.localhost",
    "*.A.test",
    "a.test.",
    "b\u{fc}cher.test",
    "\u{ff44}eny.test",
    "deny\u{3002}test",
    "8.8.8.8",
    "2001:DB8::1",
    "10.0.0.1/8",
    "no",
    "fa\u{df}.test",
];
const PRINCIPALS: [&str; 4] =
    ["d/ns/n/sa/a", "spiffe://d/ns/n/sa/a", "d/ns/m/*", "d/ns/\u{e9}/sa/a"];
const NAMESPACES: [&str; 6] = ["n", "no", "m*", "0443", "y", "2027-01-31"];
const PORTS: [&str; 6] = ["443", "80", "0443", "0x1F", "443.0", "22:22"];
const METHODS: [&str; 4] = ["GET", "get", "Post", "LIST"];
const PATHS: [&str; 4] = ["/a", "/a/*", "v1", "*"];

/// A member with a list: its layout, and each item's, as the bytes say.
fn list(bytes: &mut Unstructured<'_>, key: &str, values: &[&str], text: &mut String) -> Result<()> {
    let is_flow = bytes.arbitrary()?;
    *text += &format!("{key}:{}", if is_flow { " [" } else { "\n" });
    for index in 0..bytes.int_in_range(1..=4)? {
        let value = *bytes.choose(values)?;
        let anchor = match bytes.int_in_range(0..=15)? {
            0 => format!("&{key}{index} "),
            _ => String::new(),
        };
        let quoted = match bytes.int_in_range(0..=7)? {
            0 => format!("\"{value}\""),
            1 => format!("'{value}'"),
            2 if !is_flow => format!(">-\n      {value}"),
            3 if !is_flow => format!("|-\n\n      {value}\n"),
            4 if !is_flow => format!("|\n      {value}"),
            5 if index > 0 && !anchor.is_empty() => "*x".to_owned(),
            _ if value.starts_with('*') => format!("'{value}'"),
            _ => value.to_owned(),
        };
        if is_flow {
            *text += if index > 0 { bytes.choose(&[", ", ",", " ,  ", ",\n     "])? } else { "" };
            *text += &format!("{anchor}{quoted}");
        } else {
            if bytes.ratio(1, 8)? {
                *text += "    # kept\n";
            }
            let may_have_comment = !quoted.contains('\n');
            let comment = if may_have_comment && bytes.ratio(1, 8)? { " # kept" } else { "" };
            *text += &format!("    - {anchor}{quoted}{comment}\n");
        }
    }
    *text += if is_flow { "]\n" } else { "" };
    Ok(())
}

/// Puts a part elsewhere, or takes one away.
fn change(bytes: &mut Unstructured<'_>, text: &mut String) -> Result<()> {
    const PARTS: [&str; 20] = [
        " ", "\n", "\t", "#", "'", "\"", ":", ",", "- ", "? ", "&x ", "*x", "!", "|", ">", "[",
        "}", "\\", "\u{e9}", "A",
    ];
    let at = text.floor_char_boundary(bytes.int_in_range(0..=text.len())?);
    if bytes.arbitrary()? {
        text.insert_str(at, bytes.choose(&PARTS)?);
    } else if at < text.len() {
        text.remove(at);
    }
    Ok(())
}
