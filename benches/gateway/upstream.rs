//! An external service that costs next to nothing: one thread, one constant answer.

use std::net::SocketAddr;

use anyhow::Result;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::service;

/// A path whose answer holds the headers that arrived, one `name: value` a line.
pub(crate) const SEEN: &str = "/seen";

const END_OF_HEAD: &[u8] = b"\r\n\r\n";

/// Starts the service, which reads HTTP/1.1 without bodies and lives as long as the process.
pub(crate) fn start() -> Result<SocketAddr> {
    service::start(serve)
}

async fn serve(mut stream: TcpStream) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut unread = Vec::with_capacity(16 * 1024);
    while stream.read_buf(&mut unread).await? != 0 {
        while let Some(length) = unread.windows(END_OF_HEAD.len()).position(|it| it == END_OF_HEAD)
        {
            let head: Vec<u8> = unread.drain(..length + END_OF_HEAD.len()).collect();
            stream.write_all(&answer(&head)).await?;
        }
    }
    Ok(())
}

fn answer(head: &[u8]) -> Vec<u8> {
    let body = match head.strip_prefix(b"GET ") {
        Some(target) if target.starts_with(SEEN.as_bytes()) => headers(head),
        _ => b"ok".to_vec(),
    };
    let mut answer =
        format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len()).into_bytes();
    answer.extend(body);
    answer
}

/// What follows the request line.
fn headers(head: &[u8]) -> Vec<u8> {
    let lines = head.strip_suffix(END_OF_HEAD).unwrap_or(head);
    lines.splitn(2, |byte| *byte == b'\n').nth(1).unwrap_or_default().to_vec()
}
