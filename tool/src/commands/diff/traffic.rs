//! Compares two policies over logged requests.

use crate::change::Kind;
use crate::failure::Failure;
use crate::judgement::Judgement;
use crate::logs::{self, Choice, Group, Logged, Place, Tally};
use egress_warden::policy::{Policy, Reads, Request};
use egress_warden::root_id::Connections;
use std::collections::HashMap;
use std::path::PathBuf;

/// Most distinct requests that are told apart, so that a log cannot fill the memory.
const MAX_REQUESTS: usize = 200_000;

/// Requests whose verdict changes.
#[derive(Debug, Default)]
pub(super) struct Traffic {
    requests: HashMap<Distinct, Group>,
    /// How many of each kind there are.
    pub(super) counts: HashMap<Kind, u64>,
    /// Requests beyond those that are told apart.
    pub(super) unlisted: u64,
    /// Those that have no time, which the decision of either policy depends on.
    pub(super) undated: Group,
}

/// A request, as far as a verdict can depend on it, but for its time.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Distinct {
    pub(super) kind: Kind,
    pub(super) old: Judgement,
    pub(super) new: Judgement,
    /// Canonical; as sent where it is malformed.
    pub(super) host: String,
    pub(super) port: Option<u16>,
    /// `None` for a connection.
    pub(super) method: Option<String>,
    pub(super) path: Option<String>,
    pub(super) principal: Option<String>,
}

/// Decides the logs by both policies.
pub(super) fn compare(
    old: &Policy,
    new: &Policy,
    paths: &[PathBuf],
    choice: &Choice,
    connections: Connections,
) -> Result<(Traffic, Tally), Failure> {
    let (a, b) = (old.reads(), new.reads());
    let reads = Reads {
        principal: a.principal || b.principal,
        cluster: a.cluster || b.cluster,
        clock: a.clock || b.clock,
        server_name: a.server_name || b.server_name,
    };
    let mut traffic = Traffic::default();
    let tally = logs::scan(
        paths,
        choice,
        |chunk: &mut Traffic, logged, place| {
            let request = logged.request(reads, connections);
            let decisions = (logs::decide(old, &request), logs::decide(new, &request));
            let (Some(before), Some(after)) = decisions else {
                return chunk.undated.push(logged, place);
            };
            if let Some((kind, before, after)) = Kind::of((old, before), (new, after)) {
                let verdicts = (Judgement::new(before, old), Judgement::new(after, new));
                chunk.push(Distinct::of(kind, verdicts, &request, logged), logged, place);
            }
        },
        |chunk| {
            traffic.add(chunk);
            Ok(())
        },
    )?;
    Ok((traffic, tally))
}

impl Traffic {
    /// By kind, then the most frequent first.
    pub(super) fn requests(&self) -> Vec<(&Distinct, &Group)> {
        let mut requests: Vec<_> = self.requests.iter().collect();
        requests.sort_by(|(a, a_group), (b, b_group)| {
            a.kind
                .cmp(&b.kind)
                .then_with(|| b_group.requests.cmp(&a_group.requests))
                .then_with(|| a.cmp(b))
        });
        requests
    }

    fn push(&mut self, distinct: Distinct, logged: &Logged<'_>, place: Place) {
        *self.counts.entry(distinct.kind).or_default() += 1;
        self.requests.entry(distinct).or_default().push(logged, place);
    }

    /// Adds what stands behind.
    fn add(&mut self, behind: Self) {
        self.undated.add(behind.undated);
        for (kind, count) in behind.counts {
            *self.counts.entry(kind).or_default() += count;
        }
        for (distinct, group) in behind.requests {
            if self.requests.len() < MAX_REQUESTS || self.requests.contains_key(&distinct) {
                self.requests.entry(distinct).or_default().add(group);
            } else {
                self.unlisted += group.requests;
            }
        }
    }
}

impl Distinct {
    fn of(
        kind: Kind,
        (old, new): (Judgement, Judgement),
        request: &Request<'_>,
        logged: &Logged<'_>,
    ) -> Self {
        let host = match &request.authority {
            Ok(authority) => authority.host.canonical().into_owned(),
            Err(_) => logged.authority().to_owned(),
        };
        Self {
            kind,
            old,
            new,
            host,
            port: request.port(),
            method: logged.method().map(str::to_owned),
            path: logged.path().and_then(|path| path.split('?').next()).map(str::to_owned),
            principal: logged.principal().map(str::to_owned),
        }
    }
}
