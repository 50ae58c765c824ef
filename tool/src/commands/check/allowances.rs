//! Which allow rules let something pass to a host.

use super::denials::MOST;
use super::{Surroundings, contradictions};
use crate::cover::{Patterns, widening};
use crate::globs::GlobIndex;
use crate::policy_file::{Destinations, RuleSource, Source};
use egress_warden::host::{HostPattern, is_special};
use egress_warden::policy::Action;
use std::collections::HashMap;

/// The entries of allow rules that let something pass, found by the hosts that they list.
pub(super) struct Allowances<'p> {
    /// What `notHosts` takes out of each.
    spared: Vec<Patterns<'p, HostPattern<'p>>>,
    /// Places in `spared`.
    by_host: HashMap<HostPattern<'p>, Vec<usize>>,
    /// The globs among these hosts.
    globs: GlobIndex<'p>,
    /// Those without hosts.
    of_any_host: Vec<usize>,
    /// Whether hosts pass that no rule lists.
    is_default: bool,
}

impl<'p> Allowances<'p> {
    pub(super) fn of(policy: &'p Source<'p>, surroundings: Surroundings) -> Self {
        let settings = &policy.settings;
        let mut all = Self {
            spared: Vec::new(),
            by_host: HashMap::new(),
            globs: GlobIndex::default(),
            of_any_host: Vec::new(),
            is_default: settings.default == Action::Allow,
        };
        if settings.identity_required && !surroundings.has_mutual_tls {
            all.is_default = false;
            return all;
        }
        let allowing = policy.rules.iter().filter(|rule| rule.action == Action::Allow);
        for rule in allowing.filter(|rule| matches_someone(rule, policy, surroundings)) {
            if rule.to.is_empty() {
                all.of_any_host.push(all.spared.len());
                all.spared.push(Patterns::of(&None));
            }
            rule.to
                .iter()
                .filter(|it| matches_something(it, surroundings))
                .for_each(|it| all.add(it));
        }
        all.globs = GlobIndex::of_hosts(all.by_host.keys());
        for places in all.by_host.values_mut().chain([&mut all.of_any_host]) {
            places.truncate(MOST);
        }
        all
    }

    fn add(&mut self, entry: &'p Destinations<'p>) {
        let place = self.spared.len();
        self.spared.push(Patterns::of(&entry.not_hosts));
        let Some(hosts) = &entry.hosts else { return self.of_any_host.push(place) };
        for host in hosts.patterns() {
            let places = self.by_host.entry(*host).or_default();
            if places.last() != Some(&place) {
                places.push(place);
            }
        }
    }

    /// Whether some request to a name passes, as far as no deny rule speaks of it.
    pub(super) fn let_pass_to(&self, name: &str) -> bool {
        let host = HostPattern::Name(name);
        if is_special(name) {
            // No wildcard names it.
            return self.lists(host, host);
        }
        self.is_default
            || self.any(&self.of_any_host, host)
            || widening(host).any(|listed| self.lists(listed, host))
            || self.globs.matching(name).iter().any(|it| self.lists(HostPattern::Glob(*it), host))
    }

    /// Whether an entry that lists this pattern lets the host pass.
    fn lists(&self, pattern: HostPattern<'_>, host: HostPattern<'_>) -> bool {
        self.by_host.get(&pattern).is_some_and(|places| self.any(places, host))
    }

    fn any(&self, places: &[usize], host: HostPattern<'_>) -> bool {
        let lets_pass = |place: &usize| self.spared.get(*place).is_some_and(|it| !it.covers(&host));
        places.iter().any(lets_pass)
    }
}

/// Whether an allow rule matches any caller, now or later.
fn matches_someone(rule: &RuleSource<'_>, policy: &Source<'_>, surroundings: Surroundings) -> bool {
    let is_caller = |it| contradictions::of_caller(it, Action::Allow, &policy.settings).is_none();
    let has_caller = surroundings.has_mutual_tls && rule.from.iter().any(is_caller);
    (rule.from.is_empty() || has_caller)
        && !contradictions::is_left_out(rule, &policy.settings, surroundings)
}

/// Whether an entry of an allow rule matches any destination.
fn matches_something(entry: &Destinations<'_>, surroundings: Surroundings) -> bool {
    contradictions::of_destination(entry, Action::Allow).is_none()
        && !(surroundings.judges_connections
            && contradictions::hidden_by_tls(entry).next().is_some())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy_file::PolicyFile;
    use egress_warden::place::Place;
    use egress_warden::time::Time;

    #[test]
    fn an_allow_lets_pass_to_what_its_patterns_match() {
        let surroundings = Surroundings {
            at: Time::EPOCH,
            is_dynamic_forward_proxy: false,
            has_mutual_tls: true,
            judges_connections: false,
            place: Place::Gateway,
        };
        for (entry, passes) in [
            ("hosts: [api-1.a.test]", true),
            ("hosts: ['api-*.a.test']", true),
            ("hosts: [x.test, '*.b.a.test', '*-1.a.test']", true),
            ("hosts: ['api-*.a.test'], notHosts: ['*-1.a.test']", false),
            ("hosts: ['api-2*.a.test']", false),
        ] {
            let text =
                format!("policy: t\nrules:\n- {{id: a, action: allow, to: [{{{entry}}}]}}\n");
            let file = PolicyFile::of_text("p".to_owned(), text, false);
            let policy = file.source().unwrap_or_else(|| panic!("{:?}", file.config()));
            let allowances = Allowances::of(&policy, surroundings);
            assert_eq!(allowances.let_pass_to("api-1.a.test"), passes, "{entry}");
        }
    }
}
