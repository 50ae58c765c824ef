//! HTTP/1.1 as it is on the wire.

use super::connection::Connection;
use egress_warden_simulate::Bytes;
use kit::hostile_vectors::{Field, Request};

/// Request or response, as it was read.
#[derive(Debug, Default)]
pub struct Message {
    /// The words of the start line.
    pub start: Vec<Vec<u8>>,
    pub fields: Vec<Field>,
    pub body: Vec<u8>,
    pub trailers: Vec<Field>,
}

/// How the end of a body is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// By its own headers; a request without any has no body.
    Request,
    /// By its own headers; a response without any ends with the connection.
    Response,
    /// There is none.
    Bodiless,
}

/// A request as written.
pub fn encode(request: &Request) -> Vec<u8> {
    let target = if request.has_no_path() { &request.authority } else { &request.path };
    let mut text = [&request.method.0, &b" "[..], &target.0, b" HTTP/1.1\r\n"].concat();
    push_field(&mut text, b"Host", &request.authority.0);
    for (Bytes(name), Bytes(value)) in &request.headers {
        push_field(&mut text, name, value);
    }
    let body = request.body.as_ref().map(|Bytes(body)| &body[..]);
    match body {
        // Either is said by what comes after the body.
        Some(body) if request.unfinished || !request.trailers.is_empty() => {
            push_field(&mut text, b"Transfer-Encoding", b"chunked");
            text.extend_from_slice(b"\r\n");
            // An empty chunk would be the last one.
            if !body.is_empty() {
                text.extend_from_slice(format!("{:x}\r\n", body.len()).as_bytes());
                text.extend_from_slice(body);
                text.extend_from_slice(b"\r\n");
            }
            if !request.unfinished {
                text.extend_from_slice(b"0\r\n");
                for (Bytes(name), Bytes(value)) in &request.trailers {
                    push_field(&mut text, name, value);
                }
                text.extend_from_slice(b"\r\n");
            }
        }
        Some(body) => {
            push_field(&mut text, b"Content-Length", body.len().to_string().as_bytes());
            text.extend_from_slice(b"\r\n");
            text.extend_from_slice(body);
        }
        None => text.extend_from_slice(b"\r\n"),
    }
    text
}

fn push_field(text: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    text.extend_from_slice(&[name, b": ", value, b"\r\n"].concat());
}

/// The next message up to its empty line.
pub async fn read_head(connection: &mut Connection) -> Option<Message> {
    let head = connection.take_through(b"\r\n\r\n").await?;
    let mut lines = split_lines(&head);
    let start = lines.next()?.split(|&byte| byte == b' ').map(<[u8]>::to_vec).collect();
    let fields = lines.filter_map(parse_field).collect();
    Some(Message { start, fields, ..Message::default() })
}

/// The rest of a message; `None` where the connection ends before.
pub async fn read_body(
    connection: &mut Connection,
    mut message: Message,
    framing: Framing,
) -> Option<Message> {
    let chunked = message
        .values("transfer-encoding")
        .any(|coding| coding.to_ascii_lowercase().ends_with(b"chunked"));
    let length = message.values("content-length").next();
    let length = length.and_then(|length| std::str::from_utf8(length).ok()?.parse().ok());
    match (framing, length) {
        (Framing::Bodiless, _) => {}
        _ if chunked => read_chunks(connection, &mut message).await?,
        (_, Some(length)) => message.body = connection.take(length).await?,
        (Framing::Request, None) => {}
        (Framing::Response, None) => message.body = connection.take_rest().await,
    }
    Some(message)
}

async fn read_chunks(connection: &mut Connection, message: &mut Message) -> Option<()> {
    loop {
        let size = String::from_utf8(connection.take_through(b"\r\n").await?).ok()?;
        match usize::from_str_radix(&size, 16).ok()? {
            0 => break,
            size => message.body.extend(connection.take(size).await?),
        }
        connection.take_through(b"\r\n").await?;
    }
    loop {
        let line = connection.take_through(b"\r\n").await?;
        match &line[..] {
            [] => return Some(()),
            line => message.trailers.extend(parse_field(line)),
        }
    }
}

fn split_lines(head: &[u8]) -> impl Iterator<Item = &[u8]> {
    head.split(|&byte| byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line))
}

fn parse_field(line: &[u8]) -> Option<Field> {
    let colon = line.iter().position(|&byte| byte == b':')?;
    Some((Bytes(line[..colon].to_vec()), Bytes(line[colon + 1..].trim_ascii().to_vec())))
}

impl Message {
    /// Every value of a header.
    pub fn values(&self, name: &str) -> impl Iterator<Item = &[u8]> {
        self.fields
            .iter()
            .filter(move |(Bytes(present), _)| present.eq_ignore_ascii_case(name.as_bytes()))
            .map(|(_, Bytes(value))| &value[..])
    }
}
