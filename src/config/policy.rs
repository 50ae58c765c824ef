//! The top of a policy text.

use super::fault::{Faults, Path, quote};
use super::json::Node;
use super::object::{Object, Reader};
use super::order::sorted;
use super::rule::{self, RuleText};
use super::stamp;
use super::{Config, MAX_HOSTS, MAX_MESSAGE, MAX_RULES};
use crate::answer::{Answer, Reveal};
use crate::key_table::KeyTable;
use crate::policy::{Action, Mode, Policy, Settings};
use crate::record::LogRequests;
use crate::stamp::{Stamps, Strip};
use std::collections::BTreeMap;

/// Longest `deny.docs`, in bytes.
const MAX_DOCS: usize = 1024;

/// Reads a whole tree.
pub(super) fn read(node: &Node<'_>) -> Result<Config, Faults> {
    let mut reader = Reader::default();
    reader.duplicates(node, &Path::Root);
    let text = PolicyText::read(&mut reader, node);
    match (Faults::some(reader.faults), text) {
        (None, Some(text)) => Ok(text.compile(node)),
        (Some(faults), _) => Err(faults),
        // INVARIANT: a text that could not be read has left a fault.
        (None, None) => Err(Faults::one(super::Fault::new(&Path::Root, "no policy", "write one"))),
    }
}

/// What a text says, before it is compiled.
struct PolicyText<'n> {
    name: &'n str,
    settings: Settings,
    rules: Vec<RuleText<'n>>,
    stamp: crate::stamp::Stamp,
    strip: Strip,
    deny: DenyText,
    log: LogRequests,
}

/// The `deny` object.
struct DenyText {
    status: u16,
    message: Box<str>,
    docs: Box<str>,
    reveal: Reveal,
}

impl<'n> PolicyText<'n> {
    fn read(reader: &mut Reader, node: &'n Node<'_>) -> Option<Self> {
        let known = [
            "policy", "mode", "default", "identity", "sni", "rules", "stamp", "strip", "deny",
            "log",
        ];
        let object = reader.object((node, Path::Root), &known)?;
        let name = match object.get("policy") {
            Some((node, path)) => reader.name(node, &path),
            None => {
                reader.missing(
                    &object.path,
                    "policy",
                    "name the policy, such as `payments-egress`",
                );
                None
            }
        };
        let settings = settings(reader, &object);
        let rules = rules(reader, &object);
        let stamp = object.get("stamp").map(|entry| stamp::read(reader, entry));
        let strip = strip(reader, &object);
        let deny = deny(reader, &object);
        let log = log(reader, &object);
        Some(Self {
            // A fault was reported where there is none.
            name: name.unwrap_or_default(),
            settings,
            rules,
            stamp: stamp.unwrap_or_default(),
            strip,
            deny,
            log,
        })
    }

    fn compile(self, node: &Node<'_>) -> Config {
        let mut messages = BTreeMap::new();
        let mut stamps = BTreeMap::new();
        let in_order = sorted(self.rules, |a, b| a.rule.id.cmp(&b.rule.id));
        let mut rules = Vec::with_capacity(in_order.len());
        for (index, text) in in_order.into_iter().enumerate() {
            messages.extend(text.message.map(|message| (index, Box::from(message))));
            stamps.extend(text.stamp.map(|stamp| (index, stamp)));
            rules.push((text.rule, text.destinations));
        }
        let DenyText { status, message, docs, reveal } = self.deny;
        Config {
            name: self.name.into(),
            revision: format!("{}@{}", self.name, node.hash()).into(),
            policy: Policy::new(self.settings, rules),
            stamps: Stamps::new(self.strip, self.stamp, stamps),
            answer: Answer { status, message, docs, reveal, rule_messages: messages },
            log: self.log,
        }
    }
}

fn settings(reader: &mut Reader, object: &Object<'_, '_, '_>) -> Settings {
    let modes = [("enforce", Mode::Enforce), ("monitor", Mode::Monitor)];
    let identities = [("optional", false), ("required", true)];
    let snis = [("ignore", false), ("match", true)];
    Settings {
        mode: reader.word(object.get("mode"), &modes).unwrap_or(Mode::Enforce),
        default: reader.word(object.get("default"), &rule::ACTIONS).unwrap_or(Action::Deny),
        identity_required: reader.word(object.get("identity"), &identities).unwrap_or(false),
        sni_must_match: reader.word(object.get("sni"), &snis).unwrap_or(false),
    }
}

fn rules<'n>(reader: &mut Reader, object: &Object<'n, '_, '_>) -> Vec<RuleText<'n>> {
    let says_default = object.get("default").is_some();
    let remedy = "write rules, or write `default` out: `deny` or `allow`";
    let Some((node, path)) = object.get("rules") else {
        if !says_default {
            reader.missing(&object.path, "rules", remedy);
        }
        return Vec::new();
    };
    let items = match node {
        Node::Array(items) if items.is_empty() => {
            if !says_default {
                reader.fault(&path, "an empty list without a `default`", remedy);
            }
            return Vec::new();
        }
        _ => reader.list(node, &path).unwrap_or_default(),
    };
    if items.len() > MAX_RULES {
        let problem = format!("{} rules", items.len());
        reader.fault(&path, problem, format!("a policy has at most {MAX_RULES} rules"));
        return Vec::new();
    }
    let mut rules = Vec::with_capacity(items.len());
    let mut ids = KeyTable::default();
    for (position, (index, item)) in (0..).zip(items.iter().enumerate()) {
        let path = path.index(index);
        let Some(text) = RuleText::read(reader, (item, path)) else { continue };
        if let Some(id) = text.id
            && let Some((first, false)) = ids.entry(id.as_bytes(), position)
        {
            let problem = format!("the id {}, which `$.rules[{first}]` has too", quote(id));
            reader.fault(&path.key("id", 0), problem, "give every rule an id of its own");
        }
        rules.push(text);
    }
    if reader.hosts > MAX_HOSTS {
        let problem = format!("{} hosts over all rules", reader.hosts);
        reader.fault(&path, problem, format!("a policy has at most {MAX_HOSTS} hosts"));
    }
    rules
}

fn strip(reader: &mut Reader, object: &Object<'_, '_, '_>) -> Strip {
    let mut strip = Strip { mesh: true, forwarded: false };
    if let Some(entry) = object.get("strip")
        && let Some(groups) = reader.object(entry, &["mesh", "forwarded"])
    {
        strip.mesh = reader.boolean(groups.get("mesh")).unwrap_or(strip.mesh);
        strip.forwarded = reader.boolean(groups.get("forwarded")).unwrap_or(strip.forwarded);
    }
    strip
}

fn deny(reader: &mut Reader, object: &Object<'_, '_, '_>) -> DenyText {
    let mut text = DenyText {
        status: 403,
        message: Box::default(),
        docs: Box::default(),
        reveal: Reveal::Rule,
    };
    if let Some(entry) = object.get("deny")
        && let Some(deny) = reader.object(entry, &["status", "message", "docs", "reveal"])
    {
        if let Some((node, path)) = deny.get("status") {
            text.status = reader.integer(node, &path, 400..=599).unwrap_or(text.status);
        }
        let message = reader.short_text(deny.get("message"), MAX_MESSAGE);
        text.message = message.unwrap_or_default().into();
        text.docs = reader.short_text(deny.get("docs"), MAX_DOCS).unwrap_or_default().into();
        let reveals = [("rule", Reveal::Rule), ("nothing", Reveal::Nothing)];
        text.reveal = reader.word(deny.get("reveal"), &reveals).unwrap_or(text.reveal);
    }
    text
}

fn log(reader: &mut Reader, object: &Object<'_, '_, '_>) -> LogRequests {
    let words =
        [("denied", LogRequests::Denied), ("all", LogRequests::All), ("none", LogRequests::None)];
    object
        .get("log")
        .and_then(|entry| {
            let log = reader.object(entry, &["requests"])?;
            reader.word(log.get("requests"), &words)
        })
        .unwrap_or(LogRequests::Denied)
}
