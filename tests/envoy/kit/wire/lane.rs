//! One policy behind one gateway: every vector is sent, and what came of it is noted.

use std::net::SocketAddr;

use anyhow::{Context as _, Result};
use serde_json::Value;

use super::caller::{self, Answer};
use super::upstream::{Traffic, Upstream};
use crate::permissive::Opening;
use egress_warden_simulate::Bytes;
use kit::hostile_vectors::{Gateway, Message, Outcome, Protocol, Request, Vector, VectorFile};

/// The files that share a policy and a gateway, and the way through that gateway.
pub struct Lane<'a> {
    /// The policy's name among the vectors.
    pub policy_name: &'a str,
    policy: &'a Value,
    gateway: &'a Gateway,
    files: Vec<&'a VectorFile>,
    upstream: Upstream,
}

/// What was sent on one connection, and what came of it.
pub struct Exchange<'a> {
    pub place: String,
    pub policy_name: &'a str,
    /// What the upstream must see as `x-egress-id`.
    pub stamp: &'a str,
    /// None for the sender's own: a canonical spelling, say.
    pub vector: Option<&'a Vector>,
    pub protocol: Protocol,
    pub messages: Vec<Message>,
    pub outcomes: Vec<Outcome>,
    /// Both ends of the caller's connection.
    pub connection: (SocketAddr, SocketAddr),
    pub answers: Vec<Option<Answer>>,
    pub traffic: Traffic,
}

impl<'a> Lane<'a> {
    /// The lanes that the files ask for.
    pub async fn all(files: &'a [VectorFile]) -> Result<Vec<Self>> {
        let mut lanes: Vec<Self> = Vec::new();
        for file in files {
            for gateway in &file.gateways {
                for (policy_name, policy) in &file.policies {
                    let known = lanes
                        .iter_mut()
                        .find(|lane| (lane.policy, lane.gateway) == (policy, gateway));
                    match known {
                        Some(lane) => lane.files.push(file),
                        None => lanes.push(Self {
                            policy_name,
                            policy,
                            gateway,
                            files: vec![file],
                            upstream: Upstream::start().await?,
                        }),
                    }
                }
            }
        }
        Ok(lanes)
    }

    /// The listener that leads through the gateway, `name` being unique.
    pub fn opening(&self, name: String) -> Opening<'a> {
        let Gateway { normalize_path, tunnels, trailers, .. } = *self.gateway;
        Opening {
            cluster: self.gateway.cluster_name(&name),
            listener: name,
            policy: self.policy,
            upstream: self.upstream.address,
            normalize_path,
            tunnels,
            trailers,
        }
    }

    /// Sends every vector of every file to the gateway.
    pub async fn send_all(&self, gateway: SocketAddr) -> Result<Vec<Exchange<'a>>> {
        let mut exchanges = Vec::new();
        for file in &self.files {
            for vector in &file.vectors {
                let place = format!("{}: {}", file.name, vector.name);
                for (protocol, messages, outcomes) in connections(vector, self.policy_name) {
                    for outcome in &outcomes {
                        if let Outcome::SameAs(authority) = outcome {
                            let canonical = Message::Request(Request::get(authority.clone()));
                            let exchange = self.exchange(gateway, protocol, vec![canonical], false);
                            exchanges.push(Exchange {
                                place: place.clone(),
                                outcomes: vec![outcome.clone()],
                                ..exchange.await?
                            });
                        }
                    }
                    let exchange = self.exchange(gateway, protocol, messages, vector.together);
                    let exchange = exchange.await.with_context(|| place.clone())?;
                    exchanges.push(Exchange {
                        place: place.clone(),
                        vector: Some(vector),
                        outcomes,
                        ..exchange
                    });
                }
            }
        }
        Ok(exchanges)
    }

    /// Sends a request that every policy has an opinion of, and that comes after everything else.
    pub async fn send_last(&self, gateway: SocketAddr, path: &str) -> Result<Traffic> {
        let mut request = Request::get(Bytes(b"the.last".to_vec()));
        request.path = Bytes(path.into());
        let late = self.upstream.traffic().await?;
        self.exchange(gateway, Protocol::Http1, vec![Message::Request(request)], false).await?;
        Ok(late)
    }

    async fn exchange(
        &self,
        gateway: SocketAddr,
        protocol: Protocol,
        messages: Vec<Message>,
        together: bool,
    ) -> Result<Exchange<'a>> {
        let what = || format!("{protocol:?} under {}: {}", self.policy_name, messages[0]);
        let replies =
            caller::send(gateway, protocol, &messages, together).await.with_context(what)?;
        let traffic = self.upstream.traffic().await.with_context(what)?;
        Ok(Exchange {
            place: String::new(),
            policy_name: self.policy_name,
            stamp: self.policy["policy"].as_str().unwrap_or_default(),
            vector: None,
            protocol,
            messages,
            outcomes: Vec::new(),
            connection: (replies.caller, gateway),
            answers: replies.answers,
            traffic,
        })
    }
}

/// A connection's protocol, its messages, and what must come of each.
type Planned = (Protocol, Vec<Message>, Vec<Outcome>);

/// The connections that a vector takes.
fn connections(vector: &Vector, policy: &str) -> Vec<Planned> {
    let both = [Protocol::Http1, Protocol::Http2];
    let protocols: Vec<_> = both.into_iter().filter(|&it| vector.goes_via(it)).collect();
    if !vector.conversation.is_empty() {
        let turns = &vector.conversation;
        let messages: Vec<_> =
            turns.iter().map(|turn| Message::Request(turn.request.clone())).collect();
        let outcomes: Vec<_> = turns.iter().map(|turn| turn.expect.under(policy)).collect();
        return protocols
            .into_iter()
            .map(|protocol| (protocol, messages.clone(), outcomes.clone()))
            .collect();
    }
    let mut planned = Vec::new();
    for message in vector.messages() {
        let protocols = match &message {
            Message::Raw(_) => &[Protocol::Http1][..],
            Message::Fields(_) => &[Protocol::Http2],
            Message::Request(_) => &protocols,
        };
        for &protocol in protocols {
            planned.push((protocol, vec![message.clone()], vec![vector.outcome(policy)]));
        }
    }
    planned
}
