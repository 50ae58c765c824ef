//! What a log has seen: who called which host on which port, how often and when.

use super::nameless::Nameless;
use crate::failure::Failure;
use crate::logs::{self, Choice, Ending, Group, Hop, Logged, Place, Tally};
use egress_warden::host::Host;
use egress_warden::policy::{
    Action, ClusterPort, Decision, Dialled, Policy, Reads, Reason, Request,
};
use egress_warden::root_id::Connections;
use egress_warden::time::Time;
use egress_warden::token::is_token;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::SocketAddr;
use std::path::PathBuf;

/// Most distinct sightings, so that a log cannot fill the memory.
const MAX_SIGHTINGS: usize = 2_000_000;
/// Most methods that are told apart for one sighting.
const MAX_METHODS: usize = 8;
/// In nanoseconds.
const HOUR: u64 = 3_600;
/// Most hours that are told apart for one sighting; more are many.
const MAX_HOURS: usize = 24;

/// A caller by its number; the one who is not verified has none.
pub(super) type Caller = Option<u32>;

/// Where a request went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Destination {
    /// The canonical host, by its number.
    pub(super) host: u32,
    pub(super) port: Port,
    /// Whether a tunnel was asked for.
    pub(super) is_connect: bool,
}

/// What the log says of the port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Port {
    Known(u16),
    Unsaid,
    /// Route and authority differ: no allow rule that names ports can match.
    Conflict,
}

/// Requests of one caller to one destination.
#[derive(Clone, Debug, Default)]
pub(super) struct Sighting {
    /// Requests that were passed on to an upstream.
    pub(super) passed: u64,
    /// Requests that were not: refused, or failed on their way.
    pub(super) refused: u64,
    /// Requests that passed, at a time that is not known.
    pub(super) undated: u64,
    /// Requests of which the log does not say whether they were passed on.
    pub(super) unsaid: u64,
    /// Requests that the base denies by a rule.
    pub(super) denied: u64,
    /// Requests that the base lets through already.
    pub(super) known: u64,
    /// The first and the last of all of them.
    pub(super) time: Option<(Time, Time)>,
    /// Of those that passed: what did not is no evidence of regular use.
    pub(super) hours: BTreeSet<u32>,
    /// Of those that passed.
    pub(super) methods: BTreeSet<String>,
}

/// All that was seen.
#[derive(Debug, Default)]
pub(super) struct Sightings {
    callers: Names,
    hosts: Names,
    sightings: HashMap<(Caller, Destination), Sighting>,
    /// Requests that no policy can allow.
    pub(super) malformed: Group,
    /// Connections without a server name, which no policy can allow either.
    pub(super) nameless: Nameless,
    /// Requests within the mesh: no egress, so no policy need allow them.
    pub(super) within: Group,
    /// Requests whose callers dialled another host at a waypoint than they named: no use of the named one.
    pub(super) elsewhere: Group,
}

/// Texts by number.
#[derive(Debug, Default)]
struct Names {
    numbers: HashMap<Box<str>, u32>,
    names: Vec<Box<str>>,
}

/// Reads the logs. What `base` lets through already counts as known, and `with_refused` what was not
/// passed on as passed.
pub(super) fn read(
    paths: &[PathBuf],
    choice: &Choice,
    connections: Connections,
    base: Option<&Policy>,
    with_refused: bool,
) -> Result<(Sightings, Tally), Failure> {
    let reads = base.map_or_else(Reads::default, Policy::reads);
    let mut sightings = Sightings::default();
    let tally = logs::scan(
        paths,
        choice,
        |chunk: &mut Sightings, logged, place| {
            let request = logged.request(Reads { clock: true, ..reads }, connections);
            let decision = base.and_then(|base| logs::decide(base, &request));
            let verdict = decision.map(in_force);
            let ending = if with_refused { Ending::PassedOn } else { logged.ending() };
            chunk.push(&request, logged, place, verdict, ending);
        },
        |chunk| sightings.add(chunk),
    )?;
    Ok((sightings, tally))
}

/// What a policy decides without `mode: monitor`.
fn in_force(decision: Decision) -> (Action, Reason) {
    let verdict = match decision.verdict.reason {
        Reason::Monitor => decision.would.unwrap_or(decision.verdict),
        _ => decision.verdict,
    };
    (verdict.action, verdict.reason)
}

impl Sightings {
    /// Every sighting, in the order of the hosts' and the callers' names.
    pub(super) fn iter(
        &self,
    ) -> impl Iterator<Item = (Option<&str>, &str, Destination, &Sighting)> {
        let mut sorted: BTreeMap<_, _> = BTreeMap::new();
        for ((caller, destination), sighting) in &self.sightings {
            let caller = caller.map(|caller| self.callers.name(caller));
            let host = self.hosts.name(destination.host);
            let key = (host, destination.port, destination.is_connect, caller);
            sorted.insert(key, (*destination, sighting));
        }
        sorted.into_iter().map(|((host, _, _, caller), (destination, sighting))| {
            (caller, host, destination, sighting)
        })
    }

    /// Requests that the base lets through already.
    pub(super) fn known(&self) -> u64 {
        self.sightings.values().map(|it| it.known).sum()
    }

    /// From the first to the last request.
    pub(super) fn span(&self) -> Option<(Time, Time)> {
        let times = self.sightings.values().filter_map(|it| it.time);
        times.reduce(|(a, b), (c, d)| (a.min(c), b.max(d)))
    }

    fn push(
        &mut self,
        request: &Request<'_>,
        logged: &Logged<'_>,
        place: Place,
        verdict_of_base: Option<(Action, Reason)>,
        ending: Ending,
    ) {
        let host = request.authority.as_ref().ok().map(|it| it.host.canonical());
        let hop = logged.hop(host.as_deref());
        if hop == Hop::Within {
            return self.within.push(logged, place);
        }
        let host = match host {
            Some(host) if logged.method().is_none_or(|it| is_token(it.as_bytes())) => host,
            _ if logged.is_connection() && logged.authority().is_empty() => {
                return self.nameless.push(logged, place);
            }
            _ => return self.malformed.push(logged, place),
        };
        if request.dialled != Dialled::Named {
            return self.elsewhere.push(logged, place);
        }
        let destination = Destination {
            host: self.hosts.number(&host),
            port: Port::of(request, logged, hop),
            is_connect: logged.method().is_some_and(|it| it.eq_ignore_ascii_case("CONNECT")),
        };
        let caller = request.principal.map(|principal| self.callers.number(principal));
        let sighting = self.sightings.entry((caller, destination)).or_default();
        match verdict_of_base {
            Some((Action::Allow, _)) => sighting.known += 1,
            Some((Action::Deny, Reason::Rule | Reason::Unknown)) => sighting.denied += 1,
            _ => match (ending, request.now) {
                (Ending::PassedOn, Some(_)) => sighting.passed += 1,
                (Ending::PassedOn, None) => sighting.undated += 1,
                (Ending::Refused | Ending::Failed, _) => sighting.refused += 1,
                (Ending::Unsaid, _) => sighting.unsaid += 1,
            },
        }
        sighting.see(request.now);
        if ending == Ending::PassedOn {
            sighting.use_regularly(request.now, logged.method().unwrap_or("TLS"));
        }
    }

    /// Adds what stands behind.
    fn add(&mut self, behind: Self) -> Result<(), Failure> {
        self.malformed.add(behind.malformed);
        self.nameless.add(behind.nameless);
        self.within.add(behind.within);
        self.elsewhere.add(behind.elsewhere);
        for ((caller, destination), sighting) in behind.sightings {
            let caller = caller.map(|caller| self.callers.number(behind.callers.name(caller)));
            let host = self.hosts.number(behind.hosts.name(destination.host));
            let key = (caller, Destination { host, ..destination });
            self.sightings.entry(key).or_default().add(sighting);
        }
        if self.sightings.len() > MAX_SIGHTINGS {
            let problem = format!("over {MAX_SIGHTINGS} pairs of a caller and a destination");
            let remedy = "learn from a shorter log, or from one gateway at a time";
            return Err(Failure::new("the logs", problem, remedy));
        }
        Ok(())
    }
}

impl Port {
    /// The port by which a policy judges, as far as this hop's line says it.
    fn of(request: &Request<'_>, logged: &Logged<'_>, hop: Hop) -> Self {
        if hop == Hop::ToGateway {
            return Self::Unsaid;
        }
        let dialled = logged.upstream().and_then(port_of);
        if let (true, true, Some(port)) = (logged.is_connection(), logged.is_passthrough(), dialled)
        {
            // The root id's port is an assumption, and this one a fact.
            return Self::Known(port);
        }
        let sent = request.authority.as_ref().ok().and_then(|it| it.port);
        match (request.port(), request.cluster_port, sent) {
            (Some(port), ..) => Self::Known(port),
            (None, ClusterPort::Unsaid, None) => dialled.map_or(Self::Unsaid, Self::Known),
            (None, ..) => Self::Conflict,
        }
    }
}

/// The port of an upstream's address.
fn port_of(address: &str) -> Option<u16> {
    address.parse::<SocketAddr>().ok().map(|it| it.port())
}

impl Sighting {
    fn see(&mut self, time: Option<Time>) {
        if let Some(time) = time {
            let (first, last) = self.time.unwrap_or((time, time));
            self.time = Some((first.min(time), last.max(time)));
        }
    }

    fn use_regularly(&mut self, time: Option<Time>, method: &str) {
        if self.hours.len() < MAX_HOURS {
            self.hours.extend(
                time.and_then(|time| u32::try_from(time.since_epoch().as_secs() / HOUR).ok()),
            );
        }
        if !self.methods.contains(method) && self.methods.len() < MAX_METHODS {
            self.methods.insert(method.to_owned());
        }
    }

    /// Adds requests of another pair, or what stands behind.
    pub(super) fn add(&mut self, other: Self) {
        self.passed += other.passed;
        self.refused += other.refused;
        self.undated += other.undated;
        self.unsaid += other.unsaid;
        self.denied += other.denied;
        self.known += other.known;
        self.time = match (self.time, other.time) {
            (Some((a, b)), Some((c, d))) => Some((a.min(c), b.max(d))),
            (one, other) => one.or(other),
        };
        self.hours.extend(other.hours);
        while self.hours.len() > MAX_HOURS {
            self.hours.pop_last();
        }
        self.methods.extend(other.methods);
        while self.methods.len() > MAX_METHODS {
            self.methods.pop_last();
        }
    }

    /// Whether the time of any of its requests is known.
    pub(super) fn has_dated(&self) -> bool {
        self.time.is_some()
    }

    /// All of its requests, but for those that the base lets through already.
    pub(super) fn requests(&self) -> u64 {
        self.passed + self.refused + self.undated + self.unsaid + self.denied
    }
}

impl Names {
    fn number(&mut self, name: &str) -> u32 {
        if let Some(number) = self.numbers.get(name) {
            return *number;
        }
        // Fewer than the sightings, which are fewer than 2^32.
        let number = u32::try_from(self.names.len()).unwrap_or(u32::MAX);
        self.numbers.insert(name.into(), number);
        self.names.push(name.into());
        number
    }

    fn name(&self, number: u32) -> &str {
        let position = usize::try_from(number).ok();
        position.and_then(|it| self.names.get(it)).map_or("", |name| name)
    }
}

/// Whether a canonical host is an address.
pub(super) fn is_address(host: &str) -> bool {
    matches!(Host::parse(host.as_bytes()), Ok(Host::Address(_)))
}
