//! Warnings about names: those that are wider, or another, than they look.

use crate::diagnostics::Diagnostic;
use crate::written::{Written, WrittenPolicy};
use egress_warden::host::HostPattern;
use std::borrow::Cow;
use std::collections::HashMap;
use unicode_security::{MixedScript, confusable_detection::skeleton};

/// Every warning about the names in lists of hosts.
pub(super) fn of(policy: &WrittenPolicy<'_>) -> Vec<Diagnostic> {
    let mut reports = Vec::new();
    let mut looks = Looks::default();
    for rule in &policy.rules {
        for (index, entry) in rule.to.iter().enumerate() {
            for (key, hosts) in [("hosts", &entry.hosts), ("notHosts", &entry.not_hosts)] {
                for (position, host) in hosts.iter().flatten().enumerate() {
                    let path = || format!("{}.to[{index}].{key}[{position}]", rule.path());
                    let mut warn = |kind, problem: String, remedy: &str| {
                        let place = (path(), host.node);
                        reports.push(Diagnostic::warning(kind, place, problem, remedy));
                    };
                    public_suffix(host, key, &mut warn);
                    spelling(host, &mut warn);
                    look(host, &mut looks, &mut warn);
                }
            }
        }
    }
    reports
}

/// A wildcard over names that belong to many owners.
fn public_suffix(
    host: &Written<'_, HostPattern<'_>>,
    key: &str,
    warn: &mut impl FnMut(&'static str, String, &str),
) {
    let HostPattern::Under(apex) = host.pattern else { return };
    let is_public = psl::suffix(apex.as_bytes())
        .is_some_and(|suffix| suffix.is_known() && suffix.as_bytes() == apex.as_bytes());
    if is_public && key == "hosts" {
        let problem = format!("anybody can register a name under `{apex}` (it is a public suffix)");
        warn("public-suffix", problem, "list the names that are meant");
    }
}

/// A name that UTS 46 does not allow, or of several scripts.
fn spelling(
    host: &Written<'_, HostPattern<'_>>,
    warn: &mut impl FnMut(&'static str, String, &str),
) {
    let Some(name) = name_of(host).filter(|name| name.contains("xn--")) else { return };
    let (unicode, read) = idna::domain_to_unicode(name);
    if read.is_err() || idna::domain_to_ascii(&unicode).ok().as_deref() != Some(name) {
        let problem = format!("`{name}` is no name that UTS 46 allows: browsers refuse it");
        warn("not-uts46", problem, "check where the name comes from");
        return;
    }
    for label in unicode.split('.').filter(|label| !label.is_ascii()) {
        if !label.is_single_script() {
            let problem = format!("`{name}` mixes scripts: `{}`", escaped(label));
            warn("mixed-script", problem, "check that it is the name that is meant");
        } else if let Some(look) = latin_look(label) {
            let problem = format!("`{name}` looks like `{look}` and is not");
            warn("confusable", problem, "check that it is the name that is meant");
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
fn look<'p>(
    host: &Written<'p, HostPattern<'p>>,
    looks: &mut Looks<'p>,
    warn: &mut impl FnMut(&'static str, String, &str),
) {
    let Some(name) = name_of(host) else { return };
    if let Some(first) = looks.other(name) {
        let problem = format!("`{name}` looks like `{first}`, which the policy names too");
        warn("confusable", problem, "check that both are meant");
    }
}

fn name_of<'p>(host: &Written<'p, HostPattern<'p>>) -> Option<&'p str> {
    match host.pattern {
        HostPattern::Name(name) | HostPattern::Under(name) => Some(name),
        HostPattern::Address(_) | HostPattern::Block(_) => None,
    }
}

/// The ASCII text that a label looks like, where it does.
fn latin_look(label: &str) -> Option<String> {
    let look: String = skeleton(label).collect();
    (look.is_ascii() && look != label).then(|| look.replace("rn", "m"))
}

/// A label with what is not ASCII written as code points beside it.
fn escaped(label: &str) -> String {
    let points: Vec<_> = label
        .chars()
        .filter(|c| !c.is_ascii())
        .map(|c| format!("U+{:04X}", u32::from(c)))
        .collect();
    format!("{label} ({})", points.join(" "))
}
