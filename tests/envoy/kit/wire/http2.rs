//! HTTP/2 as it is on the wire (RFC 9113): frames that nobody checked before they were sent.

use super::connection::Connection;
use egress_warden_simulate::Bytes;
use kit::hostile_vectors::{Field, Request};

pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const CONTINUATION: u8 = 9;

const ACK: u8 = 0x1;
const END_STREAM: u8 = 0x1;
const END_HEADERS: u8 = 0x4;
const PADDED: u8 = 0x8;
const PRIORITY: u8 = 0x20;

/// SETTINGS_ENABLE_CONNECT_PROTOCOL (RFC 8441).
const CONNECT_PROTOCOL: [u8; 6] = [0, 8, 0, 0, 0, 1];
/// The largest payload that every peer takes.
const MAX_PAYLOAD: usize = 16_384;

/// One end of a connection.
pub struct Session {
    connection: Connection,
    encoder: loona_hpack::Encoder<'static>,
    decoder: loona_hpack::Decoder<'static>,
}

/// What the other end says of a stream.
#[derive(Debug)]
pub enum Event {
    Headers {
        stream: u32,
        fields: Vec<Field>,
        end: bool,
    },
    Data {
        stream: u32,
        bytes: Vec<u8>,
        end: bool,
    },
    Reset {
        stream: u32,
    },
    /// Streams after this one will not be answered, and after a fault none.
    GoAway {
        last_stream: u32,
        fault: bool,
    },
}

/// What is said of a stream.
#[derive(Clone, Debug)]
pub enum Part {
    Headers { fields: Vec<Field>, end: bool },
    Data { bytes: Vec<u8>, end: bool },
}

struct Frame {
    kind: u8,
    flags: u8,
    stream: u32,
    payload: Vec<u8>,
}

/// A request as the parts of its stream.
pub fn parts(request: &Request) -> Vec<Part> {
    let pseudo = |name: &str, value: &Bytes| (Bytes(name.into()), value.clone());
    let mut fields = vec![pseudo(":method", &request.method)];
    if let Some(protocol) = &request.protocol {
        fields.push(pseudo(":protocol", protocol));
    }
    if !request.has_no_path() {
        fields.push(pseudo(":scheme", &Bytes(b"http".to_vec())));
        fields.push(pseudo(":path", &request.path));
    }
    fields.push(pseudo(":authority", &request.authority));
    let headers = request.headers.iter();
    fields.extend(headers.map(|(name, value)| (Bytes(name.0.to_ascii_lowercase()), value.clone())));

    let has_trailers = !request.trailers.is_empty();
    let mut parts = vec![Part::Headers { fields, end: request.body.is_none() }];
    if let Some(Bytes(body)) = &request.body {
        let end = !request.unfinished && !has_trailers;
        parts.push(Part::Data { bytes: body.clone(), end });
    }
    if has_trailers && !request.unfinished {
        parts.push(Part::Headers { fields: request.trailers.clone(), end: true });
    }
    parts
}

impl Session {
    /// The caller's end.
    pub async fn call(mut connection: Connection) -> Self {
        connection.write(PREFACE).await;
        connection.write(&frame(SETTINGS, 0, 0, &[])).await;
        Self::new(connection)
    }

    /// The upstream's end, once the preface is taken.
    pub async fn serve(mut connection: Connection) -> Self {
        connection.write(&frame(SETTINGS, 0, 0, &CONNECT_PROTOCOL)).await;
        Self::new(connection)
    }

    fn new(connection: Connection) -> Self {
        let (encoder, decoder) = (loona_hpack::Encoder::new(), loona_hpack::Decoder::new());
        Self { connection, encoder, decoder }
    }

    /// Writes the parts of several streams in one go.
    pub async fn send(&mut self, parts: impl IntoIterator<Item = (u32, Part)>) {
        let mut bytes = Vec::new();
        for (stream, part) in parts {
            match part {
                Part::Headers { fields, end } => {
                    bytes.extend(self.header_frames(stream, &fields, end));
                }
                Part::Data { bytes: data, end } => {
                    bytes.extend(data_frames(stream, &data, end));
                }
            }
        }
        self.connection.write(&bytes).await;
    }

    fn header_frames(&mut self, stream: u32, fields: &[Field], end: bool) -> Vec<u8> {
        let pairs = fields.iter().map(|(Bytes(name), Bytes(value))| (&name[..], &value[..]));
        let block = self.encoder.encode(pairs);
        let end_stream = if end { END_STREAM } else { 0 };
        let payloads = payloads(&block);
        let last = payloads.len() - 1;
        let frame_of = |(place, payload): (usize, &&[u8])| {
            let (kind, flags) = if place == 0 { (HEADERS, end_stream) } else { (CONTINUATION, 0) };
            let flags = if place == last { flags | END_HEADERS } else { flags };
            frame(kind, flags, stream, payload)
        };
        payloads.iter().enumerate().flat_map(frame_of).collect()
    }

    /// What comes next; `None` at the connection's end.
    pub async fn next(&mut self) -> Option<Event> {
        loop {
            let Frame { kind, flags, stream, payload } = self.read_frame().await?;
            let end = flags & END_STREAM != 0;
            match kind {
                SETTINGS | PING if flags & ACK == 0 => {
                    let payload = if kind == PING { &payload[..] } else { &[] };
                    self.connection.write(&frame(kind, ACK, 0, payload)).await;
                }
                HEADERS => {
                    let mut block = unpadded(flags, payload)?;
                    if flags & PRIORITY != 0 {
                        block.drain(..5);
                    }
                    let mut is_last = flags & END_HEADERS != 0;
                    while !is_last {
                        let more = self.read_frame().await?;
                        is_last = more.flags & END_HEADERS != 0;
                        block.extend(more.payload);
                    }
                    let pairs = self.decoder.decode(&block).ok()?;
                    let fields = pairs.into_iter().map(|(name, value)| (Bytes(name), Bytes(value)));
                    return Some(Event::Headers { stream, fields: fields.collect(), end });
                }
                DATA => {
                    return Some(Event::Data { stream, bytes: unpadded(flags, payload)?, end });
                }
                RST_STREAM => return Some(Event::Reset { stream }),
                GOAWAY => {
                    let last_stream = number(payload.get(..4)?);
                    let fault = number(payload.get(4..8)?) != 0;
                    return Some(Event::GoAway { last_stream, fault });
                }
                _ => {}
            }
        }
    }

    async fn read_frame(&mut self) -> Option<Frame> {
        let head = self.connection.take(9).await?;
        let payload = self.connection.take(number(&head[..3]) as usize).await?;
        let stream = number(&head[5..]) & 0x7fff_ffff;
        Some(Frame { kind: head[3], flags: head[4], stream, payload })
    }
}

fn data_frames(stream: u32, data: &[u8], end: bool) -> Vec<u8> {
    let payloads = payloads(data);
    let last = payloads.len() - 1;
    let frame_of = |(place, payload): (usize, &&[u8])| {
        frame(DATA, if end && place == last { END_STREAM } else { 0 }, stream, payload)
    };
    payloads.iter().enumerate().flat_map(frame_of).collect()
}

/// The bytes as payloads of one frame each: at least one, which may be empty.
fn payloads(bytes: &[u8]) -> Vec<&[u8]> {
    let (first, more) = bytes.split_at(bytes.len().min(MAX_PAYLOAD));
    std::iter::once(first).chain(more.chunks(MAX_PAYLOAD)).collect()
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("small payloads").to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

fn unpadded(flags: u8, mut payload: Vec<u8>) -> Option<Vec<u8>> {
    if flags & PADDED != 0 {
        let padding = usize::from(payload.remove(0));
        payload.truncate(payload.len().checked_sub(padding)?);
    }
    Some(payload)
}

fn number(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0, |number, &byte| number << 8 | u32::from(byte))
}
