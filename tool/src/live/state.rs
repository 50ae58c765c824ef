//! What was seen so far, as plain data.

use super::counters::{Counted, Snapshot};
use super::meter::{Meter, Tops, Window};
use crate::failure::Failure;
use crate::judgement::Judgement;
use crate::logs::{BY_MESH, Ending, Logged, LoggedVerdict, shown_text};
use crate::opening::Opening;
use egress_warden::policy::{Action, Dialled, Reads, Request};
use egress_warden::root_id::Connections;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Both sources, as far as they are watched.
#[derive(Debug, Default)]
pub(crate) struct State {
    pub(crate) counters: Option<Counters>,
    pub(crate) log: Option<Log>,
}

/// What the counters of a proxy say.
#[derive(Debug)]
pub(crate) struct Counters {
    /// The address.
    pub(crate) name: String,
    pub(crate) window: Window,
    pub(crate) meters: BTreeMap<Counted, Meter>,
    /// How often they began again.
    pub(crate) restarts: u64,
    /// Why the last look saw none.
    pub(crate) problem: Option<Failure>,
    /// The hashes of the policies in force, where the proxy says them.
    pub(crate) in_force: BTreeSet<String>,
    /// The policies that it is configured with.
    pub(crate) policies: BTreeSet<String>,
    /// Why the policies are not known.
    pub(crate) policies_problem: Option<Failure>,
    has_seen: bool,
}

impl Counters {
    pub(crate) fn new(name: String) -> Self {
        Self {
            name,
            window: Window::default(),
            meters: BTreeMap::new(),
            restarts: 0,
            problem: None,
            in_force: BTreeSet::new(),
            policies: BTreeSet::new(),
            policies_problem: None,
            has_seen: false,
        }
    }

    /// Takes the counters of a look, so long after the last one that had some. What they count before the first is
    /// in no rate. Where one has fallen, or is gone, the proxy has begun again, and all of them count from then.
    pub(crate) fn look(&mut self, snapshot: &Snapshot, time: Duration) {
        self.problem = None;
        let is_first = !std::mem::replace(&mut self.has_seen, true);
        let has_restarted = self.meters.iter().any(|(counted, meter)| {
            snapshot.get(counted).copied().unwrap_or_default() < meter.total()
        });
        if has_restarted {
            self.restarts = self.restarts.saturating_add(1);
            self.meters.values_mut().for_each(|meter| meter.restart(0));
        }
        self.in_force.clear();
        for (counted, &count) in snapshot {
            if let Counted::Policy { .. } = counted {
                // As revisions end.
                self.in_force.insert(format!("{count:012x}"));
                continue;
            }
            let meter = self.meters.entry(counted.clone()).or_default();
            let new = count.saturating_sub(meter.total());
            if is_first { meter.count_old(new) } else { meter.count(new) }
        }
        if !is_first {
            self.window.pass(time);
            self.meters.values_mut().for_each(Meter::pass);
        }
        // One that began again and counts nothing yet is none.
        self.meters.retain(|counted, _| snapshot.contains_key(counted));
    }

    /// Takes what a look said of the policies.
    pub(crate) fn look_at_policies(&mut self, policies: Result<BTreeSet<String>, Failure>) {
        match policies {
            Ok(policies) => (self.policies, self.policies_problem) = (policies, None),
            Err(problem) => self.policies_problem = Some(problem),
        }
    }
}

/// What a log says.
#[derive(Debug)]
pub(crate) struct Log {
    /// The file.
    pub(crate) name: String,
    connections_as: Connections,
    pub(crate) window: Window,
    pub(crate) requests: Flow,
    pub(crate) connections: Flow,
    pub(crate) refused: Tops<Refused, Example>,
    pub(crate) would_be_refused: Tops<Refused, Example>,
    /// Revisions of the policies that decided.
    pub(crate) policies: Tops<String, ()>,
    /// Why nothing more is read.
    pub(crate) problem: Option<Failure>,
    pub(crate) has_ended: bool,
    /// Whether the past was read.
    is_up_to_date: bool,
}

/// Requests, or connections, by what was decided.
#[derive(Clone, Debug, Default)]
pub(crate) struct Flow {
    pub(crate) allowed: Meter,
    pub(crate) denied: Meter,
    /// Those without a verdict of a filter, refused or not.
    pub(crate) without_verdict: Meter,
    pub(crate) would_be_allowed: Meter,
    pub(crate) would_be_denied: Meter,
}

impl Flow {
    fn each(&mut self) -> [&mut Meter; 5] {
        let Self { allowed, denied, without_verdict, would_be_allowed, would_be_denied } = self;
        [allowed, denied, without_verdict, would_be_allowed, would_be_denied]
    }
}

/// Refusals that are one: of one caller to one host and port, in the same way. All is as it may be shown.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Refused {
    pub(crate) is_connection: bool,
    pub(crate) judgement: Judgement,
    pub(crate) host: String,
    /// The other host that was dialled, at a waypoint.
    dialled: Option<String>,
    pub(crate) port: Option<u16>,
    pub(crate) caller: Option<String>,
}

/// The last of such refusals.
#[derive(Debug)]
pub(crate) struct Example {
    pub(crate) method: Option<String>,
    /// Without its query, where secrets stand.
    pub(crate) path: Option<String>,
    /// What opens the way to all of them, or why no rule does.
    pub(crate) opening: Result<Opening, String>,
}

/// Why no rule opens what a policy allows.
const ALLOWED: &str = "the policy allows it: the guard or the mesh refused it, and `response_code_details` \
                       of the access log says why";

/// Whatever a verdict may depend on.
const ALL: Reads = Reads { principal: true, cluster: true, clock: true, server_name: true };

impl Log {
    /// `connections_as` says which plugin judges connections.
    pub(crate) fn new(name: String, connections_as: Connections) -> Self {
        Self {
            name,
            connections_as,
            window: Window::default(),
            requests: Flow::default(),
            connections: Flow::default(),
            refused: Tops::default(),
            would_be_refused: Tops::default(),
            policies: Tops::default(),
            problem: None,
            has_ended: false,
            is_up_to_date: false,
        }
    }

    /// Counts a request or a connection.
    pub(crate) fn see(&mut self, logged: &Logged<'_>) {
        let is_new = self.is_up_to_date;
        let count = |meter: &mut Meter| if is_new { meter.count(1) } else { meter.count_old(1) };
        let flow = if logged.is_connection() { &mut self.connections } else { &mut self.requests };
        let verdict = logged.verdict();
        count(match verdict.map(|it| it.action) {
            Some(Action::Allow) => &mut flow.allowed,
            Some(Action::Deny) => &mut flow.denied,
            None => &mut flow.without_verdict,
        });
        let would = logged.would();
        match would.map(|it| it.action) {
            Some(Action::Allow) => count(&mut flow.would_be_allowed),
            Some(Action::Deny) => count(&mut flow.would_be_denied),
            None => {}
        }
        if let Some(policy) = logged.policy() {
            count(&mut self.policies.entry(shown_text(policy), || ()).0);
        }
        let is_refusal = |it: &LoggedVerdict<'_>| it.action == Action::Deny;
        let by_mesh = || (logged.ending() == Ending::Refused).then_some(BY_MESH);
        let refused = verdict.filter(is_refusal).or_else(by_mesh);
        let would = would.filter(is_refusal);
        for (tops, refusal) in [(&mut self.refused, refused), (&mut self.would_be_refused, would)] {
            if let Some(refusal) = refusal {
                count(see_refusal(tops, logged, &refusal, self.connections_as));
            }
        }
    }

    /// The past was read: from now on what comes is new, and in the rates.
    pub(crate) fn begin_rates(&mut self) {
        self.is_up_to_date = true;
    }

    /// A look, so long after the last one.
    pub(crate) fn pass(&mut self, time: Duration) {
        self.window.pass(time);
        for flow in [&mut self.requests, &mut self.connections] {
            flow.each().into_iter().for_each(Meter::pass);
        }
        self.refused.pass();
        self.would_be_refused.pass();
        self.policies.pass();
    }
}

/// The meter of a refusal, whose example it becomes.
fn see_refusal<'t>(
    tops: &'t mut Tops<Refused, Example>,
    logged: &Logged<'_>,
    refusal: &LoggedVerdict<'_>,
    connections_as: Connections,
) -> &'t mut Meter {
    let request = logged.request(ALL, connections_as);
    let judgement = Judgement {
        decision: refusal.action.as_str().into(),
        reason: shown_text(refusal.reason).into(),
        rule: refusal.rule.map(|rule| shown_text(rule).into()),
    };
    let is_allowed = *refusal == BY_MESH && logged.verdict().is_some();
    let opening = match is_allowed {
        true => Err(ALLOWED.to_owned()),
        false => Opening::of(&request, &judgement).map_err(|obstacle| obstacle.to_string()),
    };
    let refused = Refused {
        is_connection: logged.is_connection(),
        judgement,
        host: host(&request, logged),
        dialled: match &request.dialled {
            Dialled::Host(host) => Some(host.canonical().into_owned()),
            Dialled::Named | Dialled::Other | Dialled::Unsaid => None,
        },
        port: request.port(),
        caller: logged.principal().map(shown_text),
    };
    let (meter, example) =
        tops.entry(refused, || Example { method: None, path: None, opening: opening.clone() });
    example.method = logged.method().map(shown_text);
    example.path = logged.path().and_then(|path| path.split('?').next()).map(shown_text);
    match (&mut example.opening, opening) {
        (Ok(all), Ok(one)) => all.join(&one),
        (Ok(_), Err(_)) | (Err(_), _) => {}
    }
    meter
}

/// The host that was asked for, or where a connection without a server name went.
fn host(request: &Request<'_>, logged: &Logged<'_>) -> String {
    match &request.authority {
        Ok(authority) => authority.host.canonical().into_owned(),
        Err(_) if logged.is_connection() && logged.authority().is_empty() => {
            logged.upstream().map(shown_text).unwrap_or_default()
        }
        Err(_) => shown_text(logged.authority()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::counters::Subject;
    use super::super::picture::{Opening as Shown, Picture};
    use super::*;
    use crate::logs::{self, Tally};
    use proptest::prelude::*;
    use serde_json::json;

    const SECOND: Duration = Duration::from_secs(1);

    fn verdict(reason: &str) -> Counted {
        Counted::Verdict { of: Subject::Requests, action: "deny", reason: reason.to_owned() }
    }

    fn log() -> Log {
        Log::new("log".to_owned(), Connections::default())
    }

    /// Feeds a log to the state as the reader does.
    fn see(log: &mut Log, lines: &str) {
        assert_eq!(logs::read_bytes(lines.as_bytes().to_vec(), &mut |logged| log.see(logged)), 0);
    }

    fn picture(log: Log) -> Picture {
        Picture::of(&State { counters: None, log: Some(log) }, Some(&Tally::default()))
    }

    fn line(verdict: serde_json::Value, host: &str, path: &str) -> String {
        let mut line = json!({
            "start_time": "2026-11-30T10:00:00Z", "authority": host, "method": "GET", "path": path,
            "response_code": 403, "upstream_cluster": format!("outbound|443||{host}"),
            "source_principal": "spiffe://cluster.local/ns/shop/sa/cart", "egress_policy": "shop@1",
        });
        for (key, value) in verdict.as_object().expect("an object") {
            line[key] = value.clone();
        }
        format!("{line}\n")
    }

    #[test]
    fn a_proxy_that_began_again_has_no_negative_rate() {
        let mut counters = Counters::new("admin".to_owned());
        let uptime = |it| (Counted::Uptime, it);
        for (snapshot, total, recent, restarts) in [
            (vec![(verdict("default"), 100), uptime(50)], 100, 0, 0),
            (vec![(verdict("default"), 110), uptime(51)], 110, 10, 0),
            // Fewer than before.
            (vec![(verdict("default"), 4), uptime(1)], 4, 14, 1),
            // Nothing is counted yet.
            (vec![uptime(0), (Counted::Policy { of: Subject::Requests }, 9)], 0, 0, 2),
            // More than before, and only the time tells.
            (vec![(verdict("default"), 7), uptime(3)], 7, 7, 2),
            (vec![(verdict("default"), 20), uptime(1)], 20, 27, 3),
        ] {
            counters.look(&snapshot.into_iter().collect(), SECOND);
            let meter = counters.meters.get(&verdict("default")).cloned().unwrap_or_default();
            assert_eq!((meter.total(), meter.recent()), (total, recent));
            assert_eq!(counters.restarts, restarts);
        }
    }

    #[test]
    fn a_problem_leaves_what_was_seen_and_goes_with_the_next_answer() {
        let mut counters = Counters::new("admin".to_owned());
        let snapshot: Snapshot = [(verdict("default"), 3)].into();
        counters.look(&snapshot, SECOND);
        counters.look_at_policies(Ok(["shop@1".to_owned()].into()));
        let failure = || Failure::new("admin", "no \u{1b}answer", "wait");
        counters.problem = Some(failure());
        counters.look_at_policies(Err(failure()));
        let state = State { counters: Some(counters), log: None };
        let seen = Picture::of(&state, None).admin.expect("counters");
        assert_eq!(seen.part.problem.as_deref(), Some("admin: no \\u{1b}answer: wait"));
        assert_eq!((seen.part.requests.denied, seen.part.policies.len()), (3, 1));
        let mut counters = state.counters.expect("counters");
        counters.look(&snapshot, SECOND);
        assert_eq!(counters.problem, None);
    }

    #[test]
    fn a_log_names_what_is_refused_and_the_rule_that_opens_it() {
        let mut log = log();
        let denied = json!({"egress_decision": "deny", "egress_reason": "default"});
        see(&mut log, &line(denied.clone(), "a.test", "/one?secret"));
        log.begin_rates();
        see(&mut log, &line(denied, "a.test", "/two"));
        see(
            &mut log,
            &line(json!({"egress_decision": "deny", "egress_rule": "no"}), "b.test", "/"),
        );
        let would = json!({"egress_decision": "allow", "egress_would": "deny", "egress_would_rule": "soon",
            "response_code": 200, "response_code_details": "via_upstream"});
        see(&mut log, &line(would, "c.test", "/"));
        // By the guard, behind the filter.
        let guard = json!({"egress_decision": "allow", "egress_rule": "ok",
            "response_code_details": "rbac_access_denied_matched_policy[none]"});
        see(&mut log, &line(guard, "d.test", "/"));
        log.pass(2 * SECOND);

        let shown = picture(log).log.expect("a log").part;
        assert_eq!(shown.policies, ["shop@1"]);
        let requests = &shown.requests;
        assert_eq!((requests.allowed, requests.denied, requests.would_be_denied), (2, 3, 1));
        assert_eq!(requests.per_second, Some(2.0));
        let rows: Vec<_> = shown.refused.iter().chain(&shown.would_be_refused).collect();
        let asked = |it: &&super::super::picture::Row| it.asked.clone().expect("a host");
        let hosts: Vec<_> = rows.iter().map(|it| (asked(it).host, it.count)).collect();
        let host = |name: &str, count| (name.to_owned(), count);
        assert_eq!(
            hosts,
            [host("a.test", 2), host("d.test", 1), host("b.test", 1), host("c.test", 1)]
        );
        assert_eq!(rows[0].per_second, Some(0.5));
        assert_eq!(asked(&rows[0]).path.as_deref(), Some("/two"));
        let Shown::RuleToAdd(rule) = &rows[0].opening else { panic!("{:?}", rows[0]) };
        assert!(rule.contains("paths: [\"/one\", \"/two\"]"), "{rule}");
        let why = rows[1..].iter().map(|it| match &it.opening {
            Shown::NoRule(why) => why.as_str(),
            Shown::RuleToAdd(rule) => rule.as_str(),
        });
        let why: Vec<_> = why.collect();
        assert!(why[0].starts_with("the policy allows it"), "{why:?}");
        assert!(why[1].contains("deny rule `no`"), "{why:?}");
        assert!(why[2].contains("deny rule `soon`"), "{why:?}");
    }

    #[test]
    fn nothing_that_a_caller_sends_reaches_a_terminal_as_a_command() {
        let mut log = log();
        let name = "\u{1b}[2J\u{202e}\r\u{7f}\u{9b}31m\u{200b}";
        for host in [name.to_owned(), name.repeat(200), "宽".repeat(500), format!("a{name}.test")]
        {
            for reason in ["default", name] {
                let denied = json!({"egress_decision": "deny", "egress_reason": reason,
                    "egress_rule": name, "egress_policy": name, "method": name});
                see(&mut log, &line(denied, &host, &format!("/{name}")));
            }
        }
        let text = serde_json::to_value(picture(log)).expect("JSON");
        let mut left = vec![text];
        let mut texts = 0;
        while let Some(value) = left.pop() {
            match value {
                serde_json::Value::String(text) => {
                    texts += 1;
                    let obeys = |it: char| {
                        (it.is_control() && it != '\n')
                            || matches!(it, '\u{202a}'..='\u{202e}' | '\u{200b}')
                    };
                    assert!(!text.contains(obeys), "{text:?}");
                    assert!(text.chars().count() < 1500, "{text:?}");
                }
                serde_json::Value::Array(items) => left.extend(items),
                serde_json::Value::Object(members) => {
                    left.extend(members.into_iter().map(|it| it.1))
                }
                _ => {}
            }
        }
        assert!(texts > 20);
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        /// Whatever counters do, a rate is that of what was added.
        #[test]
        fn totals_are_the_last_and_rates_what_was_added(
            looks in prop::collection::vec(prop::collection::vec(0..50_u64, 3), 1..6),
        ) {
            let mut state = State { counters: Some(Counters::new("admin".to_owned())), log: None };
            let mut before: Option<Vec<u64>> = None;
            let mut added = 0;
            for look in looks {
                let names = ["a", "b", "c"].map(verdict);
                let snapshot: Snapshot = names.into_iter().zip(look.iter().copied()).collect();
                state.counters.as_mut().expect("counters").look(&snapshot, SECOND);
                if let Some(before) = before {
                    let has_restarted = before.iter().zip(&look).any(|(one, next)| next < one);
                    let sum = |all: &[u64]| all.iter().sum::<u64>();
                    added += sum(&look) - if has_restarted { 0 } else { sum(&before) };
                }
                let shown = Picture::of(&state, None).admin.expect("counters").part;
                prop_assert_eq!(shown.requests.denied, look.iter().sum::<u64>());
                let rate = |seconds: f64| (added as f64 / seconds * 1000.0_f64).round() / 1000.0;
                prop_assert_eq!(shown.requests.per_second, shown.seconds.map(rate));
                let is_negative = |rate: Option<f64>| rate.is_some_and(|it| it < 0.0);
                prop_assert!(!shown.refused.iter().any(|row| is_negative(row.per_second)));
                before = Some(look);
            }
        }

        /// Every request is in one count of its flow, and every refusal in one row.
        #[test]
        fn sums_are_what_was_logged(
            requests in prop::collection::vec((0..3_u8, 0..3_u8, 0..4_u8), 0..60),
            at in 0..60_usize,
        ) {
            let mut log = log();
            let (mut denied, mut would) = (0, 0);
            for (number, (decision, dry, host)) in requests.iter().enumerate() {
                if number == at {
                    log.begin_rates();
                }
                let decision = ["allow", "deny", "-"][usize::from(*decision)];
                let dry = ["allow", "deny", "-"][usize::from(*dry)];
                denied += u64::from(decision == "deny");
                would += u64::from(dry == "deny");
                let verdict = json!({"egress_decision": decision, "egress_would": dry,
                    "egress_reason": "default", "egress_would_reason": "default", "response_code": 200,
                    "response_code_details": "via_upstream"});
                see(&mut log, &line(verdict, &format!("h{host}.test"), "/"));
            }
            log.pass(SECOND);
            let shown = picture(log).log.expect("a log").part;
            let flow = &shown.requests;
            prop_assert_eq!(
                flow.allowed + flow.denied + flow.without_verdict,
                requests.len() as u64
            );
            prop_assert_eq!((flow.denied, flow.would_be_denied), (denied, would));
            let sum = |rows: &[super::super::picture::Row]| rows.iter().map(|it| it.count).sum::<u64>();
            prop_assert_eq!((sum(&shown.refused), sum(&shown.would_be_refused)), (denied, would));
            let new = requests.len().saturating_sub(at) as f64;
            prop_assert_eq!(flow.per_second, Some(new));
        }
    }
}
