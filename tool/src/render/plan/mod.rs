//! What is routed, and how: of a policy the hosts and ports that its allow rules name, of a gateway the way
//! for each.
//!
//! A host has one route for each port, whichever rules allow it, and nothing has a route that no allow
//! names. Where rules name more than routes can say, this is told, and the hosts that `ways` of the
//! gateway name among them have routes. A deny rule takes no route away: the filter refuses.
//!
//! The clock is not asked: a rule that has ended keeps its routes, and the filter refuses.

mod obstacle;

pub(crate) use obstacle::{Obstacle, ObstacleKind};

use super::gateway::{Gateway, Way, WayKind};
use crate::cover::{Patterns, widening};
use crate::finding::Finding;
use crate::globs::GlobIndex;
use crate::policy_file::{Destinations, Node, RuleSource, Source, path_of, place_of};
use egress_warden::host::{Host, HostPattern, is_forbidden, is_special};
use egress_warden::policy::{Action, Mode, State};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::net::IpAddr;

/// What is routed, and what is not.
#[derive(Debug)]
pub(crate) struct Plan<'g> {
    /// Sorted by host, then port.
    pub(crate) routes: Vec<Route<'g>>,
    /// Places are those of the policy; in the order of its text.
    pub(crate) obstacles: Vec<Finding<Obstacle>>,
}

/// The way of one host's port.
#[derive(Debug)]
pub(crate) struct Route<'g> {
    pub(crate) host: RouteHost,
    /// What a caller dials, which is what `ports` of a policy sees.
    pub(crate) port: u16,
    /// What the gateway dials.
    pub(crate) target_port: u16,
    pub(crate) way: &'g Way<'g>,
    /// The ids of the rules that may allow it, sorted; none where it passes without one.
    pub(crate) rules: Vec<&'g str>,
}

/// What a route can name, in canonical form.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct RouteHost {
    /// Without `*.`; an IPv6 address in brackets.
    pub(crate) name: Box<str>,
    pub(crate) form: HostForm,
}

/// What the name of a route stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum HostForm {
    Name,
    Address(IpAddr),
    /// Every name below it, at any depth.
    Below,
}

impl Route<'_> {
    /// Whether the names under a wildcard are looked up one by one.
    pub(crate) fn is_looked_up(&self) -> bool {
        self.host.is_wildcard() && self.way.endpoints.is_empty()
    }

    /// `by a, b`: the rules that may allow it, as comments name them.
    pub(crate) fn reason(&self) -> String {
        const SHOWN: usize = 8;
        let shown: Vec<_> = self.rules.iter().copied().take(SHOWN).collect();
        match self.rules.len().saturating_sub(SHOWN) {
            0 if shown.is_empty() => "without a rule".to_owned(),
            0 => format!("by {}", shown.join(", ")),
            others => format!("by {} and {others} others", shown.join(", ")),
        }
    }
}

impl RouteHost {
    fn name(name: &str) -> Self {
        Self { name: name.into(), form: HostForm::Name }
    }

    fn below(name: &str) -> Self {
        Self { name: name.into(), form: HostForm::Below }
    }

    /// As policies write it.
    pub(crate) fn text(&self) -> String {
        let before = if self.is_wildcard() { "*." } else { "" };
        format!("{before}{}", self.name)
    }

    pub(crate) fn is_wildcard(&self) -> bool {
        self.form == HostForm::Below
    }

    /// As a pattern of policies.
    pub(crate) fn pattern(&self) -> HostPattern<'_> {
        match self.form {
            HostForm::Name => HostPattern::Name(&self.name),
            HostForm::Address(address) => HostPattern::Address(address),
            HostForm::Below => HostPattern::Under(&self.name),
        }
    }

    /// What routes can say of a pattern; nothing of globs and blocks.
    fn of(pattern: HostPattern<'_>) -> Vec<Self> {
        match pattern {
            HostPattern::Name(name) => vec![Self::name(name)],
            HostPattern::Under(name) => vec![Self::below(name)],
            HostPattern::Tree(name) => vec![Self::name(name), Self::below(name)],
            HostPattern::Address(address) => {
                let name = Host::Address(address).canonical().into();
                vec![Self { name, form: HostForm::Address(address) }]
            }
            HostPattern::Glob(_) | HostPattern::Block(_) => Vec::new(),
        }
    }
}

impl<'g> Plan<'g> {
    pub(crate) fn of(policy: &'g Source<'g>, gateway: &'g Gateway<'g>) -> Self {
        let claims = Claims::of(policy);
        let mut planner = Planner::new(gateway, &claims);
        let mut hosts: BTreeSet<RouteHost> = claims.own.keys().cloned().collect();
        // Those within a pattern that the gateway describes for themselves.
        for way_host in gateway.ways.iter().flat_map(Way::hosts) {
            for host in RouteHost::of(*way_host) {
                let covering = claims.covering(&host);
                if !covering.is_empty() {
                    planner.described.extend(covering);
                    hosts.insert(host);
                }
            }
        }
        for host in hosts {
            planner.add(&host);
        }
        planner.tell_patterns();
        let Planner { routes, obstacles, .. } = planner;
        let mut obstacles: Vec<_> =
            claims.dry_runs.into_iter().chain(in_order(obstacles)).collect();
        obstacles.sort_by_key(|finding| finding.span.start);
        Self { routes, obstacles }
    }
}

/// What lets hosts pass: an entry of an allow rule, or what holds without a rule.
#[derive(Debug)]
struct Claim<'g> {
    origin: Origin<'g>,
    path: String,
    node: &'g Node,
    /// None: any destination.
    entry: Option<&'g Destinations<'g>>,
    not_hosts: Option<Patterns<'g, HostPattern<'g>>>,
}

/// Why what a claim is about passes.
#[derive(Clone, Copy, Debug)]
enum Origin<'g> {
    /// By the rule of this id.
    Rule(&'g str),
    DefaultAllow,
    Monitor,
}

impl<'g> Claim<'g> {
    fn without_rule(origin: Origin<'g>, key: &str, root: &'g Node) -> Self {
        let node = root.get(key).unwrap_or(root);
        Self { origin, path: format!("$.{key}"), node, entry: None, not_hosts: None }
    }

    /// The patterns that it lists; none: any host.
    fn hosts(&self) -> &'g [HostPattern<'g>] {
        self.entry.and_then(|entry| entry.hosts.as_ref()).map_or(&[], |list| list.patterns())
    }

    fn names_ports(&self) -> bool {
        self.entry.is_some_and(|entry| entry.ports.is_some())
    }

    /// The ports that it allows of a host.
    fn ports(&self, gateway: &Gateway<'_>, host: &HostPattern<'_>) -> Vec<u16> {
        let Some(entry) = self.entry else { return gateway.ports_of(host) };
        let named = entry.ports.as_ref().map(|list| list.patterns().to_vec());
        let mut ports = named.unwrap_or_else(|| gateway.ports_of(host));
        let not_ports = entry.not_ports.as_ref().map_or(&[][..], |list| list.patterns());
        ports.retain(|port| !not_ports.contains(port));
        ports
    }

    /// Whether it asks what is unknown of a connection, so that it allows none.
    fn asks_requests(&self) -> bool {
        self.entry.is_some_and(|entry| {
            let methods = entry.methods.is_some() || entry.not_methods.is_some();
            let paths = entry.paths.is_some() || entry.not_paths.is_some();
            methods || paths || entry.query.is_some() || entry.not_query.is_some()
        })
    }

    fn allows_connect_alone(&self) -> bool {
        let methods = self.entry.and_then(|entry| entry.methods.as_ref());
        methods.is_some_and(|list| list.patterns().iter().all(|method| *method == "CONNECT"))
    }

    /// Where it lists a host, or what stands for the whole of it.
    fn place(&self, item: Option<usize>) -> (String, &'g Node) {
        let hosts = self.entry.and_then(|entry| entry.node.get("hosts"));
        let listed = item.and_then(|item| Some((item, hosts?.items().get(item)?)));
        match listed {
            Some((item, node)) => (format!("{}.hosts[{item}]", self.path), node),
            None => (self.path.clone(), self.node),
        }
    }
}

/// All claims of a policy, found by the hosts that they are about.
#[derive(Debug, Default)]
struct Claims<'g> {
    all: Vec<Claim<'g>>,
    /// Which claims list a pattern.
    listing: HashMap<HostPattern<'g>, Vec<usize>>,
    globs: GlobIndex<'g>,
    /// Those for any host.
    of_any: Vec<usize>,
    /// What claims name in the words of routes, each with the claim and its item.
    own: HashMap<RouteHost, Vec<(usize, usize)>>,
    dry_runs: Vec<Finding<Obstacle>>,
}

impl<'g> Claims<'g> {
    fn of(policy: &'g Source<'g>) -> Self {
        let mut claims = Self::default();
        let is_monitor = policy.settings.mode == Mode::Monitor;
        for rule in policy.rules.iter().filter(|rule| rule.action == Action::Allow) {
            if rule.state == Some(State::DryRun) && !is_monitor {
                claims.add_dry_run(rule);
                continue;
            }
            let origin = Origin::Rule(rule.id);
            if rule.to.is_empty() {
                let (path, node) = (path_of(rule), place_of(rule));
                claims.all.push(Claim { origin, path, node, entry: None, not_hosts: None });
            }
            for (index, entry) in rule.to.iter().enumerate() {
                let path = format!("{}.to[{index}]", path_of(rule));
                let not_hosts = entry.not_hosts.is_some().then(|| Patterns::of(&entry.not_hosts));
                let node = entry.node;
                claims.all.push(Claim { origin, path, node, entry: Some(entry), not_hosts });
            }
        }
        if is_monitor {
            claims.all.push(Claim::without_rule(Origin::Monitor, "mode", policy.root));
        } else if policy.settings.default == Action::Allow {
            claims.all.push(Claim::without_rule(Origin::DefaultAllow, "default", policy.root));
        }
        claims.index();
        claims
    }

    fn add_dry_run(&mut self, rule: &RuleSource<'g>) {
        let lists = rule.to.iter().filter_map(|entry| entry.node.get("hosts"));
        let hosts = lists.flat_map(Node::items).filter_map(Node::text).map(str::to_owned);
        let obstacle =
            Obstacle { kind: ObstacleKind::DryRun, hosts: hosts.collect(), is_note: true };
        let node = place_of(rule);
        self.dry_runs.push(Finding {
            path: path_of(rule),
            span: node.span.clone(),
            kind: obstacle,
        });
    }

    fn index(&mut self) {
        for (place, claim) in self.all.iter().enumerate() {
            if claim.hosts().is_empty() {
                self.of_any.push(place);
            }
            for (item, pattern) in claim.hosts().iter().enumerate() {
                self.listing.entry(*pattern).or_default().push(place);
                for host in RouteHost::of(*pattern) {
                    self.own.entry(host).or_default().push((place, item));
                }
            }
        }
        self.globs = GlobIndex::of_hosts(self.listing.keys());
    }

    /// The claims that are about all that a route's host stands for, sorted. A special name or an address
    /// must be named.
    fn covering(&self, host: &RouteHost) -> BTreeSet<usize> {
        // Whatever is below such a name is special, so no wildcard names any of it.
        if host.is_wildcard() && is_special(&format!("a.{}", host.name)) {
            return BTreeSet::new();
        }
        let pattern = host.pattern();
        let is_wide = |pattern: &HostPattern<'_>| match (*pattern, host.form) {
            (HostPattern::Block(block), HostForm::Address(address)) => {
                is_forbidden(address) && !block.is_within_forbidden_range()
            }
            (wider, HostForm::Name) => wider != host.pattern() && is_special(&host.name),
            _ => false,
        };
        let widths = widening(pattern).filter(|wider| !is_wide(wider));
        let mut found: BTreeSet<usize> =
            widths.filter_map(|wider| self.listing.get(&wider)).flatten().copied().collect();
        if !is_special(&host.name) {
            for glob in self.globs.covering(pattern) {
                let listing = self.listing.get(&HostPattern::Glob(glob));
                found.extend(listing.into_iter().flatten());
            }
            found.extend(&self.of_any);
        }
        found.retain(|place| {
            let not_hosts = self.all.get(*place).and_then(|claim| claim.not_hosts.as_ref());
            not_hosts.is_none_or(|not_hosts| !not_hosts.covers(&pattern))
        });
        found
    }

    fn at(&self, places: &BTreeSet<usize>) -> Vec<(usize, &Claim<'g>)> {
        places.iter().filter_map(|place| Some((*place, self.all.get(*place)?))).collect()
    }
}

/// What was found to have no route, by the claim and the reason; each host with its place.
type Obstacles<'g> = BTreeMap<(usize, ObstacleKind, bool), Vec<(String, (String, &'g Node))>>;

/// Finds the way of one host after the other.
struct Planner<'c, 'g> {
    gateway: &'g Gateway<'g>,
    claims: &'c Claims<'g>,
    /// The claims of which `ways` name some hosts.
    described: HashSet<usize>,
    routes: Vec<Route<'g>>,
    obstacles: Obstacles<'g>,
}

impl<'c, 'g> Planner<'c, 'g> {
    fn new(gateway: &'g Gateway<'g>, claims: &'c Claims<'g>) -> Self {
        let described = HashSet::new();
        Self { gateway, claims, described, routes: Vec::new(), obstacles: BTreeMap::new() }
    }

    /// Adds the routes of a host, and what keeps it from having others.
    fn add(&mut self, host: &RouteHost) {
        let pattern = host.pattern();
        let claims = self.claims.at(&self.claims.covering(host));
        let mut by_port: BTreeMap<u16, Vec<(usize, &Claim<'g>)>> = BTreeMap::new();
        let mut without_ports = Vec::new();
        for (place, claim) in claims {
            if claim.allows_connect_alone() {
                self.tell(host, &[(place, claim)], ObstacleKind::ConnectOnly, false);
                continue;
            }
            let ports = claim.ports(self.gateway, &pattern);
            if ports.is_empty() {
                without_ports.push((place, claim));
            }
            for port in ports {
                by_port.entry(port).or_default().push((place, claim));
            }
        }
        let (mut unknown, mut requests, mut nameless) = (Lost::new(), Lost::new(), Lost::new());
        let before = self.routes.len();
        for (port, claims) in by_port {
            let Some(way) = self.gateway.way(&pattern, port) else {
                claims.iter().for_each(|it| unknown.entry(it.0).or_default().push(port));
                continue;
            };
            let admitting: Vec<_> = claims
                .iter()
                .filter(|(_, claim)| way.kind != WayKind::Passthrough || !claim.asks_requests())
                .collect();
            if way.kind == WayKind::Passthrough && matches!(host.form, HostForm::Address(_)) {
                claims.iter().for_each(|it| nameless.entry(it.0).or_default().push(port));
                continue;
            }
            if admitting.is_empty() {
                claims.iter().for_each(|it| requests.entry(it.0).or_default().push(port));
                continue;
            }
            let rules = admitting.iter().filter_map(|(_, claim)| claim.origin.rule());
            let rules = rules.collect::<BTreeSet<_>>().into_iter().collect();
            let target_port = way.target_port(port);
            self.routes.push(Route { host: host.clone(), port, target_port, way, rules });
        }
        let has_routes = self.routes.len() > before;
        if !has_routes {
            self.tell(host, &without_ports, ObstacleKind::NoWay { ports: Vec::new() }, false);
        }
        self.tell_lost(host, unknown, |ports| ObstacleKind::NoWay { ports }, false);
        self.tell_lost(host, requests, |ports| ObstacleKind::RequestsOnly { ports }, has_routes);
        self.tell_lost(host, nameless, |ports| ObstacleKind::NoServerName { ports }, has_routes);
    }

    /// Ports that each claim loses. Where it named none and the host has others, this is a note.
    fn tell_lost(
        &mut self,
        host: &RouteHost,
        lost: Lost,
        kind: fn(Vec<u16>) -> ObstacleKind,
        has_routes: bool,
    ) {
        for (place, ports) in lost {
            let Some(claim) = self.claims.all.get(place) else { continue };
            let is_note = has_routes && !claim.names_ports();
            self.tell(host, &[(place, claim)], kind(ports), is_note);
        }
    }

    /// Tells it of the claims that name the host, which are to be mended; where none does, of all.
    fn tell(
        &mut self,
        host: &RouteHost,
        claims: &[(usize, &Claim<'g>)],
        kind: ObstacleKind,
        is_note: bool,
    ) {
        let own = self.claims.own.get(host);
        for (place, claim) in claims {
            let item = own.and_then(|own| own.iter().find(|(own, _)| own == place));
            if own.is_some() && item.is_none() {
                continue;
            }
            let told = self.obstacles.entry((*place, kind.clone(), is_note)).or_default();
            told.push((host.text(), claim.place(item.map(|(_, item)| *item))));
        }
    }

    /// Tells what claims say that no route can.
    fn tell_patterns(&mut self) {
        for (place, claim) in self.claims.all.iter().enumerate() {
            let is_described = self.described.contains(&place);
            for (item, pattern) in claim.hosts().iter().enumerate() {
                let kind = match pattern {
                    HostPattern::Glob(_) => ObstacleKind::Glob,
                    HostPattern::Block(_) => ObstacleKind::Block,
                    _ => continue,
                };
                let (path, node) = claim.place(Some(item));
                let text = node.text().unwrap_or_default().to_owned();
                let told = self.obstacles.entry((place, kind, is_described)).or_default();
                told.push((text, (path, node)));
            }
            if claim.hosts().is_empty() {
                let (kind, is_note) = match claim.origin {
                    Origin::Rule(_) => (ObstacleKind::AnyHost, is_described),
                    Origin::DefaultAllow => (ObstacleKind::DefaultAllow, true),
                    Origin::Monitor => (ObstacleKind::Monitor, true),
                };
                let told = self.obstacles.entry((place, kind, is_note)).or_default();
                told.push((String::new(), claim.place(None)));
            }
        }
    }
}

/// Ports by the claim that loses them.
type Lost = BTreeMap<usize, Vec<u16>>;

impl<'g> Origin<'g> {
    fn rule(self) -> Option<&'g str> {
        match self {
            Self::Rule(id) => Some(id),
            Self::DefaultAllow | Self::Monitor => None,
        }
    }
}

/// One finding for each claim and reason, at the first of its hosts.
fn in_order(obstacles: Obstacles<'_>) -> impl Iterator<Item = Finding<Obstacle>> {
    obstacles.into_iter().filter_map(|((_, kind, is_note), mut told)| {
        told.sort_by_key(|(_, (_, node))| node.span.start);
        let (_, (path, node)) = told.first()?;
        let (path, span) = (path.clone(), node.span.clone());
        let hosts = told.into_iter().map(|(host, _)| host).filter(|host| !host.is_empty());
        Some(Finding { path, span, kind: Obstacle { kind, hosts: hosts.collect(), is_note } })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy_file::PolicyFile;
    use crate::render::gateway::GatewayFile;

    /// The routes, as `HOST:PORT WAY TARGET RULES`, and what is told, as `WORD PATH HOSTS`.
    fn planned(policy: &str, ways: &str) -> (Vec<String>, Vec<String>) {
        let policy = format!("policy: t\n{policy}");
        let file = PolicyFile::of_text("p".to_owned(), policy, false);
        let errors = file.config().err().map(|errors| format!("{errors:?}"));
        assert_eq!(errors, None);
        let source = file.source().unwrap();
        let description = match ways {
            "" => GatewayFile::default(),
            ways => GatewayFile::of_text(
                "g",
                &format!(
                    "apiVersion: egress-warden.dev/v1alpha1\nkind: EgressGateway\n\
                     metadata: {{name: e, namespace: ns}}\nspec: {{ways: [{ways}]}}\n"
                ),
            ),
        };
        let gateway = description.gateway().unwrap();
        let Plan { routes, obstacles } = Plan::of(&source, &gateway);
        let routes = routes.iter().map(|it| {
            let (host, way) = (it.host.text(), it.way.kind.as_str());
            format!("{host}:{} {way} {} {}", it.port, it.target_port, it.rules.join(","))
        });
        let told = obstacles.iter().map(|it| {
            let Obstacle { kind, hosts, is_note } = &it.kind;
            let mark = if *is_note { "" } else { "!" };
            format!("{mark}{} {} {}", kind.word(), it.path, hosts.join(","))
        });
        (routes.map(|it| it.trim_end().to_owned()).collect(), told.collect())
    }

    #[track_caller]
    fn assert_plan(policy: &str, ways: &str, routes: &[&str], told: &[&str]) {
        let (found_routes, found_told) = planned(policy, ways);
        assert_eq!(found_routes, routes, "{policy}");
        assert_eq!(found_told, told, "{policy}");
    }

    #[test]
    fn a_host_has_one_route_for_each_port_whichever_rules_allow_it() {
        assert_plan(
            "rules:\n\
             - {id: b, action: allow, to: [{hosts: [x.test, .y.test]}]}\n\
             - {id: a, action: allow, to: [{hosts: [x.test], ports: [80]}, {hosts: [\"*.y.test\"], ports: [443]}]}\n\
             - {id: c, action: deny, to: [{hosts: [x.test, z.test]}]}\n",
            "",
            &[
                "x.test:80 originate 443 a,b",
                "x.test:443 passthrough 443 b",
                "y.test:80 originate 443 b",
                "y.test:443 passthrough 443 b",
                "*.y.test:80 originate 443 b",
                "*.y.test:443 passthrough 443 a,b",
            ],
            &[],
        );
    }

    #[test]
    fn the_first_way_that_fits_is_taken() {
        let policy = "rules: [{id: a, action: allow, to: [{hosts: [x.test, y.test]}]}]";
        assert_plan(policy, "{way: http}", &["x.test:80 http 80 a", "y.test:80 http 80 a"], &[]);
        assert_plan(
            policy,
            "{hosts: [x.test], way: http, ports: [80, 8080], targetPort: 81}, {way: originate}",
            &["x.test:80 http 81 a", "x.test:8080 http 81 a", "y.test:80 originate 443 a"],
            &[],
        );
    }

    #[test]
    fn a_host_that_a_way_names_within_a_pattern_has_a_route_of_its_own() {
        assert_plan(
            "rules: [{id: a, action: allow, to: [{hosts: [\"*.x.test\"], ports: [80], notHosts: [c.x.test]}]}]",
            "{hosts: [a.x.test, \"*.b.x.test\", c.x.test, x.test, z.test], way: http}, {way: originate}",
            &["a.x.test:80 http 80 a", "*.b.x.test:80 http 80 a", "*.x.test:80 originate 443 a"],
            &[],
        );
    }

    #[test]
    fn what_no_route_can_say_is_told_and_what_ways_name_of_it_is_routed() {
        let policy = "rules:\n\
                      - {id: a, action: allow, to: [{hosts: [\"api-*.x.test\", 203.0.113.0/24], ports: [80]}]}\n\
                      - {id: b, action: allow, to: [{ports: [80]}]}\n";
        let told = [
            "!glob $.rules[0].to[0].hosts[0] api-*.x.test",
            "!block $.rules[0].to[0].hosts[1] 203.0.113.0/24",
            "!any-host $.rules[1].to[0] ",
        ];
        assert_plan(policy, "", &[], &told);
        assert_plan(
            policy,
            "{hosts: [api-1.x.test, 203.0.113.7, y.test, localhost, 192.0.2.1], way: http}",
            &["203.0.113.7:80 http 80 a", "api-1.x.test:80 http 80 a,b", "y.test:80 http 80 b"],
            &told.map(|it| it.trim_start_matches('!')),
        );
    }

    #[test]
    fn a_rule_about_requests_allows_no_connection() {
        // Where it names the port, it loses what it names.
        assert_plan(
            "rules: [{id: a, action: allow, to: [{hosts: [x.test, y.test], ports: [80, 443], methods: [GET]}]}]",
            "",
            &["x.test:80 originate 443 a", "y.test:80 originate 443 a"],
            &["!requests-only $.rules[0].to[0].hosts[0] x.test,y.test"],
        );
        assert_plan(
            "rules: [{id: a, action: allow, to: [{hosts: [x.test], notPaths: [/a]}]}]",
            "",
            &["x.test:80 originate 443 a"],
            &["requests-only $.rules[0].to[0].hosts[0] x.test"],
        );
        // Another rule allows the connection.
        assert_plan(
            "rules:\n- {id: a, action: allow, to: [{hosts: [x.test], ports: [443], query: {q: [a]}}]}\n\
             - {id: b, action: allow, to: [{hosts: [x.test], ports: [443]}]}\n",
            "",
            &["x.test:443 passthrough 443 b"],
            &[],
        );
    }

    #[test]
    fn what_has_no_way_is_told() {
        assert_plan(
            "rules: [{id: a, action: allow, to: [{hosts: [x.test, y.test], ports: [80, 8080, 9090]}]}]",
            "",
            &["x.test:80 originate 443 a", "y.test:80 originate 443 a"],
            &["!no-way $.rules[0].to[0].hosts[0] x.test,y.test"],
        );
        assert_plan(
            "rules: [{id: a, action: allow, to: [{hosts: [x.test, y.test]}]}]",
            "{hosts: [x.test], way: http}",
            &["x.test:80 http 80 a"],
            &["!no-way $.rules[0].to[0].hosts[1] y.test"],
        );
        assert_plan(
            "rules: [{id: a, action: allow, to: [{hosts: [x.test], methods: [CONNECT]}, {hosts: [y.test], methods: [CONNECT, GET]}]}]",
            "",
            &["y.test:80 originate 443 a"],
            &[
                "!connect-only $.rules[0].to[0].hosts[0] x.test",
                "requests-only $.rules[0].to[1].hosts[0] y.test",
            ],
        );
    }

    #[test]
    fn an_address_has_no_server_name() {
        assert_plan(
            "rules: [{id: a, action: allow, to: [{hosts: [192.0.2.1, \"[2001:db8::1]\"]}, {hosts: [192.0.2.2], ports: [443]}]}]",
            "",
            &["192.0.2.1:80 originate 443 a", "[2001:db8::1]:80 originate 443 a"],
            &[
                "no-server-name $.rules[0].to[0].hosts[0] 192.0.2.1,[2001:db8::1]",
                "!no-server-name $.rules[0].to[1].hosts[0] 192.0.2.2",
            ],
        );
    }

    #[test]
    fn ports_that_a_rule_excludes_have_no_route() {
        assert_plan(
            "rules: [{id: a, action: allow, to: [{hosts: [x.test], notPorts: [443]}]}]",
            "",
            &["x.test:80 originate 443 a"],
            &[],
        );
    }

    #[test]
    fn what_is_in_force_is_routed() {
        let rules = "rules:\n\
                     - {id: a, action: allow, state: dry-run, to: [{hosts: [x.test], ports: [80]}]}\n\
                     - {id: b, action: allow, state: retiring, to: [{hosts: [y.test], ports: [80]}]}\n\
                     - {id: c, action: allow, until: \"2020-01-01T00:00:00Z\", to: [{hosts: [z.test], ports: [80]}]}\n";
        let (b, c) = ("y.test:80 originate 443 b", "z.test:80 originate 443 c");
        assert_plan(rules, "", &[b, c], &["dry-run $.rules[0] x.test"]);
        // Every port passes.
        let monitor = format!("mode: monitor\n{rules}");
        let ways = "{way: originate}, {hosts: [x.test], way: passthrough}";
        let routes = ["x.test:80 originate 443 a", "x.test:443 passthrough 443", b, c];
        assert_plan(&monitor, ways, &routes, &["monitor $.mode "]);
    }

    #[test]
    fn by_default_allow_the_hosts_that_ways_name_are_routed() {
        let policy = "default: allow\nrules: [{id: d, action: deny, to: [{hosts: [x.test]}]}]\n";
        assert_plan(policy, "", &[], &["default-allow $.default "]);
        let ways = "{hosts: [y.test, metadata.google.internal], way: http}";
        assert_plan(policy, ways, &["y.test:80 http 80"], &["default-allow $.default "]);
    }

    #[test]
    fn a_special_name_has_a_route_only_where_a_rule_names_it() {
        let ways = "{hosts: [metadata.google.internal], way: http}, {way: http}";
        let under = "rules: [{id: a, action: allow, to: [{hosts: [\".google.internal\"]}]}]";
        let internal = ["google.internal:80 http 80 a", "*.google.internal:80 http 80 a"];
        assert_plan(under, ways, &internal, &[]);
        let named = "rules: [{id: a, action: allow, to: [{hosts: [metadata.google.internal]}]}]";
        assert_plan(named, ways, &["metadata.google.internal:80 http 80 a"], &[]);
        let below = "rules: [{id: a, action: allow, to: [{hosts: [\"*.x.localhost\"]}]}]";
        assert_plan(below, ways, &[], &[]);
        // A tree names no special name, though it is its apex.
        let tree = "rules: [{id: a, action: allow, to: [{hosts: [.metadata.google.internal]}]}]";
        assert_plan(tree, ways, &["*.metadata.google.internal:80 http 80 a"], &[]);
    }
}
