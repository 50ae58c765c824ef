//! Which deny rules speak of a host, and which of them cover what an allow rule allows.

use crate::cover::{CallerDemands, Demands, widening};
use crate::globs::GlobIndex;
use crate::policy_file::{Destinations, RuleSource, Source};
use egress_warden::host::HostPattern;
use egress_warden::policy::Action;
use std::collections::{BTreeSet, HashMap};

/// Of so many deny entries for one host, and of so many for any host, those with the fewest conditions
/// are asked: what an answer costs does not grow with the policy. The others are seldom any that covers
/// more.
pub(super) const MOST: usize = 64;

/// The entries of deny rules, found by the hosts that they list.
pub(super) struct Denials<'p> {
    all: Vec<Denial<'p>>,
    /// Places in `all`.
    by_host: HashMap<HostPattern<'p>, Vec<usize>>,
    /// The globs among these hosts.
    globs: GlobIndex<'p>,
    /// Those without hosts.
    of_any_host: Vec<usize>,
    /// The callers of each deny rule, by its position.
    callers: HashMap<usize, Vec<CallerDemands<'p>>>,
    /// Every port that some rule of the policy leaves out.
    not_ports: Vec<u16>,
}

struct Denial<'p> {
    rule: &'p RuleSource<'p>,
    /// Absent where the rule has no `to`.
    demands: Option<Demands<'p>>,
}

impl Denial<'_> {
    /// How much it asks.
    fn conditions(&self) -> usize {
        let rule = self.rule;
        let of_rule =
            [!rule.from.is_empty(), rule.state.is_some(), rule.until.is_some()].map(usize::from);
        let of_entry = self.demands.as_ref().map_or(0, Demands::count);
        of_rule.iter().sum::<usize>().saturating_add(of_entry)
    }
}

impl<'p> Denials<'p> {
    pub(super) fn of(policy: &'p Source<'p>) -> Self {
        let mut denials = Self {
            all: Vec::new(),
            by_host: HashMap::new(),
            globs: GlobIndex::default(),
            of_any_host: Vec::new(),
            callers: HashMap::new(),
            not_ports: not_ports(policy),
        };
        for rule in policy.rules.iter().filter(|rule| rule.action == Action::Deny) {
            let callers = rule.from.iter().take(MOST).map(CallerDemands::of).collect();
            denials.callers.insert(rule.index, callers);
            if rule.to.is_empty() {
                denials.add(Denial { rule, demands: None }, None);
            }
            for entry in &rule.to {
                let hosts = entry.hosts.as_ref().map(|hosts| hosts.patterns());
                denials.add(Denial { rule, demands: Some(Demands::of(entry)) }, hosts);
            }
        }
        denials.globs = GlobIndex::of_hosts(denials.by_host.keys());
        let Self { all, by_host, of_any_host, .. } = &mut denials;
        for list in by_host.values_mut().chain([of_any_host]) {
            if list.len() > MOST {
                list.sort_by_key(|place| all.get(*place).map(Denial::conditions));
                list.truncate(MOST);
            }
        }
        denials
    }

    /// Adds a deny entry of these hosts; of any host where there are none.
    fn add(&mut self, denial: Denial<'p>, hosts: Option<&[HostPattern<'p>]>) {
        let place = self.all.len();
        self.all.push(denial);
        let Some(hosts) = hosts else { return self.of_any_host.push(place) };
        for host in hosts {
            let places = self.by_host.entry(*host).or_default();
            if places.last() != Some(&place) {
                places.push(place);
            }
        }
    }

    /// Asks of one allow rule.
    pub(super) fn against(&self, rule: &'p RuleSource<'p>) -> Covering<'_, 'p> {
        let callers = rule.from.iter().map(CallerDemands::of).collect();
        Covering {
            denials: self,
            rule,
            callers,
            by_rule: HashMap::new(),
            by_denial: HashMap::new(),
        }
    }

    /// Whether a deny rule lists a host, whatever else it asks.
    pub(super) fn speak_of(&self, host: HostPattern<'_>) -> bool {
        !self.of_any_host.is_empty()
            || widening(host).any(|it| self.by_host.contains_key(&it))
            || !self.globs.covering(host).is_empty()
    }
}

/// The deny rules that cover an allow rule. What does not depend on the host is asked once.
pub(super) struct Covering<'d, 'p> {
    denials: &'d Denials<'p>,
    rule: &'p RuleSource<'p>,
    callers: Vec<CallerDemands<'p>>,
    /// Whether a deny rule covers the rule's callers and time.
    by_rule: HashMap<usize, bool>,
    /// Whether a deny entry covers the demands of the entry that is asked of.
    by_denial: HashMap<usize, bool>,
}

impl<'p> Covering<'_, 'p> {
    /// For each host of an entry of the rule, or once for one without hosts: position and id of a deny
    /// rule that matches whatever it matches. No entry: any destination.
    pub(super) fn of_entry(
        &mut self,
        entry: Option<&'p Destinations<'p>>,
    ) -> Vec<Option<(usize, &'p str)>> {
        self.of_demands(entry, entry.map(Demands::of).as_ref())
    }

    /// Whether deny rules match all that an entry without `ports` matches, but for ports that the policy
    /// names in `notPorts`.
    pub(super) fn leaves_few_ports_of(&mut self, entry: Option<&'p Destinations<'p>>) -> bool {
        let denials = self.denials;
        let demands = entry.map_or_else(Demands::any, Demands::of);
        let demands = demands.outside_ports(&denials.not_ports);
        self.of_demands(entry, Some(&demands)).iter().all(Option::is_some)
    }

    fn of_demands(
        &mut self,
        entry: Option<&'p Destinations<'p>>,
        demands: Option<&Demands<'_>>,
    ) -> Vec<Option<(usize, &'p str)>> {
        self.by_denial.clear();
        match entry.and_then(|entry| entry.hosts.as_ref()) {
            None => vec![self.of_host(demands, None)],
            Some(hosts) => {
                hosts.patterns().iter().map(|host| self.of_host(demands, Some(*host))).collect()
            }
        }
    }

    fn of_host(
        &mut self,
        demands: Option<&Demands<'_>>,
        host: Option<HostPattern<'_>>,
    ) -> Option<(usize, &'p str)> {
        let denials = self.denials;
        let by_suffix = host.into_iter().flat_map(widening);
        let by_glob = host.map(|host| denials.globs.covering(host)).unwrap_or_default();
        let by_glob = by_glob.into_iter().take(MOST).map(HostPattern::Glob);
        let listed =
            by_suffix.chain(by_glob).filter_map(|host| denials.by_host.get(&host)).flatten();
        let mut places = listed.chain(&denials.of_any_host);
        let place = places.find(|place| self.covers(**place, demands, host))?;
        denials.all.get(*place).map(|denial| (denial.rule.index, denial.rule.id))
    }

    /// Whether a deny entry that lists the host covers the rest, too.
    fn covers(
        &mut self,
        place: usize,
        demands: Option<&Demands<'_>>,
        host: Option<HostPattern<'_>>,
    ) -> bool {
        let Some(denial) = self.denials.all.get(place) else { return false };
        let by_rule = self.by_rule.get(&denial.rule.index).copied();
        let is_by_rule = by_rule.unwrap_or_else(|| self.rule_covers(denial.rule));
        self.by_rule.insert(denial.rule.index, is_by_rule);
        let Some(by) = denial.demands.as_ref().filter(|_| is_by_rule) else { return is_by_rule };
        let Some(demands) = demands else { return false };
        *self.by_denial.entry(place).or_insert_with(|| by.cover(demands))
            && by.spare_none_of(host, demands)
    }

    /// Whether a deny rule counts wherever this rule does, as long, and for all of its callers.
    fn rule_covers(&self, by: &RuleSource<'_>) -> bool {
        let counts_wherever = by.state.is_none() || by.state == self.rule.state;
        let lasts = by.until.is_none()
            || matches!((by.until, self.rule.until), (Some(deny), Some(allow)) if allow <= deny);
        let covering = self.denials.callers.get(&by.index).map_or(&[][..], Vec::as_slice);
        let has_callers = by.from.is_empty()
            || !self.callers.is_empty()
                && self.callers.iter().all(|from| covering.iter().any(|by| by.cover(from)));
        counts_wherever && lasts && has_callers
    }
}

/// Without repetitions.
fn not_ports(policy: &Source<'_>) -> Vec<u16> {
    let entries = policy.rules.iter().flat_map(|rule| &rule.to);
    let ports = entries.filter_map(|entry| entry.not_ports.as_ref());
    let ports: BTreeSet<u16> = ports.flat_map(|ports| ports.patterns()).copied().collect();
    ports.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy_file::PolicyFile;

    /// The ids of the deny rules that cover the hosts of the rule `a`.
    fn covering(rules: &[String]) -> Vec<Option<String>> {
        let text = format!("policy: t\nrules:\n{}\n", rules.join("\n"));
        let file = PolicyFile::of_text("p".to_owned(), text, false);
        let policy = file.source().unwrap_or_else(|| panic!("{:?}", file.config()));
        let denials = Denials::of(&policy);
        let rule = policy.rules.iter().find(|rule| rule.id == "a").expect("a rule");
        let by = denials.against(rule).of_entry(rule.to.first());
        by.into_iter().map(|by| by.map(|(_, id)| id.to_owned())).collect()
    }

    #[test]
    fn a_host_is_covered_by_what_lists_it_and_spares_nothing_of_it() {
        let a = "- {id: a, action: allow, to: [{hosts: [a.z.test, '*.b.z.test', b.z.test, 8.8.8.8], ports: [443]}]}";
        for (deny, covered) in [
            ("hosts: [a.z.test]", [true, false, false, false]),
            ("hosts: ['*.z.test']", [true, true, true, false]),
            ("hosts: ['*.b.z.test', '8.8.0.0/16']", [false, true, false, true]),
            ("hosts: ['*.z.test'], ports: [80, 443]", [true, true, true, false]),
            ("hosts: ['*.z.test'], ports: [80]", [false; 4]),
            ("hosts: ['*.z.test'], notPorts: [80]", [true, true, true, false]),
            ("hosts: ['*.z.test'], notHosts: [a.z.test]", [false, false, true, false]),
            ("hosts: ['a*.z.test', '*.b*.z.test']", [true, true, false, false]),
            ("hosts: ['*b.z.test'], ports: [443]", [false, false, true, false]),
            ("hosts: ['b*.z.test'], notHosts: [b.z.test]", [false; 4]),
            ("ports: [443]", [true; 4]),
            ("notHosts: [x.b.z.test]", [true, false, true, true]),
        ] {
            let deny = format!("- {{id: d, action: deny, to: [{{{deny}}}]}}");
            let told = covering(&[a.to_owned(), deny.clone()]);
            let told: Vec<_> = told.iter().map(Option::is_some).collect();
            assert_eq!(told, covered, "{deny}");
        }
    }

    #[test]
    fn of_many_deny_rules_for_a_host_the_widest_are_asked() {
        let narrow = |it: usize| {
            let entry = format!("hosts: [a.test], ports: [443], methods: [X{it}]");
            format!("- {{id: n{it}, action: deny, to: [{{{entry}}}]}}")
        };
        let wide = "- {id: wide, action: deny, to: [{hosts: [a.test], ports: [443]}]}".to_owned();
        let a = "- {id: a, action: allow, to: [{hosts: [a.test], ports: [443]}]}".to_owned();
        let rules: Vec<_> = (0..=MOST).map(narrow).chain([wide, a]).collect();
        assert_eq!(covering(&rules), [Some("wide".to_owned())]);
    }

    #[test]
    fn a_deny_of_all_other_ports_leaves_few_to_an_allow_without_ports() {
        let a = "- {id: a, action: allow, to: [{hosts: [a.test, b.test], notPorts: [22]}]}";
        for (deny, leaves_few) in [
            ("{notPorts: [443]}", true),
            ("{notPorts: [443, 8443], notHosts: [c.test]}", true),
            ("{notPorts: [443], notHosts: [b.test]}", false),
            ("{hosts: [a.test], notPorts: [443]}, {hosts: [b.test], notPorts: [80]}", true),
            ("{hosts: [a.test], notPorts: [443]}", false),
            ("{notPorts: [443], methods: [GET]}", false),
            ("{ports: [80]}", false),
        ] {
            let text = format!("policy: t\nrules:\n{a}\n- {{id: d, action: deny, to: [{deny}]}}\n");
            let file = PolicyFile::of_text("p".to_owned(), text, false);
            let policy = file.source().unwrap_or_else(|| panic!("{:?}", file.config()));
            let (denials, rule) = (Denials::of(&policy), &policy.rules[0]);
            let told = denials.against(rule).leaves_few_ports_of(rule.to.first());
            assert_eq!(told, leaves_few, "{deny}");
        }
    }
}
