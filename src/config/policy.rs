//! The top of a policy.

use super::error::{ErrorKind, Errors, Path, Required};
use super::reader::{Object, Reader};
use super::rule;
use super::source::{DenySource, RuleSource, Source};
use super::stamp;
use super::tree::{Node, Value};
use super::{MAX_HOSTS, MAX_MESSAGE, MAX_RULES};
use crate::answer::Reveal;
use crate::key_table::KeyTable;
use crate::policy::{Mode, Settings};
use crate::record::LogRequests;
use crate::stamp::{Environment, Strip};

/// Longest `deny.docs`, in bytes.
const MAX_DOCS: usize = 1024;

/// Reads a whole tree.
pub(super) fn read<N: Node>(
    root: &N,
    environment: Option<Environment>,
) -> Result<Source<'_, N>, Errors> {
    let mut reader = Reader { environment, ..Reader::default() };
    reader.duplicates(root, &Path::Root);
    let source = source(&mut reader, root);
    // INVARIANT: a tree that could not be read has left an error.
    source.filter(|_| reader.errors.is_empty()).ok_or_else(|| Errors::new(reader.errors))
}

fn source<'n, N: Node>(reader: &mut Reader, root: &'n N) -> Option<Source<'n, N>> {
    let known =
        &["policy", "mode", "default", "identity", "sni", "rules", "stamp", "strip", "deny", "log"];
    let object = reader.object((root, Path::Root), known)?;
    let name = match object.get("policy") {
        Some((node, path)) => reader.name(node, &path),
        None => {
            reader.error(&object.path, ErrorKind::MissingKey(Required::Policy));
            None
        }
    };
    Some(Source {
        root,
        // An error was reported where there is none.
        name: name.unwrap_or_default(),
        settings: settings(reader, &object),
        rules: rules(reader, &object),
        // Those of the rules, which have been read.
        hosts: reader.hosts,
        stamp: object.get("stamp").map(|entry| stamp::read(reader, entry)).unwrap_or_default(),
        strip: strip(reader, &object),
        deny: deny(reader, &object),
        log: log(reader, &object),
    })
}

fn settings<N: Node>(reader: &mut Reader, object: &Object<'_, '_, N>) -> Settings {
    let modes = [("enforce", Mode::Enforce), ("monitor", Mode::Monitor)];
    let identities = [("optional", false), ("required", true)];
    let snis = [("ignore", false), ("match", true)];
    let absent = Settings::default();
    let identity = reader.word(object.get("identity"), &identities);
    let sni = reader.word(object.get("sni"), &snis);
    Settings {
        mode: reader.word(object.get("mode"), &modes).unwrap_or(absent.mode),
        default: reader.word(object.get("default"), &rule::ACTIONS).unwrap_or(absent.default),
        identity_required: identity.unwrap_or(absent.identity_required),
        sni_must_match: sni.unwrap_or(absent.sni_must_match),
    }
}

fn rules<'n, N: Node>(reader: &mut Reader, object: &Object<'n, '_, N>) -> Vec<RuleSource<'n, N>> {
    let says_default = object.get("default").is_some();
    let Some((node, path)) = object.get("rules") else {
        if !says_default {
            reader.error(&object.path, ErrorKind::MissingKey(Required::Rules));
        }
        return Vec::new();
    };
    let items = match node.value() {
        Value::List([]) => {
            if !says_default {
                reader.error(&path, ErrorKind::NoRules);
            }
            return Vec::new();
        }
        _ => reader.list(node, &path).unwrap_or_default(),
    };
    if items.len() > MAX_RULES {
        reader.error(&path, ErrorKind::TooManyRules { count: items.len() });
        return Vec::new();
    }
    let mut rules = Vec::with_capacity(items.len());
    let mut ids = KeyTable::default();
    for (index, item) in items.iter().enumerate() {
        rules.extend(rule::read(reader, &mut ids, (item, path.index(index)), index));
    }
    if reader.hosts > MAX_HOSTS {
        let count = reader.hosts;
        reader.error(&path, ErrorKind::TooManyHosts { count });
    }
    rules
}

fn strip<N: Node>(reader: &mut Reader, object: &Object<'_, '_, N>) -> Strip {
    let mut strip = Strip { mesh: true, proxy: true, forwarded: false };
    if let Some(entry) = object.get("strip")
        && let Some(groups) = reader.object(entry, &["mesh", "proxy", "forwarded"])
    {
        strip.mesh = reader.boolean(groups.get("mesh")).unwrap_or(strip.mesh);
        strip.proxy = reader.boolean(groups.get("proxy")).unwrap_or(strip.proxy);
        strip.forwarded = reader.boolean(groups.get("forwarded")).unwrap_or(strip.forwarded);
    }
    strip
}

fn deny<'n, N: Node + 'n>(reader: &mut Reader, object: &Object<'n, '_, N>) -> DenySource<'n> {
    let mut source = DenySource { status: 403, message: "", docs: "", reveal: Reveal::Rule };
    if let Some(entry) = object.get("deny")
        && let Some(deny) = reader.object(entry, &["status", "message", "docs", "reveal"])
    {
        if let Some((node, path)) = deny.get("status") {
            source.status = reader.integer(node, &path, 400..=599).unwrap_or(source.status);
        }
        source.message = reader.short_text(deny.get("message"), MAX_MESSAGE).unwrap_or_default();
        source.docs = reader.short_text(deny.get("docs"), MAX_DOCS).unwrap_or_default();
        let reveals = [("rule", Reveal::Rule), ("nothing", Reveal::Nothing)];
        source.reveal = reader.word(deny.get("reveal"), &reveals).unwrap_or(source.reveal);
    }
    source
}

fn log<N: Node>(reader: &mut Reader, object: &Object<'_, '_, N>) -> LogRequests {
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
