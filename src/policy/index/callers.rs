//! The callers that rules name, as numbers.
//!
//! A rule is found through its callers where each entry of its `from` asks for principals that are
//! written out or begin so, or for namespaces or service accounts that are written out. A pattern such as
//! `cluster.local/ns/payments/*` is found through the longest directory that it begins with.

use crate::key_table::{Hasher, KeyTable};
use crate::policy::request::Facts;
use crate::policy::rule::{Rule, Source, SourceField};

/// Most keys of a rule that is found through them: a rule with more is held against every caller.
const MAX_KEYS: usize = 8;

/// Something that every caller has whom a rule may match.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Key<'a> {
    Principal(&'a [u8]),
    /// What a principal begins with, up to and with a `/`.
    Directory(&'a str),
    Namespace(&'a [u8]),
    /// As `NAMESPACE/sa/ACCOUNT`.
    ServiceAccount(&'a [u8]),
}

/// The keys of one rule: whoever it may match, where everything is known, has one of them.
#[derive(Debug)]
pub(super) struct Keys<'a>(Vec<Key<'a>>);

impl<'a> Keys<'a> {
    /// `None` where a rule must be held against every caller.
    pub(super) fn of(rule: &'a Rule) -> Option<Self> {
        let mut keys = Vec::new();
        for source in &rule.from {
            of_source(source, &mut keys)?;
            if keys.len() > MAX_KEYS {
                return None;
            }
        }
        (!keys.is_empty()).then_some(Self(keys))
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = Key<'a>> {
        self.0.iter().copied()
    }

    /// Whether there are namespaces or service accounts among them.
    pub(super) fn has_namespaces(&self) -> bool {
        self.0.iter().any(|key| matches!(key, Key::Namespace(_) | Key::ServiceAccount(_)))
    }

    pub(super) fn has_principals(&self) -> bool {
        self.0.iter().any(|key| matches!(key, Key::Principal(_) | Key::Directory(_)))
    }
}

/// Adds the keys of one entry of `from`.
fn of_source<'a>(source: &'a Source, keys: &mut Vec<Key<'a>>) -> Option<()> {
    let count = keys.len();
    if let Some((exact, prefixes)) =
        source.get(SourceField::Principals).and_then(|it| it.exact_and_prefixes())
    {
        keys.extend(exact.map(Key::Principal).take(MAX_KEYS.saturating_add(1)));
        for prefix in prefixes.take(MAX_KEYS.saturating_add(1)) {
            match prefix.rfind('/').and_then(|end| prefix.get(..=end)) {
                Some(directory) => keys.push(Key::Directory(directory)),
                None => {
                    keys.truncate(count);
                    break;
                }
            }
        }
        if keys.len() > count {
            return Some(());
        }
    }
    if let Some(accounts) = source.get(SourceField::ServiceAccounts) {
        let (exact, _) = accounts.exact_and_prefixes()?;
        keys.extend(exact.map(Key::ServiceAccount).take(MAX_KEYS.saturating_add(1)));
        return Some(());
    }
    let (exact, mut prefixes) = source.get(SourceField::Namespaces)?.exact_and_prefixes()?;
    if prefixes.next().is_some() {
        return None;
    }
    keys.extend(exact.map(Key::Namespace).take(MAX_KEYS.saturating_add(1)));
    Some(())
}

/// Every caller that a rule is found through, by number.
#[derive(Debug, Default)]
pub(super) struct Callers {
    principals: KeyTable,
    /// Hashed segment by segment, so that all directories of a principal are hashed in one pass.
    directories: KeyTable,
    /// How many segments the longest of them has.
    deepest: usize,
    namespaces: KeyTable,
    service_accounts: KeyTable,
}

impl Callers {
    /// The number of a key, a new one where it has none yet.
    pub(super) fn intern(&mut self, key: Key<'_>) -> Option<u32> {
        let next = u32::try_from(self.len()).ok()?;
        let entry = match key {
            Key::Principal(principal) => self.principals.entry(principal, next),
            Key::Directory(directory) => {
                let segments = directory.split_inclusive('/');
                self.deepest = self.deepest.max(segments.clone().count());
                let hasher = segments.fold(Hasher::default(), hash_segment);
                self.directories.entry_hashed(hasher.finish(), directory.as_bytes(), next)
            }
            Key::Namespace(namespace) => self.namespaces.entry(namespace, next),
            Key::ServiceAccount(account) => self.service_accounts.entry(account, next),
        };
        entry.map(|(number, _)| *number)
    }

    /// How many keys have a number; numbers start at 0.
    fn len(&self) -> usize {
        let tables =
            [&self.principals, &self.directories, &self.namespaces, &self.service_accounts];
        tables.iter().map(|table| table.len()).sum()
    }

    /// The number of every key that the caller has.
    pub(super) fn of(&self, facts: &Facts<'_>) -> Vec<u32> {
        let Some(principal) = &facts.principal else { return Vec::new() };
        let mut numbers = Vec::new();
        let bytes = principal.as_str().as_bytes();
        numbers.extend(self.principals.get_hashed(principal.hash(), bytes));
        if self.deepest > 0 {
            let mut hasher = Hasher::default();
            let mut end = 0_usize;
            let segments = principal.as_str().split_inclusive('/');
            for segment in segments.take(self.deepest).filter(|it| it.ends_with('/')) {
                hasher = hash_segment(hasher, segment);
                end = end.saturating_add(segment.len());
                let directory = bytes.get(..end).unwrap_or_default();
                numbers.extend(self.directories.get_hashed(hasher.finish(), directory));
            }
        }
        if let Some(namespace) = facts.namespace() {
            let bytes = namespace.as_str().as_bytes();
            numbers.extend(self.namespaces.get_hashed(namespace.hash(), bytes));
        }
        if let (false, Some(account)) = (self.service_accounts.is_empty(), facts.service_account())
        {
            let bytes = account.as_str().as_bytes();
            numbers.extend(self.service_accounts.get_hashed(account.hash(), bytes));
        }
        numbers
    }
}

fn hash_segment(hasher: Hasher, segment: &str) -> Hasher {
    hasher.with(segment.as_bytes())
}
