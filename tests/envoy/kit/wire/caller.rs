//! A caller: sends messages over one connection, returns the answers.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use anyhow::{Context as _, Result};

use super::connection::{Connection, PATIENCE};
use super::http1::{self, Framing};
use super::http2::{self, Event, Part, Session};
use egress_warden_simulate::Bytes;
use kit::hostile_vectors::{Field, Message, Protocol};

/// A final answer.
#[derive(Clone, Debug, Default)]
pub struct Answer {
    pub status: u16,
    pub fields: Vec<Field>,
    pub body: Vec<u8>,
}

/// What came back on one connection.
pub struct Replies {
    /// The caller's end of the connection.
    pub caller: SocketAddr,
    /// One for each message; none where Envoy closed or reset instead.
    pub answers: Vec<Option<Answer>>,
}

/// Sends messages on a connection of their own: each after the answer to the one before, or all
/// together.
pub async fn send(
    address: SocketAddr,
    protocol: Protocol,
    messages: &[Message],
    together: bool,
) -> Result<Replies> {
    let exchange = async {
        let connection = Connection::open(address).await?;
        let caller = connection.local_address()?;
        let answers = match protocol {
            Protocol::Http1 => over_http1(connection, messages, together).await,
            Protocol::Http2 => over_http2(connection, messages, together).await,
        };
        Ok(Replies { caller, answers })
    };
    let what = || format!("neither answer nor end within {PATIENCE:?}");
    tokio::time::timeout(PATIENCE, exchange).await.with_context(what)?
}

impl Answer {
    /// Every value of a header, as far as it is text.
    pub fn values(&self, name: &str) -> Vec<&str> {
        let fields =
            self.fields.iter().filter(|field| field.0.0.eq_ignore_ascii_case(name.as_bytes()));
        fields.filter_map(|field| std::str::from_utf8(&field.1.0).ok()).collect()
    }
}

async fn over_http1(
    mut connection: Connection,
    messages: &[Message],
    together: bool,
) -> Vec<Option<Answer>> {
    let texts: Vec<_> = messages.iter().map(http1_text).collect();
    if together {
        connection.write(&texts.concat()).await;
    }
    let mut answers = Vec::new();
    for text in &texts {
        if !together {
            connection.write(text).await;
        }
        answers.push(read_http1_answer(&mut connection, text).await);
    }
    answers
}

fn http1_text(message: &Message) -> Vec<u8> {
    match message {
        Message::Request(request) => http1::encode(request),
        Message::Raw(Bytes(text)) => text.clone(),
        Message::Fields(_) => panic!("a header block is HTTP/2's"),
    }
}

async fn read_http1_answer(connection: &mut Connection, request: &[u8]) -> Option<Answer> {
    loop {
        let head = http1::read_head(connection).await?;
        let status = std::str::from_utf8(head.start.get(1)?).ok()?.parse().ok()?;
        let framing = match status {
            100 | 102 | 103 => continue,
            // From here on it is no longer HTTP.
            101 => Framing::Bodiless,
            200 if request.starts_with(b"CONNECT ") => Framing::Bodiless,
            _ if request.starts_with(b"HEAD ") => Framing::Bodiless,
            _ => Framing::Response,
        };
        let message = http1::read_body(connection, head, framing).await?;
        return Some(Answer { status, fields: message.fields, body: message.body });
    }
}

async fn over_http2(
    connection: Connection,
    messages: &[Message],
    together: bool,
) -> Vec<Option<Answer>> {
    let mut session = Session::call(connection).await;
    let streams: Vec<_> = (1..).step_by(2).zip(messages.iter().map(http2_parts)).collect();
    let ids: Vec<u32> = streams.iter().map(|(stream, _)| *stream).collect();
    let batches =
        if together { vec![streams] } else { streams.into_iter().map(|it| vec![it]).collect() };
    let mut answers = BTreeMap::new();
    for batch in batches {
        let awaited: Vec<_> =
            batch.iter().map(|(stream, parts)| (*stream, opens_tunnel(parts))).collect();
        let parts = batch
            .into_iter()
            .flat_map(|(stream, parts)| parts.into_iter().map(move |part| (stream, part)));
        session.send(parts).await;
        read_http2_answers(&mut session, awaited, &mut answers).await;
    }
    ids.iter().map(|stream| answers.remove(stream)).collect()
}

fn http2_parts(message: &Message) -> Vec<Part> {
    match message {
        Message::Request(request) => http2::parts(request),
        Message::Fields(fields) => {
            vec![Part::Headers { fields: fields.clone(), end: !is_connect(fields) }]
        }
        Message::Raw(_) => panic!("text is HTTP/1's"),
    }
}

/// Reads until each of the streams is answered or ended.
async fn read_http2_answers(
    session: &mut Session,
    awaited: Vec<(u32, bool)>,
    answers: &mut BTreeMap<u32, Answer>,
) {
    let mut awaited: BTreeMap<u32, bool> = awaited.into_iter().collect();
    let mut begun: BTreeMap<u32, Answer> = BTreeMap::new();
    while !awaited.is_empty() {
        let ended = match session.next().await {
            None => return,
            Some(Event::Headers { stream, fields, end }) => {
                let status = status_of(&fields);
                if matches!(status, Some(100..200)) {
                    continue;
                }
                let answer = begun.entry(stream).or_default();
                answer.status = status.unwrap_or(answer.status);
                answer.fields.extend(fields);
                let tunnel = answer.status == 200 && awaited.get(&stream) == Some(&true);
                (end || tunnel).then_some(stream)
            }
            Some(Event::Data { stream, bytes, end }) => {
                begun.entry(stream).or_default().body.extend(bytes);
                end.then_some(stream)
            }
            Some(Event::Reset { stream }) => {
                awaited.remove(&stream);
                None
            }
            Some(Event::GoAway { last_stream, fault }) => {
                awaited.retain(|&stream, _| !fault && stream <= last_stream);
                None
            }
        };
        if let Some(stream) = ended
            && awaited.remove(&stream).is_some()
            && let Some(answer) = begun.remove(&stream)
        {
            answers.insert(stream, answer);
        }
    }
}

fn status_of(fields: &[Field]) -> Option<u16> {
    let (_, Bytes(status)) = fields.iter().find(|(Bytes(name), _)| name == b":status")?;
    std::str::from_utf8(status).ok()?.parse().ok()
}

/// Whether an answer of 200 is the beginning of a tunnel, which has no end of its own.
fn opens_tunnel(parts: &[Part]) -> bool {
    matches!(parts.first(), Some(Part::Headers { fields, .. }) if is_connect(fields))
}

fn is_connect(fields: &[Field]) -> bool {
    fields.iter().any(|(Bytes(name), Bytes(method))| name == b":method" && method == b"CONNECT")
}
