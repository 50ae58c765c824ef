//! Warnings about names: those that are wider, or another, than they look.

use super::warning::Warning;
use crate::diagnostics::Diagnostic;
use crate::policy_file::{Source, path_of};
use crate::public_suffix::Openness;
use egress_warden::config::{Item, Listed};
use egress_warden::host::HostPattern;
use egress_warden::policy::Action;
use std::borrow::Cow;
use std::collections::HashMap;
use unicode_security::{MixedScript, confusable_detection::skeleton};

/// Every warning about the names in lists of hosts.
pub(super) fn of(policy: &Source<'_>) -> Vec<Diagnostic> {
    let mut reports = Vec::new();
    let mut looks = Looks::default();
    for rule in &policy.rules {
        for (index, entry) in rule.to.iter().enumerate() {
            for (key, hosts) in [("hosts", &entry.hosts), ("notHosts", &entry.not_hosts)] {
                // A deny may be as wide as it likes, what it spares may not.
                let lets_pass = (rule.action == Action::Allow) == (key == "hosts");
                let hosts = hosts.iter().flat_map(Listed::iter);
                for (position, Item { pattern, node }) in hosts.enumerate() {
                    let path = || format!("{}.to[{index}].{key}[{position}]", path_of(rule));
                    let mut warn = |warning: Warning| {
                        let place = (path(), node);
                        reports.push(Diagnostic::warning(warning.word(), place, warning));
                    };
                    if lets_pass {
                        public_suffix(pattern, &mut warn);
                    }
                    if let HostPattern::Name(name)
                    | HostPattern::Under(name)
                    | HostPattern::Tree(name) = pattern
                    {
                        spelling(name, &mut warn);
                        look(name, &mut looks, &mut warn);
                    }
                }
            }
        }
    }
    reports
}

/// A wildcard over names that strangers can take.
fn public_suffix(host: HostPattern<'_>, warn: &mut impl FnMut(Warning)) {
    let (HostPattern::Under(apex) | HostPattern::Tree(apex)) = host else { return };
    if let Some(openness) = Openness::of(apex) {
        warn(Warning::PublicSuffix { apex: apex.to_owned(), openness });
    }
}

/// A name that UTS 46 does not allow, or of several scripts.
fn spelling(name: &str, warn: &mut impl FnMut(Warning)) {
    if !name.contains("xn--") {
        return;
    }
    let (unicode, read) = idna::domain_to_unicode(name);
    let name = name.to_owned();
    if read.is_err() || idna::domain_to_ascii(&unicode).ok().as_deref() != Some(&*name) {
        warn(Warning::NotUts46 { name });
        return;
    }
    for label in unicode.split('.').filter(|label| !label.is_ascii()) {
        let name = name.clone();
        if !label.is_single_script() {
            warn(Warning::MixedScript { name, label: label.to_owned() });
        } else if let Some(look) = latin_look(label) {
            warn(Warning::LooksLike { name, look });
        }
    }
}

/// The names met so far, by what they look like (the skeletons of UTS 39).
struct Looks<'p> {
    names: HashMap<Cow<'p, str>, &'p str>,
    /// The skeleton of each ASCII character: most names need nothing else.
    ascii: Vec<String>,
}

impl Default for Looks<'_> {
    fn default() -> Self {
        let of = |byte: u8| skeleton(char::from(byte).encode_utf8(&mut [0; 4])).collect();
        Self { names: HashMap::new(), ascii: (0..=0x7f).map(of).collect() }
    }
}

impl<'p> Looks<'p> {
    /// Another name of the policy that looks the same.
    fn other(&mut self, name: &'p str) -> Option<&'p str> {
        let look = self.of(name);
        let first = *self.names.entry(look).or_insert(name);
        (first != name).then_some(first)
    }

    fn of(&self, name: &'p str) -> Cow<'p, str> {
        if name.contains("xn--") {
            let (unicode, _) = idna::domain_to_unicode(name);
            return Cow::Owned(skeleton(&unicode).collect());
        }
        let parts = name.bytes().map(|byte| self.ascii.get(usize::from(byte)));
        let is_itself = parts
            .clone()
            .zip(name.bytes())
            .all(|(look, byte)| look.is_some_and(|look| look.as_bytes() == [byte]));
        if is_itself {
            return Cow::Borrowed(name);
        }
        Cow::Owned(parts.flatten().map(String::as_str).collect())
    }
}

/// Two names of the policy that look the same.
fn look<'p>(name: &'p str, looks: &mut Looks<'p>, warn: &mut impl FnMut(Warning)) {
    if let Some(first) = looks.other(name) {
        warn(Warning::LooksLikeOther { name: name.to_owned(), other: first.to_owned() });
    }
}

/// The ASCII text that a label looks like, where it does.
fn latin_look(label: &str) -> Option<String> {
    let look: String = skeleton(label).collect();
    (look.is_ascii() && look != label).then(|| look.replace("rn", "m"))
}
