//! Hostile requests as the filter sees them: every vector of `tests/hostile` that Envoy would show
//! it, on the library and on the module that is shipped, in the mock host.
//!
//! Each vector was seen red: with a matcher that always allows all that expect a refusal fail, with
//! one that always denies all that expect to pass, and without the lowering of letters or the
//! trailing dot's cut those that expect the verdict of the canonical name.
#![cfg(not(target_family = "wasm"))]

use kit::hostile_vectors::{Gateway, Message, Outcome, Request, Vector, VectorFile, Word};
use kit::mock::{Guest, Module, Native, Root, Worker};

#[test]
fn every_vector_comes_out_as_it_must_on_the_library() {
    assert_no_failures::<Native>();
}

#[test]
fn every_vector_comes_out_as_it_must_on_the_module() {
    assert_no_failures::<Module>();
}

fn assert_no_failures<G: Guest>() {
    let files = kit::hostile_vectors::read();
    let failures: Vec<_> = files.iter().flat_map(failures_of::<G>).collect();
    assert!(failures.is_empty(), "{} failed\n\n{}\n", failures.len(), failures.join("\n\n"));
}

/// A fresh VM for each file.
fn failures_of<G: Guest>(file: &VectorFile) -> Vec<String> {
    if !file.holds_for_paths_as_sent() {
        return Vec::new();
    }
    kit::mock::in_a_worker::<G, _>(|worker| {
        let mut failures = Vec::new();
        for (policy_name, policy) in &file.policies {
            let root = worker.configure(policy.to_string());
            assert!(root.accepted, "{}: {policy_name}", file.name);
            let stamp = policy["policy"].as_str().expect("a policy has a name");
            for gateway in &file.gateways {
                let plane = Plane { root, gateway, stamp };
                for vector in &file.vectors {
                    for (request, expected) in shown(vector, policy_name) {
                        if let Some(failure) =
                            plane.failure(worker, vector, &request, &expected, policy_name)
                        {
                            let (name, vector) = (&file.name, &vector.name);
                            failures.push(format!(
                                "{name}: {vector}\n  under {policy_name}: {request}\n  {failure}"
                            ));
                        }
                    }
                }
            }
        }
        failures
    })
}

/// The requests of a vector with what must come of them; raw texts and header blocks are for the
/// wire.
fn shown(vector: &Vector, policy: &str) -> Vec<(Request, Outcome)> {
    let alone = vector.messages().filter_map(|message| match message {
        Message::Request(request) => Some((request, vector.outcome(policy))),
        Message::Raw(_) | Message::Fields(_) => None,
    });
    let turns = vector.conversation.iter();
    let turns = turns.map(|turn| (turn.request.clone(), turn.expect.under(policy)));
    alone.chain(turns).collect()
}

/// One policy behind one gateway.
struct Plane<'a> {
    root: Root,
    gateway: &'a Gateway,
    /// What the upstream must see as `x-egress-id`.
    stamp: &'a str,
}

impl Plane<'_> {
    fn failure<G: Guest>(
        &self,
        worker: &mut Worker<G>,
        vector: &Vector,
        request: &Request,
        expected: &Outcome,
        policy: &str,
    ) -> Option<String> {
        let word = match expected {
            // Envoy answers by itself, or its versions differ.
            Outcome::Is(Word::Rejected | Word::Either) => return None,
            Outcome::Is(word) => *word,
            Outcome::SameAs(authority) => {
                match self.send(worker, &Request::get(authority.clone())).passed {
                    true => Word::Allow,
                    false => Word::Deny,
                }
            }
        };
        let outcome = self.send(worker, request);
        let decision = outcome.state("egress_decision");
        if word == Word::Allow {
            let stamps = outcome.headers.values("x-egress-id");
            let is_right = outcome.passed && decision == Some("allow");
            return (!is_right || stamps != [self.stamp.as_bytes()])
                .then(|| format!("expected to pass, got {decision:?} with the stamps {stamps:?}"));
        }
        let is_right = !outcome.passed && outcome.replies.len() == 1 && decision == Some("deny");
        let reason = outcome.state("egress_reason").unwrap_or("rule");
        let is_reason = word != Word::Deny || vector.reason(policy).is_none_or(|it| it == reason);
        (!is_right || !is_reason)
            .then(|| format!("expected a refusal, got {decision:?} for the reason {reason}"))
    }

    fn send<G: Guest>(&self, worker: &mut Worker<G>, request: &Request) -> kit::mock::Outcome {
        let pairs = request.header_pairs();
        let mut sent =
            kit::mock::Request::new(pairs.iter().map(|(name, value)| (&name[..], &value[..])));
        if self.gateway.port.is_some() {
            let cluster = self.gateway.cluster_name("subset");
            sent = sent.property(&["xds", "cluster_name"], cluster);
        }
        worker.send(self.root, sent)
    }
}
