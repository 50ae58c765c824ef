//! The load: requests one after the other, over one connection.

use std::net::SocketAddr;

use anyhow::{Context as _, Result, ensure};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::setup::Setup;

/// Prime to the sizes of all lists: hosts that are asked for one after the other lie apart.
const STRIDE: usize = 7919;

const END_OF_HEAD: &[u8] = b"\r\n\r\n";

/// What clients send beside the few headers of the load.
const OTHER_HEADERS: [&str; MORE_HEADERS] = [
    "accept-language: en-GB,en;q=0.9",
    "authorization: Bearer 0123456789abcdef0123456789abcdef",
    "baggage: tenant=shop,region=eu-west",
    "cache-control: no-cache",
    "content-type: application/json",
    "idempotency-key: 5f0c1d2e3b4a5968",
    "traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
    "tracestate: shop=00f067aa0ba902b7",
    "x-api-version: 2026-11-30",
    "x-client-id: shop-web",
];
pub(crate) const MORE_HEADERS: usize = 10;

/// One connection to an Envoy.
pub(crate) struct Caller {
    stream: TcpStream,
    unread: Vec<u8>,
    /// How many of [`OTHER_HEADERS`] its requests have.
    more_headers: usize,
}

impl Caller {
    pub(crate) async fn connect(address: SocketAddr, more_headers: usize) -> Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, unread: Vec::new(), more_headers })
    }

    /// Sends so many requests of a set-up, each time the same ones, and waits for each answer.
    pub(crate) async fn send(&mut self, setup: &Setup, requests: usize) -> Result<()> {
        let expected = if setup.is_refused { "403" } else { "200" };
        for request in 0..requests {
            let host = setup.host(request * STRIDE % setup.asked.1);
            let headers: String = OTHER_HEADERS
                .iter()
                .take(self.more_headers)
                .map(|header| format!("{header}\r\n"))
                .collect();
            let request = format!(
                "GET /v1/items?page=2 HTTP/1.1\r\nhost: {host}\r\nuser-agent: wrk\r\naccept: */*\r\n\
                 accept-encoding: gzip\r\n{headers}\r\n"
            );
            self.stream.write_all(request.as_bytes()).await?;
            let status = self.status().await?;
            ensure!(status == expected, "{host}: {status}");
        }
        Ok(())
    }

    /// The status of the next answer, which has a body of known length.
    async fn status(&mut self) -> Result<String> {
        loop {
            let end = self.unread.windows(END_OF_HEAD.len()).position(|it| it == END_OF_HEAD);
            if let Some(end) = end {
                let head = String::from_utf8_lossy(&self.unread[..end]).into_owned();
                let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
                let length: usize = length.context("a body of known length")?.parse()?;
                let answer = end + END_OF_HEAD.len() + length;
                while self.unread.len() < answer {
                    self.read().await?;
                }
                self.unread.drain(..answer);
                return Ok(head.split(' ').nth(1).unwrap_or_default().to_owned());
            }
            self.read().await?;
        }
    }

    async fn read(&mut self) -> Result<()> {
        ensure!(self.stream.read_buf(&mut self.unread).await? != 0, "the connection was closed");
        Ok(())
    }
}
