//! An upstream that counts bytes, keeps every request, and answers each with 200 (an upgrade with
//! 101).

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use tokio::net::TcpListener;

use super::connection::{Connection, PATIENCE};
use super::http1::{self, Framing};
use super::http2::{Event, PREFACE, Part, Session};
use egress_warden_simulate::Bytes;
use kit::hostile_vectors::Field;

const PAUSE: Duration = Duration::from_millis(1);

pub struct Upstream {
    pub address: SocketAddr,
    seen: Arc<Seen>,
}

/// What reached the upstream in a span of time.
#[derive(Debug, Default)]
pub struct Traffic {
    pub connections: usize,
    pub bytes: usize,
    pub requests: Vec<Received>,
}

/// A request as it arrived.
#[derive(Clone, Debug, Default)]
pub struct Received {
    /// Pseudo-headers included; HTTP/1's start line and `Host` are told as such.
    pub fields: Vec<Field>,
    pub body: Vec<u8>,
    pub trailers: Vec<Field>,
}

#[derive(Default)]
struct Seen {
    bytes: Arc<AtomicUsize>,
    rest: Mutex<Rest>,
}

#[derive(Default)]
struct Rest {
    open: usize,
    connections: usize,
    requests: Vec<Received>,
}

impl Upstream {
    pub async fn start() -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let seen = Arc::<Seen>::default();
        tokio::spawn({
            let seen = Arc::clone(&seen);
            async move {
                while let Ok((stream, _)) = listener.accept().await {
                    let connection = Connection::counted(stream, Arc::clone(&seen.bytes));
                    tokio::spawn(serve(connection, Arc::clone(&seen)));
                }
            }
        });
        Ok(Self { address, seen })
    }

    /// What came since this was last asked, once every connection is closed.
    pub async fn traffic(&self) -> Result<Traffic> {
        let started = Instant::now();
        while self.seen.rest().open > 0 {
            ensure!(started.elapsed() < PATIENCE, "upstream connections stay open");
            tokio::time::sleep(PAUSE).await;
        }
        let mut rest = self.seen.rest();
        Ok(Traffic {
            connections: std::mem::take(&mut rest.connections),
            bytes: self.seen.bytes.swap(0, Ordering::Relaxed),
            requests: std::mem::take(&mut rest.requests),
        })
    }
}

impl Seen {
    fn rest(&self) -> MutexGuard<'_, Rest> {
        self.rest.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn keep(&self, request: Received) {
        self.rest().requests.push(request);
    }
}

async fn serve(mut connection: Connection, seen: Arc<Seen>) {
    {
        let mut rest = seen.rest();
        rest.connections += 1;
        rest.open += 1;
    }
    match connection.starts_with(PREFACE).await {
        true => serve_http2(connection, &seen).await,
        false => serve_http1(connection, &seen).await,
    }
    seen.rest().open -= 1;
}

async fn serve_http1(mut connection: Connection, seen: &Seen) {
    while let Some(head) = http1::read_head(&mut connection).await {
        let upgrade = head.values("upgrade").next().map(<[u8]>::to_vec);
        let is_connect = head.start.first().is_some_and(|method| method == b"CONNECT");
        let mut request = Received { fields: http1_fields(&head), ..Received::default() };
        if upgrade.is_some() || is_connect {
            let answer = match upgrade {
                Some(upgrade) => [
                    b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: ",
                    &upgrade[..],
                    b"\r\n\r\n",
                ]
                .concat(),
                None => b"HTTP/1.1 200 OK\r\n\r\n".to_vec(),
            };
            connection.write(&answer).await;
            request.body = connection.take_rest().await;
            return seen.keep(request);
        }
        if let Some(message) = http1::read_body(&mut connection, head, Framing::Request).await {
            request.body = message.body;
            request.trailers = message.trailers;
        }
        seen.keep(request);
        connection.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await;
    }
}

fn http1_fields(head: &http1::Message) -> Vec<Field> {
    let word = |place: usize| Bytes(head.start.get(place).cloned().unwrap_or_default());
    let start = [(":method", word(0)), (":path", word(1))];
    let start = start.map(|(name, value)| (Bytes(name.into()), value));
    let fields = head.fields.iter().cloned().map(|(name, value)| {
        let is_host = name.0.eq_ignore_ascii_case(b"host");
        (if is_host { Bytes(b":authority".to_vec()) } else { name }, value)
    });
    start.into_iter().chain(fields).collect()
}

async fn serve_http2(mut connection: Connection, seen: &Seen) {
    if connection.take(PREFACE.len()).await.is_none() {
        return;
    }
    let mut session = Session::serve(connection).await;
    let mut begun: BTreeMap<u32, Received> = BTreeMap::new();
    while let Some(event) = session.next().await {
        let ended = match event {
            Event::Headers { stream, fields, end } => {
                let request = begun.entry(stream).or_default();
                match request.fields.is_empty() {
                    true => request.fields = fields,
                    false => request.trailers = fields,
                }
                // A tunnel is answered when it begins.
                if !end && request.is_connect() {
                    session.send([(stream, answer(false))]).await;
                }
                end.then_some(stream)
            }
            Event::Data { stream, bytes, end } => {
                begun.entry(stream).or_default().body.extend(bytes);
                end.then_some(stream)
            }
            Event::Reset { .. } | Event::GoAway { .. } => None,
        };
        if let Some(stream) = ended
            && let Some(request) = begun.remove(&stream)
        {
            seen.keep(request);
            session.send([(stream, answer(true))]).await;
        }
    }
    // What has no end has come all the same.
    begun.into_values().for_each(|request| seen.keep(request));
}

fn answer(end: bool) -> Part {
    Part::Headers { fields: vec![(Bytes(b":status".to_vec()), Bytes(b"200".to_vec()))], end }
}

impl Received {
    /// Every value of a header.
    pub fn values(&self, name: &str) -> Vec<&Bytes> {
        let wanted = name.as_bytes();
        let fields = self.fields.iter();
        fields
            .filter(|(name, _)| name.0.eq_ignore_ascii_case(wanted))
            .map(|(_, value)| value)
            .collect()
    }

    fn is_connect(&self) -> bool {
        self.values(":method").iter().any(|method| method.0 == b"CONNECT")
    }
}
